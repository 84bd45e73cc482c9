//! Folders below a root, opened one by one.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

/// Whether folders that are not there are made on the way down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// They become the owner's, where one is given.
    Make(Option<(u32, u32)>),
    Fail,
}

/// The parts of a relative path; `None` if one of them leads elsewhere. A leading `./` is no part.
pub(crate) fn parts(path: &str) -> Option<Vec<&str>> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let good = !path.starts_with('/') && parts.iter().all(|part| *part != ".." && part.len() <= 255);
    good.then_some(parts)
}

/// Opens a folder below `root`, following no link.
pub(crate) fn descend(root: &OwnedFd, parts: &[&str], missing: Missing) -> io::Result<OwnedFd> {
    let mut folder = root.try_clone()?;
    for part in parts {
        folder = match (open_folder(&folder, part), missing) {
            (Err(Errno::NOENT), Missing::Make(owner)) => make_folder(&folder, part, owner)?,
            (opened, _) => opened?,
        };
    }
    Ok(folder)
}

fn make_folder(folder: &OwnedFd, name: &str, owner: Option<(u32, u32)>) -> io::Result<OwnedFd> {
    match rustix::fs::mkdirat(folder, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let made = open_folder(folder, name)?;
    if let Some((uid, gid)) = owner {
        std::os::unix::fs::fchown(&made, Some(uid), Some(gid))?;
    }
    Ok(made)
}

pub(super) fn open_folder(folder: &OwnedFd, name: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty())
}

/// Opens a folder by its path, for use as a root.
pub(crate) fn root(path: &std::path::Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(CWD, path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}
