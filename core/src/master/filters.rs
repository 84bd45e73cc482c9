//! Refusals that still hold, kept where they matter: with the agent whose resources were refused.
//!
//! There may be a filter for every framework on every agent, so one is small: it names its client by number, shares the resources with
//! the offer that was refused, and keeps its end in ticks. One timer for an agent is enough: it is set to the first end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::allocator::sorter::ClientIndex;
use crate::model::{Resources, Time};

/// Filters end at multiples of this, so that many end together.
const TICK: Duration = Duration::from_millis(100);
/// The most reasons that are told apart; they are few and repeat.
const REASONS_MAX: usize = 1024;

/// A refusal: the client is not offered, on this agent, what it refused, or a part of it.
#[derive(Debug)]
pub(super) struct Filter {
    client: ClientIndex,
    /// The client's epoch when it refused; a revival begins a new one.
    epoch: u32,
    /// In ticks.
    until: u32,
    reason: ReasonId,
    resources: Arc<Resources>,
}

const _: () = assert!(size_of::<Filter>() <= 32, "there may be millions of filters");

impl Filter {
    pub(super) fn until(&self) -> Time {
        Time(u64::from(self.until) * tick_us())
    }

    /// Whether all of `available` was refused.
    pub(super) fn holds(&self, available: &Arc<Resources>) -> bool {
        contains(&self.resources, available)
    }

    pub(super) const fn reason(&self) -> ReasonId {
        self.reason
    }
}

/// The filters on one agent, by client.
#[derive(Debug, Default)]
pub(super) struct Filters(Vec<Filter>);

/// Who refuses: the client, in its present epoch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refuser {
    pub(super) client: ClientIndex,
    pub(super) epoch: u32,
}

impl Filters {
    /// The client does not want `resources` until then. A wider and longer refusal says all that a narrower one did.
    pub(super) fn refuse(&mut self, who: Refuser, resources: Arc<Resources>, until: Time, reason: ReasonId) {
        let until = to_ticks(until);
        let from = self.start(who.client);
        let mut at = from;
        while let Some(filter) = self.0.get(at).filter(|filter| filter.client == who.client) {
            let is_void = filter.epoch != who.epoch;
            if is_void || (filter.until <= until && contains(&resources, &filter.resources)) {
                self.0.remove(at);
            } else {
                at += 1;
            }
        }
        if self.0.len() == self.0.capacity() {
            // Doubling would waste half of a large table.
            self.0.reserve_exact(self.0.len() / 8 + 4);
        }
        self.0.insert(at, Filter { client: who.client, epoch: who.epoch, until, reason, resources });
    }

    /// Whether the client refused all of `available`, and still does.
    pub(super) fn hold(&self, who: Refuser, available: &Arc<Resources>, now: Time) -> bool {
        self.of(who).any(|filter| filter.until() > now && contains(&filter.resources, available))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The client's filters.
    pub(super) fn of(&self, who: Refuser) -> impl Iterator<Item = &Filter> {
        let all = self.0[self.start(who.client)..].iter();
        all.take_while(move |filter| filter.client == who.client).filter(move |filter| filter.epoch == who.epoch)
    }

    /// Drops those that have ended by `now`, and says when the next one ends.
    pub(super) fn expire(&mut self, now: Time) -> Option<Time> {
        self.0.retain(|filter| filter.until() > now);
        self.0.iter().map(Filter::until).min()
    }

    fn start(&self, client: ClientIndex) -> usize {
        self.0.partition_point(|filter| filter.client < client)
    }
}

/// When a refusal until `at` ends: at the next tick.
pub(super) fn end_of(at: Time) -> Time {
    Time(u64::from(to_ticks(at)) * tick_us())
}

fn contains(refused: &Arc<Resources>, part: &Arc<Resources>) -> bool {
    Arc::ptr_eq(refused, part) || refused.contains(part)
}

fn to_ticks(at: Time) -> u32 {
    u32::try_from(at.0.div_ceil(tick_us())).unwrap_or(u32::MAX)
}

fn tick_us() -> u64 {
    u64::try_from(TICK.as_micros()).expect("a tick is short")
}

/// A reason that frameworks gave, by number; zero stands for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ReasonId(u32);

/// The reasons that frameworks give for refusals.
#[derive(Debug, Default)]
pub(super) struct Reasons {
    texts: Vec<Arc<str>>,
    ids: BTreeMap<Arc<str>, ReasonId>,
}

impl Reasons {
    /// The number of `text`; that of no reason if too many are known already.
    pub(super) fn intern(&mut self, text: Option<&Arc<str>>) -> ReasonId {
        let Some(text) = text else { return ReasonId::default() };
        if let Some(id) = self.ids.get(text) {
            return *id;
        }
        if self.texts.len() >= REASONS_MAX {
            return ReasonId::default();
        }
        self.texts.push(text.clone());
        let id = ReasonId(u32::try_from(self.texts.len()).expect("it is at most the limit"));
        self.ids.insert(text.clone(), id);
        id
    }

    /// What stands behind a number.
    pub(super) fn text(&self, id: ReasonId) -> Option<&Arc<str>> {
        self.texts.get(id.0.checked_sub(1)? as usize)
    }
}
