//! Tasks: launch, kill, and how they end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Agent, Effect, End, Finding, KillCause, Out, Record, notice};
use crate::gate::Output;
use crate::model::{
    Announce, Device, ExecutorRef, Exit, FrameworkId, FromAgent, Launch, Reason, Resources, Source, Status, Task,
    TaskGroup, TaskHealth, TaskId, TaskKey, TaskState, Time,
};
use crate::planted::{Fault, planted};

/// Why a group is not started.
pub(super) struct Refusal {
    pub(super) state: TaskState,
    pub(super) reason: Reason,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn dropped(reason: Reason, message: String) -> Self {
        Self { state: TaskState::Dropped, reason, message }
    }
}

impl Agent {
    pub(super) fn launch(&mut self, now: Time, launch: Launch, out: &mut Out) {
        let tasks = &launch.group.tasks;
        if tasks.is_empty() || tasks.len() > TaskGroup::MAX_TASKS {
            notice(
                format!("a launch of {} tasks is dropped: expected 1 to {}", tasks.len(), TaskGroup::MAX_TASKS),
                out,
            );
            return;
        }
        if tasks.iter().any(|task| self.knows(&TaskKey::new(launch.framework, task.id.clone()))) {
            self.launched_again(now, &launch, out);
            self.correct_devices(&launch.group.resources(), out);
            return;
        }
        match self.check(&launch) {
            Ok(()) => self.accept(launch, out),
            Err(refusal) => {
                let resources = launch.group.resources();
                self.refuse(now, launch, &refusal, out);
                self.correct_devices(&resources, out);
            }
        }
    }

    /// What a task asks for and what it was given, against what is here now.
    pub(super) fn check(&self, launch: &Launch) -> Result<(), Refusal> {
        if self.degraded {
            return Err(Refusal::dropped(Reason::LaunchFailed, "the agent's journal can't be written".to_owned()));
        }
        for task in &launch.group.tasks {
            check_description(task)?;
        }
        self.check_devices(launch)?;
        self.check_resources(launch)
    }

    /// One task after the other, so that no two of a group get the same ports.
    fn check_resources(&self, launch: &Launch) -> Result<(), Refusal> {
        let mut free = self.free();
        for task in &launch.group.tasks {
            let asked = task.resources.firm().without_devices();
            if !free.take(&asked) {
                let message = format!("resources: asks for {asked}, the agent has {free}");
                return Err(Refusal::dropped(Reason::LaunchFailed, message));
            }
        }
        Ok(())
    }

    pub(super) fn kill(&mut self, now: Time, task: &TaskKey, grace: Option<Duration>, cause: KillCause, out: &mut Out) {
        let lives = self.journal.tasks.get(task).is_some_and(|entry| !entry.is_terminal());
        if lives {
            self.end(task, cause, grace, out);
        } else {
            self.answer_state(now, task, out);
        }
    }

    /// Has the task's framework told that it is about to end, once, if the framework wants to know.
    pub(super) fn announce_kill(
        &mut self,
        now: Time,
        task: &TaskKey,
        reason: Reason,
        announce: Announce,
        out: &mut Out,
    ) {
        let runs = self.journal.tasks.get(task).is_some_and(|entry| entry.state() == TaskState::Running);
        if runs && announce == Announce::Yes && !self.degraded {
            let status = Status::new(task.task.clone(), TaskState::Killing, Source::Agent);
            self.update(now, task, status.because(reason, "it was told to end"), out);
        }
    }

    /// Has a live task ended. A kill that is repeated may shorten the grace period.
    pub(super) fn end(&mut self, task: &TaskKey, cause: KillCause, grace: Option<Duration>, out: &mut Out) {
        let Some(entry) = self.journal.tasks.get(task) else { return };
        let effect = Effect::Kill { task: task.clone(), grace: grace.unwrap_or(entry.task.kill_grace) };
        let runs = entry.last.is_some();
        if entry.kill.is_none() && !planted(Fault::KillForgottenByAgent) {
            self.persist(Record::Kill { task: task.clone(), cause }, out);
        }
        // A task that runs can be ended while the journal can't be written. One that may still wait for its start must not be overtaken.
        out.push(if runs { Output::Ungated(effect) } else { Output::Effect(effect) });
    }

