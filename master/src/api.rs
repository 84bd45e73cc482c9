//! The JSON of `/api`: what each row looks like to programs.
//!
//! Amounts are decimal numbers: cpus in cores, memory and disk in MiB. Times are milliseconds since the Unix epoch, UTC. Ids are the
//! texts that every other part of Rialto uses (`A1-3`, `F1-2`). Fields may be added; none changes its meaning.

mod prices;
mod reserved;
mod roles;
mod rules;
mod snapshot;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use self::roles::{Priorities, Role as RoleRow, Roles};
pub use prices::{Price, Prices};
pub use reserved::{Layer, Reserved, Volume};
pub use rules::OfferRules;
pub use snapshot::Snapshot;

use serde::{Deserialize, Serialize};

use rialto_core::allocator::conduct::Conduct;
use rialto_core::master::view;
use rialto_core::model::{
    AgentId, Attribute, DeviceId, DeviceMode, DeviceState, Exit, FrameworkId, OfferId, OfferMode, Quantities,
    ResourceName, Resources, Role, Shape, Share, Slice, SliceState, TaskHealth, TaskKey, WallTime,
};

/// Scalars.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Amounts {
    /// Cores.
    pub cpus: f64,
    /// Memory, in MiB.
    pub mem_mib: f64,
    /// Disk, in MiB.
    pub disk_mib: f64,
    /// Any other scalar, by name, in its own unit. In sums of what is held, `device/KIND` counts devices.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub other: BTreeMap<String, f64>,
}

/// `GET /api/cluster`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    /// The cluster's id, 32 hexadecimal digits.
    pub cluster: String,
    /// The master's start number.
    pub term: u64,
    /// The master's version.
    pub version: String,
    /// What all active agents have.
    pub total: Amounts,
    /// What tasks hold of it.
    pub allocated: Amounts,
    /// What exclusive offers lock of it.
    pub offered: Amounts,
    /// How many agents there are of each status.
    pub agents: BTreeMap<String, u64>,
    /// How many known agents have not come back since the master started.
    pub agents_missing: u64,
    /// How many frameworks there are.
    pub frameworks: u64,
    /// How many of them are connected.
    pub frameworks_connected: u64,
    /// How many tasks there are of each state; ended ones are remembered for a while.
    pub tasks: BTreeMap<String, u64>,
    /// How many offers stand.
    pub offers: u64,
    /// How many devices there are of each state.
    pub devices: BTreeMap<String, u64>,
    /// The number of the newest change; `/api/events` resumes after it.
    pub change: u64,
}

/// `GET /api/agents`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Agents {
    /// By id.
    pub agents: Vec<Agent>,
}

/// An agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Agent {
    /// Its id.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// `active`, `disconnected`, `recovering`, `unreachable` or `gone`.
    pub status: String,
    /// What it is like.
    pub attributes: BTreeMap<String, serde_json::Value>,
    /// The region that it is in, if it was told.
    #[serde(default)]
    pub region: Option<String>,
    /// The zone, likewise.
    #[serde(default)]
    pub zone: Option<String>,
    /// What it has.
    pub total: Amounts,
    /// What its tasks hold.
    pub allocated: Amounts,
    /// What exclusive offers lock.
    pub offered: Amounts,
    /// All it has as text, with reservations, ranges and sets.
    pub resources: String,
    /// What of it is reserved or a volume; one row for each kind of reservation and each volume.
    #[serde(default)]
    pub reserved: Vec<Reserved>,
    /// Whether its journal can't be written; it starts nothing then.
    pub journal_degraded: bool,
    /// When it will be taken away, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaves_ms: Option<i64>,
}

/// `GET /api/frameworks`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Frameworks {
    /// By id.
    pub frameworks: Vec<Framework>,
}

/// A framework.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Framework {
    /// Its id.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// Who subscribed it.
    pub principal: String,
    /// The roles that it takes offers for.
    pub roles: Vec<String>,
    /// Those of them for which it wants none now.
    pub suppressed: Vec<String>,
    /// Whether it is connected.
    pub connected: bool,
    /// `optimistic` or `exclusive`.
    pub offer_mode: String,
    /// What it asks of its offers, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer_rules: Option<OfferRules>,
    /// Where it serves.
    pub url: Option<String>,
    /// What its tasks hold.
    pub allocated: Amounts,
    /// What it waits for.
    pub demand: Vec<Demand>,
    /// How many offers it was made.
    pub offers_made: u64,
    /// How many of them it declined.
    pub offers_declined: u64,
    /// How it fares in each of its roles; not in events.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conduct: Vec<RoleConduct>,
}

