//! What is left of each machine, how much of it is too scattered for what usually comes, and why a job finds no room there.

use std::sync::Arc;

use rialto_core::model::{ResourceName, Resources};
use rialto_core::scheduler::placement::fgd::Fragmentation;
use rialto_core::scheduler::placement::gpu::GpuNode;

use super::outcome::Why;
use super::policy::Ask;
use super::scenario::Pool;

pub(super) struct Left {
    measure: Fragmentation,
    machines: Vec<Machine>,
    classes: Vec<Class>,
}

struct Machine {
    whole: GpuNode,
    left: GpuNode,
    is_up: bool,
    class: usize,
}

/// The machines of a pool that are paid for alike.
pub(super) struct Class {
    pub(super) kind: Kind,
    model: Arc<str>,
    /// Of those that are up.
    pub(super) all: Amounts,
    pub(super) free: Amounts,
}

/// What makes machines of one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// By its place in the scenario.
    pub(super) pool: usize,
    pub(super) is_rented: bool,
}

/// Thousandths of cores, of MiB and of GPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amounts {
    pub(super) cpus: u64,
    pub(super) mem: u64,
    pub(super) gpus: u64,
}

impl Amounts {
    fn of(node: &GpuNode) -> Self {
        let gpus = node.gpus.iter().map(|left| u64::from(*left)).sum();
        Self { cpus: node.cpus.0, mem: node.mem.0, gpus }
    }

    /// What all tasks of a job ask for.
    fn asked(Ask { each, traits }: &Ask) -> Self {
        let members = u64::from(traits.members);
        let gpus = u64::from(each.gpus) * u64::from(each.share.0);
        Self { cpus: each.cpus.0 * members, mem: each.mem.0 * members, gpus: gpus * members }
    }

    const fn plus(self, other: Self) -> Self {
        Self { cpus: self.cpus + other.cpus, mem: self.mem + other.mem, gpus: self.gpus + other.gpus }
    }

    const fn minus(self, other: Self) -> Self {
        Self {
            cpus: self.cpus.saturating_sub(other.cpus),
            mem: self.mem.saturating_sub(other.mem),
            gpus: self.gpus.saturating_sub(other.gpus),
        }
    }

    const fn holds(self, other: Self) -> bool {
        self.cpus >= other.cpus && self.mem >= other.mem && self.gpus >= other.gpus
    }
}

/// What of a machine is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    More,
    Less,
}

impl Left {
    pub(super) const fn new(measure: Fragmentation) -> Self {
        Self { measure, machines: Vec::new(), classes: Vec::new() }
    }

    pub(super) fn join(&mut self, pool: &Pool, kind: Kind) {
        let model = (pool.gpus > 0).then(|| self.measure.models().id(&pool.model));
        let gpus = (0..pool.gpus).map(|_| 1000).collect();
        let whole = GpuNode { cpus: pool.cpus, mem: pool.mem, model, gpus };
        let class = self.classes.iter().position(|class| class.kind == kind).unwrap_or_else(|| {
            let (all, free) = Default::default();
            self.classes.push(Class { kind, model: pool.model.clone(), all, free });
            self.classes.len() - 1
        });
        self.machines.push(Machine { left: whole.clone(), whole, is_up: false, class });
        self.set_up(self.machines.len() - 1, true);
    }

    pub(super) fn set_up(&mut self, machine: usize, is_up: bool) {
        let Machine { whole, left, is_up: was_up, class } = &mut self.machines[machine];
        if std::mem::replace(was_up, is_up) == is_up {
            return;
        }
        let (class, whole, left) = (&mut self.classes[*class], Amounts::of(whole), Amounts::of(left));
        let change = if is_up { Amounts::plus } else { Amounts::minus };
        (class.all, class.free) = (change(class.all, whole), change(class.free, left));
    }

    /// A task began there, or has ended.
    pub(super) fn change(&mut self, machine: usize, resources: &Resources, taken: Taken) {
        let Machine { whole, left, is_up, class } = &mut self.machines[machine];
        let before = Amounts::of(left);
        let quantities = resources.quantities();
        for (left, whole, name) in
            [(&mut left.cpus, whole.cpus, ResourceName::Cpus), (&mut left.mem, whole.mem, ResourceName::Mem)]
        {
            let amount = quantities.get(&name).0;
            left.0 = if taken == Taken::More { left.0.saturating_sub(amount) } else { (left.0 + amount).min(whole.0) };
        }
        for (device, share) in resources.device_shares() {
            let number: usize = device.as_str().trim_start_matches("gpu-").parse().expect("the fleet named it so");
            let gpu = &mut left.gpus[number];
            *gpu = if taken == Taken::More { gpu.saturating_sub(share.0) } else { (*gpu + share.0).min(1000) };
        }
        if *is_up {
            let class = &mut self.classes[*class];
            class.free = class.free.minus(before).plus(Amounts::of(left));
        }
    }

    /// Idle GPUs that are fragmented, for the kinds of job that come.
    pub(super) fn fragmented(&self) -> f64 {
        let up = self.machines.iter().filter(|machine| machine.is_up);
        let weighted: u64 = up.map(|machine| self.measure.weighted(&machine.left)).sum();
        weighted as f64 / self.measure.total().max(1) as f64 / 1000.0
    }

    /// What there is and what is free, by class.
    pub(super) fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// Why there is no room for that now, where only machines are used that `is_cheap`.
    pub(super) fn why(&self, ask: &Ask, is_cheap: impl Fn(Kind) -> bool) -> Why {
        let asked = Amounts::asked(ask);
        let will_do =
            |class: &&Class| ask.each.gpus == 0 || ask.each.models.is_empty() || ask.each.models.contains(&class.model);
        let free = |of: &dyn Fn(&&Class) -> bool| {
            self.classes.iter().filter(of).fold(Amounts::default(), |sum, class| sum.plus(class.free)).holds(asked)
        };
        if !free(&|_| true) {
            Why::Taken
        } else if !free(&will_do) {
            Why::OtherModel
        } else if !free(&|class| will_do(class) && is_cheap(class.kind)) {
            Why::Price
        } else if ask.traits.bound.is_some() && self.fits_somewhere(ask) {
            Why::Bound
        } else {
            Why::Scattered
        }
    }

    fn fits_somewhere(&self, Ask { each, .. }: &Ask) -> bool {
        let fits = |machine: &Machine| {
            let (left, model) = (&machine.left, &self.classes[machine.class].model);
            let gpus = left.gpus.iter().filter(|gpu| **gpu >= each.share.0).count();
            let is_model = each.gpus == 0 || each.models.is_empty() || each.models.contains(model);
            machine.is_up && left.cpus >= each.cpus && left.mem >= each.mem && gpus >= each.gpus.into() && is_model
        };
        self.machines.iter().any(fits)
    }
}
