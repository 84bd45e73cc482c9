use std::collections::BTreeMap;
use std::sync::Arc;

use rialto_core::model::{Device, DeviceMode, DeviceReport, DeviceState, Health, Proof, Share, TaskKey, Topology};

use super::claims::check_kind;
use super::error::{At, Converted};
use super::fields::at_most;
use super::{
    Wire, attributes, expected, inside, limits, list, one_of, optional_text, required, text, to_attributes, to_list,
    to_prose, wire_enum,
};
use crate::v1;
use crate::v1::device_state::State;

wire_enum!(Health, v1::Health, { Unknown, Healthy, Degraded, Unhealthy, Probation });
wire_enum!(Proof, v1::Proof, { NodeClosed, TreeGone });

impl Wire for Device {
    type Message = v1::Device;

    fn to_wire(&self) -> v1::Device {
        v1::Device {
            id: self.id.to_wire(),
            kind: self.kind.as_ref().to_owned(),
            vendor: self.vendor.as_ref().to_owned(),
            model: self.model.as_ref().to_owned(),
            generation: self.generation,
            attributes: to_attributes(&self.attributes),
            numa_node: self.topology.numa_node,
            pci_root: self.topology.pci_root.as_ref().map(|root| root.as_ref().to_owned()),
            links: to_list(&self.topology.links),
            shared: self.mode == DeviceMode::Shared,
            health: self.health.to_wire(),
            nodes: self.nodes.iter().map(|node| node.as_ref().to_owned()).collect(),
            proof: self.proof.to_wire(),
        }
    }

    fn from_wire(device: v1::Device) -> Converted<Self> {
        check_kind(&device.kind).at("kind")?;
        let topology = Topology {
            numa_node: device.numa_node,
            pci_root: optional_text(device.pci_root, "pci_root")?,
            links: list(device.links, "links", limits::MAX_DEVICE_LINKS)?,
        };
        Ok(Self {
            id: inside(device.id, "id")?,
            kind: device.kind.into(),
            vendor: text(&device.vendor, "vendor")?,
            model: text(&device.model, "model")?,
            generation: device.generation,
            attributes: attributes(device.attributes, "attributes")?,
            topology,
            mode: if device.shared { DeviceMode::Shared } else { DeviceMode::Exclusive },
            health: inside(device.health, "health")?,
            nodes: nodes(&device.nodes).at("nodes")?,
            proof: inside(device.proof, "proof")?,
        })
    }
}

fn nodes(paths: &[String]) -> Converted<Vec<Arc<str>>> {
    at_most(paths.len(), limits::MAX_DEVICE_LINKS)?;
    let node = |(index, path): (usize, &String)| {
        let good = path.starts_with('/') && path.len() <= limits::MAX_TEXT && !path.contains('\0');
        expected(good, || format!("expected an absolute path, got {path:?}")).at_index(index)?;
        Ok(Arc::from(path.as_str()))
    };
    paths.iter().enumerate().map(node).collect()
}

/// Devices are shared by reference in core.
impl Wire for Arc<Device> {
    type Message = v1::Device;

    fn to_wire(&self) -> v1::Device {
        self.as_ref().to_wire()
    }

    fn from_wire(device: v1::Device) -> Converted<Self> {
        Device::from_wire(device).map(Self::new)
    }
}

impl Wire for DeviceReport {
    type Message = v1::DeviceReport;

    fn to_wire(&self) -> v1::DeviceReport {
        v1::DeviceReport { device: Some(self.device.to_wire()), state: Some(self.state.to_wire()) }
    }

    fn from_wire(report: v1::DeviceReport) -> Converted<Self> {
        Ok(Self { device: required(report.device, "device")?, state: required(report.state, "state")? })
    }
}

impl Wire for DeviceState {
    type Message = v1::DeviceState;

    fn to_wire(&self) -> v1::DeviceState {
        let state = match self {
            Self::Free => State::Free(v1::Nothing {}),
            Self::Allocated(tenants) => State::Allocated(to_tenants(tenants)),
            Self::Cleaning { generation } => State::CleaningGeneration(*generation),
            Self::Quarantined { reason } => State::QuarantinedReason(to_prose(reason)),
        };
        v1::DeviceState { state: Some(state) }
    }

    fn from_wire(state: v1::DeviceState) -> Converted<Self> {
        Ok(match one_of(state.state)? {
            State::Free(v1::Nothing {}) => Self::Free,
            State::Allocated(tenants) => Self::Allocated(self::tenants(tenants).at("allocated.tenants")?),
            State::CleaningGeneration(generation) => Self::Cleaning { generation },
            State::QuarantinedReason(reason) => Self::Quarantined { reason: text(&reason, "quarantined_reason")? },
        })
    }
}

fn to_tenants(tenants: &BTreeMap<TaskKey, u16>) -> v1::Tenants {
    let tenant =
        |(task, share): (&TaskKey, &u16)| v1::Tenant { task: Some(task.to_wire()), share_milli: u32::from(*share) };
    v1::Tenants { tenants: tenants.iter().map(tenant).collect() }
}

fn tenants(message: v1::Tenants) -> Converted<BTreeMap<TaskKey, u16>> {
    let good = (1..=limits::MAX_TENANTS).contains(&message.tenants.len());
    expected(good, || format!("expected 1 to {} tenants, got {}", limits::MAX_TENANTS, message.tenants.len()))?;
    let mut tenants = BTreeMap::new();
    for (index, tenant) in message.tenants.into_iter().enumerate() {
        let task: TaskKey = required(tenant.task, "task").at_index(index)?;
        let share: Share = inside(tenant.share_milli, "share_milli").at_index(index)?;
        let once = tenants.insert(task, share.0).is_none();
        expected(once, || "expected each task once, got one twice".to_owned()).at_index(index)?;
    }
    Ok(tenants)
}
