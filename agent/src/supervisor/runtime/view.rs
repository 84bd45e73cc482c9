//! What the runtime sees, and the bundles that it is given.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::way;
use super::{Runtime, STATE, config, write};
use crate::cgroup::{Hierarchies, Version};
use crate::supervisor::contain::{ContainError, Users, as_root_within, mount_layers, mount_proc};
use crate::supervisor::protocol::{ImageRoot, Namespaces, OciRuntime, Right, TaskSpec};

/// Of a group: the image's files, what is written over them, `/tmp`, and shared memory.
const PARTS: [&str; 5] = ["root", "upper", "work", "tmp", "shm"];

/// Makes the view of this process, which has a mount namespace of its own and works in its own folder, and a bundle for each member.
pub(crate) fn enter(
    cgroups: &Hierarchies,
    namespaces: &Namespaces,
    (image, runtime): (&ImageRoot, &OciRuntime),
    tasks: &[TaskSpec],
    users: Option<Users<'_>>,
) -> Result<Runtime, ContainError> {
    let at = |what: &str| ContainError::at::<io::Error>(what.to_owned());
    // As this mount namespace has it: the layers' overlay takes nothing of another.
    let own = open(".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let own = &own.map_err(ContainError::at("supervisor's folder"))?;
    let folder = std::env::current_dir().map_err(at("supervisor's folder"))?;
    for part in PARTS.iter().chain(&[STATE]) {
        match fs::create_dir(part) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(at(part)(error)),
            _ => {}
        }
    }
    let sticky = std::os::unix::fs::PermissionsExt::from_mode(0o1777);
    fs::set_permissions("tmp", sticky).map_err(at("tmp"))?;
    let plain = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("tmpfs", "shm", "tmpfs", plain, Some(c"mode=1777")).map_err(ContainError::at("mount /dev/shm"))?;
    match users {
        Some(users) => {
            way::mount_kernels()?;
            let mapped = way::map(image, &folder, users)?;
            as_root_within(Some(users), || mount_layers(image, &mapped, Right::Root))?;
        }
        None => mount_layers(image, own, Right::Root)?,
    }
    mount_proc()?;
    let cgroups = cgroups_path(cgroups).map_err(at("cgroups"))?;
    rustix::process::fchdir(own).map_err(|error| at("supervisor's folder")(error.into()))?;
    let seccomp = runtime.seccomp.as_ref().map(|path| read(path)).transpose()?;
    for task in tasks {
        let bundle = folder.join(format!("bundle-{}", task.name));
        let group = config::Group {
            namespaces,
            tasks,
            folder: &folder,
            cgroups: &cgroups,
            seccomp: seccomp.as_ref(),
            users: users.map(|users| users.range()),
        };
        let config = config::config(&group, task).map_err(at("config.json"))?;
        let made = fs::create_dir_all(&bundle).and_then(|()| write(&bundle.join("config.json"), &config));
        made.map_err(at("bundle"))?;
    }
    if users.is_some() {
        way::open(&folder, namespaces, tasks, &runtime.program)?;
    }
    Ok(Runtime { program: runtime.program.clone(), folder })
}

fn read(path: &Path) -> Result<serde_json::Value, ContainError> {
    let text = fs::read(path).map_err(ContainError::at(path.display().to_string()))?;
    serde_json::from_slice(&text).map_err(|error| ContainError::at(path.display().to_string())(io::Error::from(error)))
}

/// The path of the agent's folder below where cgroups are mounted. The hierarchy of version 2 is taken from view where version 1 has the
/// controllers: not every runtime takes both.
fn cgroups_path(hierarchies: &Hierarchies) -> io::Result<PathBuf> {
    let of = |version| hierarchies.0.iter().filter(move |hierarchy| hierarchy.version == version);
    let missing = || io::Error::new(io::ErrorKind::NotFound, "expected a hierarchy of the agent's");
    let hierarchy = of(Version::V1).chain(of(Version::V2)).next().ok_or_else(missing)?;
    let mountinfo = fs::read_to_string("/proc/self/mountinfo")?;
    let mounts = mountinfo.lines().filter(|line| line.contains(" - cgroup")).filter_map(|line| line.split(' ').nth(4));
    let below = mounts.clone().filter_map(|mount| hierarchy.folder.strip_prefix(mount).ok());
    // Of mounts in one another the innermost.
    let below = below.min_by_key(|below| below.components().count()).ok_or_else(missing)?;
    if hierarchy.version == Version::V1 {
        for unified in mountinfo.lines().filter(|line| line.contains(" - cgroup2 ")) {
            unmount(unified.split(' ').nth(4).unwrap_or_default(), UnmountFlags::DETACH)?;
        }
    }
    Ok(below.to_owned())
}
