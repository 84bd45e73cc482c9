use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{AgentId, Claim, ExecutorId, Resources, Role, TaskId, UpdateId, WallTime};

#[cfg(test)]
mod tests;

/// A task's specification as its framework wrote it, opaque to the core: each API echoes it exactly.
#[derive(Clone, PartialEq, Eq)]
pub struct Body(Arc<[u8]>);

impl Body {
    /// The largest that is accepted, in bytes.
    pub const MAX_LEN: usize = 4 << 20;

    /// Takes `bytes`.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.0.len())
    }
}

/// What a framework asks to be run: the parts that decisions need, and the body that they don't.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its id, unique in its framework for ever.
    pub id: TaskId,
    /// For people; need not be unique.
    pub name: Arc<str>,
    /// The role that is charged; one that the framework is subscribed to.
    pub role: Role,
    /// What it asks for. After acceptance also the devices that its claims were resolved to.
    pub resources: Resources,
    /// The devices that it asks for.
    pub claims: Vec<Claim>,
    /// Higher is more important, within its role.
    pub priority: i32,
    /// How long it gets between SIGTERM and SIGKILL.
    pub kill_grace: Duration,
    /// How long it is expected to run, where that is known; nothing is enforced by it.
    pub expected_run_time: Option<Duration>,
    /// Who runs it.
    pub executor: ExecutorRef,
    /// The rest of it: command, environment, checks.
    pub body: Body,
}

/// Who runs a task on the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ExecutorRef {
    /// The built-in supervisor, one for each task group.
    #[default]
    Supervisor,
    /// The framework's own executor of this id, that is running on the agent.
    Custom(ExecutorId),
}

/// Tasks that share a container and live and die together. Most are groups of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskGroup {
    /// At least one; ids differ.
    pub tasks: Vec<Task>,
}

impl TaskGroup {
    /// The most tasks that a group may have.
    pub const MAX_TASKS: usize = 64;

    /// A group of `task` alone.
    pub fn single(task: Task) -> Self {
        Self { tasks: vec![task] }
    }

    /// What all of them ask for together. Two of a group that was not checked yet may ask for the same port: here it is there once.
    pub fn resources(&self) -> Resources {
        let mut sum = Resources::new();
        for task in &self.tasks {
            sum.merge(&task.resources);
        }
        sum
    }

    /// The id by which the group is known on its agent: that of its first task.
    pub fn leader(&self) -> &TaskId {
        &self.tasks.first().expect("a group has at least one task").id
    }
}

/// The states of a task, numbered as in Mesos v1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskState {
    /// Accepted by the master, not yet heard of from its agent.
    Staging = 6,
    /// Its agent is getting it ready.
    Starting = 0,
    /// Its command runs.
    Running = 1,
    /// It is being killed.
    Killing = 8,
    /// Ended with success.
    Finished = 2,
    /// Ended without success.
    Failed = 3,
    /// Ended because it was told to.
    Killed = 4,
    /// Its description is not acceptable.
    Error = 7,
    /// Lost, for frameworks that can't tell how.
    Lost = 5,
    /// Never started.
    Dropped = 9,
    /// Its agent can't be reached; it may be running.
    Unreachable = 10,
    /// Gone with its agent, or unknown to it.
    Gone = 11,
    /// Gone, says an operator.
    GoneByOperator = 12,
    /// Not known: the answer to a question, never a state that a task is in.
    Unknown = 13,
}

impl TaskState {
    /// Every state.
    pub const ALL: [Self; 14] = [
        Self::Staging,
        Self::Starting,
        Self::Running,
        Self::Killing,
        Self::Finished,
        Self::Failed,
        Self::Killed,
        Self::Error,
        Self::Lost,
        Self::Dropped,
        Self::Unreachable,
        Self::Gone,
        Self::GoneByOperator,
        Self::Unknown,
    ];

    /// Whether nothing can follow.
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Finished
            | Self::Failed
            | Self::Killed
            | Self::Error
            | Self::Lost
            | Self::Dropped
            | Self::Gone
            | Self::GoneByOperator => true,
            Self::Staging | Self::Starting | Self::Running | Self::Killing | Self::Unreachable | Self::Unknown => false,
        }
    }

    /// Whether a task in this state may move to `next`. A task may stay in its state; an unreachable one may turn out to be anything.
    pub const fn may_become(self, next: Self) -> bool {
        match self {
            Self::Staging => !matches!(next, Self::Unknown),
            Self::Starting => !matches!(next, Self::Unknown | Self::Staging),
            Self::Running => !matches!(next, Self::Unknown | Self::Staging | Self::Starting),
            Self::Killing => !matches!(next, Self::Unknown | Self::Staging | Self::Starting | Self::Running),
            Self::Unreachable => !matches!(next, Self::Unknown),
            _ => false,
        }
    }

    /// The name as in Mesos: `TASK_RUNNING`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Staging => "TASK_STAGING",
            Self::Starting => "TASK_STARTING",
            Self::Running => "TASK_RUNNING",
            Self::Killing => "TASK_KILLING",
            Self::Finished => "TASK_FINISHED",
            Self::Failed => "TASK_FAILED",
            Self::Killed => "TASK_KILLED",
            Self::Error => "TASK_ERROR",
            Self::Lost => "TASK_LOST",
            Self::Dropped => "TASK_DROPPED",
            Self::Unreachable => "TASK_UNREACHABLE",
            Self::Gone => "TASK_GONE",
            Self::GoneByOperator => "TASK_GONE_BY_OPERATOR",
            Self::Unknown => "TASK_UNKNOWN",
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Who says that a task is in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The master.
    Master,
    /// The agent.
    Agent,
    /// The executor; for most tasks the supervisor.
    Executor,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal, $fault:ident;)*) => {
        /// Why a task came to be in a state. The numbers are ours and stable; each API maps them to its own.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Reason {
            $($(#[$doc])* $name = $number,)*
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The stable name, upper case.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Whether the cluster is to blame and not the task: such an end should not cost one of the user's retries.
            pub const fn is_infrastructure(self) -> bool {
                matches!(match self { $(Self::$name => Fault::$fault,)* }, Fault::Cluster)
            }
        }
    };
}

