//! The machines of a run: who joins when, fails, is repaired, is rented and taken away, and what that costs.

use std::collections::BTreeMap;
use std::time::Duration;

use rialto_core::model::{PriceClass, Resources, Time};

use super::prices::OWNED;
use super::scenario::{LeadTime, Order, Pool, Rent, Rental, Scenario};
use crate::dice::Dice;
use crate::market::Machine;

/// The part of a log-normal distribution that lies below its 90 % quantile, in standard deviations.
const Z90: f64 = 1.281_551_565_5;
const HOUR: f64 = 3600.0;

/// How a machine came to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Owned,
    Bought,
    Rented { until: Option<Time> },
}

/// One machine.
#[derive(Debug)]
struct Unit {
    pool: usize,
    origin: Origin,
    up_since: Option<Time>,
    /// Whether it is to go, or has gone, for good.
    is_retired: bool,
    record: MachineRecord,
}

/// What became of one machine.
#[derive(Clone, Debug, PartialEq)]
pub struct MachineRecord {
    /// The pool, by its place in the scenario.
    pub pool: usize,
    /// Its name.
    pub name: String,
    /// `owned`, `bought` or `rented`.
    pub how: &'static str,
    /// When it came.
    pub came: Time,
    /// When it was gone for good, if it was.
    pub left: Option<Time>,
    /// For how many hours it was there to be used.
    pub up_hours: f64,
    /// How often it failed, or was taken away and came back.
    pub times_down: u32,
}

/// What happens to the fleet.
#[derive(Clone, Copy, Debug)]
enum Event {
    Come { pool: usize, count: u32, origin: Origin },
    Notice(usize, Duration),
    Fail(usize),
    Back(usize),
    Leave(usize),
}

/// What is to be done in the market.
#[derive(Debug)]
pub(super) enum Change {
    /// With how it is paid for.
    Join(Machine, PriceClass),
    /// It will be taken away after so long.
    Notice(usize, Duration),
    Fail(usize),
    Repair(usize),
}

/// What machines cost over a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Costs {
    /// The part of the price of what was bought that falls into the time it was there.
    pub bought: f64,
    /// Running what was bought.
    pub running: f64,
    /// Rent.
    pub rented: f64,
    /// What it costs not to take what is on order.
    pub cancelled: f64,
    /// The whole price of what was bought.
    pub purchase: f64,
    /// Machine-hours of what was bought.
    pub bought_hours: f64,
    /// Machine-hours of what was rented.
    pub rented_hours: f64,
    /// The rent of the same hours at the price without any discount.
    pub rented_on_demand: f64,
}

impl Costs {
    /// All together, in the time looked at.
    pub fn total(&self) -> f64 {
        self.bought + self.running + self.rented + self.cancelled
    }
}

#[derive(Debug)]
pub(super) struct Fleet<'a> {
    pub(super) costs: Costs,
    pools: &'a [Pool],
    units: Vec<Unit>,
    events: BTreeMap<(Time, u64), Event>,
    seq: u64,
    dice: Dice,
    /// How many of each pool came so far, for their names.
    named: Vec<u32>,
}

impl<'a> Fleet<'a> {
    /// A fleet that begins with `counts` of each pool.
    pub(super) fn new(pools: &'a [Pool], counts: &[u32], seed: u64) -> Self {
        let mut fleet = Self {
            costs: Costs::default(),
            pools,
            units: Vec::new(),
            events: BTreeMap::new(),
            seq: 0,
            dice: Dice::child(seed, "fleet"),
            named: vec![0; pools.len()],
        };
        for (pool, count) in counts.iter().enumerate() {
            fleet.at(Time::ZERO, Event::Come { pool, count: *count, origin: Origin::Owned });
        }
        fleet
    }

    /// Machines that are bought. `number` tells orders apart, so that each has a delivery of its own that is the same in every variant.
    pub(super) fn order(&mut self, order: &Order, seed: u64, number: usize) {
        let Some(supply) = &self.pools[order.pool].supply else { return };
        let arrives = order.placed + lead_time(supply.lead_time, &mut Dice::child(seed, &format!("order-{number}")));
        self.deliver(order.pool, order.count, arrives);
    }

    /// Machines that were bought arrive.
    pub(super) fn deliver(&mut self, pool: usize, count: u32, arrives: Time) {
        self.at(arrives, Event::Come { pool, count, origin: Origin::Bought });
    }

    pub(super) fn rent(&mut self, rent: &Rent) {
        self.at(
            rent.from,
            Event::Come { pool: rent.pool, count: rent.count, origin: Origin::Rented { until: rent.until } },
        );
    }

    /// Machines of a pool that are owned go out of service after `notice`, the oldest first.
    pub(super) fn retire(&mut self, now: Time, pool: usize, count: u32, notice: Duration) {
        let is_owned = |unit: &Unit| unit.pool == pool && !matches!(unit.origin, Origin::Rented { .. });
        let going = (0..self.units.len()).filter(|unit| is_owned(&self.units[*unit]) && !self.units[*unit].is_retired);
        let going: Vec<usize> = going.take(count as usize).collect();
        for unit in going {
            self.units[unit].is_retired = true;
            if !notice.is_zero() {
                self.at(now, Event::Notice(unit, notice));
            }
            self.at(now + notice, Event::Leave(unit));
        }
    }

