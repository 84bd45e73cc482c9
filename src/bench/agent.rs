//! `rialto bench agent`: how fast one agent starts tasks, and what they cost its machine.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rialto_sdk::core::model::{Role, TaskState};
use rialto_sdk::{Command, Framework, FrameworkEnd, Options};
use serde::Serialize;
use tokio::sync::mpsc;

use super::cluster::{Master, Process};
use super::probe::{Heard, Probe, Say};
use super::{Build, Latencies, Machine, Percentiles, field_kib, read, thousandths};
use crate::cli::BenchAgent;
use crate::output;

/// How many tasks are started one after the other on an agent that does nothing else.
const SINGLE_RUNS: u32 = 80;
/// How long the agent is left alone before each of them.
const IDLE: Duration = Duration::from_millis(20);
/// For how long the agent is watched while all tasks sleep.
const WATCHED: Duration = Duration::from_secs(10);
/// How long one task may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the agent offers: more than all tasks at once ask for, so that only work limits.
const AGENT_RESOURCES: &str = "cpus:1024;mem:1048576;disk:100000";

/// What is printed.
#[derive(Debug, Serialize)]
struct Figures {
    cold_start_ms: f64,
    accept_to_running_ms: Percentiles,
    tasks_per_s: f64,
    agent_rss_mib: f64,
    task_pss_mib: f64,
    /// Whether tasks are kept in cgroups of their own, as `/proc` shows it. The process launcher keeps them in process groups only.
    contained: bool,
    master_rss_mib: f64,
    agent_cpu_ms: f64,
    /// Of one core, while nothing but sleeping tasks is there.
    agent_idle_cpu_percent: f64,
    machine: Machine,
    build: Build,
    parameters: Parameters,
}

#[derive(Debug, Serialize)]
struct Parameters {
    tasks: u32,
    command: &'static str,
    single_runs: u32,
    in_flight: u32,
    idle_tasks: u32,
    fsync_delay_ms: u16,
    agent_resources: &'static str,
    store: &'static str,
}

pub(super) async fn agent(args: &BenchAgent) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("a folder for master and agent")?;
    let begun = Instant::now();
    let mut bench = Bench::start(folder.path(), args).await?;
    let cold_start = bench.cold_start(begun).await?;
    let singles = bench.singles().await?;
    let before = bench.agent.cpu()?;
    let tasks_per_s = bench.sustained(args.tasks, args.in_flight).await?;
    let agent_cpu = bench.agent.cpu()?.saturating_sub(before);
    bench.sleep(args.idle_tasks).await?;
    let agent_idle_cpu_percent = bench.idle_cpu_percent().await?;
    let task_pss_mib = supervisors_pss_mib(&bench.agent_dir, args.idle_tasks)?;
    let contained = are_contained(&bench.agent, &bench.agent_dir)?;
    let figures = Figures {
        cold_start_ms: thousandths(cold_start.as_secs_f64() * 1000.0),
        accept_to_running_ms: singles,
        tasks_per_s: thousandths(tasks_per_s),
        agent_rss_mib: thousandths(bench.agent.rss_mib()?),
        task_pss_mib: thousandths(task_pss_mib),
        contained,
        master_rss_mib: thousandths(bench.master.process.rss_mib()?),
        agent_cpu_ms: thousandths(agent_cpu.as_secs_f64() * 1000.0 / f64::from(args.tasks)),
        agent_idle_cpu_percent: thousandths(agent_idle_cpu_percent),
        machine: Machine::here()?,
        build: Build::this(),
        parameters: Parameters {
            tasks: args.tasks,
            command: "true",
            single_runs: SINGLE_RUNS,
            in_flight: args.in_flight,
            idle_tasks: args.idle_tasks,
            fsync_delay_ms: args.fsync_delay_ms,
            agent_resources: AGENT_RESOURCES,
            store: "redb",
        },
    };
    bench.end().await?;
    print(&figures, args.json)
}

/// A master, an agent and a framework.
struct Bench {
    master: Master,
    agent: Process,
    agent_dir: std::path::PathBuf,
    framework: Framework<Say>,
    heard: mpsc::UnboundedReceiver<Heard>,
}

