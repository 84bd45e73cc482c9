use std::io;
use std::io::Write;
use std::path::PathBuf;

use rialto_sdk::blobs::{ServeError, ServeOptions, StoreError};
use rialto_sdk::model::{ClaimError, Role};
use rialto_sdk::{ClientError, RunError, StartError};

use crate::git::GitError;
use crate::spec::{SpecError, Variables};

/// What to run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The pipeline file.
    pub file: PathBuf,
    /// The repository: a folder or a URL.
    pub repository: String,
    /// The branch, tag or commit.
    pub reference: String,
    /// The role that is charged.
    pub role: Role,
    /// Variables for this run; they win over those of the file.
    pub variables: Variables,
    /// Only these jobs, and what they need; empty means all.
    pub jobs: Vec<String>,
    /// The manual jobs that are started.
    pub play: Vec<String>,
    /// Where files are served to the tasks.
    pub serve: ServeOptions,
    /// Where the artefacts are put when all is over.
    pub artifacts: Option<PathBuf>,
}

impl RunOptions {
    /// All jobs of `file`, for the present commit of the repository in the current folder.
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self {
            file: file.into(),
            repository: ".".to_owned(),
            reference: "HEAD".to_owned(),
            role: Role::any(),
            variables: Variables::new(),
            jobs: Vec::new(),
            play: Vec::new(),
            serve: ServeOptions::default(),
            artifacts: None,
        }
    }
}

/// Where progress and logs go.
pub struct Output {
    /// Takes the bytes; written to by a thread of its own.
    pub writer: Box<dyn Write + Send>,
    /// Whether names are coloured.
    pub colour: Colour,
}

/// Whether names are coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// For terminals.
    Yes,
    /// For files and pipes.
    No,
}

/// Why a pipeline could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum CiError {
    /// The pipeline file can't be read.
    #[error("{}: {error}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The pipeline file is no text.
    #[error("{}: expected UTF-8 text", .0.display())]
    NotText(PathBuf),
    /// The pipeline file is not acceptable.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A device selector is no claim.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// An option names a job that is not there.
    #[error("{option} {name:?}: expected one of the pipeline's {what}: {known}")]
    NoSuchJob {
        /// Which option.
        option: &'static str,
        /// What it names.
        name: String,
        /// What there could be.
        what: &'static str,
        /// What there is.
        known: String,
    },
    /// There is no such commit.
    #[error(transparent)]
    Git(#[from] GitError),
    /// No temporary folder can be made.
    #[error("temporary folder: {0}")]
    Temporary(io::Error),
    /// The store of files does not work.
    #[error("file store: {0}")]
    Store(#[from] StoreError),
    /// Files can't be served to the tasks.
    #[error("file store: {0}")]
    Serve(#[from] ServeError),
    /// The master can't be reached.
    #[error(transparent)]
    Master(#[from] ClientError),
    /// The framework can't start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The framework has failed.
    #[error(transparent)]
    Framework(#[from] RunError),
    /// The artefacts can't be put where they should be.
    #[error("artefacts to {}: {error}", path.display())]
    Artifacts {
        /// Where.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The user gave up.
    #[error("given up; what still runs is killed")]
    GivenUp,
}

impl CiError {
    /// Whether what the user gave is not acceptable: file, commit, or an option.
    pub const fn is_bad_input(&self) -> bool {
        match self {
            Self::File { .. } | Self::NotText(_) | Self::Spec(_) | Self::Claim(_) | Self::NoSuchJob { .. } => true,
            Self::Git(error) => {
                matches!(error, GitError::NoRepository(_) | GitError::BadName(_) | GitError::NoCommit { .. })
            }
            _ => false,
        }
    }
}
