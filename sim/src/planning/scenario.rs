//! A scenario: the fleet, the work, what may be bought or rented, and the question.
//!
//! Everything has a default but what makes the question; what is in force is printed with the answer.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rialto_core::model::{Milli, Price, Role, Time};
use rialto_core::scheduler::placement::policy::GpuPolicy;

use super::interruptions::Interruptions;
use super::start::{Cluster, Start};
pub use super::units::Date;

/// What is asked, of which fleet and work.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// The file it was read from.
    pub file: PathBuf,
    /// For people.
    pub name: String,
    /// The day of the start.
    pub start: Date,
    /// For how long it is looked ahead; at least a week.
    pub horizon: Duration,
    /// How many runs, each with other random numbers.
    pub seeds: u64,
    /// What their random numbers follow from: this for the first of them, one more for each that follows.
    pub first_seed: u64,
    /// The waits of the first so many weeks are not judged.
    pub warmup_weeks: usize,
    /// The part of the runs that must meet every limit.
    pub confidence: f64,
    /// How places are chosen.
    pub placement: GpuPolicy,
    /// What money is called.
    pub currency: String,
    /// Machines, alike within each pool.
    pub pools: Vec<Pool>,
    /// What is bought, whatever the question.
    pub orders: Vec<Order>,
    /// What is rented, whatever the question.
    pub rents: Vec<Rent>,
    /// The work.
    pub workloads: Vec<Workload>,
    /// What is changed on the way, whatever the question.
    pub changes: Vec<Change>,
    /// What is asked.
    pub question: Question,
    /// Whether it is told what became of each job, in the first run of the first way of the answer.
    pub keeps_jobs: bool,
    /// The cluster that it begins with, if it does.
    pub cluster: Option<Cluster>,
    /// The files it names, with the first digits of their SHA-256.
    pub inputs: Vec<(PathBuf, String)>,
}

/// Machines that are alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Its name.
    pub name: Arc<str>,
    /// How many there are at the start.
    pub count: u32,
    /// Cores of each.
    pub cpus: Milli,
    /// Memory of each in MiB.
    pub mem: Milli,
    /// GPUs of each.
    pub gpus: u16,
    /// What they are.
    pub model: Arc<str>,
    /// How much faster work is done there than its durations say.
    pub speed: f64,
    /// The mean time between failures of one machine; none if they don't fail.
    pub mtbf: Option<Duration>,
    /// How long a machine that failed is away.
    pub repair: Duration,
    /// If more can be bought.
    pub supply: Option<Supply>,
    /// If it can be rented.
    pub rental: Option<Rental>,
}

impl Pool {
    /// Machines with so many cores and so much memory in MiB, and no more.
    pub(crate) fn plain(name: &str, count: u32, cpus: Milli, mem: Milli) -> Self {
        Self {
            name: Arc::from(name),
            count,
            cpus,
            mem,
            gpus: 0,
            model: Arc::from(name),
            speed: 1.0,
            mtbf: None,
            repair: Duration::ZERO,
            supply: None,
            rental: None,
        }
    }
}

/// How more of a pool is bought.
#[derive(Clone, Debug, PartialEq)]
pub struct Supply {
    /// From the order to the day it is in use.
    pub lead_time: LeadTime,
    /// Machines are ordered in multiples of so many.
    pub batch: u32,
    /// For each machine.
    pub price: f64,
    /// Over which the price is spread evenly.
    pub life: Duration,
    /// Power, room and people, for each machine and hour.
    pub running_cost: f64,
    /// For each machine that is on order and is not taken after all.
    pub cancel_fee: f64,
}

/// How long a delivery takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LeadTime {
    /// Always so long.
    Fixed(Duration),
    /// Half of them are there after `p50`, nine of ten after `p90`; between and beyond as in a log-normal distribution.
    Quantiles {
        /// The median.
        p50: Duration,
        /// Nine of ten.
        p90: Duration,
    },
}

/// How a pool is rented: by the hour, and it may be taken away.
#[derive(Clone, Debug, PartialEq)]
pub struct Rental {
    /// For each machine and hour, undiscounted.
    pub on_demand: f64,
    /// From each moment on, this part of it.
    pub steps: Vec<(Time, f64)>,
    /// How often a machine is taken away.
    pub interruptions: Interruptions,
    /// How long until another one is there.
    pub boot: Duration,
    /// How long before it is taken away that is said.
    pub notice: Duration,
}

