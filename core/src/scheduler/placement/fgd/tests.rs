use std::sync::Arc;

use super::*;
use crate::scheduler::placement::gpu::ModelId;
use crate::scheduler::placement::policy::{self, Largest};

fn ask(cpu_milli: u64, gpus: u16, share: u16) -> GpuAsk {
    GpuAsk { cpus: Milli(cpu_milli), mem: Milli::ZERO, gpus, share: Share(share), models: Vec::new() }
}

fn model(name: &str) -> Option<ModelId> {
    Some(Models::default().id(name))
}

fn node(cpu_milli: u64, gpus: &[u16]) -> GpuNode {
    GpuNode { cpus: Milli(cpu_milli), mem: Milli::ZERO, model: model("A"), gpus: gpus.iter().copied().collect() }
}

fn wanted(ask: &GpuAsk) -> Wanted {
    Models::default().compile(ask)
}

#[test]
fn without_cores_all_that_is_idle_is_a_fragment() {
    let measure = Fragmentation::of_workload(&[ask(6000, 1, 465)]);
    assert_eq!((measure.weighted(&node(1000, &[200, 1000, 1000, 500])), measure.total()), (2700, 1));
}

#[test]
fn a_task_without_gpus_uses_none_so_all_that_is_idle_is_lost_to_it() {
    let measure = Fragmentation::of_workload(&[ask(100, 0, 0)]);
    assert_eq!(measure.weighted(&node(96_000, &[1000, 300])), 1300);
}

#[test]
fn what_is_too_small_on_a_machine_that_can_host_is_lost() {
    let measure = Fragmentation::of_workload(&[ask(1000, 1, 465)]);
    assert_eq!(measure.weighted(&node(6000, &[200, 1000, 464, 465])), 664);
}

#[test]
fn a_model_that_is_not_wanted_is_all_fragment() {
    let only_b = GpuAsk { models: vec![Arc::from("B")], ..ask(1000, 1, 500) };
    let mut measure = Fragmentation::of_workload(&[only_b]);
    let (a, b) = (measure.models().id("A"), measure.models().id("B"));
    let of = |model| GpuNode { model: Some(model), ..node(6000, &[1000]) };
    assert_eq!((measure.weighted(&of(a)), measure.weighted(&of(b))), (1000, 0));
}

#[test]
fn the_typical_tasks_are_the_most_common_that_make_up_95_of_100() {
    let mut tasks = vec![ask(1000, 1, 1000); 90];
    tasks.extend(vec![ask(2000, 1, 500); 5]);
    tasks.extend(vec![ask(3000, 1, 500); 5]);
    let measure = Fragmentation::of_workload(&tasks);
    // Of two that are equally common the larger comes first.
    assert_eq!((measure.typical(), measure.total()), (2, 95));
    assert_eq!(measure.weighted(&node(2000, &[500])), 95 * 500, "only the one with 2 cores would fit");
}

#[test]
fn no_gain_scores_half_and_scores_are_those_of_the_sigmoid() {
    let measure = Fragmentation::of_workload(&[ask(1000, 1, 1000)]);
    assert_eq!(measure.score(0), 50);
    for gain in (-8000..=8000).filter(|gain| *gain != 0) {
        let expected = (100.0 / (1.0 + (-f64::from(gain) / 1000.0).exp())).floor();
        assert_eq!(measure.score(i64::from(gain)), expected as i64, "gain {gain}");
    }
}

#[test]
fn a_sharing_task_goes_where_it_breaks_least() {
    let measure = Fragmentation::of_workload(&[ask(0, 1, 1000), ask(0, 1, 400)]);
    let scene = node(96_000, &[1000, 400, 700]);
    let (picked, gain) = measure.descend(&scene, measure.weighted(&scene), &wanted(&ask(0, 1, 400)));
    assert_eq!((picked.as_slice(), gain > 0), (&[1][..], true), "the fragment of 400 is used up");
}

#[test]
fn whole_gpus_are_taken_from_the_lowest_number() {
    let measure = Fragmentation::of_workload(&[ask(0, 1, 1000)]);
    let scene = node(96_000, &[500, 1000, 1000, 1000]);
    let (picked, _) = measure.descend(&scene, measure.weighted(&scene), &wanted(&ask(0, 2, 1000)));
    assert_eq!(picked.as_slice(), &[1, 2]);
}

#[test]
fn packing_scores_are_those_of_the_published_examples() {
    let partly = node(0, &[200, 1000, 1000, 500]);
    assert_eq!(policy::packing(&partly, &wanted(&ask(0, 2, 1000))), 48);
    assert_eq!(policy::packing(&node(0, &[1000; 4]), &wanted(&ask(0, 2, 1000))), 29);
    assert_eq!(policy::packing(&node(0, &[1000; 8]), &wanted(&ask(0, 2, 1000))), 25);
    assert_eq!(policy::packing(&partly, &wanted(&ask(0, 2, 200))), 93);
}

#[test]
fn every_policy_has_a_name_that_reads_back() {
    for policy in policy::GpuPolicy::ALL {
        assert_eq!(policy.as_str().parse(), Ok(policy));
    }
    let error = "best".parse::<policy::GpuPolicy>().unwrap_err().to_string();
    assert_eq!(error, "placement policy: expected fgd, bestfit, packing, clustering, dotprod or random, got \"best\"");
    assert_eq!(Largest::default().gpus, 8);
}
