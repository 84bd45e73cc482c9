//! Rounds of offers: who is offered what of which agent, what is taken back, and what a refusal means.
//!
//! A round looks at the agents on which something became free, for everybody who may want it; and for the clients that became willing, at
//! the agents that may have room for what they declared. It looks at nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::available::{Available, nothing_available};
use super::capacity::{Indexed, Magnitude};
use super::clients::{Client, Wanted};
use super::declared::DeclaredFirst;
use super::rules::Rules;
use super::state::{Agent, OfferEntry, Sight, sole};
use super::timers::Timer;
use super::{Master, Outbox, filters};
use crate::allocator::quota::Holding;
use crate::allocator::sorter::ClientIndex;
use crate::model::{
    AgentId, Event, FrameworkId, Guarantee, Offer, OfferId, OfferMode, Quantities, Refusal, ResourceName, Resources,
    Role, Time,
};
use crate::planted::{Fault, planted};

/// The shortest refusal; a framework that refuses for no time at all would be asked again at once, for ever.
const REFUSAL_MIN: Duration = Duration::from_millis(100);
/// How long an optimistic offer is left alone while others wait for the same agent.
const TURN: Duration = Duration::from_secs(5);
/// The most offers that one offer may have replaced and still be accepted under.
const REPLACED_MAX: usize = 8;
/// For each offer that a client may have more, at most so many agents that fit are looked at closely.
const LOOKS_PER_OFFER: usize = 4;

/// Who is looked at in a round.
#[derive(Clone, Copy, Debug)]
enum Asked<'a> {
    Everybody,
    These(&'a BTreeSet<ClientIndex>),
}

impl Asked<'_> {
    fn includes(self, client: ClientIndex) -> bool {
        match self {
            Self::Everybody => true,
            Self::These(clients) => clients.contains(&client),
        }
    }
}

/// An agent, and where it is among the others: agents are never taken out of their list.
type Which = (AgentId, usize);

/// Those who may be offered something: some, and then all.
struct Candidates<'a> {
    few: SmallVec<[ClientIndex; 4]>,
    /// How many of the few were named.
    next: usize,
    all: Option<DeclaredFirst<'a>>,
}

impl Iterator for Candidates<'_> {
    type Item = ClientIndex;

    fn next(&mut self) -> Option<ClientIndex> {
        match self.few.get(self.next) {
            Some(id) => {
                self.next += 1;
                Some(*id)
            }
            None => self.all.as_mut()?.next(),
        }
    }
}

/// One look at an agent, from who comes first to who comes last.
#[derive(Debug, Default)]
struct Look {
    /// Whether exclusive offers are gathered for somebody who came before: then no more is locked.
    is_gathering: bool,
    /// Whether there are as many optimistic offers as may be: only who has one already may get a larger one.
    is_full: bool,
    /// How many offers were made.
    taken: usize,
    /// What there is for those who were asked about.
    available: SmallVec<[(Sight, Arc<Available>); 2]>,
    /// Whether what is left is reserved.
    is_rest_reserved: bool,
    /// Those who were offered less, or nothing, because of quota.
    pressed: SmallVec<[ClientIndex; 2]>,
}

impl Look {
    /// What of the agent there is for `role`; `None` if there is nothing for anybody.
    fn available_to(&mut self, agent: &Agent, role: &Role, rules: &Rules) -> Option<Arc<Available>> {
        let sight = agent.sight_of(role);
        let known = self.available.iter().find(|(known, _)| sight.is_some_and(|sight| sight == *known));
        let available = match known {
            Some((_, available)) => available.clone(),
            None if sight.is_some_and(|sight| !sight.has_reserved) && agent.is_open_part_locked() => {
                self.is_rest_reserved = true;
                return if agent.is_unreserved() { None } else { Some(nothing_available()) };
            }
            None => {
                let available = Arc::new(Available::new(agent.available(role)));
                self.available.extend(sight.map(|sight| (sight, available.clone())));
                available
            }
        };
        if sight.is_some_and(|sight| !sight.has_reserved) && !rules.is_worth_a_look(&available) {
            // Nothing is left for anybody, so nothing more can be locked away from who waits for what is: the look ends here. Unless
            // something is reserved for somebody.
            self.is_rest_reserved = true;
            if agent.is_unreserved() {
                return None;
            }
        }
        Some(available)
    }
}

