//! Devices: `free → allocated → cleaning → free | quarantined`, each tenancy with a number. What is known of a device comes from its
//! source; who holds it is decided here and journaled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::tasks::{Refusal, meets};
use super::{Agent, Effect, Out, Record, notice};
use crate::gate::Output;
use crate::model::{
    Device, DeviceId, DeviceMode, DeviceReport, DeviceState, FromAgent, Health, Launch, Proof, Reason, Resources,
    Share, Task, TaskKey, Topology,
};
use crate::planted::{Fault, planted};

/// A device as it is known now.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) device: Arc<Device>,
    /// Who told of it; none if it is known from the journal only.
    source: Option<Arc<str>>,
    pub(super) state: DeviceState,
    /// The number of its tenancies so far.
    pub(super) generation: u64,
    /// Whether the shell was asked to clean it, this time.
    asked: bool,
}

impl Slot {
    /// Shown to the master: what is there, and what is held, whether it is there or not.
    fn is_shown(&self) -> bool {
        self.source.is_some() || self.state != DeviceState::Free
    }

    /// Whether its source has told of it in the life of this agent.
    pub(super) fn source_known(&self) -> bool {
        self.source.is_some()
    }

    fn taken(&self) -> u32 {
        match &self.state {
            DeviceState::Allocated(tenants) => tenants.values().map(|share| u32::from(*share)).sum(),
            _ => 0,
        }
    }

    /// Why `share` of it can't be had beside `promised` of it, if it can't.
    fn obstacle(&self, share: Share, promised: u32) -> Option<String> {
        if self.source.is_none() {
            return Some("is not present".to_owned());
        }
        if !self.device.health.is_usable() {
            return Some(format!("is {}", self.device.health.as_str()));
        }
        match &self.state {
            DeviceState::Cleaning { .. } => return Some("is being cleaned".to_owned()),
            DeviceState::Quarantined { reason } => return Some(format!("is quarantined: {reason}")),
            DeviceState::Free | DeviceState::Allocated(_) => {}
        }
        let taken = self.taken() + promised;
        if self.device.mode == DeviceMode::Exclusive && (taken > 0 || share != Share::WHOLE) {
            return Some("is held by another task, or not claimed as a whole".to_owned());
        }
        (taken + u32::from(share.0) > u32::from(Share::WHOLE.0)).then(|| "has not that much left".to_owned())
    }
}

impl Agent {
    /// Devices as the journal has them. Tenants that have ended, or never were, are gone: what they held is to be cleaned.
    pub(super) fn recover_devices(&mut self) {
        let tenancies: Vec<_> =
            self.journal.devices.iter().map(|(id, tenancy)| (id.clone(), tenancy.clone())).collect();
        for (id, tenancy) in tenancies {
            let state = self.true_state(tenancy.state, tenancy.generation);
            let slot =
                Slot { device: undiscovered(&id), source: None, state, generation: tenancy.generation, asked: false };
            self.devices.insert(id, slot);
        }
        let lacks_a_device = |key: &&TaskKey| {
            let asked = &self.journal.tasks.get(key).expect("it is a live task").task.resources;
            asked.device_shares().any(|(id, _)| !self.is_tenant(key, id))
        };
        let lacking = self.journal.live_tasks().filter(lacks_a_device);
        self.never_started = lacking.filter(|_| !planted(Fault::TrustTornLaunch)).cloned().collect();
    }

    pub(super) fn is_tenant(&self, task: &TaskKey, id: &DeviceId) -> bool {
        let state = self.devices.get(id).map(|slot| &slot.state);
        matches!(state, Some(DeviceState::Allocated(tenants)) if tenants.contains_key(task))
    }

    fn true_state(&self, state: DeviceState, generation: u64) -> DeviceState {
        let DeviceState::Allocated(mut tenants) = state else { return state };
        tenants.retain(|task, _| self.journal.tasks.get(task).is_some_and(|entry| !entry.is_terminal()));
        if tenants.is_empty() { DeviceState::Cleaning { generation } } else { DeviceState::Allocated(tenants) }
    }

    pub(super) fn discovered(&mut self, source: &Arc<str>, devices: Vec<Device>, out: &mut Out) {
        let mut changed = false;
        let told: BTreeSet<DeviceId> = devices.iter().map(|device| device.id.clone()).collect();
        for device in devices {
            changed |= self.present(source, device, out);
        }
        let missing = |slot: &&mut Slot| slot.source.as_ref() == Some(source) && !told.contains(&slot.device.id);
        for slot in self.devices.values_mut().filter(missing) {
            let gone = Device { health: Health::Unhealthy, ..(*slot.device).clone() };
            slot.device = Arc::new(gone);
            slot.source = None;
            changed = true;
        }
        if changed {
            self.tell(FromAgent::Devices(self.device_reports()), out);
        }
        self.clean(out);
    }

    /// Takes one device of a source's list; whether that changes anything.
    fn present(&mut self, source: &Arc<str>, device: Device, out: &mut Out) -> bool {
        if !self.devices.contains_key(&device.id) && self.devices.len() >= Self::MAX_DEVICES {
            notice(format!("device {} is left out: at most {} devices", device.id, Self::MAX_DEVICES), out);
            return false;
        }
        let Some(slot) = self.devices.get_mut(&device.id) else {
            let id = device.id.clone();
            let slot = Slot {
                device: Arc::new(device),
                source: Some(source.clone()),
                state: DeviceState::Free,
                generation: 0,
                asked: false,
            };
            self.devices.insert(id, slot);
            return true;
        };
        if slot.source.as_ref().is_some_and(|other| other != source) {
            notice(format!("device {} of source {source} is left out: another source has it already", device.id), out);
            return false;
        }
        let changed = slot.source.is_none() || *slot.device != device;
        slot.source = Some(source.clone());
        slot.device = Arc::new(device);
        changed
    }

