//! Devices: `free → allocated → cleaning → free | quarantined`, each tenancy with a number; a shared one by slices. What is known of a device comes from its
//! source; who holds it is decided here and journaled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::condition::{self, Condition, Verdict};
use super::tasks::Refusal;
use super::{Agent, Effect, Out, Record, notice};
use crate::allocator::claims;
use crate::gate::Output;
use crate::model::{
    Device, DeviceId, DeviceMode, DeviceReport, DeviceState, FromAgent, Health, Launch, Milli, Proof, Quantities,
    Reason, ResourceName, Resources, Share, SliceState, Task, TaskKey, Time, Topology,
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
    /// The tenancies after which the shell was asked to clean it, and has not answered yet.
    asked: BTreeSet<u64>,
    condition: Condition,
    /// Why it is not given out again once it is clean.
    pub(super) condemned: Option<Arc<str>>,
}

/// What all tasks of a launch, and gangs, are promised of devices before any of them has them.
type Promises = BTreeMap<DeviceId, u16>;

impl Slot {
    fn new(device: Device, source: Option<Arc<str>>) -> Self {
        Self {
            condition: Condition::new(device.health),
            device: Arc::new(device),
            source,
            state: DeviceState::Free,
            generation: 0,
            asked: BTreeSet::new(),
            condemned: None,
        }
    }

    /// Shown to the master: what is there, and what is held, whether it is there or not.
    fn is_shown(&self) -> bool {
        self.source.is_some() || self.state != DeviceState::Free
    }

    /// Why `task` can't have `share` of it beside what is promised of it, if it can't.
    fn obstacle(&self, task: &TaskKey, share: Share, promised: u16) -> Option<String> {
        if self.source.is_none() {
            return Some("is not present".to_owned());
        }
        if !self.device.health.is_usable() {
            return Some(format!("is {}", self.device.health.as_str()));
        }
        match &self.state {
            DeviceState::Cleaning { .. } => return Some("is being cleaned".to_owned()),
            DeviceState::Quarantined { reason } => return Some(format!("is quarantined: {reason}")),
            DeviceState::Sliced(slices) if slices.contains_key(task) => {
                return Some("has a slice that an earlier task of that id has left".to_owned());
            }
            DeviceState::Free | DeviceState::Allocated(_) | DeviceState::Sliced(_) => {}
        }
        let whole = self.state == DeviceState::Free && promised == 0 && share == Share::WHOLE;
        if self.device.mode == DeviceMode::Exclusive && !whole {
            return Some("is held by another task, or not claimed as a whole".to_owned());
        }
        let left = self.state.free_share().0.saturating_sub(promised);
        (share.0 > left).then(|| "has not that much left".to_owned())
    }

    /// The parts of it that are to be cleaned: after which tenancy, and whose slice it was if it is one.
    fn soiled(&self) -> Vec<(u64, Option<TaskKey>)> {
        if let DeviceState::Cleaning { generation } = self.state {
            return vec![(generation, None)];
        }
        let soiled = |(task, state): (&TaskKey, &SliceState)| match state {
            SliceState::Cleaning { generation } => Some((*generation, Some(task.clone()))),
            SliceState::Held | SliceState::Quarantined { .. } => None,
        };
        self.state.slices().filter_map(|(task, slice)| soiled((task, &slice.state))).collect()
    }

    /// Tenants that do not live leave it to be cleaned.
    fn evict(&mut self, lives: impl Fn(&TaskKey) -> bool) {
        let gone: Vec<TaskKey> =
            self.state.holders().map(|(task, _)| task).filter(|task| !lives(task)).cloned().collect();
        for task in gone {
            self.soil(&task);
        }
    }

    /// It, or the slice that `slice` left, could not be cleaned.
    fn quarantine(&mut self, slice: Option<&TaskKey>, reason: Arc<str>) {
        match (&mut self.state, slice) {
            (DeviceState::Sliced(slices), Some(task)) => {
                let slice = slices.get_mut(task).expect("the caller has found it soiled");
                slice.state = SliceState::Quarantined { reason };
            }
            (state, _) => *state = DeviceState::Quarantined { reason },
        }
    }

    /// What `task` holds of it is to be cleaned. Slices are numbered when they are left, whole devices when they are given out.
    fn soil(&mut self, task: &TaskKey) -> bool {
        let is_slice = matches!(self.state, DeviceState::Sliced(_));
        let soiled = self.state.soil(task, self.generation + u64::from(is_slice));
        self.generation += u64::from(soiled && is_slice);
        soiled
    }
}

