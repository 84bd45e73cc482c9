//! What was fetched, by its digest; the least recently used goes first.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use rialto_proto::spec::Sha256;
use ring::digest::{Context, SHA256};

/// A folder of files that are named by their digests.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    max_bytes: u64,
    /// Held while files are counted and removed.
    sweeping: Mutex<()>,
}

/// A file that is not complete yet; removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) path: PathBuf,
}

impl Drop for Draft {
    fn drop(&mut self) {
        // It is gone if it was kept, and a folder if it held a checkout.
        if fs::remove_file(&self.path).is_err() {
            let _gone = fs::remove_dir_all(&self.path);
        }
    }
}

impl Cache {
    /// Keeps at most `max_bytes` below `folder`. Drafts that an earlier agent left are removed.
    pub(crate) fn open(folder: PathBuf, max_bytes: u64) -> io::Result<Self> {
        let drafts = folder.join("drafts");
        match fs::remove_dir_all(&drafts) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir_all(&drafts)?,
        }
        Ok(Self { folder, max_bytes, sweeping: Mutex::new(()) })
    }

    /// A name for something that is being fetched.
    pub(crate) fn draft(&self) -> Draft {
        let name = format!("{:08x}{:08x}", crate::random_u32(), crate::random_u32());
        Draft { path: self.folder.join("drafts").join(name) }
    }

    /// The file with this digest, at its beginning, if it is here and still what its name says.
    pub(crate) fn get(&self, digest: &Sha256) -> Option<File> {
        let path = self.path(digest);
        let mut file = File::open(&path).ok()?;
        if digest_of(&mut file).ok()? != *digest {
            tracing::warn!("{}: it is not what its name says; it is removed", path.display());
            let _gone = fs::remove_file(&path);
            return None;
        }
        let now = SystemTime::now();
        // A file that can't be touched is only thrown away sooner.
        let _old = file.set_modified(now);
        io::Seek::rewind(&mut file).ok()?;
        Some(file)
    }

    /// Keeps a draft, whose digest this is, and gives the file at its beginning.
    pub(crate) fn keep(&self, draft: &Draft, digest: &Sha256) -> io::Result<File> {
        let file = File::open(&draft.path)?;
        if file.metadata()?.len() <= self.max_bytes {
            fs::rename(&draft.path, self.path(digest))?;
            self.sweep(digest)?;
        }
        Ok(file)
    }

    fn path(&self, digest: &Sha256) -> PathBuf {
        self.folder.join(digest.to_string())
    }

    /// Removes what was not used for the longest, until the rest is within the bound.
    fn sweep(&self, newest: &Sha256) -> io::Result<()> {
        let _one_at_a_time = self.sweeping.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = self.path(newest);
        let mut kept = files(&self.folder)?;
        let mut total: u64 = kept.iter().map(|(_, bytes, _)| bytes).sum();
        kept.sort();
        for (_, bytes, path) in kept.into_iter().filter(|(_, _, path)| *path != newest) {
            if total <= self.max_bytes {
                break;
            }
            // Whoever copies from it has it open.
            fs::remove_file(&path)?;
            total -= bytes;
        }
        Ok(())
    }
}

/// When each was last used, its size, and where it is.
fn files(folder: &Path) -> io::Result<Vec<(SystemTime, u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_file() {
            found.push((metadata.modified()?, metadata.len(), entry.path()));
        }
    }
    Ok(found)
}

fn digest_of(file: &mut File) -> io::Result<Sha256> {
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(finish(context)),
            len => context.update(&buffer[..len]),
        }
    }
}

/// The digest of what `context` has seen.
pub(crate) fn finish(context: Context) -> Sha256 {
    Sha256(context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes"))
}

/// Makes a draft's file.
pub(crate) fn create(draft: &Draft) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(&draft.path)
}
