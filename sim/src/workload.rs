//! The frameworks of a simulation: one policy that runs jobs in several manners, and remembers what it was told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rialto_core::model::{
    Body, Demand, ExecutorRef, OfferMode, Prices, Reason, Refusal, Reject, Resources, Shape, Status, Task, TaskGroup,
    TaskId, TaskState, Time,
};
use rialto_core::scheduler::placement::{Needs, Packer, Placement, Strategy};
use rialto_core::scheduler::{Happening, Out, Scheduler};

use crate::plan::{FrameworkPlan, JobPlan, Manner};

/// What the policy was told, for the checkers.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    Update(Status),
    Rejected(Vec<TaskId>, Reject),
    Refused(Reject),
}

/// What its users ask of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Run the job of this number.
    Run(usize),
    /// Kill what runs of the job of this number.
    Kill(usize),
    /// End what would run for ever.
    Stop,
}

/// The policy.
#[derive(Debug)]
pub(crate) struct Player {
    plan: Arc<FrameworkPlan>,
    jobs: BTreeMap<usize, Job>,
    stopping: bool,
    suppressed: bool,
    /// When it has thought about its offers, if it is slow and has new ones.
    due: Option<Time>,
    /// Jobs for which it has declined offers once, if it hesitates.
    hesitated: BTreeSet<usize>,
    /// What it was told since the checkers looked last.
    pub(crate) seen: Vec<Seen>,
    /// What machines cost, as it was told.
    pub(crate) prices: Prices,
}

/// A job that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Job {
    attempt: u32,
    state: JobState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum JobState {
    Waiting,
    /// Members that have not ended, as bits; whether one of them was lost through no fault of its own.
    Launched {
        alive: u8,
        lost: bool,
    },
    Done,
}

const STOPPING: &str = "stopping";
/// How many times more than it needs a greedy framework asks for.
const GREED: u32 = 20;

impl Player {
    /// The policy, with what an earlier life has saved.
    pub(crate) fn new(plan: Arc<FrameworkPlan>, saved: &BTreeMap<String, Vec<u8>>) -> Self {
        let jobs = saved.iter().filter_map(|(key, value)| {
            let number = key.strip_prefix("job/")?.parse().ok()?;
            Some((number, Job::read(std::str::from_utf8(value).ok()?)?))
        });
        let jobs = jobs.collect();
        Self {
            plan,
            jobs,
            stopping: saved.contains_key(STOPPING),
            suppressed: false,
            due: None,
            hesitated: BTreeSet::new(),
            seen: Vec::new(),
            prices: Prices::default(),
        }
    }

    /// Whether nothing runs and nothing waits, apart from jobs for which `hopeless` holds.
    pub(crate) fn is_done(&self, hopeless: impl Fn(&JobPlan) -> bool) -> bool {
        let settled = |(number, job): (&usize, &Job)| match job.state {
            JobState::Done => true,
            JobState::Waiting => hopeless(&self.plan.jobs[*number]),
            JobState::Launched { .. } => false,
        };
        self.jobs.iter().all(settled)
    }

    /// What is not done, for people.
    pub(crate) fn describe(&self) -> String {
        let open = self.jobs.iter().filter(|(_, job)| job.state != JobState::Done);
        open.map(|(number, job)| {
            format!("job {number} ({}) attempt {}: {:?}", self.plan.jobs[*number], job.attempt, job.state)
        })
        .collect::<Vec<_>>()
        .join("; ")
    }

    /// The jobs that run.
    pub(crate) fn running(&self) -> Vec<usize> {
        let runs = |job: &Job| matches!(job.state, JobState::Launched { .. });
        self.jobs.iter().filter(|(_, job)| runs(job)).map(|(number, _)| *number).collect()
    }

    fn is_wanted(&self) -> bool {
        !self.stopping || self.plan.manner == Manner::Batch
    }

    fn order(&mut self, order: Order, out: &mut Out<()>) {
        match order {
            Order::Run(number) if self.is_wanted() && !self.jobs.contains_key(&number) => {
                self.set(number, Job { attempt: 0, state: JobState::Waiting }, out);
            }
            Order::Run(_) => {}
            Order::Kill(number) => self.kill(number, out),
            Order::Stop => self.stop(out),
        }
    }

    fn stop(&mut self, out: &mut Out<()>) {
        self.stopping = true;
        out.save(STOPPING, Vec::new());
        if self.plan.manner != Manner::Service {
            return;
        }
        let numbers: Vec<usize> = self.jobs.keys().copied().collect();
        for number in numbers {
            let job = self.jobs[&number].clone();
            match job.state {
                JobState::Waiting => self.set(number, Job { state: JobState::Done, ..job }, out),
                JobState::Launched { .. } => self.kill(number, out),
                JobState::Done => {}
            }
        }
    }

    fn kill(&self, number: usize, out: &mut Out<()>) {
        let Some(job) = self.jobs.get(&number) else { return };
        let JobState::Launched { alive, .. } = job.state else { return };
        for member in (0..8).filter(|member| alive & (1 << member) != 0) {
            out.kill(&task_id(number, job.attempt, member), None);
        }
    }

