//! An image's files in place of the machine's: its layers below, a folder of the group's own above, and the machine's root put away.

use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind_recursive, unmount};

use super::mounts::{Given, mount_proc, set, show_added};
use super::{ContainError, Users};
use crate::supervisor::edits::When;
use crate::supervisor::hooks::Hooks;
use crate::supervisor::protocol::{ImageRoot, Right, Root};
use crate::supervisor::sys::{self, Access, Depth};

/// What of the machine's network configuration a task needs to use the machine's network.
const NAMES: [&str; 3] = ["/etc/resolv.conf", "/etc/hosts", "/etc/hostname"];
/// The group's own parts of the overlay, below the supervisor's folder.
const PARTS: [&str; 4] = ["root", "upper", "work", "tmp"];
/// The most that the kernel takes of the options of a mount.
const MAX_OPTIONS: usize = 4095;

/// Makes the image the root of this process, which has a mount namespace of its own and works in its own folder.
pub(super) fn enter(
    image: &ImageRoot,
    (access, right): (Root, Right),
    given: Given<'_>,
    hooks: Option<&Hooks>,
    users: Option<Users<'_>>,
) -> Result<(), ContainError> {
    let machine = path_handle("/")?;
    let sys = path_handle("/sys")?;
    let names = NAMES.iter().filter(|name| Path::new(name).exists());
    let names: Vec<(&str, OwnedFd)> =
        names.map(|name| path_handle(name).map(|handle| (*name, handle))).collect::<Result<_, _>>()?;
    for part in PARTS {
        match fs::create_dir(part) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(ContainError::at(part)(error)),
            _ => {}
        }
    }
    let temporary = path_handle("tmp")?;
    let own = &lower(image, users)?;
    as_root_within(users, || mount_overlay(image, own, right))?;
    take_root(own)?;
    as_root_within(users, || make_places(&given, &names))?;
    mount_proc()?;
    bind(&sys, "/sys")?;
    set("/sys", Access::ReadOnly, Depth::All)?;
    rustix::fs::fchmod(&open_folder("/proc/self/fd", &temporary)?, Mode::from_raw_mode(0o1777))
        .map_err(ContainError::at("/tmp"))?;
    bind(&temporary, "/tmp")?;
    for (name, handle) in &names {
        bind(handle, name)?;
        set(name, Access::ReadOnly, Depth::One)?;
    }
    super::dev::mount_dev(&given.nodes, right)?;
    for shown in given.shown {
        shown.show().map_err(ContainError::at(shown.path.display().to_string()))?;
    }
    for (mount, handle) in given.added {
        show_added(mount, &handle).map_err(ContainError::at(format!("mount {}", mount.to.display())))?;
    }
    hooks.map_or(Ok(()), |hooks| hooks.run(When::CreateContainer, Some(&machine)))?;
    // Last: what is mounted upon had to be made.
    if access == Root::ReadOnly {
        set("/", Access::ReadOnly, Depth::One)?;
    }
    leave(&machine)
}

