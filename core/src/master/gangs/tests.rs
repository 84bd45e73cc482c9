use std::time::Duration;

use crate::model::{AcceptGang, Asked, Call, DeviceState, Reject, TaskId, TaskState};
use crate::testing::{Market, device, task};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Two agents of four cpus and one framework, all there.
fn pair() -> Market {
    let mut market = Market::new();
    market.agent("a", "cpus:4;mem:1024").agent("b", "cpus:4;mem:1024").framework("ml", "*");
    market.lines();
    market
}

/// A gang of a task on each of the two, which nobody holds yet.
fn asked() -> (Market, AcceptGang) {
    let mut market = pair();
    let gang = market.gang("ml", &[("a", "t1", "cpus:3"), ("b", "t2", "cpus:3")]);
    let lines = market.lines();
    assert_eq!(lines[..2], ["hold ml/t1 on a", "hold ml/t2 on b"]);
    (market, gang)
}

/// The same, started on both.
fn started() -> (Market, AcceptGang) {
    let (mut market, gang) = asked();
    market.holds("a").holds("b").expect("start launch ml/t1 on a\nstart launch ml/t2 on b");
    (market, gang)
}

fn without_offers(market: &mut Market) -> Vec<String> {
    market.lines().into_iter().filter(|line| !line.starts_with("offer") && !line.starts_with("rescind")).collect()
}

#[test]
fn a_gang_is_held_everywhere_then_started_everywhere() {
    let (mut market, _) = asked();
    market.holds("a").expect("");
    market.holds("b").expect("start launch ml/t1 on a\nstart launch ml/t2 on b");
    market.update("a", "ml", "t1", TaskState::Running).expect("update t1 TASK_RUNNING -> ml");
    market.update("b", "ml", "t2", TaskState::Running).expect("update t2 TASK_RUNNING -> ml\nanswered ml");
}

#[test]
fn what_a_gang_needs_is_nobody_elses_while_it_is_held() {
    let (mut market, _) = asked();
    market.framework("ci", "*").lines();
    assert_eq!(market.offer_of("ci", "a").resources.to_string(), "cpus:1 mem:1024");
    market.launch("ci", "b", "t9", "cpus:2");
    assert_eq!(market.lines()[0], "rejected t9 exceeds_offer -> ci");
}

#[test]
fn a_gang_that_does_not_fit_on_one_agent_takes_nothing_anywhere() {
    let mut market = pair();
    market.framework("ci", "*").launch("ci", "b", "t9", "cpus:2").lines();
    market.gang("ml", &[("a", "t1", "cpus:3"), ("b", "t2", "cpus:3")]);
    assert_eq!(without_offers(&mut market)[..1], ["rejected t1,t2 offer_conflict -> ml"]);
    assert_eq!(market.free_on("a"), "cpus:4 mem:1024");
    // All of it is offered again, and a gang that fits is taken.
    market.wait(secs(1)).lines();
    market.gang("ml", &[("a", "t3", "cpus:3"), ("b", "t4", "cpus:2")]);
    assert_eq!(without_offers(&mut market), ["hold ml/t3 on a", "hold ml/t4 on b"]);
}

#[test]
fn one_agent_that_refuses_sets_all_free() {
    let (mut market, _) = asked();
    market.holds("a").lines();
    market.holds_not("b", &Reject::ClaimNotMet("a device is sick".into()));
    assert_eq!(without_offers(&mut market), ["release on a", "release on b", "rejected t1,t2 claim_not_met -> ml"]);
    assert_eq!(market.free_on("a"), "cpus:4 mem:1024");
    assert_eq!(market.free_on("b"), "cpus:4 mem:1024");
}

#[test]
fn a_refusal_that_says_nothing_about_the_task_costs_a_retry() {
    let (mut market, _) = asked();
    market.holds_not("b", &Reject::Limit { what: "gangs held by one agent", limit: 256 });
    assert_eq!(without_offers(&mut market)[2], "rejected t1,t2 agent_away -> ml");
    let (mut market, _) = asked();
    market.holds_not("b", &Reject::invalid("task", "no executor x runs on this agent"));
    assert_eq!(without_offers(&mut market)[2], "rejected t1,t2 invalid -> ml");
}

