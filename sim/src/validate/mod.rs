//! `rialto sim validate`: what must come out of the simulator, held against published results and closed forms.
//!
//! A `Check` is a row or several of the table: what must come out, what came out, how far it may be off. Each consists
//! of parts that know nothing of each other, so that all parts of all checks run on as many threads as there are cores; what they found
//! is judged at the end, in order. What is random follows from seeds, so the table is the same every time, but for the processor time
//! that one check measures.
//!
//! Everything but the models of other systems is the production master and drivers around a policy. Where that policy is the SDK's
//! placement library behind a scenario, the check goes through the planner, [`planning`](crate::planning), itself.

mod cells;
mod check;
mod fairness;
pub(crate) mod fgd;
mod locality;
mod logs;
mod queueing;
mod report;
mod scale;
mod steady;
pub mod twin;

use std::path::PathBuf;

use self::check::{Check, Part};
pub use self::check::{Row, Verdict};
pub use self::report::{Report, UnknownCheck};
use crate::InputError;

/// How much is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Seconds: one seed, short runs.
    Quick,
    /// Three seeds.
    Usual,
    /// Ten seeds, long runs.
    Full,
}

impl Effort {
    /// How many seeds that is.
    const fn seeds(self) -> u64 {
        match self {
            Self::Quick => 1,
            Self::Usual => 3,
            Self::Full => 10,
        }
    }
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder of the public traces; checks that need them are not run without it.
    pub traces: Option<PathBuf>,
    /// The ids of the checks to run; all, if none is named.
    pub only: Vec<String>,
    /// How much is run.
    pub effort: Effort,
    /// On how many threads.
    pub threads: usize,
}

/// Something that goes wrong before anything is run.
#[derive(Debug, thiserror::Error)]
pub enum ValidateError {
    /// There is no such check.
    #[error(transparent)]
    Unknown(#[from] UnknownCheck),
    /// A trace is not there or broken.
    #[error(transparent)]
    Trace(#[from] InputError),
    /// A check was asked for by name that needs traces.
    #[error("{0} needs the public traces: expected --traces FOLDER with {1}")]
    NoTraces(&'static str, &'static str),
}

/// The checks of this crate, and with what they begin in the folder of traces if they need it.
const CHECKS: [(&str, Option<&str>); 14] = [
    ("V1", Some("openb/")),
    ("V2", Some("openb/")),
    ("V3", Some("openb/")),
    ("V4", Some("openb/")),
    ("V5", Some("openb/")),
    ("V6", Some("twolevel/")),
    ("V7", Some("twolevel/")),
    ("V8", Some("twolevel/")),
    ("V9", None),
    ("V10", None),
    ("V11", None),
    ("V12", None),
    ("V13", Some("hpc/")),
    ("V14", None),
];

/// Runs the checks; `progress` is told how many of how many parts are done.
///
/// # Errors
/// If a check is not known, or needs traces that are not there.
pub fn validate(options: &Options, progress: &(dyn Fn(usize, usize) + Sync)) -> Result<Report, ValidateError> {
    report::known(&options.only)?;
    let (mut ids, mut checks, mut passed_over) = (Vec::new(), Vec::new(), Vec::new());
    for (id, needs) in CHECKS {
        let is_named = options.only.iter().any(|only| only == id);
        if !options.only.is_empty() && !is_named {
            continue;
        }
        match (needs, &options.traces) {
            (Some(needs), None) if is_named => return Err(ValidateError::NoTraces(id, needs)),
            (Some(needs), None) => passed_over.push((id, needs)),
            _ => {
                ids.push(id);
                checks.push(check_of(id, options)?);
            }
        }
    }
    let (rows, costs): (Vec<_>, Vec<f64>) = check::run(checks, options.threads, progress).into_iter().unzip();
    Ok(Report { rows: rows.concat(), passed_over, costs: ids.into_iter().zip(costs).collect() })
}

fn check_of(id: &str, options: &Options) -> Result<Check, ValidateError> {
    let folder = options.traces.clone().unwrap_or_default();
    let effort = options.effort;
    Ok(match id {
        "V1" => fgd::empty_cluster(&folder, effort)?,
        "V2" => fgd::table(&folder, effort)?,
        "V3" => fgd::over_arrivals(&folder, effort)?,
        "V4" => fgd::ablation(&folder, effort)?,
        "V5" => fgd::through_offers(&folder, effort)?,
        "V6" => cells::models(&folder, effort)?,
        "V7" => cells::exclusive_offers(&folder, effort)?,
        "V8" => cells::real_master(&folder)?,
        "V9" => fairness::check(effort),
        "V10" => scale::check(effort),
        "V11" => locality::check(effort),
        "V12" => queueing::check(effort),
        "V13" => logs::check(&folder)?,
        _ => steady::check(effort),
    })
}

#[cfg(test)]
mod tests;
