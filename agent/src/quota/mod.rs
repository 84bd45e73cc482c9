//! Quotas of the file system for sandboxes and volumes: what a task may not take it can't take.
//!
//! XFS and ext4 count what the files of a project take, and refuse more, where they are mounted with `prjquota`. So each sandbox that has a
//! limit, and each volume, is a project of its own: a number from a range of this agent's. Nothing is written down about that: the folder
//! itself says whose it is, so a later agent finds the numbers that are taken by looking, and none can be taken twice. A number is given
//! back when its folder is gone, and used again only if the kernel says that no file is left of it.

mod project;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, openat};

use crate::cgroup;
use crate::launcher::START;
use crate::work_dir::Layout;

pub(crate) use project::Fill;

/// The first number of all agents' projects: far above what people write into `/etc/projid`.
const FIRST: u32 = 1 << 30;
/// The numbers of one agent.
const COUNT: u32 = 1 << 24;
/// How many agents have numbers of their own; beyond that they share some, and find out from the kernel which are taken.
const AGENTS: u32 = 64;
/// How many numbers are tried before there counts as none.
const MAX_TRIES: usize = 4096;
/// How deep folders may lie in each other; what is below is nobody's.
const MAX_DEPTH: usize = 256;

/// The file systems with quotas that this agent's sandboxes and volumes lie on.
#[derive(Debug, Default)]
pub(crate) struct Quotas {
    range: Range<u32>,
    disks: Vec<Disk>,
}

#[derive(Debug)]
struct Disk {
    device: u64,
    folder: OwnedFd,
    /// Others that this agent keeps things below.
    others: Vec<OwnedFd>,
    numbers: Mutex<Numbers>,
}

/// Which numbers are not taken: some that were, and all that never were.
#[derive(Debug, Default, PartialEq, Eq)]
struct Numbers {
    free: BTreeSet<u32>,
    rest: Range<u32>,
}

impl Quotas {
    /// Looks which of the work directory and the other `disks` have quotas, and which numbers are taken there. Says what it found in one
    /// line each.
    pub(crate) fn detect<'a>(layout: &Layout, disks: impl IntoIterator<Item = &'a str>) -> Self {
        let share = u32::from_str_radix(&cgroup::key(layout.root())[..4], 16).unwrap_or(0) % AGENTS;
        let first = FIRST + share * COUNT;
        let mut quotas = Self { range: first..first + COUNT, disks: Vec::new() };
        // Resources of several kinds may come from one disk.
        let disks: BTreeSet<&str> = disks.into_iter().collect();
        for root in std::iter::once(layout.root().to_owned()).chain(disks.into_iter().map(PathBuf::from)) {
            let place = root.display();
            match quotas.add(&root) {
                Ok(()) => {
                    tracing::info!(target: START, "disk limits: held by the project quotas of the file system of {place}");
                }
                Err(why) => {
                    tracing::info!(
                        target: START,
                        "disk limits: sandboxes are measured and volumes have none in {place}, because {why}"
                    );
                }
            }
        }
        if quotas.is_any() {
            quotas.find_taken(layout);
        }
        quotas
    }

    fn add(&mut self, root: &Path) -> Result<(), String> {
        if !rustix::process::geteuid().is_root() {
            return Err("this agent does not run as root".to_owned());
        }
        let folder = open(root).map_err(|error| error.to_string())?;
        let device = rustix::fs::fstat(&folder).map_err(|error| error.to_string())?.st_dev;
        if let Some(disk) = self.disks.iter_mut().find(|disk| disk.device == device) {
            disk.others.push(folder);
            return Ok(());
        }
        match project::is_enforced(&folder) {
            Ok(true) => {}
            Ok(false) => return Err("its file system counts for projects, and does not hold them to limits".to_owned()),
            Err(error) => return Err(format!("its file system has no project quotas ({error})")),
        }
        match project::of(&folder).map_err(|error| error.to_string())? {
            project::NONE => {}
            other => return Err(format!("it is of project {other} already, whose limit holds for all of it")),
        }
        self.disks.push(Disk { device, folder, others: Vec::new(), numbers: Mutex::default() });
        Ok(())
    }

    /// Finds the numbers of all sandboxes and volumes that there are.
    fn find_taken(&self, layout: &Layout) {
        let mut taken: Vec<BTreeSet<u32>> = self.disks.iter().map(|_| BTreeSet::new()).collect();
        let sandboxes = layout.sandboxed().unwrap_or_default().into_iter().map(|task| layout.sandbox(&task));
        let roots = self.disks.iter().flat_map(|disk| disk.others.iter().chain([&disk.folder]));
        let volumes = roots.flat_map(volumes_below);
        for folder in sandboxes.filter_map(|path| open(&path).ok()).chain(volumes) {
            if let Some((disk, number)) = self.holder(&folder) {
                taken[disk].insert(number);
            }
        }
        for (disk, taken) in self.disks.iter().zip(&taken) {
            *disk.lock() = Numbers::without(self.range.clone(), taken);
        }
    }

    /// Whether any file system has quotas.
    pub(crate) fn is_any(&self) -> bool {
        !self.disks.is_empty()
    }

    /// Holds a folder, and all in it, to a limit. Nothing, where there are no quotas.
    ///
    /// # Errors
    /// It can't be, or there are no numbers left.
    pub(crate) fn limit(&self, folder: &OwnedFd, bytes: u64) -> io::Result<()> {
        let Some(disk) = self.disk(folder)? else { return Ok(()) };
        if let Some((_, number)) = self.holder(folder) {
            return project::limit(folder, number, bytes);
        }
        let number = disk.take()?;
        let given = project::limit(folder, number, bytes).and_then(|()| give(folder, number, 0));
        if given.is_err() && self.holder(folder).is_none() {
            disk.give_back(number);
        }
        given
    }

    /// What a folder that has a limit takes; `None` if it has none here.
    pub(crate) fn fill(&self, folder: &OwnedFd) -> Option<Fill> {
        let (_, number) = self.holder(folder)?;
        project::fill(folder, number).ok()
    }

    /// Removes a folder, and gives its number back if that has succeeded.
    ///
    /// # Errors
    /// Those of `remove`.
    pub(crate) fn removing(&self, folder: Option<&OwnedFd>, remove: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let held = folder.and_then(|folder| self.holder(folder));
        remove()?;
        if let Some((disk, number)) = held {
            self.disks[disk].give_back(number);
        }
        Ok(())
    }

    fn disk(&self, folder: &OwnedFd) -> io::Result<Option<&Disk>> {
        if self.disks.is_empty() {
            return Ok(None);
        }
        let device = rustix::fs::fstat(folder)?.st_dev;
        Ok(self.disks.iter().find(|disk| disk.device == device))
    }

    /// The index of a folder's disk, and its number, if it has one of this agent's.
    fn holder(&self, folder: &OwnedFd) -> Option<(usize, u32)> {
        if self.disks.is_empty() {
            return None;
        }
        let device = rustix::fs::fstat(folder).ok()?.st_dev;
        let disk = self.disks.iter().position(|disk| disk.device == device)?;
        let number = project::of(folder).ok()?;
        self.range.contains(&number).then_some((disk, number))
    }
}

