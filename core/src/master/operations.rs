//! Reservations and volumes: the master judges an operation against what is free, counts it as done, and has the agent carry it out.
//!
//! The agent is the authority: until it has confirmed, the operation is in the registry, and is sent again when the agent registers. What
//! the agent then reports holds all operations up to the last that it has done; those after it are counted on top.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::accept::Taken;
use super::registry::{OperationRecord, Record};
use super::timers::Timer;
use super::{Master, Outbox};
use crate::allocator::reservations::{self, Conversion, OperationError};
use crate::gate::Output;
use crate::model::{
    AgentId, FrameworkId, OfferMode, Operation, OperationId, Principal, Reject, Reservation, ReservationKind,
    Resources, Role, Time, ToAgent,
};

#[cfg(test)]
mod tests;

/// The most operations that wait for the confirmation of one agent.
const PENDING_MAX: usize = 1024;

/// Operations that their agents have not confirmed, in the order in which they are to be done.
pub(super) type Pending = BTreeMap<AgentId, BTreeMap<OperationId, Operation>>;

pub(super) fn recover_pending(records: BTreeMap<OperationId, OperationRecord>) -> Pending {
    let mut pending = Pending::new();
    for (id, record) in records {
        pending.entry(record.agent).or_default().insert(id, record.operation);
    }
    pending
}

impl Master {
    /// An operation of a framework on what it was offered. What it makes is left for the operations after it.
    pub(super) fn operate_offered(
        &mut self,
        framework: FrameworkId,
        id: AgentId,
        taken: &mut Taken,
        operation: Operation,
        out: &mut Outbox,
    ) -> Result<(), Reject> {
        let conversion = Conversion::of(&operation).map_err(|error| error.reject(&operation))?;
        self.check_makers(&operation, &self.frameworks[&framework].record.principal, Some(&taken.role))?;
        let mut left = taken.left.clone();
        conversion.apply(&mut left).map_err(|error| error.reject(&operation))?;
        self.check_operation(id, &operation, &conversion)?;
        let available = self.agents[&id].available(&taken.role);
        if !available.contains(conversion.consumed()) {
            return Err(Reject::OfferConflict { left: Resources::clone(&available) });
        }
        taken.left = left;
        self.carry_out(id, operation, &conversion, out);
        Ok(())
    }

    /// An operation of an operator on what is free. Offers that lock it are taken back.
    pub(super) fn operate_free(
        &mut self,
        id: AgentId,
        operation: &Operation,
        principal: &Principal,
        out: &mut Outbox,
    ) -> Result<(), Reject> {
        let operation = signed(operation, principal);
        let conversion = Conversion::of(&operation).map_err(|error| error.reject(&operation))?;
        self.check_makers(&operation, principal, None)?;
        let agent = self.agents.get(&id).ok_or(Reject::UnknownAgent(id))?;
        conversion.apply(&mut Resources::clone(&agent.record.resources)).map_err(|error| match error {
            // Nothing was offered that it could exceed.
            OperationError::Missing { .. } => Reject::invalid(operation.name(), error.to_string()),
            error => error.reject(&operation),
        })?;
        self.check_operation(id, &operation, &conversion)?;
        let free = &self.agents[&id].free;
        if !free.contains(conversion.consumed()) {
            return Err(Reject::OfferConflict { left: Resources::clone(free) });
        }
        self.make_way(id, conversion.consumed(), out);
        self.carry_out(id, operation, &conversion, out);
        Ok(())
    }

    /// What became of an operation. What the agent has is taken over if it is not what was counted on.
    pub(super) fn on_operated(
        &mut self,
        id: AgentId,
        operation: OperationId,
        result: &Result<(), Reject>,
        resources: &Resources,
        out: &mut Outbox,
    ) {
        let Some(pending) = self.operations.get_mut(&id) else { return };
        if pending.remove(&operation).is_none() {
            return;
        }
        out.push(Output::Persist(Record::Operation(operation, None)));
        match result {
            Ok(()) => self.stats.operations_done += 1,
            Err(_) => self.stats.operations_refused += 1,
        }
        let total = self.with_pending(id, resources.without_devices(), out);
        if total != *self.agents[&id].record.resources {
            self.withdraw_agent_offers(id, out);
            self.uncount(id);
            self.agents.get_mut(&id).expect("a peer's agent is known").record.resources = Arc::new(total);
            self.count(id);
            self.recompute_free(id);
            self.touched.agents.push(id);
            self.want_agent_round(id);
        }
        let record = self.agents[&id].record.clone();
        out.push(Output::Persist(Record::Agent(id, Some(record))));
        self.watch_expiry(id);
    }

