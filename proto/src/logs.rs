//! Reading logs and files of tasks. The master asks an agent to dial a bulk stream ([`OpenBulk`]); the agent names the stream in its first
//! message and then sends chunks.

use std::fmt;
use std::str::FromStr;

use rialto_core::model::TaskKey;

use crate::convert::{At, ConvertError, Converted, Wire, expected, inside, limits, one_of, required};
use crate::session::OpenSession;
use crate::v1;

/// Names what a task uses, among its files.
const USAGE: &str = ":usage";

/// The most bytes that one chunk should carry.
pub const MAX_CHUNK: usize = 256 << 10;

/// A part of a file that somebody wants to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadLog {
    /// Whose file.
    pub task: TaskKey,
    /// Which.
    pub file: LogFile,
    /// Where to begin.
    pub start: Start,
    /// Whether to go on with what is written from now on.
    pub follow: Follow,
    /// The most bytes to send; none means all.
    pub limit: Option<u64>,
}

/// A file of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogFile {
    /// What its command writes to standard output.
    Stdout,
    /// What its command writes to standard error.
    Stderr,
    /// What it uses, as its agent measures it: a line of JSON, and while it is followed one more each second.
    Usage,
    /// A file below its sandbox: a relative path without `..`.
    Sandbox(String),
}

/// Where in a file to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// This many bytes after the beginning.
    Offset(u64),
    /// This many bytes before the end.
    Tail(u64),
}

/// Whether to go on at the end of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// Stop there.
    No,
    /// Wait for more, until the task ends.
    UntilTaskEnds,
}

/// A request to an agent to dial a bulk stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenBulk {
    /// Names the stream.
    pub stream_id: u64,
    /// What to do on it.
    pub request: BulkRequest,
}

/// What can be done on a bulk stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BulkRequest {
    /// Send a part of a log or file.
    ReadLog(ReadLog),
    /// Let somebody talk to a task.
    Session(OpenSession),
}

impl FromStr for LogFile {
    type Err = ConvertError;

    fn from_str(text: &str) -> Result<Self, ConvertError> {
        match text {
            "stdout" => Ok(Self::Stdout),
            "stderr" => Ok(Self::Stderr),
            USAGE => Ok(Self::Usage),
            path => check_path(path).map(|()| Self::Sandbox(path.to_owned())),
        }
    }
}

fn check_path(path: &str) -> Converted<()> {
    let parts_good = path.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    let good = path.len() <= limits::MAX_TEXT && parts_good && !path.contains(char::is_control);
    expected(good, || format!("expected stdout, stderr or a path below the sandbox without '.' and '..', got {path:?}"))
}

impl fmt::Display for LogFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Usage => USAGE,
            Self::Sandbox(path) => path,
        })
    }
}

impl Wire for ReadLog {
    type Message = v1::ReadLog;

    fn to_wire(&self) -> v1::ReadLog {
        v1::ReadLog {
            task: Some(self.task.to_wire()),
            file: self.file.to_string(),
            start: Some(match self.start {
                Start::Offset(offset) => v1::read_log::Start::Offset(offset),
                Start::Tail(bytes) => v1::read_log::Start::Tail(bytes),
            }),
            follow: self.follow == Follow::UntilTaskEnds,
            limit: self.limit.unwrap_or(0),
        }
    }

    fn from_wire(read: v1::ReadLog) -> Converted<Self> {
        let start = match read.start {
            Some(v1::read_log::Start::Tail(bytes)) => Start::Tail(bytes),
            Some(v1::read_log::Start::Offset(offset)) => Start::Offset(offset),
            None => Start::Offset(0),
        };
        Ok(Self {
            task: required(read.task, "task")?,
            file: read.file.parse::<LogFile>().at("file")?,
            start,
            follow: if read.follow { Follow::UntilTaskEnds } else { Follow::No },
            limit: Some(read.limit).filter(|limit| *limit > 0),
        })
    }
}

impl Wire for OpenBulk {
    type Message = v1::OpenBulk;

    fn to_wire(&self) -> v1::OpenBulk {
        let request = match &self.request {
            BulkRequest::ReadLog(read) => v1::open_bulk::Request::ReadLog(read.to_wire()),
            BulkRequest::Session(open) => v1::open_bulk::Request::Session(open.to_wire()),
        };
        v1::OpenBulk { stream_id: self.stream_id, request: Some(request) }
    }

    fn from_wire(open: v1::OpenBulk) -> Converted<Self> {
        let request = match one_of(open.request).at("request")? {
            v1::open_bulk::Request::ReadLog(read) => BulkRequest::ReadLog(inside(read, "read_log")?),
            v1::open_bulk::Request::Session(open) => BulkRequest::Session(inside(open, "session")?),
        };
        Ok(Self { stream_id: open.stream_id, request })
    }
}
