//! "Why does it wait?", answered as a tree: for each shape its clauses, for each clause every reason that holds, with how many agents.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::stock::{Finding, Standing};
use crate::model::{AgentId, FrameworkId, Milli, Role, TaskKey, TaskState};

pub mod words;

/// The answer to `why` for one framework, shape or task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What was asked about, as text.
    pub subject: String,
    /// One for each thing that waits; empty if nothing does.
    pub waits: Vec<Wait>,
    /// Where it stands, where the subject is a launched task.
    pub task: Option<TaskNote>,
}

/// Where a launched task stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskNote {
    /// Which.
    pub key: TaskKey,
    /// Its state.
    pub state: TaskState,
    /// What was said when it came to be in it.
    pub message: Arc<str>,
    /// For how long it has been in it.
    pub lasting: Duration,
    /// Its agent.
    pub agent: Option<AgentRef>,
    /// What it waits for, if it does.
    pub waits_for: Option<TaskWait>,
}

/// What a launched task waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskWait {
    /// That every agent of its gang holds what its members need; it starts with them or not at all.
    Gang {
        /// How many agents hold their part.
        holding: usize,
        /// How many there are.
        agents: usize,
    },
    /// That its agent says it has the task.
    AgentsAnswer,
    /// That its agent, which has it, gets it ready.
    Preparation,
    /// That its agent comes back; what the task does meanwhile is not known.
    AgentsReturn {
        /// After how much more the agent is given up as unreachable, if it is not yet.
        given_up_in: Option<Duration>,
    },
    /// That it ends, now that it is told to.
    End {
        /// How long it gets before it is killed, from when its agent was told.
        grace: Duration,
    },
    /// That its framework acknowledges its end.
    Acknowledgement,
}

/// An agent, for programs and for people.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AgentRef {
    /// Its id.
    pub id: AgentId,
    /// Its name.
    pub name: Arc<str>,
}

/// A shape that waits: what every answer about it begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Whose it is.
    pub framework: FrameworkId,
    /// For which role.
    pub role: Role,
    /// Its name.
    pub shape: Arc<str>,
    /// What it asks for, as text.
    pub asks: String,
    /// How many wait.
    pub count: u32,
    /// For how long the oldest of them has waited.
    pub waited: Duration,
}

/// Why one shape waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// What waits.
    pub what: Waiting,
    /// Whether waiting is of use.
    pub outlook: Outlook,
    /// How many agents there are, those that are gone for good excepted.
    pub agents: usize,
    /// How many of them have room for one now.
    pub ready: usize,
    /// How many classes of equal agents were looked at: what the answer cost.
    pub evaluations: usize,
    /// What stands in the way, most telling first.
    pub clauses: Vec<Clause>,
}

/// Whether waiting is of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outlook {
    /// Some agent could run it, if only nobody else held what it asks for.
    Possible,
    /// No agent could, even when empty: not unless the cluster changes.
    Hopeless,
    /// There are no agents, or not all of those that are known have come back: it is too early to say.
    Unknown,
}

/// A part of what is asked for that is not met somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// Which part.
    pub kind: ClauseKind,
    /// For how many agents it is not met.
    pub agents: usize,
    /// For how many of them nothing else stands in the way.
    pub alone: usize,
    /// Why not; most agents first.
    pub causes: Vec<Cause>,
}

/// A part of what is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClauseKind {
    /// The framework must be there and want offers.
    Framework,
    /// The role must be within its limits.
    Quota,
    /// What fits must be offered, and taken.
    Offers,
    /// It must be the framework's turn.
    Order,
    /// So much of a scalar, or so many ports.
    Amount {
        /// Which.
        resource: Arc<str>,
    },
    /// One of the device claims.
    Claim {
        /// Its place among the claims, from 0.
        number: usize,
        /// The claim, as text.
        text: String,
    },
    /// All device claims at once.
    Claims,
    /// The volumes that it names.
    Volumes,
    /// What the agent must be like.
    Constraint {
        /// The selector.
        text: String,
    },
    /// What the framework asks of offers.
    Rules,
    /// The framework must not have refused it.
    Filters,
    /// The agent must be there.
    Agents,
}

/// A reason, with the number of agents for which it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// For how many agents it holds; none, where it is not about agents.
    pub agents: usize,
    /// The one that comes closest.
    pub nearest: Option<AgentRef>,
    /// The reason; its amounts are those of the nearest agent.
    pub kind: CauseKind,
}

