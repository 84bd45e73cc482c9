//! How many instances of an app are on which machine, where there is a bound to that.

use std::collections::{BTreeMap, BTreeSet};

use rialto_core::model::AgentId;

use super::jobs::{PerMachine, Traits};

/// Of one workload.
#[derive(Debug, Default)]
pub(super) struct Crowding {
    /// By app.
    there: BTreeMap<u32, BTreeMap<AgentId, u32>>,
    /// Of which app each job is that is somewhere, and where.
    of_job: BTreeMap<usize, (u32, AgentId)>,
}

impl Crowding {
    /// The machines on which no more of that may be.
    pub(super) fn full(&self, traits: &Traits) -> BTreeSet<AgentId> {
        let Some(PerMachine { app, max }) = traits.bound else { return BTreeSet::new() };
        let there = self.there.get(&app).into_iter().flatten();
        there.filter(|(_, count)| **count >= max).map(|(agent, _)| *agent).collect()
    }

    pub(super) fn come(&mut self, traits: &Traits, job: usize, agent: AgentId) {
        let Some(PerMachine { app, .. }) = traits.bound else { return };
        self.go(job);
        self.of_job.insert(job, (app, agent));
        *self.there.entry(app).or_default().entry(agent).or_default() += 1;
    }

    pub(super) fn go(&mut self, job: usize) {
        let Some((app, agent)) = self.of_job.remove(&job) else { return };
        let Some(there) = self.there.get_mut(&app) else { return };
        let count = there.entry(agent).or_default();
        *count = count.saturating_sub(1);
        if *count == 0 {
            there.remove(&agent);
        }
    }
}