    fn set(&mut self, number: usize, job: Job, out: &mut Out<()>) {
        out.save(format!("job/{number}"), job.write().into_bytes());
        self.jobs.insert(number, job);
    }

    /// A member has ended, or was never launched.
    fn ended(&mut self, task: &TaskId, lost_now: bool, out: &mut Out<()>) {
        let Some((number, attempt, member)) = parse_id(task) else { return };
        let Some(job) = self.jobs.get(&number).filter(|job| job.attempt == attempt) else { return };
        let JobState::Launched { alive, lost } = job.state else { return };
        let (alive, lost) = (alive & !(1 << member), lost | lost_now);
        let again = lost || self.plan.manner == Manner::Service;
        let job = match alive {
            0 if again && self.is_wanted() => Job { attempt: attempt + 1, state: JobState::Waiting },
            0 => Job { attempt, state: JobState::Done },
            _ => Job { attempt, state: JobState::Launched { alive, lost } },
        };
        self.set(number, job, out);
    }

    /// Launches what waits on the offers that stand.
    fn place(&mut self, out: &mut Out<()>) {
        match self.plan.manner {
            Manner::Hoarder => return,
            Manner::Decliner => {
                let offers: Vec<_> = out.offers().map(|offer| offer.id).collect();
                return out.decline(&offers, self.refusal(offers.len() as u64));
            }
            Manner::Batch | Manner::Service if self.hesitates_now() => {
                let offers: Vec<_> = out.offers().map(|offer| offer.id).collect();
                if !offers.is_empty() {
                    self.hesitated.extend(self.waiting());
                    return out.decline(&offers, self.refusal(2));
                }
            }
            Manner::Batch | Manner::Service => {}
        }
        let mut packer = Packer::new(&self.plan.role, out.offers());
        let plan = self.plan.clone();
        for number in self.waiting() {
            let (job, wanted) = (self.jobs[&number].clone(), &plan.jobs[number]);
            let members: Vec<Needs> = vec![wanted.needs(); wanted.members];
            let places = if wanted.gang {
                packer.place_gang(&members, Strategy::Spread, |_| Some(0))
            } else {
                packer.place_group(&members, Strategy::Pack, |_| Some(0))
            };
            let Some(places) = places else { continue };
            let Some(first) = places.first() else { continue };
            let task = |(member, place): (usize, &Placement)| {
                wanted.task(&plan, task_id(number, job.attempt, member), &place.resources)
            };
            let tasks: Vec<Task> = places.iter().enumerate().map(task).collect();
            if wanted.gang {
                let agents = places.iter().map(|place| place.agent);
                packer.launch_gang(agents.zip(tasks.into_iter().map(TaskGroup::single)).collect());
            } else {
                packer.launch_group(first.agent, TaskGroup { tasks });
            }
            let alive = (1_u8 << wanted.members) - 1;
            self.set(number, Job { state: JobState::Launched { alive, lost: false }, ..job }, out);
        }
        let unused = packer.unused();
        packer.submit(out, &Refusal::default());
        let idle = self.waiting().is_empty();
        if self.plan.greedy && !idle {
            return;
        }
        if idle && !self.plan.declares {
            out.decline(&unused, self.refusal(5));
        } else if self.plan.mode == OfferMode::Exclusive {
            // What is locked and too small would keep others from it.
            out.decline(&unused, self.refusal(1));
        }
    }

    fn hesitates_now(&self) -> bool {
        self.plan.hesitates && self.waiting().iter().any(|number| !self.hesitated.contains(number))
    }

    fn refusal(&self, seconds: u64) -> Refusal {
        Refusal { pace: self.plan.pace, ..Refusal::of(Duration::from_secs(seconds)) }
    }

    fn waiting(&self) -> Vec<usize> {
        self.jobs.iter().filter(|(_, job)| job.state == JobState::Waiting).map(|(number, _)| *number).collect()
    }

    /// Tells the master what is waited for.
    fn ask(&mut self, changed: Changed, out: &mut Out<()>) {
        let waiting = self.waiting();
        if self.plan.declares {
            let count = if self.plan.greedy { GREED } else { 1 };
            let shape = |number: &usize| {
                let shape = self.plan.jobs[*number].shape(*number);
                Shape { count: shape.count * count, ..shape }
            };
            out.demand(&self.plan.role, Demand { shapes: waiting.iter().map(shape).collect() });
        }
        // Who suppresses while launches are unanswered may have to revive for their rejection, and loses the offers in between.
        let idle = waiting.is_empty() && self.running().is_empty();
        if self.plan.suppresses && idle != self.suppressed {
            self.suppressed = idle;
            if self.suppressed { out.suppress(&self.plan.role) } else { out.revive(&self.plan.role) }
        } else if changed == Changed::Yes && !waiting.is_empty() && !self.plan.declares {
            out.revive(&self.plan.role);
        }
    }
}

