use std::collections::BTreeSet;

use crate::plan::Plan;
use crate::spec::{Mode, Shuffle, Source};

/// The partitions that could start now, by stage.
#[derive(Debug)]
pub(super) struct Ready(Vec<BTreeSet<u32>>);

impl Ready {
    /// At the start those that read files are.
    pub(super) fn new(plan: &Plan) -> Self {
        let first = |(at, stage): (usize, &crate::spec::Stage)| match stage.source {
            Source::Files { .. } => (0..plan.partitions[at]).collect(),
            Source::Stages { .. } => BTreeSet::new(),
        };
        Self(plan.job.stages.iter().enumerate().map(first).collect())
    }

    /// The stages that have some, last first: what is far along is brought to its end before something new is begun.
    pub(super) fn stages(&self) -> Vec<usize> {
        (0..self.0.len()).rev().filter(|stage| !self.0[*stage].is_empty()).collect()
    }

    /// The first of `stage`.
    pub(super) fn first(&self, stage: usize) -> Option<u32> {
        self.0[stage].first().copied()
    }

    /// How many `stage` has.
    pub(super) fn count(&self, stage: usize) -> u32 {
        u32::try_from(self.0[stage].len()).unwrap_or(u32::MAX)
    }

    pub(super) fn insert(&mut self, stage: usize, partition: u32) {
        self.0[stage].insert(partition);
    }

    pub(super) fn remove(&mut self, stage: usize, partition: u32) {
        self.0[stage].remove(&partition);
    }

    /// Partition `partition` of `stage` is done, as `is_done` knows already: adds what can start now because of that.
    pub(super) fn after(&mut self, plan: &Plan, stage: usize, partition: u32, is_done: impl Fn(usize, u32) -> bool) {
        for reader in plan.readers(stage) {
            let Source::Stages { from, shuffle } = &plan.job.stages[reader].source else { continue };
            let pipelined = *shuffle == Shuffle::OneToOne && plan.job.stages[reader].mode == Mode::Pipelined;
            if pipelined {
                if from.iter().all(|read| is_done(*read, partition)) {
                    self.insert(reader, partition);
                }
            } else if from.iter().all(|read| (0..plan.partitions[*read]).all(|part| is_done(*read, part))) {
                self.0[reader].extend(0..plan.partitions[reader]);
            }
        }
    }
}
