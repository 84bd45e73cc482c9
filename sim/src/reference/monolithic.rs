//! One scheduler for all jobs.

use std::collections::VecDeque;

use super::{Clock, RETRY, World};
use crate::twolevel::{Account, Job, TwolevelOptions, Workload};

/// Whether each kind of job is decided in a time of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paths {
    /// Every job takes as long as a service job.
    Single,
    /// Batch jobs take a shorter path.
    Multi,
}

enum Event {
    Submitted(usize),
    Decided(usize),
    Ended(usize, Vec<u32>),
}

pub(crate) fn run(jobs: &[Job], options: &TwolevelOptions, paths: Paths) -> Account {
    let mut world = World::new(jobs, options);
    let mut clock = Clock::new(options);
    let (mut queue, mut busy) = (VecDeque::new(), false);
    for (number, job) in jobs.iter().enumerate().filter(|(_, job)| job.workload != Workload::Prefill) {
        clock.at(job.submit, Event::Submitted(number));
    }
    let path = |job: usize| if paths == Paths::Single { Workload::Service } else { jobs[job].workload };
    while let Some(event) = clock.next(options.end()) {
        match event {
            Event::Submitted(job) => queue.push_back(job),
            Event::Ended(job, machines) => world.ended(job, &machines, clock.now),
            Event::Decided(job) => {
                busy = false;
                let missing = world.missing(job);
                let placed = world.cell.place(&jobs[job], missing, &mut world.dice);
                if !placed.is_empty() {
                    // There is one scheduler: it was busy for both.
                    let thought = options.thinks(path(job), missing);
                    [Workload::Batch, Workload::Service].into_iter().for_each(|of| world.account.thought(of, thought));
                }
                world.started(job, placed.len() as u32, clock.now);
                if !placed.is_empty() {
                    clock.after(jobs[job].duration, Event::Ended(job, placed));
                }
                if world.missing(job) > 0 && !world.is_hopeless(job) {
                    clock.after(RETRY, Event::Submitted(job));
                }
            }
        }
        if !busy && let Some(job) = queue.pop_front() {
            busy = true;
            world.account.attempted(job, clock.now);
            clock.after(options.thinks(path(job), world.missing(job)), Event::Decided(job));
        }
    }
    world.account
}
