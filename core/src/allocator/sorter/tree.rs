//! The role tree, each node with its competitors in order.

use std::collections::VecDeque;
use std::ops::{Index, IndexMut};

use smallvec::SmallVec;

use super::{DEFAULT_WEIGHT, Ratio, Sorter};
use crate::model::{FrameworkId, Quantities, Role};

/// The place of a framework in one of its roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientIndex(u32);

impl ClientIndex {
    pub(super) fn of(index: usize) -> Self {
        Self(u32::try_from(index).expect("fewer than 2^32 clients"))
    }

    /// A small number, below the most clients that there ever were at once.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NodeId(u32);

impl NodeId {
    /// The node above all roles.
    pub(super) const TOP: Self = Self(0);

    pub(super) fn of(index: usize) -> Self {
        Self(u32::try_from(index).expect("fewer than 2^32 roles"))
    }
}

/// A role, or a role above one.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) role: Role,
    parent: NodeId,
    /// In thousandths.
    pub(super) weight: u32,
    pub(super) children: Vec<NodeId>,
    /// What it and all below it hold.
    pub(super) held: Quantities,
    /// Kept up to date only while it competes with others.
    share: Ratio,
    /// When it, or one below it, was served last.
    served: u64,
    /// What its own frameworks hold together; kept only while there are roles below it.
    own: Quantities,
    own_share: Ratio,
    /// When one of its own was served last; kept likewise.
    own_served: u64,
    /// Its own leaf and the nodes below it that have somebody who takes offers, who comes first first.
    competitors: VecDeque<Competitor>,
    /// Its own frameworks that take offers, likewise.
    clients: VecDeque<ClientIndex>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Competitor {
    /// The node's own frameworks.
    Leaf,
    /// A node below it.
    Below(NodeId),
}

impl Node {
    pub(super) fn new(role: Role, parent: NodeId) -> Self {
        Self {
            role,
            parent,
            weight: DEFAULT_WEIGHT,
            children: Vec::new(),
            held: Quantities::new(),
            share: Ratio::ZERO,
            served: 0,
            own: Quantities::new(),
            own_share: Ratio::ZERO,
            own_served: 0,
            competitors: VecDeque::new(),
            clients: VecDeque::new(),
        }
    }

    /// What its own frameworks hold together, and when one of them was served last.
    const fn leaf(&mut self) -> (&mut Quantities, &mut u64) {
        (&mut self.own, &mut self.own_served)
    }

    /// What it and all below it hold, and when one of them was served last.
    const fn whole(&mut self) -> (&mut Quantities, &mut u64) {
        (&mut self.held, &mut self.served)
    }
}

impl Index<NodeId> for Vec<Node> {
    type Output = Node;

    fn index(&self, id: NodeId) -> &Node {
        &self[id.0 as usize]
    }
}

impl IndexMut<NodeId> for Vec<Node> {
    fn index_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self[id.0 as usize]
    }
}

/// What decides between two: the share, then who waits longer, then the name, so that no two are equal.
type Key<'a> = (Ratio, u64, &'a Role, bool);

