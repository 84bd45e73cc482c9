use rialto_sdk::core::model::Time;
use serde::{Deserialize, Serialize};

/// A change of an app on its way, or one of the past.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Deployment {
    pub(super) id: u64,
    pub(super) kind: Kind,
    pub(super) state: DeploymentState,
    /// The version that was there before.
    pub(super) from: Option<u64>,
    /// The version that shall be there.
    pub(super) to: u64,
    /// How many instances of the new version have failed.
    pub(super) failures: u32,
    /// Why it was rolled back, or has failed; else how an instance failed last.
    pub(super) reason: Option<String>,
    /// How many of the new version have been ready at once.
    #[serde(skip)]
    pub(super) best: usize,
    /// Until when there must be progress; set when it is looked at first.
    #[serde(skip)]
    pub(super) deadline: Option<Time>,
}

/// What is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The specification.
    Deploy,
    /// The number of instances.
    Scale,
    /// Nothing; every instance is replaced.
    Restart,
}

/// Where a deployment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentState {
    /// Instances are being replaced.
    Rolling,
    /// It failed; the version before is being brought back.
    RollingBack,
    /// All instances are of the new version and ready.
    Done,
    /// All instances are of the version before and ready.
    RolledBack,
    /// It failed, and there is no version to go back to.
    Failed,
    /// Another deployment took its place.
    Superseded,
}

impl DeploymentState {
    /// Whether nothing follows.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Rolling | Self::RollingBack)
    }
}
