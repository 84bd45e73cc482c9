//! Where cgroup hierarchies are mounted.

use std::path::{Path, PathBuf};

use super::{Controller, Version};

/// A mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) path: PathBuf,
    /// Below which folders may be made: the mount point, or what was delegated to this process's user.
    pub(super) base: PathBuf,
    pub(super) version: Version,
    /// Of a hierarchy of version 1. Version 2 tells in a file.
    pub(super) controllers: Vec<Controller>,
}

impl Controller {
    /// As the kernel calls it.
    pub(super) fn name(self, version: Version) -> &'static str {
        match (self, version) {
            (Self::Cpu, _) => "cpu",
            (Self::CpuAcct, _) => "cpuacct",
            (Self::Memory, _) => "memory",
            (Self::Pids, _) => "pids",
            (Self::Io, Version::V1) => "blkio",
            (Self::Io, Version::V2) => "io",
            (Self::Devices, _) => "devices",
            (Self::Freezer, _) => "freezer",
        }
    }

    pub(super) const ALL: [Self; 7] =
        [Self::Cpu, Self::CpuAcct, Self::Memory, Self::Pids, Self::Io, Self::Devices, Self::Freezer];
}

/// The hierarchies in `mountinfo`, a text as in `/proc/self/mountinfo`; of one that is mounted twice the first.
pub(super) fn mounts(mountinfo: &str) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = Vec::new();
    for mount in mountinfo.lines().filter_map(mount) {
        let known = |known: &Mount| known.version == mount.version && known.controllers == mount.controllers;
        if !mounts.iter().any(known) {
            mounts.push(mount);
        }
    }
    mounts
}

fn mount(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let path = PathBuf::from(unescape(before.split(' ').nth(4)?));
    let mut after = after.split(' ');
    let version = match after.next()? {
        "cgroup" => Version::V1,
        "cgroup2" => return Some(Mount { base: path.clone(), path, version: Version::V2, controllers: Vec::new() }),
        _ => return None,
    };
    let options = after.nth(1)?;
    let has = |controller: &Controller| options.split(',').any(|option| option == controller.name(version));
    let controllers: Vec<_> = Controller::ALL.into_iter().filter(has).collect();
    (!controllers.is_empty()).then_some(Mount { base: path.clone(), path, version, controllers })
}

impl Mount {
    /// Lets folders be made only in what was delegated to a user: the topmost folder above that of its process which is the user's to change,
    /// in the hierarchy of version 2. `own` is a text as in `/proc/self/cgroup`.
    pub(super) fn delegate(&mut self, own: &str, is_users: impl Fn(&Path) -> bool) {
        let own = own.lines().find_map(|line| line.strip_prefix("0::/")).filter(|_| self.version == Version::V2);
        let Some(own) = own.map(|own| self.path.join(own)) else { return };
        let above = own.ancestors().take_while(|above| above.starts_with(&self.path));
        if let Some(base) = above.take_while(|folder| is_users(folder)).last() {
            self.base = base.to_owned();
        }
    }
}

/// Where the hierarchies are mounted that `folders` lie in, and where those of version 1 are that they do not.
pub(super) fn others(mountinfo: &str, folders: &[&Path]) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let path = |line: &str| Some(PathBuf::from(unescape(line.split(' ').nth(4)?)));
    let is_used = |path: &Path| folders.iter().any(|folder| folder.starts_with(path));
    let (mut used, mut others) = (Vec::new(), Vec::new());
    for line in mountinfo.lines() {
        let Some(path) = path(line) else { continue };
        if line.contains(" - cgroup ") && !is_used(&path) {
            others.push(path);
        } else if (line.contains(" - cgroup ") || line.contains(" - cgroup2 ")) && is_used(&path) {
            used.push(path);
        }
    }
    (used, others)
}

/// White space and backslashes are three octal digits.
fn unescape(text: &str) -> String {
    ["\\040", "\\011", "\\012", "\\134"]
        .into_iter()
        .zip([" ", "\t", "\n", "\\"])
        .fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}
