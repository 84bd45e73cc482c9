//! `config.json` of a member, as the OCI runtime specification has it.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, major, minor, statvfs};
use serde_json::{Map, Value, json};

use crate::cgroup::{DeviceRule, Limits};
use crate::seccomp::CAPABILITIES;
use crate::supervisor::edits::Hook;
use crate::supervisor::protocol::{CommandLine, Namespaces, Rlimit, Root, Stdio, TaskSpec, UserRange};
use crate::supervisor::spawn::resolve_user;

/// The specification that is followed.
const VERSION: &str = "1.0.2";
/// The length of a period of processor time, in microseconds.
const PERIOD_US: u64 = 100_000;
/// How long a hook may take that does not say, in seconds.
const HOOK_TIMEOUT_S: u32 = 10;
/// What of the machine's network configuration a task needs to use the machine's network.
const NAMES: [&str; 3] = ["/etc/resolv.conf", "/etc/hosts", "/etc/hostname"];
/// Files that tell of the machine, and are not to be read.
const MASKED: [&str; 9] = [
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];
/// Parts of `/proc` by which root could change the machine.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What a mount keeps when it is made read-only.
const KEPT: [(StatVfsMountFlags, &str); 3] =
    [(StatVfsMountFlags::NOSUID, "nosuid"), (StatVfsMountFlags::NODEV, "nodev"), (StatVfsMountFlags::NOEXEC, "noexec")];

/// What the members of a group have in common.
pub(super) struct Group<'a> {
    pub(super) namespaces: &'a Namespaces,
    pub(super) tasks: &'a [TaskSpec],
    /// The supervisor's.
    pub(super) folder: &'a Path,
    /// The agent's folder of cgroups, below where they are mounted.
    pub(super) cgroups: &'a Path,
    pub(super) seccomp: Option<&'a Value>,
    /// Who its users are on the machine, if they are its own.
    pub(super) users: Option<UserRange>,
}

/// The whole of it. PID, IPC, UTS and network namespaces are those of the supervisor, which all members share.
///
/// # Errors
/// A device node can't be looked at, or the member has no cgroup.
pub(super) fn config(group: &Group<'_>, task: &TaskSpec) -> io::Result<Value> {
    let cgroup = task.cgroup.as_ref().ok_or_else(|| io::Error::other("expected a cgroup for each member"))?;
    let mut linux = json!({
        "namespaces": [{"type": "mount"}],
        "cgroupsPath": Path::new("/").join(group.cgroups).join(&cgroup.name),
        "resources": resources(&cgroup.limits, &rules(task)?),
        "devices": if group.users.is_some() { Vec::new() } else { devices(task)? },
        "maskedPaths": MASKED,
        "readonlyPaths": READ_ONLY,
    });
    if let Some(users) = group.users {
        linux["namespaces"].as_array_mut().expect("it is one").push(json!({"type": "user"}));
        let mapping = json!([{"containerID": 0, "hostID": users.first, "size": users.count}]);
        linux["uidMappings"] = mapping.clone();
        linux["gidMappings"] = mapping;
    }
    if let Some(seccomp) = group.seccomp {
        linux["seccomp"] = seccomp.clone();
    }
    Ok(json!({
        "ociVersion": VERSION,
        "process": process(task, &task.command, &task.stdio)?,
        "root": {"path": group.folder.join("root"), "readonly": group.namespaces.root == Root::ReadOnly},
        "mounts": mounts(group, task),
        "hooks": hooks(&task.edits.hooks),
        "linux": linux,
    }))
}

/// A process of a member: its command, or one beside it.
///
/// # Errors
/// The user is none that can be resolved here.
pub(super) fn process(task: &TaskSpec, line: &CommandLine, stdio: &Stdio) -> io::Result<Value> {
    let args = match line {
        CommandLine::Argv(args) => args.clone(),
        CommandLine::Shell(text) => vec!["/bin/sh".to_owned(), "-c".to_owned(), text.clone()],
    };
    let (uid, gid) = task.user.as_deref().map(resolve_user).transpose()?.unwrap_or((0, 0));
    // Another user than root keeps none of them when it executes something; it is given none to begin with.
    let held: &[&str] = if uid == 0 { &CAPABILITIES } else { &[] };
    let env: Vec<String> = task.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut process = json!({
        "terminal": matches!(stdio, Stdio::Terminal { .. }),
        "user": {"uid": uid, "gid": gid},
        "args": args,
        "env": env,
        "cwd": task.working_dir.as_ref().unwrap_or(&task.sandbox),
        "capabilities": {"bounding": CAPABILITIES, "effective": held, "permitted": held},
        "rlimits": task.rlimits.iter().map(rlimit).collect::<Vec<_>>(),
        "noNewPrivileges": true,
    });
    if let Stdio::Terminal { rows, columns, .. } = stdio {
        process["consoleSize"] = json!({"height": rows, "width": columns});
    }
    Ok(process)
}

fn rlimit(limit: &Rlimit) -> Value {
    let value = |value: Option<u64>| value.unwrap_or(u64::MAX);
    let name = format!("RLIMIT_{}", limit.name.to_ascii_uppercase());
    json!({"type": name, "soft": value(limit.soft), "hard": value(limit.hard)})
}

