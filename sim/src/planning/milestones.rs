//! What happens to the fleet on purpose, and when: what a reader of a chart looks for.

use rialto_core::model::Time;

use super::answer::Milestone;
use super::run::Way;
use super::scenario::{Change, What};
use super::units::in_words;

/// Orders, arrivals, rents and changes of prices, the earliest first.
pub(super) fn milestones(way: &Way<'_>) -> Vec<Milestone> {
    let mut all = Vec::new();
    bought(way, &mut all);
    rented(way, &mut all);
    changed(way, &mut all);
    all.sort_by_key(|milestone| milestone.at);
    all.dedup();
    all
}

fn bought(way: &Way<'_>, all: &mut Vec<Milestone>) {
    let scenario = way.scenario;
    for order in &way.orders {
        let pool = &scenario.pools[order.pool];
        let Some(supply) = &pool.supply else { continue };
        let lead = supply.lead_time.quantile(0.5);
        all.push(Milestone::new(order.placed, format!("order {} {}", order.count, pool.name)));
        all.push(Milestone::new(order.placed + lead, format!("{} {} arrive", order.count, pool.name)));
    }
    for (pool, count, arrives) in &way.deliveries {
        let pool = &scenario.pools[*pool];
        let Some(supply) = &pool.supply else { continue };
        let lead = supply.lead_time.quantile(scenario.confidence);
        let placed = Time::ZERO + arrives.since(Time::ZERO).saturating_sub(lead);
        all.push(Milestone::new(placed, format!("order {count} {}", pool.name)));
        all.push(Milestone::new(*arrives, format!("{count} {} arrive", pool.name)));
    }
}

fn rented(way: &Way<'_>, all: &mut Vec<Milestone>) {
    for rent in &way.rents {
        let pool = &way.scenario.pools[rent.pool];
        all.push(Milestone::new(rent.from, format!("rent {} {}", rent.count, pool.name)));
        all.extend(rent.until.map(|until| Milestone::new(until, format!("give {} {} back", rent.count, pool.name))));
        let steps = pool.rental.iter().flat_map(|rental| &rental.steps).filter(|(at, _)| *at > Time::ZERO);
        // A feed of prices has more steps than a chart has room for.
        if steps.clone().count() <= STEPS_MAX {
            all.extend(steps.map(|(at, part)| Milestone::new(*at, format!("{} at {part} of its price", pool.name))));
        }
    }
}

fn changed(way: &Way<'_>, all: &mut Vec<Milestone>) {
    for Change { at, what } in &way.changes {
        let text = match what {
            What::Terms { workload, weight, quota } => {
                let weight = weight.map(|weight| format!("weight {weight}"));
                let quota = quota.map(|_| "another quota".to_owned());
                let what: Vec<String> = weight.into_iter().chain(quota).collect();
                format!("{} gets {}", way.scenario.workloads[*workload].name, what.join(" and "))
            }
            What::Retire { pool, count, .. } => {
                let pool = &way.scenario.pools[*pool].name;
                if *count >= 100_000 { format!("all {pool} retire") } else { format!("{count} {pool} retire") }
            }
        };
        all.push(Milestone::new(*at, text));
    }
}

const STEPS_MAX: usize = 4;

impl Milestone {
    fn new(at: Time, text: String) -> Self {
        Self { at, text }
    }

    /// `2 weeks after the start: order 12 G2`.
    pub fn in_words(&self) -> String {
        format!("{} after the start: {}", in_words(self.at.since(Time::ZERO).as_secs_f64()), self.text)
    }
}
