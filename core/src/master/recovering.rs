//! After a failover it is not known what runs on agents that have not come back: as far as limits go, all that they have may be held by
//! whoever asks. So nobody exceeds a limit, and nobody waits for an agent whose capacity would make no difference.

use std::collections::BTreeMap;

use crate::allocator::quota::Bounds;
use crate::model::{AgentId, Milli, Quantities};

/// Agents that the registry knows and that have not come back in this term, with what they had.
#[derive(Debug, Default)]
pub(super) struct Recovering {
    agents: BTreeMap<AgentId, Quantities>,
    total: Quantities,
    /// Whether one has come back since somebody asked.
    news: bool,
}

impl Recovering {
    pub(super) fn insert(&mut self, agent: AgentId, has: Quantities) {
        self.total.add(&has);
        self.agents.insert(agent, has);
    }

    /// The agent is back, or given up. Whether it was missing.
    pub(super) fn remove(&mut self, agent: AgentId) -> bool {
        let Some(had) = self.agents.remove(&agent) else { return false };
        let was_counted = self.total.subtract(&had);
        debug_assert!(was_counted, "what is missing is the sum of what the missing agents had");
        self.news = true;
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.agents.is_empty()
    }

    pub(super) fn first(&self) -> Option<AgentId> {
        self.agents.keys().next().copied()
    }

    /// Whether an agent has come back since the last time that this was asked.
    pub(super) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    /// Takes what the missing agents may hold out of what limits leave.
    pub(super) fn leave_room(&self, left: &mut Bounds) {
        if self.agents.is_empty() {
            return;
        }
        for (name, left) in left.iter_mut() {
            let missing = if is_device(name.as_str()) { Milli::MAX } else { self.total.get(name) };
            *left = left.minus(missing).unwrap_or_default();
        }
    }

    /// `asked` and all that the missing agents may hold.
    pub(super) fn with_missing(&self, asked: &Quantities) -> Quantities {
        let mut sum = asked.clone();
        for (name, amount) in asked.iter() {
            let missing = if is_device(name.as_str()) { Milli::MAX } else { self.total.get(name) };
            sum.set(name, amount.plus(missing));
        }
        sum
    }
}

/// What devices an agent has is not recorded: only the agent knows.
fn is_device(name: &str) -> bool {
    name.starts_with("device/")
}
