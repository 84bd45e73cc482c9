//! V15: the same small scenario in virtual time and on real processes. The policy decides at fixed moments only, half a second apart,
//! and everything else happens half-way between them: so a process that takes a little longer to start changes nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rialto_core::master::Config;
use rialto_core::model::{
    AgentId, Demand, ExecutorRef, Milli, Offer, OfferId, Operation, Quantities, Refusal, ResourceName, Resources, Role,
    Task, TaskGroup, TaskId, TaskState, Time,
};
use rialto_core::scheduler::placement::{Needs, Placement};
use rialto_core::scheduler::{Happening, Out, Scheduler};

use super::check::Row;
use super::check::Verdict;
use crate::dice::Dice;
use crate::market::{Machine, Market, Think, body, info};

/// How many machines there are.
pub const AGENTS: usize = 20;
/// Cores of each.
pub const CORES: u64 = 4;
/// Memory of each, in MiB.
pub const MIB: u64 = 4096;
const JOBS: usize = 200;
/// From one decision to the next.
const STEP: Duration = Duration::from_millis(500);

/// Where a job ran, and for how long it waited.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    /// The name of the machine.
    pub agent: String,
    /// In seconds, until it was seen to run.
    pub wait_s: f64,
}

/// A job of the scenario.
#[derive(Clone, Copy, Debug)]
pub struct TwinJob {
    /// How many steps after the start it is submitted.
    submit: u32,
    /// How long it runs.
    pub duration: Duration,
    /// Cores.
    pub cpus: u64,
}

/// How a job becomes a task of that id, on so many resources.
pub type MakeTask = Box<dyn FnMut(TaskId, &Role, &Placement, &TwinJob) -> Task + Send>;
/// What is to be said when all jobs are through.
pub type Done<E> = Box<dyn FnMut(Vec<Placed>) -> E + Send>;

/// The policy: first come, first served, each job on the first machine by name on which it fits.
pub struct Twin<E> {
    role: Role,
    jobs: Vec<TwinJob>,
    waiting: VecDeque<usize>,
    /// When it began, and the number of the next decision.
    began: Option<Time>,
    step: u32,
    placed: BTreeMap<usize, Placed>,
    ended: usize,
    make: MakeTask,
    done: Done<E>,
    is_told: bool,
}

impl<E> Twin<E> {
    /// The policy with the jobs of the scenario.
    pub fn new(role: Role, make: MakeTask, done: Done<E>) -> Self {
        let mut dice = Dice::child(15, "twin");
        let mut submit = 0;
        let job = |_| {
            submit += u32::from(dice.chance(200));
            // A quarter of a second off the decisions.
            let duration = STEP * dice.between(1, 12) as u32 + STEP / 2;
            TwinJob { submit, duration, cpus: dice.between(1, CORES) }
        };
        let jobs = (0..JOBS).map(job).collect();
        Self {
            role,
            jobs,
            waiting: VecDeque::new(),
            began: None,
            step: 0,
            placed: BTreeMap::new(),
            ended: 0,
            make,
            done,
            is_told: false,
        }
    }

    fn decision(&self, number: u32) -> Option<Time> {
        Some(self.began? + STEP * number)
    }

    fn decide(&mut self, now: Time, out: &mut Out<E>) {
        if self.decision(self.step).is_none_or(|due| due > now) {
            return;
        }
        let submitted = (0..self.jobs.len()).filter(|job| self.jobs[*job].submit == self.step);
        self.waiting.extend(submitted);
        self.step += 1;
        let mut offers: Vec<Room> = out.offers().map(room).collect();
        offers.sort_by(|a, b| a.name.cmp(&b.name));
        let mut launches: BTreeMap<OfferId, Vec<Operation>> = BTreeMap::new();
        while let Some(job) = self.waiting.front().copied() {
            let spec = self.jobs[job];
            let Some(room) = offers.iter_mut().find(|room| room.free >= spec.cpus) else { break };
            room.free -= spec.cpus;
            let (agent, agent_name) = (room.agent, room.name.clone());
            let resources = Resources::scalars(needs(spec.cpus));
            let id = TaskId::new(&job.to_string()).expect("digits are an id");
            let placement = Placement { agent, agent_name, resources, ports: Vec::new() };
            let task = (self.make)(id, &self.role, &placement, &spec);
            launches.entry(room.offer).or_default().push(Operation::Launch(TaskGroup::single(task)));
            self.placed.insert(job, Placed { agent: room.name.to_string(), wait_s: f64::NAN });
            self.waiting.pop_front();
        }
        for (offer, operations) in launches {
            out.accept(&[offer], operations, Refusal::default());
        }
    }

