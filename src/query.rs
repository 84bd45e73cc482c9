//! The commands that look: agents, frameworks, tasks, offers, devices, logs, why; and kill.

use std::io::Write;

use anyhow::{Context, bail};
use rialto_master::{answers, api};
use rialto_proto::logs::{Follow, LogFile, ReadLog, Start};
use rialto_sdk::core::allocator::explain::{Explanation, TaskNote};
use rialto_sdk::core::allocator::report;
use rialto_sdk::core::master::{Command, Reply, Target};
use rialto_sdk::core::model::{FrameworkId, Reject, TaskId, TaskKey, TaskState};
use rialto_sdk::{ClientError, MasterClient};
use tokio_stream::StreamExt;

use crate::cli::{Kill, Logs, Query, TasksQuery, Why};
use crate::explain;
use crate::output::{ago, amount, json, since, table, until};

/// `rialto agents`.
pub async fn agents(query: Query) -> anyhow::Result<()> {
    let client = query.connect.client().await?;
    let found: api::Agents = client.get_json("/api/agents").await?;
    if query.json {
        return json(&found);
    }
    let of = |used: f64, total: f64| format!("{} / {}", amount(used), amount(total));
    let rows = found.agents.iter().map(|agent| {
        vec![
            agent.id.clone(),
            agent.name.clone(),
            status(agent),
            of(agent.allocated.cpus, agent.total.cpus),
            of(agent.allocated.mem_mib, agent.total.mem_mib),
            of(agent.allocated.disk_mib, agent.total.disk_mib),
            domain(agent),
            reserved(agent),
        ]
    });
    table(&["id", "name", "status", "cpus", "mem MiB", "disk MiB", "domain", "reserved"], rows.collect(), "no agents")?;
    Ok(())
}

/// The agent's status, and when it will be taken away.
fn status(agent: &api::Agent) -> String {
    let leaves = agent.leaves_ms.map(|at| format!(", leaves in {}", until(at)));
    format!("{}{}", agent.status, leaves.unwrap_or_default())
}

/// Where the agent stands, as `REGION/ZONE`.
fn domain(agent: &api::Agent) -> String {
    agent.region.iter().chain(&agent.zone).cloned().collect::<Vec<_>>().join("/")
}

/// Whose the agent's reserved resources are, each with what it is.
fn reserved(agent: &api::Agent) -> String {
    let part = |part: &api::Reserved| format!("{}: {}", part.owner(), part.text);
    agent.reserved.iter().map(part).collect::<Vec<_>>().join(", ")
}

/// `rialto frameworks`.
pub async fn frameworks(query: Query) -> anyhow::Result<()> {
    let client = query.connect.client().await?;
    let found: api::Frameworks = client.get_json("/api/frameworks").await?;
    if query.json {
        return json(&found);
    }
    let rows = found.frameworks.iter().map(|framework| {
        let waits: u32 = framework.demand.iter().map(|demand| demand.count).sum();
        let vain: u32 = framework.demand.iter().filter(|demand| demand.hopeless).map(|demand| demand.count).sum();
        let waits = if vain == 0 { waits.to_string() } else { format!("{waits} ({vain} never fit)") };
        vec![
            framework.id.clone(),
            framework.name.clone(),
            if framework.connected { "connected" } else { "away" }.to_owned(),
            framework.roles.join(","),
            amount(framework.allocated.cpus),
            amount(framework.allocated.mem_mib),
            waits,
            conduct_words(&framework.conduct),
            framework.url.clone().unwrap_or_default(),
        ]
    });
    table(
        &["id", "name", "state", "roles", "cpus", "mem MiB", "waiting", "conduct", "url"],
        rows.collect(),
        "no frameworks",
    )?;
    Ok(())
}

