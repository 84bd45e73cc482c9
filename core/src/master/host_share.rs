//! Host shares: each device keeps a part of its machine's cpus and memory for its tenants, so that work without a device can't strand it.
//!
//! What is kept on an agent is the shares of its usable devices, held or not, less what their tenants use of them already. A tenant may
//! use its devices' shares; what it wants beyond them, and what others want, comes out of what is not kept.
//!
//! Meanwhile others may use what is kept as revocable: a task that asks for revocable amounts takes them out of it, and makes way when a
//! tenant needs them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Master;
use super::available::{Available, fits_amounts};
use super::clients::{Client, Wanted};
use super::state::{Agent, DeviceEntry};
use crate::allocator::sorter::ClientIndex;
use crate::model::{
    AgentId, Amounts, Capability, DeviceId, DeviceState, Flavor, Guarantee, Milli, OfferId, OfferMode, Quantities,
    Reject, Resources, Shape, Share, Task,
};

impl Master {
    /// Computes anew what is kept on the agent: its devices have changed, or who holds them.
    pub(super) fn recompute_kept(&mut self, id: AgentId) {
        let agent = &self.agents[&id];
        if !agent.devices.values().any(|entry| !entry.device.host_share.is_empty()) {
            self.agents.get_mut(&id).expect("it was there above").kept = Quantities::new();
            return;
        }
        let mut kept = Quantities::new();
        for entry in agent.devices.values().filter(|entry| entry.keeps_its_share()) {
            kept.add(&entry.device.host_share);
        }
        let held = self.gangs.held_on(id).map(|(_, resources)| resources);
        for resources in agent.tasks.iter().map(|key| &self.tasks[key].task.resources).chain(held) {
            // What may be taken back comes out of what is kept, until a tenant needs it.
            kept = less(&kept, &revocable(resources));
            kept = less(&kept, &at_most(&resources.quantities(), &agent.host_share(resources.device_shares())));
        }
        self.agents.get_mut(&id).expect("it was there above").kept = kept;
    }
}

impl Master {
    /// What of `available` on the agent the client is offered.
    pub(super) fn offerable(
        &self,
        agent: &Agent,
        id: ClientIndex,
        client: &Client,
        available: Arc<Available>,
    ) -> Arc<Available> {
        if agent.kept.is_empty() {
            return available;
        }
        agent.offerable(client, self.takes(agent, id, client), &available)
    }

    /// What the client takes of the agent now. An exclusive offer does not lock what may be taken back: that is in as many offers as one
    /// resource may be in, and in one of them for each client.
    fn takes(&self, agent: &Agent, id: ClientIndex, client: &Client) -> Takes {
        let framework = self.frameworks.get(&client.framework);
        let understands = framework
            .is_some_and(|framework| framework.record.info.capabilities.contains(&Capability::RevocableResources));
        if !understands {
            return Takes::Firm;
        }
        if client.mode == OfferMode::Exclusive {
            let is_revocable = |(offer, _): &&(OfferId, ClientIndex)| self.offers[offer].offer.resources.is_revocable();
            let mut holders = agent.offers.iter().filter(is_revocable).map(|(_, holder)| *holder);
            if holders.clone().count() >= self.config.offer_fanout || holders.any(|holder| holder == id) {
                return Takes::Firm;
            }
        }
        Takes::Revocable
    }
}

impl DeviceEntry {
    /// Whether somebody may get it before a person has seen to it.
    fn keeps_its_share(&self) -> bool {
        self.device.health.is_usable() && !matches!(self.state, DeviceState::Quarantined { .. })
    }
}

