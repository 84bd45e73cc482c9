//! The command line: what can be said, and what it means by default.
//!
//! Every option can also be given as an environment variable, and in a TOML file (see [`crate::config`]); the command line wins over the
//! environment, the environment over the file.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;

/// A two-level cluster manager: offers, exclusive devices, and frameworks that schedule for themselves.
#[derive(Debug, Parser)]
#[command(name = "rialto", version, max_term_width = 110, after_help = AFTER_HELP)]
pub struct Cli {
    /// A TOML file with options: a table for each command, such as agent, and client for all that talk to a master.
    #[arg(long, global = true, env = "RIALTO_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Try it on this machine:
  rialto dev                                   a master and three agents; Ctrl-C ends them
  rialto run -- echo hello                     in another terminal: run a task, follow it
  rialto run --device gpu -- env               with an exclusive device
  rialto agents; rialto devices; rialto tasks  what there is
  rialto why last                              why it waits
  rialto when last                             when it will run
  rialto what-would-help last                  what to change so that it runs";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a whole cluster on this machine, for trying things out.
    Dev(Dev),
    /// Run a master.
    Master(Master),
    /// Run an agent.
    Agent(Agent),
    /// Run a command on the cluster and follow it.
    Run(Run),
    /// Continuous integration: run pipelines.
    #[command(subcommand)]
    Ci(Ci),
    /// Analytics: run stages over partitions of files.
    #[command(subcommand)]
    Analytics(Analytics),
    /// Web serving: keep servers up, roll out versions.
    #[command(subcommand)]
    Web(Web),
    /// The machines.
    Agents(Query),
    /// The frameworks, and what they wait for.
    Frameworks(Query),
    /// The tasks.
    Tasks(TasksQuery),
    /// The offers that stand.
    Offers(Query),
    /// The devices: what they are, who holds them.
    Devices(Query),
    /// What people do to a device.
    #[command(subcommand)]
    Device(Device),
    /// What a task printed.
    Logs(Logs),
    /// Run a command inside of a task: in its namespaces, as its user, with its devices.
    Exec(crate::session::Exec),
    /// Follow a task, and type to it if it was started with -i or -t.
    Attach(crate::session::Attach),
    /// What the running tasks use of their machines.
    Top(Query),
    /// Why a task or a framework waits.
    Why(Why),
    /// The roles: what they hold, their shares and quotas.
    Roles(Query),
    /// What roles may hold at most, and what is kept for them.
    #[command(subcommand)]
    Quota(Quota),
    /// How the frameworks of a role are made offers.
    #[command(subcommand)]
    Role(Role),
    /// Set a role's weight in fair sharing.
    Weight(Weight),
    /// Say that an agent will be taken away at a moment that is known, or that it stays.
    Notice(crate::notice::Notice),
    /// What machines cost: shown, told by hand, or read from a feed.
    Price(crate::price::args::PriceArgs),
    /// When what waits will run.
    When(crate::live::args::WhenArgs),
    /// What would help what waits to run, the smallest change first.
    WhatWouldHelp(crate::live::args::HelpArgs),
    /// The whole cluster at one moment, as JSON: what rialto when --snapshot reads.
    Snapshot(crate::live::args::SnapshotArgs),
    /// End a task.
    Kill(Kill),
    /// Reserve resources of an agent for a role.
    Reserve(crate::reserve::Reserve),
    /// Give resources back that were reserved.
    Unreserve(crate::reserve::Unreserve),
    /// Persistent volumes: disk that keeps its data.
    #[command(subcommand)]
    Volume(crate::reserve::VolumeCommand),
    /// Measure this build on this machine.
    #[command(subcommand)]
    Bench(Bench),
    /// Simulate: the production code in virtual time.
    #[command(subcommand)]
    Sim(Sim),
}

/// The heading of the options of [`Connect`], by which they are known apart from a command's own.
pub const CONNECTION_HEADING: &str = "Connection";

