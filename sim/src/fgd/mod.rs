//! `rialto sim fgd`: how much of a GPU cluster a placement policy can give out, through real offers.
//!
//! The experiment is that of Weng et al., "Beware of Fragmentation" (USENIX ATC 2023): tasks arrive one after the other in random order
//! until they ask for 130 % of all GPUs, none ever leaves, and what does not fit is dropped. Here the nodes are agents of a master, and
//! a framework places with the SDK's library on the offers that it gets.

mod policy;
mod trace;
mod workload;

use std::collections::BTreeMap;
use std::time::Duration;

use rialto_core::master::Config;
use rialto_core::model::{Milli, ResourceName, Resources, Role, Time};
use rialto_core::scheduler::placement::board::{GpuBoard, GpuChoice};
pub use rialto_core::scheduler::placement::board::{Scores, Ties};
use rialto_core::scheduler::placement::fgd::Fragmentation;
use rialto_core::scheduler::placement::gpu::{GpuAsk, GpuNode};
pub use rialto_core::scheduler::placement::policy::GpuPolicy;
use rialto_core::scheduler::placement::policy::Largest;

use self::policy::{GATHER, Offering, Placer};
pub use self::trace::{Node, read_nodes, read_pods};
use crate::dice::Dice;
use crate::market::{Machine, Market, Seen, info};

/// The demand at which the table of the paper is read, and at which the experiment ends, in percent of all GPUs.
pub const AT: [u64; 2] = [100, 130];
/// The first seed unless another is asked for; the others follow.
pub const FIRST_SEED: u64 = 42;
/// How long after one task the next arrives.
const PACE: Duration = Duration::from_secs(1);

/// What to run.
#[derive(Clone, Debug)]
pub struct FgdOptions {
    /// How places are chosen.
    pub policy: GpuPolicy,
    /// How finely they are compared.
    pub scores: Scores,
    /// Which of those that are worth the same is taken.
    pub ties: Ties,
    /// How many random orders are tried.
    pub seeds: u64,
    /// The first of their seeds.
    pub first_seed: u64,
    /// How many nodes a framework is offered at once; none means all.
    pub offer_nodes: Option<usize>,
    /// How many frameworks take turns to place the tasks.
    pub frameworks: usize,
}

impl Default for FgdOptions {
    fn default() -> Self {
        Self {
            policy: GpuPolicy::Fgd,
            scores: Scores::Percent,
            ties: Ties::First,
            seeds: 10,
            first_seed: FIRST_SEED,
            offer_nodes: None,
            frameworks: 1,
        }
    }
}

/// A value over the seeds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The standard deviation of the seeds.
    pub sd: f64,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct FgdReport {
    /// How many GPUs there are.
    pub gpus: u64,
    /// How many nodes.
    pub nodes: usize,
    /// How many tasks arrived, over all seeds.
    pub arrived: u64,
    /// How many of them were dropped.
    pub dropped: u64,
    /// GPU given out when tasks for 100 % of it had arrived, in percent of all.
    pub alloc_pct_at_100: Spread,
    /// The same at 130 %.
    pub alloc_pct_at_130: Spread,
    /// The part of the idle GPU that is fragmented, in percent, by percent of GPU arrived.
    pub frag_ratio_pct: BTreeMap<u64, f64>,
    /// GPU given out in percent of all, by percent of GPU arrived.
    pub alloc_pct: BTreeMap<u64, f64>,
    /// Fragmentation of the empty cluster, in percent of all GPU.
    pub initial_fragmentation_pct: f64,
    /// How many kinds of task are typical.
    pub typical: usize,
    /// How many offers the master made, over all seeds.
    pub offers: u64,
}

/// Fragmentation of the empty cluster in percent of its GPU, and how many kinds of task are typical.
pub fn initial_fragmentation(nodes: &[Node], pods: &[GpuAsk]) -> (f64, usize) {
    let account = Account::new(nodes, &mut Fragmentation::of_workload(pods));
    (account.fragmentation() / account.capacity as f64 * 100.0, account.measure.typical())
}

