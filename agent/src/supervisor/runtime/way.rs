//! What a runtime needs beside for a group with users of its own: it makes a user namespace for each member, whose root may not mount what
//! belongs to the supervisor's namespaces, nor enter folders that only the machine's root may enter.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, mount};

use super::STATE;
use super::config::has_message_queues;
use crate::supervisor::contain::{ContainError, Shown, Users};
use crate::supervisor::protocol::{ImageRoot, Namespaces, TaskSpec};

/// File systems that show the supervisor's namespaces, by the names of their folders in its own.
const KERNELS: [&str; 3] = ["proc", "sysfs", MESSAGE_QUEUES];
const MESSAGE_QUEUES: &str = "mqueue";
/// Where the supervisor's folder is seen as the users' own, below itself.
const MAPPED: &str = "mapped";
/// Everybody may enter a folder.
const ENTER: u32 = 0o001;

/// Mounts them in the supervisor's folder, in which this process works.
pub(super) fn mount_kernels() -> Result<(), ContainError> {
    let plain = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    for kind in KERNELS.into_iter().filter(|kind| *kind != MESSAGE_QUEUES || has_message_queues()) {
        make_folder(Path::new(kind))?;
        let flags = if kind == "sysfs" { plain | MountFlags::RDONLY } else { plain };
        mount(kind, kind, kind, flags, None).map_err(ContainError::at(format!("mount {kind}")))?;
    }
    Ok(())
}

/// Shows the layers, and the supervisor's folder at another place, as the users' own: the overlay is made of these.
pub(super) fn map(image: &ImageRoot, folder: &Path, users: Users<'_>) -> Result<OwnedFd, ContainError> {
    if let Some(layers) = image.layers.first().and_then(|layer| layer.parent()) {
        users.map(layers, layers)?;
    }
    let place = folder.join(MAPPED);
    make_folder(&place)?;
    users.map(folder, &place)?;
    let opened = rustix::fs::open(&place, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    opened.map_err(ContainError::at(place.display().to_string()))
}

/// Lets the users come to what they are shown: the first folder on the way there that they may not enter is covered by one in memory, with
/// nothing in it but that.
pub(super) fn open(
    folder: &Path,
    namespaces: &Namespaces,
    tasks: &[TaskSpec],
    program: &Path,
) -> Result<(), ContainError> {
    let own = |name: &str| folder.join(name);
    let mut places = vec![Shown::open(&own(MAPPED).join("root"), &own("root"))?];
    let bundles = tasks.iter().map(|task| format!("bundle-{}", task.name));
    let parts =
        ["tmp", "shm", STATE].into_iter().chain(KERNELS).map(str::to_owned).chain(bundles).map(|name| own(&name));
    let mounts = tasks.iter().flat_map(|task| &task.edits.mounts).map(|mount| mount.from.clone());
    let nodes = tasks.iter().flat_map(|task| task.devices.iter().chain(task.edits.nodes.iter().map(|node| &node.from)));
    let shown = tasks.iter().map(|task| &task.sandbox).chain(&namespaces.shown).cloned();
    let all: BTreeSet<PathBuf> =
        parts.chain(mounts).chain(nodes.cloned()).chain(shown).chain([program.to_owned()]).collect();
    for path in all.iter().filter(|path| path.exists()) {
        places.push(Shown::open(path, path)?);
    }
    let closed: BTreeSet<&Path> = places.iter().filter_map(|place| first_closed(&place.path)).collect();
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    for folder in closed {
        let covered = mount("tmpfs", folder, "tmpfs", flags, Some(c"mode=755,size=1m"));
        covered.map_err(ContainError::at(folder.display().to_string()))?;
    }
    places
        .iter()
        .try_for_each(|place| place.place().map(drop).map_err(ContainError::at(place.path.display().to_string())))
}

/// The folder above, nearest to the root, that not everybody may enter.
fn first_closed(path: &Path) -> Option<&Path> {
    let is_closed = |folder: &&Path| fs::metadata(folder).is_ok_and(|found| found.permissions().mode() & ENTER == 0);
    path.ancestors().skip(1).filter(is_closed).last()
}

fn make_folder(path: &Path) -> Result<(), ContainError> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(ContainError::at(path.display().to_string())(error))
        }
        _ => Ok(()),
    }
}
