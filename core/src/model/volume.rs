use std::fmt;
use std::sync::Arc;

use super::{Role, VolumeId};

#[cfg(test)]
mod tests;

/// What makes a piece of disk a persistent volume: its data outlives the tasks that use it, and goes only when it is destroyed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Volume {
    id: VolumeId,
    container_path: Arc<str>,
}

/// Why a text is not the path of a volume in a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "container path: expected a relative path of 1 to {max} bytes, without '.', '..' or empty parts, got {0:?}",
    max = Volume::MAX_PATH
)]
pub struct VolumePathError(String);

impl Volume {
    /// The longest container path, in bytes.
    pub const MAX_PATH: usize = 512;

    /// The volume `id`, which tasks find at `container_path`, relative to their sandbox.
    ///
    /// # Errors
    ///
    /// If the path is not relative, or could lead out of the sandbox.
    pub fn new(id: VolumeId, container_path: &str) -> Result<Self, VolumePathError> {
        let good = container_path.len() <= Self::MAX_PATH && container_path.split('/').all(is_part);
        if !good {
            return Err(VolumePathError(container_path.to_owned()));
        }
        Ok(Self { id, container_path: Arc::from(container_path) })
    }

    /// Its name among the volumes of its role on its agent.
    pub const fn id(&self) -> &VolumeId {
        &self.id
    }

    /// Where tasks find it, relative to their sandbox.
    pub fn container_path(&self) -> &str {
        &self.container_path
    }
}

fn is_part(part: &str) -> bool {
    !part.is_empty() && part != "." && part != ".." && !part.contains(char::is_control)
}

impl fmt::Debug for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.id, self.container_path)
    }
}

/// A volume on its agent: which directory it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeKey {
    /// The role that its disk is reserved for.
    pub role: Role,
    /// Its name there.
    pub id: VolumeId,
    /// The path or mount that its disk comes from, if it is not the agent's own.
    pub disk_source: Option<Arc<str>>,
}

impl fmt::Display for VolumeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of role {}", self.id, self.role)
    }
}