/// How to reach the master.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = CONNECTION_HEADING)]
pub struct Connect {
    /// The master: HOST:PORT, or a URL.
    #[arg(long, env = "RIALTO_MASTER", default_value = "127.0.0.1:7070", value_name = "ADDR")]
    pub master: String,
    /// A file with the token to present; the one beside a local work dir is found by itself.
    #[arg(long, env = "RIALTO_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// A certificate (PEM) that the master's is signed by.
    #[arg(long, env = "RIALTO_TLS_CA", value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
}

/// `rialto dev`.
#[derive(Debug, Args)]
pub struct Dev {
    /// Where the master listens; port 0 means any free one.
    #[arg(long, env = "RIALTO_DEV_LISTEN", default_value = "127.0.0.1:7070", value_name = "ADDR")]
    pub listen: SocketAddr,
    /// Where all state is kept.
    #[arg(long, env = "RIALTO_DEV_WORK_DIR", default_value = ".rialto", value_name = "DIR")]
    pub work_dir: PathBuf,
    /// How tasks are kept apart, as for an agent.
    #[arg(long, env = "RIALTO_DEV_LAUNCHER", default_value = "auto", value_name = "KIND")]
    pub launcher: Launcher,
}

/// `rialto master`.
#[derive(Debug, Args)]
pub struct Master {
    /// Where to listen: gRPC, the API, the web page and metrics on one port.
    #[arg(long, env = "RIALTO_LISTEN", default_value = "127.0.0.1:7070", value_name = "ADDR")]
    pub listen: SocketAddr,
    /// Where the registry and the token are kept.
    #[arg(long, env = "RIALTO_MASTER_WORK_DIR", default_value = "rialto-master", value_name = "DIR")]
    pub work_dir: PathBuf,
    /// Where the registry lives.
    #[arg(long, env = "RIALTO_STORE", value_enum, default_value_t = Store::Redb)]
    pub store: Store,
    /// The token that clients must present; without it one is made in the work dir at the first start.
    #[arg(long, env = "RIALTO_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The certificate chain to serve with (PEM, leaf first).
    #[arg(long, env = "RIALTO_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(long, env = "RIALTO_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Serve an address other than loopback without TLS.
    #[arg(long, env = "RIALTO_INSECURE")]
    pub insecure: bool,
    /// How long an agent whose connection is lost has to come back before its tasks are unreachable, in seconds.
    #[arg(long, env = "RIALTO_AGENT_TIMEOUT", default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub agent_timeout: u64,
    /// In how many offers one resource may be at once.
    #[arg(long, env = "RIALTO_OFFER_FANOUT", default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub offer_fanout: u16,
    /// The roles that there may be, with all below them; any without it. May be repeated.
    #[arg(long = "known-role", env = "RIALTO_KNOWN_ROLES", value_name = "ROLE", value_delimiter = ',')]
    pub known_roles: Vec<String>,
    /// The smallest offers to frameworks that declare nothing and ask for nothing else: "|" between alternatives, ";" within one.
    #[arg(long, env = "RIALTO_MIN_ALLOCATABLE_RESOURCES", default_value = "cpus:0.01|mem:32", value_name = "LIST")]
    pub min_allocatable_resources: String,
    /// The region that the master is in. Agents of other regions are offered only to frameworks that ask for all regions.
    #[arg(long, env = "RIALTO_MASTER_REGION", value_name = "NAME", requires = "zone")]
    pub region: Option<String>,
    /// The zone within it.
    #[arg(long, env = "RIALTO_MASTER_ZONE", value_name = "NAME", requires = "region")]
    pub zone: Option<String>,
}

/// `rialto role`.
#[derive(Debug, Subcommand)]
pub enum Role {
    /// Set it, for a role and those below it.
    Set(RoleSet),
}

