use std::time::Duration;

use crate::allocator::quota::Force;
use crate::master::Config;
use crate::model::{Operation, TaskGroup, TaskState};
use crate::testing::{Market, quota, shape, task, urgent};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What is ended to make way, in order.
fn preempted(market: &mut Market) -> Vec<String> {
    market.wait(secs(2));
    market.lines().into_iter().filter_map(|line| line.strip_prefix("preempt ").map(str::to_owned)).collect()
}

/// Agent `a` of four cpus is full with two tasks of `low`, the second started ten seconds after the first; `high` is in the same role.
fn full() -> Market {
    let mut market = Market::new();
    market.agent("a", "cpus:4;mem:4096").framework("low", "eng").framework("high", "eng");
    market.launch("low", "a", "t1", "cpus:2;mem:64").wait(secs(10)).launch("low", "a", "t2", "cpus:2;mem:64");
    market.lines();
    market
}

#[test]
fn a_higher_priority_ends_the_work_that_was_started_last() {
    let mut market = full();
    market.waits_for("high", 5, "cpus:2", 1);
    assert_eq!(preempted(&mut market), ["low/t2 on a"]);
}

#[test]
fn the_same_priority_ends_nothing() {
    let mut market = full();
    market.waits_for("high", 0, "cpus:2", 1);
    assert!(preempted(&mut market).is_empty());
}

#[test]
fn another_role_ends_nothing_by_priority() {
    let mut market = full();
    market.framework("other", "ops").waits_for("other", 100, "cpus:2", 1);
    assert!(preempted(&mut market).is_empty());
}

#[test]
fn priorities_count_within_the_bounds_of_their_role() {
    let mut market = full();
    market.priorities("eng", -10, 0).waits_for("high", 100, "cpus:2", 1);
    assert!(preempted(&mut market).is_empty(), "it counts as 0, as the tasks do");
    market.priorities("eng", 0, 3);
    assert_eq!(preempted(&mut market), ["low/t2 on a"]);
}

#[test]
fn what_is_freed_is_offered_to_nobody_else() {
    let mut market = full();
    market.waits_for("high", 5, "cpus:2", 1).wait(secs(1)).lines();
    market.update("a", "low", "t2", TaskState::Killed);
    assert_eq!(market.offered("high", "a"), "cpus:2 mem:4032");
    assert!(!market.has_offer("low", "a") || !market.offered("low", "a").contains("cpus"));
    market.lines();
    market.launch_urgent("high", "a", "h1", 5, "cpus:2", &[]);
    assert_eq!(market.lines()[0], "launch high/h1 on a");
}

#[test]
fn what_fits_is_not_preempted_for() {
    let mut market = full();
    market.agent("b", "cpus:4;mem:4096").waits_for("high", 5, "cpus:2", 1);
    assert!(preempted(&mut market).is_empty());
}

#[test]
fn what_ends_anyway_is_waited_for() {
    let mut market = full();
    market.kill("low", "t1").lines();
    market.waits_for("high", 5, "cpus:2", 1);
    assert!(preempted(&mut market).is_empty());
}

#[test]
fn a_demand_waits_before_it_preempts() {
    let mut market = Market::with(Config { preemption_delay: secs(5), ..Config::default() });
    market.agent("a", "cpus:4;mem:4096").framework("low", "eng").framework("high", "eng");
    market.launch("low", "a", "t1", "cpus:4;mem:64").waits_for("high", 5, "cpus:2", 1);
    assert!(preempted(&mut market).is_empty());
    market.wait(secs(3));
    assert_eq!(preempted(&mut market), ["low/t1 on a"]);
}

#[test]
fn nothing_is_ended_where_that_would_not_be_enough() {
    let mut market = full();
    market.agent("b", "cpus:4;mem:4096").launch("low", "b", "t3", "cpus:4;mem:64").lines();
    market.waits_for("high", 5, "cpus:5", 1);
    assert!(preempted(&mut market).is_empty());
}

