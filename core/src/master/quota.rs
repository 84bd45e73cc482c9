//! Quota at the master: what operators set, what of an agent a role may be offered, what a launch is checked against.

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::clients::Client;
use super::registry::Record;
use super::state::Agent;
use super::timers::Timer;
use super::view::RoleView;
use super::{Master, Outbox};
use crate::allocator::quota::{Bounds, Exceeded, Force, Quota, is_at_or_below, prefixes};
use crate::allocator::sorter::{ClientIndex, DEFAULT_WEIGHT};
use crate::gate::Output;
use crate::model::{
    AgentId, Amounts, Demand, FrameworkId, Milli, OfferId, OfferMode, Quantities, Reject, Resources, Role, Share,
    TaskGroup,
};

/// The most roles whose quotas may be set at once.
const QUOTAS_MAX: usize = 1000;
/// How long room under limits is gathered before those whom they held back are offered it on other agents than the one it came from.
const RELAX_GATHER: Duration = Duration::from_millis(100);

impl Master {
    pub(super) fn set_quotas(
        &mut self,
        quotas: Vec<(Role, Option<Quota>)>,
        force: Force,
        out: &mut Outbox,
    ) -> Result<(), Reject> {
        if quotas.is_empty() || quotas.len() > QUOTAS_MAX {
            return Err(Reject::invalid("quotas", format!("expected 1 to {QUOTAS_MAX} roles, got {}", quotas.len())));
        }
        for (role, _) in quotas.iter().filter(|(_, quota)| quota.is_some()) {
            self.check_role("role", role)?;
        }
        self.quotas.set(&quotas, force).map_err(|error| Reject::invalid("quotas", error.to_string()))?;
        for (role, quota) in quotas {
            self.withdraw_promises(&role);
            self.withdraw_over_limit(&role, out);
            self.touched.roles.insert(role.clone());
            out.push(Output::Persist(Record::Quota(role, quota.filter(|quota| !quota.is_empty()))));
        }
        self.on_limits_relaxed();
        self.watch_all();
        Ok(())
    }

    /// What is being freed for demands of the role was judged by the quota that it had.
    fn withdraw_promises(&mut self, role: &Role) {
        let frameworks: Vec<FrameworkId> = self.frameworks.keys().copied().collect();
        for framework in frameworks {
            self.withdraw_nominations(framework, |other| is_at_or_below(other.as_str(), role.as_str()));
        }
    }

    /// What exclusive offers lock counts under a limit: if they are too much for it, they are taken back and made anew.
    fn withdraw_over_limit(&mut self, role: &Role, out: &mut Outbox) {
        if self.quotas.check_held(role).is_ok() {
            return;
        }
        let locks = self.offers.iter().filter(|(_, entry)| {
            entry.offer.mode == OfferMode::Exclusive && is_at_or_below(entry.offer.role.as_str(), role.as_str())
        });
        let mut locks: Vec<OfferId> = locks.map(|(id, _)| *id).collect();
        locks.sort_unstable();
        for id in locks {
            self.rescind(id, out);
        }
    }

    /// Tasks were found that count under limits: exclusive offers that were made before anybody knew of them make way.
    pub(super) fn withdraw_beside_found(&mut self, out: &mut Outbox) {
        for role in std::mem::take(&mut self.found) {
            for limited in prefixes(&role).filter_map(|prefix| Role::new(prefix).ok()) {
                self.withdraw_over_limit(&limited, out);
            }
        }
    }

    /// What of `available` the framework may have in `role` now; none, if all of it.
    pub(super) fn permitted(
        &self,
        agent: AgentId,
        framework: FrameworkId,
        role: &Role,
        available: &Resources,
    ) -> Option<Resources> {
        if !self.quotas.has_limits() && !self.quotas.has_unmet() && self.preemption.nominations.is_empty() {
            return None;
        }
        let shielded = self.shielded(agent, framework, role, available);
        let promised = self.preemption.nominations.promised(agent, framework, role);
        let Some(mut left) = self.quotas.left(role, &promised) else { return shielded };
        self.recovering.leave_room(&mut left);
        let cut = self.agents[&agent].cut(shielded.as_ref().unwrap_or(available), left);
        cut.or(shielded)
    }