/// `rialto role set`.
#[derive(Debug, Args)]
pub struct RoleSet {
    /// The role.
    #[arg(value_name = "ROLE")]
    pub role: String,
    /// How its frameworks are made offers, whatever they ask for themselves.
    #[arg(long, value_enum, value_name = "MODE")]
    pub offer_mode: RoleOfferMode,
    /// How to reach the master.
    #[command(flatten)]
    pub connect: Connect,
}

/// How the frameworks of a role are made offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RoleOfferMode {
    /// Offers lock nothing and are judged when they are accepted.
    Optimistic,
    /// Offers lock what they offer.
    Exclusive,
    /// As each framework asks for itself, or as the role above says.
    Default,
}

/// Where a registry lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Store {
    /// In a file in the work dir.
    Redb,
    /// In memory: it ends with the process.
    Memory,
}

/// `rialto agent`.
#[derive(Debug, Args)]
pub struct Agent {
    /// Where its id, its journal and the sandboxes are kept.
    #[arg(long, env = "RIALTO_AGENT_WORK_DIR", default_value = "rialto-agent", value_name = "DIR")]
    pub work_dir: PathBuf,
    /// Its name, for people; the host's name by default.
    #[arg(long, env = "RIALTO_AGENT_NAME", value_name = "NAME")]
    pub name: Option<String>,
    /// What to offer instead of what is detected, such as "cpus:4;mem:8192;ports:[31000-32000]".
    #[arg(long, env = "RIALTO_RESOURCES", value_name = "LIST")]
    pub resources: Option<String>,
    /// What it is like, NAME=VALUE; for constraints. May be repeated. host=… is the name by which its tasks' ports are reached; the
    /// machine's name by default.
    #[arg(long = "attribute", env = "RIALTO_ATTRIBUTES", value_name = "NAME=VALUE", value_delimiter = ';')]
    pub attributes: Vec<String>,
    /// The region that it is in.
    #[arg(long, env = "RIALTO_REGION", value_name = "NAME", requires = "zone")]
    pub region: Option<String>,
    /// The zone within it.
    #[arg(long, env = "RIALTO_ZONE", value_name = "NAME", requires = "region")]
    pub zone: Option<String>,
    /// Where its devices come from: nvml, "cdi:vendor.com/class", "glob:/dev/ttyUSB*,kind=dongle", "plugin:/run/x.sock", or
    /// "fake:gpu,model=T4,memory=16GiB,count=2". May be repeated.
    #[arg(long = "device-source", env = "RIALTO_DEVICE_SOURCES", value_name = "SPEC", value_delimiter = ';')]
    pub device_sources: Vec<String>,
    /// How tasks are kept apart: with cgroups, namespaces and device control (linux), as plain processes (process), or as far as the
    /// kernel and this user allow (auto).
    #[arg(long, env = "RIALTO_LAUNCHER", default_value = "auto", value_name = "KIND")]
    pub launcher: Launcher,
    /// Where cgroups are made, below the mount point of each hierarchy.
    #[arg(long, env = "RIALTO_CGROUP_ROOT", default_value = "rialto", value_name = "PATH")]
    pub cgroup_root: String,
    /// A seccomp profile in Docker's JSON format: which system calls tasks may make. Without one, all.
    #[arg(long, env = "RIALTO_SECCOMP_PROFILE", value_name = "FILE")]
    pub seccomp_profile: Option<PathBuf>,
    /// Give every task users of its own: its root is nobody outside. Not those with images or volumes.
    #[arg(long, env = "RIALTO_USER_NAMESPACES")]
    pub user_namespaces: bool,
    /// What runs tasks with an image: the agent's own supervisor (none), an installed OCI runtime (runc, crun, or the path of one), or the
    /// first of runc and crun that is installed (auto).
    #[arg(long, env = "RIALTO_OCI_RUNTIME", default_value = "none", value_name = "RUNTIME")]
    pub oci_runtime: rialto_agent::OciRuntime,
    /// Where CNI plug-ins are, for tasks with a network on a bridge; looked for in /usr/lib/cni and /opt/cni/bin.
    #[arg(long, env = "RIALTO_CNI_PLUGINS", value_name = "DIR")]
    pub cni_plugins: Option<PathBuf>,
    /// The addresses of those networks, the same for all agents of a machine.
    #[arg(long, env = "RIALTO_BRIDGE_SUBNET", default_value = rialto_agent::Options::BRIDGE_SUBNET, value_name = "A.B.C.D/N")]
    pub bridge_subnet: String,
    /// Show what tasks use there, at /metrics, in the Prometheus format and without a password. Loopback, unless --metrics-insecure.
    #[arg(long, env = "RIALTO_METRICS_LISTEN", value_name = "ADDR")]
    pub metrics_listen: Option<SocketAddr>,
    /// Show it on an address that others can reach too.
    #[arg(long, env = "RIALTO_METRICS_INSECURE", requires = "metrics_listen")]
    pub metrics_insecure: bool,
    /// How much of its cpus and memory is kept for tasks that hold its devices, in per cent; in equal parts for each device.
    #[arg(long, env = "RIALTO_DEVICE_HOST_SHARE", default_value_t = 0, value_name = "PERCENT", value_parser = clap::value_parser!(u16).range(0..=100))]
    pub device_host_share: u16,
    /// What may be fetched for tasks.
    #[command(flatten)]
    pub fetch: crate::fetch_args::Fetch,
    /// Waits so long after each fsync of the journal, as a slow disk would; for benchmarks.
    #[arg(long, hide = true, default_value_t = 0, value_name = "MS")]
    pub sync_delay_ms: u16,
    /// How to reach the master.
    #[command(flatten)]
    pub connect: Connect,
}

