//! Bulk data on connections of their own: logs and files of tasks, and what is said to them, when the master asks for it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rialto_core::model::{DeviceId, TaskKey};
use rialto_proto::logs::{BulkRequest, Follow, LogFile, OpenBulk, ReadLog, Start};
use rialto_proto::v1::{self, BulkErrorKind, bulk_up};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use crate::cgroup::Stats;
use crate::link::Dialer;
use crate::logs::LogReader;
use crate::metrics::Row;
use crate::sources::{Figures, Known};
use crate::usage::Meter;
use crate::work_dir::Layout;

/// The most streams at once; a request beyond is answered with an error.
const MAX_STREAMS: usize = 64;
/// The most bytes in one chunk.
const CHUNK: usize = 64 << 10;
/// The most chunks that wait for the connection.
const WAITING: usize = 4;
/// Between two lines of what a task uses.
const MEASURE_EVERY: Duration = Duration::from_secs(1);
/// Between looks at a file that is followed.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How long the master may take to close a stream on which everything was sent.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(60);

/// The files that can be read, and the tasks that still write them.
#[derive(Debug)]
pub(crate) struct Files {
    layout: Layout,
    meter: Meter,
    known: Arc<Known>,
    live: Mutex<BTreeMap<TaskKey, Place>>,
    streams: Arc<Semaphore>,
}

/// What is known of a task that lives.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The first of its group.
    pub(crate) leader: TaskKey,
    /// Its index in the group.
    pub(crate) member: usize,
    /// How many devices it holds, of each kind.
    pub(crate) devices: BTreeMap<Arc<str>, u64>,
    /// Which devices they are.
    pub(crate) held: Vec<DeviceId>,
    /// The disk that its sandbox took when somebody looked last, in bytes; 0 until then.
    pub(crate) disk: Arc<AtomicU64>,
}

impl Place {
    fn disk_bytes(&self) -> Option<u64> {
        Some(self.disk.load(Ordering::Relaxed)).filter(|bytes| *bytes > 0)
    }
}

/// What ends a stream early.
pub(crate) enum Stop {
    /// Nobody reads any more.
    Cancelled,
    Error(BulkErrorKind, String),
}

impl Files {
    pub(crate) fn new(layout: Layout, meter: Meter, known: Arc<Known>) -> Self {
        Self { layout, meter, known, live: Mutex::default(), streams: Arc::new(Semaphore::new(MAX_STREAMS)) }
    }

    /// `task` has begun, or is about to.
    pub(crate) fn begin(&self, task: TaskKey, place: Place) {
        self.live().insert(task, place);
    }

