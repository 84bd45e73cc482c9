//! Reservations and volumes.

use rialto_core::model::{Operation, Resources, TaskGroup, VolumeKey};

use super::error::{At, Converted};
use super::resources::amount;
use super::{Wire, inside, one_of, optional, optional_text};
use crate::v1;
use crate::v1::operation::Operation as Kind;

impl Wire for Operation {
    type Message = v1::Operation;

    fn to_wire(&self) -> v1::Operation {
        let operation = match self {
            Self::Launch(group) => Kind::Launch(group.to_wire()),
            Self::Reserve(resources) => Kind::Reserve(resources.to_wire()),
            Self::Unreserve(resources) => Kind::Unreserve(resources.to_wire()),
            Self::Create(resources) => Kind::Create(resources.to_wire()),
            Self::Destroy(resources) => Kind::Destroy(resources.to_wire()),
            Self::Grow { volume, addition } => {
                Kind::Grow(v1::GrowVolume { volume: Some(volume.to_wire()), addition: Some(addition.to_wire()) })
            }
            Self::Shrink { volume, by } => {
                Kind::Shrink(v1::ShrinkVolume { volume: Some(volume.to_wire()), by_mib_milli: by.0 })
            }
        };
        v1::Operation { operation: Some(operation) }
    }

    fn from_wire(operation: v1::Operation) -> Converted<Self> {
        match one_of(operation.operation)? {
            Kind::Launch(group) => inside::<TaskGroup>(group, "launch").map(Self::Launch),
            Kind::Reserve(resources) => inside::<Resources>(resources, "reserve").map(Self::Reserve),
            Kind::Unreserve(resources) => inside::<Resources>(resources, "unreserve").map(Self::Unreserve),
            Kind::Create(resources) => inside::<Resources>(resources, "create").map(Self::Create),
            Kind::Destroy(resources) => inside::<Resources>(resources, "destroy").map(Self::Destroy),
            Kind::Grow(v1::GrowVolume { volume, addition }) => Ok(Self::Grow {
                volume: or_nothing(volume, "grow.volume")?,
                addition: or_nothing(addition, "grow.addition")?,
            }),
            Kind::Shrink(v1::ShrinkVolume { volume, by_mib_milli }) => Ok(Self::Shrink {
                volume: or_nothing(volume, "shrink.volume")?,
                by: amount(by_mib_milli).at("shrink.by_mib_milli")?,
            }),
        }
    }
}

/// No resources at all may be left out of a message; an operation that is then without any is refused where it is judged.
fn or_nothing(resources: Option<v1::Resources>, field: &str) -> Converted<Resources> {
    Ok(optional::<Resources>(resources, field)?.unwrap_or_default())
}

impl Wire for VolumeKey {
    type Message = v1::VolumeKey;

    fn to_wire(&self) -> v1::VolumeKey {
        v1::VolumeKey {
            role: self.role.to_wire(),
            id: self.id.to_wire(),
            disk_source: self.disk_source.as_ref().map(|source| source.as_ref().to_owned()),
        }
    }

    fn from_wire(key: v1::VolumeKey) -> Converted<Self> {
        Ok(Self {
            role: inside(key.role, "role")?,
            id: inside(key.id, "id")?,
            disk_source: optional_text(key.disk_source, "disk_source")?,
        })
    }
}
