//! Weighted hierarchical dominant resource fairness (Ghodsi et al., NSDI 2011; the tree as in Mesos).
//!
//! Every node of the role tree has a share: the largest, over the resources that count, of what it holds of the cluster's total, divided
//! by its weight. At each level the node with the smallest share comes first; a role that has frameworks of its own and roles below it
//! competes with these through a leaf of its own, of weight one. Shares are exact ratios. Where they are equal, who was served longest
//! ago comes first, so that nobody is passed over for ever.
//!
//! The order is kept, not computed: each node holds its competitors sorted, and a charge moves one of them on each level. Only a change
//! of the cluster's total puts every share in doubt; then the next look sorts once, which on a nearly sorted list is one pass.

mod tree;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

pub use self::tree::{ClientIndex, Ranking};
use self::tree::{Node, NodeId};
use crate::model::{FrameworkId, Milli, Quantities, ResourceName, Role};

/// The order in which frameworks are offered what is free.
#[derive(Clone, Debug)]
pub struct Sorter {
    /// The cluster's total of the resources that count.
    total: Quantities,
    /// What of that counts beside cpus, mem and disk: kinds of device as quantities called `device/KIND`; by name.
    kinds: Vec<(ResourceName, Milli)>,
    /// The tree; the first node is above all roles.
    nodes: Vec<Node>,
    roles: BTreeMap<Role, NodeId>,
    clients: Vec<Client>,
    ids: BTreeMap<(FrameworkId, Role), ClientIndex>,
    /// Places of clients that are gone.
    vacant: Vec<ClientIndex>,
    /// Whether shares were computed with an older total.
    is_stale: bool,
    turn: u64,
}

/// A framework in one of its roles.
#[derive(Clone, Debug)]
struct Client {
    framework: FrameworkId,
    node: NodeId,
    held: Quantities,
    /// Kept up to date only while it competes with others.
    share: Ratio,
    served: u64,
    /// Whether it takes offers now; one that does not keeps what it holds.
    active: bool,
}

/// A share of the cluster, as an exact ratio.
#[derive(Clone, Copy, Debug)]
pub struct Ratio {
    held: u64,
    /// Total times weight; not zero.
    of: u128,
}

impl Ratio {
    const ZERO: Self = Self { held: 0, of: 1 };

    fn new(held: Milli, total: Milli, weight: u32) -> Self {
        // Amounts are kept below 2^53 here, so that a product of two of them and a weight fits.
        let cap = |amount: Milli| amount.0.min(1 << 53);
        Self { held: cap(held), of: u128::from(cap(total).max(1)) * u128::from(weight.max(1)) }
    }

    /// As a number, for display and metrics; 1.0 is the whole cluster at weight one.
    pub fn as_f64(self) -> f64 {
        self.held as f64 * 1000.0 / self.of as f64
    }
}

impl Ord for Ratio {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.held == 0 || other.held == 0 || self.of == other.of {
            return self.held.cmp(&other.held);
        }
        (u128::from(self.held) * other.of).cmp(&(u128::from(other.held) * self.of))
    }
}

impl PartialOrd for Ratio {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ratio {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ratio {}

/// The weight of a role that has been given none, in thousandths.
pub const DEFAULT_WEIGHT: u32 = 1000;

/// The quantity that stands for devices of `kind`.
pub fn kind_quantity(kind: &str) -> ResourceName {
    ResourceName::new(&format!("device/{kind}"))
}

/// The quantity that stands for devices of the class of `kind` and `model`.
pub fn class_quantity(kind: &str, model: &str) -> ResourceName {
    ResourceName::new(&format!("device/{kind}/{model}"))
}

impl Sorter {
    /// An empty cluster; `kinds` of device count beside cpus, mem and disk.
    pub fn new(kinds: &[Arc<str>]) -> Self {
        let mut kinds: Vec<_> = kinds.iter().map(|kind| (kind_quantity(kind), Milli::ZERO)).collect();
        kinds.sort_unstable();
        kinds.dedup();
        Self {
            total: Quantities::new(),
            kinds,
            nodes: vec![Node::new(Role::any(), NodeId::TOP)],
            roles: BTreeMap::new(),
            clients: Vec::new(),
            ids: BTreeMap::new(),
            vacant: Vec::new(),
            is_stale: false,
            turn: 0,
        }
    }

