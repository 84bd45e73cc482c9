//! Talking to a task: shells inside of it, and its own terminal. A session is a bulk stream on one side and, on the other, the
//! descriptors that the task's supervisor hands out; what is typed and written goes from one to the other here.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use bytes::Bytes;
use rialto_proto::Wire;
use rialto_proto::logs::{Follow, LogFile, ReadLog, Start};
use rialto_proto::session::{self, From, OpenSession, SessionKind, Stdio, TerminalSize};
use rialto_proto::v1::{self, BulkErrorKind, bulk_down, bulk_up, session_end, session_input, session_output};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tonic::Streaming;

use crate::bulk::{Files, Stop, next_chunk, up};
use crate::logs::LogReader;
use crate::supervisor::asker::{self, AskError, Asked, Ended};
use crate::supervisor::protocol::{self, Command, Outcome};
use crate::supervisor::resize;

/// How much is read at a time.
const CHUNK: usize = 16 << 10;
/// How long output may still come after its process has ended, from what has left its session.
const DRAIN: Duration = Duration::from_secs(2);
/// Between looks at a file that is followed.
const LOOK_AGAIN: Duration = Duration::from_millis(15);
/// What ends the input of a terminal.
const END_OF_TRANSMISSION: [u8; 1] = [4];

/// Where what comes from the task goes.
#[derive(Clone, Debug)]
struct Reader(mpsc::Sender<v1::BulkUp>);

impl Reader {
    async fn tell(&self, output: session_output::Output) -> Result<(), Stop> {
        let message = bulk_up::Message::Output(session::output(output));
        self.0.send(up(message)).await.map_err(|_| Stop::Cancelled)
    }

    async fn opened(&self, asked: &Asked) -> Result<(), Stop> {
        let opened = v1::SessionOpened { input: asked.input.is_some(), terminal: asked.terminal };
        self.tell(session_output::Output::Opened(opened)).await
    }

    async fn ended(&self, how: session_end::How) -> Result<(), Stop> {
        self.tell(session_output::Output::Ended(v1::SessionEnd { how: Some(how) })).await
    }
}

/// Which of its streams a process writes to.
#[derive(Clone, Copy)]
enum Stream {
    Out,
    Err,
}

impl Stream {
    fn output(self, data: Bytes) -> session_output::Output {
        match self {
            Self::Out => session_output::Output::Stdout(data),
            Self::Err => session_output::Output::Stderr(data),
        }
    }
}

impl Files {
    /// Serves a session until its process or its asker is gone.
    pub(crate) async fn converse(
        &self,
        open: &OpenSession,
        incoming: &mut Streaming<v1::BulkDown>,
        sender: &mpsc::Sender<v1::BulkUp>,
    ) -> Result<(), Stop> {
        let reader = Reader(sender.clone());
        let place = self.place(&open.task);
        let Some((directory, member)) = place else {
            return Err(Stop::Error(BulkErrorKind::NotFound, format!("{}: it does not run", open.task)));
        };
        let task = member.to_string();
        match &open.what {
            SessionKind::Exec { args, stdio } => {
                let command = Command::Exec { task, args: args.clone(), stdio: streams(stdio) };
                let asked = match asker::ask(directory, command).await {
                    Ok(asked) => asked,
                    Err(AskError::NotStarted(why)) => return reader.ended(session_end::How::NotStarted(why)).await,
                    Err(error) => return Err(refused(&error)),
                };
                exec(asked, incoming, &reader).await
            }
            SessionKind::Attach { input, size, from } => {
                let command = Command::Input { task: task.clone() };
                let mut asked = asker::ask(directory.clone(), command).await.map_err(|error| refused(&error))?;
                if !*input {
                    asked.input = None;
                }
                if let (Some(terminal), Some(size), true) = (&asked.input, size, asked.terminal) {
                    set_size(terminal, *size);
                }
                reader.opened(&asked).await?;
                let close = Command::CloseInput { task };
                let ended = async {
                    tokio::try_join!(
                        self.follow(open, LogFile::Stdout, *from, Stream::Out, &reader),
                        self.follow(open, LogFile::Stderr, *from, Stream::Err, &reader)
                    )?;
                    reader.ended(session_end::How::TaskEnded(v1::Nothing {})).await
                };
                let terminal = asked.terminal;
                let input = async {
                    let end = listen(asked.input, terminal, incoming).await;
                    if end == Heard::End {
                        // A task that has ended meanwhile reads no more anyway.
                        let _ended = asker::tell(directory, close).await;
                        gone(incoming).await;
                    }
                };
                tokio::select! {
                    ended = ended => ended,
                    () = input => Err(Stop::Cancelled),
                }
            }
        }
    }

