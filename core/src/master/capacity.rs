//! Where there is something free: agents by how much, so that who looks for room for a shape passes over those that can't have it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::clients::Wanted;
use super::deck::{Deck, Walk};
use crate::model::{AgentId, Milli, ResourceName};

/// How many binary digits an amount has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Magnitude(u8);

impl Magnitude {
    pub(super) const fn of(amount: Milli) -> Self {
        Self(64 - amount.0.leading_zeros() as u8)
    }
}

/// What is indexed of an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Indexed {
    /// Of its free cpus; `None` if nothing of it can be offered.
    pub(super) cpus: Option<Magnitude>,
    /// The kinds of its devices that can be given out.
    pub(super) kinds: Vec<Arc<str>>,
}

/// Agents with something free.
#[derive(Debug, Default)]
pub(super) struct Capacity {
    by_cpus: BTreeMap<Magnitude, Deck>,
    by_kind: BTreeMap<Arc<str>, Deck>,
    /// How often somebody has looked for room.
    looks: u64,
}

impl Capacity {
    /// The agent was indexed as `old`, and is `new`.
    pub(super) fn update(&mut self, id: AgentId, old: &Indexed, new: &Indexed) {
        if let Some(cpus) = old.cpus {
            self.by_cpus.get_mut(&cpus).expect("an indexed magnitude has agents").remove(id);
        }
        for kind in &old.kinds {
            self.by_kind.get_mut(kind).expect("an indexed kind has agents").remove(id);
        }
        if let Some(cpus) = new.cpus {
            self.by_cpus.entry(cpus).or_default().insert(id);
        }
        for kind in &new.kinds {
            self.by_kind.entry(kind.clone()).or_default().insert(id);
        }
    }

    /// How many agents have something free.
    pub(super) fn len(&self) -> usize {
        self.by_cpus.values().map(Deck::len).sum()
    }

    /// All agents with something free.
    pub(super) fn all(&self) -> impl Iterator<Item = AgentId> {
        self.by_cpus.values().flat_map(Deck::iter)
    }

    /// Somebody looks for room: how many have before.
    pub(super) const fn look(&mut self) -> u64 {
        self.looks += 1;
        self.looks - 1
    }

    /// The agents that may have room for what is wanted, each once, in an order that follows from `seed`.
    pub(super) fn places_for(&self, wanted: &Wanted, seed: u64) -> Walk<'_> {
        let kind = wanted.shape.claims.first().and_then(|claim| match claim.alternatives.as_slice() {
            [only] => Some(&*only.kind),
            _ => None,
        });
        match kind {
            Some(kind) => Walk::new(self.by_kind.get(kind).into_iter(), seed),
            None => {
                let least = Magnitude::of(wanted.quantities.get(&ResourceName::Cpus));
                Walk::new(self.by_cpus.range(least..).map(|(_, agents)| agents), seed)
            }
        }
    }
}
