//! How this agent keeps tasks apart: what it was asked for, and what the kernel and its user allow.

use std::path::{Path, PathBuf};

use rialto_core::model::{Ranges, ResourceName, Task, TaskKey};
use rialto_proto::spec::{self, ContainerSpec};

use crate::cgroup::{self, Controller, Hierarchies, Limits, PortRule};
use crate::removal;
use crate::seccomp;
use crate::supervisor::protocol::{self, CgroupSpec, Container, Namespaces, Network, Right, Root};
use crate::supervisor::{probe_files, probe_namespaces, probe_user_namespaces};
use crate::usage::Meter;
use crate::{AgentError, LauncherKind, OciRuntime, Options};

/// Under this name goes what an agent says of itself at its start: people see it unless they ask for less.
pub(crate) const START: &str = "rialto_agent::start";

/// Less memory than this is no use to any process.
const MIN_MEMORY_BYTES: u64 = 32 << 20;
/// The most processes and threads of a task that does not say.
const PIDS: u64 = 4096;

/// What tasks are kept apart with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Isolation {
    cgroups: Hierarchies,
    namespaces: Option<Namespaces>,
    seccomp: Option<PathBuf>,
    /// What runs members of groups with an image, if not their supervisors.
    runtime: Option<PathBuf>,
    /// The ports that are only for those whose they are, first and last; none where that can't be had.
    guarded: Vec<(u16, u16)>,
    /// Whether the file system holds tasks to their disk.
    disk: bool,
    /// Whether files of images and volumes can be shown as those of a group's own users.
    maps_files: bool,
    /// Why layers of images can't be stacked, if that was found.
    no_layers: Option<String>,
}

impl Isolation {
    /// What `kind` asks for, as far as it can be had. With [`LauncherKind::Linux`] all of it must be.
    ///
    /// # Errors
    /// Something that was asked for by name is missing.
    pub(crate) fn detect(
        kind: LauncherKind,
        cgroup_root: &str,
        work_dir: &Path,
        exe: &Path,
    ) -> Result<Self, AgentError> {
        if kind == LauncherKind::Process {
            return Ok(Self::default());
        }
        let found = Hierarchies::detect_here(cgroup_root, &cgroup::key(work_dir))
            .map_err(AgentError::io(Path::new("/proc")))?;
        let right = if rustix::process::geteuid().is_root() { Right::Root } else { Right::UserNamespace };
        let probed = match right {
            Right::Root => probe_namespaces(),
            Right::UserNamespace => probe_user_namespaces(exe),
        };
        let probed = probed.map_err(|error| format!("namespaces: off, because {error}"));
        // Figures are no part of keeping tasks apart.
        let needed = found.missing.iter().filter(|(controller, _)| *controller != Controller::Io);
        let needed: Vec<&String> = needed.map(|(_, line)| line).chain(probed.as_ref().err()).collect();
        if kind == LauncherKind::Linux && !needed.is_empty() {
            let lines: Vec<&str> = needed.into_iter().map(String::as_str).collect();
            return Err(AgentError::Isolation(lines.join("; ")));
        }
        let namespaces = probed.as_ref().ok().map(|()| Namespaces {
            hidden: vec![work_dir.to_owned()],
            shown: vec![exe.to_owned()],
            root: Root::Shared,
            image: None,
            network: Network::Host,
            right,
        });
        let isolation = Self { cgroups: found.hierarchies, namespaces, ..Self::default() };
        isolation.say(found.missing.into_iter().map(|(_, line)| line).chain(probed.err()));
        Ok(isolation)
    }

