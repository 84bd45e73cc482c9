//! The algebra of reservations and volumes: every operation takes resources of some flavors and gives the same amounts back in others.
//!
//! [`Conversion::of`] checks an operation by itself and says what it takes and gives; [`Conversion::apply`] carries it out on a set of
//! resources, all or nothing. What an agent has by name is never changed by either, and [`inverse`] undoes every operation.

use std::collections::BTreeSet;

use crate::model::{
    Access, Amounts, ByName, Flavor, Guarantee, Milli, Operation, Quantities, Reject, ReservationKind, ResourceName,
    Resources, Role, VolumeId, VolumeKey, WallTime,
};

#[cfg(test)]
mod tests;

/// The most flavors that the resources of one agent may have.
pub const FLAVORS_MAX: usize = 512;
/// The most labels of one reservation.
pub const LABELS_MAX: usize = 64;

/// Why an operation is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperationError {
    /// A launch is no operation on reservations.
    #[error("expected reserve, unreserve, create, destroy, grow or shrink")]
    NotAnOperation,
    /// Nothing, or an amount of zero.
    #[error("expected resources, got none")]
    Empty,
    /// Devices are given out by claims.
    #[error("expected no devices: they can't be reserved")]
    Devices,
    /// What may be taken back at any time can't be reserved.
    #[error("expected firm resources, got revocable ones")]
    Revocable,
    /// No reservation on top that an operation could have made.
    #[error("expected a dynamic reservation on top, got {0}")]
    NotDynamic(Resources),
    /// Reserved for `*`, which means unreserved.
    #[error("role: expected one other than *, which means unreserved")]
    AnyRole,
    /// The new layer is not below the last.
    #[error("role: expected one strictly below {lower}, got {upper}")]
    NotBelow {
        /// The role of the layer underneath.
        lower: Role,
        /// The role of the new layer.
        upper: Role,
    },
    /// A refinement would outlive what it refines.
    #[error("expires: expected a time no later than that of the reservation underneath")]
    Outlives,
    /// More labels than are kept.
    #[error("labels: expected at most {LABELS_MAX}")]
    Labels,
    /// A volume, where plain reserved resources were expected.
    #[error("expected no volume: it is to be destroyed first")]
    Volume,
    /// Other than reserved disk that is named as a volume.
    #[error("expected reserved disk with a volume id and a container path, and nothing else")]
    NotAVolume,
    /// Shared, where only one may hold it.
    #[error("expected a volume that is not shared")]
    Shared,
    /// More or less than one volume is to be resized.
    #[error("expected one volume")]
    NotOne,
    /// The disk to be added is not of the volume's reservation.
    #[error("addition: expected disk of the volume's own reservation and source")]
    OtherFlavor,
    /// Nothing of the volume would be left.
    #[error("expected less than the volume's {0} MiB: destroy it instead")]
    NothingLeft(Milli),
    /// The same number, item or disk would be there twice.
    #[error("overlaps with what is there already")]
    Overlap,
    /// The agent has that volume.
    #[error("volume id {0} is used already for this role on this agent")]
    Duplicate(VolumeId),
    /// Not all of it is there.
    #[error("asks for {asked} of {there}")]
    Missing {
        /// What the operation takes.
        asked: Resources,
        /// What is there.
        there: Resources,
    },
    /// Too many kinds of reservations on one agent.
    #[error("an agent has at most {FLAVORS_MAX} different reservations and volumes")]
    TooMany,
}

impl OperationError {
    /// As the answer to `operation`.
    pub fn reject(self, operation: &Operation) -> Reject {
        match self {
            Self::Duplicate(id) => Reject::DuplicateVolume(id),
            Self::Missing { asked, there } => Reject::ExceedsOffer { asked, offered: there },
            Self::TooMany => Reject::Limit { what: "reservations and volumes of an agent", limit: FLAVORS_MAX as u64 },
            Self::NotAnOperation => Reject::Unsupported(operation.name()),
            other => Reject::invalid(operation.name(), other.to_string()),
        }
    }
}

