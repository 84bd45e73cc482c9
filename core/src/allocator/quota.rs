//! Quota: what a role, with all below it, may hold at most, and what is kept for it.
//!
//! Every node of the role tree counts what is held at it and below it, so that an event costs what it touches: the nodes from its role up.
//! A limit is a bound on what tasks hold and what exclusive offers lock together. A guarantee is an amount that the role may get back
//! from those who hold more than theirs. Both are in [`Quantities`]: scalars by name, `device/KIND` for devices of a kind,
//! `device/KIND/MODEL` for those of a class.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

pub use self::change::{Force, QuotaError, parse_amounts};
use crate::model::{Milli, Quantities, ResourceName, Role};

mod change;
#[cfg(test)]
mod tests;

/// Amounts by name where zero means something: no entry, no bound.
pub type Bounds = BTreeMap<ResourceName, Milli>;

/// What an operator has set for a role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// What it may hold at most; what is not named has no bound.
    pub limit: Bounds,
    /// What is kept for it.
    pub guarantee: Quantities,
    /// The priorities that its tasks may have; those outside count as the nearest bound.
    pub priorities: Option<Priorities>,
}

/// Bounds of the priorities in a role and below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priorities {
    /// The lowest.
    pub lowest: i32,
    /// The highest; not below the lowest.
    pub highest: i32,
}

impl Quota {
    /// Whether it says nothing: the same as none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A limit that what was asked for would exceed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// The role whose limit it is: the one that asks, or one above it.
    pub role: Role,
    /// Of which resource.
    pub resource: ResourceName,
    /// The limit.
    pub limit: Milli,
    /// What is held and locked already, and promised to others.
    pub held: Milli,
    /// What was asked for.
    pub asked: Milli,
}

/// What a role and all below it hold, for the view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// What an operator has set.
    pub quota: Quota,
    /// What tasks hold.
    pub held: Quantities,
    /// What exclusive offers lock.
    pub offered: Quantities,
    /// How many tasks its frameworks say they wait to launch.
    pub waiting: u64,
}

/// The quotas of a cluster, and what they bound.
#[derive(Clone, Debug, Default)]
pub struct Quotas {
    /// By role. What a round looks up many times is found by hashing.
    nodes: IndexMap<Arc<str>, Node, FxBuildHasher>,
    /// How many nodes have a limit: none means that nothing has to be compared.
    limited: usize,
    /// How many have a guarantee.
    guaranteed: usize,
    /// Roles that hold less than their guarantee.
    unmet: BTreeSet<Arc<str>>,
    /// Limits that somebody was held back by, and that have room again.
    relaxed: BTreeSet<Arc<str>>,
    /// What is held back for guarantees may have changed.
    moved: bool,
    /// What the cluster has.
    total: Quantities,
}

#[derive(Clone, Debug, Default)]
struct Node {
    usage: Usage,
    /// What preemption has freed for a demand of this role and that is not launched yet.
    promised: Quantities,
    /// Where the limit was lowered below what was held, or was found exceeded when an agent came back: what it may not exceed meanwhile.
    tolerated: Bounds,
    /// Somebody was offered less, or nothing, because of the limit.
    pressed: bool,
    /// Whether it holds less than its guarantee: then it is among those that do.
    unmet: bool,
    /// How many tasks of the role itself have which priority.
    priorities: BTreeMap<i32, u32>,
}

/// What is held at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding {
    /// By tasks.
    Task,
    /// By exclusive offers.
    Offer,
    /// By a promise to a demand that preempts.
    Promise,
}

impl Quotas {
    /// No quota, nothing held.
    pub fn new() -> Self {
        Self::default()
    }

    /// The cluster has `quantities` more.
    pub fn grow(&mut self, quantities: &Quantities) {
        self.total.add(quantities);
    }

    /// The cluster has `quantities` less.
    pub fn shrink(&mut self, quantities: &Quantities) {
        let taken = self.total.subtract(quantities);
        debug_assert!(taken, "only what was added to the cluster leaves it");
    }

    /// `role` holds `quantities` more. The caller has made sure that no limit is exceeded, or says [`Quotas::tolerate`] after.
    pub fn charge(&mut self, role: &Role, what: Holding, quantities: &Quantities) {
        self.each_up(role, |node| node.holding(what).add(quantities));
        self.update_unmet(role);
    }

    /// `role` holds `quantities` less.
    pub fn credit(&mut self, role: &Role, what: Holding, quantities: &Quantities) {
        let mut taken = true;
        self.each_up(role, |node| {
            taken &= node.holding(what).subtract(quantities);
            node.forget_tolerated();
        });
        debug_assert!(taken, "only what was charged is credited");
        for prefix in prefixes(role) {
            let Some(node) = self.nodes.get_mut(prefix) else { continue };
            if std::mem::take(&mut node.pressed) {
                self.relaxed.insert(Arc::from(prefix));
            }
        }
        self.update_unmet(role);
        self.prune(role);
    }

