//! The analytics policy: which partition runs when, and what to do when one is lost.
//!
//! Each partition waits until what it reads is there, is placed on an offer as a task of its own, and is done when its command has
//! succeeded *and* its output has been reported; the two come by different ways, in either order. A command that fails costs one of
//! the stage's retries; a task that the cluster lost does not.

mod attempt;
mod cheap;
mod gang;
mod ready;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rialto_sdk::blobs::{Digest, Grant, Report, Token, TokenKey};
use rialto_sdk::core::model::{Demand, FrameworkId, Prices, Refusal, Reject, Role, Status, TaskId, TaskState, Time};
use rialto_sdk::core::scheduler::placement::{Packer, Strategy};
use rialto_sdk::core::scheduler::{Happening, Out, Scheduler};

use self::attempt::{Attempt, Waiting, name_of};
use self::cheap::Places;
use self::ready::Ready;
use crate::plan::Plan;
use crate::spec::Start;

/// How long after a task's end its report may come.
const REPORT_GRACE: Duration = Duration::from_secs(10);
/// How long an unreachable task is waited for before its partition is started elsewhere.
const UNREACHABLE_GRACE: Duration = Duration::from_secs(30);
/// How long nothing may run before the master is asked why, and asked again.
const IDLE_NOTICE: Duration = Duration::from_secs(2);
/// How often the cluster may lose one partition before the job gives up.
const MAX_LOSSES: u32 = 20;

/// What the policy is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// The role that is charged.
    pub role: Role,
    /// Where tasks reach the store.
    pub store_url: Arc<str>,
    /// What the tasks' tokens are derived from.
    pub tokens: TokenKey,
    /// How much one task may upload, in bytes.
    pub upload_limit: u64,
}

/// What its user asks of it.
#[derive(Clone, Debug)]
pub enum Command {
    /// A task has uploaded its output.
    Reported(Report),
    /// A stage can never be placed on this cluster, says the master, because of this.
    NeverFits(String),
    /// Stop: kill what runs.
    Interrupt,
}

/// What it does to the outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// That token is good for that from now on. Comes before the launch that needs it.
    Grant(Token, Grant),
    /// That token is good for nothing from now on.
    Revoke(Token),
    /// How far a stage is.
    Progress(Progress),
    /// Something that people want to know.
    Note(String),
    /// Nothing runs and nothing finds a place: ask the master whether anything ever will.
    Waiting(FrameworkId),
    /// The job is over; nothing follows.
    Ended(Result<Vec<Digest>, JobFailure>),
}

/// How far a stage is, in partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Which stage.
    pub stage: Arc<str>,
    /// All of them.
    pub total: u32,
    /// Done.
    pub done: u32,
    /// Placed on an agent and not done.
    pub running: u32,
}

/// Why a job ended without a result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobFailure {
    /// A partition's command failed, and so did its retries.
    #[error("{partition}: {cause}{}", after(*.retries))]
    Failed {
        /// Stage and partition, for people.
        partition: String,
        /// How it ended, and where to look.
        cause: String,
        /// How often it was tried again.
        retries: u32,
    },
    /// The cluster lost a partition over and over.
    #[error("{partition}: lost by the cluster {MAX_LOSSES} times, at last: {cause}")]
    Lost {
        /// Stage and partition, for people.
        partition: String,
        /// How it was lost last.
        cause: String,
    },
    /// The master refuses to launch it, now and ever.
    #[error("{partition}: the master refuses to launch it: {reject}")]
    Rejected {
        /// Stage and partition, for people.
        partition: String,
        /// Why.
        reject: Reject,
    },
    /// The master refuses the framework.
    #[error("the master ended the job: {0}")]
    Refused(Reject),
    /// A stage can never be placed on this cluster.
    #[error("never fits: {0}")]
    NeverFits(String),
    /// Its user stopped it.
    #[error("interrupted")]
    Interrupted,
}

fn after(retries: u32) -> String {
    match retries {
        0 => String::new(),
        1 => " (after 1 retry)".to_owned(),
        more => format!(" (after {more} retries)"),
    }
}

