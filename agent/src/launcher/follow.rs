//! Following a supervisor: its frames become inputs, kills become its commands.

use rialto_core::agent::End;
use rialto_core::model::Exit;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::{Group, Kill, blocking, remains};
use crate::disk::Excess;
use crate::supervisor::client::{self, Liveness};
use crate::supervisor::protocol::{
    Command, Frame, KillCause, Outcome, Snapshot, TaskEnd, TaskState, TaskStatus, Terminal,
};
use crate::supervisor::{Child, FrameDecoder, encode_command};
use crate::{crash, health};

/// Between two attempts to reach a supervisor that lives.
const RECONNECT: Duration = Duration::from_millis(50);

/// Why a connection is not read on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// The group has ended, and all that there was to say was said.
    End,
    /// It was lost.
    Loss,
}

/// What the end of a connection means.
enum Found {
    Finished(Terminal),
    Connected(UnixStream),
    Lost(Option<Snapshot>),
    /// It lives and can't be reached just now.
    Busy,
}

impl Group {
    /// Stays with the group until it has ended, however often the connection is lost.
    pub(super) async fn stay(&mut self, mut stream: Option<UnixStream>) {
        loop {
            if let Some(stream) = stream.take() {
                if self.follow(stream).await == Heard::End {
                    return self.reap().await;
                }
                // Nobody answers these any more.
                self.asked.clear();
            }
            match self.look().await {
                Ok(Found::Finished(terminal)) => return self.finished(terminal).await,
                Ok(Found::Connected(again)) => stream = Some(again),
                Ok(Found::Lost(last)) => return self.lost(last).await,
                Ok(Found::Busy) => tokio::time::sleep(RECONNECT).await,
                Err(error) => {
                    tracing::warn!(group = %self.tasks[0], "its supervisor's folder can't be read: {error}");
                    tokio::time::sleep(RECONNECT * 20).await;
                }
            }
        }
    }

    /// Reads frames and writes kills until the group or the connection ends.
    async fn follow(&mut self, mut stream: UnixStream) -> Heard {
        let mut decoder = FrameDecoder::default();
        let mut bytes = [0; 2048];
        let mut open = true;
        loop {
            tokio::select! {
                kill = self.kills.recv(), if open => match kill {
                    Some(kill) => if stream.write_all(&command(kill)).await.is_err() { return Heard::Loss },
                    None => open = false,
                },
                Some(request) = self.requests.recv() => {
                    let line = check(&request);
                    self.asked.insert(request.member, request.reply);
                    if stream.write_all(&line).await.is_err() { return Heard::Loss }
                }
                Some(excess) = self.excesses.recv() => {
                    self.exceeded(excess).await;
                    if stream.write_all(&over_disk(excess)).await.is_err() { return Heard::Loss }
                }
                read = stream.read(&mut bytes) => match read {
                    Ok(0) | Err(_) => return Heard::Loss,
                    Ok(len) => {
                        decoder.push(&bytes[..len]);
                        if let Some(heard) = self.take_frames(&mut decoder).await {
                            return heard;
                        }
                    }
                },
            }
        }
    }

    /// `None` if there is more to read.
    async fn take_frames(&mut self, decoder: &mut FrameDecoder) -> Option<Heard> {
        loop {
            match decoder.next_message() {
                Ok(Some(Frame::Finished(terminal))) => {
                    self.tell_ends(terminal).await;
                    return Some(Heard::End);
                }
                Ok(Some(frame)) => self.hear(frame).await,
                Ok(None) => return None,
                Err(error) => {
                    tracing::warn!(group = %self.tasks[0], "{error}");
                    return Some(Heard::Loss);
                }
            }
        }
    }

