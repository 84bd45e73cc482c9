//! Faults that can be planted, to see that the simulator finds them.
//!
//! Only with the feature `planted`, which no shipped binary is built with: without it `planted` is a constant and every hook vanishes.
//! Each hook is one line where its fault would bite.

/// A realistic mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[expect(missing_docs, reason = "each is described by `Fault::text`")]
pub enum Fault {
    VisibleBeforeDurable = 1,
    ForgetKillsOnFailover,
    KillNotDurable,
    KillNotSentOnReturn,
    OfferCleaningDevice,
    OfferSickDevice,
    CountTwice,
    NeverCredit,
    AdoptUncharged,
    OfferNotLocked,
    LoseFilters,
    FilterForEver,
    ForgetRescind,
    OfferToSuppressed,
    LoseRevive,
    LoseParkedAccepts,
    LaunchNotResent,
    UnreachableIsGone,
    StaleView,
    TermNotRaised,
    DenyBeforeAgentsAreBack,
    NoticeNotKept,
    OrphansRunOn,
    FailoverTimeoutLost,
    RemovedOnFailover,
    GoneAgentKeepsTasks,
    AcceptOldTerm,
    NoResend,
    AcknowledgeAny,
    ForgetFinished,
    StartBeforeJournal,
    SkipDeviceCheck,
    HandOnDirty,
    SkipCleaning,
    TrustTornLaunch,
    KillForgottenByAgent,
    HandOnRepeats,
    AcknowledgeBeforeSave,
    NoReconciliation,
    LaunchNotSaved,
    StaleConnectionWins,
    ForgetAnnouncements,
    TakenAwayAtOnce,
    PricesNotTold,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 44] = [
        Self::VisibleBeforeDurable,
        Self::ForgetKillsOnFailover,
        Self::KillNotDurable,
        Self::KillNotSentOnReturn,
        Self::OfferCleaningDevice,
        Self::OfferSickDevice,
        Self::CountTwice,
        Self::NeverCredit,
        Self::AdoptUncharged,
        Self::OfferNotLocked,
        Self::LoseFilters,
        Self::FilterForEver,
        Self::ForgetRescind,
        Self::OfferToSuppressed,
        Self::LoseRevive,
        Self::LoseParkedAccepts,
        Self::LaunchNotResent,
        Self::UnreachableIsGone,
        Self::StaleView,
        Self::TermNotRaised,
        Self::DenyBeforeAgentsAreBack,
        Self::NoticeNotKept,
        Self::OrphansRunOn,
        Self::FailoverTimeoutLost,
        Self::RemovedOnFailover,
        Self::GoneAgentKeepsTasks,
        Self::AcceptOldTerm,
        Self::NoResend,
        Self::AcknowledgeAny,
        Self::ForgetFinished,
        Self::StartBeforeJournal,
        Self::SkipDeviceCheck,
        Self::HandOnDirty,
        Self::SkipCleaning,
        Self::TrustTornLaunch,
        Self::KillForgottenByAgent,
        Self::HandOnRepeats,
        Self::AcknowledgeBeforeSave,
        Self::NoReconciliation,
        Self::LaunchNotSaved,
        Self::StaleConnectionWins,
        Self::ForgetAnnouncements,
        Self::TakenAwayAtOnce,
        Self::PricesNotTold,
    ];

    /// What is wrong, in a few words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::VisibleBeforeDurable => "effects are seen before the records before them are durable",
            Self::ForgetKillsOnFailover => "a new master forgets the kills that wait for agents",
            Self::KillNotDurable => "a kill is not written to the registry",
            Self::KillNotSentOnReturn => "a kill is not sent to an agent that is back",
            Self::OfferCleaningDevice => "a device is free while it is cleaned",
            Self::OfferSickDevice => "an unhealthy device is offered",
            Self::CountTwice => "what a task held is given back twice",
            Self::NeverCredit => "the share of a task that ended is not given back",
            Self::AdoptUncharged => "a task that an agent reports is not charged",
            Self::OfferNotLocked => "an exclusive offer locks nothing",
            Self::LoseFilters => "a refusal is not remembered",
            Self::FilterForEver => "a refusal never ends",
            Self::ForgetRescind => "a framework is not told that an offer is taken back",
            Self::OfferToSuppressed => "suppression is not heeded",
            Self::LoseRevive => "a revival is not heeded",
            Self::LoseParkedAccepts => "accepts of an earlier term are dropped",
            Self::LaunchNotResent => "a launch that got lost is not sent again",
            Self::UnreachableIsGone => "the tasks of a silent agent are called gone",
            Self::StaleView => "a task's new state is not shown to the read model",
            Self::TermNotRaised => "a new master leads in the old term",
            Self::DenyBeforeAgentsAreBack => "a master denies tasks of agents that are still to come back",
            Self::NoticeNotKept => "the master's own update is told once and not kept",
            Self::OrphansRunOn => "tasks of a removed framework are not ended when their agent is back",
            Self::FailoverTimeoutLost => "after a failover no framework is away for too long",
            Self::RemovedOnFailover => "after a failover every framework is at once away for too long",
            Self::GoneAgentKeepsTasks => "the tasks of an agent declared gone are not ended",
            Self::AcceptOldTerm => "an agent obeys a master of an older term, which does not heed that it was replaced",
            Self::NoResend => "an agent says each update once",
            Self::AcknowledgeAny => "an agent takes any acknowledgement for that of its oldest update",
            Self::ForgetFinished => "an agent forgets a task once its end is acknowledged",
            Self::StartBeforeJournal => "a task is started before its launch is journaled",
            Self::SkipDeviceCheck => "an agent does not look at devices before it starts a task",
            Self::HandOnDirty => "a device that could not be cleaned is free",
            Self::SkipCleaning => "a device is free as soon as its task ends",
            Self::TrustTornLaunch => "a launch without its devices in the journal is taken for started",
            Self::KillForgottenByAgent => "an agent does not journal that a task is to end",
            Self::HandOnRepeats => "a driver hands every repeated update on",
            Self::AcknowledgeBeforeSave => "a driver acknowledges before the update is saved",
            Self::NoReconciliation => "a driver does not ask for its tasks after a new subscription",
            Self::LaunchNotSaved => "a driver does not save what it launches",
            Self::StaleConnectionWins => "a connection that was given up takes over from its successor",
            Self::ForgetAnnouncements => "a new master forgets which agents will be taken away",
            Self::TakenAwayAtOnce => "an agent counts as gone as soon as it is announced that it will be",
            Self::PricesNotTold => "a framework that is back is not told what machines cost",
        }
    }
}

/// A line that is in every binary that can plant faults, and in no other.
#[cfg(feature = "planted")]
pub const MARK: &str = "this build of rialto-core can plant faults in itself";

/// Keeps the mark in binaries that never print it.
#[cfg(feature = "planted")]
#[used]
static KEPT_MARK: &str = MARK;

#[cfg(feature = "planted")]
static PLANTED: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);

/// From now on the whole process has `fault`, or none.
#[cfg(feature = "planted")]
pub fn plant(fault: Option<Fault>) {
    PLANTED.store(fault.map_or(0, |fault| fault as u8), std::sync::atomic::Ordering::Relaxed);
}

/// Whether `fault` is planted.
#[cfg(feature = "planted")]
pub(crate) fn planted(fault: Fault) -> bool {
    PLANTED.load(std::sync::atomic::Ordering::Relaxed) == fault as u8
}

/// Whether `fault` is planted: never, in this build.
#[cfg(not(feature = "planted"))]
pub(crate) const fn planted(_: Fault) -> bool {
    false
}