    /// What a registering agent has, with the operations on top that it has not done yet. Those that it has done are settled.
    pub(super) fn settle_operations(
        &mut self,
        id: AgentId,
        operated: Option<OperationId>,
        resources: &Arc<Resources>,
        out: &mut Outbox,
    ) -> Arc<Resources> {
        let Some(pending) = self.operations.remove(&id) else { return resources.clone() };
        let (done, waiting): (BTreeMap<_, _>, BTreeMap<_, _>) =
            pending.into_iter().partition(|(operation, _)| operated.is_some_and(|last| *operation <= last));
        if !waiting.is_empty() {
            self.operations.insert(id, waiting);
        }
        self.stats.operations_done += done.len() as u64;
        out.extend(done.into_keys().map(|operation| Output::Persist(Record::Operation(operation, None))));
        let resources = self.with_pending(id, Resources::clone(resources), out);
        self.common.share(&resources)
    }

    /// Sends the operations again that the agent may not have got.
    pub(super) fn resend_operations(&self, id: AgentId, out: &mut Outbox) {
        for (operation, what) in self.operations.get(&id).into_iter().flatten() {
            self.to_agent(id, ToAgent::Operate { id: *operation, operation: what.clone() }, out);
        }
    }

    /// The agent is gone, and what it was asked to do with it.
    pub(super) fn forget_operations(&mut self, id: AgentId, out: &mut Outbox) {
        let pending = self.operations.remove(&id).unwrap_or_default();
        out.extend(pending.into_keys().map(|operation| Output::Persist(Record::Operation(operation, None))));
    }

    /// Ends the reservations whose time has come, as far as nothing uses them; the rest when it is free.
    pub(super) fn end_reservations(&mut self, out: &mut Outbox) {
        while let Some(id) = self.expiring.pop_first() {
            let now = self.wall();
            let Some(agent) = self.agents.get(&id).filter(|agent| agent.is_usable()) else { continue };
            let due = |expires: crate::model::WallTime| expires <= now;
            let ended = agent.free.iter().filter(|(flavor, _)| reservations::expiry(flavor).is_some_and(due));
            let ended: Vec<Resources> =
                ended.map(|(flavor, amounts)| Resources::flavored(flavor.clone(), amounts.clone())).collect();
            for part in ended {
                let operation = Operation::Unreserve(part);
                let Ok(conversion) = Conversion::of(&operation) else { continue };
                if self.check_operation(id, &operation, &conversion).is_ok() {
                    self.make_way(id, conversion.consumed(), out);
                    self.carry_out(id, operation, &conversion, out);
                }
            }
            self.watch_expiry(id);
        }
    }

    /// Sets the timer for the next reservation of the agent that ends by itself.
    pub(super) fn watch_expiry(&mut self, id: AgentId) {
        let Some(agent) = self.agents.get_mut(&id) else { return };
        let now = self.config.origin.0.saturating_add_unsigned(self.now.0);
        let ends = agent.record.resources.iter().filter_map(|(flavor, _)| reservations::expiry(flavor));
        // What has ended already and is used ends with what uses it.
        let next = ends.filter(|end| end.0 > now).min();
        if let Some(key) = agent.expiry.take() {
            self.timers.cancel(key);
        }
        let due = next.map(|end| Time(u64::try_from(end.0 - self.config.origin.0).unwrap_or(0)));
        agent.expiry = due.map(|due| self.timers.set(due, Timer::Reservation(id)));
    }

    /// What must hold wherever the operation comes from.
    fn check_operation(&self, id: AgentId, operation: &Operation, conversion: &Conversion) -> Result<(), Reject> {
        let agent = &self.agents[&id];
        if !agent.is_usable() {
            return Err(Reject::AgentAway(id));
        }
        if self.operations.get(&id).is_some_and(|pending| pending.len() >= PENDING_MAX) {
            return Err(Reject::Limit {
                what: "operations that an agent has not confirmed",
                limit: PENDING_MAX as u64,
            });
        }
        conversion.apply(&mut Resources::clone(&agent.record.resources)).map_err(|error| error.reject(operation))?;
        for (flavor, _) in conversion.consumed().iter() {
            let Some(volume) = &flavor.volume else { continue };
            let is_used = |key: &crate::model::TaskKey| self.tasks[key].task.resources.get(flavor).is_some();
            if agent.tasks.iter().any(is_used) {
                return Err(Reject::VolumeInUse(volume.id().clone()));
            }
        }
        Ok(())
    }

