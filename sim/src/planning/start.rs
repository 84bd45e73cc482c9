//! A scenario that begins with a running cluster as it is: its machines, what runs and what waits there, the weights and quotas of its
//! roles. What may be bought or rented, what comes and how it grows, and what is asked, is the scenario's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rialto_core::model::{Attribute, Claim, Count, DeviceId, Milli, Quantities, ResourceName, Role, Share};
use rialto_core::scheduler::placement::gpu::GpuAsk;

use super::jobs::TraceJob;
use super::scenario::{Begins, Pool, Workload};
use crate::live::{Agent, Snapshot, Terms};

/// A cluster to begin with.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// The cluster.
    pub snapshot: Snapshot,
    /// Where it is from and when it was taken, for people.
    pub source: String,
    /// The first digits of the SHA-256 of what was read.
    pub digest: String,
    /// How long tasks run from now on that have not said how long; none means without end.
    pub run_time: Option<Duration>,
}

/// What a scenario was told of the cluster that it begins with.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// What operators have set for its roles.
    pub terms: Vec<Terms>,
    /// What is known of it, in a sentence for people.
    pub words: String,
}

impl Start {
    /// The cluster's machines are all that is there: of the scenario's own, those that are called alike get their number, the others are
    /// there to be bought or rented.
    pub(super) fn put_pools(&self, pools: &mut Vec<Pool>) {
        pools.iter_mut().for_each(|pool| pool.count = 0);
        for there in self.pools() {
            match pools.iter_mut().find(|pool| pool.name == there.name) {
                Some(pool) => {
                    (pool.count, pool.cpus, pool.mem) = (there.count, there.cpus, there.mem);
                    (pool.gpus, pool.model) = (there.gpus, there.model);
                }
                None => pools.push(there),
            }
        }
    }

    /// Machines that are alike are one pool. It is called as their attribute `pool` says, else like their GPUs.
    fn pools(&self) -> Vec<Pool> {
        let mut kinds: BTreeMap<(String, Milli, Milli, u16, Arc<str>), u32> = BTreeMap::new();
        for agent in &self.snapshot.agents {
            *kinds.entry(kind_of(agent)).or_default() += 1;
        }
        let mut of_name: BTreeMap<String, u32> = BTreeMap::new();
        let pool = |((pool, cpus, mem, gpus, model), count): ((String, Milli, Milli, u16, Arc<str>), u32)| {
            let number = of_name.entry(pool.clone()).or_default();
            *number += 1;
            let name = if *number == 1 { pool } else { format!("{pool}.{number}") };
            Pool { gpus, model, ..Pool::plain(&name, count, cpus, mem) }
        };
        kinds.into_iter().map(pool).collect()
    }

    /// What runs and waits now, as work of its own for each role; what runs comes first, the largest before the others.
    pub(super) fn workloads(&self, horizon: Duration) -> Vec<Workload> {
        let without_end = horizon * 2;
        let mut of_role: BTreeMap<Role, (Vec<TraceJob>, Vec<TraceJob>)> = BTreeMap::new();
        for framework in &self.snapshot.frameworks {
            for task in &framework.running {
                let duration = task.left.or(self.run_time).unwrap_or(without_end);
                let ask = self.held(&task.scalars, &task.devices, task.agent);
                let job = TraceJob { submit: Duration::ZERO, duration, ask };
                of_role.entry(task.role.clone()).or_default().0.push(job);
            }
            for (role, shape) in &framework.waiting {
                let duration = shape.expected_run_time.or(self.run_time).unwrap_or(without_end);
                let ask = self.asked(&shape.resources.quantities(), &shape.claims);
                let job = TraceJob { submit: Duration::ZERO, duration, ask };
                let count = shape.count as usize;
                of_role.entry(role.clone()).or_default().1.extend(std::iter::repeat_n(job, count));
            }
        }
        let workload = |(role, (mut running, waiting)): (Role, (Vec<TraceJob>, Vec<TraceJob>))| {
            running.sort_by_key(|job| std::cmp::Reverse((job.ask.gpus, job.ask.share, job.ask.cpus)));
            let begins = Begins::With(running.len());
            running.extend(waiting);
            Workload { role: role.clone(), begins, ..Workload::plain(&format!("{role}, now"), running) }
        };
        of_role.into_iter().map(workload).collect()
    }