/// The state of one job.
#[derive(Debug)]
pub struct Policy {
    plan: Plan,
    config: Config,
    partitions: Vec<Vec<Partition>>,
    ready: Ready,
    /// Where the partitions of each stage may be started.
    places: Vec<Places>,
    attempts: BTreeMap<TaskId, Attempt>,
    announced: Vec<Option<(u32, u32)>>,
    framework: Option<FrameworkId>,
    /// When the master is asked why nothing runs.
    idle_notice: Option<Time>,
    /// Whether people were told already.
    told_idle: bool,
    /// Whether they were told what is held back.
    told_held: bool,
    ended: bool,
}

/// One partition of a stage.
#[derive(Clone, Debug, Default)]
struct Partition {
    /// The digest of its output, once it is done.
    output: Option<Digest>,
    /// How often its command has failed.
    failures: u32,
    /// How often the cluster has lost it.
    losses: u32,
    /// How often it was launched.
    launches: u32,
}

impl Policy {
    /// A policy that runs `plan`.
    pub fn new(plan: Plan, config: Config) -> Self {
        let partitions = plan.partitions.iter().map(|count| vec![Partition::default(); *count as usize]).collect();
        let ready = Ready::new(&plan);
        let announced = vec![None; plan.partitions.len()];
        let places = plan.job.stages.iter().map(|stage| Places::of(stage, &Prices::default())).collect();
        let attempts = BTreeMap::new();
        Self {
            plan,
            config,
            partitions,
            ready,
            places,
            attempts,
            announced,
            framework: None,
            idle_notice: None,
            told_idle: false,
            told_held: false,
            ended: false,
        }
    }

    /// Whether the job is over.
    pub const fn is_ended(&self) -> bool {
        self.ended
    }

    fn launch_ready(&mut self, now: Time, out: &mut Out<Effect>) {
        let mut packer = Packer::new(&self.config.role, out.offers());
        let mut grants = Vec::new();
        for stage in self.startable() {
            let needs = self.needs(stage);
            if self.plan.job.stages[stage].start == Start::Together {
                self.launch_gang(stage, &needs, &mut packer, &mut grants);
                continue;
            }
            while let Some(partition) = self.ready.first(stage) {
                let Some(placement) = packer.place(&needs, Strategy::Pack) else { break };
                let task = self.start(stage, partition, &placement, &mut grants);
                packer.launch(&placement, task);
                self.ready.remove(stage, partition);
            }
        }
        for (token, grant) in grants {
            out.effect(Effect::Grant(token, grant));
        }
        packer.submit(out, &Refusal::default());
        self.declare(now, out);
    }

    /// The stages with partitions that could start, those that are held back left out.
    fn startable(&self) -> Vec<usize> {
        self.ready.stages().into_iter().filter(|stage| !self.is_held(*stage)).collect()
    }

    /// Says what is waited for, and watches for waiting in vain.
    fn declare(&mut self, now: Time, out: &mut Out<Effect>) {
        let mut demand = Demand::default();
        for stage in self.startable() {
            demand.shapes.push(self.needs(stage).shape(&self.plan.job.stages[stage].name, self.ready.count(stage)));
        }
        let waits_in_vain = self.attempts.is_empty() && !self.ready.stages().is_empty();
        self.idle_notice = if waits_in_vain { self.idle_notice.or(Some(now + IDLE_NOTICE)) } else { None };
        out.demand(&self.config.role, demand);
    }

    fn on_update(&mut self, now: Time, status: &Status, out: &mut Out<Effect>) {
        let Some(attempt) = self.attempts.get_mut(&status.task) else { return };
        match status.state {
            TaskState::Finished => {
                attempt.waiting = Some((now + REPORT_GRACE, Waiting::ForReport));
                self.complete(&status.task, out);
            }
            TaskState::Unreachable => attempt.waiting = Some((now + UNREACHABLE_GRACE, Waiting::ForAgent)),
            state if state.is_terminal() => self.on_end(status, out),
            _ => attempt.waiting = None,
        }
    }

