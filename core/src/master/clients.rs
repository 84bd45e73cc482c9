//! Clients: a framework in one of its roles, as the round of offers sees it. Small, and found by number, because a round looks at many.

use std::sync::Arc;
use std::time::Duration;

use super::Master;
use super::filters::Refuser;
use super::modes::mode_for;
use super::rules::ClientRules;
use crate::allocator::sorter::ClientIndex;
use crate::model::{Demand, FrameworkId, OfferMode, Quantities, ResourceName, Role, Shape, Time};

/// A framework in one of its roles.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) framework: FrameworkId,
    pub(super) role: Role,
    pub(super) mode: OfferMode,
    /// What it waits for; `None` means anything.
    pub(super) wanted: Option<Arc<[Wanted]>>,
    /// Filters of an earlier epoch are void.
    epoch: u32,
    /// How long an exclusive offer to it stands.
    pub(super) offer_timeout: Duration,
    /// When it was made its last offer.
    pub(super) offered: Option<Time>,
    /// How many offers it has.
    pub(super) standing: u32,
    /// How many agents are offered to it at once.
    pub(super) bound: u32,
    /// Whether it has as many offers as it may have, although there might be more for it.
    pub(super) is_bounded: bool,
    /// What it asks of its offers.
    pub(super) rules: ClientRules,
    /// Grows when it accepts something: then refusals that it repeats count anew.
    pub(super) calm: u32,
}

impl Client {
    /// Whether it has said that it waits for something, and is offered without a lock.
    pub(super) fn has_declared(&self) -> bool {
        self.mode == OfferMode::Optimistic && self.wanted.as_ref().is_some_and(|wanted| !wanted.is_empty())
    }
}

/// A shape with what is compared first.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) shape: Shape,
    pub(super) quantities: Quantities,
    pub(super) ports: u64,
}

impl Wanted {
    pub(super) fn new(shape: Shape) -> Self {
        let quantities = shape.resources.quantities();
        let ports = shape.resources.ranges(&ResourceName::ports()).len();
        Self { shape, quantities, ports }
    }
}

/// Clients by number.
#[derive(Debug, Default)]
pub(super) struct Clients {
    list: Vec<Option<Client>>,
    /// How many wait for what they have declared.
    declared: usize,
    last_epoch: u32,
}

impl Clients {
    pub(super) fn get(&self, id: ClientIndex) -> Option<&Client> {
        self.list.get(id.index())?.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: ClientIndex) -> Option<&mut Client> {
        self.list.get_mut(id.index())?.as_mut()
    }

    /// One more than the largest number.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    fn put(&mut self, id: ClientIndex, client: Option<Client>) {
        if self.list.len() <= id.index() {
            self.list.resize_with(id.index() + 1, || None);
        }
        let is = client.as_ref().is_some_and(Client::has_declared);
        let old = std::mem::replace(&mut self.list[id.index()], client);
        self.count_declared(old.is_some_and(|client| client.has_declared()), is);
    }

    /// How the client is made offers from now on.
    pub(super) fn set_mode(&mut self, id: ClientIndex, mode: OfferMode) {
        let Some(client) = self.get_mut(id) else { return };
        let was = client.has_declared();
        client.mode = mode;
        let is = client.has_declared();
        self.count_declared(was, is);
    }

    /// How many wait for what they have declared; see [`Client::has_declared`].
    pub(super) fn declared(&self) -> usize {
        self.declared
    }

    fn count_declared(&mut self, was: bool, is: bool) {
        self.declared = self.declared + usize::from(is) - usize::from(was);
    }

    /// All its filters are void from now on.
    pub(super) fn begin_epoch(&mut self, id: ClientIndex) {
        self.last_epoch = self.last_epoch.wrapping_add(1);
        let epoch = self.last_epoch;
        if let Some(client) = self.get_mut(id) {
            client.epoch = epoch;
        }
    }

    pub(super) fn refuser(&self, id: ClientIndex) -> Option<Refuser> {
        self.get(id).map(|client| Refuser { client: id, epoch: client.epoch })
    }
}

