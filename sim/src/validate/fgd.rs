//! V1 to V5: how much of a GPU cluster placement policies give out, against Weng et al. (USENIX ATC 2023).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rialto_core::scheduler::placement::gpu::GpuAsk;

use super::check::{Check, Row, Verdict, mean, short};
use super::{Effort, Part};
use crate::InputError;
use crate::fgd::{FgdOptions, GpuPolicy, Node, Scores, Ties, initial_fragmentation, read_nodes, read_pods, run_fgd};

const EXPECTED: &str = include_str!("fgd_expected.csv");
/// Fragmentation of the empty cluster in percent of its GPU, and how many kinds of task are typical.
pub(crate) const EMPTY: [(&str, f64, usize); 15] = [
    ("default", 13.9445, 35),
    ("cpu050", 5.5530, 35),
    ("cpu100", 10.5824, 35),
    ("cpu200", 20.8181, 34),
    ("cpu250", 25.8740, 34),
    ("gpushare40", 13.8799, 36),
    ("gpushare60", 13.8180, 33),
    ("gpushare80", 13.7117, 32),
    ("gpushare100", 13.6422, 21),
    ("gpuspec10", 18.9951, 74),
    ("gpuspec20", 25.8453, 102),
    ("gpuspec25", 28.8826, 113),
    ("multigpu20", 14.0212, 38),
    ("multigpu30", 14.0649, 40),
    ("multigpu50", 14.7308, 43),
];
const POLICIES: [GpuPolicy; 6] = [
    GpuPolicy::Random,
    GpuPolicy::DotProd,
    GpuPolicy::Clustering,
    GpuPolicy::Packing,
    GpuPolicy::BestFit,
    GpuPolicy::Fgd,
];
/// The part of idle GPU that is fragmented when so much has arrived, in percent.
const RATIOS: [(GpuPolicy, [f64; 4]); 6] = [
    (GpuPolicy::Random, [30.174, 51.632, 74.642, 96.648]),
    (GpuPolicy::DotProd, [24.191, 35.923, 50.496, 94.185]),
    (GpuPolicy::Clustering, [24.227, 34.231, 46.857, 84.328]),
    (GpuPolicy::Packing, [24.022, 33.949, 46.427, 83.598]),
    (GpuPolicy::BestFit, [21.619, 30.442, 41.493, 74.078]),
    (GpuPolicy::Fgd, [17.862, 23.169, 29.864, 49.970]),
];
const RATIOS_AT: [u64; 4] = [50, 70, 80, 90];
/// From so many seeds on the mean of a policy whose outcome hangs on the order of arrivals is known well enough. At 90 % arrived the ten
/// published seeds of `clustering` have a standard deviation of 5 points, those of `packing` 4.4, and `random` 2.1 at 80 %; the others
/// stay below 1.4, `fgd` at 0.5.
const SEEDS_OF_VARIED: u64 = 20;

type Cluster = (Arc<Vec<Node>>, Arc<Vec<GpuAsk>>);

fn read(folder: &Path, trace: &str) -> Result<Cluster, InputError> {
    let openb = folder.join("openb");
    let nodes = read_nodes(&openb.join("openb_node_list_gpu_node.csv"))?;
    Ok((Arc::new(nodes), Arc::new(read_pods(&openb.join(format!("openb_pod_list_{trace}.csv")))?)))
}

/// A part for each seed: what is given out at 100 and 130 % arrived, and how much of the idle is fragmented on the way.
fn seeds(cluster: &Cluster, options: &FgdOptions, count: u64) -> Vec<Part> {
    let part = |seed| {
        let (nodes, pods) = cluster.clone();
        let options = FgdOptions { first_seed: options.first_seed + seed, seeds: 1, ..options.clone() };
        let part: Part = Box::new(move || {
            let report = run_fgd(&nodes, &pods, &options, |_| {});
            let ratio = RATIOS_AT.iter().map(|at| report.frag_ratio_pct.get(at).copied().unwrap_or(f64::NAN));
            [report.alloc_pct_at_100.mean, report.alloc_pct_at_130.mean].into_iter().chain(ratio).collect()
        });
        part
    };
    (0..count).map(part).collect()
}

/// How many seeds it takes to know the mean of a policy's fragmentation on the way.
fn seeds_of(policy: GpuPolicy, effort: Effort) -> u64 {
    match policy {
        GpuPolicy::Random | GpuPolicy::Clustering | GpuPolicy::Packing => effort.seeds().max(SEEDS_OF_VARIED),
        GpuPolicy::Fgd | GpuPolicy::BestFit | GpuPolicy::DotProd => effort.seeds(),
    }
}

