use std::path::{Path, PathBuf};

use super::*;
use crate::input::Table;
use crate::validate::fgd::EMPTY;

fn table(text: &str) -> Table {
    Table::of_text(Path::new("t.csv"), text.to_owned()).expect("a table")
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn small() -> (Vec<Node>, Vec<GpuAsk>) {
    let nodes = read_nodes(&data("openb_nodes_small.csv")).expect("the nodes of the tests");
    (nodes, read_pods(&data("openb_pods_small.csv")).expect("the pods of the tests"))
}

fn run(options: &FgdOptions) -> FgdReport {
    let (nodes, pods) = small();
    run_fgd(&nodes, &pods, &FgdOptions { seeds: 2, ..options.clone() }, |_| {})
}

#[test]
fn broken_nodes_are_refused_by_line() {
    let header = "sn,cpu_milli,memory_mib,gpu,model";
    let error = |line: &str| trace::nodes(&table(&format!("{header}\n{line}\n"))).unwrap_err().to_string();
    assert_eq!(error("n,1000,1,2,"), "t.csv:2: model: expected the model of the 2 GPUs, got nothing");
    assert_eq!(error("n,1000,1,900,A"), "t.csv:2: gpu: expected a whole number from 0 to 256, got \"900\"");
    assert_eq!(error("n,1000,1,0,"), "t.csv:2: gpu: expected at least one node with a GPU, got none up to here");
    assert_eq!(error(",1000,1,1,A"), "t.csv:2: sn: expected the name of the node, got nothing");
    assert_eq!(error("n,1000"), "t.csv:2: expected 5 fields, got 2: \"n,1000\"");
}

#[test]
fn broken_pods_are_refused_by_line() {
    let header = "name,cpu_milli,memory_mib,num_gpu,gpu_milli";
    let error = |line: &str| trace::pods(&table(&format!("{header}\n{line}\n"))).unwrap_err().to_string();
    assert_eq!(error("p,1,1,1,0"), "t.csv:2: gpu_milli: expected 1 to 1000 of each of the 1 GPUs, got 0");
    assert_eq!(error("p,1,1,1,1001"), "t.csv:2: gpu_milli: expected a whole number from 0 to 1000, got \"1001\"");
    assert_eq!(error("p,-1,1,1,10"), "t.csv:2: cpu_milli: expected a whole number from 0 to 100000000, got \"-1\"");
}

#[test]
fn arrivals_go_on_until_they_ask_for_what_is_wanted() {
    let (nodes, pods) = small();
    let wanted = workload::capacity(&nodes) * 13 / 10;
    let demand = |asks: &[GpuAsk]| asks.iter().map(|ask| u64::from(ask.gpus) * u64::from(ask.share.0)).sum::<u64>();
    let arrivals = workload::arrivals(&pods, wanted, &mut Dice::child(1, "fgd"));
    assert!((wanted - 8000..=wanted + 8000).contains(&demand(&arrivals)));
    let fewer = workload::arrivals(&pods, wanted / 4, &mut Dice::child(1, "fgd"));
    assert!(demand(&fewer) <= wanted / 4 && fewer.len() < pods.len());
}

#[test]
fn the_same_seeds_give_the_same_report() {
    assert_eq!(run(&FgdOptions::default()), run(&FgdOptions::default()));
}

#[test]
fn fgd_gives_out_more_than_random_places_do() {
    let fgd = run(&FgdOptions::default()).alloc_pct_at_100.mean;
    let random = run(&FgdOptions { policy: GpuPolicy::Random, ..FgdOptions::default() }).alloc_pct_at_100.mean;
    assert!(fgd > random + 2.0, "fgd {fgd} random {random}");
}

#[test]
fn a_few_offers_at_a_time_cost_little() {
    let all = run(&FgdOptions::default()).alloc_pct_at_100.mean;
    let few = run(&FgdOptions { offer_nodes: Some(10), ..FgdOptions::default() }).alloc_pct_at_100.mean;
    assert!(few > all - 3.0 && few < all + 1.0, "all {all} few {few}");
}

#[test]
fn who_is_offered_20_nodes_of_many_chooses_nearly_as_well_as_who_is_offered_all() {
    let (nodes, pods) = small();
    let copies =
        |number: u32| nodes.iter().map(move |node| Node { name: format!("{}-{number}", node.name), ..node.clone() });
    let nodes: Vec<Node> = (0..8).flat_map(copies).collect();
    let given = |offer_nodes| {
        let options = FgdOptions { seeds: 1, offer_nodes, ..FgdOptions::default() };
        run_fgd(&nodes, &pods, &options, |_| {}).alloc_pct_at_100.mean
    };
    let (all, few) = (given(None), given(Some(20)));
    assert!(few > all - 1.5, "all {all} few {few}");
}

#[test]
fn two_frameworks_share_the_nodes() {
    let report = run(&FgdOptions { frameworks: 2, offer_nodes: Some(10), ..FgdOptions::default() });
    assert!(report.alloc_pct_at_100.mean > 85.0, "{report:?}");
}

/// The traces of the repository's neighbour, where it has one.
fn traces() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/traces/openb");
    path.exists().then_some(path)
}

#[test]
fn fragmentation_of_the_empty_cluster_is_as_published_for_every_trace() {
    let Some(traces) = traces() else {
        eprintln!("skipped: no traces beside the repository");
        return;
    };
    let nodes = read_nodes(&traces.join("openb_node_list_gpu_node.csv")).expect("the nodes read");
    for (name, percent, kinds) in EMPTY {
        let pods = read_pods(&traces.join(format!("openb_pod_list_{name}.csv"))).expect("the pods read");
        let (got, typical) = initial_fragmentation(&nodes, &pods);
        assert!((got - percent).abs() < 0.01 && typical == kinds, "{name}: {got} of {typical} kinds");
    }
}
