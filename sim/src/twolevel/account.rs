//! What became of each job, and how full the cell was.

use std::collections::BTreeMap;
use std::time::Duration;

use rialto_core::model::Time;

use super::jobs::{Job, Workload};

/// What became of one job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fate {
    /// When it was looked at for the first time.
    pub(crate) first_attempt: Option<Time>,
    /// When the last of its tasks was started.
    pub(crate) complete: Option<Time>,
    pub(crate) attempts: u32,
    pub(crate) started: u32,
}

/// What a model of a scheduler keeps account of.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) fates: Vec<Fate>,
    capacity_milli: u64,
    used_milli: u64,
    since: Time,
    /// Thousandths of a core times microseconds.
    used_integral: u128,
    /// How long the scheduler of each workload has thought.
    busy: BTreeMap<Workload, Duration>,
}

/// A number over the jobs, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Waits {
    /// The mean.
    pub mean: f64,
    /// Nine of ten waited at most so long.
    pub p90: f64,
}

/// What became of the jobs of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Served {
    /// How many there were.
    pub jobs: usize,
    /// How many of them had not started all their tasks at the end.
    pub unscheduled: usize,
    /// How long they waited for the first attempt; of those that had one.
    pub wait: Waits,
    /// How long they waited for their last task to start; of those whose last task did.
    pub wait_until_complete: Waits,
    /// Attempts for each job.
    pub attempts: f64,
    /// The part of the time in which their scheduler was deciding; zero where it is not kept account of.
    pub busyness: f64,
}

impl Account {
    pub(crate) fn new(jobs: usize, capacity_milli: u64) -> Self {
        Self {
            fates: vec![Fate::default(); jobs],
            capacity_milli,
            used_milli: 0,
            since: Time::ZERO,
            used_integral: 0,
            busy: BTreeMap::new(),
        }
    }

    /// The job is looked at.
    pub(crate) fn attempted(&mut self, job: usize, now: Time) {
        let fate = &mut self.fates[job];
        fate.first_attempt.get_or_insert(now);
        fate.attempts += 1;
    }

    /// The scheduler of a workload has thought for so long.
    pub(crate) fn thought(&mut self, workload: Workload, thinks: Duration) {
        *self.busy.entry(workload).or_default() += thinks;
    }

    /// So many of its tasks are started.
    pub(crate) fn started(&mut self, number: usize, job: &Job, tasks: u32, now: Time) {
        let fate = &mut self.fates[number];
        fate.started += tasks;
        if fate.started >= job.tasks {
            fate.complete.get_or_insert(now);
        }
    }

    /// From `now` on `milli` more are in use.
    pub(crate) fn use_more(&mut self, now: Time, milli: u64) {
        self.advance(now);
        self.used_milli += milli;
    }

    /// From `now` on `milli` fewer are in use.
    pub(crate) fn use_less(&mut self, now: Time, milli: u64) {
        self.advance(now);
        self.used_milli = self.used_milli.saturating_sub(milli);
    }

    /// The mean part of the cores that were in use until `end`.
    pub(crate) fn utilisation(&mut self, end: Time) -> f64 {
        self.advance(end);
        let all = u128::from(self.capacity_milli) * u128::from(end.0);
        self.used_integral as f64 / all.max(1) as f64
    }

    fn advance(&mut self, now: Time) {
        self.used_integral += u128::from(self.used_milli) * now.since(self.since).as_micros();
        self.since = self.since.max(now);
    }

    /// What became of the jobs of `workload` that were submitted before `end`.
    pub(crate) fn served(&self, jobs: &[Job], workload: Workload, end: Time) -> Served {
        let its = jobs.iter().zip(&self.fates).filter(|(job, _)| job.workload == workload && job.submit < end);
        let wait = |of: fn(&Fate) -> Option<Time>| {
            waits(its.clone().filter_map(|(job, fate)| Some(of(fate)?.since(job.submit))).collect())
        };
        let count = its.clone().count();
        let attempts: u32 = its.clone().map(|(_, fate)| fate.attempts).sum();
        Served {
            jobs: count,
            unscheduled: its.clone().filter(|(_, fate)| fate.complete.is_none()).count(),
            wait: wait(|fate| fate.first_attempt),
            wait_until_complete: wait(|fate| fate.complete),
            attempts: f64::from(attempts) / count.max(1) as f64,
            busyness: self.busy.get(&workload).map_or(0.0, Duration::as_secs_f64)
                / end.since(Time::ZERO).as_secs_f64().max(1e-6),
        }
    }
}

fn waits(mut waits: Vec<Duration>) -> Waits {
    waits.sort_unstable();
    let Some(at) = (waits.len() * 9).div_ceil(10).checked_sub(1) else { return Waits::default() };
    let mean = waits.iter().map(Duration::as_secs_f64).sum::<f64>() / waits.len() as f64;
    Waits { mean, p90: waits[at].as_secs_f64() }
}
