//! `rialto notice`: an agent will be taken away at a moment that is known.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use rialto_master::api;
use rialto_sdk::core::master::Command;
use rialto_sim::planning::span;

use crate::cli::Connect;
use crate::output::line;
use crate::query::choose;

/// `rialto notice`.
#[derive(Debug, Args)]
pub struct Notice {
    /// The agent: its id, its name, or the beginning of one.
    #[arg(value_name = "AGENT")]
    pub agent: String,
    /// After how long it will be taken away, such as "2 min": what runs there is told to end before, and nothing that would outlast it
    /// is begun there.
    #[arg(long = "in", value_name = "SPAN", value_parser = read_span, required_unless_present = "cancel")]
    pub after: Option<Duration>,
    /// It stays after all.
    #[arg(long, conflicts_with = "after")]
    pub cancel: bool,
    /// How to reach the master.
    #[command(flatten)]
    pub connect: Connect,
}

fn read_span(text: &str) -> Result<Duration, String> {
    span(text).ok_or_else(|| "expected a span such as 120 s, 2 min or 1 h".to_owned())
}

/// `rialto notice`.
pub async fn notice(args: Notice) -> anyhow::Result<()> {
    let client = args.connect.client().await?;
    let found: api::Agents = client.get_json("/api/agents").await?;
    let there = found.agents.iter().filter(|agent| agent.status != "gone");
    let rows: Vec<(&str, &str)> = there.map(|one| (one.id.as_str(), one.name.as_str())).collect();
    let agent =
        choose(&args.agent, &rows)?.with_context(|| format!("agent {}: none of that id or name", args.agent))?;
    client.command(&Command::Notice { agent: agent.parse()?, after: args.after }).await?;
    match args.after {
        Some(after) => line(format_args!("{agent} will be taken away in {} s", after.as_secs()))?,
        None => line(format_args!("{agent} stays"))?,
    }
    Ok(())
}
