//! The cgroup of one task.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, unlinkat};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::{CgroupError, Controller, DeviceRule, Hierarchies, Hierarchy, Limits, PortRule, Version, bpf, ports};

/// How long all processes of a group may take to be frozen before they are killed unfrozen.
const FREEZE: Duration = Duration::from_millis(50);
const LOOK_AGAIN: Duration = Duration::from_micros(200);
const PERIOD_US: u64 = 100_000;
/// The smallest quota that the kernel takes.
const MIN_QUOTA_US: u64 = 1000;
/// How a group's own folder is opened.
const OWN: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A folder of the same name in each hierarchy. It is reached by descriptors, so it stays reachable from another mount namespace.
#[derive(Debug)]
pub struct Group {
    name: String,
    folders: Vec<Folder>,
}

#[derive(Debug)]
struct Folder {
    hierarchy: Hierarchy,
    parent: OwnedFd,
    own: OwnedFd,
}

/// Whether a process is born in the group's folder of version 2, or has yet to enter it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Birth {
    /// It was born there.
    Inside,
    /// It was born elsewhere.
    Outside,
}

/// What a group has used. Fields that no controller tells are absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Processor time of all its processes, microseconds.
    pub cpu_us: Option<u64>,
    /// Memory in use now, bytes; what files of the page cache take is counted too.
    pub memory_bytes: Option<u64>,
    /// The most memory that was in use.
    pub memory_peak_bytes: Option<u64>,
    /// The most that it may use; absent if there is no limit.
    pub memory_limit_bytes: Option<u64>,
    /// Processes that were killed because there was no memory left under the limit.
    pub memory_kills: Option<u64>,
    /// Processes and threads now.
    pub pids: Option<u64>,
    /// Bytes read from block devices.
    pub read_bytes: Option<u64>,
    /// Bytes written to block devices.
    pub written_bytes: Option<u64>,
    /// Periods in which its limit of processor time was looked at.
    pub periods: Option<u64>,
    /// Periods in which it was held back by that limit.
    pub throttled_periods: Option<u64>,
    /// For how long it was held back, in all, microseconds.
    pub throttled_us: Option<u64>,
    /// Disk that its sandbox takes, bytes; measured by the agent, and only where there is a limit.
    pub disk_bytes: Option<u64>,
}

impl Stats {
    /// Adds another's figures to these, where either is known.
    pub(crate) fn add(&mut self, other: &Self) {
        let add = |own: &mut Option<u64>, other: Option<u64>| {
            if let Some(other) = other {
                *own = Some(own.unwrap_or(0).saturating_add(other));
            }
        };
        add(&mut self.cpu_us, other.cpu_us);
        add(&mut self.memory_bytes, other.memory_bytes);
        add(&mut self.memory_peak_bytes, other.memory_peak_bytes);
        add(&mut self.memory_limit_bytes, other.memory_limit_bytes);
        add(&mut self.memory_kills, other.memory_kills);
        add(&mut self.pids, other.pids);
        add(&mut self.read_bytes, other.read_bytes);
        add(&mut self.written_bytes, other.written_bytes);
        add(&mut self.periods, other.periods);
        add(&mut self.throttled_periods, other.throttled_periods);
        add(&mut self.throttled_us, other.throttled_us);
        add(&mut self.disk_bytes, other.disk_bytes);
    }
}

impl Group {
    /// Makes the group with its limits. `devices` are the nodes that may be opened; without rules there is no device control.
    ///
    /// # Errors
    /// It exists, or a limit can't be set; nothing of it is left then.
    pub fn create(
        hierarchies: &Hierarchies,
        name: &str,
        limits: &Limits,
        devices: Option<&[DeviceRule]>,
    ) -> Result<Self, CgroupError> {
        let mut group = Self { name: name.to_owned(), folders: Vec::new() };
        let made = hierarchies.0.iter().try_for_each(|hierarchy| {
            let folder = Folder::create(hierarchy, name)?;
            let set = folder.limit(limits).and_then(|()| devices.map_or(Ok(()), |rules| folder.control(rules)));
            group.folders.push(folder);
            set
        });
        if let Err(error) = made {
            // The first error says more than that what was made can't be removed; the agent's next start removes it.
            let _left = group.remove();
            return Err(error);
        }
        Ok(group)
    }

