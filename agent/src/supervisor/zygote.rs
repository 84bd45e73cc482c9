//! The process that supervisors are forked from: `rialto supervise --zygote`.
//!
//! To execute a program costs more than all that a supervisor does before its command runs: the program is mapped, linked and relocated,
//! and its pages are copied as they are written to. So the agent executes it once. This process has done all that is the same for every
//! supervisor and then waits; for each group it forks a copy of itself that goes on from there, as a child of the agent. It ends with the
//! agent that it belongs to, and when it is killed the agent starts another.
//!
//! Standard input is a socket of packets: a request is a byte that says where the supervisor is born and the path of its folder, with the
//! supervisor's end of its connection; the answer is 0 or the system's error. Standard output is the [`Slot`] in which the child's number
//! is found.

use std::ffi::OsStr;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags, recvmsg, send};

use super::client::PidNamespace;
use super::fork::{Forked, Slot, Title, fork};
use super::run::Origin;
use super::{contain, procfs, run};
use crate::crash;

/// The argument in the place of a folder.
pub(super) const ARGUMENT: &str = "--zygote";
/// Room in the arguments for the path of a folder, so that `ps` shows what each supervisor is there for.
pub(super) const TITLE_BYTES: usize = 512;
/// The longest path of the system, and the byte before it.
pub(super) const REQUEST_BYTES: usize = libc::PATH_MAX as usize + 1;

/// Forks a supervisor for each request; comes back in each of them, and with `None` when the agent is gone.
pub(super) fn serve() -> io::Result<Option<(Origin, Option<UnixStream>)>> {
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let slot = Slot::map(rustix::stdio::stdout())?;
    let title = Title::after(2);
    run::leave_streams()?;
    run::leave_session();
    let signals = super::sys::signal_descriptor()?;
    let boot_id = procfs::boot_id()?;
    let user = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let mut bytes = vec![0; REQUEST_BYTES];
    loop {
        let Some((length, first)) = next(&socket, &mut bytes)? else { return Ok(None) };
        let Some((namespace, directory)) = understood(&bytes[..length]) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "expected a namespace and a folder"));
        };
        crash::point("zygote: before a supervisor");
        let answer = match fork(namespace, &slot) {
            Ok(Forked::Child) => {
                if let Some(title) = title {
                    title.write(directory.as_os_str());
                }
                let user = match namespace {
                    PidNamespace::NewWithUser => contain::stay_user(user),
                    PidNamespace::Same | PidNamespace::New => Ok(()),
                };
                return Ok(Some((Origin { directory, signals, boot_id, user }, first)));
            }
            Ok(Forked::Parent) => 0,
            Err(error) => error.raw_os_error().unwrap_or(libc::EIO),
        };
        crash::point("zygote: with a supervisor");
        drop(first);
        // An agent that is gone is found so by the next receive.
        let _gone = send(&socket, &answer.to_ne_bytes(), SendFlags::NOSIGNAL);
    }
}

/// The next request, and the connection that came with it.
fn next(socket: &OwnedFd, bytes: &mut [u8]) -> io::Result<Option<(usize, Option<UnixStream>)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        match recvmsg(socket.as_fd(), &mut [IoSliceMut::new(bytes)], &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            result => break result?,
        }
    };
    if received.bytes == 0 {
        return Ok(None);
    }
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "expected a shorter request"));
    }
    let stream = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok(Some((received.bytes, stream.map(UnixStream::from))))
}

/// What was asked for.
fn understood(request: &[u8]) -> Option<(PidNamespace, PathBuf)> {
    let (namespace, directory) = request.split_first()?;
    let namespace = match namespace {
        0 => PidNamespace::Same,
        1 => PidNamespace::New,
        2 => PidNamespace::NewWithUser,
        _ => return None,
    };
    (!directory.is_empty()).then(|| (namespace, OsStr::from_bytes(directory).into()))
}

/// The opposite of [`understood`].
pub(super) fn request(namespace: PidNamespace, directory: &OsStr) -> Vec<u8> {
    let namespace = match namespace {
        PidNamespace::Same => 0,
        PidNamespace::New => 1,
        PidNamespace::NewWithUser => 2,
    };
    let mut request = vec![namespace];
    request.extend_from_slice(directory.as_bytes());
    request
}
