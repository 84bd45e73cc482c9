use super::*;
use crate::model::{AgentInfo, Domain};

fn key(pool: &str, class: PriceClass, region: Option<&str>) -> PriceKey {
    PriceKey::new(pool, class, region).unwrap()
}

fn price(text: &str) -> Price {
    text.parse().unwrap()
}

fn prices(list: &[(PriceKey, &str)]) -> Prices {
    let mut prices = Prices::default();
    for (key, text) in list {
        prices.apply(&PriceChange { key: key.clone(), old: None, new: Some(price(text)) });
    }
    prices
}

fn agent(attributes: &[(&str, &str)], region: Option<&str>) -> AgentInfo {
    AgentInfo {
        name: "a".into(),
        attributes: attributes.iter().map(|(name, text)| ((*name).into(), Attribute::parse(text))).collect(),
        domain: region.map(|region| Domain::new(region, "z").unwrap()),
    }
}

#[test]
fn prices_are_read_to_the_millionth_and_shown_as_short_as_may_be() {
    for (text, millionths, shown) in
        [("0.35", 350_000, "0.35"), ("12", 12_000_000, "12"), ("0.000001", 1, "0.000001"), ("1.50", 1_500_000, "1.5")]
    {
        assert_eq!(price(text), Price(millionths));
        assert_eq!(price(text).to_string(), shown);
    }
    for bad in ["", ".5", "1.", "-1", "+1", "1e3", "0.0000001", "1000000000.000001", "99999999999999999999", "NaN"] {
        assert_eq!(bad.parse::<Price>(), Err(PriceError::Price(bad.to_owned())));
    }
    assert_eq!(Price::from_f64(0.35), price("0.35"));
    assert_eq!(Price::from_f64(f64::INFINITY), Price::MAX);
    assert_eq!(Price::from_f64(-1.0), Price(0));
}

#[test]
fn names_of_pools_and_regions_are_checked() {
    let long = "x".repeat(65);
    for (pool, region, field) in
        [("", None, "pool"), ("a b", None, "pool"), (&*long, None, "pool"), ("a", Some("\n"), "region")]
    {
        let error = PriceKey::new(pool, PriceClass::Spot, region).unwrap_err();
        assert!(error.to_string().starts_with(field), "{error}");
    }
    assert_eq!(key("G2", PriceClass::Spot, Some("eu-west")).to_string(), "G2 spot in eu-west");
    assert!("preemptible".parse::<PriceClass>().is_err());
}

#[test]
fn nothing_is_cheap_enough_while_no_price_is() {
    assert_eq!(Prices::default().at_most(price("1")), None);
    let prices = prices(&[(key("G2", PriceClass::Spot, None), "0.5")]);
    assert_eq!(prices.at_most(price("0.499999")), None);
    assert!(prices.at_most(price("0.5")).is_some());
}

#[test]
fn only_agents_whose_price_is_known_and_low_enough_are_cheap() {
    let prices = prices(&[
        (key("G2", PriceClass::Spot, None), "0.3"),
        (key("G2", PriceClass::OnDemand, None), "1"),
        (key("G3", PriceClass::OnDemand, None), "0.2"),
    ]);
    let cheap = prices.at_most(price("0.35")).unwrap();
    let is = |attributes: &[(&str, &str)]| cheap.matches(&agent(attributes, None));
    assert!(is(&[("pool", "G2"), ("price_class", "spot")]));
    assert!(!is(&[("pool", "G2")]), "what says no class is on demand");
    assert!(is(&[("pool", "G3")]));
    assert!(is(&[("pool", "G3"), ("price_class", "on_demand")]));
    assert!(!is(&[("pool", "G3"), ("price_class", "spot")]), "nothing is known of that");
    assert!(!is(&[("price_class", "spot")]));
}

#[test]
fn a_region_has_its_own_price_where_one_is_known() {
    let prices = prices(&[
        (key("G2", PriceClass::Spot, None), "0.3"),
        (key("G2", PriceClass::Spot, Some("eu")), "0.9"),
        (key("G3", PriceClass::Spot, None), "0.9"),
        (key("G3", PriceClass::Spot, Some("eu")), "0.3"),
    ]);
    let cheap = prices.at_most(price("0.35")).unwrap();
    let is = |pool, region| cheap.matches(&agent(&[("pool", pool), ("price_class", "spot")], region));
    assert!(is("G2", Some("us")) && is("G2", None));
    assert!(!is("G2", Some("eu")));
    assert!(is("G3", Some("eu")));
    assert!(!is("G3", Some("us")) && !is("G3", None));
}

#[test]
fn a_pool_that_is_called_like_a_number_is_found() {
    for pool in ["2024", "1.5", "true", "v1.2"] {
        let prices = prices(&[(key(pool, PriceClass::OnDemand, None), "1")]);
        let cheap = prices.at_most(price("1")).unwrap();
        assert!(cheap.matches(&agent(&[("pool", pool)], None)), "{pool}: {}", cheap.as_str());
    }
}

#[test]
fn with_too_many_pools_the_cheapest_are_named() {
    let mut prices = Prices::default();
    for number in 0..Prices::MAX {
        let key = key(&format!("pool-{number}"), PriceClass::Spot, None);
        prices.apply(&PriceChange { key, old: None, new: Some(Price(number as u64)) });
    }
    let cheap = prices.at_most(price("1")).unwrap();
    assert!(cheap.as_str().len() <= Selector::MAX_LEN);
    assert!(cheap.matches(&agent(&[("pool", "pool-0"), ("price_class", "spot")], None)));
}

#[test]
fn a_first_price_and_a_lower_one_are_drops() {
    let change = |old: Option<u64>, new: Option<u64>| PriceChange {
        key: key("G2", PriceClass::Spot, None),
        old: old.map(Price),
        new: new.map(Price),
    };
    assert!(change(None, Some(1)).is_drop() && change(Some(2), Some(1)).is_drop());
    assert!(!change(Some(1), Some(2)).is_drop() && !change(Some(1), None).is_drop());
}
