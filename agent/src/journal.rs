//! The agent's journal on disk: one thread appends batches and makes them durable.
//!
//! The thread has at most one batch at a time; the gate gathers the next meanwhile, so the cost of a flush is shared by all that happened
//! during the one before. A batch that can't be written is tried again, with back-off, for as long as the agent runs: what was not written
//! is never said to be.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rialto_core::agent::{Journal, Record};
use rialto_core::gate::BatchId;
use rialto_proto::journal::{JournalReader, MAGIC, encode_journal};

use crate::{AgentError, Options, answer_promptly, crash};

/// The first pause after a failed write, and the longest.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// What the thread says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// The batch is durable.
    Durable {
        batch: BatchId,
        /// Whether the next batch should be a [`Job::Rewrite`].
        compact: bool,
    },
    /// Writing fails; it is tried again.
    Degraded(String),
    /// Writing works again.
    Recovered,
}

/// What the thread is told.
pub(crate) enum Job {
    /// Add these records.
    Append(BatchId, Vec<Record>),
    /// Replace everything by these records, which hold the state that the batch leads to.
    Rewrite(BatchId, Vec<Record>),
}

impl Job {
    const fn batch(&self) -> BatchId {
        match self {
            Self::Append(batch, _) | Self::Rewrite(batch, _) => *batch,
        }
    }
}

/// The writer's thread.
#[derive(Debug)]
pub(crate) struct Writer {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread on a file that was [loaded](load). `tell` is called on that thread.
    pub(crate) fn start(file: JournalFile, tell: impl Fn(Written) + Send + 'static) -> io::Result<Self> {
        let (jobs, received) = sync_channel(1);
        let thread =
            std::thread::Builder::new().name("journal".to_owned()).spawn(move || work(file, &received, tell))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Hands over a batch. Only one may be under way, so this never waits.
    pub(crate) fn submit(&self, job: Job) {
        let sent = self.jobs.as_ref().map(|jobs| jobs.try_send(job));
        debug_assert!(matches!(sent, Some(Ok(()))), "one batch is under way at a time, and the thread lives");
    }
}

impl Drop for Writer {
    /// Waits for the thread to finish the job that it has, so that nothing writes to the file any more.
    fn drop(&mut self) {
        self.jobs = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the journal's thread has panicked");
        }
    }
}

fn work(mut file: JournalFile, jobs: &Receiver<Job>, tell: impl Fn(Written)) {
    // What it makes durable is what tasks wait for to start, and what is told of them.
    answer_promptly();
    while let Ok(job) = jobs.recv() {
        let mut pause = RETRY_FIRST;
        let mut degraded = false;
        while let Err(error) = file.write(&job) {
            tell(Written::Degraded(error.to_string()));
            degraded = true;
            // While one job is under way none can come, so this waits, or learns that nobody needs the journal any more.
            if jobs.recv_timeout(pause).is_err_and(|error| error == RecvTimeoutError::Disconnected) {
                return;
            }
            pause = (pause * 2).min(RETRY_MAX);
        }
        if degraded {
            tell(Written::Recovered);
        }
        tell(Written::Durable { batch: job.batch(), compact: file.wants_compaction() });
    }
}

/// Reads a journal, and cuts off what a crash has left unfinished at its end.
pub(crate) fn load(path: &Path) -> Result<(Journal, JournalFile), AgentError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(AgentError::io(path)(error)),
    };
    let bad = |error: rialto_proto::journal::JournalError| AgentError::Journal {
        path: path.to_owned(),
        message: error.to_string(),
    };
    let mut reader = JournalReader::new(&bytes).map_err(bad)?;
    let mut journal = Journal::default();
    for record in reader.by_ref() {
        journal.apply(&record.map_err(bad)?);
    }
    let file = JournalFile::open(path, reader.good_bytes() as u64).map_err(AgentError::io(path))?;
    Ok((journal, file))
}

/// A journal that is open for writing.
#[derive(Debug)]
pub(crate) struct JournalFile {
    path: PathBuf,
    file: File,
    /// How much of it is known to be good; what is beyond was left by a write that failed.
    good: u64,
    /// What it had after it was last compacted.
    compacted: u64,
    buffer: Vec<u8>,
    /// By how much it grows before it is compacted.
    compact_after: u64,
    /// How much longer each fsync is to take.
    delay: Duration,
}

impl JournalFile {
    fn open(path: &Path, good: u64) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let mut journal = Self {
            path: path.to_owned(),
            file,
            good,
            compacted: 0,
            buffer: Vec::new(),
            compact_after: Options::COMPACT_AFTER_BYTES,
            delay: Duration::ZERO,
        };
        journal.reset()?;
        if good == 0 {
            journal.file.write_all(&MAGIC)?;
            journal.good = MAGIC.len() as u64;
        }
        journal.file.sync_all()?;
        sync_folder(path)?;
        Ok(journal)
    }

    /// The same file, compacted when it has grown by so many bytes, on a disk that takes so much longer.
    pub(crate) fn tuned(self, compact_after: u64, delay: Duration) -> Self {
        Self { compact_after, delay, ..self }
    }

    fn wants_compaction(&self) -> bool {
        self.good.saturating_sub(self.compacted) > self.compact_after.max(self.compacted)
    }

    fn write(&mut self, job: &Job) -> io::Result<()> {
        match job {
            Job::Append(_, records) => self.append(records)?,
            Job::Rewrite(_, records) => self.rewrite(records)?,
        }
        if !self.delay.is_zero() {
            std::thread::sleep(self.delay);
        }
        Ok(())
    }

    fn append(&mut self, records: &[Record]) -> io::Result<()> {
        self.reset()?;
        self.buffer.clear();
        records.iter().for_each(|record| encode_journal(record, &mut self.buffer));
        crash::point("journal: before a write");
        crash::torn("journal: within a write", &mut self.file, &self.buffer)?;
        self.file.write_all(&self.buffer)?;
        crash::point("journal: before it is durable");
        self.file.sync_data()?;
        crash::point("journal: durable");
        self.good += self.buffer.len() as u64;
        Ok(())
    }

    fn rewrite(&mut self, records: &[Record]) -> io::Result<()> {
        let mut bytes = MAGIC.to_vec();
        records.iter().for_each(|record| encode_journal(record, &mut bytes));
        let temporary = self.path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        crash::point("journal: before it is replaced");
        fs::rename(&temporary, &self.path)?;
        crash::point("journal: replaced");
        sync_folder(&self.path)?;
        self.good = bytes.len() as u64;
        self.compacted = self.good;
        self.file = file;
        Ok(())
    }

    /// Cuts off what an earlier, failed write may have left.
    fn reset(&mut self) -> io::Result<()> {
        if self.file.seek(SeekFrom::End(0))? != self.good {
            self.file.set_len(self.good)?;
            self.file.seek(SeekFrom::Start(self.good))?;
        }
        Ok(())
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().ok_or(ErrorKind::InvalidInput)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
