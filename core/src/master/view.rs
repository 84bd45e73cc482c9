//! What people and programs may see of the master's state: plain data, built from numbered changes.
//!
//! The core emits a [`Change`] whenever one of these rows changes; the shell applies them to a [`View`] in a task of its own, so reads
//! never delay a decision. The simulator checks that the view equals the core.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::state::sole;
use crate::allocator::quota::Usage;
use crate::model::{
    AgentId, AgentInfo, Device, DeviceId, DeviceState, Exit, FrameworkId, Offer, OfferId, OfferMode, OfferRules, Price,
    PriceKey, Quantities, Reason, Resources, Role, Shape, TaskHealth, TaskKey, TaskState, WallTime,
};

/// All rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Agents.
    pub agents: BTreeMap<AgentId, AgentView>,
    /// Frameworks.
    pub frameworks: BTreeMap<FrameworkId, FrameworkView>,
    /// Tasks, ended ones among them for a while.
    pub tasks: BTreeMap<TaskKey, Arc<TaskView>>,
    /// Offers that stand.
    pub offers: BTreeMap<OfferId, OfferView>,
    /// Devices by agent.
    pub devices: BTreeMap<(AgentId, DeviceId), DeviceView>,
    /// Roles of which there is something to say.
    pub roles: BTreeMap<Role, RoleView>,
    /// What machines cost.
    pub prices: BTreeMap<PriceKey, PriceView>,
}

impl View {
    /// Applies one change.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Agent(id, agent) => put(&mut self.agents, id, agent),
            Change::Framework(id, framework) => put(&mut self.frameworks, id, framework),
            Change::Task(key, Some(task)) => drop(self.tasks.insert(key, task)),
            Change::Task(key, None) => drop(self.tasks.remove(&key)),
            Change::Offer(id, offer) => self.apply_offer(id, offer),
            Change::Device(agent, id, device) => put(&mut self.devices, (agent, id), device),
            Change::Role(role, row) => put(&mut self.roles, role, row),
            Change::Price(key, row) => put(&mut self.prices, key, row.map(Box::new)),
        }
    }
}

impl View {
    /// What an offer changes of its agent and its framework is not said of them too: it follows.
    fn apply_offer(&mut self, id: OfferId, row: Option<OfferView>) {
        if let Some(gone) = self.offers.remove(&id)
            && let Some((agent, locked)) = self.locked_by(&gone)
        {
            let was_offered = Arc::make_mut(&mut agent.offered).subtract(&locked);
            debug_assert!(was_offered, "an offer that ends was offered");
        }
        let Some(made) = row else { return };
        if let Some((agent, locked)) = self.locked_by(&made) {
            if agent.offered.is_empty() {
                agent.offered = locked;
            } else {
                Arc::make_mut(&mut agent.offered).add(&locked);
            }
        }
        if let Some(framework) = self.frameworks.get_mut(&made.framework) {
            framework.offers_made += 1;
        }
        self.offers.insert(id, made);
    }

    /// What an exclusive offer locks, and of which agent.
    fn locked_by(&mut self, row: &OfferView) -> Option<(&mut AgentView, Arc<Resources>)> {
        let is_locking = row.offer.mode == OfferMode::Exclusive;
        is_locking.then(|| Some((self.agents.get_mut(&row.offer.agent)?, sole(&row.offer.resources))))?
    }
}

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, row: Option<Box<V>>) {
    match row {
        Some(row) => drop(map.insert(key, *row)),
        None => drop(map.remove(&key)),
    }
}

/// One row is now this, or is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An agent.
    Agent(AgentId, Option<Box<AgentView>>),
    /// A framework.
    Framework(FrameworkId, Option<Box<FrameworkView>>),
    /// A task. Shared, because these are most of all changes, and readers keep the last ones.
    Task(TaskKey, Option<Arc<TaskView>>),
    /// An offer. It changes also what its agent has offered, and how many offers its framework was made.
    Offer(OfferId, Option<OfferView>),
    /// A device.
    Device(AgentId, DeviceId, Option<Box<DeviceView>>),
    /// A role.
    Role(Role, Option<Box<RoleView>>),
    /// What machines of a pool cost.
    Price(PriceKey, Option<PriceView>),
}

