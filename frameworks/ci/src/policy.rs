//! What a pipeline does: which job may start, where it runs, and what its end means. A pure state machine.
//!
//! A job is *pending* until all that it waits for has settled; then it is skipped, waits for a user (*manual*), or is *ready*: declared as
//! a demand of its own under its name, so that `rialto why` can say what is missing. A ready job is *launched* on the first machine
//! that fits. When its task has ended, its artefacts are waited for (*ending*), and then it is *done*, or ready once more.
//!
//! Files go through the [blob store](rialto_sdk::blobs): the policy says which task may fetch and upload what ([`Effect::Grant`]), and is
//! told what a task has uploaded ([`Command::Uploaded`]). Nothing here reads or writes.

mod effect;
mod ended;
mod gate;
mod run;
mod summary;
mod task;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rialto_sdk::blobs::Output;
use rialto_sdk::model::{ClaimError, Demand, Refusal, Reject, Role, Source, Status, TaskId, TaskState, Time};
use rialto_sdk::scheduler::placement::{Packer, Placement, Strategy};
use rialto_sdk::scheduler::{Happening, Out, Scheduler};

use self::ended::End;
use self::gate::Verdict;
use self::run::{Attempt, JobRun, Ready, State};
use crate::spec::{Failure, Pipeline, When, successors};

pub use self::effect::{Command, Contact, Effect};
pub use self::ended::{Blame, Fault};
pub use self::run::Outcome;
pub use self::summary::{JobState, JobSummary, PipelineResult, Summary};
pub use self::task::{Io, script_bytes};

/// How often a job is launched anew because the cluster failed it, without a retry of the user's being used.
pub const LOSSES_MAX: u32 = 5;
/// How often in a row a job is launched anew because others were quicker, before it counts as failed.
pub const CONFLICTS_MAX: u32 = 100;
/// How long a job waits for resources before that is told for the first time; the next times come after twice as long each.
pub const FIRST_NOTICE: Duration = Duration::from_secs(5);
/// The longest time between two such notices.
pub const NOTICE_MAX: Duration = Duration::from_secs(600);
/// How long a job's agent may be away before the job is given up there and launched elsewhere.
pub const UNREACHABLE_MAX: Duration = Duration::from_secs(300);
/// How long the report of a task's artefacts may come after its end: they travel by different ways.
pub const REPORT_GRACE: Duration = Duration::from_secs(10);

/// What a run of a pipeline is told at its start.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The role that is charged.
    pub role: Role,
    /// The manual jobs that are started as soon as they may, by index.
    pub play: BTreeSet<usize>,
    /// Where the tasks get and put files.
    pub io: Io,
}

/// One run of one pipeline.
#[derive(Debug)]
pub struct CiPolicy {
    pipeline: Arc<Pipeline>,
    setup: Setup,
    runs: Vec<JobRun>,
    successors: BTreeMap<usize, Vec<usize>>,
    /// Jobs whose turn may have come.
    look: BTreeSet<usize>,
    /// The tasks that stand for a job now. Whatever happens to others is past.
    tasks: BTreeMap<TaskId, usize>,
    declared: Option<Demand>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not subscribed yet.
    Waiting,
    Running,
    Cancelling,
    /// The summary was given.
    Over,
}

impl CiPolicy {
    /// A run of `pipeline`.
    ///
    /// # Errors
    /// If a device selector of a job is no claim; [`check_device`] tells before.
    pub fn new(pipeline: Arc<Pipeline>, setup: Setup) -> Result<Self, ClaimError> {
        let runs: Result<Vec<JobRun>, ClaimError> = pipeline.jobs.iter().map(JobRun::new).collect();
        Ok(Self {
            setup,
            runs: runs?,
            successors: successors(&pipeline.jobs),
            look: (0..pipeline.jobs.len()).collect(),
            tasks: BTreeMap::new(),
            declared: None,
            phase: Phase::Waiting,
            pipeline,
        })
    }

    /// The state of the run so far.
    pub fn summary(&self) -> Summary {
        summary::summary(&self.pipeline, &self.runs, self.phase == Phase::Cancelling)
    }
}

/// Whether `text` is a device claim: what [`PipelineFile::expand`](crate::spec::PipelineFile::expand) asks for.
///
/// # Errors
/// What is wrong with it.
pub fn check_device(text: &str) -> Result<(), String> {
    let claim: Result<rialto_sdk::model::Claim, ClaimError> = text.parse();
    claim.map(drop).map_err(|error| error.to_string())
}

impl Scheduler for CiPolicy {
    type Command = Command;
    type Effect = Effect;