    /// The cluster has `quantities` more.
    pub fn grow(&mut self, quantities: &Quantities) {
        self.total.add(quantities);
        self.total_changed();
    }

    /// The cluster has `quantities` less.
    pub fn shrink(&mut self, quantities: &Quantities) {
        let taken = self.total.subtract(quantities);
        debug_assert!(taken, "only what was added to the cluster leaves it");
        self.total_changed();
    }

    fn total_changed(&mut self) {
        for (name, amount) in &mut self.kinds {
            *amount = self.total.get(name);
        }
        self.is_stale = true;
    }

    /// The cluster's total, of everything that was ever added.
    pub fn total(&self) -> &Quantities {
        &self.total
    }

    /// Sets a role's weight, in thousandths.
    pub fn set_weight(&mut self, role: &Role, weight: u32) {
        let node = self.node(role);
        self.nodes[node].weight = weight;
        self.is_stale = true;
    }

    /// The place of `framework` in `role`, given to it for as long as it is known there.
    pub fn enter(&mut self, role: &Role, framework: FrameworkId) -> ClientIndex {
        if let Some(id) = self.ids.get(&(framework, role.clone())) {
            return *id;
        }
        let node = self.node(role);
        let client = Client { framework, node, held: Quantities::new(), share: Ratio::ZERO, served: 0, active: false };
        let id = match self.vacant.pop() {
            Some(id) => {
                self.clients[id.index()] = client;
                id
            }
            None => {
                self.clients.push(client);
                ClientIndex::of(self.clients.len() - 1)
            }
        };
        self.ids.insert((framework, role.clone()), id);
        id
    }

    /// The place of `framework` in `role`, if it has one.
    pub fn client(&self, role: &Role, framework: FrameworkId) -> Option<ClientIndex> {
        self.ids.get(&(framework, role.clone())).copied()
    }

    /// `framework` takes offers for `role` from now on, or takes none.
    pub fn set_active(&mut self, role: &Role, framework: FrameworkId, active: bool) {
        let id = self.enter(role, framework);
        if self.clients[id.index()].active == active {
            return;
        }
        self.refresh();
        if active {
            self.clients[id.index()].active = true;
            self.insert_client(id);
        } else {
            self.remove_client(id);
            self.clients[id.index()].active = false;
        }
    }

    /// `framework` holds `quantities` more in `role`.
    pub fn charge(&mut self, role: &Role, framework: FrameworkId, quantities: &Quantities) {
        let id = self.enter(role, framework);
        self.reassess(id, |held| held.add(quantities), None);
    }

    /// `framework` holds `quantities` less in `role`.
    pub fn credit(&mut self, role: &Role, framework: FrameworkId, quantities: &Quantities) {
        let id = self.enter(role, framework);
        let mut taken = true;
        self.reassess(id, |held| taken &= held.subtract(quantities), None);
        debug_assert!(taken, "only what was charged is credited");
    }

    /// An offer to the client that locked `quantities` is over.
    pub fn take_back(&mut self, id: ClientIndex, quantities: &Quantities) {
        let mut taken = true;
        self.reassess(id, |held| taken &= held.subtract(quantities), None);
        debug_assert!(taken, "only what was charged is credited");
    }

    /// `quantities` more are reserved for `role` and not used: its share counts them, that of none of its frameworks does.
    pub fn reserve(&mut self, role: &Role, quantities: &Quantities) {
        let node = self.node(role);
        self.reassess_role(node, |held| held.add(quantities));
    }

    /// `quantities` less are reserved for `role` and not used: they are used now, and charged, or reserved no more.
    pub fn unreserve(&mut self, role: &Role, quantities: &Quantities) {
        let node = self.node(role);
        let mut taken = true;
        self.reassess_role(node, |held| taken &= held.subtract(quantities));
        debug_assert!(taken, "only what was reserved is taken back");
    }

    /// `framework` was offered something for `role`: among equals it comes last now.
    pub fn served(&mut self, role: &Role, framework: FrameworkId) {
        let id = self.enter(role, framework);
        self.offered(id, None);
    }