    /// Keeps the group's processes from ports that are others', instead of what [`Hierarchies::guard_ports`] says of all groups.
    ///
    /// # Errors
    /// The kernel does not take it.
    pub fn guard_ports(&self, rule: &PortRule) -> Result<(), CgroupError> {
        let Some(unified) = self.folders.iter().find(|folder| folder.hierarchy.version == Version::V2) else {
            return Ok(());
        };
        ports::control(unified.own.as_fd(), rule, bpf::Reach::Always)
            .map_err(CgroupError::at(&unified.hierarchy.folder))
    }

    /// A group that was made before, by whatever part of it is left; `None` if nothing is.
    ///
    /// # Errors
    /// It can't be opened.
    pub fn open(hierarchies: &Hierarchies, name: &str) -> Result<Option<Self>, CgroupError> {
        let mut folders = Vec::new();
        for hierarchy in &hierarchies.0 {
            match Folder::open(hierarchy, name) {
                Ok(folder) => folders.push(folder),
                Err(error) if error.source.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok((!folders.is_empty()).then(|| Self { name: name.to_owned(), folders }))
    }

    /// Files to which a process with only one thread writes `0` to enter the group, one for each hierarchy.
    ///
    /// # Errors
    /// They can't be opened.
    pub fn entrances(&self, birth: Birth) -> Result<Vec<File>, CgroupError> {
        let wanted = |folder: &&Folder| birth == Birth::Outside || folder.hierarchy.version == Version::V1;
        // In version 1 by thread: to move a whole process, the kernel first waits until all processors have passed through it, which
        // takes milliseconds.
        let name = |folder: &Folder| if folder.hierarchy.version == Version::V1 { "tasks" } else { "cgroup.procs" };
        self.folders.iter().filter(wanted).map(|folder| folder.file(name(folder), OFlags::WRONLY)).collect()
    }

    /// The entrance to the folder of version 2, where version 1 has the controllers: what an OCI runtime does not enter by itself.
    ///
    /// # Errors
    /// It can't be opened.
    pub fn entrance_beside(&self) -> Result<Option<File>, CgroupError> {
        let is_beside = self.folders.iter().any(|folder| folder.hierarchy.version == Version::V1);
        let unified = self.folders.iter().find(|folder| is_beside && folder.hierarchy.version == Version::V2);
        unified.map(|folder| folder.file("cgroup.procs", OFlags::WRONLY)).transpose()
    }

    /// The folder in which a process can be born (`CLONE_INTO_CGROUP`), if there is version 2.
    pub fn cradle(&self) -> Option<BorrowedFd<'_>> {
        let folder = self.folders.iter().find(|folder| folder.hierarchy.version == Version::V2)?;
        Some(folder.own.as_fd())
    }

    /// Processes in the group, by their ids as the caller sees them.
    ///
    /// # Errors
    /// The list can't be read.
    pub fn processes(&self) -> Result<Vec<i32>, CgroupError> {
        let Some(folder) = self.folders.first() else { return Ok(Vec::new()) };
        let list = folder.read("cgroup.procs")?;
        // A process of a namespace that the caller does not see into is listed as 0.
        Ok(list.lines().filter_map(|pid| pid.parse().ok()).filter(|pid| *pid > 0).collect())
    }

    /// Sends SIGKILL to every process in the group, also to those that are frozen, and to those that are being forked meanwhile. Answers
    /// how many there were. They may take a moment to be gone.
    ///
    /// # Errors
    /// The group can't be told.
    pub fn kill(&self) -> Result<usize, CgroupError> {
        let before = self.processes()?;
        if before.is_empty() {
            return Ok(0);
        }
        if let Some(unified) = self.folder(Version::V2, Controller::Freezer) {
            match unified.write("cgroup.kill", "1") {
                // Kernels before 5.14 have no such file.
                Err(error) if error.source.kind() == ErrorKind::NotFound => {}
                result => return result.map(|()| before.len()),
            }
        }
        self.freeze()?;
        let frozen = self.signal(Signal::KILL);
        self.thaw()?;
        frozen
    }

    /// Stops every process of the group and waits a moment until all are stopped.
    ///
    /// # Errors
    /// The group can't be told.
    pub fn freeze(&self) -> Result<(), CgroupError> {
        let Some(folder) = self.freezer() else { return Ok(()) };
        let (file, order, state, done) = match folder.hierarchy.version {
            Version::V2 => ("cgroup.freeze", "1", "cgroup.events", "frozen 1"),
            Version::V1 => ("freezer.state", "FROZEN", "freezer.state", "FROZEN"),
        };
        folder.write(file, order)?;
        let end = Instant::now() + FREEZE;
        while !folder.read(state)?.lines().any(|line| line == done) && Instant::now() < end {
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    /// Lets the processes of the group run again.
    ///
    /// # Errors
    /// The group can't be told.
    pub fn thaw(&self) -> Result<(), CgroupError> {
        let Some(folder) = self.freezer() else { return Ok(()) };
        match folder.hierarchy.version {
            Version::V2 => folder.write("cgroup.freeze", "0"),
            Version::V1 => folder.write("freezer.state", "THAWED"),
        }
    }

    fn freezer(&self) -> Option<&Folder> {
        self.folder(Version::V2, Controller::Freezer).or_else(|| self.folder(Version::V1, Controller::Freezer))
    }

    fn signal(&self, signal: Signal) -> Result<usize, CgroupError> {
        let processes = self.processes()?;
        for pid in processes.iter().filter_map(|pid| Pid::from_raw(*pid)) {
            // One that is gone needs no signal.
            let _gone = kill_process(pid, signal);
        }
        Ok(processes.len())
    }

    /// What it has used up to now.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        self.folders.iter().for_each(|folder| folder.tell(&mut stats));
        stats
    }

    /// Removes the group; it must be empty. One that is gone is no error.
    ///
    /// # Errors
    /// A process is in it (`ResourceBusy`).
    pub fn remove(&self) -> Result<(), CgroupError> {
        for folder in &self.folders {
            match unlinkat(&folder.parent, &*self.name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(rustix::io::Errno::NOENT) => {}
                Err(error) => return Err(CgroupError::at(folder.hierarchy.folder.join(&self.name))(error.into())),
            }
        }
        Ok(())
    }

    fn folder(&self, version: Version, controller: Controller) -> Option<&Folder> {
        let has = |folder: &&Folder| {
            folder.hierarchy.version == version && folder.hierarchy.controllers.contains(&controller)
        };
        self.folders.iter().find(has)
    }
}

impl Folder {
    fn create(hierarchy: &Hierarchy, name: &str) -> Result<Self, CgroupError> {
        let parent = parent(hierarchy)?;
        mkdirat(&parent, name, Mode::from_raw_mode(0o755))
            .map_err(|error| CgroupError::at(hierarchy.folder.join(name))(error.into()))?;
        Self::below(hierarchy, parent, name)
    }

    /// First its own folder, then the one above: mostly there is none, as the supervisor has removed it.
    fn open(hierarchy: &Hierarchy, name: &str) -> Result<Self, CgroupError> {
        let path = hierarchy.folder.join(name);
        let own = rustix::fs::open(&path, OWN, Mode::empty()).map_err(|error| CgroupError::at(&path)(error.into()))?;
        Ok(Self { hierarchy: Hierarchy { folder: path, ..hierarchy.clone() }, parent: parent(hierarchy)?, own })
    }

    fn below(hierarchy: &Hierarchy, parent: OwnedFd, name: &str) -> Result<Self, CgroupError> {
        let path = hierarchy.folder.join(name);
        let own = openat(&parent, name, OWN, Mode::empty()).map_err(|error| CgroupError::at(&path)(error.into()))?;
        Ok(Self { hierarchy: Hierarchy { folder: path, ..hierarchy.clone() }, parent, own })
    }

    fn has(&self, controller: Controller) -> bool {
        self.hierarchy.controllers.contains(&controller)
    }

    fn limit(&self, limits: &Limits) -> Result<(), CgroupError> {
        for (controller, file, value) in settings(self.hierarchy.version, limits) {
            if self.has(controller) {
                self.write(file, &value)?;
            }
        }
        if let (true, Some(bytes)) = (self.has(Controller::Memory), limits.memory_bytes) {
            let (file, value) = match self.hierarchy.version {
                Version::V1 => ("memory.memsw.limit_in_bytes", bytes),
                Version::V2 => ("memory.swap.max", 0),
            };
            // There is no such file where swap is not accounted.
            self.write(file, &value.to_string()).or_else(absent_is_fine)?;
        }
        Ok(())
    }

    fn control(&self, rules: &[DeviceRule]) -> Result<(), CgroupError> {
        if !self.has(Controller::Devices) {
            return Ok(());
        }
        match self.hierarchy.version {
            Version::V2 => bpf::control(self.own.as_fd(), rules).map_err(CgroupError::at(&self.hierarchy.folder)),
            Version::V1 => {
                self.write("devices.deny", "a")?;
                let mut allow = self.file("devices.allow", OFlags::WRONLY)?;
                // The kernel takes one rule with each write.
                let written = rules.iter().try_for_each(|rule| allow.write_all(rule.line().as_bytes()));
                written.map_err(CgroupError::at(self.path("devices.allow")))
            }
        }
    }

    fn tell(&self, stats: &mut Stats) {
        let number = |file: &str| self.read(file).ok()?.trim().parse::<u64>().ok();
        let of = |file: &str, key: &str| field(&self.read(file).ok()?, key);
        self.tell_cpu(stats);
        if self.has(Controller::Pids) {
            stats.pids = number("pids.current");
        }
        match self.hierarchy.version {
            Version::V1 if self.has(Controller::Memory) => {
                stats.memory_bytes = number("memory.usage_in_bytes");
                stats.memory_peak_bytes = number("memory.max_usage_in_bytes");
                stats.memory_limit_bytes = number("memory.limit_in_bytes");
                stats.memory_kills = of("memory.oom_control", "oom_kill");
            }
            Version::V2 if self.has(Controller::Memory) => {
                stats.memory_bytes = number("memory.current");
                stats.memory_peak_bytes = number("memory.peak");
                stats.memory_limit_bytes = number("memory.max");
                stats.memory_kills = of("memory.events", "oom_kill");
            }
            _ => {}
        }
        if self.has(Controller::Io) {
            let text = match self.hierarchy.version {
                Version::V1 => self.read("blkio.throttle.io_service_bytes"),
                Version::V2 => self.read("io.stat"),
            };
            let text = text.unwrap_or_default();
            stats.read_bytes = Some(sum(&text, ["Read", "rbytes"]));
            stats.written_bytes = Some(sum(&text, ["Write", "wbytes"]));
        }
    }

    fn tell_cpu(&self, stats: &mut Stats) {
        let is_v2 = self.hierarchy.version == Version::V2;
        if !is_v2 && self.has(Controller::CpuAcct) {
            let used_ns = self.read("cpuacct.usage").ok().and_then(|text| text.trim().parse::<u64>().ok());
            stats.cpu_us = used_ns.map(|ns| ns / 1000);
        }
        if !is_v2 && !self.has(Controller::Cpu) {
            return;
        }
        let text = self.read("cpu.stat").unwrap_or_default();
        if is_v2 {
            stats.cpu_us = field(&text, "usage_usec");
        }
        if self.has(Controller::Cpu) {
            stats.periods = field(&text, "nr_periods");
            stats.throttled_periods = field(&text, "nr_throttled");
            let throttled_us = || field(&text, "throttled_usec");
            stats.throttled_us =
                if is_v2 { throttled_us() } else { field(&text, "throttled_time").map(|ns| ns / 1000) };
        }
    }

    fn file(&self, name: &str, flags: OFlags) -> Result<File, CgroupError> {
        let opened = openat(&self.own, name, flags | OFlags::CLOEXEC, Mode::empty());
        opened.map(File::from).map_err(|error| CgroupError::at(self.path(name))(error.into()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.hierarchy.folder.join(name)
    }

    fn write(&self, name: &str, value: &str) -> Result<(), CgroupError> {
        self.file(name, OFlags::WRONLY)?.write_all(value.as_bytes()).map_err(CgroupError::at(self.path(name)))
    }

    fn read(&self, name: &str) -> Result<String, CgroupError> {
        let mut text = String::new();
        self.file(name, OFlags::RDONLY)?.read_to_string(&mut text).map_err(CgroupError::at(self.path(name)))?;
        Ok(text)
    }
}

fn parent(hierarchy: &Hierarchy) -> Result<OwnedFd, CgroupError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(&hierarchy.folder, flags, Mode::empty())
        .map_err(|error| CgroupError::at(&hierarchy.folder)(error.into()))
}

/// What is to be written where.
fn settings(version: Version, limits: &Limits) -> Vec<(Controller, &'static str, String)> {
    let mut settings = Vec::new();
    let mut set = |controller, file, value: String| settings.push((controller, file, value));
    let quota = limits.cpu_max_milli.map(|milli| (milli * (PERIOD_US / 1000)).max(MIN_QUOTA_US));
    match version {
        Version::V1 => {
            set(Controller::Cpu, "cpu.shares", (limits.cpu_share_milli * 1024 / 1000).clamp(2, 262_144).to_string());
            if let Some(quota) = quota {
                set(Controller::Cpu, "cpu.cfs_period_us", PERIOD_US.to_string());
                set(Controller::Cpu, "cpu.cfs_quota_us", quota.to_string());
            }
            if let Some(bytes) = limits.memory_bytes {
                set(Controller::Memory, "memory.limit_in_bytes", bytes.to_string());
            }
        }
        Version::V2 => {
            // One core is the weight that the kernel gives by default.
            set(Controller::Cpu, "cpu.weight", (limits.cpu_share_milli / 10).clamp(1, 10_000).to_string());
            if let Some(quota) = quota {
                set(Controller::Cpu, "cpu.max", format!("{quota} {PERIOD_US}"));
            }
            if let Some(bytes) = limits.memory_bytes {
                set(Controller::Memory, "memory.max", bytes.to_string());
                // A task of which a part was killed is of no use; all of it ends.
                set(Controller::Memory, "memory.oom.group", "1".to_owned());
            }
        }
    }
    if let Some(pids) = limits.pids {
        set(Controller::Pids, "pids.max", pids.to_string());
    }
    settings
}

fn absent_is_fine(error: CgroupError) -> Result<(), CgroupError> {
    if error.source.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// The number after `key` on a line of its own.
fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The sum over all devices of `8:0 Read 4096` and `8:0 rbytes=4096 …`.
fn sum(text: &str, names: [&str; 2]) -> u64 {
    let of_line = |line: &str| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let first = words.next()?;
        if first == names[0] {
            return words.next()?.parse::<u64>().ok();
        }
        std::iter::once(first)
            .chain(words)
            .find_map(|word| word.strip_prefix(names[1])?.strip_prefix('=')?.parse().ok())
    };
    text.lines().filter_map(of_line).sum()
}

/// Enters a group by its [`entrances`](Group::entrances). Safe between fork and exec: it only makes system calls.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn enter(entrances: &[File]) -> io::Result<()> {
    entrances.iter().try_for_each(|entrance| rustix::io::write(entrance, b"0").map(drop).map_err(io::Error::from))
}