    fn on_event(&mut self, now: Time, event: Happening<Command>, out: &mut Out<Effect>) {
        match event {
            Happening::Subscribed { framework, .. } => self.subscribed(framework, out),
            Happening::Disconnected => out.effect(Effect::Disconnected),
            Happening::Update(status) => self.updated(now, &status, out),
            Happening::Rejected { tasks, reject } => self.rejected(now, &tasks, &reject, out),
            Happening::Refused(reject) => self.refused(now, reject, out),
            Happening::Command(command) => self.commanded(now, command, out),
            // The ends of a lost agent's tasks come one by one. There are no executors that could send messages.
            Happening::Offers
            | Happening::Rescinded(_)
            | Happening::AgentLost(_)
            | Happening::AgentLeaves { .. }
            | Happening::Prices(_)
            | Happening::Message { .. }
            | Happening::Tick => {}
        }
        if matches!(self.phase, Phase::Running | Phase::Cancelling) {
            self.settle(now, out);
            self.fire_due(now, out);
            self.settle(now, out);
            self.launch(now, out);
            self.declare(out);
            self.finish_if_done(out);
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        let active = matches!(self.phase, Phase::Running | Phase::Cancelling);
        self.runs.iter().filter(|_| active).filter_map(JobRun::next_deadline).min()
    }
}

impl CiPolicy {
    fn subscribed(&mut self, framework: rialto_sdk::model::FrameworkId, out: &mut Out<Effect>) {
        if self.phase == Phase::Waiting {
            self.phase = Phase::Running;
        }
        out.effect(Effect::Subscribed(framework));
    }

    fn commanded(&mut self, now: Time, command: Command, out: &mut Out<Effect>) {
        match command {
            Command::Play(job) => self.play(now, job),
            Command::Cancel => self.cancel(now, out),
            Command::Uploaded { task, outputs } => self.uploaded(now, &task, outputs, out),
            Command::Leave => out.teardown(),
        }
    }

    fn play(&mut self, now: Time, job: usize) {
        let Some(run) = self.runs.get_mut(job) else { return };
        self.setup.play.insert(job);
        if run.state == State::Manual && self.phase == Phase::Running {
            run.state = State::Ready(Ready::at(now));
        }
    }

    fn cancel(&mut self, now: Time, out: &mut Out<Effect>) {
        if self.phase == Phase::Over {
            return;
        }
        self.phase = Phase::Cancelling;
        for job in 0..self.runs.len() {
            let attempt = self.runs[job].attempt.as_ref();
            match self.runs[job].state {
                State::Pending | State::Manual | State::Ready(_) => self.done(job, Outcome::Cancelled, out),
                State::Launched if attempt.is_some_and(|attempt| attempt.unreachable.is_some()) => {
                    self.abandon(now, job, out);
                    self.done(job, Outcome::Cancelled, out);
                }
                State::Launched => self.kill(job, out),
                State::Ending { .. } | State::Done(_) => {}
            }
        }
    }

    fn kill(&self, job: usize, out: &mut Out<Effect>) {
        if let Some(attempt) = &self.runs[job].attempt {
            out.kill(&attempt.task, None);
        }
    }

    fn refused(&mut self, now: Time, reject: Reject, out: &mut Out<Effect>) {
        if self.phase == Phase::Over {
            return;
        }
        out.effect(Effect::Refused(reject));
        self.phase = Phase::Cancelling;
        for job in 0..self.runs.len() {
            if !matches!(self.runs[job].state, State::Done(_)) {
                self.forget_task(now, job, out);
                self.done(job, Outcome::Cancelled, out);
            }
        }
        self.finish_if_done(out);
    }
}

/// What becomes of tasks.
impl CiPolicy {
    fn updated(&mut self, now: Time, status: &Status, out: &mut Out<Effect>) {
        let Some(&job) = self.tasks.get(&status.task) else { return };
        self.heard_of(now, job, status, out);
        match status.state {
            TaskState::Unreachable => self.lost_sight(now, job, out),
            state if state.is_terminal() => self.task_ended(now, job, status, out),
            _ => self.saw_again(job, out),
        }
    }

    /// Its agent has spoken of it for the first time: it has a sandbox, and logs.
    fn heard_of(&mut self, now: Time, job: usize, status: &Status, out: &mut Out<Effect>) {
        let Some(attempt) = &mut self.runs[job].attempt else { return };
        let has_sandbox = matches!(status.state, TaskState::Starting | TaskState::Running | TaskState::Killing);
        if attempt.started.is_none() && status.source != Source::Master && (has_sandbox || status.exit.is_some()) {
            attempt.started = Some(now);
            out.effect(Effect::JobStarted { job, task: attempt.task.clone() });
        }
    }

