//! `rialto bench master`: how much one master carries.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rialto_sdk::core::model::Role;
use rialto_sdk::{Command, Framework, Options};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde::Serialize;
use tokio::sync::mpsc;

use super::cluster::{Master, cpu_of};
use super::fleet::{Fleet, Order};
use super::load::{Heard, Load, Pace, Report, Say, TASKS_PER_ACCEPT};
use super::{Build, Latencies, Machine, Percentiles, thousandths};
use crate::cli::BenchMaster;
use crate::output;

/// How long tasks are launched before anything is measured.
const WARM_UP: Duration = Duration::from_secs(1);
/// How long the frameworks may take to subscribe, and the last tasks to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// The framework that times offers.
const PROBE: &str = "probe";
/// What each emulated agent has: room for some hundred tasks.
const AGENT_RESOURCES: &str = "cpus:32;mem:65536;disk:100000;ports:[31000-32000]";
/// What each task asks for.
const TASK_CPUS: &str = "0.1";
const TASK_MEM_MIB: u32 = 32;

/// What one more agent has. Others have no use for it: its framework alone asks for `probe`, and each of its tasks takes all of it, so that
/// the next offer of it can only follow the end of the task before.
const PROBE_RESOURCES: &str = "mem:64;probe:1";
const PROBE_MEM_MIB: u32 = 64;

/// What is printed.
#[derive(Debug, Serialize)]
struct Figures {
    tasks_per_s: f64,
    offer_ms: Option<Percentiles>,
    update_ms: Option<Percentiles>,
    master_rss_mib: f64,
    /// Processor time for each task: of the master, and of this process with the agents and frameworks.
    master_cpu_us: f64,
    bench_cpu_us: f64,
    tasks: u64,
    rejected: u64,
    machine: Machine,
    build: Build,
    parameters: Parameters,
}

#[derive(Debug, Serialize)]
struct Parameters {
    agents: u32,
    frameworks: u32,
    seconds: u32,
    in_flight: u32,
    tasks_per_accept: u32,
    agent_resources: &'static str,
    task: String,
    store: &'static str,
    emulated: &'static str,
}

/// A moment, and what had been done by then.
struct Mark {
    at: Instant,
    settled: u64,
    master_cpu: Duration,
    bench_cpu: Duration,
}

pub(super) async fn master(args: &BenchMaster) -> anyhow::Result<()> {
    allow_many_files();
    let folder = tempfile::tempdir().context("a folder for the master")?;
    let master = Master::start(folder.path()).await?;
    let epoch = Instant::now();
    let order = Order {
        url: master.url.clone(),
        token: master.token.clone(),
        resources: AGENT_RESOURCES.parse().expect("the resources of emulated agents parse"),
        last: PROBE_RESOURCES.parse().expect("the resources of the last agent parse"),
        epoch,
    };
    let mut fleet = Fleet::start(&order, args.agents).await?;
    let crowd = Crowd::start(&master, args, epoch).await?;
    crowd.warm_up(&mut fleet).await?;
    let begin = mark(&fleet, &master)?;
    fleet.watch(tokio::time::sleep(Duration::from_secs(args.seconds.into()))).await?;
    let end = mark(&fleet, &master)?;
    let rss = master.process.rss_mib()?;
    let reports = fleet.watch(crowd.finish()).await??;
    let figures = figures(args, &begin, &end, rss, &reports)?;
    drop(fleet);
    master.process.stop().await?;
    print(&figures, args.json)
}

fn mark(fleet: &Fleet, master: &Master) -> anyhow::Result<Mark> {
    Ok(Mark {
        at: Instant::now(),
        settled: fleet.counts().settled.load(Ordering::Relaxed),
        master_cpu: master.process.cpu()?,
        bench_cpu: cpu_of("self")?,
    })
}

/// Each agent is a connection at both ends; the master inherits the limit.
fn allow_many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// The frameworks.
struct Crowd {
    frameworks: Vec<Framework<Say>>,
    heard: mpsc::UnboundedReceiver<Heard>,
}

impl Crowd {
    /// Starts them; returns when all are subscribed.
    async fn start(master: &Master, args: &BenchMaster, epoch: Instant) -> anyhow::Result<Self> {
        let (tell, heard) = mpsc::unbounded_channel(); // Two for each framework.
        let mut crowd = Self { frameworks: Vec::new(), heard };
        let probe = Command::argv(["true"]).cpus("0")?.mem_mib(PROBE_MEM_MIB).scalar("probe", "1")?;
        crowd.join(master, PROBE, probe, Pace { in_flight: 1, per_accept: 1 }, epoch, &tell)?;
        let command = Command::argv(["true"]).cpus(TASK_CPUS)?.mem_mib(TASK_MEM_MIB);
        let pace = Pace { in_flight: args.in_flight, per_accept: TASKS_PER_ACCEPT };
        for number in 0..args.frameworks {
            crowd.join(master, &format!("bench-{number}"), command.clone(), pace, epoch, &tell)?;
        }
        for _ in 0..crowd.frameworks.len() {
            crowd.next().await?;
        }
        Ok(crowd)
    }