impl Sorter {
    fn key(&self, node: NodeId, competitor: Competitor) -> Key<'_> {
        match competitor {
            Competitor::Leaf => {
                let node = &self.nodes[node];
                (node.own_share, node.own_served, &node.role, true)
            }
            Competitor::Below(id) => {
                let node = &self.nodes[id];
                (node.share, node.served, &node.role, false)
            }
        }
    }

    /// Those who take offers in `role` and below it, in no order.
    pub fn at_or_below(&self, role: &Role) -> impl Iterator<Item = ClientIndex> {
        let mut nodes: SmallVec<[NodeId; 4]> = self.roles.get(role).copied().into_iter().collect();
        let next_node = move || {
            let node = &self.nodes[nodes.pop()?];
            nodes.extend(node.children.iter().copied());
            Some(node)
        };
        std::iter::from_fn(next_node).flat_map(|node| node.clients.iter().copied())
    }

    fn client_key(&self, id: ClientIndex) -> (Ratio, u64, FrameworkId) {
        let client = &self.clients[id.index()];
        (client.share, client.served, client.framework)
    }

    /// The path from the client's role up to the roles at the top, each with what competes there on the client's behalf.
    fn path(&self, id: ClientIndex) -> SmallVec<[(NodeId, Competitor); 4]> {
        let mut at = self.clients[id.index()].node;
        let mut path = SmallVec::from_iter([(at, Competitor::Leaf)]);
        while at != NodeId::TOP {
            let parent = self.nodes[at].parent;
            path.push((parent, Competitor::Below(at)));
            at = parent;
        }
        path
    }

    /// Puts a client that has become active into the order, and all above it that had nobody before.
    pub(super) fn insert_client(&mut self, id: ClientIndex) {
        let node = self.clients[id.index()].node;
        self.price_client(id);
        if let Some(only) = single(&self.nodes[node].clients) {
            self.price_client(only);
        }
        let at = self.client_place(id).unwrap_or_else(|at| at);
        self.nodes[node].clients.insert(at, id);
        for (node, competitor) in self.path(id) {
            self.insert_competitor(node, competitor);
        }
    }

    fn insert_competitor(&mut self, node: NodeId, competitor: Competitor) {
        match single(&self.nodes[node].competitors) {
            Some(only) if only == competitor => return,
            Some(only) => {
                self.price(node, only);
                self.price(node, competitor);
            }
            None => self.price(node, competitor),
        }
        if let Err(at) = self.place(node, competitor) {
            self.nodes[node].competitors.insert(at, competitor);
        }
    }

    /// Takes an active client out of the order, and all above it that have nobody left.
    pub(super) fn remove_client(&mut self, id: ClientIndex) {
        let node = self.clients[id.index()].node;
        let at = self.client_place(id).expect("an active client is in the order");
        self.nodes[node].clients.remove(at);
        for (node, competitor) in self.path(id) {
            let is_empty = match competitor {
                Competitor::Leaf => self.nodes[node].clients.is_empty(),
                Competitor::Below(below) => self.nodes[below].competitors.is_empty(),
            };
            if !is_empty {
                return;
            }
            let at = self.place(node, competitor).expect("who has somebody is in the order");
            self.nodes[node].competitors.remove(at);
        }
    }

    /// Changes what a client and all above it hold, and when they were served, and moves them to where they belong then.
    pub(super) fn reassess(&mut self, id: ClientIndex, mut change: impl FnMut(&mut Quantities), served: Option<u64>) {
        let is_among_others = self.nodes[self.clients[id.index()].node].clients.len() > 1;
        let was = if self.is_stale || !is_among_others { Err(0) } else { self.client_place_if_active(id) };
        let entry = &mut self.clients[id.index()];
        change(&mut entry.held);
        entry.served = served.unwrap_or(entry.served);
        let node = entry.node;
        if let Ok(was) = was {
            self.price_client(id);
            let mut list = std::mem::take(&mut self.nodes[node].clients);
            let key = self.client_key(id);
            shift(&mut list, was, |other| self.client_key(*other) < key);
            self.nodes[node].clients = list;
        }
        let (mut at, mut competitor) = (node, Competitor::Leaf);
        loop {
            self.reassess_competitor(at, competitor, &mut change, served);
            if at == NodeId::TOP {
                return;
            }
            (at, competitor) = (self.nodes[at].parent, Competitor::Below(at));
        }
    }

    /// Changes what a role and all above it hold, though none of its frameworks does.
    pub(super) fn reassess_role(&mut self, mut node: NodeId, mut change: impl FnMut(&mut Quantities)) {
        while node != NodeId::TOP {
            let parent = self.nodes[node].parent;
            self.reassess_competitor(parent, Competitor::Below(node), &mut change, None);
            node = parent;
        }
    }

    fn reassess_competitor(
        &mut self,
        node: NodeId,
        competitor: Competitor,
        change: &mut impl FnMut(&mut Quantities),
        served: Option<u64>,
    ) {
        if competitor == Competitor::Leaf && self.nodes[node].children.is_empty() {
            return;
        }
        let is_among_others = self.nodes[node].competitors.len() > 1;
        let was = if self.is_stale || !is_among_others { Err(0) } else { self.place(node, competitor) };
        let (held, last_served) = match competitor {
            Competitor::Leaf => self.nodes[node].leaf(),
            Competitor::Below(id) => self.nodes[id].whole(),
        };
        change(held);
        *last_served = served.unwrap_or(*last_served);
        if let Ok(was) = was {
            self.price(node, competitor);
            let mut list = std::mem::take(&mut self.nodes[node].competitors);
            let key = self.key(node, competitor);
            shift(&mut list, was, |other| self.key(node, *other) < key);
            self.nodes[node].competitors = list;
        }
    }

    /// Computes what the competitor is compared by.
    fn price(&mut self, node: NodeId, competitor: Competitor) {
        match competitor {
            Competitor::Leaf => self.nodes[node].own_share = self.ratio(&self.nodes[node].own, DEFAULT_WEIGHT),
            Competitor::Below(id) => self.nodes[id].share = self.ratio(&self.nodes[id].held, self.nodes[id].weight),
        }
    }

    fn price_client(&mut self, id: ClientIndex) {
        self.clients[id.index()].share = self.ratio(&self.clients[id.index()].held, DEFAULT_WEIGHT);
    }

    /// A first role comes to be below this one: from here on its own frameworks compete as one with it.
    pub(super) fn found_leaf(&mut self, id: NodeId) {
        let mut own = Quantities::new();
        self.clients.iter().filter(|client| client.node == id).for_each(|client| own.add(&client.held));
        let node = &mut self.nodes[id];
        (node.own, node.own_served) = (own, node.served);
        self.price(id, Competitor::Leaf);
    }

    /// Where the competitor is in the order, or would have to be.
    fn place(&self, node: NodeId, competitor: Competitor) -> Result<usize, usize> {
        // Who is served was the first, mostly, and often is the only one.
        if self.nodes[node].competitors.front() == Some(&competitor) {
            return Ok(0);
        }
        let key = self.key(node, competitor);
        self.nodes[node].competitors.binary_search_by(|other| self.key(node, *other).cmp(&key))
    }

    fn client_place(&self, id: ClientIndex) -> Result<usize, usize> {
        let clients = &self.nodes[self.clients[id.index()].node].clients;
        if clients.front() == Some(&id) {
            return Ok(0);
        }
        let key = self.client_key(id);
        clients.binary_search_by(|other| self.client_key(*other).cmp(&key))
    }

    fn client_place_if_active(&self, id: ClientIndex) -> Result<usize, usize> {
        if self.clients[id.index()].active { self.client_place(id) } else { Err(0) }
    }

    /// Brings shares and order up to date with the cluster's total; the order is only looked at after that.
    pub fn refresh(&mut self) {
        if !self.is_stale {
            return;
        }
        self.is_stale = false;
        for at in 0..self.clients.len() {
            self.price_client(ClientIndex::of(at));
        }
        for id in (0..self.nodes.len()).map(NodeId::of) {
            self.price(id, Competitor::Leaf);
            self.price(id, Competitor::Below(id));
        }
        for at in 0..self.nodes.len() {
            let id = NodeId::of(at);
            let mut competitors = std::mem::take(&mut self.nodes[at].competitors);
            competitors.make_contiguous().sort_by(|a, b| self.key(id, *a).cmp(&self.key(id, *b)));
            let mut clients = std::mem::take(&mut self.nodes[at].clients);
            clients.make_contiguous().sort_by_key(|client| self.client_key(*client));
            (self.nodes[at].competitors, self.nodes[at].clients) = (competitors, clients);
        }
    }
}

