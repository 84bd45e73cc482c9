//! cgroups of either version behind one interface.
//!
//! [`Hierarchies::detect`] looks for what is mounted and can be written to: version 2, version 1, or both side by side (a hybrid, where
//! some controllers are only in version 1 while version 2 can still freeze and kill). Each agent has a folder of its own in each
//! hierarchy, `ROOT/KEY/`; each task a [`Group`] in it: a folder of the same name in each hierarchy.
//!
//! A controller that is missing is a line in the answer of `detect`, not an error: its limits are not set, its figures not told.

mod beside;
mod bpf;
mod devices;
mod group;
mod hierarchies;
mod mounts;
mod ports;

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use devices::DeviceRule;
pub(crate) use group::enter;
pub use group::{Birth, Group, Stats};
pub use hierarchies::{Detected, Hierarchies, Hierarchy};
pub use ports::PortRule;

/// What a group can be limited in, or asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Controller {
    /// Shares of the processors, and quotas.
    Cpu,
    /// How much processor time was used; version 2 always tells.
    CpuAcct,
    /// Memory limits.
    Memory,
    /// How many processes and threads there may be.
    Pids,
    /// What was read and written.
    Io,
    /// Which device nodes may be opened.
    Devices,
    /// Stopping all processes at once; version 2 always can.
    Freezer,
}

/// Which of the two interfaces a hierarchy has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Version {
    /// A hierarchy for one controller or a few.
    V1,
    /// The one hierarchy for all.
    V2,
}

/// What a task may use. Fields that are absent are not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Its share of the processors where they are scarce, in thousandths of a core.
    pub cpu_share_milli: u64,
    /// The most it gets of the processors, in thousandths of a core.
    #[serde(default)]
    pub cpu_max_milli: Option<u64>,
    /// The most memory, in bytes; more ends it.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// The most processes and threads.
    #[serde(default)]
    pub pids: Option<u64>,
}

/// The name of an agent's folder in each hierarchy: the same for every agent of a work directory. FNV-1a of its path.
#[must_use]
pub fn key(work_dir: &Path) -> String {
    let bytes = work_dir.as_os_str().as_encoded_bytes();
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", bytes.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

/// Why a cgroup can't be made, changed, read or removed.
#[derive(Debug, thiserror::Error)]
#[error("cgroup {path}: {source}", path = path.display())]
pub struct CgroupError {
    /// The file or folder.
    pub path: PathBuf,
    /// The system's answer.
    #[source]
    pub source: io::Error,
}

impl CgroupError {
    fn at(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { path: path.as_ref().to_owned(), source }
    }
}

#[cfg(test)]
mod tests;
