use std::collections::BTreeMap;
use std::sync::Arc;

use rialto_core::model::{
    Device, DeviceMode, DeviceReport, DeviceState, Health, Milli, Proof, Quantities, Share, Slice, SliceState, TaskKey,
    Topology,
};

use super::claims::check_kind;
use super::error::{At, Converted};
use super::fields::at_most;
use super::resources::{amount, resource_name};
use super::{
    Wire, attributes, expected, inside, limits, list, one_of, optional_text, required, text, to_attributes, to_list,
    to_prose, wire_enum,
};
use crate::v1;
use crate::v1::device_state::State;
use crate::v1::slice::State as Part;

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
            host_share: to_host_share(&self.host_share),
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
            host_share: host_share(device.host_share).at("host_share")?,
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
            Self::Allocated(task) => {
                let tenant = v1::Tenant { task: Some(task.to_wire()), share_milli: u32::from(Share::WHOLE.0) };
                State::Allocated(v1::Tenants { tenants: vec![tenant] })
            }
            Self::Sliced(slices) => State::Sliced(to_slices(slices)),
            Self::Cleaning { generation } => State::CleaningGeneration(*generation),
            Self::Quarantined { reason } => State::QuarantinedReason(to_prose(reason)),
        };
        v1::DeviceState { state: Some(state) }
    }

    fn from_wire(state: v1::DeviceState) -> Converted<Self> {
        Ok(match one_of(state.state)? {
            State::Free(v1::Nothing {}) => Self::Free,
            State::Allocated(tenants) => tenant(tenants).at("allocated.tenants")?,
            State::Sliced(slices) => Self::Sliced(self::slices(slices).at("sliced.slices")?),
            State::CleaningGeneration(generation) => Self::Cleaning { generation },
            State::QuarantinedReason(reason) => Self::Quarantined { reason: text(&reason, "quarantined_reason")? },
        })
    }
}

/// One tenant has the whole. Several, as earlier versions wrote them for shared devices, have slices.
fn tenant(message: v1::Tenants) -> Converted<DeviceState> {
    let mut slices = BTreeMap::new();
    for (index, tenant) in message.tenants.into_iter().enumerate() {
        let task: TaskKey = required(tenant.task, "task").at_index(index)?;
        let share: Share = inside(tenant.share_milli, "share_milli").at_index(index)?;
        add_slice(&mut slices, task, Slice { share, state: SliceState::Held }).at_index(index)?;
    }
    check_slices(&slices)?;
    let whole = slices.iter().find(|(_, slice)| slice.share == Share::WHOLE).map(|(task, _)| task.clone());
    Ok(whole.map_or(DeviceState::Sliced(slices), DeviceState::Allocated))
}

fn to_slices(slices: &BTreeMap<TaskKey, Slice>) -> v1::Slices {
    let slice = |(task, slice): (&TaskKey, &Slice)| v1::Slice {
        task: Some(task.to_wire()),
        share_milli: slice.share.to_wire(),
        state: Some(match &slice.state {
            SliceState::Held => Part::Held(v1::Nothing {}),
            SliceState::Cleaning { generation } => Part::CleaningGeneration(*generation),
            SliceState::Quarantined { reason } => Part::QuarantinedReason(to_prose(reason)),
        }),
    };
    v1::Slices { slices: slices.iter().map(slice).collect() }
}

fn slices(message: v1::Slices) -> Converted<BTreeMap<TaskKey, Slice>> {
    let mut slices = BTreeMap::new();
    for (index, message) in message.slices.into_iter().enumerate() {
        let (task, slice) = slice(message).at_index(index)?;
        add_slice(&mut slices, task, slice).at_index(index)?;
    }
    check_slices(&slices)?;
    Ok(slices)
}

fn slice(message: v1::Slice) -> Converted<(TaskKey, Slice)> {
    let state = match one_of(message.state).at("state")? {
        Part::Held(v1::Nothing {}) => SliceState::Held,
        Part::CleaningGeneration(generation) => SliceState::Cleaning { generation },
        Part::QuarantinedReason(reason) => SliceState::Quarantined { reason: text(&reason, "quarantined_reason")? },
    };
    Ok((required(message.task, "task")?, Slice { share: inside(message.share_milli, "share_milli")?, state }))
}

fn add_slice(slices: &mut BTreeMap<TaskKey, Slice>, task: TaskKey, slice: Slice) -> Converted<()> {
    let once = slices.insert(task, slice).is_none();
    expected(once, || "expected each task once, got one twice".to_owned())
}

fn check_slices(slices: &BTreeMap<TaskKey, Slice>) -> Converted<()> {
    let sum: u32 = slices.values().map(|slice| u32::from(slice.share.0)).sum();
    expected((1..=u32::from(Share::WHOLE.0)).contains(&sum), || {
        format!("expected 1 to {} thousandths together, got {sum}", Share::WHOLE.0)
    })
}

fn to_host_share(share: &Quantities) -> Vec<v1::Scalar> {
    share.iter().map(|(name, Milli(milli))| v1::Scalar { name: name.as_str().to_owned(), milli }).collect()
}

fn host_share(messages: Vec<v1::Scalar>) -> Converted<Quantities> {
    at_most(messages.len(), limits::MAX_RESOURCE_NAMES)?;
    let mut share = Quantities::new();
    for (index, scalar) in messages.into_iter().enumerate() {
        let name = resource_name(&scalar.name).at("name").at_index(index)?;
        let amount = amount(scalar.milli).at("milli").at_index(index)?;
        let once = share.get(&name).is_zero() && !amount.is_zero();
        expected(once, || format!("expected {name} once, and more than nothing")).at_index(index)?;
        share.set(&name, amount);
    }
    Ok(share)
}
