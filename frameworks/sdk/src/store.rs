//! Where a framework's state is kept.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use rialto_core::scheduler::DriverRecord;

/// What was kept: bytes by key.
pub type Saved = BTreeMap<String, Vec<u8>>;

const TABLE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("state");

/// Keeps a framework's state. Calls may block; they are made from a thread where that is allowed.
pub trait StateStore: Send + fmt::Debug {
    /// All that was kept.
    ///
    /// # Errors
    /// If it can't be read.
    fn load(&mut self) -> Result<Saved, StoreError>;

    /// Keeps all of `batch`, or nothing; it is durable when this returns.
    ///
    /// # Errors
    /// If it can't be written. The framework ends then: nobody has seen what was not written.
    fn commit(&mut self, batch: Vec<DriverRecord>) -> Result<(), StoreError>;

    /// Whether a commit takes no time.
    fn is_instant(&self) -> bool {
        false
    }
}

/// Why state can't be kept.
#[derive(Debug, thiserror::Error)]
#[error("state store: can't {action}: {error}")]
pub struct StoreError {
    action: &'static str,
    error: redb::Error,
}

impl StoreError {
    fn when<E: Into<redb::Error>>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self { action, error: error.into() }
    }
}

/// Keeps state in memory, for tests: it ends with the process.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(Saved);

impl StateStore for MemoryStore {
    fn load(&mut self) -> Result<Saved, StoreError> {
        Ok(self.0.clone())
    }

    fn commit(&mut self, batch: Vec<DriverRecord>) -> Result<(), StoreError> {
        for DriverRecord::Save { key, value } in batch {
            match value {
                Some(value) => drop(self.0.insert(key, value)),
                None => drop(self.0.remove(&key)),
            }
        }
        Ok(())
    }

    fn is_instant(&self) -> bool {
        true
    }
}

/// Keeps state in a file. One process at a time can have it open.
#[derive(Debug)]
pub struct RedbStore {
    database: Database,
}

impl RedbStore {
    /// Opens the file at `path`, or makes it.
    ///
    /// # Errors
    /// If it can't be opened, is of another program, or is open elsewhere.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { database: Database::create(path).map_err(StoreError::when("open the file"))? })
    }

    fn write(&self, batch: Vec<DriverRecord>) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(TABLE)?;
            for DriverRecord::Save { key, value } in batch {
                match value {
                    Some(value) => drop(table.insert(key.as_str(), value.as_slice())?),
                    None => drop(table.remove(key.as_str())?),
                }
            }
        }
        Ok(transaction.commit()?)
    }

    fn read(&self) -> Result<Saved, redb::Error> {
        let transaction = self.database.begin_read()?;
        let table = match transaction.open_table(TABLE) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Saved::new()),
            Err(error) => return Err(error.into()),
        };
        let mut saved = Saved::new();
        for entry in table.iter()? {
            let (key, value) = entry?;
            saved.insert(key.value().to_owned(), value.value().to_vec());
        }
        Ok(saved)
    }
}

impl StateStore for RedbStore {
    fn load(&mut self) -> Result<Saved, StoreError> {
        self.read().map_err(StoreError::when("read"))
    }

    fn commit(&mut self, batch: Vec<DriverRecord>) -> Result<(), StoreError> {
        self.write(batch).map_err(StoreError::when("write"))
    }
}

#[cfg(test)]
mod tests;
