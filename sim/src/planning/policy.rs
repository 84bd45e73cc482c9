//! The framework of one workload: a queue for each size of job, the oldest first, placed with the SDK's library on the offers that it
//! holds. A size that fits nowhere does not hold up the others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rialto_core::model::{ExecutorRef, Offer, OfferId, Refusal, Role, Task, TaskId, TaskState, Term, Time};
use rialto_core::scheduler::placement::board::GpuBoard;
use rialto_core::scheduler::placement::gpu::GpuAsk;
use rialto_core::scheduler::{Happening, Out, Scheduler};

use super::demand::Job;
use crate::market::{Think, body};

/// What became of a job at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Started,
    Finished,
    /// Its machine was lost after so long; it begins anew.
    Interrupted(Duration),
}

/// A line of the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) at: Time,
    pub(super) job: usize,
    pub(super) fate: Fate,
}

pub(super) struct Planner {
    /// What happened, for whoever keeps account.
    pub(super) log: Vec<Entry>,
    role: Role,
    board: GpuBoard,
    newest: OfferId,
    asks: Arc<[GpuAsk]>,
    /// By the name of the pool: how much faster work is done there.
    speeds: Arc<BTreeMap<Arc<str>, f64>>,
    jobs: Vec<State>,
    /// The jobs that wait, by what they ask for.
    waiting: BTreeMap<usize, VecDeque<usize>>,
    /// How long a job takes to save what it has done.
    checkpoint: Option<Duration>,
    /// Machines that will be taken away, on which nothing more is begun.
    leaving: BTreeSet<Arc<str>>,
    /// Who runs on each machine, where jobs can be saved.
    on_machine: BTreeMap<Arc<str>, BTreeSet<usize>>,
    /// The offers of each machine, where machines may be taken away.
    offers_of: BTreeMap<Arc<str>, OfferId>,
}

/// What a framework is told from outside.
#[derive(Clone, Debug)]
pub(super) enum Order {
    /// Run a job.
    Run(Job),
    /// The machine of that name will be taken away when so long has passed.
    Leaves(Arc<str>, Duration),
    /// There is one of that name again.
    IsBack(Arc<str>),
}

/// A job that is not through.
struct State {
    job: Job,
    attempt: u32,
    started: Option<Time>,
    has_started: bool,
    is_over: bool,
    /// Its machine, and how much faster it is there.
    place: Option<(Arc<str>, f64)>,
    /// What it has done is saved: its end is no loss.
    is_saved: bool,
}

impl Planner {
    pub(super) fn new(
        role: Role,
        board: GpuBoard,
        asks: Arc<[GpuAsk]>,
        speeds: Arc<BTreeMap<Arc<str>, f64>>,
        checkpoint: Option<Duration>,
    ) -> Self {
        Self {
            log: Vec::new(),
            role,
            board,
            newest: OfferId::new(Term(0), 0),
            asks,
            speeds,
            jobs: Vec::new(),
            waiting: BTreeMap::new(),
            checkpoint,
            leaving: BTreeSet::new(),
            on_machine: BTreeMap::new(),
            offers_of: BTreeMap::new(),
        }
    }

    /// Nothing more is begun on the machine, and what runs there and can be saved is saved and waits for another one.
    fn leaves(&mut self, now: Time, machine: Arc<str>, notice: Duration, out: &mut Out<Think>) {
        if let Some(offer) = self.offers_of.remove(&machine) {
            self.board.withdrawn(offer);
        }
        let its = self.on_machine.remove(&machine).unwrap_or_default();
        self.leaving.insert(machine);
        let Some(checkpoint) = self.checkpoint.filter(|checkpoint| *checkpoint <= notice) else { return };
        for number in its {
            let state = &mut self.jobs[number];
            let (Some(started), Some((_, speed))) = (state.started, &state.place) else { continue };
            let done = now.since(started).mul_f64(*speed);
            state.job.duration = state.job.duration.saturating_sub(done) + checkpoint;
            state.is_saved = true;
            let id = TaskId::new(&format!("{number}.{}", state.attempt)).expect("digits and a dot are an id");
            out.kill(&id, None);
        }
    }

    fn on(&mut self, number: usize) -> Option<&mut BTreeSet<usize>> {
        self.checkpoint?;
        let (machine, _) = self.jobs[number].place.clone()?;
        Some(self.on_machine.entry(machine).or_default())
    }

