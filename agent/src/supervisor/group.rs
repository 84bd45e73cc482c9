//! The members of a group, and how they and everything below them are brought to an end.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Signal, kill_process, kill_process_group};
use seccompiler::BpfProgram;

use super::contain::{self, Contained, Held};
use super::edits::When;
use super::hooks::Hooks;
use super::logs::Stream;
use super::nested::{Nested, end_session, hand_over, session_of};
use super::procfs::{self, Process};
use super::protocol::{Frame, KillCause, Outcome, Spec, Stdio, TaskEnd, TaskSpec, TaskState, TaskStatus, Usage};
use super::runtime::Runtime;
use super::{spawn, sys};
use crate::{cgroup, crash};

/// Looks at the process tree in one round of killing: more than a tree that grows while it is killed needs, fewer than would starve the loop.
const MAX_LOOKS: usize = 50;
/// Rounds with short pauses; what still lives then is stuck in the kernel and is looked after at leisure.
const SHORT_ROUNDS: u32 = 100;

/// Whether this process has any child.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Children {
    None,
    Some,
}

/// One task.
pub(super) struct Member {
    pub(super) name: String,
    pub(super) streams: Vec<Stream>,
    /// What it reads, if somebody may write to it.
    pub(super) input: Option<OwnedFd>,
    cgroup: Option<cgroup::Group>,
    check: Option<Check>,
    grace: Duration,
    phase: Phase,
    killed: Option<KillCause>,
    /// When what is left of it gets SIGKILL; `None` while nobody wants it to end.
    kill_at: Option<Instant>,
    run_until: Option<Instant>,
    started_unix_ms: Option<u64>,
}

enum Phase {
    Waiting,
    Running {
        pid: i32,
    },
    /// The main process is reaped.
    Ending {
        pid: Option<i32>,
        outcome: Outcome,
        usage: Usage,
        ended_unix_ms: u64,
        leftovers: Leftovers,
    },
    Ended(TaskEnd),
}

/// A check that runs.
struct Check {
    pid: i32,
    /// When it is killed; `None` once it was.
    until: Option<Instant>,
}

/// A command to be run beside a member.
pub(super) struct Exec {
    pub(super) args: Vec<String>,
    pub(super) stdio: Stdio,
}

/// What the processes that outlive the main one have been told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leftovers {
    Untold,
    Terminated,
}

/// What a process gets in a round.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sentence {
    Spare,
    Terminate,
    Kill,
}

impl Member {
    fn new(spec: &TaskSpec, cgroup: Option<cgroup::Group>) -> Self {
        Self {
            name: spec.name.clone(),
            streams: Vec::new(),
            input: None,
            cgroup,
            check: None,
            grace: Duration::from_millis(spec.grace_ms.into()),
            phase: Phase::Waiting,
            killed: None,
            kill_at: None,
            run_until: None,
            started_unix_ms: None,
        }
    }

    pub(super) fn status(&self) -> TaskStatus {
        let state = match &self.phase {
            Phase::Waiting => TaskState::Waiting,
            Phase::Running { pid } => {
                TaskState::Running { pid: *pid, started_unix_ms: self.started_unix_ms.unwrap_or_default() }
            }
            Phase::Ending { outcome, .. } => TaskState::Ending { outcome: outcome.clone() },
            Phase::Ended(end) => TaskState::Ended(end.clone()),
        };
        TaskStatus { name: self.name.clone(), state }
    }

    fn is_active(&self) -> bool {
        matches!(self.phase, Phase::Waiting | Phase::Running { .. })
    }

    fn running_pid(&self) -> Option<i32> {
        if let Phase::Running { pid } = self.phase { Some(pid) } else { None }
    }

    /// The process group, as long as its number cannot belong to anybody else.
    fn process_group(&self) -> Option<i32> {
        match self.phase {
            Phase::Running { pid } | Phase::Ending { pid: Some(pid), .. } => Some(pid),
            _ => None,
        }
    }

    fn signal(&self, signal: Signal) {
        let Some(pid) = self.running_pid().and_then(sys::pid) else { return };
        // The main process is not reaped yet, so both numbers are its own. It may have left the group that was made for it; that it is a
        // zombie, or belongs to another user by now, is left to the sweep that follows.
        if kill_process_group(pid, signal).is_err() {
            let _unreachable = kill_process(pid, signal);
        }
    }