    pub(super) fn remove_framework(&mut self, now: Time, framework: FrameworkId, out: &mut Out) {
        let of_it = |key: &&TaskKey| key.framework == framework;
        let live: Vec<TaskKey> = self.journal.live_tasks().filter(of_it).cloned().collect();
        let leaders: Vec<TaskKey> = self.journal.groups.keys().filter(of_it).cloned().collect();
        for task in self.journal.tasks.keys().filter(of_it) {
            self.resends.cancel(task);
        }
        self.forgets.retain(|(_, key)| key.framework != framework);
        // Ends that wait behind an earlier update would be forgotten with it; the master frees what the tasks held by them.
        let mine = self.journal.tasks.iter().filter(|(key, _)| key.framework == framework);
        let untold = mine.filter(|(_, entry)| entry.is_terminal() && !entry.pending.is_empty());
        let untold: Vec<Status> = untold.filter_map(|(_, entry)| entry.last.clone()).collect();
        self.persist(Record::FrameworkRemoved(framework), out);
        for status in untold {
            self.answer(now, framework, status, out);
        }
        self.release_gangs_of(framework, out);
        for task in live {
            self.end(&task, KillCause::FrameworkRemoved, None, out);
        }
        for leader in leaders {
            self.forget_if_settled(now, leader, Vec::new(), out);
        }
    }

    pub(super) fn running(&mut self, now: Time, task: &TaskKey, out: &mut Out) {
        let Some(entry) = self.journal.tasks.get(task) else {
            notice(format!("{task} runs but is not in the journal; it is ended"), out);
            out.push(Output::Ungated(Effect::Kill { task: task.clone(), grace: Duration::ZERO }));
            return;
        };
        if entry.is_terminal() {
            return;
        }
        let grace = entry.kill.map(|_| entry.task.kill_grace);
        if entry.last.is_none() {
            self.update(now, task, Status::new(task.task.clone(), TaskState::Running, Source::Executor), out);
        }
        // A kill that a crash may have swallowed is said again.
        if let Some(grace) = grace {
            out.push(Output::Ungated(Effect::Kill { task: task.clone(), grace }));
        }
    }

    pub(super) fn health(&mut self, now: Time, task: &TaskKey, finding: Finding, out: &mut Out) {
        let Some(entry) = self.journal.tasks.get(task).filter(|entry| entry.state() == TaskState::Running) else {
            return;
        };
        let health = if finding == Finding::Healthy { TaskHealth::Healthy } else { TaskHealth::Unhealthy };
        let is_new = entry.last.as_ref().is_some_and(|last| last.health != Some(health));
        if is_new && !self.degraded {
            let mut status = Status::new(task.task.clone(), TaskState::Running, Source::Executor);
            status.health = Some(health);
            self.update(now, task, status, out);
        }
        if finding == Finding::Condemned {
            self.end(task, KillCause::Unhealthy, None, out);
        }
    }

    pub(super) fn ended(&mut self, now: Time, task: &TaskKey, end: End, out: &mut Out) {
        let Some(entry) = self.journal.tasks.get(task).filter(|entry| !entry.is_terminal()) else { return };
        let status = describe(&task.task, end, entry.kill, entry.last.as_ref().and_then(|last| last.health));
        let leader = entry.leader.clone();
        let resources = entry.task.resources.clone();
        let members = self.members(&leader);
        self.stats.ended += 1;
        self.update(now, task, status, out);
        self.give_back(&resources);
        if resources.device_shares().next().is_some() {
            self.repeat_with_latest(now, task, out);
            self.vacate(task, &resources, out);
        }
        self.forget_if_settled(now, leader, members, out);
    }

