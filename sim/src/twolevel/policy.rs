//! A framework that takes a while to decide: it looks at the first job of its queue that fits somewhere, thinks, and accepts.
//!
//! It decides on the offers that stand when it begins; what others took meanwhile is a conflict, and those tasks are tried again. It says
//! which kinds of task it expects, and keeps offers of all machines where one of them fits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rialto_core::model::{
    AgentId, Demand, ExecutorRef, Milli, Offer, OfferId, Operation, Quantities, Refusal, ResourceName, Resources, Role,
    Task, TaskGroup, TaskId, TaskState, Term, Time,
};
use rialto_core::scheduler::placement::Needs;
use rialto_core::scheduler::{Happening, Out, Scheduler};

use super::account::Fate;
use super::jobs::Job;
use crate::dice::Dice;
use crate::market::{Think, body};

/// For how long offers that were asked for anew are gathered.
const GATHER: Duration = Duration::from_millis(10);
/// After how long a job that could not be placed whole is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// For how long they count as news.
const FRESH: Duration = Duration::from_secs(5);

/// Which machines it prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taste {
    /// Any.
    Random,
    /// Those with the least room left: for many short tasks.
    Full,
    /// Those with the most room left, one task each: for a slow decider, who is less likely to be in somebody's way there.
    Empty,
}

/// How a framework decides.
#[derive(Clone, Debug)]
pub(super) struct Manner {
    pub(super) role: Role,
    pub(super) taste: Taste,
    /// How long it thinks about a job, and about each task of it.
    pub(super) per_job: Duration,
    pub(super) per_task: Duration,
    /// Whether it asks for all offers anew before it begins to think: worth it if thinking takes long.
    pub(super) refreshes: bool,
}

pub(super) struct Decider {
    pub(super) fates: BTreeMap<usize, Fate>,
    manner: Manner,
    dice: Dice,
    jobs: BTreeMap<usize, Pending>,
    queue: VecDeque<usize>,
    rooms: BTreeMap<AgentId, Room>,
    agents: BTreeMap<OfferId, AgentId>,
    newest: OfferId,
    /// How many tasks wait of each kind that it has seen: cores and memory.
    kinds: BTreeMap<(Milli, Milli), u32>,
    wake: Option<Time>,
    fresh_until: Time,
    /// Until when it gathers the offers that it has asked for.
    gathering: Option<Time>,
}

/// A job that is not complete.
struct Pending {
    job: Job,
    /// How many tasks are to be placed.
    missing: u32,
    /// How many ids were given out.
    named: u32,
    queued: bool,
    /// When it may be tried again.
    not_before: Time,
}

/// What is offered of a machine.
struct Room {
    offer: OfferId,
    cpus: Milli,
    mem: Milli,
}

impl Room {
    fn fits(&self, job: &Job) -> bool {
        self.cpus >= job.cpus && self.mem >= job.mem
    }

    fn take(&mut self, job: &Job) -> bool {
        let (Some(cpus), Some(mem)) = (self.cpus.minus(job.cpus), self.mem.minus(job.mem)) else { return false };
        (self.cpus, self.mem) = (cpus, mem);
        true
    }
}

impl Decider {
    pub(super) fn new(manner: Manner, dice: Dice) -> Self {
        Self {
            fates: BTreeMap::new(),
            manner,
            dice,
            jobs: BTreeMap::new(),
            queue: VecDeque::new(),
            rooms: BTreeMap::new(),
            agents: BTreeMap::new(),
            newest: OfferId::new(Term(0), 0),
            kinds: BTreeMap::new(),
            wake: None,
            fresh_until: Time::ZERO,
            gathering: None,
        }
    }

    fn submitted(&mut self, now: Time, number: usize, job: Job, out: &mut Out<Think>) {
        self.jobs.insert(number, Pending { job, missing: job.tasks, named: 0, queued: true, not_before: now });
        self.queue.push_back(number);
        *self.kinds.entry((job.cpus, job.mem)).or_default() += job.tasks;
        out.demand(&self.manner.role, self.demand());
        self.wake_at(now);
    }

    fn demand(&self) -> Demand {
        let shape = |((cpus, mem), count): (&(Milli, Milli), &u32)| {
            let mut shape = Needs::new(Quantities::of(*cpus, *mem)).shape("task", *count);
            shape.name = Arc::from(format!("{cpus} cpus"));
            shape
        };
        Demand { shapes: self.kinds.iter().map(shape).collect() }
    }