    pub(super) fn cluster(&self) -> Cluster {
        let tasks = self.snapshot.frameworks.iter().map(|framework| framework.running.len()).sum::<usize>();
        let waiting = self.snapshot.frameworks.iter().flat_map(|framework| &framework.waiting);
        let waiting: u64 = waiting.map(|(_, shape)| u64::from(shape.count)).sum();
        let goes_on = match self.run_time {
            Some(time) => format!("for {}", super::units::in_words(time.as_secs_f64())),
            None => "without end".to_owned(),
        };
        let words = format!(
            "It begins with a cluster ({}): {} machines, {tasks} tasks that run and {waiting} that wait. What runs is placed anew at the \
             start; what has not said how long it runs goes on {goes_on}.",
            self.source,
            self.snapshot.agents.len(),
        );
        Cluster { terms: self.snapshot.roles.clone(), words }
    }

    /// What a task holds.
    fn held(&self, scalars: &Quantities, devices: &[(DeviceId, Share)], agent: usize) -> GpuAsk {
        let there = &self.snapshot.agents[agent].devices;
        let gpu = |id: &DeviceId| there.iter().find(|device| device.id == *id && &*device.kind == "gpu");
        let gpus: Vec<_> = devices.iter().filter_map(|(id, share)| Some((gpu(id)?, *share))).collect();
        let mut models: Vec<Arc<str>> = gpus.iter().map(|(device, _)| device.model.clone()).collect();
        models.sort();
        models.dedup();
        ask(scalars, gpus.len(), gpus.first().map_or(Share(0), |(_, share)| *share), models)
    }

    /// What a shape asks for: of its claims the first alternative for GPUs, with the models that its selector lets through.
    fn asked(&self, scalars: &Quantities, claims: &[Claim]) -> GpuAsk {
        let gpu = claims.iter().filter_map(|claim| claim.alternatives.iter().find(|one| &*one.kind == "gpu")).next();
        let Some(gpu) = gpu else { return ask(scalars, 0, Share(0), Vec::new()) };
        let all =
            || self.snapshot.agents.iter().flat_map(|agent| &agent.devices).filter(|device| &*device.kind == "gpu");
        let mut models: Vec<Arc<str>> =
            all().filter(|device| gpu.selector.matches(&***device)).map(|device| device.model.clone()).collect();
        models.sort();
        models.dedup();
        if all().all(|device| models.contains(&device.model)) {
            models.clear();
        }
        let count = match gpu.count {
            Count::Exactly(count) => usize::from(count),
            Count::All => 1,
        };
        ask(scalars, count, gpu.share, models)
    }
}

fn ask(scalars: &Quantities, gpus: usize, share: Share, models: Vec<Arc<str>>) -> GpuAsk {
    GpuAsk {
        cpus: scalars.get(&ResourceName::Cpus),
        mem: scalars.get(&ResourceName::Mem),
        gpus: u16::try_from(gpus).unwrap_or(u16::MAX),
        share: if gpus > 0 { share } else { Share(0) },
        models: if gpus > 0 { models } else { Vec::new() },
    }
}

/// What a machine is called after, its cores and memory, its GPUs and what they are.
fn kind_of(agent: &Agent) -> (String, Milli, Milli, u16, Arc<str>) {
    let gpus: Vec<_> = agent.devices.iter().filter(|device| &*device.kind == "gpu").collect();
    let model = gpus.first().map_or_else(|| Arc::from("cpu"), |device| device.model.clone());
    let pool = match agent.info.attributes.get("pool") {
        Some(pool @ (Attribute::Text(_) | Attribute::Int(_) | Attribute::Version(_))) => pool.to_string(),
        _ if model.is_empty() => "gpu".to_owned(),
        _ => model.to_string(),
    };
    let amounts = agent.resources.quantities();
    let count = u16::try_from(gpus.len()).unwrap_or(u16::MAX);
    (pool, amounts.get(&ResourceName::Cpus), amounts.get(&ResourceName::Mem), count, model)
}
