//! Persistent volumes as folders: made, shown to tasks, and removed, only ever below their root.
//!
//! Tasks may run as the very user that the agent runs as, and could put a symbolic link where a folder is expected. So every step from the
//! root down opens one folder without following links, and what is made or removed is named relative to the last of them.

use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rialto_core::model::{ResourceName, Task, VolumeKey};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::launcher::bytes_of_mib;

#[cfg(test)]
#[path = "volumes_tests.rs"]
mod tests;

/// Whether a volume is new, or was made before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    New,
    Known,
}

/// Whether folders that are not there are made on the way down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    Make,
    Fail,
}

/// A volume that a task is to find in its sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// The index of the task in its group.
    pub(crate) member: usize,
    /// How large the volume is.
    pub(crate) bytes: u64,
    volume: VolumeKey,
    container_path: PathBuf,
}

/// Where volumes lie.
#[derive(Clone, Debug)]
pub(crate) struct Volumes {
    work_dir: PathBuf,
}

impl Link {
    pub(crate) fn volume(&self) -> &VolumeKey {
        &self.volume
    }
}

impl Volumes {
    pub(crate) fn below(work_dir: &Path) -> Self {
        Self { work_dir: work_dir.to_owned() }
    }

    /// Makes the volume's folder if it is not there. What lies where a new one is to be is of a volume that nobody knows any more: it is
    /// put aside, so that the new one begins empty.
    pub(crate) fn make(&self, volume: &VolumeKey, age: Age) -> io::Result<()> {
        let role = self.role(volume, Missing::Make)?;
        let made = rustix::fs::mkdirat(&role, volume.id.as_str(), Mode::from_raw_mode(0o755));
        match (made, age) {
            (Ok(()), _) | (Err(Errno::EXIST), Age::Known) => Ok(()),
            (Err(Errno::EXIST), Age::New) => {
                self.put_aside(&role, volume)?;
                Ok(rustix::fs::mkdirat(&role, volume.id.as_str(), Mode::from_raw_mode(0o755))?)
            }
            (Err(error), _) => Err(error.into()),
        }
    }

    /// Removes the volume's folder and all that is in it; done, if there is none.
    pub(crate) fn destroy(&self, volume: &VolumeKey) -> io::Result<()> {
        let removed = self.role(volume, Missing::Fail).and_then(|role| {
            // The role's folder is open: nobody can put another in its place. A link in place of the volume's is removed itself.
            crate::removal::remove(&PathBuf::from(format!("/proc/self/fd/{}/{}", role.as_raw_fd(), volume.id)))
        });
        match removed {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// The volumes that the tasks of a group use.
    pub(crate) fn links(tasks: &[Task]) -> Vec<Link> {
        let of = |(member, task): (usize, &Task)| {
            let volumes = task.resources.iter().filter_map(move |(flavor, amounts)| {
                let container_path = flavor.volume.as_ref()?.container_path().into();
                let bytes = bytes_of_mib(amounts.scalars.get(&ResourceName::Disk).0);
                Some(Link { member, bytes, volume: flavor.volume_key()?, container_path })
            });
            volumes.collect::<Vec<_>>()
        };
        tasks.iter().enumerate().flat_map(of).collect()
    }

    /// Shows the volume in the sandbox, as a link; its folder becomes `owner`'s, where there is one.
    pub(crate) fn link(&self, link: &Link, sandbox: &Path, owner: Option<(u32, u32)>) -> Result<(), String> {
        let volume = &link.volume;
        let path = link.container_path.display();
        let folder = self.open(volume).map_err(|error| format!("volume {volume}: {error}"))?;
        if let Some((uid, gid)) = owner {
            std::os::unix::fs::fchown(&folder, Some(uid), Some(gid))
                .map_err(|error| format!("volume {volume}: {error}"))?;
        }
        show(sandbox, &link.container_path, &self.path(volume))
            .map_err(|error| format!("volume {volume}: expected room for a link at {path} in the sandbox: {error}"))
    }

    /// The folder of a volume.
    ///
    /// # Errors
    /// It is not there, or can't be opened.
    pub(crate) fn open(&self, volume: &VolumeKey) -> io::Result<OwnedFd> {
        let role = self.role(volume, Missing::Fail)?;
        Ok(open_at(&role, volume.id.as_str())?)
    }

    /// Where the volume of a link lies.
    pub(crate) fn target(&self, link: &Link) -> PathBuf {
        self.path(&link.volume)
    }

    fn path(&self, volume: &VolumeKey) -> PathBuf {
        self.root(volume).join("volumes/roles").join(folder_of(volume)).join(volume.id.as_str())
    }

    fn root<'a>(&'a self, volume: &'a VolumeKey) -> &'a Path {
        volume.disk_source.as_ref().map_or(&self.work_dir, |source| Path::new(&**source))
    }

    /// The folder of the volumes of its role.
    fn role(&self, volume: &VolumeKey, missing: Missing) -> io::Result<OwnedFd> {
        descend(self.root(volume), ["volumes", "roles", &folder_of(volume)], missing)
    }

    fn put_aside(&self, role: &OwnedFd, volume: &VolumeKey) -> io::Result<()> {
        let lost = descend(self.root(volume), ["volumes", "lost"], Missing::Make)?;
        let name = format!("{} {} {:08x}", folder_of(volume), volume.id, crate::random_u32());
        tracing::warn!(
            "volume {volume}: a folder of that name was there already, of no volume that is known; it is kept as volumes/lost/{name}"
        );
        Ok(rustix::fs::renameat(role, volume.id.as_str(), &lost, name.as_str())?)
    }
}

/// A role is one folder, so that `eng/ci` is not a volume `ci` of `eng`; roles have no blanks.
fn folder_of(volume: &VolumeKey) -> String {
    volume.role.as_str().replace('/', " ")
}

fn show(sandbox: &Path, container_path: &Path, target: &Path) -> io::Result<()> {
    let parts: Vec<String> = container_path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let (name, above) = parts.split_last().ok_or(ErrorKind::InvalidInput)?;
    let folder = descend(sandbox, above.iter().map(String::as_str), Missing::Make)?;
    match rustix::fs::symlinkat(target, &folder, name.as_str()) {
        Err(Errno::EXIST) => {
            let there = rustix::fs::readlinkat(&folder, name.as_str(), Vec::new())?;
            let same = there.as_bytes() == target.as_os_str().as_encoded_bytes();
            if same { Ok(()) } else { Err(Errno::EXIST.into()) }
        }
        other => Ok(other?),
    }
}

fn descend<'a>(root: &Path, parts: impl IntoIterator<Item = &'a str>, missing: Missing) -> io::Result<OwnedFd> {
    let mut folder = rustix::fs::open(root, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    for part in parts {
        if missing == Missing::Make {
            match rustix::fs::mkdirat(&folder, part, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        folder = open_at(&folder, part)?;
    }
    Ok(folder)
}

fn open_at(folder: &OwnedFd, name: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty())
}
