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
    /// The durations of the list summed up to each of its jobs, where they are drawn from it.
    lasting: Vec<f64>,
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
        let (mut rate, mut prefill, mut lasting) = (0.0, 0, Vec::new());
        if let Arrivals::Random { load, residence } = workload.arrivals {
            let there = match residence {
                Some(_) => load / size(workload).max(f64::MIN_POSITIVE),
                None => {
                    lasting = running_sums(workload);
                    load * mean_duration(&lasting) / held(workload).max(f64::MIN_POSITIVE)
                }
            };
            let stay = residence.map_or_else(|| mean_duration(&lasting), |residence| residence.as_secs_f64());
            rate = there / stay;
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
            lasting,
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

    fn random(&mut self, residence: Option<Duration>) -> Job {
        let is_prefill = self.prefill > 0;
        if is_prefill {
            self.prefill -= 1;
        } else {
            let gap = self.dice.exponential() / (self.rate * self.growth(self.now));
            self.now = self.now + Duration::from_secs_f64(gap.min(1e9));
        }
        let (ask, duration) = match residence {
            // What is there from the start has as long to go as what begins: the distribution has no memory.
            Some(residence) => {
                let ask = self.dice.count(0, self.jobs.len() - 1);
                (ask, residence.mul_f64(self.dice.exponential()))
            }
            None if is_prefill => self.under_way(),
            None => {
                let ask = self.dice.count(0, self.jobs.len() - 1);
                (ask, self.jobs[ask].duration)
            }
        };
        Job { submit: self.now, duration, ask, is_prefill }
    }

    /// A job that is found running: the longer one lasts the likelier, and at any moment of its time.
    fn under_way(&mut self) -> (usize, Duration) {
        let all = self.lasting.last().copied().unwrap_or_default();
        let drawn = self.dice.unit() * all;
        let ask = self.lasting.partition_point(|sum| *sum <= drawn).min(self.jobs.len() - 1);
        (ask, self.jobs[ask].duration.mul_f64(self.dice.unit()))
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
    mean_of(workload, |_| 1.0)
}

/// GPU-seconds of a job in the mean; core-seconds, if none asks for GPUs.
fn held(workload: &Workload) -> f64 {
    mean_of(workload, |job| job.duration.as_secs_f64())
}

fn mean_of(workload: &Workload, weight: impl Fn(&TraceJob) -> f64) -> f64 {
    let jobs = &workload.jobs;
    let sum = |of: &dyn Fn(&TraceJob) -> u64| -> f64 {
        let members = |at| u64::from(workload.traits_of(at).members);
        jobs.iter().enumerate().map(|(at, job)| (of(job) * members(at)) as f64 * weight(job)).sum()
    };
    let gpus = sum(&|job| u64::from(job.ask.gpus) * u64::from(job.ask.share.0));
    let all = if gpus > 0.0 { gpus } else { sum(&|job| job.ask.cpus.0) };
    all / 1000.0 / jobs.len().max(1) as f64
}

fn running_sums(workload: &Workload) -> Vec<f64> {
    let sum = |sum: &mut f64, job: &TraceJob| {
        *sum += job.duration.as_secs_f64();
        Some(*sum)
    };
    workload.jobs.iter().scan(0.0, sum).collect()
}

/// Of so many jobs, from the sums of their durations.
fn mean_duration(sums: &[f64]) -> f64 {
    sums.last().copied().unwrap_or_default() / sums.len().max(1) as f64
}