    /// Keeps the volumes on these disks from being seen by tasks that don't hold them.
    pub(crate) fn hide_volumes<'a>(&mut self, disks: impl IntoIterator<Item = &'a str>) {
        if let Some(namespaces) = &mut self.namespaces {
            namespaces.hidden.extend(disks.into_iter().map(|disk| Path::new(disk).join("volumes")));
        }
    }

    /// Keeps tasks from ports that are others', as far as this kernel can.
    pub(crate) fn guard_ports(&mut self, ports: &Ranges) {
        if self.cgroups.0.is_empty() {
            return;
        }
        let guarded = port_ranges(ports);
        match self.cgroups.guard_ports(&guarded) {
            Ok(()) => self.guarded = guarded,
            Err(why) => tracing::warn!("ports: tasks can take those of others, because {why}"),
        }
    }

    /// Finds out whether files can be shown as those of a group's own users, and without root whether layers of images can be stacked; says
    /// it, if not.
    pub(crate) fn probe_files(&mut self, work_dir: &Path, exe: &Path) {
        let Some(namespaces) = &self.namespaces else { return };
        if namespaces.right == Right::UserNamespace {
            self.no_layers = probe_layers(exe, &work_dir.join("probe")).err();
            if let Some(why) = &self.no_layers {
                tracing::info!(target: START, "images: none, because this user can't stack layers: {why}");
            }
            return;
        }
        match probe_files(exe, work_dir) {
            Ok(()) => self.maps_files = true,
            Err(why) => {
                tracing::info!(target: START, "users of a task's own: none for tasks with an image or with volumes, because {why}");
            }
        }
    }

    /// Why a group with an image, or with volumes, can't have users of its own.
    pub(super) fn unfit_for_users(&self, image: bool, volumes: bool) -> Option<String> {
        ((image || volumes) && !self.maps_files).then(|| {
            "expected none for tasks with an image or with volumes, as this agent's disk can't show files as others'".to_owned()
        })
    }

    /// Notes that the file system holds tasks to what disk they may take.
    pub(crate) const fn hold_disk(&mut self) {
        self.disk = true;
    }

    /// Lets a task of the machine's network take of the guarded ports only its own; `None` if it has none. In a network of its own a task
    /// can take them all.
    pub(super) fn port_rule(&self, task: &Task, network: &Network) -> Option<PortRule> {
        if self.guarded.is_empty() {
            return None;
        }
        if *network != Network::Host {
            return Some(PortRule::default());
        }
        let own = port_ranges(&task.resources.ranges(&ResourceName::ports()));
        (!own.is_empty()).then(|| PortRule { own, guarded: self.guarded.clone() })
    }

    /// Binds tasks to a profile of system calls. Its programs are left in the work directory for the supervisors.
    ///
    /// # Errors
    /// It is no profile, or can't be kept.
    pub(crate) fn confine(&mut self, profile: &str, work_dir: &Path) -> Result<(), AgentError> {
        let programs = seccomp::compile(profile)?;
        let path = work_dir.join("seccomp");
        // Replaced and not rewritten: a supervisor may be reading it.
        let temporary = work_dir.join("seccomp.new");
        std::fs::write(&temporary, seccomp::encode(&programs)).map_err(AgentError::io(&temporary))?;
        std::fs::rename(&temporary, &path).map_err(AgentError::io(&path))?;
        self.seccomp = Some(path);
        let path = self.runtime_seccomp().expect("it was just set");
        let temporary = work_dir.join("seccomp.new");
        let rules = seccomp::translate(profile)?.to_string();
        std::fs::write(&temporary, rules).map_err(AgentError::io(&temporary))?;
        std::fs::rename(&temporary, &path).map_err(AgentError::io(&path))
    }

    /// The same profile as runtimes want it.
    fn runtime_seccomp(&self) -> Option<PathBuf> {
        self.seccomp.as_ref().map(|path| path.with_extension("json"))
    }

    /// Lets a program run the members of groups with an image.
    ///
    /// # Errors
    /// It is not there, or can't here.
    pub(crate) fn leave_images_to(&mut self, runtime: &OciRuntime) -> Result<(), AgentError> {
        self.runtime = runtime.find(self)?;
        Ok(())
    }

    /// What runs the members of a group with an image, if its supervisor does not.
    ///
    /// # Errors
    /// It was there when this agent started, and is not any more.
    pub(super) fn runtime(&self) -> Result<Option<protocol::OciRuntime>, String> {
        let Some(program) = &self.runtime else { return Ok(None) };
        if !program.is_file() {
            return Err(format!("oci runtime: {} is not there any more", program.display()));
        }
        Ok(Some(protocol::OciRuntime { program: program.clone(), seccomp: self.runtime_seccomp() }))
    }

    /// Whether tasks are held to something by their cgroups.
    pub(crate) fn controls(&self, controller: Controller) -> bool {
        self.cgroups.of(controller).is_some()
    }

    /// Says what is missing, in one line if that is everything for one reason.
    fn say(&self, missing: impl Iterator<Item = String>) {
        let is_root = rustix::process::geteuid().is_root();
        if !is_root && self.namespaces.is_some() {
            tracing::info!(
                target: START,
                "namespaces: by user namespaces, as this agent does not run as root: tasks run as its user, without bridges and users of \
                 their own; what devices they see is what they can open"
            );
        }
        missing.for_each(|line| tracing::warn!("{line}"));
    }

    /// For the agent's attributes: what is on.
    pub(crate) fn describe(&self) -> String {
        let controllers = [
            (Controller::Cpu, "cpu"),
            (Controller::Memory, "memory"),
            (Controller::Pids, "pids"),
            (Controller::Devices, "devices"),
            (Controller::Freezer, "kill"),
        ];
        let runtime = self.runtime.as_ref().and_then(|program| program.file_name()?.to_str());
        let mut words: Vec<&str> = controllers
            .iter()
            .filter(|(controller, _)| self.cgroups.of(*controller).is_some())
            .map(|(_, word)| *word)
            .collect();
        if self.namespaces.is_some() {
            words.insert(0, "namespaces");
        }
        if !self.guarded.is_empty() {
            words.push("ports");
        }
        if self.disk {
            words.push("disk");
        }
        if self.seccomp.is_some() {
            words.push("seccomp");
        }
        words.extend(runtime);
        if words.is_empty() { "none".to_owned() } else { words.join(",") }
    }

    /// Measures what tasks use.
    pub(crate) fn meter(&self) -> Meter {
        Meter::new(self.cgroups.clone())
    }

    /// Whether hooks of devices can be run as they expect it.
    pub(crate) fn runs_hooks(&self) -> bool {
        self.namespaces.as_ref().is_some_and(|namespaces| namespaces.right == Right::Root)
    }

    /// Whether groups have a view of the file system of their own.
    pub(crate) const fn has_namespaces(&self) -> bool {
        self.namespaces.is_some()
    }

    /// For the supervisor of a group; `None` where nothing is on.
    ///
    /// # Errors
    /// The group wants what this agent can't do.
    pub(super) fn container(&self, spec: &ContainerSpec) -> Result<Option<Container>, String> {
        let Some(namespaces) = &self.namespaces else {
            return match (spec.read_only, spec.private_network) {
                _ if spec.image.is_some() => Err("container.image: this agent has no namespaces".to_owned()),
                _ if spec.bridge.is_some() => Err("container.bridge: this agent has no namespaces".to_owned()),
                (true, _) => Err("container.read_only: this agent has no namespaces".to_owned()),
                (_, true) => Err("container.private_network: this agent has no namespaces".to_owned()),
                _ if self.cgroups.0.is_empty() && self.seccomp.is_none() => Ok(None),
                _ => Ok(Some(self.container_with(None))),
            };
        };
        if namespaces.right == Right::UserNamespace {
            if spec.bridge.is_some() {
                return Err("container.bridge: expected none, as this agent does not run as root".to_owned());
            }
            if let Some(why) = self.no_layers.as_ref().filter(|_| spec.image.is_some()) {
                return Err(format!("container.image: expected none, as this agent's user can't stack layers: {why}"));
            }
        }
        let namespaces = Namespaces {
            root: if spec.read_only { Root::ReadOnly } else { Root::Shared },
            // That of a bridge is made, and joined, later.
            network: if spec.private_network || spec.bridge.is_some() { Network::Private } else { Network::Host },
            ..namespaces.clone()
        };
        Ok(Some(self.container_with(Some(namespaces))))
    }

    fn container_with(&self, namespaces: Option<Namespaces>) -> Container {
        Container { cgroups: self.cgroups.clone(), namespaces, seccomp: self.seccomp.clone(), mapped: Vec::new() }
    }

    /// A task's cgroup and what it may use.
    pub(super) fn cgroup(&self, task: &Task, key: &TaskKey, limits: &spec::Limits) -> Option<CgroupSpec> {
        if self.cgroups.0.is_empty() {
            return None;
        }
        let requested = task.resources.quantities();
        let asked_bytes = bytes_of_mib(requested.get(&ResourceName::Mem).0);
        let memory_bytes = limits.mem_mib.map_or(0, |mib| mib << 20).max(asked_bytes).max(MIN_MEMORY_BYTES);
        let limits = Limits {
            cpu_share_milli: requested.get(&ResourceName::Cpus).0,
            cpu_max_milli: limits.cpus.map(|cpus| cpus.0),
            memory_bytes: Some(memory_bytes),
            pids: Some(limits.pids.unwrap_or(PIDS)),
        };
        Some(CgroupSpec { name: cgroup_name(key), limits, ports: None })
    }

    /// Ends and removes what is left of these tasks' cgroups. Blocks until all is gone, for ten seconds at most.
    pub(super) fn clear<'a>(&self, tasks: impl IntoIterator<Item = &'a TaskKey>) {
        for task in tasks {
            if let Err(error) = self.cgroups.clear(&cgroup_name(task)) {
                tracing::error!(%task, "what is left of it can't be removed: {error}");
            }
            if self.runtime.is_some()
                && let Err(error) = self.cgroups.clear_beside(&cgroup_name(task))
            {
                tracing::error!(%task, "what its runtime has left can't be removed: {error}");
            }
        }
    }

    /// Groups that belong to none of `tasks`.
    pub(crate) fn strays<'a>(&self, tasks: impl IntoIterator<Item = &'a TaskKey>) -> Vec<String> {
        let known: Vec<String> = tasks.into_iter().map(cgroup_name).collect();
        self.cgroups.groups().into_iter().filter(|name| !known.contains(name)).collect()
    }

    /// Ends and removes groups that an earlier agent left.
    pub(crate) fn clear_strays(&self, names: &[String]) {
        for name in names {
            tracing::info!("the cgroup {name} is left from before; it is removed");
            if let Err(error) = self.cgroups.clear(name) {
                tracing::error!("{error}");
            }
        }
    }

    /// Removes the agent's own folders, if no task is in them.
    pub(crate) fn leave(&self) {
        self.cgroups.remove();
    }
}

