//! The supervisor's main function and its one loop.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{FileType, Mode};
use rustix::process::{Pid, Signal};
use thiserror::Error;

use super::codec::encode;
use super::contain::{self, ContainError};
use super::edits::When;
use super::group::{Children, Exec, Group, Member, unix_ms};
use super::logs::CHUNK_BYTES;
use super::nested::hand_over;
use super::protocol::{
    Command, Durability, Frame, KillCause, Snapshot, Spec, SpecError, Stdio, TaskEnd, TaskSpec, TaskState, TaskStatus,
    Terminal, TerminalTask, VERSION,
};
use super::server::{Listening, Listens, Server};
use super::store::{self, Line, Record, note};
use super::sys::{self, Reaped};
use super::{probe, procfs, zygote};
use crate::crash;

/// How long readers may take for the last frames.
const FAREWELL: Duration = Duration::from_secs(1);
/// Pause before a terminal record that could not be written is tried again.
const RECORD_RETRY: Duration = Duration::from_secs(1);

/// Why nothing was started.
#[derive(Debug, Error)]
enum SetupError {
    #[error("expected: rialto supervise DIR")]
    Usage,
    #[error("{0}: {1}")]
    Io(&'static str, #[source] io::Error),
    #[error("spec.json: {0}")]
    Json(#[from] serde_json::Error),
    #[error("spec.json: {0}")]
    Spec(#[from] SpecError),
    #[error("container: {0}")]
    Contain(#[from] ContainError),
}

/// Runs `rialto supervise DIR`: returns when the group has ended. To be called first in `main`, when nothing has been opened or spawned.
pub fn main() -> ExitCode {
    // Standard error is still the caller's here; it becomes the log as soon as the directory is known.
    if let Err(error) = sys::close_inherited() {
        note(&format!("close inherited descriptors: {error}"));
    }
    if std::env::args_os().nth(2).is_some_and(|argument| argument == zygote::ARGUMENT) {
        return match zygote::serve() {
            Ok(Some((origin, first))) => sys::end(supervise(origin, first)),
            Ok(None) => ExitCode::SUCCESS,
            Err(error) => {
                note(&format!("zygote: {error}"));
                ExitCode::from(2)
            }
        };
    }
    if std::env::args_os().nth(2).is_some_and(|argument| argument == probe::ARGUMENT) {
        return probe::answer();
    }
    let first = adopt_stdin();
    match Origin::executed() {
        Ok(origin) => sys::end(supervise(origin, first)),
        Err(error) => sys::end(refuse(first, &error)),
    }
}

/// `first` is the connection of the agent that spawned this process. Answers how it is to exit.
fn supervise(origin: Origin, mut first: Option<UnixStream>) -> u8 {
    match Supervisor::set_up(origin, &mut first) {
        Ok((supervisor, spec)) => match supervisor.run(spec) {
            Ok(()) => 0,
            Err(error) => {
                note(&format!("supervisor: {error}"));
                1
            }
        },
        Err(error) => refuse(first, &error),
    }
}

/// What a supervisor begins with.
pub(super) struct Origin {
    pub(super) directory: PathBuf,
    /// From [`sys::signal_descriptor`].
    pub(super) signals: OwnedFd,
    pub(super) boot_id: String,
    /// Whether it is who it was, in the user namespace that it was born in.
    pub(super) user: io::Result<()>,
}

impl Origin {
    /// That of one that was executed.
    fn executed() -> Result<Self, SetupError> {
        let step = |step| move |error: io::Error| SetupError::Io(step, error);
        let signals = sys::signal_descriptor().map_err(step("signals"))?;
        let directory = std::env::args_os().nth(2).map(PathBuf::from).ok_or(SetupError::Usage)?;
        leave_streams().map_err(step("standard streams"))?;
        let boot_id = procfs::boot_id().map_err(step("boot id"))?;
        Ok(Self { directory, signals, boot_id, user: Ok(()) })
    }
}

/// The agent passes one end of a socket pair as standard input, so that it is connected from the first moment.
fn adopt_stdin() -> Option<UnixStream> {
    let stdin = rustix::stdio::stdin();
    let stat = rustix::fs::fstat(stdin).ok()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        return None;
    }
    Some(UnixStream::from(rustix::io::fcntl_dupfd_cloexec(stdin, 3).ok()?))
}

fn refuse(peer: Option<UnixStream>, error: &SetupError) -> u8 {
    note(&format!("supervisor: {error}"));
    if let Some(mut peer) = peer {
        // If the agent is gone, the log has the same words.
        let _gone = peer.write_all(&encode(&Frame::Refused { reason: error.to_string() }));
    }
    2
}

struct Supervisor {
    signals: File,
    server: Server,
    record: Record,
    group: Group,
    durability: Durability,
    children: Children,
    buffer: Vec<u8>,
    record_retry_at: Option<Instant>,
    settle: Settle,
    /// This process, as the agent knows it.
    pid: i32,
}

/// Whether processes have ended since members were last looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Settle {
    Due,
    Done,
}

/// Where something can be read.
#[derive(Clone, Copy)]
enum Source {
    Signals,
    Listener,
    Peer(usize),
    Stream { member: usize, stream: usize },
    Asker(usize),
}

impl Supervisor {
    fn set_up(origin: Origin, first: &mut Option<UnixStream>) -> Result<(Self, Spec), SetupError> {
        let step = |step| move |error: io::Error| SetupError::Io(step, error);
        detach(&origin.directory).map_err(step("directory"))?;
        origin.user.map_err(step("user namespace"))?;
        let spec = read_spec()?;
        let (record, pid) = Record::claim(&origin.boot_id).map_err(step(store::RECORD))?;
        let contained = contain::enter(&spec, pid)?;
        crash::point("supervisor: contained");
        let mut supervisor = Self {
            signals: File::from(origin.signals),
            server: Server::new(listening(&spec)),
            record,
            group: Group::new(&spec, contained),
            durability: spec.durability,
            children: Children::Some,
            buffer: vec![0; CHUNK_BYTES],
            record_retry_at: None,
            settle: Settle::Done,
            pid,
        };
        if let Some(first) = first.take() {
            supervisor.greet(first);
        }
        Ok((supervisor, spec))
    }

    fn run(mut self, spec: Spec) -> io::Result<()> {
        self.group.start(&spec);
        self.group.run_hooks(When::Poststart);
        // The environment can be large and is not needed again.
        drop(spec);
        self.reap();
        loop {
            let now = Instant::now();
            self.group.expire(now);
            if self.children == Children::Some {
                self.group.sweep(now);
            }
            if let Some(terminal) = self.finish(now) {
                crash::point("supervisor: before it tells the end");
                self.server.broadcast(&Frame::Finished(terminal));
                crash::point("supervisor: before it removes cgroups");
                self.group.remove_cgroups();
                self.group.run_hooks(When::Poststop);
                crash::point("supervisor: before it ends");
                self.server.finish(FAREWELL);
                return Ok(());
            }
            self.publish(now);
            self.group.end_nested();
            match self.server.listen_if_due(now) {
                // What has lived for so long is likely to sleep for longer.
                Ok(Listens::Begun) => sys::release_memory(),
                Ok(Listens::AsBefore) => {}
                Err(error) => note(&format!("{}: {error}", store::SOCKET)),
            }
            for source in self.wait(now)? {
                self.handle(source);
            }
            self.server.forget_closed();
        }
    }

    /// Sleeps until something can be read or a deadline has come.
    fn wait(&self, now: Instant) -> io::Result<Vec<Source>> {
        let mut sources = vec![Source::Signals];
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
        if let Some(listener) = self.server.listener() {
            sources.push(Source::Listener);
            fds.push(PollFd::from_borrowed_fd(listener, PollFlags::IN));
        }
        for (index, (fd, flags)) in self.server.interests().enumerate() {
            sources.push(Source::Peer(index));
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        }
        for (member, task) in self.group.members.iter().enumerate() {
            for (stream, fd) in
                task.streams.iter().enumerate().filter_map(|(index, stream)| Some((index, stream.fd()?)))
            {
                sources.push(Source::Stream { member, stream });
                fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
            }
        }
        for (asker, fd) in self.group.nested.askers() {
            sources.push(Source::Asker(asker));
            fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
        }
        let deadline = match self.children {
            Children::Some => self.group.next_deadline().into_iter().chain(self.record_retry_at).min(),
            Children::None => self.record_retry_at,
        };
        let deadline = deadline.into_iter().chain(self.server.listens_at()).min();
        let timeout = deadline.map(|at| to_timespec(at.saturating_duration_since(now)));
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = sources.into_iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
        Ok(ready.map(|(source, _)| source).collect())
    }

    fn handle(&mut self, source: Source) {
        match source {
            Source::Signals => self.take_signals(),
            Source::Listener => {
                if let Some(stream) = self.server.accept() {
                    self.greet(stream);
                }
            }
            Source::Peer(peer) => self.serve(peer),
            Source::Stream { member, stream } => {
                self.group.members[member].streams[stream].pump(&mut self.buffer);
            }
            Source::Asker(asker) => self.group.nested.hear(asker),
        }
    }

    fn serve(&mut self, peer: usize) {
        for command in self.server.serve(peer) {
            let understood = command.is_ok();
            let result = command.map_err(|error| error.to_string()).and_then(|command| self.obey(command, peer));
            if let Err(reason) = result {
                self.server.reply(peer, &Frame::Refused { reason });
            }
            if !understood {
                self.server.close(peer);
            }
        }
    }

    fn greet(&mut self, stream: UnixStream) {
        let snapshot = Frame::Snapshot(self.snapshot());
        if let Err(error) = self.server.add(stream, &snapshot) {
            note(&format!("connection: {error}"));
        }
    }

    fn snapshot(&self) -> Snapshot {
        let tasks = self.group.members.iter().map(Member::status).collect();
        Snapshot { version: VERSION, pid: self.pid, tasks }
    }

    fn take_signals(&mut self) {
        let mut records = [0; 16 * sys::SIGNAL_RECORD_BYTES];
        let count = match self.signals.read(&mut records) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => return note(&format!("signals: {error}")),
        };
        // In a namespace of its own, this process obeys those outside and not the tasks inside.
        let is_first = rustix::process::getpid() == Pid::INIT;
        for (signal, sender) in sys::signals(&records[..count]) {
            if signal == Signal::TERM.as_raw().unsigned_abs() && (sender == 0 || !is_first) {
                self.group.kill(None, KillCause::Shutdown, None, Instant::now());
            } else if signal == Signal::CHILD.as_raw().unsigned_abs() {
                self.reap();
            }
        }
    }

    fn reap(&mut self) {
        self.settle = Settle::Due;
        self.children = loop {
            match sys::reap() {
                Ok(Reaped::Child(pid, outcome, usage)) => self.group.reaped(pid, outcome, usage, Instant::now()),
                Ok(Reaped::NoneEnded) => break Children::Some,
                Ok(Reaped::NoChildren) => break Children::None,
                Err(error) => {
                    note(&format!("wait: {error}"));
                    break Children::Some;
                }
            }
        };
    }

    fn obey(&mut self, command: Command, peer: usize) -> Result<(), String> {
        let now = Instant::now();
        match command {
            Command::Kill { task, grace_ms } => {
                let blamed = self.find(task.as_deref())?;
                let grace = grace_ms.map(|ms| Duration::from_millis(ms.into()));
                self.group.kill(blamed, KillCause::Requested, grace, now);
            }
            Command::Check { task, timeout_ms } => {
                let index = self.find(Some(&task))?.ok_or("task: expected a name")?;
                // It is not kept in memory, because environments can be large.
                let spec = read_spec().map_err(|error| error.to_string())?;
                let timeout = Duration::from_millis(timeout_ms.into());
                self.group.check(index, &spec.tasks[index], timeout, now)?;
            }
            Command::Exec { task, args, stdio } => self.exec(&task, Exec { args, stdio }, peer)?,
            Command::Input { task } => self.hand_out_input(&task, peer)?,
            Command::CloseInput { task } => {
                let index = self.find(Some(&task))?.ok_or("task: expected a name")?;
                self.group.members[index].input = None;
            }
            Command::Signal { task, signal } => {
                let target = self.find(task.as_deref())?;
                let signal = Signal::from_named_raw(signal)
                    .ok_or_else(|| format!("signal: expected the number of a standard signal, found {signal}"))?;
                self.group.signal(target, signal);
            }
        }
        Ok(())
    }

    fn exec(&mut self, task: &str, exec: Exec, peer: usize) -> Result<(), String> {
        let index = self.find(Some(task))?.ok_or("task: expected a name")?;
        if exec.args.first().is_none_or(String::is_empty) || exec.args.iter().any(|arg| arg.contains('\0')) {
            return Err("args: expected a program, and no NUL characters".to_owned());
        }
        let mut spec = read_spec().map_err(|error| error.to_string())?;
        let spec = &mut spec.tasks[index];
        if let Stdio::Terminal { kind, .. } = &exec.stdio
            && !kind.is_empty()
        {
            spec.env.push(("TERM".to_owned(), kind.clone()));
        }
        let asker = self.server.release(peer).ok_or("the connection has not taken what it was told")?;
        if let Err((mut asker, outcome)) = self.group.exec(index, spec, exec, asker) {
            // One that is gone need not be told.
            let _gone = asker.write_all(&encode(&Frame::NestedEnded { outcome }));
        }
        Ok(())
    }

    fn hand_out_input(&mut self, task: &str, peer: usize) -> Result<(), String> {
        let index = self.find(Some(task))?.ok_or("task: expected a name")?;
        let member = &self.group.members[index];
        let input = member.input.as_ref().map(OwnedFd::try_clone).transpose();
        let input = input.map_err(|error| error.to_string())?;
        // A terminal is one stream, pipes are two.
        let terminal = input.is_some() && member.streams.len() == 1;
        let asker = self.server.release(peer).ok_or("the connection has not taken what it was told")?;
        let descriptors: Vec<_> = input.into_iter().collect();
        let frame = Frame::Opened { input: !descriptors.is_empty(), terminal };
        hand_over(&asker, &frame, &descriptors).map_err(|error| error.to_string())
    }

    fn find(&self, task: Option<&str>) -> Result<Option<usize>, String> {
        let Some(name) = task else { return Ok(None) };
        let unknown = || format!("task: expected a member of this group, found {name:?}");
        self.group.find(name).map(Some).ok_or_else(unknown)
    }

    /// Tells what has changed, after it is on disk.
    fn publish(&mut self, now: Instant) {
        if self.settle == Settle::Due && self.may_record(now) {
            self.settle = Settle::Done;
            self.settle(now);
        }
        for (index, passed) in self.group.take_checked() {
            let task = self.group.members[index].name.clone();
            self.server.broadcast(&Frame::Checked { task, passed });
        }
        let changes = self.group.take_changes();
        if changes.is_empty() {
            return;
        }
        // Nothing in it has to survive the machine; members that have ended were recorded by `settle`.
        let lines = store::lines(&changes);
        if let Err(error) = self.record.add(&lines, Durability::ProcessLoss) {
            note(&format!("{}: {error}", store::RECORD));
        }
        self.tell(changes);
    }

    fn tell(&mut self, changes: Vec<TaskStatus>) {
        for change in changes {
            self.server.broadcast(&Frame::Task(change));
        }
    }

    /// Ends members of which nothing lives while others still run.
    fn settle(&mut self, now: Instant) {
        let settled = self.group.settled(&mut self.buffer);
        if settled.is_empty() {
            return;
        }
        let line = |(index, end): &(usize, TaskEnd)| {
            let name = self.group.members[*index].name.clone();
            Line::Task(TaskStatus { name, state: TaskState::Ended(end.clone()) })
        };
        let lines: Vec<Line> = settled.iter().map(line).collect();
        if self.record(&lines, now) {
            settled.into_iter().for_each(|(index, end)| self.group.end(index, end));
        } else {
            self.settle = Settle::Due;
        }
    }

    /// The record of the group's end, once every process is gone and the record is on disk.
    fn finish(&mut self, now: Instant) -> Option<Terminal> {
        if !self.may_record(now) {
            return None;
        }
        let ends = self.group.close(self.children, &mut self.buffer)?;
        let terminal = self.terminal(&ends);
        if !self.record(&[Line::Terminal(terminal.clone())], now) {
            return None;
        }
        ends.into_iter().enumerate().for_each(|(index, end)| self.group.end(index, end));
        self.group.delete_containers();
        let changes = self.group.take_changes();
        self.tell(changes);
        Some(terminal)
    }

    fn terminal(&self, ends: &[TaskEnd]) -> Terminal {
        let named = self.group.members.iter().zip(ends);
        let tasks = named.map(|(member, end)| TerminalTask { name: member.name.clone(), end: end.clone() }).collect();
        Terminal { version: VERSION, finished_unix_ms: unix_ms(), tasks }
    }

    fn may_record(&self, now: Instant) -> bool {
        self.record_retry_at.is_none_or(|at| at <= now)
    }

    /// Whether the end is on disk; if the disk is full or broken, it is tried again for as long as it takes.
    fn record(&mut self, lines: &[Line], now: Instant) -> bool {
        let result = self.record.add(lines, self.durability);
        self.record_retry_at = result.as_ref().err().map(|_| now + RECORD_RETRY);
        if let Err(error) = &result {
            note(&format!("{}: {error}", store::RECORD));
        }
        result.is_ok()
    }
}

/// When others than the one that has spawned it are listened to: at once if somebody is likely to talk to a member.
fn listening(spec: &Spec) -> Listening {
    let is_quiet = |task: &TaskSpec| matches!(task.stdio, Stdio::Output);
    if spec.tasks.iter().all(is_quiet) { Listening::Later } else { Listening::Now }
}

fn read_spec() -> Result<Spec, SetupError> {
    let content = fs::read(store::SPEC).map_err(|error| SetupError::Io(store::SPEC, error))?;
    let spec: Spec = serde_json::from_slice(&content)?;
    spec.validate()?;
    Ok(spec)
}

/// Leaves the agent's session and working directory behind, and its standard error for the log.
fn detach(directory: &Path) -> io::Result<()> {
    std::env::set_current_dir(directory)?;
    store::keep_log()?;
    leave_session();
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}

pub(super) fn leave_streams() -> io::Result<()> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    Ok(())
}

/// Leaves the session, and the file mode mask of whoever has spawned this process.
pub(super) fn leave_session() {
    // Refused to the leader of a process group, such as a job of a shell; then there is at least a group of its own.
    if let Err(error) = rustix::process::setsid() {
        note(&format!("setsid: {error}"));
    }
    rustix::process::umask(Mode::from_raw_mode(0o022));
}

fn to_timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX), tv_nsec: duration.subsec_nanos().into() }
}
