//! What waits, since when, and how long what is no longer waiting had to wait: the source of estimates, which are held against what
//! then happens.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::explain::Outlook;
use crate::model::{Demand, Milli, ResourceName, Role, Shape, Task, Time};

#[cfg(test)]
mod tests;

/// Of so many waits of a kind the lengths are remembered.
const WAITS_MAX: usize = 64;
/// So many kinds are remembered; the one that was used longest ago makes way.
const KINDS_MAX: usize = 512;
/// An estimate from fewer waits than this is none.
const WAITS_MIN: usize = 5;

/// How long demands had to wait, by role and by what they asked for.
#[derive(Debug, Default)]
pub struct History {
    kinds: BTreeMap<(Role, Arc<str>), Waits>,
    uses: u64,
    calibration: Calibration,
}

#[derive(Debug, Default)]
struct Waits {
    /// Newest last.
    lengths: VecDeque<Duration>,
    used: u64,
}

/// How past estimates held up: for each demand one is made when it is declared, and judged when it is met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calibration {
    /// Estimates that were judged.
    pub judged: u64,
    /// Of them, those in which the wait was at most the one that half of the earlier waits stayed below.
    pub within_median: u64,
    /// Of them, those in which it was at most the one that nine of ten stayed below.
    pub within_p90: u64,
}

/// How long demands like that had to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// From so many waits, the last ones.
    pub waits: usize,
    /// Half of them were at most this long.
    pub median: Duration,
    /// Nine of ten were at most this long.
    pub p90: Duration,
}

impl History {
    /// How long one more of these will wait, judging from the last ones; none if there are too few of them.
    pub fn estimate(&self, role: &Role, asks: &Arc<str>) -> Option<Estimate> {
        let waits = self.kinds.get(&(role.clone(), asks.clone()))?;
        quantiles(waits.lengths.iter().copied())
    }

    /// The same for one that has waited `already`: judging from those that waited at least as long.
    pub fn estimate_after(&self, role: &Role, asks: &Arc<str>, already: Duration) -> Option<Estimate> {
        let waits = self.kinds.get(&(role.clone(), asks.clone()))?;
        quantiles(waits.lengths.iter().copied().filter(|length| *length >= already))
    }

    /// How past estimates held up.
    pub const fn calibration(&self) -> Calibration {
        self.calibration
    }

    fn met(&mut self, role: &Role, asks: &Arc<str>, length: Duration, estimate: Option<Estimate>) {
        if let Some(estimate) = estimate {
            self.calibration.judged += 1;
            self.calibration.within_median += u64::from(length <= estimate.median);
            self.calibration.within_p90 += u64::from(length <= estimate.p90);
        }
        self.uses += 1;
        let waits = self.kinds.entry((role.clone(), asks.clone())).or_default();
        waits.used = self.uses;
        waits.lengths.push_back(length);
        if waits.lengths.len() > WAITS_MAX {
            waits.lengths.pop_front();
        }
        if self.kinds.len() > KINDS_MAX
            && let Some(oldest) = self.kinds.iter().min_by_key(|(_, waits)| waits.used).map(|(key, _)| key.clone())
        {
            self.kinds.remove(&oldest);
        }
    }
}

fn quantiles(lengths: impl Iterator<Item = Duration>) -> Option<Estimate> {
    let mut sorted: Vec<Duration> = lengths.collect();
    sorted.sort_unstable();
    let at = |tenths: usize| sorted[(sorted.len() * tenths).div_ceil(10) - 1];
    (sorted.len() >= WAITS_MIN).then(|| Estimate { waits: sorted.len(), median: at(5), p90: at(9) })
}

/// What one framework waits for in one role.
#[derive(Debug, Default)]
pub struct Queue {
    rows: Vec<Row>,
}

/// One shape, with when those of it that wait were declared.
#[derive(Debug)]
pub struct Row {
    /// The shape as it was declared last.
    pub shape: Shape,
    /// What it asks for, as text.
    pub asks: Arc<str>,
    /// Whether waiting is of use.
    pub outlook: Outlook,
    /// Oldest first: when, how many, and how long they were expected to wait.
    arrivals: VecDeque<(Time, u32, Option<Estimate>)>,
}

impl Row {
    /// Since when the oldest of them waits.
    pub fn since(&self) -> Option<Time> {
        self.arrivals.front().map(|(since, ..)| *since)
    }

    fn waiting(&self) -> u32 {
        self.arrivals.iter().map(|(_, count, _)| *count).sum()
    }

