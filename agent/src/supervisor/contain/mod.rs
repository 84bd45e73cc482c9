//! Keeping a group apart from the machine: cgroups, namespaces, and no more privileges than it needs.
//!
//! The agent spawns the supervisor as the first process of a new PID namespace. Here it makes the cgroups of the members and leaves the
//! machine's mount, IPC and UTS namespaces. It makes the group's own `/proc`, `/dev` and `/tmp`, hides what belongs to the agent, and gives
//! up for its children, for ever, what they must not have. Members enter their cgroups between fork and exec ([`Entry`]).

mod dev;
mod image;
mod layers;
mod mounts;
mod privileges;
mod temporary;
mod users;

pub(super) use image::{as_root_within, mount_overlay as mount_layers};
pub(super) use layers::probe_layers;
pub(super) use mounts::{Shown, mount_proc};
pub(super) use temporary::{is_temporary, is_untouched};
pub(super) use users::{probe_map, stay as stay_user};

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use seccompiler::BpfProgram;

use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::UnshareFlags;

use super::edits::When;
use super::hooks::{HookError, Hooks};
use super::protocol::{Right, Spec, TaskSpec, UserRange};
use super::runtime::Runtime;
use super::stdio::Leads;
use super::sys;
use crate::cgroup::{self, CgroupError, Controller, DeviceRule};
use crate::{crash, seccomp};

/// Why a group can't be kept apart.
#[derive(Debug, thiserror::Error)]
pub(super) enum ContainError {
    #[error("{attempt}: {source}")]
    System { attempt: String, source: io::Error },
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error(transparent)]
    Hook(#[from] HookError),
}

impl ContainError {
    pub(super) fn at<E: Into<io::Error>>(attempt: impl Into<String>) -> impl FnOnce(E) -> Self {
        move |source| Self::System { attempt: attempt.into(), source: source.into() }
    }
}

/// What the members are held by.
#[derive(Default)]
pub(super) struct Contained {
    /// Of each member.
    pub(super) cgroups: Vec<Option<cgroup::Group>>,
    /// What says which system calls may be made.
    pub(super) seccomp: Arc<[BpfProgram]>,
    /// The namespace in which the members' users are, if that is one of their own.
    pub(super) users: Option<Arc<OwnedFd>>,
    /// What is still to be run for its devices.
    pub(super) hooks: Option<Hooks>,
    /// What runs the members, if this process does not.
    pub(super) runtime: Option<Runtime>,
}

/// Makes what the spec asks for. `pid` is this process's as the machine knows it.
pub(super) fn enter(spec: &Spec, pid: i32) -> Result<Contained, ContainError> {
    let Some(container) = &spec.container else {
        return Ok(Contained { cgroups: spec.tasks.iter().map(|_| None).collect(), ..Contained::default() });
    };
    let load = |path: &PathBuf| seccomp::load(path).map_err(ContainError::at(path.display().to_string()));
    let seccomp = container.seccomp.as_ref().map(load).transpose()?.unwrap_or_default().into();
    let mut groups = Vec::new();
    let result = spec.tasks.iter().try_for_each(|task| {
        groups.push(group(&container.cgroups, task)?);
        crash::point("contain: with a cgroup");
        Ok(())
    });
    let by_runtime = container.namespaces.as_ref().is_some_and(|namespaces| namespaces.runtime().is_some());
    // A runtime has those of each member in its configuration.
    let hooks = if by_runtime { None } else { Hooks::of(spec, pid).map_err(ContainError::at("hooks"))? };
    let run = |when| hooks.as_ref().map_or(Ok(()), |hooks| hooks.run(when, None)).map_err(ContainError::Hook);
    let result = result.and_then(|()| run(When::Prestart)).and_then(|()| run(When::CreateRuntime));
    let result = result.and_then(|()| users::make(spec.tasks[0].users));
    let result = result.and_then(|users| {
        let own = users.as_ref().zip(spec.tasks[0].users).map(|(namespace, range)| Users { namespace, range });
        let runtime = match &container.namespaces {
            Some(namespaces) => mounts::enter(namespaces, container, &spec.tasks, hooks.as_ref(), own)?,
            None => None,
        };
        Ok((runtime, users))
    });
    crash::point("contain: with mounts");
    let reduce = || if by_runtime { privileges::hide() } else { privileges::reduce() };
    let result = result.and_then(|made| reduce().map(|()| made).map_err(ContainError::at("privileges")));
    let result = result.and_then(|made| run(When::StartContainer).map(|()| made));
    if result.is_err() {
        remove(&groups);
    }
    result.map(|(runtime, users)| Contained { cgroups: groups, seccomp, users: users.map(Arc::new), hooks, runtime })
}

/// A group's own users.
#[derive(Clone, Copy)]
pub(super) struct Users<'a> {
    namespace: &'a OwnedFd,
    range: UserRange,
}

