//! Two types from the start: [`Quantities`], bare amounts for sorting, limits and sums; [`Resources`], amounts with identity (who they
//! are reserved for, which ports, which devices). Nothing here is ever negative, and `a - b + b == a`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::flavor_ref::FlavorRef;
use super::{
    ByName, DeviceId, Milli, MilliError, Ranges, RangesError, Role, RoleError, Volume, VolumeKey, WallTime,
    is_name_char,
};

#[cfg(test)]
mod tests;

/// What the port ranges are called.
const PORTS: &str = "ports";

/// The name of a scalar, a set of ranges or a set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceName {
    /// Processor time, in cores.
    Cpus,
    /// Memory, in MiB.
    Mem,
    /// Disk, in MiB.
    Disk,
    /// Any other.
    Other(Arc<str>),
}

impl ResourceName {
    /// The longest that is accepted, in bytes.
    pub const MAX_LEN: usize = 64;

    /// The name of the port ranges.
    pub fn ports() -> Self {
        Self::new(PORTS)
    }

    /// The resource called `name`.
    pub fn new(name: &str) -> Self {
        match name {
            "cpus" => Self::Cpus,
            "mem" => Self::Mem,
            "disk" => Self::Disk,
            other => Self::Other(Arc::from(other)),
        }
    }

    /// The name as it is written.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Cpus => "cpus",
            Self::Mem => "mem",
            Self::Disk => "disk",
            Self::Other(name) => name,
        }
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Bare amounts by name. An absent name is an amount of zero.
///
/// Nearly all are of cpus, memory and disk. These have places of their own, so that what is added up and compared for every offer is
/// three numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Quantities {
    /// Of [`USUAL`].
    usual: [Milli; 3],
    /// Of anything else: by name, none of them zero.
    others: Vec<(ResourceName, Milli)>,
}

/// The names of what has a place of its own, in the order of names.
static USUAL: [ResourceName; 3] = [ResourceName::Cpus, ResourceName::Mem, ResourceName::Disk];

impl Quantities {
    /// Nothing.
    pub const fn new() -> Self {
        Self { usual: [Milli::ZERO; 3], others: Vec::new() }
    }

    /// Cores and MiB, the amounts that most tasks ask for.
    pub const fn of(cpus: Milli, mem_mib: Milli) -> Self {
        Self { usual: [cpus, mem_mib, Milli::ZERO], others: Vec::new() }
    }

    /// The amount of `name`.
    pub fn get(&self, name: &ResourceName) -> Milli {
        match place(name) {
            Some(at) => self.usual[at],
            None => self.find(name).map_or(Milli::ZERO, |at| self.others[at].1),
        }
    }

    /// Makes the amount of `name` be `amount`.
    pub fn set(&mut self, name: &ResourceName, amount: Milli) {
        if let Some(at) = place(name) {
            self.usual[at] = amount;
            return;
        }
        match self.find(name) {
            Ok(at) if amount.is_zero() => drop(self.others.remove(at)),
            Ok(at) => self.others[at].1 = amount,
            Err(_) if amount.is_zero() => {}
            Err(at) => self.others.insert(at, (name.clone(), amount)),
        }
    }

    /// The amounts of cpus, memory and disk.
    pub(crate) fn usual(&self) -> impl Iterator<Item = Milli> + use<> {
        self.usual.into_iter()
    }

