//! The table of all checks.

use super::CHECKS;
use super::check::{Row, Verdict};

/// What came of a validation.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The table.
    pub rows: Vec<Row>,
    /// The checks that were not run because they need traces, and which.
    pub passed_over: Vec<(&'static str, &'static str)>,
    /// For how many seconds each check kept a processor busy.
    pub costs: Vec<(&'static str, f64)>,
}

/// There is no such check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("--only: expected one of V1 to V15, got {0:?}")]
pub struct UnknownCheck(String);

/// The check that needs processes, and is made elsewhere.
const LIVE: &str = "V15";

/// That each of these is a check.
pub(super) fn known(only: &[String]) -> Result<(), UnknownCheck> {
    let is_known = |name: &&String| **name == LIVE || CHECKS.iter().any(|(id, _)| id == *name);
    only.iter().find(|name| !is_known(name)).map_or(Ok(()), |name| Err(UnknownCheck(name.clone())))
}

impl Report {
    /// How many rows did not come out.
    pub fn failed(&self) -> usize {
        self.rows.iter().filter(|row| row.verdict == Verdict::Fail).count()
    }
}
