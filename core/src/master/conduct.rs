//! What is counted of the conduct of frameworks, and how they fare now.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Master;
use super::clients::Client;
use super::state::OfferEntry;
use crate::allocator::conduct::{Conduct, IDLE, Ledger};
use crate::allocator::history::Queue;
use crate::model::{FrameworkId, OfferMode, Role, Time};

/// So many times it is tried, in one survey, whether what is free could satisfy what is waited for; then it counts as not.
const TRIES_MAX: usize = 4096;

impl Master {
    /// How every framework fares in each of its roles. For metrics, so at most every few seconds.
    pub fn survey(&mut self) -> Vec<Conduct> {
        self.refresh_classes();
        let mut standing: BTreeMap<(FrameworkId, Role), Ledger> = BTreeMap::new();
        for entry in self.offers.values() {
            let ledger = standing.entry((entry.framework, entry.offer.role.clone())).or_default();
            count_offer(ledger, entry, self.now);
        }
        let mut tries = 0;
        let mut rows = Vec::new();
        for (id, framework) in &self.frameworks {
            for role in &framework.record.info.roles {
                let key = (*id, role.clone());
                let mut ledger = self.questions.ledgers.get(&key).cloned().unwrap_or_default();
                if let Some(now) = standing.remove(&key) {
                    ledger.hoarded.add(&now.hoarded);
                    ledger.idle = ledger.idle.saturating_add(now.idle);
                }
                let since = self.questions.queues.get(id).and_then(|queues| queues.get(role)?.since());
                let (name, role) = (framework.record.info.name.clone(), role.clone());
                let starved = self.starved(*id, &role, &mut tries);
                let demand_age = since.map(|since| self.now.since(since));
                rows.push(Conduct { framework: *id, name, role, ledger, demand_age, starved });
            }
        }
        rows
    }

    /// The offer ends.
    pub(super) fn note_offer_end(&mut self, entry: &OfferEntry) {
        if entry.offer.mode == OfferMode::Optimistic && self.now.since(entry.issued) <= IDLE {
            return;
        }
        let key = (entry.framework, entry.offer.role.clone());
        count_offer(self.questions.ledgers.entry(key).or_default(), entry, self.now);
    }

    /// The framework declined an offer.
    pub(super) fn note_decline(&mut self, framework: FrameworkId, role: &Role, reason: Option<&Arc<str>>) {
        self.questions.ledgers.entry((framework, role.clone())).or_default().declined(reason);
    }

    /// The framework is gone.
    pub(super) fn forget_conduct(&mut self, framework: FrameworkId) {
        self.questions.ledgers.retain(|(of, _), _| *of != framework);
    }

    /// For how long it was offered nothing, although it waits for something that fits what is free somewhere.
    fn starved(&self, id: FrameworkId, role: &Role, tries: &mut usize) -> Option<Duration> {
        let queue = self.questions.queues.get(&id)?.get(role)?;
        let client = self.client_of(id, role)?;
        if client.standing > 0
            || !self.frameworks.get(&id)?.takes_offers(role)
            || !self.could_be_met(client, queue, role, tries)
        {
            return None;
        }
        let since = queue.since()?;
        Some(self.now.since(client.offered.map_or(since, |offered| offered.max(since))))
    }

    fn could_be_met(&self, client: &Client, queue: &Queue, role: &Role, tries: &mut usize) -> bool {
        let classes = || self.questions.classes.iter().map(|(_, class)| class);
        queue.rows().iter().any(|row| {
            classes().any(|class| {
                *tries += 1;
                *tries <= TRIES_MAX
                    && class.stock.fits(role, &row.shape)
                    && self.is_for_some(class, Some(client), &row.shape)
            })
        })
    }
}

fn count_offer(ledger: &mut Ledger, entry: &OfferEntry, now: Time) {
    let standing = now.since(entry.issued);
    match entry.offer.mode {
        OfferMode::Exclusive => ledger.locked(&entry.charged, standing),
        OfferMode::Optimistic => ledger.stood(standing),
    }
}