    async fn hear(&mut self, frame: Frame) {
        match frame {
            Frame::Snapshot(snapshot) => {
                for status in snapshot.tasks {
                    self.status(status).await;
                }
            }
            Frame::Task(status) => self.status(status).await,
            Frame::Finished(terminal) => self.tell_ends(terminal).await,
            Frame::Checked { task, passed } => {
                if let Some(reply) = self.member(&task).and_then(|member| self.asked.remove(&member)) {
                    // A check that was given up is not waited for.
                    let _given_up = reply.send(passed);
                }
            }
            // Only where they were asked for.
            Frame::Opened { .. } | Frame::NestedEnded { .. } => {}
            Frame::Refused { reason } => {
                tracing::warn!(group = %self.tasks[0], "its supervisor refuses: {reason}");
                self.refused = Some(reason);
            }
        }
    }

    async fn status(&mut self, status: TaskStatus) {
        let Some(member) = self.member(&status.name) else { return };
        match status.state {
            TaskState::Waiting | TaskState::Ending { .. } => {}
            TaskState::Running { .. } => self.running(member).await,
            TaskState::Ended(end) => self.told_end(member, end).await,
        }
    }

    /// The group has ended, as its supervisor has recorded.
    pub(super) async fn finished(&mut self, terminal: Terminal) {
        self.tell_ends(terminal).await;
        self.reap().await;
    }

    async fn tell_ends(&mut self, terminal: Terminal) {
        for task in terminal.tasks {
            if let Some(member) = self.member(&task.name) {
                self.told_end(member, task.end).await;
            }
        }
        self.end_all(&End::SupervisorLost).await;
    }

    /// A task that ended before it was heard to run did run all the same, if it was started.
    async fn told_end(&mut self, member: usize, end: TaskEnd) {
        if end.started_unix_ms.is_some() {
            self.running(member).await;
        }
        let end = match (self.members[member].excess, end_of(end)) {
            (Some(excess), End::Killed(_) | End::Exited(Exit::Code(1..) | Exit::Signal(_))) => {
                End::DiskLimit(excess.words().into())
            }
            (None, end @ End::Exited(Exit::Code(1..) | Exit::Signal(_))) => {
                self.without_room(member).await.map_or(end, |words| End::DiskLimit(words.into()))
            }
            (_, end) => end,
        };
        self.ended(member, end).await;
    }

    /// The supervisor is dead and has left no record of the group's end.
    async fn lost(&mut self, last: Option<Snapshot>) {
        let directory = self.directory.clone();
        let never_ran = last.is_none();
        for status in last.map(|last| last.tasks).unwrap_or_default() {
            if matches!(status.state, TaskState::Ended(_)) {
                self.status(status).await;
            }
        }
        let (launcher, tasks) = (self.launcher.clone(), self.tasks.clone());
        let clear = move || {
            launcher.isolation.clear(&tasks);
            remains::kill(&directory)
        };
        if let Err(error) = tokio::task::spawn_blocking(clear).await.unwrap_or(Ok(())) {
            tracing::error!(group = %self.tasks[0], "what its supervisor left behind can't be ended: {error}");
        }
        let log = client::log(&self.directory);
        let end = match self.refused.take().or_else(|| log.lines().last().map(str::to_owned)) {
            Some(why) if never_ran => End::LaunchFailed(format!("supervisor: {why}").into()),
            _ => End::SupervisorLost,
        };
        self.end_all(&end).await;
        self.reap().await;
    }

    async fn look(&mut self) -> Result<Found, String> {
        let directory = self.directory.clone();
        let owned = self.child.take();
        let (child, found) = blocking(move || Ok(look(&directory, owned))).await?;
        self.child = child;
        found
    }

    /// Takes the supervisor's exit status, so that it does not stay a zombie, and removes what it may not have had the time to remove.
    pub(super) async fn reap(&mut self) {
        let (launcher, tasks, child) = (self.launcher.clone(), self.tasks.clone(), self.child.take());
        let reap = move || {
            if let Some(mut child) = child {
                // A status that can't be taken is one that was taken before.
                let _reaped = child.wait();
            }
            crash::point("group: before its cgroups are cleared");
            launcher.isolation.clear(&tasks);
            launcher.networks.take_away(&tasks[0]);
            launcher.users.give_back(&tasks[0]);
            crash::point("group: cleared");
        };
        // Cut short only when the agent stops; the next one looks for what is left.
        let _stopping = tokio::task::spawn_blocking(reap).await;
    }

