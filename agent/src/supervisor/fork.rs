//! Forking this process without another program: the system calls that have no safe wrapper.

#![expect(unsafe_code, reason = "mmap, clone3 and the memory of the arguments have no safe wrapper")]

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

use super::client::PidNamespace;

/// Size of the file that a [`Slot`] is in.
pub(super) const SLOT_BYTES: u64 = 4096;

/// A number in a file that is shared with the agent: the kernel itself writes there whom it has made, so the agent knows of every child,
/// even if the process that forked it was killed in the next moment.
pub(super) struct Slot(&'static AtomicI32);

impl Slot {
    /// Maps the file, for as long as the process lives.
    pub(super) fn map(file: impl AsFd) -> io::Result<Self> {
        let length = usize::try_from(SLOT_BYTES).expect("it is small");
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at a place of the kernel's choice, which is never unmapped; a page is aligned for the number.
        unsafe {
            let page = libc::mmap(ptr::null_mut(), length, access, libc::MAP_SHARED, file.as_fd().as_raw_fd(), 0);
            if page == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
            Ok(Self(&*page.cast::<AtomicI32>()))
        }
    }
}

/// Which of the two a process is after a [`fork`].
pub(super) enum Forked {
    Parent,
    Child,
}

/// Forks this process, which must have one thread. The child is a child of this process's own parent, and the slot has its number before it
/// takes its first step. Nothing of the child may rely on the number that the C library has noted for its only thread.
pub(super) fn fork(namespace: PidNamespace, slot: &Slot) -> io::Result<Forked> {
    slot.0.store(0, Ordering::SeqCst);
    // SAFETY: all fields are numbers, for which 0 is a value.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    let new = match namespace {
        PidNamespace::Same => 0,
        PidNamespace::New => libc::CLONE_NEWPID,
        PidNamespace::NewWithUser => libc::CLONE_NEWPID | libc::CLONE_NEWUSER,
    };
    let flags = libc::CLONE_PARENT | libc::CLONE_PARENT_SETTID | new;
    arguments.flags = u64::from(flags.unsigned_abs());
    arguments.parent_tid = slot.0.as_ptr() as u64;
    // SAFETY: the arguments ask for a copy of this process. It has one thread, so nobody holds a lock in the copy.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of::<libc::clone_args>()) };
    match pid {
        ..0 => Err(io::Error::last_os_error()),
        0 => Ok(Forked::Child),
        _ => Ok(Forked::Parent),
    }
}

/// The part of this process's arguments that can be written over, so that people see what a process is there for.
pub(super) struct Title {
    first: *mut u8,
    room: usize,
}

impl Title {
    /// What follows the arguments `kept`; `None` where the kernel does not say where it is.
    pub(super) fn after(kept: usize) -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The name is in parentheses and may itself contain them and spaces. Its first follower is field 3.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let address = |field: usize| fields.get(field - 3)?.parse::<usize>().ok();
        let (start, end) = (address(48)?, address(49)?);
        let skipped: usize = std::env::args_os().take(kept).map(|arg| arg.len() + 1).sum();
        let all: usize = std::env::args_os().map(|arg| arg.len() + 1).sum();
        // What it is not understood how they lie is left alone.
        (end.checked_sub(start)? == all).then(|| Self { first: (start + skipped) as *mut u8, room: all - skipped })
    }

    /// Writes one argument there, as much of it as there is room for.
    pub(super) fn write(&self, argument: &OsStr) {
        let bytes = &argument.as_bytes()[..argument.len().min(self.room.saturating_sub(1))];
        // SAFETY: the kernel has laid the arguments there, for this process to change; nothing holds a reference into them, as the standard
        // library copies what it hands out.
        unsafe {
            ptr::write_bytes(self.first, 0, self.room);
            ptr::copy_nonoverlapping(bytes.as_ptr(), self.first, bytes.len());
        }
    }
}