    pub(super) fn give_back(&mut self, resources: &Resources) {
        let given_back = self.used.subtract(&resources.counted());
        debug_assert!(given_back, "what a task or gang holds is part of what is used");
    }

    pub(super) fn take(&mut self, resources: &Resources) {
        self.used.add(&resources.counted());
    }

    /// What live tasks and gangs hold, devices and shared volumes excepted, counted anew.
    pub(super) fn held_resources(&self) -> Resources {
        let mut sum = Resources::new();
        for entry in self.journal.tasks.values().filter(|entry| !entry.is_terminal()) {
            sum.add(&entry.task.resources.counted());
        }
        for launch in self.journal.gangs.values().flatten() {
            sum.add(&launch.group.resources().counted());
        }
        sum
    }

    fn knows(&self, task: &TaskKey) -> bool {
        let finished = self.journal.finished.contains_key(task) && !planted(Fault::ForgetFinished);
        self.journal.tasks.contains_key(task) || finished
    }

    fn accept(&mut self, launch: Launch, out: &mut Out) {
        self.stats.launched += 1;
        self.take(&launch.group.resources());
        self.persist(Record::Launch(launch.clone()), out);
        let mut devices: BTreeMap<TaskId, Vec<Arc<Device>>> = BTreeMap::new();
        for task in &launch.group.tasks {
            let given = self.occupy(&TaskKey::new(launch.framework, task.id.clone()), &task.resources, out);
            devices.insert(task.id.clone(), given);
        }
        let start = Effect::Start { launch, devices };
        out.push(if planted(Fault::StartBeforeJournal) { Output::Ungated(start) } else { Output::Effect(start) });
    }

    fn refuse(&mut self, now: Time, launch: Launch, refusal: &Refusal, out: &mut Out) {
        self.stats.refused += 1;
        let framework = launch.framework;
        let status = |task: &Task| {
            Status::new(task.id.clone(), refusal.state, Source::Agent).because(refusal.reason, &refusal.message)
        };
        let statuses: Vec<Status> = launch.group.tasks.iter().map(status).collect();
        if self.degraded {
            self.refuse_unrecorded(now, framework, statuses, launch.remember, out);
            return;
        }
        self.persist(Record::Launch(launch), out);
        for status in statuses {
            self.update(now, &TaskKey::new(framework, status.task.clone()), status, out);
        }
    }

    /// Refuses while nothing can be recorded: said once, at once. The ids are remembered, so that a repeated launch is not started later.
    fn refuse_unrecorded(
        &mut self,
        now: Time,
        framework: FrameworkId,
        statuses: Vec<Status>,
        remember: Duration,
        out: &mut Out,
    ) {
        for mut status in statuses {
            status.agent = self.journal.agent();
            status.at = self.wall(now);
            let task = TaskKey::new(framework, status.task.clone());
            let latest = status.state;
            self.persist(Record::Finished { framework, status: status.clone(), remember }, out);
            self.remember(now, task, out);
            out.push(Output::Ungated(Effect::ToMaster(FromAgent::Update { framework, status, latest })));
        }
    }

    /// The master has given these devices to tasks that did not get them here, and takes them for soiled when it hears of their end.
    fn correct_devices(&mut self, resources: &Resources, out: &mut Out) {
        if resources.device_shares().next().is_some() {
            self.tell(FromAgent::Devices(self.device_reports()), out);
        }
    }

    /// Some of these ids are known here: they are answered. A member that is new beside one that is not can't be started with its group.
    fn launched_again(&mut self, now: Time, launch: &Launch, out: &mut Out) {
        for task in &launch.group.tasks {
            let key = TaskKey::new(launch.framework, task.id.clone());
            if self.knows(&key) {
                self.answer_state(now, &key, out);
                continue;
            }
            let status = Status::new(task.id.clone(), TaskState::Error, Source::Agent)
                .because(Reason::TaskInvalid, "id: another task of its group has an id that was used before");
            self.answer(now, launch.framework, status, out);
        }
    }
}