#[test]
fn the_agent_where_least_is_lost_is_chosen() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").agent("b", "cpus:4").framework("low", "eng").framework("high", "eng");
    market.launch("low", "a", "old", "cpus:4").wait(secs(60)).launch("low", "b", "new", "cpus:4").wait(secs(60));
    market.lines();
    market.waits_for("high", 5, "cpus:1", 1);
    assert_eq!(preempted(&mut market), ["low/new on b"]);
}

#[test]
fn lower_priority_goes_before_less_work() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").framework("low", "eng").framework("high", "eng");
    market.launch_urgent("low", "a", "unimportant", -5, "cpus:2", &[]).wait(secs(600));
    market.launch_urgent("low", "a", "new", 0, "cpus:2", &[]).lines();
    market.waits_for("high", 5, "cpus:2", 1);
    assert_eq!(preempted(&mut market), ["low/unimportant on a"]);
}

#[test]
fn a_group_makes_way_whole() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").framework("low", "eng").framework("high", "eng");
    let offer = market.offer_of("low", "a");
    let group = TaskGroup { tasks: vec![task("g1", "eng", "cpus:2", &[]), task("g2", "eng", "cpus:2", &[])] };
    market.accept("low", &offer, vec![Operation::Launch(group)]).lines();
    market.waits_for("high", 5, "cpus:1", 1);
    assert_eq!(preempted(&mut market), ["low/g1 on a", "low/g2 on a"]);
}

#[test]
fn devices_are_freed_and_are_there_only_when_clean() {
    let mut market = Market::new();
    market.agent_with_gpus("a", "cpus:8;mem:8192", &["T4"]).framework("low", "eng").framework("high", "eng");
    market.launch_with("low", "a", "t1", "cpus:1", &["gpu"]).lines();
    market.demand("high", vec![urgent(5, shape("train", "cpus:1", &["gpu"], 1))]);
    assert_eq!(preempted(&mut market), ["low/t1 on a"]);
    market.update("a", "low", "t1", TaskState::Killed);
    assert!(!market.has_offer("high", "a"), "the device is being cleaned");
    market.cleaned("a", "a-0", 1);
    assert!(market.offered("high", "a").contains("a-0"));
    assert!(!market.has_offer("low", "a") || !market.offered("low", "a").contains("a-0"));
    market.launch_urgent("high", "a", "h1", 5, "cpus:1", &["gpu"]);
    let lines = market.lines();
    assert!(lines.contains(&"launch high/h1 with a-0 on a".to_owned()), "{lines:?}");
}

#[test]
fn a_nomination_never_ends_more_while_it_stands() {
    let mut market = full();
    market.waits_for("high", 5, "cpus:2", 1);
    assert_eq!(preempted(&mut market).len(), 1);
    market.waits_for("high", 5, "cpus:2", 1);
    assert!(preempted(&mut market).is_empty(), "the same demand, said again");
    market.waits_for("high", 5, "cpus:2", 2);
    assert_eq!(preempted(&mut market), ["low/t1 on a"], "one more is another matter");
}

#[test]
fn a_demand_that_counts_what_was_launched_just_now_ends_nothing_more() {
    let mut market = full();
    market.waits_for("high", 5, "cpus:2", 1).wait(secs(1)).lines();
    market.update("a", "low", "t2", TaskState::Killed);
    market.launch_urgent("high", "a", "h1", 5, "cpus:2;mem:64", &[]).lines();
    assert!(preempted(&mut market).is_empty(), "it has not said yet that it waits for nothing more");
    market.waits_for("high", 5, "cpus:2", 0).wait(secs(60));
    assert!(preempted(&mut market).is_empty());
}

#[test]
fn a_demand_that_stays_after_a_launch_is_a_new_one() {
    let mut market = full();
    market.waits_for("high", 5, "cpus:2", 1).wait(secs(1)).lines();
    market.update("a", "low", "t2", TaskState::Killed);
    market.launch_urgent("high", "a", "h1", 5, "cpus:2;mem:64", &[]).lines();
    market.wait(secs(11));
    assert_eq!(preempted(&mut market), ["low/t1 on a"], "it has had the time to say otherwise");
    let mut market = full();
    market.waits_for("high", 5, "cpus:2", 1).wait(secs(1)).lines();
    market.update("a", "low", "t2", TaskState::Killed);
    market.launch_urgent("high", "a", "h1", 5, "cpus:2;mem:64", &[]).lines();
    market.waits_for("high", 5, "cpus:2", 0).waits_for("high", 5, "cpus:2", 1);
    assert_eq!(preempted(&mut market), ["low/t1 on a"], "it has said so");
}