impl Bench {
    async fn start(folder: &Path, args: &BenchAgent) -> anyhow::Result<Self> {
        let master = Master::start(folder).await?;
        let agent_dir = folder.canonicalize()?.join("agent");
        let agent = master.start_agent(&agent_dir, AGENT_RESOURCES, args)?;
        let (tell, heard) = mpsc::unbounded_channel(); // A few for each task.
        let role = Role::new("bench").context("a role")?;
        let options = Options::new(master.access("bench")?, "bench", [role.clone()]);
        let probe = Probe::new(role, short());
        // The receiver is gone only when the benchmark has failed.
        let framework = rialto_sdk::start(options, |_| Ok(probe), move |effect| drop(tell.send(effect)))?;
        Ok(Self { master, agent, agent_dir, framework, heard })
    }

    async fn run(&self, command: Command, count: u32, at_once: u32) -> anyhow::Result<()> {
        let say = Say::Run { command: Box::new(command), count, at_once };
        ensure!(self.framework.send(say).await, "the framework has ended");
        Ok(())
    }

    async fn next(&mut self) -> anyhow::Result<Heard> {
        let heard = tokio::time::timeout(PATIENCE, self.heard.recv()).await;
        heard.context("no task starts or ends")?.context("the framework has ended")
    }

    /// Waits until a task runs; says how long that took after the accept.
    async fn running(&mut self) -> anyhow::Result<Duration> {
        loop {
            match self.next().await? {
                Heard::Running(took) => return Ok(took),
                Heard::Subscribed | Heard::Rejected => {}
                Heard::Ended(state, why) => bail!("a task ended before it ran: {}", words(state, &why)),
            }
        }
    }

    async fn ended(&mut self) -> anyhow::Result<()> {
        loop {
            match self.next().await? {
                Heard::Ended(TaskState::Finished, _) => return Ok(()),
                Heard::Ended(state, why) => bail!("a task ended as {}", words(state, &why)),
                Heard::Subscribed | Heard::Rejected | Heard::Running(_) => {}
            }
        }
    }

    /// From nothing to the first task that runs.
    async fn cold_start(&mut self, begun: Instant) -> anyhow::Result<Duration> {
        self.run(short(), 1, 1).await?;
        self.running().await?;
        let took = begun.elapsed();
        self.ended().await?;
        Ok(took)
    }

    async fn singles(&mut self) -> anyhow::Result<Percentiles> {
        let mut latencies = Latencies::new();
        for _ in 0..SINGLE_RUNS {
            tokio::time::sleep(IDLE).await;
            self.run(short(), 1, 1).await?;
            latencies.record(self.running().await?);
            self.ended().await?;
        }
        latencies.percentiles().context("at least one task ran")
    }

    async fn sustained(&mut self, tasks: u32, in_flight: u32) -> anyhow::Result<f64> {
        let begun = Instant::now();
        self.run(short(), tasks, in_flight).await?;
        for _ in 0..tasks {
            self.ended().await?;
        }
        Ok(f64::from(tasks) / begun.elapsed().as_secs_f64())
    }

    async fn sleep(&mut self, tasks: u32) -> anyhow::Result<()> {
        self.run(Command::argv(["sleep", "3600"]), tasks, tasks).await?;
        for _ in 0..tasks {
            self.running().await?;
        }
        Ok(())
    }

    /// How much of one core the agent uses while its tasks sleep.
    async fn idle_cpu_percent(&self) -> anyhow::Result<f64> {
        tokio::time::sleep(WATCHED / 10).await; // The last acknowledgements of the starts.
        let before = self.agent.cpu()?;
        tokio::time::sleep(WATCHED).await;
        let used = self.agent.cpu()?.saturating_sub(before);
        Ok(100.0 * used.as_secs_f64() / WATCHED.as_secs_f64())
    }

