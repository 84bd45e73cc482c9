//! What the machines say to each other: framework ⇄ master ([`Call`], [`Event`]) and agent ⇄ master ([`FromAgent`], [`ToAgent`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::{
    AgentId, AgentInfo, CallId, ClientId, ClusterId, Demand, DeviceId, DeviceReport, ExecutorId, FrameworkId, GangId,
    Milli, Offer, OfferId, OfferMode, OfferRules, OperationId, PriceChange, Reason, Reject, Resources, Role, Status,
    Task, TaskGroup, TaskId, TaskKey, TaskState, Term, UpdateId,
};

/// What a framework says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameworkInfo {
    /// For people.
    pub name: Arc<str>,
    /// The user that its tasks run as, where the agent may choose; empty means the agent's own.
    pub user: Arc<str>,
    /// The roles that it takes offers for; at least one.
    pub roles: BTreeSet<Role>,
    /// How long its tasks live on while it is away.
    pub failover_timeout: Duration,
    /// How it takes offers.
    pub offer_mode: OfferMode,
    /// How long an exclusive offer to it stands; none means the master's default.
    pub offer_timeout: Option<Duration>,
    /// Where it serves people or clients of its own.
    pub url: Option<Arc<str>>,
    /// What its author wrote on it.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
    /// What it asks of its offers.
    pub rules: Arc<OfferRules>,
    /// What it understands beyond what every framework does.
    pub capabilities: BTreeSet<Capability>,
}

/// What a framework may understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// `TASK_KILLING`: it is told when a task of it that runs was told to end, and why, before it has ended.
    TaskKilling,
    /// Resources that may be taken back at any time: it is offered what devices keep of their machine for their tenants.
    RevocableResources,
}

/// Whether a framework is told that a task was told to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Announce {
    /// It hears of the end only.
    #[default]
    No,
    /// By `TASK_KILLING`.
    Yes,
}

/// The first call on every connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// The id from an earlier subscription; none for a new framework.
    pub framework: Option<FrameworkId>,
    /// Drawn once by a new framework, so that a repeated subscription is the same framework.
    pub client: ClientId,
    /// What it says of itself.
    pub info: FrameworkInfo,
    /// The roles for which it wants no offers yet.
    pub suppressed: BTreeSet<Role>,
    /// Counts the framework's connections: one with a lower number than another that the master knows has been abandoned, and is
    /// refused. Zero is not counted.
    pub connection: u64,
}

/// What a framework tells the master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Here I am.
    Subscribe(Subscribe),
    /// I take these offers and do this with them.
    Accept(Accept),
    /// I take these offers of several agents, and start these groups on all of them or on none.
    AcceptGang(AcceptGang),
    /// I don't want these.
    Decline {
        /// Which.
        offers: Vec<OfferId>,
        /// For how long not, and why.
        refusal: Refusal,
    },
    /// This is what I wait for in that role. Replaces what was declared before.
    Demand {
        /// Which role.
        role: Role,
        /// What; `None` takes the declaration back.
        demand: Option<Demand>,
    },
    /// I ask this of offers from now on; optimistic ones that stand and are not like that are taken back.
    Rules {
        /// Answered under this number.
        id: CallId,
        /// What.
        rules: OfferRules,
    },
    /// No offers for these roles.
    Suppress(BTreeSet<Role>),
    /// Offers for these roles again; filters are forgotten.
    Revive(BTreeSet<Role>),
    /// End that task.
    Kill {
        /// Answered under this number.
        id: CallId,
        /// Which.
        task: TaskId,
        /// How long it gets after SIGTERM; none means what the task says.
        grace: Option<Duration>,
    },
    /// I have that update, for good.
    Acknowledge {
        /// From which agent; none for updates that the master made.
        agent: Option<AgentId>,
        /// Of which task.
        task: TaskId,
        /// Which update.
        uuid: UpdateId,
    },
    /// What is the state of these tasks? Of all of mine, if none is named.
    Reconcile(Vec<Asked>),
    /// Bytes for one of my executors.
    Message {
        /// Where it runs.
        agent: AgentId,
        /// Which.
        executor: ExecutorId,
        /// The bytes.
        data: Arc<[u8]>,
    },
    /// I am done: remove me, kill my tasks.
    Teardown,
}

