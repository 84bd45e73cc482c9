//! What is left of each machine, and how much of it is too scattered for what usually comes.

use rialto_core::model::{ResourceName, Resources};
use rialto_core::scheduler::placement::fgd::Fragmentation;
use rialto_core::scheduler::placement::gpu::GpuNode;

use super::scenario::Pool;

pub(super) struct Left {
    measure: Fragmentation,
    machines: Vec<Machine>,
}

struct Machine {
    whole: GpuNode,
    left: GpuNode,
    is_up: bool,
}

/// What of a machine is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    More,
    Less,
}

impl Left {
    pub(super) const fn new(measure: Fragmentation) -> Self {
        Self { measure, machines: Vec::new() }
    }

    pub(super) fn join(&mut self, pool: &Pool) {
        let model = (pool.gpus > 0).then(|| self.measure.models().id(&pool.model));
        let gpus = (0..pool.gpus).map(|_| 1000).collect();
        let whole = GpuNode { cpus: pool.cpus, mem: pool.mem, model, gpus };
        self.machines.push(Machine { left: whole.clone(), whole, is_up: true });
    }

    pub(super) fn set_up(&mut self, machine: usize, is_up: bool) {
        self.machines[machine].is_up = is_up;
    }

    /// A task began there, or has ended.
    pub(super) fn change(&mut self, machine: usize, resources: &Resources, taken: Taken) {
        let Machine { whole, left, .. } = &mut self.machines[machine];
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
    }

    /// Idle GPUs that are fragmented, for the kinds of job that come.
    pub(super) fn fragmented(&self) -> f64 {
        let up = self.machines.iter().filter(|machine| machine.is_up);
        let weighted: u64 = up.map(|machine| self.measure.weighted(&machine.left)).sum();
        weighted as f64 / self.measure.total().max(1) as f64 / 1000.0
    }
}
