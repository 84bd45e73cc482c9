use std::time::Duration;

use crate::model::{AgentId, Asked, Call, OfferMode, Operation, Role, TaskGroup, TaskId, TaskState, Term};
use crate::testing::{Market, device, shape, task};

use super::{Command, Config};

mod connections;
mod fairness;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// One agent of four cpus and one framework, both there.
fn small() -> Market {
    let mut market = Market::new();
    market.agent("a", "cpus:4;mem:1024").framework("ci", "*");
    market.lines();
    market
}

#[test]
fn what_is_free_is_offered() {
    let mut market = Market::new();
    market.agent("a", "cpus:4;mem:1024").framework("ci", "*");
    market.expect(
        "registered a
         subscribed ci
         offer a cpus:4 mem:1024 -> ci",
    );
}

#[test]
fn a_task_lives_and_its_resources_come_back() {
    let mut market = small();
    market.launch("ci", "a", "t1", "cpus:1;mem:64");
    market.expect(
        "launch ci/t1 on a
         offer a cpus:3 mem:960 -> ci",
    );
    market.update("a", "ci", "t1", TaskState::Running).acknowledge("ci");
    market.expect(
        "update t1 TASK_RUNNING -> ci
         ack ci/t1 to a",
    );
    market.update("a", "ci", "t1", TaskState::Finished);
    market.expect(
        "update t1 TASK_FINISHED -> ci
         rescind a from ci
         offer a cpus:4 mem:1024 -> ci",
    );
    market.acknowledge("ci").expect("ack ci/t1 to a");
}

#[test]
fn an_accept_names_an_offer_that_was_replaced_meanwhile() {
    let mut market = small();
    let first = market.offer_of("ci", "a");
    market.launch("ci", "a", "t1", "cpus:2");
    let second = market.offer_of("ci", "a");
    market.update("a", "ci", "t1", TaskState::Finished);
    market.lines();
    market.accept("ci", &second, vec![Operation::Launch(TaskGroup::single(task("t2", "*", "cpus:1", &[])))]);
    assert_eq!(market.lines()[0], "launch ci/t2 on a");
    market.accept("ci", &first, vec![Operation::Launch(TaskGroup::single(task("t3", "*", "cpus:1", &[])))]);
    assert_eq!(market.lines()[0], "rejected t3 offer_gone -> ci");
}

#[test]
fn an_accept_names_an_offer_that_demand_took_back_meanwhile() {
    let mut market = small();
    let wanted = || vec![shape("small", "cpus:1", &[], 1)];
    let first = market.demand("ci", wanted()).offer_of("ci", "a");
    market.demand("ci", Vec::new()).expect("rescind a from ci");
    // The framework wants something again before it has read that the offer is taken back.
    market.demand("ci", wanted()).expect("offer a cpus:4 mem:1024 -> ci");
    market.accept("ci", &first, vec![Operation::Launch(TaskGroup::single(task("t1", "*", "cpus:1", &[])))]);
    assert_eq!(market.lines()[0], "launch ci/t1 on a");
    // An agent that was away has not kept what it offered.
    let last = market.offer_of("ci", "a");
    market.demand("ci", Vec::new()).agent_leaves("a").register("a").demand("ci", wanted()).lines();
    market.accept("ci", &last, vec![Operation::Launch(TaskGroup::single(task("t2", "*", "cpus:1", &[])))]);
    assert_eq!(market.lines()[0], "rejected t2 offer_gone -> ci");
}

#[test]
fn two_are_offered_the_same_and_the_slower_one_retries() {
    let mut market = small();
    market.framework("web", "*").expect("subscribed web\noffer a cpus:4 mem:1024 -> web");
    market.launch("ci", "a", "t1", "cpus:3;mem:64");
    market.expect("launch ci/t1 on a\noffer a cpus:1 mem:960 -> ci");
    // web's offer stands: something useful is left of it. What fits of it is launched, what does not is told.
    let offer = market.offer_of("web", "a");
    let operations = vec![
        Operation::Launch(TaskGroup::single(task("w1", "*", "cpus:2;mem:64", &[]))),
        Operation::Launch(TaskGroup::single(task("w2", "*", "cpus:1;mem:64", &[]))),
    ];
    market.accept("web", &offer, operations);
    let lines = market.lines();
    assert_eq!(lines[0], "launch web/w2 on a");
    assert!(lines.contains(&"rejected w1 offer_conflict -> web".to_owned()), "{lines:?}");
}

