use crate::master::Command;
use crate::model::{OfferMode, Role};
use crate::testing::{Market, shape};

fn role(name: &str) -> Role {
    Role::new(name).unwrap()
}

fn set(market: &mut Market, name: &str, mode: Option<OfferMode>) {
    market.operator(Command::SetOfferMode { role: role(name), mode });
}

#[test]
fn an_operators_mode_goes_before_the_frameworks_wish() {
    let mut market = Market::new();
    set(&mut market, "eng", Some(OfferMode::Exclusive));
    market.agent("a", "cpus:4").framework("f", "eng/ci");
    assert_eq!(market.offer_of("f", "a").mode, OfferMode::Exclusive);
    market.framework("g", "ops").lines();
    assert!(!market.has_offer("g", "a"), "what is locked is offered to nobody else");
}

#[test]
fn the_nearest_role_that_has_a_mode_decides() {
    let mut market = Market::new();
    set(&mut market, "eng", Some(OfferMode::Exclusive));
    set(&mut market, "eng/ci", Some(OfferMode::Optimistic));
    market.agent("a", "cpus:4").framework_with("f", &["eng/ci/nightly"], OfferMode::Exclusive);
    assert_eq!(market.offer_of("f", "a").mode, OfferMode::Optimistic);
}

#[test]
fn a_change_takes_offers_back_and_makes_them_anew() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").framework("f", "eng").lines();
    set(&mut market, "eng", Some(OfferMode::Exclusive));
    market.expect("rescind a from f\nreply ok\noffer a cpus:4 -> f");
    assert_eq!(market.offer_of("f", "a").mode, OfferMode::Exclusive);
    set(&mut market, "eng", None);
    market.expect("rescind a from f\nreply ok\noffer a cpus:4 -> f");
    assert_eq!(market.offer_of("f", "a").mode, OfferMode::Optimistic);
    set(&mut market, "eng", None);
    market.expect("reply ok");
}

#[test]
fn a_mode_outlives_the_master_and_is_seen() {
    let mut market = Market::new();
    set(&mut market, "eng", Some(OfferMode::Exclusive));
    assert_eq!(market.registry().offer_modes, [(role("eng"), OfferMode::Exclusive)].into());
    market.failover().agent("a", "cpus:4").framework("f", "eng");
    market.demand("f", vec![shape("s", "cpus:1", &[], 1)]);
    assert_eq!(market.offer_of("f", "a").mode, OfferMode::Exclusive);
    assert_eq!(market.master.view().roles[&role("eng")].offer_mode, Some(OfferMode::Exclusive));
    set(&mut market, "eng", None);
    assert!(market.registry().offer_modes.is_empty());
    assert_eq!(market.master.view().roles.get(&role("eng")).and_then(|row| row.offer_mode), None);
}

#[test]
fn tasks_are_not_touched_by_a_change() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").framework("f", "eng").launch("f", "a", "t1", "cpus:1").lines();
    set(&mut market, "eng", Some(OfferMode::Exclusive));
    assert!(!market.lines().iter().any(|line| line.contains("kill") || line.contains("update")));
    assert_eq!(market.offered("f", "a"), "cpus:3");
}

#[test]
fn who_waits_for_what_he_declared_is_known_in_either_mode() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").framework("f", "eng").framework("g", "ops");
    market.demand("f", vec![shape("s", "cpus:1", &[], 1)]);
    set(&mut market, "eng", Some(OfferMode::Exclusive));
    market.demand("f", vec![]);
    set(&mut market, "eng", None);
    market.demand("f", vec![shape("s", "cpus:1", &[], 1)]).lines();
    assert!(market.has_offer("f", "a"), "a demand is met at once");
}