fn mean_of(found: &[Vec<f64>], at: usize) -> f64 {
    mean(found.iter().map(|numbers| numbers[at]))
}

/// V1: no placement at all, fifteen lists of tasks.
pub(super) fn empty_cluster(folder: &Path, _: Effort) -> Result<Check, InputError> {
    let mut parts: Vec<Part> = Vec::new();
    for (trace, _, _) in EMPTY {
        let (nodes, pods) = read(folder, trace)?;
        parts.push(Box::new(move || {
            let (percent, typical) = initial_fragmentation(&nodes, &pods);
            vec![percent, typical as f64]
        }));
    }
    let judge = |found: &[Vec<f64>]| {
        let row = |((trace, percent, typical), got): (&(&str, f64, usize), &Vec<f64>)| {
            let row = Row::near("V1", format!("fragmented % of the empty cluster, {trace}"), *percent, got[0], 0.01);
            let verdict = if got[1] == *typical as f64 { row.verdict } else { Verdict::Fail };
            let kinds = |text: &str, kinds: f64| format!("{text} ({kinds} kinds)");
            let (expected, got) = (kinds(&row.expected, *typical as f64), kinds(&row.got, got[1]));
            Row { expected, got, verdict, ..row }
        };
        EMPTY.iter().zip(found).map(row).collect()
    };
    Ok(Check { parts, judge: Box::new(judge) })
}

/// V2: fifteen lists, six policies.
pub(super) fn table(folder: &Path, effort: Effort) -> Result<Check, InputError> {
    let mut parts = Vec::new();
    for (trace, _, _) in EMPTY {
        let cluster = read(folder, trace)?;
        for policy in POLICIES {
            parts.extend(seeds(&cluster, &FgdOptions { policy, ..FgdOptions::default() }, effort.seeds()));
        }
    }
    let each = effort.seeds() as usize;
    Ok(Check { parts, judge: Box::new(move |found| judge_table(found, each)) })
}

/// What was published for each list and policy, at 100 and at 130 %.
fn published() -> BTreeMap<(&'static str, &'static str), [f64; 2]> {
    let lines = EXPECTED.lines().filter(|line| !line.starts_with('#')).skip(1);
    let cell = |line: &'static str| {
        let mut fields = line.split(',');
        let (trace, policy) = (fields.next()?, fields.next()?);
        Some(((trace, policy), [fields.next()?.parse().ok()?, fields.next()?.parse().ok()?]))
    };
    lines.map(|line| cell(line).expect("the table has four columns")).collect()
}

/// A faithful run with other random numbers is 0.6 to 0.7 off in three cells.
fn tolerance(trace: &str, policy: GpuPolicy) -> f64 {
    match (trace, policy) {
        ("cpu250", GpuPolicy::DotProd) | ("gpushare40", GpuPolicy::Packing | GpuPolicy::Clustering) => 0.9,
        _ => 0.6,
    }
}

fn judge_table(found: &[Vec<f64>], seeds: usize) -> Vec<Row> {
    let published = published();
    let cells = EMPTY.iter().flat_map(|(trace, ..)| POLICIES.map(|policy| (*trace, policy)));
    let got: Vec<_> =
        cells.zip(found.chunks(seeds)).map(|(cell, found)| (cell, [0, 1].map(|at| mean_of(found, at)))).collect();
    let mut rows = Vec::new();
    for (at, percent) in [(0, 100), (1, 130)] {
        for policy in POLICIES {
            let cells = got.iter().filter(|((_, of), _)| *of == policy).map(|((trace, _), got)| {
                let expected = published[&(*trace, policy.as_str())][at];
                let what = format!("given out at {percent} % arrived, {policy}, worst of 15 lists: {trace}");
                let row = Row::near("V2", what, expected, got[at], tolerance(trace, policy));
                ((got[at] - expected).abs() / tolerance(trace, policy), row)
            });
            rows.extend(worst_and_wrong(cells.collect()));
        }
    }
    let wrong = got.chunks(POLICIES.len()).map(|of_trace| wrong_orders(of_trace, &published)).sum::<usize>();
    rows.push(Row::at_most(
        "V2",
        "policies in another order where published means differ by more than a point",
        0.0,
        wrong as f64,
    ));
    rows
}

