//! The agent's side of the zygote.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::retry_on_intr;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv,
    sendmsg, socketpair,
};
use rustix::process::Pid;

use super::child::Child;
use super::client::{self, ClientError, PidNamespace, Spawned};
use super::fork::SLOT_BYTES;
use super::zygote::{ARGUMENT, REQUEST_BYTES, TITLE_BYTES, request};

/// How long a zygote may take to fork. One that takes longer is stopped, or in trouble, and is done without.
const PATIENCE: Duration = Duration::from_secs(3);

/// Spawns supervisors: forked from a zygote where there is one, else executed.
#[derive(Debug)]
pub struct Spawner {
    exe: PathBuf,
    zygote: Mutex<Option<Zygote>>,
}

impl Spawner {
    /// Spawns supervisors of this program. Nothing is started yet.
    #[must_use]
    pub fn new(exe: &Path) -> Self {
        Self { exe: exe.to_owned(), zygote: Mutex::new(None) }
    }

    /// Starts the zygote, unless there is one. Without one supervisors are spawned all the same, more slowly.
    pub fn warm_up(&self) {
        let mut zygote = self.zygote.lock().unwrap_or_else(PoisonError::into_inner);
        if zygote.is_none() {
            *zygote = Zygote::start(&self.exe)
                .inspect_err(|error| tracing::warn!("supervisors start slowly, as no zygote can be started: {error}"))
                .ok();
        }
    }

    /// The process id of the zygote, while there is one.
    #[must_use]
    pub fn zygote(&self) -> Option<u32> {
        self.zygote.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|zygote| zygote.child.id())
    }

    /// Spawns a supervisor as [`client::spawn`] does, as a child of this process.
    ///
    /// # Errors
    /// It can neither be forked nor executed.
    pub fn spawn(&self, directory: &Path, namespace: PidNamespace) -> Result<Spawned, ClientError> {
        if let Some(spawned) = self.fork(directory, namespace) {
            return Ok(spawned);
        }
        self.warm_up();
        if namespace == PidNamespace::NewWithUser
            && let Some(spawned) = self.fork(directory, namespace)
        {
            return Ok(spawned);
        }
        client::spawn(&self.exe, directory, namespace)
    }

    /// `None` if there is no supervisor, and none to come.
    fn fork(&self, directory: &Path, namespace: PidNamespace) -> Option<Spawned> {
        let mut place = self.zygote.lock().unwrap_or_else(PoisonError::into_inner);
        let zygote = place.as_mut()?;
        let (stream, theirs) = UnixStream::pair().ok()?;
        let asked = zygote.fork(directory, namespace, &theirs);
        let told = match asked {
            Ok(Answer::Made) => true,
            Ok(Answer::Refused) => return None,
            Err(error) => {
                tracing::warn!("the process that supervisors are forked from does not answer: {error}");
                false
            }
        };
        // What it did last is known even if it could not say so.
        if !told {
            zygote.stop();
        }
        let made = zygote.last();
        if !told {
            *place = None;
        }
        made.map(|pid| Spawned { child: Child::new(pid), stream })
    }
}

enum Answer {
    Made,
    Refused,
}

/// The process, from outside.
#[derive(Debug)]
struct Zygote {
    child: Child,
    socket: OwnedFd,
    slot: OwnedFd,
}

impl Zygote {
    fn start(exe: &Path) -> io::Result<Self> {
        let (socket, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
        let slot = memfd_create("supervisor", MemfdFlags::CLOEXEC)?;
        ftruncate(&slot, SLOT_BYTES)?;
        let mut command = Command::new(exe);
        command.args(["supervise", ARGUMENT, &" ".repeat(TITLE_BYTES)]).env_clear();
        command.stdin(theirs).stdout(slot.try_clone()?).stderr(Stdio::null());
        #[cfg(feature = "crash-points")]
        command.envs(crate::crash::VARIABLES.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        let child = Child::of(&command.spawn()?);
        Ok(Self { child, socket, slot })
    }

    fn fork(&self, directory: &Path, namespace: PidNamespace, stream: &UnixStream) -> io::Result<Answer> {
        let request = request(namespace, directory.as_os_str());
        if request.len() > REQUEST_BYTES {
            return Ok(Answer::Refused);
        }
        self.clear()?;
        let streams = [stream.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&streams)), "there is room for one");
        let parts = [IoSlice::new(&request)];
        // Signals, such as those of other children that end, cut short what has a time limit.
        retry_on_intr(|| sendmsg(&self.socket, &parts, &mut control, SendFlags::NOSIGNAL))?;
        let mut answer = [0; 4];
        let (received, _) = retry_on_intr(|| recv(&self.socket, &mut answer[..], RecvFlags::empty()))?;
        match (received, i32::from_ne_bytes(answer)) {
            (4, 0) => Ok(Answer::Made),
            (4, error) => {
                tracing::debug!("a supervisor can't be forked: {}", io::Error::from_raw_os_error(error));
                Ok(Answer::Refused)
            }
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Forgets the last child, so that it is not taken for the next.
    fn clear(&self) -> io::Result<()> {
        rustix::io::pwrite(&self.slot, &[0; 4], 0)?;
        Ok(())
    }

    /// The child that was forked last.
    fn last(&self) -> Option<Pid> {
        let mut number = [0; 4];
        let read = rustix::io::pread(&self.slot, &mut number[..], 0);
        (read == Ok(4)).then(|| Pid::from_raw(i32::from_ne_bytes(number))).flatten()
    }

    /// Ends it: from then on it forks no more, and what it did last is final.
    fn stop(&mut self) {
        // One that has ended already, or whose status was taken, is as good.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Drop for Zygote {
    fn drop(&mut self) {
        self.stop();
    }
}