impl Scheduler for Player {
    type Command = Order;
    type Effect = ();

    fn next_deadline(&self) -> Option<Time> {
        self.due
    }

    fn on_event(&mut self, now: Time, event: Happening<Order>, out: &mut Out<()>) {
        let subscribed = matches!(event, Happening::Subscribed { .. });
        let has_thought = matches!(event, Happening::Tick);
        let before = self.waiting();
        match event {
            Happening::Update(status) => {
                if status.state.is_terminal() {
                    let lost =
                        status.state != TaskState::Finished && status.reason.is_some_and(Reason::is_infrastructure);
                    self.ended(&status.task, lost, out);
                }
                self.seen.push(Seen::Update(status));
            }
            Happening::Rejected { tasks, reject } => {
                tasks.iter().for_each(|task| self.ended(task, true, out));
                self.seen.push(Seen::Rejected(tasks, reject));
            }
            Happening::Command(order) => self.order(order, out),
            Happening::Refused(reject) => self.seen.push(Seen::Refused(reject)),
            Happening::Tick => self.due = None,
            Happening::Subscribed { .. } => self.prices = out.prices().clone(),
            Happening::Prices(_) => {
                self.prices = out.prices().clone();
                return;
            }
            Happening::Offers => {}
            _ => return,
        }
        match self.plan.slow.filter(|_| !has_thought) {
            Some(slow) => self.due = self.due.or(Some(now + slow)),
            None => self.place(out),
        }
        let changed = if subscribed || self.waiting() != before { Changed::Yes } else { Changed::No };
        if changed == Changed::Yes || self.plan.suppresses {
            self.ask(changed, out);
        }
    }
}

/// Whether what waits has changed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Changed {
    Yes,
    No,
}

impl fmt::Display for JobPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.gang { "gang" } else { "group" };
        write!(f, "{kind} of {}, each {}", self.members, self.resources)?;
        self.claims.iter().try_for_each(|claim| write!(f, " claims {claim}"))?;
        write!(f, ", priority {}", self.priority)
    }
}

impl JobPlan {
    fn needs(&self) -> Needs {
        Needs { claims: self.claims.clone(), ..Needs::new(self.resources.clone()) }
    }

    fn shape(&self, number: usize) -> Shape {
        if self.gang {
            let count = u32::try_from(self.members).expect("a job is small");
            return self.needs().shape(&format!("job {number}"), count);
        }
        // A group needs one machine for all of its members.
        let mut together = self.needs();
        for _ in 1..self.members {
            together.resources.add(&self.resources);
        }
        Shape { priority: self.priority, ..together.shape(&format!("job {number}"), 1) }
    }

    fn task(&self, plan: &FrameworkPlan, id: TaskId, resources: &Resources) -> Task {
        Task {
            name: Arc::from(id.as_str()),
            id,
            role: plan.role.clone(),
            resources: resources.clone(),
            claims: self.claims.clone(),
            priority: self.priority,
            kill_grace: self.grace,
            expected_run_time: None,
            executor: ExecutorRef::Supervisor,
            body: Behaviour { run: self.run, exit: self.exit }.write(),
        }
    }
}

/// What a task's process does; travels as the task's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Behaviour {
    /// How long it runs; none for ever.
    pub(crate) run: Option<Duration>,
    pub(crate) exit: u8,
}

impl Behaviour {
    fn write(self) -> Body {
        let micros = self.run.map_or(u64::MAX, |run| u64::try_from(run.as_micros()).unwrap_or(u64::MAX - 1));
        let mut bytes = micros.to_le_bytes().to_vec();
        bytes.push(self.exit);
        Body::new(bytes)
    }

    pub(crate) fn read(body: &Body) -> Option<Self> {
        let (micros, exit) = body.as_bytes().split_first_chunk::<8>()?;
        let micros = u64::from_le_bytes(*micros);
        Some(Self { run: (micros != u64::MAX).then(|| Duration::from_micros(micros)), exit: *exit.first()? })
    }
}

impl Job {
    fn write(&self) -> String {
        match self.state {
            JobState::Waiting => format!("{} waiting", self.attempt),
            JobState::Launched { alive, lost } => format!("{} launched {alive} {lost}", self.attempt),
            JobState::Done => format!("{} done", self.attempt),
        }
    }

    fn read(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split(' ').collect();
        let attempt = words.first()?.parse().ok()?;
        let state = match words.get(1..)? {
            ["waiting"] => JobState::Waiting,
            ["launched", alive, lost] => JobState::Launched { alive: alive.parse().ok()?, lost: lost.parse().ok()? },
            ["done"] => JobState::Done,
            _ => return None,
        };
        Some(Self { attempt, state })
    }
}

fn task_id(number: usize, attempt: u32, member: usize) -> TaskId {
    TaskId::new(&format!("j{number}.{attempt}.{member}")).expect("numbers and dots are an id")
}

fn parse_id(task: &TaskId) -> Option<(usize, u32, usize)> {
    let mut parts = task.as_str().strip_prefix('j')?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}
