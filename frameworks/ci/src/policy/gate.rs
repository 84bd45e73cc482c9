//! Whether a pending job may start, from what became of the jobs that it waits for.

use super::run::{JobRun, Outcome, State};
use crate::spec::{AllowFailure, Order, Pipeline, When};

/// What is to be done with a pending job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Something that it waits for has not settled.
    Wait,
    Start,
    /// It will never start.
    Skip,
}

/// What one predecessor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    NotYet,
    /// Passed, or failed as it may.
    Good,
    Bad,
    /// Did not run.
    Absent,
    /// Will not run unless a user starts it, and need not.
    Optional,
}

pub(super) fn judge(pipeline: &Pipeline, runs: &[JobRun], job: usize) -> Verdict {
    let job = &pipeline.jobs[job];
    let is_strict = job.order == Order::Needs && matches!(job.when, When::OnSuccess | When::Manual);
    let (mut bad, mut absent) = (false, false);
    for need in &job.needs {
        match word(&pipeline.jobs[need.job].allow_failure, &runs[need.job].state) {
            Word::NotYet => return Verdict::Wait,
            // A user may still start it, and then the job that needs it goes on.
            Word::Optional if is_strict => return Verdict::Wait,
            Word::Good | Word::Optional => {}
            Word::Bad => bad = true,
            Word::Absent => absent = true,
        }
    }
    let start = match job.when {
        When::OnSuccess | When::Manual => !(bad || absent && is_strict),
        When::OnFailure => bad,
        When::Always => true,
    };
    if start { Verdict::Start } else { Verdict::Skip }
}

fn word(allow_failure: &AllowFailure, state: &State) -> Word {
    match state {
        State::Manual if *allow_failure == AllowFailure::Yes => Word::Optional,
        State::Pending | State::Manual | State::Ready(_) | State::Launched | State::Ending { .. } => Word::NotYet,
        State::Done(Outcome::Passed | Outcome::Failed { allowed: true, .. }) => Word::Good,
        State::Done(Outcome::Failed { .. } | Outcome::Cancelled) => Word::Bad,
        State::Done(Outcome::Skipped) => Word::Absent,
    }
}