impl Master {
    /// What the agent has free has changed: everybody may be offered it.
    pub(super) fn look_at_changed(&mut self, agent: AgentId, out: &mut Outbox) {
        let Some(at) = self.agents.get_index_of(&agent) else { return };
        let free = self.reindex(agent, at);
        self.prune_offers(at, out);
        self.offer_agent((agent, at), Asked::Everybody, free, out);
    }

    /// The clients became willing: they may be offered what the agent has free.
    pub(super) fn look_for(&mut self, clients: &BTreeSet<ClientIndex>, agent: AgentId, out: &mut Outbox) {
        let Some(at) = self.agents.get_index_of(&agent) else { return };
        self.offer_agent((agent, at), Asked::These(clients), None, out);
    }

    /// Brings the index of free capacity up to date with the agent, which is the one at `at`, and says what is free there, if it is for all.
    pub(super) fn reindex(&mut self, id: AgentId, at: usize) -> Option<Arc<Available>> {
        let agent = &mut self.agents[at];
        let mut new = Indexed::default();
        let for_all = agent.is_unreserved().then(|| self.common.available(&agent.free));
        let fresh;
        let free = match &for_all {
            Some(free) => free,
            None => {
                fresh = Available::new(agent.free.clone());
                &fresh
            }
        };
        if agent.is_usable() && self.rules.is_worth_a_look(free) {
            new.cpus = Some(Magnitude::of(free.quantities.get(&ResourceName::Cpus)));
        }
        if new.cpus.is_some() && free.has_devices {
            let devices = free.resources.device_shares().filter_map(|(id, _)| agent.devices.get(id));
            new.kinds = devices.map(|entry| entry.device.kind.clone()).collect();
            new.kinds.sort_unstable();
            new.kinds.dedup();
        }
        if agent.indexed != new {
            self.capacity.update(id, &agent.indexed, &new);
            agent.indexed = new;
        }
        for_all
    }

    /// The agents on which there may be something for one of the clients: for those that declared what they wait for, as many as they
    /// may have offers more; for the others all that have something free.
    pub(super) fn agents_for(&mut self, clients: &BTreeSet<ClientIndex>) -> Vec<AgentId> {
        if clients.iter().any(|id| self.clients.get(*id).is_some_and(|client| client.wanted.is_none())) {
            let mut agents: Vec<AgentId> = self.capacity.all().collect();
            agents.sort_unstable();
            return agents;
        }
        let mut agents = Vec::new();
        for id in clients {
            let Some(wanted) = self.clients.get(*id).and_then(|client| client.wanted.clone()) else { continue };
            wanted.iter().for_each(|wanted| self.find_room(*id, wanted, &mut agents));
        }
        agents.sort_unstable();
        agents.dedup();
        agents
    }

    /// Adds agents on which there is room for what the client waits for.
    fn find_room(&mut self, id: ClientIndex, wanted: &Wanted, found: &mut Vec<AgentId>) {
        let seed = self.config.seed ^ self.capacity.look();
        let Some(client) = self.clients.get(id) else { return };
        let mut room = client.bound.saturating_sub(client.standing);
        let mut looks = (room as usize).saturating_mul(LOOKS_PER_OFFER);
        for agent_id in self.capacity.places_for(wanted, seed) {
            if room == 0 || looks == 0 {
                break;
            }
            let agent = &self.agents[&agent_id];
            let available = Available::new(agent.available(&client.role));
            let permitted = self.permitted(agent_id, client.framework, &client.role, &available.resources);
            let available = permitted.map_or(available, |permitted| Available::new(Arc::new(permitted)));
            let available = self.offerable(agent, id, client, Arc::new(available));
            let may = agent.admits(client) && self.rules.is_enough(agent, client, &available);
            if !may || !self.meets(agent, wanted, &available) || self.has_refused(id, agent, &available) {
                continue;
            }
            found.push(agent_id);
            looks -= 1;
            room -= u32::from(agent.offers.len() < self.config.offer_fanout);
        }
        let client = self.clients.get_mut(id).expect("it was there above");
        client.is_bounded = room == 0 || looks == 0;
    }