/// How a framework deals with what it is offered in one of its roles, and how it fares there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RoleConduct {
    /// The role.
    pub role: String,
    /// What its exclusive offers have locked so far, in seconds times the unit: core seconds, MiB seconds.
    pub hoarded: Amounts,
    /// For how many seconds its optimistic offers stood unused beyond the first half minute of each.
    pub idle_offer_s: f64,
    /// The offers that it declined, by what it said.
    pub declines: BTreeMap<String, u64>,
    /// For how long the oldest of what it declared has waited.
    pub demand_age_s: Option<f64>,
    /// For how long it was offered nothing, although what is free could satisfy what it waits for.
    pub starved_s: Option<f64>,
}

/// Alike tasks that a framework waits to launch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Demand {
    /// In which role.
    pub role: String,
    /// For people.
    pub name: String,
    /// How many wait.
    pub count: u32,
    /// What each asks for.
    pub asks: Amounts,
    /// The devices that each asks for, as claims.
    pub claims: Vec<String>,
    /// What the agent must be like; empty means anything.
    pub constraint: String,
    /// Higher is more important.
    pub priority: i32,
    /// Whether no agent could run it even when empty: it waits in vain, unless the cluster changes.
    #[serde(default)]
    pub hopeless: bool,
    /// For how many seconds one is expected to run, if that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_run_s: Option<f64>,
}

/// `GET /api/tasks?framework=F1-1&state=TASK_RUNNING&limit=500&offset=0`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tasks {
    /// How many tasks pass the filters.
    pub total: u64,
    /// Those from `offset`, at most `limit`, launched last first.
    pub tasks: Vec<Task>,
}

/// A task; also the answer to `GET /api/tasks/{framework}/{task}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its framework.
    pub framework: String,
    /// Its id, unique within its framework.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// The role that is charged.
    pub role: String,
    /// Its agent.
    pub agent: String,
    /// `TASK_RUNNING` and so on, as in Mesos.
    pub state: String,
    /// Why, as a stable word; none where there is nothing to say.
    pub reason: Option<String>,
    /// Why, for people.
    pub message: String,
    /// The status with which its command ended.
    pub exit_code: Option<i32>,
    /// The signal by which its command ended.
    pub exit_signal: Option<i32>,
    /// Whether its health check passes; none without one.
    pub healthy: Option<bool>,
    /// What it was given.
    pub given: Amounts,
    /// All it was given as text, with ranges.
    pub resources: String,
    /// The devices that it was given.
    pub devices: Vec<String>,
    /// Higher is more important, within its role.
    pub priority: i32,
    /// Whether it may have to make way for a role under its guarantee, as seen when it was launched.
    pub borrowed: bool,
    /// For how many seconds it is expected to run in all, if it has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_run_s: Option<f64>,
    /// When the master accepted it, in milliseconds since the epoch.
    pub launched_ms: i64,
    /// When its state last changed, in milliseconds since the epoch.
    pub changed_ms: i64,
}

/// `GET /api/offers`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Offers {
    /// By id.
    pub offers: Vec<Offer>,
}

/// An offer that stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Offer {
    /// Its id.
    pub id: String,
    /// To whom.
    pub framework: String,
    /// Whose resources.
    pub agent: String,
    /// For which role.
    pub role: String,
    /// `optimistic` or `exclusive`.
    pub mode: String,
    /// What.
    pub amounts: Amounts,
    /// All of it as text.
    pub resources: String,
    /// The devices among it.
    pub devices: Vec<String>,
    /// Since when, in milliseconds since the epoch.
    pub since_ms: i64,
}

/// `GET /api/devices`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Devices {
    /// How many there are of each kind and model, by state.
    pub classes: Vec<DeviceClass>,
    /// By agent and id.
    pub devices: Vec<Device>,
}

/// All devices of one kind, model and generation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceClass {
    /// `gpu`, for example.
    pub kind: String,
    /// May be empty.
    pub model: String,
    /// 0 where there is none.
    pub generation: u32,
    /// How many there are.
    pub total: u64,
    /// Free and usable.
    pub free: u64,
    /// Held by tasks.
    pub held: u64,
    /// Being cleaned.
    pub cleaning: u64,
    /// Set aside for a person to look at.
    pub quarantined: u64,
    /// Free, and not usable because of their health.
    pub unhealthy: u64,
}

