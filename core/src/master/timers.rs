use std::collections::BTreeMap;

use crate::model::{AgentId, FrameworkId, GangId, OfferId, Time};

/// What is due at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// The agent has been silent for too long.
    AgentSilent(AgentId),
    /// The framework stayed away past its failover timeout.
    FrameworkAway(FrameworkId),
    /// The offer expires.
    Offer(OfferId),
    /// Some filter on the agent ends.
    Filters(AgentId),
    /// Others wait for the agent, and an offer on it has been out long enough.
    Turn(AgentId),
    /// The gang should be held by all of its agents.
    Gang(GangId),
    /// A reservation of the agent ends.
    Reservation(AgentId),
    /// Limits have room again for those whom they held back.
    LimitsRelaxed,
    /// Demands that nothing free meets are looked at.
    Preempt,
    /// What was freed for a demand was not used.
    Nomination(u64),
}

/// Names a timer that is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TimerKey(Time, u64);

impl TimerKey {
    /// When it is due.
    pub(super) const fn at(self) -> Time {
        self.0
    }
}

/// All that is due some time, earliest first.
#[derive(Debug, Default)]
pub(super) struct Timers {
    set: BTreeMap<TimerKey, Timer>,
    count: u64,
}

impl Timers {
    pub(super) fn set(&mut self, at: Time, timer: Timer) -> TimerKey {
        self.count += 1;
        let key = TimerKey(at, self.count);
        self.set.insert(key, timer);
        key
    }

    pub(super) fn cancel(&mut self, key: TimerKey) {
        self.set.remove(&key);
    }

    /// The earliest that is due at `now`; taken out.
    pub(super) fn pop(&mut self, now: Time) -> Option<Timer> {
        let entry = self.set.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }

    pub(super) fn next(&self) -> Option<Time> {
        self.set.keys().next().map(|key| key.0)
    }
}
