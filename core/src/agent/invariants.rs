//! What must hold after every step: this agent's part of I1 and I2.

use super::{Agent, Link};
use crate::model::{DeviceState, Resources, Share, TaskKey};

impl Agent {
    /// Checks the whole state.
    ///
    /// # Panics
    /// If an invariant does not hold: the program is wrong.
    pub fn check_invariants(&self) {
        self.check_tenants();
        self.check_tenancies();
        self.check_amounts();
        self.check_updates();
    }

    /// I1: a device has at most one tenant, each of its slices one, and the slices are at most the whole; each tenant lives and asked
    /// for it.
    fn check_tenants(&self) {
        for (id, slot) in &self.devices {
            let slices: u32 = slot.state.slices().map(|(_, slice)| u32::from(slice.share.0)).sum();
            assert!(slices <= u32::from(Share::WHOLE.0), "I1: device {id} is given out {slices} thousandths");
            let sliced = matches!(slot.state, DeviceState::Sliced(_));
            assert!(!sliced || slices > 0, "I1: device {id} is in slices and has none");
            for (task, share) in slot.state.holders() {
                let lives = self.journal.tasks.get(task).filter(|entry| !entry.is_terminal());
                let asked = lives.is_some_and(|entry| {
                    entry.task.resources.device_shares().any(|(asked, part)| asked == id && part == share)
                });
                assert!(
                    asked,
                    "I1: device {id} is allocated to {task}, which has ended or never asked for so much of it"
                );
            }
        }
    }

    /// I1, the other way: a live task holds what it was given, so none of it is free or being cleaned.
    fn check_tenancies(&self) {
        for (key, entry) in self.journal.tasks.iter().filter(|(_, entry)| !entry.is_terminal()) {
            for (id, _) in entry.task.resources.device_shares() {
                assert!(self.is_tenant(key, id), "I1: {key} lives and does not hold {id}");
            }
        }
    }

    /// I2: what is counted as used is what live tasks and gangs hold; nothing is negative.
    fn check_amounts(&self) {
        let held = self.held_resources();
        assert_eq!(self.used, held, "I2: used must be what live tasks and gangs hold");
        assert_eq!(
            self.total.quantities(),
            self.config.resources.quantities(),
            "I2: reservations and volumes change no amount"
        );
        let mut free = self.total.clone();
        if free.subtract(&self.used) {
            assert_eq!(free.plus(&self.used), self.total, "I2: free and used are the total");
        } else {
            assert_ne!(self.used, Resources::new(), "I2: nothing used always fits");
        }
    }

    /// Every update that is out has a uuid, is of a task that is known, and is sent again if there is a connection.
    fn check_updates(&self) {
        for (key, entry) in &self.journal.tasks {
            assert!(entry.pending.iter().all(|status| status.uuid.is_some()), "{key} has an update without uuid");
            assert!(entry.pending.len() <= 4, "{key} has {} updates that wait", entry.pending.len());
            let repeated = self.resends.contains(key);
            let expected = self.link == Link::Up && !entry.pending.is_empty();
            assert_eq!(
                repeated, expected,
                "{key}: an update is sent again exactly while it is out and there is a connection"
            );
        }
        let known = |task: &TaskKey| self.journal.tasks.contains_key(task);
        assert!(self.resends.tasks().all(known), "an update of a forgotten task is sent again");
    }
}
