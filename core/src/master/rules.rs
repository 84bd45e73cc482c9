//! What frameworks and operators ask of offers: from which agents they may come at all, and how small they may be.
//!
//! An agent is judged once by each set of constraints: when the set comes, and again only when the agent's attributes may have changed. A
//! round looks up the answer. Frameworks with equal constraints share a set.

use std::sync::Arc;

use smallvec::SmallVec;

use super::available::{Available, are_worth_offering};
use super::clients::Client;
use super::registry::Record;
use super::state::Agent;
use super::{Master, Outbox};
use crate::allocator::explain::{CauseKind, ClauseKind};
use crate::allocator::sorter::{ClientIndex, kind_quantity};
use crate::allocator::stock::Finding;
use crate::gate::Output;
use crate::model::{
    AgentId, Attribute, CallId, FrameworkId, Least, Milli, OfferConstraints, OfferRules, Quantities, Regions,
    Rejection, ResourceName, Role, Traits,
};

/// What one client asks of its offers.
#[derive(Debug, Default)]
pub(super) struct ClientRules {
    set: Option<SetId>,
    /// The same as they were said.
    constraints: Option<Arc<OfferConstraints>>,
    regions: Regions,
    /// The smallest offers that it takes, if it says so.
    least: Option<Arc<Least>>,
    /// Whether it takes offers that are too small to be looked at otherwise.
    is_modest: bool,
}

/// Names a set of constraints.
type SetId = usize;

/// Which sets of constraints admit an agent: a bit for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks(SmallVec<[u64; 1]>);

impl Marks {
    fn set(&mut self, id: SetId, is: bool) {
        let (word, bit) = (id / 64, 1 << (id % 64));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        if is {
            self.0[word] |= bit;
        } else {
            self.0[word] &= !bit;
        }
    }

    fn has(&self, id: SetId) -> bool {
        self.0.get(id / 64).is_some_and(|word| word & (1 << (id % 64)) != 0)
    }
}

/// The sets of constraints in use, and how small an offer may be.
#[derive(Debug)]
pub(super) struct Rules {
    /// With how many clients use each.
    sets: Vec<Option<(OfferConstraints, usize)>>,
    /// The master's own least.
    least: Least,
    /// Whether that is what is usual.
    is_usual: bool,
    /// Whether that takes something that is too small to be looked at usually.
    is_modest: bool,
    /// How many clients do.
    modest: usize,
}

impl Rules {
    pub(super) fn new(least: &Least) -> Self {
        Self {
            sets: Vec::new(),
            least: least.clone(),
            is_usual: *least == Least::usual(),
            is_modest: is_modest(least),
            modest: 0,
        }
    }

    /// Whether somebody might take so little; a quick answer for the many agents that are full.
    pub(super) fn is_worth_a_look(&self, available: &Available) -> bool {
        let takes_anything = self.is_modest || self.modest > 0;
        if takes_anything { !available.resources.is_empty() } else { available.is_worth_offering }
    }

    /// Whether so little is not enough for the client, where there are no devices: it has asked for nothing special, and the master was told
    /// nothing else.
    pub(super) fn is_too_little(&self, client: &Client, plain: &Quantities) -> bool {
        let asks_for_nothing = client.rules.least.is_none() && client.wanted.is_none();
        asks_for_nothing && self.is_usual && !are_worth_offering(plain)
    }

    /// Whether an offer of `available` would be large enough for the client. What it says itself counts first; then that it has declared
    /// what it waits for, and the offer is made to that, however small; then what the master was told.
    pub(super) fn is_enough(&self, agent: &Agent, client: &Client, available: &Available) -> bool {
        let least = match (&client.rules.least, &client.wanted) {
            (Some(own), _) => own,
            (None, Some(_)) => return self.is_worth_a_look(available),
            (None, None) if available.has_devices => return true,
            (None, None) if self.is_usual && available.is_plain => return available.is_worth_offering,
            (None, None) => &self.least,
        };
        available.is_at_least(least, agent)
    }

    /// The set of these constraints, and whether it is new.
    fn enter(&mut self, constraints: &OfferConstraints) -> (SetId, bool) {
        let is_like =
            |slot: &Option<(OfferConstraints, usize)>| slot.as_ref().is_some_and(|(other, _)| other == constraints);
        if let Some(id) = self.sets.iter().position(is_like) {
            self.sets[id].as_mut().expect("it was found").1 += 1;
            return (id, false);
        }
        let id = self.sets.iter().position(Option::is_none).unwrap_or(self.sets.len());
        if id == self.sets.len() {
            self.sets.push(None);
        }
        self.sets[id] = Some((constraints.clone(), 1));
        (id, true)
    }

    fn leave(&mut self, id: SetId) {
        let slot = self.sets.get_mut(id).expect("a client's set is there");
        let Some((_, users)) = slot else { return };
        *users -= 1;
        if *users == 0 {
            *slot = None;
        }
    }
}

