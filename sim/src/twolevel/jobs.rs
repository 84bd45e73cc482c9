//! Lists of jobs, in the columns of the two-level comparison.

use std::path::Path;
use std::time::Duration;

use rialto_core::model::{Milli, Quantities, Time};

use crate::input::{InputError, Row, Table};

/// A hundred years.
const SECONDS_MAX: f64 = 3.2e9;
const TASKS_MAX: u64 = 1_000_000;
const CPUS_MAX: f64 = 100_000.0;
const MEM_GB_MAX: f64 = 1_000_000.0;

/// Whose job it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Workload {
    /// There from the start, for good.
    Prefill,
    /// Many short tasks.
    Batch,
    /// Few long ones.
    Service,
}

/// Alike tasks that are submitted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// Whose.
    pub workload: Workload,
    /// When it is submitted.
    pub submit: Time,
    /// How many tasks.
    pub tasks: u32,
    /// How long each runs.
    pub duration: Duration,
    /// Cores for each.
    pub cpus: Milli,
    /// Memory for each, in MiB.
    pub mem: Milli,
}

impl Job {
    pub(crate) fn quantities(&self) -> Quantities {
        Quantities::of(self.cpus, self.mem)
    }
}

/// Reads a file with the columns `submit_s`, `workload`, `num_tasks`, `task_duration_s`, `cpus_per_task` and `mem_gb_per_task`.
///
/// # Errors
/// If the file can't be read, a column is missing, a line is broken, or there are no jobs.
pub fn read_jobs(file: &Path) -> Result<Vec<Job>, InputError> {
    jobs(&Table::read(file)?)
}

pub(super) fn jobs(table: &Table) -> Result<Vec<Job>, InputError> {
    let (submit, workload, tasks) = (table.column("submit_s")?, table.column("workload")?, table.column("num_tasks")?);
    let (duration, cpus) = (table.column("task_duration_s")?, table.column("cpus_per_task")?);
    let mem = table.column("mem_gb_per_task")?;
    let job = |row: Row<'_>| {
        let job = Job {
            workload: match row.text(workload)? {
                "Prefill" => Workload::Prefill,
                "Batch" => Workload::Batch,
                "Service" => Workload::Service,
                other => return Err(row.error(format!("workload: expected Prefill, Batch or Service, got {other:?}"))),
            },
            submit: Time::ZERO + Duration::from_secs_f64(row.decimal(submit, SECONDS_MAX)?),
            tasks: u32::try_from(row.whole(tasks, TASKS_MAX)?).expect("it is at most TASKS_MAX"),
            duration: Duration::from_secs_f64(row.decimal(duration, SECONDS_MAX)?),
            cpus: milli(row.decimal(cpus, CPUS_MAX)?),
            mem: milli(row.decimal(mem, MEM_GB_MAX)? * 1024.0),
        };
        if job.tasks == 0 {
            return Err(row.error("num_tasks: expected at least one task, got 0"));
        }
        if job.cpus.is_zero() && job.mem.is_zero() {
            return Err(row.error("cpus_per_task: expected some cores or memory for each task, got none of either"));
        }
        Ok(job)
    };
    let mut jobs: Vec<Job> = table.rows().map(job).collect::<Result<_, _>>()?;
    jobs.sort_by_key(|job| job.submit);
    Ok(jobs)
}

fn milli(amount: f64) -> Milli {
    Milli((amount * 1000.0).round() as u64)
}
