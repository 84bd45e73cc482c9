//! Agents that are alike to who looks for room, and a walk through them in an order drawn by chance.
//!
//! Were it always the same neighbours that are offered together, or always the emptiest, a framework could not choose well among them: who
//! is to choose from few must see some of every sort. So a walk begins anywhere and goes on by a stride that is prime to the number of
//! agents: it comes to each once, at the cost of those that it comes to.

use indexmap::IndexSet;
use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use rustc_hash::FxBuildHasher;
use smallvec::SmallVec;

use crate::model::AgentId;

/// A set of agents from which any can be had by its number.
#[derive(Debug, Default)]
pub(super) struct Deck(IndexSet<AgentId, FxBuildHasher>);

impl Deck {
    pub(super) fn insert(&mut self, id: AgentId) {
        self.0.insert(id);
    }

    /// The last agent gets the number of the one that is taken out.
    pub(super) fn remove(&mut self, id: AgentId) {
        self.0.swap_remove(&id);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = AgentId> {
        self.0.iter().copied()
    }
}

/// A walk through all agents of some decks, each once.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    decks: SmallVec<[&'a Deck; 8]>,
    agents: usize,
    left: usize,
    next: usize,
    stride: usize,
}

impl<'a> Walk<'a> {
    /// Its order follows from `seed`.
    pub(super) fn new(decks: impl Iterator<Item = &'a Deck>, seed: u64) -> Self {
        let decks: SmallVec<[&Deck; 8]> = decks.filter(|deck| deck.len() > 0).collect();
        let agents = decks.iter().map(|deck| deck.len()).sum();
        let (mut next, mut stride) = (0, 1);
        if agents > 1 {
            let mut random = Pcg64Mcg::seed_from_u64(seed);
            let mut below =
                |bound: usize| usize::try_from(random.next_u64() % bound as u64).expect("it is below a usize");
            next = below(agents);
            stride = 1 + below(agents - 1);
            while common_divisor(stride, agents) > 1 {
                stride = 1 + below(agents - 1);
            }
        }
        Self { decks, agents, left: agents, next, stride }
    }

    /// The rest of it after so many.
    pub(super) fn after(mut self, count: usize) -> Self {
        let count = count.min(self.left);
        self.left -= count;
        if self.agents > 0 {
            self.next = (self.next + count * self.stride) % self.agents;
        }
        self
    }
}

impl Iterator for Walk<'_> {
    type Item = AgentId;

    fn next(&mut self) -> Option<AgentId> {
        self.left = self.left.checked_sub(1)?;
        let mut number = self.next;
        self.next = (self.next + self.stride) % self.agents;
        self.decks.iter().find_map(|deck| {
            let found = deck.0.get_index(number).copied();
            number = number.saturating_sub(deck.len());
            found
        })
    }
}

const fn common_divisor(mut a: usize, mut b: usize) -> usize {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests;
