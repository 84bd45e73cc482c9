//! `rialto bench`: measures this build on this machine, on the paths that production drives.
//!
//! [`mod@master`] runs a real master process against emulated agents (`fleet`) and frameworks of the SDK (`load`); [`mod@agent`] runs a real
//! master, a real agent and real processes, launched by a framework of the SDK (`probe`); [`mod@allocator`] steps a master alone. The processes are those of this very binary
//! (`cluster`); what was measured is put together here.

mod agent;
mod allocator;
mod cluster;
mod fleet;
mod load;
mod master;
mod probe;

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::cli::Bench;

/// The longest latency that is told apart from longer ones.
const LATENCY_MAX: Duration = Duration::from_secs(600);

/// Runs a benchmark and prints what it measured.
pub async fn bench(which: Bench) -> anyhow::Result<()> {
    match which {
        Bench::Master(args) => master::master(&args).await,
        Bench::Agent(args) => agent::agent(&args).await,
        Bench::Allocator(args) => allocator::allocator(&args),
    }
}

/// Latencies, in microseconds and with three digits.
#[derive(Clone, Debug)]
struct Latencies(Histogram<u64>);

impl Latencies {
    fn new() -> Self {
        let highest = u64::try_from(LATENCY_MAX.as_micros()).expect("ten minutes fit");
        Self(Histogram::new_with_bounds(1, highest, 3).expect("these bounds are valid"))
    }

    fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    fn clear(&mut self) {
        self.0.reset();
    }

    /// None if nothing was recorded.
    fn percentiles(&self) -> Option<Percentiles> {
        let millis = |quantile| self.0.value_at_quantile(quantile) as f64 / 1000.0;
        (!self.0.is_empty()).then(|| Percentiles { p50: millis(0.50), p99: millis(0.99), count: self.0.len() })
    }
}

/// Latencies in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
struct Percentiles {
    p50: f64,
    p99: f64,
    count: u64,
}

impl Percentiles {
    fn words(self) -> String {
        format!("p50 {:.2} ms, p99 {:.2} ms (n = {})", self.p50, self.p99, self.count)
    }
}

/// Where it was measured.
#[derive(Debug, Serialize)]
struct Machine {
    cpu: String,
    cores: usize,
    memory_mib: u64,
    kernel: String,
}

impl Machine {
    fn here() -> anyhow::Result<Self> {
        let cpus = read("/proc/cpuinfo")?;
        let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        let memory = field_kib(&read("/proc/meminfo")?, "MemTotal:").unwrap_or(0);
        Ok(Self {
            cpu: model.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned()),
            cores: std::thread::available_parallelism().context("counting processors")?.get(),
            memory_mib: memory / 1024,
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        })
    }

    fn words(&self) -> String {
        format!("{}, {} cores, {} MiB, Linux {}", self.cpu, self.cores, self.memory_mib, self.kernel)
    }
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Build {
    version: &'static str,
    profile: &'static str,
}

impl Build {
    const fn this() -> Self {
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        Self { version: env!("CARGO_PKG_VERSION"), profile }
    }

    fn words(&self) -> String {
        let warning = if self.profile == "release" { "" } else { ": figures of a debug build say nothing" };
        format!("rialto {} ({}{warning})", self.version, self.profile)
    }
}

fn read(path: impl AsRef<Path>) -> anyhow::Result<String> {
    let path = path.as_ref();
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

/// The amount that a line of a file below `/proc` gives, in KiB.
fn field_kib(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// Rounded to so many thousandths, so that JSON shows no more digits than mean something.
fn thousandths(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests;
