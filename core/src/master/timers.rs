use std::collections::{BTreeMap, VecDeque};

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
    /// The agent will be taken away, and something is to be done about it.
    Leaving(AgentId),
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

/// All that is due some time, earliest first; of what is due at once, what was set first.
#[derive(Debug, Default)]
pub(super) struct Timers {
    set: BTreeMap<Time, Batch>,
    count: u64,
}

/// What is due at the same time, by number; offers that are made in one round are. One that was cancelled leaves a gap.
#[derive(Debug, Default)]
struct Batch {
    timers: VecDeque<(u64, Option<Timer>)>,
    left: usize,
}

impl Timers {
    pub(super) fn set(&mut self, at: Time, timer: Timer) -> TimerKey {
        self.count += 1;
        let batch = self.set.entry(at).or_default();
        batch.timers.push_back((self.count, Some(timer)));
        batch.left += 1;
        TimerKey(at, self.count)
    }

    pub(super) fn cancel(&mut self, key: TimerKey) {
        let TimerKey(at, number) = key;
        let Some(batch) = self.set.get_mut(&at) else { return };
        let Ok(place) = batch.timers.binary_search_by_key(&number, |(number, _)| *number) else { return };
        batch.left -= usize::from(batch.timers[place].1.take().is_some());
        if batch.left == 0 {
            self.set.remove(&at);
        }
    }

    /// The earliest that is due at `now`; taken out.
    pub(super) fn pop(&mut self, now: Time) -> Option<Timer> {
        let mut batch = self.set.first_entry().filter(|batch| *batch.key() <= now)?;
        let timer = std::iter::from_fn(|| batch.get_mut().timers.pop_front()).find_map(|(_, timer)| timer);
        batch.get_mut().left -= 1;
        if batch.get().left == 0 {
            batch.remove();
        }
        Some(timer.expect("a batch holds what it counts"))
    }

    pub(super) fn next(&self) -> Option<Time> {
        self.set.keys().next().copied()
    }
}

#[cfg(test)]
mod tests;