enum Fault {
    Cluster,
    Task,
}

reasons! {
    /// The command ended by itself with a status other than 0, or by a signal of its own.
    CommandFailed = 1, "COMMAND_FAILED", Task;
    /// The command could not be started: not found, not executable, its folder missing.
    CommandNotStarted = 2, "COMMAND_NOT_STARTED", Task;
    /// A framework or an operator asked for it.
    KillRequested = 3, "KILL_REQUESTED", Task;
    /// It ran longer than it may.
    MaxCompletionTime = 4, "MAX_COMPLETION_TIME", Task;
    /// Another task of its group ended.
    GroupEnded = 5, "GROUP_ENDED", Task;
    /// It used more memory than its limit.
    MemoryLimit = 6, "MEMORY_LIMIT", Task;
    /// It used more disk than its limit.
    DiskLimit = 7, "DISK_LIMIT", Task;
    /// Its description is not acceptable.
    TaskInvalid = 8, "TASK_INVALID", Task;
    /// A health check failed too often.
    Unhealthy = 9, "UNHEALTHY", Task;
    /// An artefact or image of it is not there, or not what it must be: by its digest, its signature, its form.
    ArtefactRefused = 90, "ARTEFACT_REFUSED", Task;
    /// Its offer was no longer valid (frameworks with exclusive offers).
    InvalidOffers = 20, "INVALID_OFFERS", Cluster;
    /// Its agent can't be reached.
    AgentDisconnected = 21, "AGENT_DISCONNECTED", Cluster;
    /// Its agent was given up.
    AgentRemoved = 22, "AGENT_REMOVED", Cluster;
    /// Its agent came back and reports it.
    AgentReregistered = 23, "AGENT_REREGISTERED", Cluster;
    /// Its agent does not know it.
    UnknownToAgent = 24, "AGENT_DOES_NOT_KNOW_TASK", Cluster;
    /// A device of its claim was missing, unhealthy or held when it was to start.
    DeviceUnavailable = 25, "DEVICE_UNAVAILABLE", Cluster;
    /// Its supervisor died.
    SupervisorLost = 26, "SUPERVISOR_LOST", Cluster;
    /// The agent could not prepare it: sandbox, journal, supervisor.
    LaunchFailed = 27, "LAUNCH_FAILED", Cluster;
    /// The machine was started anew.
    AgentRebooted = 28, "AGENT_REBOOTED", Cluster;
    /// Something of higher right needed its resources.
    Preempted = 29, "PREEMPTED", Cluster;
    /// Another member of its gang did not start.
    GangAborted = 30, "GANG_ABORTED", Cluster;
    /// Its framework was removed.
    FrameworkRemoved = 31, "FRAMEWORK_REMOVED", Cluster;
    /// The answer to a question about it.
    Reconciliation = 32, "RECONCILIATION", Cluster;
    /// Its agent will be taken away.
    AgentLeaving = 145, "AGENT_LEAVING", Cluster;
    /// Its artefacts could not be fetched.
    FetchFailed = 33, "FETCH_FAILED", Cluster;
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// What the checks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskHealth {
    /// Its health check passes.
    Healthy,
    /// Its health check fails.
    Unhealthy,
}

/// A task's state at a moment, told to its framework.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Which task.
    pub task: TaskId,
    /// Its state.
    pub state: TaskState,
    /// Who says so.
    pub source: Source,
    /// Why.
    pub reason: Option<Reason>,
    /// Why, for people; at most [`Status::MAX_MESSAGE`] bytes.
    pub message: Arc<str>,
    /// What to acknowledge. None where the status answers a question and needs no acknowledgement.
    pub uuid: Option<UpdateId>,
    /// The task's agent.
    pub agent: Option<AgentId>,
    /// How the command ended.
    pub exit: Option<Exit>,
    /// What its health check says, if it has one.
    pub health: Option<TaskHealth>,
    /// When, by the clock of who says it.
    pub at: WallTime,
    /// What its executor adds; small.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
}

impl Status {
    /// The longest message, in bytes; longer ones are cut.
    pub const MAX_MESSAGE: usize = 1024;

    /// `task` is in `state`, says `source`; everything else empty.
    pub fn new(task: TaskId, state: TaskState, source: Source) -> Self {
        Self {
            task,
            state,
            source,
            reason: None,
            message: Arc::from(""),
            uuid: None,
            agent: None,
            exit: None,
            health: None,
            at: WallTime::default(),
            labels: BTreeMap::new(),
        }
    }

    /// The same, because of `reason`.
    #[must_use]
    pub fn because(mut self, reason: Reason, message: &str) -> Self {
        let end =
            (0..=message.len().min(Self::MAX_MESSAGE)).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
        self.reason = Some(reason);
        self.message = Arc::from(&message[..end]);
        self
    }
}
