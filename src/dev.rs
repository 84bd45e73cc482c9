//! `rialto dev`: a cluster in one process, for trying things out.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use rialto_agent::OnStop;
use rialto_master::{Auth, StoreKind, api};
use rialto_sdk::model::Attribute;
use rialto_sdk::{Access, MasterClient};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::cli::Dev;
use crate::output;
use crate::serve::{device_sources, stop_signal};

/// How long the agents may take to register before something must be wrong.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// An agent of the cluster.
struct Member {
    name: &'static str,
    /// Ports are one space on a machine: each agent has its own part, below those that the kernel gives to outgoing connections.
    resources: &'static str,
    devices: &'static [&'static str],
}

/// A plain one, one with two fake GPUs, and one with what the machine really has and this user may open.
const MEMBERS: [Member; 3] = [
    Member { name: "alpha", resources: "ports:[31000-31499]", devices: &[] },
    Member {
        name: "beta",
        resources: "ports:[31500-31999]",
        devices: &["fake:gpu,model=T4,generation=7,memory=16GiB", "fake:gpu,model=G2,generation=9,memory=40GiB"],
    },
    Member {
        name: "gamma",
        resources: "ports:[32000-32499]",
        devices: &["glob:/dev/loop[0-9]*,kind=loop", "glob:/dev/kvm,kind=kvm"],
    },
];

/// Runs until Ctrl-C; ends every task then.
pub async fn dev(args: Dev) -> anyhow::Result<()> {
    let stop = stop_signal()?;
    let (ending, ended) = watch::channel(Phase::Running);
    let mut parts: JoinSet<anyhow::Result<()>> = JoinSet::new();
    let (master, address) = start_master(&args, ended.clone()).await?;
    parts.spawn(master);
    for member in &MEMBERS {
        parts.spawn(start_agent(member, &args, &address, ended.clone())?);
    }
    let web = crate::web::host(&args.work_dir, &address, ended.clone()).await?;
    parts.spawn(web);
    let result = tokio::select! {
        ready = welcome(&address) => match ready {
            Ok(()) => tokio::select! {
                () = stop => Ok(()),
                failed = parts.join_next() => first_failure(failed),
            },
            Err(error) => Err(error),
        },
        failed = parts.join_next() => first_failure(failed),
    };
    shut_down(&ending, parts).await?;
    result
}

/// How far the cluster's end has come: frameworks first, then the agents with their tasks, the master last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Everything runs.
    Running,
    /// Frameworks stop.
    Frameworks,
    /// Agents end their tasks and stop.
    Agents,
    /// The master stops.
    Master,
}

/// Ready when the cluster's end has come to `phase`.
pub async fn reached(mut ended: watch::Receiver<Phase>, phase: Phase) {
    // A dropped sender means that everything ends.
    drop(ended.wait_for(|now| *now >= phase).await);
}

async fn start_master(
    args: &Dev,
    ended: watch::Receiver<Phase>,
) -> anyhow::Result<(impl Future<Output = anyhow::Result<()>> + Send + 'static, String)> {
    if !args.listen.ip().is_loopback() {
        bail!(
            "--listen {}: dev asks for no token, so it listens on loopback only; use rialto master for others",
            args.listen
        );
    }
    let options = rialto_master::Options {
        listen: args.listen,
        work_dir: Some(folder(&args.work_dir, "master")?),
        store: StoreKind::Redb,
        auth: Auth::Open,
        ..rialto_master::Options::development()
    };
    let listener = rialto_master::bind(&options).await?;
    let address = listener.address().to_string();
    let serve = async move {
        rialto_master::serve(options, listener, reached(ended, Phase::Master)).await?;
        Ok(())
    };
    Ok((serve, address))
}