/// The supervisor's folder as this mount namespace has it: the layers' overlay takes nothing of another. What is in it and in the layers is
/// the group's users' own, if it has some.
fn lower(image: &ImageRoot, users: Option<Users<'_>>) -> Result<OwnedFd, ContainError> {
    let Some(users) = users else { return path_handle(".") };
    let own = std::env::current_dir().map_err(ContainError::at("supervisor's folder"))?;
    let layers = image.layers.first().and_then(|layer| layer.parent());
    for folder in layers.into_iter().chain([&*own]) {
        users.map(folder, folder)?;
    }
    open(&own, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(ContainError::at("supervisor's folder"))
}

/// Where all files are of the group's users, so must be who makes some.
pub(in crate::supervisor) fn as_root_within(
    users: Option<Users<'_>>,
    work: impl FnOnce() -> Result<(), ContainError>,
) -> Result<(), ContainError> {
    let Some(users) = users else { return work() };
    sys::with_files_of(users.root(), work).map_err(ContainError::at("root of the group's users"))?
}

fn path_handle(path: &str) -> Result<OwnedFd, ContainError> {
    open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(ContainError::at(path))
}

/// The same folder, opened so that it can be changed.
fn open_folder(through: &str, handle: &OwnedFd) -> Result<OwnedFd, ContainError> {
    let path = format!("{through}/{}", handle.as_raw_fd());
    open(path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(ContainError::at("/tmp"))
}

fn bind(handle: &OwnedFd, to: &str) -> Result<(), ContainError> {
    let from = format!("/proc/self/fd/{}", handle.as_raw_fd());
    mount_bind_recursive(from, to).map_err(ContainError::at(format!("mount {to}")))
}

/// The layers, named from the folder that they lie in, so that many fit into the options.
pub(in crate::supervisor) fn mount_overlay(image: &ImageRoot, own: &OwnedFd, right: Right) -> Result<(), ContainError> {
    let bad = |why: &str| ContainError::at("image")(io::Error::new(io::ErrorKind::InvalidInput, why.to_owned()));
    let folder = image.layers.first().and_then(|layer| layer.parent()).ok_or_else(|| bad("expected a layer"))?;
    let names: Option<Vec<&str>> = image.layers.iter().map(|layer| layer.strip_prefix(folder).ok()?.to_str()).collect();
    let names = names.ok_or_else(|| bad("expected all layers in one folder"))?;
    let own = format!("/proc/self/fd/{}", own.as_raw_fd());
    // What only root may mark files with is of no use to others.
    let marks = if right == Right::UserNamespace { ",userxattr" } else { "" };
    let options = format!("lowerdir={},upperdir={own}/upper,workdir={own}/work{marks}", names.join(":"));
    if options.len() > MAX_OPTIONS {
        return Err(bad("it has too many layers for one mount"));
    }
    let options = CString::new(options).map_err(|_| bad("expected paths without NUL"))?;
    std::env::set_current_dir(folder).map_err(ContainError::at(folder.display().to_string()))?;
    // Nodes that a layer might have are of no use: a task has its own /dev.
    let target = format!("{own}/root");
    let done = mount("overlay", target, "overlay", MountFlags::NODEV, Some(&*options));
    done.map_err(ContainError::at("overlay of the image"))
}

/// Puts the image in place of the machine's root, which stays reachable by what was opened before.
fn take_root(own: &OwnedFd) -> Result<(), ContainError> {
    let at = ContainError::at::<io::Error>;
    rustix::process::fchdir(own).map_err(|error| at("supervisor's folder")(error.into()))?;
    std::env::set_current_dir("root").map_err(at("root"))?;
    rustix::process::pivot_root(".", ".").map_err(|error| at("root of the image")(error.into()))?;
    // The machine's root is on top of the image's now; what begins with a slash is the image's.
    std::env::set_current_dir("/").map_err(at("root"))
}

/// Makes what is mounted upon, where the image lacks it.
fn make_places(given: &Given<'_>, names: &[(&str, OwnedFd)]) -> Result<(), ContainError> {
    for folder in ["/proc", "/sys", "/dev", "/tmp", "/etc"] {
        fs::create_dir_all(folder).map_err(ContainError::at(folder))?;
    }
    for (name, _) in names {
        let is_link = fs::symlink_metadata(name).is_ok_and(|metadata| metadata.is_symlink());
        if is_link {
            fs::remove_file(name).map_err(ContainError::at(*name))?;
        }
        OpenOptions::new().create(true).append(true).open(name).map_err(ContainError::at(*name))?;
    }
    let shown = given.shown.iter().map(|shown| (&*shown.path, shown.is_folder()));
    let added = given.added.iter().map(|(mount, handle)| (&*mount.to, is_folder(handle)));
    for (path, folder) in shown.chain(added) {
        make_place(path, folder).map_err(ContainError::at(path.display().to_string()))?;
    }
    Ok(())
}

pub(super) fn make_place(path: &Path, is_folder: bool) -> io::Result<()> {
    if is_folder {
        return fs::create_dir_all(path);
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    OpenOptions::new().create(true).append(true).open(path).map(drop)
}

pub(super) fn is_folder(handle: &OwnedFd) -> bool {
    rustix::fs::fstat(handle).is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir())
}

/// Lets go of the machine's root; what was bound from it stays.
fn leave(machine: &OwnedFd) -> Result<(), ContainError> {
    rustix::process::fchdir(machine).map_err(ContainError::at("root of the machine"))?;
    unmount(".", UnmountFlags::DETACH).map_err(ContainError::at("root of the machine"))?;
    std::env::set_current_dir("/").map_err(ContainError::at("root"))
}