    /// The command has ended without success, or never ran.
    fn on_end(&mut self, status: &Status, out: &mut Out<Effect>) {
        let lost = match status.reason {
            Some(reason) => reason.is_infrastructure(),
            None => matches!(
                status.state,
                TaskState::Lost | TaskState::Dropped | TaskState::Gone | TaskState::GoneByOperator
            ),
        };
        let cause = attempt::cause(status);
        if lost { self.lose(&status.task, &cause, out) } else { self.fail(&status.task, &cause, out) }
    }

    fn on_report(&mut self, report: Report, out: &mut Out<Effect>) {
        let Ok(task) = TaskId::new(&report.task) else { return };
        let Some(attempt) = self.attempts.get_mut(&task) else { return };
        attempt.output = report.outputs.into_iter().next().map(|output| output.digest);
        self.complete(&task, out);
    }

    /// The partition is done if its command has succeeded and its output is here.
    fn complete(&mut self, task: &TaskId, out: &mut Out<Effect>) {
        let Some(attempt) = self.attempts.get(task) else { return };
        let (Some(output), Some((_, Waiting::ForReport))) = (attempt.output, attempt.waiting) else { return };
        let (stage, partition) = (attempt.stage, attempt.partition);
        self.retire(task, out);
        self.partitions[stage][partition as usize].output = Some(output);
        self.ready.after(&self.plan, stage, partition, |stage, partition| {
            self.partitions[stage][partition as usize].output.is_some()
        });
        if self.partitions.iter().flatten().all(|partition| partition.output.is_some()) {
            let result = &self.partitions[self.plan.job.result_stage];
            let digests = result.iter().filter_map(|partition| partition.output).collect();
            self.end(Ok(digests), out);
        }
    }

    /// The command failed: one retry less.
    fn fail(&mut self, task: &TaskId, cause: &str, out: &mut Out<Effect>) {
        let Some(attempt) = self.retire(task, out) else { return };
        let name = name_of(&self.plan, attempt.stage, attempt.partition);
        let retries = self.plan.job.stages[attempt.stage].retries;
        let partition = &mut self.partitions[attempt.stage][attempt.partition as usize];
        partition.failures += 1;
        let failures = partition.failures;
        let cause = format!("{cause} on agent {}; its output: rialto logs {task}", attempt.agent_name);
        if failures > retries {
            self.end(Err(JobFailure::Failed { partition: name, cause, retries }), out);
            return;
        }
        out.effect(Effect::Note(format!("{name}: {cause}; trying again ({failures} of {retries})")));
        self.ready.insert(attempt.stage, attempt.partition);
        self.recall_gang(attempt.stage, out);
    }

    /// The cluster lost it: it is started again, at no cost.
    fn lose(&mut self, task: &TaskId, cause: &str, out: &mut Out<Effect>) {
        let Some(attempt) = self.retire(task, out) else { return };
        let name = name_of(&self.plan, attempt.stage, attempt.partition);
        let partition = &mut self.partitions[attempt.stage][attempt.partition as usize];
        partition.losses += 1;
        if partition.losses >= MAX_LOSSES {
            self.end(Err(JobFailure::Lost { partition: name, cause: cause.to_owned() }), out);
            return;
        }
        out.effect(Effect::Note(format!("{name}: lost on agent {}: {cause}; starting it again", attempt.agent_name)));
        self.ready.insert(attempt.stage, attempt.partition);
        self.recall_gang(attempt.stage, out);
    }

    fn on_rejected(&mut self, tasks: &[TaskId], reject: &Reject, out: &mut Out<Effect>) {
        for task in tasks {
            let Some(attempt) = self.retire(task, out) else { continue };
            if reject.is_transient() {
                self.ready.insert(attempt.stage, attempt.partition);
                continue;
            }
            let partition = name_of(&self.plan, attempt.stage, attempt.partition);
            self.end(Err(JobFailure::Rejected { partition, reject: reject.clone() }), out);
            return;
        }
    }

