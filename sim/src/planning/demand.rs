//! The jobs of a run, one after the other: how many there are follows growth, when they come and how large they are the random numbers.

use std::sync::Arc;
use std::time::Duration;

use rialto_core::model::Time;

use super::jobs::TraceJob;
use super::scenario::{Arrivals, Begins, Workload};
use super::units::YEAR;
use crate::dice::Dice;

/// A job that is submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) submit: Time,
    pub(super) duration: Duration,
    /// What it asks for, by its place in the workload's list.
    pub(super) ask: usize,
    /// Whether it is there from the start: then nobody waits for it.
    pub(super) is_prefill: bool,
}

/// The jobs of one workload.
#[derive(Debug)]
pub(super) struct Stream {
    jobs: Arc<[TraceJob]>,
    arrivals: Arrivals,
    growth_a_year: f64,
    dice: Dice,
    now: Time,
    /// Jobs a second at the start, where they come at random.
    rate: f64,
    /// How many are to be there from the start.
    prefill: u64,
    /// How many of the list are.
    there: usize,
    /// The next of the list, how often it has been gone through, and when it began last.
    next: usize,
    rounds: u32,
    began: Time,
    /// How many more of the last one.
    copies: u64,
}

impl Stream {
    pub(super) fn new(workload: &Workload, seed: u64) -> Self {
        let (mut rate, mut prefill) = (0.0, 0);
        if let Arrivals::Random { load, residence } = workload.arrivals {
            let there = load / size(workload).max(f64::MIN_POSITIVE);
            rate = there / residence.as_secs_f64();
            prefill = if workload.begins == Begins::Empty { 0 } else { there.round() as u64 };
        }
        Self {
            jobs: workload.jobs.clone(),
            arrivals: workload.arrivals,
            growth_a_year: workload.growth_a_year,
            dice: Dice::child(seed, &workload.name),
            now: Time::ZERO,
            rate,
            prefill,
            there: if let Begins::With(there) = workload.begins { there } else { 0 },
            next: 0,
            rounds: 0,
            began: Time::ZERO,
            copies: 0,
        }
    }

    /// How much more there is than at the start.
    fn growth(&self, at: Time) -> f64 {
        self.growth_a_year.powf(at.since(Time::ZERO).as_secs_f64() / YEAR.as_secs_f64())
    }

    fn random(&mut self, residence: Duration) -> Job {
        let is_prefill = self.prefill > 0;
        if is_prefill {
            self.prefill -= 1;
        } else {
            let gap = self.dice.exponential() / (self.rate * self.growth(self.now));
            self.now = self.now + Duration::from_secs_f64(gap.min(1e9));
        }
        let ask = self.dice.count(0, self.jobs.len() - 1);
        // What is there from the start has as long to go as what begins: the distribution has no memory.
        let duration = residence.mul_f64(self.dice.exponential());
        Job { submit: self.now, duration, ask, is_prefill }
    }

    fn replayed(&mut self, factor: f64, repeats_after: Option<Duration>) -> Option<Job> {
        while self.copies == 0 {
            if self.next == self.jobs.len() {
                self.began = self.began + repeats_after?;
                (self.next, self.rounds) = (0, self.rounds + 1);
            }
            self.now = self.began + self.jobs[self.next].submit;
            self.next += 1;
            let wanted = factor * self.growth(self.now);
            self.copies = wanted as u64 + u64::from(self.dice.unit() < wanted.fract());
            if self.rounds > ROUNDS_MAX {
                return None;
            }
        }
        self.copies -= 1;
        let ask = self.next - 1;
        Some(Job { submit: self.now, duration: self.jobs[ask].duration, ask, is_prefill: ask < self.there })
    }
}

/// A list that is repeated more often has nothing in it.
const ROUNDS_MAX: u32 = 1_000_000;

impl Iterator for Stream {
    type Item = Job;

    fn next(&mut self) -> Option<Job> {
        match self.arrivals {
            _ if self.jobs.is_empty() => None,
            Arrivals::Random { residence, .. } => Some(self.random(residence)),
            Arrivals::Replayed { factor, repeats_after } => self.replayed(factor, repeats_after),
        }
    }
}

/// GPUs of a job in the mean; cores, if none asks for GPUs.
fn size(workload: &Workload) -> f64 {
    let jobs = &workload.jobs;
    let sum = |of: &dyn Fn(&TraceJob) -> u64| -> u64 {
        jobs.iter().enumerate().map(|(at, job)| of(job) * u64::from(workload.members_of(at))).sum()
    };
    let gpus = sum(&|job| u64::from(job.ask.gpus) * u64::from(job.ask.share.0));
    let cores = sum(&|job| job.ask.cpus.0);
    let all = if gpus > 0 { gpus } else { cores };
    all as f64 / 1000.0 / jobs.len().max(1) as f64
}