    /// The count is now that of the shape: more have come, or the newest are wanted no more.
    fn adjust(&mut self, now: Time, role: &Role, history: &History) {
        let (mut have, want) = (self.waiting(), self.shape.count);
        if want > have {
            self.arrivals.push_back((now, want - have, history.estimate(role, &self.asks)));
        }
        while have > want {
            let newest = self.arrivals.back_mut().expect("as many as are waiting have arrived");
            let dropped = newest.1.min(have - want);
            newest.1 -= dropped;
            have -= dropped;
            if newest.1 == 0 {
                self.arrivals.pop_back();
            }
        }
    }
}

impl Queue {
    /// The rows, in the order of the declaration.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The rows, whose flags may be set.
    pub fn rows_mut(&mut self) -> impl Iterator<Item = &mut Row> {
        self.rows.iter_mut()
    }

    /// Since when the oldest of all waits.
    pub fn since(&self) -> Option<Time> {
        self.rows.iter().filter_map(Row::since).min()
    }

    /// The framework declares. What it declared before keeps its place in time. `outlook` is asked about shapes that are new.
    pub fn declare(
        &mut self,
        now: Time,
        role: &Role,
        demand: Option<&Demand>,
        history: &History,
        outlook: impl Fn(&Shape) -> Outlook,
    ) {
        let mut old: Vec<Option<Row>> = std::mem::take(&mut self.rows).into_iter().map(Some).collect();
        for (place, shape) in demand.iter().flat_map(|demand| &demand.shapes).enumerate() {
            let mut row = take_same(&mut old, place, shape).unwrap_or_else(|| Row {
                asks: Arc::from(asks(shape)),
                outlook: outlook(shape),
                shape: shape.clone(),
                arrivals: VecDeque::new(),
            });
            row.shape.count = shape.count;
            row.shape.priority = shape.priority;
            row.adjust(now, role, history);
            self.rows.push(row);
        }
    }

    /// The framework has launched `task`: the oldest demand that asks for just that is met.
    pub fn launched(&mut self, now: Time, role: &Role, task: &Task, history: &mut History) {
        let Some(row) = self.rows.iter_mut().find(|row| asks_for(&row.shape, task)) else { return };
        let Some(oldest) = row.arrivals.front_mut() else { return };
        let (since, estimate) = (oldest.0, oldest.2);
        oldest.1 -= 1;
        if oldest.1 == 0 {
            row.arrivals.pop_front();
        }
        history.met(role, &row.asks, now.since(since), estimate);
    }
}

/// The old row of the same shape, count and priority aside; it is most often in the same place.
fn take_same(old: &mut [Option<Row>], place: usize, shape: &Shape) -> Option<Row> {
    let same = |row: &Option<Row>| row.as_ref().is_some_and(|row| is_same(&row.shape, shape));
    if old.get(place).is_some_and(same) {
        return old[place].take();
    }
    old.iter_mut().find(|row| same(row)).and_then(Option::take)
}

fn is_same(a: &Shape, b: &Shape) -> bool {
    a.name == b.name
        && a.resources == b.resources
        && a.claims == b.claims
        && a.constraint == b.constraint
        && a.expected_run_time == b.expected_run_time
}

/// Whether the task is one of the shape: ports and devices are counted, for which ones they are is chosen from the offer.
fn asks_for(shape: &Shape, task: &Task) -> bool {
    let ports = ResourceName::ports();
    shape.resources.quantities() == task.resources.quantities()
        && shape.resources.ranges(&ports).len() == task.resources.ranges(&ports).len()
        && shape.claims == task.claims
}

/// What a shape asks for, as text.
pub fn asks(shape: &Shape) -> String {
    let ports = shape.resources.ranges(&ResourceName::ports()).len();
    let scalars = shape.resources.quantities();
    let amounts = scalars.iter().map(|(name, amount)| amount_text(name, amount));
    let ports = (ports > 0).then(|| format!("{ports} port{}", if ports == 1 { "" } else { "s" }));
    let claims = shape.claims.iter().map(|claim| format!("device {claim}"));
    let parts: Vec<String> = amounts.chain(ports).chain(claims).collect();
    let what = if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") };
    if shape.constraint.is_any() { what } else { format!("{what}, where {}", shape.constraint) }
}

fn amount_text(name: &ResourceName, amount: Milli) -> String {
    match name {
        ResourceName::Cpus if amount == Milli::from_whole(1) => "1 cpu".to_owned(),
        ResourceName::Cpus => format!("{amount} cpus"),
        ResourceName::Mem => format!("{amount} MiB of memory"),
        ResourceName::Disk => format!("{amount} MiB of disk"),
        ResourceName::Other(name) => format!("{amount} {name}"),
    }
}