#[test]
fn agents_that_do_not_answer_in_time_set_all_free() {
    let (mut market, _) = asked();
    market.holds("a").wait(secs(5));
    assert_eq!(without_offers(&mut market), ["release on a", "release on b", "rejected t1,t2 agent_away -> ml"]);
    // The answer that comes too late is told so.
    market.says_held("b").expect("release on b");
}

#[test]
fn an_agent_that_is_lost_before_the_start_sets_all_free() {
    let (mut market, _) = asked();
    market.holds("a").lines();
    market.agent_leaves("b");
    assert_eq!(without_offers(&mut market), ["release on a", "rejected t1,t2 agent_away -> ml"]);
    // What it holds is released when it is back, before anything else is said of tasks.
    market.hold_again("b");
    market.register("b");
    assert_eq!(without_offers(&mut market), ["registered b", "release on b"]);
    assert_eq!(market.free_on("b"), "cpus:4 mem:1024");
}

#[test]
fn an_agent_whose_connection_is_new_may_not_have_heard_of_the_hold() {
    let (mut market, _) = asked();
    market.holds("a").lines();
    market.register("b");
    let lines = without_offers(&mut market);
    assert!(lines.contains(&"rejected t1,t2 agent_away -> ml".to_owned()), "{lines:?}");
    // What its old connection still has to say is not heard, and the same word on the new one starts nothing.
    market.says_held("b").expect("release on b");
}

#[test]
fn a_start_that_is_lost_is_made_good_by_a_launch() {
    let (mut market, _) = started();
    market.update("a", "ml", "t1", TaskState::Running).lines();
    // b never got the start: its hold is still there, or has expired meanwhile.
    market.forget_on_agent("b", "ml", "t2").hold_again("b").agent_leaves("b").register("b");
    assert_eq!(without_offers(&mut market), ["registered b", "release on b", "launch ml/t2 on b"]);
    market.update("b", "ml", "t2", TaskState::Running).expect("update t2 TASK_RUNNING -> ml\nanswered ml");
}

#[test]
fn a_start_that_comes_too_late_is_made_good_by_a_launch() {
    let (mut market, _) = started();
    market.forget_on_agent("b", "ml", "t2").hold_again("b");
    market.holds_not("b", &Reject::invalid("gang", "it was not started in time")).expect("launch ml/t2 on b");
    // The agent says so twice: when the hold expires, and when the start comes. It does not start a known task again.
    market.update("b", "ml", "t2", TaskState::Running).lines();
    market.hold_again("b");
    market.holds_not("b", &Reject::invalid("gang", "it is not held here")).expect("");
}

#[test]
fn a_member_that_does_not_start_ends_the_gang() {
    let (mut market, _) = started();
    market.update("a", "ml", "t1", TaskState::Running).lines();
    market.update("b", "ml", "t2", TaskState::Dropped);
    assert_eq!(
        without_offers(&mut market),
        ["update t2 TASK_DROPPED -> ml", "kill ml/t1 on a: GANG_ABORTED", "answered ml"]
    );
}

#[test]
fn a_member_that_ends_after_it_has_run_ends_alone() {
    let (mut market, _) = started();
    market.update("a", "ml", "t1", TaskState::Running).acknowledge("ml");
    market.update("a", "ml", "t1", TaskState::Failed).acknowledge("ml").lines();
    market.update("b", "ml", "t2", TaskState::Running);
    assert_eq!(without_offers(&mut market), ["update t2 TASK_RUNNING -> ml", "answered ml"]);
}

