//! The master's durable state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::allocator::quota::Quota;
use crate::model::{
    AgentId, AgentInfo, ClientId, ClusterId, FrameworkId, FrameworkInfo, OfferMode, Operation, OperationId, Price,
    PriceKey, Principal, Reason, Resources, Role, TaskKey, Term, WallTime,
};

/// Everything that outlives a master. Running tasks are not here: their agents report them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    /// The cluster, drawn when the registry was made.
    pub cluster: ClusterId,
    /// The last term that a master wrote.
    pub term: Term,
    /// Every agent that was admitted and not forgotten.
    pub agents: BTreeMap<AgentId, AgentRecord>,
    /// Every framework that was not removed.
    pub frameworks: BTreeMap<FrameworkId, FrameworkRecord>,
    /// Kills that their agents have not carried out.
    pub kills: BTreeMap<TaskKey, KillRecord>,
    /// Operations on reservations and volumes that their agents have not confirmed.
    pub operations: BTreeMap<OperationId, OperationRecord>,
    /// Weights that are not the default, in thousandths.
    pub weights: BTreeMap<Role, u32>,
    /// Quotas.
    pub quotas: BTreeMap<Role, Quota>,
    /// How the frameworks of roles are made offers, where an operator has said so.
    pub offer_modes: BTreeMap<Role, OfferMode>,
    /// When agents will be taken away, where that is known.
    pub leaving: BTreeMap<AgentId, WallTime>,
    /// What machines cost.
    pub prices: BTreeMap<PriceKey, PriceRecord>,
}

impl Registry {
    /// An empty registry of a new cluster.
    pub fn new(cluster: ClusterId) -> Self {
        Self {
            cluster,
            term: Term(0),
            agents: BTreeMap::new(),
            frameworks: BTreeMap::new(),
            kills: BTreeMap::new(),
            operations: BTreeMap::new(),
            weights: BTreeMap::new(),
            quotas: BTreeMap::new(),
            offer_modes: BTreeMap::new(),
            leaving: BTreeMap::new(),
            prices: BTreeMap::new(),
        }
    }

    /// Applies one record.
    pub fn apply(&mut self, record: Record) {
        match record {
            Record::Term(term) => self.term = term,
            Record::Agent(id, agent) => put(&mut self.agents, id, agent),
            Record::Framework(id, framework) => put(&mut self.frameworks, id, framework),
            Record::Kill(key, kill) => put(&mut self.kills, key, kill),
            Record::Operation(id, operation) => put(&mut self.operations, id, operation),
            Record::Weight(role, weight) => put(&mut self.weights, role, weight),
            Record::Quota(role, quota) => put(&mut self.quotas, role, quota),
            Record::OfferMode(role, mode) => put(&mut self.offer_modes, role, mode),
            Record::Leaving(id, at) => put(&mut self.leaving, id, at),
            Record::Price(key, price) => put(&mut self.prices, key, price),
        }
    }
}

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}

/// One write to the registry; `None` removes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A master starts this term.
    Term(Term),
    /// An agent.
    Agent(AgentId, Option<AgentRecord>),
    /// A framework.
    Framework(FrameworkId, Option<FrameworkRecord>),
    /// A kill that is to be carried out.
    Kill(TaskKey, Option<KillRecord>),
    /// An operation that its agent has not confirmed.
    Operation(OperationId, Option<OperationRecord>),
    /// A role's weight, in thousandths.
    Weight(Role, Option<u32>),
    /// A role's quota.
    Quota(Role, Option<Quota>),
    /// How the frameworks of a role are made offers.
    OfferMode(Role, Option<OfferMode>),
    /// When an agent will be taken away.
    Leaving(AgentId, Option<WallTime>),
    /// What machines of a pool cost.
    Price(PriceKey, Option<PriceRecord>),
}

/// How the registry sees an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Admission {
    /// Part of the cluster.
    Admitted,
    /// Silent for too long; its tasks may be running.
    Unreachable,
    /// Gone for good; it may not come back.
    Gone,
}

/// An agent, as the registry keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentRecord {
    /// Drawn by the agent at its first registration.
    pub client: ClientId,
    /// Who registered it.
    pub principal: Principal,
    /// What it was like.
    pub info: Arc<AgentInfo>,
    /// Whether it is part of the cluster.
    pub admission: Admission,
    /// Since when.
    pub since: WallTime,
    /// What it had when it was last heard of.
    pub resources: Arc<Resources>,
}

impl AgentRecord {
    /// Whether the two say the same, but since when.
    pub(super) fn is_but_since(&self, other: &Self) -> bool {
        let Self { client, principal, info, admission, since: _, resources } = other;
        self.client == *client
            && self.principal == *principal
            && self.info == *info
            && self.admission == *admission
            && self.resources == *resources
    }
}

/// A framework, as the registry keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameworkRecord {
    /// Drawn by the framework at its first subscription.
    pub client: ClientId,
    /// Who subscribed it.
    pub principal: Principal,
    /// What it said of itself.
    pub info: FrameworkInfo,
    /// What remained of its failover timeout when this was written; the whole of it while it is connected.
    pub remaining: Duration,
}

/// A kill that is to be carried out, also if its agent is away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KillRecord {
    /// The task's agent, if it was known.
    pub agent: Option<AgentId>,
    /// How long the task gets; none means what it says.
    pub grace: Option<Duration>,
    /// Why, as its last status will say.
    pub reason: Reason,
}

/// A price, as the registry keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PriceRecord {
    /// How much.
    pub price: Price,
    /// Since when it has been that.
    pub since: WallTime,
}

/// An operation on reservations or volumes that its agent has not confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationRecord {
    /// Whose reservations or volumes.
    pub agent: AgentId,
    /// What to do.
    pub operation: Operation,
}
