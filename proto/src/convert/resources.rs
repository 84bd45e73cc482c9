use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rialto_core::model::{
    Access, Amounts, DeviceId, Flavor, Guarantee, Milli, Quantities, Range, Ranges, Reservation, ReservationKind,
    ResourceName, Resources, Share, Volume, WallTime,
};

use super::error::{At, ConvertError};
use super::fields::at_most;
use super::{Converted, Wire, expected, inside, labels, limits, list, optional_text, to_labels, to_list, wire_enum};
use crate::v1;

wire_enum!(ReservationKind, v1::ReservationKind, { Static, Dynamic });

impl Wire for Resources {
    type Message = v1::Resources;

    fn to_wire(&self) -> v1::Resources {
        v1::Resources { amounts: self.iter().map(|(flavor, amounts)| to_amounts(flavor, amounts)).collect() }
    }

    fn from_wire(resources: v1::Resources) -> Converted<Self> {
        let parts: Vec<Part> = list(resources.amounts, "amounts", limits::MAX_FLAVORS)?;
        let mut sum = Self::new();
        for (index, Part(flavor, amounts)) in parts.into_iter().enumerate() {
            let first = sum.get(&flavor).is_none();
            expected(first, || "expected each flavor once, got one twice".to_owned()).at_index(index).at("amounts")?;
            let part = Self::flavored(flavor, amounts);
            if sum.is_empty() { sum = part } else { sum.add(&part) }
        }
        Ok(sum)
    }
}

/// The amounts of one flavor.
struct Part(Flavor, Amounts);

impl Wire for Part {
    type Message = v1::Amounts;

    fn to_wire(&self) -> v1::Amounts {
        to_amounts(&self.0, &self.1)
    }

    fn from_wire(amounts: v1::Amounts) -> Converted<Self> {
        let flavor = amounts.flavor.map(Flavor::from_wire).transpose().at("flavor")?.unwrap_or_default();
        let mut scalars = Quantities::new();
        for (name, milli, field) in [
            (ResourceName::Cpus, amounts.cpus_milli, "cpus_milli"),
            (ResourceName::Mem, amounts.mem_mib_milli, "mem_mib_milli"),
            (ResourceName::Disk, amounts.disk_mib_milli, "disk_mib_milli"),
        ] {
            scalars.set(&name, amount(milli).at(field)?);
        }
        add_scalars(&mut scalars, amounts.scalars)?;
        let amounts = Amounts {
            scalars,
            ranges: named(amounts.ranges, "ranges", |named| Ok((named.name, ranges(&named.ranges).at("ranges")?)))?
                .into_iter()
                .collect(),
            sets: named(amounts.sets, "sets", |named| Ok((named.name, set(&named.items).at("items")?)))?
                .into_iter()
                .collect(),
            devices: devices(amounts.devices)?,
        };
        Ok(Self(flavor, amounts))
    }
}

fn to_amounts(flavor: &Flavor, amounts: &Amounts) -> v1::Amounts {
    let mut message =
        v1::Amounts { flavor: (*flavor != Flavor::default()).then(|| flavor.to_wire()), ..v1::Amounts::default() };
    for (name, Milli(milli)) in amounts.scalars.iter() {
        match name {
            ResourceName::Cpus => message.cpus_milli = milli,
            ResourceName::Mem => message.mem_mib_milli = milli,
            ResourceName::Disk => message.disk_mib_milli = milli,
            ResourceName::Other(name) => message.scalars.push(v1::Scalar { name: name.as_ref().to_owned(), milli }),
        }
    }
    let to_ranges = |(name, ranges): (&ResourceName, &Ranges)| v1::NamedRanges {
        name: name.as_str().to_owned(),
        ranges: ranges.iter().map(|range| v1::Range { first: range.first, last: range.last }).collect(),
    };
    let to_set = |(name, items): (&ResourceName, &BTreeSet<Arc<str>>)| v1::NamedSet {
        name: name.as_str().to_owned(),
        items: items.iter().map(|item| item.as_ref().to_owned()).collect(),
    };
    let to_share =
        |(id, share): (&DeviceId, &Share)| v1::DeviceShare { device: id.to_wire(), share_milli: share.to_wire() };
    message.ranges = amounts.ranges.iter().map(to_ranges).collect();
    message.sets = amounts.sets.iter().map(to_set).collect();
    message.devices = amounts.devices.iter().map(to_share).collect();
    message
}

