//! V13: the logs of two clusters, replayed. Other schedulers wrote them, so waits are told and only the load is held against them.

use std::path::Path;
use std::time::Duration;

use rialto_core::model::Milli;

use super::Part;
use super::check::{Check, Row};
use crate::InputError;
use crate::input::Table;
use crate::planning::{Format, Pool, Scenario, TraceJob, WEEK, Workload, read_jobs};

/// A log: its jobs, the machines, and how long its jobs waited, each as often as it is in `jobs`.
struct Log {
    name: &'static str,
    jobs: Vec<TraceJob>,
    pools: Vec<Pool>,
    waits: Vec<f64>,
}

pub(super) fn check(folder: &Path) -> Result<Check, InputError> {
    let logs = [metacentrum(folder)?, hpc2n(folder)?];
    let logged = logs.each_ref().map(|log| (log.name, percentiles(log.waits.clone())));
    let parts = logs.map(|log| -> Part { Box::new(move || replay(log)) });
    let judge = move |found: &[Vec<f64>]| {
        let rows = logged.iter().zip(found).flat_map(|((name, logged), got)| {
            let what = |what: &str| format!("{name}: {what}");
            [
                Row::near("V13", what("cores in use, %"), got[2], got[3], 2.0),
                Row::told("V13", what("median wait, s"), format!("{:.0} in the log", logged[0]), got[0]),
                Row::told("V13", what("90 % wait, s"), format!("{:.0} in the log", logged[1]), got[1]),
            ]
        });
        rows.collect()
    };
    Ok(Check { parts: parts.into(), judge: Box::new(judge) })
}

/// Waits p50 and p90, cores in use in the log and here in percent.
fn replay(log: Log) -> Vec<f64> {
    let cores: f64 = log.pools.iter().map(|pool| f64::from(pool.count) * pool.cpus.0 as f64 / 1000.0).sum();
    let last = log.jobs.last().map_or(Duration::ZERO, |job| job.submit);
    let weeks = (last.as_secs() / WEEK.as_secs()).max(1) as usize;
    let span = WEEK.as_secs_f64() * weeks as f64;
    let inside = |from: f64, length: f64| ((from + length).min(span) - from.min(span)).max(0.0);
    let busy = log.jobs.iter().zip(&log.waits).map(|(job, wait)| {
        job.ask.cpus.0 as f64 / 1000.0 * inside(job.submit.as_secs_f64() + wait, job.duration.as_secs_f64())
    });
    let in_log = busy.sum::<f64>() / (cores * span) * 100.0;
    let scenario = Scenario::plain(log.pools, vec![Workload::plain("log", log.jobs)], WEEK * (weeks as u32 + 30));
    let outcome = scenario.replayed(0, false);
    let here = outcome.weeks.iter().take(weeks).map(|week| week.used).sum::<f64>() / weeks as f64 / cores * 100.0;
    let [p50, p90] = percentiles(outcome.jobs.iter().filter_map(crate::planning::JobRecord::wait_s).collect());
    vec![p50, p90, in_log, here]
}

fn percentiles(mut waits: Vec<f64>) -> [f64; 2] {
    waits.sort_by(f64::total_cmp);
    [50, 90]
        .map(|percent| waits.get((waits.len() * percent).div_ceil(100).saturating_sub(1)).copied().unwrap_or(f64::NAN))
}

/// CERIT-SC, 20 machines of 80 cores and 48 of 12; jobs that are larger than a machine, or never ran, are left out.
fn metacentrum(folder: &Path) -> Result<Log, InputError> {
    let file = folder.join("hpc/metacentrum_wagap_2013.csv");
    let gib = |gib: u64| Milli::from_whole(gib * 1024);
    let pools = vec![
        Pool::plain("zewura", 20, Milli::from_whole(80), gib(505)),
        Pool::plain("zegox", 48, Milli::from_whole(12), gib(90)),
    ];
    let mut jobs = read_jobs(&file, Format::Metacentrum)?;
    let table = Table::read(&file)?;
    let (run, wait) = (table.column("run_s")?, table.column("wait_s")?);
    let mut waits = Vec::new();
    for row in table.rows().filter(|row| row.text(run).is_ok_and(|text| !text.starts_with('-'))) {
        waits.push(row.decimal(wait, 3.2e9)?);
    }
    let fits: Vec<bool> =
        jobs.iter().map(|job| pools.iter().any(|pool| job.ask.cpus <= pool.cpus && job.ask.mem <= pool.mem)).collect();
    let mut fit = fits.iter();
    jobs.retain(|_| *fit.next().expect("as many"));
    let mut fit = fits.iter();
    waits.retain(|_| *fit.next().expect("as many"));
    Ok(Log { name: "metacentrum", jobs, pools, waits })
}

/// HPC2N, 240 processors, each a task.
fn hpc2n(folder: &Path) -> Result<Log, InputError> {
    let file = folder.join("hpc/hpc2n-first-jobs.swf");
    let jobs = read_jobs(&file, Format::Swf)?;
    let text = std::fs::read_to_string(&file).map_err(|error| InputError::Unreadable { file: file.clone(), error })?;
    let mut waits: Vec<(f64, f64)> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with(';')) {
        let fields: Vec<f64> = line.split_whitespace().map_while(|field| field.parse().ok()).collect();
        let [_, submit, wait, run, used, _, _, requested, ..] = fields[..] else { continue };
        let cores = if used > 0.0 { used } else { requested };
        if run >= 0.0 && cores >= 1.0 {
            waits.extend(std::iter::repeat_n((submit, wait), cores as usize));
        }
    }
    waits.sort_by(|a, b| a.0.total_cmp(&b.0));
    let pools = vec![Pool::plain("node", 240, Milli::from_whole(1), Milli::from_whole(8 * 1024))];
    let waits = waits.into_iter().map(|(_, wait)| wait).collect();
    Ok(Log { name: "hpc2n", jobs, pools, waits })
}
