use std::sync::Arc;
use std::time::Duration;

use super::{AgentId, AgentInfo, Attribute, Attributes, Claim, Device, Guarantee, OfferId, Resources, Role, Selector};

/// Whether an offer locks what it offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OfferMode {
    /// Locks nothing, charges nothing; judged when it is accepted. The default for native frameworks.
    Optimistic,
    /// Locked and charged while it is out; expires. The default for Mesos v1 frameworks.
    Exclusive,
}

/// "These resources of this agent, for this role, until then."
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its id.
    pub id: OfferId,
    /// Whose resources.
    pub agent: AgentId,
    /// What that agent is like.
    pub info: Arc<AgentInfo>,
    /// The role that would be charged.
    pub role: Role,
    /// What is offered; devices by id.
    pub resources: Arc<Resources>,
    /// The devices among them, with what they are.
    pub devices: Arc<[Arc<Device>]>,
    /// Whether it locks what it offers.
    pub mode: OfferMode,
    /// How long it stands; none if until rescinded or replaced.
    pub expires_in: Option<Duration>,
    /// Whether it is within the role's guarantee, or borrowed from another's: then what runs on it may have to make way.
    pub guarantee: Guarantee,
}

impl Attributes for Offer {
    fn attribute(&self, name: &str) -> Option<Attribute> {
        self.info.attribute(name)
    }
}

/// What a framework waits for in one role. An empty demand means "nothing"; an undeclared one means "anything", as in Mesos.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// What it waits for, most wanted first; at most [`Demand::MAX_SHAPES`].
    pub shapes: Vec<Shape>,
}

impl Demand {
    /// The most shapes that are accepted; alike tasks are one shape with a count.
    pub const MAX_SHAPES: usize = 256;
}

/// Alike tasks that wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// For people, and for `why`: the task's name where it is one task.
    pub name: Arc<str>,
    /// What each asks for.
    pub resources: Resources,
    /// The devices that each asks for.
    pub claims: Vec<Claim>,
    /// What the agent must be like.
    pub constraint: Selector,
    /// How many wait.
    pub count: u32,
    /// Higher is more important, within its role.
    pub priority: i32,
    /// How long one is expected to run, where that is known.
    pub expected_run_time: Option<Duration>,
}
