//! The whole cluster at one moment.

use serde::{Deserialize, Serialize};

use rialto_core::master::view::View;
use rialto_core::model::Term;

use super::{Agent, Device, Framework, RoleRow, Roles, Task};

/// `GET /api/snapshot`: what there is, all of one commit of the master's state; tasks that ended are left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The cluster's id, 32 hexadecimal digits.
    pub cluster: String,
    /// The master's start number.
    pub term: u64,
    /// The number of the newest change that is in it.
    pub change: u64,
    /// When it was taken, in milliseconds since the epoch, by the master's clock.
    pub now_ms: i64,
    /// The agents, by id.
    pub agents: Vec<Agent>,
    /// Their devices, by agent and id.
    pub devices: Vec<Device>,
    /// The frameworks with what they wait for, by id.
    pub frameworks: Vec<Framework>,
    /// The tasks that have not ended, by framework and id.
    pub tasks: Vec<Task>,
    /// The roles with their weights and quotas, by name.
    pub roles: Vec<RoleRow>,
}

impl Snapshot {
    /// What `view` shows after the change of that number; the cluster's id is left out.
    pub fn of(view: &View, change: u64, term: Term, now_ms: i64) -> Self {
        let live = view.tasks.iter().filter(|(_, task)| !task.state.is_terminal());
        Self {
            cluster: String::new(),
            term: term.0,
            change,
            now_ms,
            agents: view.agents.iter().map(|(id, agent)| Agent::new(*id, agent)).collect(),
            devices: view.devices.iter().map(|((agent, id), device)| Device::new(*agent, id, device)).collect(),
            frameworks: view.frameworks.iter().map(|(id, framework)| Framework::new(*id, framework)).collect(),
            tasks: live.map(|(key, task)| Task::new(key, task)).collect(),
            roles: Roles::all(view).roles,
        }
    }
}
