use std::collections::BTreeMap;
use std::sync::Arc;

use rialto_core::model::{Attribute, Device, DeviceId, DeviceMode, Health, Proof, Quantities, Topology};

use super::{check_kind, pairs, parse_mode};

/// The most fake devices of one source.
const MAX_COUNT: u32 = 256;

/// Devices that exist in name only, for trying things out and for tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fake {
    kind: Arc<str>,
    count: u32,
    vendor: Arc<str>,
    model: Arc<str>,
    generation: u32,
    mode: DeviceMode,
    attributes: BTreeMap<Arc<str>, Attribute>,
}

impl Fake {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (kind, rest) = text.split_once(',').unwrap_or((text, ""));
        let kind = kind.trim();
        check_kind(kind)?;
        let mut fake = Self {
            kind: kind.into(),
            count: 1,
            vendor: "fake".into(),
            model: "".into(),
            generation: 0,
            mode: DeviceMode::Exclusive,
            attributes: BTreeMap::new(),
        };
        for (name, value) in pairs(rest)? {
            fake.set(name, value)?;
        }
        Ok(fake)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "count" => self.count = number(name, value, MAX_COUNT)?,
            "generation" => self.generation = number(name, value, u32::MAX)?,
            "vendor" => self.vendor = value.into(),
            "model" => {
                check_kind(&format!("m{value}"))
                    .map_err(|_| format!("model: expected letters, digits, '-', '_' or '.', got {value:?}"))?;
                self.model = value.into();
            }
            "mode" => self.mode = parse_mode(value)?,
            _ => drop(self.attributes.insert(name.into(), Attribute::parse(value))),
        }
        Ok(())
    }

    pub(super) fn devices(&self) -> Vec<Device> {
        (0..self.count).map(|index| self.device(index)).collect()
    }

    fn device(&self, index: u32) -> Device {
        let id = if self.model.is_empty() {
            format!("{}-{index}", self.kind)
        } else {
            format!("{}-{}-{index}", self.kind, self.model)
        };
        Device {
            id: DeviceId::new(&id),
            kind: self.kind.clone(),
            vendor: self.vendor.clone(),
            model: self.model.clone(),
            generation: self.generation,
            attributes: self.attributes.clone(),
            topology: Topology::default(),
            mode: self.mode,
            health: Health::Healthy,
            nodes: Vec::new(),
            proof: Proof::TreeGone,
            host_share: Quantities::new(),
        }
    }
}

fn number(name: &str, value: &str, max: u32) -> Result<u32, String> {
    value
        .parse()
        .ok()
        .filter(|number| *number <= max)
        .ok_or_else(|| format!("{name}: expected a number up to {max}, got {value:?}"))
}
