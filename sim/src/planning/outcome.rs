//! What came of a run, week by week.

use std::collections::BTreeMap;
use std::time::Duration;

use rialto_core::master::Stats;
use rialto_core::model::Time;

use super::fleet::{Costs, MachineRecord};
use super::records::JobRecord;
use super::scenario::Limit;
use super::sizes::SizeClass;
use super::units::WEEK;

/// What came of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What its random numbers follow from.
    pub seed: u64,
    /// The weeks that were run.
    pub weeks: Vec<Week>,
    /// What machines cost.
    pub costs: Costs,
    /// GPU-hours (core-hours, where cores are counted) of work that was lost with its machine and done again.
    pub redone_hours: f64,
    /// Jobs that ended.
    pub finished: u64,
    /// Jobs that had not started at the end.
    pub not_started: u64,
    /// Jobs that their framework would not try again.
    pub given_up: u64,
    /// Why jobs waited, in job-days.
    pub reasons: Reasons,
    /// The limits that were not kept, the earliest first.
    pub failures: Vec<Failure>,
    /// How many events the market has handled.
    pub events: u64,
    /// What the master has counted.
    pub master: Stats,
    /// What became of each machine.
    pub machines: Vec<MachineRecord>,
    /// What became of each job, if it was asked for.
    pub jobs: Vec<JobRecord>,
}

/// A week of a run. Amounts are GPUs (cores, where cores are counted), in the mean of the week.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Week {
    /// What all jobs ask for that are there, running or waiting.
    pub demand: f64,
    /// What is given out.
    pub used: f64,
    /// What there is.
    pub capacity: f64,
    /// Idle GPUs that are too scattered for the jobs that come, in the mean of the days; zero where cores are counted.
    pub fragmented: f64,
    /// Machines of each pool at the end of the week.
    pub machines: Vec<u32>,
    /// For each workload, how long the jobs submitted in this week waited.
    pub waits: Vec<Waits>,
    /// The same by the size of jobs: for each workload those sizes that there were.
    pub waits_by_size: Vec<Vec<(SizeClass, Waits)>>,
    /// For each workload, what it asks for, holds and has waiting.
    pub queues: Vec<Queue>,
    /// Of each pool, in the mean of the days.
    pub pools: Vec<PoolUse>,
}

/// What a workload asks for and holds in a week; amounts as in [`Week`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Queue {
    /// What its jobs ask for that are there, running or waiting.
    pub demand: f64,
    /// What those that run hold.
    pub held: f64,
    /// How many wait, in the mean of the days.
    pub waiting: f64,
    /// How many on the day with the most.
    pub waiting_most: u64,
}

/// What is there of a pool and what is given out, in the mean of the days of a week.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PoolUse {
    /// GPUs.
    pub gpus: f64,
    /// Those that are given out.
    pub gpus_used: f64,
    /// Cores.
    pub cpus: f64,
    /// Those that are given out.
    pub cpus_used: f64,
    /// Memory in GiB.
    pub mem_gib: f64,
    /// What is given out of it.
    pub mem_gib_used: f64,
}

/// How long jobs waited, in seconds. Those that still wait count with what they have waited so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Waits {
    /// How many jobs.
    pub jobs: usize,
    /// How many of them had not started.
    pub not_started: usize,
    /// The mean.
    pub mean: f64,
    /// Half of them waited at most so long.
    pub p50: f64,
    /// Nine of ten.
    pub p90: f64,
    /// 95 of a hundred.
    pub p95: f64,
    /// 99 of a hundred.
    pub p99: f64,
}

impl Waits {
    /// Sorts the waits.
    pub(super) fn of(mut waits: Vec<f64>, not_started: usize) -> Self {
        if waits.is_empty() {
            return Self::default();
        }
        waits.sort_by(f64::total_cmp);
        let at = |percent: usize| waits[(waits.len() * percent).div_ceil(100).saturating_sub(1)];
        Self {
            jobs: waits.len(),
            not_started,
            mean: waits.iter().sum::<f64>() / waits.len() as f64,
            p50: at(50),
            p90: at(90),
            p95: at(95),
            p99: at(99),
        }
    }

    /// One of the percentiles that a limit may name.
    pub fn percentile(&self, percentile: u8) -> f64 {
        match percentile {
            50 => self.p50,
            90 => self.p90,
            99 => self.p99,
            _ => self.p95,
        }
    }
}

/// A limit that was not kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Failure {
    /// In which week, counted from 0.
    pub week: usize,
    /// Of which workload.
    pub workload: usize,
    /// The limit.
    pub limit: Limit,
    /// What the percentile was, in seconds.
    pub got: f64,
}

/// Why a job waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Its workload holds as much as it may.
    Quota,
    /// Less is free in the whole fleet than the job asks for.
    Taken,
    /// Enough is free, but too little of it on machines of a model that will do.
    OtherModel,
    /// Enough is free on machines that will do, but too little of it on such as cost no more than the job may.
    Price,
    /// There is a machine with room, but as many of its app are there as may be.
    Bound,
    /// Enough is free, but in pieces that are too small, or without the cores and memory beside them.
    Scattered,
}

impl Why {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Taken, Self::Scattered, Self::OtherModel, Self::Price, Self::Quota, Self::Bound];

    /// A word for tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quota => "quota",
            Self::Taken => "taken",
            Self::OtherModel => "other_model",
            Self::Price => "price",
            Self::Bound => "per_machine",
            Self::Scattered => "fragmented",
        }
    }
}

/// Why jobs waited, in job-days.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasons(BTreeMap<Why, u64>);

impl Reasons {
    /// How many job-days that was the reason.
    pub fn days(&self, why: Why) -> f64 {
        self.0.get(&why).map_or(0.0, |days| *days as f64)
    }

    pub(super) fn add(&mut self, why: Why) {
        *self.0.entry(why).or_default() += 1;
    }
}

/// An amount over time.
#[derive(Clone, Debug)]
pub(super) struct Integral {
    value: f64,
    since: Time,
    weeks: Vec<f64>,
}

impl Integral {
    pub(super) const fn new() -> Self {
        Self { value: 0.0, since: Time::ZERO, weeks: Vec::new() }
    }

    pub(super) const fn value(&self) -> f64 {
        self.value
    }

    /// From `at` on it is so much more.
    pub(super) fn add(&mut self, at: Time, more: f64) {
        self.advance(at);
        self.value += more;
    }

    pub(super) fn advance(&mut self, to: Time) {
        while self.since < to {
            let week = week_of(self.since);
            let end = (Time::ZERO + WEEK * (week as u32 + 1)).min(to);
            self.weeks.resize(self.weeks.len().max(week + 1), 0.0);
            self.weeks[week] += self.value * end.since(self.since).as_secs_f64();
            self.since = end;
        }
    }

    /// The mean of a week of which `length` has passed.
    pub(super) fn mean(&self, week: usize, length: Duration) -> f64 {
        self.weeks.get(week).copied().unwrap_or_default() / length.as_secs_f64().max(1.0)
    }
}

/// The week in which `at` falls, counted from 0.
pub(super) fn week_of(at: Time) -> usize {
    (at.since(Time::ZERO).as_secs() / WEEK.as_secs()) as usize
}