    /// How many jobs wait for each ask.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (&GpuAsk, usize)> {
        self.waiting.iter().map(|(ask, jobs)| (&self.asks[*ask], jobs.len()))
    }

    /// When each job that has not started was submitted.
    pub(super) fn not_started(&self) -> impl Iterator<Item = &Job> {
        self.waiting
            .values()
            .flatten()
            .map(|number| &self.jobs[*number])
            .filter(|state| !state.has_started)
            .map(|state| &state.job)
    }

    fn submitted(&mut self, job: Job, out: &mut Out<Think>) {
        let number = self.jobs.len();
        self.jobs.push(State {
            job,
            attempt: 0,
            started: None,
            has_started: false,
            is_over: false,
            place: None,
            is_saved: false,
        });
        let queue = self.waiting.entry(job.ask).or_default();
        queue.push_back(number);
        if queue.len() == 1 {
            self.place(job.ask);
            self.board.submit(out, &Refusal::default());
        }
    }

    /// Places what waits for that ask, as far as it fits.
    fn place(&mut self, ask: usize) {
        let Some(mut queue) = self.waiting.remove(&ask) else { return };
        while let Some(number) = queue.front().copied() {
            let Some(placement) = self.board.place(&self.asks[ask]) else { break };
            queue.pop_front();
            let task = self.task(number, &placement);
            self.board.launch(&placement, task);
        }
        if !queue.is_empty() {
            self.waiting.insert(ask, queue);
        }
    }

    fn place_all(&mut self, out: &mut Out<Think>) {
        let mut order: Vec<(usize, usize)> =
            self.waiting.iter().filter_map(|(ask, queue)| Some((*queue.front()?, *ask))).collect();
        order.sort_unstable();
        for (_, ask) in order {
            self.place(ask);
        }
        self.board.submit(out, &Refusal::default());
    }

    fn task(&mut self, number: usize, placement: &rialto_core::scheduler::placement::Placement) -> Task {
        let state = &mut self.jobs[number];
        state.attempt += 1;
        let id = format!("{number}.{}", state.attempt);
        let pool = placement.agent_name.rsplit_once('-').map_or("", |(pool, _)| pool);
        let speed = self.speeds.get(pool).copied().unwrap_or(1.0);
        state.place = Some((placement.agent_name.clone(), speed));
        Task {
            name: Arc::from(""),
            id: TaskId::new(&id).expect("digits and a dot are an id"),
            role: self.role.clone(),
            resources: placement.resources.clone(),
            claims: Vec::new(),
            priority: 0,
            kill_grace: Duration::ZERO,
            expected_run_time: None,
            executor: ExecutorRef::Supervisor,
            body: body(Some(state.job.duration.div_f64(speed))),
        }
    }

    /// A task was not launched, or is lost: its job waits again, before those that came later.
    fn again(&mut self, now: Time, task: &TaskId) -> Option<usize> {
        let number = self.current(task)?;
        if let Some(its) = self.on(number) {
            its.remove(&number);
        }
        let state = &mut self.jobs[number];
        if let Some(started) = state.started.take()
            && !std::mem::take(&mut state.is_saved)
        {
            self.log.push(Entry { at: now, job: number, fate: Fate::Interrupted(now.since(started)) });
        }
        // Another attempt makes what is still said of this one void.
        state.attempt += 1;
        let ask = state.job.ask;
        let queue = self.waiting.entry(ask).or_default();
        let at = queue.partition_point(|other| *other < number);
        queue.insert(at, number);
        Some(ask)
    }

    /// The job whose newest attempt this is.
    fn current(&self, task: &TaskId) -> Option<usize> {
        let (number, attempt) = task.as_str().split_once('.')?;
        let (number, attempt): (usize, u32) = (number.parse().ok()?, attempt.parse().ok()?);
        let state = self.jobs.get(number)?;
        (state.attempt == attempt && !state.is_over).then_some(number)
    }

    fn runs(&mut self, now: Time, task: &TaskId) {
        let Some(number) = self.current(task) else { return };
        let state = &mut self.jobs[number];
        if state.started.is_none() {
            (state.started, state.has_started) = (Some(now), true);
            self.log.push(Entry { at: now, job: number, fate: Fate::Started });
            if let Some(its) = self.on(number) {
                its.insert(number);
            }
        }
    }

    fn ended(&mut self, now: Time, status: &rialto_core::model::Status) {
        let Some(number) = self.current(&status.task) else { return };
        self.jobs[number].is_over = true;
        if let Some(its) = self.on(number) {
            its.remove(&number);
        }
        self.log.push(Entry { at: now, job: number, fate: Fate::Finished });
        if let Some(agent) = status.agent {
            self.board.ended(agent, &self.asks[self.jobs[number].job.ask]);
        }
    }

    fn take_offers<'a>(&mut self, offers: impl Iterator<Item = &'a Offer>) {
        for offer in offers {
            self.newest = offer.id;
            if self.leaving.contains(&offer.info.name) {
                continue;
            }
            self.board.offered(offer);
            self.offers_of.insert(offer.info.name.clone(), offer.id);
        }
    }
}

impl Scheduler for Planner {
    type Command = Order;
    type Effect = Think;

    fn on_event(&mut self, now: Time, event: Happening<Order>, out: &mut Out<Think>) {
        match event {
            Happening::Offers => {
                let newest = self.newest;
                self.take_offers(out.offers_after(newest));
                self.place_all(out);
            }
            Happening::Rescinded(offers) => offers.into_iter().for_each(|offer| self.board.withdrawn(offer)),
            Happening::Disconnected => self.board.clear(),
            Happening::Command(Order::Run(job)) => self.submitted(job, out),
            Happening::Command(Order::Leaves(machine, notice)) => self.leaves(now, machine, notice, out),
            Happening::Command(Order::IsBack(machine)) => {
                self.leaving.remove(&machine);
            }
            Happening::Rejected { tasks, .. } => {
                for task in &tasks {
                    self.again(now, task);
                }
                self.place_all(out);
            }
            Happening::Update(status) => match status.state {
                TaskState::Running => self.runs(now, &status.task),
                TaskState::Finished => self.ended(now, &status),
                state if state.is_terminal() || state == TaskState::Unreachable => {
                    self.again(now, &status.task);
                    self.place_all(out);
                }
                _ => {}
            },
            _ => {}
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        None
    }
}
