//! What the master keeps to answer questions: agents by class, what waits and since when, how long others had to wait.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Master;
use super::clients::Client;
use super::pile::Pile;
use super::state::{Agent, DeviceEntry};
use super::view::AgentStatus;
use crate::allocator::agent_classes::{Class, Classes, Fleet};
use crate::allocator::conduct::Ledger;
use crate::allocator::explain::{AgentRef, Outlook};
use crate::allocator::history::{History, Queue};
use crate::allocator::stock::{Condition, Fingerprint, Printer, Slot, Standing, Stock};
use crate::model::{AgentId, Demand, DeviceId, DeviceState, FrameworkId, Resources, Role, Shape, Task};

/// What the master keeps to answer questions.
#[derive(Debug, Default)]
pub(super) struct Questions {
    /// Agents by what they have now.
    pub(super) classes: Classes,
    /// Agents by what they have in all: few classes, and they change only when agents come and go.
    pub(super) kinds: Classes,
    pub(super) history: History,
    pub(super) queues: BTreeMap<FrameworkId, BTreeMap<Role, Queue>>,
    /// What is counted of each framework in each of its roles.
    pub(super) ledgers: BTreeMap<(FrameworkId, Role), Ledger>,
    /// Agents that registered, changed what they have, or are gone, since the last review.
    changed: Pile,
}

impl Master {
    /// The agent has come, is gone, or has other hardware or attributes: what never fitted may fit now, and the other way round.
    pub(super) fn hardware_changed(&mut self, agent: AgentId) {
        self.questions.changed.insert(agent);
        self.questions.kinds.mark(agent);
    }

    /// Brings the classes of agents up to date with this step.
    pub(super) fn refresh_classes(&mut self) {
        self.mark_touched();
        self.questions.classes.refresh(&Machines { agents: &self.agents, empty: false });
        self.questions.kinds.refresh(&Machines { agents: &self.agents, empty: true });
    }

    /// Notes which agents this step has changed.
    pub(super) fn mark_touched(&mut self) {
        for id in self.touched.agents.iter().chain(&self.touched.locked) {
            self.questions.classes.mark(*id);
        }
        let mut last = None;
        for (id, _) in &self.touched.devices {
            if last != Some(*id) {
                self.questions.classes.mark(*id);
                last = Some(*id);
            }
        }
    }

    /// A framework declares what it waits for.
    pub(super) fn note_demand(&mut self, id: FrameworkId, role: &Role, demand: Option<&Demand>) {
        self.questions.kinds.refresh(&Machines { agents: &self.agents, empty: true });
        let mut queues = self.questions.queues.remove(&id).unwrap_or_default();
        let queue = queues.entry(role.clone()).or_default();
        let client = self.client_of(id, role);
        queue.declare(self.now, role, demand, &self.questions.history, |shape| self.outlook(client, shape));
        if queue.rows().is_empty() {
            queues.remove(role);
        }
        if !queues.is_empty() {
            self.questions.queues.insert(id, queues);
        }
    }

    /// A framework has launched a task.
    pub(super) fn note_launch(&mut self, id: FrameworkId, task: &Task) {
        let Questions { queues, history, .. } = &mut self.questions;
        if let Some(queue) = queues.get_mut(&id).and_then(|queues| queues.get_mut(&task.role)) {
            queue.launched(self.now, &task.role, task, history);
        }
    }

    /// A framework declares anew from here on, or is gone.
    pub(super) fn forget_queues(&mut self, id: FrameworkId) {
        self.questions.queues.remove(&id);
    }

    /// Which of the rows of [`FrameworkView::demand`](super::view::FrameworkView::demand) never fit.
    pub(super) fn hopeless_rows(&self, id: FrameworkId) -> Arc<[bool]> {
        let queues = self.questions.queues.get(&id).into_iter().flat_map(BTreeMap::values);
        queues.flat_map(Queue::rows).map(|row| row.outlook == Outlook::Hopeless).collect()
    }

