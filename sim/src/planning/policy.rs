//! The framework of one workload: a queue for each size of job, the oldest first, placed with the SDK's library on the offers that it
//! holds. A size that fits nowhere does not hold up the others.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rialto_core::model::{
    ExecutorRef, Offer, OfferId, Price, Refusal, Role, Selector, Task, TaskId, TaskState, Term, Time,
};
use rialto_core::scheduler::placement::Placement;
use rialto_core::scheduler::placement::board::GpuBoard;
use rialto_core::scheduler::placement::gpu::GpuAsk;
use rialto_core::scheduler::{Happening, Out, Scheduler};

use super::crowding::Crowding;
use super::demand::Job;
use super::jobs::Traits;
use crate::market::{Think, body};

/// What became of a job at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Started,
    Finished,
    /// Its machine was lost after so long; it begins anew.
    Interrupted(Duration),
    /// It was ended with all that it had done, and goes on elsewhere.
    Saved,
    /// Its framework will not try it again.
    GivenUp,
}

/// A line of the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) at: Time,
    pub(super) job: usize,
    pub(super) fate: Fate,
}

/// What a job asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    /// For each of its tasks.
    pub(super) each: GpuAsk,
    /// What else there is to say of it.
    pub(super) traits: Traits,
}

pub(super) struct Planner {
    /// What happened, for whoever keeps account.
    pub(super) log: Vec<Entry>,
    role: Role,
    board: GpuBoard,
    newest: OfferId,
    asks: Arc<[Ask]>,
    /// By the name of the pool: how much faster work is done there.
    speeds: Arc<BTreeMap<Arc<str>, f64>>,
    jobs: Vec<State>,
    /// The jobs that wait, by what they ask for.
    waiting: BTreeMap<usize, VecDeque<usize>>,
    crowding: Crowding,
    /// How long a job takes to save what it has done.
    checkpoint: Option<Duration>,
    /// Jobs are begun on machines that cost at most so much.
    max_price: Option<Price>,
    /// What such machines are like now; none if there are none.
    cheap: Option<Selector>,
    /// Who runs on each machine, where jobs can be saved.
    on_machine: BTreeMap<Arc<str>, BTreeSet<usize>>,
}

/// What a framework is told from outside.
#[derive(Clone, Debug)]
pub(super) enum Order {
    /// Run a job.
    Run(Job),
}

/// A job that is not through.
struct State {
    job: Job,
    attempt: u32,
    started: Option<Time>,
    is_over: bool,
    /// How many of its tasks run, and how many have ended, in this attempt.
    running: u32,
    finished: u32,
    /// Its machines, each once for each task there, and how much faster it is there.
    places: Vec<Arc<str>>,
    speed: f64,
    /// What it has done is saved: its end is no loss.
    is_saved: bool,
}

