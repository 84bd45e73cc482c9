//! Logs and files, from an agent's sandbox to whoever reads them, and what is said to tasks, past the core.
//!
//! Nothing dials an agent. So a read asks the task's agent, on its control connection, to dial a bulk stream; the reader then polls that
//! very stream, and HTTP/2's flow control reaches from the reader to the agent's disk. Nothing is buffered here but one chunk.

mod session;

pub(crate) use session::Outputs;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_stream::Stream;
use tonic::{Status, Streaming};

use rialto_core::model::{AgentId, TaskKey};
use rialto_proto::logs::{BulkRequest, OpenBulk, ReadLog};
use rialto_proto::v1;
use rialto_proto::v1::bulk_up::Message as Up;

use crate::engine::AgentItem;
use crate::links::AgentLinks;
use crate::reads::{ReadError, Reads};

/// How long an agent may take to dial a bulk stream.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a dialled stream may take to say its number.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// How many reads may wait for their agents.
const WAITING_MAX: usize = 1024;

/// Why a log can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BulkError {
    #[error("task {0} is not known, or ended too long ago")]
    UnknownTask(TaskKey),
    #[error("agent {0} is away; its logs can be read when it is back")]
    AgentAway(AgentId),
    #[error("agent {agent} did not answer within {} s", DIAL_TIMEOUT.as_secs())]
    NoAnswer { agent: AgentId },
    #[error("too many logs are being opened; try again")]
    Busy,
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Invalid(String),
    #[error("the agent could not read it: {0}")]
    Io(String),
    #[error("the agent's stream broke off: {0}")]
    Broken(String),
    #[error("the master is stopping")]
    Stopping,
}

/// Brings readers and agents together. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Bulk {
    reads: Reads,
    links: AgentLinks,
    waiting: Waiting,
}

type Waiting = Arc<Mutex<HashMap<u64, Expected>>>;

/// Who waits for a stream.
#[derive(Debug)]
struct Expected {
    reader: oneshot::Sender<Chunks>,
    /// What goes the other way.
    input: Option<Streaming<v1::SessionRequest>>,
}

/// The chunks of one read; ends after the last. Dropping it tells the agent to stop.
#[derive(Debug)]
pub(crate) struct Chunks {
    up: Streaming<v1::BulkUp>,
    ended: bool,
    /// Dropped with the reader, which the agent's side waits for.
    _reader: oneshot::Sender<()>,
}

impl Bulk {
    pub(crate) fn new(reads: Reads, links: AgentLinks) -> Self {
        Self { reads, links, waiting: Waiting::default() }
    }

    /// Opens what `read` asks for.
    pub(crate) async fn open(&self, read: ReadLog) -> Result<Chunks, BulkError> {
        self.ask(read.task.clone(), BulkRequest::ReadLog(read), None).await
    }

    /// Asks the task's agent for a stream, and waits for it.
    async fn ask(
        &self,
        task: TaskKey,
        request: BulkRequest,
        input: Option<Streaming<v1::SessionRequest>>,
    ) -> Result<Chunks, BulkError> {
        let agent = self.agent_of(task).await?;
        let link = self.links.get(agent).ok_or(BulkError::AgentAway(agent))?;
        let (reader, dial) = oneshot::channel();
        let stream_id = self.expect(Expected { reader, input })?;
        let ticket = Ticket { waiting: &self.waiting, stream_id };
        link.push([AgentItem::OpenBulk(OpenBulk { stream_id, request })]);
        let answer = tokio::select! {
            answer = timeout(DIAL_TIMEOUT, dial) => answer,
            _ = link.closed() => return Err(BulkError::AgentAway(agent)),
        };
        drop(ticket);
        answer.map_err(|_| BulkError::NoAnswer { agent })?.map_err(|_| BulkError::Stopping)
    }

    /// Takes a stream that an agent dialled, and returns what ends when its reader is gone.
    pub(crate) async fn dialled(&self, mut up: Streaming<v1::BulkUp>) -> Result<Cancel, Status> {
        let first = timeout(OPEN_TIMEOUT, up.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("stream_id: expected as the first message"))??;
        let Some(v1::BulkUp { message: Some(Up::StreamId(id)) }) = first else {
            return Err(Status::invalid_argument("stream_id: expected as the first message"));
        };
        let Expected { reader, input } =
            self.lock().remove(&id).ok_or_else(|| Status::not_found("stream_id: nobody waits for this stream"))?;
        let (alive, gone) = oneshot::channel();
        let chunks = Chunks { up, ended: false, _reader: alive };
        reader.send(chunks).map_err(|_| Status::cancelled("the reader has gone"))?;
        Ok(Cancel { reader: Some(gone), input })
    }

