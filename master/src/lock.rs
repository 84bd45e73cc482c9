//! The work dir belongs to one process at a time.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// The name of the lock file in the work dir.
pub const LOCK_FILE: &str = "lock";

/// A held work dir; released when dropped, also by the end of the process.
#[derive(Debug)]
pub(crate) struct WorkDir {
    path: PathBuf,
    lock: File,
}

/// Why a work dir can't be used.
#[derive(Debug, thiserror::Error)]
pub enum WorkDirError {
    /// It can't be made or written.
    #[error("work dir {path}: expected a folder that can be written: {error}")]
    Unwritable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Another process uses it.
    #[error("work dir {path} is in use by {holder}; stop it or choose another work dir")]
    InUse {
        /// Which.
        path: PathBuf,
        /// By whom, as far as the lock file tells.
        holder: String,
    },
}

impl WorkDir {
    /// Makes the folder if it is not there, and locks it.
    pub(crate) fn lock(path: &Path) -> Result<Self, WorkDirError> {
        let unwritable = |error| WorkDirError::Unwritable { path: path.to_owned(), error };
        std::fs::create_dir_all(path).map_err(unwritable)?;
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
        let mut lock = options.open(path.join(LOCK_FILE)).map_err(unwritable)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(WorkDirError::InUse { path: path.to_owned(), holder: holder(&mut lock) });
            }
            Err(error) => return Err(unwritable(error.into())),
        }
        sign(&mut lock).map_err(unwritable)?;
        Ok(Self { path: path.to_owned(), lock })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        // The kernel releases the lock with the file; an emptied file keeps a later error from naming a process that is gone.
        if let Err(error) = self.lock.set_len(0) {
            tracing::debug!(%error, "lock file not emptied");
        }
    }
}

fn sign(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    write!(lock, "{}", std::process::id())
}

fn holder(lock: &mut File) -> String {
    let mut text = String::new();
    let read = lock.take(20).read_to_string(&mut text);
    match text.trim().parse::<u32>() {
        Ok(pid) if read.is_ok() => format!("process {pid}"),
        _ => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_who_the_first_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let held = WorkDir::lock(&path).unwrap();
        assert_eq!(held.path(), path);
        let error = WorkDir::lock(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("in use by process {}", std::process::id())), "{error}");
        drop(held);
        WorkDir::lock(&path).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = WorkDir::lock(&file.join("sub")).unwrap_err().to_string();
        assert!(error.contains("file/sub: expected a folder that can be written"), "{error}");
    }
}
