//! The terminal of a process that a runtime starts: made in the container, and handed out on a socket.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::{invalid, remove};
use crate::supervisor::stdio::Ours;

/// Where a runtime connects to hand over the terminal.
pub(super) struct Console {
    listener: UnixListener,
    path: PathBuf,
    /// Keeps the descriptor by which a long path is named shortly.
    _folder: OwnedFd,
}

impl Console {
    pub(super) fn listen(bundle: &Path) -> io::Result<Self> {
        let path = bundle.join("console");
        remove(&path)?;
        let folder = OwnedFd::from(std::fs::File::open(bundle)?);
        // An address has room for 108 bytes; the runtime gets it by the number of this process, and by the group's own /proc.
        let short = format!("/proc/{}/fd/{}/console", rustix::process::getpid().as_raw_pid(), folder.as_raw_fd());
        let listener = UnixListener::bind(&short)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, path: short.into(), _folder: folder })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The terminal, after the runtime has come to its end.
    pub(super) fn take(self) -> io::Result<Ours> {
        let (stream, _) = self.listener.accept()?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        // The name of the terminal, which is of no interest.
        let mut name = [0; 256];
        recvmsg(&stream, &mut [IoSliceMut::new(&mut name)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let descriptor = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        let master = descriptor.ok_or_else(|| invalid("the runtime has handed over no terminal".to_owned()))?;
        Ok(Ours { input: Some(master.try_clone()?), outputs: vec![master] })
    }
}
