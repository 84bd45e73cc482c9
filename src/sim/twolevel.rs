//! `rialto sim twolevel`.

use std::time::Duration;

use rialto_sim::twolevel::{self, Served, TwolevelOptions, TwolevelReport};
use serde::Serialize;

use super::args::SimTwolevel;
use super::progress::Progress;
use crate::output;

#[derive(Serialize)]
struct Json {
    model: &'static str,
    t_job_service_s: f64,
    machines: usize,
    cpu_utilisation: f64,
    batch_jobs: usize,
    batch_unscheduled: usize,
    batch_wait_s: JsonWaits,
    batch_wait_until_complete_s: JsonWaits,
    batch_attempts_per_job: f64,
    service_jobs: usize,
    service_unscheduled: usize,
    service_wait_s: JsonWaits,
    service_wait_until_complete_s: JsonWaits,
    service_attempts_per_job: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    master: Option<JsonMaster>,
}

#[derive(Serialize)]
struct JsonWaits {
    mean: f64,
    p90: f64,
}

#[derive(Serialize)]
struct JsonMaster {
    steps: u64,
    offers: u64,
    tasks_launched: u64,
    launches_refused: u64,
    offer_conflicts: u64,
}

/// Runs a list of jobs on one cell and says what became of them.
pub fn run(args: &SimTwolevel) -> anyhow::Result<u8> {
    let jobs = twolevel::read_jobs(&args.jobs)?;
    let options = TwolevelOptions {
        model: args.model,
        machines: args.machines as usize,
        t_job_service: Duration::from_secs_f64(args.t_job_service),
        seed: args.seed,
        ..TwolevelOptions::default()
    };
    let mut progress = Progress::new("second", options.horizon.as_secs());
    let report = twolevel::run_twolevel(&jobs, &options, |done| progress.reached(done));
    progress.end();
    if args.json {
        output::json(&json(args, &report))?;
    } else {
        print(args, &report)?;
    }
    Ok(0)
}

fn json(args: &SimTwolevel, report: &TwolevelReport) -> Json {
    let waits = |waits: twolevel::Waits| JsonWaits { mean: round(waits.mean), p90: round(waits.p90) };
    let (batch, service) = (&report.batch, &report.service);
    Json {
        model: args.model.as_str(),
        t_job_service_s: args.t_job_service,
        machines: args.machines as usize,
        cpu_utilisation: round(report.cpu_utilisation),
        batch_jobs: batch.jobs,
        batch_unscheduled: batch.unscheduled,
        batch_wait_s: waits(batch.wait),
        batch_wait_until_complete_s: waits(batch.wait_until_complete),
        batch_attempts_per_job: round(batch.attempts),
        service_jobs: service.jobs,
        service_unscheduled: service.unscheduled,
        service_wait_s: waits(service.wait),
        service_wait_until_complete_s: waits(service.wait_until_complete),
        service_attempts_per_job: round(service.attempts),
        master: report.master.map(|stats| JsonMaster {
            steps: stats.steps,
            offers: stats.offers_made,
            tasks_launched: stats.tasks_launched,
            launches_refused: stats.launches_refused,
            offer_conflicts: stats.offer_conflicts,
        }),
    }
}

fn print(args: &SimTwolevel, report: &TwolevelReport) -> anyhow::Result<()> {
    let model = args.model.as_str();
    output::line(format_args!(
        "model {model}, {} machines, a service job is thought about for {} s: {:.1} % of the cores in use",
        args.machines,
        output::amount(args.t_job_service),
        report.cpu_utilisation * 100.0
    ))?;
    let row = |name: &str, served: &Served| {
        vec![
            name.to_owned(),
            served.jobs.to_string(),
            served.unscheduled.to_string(),
            format!("{:.2}", served.wait.mean),
            format!("{:.2}", served.wait.p90),
            format!("{:.2}", served.wait_until_complete.mean),
            format!("{:.2}", served.attempts),
        ]
    };
    let header = ["jobs", "count", "not complete", "wait mean s", "wait p90 s", "complete after s", "attempts a job"];
    output::table(&header, vec![row("batch", &report.batch), row("service", &report.service)], "no jobs")?;
    if let Some(stats) = report.master {
        output::line(format_args!(
            "master: {} steps, {} offers, {} tasks launched, {} launches refused because others were faster",
            stats.steps, stats.offers_made, stats.tasks_launched, stats.offer_conflicts
        ))?;
    }
    Ok(())
}

/// To four decimals.
fn round(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}