    fn wake_at(&mut self, at: Time) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    fn offered(&mut self, now: Time, out: &Out<Think>) {
        let mut useful = false;
        for offer in out.offers_after(self.newest) {
            self.newest = offer.id;
            let room = room(offer);
            useful |= self.queue.iter().take(64).any(|number| room.fits(&self.jobs[number].job));
            self.agents.insert(offer.id, offer.agent);
            if let Some(old) = self.rooms.insert(offer.agent, room) {
                self.agents.remove(&old.offer);
            }
        }
        if useful {
            self.wake_at(now);
        }
    }

    fn gone(&mut self, offer: OfferId) {
        if let Some(agent) = self.agents.remove(&offer)
            && self.rooms.get(&agent).is_some_and(|room| room.offer == offer)
        {
            self.rooms.remove(&agent);
        }
    }

    fn decide(&mut self, now: Time, out: &mut Out<Think>) {
        self.wake = None;
        if self.gathering.is_some_and(|until| until > now) {
            return;
        }
        self.gathering = None;
        let Some(at) = self.next_job(now) else { return };
        if self.manner.refreshes && self.fresh_until < now {
            self.fresh_until = now + FRESH;
            self.gathering = Some(now + GATHER);
            out.demand(&self.manner.role, Demand::default());
            out.demand(&self.manner.role, self.demand());
            return;
        }
        let number = self.queue.remove(at).expect("it was found there");
        self.attempt(now, number, out);
    }

    /// The place in the queue of the first job that may be tried and fits somewhere.
    fn next_job(&mut self, now: Time) -> Option<usize> {
        let mut fits: BTreeMap<(Milli, Milli), bool> = BTreeMap::new();
        let mut later: Option<Time> = None;
        let found = self.queue.iter().position(|number| {
            let pending = &self.jobs[number];
            let job = &pending.job;
            let rooms = &self.rooms;
            let fits = fits.entry((job.cpus, job.mem)).or_insert_with(|| rooms.values().any(|room| room.fits(job)));
            if *fits && pending.not_before > now {
                later = Some(later.map_or(pending.not_before, |later| later.min(pending.not_before)));
            }
            *fits && pending.not_before <= now
        });
        if found.is_none()
            && let Some(later) = later
        {
            self.wake_at(later);
        }
        found
    }

    fn attempt(&mut self, now: Time, number: usize, out: &mut Out<Think>) {
        let pending = self.jobs.get_mut(&number).expect("a job in the queue is pending");
        pending.queued = false;
        let (job, missing) = (pending.job, pending.missing);
        let fate = self.fates.entry(number).or_default();
        fate.first_attempt.get_or_insert(now);
        fate.attempts += 1;
        let placed = self.place(&job, missing);
        // It thinks about the tasks that it sees room for.
        let decided: u32 = placed.iter().map(|(_, count)| count).sum();
        let thinks = self.manner.per_job + self.manner.per_task * decided;
        for (agent, count) in placed {
            self.launch(number, agent, count, out);
        }
        out.effect(Think(thinks));
        self.fresh_until = Time::ZERO;
        if self.jobs[&number].missing > 0 {
            self.enqueue(number, now + thinks + RETRY);
        }
        out.demand(&self.manner.role, self.demand());
        self.wake_at(now + thinks);
    }

    /// Where tasks go, and how many to each machine.
    fn place(&mut self, job: &Job, missing: u32) -> Vec<(AgentId, u32)> {
        let mut fitting: Vec<(Milli, AgentId)> =
            self.rooms.iter().filter(|(_, room)| room.fits(job)).map(|(agent, room)| (room.cpus, *agent)).collect();
        match self.manner.taste {
            Taste::Full => fitting.sort_unstable(),
            Taste::Empty => fitting.sort_unstable_by_key(|(cpus, agent)| (std::cmp::Reverse(*cpus), *agent)),
            Taste::Random => (1..fitting.len()).rev().for_each(|at| fitting.swap(at, self.dice.count(0, at))),
        }
        let each = if self.manner.taste == Taste::Full { u32::MAX } else { 1 };
        let (mut left, mut placed) = (missing, BTreeMap::new());
        let mut progress = true;
        while left > 0 && progress {
            progress = false;
            for (_, agent) in &fitting {
                let room = self.rooms.get_mut(agent).expect("it was found among the rooms");
                let mut here = 0;
                while here < each && left > 0 && room.take(job) {
                    (here, left) = (here + 1, left - 1);
                }
                progress |= here > 0;
                if here > 0 {
                    *placed.entry(*agent).or_insert(0) += here;
                }
            }
        }
        placed.into_iter().collect()
    }

