//! Prices over time, each from its moment on: as a scenario has them, and as the run's master is told of them.

use std::path::Path;
use std::time::Duration;

use rialto_core::model::{AgentInfo, Attribute, Price, PriceClass, PriceKey, Quote, Time};

use super::interruptions::Interruptions;
use super::scenario::{Pool, Rental, Scenario};
use crate::input::{InputError, Row, Table};

/// A table with the columns `t_s`, seconds from the start, and `price`, for a machine and hour. With the columns of a feed (`pool`, `class`)
/// the rows of other pools and classes are passed over.
pub(super) fn read(file: &Path, of: (&str, PriceClass)) -> Result<Vec<(Time, f64)>, InputError> {
    let table = Table::read(file)?;
    let (pool, class) = (table.optional("pool"), table.optional("class"));
    series(&table, ("price", 1e12), |row| {
        let is = |column, what: &str| match column {
            Some(column) => row.text(column).map(|text| text == what),
            None => Ok(true),
        };
        Ok(is(pool, of.0)? && is(class, of.1.as_str())?)
    })
}

/// Moments and values up to a largest one, of the rows that are wanted.
pub(super) fn series(
    table: &Table,
    (value, max): (&'static str, f64),
    is_wanted: impl Fn(&Row<'_>) -> Result<bool, InputError>,
) -> Result<Vec<(Time, f64)>, InputError> {
    let (at, value) = (table.column("t_s")?, table.column(value)?);
    let mut series: Vec<(Time, f64)> = Vec::new();
    for row in table.rows() {
        if !is_wanted(&row)? {
            continue;
        }
        let moment = Time::ZERO + Duration::from_secs_f64(row.decimal(at, 3.2e9)?);
        if series.last().is_some_and(|(last, _)| *last >= moment) {
            return Err(row.error("t_s: expected moments in the order of time"));
        }
        series.push((moment, row.decimal(value, max)?));
    }
    Ok(series)
}

impl Rental {
    /// What a machine costs an hour at that moment.
    pub(super) fn price_at(&self, at: Time) -> Price {
        let part = self.steps.iter().rev().find(|(from, _)| *from <= at).map_or(1.0, |(_, part)| *part);
        Price::from_f64(self.on_demand * part)
    }

    /// What can be taken away is spot.
    pub(super) fn class(&self) -> PriceClass {
        class_of(&self.interruptions)
    }
}

/// The same, from how often it is taken away.
pub(super) fn class_of(interruptions: &Interruptions) -> PriceClass {
    if interruptions.is_any() { PriceClass::Spot } else { PriceClass::OnDemand }
}

/// How the machines of a pool that are not rented are priced: what was bought costs nothing more.
pub(super) const OWNED: PriceClass = PriceClass::Reserved;

/// What agents of a pool that are paid for like that say of themselves, so that prices can be told of them.
pub(super) fn info(name: &str, pool: &Pool, class: PriceClass) -> AgentInfo {
    let attributes = [("pool", &*pool.name), ("price_class", class.as_str())];
    AgentInfo {
        name: name.into(),
        attributes: attributes.map(|(name, text)| (name.into(), Attribute::text(text))).into(),
        domain: None,
    }
}

/// What the master is still to be told, the earliest first; nothing if nobody listens.
#[derive(Debug)]
pub(super) struct Told(std::vec::IntoIter<(Time, Quote)>);

impl Told {
    /// All prices of the scenario: of owned machines, and each step of what is rented.
    pub(super) fn of(scenario: &Scenario) -> Self {
        let is_heard = scenario.workloads.iter().any(|workload| workload.max_price.is_some());
        let mut all: Vec<(Time, Quote)> = Vec::new();
        for pool in scenario.pools.iter().filter(|_| is_heard) {
            let quote =
                |class, price| Some(Quote { key: PriceKey::new(&pool.name, class, None).ok()?, price: Some(price) });
            all.extend(quote(OWNED, Price(0)).map(|quote| (Time::ZERO, quote)));
            let Some(rental) = &pool.rental else { continue };
            let steps = std::iter::once((Time::ZERO, 1.0)).chain(rental.steps.iter().copied());
            all.extend(
                steps.filter_map(|(at, part)| {
                    Some((at, quote(rental.class(), Price::from_f64(rental.on_demand * part))?))
                }),
            );
        }
        all.sort_by_key(|(at, _)| *at);
        Self(all.into_iter())
    }

    /// When the next is due.
    pub(super) fn next(&self) -> Option<Time> {
        self.0.as_slice().first().map(|(at, _)| *at)
    }

    /// What holds from `now` on, each once.
    pub(super) fn step(&mut self, now: Time) -> Vec<Quote> {
        let mut due: Vec<Quote> = Vec::new();
        while self.next().is_some_and(|at| at <= now)
            && let Some((_, quote)) = self.0.next()
        {
            due.retain(|other| other.key != quote.key);
            due.push(quote);
        }
        due
    }
}
