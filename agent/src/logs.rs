//! Reading what tasks write: their output, rotated as it grows, and files in their sandboxes.
//!
//! A sandbox belongs to its task, which may put anything there. So a path is walked part by part and no link is followed: what is read lies
//! in the sandbox.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rialto_proto::logs::Start;
use rustix::fs::{CWD, Mode, OFlags};

use crate::supervisor::protocol::MAX_KEPT_FILES;

/// How often the next file is looked for while files are being renamed.
const MAX_LOOKS: usize = 8;

/// Reads a file, or an output over its rotated files, from a place on.
#[derive(Debug)]
pub(crate) struct LogReader {
    sandbox: PathBuf,
    /// The name of the newest file.
    name: String,
    rotated: bool,
    file: File,
    offset: u64,
}

impl LogReader {
    /// Reads `name` from `start` on. Its older parts are `name.1`, `name.2` and so on.
    pub(crate) fn rotated(sandbox: &Path, name: &str, start: Start) -> io::Result<Self> {
        let mut parts = Vec::new();
        for number in (0..=MAX_KEPT_FILES).rev() {
            match open_below(sandbox, &numbered(name, number)) {
                Ok(file) => parts.push(file),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Self::begin(sandbox, name, true, parts, start)
    }

    /// Reads the file at `path` below the sandbox, from `start` on.
    pub(crate) fn plain(sandbox: &Path, path: &str, start: Start) -> io::Result<Self> {
        let file = open_below(sandbox, path)?;
        Self::begin(sandbox, path, false, vec![file], start)
    }

    fn begin(sandbox: &Path, name: &str, rotated: bool, parts: Vec<File>, start: Start) -> io::Result<Self> {
        let mut sizes = Vec::new();
        for part in &parts {
            sizes.push(part.metadata()?.len());
        }
        let total: u64 = sizes.iter().sum();
        let offset = match start {
            Start::Offset(offset) => offset.min(total),
            Start::Tail(bytes) => total.saturating_sub(bytes),
        };
        let mut before = 0;
        let last = parts.len().checked_sub(1).ok_or(ErrorKind::NotFound)?;
        for (index, (mut file, size)) in parts.into_iter().zip(sizes).enumerate() {
            if offset < before + size || index == last {
                file.seek(SeekFrom::Start(offset - before))?;
                return Ok(Self { sandbox: sandbox.to_owned(), name: name.to_owned(), rotated, file, offset });
            }
            before += size;
        }
        Err(ErrorKind::NotFound.into())
    }

    /// Where the next byte lies, counted from the oldest that was there at the beginning.
    pub(crate) const fn offset(&self) -> u64 {
        self.offset
    }

    /// The next bytes; none at the end of what there is now.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for _ in 0..MAX_LOOKS {
            let len = self.file.read(buffer)?;
            if len > 0 || buffer.is_empty() || !self.rotated {
                return Ok(self.advance(len));
            }
            let Some(next) = self.next_file()? else { return Ok(0) };
            // What was written between the last read and the renaming comes first.
            let len = self.file.read(buffer)?;
            if len > 0 {
                return Ok(self.advance(len));
            }
            self.file = next;
        }
        Ok(0)
    }

    fn advance(&mut self, len: usize) -> usize {
        self.offset += len as u64;
        len
    }

    /// The file after this one; none if this is the newest. One that was started over is its own next.
    fn next_file(&mut self) -> io::Result<Option<File>> {
        let here = self.file.metadata()?;
        let is_here =
            |file: &File| file.metadata().is_ok_and(|other| (other.dev(), other.ino()) == (here.dev(), here.ino()));
        let mut newer = None;
        for number in 0..=MAX_KEPT_FILES {
            let file = match open_below(&self.sandbox, &numbered(&self.name, number)) {
                Ok(file) => file,
                // In the middle of a rotation the newest is missing for a moment.
                Err(error) if error.kind() == ErrorKind::NotFound && number == 0 => continue,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(newer),
                Err(error) => return Err(error),
            };
            if is_here(&file) {
                if newer.is_none() && here.len() < self.file.stream_position()? {
                    self.file.seek(SeekFrom::Start(0))?;
                }
                return Ok(newer);
            }
            newer = Some(file);
        }
        // This one has been thrown away; what is left begins with the oldest.
        Ok(newer)
    }
}

fn numbered(name: &str, number: u32) -> String {
    if number == 0 { name.to_owned() } else { format!("{name}.{number}") }
}

/// Opens a regular file below `root` for reading, following no link.
fn open_below(root: &Path, path: &str) -> io::Result<File> {
    let mut parts = path.split('/').peekable();
    let mut folder: OwnedFd =
        rustix::fs::openat(CWD, root, OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY, Mode::empty())?;
    while let Some(part) = parts.next() {
        if part.is_empty() || part == "." || part == ".." {
            return Err(io::Error::new(ErrorKind::InvalidInput, "expected a path below the sandbox"));
        }
        // A pipe that nobody writes to must not block.
        let kind = if parts.peek().is_some() { OFlags::DIRECTORY } else { OFlags::NONBLOCK };
        let flags = kind | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        folder = rustix::fs::openat(&folder, part, flags, Mode::empty()).map_err(|error| match error {
            rustix::io::Errno::LOOP => io::Error::new(ErrorKind::InvalidInput, "links are not followed"),
            other => other.into(),
        })?;
    }
    let file = File::from(folder);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(ErrorKind::InvalidInput, "expected a regular file"))
    }
}

#[cfg(test)]
#[path = "logs_tests.rs"]
mod tests;
