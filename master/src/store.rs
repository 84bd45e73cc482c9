//! Where the registry lives.
//!
//! A thread of its own writes one batch after the other, each as one transaction that is on disk before it is acknowledged. A failed
//! write ends the master: the gate has shown nobody what was not written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Instant;

use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::mpsc;

use rialto_core::gate::BatchId;
use rialto_core::master::registry::{Record, Registry};
use rialto_core::model::ClusterId;
use rialto_proto::registry::{self as format, RegistryError};

use crate::metrics::Metrics;
use crate::options::MasterError;

/// The name of the registry's file in the work dir.
pub const REGISTRY_FILE: &str = "registry.redb";

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("registry");
/// How much of the registry redb keeps in memory, in bytes; it is read once, at the start.
const CACHE_BYTES: usize = 16 << 20;

/// A key and its value.
type Entry = (Vec<u8>, Vec<u8>);
/// A key and its new value; none removes it.
type Write = (Vec<u8>, Option<Vec<u8>>);

/// Why the registry can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file can't be opened, read or written.
    #[error("registry {path}: {error}")]
    Redb {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: Box<redb::Error>,
    },
    /// An entry can't be understood.
    #[error(transparent)]
    Format(#[from] RegistryError),
    /// The operating system gave no randomness for a new cluster's id.
    #[error("registry: the operating system gave no randomness for a new cluster id")]
    NoRandomness,
}

/// The registry's medium.
#[derive(Debug)]
pub(crate) enum Medium {
    Memory(BTreeMap<Vec<u8>, Vec<u8>>),
    Redb {
        path: PathBuf,
        database: Database,
    },
    /// Fails from some write on, as a full disk does.
    #[cfg(test)]
    Failing {
        writes_left: usize,
    },
}

impl Medium {
    /// An empty one in memory.
    pub(crate) const fn memory() -> Self {
        Self::Memory(BTreeMap::new())
    }

    /// The file in `work_dir`, which is made if it is not there.
    pub(crate) fn redb(work_dir: &Path) -> Result<Self, StoreError> {
        let path = work_dir.join(REGISTRY_FILE);
        let opened = Database::builder().set_cache_size(CACHE_BYTES).create(&path);
        let database = opened.map_err(|error| redb_error(&path, error))?;
        Ok(Self::Redb { path, database })
    }

    /// The registry; that of a new cluster if there is none yet.
    pub(crate) fn load(&mut self) -> Result<Registry, StoreError> {
        let entries = self.entries()?;
        if !entries.is_empty() {
            return Ok(format::decode_entries(entries)?);
        }
        let mut id = [0; 16];
        SystemRandom::new().fill(&mut id).map_err(|_| StoreError::NoRandomness)?;
        let cluster = ClusterId(u128::from_be_bytes(id));
        let (key, value) = format::encode_cluster(cluster);
        self.write(vec![(key, Some(value))])?;
        Ok(Registry::new(cluster))
    }

    fn entries(&self) -> Result<Vec<Entry>, StoreError> {
        match self {
            Self::Memory(map) => Ok(map.clone().into_iter().collect()),
            Self::Redb { path, database } => read_all(database).map_err(|error| redb_error(path, error)),
            #[cfg(test)]
            Self::Failing { .. } => Ok(Vec::new()),
        }
    }

    fn write(&mut self, entries: Vec<Write>) -> Result<(), StoreError> {
        match self {
            Self::Memory(map) => {
                for (key, value) in entries {
                    match value {
                        Some(value) => drop(map.insert(key, value)),
                        None => drop(map.remove(&key)),
                    }
                }
                Ok(())
            }
            Self::Redb { path, database } => write_all(database, &entries).map_err(|error| redb_error(path, error)),
            #[cfg(test)]
            Self::Failing { writes_left: 0 } => {
                Err(redb_error(Path::new("test"), redb::Error::Io(std::io::Error::other("no space left"))))
            }
            #[cfg(test)]
            Self::Failing { writes_left } => {
                *writes_left -= 1;
                Ok(())
            }
        }
    }
}

fn read_all(database: &Database) -> Result<Vec<Entry>, redb::Error> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(TABLE) {
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        table => table?,
    };
    let mut entries = Vec::new();
    for entry in table.iter()? {
        let (key, value) = entry?;
        entries.push((key.value().to_vec(), value.value().to_vec()));
    }
    Ok(entries)
}

fn write_all(database: &Database, entries: &[Write]) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    {
        let mut table = transaction.open_table(TABLE)?;
        for (key, value) in entries {
            match value {
                Some(value) => drop(table.insert(key.as_slice(), value.as_slice())?),
                None => drop(table.remove(key.as_slice())?),
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

fn redb_error(path: &Path, error: impl Into<redb::Error>) -> StoreError {
    StoreError::Redb { path: path.to_owned(), error: Box::new(error.into()) }
}

/// The core's end of the store's thread.
#[derive(Debug)]
pub(crate) struct Store {
    batches: mpsc::Sender<(BatchId, Vec<Record>)>,
    written: mpsc::Receiver<Result<BatchId, StoreError>>,
    thread: JoinHandle<()>,
}

/// How many batches may be on their way; the core hands one over at a time.
const BATCHES_MAX: usize = 4;

impl Store {
    /// Starts the thread that writes to `medium`.
    pub(crate) fn start(medium: Medium, metrics: Metrics) -> Result<Self, MasterError> {
        let (batches, next_batch) = mpsc::channel(BATCHES_MAX);
        let (acknowledge, written) = mpsc::channel(BATCHES_MAX);
        let name = "rialto-store";
        let body = move || write_batches(medium, next_batch, &acknowledge, &metrics);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(body);
        let thread = thread.map_err(|error| MasterError::Thread { name, error })?;
        Ok(Self { batches, written, thread })
    }

    /// Hands a batch over to be written.
    pub(crate) async fn submit(&self, batch: BatchId, records: Vec<Record>) -> Result<(), MasterError> {
        self.batches.send((batch, records)).await.map_err(|_| MasterError::PartEnded("store"))
    }

    /// The next batch that is on disk. Safe to cancel.
    pub(crate) async fn written(&mut self) -> Result<BatchId, MasterError> {
        let written = self.written.recv().await.ok_or(MasterError::PartEnded("store"))?;
        Ok(written?)
    }

    /// Ends the thread once everything is written, and closes the file.
    pub(crate) fn stop(self) {
        let Self { batches, written, thread } = self;
        drop((batches, written));
        if thread.join().is_err() {
            tracing::error!("the store's thread panicked");
        }
    }
}

fn write_batches(
    mut medium: Medium,
    mut batches: mpsc::Receiver<(BatchId, Vec<Record>)>,
    acknowledge: &mpsc::Sender<Result<BatchId, StoreError>>,
    metrics: &Metrics,
) {
    while let Some((batch, records)) = batches.blocking_recv() {
        let (begun, count) = (Instant::now(), records.len());
        let result = medium.write(records.iter().map(format::encode_record).collect());
        metrics.committed(begun.elapsed(), count);
        let failed = result.is_err();
        // Nobody waits for the acknowledgement of a master that is stopping; the batch is written all the same.
        drop(acknowledge.blocking_send(result.map(|()| batch)));
        if failed {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
