use crate::dice::Dice;
use crate::twolevel::{Job, TwolevelOptions};

/// What is free of each machine: thousandths of a core, and of a MiB.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    free: Vec<(u64, u64)>,
}

impl Cell {
    pub(super) fn new(options: &TwolevelOptions) -> Self {
        Self { free: vec![(options.cpus.0, options.mem.0); options.machines] }
    }

    /// Nothing of each of these many machines.
    pub(super) fn empty(machines: usize) -> Self {
        Self { free: vec![(0, 0); machines] }
    }

    /// Free cores in thousandths.
    pub(super) fn cpus(&self) -> u64 {
        self.free.iter().map(|(cpus, _)| cpus).sum()
    }

    /// Free memory in thousandths of a MiB.
    pub(super) fn mem(&self) -> u64 {
        self.free.iter().map(|(_, mem)| mem).sum()
    }

    /// Places up to `tasks` tasks, each on a random machine of those that are still worth trying; the machines that they got.
    pub(super) fn place(&mut self, job: &Job, tasks: u32, dice: &mut Dice) -> Vec<u32> {
        let mut pool: Vec<u32> = (0..self.free.len() as u32).collect();
        let mut placed = Vec::new();
        while placed.len() < tasks as usize && !pool.is_empty() {
            let at = dice.count(0, pool.len() - 1);
            let machine = pool[at];
            if self.take(job, machine) {
                placed.push(machine);
            } else {
                pool.swap_remove(at);
            }
        }
        placed
    }

    /// Places a task on the machine if it fits there.
    pub(super) fn take(&mut self, job: &Job, machine: u32) -> bool {
        let (cpus, mem) = &mut self.free[machine as usize];
        let fits = *cpus >= job.cpus.0 && *mem >= job.mem.0;
        if fits {
            *cpus -= job.cpus.0;
            *mem -= job.mem.0;
        }
        fits
    }

    pub(super) fn release(&mut self, job: &Job, machines: &[u32]) {
        for machine in machines {
            let (cpus, mem) = &mut self.free[*machine as usize];
            *cpus += job.cpus.0;
            *mem += job.mem.0;
        }
    }

    /// Adds all that `other` has.
    pub(super) fn give_back(&mut self, other: &Self) {
        for ((cpus, mem), (more_cpus, more_mem)) in self.free.iter_mut().zip(&other.free) {
            *cpus += more_cpus;
            *mem += more_mem;
        }
    }
}
