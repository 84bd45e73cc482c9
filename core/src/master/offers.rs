//! Rounds of offers: who is offered what of which agent, what is taken back, and what a refusal means.
//!
//! A round looks at the agents on which something became free and at the frameworks that became willing, at nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::state::{Agent, Framework, OfferEntry};
use super::timers::Timer;
use super::{Master, Outbox};
use crate::allocator::claims;
use crate::allocator::quota::Holding;
use crate::model::{
    AgentId, Attribute, Attributes, Claim, Device, DeviceId, Event, Filter, FrameworkId, Milli, Offer, OfferId,
    OfferMode, Quantities, Refusal, ResourceName, Resources, Role, Shape, Share, Time,
};

/// The smallest amounts that are worth an offer, as in Mesos: so many cpus, or so much memory. A device always is.
const CPUS_MIN: Milli = Milli(10);
const MEM_MIN: Milli = Milli::from_whole(32);
/// The shortest refusal; a framework that refuses for no time at all would be asked again at once, for ever.
const REFUSAL_MIN: Duration = Duration::from_millis(100);
/// Filters end at multiples of this, so that many end together.
const FILTER_TICK: Duration = Duration::from_millis(100);
/// How long an optimistic offer is left alone while others wait for the same agent.
const TURN: Duration = Duration::from_secs(5);
/// The most offers that one offer may have replaced and still be accepted under.
const REPLACED_MAX: usize = 8;

impl Master {
    /// A round is wanted, now or when changes have been gathered for a while.
    pub(super) fn want_round(&mut self) {
        let due = self.now + self.config.allocation_delay;
        self.round_at.get_or_insert(due);
    }

    pub(super) fn want_agent_round(&mut self, agent: AgentId) {
        self.dirty_agents.insert(agent);
        self.want_round();
    }

    pub(super) fn maybe_round(&mut self, out: &mut Outbox) {
        if self.round_at.is_some_and(|due| due <= self.now) {
            self.round(out);
        }
    }

    fn round(&mut self, out: &mut Outbox) {
        self.round_at = None;
        self.heed_relaxed_limits();
        self.stats.rounds += 1;
        let agents = std::mem::take(&mut self.dirty_agents);
        let frameworks = std::mem::take(&mut self.dirty_frameworks);
        for agent in &agents {
            self.prune_offers(*agent, out);
            self.offer_agent(*agent, None, out);
        }
        if !frameworks.is_empty() {
            let all: Vec<AgentId> = self.agents.keys().copied().filter(|agent| !agents.contains(agent)).collect();
            for agent in all {
                self.offer_agent(agent, Some(&frameworks), out);
            }
        }
    }

    /// Offers what is free on the agent, to those who come first; only to `among`, if given.
    fn offer_agent(&mut self, id: AgentId, among: Option<&BTreeSet<FrameworkId>>, out: &mut Outbox) {
        if !self.agents.get(&id).is_some_and(|agent| agent.is_usable() && !agent.free.is_empty()) {
            return;
        }
        let mut gathering = false;
        // Those who have an offer, once it is known that nobody makes way for one more.
        let mut holders: Option<Vec<FrameworkId>> = None;
        let mut known: Option<(Role, Resources)> = None;
        for (role, framework) in self.candidates(id, among).iter() {
            gathering = gathering || self.waits_for_locked(id, *framework, role);
            let asked = among.is_none_or(|among| among.contains(framework));
            if !asked || holders.as_ref().is_some_and(|holders| !holders.contains(framework)) {
                continue;
            }
            if gathering && self.frameworks.get(framework).is_some_and(|client| client.mode() == OfferMode::Exclusive) {
                continue;
            }
            let (_, available) = match known.take().filter(|(known, _)| known == role) {
                Some(same) => known.insert(same),
                None => known.insert((role.clone(), self.agents[&id].available(role))),
            };
            let permitted = self.permitted_now(id, *framework, role, available);
            let available = permitted.as_ref().unwrap_or(available);
            if !is_worth_offering(available)
                || !self.wants(id, *framework, role, available)
                || self.grows_later(id, *framework, role, available)
            {
                continue;
            }
            if self.make_room(id, *framework, role, out) {
                known = None;
                let available = self.agents[&id].available(role);
                let permitted = self.permitted_now(id, *framework, role, &available);
                self.make_offer(id, *framework, role, permitted.unwrap_or(available), out);
            } else if self.frameworks[framework].mode() == OfferMode::Optimistic {
                let offers = self.agents[&id].offers.iter();
                holders = Some(offers.map(|offer| self.offers[offer].framework).collect());
            }
        }
    }

