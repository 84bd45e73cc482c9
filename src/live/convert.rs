//! From the rows of a snapshot to what the simulator runs on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use rialto_master::api;
use rialto_sdk::core::allocator::quota::{Priorities, Quota};
use rialto_sdk::core::model::{
    AgentInfo, Attribute, Claim, Device, DeviceId, DeviceMode, Domain, Health, Milli, Proof, Quantities, ResourceName,
    Resources, Role, Selector, Shape, Share, TaskState, Topology,
};
use rialto_sim::live::{Agent, Framework, Running, Snapshot, Terms};

/// What the rows say. Left out are agents that are not there, tasks on them, devices that can't be given out, and links between devices.
pub fn snapshot(rows: &api::Snapshot) -> anyhow::Result<Snapshot> {
    let active: Vec<&api::Agent> = rows.agents.iter().filter(|agent| agent.status == "active").collect();
    let places: BTreeMap<&str, usize> =
        active.iter().enumerate().map(|(place, agent)| (agent.id.as_str(), place)).collect();
    let agents = active.iter().map(|row| agent(row, rows).with_context(|| format!("agent {}", row.id)));
    let frameworks = rows
        .frameworks
        .iter()
        .map(|row| framework(row, rows, &places).with_context(|| format!("framework {}", row.id)));
    let roles = rows.roles.iter().map(|row| terms(row).with_context(|| format!("role {}", row.role)));
    Ok(Snapshot {
        agents: agents.collect::<anyhow::Result<_>>()?,
        frameworks: frameworks.collect::<anyhow::Result<_>>()?,
        roles: roles.collect::<anyhow::Result<_>>()?,
    })
}

fn agent(row: &api::Agent, rows: &api::Snapshot) -> anyhow::Result<Agent> {
    let plain: Vec<&str> = row.resources.split(' ').filter(|entry| !entry.contains('(')).collect();
    let mut resources: Resources = plain.join(";").parse().with_context(|| format!("resources {:?}", row.resources))?;
    for reserved in &row.reserved {
        resources.add(&reserved.to_resources().context("reserved")?);
    }
    let domain = match (&row.region, &row.zone) {
        (Some(region), Some(zone)) => Some(Domain::new(region, zone).context("region")?),
        _ => None,
    };
    let usable = |device: &&api::Device| {
        device.agent == row.id
            && device.state != "quarantined"
            && matches!(device.health.as_str(), "healthy" | "degraded")
    };
    Ok(Agent {
        info: AgentInfo { name: Arc::from(row.name.as_str()), attributes: attributes(&row.attributes)?, domain },
        resources,
        devices: rows.devices.iter().filter(usable).map(device).collect::<anyhow::Result<_>>()?,
    })
}

fn device(row: &api::Device) -> anyhow::Result<Arc<Device>> {
    Ok(Arc::new(Device {
        id: DeviceId::new(&row.id),
        kind: Arc::from(row.kind.as_str()),
        vendor: Arc::from(row.vendor.as_str()),
        model: Arc::from(row.model.as_str()),
        generation: row.generation,
        attributes: attributes(&row.attributes).with_context(|| format!("device {}", row.id))?,
        topology: Topology { numa_node: row.numa_node, ..Topology::default() },
        mode: if row.shared { DeviceMode::Shared } else { DeviceMode::Exclusive },
        health: Health::Healthy,
        nodes: Vec::new(),
        proof: Proof::TreeGone,
        host_share: Quantities::new(),
    }))
}

fn attributes(values: &BTreeMap<String, serde_json::Value>) -> anyhow::Result<BTreeMap<Arc<str>, Attribute>> {
    let value = |(name, value): (&String, &serde_json::Value)| {
        let attribute = match value {
            serde_json::Value::Bool(is) => Attribute::Bool(*is),
            serde_json::Value::Number(number) => Attribute::Int(number.as_i64().context("expected a whole number")?),
            serde_json::Value::String(text) => Attribute::parse(text),
            other => bail!("attribute {name}: expected a number, a bool or a text, got {other}"),
        };
        Ok((Arc::from(name.as_str()), attribute))
    };
    values.iter().map(value).collect()
}

