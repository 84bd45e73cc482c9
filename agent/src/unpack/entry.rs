//! From one entry of an archive to what it makes.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;
use tar::{Entry, EntryType, PaxExtensions};

use super::beneath::{Missing, descend, parts};
use super::{Bounds, Kind, MAX_HEADER_BYTES, Owners, UnpackError, Unpacked, form};

/// What marks a removal in a layer.
const WHITEOUT: &str = ".wh.";
/// What marks a folder of which nothing below shows through.
const OPAQUE: &str = ".wh..wh..opq";

/// Names that come before the entry which they are of.
#[derive(Default)]
pub(super) struct Names {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

/// What an entry says of itself.
pub(super) struct Header {
    path: String,
    link: String,
    kind: EntryType,
    size: u64,
    mode: u32,
    owner: (u32, u32),
    modified_s: i64,
}

impl Names {
    /// Takes an entry that only says something of others. Whether it was one.
    pub(super) fn take<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<bool, UnpackError> {
        match entry.header().entry_type() {
            EntryType::GNULongName => self.path = Some(text(entry)?),
            EntryType::GNULongLink => self.link = Some(text(entry)?),
            EntryType::XHeader => self.take_extensions(&content(entry)?, entry)?,
            EntryType::XGlobalHeader => drop(content(entry)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn take_extensions<R: Read>(&mut self, bytes: &[u8], entry: &Entry<'_, R>) -> Result<(), UnpackError> {
        for extension in PaxExtensions::new(bytes) {
            let extension = extension.map_err(form)?;
            match extension.key_bytes() {
                b"path" => self.path = Some(extension.value_bytes().to_vec()),
                b"linkpath" => self.link = Some(extension.value_bytes().to_vec()),
                b"size" => return Err(refused(&printable(&entry.path_bytes()), "files of 8 GiB and more are refused")),
                key if key.starts_with(b"GNU.sparse.") => {
                    return Err(refused(&printable(&entry.path_bytes()), "sparse files are refused"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The entry with the names that came before it.
    pub(super) fn resolve<R: Read>(&mut self, entry: &Entry<'_, R>) -> Result<Header, UnpackError> {
        let path = self.path.take().unwrap_or_else(|| entry.path_bytes().into_owned());
        let name = printable(&path);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).map_err(|_| refused(&name, "expected a name in UTF-8"));
        let link = self.link.take().or_else(|| entry.link_name_bytes().map(std::borrow::Cow::into_owned));
        let header = entry.header();
        let small = |number: io::Result<u64>| number.ok().and_then(|number| u32::try_from(number).ok());
        let bad = || refused(&name, "expected numbers in its header");
        Ok(Header {
            link: text(link.unwrap_or_default())?,
            kind: header.entry_type(),
            size: header.size().map_err(form)?,
            mode: header.mode().map_err(|_| bad())?,
            // Blank fields are root's.
            owner: (small(header.uid()).unwrap_or(0), small(header.gid()).unwrap_or(0)),
            modified_s: header.mtime().ok().and_then(|time| i64::try_from(time).ok()).unwrap_or(0),
            path: text(path)?,
        })
    }
}

/// A name in an entry of its own, without the NUL at its end.
fn text<R: Read>(entry: &mut Entry<'_, R>) -> Result<Vec<u8>, UnpackError> {
    let mut bytes = content(entry)?;
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    Ok(bytes)
}

fn content<R: Read>(entry: &mut Entry<'_, R>) -> Result<Vec<u8>, UnpackError> {
    let name = printable(&entry.path_bytes());
    if entry.header().size().map_err(form)? > MAX_HEADER_BYTES {
        return Err(refused(&name, "its header is longer than a mebibyte"));
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).map_err(form)?;
    Ok(bytes)
}

fn printable(name: &[u8]) -> String {
    String::from_utf8_lossy(name).chars().take(200).collect()
}

fn refused(name: &str, why: &'static str) -> UnpackError {
    UnpackError::Entry { name: name.chars().take(200).collect(), why }
}

/// Makes what entries say, within its bounds.
pub(super) struct Writer<'a> {
    root: &'a OwnedFd,
    kind: Kind,
    bounds: Bounds,
    cancelled: &'a AtomicBool,
    pub(super) unpacked: Unpacked,
}

impl<'a> Writer<'a> {
    pub(super) const fn new(root: &'a OwnedFd, kind: Kind, bounds: Bounds, cancelled: &'a AtomicBool) -> Self {
        Self { root, kind, bounds, cancelled, unpacked: Unpacked { bytes: 0, entries: 0 } }
    }

    pub(super) fn write(&mut self, header: &Header, content: &mut impl Read) -> Result<(), UnpackError> {
        self.unpacked.entries += 1;
        if self.unpacked.entries > self.bounds.entries {
            return Err(UnpackError::Entries(self.bounds.entries));
        }
        let path = match self.kind {
            // Some tools write the names in layers from the root on.
            Kind::Layer(_) => header.path.trim_start_matches('/'),
            Kind::Sandbox { .. } => &header.path,
        };
        let parts =
            parts(path).ok_or_else(|| refused(path, "expected a path that stays in the archive's own folder"))?;
        let Some((name, above)) = parts.split_last() else {
            // The root itself; it has an owner already.
            return Ok(());
        };
        let failed = |source: io::Error| write_error(path, source);
        let folder = descend(self.root, above, Missing::Make(self.owner(header))).map_err(failed)?;
        match self.kind {
            Kind::Layer(owners) if name.starts_with(WHITEOUT) => remove(&folder, name, owners).map_err(failed),
            _ => self.make(&folder, name, above.len(), header, content),
        }
    }

    /// Who owns what is made; nobody else than who unpacks, where that can't be chosen.
    fn owner(&self, header: &Header) -> Option<(u32, u32)> {
        match self.kind {
            Kind::Sandbox { owner } => owner,
            Kind::Layer(Owners::Kept) => Some(header.owner),
            Kind::Layer(Owners::Unpacker) => None,
        }
    }

    const fn is_layer(&self) -> bool {
        matches!(self.kind, Kind::Layer(_))
    }

    fn make(
        &mut self,
        folder: &OwnedFd,
        name: &str,
        depth: usize,
        header: &Header,
        content: &mut impl Read,
    ) -> Result<(), UnpackError> {
        let path = &header.path;
        let failed = |source: Errno| write_error(path, source.into());
        match header.kind {
            EntryType::Directory => make_folder(folder, name).map_err(failed)?,
            EntryType::Regular | EntryType::Continuous => self.file(folder, name, header, content)?,
            EntryType::Symlink => {
                if header.link.is_empty() || (!self.is_layer() && !stays_inside(&header.link, depth)) {
                    return Err(refused(path, "expected a link that stays in the archive's own folder"));
                }
                clear(folder, name).map_err(failed)?;
                rustix::fs::symlinkat(&*header.link, folder, name).map_err(failed)?;
            }
            // It shares owner, mode and time with what it links to.
            EntryType::Link => return self.link(folder, name, header),
            EntryType::Fifo if self.is_layer() => {
                clear(folder, name).map_err(failed)?;
                rustix::fs::mknodat(folder, name, FileType::Fifo, Mode::from_raw_mode(0o600), 0).map_err(failed)?;
            }
            // A container's own /dev has the nodes that it may open.
            EntryType::Char | EntryType::Block if self.is_layer() => return Ok(()),
            _ => return Err(refused(path, "expected a file, a folder or a link")),
        }
        self.dress(folder, name, header).map_err(failed)
    }

    fn file(
        &mut self,
        folder: &OwnedFd,
        name: &str,
        header: &Header,
        content: &mut impl Read,
    ) -> Result<(), UnpackError> {
        let failed = |source: io::Error| write_error(&header.path, source);
        self.unpacked.bytes = self.unpacked.bytes.saturating_add(header.size);
        if self.unpacked.bytes > self.bounds.bytes {
            return Err(UnpackError::Bytes(self.bounds.bytes));
        }
        clear(folder, name).map_err(|error| failed(error.into()))?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(folder, name, flags, Mode::from_raw_mode(0o600));
        let mut file = File::from(file.map_err(|error| failed(error.into()))?);
        let mut buffer = vec![0; 64 << 10];
        loop {
            if self.cancelled.load(Ordering::Relaxed) {
                return Err(UnpackError::Cancelled);
            }
            match content.read(&mut buffer).map_err(form)? {
                0 => return Ok(()),
                len => file.write_all(&buffer[..len]).map_err(failed)?,
            }
        }
    }

    /// A hard link, to something that came before in the same archive.
    fn link(&self, folder: &OwnedFd, name: &str, header: &Header) -> Result<(), UnpackError> {
        let path = &header.path;
        let target = if self.is_layer() { header.link.trim_start_matches('/') } else { &header.link };
        let parts = parts(target).ok_or_else(|| refused(path, "expected a link to something in the same archive"))?;
        let (target, above) =
            parts.split_last().ok_or_else(|| refused(path, "expected a link to something in the same archive"))?;
        let failed = |source: io::Error| write_error(path, source);
        let from = descend(self.root, above, Missing::Fail).map_err(failed)?;
        let stat = rustix::fs::statat(&from, *target, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| failed(e.into()))?;
        let there = FileType::from_raw_mode(stat.st_mode);
        if there != FileType::RegularFile && there != FileType::Symlink {
            return Err(refused(path, "expected a link to a file"));
        }
        clear(folder, name).map_err(|error| failed(error.into()))?;
        // Without AT_SYMLINK_FOLLOW: of a symbolic link, the link itself.
        rustix::fs::linkat(&from, *target, folder, name, AtFlags::empty()).map_err(|error| failed(error.into()))
    }

    /// Gives what was made its owner, mode and time.
    fn dress(&self, folder: &OwnedFd, name: &str, header: &Header) -> rustix::io::Result<()> {
        if let Some((uid, gid)) = self.owner(header) {
            let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
            rustix::fs::chownat(folder, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        if header.kind == EntryType::Symlink {
            return Ok(());
        }
        // Folders stay their owner's to write, so that what follows can be put in.
        let always = if header.kind == EntryType::Directory { 0o700 } else { 0 };
        let kept = match self.kind {
            Kind::Layer(Owners::Kept) => 0o7777,
            Kind::Layer(Owners::Unpacker) => 0o1777,
            Kind::Sandbox { .. } => 0o777,
        };
        let mode = Mode::from_raw_mode(header.mode & kept | always);
        // It was made or opened here as a file or folder, and nobody else writes to this folder yet.
        rustix::fs::chmodat(folder, name, mode, AtFlags::empty())?;
        let time = Timespec { tv_sec: header.modified_s, tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(folder, name, &times, AtFlags::SYMLINK_NOFOLLOW)
    }
}

fn write_error(path: &str, source: io::Error) -> UnpackError {
    match source.raw_os_error() {
        Some(libc::ELOOP | libc::ENOTDIR) => refused(path, "it leads through a link or a file"),
        Some(libc::EISDIR | libc::ENOTEMPTY) => refused(path, "a folder of that name is there already"),
        Some(libc::ENAMETOOLONG) => refused(path, "its name is too long"),
        _ => UnpackError::Write { name: path.chars().take(200).collect(), source },
    }
}

/// Whether a link at this depth below the root leads to somewhere below the root, by its text alone.
fn stays_inside(target: &str, depth: usize) -> bool {
    let mut at = depth;
    for part in target.split('/').filter(|part| !part.is_empty() && *part != ".") {
        match (part, at.checked_sub(1)) {
            ("..", None) => return false,
            ("..", Some(above)) => at = above,
            _ => at += 1,
        }
    }
    !target.starts_with('/')
}

fn make_folder(folder: &OwnedFd, name: &str) -> rustix::io::Result<()> {
    match rustix::fs::mkdirat(folder, name, Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) => super::beneath::open_folder(folder, name).map(drop),
        made => made,
    }
}

/// Makes room for something of that name.
fn clear(folder: &OwnedFd, name: &str) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        done => done,
    }
}

/// Writes a removal as an overlay has it.
fn remove(folder: &OwnedFd, name: &str, owners: Owners) -> io::Result<()> {
    if name == OPAQUE {
        // Only root may set the first, and only overlays of who is not root look for the second.
        let mark = match owners {
            Owners::Kept => "trusted.overlay.opaque",
            Owners::Unpacker => "user.overlay.opaque",
        };
        return Ok(rustix::fs::fsetxattr(folder, mark, b"y", XattrFlags::empty())?);
    }
    let removed = &name[WHITEOUT.len()..];
    // The rest of such names are an old union file system's own; a removal is of what lies below, and never of this layer's.
    if removed.is_empty() || removed.starts_with(WHITEOUT) || removed == "." || removed == ".." {
        return Ok(());
    }
    match rustix::fs::mknodat(folder, removed, FileType::CharacterDevice, Mode::empty(), 0) {
        Err(Errno::EXIST) => Ok(()),
        done => Ok(done?),
    }
}
