//! Models of other systems, for comparison, here and nowhere else.
//!
//! They follow the description of the simulator that came with Schwarzkopf et al., "Omega" (EuroSys 2013): a scheduler takes the first
//! job of its queue, thinks for a time that grows with its tasks, and places them at random on machines where they fit; what is left
//! over is tried again a second later, and a job that gets nowhere is given up. Thinking about a job for which nothing is found does not
//! count as time of deciding, as in the published figures.
//!
//! - [`monolithic`]: one scheduler for all, that takes as long for every job or as long as each kind takes;
//! - [`shared`]: one scheduler a workload; each works on a copy of the cell, and what no longer fits at the end is a conflict;
//! - [`mesos`]: one scheduler a workload; all that is free is offered to one of them at a time, and locked until it has answered.

mod cell;
pub(crate) mod mesos;
pub(crate) mod monolithic;
pub(crate) mod shared;

use std::collections::BTreeMap;
use std::time::Duration;

use rialto_core::model::Time;

use self::cell::Cell;
use crate::dice::Dice;
use crate::twolevel::{Account, Job, TwolevelOptions, Workload};

/// After how long a job that could not be placed whole is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// A job is given up after more attempts than this without a single task placed,
const FRUITLESS_MAX: u32 = 100;
/// or after more than this.
const ATTEMPTS_MAX: u32 = 1000;

/// What is due, in order; of what is due at one time nothing is sure.
///
/// So it is in the published simulator, where a heap lets it go as it lies, and it matters: what could not be placed is tried again a second
/// later, all of one offer at once. In the order of arrival the oldest job would get all that becomes free, one after the other would be
/// complete, and a cell that hardly keeps up would last for hours longer.
struct Clock<E> {
    now: Time,
    dice: Dice,
    due: BTreeMap<(Time, u64, u64), E>,
    seq: u64,
}

impl<E> Clock<E> {
    fn new(options: &TwolevelOptions) -> Self {
        Self { now: Time::ZERO, dice: Dice::child(options.seed, "ties"), due: BTreeMap::new(), seq: 0 }
    }

    fn after(&mut self, delay: Duration, event: E) {
        self.at(self.now + delay, event);
    }

    fn at(&mut self, at: Time, event: E) {
        self.seq += 1;
        self.due.insert((at, self.dice.next(), self.seq), event);
    }

    /// The next event before `end`.
    fn next(&mut self, end: Time) -> Option<E> {
        let next = self.due.first_entry().filter(|next| next.key().0 < end)?;
        self.now = next.key().0;
        Some(next.remove())
    }
}

/// What all the models share: the cell, the jobs, and what became of them.
struct World<'a> {
    jobs: &'a [Job],
    options: &'a TwolevelOptions,
    cell: Cell,
    dice: Dice,
    account: Account,
}

impl<'a> World<'a> {
    /// The cell, with the jobs that are there from the start.
    fn new(jobs: &'a [Job], options: &'a TwolevelOptions) -> Self {
        let mut world = Self {
            jobs,
            options,
            cell: Cell::new(options),
            dice: Dice::child(options.seed, "reference"),
            account: Account::new(jobs.len(), options.capacity_milli()),
        };
        for (number, job) in jobs.iter().enumerate().filter(|(_, job)| job.workload == Workload::Prefill) {
            let placed = world.cell.place(job, job.tasks, &mut world.dice);
            let tasks = placed.len() as u32;
            world.account.attempted(number, Time::ZERO);
            world.account.started(number, job, tasks, Time::ZERO);
            world.account.use_more(Time::ZERO, u64::from(tasks) * job.cpus.0);
        }
        world
    }

    /// How many of the job's tasks are not started.
    fn missing(&self, job: usize) -> u32 {
        self.jobs[job].tasks - self.account.fates[job].started
    }

    fn started(&mut self, job: usize, tasks: u32, now: Time) {
        self.account.started(job, &self.jobs[job], tasks, now);
        self.account.use_more(now, u64::from(tasks) * self.jobs[job].cpus.0);
    }

    fn ended(&mut self, job: usize, machines: &[u32], now: Time) {
        self.cell.release(&self.jobs[job], machines);
        self.account.use_less(now, machines.len() as u64 * self.jobs[job].cpus.0);
    }

    /// Whether the job is given up.
    fn is_hopeless(&self, job: usize) -> bool {
        let fate = &self.account.fates[job];
        fate.attempts > ATTEMPTS_MAX || (fate.attempts > FRUITLESS_MAX && fate.started == 0)
    }
}
