//! How frameworks deal with what they are offered: what they hold back from others, what they refuse, and whether they are starved.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{FrameworkId, Milli, Quantities, Role};

#[cfg(test)]
mod tests;

/// An optimistic offer that stands unused for longer than this is held against its framework: it keeps one of the few places of an agent.
pub const IDLE: Duration = Duration::from_secs(30);
/// So many reasons for refusals are told apart for one framework and role; further ones are counted as [`OTHER`].
const REASONS_MAX: usize = 16;
/// Stands for all reasons that are not told apart.
pub const OTHER: &str = "other";
/// Stands for no reason at all.
pub const UNSAID: &str = "none given";

/// What is counted of a framework in one of its roles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// What its exclusive offers have locked, in seconds times the resource's unit.
    pub hoarded: Quantities,
    /// For how long its optimistic offers stood beyond [`IDLE`], added up.
    pub idle: Duration,
    /// The offers that it declined, by what it said.
    pub declines: BTreeMap<Arc<str>, u64>,
}

impl Ledger {
    /// An exclusive offer of `what` stood for so long.
    pub fn locked(&mut self, what: &Quantities, standing: Duration) {
        for (name, Milli(amount)) in what.iter() {
            let times = seconds_times(amount, standing);
            self.hoarded.set(name, self.hoarded.get(name).plus(times));
        }
    }

    /// An optimistic offer stood for so long.
    pub fn stood(&mut self, standing: Duration) {
        self.idle = self.idle.saturating_add(standing.saturating_sub(IDLE));
    }

    /// An offer was declined.
    pub fn declined(&mut self, reason: Option<&Arc<str>>) {
        let word = reason.cloned().unwrap_or_else(|| Arc::from(UNSAID));
        let is_known = self.declines.contains_key(&word) || self.declines.len() < REASONS_MAX;
        let word = if is_known { word } else { Arc::from(OTHER) };
        *self.declines.entry(word).or_default() += 1;
    }
}

/// So much for so long, in seconds times the resource's unit. Nearly always the product fits a word, which divides much faster than two.
fn seconds_times(amount: u64, standing: Duration) -> Milli {
    let micros = standing.as_micros();
    match u64::try_from(micros).ok().and_then(|micros| amount.checked_mul(micros)) {
        Some(product) => Milli(product / 1_000_000),
        None => Milli(u64::try_from(u128::from(amount) * micros / 1_000_000).unwrap_or(u64::MAX)),
    }
}

/// How a framework fares in one of its roles, at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conduct {
    /// Which framework.
    pub framework: FrameworkId,
    /// Its name.
    pub name: Arc<str>,
    /// In which role.
    pub role: Role,
    /// What was counted, offers that stand now among it.
    pub ledger: Ledger,
    /// For how long the oldest demand that it declared has waited.
    pub demand_age: Option<Duration>,
    /// For how long it was offered nothing, although it waits for something that what is free could satisfy.
    pub starved: Option<Duration>,
}
