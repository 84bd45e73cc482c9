//! The policy of `rialto run`: so many instances of one command, each run to its end once.

use std::collections::BTreeMap;
use std::sync::Arc;

use rialto_sdk::core::model::{
    Demand, Exit, FrameworkId, Reason, Refusal, Reject, Role, Shape, Status, Task, TaskId, TaskState, Time,
};
use rialto_sdk::core::scheduler::placement::{Needs, Packer, Placement, Strategy};
use rialto_sdk::core::scheduler::{Happening, Out, Scheduler};

/// How often an instance is started anew because the cluster failed it; its own failures end it.
const INFRASTRUCTURE_RETRIES_MAX: u32 = 5;

/// Builds the task of an id, to run where it was placed.
pub type Build = Box<dyn Fn(TaskId, &Placement) -> Task + Send>;

/// What is to be run.
pub struct Job {
    /// The first part of every task's id.
    pub id: String,
    /// The role to charge.
    pub role: Role,
    /// What each instance needs.
    pub needs: Needs,
    /// How many instances.
    pub instances: u32,
    /// Their priority.
    pub priority: i32,
    /// Builds their tasks.
    pub build: Build,
}

/// What the user asks meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// End everything.
    Cancel,
}

/// What the user is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The framework's id.
    Subscribed(FrameworkId),
    /// So many instances wait for an offer that fits.
    Waiting(u32),
    /// An instance has come to its agent; said before the first update of its task.
    Launched {
        /// Its task.
        task: TaskId,
        /// Where.
        agent: Arc<str>,
    },
    /// A task's state changed.
    Update(Status),
    /// Others were faster; the instance waits on.
    Outrun {
        /// The task that did not start.
        task: TaskId,
        /// Why.
        why: String,
    },
    /// A launch was refused, and there is no use in trying again.
    Refused {
        /// The task that did not start.
        task: TaskId,
        /// Why.
        why: String,
    },
    /// An instance is started anew, because of this.
    Again {
        /// Its task that ended.
        task: TaskId,
        /// Why.
        why: String,
    },
    /// Every instance has ended.
    Done(Summary),
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Summary {
    /// Every instance with status 0.
    Success,
    /// The first that did not, like this.
    Exit(Exit),
    /// The command could not be executed.
    NotStarted(NotStarted),
    /// One ended without its command having run to an end of its own.
    Failed(TaskState),
    /// The user ended it.
    Cancelled,
}

/// Why a command was not executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotStarted {
    /// There is no such file.
    NotFound,
    /// The file may not be executed.
    NotExecutable,
}

impl NotStarted {
    /// What kept the command from starting, if it was the command itself.
    fn of(status: &Status) -> Option<Self> {
        // The message ends with the system's words; what is before them is the user's, which may be anything.
        let words = match status.reason {
            Some(Reason::CommandNotStarted) if status.message.starts_with("command ") => {
                status.message.rsplit(": ").next()?
            }
            _ => return None,
        };
        match words {
            words if words.starts_with("No such file") => Some(Self::NotFound),
            words if words.starts_with("Permission denied") => Some(Self::NotExecutable),
            _ => None,
        }
    }
}

/// Runs a [`Job`].
pub struct Policy {
    job: Job,
    instances: Vec<Instance>,
    /// Live tasks.
    tasks: BTreeMap<TaskId, Launched>,
    cancelled: bool,
    failure: Option<Summary>,
    told_waiting: u32,
}

#[derive(Clone, Copy, Debug)]
struct Instance {
    state: State,
    starts: u32,
}

#[derive(Clone, Debug)]
struct Launched {
    /// The instance.
    at: usize,
    /// Where; taken when the user is told, once the launch is known to have won.
    untold: Option<Arc<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Launched,
    Done,
}

impl Policy {
    /// Nothing has been launched yet.
    pub fn new(job: Job) -> Self {
        let fresh = Instance { state: State::Waiting, starts: 0 };
        let instances = vec![fresh; job.instances as usize];
        Self { job, instances, tasks: BTreeMap::new(), cancelled: false, failure: None, told_waiting: 0 }
    }

    fn waiting(&self) -> u32 {
        let waiting = self.instances.iter().filter(|instance| instance.state == State::Waiting);
        u32::try_from(waiting.count()).expect("no more than the job's instances, which are a u32")
    }

    /// Says what waits, to the master and to the user.
    fn declare(&mut self, out: &mut Out<Effect>) {
        let waiting = self.waiting();
        let shape = || Shape { priority: self.job.priority, ..self.job.needs.shape(&self.job.id, waiting) };
        let shapes = (waiting > 0).then(shape);
        out.demand(&self.job.role, Demand { shapes: shapes.into_iter().collect() });
        if waiting != self.told_waiting {
            self.told_waiting = waiting;
            out.effect(Effect::Waiting(waiting));
        }
    }