/// A device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// Its agent.
    pub agent: String,
    /// Its id, unique on its agent.
    pub id: String,
    /// `gpu`, for example.
    pub kind: String,
    /// Who made it; may be empty.
    pub vendor: String,
    /// Which one it is; may be empty.
    pub model: String,
    /// The order of its generation; 0 where there is none.
    pub generation: u32,
    /// What else selectors may ask for.
    pub attributes: BTreeMap<String, serde_json::Value>,
    /// The NUMA node that it is attached to.
    pub numa_node: Option<u32>,
    /// Whether several tasks may hold it at once.
    pub shared: bool,
    /// `unknown`, `healthy`, `degraded`, `unhealthy` or `probation`.
    pub health: String,
    /// `free`, `allocated`, `cleaning` or `quarantined`.
    pub state: String,
    /// Who holds it.
    pub holders: Vec<Holder>,
    /// How much of it is free, in thousandths.
    #[serde(default)]
    pub free_milli: u16,
    /// Why it, or a slice of it, is quarantined.
    pub reason: Option<String>,
    /// Since when it is in that state, in milliseconds since the epoch.
    pub since_ms: i64,
}

/// A task that holds a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its framework.
    pub framework: String,
    /// The task.
    pub task: String,
    /// How much of the device, in thousandths.
    pub share_milli: u16,
}

/// One event of `GET /api/events`: a row is now this, or is gone. Its SSE id is the number to resume after (`Last-Event-ID`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Grows by one with each change of a term.
    pub number: u64,
    /// The row's id; a task's is `framework/task`, a device's `agent/device`.
    pub key: String,
    /// The row; `null` means that it is gone.
    #[serde(flatten)]
    pub row: Row,
}

/// The row of an [`Event`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "row", rename_all = "lowercase")]
pub enum Row {
    /// An agent.
    Agent(Option<Box<Agent>>),
    /// A framework.
    Framework(Option<Box<Framework>>),
    /// A task.
    Task(Option<Box<Task>>),
    /// An offer.
    Offer(Option<Box<Offer>>),
    /// A device.
    Device(Option<Box<Device>>),
    /// A role.
    Role(Option<Box<RoleRow>>),
    /// A price.
    Price(Option<Price>),
}

/// The body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// A stable word, such as `not_found`.
    pub code: String,
    /// What went wrong and what was expected, for people.
    pub message: String,
}

impl From<&Quantities> for Amounts {
    fn from(quantities: &Quantities) -> Self {
        let mut amounts = Self::default();
        for (name, amount) in quantities.iter() {
            match name {
                ResourceName::Cpus => amounts.cpus = amount.as_f64(),
                ResourceName::Mem => amounts.mem_mib = amount.as_f64(),
                ResourceName::Disk => amounts.disk_mib = amount.as_f64(),
                ResourceName::Other(name) => drop(amounts.other.insert(name.to_string(), amount.as_f64())),
            }
        }
        amounts
    }
}

impl From<&Resources> for Amounts {
    fn from(resources: &Resources) -> Self {
        Self::from(&resources.quantities())
    }
}

impl Agent {
    /// The row of agent `id`.
    pub fn new(id: AgentId, agent: &view::AgentView) -> Self {
        Self {
            id: id.to_string(),
            name: agent.info.name.to_string(),
            status: agent.status.as_str().to_owned(),
            attributes: attributes(&agent.info.attributes),
            region: agent.info.domain.as_ref().map(|domain| domain.region().to_string()),
            zone: agent.info.domain.as_ref().map(|domain| domain.zone().to_string()),
            total: Amounts::from(&*agent.total),
            allocated: Amounts::from(&agent.allocated),
            offered: Amounts::from(&agent.offered.quantities()),
            resources: agent.total.to_string(),
            reserved: Reserved::rows(&agent.total),
            journal_degraded: agent.journal_degraded,
            leaves_ms: agent.leaves.map(millis),
        }
    }
}

impl Framework {
    /// The row of framework `id`.
    pub fn new(id: FrameworkId, framework: &view::FrameworkView) -> Self {
        Self {
            id: id.to_string(),
            name: framework.name.to_string(),
            principal: framework.principal.to_string(),
            roles: framework.roles.iter().map(Role::to_string).collect(),
            suppressed: framework.suppressed.iter().map(Role::to_string).collect(),
            connected: framework.connected,
            offer_mode: offer_mode(framework.mode).to_owned(),
            offer_rules: OfferRules::unless_default(&framework.rules),
            url: framework.url.as_deref().map(str::to_owned),
            allocated: Amounts::from(&framework.allocated),
            demand: {
                let flags = framework.hopeless.iter().copied().chain(std::iter::repeat(false));
                framework.demand.iter().zip(flags).map(|((role, shape), flag)| Demand::new(role, shape, flag)).collect()
            },
            offers_made: framework.offers_made,
            offers_declined: framework.offers_declined,
            conduct: Vec::new(),
        }
    }
}

