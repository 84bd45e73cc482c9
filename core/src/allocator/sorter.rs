//! Weighted hierarchical dominant resource fairness (Ghodsi et al., NSDI 2011; the tree as in Mesos).
//!
//! Every node of the role tree has a share: the largest, over the resources that count, of what it holds of the cluster's total, divided
//! by its weight. At each level the node with the smallest share comes first; a role that has frameworks of its own and roles below it
//! competes with these through a leaf of its own, of weight one. Shares are exact ratios. Where they are equal, who was served longest
//! ago comes first, so that nobody is passed over for ever.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::{FrameworkId, Milli, Quantities, ResourceName, Role};

/// The order in which frameworks are offered what is free.
#[derive(Clone, Debug)]
pub struct Sorter {
    /// The cluster's total of the resources that count.
    total: Quantities,
    /// The kinds of device that count, as quantities called `device/KIND`.
    kinds: Vec<ResourceName>,
    nodes: BTreeMap<Arc<str>, Node>,
    order: Option<Arc<[(Role, FrameworkId)]>>,
    turn: u64,
}

/// A role, or a role above one.
#[derive(Clone, Debug)]
struct Node {
    role: Role,
    /// In thousandths.
    weight: u32,
    /// What it and all below it hold.
    held: Quantities,
    /// When it was served last.
    served: u64,
    /// What its own frameworks hold together.
    own: Quantities,
    clients: BTreeMap<FrameworkId, Client>,
    children: BTreeSet<Arc<str>>,
}

#[derive(Clone, Debug, Default)]
struct Client {
    held: Quantities,
    served: u64,
    /// Whether it takes offers now; one that does not keeps what it holds.
    active: bool,
}

/// A share of the cluster, as an exact ratio.
#[derive(Clone, Copy, Debug)]
pub struct Ratio {
    held: u128,
    /// Total times weight; not zero.
    of: u128,
}

impl Ratio {
    const ZERO: Self = Self { held: 0, of: 1 };

    fn new(held: Milli, total: Milli, weight: u32) -> Self {
        // Amounts are kept below 2^53 here, so that a product of two of them and a weight fits.
        let cap = |amount: Milli| u128::from(amount.0.min(1 << 53));
        Self { held: cap(held), of: cap(total).max(1) * u128::from(weight.max(1)) }
    }

    /// As a number, for display and metrics; 1.0 is the whole cluster at weight one.
    pub fn as_f64(self) -> f64 {
        self.held as f64 * 1000.0 / self.of as f64
    }
}

