//! The command lines that ask a cluster about its future.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rialto_sim::planning::span;

use crate::cli::{Connect, Why};

/// `rialto snapshot`.
#[derive(Debug, Args)]
pub struct SnapshotArgs {
    /// How to reach the master.
    #[command(flatten)]
    pub connect: Connect,
}

/// `rialto when`.
#[derive(Debug, Args)]
pub struct WhenArgs {
    /// What is asked about, and of whom.
    #[command(flatten)]
    pub why: Why,
    /// Run the cluster on in virtual time, from its state now, instead of asking the master for its bound.
    #[arg(long)]
    pub simulate: bool,
    /// What is taken for granted.
    #[command(flatten)]
    pub future: Future,
    /// Machines that come: COUNT:AGENT, like the agent of that name, or COUNT:AGENT@SPAN, so much later. May be repeated.
    #[arg(long = "add", value_name = "COUNT:AGENT[@SPAN]", requires = "simulate", value_parser = addition)]
    pub add: Vec<Added>,
}

/// `rialto what-would-help`.
#[derive(Debug, Args)]
pub struct HelpArgs {
    /// What is asked about, and of whom.
    #[command(flatten)]
    pub why: Why,
    /// How many machines more it takes until all of it has started within this time, such as "10 min": by running the cluster on in
    /// virtual time.
    #[arg(long, value_name = "SPAN", value_parser = read_span)]
    pub within: Option<Duration>,
    /// What is taken for granted.
    #[command(flatten)]
    pub future: Future,
}

/// What is taken for granted of the future.
#[derive(Debug, Args)]
pub struct Future {
    /// How long tasks run from now on that have not said how long, such as "30 min"; without it they don't end.
    #[arg(long, value_name = "SPAN", value_parser = read_span)]
    pub run_time: Option<Duration>,
    /// How far to look ahead.
    #[arg(long, value_name = "SPAN", default_value = "4 weeks", value_parser = read_span)]
    pub horizon: Duration,
    /// A file that rialto snapshot has written, in place of the cluster.
    #[arg(long, value_name = "FILE")]
    pub snapshot: Option<PathBuf>,
}

/// Machines that come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// How many.
    pub count: u32,
    /// Like the agent of this name.
    pub like: String,
    /// When, from now.
    pub after: Duration,
}

/// Reads a span such as `10 min`.
pub fn read_span(text: &str) -> Result<Duration, String> {
    span(text).ok_or_else(|| "expected a span such as 26 weeks, 48 h or 10 min".to_owned())
}

/// `2:alpha` or `2:alpha@3 weeks`.
pub fn addition(text: &str) -> Result<Added, String> {
    let expected = || "expected COUNT:AGENT, or COUNT:AGENT@SPAN such as 2:alpha@3 weeks".to_owned();
    let (count, rest) = text.split_once(':').ok_or_else(expected)?;
    let (like, after) =
        rest.rsplit_once('@').map_or((rest, Ok(Duration::ZERO)), |(like, after)| (like, read_span(after)));
    let count = count.trim().parse().ok().filter(|count| (1..=1024).contains(count)).ok_or_else(expected)?;
    if like.trim().is_empty() {
        return Err(expected());
    }
    Ok(Added { count, like: like.trim().to_owned(), after: after? })
}
