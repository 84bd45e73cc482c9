//! Watches what a master offers: nothing to who has suppressed a role, nothing that was refused and is still filtered (I8).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rialto_core::gate::Output;
use rialto_core::master::{Effect, Input, Master, Outbox};
use rialto_core::model::{AgentId, Call, Event, Offer, OfferId, PeerId, Refusal, Resources, Role, Time};

/// What one master has been told by each framework's connection, and what it has offered there.
#[derive(Debug, Default)]
pub(crate) struct OfferWatch {
    peers: BTreeMap<PeerId, Peer>,
}

#[derive(Debug, Default)]
struct Peer {
    suppressed: BTreeSet<Role>,
    offers: BTreeMap<OfferId, Offer>,
    filters: Vec<Filter>,
}

#[derive(Debug)]
struct Filter {
    of: OfferId,
    agent: AgentId,
    role: Role,
    resources: Resources,
    until: Time,
}

impl OfferWatch {
    /// Before a step: what the master is told.
    pub(crate) fn hear(&mut self, now: Time, input: &Input) {
        match input {
            Input::FromFramework { peer, call, .. } => self.peers.entry(*peer).or_default().hear(now, call),
            Input::PeerClosed(peer) => drop(self.peers.remove(peer)),
            _ => {}
        }
    }

    /// After a step: whether what the master does keeps to what it was told.
    pub(crate) fn judge(&mut self, now: Time, out: &Outbox) -> Result<(), String> {
        for output in out {
            let (Output::Effect(effect) | Output::Ungated(effect)) = output else { continue };
            let Effect::ToFramework(id, event) = effect else { continue };
            let peer = self.peers.entry(*id).or_default();
            match event {
                Event::Offers(offers) => offers.iter().try_for_each(|offer| peer.offered(now, *id, offer))?,
                Event::Rescind(ids) => ids.iter().for_each(|id| peer.rescinded(id)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether each device that is offered is there, and may be given out, as far as the master itself knows (I1).
pub(crate) fn judge_devices(core: &Master, out: &Outbox) -> Result<(), String> {
    let offers = || offers_in(out).filter(|offer| !offer.devices.is_empty());
    if offers().next().is_none() {
        return Ok(());
    }
    let rows = core.view().devices;
    for (offer, device) in offers().flat_map(|offer| offer.resources.device_shares().map(move |(id, _)| (offer, id))) {
        let row = rows.get(&(offer.agent, device.clone()));
        if !row.is_some_and(|row| row.device.health.is_usable()) {
            let health = row.map(|row| row.device.health);
            return Err(format!(
                "I1: {device} of {} is in offer {}, and its health is {health:?}",
                offer.agent, offer.id
            ));
        }
    }
    Ok(())
}

fn offers_in(out: &Outbox) -> impl Iterator<Item = &Offer> {
    let effects = out.iter().filter_map(|output| match output {
        Output::Effect(Effect::ToFramework(_, Event::Offers(offers)))
        | Output::Ungated(Effect::ToFramework(_, Event::Offers(offers))) => Some(offers),
        _ => None,
    });
    effects.flatten().map(|offer| &**offer)
}

impl Peer {
    fn hear(&mut self, now: Time, call: &Call) {
        match call {
            Call::Subscribe(subscribe) => self.suppressed.clone_from(&subscribe.suppressed),
            Call::Suppress(roles) => self.suppressed.extend(roles.iter().cloned()),
            Call::Revive(roles) => {
                self.suppressed.retain(|role| !roles.contains(role));
                self.filters.retain(|filter| !roles.contains(&filter.role));
            }
            Call::Decline { offers, refusal } => self.declined(now, offers, refusal),
            _ => {}
        }
    }

    fn declined(&mut self, now: Time, offers: &[OfferId], refusal: &Refusal) {
        self.filters.retain(|filter| filter.until > now);
        let until = now + refusal.duration.min(Duration::from_secs(3600));
        for offer in offers.iter().filter_map(|id| self.offers.remove(id)) {
            self.filters.push(Filter {
                of: offer.id,
                agent: offer.agent,
                role: offer.role,
                resources: Resources::clone(&offer.resources),
                until,
            });
        }
    }

    /// An offer that ended in this very step, before it was declined, was not declined.
    fn rescinded(&mut self, id: &OfferId) {
        self.offers.remove(id);
        self.filters.retain(|filter| filter.of != *id);
    }

    fn offered(&mut self, now: Time, id: PeerId, offer: &Offer) -> Result<(), String> {
        if self.suppressed.contains(&offer.role) {
            return Err(format!("I8: #{} has suppressed {} and is offered {}", id.0, offer.role, offer.id));
        }
        let holds = |filter: &&Filter| {
            filter.until > now
                && (filter.agent, &filter.role) == (offer.agent, &offer.role)
                && filter.resources.contains(&offer.resources)
        };
        if let Some(filter) = self.filters.iter().find(holds) {
            return Err(format!(
                "I8: #{} has refused {} of {} and is offered {} of it",
                id.0, filter.resources, offer.agent, offer.resources
            ));
        }
        self.offers.insert(offer.id, offer.clone());
        Ok(())
    }
}
