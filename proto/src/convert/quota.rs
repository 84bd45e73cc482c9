use std::collections::BTreeMap;

use rialto_core::allocator::quota::{Bounds, Force, Priorities, Quota};
use rialto_core::master::Command;
use rialto_core::model::{Milli, Quantities, Reject, ResourceName, Role};

use super::error::{At, ConvertError};
use super::fields::at_most;
use super::{Converted, Wire, expected, inside, list, optional, to_list};
use crate::v1;

/// The most roles in one command.
const MAX_ROLES: usize = 1000;
/// The most resources in one quota.
const MAX_BOUNDS: usize = 256;
/// The longest name of a resource: that of a device class.
const MAX_NAME: usize = 300;

impl Wire for Quota {
    type Message = v1::Quota;

    fn to_wire(&self) -> v1::Quota {
        let scalar =
            |(name, amount): (&ResourceName, Milli)| v1::Scalar { name: name.as_str().to_owned(), milli: amount.0 };
        v1::Quota {
            limit: self.limit.iter().map(|(name, amount)| scalar((name, *amount))).collect(),
            guarantee: self.guarantee.iter().map(scalar).collect(),
            priorities: self.priorities.as_ref().map(Wire::to_wire),
        }
    }

    fn from_wire(quota: v1::Quota) -> Converted<Self> {
        let limit: Bounds = amounts(quota.limit).at("limit")?;
        let mut guarantee = Quantities::new();
        for (name, amount) in amounts(quota.guarantee).at("guarantee")? {
            guarantee.set(&name, amount);
        }
        Ok(Self { limit, guarantee, priorities: optional(quota.priorities, "priorities")? })
    }
}

pub(super) fn amounts(scalars: Vec<v1::Scalar>) -> Converted<BTreeMap<ResourceName, Milli>> {
    at_most(scalars.len(), MAX_BOUNDS)?;
    let mut amounts = BTreeMap::new();
    for (index, scalar) in scalars.into_iter().enumerate() {
        let (name, amount) = (resource(&scalar.name).at_index(index)?, milli(scalar.milli).at_index(index)?);
        if amounts.insert(name, amount).is_some() {
            return Err(ConvertError::here(format!("expected each name once, got {} twice", scalar.name)));
        }
    }
    Ok(amounts)
}

fn resource(name: &str) -> Converted<ResourceName> {
    let good = !name.is_empty() && name.len() <= MAX_NAME && !name.contains(char::is_control);
    expected(good, || format!("expected the name of a resource, got {name:?}"))?;
    Ok(ResourceName::new(name))
}

fn milli(amount: u64) -> Converted<Milli> {
    expected(amount <= Milli::MAX.0, || format!("expected at most {} thousandths, got {amount}", Milli::MAX.0))?;
    Ok(Milli(amount))
}

impl Wire for Priorities {
    type Message = v1::PriorityBounds;

    fn to_wire(&self) -> v1::PriorityBounds {
        v1::PriorityBounds { lowest: self.lowest, highest: self.highest }
    }

    fn from_wire(bounds: v1::PriorityBounds) -> Converted<Self> {
        Ok(Self { lowest: bounds.lowest, highest: bounds.highest })
    }
}

impl Wire for (Role, Option<Quota>) {
    type Message = v1::RoleQuota;

    fn to_wire(&self) -> v1::RoleQuota {
        v1::RoleQuota { role: self.0.to_wire(), quota: self.1.as_ref().map(Wire::to_wire) }
    }

    fn from_wire(message: v1::RoleQuota) -> Converted<Self> {
        Ok((inside(message.role, "role")?, optional(message.quota, "quota")?))
    }
}

pub(super) fn to_set_quota(quotas: &[(Role, Option<Quota>)], force: Force) -> v1::SetQuota {
    v1::SetQuota { quotas: to_list(quotas), force: force == Force::Yes }
}

pub(super) fn from_set_quota(set: v1::SetQuota) -> Converted<Command> {
    let force = if set.force { Force::Yes } else { Force::No };
    Ok(Command::SetQuota { quotas: list(set.quotas, "quotas", MAX_ROLES)?, force })
}

pub(super) fn to_exceeded(role: &Role, resource: &ResourceName, amounts: [Milli; 3]) -> v1::ExceededQuota {
    let [limit, held, asked] = amounts;
    v1::ExceededQuota {
        role: role.to_wire(),
        resource: resource.as_str().to_owned(),
        limit_milli: limit.0,
        held_milli: held.0,
        asked_milli: asked.0,
    }
}

pub(super) fn from_exceeded(exceeded: v1::ExceededQuota) -> Converted<Reject> {
    Ok(Reject::QuotaExceeded {
        role: inside(exceeded.role, "role")?,
        resource: resource(&exceeded.resource).at("resource")?,
        limit: Milli(exceeded.limit_milli),
        held: Milli(exceeded.held_milli),
        asked: Milli(exceeded.asked_milli),
    })
}
