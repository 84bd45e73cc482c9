//! The questions, each answered by runs.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rialto_core::model::Time;

use super::answer::{Advice, Answer, Fact, Told, Tried};
use super::outcome::Outcome;
use super::run::Way;
use super::scenario::{Question, Scenario, Variant};
use super::units::{WEEK, in_words};
use crate::dice::Dice;

/// No plan has more orders.
const ORDERS_MAX: usize = 12;
/// How often the runs are drawn again for an interval.
const RESAMPLES: usize = 2000;

/// Answers the question of a scenario; `progress` is told what is being run.
pub fn answer(scenario: &Scenario, progress: &mut dyn FnMut(&str)) -> Answer {
    let mut asker = Asker { scenario, progress };
    match &scenario.question {
        Question::Replay => asker.replay(),
        Question::Size { pool, min, max } => asker.size(*pool, *min, *max),
        Question::OrderBy { pool, cover, max } => asker.order_by(*pool, *cover, *max),
        Question::Compare { variants } => asker.compare(variants),
        Question::Cost { variants } => asker.cost(variants),
    }
}

struct Asker<'a> {
    scenario: &'a Scenario,
    progress: &'a mut dyn FnMut(&str),
}

/// What a size must be, and what was found out about it.
struct Search<'a> {
    tried: BTreeMap<u32, Vec<Outcome>>,
    /// The way with so many machines.
    way: Box<dyn Fn(u32) -> Way<'a> + 'a>,
}

impl<'a> Asker<'a> {
    fn run(&mut self, way: &Way<'_>, what: &str) -> Vec<Outcome> {
        (self.progress)(what);
        runs(way, self.scenario.seeds)
    }

    fn replay(&mut self) -> Answer {
        let outcomes = self.run(&Way::of(self.scenario), "as it is");
        let told = Told { name: "as it is".to_owned(), outcomes };
        let headline = match told.first_failure(self.scenario) {
            None => format!("Every limit is kept for {} weeks.", self.scenario.weeks()),
            Some(failure) => format!("Without a change, {failure}."),
        };
        Answer { headline, facts: Vec::new(), told: vec![told], tried: Vec::new(), advice: Vec::new() }
    }

    fn size(&mut self, pool: usize, min: u32, max: u32) -> Answer {
        let scenario = self.scenario;
        let name = &scenario.pools[pool].name;
        let way = move |count| {
            let mut way = Way { stops_at_failure: true, ..Way::of(scenario) };
            way.counts[pool] = count;
            way
        };
        let mut search = Search { tried: BTreeMap::new(), way: Box::new(way) };
        let found = self.smallest(&mut search, min, max, scenario.pools[pool].count, 1);
        let tried = search.tried();
        let Some(count) = found else {
            let told =
                Told { name: format!("{max} of {name}"), outcomes: search.tried.remove(&max).unwrap_or_default() };
            let why = told.first_failure(scenario).unwrap_or_default();
            let headline = format!("No number of {name} up to {max} is enough: even with {max}, {why}.");
            return Answer { headline, facts: Vec::new(), told: vec![told], tried, advice: Vec::new() };
        };
        let told =
            Told { name: format!("{count} of {name}"), outcomes: search.tried.remove(&count).unwrap_or_default() };
        let mut facts = vec![Fact::new("kept in", self.interval(&told))];
        let fewer = search.tried.range(..count).next_back();
        if let Some((fewer, outcomes)) = fewer {
            let fewer_told = Told { name: String::new(), outcomes: outcomes.clone() };
            if let Some(failure) = fewer_told.first_failure(scenario) {
                facts.push(Fact::new("what binds", format!("with {fewer}, {failure}")));
            }
        }
        if search.tried.range(count..).any(|(_, outcomes)| !self.is_enough(outcomes)) {
            facts.push(Fact::new("beware", "a larger size that was tried is not enough: packing is not monotone here"));
        }
        let headline =
            format!("{count} machines of {name} are enough to keep every limit for {} weeks.", scenario.weeks());
        Answer { headline, facts, told: vec![told], tried, advice: Vec::new() }
    }

