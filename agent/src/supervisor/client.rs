//! The agent's side: plain functions that do not wait.
//!
//! Order of use: [`prepare`], [`spawn`], then frames on the stream with [`FrameDecoder`](super::FrameDecoder) and
//! [`encode_command`](super::encode_command). At the end of the stream, read [`terminal`]. After a restart of the agent, ask [`liveness`]:
//! [`connect`] to what is alive, read [`terminal`] of what is not.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::child::Child;
use super::contain;
use super::procfs::{self, Process};
use super::protocol::{Identity, Right, Snapshot, Spec, SpecError, Terminal};
use super::{store, sys};

/// Why a directory cannot be written, read or started from.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The spec would be refused.
    #[error("supervisor spec: {0}")]
    Spec(#[from] SpecError),
    /// A file or a process could not be made or read.
    #[error("supervisor: {path}: {source}")]
    Io {
        /// What it was about.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("supervisor: {path}: {source}")]
    Json {
        /// The file.
        path: PathBuf,
        /// Where it differs.
        source: serde_json::Error,
    },
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> ClientError {
    move |source| ClientError::Io { path: path.to_owned(), source }
}

/// A supervisor that has just been spawned.
#[derive(Debug)]
pub struct Spawned {
    /// The process. It is to be waited for when the stream has ended, or it stays a zombie until the agent ends.
    pub child: Child,
    /// Connected from the first moment: a snapshot comes first, then each change, then the end of the stream, or `ConnectionReset` where
    /// the supervisor ended before it had read a command.
    pub stream: UnixStream,
}

/// Makes the directory and writes the spec into it. Nothing is synced: the caller's journal decides what was to be started.
///
/// A directory without a spec, left by an agent that died just then, is used.
///
/// # Errors
/// The spec is refused, or the directory has one already or cannot be written.
pub fn prepare(directory: &Path, spec: &Spec) -> Result<(), ClientError> {
    spec.validate()?;
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !is_prepared(directory) => {}
        result => result.map_err(at(directory))?,
    }
    let path = directory.join(store::SPEC);
    let content = serde_json::to_vec(spec).map_err(|source| ClientError::Json { path: path.clone(), source })?;
    crate::crash::point("start: with the supervisor's folder");
    let temporary = directory.join(store::SPARE_SPEC);
    store::write_file(&temporary, &content).map_err(at(&temporary))?;
    fs::rename(&temporary, &path).map_err(at(&path))
}

/// Makes the directory of a group that has ended fit for another: nothing is left but files that are written over, and folders for
/// temporary files in which nothing was ever changed.
pub(crate) fn strip(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let (path, name, is_folder) = (entry.path(), entry.file_name(), entry.file_type()?.is_dir());
        match name.to_str() {
            Some(store::SPEC) => fs::rename(path, directory.join(store::SPARE_SPEC))?,
            Some(store::RECORD) => fs::rename(path, directory.join(store::SPARE_RECORD))?,
            Some(store::SPARE_SPEC | store::SPARE_RECORD) => {}
            Some(name) if contain::is_temporary(name) && is_folder && contain::is_untouched(&path)? => {}
            _ if is_folder => crate::removal::remove(&path)?,
            _ => fs::remove_file(path)?,
        }
    }
    Ok(())
}

/// Whether a directory holds a spec: all of it, or there is none.
#[must_use]
pub fn is_prepared(directory: &Path) -> bool {
    directory.join(store::SPEC).exists()
}

/// Where a supervisor is born.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PidNamespace {
    /// In the agent's.
    Same,
    /// As the first process of a new one: when it ends, so does everything in it.
    New,
    /// The same, in a new user namespace in which its user is the only one: for those who are not root. Only a zygote can do that.
    NewWithUser,
}

impl PidNamespace {
    /// What the spec asks for.
    #[must_use]
    pub fn of(spec: &Spec) -> Self {
        let namespaces = spec.container.as_ref().and_then(|container| container.namespaces.as_ref());
        match namespaces.map(|namespaces| namespaces.right) {
            None => Self::Same,
            Some(Right::Root) => Self::New,
            Some(Right::UserNamespace) => Self::NewWithUser,
        }
    }
}

