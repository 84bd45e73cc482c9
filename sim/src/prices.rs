//! Lists of prices as comma-separated text or JSON: what a feed tells a master, and what a scenario takes a rented pool's price from.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rialto_core::model::{Price, PriceClass, PriceError, PriceKey, Quote};
use serde_json::Value;

use crate::input::{InputError, Row, Table};

/// A hundred years.
const SECONDS_MAX: f64 = 3.2e9;
/// The most rows of a list.
const ROWS_MAX: usize = 1_000_000;

/// A price from a moment on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PricePoint {
    /// How long after the start of whoever plays the list.
    pub at: Duration,
    /// What, and how much.
    pub quote: Quote,
}

/// Reads a list. JSON, if it begins with a bracket or brace: objects with `pool`, `class`, `price` and, if need be, `region` and `t_s`, as a
/// list or under `prices`; else a table with columns of these names. A price that is empty or `null` is one that is not known any more.
///
/// # Errors
/// Where it is not that, and what was expected there. `name` is the list's name.
pub fn parse(name: &Path, text: &str) -> Result<Vec<PricePoint>, InputError> {
    let points = match text.trim_start().starts_with(['[', '{']) {
        true => of_json(name, text)?,
        false => of_table(&Table::of_text(name, text.to_owned())?)?,
    };
    if points.len() > ROWS_MAX {
        let what = format!("expected at most {ROWS_MAX} prices, got {}", points.len());
        return Err(InputError::Content { file: name.to_owned(), what });
    }
    Ok(points)
}

/// What holds after so long: of several prices of the same, the latest, and the last of those that begin together.
pub fn in_force(points: &[PricePoint], after: Duration) -> Vec<Quote> {
    let mut latest: BTreeMap<&PriceKey, &PricePoint> = BTreeMap::new();
    for point in points.iter().filter(|point| point.at <= after) {
        let known = latest.entry(&point.quote.key).or_insert(point);
        if known.at <= point.at {
            *known = point;
        }
    }
    latest.into_values().map(|point| point.quote.clone()).collect()
}

/// How long after so long another price begins; none if none does.
pub fn next_after(points: &[PricePoint], after: Duration) -> Option<Duration> {
    points.iter().map(|point| point.at).filter(|at| *at > after).min().map(|at| at - after)
}

fn of_table(table: &Table) -> Result<Vec<PricePoint>, InputError> {
    let (pool, class, price) = (table.column("pool")?, table.column("class")?, table.column("price")?);
    let (region, at) = (table.optional("region"), table.optional("t_s"));
    let point = |row: Row<'_>| {
        let region = region.map(|region| row.text(region)).transpose()?.filter(|region| !region.is_empty());
        let quote = quote(row.text(pool)?, row.text(class)?, region, row.text(price)?);
        let at = at.map_or(Ok(0.0), |at| row.decimal(at, SECONDS_MAX))?;
        Ok(PricePoint { at: Duration::from_secs_f64(at), quote: quote.map_err(|what| row.error(what))? })
    };
    table.rows().map(point).collect()
}

fn of_json(name: &Path, text: &str) -> Result<Vec<PricePoint>, InputError> {
    let content = |what: String| InputError::Content { file: name.to_owned(), what };
    let value: Value = serde_json::from_str(text).map_err(|error| content(error.to_string()))?;
    let list = value.get("prices").unwrap_or(&value).as_array();
    let list = list.ok_or_else(|| content("expected a list, or an object with a list under prices".to_owned()))?;
    let point = |(at, row): (usize, &Value)| of_object(row).map_err(|what| content(format!("prices[{at}]: {what}")));
    list.iter().enumerate().map(point).collect()
}

fn of_object(row: &Value) -> Result<PricePoint, String> {
    let text = |field: &str| match row.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(other) => Err(format!("{field}: expected a text, got {other}")),
    };
    let needed = |field: &str| text(field)?.ok_or_else(|| format!("{field}: expected a text, got nothing"));
    let price = match row.get("price") {
        None => return Err("price: expected a number, got nothing".to_owned()),
        Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let at = match row.get("t_s") {
        None | Some(Value::Null) => 0.0,
        Some(at) => {
            let seconds = at.as_f64().filter(|at| (0.0..=SECONDS_MAX).contains(at));
            seconds.ok_or_else(|| format!("t_s: expected a number from 0 to {SECONDS_MAX}, got {at}"))?
        }
    };
    let quote = quote(needed("pool")?, needed("class")?, text("region")?, &price)?;
    Ok(PricePoint { at: Duration::from_secs_f64(at), quote })
}

fn quote(pool: &str, class: &str, region: Option<&str>, price: &str) -> Result<Quote, String> {
    let class: PriceClass = class.parse().map_err(|error: PriceError| error.to_string())?;
    let key = PriceKey::new(pool, class, region).map_err(|error| error.to_string())?;
    let price = if price.is_empty() { None } else { Some(price.parse::<Price>().map_err(|error| error.to_string())?) };
    Ok(Quote { key, price })
}

#[cfg(test)]
mod tests;
