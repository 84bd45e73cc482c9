//! What the kernel says about processes.

use std::collections::BTreeSet;
use std::{fs, io};

use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::sys;

/// The fields of `/proc/PID/stat` that are needed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) parent: i32,
    pub(super) process_group: i32,
    pub(super) session: i32,
    pub(super) start_ticks: u64,
    pub(super) is_zombie: bool,
}

impl Process {
    /// The process with this id, or `None` if there is none (any more).
    pub(super) fn read(pid: i32) -> Option<Self> {
        // Command names are bytes chosen by the process.
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        parse_stat(pid, &String::from_utf8_lossy(&stat))
    }

    /// Sends a signal to this very process, never to another one that got its id since. A process that is gone is no error.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        let Some(pid) = sys::pid(self.pid) else { return Ok(()) };
        let gone = |error| if error == rustix::io::Errno::SRCH { Ok(()) } else { Err(io::Error::from(error)) };
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(error) => return gone(error),
        };
        if Self::read(self.pid).is_none_or(|now| now.start_ticks != self.start_ticks) {
            return Ok(());
        }
        pidfd_send_signal(handle, signal).or_else(gone)
    }
}

fn parse_stat(pid: i32, stat: &str) -> Option<Process> {
    // The name is in parentheses and may itself contain them and spaces.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    Some(Process {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        process_group: fields.get(2)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        start_ticks: fields.get(19)?.parse().ok()?,
        is_zombie: matches!(*fields.first()?, "Z" | "X"),
    })
}

/// This boot of the machine.
pub(super) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// Every process below `root`, parents before children. A look, not a proof: processes may come and go meanwhile.
pub(super) fn descendants(root: i32) -> Vec<Process> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::from([root]);
    let mut queue = vec![root];
    while let Some(parent) = queue.pop() {
        let Some(children) = children(parent) else { return descendants_by_parent(root) };
        for child in children.into_iter().filter(|&child| seen.insert(child)) {
            found.extend(Process::read(child));
            queue.push(child);
        }
    }
    found
}

/// Children of all threads of a process; `None` if this kernel does not list them (`CONFIG_PROC_CHILDREN`).
fn children(pid: i32) -> Option<Vec<i32>> {
    let mut children = Vec::new();
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Some(children) };
    for thread in threads.flatten() {
        match fs::read_to_string(thread.path().join("children")) {
            Ok(list) => children.extend(list.split_ascii_whitespace().filter_map(|child| child.parse::<i32>().ok())),
            Err(error) if error.kind() == io::ErrorKind::NotFound && thread.path().exists() => return None,
            // The thread has ended since the directory was read.
            Err(_) => {}
        }
    }
    Some(children)
}

/// The same from the parents of all processes of the machine.
fn descendants_by_parent(root: i32) -> Vec<Process> {
    let mut rest = all();
    let mut found: Vec<Process> = Vec::new();
    let mut parents = BTreeSet::from([root]);
    loop {
        let (below, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(|process| parents.contains(&process.parent));
        if below.is_empty() {
            return found;
        }
        parents = below.iter().map(|process| process.pid).collect();
        found.extend(below);
        rest = others;
    }
}

/// Every process of the machine that may be seen.
pub(super) fn all() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(Process::read).collect()
}

#[cfg(test)]
#[path = "procfs_tests.rs"]
mod tests;