    /// The amounts that are not zero, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&ResourceName, Milli)> {
        let usual = USUAL.iter().zip(self.usual).filter(|(_, amount)| !amount.is_zero());
        usual.chain(self.others.iter().map(|(name, amount)| (name, *amount)))
    }

    /// Whether every amount is zero.
    pub fn is_empty(&self) -> bool {
        self.usual == [Milli::ZERO; 3] && self.others.is_empty()
    }

    /// Adds every amount of `other`.
    pub fn add(&mut self, other: &Self) {
        for (sum, amount) in self.usual.iter_mut().zip(other.usual) {
            *sum = sum.plus(amount);
        }
        let mut at = 0;
        for (name, amount) in &other.others {
            at += self.before(at, name);
            match self.others.get_mut(at) {
                Some((here, sum)) if here == name => *sum = sum.plus(*amount),
                _ => self.others.insert(at, (name.clone(), *amount)),
            }
        }
    }

    /// Takes every amount of `other` away, or nothing at all and `false` if one would become negative.
    #[must_use = "false means that nothing was taken"]
    pub fn subtract(&mut self, other: &Self) -> bool {
        if !self.contains(other) {
            return false;
        }
        let less = |left: Milli, taken| left.minus(taken).expect("contains() has just compared every amount");
        for (left, taken) in self.usual.iter_mut().zip(other.usual) {
            *left = less(*left, taken);
        }
        let mut at = 0;
        for (name, amount) in &other.others {
            at += self.before(at, name);
            let left = &mut self.others[at].1;
            *left = less(*left, *amount);
            if left.is_zero() {
                self.others.remove(at);
            }
        }
        true
    }

    /// Whether every amount of `other` is at most the one here.
    pub fn contains(&self, other: &Self) -> bool {
        let mut at = 0;
        self.usual.iter().zip(other.usual).all(|(whole, part)| *whole >= part)
            && other.others.iter().all(|(name, amount)| {
                at += self.before(at, name);
                self.others.get(at).is_some_and(|(here, whole)| here == name && whole >= amount)
            })
    }

    /// How many of the others from `at` on come before `name`: both sides are sorted, so what is done to one with the other is one walk.
    fn before(&self, at: usize, name: &ResourceName) -> usize {
        self.others[at..].iter().take_while(|(here, _)| here < name).count()
    }

    fn find(&self, name: &ResourceName) -> Result<usize, usize> {
        self.others.binary_search_by(|(here, _)| here.cmp(name))
    }
}

/// Which of [`USUAL`] it is.
const fn place(name: &ResourceName) -> Option<usize> {
    match name {
        ResourceName::Cpus => Some(0),
        ResourceName::Mem => Some(1),
        ResourceName::Disk => Some(2),
        ResourceName::Other(_) => None,
    }
}

/// How much of one device, in thousandths of its capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(pub u16);

impl Share {
    /// The whole device; the only share there is of an exclusive one.
    pub const WHOLE: Self = Self(1000);
}

/// How a resource came to belong to a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReservationKind {
    /// By the agent's configuration.
    Static,
    /// By an operation, at run time.
    Dynamic,
}

/// One layer of a reservation: the resource belongs to `role`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reservation {
    /// Whose it is.
    pub role: Role,
    /// How it came to be.
    pub kind: ReservationKind,
    /// Who made it, where that is known.
    pub principal: Option<Arc<str>>,
    /// What its maker wrote on it.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
    /// When it ends by itself.
    pub expires: Option<WallTime>,
}

/// Whether a resource may be taken back while it is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Guarantee {
    /// Not without preemption.
    #[default]
    Firm,
    /// At any time.
    Revocable,
}

/// Whether several tasks may use the same resource at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// One task at a time.
    #[default]
    Sole,
    /// Several; a volume that tasks share.
    Shared,
}

/// What makes amounts of the same name different things. Two resources combine only if their flavors are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flavor {
    /// The reservation stack, bottom first; each role lies strictly below the last. Empty means unreserved.
    pub reservations: Vec<Reservation>,
    /// The persistent volume that this disk is, if it is one.
    pub volume: Option<Volume>,
    /// The path or mount that this disk comes from, if it is not the root disk.
    pub disk_source: Option<Arc<str>>,
    /// Whether it may be taken back.
    pub guarantee: Guarantee,
    /// Whether it may be used by several at once.
    pub access: Access,
}

impl Flavor {
    /// The role that this is reserved for.
    pub fn role(&self) -> Option<&Role> {
        self.reservations.last().map(|reservation| &reservation.role)
    }

    /// Whether `role` may use it: unreserved, or reserved for the role itself or one above it.
    pub fn is_for(&self, role: &Role) -> bool {
        self.role().is_none_or(|reserved| reserved == role || role.is_below(reserved))
    }

    /// Whether it may be used by those who name only amounts: no volume, no disk of its own, firm and for one task at a time.
    pub fn is_plain(&self) -> bool {
        let is_common = self.volume.is_none() && self.disk_source.is_none();
        is_common && self.access == Access::Sole && self.guarantee == Guarantee::Firm
    }