/// What is to be said of how a framework deals with offers, and whether it is passed over; nothing, if all is well.
fn conduct_words(conduct: &[api::RoleConduct]) -> String {
    let hoarded: f64 = conduct.iter().map(|role| role.hoarded.cpus).sum();
    let idle: f64 = conduct.iter().map(|role| role.idle_offer_s).sum();
    let declines: u64 = conduct.iter().flat_map(|role| role.declines.values()).sum();
    let starved = conduct.iter().filter_map(|role| role.starved_s).fold(0.0, f64::max);
    let mut words = Vec::new();
    if starved >= 1.0 {
        words.push(format!("starved for {starved:.0} s"));
    }
    if hoarded >= 1.0 {
        words.push(format!("locked {hoarded:.0} core s"));
    }
    if idle >= 1.0 {
        words.push(format!("left offers idle for {idle:.0} s"));
    }
    if declines > 0 {
        words.push(format!("declined {declines}"));
    }
    words.join(", ")
}

/// `rialto tasks`.
pub async fn tasks(query: TasksQuery) -> anyhow::Result<()> {
    let client = query.connect.client().await?;
    let mut path = format!("/api/tasks?limit={}", query.limit);
    if let Some(framework) = &query.framework {
        path.push_str(&format!("&framework={}", find_framework(&client, framework).await?));
    }
    if let Some(state) = &query.state {
        let state = state.to_uppercase();
        let state = if state.starts_with("TASK_") { state } else { format!("TASK_{state}") };
        path.push_str(&format!("&state={state}"));
    }
    let found: api::Tasks = client.get_json(&path).await?;
    if query.json {
        return json(&found);
    }
    let rows = found.tasks.iter().map(|task| {
        vec![
            task.id.clone(),
            task.framework.clone(),
            task.state.trim_start_matches("TASK_").to_lowercase(),
            task.agent.clone(),
            amount(task.given.cpus),
            amount(task.given.mem_mib),
            task.devices.join(","),
            ago(task.changed_ms),
            task.message.clone(),
        ]
    });
    table(
        &["task", "framework", "state", "agent", "cpus", "mem MiB", "devices", "since", "why"],
        rows.collect(),
        "no tasks",
    )?;
    if found.total > found.tasks.len() as u64 {
        writeln!(std::io::stdout(), "{} of {}; --limit shows more", found.tasks.len(), found.total)?;
    }
    Ok(())
}

/// `rialto offers`.
pub async fn offers(query: Query) -> anyhow::Result<()> {
    let client = query.connect.client().await?;
    let found: api::Offers = client.get_json("/api/offers").await?;
    if query.json {
        return json(&found);
    }
    let rows = found.offers.iter().map(|offer| {
        let (id, framework, agent) = (offer.id.clone(), offer.framework.clone(), offer.agent.clone());
        vec![id, framework, agent, offer.role.clone(), offer.mode.clone(), offer.resources.clone(), ago(offer.since_ms)]
    });
    table(&["id", "framework", "agent", "role", "mode", "resources", "since"], rows.collect(), "no offers stand")?;
    Ok(())
}

/// `rialto devices`.
pub async fn devices(query: Query) -> anyhow::Result<()> {
    let client = query.connect.client().await?;
    let found: api::Devices = client.get_json("/api/devices").await?;
    if query.json {
        return json(&found);
    }
    let rows = found.devices.iter().map(|device| {
        let part = |milli: u16| if device.shared { format!(" ({milli}‰)") } else { String::new() };
        let holder = |holder: &api::Holder| format!("{}/{}{}", holder.framework, holder.task, part(holder.share_milli));
        let holders: Vec<String> = device.holders.iter().map(holder).collect();
        vec![
            device.id.clone(),
            device.agent.clone(),
            device.kind.clone(),
            device.model.clone(),
            device.health.clone(),
            device.state.clone(),
            holders.join(","),
            ago(device.since_ms),
            device.reason.clone().unwrap_or_default(),
        ]
    });
    let header = ["device", "agent", "kind", "model", "health", "state", "holder", "since", "why"];
    table(&header, rows.collect(), "no devices")?;
    Ok(())
}

