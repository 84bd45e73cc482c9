//! The command lines of `rialto sim` that ask the market of the simulator.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rialto_sim::fgd::GpuPolicy;
use rialto_sim::twolevel::Model;

/// `rialto sim fgd`.
#[derive(Debug, Args)]
pub struct SimFgd {
    /// The nodes: a CSV file with the columns sn, cpu_milli, memory_mib, gpu and model.
    #[arg(long, value_name = "FILE")]
    pub nodes: PathBuf,
    /// The tasks: a CSV file with the columns name, cpu_milli, memory_mib, num_gpu, gpu_milli and, optionally, gpu_spec.
    #[arg(long, value_name = "FILE")]
    pub pods: PathBuf,
    /// How places are chosen: fgd, bestfit, packing, clustering, dotprod or random.
    #[arg(long, default_value_t = GpuPolicy::Fgd, value_name = "POLICY")]
    pub policy: GpuPolicy,
    /// How many random orders of arrival are tried.
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub seeds: u64,
    /// How many nodes a framework is offered at once; without it all that are free.
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub offer_nodes: Option<u32>,
    /// How many frameworks take turns to place the tasks.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub frameworks: u32,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `rialto sim run`.
#[derive(Debug, Args)]
pub struct SimRun {
    /// The scenario: fleet, work, what may be bought or rented, and the question.
    #[arg(value_name = "SCENARIO")]
    pub scenario: PathBuf,
    /// How many runs, each with other random numbers; without it as many as the scenario says.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub seeds: Option<u64>,
    /// Begin with this running cluster, HOST:PORT or a URL: its machines, what runs and waits there, its roles' weights and quotas.
    #[arg(long, value_name = "ADDR", conflicts_with = "snapshot")]
    pub from_cluster: Option<String>,
    /// The same with a file that rialto snapshot has written.
    #[arg(long, value_name = "FILE")]
    pub snapshot: Option<PathBuf>,
    /// How long tasks of the cluster run from now on that have not said how long, such as "2 days"; without it they don't end.
    #[arg(long, value_name = "SPAN", value_parser = crate::live::args::read_span)]
    pub run_time: Option<Duration>,
    /// A file with the token to present to the cluster.
    #[arg(long, env = "RIALTO_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// A certificate (PEM) that the cluster's master's is signed by.
    #[arg(long, env = "RIALTO_TLS_CA", value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// Where report.html, summary.json and the tables are written: waits.csv, waits_by_size.csv, queue.csv, pools.csv, utilisation.csv,
    /// orders.csv and costs.csv.
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Write a line for each job of the first run of the way that the answer is about; it reads back as a list of jobs.
    #[arg(long, value_name = "FILE")]
    pub jobs_csv: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `rialto sim twolevel`.
#[derive(Debug, Args)]
pub struct SimTwolevel {
    /// The jobs: a CSV file with the columns submit_s, workload, num_tasks, task_duration_s, cpus_per_task and mem_gb_per_task.
    #[arg(long, value_name = "FILE")]
    pub jobs: PathBuf,
    /// Whose way to share the cell: rialto, omega-mesos, omega-shared, monolithic or monolithic-multi.
    #[arg(long, default_value = "rialto", value_name = "MODEL")]
    pub model: Model,
    /// How long the service framework thinks about a job, in seconds.
    #[arg(long, default_value = "0.1", value_name = "S", value_parser = seconds)]
    pub t_job_service: f64,
    /// How many machines there are, of 4 cores and 16 GiB each.
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub machines: u32,
    /// What is random follows from it.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `rialto sim validate`.
#[derive(Debug, Args)]
pub struct SimValidate {
    /// Only this check, V1 to V15; may be given several times.
    #[arg(long, value_name = "ID")]
    pub only: Vec<String>,
    /// The folder of the public traces, with openb/, twolevel/ and hpc/; without it the checks that need them are not run.
    #[arg(long, value_name = "FOLDER", env = "RIALTO_TRACES")]
    pub traces: Option<PathBuf>,
    /// Ten seeds and long runs.
    #[arg(long, conflicts_with = "quick")]
    pub full: bool,
    /// What takes seconds: one seed and short runs.
    #[arg(long)]
    pub quick: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// From no time to a day.
fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.0..=86_400.0).contains(seconds));
    seconds.ok_or_else(|| "expected seconds from 0 to 86400".to_owned())
}
