//! The commands that reserve resources and make volumes of them.

mod args;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use rialto_master::api;
use rialto_sdk::MasterClient;
use rialto_sdk::core::master::Command;
use rialto_sdk::core::model::{
    Access, AgentId, Amounts, Flavor, Milli, Operation, Quantities, Reservation, ReservationKind, ResourceName,
    Resources, Role, Volume, VolumeId, WallTime,
};

pub use self::args::{Create, OneVolume, Reserve, Resize, Unreserve, Volume as VolumeCommand};
use crate::cli::Query;
use crate::output::{amount, json, line, table};

/// `rialto reserve`.
pub async fn reserve(args: Reserve) -> anyhow::Result<()> {
    let client = args.connect.client().await?;
    let agent = find_agent(&client, &args.agent).await?;
    let top = Reservation {
        role: args.role.parse().context("role")?,
        kind: ReservationKind::Dynamic,
        principal: None,
        labels: labels(&args.labels)?,
        expires: args.until.as_deref().map(|text| end_of(text, now())).transpose()?,
    };
    let plain: Resources = args.resources.parse().context("resources")?;
    let mut reserved = Resources::new();
    for (flavor, amounts) in plain.iter() {
        let mut flavor = flavor.clone();
        flavor.reservations.push(top.clone());
        reserved.add(&Resources::flavored(flavor, amounts.clone()));
    }
    operate(&client, &agent, Operation::Reserve(reserved)).await?;
    line(format_args!("{} is reserved for {} on {}", args.resources, args.role, agent.name))?;
    Ok(())
}

/// `rialto unreserve`.
pub async fn unreserve(args: Unreserve) -> anyhow::Result<()> {
    let client = args.connect.client().await?;
    let agent = find_agent(&client, &args.agent).await?;
    let (role, labels): (Role, _) = (args.role.parse().context("role")?, labels(&args.labels)?);
    let wanted: Resources = args.resources.parse().context("resources")?;
    let is_meant = |flavor: &Flavor| {
        let top = flavor.reservations.last().filter(|top| top.role == role && top.kind == ReservationKind::Dynamic);
        let labelled = |top: &Reservation| labels.iter().all(|(key, value)| top.labels.get(key) == Some(value));
        flavor.volume.is_none() && top.is_some_and(labelled)
    };
    let there = reserved_of(&agent)?;
    let found = pick(&there, &wanted, is_meant).with_context(|| {
        format!("{} has less than {} reserved for {role} by operations", agent.name, args.resources)
    })?;
    operate(&client, &agent, Operation::Unreserve(found)).await?;
    line(format_args!("{} is no longer reserved for {role} on {}", args.resources, agent.name))?;
    Ok(())
}

/// `rialto volume`.
pub async fn volume(command: VolumeCommand) -> anyhow::Result<()> {
    match command {
        VolumeCommand::Create(args) => create(args).await,
        VolumeCommand::Destroy(args) => destroy(args).await,
        VolumeCommand::Grow(args) => resize(args, Resized::Larger).await,
        VolumeCommand::Shrink(args) => resize(args, Resized::Smaller).await,
        VolumeCommand::List(query) => list(query).await,
    }
}

async fn create(args: Create) -> anyhow::Result<()> {
    let client = args.connect.client().await?;
    let agent = find_agent(&client, &args.agent).await?;
    let id: VolumeId = args.id.parse().context("id")?;
    let volume = Volume::new(id, args.path.as_deref().unwrap_or(&args.id))?;
    let role: Role = args.role.parse().context("role")?;
    let there = reserved_of(&agent)?;
    let size: Milli = args.size.parse().context("size")?;
    let holds = |flavor: &Flavor, amounts: &Amounts| {
        flavor.role() == Some(&role) && flavor.volume.is_none() && amounts.scalars.get(&ResourceName::Disk) >= size
    };
    let (base, _) = there.iter().find(|(flavor, amounts)| holds(flavor, amounts)).with_context(|| {
        format!(
            "{} has no {} MiB of disk under one reservation for {role}; rialto reserve makes one",
            agent.name, args.size
        )
    })?;
    let access = if args.shared { Access::Shared } else { Access::Sole };
    let flavor = Flavor { volume: Some(volume), access, ..base.clone() };
    operate(&client, &agent, Operation::Create(Resources::flavored(flavor, disk(size)))).await?;
    line(format_args!("volume {} of {role} is made on {}", args.id, agent.name))?;
    Ok(())
}

