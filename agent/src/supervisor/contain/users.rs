//! Users of a group's own: its root is nobody outside, or its only user is the agent's.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{ContainError, privileges};
use crate::supervisor::protocol::UserRange;
use crate::supervisor::sys;

/// Some users, to find out whether files can be shown as theirs.
const PROBED: UserRange = UserRange { first: 1 << 30, count: 1 << 16 };

/// Makes the namespace, if there is to be one: the first of `range` is root within. This process stays outside, so what it has mounted and
/// made is not the group's to change.
pub(super) fn make(range: Option<UserRange>) -> Result<Option<OwnedFd>, ContainError> {
    let Some(range) = range else { return Ok(None) };
    let made = sys::with_user_namespace(|pid| {
        let map = format!("0 {} {}", range.first, range.count);
        fs::write(format!("/proc/{pid}/uid_map"), &map)?;
        fs::write(format!("/proc/{pid}/gid_map"), &map)?;
        Ok(OwnedFd::from(File::open(format!("/proc/{pid}/ns/user"))?))
    });
    made.map(Some).map_err(ContainError::at("user namespace"))
}

/// Shows what lies at `path` as the users' own at `place`, to those who see the mounts of this process: who is root within is root there.
pub(super) fn map(path: &Path, place: &Path, users: &OwnedFd) -> io::Result<()> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, path, flags)?;
    sys::map_mount(&tree, users)?;
    Ok(move_mount(&tree, "", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// Whether the file system of a folder can show its files as those of others.
pub(in crate::supervisor) fn probe_map(folder: &Path) -> Result<(), ContainError> {
    let users = make(Some(PROBED))?.expect("it was asked for");
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mapped = open_tree(CWD, folder, flags).map_err(io::Error::from).and_then(|tree| sys::map_mount(&tree, &users));
    mapped.map_err(ContainError::at(folder.display().to_string()))
}

/// Lets this process be in its user namespace who it is outside, the only one there. What it may do there it keeps, until it executes
/// something.
pub(in crate::supervisor) fn stay((uid, gid): (u32, u32)) -> io::Result<()> {
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    // Else nobody may say which groups there are.
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))
}

/// Enters it, between fork and exec: this process is root within then, with no more privileges there than root has elsewhere. Only makes
/// system calls.
pub(super) fn enter(users: &OwnedFd) -> io::Result<()> {
    move_into_link_name_space(users.as_fd(), Some(LinkNameSpaceType::User))?;
    // The namespace begins with all of them.
    privileges::bound()
}
