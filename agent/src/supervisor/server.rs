//! The connections of agents.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::Mode;

use super::codec::{DecodeError, Decoder, encode};
use super::protocol::{Command, Frame, MAX_COMMAND_BYTES, MAX_FRAME_BYTES};
use super::store::SOCKET;

/// Most connections served; a new one takes the place of the oldest, which is likely that of an agent that is gone.
const MAX_PEERS: usize = 4;
/// How much is read at a time.
const READ_BYTES: usize = 4096;
/// Most bytes that wait for a peer.
const MAX_WAITING_BYTES: usize = 2 * MAX_FRAME_BYTES;

/// After what time others than the first can connect. Most commands that are short have ended by then, and a socket in the file system is
/// a file that is to be made and removed.
const LISTEN_AFTER: Duration = Duration::from_millis(200);
/// Pause before a socket that could not be made is tried again.
const LISTEN_RETRY: Duration = Duration::from_secs(1);

/// Whether a supervisor listens from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listening {
    Now,
    /// After a moment, or as soon as nobody is connected.
    Later,
}

/// What [`Server::listen_if_due`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listens {
    AsBefore,
    /// It listens from now on.
    Begun,
}

/// The listening socket, and everybody connected.
pub(super) struct Server {
    listener: Option<UnixListener>,
    /// When there is to be one, while there is none.
    listens_at: Instant,
    peers: Vec<Peer>,
}

struct Peer {
    stream: UnixStream,
    decoder: Decoder<Command>,
    waiting: Vec<u8>,
    link: Link,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    Open,
    /// It does not take anything any more; what it has said before it left is still heard.
    Deaf,
    Closed,
}

impl Server {
    /// Nobody is connected yet.
    pub(super) fn new(listening: Listening) -> Self {
        let wait = if listening == Listening::Now { Duration::ZERO } else { LISTEN_AFTER };
        Self { listener: None, listens_at: Instant::now() + wait, peers: Vec::new() }
    }

    /// When [`Self::listen_if_due`] has something to do.
    pub(super) fn listens_at(&self) -> Option<Instant> {
        self.listener.is_none().then_some(self.listens_at)
    }

    /// Listens in the working directory, where the path is short enough for an address, if it is time.
    ///
    /// # Errors
    /// The socket can't be made. It is tried again later.
    pub(super) fn listen_if_due(&mut self, now: Instant) -> io::Result<Listens> {
        let is_alone = !self.peers.iter().any(|peer| peer.link == Link::Open);
        if self.listener.is_some() || self.listens_at > now && !is_alone {
            return Ok(Listens::AsBefore);
        }
        self.listens_at = now + LISTEN_RETRY;
        let before = rustix::process::umask(Mode::from_raw_mode(0o177));
        let listener = bind_anew();
        rustix::process::umask(before);
        let listener = listener?;
        listener.set_nonblocking(true)?;
        self.listener = Some(listener);
        Ok(Listens::Begun)
    }