/// Spawns `exe supervise DIR`, detached from this process: it survives its end and its signals.
///
/// # Errors
/// The executable cannot be executed, or is to be in a user namespace. What goes wrong later is a `Refused` frame, and lines in [`log`].
pub fn spawn(exe: &Path, directory: &Path, namespace: PidNamespace) -> Result<Spawned, ClientError> {
    let (stream, theirs) = UnixStream::pair().map_err(at(directory))?;
    let mut command = Command::new(exe);
    command.arg("supervise").arg(directory).env_clear();
    command.stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs))).stdout(Stdio::null()).stderr(Stdio::null());
    #[cfg(feature = "crash-points")]
    command.envs(crate::crash::VARIABLES.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    let child = match namespace {
        PidNamespace::Same => command.spawn(),
        PidNamespace::New => sys::spawn_first(&mut command),
        PidNamespace::NewWithUser => Err(io::Error::new(io::ErrorKind::Unsupported, "no process to fork it from")),
    };
    let child = child.map_err(at(exe))?;
    Ok(Spawned { child: Child::of(&child), stream })
}

/// Whether a directory has a supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// It runs.
    Alive {
        /// Its process id.
        pid: i32,
    },
    /// It ran and does not any more, or the machine was rebooted.
    Dead,
    /// None has claimed the directory, so nothing was ever started. One that was spawned an instant ago may still do so; spawning another
    /// is safe, because only one can claim it.
    Never,
}

/// Whether a directory has a supervisor: the process must be the very one that claimed it, not a later one with its id.
///
/// # Errors
/// The record cannot be read.
pub fn liveness(directory: &Path) -> Result<Liveness, ClientError> {
    Ok(match find(directory)? {
        Found::Never => Liveness::Never,
        Found::Dead(_) => Liveness::Dead,
        Found::Alive(process) => Liveness::Alive { pid: process.pid },
    })
}

enum Found {
    Never,
    Dead(Identity),
    Alive(Process),
}

fn find(directory: &Path) -> Result<Found, ClientError> {
    let Some(identity) = told(directory)?.map(|told| told.identity) else { return Ok(Found::Never) };
    let boot_id = procfs::boot_id().map_err(at(Path::new("boot_id")))?;
    if identity.boot_id != boot_id {
        return Ok(Found::Dead(identity));
    }
    let process =
        Process::read(identity.pid).filter(|process| process.start_ticks == identity.start_ticks && !process.is_zombie);
    Ok(process.map_or(Found::Dead(identity), Found::Alive))
}

/// Asks a supervisor to end its group with the grace periods of the spec, and then itself. Answers whether there was one.
///
/// # Errors
/// The record cannot be read, or the process cannot be signalled.
pub fn terminate(directory: &Path) -> Result<Liveness, ClientError> {
    let Found::Alive(process) = find(directory)? else { return liveness(directory) };
    process.signal(Signal::TERM).map_err(at(directory))?;
    Ok(Liveness::Alive { pid: process.pid })
}

/// How long a supervisor may take to listen.
const LISTEN_PATIENCE: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Connects to a running supervisor that has one connection already: it listens for others only a moment after it has begun, which most
/// that are there for a short task never do. Waits for that moment.
///
/// # Errors
/// Nobody listens: ask [`liveness`] and [`terminal`].
pub fn connect_beside(directory: &Path) -> io::Result<UnixStream> {
    let end = Instant::now() + LISTEN_PATIENCE;
    loop {
        let result = connect(directory);
        let lives = || matches!(liveness(directory), Ok(Liveness::Alive { .. }));
        match &result {
            // Refused in the moment between the name and the first who may come in.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
                    && Instant::now() < end
                    && lives() =>
            {
                std::thread::sleep(LOOK_AGAIN);
            }
            _ => return result,
        }
    }
}

