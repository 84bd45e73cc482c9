//! Questions to a running cluster that time decides: its snapshot is run on in virtual time.

pub mod args;
mod convert;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use rialto_master::api;
use rialto_sim::live::{self, Addition, Assumptions, Outcome, Snapshot, WaitOutcome};
use rialto_sim::planning::{Start, digest_of, in_words, moment_of};
use serde_json::json;

use self::args::{Added, Future, HelpArgs, SnapshotArgs, WhenArgs};
use crate::cli::Connect;
use crate::{output, query};

/// `rialto snapshot`.
pub async fn snapshot(args: SnapshotArgs) -> anyhow::Result<()> {
    output::json(&fetch(&args.connect).await?)
}

/// `rialto when`: the master's own bound, or what comes of the cluster in virtual time.
pub async fn when(args: WhenArgs) -> anyhow::Result<()> {
    if !args.simulate {
        return query::when(args.why).await;
    }
    let (rows, snapshot) = read(&args.why.connect, &args.future).await?;
    let additions = args.add.iter().map(|added| addition(&snapshot, added)).collect::<anyhow::Result<Vec<_>>>()?;
    let asked = asked(&rows, &args.why.target)?;
    let outcome = live::run_on(&snapshot, &args.future.assumptions(), &additions);
    let waits: Vec<&WaitOutcome> = outcome.waits.iter().filter(|wait| asked.is(wait)).collect();
    if args.why.json {
        let waits: Vec<_> = waits.iter().map(|wait| wait_json(wait)).collect();
        return output::json(&json!({"change": rows.change, "waits": waits, "not_taken_up": outcome.not_taken_up}));
    }
    for wait in waits {
        output::line(words(wait, args.future.horizon))?;
    }
    tell_doubts(&outcome, args.future.run_time)
}

/// `rialto what-would-help`: what the master knows at once, or how many machines more it takes within a time.
pub async fn what_would_help(args: HelpArgs) -> anyhow::Result<()> {
    let Some(within) = args.within else { return query::what_would_help(args.why).await };
    let (rows, snapshot) = read(&args.why.connect, &args.future).await?;
    let asked = asked(&rows, &args.why.target)?;
    let assumptions = args.future.assumptions();
    let now = live::run_on(&snapshot, &Assumptions { horizon: within, ..assumptions }, &[]);
    let is_enough = now.waits.iter().filter(|wait| asked.is(wait)).all(|wait| wait.all.is_some());
    let found = if is_enough {
        Vec::new()
    } else {
        live::what_suffices(&snapshot, &assumptions, within, &|wait| asked.is(wait))
    };
    if args.why.json {
        let machines: Vec<_> = found.iter().map(|one| json!({"like": *one.like, "count": one.count})).collect();
        return output::json(&json!({"change": rows.change, "enough_already": is_enough, "machines": machines}));
    }
    let within = in_words(within.as_secs_f64());
    if is_enough {
        output::line(format_args!("nothing is needed: all of it starts within {within} as it is"))?;
    } else if found.is_empty() {
        output::line(format_args!("no number of machines like those there are lets all of it start within {within}"))?;
    }
    for one in found {
        output::line(format_args!("{} more like {}: all of it starts within {within}", one.count, one.like))?;
    }
    tell_doubts(&now, args.future.run_time)
}

impl Future {
    fn assumptions(&self) -> Assumptions {
        Assumptions { run_time: self.run_time, horizon: self.horizon }
    }
}

/// The cluster as it is now.
pub async fn fetch(connect: &Connect) -> anyhow::Result<api::Snapshot> {
    Ok(connect.client().await?.get_json("/api/snapshot").await?)
}

/// A cluster as `rialto snapshot` has written it.
pub fn read_file(file: &Path) -> anyhow::Result<api::Snapshot> {
    let named = || format!("--snapshot {}", file.display());
    let text = std::fs::read_to_string(file).with_context(named)?;
    serde_json::from_str(&text).with_context(named)
}

/// What a scenario begins with: the cluster, where it is `from`, and the digest of what it was at that moment.
pub fn start(rows: &api::Snapshot, from: &str, run_time: Option<Duration>) -> anyhow::Result<Start> {
    let snapshot = convert::snapshot(rows).context("the snapshot")?;
    // The same for a file and for the master's own answer, however they are laid out.
    let canonical = serde_json::to_vec(rows)?;
    let taken = moment_of(rows.now_ms);
    let source = format!("snapshot of {from}, taken on {taken}, change {} of term {}", rows.change, rows.term);
    Ok(Start { snapshot, source, digest: digest_of(&canonical), run_time })
}

