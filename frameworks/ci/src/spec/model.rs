//! The pipeline as a scheduler runs it: rules evaluated, `parallel` expanded, names resolved.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::artifacts::ArtifactPaths;
use super::script::Script;
use super::variables::Variables;

/// A pipeline, ready to run. Its `Display` is a readable plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pipeline {
    /// Stage names in order, `.pre` first and `.post` last.
    pub stages: Vec<String>,
    /// Jobs in the order of the file, the instances of one `parallel` in a row. Never empty; the graph of `needs` has no circle.
    pub jobs: Vec<Job>,
}

/// One job, that is, one task to run once or, with retries, a few times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Unique in the pipeline: `build`, `build 2/3` or `build: [debian, x86]`.
    pub name: String,
    /// Index into [`Pipeline::stages`].
    pub stage: usize,
    /// The jobs that it waits for, in order and without repeats: those of `needs`, or all jobs of earlier stages.
    pub needs: Vec<Need>,
    /// Whether it waits for stages or for named jobs.
    pub order: Order,
    /// When it starts, once everything that it waits for has ended.
    pub when: When,
    /// Its commands.
    pub script: Arc<Script>,
    /// The environment of its commands, the predefined variables included.
    pub variables: Variables,
    /// What it hands on; `None` keeps nothing.
    pub artifacts: Option<Artifacts>,
    /// Whether and when it is tried again.
    pub retry: Retry,
    /// Whether the pipeline passes although it failed.
    pub allow_failure: AllowFailure,
    /// Seconds that one try may run.
    pub timeout_s: u64,
    /// What it asks of the machine.
    pub resources: Resources,
}

impl Job {
    /// Whether it waits for a user to start it.
    pub fn is_manual(&self) -> bool {
        self.when == When::Manual
    }
}

/// An edge of the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// Index into [`Pipeline::jobs`].
    pub job: usize,
    /// Whether that job's artefacts are put into the workspace.
    pub artifacts: Fetch,
}

/// What a job waits for. As in GitLab, it decides what a predecessor that did not run means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// All jobs of earlier stages. Those of them that did not run are passed over.
    Stages,
    /// The jobs that its `needs` name. One that did not run is missed.
    Needs,
}

/// Whether a predecessor's artefacts are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fetch {
    /// Put them into the workspace.
    Artifacts,
    /// Wait for the job only.
    Nothing,
}

/// When a job starts, judged once all jobs in its `needs` have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// If every one of them passed or was allowed to fail. After stages also if one of them did not run: it was not called for, or is a
    /// manual job that is allowed to fail and was not started.
    OnSuccess,
    /// If at least one of them failed and was not allowed to.
    OnFailure,
    /// In any case.
    Always,
    /// As `OnSuccess`, and only when a user starts it. It holds later jobs up unless it is allowed to fail.
    Manual,
}

/// Files that a job hands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifacts {
    /// What the archive is called; empty for the job's name.
    pub name: String,
    /// Which files.
    pub paths: ArtifactPaths,
    /// After which outcome they are kept.
    pub when: KeepWhen,
    /// How long they are kept.
    pub expire_in: ExpireIn,
}

/// After which outcome artefacts are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepWhen {
    /// The job passed.
    OnSuccess,
    /// The job failed.
    OnFailure,
    /// Either.
    Always,
}

/// How long artefacts are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpireIn {
    /// As long as the server's default says.
    Default,
    /// For ever.
    Never,
    /// This many seconds from the end of the job.
    Seconds(u64),
}

/// When a failed job is tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retry {
    /// Most tries after the first one.
    pub max: u32,
    /// Failures that are worth another try; with no exit codes either, every failure is.
    pub when: BTreeSet<Failure>,
    /// Exit statuses of the script that are worth another try.
    pub exit_codes: BTreeSet<i32>,
}

impl Retry {
    /// Whether this failure is worth another try, `max` left aside. `exit_code` is the script's, if it ran to an end.
    pub fn covers(&self, failure: Failure, exit_code: Option<i32>) -> bool {
        if self.when.is_empty() && self.exit_codes.is_empty() {
            return true;
        }
        self.when.contains(&Failure::Always)
            || self.when.contains(&failure)
            || exit_code.is_some_and(|code| self.exit_codes.contains(&code))
    }
}

/// Why a job failed, in GitLab's words; the later ones are understood so that files load, but nothing here fails that way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the variants are GitLab's keywords, one to one")]
pub enum Failure {
    /// Stands for every reason.
    Always,
    /// The script ended with a status other than zero.
    ScriptFailure,
    /// The machine or its agent was lost, or the task could not be started.
    RunnerSystemFailure,
    /// No machine was found in time, or the task made no progress.
    StuckOrTimeoutFailure,
    /// The job ran longer than its `timeout`.
    JobExecutionTimeout,
    /// Anything else.
    UnknownFailure,
    ApiFailure,
    RunnerUnsupported,
    StaleSchedule,
    ArchivedFailure,
    UnmetPrerequisites,
    SchedulerFailure,
    DataIntegrityFailure,
}

/// Which failures of a job the pipeline shrugs off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowFailure {
    /// None.
    No,
    /// All.
    Yes,
    /// Those where the script ended with one of these statuses.
    ExitCodes(BTreeSet<i32>),
}

impl AllowFailure {
    /// Whether a failure with this exit status of the script, if it ran to an end, is shrugged off.
    pub fn covers(&self, exit_code: Option<i32>) -> bool {
        match self {
            Self::No => false,
            Self::Yes => true,
            Self::ExitCodes(codes) => exit_code.is_some_and(|code| codes.contains(&code)),
        }
    }
}

/// What a job asks of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resources {
    /// Thousandths of a core.
    pub cpus_milli: u64,
    /// Memory in MiB.
    pub mem_mib: u64,
    /// Disk in MiB.
    pub disk_mib: u64,
    /// Device selectors, such as `gpu` or `2 gpu: memory >= 40GiB`, variables expanded.
    pub devices: Vec<String>,
}

impl Default for Resources {
    fn default() -> Self {
        Self { cpus_milli: 1_000, mem_mib: 512, disk_mib: 0, devices: Vec::new() }
    }
}

/// What the world around the file contributes to a pipeline.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// Variables such as `CI_COMMIT_SHA` that describe the run; the file's own win over them.
    pub predefined: Variables,
    /// Variables that the user gave for this run; they win over everything.
    pub given: Variables,
}

/// The jobs that wait for each job: `needs` turned round, by index.
pub fn successors(jobs: &[Job]) -> BTreeMap<usize, Vec<usize>> {
    let mut successors: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (index, job) in jobs.iter().enumerate() {
        for need in &job.needs {
            successors.entry(need.job).or_default().push(index);
        }
    }
    successors
}
