//! How a run stands, or stood at its end.

use std::sync::Arc;
use std::time::Duration;

use rialto_sdk::blobs::Digest;
use rialto_sdk::model::DeviceId;

use super::run::{JobRun, Outcome, State};
use crate::spec::{AllowFailure, Pipeline};

/// What became of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// As a whole.
    pub result: PipelineResult,
    /// Job by job, in the pipeline's order.
    pub jobs: Vec<JobSummary>,
}

/// What became of a pipeline as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PipelineResult {
    /// All that had to pass has passed.
    Passed,
    /// A job failed that may not.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// A manual job, which nobody started, holds others up.
    Blocked,
}

impl PipelineResult {
    /// The exit code of a program that ran the pipeline: 0 if it passed, else 1.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::Failed | Self::Cancelled | Self::Blocked => 1,
        }
    }

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Blocked => "blocked",
        }
    }
}

/// What became of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSummary {
    /// Its name.
    pub name: String,
    /// Its stage.
    pub stage: String,
    /// Where it stands.
    pub state: JobState,
    /// Why, for people, if it failed.
    pub message: Option<String>,
    /// How many tasks it had.
    pub attempts: u32,
    /// How long its last task ran.
    pub duration: Option<Duration>,
    /// The machine of its last task.
    pub agent: Option<Arc<str>>,
    /// The devices of its last task.
    pub devices: Vec<DeviceId>,
    /// What it hands on, a tar archive in the store.
    pub artifacts: Option<Digest>,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// It waits for other jobs.
    Pending,
    /// It waits for a user.
    Manual,
    /// It waits for a machine.
    Ready,
    /// It has a machine.
    Running,
    /// Its script succeeded.
    Passed,
    /// It failed.
    Failed,
    /// It failed, and may.
    FailedAllowed,
    /// It will not start.
    Skipped,
    /// It was cancelled.
    Cancelled,
}

impl JobState {
    /// The words for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "not started",
            Self::Manual => "manual",
            Self::Ready => "waiting",
            Self::Running => "running",
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::FailedAllowed => "failed (allowed)",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }
}

pub(super) fn summary(pipeline: &Pipeline, runs: &[JobRun], is_cancelled: bool) -> Summary {
    let jobs: Vec<JobSummary> = pipeline
        .jobs
        .iter()
        .zip(runs)
        .map(|(job, run)| job_summary(&job.name, &pipeline.stages[job.stage], run))
        .collect();
    let has = |state: JobState| jobs.iter().any(|job| job.state == state);
    let holds_up =
        |(job, run): (&crate::spec::Job, &JobRun)| run.state == State::Manual && job.allow_failure != AllowFailure::Yes;
    let result = if is_cancelled {
        PipelineResult::Cancelled
    } else if has(JobState::Failed) || has(JobState::Cancelled) {
        PipelineResult::Failed
    } else if pipeline.jobs.iter().zip(runs).any(holds_up) {
        PipelineResult::Blocked
    } else {
        PipelineResult::Passed
    };
    Summary { result, jobs }
}

fn job_summary(name: &str, stage: &str, run: &JobRun) -> JobSummary {
    let attempt = run.attempt.as_ref();
    let message = match &run.state {
        State::Done(Outcome::Failed { fault, .. }) => Some(fault.message.clone()),
        _ => None,
    };
    JobSummary {
        name: name.to_owned(),
        stage: stage.to_owned(),
        state: job_state(&run.state),
        message,
        attempts: run.attempts,
        duration: attempt.and_then(|attempt| Some(attempt.ended?.since(attempt.started.unwrap_or(attempt.launched)))),
        agent: attempt.map(|attempt| attempt.agent_name.clone()),
        devices: attempt.map(|attempt| attempt.devices.clone()).unwrap_or_default(),
        artifacts: run.artifacts,
    }
}

fn job_state(state: &State) -> JobState {
    match state {
        State::Pending => JobState::Pending,
        State::Manual => JobState::Manual,
        State::Ready(_) => JobState::Ready,
        State::Launched | State::Ending { .. } => JobState::Running,
        State::Done(Outcome::Passed) => JobState::Passed,
        State::Done(Outcome::Failed { allowed: true, .. }) => JobState::FailedAllowed,
        State::Done(Outcome::Failed { .. }) => JobState::Failed,
        State::Done(Outcome::Skipped) => JobState::Skipped,
        State::Done(Outcome::Cancelled) => JobState::Cancelled,
    }
}
