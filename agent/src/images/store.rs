//! Unpacked layers, shared by all images that have them; what was not used for the longest goes first.
//!
//! | path below `images/` | what |
//! |---|---|
//! | `layers/NAME/` | the files of a layer; NAME is the first half of its digest, which keeps the options of a mount short |
//! | `layers/NAME.json` | its whole digest and its size; written last, touched at each use |
//! | `drafts/` | what is being made |

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use rialto_proto::spec::Sha256;
use serde::{Deserialize, Serialize};

use crate::fetch::Draft;

/// Hexadecimal digits of a name.
const NAME_DIGITS: usize = 32;

/// The layers of an agent.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    max_bytes: u64,
    held: Arc<Mutex<BTreeMap<String, usize>>>,
}

/// Keeps layers from being removed.
#[derive(Debug)]
pub(crate) struct Lease {
    names: Vec<String>,
    held: Arc<Mutex<BTreeMap<String, usize>>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Label {
    digest: String,
    bytes: u64,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut held = lock(&self.held);
        for name in &self.names {
            if let Some(count) = held.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    held.remove(name);
                }
            }
        }
    }
}

fn lock(held: &Mutex<BTreeMap<String, usize>>) -> MutexGuard<'_, BTreeMap<String, usize>> {
    // Counts change one at a time: a panic elsewhere can't have left one half changed.
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

fn name(digest: &Sha256) -> String {
    digest.to_string()[..NAME_DIGITS].to_owned()
}

impl Store {
    /// Below `folder`, with at most `max_bytes` of layers that nobody uses.
    pub(super) fn open(folder: PathBuf, max_bytes: u64) -> io::Result<Self> {
        // What is everybody's to change in an image is not to be on the machine, where all of it may be one user's.
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let drafts = folder.join("drafts");
        match fs::remove_dir_all(&drafts) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir_all(&drafts)?,
        }
        fs::create_dir_all(folder.join("layers"))?;
        Ok(Self { folder, max_bytes, held: Arc::default() })
    }

    pub(super) fn draft(&self) -> Draft {
        let name = format!("{:08x}{:08x}", crate::random_u32(), crate::random_u32());
        Draft { path: self.folder.join("drafts").join(name) }
    }

    /// Keeps these layers until the lease is dropped, whether they are there yet or not.
    pub(super) fn lease<'a>(&self, digests: impl IntoIterator<Item = &'a Sha256>) -> Lease {
        let names: Vec<String> = digests.into_iter().map(name).collect();
        let mut held = lock(&self.held);
        for name in &names {
            *held.entry(name.clone()).or_default() += 1;
        }
        drop(held);
        Lease { names, held: self.held.clone() }
    }

    /// The folder of a layer, if it is here; its use is noted.
    pub(super) fn get(&self, digest: &Sha256) -> io::Result<Option<PathBuf>> {
        let folder = self.folder.join("layers").join(name(digest));
        let label = folder.with_extension("json");
        let file = match File::open(&label) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let said: Label = serde_json::from_reader(&file).map_err(io::Error::other)?;
        if said.digest != digest.to_string() {
            return Err(io::Error::other("another layer's digest begins like this one's"));
        }
        file.set_modified(SystemTime::now())?;
        Ok(Some(folder))
    }

    /// Takes a folder that holds a layer's files. `in_use` are layers that groups of this agent have mounted.
    pub(super) fn keep(
        &self,
        draft: &Draft,
        digest: &Sha256,
        bytes: u64,
        in_use: impl FnOnce() -> BTreeSet<String>,
    ) -> io::Result<PathBuf> {
        let folder = self.folder.join("layers").join(name(digest));
        match fs::rename(&draft.path, &folder) {
            // Another image had it just before; or an agent was killed before it wrote the label.
            Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {
                if self.get(digest)?.is_some() {
                    return Ok(folder);
                }
                fs::remove_dir_all(&folder)?;
                fs::rename(&draft.path, &folder)?;
            }
            done => done?,
        }
        let label = Label { digest: digest.to_string(), bytes };
        let temporary = self.draft();
        fs::write(&temporary.path, serde_json::to_vec(&label)?)?;
        // By the same clock as later uses; the file system's own is a little behind.
        File::open(&temporary.path)?.set_modified(SystemTime::now())?;
        fs::rename(&temporary.path, folder.with_extension("json"))?;
        self.sweep(in_use)?;
        Ok(folder)
    }

    /// Removes layers that nobody uses, beginning with the one that was not used for the longest, until the rest is within the bound.
    fn sweep(&self, in_use: impl FnOnce() -> BTreeSet<String>) -> io::Result<()> {
        let mut layers = self.layers()?;
        let mut total: u64 = layers.iter().map(|(_, bytes, _)| bytes).sum();
        if total <= self.max_bytes {
            return Ok(());
        }
        let in_use = in_use();
        layers.sort();
        for (_, bytes, label) in layers {
            let folder = label.with_extension("");
            let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            // Held all the while: nobody may take a lease between the look and the removal.
            let held = lock(&self.held);
            if total <= self.max_bytes || held.contains_key(name) || in_use.contains(name) {
                continue;
            }
            // The label first: without it there is no layer. What is left of the folder otherwise is removed when it is made anew.
            fs::remove_file(&label)?;
            let doomed = self.draft();
            fs::rename(&folder, &doomed.path)?;
            drop(held);
            total -= bytes;
        }
        Ok(())
    }

    /// When each was last used, its size, and its label.
    fn layers(&self) -> io::Result<Vec<(SystemTime, u64, PathBuf)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.folder.join("layers"))? {
            let path = entry?.path();
            if path.extension().is_some_and(|end| end == "json") {
                let label: Label = serde_json::from_slice(&fs::read(&path)?)?;
                found.push((fs::metadata(&path)?.modified()?, label.bytes, path));
            }
        }
        Ok(found)
    }
}

