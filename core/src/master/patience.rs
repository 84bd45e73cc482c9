//! What frameworks have refused again and again: each time for twice as long, if they leave that to the master.
//!
//! It is remembered on the agent for as long after the end of a refusal as the refusal took. An acceptance, or a revival, begins anew.

use std::sync::Arc;
use std::time::Duration;

use super::Master;
use super::filters::Refuser;
use crate::model::{AgentId, FrameworkId, Pace, Refusal, Resources, Role, Time};

/// A refusal is doubled so often at most.
const LEVEL_MAX: u8 = 20;

/// What frameworks have refused of one agent and may refuse again.
#[derive(Debug, Default)]
pub(super) struct Patience(Vec<Memory>);

/// A refusal that is remembered.
#[derive(Debug)]
struct Memory {
    who: Refuser,
    calm: u32,
    level: u8,
    /// Until when it is remembered.
    until: Time,
    resources: Arc<Resources>,
}

impl Patience {
    /// How often the refuser has refused these resources, or more of them, before this time.
    fn refuse(&mut self, who: Refuser, calm: u32, resources: &Arc<Resources>, now: Time) -> u8 {
        self.0.retain(|memory| memory.until > now);
        let known = self.0.iter().position(|memory| {
            memory.who.client == who.client && memory.resources.contains(resources)
        });
        let known = known.map(|at| self.0.swap_remove(at));
        let counts = known.filter(|memory| memory.who.epoch == who.epoch && memory.calm == calm);
        counts.map_or(0, |memory| (memory.level + 1).min(LEVEL_MAX))
    }

    fn remember(&mut self, memory: Memory) {
        self.0.retain(|other| {
            other.who.client != memory.who.client || !memory.resources.contains(&other.resources)
        });
        self.0.push(memory);
    }
}

impl Master {
    /// For how long the framework does not want what it refuses now.
    pub(super) fn refusal_time(
        &mut self,
        framework: FrameworkId,
        agent: AgentId,
        role: &Role,
        resources: &Arc<Resources>,
        refusal: &Refusal,
    ) -> Duration {
        if refusal.pace == Pace::AsSaid {
            return refusal.duration;
        }
        let (now, most) = (self.now, self.config.refusal_max.max(refusal.duration));
        let client = self.client_id(framework, role);
        let Some((id, client)) = client.and_then(|id| Some((id, self.clients.get(id)?))) else { return refusal.duration };
        // Who has declared what it waits for is offered nothing else, and means what it says.
        if client.wanted.is_some() {
            return refusal.duration;
        }
        let calm = client.calm;
        let who = self.clients.refuser(id).expect("it was there above");
        let Some(state) = self.agents.get_mut(&agent) else { return refusal.duration };
        let level = state.patience.refuse(who, calm, resources, now);
        let duration = refusal.duration.saturating_mul(1 << level).min(most);
        let until = now + duration.saturating_mul(2);
        state.patience.remember(Memory { who, calm, level, until, resources: resources.clone() });
        duration
    }

    /// The framework has taken something in that role: what it refused before says little of what it refuses next.
    pub(super) fn begin_calm(&mut self, framework: FrameworkId, role: &Role) {
        let client = self.client_id(framework, role);
        if let Some(client) = client.and_then(|client| self.clients.get_mut(client)) {
            client.calm = client.calm.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests;