    /// Looks again at what may fit or not, after agents have come or gone. What an agent brings can only help, so that what fits is looked
    /// at again only if a class of agents is gone, or may be another by its attributes.
    pub(super) fn review_demand(&mut self) {
        if self.questions.queues.is_empty() {
            self.questions.changed.clear();
        }
        if self.questions.changed.is_empty() {
            return;
        }
        let changed = self.questions.changed.take();
        let kinds = &mut self.questions.kinds;
        let known_before = changed.iter().any(|agent| kinds.of(*agent).is_some());
        let vanished = kinds.vanished();
        kinds.refresh(&Machines { agents: &self.agents, empty: true });
        let lost = kinds.vanished() > vanished;
        let mut queues = std::mem::take(&mut self.questions.queues);
        for (id, queues) in &mut queues {
            let rows = queues.iter_mut().flat_map(|(role, queue)| queue.rows_mut().map(move |row| (role, row)));
            for (role, row) in rows {
                let client = self.client_of(*id, role);
                let outlook = match row.outlook {
                    Outlook::Hopeless if changed.iter().any(|agent| self.could_run(*agent, client, &row.shape)) => {
                        Outlook::Possible
                    }
                    Outlook::Possible if !lost && (!known_before || !self.is_choosy(client, &row.shape)) => continue,
                    Outlook::Hopeless | Outlook::Possible | Outlook::Unknown => self.outlook(client, &row.shape),
                };
                if std::mem::replace(&mut row.outlook, outlook) != outlook {
                    self.touched.frameworks.push(*id);
                }
            }
        }
        self.questions.queues = queues;
    }

    /// The framework takes offers of other agents from now on: looks again at what may fit.
    pub(super) fn review_demand_of(&mut self, id: FrameworkId) {
        let Some(mut queues) = self.questions.queues.remove(&id) else { return };
        for (role, queue) in &mut queues {
            let client = self.client_of(id, role);
            queue.rows_mut().for_each(|row| row.outlook = self.outlook(client, &row.shape));
        }
        self.questions.queues.insert(id, queues);
    }

    /// Whether some agent that the client takes offers of could run one of the shape when empty. One pass over kinds of agents; where shape
    /// or client ask for attributes, also over the agents of the kinds that are large enough, until one is found.
    pub(super) fn outlook(&self, client: Option<&Client>, shape: &Shape) -> Outlook {
        let kinds = self.questions.kinds.iter().map(|(_, kind)| kind);
        let fits = kinds.into_iter().any(|kind| kind.stock.could_hold(shape) && self.is_for_some(kind, client, shape));
        match (fits, self.fleet_is_known()) {
            (true, _) => Outlook::Possible,
            (false, true) => Outlook::Hopeless,
            (false, false) => Outlook::Unknown,
        }
    }

    /// Whether some agent of the class is what the shape asks for, and one that the client takes offers of.
    pub(super) fn is_for_some(&self, class: &Class, client: Option<&Client>, shape: &Shape) -> bool {
        !self.is_choosy(client, shape) || class.members.iter().any(|agent| self.agents[agent].is_for(client, shape))
    }

    /// Whether agents differ for this client and shape by more than what they have.
    fn is_choosy(&self, client: Option<&Client>, shape: &Shape) -> bool {
        !shape.constraint.is_any() || client.is_some_and(|client| self.has_agent_rules(client))
    }

    /// Whether this agent could run one of the shape when empty.
    fn could_run(&self, agent: AgentId, client: Option<&Client>, shape: &Shape) -> bool {
        let state = self.agents.get(&agent).filter(|state| state.status != AgentStatus::Gone);
        state.is_some_and(|state| state.is_for(client, shape) && state.stock().could_hold(shape))
    }

    /// Whether there are agents, and all that are known have been heard in this term: what devices they have is not known before.
    fn fleet_is_known(&self) -> bool {
        self.questions.kinds.agents() > 0 && self.agents_missing() == 0
    }