fn check_description(task: &Task) -> Result<(), Refusal> {
    if let ExecutorRef::Custom(executor) = &task.executor {
        let message = format!("executor: no executor {executor} runs on this agent");
        return Err(Refusal { state: TaskState::Error, reason: Reason::TaskInvalid, message });
    }
    Ok(())
}

fn describe(task: &TaskId, end: End, kill: Option<KillCause>, health: Option<TaskHealth>) -> Status {
    let status = |state| Status::new(task.clone(), state, Source::Executor);
    let by_agent = |state| Status::new(task.clone(), state, Source::Agent);
    let exit = match &end {
        End::Exited(exit) => Some(*exit),
        End::Killed(exit) => *exit,
        _ => None,
    };
    let mut status = match end {
        End::Exited(Exit::Code(0)) => status(TaskState::Finished),
        End::Exited(exit) => status(TaskState::Failed).because(Reason::CommandFailed, &exit_text(exit)),
        End::Killed(exit) => killed(status, kill, exit),
        End::TimedOut => status(TaskState::Failed).because(Reason::MaxCompletionTime, "it ran longer than it may"),
        End::GroupEnded if kill == Some(KillCause::Preempted) => killed(status, kill, None),
        End::GroupEnded => status(TaskState::Killed).because(Reason::GroupEnded, "another task of its group ended"),
        End::MemoryLimit(why) => status(TaskState::Failed).because(Reason::MemoryLimit, &why),
        End::DiskLimit(why) => status(TaskState::Failed).because(Reason::DiskLimit, &why),
        End::NotStarted(why) => status(TaskState::Failed).because(Reason::CommandNotStarted, &why),
        End::LaunchFailed(why) => by_agent(TaskState::Failed).because(Reason::LaunchFailed, &why),
        End::FetchFailed(why) => by_agent(TaskState::Failed).because(Reason::FetchFailed, &why),
        End::ArtefactRefused(why) => by_agent(TaskState::Failed).because(Reason::ArtefactRefused, &why),
        End::SupervisorLost => by_agent(TaskState::Failed).because(Reason::SupervisorLost, "its supervisor died"),
        End::Rebooted => by_agent(TaskState::Failed).because(Reason::AgentRebooted, "the machine was started anew"),
    };
    status.exit = exit;
    status.health = health;
    status
}

fn killed(status: impl Fn(TaskState) -> Status, cause: Option<KillCause>, exit: Option<Exit>) -> Status {
    let how = exit.map_or_else(|| "before its command was started".to_owned(), exit_text);
    match cause {
        Some(KillCause::Unhealthy) => {
            status(TaskState::Failed).because(Reason::Unhealthy, &format!("its health check failed too often; {how}"))
        }
        Some(KillCause::FrameworkRemoved) => status(TaskState::Killed).because(Reason::FrameworkRemoved, &how),
        Some(KillCause::Preempted) => status(TaskState::Killed).because(Reason::Preempted, &how),
        Some(KillCause::AgentLeaving) => status(TaskState::Killed).because(Reason::AgentLeaving, &how),
        Some(KillCause::GangAborted) => status(TaskState::Killed).because(Reason::GangAborted, &how),
        Some(KillCause::Requested) | None => status(TaskState::Killed).because(Reason::KillRequested, &how),
    }
}

/// `exit code 3`, `signal 9 (SIGKILL)`.
fn exit_text(exit: Exit) -> String {
    match exit {
        Exit::Signal(signal) => signal_name(signal).map_or_else(|| exit.to_string(), |name| format!("{exit} ({name})")),
        Exit::Code(_) => exit.to_string(),
    }
}

const fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return None,
    })
}