/// How an agent keeps tasks apart.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Launcher {
    /// As far as the kernel and this user allow; what is missing is said.
    Auto,
    /// With cgroups, namespaces and device control, or not at all.
    Linux,
    /// As plain processes.
    Process,
}

impl From<Launcher> for rialto_agent::LauncherKind {
    fn from(launcher: Launcher) -> Self {
        match launcher {
            Launcher::Auto => Self::Auto,
            Launcher::Linux => Self::Linux,
            Launcher::Process => Self::Process,
        }
    }
}

/// `rialto run`.
#[derive(Debug, Args)]
pub struct Run {
    /// Cores; 0.001 at least.
    #[arg(long, env = "RIALTO_RUN_CPUS", default_value = "0.1", value_name = "CORES")]
    pub cpus: String,
    /// Memory, in MiB.
    #[arg(long, env = "RIALTO_RUN_MEM", default_value = "64", value_name = "MIB")]
    pub mem: String,
    /// Disk, in MiB: what its sandbox may take; not limited without.
    #[arg(long, env = "RIALTO_RUN_DISK", value_name = "MIB")]
    pub disk: Option<String>,
    /// A device to hold, such as gpu, "2 gpu: memory >= 40GiB", "gpu: model == T4 | fpga". May be repeated.
    #[arg(long = "device", env = "RIALTO_RUN_DEVICES", value_name = "SELECTOR", value_delimiter = ';')]
    pub devices: Vec<String>,
    /// A persistent volume of its role to use. May be repeated.
    #[arg(long = "volume", value_name = "ID")]
    pub volumes: Vec<String>,
    /// A variable of the environment, NAME=VALUE. May be repeated.
    #[arg(long = "env", value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// The role to charge.
    #[arg(long, env = "RIALTO_ROLE", default_value = "*", value_name = "ROLE")]
    pub role: String,
    /// A name for people.
    #[arg(long, env = "RIALTO_RUN_NAME", value_name = "NAME")]
    pub name: Option<String>,
    /// How many to run.
    #[arg(long, env = "RIALTO_RUN_INSTANCES", default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub instances: u32,
    /// The priority of its tasks: within a role, those of higher priority may end those of lower.
    #[arg(long, env = "RIALTO_RUN_PRIORITY", default_value_t = 0, value_name = "N", allow_hyphen_values = true)]
    pub priority: i32,
    /// What the machine must be like, such as "zone == a".
    #[arg(long, env = "RIALTO_RUN_CONSTRAINT", default_value = "", value_name = "SELECTOR")]
    pub constraint: String,
    /// Send it what comes on standard input.
    #[arg(long, short, conflicts_with = "instances")]
    pub interactive: bool,
    /// Give it a terminal.
    #[arg(long, short, conflicts_with = "instances")]
    pub tty: bool,
    /// What it may use, and how it is kept apart.
    #[command(flatten)]
    pub containment: crate::run::containment::Containment,
    /// The command and its arguments.
    #[arg(trailing_var_arg = true, required = true, value_name = "CMD")]
    pub command: Vec<String>,
    /// How to reach the master.
    #[command(flatten)]
    pub connect: Connect,
}

