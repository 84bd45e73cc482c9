//! What one agent has, as the questions "why", "when" and "what would help" look at it, and what of a shape it can't do.
//!
//! Agents with equal stock are one class: what is found for one of them holds for all.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::claims::{self, Unmet};
use super::explain::{CauseKind, ClauseKind};
use crate::model::{
    Alternative, Claim, Count, Device, DeviceId, Flavor, Milli, Quantities, ResourceName, Resources, Role, Shape, Share,
};

#[cfg(test)]
mod tests;

/// What an agent has.
#[derive(Clone, Debug)]
pub struct Stock {
    /// Whether it can be given work.
    pub standing: Standing,
    /// What it has in all, devices excepted.
    pub total: Resources,
    /// What no task holds, devices among it.
    pub free: Resources,
    /// What exclusive offers lock of that.
    pub locked: Resources,
    /// What of its unreserved amounts is kept for the tenants of its devices, beyond what they use already.
    pub kept: Quantities,
    /// Its devices.
    pub devices: Vec<Slot>,
}

/// A device of an agent.
#[derive(Clone, Debug)]
pub struct Slot {
    /// What it is.
    pub device: Arc<Device>,
    /// Whether it can be had.
    pub condition: Condition,
}

/// Whether a device can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// Nobody holds it.
    Free,
    /// Tasks hold it.
    Held,
    /// Its tenant is gone; it is not clean yet.
    Cleaning,
    /// Unhealthy, or quarantined.
    Broken,
}

/// Whether an agent can be given work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// Yes.
    Ready,
    /// It is connected, but its journal can't be written.
    Degraded,
    /// Its connection is lost, or it was not heard of yet in this term.
    Away,
    /// It was silent for too long.
    Unreachable,
    /// It will be taken away.
    Leaving,
}

/// Something that stands between a shape and an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The clause of the shape that is not met.
    pub clause: ClauseKind,
    /// Why not.
    pub cause: CauseKind,
    /// How far it is from being met, to find the nearest of those with the same cause.
    pub miss: u64,
}

impl Stock {
    /// All that stands between one of `shape`, asked for by `role`, and this agent now. The constraint on attributes is judged elsewhere.
    pub fn judge(&self, role: &Role, shape: &Shape) -> Vec<Finding> {
        if self.standing != Standing::Ready {
            return vec![Finding::new(ClauseKind::Agents, CauseKind::AgentAway { standing: self.standing }, 0)];
        }
        let mut findings = Vec::new();
        let levels = Levels::of(self, role);
        judge_amounts(shape, &levels, &mut findings);
        judge_ports(shape, &levels, &mut findings);
        judge_volumes(shape, &levels, &mut findings);
        self.judge_claims(shape, &levels, &mut findings);
        if findings.is_empty() {
            self.judge_kept(shape, &levels, &mut findings);
        }
        findings
    }

    /// The same, if nobody held anything of it.
    pub fn judge_empty(&self, role: &Role, shape: &Shape) -> Vec<Finding> {
        Self { standing: Standing::Ready, ..self.emptied() }.judge(role, shape)
    }

    /// Whether one of `shape` fits what is free and not locked, attributes aside.
    pub fn fits(&self, role: &Role, shape: &Shape) -> bool {
        self.standing == Standing::Ready && self.holds(&self.available(role), shape)
    }

    /// Whether one of `shape` fits `available` of this agent.
    pub fn holds(&self, available: &Resources, shape: &Shape) -> bool {
        let ports = ResourceName::ports();
        let (volumes, asked) = shape.resources.split_volumes();
        let plain = available.plain();
        let quantities = asked.quantities();
        if !plain.quantities().contains(&quantities)
            || plain.ranges(&ports).len() < asked.ranges(&ports).len()
            || !available.contains(&volumes)
        {
            return false;
        }
        let Ok(devices) = self.resolve(&shape.claims, available) else { return false };
        self.kept.is_empty() || self.beside_kept(&quantities, &devices, &plain).contains(&quantities)
    }

