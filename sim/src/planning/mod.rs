//! `rialto sim run`: what to buy, how much of it, and when.
//!
//! A scenario says what the fleet is, what work comes and how it grows, what machines cost to buy or rent and how long they take to
//! come, and what is asked. Each run drives the production master in virtual time, and for each workload a framework that places with the
//! SDK's library, or the policies of a framework that we ship; what random numbers decide follows from the run's seed.
//!
//! Start reading at [`Scenario`], then [`answer`], then `run`.

mod account;
mod answer;
mod crowding;
mod demand;
mod error;
mod fields;
mod fleet;
mod interruptions;
mod jobs;
mod left;
mod milestones;
mod nodes;
mod outcome;
mod parse;
mod policy;
mod prices;
mod questions;
mod rates;
mod records;
pub mod report;
mod run;
mod scenario;
mod shipped;
mod sizes;
mod start;
mod units;
mod workload;
mod yaml;

pub use self::answer::{Advice, Answer, Difference, Fact, Milestone, Told, Tried};
pub use self::error::ScenarioError;
pub use self::fleet::{Costs, MachineRecord};
pub use self::interruptions::Interruptions;
pub(crate) use self::jobs::{Format, host, read as read_jobs, whole_gpus};
pub use self::jobs::{PerMachine, TraceJob, Traits};
pub use self::outcome::{Failure, Outcome, PoolUse, Queue, Reasons, Waits, Week, Why};
pub use self::parse::digest_of;
pub use self::questions::answer;
pub use self::records::{End, JobRecord, jobs_csv};
pub use self::scenario::{
    Arrivals, Begins, Change, Date, Framework, LeadTime, Limit, Order, Pool, Question, Quota, Rent, Rental, Scenario,
    Supply, Variant, What, Workload,
};
pub use self::sizes::SizeClass;
pub use self::start::{Cluster, Start};
pub use self::units::{WEEK, in_words, moment_of, span};

#[cfg(test)]
mod tests;