    /// Which volume of its agent this is, if it is one.
    pub fn volume_key(&self) -> Option<VolumeKey> {
        let (volume, role) = self.volume.as_ref().zip(self.role())?;
        Some(VolumeKey { role: role.clone(), id: volume.id().clone(), disk_source: self.disk_source.clone() })
    }
}

/// Amounts of one flavor: scalars, ranges (ports), sets, and devices by identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Scalars.
    pub scalars: Quantities,
    /// Ranges by name. No entry is empty.
    pub ranges: ByName<Ranges>,
    /// Sets by name. No entry is empty.
    pub sets: ByName<BTreeSet<Arc<str>>>,
    /// Devices, with how much of each. No share is zero.
    pub devices: BTreeMap<DeviceId, Share>,
}

impl Amounts {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.scalars.is_empty() && self.ranges.is_empty() && self.sets.is_empty() && self.devices.is_empty()
    }

    /// Whether all of `other` is here.
    pub fn contains(&self, other: &Self) -> bool {
        self.scalars.contains(&other.scalars)
            && other.ranges.iter().all(|(name, part)| self.ranges.get(name).is_some_and(|whole| whole.contains(part)))
            && other.sets.iter().all(|(name, part)| self.sets.get(name).is_some_and(|whole| whole.is_superset(part)))
            && other.devices.iter().all(|(id, part)| self.devices.get(id).is_some_and(|whole| whole >= part))
    }

    fn is_disjoint(&self, other: &Self) -> bool {
        let apart =
            |(name, part): (_, &Ranges)| self.ranges.get(name).is_none_or(|here| here.intersection(part).is_empty());
        let fits = |(id, part): (_, &Share)| {
            self.devices.get(id).is_none_or(|here| here.0.saturating_add(part.0) <= Share::WHOLE.0)
        };
        other.ranges.iter().all(apart)
            && other.sets.iter().all(|(name, part)| self.sets.get(name).is_none_or(|here| here.is_disjoint(part)))
            && other.devices.iter().all(fits)
    }

    fn without_empty(mut self) -> Self {
        self.ranges.retain(|_, ranges| !ranges.is_empty());
        self.sets.retain(|_, items| !items.is_empty());
        self.devices.retain(|_, share| share.0 > 0);
        self
    }

    fn merge(&mut self, other: &Self) {
        self.scalars.add(&other.scalars);
        for (name, part) in &other.ranges {
            let whole = self.ranges.or_default(name);
            *whole = whole.union(part);
        }
        for (name, part) in &other.sets {
            self.sets.or_default(name).extend(part.iter().cloned());
        }
        for (id, part) in &other.devices {
            let whole = self.devices.entry(id.clone()).or_insert(Share(0));
            *whole = Share(whole.0.saturating_add(part.0)).min(Share::WHOLE);
        }
    }

    fn take(&mut self, other: &Self) {
        let taken = self.scalars.subtract(&other.scalars);
        debug_assert!(taken, "the caller has checked that all of it is here");
        for (name, part) in &other.ranges {
            let left = self.ranges.remove(name).unwrap_or_default().difference(part);
            if !left.is_empty() {
                self.ranges.insert(name.clone(), left);
            }
        }
        for (name, part) in &other.sets {
            let left: BTreeSet<_> = self.sets.remove(name).unwrap_or_default().difference(part).cloned().collect();
            if !left.is_empty() {
                self.sets.insert(name.clone(), left);
            }
        }
        for (id, part) in &other.devices {
            let left = self.devices.remove(id).map_or(0, |whole| whole.0.saturating_sub(part.0));
            if left > 0 {
                self.devices.insert(id.clone(), Share(left));
            }
        }
    }
}

/// Amounts with identity: by flavor, each flavor once, none empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources(Vec<(FlavorRef, Amounts)>);

