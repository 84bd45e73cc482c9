use std::time::Duration;

use crate::model::{Operation, TaskGroup, TaskState};
use crate::testing::{Market, task};

/// Two agents with a framework, known to the registry; then another master leads while the first still runs.
fn replaced() -> Market {
    let mut market = Market::new();
    market.agent("a", "cpus:4").agent("b", "cpus:4").framework("ci", "*");
    market.failover().subscribe("ci").register("b").lines();
    market
}

#[test]
fn a_task_is_not_denied_while_an_older_master_may_still_launch_it() {
    let mut market = replaced();
    market.register_unanswered("a").lines();
    market.asks_for("ci", "t1", "a").expect("");
    market.launched_by_the_old_master("ci", "a", "t1", "cpus:1");
    market.asks_for("ci", "t1", "a").expect("");
    market.agent_leaves("a").register("a").lines();
    market.asks_for("ci", "t1", "a").expect("update t1 TASK_RUNNING RECONCILIATION -> ci");
}

#[test]
fn a_task_is_denied_once_its_agent_obeys_no_older_master() {
    let mut market = replaced();
    market.register("a").lines();
    market.asks_for("ci", "t1", "a").expect("update t1 TASK_UNKNOWN RECONCILIATION -> ci");
}

#[test]
fn a_kill_waits_for_a_task_that_an_older_master_may_still_launch() {
    let mut market = replaced();
    market.register_unanswered("a").kill("ci", "t1").lines();
    market.launched_by_the_old_master("ci", "a", "t1", "cpus:1");
    market.agent_leaves("a").register("a");
    assert!(market.lines().contains(&"kill ci/t1 on a".to_owned()));
}

#[test]
fn a_kill_is_not_forgotten_before_its_agent_obeys_no_older_master() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").framework("ci", "*").launch("ci", "a", "t1", "cpus:1");
    market.agent_leaves("a").kill("ci", "t1").failover().subscribe("ci");
    market.forget_on_agent("a", "ci", "t1").register_unanswered("a").lines();
    market.launched_by_the_old_master("ci", "a", "t1", "cpus:1");
    market.agent_leaves("a").register("a");
    assert!(market.lines().contains(&"kill ci/t1 on a".to_owned()));
    market.update("a", "ci", "t1", TaskState::Killed).acknowledge("ci");
    assert!(market.registry().kills.is_empty(), "a kill that is carried out is forgotten");
}

#[test]
fn an_accept_of_an_earlier_term_is_answered_once_its_agent_obeys_no_older_master() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").framework("ci", "*");
    let offer = market.offer_of("ci", "a");
    market.failover().subscribe("ci").register_unanswered("a").lines();
    market.accept("ci", &offer, vec![Operation::Launch(TaskGroup::single(task("t1", "*", "cpus:1", &[])))]).expect("");
    market.launched_by_the_old_master("ci", "a", "t1", "cpus:1");
    market.agent_leaves("a").register("a");
    assert!(!market.lines().iter().any(|line| line.starts_with("rejected")), "the task of that accept runs");
}

#[test]
fn limits_leave_room_for_what_an_older_master_may_still_launch() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").agent("b", "cpus:4").framework("ci", "eng");
    market.quota("eng", "cpus:4", "").failover().subscribe("ci").register("b");
    market.register_unanswered("a");
    assert!(!market.has_offer("ci", "b"), "all that is left of the limit may be held on the other agent");
    market.agent_leaves("a").register("a").wait(Duration::from_secs(5));
    assert!(market.has_offer("ci", "b"));
}

#[test]
fn an_agent_that_never_confirms_is_unreachable_in_the_end() {
    let mut market = replaced();
    market.register_unanswered("a").agent_leaves("a").wait(Duration::from_secs(31)).lines();
    market.asks_for("ci", "t1", "a").expect("update t1 TASK_UNREACHABLE RECONCILIATION -> ci");
}

#[test]
fn a_master_that_was_replaced_hears_of_it_from_an_agent_and_takes_nothing_of_its_report() {
    let mut market = replaced();
    market.register("a").launch("ci", "a", "t1", "cpus:1").lines();
    market.agent_leaves("a").hears_of("a", 3).lines();
    market.register("a").expect("close a: old_term");
    assert_eq!(market.hears_of("a", 2).register("a").lines()[0], "registered a");
}
