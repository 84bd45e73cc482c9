//! The scenario of V15 on real processes: a master, twenty agents and their tasks, in a folder that goes with them.

use std::time::Duration;

use anyhow::Context;
use rialto_agent::{LauncherKind, OnStop};
use rialto_master::{Auth, StoreKind};
use rialto_sdk::core::model::Role;
use rialto_sdk::{Access, Command};
use rialto_sim::validate::twin::{self, Placed};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::dev::{Phase, folder, reached};

/// The jobs take half of this.
const PATIENCE: Duration = Duration::from_secs(240);
/// How long the agents get to register before the first job comes.
const REGISTERING: Duration = Duration::from_secs(60);

/// Where each job ran and how long it waited.
pub async fn run() -> anyhow::Result<Vec<Placed>> {
    let below = tempfile::tempdir().context("a folder for the processes")?;
    let (ending, ended) = watch::channel(Phase::Running);
    let mut parts: JoinSet<anyhow::Result<()>> = JoinSet::new();
    let options = rialto_master::Options {
        listen: "127.0.0.1:0".parse().context("an address")?,
        work_dir: Some(folder(below.path(), "master")?),
        store: StoreKind::Redb,
        auth: Auth::Open,
        ..rialto_master::Options::development()
    };
    let listener = rialto_master::bind(&options).await?;
    let address = listener.address().to_string();
    let until = reached(ended.clone(), Phase::Master);
    parts.spawn(async move { Ok(rialto_master::serve(options, listener, until).await?) });
    for number in 0..twin::AGENTS {
        let name = twin::agent_name(number);
        let exe = std::env::current_exe().context("the path of this program")?;
        let mut options = rialto_agent::Options::new(&address, folder(below.path(), &name)?, exe);
        options.name = name;
        options.resources = format!("cpus:{};mem:{};disk:0;ports:[]", twin::CORES, twin::MIB).parse()?;
        options.on_stop = OnStop::EndTasks;
        options.launcher = LauncherKind::Process;
        let until = reached(ended.clone(), Phase::Agents);
        parts.spawn(async move { Ok(rialto_agent::run(options, until).await?) });
    }
    let placed = tokio::select! {
        placed = jobs(&address) => placed,
        failed = parts.join_next() => Err(match failed {
            Some(Ok(Err(error))) => error,
            _ => anyhow::anyhow!("a process of the scenario ended by itself"),
        }),
    };
    ending.send_replace(Phase::Agents);
    while parts.len() > 1 {
        parts.join_next().await.context("the agents stop")???;
    }
    ending.send_replace(Phase::Master);
    parts.join_next().await.context("the master stops")???;
    placed
}

async fn jobs(address: &str) -> anyhow::Result<Vec<Placed>> {
    let client = rialto_sdk::MasterClient::connect(Access::new(address)?).await?;
    let registered = async {
        loop {
            let found: rialto_master::api::Agents = client.get_json("/api/agents").await?;
            if found.agents.iter().filter(|agent| agent.status == "active").count() == twin::AGENTS {
                return anyhow::Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(REGISTERING, registered).await.context("the agents did not register")??;
    let role = Role::new("twin").context("a role")?;
    let (tell, mut told) = mpsc::unbounded_channel(); // One message.
    let make: twin::MakeTask = Box::new(|id, role, placement, job| {
        Command::argv(["sleep", &job.duration.as_secs_f64().to_string()]).task(id, role, placement)
    });
    let policy = twin::Twin::new(role.clone(), make, Box::new(|placed| placed));
    let options = rialto_sdk::Options::new(Access::new(address)?, "twin", [role]);
    let framework = rialto_sdk::start(options, |_| Ok(policy), move |placed| drop(tell.send(placed)))?;
    // Until every agent's offer is there.
    tokio::time::sleep(Duration::from_secs(2)).await;
    anyhow::ensure!(framework.send(()).await, "the framework has ended");
    let placed = tokio::time::timeout(PATIENCE, told.recv()).await.context("the jobs do not end")?;
    placed.context("the framework has ended")
}