    /// What of `plain` there is for a task that asks for so much and is given these devices: what is kept for others is not.
    fn beside_kept(&self, asked: &Quantities, devices: &BTreeMap<DeviceId, Share>, plain: &Resources) -> Quantities {
        let own = self.host_share(devices.iter().map(|(id, share)| (id, *share)));
        let open = plain.get(&Flavor::default()).map(|amounts| amounts.scalars.clone()).unwrap_or_default();
        let mut left = plain.quantities();
        for (name, kept) in self.kept.iter().filter(|(name, _)| asked.get(name) > own.get(name)) {
            let barred = kept.minus(own.get(name)).unwrap_or_default().min(open.get(name));
            left.set(name, left.get(name).minus(barred).unwrap_or_default());
        }
        left
    }

    /// What these parts of devices keep for their tenants.
    fn host_share<'a>(&self, devices: impl IntoIterator<Item = (&'a DeviceId, Share)>) -> Quantities {
        let mut sum = Quantities::new();
        for (id, Share(part)) in devices {
            let Some(slot) = self.devices.iter().find(|slot| slot.device.id == *id) else { continue };
            for (name, Milli(amount)) in slot.device.host_share.iter() {
                let part = u128::from(amount) * u128::from(part) / u128::from(Share::WHOLE.0);
                let part = Milli(u64::try_from(part).expect("a part is at most the whole"));
                sum.set(name, sum.get(name).plus(part));
            }
        }
        sum
    }

    /// What a task with these resources uses of what its devices keep for it.
    pub fn used_of_kept(&self, resources: &Resources) -> Quantities {
        let mut used = Quantities::new();
        if self.devices.iter().all(|slot| slot.device.host_share.is_empty()) {
            return used;
        }
        let held = resources.quantities();
        for (name, own) in self.host_share(resources.device_shares()).iter() {
            used.set(name, own.min(held.get(name)));
        }
        used
    }

    /// Whether one of `shape` would fit if nobody held anything of it and nothing were reserved.
    pub fn could_hold(&self, shape: &Shape) -> bool {
        let empty = self.emptied();
        empty.holds(&empty.free, shape)
    }

    /// What `role` may use of what is free and not locked.
    pub fn available(&self, role: &Role) -> Resources {
        let mut left = self.free.for_role(role);
        let was_free = left.subtract(&self.locked.for_role(role));
        debug_assert!(was_free, "what is locked is free");
        left
    }

    /// The devices in `available` that meet the claims.
    ///
    /// # Errors
    /// Why they don't.
    pub fn resolve(&self, wanted: &[Claim], available: &Resources) -> Result<BTreeMap<DeviceId, Share>, Unmet> {
        let free: BTreeMap<&DeviceId, Share> = available.device_shares().collect();
        let share = |id: &DeviceId| free.get(id).copied().unwrap_or(Share(0));
        claims::resolve(wanted, self.devices.iter().map(|slot| (&*slot.device, share(&slot.device.id))))
    }

    /// The same agent without tasks and offers, every device in order.
    #[must_use]
    pub fn emptied(&self) -> Self {
        let slot = |slot: &Slot| Slot { device: slot.device.clone(), condition: Condition::Free };
        Self {
            standing: self.standing,
            total: self.total.clone(),
            free: self.everything(),
            locked: Resources::new(),
            kept: self.host_share(self.devices.iter().map(|slot| (&slot.device.id, Share::WHOLE))),
            devices: self.devices.iter().map(slot).collect(),
        }
    }

    fn everything(&self) -> Resources {
        self.total.plus(&Resources::devices(self.devices.iter().map(|slot| slot.device.id.clone())))
    }

    fn judge_claims(&self, shape: &Shape, levels: &Levels, findings: &mut Vec<Finding>) {
        let before = findings.len();
        for (number, claim) in shape.claims.iter().enumerate() {
            let clause = ClauseKind::Claim { number, text: claim.to_string() };
            let alone = std::slice::from_ref(claim);
            if self.resolve(alone, &levels.available).is_ok() {
                continue;
            }
            if self.resolve(alone, &levels.free).is_ok() {
                findings.push(Finding::new(clause, CauseKind::Locked { frameworks: Vec::new() }, 0));
                continue;
            }
            match self.resolve(alone, &self.everything()) {
                Err(unmet) => findings.push(self.never(clause, claim, unmet)),
                Ok(_) => self.not_now(&clause, claim, &levels.free, findings),
            }
        }
        let each_is_met = findings.len() == before;
        if each_is_met && shape.claims.len() > 1 && self.resolve(&shape.claims, &levels.available).is_err() {
            let cause = match self.resolve(&shape.claims, &levels.free) {
                Ok(_) => CauseKind::Locked { frameworks: Vec::new() },
                Err(_) => CauseKind::NotTogether,
            };
            findings.push(Finding::new(ClauseKind::Claims, cause, 0));
        }
    }

    /// All of it is there, but some is kept for the tenants of devices.
    fn judge_kept(&self, shape: &Shape, levels: &Levels, findings: &mut Vec<Finding>) {
        let Ok(devices) = self.resolve(&shape.claims, &levels.available) else { return };
        let asked = shape.resources.split_volumes().1.quantities();
        let left = self.beside_kept(&asked, &devices, &levels.available.plain());
        for (name, amount) in asked.iter() {
            let Some(short) = amount.minus(left.get(name)).filter(|short| !short.is_zero()) else { continue };
            let clause = ClauseKind::Amount { resource: Arc::from(name.as_str()) };
            findings.push(Finding::new(clause, CauseKind::KeptForDevices { short }, short.0));
        }
    }

    /// The claim can't be met here, even if everything were free.
    fn never(&self, clause: ClauseKind, claim: &Claim, unmet: Unmet) -> Finding {
        let matching = claim.alternatives.iter().map(|wanted| self.matching(wanted).count()).max().unwrap_or(0);
        match unmet {
            Unmet::NoSuchKind { kind, .. } => Finding::new(clause, CauseKind::NoSuchDevice { kind }, 0),
            Unmet::TooFewMatch { matching: 0, kind, nearest, .. } if matching == 0 => {
                let miss = nearest.len() as u64;
                Finding::new(clause, CauseKind::NoDeviceMatches { kind, nearest }, miss)
            }
            Unmet::TooFewMatch { .. } | Unmet::TooFewFree { .. } => {
                let wanted = claim.alternatives.iter().map(|wanted| wanted_of(wanted, matching)).min().unwrap_or(0);
                let miss = wanted.saturating_sub(matching);
                Finding::new(clause, CauseKind::TooFewDevices { there: matching, wanted }, miss as u64)
            }
            Unmet::Constraints { .. } | Unmet::Together | Unmet::TooIntricate => {
                Finding::new(clause, CauseKind::Topology { even_empty: true }, 0)
            }
        }
    }

    /// The claim could be met here, and is not with what is free.
    fn not_now(&self, clause: &ClauseKind, claim: &Claim, free: &Resources, findings: &mut Vec<Finding>) {
        let unmet = self.resolve(std::slice::from_ref(claim), free);
        if matches!(unmet, Err(Unmet::Constraints { .. } | Unmet::TooIntricate | Unmet::Together)) {
            findings.push(Finding::new(clause.clone(), CauseKind::Topology { even_empty: false }, 0));
        }
        let mut counts: BTreeMap<Condition, u64> = BTreeMap::new();
        for slot in &self.devices {
            if claim.alternatives.iter().any(|wanted| suits(wanted, &slot.device)) {
                *counts.entry(slot.condition).or_default() += 1;
            }
        }
        for (condition, count) in counts {
            let cause = match condition {
                Condition::Free => continue,
                Condition::Held => CauseKind::DevicesHeld { devices: Vec::new() },
                Condition::Cleaning => CauseKind::DevicesCleaning { devices: Vec::new() },
                Condition::Broken => CauseKind::DevicesBroken { devices: Vec::new() },
            };
            findings.push(Finding::new(clause.clone(), cause, count));
        }
    }

    fn matching(&self, wanted: &Alternative) -> impl Iterator<Item = &Slot> {
        self.devices.iter().filter(move |slot| suits(wanted, &slot.device))
    }
}

