//! What preemption frees is promised to the demand that it was done for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::Plan;
use crate::allocator::quota::Holding;
use crate::master::Master;
use crate::master::timers::{Timer, TimerKey};
use crate::model::{AgentId, FrameworkId, Quantities, Resources, Role};

/// Names a nomination, in this master's life.
pub(in crate::master) type NominationId = u64;

/// Nominations, by all that they are looked for.
#[derive(Debug, Default)]
pub(in crate::master) struct Nominations {
    rows: BTreeMap<NominationId, Nomination>,
    by_agent: BTreeMap<AgentId, BTreeSet<NominationId>>,
    by_demand: BTreeMap<(FrameworkId, Role), BTreeSet<NominationId>>,
    last: NominationId,
}

#[derive(Debug)]
struct Nomination {
    framework: FrameworkId,
    role: Role,
    shape: Arc<str>,
    agent: AgentId,
    /// What nobody else is offered.
    held: Resources,
    /// As what it counts under limits.
    counts: Quantities,
    expiry: TimerKey,
}

impl Nominations {
    /// How many nominations the shape has.
    pub(super) fn count(&self, framework: FrameworkId, role: &Role, shape: &str) -> usize {
        let of = self.by_demand.get(&(framework, role.clone())).into_iter().flatten();
        of.filter(|id| &*self.rows[*id].shape == shape).count()
    }

    pub(super) fn of_agent(&self, agent: AgentId) -> Vec<NominationId> {
        self.by_agent.get(&agent).into_iter().flatten().copied().collect()
    }

    pub(super) fn of_framework(&self, framework: FrameworkId, which: impl Fn(&Role) -> bool) -> Vec<NominationId> {
        let mine = self.by_demand.iter().filter(|((id, role), _)| *id == framework && which(role));
        mine.flat_map(|(_, ids)| ids).copied().collect()
    }

    /// What of the agent is held for others than `claimant`.
    pub(in crate::master) fn held_for_others<'a>(
        &'a self,
        agent: AgentId,
        claimant: Option<(FrameworkId, &'a Role)>,
    ) -> impl Iterator<Item = &'a Resources> {
        let ids = self.by_agent.get(&agent).into_iter().flatten().map(|id| &self.rows[id]);
        let others = ids.filter(move |row| claimant.is_none_or(|(id, role)| row.framework != id || row.role != *role));
        others.map(|row| &row.held)
    }

    /// What is promised to the demand on the agent, as it counts under limits.
    pub(in crate::master) fn promised(&self, agent: AgentId, framework: FrameworkId, role: &Role) -> Quantities {
        let mut sum = Quantities::new();
        if self.rows.is_empty() {
            return sum;
        }
        let ids = self.by_agent.get(&agent).into_iter().flatten().map(|id| &self.rows[id]);
        ids.filter(|row| row.framework == framework && row.role == *role).for_each(|row| sum.add(&row.counts));
        sum
    }

    /// Whether something of the agent is held for that demand.
    pub(in crate::master) fn has(&self, agent: AgentId, framework: FrameworkId, role: &Role) -> bool {
        self.first(agent, framework, role).is_some()
    }

    /// Whether nothing is held anywhere.
    pub(in crate::master) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether nothing is held on the agent.
    pub(in crate::master) fn is_empty_on(&self, agent: AgentId) -> bool {
        self.rows.is_empty() || !self.by_agent.contains_key(&agent)
    }

    fn first(&self, agent: AgentId, framework: FrameworkId, role: &Role) -> Option<NominationId> {
        let mut ids = self.by_agent.get(&agent)?.iter();
        ids.find(|id| self.rows[*id].framework == framework && self.rows[*id].role == *role).copied()
    }

    fn insert(&mut self, row: Nomination) -> NominationId {
        self.last += 1;
        self.by_agent.entry(row.agent).or_default().insert(self.last);
        self.by_demand.entry((row.framework, row.role.clone())).or_default().insert(self.last);
        self.rows.insert(self.last, row);
        self.last
    }

    fn remove(&mut self, id: NominationId) -> Option<Nomination> {
        let row = self.rows.remove(&id)?;
        let demand = (row.framework, row.role.clone());
        forget(&mut self.by_agent, &row.agent, id);
        forget(&mut self.by_demand, &demand, id);
        Some(row)
    }
}