/// A role, with all below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleView {
    /// Its weight, in thousandths.
    pub weight_milli: u32,
    /// How its frameworks are made offers, if an operator has said so.
    pub offer_mode: Option<OfferMode>,
    /// Its quota, and what is held under it.
    pub usage: Usage,
}

/// A price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PriceView {
    /// How much.
    pub price: Price,
    /// Since when it has been that.
    pub since: WallTime,
}

/// Where an agent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AgentStatus {
    /// Connected.
    Active,
    /// Its connection is lost; its tasks run on.
    Disconnected,
    /// Known from the registry, not heard of in this term.
    Recovering,
    /// Silent for too long.
    Unreachable,
    /// Gone for good.
    Gone,
}

impl AgentStatus {
    /// The word for it, lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disconnected => "disconnected",
            Self::Recovering => "recovering",
            Self::Unreachable => "unreachable",
            Self::Gone => "gone",
        }
    }
}

/// An agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentView {
    /// What it is like.
    pub info: Arc<AgentInfo>,
    /// Where it stands.
    pub status: AgentStatus,
    /// What it has, devices excepted.
    pub total: Arc<Resources>,
    /// What its tasks hold, scalars of all flavors together.
    pub allocated: Quantities,
    /// What exclusive offers lock.
    pub offered: Arc<Resources>,
    /// Whether its journal can't be written.
    pub journal_degraded: bool,
    /// When it will be taken away, if that is known.
    pub leaves: Option<WallTime>,
}

/// A framework.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameworkView {
    /// For people.
    pub name: Arc<str>,
    /// Who subscribed it.
    pub principal: Arc<str>,
    /// The roles that it takes offers for.
    pub roles: BTreeSet<Role>,
    /// The roles for which it wants none now.
    pub suppressed: BTreeSet<Role>,
    /// Whether it is connected.
    pub connected: bool,
    /// How it takes offers.
    pub mode: OfferMode,
    /// What it asks of them.
    pub rules: Arc<OfferRules>,
    /// Where it serves.
    pub url: Option<Arc<str>>,
    /// What its tasks hold, scalars of all flavors together.
    pub allocated: Quantities,
    /// What it waits for, in all its roles.
    pub demand: Arc<[(Role, Shape)]>,
    /// For each of these, whether no agent could run it even when empty.
    pub hopeless: Arc<[bool]>,
    /// How many offers it was made so far.
    pub offers_made: u64,
    /// How many of them it declined.
    pub offers_declined: u64,
}

/// A task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskView {
    /// For people.
    pub name: Arc<str>,
    /// The role that is charged.
    pub role: Role,
    /// Where it runs or ran.
    pub agent: AgentId,
    /// Its newest state.
    pub state: TaskState,
    /// Why.
    pub reason: Option<Reason>,
    /// Why, for people.
    pub message: Arc<str>,
    /// How its command ended.
    pub exit: Option<Exit>,
    /// What its health check says.
    pub health: Option<TaskHealth>,
    /// What it was given, devices among them.
    pub resources: Resources,
    /// Higher is more important, within its role.
    pub priority: i32,
    /// How long it is expected to run, if it has said so.
    pub expected_run_time: Option<Duration>,
    /// Whether its role held more than its guarantee when it was launched, while another's was not met: it may have to make way.
    pub borrowed: bool,
    /// When the master accepted it, or first heard of it.
    pub launched: WallTime,
    /// When its state last changed.
    pub changed: WallTime,
}

/// An offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferView {
    /// To whom.
    pub framework: FrameworkId,
    /// What.
    pub offer: Arc<Offer>,
    /// Since when.
    pub since: WallTime,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceView {
    /// What it is.
    pub device: Arc<Device>,
    /// Who may use it.
    pub state: DeviceState,
    /// Since when it is in that state.
    pub since: WallTime,
}
