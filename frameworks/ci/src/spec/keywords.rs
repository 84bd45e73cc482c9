//! The words of the file: those that are understood, and GitLab's that are not, with what to write instead.

use super::model::{Failure, KeepWhen};
use super::rules::JobWhen;

/// Top-level keys that are no jobs.
pub(crate) const GLOBAL: &[&str] = &["stages", "variables", "default"];

/// Global keywords of GitLab outside the subset.
pub(crate) const GLOBAL_UNSUPPORTED: &[(&str, &str)] = &[
    ("include", "; write the jobs into this file"),
    ("workflow", "; give the jobs `rules`"),
    ("image", "; jobs run in the agent's own environment"),
    ("services", ""),
    ("cache", ""),
    ("before_script", "; write it under `default`"),
    ("after_script", ""),
    ("types", "; write `stages`"),
    ("spec", ""),
    ("pages", "; write a job with `artifacts`"),
];

/// Keys of `default`.
pub(crate) const DEFAULT: &[&str] = &["before_script", "retry", "timeout", "artifacts", "resources"];

/// Keys of `default` in GitLab outside the subset.
pub(crate) const DEFAULT_UNSUPPORTED: &[(&str, &str)] = &[
    ("image", "; jobs run in the agent's own environment"),
    ("services", ""),
    ("cache", ""),
    ("after_script", ""),
    ("tags", "; write `resources`"),
    ("interruptible", ""),
    ("hooks", ""),
    ("id_tokens", ""),
];

/// Keys of a job.
pub(crate) const JOB: &[&str] = &[
    "stage",
    "script",
    "before_script",
    "variables",
    "needs",
    "dependencies",
    "parallel",
    "artifacts",
    "rules",
    "when",
    "allow_failure",
    "retry",
    "timeout",
    "resources",
    "extends",
];

/// Keys of a job in GitLab outside the subset.
pub(crate) const JOB_UNSUPPORTED: &[(&str, &str)] = &[
    ("after_script", "; use `trap … EXIT` in the script"),
    ("cache", ""),
    ("coverage", ""),
    ("environment", ""),
    ("except", "; write `rules`"),
    ("hooks", ""),
    ("id_tokens", ""),
    ("identity", ""),
    ("image", "; jobs run in the agent's own environment"),
    ("inherit", ""),
    ("interruptible", ""),
    ("only", "; write `rules`"),
    ("pages", ""),
    ("release", ""),
    ("resource_group", ""),
    ("run", "; write `script`"),
    ("secrets", ""),
    ("services", ""),
    ("start_in", ""),
    ("tags", "; write `resources`"),
    ("trigger", ""),
    ("type", "; write `stage`"),
];

/// Values of `when` of a job and of a rule.
pub(crate) const JOB_WHEN: &[(&str, JobWhen)] = &[
    ("on_success", JobWhen::OnSuccess),
    ("on_failure", JobWhen::OnFailure),
    ("always", JobWhen::Always),
    ("manual", JobWhen::Manual),
    ("never", JobWhen::Never),
];

/// Values of `artifacts: when`.
pub(crate) const KEEP_WHEN: &[(&str, KeepWhen)] =
    &[("on_success", KeepWhen::OnSuccess), ("on_failure", KeepWhen::OnFailure), ("always", KeepWhen::Always)];

/// Values of `retry: when`.
pub(crate) const FAILURES: &[(&str, Failure)] = &[
    ("always", Failure::Always),
    ("unknown_failure", Failure::UnknownFailure),
    ("script_failure", Failure::ScriptFailure),
    ("api_failure", Failure::ApiFailure),
    ("stuck_or_timeout_failure", Failure::StuckOrTimeoutFailure),
    ("runner_system_failure", Failure::RunnerSystemFailure),
    ("runner_unsupported", Failure::RunnerUnsupported),
    ("stale_schedule", Failure::StaleSchedule),
    ("job_execution_timeout", Failure::JobExecutionTimeout),
    ("archived_failure", Failure::ArchivedFailure),
    ("unmet_prerequisites", Failure::UnmetPrerequisites),
    ("scheduler_failure", Failure::SchedulerFailure),
    ("data_integrity_failure", Failure::DataIntegrityFailure),
];