    /// The main process is gone, or never came to be.
    fn main_ended(&mut self, outcome: Outcome, usage: Usage, now: Instant) {
        let pid = self.running_pid();
        self.kill_at = self.kill_at.or(Some(now + self.grace));
        self.input = None;
        self.phase = Phase::Ending { pid, outcome, usage, ended_unix_ms: unix_ms(), leftovers: Leftovers::Untold };
    }

    /// How it ended, once its main process has. Takes what is left of the output.
    fn close(&mut self, buffer: &mut [u8]) -> Option<TaskEnd> {
        let Phase::Ending { outcome, usage, ended_unix_ms, .. } = &self.phase else {
            return if let Phase::Ended(end) = &self.phase { Some(end.clone()) } else { None };
        };
        for stream in &mut self.streams {
            stream.finish(buffer);
        }
        Some(TaskEnd {
            outcome: outcome.clone(),
            killed: self.killed,
            started_unix_ms: self.started_unix_ms,
            ended_unix_ms: *ended_unix_ms,
            dropped_bytes: self.streams.iter().map(Stream::dropped_bytes).sum(),
            usage: *usage,
            cgroup: self.cgroup.as_ref().map(|cgroup| Box::new(cgroup.stats())),
        })
    }

    /// Kills everything in its cgroup at once, however fast it forks, frozen or not.
    fn kill_cgroup(&self) {
        if let Some(Err(error)) = self.cgroup.as_ref().map(cgroup::Group::kill) {
            super::store::note(&error.to_string());
        }
    }

    fn sentence(&self, now: Instant) -> Sentence {
        if self.kill_at.is_some_and(|at| at <= now) {
            return Sentence::Kill;
        }
        match self.phase {
            Phase::Ending { leftovers: Leftovers::Untold, .. } => Sentence::Terminate,
            _ => Sentence::Spare,
        }
    }
}

/// All members.
pub(super) struct Group {
    pub(super) members: Vec<Member>,
    /// Members whose state has changed since it was last told.
    changed: BTreeSet<usize>,
    /// Checks that have ended since that was last told, and whether they passed.
    checked: Vec<(usize, bool)>,
    /// What runs beside the members.
    pub(super) nested: Nested,
    seccomp: Arc<[BpfProgram]>,
    users: Option<Arc<OwnedFd>>,
    hooks: Option<Hooks>,
    runtime: Option<Runtime>,
    sweep_at: Option<Instant>,
    rounds: u32,
    me: i32,
}

impl Group {
    pub(super) fn new(spec: &Spec, contained: Contained) -> Self {
        let members =
            spec.tasks.iter().zip(contained.cgroups).map(|(task, cgroup)| Member::new(task, cgroup)).collect();
        let me = rustix::process::getpid().as_raw_pid();
        Self {
            members,
            changed: BTreeSet::new(),
            checked: Vec::new(),
            nested: Nested::default(),
            seccomp: contained.seccomp,
            users: contained.users,
            hooks: contained.hooks,
            runtime: contained.runtime,
            sweep_at: None,
            rounds: 0,
            me,
        }
    }

    /// Starts the members in order, until one cannot be started.
    pub(super) fn start(&mut self, spec: &Spec) {
        for (index, task) in spec.tasks.iter().enumerate() {
            if !matches!(self.members[index].phase, Phase::Waiting) {
                return;
            }
            crash::point("supervisor: before a command");
            let started = spawn::start(
                task,
                Held {
                    cgroup: self.members[index].cgroup.as_ref(),
                    seccomp: &self.seccomp,
                    users: self.users.as_ref(),
                    runtime: self.runtime.as_ref(),
                },
            );
            let now = Instant::now();
            match started {
                Ok(started) => {
                    crash::point("supervisor: with a command");
                    let member = &mut self.members[index];
                    member.streams = started.streams;
                    member.input = started.input;
                    member.phase = Phase::Running { pid: started.pid };
                    member.started_unix_ms = Some(unix_ms());
                    member.run_until = task.max_run_ms.and_then(|ms| now.checked_add(Duration::from_millis(ms)));
                    self.changed.insert(index);
                }
                Err(outcome) => self.end_main(index, outcome, Usage::default(), now),
            }
        }
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.members.iter().position(|member| member.name == name)
    }