    async fn agent_of(&self, task: TaskKey) -> Result<AgentId, BulkError> {
        let key = task.clone();
        let found = self.reads.ask(move |view, _| view.tasks.get(&key).map(|task| task.agent)).await;
        match found {
            Ok(agent) => agent.ok_or(BulkError::UnknownTask(task)),
            Err(ReadError::Stopping) => Err(BulkError::Stopping),
            Err(ReadError::Busy) => Err(BulkError::Busy),
        }
    }

    /// Names a stream that `dialled` waits for. Numbers are drawn, so that no agent can guess another's.
    fn expect(&self, expected: Expected) -> Result<u64, BulkError> {
        let mut drawn = [0; 8];
        SystemRandom::new().fill(&mut drawn).map_err(|_| BulkError::Busy)?;
        let id = u64::from_be_bytes(drawn);
        let mut waiting = self.lock();
        if waiting.len() >= WAITING_MAX || waiting.contains_key(&id) {
            return Err(BulkError::Busy);
        }
        waiting.insert(id, expected);
        Ok(id)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Expected>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the place among those who wait back, also if the reader gives up.
struct Ticket<'a> {
    waiting: &'a Waiting,
    stream_id: u64,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.stream_id);
    }
}

impl Chunks {
    fn end<T>(&mut self, last: T) -> Poll<Option<T>> {
        self.ended = true;
        Poll::Ready(Some(last))
    }
}

impl Stream for Chunks {
    type Item = Result<v1::LogChunk, BulkError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match Pin::new(&mut self.up).poll_next(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(v1::BulkUp { message: Some(Up::Chunk(chunk)) }))) if chunk.eof => self.end(Ok(chunk)),
            Poll::Ready(Some(Ok(v1::BulkUp { message: Some(Up::Chunk(chunk)) }))) => Poll::Ready(Some(Ok(chunk))),
            Poll::Ready(Some(Ok(v1::BulkUp { message: Some(Up::Error(error)) }))) => self.end(Err(refusal(error))),
            Poll::Ready(Some(Ok(_))) => self.end(Err(BulkError::Broken("expected a chunk or an error".to_owned()))),
            Poll::Ready(Some(Err(status))) => self.end(Err(BulkError::Broken(status.message().to_owned()))),
            Poll::Ready(None) => self.end(Err(BulkError::Broken("expected a last chunk".to_owned()))),
        }
    }
}

fn refusal(error: v1::BulkError) -> BulkError {
    match error.kind() {
        v1::BulkErrorKind::NotFound => BulkError::NotFound(error.message),
        v1::BulkErrorKind::Invalid => BulkError::Invalid(error.message),
        v1::BulkErrorKind::Io | v1::BulkErrorKind::Unspecified => BulkError::Io(error.message),
    }
}

/// What the agent hears on its bulk stream: what goes to a session's task; else nothing, until the reader is gone.
#[derive(Debug)]
pub(crate) struct Cancel {
    reader: Option<oneshot::Receiver<()>>,
    input: Option<Streaming<v1::SessionRequest>>,
}

impl Stream for Cancel {
    type Item = Result<v1::BulkDown, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(reader) = &mut self.reader else { return Poll::Ready(None) };
        if Pin::new(reader).poll(cx).is_pending() {
            return session::poll_input(&mut self.input, cx);
        }
        self.reader = None;
        let cancel = v1::bulk_down::Message::Cancel(v1::Nothing {});
        Poll::Ready(Some(Ok(v1::BulkDown { message: Some(cancel) })))
    }
}

/// The bytes of a read, for HTTP.
#[derive(Debug)]
pub(crate) struct RawBytes(pub(crate) Chunks);

impl Stream for RawBytes {
    type Item = Result<Bytes, BulkError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0).poll_next(cx).map(|item| item.map(|chunk| chunk.map(|chunk| chunk.data)))
    }
}