fn framework(row: &api::Framework, rows: &api::Snapshot, places: &BTreeMap<&str, usize>) -> anyhow::Result<Framework> {
    let its = rows.tasks.iter().filter(|task| task.framework == row.id);
    let there = its.filter_map(|task| Some((task, *places.get(task.agent.as_str())?)));
    let running = there.map(|(task, place)| running(task, place, rows).with_context(|| format!("task {}", task.id)));
    let wanted = row.demand.iter().filter(|demand| !row.suppressed.contains(&demand.role) && demand.count > 0);
    let waiting = wanted.map(|demand| waiting(demand).with_context(|| format!("demand {}", demand.name)));
    Ok(Framework {
        id: row.id.clone(),
        running: running.collect::<anyhow::Result<_>>()?,
        waiting: waiting.collect::<anyhow::Result<_>>()?,
    })
}

fn running(row: &api::Task, agent: usize, rows: &api::Snapshot) -> anyhow::Result<Running> {
    let share = |id: &String| {
        let device = rows.devices.iter().find(|device| device.id == *id && device.agent == row.agent);
        let holder = device.and_then(|device| {
            device.holders.iter().find(|holder| holder.framework == row.framework && holder.task == row.id)
        });
        (DeviceId::new(id), holder.map_or(Share::WHOLE, |holder| Share(holder.share_milli)))
    };
    // It counts from when it began to run; what is not there yet has all of its time before it.
    let ran_ms = match row.state.as_str() {
        state if state == TaskState::Running.as_str() => (rows.now_ms - row.changed_ms).max(0),
        _ => 0,
    };
    let ran = Duration::from_millis(u64::try_from(ran_ms)?);
    Ok(Running {
        task: row.id.clone(),
        role: row.role.parse()?,
        agent,
        scalars: scalars(&row.given)?,
        devices: row.devices.iter().map(share).collect(),
        priority: row.priority,
        left: row.expected_run_s.map(Duration::from_secs_f64).and_then(|all| all.checked_sub(ran)),
    })
}

fn waiting(row: &api::Demand) -> anyhow::Result<(Role, Shape)> {
    let claims = row.claims.iter().map(|claim| claim.parse::<Claim>());
    let constraint = if row.constraint.is_empty() { Selector::any() } else { row.constraint.parse()? };
    let shape = Shape {
        name: Arc::from(row.name.as_str()),
        resources: Resources::scalars(scalars(&row.asks)?),
        claims: claims.collect::<Result<_, _>>()?,
        constraint,
        count: row.count,
        priority: row.priority,
        expected_run_time: row.expected_run_s.map(Duration::from_secs_f64),
    };
    Ok((row.role.parse()?, shape))
}

fn terms(row: &api::RoleRow) -> anyhow::Result<Terms> {
    let named = |(name, amount): (&String, &f64)| anyhow::Ok((ResourceName::new(name), milli(*amount)?));
    let mut guarantee = Quantities::new();
    for entry in &row.guarantee {
        let (name, amount) = named(entry)?;
        guarantee.set(&name, amount);
    }
    let quota = Quota {
        limit: row.limit.iter().map(named).collect::<anyhow::Result<_>>()?,
        guarantee,
        priorities: row.priorities.map(|bounds| Priorities { lowest: bounds.lowest, highest: bounds.highest }),
    };
    let weight_milli = u32::try_from(milli(row.weight)?.0).context("weight")?;
    Ok(Terms { role: row.role.parse()?, weight_milli, quota })
}

/// Devices are no scalars: they are named one by one.
fn scalars(amounts: &api::Amounts) -> anyhow::Result<Quantities> {
    let mut quantities = Quantities::new();
    for (name, amount) in [
        (ResourceName::Cpus, amounts.cpus),
        (ResourceName::Mem, amounts.mem_mib),
        (ResourceName::Disk, amounts.disk_mib),
    ] {
        quantities.set(&name, milli(amount)?);
    }
    for (name, amount) in amounts.other.iter().filter(|(name, _)| !name.starts_with("device/")) {
        quantities.set(&ResourceName::new(name), milli(*amount)?);
    }
    Ok(quantities)
}

fn milli(amount: f64) -> anyhow::Result<Milli> {
    if !(0.0..=1e15).contains(&amount) {
        bail!("expected an amount from 0 to 1e15, got {amount}");
    }
    Ok(Milli((amount * 1000.0).round() as u64))
}