    /// Wants the whole group to end; `blamed` is the member that this is about.
    pub(super) fn kill(&mut self, blamed: Option<usize>, cause: KillCause, grace: Option<Duration>, now: Instant) {
        for index in 0..self.members.len() {
            let member = &mut self.members[index];
            let cause = if blamed.is_none_or(|blamed| blamed == index) { cause } else { KillCause::GroupMember };
            let at = now + grace.unwrap_or(member.grace);
            match member.phase {
                Phase::Waiting => {
                    member.killed = Some(cause);
                    let error = "not started: the group is being killed".to_owned();
                    member.main_ended(Outcome::FailedToStart { errno: None, error }, Usage::default(), now);
                    self.changed.insert(index);
                }
                Phase::Running { .. } => {
                    if member.killed.replace(member.killed.unwrap_or(cause)).is_none() {
                        member.signal(Signal::TERM);
                    }
                }
                Phase::Ending { .. } => {}
                Phase::Ended(_) => continue,
            }
            let member = &mut self.members[index];
            member.kill_at = Some(member.kill_at.map_or(at, |before| before.min(at)));
            self.sweep_by(at);
        }
    }

    /// Starts the check of a member that runs, unless one runs already.
    pub(super) fn check(
        &mut self,
        index: usize,
        spec: &TaskSpec,
        timeout: Duration,
        now: Instant,
    ) -> Result<(), String> {
        let member = &mut self.members[index];
        let Some(check) = &spec.check else { return Err(format!("task {}: it has no check", member.name)) };
        if member.check.is_some() {
            return Ok(());
        }
        let started = if member.running_pid().is_some() {
            spawn::check(
                spec,
                check,
                Held {
                    cgroup: member.cgroup.as_ref(),
                    seccomp: &self.seccomp,
                    users: self.users.as_ref(),
                    runtime: self.runtime.as_ref(),
                },
            )
            .ok()
        } else {
            None
        };
        match started {
            Some(pid) => member.check = Some(Check { pid, until: Some(now + timeout) }),
            None => self.checked.push((index, false)),
        }
        Ok(())
    }

    /// Executes a command beside a member that runs, for `asker`, who gets its streams.
    pub(super) fn exec(
        &mut self,
        index: usize,
        spec: &TaskSpec,
        exec: Exec,
        asker: UnixStream,
    ) -> Result<(), (UnixStream, Outcome)> {
        let member = &self.members[index];
        let refused = |error: &str| Outcome::FailedToStart { errno: None, error: error.to_owned() };
        if member.running_pid().is_none() {
            return Err((asker, refused("the task does not run")));
        }
        if !self.nested.has_room() {
            return Err((asker, refused("too many run beside the task already")));
        }
        let held = Held {
            cgroup: member.cgroup.as_ref(),
            seccomp: &self.seccomp,
            users: self.users.as_ref(),
            runtime: self.runtime.as_ref(),
        };
        let (pid, ours) = match spawn::nested(spec, exec.args, &exec.stdio, held) {
            Ok(started) => started,
            Err(outcome) => return Err((asker, outcome)),
        };
        let (input, terminal) = (ours.input.is_some(), matches!(exec.stdio, Stdio::Terminal { .. }));
        let outputs = if terminal { Vec::new() } else { ours.outputs };
        let descriptors: Vec<OwnedFd> = ours.input.into_iter().chain(outputs).collect();
        // An asker that can't be told is gone, which is found when it is heard next.
        if let Err(error) = hand_over(&asker, &Frame::Opened { input, terminal }, &descriptors) {
            super::store::note(&format!("nested process: {error}"));
        }
        self.nested.add(index, pid, asker);
        Ok(())
    }

    /// Ends what runs beside members that have ended.
    pub(super) fn end_nested(&self) {
        self.nested.end_without(|index| self.members[index].running_pid().is_some());
    }

    /// Checks that have ended since the last call, and whether they passed.
    pub(super) fn take_checked(&mut self) -> Vec<(usize, bool)> {
        std::mem::take(&mut self.checked)
    }

    /// Sends a signal to the process group of one member, or of all.
    pub(super) fn signal(&self, member: Option<usize>, signal: Signal) {
        for (index, target) in self.members.iter().enumerate() {
            if member.is_none_or(|member| member == index) {
                target.signal(signal);
            }
        }
    }

    /// A child was reaped: a main process, or an orphan that was inherited.
    pub(super) fn reaped(&mut self, pid: i32, outcome: Outcome, usage: Usage, now: Instant) {
        crash::point("supervisor: with a process reaped");
        let passed = outcome.is_success();
        self.nested.reaped(pid, &outcome);
        if let Some(index) = self.members.iter().position(|member| member.running_pid() == Some(pid)) {
            self.end_main(index, outcome, usage, now);
        }
        let is_check = |member: &Member| member.check.as_ref().is_some_and(|check| check.pid == pid);
        if let Some(index) = self.members.iter().position(is_check) {
            let in_time = self.members[index].check.take().is_some_and(|check| check.until.is_some());
            self.checked.push((index, in_time && passed));
        }
    }