/// Why a text is not a list of resources.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResourcesError {
    /// An entry has no colon.
    #[error("expected NAME:AMOUNT, as in cpus:4;mem:8192;ports:[31000-32000], got {0:?}")]
    Form(String),
    /// A name that is empty, too long, or holds other than letters, digits, '_', '-' and '.'.
    #[error("resource name: expected 1 to {max} letters, digits, '_', '-' or '.', got {0:?}", max = ResourceName::MAX_LEN)]
    Name(String),
    /// An amount that does not parse.
    #[error("resource {name}: {error}")]
    Amount {
        /// Which resource.
        name: String,
        /// What is wrong.
        error: MilliError,
    },
    /// Ranges that do not parse.
    #[error("resource {name}: {error}")]
    Ranges {
        /// Which resource.
        name: String,
        /// What is wrong.
        error: RangesError,
    },
    /// A role in parentheses that does not parse.
    #[error("resource {name}: {error}")]
    Role {
        /// Which resource.
        name: String,
        /// What is wrong.
        error: RoleError,
    },
    /// A name that is given twice.
    #[error("resource {0}: given twice")]
    Twice(String),
}

impl Resources {
    /// Nothing.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Unreserved scalars.
    pub fn scalars(quantities: Quantities) -> Self {
        Self::flavored(Flavor::default(), Amounts { scalars: quantities, ..Amounts::default() })
    }

    /// Unreserved cores and MiB.
    pub fn of(cpus: Milli, mem_mib: Milli) -> Self {
        Self::scalars(Quantities::of(cpus, mem_mib))
    }

    /// Whole devices.
    pub fn devices(ids: impl IntoIterator<Item = DeviceId>) -> Self {
        Self::device_shares_of(ids.into_iter().map(|id| (id, Share::WHOLE)))
    }

    /// Parts of devices.
    pub fn device_shares_of(shares: impl IntoIterator<Item = (DeviceId, Share)>) -> Self {
        let devices = shares.into_iter().collect();
        Self::flavored(Flavor::default(), Amounts { devices, ..Amounts::default() })
    }

