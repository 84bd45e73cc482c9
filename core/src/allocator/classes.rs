//! Device classes: who comes first for a device of one kind and model.
//!
//! The dominant share of a role counts devices by kind, all models together, and only kinds that are listed for it. Each class has an
//! order of its own beside that, among those who wait for it: least held of it comes first, by weight and by the role tree as in
//! [`Sorter`]; of equals who began to wait first, or was given one longest ago.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::sorter::{Sorter, kind_quantity};
use crate::model::{FrameworkId, Milli, Quantities, Role};

/// A kind and a model of device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class {
    /// As `gpu`.
    pub kind: Arc<str>,
    /// As its vendor names it.
    pub model: Arc<str>,
}

impl Class {
    /// The class of that kind and model.
    pub fn new(kind: &str, model: &str) -> Self {
        Self { kind: Arc::from(kind), model: Arc::from(model) }
    }

    /// The classes among `quantities`, with how much of each, in thousandths.
    pub fn among(quantities: &Quantities) -> impl Iterator<Item = (Self, Milli)> {
        let class =
            |name: &str| name.strip_prefix("device/")?.split_once('/').map(|(kind, model)| Self::new(kind, model));
        quantities.iter().filter_map(move |(name, amount)| Some((class(name.as_str())?, amount)))
    }

    /// `devices`, in thousandths, as the sorter counts them.
    fn quantity(&self, devices: Milli) -> Quantities {
        let mut quantities = Quantities::new();
        quantities.set(&kind_quantity(&self.kind), devices);
        quantities
    }
}

/// The orders of all classes.
#[derive(Clone, Debug, Default)]
pub struct Classes {
    sorters: BTreeMap<Class, Sorter>,
    weights: BTreeMap<Role, u32>,
    waiting: BTreeSet<(Class, Role, FrameworkId)>,
}

impl Classes {
    /// None, yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The cluster has `devices` more of the class, in thousandths.
    pub fn grow(&mut self, class: &Class, devices: Milli) {
        self.sorter(class).grow(&class.quantity(devices));
    }

    /// The cluster has `devices` less of the class, in thousandths.
    pub fn shrink(&mut self, class: &Class, devices: Milli) {
        self.sorter(class).shrink(&class.quantity(devices));
    }

    /// Sets a role's weight, in thousandths, for every class.
    pub fn set_weight(&mut self, role: &Role, weight: u32) {
        self.weights.insert(role.clone(), weight);
        for sorter in self.sorters.values_mut() {
            sorter.set_weight(role, weight);
        }
    }

    /// `framework` holds `devices` more of the class in `role`, in thousandths; among equals it comes last now.
    pub fn charge(&mut self, class: &Class, role: &Role, framework: FrameworkId, devices: Milli) {
        let sorter = self.sorter(class);
        sorter.charge(role, framework, &class.quantity(devices));
        sorter.served(role, framework);
    }

    /// `framework` holds `devices` less of the class in `role`, in thousandths.
    pub fn credit(&mut self, class: &Class, role: &Role, framework: FrameworkId, devices: Milli) {
        self.sorter(class).credit(role, framework, &class.quantity(devices));
    }

    /// `framework` waits for the class in `role` from now on. Whether it did not before.
    pub fn wait(&mut self, class: &Class, role: &Role, framework: FrameworkId) -> bool {
        let is_new = self.waiting.insert((class.clone(), role.clone(), framework));
        if is_new {
            let sorter = self.sorter(class);
            sorter.set_active(role, framework, true);
            sorter.served(role, framework);
        }
        is_new
    }

    /// `framework` does not wait for the class in `role` any more. What it holds of it still counts. Whether it did before.
    pub fn leave(&mut self, class: &Class, role: &Role, framework: FrameworkId) -> bool {
        let did = self.waiting.remove(&(class.clone(), role.clone(), framework));
        if did {
            self.sorter(class).set_active(role, framework, false);
        }
        did
    }

    /// Those who wait for the class, who comes first first.
    pub fn order(&mut self, class: &Class) -> Arc<[(Role, FrameworkId)]> {
        self.sorters.get_mut(class).map_or_else(|| Arc::new([]), Sorter::order)
    }

    /// `framework` is gone from `role` and holds nothing there.
    pub fn remove(&mut self, role: &Role, framework: FrameworkId) {
        self.waiting.retain(|(_, of, id)| of != role || *id != framework);
        for sorter in self.sorters.values_mut().filter(|sorter| sorter.client(role, framework).is_some()) {
            sorter.remove(role, framework);
        }
    }

    fn sorter(&mut self, class: &Class) -> &mut Sorter {
        let weights = &self.weights;
        self.sorters.entry(class.clone()).or_insert_with(|| {
            let mut sorter = Sorter::new(std::slice::from_ref(&class.kind));
            for (role, weight) in weights {
                sorter.set_weight(role, *weight);
            }
            sorter
        })
    }
}

#[cfg(test)]
mod tests;
