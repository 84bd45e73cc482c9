//! `rialto ci run`: a pipeline file and a commit go in, live logs and a table come out.
//!
//! It serves the commit's files and the artefacts to the tasks, runs the [policy](crate::policy) as a framework of its own, follows the
//! logs of every job, and leaves the cluster when all is over.

mod logs;
mod options;
mod printer;
mod select;
mod table;
mod waits;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rialto_sdk::blobs::{BlobServer, BlobStore, Digest, Grant, Limits, Report, StoreError, TokenKey};
use rialto_sdk::model::{DeviceId, FrameworkId, TaskId, TaskKey};
use rialto_sdk::{Access, Commands, Framework, MasterClient};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use self::logs::Reader;
use self::printer::Printer;
use crate::git::{Checkout, WorkTree};
use crate::policy::{
    Blame, CiPolicy, Command, Contact, Effect, Io, Outcome, Setup, Summary, check_device, script_bytes,
};
use crate::spec::{Context, Pipeline, PipelineFile};

pub use self::options::{CiError, Colour, Output, RunOptions};

/// How long tasks live on while this program is out of the master's reach, or dead.
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(120);
/// How long the rest of a job's log is waited for once the job has ended.
const LOG_GRACE: Duration = Duration::from_secs(10);
/// How long leaving the cluster may take.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the master may take to say why a job waits.
const WHY_TIMEOUT: Duration = Duration::from_secs(5);

/// The pipeline that a run would run, and nothing more. Its `Display` is a readable plan.
///
/// # Errors
/// If the commit or the file can't be read, or the file or an option is not acceptable.
pub async fn plan(options: &RunOptions) -> Result<Pipeline, CiError> {
    let checkout = Checkout::of(&options.repository, &options.reference).await?;
    expand(options, &checkout).await
}

/// Runs a pipeline to its end. The first of `interrupts` cancels it, the second gives up at once.
///
/// # Errors
/// If the run can't start, the master refuses it for good, or it was given up. A pipeline that fails is no error.
pub async fn run_pipeline(
    options: RunOptions,
    access: Access,
    output: Output,
    mut interrupts: mpsc::Receiver<()>,
) -> Result<Summary, CiError> {
    let starting = start(&options, access, output);
    let mut run = tokio::select! {
        run = starting => run?,
        Some(()) = interrupts.recv() => return Err(CiError::GivenUp),
    };
    let (commands, printer) = (run.commands.clone(), run.printer.clone());
    let interrupted = async move {
        let Some(()) = interrupts.recv().await else { return std::future::pending().await };
        commands.send(Command::Cancel).await;
        // An output that nobody reads must not keep the second interrupt waiting.
        tokio::spawn(async move { printer.say("cancelling; once more to give up at once").await });
        let Some(()) = interrupts.recv().await else { return std::future::pending().await };
    };
    let summary = tokio::select! {
        summary = run.until_over() => summary,
        () = interrupted => None,
    };
    run.leave(&options, summary).await
}

