//! The standard streams of a process: the ends that it holds, and those that are kept here.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process;

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, major, minor, openat};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::protocol::Stdio;

/// The device number of the multiplexer of terminals.
const PTMX: (u32, u32) = (5, 2);

/// What a process is the leader of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Leads {
    /// A process group.
    #[default]
    Group,
    /// A session without a terminal.
    Session,
    /// A session whose terminal is its standard input.
    Terminal,
}

/// The ends that a process holds. What is absent leads nowhere.
#[derive(Debug, Default)]
pub(super) struct Theirs {
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

impl Theirs {
    /// For a command that is about to be spawned.
    pub(super) fn lead(&self, command: &mut process::Command) -> io::Result<()> {
        let end = |fd: &Option<OwnedFd>| match fd {
            Some(fd) => fd.try_clone().map(process::Stdio::from),
            None => Ok(process::Stdio::null()),
        };
        command.stdin(end(&self.stdin)?).stdout(end(&self.stdout)?).stderr(end(&self.stderr)?);
        Ok(())
    }

    /// For a program that is about to be executed: standard input, output and error.
    pub(super) fn all(&self) -> io::Result<[OwnedFd; 3]> {
        let end = |fd: &Option<OwnedFd>| match fd {
            Some(fd) => fd.try_clone(),
            None => Ok(OwnedFd::from(OpenOptions::new().read(true).write(true).open("/dev/null")?)),
        };
        Ok([end(&self.stdin)?, end(&self.stdout)?, end(&self.stderr)?])
    }
}

/// The ends that are kept here.
#[derive(Debug, Default)]
pub(super) struct Ours {
    /// What is written here the process reads; of a terminal the same as its output.
    pub(super) input: Option<OwnedFd>,
    /// What the process writes: standard output and standard error, or the terminal alone.
    pub(super) outputs: Vec<OwnedFd>,
}

/// New streams of that kind, for a process of that user.
pub(super) fn open(stdio: &Stdio, user: Option<(u32, u32)>) -> io::Result<(Ours, Theirs)> {
    if let Stdio::Terminal { rows, columns, .. } = stdio {
        return open_terminal(*rows, *columns, user);
    }
    let (out, their_out) = pipe_with(PipeFlags::CLOEXEC)?;
    let (err, their_err) = pipe_with(PipeFlags::CLOEXEC)?;
    let (stdin, input) = match stdio {
        Stdio::Pipes => {
            let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC)?;
            (Some(theirs), Some(ours))
        }
        Stdio::Output | Stdio::Terminal { .. } => (None, None),
    };
    let theirs = Theirs { stdin, stdout: Some(their_out), stderr: Some(their_err) };
    Ok((Ours { input, outputs: vec![out, err] }, theirs))
}

/// A terminal of the group's own `/dev/pts`, where it has one.
fn open_terminal(rows: u16, columns: u16, user: Option<(u32, u32)>) -> io::Result<(Ours, Theirs)> {
    let master = open_multiplexer()?;
    unlockpt(&master)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = ioctl_tiocgptpeer(&master, flags)?;
    if let Some((uid, _)) = user {
        std::os::unix::fs::fchown(&slave, Some(uid), None)?;
    }
    resize(&master, rows, columns)?;
    let ours = Ours { input: Some(master.try_clone()?), outputs: vec![master] };
    let theirs = Theirs { stdin: Some(slave.try_clone()?), stdout: Some(slave.try_clone()?), stderr: Some(slave) };
    Ok((ours, theirs))
}

/// A root user of a group can put what it likes into its `/dev`, and this process may open more than it: what is not the multiplexer is
/// not opened.
fn open_multiplexer() -> io::Result<OwnedFd> {
    let found = openat(CWD, "/dev/ptmx", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let stat = fstat(&found)?;
    let is_multiplexer = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && (major(stat.st_rdev), minor(stat.st_rdev)) == PTMX;
    if !is_multiplexer {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "/dev/ptmx: expected the multiplexer of terminals"));
    }
    let path = format!("/proc/self/fd/{}", found.as_raw_fd());
    Ok(openat(CWD, path, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Sets how large a terminal is; its processes are told.
pub(crate) fn resize(terminal: impl AsFd, rows: u16, columns: u16) -> io::Result<()> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(tcsetwinsize(terminal, size)?)
}