#[test]
fn more_than_was_offered_is_refused() {
    let mut market = small();
    market.launch("ci", "a", "t1", "cpus:5");
    assert_eq!(market.lines()[0], "rejected t1 exceeds_offer -> ci");
}

#[test]
fn a_group_is_launched_whole_or_not_at_all() {
    let mut market = small();
    let offer = market.offer_of("ci", "a");
    let group = TaskGroup { tasks: vec![task("g1", "*", "cpus:3", &[]), task("g2", "*", "cpus:2", &[])] };
    market.accept("ci", &offer, vec![Operation::Launch(group)]);
    assert_eq!(market.lines()[0], "rejected g1,g2 exceeds_offer -> ci");
    market.wait(secs(1));
    let offer = market.offer_of("ci", "a");
    let group = TaskGroup { tasks: vec![task("g3", "*", "cpus:3", &[]), task("g4", "*", "cpus:1;mem:64", &[])] };
    market.lines();
    market.accept("ci", &offer, vec![Operation::Launch(group)]);
    assert_eq!(market.lines()[0], "launch ci/g3 + ci/g4 on a");
}

#[test]
fn a_refusal_holds_for_its_time_and_no_longer() {
    let mut market = small();
    market.decline("ci", "a", 5).wait(secs(4)).expect("");
    market.wait(secs(2)).expect("offer a cpus:4 mem:1024 -> ci");
}

#[test]
fn a_larger_offer_passes_a_refusal() {
    let mut market = small();
    market.launch("ci", "a", "t1", "cpus:1").lines();
    market.decline("ci", "a", 60).expect("");
    market.update("a", "ci", "t1", TaskState::Finished);
    market.expect("update t1 TASK_FINISHED -> ci\noffer a cpus:4 mem:1024 -> ci");
}

#[test]
fn who_is_suppressed_is_offered_nothing_until_revived() {
    let mut market = small();
    let all = || [Role::any()].into();
    market.call("ci", Call::Suppress(all())).expect("rescind a from ci");
    market.agent("b", "cpus:1;mem:64").expect("registered b");
    market.call("ci", Call::Revive(all()));
    market.expect("offer a cpus:4 mem:1024 -> ci\noffer b cpus:1 mem:64 -> ci");
}

#[test]
fn an_exclusive_offer_locks_and_expires() {
    let mut market = Market::new();
    market.agent("a", "cpus:4;mem:1024").framework_with("old", &["*"], OfferMode::Exclusive).framework("ci", "*");
    market.expect(
        "registered a
         subscribed old
         offer a cpus:4 mem:1024 -> old
         subscribed ci",
    );
    market.wait(secs(29)).expect("");
    market.wait(secs(2)).expect("rescind a from old\noffer a cpus:4 mem:1024 -> ci");
}

#[test]
fn what_is_demanded_is_offered_and_nothing_else() {
    let mut market = Market::new();
    market.framework("ci", "*").demand("ci", vec![shape("big", "cpus:8", &[], 1)]).agent("a", "cpus:4;mem:1024");
    market.expect("subscribed ci\nregistered a");
    market.agent("b", "cpus:8;mem:1024").expect("registered b\noffer b cpus:8 mem:1024 -> ci");
    market.demand("ci", Vec::new()).agent("c", "cpus:8;mem:64").expect("rescind b from ci\nregistered c");
}

#[test]
fn a_fifth_framework_gets_its_turn() {
    let mut market = Market::new();
    market.agent("a", "cpus:4;mem:1024");
    for name in ["f1", "f2", "f3", "f4", "f5"] {
        market.framework(name, "*");
    }
    assert!(!market.has_offer("f5", "a"), "one resource is in at most four offers");
    market.lines();
    market.wait(secs(6)).expect("rescind a from f1\noffer a cpus:4 mem:1024 -> f5");
}

