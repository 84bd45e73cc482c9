//! Asking a supervisor for descriptors: those of a nested process, or what a member reads.

use std::io::{self, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::io::AsyncReadExt;

use super::client;
use super::codec::{FrameDecoder, encode_command};
use super::protocol::{Command, Frame, Outcome};

/// How long a supervisor may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    /// What is written here is read by the process.
    pub(crate) input: Option<OwnedFd>,
    /// What a nested process without a terminal writes: standard output and standard error.
    pub(crate) outputs: Vec<OwnedFd>,
    /// The input is a terminal, and the output too.
    pub(crate) terminal: bool,
    /// A nested process lives as long as this.
    stream: tokio::net::UnixStream,
    decoder: FrameDecoder,
}

/// Why nothing was opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("{0}")]
    NotStarted(String),
    #[error("{0}")]
    Refused(String),
    #[error("its supervisor does not answer: {0}")]
    Io(#[from] io::Error),
}

/// How a nested process ended.
#[derive(Debug)]
pub(crate) enum Ended {
    By(Outcome),
    /// Its supervisor ended before it could say.
    WithTask,
}

impl Asked {
    /// Waits until the nested process has ended. Can be given up and called again.
    pub(crate) async fn ended(&mut self) -> Ended {
        loop {
            match self.decoder.next_message() {
                Ok(Some(Frame::NestedEnded { outcome })) => return Ended::By(outcome),
                Ok(Some(_)) => continue,
                Ok(None) => {}
                Err(_) => return Ended::WithTask,
            }
            let mut bytes = [0; 1024];
            match self.stream.read(&mut bytes).await {
                Ok(len @ 1..) => self.decoder.push(&bytes[..len]),
                Ok(0) | Err(_) => return Ended::WithTask,
            }
        }
    }
}

/// Asks for a nested process, or for what a member reads.
///
/// # Errors
/// The supervisor refuses, can't execute the command, or does not answer.
pub(crate) async fn ask(directory: PathBuf, command: Command) -> Result<Asked, AskError> {
    let asked = tokio::task::spawn_blocking(move || ask_blocking(&directory, &command));
    let (answer, stream) = asked.await.map_err(|_| AskError::Refused("the agent is stopping".to_owned()))??;
    stream.set_nonblocking(true)?;
    let stream = tokio::net::UnixStream::from_std(stream)?;
    let Answer { mut descriptors, input, terminal, decoder } = answer;
    let outputs = descriptors.split_off(usize::from(input).min(descriptors.len()));
    Ok(Asked { input: descriptors.pop(), outputs, terminal, stream, decoder })
}

/// Tells a supervisor something that is not answered.
///
/// # Errors
/// It can't be reached.
pub(crate) async fn tell(directory: PathBuf, command: Command) -> io::Result<()> {
    let told = tokio::task::spawn_blocking(move || {
        let mut stream = connect(&directory)?;
        stream.write_all(&encode_command(&command))?;
        // Read to the end of what it says: closed before that, the command might never be read.
        stream.shutdown(std::net::Shutdown::Write)?;
        io::copy(&mut stream, &mut io::sink()).map(drop)
    });
    told.await.map_err(io::Error::other)?
}

struct Answer {
    descriptors: Vec<OwnedFd>,
    input: bool,
    terminal: bool,
    decoder: FrameDecoder,
}

fn connect(directory: &Path) -> io::Result<UnixStream> {
    let stream = client::connect_beside(directory)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn ask_blocking(directory: &Path, command: &Command) -> Result<(Answer, UnixStream), AskError> {
    let mut stream = connect(directory)?;
    stream.write_all(&encode_command(command))?;
    let mut decoder = FrameDecoder::default();
    let mut descriptors = Vec::new();
    loop {
        match decoder.next_message().map_err(io::Error::other)? {
            Some(Frame::Opened { input, terminal }) => {
                return Ok((Answer { descriptors, input, terminal, decoder }, stream));
            }
            Some(Frame::NestedEnded { outcome: Outcome::FailedToStart { error, .. } }) => {
                return Err(AskError::NotStarted(error));
            }
            Some(Frame::Refused { reason }) => return Err(AskError::Refused(reason)),
            Some(_) => {}
            None => receive(&stream, &mut decoder, &mut descriptors)?,
        }
    }
}

/// Reads once, and keeps the descriptors that came.
fn receive(stream: &UnixStream, decoder: &mut FrameDecoder, descriptors: &mut Vec<OwnedFd>) -> io::Result<()> {
    let mut bytes = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(stream, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(came) = message {
            descriptors.extend(came);
        }
    }
    match received.bytes {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        len => {
            decoder.push(&bytes[..len]);
            Ok(())
        }
    }
}