    fn order_by(&mut self, pool: usize, cover: Option<Duration>, max: u32) -> Answer {
        let scenario = self.scenario;
        let end = Way::of(scenario).until;
        let mut way = Way { stops_at_failure: true, ..Way::of(scenario) };
        let mut answer = Answer {
            headline: String::new(),
            facts: Vec::new(),
            told: Vec::new(),
            tried: Vec::new(),
            advice: Vec::new(),
        };
        let without = self.run(&way, "without an order");
        let mut week = self.failing_week(&without);
        let mut without = Told { name: "without an order".to_owned(), outcomes: without };
        let first_failure = without.first_failure(scenario);
        while let Some(needed) = week.filter(|_| answer.advice.len() < ORDERS_MAX) {
            let until = cover.map_or(end, |cover| (week_start(needed) + cover).min(end));
            let Some(advice) = self.one_order(&mut way, pool, needed, until, max, &mut answer.tried) else {
                answer.headline = format!(
                    "No single order of up to {max} {} is enough: {}.",
                    scenario.pools[pool].name,
                    first_failure.clone().unwrap_or_default()
                );
                answer.told.push(without);
                return answer;
            };
            answer.advice.push(advice);
            week = if until < end { self.failing_week(&self.quietly(&way)) } else { None };
        }
        (way.stops_at_failure, way.judged_from) = (false, 0);
        let outcomes = self.run(&way, "with what is ordered");
        let with = Told { name: "with what is ordered".to_owned(), outcomes };
        self.headline_of_orders(&mut answer, pool, first_failure.as_deref());
        answer.facts.push(Fact::new("kept in", self.interval(&with)));
        answer.told.push(with);
        without.outcomes.iter_mut().for_each(|outcome| outcome.weeks.truncate(scenario.weeks()));
        answer.told.push(without);
        answer
    }

    /// The smallest order that keeps the limits until `until`, which is then part of the way.
    fn one_order(
        &mut self,
        way: &mut Way<'a>,
        pool: usize,
        needed: usize,
        until: Time,
        max: u32,
        tried: &mut Vec<Tried>,
    ) -> Option<Advice> {
        let scenario = self.scenario;
        let supply = scenario.pools[pool].supply.as_ref()?;
        let lead = supply.lead_time.quantile(scenario.confidence);
        let arrives = week_start(needed).max(Time::ZERO + lead);
        // What comes too late can't keep limits before it comes: it is judged from the week after.
        let late = (arrives.0 > week_start(needed).0).then(|| super::outcome::week_of(arrives) + 1);
        way.judged_from = late.unwrap_or(way.judged_from);
        let base = Way { until, ..way.clone() };
        let with = move |count| {
            let mut way = base.clone();
            way.deliveries.push((pool, count, arrives));
            way
        };
        let batch = supply.batch;
        let mut search = Search { tried: BTreeMap::new(), way: Box::new(with) };
        let guess = self.guess(pool, needed, until).div_ceil(batch).max(1) * batch;
        let found = self.smallest(&mut search, 0, max.div_ceil(batch) * batch, guess, batch);
        tried.extend(search.tried());
        let count = found?;
        way.deliveries.push((pool, count, arrives));
        let order_by = week_start(needed).0 as f64 - lead.as_micros() as f64;
        Some(Advice {
            pool: scenario.pools[pool].name.to_string(),
            count,
            needed_week: needed,
            needed: scenario.date(week_start(needed)),
            order_by: scenario.start.plus_days((order_by / 86_400e6).floor() as i64),
            slack_weeks: order_by / (WEEK.as_micros() as f64),
        })
    }

    /// How many machines the growth of demand from that week on asks for.
    fn guess(&self, pool: usize, needed: usize, until: Time) -> u32 {
        let scenario = self.scenario;
        let each = f64::from(scenario.pools[pool].gpus.max(1));
        let all: f64 = scenario.pools.iter().map(|pool| f64::from(pool.count) * f64::from(pool.gpus.max(1))).sum();
        let years = until.since(week_start(needed)).as_secs_f64() / super::units::YEAR.as_secs_f64();
        let growth = scenario.workloads.iter().map(|workload| workload.growth_a_year.powf(years)).fold(1.0, f64::max);
        (all * (growth - 1.0) / each) as u32
    }

