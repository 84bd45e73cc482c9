//! Reservations and volumes as JSON.

use std::collections::BTreeMap;
use std::sync::Arc;

use rialto_core::model::{
    self, Access, Flavor, Guarantee, Reservation, ReservationKind, Resources, ResourcesError, Role, RoleError,
    VolumeId, WallTime,
};
use serde::{Deserialize, Serialize};

use super::Amounts;

#[cfg(test)]
mod tests;

/// Amounts of one reservation, or a volume.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reserved {
    /// The reservation, bottom first; each role lies below the last.
    pub reservations: Vec<Layer>,
    /// The volume that it is, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<Volume>,
    /// Where the disk comes from, if it is not the agent's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_source: Option<String>,
    /// Whether several tasks may use it at once.
    pub shared: bool,
    /// How much.
    pub amounts: Amounts,
    /// The same as text, with ranges and sets: `cpus:2;ports:[1-4]`.
    pub text: String,
}

/// One layer of a reservation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Whose it is.
    pub role: String,
    /// `static` by the agent's configuration, `dynamic` by an operation.
    pub kind: String,
    /// Who made it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// What its maker wrote on it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// When it ends by itself, in microseconds since the Unix epoch: exact, because it is part of what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_us: Option<i64>,
}

/// A persistent volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its name among those of its role on its agent.
    pub id: String,
    /// Where tasks find it, relative to their sandbox.
    pub container_path: String,
}

/// Why a row is not one of reserved resources.
#[derive(Debug, thiserror::Error)]
pub enum ReservedError {
    /// The amounts don't parse.
    #[error("text: {0}")]
    Text(#[from] ResourcesError),
    /// A role does not parse.
    #[error("role: {0}")]
    Role(#[from] RoleError),
    /// A volume's name does not parse.
    #[error("volume.id: {0}")]
    Id(#[from] model::IdError),
    /// A volume's path is not one.
    #[error("volume: {0}")]
    Path(#[from] model::VolumePathError),
}

impl Reserved {
    /// The rows of what an agent has reserved.
    pub fn rows(total: &Resources) -> Vec<Self> {
        let reserved = total.iter().filter(|(flavor, _)| flavor.role().is_some());
        reserved
            .map(|(flavor, amounts)| {
                let plain = Resources::flavored(Flavor::default(), amounts.clone());
                Self {
                    reservations: flavor.reservations.iter().map(Layer::new).collect(),
                    volume: flavor.volume.as_ref().map(Volume::new),
                    disk_source: flavor.disk_source.as_deref().map(str::to_owned),
                    shared: flavor.access == Access::Shared,
                    amounts: Amounts::from(&plain),
                    text: plain.to_string().replace(' ', ";"),
                }
            })
            .collect()
    }

    /// The same as resources.
    ///
    /// # Errors
    ///
    /// If a text in it does not parse.
    pub fn to_resources(&self) -> Result<Resources, ReservedError> {
        let layers = self.reservations.iter().map(Layer::to_reservation);
        let volume = self.volume.as_ref().map(Volume::to_volume).transpose()?;
        let flavor = Flavor {
            reservations: layers.collect::<Result<_, _>>()?,
            volume,
            disk_source: self.disk_source.as_deref().map(Arc::from),
            guarantee: Guarantee::Firm,
            access: if self.shared { Access::Shared } else { Access::Sole },
        };
        let plain: Resources = self.text.parse()?;
        let amounts = plain.get(&Flavor::default()).cloned().unwrap_or_default();
        Ok(Resources::flavored(flavor, amounts))
    }

    /// Whose it is, for people: the role, and the volume's name.
    pub fn owner(&self) -> String {
        let role = self.reservations.last().map(|top| top.role.as_str()).unwrap_or_default();
        self.volume.as_ref().map_or_else(|| role.to_owned(), |volume| format!("{role} volume {}", volume.id))
    }
}

impl Layer {
    fn new(layer: &Reservation) -> Self {
        Self {
            role: layer.role.to_string(),
            kind: match layer.kind {
                ReservationKind::Static => "static".to_owned(),
                ReservationKind::Dynamic => "dynamic".to_owned(),
            },
            principal: layer.principal.as_deref().map(str::to_owned),
            labels: layer.labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
            expires_us: layer.expires.map(|at| at.0),
        }
    }

    fn to_reservation(&self) -> Result<Reservation, RoleError> {
        Ok(Reservation {
            role: Role::new(&self.role)?,
            kind: if self.kind == "static" { ReservationKind::Static } else { ReservationKind::Dynamic },
            principal: self.principal.as_deref().map(Arc::from),
            labels: self.labels.iter().map(|(key, value)| (Arc::from(&**key), Arc::from(&**value))).collect(),
            expires: self.expires_us.map(WallTime),
        })
    }
}

impl Volume {
    fn new(volume: &model::Volume) -> Self {
        Self { id: volume.id().to_string(), container_path: volume.container_path().to_owned() }
    }

    fn to_volume(&self) -> Result<model::Volume, ReservedError> {
        Ok(model::Volume::new(VolumeId::new(&self.id)?, &self.container_path)?)
    }
}
