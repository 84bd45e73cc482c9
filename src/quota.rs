//! The commands that share the cluster out between roles: roles, quota, weight.

use anyhow::{Context, bail};
use rialto_master::api;
use rialto_sdk::MasterClient;
use rialto_sdk::core::allocator::quota::{Bounds, Force, Priorities, Quota, parse_amounts};
use rialto_sdk::core::master::Command;
use rialto_sdk::core::model::{Milli, OfferMode, Quantities, ResourceName, Role};

use crate::cli::{self, Query, QuotaRemove, QuotaSet, QuotaShow, Weight};
use crate::output::{amount, json, line, table};

/// `rialto roles`.
pub async fn roles(query: Query) -> anyhow::Result<()> {
    let client = query.connect.client().await?;
    let found: api::Roles = client.get_json("/api/roles").await?;
    if query.json {
        return json(&found);
    }
    let rows = found.roles.iter().map(|role| {
        vec![
            role.role.clone(),
            amount(role.weight),
            role.share.map(|share| format!("{:.1} %", share * 100.0)).unwrap_or_default(),
            held(&role.held),
            list(&role.limit),
            list(&role.guarantee),
            role.offer_mode.clone().unwrap_or_default(),
            role.waiting.to_string(),
        ]
    });
    table(
        &["role", "weight", "share", "held", "limit", "guarantee", "offers", "waiting"],
        rows.collect(),
        "no roles in use",
    )?;
    Ok(())
}

/// `rialto quota`.
pub async fn quota(command: cli::Quota) -> anyhow::Result<()> {
    match command {
        cli::Quota::Set(args) => set(args).await,
        cli::Quota::Show(args) => show(args).await,
        cli::Quota::Remove(args) => remove(args).await,
    }
}

/// `rialto weight`.
pub async fn weight(args: Weight) -> anyhow::Result<()> {
    let role = Role::new(&args.role).context("role")?;
    let weight: Milli = args.weight.parse().with_context(|| format!("weight {:?}", args.weight))?;
    let weight_milli = u32::try_from(weight.0).with_context(|| format!("weight {weight}: expected 0.001 to 1000"))?;
    let client = args.connect.client().await?;
    client.command(&Command::SetWeight { role: role.clone(), weight_milli }).await?;
    line(format_args!("{role}: weight {weight}"))?;
    Ok(())
}

/// `rialto role`.
pub async fn role(command: cli::Role) -> anyhow::Result<()> {
    let cli::Role::Set(args) = command;
    let role = Role::new(&args.role)?;
    let mode = match args.offer_mode {
        cli::RoleOfferMode::Optimistic => Some(OfferMode::Optimistic),
        cli::RoleOfferMode::Exclusive => Some(OfferMode::Exclusive),
        cli::RoleOfferMode::Default => None,
    };
    let client = args.connect.client().await?;
    client.command(&Command::SetOfferMode { role: role.clone(), mode }).await?;
    match mode {
        Some(OfferMode::Optimistic) => line(format_args!("{role}: optimistic offers"))?,
        Some(OfferMode::Exclusive) => line(format_args!("{role}: exclusive offers"))?,
        None => line(format_args!("{role}: offers as its frameworks ask"))?,
    }
    Ok(())
}

/// What is not named stays as it is.
async fn set(args: QuotaSet) -> anyhow::Result<()> {
    let role = Role::new(&args.role).context("role")?;
    if args.limit.is_none() && args.guarantee.is_none() && args.priorities.is_none() {
        bail!("quota set: expected --limit, --guarantee or --priorities");
    }
    let client = args.connect.client().await?;
    let mut quota = present(&client, &role).await?;
    let kinds = kinds(&client).await?;
    if let Some(text) = &args.limit {
        quota.limit = amounts(text, &kinds).context("--limit")?;
    }
    if let Some(text) = &args.guarantee {
        quota.guarantee = quantities(&amounts(text, &kinds).context("--guarantee")?);
    }
    if let Some(text) = &args.priorities {
        quota.priorities = Some(priorities(text)?);
    }
    let force = if args.force { Force::Yes } else { Force::No };
    client.command(&Command::SetQuota { quotas: vec![(role.clone(), Some(quota))], force }).await?;
    print(&client, Some(&role)).await
}

async fn show(args: QuotaShow) -> anyhow::Result<()> {
    let role = args.role.as_deref().map(Role::new).transpose().context("role")?;
    let client = args.connect.client().await?;
    if args.json {
        let mut found: api::Roles = client.get_json("/api/roles").await?;
        found.roles.retain(|row| has_quota(row) && role.as_ref().is_none_or(|role| row.role == role.as_str()));
        return json(&found);
    }
    print(&client, role.as_ref()).await
}

