//! A process that a test starts, with its output in files.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::{Pid, Signal, kill_process};

use super::find;

/// The binary under test.
pub(crate) fn rialto_binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_rialto"))
}

/// A running process. Dropping it kills it, and prints what it said if the test is failing.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    ended: Option<ExitStatus>,
}

/// How a process ended, and what it said.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Its exit code; 128 and the signal's number if a signal ended it.
    pub(crate) code: i32,
    /// Its standard output, as it is.
    pub(crate) bytes: Vec<u8>,
    /// Its standard output as text.
    pub(crate) stdout: String,
    /// Its standard error as text.
    pub(crate) stderr: String,
}

static COUNT: AtomicUsize = AtomicUsize::new(0);

impl Process {
    /// Starts `command`, its output going to files below `folder`.
    pub(crate) fn start(name: &str, folder: &Path, command: &mut Command) -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = |what: &str| folder.join(format!("{number:03}-{name}.{what}"));
        let (stdout, stderr) = (path("stdout"), path("stderr"));
        let create = |path: &Path| Stdio::from(File::create(path).expect("the test's folder can be written"));
        command.stdin(Stdio::null()).stdout(create(&stdout)).stderr(create(&stderr));
        let child = command.spawn().unwrap_or_else(|error| panic!("{name} can't be started: {error}"));
        Self { name: name.to_owned(), child, stdout, stderr, ended: None }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard output so far.
    pub(crate) fn stdout(&self) -> String {
        read(&self.stdout)
    }

    /// What it has written to standard error so far.
    pub(crate) fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("it is our child");
        }
        self.ended
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.ended().is_none()
    }

    /// Waits until it has ended.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Finished {
        let name = self.name.clone();
        let status = find(&format!("{name} has ended"), || self.ended());
        let bytes = std::fs::read(&self.stdout).expect("it was made at the start");
        let stdout = String::from_utf8_lossy(&bytes).into_owned();
        let code =
            status.code().or_else(|| status.signal().map(|signal| 128 + signal)).expect("it exited or was killed");
        Finished { code, bytes, stdout, stderr: self.stderr() }
    }

    /// Waits until it has written a line that `wanted` makes something of; it must not end before.
    #[track_caller]
    pub(crate) fn line<T>(&mut self, what: &str, wanted: impl Fn(&str) -> Option<T>) -> T {
        find(&format!("{} says {what}", self.name), || {
            let over = !self.is_running();
            let said = self.stdout() + &self.stderr();
            let found = said.lines().find_map(&wanted);
            assert!(found.is_some() || !over, "{} ended before it said {what}: {said}", self.name);
            found
        })
    }

    /// Asks it to end, as Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends it at once, as `kill -9` does, and waits until it is gone.
    pub(crate) fn kill9(&mut self) {
        if self.ended().is_none() {
            self.child.kill().expect("it is our child");
            self.ended = Some(self.child.wait().expect("it is our child"));
        }
    }

    fn signal(&self, signal: Signal) {
        assert!(self.ended.is_none(), "{} has ended, its number may be another's", self.name);
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a child's id is a process id");
        kill_process(pid, signal).expect("it is our child");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            eprintln!("--- {} ({}), standard output:\n{}", self.name, self.pid(), tail(&self.stdout()));
            eprintln!("--- {} ({}), standard error:\n{}", self.name, self.pid(), tail(&self.stderr()));
        }
    }
}

/// What is in the file; nothing, once a failing test has let go of its folder.
fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}
