//! What ways cost beside each other.

use std::collections::BTreeMap;

use rialto_core::model::Time;

use super::super::answer::{Answer, Fact, Told, Tried};
use super::super::run::Way;
use super::super::scenario::Variant;
use super::compare::way_of;
use super::sizes::Search;
use super::statistics::interval_of_mean;
use super::{Asker, money};

/// Numbers of machines are tried in steps of this part of what the way has.
const STEPS: u32 = 25;

impl<'a> Asker<'a> {
    pub(super) fn cost(&mut self, variants: &[Variant], max: Option<u32>) -> Answer {
        let (mut told, mut tried, mut sized) = (self.tell(variants), Vec::new(), Vec::new());
        let mut ways: Vec<Variant> = variants.to_vec();
        for variant in variants.iter().skip(1) {
            let Some(max) = max else { break };
            let (fact, way) = self.sized(variant, max, &mut tried);
            sized.push(fact);
            if let Some(way) = way {
                told.push(self.told(&way.name, &way_of(self.scenario, &way)));
                ways.push(way);
            }
        }
        for (way, told) in ways.iter().zip(&mut told) {
            let fee = self.cancel_fee(&variants[0], way);
            told.outcomes.iter_mut().for_each(|outcome| outcome.costs.cancelled = fee);
        }
        let mut facts = self.facts_of_costs(&told);
        facts.splice(told.len()..told.len(), sized);
        facts.extend(self.fact_of_cancelling(&variants[0]));
        let headline = self.headline_of_costs(&told);
        Answer { facts, told, tried, ..Answer::new(headline) }
    }

    /// The smallest number of machines with which a variant keeps every limit, of those that it rents or, if it rents none, buys; and the
    /// variant with that number, if it is another one.
    fn sized(&mut self, variant: &Variant, max: u32, tried: &mut Vec<Tried>) -> (Fact, Option<Variant>) {
        let about = format!("{}: how many", variant.name);
        let Some((given, batch)) = self.machines_of(variant) else {
            return (Fact::new(&about, "it has not one order or one rent, so that no other number was tried"), None);
        };
        let scenario = self.scenario;
        let of = variant.clone();
        let way = move |count| Way { stops_at_failure: true, ..way_of(scenario, &with_machines(&of, count)) };
        let mut search = Search { tried: BTreeMap::new(), way: Box::new(way) };
        let step = (given / STEPS).max(1).div_ceil(batch) * batch;
        let found = self.smallest(&mut search, 0, max.div_ceil(step) * step, given, step);
        let here: Vec<Tried> =
            search.tried().into_iter().map(|one| Tried { of: variant.name.clone(), ..one }).collect();
        let sharp = found
            .and_then(|found| self.how_sharp(&here, found))
            .map_or_else(String::new, |fact| format!("; {}", fact.text));
        tried.extend(here);
        match found {
            None => (Fact::new(&about, format!("no number up to {max} keeps every limit")), None),
            Some(count) => {
                let text = format!("{count} machines are enough to keep every limit, in steps of {step}{sharp}");
                let name = format!("{}, {count} machines", variant.name);
                let other = (count != given).then(|| Variant { name, ..with_machines(variant, count) });
                (Fact::new(&about, text), other)
            }
        }
    }

    /// How many machines a variant rents, or buys, and the multiple in which they come; none if that is not one number.
    fn machines_of(&self, variant: &Variant) -> Option<(u32, u32)> {
        match (&variant.rents[..], &variant.orders[..]) {
            ([rent], _) => Some((rent.count, 1)),
            ([], [order]) => {
                let supply = self.scenario.pools[order.pool].supply.as_ref();
                Some((order.count, supply.map_or(1, |supply| supply.batch.max(1))))
            }
            _ => None,
        }
    }

    /// What it costs to go another way than the first: what that has on order at the start is cancelled.
    fn cancel_fee(&self, first: &Variant, way: &Variant) -> f64 {
        let ordered = |of: &Variant, pool: usize| -> u32 {
            let orders = of.orders.iter().filter(|order| order.pool == pool && order.placed == Time::ZERO);
            orders.map(|order| order.count).sum()
        };
        let pools = self.scenario.pools.iter().enumerate();
        pools
            .map(|(number, pool)| {
                let fewer = ordered(first, number).saturating_sub(ordered(way, number));
                f64::from(fewer) * pool.supply.as_ref().map_or(0.0, |supply| supply.cancel_fee)
            })
            .sum()
    }

