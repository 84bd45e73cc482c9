//! Ways beside each other, and what they change.

use super::super::answer::{Answer, Difference, Fact, Told};
use super::super::outcome::Outcome;
use super::super::run::Way;
use super::super::scenario::{Scenario, Variant};
use super::super::units::in_words;
use super::Asker;
use super::statistics::{interval_of_mean, signed};

impl Asker<'_> {
    pub(super) fn compare(&mut self, variants: &[Variant]) -> Answer {
        let scenario = self.scenario;
        let told = self.tell(variants);
        let mut differences = Vec::new();
        for other in &told[1..] {
            for (workload, of) in scenario.workloads.iter().enumerate() {
                differences.extend(
                    measures(workload, scenario.warmup_weeks)
                        .into_iter()
                        .map(|(name, measure)| difference(&told[0], other, &of.name, name, &measure)),
                );
            }
        }
        let facts = differences.iter().map(Difference::fact).collect();
        let telling = || differences.iter().filter(|difference| !difference.is_none());
        let better = telling().filter(|difference| difference.measure == WORST);
        let headline = match better.min_by(|a, b| a.mean.total_cmp(&b.mean)) {
            Some(best) if best.mean < 0.0 => format!(
                "{} is better than {}: the worst week's p95 wait of {} is {} shorter.",
                best.way,
                told[0].name,
                best.workload,
                in_words(-best.mean)
            ),
            Some(_) => format!("{} is better than the others.", told[0].name),
            None if telling().next().is_some() => {
                format!("No way changes the worst week of {}; the means differ.", told[0].name)
            }
            None => format!("No way differs from {} by more than chance.", told[0].name),
        };
        Answer { facts, told, differences, ..Answer::new(headline) }
    }

    pub(super) fn tell(&mut self, variants: &[Variant]) -> Vec<Told> {
        let scenario = self.scenario;
        let tell = |variant: &Variant| self.told(&variant.name, &way_of(scenario, variant));
        variants.iter().map(tell).collect()
    }
}

/// The scenario with what a variant changes.
pub(super) fn way_of<'a>(scenario: &'a Scenario, variant: &Variant) -> Way<'a> {
    let mut way = Way::of(scenario);
    way.orders.extend(variant.orders.iter().cloned());
    way.rents.extend(variant.rents.iter().cloned());
    way.changes.extend(variant.changes.iter().cloned());
    way.placement = variant.placement.unwrap_or(scenario.placement);
    way
}

/// One measure of two ways, run by run.
fn difference(first: &Told, other: &Told, workload: &str, name: &'static str, measure: &Measure) -> Difference {
    let differences: Vec<f64> =
        other.outcomes.iter().zip(&first.outcomes).map(|(a, b)| measure(a) - measure(b)).collect();
    let (mean, low, high) = interval_of_mean(&differences);
    Difference { way: other.name.clone(), workload: workload.to_owned(), measure: name, mean, low, high }
}

impl Difference {
    fn fact(&self) -> Fact {
        let verdict = match self.mean < 0.0 {
            _ if self.is_none() => "no difference",
            true => "shorter",
            false => "longer",
        };
        let text = format!("{verdict}: {} ({} to {})", signed(self.mean), signed(self.low), signed(self.high));
        Fact::new(&format!("{}, {}, {}", self.way, self.workload, self.measure), text)
    }
}

/// What ways are compared by: a number of seconds.
type Measure = Box<dyn Fn(&Outcome) -> f64>;

const WORST: &str = "p95 wait of the worst week";

fn measures(workload: usize, from: usize) -> Vec<(&'static str, Measure)> {
    let mean = move |outcome: &Outcome| {
        let waits = outcome.weeks.iter().skip(from).map(|week| &week.waits[workload]);
        let jobs: usize = waits.clone().map(|waits| waits.jobs).sum();
        waits.map(|waits| waits.mean * waits.jobs as f64).sum::<f64>() / jobs.max(1) as f64
    };
    let worst = move |outcome: &Outcome| {
        outcome.weeks.iter().skip(from).map(|week| week.waits[workload].p95).fold(0.0, f64::max)
    };
    vec![("mean wait", Box::new(mean)), (WORST, Box::new(worst))]
}