impl Disk {
    /// A number of which no file is left, not even one that was removed and is still open, and none of another agent.
    fn take(&self) -> io::Result<u32> {
        let unused = |number: &u32| {
            project::fill(&self.folder, *number).is_ok_and(|fill| (fill.used_bytes, fill.files) == (0, 0))
        };
        self.lock().take(unused).ok_or_else(|| io::Error::other("all numbers of projects are taken"))
    }

    fn give_back(&self, number: u32) {
        // A limit that stays is set anew by the next holder.
        let _kept = project::limit(&self.folder, number, 0);
        self.lock().free.insert(number);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Numbers {
    fn without(range: Range<u32>, taken: &BTreeSet<u32>) -> Self {
        let begun = taken.last().map_or(range.start, |last| last + 1);
        let free = (range.start..begun).filter(|number| !taken.contains(number)).collect();
        Self { free, rest: begun..range.end }
    }

    /// One that is `unused`: first of those that were taken before, so that the file system keeps few.
    fn take(&mut self, unused: impl Fn(&u32) -> bool) -> Option<u32> {
        let again = self.free.iter().take(MAX_TRIES).find(|number| unused(number)).copied();
        if let Some(number) = again {
            self.free.remove(&number);
            return Some(number);
        }
        self.rest.by_ref().take(MAX_TRIES).find(|number| unused(number))
    }
}

/// Opens a folder, following no link at its end.
pub(crate) fn open(path: &Path) -> io::Result<OwnedFd> {
    Ok(openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
}

/// Makes what is to be moved into a folder of the folder's project, since the kernel does not move what is another's.
///
/// # Errors
/// It can't be.
pub(crate) fn join(from: &Path, folder: &OwnedFd) -> io::Result<()> {
    // Where there are no projects there is nothing to join.
    match project::of(folder) {
        Ok(project::NONE) | Err(_) => Ok(()),
        Ok(number) => give(&open(from)?, number, 0),
    }
}

/// Makes a folder a project's, with all that is in it already.
fn give(folder: &OwnedFd, number: u32, depth: usize) -> io::Result<()> {
    project::give_folder(folder, number)?;
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match entry.file_type() {
            FileType::Directory if depth < MAX_DEPTH => {
                let inner = openat(folder.as_fd(), name, flags | OFlags::DIRECTORY, Mode::empty())?;
                give(&inner, number, depth + 1)?;
            }
            FileType::RegularFile => {
                project::give_file(openat(folder.as_fd(), name, flags, Mode::empty())?, number)?;
            }
            // Others take no room.
            _ => {}
        }
    }
    Ok(())
}

/// The folders of all volumes below a disk's root, known or lost.
fn volumes_below(root: &OwnedFd) -> Vec<OwnedFd> {
    let root = PathBuf::from(format!("/proc/self/fd/{}/volumes", root.as_raw_fd()));
    let entries = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let known = entries(&root.join("roles")).flat_map(|role| entries(&role).collect::<Vec<_>>());
    known.chain(entries(&root.join("lost"))).filter_map(|path| open(&path).ok()).collect()
}

#[cfg(test)]
mod tests;
