//! What the agent and a supervisor say to each other, on disk and on the socket. Everything is JSON.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::edits::Edits;
use crate::cgroup::{Hierarchies, Limits, PortRule, Stats};

/// Version of every format in this file.
pub const VERSION: u32 = 1;
/// Most tasks in a group.
pub const MAX_TASKS: usize = 64;
/// Most bytes in a task's name.
pub const MAX_NAME_BYTES: usize = 128;
/// Most rotated files kept beside the current one.
pub const MAX_KEPT_FILES: u32 = 100;
/// Most bytes in one frame from the supervisor: a snapshot of the largest group with the longest errors is well below.
pub const MAX_FRAME_BYTES: usize = 1 << 20;
/// Most bytes in one command to the supervisor.
pub const MAX_COMMAND_BYTES: usize = 128 << 10;
/// Most processes of a group that were asked for with [`Command::Exec`] and have not ended.
pub const MAX_NESTED: usize = 16;
/// Most bytes kept of an error text.
pub const MAX_ERROR_BYTES: usize = 1024;

/// What to run: the content of `spec.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Always [`VERSION`].
    pub version: u32,
    /// How far an end must have reached the disk before it is told.
    #[serde(default)]
    pub durability: Durability,
    /// How the group is kept apart from the machine; absent: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// The members: at least one, at most [`MAX_TASKS`]; they live and die together.
    pub tasks: Vec<TaskSpec>,
}

/// How a group is kept apart from the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Container {
    /// Where the cgroups of the members are made.
    pub cgroups: Hierarchies,
    /// Absent: it sees the machine's own. Else the supervisor is spawned as the first process of a PID namespace
    /// ([`PidNamespace::New`](super::client::PidNamespace)).
    #[serde(default)]
    pub namespaces: Option<Namespaces>,
    /// The file with the programs that say which system calls may be made; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<PathBuf>,
    /// Folders among those that are shown whose files are to be of the group's own users, if it has some, as they are of the machine's elsewhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mapped: Vec<PathBuf>,
}

/// The group's namespaces: PID, mount, IPC and UTS always.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Namespaces {
    /// Folders of which the group sees nothing but what is shown.
    pub hidden: Vec<PathBuf>,
    /// Files and folders that it sees though they lie in a hidden folder or in `/tmp`; sandboxes are always shown.
    pub shown: Vec<PathBuf>,
    /// How it sees the machine's files.
    pub root: Root,
    /// Whose files it sees instead of the machine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageRoot>,
    /// How it sees the network.
    pub network: Network,
    /// By what right they are made.
    #[serde(default, skip_serializing_if = "Right::is_roots")]
    pub right: Right,
}

/// By what right a supervisor makes namespaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// It runs as root.
    #[default]
    Root,
    /// It is born in a user namespace ([`PidNamespace::NewWithUser`](super::client::PidNamespace)), where it may do what root may elsewhere,
    /// with itself as the only user.
    UserNamespace,
}

impl Right {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
    fn is_roots(&self) -> bool {
        *self == Self::Root
    }
}

/// The files of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageRoot {
    /// Folders of one folder, the topmost layer first; nobody writes to them.
    pub layers: Vec<PathBuf>,
    /// What runs the members instead of the supervisor itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<OciRuntime>,
}

/// An OCI runtime: `runc`, `crun`, or one that is called as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OciRuntime {
    /// The program.
    pub program: PathBuf,
    /// The file with the `linux.seccomp` of its configurations; absent: all system calls may be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<PathBuf>,
}

impl Namespaces {
    /// What runs the members, if the supervisor does not.
    pub(crate) fn runtime(&self) -> Option<(&ImageRoot, &OciRuntime)> {
        let image = self.image.as_ref()?;
        Some((image, image.runtime.as_ref()?))
    }
}

/// How a group sees the machine's files. Its sandboxes and `/tmp` can always be written to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Root {
    /// As its users may.
    #[default]
    Shared,
    /// Nothing can be written.
    ReadOnly,
}

/// How a group sees the network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// The machine's.
    #[default]
    Host,
    /// None but a loopback of its own.
    Private,
    /// One that was made before; the file of its namespace.
    Joined(PathBuf),
}

