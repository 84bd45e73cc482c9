//! Rialto's analytics framework: runs a DAG of stages over partitions of files as tasks of the cluster.
//!
//! [`spec`] is the job file, [`Plan`] the job with its partitions counted, [`policy`] decides what runs when; [`run_job`] is the shell
//! that cuts files, serves them to the tasks and writes the result.

pub mod files;
mod plan;
pub mod policy;
mod shell;
pub mod spec;
mod why;

pub use plan::{FilePart, Plan, PlanError};
pub use shell::{JobError, JobLine, JobOptions, JobSummary, run_job};
