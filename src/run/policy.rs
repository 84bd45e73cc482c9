//! The policy of `rialto run`: so many instances of one command, each run to its end once.

use std::collections::BTreeMap;
use std::sync::Arc;

use rialto_sdk::core::model::{
    Demand, Exit, FrameworkId, Reason, Refusal, Role, Status, Task, TaskId, TaskState, Time,
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
    /// An instance was given its place.
    Launched {
        /// Its task.
        task: TaskId,
        /// Where.
        agent: Arc<str>,
    },
    /// A task's state changed.
    Update(Status),
    /// A launch was refused; the instance waits on, or is given up if there is no use in waiting.
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
    /// One ended without its command having run to an end of its own.
    Failed(TaskState),
    /// The user ended it.
    Cancelled,
}

/// Runs a [`Job`].
pub struct Policy {
    job: Job,
    instances: Vec<Instance>,
    /// Live tasks, with their instance.
    tasks: BTreeMap<TaskId, usize>,
    cancelled: bool,
    failure: Option<Summary>,
    told_waiting: u32,
}

#[derive(Clone, Copy, Debug)]
struct Instance {
    state: State,
    starts: u32,
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
        let shapes = (waiting > 0).then(|| self.job.needs.shape(&self.job.id, waiting));
        out.demand(&self.job.role, Demand { shapes: shapes.into_iter().collect() });
        if waiting != self.told_waiting {
            self.told_waiting = waiting;
            out.effect(Effect::Waiting(waiting));
        }
    }

    fn place(&mut self, out: &mut Out<Effect>) {
        let mut packer = Packer::new(&self.job.role, out.offers());
        let mut launched = Vec::new();
        for at in 0..self.instances.len() {
            if self.instances[at].state != State::Waiting {
                continue;
            }
            let Some(placement) = packer.place(&self.job.needs, Strategy::Pack) else { break };
            self.instances[at].state = State::Launched;
            self.instances[at].starts += 1;
            let id = self.task_id(at);
            self.tasks.insert(id.clone(), at);
            launched.push(Effect::Launched { task: id.clone(), agent: placement.agent_name.clone() });
            packer.launch(&placement, (self.job.build)(id, &placement));
        }
        packer.submit(out, &Refusal::default());
        for effect in launched {
            out.effect(effect);
        }
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
        let Some(at) = self.tasks.get(&status.task).copied() else { return };
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
            let failure = status.exit.map_or(Summary::Failed(status.state), Summary::Exit);
            self.failure.get_or_insert(failure);
        }
        out.effect(Effect::Update(status));
        self.finish(out);
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
                    let Some(at) = self.tasks.remove(&task) else { continue };
                    self.instances[at].state = if self.cancelled { State::Done } else { State::Waiting };
                    if !reject.is_transient() {
                        self.instances[at].state = State::Done;
                        self.failure.get_or_insert(Summary::Failed(TaskState::Error));
                    }
                    out.effect(Effect::Refused { task, why: reject.to_string() });
                }
                self.declare(out);
                self.finish(out);
            }
            Happening::Command(Command::Cancel) => self.cancel(out),
            Happening::Disconnected
            | Happening::Rescinded(_)
            | Happening::AgentLost(_)
            | Happening::Message { .. }
            | Happening::Tick
            | Happening::Refused(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