    /// When the next thing happens.
    pub(super) fn next(&self) -> Option<Time> {
        self.events.first_key_value().map(|((at, _), _)| *at)
    }

    /// What happens at `now`.
    pub(super) fn step(&mut self, now: Time) -> Vec<Change> {
        let mut changes = Vec::new();
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= now) {
            match entry.remove() {
                Event::Come { pool, count, origin } => {
                    (0..count).for_each(|_| changes.push(self.come(now, pool, origin)));
                }
                Event::Notice(unit, after) => changes.push(Change::Notice(unit, after)),
                Event::Fail(unit) => {
                    if self.goes_down(now, unit) {
                        self.units[unit].record.times_down += 1;
                        changes.push(Change::Fail(unit));
                        let away = self.away(unit);
                        self.at(now + away, Event::Back(unit));
                    }
                }
                Event::Back(unit) => {
                    self.units[unit].up_since = Some(now);
                    self.will_fail(now, unit);
                    changes.push(Change::Repair(unit));
                }
                Event::Leave(unit) => {
                    if self.goes_down(now, unit) {
                        changes.push(Change::Fail(unit));
                    }
                    self.units[unit].record.left = Some(now);
                    // It neither fails nor comes back after this.
                    self.events
                        .retain(|_, event| !matches!(event, Event::Notice(other, _) | Event::Fail(other) | Event::Back(other) if *other == unit));
                }
            }
        }
        changes
    }

    /// The run ends: what is still there has cost until now.
    pub(super) fn end(&mut self, now: Time) {
        for unit in 0..self.units.len() {
            self.goes_down(now, unit);
        }
    }

    /// What became of each machine, as they came.
    pub(super) fn records(self) -> Vec<MachineRecord> {
        self.units.into_iter().map(|unit| unit.record).collect()
    }

    /// Of which pool a machine is.
    pub(super) fn pool_of(&self, unit: usize) -> usize {
        self.units[unit].pool
    }

    /// How many machines of each pool are there.
    pub(super) fn up(&self) -> Vec<u32> {
        let mut up = vec![0; self.pools.len()];
        self.units.iter().filter(|unit| unit.up_since.is_some()).for_each(|unit| up[unit.pool] += 1);
        up
    }

    fn at(&mut self, at: Time, event: Event) {
        self.seq += 1;
        self.events.insert((at, self.seq), event);
    }

    fn come(&mut self, now: Time, pool: usize, origin: Origin) -> Change {
        let unit = self.units.len();
        self.named[pool] += 1;
        let machine = machine(&self.pools[pool], self.named[pool]);
        let how = match origin {
            Origin::Owned => "owned",
            Origin::Bought => "bought",
            Origin::Rented { .. } => "rented",
        };
        let record = MachineRecord {
            pool,
            name: machine.name.clone(),
            how,
            came: now,
            left: None,
            up_hours: 0.0,
            times_down: 0,
        };
        self.units.push(Unit { pool, origin, up_since: Some(now), is_retired: false, record });
        self.will_fail(now, unit);
        if let Origin::Rented { until: Some(until) } = origin {
            self.at(until, Event::Leave(unit));
            self.say_before(now, until, unit);
        }
        if let (Origin::Bought, Some(supply)) = (origin, &self.pools[pool].supply) {
            self.costs.purchase += supply.price;
        }
        let class = match (origin, &self.pools[pool].rental) {
            (Origin::Rented { .. }, Some(rental)) => rental.class(),
            _ => OWNED,
        };
        Change::Join(machine, class)
    }

    fn will_fail(&mut self, now: Time, unit: usize) {
        let pool = &self.pools[self.units[unit].pool];
        let at = match (self.units[unit].origin, &pool.rental) {
            (Origin::Rented { .. }, Some(rental)) if rental.interruptions.is_any() => {
                rental.interruptions.expected_by(now, self.dice.exponential())
            }
            (Origin::Rented { .. }, _) => None,
            _ => pool
                .mtbf
                .map(|mtbf| now + Duration::from_secs_f64((self.dice.exponential() * mtbf.as_secs_f64()).min(1e10))),
        };
        if let Some(at) = at {
            self.at(at, Event::Fail(unit));
            self.say_before(now, at, unit);
        }
    }

    /// That a rented machine is taken away is said before.
    fn say_before(&mut self, now: Time, taken: Time, unit: usize) {
        let Unit { pool, origin, .. } = &self.units[unit];
        let (pool, origin) = (*pool, *origin);
        let rental = self.pools[pool].rental.as_ref().filter(|_| matches!(origin, Origin::Rented { .. }));
        let Some(notice) = rental.map(|rental| rental.notice).filter(|notice| !notice.is_zero()) else { return };
        let before = taken.since(Time::ZERO).saturating_sub(notice);
        self.at((Time::ZERO + before).max(now), Event::Notice(unit, notice));
    }

    fn away(&self, unit: usize) -> Duration {
        let pool = &self.pools[self.units[unit].pool];
        match (self.units[unit].origin, &pool.rental) {
            (Origin::Rented { .. }, Some(rental)) => rental.boot,
            _ => pool.repair,
        }
    }

    /// Whether it was up. What it has cost is added up.
    fn goes_down(&mut self, now: Time, number: usize) -> bool {
        let unit = &mut self.units[number];
        let Some(since) = unit.up_since.take() else { return false };
        let pool = &self.pools[unit.pool];
        let hours = now.since(since).as_secs_f64() / HOUR;
        unit.record.up_hours += hours;
        match unit.origin {
            Origin::Owned => {}
            Origin::Bought => {
                let Some(supply) = &pool.supply else { return true };
                self.costs.bought_hours += hours;
                self.costs.bought += supply.price * hours * HOUR / supply.life.as_secs_f64();
                self.costs.running += supply.running_cost * hours;
            }
            Origin::Rented { .. } => {
                let Some(rental) = &pool.rental else { return true };
                self.costs.rented_hours += hours;
                self.costs.rented += rental.on_demand * discounted_hours(rental, since, now);
                self.costs.rented_on_demand += rental.on_demand * hours;
            }
        }
        true
    }
}

