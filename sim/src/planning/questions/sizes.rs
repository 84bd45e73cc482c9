//! The smallest number of machines that is enough.

use std::collections::BTreeMap;

use super::super::answer::{Answer, Fact, Told, Tried};
use super::super::milestones::milestones;
use super::super::outcome::Outcome;
use super::super::run::Way;
use super::Asker;

/// What a size must be, and what was found out about it.
pub(super) struct Search<'a> {
    pub(super) tried: BTreeMap<u32, Vec<Outcome>>,
    /// The way with so many machines.
    pub(super) way: Box<dyn Fn(u32) -> Way<'a> + 'a>,
}

impl<'a> Asker<'a> {
    pub(super) fn size(&mut self, pool: usize, min: u32, max: u32) -> Answer {
        let scenario = self.scenario;
        let name = &scenario.pools[pool].name;
        let way = move |count| {
            let mut way = Way { stops_at_failure: true, ..Way::of(scenario) };
            way.counts[pool] = count;
            way
        };
        let mut search = Search { tried: BTreeMap::new(), way: Box::new(way) };
        let found = self.smallest(&mut search, min, max, scenario.pools[pool].count, 1);
        // Packing is not monotone: the next larger one is looked at too.
        if let Some(above) = found.map(|found| found + 1).filter(|above| *above <= max) {
            self.try_size(&mut search, above);
        }
        let tried = search.tried();
        let untold = |search: &mut Search<'_>, count| Told {
            name: format!("{count} of {name}"),
            milestones: milestones(&(search.way)(count)),
            outcomes: search.tried.remove(&count).unwrap_or_default(),
        };
        let Some(count) = found else {
            let mut told = untold(&mut search, max);
            self.with_jobs(&mut told, &(search.way)(max));
            let why = told.first_failure(scenario).unwrap_or_default();
            let headline = format!("No number of {name} up to {max} is enough: even with {max}, {why}.");
            return Answer { told: vec![told], tried, ..Answer::new(headline) };
        };
        let mut told = untold(&mut search, count);
        // Where some runs may pass a limit, they were cut short.
        if told.outcomes.iter().any(|outcome| outcome.weeks.len() < scenario.weeks()) {
            told.outcomes = self.run(&Way { stops_at_failure: false, ..(search.way)(count) }, &told.name);
        }
        self.with_jobs(&mut told, &(search.way)(count));
        let mut facts = vec![self.how_sure(&told, 0)];
        facts.extend(self.how_sharp(&tried, count));
        let fewer = search.tried.range(..count).next_back();
        if let Some((fewer, outcomes)) = fewer {
            let fewer_told = Told { name: String::new(), milestones: Vec::new(), outcomes: outcomes.clone() };
            if let Some(failure) = fewer_told.first_failure(scenario) {
                facts.push(Fact::new("what binds", format!("with {fewer}, {failure}")));
            }
        }
        if search.tried.range(count..).any(|(_, outcomes)| !self.is_enough(outcomes)) {
            facts.push(Fact::new("beware", "a larger size that was tried is not enough: packing is not monotone here"));
        }
        let headline =
            format!("{count} machines of {name} are enough to keep every limit for {} weeks.", scenario.weeks());
        Answer { facts, told: vec![told], tried, ..Answer::new(headline) }
    }

    /// The smallest size from `min` to `max`, in steps, that is enough. Packing is not monotone: those just below are looked at too.
    pub(super) fn smallest(
        &mut self,
        search: &mut Search<'_>,
        min: u32,
        max: u32,
        guess: u32,
        step: u32,
    ) -> Option<u32> {
        let round = |count: u32| (min + count.saturating_sub(min).div_ceil(step) * step).min(max);
        let (mut low, mut high) = (None, None);
        let mut next = round(guess.clamp(min, max));
        let mut stride = (next / 8).max(step);
        // Outwards from the guess until it lies between too few and enough.
        while low.is_none() || high.is_none() {
            if self.try_size(search, next) {
                high = Some(next);
                if next == min {
                    return Some(min);
                }
                next = round(next.saturating_sub(stride).max(min)).min(next.saturating_sub(step).max(min));
            } else {
                low = Some(next);
                if next == max {
                    return None;
                }
                next = round(next.saturating_add(stride)).max(next + step).min(max);
            }
            stride = stride.saturating_mul(2);
        }
        let (mut low, mut high) = (low?, high?);
        while high - low > step {
            let middle = round(low + (high - low) / 2).min(high - step).max(low + step);
            if self.try_size(search, middle) { high = middle } else { low = middle }
        }
        let below = high.checked_sub(2 * step).filter(|below| *below >= min);
        Some(below.filter(|below| self.try_size(search, *below)).unwrap_or(high))
    }

    fn try_size(&mut self, search: &mut Search<'_>, count: u32) -> bool {
        if !search.tried.contains_key(&count) {
            let outcomes = self.run(&(search.way)(count), &format!("with {count} machines"));
            search.tried.insert(count, outcomes);
        }
        self.is_enough(&search.tried[&count])
    }
}

impl Search<'_> {
    pub(super) fn tried(&self) -> Vec<Tried> {
        let kept = |outcomes: &[Outcome]| outcomes.iter().filter(|outcome| outcome.failures.is_empty()).count();
        self.tried
            .iter()
            .map(|(count, outcomes)| Tried {
                of: String::new(),
                count: *count,
                kept: kept(outcomes),
                runs: outcomes.len(),
            })
            .collect()
    }
}
