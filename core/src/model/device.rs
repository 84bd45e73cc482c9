use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::{Attribute, Attributes, TaskKey};

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
    /// Held by these tasks (one, unless the device is shared), with how much of it in thousandths.
    Allocated(BTreeMap<TaskKey, u16>),
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
            "pci_root" => self.topology.pci_root.clone().map(Attribute::Text),
            _ => self.attributes.get(name).cloned(),
        }
    }
}
