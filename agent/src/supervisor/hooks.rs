//! Hooks of devices: programs of the machine that get a container ready for a device, run when the OCI runtime specification says.
//!
//! | hook | when | where |
//! |---|---|---|
//! | `prestart`, `createRuntime` | before the group's view of files is made | on the machine |
//! | `createContainer` | when it is made, before anything of the group runs | in the group's mounts, with the machine's files as root |
//! | `startContainer` | before the first command | in the group |
//! | `poststart` | after the last command has been started | on the machine |
//! | `poststop` | when everything has ended and its cgroups are gone | on the machine |
//!
//! Those that change the files of a container (`prestart`, `createContainer`, `startContainer`) run for a group with an image alone: one
//! without has the machine's own files, which nobody is to change. Each gets the container's state on its standard input; the root is
//! reached by `/proc/PID/root`, which `config.json` in the bundle names.

use std::fs;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, open};
use serde_json::json;

use super::edits::{Hook, When};
use super::protocol::Spec;
use super::store::{note, open_log};
use super::sys;
use crate::crash;

/// How long a hook may take that does not say.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Between two looks at one that runs.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// A hook that failed.
#[derive(Debug, thiserror::Error)]
#[error("hook {path}: {why}")]
pub(super) struct HookError {
    path: String,
    why: String,
}

/// The hooks of a group, and what they need to be run.
#[derive(Debug)]
pub(super) struct Hooks {
    hooks: Vec<Hook>,
    bundle: PathBuf,
    /// As the machine knows this process.
    pid: i32,
    /// The machine's mounts.
    machine: OwnedFd,
    has_image: bool,
}

impl Hooks {
    /// `None` if there are none. To be called before this process leaves the machine's mounts.
    pub(super) fn of(spec: &Spec, pid: i32) -> io::Result<Option<Self>> {
        let mut hooks: Vec<Hook> = Vec::new();
        for hook in spec.tasks.iter().flat_map(|task| &task.edits.hooks) {
            // Members of a group share its view: what the devices of several need is done once.
            if !hooks.contains(hook) {
                hooks.push(hook.clone());
            }
        }
        if hooks.is_empty() {
            return Ok(None);
        }
        let bundle = std::env::current_dir()?;
        let root = json!({ "path": format!("/proc/{pid}/root") });
        fs::write("config.json", json!({ "ociVersion": "1.0.2", "root": root }).to_string())?;
        let namespaces = spec.container.as_ref().and_then(|container| container.namespaces.as_ref());
        let machine = open("/proc/self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let has_image = namespaces.is_some_and(|namespaces| namespaces.image.is_some());
        Ok(Some(Self { hooks, bundle, pid, machine, has_image }))
    }

    /// Runs those of one moment, one after the other; the first that fails is the last. Their root is `root` where it is given, else
    /// this process's, or the machine's for those that run there.
    ///
    /// # Errors
    /// One can't be executed, fails, or takes too long.
    pub(super) fn run(&self, when: When, root: Option<&OwnedFd>) -> Result<(), HookError> {
        if when.changes_files() && !self.has_image {
            return Ok(());
        }
        self.hooks.iter().filter(|hook| hook.when == when).try_for_each(|hook| {
            let path = || hook.path.display().to_string();
            self.execute(hook, root).map_err(|error| HookError { path: path(), why: error.to_string() })
        })
    }

    /// Runs those of one moment when nothing can be undone any more: all of them, and failures are noted.
    pub(super) fn run_all(&self, when: When) {
        for hook in self.hooks.iter().filter(|hook| hook.when == when) {
            if let Err(error) = self.execute(hook, None) {
                note(&format!("{}: {error}", hook.path.display()));
            }
        }
    }

    fn execute(&self, hook: &Hook, root: Option<&OwnedFd>) -> io::Result<()> {
        // What it complains of is kept.
        open_log();
        let mut command = Command::new(&hook.path);
        let (name, args) = hook.args.split_first().map_or((None, &[][..]), |(name, args)| (Some(name), args));
        if let Some(name) = name {
            command.arg0(name);
        }
        command.args(args).env_clear().envs(hook.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
        if hook.when.is_on_the_machine() {
            sys::on_the_machine(&mut command, self.machine.try_clone()?);
        } else if let Some(root) = root {
            sys::below(&mut command, root.try_clone()?);
        }
        let end = Instant::now() + hook.timeout_ms.map_or(TIMEOUT, |ms| Duration::from_millis(ms.into()));
        crash::point("hook: before it is run");
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that does not want to know is none the worse.
            let _unread = stdin.write_all(self.state(hook.when).as_bytes());
        }
        loop {
            match child.try_wait()? {
                Some(status) if status.success() => {
                    crash::point("hook: run");
                    return Ok(());
                }
                Some(status) => return Err(io::Error::other(format!("it failed: {status}"))),
                None if Instant::now() >= end => {
                    child.kill()?;
                    child.wait()?;
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "it took too long"));
                }
                None => std::thread::sleep(LOOK_AGAIN),
            }
        }
    }

    /// As the specification has it: on standard input, in JSON.
    fn state(&self, when: When) -> String {
        let status = match when {
            When::Prestart | When::CreateRuntime | When::CreateContainer => "creating",
            When::StartContainer => "created",
            When::Poststart => "running",
            When::Poststop => "stopped",
        };
        let id = self.bundle.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let state =
            json!({ "ociVersion": "1.0.2", "id": id, "status": status, "pid": self.pid, "bundle": self.bundle });
        state.to_string()
    }
}
