//! How the frameworks of a role are made offers, where an operator has said so. That goes before what a framework asks for itself.

use std::collections::{BTreeMap, BTreeSet};

use super::registry::Record;
use super::{Master, Outbox};
use crate::allocator::quota::{is_at_or_below, prefixes};
use crate::allocator::sorter::ClientIndex;
use crate::gate::Output;
use crate::model::{FrameworkId, OfferMode, Reject, Role};

/// The most roles for which a mode may be set.
const MODES_MAX: usize = 10_000;

/// What is set for the role, or for the nearest one above it.
pub(super) fn mode_for(modes: &BTreeMap<Role, OfferMode>, role: &Role) -> Option<OfferMode> {
    if modes.is_empty() {
        return None;
    }
    let above = prefixes(role).filter_map(|prefix| Role::new(prefix).ok());
    above
        .filter_map(|role| Some((role.as_str().len(), *modes.get(&role)?)))
        .max_by_key(|(len, _)| *len)
        .map(|(_, mode)| mode)
}

impl Master {
    /// Sets the mode of a role and those below it, or takes it back. What is on offer in another mode is taken back and made anew.
    pub(super) fn set_offer_mode(
        &mut self,
        role: &Role,
        mode: Option<OfferMode>,
        out: &mut Outbox,
    ) -> Result<(), Reject> {
        if self.offer_modes.len() >= MODES_MAX && mode.is_some() && !self.offer_modes.contains_key(role) {
            return Err(Reject::Limit { what: "roles with an offer mode", limit: MODES_MAX as u64 });
        }
        let before = match mode {
            Some(mode) => self.offer_modes.insert(role.clone(), mode),
            None => self.offer_modes.remove(role),
        };
        if before == mode {
            return Ok(());
        }
        self.touched.roles.insert(role.clone());
        out.push(Output::Persist(Record::OfferMode(role.clone(), mode)));
        let below = |(other, _): &(&Role, &ClientIndex)| is_at_or_below(other.as_str(), role.as_str());
        let clients = self.frameworks.iter().flat_map(|(id, framework)| {
            framework.clients.iter().filter(below).map(|(role, client)| (*id, role.clone(), *client))
        });
        for (framework, role, client) in clients.collect::<Vec<_>>() {
            self.switch_mode(framework, role, client, out);
        }
        Ok(())
    }

    fn switch_mode(&mut self, id: FrameworkId, role: Role, client: ClientIndex, out: &mut Outbox) {
        let mode = mode_for(&self.offer_modes, &role).unwrap_or_else(|| self.frameworks[&id].mode());
        if self.clients.get(client).is_none_or(|client| client.mode == mode) {
            return;
        }
        self.rescind_for_roles(id, &BTreeSet::from([role]), out);
        self.clients.set_mode(client, mode);
        self.dirty_clients.insert(client);
        self.want_round();
    }
}

#[cfg(test)]
mod tests;
