//! What the answer rests on: every number that was given or taken by default.

use std::fmt::Write;
use std::time::Duration;

use super::super::super::questions::money;
use super::super::super::scenario::{Arrivals, Framework, LeadTime, Pool, Quota, Scenario, Workload};
use super::super::super::units::{WEEK, in_words};
use super::escape;

/// The last section of the page.
pub(super) fn section(scenario: &Scenario) -> String {
    let mut text = format!(
        "<section><h2>Assumptions</h2><p>From {} for {} weeks, {} runs with other random numbers each, from seed {} on; a limit counts as kept if \
         {:.0} % of the runs keep it. Places are chosen by {}. The rialto master and its frameworks' placement library, version {}, \
         ran in virtual time.</p>",
        scenario.start,
        scenario.weeks(),
        scenario.seeds,
        scenario.first_seed,
        scenario.confidence * 100.0,
        scenario.placement,
        env!("CARGO_PKG_VERSION")
    );
    if let Some(cluster) = &scenario.cluster {
        let _ = write!(text, "<p>{}</p>", escape(&cluster.words));
    }
    let rows = scenario.pools.iter().map(|pool| pool_row(pool, &scenario.currency));
    table(&["pool", "machines", "each", "speed", "failures", "bought", "rented"], rows, &mut text);
    let unit = if scenario.counts_gpus() { "GPUs" } else { "cores" };
    let rows = scenario.workloads.iter().map(|workload| workload_row(workload, unit));
    table(&["workload", "jobs", "growth", "limit", "weight", "quota", "saves its work"], rows, &mut text);
    let orders = scenario.orders.iter().map(|order| {
        let placed = scenario.date(order.placed);
        vec![scenario.pools[order.pool].name.to_string(), order.count.to_string(), format!("ordered on {placed}")]
    });
    let rents = scenario.rents.iter().map(|rent| {
        let until = rent.until.map_or_else(String::new, |until| format!(" until {}", scenario.date(until)));
        let when = format!("rented from {}{until}", scenario.date(rent.from));
        vec![scenario.pools[rent.pool].name.to_string(), rent.count.to_string(), when]
    });
    let given: Vec<Vec<String>> = orders.chain(rents).collect();
    if !given.is_empty() {
        table(&["pool", "machines", "whatever the answer"], given.into_iter(), &mut text);
    }
    let rows = scenario.inputs.iter().map(|(file, hash)| vec![file.display().to_string(), hash.clone()]);
    table(&["input file", "SHA-256 begins with"], rows, &mut text);
    text.push_str("</section>");
    text
}

fn table(header: &[&str], rows: impl Iterator<Item = Vec<String>>, text: &mut String) {
    let cells = |cells: &mut dyn Iterator<Item = &str>, tag: &str| {
        cells.fold(String::new(), |mut row, cell| {
            let _ = write!(row, "<{tag}>{}</{tag}>", escape(cell));
            row
        })
    };
    let _ = write!(text, "<table><tr>{}</tr>", cells(&mut header.iter().copied(), "th"));
    for row in rows {
        let _ = write!(text, "<tr>{}</tr>", cells(&mut row.iter().map(String::as_str), "td"));
    }
    text.push_str("</table>");
}

fn words(span: Duration) -> String {
    in_words(span.as_secs_f64())
}

fn pool_row(pool: &Pool, currency: &str) -> Vec<String> {
    let gpus = if pool.gpus > 0 { format!(", {} GPUs {}", pool.gpus, pool.model) } else { String::new() };
    let failures = pool.mtbf.map_or_else(
        || "none".to_owned(),
        |mtbf| format!("each machine once in {}, away for {}", words(mtbf), words(pool.repair)),
    );
    vec![
        pool.name.to_string(),
        pool.count.to_string(),
        format!("{} cores, {} GiB{gpus}", pool.cpus.0 as f64 / 1000.0, pool.mem.0 / 1000 / 1024),
        pool.speed.to_string(),
        failures,
        bought(pool, currency),
        rented(pool, currency),
    ]
}