/// Runs the experiment; `progress` is told of every seed that is done.
pub fn run_fgd(nodes: &[Node], pods: &[GpuAsk], options: &FgdOptions, mut progress: impl FnMut(u64)) -> FgdReport {
    let (initial_fragmentation_pct, typical) = initial_fragmentation(nodes, pods);
    let runs: Vec<Run> = (0..options.seeds.max(1))
        .map(|seed| {
            let run = Run::of(nodes, pods, options, options.first_seed + seed);
            progress(seed + 1);
            run
        })
        .collect();
    FgdReport {
        gpus: nodes.iter().map(|node| u64::from(node.gpus)).sum(),
        nodes: nodes.len(),
        arrived: runs.iter().map(|run| run.arrived).sum(),
        dropped: runs.iter().map(|run| run.dropped).sum(),
        alloc_pct_at_100: spread(runs.iter().filter_map(|run| run.alloc_pct.get(&AT[0]).copied())),
        alloc_pct_at_130: spread(runs.iter().filter_map(|run| run.alloc_pct.get(&AT[1]).copied())),
        frag_ratio_pct: mean_by(runs.iter().map(|run| &run.frag_ratio_pct)),
        alloc_pct: mean_by(runs.iter().map(|run| &run.alloc_pct)),
        initial_fragmentation_pct,
        typical,
        offers: runs.iter().map(|run| run.offers).sum(),
    }
}

/// One order of arrivals.
struct Run {
    arrived: u64,
    dropped: u64,
    offers: u64,
    alloc_pct: BTreeMap<u64, f64>,
    frag_ratio_pct: BTreeMap<u64, f64>,
}

impl Run {
    fn of(nodes: &[Node], pods: &[GpuAsk], options: &FgdOptions, seed: u64) -> Self {
        let mut dice = Dice::child(seed, "fgd");
        let mut fragmentation = Fragmentation::of_workload(pods);
        let nodes = workload::shuffled(nodes, &mut dice);
        let arrivals = workload::arrivals(pods, workload::capacity(&nodes) * AT[1] / AT[0], &mut dice);
        let mut account = Account::new(&nodes, &mut fragmentation);
        let mut market = market(&nodes, &fragmentation, options, seed);
        market.run_until(Time::ZERO);
        let (mut alloc_pct, mut frag_ratio_pct) = (Bins::default(), Bins::default());
        let mut arrived = 0;
        for (number, ask) in arrivals.iter().enumerate() {
            let at = Time::ZERO + PACE * u32::try_from(number + 1).expect("far fewer tasks arrive");
            market.command(at, number % options.frameworks.max(1), ask.clone());
            market.run_until(at + GATHER);
            market.seen.drain(..).for_each(|(_, seen)| account.saw(&seen));
            arrived += u64::from(ask.gpus) * u64::from(ask.share.0);
            let percent = arrived as f64 / account.capacity as f64 * 100.0;
            let bin = percent.round() as u64;
            alloc_pct.add(bin, account.given as f64 / account.capacity as f64 * 100.0);
            frag_ratio_pct.add(bin, account.fragmentation() / account.idle().max(1) as f64 * 100.0);
        }
        market.check();
        Self {
            arrived: arrivals.len() as u64,
            dropped: (0..options.frameworks.max(1)).map(|host| market.policy(host).dropped).sum(),
            offers: market.master().offers_made,
            alloc_pct: alloc_pct.means(),
            frag_ratio_pct: frag_ratio_pct.means(),
        }
    }
}

fn market(nodes: &[Node], fragmentation: &Fragmentation, options: &FgdOptions, seed: u64) -> Market<Placer> {
    // Each framework waits for one task at a time, for which the master adds an offer of its own.
    let offers_per_demand = options.offer_nodes.and_then(|nodes| u32::try_from(nodes.saturating_sub(1)).ok());
    let defaults = Config::default();
    let config =
        Config { seed, offers_per_demand: offers_per_demand.unwrap_or(defaults.offers_per_demand), ..defaults };
    let machines: Vec<Machine> = nodes.iter().map(machine).collect();
    let mut market = Market::new(config, Duration::ZERO, &machines);
    let offering = if options.offer_nodes.is_some() { Offering::OnDemand } else { Offering::All };
    let largest = Largest {
        cpus: nodes.iter().map(|node| node.cpus).max().unwrap_or_default(),
        gpus: nodes.iter().map(|node| node.gpus).max().unwrap_or_default(),
    };
    for number in 0..options.frameworks.max(1) {
        let seed = seed.wrapping_add(number as u64);
        let choice = GpuChoice { policy: options.policy, scores: options.scores, ties: options.ties, largest, seed };
        let role = Role::new(&format!("gpu-{number}")).expect("letters, a dash and digits are a role");
        let board = GpuBoard::new(choice, fragmentation.clone());
        market.subscribe(info(&role), Placer::new("pod", role, offering, board));
    }
    market
}

