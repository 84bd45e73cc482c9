use std::time::Duration;

use crate::allocator::quota::Force;
use crate::model::{OfferMode, Operation, TaskGroup, TaskState};
use crate::testing::{Market, quota, task};

const SOON: Duration = Duration::from_millis(200);

/// An agent of eight cpus, a framework in `eng/ci` and one in `eng/web`.
fn market() -> Market {
    let mut market = Market::new();
    market.agent("a", "cpus:8;mem:8192").framework("ci", "eng/ci").framework("web", "eng/web");
    market.lines();
    market
}

#[test]
fn an_offer_is_cut_to_what_the_limit_leaves() {
    let mut market = Market::new();
    market.quota("eng", "cpus:3", "").agent("a", "cpus:8;mem:1024").framework("ci", "eng/ci");
    assert_eq!(market.offered("ci", "a"), "cpus:3 mem:1024");
}

#[test]
fn a_launch_beyond_the_limit_is_refused_and_costs_a_retry() {
    let mut market = market();
    market.quota("eng", "cpus:3", "");
    market.launch("ci", "a", "t1", "cpus:2;mem:64").lines();
    market.launch("web", "a", "w1", "cpus:2;mem:64");
    assert_eq!(market.lines()[0], "rejected w1 quota_exceeded -> web");
    market.wait(SOON);
    assert_eq!(market.offered("web", "a"), "cpus:1 mem:8128");
    market.lines();
    market.launch("web", "a", "w2", "cpus:1;mem:64");
    assert_eq!(market.lines()[0], "launch web/w2 on a");
    assert_eq!(market.held("eng"), "cpus:3 mem:128");
}

#[test]
fn a_limit_holds_at_every_node_above() {
    let mut market = market();
    market.quota("eng/ci", "cpus:4", "").quota("eng", "cpus:6", "");
    market.launch("web", "a", "w1", "cpus:5;mem:64").lines();
    market.launch("ci", "a", "t1", "cpus:2;mem:64");
    assert_eq!(market.lines()[0], "rejected t1 quota_exceeded -> ci");
}

#[test]
fn the_refusal_names_role_resource_limit_held_and_asked() {
    let mut market = market();
    market.quota("eng", "cpus:3", "").launch("ci", "a", "t1", "cpus:2;mem:64");
    let role = crate::model::Role::new("eng/web").expect("a role");
    let asked = "cpus:2".parse::<crate::model::Resources>().expect("resources").quantities();
    let exceeded = market.master.quotas.check(&role, &asked).expect_err("it is exceeded");
    assert_eq!((exceeded.role.as_str(), exceeded.resource.as_str()), ("eng", "cpus"));
    assert_eq!((exceeded.limit.0, exceeded.held.0, exceeded.asked.0), (3000, 2000, 2000));
}

#[test]
fn a_group_counts_whole_under_a_limit() {
    let mut market = market();
    market.quota("eng", "cpus:3", "");
    let offer = market.offer_of("ci", "a");
    let group = TaskGroup { tasks: vec![task("g1", "eng/ci", "cpus:2", &[]), task("g2", "eng/ci", "cpus:2", &[])] };
    market.lines();
    market.accept("ci", &offer, vec![Operation::Launch(group)]);
    assert_eq!(market.lines()[0], "rejected g1,g2 quota_exceeded -> ci");
}

#[test]
fn one_accept_stays_within_the_limit_as_a_whole() {
    let mut market = market();
    market.quota("eng", "cpus:3", "");
    let offer = market.offer_of("ci", "a");
    let single = |id: &str| Operation::Launch(TaskGroup::single(task(id, "eng/ci", "cpus:2", &[])));
    market.lines();
    market.accept("ci", &offer, vec![single("t1"), single("t2")]);
    let lines = market.lines();
    assert_eq!(lines[0], "launch ci/t1 on a");
    assert!(lines.contains(&"rejected t2 quota_exceeded -> ci".to_owned()), "{lines:?}");
}

#[test]
fn devices_are_limited_by_kind_and_by_class() {
    let mut market = Market::new();
    market.agent_with_gpus("a", "cpus:8;mem:8192", &["T4", "T4", "H100", "H100"]).framework("ml", "ml");
    market.set_quotas(vec![("ml", Some(quota("device/gpu:3;device/gpu/H100:1", "")))], Force::No);
    market.launch_with("ml", "a", "t1", "cpus:1", &["gpu: model == H100"]).wait(SOON).lines();
    market.launch_with("ml", "a", "t2", "cpus:1", &["gpu: model == H100"]);
    assert_eq!(market.lines()[0], "rejected t2 claim_not_met -> ml", "no other of that class is offered");
    market.wait(SOON).launch_with("ml", "a", "t3", "cpus:1", &["2 gpu: model == T4"]).wait(SOON);
    assert_eq!(market.held("ml"), "cpus:2 device/gpu:3 device/gpu/H100:1 device/gpu/T4:2");
    assert_eq!(market.offered("ml", "a"), "cpus:6 mem:8192");
}