async fn read(connect: &Connect, future: &Future) -> anyhow::Result<(api::Snapshot, Snapshot)> {
    let rows: api::Snapshot = match &future.snapshot {
        Some(file) => read_file(file)?,
        None => fetch(connect).await?,
    };
    let snapshot = convert::snapshot(&rows).context("the snapshot")?;
    Ok((rows, snapshot))
}

fn addition(snapshot: &Snapshot, added: &Added) -> anyhow::Result<Addition> {
    let names = || snapshot.agents.iter().map(|agent| &*agent.info.name);
    let like = names().position(|name| name == added.like);
    let known: Vec<&str> = names().take(10).collect();
    let like =
        like.with_context(|| format!("--add {}: expected an agent, such as {}", added.like, known.join(", ")))?;
    Ok(Addition { like, count: added.count, after: added.after })
}

/// What is asked about: a framework, or what waits under a name.
struct Asked {
    framework: Option<String>,
    shape: Option<(String, String)>,
}

impl Asked {
    fn is(&self, wait: &WaitOutcome) -> bool {
        let is_shape = |(framework, name): &(String, String)| wait.framework == *framework && *wait.shape == **name;
        match &self.shape {
            Some(shape) => is_shape(shape),
            None => self.framework.as_ref().is_none_or(|id| wait.framework == *id),
        }
    }
}

/// What waits and is called `target` or begins with it, else the framework of that id or name, else `last`: what was declared last.
fn asked(rows: &api::Snapshot, target: &str) -> anyhow::Result<Asked> {
    let waiting = rows
        .frameworks
        .iter()
        .flat_map(|framework| framework.demand.iter().map(move |demand| (framework.id.clone(), demand.name.clone())));
    let waiting: Vec<(String, String)> = waiting.collect();
    let named = |is: &dyn Fn(&str) -> bool| waiting.iter().rev().find(|(_, name)| is(name)).cloned();
    let shape = match target {
        "last" => waiting.last().cloned(),
        _ => named(&|name| name == target).or_else(|| named(&|name| name.starts_with(target))),
    };
    if shape.is_some() {
        return Ok(Asked { framework: None, shape });
    }
    let ids: Vec<(&str, &str)> = rows.frameworks.iter().map(|one| (one.id.as_str(), one.name.as_str())).collect();
    let Some(id) = query::choose(target, &ids)? else {
        bail!("{target}: nothing that waits and no framework is called that");
    };
    Ok(Asked { framework: Some(id.to_owned()), shape: None })
}

fn words(wait: &WaitOutcome, horizon: Duration) -> String {
    let span = |time: Duration| {
        if time < Duration::from_secs(2) { "now".to_owned() } else { format!("in {}", in_words(time.as_secs_f64())) }
    };
    let what = format!("{} {} ({}): {} waiting", wait.framework, wait.shape, wait.role, wait.count);
    match (wait.first, wait.all) {
        (None, _) => format!("{what}; none starts within {}", in_words(horizon.as_secs_f64())),
        (Some(first), Some(all)) if wait.count > 1 => {
            format!("{what}; the first starts {}, the last {}", span(first), span(all))
        }
        (Some(first), Some(_)) => format!("{what}; starts {}", span(first)),
        (Some(first), None) => {
            format!(
                "{what}; the first starts {}, {} within {}",
                span(first),
                wait.started,
                in_words(horizon.as_secs_f64())
            )
        }
    }
}

/// What the answer rests on that may not be so.
fn tell_doubts(outcome: &Outcome, run_time: Option<Duration>) -> anyhow::Result<()> {
    match run_time {
        Some(time) => output::line(format_args!(
            "if what has not declared how long it runs takes {} from now, and nothing else comes",
            in_words(time.as_secs_f64())
        ))?,
        None => output::line(
            "if what has not declared how long it runs goes on for ever, and nothing else comes; see --run-time",
        )?,
    }
    if !outcome.not_taken_up.is_empty() {
        let names: Vec<&str> = outcome.not_taken_up.iter().take(5).map(String::as_str).collect();
        let count = outcome.not_taken_up.len();
        output::line(format_args!(
            "{count} tasks found no room in the simulation and are left out: {}",
            names.join(", ")
        ))?;
    }
    Ok(())
}

fn wait_json(wait: &WaitOutcome) -> serde_json::Value {
    json!({
        "framework": wait.framework,
        "role": wait.role.as_str(),
        "shape": *wait.shape,
        "count": wait.count,
        "started": wait.started,
        "first_s": wait.first.map(|time| time.as_secs_f64()),
        "all_s": wait.all.map(|time| time.as_secs_f64()),
    })
}

#[cfg(test)]
mod tests;
