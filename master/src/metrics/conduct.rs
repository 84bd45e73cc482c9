//! How frameworks deal with offers and how they fare, by framework and role. Label sets are bounded: beyond so many, the rest is one row.

use std::cmp::Reverse;
use std::time::Duration;

use prometheus_client::registry::{Registry, Unit};

use rialto_core::allocator::conduct::Conduct;

use super::{Amounts, Gauges, Labels};

/// So many frameworks in roles have rows of their own: those that are starved longest or hoard most.
const ROWS_MAX: usize = 100;
/// The framework and role of all others together.
const OTHERS: &str = "others";

/// Registers what was surveyed.
pub(super) fn register(registry: &mut Registry, survey: &[Conduct]) {
    let mut rows: Vec<&Conduct> = survey.iter().collect();
    let cpus = |row: &Conduct| row.ledger.hoarded.get(&rialto_core::model::ResourceName::Cpus);
    rows.sort_by_key(|row| Reverse((row.starved, cpus(row), row.ledger.idle)));
    let (hoarded, idle, declines) = (Amounts::default(), Amounts::default(), Gauges::default());
    let (ages, starved) = (Amounts::default(), Amounts::default());
    for (number, row) in rows.into_iter().enumerate() {
        let who = if number < ROWS_MAX { (row.framework.to_string(), row.role.to_string()) } else { others() };
        let labels: Labels = vec![("framework", who.0), ("role", who.1)];
        for (name, amount) in row.ledger.hoarded.iter() {
            hoarded.get_or_create(&with(&labels, "resource", name.as_str())).inc_by(amount.as_f64());
        }
        for (reason, count) in &row.ledger.declines {
            let reason = if number < ROWS_MAX { &**reason } else { OTHERS };
            declines.get_or_create(&with(&labels, "reason", reason)).inc_by(i64::try_from(*count).unwrap_or(0));
        }
        idle.get_or_create(&labels).inc_by(row.ledger.idle.as_secs_f64());
        longest(&ages, &labels, row.demand_age);
        longest(&starved, &labels, row.starved);
    }
    registry.register("offers_hoarded", "What exclusive offers locked, in seconds times the resource's unit", hoarded);
    registry.register("framework_declines", "Offers declined, by what was said", declines);
    let text = "For how long optimistic offers stood unused, beyond the first half minute of each";
    registry.register_with_unit("offers_idle", text, Unit::Seconds, idle);
    registry.register_with_unit("demand_age", "How long the oldest declared demand waits", Unit::Seconds, ages);
    let text = "How long nothing was offered to a demand that what is free could satisfy";
    registry.register_with_unit("demand_starved", text, Unit::Seconds, starved);
}

fn others() -> (String, String) {
    (OTHERS.to_owned(), OTHERS.to_owned())
}

fn with(labels: &Labels, name: &'static str, value: &str) -> Labels {
    labels.iter().cloned().chain([(name, value.to_owned())]).collect()
}

/// Of rows that are told as one, the longest counts.
fn longest(gauges: &Amounts, labels: &Labels, time: Option<Duration>) {
    let Some(time) = time else { return };
    let gauge = gauges.get_or_create(labels);
    gauge.set(gauge.get().max(time.as_secs_f64()));
}