    /// Serves one more connection, which is greeted with `snapshot`.
    pub(super) fn add(&mut self, stream: UnixStream, snapshot: &Frame) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        // Closed ones are only forgotten between rounds, so that numbers of connections stay what they are.
        let mut open = self.peers.iter_mut().filter(|peer| peer.link != Link::Closed);
        if let (Some(oldest), MAX_PEERS..) = (open.next(), open.count() + 1) {
            oldest.link = Link::Closed;
        }
        let decoder = Decoder::with_limit(MAX_COMMAND_BYTES);
        let mut peer = Peer { stream, decoder, waiting: Vec::new(), link: Link::Open };
        peer.send(&encode(snapshot));
        self.peers.push(peer);
        Ok(())
    }

    /// Whoever is waiting to be served.
    pub(super) fn accept(&self) -> Option<UnixStream> {
        self.listener.as_ref()?.accept().ok().map(|(stream, _)| stream)
    }

    pub(super) fn broadcast(&mut self, frame: &Frame) {
        if self.peers.is_empty() {
            return;
        }
        let line = encode(frame);
        self.peers.iter_mut().for_each(|peer| peer.send(&line));
    }

    pub(super) fn reply(&mut self, peer: usize, frame: &Frame) {
        self.peers[peer].send(&encode(frame));
    }

    pub(super) fn listener(&self) -> Option<BorrowedFd<'_>> {
        self.listener.as_ref().map(AsFd::as_fd)
    }

    /// What to poll each connection for, in order.
    pub(super) fn interests(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        self.peers.iter().map(|peer| {
            let writable = if peer.waiting.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            (peer.stream.as_fd(), PollFlags::IN | writable)
        })
    }

    /// Moves bytes of one connection and answers the commands that came; after one that cannot be understood there are no more.
    pub(super) fn serve(&mut self, peer: usize) -> Vec<Result<Command, DecodeError>> {
        self.peers[peer].flush();
        self.peers[peer].receive()
    }

    /// Lets go of a connection that is to be used for something else from now on; `None` if it has not taken all that it was told.
    pub(super) fn release(&mut self, peer: usize) -> Option<UnixStream> {
        let peer = &mut self.peers[peer];
        let stream = peer.waiting.is_empty().then(|| peer.stream.try_clone().ok()).flatten()?;
        peer.link = Link::Closed;
        Some(stream)
    }

    pub(super) fn close(&mut self, peer: usize) {
        self.peers[peer].link = Link::Closed;
    }

    /// Forgets the connections that are closed. Not to be called while numbers of connections are in use.
    pub(super) fn forget_closed(&mut self) {
        self.peers.retain(|peer| peer.link != Link::Closed);
    }

    /// Gives slow readers a bounded time to take what waits for them.
    pub(super) fn finish(mut self, patience: Duration) {
        let deadline = Instant::now() + patience;
        loop {
            self.peers.iter_mut().for_each(Peer::flush);
            self.peers.retain(|peer| peer.link == Link::Open && !peer.waiting.is_empty());
            let left = deadline.saturating_duration_since(Instant::now());
            if self.peers.is_empty() || left.is_zero() {
                break;
            }
            let mut fds: Vec<_> = self.peers.iter().map(|peer| PollFd::new(&peer.stream, PollFlags::OUT)).collect();
            let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(left.subsec_nanos()) };
            if rustix::event::poll(&mut fds, Some(&timeout)).is_err() {
                break;
            }
        }
        if self.listener.is_some() {
            // A socket that cannot be removed is in a directory that the agent removes.
            let _left_behind = fs::remove_file(SOCKET);
        }
    }
}

fn bind_anew() -> io::Result<UnixListener> {
    match fs::remove_file(SOCKET) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => UnixListener::bind(SOCKET),
    }
}

impl Peer {
    fn send(&mut self, line: &[u8]) {
        if self.waiting.len() + line.len() > MAX_WAITING_BYTES {
            self.link = Link::Closed;
        }
        if self.link == Link::Open {
            self.waiting.extend_from_slice(line);
            self.flush();
        }
    }

    fn flush(&mut self) {
        while !self.waiting.is_empty() && self.link == Link::Open {
            match self.stream.write(&self.waiting) {
                Ok(count @ 1..) => drop(self.waiting.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => {
                    self.link = Link::Deaf;
                    self.waiting.clear();
                }
            }
        }
    }

    fn receive(&mut self) -> Vec<Result<Command, DecodeError>> {
        let mut buffer = [0; READ_BYTES];
        match self.stream.read(&mut buffer) {
            Ok(count @ 1..) => self.decoder.push(&buffer[..count]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Ok(0) | Err(_) => self.link = Link::Closed,
        }
        let mut commands = Vec::new();
        while let Some(command) = self.decoder.next_message().transpose() {
            let is_last = command.is_err();
            commands.push(command);
            if is_last {
                break;
            }
        }
        commands
    }
}