    pub(super) fn check_devices(&self, launch: &Launch) -> Result<(), Refusal> {
        let mut promised = self.promised();
        for task in &launch.group.tasks {
            self.check_task_devices(task, &mut promised)
                .map_err(|message| Refusal::dropped(Reason::DeviceUnavailable, message))?;
        }
        Ok(())
    }

    fn check_task_devices(&self, task: &Task, promised: &mut BTreeMap<DeviceId, u32>) -> Result<(), String> {
        let mut given = Vec::new();
        for (id, share) in task.resources.device_shares() {
            let slot = self.devices.get(id).ok_or_else(|| format!("device {id} is not present"))?;
            let promise = promised.entry(id.clone()).or_default();
            if let Some(obstacle) = slot.obstacle(share, *promise).filter(|_| !planted(Fault::SkipDeviceCheck)) {
                return Err(format!("device {id} {obstacle}"));
            }
            *promise += u32::from(share.0);
            given.push(&slot.device);
        }
        match task.claims.iter().find(|claim| !meets(claim, &given)) {
            Some(claim) => Err(format!("device claim {claim} is not met by the devices that were given")),
            None => Ok(()),
        }
    }

    /// What is set aside for gangs.
    fn promised(&self) -> BTreeMap<DeviceId, u32> {
        let mut promised = BTreeMap::new();
        for task in self.journal.gangs.values().flatten().flat_map(|launch| &launch.group.tasks) {
            for (id, share) in task.resources.device_shares() {
                *promised.entry(id.clone()).or_default() += u32::from(share.0);
            }
        }
        promised
    }

    /// Makes `task` a tenant of its devices; they were checked.
    pub(super) fn occupy(&mut self, task: &TaskKey, resources: &Resources, out: &mut Out) -> Vec<Arc<Device>> {
        let mut given = Vec::new();
        for (id, share) in resources.device_shares() {
            let slot = self.devices.get_mut(id).expect("the launch was checked: the device is present");
            match &mut slot.state {
                DeviceState::Allocated(tenants) => drop(tenants.insert(task.clone(), share.0)),
                state => {
                    slot.generation += 1;
                    *state = DeviceState::Allocated(BTreeMap::from([(task.clone(), share.0)]));
                }
            }
            given.push(slot.device.clone());
            self.record_device(id, out);
        }
        given
    }

    /// `task` has ended: what it held alone is cleaned.
    pub(super) fn vacate(&mut self, task: &TaskKey, resources: &Resources, out: &mut Out) {
        let mut shared = false;
        for (id, _) in resources.device_shares() {
            let Some(slot) = self.devices.get_mut(id) else { continue };
            let DeviceState::Allocated(tenants) = &mut slot.state else { continue };
            if tenants.remove(task).is_none() {
                continue;
            }
            if tenants.is_empty() && planted(Fault::SkipCleaning) {
                (slot.state, shared) = (DeviceState::Free, true);
            } else if tenants.is_empty() {
                slot.state = DeviceState::Cleaning { generation: slot.generation };
            } else {
                shared = true;
            }
            self.record_device(id, out);
        }
        if shared {
            self.tell(FromAgent::Devices(self.device_reports()), out);
        }
        self.clean(out);
    }

    /// Asks for the release step of every device that is there, is to be cleaned, and was not asked for yet.
    fn clean(&mut self, out: &mut Out) {
        for slot in self.devices.values_mut().filter(|slot| slot.source.is_some() && !slot.asked) {
            if let DeviceState::Cleaning { generation } = slot.state {
                slot.asked = true;
                out.push(Output::Effect(Effect::Release { device: slot.device.clone(), generation }));
            }
        }
    }

    pub(super) fn released(&mut self, id: &DeviceId, generation: u64, result: Result<(), Arc<str>>, out: &mut Out) {
        let Some(slot) = self.devices.get_mut(id).filter(|slot| slot.state == DeviceState::Cleaning { generation })
        else {
            return;
        };
        slot.asked = false;
        let result = result.or_else(|reason| if planted(Fault::HandOnDirty) { Ok(()) } else { Err(reason) });
        match result {
            Ok(()) => {
                slot.state = DeviceState::Free;
                self.record_device(id, out);
                self.tell(FromAgent::DevicesFree(vec![(id.clone(), generation)]), out);
            }
            Err(reason) => {
                notice(format!("device {id} is quarantined: {reason}"), out);
                slot.state = DeviceState::Quarantined { reason };
                self.record_device(id, out);
                self.tell(FromAgent::Devices(self.device_reports()), out);
            }
        }
    }

    fn record_device(&mut self, id: &DeviceId, out: &mut Out) {
        let slot = self.devices.get(id).expect("its state has just changed");
        let record = Record::Device { device: id.clone(), state: slot.state.clone(), generation: slot.generation };
        self.persist(record, out);
    }

    pub(super) fn device_reports(&self) -> Vec<DeviceReport> {
        let shown = self.devices.values().filter(|slot| slot.is_shown());
        shown.map(|slot| DeviceReport { device: slot.device.clone(), state: slot.state.clone() }).collect()
    }
}

/// A device that the journal knows and no source has told of yet.
fn undiscovered(id: &DeviceId) -> Arc<Device> {
    Arc::new(Device {
        id: id.clone(),
        kind: Arc::from("unknown"),
        vendor: Arc::from(""),
        model: Arc::from(""),
        generation: 0,
        attributes: BTreeMap::new(),
        topology: Topology::default(),
        mode: DeviceMode::Exclusive,
        health: Health::Unknown,
        nodes: Vec::new(),
        proof: Proof::NodeClosed,
    })
}
