//! Which machine a task with GPUs goes to: the scores of the policies. The largest wins.

use std::fmt;
use std::str::FromStr;

use super::fgd::Fragmentation;
use super::gpu::{GpuNode, Picked, Wanted};
use crate::model::{Milli, Share};

/// How machines are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum GpuPolicy {
    /// Where fragmentation grows least; see [`Fragmentation`].
    #[default]
    Fgd,
    /// Where least is left of cores and GPUs.
    BestFit,
    /// On GPUs and machines that are in use already.
    Packing,
    /// Beside tasks of the same size.
    Clustering,
    /// Where what is asked for and what is left point least in the same direction.
    DotProd,
    /// Anywhere.
    Random,
}

impl GpuPolicy {
    /// Every policy.
    pub const ALL: [Self; 6] = [Self::Random, Self::DotProd, Self::Clustering, Self::Packing, Self::BestFit, Self::Fgd];

    /// Its name, lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fgd => "fgd",
            Self::BestFit => "bestfit",
            Self::Packing => "packing",
            Self::Clustering => "clustering",
            Self::DotProd => "dotprod",
            Self::Random => "random",
        }
    }
}

impl fmt::Display for GpuPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text is not the name of a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("placement policy: expected fgd, bestfit, packing, clustering, dotprod or random, got {0:?}")]
pub struct UnknownPolicy(String);

impl FromStr for GpuPolicy {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        Self::ALL.into_iter().find(|policy| policy.as_str() == text).ok_or_else(|| UnknownPolicy(text.to_owned()))
    }
}

/// The largest machine that is reckoned with: amounts are compared as parts of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Largest {
    /// Cores.
    pub cpus: Milli,
    /// How many GPUs.
    pub gpus: u16,
}

impl Default for Largest {
    fn default() -> Self {
        Self { cpus: Milli::from_whole(128), gpus: 8 }
    }
}

/// Tasks of one size: those that share a GPU, and those with 1, 2, 4 or 8 of them; numbers between go to the next larger.
pub(super) const SIZES: usize = 5;

/// The size of a task; none if it needs no GPU.
pub(super) const fn size(wanted: &Wanted) -> Option<usize> {
    match wanted.gpus {
        0 => None,
        1 if wanted.shares() => Some(0),
        1 => Some(1),
        2 => Some(2),
        3..=4 => Some(3),
        _ => Some(4),
    }
}

/// A machine as a policy sees it.
#[derive(Clone, Debug, Default)]
pub(super) struct Scene {
    pub(super) node: GpuNode,
    /// Its weighted fragmentation.
    pub(super) fragmentation: u64,
    /// How many tasks of each size were put there.
    pub(super) held: [u32; SIZES],
}

/// What a machine on which the task fits is worth.
pub(super) fn score(
    policy: GpuPolicy,
    exact: bool,
    largest: Largest,
    fragmentation: &Fragmentation,
    scene: &Scene,
    wanted: &Wanted,
) -> i64 {
    match policy {
        GpuPolicy::Fgd => {
            let (_, gain) = fragmentation.descend(&scene.node, scene.fragmentation, wanted);
            if exact { gain } else { fragmentation.score(gain) }
        }
        GpuPolicy::BestFit => best_fit(largest, &scene.node, wanted),
        GpuPolicy::Packing => packing(&scene.node, wanted),
        GpuPolicy::Clustering => clustering(largest, scene, wanted),
        GpuPolicy::DotProd => dot_product(largest, &scene.node, wanted),
        GpuPolicy::Random => 0,
    }
}

/// The GPUs that the task gets on the machine.
pub(super) fn pick(policy: GpuPolicy, fragmentation: &Fragmentation, scene: &Scene, wanted: &Wanted) -> Picked {
    match policy {
        GpuPolicy::Fgd => fragmentation.descend(&scene.node, scene.fragmentation, wanted).0,
        _ => wanted.tightest(&scene.node),
    }
}

/// 100, less half the part of the largest machine that would be left of each of cores and GPUs.
fn best_fit(largest: Largest, node: &GpuNode, wanted: &Wanted) -> i64 {
    let (cpus, gpus) = whole(largest);
    let cpus_left = node.cpus.0.saturating_sub(wanted.cpus.0);
    let gpus_left = node.gpu_milli().saturating_sub(wanted.gpu_milli());
    let lost = 50 * (u128::from(cpus_left) * gpus + u128::from(gpus_left) * cpus);
    percent(100 * cpus * gpus, lost, cpus * gpus)
}

fn dot_product(largest: Largest, node: &GpuNode, wanted: &Wanted) -> i64 {
    let (cpus, gpus) = whole(largest);
    let over_cpus = u128::from(node.cpus.0) * u128::from(wanted.cpus.0) * gpus * gpus;
    let over_gpus = u128::from(node.gpu_milli()) * u128::from(wanted.gpu_milli()) * cpus * cpus;
    let unit = cpus * cpus * gpus * gpus;
    percent(100 * unit, 50 * (over_cpus + over_gpus), unit)
}

/// A machine that is in use, and on it GPUs that are in use, before what is untouched.
pub(super) fn packing(node: &GpuNode, wanted: &Wanted) -> i64 {
    if wanted.gpus == 0 {
        return 0;
    }
    let whole = node.whole_gpus();
    if whole == node.gpus.len() {
        let free = whole as i64;
        return (33 - free).max(free);
    }
    let picked = wanted.tightest(node);
    let broken = picked.iter().filter(|at| node.gpus[**at] == Share::WHOLE.0).count();
    if broken > 0 {
        return (50 - broken as i64).max(33);
    }
    let left: i64 = picked.iter().map(|at| i64::from(node.gpus[*at]) / 10).sum();
    (100 - left / 10).max(50)
}

fn clustering(largest: Largest, scene: &Scene, wanted: &Wanted) -> i64 {
    let Some(size) = size(wanted) else { return 0 };
    let all = u64::from(largest.gpus) * 1000;
    let used = all.saturating_sub(scene.node.gpu_milli());
    let same = scene.held[size] > 0;
    let others = scene.held.iter().enumerate().any(|(at, count)| at != size && *count > 0);
    let company = match (same, others) {
        (true, false) => 75,
        (true, true) => 50,
        (false, false) => 25,
        (false, true) => 0,
    };
    (25 * used / all.max(1)) as i64 + company
}

/// Cores and GPUs of the largest machine in thousandths, at least one.
fn whole(largest: Largest) -> (u128, u128) {
    (u128::from(largest.cpus.0.max(1)), u128::from(largest.gpus.max(1)) * 1000)
}

/// `(full - lost) / unit`, cut to a whole number towards zero.
fn percent(full: u128, lost: u128, unit: u128) -> i64 {
    let part = |amount: u128| i64::try_from(amount / unit).unwrap_or(i64::MAX);
    if full >= lost { part(full - lost) } else { -part(lost - full) }
}