    fn end_main(&mut self, index: usize, outcome: Outcome, usage: Usage, now: Instant) {
        let member = &mut self.members[index];
        let failed = !outcome.is_success() || member.killed.is_some();
        member.main_ended(outcome, usage, now);
        self.changed.insert(index);
        self.sweep_by(now);
        if failed {
            let others: Vec<_> = (0..self.members.len()).filter(|&other| self.members[other].is_active()).collect();
            if others.iter().any(|&other| self.members[other].killed.is_none()) {
                self.kill(Some(index), KillCause::GroupMember, None, now);
            }
        }
    }

    /// Kills members and checks that have run for too long.
    pub(super) fn expire(&mut self, now: Instant) {
        for index in 0..self.members.len() {
            let member = &mut self.members[index];
            if let Some(check) = member.check.as_mut().filter(|check| check.until.is_some_and(|until| until <= now)) {
                check.until = None;
                if self.runtime.is_some() {
                    // What a runtime executes is in a session of its own, whoever leads that.
                    end_session(session_of(check.pid));
                } else if let Some(pid) = sys::pid(check.pid) {
                    // It is not reaped yet, so the number is its own.
                    let _gone = kill_process_group(pid, Signal::KILL);
                }
            }
            if member.run_until.is_some_and(|until| until <= now) {
                member.run_until = None;
                if member.running_pid().is_some() && member.killed.is_none() {
                    self.kill(Some(index), KillCause::TimedOut, None, now);
                }
            }
        }
    }