    /// `amounts` of one flavor. Entries that hold nothing are left out.
    pub fn flavored(flavor: Flavor, amounts: Amounts) -> Self {
        let amounts = amounts.without_empty();
        if amounts.is_empty() { Self::new() } else { Self(vec![(flavor.into(), amounts)]) }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each flavor with its amounts.
    pub fn iter(&self) -> impl Iterator<Item = (&Flavor, &Amounts)> {
        self.0.iter().map(|(flavor, amounts)| (&**flavor, amounts))
    }

    /// The amounts of `flavor`.
    pub fn get(&self, flavor: &Flavor) -> Option<&Amounts> {
        let at = self.0.binary_search_by(|(here, _)| Flavor::cmp(here, flavor)).ok()?;
        Some(&self.0[at].1)
    }

    /// Whether all of `other` is here.
    pub fn contains(&self, other: &Self) -> bool {
        other.0.iter().all(|(flavor, part)| self.find(flavor).is_ok_and(|at| self.0[at].1.contains(part)))
    }

    /// Adds all of `other`, which must be [disjoint](Self::is_disjoint) from this: then `a + b - b == a`.
    ///
    /// It is, for what was taken with [`subtract`](Self::subtract) and is given back. A port that is added twice can be taken only once,
    /// so whoever adds up what others ask for must have subtracted each from what there is before.
    pub fn add(&mut self, other: &Self) {
        debug_assert!(self.is_disjoint(other), "{other} is added to {self}, which has a part of it already");
        self.merge(other);
    }

    /// Whether the two can be parts of one whole: no number of a range and no item of a set is in both, and no device is in both with
    /// more than the whole of it together. Scalars have no identity and never stand in the way.
    pub fn is_disjoint(&self, other: &Self) -> bool {
        other.0.iter().all(|(flavor, part)| self.find(flavor).map_or(true, |at| self.0[at].1.is_disjoint(part)))
    }

    /// The least that contains each of the two as for identity, and the sum of their scalars and shares.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (flavor, part) in &other.0 {
            match self.find(flavor) {
                Ok(at) => self.0[at].1.merge(part),
                Err(at) => self.0.insert(at, (flavor.clone(), part.clone())),
            }
        }
    }

    /// The sum with `other`, which must be [disjoint](Self::is_disjoint) from this.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let mut sum = self.clone();
        sum.add(other);
        sum
    }

    /// Takes all of `other` away, or nothing at all and `false` if not all of it is here.
    #[must_use = "false means that nothing was taken"]
    pub fn subtract(&mut self, other: &Self) -> bool {
        if !self.contains(other) {
            return false;
        }
        for (flavor, part) in &other.0 {
            let at = self.find(flavor).expect("contains() has just found every flavor");
            self.0[at].1.take(part);
            if self.0[at].1.is_empty() {
                self.0.remove(at);
            }
        }
        true
    }

    /// The part that `role` may use.
    #[must_use]
    pub fn for_role(&self, role: &Role) -> Self {
        Self(self.0.iter().filter(|(flavor, _)| flavor.is_for(role)).cloned().collect())
    }

    /// The part that `role` may use, without `taken`, which is a part of all.
    #[must_use]
    pub fn left_for(&self, role: &Role, taken: &Self) -> Self {
        debug_assert!(self.contains(taken), "only what is there was taken");
        let left = |(flavor, amounts): &(FlavorRef, Amounts)| {
            let part = taken.find(flavor).ok().map(|at| &taken.0[at].1);
            if part == Some(amounts) || !flavor.is_for(role) {
                return None;
            }
            let mut left = amounts.clone();
            part.into_iter().for_each(|part| left.take(part));
            Some((flavor.clone(), left))
        };
        Self(self.0.iter().filter_map(left).collect())
    }

    /// Whether `taken`, a part of all, leaves nothing of what is not reserved.
    pub(crate) fn is_open_part_taken(&self, taken: &Self) -> bool {
        let mut open = self.0.iter().filter(|(flavor, _)| flavor.reservations.is_empty());
        open.all(|(flavor, amounts)| taken.find(flavor).is_ok_and(|at| taken.0[at].1 == *amounts))
    }

    /// The [plain quantities](Self::plain_quantities) of [what is left](Self::left_for) for `role`.
    pub(crate) fn plain_quantities_left_for(&self, role: &Role, taken: &Self) -> Quantities {
        let mut sum = Quantities::new();
        for (flavor, amounts) in self.0.iter().filter(|(flavor, _)| flavor.is_plain() && flavor.is_for(role)) {
            let mut left = amounts.scalars.clone();
            if let Ok(at) = taken.find(flavor) {
                let was_there = left.subtract(&taken.0[at].1.scalars);
                debug_assert!(was_there, "only what was there is taken");
            }
            sum.add(&left);
        }
        sum
    }

    /// The scalars, ranges and sets: what is counted, where devices are kept by their state.
    #[must_use]
    pub fn without_devices(&self) -> Self {
        let bare = |(flavor, amounts): &(FlavorRef, Amounts)| {
            let amounts = Amounts { devices: BTreeMap::new(), ..amounts.clone() };
            (!amounts.is_empty()).then(|| (flavor.clone(), amounts))
        };
        Self(self.0.iter().filter_map(bare).collect())
    }

    /// What a holder takes from others: no devices, which are kept by their state, and nothing that is shared. What may be taken back is
    /// taken like anything else.
    #[must_use]
    pub fn counted(&self) -> Self {
        self.without_devices().without_shared().firm()
    }

    /// Whether some of it may be taken back at any time.
    pub fn is_revocable(&self) -> bool {
        self.0.iter().any(|(flavor, _)| flavor.guarantee == Guarantee::Revocable)
    }

    /// The same as what it is on its agent: what may be taken back is the agent's own, and firm there.
    #[must_use]
    pub fn firm(&self) -> Self {
        if !self.is_revocable() {
            return self.clone();
        }
        let mut firm = Self::new();
        for (flavor, amounts) in self.iter() {
            let flavor = Flavor { guarantee: Guarantee::Firm, ..flavor.clone() };
            firm.merge(&Self::flavored(flavor, amounts.clone()));
        }
        firm
    }

    /// The part that may be taken back at any time, and the rest.
    pub fn split_revocable(&self) -> (Self, Self) {
        let (revocable, rest) =
            self.0.iter().cloned().partition(|(flavor, _)| flavor.guarantee == Guarantee::Revocable);
        (Self(revocable), Self(rest))
    }

    /// What only one may hold at a time.
    #[must_use]
    pub fn without_shared(&self) -> Self {
        Self(self.0.iter().filter(|(flavor, _)| flavor.access == Access::Sole).cloned().collect())
    }

    /// Takes what a task asks for: volumes whole, and what is shared stays. Nothing at all is taken, and `false`, if not all of it is here.
    #[must_use = "false means that nothing was taken"]
    pub fn take(&mut self, asked: &Self) -> bool {
        let whole = |(flavor, part): (&Flavor, &Amounts)| flavor.volume.is_none() || self.get(flavor) == Some(part);
        self.contains(asked) && asked.iter().all(whole) && self.subtract(&asked.without_shared())
    }

    /// Adds what another offer of the same agent holds; what is shared may be in both, and is the same thing.
    pub fn add_offered(&mut self, offered: &Self) {
        for (flavor, amounts) in offered.iter() {
            if flavor.access == Access::Sole || self.get(flavor).is_none() {
                self.add(&Self::flavored(flavor.clone(), amounts.clone()));
            }
        }
    }

    /// The part that those may use who name only amounts.
    #[must_use]
    pub fn plain(&self) -> Self {
        Self(self.0.iter().filter(|(flavor, _)| flavor.is_plain()).cloned().collect())
    }

    /// The volumes, and the rest.
    pub fn split_volumes(&self) -> (Self, Self) {
        let (volumes, rest) = self.0.iter().cloned().partition(|(flavor, _)| flavor.volume.is_some());
        (Self(volumes), Self(rest))
    }

    /// How much is reserved for which role. What is reserved in the same way comes as one; a role may come more than once nevertheless.
    pub fn reserved(&self) -> impl Iterator<Item = (&Role, Quantities)> {
        sum_by_role(self.0.iter().filter_map(|(flavor, amounts)| Some((flavor.role()?, &amounts.scalars))))
    }

    /// The same of what only one may hold at a time.
    pub fn reserved_solely(&self) -> impl Iterator<Item = (&Role, Quantities)> {
        let sole = self.0.iter().filter(|(flavor, _)| flavor.access == Access::Sole);
        sum_by_role(sole.filter_map(|(flavor, amounts)| Some((flavor.role()?, &amounts.scalars))))
    }

    /// The scalars of all flavors together.
    pub fn quantities(&self) -> Quantities {
        let mut sum = Quantities::new();
        for (_, amounts) in self.iter() {
            sum.add(&amounts.scalars);
        }
        sum
    }

    /// The scalars of all [plain](Flavor::is_plain) flavors together.
    pub fn plain_quantities(&self) -> Quantities {
        let mut sum = Quantities::new();
        for (_, amounts) in self.iter().filter(|(flavor, _)| flavor.is_plain()) {
            sum.add(&amounts.scalars);
        }
        sum
    }

    /// The devices of all flavors, with how much of each.
    pub fn device_shares(&self) -> impl Iterator<Item = (&DeviceId, Share)> {
        self.0.iter().flat_map(|(_, amounts)| amounts.devices.iter().map(|(id, share)| (id, *share)))
    }

    /// How many ports there are, of all flavors together.
    pub fn port_count(&self) -> u64 {
        let of = |amounts: &Amounts| {
            amounts.ranges.iter().find(|(name, _)| name.as_str() == PORTS).map(|(_, ports)| ports.len())
        };
        let mut counts = self.0.iter().filter_map(|(_, amounts)| of(amounts));
        match (counts.next(), counts.next()) {
            (None, _) => 0,
            (Some(only), None) => only,
            _ => self.ranges(&ResourceName::ports()).len(),
        }
    }

    /// The ranges called `name` of all flavors together.
    pub fn ranges(&self, name: &ResourceName) -> Ranges {
        let parts = self.0.iter().filter_map(|(_, amounts)| amounts.ranges.get(name));
        parts.fold(Ranges::default(), |sum, part| sum.union(part))
    }

    fn find(&self, flavor: &FlavorRef) -> Result<usize, usize> {
        self.0.binary_search_by(|(here, _)| here.cmp(flavor))
    }
}

