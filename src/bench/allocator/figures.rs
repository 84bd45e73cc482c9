//! What was measured, put together and printed.

use std::time::Duration;

use serde::Serialize;

use super::{Run, mesos};
use crate::bench::{Build, Machine, thousandths};
use crate::cli::AllocatorShape;
use crate::output;

/// How long something took, each time.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples(Vec<Duration>);

impl Samples {
    pub(super) fn add(&mut self, took: Duration) {
        self.0.push(took);
    }

    /// In microseconds; `None` if nothing was measured.
    fn percentiles(&self) -> Option<Micros> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        let at = |part: f64| micros(sorted[(last as f64 * part).round() as usize]);
        Some(Micros { p50: at(0.50), p99: at(0.99) })
    }
}

/// Microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Micros {
    pub(super) p50: f64,
    pub(super) p99: f64,
}

/// Bytes that reside in memory for each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) framework: u64,
    pub(super) agent: u64,
    pub(super) offer: u64,
}

/// What is printed.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    shape: AllocatorShape,
    agents: u32,
    frameworks: u32,
    /// How many offers the shape's round made.
    pub(super) offers: u64,
    /// What the shape does once over the whole cluster: adding or updating all agents, with the offers that follow; else the round that
    /// offers all of them.
    round_ms: f64,
    /// A round after nothing has changed; of the shape `suppress`, one over all agents while nobody takes offers.
    steady_round_ms: f64,
    /// Each with the round that follows.
    pub(super) event_us: Events,
    pub(super) us_per_offer: Option<f64>,
    /// One agent's registration, without the offers that follow.
    us_per_agent: f64,
    /// A decline among many, with the offers that follow.
    us_per_refusal: Option<f64>,
    /// How many refusals are remembered.
    pub(super) refusals: u64,
    bytes_per_agent: u64,
    bytes_per_offer: u64,
    bytes_per_framework: u64,
    mesos: Mesos,
    machine: Machine,
    build: Build,
}

/// Single events, in microseconds.
#[derive(Debug, Serialize)]
pub(super) struct Events {
    pub(super) decline: Option<Micros>,
    pub(super) agent_added: Option<Micros>,
    pub(super) task_finished: Option<Micros>,
}

/// The figures of Apache Mesos for the same shape, where it was measured.
#[derive(Debug, Serialize)]
struct Mesos {
    round_ms: Option<f64>,
    steady_round_ms: Option<f64>,
    /// How many times faster the round is here.
    round_ratio: Option<f64>,
}

impl Figures {
    pub(super) fn of(run: &Run<'_>, sizes: Sizes) -> anyhow::Result<Self> {
        let (shape, agents, frameworks) = (run.args.shape, run.args.agents, run.args.frameworks);
        let round_ms = millis(run.round);
        let theirs = mesos::round_ms(shape, agents, frameworks);
        Ok(Self {
            shape,
            agents,
            frameworks,
            offers: run.offers,
            round_ms,
            steady_round_ms: millis(run.steady),
            event_us: Events {
                decline: run.decline.percentiles(),
                agent_added: run.agent_added.percentiles(),
                task_finished: run.task_finished.percentiles(),
            },
            us_per_offer: each(run.offering, run.offers),
            us_per_agent: each(run.joining, agents.into()).unwrap_or_default(),
            us_per_refusal: each(run.refusing, run.refusals),
            refusals: run.refusals,
            bytes_per_agent: sizes.agent,
            bytes_per_offer: sizes.offer,
            bytes_per_framework: sizes.framework,
            mesos: Mesos {
                round_ms: theirs,
                steady_round_ms: mesos::steady_round_ms(shape, agents, frameworks),
                round_ratio: theirs.map(|theirs| thousandths(theirs / round_ms)),
            },
            machine: Machine::here()?,
            build: Build::this(),
        })
    }
}

fn micros(took: Duration) -> f64 {
    thousandths(took.as_secs_f64() * 1e6)
}

fn millis(took: Duration) -> f64 {
    thousandths(took.as_secs_f64() * 1e3)
}

fn each(took: Duration, count: u64) -> Option<f64> {
    (count > 0).then(|| thousandths(took.as_secs_f64() * 1e6 / count as f64))
}

/// As JSON, or for people.
pub(super) fn print(figures: &Figures, json: bool) -> anyhow::Result<()> {
    if json {
        return output::json(figures);
    }
    let none = "not measured";
    output::table(&["figure", "Rialto", "Apache Mesos"], rows(figures), none)?;
    Ok(())
}

fn rows(figures: &Figures) -> Vec<Vec<String>> {
    let ms = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.1} ms"));
    let us = |value: Option<f64>| value.map_or_else(|| "none".to_owned(), |value| format!("{value:.2} µs"));
    let event = |found: Option<Micros>| {
        found.map_or_else(|| "none".to_owned(), |it| format!("p50 {:.1} µs, p99 {:.1} µs", it.p50, it.p99))
    };
    let Figures { mesos, event_us, .. } = figures;
    let cluster = format!("{} agents, {} frameworks, {:?}", figures.agents, figures.frameworks, figures.shape);
    let rows = [
        ("cluster", cluster, String::new()),
        ("round", format!("{:.3} ms", figures.round_ms), ms(mesos.round_ms)),
        ("round, nothing changed", format!("{:.3} ms", figures.steady_round_ms), ms(mesos.steady_round_ms)),
        ("offers", figures.offers.to_string(), String::new()),
        ("an offer", us(figures.us_per_offer), String::new()),
        ("an agent, of all that join", us(Some(figures.us_per_agent)), String::new()),
        ("refusals", figures.refusals.to_string(), String::new()),
        ("a refusal, of all", us(figures.us_per_refusal), String::new()),
        ("one decline", event(event_us.decline), String::new()),
        ("one agent joins", event(event_us.agent_added), String::new()),
        ("one task ends", event(event_us.task_finished), String::new()),
        ("memory of an idle agent", format!("{} B", figures.bytes_per_agent), String::new()),
        ("memory of an offer", format!("{} B", figures.bytes_per_offer), String::new()),
        ("memory of a framework", format!("{} B", figures.bytes_per_framework), String::new()),
        ("machine", figures.machine.words(), String::new()),
        ("build", figures.build.words(), String::new()),
    ];
    rows.into_iter().map(|(name, ours, theirs)| vec![name.to_owned(), ours, theirs]).collect()
}