/// A limit of each process of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rlimit {
    /// As in `RLIMIT_NOFILE`, lower case.
    pub name: String,
    /// What holds at first; absent is no limit.
    pub soft: Option<u64>,
    /// To what it may be raised; absent is no limit.
    pub hard: Option<u64>,
}

/// A member's cgroup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CgroupSpec {
    /// Unique on the agent, and safe as a file name.
    pub name: String,
    /// What it may use.
    pub limits: Limits,
    /// Which ports it may take of the machine's; absent: all that its user may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<PortRule>,
}

/// How far an end must have reached the disk before it is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// Survives a power failure: the record is synced before anybody is told.
    #[default]
    PowerLoss,
    /// Survives the end of the supervisor and of the agent, but not of the machine. For agents that sync their own journal and treat a
    /// reboot as the end of every task.
    ProcessLoss,
}

/// One member of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskSpec {
    /// Unique in the group and safe as a file name: ASCII letters, digits, `.`, `_`, `-`, not starting with a dot.
    pub name: String,
    /// What to execute.
    pub command: CommandLine,
    /// The whole environment; nothing is inherited.
    pub env: Vec<(String, String)>,
    /// Absolute path of the working directory; `stdout` and `stderr` are written here.
    pub sandbox: PathBuf,
    /// Where it runs instead of the sandbox, as it sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<PathBuf>,
    /// Time between SIGTERM and SIGKILL, in milliseconds.
    pub grace_ms: u32,
    /// The task is killed when it runs longer than this, in milliseconds.
    #[serde(default)]
    pub max_run_ms: Option<u64>,
    /// Bounds of the output kept on disk.
    pub logs: LogLimits,
    /// Who runs it: a name of `/etc/passwd`, `UID`, or `UID:GID`. Absent: the supervisor's own user.
    #[serde(default)]
    pub user: Option<String>,
    /// The users of the machine that its own are, counted from root; of all members the same. Absent: its users are the machine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<UserRange>,
    /// Its cgroup, if the group has a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<CgroupSpec>,
    /// The device nodes that it may open beside those that everybody may, if the group has a container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<PathBuf>,
    /// What its devices bring with them, if the group has a container.
    #[serde(default, skip_serializing_if = "Edits::is_empty")]
    pub edits: Edits,
    /// Limits of each of its processes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rlimits: Vec<Rlimit>,
    /// What [`Command::Check`] runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<CommandLine>,
    /// What it reads, and where it writes.
    #[serde(default, skip_serializing_if = "Stdio::is_output")]
    pub stdio: Stdio,
}

/// Users of the machine, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserRange {
    /// Who is root within.
    pub first: u32,
    /// How many there are; the same for groups.
    pub count: u32,
}

/// What a process reads, and where it writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Stdio {
    /// Standard output and standard error, and nothing to read.
    #[default]
    Output,
    /// The same, and what is sent to read.
    Pipes,
    /// A terminal.
    Terminal {
        /// From top to bottom, in characters.
        rows: u16,
        /// From left to right, in characters.
        columns: u16,
        /// The value of `TERM`; empty: that of the task.
        kind: String,
    },
}

impl Stdio {
    fn is_output(&self) -> bool {
        *self == Self::Output
    }
}

/// What to execute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandLine {
    /// A program and its arguments; a program without a slash is looked for in the task's own `PATH`.
    Argv(Vec<String>),
    /// Text for `/bin/sh -c`.
    Shell(String),
}

/// Bounds of one output stream on disk: at most `file_bytes × (keep + 1)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogLimits {
    /// Most bytes in one file.
    pub file_bytes: u64,
    /// Full files kept beside the current one, as `stdout.1` (newest) to `stdout.KEEP`; 0 starts the file over when it is full.
    pub keep: u32,
}

/// Why a spec is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SpecError {
    /// Written by another release.
    #[error("version: expected {VERSION}, found {0}")]
    Version(u32),
    /// Too few or too many members.
    #[error("tasks: expected 1 to {MAX_TASKS}, found {0}")]
    TaskCount(usize),
    /// A field of a member is not what it must be.
    #[error("task {task:?}: {field}: {expected}")]
    Field {
        /// The member's name.
        task: String,
        /// The field's name.
        field: &'static str,
        /// What was expected.
        expected: &'static str,
    },
}