/// The user of a name, or of a number, as an image has it: `UID:GID`.
pub(super) fn resolve_user(layers: &[PathBuf], user: &str) -> Result<String, String> {
    let (name, group) = user.split_once(':').unwrap_or((user, ""));
    let number = |text: &str| text.parse::<u32>().ok();
    if let (Some(uid), Some(gid)) = (number(name), number(group)) {
        return Ok(format!("{uid}:{gid}"));
    }
    let passwd = read_upmost(layers, "passwd");
    let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    let entry = passwd
        .lines()
        .map(fields)
        .find(|entry| entry.len() >= 4 && (entry[0] == name || (number(name).is_some() && entry[2] == name)));
    let uid = entry.as_ref().and_then(|entry| number(&entry[2])).or_else(|| number(name));
    let gid = match group {
        "" => entry.as_ref().and_then(|entry| number(&entry[3])).or(uid),
        group => number(group).or_else(|| {
            let groups = read_upmost(layers, "group");
            groups
                .lines()
                .map(fields)
                .find(|entry| entry.len() >= 3 && entry[0] == group)
                .and_then(|entry| number(&entry[2]))
        }),
    };
    match (uid, gid) {
        (Some(uid), Some(gid)) => Ok(format!("{uid}:{gid}")),
        _ => Err(format!("user: expected one that the image knows, got {user:?}")),
    }
}

/// A file of `/etc` as the image has it; empty where it has none.
fn read_upmost(layers: &[PathBuf], name: &str) -> String {
    let read = |layer: &PathBuf| -> Option<String> {
        let etc = unpack_etc(layer)?;
        let mut file = crate::fetch::open_plain(&etc.join(name)).ok()?;
        let mut text = String::new();
        io::Read::read_to_string(&mut io::Read::take(&mut file, 1 << 20), &mut text).ok()?;
        Some(text)
    };
    layers.iter().find_map(read).unwrap_or_default()
}

/// `/etc` of a layer, if it is a folder and no link.
fn unpack_etc(layer: &Path) -> Option<PathBuf> {
    let etc = layer.join("etc");
    fs::symlink_metadata(&etc).ok()?.is_dir().then_some(etc)
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
