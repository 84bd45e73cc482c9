//! `rialto sim twolevel`: two frameworks of different speed on one cell, under several ways to share it.
//!
//! The question is that of Schwarzkopf et al., "Omega" (EuroSys 2013): a slow service scheduler beside a fast batch scheduler. Under
//! exclusive offers of everything the slow one locks the cell while it thinks. The model [`Model::Rialto`] is the production master with
//! its default configuration and two frameworks that declare what they wait for; the others are models of other systems.

mod account;
mod jobs;
mod policy;

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rialto_core::master::{Config, Stats};
use rialto_core::model::{FrameworkInfo, Milli, OfferMode, ResourceName, Resources, Role, Time};

pub(crate) use self::account::Account;
pub use self::account::{Served, Waits};
pub use self::jobs::{Job, Workload, read_jobs};
use self::policy::{Decider, Manner, Taste};
use crate::dice::Dice;
use crate::market::{Machine, Market, Seen};
use crate::reference::{mesos, monolithic, shared};

/// Whose way to share the cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Model {
    /// The production master, with optimistic offers to whoever has declared a demand.
    #[default]
    Rialto,
    /// All that is free is offered to one framework at a time and locked meanwhile.
    OmegaMesos,
    /// Every scheduler works on a copy of the cell.
    OmegaShared,
    /// One scheduler, which takes as long for every job.
    Monolithic,
    /// One scheduler, with a shorter path for batch jobs.
    MonolithicMulti,
}

impl Model {
    /// Every model.
    pub const ALL: [Self; 5] =
        [Self::Rialto, Self::OmegaMesos, Self::OmegaShared, Self::Monolithic, Self::MonolithicMulti];

    /// Its name, lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rialto => "rialto",
            Self::OmegaMesos => "omega-mesos",
            Self::OmegaShared => "omega-shared",
            Self::Monolithic => "monolithic",
            Self::MonolithicMulti => "monolithic-multi",
        }
    }
}

/// A text is not the name of a model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("model: expected rialto, omega-mesos, omega-shared, monolithic or monolithic-multi, got {0:?}")]
pub struct UnknownModel(String);

impl FromStr for Model {
    type Err = UnknownModel;

    fn from_str(text: &str) -> Result<Self, UnknownModel> {
        Self::ALL.into_iter().find(|model| model.as_str() == text).ok_or_else(|| UnknownModel(text.to_owned()))
    }
}

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct TwolevelOptions {
    /// Whose way to share the cell.
    pub model: Model,
    /// How many machines there are; at least one.
    pub machines: usize,
    /// Cores of each.
    pub cpus: Milli,
    /// Memory of each, in MiB.
    pub mem: Milli,
    /// How long a batch job is thought about.
    pub t_job_batch: Duration,
    /// How long a service job is thought about.
    pub t_job_service: Duration,
    /// How much longer for each task.
    pub t_task: Duration,
    /// How long it goes on.
    pub horizon: Duration,
    /// What is random follows from it.
    pub seed: u64,
}

impl Default for TwolevelOptions {
    fn default() -> Self {
        Self {
            model: Model::Rialto,
            machines: 1000,
            cpus: Milli::from_whole(4),
            mem: Milli::from_whole(16 * 1024),
            t_job_batch: Duration::from_millis(100),
            t_job_service: Duration::from_millis(100),
            t_task: Duration::from_millis(5),
            horizon: Duration::from_secs(86_400),
            seed: 0,
        }
    }
}

impl TwolevelOptions {
    pub(crate) fn capacity_milli(&self) -> u64 {
        self.machines as u64 * self.cpus.0
    }

    pub(crate) fn end(&self) -> Time {
        Time::ZERO + self.horizon
    }

    const fn per_job(&self, workload: Workload) -> Duration {
        match workload {
            Workload::Prefill => Duration::ZERO,
            Workload::Batch => self.t_job_batch,
            Workload::Service => self.t_job_service,
        }
    }