/// Why something is not offered, or not taken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CauseKind {
    /// The framework is not connected.
    FrameworkAway,
    /// The framework wants no offers for this role.
    Suppressed,
    /// One more would be over a limit.
    OverQuota {
        /// Whose: the role that asks, or one above it.
        role: Role,
        /// Of which resource.
        resource: Arc<str>,
        /// The limit.
        limit: Milli,
        /// What is held, locked and promised already.
        held: Milli,
        /// By how much it would be exceeded.
        over: Milli,
    },
    /// It fits, but is held for others: freed for them by preemption, or guaranteed to them.
    HeldForOthers,
    /// It is on offer to the framework right now.
    Offered,
    /// It fits, and others come first.
    OthersFirst {
        /// Those who have it on offer now, at most a few of them.
        others: Vec<(FrameworkId, Role)>,
        /// How many of them have a smaller share than the one who asks.
        smaller_share: usize,
    },
    /// It fits, but the framework has as many offers as it may have at once, and has to use or decline some first.
    OfferLimit {
        /// How many it has.
        standing: u32,
    },
    /// The agent has too little even when it is empty.
    TooSmall {
        /// By how much.
        short: Milli,
    },
    /// The agent has enough, but it is reserved for other roles.
    Reserved {
        /// By how much what is left falls short.
        short: Milli,
    },
    /// It is free, but kept for the tenants of the agent's devices.
    KeptForDevices {
        /// By how much what is not kept falls short.
        short: Milli,
    },
    /// The volumes that are named are not on this agent.
    VolumeElsewhere,
    /// The volumes that are named are in use.
    VolumeInUse,
    /// Too little is free now; tasks hold the rest.
    NotEnoughFree {
        /// By how much.
        short: Milli,
    },
    /// It is free, but locked by offers to others.
    Locked {
        /// To whom, at most a few of them.
        frameworks: Vec<FrameworkId>,
    },
    /// The agent has no device of that kind.
    NoSuchDevice {
        /// Of which kind.
        kind: Arc<str>,
    },
    /// The agent has devices of the kind, but none matches.
    NoDeviceMatches {
        /// Of which kind.
        kind: Arc<str>,
        /// What the nearest one lacks.
        nearest: String,
    },
    /// The agent has devices that match, but fewer than are asked for.
    TooFewDevices {
        /// How many it has.
        there: usize,
        /// How many are asked for.
        wanted: usize,
    },
    /// Enough devices match, but not as they are connected.
    Topology {
        /// Whether that is so even if all were free.
        even_empty: bool,
    },
    /// Each claim can be met, but not all at once.
    NotTogether,
    /// Matching devices are held.
    DevicesHeld {
        /// Which, by whom; at most a few.
        devices: Vec<DeviceNote>,
    },
    /// Matching devices are being cleaned.
    DevicesCleaning {
        /// Which; at most a few.
        devices: Vec<DeviceNote>,
    },
    /// Matching devices are unhealthy or quarantined.
    DevicesBroken {
        /// Which, and what is wrong; at most a few.
        devices: Vec<DeviceNote>,
    },
    /// The agent is not like that.
    ConstraintNotMet {
        /// What the nearest one misses.
        unmet: String,
    },
    /// The framework refused it for a time.
    Filtered {
        /// For how much longer at most.
        left: Duration,
        /// What it said.
        reason: Option<Arc<str>>,
    },
    /// It is in another region than the master, and the framework takes nothing from there.
    OtherRegion {
        /// In which.
        region: Arc<str>,
    },
    /// The framework's offer constraints don't admit it.
    NotAdmitted {
        /// What the nearest one misses.
        unmet: String,
    },
    /// So little is free that the framework does not take it, although it would do.
    BelowLeast {
        /// What it takes at least.
        least: String,
    },
    /// The agent can't be given work.
    AgentAway {
        /// Where it stands.
        standing: Standing,
    },
}

/// A device that is not to be had.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceNote {
    /// Its agent.
    pub agent: AgentRef,
    /// The device.
    pub device: Arc<str>,
    /// Who holds it.
    pub holder: Option<TaskKey>,
    /// How much longer it says it needs it.
    pub left: Option<Duration>,
    /// What is wrong with it.
    pub problem: Option<Arc<str>>,
}

impl Wait {
    /// Whether waiting is of no use unless the cluster changes.
    pub fn is_hopeless(&self) -> bool {
        self.outlook == Outlook::Hopeless
    }

    /// Every cause with its clause.
    pub fn causes(&self) -> impl Iterator<Item = (&ClauseKind, &Cause)> {
        self.clauses.iter().flat_map(|clause| clause.causes.iter().map(move |cause| (&clause.kind, cause)))
    }

    /// What stands in the way, in one line: the first reason of each clause, at most `max` of them.
    pub fn summary(&self, max: usize) -> String {
        let first = self.clauses.iter().filter_map(|clause| {
            let cause = clause.causes.first()?;
            Some(cause.sentence(&clause.kind, self.agents))
        });
        let parts: Vec<String> = first.take(max).collect();
        let text = parts.join("; ");
        match (self.outlook, text.is_empty()) {
            (Outlook::Hopeless, _) => format!("never fits: {text}"),
            (_, true) => "nothing stands in its way: it should be offered something now".to_owned(),
            (_, false) => text,
        }
    }
}