pub(super) fn amount(milli: u64) -> Converted<Milli> {
    expected(milli <= Milli::MAX.0, || format!("expected at most {} thousandths, got {milli}", Milli::MAX.0))?;
    Ok(Milli(milli))
}

fn add_scalars(scalars: &mut Quantities, messages: Vec<v1::Scalar>) -> Converted<()> {
    let named: BTreeMap<_, _> =
        named(messages, "scalars", |scalar| Ok((scalar.name, amount(scalar.milli).at("milli")?)))?;
    for (name, amount) in &named {
        let other = matches!(name, ResourceName::Other(_));
        expected(other, || format!("expected {name} in its own field, got it here")).at("scalars")?;
        scalars.set(name, *amount);
    }
    Ok(())
}

/// The values of a repeated field that are named, each name once; empty ones vanish.
fn named<M, T: Empty>(
    messages: Vec<M>,
    field: &str,
    convert: impl Fn(M) -> Converted<(String, T)>,
) -> Converted<BTreeMap<ResourceName, T>> {
    at_most(messages.len(), limits::MAX_RESOURCE_NAMES).at(field)?;
    let mut values = BTreeMap::new();
    for (index, message) in messages.into_iter().enumerate() {
        let (name, value) =
            convert(message).and_then(|(name, value)| Ok((resource_name(&name)?, value))).at_index(index).at(field)?;
        let twice = || ConvertError::here(format!("expected each name once, got {name} twice"));
        if values.contains_key(&name) {
            return Err(twice()).at(field);
        }
        values.insert(name, value);
    }
    values.retain(|_, value| !value.is_empty());
    Ok(values)
}

/// What may be empty and then is not kept.
trait Empty {
    fn is_empty(&self) -> bool;
}

impl Empty for Milli {
    fn is_empty(&self) -> bool {
        self.is_zero()
    }
}

impl Empty for Ranges {
    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

impl Empty for BTreeSet<Arc<str>> {
    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

pub(super) fn resource_name(name: &str) -> Converted<ResourceName> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let fits = (1..=limits::MAX_NAME).contains(&name.len()) && name.chars().all(good);
    let max = limits::MAX_NAME;
    expected(fits, || format!("expected 1 to {max} letters, digits, '_', '-' or '.', got {name:?}")).at("name")?;
    Ok(ResourceName::new(name))
}

fn ranges(ranges: &[v1::Range]) -> Converted<Ranges> {
    at_most(ranges.len(), limits::MAX_RESOURCE_ITEMS)?;
    for (index, range) in ranges.iter().enumerate() {
        let good = range.first <= range.last && range.last <= limits::MAX_RANGE_NUMBER;
        let what = || {
            let (first, last) = (range.first, range.last);
            format!("expected first <= last <= {}, got {first} and {last}", limits::MAX_RANGE_NUMBER)
        };
        expected(good, what).at_index(index)?;
    }
    Ok(Ranges::new(ranges.iter().map(|range| Range { first: range.first, last: range.last })))
}

fn set(items: &[String]) -> Converted<BTreeSet<Arc<str>>> {
    at_most(items.len(), limits::MAX_RESOURCE_ITEMS)?;
    let item = |(index, item): (usize, &String)| {
        let max = limits::MAX_TEXT;
        let fits = (1..=max).contains(&item.len());
        expected(fits, || format!("expected 1 to {max} bytes, got {}", item.len())).at_index(index)?;
        Ok(Arc::from(item.as_str()))
    };
    items.iter().enumerate().map(item).collect()
}

fn devices(messages: Vec<v1::DeviceShare>) -> Converted<BTreeMap<DeviceId, Share>> {
    at_most(messages.len(), limits::MAX_DEVICES).at("devices")?;
    let mut devices = BTreeMap::new();
    for (index, message) in messages.into_iter().enumerate() {
        let id: DeviceId = inside(message.device, "device").at_index(index).at("devices")?;
        let share = inside(message.share_milli, "share_milli").at_index(index).at("devices")?;
        let once = devices.insert(id, share).is_none();
        expected(once, || "expected each device once, got one twice".to_owned()).at_index(index).at("devices")?;
    }
    Ok(devices)
}

impl Wire for Share {
    type Message = u32;