async fn destroy(args: OneVolume) -> anyhow::Result<()> {
    let client = args.connect.client().await?;
    let agent = find_agent(&client, &args.agent).await?;
    let (flavor, amounts) = find_volume(&agent, &args.role, &args.id)?;
    operate(&client, &agent, Operation::Destroy(Resources::flavored(flavor, amounts))).await?;
    line(format_args!("volume {} of {} is destroyed on {}", args.id, args.role, agent.name))?;
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Resized {
    Larger,
    Smaller,
}

async fn resize(args: Resize, how: Resized) -> anyhow::Result<()> {
    let client = args.connect.client().await?;
    let agent = find_agent(&client, &args.agent).await?;
    let (flavor, amounts) = find_volume(&agent, &args.role, &args.id)?;
    let by: Milli = args.by.parse().context("by")?;
    let volume = Resources::flavored(flavor.clone(), amounts);
    let operation = match how {
        Resized::Smaller => Operation::Shrink { volume, by },
        Resized::Larger => {
            let base = Flavor { volume: None, access: Access::Sole, ..flavor };
            Operation::Grow { volume, addition: Resources::flavored(base, disk(by)) }
        }
    };
    operate(&client, &agent, operation).await?;
    let how = if how == Resized::Larger { "larger" } else { "smaller" };
    line(format_args!("volume {} of {} is {} MiB {how} on {}", args.id, args.role, args.by, agent.name))?;
    Ok(())
}

async fn list(query: Query) -> anyhow::Result<()> {
    let client = query.connect.client().await?;
    let found: api::Agents = client.get_json("/api/agents").await?;
    let volumes: Vec<(&api::Agent, &api::Reserved)> = found
        .agents
        .iter()
        .flat_map(|agent| agent.reserved.iter().map(move |part| (agent, part)))
        .filter(|(_, part)| part.volume.is_some())
        .collect();
    if query.json {
        let rows: Vec<_> = volumes
            .iter()
            .map(|(agent, part)| serde_json::json!({ "agent": agent.id, "agent_name": agent.name, "volume": part }))
            .collect();
        return json(&rows);
    }
    let rows = volumes.iter().filter_map(|(agent, part)| {
        let volume = part.volume.as_ref()?;
        let role = part.reservations.last().map(|top| top.role.clone()).unwrap_or_default();
        let access = if part.shared { "shared" } else { "sole" };
        let size = amount(part.amounts.disk_mib);
        Some(vec![volume.id.clone(), agent.name.clone(), role, size, volume.container_path.clone(), access.to_owned()])
    });
    table(&["volume", "agent", "role", "disk MiB", "path", "access"], rows.collect(), "no volumes")?;
    Ok(())
}

async fn operate(client: &MasterClient, agent: &api::Agent, operation: Operation) -> anyhow::Result<()> {
    let id: AgentId = agent.id.parse()?;
    let name = operation.name();
    client
        .command(&Command::Operate { agent: id, operation })
        .await
        .with_context(|| format!("{name} on {}", agent.name))?;
    Ok(())
}

/// The agent of that name or id.
async fn find_agent(client: &MasterClient, text: &str) -> anyhow::Result<api::Agent> {
    let found: api::Agents = client.get_json("/api/agents").await?;
    let here = |agent: &api::Agent| agent.status != "gone" && (agent.name == text || agent.id == text);
    let mut found: Vec<api::Agent> = found.agents.into_iter().filter(here).collect();
    match found.len() {
        0 => bail!("agent {text}: none of that name or id"),
        1 => Ok(found.remove(0)),
        _ => bail!("agent {text}: several are called that; name one by its id, see rialto agents"),
    }
}

fn find_volume(agent: &api::Agent, role: &str, id: &str) -> anyhow::Result<(Flavor, Amounts)> {
    let there = reserved_of(agent)?;
    let is_it = |flavor: &Flavor| {
        let named = flavor.volume.as_ref().is_some_and(|volume| volume.id().as_str() == id);
        named && flavor.role().is_some_and(|of| of.as_str() == role)
    };
    let found = there.iter().find(|(flavor, _)| is_it(flavor));
    let (flavor, amounts) = found.with_context(|| format!("{} has no volume {id} of role {role}", agent.name))?;
    Ok((flavor.clone(), amounts.clone()))
}

/// What of the agent is reserved, as the master shows it.
fn reserved_of(agent: &api::Agent) -> anyhow::Result<Resources> {
    let mut all = Resources::new();
    for part in &agent.reserved {
        all.add(&part.to_resources().with_context(|| format!("the master's answer on {}", agent.name))?);
    }
    Ok(all)
}

/// The plain amounts `wanted`, taken from the flavors that are meant; `None` if there is less.
fn pick(there: &Resources, wanted: &Resources, is_meant: impl Fn(&Flavor) -> bool) -> Option<Resources> {
    let mut missing = wanted.get(&Flavor::default())?.clone();
    let mut found = Resources::new();
    for (flavor, here) in there.iter().filter(|(flavor, _)| is_meant(flavor)) {
        let mut part = Amounts::default();
        for (name, amount) in missing.scalars.clone().iter() {
            let taken = here.scalars.get(name).min(amount);
            part.scalars.set(name, taken);
            missing.scalars.set(name, amount.minus(taken)?);
        }
        for (name, ranges) in &mut missing.ranges {
            let taken = here.ranges.get(name).map(|here| here.intersection(ranges)).unwrap_or_default();
            *ranges = ranges.difference(&taken);
            part.ranges.insert(name.clone(), taken);
        }
        found.add(&Resources::flavored(flavor.clone(), part));
    }
    missing.ranges.retain(|_, ranges| !ranges.is_empty());
    missing.is_empty().then_some(found)
}

fn disk(size: Milli) -> Amounts {
    let mut scalars = Quantities::new();
    scalars.set(&ResourceName::Disk, size);
    Amounts { scalars, ..Amounts::default() }
}

fn labels(texts: &[String]) -> anyhow::Result<BTreeMap<Arc<str>, Arc<str>>> {
    let label = |text: &String| {
        let (key, value) = text.split_once('=').filter(|(key, _)| !key.is_empty())?;
        Some((Arc::from(key), Arc::from(value)))
    };
    texts.iter().map(|text| label(text).with_context(|| format!("label: expected KEY=VALUE, got {text:?}"))).collect()
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The end of a reservation that lasts as long as `text` says from `now` on.
fn end_of(text: &str, now: Duration) -> anyhow::Result<WallTime> {
    let bad = || format!("until: expected a duration such as 90m, 12h or 7d, got {text:?}");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).with_context(bad)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => bail!(bad()),
    };
    let count: u64 = number.parse().ok().filter(|count| *count > 0).with_context(bad)?;
    let lasts = count
        .checked_mul(seconds)
        .filter(|lasts| *lasts <= MAX_SECONDS)
        .with_context(|| format!("until: expected at most {} days, got {text:?}", MAX_SECONDS / (24 * 3600)))?;
    let end = now + Duration::from_secs(lasts);
    Ok(WallTime(i64::try_from(end.as_micros())?))
}

/// The longest that a reservation with an end may last: ten years.
const MAX_SECONDS: u64 = 10 * 365 * 24 * 3600;
