//! `rialto device`: what people do to devices.

use std::io::Write as _;

use anyhow::Context as _;
use rialto_master::api;
use rialto_sdk::core::master::Command;
use rialto_sdk::core::model::DeviceId;

use crate::cli::DeviceClear;
use crate::query::choose;

/// `rialto device clear`.
pub async fn clear(args: DeviceClear) -> anyhow::Result<()> {
    let client = args.connect.client().await?;
    let found: api::Agents = client.get_json("/api/agents").await?;
    let rows: Vec<(&str, &str)> = found.agents.iter().map(|one| (one.id.as_str(), one.name.as_str())).collect();
    let agent =
        choose(&args.agent, &rows)?.with_context(|| format!("agent {}: none of that id or name", args.agent))?;
    let command = Command::ClearDevice { agent: agent.parse()?, device: DeviceId::new(&args.device) };
    client.command(&command).await.with_context(|| format!("device {} of {agent}", args.device))?;
    writeln!(std::io::stdout(), "{} of {agent} is being cleaned; rialto devices shows what comes of it", args.device)?;
    Ok(())
}
