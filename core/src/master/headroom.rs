//! What of an agent is kept from a framework: what preemption freed for others, and what those under their guarantee could use now.
//!
//! A guarantee holds something back only where a declared demand of its role fits; whatever else is free may be used by all. Work of a
//! role beyond its guarantee is borrowed then: it makes way when the demand comes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Master;
use super::state::Agent;
use crate::allocator::quota::is_at_or_below;
use crate::model::{AgentId, Amounts, DeviceId, FrameworkId, Milli, Quantities, Resources, Role, Share};

/// The most copies of one shape that are held back on one agent.
const COPIES_MAX: u32 = 64;

impl Master {
    /// `available` without what is kept from the framework in `role`; none, if nothing is.
    pub(super) fn shielded(
        &self,
        id: AgentId,
        framework: FrameworkId,
        role: &Role,
        available: &Resources,
    ) -> Option<Resources> {
        let is_kept_for_none = !self.quotas.has_unmet() || self.demanding.is_empty() || self.quotas.is_unmet(role);
        if is_kept_for_none && self.preemption.nominations.is_empty_on(id) {
            return None;
        }
        let mut left = available.clone();
        for held in self.preemption.nominations.held_for_others(id, Some((framework, role))) {
            left = held_back(&left, held);
        }
        left = self.shield_headroom(id, framework, role, left);
        (left != *available).then_some(left)
    }

    /// `available` without what those under their guarantee could use of it; all of it for one that is so itself.
    pub(super) fn shield_headroom(
        &self,
        id: AgentId,
        framework: FrameworkId,
        role: &Role,
        mut available: Resources,
    ) -> Resources {
        if !self.quotas.has_unmet() || self.quotas.is_unmet(role) {
            return available;
        }
        let agent = &self.agents[&id];
        for (other, claimant) in self.under_guarantee() {
            if (claimant, other) != (framework, role) && !available.is_empty() {
                available = self.keep_for(id, agent, claimant, other, available);
            }
        }
        available
    }

    /// Those who wait for something in a role under its guarantee.
    fn under_guarantee(&self) -> impl Iterator<Item = (&Role, FrameworkId)> {
        let waiting = |top: &str| {
            let from = Role::new(top).expect("a role that has a quota is a role");
            let top = top.to_owned();
            let below = self.demanding.range(from..);
            // What begins like the role and is not below it may lie between.
            let near = {
                let top = top.clone();
                below.take_while(move |(role, _)| role.as_str().starts_with(&top))
            };
            near.filter(move |(role, _)| is_at_or_below(role.as_str(), &top))
        };
        let pairs = self.quotas.unmet().flat_map(waiting);
        pairs.flat_map(|(role, frameworks)| frameworks.iter().map(move |framework| (role, *framework)))
    }

    /// Whether the framework has refused `resources` of the agent for now, or takes no offers of such agents at all.
    pub(super) fn is_refused(&self, framework: FrameworkId, id: AgentId, role: &Role, resources: &Resources) -> bool {
        if !self.is_admitted(framework, role, &self.agents[&id]) {
            return true;
        }
        let refuser = self.client_id(framework, role).and_then(|client| self.clients.refuser(client));
        refuser.is_none_or(|refuser| self.agents[&id].filters.hold(refuser, &Arc::new(resources.clone()), self.now))
    }

    fn keep_for(
        &self,
        id: AgentId,
        agent: &Agent,
        framework: FrameworkId,
        role: &Role,
        mut available: Resources,
    ) -> Resources {
        let client = &self.frameworks[&framework];
        if !client.takes_offers(role) || self.is_refused(framework, id, role, &available) {
            return available;
        }
        let Some(demand) = client.demand.get(role) else { return available };
        let mut kept = Quantities::new();
        for shape in demand.shapes.iter().filter(|shape| agent.allows(shape)) {
            for _ in 0..shape.count.min(COPIES_MAX) {
                let Some(needed) = agent.needed_by(shape, &available.for_role(role)) else { break };
                let mut sum = kept.clone();
                sum.add(&agent.quantities(&needed));
                if self.quotas.entitled(role, &sum).is_none() || self.quotas.check(role, &sum).is_err() {
                    break;
                }
                (kept, available) = (sum, held_back(&available, &needed));
            }
        }
        available
    }
}

/// `pool` without the amounts of `held`, whatever their flavor, and without its devices. What is not there is not missed.
pub(super) fn held_back(pool: &Resources, held: &Resources) -> Resources {
    let mut missing = held.quantities();
    let devices: BTreeMap<&DeviceId, Share> = held.device_shares().collect();
    let mut left = Resources::new();
    for (flavor, amounts) in pool.iter() {
        let mut amounts: Amounts = amounts.clone();
        for (name, wanted) in missing.clone().iter() {
            let there = amounts.scalars.get(name);
            let taken = there.min(wanted);
            amounts.scalars.set(name, there.minus(taken).unwrap_or(Milli::ZERO));
            missing.set(name, wanted.minus(taken).unwrap_or(Milli::ZERO));
        }
        amounts.devices.retain(|id, share: &mut Share| {
            share.0 = share.0.saturating_sub(devices.get(id).map_or(0, |held| held.0));
            share.0 > 0
        });
        if !amounts.is_empty() {
            left.add(&Resources::flavored(flavor.clone(), amounts));
        }
    }
    left
}
