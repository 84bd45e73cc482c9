//! The hierarchies that an agent can use.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::Access;
use serde::{Deserialize, Serialize};

use super::mounts::{Mount, mounts};
use super::{CgroupError, Controller, Group, PortRule, Version, bpf, ports};

/// How long processes may take to die of SIGKILL; longer only if the kernel is stuck in a driver or a file system.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// How often a folder is made before that counts as failed.
const MAX_ATTEMPTS: u32 = 20;
/// What an agent can do without, in words, and the controller for it.
const FEATURES: [(&str, Controller); 6] = [
    ("cpu shares and limits", Controller::Cpu),
    ("memory limits", Controller::Memory),
    ("process limits", Controller::Pids),
    ("device control", Controller::Devices),
    ("input and output figures", Controller::Io),
    ("kill of the whole tree by cgroup", Controller::Freezer),
];

/// The folders of one agent, one in each hierarchy that is of use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hierarchies(pub Vec<Hierarchy>);

/// One hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hierarchy {
    /// The agent's folder in it.
    pub folder: PathBuf,
    /// Its interface.
    pub version: Version,
    /// What it is used for.
    pub controllers: Vec<Controller>,
}

/// What [`Hierarchies::detect`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detected {
    /// What can be used.
    pub hierarchies: Hierarchies,
    /// What can't, with a line for people that gives the reason.
    pub missing: Vec<(Controller, String)>,
}

impl Hierarchies {
    /// Makes the folder `root/key` in every hierarchy that `mountinfo` (as in `/proc/self/mountinfo`) names and that can be written to.
    pub fn detect(mountinfo: &str, root: &str, key: &str) -> Detected {
        Self::among(&mounts(mountinfo), root, key)
    }

    fn among(mounts: &[Mount], root: &str, key: &str) -> Detected {
        let mut found = Self::default();
        let mut refused = Vec::new();
        // Version 2 first: what it can't do is then left to version 1.
        let (unified, others): (Vec<_>, Vec<_>) = mounts.iter().partition(|mount| mount.version == Version::V2);
        for mount in unified.into_iter().chain(others) {
            let mut offers = mount.offers();
            offers.retain(|controller| {
                let elsewhere = mounts.iter().any(|other| other.controllers.contains(controller));
                found.of(*controller).is_none()
                    && (mount.version == Version::V1 || is_native(*controller) || !elsewhere)
            });
            if !offers.is_empty() {
                found.0.extend(prepare(mount, root, key, offers, &mut refused));
            }
        }
        let missing = FEATURES.iter().filter(|(_, controller)| found.of(*controller).is_none());
        let why = |controller: Controller| {
            let reason = refused.iter().find(|(refused, _)| *refused == controller).map(|(_, error)| error.to_string());
            reason.unwrap_or_else(|| format!("no cgroup hierarchy offers {}", controller.name(Version::V2)))
        };
        let line = |feature: &str, controller| format!("{feature}: off, because {}", why(controller));
        let missing = missing.map(|(feature, controller)| (*controller, line(feature, *controller))).collect();
        Detected { hierarchies: found, missing }
    }

    /// As it is on this machine now: below the mount points for root, in what was delegated to it for another user.
    ///
    /// # Errors
    /// `/proc` can't be read.
    pub fn detect_here(root: &str, key: &str) -> io::Result<Detected> {
        let mut mounts = mounts(&fs::read_to_string("/proc/self/mountinfo")?);
        if !rustix::process::geteuid().is_root() {
            let own = fs::read_to_string("/proc/self/cgroup")?;
            mounts.iter_mut().for_each(|mount| mount.delegate(&own, is_ours));
        }
        Ok(Self::among(&mounts, root, key))
    }

    /// The hierarchy that has this controller.
    pub fn of(&self, controller: Controller) -> Option<&Hierarchy> {
        self.0.iter().find(|hierarchy| hierarchy.controllers.contains(&controller))
    }

    /// Keeps the processes of all groups from these ports, except where a group has [a rule of its own](Group::guard_ports): most have no
    /// ports, and to give each its programs costs as much as all else that its cgroups need.
    ///
    /// # Errors
    /// Why that can't be done, for people.
    pub fn guard_ports(&self, guarded: &[(u16, u16)]) -> Result<(), String> {
        let unified = self.0.iter().find(|hierarchy| hierarchy.version == Version::V2);
        let unified = unified.ok_or("there are no cgroups of version 2")?;
        let rule = PortRule { own: Vec::new(), guarded: guarded.to_vec() };
        let folder = fs::File::open(&unified.folder).map_err(|error| error.to_string())?;
        ports::control(folder.as_fd(), &rule, bpf::Reach::UnlessOverridden).map_err(|error| error.to_string())
    }

