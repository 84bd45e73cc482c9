use super::{AgentId, Milli, OfferId, ResourceName, Resources, Role, TaskId, Term, VolumeId};

/// Why the master or an agent refuses something. Closed: each API maps the [`code`](Reject::code) to its own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// A field holds what it must not.
    #[error("{field}: {message}")]
    Invalid {
        /// Which field, as a path.
        field: String,
        /// What was expected.
        message: String,
    },
    /// The first message on a connection was not a subscription or registration.
    #[error("expected a subscription or registration first")]
    NotSubscribed,
    /// The framework was removed, or is not of this cluster.
    #[error("framework is not known here: it was removed, or belongs to another cluster")]
    UnknownFramework,
    /// The agent was marked gone, or is not of this cluster.
    #[error("agent {0} is not known here: it was marked gone, or belongs to another cluster")]
    UnknownAgent(AgentId),
    /// The principal may not do that.
    #[error("{principal} may not {action}")]
    Forbidden {
        /// Who.
        principal: String,
        /// What.
        action: &'static str,
    },
    /// The role is not one that the framework is subscribed to.
    #[error("role {0}: the framework is not subscribed to it")]
    NotSubscribedTo(Role),
    /// The offer is gone, and so is what it offered.
    #[error("offer {0} is no longer valid")]
    OfferGone(OfferId),
    /// What was offered has been taken by others meanwhile; another try may fit.
    #[error("taken by others meanwhile; left: {left}")]
    OfferConflict {
        /// What is free on that agent now.
        left: Resources,
    },
    /// More than was offered.
    #[error("asks for more than was offered: {asked} of {offered}")]
    ExceedsOffer {
        /// What the operation asks for.
        asked: Resources,
        /// What is left of the offers.
        offered: Resources,
    },
    /// A role would hold more than its limit.
    #[error("role {role}: limit of {limit} {resource}: {held} held or locked, {asked} asked for")]
    QuotaExceeded {
        /// Whose limit: the task's role, or one above it.
        role: Role,
        /// Of which resource.
        resource: ResourceName,
        /// The limit.
        limit: Milli,
        /// What is held and locked.
        held: Milli,
        /// What was asked for.
        asked: Milli,
    },
    /// The devices that a claim asks for are not free on that agent.
    #[error("device claim not met on this agent: {0}")]
    ClaimNotMet(String),
    /// The task id is in use, or was.
    #[error("task id {0} is used already")]
    DuplicateTask(TaskId),
    /// No task of that name.
    #[error("task {0} is not known")]
    UnknownTask(TaskId),
    /// The agent is away; when it is back, or given up, the answer will be known.
    #[error("agent {0} is away")]
    AgentAway(AgentId),
    /// The agent will be taken away before the task has ended, by what it has declared.
    #[error("agent {agent} will be taken away in {} s: a task there must be expected to end before", .after.as_secs())]
    AgentLeaves {
        /// Which.
        agent: AgentId,
        /// After how long.
        after: std::time::Duration,
    },
    /// The message is of a term that has ended.
    #[error("term {} has ended", .0.0)]
    OldTerm(Term),
    /// Too much of something that has a limit.
    #[error("{what}: at most {limit}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The operation is in the model but this master does not carry it out.
    #[error("operation {0} is not supported by this master")]
    Unsupported(&'static str),
    /// The agent can't write its journal and starts nothing until it can.
    #[error("the agent's journal can't be written; it starts nothing new")]
    JournalDegraded,
    /// A task uses the volume.
    #[error("volume {0} is in use by a task")]
    VolumeInUse(VolumeId),
    /// The agent has a volume of that name for that role.
    #[error("volume id {0} is used already for this role on this agent")]
    DuplicateVolume(VolumeId),
    /// Another connection took over.
    #[error("another connection took over")]
    Superseded,
}

impl Reject {
    /// A field that holds what it must not.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), message: message.into() }
    }

    /// The stable code, for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "invalid",
            Self::NotSubscribed => "not_subscribed",
            Self::UnknownFramework => "unknown_framework",
            Self::UnknownAgent(_) => "unknown_agent",
            Self::Forbidden { .. } => "forbidden",
            Self::NotSubscribedTo(_) => "not_subscribed_to_role",
            Self::OfferGone(_) => "offer_gone",
            Self::OfferConflict { .. } => "offer_conflict",
            Self::ExceedsOffer { .. } => "exceeds_offer",
            Self::QuotaExceeded { .. } => "quota_exceeded",
            Self::ClaimNotMet(_) => "claim_not_met",
            Self::DuplicateTask(_) => "duplicate_task",
            Self::UnknownTask(_) => "unknown_task",
            Self::AgentAway(_) => "agent_away",
            Self::AgentLeaves { .. } => "agent_leaves",
            Self::OldTerm(_) => "old_term",
            Self::Limit { .. } => "limit",
            Self::Unsupported(_) => "unsupported",
            Self::JournalDegraded => "journal_degraded",
            Self::VolumeInUse(_) => "volume_in_use",
            Self::DuplicateVolume(_) => "duplicate_volume",
            Self::Superseded => "superseded",
        }
    }

    /// Whether the same request may well succeed a moment later.
    pub const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::OfferGone(_)
                | Self::OfferConflict { .. }
                | Self::QuotaExceeded { .. }
                | Self::ClaimNotMet(_)
                | Self::AgentAway(_)
                | Self::AgentLeaves { .. }
                | Self::JournalDegraded
                | Self::VolumeInUse(_)
                | Self::ExceedsOffer { .. }
        )
    }
}
