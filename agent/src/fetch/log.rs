//! What a task's people read of the fetching: `fetch.log` in its sandbox.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use crate::unpack;

const NAME: &str = "fetch.log";
/// Between two lines that tell how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// A log that is of no use to anybody but people: what can't be written is not.
#[derive(Debug)]
pub(super) struct Log {
    file: Option<File>,
    told: Instant,
}

impl Log {
    /// Appends to the log of this sandbox, following no link.
    pub(super) fn open(sandbox: &Path, owner: Option<(u32, u32)>) -> Self {
        let flags =
            OFlags::CREATE | OFlags::APPEND | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = unpack::root(sandbox).ok().and_then(|folder| {
            rustix::fs::openat(&folder, NAME, flags, Mode::from_raw_mode(0o644)).ok().map(File::from)
        });
        if let (Some(file), Some((uid, gid))) = (&file, owner) {
            let _unowned = std::os::unix::fs::fchown(file, Some(uid), Some(gid));
        }
        Self { file, told: Instant::now() }
    }

    pub(super) fn say(&mut self, words: &str) {
        if let Some(file) = &mut self.file {
            let line: String = words.chars().take(1000).map(|c| if c.is_control() { ' ' } else { c }).collect();
            let _full = file.write_all(format!("{line}\n").as_bytes());
        }
    }

    /// Tells how far it is, now and then.
    pub(super) fn progress(&mut self, bytes: u64, of: Option<u64>) {
        if self.told.elapsed() < PROGRESS_EVERY {
            return;
        }
        self.told = Instant::now();
        let mib = |bytes: u64| bytes >> 20;
        match of {
            Some(of) => self.say(&format!("{} of {} MiB", mib(bytes), mib(of))),
            None => self.say(&format!("{} MiB", mib(bytes))),
        }
    }
}
