use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::{Attribute, Attributes, Quantities, Share, TaskKey};

#[cfg(test)]
mod tests;

/// A device's name on its agent: stable across reboots and renumbering (vendor UUID, PCI address with serial; never an index).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(Arc<str>);

impl DeviceId {
    /// The longest that is accepted, in bytes.
    pub const MAX_LEN: usize = 200;

    /// The device called `name` by its source.
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// One identified piece of hardware, as its source describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its identity on its agent.
    pub id: DeviceId,
    /// What it is: `gpu`, `fpga`, `loop`.
    pub kind: Arc<str>,
    /// Who made it; may be empty.
    pub vendor: Arc<str>,
    /// Which one it is: `H100`; may be empty. Kind and model together are the device class.
    pub model: Arc<str>,
    /// The order of its generation among those of its vendor; 0 where there is none.
    pub generation: u32,
    /// What else selectors may ask for, capacities (`memory`) among them.
    pub attributes: BTreeMap<Arc<str>, Attribute>,
    /// Where it sits.
    pub topology: Topology,
    /// Whether several tasks may hold it at once.
    pub mode: DeviceMode,
    /// What its source says of its condition.
    pub health: Health,
    /// Device nodes that its tenant opens, absolute paths.
    pub nodes: Vec<Arc<str>>,
    /// What "clean" can be shown by, here.
    pub proof: Proof,
    /// What of its machine's cpus and memory is kept for its tenants, so that work without a device can't strand it.
    pub host_share: Quantities,
}

/// Where a device sits in its machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// The NUMA node that it is attached to.
    pub numa_node: Option<u32>,
    /// The PCI root that it hangs below.
    pub pci_root: Option<Arc<str>>,
    /// The devices that it has a fast link to.
    pub links: BTreeSet<DeviceId>,
}

/// Whether several tasks may hold a device at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceMode {
    /// One tenant at a time.
    #[default]
    Exclusive,
    /// Tenants take slices, in thousandths of its capacity.
    Shared,
}

impl DeviceMode {
    /// The word for it, lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exclusive => "exclusive",
            Self::Shared => "shared",
        }
    }
}

/// A device's condition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// Not discovered yet: nothing is started on it.
    #[default]
    Unknown,
    /// In order.
    Healthy,
    /// Usable, with something to see to.
    Degraded,
    /// Not usable.
    Unhealthy,
    /// Was unhealthy; on trial.
    Probation,
}

impl Health {
    /// Whether a new tenant may get a device in this condition.
    pub const fn is_usable(self) -> bool {
        matches!(self, Self::Healthy | Self::Degraded)
    }

    /// The word for it, lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
            Self::Probation => "probation",
        }
    }
}

/// What shows that a tenant is gone from a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proof {
    /// The tenant's process tree is gone and nothing holds the device node open.
    #[default]
    NodeClosed,
    /// The tenant's process tree is gone; the node can't be watched.
    TreeGone,
}

/// Who may use a device now. Owned by the agent; the master keeps a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceState {
    /// Nobody holds it.
    Free,
    /// Held by this task, as a whole.
    Allocated(TaskKey),
    /// Its tenant is gone or going; it is not handed on before the agent has proof.
    Cleaning {
        /// Counts the tenancies of this device; the agent's `DeviceFree` names it.
        generation: u64,
    },
    /// It could not be cleaned, or what is known of it disagrees; a person decides.
    Quarantined {
        /// Why, for that person.
        reason: Arc<str>,
    },
    /// A shared device of which parts are given out, each to the task that is or was its tenant. What no slice takes is free; there is
    /// at least one slice.
    Sliced(BTreeMap<TaskKey, Slice>),
}

/// A part of a shared device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// How much of the device.
    pub share: Share,
    /// Who may use it.
    pub state: SliceState,
}

/// Who may use a slice. One that is free is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SliceState {
    /// Its tenant.
    Held,
    /// Its tenant is gone or going.
    Cleaning {
        /// Numbers the tenancies of the device at its agent; without meaning at the master.
        generation: u64,
    },
    /// It could not be cleaned; a person decides.
    Quarantined {
        /// Why, for that person.
        reason: Arc<str>,
    },
}