#[test]
fn a_limit_of_zero_means_none_at_all() {
    let mut market = Market::new();
    market.agent_with_gpus("a", "cpus:8;mem:8192", &["T4"]).quota("eng", "device/gpu:0", "").framework("ci", "eng");
    assert_eq!(market.offered("ci", "a"), "cpus:8 mem:8192");
}

#[test]
fn an_exclusive_offer_is_charged_and_cut() {
    let mut market = Market::new();
    market.quota("eng", "cpus:5", "").agent("a", "cpus:4;mem:1024").agent("b", "cpus:4;mem:1024");
    market.framework_with("m", &["eng"], OfferMode::Exclusive);
    assert_eq!(market.offered("m", "a"), "cpus:4 mem:1024");
    assert_eq!(market.offered("m", "b"), "cpus:1 mem:1024", "the first offer leaves one cpu");
    market.launch("m", "a", "t1", "cpus:4;mem:64").lines();
    assert_eq!(market.held("eng"), "cpus:4 mem:64");
}

#[test]
fn what_is_locked_makes_way_for_tasks_that_are_found_under_the_limit() {
    let mut market = Market::new();
    market.quota("eng", "cpus:5", "").agent("a", "cpus:4;mem:1024").agent("b", "cpus:4;mem:1024");
    market.framework_with("m", &["eng"], OfferMode::Exclusive).launch("m", "a", "t1", "cpus:4;mem:64");
    market.failover().subscribe("m").register("b").wait(Duration::from_secs(61));
    assert_eq!(market.offered("m", "b"), "cpus:4 mem:1024", "the master has given agent a up");
    market.register("a");
    assert_eq!(market.offered("m", "b"), "cpus:1 mem:1024", "t1 runs, and counts");
}

#[test]
fn what_is_given_back_is_offered_elsewhere_too() {
    let mut market = Market::new();
    market.quota("eng", "cpus:2", "").agent("a", "cpus:2;mem:1024").framework("ci", "eng");
    market.launch("ci", "a", "t1", "cpus:2;mem:1024").agent("b", "cpus:2;mem:1024");
    assert_eq!(market.offered("ci", "b"), "mem:1024", "the limit leaves no cpu");
    market.update("a", "ci", "t1", TaskState::Finished).wait(SOON);
    assert_eq!(market.offered("ci", "b"), "cpus:2 mem:1024");
}

#[test]
fn a_role_at_its_limit_is_not_asked_again_and_again() {
    let mut market = Market::new();
    market.quota("eng", "cpus:1;mem:64", "").agent("a", "cpus:4;mem:1024").framework("ci", "eng");
    market.launch("ci", "a", "t1", "cpus:1;mem:64").lines();
    market.wait(Duration::from_secs(60)).expect("");
    market.update("a", "ci", "t1", TaskState::Finished).acknowledge("ci").wait(SOON);
    assert_eq!(market.offered("ci", "a"), "cpus:1 mem:64");
}

#[test]
fn a_raised_limit_is_offered_at_once() {
    let mut market = Market::new();
    market.quota("eng", "cpus:1", "").agent("a", "cpus:4;mem:1024").framework("ci", "eng").lines();
    market.quota("eng", "cpus:2", "").expect("rescind a from ci\noffer a cpus:2 mem:1024 -> ci");
}

#[test]
fn a_lowered_limit_takes_exclusive_offers_back() {
    let mut market = Market::new();
    market.agent("a", "cpus:4;mem:1024").framework_with("m", &["eng"], OfferMode::Exclusive).lines();
    market.quota("eng", "cpus:1", "").expect("rescind a from m\noffer a cpus:1 mem:1024 -> m");
}

#[test]
fn a_limit_below_use_has_to_be_forced_and_then_ends_nothing() {
    let mut market = market();
    market.launch("ci", "a", "t1", "cpus:4;mem:64");
    let low = || vec![("eng", Some(quota("cpus:2", "")))];
    let refused = market.try_quotas(low(), Force::No).expect("it is refused");
    assert!(refused.contains("eng: cpus: limit 2 is below the 4 that it holds"), "{refused}");
    market.lines();
    market.set_quotas(low(), Force::Yes).launch("ci", "a", "t2", "cpus:1;mem:64");
    let lines = market.lines();
    assert!(lines.contains(&"rejected t2 quota_exceeded -> ci".to_owned()), "{lines:?}");
    market.update("a", "ci", "t1", TaskState::Finished).acknowledge("ci").wait(SOON);
    assert_eq!(market.offered("ci", "a"), "cpus:2 mem:8192");
}

