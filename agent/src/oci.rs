//! Which installed OCI runtime runs tasks with an image, if the supervisor itself does not.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

use crate::AgentError;
use crate::cgroup::Controller;
use crate::launcher::Isolation;

/// The runtimes that are looked for, in this order.
const KNOWN: [&str; 2] = ["runc", "crun"];
/// Where programs of root's lie, beside what `PATH` says.
const FOLDERS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// What runs tasks with an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OciRuntime {
    /// The supervisor.
    #[default]
    Own,
    /// The first that is installed of `runc` and `crun`.
    Installed,
    /// The one of this name, or with this path.
    Program(PathBuf),
}

impl FromStr for OciRuntime {
    type Err = Infallible;

    /// `none`, `auto`, a name to be looked for, or a path.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "none" => Self::Own,
            "auto" => Self::Installed,
            program => Self::Program(program.into()),
        })
    }
}

impl OciRuntime {
    /// The program; `None` for the supervisor itself.
    ///
    /// # Errors
    /// It is not there, does not run, or tasks are not kept apart as it needs it.
    pub(crate) fn find(&self, isolation: &Isolation) -> Result<Option<PathBuf>, AgentError> {
        let found = match self {
            Self::Own => return Ok(None),
            Self::Installed => KNOWN.iter().find_map(|name| look_for(Path::new(name))),
            Self::Program(program) => look_for(program),
        };
        let wanted = match self {
            Self::Program(program) => program.display().to_string(),
            Self::Own | Self::Installed => KNOWN.join(" and "),
        };
        let missing = || AgentError::OciRuntime(format!("expected one that is installed, found no {wanted}"));
        let program = found.ok_or_else(missing)?;
        ask(&program).map_err(AgentError::OciRuntime)?;
        if !isolation.has_namespaces() || !isolation.controls(Controller::Devices) {
            let why = "expected an agent with namespaces and control of devices, which this one has not".to_owned();
            return Err(AgentError::OciRuntime(why));
        }
        Ok(Some(program))
    }
}

/// A path as it is, a name in the folders of `PATH` and in those of root's.
fn look_for(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return program.canonicalize().ok().filter(|path| path.is_file());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(FOLDERS.iter().map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|path| path.is_absolute() && path.is_file())
}

/// Whether it says which version it is, as all of them do.
fn ask(program: &Path) -> Result<(), String> {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{} --version: {status}", program.display())),
        Err(error) => Err(format!("{}: {error}", program.display())),
    }
}

#[cfg(test)]
#[path = "oci_tests.rs"]
mod tests;
