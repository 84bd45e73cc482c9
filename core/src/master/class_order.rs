//! Device classes in rounds of offers: on an agent that has a device free, those who wait for one of its class come first, in the order of
//! the class.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use smallvec::SmallVec;

use super::Master;
use super::state::Agent;
use crate::allocator::classes::{Class, Classes};
use crate::allocator::sorter::ClientIndex;
use crate::model::{AgentId, Device, FrameworkId, Quantities, Role};

/// Who waits for which class.
#[derive(Debug, Default)]
pub(super) struct ClassOrder {
    classes: Classes,
    /// One device of each class, to ask selectors about.
    models: BTreeMap<Class, Arc<Device>>,
    /// Those who wait, in order, as of the last round.
    ranks: BTreeMap<Class, Vec<ClientIndex>>,
    /// Classes whose order may be another than in the last round.
    stale: BTreeSet<Class>,
}

impl ClassOrder {
    /// The cluster has so much more.
    pub(super) fn grow(&mut self, counted: &Quantities) {
        Class::among(counted).for_each(|(class, devices)| {
            self.classes.grow(&class, devices);
            self.stale.insert(class);
        });
    }

    /// The cluster has so much less.
    pub(super) fn shrink(&mut self, counted: &Quantities) {
        Class::among(counted).for_each(|(class, devices)| {
            self.classes.shrink(&class, devices);
            self.stale.insert(class);
        });
    }

    /// `framework` holds so much more in `role`.
    pub(super) fn charge(&mut self, role: &Role, framework: FrameworkId, held: &Quantities) {
        Class::among(held).for_each(|(class, devices)| {
            self.classes.charge(&class, role, framework, devices);
            self.stale.insert(class);
        });
    }

    /// `framework` holds so much less in `role`.
    pub(super) fn credit(&mut self, role: &Role, framework: FrameworkId, held: &Quantities) {
        Class::among(held).for_each(|(class, devices)| {
            self.classes.credit(&class, role, framework, devices);
            self.stale.insert(class);
        });
    }

    /// A role's weight, in thousandths.
    pub(super) fn set_weight(&mut self, role: &Role, weight: u32) {
        self.classes.set_weight(role, weight);
        self.stale.extend(self.models.keys().cloned());
    }

    /// `framework` is gone from `role` and holds nothing there.
    pub(super) fn remove(&mut self, role: &Role, framework: FrameworkId) {
        self.classes.remove(role, framework);
        self.stale.extend(self.models.keys().cloned());
    }
}

impl Master {
    /// The agent's devices are known: those of a class that was not seen before may be what somebody waits for.
    pub(super) fn see_classes(&mut self, id: AgentId) {
        let devices = self.agents[&id].devices.values().map(|entry| &entry.device);
        let models = &mut self.class_order.models;
        let before = models.len();
        for device in devices.filter(|device| !device.model.is_empty()) {
            models.entry(Class::new(&device.kind, &device.model)).or_insert_with(|| device.clone());
        }
        if models.len() > before {
            let demanding = self.demanding.iter();
            let pairs: Vec<(Role, FrameworkId)> =
                demanding.flat_map(|(role, ids)| ids.iter().map(|id| (role.clone(), *id))).collect();
            pairs.into_iter().for_each(|(role, framework)| self.wait_for_classes(framework, &role));
        }
    }

    /// What the framework waits for in `role` is another thing now.
    pub(super) fn wait_for_classes(&mut self, id: FrameworkId, role: &Role) {
        let demand = self.frameworks.get(&id).and_then(|framework| framework.demand.get(role));
        let shapes = demand.iter().flat_map(|demand| &demand.shapes).filter(|shape| shape.count > 0);
        let alternatives: Vec<_> =
            shapes.flat_map(|shape| &shape.claims).flat_map(|claim| &claim.alternatives).collect();
        let order = &mut self.class_order;
        for (class, device) in &order.models {
            let waits = |alternative: &&crate::model::Alternative| {
                alternative.kind == class.kind && alternative.selector.matches(&**device)
            };
            let changed = if alternatives.iter().any(waits) {
                order.classes.wait(class, role, id)
            } else {
                order.classes.leave(class, role, id)
            };
            if changed {
                order.stale.insert(class.clone());
            }
        }
    }

    /// Brings the orders up to date, for this round.
    pub(super) fn rank_classes(&mut self) {
        for class in std::mem::take(&mut self.class_order.stale) {
            let waiting = self.class_order.classes.order(&class);
            let ranks = waiting.iter().filter_map(|(role, framework)| self.client_id(*framework, role)).collect();
            self.class_order.ranks.insert(class, ranks);
        }
    }

    /// Those who wait for a class of which the agent has a device free, as every second place goes to them. `taken` places have been
    /// given away already.
    pub(super) fn class_waiters(&self, agent: &Agent, taken: usize) -> SmallVec<[ClientIndex; 4]> {
        let mut first = SmallVec::new();
        if taken % 2 == 1 || agent.indexed.kinds.is_empty() {
            return first;
        }
        let free = agent.free.device_shares().filter_map(|(id, _)| agent.devices.get(id));
        let here: BTreeSet<Class> = free.map(|entry| Class::new(&entry.device.kind, &entry.device.model)).collect();
        let waiting = here.iter().filter_map(|class| self.class_order.ranks.get(class)).flatten();
        let takes = |id: &&ClientIndex| self.clients.get(**id).is_some_and(|client| self.takes_offers(client));
        first.extend(waiting.filter(takes).copied());
        first
    }
}

#[cfg(test)]
mod tests;