/// Connects to a running supervisor. Does not wait, except for a supervisor that has four connections to accept first.
///
/// # Errors
/// Nobody listens: ask [`liveness`] and [`terminal`].
pub fn connect(directory: &Path) -> io::Result<UnixStream> {
    // An address has room for 108 bytes; a directory's path may be longer.
    let handle = fs::File::open(directory)?;
    UnixStream::connect(format!("/proc/self/fd/{}/{}", handle.as_raw_fd(), store::SOCKET))
}

/// What a supervisor was told to run.
///
/// # Errors
/// It can't be read.
pub fn spec(directory: &Path) -> Result<Option<Spec>, ClientError> {
    read_json(&directory.join(store::SPEC))
}

/// The record of the group's end, if it has ended.
///
/// # Errors
/// The record cannot be read.
pub fn terminal(directory: &Path) -> Result<Option<Terminal>, ClientError> {
    Ok(told(directory)?.and_then(|told| told.terminal))
}

/// The state that the supervisor wrote last; of use when it is dead and has left no terminal record.
///
/// # Errors
/// The record cannot be read.
pub fn last_state(directory: &Path) -> Result<Option<Snapshot>, ClientError> {
    Ok(told(directory)?.and_then(store::Told::snapshot))
}

/// Processes that a supervisor left behind because it was itself killed with SIGKILL: those that are still in its session.
///
/// # Errors
/// The record cannot be read.
pub fn left_behind(directory: &Path) -> Result<Vec<i32>, ClientError> {
    let Found::Dead(identity) = find(directory)? else { return Ok(Vec::new()) };
    if procfs::boot_id().map_err(at(Path::new("boot_id")))? != identity.boot_id {
        return Ok(Vec::new());
    }
    let processes = procfs::all();
    // The number of a session is free again only when nobody is left in it; then another leader may have got it.
    let is_leader = |process: &Process| process.pid == identity.pid && process.start_ticks != identity.start_ticks;
    if processes.iter().any(is_leader) {
        return Ok(Vec::new());
    }
    let left = processes.iter().filter(|process| process.session == identity.pid && !process.is_zombie);
    Ok(left.map(|process| process.pid).collect())
}

/// What went wrong inside the supervisor; empty if nothing did.
#[must_use]
pub fn log(directory: &Path) -> String {
    fs::read(directory.join(store::LOG)).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
}

/// Replaces a file of the agent's own in a supervisor's folder, complete at every moment.
pub(crate) fn keep(directory: &Path, name: &str, content: &impl serde::Serialize) -> Result<(), ClientError> {
    let path = directory.join(name);
    let content = serde_json::to_vec(content).map_err(|source| ClientError::Json { path: path.clone(), source })?;
    let temporary = path.with_extension("tmp");
    store::write_file(&temporary, &content).map_err(at(&temporary))?;
    fs::rename(&temporary, &path).map_err(at(&path))
}

/// The record; `None` if nobody has claimed the directory.
fn told(directory: &Path) -> Result<Option<store::Told>, ClientError> {
    let path = directory.join(store::RECORD);
    let Some(content) = read(&path)? else { return Ok(None) };
    // Names are checked, so what is no text is no record.
    let told = store::Told::parse(&String::from_utf8_lossy(&content));
    let told = told.map_err(|source| ClientError::Json { path, source })?;
    let is_own = told.identity.group.is_empty() || told.identity.group == store::group(directory);
    if is_own {
        return Ok(Some(told));
    }
    // What was written over a file may be lost with the power, and what it said before come back.
    let boot_id = procfs::boot_id().map_err(at(Path::new("boot_id")))?;
    Ok((told.identity.boot_id == boot_id).then_some(told))
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ClientError> {
    let Some(content) = read(path)? else { return Ok(None) };
    serde_json::from_slice(&content).map(Some).map_err(|source| ClientError::Json { path: path.to_owned(), source })
}

/// A file's content; `None` if there is no such file.
fn read(path: &Path) -> Result<Option<Vec<u8>>, ClientError> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ClientError::Io { path: path.to_owned(), source }),
    }
}
