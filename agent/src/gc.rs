//! Folders that nobody needs any more.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rialto_core::model::TaskKey;

use crate::supervisor::client::{self, Liveness};
use crate::work_dir::Layout;

/// Removes a supervisor's folder.
pub(crate) async fn remove_run(directory: PathBuf) {
    blocking(move || log_failure(&directory, remove(&directory))).await;
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

/// Removes sandboxes of tasks that are not `known` and in which nothing has changed for `retention`.
pub(crate) async fn collect(layout: Layout, known: BTreeSet<TaskKey>, retention: Duration) {
    blocking(move || {
        for task in layout.sandboxed().unwrap_or_default().into_iter().filter(|task| !known.contains(task)) {
            let sandbox = layout.sandbox(&task);
            if age(&sandbox).is_some_and(|age| age > retention) {
                log_failure(&sandbox, remove(&sandbox));
            }
        }
    })
    .await;
}

/// The time since the folder or what the task wrote last was changed.
fn age(sandbox: &Path) -> Option<Duration> {
    let changed = |path: &Path| std::fs::symlink_metadata(path).and_then(|metadata| metadata.modified()).ok();
    let last = [sandbox.to_owned(), sandbox.join("stdout"), sandbox.join("stderr")]
        .iter()
        .filter_map(|path| changed(path))
        .max()?;
    SystemTime::now().duration_since(last).ok()
}

fn remove(directory: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
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
