//! What of an agent may be offered, and whether that meets a demand.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use super::clients::Wanted;
use super::state::{Agent, no_devices};
use crate::allocator::claims;
use crate::model::{
    Access, Claim, Device, DeviceId, Flavor, Guarantee, Milli, Quantities, ResourceName, Resources, Shape, Share,
};

/// The smallest amounts that are worth an offer, as in Mesos: so many cpus, or so much memory. A device always is.
const CPUS_MIN: Milli = Milli(10);
const MEM_MIN: Milli = Milli::from_whole(32);

/// What of an agent may be offered to one role, with what is compared first.
#[derive(Debug)]
pub(super) struct Available {
    pub(super) resources: Arc<Resources>,
    /// Volumes are not among them: they are for those who name them.
    pub(super) quantities: Quantities,
    pub(super) ports: u64,
    pub(super) has_devices: bool,
    /// Whether it is amounts alone, for one taker and for as long as he likes: then its quantities are what he is charged.
    pub(super) is_plain: bool,
    /// Whether there is enough for anybody who asks for nothing special.
    pub(super) is_worth_offering: bool,
}

impl Available {
    pub(super) fn new(resources: Arc<Resources>) -> Self {
        let (quantities, ports) = (resources.plain_quantities(), resources.port_count());
        let has_devices = resources.device_shares().next().is_some();
        let revocable =
            if resources.is_revocable() { resources.split_revocable().0.quantities() } else { Quantities::new() };
        let is_firm = |flavor: &Flavor| flavor.guarantee == Guarantee::Firm && flavor.access == Access::Sole;
        let is_plain = !has_devices && resources.iter().all(|(flavor, _)| is_firm(flavor) && flavor.volume.is_none());
        let is_worth_offering = has_devices || are_worth_offering(&quantities) || are_worth_offering(&revocable);
        Self { resources, quantities, ports, has_devices, is_plain, is_worth_offering }
    }
}

/// Nothing at all.
pub(super) fn nothing_available() -> Arc<Available> {
    static NOTHING: LazyLock<Arc<Available>> = LazyLock::new(|| Arc::new(Available::new(Arc::default())));
    NOTHING.clone()
}

/// Whether it is enough for anybody who asks for nothing special.
pub(super) fn are_worth_offering(quantities: &Quantities) -> bool {
    quantities.get(&ResourceName::Cpus) >= CPUS_MIN || quantities.get(&ResourceName::Mem) >= MEM_MIN
}

impl Agent {
    /// Whether one of `shape` could be run with `available` of this agent.
    pub(super) fn fits(&self, shape: &Shape, available: &Resources) -> bool {
        fits_amounts(&shape.resources, available) && self.suits(shape, available)
    }

    /// The same for a shape whose amounts have been added up before.
    pub(super) fn meets(&self, wanted: &Wanted, available: &Available) -> bool {
        let names_special = wanted
            .shape
            .resources
            .iter()
            .any(|(flavor, _)| flavor.volume.is_some() || flavor.guarantee == Guarantee::Revocable);
        if names_special {
            return self.fits(&wanted.shape, &available.resources);
        }
        available.quantities.contains(&wanted.quantities)
            && available.ports >= wanted.ports
            && (available.has_devices || wanted.shape.claims.is_empty())
            && self.suits(&wanted.shape, &available.resources)
    }

    fn suits(&self, shape: &Shape, available: &Resources) -> bool {
        (shape.constraint.is_any() || shape.constraint.matches(&*self.record.info))
            && self.has_devices_for(shape, available)
    }

    /// Whether the claims can be met with the devices in `available`; most that can't, and most of those that can, are found by counting.
    fn has_devices_for(&self, shape: &Shape, available: &Resources) -> bool {
        let mut parts = available.iter();
        if let (Some((_, part)), None) = (parts.next(), parts.next()) {
            let share = |id| part.devices.get(id).copied().unwrap_or(Share(0));
            let known = self.devices.iter().map(|(id, entry)| (&*entry.device, share(id)));
            match claims::quick(&shape.claims, known) {
                Some(false) => return false,
                Some(true) if self.kept.is_empty() => return true,
                _ => {}
            }
        }
        self.resolve(&shape.claims, available).is_ok_and(|given| self.leaves_kept(shape, &given, available))
    }

    /// The devices in `available` that meet the claims.
    pub(super) fn resolve(
        &self,
        wanted: &[Claim],
        available: &Resources,
    ) -> Result<BTreeMap<DeviceId, Share>, claims::Unmet> {
        if wanted.is_empty() {
            return Ok(BTreeMap::new());
        }
        let free: BTreeMap<&DeviceId, Share> = available.device_shares().collect();
        let share = |id: &DeviceId| free.get(id).copied().unwrap_or(Share(0));
        claims::resolve(wanted, self.devices.iter().map(|(id, entry)| (&*entry.device, share(id))))
    }

    pub(super) fn devices_in(&self, resources: &Resources) -> Arc<[Arc<Device>]> {
        if self.devices.is_empty() {
            return no_devices();
        }
        resources.device_shares().filter_map(|(id, _)| self.devices.get(id).map(|entry| entry.device.clone())).collect()
    }
}

/// Whether the amounts asked for are there, whatever their reservations, and the volumes that are named.
pub(super) fn fits_amounts(asked: &Resources, available: &Resources) -> bool {
    let ports = ResourceName::ports();
    let (revocable, asked) = asked.split_revocable();
    let (volumes, amounts) = asked.split_volumes();
    let plain = available.plain();
    available.contains(&revocable)
        && available.contains(&volumes)
        && plain.quantities().contains(&amounts.quantities())
        && plain.ranges(&ports).len() >= amounts.ranges(&ports).len()
}
