//! A child process of the agent, whoever forked it.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

/// A supervisor, as its parent has it. It is to be waited for when it has ended, or it stays a zombie until the parent ends.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    /// Once it was taken; the number may belong to another process from then on.
    status: Option<ExitStatus>,
}

impl Child {
    pub(super) const fn new(pid: Pid) -> Self {
        Self { pid, status: None }
    }

    /// One that the standard library has spawned; it lets go of it without a word.
    pub(super) fn of(spawned: &std::process::Child) -> Self {
        Self::new(Pid::from_child(spawned))
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.pid.as_raw_pid().unsigned_abs()
    }

    /// Sends SIGKILL, unless it was waited for.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn kill(&self) -> io::Result<()> {
        if self.status.is_some() { Ok(()) } else { kill_process(self.pid, Signal::KILL).map_err(io::Error::from) }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// Its status was taken by somebody else.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        loop {
            match self.status_with(WaitOptions::empty()) {
                Ok(Some(status)) => return Ok(status),
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Ok(None) | Err(_) => {}
            }
        }
    }

    /// How it ended; `None` while it lives.
    ///
    /// # Errors
    /// Its status was taken by somebody else.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.status_with(WaitOptions::NOHANG)
    }

    fn status_with(&mut self, options: WaitOptions) -> io::Result<Option<ExitStatus>> {
        if self.status.is_none() {
            let ended = waitpid(Some(self.pid), options)?;
            self.status = ended.map(|(_, status)| ExitStatus::from_raw(status.as_raw()));
        }
        Ok(self.status)
    }
}