/// `rialto ci`.
#[derive(Debug, Subcommand)]
pub enum Ci {
    /// Run a pipeline file against a commit; the exit code is the pipeline's.
    Run(CiRun),
}

/// `rialto ci run`.
#[derive(Debug, Args)]
pub struct CiRun {
    /// The pipeline file.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The repository: a path or a URL; the current folder by default.
    #[arg(long, env = "RIALTO_CI_REPO", default_value = ".", value_name = "PATH|URL")]
    pub repo: String,
    /// The branch, tag or commit.
    #[arg(long = "ref", env = "RIALTO_CI_REF", default_value = "HEAD", value_name = "REF")]
    pub reference: String,
    /// A variable, NAME=VALUE. May be repeated.
    #[arg(long = "var", value_name = "NAME=VALUE")]
    pub variables: Vec<String>,
    /// Start this manual job. May be repeated.
    #[arg(long = "play", value_name = "JOB")]
    pub play: Vec<String>,
    /// Only this job and what it needs. May be repeated.
    #[arg(long = "job", value_name = "JOB")]
    pub jobs: Vec<String>,
    /// Keep each job's artefacts here, as JOB.tar.
    #[arg(long, value_name = "DIR")]
    pub artifacts: Option<PathBuf>,
    /// How tasks reach the files that this program serves.
    #[command(flatten)]
    pub serve: Serve,
    /// The role to charge.
    #[arg(long, env = "RIALTO_ROLE", default_value = "*", value_name = "ROLE")]
    pub role: String,
    /// Print the plan and run nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// How to reach the master.
    #[command(flatten)]
    pub connect: Connect,
}

/// Where a framework that runs in the command serves its tasks' files.
#[derive(Clone, Debug, Args)]
pub struct Serve {
    /// Where to serve the tasks' files; agents on other machines need an address that they can reach.
    #[arg(long = "serve", env = "RIALTO_SERVE", default_value = "127.0.0.1:0", value_name = "ADDR")]
    pub listen: SocketAddr,
    /// The address by which agents reach it, if it is another: HOST or HOST:PORT.
    #[arg(long, env = "RIALTO_ADVERTISE", value_name = "HOST")]
    pub advertise: Option<String>,
}

/// `rialto analytics`.
#[derive(Debug, Subcommand)]
pub enum Analytics {
    /// Run a job file.
    Run(AnalyticsRun),
}

/// `rialto analytics run`.
#[derive(Debug, Args)]
pub struct AnalyticsRun {
    /// The job file.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// How tasks reach the files that this program serves.
    #[command(flatten)]
    pub serve: Serve,
    /// The role to charge.
    #[arg(long, env = "RIALTO_ROLE", default_value = "*", value_name = "ROLE")]
    pub role: String,
    /// How to reach the master.
    #[command(flatten)]
    pub connect: Connect,
}