fn with_gpus() -> Market {
    let mut market = Market::new();
    let gpus = vec![device("g0", "gpu", "T4"), device("g1", "gpu", "G2")];
    market.agent_with("a", "cpus:8;mem:4096", gpus).framework("ci", "*");
    market.lines();
    market
}

#[test]
fn a_claim_is_resolved_to_a_device_that_matches() {
    let mut market = with_gpus();
    market.launch_with("ci", "a", "t1", "cpus:1", &["gpu: model == G2"]);
    assert_eq!(market.lines()[0], "launch ci/t1 with g1 on a");
}

#[test]
fn a_device_is_not_handed_on_before_it_is_clean() {
    let mut market = with_gpus();
    market.launch_with("ci", "a", "t1", "cpus:1", &["gpu: model == G2"]);
    market
        .update("a", "ci", "t1", TaskState::Running)
        .update("a", "ci", "t1", TaskState::Finished)
        .acknowledge("ci")
        .lines();
    market.launch_with("ci", "a", "t2", "cpus:1", &["gpu: model == G2"]);
    assert_eq!(market.lines()[0], "rejected t2 claim_not_met -> ci");
    market.cleaned("a", "g1", 1);
    market.wait(secs(1));
    market.lines();
    market.launch_with("ci", "a", "t3", "cpus:1", &["gpu: model == G2"]);
    assert_eq!(market.lines()[0], "launch ci/t3 with g1 on a");
    // The agent says again that the first tenancy is over: nothing is freed by it.
    market.cleaned("a", "g1", 1);
    market.update("a", "ci", "t3", TaskState::Finished).cleaned("a", "g1", 1);
    market.wait(secs(1)).lines();
    market.launch_with("ci", "a", "t4", "cpus:1", &["gpu: model == G2"]);
    assert_eq!(market.lines()[0], "rejected t4 claim_not_met -> ci");
}

#[test]
fn why_says_who_holds_the_devices() {
    let mut market = with_gpus();
    market.launch_with("ci", "a", "t1", "cpus:1", &["gpu"]).launch_with("ci", "a", "t2", "cpus:1", &["gpu"]);
    market.demand("ci", vec![shape("t3", "cpus:1", &["gpu"], 1)]);
    let why = market.why("ci", "t3");
    let [held] = why.as_slice() else { panic!("one reason, not {why:?}") };
    assert!(held.starts_with("1 of 1 agent: devices held: g0 on a by F1-2/t1"), "{held}");
    assert!(held.ends_with("g1 on a by F1-2/t2"), "{held}");
}

#[test]
fn why_says_at_once_what_never_fits() {
    let mut market = small();
    market.demand(
        "ci",
        vec![shape("huge", "cpus:99", &[], 1), shape("fpga", "cpus:1", &["fpga"], 1), shape("fine", "cpus:1", &[], 1)],
    );
    assert_eq!(market.why("ci", "huge"), ["1 of 1 agent: cpus short by 95, even when empty (a)"]);
    assert_eq!(market.why("ci", "fpga"), ["1 of 1 agent: no fpga there"]);
    assert_eq!(market.why("ci", "fine"), ["1 of 1 agent: on offer to the framework right now (a)"]);
    assert!(market.wait_of("ci", "huge").is_hopeless() && !market.wait_of("ci", "fine").is_hopeless());
}

#[test]
fn an_agent_that_is_away_keeps_its_tasks_and_then_they_are_unreachable() {
    let mut market = small();
    market.launch("ci", "a", "t1", "cpus:1").update("a", "ci", "t1", TaskState::Running).acknowledge("ci").lines();
    market.agent_leaves("a").wait(secs(29)).expect("rescind a from ci");
    market.wait(secs(2)).expect("update t1 TASK_UNREACHABLE AGENT_DISCONNECTED -> ci");
    market.acknowledge("ci").register("a");
    market.expect(
        "registered a
         update t1 TASK_RUNNING AGENT_REREGISTERED -> ci
         offer a cpus:3 mem:1024 -> ci",
    );
}

