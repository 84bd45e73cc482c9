use std::collections::BTreeMap;

use super::{Exceeded, Force, Holding, Priorities, Quota, QuotaError, Quotas, parse_amounts};
use crate::model::{Milli, Quantities, ResourceName, Role};

fn role(name: &str) -> Role {
    Role::new(name).expect("a role")
}

fn amounts(text: &str) -> Quantities {
    let mut quantities = Quantities::new();
    parse_amounts(text).expect("amounts").iter().for_each(|(name, amount)| quantities.set(name, *amount));
    quantities
}

fn quota(limit: &str, guarantee: &str) -> Quota {
    Quota { limit: parse_amounts(limit).expect("amounts"), guarantee: amounts(guarantee), priorities: None }
}

/// A cluster of 100 cpus with these quotas.
fn with(quotas: &[(&str, &str, &str)]) -> Quotas {
    let mut all = Quotas::new();
    all.grow(&amounts("cpus:100"));
    let changes: Vec<_> =
        quotas.iter().map(|(name, limit, guarantee)| (role(name), Some(quota(limit, guarantee)))).collect();
    all.set(&changes, Force::No).expect("they are acceptable");
    all
}

#[test]
fn what_is_charged_to_a_role_counts_for_those_above_it() {
    let mut quotas = with(&[("eng", "cpus:10", "")]);
    quotas.charge(&role("eng/ci/nightly"), Holding::Task, &amounts("cpus:4"));
    quotas.charge(&role("eng"), Holding::Offer, &amounts("cpus:3"));
    let left = quotas.left(&role("eng/web"), &Quantities::new()).expect("it is bounded");
    assert_eq!(left.get(&ResourceName::Cpus), Some(&Milli::from_whole(3)));
    assert_eq!(quotas.left(&role("engine"), &Quantities::new()), None, "what only begins like it is another role");
    quotas.credit(&role("eng"), Holding::Offer, &amounts("cpus:3"));
    assert!(quotas.check(&role("eng"), &amounts("cpus:6")).is_ok());
    quotas.check_invariants();
}

#[test]
fn the_first_limit_from_the_top_is_named() {
    let mut quotas = with(&[("eng", "cpus:10", ""), ("eng/ci", "cpus:2", "")]);
    quotas.charge(&role("eng/web"), Holding::Task, &amounts("cpus:9"));
    let exceeded = |quotas: &Quotas, asked: &str| quotas.check(&role("eng/ci"), &amounts(asked)).expect_err("too much");
    let Exceeded { role: at, limit, held, asked, .. } = exceeded(&quotas, "cpus:3");
    assert_eq!((at.as_str(), limit.0, held.0, asked.0), ("eng", 10_000, 9000, 3000));
    quotas.credit(&role("eng/web"), Holding::Task, &amounts("cpus:9"));
    assert_eq!(exceeded(&quotas, "cpus:3").role.as_str(), "eng/ci");
}

#[test]
fn what_is_not_asked_for_is_not_in_the_way() {
    let mut quotas = with(&[("eng", "cpus:1", "")]);
    quotas.charge(&role("eng"), Holding::Task, &amounts("cpus:1"));
    assert!(quotas.check(&role("eng"), &amounts("mem:1000")).is_ok());
}

#[test]
fn a_promise_is_in_the_way_of_others_only() {
    let mut quotas = with(&[("eng", "cpus:4", "")]);
    let (ci, promised) = (role("eng/ci"), amounts("cpus:3"));
    quotas.charge(&ci, Holding::Promise, &promised);
    assert!(quotas.check(&role("eng/web"), &amounts("cpus:2")).is_err());
    assert!(quotas.check_after(&ci, &amounts("cpus:4"), &[(&ci, &promised)]).is_ok());
}

#[test]
fn who_was_held_back_is_named_when_there_is_room_again() {
    let mut quotas = with(&[("eng", "cpus:2", "")]);
    quotas.take_relaxed();
    quotas.charge(&role("eng/ci"), Holding::Task, &amounts("cpus:2"));
    quotas.credit(&role("eng/ci"), Holding::Task, &amounts("cpus:1"));
    assert!(!quotas.has_relaxed(), "nobody waited for it");
    quotas.press(&role("eng/web"));
    quotas.credit(&role("eng/ci"), Holding::Task, &amounts("cpus:1"));
    assert_eq!(quotas.take_relaxed().iter().map(|role| &**role).collect::<Vec<_>>(), ["eng"]);
}

#[test]
fn what_was_held_before_a_lower_limit_may_only_shrink() {
    let mut quotas = with(&[]);
    quotas.charge(&role("eng"), Holding::Task, &amounts("cpus:8"));
    let low = [(role("eng"), Some(quota("cpus:2", "")))];
    assert!(matches!(quotas.set(&low, Force::No), Err(QuotaError::BelowUse { .. })));
    quotas.set(&low, Force::Yes).expect("it is forced");
    quotas.check_invariants();
    quotas.credit(&role("eng"), Holding::Task, &amounts("cpus:4"));
    assert!(quotas.check(&role("eng"), &amounts("cpus:1")).is_err());
    // Raised, although still exceeded: that makes nothing worse.
    quotas.set(&[(role("eng"), Some(quota("cpus:3", "")))], Force::No).expect("it is raised");
    quotas.check_invariants();
}