    fn lost_sight(&mut self, now: Time, job: usize, out: &mut Out<Effect>) {
        let Some(attempt) = &mut self.runs[job].attempt else { return };
        if attempt.unreachable.is_none() {
            attempt.unreachable = Some(now);
            out.effect(Effect::Contact { job, contact: Contact::Lost });
        }
        if self.phase == Phase::Cancelling {
            self.abandon(now, job, out);
            self.done(job, Outcome::Cancelled, out);
        }
    }

    fn saw_again(&mut self, job: usize, out: &mut Out<Effect>) {
        let Some(attempt) = &mut self.runs[job].attempt else { return };
        if attempt.unreachable.take().is_some() {
            out.effect(Effect::Contact { job, contact: Contact::Back });
        }
    }

    fn task_ended(&mut self, now: Time, job: usize, status: &Status, out: &mut Out<Effect>) {
        let run = &mut self.runs[job];
        if run.state != State::Launched {
            return;
        }
        let reported = run.note_end(now);
        if !reported && ended::awaits_report(&self.pipeline.jobs[job], status) {
            run.state = State::Ending { status: Box::new(status.clone()), until: now + REPORT_GRACE };
            return;
        }
        let end = ended::judge(status, reported);
        self.conclude(now, job, end, out);
    }

    fn uploaded(&mut self, now: Time, task: &TaskId, outputs: Vec<Output>, out: &mut Out<Effect>) {
        let Some(&job) = self.tasks.get(task) else { return };
        let run = &mut self.runs[job];
        if let Some(attempt) = &mut run.attempt {
            attempt.report = Some(outputs);
        }
        if let State::Ending { status, .. } = &run.state {
            let end = ended::judge(status, true);
            self.conclude(now, job, end, out);
        }
    }

    /// The attempt is over: the job is done, or tried again.
    fn conclude(&mut self, now: Time, job: usize, end: End, out: &mut Out<Effect>) {
        self.forget_task(now, job, out);
        self.runs[job].take_artifacts();
        let outcome = match end {
            End::Passed => Outcome::Passed,
            End::Killed => Outcome::Cancelled,
            End::Failed(..) if self.phase == Phase::Cancelling => Outcome::Cancelled,
            End::Failed(fault, blame) => match self.runs[job].another_try(&self.pipeline.jobs[job], &fault, blame) {
                Some(pause) => {
                    self.runs[job].state = State::Ready(Ready::after(now, pause));
                    out.effect(Effect::JobRetried { job, fault, blame });
                    return;
                }
                None => {
                    let allowed = self.pipeline.jobs[job].allow_failure.covers(fault.exit_code);
                    Outcome::Failed { fault, allowed }
                }
            },
        };
        self.done(job, outcome, out);
    }

    /// Kills the task and no longer listens to it.
    fn abandon(&mut self, now: Time, job: usize, out: &mut Out<Effect>) {
        self.kill(job, out);
        self.runs[job].note_end(now);
        self.forget_task(now, job, out);
    }

    fn forget_task(&mut self, now: Time, job: usize, out: &mut Out<Effect>) {
        let Some(attempt) = &mut self.runs[job].attempt else { return };
        attempt.ended.get_or_insert(now);
        if self.tasks.remove(&attempt.task).is_some() {
            out.effect(Effect::Revoke(attempt.task.clone()));
        }
    }

    fn done(&mut self, job: usize, outcome: Outcome, out: &mut Out<Effect>) {
        out.effect(Effect::JobEnded { job, outcome: outcome.clone() });
        self.runs[job].state = State::Done(outcome);
        self.look_behind(job);
    }

    fn look_behind(&mut self, job: usize) {
        self.look.extend(self.successors.get(&job).into_iter().flatten());
    }