    /// Names of the groups that there are.
    pub fn groups(&self) -> Vec<String> {
        let folders = self.0.iter().filter_map(|hierarchy| fs::read_dir(&hierarchy.folder).ok()).flatten().flatten();
        let groups = folders.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let mut names: Vec<String> = groups.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Ends whatever is in a group and removes it; a group that does not exist is no error.
    ///
    /// # Errors
    /// Something in it does not die within ten seconds, or it can't be removed.
    pub fn clear(&self, name: &str) -> Result<(), CgroupError> {
        let Some(group) = Group::open(self, name)? else { return Ok(()) };
        let end = Instant::now() + PATIENCE;
        loop {
            group.kill()?;
            match group.remove() {
                Err(error) if error.source.kind() == ErrorKind::ResourceBusy && Instant::now() < end => {
                    std::thread::sleep(LOOK_AGAIN);
                }
                result => return result,
            }
        }
    }

    /// Removes the agent's own folders, if no group is left in them.
    pub fn remove(&self) {
        for hierarchy in &self.0 {
            // A folder that is not empty stays for the next agent of the same work directory; the root is shared with other agents.
            let _kept = fs::remove_dir(&hierarchy.folder)
                .and_then(|()| hierarchy.folder.parent().map_or(Ok(()), fs::remove_dir));
        }
        self.remove_beside();
    }
}

impl Mount {
    /// What it could be used for.
    fn offers(&self) -> Vec<Controller> {
        if self.version == Version::V1 {
            return self.controllers.clone();
        }
        let names = fs::read_to_string(self.base.join("cgroup.controllers")).unwrap_or_default();
        let has = |controller: &Controller| match controller {
            Controller::CpuAcct | Controller::Freezer | Controller::Devices => true,
            other => names.split_ascii_whitespace().any(|name| name == other.name(Version::V2)),
        };
        Controller::ALL.into_iter().filter(has).collect()
    }
}

/// Whether this user may move processes into a cgroup, which is what its delegation is about.
fn is_ours(folder: &Path) -> bool {
    rustix::fs::access(folder.join("cgroup.procs"), Access::WRITE_OK).is_ok()
        && rustix::fs::access(folder, Access::WRITE_OK).is_ok()
}

/// Makes the agent's folder and has it hand down what it `offers`. What can't be had is added to `refused`.
fn prepare(
    mount: &Mount,
    root: &str,
    key: &str,
    mut offers: Vec<Controller>,
    refused: &mut Vec<(Controller, CgroupError)>,
) -> Option<Hierarchy> {
    let folder = mount.base.join(root).join(key);
    offers.retain(|controller| {
        let made = make(&folder).map_err(CgroupError::at(&folder));
        let given =
            made.and_then(|()| if mount.version == Version::V2 { enable(mount, &folder, *controller) } else { Ok(()) });
        given.map_err(|error| refused.push((*controller, error))).is_ok()
    });
    (!offers.is_empty()).then_some(Hierarchy { folder, version: mount.version, controllers: offers })
}

/// Makes a folder and those above it. Another agent that ends may just be removing one above.
fn make(folder: &Path) -> io::Result<()> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        match fs::create_dir_all(folder) {
            Err(error) if error.kind() == ErrorKind::NotFound && attempts < MAX_ATTEMPTS => {}
            result => return result,
        }
    }
}

/// What version 2 has without a controller.
fn is_native(controller: Controller) -> bool {
    matches!(controller, Controller::Freezer | Controller::CpuAcct)
}

/// Hands a controller of version 2 down to the groups in `folder`.
fn enable(mount: &Mount, folder: &Path, controller: Controller) -> Result<(), CgroupError> {
    match controller {
        Controller::Freezer | Controller::CpuAcct => return Ok(()),
        Controller::Devices => return bpf::probe().map_err(CgroupError::at(folder)),
        _ => {}
    }
    let above = folder.ancestors().take_while(|above| above.starts_with(&mount.base));
    let mut folders: Vec<&Path> = above.collect();
    folders.reverse();
    folders.into_iter().try_for_each(|folder| {
        let file = folder.join("cgroup.subtree_control");
        let name = controller.name(Version::V2);
        if fs::read_to_string(&file).is_ok_and(|given| given.split_ascii_whitespace().any(|given| given == name)) {
            return Ok(());
        }
        let write = || OpenOptions::new().write(true).open(&file)?.write_all(format!("+{name}").as_bytes());
        write().map_err(CgroupError::at(&file))
    })
}