#[test]
fn a_guarantee_is_met_by_what_tasks_hold() {
    let mut quotas = with(&[("eng", "", "cpus:4"), ("ops", "", "cpus:2")]);
    assert_eq!(quotas.unmet().collect::<Vec<_>>(), ["eng", "ops"]);
    quotas.charge(&role("eng/ci"), Holding::Task, &amounts("cpus:4"));
    quotas.charge(&role("ops"), Holding::Offer, &amounts("cpus:2"));
    assert_eq!(quotas.unmet().collect::<Vec<_>>(), ["ops"]);
    quotas.credit(&role("eng/ci"), Holding::Task, &amounts("cpus:1"));
    assert!(quotas.is_unmet(&role("eng/web")) && !quotas.is_unmet(&role("other")));
}

#[test]
fn a_demand_is_entitled_to_what_its_guarantee_still_covers() {
    let mut quotas = with(&[("eng", "", "cpus:4")]);
    quotas.charge(&role("eng/web"), Holding::Task, &amounts("cpus:2"));
    let entitled = |asked: &str| quotas.entitled(&role("eng/ci"), &amounts(asked)).is_some();
    assert!(entitled("cpus:2") && entitled("cpus:1;mem:500"), "memory comes along");
    assert!(!entitled("cpus:3") && !entitled("mem:500"));
}

#[test]
fn nobody_loses_its_guarantee_to_another() {
    let mut quotas = with(&[("eng", "", "cpus:4"), ("ops", "", "cpus:2")]);
    quotas.charge(&role("ops"), Holding::Task, &amounts("cpus:4"));
    let claimant = role("eng/ci");
    let may = |taken: &str, gone: &BTreeMap<_, _>| quotas.may_lose(&role("ops"), &claimant, &amounts(taken), gone);
    assert!(may("cpus:2", &BTreeMap::new()) && !may("cpus:3", &BTreeMap::new()));
    assert!(!may("cpus:1", &BTreeMap::from([("ops".into(), amounts("cpus:2"))])), "two are gone already");
}

#[test]
fn what_is_beyond_the_guarantee_is_borrowed_from_those_below_theirs() {
    let mut quotas = with(&[("eng", "", "cpus:4"), ("ops", "", "cpus:2")]);
    let borrowed = |quotas: &Quotas, asked: &str| quotas.is_borrowed(&role("ops"), &amounts(asked));
    assert!(!borrowed(&quotas, "cpus:2") && borrowed(&quotas, "cpus:3") && !borrowed(&quotas, "mem:64"));
    quotas.charge(&role("eng"), Holding::Task, &amounts("cpus:4"));
    assert!(!borrowed(&quotas, "cpus:3"), "nobody else lacks anything");
}

#[test]
fn priorities_are_bounded_by_every_role_above() {
    let mut quotas = Quotas::new();
    let bounds = |lowest, highest| Some(Quota { priorities: Some(Priorities { lowest, highest }), ..Quota::default() });
    let changes = [(role("eng"), bounds(-5, 5)), (role("eng/ci"), bounds(-10, 3))];
    quotas.set(&changes, Force::No).expect("they are acceptable");
    assert_eq!(quotas.bound_priority(&role("eng/ci"), 100), 3);
    assert_eq!(quotas.bound_priority(&role("eng/ci"), -100), -5);
    assert_eq!(quotas.bound_priority(&role("eng/web"), 100), 5);
    assert_eq!(quotas.bound_priority(&role("ops"), 100), 100);
}

#[test]
fn a_role_of_which_there_is_nothing_to_say_is_forgotten() {
    let mut quotas = with(&[("eng", "cpus:4", "")]);
    quotas.charge(&role("eng/ci"), Holding::Task, &amounts("cpus:1"));
    quotas.add_priority(&role("eng/ci"), 7);
    quotas.wait(&role("eng/ci"), 0, 3);
    quotas.credit(&role("eng/ci"), Holding::Task, &amounts("cpus:1"));
    quotas.remove_priority(&role("eng/ci"), 7);
    quotas.wait(&role("eng/ci"), 3, 0);
    assert_eq!(quotas.usages().map(|(role, _)| role.to_string()).collect::<Vec<_>>(), ["eng"]);
    quotas.set(&[(role("eng"), None)], Force::No).expect("it may be taken back");
    assert_eq!(quotas.usages().count(), 0);
}

#[test]
fn amounts_are_read_from_text() {
    let read = parse_amounts("cpus:1.5; device/gpu/NVIDIA H100:2;device/gpu:0").expect("amounts");
    let shown: Vec<String> = read.iter().map(|(name, amount)| format!("{name}:{amount}")).collect();
    assert_eq!(shown, ["cpus:1.5", "device/gpu:0", "device/gpu/NVIDIA H100:2"]);
    assert!(matches!(parse_amounts("cpus"), Err(QuotaError::Form(_))));
    assert!(matches!(parse_amounts("ports:1"), Err(QuotaError::Name(_))));
    assert!(matches!(parse_amounts("cpus:x"), Err(QuotaError::Amount { .. })));
    assert!(matches!(parse_amounts("cpus:1;cpus:2"), Err(QuotaError::Twice(_))));
}
