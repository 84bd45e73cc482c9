//! Shared state: every scheduler sees the whole cell and commits what still fits at the end.

use std::collections::{BTreeMap, VecDeque};

use super::cell::Cell;
use super::{Clock, RETRY, World};
use crate::twolevel::{Account, Job, TwolevelOptions, Workload};

enum Event {
    Submitted(usize),
    Decided(usize),
    Ended(usize, Vec<u32>),
}

/// The scheduler of one workload.
#[derive(Default)]
struct Scheduler {
    queue: VecDeque<usize>,
    /// The cell as it was when the present decision began.
    copy: Option<Cell>,
}

pub(crate) fn run(jobs: &[Job], options: &TwolevelOptions) -> Account {
    let mut world = World::new(jobs, options);
    let mut clock = Clock::new(options);
    let mut schedulers: BTreeMap<Workload, Scheduler> = BTreeMap::new();
    for (number, job) in jobs.iter().enumerate().filter(|(_, job)| job.workload != Workload::Prefill) {
        clock.at(job.submit, Event::Submitted(number));
    }
    while let Some(event) = clock.next(options.end()) {
        let workload = match event {
            Event::Ended(job, machines) => {
                world.ended(job, &machines, clock.now);
                continue;
            }
            Event::Submitted(job) => {
                schedulers.entry(jobs[job].workload).or_default().queue.push_back(job);
                jobs[job].workload
            }
            Event::Decided(job) => {
                let scheduler = schedulers.entry(jobs[job].workload).or_default();
                let copy = scheduler.copy.take().expect("a decision began with a copy");
                commit(&mut world, &mut clock, job, copy);
                jobs[job].workload
            }
        };
        let scheduler = schedulers.entry(workload).or_default();
        if scheduler.copy.is_none()
            && let Some(job) = scheduler.queue.pop_front()
        {
            scheduler.copy = Some(world.cell.clone());
            world.account.attempted(job, clock.now);
            clock.after(options.thinks(workload, world.missing(job)), Event::Decided(job));
        }
    }
    world.account
}

/// Places the job's tasks on the copy, and then those that still fit in the cell.
fn commit(world: &mut World<'_>, clock: &mut Clock<Event>, job: usize, mut copy: Cell) {
    let (missing, workload) = (world.missing(job), world.jobs[job].workload);
    let wanted = copy.place(&world.jobs[job], missing, &mut world.dice);
    if !wanted.is_empty() {
        world.account.thought(workload, world.options.thinks(workload, missing));
    }
    let placed: Vec<u32> = wanted.into_iter().filter(|machine| world.cell.take(&world.jobs[job], *machine)).collect();
    world.started(job, placed.len() as u32, clock.now);
    if !placed.is_empty() {
        clock.after(world.jobs[job].duration, Event::Ended(job, placed));
    }
    if world.missing(job) > 0 && !world.is_hopeless(job) {
        clock.after(RETRY, Event::Submitted(job));
    }
}
