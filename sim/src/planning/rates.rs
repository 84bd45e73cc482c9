//! Loads of services as public traces have them, rates or lists of requests, and the instances that serve them.

use std::collections::BTreeMap;
use std::path::Path;

use rialto_core::scheduler::placement::gpu::GpuAsk;

use super::jobs::{Jobs, SECONDS_MAX, TraceJob, seconds};
use crate::input::{Column, InputError, Table};

/// Requests are counted over spans of so long.
const WINDOW_S: f64 = 300.0;
/// The most instances that serve one load.
const INSTANCES_MAX: f64 = 10_000.0;
const RATE_MAX: f64 = 1e12;

/// How a load is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// `t_s,rate`: what is asked for in a second, from then on.
    Rate,
    /// `t_s,generative_qps_sum_of_samples`: requests in a second.
    GenaiQps,
    /// `submit_s,exec_s`: requests, and how long each keeps an instance busy.
    GenaiRequests,
    /// `t_s,context_tokens,generated_tokens`: requests, counted by their tokens.
    AzureLlm,
}

impl Format {
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "rate" => Self::Rate,
            "genai-qps" => Self::GenaiQps,
            "genai-requests" => Self::GenaiRequests,
            "azure-llm" => Self::AzureLlm,
            _ => return None,
        })
    }
}

/// An instance of a service.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Replica {
    /// How much of the load in a second.
    pub(super) serves: f64,
    /// What it asks for.
    pub(super) ask: GpuAsk,
}

/// The instances that serve the load of a file.
pub(super) fn read(file: &Path, format: Format, replica: &Replica) -> Result<Jobs, InputError> {
    let table = Table::read(file)?;
    let column = |name| table.column(name);
    let series = match format {
        Format::Rate => Series::of_rates(&table, column("t_s")?, column("rate")?)?,
        Format::GenaiQps => Series::of_rates(&table, column("t_s")?, column("generative_qps_sum_of_samples")?)?,
        Format::GenaiRequests => Series::of_requests(&table, column("submit_s")?, &[column("exec_s")?])?,
        Format::AzureLlm => {
            Series::of_requests(&table, column("t_s")?, &[column("context_tokens")?, column("generated_tokens")?])?
        }
    };
    series.served_by(replica).map_err(|what| InputError::Content { file: file.to_owned(), what })
}

/// A load over time, in seconds.
struct Series {
    /// From when on, and how much in a second.
    points: Vec<(f64, f64)>,
    end: f64,
}

impl Series {
    fn of_rates(table: &Table, time: Column, rate: Column) -> Result<Self, InputError> {
        let mut points: Vec<(f64, f64)> = Vec::new();
        for row in table.rows() {
            let (at, rate) = (row.decimal(time, SECONDS_MAX)?, row.decimal(rate, RATE_MAX)?);
            if let Some((before, _)) = points.last().filter(|(before, _)| *before >= at) {
                return Err(row.error(format!("t_s: expected more than {before}, that of the row before, got {at}")));
            }
            points.push((at, rate));
        }
        // The last one holds for as long as the one before.
        let end = match points[..] {
            [.., (before, _), (last, _)] => last + (last - before),
            [(only, _)] => only + WINDOW_S,
            [] => 0.0,
        };
        Ok(Self { points, end })
    }

    fn of_requests(table: &Table, time: Column, amounts: &[Column]) -> Result<Self, InputError> {
        let mut windows: BTreeMap<u64, f64> = BTreeMap::new();
        for row in table.rows() {
            let window = (row.decimal(time, SECONDS_MAX)? / WINDOW_S) as u64;
            for amount in amounts {
                *windows.entry(window).or_default() += row.decimal(*amount, RATE_MAX)?;
            }
        }
        let last = windows.keys().last().copied().unwrap_or(0);
        let first = windows.keys().next().copied().unwrap_or(0);
        let rate = |window| windows.get(&window).copied().unwrap_or(0.0) / WINDOW_S;
        let points = (first..=last).map(|window| (window as f64 * WINDOW_S, rate(window))).collect();
        Ok(Self { points, end: (last + 1) as f64 * WINDOW_S })
    }

    /// An instance for each that is wanted more than before; the youngest go first.
    fn served_by(&self, replica: &Replica) -> Result<Jobs, String> {
        let start = self.points.first().map_or(0.0, |(at, _)| *at);
        let mut jobs = Vec::new();
        let mut there: Vec<f64> = Vec::new();
        for (at, rate) in self.points.iter().copied().chain([(self.end, 0.0)]) {
            let wanted = (rate / replica.serves).ceil();
            if wanted > INSTANCES_MAX {
                return Err(format!(
                    "expected a load that at most {INSTANCES_MAX} instances serve, got {rate} a second at {at} s, where one serves {}",
                    replica.serves
                ));
            }
            while there.len() > wanted as usize
                && let Some(since) = there.pop()
            {
                let (submit, duration) = (seconds(since - start), seconds(at - since));
                jobs.push(TraceJob { submit, duration, ask: replica.ask.clone() });
            }
            there.resize(wanted as usize, at);
        }
        jobs.sort_by_key(|job| job.submit);
        Ok(Jobs { list: jobs, period: seconds(self.end - start), ..Jobs::default() })
    }
}

#[cfg(test)]
mod tests;
