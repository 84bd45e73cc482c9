//! An answer for machines: JSON and CSV. The page for people is in [`html`].

pub mod html;

use std::fmt::Write;

use rialto_core::model::Time;
use serde_json::{Value, json};

use super::answer::{Answer, Told};
use super::outcome::{Outcome, Why};
use super::scenario::Scenario;

/// All of an answer, with the inputs it rests on.
pub fn json(scenario: &Scenario, answer: &Answer) -> Value {
    let facts = answer.facts.iter().map(|fact| json!({"about": fact.about, "text": fact.text}));
    let tried = answer
        .tried
        .iter()
        .map(|tried| json!({"way": tried.of, "count": tried.count, "kept": tried.kept, "runs": tried.runs}));
    let orders = answer.advice.iter().map(|advice| {
        json!({
            "pool": advice.pool, "count": advice.count, "order_by": advice.order_by.to_string(), "arrives": advice.arrives.to_string(),
            "needed": advice.needed.to_string(), "needed_week": advice.needed_week + 1, "slack_weeks": round(advice.slack_weeks),
            "late": round(advice.late),
        })
    });
    let inputs = scenario.inputs.iter().map(|(file, hash)| json!({"file": file.display().to_string(), "sha256": hash}));
    json!({
        "name": scenario.name,
        "version": env!("CARGO_PKG_VERSION"),
        "start": scenario.start.to_string(),
        "weeks": scenario.weeks(),
        "seeds": scenario.seeds,
        "first_seed": scenario.first_seed,
        "warmup_weeks": scenario.warmup_weeks,
        "answer": answer.headline,
        "facts": facts.collect::<Vec<_>>(),
        "orders": orders.collect::<Vec<_>>(),
        "tried": tried.collect::<Vec<_>>(),
        "ways": answer.told.iter().map(|told| way(scenario, told)).collect::<Vec<_>>(),
        "cluster": scenario.cluster.as_ref().map(|cluster| &cluster.words),
        "inputs": inputs.collect::<Vec<_>>(),
    })
}

fn way(scenario: &Scenario, told: &Told) -> Value {
    let cost = |of: fn(&Outcome) -> f64| round(told.mean(of));
    let days = |why| round(told.mean(|outcome| outcome.reasons.days(why)));
    json!({
        "name": told.name,
        "weeks": told.weeks(),
        "runs": told.outcomes.len(),
        "kept": told.kept(),
        "first_failure": told.first_failure(scenario),
        "jobs_finished": round(told.mean(|outcome| outcome.finished as f64)),
        "jobs_given_up": round(told.mean(|outcome| outcome.given_up as f64)),
        "jobs_not_started": round(told.mean(|outcome| outcome.not_started as f64)),
        "hours_done_again": cost(|outcome| outcome.redone_hours),
        "waited_because": {
            "taken_job_days": days(Why::Taken),
            "fragmented_job_days": days(Why::Scattered),
            "other_model_job_days": days(Why::OtherModel),
            "price_job_days": days(Why::Price),
            "quota_job_days": days(Why::Quota),
            "per_machine_job_days": days(Why::Bound),
        },
        "cost": {
            "currency": scenario.currency,
            "total": cost(|outcome| outcome.costs.total()),
            "bought": cost(|outcome| outcome.costs.bought),
            "running": cost(|outcome| outcome.costs.running),
            "rented": cost(|outcome| outcome.costs.rented),
            "cancelled": cost(|outcome| outcome.costs.cancelled),
            "purchase": cost(|outcome| outcome.costs.purchase),
        },
        "by_week": (0..told.weeks()).map(|number| week(scenario, told, number)).collect::<Vec<_>>(),
    })
}

fn week(scenario: &Scenario, told: &Told, number: usize) -> Value {
    let mean = |of: &dyn Fn(&super::outcome::Week) -> f64| round(mean_of_week(told, number, of));
    let waits = scenario.workloads.iter().enumerate().map(|(at, workload)| {
        let of = |percentile: u8| mean(&|week| week.waits[at].percentile(percentile));
        let value = json!({"mean": mean(&|week| week.waits[at].mean), "p50": of(50), "p90": of(90), "p95": of(95), "p99": of(99)});
        (workload.name.clone(), value)
    });
    json!({
        "week": number + 1,
        "demand": mean(&|week| week.demand),
        "used": mean(&|week| week.used),
        "capacity": mean(&|week| week.capacity),
        "fragmented": mean(&|week| week.fragmented),
        "wait_s": waits.collect::<serde_json::Map<_, _>>(),
    })
}

