//! What can be wrong with a scenario.

use std::path::{Path, PathBuf};

use crate::input::InputError;

/// Why a scenario can't be run.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// A line of the scenario is broken.
    #[error("{}:{line}: {what}", file.display())]
    Line {
        /// The scenario.
        file: PathBuf,
        /// Which line, counted from 1.
        line: usize,
        /// The field, what was expected and what is there.
        what: String,
    },
    /// The scenario can't be read.
    #[error("{}: {error}", file.display())]
    Unreadable {
        /// The scenario.
        file: PathBuf,
        /// What is wrong.
        error: std::io::Error,
    },
    /// A file that it names is broken.
    #[error("{0}")]
    Input(#[from] InputError),
}

impl ScenarioError {
    pub(super) fn at(line: usize, what: impl Into<String>) -> Self {
        Self::Line { file: PathBuf::new(), line, what: what.into() }
    }

    /// The same, of `scenario`.
    pub(super) fn of(self, scenario: &Path) -> Self {
        match self {
            Self::Line { line, what, .. } => Self::Line { file: scenario.to_owned(), line, what },
            other => other,
        }
    }
}
