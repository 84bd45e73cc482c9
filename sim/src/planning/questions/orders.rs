//! When what must be ordered.

use std::collections::BTreeMap;
use std::time::Duration;

use rialto_core::model::Time;

use super::super::answer::{Advice, Answer, Fact, Told, Tried};
use super::super::milestones::milestones;
use super::super::outcome::week_of;
use super::super::run::Way;
use super::super::units::{WEEK, YEAR, in_words};
use super::sizes::Search;
use super::{Asker, money, week_start};

/// No plan has more orders.
const ORDERS_MAX: usize = 12;

impl<'a> Asker<'a> {
    pub(super) fn order_by(&mut self, pool: usize, cover: Option<Duration>, max: u32) -> Answer {
        let scenario = self.scenario;
        let end = Way::of(scenario).until;
        let mut way = Way { stops_at_failure: true, ..Way::of(scenario) };
        let mut answer = Answer::new("");
        let without = self.run(&way, "without an order");
        let mut week = self.failing_week(&without);
        let mut without = Told { name: "without an order".to_owned(), milestones: milestones(&way), outcomes: without };
        let first_failure = without.first_failure(scenario);
        while let Some(needed) = week.filter(|_| answer.advice.len() < ORDERS_MAX) {
            let until = cover.map_or(end, |cover| (week_start(needed) + cover).min(end));
            let Some(advice) = self.one_order(&mut way, pool, needed, until, max, &mut answer.tried) else {
                answer.headline = format!(
                    "No single order of up to {max} {} is enough: {}.",
                    scenario.pools[pool].name,
                    first_failure.clone().unwrap_or_default()
                );
                self.with_jobs(&mut without, &Way { stops_at_failure: true, ..Way::of(scenario) });
                answer.told.push(without);
                return answer;
            };
            answer.advice.push(advice);
            week = if until < end { self.failing_week(&self.quietly(&way)) } else { None };
        }
        let judged_from = std::mem::replace(&mut way.judged_from, scenario.warmup_weeks);
        way.stops_at_failure = false;
        let with = self.told("with what is ordered", &way);
        self.headline_of_orders(&mut answer, pool, first_failure.as_deref());
        answer.facts.push(self.how_sure(&with, judged_from));
        if let [only] = &answer.advice[..] {
            answer.facts.extend(self.how_sharp(&answer.tried, only.count));
        }
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
        let late = (arrives.0 > week_start(needed).0).then(|| week_of(arrives) + 1);
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
            arrives: scenario.date(arrives),
            order_by: scenario.start.plus_days((order_by / 86_400e6).floor() as i64),
            slack_weeks: order_by / (WEEK.as_micros() as f64),
            late: supply.lead_time.later_than(lead.min(week_start(needed).since(Time::ZERO))),
        })
    }

    /// How many machines the growth of demand from that week on asks for.
    fn guess(&self, pool: usize, needed: usize, until: Time) -> u32 {
        let scenario = self.scenario;
        let each = f64::from(scenario.pools[pool].gpus.max(1));
        let all: f64 = scenario.pools.iter().map(|pool| f64::from(pool.count) * f64::from(pool.gpus.max(1))).sum();
        let years = until.since(week_start(needed)).as_secs_f64() / YEAR.as_secs_f64();
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
                "Order {} machines of {} at once: they come {} later than they are needed, and until then {without}.",
                first.count,
                pool.name,
                in_words(-first.slack_weeks * WEEK.as_secs_f64())
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
}