/// `rialto web`.
#[derive(Debug, Subcommand)]
pub enum Web {
    /// Run the framework that keeps servers up.
    Serve(WebServe),
    /// Deploy an application and follow the roll-out.
    Deploy(WebDeploy),
    /// The applications, or the instances and endpoints of one.
    Status(WebStatus),
    /// Change the number of instances.
    Scale(WebScale),
    /// Restart every instance, a few at a time.
    Restart(WebApp),
    /// End an application.
    Remove(WebApp),
    /// A server that shows a page: what the example deploys.
    #[command(hide = true)]
    DemoServer(DemoServer),
}

/// `rialto web serve`.
#[derive(Debug, Args)]
pub struct WebServe {
    /// Where its own API listens.
    #[arg(long, env = "RIALTO_WEB_LISTEN", default_value = "127.0.0.1:7071", value_name = "ADDR")]
    pub listen: SocketAddr,
    /// Where its state is kept.
    #[arg(long, env = "RIALTO_WEB_WORK_DIR", default_value = "rialto-web", value_name = "DIR")]
    pub work_dir: PathBuf,
    /// The role to charge.
    #[arg(long, env = "RIALTO_ROLE", default_value = "*", value_name = "ROLE")]
    pub role: String,
    /// How to reach the master.
    #[command(flatten)]
    pub connect: Connect,
}

/// `rialto web deploy`.
#[derive(Debug, Args)]
pub struct WebDeploy {
    /// The application file.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Return at once instead of following the roll-out.
    #[arg(long)]
    pub detach: bool,
    /// How to reach the master.
    #[command(flatten)]
    pub connect: Connect,
}

/// `rialto web status`.
#[derive(Debug, Args)]
pub struct WebStatus {
    /// The application; all of them without it.
    #[arg(value_name = "APP")]
    pub app: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// How to reach the master.
    #[command(flatten)]
    pub connect: Connect,
}

/// `rialto web scale`.
#[derive(Debug, Args)]
pub struct WebScale {
    /// The application.
    #[arg(value_name = "APP")]
    pub app: String,
    /// How many instances there are to be.
    #[arg(value_name = "INSTANCES")]
    pub instances: u32,
    /// How to reach the master.
    #[command(flatten)]
    pub connect: Connect,
}

/// One application.
#[derive(Debug, Args)]
pub struct WebApp {
    /// The application.
    #[arg(value_name = "APP")]
    pub app: String,
    /// How to reach the master.
    #[command(flatten)]
    pub connect: Connect,
}

/// `rialto web demo-server`.
#[derive(Debug, Args)]
pub struct DemoServer {
    /// Where to listen on loopback.
    #[arg(long, env = "PORT", value_name = "PORT")]
    pub port: u16,
    /// What it calls itself.
    #[arg(long, default_value = "v1", value_name = "TEXT")]
    pub version: String,
}

/// A list.
#[derive(Debug, Args)]
pub struct Query {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// How to reach the master.
    #[command(flatten)]
    pub connect: Connect,
}

/// `rialto tasks`.
#[derive(Debug, Args)]
pub struct TasksQuery {
    /// Only this framework's; an id, or the beginning of one.
    #[arg(long, value_name = "FRAMEWORK")]
    pub framework: Option<String>,
    /// Only those in this state, such as running.
    #[arg(long, value_name = "STATE")]
    pub state: Option<String>,
    /// At most so many, newest first.
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub limit: u32,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// How to reach the master.
    #[command(flatten)]
    pub connect: Connect,
}

/// `rialto logs`.
#[derive(Debug, Args)]
pub struct Logs {
    /// The task: its id, the beginning of it, FRAMEWORK/TASK, or last.
    #[arg(value_name = "TASK")]
    pub task: String,
    /// Go on until the task ends.
    #[arg(long, short)]
    pub follow: bool,
    /// What it wrote to stderr instead of stdout.
    #[arg(long)]
    pub stderr: bool,
    /// How to reach the master.
    #[command(flatten)]
    pub connect: Connect,
}