/// A number of a week, in the mean of the runs that have come so far.
pub(super) fn mean_of_week(told: &Told, number: usize, of: &dyn Fn(&super::outcome::Week) -> f64) -> f64 {
    let values = told.outcomes.iter().filter_map(|outcome| outcome.weeks.get(number)).map(of);
    let count = values.clone().count();
    values.sum::<f64>() / count.max(1) as f64
}

/// `way,seed,week,workload,jobs,not_started,mean_s,p50_s,p90_s,p95_s,p99_s`: how long jobs waited.
pub fn waits_csv(scenario: &Scenario, answer: &Answer) -> String {
    let mut text = "way,seed,week,workload,jobs,not_started,mean_s,p50_s,p90_s,p95_s,p99_s\n".to_owned();
    for_weeks(answer, |told, seed, number, week| {
        for (waits, workload) in week.waits.iter().zip(&scenario.workloads) {
            let (name, of) = (quoted(&told.name), &workload.name);
            let _ = writeln!(
                text,
                "{name},{seed},{},{of},{},{},{:.1},{:.1},{:.1},{:.1},{:.1}",
                number + 1,
                waits.jobs,
                waits.not_started,
                waits.mean,
                waits.p50,
                waits.p90,
                waits.p95,
                waits.p99
            );
        }
    });
    text
}

/// `way,seed,week,demand,used,capacity,fragmented`, and the machines of each pool.
pub fn utilisation_csv(scenario: &Scenario, answer: &Answer) -> String {
    let pools: Vec<String> = scenario.pools.iter().map(|pool| format!("machines_{}", pool.name)).collect();
    let mut text = format!("way,seed,week,demand,used,capacity,fragmented,{}\n", pools.join(","));
    for_weeks(answer, |told, seed, number, week| {
        let machines: Vec<String> = week.machines.iter().map(u32::to_string).collect();
        let _ = writeln!(
            text,
            "{},{seed},{},{:.2},{:.2},{:.2},{:.2},{}",
            quoted(&told.name),
            number + 1,
            week.demand,
            week.used,
            week.capacity,
            week.fragmented,
            machines.join(",")
        );
    });
    text
}

/// `way,seed,week,workload,size,jobs,not_started,mean_s,p50_s,p90_s,p95_s,p99_s`: how long jobs of each size waited.
pub fn waits_by_size_csv(scenario: &Scenario, answer: &Answer) -> String {
    let mut text = "way,seed,week,workload,size,jobs,not_started,mean_s,p50_s,p90_s,p95_s,p99_s\n".to_owned();
    for_weeks(answer, |told, seed, number, week| {
        for (sizes, workload) in week.waits_by_size.iter().zip(&scenario.workloads) {
            for (size, waits) in sizes {
                let of =
                    format_args!("{},{seed},{},{}", quoted(&told.name), number + 1, quoted(&workload.name)).to_string();
                let _ = writeln!(
                    text,
                    "{of},{},{},{},{:.1},{:.1},{:.1},{:.1},{:.1}",
                    size.as_str(),
                    waits.jobs,
                    waits.not_started,
                    waits.mean,
                    waits.p50,
                    waits.p90,
                    waits.p95,
                    waits.p99
                );
            }
        }
    });
    text
}

/// `way,seed,week,workload,demand,held,share,waiting,waiting_most`: what workloads ask for, hold and have waiting.
pub fn queue_csv(scenario: &Scenario, answer: &Answer) -> String {
    let mut text = "way,seed,week,workload,demand,held,share,waiting,waiting_most\n".to_owned();
    for_weeks(answer, |told, seed, number, week| {
        for (queue, workload) in week.queues.iter().zip(&scenario.workloads) {
            let _ = writeln!(
                text,
                "{},{seed},{},{},{:.2},{:.2},{:.4},{:.2},{}",
                quoted(&told.name),
                number + 1,
                quoted(&workload.name),
                queue.demand,
                queue.held,
                queue.held / week.capacity.max(1e-9),
                queue.waiting,
                queue.waiting_most
            );
        }
    });
    text
}

/// `way,seed,week,pool,machines,gpus,gpus_used,cpus,cpus_used,mem_gib,mem_gib_used`: what there is of each pool, and what is given out.
pub fn pools_csv(scenario: &Scenario, answer: &Answer) -> String {
    let mut text = "way,seed,week,pool,machines,gpus,gpus_used,cpus,cpus_used,mem_gib,mem_gib_used\n".to_owned();
    for_weeks(answer, |told, seed, number, week| {
        for ((used, machines), pool) in week.pools.iter().zip(&week.machines).zip(&scenario.pools) {
            let (way, name) = (quoted(&told.name), quoted(&pool.name));
            let _ = writeln!(
                text,
                "{way},{seed},{},{name},{machines},{:.2},{:.2},{:.2},{:.2},{:.2},{:.2}",
                number + 1,
                used.gpus,
                used.gpus_used,
                used.cpus,
                used.cpus_used,
                used.mem_gib,
                used.mem_gib_used
            );
        }
    });
    text
}

