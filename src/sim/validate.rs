//! `rialto sim validate`.

mod live;

use std::collections::BTreeMap;

use rialto_sim::validate::{self, Effort, Options, Report, Row, Verdict, twin};
use serde::Serialize;

use super::args::SimValidate;
use super::progress::Progress;
use crate::output;

/// The check that needs processes.
const LIVE: &str = "V15";

#[derive(Serialize)]
struct Json<'a> {
    failed: usize,
    rows: Vec<JsonRow<'a>>,
    not_run: Vec<&'a str>,
    cpu_s: BTreeMap<&'a str, f64>,
}

#[derive(Serialize)]
struct JsonRow<'a> {
    id: &'a str,
    what: &'a str,
    expected: &'a str,
    got: &'a str,
    tolerance: &'a str,
    verdict: &'a str,
}

/// Runs the suite; 1 if something does not come out, 2 if it can't be run.
pub async fn run(args: &SimValidate) -> anyhow::Result<u8> {
    let effort = match (args.quick, args.full) {
        (true, _) => Effort::Quick,
        (_, true) => Effort::Full,
        _ => Effort::Usual,
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let options = Options { traces: args.traces.clone(), only: args.only.clone(), effort, threads };
    let is_live = if args.only.is_empty() { !args.quick } else { args.only.iter().any(|only| only == LIVE) };
    let others = !args.only.iter().all(|only| only == LIVE) || args.only.is_empty();
    let mut report = Report { rows: Vec::new(), passed_over: Vec::new(), costs: Vec::new() };
    if others {
        match tokio::task::spawn_blocking(move || validated(&options)).await? {
            Ok(done) => report = done,
            Err(error) => {
                eprintln!("{error}");
                return Ok(2);
            }
        }
    }
    if is_live {
        let live = live::run().await?;
        let simulated = tokio::task::spawn_blocking(twin::in_virtual_time).await?;
        report.rows.extend(twin::judge(&live, &simulated));
    }
    if args.json {
        output::json(&json(&report))?;
    } else {
        print(&report)?;
    }
    Ok(u8::from(report.failed() > 0))
}

fn validated(options: &Options) -> Result<Report, validate::ValidateError> {
    let progress = std::sync::Mutex::new(None);
    let report = validate::validate(options, &|done, of| {
        let mut progress = progress.lock().expect("nothing panics while it holds the lock");
        progress.get_or_insert_with(|| Progress::new("part", of as u64)).reached(done as u64);
    });
    if let Some(progress) = progress.into_inner().expect("nothing panics while it holds the lock") {
        progress.end();
    }
    report
}

fn json(report: &Report) -> Json<'_> {
    Json {
        failed: report.failed(),
        rows: report.rows.iter().map(json_row).collect(),
        not_run: report.passed_over.iter().map(|(id, _)| *id).collect(),
        cpu_s: report.costs.iter().copied().collect(),
    }
}

fn json_row(row: &Row) -> JsonRow<'_> {
    JsonRow {
        id: row.id,
        what: &row.what,
        expected: &row.expected,
        got: &row.got,
        tolerance: &row.tolerance,
        verdict: row.verdict.as_str(),
    }
}

fn print(report: &Report) -> anyhow::Result<()> {
    let cells = |row: &Row| {
        let id = row.id.to_owned();
        vec![
            id,
            row.what.clone(),
            row.expected.clone(),
            row.got.clone(),
            row.tolerance.clone(),
            row.verdict.as_str().to_owned(),
        ]
    };
    let rows = report.rows.iter().map(cells).collect();
    output::table(&["id", "what", "expected", "got", "tolerance", "verdict"], rows, "nothing was run")?;
    let of = |verdict| report.rows.iter().filter(|row| row.verdict == verdict).count();
    output::line(format_args!(
        "\n{} passed, {} failed, {} told",
        of(Verdict::Pass),
        of(Verdict::Fail),
        of(Verdict::Told)
    ))?;
    if !report.costs.is_empty() {
        let costs = report.costs.iter().map(|(id, seconds)| format!("{id} {seconds:.1}"));
        output::line(format_args!("processor time in seconds: {}", costs.collect::<Vec<_>>().join(", ")))?;
    }
    if !report.passed_over.is_empty() {
        let ids: Vec<&str> = report.passed_over.iter().map(|(id, _)| *id).collect();
        output::line(format_args!("not run without --traces FOLDER: {}", ids.join(", ")))?;
    }
    Ok(())
}
