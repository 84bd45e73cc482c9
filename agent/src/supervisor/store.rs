//! Files in the supervisor's directory, which is its working directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use super::procfs::Process;
use crate::crash;

use super::protocol::{Durability, Identity, VERSION};

pub(super) const SPEC: &str = "spec.json";
pub(super) const PID: &str = "pid";
pub(super) const STATE: &str = "state.json";
pub(super) const TERMINAL: &str = "terminal.json";
pub(super) const SOCKET: &str = "sock";
pub(super) const LOG: &str = "supervisor.log";

/// Most bytes in the log.
const LOG_BYTES: u64 = 64 * 1024;

/// Claims the directory for this process: fails with `AlreadyExists` if any supervisor ever did, so that no task is started twice.
/// Answers the process id by which the agent knows it.
pub(super) fn claim(boot_id: &str) -> io::Result<i32> {
    let identity = identity(boot_id)?;
    let content = serde_json::to_vec(&identity).map_err(io::Error::other)?;
    let temporary = format!("{PID}.{}", identity.pid);
    write_file(Path::new(&temporary), &content)?;
    crash::point("supervisor: before its claim");
    let claimed = fs::hard_link(&temporary, PID);
    crash::point("supervisor: claimed");
    fs::remove_file(&temporary)?;
    claimed.map(|()| identity.pid)
}

fn identity(boot_id: &str) -> io::Result<Identity> {
    // Not `getpid`, which is 1 in a namespace of its own.
    let pid = fs::read_link("/proc/self")?.to_string_lossy().parse().map_err(io::Error::other)?;
    let own = Process::read(pid).ok_or_else(|| io::Error::other("/proc is not mounted or not readable"))?;
    Ok(Identity { version: VERSION, pid, start_ticks: own.start_ticks, boot_id: boot_id.to_owned() })
}

/// Replaces a file by one that is complete at every moment.
pub(super) fn replace(name: &str, content: &impl Serialize, durability: Durability) -> io::Result<()> {
    let content = serde_json::to_vec(content).map_err(io::Error::other)?;
    let temporary = format!("{name}.tmp");
    let file = write_file(Path::new(&temporary), &content)?;
    if durability == Durability::PowerLoss {
        file.sync_all()?;
    }
    crash::point("supervisor: before a record");
    fs::rename(&temporary, name)?;
    crash::point("supervisor: recorded");
    if durability == Durability::PowerLoss {
        File::open(".")?.sync_all()?;
    }
    Ok(())
}

/// Writes a file that only its owner can read.
pub(super) fn write_file(path: &Path, content: &[u8]) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    Ok(file)
}

/// Makes standard error the log, so that a panic's message is kept too.
pub(super) fn open_log() -> io::Result<()> {
    let log = OpenOptions::new().append(true).create(true).mode(0o600).open(LOG)?;
    rustix::stdio::dup2_stderr(log)?;
    Ok(())
}

/// Adds a line to the log; what is beyond its bound is dropped.
pub(super) fn note(message: &str) {
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    let line = format!("{message}\n");
    if WRITTEN.fetch_add(line.len() as u64, Ordering::Relaxed) + (line.len() as u64) <= LOG_BYTES {
        // There is nobody left to tell when the log cannot be written.
        let _unwritable = io::stderr().write_all(line.as_bytes());
    }
}