impl Agent {
    /// What these parts of devices keep for their tenants.
    fn host_share<'a>(&self, devices: impl IntoIterator<Item = (&'a DeviceId, Share)>) -> Quantities {
        let mut sum = Quantities::new();
        for (id, Share(part)) in devices {
            let Some(entry) = self.devices.get(id).filter(|entry| entry.keeps_its_share()) else { continue };
            for (name, Milli(amount)) in entry.device.host_share.iter() {
                let of_it = u128::from(amount) * u128::from(part) / u128::from(Share::WHOLE.0);
                let of_it = Milli(u64::try_from(of_it).expect("a part is at most the whole"));
                sum.set(name, sum.get(name).plus(of_it));
            }
        }
        sum
    }

    /// What of `free` is for a task that asks for so much and has `own` shares, and what is kept once it has it. What it may take out of
    /// its own shares is not barred by those of others, even where a device came to a machine that was busy already.
    fn beside(asked: &Quantities, own: &Quantities, kept: &Quantities) -> (Quantities, Quantities) {
        let mut barred = less(kept, own);
        for (name, _) in asked.iter().filter(|(name, amount)| *amount <= own.get(name)) {
            barred.set(name, Milli::ZERO);
        }
        (barred, less(kept, &at_most(asked, own)))
    }

    /// What of `available` the client is offered: all but what is kept for devices that are not offered with it; if it has said what it
    /// waits for, and that is no devices, all but those and what is kept for them: a device without its share would be of no use. What is
    /// kept may be offered besides, to be taken back when it is needed.
    fn offerable(&self, client: &Client, takes: Takes, available: &Available) -> Arc<Available> {
        let waits_for_none = |wanted: &Arc<[Wanted]>| wanted.iter().all(|wanted| wanted.shape.claims.is_empty());
        let offered = match &client.wanted {
            Some(wanted) if waits_for_none(wanted) => self.without(&available.resources, &self.kept).without_devices(),
            _ => {
                let own = self.host_share(available.resources.device_shares());
                self.without(&available.resources, &less(&self.kept, &own))
            }
        };
        let mut offered = offered;
        if takes == Takes::Revocable {
            let kept = at_most(&less(&plain(&available.resources), &plain(&offered)), &self.kept);
            offered.add(&as_revocable(kept));
        }
        Arc::new(Available::new(Arc::new(offered)))
    }

    /// Whether `available` of this agent, or of an agent like it, holds what is asked for beside what is kept for devices other than these.
    pub(super) fn leaves_kept(
        &self,
        shape: &Shape,
        devices: &BTreeMap<DeviceId, Share>,
        available: &Resources,
    ) -> bool {
        if self.kept.is_empty() {
            return true;
        }
        let own = self.host_share(devices.iter().map(|(id, share)| (id, *share)));
        let (barred, _) = Self::beside(&shape.resources.quantities(), &own, &self.kept);
        fits_amounts(&shape.resources, &self.without(available, &barred))
    }

    /// `available` with so much less of what is not reserved, unless that was left out already.
    fn without(&self, available: &Resources, barred: &Quantities) -> Resources {
        let open = less(&less(&plain(&self.free), &plain(&self.locked)), barred);
        take_out(available.clone(), &at_most(barred, &less(&plain(available), &open)))
    }

    /// Takes what the task asks for out of `free`, if that leaves what is `kept` for the devices of others; else what it could have.
    pub(super) fn take_beside_kept(
        &self,
        task: &Task,
        free: &mut Resources,
        kept: &mut Quantities,
    ) -> Result<(), Resources> {
        if task.resources.is_revocable() {
            return Self::take_kept(task, free, kept);
        }
        let own = self.host_share(task.resources.device_shares());
        let (barred, after) = Self::beside(&task.resources.quantities(), &own, kept);
        let usable = take_out(free.clone(), &barred);
        if !usable.contains(&task.resources) || !free.take(&task.resources) {
            return Err(usable);
        }
        *kept = after;
        Ok(())
    }
}

impl Agent {
    /// Takes what the task asks for out of what is kept, until a tenant needs it; else what it could have.
    fn take_kept(task: &Task, free: &mut Resources, kept: &mut Quantities) -> Result<(), Resources> {
        let asked = task.resources.quantities();
        if !kept.contains(&asked) || !free.subtract(&task.resources.firm()) {
            return Err(as_revocable(at_most(kept, &plain(free))));
        }
        *kept = less(kept, &asked);
        Ok(())
    }
}

/// Whether a client takes what may be taken back at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Firm,
    Revocable,
}

/// Refuses a task that asks for a mixture: what may be taken back, and what may not.
pub(super) fn check_revocable(task: &Task) -> Result<(), Reject> {
    let (revocable, rest) = task.resources.split_revocable();
    let is_plain = |(flavor, _): (&Flavor, &Amounts)| *flavor == revocable_flavor();
    let good = revocable.is_empty() || (rest.is_empty() && task.claims.is_empty() && revocable.iter().all(is_plain));
    let expected = "expected scalars that are all revocable, and no devices, or nothing revocable";
    if good { Ok(()) } else { Err(Reject::invalid(format!("task {}: resources", task.id), expected)) }
}

fn revocable_flavor() -> Flavor {
    Flavor { guarantee: Guarantee::Revocable, ..Flavor::default() }
}

fn as_revocable(scalars: Quantities) -> Resources {
    if scalars.is_empty() {
        return Resources::new();
    }
    Resources::flavored(revocable_flavor(), Amounts { scalars, ..Amounts::default() })
}

fn revocable(resources: &Resources) -> Quantities {
    if resources.is_revocable() { resources.split_revocable().0.quantities() } else { Quantities::new() }
}

/// What is not reserved.
fn plain(resources: &Resources) -> Quantities {
    resources.get(&Flavor::default()).map(|amounts| amounts.scalars.clone()).unwrap_or_default()
}

fn take_out(mut resources: Resources, barred: &Quantities) -> Resources {
    let out = at_most(&plain(&resources), barred);
    let was_there = resources.subtract(&Resources::scalars(out));
    debug_assert!(was_there, "it is at most what is there");
    resources
}

/// Of each amount, the lesser.
fn at_most(these: &Quantities, limit: &Quantities) -> Quantities {
    let mut result = Quantities::new();
    for (name, amount) in these.iter() {
        result.set(name, amount.min(limit.get(name)));
    }
    result
}

/// What is left of each amount, if anything.
fn less(these: &Quantities, others: &Quantities) -> Quantities {
    let mut result = Quantities::new();
    for (name, amount) in these.iter() {
        result.set(name, amount.minus(others.get(name)).unwrap_or_default());
    }
    result
}

#[cfg(test)]
mod tests;
