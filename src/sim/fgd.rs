//! `rialto sim fgd`.

use std::collections::BTreeMap;

use rialto_sim::fgd::{self, FgdOptions, FgdReport, Spread};
use serde::Serialize;

use super::args::SimFgd;
use super::progress::Progress;
use crate::output;

/// The percents of arrival that the table on the terminal shows.
const SHOWN: [u64; 9] = [0, 50, 70, 80, 90, 95, 100, 115, 130];

#[derive(Serialize)]
struct Json {
    policy: &'static str,
    seeds: u64,
    offer_nodes: Option<u32>,
    frameworks: u32,
    nodes: usize,
    gpus: u64,
    arrived: u64,
    dropped: u64,
    alloc_pct_at_100: JsonSpread,
    alloc_pct_at_130: JsonSpread,
    alloc_pct: BTreeMap<u64, f64>,
    frag_ratio_pct: BTreeMap<u64, f64>,
    initial_fragmentation_pct: f64,
    typical_kinds_of_task: usize,
    offers: u64,
}

#[derive(Serialize)]
struct JsonSpread {
    mean: f64,
    sd: f64,
}

/// Replays tasks on nodes and says how much could be given out.
pub fn run(args: &SimFgd) -> anyhow::Result<u8> {
    let nodes = fgd::read_nodes(&args.nodes)?;
    let pods = fgd::read_pods(&args.pods)?;
    let options = FgdOptions {
        policy: args.policy,
        seeds: args.seeds,
        offer_nodes: args.offer_nodes.map(|nodes| nodes as usize),
        frameworks: args.frameworks as usize,
        ..FgdOptions::default()
    };
    let mut progress = Progress::new("seed", args.seeds);
    let report = fgd::run_fgd(&nodes, &pods, &options, |done| progress.reached(done));
    progress.end();
    if args.json {
        output::json(&json(args, &report))?;
    } else {
        print(args, &report)?;
    }
    Ok(0)
}

fn json(args: &SimFgd, report: &FgdReport) -> Json {
    let spread = |spread: Spread| JsonSpread { mean: round(spread.mean), sd: round(spread.sd) };
    let rounded = |bins: &BTreeMap<u64, f64>| bins.iter().map(|(bin, value)| (*bin, round(*value))).collect();
    Json {
        policy: args.policy.as_str(),
        seeds: args.seeds,
        offer_nodes: args.offer_nodes,
        frameworks: args.frameworks,
        nodes: report.nodes,
        gpus: report.gpus,
        arrived: report.arrived,
        dropped: report.dropped,
        alloc_pct_at_100: spread(report.alloc_pct_at_100),
        alloc_pct_at_130: spread(report.alloc_pct_at_130),
        alloc_pct: rounded(&report.alloc_pct),
        frag_ratio_pct: rounded(&report.frag_ratio_pct),
        initial_fragmentation_pct: round(report.initial_fragmentation_pct),
        typical_kinds_of_task: report.typical,
        offers: report.offers,
    }
}

fn print(args: &SimFgd, report: &FgdReport) -> anyhow::Result<()> {
    let offered = args
        .offer_nodes
        .map_or_else(|| "all nodes offered".to_owned(), |nodes| format!("{nodes} nodes offered at once"));
    output::line(format_args!(
        "{} GPUs on {} nodes, {} tasks in {} orders, policy {}, {offered}",
        report.gpus, report.nodes, report.arrived, args.seeds, args.policy
    ))?;
    output::line(format_args!(
        "empty cluster: {:.2} % of the GPU is fragmented for the {} typical kinds of task",
        report.initial_fragmentation_pct, report.typical
    ))?;
    let at =
        |bins: &BTreeMap<u64, f64>, bin| bins.get(&bin).map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
    let row = |bin| vec![format!("{bin} %"), at(&report.alloc_pct, bin), at(&report.frag_ratio_pct, bin)];
    let header = ["arrived", "given out %", "fragmented % of idle"];
    output::table(&header, SHOWN.into_iter().map(row).collect(), "nothing arrived")?;
    for (percent, spread) in [(100, report.alloc_pct_at_100), (130, report.alloc_pct_at_130)] {
        output::line(format_args!(
            "at {percent} % arrived: {:.2} ± {:.2} % of the GPU given out",
            spread.mean, spread.sd
        ))?;
    }
    Ok(())
}

/// To four decimals.
fn round(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}