/// `rialto why`, `rialto when` and `rialto what-would-help`.
#[derive(Debug, Args)]
pub struct Why {
    /// A task that runs or waits, a framework, or last.
    #[arg(value_name = "TASK-OR-FRAMEWORK")]
    pub target: String,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// How to reach the master.
    #[command(flatten)]
    pub connect: Connect,
}

/// `rialto device`.
#[derive(Debug, Subcommand)]
pub enum Device {
    /// You have seen to a quarantined device: it is cleaned once more, and given out again if that succeeds.
    Clear(DeviceClear),
}

/// `rialto device clear`.
#[derive(Debug, Args)]
pub struct DeviceClear {
    /// Its agent: the id, the name, or the beginning of one.
    #[arg(value_name = "AGENT")]
    pub agent: String,
    /// The device's id, as rialto devices shows it.
    #[arg(value_name = "DEVICE")]
    pub device: String,
    /// How to reach the master.
    #[command(flatten)]
    pub connect: Connect,
}

/// `rialto quota`.
#[derive(Debug, Subcommand)]
pub enum Quota {
    /// Set a role's quota; what is not named stays as it is.
    Set(QuotaSet),
    /// The quotas that are set.
    Show(QuotaShow),
    /// Take a role's quota back.
    Remove(QuotaRemove),
}

/// `rialto quota set`.
#[derive(Debug, Args)]
pub struct QuotaSet {
    /// The role; those below it are bounded with it.
    #[arg(value_name = "ROLE")]
    pub role: String,
    /// What it may hold at most, such as "cpus:10;mem:4096;gpu:2;gpu/T4:1"; "" means no bound.
    #[arg(long, value_name = "LIST")]
    pub limit: Option<String>,
    /// What is kept for it, in the same form.
    #[arg(long, value_name = "LIST")]
    pub guarantee: Option<String>,
    /// The priorities that its tasks may have.
    #[arg(long, value_name = "LOWEST..HIGHEST", allow_hyphen_values = true)]
    pub priorities: Option<String>,
    /// Also limits below what is held, and guarantees that the cluster does not have.
    #[arg(long)]
    pub force: bool,
    /// How to reach the master.
    #[command(flatten)]
    pub connect: Connect,
}

/// `rialto quota show`.
#[derive(Debug, Args)]
pub struct QuotaShow {
    /// The role; all of them without it.
    #[arg(value_name = "ROLE")]
    pub role: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// How to reach the master.
    #[command(flatten)]
    pub connect: Connect,
}

/// `rialto quota remove`.
#[derive(Debug, Args)]
pub struct QuotaRemove {
    /// The role.
    #[arg(value_name = "ROLE")]
    pub role: String,
    /// How to reach the master.
    #[command(flatten)]
    pub connect: Connect,
}

/// `rialto weight`.
#[derive(Debug, Args)]
pub struct Weight {
    /// The role.
    #[arg(value_name = "ROLE")]
    pub role: String,
    /// Its weight, 0.001 to 1000; 1 is the default.
    #[arg(value_name = "WEIGHT")]
    pub weight: String,
    /// How to reach the master.
    #[command(flatten)]
    pub connect: Connect,
}

/// `rialto kill`.
#[derive(Debug, Args)]
pub struct Kill {
    /// The task: its id, the beginning of it, FRAMEWORK/TASK, or last.
    #[arg(value_name = "TASK")]
    pub task: String,
    /// How long it gets after SIGTERM, in seconds; what the task says by default.
    #[arg(long, value_name = "SECONDS")]
    pub grace: Option<u32>,
    /// How to reach the master.
    #[command(flatten)]
    pub connect: Connect,
}

/// `rialto bench`.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// A real master process, with emulated agents over real sockets.
    Master(BenchMaster),
    /// A real agent that runs real processes.
    Agent(BenchAgent),
    /// The allocator: whole rounds, single events and memory, beside the figures of Apache Mesos.
    Allocator(BenchAllocator),
}