/// Whether an agent with these options could keep tasks apart as they ask for it.
///
/// # Errors
/// Says what is missing.
pub fn check_launcher(options: &Options) -> Result<(), AgentError> {
    let mut isolation =
        Isolation::detect(options.launcher, &options.cgroup_root, &options.work_dir, &options.supervisor_exe)?;
    let usable = isolation.leave_images_to(&options.oci_runtime);
    isolation.leave();
    usable
}

pub(crate) fn cgroup_name(task: &TaskKey) -> String {
    format!("{}.{}", task.framework, task.task)
}

/// In a folder that is of no other use.
fn probe_layers(exe: &Path, folder: &Path) -> Result<(), String> {
    let in_folder = |error: std::io::Error| format!("{}: {error}", folder.display());
    removal::remove(folder).map_err(in_folder)?;
    std::fs::create_dir(folder).map_err(in_folder)?;
    let probed = probe_files(exe, folder);
    removal::remove(folder).map_err(in_folder)?;
    probed
}

fn port_ranges(ports: &Ranges) -> Vec<(u16, u16)> {
    let port = |number: u64| u16::try_from(number).unwrap_or(u16::MAX);
    let ranges = ports.iter().filter(|range| range.first <= u16::MAX.into());
    ranges.map(|range| (port(range.first), port(range.last))).collect()
}

/// From thousandths of a MiB.
pub(crate) fn bytes_of_mib(milli: u64) -> u64 {
    u64::try_from(u128::from(milli) * (1 << 20) / 1000).unwrap_or(u64::MAX)
}
