//! What goes into an agent, what comes out of it, and what its journal holds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{
    AgentId, Attribute, ClientId, ClusterId, Device, DeviceId, DeviceState, Domain, Exit, FrameworkId, FromAgent,
    GangId, Launch, OperationId, Reason, Reject, Resources, Status, TaskId, TaskKey, Term, ToAgent, UpdateId,
    VolumeKey, WallTime,
};

/// What an agent is told at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// For people.
    pub name: Arc<str>,
    /// What it has, devices excepted.
    pub resources: Resources,
    /// What it is like.
    pub attributes: BTreeMap<Arc<str>, Attribute>,
    /// Where it stands, if it was told.
    pub domain: Option<Domain>,
    /// How much of its cpus and memory is kept for the tenants of its devices, in thousandths; in equal parts for all devices that are
    /// there and whose source says nothing of it.
    pub host_share_milli: u16,
    /// The wall time at [`Time::ZERO`](crate::model::Time::ZERO).
    pub origin: WallTime,
    /// Seeds the generator of update ids; drawn by the shell.
    pub seed: u64,
}

/// What happens to an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A deadline has come.
    Tick,
    /// A connection to the master is open.
    Connected,
    /// It is lost.
    Disconnected,
    /// The master says something, in its term.
    FromMaster {
        /// The master's term.
        term: Term,
        /// What.
        message: ToAgent,
    },
    /// A group's supervisor says that these of its tasks run.
    Running {
        /// Which task.
        task: TaskKey,
    },
    /// A task ended; no process of it is left.
    Ended {
        /// Which task.
        task: TaskKey,
        /// How.
        end: End,
    },
    /// A device source tells what it has now; replaces all that it told before.
    Discovered {
        /// Which source.
        source: Arc<str>,
        /// What it has.
        devices: Vec<Device>,
    },
    /// The release step of a device is done: nothing holds it, it is clean.
    Released {
        /// Which device.
        device: DeviceId,
        /// Which tenancy of it.
        generation: u64,
        /// Clean, or why not.
        result: Result<(), Arc<str>>,
    },
    /// A health check's result, where it says something new.
    Health {
        /// Of which task.
        task: TaskKey,
        /// What it says.
        finding: Finding,
    },
    /// The data of a volume is gone, or could not be removed.
    VolumeDestroyed {
        /// Which.
        volume: VolumeKey,
        /// Gone, or why not.
        result: Result<(), Arc<str>>,
    },
    /// The agent is to stop, and its tasks with it: they are ended, each within its grace period.
    EndTasks,
    /// The journal could not be written (the shell retries), or can be again.
    Journal {
        /// Whether it can't be written.
        degraded: bool,
    },
}

/// What a health check says of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It passes.
    Healthy,
    /// It fails.
    Unhealthy,
    /// It has failed as often as the task allows: the task is to end.
    Condemned,
}

/// How a task ended, as its supervisor tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself.
    Exited(Exit),
    /// After a kill that was asked for; how, unless it came before the command was started.
    Killed(Option<Exit>),
    /// It ran longer than it may.
    TimedOut,
    /// Because another of its group ended.
    GroupEnded,
    /// It was killed because it needed more memory than it may; how much.
    MemoryLimit(Arc<str>),
    /// It was killed because it took more disk than it may; how much.
    DiskLimit(Arc<str>),
    /// The command could not be started; why.
    NotStarted(Arc<str>),
    /// Sandbox or supervisor could not be made; why.
    LaunchFailed(Arc<str>),
    /// An artefact or its image could not be had; why.
    FetchFailed(Arc<str>),
    /// An artefact or its image is not there, or not what it must be; why.
    ArtefactRefused(Arc<str>),
    /// Its supervisor died without a word; processes of it that could be found were killed.
    SupervisorLost,
    /// The machine was started anew meanwhile.
    Rebooted,
}

