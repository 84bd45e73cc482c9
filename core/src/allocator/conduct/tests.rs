use super::*;
use crate::model::ResourceName;
use crate::testing::{Market, shape};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn reasons_are_counted_up_to_a_bound() {
    let mut ledger = Ledger::default();
    (0..100).for_each(|number| ledger.declined(Some(&Arc::from(format!("reason {number}")))));
    ledger.declined(None);
    assert_eq!(ledger.declines.len(), REASONS_MAX + 1);
    assert_eq!(ledger.declines[OTHER], 100 - REASONS_MAX as u64 + 1);
}

#[test]
fn what_exclusive_offers_lock_is_counted_while_they_stand_and_after() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").framework_with("old", &["ops"], crate::model::OfferMode::Exclusive).wait(secs(10));
    let hoarded = |market: &mut Market| market.conduct("old").ledger.hoarded.get(&ResourceName::Cpus);
    assert_eq!(hoarded(&mut market), Milli::from_whole(40));
    market.decline_because("old", "a", 600, "too small").wait(secs(100));
    assert_eq!(hoarded(&mut market), Milli::from_whole(40));
    assert_eq!(market.conduct("old").ledger.declines[&Arc::<str>::from("too small")], 1);
}

#[test]
fn an_optimistic_offer_that_stands_unused_for_long_is_counted() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").framework("ci", "eng").wait(secs(20));
    assert_eq!(market.conduct("ci").ledger.idle, Duration::ZERO);
    market.wait(secs(50));
    assert_eq!(market.conduct("ci").ledger.idle, secs(40));
}

#[test]
fn who_waits_for_what_is_free_and_is_offered_nothing_is_starved() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").framework("ci", "eng").demand("ci", vec![shape("s", "cpus:1", &[], 1)]);
    market.wait(secs(5));
    let conduct = market.conduct("ci");
    assert_eq!((conduct.demand_age, conduct.starved), (Some(secs(5)), None), "it has an offer");
    market.decline("ci", "a", 600).wait(secs(7));
    let conduct = market.conduct("ci");
    assert_eq!((conduct.demand_age, conduct.starved), (Some(secs(12)), Some(secs(12))));
    market.demand("ci", vec![shape("huge", "cpus:9", &[], 1)]).wait(secs(1));
    assert_eq!(market.conduct("ci").starved, None, "nothing that is free could satisfy it");
}