/// What the cgroup has already, said again: a runtime may set what it is not told of. Shares of the processors are left to the cgroup,
/// since runtimes convert them in ways of their own.
fn resources(limits: &Limits, rules: &[DeviceRule]) -> Value {
    let mut devices = vec![json!({"allow": false, "access": "rwm"})];
    devices.extend(rules.iter().map(|rule| {
        let kind = if rule.block { "b" } else { "c" };
        let mut rule = json!({"allow": true, "type": kind, "major": rule.major, "minor": rule.minor, "access": "rwm"});
        rule.as_object_mut().expect("it is one").retain(|_, value| !value.is_null());
        rule
    }));
    let mut resources = json!({"devices": devices});
    if let Some(bytes) = limits.memory_bytes {
        resources["memory"] = json!({"limit": bytes});
    }
    if let Some(pids) = limits.pids {
        resources["pids"] = json!({"limit": pids});
    }
    if let Some(milli) = limits.cpu_max_milli {
        resources["cpu"] = json!({"quota": (milli * (PERIOD_US / 1000)).max(1000), "period": PERIOD_US});
    }
    resources
}

/// The nodes of a member's own devices: where it sees each, and where that is on the machine.
fn nodes(task: &TaskSpec) -> impl Iterator<Item = (&PathBuf, &PathBuf)> {
    task.devices.iter().map(|node| (node, node)).chain(task.edits.nodes.iter().map(|node| (&node.path, &node.from)))
}

fn rules(task: &TaskSpec) -> io::Result<Vec<DeviceRule>> {
    let own = nodes(task).map(|(_, from)| DeviceRule::of(from));
    DeviceRule::BASE.into_iter().map(Ok).chain(own).collect()
}

fn devices(task: &TaskSpec) -> io::Result<Vec<Value>> {
    let device = |(path, from): (&PathBuf, &PathBuf)| {
        let metadata = fs::metadata(from)?;
        let kind = if metadata.file_type().is_block_device() { "b" } else { "c" };
        let number = metadata.rdev();
        Ok(json!({"path": path, "type": kind, "major": major(number), "minor": minor(number),
            "fileMode": metadata.mode() & 0o7777, "uid": metadata.uid(), "gid": metadata.gid()}))
    };
    nodes(task).map(device).collect()
}

fn mounts(group: &Group<'_>, task: &TaskSpec) -> Vec<Value> {
    let own = |name: &str| group.folder.join(name);
    let mut mounts = vec![
        of_kernel(group, "proc", "/proc", &[]),
        json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]}),
        json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]}),
        bind(&own("shm"), Path::new("/dev/shm"), &["rw", "nosuid", "noexec", "nodev"]),
        of_kernel(group, "sysfs", "/sys", &["ro"]),
        bind(&own("tmp"), Path::new("/tmp"), &["rw"]),
    ];
    if has_message_queues() {
        mounts.insert(4, of_kernel(group, "mqueue", "/dev/mqueue", &[]));
    }
    let names = NAMES.iter().map(Path::new).filter(|name| name.exists());
    mounts.extend(names.map(|name| bind(name, name, &["ro"])));
    let shown = group.tasks.iter().map(|task| &task.sandbox).chain(&group.namespaces.shown);
    mounts.extend(shown.map(|path| bind(path, path, &[if path.is_dir() { "rw" } else { "ro" }])));
    let added = task.edits.mounts.iter();
    mounts.extend(added.map(|mount| bind(&mount.from, &mount.to, &[if mount.writable { "rw" } else { "ro" }])));
    if group.users.is_some() {
        // Only the machine's root can make nodes.
        mounts.extend(nodes(task).map(|(path, from)| bind(from, path, &["rw", "nosuid", "noexec"])));
    }
    mounts
}

/// What shows the group's namespaces. To users of its own, who may not mount it, it is shown as the supervisor has mounted it.
fn of_kernel(group: &Group<'_>, kind: &str, to: &str, more: &[&str]) -> Value {
    let options = [&["nosuid", "noexec", "nodev"], more].concat();
    if group.users.is_some() {
        return bind(&group.folder.join(kind), Path::new(to), &options);
    }
    json!({"destination": to, "type": kind, "source": kind, "options": options})
}

/// Not every kernel has them.
pub(super) fn has_message_queues() -> bool {
    Path::new("/proc/sys/fs/mqueue").exists()
}

fn bind(from: &Path, to: &Path, options: &[&str]) -> Value {
    let mut options: Vec<&str> = ["rbind", "rprivate"].iter().chain(options).copied().collect();
    if options.contains(&"ro") {
        // As it is mounted again for that, and what it was mounted with is not to be lost, or must not be.
        let flags = statvfs(from).map(|stat| stat.f_flag).unwrap_or(StatVfsMountFlags::empty());
        let kept = KEPT.iter().filter(|(flag, word)| flags.contains(*flag) && !options.contains(word));
        options.extend(kept.map(|(_, word)| *word).collect::<Vec<_>>());
    }
    json!({"destination": to, "type": "bind", "source": from, "options": options})
}

fn hooks(hooks: &[Hook]) -> Value {
    let mut moments = Map::new();
    for hook in hooks {
        let moment = serde_json::to_value(hook.when).expect("it is a word");
        let env: Vec<String> = hook.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let timeout = hook.timeout_ms.map_or(HOOK_TIMEOUT_S, |ms| ms.div_ceil(1000).max(1));
        let hook = json!({"path": hook.path, "args": hook.args, "env": env, "timeout": timeout});
        let list = moments.entry(moment.as_str().expect("it is a word")).or_insert_with(|| json!([]));
        list.as_array_mut().expect("it is one").push(hook);
    }
    Value::Object(moments)
}