    /// Who makes a reservation is who asks for it, for the role of the offer, and it has not ended yet.
    fn check_makers(&self, operation: &Operation, by: &Principal, role: Option<&Role>) -> Result<(), Reject> {
        let Operation::Reserve(resources) = operation else { return Ok(()) };
        for (flavor, _) in resources.iter() {
            let Some(top) = flavor.reservations.last() else { continue };
            self.check_role("reserve: role", &top.role)?;
            if top.principal.as_deref().is_some_and(|maker| maker != by.as_str()) {
                return Err(Reject::invalid("reserve", format!("principal: expected {by}, who asks, or none")));
            }
            if let Some(role) = role.filter(|role| **role != top.role) {
                return Err(Reject::invalid("reserve", format!("role: expected {role}, the role of the offer")));
            }
            if top.expires.is_some_and(|end| end <= self.wall()) {
                return Err(Reject::invalid("reserve", "expires: expected a time to come"));
            }
        }
        Ok(())
    }

    /// Takes back the exclusive offers that lock a part of `wanted`, oldest first.
    fn make_way(&mut self, id: AgentId, wanted: &Resources, out: &mut Outbox) {
        let agent = &self.agents[&id];
        let touches = |offered: &Resources| wanted.iter().any(|(flavor, _)| offered.get(flavor).is_some());
        let locks = |offer: &&crate::model::OfferId| {
            let offer = &self.offers[*offer].offer;
            offer.mode == OfferMode::Exclusive && touches(&offer.resources)
        };
        let offers: Vec<_> = agent.offers.iter().map(|(offer, _)| offer).filter(locks).copied().collect();
        for offer in offers {
            let agent = &self.agents[&id];
            let mut unlocked = Resources::clone(&agent.free);
            let was_free = unlocked.subtract(&agent.locked);
            debug_assert!(was_free, "what is locked is free");
            if unlocked.contains(wanted) {
                return;
            }
            self.rescind(offer, out);
        }
    }

    /// Counts the operation as done and has the agent do it.
    fn carry_out(&mut self, id: AgentId, operation: Operation, conversion: &Conversion, out: &mut Outbox) {
        let name = OperationId::new(self.term, self.next_seq());
        self.uncount(id);
        let agent = self.agents.get_mut(&id).expect("the caller has found it");
        conversion.apply(Arc::make_mut(&mut agent.record.resources)).expect("check_operation() has tried it on a copy");
        conversion
            .apply(Arc::make_mut(&mut agent.free))
            .expect("what is free is a part of all, and the caller has found it there");
        self.count(id);
        let record = OperationRecord { agent: id, operation: operation.clone() };
        out.push(Output::Persist(Record::Operation(name, Some(record))));
        self.operations.entry(id).or_default().insert(name, operation.clone());
        self.to_agent(id, ToAgent::Operate { id: name, operation }, out);
        self.stats.operations += 1;
        self.touched.agents.push(id);
        if conversion.produced().iter().any(|(flavor, _)| reservations::expiry(flavor).is_some()) {
            self.expiring.insert(id);
        }
        self.watch_expiry(id);
        self.want_agent_round(id);
    }

    /// `resources` with the operations on top that wait for confirmation. Those that don't fit any more are given up: the agent is the
    /// authority, and would refuse them as well.
    fn with_pending(&mut self, id: AgentId, mut resources: Resources, out: &mut Outbox) -> Resources {
        let Some(pending) = self.operations.get_mut(&id) else { return resources };
        let fits = |operation: &Operation, resources: &mut Resources| {
            Conversion::of(operation).is_ok_and(|conversion| conversion.apply(resources).is_ok())
        };
        let vain: Vec<OperationId> =
            pending.iter().filter(|(_, operation)| !fits(operation, &mut resources)).map(|(id, _)| *id).collect();
        for operation in vain {
            pending.remove(&operation);
            self.stats.operations_refused += 1;
            out.push(Output::Persist(Record::Operation(operation, None)));
        }
        if pending.is_empty() {
            self.operations.remove(&id);
        }
        resources
    }
}

/// The operation with the name of who asks for it on the reservations that it makes.
fn signed(operation: &Operation, by: &Principal) -> Operation {
    let Operation::Reserve(resources) = operation else { return operation.clone() };
    let mut named = Resources::new();
    for (flavor, amounts) in resources.iter() {
        let mut flavor = flavor.clone();
        if let Some(top @ Reservation { kind: ReservationKind::Dynamic, principal: None, .. }) =
            flavor.reservations.last_mut()
        {
            top.principal = Some(by.as_str().into());
        }
        let part = Resources::flavored(flavor, amounts.clone());
        if named.is_disjoint(&part) {
            named.add(&part);
        } else {
            return operation.clone();
        }
    }
    Operation::Reserve(named)
}