/// What an operation takes, and what it gives instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversion {
    consumed: Resources,
    produced: Resources,
}

impl Conversion {
    /// What `operation` does, if it makes sense by itself.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub fn of(operation: &Operation) -> Result<Self, OperationError> {
        match operation {
            Operation::Launch(_) => Err(OperationError::NotAnOperation),
            Operation::Reserve(resources) => {
                Ok(Self { consumed: each(resources, unreserve)?, produced: resources.clone() })
            }
            Operation::Unreserve(resources) => {
                Ok(Self { consumed: resources.clone(), produced: each(resources, unreserve)? })
            }
            Operation::Create(volumes) => Ok(Self { consumed: each(volumes, destroy)?, produced: volumes.clone() }),
            Operation::Destroy(volumes) => Ok(Self { consumed: volumes.clone(), produced: each(volumes, destroy)? }),
            Operation::Grow { volume, addition } => Self::grow(volume, addition),
            Operation::Shrink { volume, by } => Self::shrink(volume, *by),
        }
    }

    /// What it takes.
    pub const fn consumed(&self) -> &Resources {
        &self.consumed
    }

    /// What it gives.
    pub const fn produced(&self) -> &Resources {
        &self.produced
    }

    /// Carries it out on `resources`, or leaves them as they are.
    ///
    /// # Errors
    ///
    /// If not all that it takes is there, or what it gives does not go with what stays.
    pub fn apply(&self, resources: &mut Resources) -> Result<(), OperationError> {
        let missing = || OperationError::Missing { asked: self.consumed.clone(), there: resources.clone() };
        let mut left = resources.clone();
        let whole =
            |(flavor, part): (&Flavor, &Amounts)| flavor.volume.is_none() || resources.get(flavor) == Some(part);
        if !self.consumed.iter().all(whole) || !left.subtract(&self.consumed) {
            return Err(missing());
        }
        let mut here: BTreeSet<VolumeKey> = left.iter().filter_map(|(flavor, _)| flavor.volume_key()).collect();
        let twice = self.volumes().find(|key| !here.insert(key.clone()));
        if let Some(key) = twice {
            return Err(OperationError::Duplicate(key.id));
        }
        if !left.is_disjoint(&self.produced) {
            return Err(OperationError::Overlap);
        }
        left.add(&self.produced);
        if left.iter().count() > FLAVORS_MAX.max(resources.iter().count()) {
            return Err(OperationError::TooMany);
        }
        *resources = left;
        Ok(())
    }

    /// The volumes among what it gives.
    fn volumes(&self) -> impl Iterator<Item = VolumeKey> {
        self.produced.iter().filter_map(|(flavor, _)| flavor.volume_key())
    }

    /// The volumes that there are afterwards and were not before.
    pub fn created(&self) -> Vec<VolumeKey> {
        let before: BTreeSet<VolumeKey> = self.consumed.iter().filter_map(|(flavor, _)| flavor.volume_key()).collect();
        self.volumes().filter(|key| !before.contains(key)).collect()
    }

    /// The volumes that there were before and are not afterwards.
    pub fn destroyed(&self) -> Vec<VolumeKey> {
        let after: BTreeSet<VolumeKey> = self.volumes().collect();
        let before = self.consumed.iter().filter_map(|(flavor, _)| flavor.volume_key());
        before.filter(|key| !after.contains(key)).collect()
    }

    fn grow(volume: &Resources, addition: &Resources) -> Result<Self, OperationError> {
        let (flavor, size) = single_volume(volume)?;
        let (base, more) = addition.iter().next().ok_or(OperationError::Empty)?;
        let is_disk = *more == disk(more.scalars.get(&ResourceName::Disk));
        if addition.iter().count() != 1 || *base != base_of(flavor) || !is_disk {
            return Err(OperationError::OtherFlavor);
        }
        let produced = disk(size.plus(more.scalars.get(&ResourceName::Disk)));
        Ok(Self { consumed: volume.plus(addition), produced: Resources::flavored(flavor.clone(), produced) })
    }

    fn shrink(volume: &Resources, by: Milli) -> Result<Self, OperationError> {
        let (flavor, size) = single_volume(volume)?;
        if by.is_zero() {
            return Err(OperationError::Empty);
        }
        let left = size.minus(by).filter(|left| !left.is_zero()).ok_or(OperationError::NothingLeft(size))?;
        let smaller = Resources::flavored(flavor.clone(), disk(left));
        let produced = smaller.plus(&Resources::flavored(base_of(flavor), disk(by)));
        Ok(Self { consumed: volume.clone(), produced })
    }
}

