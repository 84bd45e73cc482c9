//! Machines with GPUs and what tasks ask of them, in the amounts that placement policies reckon with.
//!
//! A task asks for a part of one GPU, for one whole GPU, or for several; a machine has GPUs of one model, each with so much left of it.

use std::cmp::Reverse;
use std::sync::Arc;

use smallvec::SmallVec;

use super::Needs;
use crate::model::{Alternative, Claim, Count, Milli, Quantities, Selector, Share};

/// What a task asks of a machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GpuAsk {
    /// Cores.
    pub cpus: Milli,
    /// Memory in MiB.
    pub mem: Milli,
    /// How many GPUs; none for a task that needs none.
    pub gpus: u16,
    /// How much of each of them.
    pub share: Share,
    /// The models that will do, ascending; empty means any.
    pub models: Vec<Arc<str>>,
}

impl GpuAsk {
    /// The same for the [`Packer`](super::Packer), for a demand's shape and for a task's claims.
    pub fn needs(&self) -> Needs {
        let mut needs = Needs::new(Quantities::of(self.cpus, self.mem));
        if self.gpus > 0 {
            needs.claims.push(self.claim());
        }
        needs
    }

    fn claim(&self) -> Claim {
        let clauses: Vec<String> = self.models.iter().map(|model| format!("model == \"{model}\"")).collect();
        let selector: Selector = clauses.join(" || ").parse().unwrap_or_else(|_| Selector::any());
        let alternative = Alternative {
            kind: Arc::from("gpu"),
            count: Count::Exactly(self.gpus),
            selector,
            share: self.share,
            constraints: Vec::new(),
        };
        Claim { alternatives: vec![alternative] }
    }
}

/// What is left of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GpuNode {
    /// Cores.
    pub cpus: Milli,
    /// Memory in MiB.
    pub mem: Milli,
    /// The model of its GPUs; none if it has none.
    pub model: Option<ModelId>,
    /// What is left of each GPU, in thousandths.
    pub gpus: SmallVec<[u16; 8]>,
}

/// A model, by its place in [`Models`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModelId(u16);

/// The models that were met, so that they compare as numbers.
#[derive(Clone, Debug, Default)]
pub struct Models(Vec<Arc<str>>);

impl Models {
    /// The most that are told apart; what comes later counts as the last of them.
    const MAX: usize = 4096;

    /// The number of `model`.
    pub fn id(&mut self, model: &str) -> ModelId {
        let known = self.0.iter().position(|name| &**name == model);
        let at = known.unwrap_or_else(|| {
            if self.0.len() < Self::MAX {
                self.0.push(Arc::from(model));
            }
            self.0.len() - 1
        });
        ModelId(u16::try_from(at).expect("there are at most MAX models"))
    }

    /// `ask` with its models as numbers.
    pub(super) fn compile(&mut self, ask: &GpuAsk) -> Wanted {
        Wanted {
            cpus: ask.cpus,
            mem: ask.mem,
            gpus: usize::from(ask.gpus),
            share: ask.share.0,
            models: ask.models.iter().map(|model| self.id(model)).collect(),
        }
    }
}

/// A [`GpuAsk`] that compares fast.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) cpus: Milli,
    pub(super) mem: Milli,
    pub(super) gpus: usize,
    pub(super) share: u16,
    pub(super) models: SmallVec<[ModelId; 4]>,
}

impl Wanted {
    /// GPU in thousandths, all together.
    pub(super) fn gpu_milli(&self) -> u64 {
        self.gpus as u64 * u64::from(self.share)
    }

    /// Whether it asks for a part of a single GPU.
    pub(super) const fn shares(&self) -> bool {
        self.gpus == 1 && self.share < Share::WHOLE.0
    }

    /// Whether the machine has the cores and the GPUs, memory aside.
    pub(super) fn fits_but_memory(&self, node: &GpuNode) -> bool {
        node.cpus >= self.cpus && self.suits(node) && self.count_fitting(node) >= self.gpus
    }

    /// Whether the machine has all that is asked for.
    pub(super) fn fits(&self, node: &GpuNode) -> bool {
        node.mem >= self.mem && self.fits_but_memory(node)
    }

    fn suits(&self, node: &GpuNode) -> bool {
        self.gpus == 0 || node.model.is_some_and(|model| self.models.is_empty() || self.models.contains(&model))
    }

    fn count_fitting(&self, node: &GpuNode) -> usize {
        node.gpus.iter().filter(|left| **left >= self.share).count()
    }

    /// The GPUs with the least left of those that fit, lowest number first among equals.
    pub(super) fn tightest(&self, node: &GpuNode) -> Picked {
        let mut fitting: Picked = (0..node.gpus.len()).filter(|at| node.gpus[*at] >= self.share).collect();
        fitting.sort_by_key(|at| (node.gpus[*at], *at));
        fitting.truncate(self.gpus);
        fitting
    }
}

/// Numbers of GPUs.
pub(super) type Picked = SmallVec<[usize; 8]>;

impl GpuNode {
    /// What is left of all GPUs together, in thousandths.
    pub fn gpu_milli(&self) -> u64 {
        self.gpus.iter().map(|left| u64::from(*left)).sum()
    }

    /// How many GPUs are wholly free.
    pub(super) fn whole_gpus(&self) -> usize {
        self.gpus.iter().filter(|left| **left == Share::WHOLE.0).count()
    }

    /// What is left once a task that fits has its part of the GPUs `picked`.
    pub(super) fn take(&mut self, wanted: &Wanted, picked: &[usize]) {
        self.cpus = self.cpus.minus(wanted.cpus).expect("the caller has found that it fits");
        self.mem = self.mem.minus(wanted.mem).expect("the caller has found that it fits");
        for at in picked {
            self.gpus[*at] -= wanted.share;
        }
    }
}

/// The most common asks first; equal ones with the larger first.
pub(super) fn by_frequency(counted: &mut [(GpuAsk, u64)]) {
    counted.sort_by_cached_key(|(ask, count)| Reverse((*count, ask.cpus, ask.share, ask.gpus, ask.models.clone())));
}
