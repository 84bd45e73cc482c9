//! Unpacking tar archives that strangers have made, below one folder and nowhere else.
//!
//! Every name in an archive is hostile until shown otherwise. Folders are opened one by one below the root, and no link is followed; what is
//! made is made relative to the last of them. How much is unpacked is bounded in bytes and in entries, whatever the archive says of itself.

mod beneath;
mod entry;

#[cfg(test)]
mod tests;

pub(crate) use beneath::{Missing, descend, parts, root};

use std::io::{self, BufReader, Read};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use flate2::bufread::MultiGzDecoder;
use tar::Archive;

use self::entry::{Names, Writer};

/// The most bytes of a name, or of extended headers, that are taken from an archive.
const MAX_HEADER_BYTES: u64 = 1 << 20;

/// What an archive may spend on each entry beside its content, on average, in bytes.
const BYTES_PER_ENTRY: u64 = 4096;

/// What an archive is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A task's sandbox: plain files, folders and links that stay inside, all of one owner where one is given.
    Sandbox {
        /// User and group.
        owner: Option<(u32, u32)>,
    },
    /// A layer of an image: removals are written as an overlay has them.
    Layer(Owners),
}

/// Whose the files of a layer are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owners {
    /// Those that the archive names; modes are kept too.
    Kept,
    /// Who unpacks it and is not root: nobody else can be chosen, nor is to run as that user by a file's mode.
    Unpacker,
}

impl Owners {
    /// What this process can do.
    pub(crate) fn possible() -> Self {
        if rustix::process::geteuid().is_root() { Self::Kept } else { Self::Unpacker }
    }
}

/// How much may be unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Content of files, in bytes.
    pub(crate) bytes: u64,
    /// Files, folders and links.
    pub(crate) entries: u64,
}

/// How much was unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unpacked {
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
}

/// Why an archive was not unpacked to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    #[error("expected a tar archive, plain or compressed by gzip: {0}")]
    Form(String),
    #[error("entry {name:?}: {why}")]
    Entry { name: String, why: &'static str },
    #[error("it unpacks to more than {0} bytes")]
    Bytes(u64),
    #[error("it has more than {0} entries")]
    Entries(u64),
    #[error("entry {name:?}: {source}")]
    Write { name: String, source: io::Error },
    #[error("cancelled")]
    Cancelled,
}

impl UnpackError {
    /// Whether the archive is to blame, and not the machine.
    pub(crate) const fn is_archives_fault(&self) -> bool {
        !matches!(self, Self::Write { .. } | Self::Cancelled)
    }
}

/// Unpacks what `archive` has, compressed or not, below `root`.
///
/// # Errors
/// At the first entry that is not acceptable; those before it stay.
pub(crate) fn unpack(
    archive: impl Read,
    root: &OwnedFd,
    kind: Kind,
    bounds: Bounds,
    cancelled: &AtomicBool,
) -> Result<Unpacked, UnpackError> {
    let plain = decompress(archive).map_err(form)?;
    let left = bounds.bytes.saturating_add(bounds.entries.saturating_mul(BYTES_PER_ENTRY));
    let mut archive = Archive::new(Bounded { plain, left, cancelled });
    let mut writer = Writer::new(root, kind, bounds, cancelled);
    let mut names = Names::default();
    for entry in archive.entries().map_err(form)?.raw(true) {
        if cancelled.load(Ordering::Relaxed) {
            return Err(UnpackError::Cancelled);
        }
        let mut entry = entry.map_err(form)?;
        if names.take(&mut entry)? {
            continue;
        }
        let header = names.resolve(&entry)?;
        writer.write(&header, &mut entry)?;
    }
    Ok(writer.unpacked)
}

#[expect(clippy::needless_pass_by_value, reason = "map_err hands errors over as they are")]
fn form(error: io::Error) -> UnpackError {
    UnpackError::Form(error.to_string())
}

/// A stream that ends with an error when it is longer than it may be: what entries are skipped over is not written, but takes time too.
struct Bounded<'a, R> {
    plain: R,
    left: u64,
    cancelled: &'a AtomicBool,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(io::Error::other("cancelled"));
        }
        let len = self.plain.read(buffer)?;
        self.left = self.left.checked_sub(len as u64).ok_or_else(|| io::Error::other("it goes on for too long"))?;
        Ok(len)
    }
}

/// What the stream holds, by its first bytes.
fn decompress<'a>(stream: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut stream = BufReader::with_capacity(64 << 10, stream);
    let start = io::BufRead::fill_buf(&mut stream)?;
    if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is compressed by zstd"));
    }
    Ok(match start {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(stream)),
        [] => return Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Box::new(stream),
    })
}
