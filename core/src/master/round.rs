//! A round: who looks at what after things have changed. It goes on over several steps where much has, so that no step takes long.

use std::collections::BTreeSet;
use std::hint::black_box;
use std::ops::Range;

use super::{Master, Outbox};
use crate::allocator::sorter::ClientIndex;
use crate::model::AgentId;

/// The most agents that one step looks at. What they are told, and shown to the read model, stays in the processor's caches then.
const AGENTS_A_STEP: usize = 128;

/// What is left of a round that has begun.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// Agents on which something changed, in order: everybody is asked about these.
    changed: Vec<AgentId>,
    /// Clients that became willing.
    clients: BTreeSet<ClientIndex>,
    /// Where there may be something for them; found when all that changed has been looked at.
    for_clients: Option<Vec<AgentId>>,
    /// How many of those that are being looked at have been.
    looked: usize,
}

impl Round {
    fn is_over(&self) -> bool {
        self.changed.is_empty() && self.clients.is_empty()
    }

    /// Which of `count` agents come next.
    fn next_of(&self, count: usize) -> Range<usize> {
        self.looked..count.min(self.looked + AGENTS_A_STEP)
    }
}

impl Master {
    /// A round is wanted, now or when changes have been gathered for a while.
    pub(super) fn want_round(&mut self) {
        let due = self.now + self.config.allocation_delay;
        self.round_at.get_or_insert(due);
    }

    pub(super) fn want_agent_round(&mut self, agent: AgentId) {
        self.dirty_agents.insert(agent);
        self.want_round();
    }

    /// Begins a round that is due, or goes on with one.
    pub(super) fn maybe_round(&mut self, out: &mut Outbox) {
        if self.round_at.is_none_or(|due| due > self.now) {
            return;
        }
        self.round_at = None;
        self.heed_relaxed_limits();
        let mut round = std::mem::take(&mut self.begun);
        if round.is_over() {
            self.stats.rounds += 1;
            round.changed = self.dirty_agents.take();
            round.clients = std::mem::take(&mut self.dirty_clients);
        }
        self.sorter.refresh();
        self.rank_classes();
        self.go_on(&mut round, out);
        self.send_offers(out);
        if !round.is_over() {
            self.round_at = Some(self.now);
        } else if !self.dirty_agents.is_empty() || !self.dirty_clients.is_empty() {
            self.want_round();
        }
        self.begun = round;
    }

    /// Touches what a look at an agent reads first. Looks wait for each piece of memory in turn; here the processor fetches those of
    /// several agents at a time.
    fn call_up(&self, agents: &[AgentId]) {
        let found = agents.iter().filter_map(|id| self.agents.get(id));
        black_box(found.fold(0, |sum: usize, agent| sum.wrapping_add(agent.touch())));
    }

    /// One step of a round: of the agents that changed, or of those that clients who became willing are offered.
    fn go_on(&mut self, round: &mut Round, out: &mut Outbox) {
        let Some(agents) = &round.for_clients else {
            let next = round.next_of(round.changed.len());
            round.looked = next.end;
            self.call_up(&round.changed[next.clone()]);
            for agent in &round.changed[next.clone()] {
                self.look_at_changed(*agent, out);
            }
            if next.len() < AGENTS_A_STEP {
                let mut agents = if round.clients.is_empty() { Vec::new() } else { self.agents_for(&round.clients) };
                agents.retain(|id| round.changed.binary_search(id).is_err());
                (round.for_clients, round.looked) = (Some(agents), 0);
                self.go_on(round, out);
            }
            return;
        };
        let next = round.next_of(agents.len());
        for agent in &agents[next.clone()] {
            self.look_for(&round.clients, *agent, out);
        }
        round.looked = next.end;
        if next.len() < AGENTS_A_STEP {
            *round = Round::default();
        }
    }
}
