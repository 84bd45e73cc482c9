//! Exclusive offers of everything: all that is free goes to one framework at a time and is locked until it answers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::cell::Cell;
use super::{Clock, RETRY, World};
use crate::twolevel::{Account, Job, TwolevelOptions, Workload};

/// For how long requests are gathered before offers are made.
const BATCHING: Duration = Duration::from_secs(1);
/// How long it takes to make an offer.
const OFFERING: Duration = Duration::from_millis(1);
/// An offer is made only if so much is free, in thousandths of a core.
const CPUS_MIN: u64 = 100_000;

enum Event {
    Submitted(usize),
    Allocate,
    Offered(Workload, Cell),
    Answered(Cell, Vec<(usize, Vec<u32>)>),
    Ended(usize, Vec<u32>),
}

struct Allocator<'a> {
    world: World<'a>,
    clock: Clock<Event>,
    queues: BTreeMap<Workload, VecDeque<usize>>,
    /// The frameworks that have asked for an offer.
    asking: BTreeSet<Workload>,
    /// What the tasks of each framework hold, in thousandths of a core and of a MiB.
    held: BTreeMap<Workload, (u64, u64)>,
    batching: bool,
    /// How many tasks of each job have a place, in answers that are on their way too.
    claimed: Vec<u32>,
}

pub(crate) fn run(jobs: &[Job], options: &TwolevelOptions) -> Account {
    let mut allocator = Allocator {
        world: World::new(jobs, options),
        clock: Clock::new(options),
        queues: BTreeMap::new(),
        asking: BTreeSet::new(),
        held: BTreeMap::new(),
        batching: false,
        claimed: vec![0; jobs.len()],
    };
    for (number, job) in jobs.iter().enumerate().filter(|(_, job)| job.workload != Workload::Prefill) {
        allocator.clock.at(job.submit, Event::Submitted(number));
    }
    while let Some(event) = allocator.clock.next(options.end()) {
        allocator.handle(event);
    }
    allocator.world.account
}

impl Allocator<'_> {
    fn handle(&mut self, event: Event) {
        let now = self.clock.now;
        match event {
            Event::Submitted(job) => {
                let workload = self.world.jobs[job].workload;
                self.queues.entry(workload).or_default().push_back(job);
                self.asking.insert(workload);
                self.batch();
            }
            Event::Allocate => {
                self.batching = false;
                self.offer_all();
            }
            Event::Offered(workload, offer) => self.consider(workload, offer),
            Event::Answered(rest, placed) => {
                self.world.cell.give_back(&rest);
                for (job, machines) in placed {
                    self.world.started(job, machines.len() as u32, now);
                    self.hold(job, machines.len() as u64, true);
                    self.clock.after(self.world.jobs[job].duration, Event::Ended(job, machines));
                }
                self.batch();
            }
            Event::Ended(job, machines) => {
                self.hold(job, machines.len() as u64, false);
                self.world.ended(job, &machines, now);
                self.batch();
            }
        }
    }

    /// The next offer is made within a second of whatever happened: of a request, an answer, or the end of a task, wanted or not.
    fn batch(&mut self) {
        if !self.batching {
            self.batching = true;
            self.clock.after(BATCHING, Event::Allocate);
        }
    }

    /// Everything goes to the one with the lowest dominant share of those that ask.
    fn offer_all(&mut self) {
        if self.world.cell.cpus() < CPUS_MIN {
            return;
        }
        let Some(workload) = self.asking.iter().copied().min_by(|a, b| self.share(*a).total_cmp(&self.share(*b)))
        else {
            return;
        };
        let machines = self.world.options.machines;
        let offer = std::mem::replace(&mut self.world.cell, Cell::empty(machines));
        self.clock.after(OFFERING, Event::Offered(workload, offer));
    }

    fn share(&self, workload: Workload) -> f64 {
        let (cpus, mem) = self.held.get(&workload).copied().unwrap_or_default();
        let options = self.world.options;
        let machines = options.machines.max(1) as f64;
        let part = |held: u64, each: u64| held as f64 / (machines * each.max(1) as f64);
        part(cpus, options.cpus.0).max(part(mem, options.mem.0))
    }

    /// The framework goes through its queue as long as anything is left, and answers when it has thought about all it took. It goes on
    /// asking, and may be offered more while it thinks, unless its queue is empty.
    fn consider(&mut self, workload: Workload, mut offer: Cell) {
        let (mut thinks, mut placed) = (Duration::ZERO, Vec::new());
        let now = self.clock.now;
        let queue = self.queues.entry(workload).or_default();
        while offer.cpus() > 0
            && offer.mem() > 0
            && let Some(job) = queue.pop_front()
        {
            let spec = &self.world.jobs[job];
            let claimed = &mut self.claimed[job];
            let missing = spec.tasks - *claimed;
            self.world.account.attempted(job, now);
            thinks += self.world.options.thinks(workload, missing);
            let machines = offer.place(spec, missing, &mut self.world.dice);
            *claimed += machines.len() as u32;
            let (left, fruitless) = (spec.tasks - *claimed, *claimed == 0);
            let attempts = self.world.account.fates[job].attempts;
            if !machines.is_empty() {
                placed.push((job, machines));
            }
            if left > 0 && !(attempts > super::ATTEMPTS_MAX || (fruitless && attempts > super::FRUITLESS_MAX)) {
                self.clock.after(RETRY, Event::Submitted(job));
            }
        }
        if queue.is_empty() {
            self.asking.remove(&workload);
        }
        self.clock.after(thinks, Event::Answered(offer, placed));
    }

    fn hold(&mut self, job: usize, tasks: u64, more: bool) {
        let spec = &self.world.jobs[job];
        let (cpus, mem) = self.held.entry(spec.workload).or_default();
        let change = |held: &mut u64, by: u64| *held = if more { *held + by } else { held.saturating_sub(by) };
        change(cpus, tasks * spec.cpus.0);
        change(mem, tasks * spec.mem.0);
    }
}
