//! How long jobs waited, and what became of each.

use std::collections::BTreeMap;

use rialto_core::model::Time;

use super::super::outcome::{Failure, Waits, week_of};
use super::super::records::JobRecord;
use super::super::sizes::SizeClass;
use super::{Crowd, Run};

/// The sizes of jobs of a week, and how long those of each waited.
pub(super) type BySize = Vec<(SizeClass, Waits)>;

impl Run<'_> {
    /// How long the jobs of each week waited, up to `now`.
    pub(super) fn waits(&self, crowd: &Crowd, now: Time) -> Vec<Waits> {
        let mut waits = crowd.waits.clone();
        let mut late = vec![0; waits.len()];
        for job in crowd.not_started().filter(|job| job.counts) {
            let week = week_of(job.submit);
            waits.resize(waits.len().max(week + 1), Vec::new());
            late.resize(waits.len(), 0);
            waits[week].push(now.since(job.submit).as_secs_f64());
            late[week] += 1;
        }
        late.resize(waits.len(), 0);
        waits.into_iter().zip(late).map(|(waits, late)| Waits::of(waits, late)).collect()
    }

    pub(super) fn failures(&self, now: Time) -> Vec<Failure> {
        let mut failures = Vec::new();
        for (workload, (crowd, of)) in self.crowds.iter().zip(&self.way.scenario.workloads).enumerate() {
            let Some(limit) = of.limit else { continue };
            for (week, waits) in self.waits(crowd, now).iter().enumerate().skip(self.way.judged_from) {
                let got = waits.percentile(limit.percentile);
                if got > limit.wait.as_secs_f64() {
                    failures.push(Failure { week, workload, limit, got });
                }
            }
        }
        failures.sort_by_key(|failure| (failure.week, failure.workload));
        failures
    }

    /// How long the jobs of each week waited, by their size.
    pub(super) fn waits_by_size(&self, crowd: &Crowd, now: Time) -> Vec<BySize> {
        let mut weeks: Vec<BTreeMap<SizeClass, (Vec<f64>, usize)>> = Vec::new();
        for job in crowd.jobs.iter().filter(|job| job.counts) {
            let is_over_unserved = job.started.is_none() && job.ended.is_some();
            if is_over_unserved {
                continue;
            }
            let week = week_of(job.submit);
            weeks.resize(weeks.len().max(week + 1), BTreeMap::new());
            let (waits, late) = weeks[week].entry(SizeClass::of(job.size, self.counts_gpus)).or_default();
            waits.push(job.started.unwrap_or(now).since(job.submit).as_secs_f64());
            *late += usize::from(job.started.is_none());
        }
        let of = |(size, (waits, late))| (size, Waits::of(waits, late));
        weeks.into_iter().map(|week| week.into_iter().map(of).collect()).collect()
    }

    /// What became of each job, by workload and submission.
    pub(super) fn jobs(&self) -> Vec<JobRecord> {
        let records = self.crowds.iter().enumerate().flat_map(|(workload, crowd)| {
            crowd.jobs.iter().enumerate().map(move |(number, known)| JobRecord {
                workload,
                listed: known.listed,
                submitted: known.submit,
                duration: known.duration,
                is_prefill: !known.counts,
                started: known.started,
                started_last: known.started_last,
                waits: crowd.waiting.contains(&number),
                ended: known.ended.map(|(at, _)| at),
                end: known.ended.map(|(_, end)| end),
                starts: known.starts,
                interruptions: known.interruptions,
                why: known.why,
                size: known.size,
            })
        });
        records.collect()
    }
}