    /// Those who may be offered something of the agent, who comes first first. Of all that is asked about a single framework in a single
    /// role the order says nothing, unless exclusive offers are to be gathered for those before it.
    fn candidates(&mut self, id: AgentId, among: Option<&BTreeSet<FrameworkId>>) -> Arc<[(Role, FrameworkId)]> {
        let single =
            among.filter(|among| among.len() == 1 && self.agents[&id].locked.is_empty()).and_then(BTreeSet::first);
        if let Some(framework) = single
            && let Some(client) = self.frameworks.get(framework).filter(|client| client.record.info.roles.len() == 1)
        {
            return client.record.info.roles.iter().map(|role| (role.clone(), *framework)).collect();
        }
        self.sorter.order()
    }

    /// Whether what the framework says it waits for would fit the agent if no exclusive offer locked a part of it. Then no more is locked
    /// for those who come after it, or the parts would never be free together.
    fn waits_for_locked(&self, agent: AgentId, framework: FrameworkId, role: &Role) -> bool {
        let state = &self.agents[&agent];
        if state.locked.is_empty() {
            return false;
        }
        let Some(client) = self.frameworks.get(&framework).filter(|client| client.takes_offers(role)) else {
            return false;
        };
        let Some(demand) = client.demand.get(role) else { return false };
        let (free, available) = (state.free.for_role(role), state.available(role));
        let only_unlocked = |shape: &Shape| state.fits(shape, &free) && !state.fits(shape, &available);
        demand.shapes.iter().any(only_unlocked) && !self.is_filtered(client, agent, role, &free)
    }

    /// Whether the framework wants, and may have, an offer of `available` now.
    fn wants(&self, agent: AgentId, framework: FrameworkId, role: &Role, available: &Resources) -> bool {
        let Some(client) = self.frameworks.get(&framework).filter(|client| client.takes_offers(role)) else {
            return false;
        };
        let state = &self.agents[&agent];
        if self.is_filtered(client, agent, role, available) {
            return false;
        }
        match client.demand.get(role) {
            Some(demand) if !demand.shapes.iter().any(|shape| state.fits(shape, available)) => return false,
            _ => {}
        }
        // An exclusive framework gets what is new beside what it has; an optimistic one gets a larger offer for the one it has.
        let standing = self.standing_offer(agent, framework, role);
        client.mode() == OfferMode::Exclusive || standing.is_none_or(|entry| !entry.offer.resources.contains(available))
    }

    /// Whether the framework's optimistic offer of the agent is left to stand for now, although it could be a larger one.
    fn grows_later(&mut self, agent: AgentId, framework: FrameworkId, role: &Role, available: &Resources) -> bool {
        let client = &self.frameworks[&framework];
        let Some(standing) =
            self.standing_offer(agent, framework, role).filter(|_| client.mode() == OfferMode::Optimistic)
        else {
            return false;
        };
        let due = standing.issued + self.config.offer_growth_delay;
        let (state, offered) = (&self.agents[&agent], &standing.offer.resources);
        let only_larger = |shape: &Shape| state.fits(shape, available) && !state.fits(shape, offered);
        let demand = client.demand.get(role);
        if due <= self.now || demand.is_some_and(|demand| demand.shapes.iter().any(only_larger)) {
            return false;
        }
        self.look_again(agent, due);
        true
    }

    /// A round for the agent at `due` at the latest.
    fn look_again(&mut self, agent: AgentId, due: Time) {
        let state = self.agents.get_mut(&agent).expect("the caller has found it");
        match state.turn {
            Some(set) if set.at() <= due => return,
            Some(set) => self.timers.cancel(set),
            None => {}
        }
        state.turn = Some(self.timers.set(due, Timer::Turn(agent)));
    }