async fn remove(args: QuotaRemove) -> anyhow::Result<()> {
    let role = Role::new(&args.role).context("role")?;
    let client = args.connect.client().await?;
    client.command(&Command::SetQuota { quotas: vec![(role.clone(), None)], force: Force::No }).await?;
    line(format_args!("{role}: no quota"))?;
    Ok(())
}

async fn print(client: &MasterClient, role: Option<&Role>) -> anyhow::Result<()> {
    let found: api::Roles = client.get_json("/api/roles").await?;
    let mine = |row: &&api::RoleRow| has_quota(row) && role.is_none_or(|role| row.role == role.as_str());
    let rows = found.roles.iter().filter(mine).map(|row| {
        let priorities = row.priorities.map(|bounds| format!("{}..{}", bounds.lowest, bounds.highest));
        vec![row.role.clone(), list(&row.limit), list(&row.guarantee), priorities.unwrap_or_default(), held(&row.held)]
    });
    table(&["role", "limit", "guarantee", "priorities", "held"], rows.collect(), "no quota is set")?;
    Ok(())
}

fn has_quota(row: &api::RoleRow) -> bool {
    !row.limit.is_empty() || !row.guarantee.is_empty() || row.priorities.is_some()
}

/// The role's quota as it is.
async fn present(client: &MasterClient, role: &Role) -> anyhow::Result<Quota> {
    let found: api::Roles = client.get_json("/api/roles").await?;
    let Some(row) = found.roles.iter().find(|row| row.role == role.as_str()) else { return Ok(Quota::default()) };
    let bounds = |amounts: &std::collections::BTreeMap<String, f64>| -> anyhow::Result<Bounds> {
        let parsed = amounts.iter().map(|(name, value)| Ok((ResourceName::new(name), amount(*value).parse()?)));
        parsed.collect()
    };
    Ok(Quota {
        limit: bounds(&row.limit)?,
        guarantee: quantities(&bounds(&row.guarantee)?),
        priorities: row.priorities.map(|bounds| Priorities { lowest: bounds.lowest, highest: bounds.highest }),
    })
}

/// The kinds of device in the cluster.
async fn kinds(client: &MasterClient) -> anyhow::Result<Vec<String>> {
    let found: api::Devices = client.get_json("/api/devices").await?;
    Ok(found.classes.into_iter().map(|class| class.kind).collect())
}

/// Reads `cpus:10;gpu:2;gpu/T4:1`: the kinds of the cluster's devices may be named without `device/` before them.
fn amounts(text: &str, kinds: &[String]) -> anyhow::Result<Bounds> {
    let full = |entry: &str| {
        let entry = entry.trim();
        let kind = entry.split(['/', ':']).next().unwrap_or(entry);
        if entry.starts_with("device/") || !kinds.iter().any(|known| known == kind) {
            return entry.to_owned();
        }
        format!("device/{entry}")
    };
    let entries: Vec<String> = text.split(';').map(full).collect();
    Ok(parse_amounts(&entries.join(";"))?)
}

fn quantities(bounds: &Bounds) -> Quantities {
    let mut quantities = Quantities::new();
    bounds.iter().for_each(|(name, amount)| quantities.set(name, *amount));
    quantities
}

/// Reads `-5..10`.
fn priorities(text: &str) -> anyhow::Result<Priorities> {
    let (lowest, highest) =
        text.split_once("..").with_context(|| format!("--priorities: expected LOWEST..HIGHEST, got {text:?}"))?;
    let bound = |text: &str| text.trim().parse::<i32>().with_context(|| format!("--priorities: {text:?}"));
    Ok(Priorities { lowest: bound(lowest)?, highest: bound(highest)? })
}

fn list(amounts: &std::collections::BTreeMap<String, f64>) -> String {
    let parts: Vec<String> = amounts.iter().map(|(name, value)| format!("{name}:{}", amount(*value))).collect();
    parts.join(" ")
}

fn held(amounts: &api::Amounts) -> String {
    let known = [("cpus", amounts.cpus), ("mem", amounts.mem_mib), ("disk", amounts.disk_mib)];
    let others = amounts.other.iter().map(|(name, value)| (name.as_str(), *value));
    let parts = known.into_iter().chain(others).filter(|(_, value)| *value > 0.0);
    parts.map(|(name, value)| format!("{name}:{}", amount(value))).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
