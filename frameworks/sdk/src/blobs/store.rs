use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::NamedTempFile;

use super::Digest;
use super::digest::Hasher;

/// Files in one directory, each named by its digest. A file is there whole or not at all.
#[derive(Debug)]
pub struct BlobStore {
    blobs: PathBuf,
    incoming: PathBuf,
    limits: Limits,
    used: AtomicU64,
}

/// How much a store takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest blob, in bytes.
    pub blob: u64,
    /// All blobs together, in bytes.
    pub total: u64,
}

impl Default for Limits {
    /// 8 GiB a blob, 64 GiB in all.
    fn default() -> Self {
        Self { blob: 8 << 30, total: 64 << 30 }
    }
}

/// A blob that is in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its name.
    pub digest: Digest,
    /// Its size.
    pub bytes: u64,
}

/// Why a store can't do what it is asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or directory can't be used.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The blob is larger than one may be.
    #[error("larger than the limit of {0} bytes for one file")]
    BlobTooLarge(u64),
    /// The store is full.
    #[error("the store is full: its limit is {0} bytes in all")]
    Full(u64),
    /// The bytes are not those that were announced.
    #[error("the bytes do not match their digest: announced {announced}, got {got}")]
    Mismatch {
        /// The digest that they were announced under.
        announced: Digest,
        /// The digest that they have.
        got: Digest,
    },
    /// The sender broke off.
    #[error("the transfer broke off: {0}")]
    Interrupted(String),
}

impl BlobStore {
    /// Opens the store in `dir`, which is made if it is not there. What an interrupted transfer left is removed.
    pub fn open(dir: &Path, limits: Limits) -> Result<Self, StoreError> {
        let (blobs, incoming) = (dir.join("blobs"), dir.join("incoming"));
        if incoming.exists() {
            fs::remove_dir_all(&incoming).map_err(at(&incoming))?;
        }
        for path in [&blobs, &incoming] {
            fs::create_dir_all(path).map_err(at(path))?;
        }
        let used = AtomicU64::new(size_of_files(&blobs).map_err(at(&blobs))?);
        Ok(Self { blobs, incoming, limits, used })
    }

    /// Starts a new blob.
    pub fn writer(&self) -> Result<BlobWriter<'_>, StoreError> {
        let file = NamedTempFile::new_in(&self.incoming).map_err(at(&self.incoming))?;
        Ok(BlobWriter { store: self, file, hasher: Hasher::default(), bytes: 0 })
    }

    /// Takes a copy of the file `source`.
    pub fn import(&self, source: &Path) -> Result<Stored, StoreError> {
        let mut file = File::open(source).map_err(at(source))?;
        let mut writer = self.writer()?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = file.read(&mut buffer).map_err(at(source))?;
            if count == 0 {
                return writer.finish(None);
            }
            writer.write(&buffer[..count])?;
        }
    }

    /// Where the blob `digest` lies, if it is in the store. The file must not be changed.
    pub fn path(&self, digest: Digest) -> Option<PathBuf> {
        Some(self.place(digest)).filter(|path| path.is_file())
    }

    fn place(&self, digest: Digest) -> PathBuf {
        self.blobs.join(digest.to_string())
    }
}

/// A blob on its way into a store. Dropped before [`BlobWriter::finish`], it leaves nothing.
#[derive(Debug)]
pub struct BlobWriter<'a> {
    store: &'a BlobStore,
    file: NamedTempFile,
    hasher: Hasher,
    bytes: u64,
}

impl BlobWriter<'_> {
    /// Appends `bytes`.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let Limits { blob, total } = self.store.limits;
        self.bytes += bytes.len() as u64;
        if self.bytes > blob {
            return Err(StoreError::BlobTooLarge(blob));
        }
        if self.store.used.load(Ordering::Relaxed).saturating_add(self.bytes) > total {
            return Err(StoreError::Full(total));
        }
        self.hasher.update(bytes);
        self.file.write_all(bytes).map_err(at(self.file.path()))
    }

    /// Puts the blob in its place. With `announced` only if it has that digest.
    pub fn finish(self, announced: Option<Digest>) -> Result<Stored, StoreError> {
        let Self { store, file, hasher, bytes } = self;
        let digest = hasher.finish();
        if let Some(announced) = announced.filter(|announced| *announced != digest) {
            return Err(StoreError::Mismatch { announced, got: digest });
        }
        let place = store.place(digest);
        match file.persist_noclobber(&place) {
            Ok(_) => drop(store.used.fetch_add(bytes, Ordering::Relaxed)),
            // The same bytes are there already; the copy is removed.
            Err(failed) if failed.error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(failed) => return Err(StoreError::Io { path: place, error: failed.error }),
        }
        Ok(Stored { digest, bytes })
    }
}

fn size_of_files(dir: &Path) -> io::Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(dir)? {
        total += entry?.metadata()?.len();
    }
    Ok(total)
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |error| StoreError::Io { path, error }
}