#[test]
fn a_launch_that_got_lost_is_sent_again() {
    let mut market = small();
    market.launch("ci", "a", "t1", "cpus:1").agent_leaves("a").lines();
    market.forget_on_agent("a", "ci", "t1").register("a");
    market.expect(
        "registered a
         launch ci/t1 on a
         offer a cpus:3 mem:1024 -> ci",
    );
}

#[test]
fn a_task_that_its_agent_does_not_know_is_gone() {
    let mut market = small();
    market.launch("ci", "a", "t1", "cpus:1").update("a", "ci", "t1", TaskState::Running).acknowledge("ci");
    market.agent_leaves("a").forget_on_agent("a", "ci", "t1").lines();
    market.register("a");
    market.expect(
        "registered a
         update t1 TASK_GONE AGENT_DOES_NOT_KNOW_TASK -> ci
         offer a cpus:4 mem:1024 -> ci",
    );
}

#[test]
fn a_failover_disturbs_no_task() {
    let mut market = small();
    market.launch("ci", "a", "t1", "cpus:1").update("a", "ci", "t1", TaskState::Running).acknowledge("ci").lines();
    market.failover();
    assert_eq!(market.master.term(), Term(2));
    market.subscribe("ci").expect("subscribed ci, 1 agents missing");
    market.register("a").expect("registered a\noffer a cpus:3 mem:1024 -> ci");
    assert_eq!(market.master.view().tasks[&market.key("ci", "t1")].state, TaskState::Running);
}

#[test]
fn an_accept_of_an_earlier_term_waits_for_its_agent() {
    let mut market = small();
    let offer = market.offer_of("ci", "a");
    let operations = || vec![Operation::Launch(TaskGroup::single(task("t1", "*", "cpus:1", &[])))];
    market.accept("ci", &offer, operations()).lines();
    market.failover().subscribe("ci").lines();
    // The framework does not know whether its accept arrived, and repeats it.
    market.accept("ci", &offer, operations()).expect("");
    market.register("a");
    let lines = market.lines();
    assert!(!lines.iter().any(|line| line.starts_with("rejected") || line.starts_with("launch")), "{lines:?}");
    assert!(market.master.view().tasks.contains_key(&market.key("ci", "t1")));
}

#[test]
fn an_accept_of_an_earlier_term_whose_launch_never_arrived_is_refused() {
    let mut market = small();
    let offer = market.offer_of("ci", "a");
    market.failover().subscribe("ci").lines();
    market.accept("ci", &offer, vec![Operation::Launch(TaskGroup::single(task("t1", "*", "cpus:1", &[])))]).expect("");
    market.register("a");
    assert!(market.lines().contains(&"rejected t1 offer_gone -> ci".to_owned()));
}

#[test]
fn an_agent_that_does_not_come_back_after_a_failover_is_unreachable() {
    let mut market = small();
    market.failover().subscribe("ci").lines();
    market.wait(secs(61)).expect("");
    let admission = market.registry().agents.values().next().expect("one agent").admission;
    assert_eq!(admission, crate::master::registry::Admission::Unreachable);
    market.register("a").expect("registered a\noffer a cpus:4 mem:1024 -> ci");
}

#[test]
fn a_kill_for_an_agent_that_is_away_survives_a_failover() {
    let mut market = small();
    market.launch("ci", "a", "t1", "cpus:1").update("a", "ci", "t1", TaskState::Running).acknowledge("ci");
    market.agent_leaves("a").kill("ci", "t1").lines();
    market.failover().subscribe("ci").lines();
    market.register("a");
    assert!(market.lines().contains(&"kill ci/t1 on a".to_owned()));
    market.update("a", "ci", "t1", TaskState::Killed).acknowledge("ci");
    assert!(market.registry().kills.is_empty(), "a kill that is carried out is forgotten");
}

#[test]
fn killing_what_is_not_known_is_answered() {
    let mut market = small();
    market.kill("ci", "nix").expect("update nix TASK_UNKNOWN RECONCILIATION -> ci\nrejected nix unknown_task -> ci");
}