    /// Offers what is free on the agent, to those who come first; only to those who are asked. What is free may be known already.
    fn offer_agent(&mut self, which: Which, asked: Asked<'_>, free: Option<Arc<Available>>, out: &mut Outbox) {
        let mut look = Look::default();
        let (id, at) = which;
        let agent = &self.agents[at];
        if let Some(free) = free.filter(|free| agent.is_available_to_all(&free.resources)) {
            look.available.extend(agent.common_sight().map(|sight| (sight, free)));
        }
        let mut seen = std::mem::take(&mut self.seen);
        self.looks += 1;
        seen.resize(self.clients.len(), 0);
        while let Some((client, available)) = self.next_taker(which, asked, &mut look, &mut seen) {
            if self.make_room(which, client, out) {
                look.taken += 1;
                if self.make_offer(which, client, &available, out) == OfferMode::Exclusive {
                    look.available.clear();
                }
            } else if self.clients.get(client).is_some_and(|client| client.mode == OfferMode::Optimistic) {
                look.is_full = true;
            }
        }
        self.seen = seen;
        self.remember_pressed(id, &look.pressed);
    }

    /// The first client, of those that this look has not seen yet, that wants what is available on the agent.
    fn next_taker(
        &mut self,
        (id, at): Which,
        asked: Asked<'_>,
        look: &mut Look,
        seen: &mut [u64],
    ) -> Option<(ClientIndex, Arc<Available>)> {
        let agent = &self.agents[at];
        if !agent.is_usable() || agent.free.is_empty() || agent.is_locked_whole() {
            return None;
        }
        let mut later: Option<Time> = None;
        let mut found = None;
        let mut candidates = self.candidates(agent, asked, look);
        while let Some(client_id) = candidates.next() {
            let Some(client) = self.clients.get(client_id) else { continue };
            if std::mem::replace(&mut seen[client_id.index()], self.looks) == self.looks || !agent.admits(client) {
                continue;
            }
            if look.is_rest_reserved && self.leaves_too_little(agent, client) {
                continue;
            }
            let was_for_all = !look.is_rest_reserved;
            let Some(mut available) = look.available_to(agent, &client.role, &self.rules) else { break };
            if was_for_all && look.is_rest_reserved {
                // Only those need be asked now for whom it is reserved.
                candidates = self.candidates(agent, asked, look);
            }
            if let Some(permitted) = self.permitted(id, client.framework, &client.role, &available.resources) {
                look.pressed.push(client_id);
                available = Arc::new(Available::new(Arc::new(permitted)));
            }
            let available = self.offerable(agent, client_id, client, available);
            look.is_gathering = look.is_gathering || self.waits_for_locked(agent, client_id, client, &available);
            let may = asked.includes(client_id) && !(look.is_gathering && client.mode == OfferMode::Exclusive);
            if !may
                || !self.rules.is_enough(agent, client, &available)
                || !self.wants(agent, client_id, client, &available)
            {
                continue;
            }
            match self.grows_later(agent, client_id, client, &available) {
                Some(due) => later = Some(later.map_or(due, |later| later.min(due))),
                None => {
                    found = Some((client_id, available));
                    break;
                }
            }
        }
        drop(candidates);
        if let Some(due) = later {
            self.look_again(id, due);
        }
        found
    }

    /// Those who may be offered something of the agent, who comes first first. Of all that is asked about a single client the order says
    /// nothing, unless exclusive offers are to be gathered for those before it.
    fn candidates<'a>(&'a self, agent: &Agent, asked: Asked<'_>, look: &Look) -> Candidates<'a> {
        let mut few = SmallVec::new();
        let mut all = None;
        match asked {
            _ if look.is_full => few.extend(agent.offers.iter().map(|(_, client)| *client)),
            Asked::These(clients) if clients.len() == 1 && agent.locked.is_empty() => {
                let takes = |id: &&ClientIndex| self.clients.get(**id).is_some_and(|client| self.takes_offers(client));
                few.extend(clients.first().filter(takes).copied());
            }
            _ if look.is_rest_reserved && self.only_heir(agent, &mut few) => {}
            _ => {
                few = self.class_waiters(agent, look.taken);
                all = Some(self.declared_first(look.taken));
            }
        }
        Candidates { few, next: 0, all }
    }

