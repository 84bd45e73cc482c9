//! What the master sees to for devices beyond their states: that exclusive ones are not given out in parts, that a person's word about
//! a quarantined one reaches its agent, and that frameworks which count GPUs get instances.

use std::sync::Arc;

use super::state::Agent;
use super::{Master, Outbox};
use crate::model::{
    AgentId, Claim, Count, Demand, DeviceId, DeviceMode, DeviceState, Milli, Offer, OfferMode, Quantities, Reject,
    ResourceName, Resources, Share, SliceState, Task, TaskGroup, ToAgent,
};

/// The scalar by which older frameworks ask for GPUs.
const GPUS: &str = "gpus";

impl Master {
    /// Has the agent clean a quarantined device once more. What comes of it is in the agent's reports.
    pub(super) fn clear_device(&mut self, id: AgentId, device: DeviceId, out: &mut Outbox) -> Result<(), Reject> {
        let agent = self.agents.get(&id).ok_or(Reject::UnknownAgent(id))?;
        let entry = agent.devices.get(&device);
        let entry =
            entry.ok_or_else(|| Reject::invalid("device", format!("expected a device of {id}, got {device}")))?;
        let in_part = |state: &SliceState| matches!(state, SliceState::Quarantined { .. });
        let quarantined = matches!(entry.state, DeviceState::Quarantined { .. })
            || entry.state.slices().any(|(_, slice)| in_part(&slice.state));
        if !quarantined {
            return Err(Reject::invalid("device", format!("expected one that is quarantined, {device} is not")));
        }
        if agent.peer.is_none() {
            return Err(Reject::AgentAway(id));
        }
        self.to_agent(id, ToAgent::ClearDevice(device), out);
        Ok(())
    }
}

impl Agent {
    /// Refuses a task that names a part of a device that has none.
    pub(super) fn check_parts(&self, task: &Task) -> Result<(), Reject> {
        for (id, share) in task.resources.device_shares() {
            let mode = self.devices.get(id).map(|entry| entry.device.mode);
            if mode == Some(DeviceMode::Exclusive) && share != Share::WHOLE {
                let expected = format!("expected the whole of {id}, which is not shared, got {}‰ of it", share.0);
                return Err(Reject::invalid(format!("task {}: resources", task.id), expected));
            }
        }
        Ok(())
    }
}

impl Agent {
    /// The offer as its framework is to see it: to one that takes exclusive offers, the free exclusive GPUs among its devices are also a
    /// scalar. The instances alone are locked and charged, so nothing can be taken twice.
    pub(super) fn with_gpus(&self, offer: &Arc<Offer>) -> Arc<Offer> {
        if offer.mode != OfferMode::Exclusive {
            return offer.clone();
        }
        let is_gpu = |(id, share): &(&DeviceId, Share)| {
            let device = self.devices.get(*id).map(|entry| &entry.device);
            *share == Share::WHOLE
                && device.is_some_and(|device| &*device.kind == "gpu" && device.mode == DeviceMode::Exclusive)
        };
        let count = offer.resources.device_shares().filter(is_gpu).count();
        if count == 0 {
            return offer.clone();
        }
        let mut scalars = Quantities::new();
        scalars.set(&ResourceName::new(GPUS), Milli::from_whole(count as u64));
        let mut counted = Offer::clone(offer);
        Arc::make_mut(&mut counted.resources).add(&Resources::scalars(scalars));
        Arc::new(counted)
    }
}

/// The group with a claim in place of the scalar `gpus` of each task that asks for some.
pub(super) fn claim_gpus(group: &TaskGroup) -> Result<TaskGroup, Reject> {
    let mut group = group.clone();
    for task in &mut group.tasks {
        let claim =
            take_gpus(&mut task.resources).map_err(|what| Reject::invalid(format!("task {}: gpus", task.id), what))?;
        task.claims.extend(claim);
    }
    Ok(group)
}

/// The same for what a framework waits for. What can't be a claim stays what it is: a scalar that no agent has.
pub(super) fn claim_gpus_of(mut demand: Demand) -> Demand {
    for shape in &mut demand.shapes {
        shape.claims.extend(take_gpus(&mut shape.resources).ok().flatten());
    }
    demand
}

/// Takes the scalar `gpus` out; the claim that asks for the same, if it was there.
fn take_gpus(resources: &mut Resources) -> Result<Option<Claim>, String> {
    let name = ResourceName::new(GPUS);
    let asked = resources.quantities().get(&name);
    if asked.is_zero() {
        return Ok(None);
    }
    let count =
        u16::try_from(asked.0 / 1000).ok().filter(|count| asked.0.is_multiple_of(1000) && *count <= Claim::MAX_COUNT);
    let count = count.ok_or_else(|| format!("expected a whole number up to {}, got {asked}", Claim::MAX_COUNT))?;
    let mut scalars = Quantities::new();
    scalars.set(&name, asked);
    if !resources.subtract(&Resources::scalars(scalars)) {
        return Err("expected unreserved ones".to_owned());
    }
    let mut claim = Claim::one("gpu");
    let alternative = claim.alternatives.first_mut().expect("a claim has one");
    alternative.count = Count::Exactly(count);
    alternative.selector = "mode == exclusive".parse().expect("a literal selector");
    Ok(Some(claim))
}
