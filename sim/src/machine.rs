//! A virtual machine: what the kernel and the supervisors know. It lives on when its agent crashes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rialto_core::agent::End;
use rialto_core::model::{Device, DeviceId, TaskKey};

/// What runs, what has ended and is not forgotten, and what state the devices are really in.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    pub(crate) processes: BTreeMap<TaskKey, Process>,
    /// Devices, and slices of them, that were used and not cleaned since: whose it was, and how many thousandths.
    pub(crate) dirty: BTreeMap<(DeviceId, TaskKey), u16>,
    /// Devices that their source calls unhealthy now.
    pub(crate) sick: BTreeSet<DeviceId>,
    /// Devices that their source does not see now.
    pub(crate) missing: BTreeSet<DeviceId>,
}

/// A task's process, or what its supervisor remembers of it.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) leader: TaskKey,
    pub(crate) phase: Phase,
    pub(crate) killed: bool,
    /// With how many thousandths of each.
    pub(crate) devices: Vec<(DeviceId, u16)>,
    pub(crate) run: Option<Duration>,
    pub(crate) exit: u8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Starting,
    Running,
    Ended(End),
}

impl Process {
    pub(crate) fn is_live(&self) -> bool {
        !matches!(self.phase, Phase::Ended(_))
    }
}

impl Machine {
    /// The members of a group that have not ended.
    pub(crate) fn live_members(&self, leader: &TaskKey) -> Vec<TaskKey> {
        let of_it = self.processes.iter().filter(|(_, process)| process.leader == *leader && process.is_live());
        of_it.map(|(key, _)| key.clone()).collect()
    }

    /// A process that has that device open; that of `slice`, if it is given.
    pub(crate) fn holder(&self, device: &DeviceId, slice: Option<&TaskKey>) -> Option<&TaskKey> {
        let holds = |process: &Process| process.is_live() && process.devices.iter().any(|(held, _)| held == device);
        let asked = |key: &TaskKey| slice.is_none_or(|slice| slice == key);
        self.processes.iter().find(|(key, process)| holds(process) && asked(key)).map(|(key, _)| key)
    }

    /// How many thousandths of the device are held or not cleaned since, and by whom.
    pub(crate) fn taken(&self, device: &DeviceId) -> (u32, Vec<&TaskKey>) {
        let dirty = self.dirty.iter().filter(|((dirty, _), _)| dirty == device);
        let (tasks, shares): (Vec<_>, Vec<_>) = dirty.map(|((_, task), share)| (task, u32::from(*share))).unzip();
        (shares.into_iter().sum(), tasks)
    }

    /// The device is clean, or the slice that a task had.
    pub(crate) fn clean(&mut self, device: &DeviceId, slice: Option<&TaskKey>) {
        self.dirty.retain(|(dirty, task), _| dirty != device || slice.is_some_and(|slice| slice != task));
    }

    /// What the device source tells now.
    pub(crate) fn discover(&self, devices: &[Device]) -> Vec<Device> {
        let here = devices.iter().filter(|device| !self.missing.contains(&device.id));
        here.map(|device| {
            let sick = self.sick.contains(&device.id);
            let health = if sick { rialto_core::model::Health::Unhealthy } else { device.health };
            Device { health, ..device.clone() }
        })
        .collect()
    }
}