    /// Sends what the task writes until it ends.
    async fn follow(
        &self,
        open: &OpenSession,
        file: LogFile,
        from: From,
        stream: Stream,
        reader: &Reader,
    ) -> Result<(), Stop> {
        let start = if from == From::Start { Start::Offset(0) } else { Start::Tail(0) };
        let read = ReadLog { task: open.task.clone(), file, start, follow: Follow::UntilTaskEnds, limit: None };
        let Ok(Some(opened)) = self.open(&read).await else { return Ok(()) };
        let mut log: LogReader = opened;
        loop {
            // Asked before the read: what a task wrote before it ended is there to be read after.
            let ended = !self.is_live(&read.task);
            let data;
            (log, _, data) = next_chunk(log, CHUNK).await?;
            match (data.is_empty(), ended) {
                (false, _) => reader.tell(stream.output(data.into())).await?,
                (true, true) => return Ok(()),
                (true, false) => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    }
}

fn streams(stdio: &Stdio) -> protocol::Stdio {
    match stdio {
        Stdio::Output => protocol::Stdio::Output,
        Stdio::Pipes => protocol::Stdio::Pipes,
        Stdio::Terminal { size, kind } => {
            protocol::Stdio::Terminal { rows: size.rows, columns: size.columns, kind: kind.clone() }
        }
    }
}

fn refused(error: &AskError) -> Stop {
    let kind = match error {
        AskError::Refused(_) => BulkErrorKind::Invalid,
        AskError::NotStarted(_) | AskError::Io(_) => BulkErrorKind::Io,
    };
    Stop::Error(kind, error.to_string())
}

/// Serves a process that was started for this session.
async fn exec(mut asked: Asked, incoming: &mut Streaming<v1::BulkDown>, reader: &Reader) -> Result<(), Stop> {
    reader.opened(&asked).await?;
    let (input, terminal) = (asked.input.take(), asked.terminal);
    let mut outputs = std::mem::take(&mut asked.outputs);
    if let (Some(master), true) = (&input, terminal) {
        outputs.push(master.try_clone().map_err(|error| broken(&error))?);
    }
    let mut outputs = outputs.into_iter();
    let (out, err) = (outputs.next(), outputs.next());
    let talk = async {
        let mut copied = std::pin::pin!(async {
            tokio::try_join!(copy(out, Stream::Out, reader), copy(err, Stream::Err, reader)).map(drop)
        });
        let mut all_copied = false;
        let ended = loop {
            tokio::select! {
                ended = asked.ended() => break ended,
                done = &mut copied, if !all_copied => {
                    done?;
                    all_copied = true;
                }
            }
        };
        if !all_copied {
            // What takes longer was left behind by the process on purpose.
            tokio::time::timeout(DRAIN, copied).await.unwrap_or(Ok(()))?;
        }
        reader.ended(how(ended)).await
    };
    tokio::select! {
        done = talk => done,
        () = async {
            if listen(input, terminal, incoming).await == Heard::End {
                gone(incoming).await;
            }
        } => Err(Stop::Cancelled),
    }
}

fn how(ended: Ended) -> session_end::How {
    match ended {
        Ended::By(Outcome::Exited { code }) => session_end::How::Code(code.unsigned_abs()),
        Ended::By(Outcome::Signaled { signal }) => session_end::How::Signal(signal.unsigned_abs()),
        Ended::By(Outcome::FailedToStart { error, .. }) => session_end::How::NotStarted(error),
        Ended::WithTask => session_end::How::TaskEnded(v1::Nothing {}),
    }
}

/// Sends what comes until nothing can come any more.
async fn copy(output: Option<OwnedFd>, stream: Stream, reader: &Reader) -> Result<(), Stop> {
    let Some(output) = output else { return Ok(()) };
    rustix::io::ioctl_fionbio(&output, true).map_err(|error| broken(&error.into()))?;
    // Terminals are no pipes, and are read like one.
    let mut output = pipe::Receiver::from_owned_fd_unchecked(output).map_err(|error| broken(&error))?;
    let mut buffer = vec![0; CHUNK];
    loop {
        match output.read(&mut buffer).await {
            // A terminal that nobody has open says so with an error.
            Ok(0) | Err(_) => return Ok(()),
            Ok(len) => reader.tell(stream.output(Bytes::copy_from_slice(&buffer[..len]))).await?,
        }
    }
}

/// What listening ended with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// Nothing more is sent, and the asker still listens.
    End,
    /// The asker is gone.
    Gone,
}

/// Writes what the asker sends, and resizes the terminal as its own is resized.
async fn listen(input: Option<OwnedFd>, terminal: bool, incoming: &mut Streaming<v1::BulkDown>) -> Heard {
    let mut input = input.and_then(|fd| {
        rustix::io::ioctl_fionbio(&fd, true).ok()?;
        pipe::Sender::from_owned_fd_unchecked(fd).ok()
    });
    loop {
        let Ok(Some(v1::BulkDown { message: Some(bulk_down::Message::Input(said)) })) = incoming.message().await else {
            return Heard::Gone;
        };
        match (said.input, &mut input) {
            (Some(session_input::Input::Data(data)), Some(fd)) => {
                let written = fd.write_all(&data).await;
                // If nobody reads any more: that the process ends is heard elsewhere.
                input = input.filter(|_| written.is_ok());
            }
            (Some(session_input::Input::Size(size)), Some(fd)) if terminal => {
                if let Ok(size) = TerminalSize::from_wire(size) {
                    set_size(fd, size);
                }
            }
            (Some(session_input::Input::End(_)), Some(fd)) if terminal => {
                let _unread = fd.write_all(&END_OF_TRANSMISSION).await;
            }
            (Some(session_input::Input::End(_)), _) => return Heard::End,
            _ => {}
        }
    }
}

/// Waits until the asker is gone.
async fn gone(incoming: &mut Streaming<v1::BulkDown>) {
    while let Ok(Some(v1::BulkDown { message: Some(bulk_down::Message::Input(_)) })) = incoming.message().await {}
}

fn set_size(terminal: &impl AsFd, size: TerminalSize) {
    if let Err(error) = resize(terminal, size.rows, size.columns) {
        tracing::debug!("a terminal can't be resized: {error}");
    }
}

fn broken(error: &io::Error) -> Stop {
    Stop::Error(BulkErrorKind::Io, error.to_string())
}