#[test]
fn who_was_preempted_preempts_nobody_in_turn() {
    let mut market = Market::new();
    market.agent("a", "cpus:2").agent("b", "cpus:2");
    market.framework("least", "eng").framework("low", "eng").framework("high", "eng");
    market.launch_urgent("least", "a", "l1", -5, "cpus:2", &[]).launch_urgent("low", "b", "t1", 0, "cpus:2", &[]);
    market.lines();
    // Only `b` will do for it.
    let mut picky = urgent(5, shape("s", "cpus:2", &[], 1));
    picky.constraint = "name == b".parse().expect("a selector");
    market.demand("high", vec![picky]);
    assert_eq!(preempted(&mut market), ["low/t1 on b"]);
    market.update("b", "low", "t1", TaskState::Killed).acknowledge("low").waits_for("low", 0, "cpus:2", 1);
    assert!(preempted(&mut market).is_empty(), "its renewed demand ends nobody");
    market.waits_for("low", 1, "cpus:2", 1);
    assert_eq!(preempted(&mut market), ["least/l1 on a"], "a demand of higher priority may");
}

#[test]
fn a_nomination_that_is_not_used_in_time_is_free_for_all() {
    let mut market = full();
    market.waits_for("high", 5, "cpus:2", 1).wait(secs(1)).update("a", "low", "t2", TaskState::Killed);
    market.wait(secs(120)).lines();
    assert_eq!(market.offered("low", "a"), "cpus:2 mem:4032");
    assert_eq!(market.master.stats().nominations_expired, 1);
    assert!(preempted(&mut market).is_empty(), "nothing more is ended for who does not use it");
}

#[test]
fn a_nomination_ends_with_its_demand() {
    let mut market = full();
    market.waits_for("high", 5, "cpus:2", 1).wait(secs(1)).update("a", "low", "t2", TaskState::Killed);
    market.demand("high", Vec::new());
    assert_eq!(market.offered("low", "a"), "cpus:2 mem:4032");
}

#[test]
fn a_nomination_ends_with_its_framework() {
    let mut market = full();
    market.waits_for("high", 5, "cpus:2", 1).wait(secs(1)).update("a", "low", "t2", TaskState::Killed);
    market.framework_leaves("high");
    assert_eq!(market.offered("low", "a"), "cpus:2 mem:4032");
}

#[test]
fn a_declined_nomination_is_free_for_all() {
    let mut market = full();
    market.waits_for("high", 5, "cpus:2", 1).wait(secs(1)).update("a", "low", "t2", TaskState::Killed);
    market.decline("high", "a", 3600);
    assert_eq!(market.offered("low", "a"), "cpus:2 mem:4032");
}

#[test]
fn a_preemption_survives_the_master_with_its_reason() {
    let mut market = full();
    market.waits_for("high", 5, "cpus:2", 1);
    assert_eq!(preempted(&mut market).len(), 1);
    market.failover().subscribe("low").subscribe("high").lines();
    market.register("a");
    assert!(market.lines().contains(&"preempt low/t2 on a".to_owned()));
}

#[test]
fn room_under_a_limit_is_preempted_too() {
    let mut market = Market::new();
    market.quota("eng", "cpus:2", "").agent("a", "cpus:8;mem:4096").framework("low", "eng").framework("high", "eng");
    market.launch("low", "a", "t1", "cpus:2;mem:64").lines();
    market.waits_for("high", 5, "cpus:2", 1);
    assert_eq!(preempted(&mut market), ["low/t1 on a"]);
    market.update("a", "low", "t1", TaskState::Killed).wait(secs(1));
    assert!(!market.has_offer("low", "a") || !market.offered("low", "a").contains("cpus"));
    assert!(market.offered("high", "a").contains("cpus:2"));
    market.lines();
    market.launch_urgent("high", "a", "h1", 5, "cpus:2", &[]);
    assert_eq!(market.lines()[0], "launch high/h1 on a");
}