    /// The client was made an offer, and is charged `quantities` if that locks: among equals it comes last now.
    pub fn offered(&mut self, id: ClientIndex, quantities: Option<&Quantities>) {
        self.turn += 1;
        let turn = self.turn;
        let add = |held: &mut Quantities| {
            if let Some(quantities) = quantities {
                held.add(quantities);
            }
        };
        self.reassess(id, add, Some(turn));
    }

    /// `framework` is gone from `role`, and holds nothing there.
    pub fn remove(&mut self, role: &Role, framework: FrameworkId) {
        self.set_active(role, framework, false);
        if let Some(id) = self.ids.remove(&(framework, role.clone())) {
            self.vacant.push(id);
        }
    }

    /// What `framework` holds in `role`.
    pub fn held(&self, role: &Role, framework: FrameworkId) -> Quantities {
        self.client(role, framework).map(|id| self.clients[id.index()].held.clone()).unwrap_or_default()
    }

    /// What a role holds, with all below it.
    pub fn held_by(&self, role: &Role) -> Quantities {
        self.roles.get(role).map(|node| self.nodes[*node].held.clone()).unwrap_or_default()
    }

    /// The dominant share of a role with all below it, divided by its weight.
    pub fn share(&self, role: &Role) -> Ratio {
        self.roles.get(role).map_or(Ratio::ZERO, |node| {
            let node = &self.nodes[*node];
            self.ratio(&node.held, node.weight)
        })
    }

    /// Those who take offers, who comes first first.
    pub fn order(&mut self) -> Arc<[(Role, FrameworkId)]> {
        self.ranking().map(|(_, role, framework)| (role.clone(), framework)).collect()
    }

    /// The same, walked for as long as it takes to find somebody.
    pub fn ranking(&mut self) -> Ranking<'_> {
        self.refresh();
        Ranking::new(self)
    }

    /// The same order without bringing it up to date first, for who has done so in this step.
    pub fn ranking_now(&self) -> Ranking<'_> {
        debug_assert!(!self.is_stale, "the order is up to date");
        Ranking::new(self)
    }

    /// The role and framework of a client.
    pub fn who(&self, id: ClientIndex) -> (&Role, FrameworkId) {
        let client = &self.clients[id.index()];
        (&self.nodes[client.node].role, client.framework)
    }

    fn ratio(&self, held: &Quantities, weight: u32) -> Ratio {
        let mut largest = (Milli::ZERO, Milli(1));
        let mut count = |amount: Milli, total: Milli| {
            if !amount.is_zero() && is_larger((amount, total), largest) {
                largest = (amount, total);
            }
        };
        held.usual().zip(self.total.usual()).for_each(|(amount, total)| count(amount, total));
        self.kinds.iter().for_each(|(name, total)| count(held.get(name), *total));
        Ratio::new(largest.0, largest.1, weight)
    }

    /// The node of `role`; it and all above it are made if they are not there.
    fn node(&mut self, role: &Role) -> NodeId {
        if let Some(id) = self.roles.get(role) {
            return *id;
        }
        let mut parent = NodeId::TOP;
        for prefix in prefixes(role) {
            let prefix = Role::new(prefix).expect("a prefix of a role, cut at a slash, is a role");
            parent = match self.roles.get(&prefix) {
                Some(id) => *id,
                None => {
                    if self.nodes[parent].children.is_empty() && parent != NodeId::TOP {
                        self.found_leaf(parent);
                    }
                    let id = NodeId::of(self.nodes.len());
                    self.nodes.push(Node::new(prefix.clone(), parent));
                    self.nodes[parent].children.push(id);
                    self.roles.insert(prefix, id);
                    id
                }
            };
        }
        parent
    }
}

/// Whether one amount of its total is more than another of its own.
fn is_larger((amount, total): (Milli, Milli), (other, of): (Milli, Milli)) -> bool {
    u128::from(amount.0) * u128::from(of.0.max(1)) > u128::from(other.0) * u128::from(total.0.max(1))
}

/// `a`, `a/b`, `a/b/c` of the role `a/b/c`.
fn prefixes(role: &Role) -> impl Iterator<Item = &str> {
    let text = role.as_str();
    text.match_indices('/').map(|(at, _)| &text[..at]).chain([text])
}

#[cfg(test)]
mod tests;