    fn to_wire(&self) -> u32 {
        u32::from(self.0)
    }

    fn from_wire(milli: u32) -> Converted<Self> {
        let share = u16::try_from(milli).ok().map(Self).filter(|share| *share > Self(0) && *share <= Self::WHOLE);
        share.ok_or_else(|| ConvertError::here(format!("expected 1 to 1000 thousandths, got {milli}")))
    }
}

impl Wire for Flavor {
    type Message = v1::Flavor;

    fn to_wire(&self) -> v1::Flavor {
        let owned = |text: &Arc<str>| text.as_ref().to_owned();
        v1::Flavor {
            reservations: to_list(&self.reservations),
            volume: self.volume.as_ref().map(|volume| volume.id().to_wire()),
            volume_path: self.volume.as_ref().map(|volume| volume.container_path().to_owned()),
            disk_source: self.disk_source.as_ref().map(owned),
            revocable: self.guarantee == Guarantee::Revocable,
            shared: self.access == Access::Shared,
        }
    }

    fn from_wire(flavor: v1::Flavor) -> Converted<Self> {
        let reservations: Vec<Reservation> = list(flavor.reservations, "reservations", limits::MAX_RESERVATIONS)?;
        check_stack(&reservations).at("reservations")?;
        Ok(Self {
            reservations,
            volume: volume(flavor.volume, flavor.volume_path.as_deref())?,
            disk_source: optional_text(flavor.disk_source, "disk_source")?,
            guarantee: if flavor.revocable { Guarantee::Revocable } else { Guarantee::Firm },
            access: if flavor.shared { Access::Shared } else { Access::Sole },
        })
    }
}

fn volume(id: Option<String>, path: Option<&str>) -> Converted<Option<Volume>> {
    let Some(id) = id else {
        expected(path.is_none(), || "expected none without a volume".to_owned()).at("volume_path")?;
        return Ok(None);
    };
    let id = inside(id, "volume")?;
    Volume::new(id, path.unwrap_or_default()).map(Some).map_err(ConvertError::here).at("volume_path")
}

fn check_stack(reservations: &[Reservation]) -> Converted<()> {
    if let Some(bottom) = reservations.first() {
        expected(bottom.role.as_str() != "*", || "expected a role other than *, which means unreserved".to_owned())
            .at_index(0)?;
    }
    for (index, pair) in reservations.windows(2).enumerate() {
        let (lower, upper) = (&pair[0].role, &pair[1].role);
        let what = || format!("expected a role strictly below {lower}, got {upper}");
        expected(upper.is_below(lower), what).at("role").at_index(index + 1)?;
    }
    Ok(())
}

impl Wire for Reservation {
    type Message = v1::Reservation;

    fn to_wire(&self) -> v1::Reservation {
        v1::Reservation {
            role: self.role.to_wire(),
            kind: self.kind.to_wire(),
            principal: self.principal.as_ref().map(|principal| principal.as_ref().to_owned()),
            labels: to_labels(&self.labels),
            expires_unix_us: self.expires.map(|at| at.0),
        }
    }

    fn from_wire(reservation: v1::Reservation) -> Converted<Self> {
        Ok(Self {
            role: inside(reservation.role, "role")?,
            kind: inside(reservation.kind, "kind")?,
            principal: optional_text(reservation.principal, "principal")?,
            labels: labels(reservation.labels, "labels")?,
            expires: reservation.expires_unix_us.map(WallTime),
        })
    }
}
