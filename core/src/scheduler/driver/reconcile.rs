//! Asking for the states of tasks, a bounded number at a time.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::time::Duration;

use crate::model::{TaskId, Time};

/// The most tasks that one call asks for.
pub(super) const BATCH: usize = 500;

/// How long an unanswered question waits before the next is asked, at first and at most. A master that has just started answers for a
/// task only when its agent is back.
const RETRY: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// The tasks whose states are unknown.
#[derive(Debug, Default)]
pub(super) struct Reconcile {
    /// All that are to be answered.
    open: BTreeSet<TaskId>,
    /// Those of them that were asked for last.
    asked: BTreeSet<TaskId>,
    last: Option<TaskId>,
    retry_at: Time,
    retry_delay: Duration,
}

impl Reconcile {
    /// These are in doubt.
    pub(super) fn doubt(&mut self, tasks: impl IntoIterator<Item = TaskId>) {
        self.open.extend(tasks);
    }

    /// The state of `task` is known, or no longer of interest.
    pub(super) fn answered(&mut self, task: &TaskId) {
        self.open.remove(task);
        self.asked.remove(task);
    }

    /// Nothing has been asked on the new connection.
    pub(super) fn restart(&mut self) {
        *self = Self { open: std::mem::take(&mut self.open), ..Self::default() };
    }

    /// The tasks to ask for now, if it is time.
    pub(super) fn next_batch(&mut self, now: Time) -> Option<Vec<TaskId>> {
        if self.open.is_empty() || (!self.asked.is_empty() && now < self.retry_at) {
            return None;
        }
        let in_vain = !self.asked.is_empty();
        self.retry_delay = if in_vain { (self.retry_delay * 2).min(RETRY_MAX) } else { RETRY };
        self.retry_at = now + self.retry_delay;
        let after = self.last.take().map_or(Bound::Unbounded, Bound::Excluded);
        let batch: Vec<TaskId> = self.open.range((after, Bound::Unbounded)).take(BATCH).cloned().collect();
        // Behind the last task the round begins anew.
        let batch = if batch.is_empty() { self.open.iter().take(BATCH).cloned().collect() } else { batch };
        self.last = batch.last().cloned();
        self.asked = batch.iter().cloned().collect();
        Some(batch)
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        (!self.asked.is_empty()).then_some(self.retry_at)
    }

    pub(super) fn check_invariants(&self, is_live: impl Fn(&TaskId) -> bool) {
        assert!(self.asked.is_subset(&self.open), "a task is asked for that is not in doubt");
        assert!(self.asked.len() <= BATCH, "more tasks are asked for than one call may");
        assert!(self.open.iter().all(is_live), "the state of an ended task is in doubt");
    }
}
