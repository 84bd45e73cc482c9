//! Where there is something free: agents by how much, so that who looks for room for a shape passes over those that can't have it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::clients::Wanted;
use crate::model::{AgentId, Milli, ResourceName, Term};

/// An agent's place among those with something free: the magnitude of its free cpus, then its id.
pub(super) type Place = (Magnitude, AgentId);

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
    by_cpus: BTreeSet<Place>,
    by_kind: BTreeMap<Arc<str>, BTreeSet<AgentId>>,
}

impl Capacity {
    /// The agent was indexed as `old`, and is `new`.
    pub(super) fn update(&mut self, id: AgentId, old: &Indexed, new: &Indexed) {
        if old == new {
            return;
        }
        if let Some(cpus) = old.cpus {
            self.by_cpus.remove(&(cpus, id));
        }
        for kind in &old.kinds {
            self.by_kind.get_mut(kind).expect("an indexed kind has agents").remove(&id);
        }
        if let Some(cpus) = new.cpus {
            self.by_cpus.insert((cpus, id));
        }
        for kind in &new.kinds {
            self.by_kind.entry(kind.clone()).or_default().insert(id);
        }
    }

    /// How many agents have something free.
    pub(super) fn len(&self) -> usize {
        self.by_cpus.len()
    }

    /// All agents with something free.
    pub(super) fn all(&self) -> impl Iterator<Item = AgentId> {
        self.by_cpus.iter().map(|(_, id)| *id)
    }

    /// The agents that may have room for what is wanted, each once, beginning at `from`.
    pub(super) fn places_for(&self, wanted: &Wanted, from: Place) -> impl Iterator<Item = Place> {
        let kind = wanted.shape.claims.first().and_then(|claim| match claim.alternatives.as_slice() {
            [only] => Some(&*only.kind),
            _ => None,
        });
        let (few, all) = match kind {
            Some(kind) => (Some(self.with_kind(kind, from)), None),
            None => (None, Some(self.with_cpus(wanted.quantities.get(&ResourceName::Cpus), from))),
        };
        few.into_iter().flatten().chain(all.into_iter().flatten())
    }

    /// Agents that may have so many cpus free.
    fn with_cpus(&self, cpus: Milli, from: Place) -> impl Iterator<Item = Place> {
        let least = (Magnitude::of(cpus), FIRST);
        let from = from.max(least);
        self.by_cpus.range(from..).chain(self.by_cpus.range(least..from)).copied()
    }

    /// Agents that have a device of `kind` free.
    fn with_kind(&self, kind: &str, from: Place) -> impl Iterator<Item = Place> {
        let start = from.1;
        let agents = self.by_kind.get(kind).into_iter();
        agents.flat_map(move |agents| agents.range(start..).chain(agents.range(..start))).map(move |id| (from.0, *id))
    }
}

/// Before every agent.
const FIRST: AgentId = AgentId::new(Term(0), 0);
/// Where a first look begins.
pub(super) const START: Place = (Magnitude(0), FIRST);
