//! Ways beside each other: what they change, and what they cost.

use super::super::answer::{Answer, Difference, Fact, Told};
use super::super::outcome::Outcome;
use super::super::run::Way;
use super::super::scenario::Variant;
use super::super::units::in_words;
use super::statistics::{interval_of_mean, signed};
use super::{Asker, money};

impl Asker<'_> {
    pub(super) fn compare(&mut self, variants: &[Variant]) -> Answer {
        let scenario = self.scenario;
        let told = self.tell(variants);
        let mut differences = Vec::new();
        for other in &told[1..] {
            for (workload, of) in scenario.workloads.iter().enumerate() {
                differences.extend(
                    measures(workload)
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

    pub(super) fn cost(&mut self, variants: &[Variant]) -> Answer {
        let scenario = self.scenario;
        let told = self.tell(variants);
        let total = |told: &Told| told.mean(|outcome| outcome.costs.total());
        let mut facts = Vec::new();
        for way in &told {
            let failure = way.first_failure(scenario).map_or_else(String::new, |failure| format!("; {failure}"));
            let (kept, runs) = (way.kept(), way.outcomes.len());
            let text = format!(
                "{} {} in {} weeks; {kept} of {runs} runs keep every limit{failure}",
                money(total(way)),
                scenario.currency,
                scenario.weeks()
            );
            facts.push(Fact::new(&way.name, text));
        }
        for way in &told {
            if let Some(text) = self.break_even(&told[0], way) {
                facts.push(Fact::new("break-even", text));
            }
            let redone = way.mean(|outcome| outcome.redone_hours);
            if redone > 0.0 {
                let unit = if scenario.counts_gpus() { "GPU-hours" } else { "core-hours" };
                let text = format!("{}: {} {unit} lost with machines", way.name, money(redone));
                facts.push(Fact::new("work done again", text));
            }
        }
        let good = told.iter().filter(|way| self.is_enough(&way.outcomes));
        let cheapest = good.min_by(|a, b| total(a).total_cmp(&total(b)));
        let saved = |way: &Told| money((total(way) - total(&told[0])).abs());
        let headline = match cheapest {
            None => format!(
                "No way keeps every limit: with \"{}\", which costs {} {}, {}.",
                told[0].name,
                money(total(&told[0])),
                scenario.currency,
                told[0].first_failure(scenario).unwrap_or_default()
            ),
            Some(best) if best.name == told[0].name => {
                let others = told[1..].iter().map(|way| match self.is_enough(&way.outcomes) {
                    true => format!("{} costs {} {} more", way.name, saved(way), scenario.currency),
                    false => format!("with {}, {}", way.name, way.first_failure(scenario).unwrap_or_default()),
                });
                format!("Stay with \"{}\": {}.", best.name, others.collect::<Vec<_>>().join("; "))
            }
            Some(best) if self.is_enough(&told[0].outcomes) => format!(
                "Change to \"{}\": it keeps every limit and costs {} {} less than \"{}\".",
                best.name,
                saved(best),
                scenario.currency,
                told[0].name
            ),
            Some(best) => format!(
                "Change to \"{}\": with \"{}\", {}.",
                best.name,
                told[0].name,
                told[0].first_failure(scenario).unwrap_or_default()
            ),
        };
        Answer { facts, told, ..Answer::new(headline) }
    }

    /// At which part of the undiscounted price renting costs as much as the first way.
    fn break_even(&self, first: &Told, way: &Told) -> Option<String> {
        let on_demand = way.mean(|outcome| outcome.costs.rented_on_demand);
        let rest = way.mean(|outcome| outcome.costs.bought + outcome.costs.running);
        let part = (first.mean(|outcome| outcome.costs.total()) - rest) / on_demand;
        if on_demand <= 0.0 || way.name == first.name {
            return None;
        }
        let paid = way.mean(|outcome| outcome.costs.rented) / on_demand;
        let hourly = on_demand / way.mean(|outcome| outcome.costs.rented_hours).max(f64::MIN_POSITIVE);
        let (limit, pays, currency) = (part * hourly, paid * hourly, &self.scenario.currency);
        let decides = if self.is_enough(&way.outcomes) { "" } else { "; but limits are not kept, whatever the price" };
        Some(format!(
            "\"{}\" costs less than \"{}\" below {limit:.2} {currency} for a rented machine and hour ({part:.2} of on-demand); \
             it pays {pays:.2} ({paid:.2}) in the mean{decides}",
            way.name, first.name
        ))
    }

    fn tell(&mut self, variants: &[Variant]) -> Vec<Told> {
        let scenario = self.scenario;
        let tell = |variant: &Variant| {
            let mut way = Way::of(scenario);
            way.orders.extend(variant.orders.iter().cloned());
            way.rents.extend(variant.rents.iter().cloned());
            way.placement = variant.placement.unwrap_or(scenario.placement);
            self.told(&variant.name, &way)
        };
        variants.iter().map(tell).collect()
    }
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

fn measures(workload: usize) -> Vec<(&'static str, Measure)> {
    let mean = move |outcome: &Outcome| {
        let waits = outcome.weeks.iter().map(|week| &week.waits[workload]);
        let jobs: usize = waits.clone().map(|waits| waits.jobs).sum();
        waits.map(|waits| waits.mean * waits.jobs as f64).sum::<f64>() / jobs.max(1) as f64
    };
    let worst = move |outcome: &Outcome| outcome.weeks.iter().map(|week| week.waits[workload].p95).fold(0.0, f64::max);
    vec![("mean wait", Box::new(mean)), (WORST, Box::new(worst))]
}
