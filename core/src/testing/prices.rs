//! Prices, in the words of the test language.

use crate::model::{Price, PriceChange, PriceKey, Quote};

/// `quote("G2", "spot", "0.35")`; the price `none` takes it back.
///
/// # Panics
/// If that is no price of a pool.
pub fn quote(pool: &str, class: &str, price: &str) -> Quote {
    let key = PriceKey::new(pool, class.parse().expect("a class of the test"), None).expect("a pool of the test");
    Quote { key, price: (price != "none").then(|| price.parse().expect("a price of the test")) }
}

/// `G2 spot 0.5 to 0.35, ...`
pub(super) fn words(changes: &[PriceChange]) -> String {
    let price = |price: Option<Price>| price.map_or_else(|| "none".to_owned(), |price| price.to_string());
    let word = |change: &PriceChange| format!("{} {} to {}", change.key, price(change.old), price(change.new));
    changes.iter().map(word).collect::<Vec<_>>().join(", ")
}