    /// How long so many tasks of a job are thought about.
    pub(crate) fn thinks(&self, workload: Workload, tasks: u32) -> Duration {
        self.per_job(workload) + self.t_task * tasks
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct TwolevelReport {
    /// The batch jobs.
    pub batch: Served,
    /// The service jobs.
    pub service: Served,
    /// The mean part of the cores that was in use.
    pub cpu_utilisation: f64,
    /// What the master has counted, where there is one.
    pub master: Option<Stats>,
    /// How many events the market has handled.
    pub events: u64,
}

/// Runs the jobs under a model; `progress` is told how many seconds of virtual time have passed.
pub fn run_twolevel(jobs: &[Job], options: &TwolevelOptions, progress: impl FnMut(u64)) -> TwolevelReport {
    let (mut account, master, events) = match options.model {
        Model::Rialto => run_market(jobs, options, progress),
        Model::OmegaMesos => (mesos::run(jobs, options), None, 0),
        Model::OmegaShared => (shared::run(jobs, options), None, 0),
        Model::Monolithic => (monolithic::run(jobs, options, monolithic::Paths::Single), None, 0),
        Model::MonolithicMulti => (monolithic::run(jobs, options, monolithic::Paths::Multi), None, 0),
    };
    let end = options.end();
    TwolevelReport {
        cpu_utilisation: account.utilisation(end),
        batch: account.served(jobs, Workload::Batch, end),
        service: account.served(jobs, Workload::Service, end),
        master,
        events,
    }
}

/// How often the market is stopped to look at what happened.
const LOOK: Duration = Duration::from_secs(60);

fn run_market(jobs: &[Job], options: &TwolevelOptions, mut progress: impl FnMut(u64)) -> (Account, Option<Stats>, u64) {
    let machine = |number| Machine {
        name: format!("machine-{number}"),
        resources: Resources::of(options.cpus, options.mem),
        devices: Vec::new(),
    };
    let machines: Vec<Machine> = (0..options.machines).map(machine).collect();
    let config = Config { seed: options.seed, ..Config::default() };
    let mut market = Market::new(config, Duration::ZERO, &machines);
    let mut account = Account::new(jobs.len(), options.capacity_milli());
    let mut hosts = BTreeMap::new();
    for workload in [Workload::Prefill, Workload::Batch, Workload::Service] {
        let manner = manner(workload, options);
        let host = market.subscribe(info(&manner.role), Decider::new(manner, Dice::child(options.seed, "decider")));
        hosts.insert(workload, host);
    }
    market.run_until(Time::ZERO);
    for (number, job) in jobs.iter().enumerate().filter(|(_, job)| job.submit < options.end()) {
        market.command(job.submit, hosts[&job.workload], (number, *job));
    }
    let mut now = Time::ZERO;
    while now < options.end() {
        now = (now + LOOK).min(options.end());
        market.run_until(now);
        market.seen.drain(..).for_each(|(at, seen)| saw(&mut account, at, &seen));
        progress(now.since(Time::ZERO).as_secs());
    }
    market.check();
    for host in hosts.values() {
        for (number, fate) in &market.policy(*host).fates {
            account.fates[*number] = *fate;
        }
    }
    (account, Some(*market.master()), market.events)
}

fn manner(workload: Workload, options: &TwolevelOptions) -> Manner {
    let (name, taste) = match workload {
        Workload::Prefill => ("prefill", Taste::Random),
        Workload::Batch => ("batch", Taste::Full),
        Workload::Service => ("service", Taste::Empty),
    };
    let (per_job, per_task) = match workload {
        Workload::Prefill => (Duration::ZERO, Duration::ZERO),
        _ => (options.per_job(workload), options.t_task),
    };
    Manner {
        role: Role::new(name).expect("a word is a role"),
        taste,
        per_job,
        per_task,
        refreshes: per_job >= Duration::from_secs(1),
    }
}

fn saw(account: &mut Account, at: Time, seen: &Seen) {
    match seen {
        Seen::Started { resources, .. } => account.use_more(at, resources.quantities().get(&ResourceName::Cpus).0),
        Seen::Ended { resources } => account.use_less(at, resources.quantities().get(&ResourceName::Cpus).0),
    }
}

fn info(role: &Role) -> FrameworkInfo {
    FrameworkInfo {
        name: Arc::from(role.as_str()),
        user: Arc::from(""),
        roles: BTreeSet::from([role.clone()]),
        failover_timeout: Duration::from_secs(600),
        offer_mode: OfferMode::Optimistic,
        offer_timeout: None,
        url: None,
        labels: BTreeMap::new(),
        rules: Arc::default(),
    }
}

#[cfg(test)]
mod tests;