    fn place(&mut self, out: &mut Out<Effect>) {
        let mut packer = Packer::new(&self.job.role, out.offers());
        for at in 0..self.instances.len() {
            if self.instances[at].state != State::Waiting {
                continue;
            }
            let Some(placement) = packer.place(&self.job.needs, Strategy::Pack) else { break };
            self.instances[at].state = State::Launched;
            self.instances[at].starts += 1;
            let id = self.task_id(at);
            self.tasks.insert(id.clone(), Launched { at, untold: Some(placement.agent_name.clone()) });
            packer.launch(&placement, (self.job.build)(id, &placement));
        }
        packer.submit(out, &Refusal::default());
        self.declare(out);
    }

    /// `job`, `job.2`, and for a later start `job.2-b`.
    fn task_id(&self, at: usize) -> TaskId {
        let mut id = self.job.id.clone();
        if self.instances.len() > 1 {
            id.push_str(&format!(".{}", at + 1));
        }
        if self.instances[at].starts > 1 {
            id.push_str(&format!("-{}", self.instances[at].starts));
        }
        TaskId::new(&id).expect("the job's id is a short id, and numbers keep it one")
    }

    fn on_update(&mut self, status: Status, out: &mut Out<Effect>) {
        let Some(launched) = self.tasks.get_mut(&status.task) else { return };
        let at = launched.at;
        if let Some(agent) = launched.untold.take() {
            out.effect(Effect::Launched { task: status.task.clone(), agent });
        }
        if !status.state.is_terminal() {
            return out.effect(Effect::Update(status));
        }
        self.tasks.remove(&status.task);
        let clusters_fault = status.reason.is_some_and(Reason::is_infrastructure);
        let again = clusters_fault && !self.cancelled && self.instances[at].starts <= INFRASTRUCTURE_RETRIES_MAX;
        if again {
            let why = format!("{}: {}", status.reason.map_or("", Reason::as_str), status.message);
            self.instances[at].state = State::Waiting;
            out.effect(Effect::Again { task: status.task, why });
            return self.place(out);
        }
        self.instances[at].state = State::Done;
        if status.state != TaskState::Finished {
            let not_started = NotStarted::of(&status).map(Summary::NotStarted);
            let failure =
                not_started.or_else(|| status.exit.map(Summary::Exit)).unwrap_or(Summary::Failed(status.state));
            self.failure.get_or_insert(failure);
        }
        out.effect(Effect::Update(status));
        self.finish(out);
    }

    fn on_reject(&mut self, task: TaskId, reject: &Reject, out: &mut Out<Effect>) {
        let Some(Launched { at, .. }) = self.tasks.remove(&task) else { return };
        let why = reject.to_string();
        if reject.is_transient() {
            self.instances[at].state = if self.cancelled { State::Done } else { State::Waiting };
            return out.effect(Effect::Outrun { task, why });
        }
        self.instances[at].state = State::Done;
        self.failure.get_or_insert(Summary::Failed(TaskState::Error));
        out.effect(Effect::Refused { task, why });
    }

    /// Says how it ended, once everything has.
    fn finish(&self, out: &mut Out<Effect>) {
        let ended =
            self.tasks.is_empty() && (self.cancelled || self.instances.iter().all(|one| one.state == State::Done));
        if !ended {
            return;
        }
        let summary = if self.cancelled { Summary::Cancelled } else { self.failure.unwrap_or(Summary::Success) };
        out.effect(Effect::Done(summary));
        out.teardown();
    }

    fn cancel(&mut self, out: &mut Out<Effect>) {
        self.cancelled = true;
        for instance in self.instances.iter_mut().filter(|instance| instance.state == State::Waiting) {
            instance.state = State::Done;
        }
        for task in self.tasks.keys() {
            out.kill(task, None);
        }
        self.declare(out);
        self.finish(out);
    }
}

impl Scheduler for Policy {
    type Command = Command;
    type Effect = Effect;

    fn on_event(&mut self, _now: Time, event: Happening<Command>, out: &mut Out<Effect>) {
        match event {
            Happening::Subscribed { framework, .. } => {
                out.effect(Effect::Subscribed(framework));
                self.declare(out);
            }
            Happening::Offers => self.place(out),
            Happening::Update(status) => self.on_update(status, out),
            Happening::Rejected { tasks, reject } => {
                for task in tasks {
                    self.on_reject(task, &reject, out);
                }
                self.declare(out);
                self.finish(out);
            }
            Happening::Command(Command::Cancel) => self.cancel(out),
            Happening::Disconnected
            | Happening::Rescinded(_)
            | Happening::AgentLost(_)
            | Happening::AgentLeaves { .. }
            | Happening::Prices(_)
            | Happening::Message { .. }
            | Happening::Tick
            | Happening::Refused(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