/// `rialto logs`.
pub async fn logs(query: Logs) -> anyhow::Result<()> {
    let client = query.connect.client().await?;
    let task = find_task(&client, &query.task).await?;
    let file = if query.stderr { LogFile::Stderr } else { LogFile::Stdout };
    let follow = if query.follow { Follow::UntilTaskEnds } else { Follow::No };
    let read = ReadLog { task: task.clone(), file, start: Start::Offset(0), follow, limit: None };
    let mut bytes = client.logs(&read).await.with_context(|| format!("task {task}"))?;
    let mut stdout = std::io::stdout();
    while let Some(chunk) = bytes.next().await {
        stdout.write_all(&chunk?)?;
        stdout.flush()?;
    }
    Ok(())
}

/// `rialto why`.
pub async fn why(query: Why) -> anyhow::Result<()> {
    let client = query.connect.client().await?;
    let target = find_target(&client, &query.target).await?;
    let explanation = match client.command(&Command::Why(target.clone())).await {
        Ok(Reply::Why(explanation)) => *explanation,
        Ok(_) => bail!("the master gave another answer than was asked for"),
        Err(ClientError::Rejected(Reject::UnknownTask(_))) => ended(&client, &target).await?,
        Err(error) => return Err(error.into()),
    };
    if query.json {
        return json(&answers::why(&explanation));
    }
    write!(std::io::stdout(), "{}", explain::render(&explanation))?;
    Ok(())
}

/// A task that ended is no longer known to who decides; it is still to be seen.
async fn ended(client: &MasterClient, target: &Target) -> anyhow::Result<Explanation> {
    let Target::Task(key) = target else { bail!("only a task can have ended") };
    let task: api::Task = client.get_json(&format!("/api/tasks/{}/{}", key.framework, key.task)).await?;
    let state = TaskState::ALL.into_iter().find(|state| state.as_str() == task.state).context("a state of a task")?;
    let reason = task.reason.map(|reason| format!("{reason}: ")).unwrap_or_default();
    let message = format!("{reason}{}", task.message).into();
    let note =
        TaskNote { key: key.clone(), state, message, lasting: since(task.changed_ms), agent: None, waits_for: None };
    Ok(Explanation { subject: format!("task {key}"), waits: Vec::new(), task: Some(note) })
}

/// `rialto when`.
pub async fn when(query: Why) -> anyhow::Result<()> {
    let client = query.connect.client().await?;
    let target = find_waiting(&client, &query.target).await?;
    let Reply::When(forecast) = client.command(&Command::When(target)).await? else {
        bail!("the master gave another answer than was asked for");
    };
    if query.json {
        return json(&answers::when(&forecast));
    }
    write!(std::io::stdout(), "{}", report::when(&forecast))?;
    Ok(())
}

/// `rialto what-would-help`.
pub async fn what_would_help(query: Why) -> anyhow::Result<()> {
    let client = query.connect.client().await?;
    let target = find_waiting(&client, &query.target).await?;
    let Reply::WhatWouldHelp(advice) = client.command(&Command::WhatWouldHelp(target)).await? else {
        bail!("the master gave another answer than was asked for");
    };
    if query.json {
        return json(&answers::what_would_help(&advice));
    }
    write!(std::io::stdout(), "{}", report::what_would_help(&advice))?;
    Ok(())
}

/// What waits; a launched task does not.
async fn find_waiting(client: &MasterClient, text: &str) -> anyhow::Result<Target> {
    match find_target(client, text).await? {
        Target::Task(key) => bail!("{key} is launched already; rialto why {key} says where it stands"),
        target => Ok(target),
    }
}

/// `rialto kill`.
pub async fn kill(query: Kill) -> anyhow::Result<()> {
    let client = query.connect.client().await?;
    let task = find_task(&client, &query.task).await?;
    let grace = query.grace.map(|seconds| std::time::Duration::from_secs(seconds.into()));
    let kill = Command::Kill { task: task.clone(), grace };
    client.command(&kill).await.with_context(|| format!("task {task}"))?;
    writeln!(std::io::stdout(), "{task} is being ended")?;
    Ok(())
}