impl Master {
    /// The framework asks for that from now on.
    pub(super) fn set_rules(&mut self, id: FrameworkId, call: CallId, rules: OfferRules, out: &mut Outbox) {
        let framework = self.frameworks.get_mut(&id).expect("a peer's framework is known");
        if let Err(reject) = rules.check(&framework.record.info.roles) {
            let rejection = Rejection { operation: 0, tasks: Vec::new(), reject };
            return self.outcome(id, call, vec![rejection], out);
        }
        if *framework.record.info.rules != rules {
            framework.record.info.rules = Arc::new(rules);
            let record = framework.record.clone();
            let clients: Vec<ClientIndex> = framework.clients.values().copied().collect();
            out.push(Output::Persist(Record::Framework(id, Some(record))));
            clients.iter().for_each(|client| self.leave_rules(*client));
            self.enter_rules(id);
            self.prune_framework_offers(id, out);
            self.withdraw_nominations(id, |_| true);
            for role in self.frameworks[&id].demand.keys().cloned().collect::<Vec<_>>() {
                self.watch_demand(id, &role);
            }
            self.review_demand_of(id);
            self.touched.frameworks.push(id);
            self.dirty_clients.extend(clients);
            self.want_round();
        }
        self.outcome(id, call, Vec::new(), out);
    }

    /// What the framework asks of offers is looked up by its clients from now on.
    pub(super) fn enter_rules(&mut self, id: FrameworkId) {
        let Some(framework) = self.frameworks.get(&id) else { return };
        let clients: Vec<(Role, ClientIndex)> =
            framework.clients.iter().map(|(role, client)| (role.clone(), *client)).collect();
        let rules = framework.record.info.rules.clone();
        for (role, index) in clients {
            let constraints = rules.constraints.get(&role).filter(|constraints| !constraints.is_any());
            let set = constraints.map(|constraints| self.enter_set(constraints));
            let least = rules.least.get(&role).cloned().map(Arc::new);
            let client = self.clients.get_mut(index).expect("a framework's client is known");
            let constraints = constraints.cloned().map(Arc::new);
            client.rules = ClientRules { set, constraints, regions: rules.regions, least, is_modest: false };
            self.heed_modesty(index);
        }
    }

    fn enter_set(&mut self, constraints: &OfferConstraints) -> SetId {
        let (set, is_new) = self.rules.enter(constraints);
        if is_new {
            for agent in self.agents.values_mut() {
                let admitted = constraints.admit(agent.traits());
                agent.admitted.set(set, admitted);
            }
        }
        set
    }

    /// The client asks for nothing any more.
    pub(super) fn leave_rules(&mut self, id: ClientIndex) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let ClientRules { set, is_modest, .. } = std::mem::take(&mut client.rules);
        if let Some(set) = set {
            self.rules.leave(set);
        }
        // The index keeps what is too small until it changes: that costs a look, and no more.
        self.rules.modest -= usize::from(is_modest);
    }

    /// The agent is new, or may be another than it was.
    pub(super) fn judge_agent(&mut self, id: AgentId) {
        let home = self.config.domain.as_ref();
        let agent = self.agents.get_mut(&id).expect("the caller has found it");
        let own = agent.record.info.domain.as_ref();
        agent.is_remote = home.zip(own).is_some_and(|(home, own)| home.region() != own.region());
        let mut admitted = Marks::default();
        for (set, slot) in self.rules.sets.iter().enumerate() {
            let admits = slot.as_ref().is_some_and(|(constraints, _)| constraints.admit(agent.traits()));
            admitted.set(set, admits);
        }
        agent.admitted = admitted;
    }

    /// The client may take smaller offers than anybody else: then agents with so little left are worth a look. Whether it may take smaller
    /// ones than it would if it had declared nothing.
    pub(super) fn heed_modesty(&mut self, id: ClientIndex) -> bool {
        let Some(client) = self.clients.get_mut(id) else { return false };
        let is = match (&client.rules.least, &client.wanted) {
            (Some(own), _) => is_modest(own),
            (None, Some(wanted)) => {
                wanted.iter().any(|wanted| wanted.shape.claims.is_empty() && is_small(&wanted.quantities))
            }
            (None, None) => false,
        };
        let was = std::mem::replace(&mut client.rules.is_modest, is);
        let is_wider = is || (client.wanted.is_some() && !self.rules.is_usual);
        let is_first = is && !was && self.rules.modest == 0 && !self.rules.is_modest;
        self.rules.modest = self.rules.modest + usize::from(is) - usize::from(was);
        if is_first {
            for (at, agent) in self.agents.keys().copied().enumerate().collect::<Vec<_>>() {
                self.reindex(agent, at);
            }
        }
        is_wider
    }

    /// Whether the framework takes offers of such an agent for the role.
    pub(super) fn is_admitted(&self, framework: FrameworkId, role: &Role, agent: &Agent) -> bool {
        self.client_of(framework, role).is_none_or(|client| agent.admits(client))
    }

    /// Whether the client does not take offers of all agents.
    pub(super) fn has_agent_rules(&self, client: &Client) -> bool {
        client.rules.set.is_some() || (client.rules.regions == Regions::Home && self.config.domain.is_some())
    }

    /// Each agent is marked as the constraints in use judge it.
    pub(super) fn check_rules(&self) {
        for (id, agent) in &self.agents {
            for (set, slot) in self.rules.sets.iter().enumerate() {
                let Some((constraints, _)) = slot else { continue };
                assert_eq!(
                    agent.admitted.has(set),
                    constraints.admit(agent.traits()),
                    "{id}: marked as {constraints} judges"
                );
            }
        }
        for entry in self.offers.values() {
            let client = self.clients.get(entry.client).expect("an offer's client is known");
            let is_fixed = entry.offer.mode == crate::model::OfferMode::Exclusive;
            let agent = &self.agents[&entry.offer.agent];
            assert!(
                is_fixed || agent.admits(client),
                "{}: I8, offered to who takes none of that agent",
                entry.offer.id
            );
        }
    }
}