    /// Those who got less because of quota are looked at again when that may have changed.
    pub(super) fn remember_pressed(&mut self, agent: AgentId, pressed: &[ClientIndex]) {
        for client in pressed.iter().filter_map(|client| self.clients.get(*client)) {
            self.quotas.press(&client.role);
        }
        if !pressed.is_empty() && self.quotas.has_unmet() {
            self.held_back.insert(agent);
        }
    }

    /// Whether something of the agent was freed for the client.
    pub(super) fn has_nomination(&self, agent: AgentId, client: &Client) -> bool {
        self.preemption.nominations.has(agent, client.framework, &client.role)
    }

    /// Whether the limits leave room for `group`. While agents are missing after a failover it is not known what the role holds on them:
    /// it may be all that they have.
    pub(super) fn check_limits(
        &self,
        id: AgentId,
        framework: FrameworkId,
        role: &Role,
        group: &TaskGroup,
    ) -> Result<(), Reject> {
        if !self.quotas.is_limited(role) {
            return Ok(());
        }
        let mut asked = Quantities::new();
        for task in &group.tasks {
            asked.add(&self.agents[&id].quantities(&task.resources));
        }
        // What is promised to it for this counts already.
        let promised = self.preemption.nominations.promised(id, framework, role);
        if let Some(missing) = self.recovering.first() {
            let most = self.recovering.with_missing(&asked);
            if self.quotas.check_after(role, &most, &[(role, &promised)]).is_err()
                && self.quotas.check_after(role, &asked, &[(role, &promised)]).is_ok()
            {
                return Err(Reject::AgentAway(missing));
            }
        }
        self.quotas.check_after(role, &asked, &[(role, &promised)]).map_err(|exceeded| {
            let Exceeded { role, resource, limit, held, asked } = exceeded;
            Reject::QuotaExceeded { role, resource, limit, held, asked }
        })
    }

    /// Whether what the group takes is beyond the guarantee of its role, while another's is not met.
    pub(super) fn is_borrowed(&self, agent: AgentId, role: &Role, group: &TaskGroup) -> bool {
        if !self.quotas.has_unmet() {
            return false;
        }
        let mut asked = Quantities::new();
        for task in &group.tasks {
            asked.add(&self.agents[&agent].quantities(&task.resources));
        }
        self.quotas.is_borrowed(role, &asked)
    }

    /// What runs on the agent is known now, or is given up: if it was the last that was missing, limits can be told again.
    pub(super) fn agent_settled(&mut self, agent: AgentId) {
        if !self.recovering.remove(agent) || !self.quotas.has_limits() {
            return;
        }
        if self.recovering.is_empty() {
            self.ask_all_again();
        } else if self.relax_due.is_none() {
            self.relax_due = Some(self.timers.set(self.now + RELAX_GATHER, Timer::LimitsRelaxed));
        }
    }

    fn ask_all_again(&mut self) {
        self.recovering.take_news();
        let all = self.frameworks.values().flat_map(|framework| framework.clients.values().copied());
        self.dirty_clients.extend(all);
        self.want_round();
    }

    /// Limits have room again: those who were held back by them are looked at, soon.
    pub(super) fn heed_relaxed_limits(&mut self) {
        let headroom_moved = self.quotas.take_moved() && !self.held_back.is_empty();
        if (self.quotas.has_relaxed() || headroom_moved) && self.relax_due.is_none() {
            self.relax_due = Some(self.timers.set(self.now + RELAX_GATHER, Timer::LimitsRelaxed));
        }
    }

