//! What processes leave behind in a folder: other processes, sockets.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

/// Whether a process of that number exists and is no zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// The processes other than this one whose command line, working directory or environment names `folder`, with their command lines.
pub(crate) fn processes_of(folder: &Path) -> Vec<(u32, String)> {
    let all = std::fs::read_dir("/proc").expect("there is a /proc");
    let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != std::process::id() && is_alive(*pid) && belongs_to(*pid, folder))
        .map(|pid| (pid, command_line(pid)))
        .collect()
}

/// Kills all of them, again until there is none: one may be about to start another.
pub(crate) fn kill_processes_of(folder: &Path) {
    for _ in 0..100 {
        let left = processes_of(folder);
        if left.is_empty() {
            return;
        }
        for (pid, _) in left {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("the kernel's own numbers");
            // It may have ended by itself since.
            kill_process(pid, Signal::KILL).ok();
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// The Unix sockets in files below `folder`.
pub(crate) fn sockets_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(sockets_below(&entry.path())),
            Ok(kind) if kind.is_socket() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

fn belongs_to(pid: u32, folder: &Path) -> bool {
    let below = std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
    let names = |file: &str| {
        let text = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let wanted = folder.as_os_str().as_bytes();
        text.windows(wanted.len()).any(|part| part == wanted)
    };
    below || names("cmdline") || names("environ")
}

fn command_line(pid: u32) -> String {
    let text = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&text).replace('\0', " ")
}
