//! `fgd NODES PODS [POLICY [SEEDS [OFFER-NODES [FRAMEWORKS]]]]`: runs the experiment and prints what came of it.

use rialto_sim::fgd::{FgdOptions, read_nodes, read_pods, run_fgd};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let nodes = read_nodes(args[0].as_ref()).expect("nodes");
    let pods = read_pods(args[1].as_ref()).expect("pods");
    let number = |at: usize, or: u64| args.get(at).and_then(|arg| arg.parse().ok()).unwrap_or(or);
    let options = FgdOptions {
        policy: args.get(2).map_or_else(Default::default, |policy| policy.parse().expect("policy")),
        seeds: number(3, 1),
        offer_nodes: Some(number(4, 0) as usize).filter(|nodes| *nodes > 0),
        frameworks: number(5, 1) as usize,
        ..FgdOptions::default()
    };
    let report = run_fgd(&nodes, &pods, &options, |_| {});
    println!(
        "{} {:?} {:?} frag {:.4} ({}) dropped {} offers {} ratio@50,70,80,90: {:?}",
        options.policy,
        report.alloc_pct_at_100,
        report.alloc_pct_at_130,
        report.initial_fragmentation_pct,
        report.typical,
        report.dropped,
        report.offers,
        [50, 70, 80, 90].map(|bin| report.frag_ratio_pct.get(&bin).copied().unwrap_or_default())
    );
}