impl Finding {
    fn new(clause: ClauseKind, cause: CauseKind, miss: u64) -> Self {
        Self { clause, cause, miss }
    }
}

/// Whether the device is what the alternative asks for.
pub fn suits(wanted: &Alternative, device: &Device) -> bool {
    wanted.kind == device.kind && wanted.selector.matches(device)
}

fn wanted_of(wanted: &Alternative, matching: usize) -> usize {
    match wanted.count {
        Count::Exactly(count) => usize::from(count),
        Count::All => matching.max(1),
    }
}

/// What of an agent a role may use, at each level of what stands in the way.
struct Levels {
    total: Quantities,
    for_role: Resources,
    free: Resources,
    available: Resources,
}

impl Levels {
    fn of(stock: &Stock, role: &Role) -> Self {
        Self {
            total: stock.total.plain_quantities(),
            for_role: stock.total.for_role(role),
            free: stock.free.for_role(role),
            available: stock.available(role),
        }
    }
}

fn judge_amounts(shape: &Shape, levels: &Levels, findings: &mut Vec<Finding>) {
    let (for_role, free, available) =
        (levels.for_role.plain_quantities(), levels.free.plain_quantities(), levels.available.plain_quantities());
    for (name, asked) in shape.resources.plain_quantities().iter() {
        let short_of = |have: Milli| asked.minus(have).filter(|short| !short.is_zero());
        let resource = || Arc::from(name.as_str());
        let cause = if let Some(short) = short_of(levels.total.get(name)) {
            (CauseKind::TooSmall { short }, short)
        } else if let Some(short) = short_of(for_role.get(name)) {
            (CauseKind::Reserved { short }, short)
        } else if let Some(short) = short_of(free.get(name)) {
            (CauseKind::NotEnoughFree { short }, short)
        } else if let Some(short) = short_of(available.get(name)) {
            (CauseKind::Locked { frameworks: Vec::new() }, short)
        } else {
            continue;
        };
        findings.push(Finding::new(ClauseKind::Amount { resource: resource() }, cause.0, cause.1.0));
    }
}