    /// A task of this priority begins to be charged to `role`; whether none there had one so low.
    pub fn add_priority(&mut self, role: &Role, priority: i32) -> bool {
        let priorities = &mut self.node(role).priorities;
        let is_lowest = priorities.first_key_value().is_none_or(|(lowest, _)| priority < *lowest);
        *priorities.entry(priority).or_insert(0) += 1;
        is_lowest
    }

    /// A task of this priority is charged to `role` no more.
    pub fn remove_priority(&mut self, role: &Role, priority: i32) {
        let Some(node) = self.nodes.get_mut(role.as_str()) else { return };
        if let Some(count) = node.priorities.get_mut(&priority) {
            *count -= 1;
            if *count == 0 {
                node.priorities.remove(&priority);
            }
        }
        self.prune(role);
    }

    /// The lowest priority of a task of `role` itself.
    pub fn lowest_priority(&self, role: &Role) -> Option<i32> {
        self.nodes.get(role.as_str())?.priorities.first_key_value().map(|(lowest, _)| *lowest)
    }

    /// What a task with `priority` counts as in `role`: within the bounds of the role and of those above it.
    pub fn bound_priority(&self, role: &Role, priority: i32) -> i32 {
        let bounds = prefixes(role).filter_map(|prefix| self.nodes.get(prefix)?.usage.quota.priorities);
        bounds.fold(priority, |bounded, bounds| bounded.clamp(bounds.lowest, bounds.highest))
    }

    /// The frameworks of `role` itself wait to launch `now` tasks, where they waited for `before`.
    pub fn wait(&mut self, role: &Role, before: u64, now: u64) {
        if before == now {
            return;
        }
        self.each_up(role, |node| node.usage.waiting = (node.usage.waiting + now).saturating_sub(before));
        self.prune(role);
    }

    /// What was charged to `role` may exceed its limits: it was held before the limit, or before this master knew.
    pub fn tolerate(&mut self, role: &Role) {
        if self.limited > 0 {
            self.each_up(role, Node::tolerate);
        }
    }

    /// Whether any role has a limit.
    pub const fn has_limits(&self) -> bool {
        self.limited > 0
    }

    /// Whether `role`, or one above it, has a limit.
    pub fn is_limited(&self, role: &Role) -> bool {
        self.limited > 0 && self.path(role).any(|(_, node)| !node.usage.quota.limit.is_empty())
    }

    /// Whether `role` may hold `asked` more.
    ///
    /// # Errors
    /// The first limit that would be exceeded, from the top of the tree down.
    pub fn check(&self, role: &Role, asked: &Quantities) -> Result<(), Exceeded> {
        self.check_after(role, asked, &[])
    }

    /// The same, once those roles hold that much less.
    ///
    /// # Errors
    /// The first limit that would be exceeded, from the top of the tree down.
    pub fn check_after(
        &self,
        role: &Role,
        asked: &Quantities,
        released: &[(&Role, &Quantities)],
    ) -> Result<(), Exceeded> {
        if self.limited == 0 {
            return Ok(());
        }
        for (name, node) in self.path(role) {
            let below = || released.iter().filter(|(role, _)| is_at_or_below(role.as_str(), name));
            for (resource, limit) in &node.usage.quota.limit {
                let gone: u64 = below().map(|(_, quantities)| quantities.get(resource).0).sum();
                let held = Milli(node.used(resource).0.saturating_sub(gone));
                let asked = asked.get(resource);
                if !asked.is_zero() && held.plus(asked) > *limit {
                    let resource = resource.clone();
                    return Err(Exceeded { role: named(name), resource, limit: *limit, held, asked });
                }
            }
        }
        Ok(())
    }

    /// Whether what `role` holds is within its own limit.
    ///
    /// # Errors
    /// If it is not.
    pub fn check_held(&self, role: &Role) -> Result<(), Exceeded> {
        let Some(node) = self.nodes.get(role.as_str()) else { return Ok(()) };
        for (resource, limit) in &node.usage.quota.limit {
            let held = node.used(resource);
            if held > *limit {
                let (role, resource) = (role.clone(), resource.clone());
                return Err(Exceeded { role, resource, limit: *limit, held, asked: Milli::ZERO });
            }
        }
        Ok(())
    }

