use rialto_core::model::{Price, PriceChange, PriceClass, PriceKey, Quote};

use super::error::{At, ConvertError};
use super::{Converted, Wire, expected, inside, required, wire_enum};
use crate::v1;

wire_enum!(PriceClass, v1::PriceClass, { OnDemand, Reserved, Spot });

impl Wire for PriceKey {
    type Message = v1::PriceKey;

    fn to_wire(&self) -> v1::PriceKey {
        v1::PriceKey {
            pool: self.pool().to_owned(),
            class: self.class().to_wire(),
            region: self.region().map(str::to_owned),
        }
    }

    fn from_wire(key: v1::PriceKey) -> Converted<Self> {
        let class = inside(key.class, "class")?;
        Self::new(&key.pool, class, key.region.as_deref()).map_err(ConvertError::here)
    }
}

impl Wire for Quote {
    type Message = v1::Quote;

    fn to_wire(&self) -> v1::Quote {
        v1::Quote { key: Some(self.key.to_wire()), price_millionths: self.price.map(|price| price.0) }
    }

    fn from_wire(quote: v1::Quote) -> Converted<Self> {
        Ok(Self {
            key: required(quote.key, "key")?,
            price: optional_price(quote.price_millionths, "price_millionths")?,
        })
    }
}

impl Wire for PriceChange {
    type Message = v1::PriceChange;

    fn to_wire(&self) -> v1::PriceChange {
        v1::PriceChange {
            key: Some(self.key.to_wire()),
            old_millionths: self.old.map(|price| price.0),
            new_millionths: self.new.map(|price| price.0),
        }
    }

    fn from_wire(change: v1::PriceChange) -> Converted<Self> {
        Ok(Self {
            key: required(change.key, "key")?,
            old: optional_price(change.old_millionths, "old_millionths")?,
            new: optional_price(change.new_millionths, "new_millionths")?,
        })
    }
}

fn optional_price(millionths: Option<u64>, field: &str) -> Converted<Option<Price>> {
    millionths.map(price).transpose().at(field)
}

pub(crate) fn price(millionths: u64) -> Converted<Price> {
    let max = Price::MAX.0;
    expected(millionths <= max, || format!("expected at most {max} millionths, got {millionths}"))?;
    Ok(Price(millionths))
}
