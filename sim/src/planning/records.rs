//! What became of each job of a run, and that as a table, which reads back as a list of jobs.

use std::io::{self, Write};
use std::time::Duration;

use rialto_core::model::Time;

use super::answer::Answer;
use super::jobs::ENDLESS;
use super::outcome::Why;
use super::scenario::{Scenario, Workload};

/// What became of a job.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct JobRecord {
    /// Of which workload, by its place in the scenario.
    pub workload: usize,
    /// Which job of the workload's list it is like, by its place there.
    pub listed: u32,
    /// When it was submitted.
    pub submitted: Time,
    /// How long it runs on a machine of speed 1.
    pub duration: Duration,
    /// Whether it is there from the start; then nobody waits for it.
    pub is_prefill: bool,
    /// When it started for the first time: all its tasks ran.
    pub started: Option<Time>,
    /// When it started for the last time.
    pub started_last: Option<Time>,
    /// Whether it waits at the end of the run.
    pub waits: bool,
    /// When it ended.
    pub ended: Option<Time>,
    /// How it ended.
    pub end: Option<End>,
    /// How often it was started.
    pub starts: u32,
    /// How often its machine was lost under it.
    pub interruptions: u32,
    /// Why it waited, the last time that it was asked; none if it never was.
    pub why: Option<Why>,
    /// GPUs that it asks for (cores, where cores are counted).
    pub size: f64,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was through.
    Finished,
    /// Its framework would not try again.
    GivenUp,
}

impl JobRecord {
    /// For how long it waited, in seconds; none if it did not start.
    pub fn wait_s(&self) -> Option<f64> {
        Some(self.started?.since(self.submitted).as_secs_f64())
    }

    const fn state(&self) -> &'static str {
        match (self.end, self.waits) {
            (Some(End::Finished), _) => "finished",
            (Some(End::GivenUp), _) => "given_up",
            (None, false) => "running",
            (None, true) => "waiting",
        }
    }
}

/// What jobs.csv begins with: up to `max_per_node` and `running_at_start` as in a list of jobs, then what became of each.
const HEADER: &str = "workload,job,submit_s,tasks,cpu_milli,memory_mib,gpu,gpu_milli,gpu_spec,duration_s,gang,priority,app,max_per_node,\
                      running_at_start,first_start_s,last_start_s,end_s,wait_s,starts,interruptions,state,waited_for";

/// A line for each job of the first run of the way that the answer is about.
///
/// # Errors
/// If it can't be written.
pub fn jobs_csv(scenario: &Scenario, answer: &Answer, to: &mut dyn Write) -> io::Result<()> {
    writeln!(to, "{HEADER}")?;
    let first = answer.told.first().and_then(|told| told.outcomes.first());
    let mut numbers = vec![0_u64; scenario.workloads.len()];
    for record in first.into_iter().flat_map(|outcome| &outcome.jobs) {
        let number = &mut numbers[record.workload];
        line(&scenario.workloads[record.workload], *number, record, to)?;
        *number += 1;
    }
    Ok(())
}

fn line(workload: &Workload, number: u64, record: &JobRecord, to: &mut dyn Write) -> io::Result<()> {
    let listed = record.listed as usize;
    let (ask, traits) = (&workload.jobs[listed].ask, workload.traits_of(listed));
    let job = workload.names.get(listed).map_or_else(|| number.to_string(), |name| plain(name));
    let seconds = |at: Option<Time>| at.map_or_else(String::new, |at| in_seconds(at.since(Time::ZERO)));
    let duration = if record.duration >= ENDLESS { String::new() } else { in_seconds(record.duration) };
    let (app, max) = traits.bound.map_or_else(Default::default, |bound| (bound.app.to_string(), bound.max.to_string()));
    write!(
        to,
        "{},{job},{},{},{},{},{},{},{},{duration},{},{},{app},{max},{},",
        plain(&workload.name),
        seconds(Some(record.submitted)),
        traits.members,
        ask.cpus.0,
        ask.mem.0 as f64 / 1000.0,
        ask.gpus,
        ask.share.0,
        ask.models.join("|"),
        u8::from(traits.members > 1),
        traits.priority,
        u8::from(record.is_prefill),
    )?;
    writeln!(
        to,
        "{},{},{},{},{},{},{},{}",
        seconds(record.started),
        seconds(record.started_last),
        seconds(record.ended),
        record.started.map_or_else(String::new, |at| in_seconds(at.since(record.submitted))),
        record.starts,
        record.interruptions,
        record.state(),
        record.why.map_or("", Why::as_str)
    )
}

/// Whole microseconds, without zeros at the end.
fn in_seconds(span: Duration) -> String {
    let text = format!("{}.{:06}", span.as_secs(), span.subsec_micros());
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A field without what would need quotes, which lists of jobs don't have.
fn plain(text: &str) -> String {
    text.replace([',', '"', '\n'], " ")
}