/// A task whose state is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Which.
    pub task: TaskId,
    /// Where it was last, if that is known: then the answer can tell "its agent is away" from "nobody knows it".
    pub agent: Option<AgentId>,
}

/// An acceptance: offers of one agent, and what to do with them, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accept {
    /// Answered under this number by an [`Outcome`].
    pub id: CallId,
    /// The agent; also for an accept that outlives the term of its offers.
    pub agent: AgentId,
    /// The offers, all of that agent and of one role.
    pub offers: Vec<OfferId>,
    /// What to do, in order.
    pub operations: Vec<Operation>,
    /// How to treat what is left.
    pub refusal: Refusal,
}

/// An acceptance over several agents, all or none.
///
/// Unlike an [`Accept`] it is answered late: when all of its tasks run, when none of them will, or when it was aborted. Until its
/// [`Outcome`] is there it is to be repeated on every new connection, for its framework alone knows all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptGang {
    /// Answered under this number by an [`Outcome`]; if it is refused, by one [`Rejection`] that names all of its tasks.
    pub id: CallId,
    /// What to start where; at most one part for each agent.
    pub parts: Vec<GangPart>,
    /// How to treat what is left of the offers.
    pub refusal: Refusal,
}

impl AcceptGang {
    /// The most agents that one gang may span.
    pub const MAX_PARTS: usize = 1024;
    /// The most tasks that one gang may have.
    pub const MAX_TASKS: usize = 4096;

    /// Every task, with the agent that it is for.
    pub fn tasks(&self) -> impl Iterator<Item = (AgentId, &Task)> {
        let groups = self.parts.iter().flat_map(|part| part.groups.iter().map(|group| (part.agent, group)));
        groups.flat_map(|(agent, group)| group.tasks.iter().map(move |task| (agent, task)))
    }
}

/// What a gang starts on one agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GangPart {
    /// The agent.
    pub agent: AgentId,
    /// The offers, all of that agent and of one role.
    pub offers: Vec<OfferId>,
    /// The groups to start.
    pub groups: Vec<TaskGroup>,
}

/// What can be done with offered resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Start this group. A single task is a group of one.
    Launch(TaskGroup),
    /// Reserve these, as their reservation stack says.
    Reserve(Resources),
    /// Take the top layer of the reservation of these away.
    Unreserve(Resources),
    /// Make these persistent volumes.
    Create(Resources),
    /// Destroy these persistent volumes, and the data.
    Destroy(Resources),
    /// Make a persistent volume larger.
    Grow {
        /// The volume as it is.
        volume: Resources,
        /// Disk of the same reservation that it is to have more.
        addition: Resources,
    },
    /// Make a persistent volume smaller.
    Shrink {
        /// The volume as it is.
        volume: Resources,
        /// How much disk it is to have less.
        by: Milli,
    },
}

impl Operation {
    /// The operation's name, lower case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Launch(_) => "launch",
            Self::Reserve(_) => "reserve",
            Self::Unreserve(_) => "unreserve",
            Self::Create(_) => "create",
            Self::Destroy(_) => "destroy",
            Self::Grow { .. } => "grow",
            Self::Shrink { .. } => "shrink",
        }
    }
}

/// For how long a framework does not want what it refuses, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// How long; zero means offer again at once.
    pub duration: Duration,
    /// Whether the master may make it longer.
    pub pace: Pace,
    /// Why, for people and for `why`.
    pub reason: Option<Arc<str>>,
}

