//! After a failover an agent is believed once it has confirmed the term. Its registration alone is not enough: the answer may get lost,
//! and a master of an older term that still runs may launch there what the report does not tell of. Until the confirmation comes this
//! master hears of the agent and speaks to it, but nothing of it is offered,
//! and nothing is concluded from what its report lacks.

use super::registry::Record;
use super::{Master, Outbox};
use crate::gate::Output;
use crate::model::{AgentId, TaskKey, Term};

impl Master {
    /// The agent has heard of this term, for good: it obeys no older one, so what it has told is all that there is.
    pub(super) fn on_agent_confirmed(&mut self, id: AgentId, term: Term, out: &mut Outbox) {
        if term == self.term && self.unheard.remove(&id) {
            self.touched.agents.push(id);
            self.believe_agent(id, out);
            self.want_agent_round(id);
        }
    }

    /// What runs on the agent is known, unless an older master may still launch there.
    pub(super) fn believe_agent(&mut self, id: AgentId, out: &mut Outbox) {
        if self.unheard.contains(&id) {
            return;
        }
        self.agents.get_mut(&id).expect("a peer's agent is known").heard = true;
        self.drop_kills_of_absent(id, out);
        self.agent_settled(id);
        self.settle_parked(id, out);
    }

    /// Kills that waited for the agent and whose tasks are not there.
    fn drop_kills_of_absent(&mut self, id: AgentId, out: &mut Outbox) {
        let all_back = !self.may_be_elsewhere();
        let waits_in_vain = |agent: Option<AgentId>| agent.map_or(all_back, |agent| agent == id);
        let done = self.kills.iter().filter(|(_, kill)| waits_in_vain(kill.agent)).map(|(key, _)| key.clone());
        for key in done.collect::<Vec<TaskKey>>() {
            self.kills.remove(&key);
            out.push(Output::Persist(Record::Kill(key, None)));
        }
    }
}

#[cfg(test)]
mod tests;