    fn join(
        &mut self,
        master: &Master,
        name: &str,
        command: Command,
        pace: Pace,
        epoch: Instant,
        tell: &mpsc::UnboundedSender<Heard>,
    ) -> anyhow::Result<()> {
        let role = Role::new("bench").context("a role")?;
        let mut options = Options::new(master.access("bench")?, name, [role.clone()]);
        // An agent remembers the ids of ended tasks for as long.
        options.info.failover_timeout = Duration::from_secs(5);
        let load = Load::new(name.to_owned(), role, command, pace, epoch);
        let tell = tell.clone();
        // The receiver is gone only when the benchmark has failed.
        self.frameworks.push(rialto_sdk::start(options, |_| Ok(load), move |effect| drop(tell.send(effect)))?);
        Ok(())
    }

    async fn next(&mut self) -> anyhow::Result<Heard> {
        let heard = tokio::time::timeout(PATIENCE, self.heard.recv()).await;
        heard.context("a framework does not get on")?.context("the frameworks have ended")
    }

    async fn tell(&self, say: Say) -> anyhow::Result<()> {
        for framework in &self.frameworks {
            ensure!(framework.send(say).await, "a framework has ended");
        }
        Ok(())
    }

    async fn warm_up(&self, fleet: &mut Fleet) -> anyhow::Result<()> {
        fleet.watch(tokio::time::sleep(WARM_UP)).await?;
        self.tell(Say::Measure).await
    }

    /// Lets what runs end, and takes the reports.
    async fn finish(mut self) -> anyhow::Result<Vec<Report>> {
        self.tell(Say::Stop).await?;
        let mut reports = Vec::new();
        while reports.len() < self.frameworks.len() {
            if let Heard::Done(report) = self.next().await? {
                reports.push(*report);
            }
        }
        for framework in self.frameworks {
            framework.stop().await?;
        }
        Ok(reports)
    }
}

fn figures(args: &BenchMaster, begin: &Mark, end: &Mark, rss: f64, reports: &[Report]) -> anyhow::Result<Figures> {
    let (mut offers, mut updates) = (Latencies::new(), Latencies::new());
    for report in reports {
        updates.add(&report.updates);
        if report.name == PROBE {
            offers.add(&report.offers);
        }
    }
    let sum = |count: fn(&Report) -> u64| reports.iter().map(count).sum::<u64>();
    let (launched, finished) = (sum(|report| report.launched), sum(|report| report.finished));
    let (rejected, failed) = (sum(|report| report.rejected), sum(|report| report.failed));
    ensure!(
        failed == 0 && launched == finished + rejected,
        "{launched} launched, {finished} finished, {failed} failed"
    );
    let tasks = end.settled - begin.settled;
    let each = |cpu: Duration| thousandths(cpu.as_secs_f64() * 1e6 / tasks.max(1) as f64);
    Ok(Figures {
        tasks_per_s: thousandths(tasks as f64 / (end.at - begin.at).as_secs_f64()),
        offer_ms: offers.percentiles(),
        update_ms: updates.percentiles(),
        master_rss_mib: thousandths(rss),
        master_cpu_us: each(end.master_cpu.saturating_sub(begin.master_cpu)),
        bench_cpu_us: each(end.bench_cpu.saturating_sub(begin.bench_cpu)),
        tasks,
        rejected,
        machine: Machine::here()?,
        build: Build::this(),
        parameters: Parameters {
            agents: args.agents,
            frameworks: args.frameworks,
            seconds: args.seconds,
            in_flight: args.in_flight,
            tasks_per_accept: TASKS_PER_ACCEPT,
            agent_resources: AGENT_RESOURCES,
            task: format!("cpus:{TASK_CPUS};mem:{TASK_MEM_MIB}"),
            store: "redb",
            emulated: "agents: the real machine and gate, journal in memory, tasks end at once",
        },
    })
}

fn print(figures: &Figures, json: bool) -> anyhow::Result<()> {
    if json {
        return output::json(figures);
    }
    let words = |latency: Option<Percentiles>| latency.map_or_else(|| "none".to_owned(), Percentiles::words);
    let Parameters { agents, frameworks, seconds, in_flight, .. } = &figures.parameters;
    let rows = [
        ("tasks a second", format!("{:.0}", figures.tasks_per_s)),
        ("resources free to offer", words(figures.offer_ms)),
        ("update, agent to framework", words(figures.update_ms)),
        ("master, memory", format!("{:.1} MiB", figures.master_rss_mib)),
        ("master, processor time a task", format!("{:.1} µs", figures.master_cpu_us)),
        ("agents and frameworks, likewise", format!("{:.1} µs", figures.bench_cpu_us)),
        ("launches refused", format!("{} beside {} tasks", figures.rejected, figures.tasks)),
        (
            "parameters",
            format!(
                "{agents} agents, {frameworks} frameworks with {in_flight} tasks in flight each, {seconds} s, redb"
            ),
        ),
        ("machine", figures.machine.words()),
        ("build", figures.build.words()),
    ];
    let rows = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    output::table(&["figure", "value"], rows, "nothing was measured")?;
    Ok(())
}
