//! What the group sees of the file system.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_bind_recursive, mount_change};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use super::{ContainError, Users, dev, image, temporary};
use crate::crash;
use crate::supervisor::edits::Mount;
use crate::supervisor::hooks::Hooks;
use crate::supervisor::protocol::{Container, Namespaces, Network, Right, Root, TaskSpec};
use crate::supervisor::runtime::{self, Runtime};
use crate::supervisor::sys::{self, Access, Depth};

/// How folders in memory are mounted that are only there for what is below them.
const HIDING: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);
/// Parts of `/proc` by which root could change the machine.
const READ_ONLY: [&str; 6] = ["/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/acpi"];

/// Leaves the machine's namespaces and makes the group's view of the file system, or that of the runtime which makes the members'.
pub(super) fn enter(
    namespaces: &Namespaces,
    container: &Container,
    tasks: &[TaskSpec],
    hooks: Option<&Hooks>,
    users: Option<Users<'_>>,
) -> Result<Option<Runtime>, ContainError> {
    let mut flags = UnshareFlags::NEWNS | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    if namespaces.network == Network::Private {
        flags |= UnshareFlags::NEWNET;
    }
    // The supervisor's own folder, through the machine's mounts: here it may become read-only.
    let own = open(".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let own = own.map_err(ContainError::at("supervisor's folder"))?;
    let network = match &namespaces.network {
        Network::Joined(file) => Some(open_network(file)?),
        Network::Host | Network::Private => None,
    };
    let temporaries = temporary::make()?;
    sys::unshare(flags).map_err(ContainError::at("namespaces"))?;
    if namespaces.network == Network::Private {
        sys::raise_loopback().map_err(ContainError::at("loopback"))?;
    }
    if let Some(network) = network {
        let joined = move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network));
        joined.map_err(ContainError::at("network namespace"))?;
    }
    crash::point("contain: with namespaces");
    // What the machine mounts or unmounts later is followed; what is mounted here stays here.
    let follow = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", follow).map_err(ContainError::at("mounts of the machine"))?;
    let mut runtime = None;
    if let Some(image) = namespaces.runtime() {
        runtime = Some(runtime::enter(&container.cgroups, namespaces, image, tasks, users)?);
    } else {
        make_view(namespaces, tasks, temporaries, hooks, users)?;
    }
    for path in &container.mapped {
        users.map_or(Ok(()), |users| users.map(path, path))?;
    }
    rustix::process::fchdir(own).map_err(ContainError::at("supervisor's folder"))?;
    Ok(runtime)
}

fn make_view(
    namespaces: &Namespaces,
    tasks: &[TaskSpec],
    temporaries: Vec<(&str, &str)>,
    hooks: Option<&Hooks>,
    users: Option<Users<'_>>,
) -> Result<(), ContainError> {
    let given = Given { shown: shown(namespaces, tasks)?, added: added(tasks)?, nodes: dev::nodes(tasks)? };
    match &namespaces.image {
        Some(image) => image::enter(image, (namespaces.root, namespaces.right), given, hooks, users),
        None => cover(namespaces, temporaries, given),
    }
}

