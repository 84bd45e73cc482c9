//! What workloads and pools hold and have waiting, week by week.

use rialto_core::model::Time;

use super::left::Left;
use super::outcome::{Integral, PoolUse, Queue};
use super::units::WEEK;

const DAYS: usize = 7;

/// Of one workload.
pub(super) struct Account {
    /// What all its jobs ask for that are there.
    pub(super) demand: Integral,
    /// What those that run hold.
    pub(super) held: Integral,
    /// How many wait, by day.
    waiting: Vec<u64>,
}

impl Account {
    pub(super) const fn new() -> Self {
        Self { demand: Integral::new(), held: Integral::new(), waiting: Vec::new() }
    }

    /// A job of that size is over, and `ran` up to now or not.
    pub(super) fn ends(&mut self, at: Time, size: f64, ran: bool) {
        self.demand.add(at, -size);
        if ran {
            self.held.add(at, -size);
        }
    }

    /// A job runs no more and waits again, if it did not before.
    pub(super) fn waits_again(&mut self, at: Time, size: f64, ran: bool) {
        if ran {
            self.held.add(at, -size);
        }
    }

    /// A day is over, and so many wait.
    pub(super) fn count(&mut self, waiting: usize) {
        self.waiting.push(waiting as u64);
    }

    pub(super) fn advance(&mut self, to: Time) {
        self.demand.advance(to);
        self.held.advance(to);
    }

    pub(super) fn week(&self, number: usize) -> Queue {
        let days = self.waiting.iter().skip(number * DAYS).take(DAYS);
        Queue {
            demand: self.demand.mean(number, WEEK),
            held: self.held.mean(number, WEEK),
            waiting: days.clone().sum::<u64>() as f64 / days.clone().count().max(1) as f64,
            waiting_most: days.max().copied().unwrap_or_default(),
        }
    }
}

/// What there is of each pool and what is given out, by day.
pub(super) struct PoolDays {
    pools: usize,
    days: Vec<Vec<PoolUse>>,
}

impl PoolDays {
    pub(super) const fn new(pools: usize) -> Self {
        Self { pools, days: Vec::new() }
    }

    /// A day is over.
    pub(super) fn count(&mut self, left: &Left) {
        let mut day = vec![PoolUse::default(); self.pools];
        for class in left.classes() {
            let (all, free) = (class.all, class.free);
            let there = PoolUse {
                gpus: all.gpus as f64 / 1000.0,
                gpus_used: all.gpus.saturating_sub(free.gpus) as f64 / 1000.0,
                cpus: all.cpus as f64 / 1000.0,
                cpus_used: all.cpus.saturating_sub(free.cpus) as f64 / 1000.0,
                mem_gib: in_gib(all.mem),
                mem_gib_used: in_gib(all.mem.saturating_sub(free.mem)),
            };
            day[class.kind.pool].add(&there, 1.0);
        }
        self.days.push(day);
    }

    /// In the mean of the days of a week.
    pub(super) fn week(&self, number: usize) -> Vec<PoolUse> {
        let days = self.days.iter().skip(number * DAYS).take(DAYS);
        let part = 1.0 / days.clone().count().max(1) as f64;
        let mut week = vec![PoolUse::default(); self.pools];
        days.for_each(|day| week.iter_mut().zip(day).for_each(|(sum, pool)| sum.add(pool, part)));
        week
    }
}

impl PoolUse {
    fn add(&mut self, other: &Self, part: f64) {
        self.gpus += other.gpus * part;
        self.gpus_used += other.gpus_used * part;
        self.cpus += other.cpus * part;
        self.cpus_used += other.cpus_used * part;
        self.mem_gib += other.mem_gib * part;
        self.mem_gib_used += other.mem_gib_used * part;
    }
}

/// From thousandths of MiB.
fn in_gib(amount: u64) -> f64 {
    amount as f64 / 1000.0 / 1024.0
}
