//! V14: what must hold after every event, and that the same seed gives the same run.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use rialto_core::model::Milli;
use sha2::{Digest, Sha256};

use super::check::{Check, Row};
use super::{Effort, Part};
use crate::dice::Dice;
use crate::planning::{Outcome, Pool, Scenario, TraceJob, WEEK, Workload, host, whole_gpus};

pub(super) fn check(effort: Effort) -> Check {
    let jobs = if effort == Effort::Quick { 400 } else { 4000 };
    let part = move |seed| -> Part { Box::new(move || audited(jobs, seed)) };
    let parts = (0..effort.seeds()).map(part).collect();
    let judge = |found: &[Vec<f64>]| {
        let sum = |at: usize| found.iter().map(|numbers| numbers[at]).sum::<f64>();
        let what = format!(
            "invariants of master, frameworks and machines after each of {:.0} events: runs that broke one",
            sum(1)
        );
        vec![
            Row::at_most("V14", what, 0.0, sum(0)),
            Row::at_least("V14", "machines that failed under their tasks", 1.0, sum(2)),
            Row::at_most("V14", "jobs that ended before they began, or not once", 0.0, sum(3)),
            Row::at_most("V14", "seeds whose second run differs", 0.0, sum(4)),
        ]
    };
    Check { parts, judge: Box::new(judge) }
}

/// Whether an invariant broke, events, interruptions, jobs in disorder, and whether a second run differs.
fn audited(jobs: usize, seed: u64) -> Vec<f64> {
    let scenario = scenario(jobs, seed);
    let Ok(outcome) = catch_unwind(AssertUnwindSafe(|| scenario.replayed(seed, true))) else {
        return vec![1.0, 0.0, 0.0, 0.0, 0.0];
    };
    let interruptions: u32 = outcome.jobs.iter().map(|job| job.interruptions).sum();
    let in_order = outcome.jobs.iter().filter(|job| match (job.started, job.ended) {
        (Some(started), Some(ended)) => job.submitted <= started && started <= ended,
        (_, None) => true,
        (None, Some(_)) => false,
    });
    let disorder = outcome.jobs.len() - in_order.count();
    let ended = outcome.jobs.iter().filter(|job| job.ended.is_some()).count() as u64;
    let twice = u64::from(ended != outcome.finished);
    let differs = digest(&outcome) != digest(&scenario.replayed(seed, false));
    vec![
        0.0,
        outcome.events as f64,
        f64::from(interruptions),
        disorder as f64 + twice as f64,
        f64::from(u8::from(differs)),
    ]
}

/// All of an outcome, byte for byte.
fn digest(outcome: &Outcome) -> Vec<u8> {
    Sha256::digest(format!("{outcome:?}")).to_vec()
}

/// Machines that often fail, jobs with and without GPUs, more than there is room for at times.
fn scenario(jobs: usize, seed: u64) -> Scenario {
    let mut dice = Dice::child(seed, "steady");
    let fails = |pool: Pool| Pool { mtbf: Some(WEEK), repair: Duration::from_secs(7200), ..pool };
    let host_of = |name, count| fails(Pool::plain(name, count, Milli::from_whole(64), Milli::from_whole(512 * 1024)));
    let pools = vec![Pool { gpus: 8, ..host_of("gpu", 6) }, host_of("cpu", 6)];
    let mut list = |name: &str, is_gpu: bool| {
        let job = |_| {
            let submit = Duration::from_secs(dice.between(0, 6 * 86_400));
            let duration = Duration::from_secs(dice.between(60, 40_000));
            let ask =
                if is_gpu { whole_gpus(dice.count(1, 8) as u16) } else { host(dice.between(1, 32) as f64, 4096.0) };
            TraceJob { submit, duration, ask }
        };
        let mut list: Vec<TraceJob> = (0..jobs / 2).map(job).collect();
        list.sort_by_key(|job| job.submit);
        Workload::plain(name, list)
    };
    let workloads = vec![list("gpu-jobs", true), list("cpu-jobs", false)];
    Scenario::plain(pools, workloads, 2 * WEEK)
}