    /// What every task uses, those first that have smaller keys. Blocks for a moment.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let live: Vec<(TaskKey, Place)> =
            self.live().iter().map(|(task, place)| (task.clone(), place.clone())).collect();
        let row = |(task, place): (TaskKey, Place)| {
            // One that can't be measured, or has just ended, still holds its devices.
            let stats = Stats { disk_bytes: place.disk_bytes(), ..self.meter.measure(&task).unwrap_or_default() };
            Row { held: place.held, ..Row::new(&task, stats, place.devices) }
        };
        live.into_iter().map(row).collect()
    }

    /// How much each device does, of those whose source tells it.
    pub(crate) fn figures(&self) -> BTreeMap<DeviceId, Figures> {
        self.known.figures.all()
    }

    /// The same of a task's own devices.
    fn figures_of(&self, task: &TaskKey) -> BTreeMap<DeviceId, Figures> {
        let held = self.live().get(task).map(|place| place.held.clone()).unwrap_or_default();
        held.into_iter().filter_map(|device| Some((device.clone(), self.known.figures.of(&device)?))).collect()
    }

    /// `task` has ended: what it wrote is all there is.
    pub(crate) fn end(&self, task: &TaskKey) {
        self.live().remove(task);
    }

    /// Its supervisor's folder, and its place in the group; `None` if it has ended or was never here.
    pub(crate) fn place(&self, task: &TaskKey) -> Option<(PathBuf, usize)> {
        let place = self.live().get(task).cloned()?;
        Some((self.layout.run(&place.leader), place.member))
    }

    fn live(&self) -> std::sync::MutexGuard<'_, BTreeMap<TaskKey, Place>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_live(&self, task: &TaskKey) -> bool {
        self.live().contains_key(task)
    }

    /// Dials a stream and sends on it what is asked for.
    pub(crate) fn serve(self: Arc<Self>, dialer: &Dialer, open: OpenBulk) {
        let permit = self.streams.clone().try_acquire_owned();
        let client = dialer.client();
        tokio::spawn(async move {
            let stream_id = open.stream_id;
            if let Err(status) = self.stream(client, open, permit.ok()).await {
                tracing::debug!(stream_id, "bulk stream: {}", status.message());
            }
        });
    }

    async fn stream(
        &self,
        mut client: crate::link::Client,
        open: OpenBulk,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<(), tonic::Status> {
        let (sender, outgoing) = mpsc::channel(WAITING);
        let first = up(bulk_up::Message::StreamId(open.stream_id));
        sender.try_send(first).expect("the channel is new and has room");
        let mut incoming = client.bulk(ReceiverStream::new(outgoing)).await?.into_inner();
        let busy = || Stop::Error(BulkErrorKind::Io, format!("at most {MAX_STREAMS} streams at once"));
        let sent = match (&open.request, &permit) {
            (_, None) => Err(busy()),
            (BulkRequest::Session(session), Some(_)) => self.converse(session, &mut incoming, &sender).await,
            (BulkRequest::ReadLog(read), Some(_)) => tokio::select! {
                // The first thing that the master says here is that nobody reads any more, or it hangs up.
                _ = incoming.message() => return Ok(()),
                sent = self.send(read, &sender) => sent,
            },
        };
        if let Err(Stop::Error(kind, message)) = sent {
            let error = v1::BulkError { kind: kind.into(), message };
            let _gone = sender.send(up(bulk_up::Message::Error(error))).await;
        }
        drop(sender);
        // What was sent is on its way as long as the stream lives: until the master has closed its side.
        let closed = async {
            while incoming.message().await?.is_some() {}
            Ok(())
        };
        tokio::time::timeout(CLOSE_TIMEOUT, closed).await.unwrap_or(Ok(()))
    }

    async fn send(&self, read: &ReadLog, sender: &mpsc::Sender<v1::BulkUp>) -> Result<(), Stop> {
        if read.file == LogFile::Usage {
            return self.send_usage(read, sender).await;
        }
        let mut left = read.limit.unwrap_or(u64::MAX);
        let Some(mut reader) = self.open(read).await? else { return chunk(0, Vec::new(), true, sender).await };
        loop {
            // Asked before the read: what a task wrote before it ended is there to be read after.
            let ended = read.follow == Follow::No || !self.is_live(&read.task);
            let (offset, data);
            (reader, offset, data) = next_chunk(reader, CHUNK.min(usize::try_from(left).unwrap_or(CHUNK))).await?;
            left -= data.len() as u64;
            if data.is_empty() && !ended && left > 0 {
                tokio::time::sleep(LOOK_AGAIN).await;
                continue;
            }
            if data.is_empty() || left == 0 {
                return chunk(offset, data, true, sender).await;
            }
            chunk(offset, data, false, sender).await?;
        }
    }

    /// Sends what a task uses now, and while it is followed once more each second until it ends.
    async fn send_usage(&self, read: &ReadLog, sender: &mpsc::Sender<v1::BulkUp>) -> Result<(), Stop> {
        let mut offset = 0;
        while self.is_live(&read.task) {
            let (meter, task, figures) = (self.meter.clone(), read.task.clone(), self.figures_of(&read.task));
            let disk = self.live().get(&task).and_then(Place::disk_bytes);
            let measured = tokio::task::spawn_blocking(move || meter.read(&task, disk, figures))
                .await
                .map_err(|_| Stop::Cancelled)?;
            let line = measured.map_err(|why| Stop::Error(BulkErrorKind::NotFound, format!("{}: {why}", read.task)))?;
            let len = line.len() as u64;
            chunk(offset, line.into_bytes(), read.follow == Follow::No, sender).await?;
            if read.follow == Follow::No {
                return Ok(());
            }
            offset += len;
            tokio::time::sleep(MEASURE_EVERY).await;
        }
        match offset {
            0 => Err(Stop::Error(BulkErrorKind::NotFound, format!("{}: it does not run", read.task))),
            offset => chunk(offset, Vec::new(), true, sender).await,
        }
    }

    /// Opens the file, waiting for it where the task may still make it; `None` if it ended without.
    pub(crate) async fn open(&self, read: &ReadLog) -> Result<Option<LogReader>, Stop> {
        let sandbox = self.layout.sandbox(&read.task);
        loop {
            let live = self.is_live(&read.task);
            let (sandbox, file, start) = (sandbox.clone(), read.file.clone(), read.start);
            let opened =
                tokio::task::spawn_blocking(move || open(&sandbox, &file, start)).await.map_err(|_| Stop::Cancelled)?;
            match opened {
                Ok(reader) => return Ok(Some(reader)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    let is_output = !matches!(read.file, LogFile::Sandbox(_));
                    if live && (read.follow == Follow::UntilTaskEnds) {
                        tokio::time::sleep(LOOK_AGAIN).await;
                    } else if live && is_output {
                        return Ok(None);
                    } else {
                        return Err(Stop::Error(
                            BulkErrorKind::NotFound,
                            format!("{} of {}: not found", read.file, read.task),
                        ));
                    }
                }
                Err(error) => {
                    return Err(Stop::Error(kind_of(&error), format!("{} of {}: {error}", read.file, read.task)));
                }
            }
        }
    }
}