    fn heard(&mut self, now: Time, task: &TaskId, state: TaskState, out: &mut Out<E>) {
        let Ok(job) = task.as_str().parse::<usize>() else { return };
        let submitted = self.decision(self.jobs[job].submit);
        if let (TaskState::Running, Some(placed), Some(submitted)) = (state, self.placed.get_mut(&job), submitted) {
            placed.wait_s = now.since(submitted).as_secs_f64();
        }
        self.ended += usize::from(state.is_terminal());
        if self.ended == self.jobs.len() && !self.is_told {
            self.is_told = true;
            let all = std::mem::take(&mut self.placed).into_values().collect();
            out.effect((self.done)(all));
        }
    }
}

/// What is offered of a machine.
struct Room {
    name: Arc<str>,
    agent: AgentId,
    offer: OfferId,
    free: u64,
}

fn room(offer: &Offer) -> Room {
    let free = offer.resources.quantities().get(&ResourceName::Cpus).0 / 1000;
    Room { name: offer.info.name.clone(), agent: offer.agent, offer: offer.id, free }
}

fn needs(cpus: u64) -> Quantities {
    Quantities::of(Milli::from_whole(cpus), Milli::from_whole(16))
}

impl<E> Scheduler for Twin<E> {
    type Command = ();
    type Effect = E;

    fn on_event(&mut self, now: Time, event: Happening<()>, out: &mut Out<E>) {
        match event {
            Happening::Subscribed { .. } => {
                let shapes = (1..=CORES).map(|cpus| Needs::new(needs(cpus)).shape(&format!("{cpus} cores"), 100));
                out.demand(&self.role, Demand { shapes: shapes.collect() });
            }
            Happening::Command(()) => self.began = Some(now + STEP),
            Happening::Tick => self.decide(now, out),
            Happening::Update(status) => self.heard(now, &status.task, status.state, out),
            _ => {}
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        if self.is_told { None } else { self.decision(self.step) }
    }
}

/// The name of a machine: in the order of their numbers.
pub fn agent_name(number: usize) -> String {
    format!("agent-{number:02}")
}

/// The scenario in virtual time.
pub fn in_virtual_time() -> Vec<Placed> {
    let resources = Resources::of(Milli::from_whole(CORES), Milli::from_whole(MIB));
    let machine = |number| Machine { name: agent_name(number), resources: resources.clone(), devices: Vec::new() };
    let machines: Vec<Machine> = (0..AGENTS).map(machine).collect();
    let mut market = Market::new(Config::default(), Duration::ZERO, &machines);
    let role = Role::new("twin").expect("a word is a role");
    let make: MakeTask = Box::new(|id, role, placement, job| Task {
        name: Arc::from(""),
        id,
        role: role.clone(),
        resources: placement.resources.clone(),
        claims: Vec::new(),
        priority: 0,
        kill_grace: Duration::ZERO,
        expected_run_time: None,
        executor: ExecutorRef::Supervisor,
        body: body(Some(job.duration)),
    });
    let (tell, told) = std::sync::mpsc::channel();
    let done: Done<Think> = Box::new(move |placed| {
        // Whoever asked waits for it below.
        drop(tell.send(placed));
        Think(Duration::ZERO)
    });
    let host = market.subscribe(info(&role), Twin::new(role, make, done));
    market.run_until(Time::ZERO + Duration::from_secs(1));
    market.command(market.now, host, ());
    market.run_until(market.now + Duration::from_secs(600));
    told.try_recv().unwrap_or_default()
}

/// What came out on real processes beside what came out in virtual time.
pub fn judge(live: &[Placed], simulated: &[Placed]) -> Vec<Row> {
    let pairs = live.iter().zip(simulated);
    let elsewhere = pairs.clone().filter(|(live, simulated)| live.agent != simulated.agent).count();
    let apart = pairs.map(|(live, simulated)| (live.wait_s - simulated.wait_s).abs()).fold(0.0, f64::max);
    let what = format!("{AGENTS} agents on real processes and in virtual time");
    let count = Row {
        id: "V15",
        what: format!("{what}: jobs that ran"),
        expected: JOBS.to_string(),
        got: format!("{} and {}", live.len(), simulated.len()),
        tolerance: "exact".to_owned(),
        verdict: Verdict::of(live.len() == JOBS && simulated.len() == JOBS),
    };
    let waited = simulated.iter().filter(|placed| placed.wait_s > 0.1).count();
    vec![
        count,
        Row::at_most("V15", format!("{what}: jobs on another machine"), 0.0, elsewhere as f64),
        Row::at_most("V15", format!("{what}: largest difference of a job's wait, s"), 1.0, apart),
        Row::at_least("V15", format!("{what}: jobs that had to wait"), 20.0, waited as f64),
    ]
}