impl Spec {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// Names the first field that is wrong.
    pub fn validate(&self) -> Result<(), SpecError> {
        if self.version != VERSION {
            return Err(SpecError::Version(self.version));
        }
        if self.tasks.is_empty() || self.tasks.len() > MAX_TASKS {
            return Err(SpecError::TaskCount(self.tasks.len()));
        }
        let mut names = BTreeSet::new();
        for task in &self.tasks {
            let refuse = |(field, expected)| SpecError::Field { task: task.name.clone(), field, expected };
            task.validate().map_err(refuse)?;
            if !names.insert(&task.name) {
                return Err(refuse(("name", "expected to be unique in the group")));
            }
        }
        Ok(())
    }
}

impl TaskSpec {
    fn validate(&self) -> Result<(), (&'static str, &'static str)> {
        if !is_file_safe(&self.name) {
            return Err(("name", "expected 1 to 128 of A-Z a-z 0-9 . _ - and no leading dot"));
        }
        if matches!(&self.command, CommandLine::Argv(argv) if argv.first().is_none_or(String::is_empty)) {
            return Err(("command.argv", "expected at least the program"));
        }
        if self.cgroup.as_ref().is_some_and(|cgroup| cgroup.name.is_empty() || cgroup.name.contains('/')) {
            return Err(("cgroup.name", "expected a file name"));
        }
        if self.env.iter().any(|(key, _)| key.is_empty() || key.contains(['=', '\0'])) {
            return Err(("env", "expected names without '=' and not empty"));
        }
        if !self.sandbox.is_absolute() {
            return Err(("sandbox", "expected an absolute path"));
        }
        if self.logs.file_bytes == 0 {
            return Err(("logs.file_bytes", "expected more than 0"));
        }
        if self.logs.keep > MAX_KEPT_FILES {
            return Err(("logs.keep", "expected at most 100"));
        }
        Ok(())
    }
}

fn is_file_safe(name: &str) -> bool {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(safe) && !name.starts_with('.')
}

/// Who supervises: the first line of the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Always [`VERSION`].
    pub version: u32,
    /// Process id; also the session id of every task that has not left its session.
    pub pid: i32,
    /// Start time in clock ticks since boot (`/proc/PID/stat`, field 22).
    pub start_ticks: u64,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// Whose record it is: the last two names of the directory's path. The file may have been another group's, and after a loss of power say
    /// so.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
}

/// A member and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskStatus {
    /// The member's name.
    pub name: String,
    /// Where it stands.
    pub state: TaskState,
}

/// Where a member stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// Not started yet.
    Waiting,
    /// Its command has been executed.
    Running {
        /// Main process, and its process group, as the supervisor sees them.
        pid: i32,
        /// Wall clock in milliseconds since 1970.
        started_unix_ms: u64,
    },
    /// The main process is gone; the end is not reported before the rest is gone too.
    Ending {
        /// How the main process ended.
        outcome: Outcome,
    },
    /// Durable, and no process of the task lives.
    Ended(TaskEnd),
}

/// How a member ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskEnd {
    /// How the main process ended.
    pub outcome: Outcome,
    /// Who wanted it to end, if it did not end by itself.
    pub killed: Option<KillCause>,
    /// When the main process was started, in milliseconds since 1970; `None` if it never was.
    pub started_unix_ms: Option<u64>,
    /// When the main process ended, in milliseconds since 1970.
    pub ended_unix_ms: u64,
    /// Output that could not be written to disk.
    pub dropped_bytes: u64,
    /// What the main process and the descendants that it waited for used.
    pub usage: Usage,
    /// What its cgroup has used, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Box<Stats>>,
}

impl TaskEnd {
    /// Exited with 0 and nobody wanted it to end.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.killed.is_none() && self.outcome.is_success()
    }
}

/// How a main process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// By itself.
    Exited {
        /// 0 to 255.
        code: i32,
    },
    /// By a signal.
    Signaled {
        /// The signal's number.
        signal: i32,
    },
    /// It was never executed.
    FailedToStart {
        /// The system's error number, where there was one.
        errno: Option<i32>,
        /// What was attempted and why it failed.
        error: String,
    },
}