impl From<&Conduct> for RoleConduct {
    fn from(conduct: &Conduct) -> Self {
        let declines = conduct.ledger.declines.iter().map(|(reason, count)| (reason.to_string(), *count));
        Self {
            role: conduct.role.to_string(),
            hoarded: Amounts::from(&conduct.ledger.hoarded),
            idle_offer_s: conduct.ledger.idle.as_secs_f64(),
            declines: declines.collect(),
            demand_age_s: conduct.demand_age.map(|age| age.as_secs_f64()),
            starved_s: conduct.starved.map(|starved| starved.as_secs_f64()),
        }
    }
}

impl Demand {
    fn new(role: &Role, shape: &Shape, hopeless: bool) -> Self {
        Self {
            role: role.to_string(),
            name: shape.name.to_string(),
            count: shape.count,
            asks: Amounts::from(&shape.resources),
            claims: shape.claims.iter().map(ToString::to_string).collect(),
            constraint: if shape.constraint.is_any() { String::new() } else { shape.constraint.to_string() },
            priority: shape.priority,
            hopeless,
            expected_run_s: shape.expected_run_time.map(|time| time.as_secs_f64()),
        }
    }
}

impl Task {
    /// The row of task `key`.
    pub fn new(key: &TaskKey, task: &view::TaskView) -> Self {
        Self {
            framework: key.framework.to_string(),
            id: key.task.to_string(),
            name: task.name.to_string(),
            role: task.role.to_string(),
            agent: task.agent.to_string(),
            state: task.state.as_str().to_owned(),
            reason: task.reason.map(|reason| reason.as_str().to_owned()),
            message: task.message.to_string(),
            exit_code: task.exit.and_then(|exit| if let Exit::Code(code) = exit { Some(code) } else { None }),
            exit_signal: task.exit.and_then(|exit| if let Exit::Signal(signal) = exit { Some(signal) } else { None }),
            healthy: task.health.map(|health| health == TaskHealth::Healthy),
            given: Amounts::from(&task.resources),
            resources: task.resources.to_string(),
            devices: task.resources.device_shares().map(|(id, _)| id.to_string()).collect(),
            priority: task.priority,
            borrowed: task.borrowed,
            expected_run_s: task.expected_run_time.map(|time| time.as_secs_f64()),
            launched_ms: millis(task.launched),
            changed_ms: millis(task.changed),
        }
    }
}

impl Offer {
    /// The row of offer `id`.
    pub fn new(id: OfferId, row: &view::OfferView) -> Self {
        let offer = &row.offer;
        Self {
            id: id.to_string(),
            framework: row.framework.to_string(),
            agent: offer.agent.to_string(),
            role: offer.role.to_string(),
            mode: offer_mode(offer.mode).to_owned(),
            amounts: Amounts::from(&*offer.resources),
            resources: offer.resources.to_string(),
            devices: offer.resources.device_shares().map(|(id, _)| id.to_string()).collect(),
            since_ms: millis(row.since),
        }
    }
}

impl Device {
    /// The row of device `id` of `agent`.
    pub fn new(agent: AgentId, id: &DeviceId, view: &view::DeviceView) -> Self {
        let device = &view.device;
        let (state, holders, reason) = device_state(&view.state);
        Self {
            agent: agent.to_string(),
            id: id.to_string(),
            kind: device.kind.to_string(),
            vendor: device.vendor.to_string(),
            model: device.model.to_string(),
            generation: device.generation,
            attributes: attributes(&device.attributes),
            numa_node: device.topology.numa_node,
            shared: device.mode == DeviceMode::Shared,
            health: device.health.as_str().to_owned(),
            state: state.to_owned(),
            holders,
            free_milli: view.state.free_share().0,
            reason,
            since_ms: millis(view.since),
        }
    }
}