/// `all` of agent `a`'s four cpus are held by `ops`, which is guaranteed one of them; `eng` is guaranteed three.
fn borrowed() -> Market {
    let mut market = Market::new();
    market.agent("a", "cpus:4;mem:4096").framework("ops", "ops").framework("ci", "eng/ci");
    market.set_quotas(vec![("ops", Some(quota("", "cpus:1"))), ("eng", Some(quota("", "cpus:3")))], Force::No);
    for id in ["o1", "o2", "o3", "o4"] {
        market.wait(secs(1)).launch("ops", "a", id, "cpus:1");
    }
    market.lines();
    market
}

#[test]
fn what_nobody_waits_for_may_be_borrowed_and_says_so() {
    let market = borrowed();
    let view = market.master.view();
    let marks: Vec<bool> = view.tasks.values().map(|task| task.borrowed).collect();
    assert_eq!(marks, [false, true, true, true], "the first is within the guarantee of its role");
}

#[test]
fn a_demand_under_its_guarantee_ends_borrowed_work() {
    let mut market = borrowed();
    market.waits_for("ci", 0, "cpus:1", 2);
    assert_eq!(preempted(&mut market), ["ops/o4 on a", "ops/o3 on a"]);
}

#[test]
fn nobody_is_taken_below_its_guarantee() {
    let mut market = borrowed();
    market.waits_for("ci", 0, "cpus:1", 5);
    assert_eq!(preempted(&mut market).len(), 3);
}

#[test]
fn a_demand_beyond_its_guarantee_ends_nothing() {
    let mut market = borrowed();
    market.waits_for("ci", 0, "cpus:4", 1);
    assert!(preempted(&mut market).is_empty());
}

#[test]
fn within_a_guaranteed_tree_nobody_is_ended_for_the_guarantee() {
    let mut market = Market::new();
    market.agent("a", "cpus:4;mem:4096").framework("web", "eng/web").framework("ci", "eng/ci");
    market.quota("eng", "", "cpus:4").launch("web", "a", "w1", "cpus:3").lines();
    market.waits_for("ci", 0, "cpus:2", 1);
    assert!(preempted(&mut market).is_empty());
}

#[test]
fn a_guarantee_of_devices_is_kept_by_class() {
    let mut market = Market::new();
    market.agent_with_gpus("a", "cpus:8", &["T4", "H100"]).framework("ops", "ops").framework("ml", "ml");
    market.quota("ml", "", "device/gpu/H100:1");
    market.launch_with("ops", "a", "o1", "cpus:1", &["gpu: model == T4"]).wait(secs(1));
    market.launch_with("ops", "a", "o2", "cpus:1", &["gpu: model == H100"]).lines();
    market.demand("ml", vec![shape("train", "cpus:1", &["gpu: model == T4"], 1)]);
    assert!(preempted(&mut market).is_empty(), "no T4 is guaranteed to it");
    market.demand("ml", vec![shape("train", "cpus:1", &["gpu: model == H100"], 1)]);
    assert_eq!(preempted(&mut market), ["ops/o2 on a"]);
}

#[test]
fn what_a_demand_under_guarantee_could_use_is_held_back() {
    let mut market = Market::new();
    market.quota("eng", "", "").framework("ops", "ops").framework("ci", "eng/ci").agent("a", "cpus:4;mem:4096");
    market.quota("eng", "", "cpus:3").waits_for("ci", 0, "cpus:1", 2).lines();
    market.launch("ops", "a", "o1", "cpus:3");
    assert_eq!(market.lines()[0], "rejected o1 offer_conflict -> ops", "two of the four cpus are kept");
    market.wait(secs(1)).launch("ops", "a", "o2", "cpus:2").lines();
    market.launch("ci", "a", "c1", "cpus:1");
    assert_eq!(market.lines()[0], "launch ci/c1 on a");
}