impl Users<'_> {
    /// Who they are on the machine.
    pub(super) const fn range(&self) -> UserRange {
        self.range
    }

    /// Shows what lies at `path`, with nothing that is mounted below, as the users' own at `place`.
    pub(super) fn map(&self, path: &Path, place: &Path) -> Result<(), ContainError> {
        let mapped = users::map(path, place, self.namespace);
        mapped.map_err(ContainError::at(format!("{} for the group's users", path.display())))
    }

    /// Who is root within.
    const fn root(self) -> (u32, u32) {
        (self.range.first, self.range.first)
    }
}

/// Whether this process may make namespaces as [`enter`] does: makes them, in a thread that ends.
///
/// # Errors
/// What the kernel or its configuration does not allow.
pub(crate) fn probe() -> Result<(), String> {
    let probe = || mounts::probe(UnshareFlags::NEWPID, Right::Root).map_err(|error| error.to_string());
    std::thread::scope(|scope| scope.spawn(probe).join()).expect("it does not panic")
}

/// The same for the first process of a user namespace and a PID namespace, which is of no other use afterwards.
///
/// # Errors
/// What the kernel or its configuration does not allow.
pub(super) fn probe_as_user() -> Result<(), ContainError> {
    mounts::probe(UnshareFlags::empty(), Right::UserNamespace)
}

fn group(hierarchies: &cgroup::Hierarchies, task: &TaskSpec) -> Result<Option<cgroup::Group>, ContainError> {
    let Some(cgroup) = &task.cgroup else { return Ok(None) };
    let rules = hierarchies.of(Controller::Devices).map(|_| rules(task)).transpose()?;
    let create = || cgroup::Group::create(hierarchies, &cgroup.name, &cgroup.limits, rules.as_deref());
    let group = match create() {
        // It is left from a supervisor that has died, and was never entered: this group starts for the first time.
        Err(error) if error.source.kind() == io::ErrorKind::AlreadyExists => {
            hierarchies.clear(&cgroup.name)?;
            create()?
        }
        created => created?,
    };
    if let Some(Err(error)) = cgroup.ports.as_ref().map(|ports| group.guard_ports(ports)) {
        // The first error says more.
        let _left = group.remove();
        return Err(error.into());
    }
    Ok(Some(group))
}

fn rules(task: &TaskSpec) -> Result<Vec<DeviceRule>, ContainError> {
    let mut rules = DeviceRule::BASE.to_vec();
    for node in task.devices.iter().chain(task.edits.nodes.iter().map(|node| &node.from)) {
        rules.push(DeviceRule::of(node).map_err(ContainError::at(format!("device node {}", node.display())))?);
    }
    Ok(rules)
}

/// Removes cgroups that are empty.
pub(super) fn remove<'a>(groups: impl IntoIterator<Item = &'a Option<cgroup::Group>>) {
    for group in groups.into_iter().flatten() {
        if let Err(error) = group.remove() {
            // The agent removes it.
            super::store::note(&error.to_string());
        }
    }
}

/// What one member is held by.
#[derive(Clone, Copy)]
pub(super) struct Held<'a> {
    pub(super) cgroup: Option<&'a cgroup::Group>,
    pub(super) seccomp: &'a Arc<[BpfProgram]>,
    pub(super) users: Option<&'a Arc<OwnedFd>>,
    pub(super) runtime: Option<&'a Runtime>,
}

/// What a member does between fork and exec.
pub(super) struct Entry {
    /// Written to, to enter its cgroup.
    pub(super) entrances: Vec<File>,
    pub(super) user: Option<(u32, u32)>,
    pub(super) rlimits: Vec<(Resource, Rlimit)>,
    pub(super) leads: Leads,
    pub(super) users: Option<Arc<OwnedFd>>,
    pub(super) seccomp: Arc<[BpfProgram]>,
}

impl Entry {
    pub(super) fn new(held: Held<'_>, birth: cgroup::Birth) -> io::Result<Self> {
        let entrances = held.cgroup.map_or_else(|| Ok(Vec::new()), |group| group.entrances(birth));
        let entrances = entrances.map_err(io::Error::other)?;
        Ok(Self {
            entrances,
            user: None,
            rlimits: Vec::new(),
            leads: Leads::Group,
            users: held.users.cloned(),
            seccomp: held.seccomp.clone(),
        })
    }

    /// The last step before exec. Only makes system calls.
    pub(super) fn confine(&self) -> io::Result<()> {
        seccomp::install(&self.seccomp)
    }

    /// Takes these steps. Only makes system calls.
    pub(super) fn take(&self) -> io::Result<()> {
        cgroup::enter(&self.entrances)?;
        for (resource, limit) in &self.rlimits {
            setrlimit(*resource, *limit)?;
        }
        sys::lead(self.leads)?;
        // Only now: entering needs the supervisor's rights.
        if let Some(users) = &self.users {
            users::enter(users)?;
            let (uid, gid) = self.user.unwrap_or((0, 0));
            return sys::become_user(uid, gid);
        }
        self.user.map_or(Ok(()), |(uid, gid)| sys::become_user(uid, gid))
    }
}
