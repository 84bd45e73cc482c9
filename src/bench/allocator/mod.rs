//! `rialto bench allocator`: what rounds, events and state of the allocator cost, at the shapes of Mesos' own allocator benchmarks.
//!
//! Everything goes through `Master::step`, with offer book, timers and effects; agents and frameworks are only their messages
//! ([`cluster`]). What is timed is the processor time of this thread inside of steps.

mod cluster;
mod figures;
mod mesos;
mod shapes;

use std::time::Duration;

use anyhow::Context;
use rialto_core::model::{OfferMode, Refusal};

use self::cluster::Cluster;
use self::figures::{Figures, Samples, Sizes};
use crate::cli::{AllocatorShape, BenchAllocator};

/// How many times each single event is measured.
const EVENTS: usize = 200;
/// The most refusals that are held at once, unless each agent is refused by fewer than [`REFUSALS_PER_AGENT`].
const REFUSALS_MAX: usize = 2_000_000;
/// How many frameworks refuse each agent of a cluster that is too large for all of them to do so.
const REFUSALS_PER_AGENT: usize = 50;
/// How much is made when sizes are measured: enough that the pages of the allocator don't matter.
const SIZED_FRAMEWORKS: usize = 2_000;
const SIZED_AGENTS: usize = 10_000;

pub(super) fn allocator(args: &BenchAllocator) -> anyhow::Result<()> {
    let sizes = measure_sizes(args)?;
    let mut run = Run::new(args);
    run.whole_rounds();
    run.refuse();
    run.events();
    figures::print(&Figures::of(&run, sizes)?, args.json)
}

/// A cluster of one shape, and what was measured on it.
#[derive(Debug)]
struct Run<'a> {
    args: &'a BenchAllocator,
    cluster: Cluster,
    /// What the shape does once over the whole cluster.
    round: Duration,
    /// A round in which nothing has changed.
    steady: Duration,
    /// How many offers the rounds made, and what making them took.
    offers: u64,
    offering: Duration,
    joining: Duration,
    refusals: u64,
    refusing: Duration,
    decline: Samples,
    agent_added: Samples,
    task_finished: Samples,
}

impl<'a> Run<'a> {
    fn new(args: &'a BenchAllocator) -> Self {
        let mut cluster = Cluster::new(shapes::config());
        shapes::subscribe(&mut cluster, args.shape, args.frameworks as usize, mode_of(args));
        shapes::set_quotas(&mut cluster, args.shape, args.agents as usize, args.frameworks as usize);
        Self {
            args,
            cluster,
            round: Duration::ZERO,
            steady: Duration::ZERO,
            offers: 0,
            offering: Duration::ZERO,
            joining: Duration::ZERO,
            refusals: 0,
            refusing: Duration::ZERO,
            decline: Samples::default(),
            agent_added: Samples::default(),
            task_finished: Samples::default(),
        }
    }

    /// All agents join, then one round offers what they have; and what the shape does beyond that.
    fn whole_rounds(&mut self) {
        let suppress = self.args.shape == AllocatorShape::Suppress;
        if suppress {
            self.cluster.suppress_all();
        }
        self.joining = self.join_all();
        self.offering = self.cluster.round();
        self.offers = self.cluster.offers;
        self.round = self.offering;
        self.steady = self.cluster.round();
        match self.args.shape {
            AllocatorShape::Add => self.round += self.joining,
            AllocatorShape::Update => self.round = self.update_all(),
            AllocatorShape::Suppress => {
                // Nobody has taken offers until now: that was a round over everything for nobody.
                self.steady = self.round;
                self.offering = self.cluster.revive_all();
                self.round = self.offering;
                self.offers = self.cluster.offers;
            }
            _ => {}
        }
    }

    fn join_all(&mut self) -> Duration {
        let mut took = Duration::ZERO;
        for number in 0..self.args.agents as usize {
            let resources = shapes::resources(self.args.shape, number, self.args.frameworks as usize);
            let input = self.cluster.join(&resources);
            took += self.cluster.step(input);
        }
        took
    }

    /// Every agent says that it has more than before; its offers are taken back and made anew.
    fn update_all(&mut self) -> Duration {
        let mut took = Duration::ZERO;
        for number in 0..self.args.agents as usize {
            let input = self.cluster.update(number, &shapes::larger());
            took += self.cluster.step(input);
        }
        took + self.cluster.round()
    }

    /// Every framework declines all that it is offered for an hour, until each agent has been refused as often as is measured.
    fn refuse(&mut self) {
        let (agents, frameworks) = (self.args.agents as usize, self.args.frameworks as usize);
        let refusers = frameworks.min(REFUSALS_PER_AGENT.max(REFUSALS_MAX / agents));
        let refusal = Refusal { duration: Duration::from_secs(3600), reason: None };
        for _ in 0..refusers {
            for framework in 0..frameworks {
                let (count, input) = self.cluster.decline_all(framework, &refusal);
                if count > 0 {
                    self.refusals += count;
                    self.refusing += self.cluster.step(input);
                }
            }
            self.refusing += self.cluster.round();
        }
        if self.args.shape != AllocatorShape::Suppress {
            self.steady = self.cluster.round();
        }
    }

    /// One decline, one agent that joins, one task that ends, each with the round that follows.
    fn events(&mut self) {
        for number in 0..EVENTS {
            let resources = shapes::resources(self.args.shape, number, self.args.frameworks as usize);
            let input = self.cluster.join(&resources);
            let took = self.cluster.step_and_round(input);
            self.agent_added.add(took);
            if let Some(input) = self.cluster.decline_newest(number) {
                let took = self.cluster.step_and_round(input);
                self.decline.add(took);
            }
            if let Some((input, task)) = self.cluster.launch_newest(number) {
                self.cluster.step_and_round(input);
                let input = self.cluster.finish(&task);
                let took = self.cluster.step_and_round(input);
                self.task_finished.add(took);
            }
        }
    }
}

fn mode_of(args: &BenchAllocator) -> OfferMode {
    if args.optimistic { OfferMode::Optimistic } else { OfferMode::Exclusive }
}

/// What resides in memory for each framework, idle agent and offer of the shape: measured one after the other on a cluster of its own, as
/// the growth of this process, so pages and what the emulated sides keep are counted too.
fn measure_sizes(args: &BenchAllocator) -> anyhow::Result<Sizes> {
    let mut cluster = Cluster::new(shapes::config());
    let empty = resident()?;
    shapes::subscribe(&mut cluster, args.shape, SIZED_FRAMEWORKS, mode_of(args));
    cluster.suppress_all();
    let with_frameworks = resident()?;
    for number in 0..SIZED_AGENTS {
        let input = cluster.join(&shapes::resources(args.shape, number, SIZED_FRAMEWORKS));
        cluster.step(input);
    }
    cluster.round();
    let with_agents = resident()?;
    cluster.revive_all();
    let with_offers = resident()?;
    let each = |from: u64, to: u64, count: u64| to.saturating_sub(from) / count.max(1);
    Ok(Sizes {
        framework: each(empty, with_frameworks, SIZED_FRAMEWORKS as u64),
        agent: each(with_frameworks, with_agents, SIZED_AGENTS as u64),
        offer: each(with_agents, with_offers, cluster.offers),
    })
}

/// What of this process resides in memory, in bytes.
fn resident() -> anyhow::Result<u64> {
    let status = super::read("/proc/self/status")?;
    Ok(super::field_kib(&status, "VmRSS:").context("no VmRSS in /proc/self/status")? * 1024)
}

#[cfg(test)]
mod tests;