#[test]
fn nothing_is_held_back_where_no_demand_fits() {
    let mut market = Market::new();
    market.framework("ops", "ops").framework("ci", "eng/ci").agent("a", "cpus:4;mem:4096");
    market.quota("eng", "", "cpus:3").waits_for("ci", 0, "cpus:1;mem:5000", 1).lines();
    market.launch("ops", "a", "o1", "cpus:4");
    assert_eq!(market.lines()[0], "launch ops/o1 on a");
}

#[test]
fn what_was_held_back_is_offered_when_nobody_waits_for_it_any_more() {
    let mut market = Market::new();
    market.framework("ops", "ops").framework("ci", "eng/ci").quota("eng", "", "").agent("b", "cpus:1;mem:64");
    market.set_quotas(vec![("eng", Some(quota("", "cpus:4")))], Force::Yes);
    market.waits_for("ci", 0, "cpus:1", 4).agent("a", "cpus:4;mem:4096");
    assert_eq!(market.offered("ops", "a"), "mem:4096");
    market.demand("ci", Vec::new()).wait(secs(1));
    assert_eq!(market.offered("ops", "a"), "cpus:4 mem:4096");
}

#[test]
fn it_is_announced_to_those_who_want_to_hear_of_it() {
    let mut market = full();
    market.hears_of_kills("low").lines();
    market.waits_for("high", 5, "cpus:2", 1).wait(secs(2));
    assert!(market.lines().contains(&"preempt low/t2 on a, announced".to_owned()));
    market.update("a", "low", "t2", TaskState::Killing).acknowledge("low");
    assert!(market.lines()[0].starts_with("update t2 TASK_KILLING"));
    market.update("a", "low", "t2", TaskState::Killed);
    assert_eq!(market.offered("high", "a"), "cpus:2 mem:4032");
}

/// So many agents, each full with one task of `low`; `high` is in the same role. The last one is called `last`.
fn many(agents: usize) -> Market {
    let mut market = Market::new().checked_when_asked();
    market.framework("low", "eng").framework("high", "eng").demand("high", vec![shape("none", "cpus:99", &[], 1)]);
    for number in 0..agents {
        let name = if number + 1 == agents { "last".to_owned() } else { format!("a{number}") };
        market.agent(&name, "cpus:2;mem:1024").launch("low", &name, &format!("t{number}"), "cpus:2;mem:64");
        market.wait(Duration::from_millis(1));
    }
    market.lines();
    market.check();
    market
}

#[test]
fn an_attempt_looks_at_few_of_many_agents() {
    let mut market = many(800);
    market.waits_for("high", 5, "cpus:2", 1).wait(secs(2));
    let lines = market.lines();
    assert_eq!(lines, ["preempt low/t799 on last"], "what was started last loses least");
    let looks = market.master.stats().preemption_looks;
    assert!(looks <= 64, "{looks} agents were looked at");
}

#[test]
fn a_victim_far_down_is_found_in_a_few_attempts() {
    let mut market = many(800);
    let first = market.key("low", "t0");
    let mut picky = urgent(5, shape("s", "cpus:2", &[], 1));
    picky.constraint = "name == a0".parse().expect("a selector");
    market.demand("high", vec![picky]).wait(secs(5));
    assert_eq!(market.lines(), [format!("preempt low/{} on a0", first.task)]);
}

#[test]
fn room_far_down_is_found_before_anything_is_ended() {
    let mut market = many(700);
    // They have cpus, and not the memory.
    for number in 0..700 {
        market.agent(&format!("b{number}"), "cpus:2;mem:16");
    }
    market.agent("z", "cpus:2;mem:1024").launch("low", "z", "z1", "mem:1000").lines();
    market.demand("high", vec![urgent(5, shape("s", "cpus:2;mem:24", &[], 1))]).wait(secs(10));
    let lines = market.lines();
    assert!(lines.iter().all(|line| !line.starts_with("preempt")), "there is room on z: {lines:?}");
}