#[test]
fn a_gang_is_aborted_where_its_agents_are_away_too() {
    let (mut market, _) = started();
    market.agent_leaves("a").lines();
    market.update("b", "ml", "t2", TaskState::Dropped).lines();
    assert_eq!(market.registry().kills.len(), 1);
    market.register("a");
    assert_eq!(without_offers(&mut market), ["registered a", "kill ml/t1 on a: GANG_ABORTED"]);
}

#[test]
fn an_agent_that_comes_back_without_its_member_ends_the_gang() {
    let (mut market, _) = started();
    market.update("a", "ml", "t1", TaskState::Running).acknowledge("ml").lines();
    market.forget_on_agent("b", "ml", "t2").agent_leaves("b").wait(secs(60)).acknowledge("ml").lines();
    market.register("b");
    assert_eq!(
        without_offers(&mut market),
        [
            "registered b",
            "update t2 TASK_GONE AGENT_DOES_NOT_KNOW_TASK -> ml",
            "kill ml/t1 on a: GANG_ABORTED",
            "answered ml"
        ]
    );
}

#[test]
fn a_repeated_gang_is_the_same_gang() {
    let (mut market, gang) = asked();
    market.repeat_gang("ml", &gang).expect("");
    market.holds("a").holds("b").lines();
    market.repeat_gang("ml", &gang).expect("");
    market.update("a", "ml", "t1", TaskState::Running).update("b", "ml", "t2", TaskState::Running).lines();
    market.repeat_gang("ml", &gang).expect("answered ml");
    let (mut market, gang) = asked();
    market.holds_not("b", &Reject::JournalDegraded).lines();
    market.repeat_gang("ml", &gang);
    assert_eq!(without_offers(&mut market), ["rejected t1,t2 journal_degraded -> ml"]);
}

#[test]
fn messages_that_come_twice_change_nothing() {
    let (mut market, _) = asked();
    market.holds("a").holds("a").expect("");
    market.holds("b").lines();
    market.says_held("a").says_held("b").expect("");
}

#[test]
fn a_kill_of_a_member_that_is_not_started_waits_for_the_start() {
    let (mut market, _) = asked();
    market.kill("ml", "t2").expect("");
    market.holds("a").holds("b").expect("start launch ml/t1 on a\nstart launch ml/t2 on b\nkill ml/t2 on b");
    let (mut market, _) = asked();
    market.kill("ml", "t2").holds_not("a", &Reject::JournalDegraded).lines();
    market.wait(secs(1)).lines();
    market.gang("ml", &[("a", "t1", "cpus:3"), ("b", "t2", "cpus:3")]);
    market.holds("a").holds("b").lines();
    assert!(market.registry().kills.is_empty(), "a refused task's kill is void");
}

#[test]
fn nobody_is_told_of_a_task_that_may_never_be_one() {
    let (mut market, _) = asked();
    let asked = vec![Asked { task: TaskId::new("t1").expect("an id"), agent: None }];
    market.call("ml", Call::Reconcile(asked.clone())).expect("");
    market.holds("a").holds("b").lines();
    market.call("ml", Call::Reconcile(asked)).expect("update t1 TASK_STAGING RECONCILIATION -> ml");
}

#[test]
fn a_framework_that_is_removed_holds_nothing() {
    let (mut market, _) = asked();
    market.holds("a").lines();
    market.call("ml", Call::Teardown);
    let lines = without_offers(&mut market);
    assert!(lines.contains(&"release on a".to_owned()) && lines.contains(&"release on b".to_owned()), "{lines:?}");
    assert_eq!(market.free_on("a"), "cpus:4 mem:1024");
}

