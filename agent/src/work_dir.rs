//! The folder in which an agent keeps everything.
//!
//! | path | what |
//! |---|---|
//! | `lock` | held while an agent runs |
//! | `boot_id` | of the machine when the agent last ran |
//! | `journal` | see [`journal`](crate::journal) |
//! | `runs/FRAMEWORK/TASK/` | the supervisor's folder of the group that TASK leads |
//! | `spare/` | see [`spare`](crate::spare) |
//! | `sandboxes/FRAMEWORK/TASK/` | where the task runs, with its output |
//! | `cache/artefacts/` | what was fetched for tasks, by its SHA-256 |
//! | `images/` | see [`images`](crate::images) |
//! | `networks/`, `users/` | networks and ranges of users that groups have |
//! | `volumes/roles/ROLE/ID/` | a persistent volume; a `/` in the role is a blank here |
//! | `volumes/lost/` | folders of volumes that nobody knew any more when a new one of that name was made |

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rialto_core::model::TaskKey;
use rustix::fs::FlockOperation;

use crate::AgentError;
use crate::volumes::Volumes;

/// Where tasks have something of their own, or of the kernel's, that files can't be shown in.
const UNFIT: [&str; 2] = ["/proc", "/sys"];

/// A work directory that is this agent's as long as this lives.
#[derive(Debug)]
pub(crate) struct WorkDir {
    root: PathBuf,
    _lock: File,
}

/// Whether the machine was started anew since the last agent ran here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Boot {
    Same,
    New,
}

impl WorkDir {
    /// Makes the folder if there is none, and takes it.
    pub(crate) fn open(root: &Path) -> Result<Self, AgentError> {
        fs::create_dir_all(root).map_err(AgentError::io(root))?;
        let root = root.canonicalize().map_err(AgentError::io(root))?;
        if UNFIT.iter().any(|unfit| root.starts_with(unfit)) {
            return Err(AgentError::Unfit(root));
        }
        let path = root.join("lock");
        let lock =
            OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(AgentError::io(&path))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(AgentError::InUse(root)),
            Err(error) => return Err(AgentError::io(&path)(error.into())),
        }
        for folder in ["runs", "sandboxes"] {
            let path = root.join(folder);
            fs::create_dir_all(&path).map_err(AgentError::io(&path))?;
        }
        Ok(Self { root, _lock: lock })
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    pub(crate) fn layout(&self) -> Layout {
        Layout { root: self.root.clone() }
    }

    /// Compares the machine's boot id with the one that was seen last, and keeps it.
    pub(crate) fn boot(&self) -> Result<Boot, AgentError> {
        let now = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let path = self.root.join("boot_id");
        let before = match fs::read_to_string(&path) {
            Ok(before) => before,
            Err(error) if error.kind() == ErrorKind::NotFound => now.clone(),
            Err(error) => return Err(AgentError::io(&path)(error)),
        };
        fs::write(&path, &now).map_err(AgentError::io(&path))?;
        Ok(if before == now { Boot::Same } else { Boot::New })
    }
}

/// Where things lie.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The supervisor's folder of the group with this leader.
    pub(crate) fn run(&self, leader: &TaskKey) -> PathBuf {
        self.root.join("runs").join(leader.framework.to_string()).join(leader.task.as_str())
    }

    /// Where persistent volumes lie.
    pub(crate) fn volumes(&self) -> Volumes {
        Volumes::below(&self.root)
    }

    pub(crate) fn sandbox(&self, task: &TaskKey) -> PathBuf {
        self.sandboxes().join(task.framework.to_string()).join(task.task.as_str())
    }

    /// The work directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    fn sandboxes(&self) -> PathBuf {
        self.root.join("sandboxes")
    }

    /// The leaders of all groups that have a supervisor's folder.
    pub(crate) fn runs(&self) -> io::Result<Vec<TaskKey>> {
        keys(&self.root.join("runs"))
    }

    /// All tasks that have a sandbox.
    pub(crate) fn sandboxed(&self) -> io::Result<Vec<TaskKey>> {
        keys(&self.sandboxes())
    }
}

fn keys(folder: &Path) -> io::Result<Vec<TaskKey>> {
    let mut keys = Vec::new();
    for framework in fs::read_dir(folder)? {
        let framework = framework?;
        let Ok(id) = framework.file_name().to_string_lossy().parse() else { continue };
        for task in fs::read_dir(framework.path())? {
            if let Ok(task) = task?.file_name().to_string_lossy().parse() {
                keys.push(TaskKey::new(id, task));
            }
        }
    }
    Ok(keys)
}

#[cfg(test)]
#[path = "work_dir_tests.rs"]
mod tests;