fn start_agent(
    member: &Member,
    args: &Dev,
    master: &str,
    ended: watch::Receiver<Phase>,
) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + Send + 'static> {
    let exe = std::env::current_exe().context("the path of this program")?;
    let mut options = rialto_agent::Options::new(master, folder(&args.work_dir, member.name)?, exe);
    member.name.clone_into(&mut options.name);
    options.resources = member.resources.parse().expect("the members' resources parse");
    options.device_sources = device_sources(&member.devices.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    options.attributes.insert("host".into(), Attribute::text("127.0.0.1"));
    options.on_stop = OnStop::EndTasks;
    options.launcher = args.launcher.into();
    let name = member.name;
    Ok(async move {
        let run = rialto_agent::run(options, reached(ended, Phase::Agents));
        run.await.with_context(|| format!("agent {name}"))
    })
}

/// A folder of that name, made with all above it.
pub fn folder(work_dir: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let path = work_dir.join(name);
    std::fs::create_dir_all(&path).with_context(|| format!("work dir {}", path.display()))?;
    Ok(std::path::absolute(path)?)
}

/// Says what is there, and what to type next, once every agent is.
async fn welcome(address: &str) -> anyhow::Result<()> {
    let client = MasterClient::connect(Access::new(address)?).await?;
    let registered = async {
        loop {
            let found: api::Agents = client.get_json("/api/agents").await?;
            if found.agents.iter().filter(|agent| agent.status == "active").count() >= MEMBERS.len() {
                return anyhow::Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(START_TIMEOUT, registered).await.context("the agents did not register")??;
    let devices: api::Devices = client.get_json("/api/devices").await?;
    let mut classes: Vec<String> = devices
        .classes
        .iter()
        .map(|class| format!("{} {} {}", class.total, class.kind, class.model).trim_end().to_owned())
        .collect();
    if classes.is_empty() {
        classes.push("none".to_owned());
    }
    output::line(format_args!("A master and three agents are up; devices: {}.", classes.join(", ")))?;
    output::line(format_args!("{}", next_steps(address)))?;
    Ok(())
}

/// Where things are, and what to type.
fn next_steps(address: &str) -> String {
    let flag = if address.ends_with(":7070") { String::new() } else { format!(" --master {address}") };
    let commands = [
        (format!("rialto run{flag} -- echo hello"), "run a task and follow it"),
        (format!("rialto run{flag} --device gpu -- env"), "hold a device while it runs"),
        (format!("rialto devices{flag}"), "who holds what"),
        (format!("rialto ci run examples/ci/minimal.yml{flag}"), "a pipeline"),
        (format!("rialto web deploy examples/web/hello.toml{flag}"), "servers that are kept up"),
    ];
    let width = commands.iter().map(|(command, _)| command.len()).max().unwrap_or(0);
    let commands: Vec<String> = commands.iter().map(|(command, what)| format!("  {command:width$}   {what}")).collect();
    format!(
        "
  web page  http://{address}/
  API       http://{address}/api/cluster    metrics  http://{address}/metrics

Next, in another terminal (target/release/rialto, or cargo run --release --):
{}

Ctrl-C ends it all; the next start finds its state again.",
        commands.join("\n")
    )
}

fn first_failure(ended: Option<Result<anyhow::Result<()>, tokio::task::JoinError>>) -> anyhow::Result<()> {
    match ended {
        Some(Ok(Ok(()))) | None => bail!("a part of the cluster ended by itself"),
        Some(Ok(Err(error))) => Err(error),
        Some(Err(panic)) => bail!("a part of the cluster panicked: {panic}"),
    }
}

async fn shut_down(ending: &watch::Sender<Phase>, mut parts: JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    // Each phase's parts end by themselves; the last to stop is the master, so all are gone when the set is empty.
    ending.send_replace(Phase::Frameworks);
    let mut left = parts.len();
    let mut failed = Ok(());
    for (phase, stay) in [(Phase::Agents, 1 + MEMBERS.len()), (Phase::Master, 1)] {
        while left > stay {
            match parts.join_next().await {
                Some(Ok(Ok(()))) => {}
                other => failed = first_failure(other),
            }
            left = parts.len();
        }
        ending.send_replace(phase);
    }
    while let Some(ended) = parts.join_next().await {
        if !matches!(ended, Ok(Ok(()))) {
            failed = first_failure(Some(ended));
        }
    }
    failed
}