    fn launch(&mut self, number: usize, agent: AgentId, count: u32, out: &mut Out<Think>) {
        let room = self.rooms.remove(&agent).expect("tasks are placed in rooms");
        self.agents.remove(&room.offer);
        if out.offer(room.offer).is_none() {
            return;
        }
        let pending = self.jobs.get_mut(&number).expect("a job that is attempted is pending");
        let operations = (0..count).map(|_| {
            pending.named += 1;
            let task = task(number, pending.named, &pending.job, &self.manner.role);
            Operation::Launch(TaskGroup::single(task))
        });
        let operations: Vec<Operation> = operations.collect();
        pending.missing -= count;
        let kind = self.kinds.entry((pending.job.cpus, pending.job.mem)).or_default();
        *kind = kind.saturating_sub(count);
        out.accept(&[room.offer], operations, Refusal::default());
    }

    fn enqueue(&mut self, number: usize, not_before: Time) {
        if let Some(pending) = self.jobs.get_mut(&number).filter(|pending| !pending.queued) {
            (pending.queued, pending.not_before) = (true, not_before);
            self.queue.push_back(number);
        }
    }

    fn rejected(&mut self, now: Time, tasks: &[TaskId]) {
        for task in tasks {
            let Some(number) = job_of(task) else { continue };
            if let Some(pending) = self.jobs.get_mut(&number) {
                pending.missing += 1;
                *self.kinds.entry((pending.job.cpus, pending.job.mem)).or_default() += 1;
                self.enqueue(number, now);
                self.wake_at(now);
            }
        }
    }

    fn runs(&mut self, now: Time, task: &TaskId) {
        let Some(number) = job_of(task) else { return };
        let Some(pending) = self.jobs.get(&number) else { return };
        let fate = self.fates.entry(number).or_default();
        fate.started += 1;
        if fate.started == pending.job.tasks {
            fate.complete = Some(now);
            self.jobs.remove(&number);
        }
    }
}

impl Scheduler for Decider {
    type Command = (usize, Job);
    type Effect = Think;

    fn on_event(&mut self, now: Time, event: Happening<(usize, Job)>, out: &mut Out<Think>) {
        match event {
            // Nothing is expected yet.
            Happening::Subscribed { .. } => out.demand(&self.manner.role, self.demand()),
            Happening::Command((number, job)) => self.submitted(now, number, job, out),
            Happening::Offers => self.offered(now, out),
            Happening::Rescinded(offers) => offers.into_iter().for_each(|offer| self.gone(offer)),
            Happening::Rejected { tasks, .. } => self.rejected(now, &tasks),
            Happening::Update(status) if status.state == TaskState::Running => self.runs(now, &status.task),
            Happening::Tick => self.decide(now, out),
            Happening::Disconnected => {
                self.rooms.clear();
                self.agents.clear();
            }
            _ => {}
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        self.gathering.or(self.wake)
    }
}

fn room(offer: &Offer) -> Room {
    let free = offer.resources.quantities();
    Room { offer: offer.id, cpus: free.get(&ResourceName::Cpus), mem: free.get(&ResourceName::Mem) }
}

fn task(number: usize, named: u32, job: &Job, role: &Role) -> Task {
    let id = format!("{number}.{named}");
    Task {
        name: Arc::from(""),
        id: TaskId::new(&id).expect("digits and a dot are an id"),
        role: role.clone(),
        resources: Resources::scalars(job.quantities()),
        claims: Vec::new(),
        priority: 0,
        kill_grace: Duration::ZERO,
        expected_run_time: None,
        executor: ExecutorRef::Supervisor,
        body: body(Some(job.duration)),
    }
}

fn job_of(task: &TaskId) -> Option<usize> {
    task.as_str().split_once('.')?.0.parse().ok()
}