    /// When [`Self::expire`] or [`Self::sweep`] has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let runs = self.members.iter().filter_map(|member| member.running_pid().and(member.run_until));
        let checks = self.members.iter().filter_map(|member| member.check.as_ref()?.until);
        runs.chain(checks).chain(self.sweep_at).min()
    }

    fn sweep_by(&mut self, at: Instant) {
        self.sweep_at = Some(self.sweep_at.map_or(at, |before| before.min(at)));
    }

    /// Ends what has outlived its main process or its grace period, if it is time.
    pub(super) fn sweep(&mut self, now: Instant) {
        if self.sweep_at.is_none_or(|at| at > now) {
            return;
        }
        let killed = self.execute(now);
        for member in &mut self.members {
            if let Phase::Ending { leftovers, .. } = &mut member.phase {
                *leftovers = Leftovers::Terminated;
            }
        }
        self.rounds = if killed == 0 { 0 } else { self.rounds + 1 };
        let alive = self.members.iter().filter(|member| !matches!(member.phase, Phase::Ended(_)));
        let graces = alive.filter_map(|member| member.kill_at).filter(|&at| at > now).min();
        let again = (killed > 0).then(|| now + pause(self.rounds));
        self.sweep_at = graces.into_iter().chain(again).min();
    }

    /// One round over the process tree; answers how many processes were killed. Looks again until a look finds no process that is new, since
    /// a tree can grow while it is cut.
    fn execute(&self, now: Instant) -> usize {
        crash::point("supervisor: before a look at what is left");
        let condemned = self.members.iter().filter(|member| member.sentence(now) == Sentence::Kill);
        condemned.for_each(Member::kill_cgroup);
        crash::point("supervisor: after a kill of cgroups");
        let mut hit = BTreeSet::new();
        for look in 0..MAX_LOOKS {
            let before = hit.len();
            for (process, owner) in self.owned_processes() {
                let key = (process.pid, process.start_ticks);
                match self.sentence(owner, now) {
                    Sentence::Kill if hit.insert(key) => report(&process, process.signal(Signal::KILL)),
                    Sentence::Terminate if look == 0 => report(&process, process.signal(Signal::TERM)),
                    _ => {}
                }
            }
            if hit.len() == before {
                break;
            }
        }
        hit.len()
    }

    fn sentence(&self, owner: Option<usize>, now: Instant) -> Sentence {
        if let Some(index) = owner {
            return self.members[index].sentence(now);
        }
        if self.members.iter().any(Member::is_active) {
            return Sentence::Spare;
        }
        // An orphan of nobody in particular gets what the most patient member gets.
        let ending = || self.members.iter().filter(|member| matches!(member.phase, Phase::Ending { .. }));
        if ending().all(|member| member.kill_at.is_some_and(|at| at <= now)) {
            return Sentence::Kill;
        }
        let is_untold = |member: &Member| matches!(member.phase, Phase::Ending { leftovers: Leftovers::Untold, .. });
        if ending().any(is_untold) { Sentence::Terminate } else { Sentence::Spare }
    }

    /// Every process below this one with the member that it belongs to: by its cgroup, else by its process group, else by its parent's
    /// owner. `None` for an orphan that has left its group, unless there is only one member, or each has a cgroup.
    fn owned_processes(&self) -> Vec<(Process, Option<usize>)> {
        let only = (self.members.len() == 1).then_some(0);
        let groups =
            self.members.iter().enumerate().filter_map(|(index, member)| Some((member.process_group()?, index)));
        let mut groups: BTreeMap<i32, usize> = groups.chain(self.nested.owners()).collect();
        if only.is_none() {
            groups.extend(self.by_cgroup());
        }
        let mut owners: BTreeMap<i32, Option<usize>> = BTreeMap::new();
        let mut owned = Vec::new();
        for process in procfs::descendants(self.me) {
            let inherited = || owners.get(&process.parent).copied().flatten();
            let named = groups.get(&process.pid).or_else(|| groups.get(&process.process_group)).copied();
            let owner = only.or(named).or_else(inherited);
            owners.insert(process.pid, owner);
            owned.push((process, owner));
        }
        owned
    }

    fn by_cgroup(&self) -> impl Iterator<Item = (i32, usize)> + '_ {
        let processes = |member: &Member| member.cgroup.as_ref().and_then(|cgroup| cgroup.processes().ok());
        let members = self.members.iter().enumerate();
        members.flat_map(move |(index, member)| processes(member).into_iter().flatten().map(move |pid| (pid, index)))
    }

    /// Runs what devices want to be run at a moment after the start.
    pub(super) fn run_hooks(&self, when: When) {
        if let Some(hooks) = &self.hooks {
            hooks.run_all(when);
        }
    }

    /// Has the runtime forget its containers, when everything has ended. To be done before the end is told: who hears it may remove the
    /// folder in which the runtime keeps them.
    pub(super) fn delete_containers(&self) {
        for (runtime, member) in self.runtime.iter().flat_map(|runtime| self.members.iter().map(move |m| (runtime, m)))
        {
            if let Err(error) = runtime.delete(&member.name) {
                super::store::note(&format!("{error}"));
            }
        }
    }

    /// Removes the cgroups, when everything has ended.
    pub(super) fn remove_cgroups(&self) {
        contain::remove(self.members.iter().map(|member| &member.cgroup));
    }

    /// Members that have no process left while others still run. When a process could be anybody's, there are none.
    pub(super) fn settled(&mut self, buffer: &mut [u8]) -> Vec<(usize, TaskEnd)> {
        let is_ending = |member: &Member| matches!(member.phase, Phase::Ending { .. });
        if !self.members.iter().any(Member::is_active) || !self.members.iter().any(is_ending) {
            return Vec::new();
        }
        let owners: BTreeSet<_> = self.owned_processes().into_iter().map(|(_, owner)| owner).collect();
        if owners.contains(&None) {
            return Vec::new();
        }
        let members = self.members.iter_mut().enumerate();
        let gone = members.filter(|(index, member)| is_ending(member) && !owners.contains(&Some(*index)));
        gone.filter_map(|(index, member)| Some((index, member.close(buffer)?))).collect()
    }

    /// A member's end is on disk and can be told.
    pub(super) fn end(&mut self, index: usize, end: TaskEnd) {
        let member = &mut self.members[index];
        if !matches!(member.phase, Phase::Ended(_)) {
            member.phase = Phase::Ended(end);
            self.changed.insert(index);
        }
    }

    /// How all members ended, if every process of the group is gone.
    pub(super) fn close(&mut self, children: Children, buffer: &mut [u8]) -> Option<Vec<TaskEnd>> {
        if children == Children::Some || self.members.iter().any(Member::is_active) {
            return None;
        }
        self.members.iter_mut().map(|member| member.close(buffer)).collect()
    }

    /// States that have changed since the last call.
    pub(super) fn take_changes(&mut self) -> Vec<TaskStatus> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|index| self.members[index].status()).collect()
    }
}

fn report(process: &Process, result: std::io::Result<()>) {
    if let Err(error) = result {
        super::store::note(&format!("signal to process {}: {error}", process.pid));
    }
}

/// 1, 2, 4, 8, 16, 20, 20 … ms, then a second.
fn pause(round: u32) -> Duration {
    if round > SHORT_ROUNDS {
        return Duration::from_secs(1);
    }
    Duration::from_millis((1 << (round.saturating_sub(1)).min(5)).min(20))
}

/// Milliseconds since 1970 by the wall clock.
pub(super) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
