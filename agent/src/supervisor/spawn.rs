//! From a task's spec to its running main process.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit};
use rustix::thread::{CapabilitySet, capabilities};

use super::contain::{Entry, Held};
use super::exec::Program;
use super::logs::{RotatedLog, Stream};
use super::protocol::{self, CommandLine, MAX_ERROR_BYTES, Outcome, Stdio, TaskSpec};
use super::runtime;
use super::stdio::{self, Leads, Ours, Theirs};
use crate::cgroup::{self, Birth};

/// A main process that has been executed.
pub(super) struct Started {
    pub(super) pid: i32,
    pub(super) streams: Vec<Stream>,
    /// What it reads, if somebody may write to it.
    pub(super) input: Option<OwnedFd>,
}

/// Executes the command of a task, in its cgroup. The result comes after `exec`, so a failure is the command's own and not a late exit
/// code.
pub(super) fn start(spec: &TaskSpec, held: Held<'_>) -> Result<Started, Outcome> {
    let sandbox = format!("sandbox {:?}", spec.sandbox);
    let directory = OwnedFd::from(open_directory(&spec.sandbox).map_err(failed(&sandbox))?);
    let second = directory.try_clone().map_err(failed(&sandbox))?;
    // Before the command, which may look for them. Both are made, though a terminal writes to one only.
    let logs = [RotatedLog::new(directory, "stdout", spec.logs), RotatedLog::new(second, "stderr", spec.logs)];
    let (pid, ours) = match held.runtime {
        Some(runtime) => by_runtime(spec, runtime.start(spec, held))?,
        None => {
            let (ours, theirs) = open(&spec.stdio, spec)?;
            (spawn(&spec.command, spec, held, &theirs, leads(&spec.stdio, Leads::Group))?, ours)
        }
    };
    // A pipe that cannot be made non-blocking is closed: its task would see a broken pipe, which is better than a supervisor that hangs.
    let streams =
        ours.outputs.into_iter().zip(logs).filter_map(|(output, log)| Stream::new(output, log).ok()).collect();
    Ok(Started { pid, streams, input: ours.input })
}

/// Executes the check of a task as the task is executed; its output goes nowhere.
pub(super) fn check(spec: &TaskSpec, check: &CommandLine, held: Held<'_>) -> Result<i32, Outcome> {
    match held.runtime {
        Some(runtime) => by_runtime(spec, runtime.exec(spec, check, None, held)).map(|(pid, _)| pid),
        None => spawn(check, spec, held, &Theirs::default(), Leads::Group),
    }
}

/// Executes a command beside a task as the task is executed, in a session of its own.
pub(super) fn nested(
    spec: &TaskSpec,
    args: Vec<String>,
    stdio: &Stdio,
    held: Held<'_>,
) -> Result<(i32, Ours), Outcome> {
    let line = CommandLine::Argv(args);
    if let Some(runtime) = held.runtime {
        return by_runtime(spec, runtime.exec(spec, &line, Some(stdio), held));
    }
    let (ours, theirs) = open(stdio, spec)?;
    let pid = spawn(&line, spec, held, &theirs, leads(stdio, Leads::Session))?;
    Ok((pid, ours))
}

/// What a runtime has started. Limits that can't be set are named before it says so in words of its own.
fn by_runtime(spec: &TaskSpec, started: io::Result<runtime::Started>) -> Result<(i32, Ours), Outcome> {
    started.map(|started| (started.pid, started.ours)).map_err(|error| {
        let limited = rlimits(&spec.rlimits).err();
        limited.unwrap_or_else(|| failed("runtime")(error))
    })
}

fn open(stdio: &Stdio, spec: &TaskSpec) -> Result<(Ours, Theirs), Outcome> {
    stdio::open(stdio, owner(spec)).map_err(failed("standard streams"))
}

fn leads(stdio: &Stdio, otherwise: Leads) -> Leads {
    if matches!(stdio, Stdio::Terminal { .. }) { Leads::Terminal } else { otherwise }
}

/// Executes a command in a cgroup: born there where the kernel can do that, else entering it first.
fn spawn(line: &CommandLine, spec: &TaskSpec, held: Held<'_>, theirs: &Theirs, leads: Leads) -> Result<i32, Outcome> {
    let words = words(line);
    let name = format!("command {:?}", words[0]);
    let directory = spec.working_dir.as_ref().unwrap_or(&spec.sandbox);
    let program = Program::new(&words, &spec.env, directory, theirs).map_err(failed(&name))?;
    if let Some(cradle) = held.cgroup.and_then(cgroup::Group::cradle) {
        match program.execute(&entry(spec, held, Birth::Inside, leads)?, Some(cradle)) {
            Ok(executed) => return executed.map_err(failed(&name)),
            // Not in this kernel, or not allowed to this process: it enters instead.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL | libc::EPERM)) => {}
            Err(error) => return Err(failed("clone")(error)),
        }
    }
    let executed = program.execute(&entry(spec, held, Birth::Outside, leads)?, None);
    executed.map_err(failed("clone"))?.map_err(failed(&name))
}