/// The only item of the list.
fn single<T: Copy>(list: &VecDeque<T>) -> Option<T> {
    list.front().filter(|_| list.len() == 1).copied()
}

/// Moves the item at `was` to where it belongs among the others, which are in order. Who was served was the first, mostly, and comes last
/// then: that costs the same however many they are.
fn shift<T: Copy>(list: &mut VecDeque<T>, was: usize, comes_before: impl Fn(&T) -> bool) {
    let must_rise = was > 0 && !comes_before(&list[was - 1]);
    let must_fall = list.get(was + 1).is_some_and(&comes_before);
    if !must_rise && !must_fall {
        return;
    }
    let item = list.remove(was).expect("the item is in the list");
    if list.back().is_some_and(&comes_before) {
        list.push_back(item);
    } else {
        list.insert(list.partition_point(comes_before), item);
    }
}

/// A walk over those who take offers, who comes first first.
#[derive(Clone, Debug)]
pub struct Ranking<'a> {
    sorter: &'a Sorter,
    /// Where the walk is on each level: a node and the next of its competitors.
    levels: SmallVec<[(NodeId, u32); 4]>,
    /// The leaf that is walked, and the next of its clients.
    leaf: Option<(NodeId, u32)>,
}

impl<'a> Ranking<'a> {
    pub(super) fn new(sorter: &'a Sorter) -> Self {
        let mut levels = SmallVec::new();
        levels.push((NodeId::TOP, 0));
        Self { sorter, levels, leaf: None }
    }
}

impl<'a> Iterator for Ranking<'a> {
    type Item = (ClientIndex, &'a Role, FrameworkId);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((node, at)) = &mut self.leaf {
                let node = &self.sorter.nodes[*node];
                if let Some(id) = node.clients.get(*at as usize) {
                    *at += 1;
                    let framework = self.sorter.clients[id.index()].framework;
                    return Some((*id, &node.role, framework));
                }
                self.leaf = None;
            }
            let (node, at) = self.levels.last_mut()?;
            match self.sorter.nodes[*node].competitors.get(*at as usize) {
                None => drop(self.levels.pop()),
                Some(Competitor::Leaf) => {
                    *at += 1;
                    self.leaf = Some((*node, 0));
                }
                Some(Competitor::Below(id)) => {
                    *at += 1;
                    self.levels.push((*id, 0));
                }
            }
        }
    }
}