    pub(super) fn is_filtered(
        &self,
        framework: &Framework,
        agent: AgentId,
        role: &Role,
        available: &Resources,
    ) -> bool {
        let filters = framework.filters.get(&(agent, role.clone()));
        filters.is_some_and(|filters| {
            filters.iter().any(|filter| filter.until > self.now && filter.resources.contains(available))
        })
    }

    fn standing_offer(&self, agent: AgentId, framework: FrameworkId, role: &Role) -> Option<&OfferEntry> {
        let offers = self.agents[&agent].offers.iter().map(|id| &self.offers[id]);
        offers.into_iter().find(|entry| entry.framework == framework && entry.offer.role == *role)
    }

    /// Whether one more offer of the agent may be made to this framework: an optimistic one has at most
    /// [`Config::offer_fanout`](super::Config::offer_fanout) beside it, and who has had his turn makes way.
    fn make_room(&mut self, agent: AgentId, framework: FrameworkId, role: &Role, out: &mut Outbox) -> bool {
        let exclusive = self.frameworks[&framework].mode() == OfferMode::Exclusive;
        let optimistic: Vec<(Time, OfferId)> = self.agents[&agent]
            .offers
            .iter()
            .map(|id| &self.offers[id])
            .filter(|entry| entry.offer.mode == OfferMode::Optimistic)
            .map(|entry| (entry.made, entry.offer.id))
            .collect();
        let Some((made, oldest)) = optimistic.iter().min().copied() else { return true };
        let has_one = self.standing_offer(agent, framework, role).is_some();
        let is_nominated = self.preemption.nominations.has(agent, framework, role);
        if !exclusive && (optimistic.len() < self.config.offer_fanout || has_one || is_nominated) {
            return true;
        }
        let state = self.agents.get_mut(&agent).expect("the caller has found it");
        let turn_ends = made.max(state.turned) + TURN;
        if self.now < turn_ends {
            self.look_again(agent, turn_ends);
            return false;
        }
        state.turned = self.now;
        if exclusive {
            // What is locked is in one offer only: the optimistic offers of the agent end, and are made anew from what is left.
            self.rescind_where(agent, |entry| entry.offer.mode == OfferMode::Optimistic, out);
        } else {
            self.rescind(oldest, out);
        }
        true
    }

    pub(super) fn on_turn(&mut self, agent: AgentId) {
        if let Some(state) = self.agents.get_mut(&agent) {
            state.turn = None;
            self.want_agent_round(agent);
        }
    }

    fn make_offer(
        &mut self,
        agent: AgentId,
        framework: FrameworkId,
        role: &Role,
        resources: Resources,
        out: &mut Outbox,
    ) {
        let (made, replaces) = self.replace_standing(agent, framework, role, out);
        let id = OfferId::new(self.term, self.next_seq());
        let info = &self.frameworks[&framework].record.info;
        let mode = info.offer_mode;
        let timeout = info.offer_timeout.unwrap_or(self.config.offer_timeout).min(self.config.offer_timeout_max);
        let expires_in = (mode == OfferMode::Exclusive).then_some(timeout);
        let state = self.agents.get_mut(&agent).expect("the caller has found it");
        let offer = Offer {
            id,
            agent,
            agent_name: state.record.name.clone(),
            role: role.clone(),
            devices: state.devices_in(&resources),
            resources,
            attributes: state.attributes.clone(),
            mode,
            expires_in,
        };
        state.offers.insert(id);
        let mut charged = Quantities::new();
        if mode == OfferMode::Exclusive {
            state.locked.add(&offer.resources);
            charged = state.quantities(&offer.resources);
            self.sorter.charge(role, framework, &charged);
            self.quotas.charge(role, Holding::Offer, &charged);
            self.touched.roles.insert(role.clone());
            self.touched.agents.insert(agent);
        }
        self.sorter.served(role, framework);
        for old in &replaces {
            self.replaced.insert(*old, id);
        }
        let expiry = expires_in.map(|timeout| self.timers.set(self.now + timeout, Timer::Offer(id)));
        let entry = OfferEntry {
            offer: offer.clone(),
            framework,
            made,
            issued: self.now,
            since: self.wall(),
            expiry,
            charged,
            replaces,
        };
        self.offers.insert(id, entry);
        let client = self.frameworks.get_mut(&framework).expect("the caller has found it");
        client.offers.insert(id);
        client.offers_made += 1;
        self.stats.offers_made += 1;
        self.touched.offers.insert(id);
        self.touched.frameworks.insert(framework);
        self.tell(framework, Event::Offers(vec![offer]), out);
    }