/// A volume is named, and where it is not nothing can take its place.
fn judge_volumes(shape: &Shape, levels: &Levels, findings: &mut Vec<Finding>) {
    let (volumes, _) = shape.resources.split_volumes();
    if levels.available.contains(&volumes) {
        return;
    }
    let cause = if !levels.for_role.contains(&volumes) {
        CauseKind::VolumeElsewhere
    } else if levels.free.contains(&volumes) {
        CauseKind::Locked { frameworks: Vec::new() }
    } else {
        CauseKind::VolumeInUse
    };
    findings.push(Finding::new(ClauseKind::Volumes, cause, 0));
}

/// Ports are counted; which ones is up to the framework.
fn judge_ports(shape: &Shape, levels: &Levels, findings: &mut Vec<Finding>) {
    let ports = ResourceName::ports();
    let asked = shape.resources.ranges(&ports).len();
    let short_of = |have: &Resources| Some(asked.saturating_sub(have.ranges(&ports).len())).filter(|short| *short > 0);
    let (cause, short) = if let Some(short) = short_of(&levels.for_role) {
        (CauseKind::TooSmall { short: Milli::from_whole(short) }, short)
    } else if let Some(short) = short_of(&levels.free) {
        (CauseKind::NotEnoughFree { short: Milli::from_whole(short) }, short)
    } else if let Some(short) = short_of(&levels.available) {
        (CauseKind::Locked { frameworks: Vec::new() }, short)
    } else {
        return;
    };
    findings.push(Finding::new(ClauseKind::Amount { resource: Arc::from(ports.as_str()) }, cause, short));
}