fn bought(pool: &Pool, currency: &str) -> String {
    let Some(supply) = &pool.supply else { return "no".to_owned() };
    let lead = match supply.lead_time {
        LeadTime::Fixed(span) => format!("{} from order to use", words(span)),
        LeadTime::Quantiles { p50, p90 } => {
            format!("half within {} of the order, nine of ten within {}", words(p50), words(p90))
        }
    };
    let years = supply.life.as_secs_f64() / (WEEK.as_secs_f64() * 52.18);
    format!(
        "{lead}; in batches of {}; {} {currency} each, over {years:.1} years, and {} an hour; {} to cancel one that is on order",
        supply.batch,
        money(supply.price),
        supply.running_cost,
        money(supply.cancel_fee)
    )
}

fn rented(pool: &Pool, currency: &str) -> String {
    let Some(rental) = &pool.rental else { return "no".to_owned() };
    let steps = rental.steps.iter().take(STEPS_MAX);
    let steps =
        steps.map(|(at, part)| format!(", {part} of it from week {:.0}", at.0 as f64 / WEEK.as_micros() as f64 + 1.0));
    let more = rental.steps.len().saturating_sub(STEPS_MAX);
    let more = if more > 0 { format!(", and {more} more changes") } else { String::new() };
    format!(
        "{} {currency} an hour{}{more}; {}, said {} before; the next is there after {}",
        rental.on_demand,
        steps.collect::<String>(),
        rental.interruptions.words(),
        words(rental.notice),
        words(rental.boot)
    )
}

/// So many changes of a price are told one by one.
const STEPS_MAX: usize = 6;

fn workload_row(workload: &Workload, unit: &str) -> Vec<String> {
    let jobs = match workload.arrivals {
        Arrivals::Random { load, residence } => {
            let stay = residence.map_or_else(
                || "each job for as long as in the file".to_owned(),
                |residence| format!("each job for {} in the mean", words(residence)),
            );
            format!("at random; {load} {unit} in use at the start, {stay}")
        }
        Arrivals::Replayed { factor, repeats_after } => {
            let again = repeats_after.map(|after| format!(", again after {}", words(after)));
            format!("as in the file, {factor} for each{}", again.unwrap_or_default())
        }
    };
    let limit = workload.limit.map_or_else(
        || "none".to_owned(),
        |limit| format!("p{} of each week at most {}", limit.percentile, words(limit.wait)),
    );
    let has = |of: fn(&crate::planning::Traits) -> bool| workload.traits.iter().any(of);
    let together = if has(|of| of.members > 1) { "; the tasks of a job start together" } else { "" };
    let bound = if has(|of| of.bound.is_some()) { "; so many of an app on one machine as the file says" } else { "" };
    let priority = if has(|of| of.priority != 0) { "; those of higher priority first" } else { "" };
    let max = workload.max_price.map(|max| format!("; begun only where a machine costs at most {max} an hour"));
    let name = match workload.framework {
        Framework::Library => workload.name.clone(),
        framework => format!("{}, run by {}", workload.name, framework.as_str()),
    };
    vec![
        name,
        jobs + together + bound + priority + &max.unwrap_or_default(),
        format!("{:.1} % a year", (workload.growth_a_year - 1.0) * 100.0),
        limit,
        workload.weight.to_string(),
        workload.quota.as_ref().map_or_else(|| "none".to_owned(), quota),
        workload.checkpoint.map_or_else(|| "no".to_owned(), |takes| format!("in {}", words(takes))),
    ]
}

fn quota(quota: &Quota) -> String {
    let parts = [
        (quota.gpus_max, "GPUs at most"),
        (quota.cpus_max, "cores at most"),
        (quota.gpus_guaranteed, "GPUs kept for it"),
        (quota.cpus_guaranteed, "cores kept for it"),
    ];
    let parts = parts.iter().filter_map(|(amount, what)| Some(format!("{} {what}", (*amount)?)));
    parts.collect::<Vec<_>>().join(", ")
}
