use super::*;

fn read(text: &str) -> Result<Vec<PricePoint>, String> {
    parse(Path::new("prices.csv"), text).map_err(|error| error.to_string())
}

fn shown(quotes: &[Quote]) -> Vec<String> {
    let price = |price: Option<Price>| price.map_or_else(|| "none".to_owned(), |price| price.to_string());
    quotes.iter().map(|quote| format!("{} {}", quote.key, price(quote.price))).collect()
}

#[test]
fn a_table_and_json_say_the_same() {
    let table = "pool,class,region,price,seen_by\nG2,spot,,0.35,me\nG2,on_demand,eu-west,1.4,me\nG3,spot,,,me\n";
    let json = r#"{"prices": [{"pool": "G2", "class": "spot", "price": 0.35},
        {"pool": "G2", "class": "on_demand", "region": "eu-west", "price": "1.4", "seen_by": "me"},
        {"pool": "G3", "class": "spot", "price": null}]}"#;
    let points = read(table).unwrap();
    assert_eq!(
        shown(&in_force(&points, Duration::ZERO)),
        ["G2 on_demand in eu-west 1.4", "G2 spot 0.35", "G3 spot none"]
    );
    assert_eq!(read(json).unwrap(), points);
}

#[test]
fn later_prices_replace_earlier_ones_when_their_time_has_come() {
    let points = read("t_s,pool,class,price\n0,G2,spot,1\n60,G2,spot,0.35\n60,G3,spot,2\n").unwrap();
    let after = |seconds| shown(&in_force(&points, Duration::from_secs(seconds)));
    assert_eq!(after(59), ["G2 spot 1"]);
    assert_eq!(after(60), ["G2 spot 0.35", "G3 spot 2"]);
    assert_eq!(next_after(&points, Duration::from_secs(59)), Some(Duration::from_secs(1)));
    assert_eq!(next_after(&points, Duration::from_secs(60)), None);
}

#[test]
fn what_is_broken_is_named_with_its_place() {
    for (text, says) in [
        ("", "prices.csv: expected a header line and at least one row, got an empty file"),
        ("pool,price\nG2,1\n", "prices.csv:1: expected a column \"class\""),
        ("pool,class,price\nG2,spot,1\nG2,cheap,1\n", "prices.csv:3: class: expected on_demand, reserved or spot"),
        ("pool,class,price\nG 2,spot,1\n", "prices.csv:2: pool: expected 1 to 64"),
        ("pool,class,price\nG2,spot,-1\n", "prices.csv:2: price: expected a number from 0"),
        ("pool,class,price\nG2,spot,1e3\n", "prices.csv:2: price: expected a number from 0"),
        ("pool,class,price\nG2,spot\n", "prices.csv:2: expected 3 fields, got 2"),
        ("pool,class,price,t_s\nG2,spot,1,soon\n", "prices.csv:2: t_s: expected a number"),
        ("{", "prices.csv: EOF while parsing"),
        ("{}", "expected a list, or an object with a list under prices"),
        ("[{\"pool\": \"G2\", \"class\": \"spot\"}]", "prices[0]: price: expected a number, got nothing"),
        ("[{\"pool\": 7, \"class\": \"spot\", \"price\": 1}]", "prices[0]: pool: expected a text, got 7"),
        ("[{\"pool\": \"G2\", \"class\": \"spot\", \"price\": [1]}]", "prices[0]: price: expected a number from 0"),
        ("[1]", "prices[0]: price: expected a number, got nothing"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(says), "{text:?}: {says:?} is not said: {error}");
    }
}
