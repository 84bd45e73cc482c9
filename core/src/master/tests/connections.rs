//! What a connection still has to say that was given up for another.

use crate::testing::Market;

#[test]
fn a_subscription_that_arrives_after_its_successor_does_not_supersede_it() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").framework("f", "*");
    market.subscription_arrives("f", 7).lines();
    market.subscription_arrives("f", 6);
    market.expect("close an old connection: superseded");
    assert!(market.has_offer("f", "a"), "the newer connection stands, and its offers");
    market.launch("f", "a", "t1", "cpus:1");
    assert!(market.lines().contains(&"launch f/t1 on a".to_owned()));
    market.subscription_arrives("f", 8);
    assert!(market.lines().contains(&"subscribed f".to_owned()));
}

#[test]
fn a_registration_that_arrives_after_its_successor_does_not_supersede_it() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").framework("f", "*");
    market.registration_arrives("a", 7).lines();
    market.registration_arrives("a", 6);
    market.expect("close an old connection: superseded");
    market.launch("f", "a", "t1", "cpus:1");
    assert!(market.lines().contains(&"launch f/t1 on a".to_owned()));
    market.registration_arrives("a", 8);
    assert!(market.lines().contains(&"registered a".to_owned()));
}

#[test]
fn once_the_newer_connection_is_lost_a_lower_number_is_as_good_as_any() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").framework("f", "*");
    market.subscription_arrives("f", 7).framework_leaves("f").lines();
    market.subscription_from_scratch("f", 3);
    assert!(market.lines().contains(&"subscribed f".to_owned()));
    market.registration_arrives("a", 7).agent_leaves("a").lines();
    market.registration_from_scratch("a", 2);
    assert!(market.lines().contains(&"registered a".to_owned()));
}

#[test]
fn who_does_not_count_is_taken_as_it_comes() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").framework("f", "*");
    market.subscription_arrives("f", 7).lines();
    market.subscription_from_scratch("f", 0);
    assert!(market.lines().contains(&"subscribed f".to_owned()));
}