    fn headline_of_orders(&self, answer: &mut Answer, pool: usize, first_failure: Option<&str>) {
        let scenario = self.scenario;
        let pool = &scenario.pools[pool];
        let Some(first) = answer.advice.first() else {
            answer.headline = format!("No order is needed: every limit is kept for {} weeks.", scenario.weeks());
            return;
        };
        let lead = pool.supply.as_ref().map_or(Duration::ZERO, |supply| supply.lead_time.quantile(scenario.confidence));
        let without = first_failure.unwrap_or("a limit is not kept");
        answer.headline = match first.slack_weeks < 0.0 {
            false => format!(
                "Order {} machines of {} by {} (week {}), or {without}.",
                first.count,
                pool.name,
                first.order_by,
                first.slack_weeks.floor() as i64 + 1
            ),
            true => format!(
                "Order {} machines of {} at once: they come {:.0} weeks too late, {without} without them.",
                first.count, pool.name, -first.slack_weeks
            ),
        };
        answer.facts.push(Fact::new(
            "lead time",
            format!(
                "{}, within which {:.0} % of deliveries come",
                in_words(lead.as_secs_f64()),
                scenario.confidence * 100.0
            ),
        ));
        if let Some(supply) = &pool.supply {
            let price = f64::from(first.count) * supply.price;
            answer.facts.push(Fact::new("price of the order", format!("{} {}", money(price), scenario.currency)));
        }
    }

    fn compare(&mut self, variants: &[Variant]) -> Answer {
        let scenario = self.scenario;
        let told = self.tell(variants);
        let mut facts = Vec::new();
        let (mut better, mut differs) = (Vec::new(), false);
        for other in &told[1..] {
            for (workload, of) in scenario.workloads.iter().enumerate() {
                for (name, measure) in measures(workload) {
                    let differences: Vec<f64> =
                        other.outcomes.iter().zip(&told[0].outcomes).map(|(a, b)| measure(a) - measure(b)).collect();
                    let (mean, low, high) = interval_of_mean(&differences);
                    let is_none = low <= 0.0 && high >= 0.0;
                    differs |= !is_none;
                    if !is_none && name == WORST {
                        better.push((mean, other.name.clone(), of.name.clone()));
                    }
                    let verdict = if is_none {
                        "no difference"
                    } else if mean < 0.0 {
                        "shorter"
                    } else {
                        "longer"
                    };
                    let text = format!("{verdict}: {} ({} to {})", signed(mean), signed(low), signed(high));
                    facts.push(Fact::new(&format!("{}, {}, {name}", other.name, of.name), text));
                }
            }
        }
        let headline = match better.iter().min_by(|a, b| a.0.total_cmp(&b.0)) {
            Some((mean, name, of)) if *mean < 0.0 => {
                format!(
                    "{name} is better than {}: the worst week's p95 wait of {of} is {} shorter.",
                    told[0].name,
                    in_words(-mean)
                )
            }
            Some(_) => format!("{} is better than the others.", told[0].name),
            None if differs => format!("No way changes the worst week of {}; the means differ.", told[0].name),
            None => format!("No way differs from {} by more than chance.", told[0].name),
        };
        Answer { headline, facts, told, tried: Vec::new(), advice: Vec::new() }
    }

