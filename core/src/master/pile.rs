//! Agents about which something is to be done, gathered in any order and taken in theirs.

use crate::model::AgentId;

/// So many are gathered at least before those that came twice are looked for.
const ROOM_MIN: usize = 256;

/// A set that is filled often and looked into once: one more costs a push.
#[derive(Debug, Default)]
pub(super) struct Pile {
    /// Some perhaps twice.
    ids: Vec<AgentId>,
    /// How many there may be before those that came twice are looked for: so there are never more than twice as many as agents.
    room: usize,
}

impl Pile {
    pub(super) fn insert(&mut self, id: AgentId) {
        if self.ids.last() == Some(&id) {
            return;
        }
        self.ids.push(id);
        if self.ids.len() >= self.room.max(ROOM_MIN) {
            self.settle();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.ids.clear();
    }

    /// All of them, each once, in their order; none is left.
    pub(super) fn take(&mut self) -> Vec<AgentId> {
        self.settle();
        std::mem::take(&mut self.ids)
    }

    fn settle(&mut self) {
        self.ids.sort_unstable();
        self.ids.dedup();
        self.room = self.ids.len() * 2;
    }
}

impl Extend<AgentId> for Pile {
    fn extend<I: IntoIterator<Item = AgentId>>(&mut self, ids: I) {
        ids.into_iter().for_each(|id| self.insert(id));
    }
}

#[cfg(test)]
mod tests;
