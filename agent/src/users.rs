//! Ranges of users for tasks whose root is nobody outside: each group has one of its own while it lives.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rialto_core::model::TaskKey;

use crate::cgroup;
use crate::launcher::cgroup_name;
use crate::supervisor::protocol::UserRange;

/// The first user of the first range: far above what people and services are given.
const FIRST: u32 = 1 << 30;
/// The users of one range.
const COUNT: u32 = 1 << 16;
/// How many ranges there are.
const RANGES: u32 = 1 << 13;

/// Who gets a range of users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UserNamespaces {
    /// Tasks that ask for it.
    #[default]
    AsAsked,
    /// Every task.
    Always,
}

/// The ranges that are taken: a file for each, named by its number and holding the name of its group. They outlive the agent.
#[derive(Debug)]
pub(crate) struct Users {
    folder: PathBuf,
    start: u32,
    who: UserNamespaces,
    taken: Mutex<BTreeMap<u32, String>>,
}

impl Users {
    /// Those of the agent of a work directory.
    pub(crate) fn of(work_dir: &Path, who: UserNamespaces) -> Self {
        let folder = work_dir.join("users");
        let entry = |entry: fs::DirEntry| {
            let number = entry.file_name().to_str()?.parse().ok().filter(|number| *number < RANGES)?;
            Some((number, fs::read_to_string(entry.path()).ok()?))
        };
        let taken = fs::read_dir(&folder).into_iter().flatten().flatten().filter_map(entry).collect();
        // Agents of one machine begin at different places.
        let start = u32::from_str_radix(&cgroup::key(work_dir)[..4], 16).unwrap_or(0) % RANGES;
        Self { folder, start, who, taken: Mutex::new(taken) }
    }

    /// Whether a task that asks for a range, or does not, gets one.
    pub(crate) fn wants(&self, asked: bool) -> bool {
        asked || self.who == UserNamespaces::Always
    }

    /// A range that no other group has, until [`Self::give_back`]. Blocks for a moment.
    ///
    /// # Errors
    /// There is none left, or it can't be written down.
    pub(crate) fn take(&self, leader: &TaskKey) -> Result<UserRange, String> {
        let name = cgroup_name(leader);
        let mut taken = self.lock();
        let own = taken.iter().find(|(_, holder)| **holder == name).map(|(number, _)| *number);
        let free =
            || (0..RANGES).map(|offset| (self.start + offset) % RANGES).find(|number| !taken.contains_key(number));
        let number =
            own.or_else(free).ok_or_else(|| format!("user namespace: all {RANGES} ranges of users are taken"))?;
        if own.is_none() {
            self.write(number, &name).map_err(|error| format!("user namespace: {}: {error}", self.folder.display()))?;
            taken.insert(number, name);
        }
        Ok(UserRange { first: FIRST + number * COUNT, count: COUNT })
    }

    fn write(&self, number: u32, name: &str) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let path = self.folder.join(number.to_string());
        OpenOptions::new().write(true).create(true).truncate(true).open(path)?.write_all(name.as_bytes())
    }

    /// The group is gone with all its processes.
    pub(crate) fn give_back(&self, leader: &TaskKey) {
        let name = cgroup_name(leader);
        self.give_back_where(|holder| *holder == name);
    }

    /// Ranges of groups that are not known.
    pub(crate) fn give_back_strays(&self, known: &[String]) {
        self.give_back_where(|holder| !known.contains(holder));
    }

    fn give_back_where(&self, gone: impl Fn(&String) -> bool) {
        let mut taken = self.lock();
        let free: Vec<u32> = taken.iter().filter(|(_, holder)| gone(holder)).map(|(number, _)| *number).collect();
        for number in free {
            let path = self.folder.join(number.to_string());
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    // It stays taken, which is safe.
                    tracing::error!("{}: {error}", path.display());
                }
                _ => drop(taken.remove(&number)),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, String>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