#[test]
fn devices_are_held_and_come_back_clean_when_a_gang_is_refused() {
    let mut market = Market::new();
    market.agent_with("a", "cpus:4;mem:1024", vec![device("gpu0", "gpu", "L")]).agent("b", "cpus:4;mem:1024");
    market.framework("ml", "*").lines();
    market.gang_of("ml", vec![("a", task("t1", "*", "cpus:1", &["gpu"])), ("b", task("t2", "*", "cpus:1", &[]))]);
    assert_eq!(market.lines()[..2], ["hold ml/t1 on a", "hold ml/t2 on b"]);
    assert!(matches!(market.device_state("a", "gpu0"), DeviceState::Allocated(_)));
    // The agent tells of its devices anew, and does not count what is only held.
    market.tells_devices("a");
    assert!(matches!(market.device_state("a", "gpu0"), DeviceState::Allocated(_)));
    market.holds_not("b", &Reject::JournalDegraded).lines();
    assert_eq!(market.device_state("a", "gpu0"), DeviceState::Free);
    market.wait(secs(1)).launch_with("ml", "a", "t3", "cpus:1", &["gpu"]);
    assert!(market.lines().contains(&"launch ml/t3 with gpu0 on a".to_owned()));
}

#[test]
fn a_gang_that_was_not_started_before_a_failover_is_refused_when_all_agents_are_back() {
    let (mut market, gang) = asked();
    market.failover().subscribe("ml").lines();
    market.repeat_gang("ml", &gang).expect("");
    market.register("a");
    assert_eq!(without_offers(&mut market), ["registered a", "release on a"]);
    market.register("b");
    assert_eq!(without_offers(&mut market), ["registered b", "release on b", "rejected t1,t2 offer_gone -> ml"]);
}

#[test]
fn a_gang_that_was_started_before_a_failover_goes_on() {
    let (mut market, gang) = started();
    market.failover().subscribe("ml").repeat_gang("ml", &gang).register("a").lines();
    // b did not get the start; the rest of the gang is launched where it still fits.
    market.forget_on_agent("b", "ml", "t2").register("b");
    assert_eq!(without_offers(&mut market), ["registered b", "launch ml/t2 on b"]);
    market.update("a", "ml", "t1", TaskState::Running).lines();
    market.update("b", "ml", "t2", TaskState::Running).expect("update t2 TASK_RUNNING -> ml\nanswered ml");
    market.repeat_gang("ml", &gang).expect("answered ml");
}

#[test]
fn a_gang_whose_rest_does_not_fit_after_a_failover_is_aborted() {
    let (mut market, gang) = started();
    market.forget_on_agent("b", "ml", "t2").failover().framework("ci", "*").subscribe("ml");
    market.repeat_gang("ml", &gang).register("b").launch("ci", "b", "t9", "cpus:2").lines();
    market.register("a");
    assert_eq!(
        without_offers(&mut market),
        ["registered a", "kill ml/t1 on a: GANG_ABORTED", "rejected t2 offer_conflict -> ml"]
    );
}

#[test]
fn a_gang_of_an_earlier_term_on_an_agent_that_stays_away_is_in_doubt_and_ended() {
    let (mut market, gang) = started();
    market.failover().subscribe("ml").repeat_gang("ml", &gang);
    market.forget_on_agent("a", "ml", "t1").register("a").lines();
    // b may have started its part; a did not, so none of it shall live.
    market.wait(secs(61));
    assert_eq!(
        without_offers(&mut market),
        ["update t2 TASK_UNREACHABLE AGENT_DISCONNECTED -> ml", "rejected t1 offer_gone -> ml"]
    );
    market.register("b");
    let lines = without_offers(&mut market);
    assert!(lines.contains(&"kill ml/t2 on b: GANG_ABORTED".to_owned()), "{lines:?}");
}

#[test]
fn a_gang_that_makes_no_sense_is_refused_by_name() {
    let mut market = pair();
    market.gang("ml", &[]);
    market.expect("rejected accept_gang.parts: expected 1 to 1024 -> ml");
    market.gang("ml", &[("a", "t1", "cpus:1"), ("a", "t1", "cpus:1")]);
    assert_eq!(market.lines()[0], "rejected t1,t1 duplicate_task -> ml");
    let (mut market, _) = asked();
    market.launch("ml", "a", "t1", "cpus:1");
    assert_eq!(without_offers(&mut market)[0], "rejected t1 duplicate_task -> ml");
}
