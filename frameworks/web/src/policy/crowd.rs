//! How many instances of an app are on which agent, and where one more may go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rialto_sdk::core::model::{Offer, OfferId, Selector};
use rialto_sdk::core::scheduler::placement::{Host, Packer};

use super::app::App;
use crate::spec::{AppSpec, Spread};

impl App {
    /// Which machines are best for one more of `version`: those with the fewest of them, if it is to be spread; none that is full.
    pub(super) fn crowd(&self, version: u64, spec: &AppSpec) -> impl Fn(&Host) -> Option<i64> {
        let full = self.full(spec);
        let mut crowd: BTreeMap<Arc<str>, i64> = BTreeMap::new();
        if spec.spread == Spread::Wide {
            for instance in self.alive().filter(|instance| instance.version == version) {
                *crowd.entry(instance.agent.clone()).or_default() += 1;
            }
        }
        move |host| (!full.contains(host.name())).then(|| crowd.get(host.name()).copied().unwrap_or(0))
    }

    /// The agents that have as many of its instances as one may have. Those of other versions and those that are about to end are there
    /// too, until they are no more.
    pub(super) fn full(&self, spec: &AppSpec) -> BTreeSet<Arc<str>> {
        let Some(max) = spec.max_per_agent else { return BTreeSet::new() };
        let mut there: BTreeMap<&Arc<str>, u32> = BTreeMap::new();
        for instance in self.instances.values() {
            *there.entry(&instance.agent).or_default() += 1;
        }
        there.into_iter().filter(|(_, count)| *count >= max).map(|(agent, _)| agent.clone()).collect()
    }
}

/// What an agent must be like for one more instance: as the app file says and, as far as their names go into a selector, none of the
/// full ones. And those whose names do not.
pub(super) fn elsewhere(spec: &AppSpec, full: BTreeSet<Arc<str>>) -> (Selector, BTreeSet<Arc<str>>) {
    let own = if spec.constraint.is_any() { String::new() } else { format!("({}) && ", spec.constraint.as_str()) };
    let mut left = Selector::MAX_LEN.saturating_sub(own.len() + NOT_AMONG.len());
    let (named, unnamed): (BTreeSet<_>, BTreeSet<_>) = full.into_iter().partition(|agent| {
        let fits = !agent.contains('"') && agent.len() + LIST_BYTES <= left;
        left -= if fits { agent.len() + LIST_BYTES } else { 0 };
        fits
    });
    if named.is_empty() {
        return (spec.constraint.clone(), unnamed);
    }
    let names: Vec<String> = named.iter().map(|agent| format!("\"{agent}\"")).collect();
    let selector = format!("{own}!(name in [{}])", names.join(", ")).parse();
    match selector {
        Ok(selector) => (selector, unnamed),
        Err(_) => (spec.constraint.clone(), named.into_iter().chain(unnamed).collect()),
    }
}

/// The offers of these agents on which nothing was placed.
pub(super) fn idle_on<'a>(
    agents: &BTreeSet<Arc<str>>,
    packer: &Packer,
    offers: impl Iterator<Item = &'a Offer>,
) -> Vec<OfferId> {
    let idle: BTreeSet<OfferId> = packer.unused().into_iter().collect();
    let offers = offers.filter(|offer| agents.contains(&offer.info.name)).map(|offer| offer.id);
    offers.filter(|offer| idle.contains(offer)).collect()
}

/// What is written around a list of names, and around each of them.
const NOT_AMONG: &str = "!(name in [])";
const LIST_BYTES: usize = "\"\", ".len();