/// A number that agents of equal stock share and, but for chance of one in 2^64, no others do. Which device is which does not count,
/// unless their topologies tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(u128);

/// Makes fingerprints: what is put in, in order.
#[derive(Debug, Default)]
pub struct Printer(DefaultHasher, DefaultHasher);

impl Printer {
    /// The fingerprint of what was put in.
    pub fn finish(&self) -> Fingerprint {
        let mut second = self.1.clone();
        second.write_u64(self.0.finish());
        Fingerprint(u128::from(self.0.finish()) << 64 | u128::from(second.finish()))
    }

    /// Puts anything in.
    pub fn put(&mut self, what: &impl Hash) -> &mut Self {
        what.hash(&mut self.0);
        self.1.write_u8(0x5a);
        what.hash(&mut self.1);
        self
    }

    /// Puts amounts in: scalars, ranges and sets of each flavor. Devices are put by [`Self::put_devices`].
    pub fn put_amounts(&mut self, resources: &Resources) -> &mut Self {
        for (flavor, amounts) in resources.iter() {
            if amounts.scalars.is_empty() && amounts.ranges.is_empty() && amounts.sets.is_empty() {
                continue;
            }
            self.put(flavor).put(&amounts.scalars).put(&amounts.ranges).put(&amounts.sets);
        }
        self.put(&0u8)
    }

    /// Puts devices in, each with a tag that says what it is now, whatever they are called.
    pub fn put_devices<'a>(&mut self, devices: impl Iterator<Item = (&'a Device, u64)>) -> &mut Self {
        let devices: Vec<(&Device, u64)> = devices.collect();
        if devices.is_empty() {
            return self.put(&0usize);
        }
        let described: Vec<u64> = devices.iter().map(|(device, tag)| describe(device, *tag)).collect();
        let groups = linked_groups(&devices);
        let order = canonical_order(&described, &groups);
        let mut place: BTreeMap<&DeviceId, usize> = BTreeMap::new();
        for (position, at) in order.iter().enumerate() {
            place.insert(&devices[*at].0.id, position);
        }
        self.put(&devices.len());
        for at in order {
            let mut links: Vec<usize> =
                devices[at].0.topology.links.iter().filter_map(|id| place.get(id).copied()).collect();
            links.sort_unstable();
            self.put(&described[at]).put(&links);
        }
        self
    }
}

fn describe(device: &Device, tag: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&device.kind, &device.vendor, &device.model, device.generation, &device.attributes).hash(&mut hasher);
    (device.topology.numa_node, &device.topology.pci_root, device.mode, tag).hash(&mut hasher);
    hasher.finish()
}

/// For each device the first of those that it hangs together with over links.
fn linked_groups(devices: &[(&Device, u64)]) -> Vec<usize> {
    let index: BTreeMap<&DeviceId, usize> =
        devices.iter().enumerate().map(|(at, (device, _))| (&device.id, at)).collect();
    let mut group: Vec<usize> = (0..devices.len()).collect();
    for (at, (device, _)) in devices.iter().enumerate() {
        for other in device.topology.links.iter().filter_map(|id| index.get(id).copied()) {
            let (a, b) = (group[at], group[other]);
            if a != b {
                group.iter_mut().filter(|one| **one == a.max(b)).for_each(|one| *one = a.min(b));
            }
        }
    }
    group
}

/// The devices in an order that does not depend on their names, linked ones side by side. Equal machines may still come in different
/// orders where their links are irregular: then they are two classes, and looked at twice.
fn canonical_order(described: &[u64], groups: &[usize]) -> Vec<usize> {
    let mut members: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
    for (at, group) in groups.iter().enumerate() {
        members.entry(*group).or_default().push(described[at]);
    }
    members.values_mut().for_each(|group| group.sort_unstable());
    let mut order: Vec<usize> = (0..described.len()).collect();
    order.sort_by(|a, b| {
        let key = |at: &usize| (&members[&groups[*at]], groups[*at], described[*at], *at);
        key(a).cmp(&key(b))
    });
    order
}