impl Planner {
    pub(super) fn new(
        role: Role,
        board: GpuBoard,
        asks: Arc<[Ask]>,
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
            crowding: Crowding::default(),
            checkpoint,
            max_price: None,
            cheap: None,
            on_machine: BTreeMap::new(),
        }
    }

    /// Jobs are begun only on machines that cost at most so much.
    pub(super) fn with_max_price(self, max_price: Option<Price>) -> Self {
        Self { max_price, ..self }
    }

    /// Machines cost something else than before: what stands on the board is looked at anew.
    fn heed_prices(&mut self, out: &mut Out<Think>) {
        let Some(max) = self.max_price else { return };
        self.cheap = out.prices().at_most(max);
        self.board.clear();
        self.take_offers(out.offers());
        self.place_all(out);
    }

    fn is_cheap(&self, offer: &Offer) -> bool {
        self.max_price.is_none() || self.cheap.as_ref().is_some_and(|cheap| cheap.matches(&*offer.info))
    }

    /// The machine will be taken away: what runs there and can be saved is saved and waits for another one.
    fn leaves(&mut self, now: Time, machine: &Arc<str>, notice: Duration, out: &mut Out<Think>) {
        let its = self.on_machine.remove(machine).unwrap_or_default();
        let Some(checkpoint) = self.checkpoint.filter(|checkpoint| *checkpoint <= notice) else { return };
        for number in its {
            let state = &mut self.jobs[number];
            let Some(started) = state.started.filter(|_| !state.is_saved) else { continue };
            let done = now.since(started).mul_f64(state.speed);
            state.job.duration = state.job.duration.saturating_sub(done) + checkpoint;
            state.is_saved = true;
            self.kill(number, out);
        }
    }

    /// Ends all tasks of the attempt.
    fn kill(&self, number: usize, out: &mut Out<Think>) {
        let state = &self.jobs[number];
        for member in 0..self.asks[state.job.ask].traits.members {
            out.kill(&task_id(number, state.attempt, member), None);
        }
    }

    /// The job is, or is no more, on its machines.
    fn note_places(&mut self, number: usize, is_there: bool) {
        if self.checkpoint.is_none() {
            return;
        }
        for machine in &self.jobs[number].places {
            let its = self.on_machine.entry(machine.clone()).or_default();
            if is_there {
                its.insert(number)
            } else {
                its.remove(&number)
            };
        }
    }

    fn submitted(&mut self, job: Job, out: &mut Out<Think>) {
        let number = self.jobs.len();
        self.jobs.push(State {
            job,
            attempt: 0,
            started: None,
            is_over: false,
            running: 0,
            finished: 0,
            places: Vec::new(),
            speed: 1.0,
            is_saved: false,
        });
        let queue = self.waiting.entry(job.ask).or_default();
        queue.push_back(number);
        if queue.len() == 1 {
            self.place(job.ask, out);
            self.board.submit(out, &Refusal::default());
        }
    }

    /// Places what waits for that ask, as far as it fits.
    fn place(&mut self, ask: usize, out: &mut Out<Think>) {
        let Some(mut queue) = self.waiting.remove(&ask) else { return };
        let Ask { each, traits } = self.asks[ask].clone();
        while let Some(number) = queue.front().copied() {
            if traits.members > 1 {
                let Some(placements) = self.board.place_gang(&each, traits.members) else { break };
                self.launch_gang(number, placements, out);
            } else {
                let full = self.crowding.full(&traits);
                let Some(placement) = self.board.place_besides(&each, &full) else { break };
                self.begin(number, std::slice::from_ref(&placement));
                let task = self.task(number, 0, &placement);
                self.board.launch(&placement, task);
            }
            queue.pop_front();
        }
        if !queue.is_empty() {
            self.waiting.insert(ask, queue);
        }
    }

    fn place_all(&mut self, out: &mut Out<Think>) {
        let rank = |ask: &usize| Reverse(self.asks[*ask].traits.priority);
        let mut order: Vec<(Reverse<i32>, usize, usize)> =
            self.waiting.iter().filter_map(|(ask, queue)| Some((rank(ask), *queue.front()?, *ask))).collect();
        order.sort_unstable();
        for (_, _, ask) in order {
            self.place(ask, out);
        }
        self.board.submit(out, &Refusal::default());
    }

    fn launch_gang(&mut self, number: usize, placements: Vec<Placement>, out: &mut Out<Think>) {
        self.begin(number, &placements);
        let tasks = placements.into_iter().enumerate().map(|(member, placement)| {
            let task = self.task(number, member as u32, &placement);
            (placement, task)
        });
        let tasks = tasks.collect();
        out.accept_gang(self.board.launch_gang(tasks), Refusal::default());
    }

    /// Another attempt, on these machines; the slowest sets the pace.
    fn begin(&mut self, number: usize, placements: &[Placement]) {
        let speed_of = |placement: &Placement| {
            let pool = placement.agent_name.rsplit_once('-').map_or("", |(pool, _)| pool);
            self.speeds.get(pool).copied().unwrap_or(1.0)
        };
        let speed = placements.iter().map(speed_of).fold(f64::INFINITY, f64::min);
        let state = &mut self.jobs[number];
        state.attempt += 1;
        (state.running, state.finished, state.speed) = (0, 0, speed);
        state.places = placements.iter().map(|placement| placement.agent_name.clone()).collect();
        if let Some(first) = placements.first() {
            self.crowding.come(&self.asks[state.job.ask].traits, number, first.agent);
        }
    }

    fn task(&self, number: usize, member: u32, placement: &Placement) -> Task {
        let state = &self.jobs[number];
        Task {
            name: Arc::from(""),
            id: task_id(number, state.attempt, member),
            role: self.role.clone(),
            resources: placement.resources.clone(),
            claims: Vec::new(),
            priority: self.asks[state.job.ask].traits.priority,
            kill_grace: Duration::ZERO,
            expected_run_time: None,
            executor: ExecutorRef::Supervisor,
            body: body(Some(state.job.duration.div_f64(state.speed))),
        }
    }

    /// A task was not launched, or is lost: its job waits again, before those that came later, and what else there is of it is ended.
    fn again(&mut self, now: Time, task: &TaskId, out: &mut Out<Think>) {
        let Some(number) = self.current(task) else { return };
        self.note_places(number, false);
        self.crowding.go(number);
        if self.asks[self.jobs[number].job.ask].traits.members > 1 && self.jobs[number].running > 0 {
            self.kill(number, out);
        }
        let state = &mut self.jobs[number];
        if let Some(started) = state.started.take() {
            let is_saved = std::mem::take(&mut state.is_saved);
            let fate = if is_saved { Fate::Saved } else { Fate::Interrupted(now.since(started)) };
            self.log.push(Entry { at: now, job: number, fate });
        }
        // Another attempt makes what is still said of this one void.
        state.attempt += 1;
        let queue = self.waiting.entry(state.job.ask).or_default();
        let at = queue.partition_point(|other| *other < number);
        queue.insert(at, number);
    }

    /// The job whose newest attempt this is.
    fn current(&self, task: &TaskId) -> Option<usize> {
        let mut parts = task.as_str().split('.');
        let (number, attempt): (usize, u32) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let state = self.jobs.get(number)?;
        (state.attempt == attempt && !state.is_over).then_some(number)
    }

    fn runs(&mut self, now: Time, task: &TaskId) {
        let Some(number) = self.current(task) else { return };
        let state = &mut self.jobs[number];
        state.running += 1;
        if state.started.is_none() && state.running == self.asks[state.job.ask].traits.members {
            state.started = Some(now);
            self.log.push(Entry { at: now, job: number, fate: Fate::Started });
            self.note_places(number, true);
        }
    }

    fn ended(&mut self, now: Time, status: &rialto_core::model::Status) {
        let Some(number) = self.current(&status.task) else { return };
        let Ask { each, traits } = &self.asks[self.jobs[number].job.ask];
        if let Some(agent) = status.agent {
            self.board.ended(agent, each);
        }
        let state = &mut self.jobs[number];
        state.finished += 1;
        if state.finished == traits.members {
            state.is_over = true;
            self.crowding.go(number);
            self.note_places(number, false);
            self.log.push(Entry { at: now, job: number, fate: Fate::Finished });
        }
    }

    fn take_offers<'a>(&mut self, offers: impl Iterator<Item = &'a Offer>) {
        for offer in offers {
            self.newest = offer.id;
            if self.is_cheap(offer) {
                self.board.offered(offer);
            }
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
            Happening::Prices(_) => self.heed_prices(out),
            Happening::Command(Order::Run(job)) => self.submitted(job, out),
            Happening::AgentLeaves { name, after: Some(notice), .. } => self.leaves(now, &name, notice, out),
            Happening::Rejected { tasks, .. } => {
                for task in &tasks {
                    self.again(now, task, out);
                }
                self.place_all(out);
            }
            Happening::Update(status) => match status.state {
                TaskState::Running => self.runs(now, &status.task),
                TaskState::Finished => self.ended(now, &status),
                state if state.is_terminal() || state == TaskState::Unreachable => {
                    self.again(now, &status.task, out);
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

/// `JOB.ATTEMPT`, and `.MEMBER` for all but the first.
fn task_id(number: usize, attempt: u32, member: u32) -> TaskId {
    let id = if member == 0 { format!("{number}.{attempt}") } else { format!("{number}.{attempt}.{member}") };
    TaskId::new(&id).expect("digits and dots are an id")
}
