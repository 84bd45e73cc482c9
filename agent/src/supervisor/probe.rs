//! Whether a user who is not root may keep groups apart, and which files may be shown how: found out by doing
//! it, in a process that is there for nothing else, `rialto supervise --probe`. Only a process with one thread can make a user namespace.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use rustix::thread::UnshareFlags;

use super::{contain, sys};

/// The argument in the place of a folder.
pub(super) const ARGUMENT: &str = "--probe";

/// Asks a program that is a supervisor whether it can be one without root. Blocks for a moment.
///
/// # Errors
/// What is not allowed.
pub(crate) fn ask(exe: &Path) -> Result<(), String> {
    ask_about(exe, None)
}

/// Asks it whether the files of a folder can be shown as those of a group's own users; without root, whether layers of images can be stacked
/// there, which leaves something behind.
///
/// # Errors
/// Why not.
pub(crate) fn ask_of(exe: &Path, folder: &Path) -> Result<(), String> {
    ask_about(exe, Some(folder))
}

fn ask_about(exe: &Path, folder: Option<&Path>) -> Result<(), String> {
    let mut command = Command::new(exe);
    command.args(["supervise", ARGUMENT]).args(folder).env_clear().stdin(Stdio::null()).stderr(Stdio::null());
    let answer = command.output().map_err(|error| format!("{}: {error}", exe.display()))?;
    let said = String::from_utf8_lossy(&answer.stdout);
    match (answer.status.success(), said.trim()) {
        (true, _) => Ok(()),
        (false, "") => Err(format!("{} can't find out: {}", exe.display(), answer.status)),
        (false, why) => Err(why.to_owned()),
    }
}

/// The process itself: an error is what it says.
pub(super) fn answer() -> ExitCode {
    let tried = match std::env::args_os().nth(3) {
        Some(folder) if rustix::process::geteuid().is_root() => {
            contain::probe_map(Path::new(&folder)).map_err(|error| error.to_string())
        }
        Some(folder) => within(|| contain::probe_layers(Path::new(&folder))),
        None => within(contain::probe_as_user),
    };
    match tried {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn within(probe: impl FnOnce() -> Result<(), contain::ContainError>) -> Result<(), String> {
    enter()?;
    sys::in_child(|| probe().map_err(|error| error.to_string())).map_err(|error| error.to_string())?
}

fn enter() -> Result<(), String> {
    let user = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    sys::unshare(UnshareFlags::NEWUSER).map_err(|error| format!("user namespace: {error}"))?;
    contain::stay_user(user).map_err(|error| format!("user namespace: {error}"))?;
    sys::unshare(UnshareFlags::NEWPID).map_err(|error| format!("namespaces: {error}"))
}
