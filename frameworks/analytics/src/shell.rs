//! Runs a job: reads the file, serves the store, hands the policy to the SDK, writes the result.

#![expect(clippy::disallowed_types, reason = "the shell moves the bytes that the policy decides about")]

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rialto_sdk::blobs::{
    BlobServer, BlobStore, Digest, Grants, Limits, Report, ServeError, ServeOptions, StoreError, TokenKey,
};
use rialto_sdk::core::model::{FrameworkId, Role};
use rialto_sdk::{Access, ClientError, Commands, FrameworkEnd, MasterClient, Options, RunError, StartError};
use tokio::sync::{mpsc, oneshot};

use crate::files::{self, FilesError};
use crate::plan::{Plan, PlanError};
use crate::policy::{Command, Config, Effect, JobFailure, Policy, Progress};
use crate::spec::{self, Job, MAX_FILE_BYTES, SpecError};
use crate::why;

/// How many lines may wait to be printed; more are dropped, as later ones say more.
const MAX_LINES_WAITING: usize = 4096;
/// How long the master may take to confirm that the job is over.
const GOODBYE: Duration = Duration::from_secs(5);
/// How many reports may wait for the policy.
const MAX_REPORTS_WAITING: usize = 256;

/// How a job is run.
#[derive(Debug)]
pub struct JobOptions {
    /// How to reach the master.
    pub access: Access,
    /// The job file.
    pub file: PathBuf,
    /// The role that is charged.
    pub role: Role,
    /// Where the tasks reach the store that this process serves.
    pub serve: ServeOptions,
    /// How much the store takes.
    pub limits: Limits,
}

impl JobOptions {
    /// Runs `file`, with agents on this machine.
    pub fn new(access: Access, file: PathBuf) -> Self {
        Self { access, file, role: Role::any(), serve: ServeOptions::default(), limits: Limits::default() }
    }
}

/// What people see while a job runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobLine {
    /// The job has been planned: each stage and how many partitions it has.
    Planned(Vec<(Arc<str>, u32)>),
    /// A stage has moved.
    Progress(Progress),
    /// Something worth knowing.
    Note(String),
}

impl std::fmt::Display for JobLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Planned(stages) => {
                let stages: Vec<String> = stages.iter().map(|(name, count)| format!("{name} ({count})")).collect();
                write!(f, "planned: {}", stages.join(", "))
            }
            Self::Progress(Progress { stage, total, done, running }) => {
                write!(f, "stage {stage}  {done}/{total} done, {running} running")
            }
            Self::Note(text) => f.write_str(text),
        }
    }
}

/// What a job has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSummary {
    /// The job's name.
    pub name: Arc<str>,
    /// Where the result is.
    pub result: PathBuf,
    /// How large it is, in bytes.
    pub bytes: u64,
    /// The stages and how many partitions each had.
    pub stages: Vec<(Arc<str>, u32)>,
}

