//! Fragmentation, and placement by its gradient.
//!
//! The idea and the measure are those of Weng et al., "Beware of Fragmentation" (USENIX ATC 2023). How much of a machine's idle GPU is
//! of no use is reckoned against the tasks that usually come: for each of them, all that is idle if the machine can't host it, else what
//! lies on GPUs with too little left for it. The average over the tasks is the machine's fragmentation; a task goes where it makes that
//! grow least.
//!
//! Scores are whole numbers from 0 to 99, so that places that differ by less than about 40 thousandths of a GPU tie, and the order of
//! the machines decides: that first fit among near equals is a large part of what the method gains.

use std::collections::BTreeMap;

use super::gpu::{GpuAsk, GpuNode, Models, Picked, Wanted, by_frequency};
use crate::model::{Milli, Share};

/// The part of a workload's tasks, in percent, that its typical tasks make up.
const TYPICAL_PERCENT: u64 = 95;

/// What a machine's idle GPUs are worth to the tasks that usually come.
#[derive(Clone, Debug)]
pub struct Fragmentation {
    models: Models,
    typical: Vec<(Wanted, u64)>,
    total: u64,
}

impl Fragmentation {
    /// Reckons against the typical ones of `tasks`: the most common until they make up 95 % of all. Memory is left aside.
    pub fn of_workload<'a>(tasks: impl IntoIterator<Item = &'a GpuAsk>) -> Self {
        let mut counts: BTreeMap<GpuAsk, u64> = BTreeMap::new();
        for task in tasks {
            *counts.entry(GpuAsk { mem: Milli::ZERO, ..task.clone() }).or_default() += 1;
        }
        let all: u64 = counts.values().sum();
        let mut counted: Vec<(GpuAsk, u64)> = counts.into_iter().collect();
        by_frequency(&mut counted);
        let mut models = Models::default();
        let (mut typical, mut total) = (Vec::new(), 0);
        for (ask, count) in counted {
            if total * 100 >= all * TYPICAL_PERCENT {
                break;
            }
            total += count;
            typical.push((models.compile(&ask), count));
        }
        Self { models, typical, total }
    }

    /// How many kinds of task are typical.
    pub fn typical(&self) -> usize {
        self.typical.len()
    }

    /// How many tasks are typical: what [`Fragmentation::weighted`] is to be divided by.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// The models that were met.
    pub const fn models(&mut self) -> &mut Models {
        &mut self.models
    }

    /// The fragmentation of a machine in thousandths of a GPU, times [`Fragmentation::total`].
    pub fn weighted(&self, node: &GpuNode) -> u64 {
        let idle = node.gpu_milli();
        if idle == 0 {
            return 0;
        }
        self.typical.iter().map(|(wanted, count)| count * lost_to(wanted, node, idle)).sum()
    }

    /// The GPUs that a task which fits gets, and by how much the weighted fragmentation shrinks then.
    pub(super) fn descend(&self, node: &GpuNode, before: u64, wanted: &Wanted) -> (Picked, i64) {
        if !wanted.shares() {
            let picked = if wanted.share == Share::WHOLE.0 { first_whole(node, wanted) } else { wanted.tightest(node) };
            let gain = self.gain(node, before, wanted, &picked);
            return (picked, gain);
        }
        let mut best: Option<(usize, i64, i64)> = None;
        for at in (0..node.gpus.len()).filter(|at| node.gpus[*at] >= wanted.share) {
            if node.gpus[..at].contains(&node.gpus[at]) {
                continue;
            }
            let gain = self.gain(node, before, wanted, &[at]);
            let score = self.score(gain);
            if best.is_none_or(|(_, _, highest)| score > highest) {
                best = Some((at, gain, score));
            }
        }
        best.map_or_else(|| (Picked::new(), 0), |(at, gain, _)| (Picked::from_slice(&[at]), gain))
    }

    fn gain(&self, node: &GpuNode, before: u64, wanted: &Wanted, picked: &[usize]) -> i64 {
        let mut after = node.clone();
        after.take(wanted, picked);
        before.cast_signed() - self.weighted(&after).cast_signed()
    }

    /// `100 / (1 + exp(-gain))` with the gain in GPUs, cut to a whole number.
    pub(super) fn score(&self, gain: i64) -> i64 {
        let nano = i128::from(gain) * 1_000_000;
        let total = i128::from(self.total.max(1));
        let reached = |threshold: i64| nano >= i128::from(threshold) * total;
        // What lies above a half mirrors what lies below it.
        if reached(0) {
            50 + UPPER.partition_point(|threshold| reached(*threshold)) as i64
        } else {
            49 - UPPER.partition_point(|threshold| !reached(-*threshold)) as i64
        }
    }
}

/// What of `idle` a task of this kind could not use.
fn lost_to(wanted: &Wanted, node: &GpuNode, idle: u64) -> u64 {
    if wanted.gpus == 0 || !wanted.fits_but_memory(node) {
        return idle;
    }
    node.gpus.iter().filter(|left| **left < wanted.share).map(|left| u64::from(*left)).sum()
}

fn first_whole(node: &GpuNode, wanted: &Wanted) -> Picked {
    (0..node.gpus.len()).filter(|at| node.gpus[*at] == Share::WHOLE.0).take(wanted.gpus).collect()
}

/// `ln(s / (100 - s))` for the scores `s` from 51 to 99, in thousand-millionths.
const UPPER: [i64; 49] = [
    40_005_335,
    80_042_708,
    120_144_312,
    160_342_650,
    200_670_695,
    241_162_057,
    281_851_152,
    322_773_392,
    363_965_377,
    405_465_108,
    447_312_218,
    489_548_225,
    532_216_814,
    575_364_145,
    619_039_208,
    663_294_217,
    708_185_058,
    753_771_802,
    800_119_300,
    847_297_860,
    895_384_047,
    944_461_609,
    994_622_575,
    1_045_968_555,
    1_098_612_289,
    1_152_679_510,
    1_208_311_206,
    1_265_666_373,
    1_324_925_415,
    1_386_294_361,
    1_450_010_176,
    1_516_347_489,
    1_585_627_264,
    1_658_228_077,
    1_734_601_055,
    1_815_289_967,
    1_900_958_761,
    1_992_430_165,
    2_090_741_097,
    2_197_224_577,
    2_313_634_929,
    2_442_347_035,
    2_586_689_344,
    2_751_535_313,
    2_944_438_979,
    3_178_053_830,
    3_476_098_690,
    3_891_820_298,
    4_595_119_850,
];

#[cfg(test)]
mod tests;