/// Machines that are bought.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// Of which pool, by its place in [`Scenario::pools`].
    pub pool: usize,
    /// How many.
    pub count: u32,
    /// When they are ordered.
    pub placed: Time,
}

/// Machines that are rented.
#[derive(Clone, Debug, PartialEq)]
pub struct Rent {
    /// Of which pool, by its place in [`Scenario::pools`].
    pub pool: usize,
    /// How many.
    pub count: u32,
    /// From here on.
    pub from: Time,
    /// Up to here; none means to the end.
    pub until: Option<Time>,
}

/// What an operator does at a moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// When.
    pub at: Time,
    /// What.
    pub what: What,
}

/// The same without its moment.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// The role of a workload gets another weight or quota.
    Terms {
        /// Which, by its place in [`Scenario::workloads`].
        workload: usize,
        /// The weight; none if it stays.
        weight: Option<f64>,
        /// The quota; none if it stays.
        quota: Option<Quota>,
    },
    /// Machines that are owned go out of service, the oldest first.
    Retire {
        /// Of which pool, by its place in [`Scenario::pools`].
        pool: usize,
        /// How many; more than there are means all.
        count: u32,
        /// How long before that is said; nothing is begun there meanwhile.
        notice: Duration,
    },
}

/// Work of one kind; each is a framework and a role of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// Its name.
    pub name: String,
    /// The role that is charged.
    pub role: Role,
    /// Whose policy runs its jobs.
    pub framework: Framework,
    /// What of it is there from the start.
    pub begins: Begins,
    /// The jobs, by submission.
    pub jobs: Arc<[super::jobs::TraceJob]>,
    /// What else there is to say of each; empty where each is one task and that is all.
    pub traits: Arc<[super::jobs::Traits]>,
    /// What each is called; empty if its list does not say.
    pub names: Arc<[Arc<str>]>,
    /// How they come.
    pub arrivals: Arrivals,
    /// The factor by which the number of jobs grows in a year.
    pub growth_a_year: f64,
    /// The limit on waits, in any week.
    pub limit: Option<Limit>,
    /// Its jobs are begun only on machines that cost at most so much an hour; none if on any.
    pub max_price: Option<Price>,
    /// How long a job takes to save what it has done, when its machine is to be taken away; none if it can't.
    pub checkpoint: Option<Duration>,
    /// The weight of its role.
    pub weight: f64,
    /// What its role may hold at most, and what is kept for it.
    pub quota: Option<Quota>,
}

/// Whose policy runs the jobs of a workload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framework {
    /// One framework for all of them, which places with the SDK's library.
    #[default]
    Library,
    /// The CI framework: a pipeline for each job.
    Ci,
    /// The analytics framework: a job of one stage for each.
    Analytics,
    /// The web framework: an instance for each, of an app for each size.
    Web,
}

impl Framework {
    pub(super) const NAMES: &str = "library, ci, analytics or web";

    /// Its name, lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Library => "library",
            Self::Ci => "ci",
            Self::Analytics => "analytics",
            Self::Web => "web",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::Library, Self::Ci, Self::Analytics, Self::Web].into_iter().find(|framework| framework.as_str() == text)
    }
}

/// What of a workload is there from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begins {
    /// What comes at random is in use as its load says; of a list nothing is.
    AsUsual,
    /// Nothing is.
    Empty,
    /// The first so many of its list are; nobody waits for these.
    With(usize),
}

/// Bounds of what a workload holds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quota {
    /// GPUs at most.
    pub gpus_max: Option<f64>,
    /// Cores at most.
    pub cpus_max: Option<f64>,
    /// GPUs that are kept for it.
    pub gpus_guaranteed: Option<f64>,
    /// Cores that are kept for it.
    pub cpus_guaranteed: Option<f64>,
}

impl Workload {
    /// What else there is to say of the job at that place of the list.
    pub(super) fn traits_of(&self, job: usize) -> super::jobs::Traits {
        self.traits.get(job).copied().unwrap_or_default()
    }

    /// These jobs, as they are.
    pub(crate) fn plain(name: &str, jobs: Vec<super::jobs::TraceJob>) -> Self {
        let arrivals = Arrivals::Replayed { factor: 1.0, repeats_after: None };
        Self {
            name: name.to_owned(),
            role: Role::new(name).unwrap_or_else(|_| Role::any()),
            framework: Framework::Library,
            begins: Begins::AsUsual,
            jobs: Arc::from(jobs),
            traits: Arc::default(),
            names: Arc::default(),
            arrivals,
            growth_a_year: 1.0,
            limit: None,
            max_price: None,
            checkpoint: None,
            weight: 1.0,
            quota: None,
        }
    }
}