impl DeviceClass {
    /// The classes of all devices of `view`, by kind, model and generation.
    pub fn all(view: &view::View) -> Vec<Self> {
        let mut classes: BTreeMap<(&str, &str, u32), Self> = BTreeMap::new();
        for device in view.devices.values() {
            let what = &device.device;
            classes.entry((&what.kind, &what.model, what.generation)).or_default().count(device);
        }
        let named = |((kind, model, generation), class): ((&str, &str, u32), Self)| Self {
            kind: kind.to_owned(),
            model: model.to_owned(),
            generation,
            ..class
        };
        classes.into_iter().map(named).collect()
    }

    fn count(&mut self, device: &view::DeviceView) {
        self.total += 1;
        match &device.state {
            DeviceState::Free if device.device.health.is_usable() => self.free += 1,
            DeviceState::Free => self.unhealthy += 1,
            state => match device_word(state) {
                "allocated" => self.held += 1,
                "cleaning" => self.cleaning += 1,
                _ => self.quarantined += 1,
            },
        }
    }
}

impl Event {
    /// `change`, numbered `number`.
    pub fn new(number: u64, change: &view::Change) -> Self {
        let (key, row) = match change {
            view::Change::Agent(id, row) => {
                (id.to_string(), Row::Agent(row.as_ref().map(|row| Box::new(Agent::new(*id, row)))))
            }
            view::Change::Framework(id, row) => {
                (id.to_string(), Row::Framework(row.as_ref().map(|row| Box::new(Framework::new(*id, row)))))
            }
            view::Change::Task(key, row) => {
                (key.to_string(), Row::Task(row.as_ref().map(|row| Box::new(Task::new(key, row)))))
            }
            view::Change::Offer(id, row) => {
                (id.to_string(), Row::Offer(row.as_ref().map(|row| Box::new(Offer::new(*id, row)))))
            }
            view::Change::Device(agent, id, row) => {
                let device = row.as_ref().map(|row| Box::new(Device::new(*agent, id, row)));
                (format!("{agent}/{id}"), Row::Device(device))
            }
            view::Change::Role(role, row) => {
                (role.to_string(), Row::Role(row.as_ref().map(|row| Box::new(RoleRow::new(role, row)))))
            }
            view::Change::Price(key, row) => (key.to_string(), Row::Price(row.map(|row| Price::new(key, &row)))),
        };
        Self { number, key, row }
    }
}

/// The state's word. A shared device has that of the slice that is furthest from free for want of a person: held, else being cleaned.
pub(crate) fn device_word(state: &DeviceState) -> &'static str {
    let cleaning = |slice: &Slice| matches!(slice.state, SliceState::Cleaning { .. });
    match state {
        DeviceState::Free => "free",
        DeviceState::Cleaning { .. } => "cleaning",
        DeviceState::Quarantined { .. } => "quarantined",
        _ if state.holders().next().is_some() => "allocated",
        DeviceState::Allocated(_) | DeviceState::Sliced(_) if state.slices().any(|(_, slice)| cleaning(slice)) => {
            "cleaning"
        }
        DeviceState::Allocated(_) | DeviceState::Sliced(_) => "quarantined",
    }
}

fn device_state(state: &DeviceState) -> (&'static str, Vec<Holder>, Option<String>) {
    let holder = |(key, share): (&TaskKey, Share)| Holder {
        framework: key.framework.to_string(),
        task: key.task.to_string(),
        share_milli: share.0,
    };
    let of_slice = |slice: &Slice| match &slice.state {
        SliceState::Quarantined { reason } => Some(reason.to_string()),
        SliceState::Held | SliceState::Cleaning { .. } => None,
    };
    let reason = match state {
        DeviceState::Quarantined { reason } => Some(reason.to_string()),
        _ => state.slices().find_map(|(_, slice)| of_slice(slice)),
    };
    (device_word(state), state.holders().map(holder).collect(), reason)
}

fn offer_mode(mode: OfferMode) -> &'static str {
    match mode {
        OfferMode::Optimistic => "optimistic",
        OfferMode::Exclusive => "exclusive",
    }
}

fn attributes(attributes: &BTreeMap<Arc<str>, Attribute>) -> BTreeMap<String, serde_json::Value> {
    attributes.iter().map(|(name, value)| (name.to_string(), attribute(value))).collect()
}

fn attribute(attribute: &Attribute) -> serde_json::Value {
    match attribute {
        Attribute::Int(number) => (*number).into(),
        Attribute::Bool(yes) => (*yes).into(),
        Attribute::Text(_) | Attribute::Version(_) | Attribute::Quantity(_) => attribute.to_string().into(),
    }
}

fn millis(time: WallTime) -> i64 {
    time.0.div_euclid(1000)
}