    /// Those who take offers and may use something that is reserved on the agent.
    fn heirs(&self, agent: &Agent) -> impl Iterator<Item = ClientIndex> {
        let mut owners: SmallVec<[&Role; 2]> = SmallVec::new();
        for owner in agent.free.iter().filter_map(|(flavor, _)| flavor.role()) {
            if owners.last() != Some(&owner) {
                owners.push(owner);
            }
        }
        owners.sort_unstable();
        owners.dedup();
        owners.into_iter().flat_map(|owner| self.sorter.at_or_below(owner))
    }

    /// Whether there is at most one of them, so that their order need not be asked for; names it.
    fn only_heir(&self, agent: &Agent, found: &mut SmallVec<[ClientIndex; 4]>) -> bool {
        let mut heirs = self.heirs(agent);
        let first = heirs.next();
        let is_only = heirs.next().is_none();
        found.extend(first.filter(|_| is_only));
        is_only
    }

    /// Whether what exclusive offers leave of the agent is not worth an offer to the client; a quick answer, without making up the offer.
    fn leaves_too_little(&self, agent: &Agent, client: &Client) -> bool {
        let left = || agent.free.plain_quantities_left_for(&client.role, &agent.locked);
        agent.devices.is_empty() && self.rules.is_too_little(client, &left())
    }

    pub(super) fn takes_offers(&self, client: &Client) -> bool {
        self.frameworks.get(&client.framework).is_some_and(|framework| framework.takes_offers(&client.role))
    }

    /// Whether what the client says it waits for would fit the agent if no exclusive offer locked a part of it. Then no more is locked
    /// for those who come after it, or the parts would never be free together.
    fn waits_for_locked(&self, agent: &Agent, id: ClientIndex, client: &Client, available: &Available) -> bool {
        if agent.locked.is_empty() {
            return false;
        }
        let Some(wanted) = &client.wanted else { return false };
        let free = Available::new(agent.free_for(&client.role));
        let only_unlocked = |wanted: &Wanted| self.meets(agent, wanted, &free) && !self.meets(agent, wanted, available);
        wanted.iter().any(only_unlocked) && !self.has_refused(id, agent, &free)
    }

    /// Whether the client wants, and may have, an offer of `available` now.
    fn wants(&self, agent: &Agent, id: ClientIndex, client: &Client, available: &Available) -> bool {
        if self.has_refused(id, agent, available) {
            return false;
        }
        if client.wanted.is_none() && agent.leaving.is_some() {
            return false;
        }
        let standing = self.standing_offer(agent, id);
        if let Some(wanted) = &client.wanted {
            let has_enough = client.standing >= client.bound && standing.is_none();
            if has_enough || !wanted.iter().any(|wanted| self.meets(agent, wanted, available)) {
                return false;
            }
        }
        // An exclusive client gets what is new beside what it has; an optimistic one gets a larger offer for the one it has.
        let has_it = |entry: &OfferEntry| {
            Arc::ptr_eq(&entry.offer.resources, &available.resources)
                || entry.offer.resources.contains(&available.resources)
        };
        client.mode == OfferMode::Exclusive || !standing.is_some_and(has_it)
    }