/// The operation that undoes `operation`, if that can be carried out.
pub fn inverse(operation: &Operation) -> Option<Operation> {
    Some(match operation {
        Operation::Launch(_) => return None,
        Operation::Reserve(resources) => Operation::Unreserve(resources.clone()),
        Operation::Unreserve(resources) => Operation::Reserve(resources.clone()),
        Operation::Create(volumes) => Operation::Destroy(volumes.clone()),
        Operation::Destroy(volumes) => Operation::Create(volumes.clone()),
        Operation::Grow { addition, .. } => {
            let volume = Conversion::of(operation).ok()?.produced;
            Operation::Shrink { volume, by: addition.quantities().get(&ResourceName::Disk) }
        }
        Operation::Shrink { volume, by } => {
            let (flavor, size) = single_volume(volume).ok()?;
            Operation::Grow {
                volume: Resources::flavored(flavor.clone(), disk(size.minus(*by)?)),
                addition: Resources::flavored(base_of(flavor), disk(*by)),
            }
        }
    })
}

/// What an agent has: what it is configured with, changed by the operations on it that stay.
///
/// `kept` holds every flavor that operations have made. What of it the configuration has no room for any more is returned beside the
/// total: it counts for nothing until there is room again.
pub fn merge(configured: &Resources, kept: &Resources) -> (Resources, Resources) {
    let (mut total, mut aside) = (configured.clone(), Resources::new());
    // Volumes first: they hold data.
    let mut parts: Vec<(&Flavor, &Amounts)> = kept.iter().collect();
    parts.sort_by_key(|(flavor, _)| flavor.volume.is_none());
    for (flavor, amounts) in parts {
        for amounts in by_name(amounts) {
            let part = Resources::flavored(flavor.clone(), amounts.clone());
            let fits = total.is_disjoint(&part) && total.subtract(&Resources::flavored(configured_of(flavor), amounts));
            if fits { total.add(&part) } else { aside.add(&part) }
        }
    }
    (total, aside)
}

/// The part of `resources` that operations have made: dynamic reservations and volumes.
pub fn made_by_operations(resources: &Resources) -> Resources {
    let mut made = Resources::new();
    for (flavor, amounts) in resources.iter().filter(|(flavor, _)| **flavor != configured_of(flavor)) {
        made.add(&Resources::flavored(flavor.clone(), amounts.clone()));
    }
    made
}

/// The flavor that an amount of `flavor` has by configuration.
fn configured_of(flavor: &Flavor) -> Flavor {
    let mut base = base_of(flavor);
    base.reservations.retain(|layer| layer.kind == ReservationKind::Static);
    base
}

/// The reserved flavor that a volume is made of.
fn base_of(flavor: &Flavor) -> Flavor {
    Flavor { volume: None, access: Access::Sole, ..flavor.clone() }
}

/// When the reservation of `flavor` ends by itself, if it does; a volume keeps its reservation, because its data is not thrown away.
pub fn expiry(flavor: &Flavor) -> Option<WallTime> {
    let top = flavor.reservations.last().filter(|top| top.kind == ReservationKind::Dynamic)?;
    top.expires.filter(|_| flavor.volume.is_none())
}