fn machine(node: &Node) -> Machine {
    Machine::with_gpus(node.name.clone(), Resources::of(node.cpus, node.mem), node.gpus, &node.model)
}

/// What is given out and what is left, as the agents see it.
struct Account {
    measure: Fragmentation,
    nodes: Vec<GpuNode>,
    by_node: Vec<u64>,
    weighted: u64,
    capacity: u64,
    given: u64,
}

impl Account {
    fn new(nodes: &[Node], measure: &mut Fragmentation) -> Self {
        let empty = |node: &Node| GpuNode {
            cpus: node.cpus,
            mem: node.mem,
            model: (node.gpus > 0).then(|| measure.models().id(&node.model)),
            gpus: (0..node.gpus).map(|_| 1000).collect(),
        };
        let nodes_left: Vec<GpuNode> = nodes.iter().map(empty).collect();
        let by_node: Vec<u64> = nodes_left.iter().map(|node| measure.weighted(node)).collect();
        Self {
            measure: measure.clone(),
            weighted: by_node.iter().sum(),
            by_node,
            nodes: nodes_left,
            capacity: workload::capacity(nodes),
            given: 0,
        }
    }

    fn saw(&mut self, seen: &Seen) {
        let Seen::Started { machine, resources } = seen else { return };
        let node = &mut self.nodes[*machine];
        let minus = |left: Milli, taken: Milli| left.minus(taken).expect("an agent never runs more than it has");
        let quantities = resources.quantities();
        node.cpus = minus(node.cpus, quantities.get(&ResourceName::Cpus));
        node.mem = minus(node.mem, quantities.get(&ResourceName::Mem));
        for (device, share) in resources.device_shares() {
            let number: usize = device.as_str().trim_start_matches("gpu-").parse().expect("gpu() named it so");
            node.gpus[number] = node.gpus[number].checked_sub(share.0).expect("a GPU is never given out twice");
            self.given += u64::from(share.0);
        }
        let weighted = self.measure.weighted(node);
        self.weighted = self.weighted - self.by_node[*machine] + weighted;
        self.by_node[*machine] = weighted;
    }

    const fn idle(&self) -> u64 {
        self.capacity - self.given
    }

    /// In thousandths of a GPU.
    fn fragmentation(&self) -> f64 {
        self.weighted as f64 / self.measure.total().max(1) as f64
    }
}

/// Means by percent of arrival.
#[derive(Default)]
struct Bins(BTreeMap<u64, (f64, u64)>);

impl Bins {
    fn add(&mut self, bin: u64, value: f64) {
        let (sum, count) = self.0.entry(bin).or_default();
        *sum += value;
        *count += 1;
    }

    fn means(self) -> BTreeMap<u64, f64> {
        self.0.into_iter().map(|(bin, (sum, count))| (bin, sum / count as f64)).collect()
    }
}

fn mean_by<'a>(runs: impl Iterator<Item = &'a BTreeMap<u64, f64>>) -> BTreeMap<u64, f64> {
    let mut bins = Bins::default();
    runs.flatten().for_each(|(bin, value)| bins.add(*bin, *value));
    bins.means()
}

fn spread(values: impl Iterator<Item = f64> + Clone) -> Spread {
    let count = values.clone().count();
    if count == 0 {
        return Spread::default();
    }
    let mean = values.clone().sum::<f64>() / count as f64;
    let variance = values.map(|value| (value - mean) * (value - mean)).sum::<f64>() / count as f64;
    Spread { mean, sd: variance.sqrt() }
}

#[cfg(test)]
mod tests;
