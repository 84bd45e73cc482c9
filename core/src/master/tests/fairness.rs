//! Whole-agent offers by share, and bounds on waiting.

use crate::model::OfferMode::{self, Exclusive, Optimistic};
use crate::model::TaskState;
use crate::testing::{Market, shape};

use super::secs;
use crate::master::Config;

/// `HierarchicalAllocatorTest.UnreservedDRF` of Mesos: whole agents are offered, roles compete first, then the frameworks of a role.
#[test]
fn mesos_allocator_vector() {
    let mut market = Market::new();
    let join = |market: &mut Market, name: &str, role: &str| {
        market.framework_with(name, &[role], Exclusive).lines();
    };
    join(&mut market, "fw1", "role1");
    market.agent("a1", "cpus:2;mem:1024").expect("registered a1\noffer a1 cpus:2 mem:1024 -> fw1");
    join(&mut market, "fw2", "role2");
    market.agent("a2", "cpus:1;mem:512").expect("registered a2\noffer a2 cpus:1 mem:512 -> fw2");
    // role1 has 0.33 and role2 0.17 of 6 cpus.
    market.agent("a3", "cpus:3;mem:2048").expect("registered a3\noffer a3 cpus:3 mem:2048 -> fw2");
    join(&mut market, "fw3", "role1");
    // role1 has 0.2 and role2 0.4 of 10 cpus; in role1 fw3 has nothing.
    market.agent("a4", "cpus:4;mem:4096").expect("registered a4\noffer a4 cpus:4 mem:4096 -> fw3");
    join(&mut market, "fw4", "role1");
    // role1 has 0.63 of the memory, role2 0.36 of the cpus, although fw4 has nothing.
    market.agent("a5", "cpus:1;mem:512").expect("registered a5\noffer a5 cpus:1 mem:512 -> fw2");
}

/// One full agent of one cpu, and 500 frameworks that decline whatever they are offered.
fn decliners(mode: OfferMode) -> Market {
    let mut market = Market::new().checked_when_asked();
    market.framework("owner", "owner").agent("a", "cpus:1;mem:64");
    market.launch("owner", "a", "t1", "cpus:1;mem:64");
    for number in 0..DECLINERS {
        market.framework_with(&format!("f{number}"), &["*"], mode);
    }
    market
}

const DECLINERS: usize = 500;

/// Everybody of them who has an offer of the agent declines it for an hour; how many they were.
fn all_decline(market: &mut Market) -> usize {
    let names = (0..DECLINERS).map(|number| format!("f{number}"));
    let holders: Vec<String> = names.filter(|name| market.has_offer(name, "a")).collect();
    for name in &holders {
        market.decline(name, "a", 3600);
    }
    holders.len()
}

#[test]
fn among_500_that_decline_everything_a_declared_demand_is_offered_at_once() {
    for mode in [Optimistic, Exclusive] {
        let mut market = decliners(mode);
        market.framework("one", "*").demand("one", vec![shape("small", "cpus:1", &[], 1)]).lines();
        market.update("a", "owner", "t1", TaskState::Finished).check();
        assert!(market.has_offer("one", "a"), "{mode:?}: {:?}", market.lines());
    }
}

/// Without a declaration it waits for one turn of the others at most: everybody is asked once before anybody is asked again.
#[test]
fn without_a_declaration_it_waits_for_one_turn_of_the_others() {
    for mode in [Optimistic, Exclusive] {
        let mut market = decliners(mode);
        market.framework("one", "*").update("a", "owner", "t1", TaskState::Finished);
        let mut declined = 0;
        while !market.has_offer("one", "a") {
            let now = all_decline(&mut market);
            assert!(now > 0, "somebody is offered it while it is free");
            declined += now;
        }
        assert!(declined <= DECLINERS, "{mode:?}: {declined} offers were declined before it was its turn");
    }
}

/// One agent of ten thousand fits; it is offered as soon as it is free, and nothing else is.
#[test]
fn a_picky_framework_gets_its_agents_first_free_moment() {
    let mut market = Market::new().checked_when_asked();
    market.framework("owner", "owner").agent("big", "cpus:64;mem:64");
    market.launch("owner", "big", "t1", "cpus:64;mem:64");
    for number in 1..10_000 {
        market.agent(&format!("small{number}"), "cpus:1;mem:64");
    }
    for number in 0..3 {
        market.framework(&format!("f{number}"), "*");
    }
    market.framework("picky", "*").demand("picky", vec![shape("large", "cpus:64", &[], 1)]).wait(secs(60));
    assert!(!(1..10_000).any(|number| market.has_offer("picky", &format!("small{number}"))), "nothing else fits");
    market.lines();
    market.update("big", "owner", "t1", TaskState::Finished).check();
    assert!(market.has_offer("picky", "big"), "{:?}", market.lines());
}

/// A declaration is no way past the order of shares for ever: every second place goes to those who declare nothing.
#[test]
fn who_declares_nothing_is_not_passed_over() {
    let mut market = Market::with(Config { offer_fanout: 2, ..Config::default() });
    for name in ["d1", "d2", "d3"] {
        market.framework(name, "*").demand(name, vec![shape("small", "cpus:1", &[], 100)]);
    }
    market.framework("silent", "*").lines();
    market.agent("a", "cpus:4;mem:64");
    market.expect("registered a\noffer a cpus:4 mem:64 -> d1\noffer a cpus:4 mem:64 -> silent");
}

/// Nobody is asked in vain for the place of those who have declared a demand: neither who declares that he waits for nothing, nor who
/// waits for what is not here. Else one that locks all there is would come before the demand that fits, each time.
#[test]
fn one_that_locks_everything_does_not_come_before_a_demand_that_fits() {
    let mut market = Market::with(Config { offer_fanout: 1, ..Config::default() });
    market.framework("idle", "a").demand("idle", Vec::new());
    market.framework("picky", "b").demand("picky", vec![shape("large", "cpus:64", &[], 1)]);
    market.framework_with("hoarder", &["c"], Exclusive);
    market.framework("one", "d").demand("one", vec![shape("small", "cpus:1", &[], 1)]).lines();
    market.agent("a", "cpus:4;mem:64");
    market.expect("registered a\noffer a cpus:4 mem:64 -> one");
}

/// The first to accept gets it: so whoever has less must hear of it first, however late it came.
#[test]
fn of_those_who_are_offered_the_same_the_one_with_the_smallest_share_is_told_first() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").framework("early", "one").framework("late", "two");
    market.launch("early", "a", "t1", "cpus:4").lines();
    market.agent("b", "cpus:4");
    let offers: Vec<String> = market.lines().into_iter().filter(|line| line.starts_with("offer b")).collect();
    assert_eq!(offers, ["offer b cpus:4 -> late", "offer b cpus:4 -> early"]);
}