fn open_directory(path: &Path) -> io::Result<File> {
    let directory = File::open(path)?;
    if directory.metadata()?.is_dir() { Ok(directory) } else { Err(io::ErrorKind::NotADirectory.into()) }
}

fn words(line: &CommandLine) -> Vec<&str> {
    match line {
        CommandLine::Argv(argv) => argv.iter().map(String::as_str).collect(),
        CommandLine::Shell(text) => vec!["/bin/sh", "-c", text],
    }
}

/// What the command does before it is executed.
fn entry(spec: &TaskSpec, held: Held<'_>, birth: Birth, leads: Leads) -> Result<Entry, Outcome> {
    let resolve = |user: &String| resolve_user(user).map_err(failed(&format!("user {user:?}")));
    let user = spec.user.as_ref().map(resolve).transpose()?;
    let rlimits = rlimits(&spec.rlimits)?;
    Ok(Entry { user, rlimits, leads, ..Entry::new(held, birth).map_err(failed("cgroup"))? })
}

/// Limits that this process can set. The kernel's answer between fork and exec would not name them.
fn rlimits(limits: &[protocol::Rlimit]) -> Result<Vec<(Resource, Rlimit)>, Outcome> {
    let raises = capabilities(None).is_ok_and(|own| own.effective.contains(CapabilitySet::SYS_RESOURCE));
    let known = |limit: &protocol::Rlimit| {
        let name = format!("rlimit {}", limit.name);
        let unknown = || io::Error::new(io::ErrorKind::InvalidInput, "expected the name of a limit of this system");
        let resource = resource(&limit.name).ok_or_else(unknown).map_err(failed(&name))?;
        // Not even root gets more open files than the kernel's own bound.
        let bound = if raises { kernels_bound(resource) } else { getrlimit(resource).maximum };
        if bound.is_some_and(|bound| limit.hard.is_none_or(|hard| hard > bound)) {
            let message = format!("expected at most {}, which this supervisor can't raise", bound.unwrap_or_default());
            return Err(failed(&name)(io::Error::new(io::ErrorKind::PermissionDenied, message)));
        }
        Ok((resource, Rlimit { current: limit.soft, maximum: limit.hard }))
    };
    limits.iter().map(known).collect()
}

fn kernels_bound(resource: Resource) -> Option<u64> {
    let text = (resource == Resource::Nofile).then(|| fs::read_to_string("/proc/sys/fs/nr_open").ok())??;
    text.trim().parse().ok()
}

fn resource(name: &str) -> Option<Resource> {
    Some(match name {
        "as" => Resource::As,
        "core" => Resource::Core,
        "cpu" => Resource::Cpu,
        "data" => Resource::Data,
        "fsize" => Resource::Fsize,
        "locks" => Resource::Locks,
        "memlock" => Resource::Memlock,
        "msgqueue" => Resource::Msgqueue,
        "nice" => Resource::Nice,
        "nofile" => Resource::Nofile,
        "nproc" => Resource::Nproc,
        "rss" => Resource::Rss,
        "rtprio" => Resource::Rtprio,
        "sigpending" => Resource::Sigpending,
        "stack" => Resource::Stack,
        _ => return None,
    })
}

/// Whose a task's files are, as the machine counts users; `None` if they are the supervisor's own. A user that is not known fails the start
/// of the command, with the name in the message.
pub(crate) fn owner(spec: &TaskSpec) -> Option<(u32, u32)> {
    let user = owner_within(spec);
    let Some(range) = spec.users else { return user };
    let (uid, gid) = user.unwrap_or((0, 0));
    let outside = |id: u32| range.first.saturating_add(id.min(range.count.saturating_sub(1)));
    Some((outside(uid), outside(gid)))
}

/// The same, as the task counts users.
pub(crate) fn owner_within(spec: &TaskSpec) -> Option<(u32, u32)> {
    spec.user.as_ref().and_then(|user| resolve_user(user).ok())
}

/// `UID`, `UID:GID`, or a name of `/etc/passwd`; an id without a group gets the group of the same number.
pub(crate) fn resolve_user(user: &str) -> io::Result<(u32, u32)> {
    let (uid, gid) = user.split_once(':').unwrap_or((user, user));
    if let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse()) {
        return Ok((uid, gid));
    }
    let passwd = fs::read_to_string("/etc/passwd")?;
    let entry = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == user).then_some(())?;
        let uid = fields.nth(1)?.parse().ok()?;
        Some((uid, fields.next()?.parse().ok()?))
    });
    entry.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "expected a name of /etc/passwd, UID or UID:GID"))
}

fn failed(attempt: &str) -> impl FnOnce(io::Error) -> Outcome {
    move |error| {
        // Room is kept for the system's words, whatever the length of what a user chose.
        let attempt = &attempt[..attempt.floor_char_boundary(MAX_ERROR_BYTES - 256)];
        Outcome::FailedToStart { errno: error.raw_os_error(), error: format!("{attempt}: {error}") }
    }
}