/// `pool,count,order_by,arrives,needed,needed_week,slack_weeks,late`: what to order, and the part of such deliveries that come too late.
pub fn orders_csv(answer: &Answer) -> String {
    let mut text = "pool,count,order_by,arrives,needed,needed_week,slack_weeks,late\n".to_owned();
    for advice in &answer.advice {
        let (pool, week) = (quoted(&advice.pool), advice.needed_week + 1);
        let _ = writeln!(
            text,
            "{pool},{},{},{},{},{week},{:.1},{:.3}",
            advice.count, advice.order_by, advice.arrives, advice.needed, advice.slack_weeks, advice.late
        );
    }
    text
}

/// `way,seed,bought,running,rented,total,purchase,bought_hours,rented_hours,hours_done_again,cancelled,weeks`: what the ways cost.
pub fn costs_csv(answer: &Answer) -> String {
    let mut text =
        "way,seed,bought,running,rented,total,purchase,bought_hours,rented_hours,hours_done_again,cancelled,weeks\n"
            .to_owned();
    for_outcomes(answer, |told, outcome| {
        let (seed, costs) = (outcome.seed, &outcome.costs);
        let _ = writeln!(
            text,
            "{},{seed},{:.2},{:.2},{:.2},{:.2},{:.2},{:.1},{:.1},{:.1},{:.2},{}",
            quoted(&told.name),
            costs.bought,
            costs.running,
            costs.rented,
            costs.total(),
            costs.purchase,
            costs.bought_hours,
            costs.rented_hours,
            outcome.redone_hours,
            costs.cancelled,
            outcome.weeks.len()
        );
    });
    text
}

/// `about,text`: the answer, and what else is worth knowing.
pub fn answers_csv(answer: &Answer) -> String {
    let mut text = format!("about,text\nanswer,{}\n", quoted(&answer.headline));
    for fact in &answer.facts {
        let _ = writeln!(text, "{},{}", quoted(&fact.about), quoted(&fact.text));
    }
    text
}

/// `way,seed,steps,rounds,offers_made,offers_accepted,offers_declined,offers_rescinded,offers_expired,tasks_launched,launches_refused,\
/// offer_conflicts,preemptions`: what the master had to do.
pub fn scheduler_csv(answer: &Answer) -> String {
    let mut text = "way,seed,steps,rounds,offers_made,offers_accepted,offers_declined,offers_rescinded,offers_expired,\
        tasks_launched,launches_refused,offer_conflicts,preemptions\n"
        .to_owned();
    for_outcomes(answer, |told, outcome| {
        let of = &outcome.master;
        let numbers = [
            outcome.seed,
            of.steps,
            of.rounds,
            of.offers_made,
            of.offers_accepted,
            of.offers_declined,
            of.offers_rescinded,
            of.offers_expired,
            of.tasks_launched,
            of.launches_refused,
            of.offer_conflicts,
            of.preemptions,
        ];
        let _ = writeln!(text, "{},{}", quoted(&told.name), numbers.map(|number| number.to_string()).join(","));
    });
    text
}

/// `way,seed,pool,machine,how,came_s,left_s,up_hours,times_down`: what became of each machine.
pub fn nodes_csv(scenario: &Scenario, answer: &Answer) -> String {
    let mut text = "way,seed,pool,machine,how,came_s,left_s,up_hours,times_down\n".to_owned();
    let seconds = |at: Time| at.since(Time::ZERO).as_secs_f64();
    for_outcomes(answer, |told, outcome| {
        for machine in &outcome.machines {
            let (way, pool) = (quoted(&told.name), quoted(&scenario.pools[machine.pool].name));
            let left = machine.left.map_or_else(String::new, |left| format!("{:.0}", seconds(left)));
            let _ = writeln!(
                text,
                "{way},{},{pool},{},{},{:.0},{left},{:.1},{}",
                outcome.seed,
                quoted(&machine.name),
                machine.how,
                seconds(machine.came),
                machine.up_hours,
                machine.times_down
            );
        }
    });
    text
}

fn for_outcomes(answer: &Answer, mut line: impl FnMut(&Told, &Outcome)) {
    answer.told.iter().for_each(|told| told.outcomes.iter().for_each(|outcome| line(told, outcome)));
}

fn for_weeks(answer: &Answer, mut line: impl FnMut(&Told, u64, usize, &super::outcome::Week)) {
    for_outcomes(answer, |told, outcome| {
        outcome.weeks.iter().enumerate().for_each(|(number, week)| line(told, outcome.seed, number, week));
    });
}

/// A field of CSV.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

/// To four decimals.
fn round(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}
