//! How much disk a task takes, measured as rarely as its size asks for.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc};

/// The shortest time between two looks at a sandbox.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// The longest.
const LOOK_AGAIN_MAX: Duration = Duration::from_secs(300);
/// Looks take at most one part in so many of the time.
const SHARE: u32 = 50;
/// How many sandboxes are looked at at once.
const LOOKERS: usize = 2;
/// How deep folders may lie in each other; what is below is not counted.
const MAX_DEPTH: usize = 256;
/// The unit of `st_blocks`.
const BLOCK: u64 = 512;

/// Bounds how much of the machine measuring takes.
#[derive(Debug)]
pub(crate) struct Lookers(Arc<Semaphore>);

impl Default for Lookers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LOOKERS)))
    }
}

/// What a task may take, and what it took when somebody looked last.
#[derive(Clone, Debug)]
pub(crate) struct Allowance {
    pub(crate) limit_bytes: u64,
    pub(crate) taken: Arc<AtomicU64>,
}

/// A member has taken more disk than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Excess {
    pub(crate) member: usize,
    pub(crate) taken_bytes: u64,
    pub(crate) limit_bytes: u64,
}

impl Excess {
    /// For people.
    pub(crate) fn words(self) -> String {
        let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
        let (taken, limit) = (mib(self.taken_bytes), mib(self.limit_bytes));
        format!("it took more disk than its limit of {limit:.1} MiB; it had {taken:.1} MiB when it was killed")
    }
}

/// Looks at a member's folders for as long as it is polled, and says once that they have become too large together.
pub(crate) async fn watch(
    folders: Arc<[PathBuf]>,
    allowance: Allowance,
    member: usize,
    lookers: Arc<Lookers>,
    excesses: mpsc::Sender<Excess>,
) {
    loop {
        let Ok(permit) = lookers.0.clone().acquire_owned().await else { return };
        let folders = folders.clone();
        let start = Instant::now();
        let limit_bytes = allowance.limit_bytes;
        let looked = tokio::task::spawn_blocking(move || measure_all(&folders)).await;
        drop(permit);
        let Ok(taken_bytes) = looked else { return };
        allowance.taken.store(taken_bytes, Ordering::Relaxed);
        if taken_bytes > limit_bytes {
            let _ended = excesses.send(Excess { member, taken_bytes, limit_bytes }).await;
            return;
        }
        tokio::time::sleep(pause(start.elapsed())).await;
    }
}

/// After a look that took so long.
fn pause(took: Duration) -> Duration {
    (took * SHARE).clamp(LOOK_AGAIN, LOOK_AGAIN_MAX)
}

fn measure_all(folders: &[PathBuf]) -> u64 {
    folders.iter().map(|folder| measure(folder)).fold(0, u64::saturating_add)
}

/// The bytes on disk of all that lies below a folder, on its file system. What can't be read, or goes while it is looked at, counts as
/// nothing; links are not followed; a file with several names counts once for each.
pub(crate) fn measure(folder: &Path) -> u64 {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(root) = openat(CWD, folder, flags, Mode::empty()) else { return 0 };
    let Ok(stat) = rustix::fs::fstat(&root) else { return 0 };
    below(&root, stat.st_dev, 0)
}

fn below(folder: &OwnedFd, device: u64, depth: usize) -> u64 {
    let Ok(entries) = Dir::read_from(folder) else { return 0 };
    let mut sum = 0_u64;
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let Ok(stat) = statat(folder.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        if stat.st_dev != device {
            continue;
        }
        sum = sum.saturating_add(u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(BLOCK));
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory && depth < MAX_DEPTH {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            if let Ok(inner) = openat(folder.as_fd(), name, flags, Mode::empty()) {
                sum = sum.saturating_add(below(&inner, device, depth + 1));
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests;