fn open_network(file: &Path) -> Result<OwnedFd, ContainError> {
    open(file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(ContainError::at(file.display().to_string()))
}

/// What the group gets of the machine, opened before anything is covered.
pub(super) struct Given<'a> {
    pub(super) shown: Vec<Shown>,
    pub(super) added: Vec<(&'a Mount, OwnedFd)>,
    pub(super) nodes: Vec<dev::Node>,
}

/// Covers of the machine's files what the group is not to see.
fn cover(namespaces: &Namespaces, temporaries: Vec<(&str, &str)>, given: Given<'_>) -> Result<(), ContainError> {
    if namespaces.root == Root::ReadOnly {
        set("/", Access::ReadOnly, Depth::All)?;
    }
    for (own, path) in temporaries {
        mount_bind(own, path).map_err(ContainError::at(path))?;
        set(path, Access::ReadWrite, Depth::One)?;
    }
    for path in namespaces.hidden.iter().filter(|path| path.is_dir()) {
        mount("tmpfs", path, "tmpfs", HIDING, Some(c"mode=755,size=256k"))
            .map_err(ContainError::at("hidden folder"))?;
    }
    // What is shown, and a work directory may lie there, is shown in the group's own `/dev`.
    dev::mount_dev(&given.nodes, namespaces.right)?;
    for shown in given.shown {
        shown.show().map_err(ContainError::at(shown.path.display().to_string()))?;
    }
    for (mount, handle) in given.added {
        show_added(mount, &handle).map_err(ContainError::at(format!("mount {}", mount.to.display())))?;
    }
    mount_proc()?;
    set("/sys", Access::ReadOnly, Depth::All)
}

/// Tries what [`enter`] needs. The calling thread is of no other use afterwards.
pub(super) fn probe(more: UnshareFlags, right: Right) -> Result<(), ContainError> {
    let all = UnshareFlags::NEWNS | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS | more;
    sys::unshare(all).map_err(ContainError::at("namespaces"))?;
    let follow = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", follow).map_err(ContainError::at("mounts of the machine"))?;
    mount("tmpfs", "/tmp", "tmpfs", MountFlags::empty(), None).map_err(ContainError::at("mount /tmp"))?;
    set("/tmp", Access::ReadOnly, Depth::All)?;
    if right == Right::UserNamespace {
        // Which nobody but root can make otherwise.
        dev::mount_dev(&dev::nodes(&[])?, right)?;
    }
    mount_proc()
}

/// Something that stays visible although what it lies below is hidden.
pub(in crate::supervisor) struct Shown {
    pub(in crate::supervisor) path: PathBuf,
    handle: OwnedFd,
}

/// Sandboxes, and what the agent names: opened before anything is hidden.
fn shown(namespaces: &Namespaces, tasks: &[TaskSpec]) -> Result<Vec<Shown>, ContainError> {
    let paths = tasks.iter().map(|task| &task.sandbox).chain(&namespaces.shown);
    paths.map(|path| Shown::open(path, path)).collect()
}

impl Shown {
    /// What lies at `from`, to be seen at `path`.
    pub(in crate::supervisor) fn open(from: &Path, path: &Path) -> Result<Self, ContainError> {
        let handle = open(from, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let handle = handle.map_err(ContainError::at(from.display().to_string()))?;
        Ok(Self { path: path.to_owned(), handle })
    }

    pub(super) fn is_folder(&self) -> bool {
        image::is_folder(&self.handle)
    }

    /// Shows it, to be written to.
    pub(super) fn show(&self) -> io::Result<()> {
        if self.place()? { sys::set_mount(&self.path, Access::ReadWrite, Depth::One) } else { Ok(()) }
    }

    /// Shows it as it is, with what is mounted below; whether it was not to be seen before.
    pub(in crate::supervisor) fn place(&self) -> io::Result<bool> {
        let own = rustix::fs::fstat(&self.handle)?;
        let there = fs::metadata(&self.path).ok();
        if there.is_some_and(|there| (there.dev(), there.ino()) == (own.st_dev, own.st_ino)) {
            return Ok(false);
        }
        if self.is_folder() {
            make_way(&self.path)?;
        } else {
            make_way(self.path.parent().expect("it is a file"))?;
            OpenOptions::new().create(true).append(true).open(&self.path)?;
        }
        mount_bind_recursive(format!("/proc/self/fd/{}", self.handle.as_raw_fd()), &self.path)?;
        Ok(true)
    }
}

/// Makes the folders up to this one. What is missing is made in memory: below the group's own `/tmp` it would be made on a disk, for each
/// group anew.
fn make_way(path: &Path) -> io::Result<()> {
    let missing = path.ancestors().take_while(|path| !path.exists()).last();
    if let Some(missing) = missing.filter(|missing| *missing != path) {
        fs::create_dir(missing)?;
        mount("tmpfs", missing, "tmpfs", HIDING, Some(c"mode=755,size=256k"))?;
    }
    fs::create_dir_all(path)
}

/// What devices bring with them: opened before anything is hidden.
fn added(tasks: &[TaskSpec]) -> Result<Vec<(&Mount, OwnedFd)>, ContainError> {
    let mut opened = Vec::new();
    for mount in tasks.iter().flat_map(|task| &task.edits.mounts) {
        let handle = open(&mount.from, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        opened.push((mount, handle.map_err(ContainError::at(mount.from.display().to_string()))?));
    }
    Ok(opened)
}

/// Shows it where the group is to see it, which must be there unless that is in the group's own `/dev`: the machine's files are not added to.
pub(super) fn show_added(mount: &Mount, handle: &OwnedFd) -> io::Result<()> {
    if mount.to.starts_with("/dev") {
        image::make_place(&mount.to, image::is_folder(handle))?;
    }
    mount_bind_recursive(format!("/proc/self/fd/{}", handle.as_raw_fd()), &mount.to)?;
    let access = if mount.writable { Access::ReadWrite } else { Access::ReadOnly };
    sys::set_mount(&mount.to, access, Depth::One)
}

pub(in crate::supervisor) fn mount_proc() -> Result<(), ContainError> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", "/proc", "proc", flags, None).map_err(ContainError::at("mount /proc"))?;
    for path in READ_ONLY.iter().filter(|path| Path::new(path).exists()) {
        mount_bind(*path, *path).map_err(ContainError::at(*path))?;
        set(path, Access::ReadOnly, Depth::One)?;
    }
    Ok(())
}

pub(super) fn set(path: &str, access: Access, depth: Depth) -> Result<(), ContainError> {
    sys::set_mount(Path::new(path), access, depth).map_err(ContainError::at(format!("mount {path}")))
}
