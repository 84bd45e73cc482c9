//! Roles as programs see them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use rialto_core::master::Config;
use rialto_core::master::view::{self, AgentStatus, View};
use rialto_core::model::{Milli, Quantities, ResourceName};

use super::Amounts;

/// `GET /api/roles`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Roles {
    /// By name; those of which there is something to say.
    pub roles: Vec<Role>,
}

/// A role, with all below it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Role {
    /// Its name.
    pub role: String,
    /// Its weight; 1 is the default.
    pub weight: f64,
    /// What it may hold at most, by resource; what is not named has no bound. Devices are `device/KIND` and `device/KIND/MODEL`.
    pub limit: BTreeMap<String, f64>,
    /// What is kept for it, by resource.
    pub guarantee: BTreeMap<String, f64>,
    /// `optimistic` or `exclusive`, if an operator has said how its frameworks are made offers.
    #[serde(default)]
    pub offer_mode: Option<String>,
    /// The priorities that its tasks may have; none if any.
    pub priorities: Option<Priorities>,
    /// What its tasks hold.
    pub held: Amounts,
    /// What exclusive offers to it lock.
    pub offered: Amounts,
    /// What of it tasks hold that took it while another role's guarantee was not met, and may have to make way; none in events.
    #[serde(default)]
    pub borrowed: Option<Amounts>,
    /// How many tasks its frameworks wait to launch.
    pub waiting: u64,
    /// Its dominant share of the cluster divided by its weight, from 0; none in events.
    pub share: Option<f64>,
}

/// Bounds of priorities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Priorities {
    /// The lowest.
    pub lowest: i32,
    /// The highest.
    pub highest: i32,
}

impl Roles {
    /// The roles of `view`.
    pub fn all(view: &View) -> Self {
        let (total, borrowed) = (total(view), borrowed(view));
        let row = |(role, row): (&rialto_core::model::Role, &view::RoleView)| Role {
            share: Some(share(row, &total)),
            borrowed: Some(borrowed.get(role.as_str()).map(Amounts::from).unwrap_or_default()),
            ..Role::new(role, row)
        };
        Self { roles: view.roles.iter().map(row).collect() }
    }
}

impl Role {
    /// The row of `role`.
    pub fn new(role: &rialto_core::model::Role, row: &view::RoleView) -> Self {
        let quota = &row.usage.quota;
        let named = |(name, amount): (&ResourceName, Milli)| (name.as_str().to_owned(), amount.as_f64());
        Self {
            role: role.to_string(),
            weight: f64::from(row.weight_milli) / 1000.0,
            limit: quota.limit.iter().map(|(name, amount)| named((name, *amount))).collect(),
            guarantee: quota.guarantee.iter().map(named).collect(),
            offer_mode: row.offer_mode.map(|mode| super::offer_mode(mode).to_owned()),
            priorities: quota.priorities.map(|bounds| Priorities { lowest: bounds.lowest, highest: bounds.highest }),
            held: Amounts::from(&row.usage.held),
            offered: Amounts::from(&row.usage.offered),
            waiting: row.usage.waiting,
            borrowed: None,
            share: None,
        }
    }
}

/// What the roles hold, with all below them, that is borrowed.
fn borrowed(view: &View) -> BTreeMap<&str, Quantities> {
    let mut borrowed: BTreeMap<&str, Quantities> = BTreeMap::new();
    for task in view.tasks.values().filter(|task| task.borrowed && !task.state.is_terminal()) {
        let mut held = task.resources.quantities();
        for (id, share) in task.resources.device_shares() {
            let Some(device) = view.devices.get(&(task.agent, id.clone())) else { continue };
            let name = rialto_core::allocator::sorter::kind_quantity(&device.device.kind);
            held.set(&name, held.get(&name).plus(Milli(u64::from(share.0))));
        }
        for prefix in rialto_core::allocator::quota::prefixes(&task.role) {
            borrowed.entry(prefix).or_default().add(&held);
        }
    }
    borrowed
}

/// What the agents have that count: those that are gone or unreachable don't.
fn total(view: &View) -> Quantities {
    let counts = |status| matches!(status, AgentStatus::Active | AgentStatus::Disconnected | AgentStatus::Recovering);
    let mut total = Quantities::new();
    for agent in view.agents.values().filter(|agent| counts(agent.status)) {
        total.add(&agent.total.quantities());
    }
    for ((agent, _), device) in &view.devices {
        if view.agents.get(agent).is_some_and(|agent| counts(agent.status)) {
            let name = rialto_core::allocator::sorter::kind_quantity(&device.device.kind);
            total.set(&name, total.get(&name).plus(Milli::from_whole(1)));
        }
    }
    total
}

fn share(row: &view::RoleView, total: &Quantities) -> f64 {
    let kinds = Config::default().fair_share_kinds;
    let kinds = kinds.iter().map(|kind| rialto_core::allocator::sorter::kind_quantity(kind));
    let counted = [ResourceName::Cpus, ResourceName::Mem, ResourceName::Disk].into_iter().chain(kinds);
    let weight = f64::from(row.weight_milli.max(1)) / 1000.0;
    let shares = counted.filter(|name| !total.get(name).is_zero());
    shares.map(|name| row.usage.held.get(&name).as_f64() / total.get(&name).as_f64() / weight).fold(0.0, f64::max)
}
