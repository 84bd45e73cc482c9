//! What has changed is shown to the read model, once a step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::state::{Agent, Framework, OfferEntry, TaskEntry};
use super::view::{AgentView, Change, DeviceView, FrameworkView, OfferView, RoleView, TaskView, View};
use super::{Effect, Master, Outbox};
use crate::allocator::quota::prefixes;
use crate::gate::Output;
use crate::model::{AgentId, DeviceId, FrameworkId, Quantities, Role};

impl Master {
    /// Pushes the rows that were touched since this was last called.
    pub fn show(&mut self, out: &mut Outbox) {
        self.review_demand();
        self.mark_touched();
        let touched = std::mem::take(&mut self.touched);
        let mut push = |change| out.push(Output::Effect(Effect::Changed(change)));
        // First, because rows that are shown whole say what they come to.
        for id in each_once(touched.offers) {
            let row = self.offers.get_mut(&id).map(|entry| {
                entry.is_shown = true;
                offer_view(entry)
            });
            push(Change::Offer(id, row));
        }
        for id in each_once(touched.agents) {
            push(Change::Agent(id, self.agents.get(&id).map(|agent| Box::new(self.agent_view(agent)))));
        }
        for id in each_once(touched.frameworks) {
            push(Change::Framework(
                id,
                self.frameworks.get(&id).map(|framework| Box::new(self.framework_view(id, framework))),
            ));
        }
        for key in touched.tasks {
            let row = self.tasks.get(&key).map(|entry| Arc::new(task_view(entry)));
            push(Change::Task(key, row));
        }
        for (agent, id) in touched.devices {
            let row = self.device_view(agent, &id).map(Box::new);
            push(Change::Device(agent, id, row));
        }
        let above = touched.roles.iter().flat_map(|role| prefixes(role).filter(|prefix| *prefix != role.as_str()));
        let mut roles: Vec<Role> = above.filter_map(|prefix| Role::new(prefix).ok()).collect();
        roles.extend(touched.roles);
        for role in each_once(roles) {
            let row = self.role_view(&role).map(Box::new);
            push(Change::Role(role, row));
        }
        for key in touched.prices {
            let row = self.price_view(&key);
            push(Change::Price(key, row));
        }
    }

    /// The whole view, made from the state: what applying every change must have led to, ended tasks excepted.
    pub fn view(&self) -> View {
        let devices =
            self.agents.iter().flat_map(|(agent, state)| state.devices.keys().map(move |id| (*agent, id.clone())));
        View {
            agents: self.agents.iter().map(|(id, agent)| (*id, self.agent_view(agent))).collect(),
            frameworks: self
                .frameworks
                .iter()
                .map(|(id, framework)| (*id, self.framework_view(*id, framework)))
                .collect(),
            tasks: self.tasks.iter().map(|(key, entry)| (key.clone(), Arc::new(task_view(entry)))).collect(),
            offers: self.offers.iter().map(|(id, entry)| (*id, offer_view(entry))).collect(),
            roles: self.role_views(),
            prices: self.prices.keys().filter_map(|key| Some((key.clone(), self.price_view(key)?))).collect(),
            devices: devices
                .filter_map(|(agent, id)| self.device_view(agent, &id).map(|row| ((agent, id), row)))
                .collect(),
        }
    }

    fn role_views(&self) -> BTreeMap<Role, RoleView> {
        let used = self.quotas.usages().map(|(role, _)| role);
        let roles: BTreeSet<Role> = self.weights.keys().chain(self.offer_modes.keys()).cloned().chain(used).collect();
        roles.into_iter().filter_map(|role| self.role_view(&role).map(|row| (role, row))).collect()
    }

    fn agent_view(&self, agent: &Agent) -> AgentView {
        AgentView {
            info: agent.record.info.clone(),
            status: agent.status,
            total: agent.record.resources.clone(),
            allocated: self.allocated_on(agent),
            offered: agent.locked.clone(),
            journal_degraded: agent.journal_degraded,
            leaves: self.leaves_at(agent),
        }
    }

    /// What tasks hold on the agent.
    fn allocated_on(&self, agent: &Agent) -> Quantities {
        if Arc::ptr_eq(&agent.record.resources, &agent.free) {
            return Quantities::new();
        }
        let mut allocated = agent.record.resources.quantities();
        let free_fits = allocated.subtract(&agent.free.quantities());
        if agent.overcommitted || !free_fits {
            allocated = Quantities::new();
            for key in &agent.tasks {
                allocated.add(&self.tasks[key].task.resources.quantities());
            }
        }
        allocated
    }

    fn framework_view(&self, id: FrameworkId, framework: &Framework) -> FrameworkView {
        let info = &framework.record.info;
        let mut allocated = Quantities::new();
        for role in &info.roles {
            allocated.add(&self.sorter.held(role, id));
        }
        let locked_is_held = allocated.subtract(&framework.locked);
        debug_assert!(locked_is_held, "what exclusive offers lock is held");
        FrameworkView {
            name: info.name.clone(),
            principal: framework.record.principal.as_str().into(),
            roles: info.roles.clone(),
            suppressed: framework.suppressed.clone(),
            connected: framework.peer.is_some(),
            mode: info.offer_mode,
            rules: info.rules.clone(),
            url: info.url.clone(),
            allocated,
            demand: framework.waiting.clone(),
            hopeless: self.hopeless_rows(id),
            offers_made: framework.offers_made,
            offers_declined: framework.offers_declined,
        }
    }

    fn device_view(&self, agent: AgentId, id: &DeviceId) -> Option<DeviceView> {
        let entry = self.agents.get(&agent)?.devices.get(id)?;
        Some(DeviceView { device: entry.device.clone(), state: entry.state.clone(), since: entry.since })
    }
}

fn each_once<T: Ord>(mut ids: Vec<T>) -> Vec<T> {
    ids.sort_unstable();
    ids.dedup();
    ids
}

pub(super) fn task_view(entry: &TaskEntry) -> TaskView {
    TaskView {
        name: entry.task.name.clone(),
        role: entry.task.role.clone(),
        agent: entry.agent,
        state: entry.state,
        reason: entry.status.reason,
        message: entry.status.message.clone(),
        exit: entry.status.exit,
        health: entry.status.health,
        resources: entry.task.resources.clone(),
        priority: entry.task.priority,
        expected_run_time: entry.task.expected_run_time,
        borrowed: entry.borrowed,
        launched: entry.launched,
        changed: entry.changed,
    }
}

fn offer_view(entry: &OfferEntry) -> OfferView {
    OfferView { framework: entry.framework, offer: entry.offer.clone(), since: entry.since }
}