/// Every flavor turned into the one that `convert` says; the amounts stay.
fn each(
    resources: &Resources,
    convert: impl Fn(&Flavor, &Amounts) -> Result<Flavor, OperationError>,
) -> Result<Resources, OperationError> {
    let mut converted = Resources::new();
    for (flavor, amounts) in resources.iter() {
        let part = Resources::flavored(convert(flavor, amounts)?, amounts.clone());
        if !converted.is_disjoint(&part) {
            return Err(OperationError::Overlap);
        }
        converted.add(&part);
    }
    if converted.is_empty() { Err(OperationError::Empty) } else { Ok(converted) }
}

/// The flavor without its uppermost reservation.
fn unreserve(flavor: &Flavor, amounts: &Amounts) -> Result<Flavor, OperationError> {
    if !amounts.devices.is_empty() {
        return Err(OperationError::Devices);
    }
    if flavor.volume.is_some() || flavor.access == Access::Shared {
        return Err(OperationError::Volume);
    }
    if flavor.guarantee == Guarantee::Revocable {
        return Err(OperationError::Revocable);
    }
    let mut base = flavor.clone();
    let top = base.reservations.pop().filter(|top| top.kind == ReservationKind::Dynamic);
    let top = top.ok_or_else(|| OperationError::NotDynamic(Resources::flavored(flavor.clone(), amounts.clone())))?;
    if top.role == Role::any() {
        return Err(OperationError::AnyRole);
    }
    if top.labels.len() > LABELS_MAX {
        return Err(OperationError::Labels);
    }
    if let Some(lower) = base.reservations.last() {
        if !top.role.is_below(&lower.role) {
            return Err(OperationError::NotBelow { lower: lower.role.clone(), upper: top.role });
        }
        let outlives = lower.expires.is_some_and(|end| top.expires.is_none_or(|later| later > end));
        if outlives {
            return Err(OperationError::Outlives);
        }
    }
    Ok(base)
}

/// The reserved flavor that a volume becomes when it is destroyed.
fn destroy(flavor: &Flavor, amounts: &Amounts) -> Result<Flavor, OperationError> {
    let size = amounts.scalars.get(&ResourceName::Disk);
    if flavor.volume_key().is_none() || size.is_zero() || *amounts != disk(size) {
        return Err(OperationError::NotAVolume);
    }
    if flavor.guarantee == Guarantee::Revocable {
        return Err(OperationError::Revocable);
    }
    Ok(base_of(flavor))
}

fn single_volume(volume: &Resources) -> Result<(&Flavor, Milli), OperationError> {
    let (flavor, amounts) = volume.iter().next().ok_or(OperationError::Empty)?;
    if volume.iter().count() != 1 {
        return Err(OperationError::NotOne);
    }
    destroy(flavor, amounts)?;
    if flavor.access == Access::Shared {
        return Err(OperationError::Shared);
    }
    Ok((flavor, amounts.scalars.get(&ResourceName::Disk)))
}

fn disk(size: Milli) -> Amounts {
    let mut scalars = Quantities::new();
    scalars.set(&ResourceName::Disk, size);
    Amounts { scalars, ..Amounts::default() }
}

/// Amounts of one name each.
fn by_name(amounts: &Amounts) -> Vec<Amounts> {
    let scalar = |(name, amount): (&ResourceName, Milli)| {
        let mut scalars = Quantities::new();
        scalars.set(name, amount);
        Amounts { scalars, ..Amounts::default() }
    };
    let mut parts: Vec<Amounts> = amounts.scalars.iter().map(scalar).collect();
    parts.extend(amounts.ranges.iter().map(|(name, ranges)| Amounts {
        ranges: ByName::from([(name.clone(), ranges.clone())]),
        ..Amounts::default()
    }));
    parts.extend(
        amounts
            .sets
            .iter()
            .map(|(name, items)| Amounts { sets: ByName::from([(name.clone(), items.clone())]), ..Amounts::default() }),
    );
    parts
}