    /// Takes the framework's optimistic offer of the agent back for a larger one, which can be accepted under the old id too.
    /// The turn goes on: it began when the first of them was made. An offer that was pruned can be accepted under its id as well:
    /// a framework whose demand comes and goes within one way there and back would else never name one that stands.
    fn replace_standing(
        &mut self,
        agent: AgentId,
        framework: FrameworkId,
        role: &Role,
        out: &mut Outbox,
    ) -> (Time, Vec<OfferId>) {
        if self.frameworks[&framework].mode() == OfferMode::Exclusive {
            return (self.now, Vec::new());
        }
        let Some(old) = self.standing_offer(agent, framework, role) else {
            let state = self.agents.get_mut(&agent).expect("the caller has found it");
            let pruned = state.pruned.remove(&framework).unwrap_or_default();
            return (self.now, pruned.into_iter().filter(|(of, _)| of == role).map(|(_, id)| id).collect());
        };
        let (made, mut replaces) = (old.made, old.replaces.clone());
        replaces.push(old.offer.id);
        self.rescind(old.offer.id, out);
        let excess = replaces.len().saturating_sub(REPLACED_MAX);
        (made, replaces.split_off(excess))
    }

    /// Ends an offer: nothing is locked by it any more. The framework is not told.
    pub(super) fn remove_offer(&mut self, id: OfferId) -> Option<OfferEntry> {
        let entry = self.offers.remove(&id)?;
        for old in &entry.replaces {
            self.replaced.remove(old);
        }
        if let Some(key) = entry.expiry {
            self.timers.cancel(key);
        }
        if let Some(framework) = self.frameworks.get_mut(&entry.framework) {
            framework.offers.remove(&id);
        }
        let agent = self.agents.get_mut(&entry.offer.agent).expect("an offer's agent is known");
        agent.offers.remove(&id);
        if entry.offer.mode == OfferMode::Exclusive {
            let unlocked = agent.locked.subtract(&entry.offer.resources);
            debug_assert!(unlocked, "an exclusive offer is locked while it stands");
            self.sorter.credit(&entry.offer.role, entry.framework, &entry.charged);
            self.quotas.credit(&entry.offer.role, Holding::Offer, &entry.charged);
            self.touched.roles.insert(entry.offer.role.clone());
            self.touched.agents.insert(entry.offer.agent);
            self.touched.frameworks.insert(entry.framework);
        }
        self.touched.offers.insert(id);
        self.want_agent_round(entry.offer.agent);
        Some(entry)
    }

    /// Takes an offer back and says so.
    pub(super) fn rescind(&mut self, id: OfferId, out: &mut Outbox) {
        if let Some(entry) = self.remove_offer(id) {
            self.stats.offers_rescinded += 1;
            self.tell(entry.framework, Event::Rescind(vec![id]), out);
        }
    }

    fn rescind_where(&mut self, agent: AgentId, which: impl Fn(&OfferEntry) -> bool, out: &mut Outbox) {
        let ids: Vec<OfferId> =
            self.agents[&agent].offers.iter().copied().filter(|id| which(&self.offers[id])).collect();
        for id in ids {
            self.rescind(id, out);
        }
    }

    /// All offers of the agent end: it is away, or its resources change.
    pub(super) fn withdraw_agent_offers(&mut self, agent: AgentId, out: &mut Outbox) {
        if let Some(state) = self.agents.get_mut(&agent) {
            state.pruned.clear();
            self.rescind_where(agent, |_| true, out);
        }
    }