/// The cell nearest to its bound, or past it, and all others past theirs.
fn worst_and_wrong(mut cells: Vec<(f64, Row)>) -> impl Iterator<Item = Row> {
    cells.sort_by(|a, b| b.0.total_cmp(&a.0));
    cells.into_iter().enumerate().filter(|(at, (part, _))| *at == 0 || *part > 1.0).map(|(_, (_, row))| row)
}

type Cell = ((&'static str, GpuPolicy), [f64; 2]);

/// How many pairs of policies are in another order than published, where those are more than a point apart.
fn wrong_orders(cells: &[Cell], published: &BTreeMap<(&'static str, &'static str), [f64; 2]>) -> usize {
    let of = |((trace, policy), _): &Cell| published[&(*trace, policy.as_str())][0];
    let pairs = cells.iter().flat_map(|a| cells.iter().map(move |b| (a, b)));
    pairs.filter(|(a, b)| of(a) > of(b) + 1.0 && a.1[0] <= b.1[0]).count()
}

/// V3: fragmentation on the way.
pub(super) fn over_arrivals(folder: &Path, effort: Effort) -> Result<Check, InputError> {
    let cluster = read(folder, "default")?;
    let options = RATIOS.map(|(policy, _)| FgdOptions { policy, ..FgdOptions::default() });
    let parts = options.iter().flat_map(|options| seeds(&cluster, options, seeds_of(options.policy, effort))).collect();
    let judge = move |found: &[Vec<f64>]| {
        let (mut rows, mut rest) = (Vec::new(), found);
        for (policy, ratios) in &RATIOS {
            let (found, others) = rest.split_at(seeds_of(*policy, effort) as usize);
            rest = others;
            for (at, (percent, ratio)) in RATIOS_AT.iter().zip(ratios).enumerate() {
                let tolerance = if *percent == 90 { 4.0 } else { 2.0 };
                let what = format!("fragmented % of idle at {percent} % arrived, {policy}");
                rows.push(Row::near("V3", what, *ratio, mean_of(found, 2 + at), tolerance));
            }
        }
        rows
    };
    Ok(Check { parts, judge: Box::new(judge) })
}

/// V4: what the method owes to whole scores and a fixed order of ties.
pub(super) fn ablation(folder: &Path, effort: Effort) -> Result<Check, InputError> {
    const WAYS: [(&str, Scores, Ties, f64); 3] = [
        ("random ties", Scores::Percent, Ties::Random, 89.83),
        ("exact scores", Scores::Exact, Ties::First, 93.99),
        ("exact scores, random ties", Scores::Exact, Ties::Random, 89.72),
    ];
    let cluster = read(folder, "default")?;
    let options = WAYS.map(|(_, scores, ties, _)| FgdOptions { scores, ties, ..FgdOptions::default() });
    let parts = options.iter().flat_map(|options| seeds(&cluster, options, effort.seeds())).collect();
    let judge = move |found: &[Vec<f64>]| {
        let ways = WAYS.iter().zip(found.chunks(effort.seeds() as usize));
        ways.map(|((name, _, _, expected), found)| {
            Row::near("V4", format!("given out at 100 % arrived, {name}"), *expected, mean_of(found, 0), 0.8)
        })
        .collect()
    };
    Ok(Check { parts, judge: Box::new(judge) })
}

/// V5: two frameworks that each see a few nodes at a time.
pub(super) fn through_offers(folder: &Path, effort: Effort) -> Result<Check, InputError> {
    const OFFERED: [(usize, f64); 3] = [(20, 94.2), (50, 94.7), (200, 95.0)];
    let cluster = read(folder, "default")?;
    let options =
        OFFERED.map(|(nodes, _)| FgdOptions { offer_nodes: Some(nodes), frameworks: 2, ..FgdOptions::default() });
    let parts = options.iter().flat_map(|options| seeds(&cluster, options, effort.seeds())).collect();
    let judge = move |found: &[Vec<f64>]| {
        let ways = OFFERED.iter().zip(found.chunks(effort.seeds() as usize));
        ways.map(|((nodes, bound), found)| {
            let sd = spread(found.iter().map(|numbers| numbers[0]));
            let what = format!("given out at 100 % arrived, two frameworks, {nodes} nodes offered");
            let row = Row::at_least("V5", what, *bound, mean_of(found, 0));
            Row { got: format!("{} (sd {})", row.got, short(sd)), ..row }
        })
        .collect()
    };
    Ok(Check { parts, judge: Box::new(judge) })
}

fn spread(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let middle = mean(values.clone());
    mean(values.map(|value| (value - middle) * (value - middle))).sqrt()
}
