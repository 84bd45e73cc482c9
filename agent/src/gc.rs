//! Folders that nobody needs any more.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rialto_core::model::TaskKey;

use crate::launcher::Launcher;
use crate::quota::{self, Quotas};
use crate::removal::remove;
use crate::supervisor::client::{self, Liveness};
use crate::work_dir::Layout;

/// Gives the folder of a supervisor that is not needed any more to another, or removes it.
pub(crate) async fn give_run(launcher: Arc<Launcher>, directory: PathBuf) {
    blocking(move || log_failure(&directory, launcher.spare.give(&directory))).await;
}

/// Removes the folders of groups that the journal does not know: they were forgotten, and a crash came before their folders were removed.
pub(crate) async fn remove_strays(strays: Vec<PathBuf>) {
    blocking(move || {
        for directory in strays {
            match client::terminate(&directory) {
                Ok(Liveness::Alive { pid }) => {
                    tracing::warn!(
                        pid,
                        "{} has a supervisor that the journal does not know; it is ended",
                        directory.display()
                    );
                }
                Ok(Liveness::Dead | Liveness::Never) => log_failure(&directory, remove(&directory)),
                Err(error) => tracing::warn!("{error}"),
            }
        }
    })
    .await;
}

/// By how much the times of files may lag behind the clock, and more.
const CLOCK: Duration = Duration::from_secs(1);

/// The part of the disk that may be in use, in thousandths, before sandboxes are kept for a shorter time; and that at which none is kept.
const PRESSURE_MILLI: std::ops::Range<u64> = 800..950;

/// Removes sandboxes of tasks that are not `known` now and in which nothing has changed for `retention`, or for less while the disk fills
/// up. Those of tasks that begin meanwhile are not known, and stay.
pub(crate) fn collect(
    launcher: Arc<Launcher>,
    known: BTreeSet<TaskKey>,
    retention: Duration,
) -> impl Future<Output = ()> {
    let before = SystemTime::now().checked_sub(CLOCK).unwrap_or(SystemTime::UNIX_EPOCH);
    blocking(move || {
        let layout = &launcher.layout;
        let used_milli = used_milli(layout.root());
        let allowed = allowed_age(retention, used_milli);
        if allowed < retention {
            let (used, kept) = (used_milli / 10, allowed.as_secs());
            tracing::info!(
                "{used} % of the agent's disk is in use; sandboxes of tasks that have ended are kept for {kept} s"
            );
        }
        remove_older(layout, &launcher.quotas, &known, before, allowed);
    })
}

/// Removes sandboxes of tasks that were not `known` and in which nothing has changed since then (`before`), nor for so long.
fn remove_older(layout: &Layout, quotas: &Quotas, known: &BTreeSet<TaskKey>, before: SystemTime, allowed: Duration) {
    for task in layout.sandboxed().unwrap_or_default().into_iter().filter(|task| !known.contains(task)) {
        let sandbox = layout.sandbox(&task);
        let is_old = |changed: SystemTime| changed.elapsed().is_ok_and(|age| age > allowed);
        if changed(&sandbox).is_some_and(|changed| changed < before && is_old(changed)) {
            let held = quota::open(&sandbox).ok();
            log_failure(&sandbox, quotas.removing(held.as_ref(), || remove(&sandbox)));
        }
    }
}

/// Whether the disk is so full that sandboxes are not to be kept for as long as they might.
pub(crate) fn is_tight(folder: &Path) -> bool {
    used_milli(folder) > PRESSURE_MILLI.start
}

/// The part of a folder's file system that is in use, in thousandths; 0 if that can't be known.
fn used_milli(folder: &Path) -> u64 {
    let Ok(stat) = rustix::fs::statvfs(folder) else { return 0 };
    let used = stat.f_blocks.saturating_sub(stat.f_bfree);
    // What only root may use is no room for tasks.
    let total = used.saturating_add(stat.f_bavail).max(1);
    u64::try_from(u128::from(used) * 1000 / u128::from(total)).unwrap_or(1000)
}

/// All of `retention` while there is room, then less and less, and nothing on a full disk.
fn allowed_age(retention: Duration, used_milli: u64) -> Duration {
    let steps = PRESSURE_MILLI.end - PRESSURE_MILLI.start;
    let left = PRESSURE_MILLI.end.saturating_sub(used_milli).min(steps);
    let millis = retention.as_millis() * u128::from(left) / u128::from(steps);
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// When the folder or what the task wrote was changed last.
fn changed(sandbox: &Path) -> Option<SystemTime> {
    let changed = |path: &Path| std::fs::symlink_metadata(path).and_then(|metadata| metadata.modified()).ok();
    [sandbox.to_owned(), sandbox.join("stdout"), sandbox.join("stderr")].iter().filter_map(|path| changed(path)).max()
}

fn log_failure(path: &Path, result: io::Result<()>) {
    if let Err(error) = result {
        tracing::warn!("{} can't be removed: {error}", path.display());
    }
}

pub(crate) async fn blocking(work: impl FnOnce() + Send + 'static) {
    if tokio::task::spawn_blocking(work).await.is_err() {
        tracing::debug!("folders are left for the next start to remove");
    }
}

#[cfg(test)]
#[path = "gc_tests.rs"]
mod tests;