    /// The launch was refused, so there is no task. Others may have been quicker, or the master wants nothing of the kind.
    fn rejected(&mut self, now: Time, tasks: &[TaskId], reject: &Reject, out: &mut Out<Effect>) {
        for task in tasks {
            let Some(&job) = self.tasks.get(task) else { continue };
            self.forget_task(now, job, out);
            let run = &mut self.runs[job];
            run.attempts = run.attempts.saturating_sub(1);
            run.attempt = None;
            if self.phase == Phase::Cancelling {
                self.done(job, Outcome::Cancelled, out);
            } else if reject.is_transient() && run.conflicts < CONFLICTS_MAX {
                run.conflicts += 1;
                run.state = State::Ready(Ready::after(now, run::pause(run.conflicts.saturating_sub(3))));
            } else {
                let message = format!("the cluster refused it: {reject}");
                let fault = Fault { failure: Failure::RunnerSystemFailure, exit_code: None, message };
                self.conclude(now, job, End::Failed(fault, Blame::Nobody), out);
            }
        }
    }
}

/// What is next.
impl CiPolicy {
    fn settle(&mut self, now: Time, out: &mut Out<Effect>) {
        while let Some(job) = self.look.pop_first() {
            if self.runs[job].state != State::Pending {
                continue;
            }
            match gate::judge(&self.pipeline, &self.runs, job) {
                Verdict::Wait => {}
                Verdict::Skip => self.done(job, Outcome::Skipped, out),
                Verdict::Start if self.pipeline.jobs[job].when == When::Manual && !self.setup.play.contains(&job) => {
                    self.runs[job].state = State::Manual;
                    out.effect(Effect::JobManual { job });
                    self.look_behind(job);
                }
                Verdict::Start => self.runs[job].state = State::Ready(Ready::at(now)),
            }
        }
    }

    fn fire_due(&mut self, now: Time, out: &mut Out<Effect>) {
        for job in 0..self.runs.len() {
            let due = self.runs[job].next_deadline().is_some_and(|deadline| deadline <= now);
            if due {
                self.fire(now, job, out);
            }
        }
    }

    fn fire(&mut self, now: Time, job: usize, out: &mut Out<Effect>) {
        match &mut self.runs[job].state {
            State::Ready(ready) => {
                if ready.fire(now) {
                    out.effect(Effect::JobWaiting { job, since: ready.since });
                }
            }
            State::Ending { status, .. } => {
                let end = ended::judge_unreported(status);
                self.conclude(now, job, end, out);
            }
            State::Launched => {
                self.abandon(now, job, out);
                let message = "its agent was out of reach for too long".to_owned();
                let fault = Fault { failure: Failure::RunnerSystemFailure, exit_code: None, message };
                self.conclude(now, job, End::Failed(fault, Blame::Cluster), out);
            }
            State::Pending | State::Manual | State::Done(_) => {}
        }
    }

    fn launch(&mut self, now: Time, out: &mut Out<Effect>) {
        let is_ready = |run: &JobRun| matches!(&run.state, State::Ready(ready) if ready.not_before.is_none());
        let ready: Vec<usize> = (0..self.runs.len()).filter(|job| is_ready(&self.runs[*job])).collect();
        if ready.is_empty() {
            return;
        }
        let mut packer = Packer::new(&self.setup.role, out.offers());
        for job in ready {
            let Some(placement) = packer.place(&self.runs[job].needs, Strategy::Pack) else { continue };
            self.launch_at(now, job, &placement, &mut packer, out);
        }
        packer.submit(out, &Refusal::default());
    }

    fn launch_at(&mut self, now: Time, job: usize, placement: &Placement, packer: &mut Packer, out: &mut Out<Effect>) {
        let id = self.runs[job].next_task(&self.pipeline.jobs[job].name, job);
        let manifest = task::manifest(&self.pipeline, &self.runs, job, &self.setup.io);
        let task = task::task(&self.pipeline.jobs[job], &id, &self.runs[job], placement, &self.setup);
        out.effect(Effect::Grant { task: id.clone(), manifest });
        packer.launch(placement, task);
        let run = &mut self.runs[job];
        let attempt = Attempt::new(id.clone(), placement, now);
        run.attempts += 1;
        out.effect(Effect::JobLaunched {
            job,
            attempt: run.attempts,
            task: id.clone(),
            agent: attempt.agent_name.clone(),
            devices: attempt.devices.clone(),
        });
        run.attempt = Some(attempt);
        run.state = State::Launched;
        self.tasks.insert(id, job);
    }

    /// Says which jobs wait for a machine, each by its name.
    fn declare(&mut self, out: &mut Out<Effect>) {
        let waiting = self.runs.iter().enumerate().filter(|(_, run)| matches!(run.state, State::Ready(_)));
        let shapes = waiting.map(|(job, run)| run.needs.shape(&self.pipeline.jobs[job].name, 1));
        let demand = Demand { shapes: shapes.take(Demand::MAX_SHAPES).collect() };
        if self.declared.as_ref() != Some(&demand) {
            out.demand(&self.setup.role, demand.clone());
            self.declared = Some(demand);
        }
    }

    fn finish_if_done(&mut self, out: &mut Out<Effect>) {
        let is_active = |run: &JobRun| matches!(run.state, State::Ready(_) | State::Launched | State::Ending { .. });
        if !self.runs.iter().any(is_active) {
            out.effect(Effect::Finished(self.summary()));
            self.phase = Phase::Over;
        }
    }
}

#[cfg(test)]
mod tests;
