//! Which work makes way: the least that has to be lost so that a demand fits an agent.
//!
//! Work of low priority goes before work of high priority; among equals, that which has done least goes first: what it has held times how
//! long it has run, with the time that its devices take to be cleaned, since nobody uses them meanwhile.

use std::time::Duration;

use crate::model::{Milli, Quantities, Resources};

#[cfg(test)]
mod tests;

/// Tasks that live and die together, and may be ended for a demand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate<K> {
    /// Names them.
    pub key: K,
    /// The highest priority among them.
    pub priority: i32,
    /// What ending them loses; see [`loss`].
    pub loss: u128,
    /// What is free once they are gone and their devices are clean.
    pub frees: Resources,
}

/// Work to end on one agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice<K> {
    /// Which; none if the demand fits as it is.
    pub victims: Vec<K>,
    /// What that costs.
    pub cost: Cost,
}

/// What a choice costs; the smaller is the better one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost {
    /// The highest priority that is ended; none is less than any.
    pub priority: Option<i32>,
    /// The work that is lost.
    pub loss: u128,
    /// How many are ended.
    pub count: usize,
}

/// What ending something loses: the part of the agent that it holds, in thousandths of the resource that it holds most of, times the time
/// that it has run, and that its devices will take to be cleaned, in microseconds.
pub fn loss(held: &Quantities, total: &Quantities, ran: Duration, cleaning: Duration) -> u128 {
    let part = |(name, amount): (&_, Milli)| u128::from(amount.0) * 1000 / u128::from(total.get(name).0.max(1));
    let most = held.iter().map(part).max().unwrap_or(0).max(1);
    most * (ran + cleaning).as_micros()
}

/// The least of `candidates` that have to go so that `fits` holds for what is free then, beginning with `available`. None, if it does not
/// hold even when all of them are gone.
pub fn choose<K: Clone + Ord>(
    mut candidates: Vec<Candidate<K>>,
    available: &Resources,
    fits: impl Fn(&Resources, &[&Candidate<K>]) -> bool,
) -> Option<Choice<K>> {
    candidates.sort_by(|a, b| (a.priority, a.loss, &a.key).cmp(&(b.priority, b.loss, &b.key)));
    let mut chosen: Vec<&Candidate<K>> = Vec::new();
    for candidate in &candidates {
        if fits(&freed(available, &chosen), &chosen) {
            break;
        }
        chosen.push(candidate);
    }
    if !fits(&freed(available, &chosen), &chosen) {
        return None;
    }
    // Those that were taken on the way and turn out not to be needed stay, the dearest first.
    for at in (0..chosen.len()).rev() {
        let spared = chosen.remove(at);
        if !fits(&freed(available, &chosen), &chosen) {
            chosen.insert(at, spared);
        }
    }
    let cost = Cost {
        priority: chosen.iter().map(|victim| victim.priority).max(),
        loss: chosen.iter().map(|victim| victim.loss).sum(),
        count: chosen.len(),
    };
    Some(Choice { victims: chosen.into_iter().map(|victim| victim.key.clone()).collect(), cost })
}

fn freed<K>(available: &Resources, victims: &[&Candidate<K>]) -> Resources {
    let mut sum = available.clone();
    for victim in victims {
        sum.add(&victim.frees);
    }
    sum
}