/// The parts of each role that follow each other, together.
fn sum_by_role<'a>(
    parts: impl Iterator<Item = (&'a Role, &'a Quantities)>,
) -> impl Iterator<Item = (&'a Role, Quantities)> {
    let mut parts = parts.peekable();
    std::iter::from_fn(move || {
        let (role, first) = parts.next()?;
        let mut sum = first.clone();
        while let Some((_, more)) = parts.next_if(|(next, _)| *next == role) {
            sum.add(more);
        }
        Some((role, sum))
    })
}

impl FromStr for Resources {
    type Err = ResourcesError;

    /// `cpus:4;mem:8192;ports:[31000-32000];disk(eng):1024`.
    fn from_str(text: &str) -> Result<Self, ResourcesError> {
        let (mut resources, mut seen) = (Self::new(), BTreeSet::new());
        for entry in text.split(';').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (flavor, name, value) = split_entry(entry)?;
            let amounts = parse_amounts(&name, value)?;
            if !seen.insert((flavor.clone(), name.clone())) {
                return Err(ResourcesError::Twice(name.as_str().to_owned()));
            }
            resources.add(&Self::flavored(flavor, amounts));
        }
        Ok(resources)
    }
}

fn split_entry(entry: &str) -> Result<(Flavor, ResourceName, &str), ResourcesError> {
    let (head, value) = entry.split_once(':').ok_or_else(|| ResourcesError::Form(entry.to_owned()))?;
    let (name, role) = match head.split_once('(') {
        Some((name, rest)) => {
            (name, Some(rest.strip_suffix(')').ok_or_else(|| ResourcesError::Form(entry.to_owned()))?))
        }
        None => (head, None),
    };
    let name = name.trim();
    if name.is_empty() || name.len() > ResourceName::MAX_LEN || !name.chars().all(is_name_char) {
        return Err(ResourcesError::Name(name.to_owned()));
    }
    let mut flavor = Flavor::default();
    if let Some(role) = role.filter(|role| *role != "*") {
        let role = Role::new(role).map_err(|error| ResourcesError::Role { name: name.to_owned(), error })?;
        let reservation = Reservation {
            role,
            kind: ReservationKind::Static,
            principal: None,
            labels: BTreeMap::new(),
            expires: None,
        };
        flavor.reservations.push(reservation);
    }
    Ok((flavor, ResourceName::new(name), value.trim()))
}

