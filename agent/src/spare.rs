//! Folders of supervisors that have ended, kept for those to come.
//!
//! A file system takes its time to make and remove files: some look through all that were removed lately for each that is made. So the
//! folder of a group that is forgotten, with the two files that every group has, becomes that of another, under its name. Nothing else in
//! it is kept, and what the files said is written over before they get their names back.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::crash;
use crate::removal::remove;
use crate::supervisor::client::{self, Liveness};

/// The most folders that are kept.
const MAX_SPARE: usize = 128;

/// The folders, below one that is this agent's alone.
#[derive(Debug)]
pub(crate) struct Spare {
    root: PathBuf,
    pool: Mutex<Pool>,
}

#[derive(Debug, Default)]
struct Pool {
    /// Their names, and what each was the folder of.
    free: Vec<(u64, PathBuf)>,
    /// The name of the next one.
    next: u64,
}

impl Spare {
    /// Makes the folder, and empties it: what an earlier agent has left may be half of something.
    ///
    /// # Errors
    /// It can't be made or emptied.
    pub(crate) fn below(work_dir: &Path) -> io::Result<Self> {
        let root = work_dir.join("spare");
        remove(&root)?;
        fs::create_dir(&root)?;
        Ok(Self { root, pool: Mutex::default() })
    }

    /// Moves a spare folder there, if there is one, and nothing is there yet. Whether it was done makes no difference to whoever prepares
    /// the folder next.
    pub(crate) fn take(&self, directory: &Path) {
        let Some(place) = self.free_for(directory).map(|name| self.place(name)) else { return };
        if fs::rename(&place, directory).is_err() {
            // An earlier attempt has left something there. What can't be removed now goes when the agent starts anew.
            let _left = remove(&place);
        }
        crash::point("start: with a spare folder");
    }

    /// Takes the folder of a group that is forgotten: keeps it, or removes it.
    ///
    /// # Errors
    /// It can't be removed.
    pub(crate) fn give(&self, directory: &Path) -> io::Result<()> {
        // One whose supervisor still has something to do there is not another's.
        let is_left = matches!(client::liveness(directory), Ok(Liveness::Dead));
        let Some(name) = self.name().filter(|_| is_left) else { return remove(directory) };
        let place = self.place(name);
        if fs::rename(directory, &place).is_err() {
            return remove(directory);
        }
        crash::point("forget: with a spare folder");
        if client::strip(&place).is_err() {
            return remove(&place);
        }
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).free.push((name, directory.to_owned()));
        Ok(())
    }

    /// One that was another group's. A record that comes back when the power was lost is told from the group's own by its name, so the
    /// same name never gets what it had before.
    fn free_for(&self, directory: &Path) -> Option<u64> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        let index = pool.free.iter().rposition(|(_, before)| before != directory)?;
        Some(pool.free.remove(index).0)
    }

    /// For one more, if there is room.
    fn name(&self) -> Option<u64> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.free.len() >= MAX_SPARE {
            return None;
        }
        pool.next += 1;
        Some(pool.next)
    }

    fn place(&self, name: u64) -> PathBuf {
        self.root.join(name.to_string())
    }
}

#[cfg(test)]
#[path = "spare_tests.rs"]
mod tests;
