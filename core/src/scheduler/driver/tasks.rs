//! The live tasks of a framework, and which of their updates are news.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::model::{AgentId, CallId, Reason, Status, TaskId, TaskState, UpdateId};
use crate::planted::{Fault, planted};

/// How many update ids are kept for each task. The agent sends one at a time; the rest is for messages that overtake each other.
const SEEN_MAX: usize = 8;

/// A task that was launched and has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tracked {
    pub(super) agent: AgentId,
    /// The last state that the policy knows; staging until it is told one.
    pub(super) state: TaskState,
    /// The last updates, oldest first.
    pub(super) seen: VecDeque<UpdateId>,
    /// The accept that launches it, while that is unanswered.
    pub(super) launch: Option<CallId>,
    /// The gang that it is a member of, until that is known to have started as a whole.
    pub(super) gang: Option<CallId>,
}

impl Tracked {
    pub(super) fn launched(agent: AgentId, call: CallId) -> Self {
        Self { agent, state: TaskState::Staging, seen: VecDeque::new(), launch: Some(call), gang: None }
    }

    pub(super) fn launched_in_gang(agent: AgentId, call: CallId) -> Self {
        Self { gang: Some(call), ..Self::launched(agent, call) }
    }

    pub(super) fn recovered(agent: AgentId, state: TaskState, gang: Option<CallId>) -> Self {
        Self { agent, state, seen: VecDeque::new(), launch: None, gang }
    }

    /// Whether it was heard to run.
    pub(super) fn runs(&self) -> bool {
        matches!(self.state, TaskState::Running | TaskState::Killing)
    }

    /// Whether an agent was heard to have it.
    pub(super) fn is_heard_of(&self) -> bool {
        self.state != TaskState::Staging
    }
}

/// The tasks that ended last.
#[derive(Debug, Default)]
pub(super) struct Ended {
    ids: BTreeSet<TaskId>,
    oldest_first: VecDeque<TaskId>,
}

impl Ended {
    /// How many are remembered: more than updates may be on their way at once.
    const MAX: usize = 4096;

    pub(super) fn push(&mut self, id: TaskId) {
        if self.ids.insert(id.clone()) {
            self.oldest_first.push_back(id);
        }
        if self.ids.len() > Self::MAX {
            let oldest = self.oldest_first.pop_front().expect("it holds as many as the set");
            self.ids.remove(&oldest);
        }
    }

    pub(super) fn contains(&self, id: &TaskId) -> bool {
        self.ids.contains(id)
    }
}

/// What an update means to the framework.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The policy shall hear this.
    News(Box<Status>),
    /// Known already, or overtaken.
    Old,
    /// The framework does not know this task as live, yet it runs: nobody waits for it.
    Orphan,
}

/// Judges `status`, and enters it if it is news; a task that has ended leaves the book.
pub(super) fn judge(tasks: &mut BTreeMap<TaskId, Tracked>, mut status: Status) -> Verdict {
    let Some(task) = tasks.get_mut(&status.task) else {
        return if runs(status.state) { Verdict::Orphan } else { Verdict::Old };
    };
    let hands_on = planted(Fault::HandOnRepeats);
    if !hands_on && status.uuid.is_some_and(|uuid| task.seen.contains(&uuid)) {
        return Verdict::Old;
    }
    if status.state == TaskState::Unknown {
        // A launch that is still to be judged may well be unknown yet.
        if task.launch.is_some() {
            return Verdict::Old;
        }
        status.state = TaskState::Gone;
        status.reason = status.reason.or(Some(Reason::Reconciliation));
    }
    let repeats = status.uuid.is_none() && status.state == task.state;
    if repeats || !(task.state.may_become(status.state) || (hands_on && task.state == status.state)) {
        return Verdict::Old;
    }
    if status.state.is_terminal() {
        tasks.remove(&status.task);
        return Verdict::News(Box::new(status));
    }
    task.state = status.state;
    task.agent = status.agent.unwrap_or(task.agent);
    if let Some(uuid) = status.uuid {
        task.seen.push_back(uuid);
        if task.seen.len() > SEEN_MAX {
            task.seen.pop_front();
        }
    }
    Verdict::News(Box::new(status))
}

fn runs(state: TaskState) -> bool {
    matches!(state, TaskState::Staging | TaskState::Starting | TaskState::Running)
}