impl CauseKind {
    /// Whether it holds for agents, some of them; the others hold for the framework.
    pub const fn is_about_agents(&self) -> bool {
        !matches!(self, Self::Suppressed | Self::FrameworkAway | Self::OverQuota { .. })
    }

    /// Whether there is room, and only the offer is missing.
    pub const fn is_free(&self) -> bool {
        matches!(self, Self::Offered | Self::HeldForOthers | Self::OthersFirst { .. } | Self::OfferLimit { .. })
    }

    /// Whether the two say the same, amounts and examples aside.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::AgentAway { standing }, Self::AgentAway { standing: other }) => standing == other,
            (Self::Topology { even_empty }, Self::Topology { even_empty: other }) => even_empty == other,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

/// What is told of at most so many things of a kind.
const LISTED_MAX: usize = 8;

impl CauseKind {
    /// Adds the examples of another cause like this one.
    fn take_examples(&mut self, other: Self) {
        match (self, other) {
            (Self::DevicesHeld { devices }, Self::DevicesHeld { devices: more })
            | (Self::DevicesCleaning { devices }, Self::DevicesCleaning { devices: more })
            | (Self::DevicesBroken { devices }, Self::DevicesBroken { devices: more }) => extend(devices, more),
            (Self::Locked { frameworks }, Self::Locked { frameworks: more }) => extend(frameworks, more),
            (Self::OthersFirst { others, smaller_share }, Self::OthersFirst { others: more, smaller_share: less }) => {
                extend(others, more);
                *smaller_share = (*smaller_share).max(less);
            }
            (Self::Filtered { left, reason }, Self::Filtered { left: other, reason: said }) => {
                *left = (*left).max(other);
                *reason = reason.take().or(said);
            }
            _ => {}
        }
    }
}

fn extend<T: PartialEq>(into: &mut Vec<T>, from: Vec<T>) {
    for one in from {
        if into.len() < LISTED_MAX && !into.contains(&one) {
            into.push(one);
        }
    }
}

/// Gathers findings into clauses.
#[derive(Debug, Default)]
pub struct Tally {
    clauses: Vec<(Clause, Vec<u64>)>,
}

impl Tally {
    /// `finding` holds for `agents` agents, of which `nearest` is one; `only` says whether it is the only one there.
    pub fn count(&mut self, finding: Finding, agents: usize, nearest: Option<&AgentRef>, only: Only) {
        let Finding { clause: kind, cause, miss } = finding;
        let at = self.clauses.iter().position(|(clause, _)| clause.kind == kind).unwrap_or_else(|| {
            self.clauses.push((Clause { kind, agents: 0, alone: 0, causes: Vec::new() }, Vec::new()));
            self.clauses.len() - 1
        });
        let (clause, misses) = &mut self.clauses[at];
        if only == Only::This {
            clause.alone += agents;
        }
        match clause.causes.iter().position(|other| other.kind.is_like(&cause)) {
            Some(at) => {
                let known = &mut clause.causes[at];
                known.agents += agents;
                if miss < misses[at] {
                    misses[at] = miss;
                    known.nearest = nearest.cloned();
                    let farther = std::mem::replace(&mut known.kind, cause);
                    known.kind.take_examples(farther);
                } else {
                    known.kind.take_examples(cause);
                }
            }
            None => {
                clause.causes.push(Cause { agents, nearest: nearest.cloned(), kind: cause });
                misses.push(miss);
            }
        }
    }

    /// So many agents miss that clause. One may miss it for several reasons, so this is told apart from them.
    pub fn missed(&mut self, kind: &ClauseKind, agents: usize) {
        if let Some((clause, _)) = self.clauses.iter_mut().find(|(clause, _)| clause.kind == *kind) {
            clause.agents += agents;
        }
    }

    /// The clauses, most telling first: the framework's own state, then what alone stands in the way of most agents.
    pub fn clauses(self) -> Vec<Clause> {
        let mut clauses: Vec<Clause> = self.clauses.into_iter().map(|(clause, _)| clause).collect();
        for clause in &mut clauses {
            clause.causes.sort_by(|a, b| (b.agents, &a.kind).cmp(&(a.agents, &b.kind)));
        }
        clauses.sort_by(|a, b| {
            let key = |clause: &Clause| (rank(&clause.kind), usize::MAX - clause.alone, usize::MAX - clause.agents);
            (key(a), &a.kind).cmp(&(key(b), &b.kind))
        });
        clauses
    }
}

/// Whether a finding is the only one that stands in the way of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Only {
    /// It is.
    This,
    /// Others do too.
    Not,
}

const fn rank(kind: &ClauseKind) -> u8 {
    match kind {
        ClauseKind::Framework | ClauseKind::Quota => 0,
        ClauseKind::Offers => 1,
        ClauseKind::Agents => 3,
        _ => 2,
    }
}

impl fmt::Display for AgentRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}
