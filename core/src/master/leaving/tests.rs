use std::time::Duration;

use crate::master::{Command, Config};
use crate::model::{Shape, TaskState, WallTime};
use crate::testing::{Market, shape};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn notice(market: &mut Market, agent: &str, after: Option<u64>) {
    let agent = market.agent_id(agent);
    market.operator(Command::Notice { agent, after: after.map(secs) });
}

/// One of a shape that runs for so long.
fn runs_for(seconds: u64) -> Shape {
    Shape { expected_run_time: Some(secs(seconds)), ..shape("s", "cpus:1", &[], 1) }
}

#[test]
fn every_framework_hears_that_an_agent_leaves_and_its_offers_end() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").framework("f", "eng").framework("g", "ops").lines();
    notice(&mut market, "a", Some(120));
    market.expect(
        "a leaves in 120s -> f
         a leaves in 120s -> g
         rescind a from f
         rescind a from g
         reply ok",
    );
    assert!(!market.has_offer("f", "a") && !market.has_offer("g", "a"));
}

#[test]
fn it_may_stay_after_all() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").framework("f", "eng");
    notice(&mut market, "a", Some(120));
    market.lines();
    notice(&mut market, "a", None);
    market.expect("a stays -> f\nreply ok\noffer a cpus:4 -> f");
    assert!(market.registry().leaving.is_empty());
    market.wait(secs(300));
    assert!(market.has_offer("f", "a"));
    notice(&mut market, "a", None);
    market.expect("reply ok");
}

#[test]
fn only_what_ends_before_is_begun_there() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").framework("f", "eng");
    market.demand("f", vec![shape("s", "cpus:1", &[], 1)]);
    notice(&mut market, "a", Some(120));
    assert!(!market.has_offer("f", "a"), "nobody knows how long that runs");
    market.demand("f", vec![runs_for(116)]);
    assert!(!market.has_offer("f", "a"), "it ends too late");
    market.demand("f", vec![runs_for(115)]);
    assert!(market.has_offer("f", "a"));
    market.lines();
    market.launch("f", "a", "t1", "cpus:1");
    market.expect("rejected t1 agent_leaves -> f");
    market.demand("f", vec![runs_for(100)]).wait(secs(1)).lines();
    market.launch_for("f", "a", "t2", "cpus:1", secs(100));
    assert_eq!(market.lines()[0], "launch f/t2 on a");
}

#[test]
fn an_offer_that_was_made_in_time_is_judged_when_it_is_taken() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").framework("f", "eng");
    notice(&mut market, "a", Some(120));
    market.demand("f", vec![runs_for(100)]).wait(secs(20)).lines();
    market.launch_for("f", "a", "t1", "cpus:1", secs(100));
    market.expect("rejected t1 agent_leaves -> f");
    assert!(!market.has_offer("f", "a"), "it is not offered again for that");
}

#[test]
fn tasks_are_told_to_end_their_grace_before_and_the_agent_is_gone_then() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").framework("f", "eng");
    market.launch("f", "a", "t1", "cpus:1").launch("f", "a", "t2", "cpus:1");
    market.update("a", "f", "t1", TaskState::Running).update("a", "f", "t2", TaskState::Running).acknowledge("f");
    notice(&mut market, "a", Some(120));
    market.wait(Duration::from_millis(116_999)).lines();
    market.wait(Duration::from_millis(1));
    market.expect("kill f/t1 on a: AGENT_LEAVING\nkill f/t2 on a: AGENT_LEAVING");
    market.update("a", "f", "t1", TaskState::Killed).acknowledge("f").lines();
    market.wait(secs(3));
    market.expect(
        "shutdown a: unknown_agent
         close a: unknown_agent
         update t2 TASK_GONE_BY_OPERATOR AGENT_REMOVED -> f
         agent lost -> f",
    );
    assert!(market.registry().leaving.is_empty());
}

#[test]
fn with_less_time_than_their_grace_tasks_get_what_there_is() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").framework("f", "eng").launch("f", "a", "t1", "cpus:1").lines();
    notice(&mut market, "a", Some(2));
    market.expect("a leaves in 2s -> f\nrescind a from f\nkill f/t1 on a: AGENT_LEAVING\nreply ok");
    let key = market.key("f", "t1");
    assert_eq!(market.registry().kills[&key].grace, Some(secs(2)));
}

#[test]
fn no_time_at_all_is_gone_at_once() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").framework("f", "eng").launch("f", "a", "t1", "cpus:1").lines();
    notice(&mut market, "a", Some(0));
    let lines = market.lines();
    assert!(lines.contains(&"agent lost -> f".to_owned()), "{lines:?}");
    assert!(market.registry().leaving.is_empty());
}

#[test]
fn a_notice_outlives_the_master_and_time_goes_on_meanwhile() {
    let mut market = Market::with(Config { origin: WallTime(5_000_000), ..Config::default() });
    market.agent("a", "cpus:4").framework("f", "eng").launch("f", "a", "t1", "cpus:1");
    market.update("a", "f", "t1", TaskState::Running).acknowledge("f");
    notice(&mut market, "a", Some(120));
    market.wait(secs(60)).failover().lines();
    market.register("a").subscribe("f");
    let lines = market.lines();
    assert!(lines.contains(&"a leaves in 60s -> f".to_owned()), "{lines:?}");
    assert!(!market.has_offer("f", "a"));
    market.wait(secs(57));
    market.expect("kill f/t1 on a: AGENT_LEAVING");
    market.wait(secs(3));
    assert!(market.lines().contains(&"agent lost -> f".to_owned()));
}

#[test]
fn an_agent_whose_time_came_while_no_master_was_there_is_gone_then() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").framework("f", "eng");
    notice(&mut market, "a", Some(10));
    market.wait(secs(9)).failover().lines();
    market.wait(secs(1));
    assert!(market.registry().leaving.is_empty());
    market.register("a");
    assert!(market.lines().contains(&"shutdown a: unknown_agent".to_owned()));
}

#[test]
fn a_task_that_is_found_there_later_is_told_to_end_as_well() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").framework("f", "eng").launch("f", "a", "t1", "cpus:1");
    market.update("a", "f", "t1", TaskState::Running).acknowledge("f");
    market.failover();
    notice(&mut market, "a", Some(30));
    market.wait(secs(10)).register("a").subscribe("f").lines();
    market.wait(secs(17));
    market.expect("kill f/t1 on a: AGENT_LEAVING");
}

#[test]
fn why_names_it_and_bad_notices_are_refused() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").framework("f", "eng").demand("f", vec![shape("s", "cpus:1", &[], 1)]);
    notice(&mut market, "a", Some(120));
    let why = market.why("f", "s");
    assert!(why.iter().any(|line| line.contains("to be taken away")), "{why:?}");
    market.lines();
    notice(&mut market, "a", Some(31 * 86_400));
    market.expect("reply invalid");
    let nobody = crate::model::AgentId::new(crate::model::Term(9), 9);
    market.operator(Command::Notice { agent: nobody, after: Some(secs(1)) });
    market.expect("reply unknown_agent");
}
