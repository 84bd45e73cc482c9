//! What the end of a task means for its job.

use rialto_sdk::blobs::task_io::{FETCH_FAILED, UPLOAD_FAILED};
use rialto_sdk::model::{Exit, Reason, Status, TaskState};

use super::task::upload;
use crate::spec::{Failure, Job};

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// In GitLab's words, which `retry: when` uses.
    pub failure: Failure,
    /// The exit status of the script, if it ran to an end.
    pub exit_code: Option<i32>,
    /// For people.
    pub message: String,
}

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The job's: another try costs one of the user's retries.
    Job,
    /// The cluster's: another try costs none.
    Cluster,
    /// The job can't be run at all: there is no other try.
    Nobody,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Passed,
    /// Somebody wanted it so.
    Killed,
    Failed(Fault, Blame),
}

/// Whether the end of a task can be judged only with the report of its outputs, which may come a moment later.
pub(super) fn awaits_report(job: &Job, status: &Status) -> bool {
    let Some(code) = script_code(status) else { return false };
    let has_artifacts = job.artifacts.as_ref().is_some_and(|artifacts| upload(artifacts.when).applies(code));
    has_artifacts || matches!(code, FETCH_FAILED | UPLOAD_FAILED)
}

/// How the attempt ended; `reported` says whether the task has reported its outputs, which it does last.
pub(super) fn judge(status: &Status, reported: bool) -> End {
    if status.state == TaskState::Finished {
        return End::Passed;
    }
    let failed = |failure, blame| End::Failed(Fault { failure, exit_code: None, message: describe(status) }, blame);
    let reason = reason(status);
    let is_lost =
        matches!(status.state, TaskState::Lost | TaskState::Dropped | TaskState::Gone | TaskState::GoneByOperator);
    if is_lost || reason.is_some_and(Reason::is_infrastructure) {
        return failed(Failure::RunnerSystemFailure, Blame::Cluster);
    }
    match (status.state, reason) {
        (TaskState::Killed, None | Some(Reason::KillRequested)) => End::Killed,
        (TaskState::Error, _) | (_, Some(Reason::TaskInvalid)) => failed(Failure::RunnerSystemFailure, Blame::Nobody),
        (_, Some(Reason::MaxCompletionTime)) => failed(Failure::JobExecutionTimeout, Blame::Job),
        (_, Some(Reason::CommandNotStarted)) => failed(Failure::RunnerSystemFailure, Blame::Job),
        (_, Some(Reason::MemoryLimit | Reason::DiskLimit)) => failed(Failure::ScriptFailure, Blame::Job),
        (_, None | Some(Reason::CommandFailed)) => by_exit(status, reported),
        _ => failed(Failure::UnknownFailure, Blame::Job),
    }
}

/// How the attempt ended if its report did not come.
pub(super) fn judge_unreported(status: &Status) -> End {
    match judge(status, false) {
        End::Passed => {
            let message = "its artefacts did not arrive".to_owned();
            End::Failed(Fault { failure: Failure::RunnerSystemFailure, exit_code: None, message }, Blame::Cluster)
        }
        end => end,
    }
}

/// The wrapper around the script ends with statuses of its own if it fails; a script may use the same numbers, but then it reports.
fn by_exit(status: &Status, reported: bool) -> End {
    let fault = |failure, exit_code, message| Fault { failure, exit_code, message };
    match status.exit {
        Some(Exit::Code(FETCH_FAILED)) if !reported => {
            let message = "its files could not be fetched".to_owned();
            End::Failed(fault(Failure::RunnerSystemFailure, None, message), Blame::Cluster)
        }
        Some(Exit::Code(UPLOAD_FAILED)) if !reported => {
            let message = "its artefacts could not be uploaded".to_owned();
            End::Failed(fault(Failure::RunnerSystemFailure, None, message), Blame::Job)
        }
        Some(Exit::Code(code)) => {
            End::Failed(fault(Failure::ScriptFailure, Some(code), format!("exit code {code}")), Blame::Job)
        }
        Some(Exit::Signal(_)) | None => End::Failed(fault(Failure::ScriptFailure, None, describe(status)), Blame::Job),
    }
}

/// The exit status of the script, or of the wrapper around it, if it ran to an end by itself.
fn script_code(status: &Status) -> Option<i32> {
    match (status.state, reason(status), status.exit) {
        (TaskState::Finished, _, _) => Some(0),
        (TaskState::Failed, None | Some(Reason::CommandFailed), Some(Exit::Code(code))) => Some(code),
        _ => None,
    }
}

/// Why the state was entered; that it was asked for, or told again, says nothing about that.
fn reason(status: &Status) -> Option<Reason> {
    status.reason.filter(|reason| !matches!(reason, Reason::Reconciliation | Reason::AgentReregistered))
}

fn describe(status: &Status) -> String {
    let exit = status.exit.map(|exit| exit.to_string());
    let reason = status.reason.map(|reason| reason.as_str().to_lowercase().replace('_', " "));
    let message = Some(status.message.to_string()).filter(|message| !message.is_empty());
    let parts: Vec<String> = [message.or(reason), exit].into_iter().flatten().collect();
    if parts.is_empty() { status.state.to_string() } else { parts.join(": ") }
}
