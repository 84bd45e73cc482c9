use crate::master::{Command, Config};
use crate::model::{Price, PriceClass, PriceKey, Prices, Quote, WallTime};
use crate::testing::{Market, quote};

fn set(market: &mut Market, quotes: &[Quote]) {
    market.operator(Command::SetPrices(quotes.to_vec()));
}

#[test]
fn every_framework_hears_of_a_price_and_of_what_it_was() {
    let mut market = Market::new();
    market.framework("batch", "eng").framework("web", "ops").lines();
    set(&mut market, &[quote("G2", "spot", "0.5"), quote("G2", "on_demand", "1.4")]);
    market.expect(
        "price G2 spot none to 0.5, G2 on_demand none to 1.4 -> batch
         price G2 spot none to 0.5, G2 on_demand none to 1.4 -> web
         reply ok",
    );
    set(&mut market, &[quote("G2", "spot", "0.35")]);
    market.expect(
        "price G2 spot 0.5 to 0.35 -> batch
         price G2 spot 0.5 to 0.35 -> web
         reply ok",
    );
}

#[test]
fn a_price_that_is_as_it_was_is_no_news() {
    let mut market = Market::new();
    market.framework("batch", "eng").lines();
    set(&mut market, &[quote("G2", "spot", "0.5")]);
    market.lines();
    set(&mut market, &[quote("G2", "spot", "0.50"), quote("G3", "spot", "1")]);
    market.expect("price G3 spot none to 1 -> batch\nreply ok");
    assert_eq!(market.master.stats().price_changes, 2);
}

#[test]
fn a_price_can_be_taken_back() {
    let mut market = Market::new();
    market.framework("batch", "eng").lines();
    set(&mut market, &[quote("G2", "spot", "0.5")]);
    market.lines();
    set(&mut market, &[quote("G2", "spot", "none"), quote("G9", "spot", "none")]);
    market.expect("price G2 spot 0.5 to none -> batch\nreply ok");
    assert!(market.registry().prices.is_empty() && market.master.view().prices.is_empty());
}

#[test]
fn who_subscribes_later_hears_of_all_that_hold() {
    let mut market = Market::new();
    set(&mut market, &[quote("G2", "spot", "0.5"), quote("G3", "reserved", "0")]);
    market.lines();
    market.framework("batch", "eng");
    market.expect("subscribed batch\nprice G2 spot none to 0.5, G3 reserved none to 0 -> batch");
    market.framework_leaves("batch").subscribe("batch");
    market.expect("subscribed batch\nprice G2 spot none to 0.5, G3 reserved none to 0 -> batch");
}

#[test]
fn prices_outlive_the_master() {
    let mut market = Market::with(Config { origin: WallTime(1_000_000), ..Config::default() });
    set(&mut market, &[quote("G2", "spot", "0.5")]);
    let key = PriceKey::new("G2", PriceClass::Spot, None).unwrap();
    let before = market.master.view().prices[&key];
    assert_eq!((before.price, before.since), (Price(500_000), WallTime(1_000_000)));
    market.failover().check();
    assert_eq!(market.master.view().prices[&key], before);
    market.lines();
    market.framework("batch", "eng");
    market.expect("subscribed batch\nprice G2 spot none to 0.5 -> batch");
}

#[test]
fn bad_lists_are_refused_whole() {
    let mut market = Market::new();
    market.framework("batch", "eng").lines();
    set(&mut market, &[]);
    set(&mut market, &[quote("G2", "spot", "0.5"), quote("G2", "spot", "0.6")]);
    let many: Vec<Quote> = (0..=Prices::MAX).map(|n| quote(&format!("p{n}"), "spot", "1")).collect();
    set(&mut market, &many);
    market.expect("reply invalid\nreply invalid\nreply invalid");
    assert!(market.registry().prices.is_empty());
    set(&mut market, &many[..Prices::MAX]);
    market.lines();
    set(&mut market, &[quote("one-more", "spot", "1")]);
    market.expect("reply limit");
    set(&mut market, &[quote("one-more", "spot", "1"), quote("p7", "spot", "none")]);
    market.expect("price one-more spot none to 1, p7 spot 1 to none -> batch\nreply ok");
}
