//! Hierarchies of version 1 that an agent has no use for: an OCI runtime makes a folder for each of its containers in them all the same.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::mounts::others;
use super::{CgroupError, Hierarchies};

/// How long what was ended elsewhere may take to leave these.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

impl Hierarchies {
    /// Where the agent's folder would be in each hierarchy that it does not use.
    ///
    /// # Errors
    /// `/proc` can't be read.
    pub(crate) fn beside(&self) -> io::Result<Vec<PathBuf>> {
        let own: Vec<_> = self.0.iter().map(|hierarchy| &*hierarchy.folder).collect();
        let mountinfo = fs::read_to_string("/proc/self/mountinfo")?;
        let (used, others) = others(&mountinfo, &own);
        let below = used.iter().find_map(|mount| own.iter().find_map(|folder| folder.strip_prefix(mount).ok()));
        Ok(below.map(|below| others.iter().map(|mount| mount.join(below)).collect()).unwrap_or_default())
    }

    /// Removes the folders that a runtime has made for a group, when its processes are gone.
    ///
    /// # Errors
    /// One is in use, or can't be removed.
    pub(crate) fn clear_beside(&self, name: &str) -> Result<(), CgroupError> {
        let folders = self.beside().map_err(CgroupError::at("/proc/self/mountinfo"))?;
        let end = Instant::now() + PATIENCE;
        for folder in folders.into_iter().map(|folder| folder.join(name)) {
            loop {
                match fs::remove_dir(&folder) {
                    Err(error) if error.kind() == ErrorKind::ResourceBusy && Instant::now() < end => {
                        std::thread::sleep(LOOK_AGAIN);
                    }
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(CgroupError::at(folder)(error)),
                    _ => break,
                }
            }
        }
        Ok(())
    }

    /// Removes the folders above those, if no group is left in them.
    pub(super) fn remove_beside(&self) {
        for folder in self.beside().unwrap_or_default() {
            // As of the agent's own: another may use them.
            let _kept = fs::remove_dir(&folder).and_then(|()| folder.parent().map_or(Ok(()), fs::remove_dir));
        }
    }
}