/// The hours between two moments, each counted as the part of the price that is asked then.
fn discounted_hours(rental: &Rental, from: Time, to: Time) -> f64 {
    let starts = std::iter::once((Time::ZERO, 1.0)).chain(rental.steps.iter().copied());
    let ends = rental.steps.iter().map(|(at, _)| *at).chain(std::iter::once(to));
    let parts =
        starts.zip(ends).map(|((start, part), end)| part * end.min(to).since(start.max(from)).as_secs_f64() / HOUR);
    parts.sum()
}

/// How long a delivery takes.
fn lead_time(lead: LeadTime, dice: &mut Dice) -> Duration {
    match lead {
        LeadTime::Fixed(span) => span,
        LeadTime::Quantiles { p50, p90 } => {
            let sigma = (p90.as_secs_f64() / p50.as_secs_f64()).ln() / Z90;
            p50.mul_f64((sigma * dice.normal()).exp().min(100.0))
        }
    }
}

impl LeadTime {
    /// The time within which `part` of the deliveries are there.
    pub fn quantile(self, part: f64) -> Duration {
        match self {
            Self::Fixed(span) => span,
            Self::Quantiles { p50, p90 } => {
                let sigma = (p90.as_secs_f64() / p50.as_secs_f64()).ln() / Z90;
                p50.mul_f64((sigma * standard_quantile(part.clamp(0.001, 0.999))).exp())
            }
        }
    }

    /// The part of the deliveries that take longer than `span`.
    pub fn later_than(self, span: Duration) -> f64 {
        match self {
            Self::Fixed(lead) => f64::from(u8::from(lead > span)),
            Self::Quantiles { p50, p90 } => {
                let sigma = (p90.as_secs_f64() / p50.as_secs_f64()).ln() / Z90;
                let z = (span.as_secs_f64() / p50.as_secs_f64()).ln() / sigma.max(1e-9);
                standard_tail(z)
            }
        }
    }
}

/// The part of the standard normal distribution above `z`, to about 0.0000001: Zelen and Severo's approximation.
fn standard_tail(z: f64) -> f64 {
    let t = 1.0 / 0.231_641_9_f64.mul_add(z.abs(), 1.0);
    let factors = [0.319_381_530, -0.356_563_782, 1.781_477_937, -1.821_255_978, 1.330_274_429];
    let series = factors.iter().rev().fold(0.0, |sum: f64, factor| sum.mul_add(t, *factor)) * t;
    let tail = (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt() * series;
    if z < 0.0 { 1.0 - tail } else { tail }
}

/// The quantile of the standard normal distribution, to about 0.0005: Hastings' approximation.
fn standard_quantile(part: f64) -> f64 {
    let tail = part.min(1.0 - part);
    let t = (-2.0 * tail.ln()).sqrt();
    let upper = 0.010_328_f64.mul_add(t, 0.802_853).mul_add(t, 2.515_517);
    let lower = 0.001_308_f64.mul_add(t, 0.189_269).mul_add(t, 1.432_788).mul_add(t, 1.0);
    let z = t - upper / lower;
    if part < 0.5 { -z } else { z }
}

fn machine(pool: &Pool, number: u32) -> Machine {
    let name = format!("{}-{number:05}", pool.name);
    Machine::with_gpus(name, Resources::of(pool.cpus, pool.mem), pool.gpus, &pool.model)
}

impl Scenario {
    /// Whether GPUs are what is counted; else it is cores.
    pub fn counts_gpus(&self) -> bool {
        self.pools.iter().any(|pool| pool.gpus > 0)
            && self.workloads.iter().any(|workload| workload.jobs.iter().any(|job| job.ask.gpus > 0))
    }
}