    /// What the limits leave to `role` beside what it holds, `promised` not counted, by resource; what is not named is not bounded. None,
    /// if nothing is.
    pub fn left(&self, role: &Role, promised: &Quantities) -> Option<Bounds> {
        if self.limited == 0 {
            return None;
        }
        let mut left = Bounds::new();
        for (_, node) in self.path(role) {
            for (resource, limit) in &node.usage.quota.limit {
                let used = node.used(resource).minus(promised.get(resource)).unwrap_or(Milli::ZERO);
                let here = limit.minus(used).unwrap_or(Milli::ZERO);
                left.entry(resource.clone()).and_modify(|least| *least = here.min(*least)).or_insert(here);
            }
        }
        (!left.is_empty()).then_some(left)
    }

    /// Somebody in `role` was offered less because of what [`Quotas::left`] says.
    pub fn press(&mut self, role: &Role) {
        for prefix in prefixes(role) {
            if let Some(node) = self.nodes.get_mut(prefix) {
                node.pressed |= !node.usage.quota.limit.is_empty();
            }
        }
    }

    /// The roles whose limits have room again for those who were held back by them; each is named once.
    pub fn take_relaxed(&mut self) -> BTreeSet<Arc<str>> {
        std::mem::take(&mut self.relaxed)
    }

    /// Whether [`Quotas::take_relaxed`] has something to name.
    pub fn has_relaxed(&self) -> bool {
        !self.relaxed.is_empty()
    }

    /// Whether `role`, or one above it, has a guarantee.
    pub fn is_guaranteed(&self, role: &Role) -> bool {
        self.guaranteed > 0 && self.path(role).any(|(_, node)| !node.usage.quota.guarantee.is_empty())
    }

    /// Whether `role`, or one above it, holds less than its guarantee.
    pub fn is_unmet(&self, role: &Role) -> bool {
        !self.unmet.is_empty() && self.path(role).any(|(_, node)| node.unmet)
    }

    /// Whether any role holds less than its guarantee.
    pub fn has_unmet(&self) -> bool {
        !self.unmet.is_empty()
    }

    /// What a role waits for has changed: if it has a guarantee, what is held back for it may have too.
    pub fn set_moved(&mut self, role: &Role) {
        self.moved |= self.is_guaranteed(role);
    }

    /// Whether what is held back for guarantees may have changed since this was last asked.
    pub fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// The roles that hold less than their guarantee.
    pub fn unmet(&self) -> impl Iterator<Item = &str> {
        self.unmet.iter().map(|role| &**role)
    }

    /// The topmost role on the way to `role` whose guarantee still covers `asked` beside what is held and promised: each guaranteed
    /// resource that is asked for, and at least one. What is not guaranteed comes along with what is.
    pub fn entitled(&self, role: &Role, asked: &Quantities) -> Option<Role> {
        if self.unmet.is_empty() {
            return None;
        }
        let covers = |node: &Node| {
            let guarantee = &node.usage.quota.guarantee;
            let mut named = guarantee.iter().filter(|(name, _)| !asked.get(name).is_zero()).peekable();
            named.peek().is_some()
                && named.all(|(name, amount)| {
                    let held = node.usage.held.get(name).plus(node.promised.get(name));
                    held.plus(asked.get(name)) <= amount
                })
        };
        self.path(role).find(|(_, node)| covers(node)).map(|(name, _)| named(name))
    }

    /// Whether `role` keeps its guarantees, and those above it and outside of `claimant` theirs, when `taken` is taken away from it and
    /// `gone` was before.
    pub fn may_lose(
        &self,
        role: &Role,
        claimant: &Role,
        taken: &Quantities,
        gone: &BTreeMap<Arc<str>, Quantities>,
    ) -> bool {
        let none = Quantities::new();
        self.path(role).filter(|(name, _)| !is_at_or_below(claimant.as_str(), name)).all(|(name, node)| {
            let before = gone.get(name).unwrap_or(&none);
            node.usage.quota.guarantee.iter().filter(|(name, _)| !taken.get(name).is_zero()).all(|(name, amount)| {
                let lost = before.get(name).plus(taken.get(name));
                node.usage.held.get(name).minus(lost).is_some_and(|left| left >= amount)
            })
        })
    }

    /// Whether a guarantee outside of `role` is not met for something that is among `quantities`, which `role` holds, or would hold,
    /// beyond its own guarantee.
    pub fn is_borrowed(&self, role: &Role, quantities: &Quantities) -> bool {
        let wanted = |other: &Arc<str>| {
            let node = &self.nodes[other];
            let short = |(name, amount): (&ResourceName, Milli)| {
                node.usage.held.get(name) < amount && !quantities.get(name).is_zero()
            };
            node.usage.quota.guarantee.iter().any(short)
        };
        let others = self.unmet.iter().filter(|other| !is_at_or_below(role.as_str(), other));
        others.into_iter().any(wanted) && self.entitled(role, quantities).is_none()
    }

