//! A cluster at a moment, as far as the future follows from it.

use std::sync::Arc;
use std::time::Duration;

use rialto_core::allocator::quota::Quota;
use rialto_core::model::{AgentInfo, Device, DeviceId, Quantities, Resources, Role, Shape, Share};

/// A cluster at a moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// The machines that may be given work.
    pub agents: Vec<Agent>,
    /// Who runs something or waits for something.
    pub frameworks: Vec<Framework>,
    /// What operators have set for roles.
    pub roles: Vec<Terms>,
}

/// A machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Agent {
    /// What it is like, its name among it.
    pub info: AgentInfo,
    /// What it has, reservations among it, devices excepted.
    pub resources: Resources,
    /// Its devices that can be given out.
    pub devices: Vec<Arc<Device>>,
}

/// A framework.
#[derive(Clone, Debug, PartialEq)]
pub struct Framework {
    /// Its id on the cluster, for people.
    pub id: String,
    /// What it runs.
    pub running: Vec<Running>,
    /// What it waits to launch; what it suppresses is left out.
    pub waiting: Vec<(Role, Shape)>,
}

/// A task that runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Running {
    /// Its id, for people.
    pub task: String,
    /// The role that is charged.
    pub role: Role,
    /// On which machine, by its place in [`Snapshot::agents`].
    pub agent: usize,
    /// What it holds, devices excepted.
    pub scalars: Quantities,
    /// The devices that it holds, with how much of each.
    pub devices: Vec<(DeviceId, Share)>,
    /// Higher is more important.
    pub priority: i32,
    /// How much longer it will run by what it declared; none if it declared nothing, or runs longer than that already.
    pub left: Option<Duration>,
}

/// What operators have set for a role.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// The role.
    pub role: Role,
    /// Its weight in thousandths.
    pub weight_milli: u32,
    /// Its quota.
    pub quota: Quota,
}