#[test]
fn quotas_outlive_the_master() {
    let mut market = market();
    market.quota("eng", "cpus:3", "").launch("ci", "a", "t1", "cpus:2;mem:64");
    market.failover().register("a").subscribe("ci");
    assert_eq!(market.held("eng"), "cpus:2 mem:64");
    assert_eq!(market.offered("ci", "a"), "cpus:1 mem:8128");
    market.set_quotas(vec![("eng", None)], Force::No);
    assert!(market.registry().quotas.is_empty());
}

#[test]
fn no_limited_role_launches_until_it_is_known_what_runs_on_every_agent() {
    let mut market = market();
    market.agent("b", "cpus:4;mem:1024").quota("eng", "cpus:3", "").framework("free", "free");
    market.launch("ci", "a", "t1", "cpus:2;mem:64");
    market.failover().register("b").subscribe("free").subscribe("ci");
    assert_eq!((market.offered("free", "b"), market.offered("ci", "b")), ("cpus:4 mem:1024".into(), "mem:1024".into()));
    market.register("a");
    assert_eq!(market.offered("ci", "b"), "cpus:1 mem:1024");
}

#[test]
fn an_agent_that_stays_away_is_waited_for_only_so_long() {
    let mut market = market();
    market.agent("b", "cpus:4;mem:1024").quota("eng", "cpus:3", "").launch("ci", "a", "t1", "cpus:2;mem:64");
    market.failover().register("b").subscribe("ci").wait(Duration::from_secs(61));
    market.launch("ci", "b", "t2", "cpus:3;mem:64");
    // What ran on it all the time is not ended when it comes back, although it is too much now; nothing more is launched.
    market.register("a").lines();
    assert_eq!(market.held("eng"), "cpus:5 mem:128");
    market.wait(SOON);
    assert_eq!(market.offered("ci", "a"), "mem:8128");
}

#[test]
fn the_view_says_what_a_role_holds_and_waits_for() {
    let mut market = market();
    market.quota("eng", "cpus:6", "cpus:2").waits_for("ci", 0, "cpus:1", 5).launch("ci", "a", "t1", "cpus:1;mem:64");
    let view = market.master.view();
    let row = &view.roles[&crate::model::Role::new("eng").expect("a role")];
    assert_eq!((row.weight_milli, row.usage.waiting), (1000, 5));
    assert_eq!(row.usage.held.to_string(), "cpus:1 mem:64");
    assert_eq!(row.usage.quota, quota("cpus:6", "cpus:2"));
    market.framework_leaves("ci").subscribe("ci");
    assert_eq!(market.master.view().roles[&crate::model::Role::new("eng").expect("a role")].usage.waiting, 0);
}

#[track_caller]
fn refused(quotas: Vec<(&str, Option<crate::allocator::quota::Quota>)>) -> String {
    market().try_quotas(quotas, Force::No).expect("it is refused")
}

#[test]
fn a_limit_below_the_guarantee_is_refused() {
    let why = refused(vec![("eng", Some(quota("cpus:2", "cpus:3")))]);
    assert!(why.contains("eng: cpus: limit 2 is below its guarantee of 3"), "{why}");
}

#[test]
fn guarantees_of_children_above_the_parents_limit_are_refused() {
    let why = refused(vec![
        ("eng", Some(quota("cpus:4", ""))),
        ("eng/ci", Some(quota("", "cpus:3"))),
        ("eng/web", Some(quota("", "cpus:2"))),
    ]);
    assert!(why.contains("eng: cpus: limit 4 is below the guarantees of the roles below it, 5 together"), "{why}");
}

#[test]
fn absurd_amounts_are_refused() {
    let mut absurd = quota("cpus:1", "");
    absurd.limit.insert(crate::model::ResourceName::Cpus, crate::model::Milli(u64::MAX));
    let why = refused(vec![("eng", Some(absurd))]);
    assert!(why.contains("eng: cpus: expected at most"), "{why}");
}

#[test]
fn names_that_nothing_is_counted_under_are_refused() {
    for name in ["ports", "a b", "device/", "device/gpu/", ""] {
        let mut odd = quota("", "");
        odd.limit.insert(crate::model::ResourceName::new(name), crate::model::Milli(1));
        let why = refused(vec![("eng", Some(odd))]);
        assert!(why.contains("expected a scalar such as cpus"), "{name}: {why}");
    }
}

