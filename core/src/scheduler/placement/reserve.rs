//! Reserving, making volumes and launching on them in one accept.

use super::{Amounts, Flavor, Host, Packer, Placement};
use crate::model::{
    Access, AgentId, Milli, Operation, Quantities, Reservation, ReservationKind, ResourceName, Resources, Role, Volume,
    VolumeId,
};

#[cfg(test)]
mod tests;

/// A persistent volume that is on offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedVolume {
    /// Where it is.
    pub agent: AgentId,
    /// What the volume is as a resource: a task that uses it names this.
    pub resources: Resources,
}

impl Host {
    /// Takes the volumes of these names; they stay where they are if one is not here.
    pub(super) fn take_volumes(&mut self, ids: &[VolumeId]) -> Option<Resources> {
        let mut left = self.volumes.clone();
        let mut taken = Resources::new();
        for id in ids {
            let volume = find(&left, id)?;
            let was_there = left.take(&volume);
            debug_assert!(was_there, "it was found there");
            taken.add_offered(&volume);
        }
        self.volumes = left;
        Some(taken)
    }
}

fn find(volumes: &Resources, id: &VolumeId) -> Option<Resources> {
    let named = |flavor: &Flavor| flavor.volume.as_ref().is_some_and(|volume| volume.id() == id);
    let (flavor, amounts) = volumes.iter().find(|(flavor, _)| named(flavor))?;
    Some(Resources::flavored(flavor.clone(), amounts.clone()))
}

impl Packer {
    /// Reserves `amounts` of what is left unreserved on the machine, for `role`: the offers' role. They are used first by what is placed
    /// there from now on. `None`, and nothing is reserved, if there is less.
    pub fn reserve(&mut self, agent: AgentId, role: &Role, amounts: &Quantities) -> Option<Resources> {
        let host = self.hosts.get_mut(&agent)?;
        if !host.left.subtract(&Resources::scalars(amounts.clone())) {
            return None;
        }
        let layer = Reservation {
            role: role.clone(),
            kind: ReservationKind::Dynamic,
            principal: None,
            labels: std::collections::BTreeMap::new(),
            expires: None,
        };
        let flavor = Flavor { reservations: vec![layer], ..Flavor::default() };
        let reserved = Resources::flavored(flavor, Amounts { scalars: amounts.clone(), ..Amounts::default() });
        host.left.add(&reserved);
        host.operations.push(Operation::Reserve(reserved.clone()));
        Some(reserved)
    }

    /// Makes a volume of `size_mib` of the disk that is reserved on the machine, by [`reserve`](Self::reserve) or before. `None`, and
    /// nothing is made, if no one reservation has so much.
    pub fn create(&mut self, agent: AgentId, volume: Volume, size_mib: Milli, access: Access) -> Option<OfferedVolume> {
        let host = self.hosts.get_mut(&agent)?;
        let mut scalars = Quantities::new();
        scalars.set(&ResourceName::Disk, size_mib);
        let disk = Amounts { scalars, ..Amounts::default() };
        let fits = |(flavor, amounts): &(&Flavor, &Amounts)| flavor.role().is_some() && amounts.contains(&disk);
        let base = host.left.iter().find(fits)?.0.clone();
        let was_there = host.left.subtract(&Resources::flavored(base.clone(), disk.clone()));
        debug_assert!(was_there, "it was found there");
        let resources = Resources::flavored(Flavor { volume: Some(volume), access, ..base }, disk);
        host.volumes.add(&resources);
        host.operations.push(Operation::Create(resources.clone()));
        Some(OfferedVolume { agent, resources })
    }

    /// The volume of that name, if it is on offer or has been made; the first, if several machines have one.
    pub fn volume(&self, id: &VolumeId) -> Option<OfferedVolume> {
        self.hosts
            .values()
            .find_map(|host| find(&host.volumes, id).map(|resources| OfferedVolume { agent: host.agent, resources }))
    }

    /// Gives the volume to what was placed on its machine; false if it is elsewhere, or was given to somebody and is not shared.
    pub fn attach(&mut self, placement: &mut Placement, volume: &OfferedVolume) -> bool {
        let Some(host) = self.hosts.get_mut(&volume.agent).filter(|host| host.agent == placement.agent) else {
            return false;
        };
        let given = host.volumes.take(&volume.resources);
        if given {
            placement.resources.add(&volume.resources);
        }
        given
    }
}
