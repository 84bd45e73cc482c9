use std::io;

use rialto_proto::spec::Sha256;

use crate::unpack::UnpackError;

/// Why an artefact is not in the sandbox.
#[derive(Debug, thiserror::Error)]
#[error("{what} {uri}: {problem}")]
pub(crate) struct FetchError {
    /// An artefact or an image.
    pub(crate) what: &'static str,
    /// Which one, without what may be secret in it.
    pub(crate) uri: String,
    pub(crate) problem: Problem,
}

/// What is the matter with one artefact.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("uri: {0}")]
    Uri(String),
    #[error("destination: expected a name, as the URI has none")]
    NoName,
    #[error("sha256: this agent wants one for every artefact")]
    NoDigest,
    #[error("uri: this agent wants a commit's id after '#'")]
    NotPinned,
    #[error("sha256: expected {expected}, but what came has {found}")]
    Digest { expected: Sha256, found: Sha256 },
    #[error("expected commit {expected}, got {found}")]
    Commit { expected: String, found: String },
    #[error("signature: tasks of role {0} may only use what is signed, and git is not")]
    GitUnsigned(String),
    #[error("signature: {0}")]
    Signature(String),
    #[error("it is larger than the {0} bytes that this agent fetches")]
    TooLarge(u64),
    #[error("it lies in no folder that this agent lets tasks fetch from")]
    Outside,
    #[error("it is not there: {0}")]
    NotThere(String),
    #[error("destination {path:?}: {why}")]
    Destination { path: String, why: String },
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    #[error("{0}")]
    Network(String),
    #[error("{0}")]
    Tool(String),
    #[error("{path}: {source}")]
    Io { path: String, source: io::Error },
    #[error("cancelled")]
    Cancelled,
}

impl Problem {
    pub(crate) fn io(path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.display().to_string(), source }
    }

    /// Whether another machine or a later try could do no better.
    pub(crate) const fn is_artefacts_fault(&self) -> bool {
        match self {
            Self::Network(_) | Self::Tool(_) | Self::Io { .. } | Self::Cancelled => false,
            Self::Unpack(error) => error.is_archives_fault(),
            _ => true,
        }
    }
}