    pub(super) fn agent_ref(&self, id: AgentId) -> AgentRef {
        let name = self.agents.get(&id).map_or_else(|| Arc::from("?"), |agent| agent.record.info.name.clone());
        AgentRef { id, name }
    }
}

/// The master's agents, as classes get to know them.
struct Machines<'a> {
    agents: &'a super::ById<AgentId, Box<Agent>>,
    /// Whether they are looked at as if nobody held anything of them.
    empty: bool,
}

impl Fleet for Machines<'_> {
    fn agents(&self) -> impl Iterator<Item = AgentId> {
        self.agents.keys().copied()
    }

    fn print(&self, agent: AgentId) -> Option<Fingerprint> {
        let agent = self.agents.get(&agent).filter(|agent| agent.status != AgentStatus::Gone)?;
        Some(if self.empty { agent.kind_print() } else { agent.print() })
    }

    fn stock(&self, agent: AgentId) -> Stock {
        let stock = self.agents[&agent].stock();
        if self.empty { stock.emptied() } else { stock }
    }
}

impl Agent {
    /// Whether it is what the shape asks for, and the client takes offers of it.
    fn is_for(&self, client: Option<&Client>, shape: &Shape) -> bool {
        (shape.constraint.is_any() || shape.constraint.matches(&*self.record.info))
            && client.is_none_or(|client| self.admits(client))
    }

    /// What it has, for questions.
    pub(super) fn stock(&self) -> Stock {
        let slot = |entry: &DeviceEntry| Slot { device: entry.device.clone(), condition: condition(entry) };
        Stock {
            standing: self.standing(),
            total: (*self.record.resources).clone(),
            free: (*self.free).clone(),
            locked: (*self.locked).clone(),
            kept: self.kept.clone(),
            devices: self.devices.values().map(slot).collect(),
        }
    }

    fn standing(&self) -> Standing {
        match self.status {
            AgentStatus::Active if self.is_usable() && self.leaving.is_some() => Standing::Leaving,
            AgentStatus::Active if self.is_usable() => Standing::Ready,
            AgentStatus::Active => Standing::Degraded,
            AgentStatus::Unreachable | AgentStatus::Gone => Standing::Unreachable,
            AgentStatus::Disconnected | AgentStatus::Recovering => Standing::Away,
        }
    }

    fn print(&self) -> Fingerprint {
        let tag = |entry: &DeviceEntry| {
            let id = &entry.device.id;
            condition(entry) as u64 | share_of(&self.free, id) << 8 | share_of(&self.locked, id) << 24
        };
        let mut printer = Printer::default();
        printer.put(&self.standing()).put(&self.kept).put_amounts(&self.record.resources);
        printer.put_amounts(&self.free).put_amounts(&self.locked);
        printer.put_devices(self.devices.values().map(|entry| (&*entry.device, tag(entry))));
        printer.finish()
    }

    fn kind_print(&self) -> Fingerprint {
        let mut printer = Printer::default();
        printer.put_amounts(&self.record.resources);
        printer.put_devices(self.devices.values().map(|entry| (&*entry.device, 0)));
        printer.finish()
    }
}

fn share_of(resources: &Resources, device: &DeviceId) -> u64 {
    resources.device_shares().find(|(id, _)| *id == device).map_or(0, |(_, share)| u64::from(share.0))
}

pub(super) fn condition(entry: &DeviceEntry) -> Condition {
    match &entry.state {
        DeviceState::Allocated(_) => Condition::Held,
        DeviceState::Sliced(_) if entry.state.holders().next().is_some() => Condition::Held,
        DeviceState::Sliced(_) => Condition::Cleaning,
        DeviceState::Cleaning { .. } => Condition::Cleaning,
        DeviceState::Quarantined { .. } => Condition::Broken,
        DeviceState::Free if !entry.device.health.is_usable() => Condition::Broken,
        DeviceState::Free => Condition::Free,
    }
}

#[cfg(test)]
mod tests;