    fn cost(&mut self, variants: &[Variant]) -> Answer {
        let scenario = self.scenario;
        let told = self.tell(variants);
        let total = |told: &Told| told.mean(|outcome| outcome.costs.total());
        let mut facts = Vec::new();
        for way in &told {
            let kept = way.first_failure(scenario).unwrap_or_else(|| "every limit is kept".to_owned());
            let text = format!("{} {} in {} weeks; {kept}", money(total(way)), scenario.currency, scenario.weeks());
            facts.push(Fact::new(&way.name, text));
        }
        for way in &told {
            if let Some(text) = self.break_even(&told[0], way) {
                facts.push(Fact::new("break-even", text));
            }
            let redone = way.mean(|outcome| outcome.redone_hours);
            if redone > 0.0 {
                let unit = if scenario.counts_gpus() { "GPU-hours" } else { "core-hours" };
                facts
                    .push(Fact::new("work done again", format!("{}: {redone:.0} {unit} lost with machines", way.name)));
            }
        }
        let good = told.iter().filter(|way| self.is_enough(&way.outcomes));
        let cheapest = good.min_by(|a, b| total(a).total_cmp(&total(b)));
        let saved = |way: &Told| money((total(way) - total(&told[0])).abs());
        let headline = match cheapest {
            None => format!(
                "No way keeps every limit; {} costs {} {}.",
                told[0].name,
                money(total(&told[0])),
                scenario.currency
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
        Answer { headline, facts, told, tried: Vec::new(), advice: Vec::new() }
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
        Some(format!(
            "below {part:.2} of the on-demand price \"{}\" is cheaper than \"{}\"; it pays {paid:.2} in the mean",
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
            Told { name: variant.name.clone(), outcomes: self.run(&way, &variant.name) }
        };
        variants.iter().map(tell).collect()
    }

    /// The smallest size from `min` to `max`, in steps, that is enough. Packing is not monotone: those just below are looked at too.
    fn smallest(&mut self, search: &mut Search<'_>, min: u32, max: u32, guess: u32, step: u32) -> Option<u32> {
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

    /// Whether so many of the runs as are asked for kept every limit.
    fn is_enough(&self, outcomes: &[Outcome]) -> bool {
        let kept = outcomes.iter().filter(|outcome| outcome.failures.is_empty()).count();
        kept as f64 >= self.scenario.confidence * outcomes.len() as f64 - 1e-9
    }

    /// The first week by whose end more runs have passed a limit than may.
    fn failing_week(&self, outcomes: &[Outcome]) -> Option<usize> {
        let mut weeks: Vec<usize> =
            outcomes.iter().filter_map(|outcome| Some(outcome.failures.first()?.week)).collect();
        weeks.sort_unstable();
        let may = ((1.0 - self.scenario.confidence) * outcomes.len() as f64 + 1e-9) as usize;
        weeks.get(may).copied()
    }

    fn quietly(&self, way: &Way<'_>) -> Vec<Outcome> {
        runs(way, self.scenario.seeds)
    }

    /// In how many runs every limit was kept, and what that says of others: the interval of Wilson at 95 %.
    fn interval(&self, told: &Told) -> String {
        let (kept, runs) = (told.kept(), told.outcomes.len());
        let (low, high) = wilson(kept, runs);
        format!("{kept} of {runs} runs ({:.0} to {:.0} % of all, with 95 % confidence)", low * 100.0, high * 100.0)
    }
}

impl Search<'_> {
    fn tried(&self) -> Vec<Tried> {
        let kept = |outcomes: &[Outcome]| outcomes.iter().filter(|outcome| outcome.failures.is_empty()).count();
        self.tried
            .iter()
            .map(|(count, outcomes)| Tried { count: *count, kept: kept(outcomes), runs: outcomes.len() })
            .collect()
    }
}

/// The runs of all seeds, on as many threads as there are cores; by seed, so that the order does not matter.
fn runs(way: &Way<'_>, seeds: u64) -> Vec<Outcome> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(seeds as usize);
    let (next, done) = (AtomicU64::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    let outcome = way.run(seed);
                    done.lock().expect("no run panics while it holds the lock").insert(seed, outcome);
                }
            });
        }
    });
    done.into_inner().expect("every run has ended").into_values().collect()
}

fn week_start(week: usize) -> Time {
    Time::ZERO + WEEK * u32::try_from(week).unwrap_or(u32::MAX)
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

/// The mean, and between what it lies with 95 % confidence: by drawing the values again.
fn interval_of_mean(values: &[f64]) -> (f64, f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    let mut dice = Dice::child(values.len() as u64, "bootstrap");
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| values.iter().filter_map(|_| dice.pick(values)).sum::<f64>() / values.len().max(1) as f64)
        .collect();
    means.sort_by(f64::total_cmp);
    (mean, means[RESAMPLES / 40], means[RESAMPLES - 1 - RESAMPLES / 40])
}

fn wilson(kept: usize, runs: usize) -> (f64, f64) {
    let (n, p, z) = (runs.max(1) as f64, kept as f64 / runs.max(1) as f64, 1.96_f64);
    let middle = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    ((middle - half).max(0.0), (middle + half).min(1.0))
}

fn signed(seconds: f64) -> String {
    format!("{}{}", if seconds < 0.0 { "-" } else { "+" }, in_words(seconds.abs()))
}

/// An amount of money with its thousands apart.
pub(super) fn money(amount: f64) -> String {
    let digits = format!("{:.0}", amount.abs());
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if amount < 0.0 { format!("-{text}") } else { text }
}