    /// Until when the client's optimistic offer of the agent is left to stand, although it could be a larger one.
    fn grows_later(&self, agent: &Agent, id: ClientIndex, client: &Client, available: &Available) -> Option<Time> {
        let standing = self.standing_offer(agent, id).filter(|_| client.mode == OfferMode::Optimistic)?;
        let due = standing.issued + self.config.offer_growth_delay;
        if due <= self.now {
            return None;
        }
        let offered = Available::new(standing.offer.resources.clone());
        let only_larger =
            |wanted: &Wanted| self.meets(agent, wanted, available) && !self.meets(agent, wanted, &offered);
        let is_needed = client.wanted.as_ref().is_some_and(|wanted| wanted.iter().any(only_larger));
        (!is_needed).then_some(due)
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

    fn has_refused(&self, id: ClientIndex, agent: &Agent, available: &Available) -> bool {
        let refuser = self.clients.refuser(id).expect("a client that is asked about is known");
        agent.filters.hold(refuser, &available.resources, self.now)
    }

    fn standing_offer(&self, agent: &Agent, id: ClientIndex) -> Option<&OfferEntry> {
        let (offer, _) = agent.offers.iter().find(|(_, client)| *client == id)?;
        Some(&self.offers[offer])
    }

    /// Whether one more offer of the agent may be made to this client: an optimistic one has at most
    /// [`Config::offer_fanout`](super::Config::offer_fanout) beside it, and who has had his turn makes way.
    fn make_room(&mut self, (id, at): Which, client: ClientIndex, out: &mut Outbox) -> bool {
        let is_exclusive = self.clients.get(client).is_some_and(|client| client.mode == OfferMode::Exclusive);
        let agent = &self.agents[at];
        if agent.offers.is_empty() {
            return true;
        }
        let standing = agent.offers.iter().map(|(offer, _)| &self.offers[offer]);
        let optimistic = standing.filter(|entry| entry.offer.mode == OfferMode::Optimistic);
        let turns: SmallVec<[(Time, OfferId); 4]> = optimistic.map(|entry| (entry.made, entry.offer.id)).collect();
        let Some((made, oldest)) = turns.iter().min().copied() else { return true };
        let has_one = agent.offers.iter().any(|(_, holder)| *holder == client);
        let is_nominated = self.clients.get(client).is_some_and(|client| self.has_nomination(id, client));
        if !is_exclusive && (turns.len() < self.config.offer_fanout || has_one || is_nominated) {
            return true;
        }
        let turn_ends = made.max(agent.turned) + TURN;
        if self.now < turn_ends {
            self.look_again(id, turn_ends);
            return false;
        }
        self.agents[at].turned = self.now;
        if is_exclusive {
            // What is locked is in one offer only: the optimistic offers of the agent end, and are made anew from what is left.
            self.rescind_where(id, |entry| entry.offer.mode == OfferMode::Optimistic, out);
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
        (agent, at): Which,
        client_id: ClientIndex,
        available: &Available,
        out: &mut Outbox,
    ) -> OfferMode {
        let (made, replaces) = self.replace_standing(agent, client_id, out);
        let (id, since) = (OfferId::new(self.term, self.next_seq()), self.wall());
        let resources = available.resources.clone();
        let client = self.clients.get_mut(client_id).expect("an offer is made to a known client");
        client.standing += 1;
        client.offered = Some(self.now);
        let (framework, mode, role) = (client.framework, client.mode, client.role.clone());
        let expires_in = (mode == OfferMode::Exclusive).then_some(client.offer_timeout);
        let taker = self.frameworks.get_mut(&framework).expect("a client's framework is known");
        taker.offers.push(id);
        taker.offers_made += 1;
        let state = &mut self.agents[at];
        state.offers.push((id, client_id));
        let locks = (mode == OfferMode::Exclusive).then(|| sole(&resources));
        let charged = locks.as_ref().map(|locks| state.charged_for(available, locks));
        self.touched.locked.extend(locks.as_ref().map(|_| agent));
        if let Some(locks) = locks.filter(|_| !planted(Fault::OfferNotLocked)) {
            state.lock(locks);
        }
        let guarantee = match self.quotas.has_unmet() && self.quotas.is_borrowed(&role, &state.quantities(&resources)) {
            true => Guarantee::Revocable,
            false => Guarantee::Firm,
        };
        if let Some(charged) = &charged {
            taker.locked.add(charged);
            self.quotas.charge(&role, Holding::Offer, charged);
            self.touched.role(&role);
        }
        let offer = Arc::new(Offer {
            id,
            agent,
            info: state.record.info.clone(),
            role,
            devices: state.devices_in(&resources),
            resources,
            mode,
            expires_in,
            guarantee,
        });
        self.unsent.push((framework, state.with_gpus(&offer)));
        self.share_offer(client_id, framework, &offer, charged.as_ref());
        self.replaced.extend(replaces.iter().map(|old| (*old, id)));
        let entry = OfferEntry {
            offer: offer.clone(),
            framework,
            client: client_id,
            made,
            issued: self.now,
            since,
            expiry: expires_in.map(|timeout| self.timers.set(self.now + timeout, Timer::Offer(id))),
            charged: charged.unwrap_or_default(),
            is_shown: false,
            replaces,
        };
        self.offers.insert(id, entry);
        self.stats.offers_made += 1;
        self.touched.offers.push(id);
        mode
    }

    /// Moves who was made an offer to where he belongs in the order of shares, and in that of the classes of the devices that it locks.
    fn share_offer(
        &mut self,
        client: ClientIndex,
        framework: FrameworkId,
        offer: &Offer,
        charged: Option<&Quantities>,
    ) {
        self.sorter.offered(client, charged);
        let Some(charged) = charged else { return };
        offer.resources.reserved_solely().for_each(|(role, part)| self.sorter.unreserve(role, &part));
        if !offer.devices.is_empty() {
            self.class_order.charge(&offer.role, framework, charged);
            self.rank_classes();
        }
    }

    /// Tells the frameworks of the offers that were made to them, each of all its own at once. Who comes first in the order of shares is
    /// told first: of those that are offered the same thing, the first to accept gets it.
    pub(super) fn send_offers(&mut self, out: &mut Outbox) {
        if self.unsent.is_empty() {
            return;
        }
        let mut letters = std::mem::take(&mut self.letters);
        for (framework, offer) in self.unsent.drain(..) {
            letters.entry(framework).or_default().push(offer);
        }
        for (framework, offers) in letters.drain(..) {
            self.tell(framework, Event::Offers(offers), out);
        }
        self.letters = letters;
    }

    /// Takes the client's optimistic offer of the agent back for a larger one, which can be accepted under the old id too.
    /// The turn goes on: it began when the first of them was made. An offer that was pruned can be accepted under its id as well:
    /// a framework whose demand comes and goes within one way there and back would else never name one that stands.
    fn replace_standing(&mut self, agent: AgentId, client: ClientIndex, out: &mut Outbox) -> (Time, Vec<OfferId>) {
        let Some(Client { mode: OfferMode::Optimistic, framework, role, .. }) = self.clients.get(client) else {
            return (self.now, Vec::new());
        };
        let Some(old) = self.standing_offer(&self.agents[&agent], client) else {
            let state = self.agents.get_mut(&agent).expect("the caller has found it");
            let pruned = state.pruned.remove(framework).unwrap_or_default();
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
        let entry = self.offers.swap_remove(&id)?;
        for old in &entry.replaces {
            self.replaced.remove(old);
        }
        if let Some(key) = entry.expiry {
            self.timers.cancel(key);
        }
        if let Some(framework) = self.frameworks.get_mut(&entry.framework) {
            let offers = &self.offers;
            framework.offers.end_one(|id| offers.contains_key(id));
            let was_locked = framework.locked.subtract(&entry.charged);
            debug_assert!(was_locked, "an exclusive offer is locked while it stands");
        }
        if let Some(client) = self.clients.get_mut(entry.client) {
            client.standing = client.standing.saturating_sub(1);
            if client.is_bounded {
                // There may be another agent for it.
                self.dirty_clients.insert(entry.client);
            }
        }
        let agent = self.agents.get_mut(&entry.offer.agent).expect("an offer's agent is known");
        agent.offers.retain(|(offer, _)| *offer != id);
        if entry.offer.mode == OfferMode::Exclusive {
            agent.unlock(&entry.offer.resources);
            entry.offer.resources.reserved_solely().for_each(|(role, part)| self.sorter.reserve(role, &part));
            self.sorter.take_back(entry.client, &entry.charged);
            if !entry.offer.devices.is_empty() {
                self.class_order.credit(&entry.offer.role, entry.framework, &entry.charged);
            }
            self.quotas.credit(&entry.offer.role, Holding::Offer, &entry.charged);
            self.touched.role(&entry.offer.role);
            self.touched.locked.push(entry.offer.agent);
        }
        if !entry.is_shown {
            // No row of it will tell that it was made.
            self.touched.frameworks.push(entry.framework);
        }
        self.touched.offers.push(id);
        self.note_offer_end(&entry);
        self.want_agent_round(entry.offer.agent);
        Some(entry)
    }

    /// Takes an offer back and says so.
    pub(super) fn rescind(&mut self, id: OfferId, out: &mut Outbox) {
        if self.unsent.first().is_some_and(|(_, offer)| offer.id <= id) {
            self.send_offers(out);
        }
        if let Some(entry) = self.remove_offer(id) {
            self.stats.offers_rescinded += 1;
            if !planted(Fault::ForgetRescind) {
                self.tell(entry.framework, Event::Rescind(vec![id]), out);
            }
        }
    }

    fn rescind_where(&mut self, agent: AgentId, which: impl Fn(&OfferEntry) -> bool, out: &mut Outbox) {
        let ids: SmallVec<[OfferId; 4]> =
            self.agents[&agent].offers.iter().map(|(id, _)| *id).filter(|id| which(&self.offers[id])).collect();
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
        for id in client.offers.named().collect::<Vec<_>>() {
            self.remove_offer(id);
        }
        for agent in self.agents.values_mut() {
            agent.pruned.remove(&framework);
        }
    }

    pub(super) fn rescind_for_roles(&mut self, framework: FrameworkId, roles: &BTreeSet<Role>, out: &mut Outbox) {
        let offers = self.frameworks[&framework].offers.named();
        let is_for = |id: &OfferId| self.offers.get(id).is_some_and(|entry| roles.contains(&entry.offer.role));
        let ids: Vec<OfferId> = offers.filter(is_for).collect();
        for id in ids {
            self.rescind(id, out);
        }
    }

    /// What the framework waits for has changed: offers that are of no use to it any more are taken back.
    pub(super) fn prune_framework_offers(&mut self, framework: FrameworkId, out: &mut Outbox) {
        let offers = self.frameworks[&framework].offers.named();
        let useless = |id: &OfferId| {
            let entry = self.offers.get(id);
            entry.is_some_and(|entry| !self.is_useful(&self.agents[&entry.offer.agent], entry))
        };
        for id in offers.filter(useless).collect::<Vec<_>>() {
            self.prune(id, out);
        }
    }

    /// Takes back an optimistic offer that is of no use now; the acceptance that may be on its way is judged by the next one.
    pub(super) fn prune(&mut self, id: OfferId, out: &mut Outbox) {
        let Some(entry) = self.offers.get(&id) else { return };
        let state = self.agents.get_mut(&entry.offer.agent).expect("an offer's agent is known");
        let pruned = state.pruned.entry(entry.framework).or_default();
        pruned.push((entry.offer.role.clone(), id));
        let excess = pruned.len().saturating_sub(REPLACED_MAX);
        pruned.drain(..excess);
        self.rescind(id, out);
    }

    /// What exclusive offers lock has changed under them, devices mostly: those that hold what is no longer free are taken back.
    pub(super) fn unlock_lost(&mut self, id: AgentId, out: &mut Outbox) {
        let agent = &self.agents[&id];
        if agent.locked.is_empty() || agent.free.contains(&agent.locked) {
            return;
        }
        let free = agent.free.clone();
        self.rescind_where(
            id,
            |entry| entry.offer.mode == OfferMode::Exclusive && !free.contains(&sole(&entry.offer.resources)),
            out,
        );
    }

    /// Optimistic offers of which nothing useful is left are taken back.
    fn prune_offers(&mut self, at: usize, out: &mut Outbox) {
        let agent = &self.agents[at];
        let ids = agent.offers.iter().map(|(offer, _)| *offer);
        let useless: SmallVec<[OfferId; 4]> = ids.filter(|id| !self.is_useful(agent, &self.offers[id])).collect();
        for offer in useless {
            self.prune(offer, out);
        }
    }

    fn is_useful(&self, agent: &Agent, entry: &OfferEntry) -> bool {
        if entry.offer.mode == OfferMode::Exclusive {
            return true;
        }
        let mut available = agent.available(&entry.offer.role);
        if let Some(permitted) = self.permitted(entry.offer.agent, entry.framework, &entry.offer.role, &available) {
            available = Arc::new(permitted);
        }
        let mut available = Arc::new(Available::new(available));
        let Some(client) = self.clients.get(entry.client) else { return false };
        if entry.offer.resources.is_revocable() {
            available = self.offerable(agent, entry.client, client, available);
        }
        agent.admits(client)
            && self.rules.is_enough(agent, client, &available)
            && client
                .wanted
                .as_ref()
                .is_none_or(|wanted| wanted.iter().any(|wanted| self.meets(agent, wanted, &available)))
    }

    pub(super) fn on_offer_expired(&mut self, id: OfferId, out: &mut Outbox) {
        self.stats.offers_expired += 1;
        self.rescind(id, out);
    }

    pub(super) fn decline(&mut self, framework: FrameworkId, offers: &[OfferId], refusal: &Refusal) {
        for id in offers {
            // One that was replaced is gone; what replaced it has reached the framework meanwhile, or will, and is judged in its turn.
            let id = *id;
            if self.offers.get(&id).is_none_or(|entry| entry.framework != framework) {
                continue;
            }
            let Some(entry) = self.remove_offer(id) else { continue };
            self.stats.offers_declined += 1;
            self.note_decline(framework, &entry.offer.role, refusal.reason.as_ref());
            let (agent, role) = (entry.offer.agent, &entry.offer.role);
            let duration = self.refusal_time(framework, agent, role, &entry.offer.resources, refusal).max(REFUSAL_MIN);
            let refusal = Refusal { duration, ..refusal.clone() };
            self.decline_nominations(entry.offer.agent, framework, &entry.offer.role);
            self.refuse(framework, entry.offer.agent, &entry.offer.role, entry.offer.resources.clone(), &refusal);
            if let Some(client) = self.frameworks.get_mut(&framework) {
                client.offers_declined += 1;
            }
            self.touched.frameworks.push(framework);
        }
    }

    /// The framework does not want `resources` of that agent for a while.
    pub(super) fn refuse(
        &mut self,
        framework: FrameworkId,
        agent: AgentId,
        role: &Role,
        resources: Arc<Resources>,
        refusal: &Refusal,
    ) {
        if refusal.duration.is_zero() || resources.is_empty() || planted(Fault::LoseFilters) {
            return;
        }
        let duration = if planted(Fault::FilterForEver) { Refusal::MAX } else { refusal.duration.min(Refusal::MAX) };
        let until = filters::end_of(self.now + duration);
        let client = self.client_id(framework, role);
        let Some(refuser) = client.and_then(|client| self.clients.refuser(client)) else { return };
        let reason = self.reasons.intern(refusal.reason.as_ref());
        let Some(state) = self.agents.get_mut(&agent) else { return };
        state.filters.refuse(refuser, resources, until, reason);
        self.look_at_filters(agent, until);
    }

    /// Filters of the agent are looked at again at `due` at the latest.
    fn look_at_filters(&mut self, agent: AgentId, due: Time) {
        let Some(state) = self.agents.get_mut(&agent) else { return };
        match state.filters_end {
            Some(set) if set.at() <= due => return,
            Some(set) => self.timers.cancel(set),
            None => {}
        }
        state.filters_end = Some(self.timers.set(due, Timer::Filters(agent)));
    }

    pub(super) fn on_filters_end(&mut self, id: AgentId) {
        let now = self.now;
        let Some(agent) = self.agents.get_mut(&id) else { return };
        agent.filters_end = None;
        if let Some(next) = agent.filters.expire(now) {
            self.look_at_filters(id, next);
        }
        self.want_agent_round(id);
    }
}