#[test]
fn updates_that_were_not_acknowledged_come_again() {
    let mut market = small();
    market.launch("ci", "a", "t1", "cpus:1").update("a", "ci", "t1", TaskState::Running).lines();
    market.framework_leaves("ci").subscribe("ci");
    market.expect("subscribed ci\nupdate t1 TASK_RUNNING -> ci\noffer a cpus:3 mem:1024 -> ci");
}

#[test]
fn reconciliation_tells_what_is_known() {
    let mut market = small();
    market.launch("ci", "a", "t1", "cpus:1").update("a", "ci", "t1", TaskState::Running).acknowledge("ci").lines();
    market.call("ci", Call::Reconcile(Vec::new())).expect("update t1 TASK_RUNNING RECONCILIATION -> ci");
    market.call("ci", Call::Reconcile(vec![asked("t1"), asked("t2")]));
    market.expect("update t1 TASK_RUNNING RECONCILIATION -> ci\nupdate t2 TASK_UNKNOWN RECONCILIATION -> ci");
}

fn asked(task: &str) -> Asked {
    Asked { task: TaskId::new(task).expect("an id"), agent: None }
}

#[test]
fn a_task_on_an_agent_that_is_away_since_a_failover_is_unreachable_and_not_gone() {
    let mut market = small();
    market.launch("ci", "a", "t1", "cpus:1").update("a", "ci", "t1", TaskState::Running).acknowledge("ci").lines();
    let agent = Some(AgentId::new(Term(1), 1));
    market.failover().subscribe("ci").wait(secs(61)).lines();
    market.call("ci", Call::Reconcile(vec![Asked { agent, ..asked("t1") }]));
    market.expect("update t1 TASK_UNREACHABLE RECONCILIATION -> ci");
    market.register("a");
    assert_eq!(market.master.view().tasks[&market.key("ci", "t1")].state, TaskState::Running);
}

#[test]
fn reconciliation_is_silent_while_agents_are_missing() {
    let mut market = small();
    market.failover().subscribe("ci").lines();
    market.call("ci", Call::Reconcile(vec![asked("t2")])).expect("");
}

#[test]
fn a_framework_that_stays_away_is_removed_and_its_tasks_are_killed() {
    let mut market = small();
    market.launch("ci", "a", "t1", "cpus:1").update("a", "ci", "t1", TaskState::Running).lines();
    market.framework_leaves("ci").wait(secs(599)).expect("");
    market.wait(secs(2)).expect("remove ci on a");
    market.update("a", "ci", "t1", TaskState::Killed).expect("ack ci/t1 to a");
    market.subscribe("ci").expect("error unknown_framework -> ci\nclose ci: unknown_framework");
}

#[test]
fn a_framework_that_is_away_gets_no_more_time_by_a_failover_than_was_recorded() {
    let mut market = small();
    market.framework_leaves("ci").wait(secs(500)).failover();
    // 600 s in all; the last eighth that was recorded as passed ended at 450.
    market.register("a").wait(secs(149));
    assert_eq!(market.registry().frameworks.len(), 1);
    market.wait(secs(1));
    assert!(market.registry().frameworks.is_empty());
}

#[test]
fn a_framework_that_came_back_has_all_of_its_time_again() {
    let mut market = small();
    market.framework_leaves("ci").wait(secs(500)).subscribe("ci").framework_leaves("ci").wait(secs(599));
    assert_eq!(market.registry().frameworks.len(), 1);
    market.wait(secs(1));
    assert!(market.registry().frameworks.is_empty());
}

#[test]
fn a_task_that_is_gone_is_told_of_until_its_framework_has_heard_however_often_its_agent_returns() {
    let mut market = small();
    market.launch("ci", "a", "t1", "cpus:1").update("a", "ci", "t1", TaskState::Running).acknowledge("ci");
    market.framework_leaves("ci").agent_leaves("a").forget_on_agent("a", "ci", "t1").register("a");
    market.agent_leaves("a").register("a").lines();
    market.subscribe("ci");
    assert!(market.lines().iter().any(|line| line.starts_with("update t1 TASK_GONE")));
}

