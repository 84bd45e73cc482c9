//! `rialto top`: what the running tasks use, as their agents measure it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use rialto_master::api;
use rialto_proto::logs::{Follow, LogFile, ReadLog, Start};
use rialto_sdk::MasterClient;
use rialto_sdk::core::model::TaskKey;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio_stream::StreamExt;

use crate::cli::Query;
use crate::output::{amount, json, table};

/// The most tasks that are shown, the newest first.
const MAX_TASKS: usize = 500;
/// How many tasks are asked about at once.
const AT_ONCE: usize = 32;
/// How long an agent may take for two looks, a second apart.
const PATIENCE: Duration = Duration::from_secs(10);

/// What an agent says of a task at one moment.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Sample {
    at_unix_ms: u64,
    cpu_us: Option<u64>,
    memory_bytes: Option<u64>,
    memory_peak_bytes: Option<u64>,
    memory_limit_bytes: Option<u64>,
    pids: Option<u64>,
    read_bytes: Option<u64>,
    written_bytes: Option<u64>,
    devices: BTreeMap<String, BTreeMap<String, f64>>,
}

/// What a task uses. Figures that its agent can't measure are absent.
#[derive(Debug, Serialize)]
struct Usage {
    framework: String,
    task: String,
    agent: String,
    /// Cores in use, over a second.
    cpus: Option<f64>,
    memory_bytes: Option<u64>,
    memory_peak_bytes: Option<u64>,
    memory_limit_bytes: Option<u64>,
    pids: Option<u64>,
    /// Bytes a second, over a second.
    read_bytes_per_s: Option<f64>,
    written_bytes_per_s: Option<f64>,
    /// What the sources of its devices tell of these.
    devices: BTreeMap<String, BTreeMap<String, f64>>,
    /// Why there are no figures.
    problem: Option<String>,
}

/// Prints the tasks, those that use most processors first.
pub async fn top(query: Query) -> anyhow::Result<()> {
    let client = query.connect.client().await?;
    let found: api::Tasks = client.get_json(&format!("/api/tasks?limit={MAX_TASKS}&state=TASK_RUNNING")).await?;
    let mut waiting = found.tasks.into_iter();
    let (mut asked, mut used) = (JoinSet::new(), Vec::new());
    loop {
        while let Some(task) = (asked.len() < AT_ONCE).then(|| waiting.next()).flatten() {
            asked.spawn(usage(client.clone(), task));
        }
        let Some(one) = asked.join_next().await else { break };
        used.push(one.context("a question was cut short")?);
    }
    used.sort_by(|a, b| b.cpus.unwrap_or(-1.0).total_cmp(&a.cpus.unwrap_or(-1.0)).then_with(|| a.task.cmp(&b.task)));
    if query.json {
        return json(&used);
    }
    let header = [
        "task",
        "framework",
        "agent",
        "cpus",
        "mem MiB",
        "peak",
        "limit",
        "pids",
        "read/s",
        "written/s",
        "devices",
        "why not",
    ];
    table(&header, used.iter().map(row).collect(), "no tasks run")?;
    Ok(())
}

fn row(usage: &Usage) -> Vec<String> {
    let mib = |bytes: Option<u64>| bytes.map_or_else(String::new, |bytes| amount((bytes / 104_857) as f64 / 10.0));
    let kib = |rate: Option<f64>| rate.map_or_else(String::new, |rate| format!("{:.0}K", rate / 1024.0));
    vec![
        usage.task.clone(),
        usage.framework.clone(),
        usage.agent.clone(),
        usage.cpus.map_or_else(String::new, |cpus| format!("{cpus:.2}")),
        mib(usage.memory_bytes),
        mib(usage.memory_peak_bytes),
        mib(usage.memory_limit_bytes),
        usage.pids.map_or_else(String::new, |pids| pids.to_string()),
        kib(usage.read_bytes_per_s),
        kib(usage.written_bytes_per_s),
        devices(&usage.devices),
        usage.problem.clone().unwrap_or_default(),
    ]
}

/// Each with its figures.
fn devices(devices: &BTreeMap<String, BTreeMap<String, f64>>) -> String {
    let figures = |all: &BTreeMap<String, f64>| {
        all.iter().map(|(name, value)| format!("{name} {}", amount(*value))).collect::<Vec<_>>().join(", ")
    };
    devices.iter().map(|(device, all)| format!("{device}: {}", figures(all))).collect::<Vec<_>>().join("; ")
}

async fn usage(client: MasterClient, task: api::Task) -> Usage {
    let samples = tokio::time::timeout(PATIENCE, samples(&client, &task)).await;
    let (samples, problem) = match samples {
        Ok(Ok(samples)) => (samples, None),
        Ok(Err(error)) => (Vec::new(), Some(format!("{error:#}"))),
        Err(_) => (Vec::new(), Some("its agent does not answer".to_owned())),
    };
    let last = samples.last().cloned().unwrap_or_default();
    Usage {
        cpus: rate(&samples, |sample| sample.cpu_us).map(|us| us / 1e6),
        memory_bytes: last.memory_bytes,
        memory_peak_bytes: last.memory_peak_bytes,
        memory_limit_bytes: last.memory_limit_bytes,
        pids: last.pids,
        read_bytes_per_s: rate(&samples, |sample| sample.read_bytes),
        written_bytes_per_s: rate(&samples, |sample| sample.written_bytes),
        devices: last.devices,
        problem,
        framework: task.framework,
        task: task.id,
        agent: task.agent,
    }
}

/// By how much a counter grew in a second, between the first sample and the last.
fn rate(samples: &[Sample], counter: impl Fn(&Sample) -> Option<u64>) -> Option<f64> {
    let (first, last) = (samples.first()?, samples.last()?);
    let passed_s = last.at_unix_ms.checked_sub(first.at_unix_ms).filter(|passed| *passed > 0)? as f64 / 1000.0;
    Some(counter(last)?.saturating_sub(counter(first)?) as f64 / passed_s)
}

/// Two samples, or one if the task ends meanwhile.
async fn samples(client: &MasterClient, task: &api::Task) -> anyhow::Result<Vec<Sample>> {
    let framework = task.framework.parse().context("the id of a framework")?;
    let key = TaskKey::new(framework, task.id.parse().context("the id of a task")?);
    let read = ReadLog {
        task: key,
        file: LogFile::Usage,
        start: Start::Offset(0),
        follow: Follow::UntilTaskEnds,
        limit: None,
    };
    let mut bytes = client.logs(&read).await?;
    let mut text = Vec::new();
    while let Some(chunk) = bytes.next().await {
        text.extend_from_slice(&chunk?);
        if text.iter().filter(|byte| **byte == b'\n').count() >= 2 {
            break;
        }
    }
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).context("a line of figures")).collect()
}

#[cfg(test)]
mod tests;