impl Agent {
    /// Devices as the journal has them. Tenants that have ended, or never were, are gone: what they held is to be cleaned.
    pub(super) fn recover_devices(&mut self) {
        let tenancies: Vec<_> =
            self.journal.devices.iter().map(|(id, tenancy)| (id.clone(), tenancy.clone())).collect();
        for (id, tenancy) in tenancies {
            let sliced = matches!(tenancy.state, DeviceState::Sliced(_));
            let mode = if sliced { DeviceMode::Shared } else { DeviceMode::Exclusive };
            let mut slot = Slot::new(undiscovered(&id, mode), None);
            (slot.state, slot.generation, slot.condemned) = (tenancy.state, tenancy.generation, tenancy.condemned);
            slot.evict(|task| self.journal.tasks.get(task).is_some_and(|entry| !entry.is_terminal()));
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
        self.devices.get(id).is_some_and(|slot| slot.state.is_held_by(task))
    }

    pub(super) fn discovered(&mut self, now: Time, source: &Arc<str>, devices: Vec<Device>, out: &mut Out) {
        let mut changed = false;
        let told: BTreeSet<DeviceId> = devices.iter().map(|device| device.id.clone()).collect();
        for device in devices {
            changed |= self.present(now, source, device, out);
        }
        let missing = |(id, slot): (&DeviceId, &Slot)| slot.source.as_ref() == Some(source) && !told.contains(id);
        let missing: Vec<DeviceId> =
            self.devices.iter().filter(|entry| missing(*entry)).map(|(id, _)| id.clone()).collect();
        for id in missing {
            let slot = self.devices.get_mut(&id).expect("it was listed just now");
            slot.source = None;
            let verdict = slot.condition.lose(now);
            self.judged(&id, verdict, out);
            changed = true;
        }
        if changed {
            self.tell(FromAgent::Devices(self.device_reports()), out);
        }
        self.clean(out);
    }

    /// Takes one device of a source's list; whether that changes anything.
    fn present(&mut self, now: Time, source: &Arc<str>, device: Device, out: &mut Out) -> bool {
        if !self.devices.contains_key(&device.id) && self.devices.len() >= Self::MAX_DEVICES {
            notice(format!("device {} is left out: at most {} devices", device.id, Self::MAX_DEVICES), out);
            return false;
        }
        let id = device.id.clone();
        let Some(slot) = self.devices.get_mut(&id) else {
            self.devices.insert(id, Slot::new(device, Some(source.clone())));
            return true;
        };
        if slot.source.as_ref().is_some_and(|other| other != source) {
            notice(format!("device {id} of source {source} is left out: another source has it already"), out);
            return false;
        }
        let verdict = slot.condition.hear(now, device.health);
        let device = Device { health: slot.device.health, ..device };
        let changed = slot.source.is_none() || *slot.device != device;
        slot.source = Some(source.clone());
        slot.device = Arc::new(device);
        self.judged(&id, verdict, out) || changed
    }

    /// Takes over what a look at a device's condition has shown; whether anything has changed.
    fn judged(&mut self, id: &DeviceId, verdict: Verdict, out: &mut Out) -> bool {
        let slot = self.devices.get_mut(id).expect("the caller has found it");
        self.looks.retain(|(_, other)| other != id);
        self.looks.extend(slot.condition.look_at().map(|at| (at, id.clone())));
        if verdict == Verdict::Same {
            return false;
        }
        slot.device = Arc::new(Device { health: slot.condition.health(), ..(*slot.device).clone() });
        if verdict == Verdict::Condemned && slot.condemned.is_none() {
            let reason: Arc<str> = format!(
                "it became unhealthy {} times within {} min",
                condition::FALLS,
                condition::FALLS_WITHIN.as_secs() / 60
            )
            .into();
            slot.condemned = Some(reason.clone());
            if slot.state == DeviceState::Free {
                slot.state = DeviceState::Quarantined { reason: reason.clone() };
            }
            notice(format!("device {id} is not given out any more: {reason}"), out);
            self.record_device(id, out);
        }
        true
    }

    /// Devices whose condition is not clear are looked at again.
    pub(super) fn look_at_devices(&mut self, now: Time, out: &mut Out) {
        let mut changed = false;
        while let Some((_, id)) = self.looks.first().filter(|(at, _)| *at <= now).cloned() {
            let slot = self.devices.get_mut(&id).expect("a device is never forgotten");
            let verdict = slot.condition.look(now);
            changed |= self.judged(&id, verdict, out);
        }
        if changed {
            self.tell(FromAgent::Devices(self.device_reports()), out);
        }
    }

    /// A person has seen to a device that is quarantined, or slices of it: it is cleaned once more, and free if that succeeds.
    pub(super) fn clear_device(&mut self, id: &DeviceId, out: &mut Out) {
        let Some(slot) = self.devices.get_mut(id) else {
            return notice(format!("device {id} is to be cleared and is not known"), out);
        };
        slot.condition.pardon();
        slot.condemned = None;
        let health = slot.condition.health();
        slot.device = Arc::new(Device { health, ..(*slot.device).clone() });
        match &mut slot.state {
            DeviceState::Quarantined { .. } => {
                slot.generation += 1;
                slot.state = DeviceState::Cleaning { generation: slot.generation };
            }
            DeviceState::Sliced(slices) => {
                let quarantined = |state: &SliceState| matches!(state, SliceState::Quarantined { .. });
                for slice in slices.values_mut().filter(|slice| quarantined(&slice.state)) {
                    slot.generation += 1;
                    slice.state = SliceState::Cleaning { generation: slot.generation };
                }
            }
            DeviceState::Free | DeviceState::Allocated(_) | DeviceState::Cleaning { .. } => {}
        }
        self.looks.retain(|(_, other)| other != id);
        self.record_device(id, out);
        self.tell(FromAgent::Devices(self.device_reports()), out);
        self.clean(out);
    }

    pub(super) fn check_devices(&self, launch: &Launch) -> Result<(), Refusal> {
        let mut promised = self.promised();
        for task in &launch.group.tasks {
            let key = TaskKey::new(launch.framework, task.id.clone());
            self.check_task_devices(&key, task, &mut promised)
                .map_err(|message| Refusal::dropped(Reason::DeviceUnavailable, message))?;
        }
        Ok(())
    }

    fn check_task_devices(&self, key: &TaskKey, task: &Task, promised: &mut Promises) -> Result<(), String> {
        let mut given = Vec::new();
        for (id, share) in task.resources.device_shares() {
            let slot = self.devices.get(id).ok_or_else(|| format!("device {id} is not present"))?;
            let promise = promised.entry(id.clone()).or_default();
            let obstacle = slot.obstacle(key, share, *promise).filter(|_| !planted(Fault::SkipDeviceCheck));
            if let Some(obstacle) = obstacle {
                return Err(format!("device {id} {obstacle}"));
            }
            *promise = promise.saturating_add(share.0);
            given.push((&*slot.device, share));
        }
        if claims::is_met_by(&task.claims, given.iter().copied()) {
            return Ok(());
        }
        let unmet =
            task.claims.iter().find(|claim| !claims::is_met_by(std::slice::from_ref(*claim), given.iter().copied()));
        let what = unmet.map_or_else(|| "the device claims are".to_owned(), |claim| format!("device claim {claim} is"));
        Err(format!("{what} not met by the devices that were given"))
    }

    /// What is set aside for gangs.
    fn promised(&self) -> Promises {
        let mut promised = Promises::new();
        for task in self.journal.gangs.values().flatten().flat_map(|launch| &launch.group.tasks) {
            for (id, share) in task.resources.device_shares() {
                let promise = promised.entry(id.clone()).or_default();
                *promise = promise.saturating_add(share.0);
            }
        }
        promised
    }

    /// Makes `task` a tenant of its devices; they were checked.
    pub(super) fn occupy(&mut self, task: &TaskKey, resources: &Resources, out: &mut Out) -> Vec<Arc<Device>> {
        let mut given = Vec::new();
        for (id, share) in resources.device_shares() {
            let slot = self.devices.get_mut(id).expect("the launch was checked: the device is present");
            if slot.device.mode == DeviceMode::Exclusive {
                slot.generation += 1;
            }
            slot.state.give(slot.device.mode, task, share);
            given.push(slot.device.clone());
            self.record_device(id, out);
        }
        given
    }

    /// `task` has ended: what it held is cleaned.
    pub(super) fn vacate(&mut self, task: &TaskKey, resources: &Resources, out: &mut Out) {
        for (id, _) in resources.device_shares() {
            let Some(slot) = self.devices.get_mut(id) else { continue };
            if !slot.soil(task) {
                continue;
            }
            if planted(Fault::SkipCleaning) {
                slot.state = DeviceState::Free;
            }
            self.record_device(id, out);
        }
        self.clean(out);
    }

    /// Asks for the release step of all that is there, is to be cleaned, and was not asked for yet.
    fn clean(&mut self, out: &mut Out) {
        for slot in self.devices.values_mut().filter(|slot| slot.source.is_some()) {
            for (generation, slice) in slot.soiled() {
                if slot.asked.insert(generation) {
                    out.push(Output::Effect(Effect::Release { device: slot.device.clone(), generation, slice }));
                }
            }
        }
    }

    pub(super) fn released(&mut self, id: &DeviceId, generation: u64, result: Result<(), Arc<str>>, out: &mut Out) {
        let Some(slot) = self.devices.get_mut(id) else { return };
        let Some((_, slice)) = slot.soiled().into_iter().find(|(soiled, _)| *soiled == generation) else { return };
        slot.asked.remove(&generation);
        let result = result.or_else(|reason| if planted(Fault::HandOnDirty) { Ok(()) } else { Err(reason) });
        let message = match (result, slice) {
            (Err(reason), slice) => {
                notice(format!("device {id} is quarantined: {reason}"), out);
                slot.quarantine(slice.as_ref(), reason);
                None
            }
            (Ok(()), None) => {
                slot.state = DeviceState::Free;
                Some(FromAgent::DevicesFree(vec![(id.clone(), generation)]))
            }
            (Ok(()), Some(task)) => {
                slot.state.free_slice(&task);
                Some(FromAgent::SlicesFree(vec![(id.clone(), task)]))
            }
        };
        let condemned = slot.condemned.clone().filter(|_| slot.state == DeviceState::Free);
        let message = message.filter(|_| condemned.is_none());
        if let Some(reason) = condemned {
            slot.state = DeviceState::Quarantined { reason };
        }
        self.record_device(id, out);
        self.tell(message.unwrap_or_else(|| FromAgent::Devices(self.device_reports())), out);
    }

    fn record_device(&mut self, id: &DeviceId, out: &mut Out) {
        let slot = self.devices.get(id).expect("its state has just changed");
        let record = Record::Device {
            device: id.clone(),
            state: slot.state.clone(),
            generation: slot.generation,
            condemned: slot.condemned.clone(),
        };
        self.persist(record, out);
    }

    /// The devices that it tells of, as it would tell of them now.
    pub fn device_reports(&self) -> Vec<DeviceReport> {
        let share = self.host_share();
        let shown = self.devices.values().filter(|slot| slot.is_shown());
        let device = |slot: &Slot| match &share {
            Some(share) if slot.source.is_some() && slot.device.host_share.is_empty() => {
                Arc::new(Device { host_share: share.clone(), ..(*slot.device).clone() })
            }
            _ => slot.device.clone(),
        };
        shown.map(|slot| DeviceReport { device: device(slot), state: slot.state.clone() }).collect()
    }

    /// What each device that is there keeps of the machine for its tenants, if the agent is to keep anything.
    fn host_share(&self) -> Option<Quantities> {
        let there = self.devices.values().filter(|slot| slot.source.is_some()).count() as u64;
        let (fraction, total) = (u64::from(self.config.host_share_milli), self.config.resources.quantities());
        let part = |name: &ResourceName| Milli(total.get(name).0.saturating_mul(fraction) / 1000 / there.max(1));
        (fraction > 0).then(|| Quantities::of(part(&ResourceName::Cpus), part(&ResourceName::Mem)))
    }
}

/// A device that the journal knows and no source has told of yet.
fn undiscovered(id: &DeviceId, mode: DeviceMode) -> Device {
    Device {
        id: id.clone(),
        kind: Arc::from("unknown"),
        vendor: Arc::from(""),
        model: Arc::from(""),
        generation: 0,
        attributes: BTreeMap::new(),
        topology: Topology::default(),
        mode,
        health: Health::Unknown,
        nodes: Vec::new(),
        proof: Proof::NodeClosed,
        host_share: Quantities::new(),
    }
}