/// Whether the master may make a refusal longer than it says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pace {
    /// It holds for as long as it says.
    #[default]
    AsSaid,
    /// It holds for twice as long each time the same is refused of the same agent, up to a bound; an acceptance begins anew. For
    /// frameworks that have not declared what they wait for.
    Adaptive,
}

impl Refusal {
    /// The longest refusal, as in Mesos: a year.
    pub const MAX: Duration = Duration::from_secs(365 * 24 * 3600);

    /// The time of a refusal that says none, as in Mesos.
    pub const USUAL: Duration = Duration::from_secs(5);

    /// A refusal for `duration`.
    pub const fn of(duration: Duration) -> Self {
        Self { duration, pace: Pace::AsSaid, reason: None }
    }

    /// A refusal that leaves it to the master for how long: for [`Refusal::USUAL`] at first, longer when it is repeated.
    pub const fn usual() -> Self {
        Self { duration: Self::USUAL, pace: Pace::Adaptive, reason: None }
    }
}

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Which call.
    pub call: CallId,
    /// What of it was refused; empty if all was done.
    pub rejected: Vec<Rejection>,
}

/// A part of a call that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The index of the operation in the accept; 0 for other calls.
    pub operation: usize,
    /// The tasks that the operation would have launched, or the one that the call names.
    pub tasks: Vec<TaskId>,
    /// Why.
    pub reject: Reject,
}

/// What the master tells a framework.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// You are subscribed.
    Subscribed {
        /// Under this id.
        framework: FrameworkId,
        /// To this cluster.
        cluster: ClusterId,
        /// In this term of its master.
        term: Term,
        /// How many known agents are still to come back after a failover of the master.
        agents_missing: u32,
    },
    /// These are offered to you.
    Offers(Vec<Arc<Offer>>),
    /// These are offered no more.
    Rescind(Vec<OfferId>),
    /// A task's state; acknowledge it if it has a uuid.
    Update(Status),
    /// What became of a call of yours.
    Outcome(Outcome),
    /// Bytes from one of your executors.
    Message {
        /// Where it runs.
        agent: AgentId,
        /// Which.
        executor: ExecutorId,
        /// The bytes.
        data: Arc<[u8]>,
    },
    /// An agent is gone for good.
    AgentLost(AgentId),
    /// An agent will be taken away, or stays after all.
    AgentLeaves {
        /// Which.
        agent: AgentId,
        /// Its name.
        name: Arc<str>,
        /// After how long; none if it stays.
        after: Option<Duration>,
    },
    /// What machines cost has changed; on a new connection, all that is known.
    Prices(Vec<PriceChange>),
    /// The connection ends, because of this.
    Error(Reject),
}

/// All that an agent says of itself, first on every connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentReport {
    /// The id and cluster from an earlier registration; none for a new agent.
    pub agent: Option<(AgentId, ClusterId)>,
    /// The highest term that it has heard of. A master of an older one has been replaced.
    pub term: Term,
    /// Drawn once by a new agent, so that a repeated registration is the same agent.
    pub client: ClientId,
    /// What it is like.
    pub info: Arc<AgentInfo>,
    /// What it has, devices excepted.
    pub resources: Resources,
    /// The devices it has, and who holds them.
    pub devices: Vec<DeviceReport>,
    /// Every task that it has not forgotten.
    pub tasks: Vec<TaskReport>,
    /// The gangs that it holds resources for.
    pub held: Vec<GangId>,
    /// The last operation that it carried out; the resources hold what it led to.
    pub operated: Option<OperationId>,
    /// Counts the agent's connections, as [`Subscribe::connection`] does those of a framework.
    pub connection: u64,
}

/// A task as its agent knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskReport {
    /// Whose.
    pub framework: FrameworkId,
    /// The task; its resources hold the devices that it was given.
    pub task: Task,
    /// The state that its agent knows; the framework may not have heard of it.
    pub state: TaskState,
}

