//! Classes of agents: those with equal stock are looked at once, however many they are.
//!
//! The index is brought up to date when somebody asks, for those agents that changed since; between questions a change costs a push.

use std::collections::{BTreeMap, BTreeSet};

use super::stock::{Fingerprint, Stock};
use crate::model::AgentId;

#[cfg(test)]
mod tests;

/// Names a class.
pub type ClassId = u64;

/// Agents by class.
#[derive(Debug, Default)]
pub struct Classes {
    classes: BTreeMap<ClassId, Class>,
    by_print: BTreeMap<Fingerprint, ClassId>,
    of: BTreeMap<AgentId, ClassId>,
    last: ClassId,
    vanished: u64,
    stale: Stale,
}

/// Agents of equal stock.
#[derive(Debug)]
pub struct Class {
    /// What each of them has. The names of its devices are those of one of them.
    pub stock: Stock,
    /// Who they are; never empty.
    pub members: BTreeSet<AgentId>,
    print: Fingerprint,
}

/// Which agents may have changed since the index was last brought up to date.
#[derive(Debug, Default)]
enum Stale {
    /// These; some perhaps twice.
    Some(Vec<AgentId>),
    /// All: more than there are agents have changed, or nobody has asked yet.
    #[default]
    All,
}

/// Where a class gets to know agents from.
pub trait Fleet {
    /// Every agent that counts.
    fn agents(&self) -> impl Iterator<Item = AgentId>;
    /// The agent's fingerprint; none if it does not count any more.
    fn print(&self, agent: AgentId) -> Option<Fingerprint>;
    /// What it has.
    fn stock(&self, agent: AgentId) -> Stock;
}

impl Classes {
    /// The agent may have changed.
    pub fn mark(&mut self, agent: AgentId) {
        if let Stale::Some(stale) = &mut self.stale {
            stale.push(agent);
            if stale.len() > self.of.len() + 64 {
                self.stale = Stale::All;
            }
        }
    }

    /// Brings the index up to date.
    pub fn refresh(&mut self, fleet: &impl Fleet) {
        match std::mem::replace(&mut self.stale, Stale::Some(Vec::new())) {
            Stale::Some(stale) => {
                for agent in stale.into_iter().collect::<BTreeSet<_>>() {
                    self.place(agent, fleet);
                }
            }
            Stale::All => {
                let gone: Vec<AgentId> = self.of.keys().copied().filter(|id| fleet.print(*id).is_none()).collect();
                for agent in fleet.agents().chain(gone) {
                    self.place(agent, fleet);
                }
            }
        }
    }

    /// Every class.
    pub fn iter(&self) -> impl Iterator<Item = (ClassId, &Class)> {
        self.classes.iter().map(|(id, class)| (*id, class))
    }

    /// The class of the agent.
    pub fn of(&self, agent: AgentId) -> Option<ClassId> {
        self.of.get(&agent).copied()
    }

    /// How many agents there are.
    pub fn agents(&self) -> usize {
        self.of.len()
    }

    /// How many classes have lost their last member so far.
    pub fn vanished(&self) -> u64 {
        self.vanished
    }

    fn place(&mut self, agent: AgentId, fleet: &impl Fleet) {
        let before = self.of(agent);
        let print = fleet.print(agent);
        if let Some(old) = before {
            if print == Some(self.classes[&old].print) {
                return;
            }
            self.leave(agent, old);
        }
        let Some(print) = print else { return };
        let id = self.by_print.get(&print).copied().unwrap_or_else(|| self.found(print, fleet.stock(agent)));
        self.classes.get_mut(&id).expect("it is there or has been founded").members.insert(agent);
        self.of.insert(agent, id);
    }

    fn leave(&mut self, agent: AgentId, id: ClassId) {
        self.of.remove(&agent);
        let class = self.classes.get_mut(&id).expect("an agent's class is known");
        class.members.remove(&agent);
        if class.members.is_empty() {
            self.by_print.remove(&class.print);
            self.classes.remove(&id);
            self.vanished += 1;
        }
    }

    fn found(&mut self, print: Fingerprint, stock: Stock) -> ClassId {
        self.last += 1;
        self.by_print.insert(print, self.last);
        self.classes.insert(self.last, Class { stock, members: BTreeSet::new(), print });
        self.last
    }
}