fn open(sandbox: &std::path::Path, file: &LogFile, start: Start) -> std::io::Result<LogReader> {
    match file {
        LogFile::Stdout => LogReader::rotated(sandbox, "stdout", start),
        LogFile::Stderr => LogReader::rotated(sandbox, "stderr", start),
        LogFile::Usage => Err(std::io::ErrorKind::InvalidInput.into()),
        LogFile::Sandbox(path) => LogReader::plain(sandbox, path, start),
    }
}

/// Refused paths are the asker's fault, the rest is ours.
fn kind_of(error: &std::io::Error) -> BulkErrorKind {
    match error.kind() {
        std::io::ErrorKind::InvalidInput | std::io::ErrorKind::NotADirectory => BulkErrorKind::Invalid,
        _ => BulkErrorKind::Io,
    }
}

pub(crate) async fn next_chunk(mut reader: LogReader, len: usize) -> Result<(LogReader, u64, Vec<u8>), Stop> {
    let read = tokio::task::spawn_blocking(move || {
        let mut data = vec![0; len];
        let offset = reader.offset();
        let len = reader.read(&mut data)?;
        data.truncate(len);
        Ok::<_, std::io::Error>((reader, offset, data))
    });
    let read = read.await.map_err(|_| Stop::Cancelled)?;
    read.map_err(|error| Stop::Error(BulkErrorKind::Io, error.to_string()))
}

async fn chunk(offset: u64, data: Vec<u8>, eof: bool, sender: &mpsc::Sender<v1::BulkUp>) -> Result<(), Stop> {
    let chunk = v1::LogChunk { offset, data: Bytes::from(data), eof };
    sender.send(up(bulk_up::Message::Chunk(chunk))).await.map_err(|_| Stop::Cancelled)
}

pub(crate) fn up(message: bulk_up::Message) -> v1::BulkUp {
    v1::BulkUp { message: Some(message) }
}
