//! What only tasks are to know: taken out of their descriptions before anything is written to a disk, and kept in files of a memory file
//! system until they end.
//!
//! A folder for each task lies in a folder of the agent's below `/dev/shm`, which outlives the agent but not the machine, as the tasks do.
//! A task sees its own at `secrets` in its sandbox: mounted there read-only, or linked where there are no namespaces.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use prost::Message;
use rialto_core::model::{Body, Launch, TaskKey, ToAgent};
use rialto_proto::spec::Secret;
use rialto_proto::v1;

use crate::cgroup;
use crate::supervisor::edits::Mount;
use crate::unpack::{self as beneath, Missing};

/// Where they are seen, below the sandbox.
pub(crate) const FOLDER: &str = "secrets";
/// A memory file system that every Linux has.
const MEMORY: &str = "/dev/shm";
/// What `statfs` says of one.
const TMPFS_MAGIC: u64 = 0x0102_1994;
const RAMFS_MAGIC: u64 = 0x8584_58f6;
/// How long secrets of a task that is not known are kept: it may be about to be started.
const STRAY_AGE: Duration = Duration::from_secs(120);

/// The secrets of an agent's tasks.
#[derive(Clone, Debug)]
pub(crate) struct Secrets {
    folder: PathBuf,
}

impl Secrets {
    /// Those of the agent of a work directory.
    pub(crate) fn of(work_dir: &Path) -> Self {
        Self { folder: Path::new(MEMORY).join(format!("rialto-{}", cgroup::key(work_dir))) }
    }

    /// Takes what is secret out of a message. What can't be kept is said, and its task will not start.
    pub(crate) fn take_out(&self, message: &mut ToAgent) {
        match message {
            ToAgent::Launch(launch) => self.take_out_of(launch),
            ToAgent::Hold { groups, .. } => groups.iter_mut().for_each(|launch| self.take_out_of(launch)),
            _ => {}
        }
    }

    fn take_out_of(&self, launch: &mut Launch) {
        for task in &mut launch.group.tasks {
            // What can't be read is refused when the task is planned.
            let Ok(mut spec) = v1::TaskSpec::decode(task.body.as_bytes()) else { continue };
            if spec.secrets.is_empty() {
                continue;
            }
            let key = TaskKey::new(launch.framework, task.id.clone());
            if let Err(error) = self.keep(&key, &spec.secrets) {
                tracing::error!(task = %key, "its secrets can't be kept in memory: {error}");
            }
            spec.secrets.iter_mut().for_each(|secret| secret.content = bytes::Bytes::new());
            task.body = Body::new(spec.encode_to_vec());
        }
    }

    fn keep(&self, task: &TaskKey, secrets: &[v1::Secret]) -> io::Result<()> {
        self.make()?;
        let folder = self.of_task(task);
        make_folder(&folder, 0o700)?;
        for secret in secrets {
            // Names are checked only when the task is planned; here they must not lead anywhere.
            let safe = !secret.name.is_empty() && !secret.name.starts_with('.') && !secret.name.contains(['/', '\0']);
            if !safe {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "expected names of files"));
            }
            let path = folder.join(&secret.name);
            match OpenOptions::new().write(true).create_new(true).mode(0o400).open(&path) {
                Ok(mut file) => file.write_all(&secret.content)?,
                // Said once more: it is the same launch.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Makes the folder of all; one that somebody else has made is not used.
    fn make(&self) -> io::Result<()> {
        make_folder(&self.folder, 0o711)?;
        let metadata = fs::symlink_metadata(&self.folder)?;
        let own = metadata.is_dir() && metadata.uid() == rustix::process::geteuid().as_raw();
        let kind = rustix::fs::statfs(&self.folder)?.f_type;
        let kind = u64::try_from(kind).unwrap_or(0) & 0xffff_ffff;
        if !own || metadata.mode() & 0o022 != 0 {
            return Err(io::Error::other(format!("{}: it is not this agent's own", self.folder.display())));
        }
        if kind != TMPFS_MAGIC && kind != RAMFS_MAGIC {
            return Err(io::Error::other(format!("{}: expected a memory file system", self.folder.display())));
        }
        Ok(())
    }

    /// Makes a task's secrets its user's, and shows them in its sandbox; what is to be mounted, where there are namespaces.
    ///
    /// # Errors
    /// One of them is lost, or something else is in their place.
    pub(crate) fn give(
        &self,
        task: &TaskKey,
        secrets: &[Secret],
        sandbox: &Path,
        owner: Option<(u32, u32)>,
        namespaces: bool,
    ) -> Result<Option<Mount>, String> {
        if secrets.is_empty() {
            return Ok(None);
        }
        let folder = self.of_task(task);
        for secret in secrets {
            let path = folder.join(&secret.name);
            own(&path, owner).map_err(|error| format!("secret {}: {error}", secret.name))?;
        }
        own(&folder, owner).map_err(|error| format!("{}: {error}", folder.display()))?;
        let place = sandbox.join(FOLDER);
        let occupied = |error: io::Error| format!("secrets: {} can't be made: {error}", place.display());
        if namespaces {
            fs::create_dir(&place).map_err(occupied)?;
        } else {
            symlink(&folder, &place).map_err(occupied)?;
        }
        for secret in secrets.iter().filter(|secret| !secret.target.is_empty()) {
            link(sandbox, secret, owner).map_err(|error| format!("secret {}: target: {error}", secret.name))?;
        }
        Ok(namespaces.then_some(Mount { from: folder, to: place, writable: false }))
    }

    /// Removes what a task that has ended had.
    pub(crate) fn remove(&self, task: &TaskKey) {
        remove(&self.of_task(task));
    }

    /// Removes what is left of tasks that are not known.
    pub(crate) fn remove_strays<'a>(&self, known: impl IntoIterator<Item = &'a TaskKey>) {
        let known: Vec<String> = known.into_iter().map(crate::launcher::cgroup_name).collect();
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let is_known = entry.file_name().to_str().is_some_and(|name| known.iter().any(|known| known == name));
            let made = entry.metadata().and_then(|metadata| metadata.modified()).ok();
            let age = made.and_then(|made| SystemTime::now().duration_since(made).ok()).unwrap_or_default();
            if !is_known && age > STRAY_AGE {
                remove(&entry.path());
            }
        }
        // Refused while there is one.
        let _used = fs::remove_dir(&self.folder);
    }

    fn of_task(&self, task: &TaskKey) -> PathBuf {
        self.folder.join(crate::launcher::cgroup_name(task))
    }
}

fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn own(path: &Path, owner: Option<(u32, u32)>) -> io::Result<()> {
    match owner {
        Some((uid, gid)) => chown(path, Some(uid), Some(gid)),
        None => fs::symlink_metadata(path).map(drop),
    }
}

/// Leads from the target to the secret's file, following no link that lies in the sandbox already.
fn link(sandbox: &Path, secret: &Secret, owner: Option<(u32, u32)>) -> io::Result<()> {
    let bad = || io::Error::new(io::ErrorKind::InvalidInput, "expected a path below the sandbox");
    let parts = beneath::parts(&secret.target).ok_or_else(bad)?;
    let (name, folders) = parts.split_last().ok_or_else(bad)?;
    let root = beneath::root(sandbox)?;
    let folder = beneath::descend(&root, folders, Missing::Make(owner))?;
    let leads = format!("{}{FOLDER}/{}", "../".repeat(folders.len()), secret.name);
    Ok(rustix::fs::symlinkat(leads, folder.as_fd(), *name)?)
}

fn remove(folder: &Path) {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::error!("{} can't be removed: {error}", folder.display());
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