    pub(super) fn on_limits_relaxed(&mut self) {
        if let Some(key) = self.relax_due.take() {
            self.timers.cancel(key);
        }
        if self.recovering.take_news() {
            self.ask_all_again();
        }
        let relaxed: BTreeSet<Arc<str>> = self.quotas.take_relaxed();
        let is_concerned = |role: &Role| prefixes(role).any(|prefix| relaxed.contains(prefix));
        let clients = self.frameworks.values().flat_map(|framework| &framework.clients);
        let concerned = clients.filter(|(role, _)| is_concerned(role));
        self.dirty_clients.extend(concerned.map(|(_, client)| *client));
        self.dirty_agents.extend(std::mem::take(&mut self.held_back));
        if !self.dirty_clients.is_empty() || !self.dirty_agents.is_empty() {
            self.want_round();
        }
    }

    /// What the framework waits for in `role` is this from now on.
    pub(super) fn set_demand(&mut self, id: FrameworkId, role: Role, demand: Option<Demand>) {
        let framework = self.frameworks.get_mut(&id).expect("the caller has found it");
        let now = waiting(demand.as_ref());
        let before = match demand {
            Some(demand) => framework.demand.insert(role.clone(), demand),
            None => framework.demand.remove(&role),
        };
        self.quotas.wait(&role, waiting(before.as_ref()), now);
        let demanding = self.demanding.entry(role.clone()).or_default();
        if now > 0 {
            demanding.insert(id);
        } else {
            demanding.remove(&id);
        }
        if demanding.is_empty() {
            self.demanding.remove(&role);
        }
        if now == 0 {
            self.unbar(id, &role);
        }
        self.demand_is_new(id, &role);
        self.watch_demand(id, &role);
        self.wait_for_classes(id, &role);
        self.quotas.set_moved(&role);
        self.touched.roles.insert(role);
    }

    /// What the framework has declared is void.
    pub(super) fn forget_demand(&mut self, id: FrameworkId) {
        let Some(framework) = self.frameworks.get(&id) else { return };
        for role in framework.demand.keys().cloned().collect::<Vec<_>>() {
            self.set_demand(id, role, None);
        }
    }

    /// The row of a role; none if there is nothing to say of it.
    pub(super) fn role_view(&self, role: &Role) -> Option<RoleView> {
        let weight = self.weights.get(role).copied();
        let usage = self.quotas.usage(role).cloned();
        let offer_mode = self.offer_modes.get(role).copied();
        if weight.is_none() && usage.is_none() && offer_mode.is_none() {
            return None;
        }
        Some(RoleView { weight_milli: weight.unwrap_or(DEFAULT_WEIGHT), offer_mode, usage: usage.unwrap_or_default() })
    }
}

impl Agent {
    /// The part of `available` that is within `left`; none, if all of it is.
    fn cut(&self, available: &Resources, mut left: Bounds) -> Option<Resources> {
        let counted = self.quantities(available);
        if left.iter().all(|(name, most)| counted.get(name) <= *most) {
            return None;
        }
        let mut cut = Resources::new();
        for (flavor, amounts) in available.iter() {
            let mut amounts: Amounts = amounts.clone();
            let scalars: Vec<_> = amounts.scalars.iter().map(|(name, amount)| (name.clone(), amount)).collect();
            for (name, amount) in scalars {
                let Some(most) = left.get_mut(&name) else { continue };
                let kept = amount.min(*most);
                *most = most.minus(kept).expect("at most all of it is kept");
                amounts.scalars.set(&name, kept);
            }
            amounts.devices.retain(|id, Share(share)| {
                let Some(entry) = self.devices.get(id) else { return true };
                let share = Milli(u64::from(*share));
                let fits = entry.counts_as.iter().all(|name| left.get(name).is_none_or(|most| share <= *most));
                for name in entry.counts_as.iter().filter(|_| fits) {
                    if let Some(most) = left.get_mut(name) {
                        *most = most.minus(share).expect("it fits");
                    }
                }
                fits
            });
            if !amounts.is_empty() {
                cut.add(&Resources::flavored(flavor.clone(), amounts));
            }
        }
        Some(cut)
    }
}

fn waiting(demand: Option<&Demand>) -> u64 {
    demand.map_or(0, |demand| demand.shapes.iter().map(|shape| u64::from(shape.count)).sum())
}
