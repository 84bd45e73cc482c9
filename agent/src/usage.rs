//! What tasks use, as their cgroups have counted it.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use rialto_core::model::{DeviceId, TaskKey};
use serde::Serialize;

use crate::cgroup::{Group, Hierarchies, Stats};
use crate::launcher::cgroup_name;
use crate::sources::Figures;

/// Reads the counters of tasks.
#[derive(Clone, Debug)]
pub(crate) struct Meter(Hierarchies);

/// What is said of a task at one moment.
#[derive(Debug, Serialize)]
struct Line {
    /// By the wall clock, in milliseconds since 1970.
    at_unix_ms: u128,
    #[serde(flatten)]
    stats: Stats,
    /// How much its devices do, of those whose source tells it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    devices: BTreeMap<String, Figures>,
}

impl Meter {
    pub(crate) const fn new(cgroups: Hierarchies) -> Self {
        Self(cgroups)
    }

    /// What the task uses now, and has used since it started. Blocks for a moment.
    ///
    /// # Errors
    /// Says why it can't be known.
    pub(crate) fn measure(&self, task: &TaskKey) -> Result<Stats, String> {
        if self.0.0.is_empty() {
            return Err("its agent has no cgroups, and so can't measure".to_owned());
        }
        let group = Group::open(&self.0, &cgroup_name(task)).map_err(|error| error.to_string())?;
        Ok(group.ok_or_else(|| "it has not started yet".to_owned())?.stats())
    }

    /// The same as a line of JSON, with the disk that it takes, and how much its devices do.
    ///
    /// # Errors
    /// Says why it can't be known.
    pub(crate) fn read(
        &self,
        task: &TaskKey,
        disk_bytes: Option<u64>,
        devices: BTreeMap<DeviceId, Figures>,
    ) -> Result<String, String> {
        let stats = Stats { disk_bytes, ..self.measure(task)? };
        let at_unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let devices = devices.into_iter().map(|(device, figures)| (device.to_string(), figures)).collect();
        let line = serde_json::to_string(&Line { at_unix_ms, stats, devices }).map_err(|error| error.to_string())?;
        Ok(line + "\n")
    }
}