#[test]
fn the_same_framework_subscribing_twice_is_one() {
    let mut market = small();
    market.subscribe("ci").expect("close an old connection: superseded\nsubscribed ci\noffer a cpus:4 mem:1024 -> ci");
}

#[test]
fn an_agent_marked_gone_takes_its_tasks_with_it_and_may_not_return() {
    let mut market = small();
    market.launch("ci", "a", "t1", "cpus:1").update("a", "ci", "t1", TaskState::Running).acknowledge("ci").lines();
    market.operator(Command::MarkGone(AgentId::new(Term(1), 1)));
    market.expect(
        "rescind a from ci
         shutdown a: unknown_agent
         close a: unknown_agent
         update t1 TASK_GONE_BY_OPERATOR AGENT_REMOVED -> ci
         agent lost -> ci
         reply ok",
    );
    market.register("a").expect("shutdown a: unknown_agent\nclose a: unknown_agent");
}

#[test]
fn a_task_id_is_used_once() {
    let mut market = small();
    market.launch("ci", "a", "t1", "cpus:1").update("a", "ci", "t1", TaskState::Finished).acknowledge("ci").lines();
    market.agent("b", "cpus:1;mem:64").lines();
    market.launch("ci", "b", "t1", "cpus:1");
    // It ran and was acknowledged: a repeated launch is the same launch, and never runs twice.
    assert!(!market.lines().iter().any(|line| line.starts_with("launch")));
}

#[test]
fn devices_are_reported_with_their_states_and_not_as_amounts() {
    let mut market = Market::new();
    market.agent("a", "cpus:4");
    market.lines();
    market.misreport_device("a", "g0").register("a");
    market.expect("shutdown a: invalid\nclose a: invalid");
}

#[test]
fn a_quiet_cluster_has_no_deadline() {
    let mut market = small();
    market.wait(secs(10));
    assert_eq!(market.master.next_deadline(), None);
}

#[test]
fn an_offer_that_would_do_stands_for_a_while_before_it_grows() {
    let config = Config { offer_growth_delay: Duration::from_millis(100), ..Config::default() };
    let mut market = Market::with(config);
    market.agent("a", "cpus:4;mem:1024").framework("ci", "*");
    market.demand("ci", vec![shape("small", "cpus:1", &[], 9), shape("large", "cpus:4", &[], 1)]);
    market.launch("ci", "a", "t1", "cpus:1").launch("ci", "a", "t2", "cpus:1").launch("ci", "a", "t3", "cpus:1");
    market.lines();
    market.update("a", "ci", "t1", TaskState::Finished).expect("update t1 TASK_FINISHED -> ci");
    market.wait(Duration::from_millis(100));
    market.expect("rescind a from ci\noffer a cpus:2 mem:1024 -> ci");
    market.update("a", "ci", "t2", TaskState::Finished).expect("update t2 TASK_FINISHED -> ci");
    // Now only a larger one is of use to the large task.
    market.update("a", "ci", "t3", TaskState::Finished);
    market.expect("update t3 TASK_FINISHED -> ci\nrescind a from ci\noffer a cpus:4 mem:1024 -> ci");
}

#[test]
fn the_row_of_a_task_that_its_agent_tells_of_again_outlives_that_of_its_older_end() {
    let mut market = Market::with(Config { history_max: 1, ..Config::default() });
    market.agent("a", "cpus:4").agent("b", "cpus:4").framework("old", "*").framework("new", "*");
    market.launch("old", "a", "t1", "cpus:1").update("a", "old", "t1", TaskState::Finished).agent_leaves("a");
    market.framework_leaves("old").wait(secs(601)).register("a");
    // Of the one that is remembered, the older end goes; the task is there anew, until its end is told once more.
    market.launch("new", "b", "t2", "cpus:1").update("b", "new", "t2", TaskState::Finished).acknowledge("new");
    assert_eq!(market.master.view().tasks.len(), 1);
}