fn parse_amounts(name: &ResourceName, value: &str) -> Result<Amounts, ResourcesError> {
    let mut amounts = Amounts::default();
    let named = || name.as_str().to_owned();
    // What everybody knows can't be of another kind: `cpus:[1-4]` would be an agent without any.
    let known_scalar = !matches!(name, ResourceName::Other(_));
    if *name == ResourceName::ports() || (value.starts_with('[') && !known_scalar) {
        let ranges: Ranges = value.parse().map_err(|error| ResourcesError::Ranges { name: named(), error })?;
        amounts.ranges.insert(name.clone(), ranges);
    } else if let Some(inner) =
        value.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).filter(|_| !known_scalar)
    {
        let items: BTreeSet<Arc<str>> =
            inner.split(',').map(str::trim).filter(|item| !item.is_empty()).map(Arc::from).collect();
        amounts.sets.insert(name.clone(), items);
    } else {
        let amount = value.parse().map_err(|error| ResourcesError::Amount { name: named(), error })?;
        amounts.scalars.set(name, amount);
    }
    Ok(amounts)
}

impl fmt::Display for Quantities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.iter().map(|(name, amount)| format!("{name}:{amount}")).collect();
        f.write_str(&parts.join(" "))
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for (flavor, amounts) in self.iter() {
            let volume = flavor.volume.as_ref().map(|volume| format!("[{volume:?}]")).unwrap_or_default();
            let role = flavor.role().map(|role| format!("({role}){volume}")).unwrap_or_default();
            parts.extend(amounts.scalars.iter().map(|(name, amount)| format!("{name}{role}:{amount}")));
            parts.extend(amounts.ranges.iter().map(|(name, ranges)| format!("{name}{role}:{ranges}")));
            parts.extend(amounts.sets.iter().map(|(name, set)| {
                let items: Vec<&str> = set.iter().map(|item| &**item).collect();
                format!("{name}{role}:{{{}}}", items.join(","))
            }));
            parts.extend(amounts.devices.iter().map(|(id, share)| match *share {
                Share::WHOLE => format!("device{role}:{id}"),
                Share(part) => format!("device{role}:{id}/{part}"),
            }));
        }
        f.write_str(&parts.join(" "))
    }
}