impl Ord for Ratio {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.held * other.of).cmp(&(other.held * self.of))
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
        let kinds = kinds.iter().map(|kind| kind_quantity(kind)).collect();
        Self { total: Quantities::new(), kinds, nodes: BTreeMap::new(), order: None, turn: 0 }
    }

    /// The cluster has `quantities` more.
    pub fn grow(&mut self, quantities: &Quantities) {
        self.total.add(quantities);
        self.order = None;
    }

    /// The cluster has `quantities` less.
    pub fn shrink(&mut self, quantities: &Quantities) {
        let taken = self.total.subtract(quantities);
        debug_assert!(taken, "only what was added to the cluster leaves it");
        self.order = None;
    }

    /// Sets a role's weight, in thousandths.
    pub fn set_weight(&mut self, role: &Role, weight: u32) {
        self.node(role).weight = weight;
        self.order = None;
    }

    /// `framework` takes offers for `role` from now on, or takes none.
    pub fn set_active(&mut self, role: &Role, framework: FrameworkId, active: bool) {
        let client = self.node(role).clients.entry(framework).or_default();
        if client.active != active {
            client.active = active;
            self.order = None;
        }
    }

    /// `framework` holds `quantities` more in `role`.
    pub fn charge(&mut self, role: &Role, framework: FrameworkId, quantities: &Quantities) {
        let node = self.node(role);
        node.own.add(quantities);
        node.clients.entry(framework).or_default().held.add(quantities);
        for prefix in prefixes(role) {
            self.nodes.get_mut(prefix).expect("node() made every role above").held.add(quantities);
        }
        self.order = None;
    }

    /// `framework` holds `quantities` less in `role`.
    pub fn credit(&mut self, role: &Role, framework: FrameworkId, quantities: &Quantities) {
        let node = self.node(role);
        let client = node.clients.entry(framework).or_default();
        let mut taken = client.held.subtract(quantities) && node.own.subtract(quantities);
        for prefix in prefixes(role) {
            taken &= self.nodes.get_mut(prefix).expect("node() made every role above").held.subtract(quantities);
        }
        debug_assert!(taken, "only what was charged is credited");
        self.order = None;
    }

    /// `framework` was offered something for `role`: among equals it comes last now.
    pub fn served(&mut self, role: &Role, framework: FrameworkId) {
        self.turn += 1;
        let turn = self.turn;
        if let Some(client) = self.node(role).clients.get_mut(&framework) {
            client.served = turn;
        }
        for prefix in prefixes(role) {
            self.nodes.get_mut(prefix).expect("node() made every role above").served = turn;
        }
        self.order = None;
    }

    /// `framework` is gone from `role`, and holds nothing there.
    pub fn remove(&mut self, role: &Role, framework: FrameworkId) {
        if let Some(node) = self.nodes.get_mut(role.as_str()) {
            node.clients.remove(&framework);
            self.order = None;
        }
    }

    /// What `framework` holds in `role`.
    pub fn held(&self, role: &Role, framework: FrameworkId) -> Quantities {
        let client = self.nodes.get(role.as_str()).and_then(|node| node.clients.get(&framework));
        client.map(|client| client.held.clone()).unwrap_or_default()
    }

    /// The dominant share of a role with all below it, divided by its weight.
    pub fn share(&self, role: &Role) -> Ratio {
        self.nodes.get(role.as_str()).map_or(Ratio::ZERO, |node| self.ratio(&node.held, node.weight))
    }

    /// Those who take offers, who comes first first.
    pub fn order(&mut self) -> Arc<[(Role, FrameworkId)]> {
        if let Some(order) = &self.order {
            return order.clone();
        }
        let mut order = Vec::new();
        let top: Vec<&Node> = self.nodes.values().filter(|node| !node.role.as_str().contains('/')).collect();
        self.walk(&top, None, &mut order);
        let order: Arc<[_]> = order.into();
        self.order = Some(order.clone());
        order
    }

    /// Pushes the clients below `children`, and those of `own`'s leaf, in order.
    fn walk(&self, children: &[&Node], own: Option<&Node>, order: &mut Vec<(Role, FrameworkId)>) {
        let leaf = own.map(|node| {
            let served = node.clients.values().map(|client| client.served).max().unwrap_or(0);
            (self.ratio(&node.own, DEFAULT_WEIGHT), served, node, true)
        });
        let mut ranked: Vec<(Ratio, u64, &Node, bool)> =
            children.iter().map(|node| (self.ratio(&node.held, node.weight), node.served, *node, false)).collect();
        ranked.extend(leaf);
        ranked.sort_by(|a, b| (&a.0, a.1, &a.2.role, a.3).cmp(&(&b.0, b.1, &b.2.role, b.3)));
        for (_, _, node, is_leaf) in ranked {
            if is_leaf || node.children.is_empty() {
                self.push_clients(node, order);
            } else {
                let below: Vec<&Node> = node.children.iter().filter_map(|name| self.nodes.get(name)).collect();
                self.walk(&below, Some(node), order);
            }
        }
    }

    fn push_clients(&self, node: &Node, order: &mut Vec<(Role, FrameworkId)>) {
        let mut ranked: Vec<(Ratio, u64, FrameworkId)> = node
            .clients
            .iter()
            .filter(|(_, client)| client.active)
            .map(|(id, client)| (self.ratio(&client.held, DEFAULT_WEIGHT), client.served, *id))
            .collect();
        ranked.sort_unstable();
        order.extend(ranked.into_iter().map(|(_, _, id)| (node.role.clone(), id)));
    }

    fn ratio(&self, held: &Quantities, weight: u32) -> Ratio {
        const BASE: [ResourceName; 3] = [ResourceName::Cpus, ResourceName::Mem, ResourceName::Disk];
        let counted = BASE.iter().chain(&self.kinds);
        counted.map(|name| Ratio::new(held.get(name), self.total.get(name), weight)).max().unwrap_or(Ratio::ZERO)
    }

    /// The node of `role`; it and all above it are made if they are not there.
    fn node(&mut self, role: &Role) -> &mut Node {
        if !self.nodes.contains_key(role.as_str()) {
            let mut parent: Option<&str> = None;
            for prefix in prefixes(role) {
                let name: Arc<str> = Arc::from(prefix);
                if let Some(parent) = parent {
                    let parent = self.nodes.get_mut(parent).expect("prefixes come from the top down");
                    parent.children.insert(name.clone());
                }
                self.nodes.entry(name).or_insert_with(|| Node::new(prefix));
                parent = Some(prefix);
            }
        }
        self.nodes.get_mut(role.as_str()).expect("the last prefix of a role is the role")
    }
}

impl Node {
    fn new(prefix: &str) -> Self {
        Self {
            role: Role::new(prefix).expect("a prefix of a role, cut at a slash, is a role"),
            weight: DEFAULT_WEIGHT,
            held: Quantities::new(),
            served: 0,
            own: Quantities::new(),
            clients: BTreeMap::new(),
            children: BTreeSet::new(),
        }
    }
}

/// `a`, `a/b`, `a/b/c` of the role `a/b/c`.
fn prefixes(role: &Role) -> impl Iterator<Item = &str> {
    let text = role.as_str();
    text.match_indices('/').map(|(at, _)| &text[..at]).chain([text])
}

#[cfg(test)]
mod tests;