fn forget<K: Ord>(index: &mut BTreeMap<K, BTreeSet<NominationId>>, key: &K, id: NominationId) {
    if let Some(ids) = index.get_mut(key) {
        ids.remove(&id);
        if ids.is_empty() {
            index.remove(key);
        }
    }
}

impl Master {
    pub(super) fn nominate(
        &mut self,
        framework: FrameworkId,
        role: &Role,
        shape: Arc<str>,
        plan: Plan,
        grace: Duration,
    ) {
        let due = self.now + grace + self.config.nomination_timeout;
        let next = self.preemption.nominations.last + 1;
        let expiry = self.timers.set(due, Timer::Nomination(next));
        self.quotas.charge(role, Holding::Promise, &plan.counts);
        let row = Nomination {
            framework,
            role: role.clone(),
            shape,
            agent: plan.agent,
            held: plan.needed,
            counts: plan.counts,
            expiry,
        };
        self.preemption.nominations.insert(row);
        self.want_agent_round(plan.agent);
    }

    /// The framework has launched something on the agent: what was freed there for it is used.
    pub(in crate::master) fn fulfil_nomination(&mut self, agent: AgentId, framework: FrameworkId, role: &Role) {
        let Some(id) = self.preemption.nominations.first(agent, framework, role) else { return };
        let shape = self.preemption.nominations.rows[&id].shape.clone();
        self.drop_nomination(id);
        let served = self.preemption.served.entry((framework, role.clone())).or_default();
        served.push((shape, self.now));
    }

    /// The framework does not want the agent: what was freed there is free for all.
    pub(in crate::master) fn decline_nominations(&mut self, agent: AgentId, framework: FrameworkId, role: &Role) {
        while let Some(id) = self.preemption.nominations.first(agent, framework, role) {
            self.drop_nomination(id);
            self.preemption.watched.remove(&(framework, role.clone()));
        }
    }

    /// It was not used in time. Its framework has to ask anew before anything is ended for it again.
    pub(in crate::master) fn on_nomination_expired(&mut self, id: NominationId) {
        if let Some(demand) = self.drop_nomination(id) {
            self.preemption.watched.remove(&demand);
            self.stats.nominations_expired += 1;
        }
    }

    /// Nominations for more than the framework still waits for end, the newest first.
    pub(super) fn withdraw_excess(&mut self, framework: FrameworkId, role: &Role) {
        let Some(ids) = self.preemption.nominations.by_demand.get(&(framework, role.clone())) else { return };
        let demand = self.frameworks.get(&framework).and_then(|client| client.demand.get(role));
        let mut wanted: BTreeMap<&str, u32> = BTreeMap::new();
        for shape in demand.iter().flat_map(|demand| &demand.shapes) {
            *wanted.entry(&shape.name).or_default() += shape.count;
        }
        let mut excess = Vec::new();
        for id in ids {
            match wanted.get_mut(&*self.preemption.nominations.rows[id].shape).filter(|count| **count > 0) {
                Some(count) => *count -= 1,
                None => excess.push(*id),
            }
        }
        for id in excess {
            self.drop_nomination(id);
        }
    }

    /// Nothing is held for that demand any more; names the demand.
    pub(super) fn drop_nomination(&mut self, id: NominationId) -> Option<(FrameworkId, Role)> {
        let row = self.preemption.nominations.remove(id)?;
        self.timers.cancel(row.expiry);
        self.quotas.credit(&row.role, Holding::Promise, &row.counts);
        self.want_agent_round(row.agent);
        Some((row.framework, row.role))
    }
}