/// `rialto bench allocator`.
#[derive(Debug, Args)]
pub struct BenchAllocator {
    /// How many agents there are.
    #[arg(long, default_value_t = 1_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub agents: u32,
    /// How many frameworks there are.
    #[arg(long, default_value_t = 50, value_name = "M", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub frameworks: u32,
    /// What is done with them.
    #[arg(long, default_value = "offer-all", value_name = "SHAPE")]
    pub shape: AllocatorShape,
    /// Frameworks take optimistic offers, which lock nothing; else exclusive ones, as in Mesos.
    #[arg(long)]
    pub optimistic: bool,
    /// Leave out what agents, offers and frameworks take of memory, which is measured on a cluster of its own.
    #[arg(long)]
    pub no_sizes: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// What `rialto bench allocator` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AllocatorShape {
    /// All agents join, and are offered.
    Add,
    /// All agents say that they have more than before, and are offered anew.
    Update,
    /// One round offers every agent.
    OfferAll,
    /// Every framework declines everything; then nothing changes.
    Decline,
    /// Nobody takes offers, then everybody does.
    Suppress,
    /// Each agent has a reservation with labels.
    Labels,
    /// Each framework has a role of its own with a quota.
    Quota,
    /// Each agent has volumes on reserved disk.
    Volumes,
}

/// `rialto bench master`.
#[derive(Debug, Args)]
pub struct BenchMaster {
    /// How many agents are emulated.
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub agents: u32,
    /// How many frameworks launch tasks.
    #[arg(long, default_value_t = 2, value_name = "M", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub frameworks: u32,
    /// For how long tasks are launched.
    #[arg(long, default_value_t = 10, value_name = "S", value_parser = clap::value_parser!(u32).range(1..=600))]
    pub seconds: u32,
    /// How many tasks each framework keeps in flight.
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(10..=100_000))]
    pub in_flight: u32,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `rialto bench agent`.
#[derive(Debug, Args)]
pub struct BenchAgent {
    /// How many short tasks are run.
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub tasks: u32,
    /// How many of them are in flight at once.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub in_flight: u32,
    /// How the agent keeps tasks apart.
    #[arg(long, default_value = "auto", value_name = "KIND")]
    pub launcher: Launcher,
    /// Makes each write of the agent to its disk take so much longer, as on a slow one.
    #[arg(long, default_value_t = 0, value_name = "MS", value_parser = clap::value_parser!(u16).range(0..=1_000))]
    pub fsync_delay_ms: u16,
    /// How many tasks sleep while the agent's memory and processor time are looked at.
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub idle_tasks: u32,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `rialto sim`.
#[derive(Debug, Subcommand)]
pub enum Sim {
    /// Run whole clusters under faults drawn from a seed.
    Faults(SimFaults),
    /// Replay tasks on the nodes of a GPU cluster and see how much can be given out.
    Fgd(crate::sim::args::SimFgd),
    /// Two frameworks of different speed on one cell, under several ways to share it.
    Twolevel(crate::sim::args::SimTwolevel),
    /// Answer what to buy, how much of it and when: run a scenario in virtual time.
    Run(crate::sim::args::SimRun),
    /// Hold the simulator against published results and closed forms; 1 if one of them does not come out.
    Validate(crate::sim::args::SimValidate),
}

/// `rialto sim faults`.
#[derive(Debug, Args)]
pub struct SimFaults {
    /// One seed.
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    pub seed: Option<u64>,
    /// Every seed from A up to, and without, B.
    #[arg(long, value_name = "A..B")]
    pub seeds: Option<String>,
    /// How much virtual time each seed gets before the faults end.
    #[arg(long, default_value_t = 10, value_name = "MINUTES")]
    pub minutes: u64,
    /// Leave a part of each plan out, as the story of a failure says: `agents=2,jobs=3,without=partition`.
    #[arg(long, value_name = "PARTS")]
    pub less: Option<rialto_sim::Less>,
    /// Print every message.
    #[arg(long)]
    pub trace: bool,
}

#[cfg(test)]
mod tests;
