//! Masters of several terms: agents confirm the newest, unless its answer to their registration gets lost.

use super::Market;
use crate::model::{Asked, Call, FromAgent, TaskReport, TaskState, Term};

/// What becomes of the answer to a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is on its way, and will arrive.
    Arrives,
    /// It has arrived: the agent is to confirm.
    Came,
    /// It gets lost.
    GetsLost,
}

impl Answer {
    /// The master has answered.
    pub(super) fn came(self) -> Self {
        match self {
            Self::Arrives | Self::Came => Self::Came,
            Self::GetsLost => Self::GetsLost,
        }
    }
}

impl Market {
    /// The agent registers, but the answer gets lost: it does not know of this master's term.
    pub fn register_unanswered(&mut self, name: &str) -> &mut Self {
        self.agents.get_mut(name).expect("an agent of that name").answer = Answer::GetsLost;
        self.register(name)
    }

    /// The agent obeys the master from before the failover, which still runs, and starts a task for it.
    pub fn launched_by_the_old_master(&mut self, framework: &str, agent: &str, id: &str, resources: &str) -> &mut Self {
        let key = self.key(framework, id);
        let task = super::task(id, "*", resources, &[]);
        let report = TaskReport { framework: key.framework, task, state: TaskState::Running };
        self.agents.get_mut(agent).expect("an agent of that name").tasks.insert(key, report);
        self
    }

    /// The framework asks what became of a task that it launched on the agent.
    pub fn asks_for(&mut self, framework: &str, id: &str, agent: &str) -> &mut Self {
        let agent = self.agents[agent].id;
        self.call(framework, Call::Reconcile(vec![Asked { task: self.key(framework, id).task, agent }]))
    }

    /// The agent says that it has heard of the term, if it has.
    /// The agent has heard of that term, of another master.
    pub fn hears_of(&mut self, name: &str, term: u64) -> &mut Self {
        self.agents.get_mut(name).expect("an agent of that name").heard = Term(term);
        self
    }

    pub(super) fn confirm_term(&mut self, name: &str) -> &mut Self {
        let side = self.agents.get_mut(name).expect("an agent of that name");
        match std::mem::replace(&mut side.answer, Answer::Arrives) {
            Answer::Came => {
                let term = self.master.term();
                self.from_agent(name, FromAgent::Confirmed(term))
            }
            Answer::Arrives | Answer::GetsLost => self,
        }
    }
}