    /// Kills what sleeps, and stops everything once it has ended.
    async fn end(self) -> anyhow::Result<()> {
        ensure!(self.framework.send(Say::Leave).await, "the framework has ended");
        let end =
            tokio::time::timeout(PATIENCE, self.framework.wait()).await.context("the framework does not end")??;
        ensure!(end == FrameworkEnd::TornDown, "the framework was stopped before it was removed");
        let gone = async {
            while !supervisors(&self.agent_dir)?.is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(PATIENCE, gone).await.context("the last tasks do not end")??;
        self.agent.stop().await?;
        self.master.process.stop().await
    }
}

/// How a task ended, and what its agent says of that.
fn words(state: TaskState, why: &str) -> String {
    if why.is_empty() { state.to_string() } else { format!("{state}: {why}") }
}

fn short() -> Command {
    Command::argv(["true"])
}

/// The processes that watch over the tasks of the agent in `agent_dir`.
fn supervisors(agent_dir: &Path) -> anyhow::Result<Vec<u32>> {
    let dir = agent_dir.to_string_lossy();
    let is_ours = |pid: &u32| {
        // A process that has ended meanwhile is none.
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        let mut args = line.split('\0').skip(1);
        args.next() == Some("supervise") && args.any(|arg| arg.starts_with(&*dir))
    };
    let processes = std::fs::read_dir("/proc").context("reading /proc")?;
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(pids.filter(is_ours).collect())
}

/// Whether no task is in a cgroup that the agent itself is in.
fn are_contained(agent: &Process, agent_dir: &Path) -> anyhow::Result<bool> {
    let cgroups = |pid: u32| read(format!("/proc/{pid}/cgroup"));
    let own = cgroups(agent.pid()?)?;
    // A supervisor stays where the agent is; what it supervises does not.
    let children = |pid: u32| read(format!("/proc/{pid}/task/{pid}/children"));
    let lists = supervisors(agent_dir)?.into_iter().map(children).collect::<anyhow::Result<Vec<String>>>()?;
    let pids = lists.iter().flat_map(|list| list.split_ascii_whitespace()).filter_map(|pid| pid.parse().ok());
    let tasks: Vec<String> = pids.map(cgroups).collect::<anyhow::Result<_>>()?;
    Ok(tasks.iter().all(|task| *task != own))
}

/// The mean share of memory of a supervisor: pages that several use are divided among them.
fn supervisors_pss_mib(agent_dir: &Path, expected: u32) -> anyhow::Result<f64> {
    let pids = supervisors(agent_dir)?;
    ensure!(pids.len() == expected as usize, "expected {expected} supervisors, found {}", pids.len());
    let mut kib = 0;
    for pid in &pids {
        let rollup = read(format!("/proc/{pid}/smaps_rollup"))?;
        kib += field_kib(&rollup, "Pss:").with_context(|| format!("process {pid} has no memory"))?;
    }
    Ok(kib as f64 / 1024.0 / pids.len() as f64)
}

fn print(figures: &Figures, json: bool) -> anyhow::Result<()> {
    if json {
        return output::json(figures);
    }
    let Parameters { tasks, single_runs, in_flight, idle_tasks, fsync_delay_ms, .. } = &figures.parameters;
    let rows = [
        ("cold start to the first task running", format!("{:.0} ms", figures.cold_start_ms)),
        ("accept to running, one at a time", figures.accept_to_running_ms.words()),
        ("short tasks a second", format!("{:.1}", figures.tasks_per_s)),
        ("agent, processor time a task", format!("{:.2} ms", figures.agent_cpu_ms)),
        ("agent, of one core with sleeping tasks", format!("{:.2} %", figures.agent_idle_cpu_percent)),
        ("agent, memory with sleeping tasks", format!("{:.1} MiB", figures.agent_rss_mib)),
        ("task, memory (share of its supervisor)", format!("{:.2} MiB", figures.task_pss_mib)),
        ("tasks contained", if figures.contained { "yes" } else { "no: process groups only" }.to_owned()),
        (
            "parameters",
            format!("`true`: {single_runs} one by one, then {tasks} with {in_flight} in flight; {idle_tasks} sleepers"),
        ),
        ("added to each fsync of the agent", format!("{fsync_delay_ms} ms")),
        ("machine", figures.machine.words()),
        ("build", figures.build.words()),
    ];
    let rows = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    output::table(&["figure", "value"], rows, "nothing was measured")?;
    Ok(())
}