/// What Ctrl-C and SIGTERM send, for [`run_pipeline`].
///
/// # Errors
/// If the system lets no signals be waited for.
///
/// # Panics
/// Outside of a Tokio runtime.
pub fn interrupts() -> std::io::Result<mpsc::Receiver<()>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        loop {
            let signalled = tokio::select! {
                signalled = interrupt.recv() => signalled,
                signalled = terminate.recv() => signalled,
            };
            if signalled.is_none() || sender.send(()).await.is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

async fn expand(options: &RunOptions, checkout: &Checkout) -> Result<Pipeline, CiError> {
    let bytes = tokio::fs::read(&options.file).await;
    let bytes = bytes.map_err(|error| CiError::File { path: options.file.clone(), error })?;
    let text = String::from_utf8(bytes).map_err(|_| CiError::NotText(options.file.clone()))?;
    let mut predefined = checkout.commit.variables();
    predefined.insert("CI_PIPELINE_SOURCE".to_owned(), "push".to_owned());
    let context = Context { predefined, given: options.variables.clone() };
    let file = PipelineFile::parse(&options.file.display().to_string(), &text)?;
    select::only(file.expand(&context, &check_device)?, &options.jobs)
}

/// A run that has started.
struct Run {
    pipeline: Arc<Pipeline>,
    printer: Printer,
    writing: JoinHandle<()>,
    client: MasterClient,
    id: Option<FrameworkId>,
    framework: Framework<Command>,
    commands: Commands<Command>,
    effects: mpsc::UnboundedReceiver<Effect>,
    /// What was begun last for each job: a log that is read, or a line that waits for its end. One comes after the other.
    steps: BTreeMap<usize, JoinHandle<()>>,
    /// Answers that are waited for.
    questions: JoinSet<()>,
    store: Arc<BlobStore>,
    _server: BlobServer,
    forwarding: JoinHandle<()>,
    _folder: TempDir,
}

async fn start(options: &RunOptions, access: Access, output: Output) -> Result<Run, CiError> {
    let is_far = !is_loopback(&access) && options.serve.listen.ip().is_loopback() && options.serve.advertise.is_none();
    let client = MasterClient::connect(access.clone()).await?;
    let checkout = Checkout::of(&options.repository, &options.reference).await?;
    let pipeline = Arc::new(expand(options, &checkout).await?);
    let play = select::manual(&pipeline, &options.play)?;
    let folder = TempDir::with_prefix("rialto-ci-").map_err(CiError::Temporary)?;
    let store = Arc::new(BlobStore::open(folder.path(), Limits::default())?);
    let source = checkout.archive(&store).await?.digest;
    put_scripts(&pipeline, &store).await?;

    let (reports_in, reports) = mpsc::channel(64);
    let server = BlobServer::start(&options.serve, store.clone(), reports_in).await?;
    let key = TokenKey::generate()?;
    let io = Io { url: server.url().to_owned(), key: key.clone(), source };
    let policy = CiPolicy::new(pipeline.clone(), Setup { role: options.role.clone(), play, io })?;
    let (framework, effects) = start_framework(options, access, policy, &server, key)?;

    let (printer, writing) = Printer::start(output, &pipeline);
    greet(&printer, &checkout, &pipeline).await;
    if is_far {
        printer
            .say("agents on other machines can't reach the files of this run: give it an address to serve them at")
            .await;
    }
    let forwarding = tokio::spawn(forward(reports, framework.commands()));
    Ok(Run {
        printer,
        writing,
        client,
        id: None,
        commands: framework.commands(),
        framework,
        effects,
        steps: BTreeMap::new(),
        questions: JoinSet::new(),
        store,
        _server: server,
        forwarding,
        _folder: folder,
        pipeline,
    })
}

fn is_loopback(access: &Access) -> bool {
    let address = access.address().to_string();
    let host = address.split_once("://").map_or(address.as_str(), |(_, host)| host);
    host.starts_with("localhost:") || host.starts_with("127.") || host.starts_with("[::1]")
}

async fn put_scripts(pipeline: &Arc<Pipeline>, store: &Arc<BlobStore>) -> Result<(), CiError> {
    let (pipeline, store) = (pipeline.clone(), store.clone());
    let put = tokio::task::spawn_blocking(move || -> Result<(), StoreError> {
        for job in &pipeline.jobs {
            let mut writer = store.writer()?;
            writer.write(&script_bytes(job))?;
            writer.finish(None)?;
        }
        Ok(())
    });
    Ok(put.await.map_err(|error| StoreError::Interrupted(error.to_string()))??)
}

/// Grants are made at once, for their tasks are about to start. All else is told to the shell; how much that can be is bounded by the
/// pipeline's jobs and their tries.
fn start_framework(
    options: &RunOptions,
    access: Access,
    policy: CiPolicy,
    server: &BlobServer,
    key: TokenKey,
) -> Result<(Framework<Command>, mpsc::UnboundedReceiver<Effect>), CiError> {
    let (sender, effects) = mpsc::unbounded_channel();
    let grants = server.grants().clone();
    let mut how = rialto_sdk::Options::new(access, "ci", [options.role.clone()]);
    how.info.failover_timeout = FAILOVER_TIMEOUT;
    how.info.labels.insert(Arc::from("pipeline"), Arc::from(options.file.display().to_string()));
    let perform = move |effect| match effect {
        Effect::Grant { task, manifest } => {
            let grant = Grant { task: task.to_string(), manifest, upload_limit: Limits::default().blob };
            grants.grant(&key.token(task.as_str()), grant);
        }
        Effect::Revoke(task) => grants.revoke(&key.token(task.as_str())),
        // The shell is gone only when the run is over.
        effect => drop(sender.send(effect)),
    };
    Ok((rialto_sdk::start(how, |_| Ok(policy), perform)?, effects))
}

/// Tells the policy what tasks have uploaded. Never waits for a terminal, as the shell may.
async fn forward(mut reports: mpsc::Receiver<Report>, commands: Commands<Command>) {
    while let Some(report) = reports.recv().await {
        let Ok(task) = TaskId::new(&report.task) else { continue };
        commands.send(Command::Uploaded { task, outputs: report.outputs }).await;
    }
}

async fn greet(printer: &Printer, checkout: &Checkout, pipeline: &Pipeline) {
    let commit = &checkout.commit;
    let short: String = commit.sha.chars().take(8).collect();
    let title: String = commit.message.lines().next().unwrap_or_default().chars().take(60).collect();
    printer.say(&format!("{} at {short} ({title}): {} jobs", commit.project, pipeline.jobs.len())).await;
    if commit.work_tree == WorkTree::Changed {
        printer.say("the work tree has changes that are not committed; they take no part").await;
    }
}

impl Run {
    /// Handles what happens until the policy has summed up. `None` if the framework has ended before.
    async fn until_over(&mut self) -> Option<Summary> {
        while let Some(effect) = self.effects.recv().await {
            if let Effect::Finished(summary) = effect {
                self.questions.abort_all();
                for step in std::mem::take(&mut self.steps).into_values() {
                    finished(step).await;
                }
                return Some(summary);
            }
            self.show(effect).await;
        }
        None
    }

    async fn show(&mut self, effect: Effect) {
        match effect {
            Effect::Subscribed(id) => self.id = Some(id),
            Effect::Disconnected => self.printer.say("the master is out of reach; jobs run on").await,
            Effect::Refused(reject) => self.printer.say(&format!("the master refuses the pipeline: {reject}")).await,
            Effect::JobManual { job } => self.printer.note(job, "waits for a user (--play)").await,
            Effect::JobWaiting { job, .. } => self.explain(job),
            Effect::JobLaunched { job, attempt, agent, devices, .. } => {
                let again = if attempt > 1 { format!("attempt {attempt}, ") } else { String::new() };
                let devices: Vec<&str> = devices.iter().map(DeviceId::as_str).collect();
                let with = if devices.is_empty() { String::new() } else { format!(" with {}", devices.join(", ")) };
                self.note_in_turn(job, format!("{again}on {agent}{with}"));
            }
            Effect::JobStarted { job, task } => self.follow(job, task),
            Effect::Contact { job, contact: Contact::Lost } => {
                self.printer.note(job, "its agent is out of reach").await;
            }
            Effect::Contact { job, contact: Contact::Back } => self.printer.note(job, "its agent is back").await,
            Effect::JobRetried { job, fault, blame } => {
                let whose = if blame == Blame::Cluster { "the cluster's fault" } else { "a retry is used" };
                self.note_in_turn(job, format!("failed, will be tried again ({whose}): {}", fault.message));
            }
            Effect::JobEnded { job, outcome } => self.note_in_turn(job, outcome_text(&outcome)),
            // These two were handled on the way here, and the last one is by the caller.
            Effect::Grant { .. } | Effect::Revoke(_) | Effect::Finished(_) => {}
        }
    }

    fn follow(&mut self, job: usize, task: TaskId) {
        let Some(framework) = self.id else { return };
        let task = TaskKey::new(framework, task);
        let reader = Reader { client: self.client.clone(), printer: self.printer.clone(), job, task };
        let before = self.steps.remove(&job);
        let step = tokio::spawn(async move {
            if let Some(before) = before {
                finished(before).await;
            }
            reader.read().await;
        });
        self.steps.insert(job, step);
    }

    /// Prints a line about a job once the log before it has been printed.
    fn note_in_turn(&mut self, job: usize, text: String) {
        let (before, printer) = (self.steps.remove(&job), self.printer.clone());
        let step = tokio::spawn(async move {
            if let Some(mut before) = before
                && tokio::time::timeout(LOG_GRACE, &mut before).await.is_err()
            {
                before.abort();
                printer.note(job, "the rest of its log did not come in time").await;
            }
            printer.note(job, &text).await;
        });
        self.steps.insert(job, step);
    }

    /// Asks the master why a job waits, and prints the answer.
    fn explain(&mut self, job: usize) {
        let Some(id) = self.id else { return };
        let (client, printer, name) = (self.client.clone(), self.printer.clone(), self.pipeline.jobs[job].name.clone());
        self.questions.spawn(async move {
            let why = tokio::time::timeout(WHY_TIMEOUT, waits::why(&client, id, &name)).await;
            let why = why.unwrap_or_else(|_| "the master does not say why in time".to_owned());
            printer.note(job, &format!("waits for a machine: {why}")).await;
        });
    }

    async fn leave(self, options: &RunOptions, summary: Option<Summary>) -> Result<Summary, CiError> {
        self.commands.send(Command::Leave).await;
        let Self { framework, printer, writing, steps, questions, store, forwarding, .. } = self;
        forwarding.abort();
        steps.into_values().for_each(|step| step.abort());
        drop(questions);
        if let (Some(summary), Some(folder)) = (&summary, &options.artifacts) {
            export(summary, &store, folder).await?;
        }
        if let Some(summary) = &summary {
            printer.raw(table::table(summary).into_bytes()).await;
        }
        drop((printer, self.commands));
        let ended = tokio::time::timeout(LEAVE_TIMEOUT, framework.wait()).await;
        // What is still to be printed waits for whoever reads it; a reader that never reads does not hold a run up for ever.
        if tokio::time::timeout(LEAVE_TIMEOUT, writing).await.is_err() {
            tracing::warn!("the output does not take what is to be printed");
        }
        match (summary, ended) {
            (Some(summary), _) => Ok(summary),
            (None, Ok(Err(error))) => Err(CiError::Framework(error)),
            (None, _) => Err(CiError::GivenUp),
        }
    }
}

async fn finished(step: JoinHandle<()>) {
    if let Err(error) = step.await {
        tracing::warn!(%error, "a log was not read to its end");
    }
}

fn outcome_text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Passed => "passed".to_owned(),
        Outcome::Failed { fault, allowed: true } => format!("failed, as it may: {}", fault.message),
        Outcome::Failed { fault, .. } => format!("failed: {}", fault.message),
        Outcome::Skipped => "skipped".to_owned(),
        Outcome::Cancelled => "cancelled".to_owned(),
    }
}

/// Copies every job's artefacts into `folder`, each as `JOB.tar`.
async fn export(summary: &Summary, store: &BlobStore, folder: &Path) -> Result<(), CiError> {
    let fail = |error| CiError::Artifacts { path: folder.to_owned(), error };
    tokio::fs::create_dir_all(folder).await.map_err(fail)?;
    let found = summary.jobs.iter().filter_map(|job| Some((&job.name, job.artifacts?)));
    for (name, digest) in found {
        let digest: Digest = digest;
        let Some(blob) = store.path(digest) else { continue };
        let name: String = name.chars().map(|c| if c == '/' || c.is_control() { '-' } else { c }).collect();
        tokio::fs::copy(blob, folder.join(format!("{name}.tar"))).await.map_err(fail)?;
    }
    Ok(())
}

#[cfg(test)]
#[expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the tests write files and catch what is printed"
)]
mod tests;