/// Why a job has no result.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// A file can't be read or written.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The job file is larger than one may be.
    #[error("{0}: expected a job file of at most {MAX_FILE_BYTES} bytes")]
    TooLarge(PathBuf),
    /// The job file is not acceptable.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// Its files can't be used.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// It can't be planned.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The store can't be used.
    #[error("store: {0}")]
    Store(#[from] StoreError),
    /// The store can't be served.
    #[error("store: {0}")]
    Serve(#[from] ServeError),
    /// The master can't be reached.
    #[error(transparent)]
    Master(#[from] ClientError),
    /// The framework can't start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The framework has failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The job has failed.
    #[error("job failed: {0}")]
    Failed(JobFailure),
    /// The framework was removed before the job was over.
    #[error("the framework of this job was removed from the cluster before the job was over")]
    Removed,
}

/// Runs a job to its end. `print` gets what people see; when `interrupt` is ready, the job is stopped and its tasks are killed.
pub async fn run_job(
    options: JobOptions,
    mut print: impl FnMut(&JobLine) + Send,
    interrupt: impl Future<Output = ()> + Send,
) -> Result<JobSummary, JobError> {
    let job = read_job(&options.file)?;
    let dir = options.file.parent().unwrap_or_else(|| Path::new("")).to_owned();
    let master = MasterClient::connect(options.access.clone()).await?;
    let scratch = tempfile::Builder::new().prefix("rialto-analytics-").tempdir().map_err(at(&std::env::temp_dir()))?;
    let store = Arc::new(BlobStore::open(scratch.path(), options.limits)?);
    let plan = plan(job, &dir, store.clone()).await?;
    let stages = plan.job.stages.iter().map(|stage| stage.name.clone()).zip(plan.partitions.iter().copied()).collect();
    print(&JobLine::Planned(stages));
    let (name, result_path) = (plan.job.name.clone(), dir.join(&*plan.job.result_path));
    let stages = plan.job.stages.iter().map(|stage| stage.name.clone()).zip(plan.partitions.iter().copied()).collect();
    let digests = run_plan(options, master, plan, store.clone(), &mut print, interrupt).await?;
    let bytes = write_result(&store, &digests, &result_path)?;
    Ok(JobSummary { name, result: result_path, bytes, stages })
}

fn read_job(path: &Path) -> Result<Job, JobError> {
    let size = fs::metadata(path).map_err(at(path))?.len();
    if size > MAX_FILE_BYTES {
        return Err(JobError::TooLarge(path.to_owned()));
    }
    let text = fs::read_to_string(path).map_err(at(path))?;
    Ok(spec::parse(&path.to_string_lossy(), &text)?)
}

async fn plan(job: Job, dir: &Path, store: Arc<BlobStore>) -> Result<Plan, JobError> {
    let dir = dir.to_owned();
    let importing = tokio::task::spawn_blocking(move || {
        let files = files::import(&job, &dir, &store)?;
        Ok(Plan::new(job, files)?)
    });
    importing.await.expect("reading files does not panic")
}

async fn run_plan(
    options: JobOptions,
    master: MasterClient,
    plan: Plan,
    store: Arc<BlobStore>,
    print: &mut (impl FnMut(&JobLine) + Send),
    interrupt: impl Future<Output = ()> + Send,
) -> Result<Vec<Digest>, JobError> {
    let (reports_in, reports) = mpsc::channel(MAX_REPORTS_WAITING);
    let server = BlobServer::start(&options.serve, store, reports_in).await?;
    let config = Config {
        role: options.role.clone(),
        store_url: Arc::from(server.url()),
        tokens: TokenKey::generate()?,
        upload_limit: options.limits.blob,
    };
    let (lines_in, mut lines) = mpsc::channel(MAX_LINES_WAITING);
    let (ended_in, mut ended) = oneshot::channel();
    let name = format!("analytics: {}", plan.job.name);
    if let Some(warning) = unreachable_store(&options.access.address().to_string(), server.url()) {
        print(&JobLine::Note(warning));
    }
    let sdk_options = Options::new(options.access, &name, [options.role]);
    let (waits_in, waits) = mpsc::channel(1);
    let effects = Effects { grants: server.grants().clone(), lines: lines_in, waits: waits_in, ended: Some(ended_in) };
    let policy = Policy::new(plan, config);
    let framework = rialto_sdk::start(sdk_options, move |_| Ok(policy), effects.into_fn())?;
    let commands = framework.commands();
    let forwarding =
        [tokio::spawn(forward(reports, commands.clone())), tokio::spawn(ask_why(waits, master, commands.clone()))];
    let mut running = std::pin::pin!(framework.wait());
    let mut interrupt = std::pin::pin!(interrupt);
    let mut interrupted = false;
    let outcome = loop {
        tokio::select! {
            Some(line) = lines.recv() => print(&line),
            () = &mut interrupt, if !interrupted => {
                interrupted = true;
                commands.send(Command::Interrupt).await;
            }
            outcome = &mut ended => break outcome.map_err(|_| JobError::Removed),
            end = &mut running => break ended.try_recv().map_err(|_| removed(end)),
        }
    };
    // The master hears that the job is over and kills what is left of it; one that is away will find out by itself.
    if tokio::time::timeout(GOODBYE, running).await.is_err() {
        tracing::warn!("the master did not confirm the end of the job");
    }
    forwarding.iter().for_each(tokio::task::JoinHandle::abort);
    while let Ok(line) = lines.try_recv() {
        print(&line);
    }
    outcome?.map_err(JobError::Failed)
}

fn removed(end: Result<FrameworkEnd, RunError>) -> JobError {
    match end {
        Ok(_) => JobError::Removed,
        Err(error) => JobError::Run(error),
    }
}

async fn forward(mut reports: mpsc::Receiver<Report>, commands: Commands<Command>) {
    while let Some(report) = reports.recv().await {
        if !commands.send(Command::Reported(report)).await {
            return;
        }
    }
}

/// Asks the master why the job waits, each time that the policy wonders.
async fn ask_why(mut waits: mpsc::Receiver<FrameworkId>, master: MasterClient, commands: Commands<Command>) {
    while let Some(framework) = waits.recv().await {
        if let Some(reason) = why::never_fits(&master, framework).await {
            commands.send(Command::NeverFits(reason)).await;
        }
    }
}

/// A warning, if the master is on another machine and the store is for this one alone.
fn unreachable_store(master: &str, store: &str) -> Option<String> {
    let is_local = |url: &str| {
        let host = url.rsplit_once("://").map_or(url, |(_, host)| host);
        ["127.", "localhost", "[::1]"].iter().any(|local| host.starts_with(local))
    };
    let text = || {
        format!(
            "the job's files are served at {store}, which agents on other machines can't reach; choose another address to listen on"
        )
    };
    (is_local(store) && !is_local(master)).then(text)
}

/// Carries out what the policy does to the outside.
struct Effects {
    grants: Grants,
    lines: mpsc::Sender<JobLine>,
    waits: mpsc::Sender<FrameworkId>,
    ended: Option<oneshot::Sender<Result<Vec<Digest>, JobFailure>>>,
}

impl Effects {
    fn into_fn(mut self) -> impl FnMut(Effect) + Send + 'static {
        move |effect| match effect {
            Effect::Grant(token, grant) => self.grants.grant(&token, grant),
            Effect::Revoke(token) => self.grants.revoke(&token),
            Effect::Progress(progress) => self.print(JobLine::Progress(progress)),
            Effect::Note(text) => self.print(JobLine::Note(text)),
            Effect::Waiting(framework) => {
                if self.waits.try_send(framework).is_err() {
                    tracing::debug!("the master is being asked already");
                }
            }
            Effect::Ended(outcome) => {
                // Nobody waits any more if the caller has given up; then nobody misses it.
                drop(self.ended.take().map(|ended| ended.send(outcome)));
            }
        }
    }

    fn print(&self, line: JobLine) {
        if let Err(error) = self.lines.try_send(line) {
            tracing::debug!(%error, "a line of progress was dropped");
        }
    }
}

/// Writes the blobs, one after the other, to `path`, which is there whole or not at all.
fn write_result(store: &BlobStore, digests: &[Digest], path: &Path) -> Result<u64, JobError> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(dir).map_err(at(dir))?;
    let mut file = tempfile::Builder::new()
        .prefix(".rialto-result-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(dir)
        .map_err(at(dir))?;
    let mut bytes = 0;
    for digest in digests {
        let blob = store
            .path(*digest)
            .ok_or_else(|| JobError::Io { path: path.to_owned(), error: io::ErrorKind::NotFound.into() })?;
        bytes += io::copy(&mut File::open(&blob).map_err(at(&blob))?, &mut file).map_err(at(path))?;
    }
    file.flush().map_err(at(path))?;
    file.persist(path).map_err(|failed| JobError::Io { path: path.to_owned(), error: failed.error })?;
    Ok(bytes)
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> JobError {
    let path = path.to_owned();
    move |error| JobError::Io { path, error }
}

#[cfg(test)]
mod tests;