    /// What is set, held and waited for at `role`; none if there is nothing to say.
    pub fn usage(&self, role: &Role) -> Option<&Usage> {
        self.nodes.get(role.as_str()).map(|node| &node.usage)
    }

    /// The same for every role.
    pub fn usages(&self) -> impl Iterator<Item = (Role, &Usage)> {
        self.nodes.iter().map(|(role, node)| (named(role), &node.usage))
    }

    /// Checks that no limit is exceeded, but for what was tolerated, and that each node counts what those below it hold together.
    ///
    /// # Panics
    /// If that does not hold.
    pub fn check_invariants(&self) {
        for (role, node) in &self.nodes {
            for (resource, limit) in &node.usage.quota.limit {
                let held = node.usage.held.get(resource).plus(node.usage.offered.get(resource));
                let most = node.tolerated.get(resource).copied().unwrap_or(*limit).max(*limit);
                assert!(held <= most, "{role}: I6, holds {held} {resource} of at most {most}");
            }
            assert_eq!(self.unmet.contains(role), node.is_unmet(), "{role}: known to hold less than its guarantee");
            assert_eq!(node.unmet, node.is_unmet(), "{role}: knows that it does");
        }
    }

    fn update_unmet(&mut self, role: &Role) {
        if self.guaranteed == 0 {
            return;
        }
        for prefix in prefixes(role) {
            let Some(node) = self.nodes.get_mut(prefix).filter(|node| !node.usage.quota.guarantee.is_empty()) else {
                continue;
            };
            self.moved = true;
            let is_unmet = node.is_unmet();
            if is_unmet == std::mem::replace(&mut node.unmet, is_unmet) {
                continue;
            }
            if is_unmet {
                self.unmet.insert(Arc::from(prefix));
            } else {
                self.unmet.remove(prefix);
            }
        }
    }

    /// The nodes from the top of the tree to `role`.
    fn path<'a>(&'a self, role: &'a Role) -> impl Iterator<Item = (&'a str, &'a Node)> {
        prefixes(role).filter_map(|prefix| self.nodes.get(prefix).map(|node| (prefix, node)))
    }

    fn each_up(&mut self, role: &Role, mut change: impl FnMut(&mut Node)) {
        for prefix in prefixes(role) {
            match self.nodes.get_mut(prefix) {
                Some(node) => change(node),
                None => change(self.nodes.entry(Arc::from(prefix)).or_default()),
            }
        }
    }

    fn node(&mut self, role: &Role) -> &mut Node {
        self.nodes.entry(Arc::from(role.as_str())).or_default()
    }

    /// Forgets the nodes of which there is nothing to say any more.
    fn prune(&mut self, role: &Role) {
        for prefix in prefixes(role) {
            if self.nodes.get(prefix).is_some_and(Node::is_vacant) {
                self.nodes.swap_remove(prefix);
            }
        }
    }
}

impl Node {
    fn holding(&mut self, what: Holding) -> &mut Quantities {
        match what {
            Holding::Task => &mut self.usage.held,
            Holding::Offer => &mut self.usage.offered,
            Holding::Promise => &mut self.promised,
        }
    }

    fn used(&self, resource: &ResourceName) -> Milli {
        self.usage.held.get(resource).plus(self.usage.offered.get(resource)).plus(self.promised.get(resource))
    }

    fn is_unmet(&self) -> bool {
        !self.usage.held.contains(&self.usage.quota.guarantee)
    }

    fn is_vacant(&self) -> bool {
        self.usage == Usage::default() && self.promised.is_empty() && self.priorities.is_empty()
    }

    fn tolerate(&mut self) {
        for (resource, limit) in &self.usage.quota.limit {
            let held = self.usage.held.get(resource);
            if held > *limit {
                self.tolerated.insert(resource.clone(), held);
            }
        }
    }

    /// What was held too much is given back, and stays so.
    fn forget_tolerated(&mut self) {
        let (held, limit) = (&self.usage.held, &self.usage.quota.limit);
        self.tolerated.retain(|resource, most| {
            *most = held.get(resource).min(*most);
            limit.get(resource).is_some_and(|limit| *most > *limit)
        });
    }
}

/// Whether `role` is `top`, or lies below it.
pub fn is_at_or_below(role: &str, top: &str) -> bool {
    role.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// `a`, `a/b`, `a/b/c` of the role `a/b/c`.
pub fn prefixes(role: &Role) -> impl Iterator<Item = &str> {
    let text = role.as_str();
    text.bytes().enumerate().filter(|(_, byte)| *byte == b'/').map(|(at, _)| &text[..at]).chain([text])
}

fn named(prefix: &str) -> Role {
    Role::new(prefix).expect("a prefix of a role, cut at a slash, is a role")
}
