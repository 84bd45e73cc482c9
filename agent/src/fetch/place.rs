//! From checked content to the sandbox.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use rialto_proto::spec::Artefact;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::{Content, Draft, Problem, bounds};
use crate::quota;
use crate::unpack::{self, Kind, Missing, UnpackError};

/// Where something goes, and how.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) sandbox: PathBuf,
    /// Relative to it; empty for the sandbox itself.
    pub(super) destination: String,
    pub(super) owner: Option<(u32, u32)>,
    pub(super) extract: bool,
    pub(super) executable: bool,
    pub(super) max_bytes: u64,
}

/// What the task says, else the content's own name; an archive is unpacked into the sandbox itself.
pub(super) fn destination(artefact: &Artefact, content: &Content, name: Option<String>) -> Option<String> {
    if !artefact.destination.is_empty() || (artefact.extract && matches!(content, Content::File(_))) {
        return Some(artefact.destination.clone());
    }
    name
}

impl Place {
    /// Copies or unpacks a file; says what it did.
    pub(super) fn put(&self, file: File, cancelled: &AtomicBool) -> Result<String, Problem> {
        if self.extract { self.unpack(file, cancelled) } else { self.copy(file) }
    }

    fn unpack(&self, file: File, cancelled: &AtomicBool) -> Result<String, Problem> {
        let root = self.folder(&self.parts()?)?;
        let kind = Kind::Sandbox { owner: self.owner };
        let done =
            unpack::unpack(file, &root, kind, bounds(self.max_bytes), cancelled).map_err(|error| match error {
                UnpackError::Cancelled => Problem::Cancelled,
                other => Problem::Unpack(other),
            })?;
        Ok(format!("unpacked: {} entries, {} bytes", done.entries, done.bytes))
    }

    fn copy(&self, mut file: File) -> Result<String, Problem> {
        let parts = self.parts()?;
        let (name, above) = parts.split_last().ok_or_else(|| self.bad("expected a name"))?;
        let folder = self.folder(above)?;
        self.clear(&folder, name)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(&folder, *name, flags, Mode::from_raw_mode(0o600));
        let mut made = File::from(made.map_err(|error| self.failed(error.into()))?);
        let bytes = io::copy(&mut file, &mut made).map_err(|error| self.failed(error))?;
        let mode = Mode::from_raw_mode(if self.executable { 0o755 } else { 0o644 });
        rustix::fs::fchmod(&made, mode).map_err(|error| self.failed(error.into()))?;
        if let Some((uid, gid)) = self.owner {
            std::os::unix::fs::fchown(&made, Some(uid), Some(gid)).map_err(|error| self.failed(error))?;
        }
        Ok(format!("{}: {bytes} bytes", self.destination))
    }

    /// Moves a folder of the cache, which lies on the same file system as the sandbox.
    pub(super) fn put_folder(&self, from: &Path) -> Result<String, Problem> {
        let parts = self.parts()?;
        let (name, above) = parts.split_last().ok_or_else(|| self.bad("expected a name"))?;
        let folder = self.folder(above)?;
        if let Some(owner) = self.owner {
            own(from, owner).map_err(Problem::io(from))?;
        }
        // An agent that was killed may have left an earlier checkout there.
        let old = Draft { path: from.with_extension("old") };
        match rustix::fs::renameat(&folder, *name, rustix::fs::CWD, &old.path) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(self.failed(error.into())),
        }
        quota::join(from, &folder).map_err(|error| self.failed(error))?;
        rustix::fs::renameat(rustix::fs::CWD, from, &folder, *name).map_err(|error| self.failed(error.into()))?;
        Ok(format!("{}: put there", self.destination))
    }

    fn parts(&self) -> Result<Vec<&str>, Problem> {
        unpack::parts(&self.destination).ok_or_else(|| self.bad("expected a path below the sandbox"))
    }

    fn folder(&self, parts: &[&str]) -> Result<OwnedFd, Problem> {
        let root = unpack::root(&self.sandbox).map_err(Problem::io(&self.sandbox))?;
        unpack::descend(&root, parts, Missing::Make(self.owner)).map_err(|error| self.failed(error))
    }

    fn clear(&self, folder: &OwnedFd, name: &str) -> Result<(), Problem> {
        match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(self.failed(error.into())),
        }
    }

    fn bad(&self, why: &str) -> Problem {
        Problem::Destination { path: self.destination.clone(), why: why.to_owned() }
    }

    fn failed(&self, error: io::Error) -> Problem {
        match error.raw_os_error() {
            Some(libc::ELOOP | libc::ENOTDIR) => self.bad("it leads through a link or a file"),
            Some(libc::EISDIR) => self.bad("a folder of that name is there already"),
            _ => Problem::Io { path: self.destination.clone(), source: error },
        }
    }
}

/// Gives a folder and all in it to somebody; links themselves, not what they lead to.
fn own(path: &Path, (uid, gid): (u32, u32)) -> io::Result<()> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(rustix::fs::CWD, path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), flags)?;
    if fs::symlink_metadata(path)?.is_dir() {
        for entry in fs::read_dir(path)? {
            own(&entry?.path(), (uid, gid))?;
        }
    }
    Ok(())
}
