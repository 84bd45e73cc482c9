use std::time::Duration;

use crate::master::Config;
use crate::model::Refusal;
use crate::testing::{Market, shape};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Declines what the framework has of the agent, for the usual time, and says after how long it is offered again, to the second.
fn refused_for(market: &mut Market, framework: &str, agent: &str) -> u64 {
    market.decline_with(framework, agent, Refusal::usual());
    let mut waited = 0;
    while !market.has_offer(framework, agent) {
        assert!(waited < 10_000, "it is offered again some time");
        market.wait(secs(1));
        waited += 1;
    }
    waited
}

#[test]
fn what_is_declined_again_and_again_is_offered_after_twice_as_long_each_time_up_to_a_bound() {
    let mut market = Market::with(Config { refusal_max: secs(60), ..Config::default() });
    market.agent("a", "cpus:4").framework("f", "*");
    let times: Vec<u64> = (0..6).map(|_| refused_for(&mut market, "f", "a")).collect();
    assert_eq!(times, [5, 10, 20, 40, 60, 60]);
}

#[test]
fn each_agent_counts_by_itself() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").agent("b", "cpus:4").framework("f", "*");
    assert_eq!((refused_for(&mut market, "f", "a"), refused_for(&mut market, "f", "a")), (5, 10));
    assert_eq!(refused_for(&mut market, "f", "b"), 5);
}

#[test]
fn an_acceptance_begins_anew() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").agent("b", "cpus:4").framework("f", "*");
    assert_eq!((refused_for(&mut market, "f", "a"), refused_for(&mut market, "f", "a")), (5, 10));
    market.launch("f", "b", "t1", "cpus:1");
    assert_eq!(refused_for(&mut market, "f", "a"), 5);
}

#[test]
fn a_revival_begins_anew_and_clears_what_holds() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").framework("f", "*");
    assert_eq!((refused_for(&mut market, "f", "a"), refused_for(&mut market, "f", "a")), (5, 10));
    market.decline_with("f", "a", Refusal::usual());
    assert!(!market.has_offer("f", "a"));
    market.revive("f");
    assert!(market.has_offer("f", "a"));
    assert_eq!(refused_for(&mut market, "f", "a"), 5);
}

#[test]
fn who_thinks_for_long_before_declining_again_is_not_taken_for_persistent() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").framework("f", "*");
    assert_eq!(refused_for(&mut market, "f", "a"), 5);
    market.wait(secs(6));
    assert_eq!(refused_for(&mut market, "f", "a"), 5);
}

#[test]
fn a_time_that_was_said_is_kept_and_so_is_that_of_a_declared_demand() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").framework("f", "*");
    for _ in 0..3 {
        market.decline("f", "a", 5).wait(secs(5));
        assert!(market.has_offer("f", "a"));
    }
    market.demand("f", vec![shape("s", "cpus:1", &[], 1)]);
    for _ in 0..3 {
        assert_eq!(refused_for(&mut market, "f", "a"), 5);
    }
}

#[test]
fn a_larger_offer_passes_however_often_the_smaller_one_was_declined() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").framework("g", "*").launch("g", "a", "t1", "cpus:2");
    market.framework("f", "*");
    for _ in 0..5 {
        refused_for(&mut market, "f", "a");
    }
    market.decline_with("f", "a", Refusal::usual());
    assert!(!market.has_offer("f", "a"));
    market.update("a", "g", "t1", crate::model::TaskState::Finished);
    assert_eq!(market.offered("f", "a"), "cpus:4");
    assert_eq!(refused_for(&mut market, "f", "a"), 5, "what is larger was not declined before");
}

#[test]
fn nobody_starves_who_declines_at_random_and_waits_for_one_agent() {
    let mut market = Market::with(Config { refusal_max: secs(120), ..Config::default() });
    for agent in ["a", "b", "c"] {
        market.agent(agent, "cpus:4");
    }
    market.framework("f", "*");
    let mut last = [0_u64; 3];
    for now in 0..3600_u64 {
        for (at, agent) in ["a", "b", "c"].into_iter().enumerate() {
            if market.has_offer("f", agent) {
                last[at] = now;
                market.decline_with("f", agent, Refusal::usual());
            }
            assert!(now - last[at] <= 122, "{agent} is offered again within the bound");
        }
        market.wait(secs(1));
    }
}
