//! Members run by an OCI runtime of the machine's, `runc` or `crun`, in place of this process itself.
//!
//! This process stays what it is: the first process of the group's PID namespace, with the group's IPC, UTS and network namespaces and
//! cgroups, who reaps, kills and tells. What it leaves to the runtime is each member's own view: for every member a bundle is written, with
//! a `config.json` that says what [`contain`](super::contain) would otherwise do, and the runtime is called to run it, detached. The
//! member's first process is then a child of this one, as any orphan of the namespace is.
//!
//! The runtime works among mounts that only this process and it see: the machine's files, the group's `/proc`, the image's layers under
//! `root` in the supervisor's folder, and of the cgroup hierarchies those that the agent uses, so that it makes folders in no other.

mod config;
mod console;
mod view;
mod way;

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::time::{Duration, Instant};

use serde_json::Value;

use self::console::Console;
pub(super) use self::view::enter;
use super::contain::Held;
use super::protocol::{CommandLine, Stdio, TaskSpec};
use super::stdio::{self, Ours, Theirs};
use super::{store, sys};

/// How long a call may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The first pause between two looks at a call that runs, and the longest.
const LOOK_AGAIN: [Duration; 2] = [Duration::from_micros(500), Duration::from_millis(5)];
/// Where programs are looked for that a runtime runs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What it knows of its containers, and what it says of its failures, below the supervisor's folder.
const STATE: &str = "runtime";
const LOG: &str = "runtime.log";

/// The runtime of a group.
#[derive(Debug)]
pub(super) struct Runtime {
    program: PathBuf,
    /// The supervisor's folder.
    folder: PathBuf,
}

/// A process that the runtime has started.
pub(super) struct Started {
    pub(super) pid: i32,
    pub(super) ours: Ours,
}

impl Runtime {
    /// Starts a member as its bundle has it.
    pub(super) fn start(&self, spec: &TaskSpec, held: Held<'_>) -> io::Result<Started> {
        let bundle = self.bundle(&spec.name);
        let args = ["run", "--detach", "--bundle"].map(Into::into);
        self.begin(Some(&spec.stdio), [args.as_slice(), &[bundle]].concat(), &spec.name, held)
    }

    /// Executes a command beside a member, as the member is executed; without streams, its own lead nowhere.
    pub(super) fn exec(
        &self,
        spec: &TaskSpec,
        line: &CommandLine,
        stdio: Option<&Stdio>,
        held: Held<'_>,
    ) -> io::Result<Started> {
        let bundle = self.bundle(&spec.name);
        let process = bundle.join("process.json");
        write(&process, &config::process(spec, line, stdio.unwrap_or(&Stdio::Output))?)?;
        let args = [Path::new("exec"), "--detach".as_ref(), "--process".as_ref(), &process].map(Path::to_owned);
        self.begin(stdio, args.to_vec(), &spec.name, held)
    }

    /// Forgets a member whose processes have all ended; what its devices want to be run then is run.
    pub(super) fn delete(&self, name: &str) -> io::Result<()> {
        if !self.state().join(name).exists() {
            return Ok(());
        }
        self.call(&mut self.command(&["delete".into(), "--force".into(), name.into()]))
    }

    fn begin(&self, stdio: Option<&Stdio>, mut args: Vec<PathBuf>, name: &str, held: Held<'_>) -> io::Result<Started> {
        let bundle = self.bundle(name);
        let pid_file = bundle.join("pid");
        remove(&pid_file)?;
        args.extend(["--pid-file".into(), pid_file.clone()]);
        let console = matches!(stdio, Some(Stdio::Terminal { .. })).then(|| Console::listen(&bundle)).transpose()?;
        if let Some(console) = &console {
            args.extend(["--console-socket".into(), console.path().to_owned()]);
        }
        args.push(name.into());
        let mut command = self.command(&args);
        // The terminal is the container's own, and made there.
        let (ours, theirs) = match (&console, stdio) {
            (None, Some(stdio)) => stdio::open(stdio, None)?,
            _ => (Ours::default(), Theirs::default()),
        };
        theirs.lead(&mut command)?;
        drop(theirs);
        let beside = held.cgroup.map(crate::cgroup::Group::entrance_beside).transpose().map_err(io::Error::other)?;
        if let Some(entrance) = beside.flatten() {
            sys::enter_cgroup(&mut command, entrance);
        }
        let called = self.call(&mut command);
        drop(command);
        called?;
        let ours = console.map_or(Ok(ours), Console::take)?;
        if let (Some(Stdio::Terminal { rows, columns, .. }), Some(terminal)) = (stdio, &ours.input) {
            stdio::resize(terminal, *rows, *columns)?;
        }
        let pid = fs::read_to_string(&pid_file)?;
        let pid = pid.trim().parse().map_err(|_| invalid(format!("it wrote {pid:?} as a process id")))?;
        Ok(Started { pid, ours })
    }

    fn bundle(&self, name: &str) -> PathBuf {
        self.folder.join(format!("bundle-{name}"))
    }

    fn state(&self) -> PathBuf {
        self.folder.join(STATE)
    }

    fn command(&self, args: &[PathBuf]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(self.state()).arg("--log").arg(self.folder.join(LOG));
        command.args(["--log-format", "json"]).args(args);
        command.env_clear().env("PATH", PATH).process_group(0);
        command.stdin(process::Stdio::null()).stdout(process::Stdio::null()).stderr(process::Stdio::null());
        command
    }

    /// Runs the runtime to its end. Its own processes are few and short; whatever they start is this process's to reap.
    fn call(&self, command: &mut Command) -> io::Result<()> {
        remove(&self.folder.join(LOG))?;
        let end = Instant::now() + TIMEOUT;
        let mut child = command.spawn().map_err(|error| named(&self.program, &error))?;
        let mut pause = LOOK_AGAIN[0];
        loop {
            match child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(self.failure(&status.to_string())),
                None if Instant::now() >= end => {
                    child.kill()?;
                    child.wait()?;
                    return Err(self.failure("it took too long"));
                }
                None => std::thread::sleep(pause),
            }
            pause = (pause * 2).min(LOOK_AGAIN[1]);
        }
    }

    /// In its own words, where it has left any.
    fn failure(&self, otherwise: &str) -> io::Error {
        let log = fs::read_to_string(self.folder.join(LOG)).unwrap_or_default();
        let message = |line: &str| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line["level"] == "error").then_some(())?;
            line["msg"].as_str().map(str::to_owned)
        };
        let said = log.lines().filter_map(message).next_back();
        named(&self.program, &io::Error::other(said.unwrap_or_else(|| otherwise.to_owned())))
    }
}

fn named(program: &Path, error: &io::Error) -> io::Error {
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy();
    io::Error::new(error.kind(), format!("{name}: {error}"))
}

fn invalid(message: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, message)
}

fn write(path: &Path, content: &Value) -> io::Result<()> {
    store::write_file(path, content.to_string().as_bytes()).map(drop)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