/// The framework whose id or name begins with `text`.
async fn find_framework(client: &MasterClient, text: &str) -> anyhow::Result<FrameworkId> {
    let found: api::Frameworks = client.get_json("/api/frameworks").await?;
    let rows: Vec<(&str, &str)> = found.frameworks.iter().map(|one| (one.id.as_str(), one.name.as_str())).collect();
    let chosen =
        if text == "last" { rows.iter().map(|(id, _)| *id).max_by_key(|id| newest(id)) } else { choose(text, &rows)? };
    let chosen = chosen.with_context(|| format!("framework {text}: none of that id or name"))?;
    Ok(chosen.parse()?)
}

/// Ids in the order in which they were given out.
fn newest(id: &str) -> Option<FrameworkId> {
    id.parse().ok()
}

/// The one whose first or second text is `text`, else begins with it; `None` if there is none.
pub fn choose<'a>(text: &str, rows: &[(&'a str, &str)]) -> anyhow::Result<Option<&'a str>> {
    let exact: Vec<&str> = rows.iter().filter(|(id, name)| *id == text || *name == text).map(|(id, _)| *id).collect();
    let begins =
        || rows.iter().filter(|(id, name)| id.starts_with(text) || name.starts_with(text)).map(|(id, _)| *id).collect();
    let mut found = if exact.is_empty() { begins() } else { exact };
    found.dedup();
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        many => bail!(
            "{text} is not clear: {}{}",
            many[..many.len().min(5)].join(", "),
            if many.len() > 5 { ", …" } else { "" }
        ),
    }
}

/// The task called `text`: its id, the beginning of it, `FRAMEWORK/TASK`, or `last`.
pub async fn find_task(client: &MasterClient, text: &str) -> anyhow::Result<TaskKey> {
    if let Some((framework, task)) = text.split_once('/') {
        return Ok(TaskKey::new(framework.parse()?, TaskId::new(task)?));
    }
    let limit = if text == "last" { 1 } else { 10_000 };
    let found: api::Tasks = client.get_json(&format!("/api/tasks?limit={limit}")).await?;
    if text == "last" {
        let task = found.tasks.first().context("last: there are no tasks")?;
        return Ok(TaskKey::new(task.framework.parse()?, TaskId::new(&task.id)?));
    }
    let keys: Vec<String> = found.tasks.iter().map(|task| format!("{}/{}", task.framework, task.id)).collect();
    let rows: Vec<(&str, &str)> =
        keys.iter().zip(&found.tasks).map(|(key, task)| (key.as_str(), task.id.as_str())).collect();
    let key = choose(text, &rows)?.with_context(|| format!("task {text}: no task of that id is known"))?;
    let (framework, task) = key.split_once('/').context("a key holds a slash")?;
    Ok(TaskKey::new(framework.parse()?, TaskId::new(task)?))
}

/// What `why` is to be asked about: something that waits, a task, or a framework. What waits comes first: it is why one asks.
async fn find_target(client: &MasterClient, text: &str) -> anyhow::Result<Target> {
    let found: api::Frameworks = client.get_json("/api/frameworks").await?;
    let mut waiting: Vec<(FrameworkId, &str)> = Vec::new();
    for framework in &found.frameworks {
        let id = framework.id.parse()?;
        waiting.extend(framework.demand.iter().map(|demand| (id, demand.name.as_str())));
    }
    waiting.sort_unstable();
    if text == "last"
        && let Some((id, name)) = waiting.last()
    {
        return Ok(Target::Shape(*id, (*name).to_owned()));
    }
    let named = |exact: bool| {
        waiting.iter().rev().find(|(_, name)| if exact { *name == text } else { name.starts_with(text) }).copied()
    };
    if let Some((id, name)) = named(true).or_else(|| named(false)) {
        return Ok(Target::Shape(id, name.to_owned()));
    }
    match find_task(client, text).await {
        Ok(key) => Ok(Target::Task(key)),
        Err(no_task) => match find_framework(client, text).await {
            Ok(id) => Ok(Target::Framework(id)),
            Err(_) => {
                Err(no_task.context(format!("{text}: nothing that waits, no task and no framework is called that")))
            }
        },
    }
}
