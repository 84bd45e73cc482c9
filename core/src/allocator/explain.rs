//! "Why does it wait?", answered with every reason that holds and how often, never with one of them.

use std::fmt;
use std::sync::Arc;

use crate::model::{AgentId, FrameworkId, TaskKey, TaskState};

/// The answer to `why` for one framework, shape or task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What was asked about, as text.
    pub subject: String,
    /// One for each thing that waits; empty if nothing does.
    pub waits: Vec<Wait>,
    /// The state, where the subject is a launched task.
    pub task: Option<(TaskKey, TaskState, Arc<str>)>,
}

/// Why one shape waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Its name.
    pub shape: Arc<str>,
    /// What it asks for, as text.
    pub asks: String,
    /// How many wait.
    pub count: u32,
    /// How many agents were looked at.
    pub agents: usize,
    /// Every reason, most agents first.
    pub reasons: Vec<Cause>,
}

/// A reason, with the number of agents for which it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// For how many agents it holds; all of them, where the reason is about the framework.
    pub agents: usize,
    /// The reason.
    pub kind: CauseKind,
}

/// Why something is not offered, or not taken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CauseKind {
    /// No agent of the cluster could hold it, even if it were empty: it never fits, unless the cluster changes.
    NeverFits {
        /// What is closest, and what it lacks.
        nearest: String,
    },
    /// The agent has no device that a claim asks for; others have.
    NoDeviceHere {
        /// What is asked for.
        claim: String,
    },
    /// No device of that kind in the cluster.
    NoSuchDevice {
        /// Of which kind.
        kind: Arc<str>,
    },
    /// Devices of the kind are there, but none matches.
    NoDeviceMatches {
        /// What the nearest one misses.
        nearest: String,
    },
    /// Matching devices are there and held.
    DevicesHeld {
        /// Device, holder; sorted.
        held: Vec<(String, TaskKey)>,
    },
    /// Matching devices are being cleaned.
    DevicesCleaning {
        /// Which.
        devices: Vec<String>,
    },
    /// Matching devices are unhealthy or quarantined.
    DevicesBroken {
        /// Which, and why.
        devices: Vec<String>,
    },
    /// Too little is free now.
    NotEnoughFree {
        /// What is missing at least, on the agent that comes closest.
        missing: String,
    },
    /// The agent does not meet the constraint.
    ConstraintNotMet {
        /// What the nearest one misses.
        nearest: String,
    },
    /// The agent is not connected.
    AgentAway,
    /// The framework refused it for a time.
    Filtered {
        /// For how much longer at most, in seconds.
        seconds: u64,
        /// What it said.
        reason: Option<Arc<str>>,
    },
    /// It is on offer to the framework right now.
    Offered {
        /// On which agents, at most three of them.
        agents: Vec<AgentId>,
    },
    /// It is on offer to others, and locked while it is.
    OfferedToOthers {
        /// To whom.
        frameworks: Vec<FrameworkId>,
    },
    /// The framework wants no offers for this role.
    Suppressed,
    /// The framework is not connected.
    FrameworkAway,
}

impl Wait {
    /// Whether waiting is of no use unless the cluster changes.
    pub fn is_hopeless(&self) -> bool {
        self.agents > 0 && self.reasons.iter().any(|cause| cause.kind.is_never())
    }
}

impl CauseKind {
    /// Whether it holds for agents, some of them; the others hold for the whole cluster or for the framework.
    pub const fn is_about_agents(&self) -> bool {
        !self.is_never() && !matches!(self, Self::Suppressed | Self::FrameworkAway)
    }

    /// Whether it holds until the cluster changes.
    const fn is_never(&self) -> bool {
        matches!(self, Self::NeverFits { .. } | Self::NoSuchDevice { .. } | Self::NoDeviceMatches { .. })
    }
}

impl fmt::Display for CauseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverFits { nearest } => {
                write!(f, "never fits: no agent is large enough even when empty; closest: {nearest}")
            }
            Self::NoSuchDevice { kind } => write!(f, "never fits: no agent has a device of kind {kind}"),
            Self::NoDeviceMatches { nearest } => write!(f, "never fits: no device matches; closest: {nearest}"),
            Self::NoDeviceHere { claim } => write!(f, "no device there for {claim}"),
            Self::DevicesHeld { held } => {
                let held: Vec<String> = held.iter().map(|(device, holder)| format!("{device} by {holder}")).collect();
                write!(f, "matching devices are held: {}", held.join(", "))
            }
            Self::DevicesCleaning { devices } => write!(f, "devices are being cleaned: {}", devices.join(", ")),
            Self::DevicesBroken { devices } => write!(f, "devices are out of order: {}", devices.join(", ")),
            Self::NotEnoughFree { missing } => write!(f, "too little is free; at best {missing}"),
            Self::ConstraintNotMet { nearest } => write!(f, "the constraint is not met: {nearest}"),
            Self::AgentAway => write!(f, "not connected"),
            Self::Filtered { seconds, reason } => {
                let why = reason.as_ref().map(|reason| format!(", because: {reason}")).unwrap_or_default();
                write!(f, "the framework refused it, for {seconds} s more at most{why}")
            }
            Self::Offered { .. } => write!(f, "on offer to the framework right now"),
            Self::OfferedToOthers { frameworks } => {
                let names: Vec<String> = frameworks.iter().map(ToString::to_string).collect();
                write!(f, "locked by offers to {}", names.join(", "))
            }
            Self::Suppressed => write!(f, "the framework wants no offers for this role now"),
            Self::FrameworkAway => write!(f, "the framework is not connected"),
        }
    }
}
