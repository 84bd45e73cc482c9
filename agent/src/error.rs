use std::io;
use std::path::{Path, PathBuf};

use rialto_core::model::Reject;

/// Why an agent can't start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Another agent uses the folder.
    #[error("work directory {0} is in use by another agent")]
    InUse(PathBuf),
    /// Tasks can't be shown what lies there.
    #[error("work directory {0}: expected a folder that is not below /proc or /sys")]
    Unfit(PathBuf),
    /// A file or folder can't be made, read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The journal was written by something else, or by a later release.
    #[error("journal {path}: {message}")]
    Journal {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The master's address is not one.
    #[error("master address {address:?}: expected host:port or a URL with http or https ({message})")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it.
        message: String,
    },
    /// The token can't be sent.
    #[error("token: expected printable ASCII without white space")]
    Token,
    /// Tasks can't be kept apart as was asked for.
    #[error("launcher linux: {0}")]
    Isolation(String),
    /// What is to run tasks with an image can't.
    #[error("oci runtime: {0}")]
    OciRuntime(String),
    /// The profile of system calls can't be used.
    #[error("seccomp profile: {0}")]
    Seccomp(#[from] crate::ProfileError),
    /// Nothing can be fetched as the policy has it.
    #[error("fetching: {0}")]
    Fetch(String),
    /// What tasks use can't be shown there.
    #[error("metrics at {address}: {message}")]
    Metrics {
        /// Where.
        address: std::net::SocketAddr,
        /// Why not.
        message: String,
    },
    /// The master does not want this agent.
    #[error("the master refuses this agent: {0}")]
    Refused(Reject),
}

impl AgentError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}