impl Agent {
    /// Why the client is never offered it, whatever is free.
    pub(super) fn barred_from(&self, client: &Client) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Some(domain) = self.record.info.domain.as_ref().filter(|_| self.is_too_far(client)) {
            findings.push(of_rules(CauseKind::OtherRegion { region: domain.region().clone() }, 0));
        }
        if let Some(constraints) = &client.rules.constraints
            && !self.admits_by_attributes(client)
        {
            let unmet = constraints.unmet(self.traits());
            let miss = unmet.len() as u64;
            findings.push(of_rules(CauseKind::NotAdmitted { unmet: unmet.join(", ") }, miss));
        }
        findings
    }

    /// Why the client is not offered what is free of it, although it would fit.
    pub(super) fn too_small_for(&self, client: &Client) -> Option<Finding> {
        let least = client.rules.least.as_deref()?;
        let is_enough = Available::new(self.available(&client.role)).is_at_least(least, self);
        (!is_enough).then(|| of_rules(CauseKind::BelowLeast { least: least.to_string() }, 0))
    }

    fn admits_by_attributes(&self, client: &Client) -> bool {
        client.rules.set.is_none_or(|set| self.admitted.has(set))
    }

    /// Whether the client takes offers of it.
    pub(super) fn admits(&self, client: &Client) -> bool {
        !self.is_too_far(client) && self.admits_by_attributes(client)
    }

    /// Whether it is in a region that the client takes nothing from.
    pub(super) fn is_too_far(&self, client: &Client) -> bool {
        self.is_remote && client.rules.regions == Regions::Home
    }

    /// What constraints judge it by.
    pub(super) fn traits(&self) -> Traits<'_> {
        let host_name = match self.record.info.attributes.get("host") {
            Some(Attribute::Text(name)) => name,
            _ => &self.record.info.name,
        };
        Traits { host_name, domain: self.record.info.domain.as_ref(), attributes: &self.record.info.attributes }
    }
}

impl Available {
    /// Whether it holds all of one of the alternatives.
    pub(super) fn is_at_least(&self, least: &Least, agent: &Agent) -> bool {
        if least.is_anything() {
            return !self.resources.is_empty();
        }
        least.alternatives().iter().any(|all| all.iter().all(|(name, amount)| self.amount(name, agent) >= amount))
    }

    fn amount(&self, name: &ResourceName, agent: &Agent) -> Milli {
        match name {
            ResourceName::Cpus | ResourceName::Mem | ResourceName::Disk => self.quantities.get(name),
            name if *name == ResourceName::ports() => Milli::from_whole(self.ports),
            name if name.as_str() == "gpus" => agent.quantities(&self.resources).get(&kind_quantity("gpu")),
            name if name.as_str().starts_with(DEVICE) => agent.quantities(&self.resources).get(name),
            name => self.quantities.get(name).plus(Milli::from_whole(self.members(name))),
        }
    }

    /// How many members the sets of that name have.
    fn members(&self, name: &ResourceName) -> u64 {
        self.resources.iter().filter_map(|(_, amounts)| amounts.sets.get(name)).map(|set| set.len() as u64).sum()
    }
}

fn of_rules(cause: CauseKind, miss: u64) -> Finding {
    Finding { clause: ClauseKind::Rules, cause, miss }
}

/// What the quantities of devices begin with.
const DEVICE: &str = "device/";

/// Whether it takes offers that are not worth a look usually.
fn is_modest(least: &Least) -> bool {
    least.is_anything() || least.alternatives().iter().any(is_small)
}

/// Whether so much may be there where there is nothing that is worth a look usually.
fn is_small(quantities: &Quantities) -> bool {
    let has_device = quantities.iter().any(|(name, _)| name.as_str() == "gpus" || name.as_str().starts_with(DEVICE));
    let is_enough = |usual: &Quantities| quantities.contains(usual);
    !has_device && !Least::usual().alternatives().iter().any(is_enough)
}

#[cfg(test)]
mod tests;