impl Master {
    /// The client's number, if the framework is subscribed to the role.
    pub(super) fn client_id(&self, framework: FrameworkId, role: &Role) -> Option<ClientIndex> {
        self.frameworks.get(&framework)?.clients.get(role).copied()
    }

    /// The framework as it takes offers for the role, if it is subscribed to it.
    pub(super) fn client_of(&self, framework: FrameworkId, role: &Role) -> Option<&Client> {
        self.client_id(framework, role).and_then(|client| self.clients.get(client))
    }

    /// Brings the framework's clients up to date with the roles that it is subscribed to; filters of earlier connections are void.
    pub(super) fn renew_clients(&mut self, id: FrameworkId) {
        self.drop_clients(id);
        let Some(framework) = self.frameworks.get_mut(&id) else { return };
        let (mode, roles) = (framework.mode(), framework.record.info.roles.clone());
        let offer_timeout = framework.record.info.offer_timeout.unwrap_or(self.config.offer_timeout);
        let offer_timeout = offer_timeout.min(self.config.offer_timeout_max);
        for role in roles {
            let mode = mode_for(&self.offer_modes, &role).unwrap_or(mode);
            let client = self.sorter.enter(&role, id);
            framework.clients.insert(role.clone(), client);
            let row = Client {
                framework: id,
                role,
                mode,
                wanted: None,
                epoch: 0,
                offer_timeout,
                offered: None,
                standing: 0,
                bound: u32::MAX,
                is_bounded: false,
                rules: ClientRules::default(),
                calm: 0,
            };
            self.clients.put(client, Some(row));
            self.clients.begin_epoch(client);
        }
        self.enter_rules(id);
    }

    pub(super) fn drop_clients(&mut self, id: FrameworkId) {
        let Some(framework) = self.frameworks.get_mut(&id) else { return };
        for client in std::mem::take(&mut framework.clients).into_values() {
            self.dirty_clients.remove(&client);
            self.leave_rules(client);
            self.clients.put(client, None);
        }
    }

    /// The client waits for that from now on. Whether it may want something that it did not want before.
    pub(super) fn want(&mut self, id: ClientIndex, demand: Option<&Demand>) -> Change {
        let per_demand = self.config.offers_per_demand;
        let Some(client) = self.clients.get_mut(id) else { return Change::None };
        let wanted = demand.map(|demand| demand.shapes.iter().cloned().map(Wanted::new).collect::<Arc<[Wanted]>>());
        let change = match (&client.wanted, &wanted) {
            (Some(old), Some(new)) => compare(old, new),
            (None, None) => Change::None,
            (None, Some(_)) => Change::Less,
            (Some(_), None) => Change::More,
        };
        let count = |wanted: &Arc<[Wanted]>| wanted.iter().fold(0, |sum: u32, one| sum.saturating_add(one.shape.count));
        client.bound = wanted.as_ref().map_or(u32::MAX, |wanted| per_demand.saturating_add(count(wanted)));
        let was = client.has_declared();
        client.wanted = wanted;
        let is = client.has_declared();
        self.clients.count_declared(was, is);
        change
    }
}

/// What a new declaration means beside the old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The same shapes, with other counts.
    None,
    /// Some shapes are new.
    More,
    /// Some shapes are gone.
    Less,
    /// Some are new, and some are gone.
    Both,
}

impl Change {
    pub(super) const fn is_more(self) -> bool {
        matches!(self, Self::More | Self::Both)
    }

    pub(super) const fn is_less(self) -> bool {
        matches!(self, Self::Less | Self::Both)
    }
}

fn compare(old: &[Wanted], new: &[Wanted]) -> Change {
    let alike = |a: &Wanted, b: &Wanted| {
        a.quantities == b.quantities
            && a.shape.resources == b.shape.resources
            && a.shape.claims == b.shape.claims
            && a.shape.constraint == b.shape.constraint
            && a.shape.priority == b.shape.priority
    };
    let is_more = new.iter().any(|one| !old.iter().any(|other| alike(one, other)));
    let is_less = old.iter().any(|one| !new.iter().any(|other| alike(one, other)));
    match (is_more, is_less) {
        (false, false) => Change::None,
        (true, false) => Change::More,
        (false, true) => Change::Less,
        (true, true) => Change::Both,
    }
}
