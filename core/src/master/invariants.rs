//! What must hold after every step, whatever happened.

use std::collections::BTreeMap;

use super::Master;
use super::state::sole;
use super::view::AgentStatus;
use crate::model::{OfferMode, Quantities, Resources, Role, Share};

impl Master {
    /// Checks the whole state, in time linear in its size. The parts of the invariants I1, I2, I6 and I8 that a master alone can see.
    ///
    /// # Panics
    /// If an invariant does not hold: the state is no longer to be trusted.
    pub fn check_invariants(&self) {
        for id in self.agents.keys() {
            self.check_agent(*id);
        }
        for (key, entry) in &self.tasks {
            assert!(self.agents.contains_key(&entry.agent), "{key}: its agent {} is known", entry.agent);
            assert_eq!(
                entry.charged.is_some(),
                self.agents[&entry.agent].tasks.contains(key),
                "{key}: charged where it runs"
            );
            assert!(!(entry.charged.is_some() && entry.state.is_terminal()), "{key}: charged although it ended");
            if let Some(framework) = self.frameworks.get(&key.framework) {
                assert!(framework.tasks.contains(&key.task), "{key}: its framework knows it");
            }
        }
        self.quotas.check_invariants();
        self.check_work();
        self.check_usage();
        for (id, entry) in &self.offers {
            assert_eq!(entry.offer.id.term, self.term, "{id}: an offer is of this term");
            let framework = &self.frameworks[&entry.framework];
            assert!(
                framework.offers.named().any(|offer| offer == *id)
                    && self.agents[&entry.offer.agent].offers.iter().any(|(offer, _)| offer == id),
                "{id}: known to both"
            );
            assert!(framework.takes_offers(&entry.offer.role), "{id}: I8, no offer to who wants none");
            assert_eq!(self.agents[&entry.offer.agent].status, AgentStatus::Active, "{id}: its agent is there");
        }
        self.check_gangs();
        self.check_all_leaving();
        self.check_rules();
        for (old, new) in &self.replaced {
            assert!(self.offers[new].replaces.contains(old), "{old}: replaced by {new}, which knows it");
        }
    }

    /// What each role is known to hold is what its tasks and exclusive offers do.
    fn check_usage(&self) {
        let mut held: BTreeMap<Role, Quantities> = BTreeMap::new();
        for entry in self.tasks.values() {
            if let Some(charged) = &entry.charged {
                held.entry(entry.task.role.clone()).or_default().add(charged);
            }
        }
        for entry in self.offers.values() {
            held.entry(entry.offer.role.clone()).or_default().add(&entry.charged);
        }
        for (role, charged) in self.gangs.charged() {
            held.entry(role.clone()).or_default().add(charged);
        }
        for (role, usage) in self.quotas.usages() {
            let mut sum = Quantities::new();
            let below = held.iter().filter(|(other, _)| **other == role || other.is_below(&role));
            below.for_each(|(_, quantities)| sum.add(quantities));
            let mut known = usage.held.clone();
            known.add(&usage.offered);
            assert_eq!(known, sum, "{role}: what it is known to hold is what it holds");
        }
    }

    fn check_agent(&self, id: crate::model::AgentId) {
        let agent = &self.agents[&id];
        let mut held = Resources::new();
        for key in &agent.tasks {
            held.add(&self.tasks[key].task.resources.counted());
        }
        self.gangs.held_on(id).for_each(|(_, resources)| held.add(&resources.counted()));
        if !agent.overcommitted {
            let sum = agent.free.without_devices().plus(&held);
            assert_eq!(sum, *agent.record.resources, "{id}: I2, total = free + held");
        }
        let mut locked = Resources::new();
        for offer in agent
            .offers
            .iter()
            .map(|(offer, _)| &self.offers[offer])
            .filter(|entry| entry.offer.mode == OfferMode::Exclusive)
        {
            locked.add(&sole(&offer.offer.resources));
        }
        assert_eq!(*agent.locked, locked, "{id}: what is locked is what exclusive offers hold");
        assert!(agent.free.contains(&locked), "{id}: I2, exclusive offers are disjoint and of what is free");
        self.check_devices(id);
    }

    fn check_devices(&self, id: crate::model::AgentId) {
        let agent = &self.agents[&id];
        for (device, share) in agent.free.device_shares() {
            let clean = agent.devices.get(device).map_or(Share(0), |entry| entry.state.free_share());
            assert!(share <= clean, "{id} {device}: I1, what is free has no tenant and is clean");
        }
        for (device, entry) in &agent.devices {
            let slices: u32 = entry.state.slices().map(|(_, slice)| u32::from(slice.share.0)).sum();
            assert!(slices <= u32::from(Share::WHOLE.0), "{id} {device}: I1, at most the whole is given out");
        }
        if agent.status != AgentStatus::Active {
            return;
        }
        for key in &agent.tasks {
            for (device, _) in self.tasks[key].task.resources.device_shares() {
                // The agent may have said that the device is gone or broken while the task holds it.
                let Some(entry) = agent.devices.get(device) else { continue };
                let others = entry.state.holders().any(|(holder, _)| holder != key && self.is_live(holder));
                assert!(
                    !others || entry.device.mode == crate::model::DeviceMode::Shared,
                    "{id} {device}: I1, one tenant at a time"
                );
            }
        }
    }

    fn is_live(&self, key: &crate::model::TaskKey) -> bool {
        self.tasks.get(key).is_some_and(|entry| !entry.state.is_terminal())
    }
}