    fn member(&self, name: &str) -> Option<usize> {
        name.parse().ok().filter(|member| *member < self.tasks.len())
    }
}

fn look(directory: &std::path::Path, mut child: Option<Child>) -> (Option<Child>, Result<Found, String>) {
    let found = find(directory, child.as_mut()).map_err(|error| error.to_string());
    (child, found)
}

fn find(directory: &std::path::Path, child: Option<&mut Child>) -> Result<Found, client::ClientError> {
    // In this order: what has just ended is found to be dead first, and its record next.
    let spawned_lives = child.is_some_and(|child| matches!(child.try_wait(), Ok(None)));
    let liveness = client::liveness(directory)?;
    if let Some(terminal) = client::terminal(directory)? {
        return Ok(Found::Finished(terminal));
    }
    Ok(match liveness {
        Liveness::Alive { .. } => client::connect(directory).and_then(adopt).map_or(Found::Busy, Found::Connected),
        Liveness::Never if spawned_lives => Found::Busy,
        Liveness::Never | Liveness::Dead => Found::Lost(client::last_state(directory)?),
    })
}

fn adopt(stream: std::os::unix::net::UnixStream) -> std::io::Result<UnixStream> {
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

fn check(request: &health::Request) -> Vec<u8> {
    let timeout_ms = u32::try_from(request.timeout.as_millis()).unwrap_or(u32::MAX);
    encode_command(&Command::Check { task: request.member.to_string(), timeout_ms })
}

fn command(kill: Kill) -> Vec<u8> {
    let grace_ms = u32::try_from(kill.grace.as_millis()).unwrap_or(u32::MAX);
    encode_command(&Command::Kill { task: Some(kill.member.to_string()), grace_ms: Some(grace_ms) })
}

/// At once: what it would still write there is no room for.
fn over_disk(excess: Excess) -> Vec<u8> {
    encode_command(&Command::Kill { task: Some(excess.member.to_string()), grace_ms: Some(0) })
}

fn memory_kills(end: &TaskEnd) -> bool {
    end.cgroup.as_ref().and_then(|stats| stats.memory_kills).is_some_and(|kills| kills > 0)
}

fn over_memory(end: &TaskEnd) -> String {
    let stats = end.cgroup.as_deref().copied().unwrap_or_default();
    let mib =
        |bytes: Option<u64>| bytes.map_or_else(|| "?".to_owned(), |bytes| format!("{:.1}", bytes as f64 / 1_048_576.0));
    let (limit, peak) = (mib(stats.memory_limit_bytes), mib(stats.memory_peak_bytes));
    format!("it needed more memory than its limit of {limit} MiB; it had {peak} MiB when it was killed")
}

fn end_of(end: TaskEnd) -> End {
    let exit = match end.outcome {
        Outcome::Exited { code } => Some(Exit::Code(code)),
        Outcome::Signaled { signal } => Some(Exit::Signal(signal)),
        Outcome::FailedToStart { error, .. } if end.killed.is_none() => return End::NotStarted(error.into()),
        Outcome::FailedToStart { .. } => None,
    };
    match (end.killed, exit) {
        (None, Some(exit)) if exit != Exit::Code(0) && memory_kills(&end) => End::MemoryLimit(over_memory(&end).into()),
        (None, Some(exit)) => End::Exited(exit),
        (Some(KillCause::TimedOut), _) => End::TimedOut,
        (Some(KillCause::GroupMember), _) => End::GroupEnded,
        (Some(KillCause::Requested | KillCause::Shutdown) | None, exit) => End::Killed(exit),
    }
}