    fn on_tick(&mut self, now: Time, out: &mut Out<Effect>) {
        let due: Vec<(TaskId, Waiting)> =
            self.attempts.iter().filter_map(|(id, attempt)| attempt.due(now, id)).collect();
        for (task, waiting) in due {
            match waiting {
                Waiting::ForReport => self.lose(&task, "it ended well, but its output did not arrive", out),
                Waiting::ForAgent => {
                    out.kill(&task, None);
                    self.lose(&task, "its agent can't be reached", out);
                }
            }
        }
        if self.idle_notice.is_some_and(|at| at <= now) {
            self.on_idle(now, out);
        }
    }

    fn on_idle(&mut self, now: Time, out: &mut Out<Effect>) {
        self.idle_notice = Some(now + 15 * IDLE_NOTICE);
        let Some(framework) = self.framework else { return };
        if self.startable().is_empty() {
            return self.tell_held(out);
        }
        if !std::mem::replace(&mut self.told_idle, true) {
            let text = format!(
                "waiting: no agent has room for a task of this job now; rialto why {framework} says what is missing"
            );
            out.effect(Effect::Note(text));
        }
        out.effect(Effect::Waiting(framework));
    }

    /// Forgets a task, whatever became of it.
    fn retire(&mut self, task: &TaskId, out: &mut Out<Effect>) -> Option<Attempt> {
        let attempt = self.attempts.remove(task)?;
        out.effect(Effect::Revoke(self.config.tokens.token(task.as_str())));
        Some(attempt)
    }

    /// Ends the job. Removing the framework kills what still runs.
    fn end(&mut self, outcome: Result<Vec<Digest>, JobFailure>, out: &mut Out<Effect>) {
        if self.ended {
            return;
        }
        self.announce(out);
        self.ended = true;
        out.effect(Effect::Ended(outcome));
        out.teardown();
    }

    /// Tells the progress of the stages that have moved.
    fn announce(&mut self, out: &mut Out<Effect>) {
        for (at, partitions) in self.partitions.iter().enumerate() {
            let count = |is: &dyn Fn(&Partition) -> bool| partitions.iter().filter(|partition| is(partition)).count();
            let done = u32::try_from(count(&|partition| partition.output.is_some())).unwrap_or(u32::MAX);
            let running = self.attempts.values().filter(|attempt| attempt.stage == at).count();
            let running = u32::try_from(running).unwrap_or(u32::MAX);
            if self.announced[at].replace((done, running)) != Some((done, running)) {
                let (stage, total) = (self.plan.job.stages[at].name.clone(), self.plan.partitions[at]);
                out.effect(Effect::Progress(Progress { stage, total, done, running }));
            }
        }
    }
}

impl Scheduler for Policy {
    type Command = Command;
    type Effect = Effect;

    fn on_event(&mut self, now: Time, event: Happening<Command>, out: &mut Out<Effect>) {
        if self.ended {
            return;
        }
        match event {
            Happening::Subscribed { framework, .. } => self.framework = Some(framework),
            Happening::Prices(_) | Happening::Disconnected => self.heed_prices(out),
            Happening::Update(status) => self.on_update(now, &status, out),
            Happening::Rejected { tasks, reject } => self.on_rejected(&tasks, &reject, out),
            Happening::Command(Command::Reported(report)) => self.on_report(report, out),
            Happening::Command(Command::NeverFits(reason)) => self.end(Err(JobFailure::NeverFits(reason)), out),
            Happening::Command(Command::Interrupt) => self.end(Err(JobFailure::Interrupted), out),
            Happening::Refused(reject) => self.end(Err(JobFailure::Refused(reject)), out),
            Happening::Tick => self.on_tick(now, out),
            Happening::Offers
            | Happening::Rescinded(_)
            | Happening::AgentLost(_)
            | Happening::AgentLeaves { .. }
            | Happening::Message { .. } => {}
        }
        if !self.ended {
            self.launch_ready(now, out);
            self.announce(out);
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        let waiting = self.attempts.values().filter_map(|attempt| attempt.waiting.map(|(until, _)| until));
        waiting.chain(self.idle_notice).min().filter(|_| !self.ended)
    }
}

#[cfg(test)]
mod tests;
