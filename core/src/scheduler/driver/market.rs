//! What the framework has said about the offers that it wants.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Call, Demand, Role};

/// What the framework wants, and what the master was told on this connection.
#[derive(Debug, Default)]
pub(super) struct Market {
    demands: BTreeMap<Role, Demand>,
    told: BTreeMap<Role, Demand>,
    suppressed: BTreeSet<Role>,
    /// Revived while there was no connection.
    revived: BTreeSet<Role>,
}

impl Market {
    pub(super) fn suppressed(&self) -> &BTreeSet<Role> {
        &self.suppressed
    }

    /// The call that brings the master's knowledge of `role`'s demand up to date; none if it is.
    pub(super) fn demand(&mut self, role: Role, demand: Option<Demand>) -> Option<Call> {
        match &demand {
            Some(demand) => drop(self.demands.insert(role.clone(), demand.clone())),
            None => drop(self.demands.remove(&role)),
        }
        if self.told.get(&role) == demand.as_ref() {
            return None;
        }
        match &demand {
            Some(demand) => drop(self.told.insert(role.clone(), demand.clone())),
            None => drop(self.told.remove(&role)),
        }
        Some(Call::Demand { role, demand })
    }

    pub(super) fn suppress(&mut self, role: Role) -> Option<Call> {
        self.revived.remove(&role);
        self.suppressed.insert(role.clone()).then(|| Call::Suppress(BTreeSet::from([role])))
    }

    /// Offers for `role` again; what can't be said now is said on the next connection.
    pub(super) fn revive(&mut self, role: Role, is_subscribed: bool) -> Option<Call> {
        self.suppressed.remove(&role);
        let roles = BTreeSet::from([role]);
        if is_subscribed {
            return Some(Call::Revive(roles));
        }
        self.revived.extend(roles);
        None
    }

    /// What to say first on a new connection.
    pub(super) fn resend(&mut self) -> Vec<Call> {
        self.told.clone_from(&self.demands);
        let demands =
            self.demands.iter().map(|(role, demand)| Call::Demand { role: role.clone(), demand: Some(demand.clone()) });
        let mut calls: Vec<Call> = demands.collect();
        if !self.suppressed.is_empty() {
            calls.push(Call::Suppress(self.suppressed.clone()));
        }
        if !self.revived.is_empty() {
            calls.push(Call::Revive(std::mem::take(&mut self.revived)));
        }
        calls
    }

    pub(super) fn disconnected(&mut self) {
        self.told.clear();
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.suppressed.is_disjoint(&self.revived), "a role is suppressed and revived");
    }
}
