//! Prices as programs see them.

use serde::{Deserialize, Serialize};

use rialto_core::master::view::{PriceView, View};
use rialto_core::model::PriceKey;

use super::millis;

/// `GET /api/prices`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Prices {
    /// By pool, class and region.
    pub prices: Vec<Price>,
}

/// What machines of a pool cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Price {
    /// The pool: agents whose attribute `pool` says so.
    pub pool: String,
    /// `on_demand`, `reserved` or `spot`.
    pub class: String,
    /// In which region; none if in all that have no price of their own.
    #[serde(default)]
    pub region: Option<String>,
    /// For one machine and hour.
    pub price: f64,
    /// Since when.
    pub since_ms: i64,
}

impl Prices {
    /// The prices of `view`.
    pub fn all(view: &View) -> Self {
        Self { prices: view.prices.iter().map(|(key, row)| Price::new(key, row)).collect() }
    }
}

impl Price {
    /// The row of `key`.
    pub fn new(key: &PriceKey, view: &PriceView) -> Self {
        Self {
            pool: key.pool().to_owned(),
            class: key.class().to_string(),
            region: key.region().map(str::to_owned),
            price: view.price.as_f64(),
            since_ms: millis(view.since),
        }
    }
}