/// How jobs come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrivals {
    /// At random, with sizes drawn from the list.
    Random {
        /// So many GPUs are in use at the start, in the mean; where no job needs a GPU, so many cores.
        load: f64,
        /// For how long a job stays in the mean, exponentially distributed; none if as long as the one that was drawn.
        residence: Option<Duration>,
    },
    /// As in the list.
    Replayed {
        /// So many for each.
        factor: f64,
        /// After how long the list begins anew; none if it comes once.
        repeats_after: Option<Duration>,
    },
}

/// The longest that a part of the jobs of a week may wait.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// The part, in percent: 50, 90, 95 or 99.
    pub percentile: u8,
    /// So long at most.
    pub wait: Duration,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Question {
    /// What happens?
    Replay,
    /// How many of a pool does it take to meet every limit?
    Size {
        /// Which pool.
        pool: usize,
        /// At least so many.
        min: u32,
        /// At most so many.
        max: u32,
    },
    /// When must how many of a pool be ordered?
    OrderBy {
        /// Which pool.
        pool: usize,
        /// An order is to be enough for so long from the week in which it is needed; none means to the end.
        cover: Option<Duration>,
        /// No single order is larger.
        max: u32,
    },
    /// Which of several ways is better?
    Compare {
        /// The ways; the first is what the others are compared with.
        variants: Vec<Variant>,
    },
    /// What does it cost to buy, and what to rent?
    Cost {
        /// The ways; the first buys.
        variants: Vec<Variant>,
        /// The others are tried with other numbers of machines too, up to so many; none if only as they are.
        max: Option<u32>,
    },
}

/// One of several ways.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// For people.
    pub name: String,
    /// What is bought besides.
    pub orders: Vec<Order>,
    /// What is rented besides.
    pub rents: Vec<Rent>,
    /// What is changed besides.
    pub changes: Vec<Change>,
    /// How places are chosen; none means as the scenario says.
    pub placement: Option<GpuPolicy>,
}

impl Scenario {
    /// Reads a scenario and the files that it names, which are looked for beside it.
    ///
    /// # Errors
    /// If a file can't be read, a field is missing, unknown or not acceptable, or a line of a trace is broken.
    pub fn read(file: &Path) -> Result<Self, super::ScenarioError> {
        super::parse::scenario(file, None)
    }

    /// The same, beginning with a running cluster: its machines are those that are there, and its work goes on beside the scenario's.
    ///
    /// # Errors
    /// As [`Scenario::read`].
    pub fn read_on(file: &Path, start: &Start) -> Result<Self, super::ScenarioError> {
        super::parse::scenario(file, Some(start))
    }

    /// These machines and this work for so long, with nothing to buy and every default.
    pub(crate) fn plain(pools: Vec<Pool>, workloads: Vec<Workload>, horizon: Duration) -> Self {
        Self {
            file: PathBuf::new(),
            name: String::new(),
            start: Date::EPOCH,
            horizon,
            seeds: 1,
            first_seed: 0,
            warmup_weeks: 0,
            confidence: 0.9,
            placement: GpuPolicy::Fgd,
            currency: String::new(),
            pools,
            orders: Vec::new(),
            rents: Vec::new(),
            workloads,
            changes: Vec::new(),
            question: Question::Replay,
            keeps_jobs: false,
            cluster: None,
            inputs: Vec::new(),
        }
    }

    /// What becomes of each job that comes in one run of the scenario as it is.
    pub(crate) fn replayed(&self, seed: u64, audits: bool) -> super::Outcome {
        let mut outcome = super::run::Way { keeps_jobs: true, audits, ..super::run::Way::of(self) }.run(seed);
        outcome.jobs.retain(|job| !job.is_prefill);
        outcome
    }

    /// How many whole weeks it looks ahead.
    pub fn weeks(&self) -> usize {
        usize::try_from(self.horizon.as_secs() / super::units::WEEK.as_secs()).unwrap_or(usize::MAX)
    }

    /// The day on which `at` falls.
    pub fn date(&self, at: Time) -> Date {
        self.start.of(at)
    }
}
