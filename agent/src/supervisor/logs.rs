//! One output stream of a task: copied from a pipe into files of bounded size.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, openat, renameat, unlinkat};

use super::protocol::LogLimits;

/// How much is read at a time. From this size on the allocator asks the system for it, so of a buffer that was never full only that is
/// memory which was.
pub(super) const CHUNK_BYTES: usize = 256 * 1024;
/// What can still be in a pipe when all its writers are gone, with room to spare: a bound for what strangers hold open.
const DRAIN_BYTES: usize = 2 << 20;

/// Whether more can come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// This much was read.
    Read(usize),
    /// Nothing there now.
    Empty,
    /// All writers are gone.
    Closed,
}

/// A pipe and the files it is copied to. Failing to write never stops the task: what cannot be written is counted and dropped.
pub(super) struct Stream {
    pipe: Option<File>,
    log: RotatedLog,
}

impl Stream {
    /// Takes the reading end of a pipe; it becomes non-blocking.
    pub(super) fn new(pipe: impl Into<OwnedFd>, log: RotatedLog) -> io::Result<Self> {
        let pipe = File::from(pipe.into());
        rustix::io::ioctl_fionbio(&pipe, true)?;
        Ok(Self { pipe: Some(pipe), log })
    }

    /// To be polled, while there is a writer.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    pub(super) fn dropped_bytes(&self) -> u64 {
        self.log.dropped_bytes
    }

    /// Copies at most one buffer.
    pub(super) fn pump(&mut self, buffer: &mut [u8]) -> Flow {
        let Some(pipe) = &mut self.pipe else { return Flow::Closed };
        match pipe.read(buffer) {
            Ok(count @ 1..) => {
                self.log.write(&buffer[..count]);
                Flow::Read(count)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Flow::Empty,
            Ok(0) | Err(_) => {
                self.pipe = None;
                Flow::Closed
            }
        }
    }

    /// Copies what is there and closes, also if a stranger still holds the other end.
    pub(super) fn finish(&mut self, buffer: &mut [u8]) {
        let mut drained = 0;
        while let Flow::Read(count) = self.pump(buffer) {
            drained += count;
            if drained > DRAIN_BYTES {
                break;
            }
        }
        self.pipe = None;
    }
}

/// `NAME`, `NAME.1`, … in a directory, each at most `file_bytes`.
///
/// The directory belongs to the task, so nothing in it is trusted: files are always created anew, and names are resolved relative to a
/// directory that was opened before the task began.
pub(super) struct RotatedLog {
    directory: OwnedFd,
    name: &'static str,
    limits: LogLimits,
    file: Option<File>,
    written: u64,
    dropped_bytes: u64,
}

impl RotatedLog {
    /// Creates the first file at once, so that readers find it.
    pub(super) fn new(directory: OwnedFd, name: &'static str, limits: LogLimits) -> Self {
        let mut log = Self { directory, name, limits, file: None, written: 0, dropped_bytes: 0 };
        log.file = log.create().ok();
        log
    }

    fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.write_some(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.dropped_bytes += bytes.len() as u64;
                    return;
                }
            }
        }
    }

    fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.written >= self.limits.file_bytes {
            self.file = None;
            self.rotate()?;
            self.written = 0;
        }
        let room = usize::try_from(self.limits.file_bytes - self.written).unwrap_or(usize::MAX);
        if self.file.is_none() {
            self.file = Some(self.create()?);
        }
        let file = self.file.as_mut().expect("was opened above");
        match file.write(&bytes[..bytes.len().min(room)])? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            count => {
                self.written += count as u64;
                Ok(count)
            }
        }
    }

    /// Moves every file up by one; the oldest is overwritten.
    fn rotate(&self) -> io::Result<()> {
        for number in (1..=self.limits.keep).rev() {
            let from = if number == 1 { self.name.to_owned() } else { format!("{}.{}", self.name, number - 1) };
            match renameat(&self.directory, from, &self.directory, format!("{}.{number}", self.name)) {
                Ok(()) | Err(rustix::io::Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn create(&self) -> io::Result<File> {
        let flags =
            OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let create = || openat(&self.directory, self.name, flags, Mode::from_raw_mode(0o644));
        let file = match create() {
            Err(rustix::io::Errno::EXIST) => {
                unlinkat(&self.directory, self.name, AtFlags::empty())?;
                create()?
            }
            result => result?,
        };
        Ok(File::from(file))
    }
}