impl Outcome {
    /// Exited with 0.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Exited { code: 0 })
    }
}

/// Who wanted a member to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KillCause {
    /// A [`Command::Kill`] that names it, or names nobody.
    Requested,
    /// It ran longer than `max_run_ms`.
    TimedOut,
    /// Another member failed or was killed.
    GroupMember,
    /// The supervisor got SIGTERM.
    Shutdown,
}

/// What a process used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time in user mode, microseconds.
    pub user_us: u64,
    /// CPU time in kernel mode, microseconds.
    pub system_us: u64,
    /// Largest resident set, KiB.
    pub max_rss_kib: u64,
}

/// The whole group as it stands: the first frame of each connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Always [`VERSION`].
    pub version: u32,
    /// The supervisor's process id, as the agent sees it.
    pub pid: i32,
    /// The members in the order of the spec.
    pub tasks: Vec<TaskStatus>,
}

/// The whole group has ended: the last line of the record and the last frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terminal {
    /// Always [`VERSION`].
    pub version: u32,
    /// When the last process was gone, in milliseconds since 1970.
    pub finished_unix_ms: u64,
    /// The members in the order of the spec.
    pub tasks: Vec<TerminalTask>,
}

/// A member in the terminal record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalTask {
    /// The member's name.
    pub name: String,
    /// How it ended.
    pub end: TaskEnd,
}

/// What a supervisor says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Frame {
    /// First on each connection.
    Snapshot(Snapshot),
    /// A member's state has changed.
    Task(TaskStatus),
    /// Everything has ended and the record is durable; the supervisor exits.
    Finished(Terminal),
    /// A check has ended.
    Checked {
        /// The member's name.
        task: String,
        /// Whether it exited with 0, in time.
        passed: bool,
    },
    /// The answer to [`Command::Exec`] and [`Command::Input`]; nothing else comes on this connection but [`Frame::NestedEnded`]. With it
    /// come descriptors: the input, if there is one, and for a nested process its outputs.
    Opened {
        /// Whether the first descriptor is an input.
        input: bool,
        /// Whether it is a terminal, which is both.
        terminal: bool,
    },
    /// The nested process that this connection asked for has ended.
    NestedEnded {
        /// How.
        outcome: Outcome,
    },
    /// A command was not carried out, or the spec cannot be run at all.
    Refused {
        /// What was wrong.
        reason: String,
    },
}

/// What an agent says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// SIGTERM now to the process groups of all members, and after the grace period SIGKILL to every process below the supervisor. A later
    /// kill can shorten the grace period, not lengthen it.
    Kill {
        /// The member that is to blame for the end of the others; `None`: all of them.
        task: Option<String>,
        /// Instead of the spec's; 0 is SIGKILL at once.
        grace_ms: Option<u32>,
    },
    /// Runs the check of a member as the member runs: as its user, in its container, with its environment and folder. Answered by
    /// [`Frame::Checked`]; while one runs, no second is started.
    Check {
        /// The member.
        task: String,
        /// It is killed when it runs longer than this, in milliseconds.
        timeout_ms: u32,
    },
    /// Runs a command beside a member that runs, as the member runs. Answered by [`Frame::Opened`], or by [`Frame::NestedEnded`] if it
    /// can't be executed. It is killed when this connection is closed.
    Exec {
        /// The member.
        task: String,
        /// The program and its arguments.
        args: Vec<String>,
        /// What it reads, and where it writes.
        stdio: Stdio,
    },
    /// Hands out what a member reads; answered by [`Frame::Opened`].
    Input {
        /// The member.
        task: String,
    },
    /// Nothing more is to be read by a member, once nobody else holds what [`Command::Input`] gave.
    CloseInput {
        /// The member.
        task: String,
    },
    /// Sends a signal to the process group of one member, or of all.
    Signal {
        /// The member; `None`: all of them.
        task: Option<String>,
        /// A standard signal's number.
        signal: i32,
    },
}

#[cfg(test)]
#[path = "protocol_tests.rs"]
mod tests;
