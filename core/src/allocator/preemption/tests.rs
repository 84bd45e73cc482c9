use std::time::Duration;

use super::{Candidate, choose, loss};
use crate::model::Resources;

fn resources(text: &str) -> Resources {
    text.parse().expect("resources")
}

fn candidate(key: &'static str, priority: i32, loss: u128, frees: &str) -> Candidate<&'static str> {
    Candidate { key, priority, loss, frees: resources(frees) }
}

/// The victims for `wanted` where `free` is free.
fn victims(candidates: Vec<Candidate<&'static str>>, free: &str, wanted: &str) -> Option<Vec<&'static str>> {
    let wanted = resources(wanted);
    choose(candidates, &resources(free), |pool, _| pool.contains(&wanted)).map(|choice| choice.victims)
}

#[test]
fn nothing_is_ended_for_what_fits() {
    assert_eq!(victims(vec![candidate("a", 0, 1, "cpus:1")], "cpus:4", "cpus:2"), Some(vec![]));
}

#[test]
fn the_lowest_priority_goes_first_then_the_least_work() {
    let three = || {
        vec![candidate("old", 0, 900, "cpus:2"), candidate("new", 0, 10, "cpus:2"), candidate("vip", 5, 1, "cpus:2")]
    };
    assert_eq!(victims(three(), "", "cpus:2"), Some(vec!["new"]));
    assert_eq!(victims(three(), "", "cpus:4"), Some(vec!["new", "old"]));
    assert_eq!(victims(three(), "", "cpus:6"), Some(vec!["new", "old", "vip"]));
}

#[test]
fn who_turns_out_not_to_be_needed_stays() {
    let two = vec![candidate("small", 0, 1, "cpus:1"), candidate("large", 0, 5, "cpus:4")];
    assert_eq!(victims(two, "", "cpus:4"), Some(vec!["large"]));
}

#[test]
fn nobody_is_ended_in_vain() {
    assert_eq!(victims(vec![candidate("a", 0, 1, "cpus:1")], "cpus:1", "cpus:4"), None);
}

#[test]
fn work_is_what_was_held_times_how_long() {
    let total = resources("cpus:8;mem:1000").quantities();
    let of =
        |text: &str, seconds| loss(&resources(text).quantities(), &total, Duration::from_secs(seconds), Duration::ZERO);
    assert!(of("cpus:4", 10) > of("cpus:1", 10) && of("cpus:1", 100) > of("cpus:1", 10));
    assert_eq!(of("cpus:4", 10), of("mem:500", 10), "the resource that it holds most of counts");
    let cleaned = loss(&resources("cpus:1").quantities(), &total, Duration::from_secs(10), Duration::from_secs(10));
    assert_eq!(cleaned, of("cpus:1", 20));
}