    /// All offers to the framework end without a word: its connection is new or gone.
    pub(super) fn withdraw_offers(&mut self, framework: FrameworkId) {
        let Some(client) = self.frameworks.get(&framework) else { return };
        for id in client.offers.iter().copied().collect::<Vec<_>>() {
            self.remove_offer(id);
        }
        for agent in self.agents.values_mut() {
            agent.pruned.remove(&framework);
        }
    }

    pub(super) fn rescind_for_roles(&mut self, framework: FrameworkId, roles: &BTreeSet<Role>, out: &mut Outbox) {
        let offers = self.frameworks[&framework].offers.iter().copied();
        let ids: Vec<OfferId> = offers.filter(|id| roles.contains(&self.offers[id].offer.role)).collect();
        for id in ids {
            self.rescind(id, out);
        }
    }

    /// What the framework waits for has changed: offers that are of no use to it any more are taken back.
    pub(super) fn prune_framework_offers(&mut self, framework: FrameworkId, out: &mut Outbox) {
        let offers = self.frameworks[&framework].offers.iter().copied();
        let useless = |id: &OfferId| {
            let entry = &self.offers[id];
            !self.is_useful(&self.agents[&entry.offer.agent], entry)
        };
        for id in offers.filter(useless).collect::<Vec<_>>() {
            self.prune(id, out);
        }
    }

    /// Takes back an optimistic offer that is of no use now; the acceptance that may be on its way is judged by the next one.
    fn prune(&mut self, id: OfferId, out: &mut Outbox) {
        let Some(OfferEntry { offer, framework, .. }) = self.offers.get(&id) else { return };
        let state = self.agents.get_mut(&offer.agent).expect("an offer's agent is known");
        let pruned = state.pruned.entry(*framework).or_default();
        pruned.push((offer.role.clone(), id));
        let excess = pruned.len().saturating_sub(REPLACED_MAX);
        pruned.drain(..excess);
        self.rescind(id, out);
    }

    /// What exclusive offers lock has changed under them, devices mostly: those that hold what is no longer free are taken back.
    pub(super) fn unlock_lost(&mut self, id: AgentId, out: &mut Outbox) {
        let agent = &self.agents[&id];
        if agent.free.contains(&agent.locked) {
            return;
        }
        let free = agent.free.clone();
        self.rescind_where(
            id,
            |entry| entry.offer.mode == OfferMode::Exclusive && !free.contains(&entry.offer.resources),
            out,
        );
    }

    /// Optimistic offers of which nothing useful is left are taken back.
    fn prune_offers(&mut self, id: AgentId, out: &mut Outbox) {
        let Some(agent) = self.agents.get(&id) else { return };
        let useless: Vec<OfferId> =
            agent.offers.iter().copied().filter(|offer| !self.is_useful(agent, &self.offers[offer])).collect();
        for offer in useless {
            self.prune(offer, out);
        }
    }

    fn is_useful(&self, agent: &Agent, entry: &OfferEntry) -> bool {
        if entry.offer.mode == OfferMode::Exclusive {
            return true;
        }
        let available = agent.available(&entry.offer.role);
        let permitted = self.permitted(entry.offer.agent, entry.framework, &entry.offer.role, &available);
        let available = permitted.unwrap_or(available);
        match self.frameworks[&entry.framework].demand.get(&entry.offer.role) {
            Some(demand) => demand.shapes.iter().any(|shape| agent.fits(shape, &available)),
            None => is_worth_offering(&available),
        }
    }

    pub(super) fn on_offer_expired(&mut self, id: OfferId, out: &mut Outbox) {
        self.stats.offers_expired += 1;
        self.rescind(id, out);
    }

    pub(super) fn decline(&mut self, framework: FrameworkId, offers: &[OfferId], refusal: &Refusal) {
        for id in offers {
            let id = self.replaced.get(id).copied().unwrap_or(*id);
            if self.offers.get(&id).is_none_or(|entry| entry.framework != framework) {
                continue;
            }
            let Some(entry) = self.remove_offer(id) else { continue };
            self.stats.offers_declined += 1;
            let refusal = Refusal { duration: refusal.duration.max(REFUSAL_MIN), reason: refusal.reason.clone() };
            self.decline_nominations(entry.offer.agent, framework, &entry.offer.role);
            self.refuse(framework, entry.offer.agent, entry.offer.role, entry.offer.resources, &refusal);
            if let Some(client) = self.frameworks.get_mut(&framework) {
                client.offers_declined += 1;
            }
            self.touched.frameworks.insert(framework);
        }
    }