    fn fact_of_cancelling(&self, first: &Variant) -> Option<Fact> {
        let order = first.orders.iter().find(|order| order.placed == Time::ZERO)?;
        let fee = self.scenario.pools[order.pool].supply.as_ref().map_or(0.0, |supply| supply.cancel_fee);
        let text = match fee > 0.0 {
            true => format!(
                "not to take a machine that \"{}\" has on order costs {} {}, which the other ways pay",
                first.name,
                money(fee),
                self.scenario.currency
            ),
            false => format!(
                "it is assumed that not to take what \"{}\" has on order costs nothing; say what it costs as cancel_fee under buy",
                first.name
            ),
        };
        Some(Fact::new("cancelling", text))
    }

    fn facts_of_costs(&self, told: &[Told]) -> Vec<Fact> {
        let scenario = self.scenario;
        let mut facts = Vec::new();
        for way in told {
            let failure = way.first_failure(scenario).map_or_else(String::new, |failure| format!("; {failure}"));
            let (cost, currency, weeks) = (money(total(way)), &scenario.currency, scenario.weeks());
            let sure = self.how_sure(way, 0).text;
            facts.push(Fact::new(&way.name, format!("{cost} {currency} in {weeks} weeks; {sure}{failure}")));
        }
        for way in told {
            facts.extend(self.difference_in_cost(&told[0], way));
            facts.extend(self.break_even(&told[0], way).map(|text| Fact::new("break-even", text)));
            let redone = way.mean(|outcome| outcome.redone_hours);
            if redone > 0.0 {
                let unit = if scenario.counts_gpus() { "GPU-hours" } else { "core-hours" };
                let text = format!("{}: {} {unit} lost with machines", way.name, money(redone));
                facts.push(Fact::new("work done again", text));
            }
        }
        facts
    }

    /// How sure it is what a way costs more or less than the first, from runs with the same random numbers.
    fn difference_in_cost(&self, first: &Told, way: &Told) -> Option<Fact> {
        if way.name == first.name || way.outcomes.len() < 2 {
            return None;
        }
        let both = way.outcomes.iter().zip(&first.outcomes);
        let differences: Vec<f64> = both.map(|(way, first)| way.costs.total() - first.costs.total()).collect();
        let (mean, low, high) = interval_of_mean(&differences);
        let more = if mean < 0.0 { "less" } else { "more" };
        let unsure = if low <= 0.0 && high >= 0.0 { "; that may be chance" } else { "" };
        let text = format!(
            "\"{}\" costs {} {} {more} than \"{}\" (between {} and {} more, with 95 % confidence{unsure})",
            way.name,
            money(mean.abs()),
            self.scenario.currency,
            first.name,
            money(low),
            money(high)
        );
        Some(Fact::new("difference", text))
    }

    fn headline_of_costs(&self, told: &[Told]) -> String {
        let scenario = self.scenario;
        let good = told.iter().filter(|way| self.is_enough(&way.outcomes));
        let cheapest = good.min_by(|a, b| total(a).total_cmp(&total(b)));
        let saved = |way: &Told| money((total(way) - total(&told[0])).abs());
        match cheapest {
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
        }
    }

    /// At which part of the undiscounted price renting costs as much as the first way.
    fn break_even(&self, first: &Told, way: &Told) -> Option<String> {
        let on_demand = way.mean(|outcome| outcome.costs.rented_on_demand);
        let rest = way.mean(|outcome| outcome.costs.bought + outcome.costs.running + outcome.costs.cancelled);
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
}

fn total(told: &Told) -> f64 {
    told.mean(|outcome| outcome.costs.total())
}

/// The variant with another number of machines that it rents or, if it rents none, buys.
fn with_machines(variant: &Variant, count: u32) -> Variant {
    let mut other = variant.clone();
    if other.rents.is_empty() {
        other.orders.iter_mut().for_each(|order| order.count = count);
    } else {
        other.rents.iter_mut().for_each(|rent| rent.count = count);
    }
    other
}