/// What an agent does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Tell the master. Dropped by the shell if there is no connection: the agent says it again.
    ToMaster(FromAgent),
    /// Make sandboxes and a supervisor for this group, with these devices for each task.
    Start {
        /// What to start.
        launch: Launch,
        /// The devices of each task, to be shown to it.
        devices: BTreeMap<TaskId, Vec<Arc<Device>>>,
    },
    /// Have its supervisor end this task within the grace period.
    Kill {
        /// Which.
        task: TaskKey,
        /// How long it gets.
        grace: Duration,
    },
    /// Run the release step of this device: nothing holds it, and it is clean; answer with [`Input::Released`].
    Release {
        /// Which device.
        device: Arc<Device>,
        /// Which tenancy of it.
        generation: u64,
        /// If only a slice of it is to be cleaned, whose it was; others may hold the device open.
        slice: Option<TaskKey>,
    },
    /// Make the directory of a volume, if it is not there; before any task that uses it is started.
    MakeVolume {
        /// Which.
        volume: VolumeKey,
        /// Whether it is new: then nothing of an earlier one may be seen in it.
        fresh: bool,
    },
    /// Remove the directory of this volume with all that is in it; answer with [`Input::VolumeDestroyed`].
    DestroyVolume(VolumeKey),
    /// All updates of the group are acknowledged: the supervisor's folder may go, the sandbox is left to garbage collection.
    Forget {
        /// The group's leader: its first task.
        task: TaskKey,
    },
    /// End all tasks, then the agent: the master does not want it.
    Shutdown(Reject),
    /// Something for the log.
    Notice(String),
}

/// What the agent's journal holds; replayed in order it gives [`Journal`](super::Journal).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The agent was started for this many times, and is about to reach a master.
    Life(u32),
    /// The number that a new agent has drawn, so that a repeated registration is the same agent.
    Client(ClientId),
    /// The agent's own id.
    Registered {
        /// Its id.
        agent: AgentId,
        /// Its cluster.
        cluster: ClusterId,
    },
    /// The highest term that was heard.
    Term(Term),
    /// A group is about to be started.
    Launch(Launch),
    /// A status update was made.
    Update {
        /// Whose.
        framework: FrameworkId,
        /// The update.
        status: Status,
    },
    /// A status update was acknowledged.
    Acknowledged {
        /// Of which task.
        task: TaskKey,
        /// Which.
        uuid: UpdateId,
    },
    /// A task is to end.
    Kill {
        /// Which.
        task: TaskKey,
        /// Why.
        cause: KillCause,
    },
    /// A framework was removed: its tasks are to end, and their updates need no acknowledgement.
    FrameworkRemoved(FrameworkId),
    /// A task that ended and was acknowledged, of which only the end is remembered. Written at compaction; follows from the other
    /// records otherwise.
    Finished {
        /// Whose.
        framework: FrameworkId,
        /// Its end.
        status: Status,
        /// For how long its id is remembered.
        remember: Duration,
    },
    /// A task's id is forgotten.
    Forgotten {
        /// Which.
        task: TaskKey,
    },
    /// A device's state changed.
    Device {
        /// Which.
        device: DeviceId,
        /// Its state now.
        state: DeviceState,
        /// The number of its tenancies so far.
        generation: u64,
        /// Why it is not given out again once it is clean; none if it is.
        condemned: Option<Arc<str>>,
    },
    /// What a gang needs of this agent is set aside.
    Hold {
        /// Which gang.
        gang: GangId,
        /// This agent's part of it.
        groups: Vec<Launch>,
    },
    /// It is set aside no more.
    Released(GangId),
    /// An operation was carried out.
    Operated {
        /// Which; larger than all before it.
        id: OperationId,
        /// All that is reserved dynamically or a volume from now on.
        reserved: Resources,
        /// The volumes whose data is to be removed.
        doomed: Vec<VolumeKey>,
    },
    /// The data of a destroyed volume is gone.
    VolumeDestroyed(VolumeKey),
}

/// Why a task is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KillCause {
    /// Its framework or an operator asked for it.
    Requested,
    /// Its framework was removed.
    FrameworkRemoved,
    /// Its health check failed too often.
    Unhealthy,
    /// Something of higher right needs its resources.
    Preempted,
    /// Another member of its gang did not start.
    GangAborted,
    /// The agent will be taken away.
    AgentLeaving,
}

impl KillCause {
    /// What the master's `reason` for a kill is here.
    pub(super) const fn of(reason: Reason) -> Self {
        match reason {
            Reason::Preempted => Self::Preempted,
            Reason::GangAborted => Self::GangAborted,
            Reason::AgentLeaving => Self::AgentLeaving,
            _ => Self::Requested,
        }
    }
}