/// A group to start, as the master decided it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Whose.
    pub framework: FrameworkId,
    /// The tasks; their resources hold the devices that they were given.
    pub group: TaskGroup,
    /// The user to run as, where the agent may choose; empty means the agent's own.
    pub user: Arc<str>,
    /// For how long a finished task's id is remembered: the framework's failover timeout.
    pub remember: Duration,
}

/// What an agent tells the master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromAgent {
    /// Here I am.
    Register(Box<AgentReport>),
    /// I have heard that I am registered, and obey no master of an older term any more; said once that is durable.
    Confirmed(Term),
    /// The oldest unacknowledged state of a task.
    Update {
        /// Whose.
        framework: FrameworkId,
        /// The state; has a uuid.
        status: Status,
        /// The newest state, which may be ahead.
        latest: TaskState,
    },
    /// These devices have been cleaned and may be given out again.
    DevicesFree(Vec<(DeviceId, u64)>),
    /// The slices of these shared devices that these tasks left have been cleaned and may be given out again.
    SlicesFree(Vec<(DeviceId, TaskKey)>),
    /// The devices are now these.
    Devices(Vec<DeviceReport>),
    /// I hold what that gang needs of me.
    Held(GangId),
    /// I can't, or no longer, hold what that gang needs of me.
    NotHeld(GangId, Reject),
    /// What became of an operation.
    Operated {
        /// Which.
        id: OperationId,
        /// Done, now or before, or why not.
        result: Result<(), Reject>,
        /// What the agent has now, devices excepted.
        resources: Resources,
    },
    /// The journal can't be written (or can be again): nothing new is started meanwhile.
    Journal {
        /// Whether it can't.
        degraded: bool,
    },
    /// Bytes from an executor for its framework.
    Message {
        /// Whose.
        framework: FrameworkId,
        /// Which.
        executor: ExecutorId,
        /// The bytes.
        data: Arc<[u8]>,
    },
}

/// What the master tells an agent. Each frame carries the master's term; agents refuse an older one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToAgent {
    /// You are registered.
    Registered {
        /// Under this id.
        agent: AgentId,
        /// In this cluster.
        cluster: ClusterId,
    },
    /// Start these.
    Launch(Launch),
    /// End that task.
    Kill {
        /// Which.
        task: TaskKey,
        /// How long it gets after SIGTERM; none means what the task says.
        grace: Option<Duration>,
        /// Why, as its last status will say.
        reason: Reason,
        /// Whether its framework is to hear of it before.
        announce: Announce,
    },
    /// The framework has that update, for good.
    Acknowledge {
        /// Of which task.
        task: TaskKey,
        /// Which update.
        uuid: UpdateId,
    },
    /// Keep what these groups need; they belong to that gang. Forgotten by itself after [`ToAgent::HOLD`].
    Hold {
        /// Which gang.
        gang: GangId,
        /// This agent's part of it.
        groups: Vec<Launch>,
    },
    /// Start what is held for that gang.
    Start(GangId),
    /// Forget what is held for that gang.
    Release(GangId),
    /// Change your reservations or volumes, and confirm it. A repeated one is confirmed again and not done again.
    Operate {
        /// Which operation; larger than all before it.
        id: OperationId,
        /// What to do.
        operation: Operation,
    },
    /// That framework is removed: kill its tasks, forget it.
    RemoveFramework(FrameworkId),
    /// Bytes for an executor.
    Message {
        /// Whose.
        framework: FrameworkId,
        /// Which.
        executor: ExecutorId,
        /// The bytes.
        data: Arc<[u8]>,
    },
    /// A person has seen to this device, which is quarantined: clean it once more, and give it out again if that succeeds.
    ClearDevice(DeviceId),
    /// You are not wanted: end your tasks and forget your id.
    Shutdown(Reject),
}

impl ToAgent {
    /// How long an agent holds what a gang needs of it.
    pub const HOLD: Duration = Duration::from_secs(10);
}