    /// The framework does not want `resources` of that agent for a while.
    pub(super) fn refuse(
        &mut self,
        framework: FrameworkId,
        agent: AgentId,
        role: Role,
        resources: Resources,
        refusal: &Refusal,
    ) {
        if refusal.duration.is_zero() || resources.is_empty() {
            return;
        }
        let until = round_up(self.now + refusal.duration.min(Refusal::MAX), FILTER_TICK);
        let Some(client) = self.frameworks.get_mut(&framework) else { return };
        let filters = client.filters.entry((agent, role.clone())).or_default();
        // A wider and longer refusal says all that a narrower one did.
        filters.retain(|filter| !(filter.until <= until && resources.contains(&filter.resources)));
        filters.push(Filter { resources, until, reason: refusal.reason.clone() });
        self.timers.set(until, Timer::Filter(framework, agent, role));
    }

    pub(super) fn on_filter_expired(&mut self, framework: FrameworkId, agent: AgentId, role: &Role) {
        let now = self.now;
        let Some(client) = self.frameworks.get_mut(&framework) else { return };
        let key = (agent, role.clone());
        let Some(filters) = client.filters.get_mut(&key) else { return };
        filters.retain(|filter| filter.until > now);
        if filters.is_empty() {
            client.filters.remove(&key);
        }
        self.want_agent_round(agent);
    }
}

impl Agent {
    /// Whether one of `shape` could be run with `available` of this agent.
    pub(super) fn fits(&self, shape: &Shape, available: &Resources) -> bool {
        let constraint = shape.constraint.is_any() || shape.constraint.matches(&AgentAttributes(self));
        constraint && fits_amounts(&shape.resources, available) && self.resolve(&shape.claims, available).is_ok()
    }

    /// The devices in `available` that meet the claims.
    pub(super) fn resolve(
        &self,
        wanted: &[Claim],
        available: &Resources,
    ) -> Result<BTreeMap<DeviceId, Share>, claims::Unmet> {
        let free: BTreeMap<&DeviceId, Share> = available.device_shares().collect();
        let share = |id: &DeviceId| free.get(id).copied().unwrap_or(Share(0));
        claims::resolve(wanted, self.devices.iter().map(|(id, entry)| (&*entry.device, share(id))))
    }

    fn devices_in(&self, resources: &Resources) -> Vec<Arc<Device>> {
        resources.device_shares().filter_map(|(id, _)| self.devices.get(id).map(|entry| entry.device.clone())).collect()
    }
}

/// The attributes of an agent, with its name among them.
pub(super) struct AgentAttributes<'a>(pub(super) &'a Agent);

impl Attributes for AgentAttributes<'_> {
    fn attribute(&self, name: &str) -> Option<Attribute> {
        match name {
            "name" => Some(Attribute::Text(self.0.record.name.clone())),
            _ => self.0.attributes.get(name).cloned(),
        }
    }
}

/// Whether the amounts asked for are there, whatever their reservations.
pub(super) fn fits_amounts(asked: &Resources, available: &Resources) -> bool {
    let ports = ResourceName::ports();
    available.quantities().contains(&asked.quantities()) && available.ranges(&ports).len() >= asked.ranges(&ports).len()
}

fn is_worth_offering(available: &Resources) -> bool {
    let quantities: Quantities = available.quantities();
    quantities.get(&ResourceName::Cpus) >= CPUS_MIN
        || quantities.get(&ResourceName::Mem) >= MEM_MIN
        || available.device_shares().next().is_some()
}

fn round_up(at: Time, tick: Duration) -> Time {
    let tick = u64::try_from(tick.as_micros()).expect("a tick is short");
    Time(at.0.div_ceil(tick) * tick)
}