#[test]
fn guarantees_that_the_cluster_does_not_have_are_refused_unless_forced() {
    let mut market = market();
    let much = || vec![("eng", Some(quota("", "cpus:6"))), ("ops", Some(quota("", "cpus:3")))];
    let why = market.try_quotas(much(), Force::No).expect("it is refused");
    assert!(why.contains("cpus: the guarantees of all roles are 9 together, and the cluster has 8"), "{why}");
    market.set_quotas(much(), Force::Yes);
}

#[test]
fn a_guarantee_above_those_below_it_counts_once() {
    market().set_quotas(vec![("eng", Some(quota("", "cpus:8"))), ("eng/ci", Some(quota("", "cpus:5")))], Force::No);
}

#[test]
fn priorities_the_wrong_way_round_are_refused() {
    let mut odd = quota("", "");
    odd.priorities = Some(crate::allocator::quota::Priorities { lowest: 1, highest: 0 });
    assert!(refused(vec![("eng", Some(odd))]).contains("eng: priorities: expected the lowest first, got 1..0"));
}

#[test]
fn a_role_is_named_once_and_some_role_is_named() {
    assert!(refused(Vec::new()).contains("expected 1 to 1000 roles, got 0"));
    assert!(refused(vec![("eng", None), ("eng", None)]).contains("eng: named twice"));
}

#[test]
fn a_list_of_quotas_is_set_whole_or_not_at_all() {
    let mut market = market();
    let list = vec![("ops", Some(quota("cpus:1", ""))), ("eng", Some(quota("cpus:1", "cpus:2")))];
    assert!(market.try_quotas(list, Force::No).is_some());
    assert!(
        market.registry().quotas.is_empty()
            && market.master.view().roles.values().all(|row| row.usage.quota.is_empty())
    );
}

#[test]
fn taking_back_a_quota_that_is_not_there_is_no_mistake() {
    market().set_quotas(vec![("nobody", None)], Force::No);
}

#[test]
fn a_missing_agent_bars_no_more_than_it_may_hold() {
    let mut market = market();
    market.agent("b", "cpus:4;mem:1024").quota("eng", "cpus:10", "").launch("ci", "a", "t1", "cpus:3;mem:64");
    market.failover().register("b").subscribe("ci");
    // All eight cpus of `a` may be held by the role.
    assert_eq!(market.offered("ci", "b"), "cpus:2 mem:1024");
    market.launch("ci", "b", "t2", "cpus:2;mem:64").wait(SOON);
    assert_eq!(market.held("eng"), "cpus:2 mem:64");
    assert!(!market.has_offer("ci", "b") || !market.offered("ci", "b").contains("cpus"));
    market.register("a");
    assert_eq!(market.held("eng"), "cpus:5 mem:128");
    market.wait(SOON);
    assert_eq!(
        (market.offered("ci", "b"), market.offered("ci", "a")),
        ("cpus:2 mem:960".into(), "cpus:5 mem:8128".into())
    );
}

#[test]
fn each_agent_that_comes_back_makes_room_under_the_limits() {
    let mut market = market();
    market.agent("b", "cpus:4;mem:1024").agent("c", "cpus:4;mem:1024").quota("eng", "cpus:12", "");
    market.launch("ci", "a", "t1", "cpus:1;mem:64").failover().register("c").subscribe("ci").wait(SOON);
    assert!(!market.offered("ci", "c").contains("cpus"), "a and b may hold all twelve");
    market.register("b").wait(SOON);
    assert_eq!(market.offered("ci", "c"), "cpus:4 mem:1024");
}

#[test]
fn while_an_agent_is_missing_nobody_with_a_limit_of_devices_gets_one() {
    let mut market = Market::new();
    market.agent_with_gpus("a", "cpus:8;mem:8192", &["T4"]).agent_with_gpus("b", "cpus:8;mem:8192", &["T4"]);
    market.quota("eng", "device/gpu:1", "").framework("ci", "eng").launch_with("ci", "a", "t1", "cpus:1", &["gpu"]);
    market.failover().register("b").subscribe("ci");
    assert_eq!(market.offered("ci", "b"), "cpus:8 mem:8192", "what devices a missing agent has is not known");
    market.register("a").wait(SOON);
    assert_eq!(market.held("eng"), "cpus:1 device/gpu:1 device/gpu/T4:1");
    assert_eq!(market.offered("ci", "b"), "cpus:8 mem:8192");
}
