//! Processes that somebody runs beside a task's own: in its namespaces and cgroup, with its rights, until they, their task or whoever
//! asked for them is gone.

use std::collections::BTreeSet;
use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::Signal;

use super::codec::encode;
use super::procfs;
use super::protocol::{Frame, MAX_NESTED, Outcome};

/// Looks at a session's processes while it is ended: more than one that grows meanwhile needs.
const MAX_LOOKS: usize = 50;

/// The nested processes of a group.
#[derive(Default)]
pub(super) struct Nested(Vec<Process>);

/// A process in a session of its own.
struct Process {
    member: usize,
    pid: i32,
    /// Its own number, unless a runtime has started it.
    session: i32,
    /// Who asked for it and is told how it ends; closed when it is gone.
    asker: Option<UnixStream>,
}

impl Nested {
    /// Whether there is room for one more.
    pub(super) fn has_room(&self) -> bool {
        self.0.len() < MAX_NESTED
    }

    pub(super) fn add(&mut self, member: usize, pid: i32, asker: UnixStream) {
        self.0.push(Process { member, pid, session: session_of(pid), asker: Some(asker) });
    }

    /// Each with the member that it belongs to.
    pub(super) fn owners(&self) -> impl Iterator<Item = (i32, usize)> + '_ {
        self.0.iter().map(|process| (process.pid, process.member))
    }

    /// Those who asked, to be polled, by their number.
    pub(super) fn askers(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        self.0.iter().enumerate().filter_map(|(index, process)| Some((index, process.asker.as_ref()?.as_fd())))
    }

    /// Something came from an asker: nothing does, except its end, and then the process ends too.
    pub(super) fn hear(&mut self, index: usize) {
        let Some(process) = self.0.get_mut(index) else { return };
        let Some(asker) = &mut process.asker else { return };
        match asker.read(&mut [0; 64]) {
            Ok(1..) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Ok(0) | Err(_) => {
                process.asker = None;
                end_session(process.session);
            }
        }
    }

    /// A child was reaped. If it is one of these, who asked is told, and nothing that it started in its session stays.
    pub(super) fn reaped(&mut self, pid: i32, outcome: &Outcome) {
        let Some(index) = self.0.iter().position(|process| process.pid == pid) else { return };
        let process = self.0.swap_remove(index);
        end_session(process.session);
        if let Some(mut asker) = process.asker {
            // One that does not take so little is as good as gone.
            let _gone = asker.write_all(&encode(&Frame::NestedEnded { outcome: outcome.clone() }));
        }
    }

    /// Ends those whose member does not run any more.
    pub(super) fn end_without(&self, runs: impl Fn(usize) -> bool) {
        self.0.iter().filter(|process| !runs(process.member)).for_each(|process| end_session(process.session));
    }
}

/// The session of a child that is not reaped yet.
pub(super) fn session_of(pid: i32) -> i32 {
    procfs::Process::read(pid).map_or(pid, |process| process.session)
}

/// Kills every process of a session, also those that are born meanwhile.
pub(super) fn end_session(session: i32) {
    let me = rustix::process::getpid().as_raw_pid();
    let mut hit = BTreeSet::new();
    for _ in 0..MAX_LOOKS {
        let before = hit.len();
        for process in procfs::descendants(me) {
            let is_of_it = process.session == session && !process.is_zombie;
            if is_of_it
                && hit.insert((process.pid, process.start_ticks))
                && let Err(error) = process.signal(Signal::KILL)
            {
                super::store::note(&format!("nested process {}: {error}", process.pid));
            }
        }
        if hit.len() == before {
            return;
        }
    }
}

/// Sends a frame, and descriptors with it.
pub(super) fn hand_over(stream: &UnixStream, frame: &Frame, descriptors: &[OwnedFd]) -> io::Result<()> {
    let line = encode(frame);
    let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !borrowed.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let sent = sendmsg(stream, &[IoSlice::new(&line)], &mut control, SendFlags::NOSIGNAL)?;
    if sent == line.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}
