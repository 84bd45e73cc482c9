//! The command lines about what machines cost.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use rialto_sdk::core::model::{Price, PriceClass};
use rialto_sim::planning::span;

use crate::cli::{Connect, Query};

/// `rialto price`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct PriceArgs {
    /// What to do; without it, the prices are shown.
    #[command(subcommand)]
    pub command: Option<PriceCommand>,
    /// How they are shown.
    #[command(flatten)]
    pub query: Query,
}

/// What to do with prices.
#[derive(Debug, Subcommand)]
pub enum PriceCommand {
    /// Say what machines of a pool cost from now on; every framework hears of it.
    Set(PriceSet),
    /// Say that a price is not known any more.
    Remove(PriceRemove),
    /// Read prices from a file or an address again and again, and tell the master.
    Feed(PriceFeed),
}

/// What a price is of.
#[derive(Debug, Args)]
pub struct PriceOf {
    /// The pool: the agents whose attribute pool says so.
    #[arg(value_name = "POOL")]
    pub pool: String,
    /// How its machines are paid for: on_demand, reserved or spot.
    #[arg(value_name = "CLASS")]
    pub class: PriceClass,
}

/// `rialto price set`.
#[derive(Debug, Args)]
pub struct PriceSet {
    /// Of what.
    #[command(flatten)]
    pub of: PriceOf,
    /// For one machine and hour, such as 0.35.
    #[arg(value_name = "PRICE")]
    pub price: Price,
    /// In this region only.
    #[arg(long, value_name = "NAME")]
    pub region: Option<String>,
    /// How to reach the master.
    #[command(flatten)]
    pub connect: Connect,
}

/// `rialto price remove`.
#[derive(Debug, Args)]
pub struct PriceRemove {
    /// Of what.
    #[command(flatten)]
    pub of: PriceOf,
    /// In this region only.
    #[arg(long, value_name = "NAME")]
    pub region: Option<String>,
    /// How to reach the master.
    #[command(flatten)]
    pub connect: Connect,
}

/// `rialto price feed`.
#[derive(Debug, Args)]
pub struct PriceFeed {
    /// The file: a table with the columns pool, class and price, and, if need be, region and t_s; or the same as JSON.
    #[arg(long, value_name = "FILE", required_unless_present = "url", conflicts_with = "url")]
    pub file: Option<PathBuf>,
    /// The address, http or https, that answers with such a list.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// A certificate (PEM) that the address's is signed by, beside those that the machine trusts.
    #[arg(long, value_name = "FILE", requires = "url")]
    pub url_ca: Option<PathBuf>,
    /// How long from one reading to the next; longer while readings fail.
    #[arg(long, value_name = "SPAN", default_value = "30 s", value_parser = read_span, conflicts_with = "once")]
    pub every: Duration,
    /// How long one reading may take.
    #[arg(long, value_name = "SPAN", default_value = "10 s", value_parser = read_span)]
    pub timeout: Duration,
    /// Read once, and end.
    #[arg(long)]
    pub once: bool,
    /// How to reach the master.
    #[command(flatten)]
    pub connect: Connect,
}

/// A span, also as `500ms`.
fn read_span(text: &str) -> Result<Duration, String> {
    let millis = text.strip_suffix("ms").and_then(|number| number.trim().parse().ok()).map(Duration::from_millis);
    let span = millis.or_else(|| span(text)).filter(|span| !span.is_zero());
    span.ok_or_else(|| "expected a span such as 30 s, 5 min or 500 ms".to_owned())
}
