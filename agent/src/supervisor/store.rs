//! Files in the supervisor's directory, which is its working directory. There are few of them, and most supervisors make only one: making
//! and removing files is a good part of what a short task costs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::procfs::Process;
use crate::crash;

use super::protocol::{Durability, Identity, Snapshot, TaskState, TaskStatus, Terminal, VERSION};

pub(super) const SPEC: &str = "spec.json";
pub(super) const RECORD: &str = "pid";
/// Files that are there to be written over, so that none has to be made.
pub(super) const SPARE_SPEC: &str = "spec.new";
pub(super) const SPARE_RECORD: &str = "record.new";
pub(super) const SOCKET: &str = "sock";
pub(super) const LOG: &str = "supervisor.log";

/// Most bytes in the log.
const LOG_BYTES: u64 = 64 * 1024;

/// One line of the record, after the first, which is the [`Identity`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    /// Where a member stands now.
    Task(TaskStatus),
    /// The group has ended.
    Terminal(Terminal),
}

/// What has become of the group: a file to which lines are only added. One that has no end yet was never written.
pub(super) struct Record {
    file: File,
    /// How much of it is known to be good; what is beyond was left by a write that failed.
    good: u64,
    /// Whether something is.
    torn: bool,
}

impl Record {
    /// Claims the directory for this process: fails with `AlreadyExists` if any supervisor ever did, so that no task is started twice.
    /// Answers the record, and the process id by which the agent knows this process.
    pub(super) fn claim(boot_id: &str) -> io::Result<(Self, i32)> {
        let identity = identity(boot_id)?;
        let mut content = serde_json::to_vec(&identity).map_err(io::Error::other)?;
        content.push(b'\n');
        let temporary = format!("{RECORD}.{}", identity.pid);
        // Only one can have it, and mostly there is none.
        let _absent = fs::rename(SPARE_RECORD, &temporary);
        let file = write_file(Path::new(&temporary), &content)?;
        crash::point("supervisor: before its claim");
        let claimed = fs::hard_link(&temporary, RECORD);
        crash::point("supervisor: claimed");
        fs::remove_file(&temporary)?;
        claimed.map(|()| (Self { file, good: content.len() as u64, torn: false }, identity.pid))
    }

    /// Adds lines, all or none.
    pub(super) fn add(&mut self, lines: &[Line], durability: Durability) -> io::Result<()> {
        let mut bytes = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut bytes, line).map_err(io::Error::other)?;
            bytes.push(b'\n');
        }
        if self.torn {
            self.file.set_len(self.good)?;
            self.file.seek(SeekFrom::Start(self.good))?;
        }
        crash::point("supervisor: before a record");
        self.torn = true;
        crash::torn("supervisor: within a record", &mut self.file, &bytes)?;
        self.file.write_all(&bytes)?;
        if durability == Durability::PowerLoss {
            self.file.sync_all()?;
            File::open(".")?.sync_all()?;
        }
        crash::point("supervisor: recorded");
        self.torn = false;
        self.good += bytes.len() as u64;
        Ok(())
    }
}

/// What a record says.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) identity: Identity,
    tasks: Vec<TaskStatus>,
    pub(super) terminal: Option<Terminal>,
}

impl Told {
    /// Reads a record. A last line without its end was never written.
    ///
    /// # Errors
    /// Another line is none.
    pub(super) fn parse(content: &str) -> serde_json::Result<Self> {
        let written = &content[..content.rfind('\n').map_or(0, |end| end + 1)];
        let (first, rest) = written.split_once('\n').unwrap_or((content, ""));
        let mut told = Self { identity: serde_json::from_str(first)?, tasks: Vec::new(), terminal: None };
        for line in rest.lines() {
            match serde_json::from_str(line)? {
                Line::Terminal(terminal) => told.terminal = Some(terminal),
                Line::Task(status) => told.note(status),
            }
        }
        Ok(told)
    }

    fn note(&mut self, status: TaskStatus) {
        match self.tasks.iter_mut().find(|task| task.name == status.name) {
            Some(task) => *task = status,
            None => self.tasks.push(status),
        }
    }

    /// Where the members stood last; `None` if nothing was begun.
    pub(super) fn snapshot(self) -> Option<Snapshot> {
        let (pid, tasks) = (self.identity.pid, self.tasks);
        (!tasks.is_empty()).then_some(Snapshot { version: VERSION, pid, tasks })
    }
}

/// Lines for changes, without the ends, which are on disk before they become changes.
pub(super) fn lines(changes: &[TaskStatus]) -> Vec<Line> {
    let begun = changes.iter().filter(|change| !matches!(change.state, TaskState::Ended(_)));
    begun.cloned().map(Line::Task).collect()
}

fn identity(boot_id: &str) -> io::Result<Identity> {
    // Not `getpid`, which is 1 in a namespace of its own.
    let pid = fs::read_link("/proc/self")?.to_string_lossy().parse().map_err(io::Error::other)?;
    let own = Process::read(pid).ok_or_else(|| io::Error::other("/proc is not mounted or not readable"))?;
    let group = group(&std::env::current_dir()?);
    Ok(Identity { version: VERSION, pid, start_ticks: own.start_ticks, boot_id: boot_id.to_owned(), group })
}

/// The name of the group that a directory belongs to.
pub(super) fn group(directory: &Path) -> String {
    let names: Vec<_> = directory.iter().rev().take(2).map(|name| name.to_string_lossy()).collect();
    names.into_iter().rev().collect::<Vec<_>>().join("/")
}

/// Writes a file that only its owner can read. What was there is written over and not cut off before: file systems make haste to write down
/// a file that was emptied.
pub(super) fn write_file(path: &Path, content: &[u8]) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    file.write_all(content)?;
    if file.metadata()?.len() > content.len() as u64 {
        file.set_len(content.len() as u64)?;
    }
    Ok(file)
}

/// The directory, once it is known: the log is made in it when there is something to say.
static DIRECTORY: OnceLock<OwnedFd> = OnceLock::new();
static LOGGING: OnceLock<()> = OnceLock::new();

/// From now on there is a log, and a panic's message is kept in it too.
pub(super) fn keep_log() -> io::Result<()> {
    let directory = rustix::fs::open(".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    if DIRECTORY.set(directory).is_ok() {
        std::panic::set_hook(Box::new(|info| note(&info.to_string())));
    }
    Ok(())
}

/// Makes standard error the log, if that is known and was not done yet.
pub(super) fn open_log() {
    let Some(directory) = DIRECTORY.get() else { return };
    LOGGING.get_or_init(|| {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC;
        // There is nobody left to tell when the log cannot be opened.
        if let Ok(log) = rustix::fs::openat(directory, LOG, flags, Mode::from_raw_mode(0o600)) {
            let _unsaid = rustix::stdio::dup2_stderr(log);
        }
    });
}

/// Adds a line to the log; what is beyond its bound is dropped.
pub(super) fn note(message: &str) {
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    open_log();
    let line = format!("{message}\n");
    if WRITTEN.fetch_add(line.len() as u64, Ordering::Relaxed) + (line.len() as u64) <= LOG_BYTES {
        // There is nobody left to tell when the log cannot be written.
        let _unwritable = io::stderr().write_all(line.as_bytes());
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
