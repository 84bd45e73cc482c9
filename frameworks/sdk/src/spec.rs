//! Words of job files that several frameworks have in common, read with serde so that errors say where.
//!
//! Used as `#[serde(deserialize_with = "rialto_sdk::spec::amount")]` and the like; the `maybe_` forms are for fields that may be left
//! out, beside `#[serde(default)]`.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use rialto_core::model::{Claim, Milli, Price, Selector};
use serde::de::{self, Deserialize, Deserializer, Visitor};

/// The longest time that a job file may name: a year.
pub const MAX_TIME: Duration = Duration::from_secs(365 * 24 * 3600);

/// An amount above zero: `4`, `0.5`, `"0.5"`; at most three decimals.
pub fn amount<'de, D: Deserializer<'de>>(from: D) -> Result<Milli, D::Error> {
    from.deserialize_any(Number)
}

/// A time: `"500ms"`, `"90s"`, `"5m"`, `"1h30m"`, `"2d"`, or a whole number of seconds.
pub fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    from.deserialize_any(Time)
}

/// A time that may be left out.
pub fn maybe_time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    time(from).map(Some)
}

/// A price that may be left out: `0.35`, `2`, `"0.35"`; at most six decimals.
pub fn maybe_price<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Price>, D::Error> {
    from.deserialize_any(Money).map(Some)
}

/// A selector such as `name == "a1" && zone in [eu, us]`.
pub fn selector<'de, D: Deserializer<'de>>(from: D) -> Result<Selector, D::Error> {
    from.deserialize_any(Text("a selector such as name == \"a1\"", PhantomData))
}

/// Device claims such as `["gpu: memory >= 40GiB"]`.
pub fn claims<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Claim>, D::Error> {
    struct One(Claim);
    impl<'de> Deserialize<'de> for One {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            from.deserialize_any(Text("a device claim such as \"gpu: memory >= 40GiB\"", PhantomData)).map(One)
        }
    }
    let claims: Vec<One> = Deserialize::deserialize(from)?;
    Ok(claims.into_iter().map(|one| one.0).collect())
}

/// The time that `text` spells.
pub fn parse_time(text: &str) -> Result<Duration, TimeError> {
    let bad = || TimeError(text.to_owned());
    let (mut rest, mut total) = (text.trim(), Duration::ZERO);
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u64 = rest[..digits].parse().map_err(|_| bad())?;
        let unit_len = rest[digits..].find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len() - digits);
        let unit_millis = match &rest[digits..digits + unit_len] {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(bad()),
        };
        let millis = number.checked_mul(unit_millis).ok_or_else(bad)?;
        total = total.checked_add(Duration::from_millis(millis)).filter(|sum| *sum <= MAX_TIME).ok_or_else(bad)?;
        rest = &rest[digits + unit_len..];
    }
    Ok(total)
}

/// Why a text is not a time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a time such as 500ms, 90s, 5m or 1h30m, at most a year, got {0:?}")]
pub struct TimeError(String);

struct Number;

impl Visitor<'_> for Number {
    type Value = Milli;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number above 0 with at most three decimals")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Milli, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Milli, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Milli, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Milli, E> {
        let amount: Milli = text.parse().map_err(E::custom)?;
        if amount.is_zero() { Err(E::custom("expected a number above 0, got 0")) } else { Ok(amount) }
    }
}

struct Money;

impl Visitor<'_> for Money {
    type Value = Price;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a price such as 0.35")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Price, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Price, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Price, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Price, E> {
        text.parse().map_err(E::custom)
    }
}

struct Time;

impl Visitor<'_> for Time {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time such as \"90s\" or \"5m\"")
    }

    fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Duration, E> {
        self.visit_str(&format!("{seconds}s"))
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Duration, E> {
        self.visit_str(&format!("{seconds}s"))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
        parse_time(text).map_err(E::custom)
    }
}

/// A text that parses into a `T`; the first field says what was expected if it is no text.
struct Text<T>(&'static str, PhantomData<T>);

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}
