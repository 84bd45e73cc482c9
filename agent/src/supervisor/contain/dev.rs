//! A `/dev` with the nodes that the group may open, and no others.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use rustix::mount::{MountFlags, mount, mount_bind};

use super::ContainError;
use crate::supervisor::protocol::{Right, TaskSpec};

/// What every group has.
const BASE: [&str; 6] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];
const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("pts/ptmx", "/dev/ptmx"),
];

/// A node of the machine's `/dev`.
pub(super) struct Node {
    path: PathBuf,
    metadata: fs::Metadata,
    handle: OwnedFd,
}

/// The base nodes that the machine has, and those of the members' devices.
pub(super) fn nodes(tasks: &[TaskSpec]) -> Result<Vec<Node>, ContainError> {
    let base = BASE.iter().map(Path::new).filter(|node| node.exists());
    let held = tasks.iter().flat_map(|task| &task.devices).map(PathBuf::as_path);
    let added = tasks.iter().flat_map(|task| &task.edits.nodes).map(|node| (&*node.path, &*node.from));
    let node = |(path, from): (&Path, &Path)| {
        let at = || ContainError::at::<io::Error>(format!("device node {}", from.display()));
        let handle = open(from, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let handle = handle.map_err(|error| at()(error.into()))?;
        Ok(Node { path: path.to_owned(), metadata: fs::metadata(from).map_err(at())?, handle })
    };
    base.chain(held).map(|path| (path, path)).chain(added).map(node).collect()
}

/// Mounts the group's own `/dev`. Who is not root can't make nodes, and shows the machine's.
pub(super) fn mount_dev(nodes: &[Node], right: Right) -> Result<(), ContainError> {
    let plain = MountFlags::NOSUID | MountFlags::NOEXEC;
    let mounted = |kind: &'static str, path: &'static str, flags, data| {
        mount(kind, path, kind, flags, data).map_err(ContainError::at(format!("mount {path}")))
    };
    mounted("tmpfs", "/dev", plain, Some(c"mode=755,size=64k"))?;
    for node in nodes {
        let done = if right == Right::Root { make(node) } else { show(node) };
        done.map_err(ContainError::at(format!("device node {}", node.path.display())))?;
    }
    for (target, link) in LINKS {
        symlink(target, link).map_err(ContainError::at(link))?;
    }
    for folder in ["/dev/pts", "/dev/shm", "/dev/mqueue"] {
        fs::create_dir(folder).map_err(ContainError::at(folder))?;
    }
    let of_terminals = match right {
        Right::Root => c"newinstance,ptmxmode=0666,mode=0620,gid=5",
        // The group of terminals is nobody's there.
        Right::UserNamespace => c"newinstance,ptmxmode=0666,mode=0600",
    };
    mounted("devpts", "/dev/pts", plain, Some(of_terminals))?;
    mounted("tmpfs", "/dev/shm", plain | MountFlags::NODEV, Some(c"mode=1777"))?;
    // Not every kernel has message queues.
    let _absent = mounted("mqueue", "/dev/mqueue", plain | MountFlags::NODEV, None);
    Ok(())
}

fn show(node: &Node) -> io::Result<()> {
    if node.path.exists() {
        return Ok(());
    }
    make_folder(&node.path)?;
    fs::File::create(&node.path)?;
    Ok(mount_bind(format!("/proc/self/fd/{}", node.handle.as_raw_fd()), &node.path)?)
}

fn make_folder(node: &Path) -> io::Result<()> {
    node.parent().map_or(Ok(()), fs::create_dir_all)
}

fn make(node: &Node) -> io::Result<()> {
    if node.path.exists() {
        return Ok(());
    }
    make_folder(&node.path)?;
    let mode = node.metadata.mode();
    mknodat(CWD, &node.path, FileType::from_raw_mode(mode), Mode::from_raw_mode(mode), node.metadata.rdev())?;
    chown(&node.path, Some(node.metadata.uid()), Some(node.metadata.gid()))?;
    // Again, without the mask of new files.
    rustix::fs::chmod(&node.path, Mode::from_raw_mode(mode & 0o7777))?;
    Ok(())
}