impl DeviceState {
    /// How much of the device has no tenant and is clean.
    pub fn free_share(&self) -> Share {
        match self {
            Self::Free => Share::WHOLE,
            Self::Sliced(slices) => {
                let taken: u32 = slices.values().map(|slice| u32::from(slice.share.0)).sum();
                let left = u32::from(Share::WHOLE.0).saturating_sub(taken);
                Share(u16::try_from(left).expect("it is at most the whole"))
            }
            Self::Allocated(_) | Self::Cleaning { .. } | Self::Quarantined { .. } => Share(0),
        }
    }

    /// Who holds it, or parts of it.
    pub fn holders(&self) -> impl Iterator<Item = (&TaskKey, Share)> {
        let whole = if let Self::Allocated(holder) = self { Some((holder, Share::WHOLE)) } else { None };
        let held = self.slices().filter(|(_, slice)| slice.state == SliceState::Held);
        whole.into_iter().chain(held.map(|(holder, slice)| (holder, slice.share)))
    }

    /// Its slices, whatever their state.
    pub fn slices(&self) -> impl Iterator<Item = (&TaskKey, &Slice)> {
        let slices = if let Self::Sliced(slices) = self { Some(slices) } else { None };
        slices.into_iter().flatten()
    }

    /// Whether the task holds it, or a part of it.
    pub fn is_held_by(&self, task: &TaskKey) -> bool {
        self.holders().any(|(holder, _)| holder == task)
    }

    /// Gives `share` of a device of `mode` to the task. The caller has seen that so much is free.
    pub fn give(&mut self, mode: DeviceMode, task: &TaskKey, share: Share) {
        match self {
            Self::Sliced(slices) => drop(slices.insert(task.clone(), Slice { share, state: SliceState::Held })),
            _ if mode == DeviceMode::Shared => {
                *self = Self::Sliced(BTreeMap::from([(task.clone(), Slice { share, state: SliceState::Held })]));
            }
            _ => *self = Self::Allocated(task.clone()),
        }
    }

    /// What was given to the task is free at once, for it never used it; false if it holds nothing.
    pub fn take_back(&mut self, task: &TaskKey) -> bool {
        match self {
            Self::Allocated(holder) if holder == task => *self = Self::Free,
            Self::Sliced(slices) if slices.get(task).is_some_and(|slice| slice.state == SliceState::Held) => {
                slices.remove(task);
                if slices.is_empty() {
                    *self = Self::Free;
                }
            }
            _ => return false,
        }
        true
    }

    /// What the task holds of it is to be cleaned from now on; false if it holds nothing.
    pub fn soil(&mut self, task: &TaskKey, generation: u64) -> bool {
        match self {
            Self::Allocated(holder) if holder == task => *self = Self::Cleaning { generation },
            Self::Sliced(slices) => {
                let Some(slice) = slices.get_mut(task).filter(|slice| slice.state == SliceState::Held) else {
                    return false;
                };
                slice.state = SliceState::Cleaning { generation };
            }
            _ => return false,
        }
        true
    }

    /// The slice that the task left is clean and free: how much it was. Nothing, if it is not being cleaned.
    pub fn free_slice(&mut self, task: &TaskKey) -> Option<Share> {
        let Self::Sliced(slices) = self else { return None };
        let share = slices.get(task).filter(|slice| matches!(slice.state, SliceState::Cleaning { .. }))?.share;
        slices.remove(task);
        if slices.is_empty() {
            *self = Self::Free;
        }
        Some(share)
    }
}

/// A device and its state, as the agent reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceReport {
    /// The device.
    pub device: Arc<Device>,
    /// Who may use it.
    pub state: DeviceState,
}

impl Attributes for Device {
    fn attribute(&self, name: &str) -> Option<Attribute> {
        match name {
            "id" => Some(Attribute::text(self.id.as_str())),
            "kind" => Some(Attribute::Text(self.kind.clone())),
            "vendor" => Some(Attribute::Text(self.vendor.clone())),
            "model" => Some(Attribute::Text(self.model.clone())),
            "generation" => Some(Attribute::Int(i64::from(self.generation))),
            "numa_node" => self.topology.numa_node.map(|node| Attribute::Int(i64::from(node))),
            "mode" => Some(Attribute::text(self.mode.as_str())),
            "pci_root" => self.topology.pci_root.clone().map(Attribute::Text),
            _ => self.attributes.get(name).cloned(),
        }
    }
}
