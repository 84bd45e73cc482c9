//! What devices bring with them, asked of their sources before a group is started.

use std::collections::BTreeMap;
use std::sync::Arc;

use rialto_core::model::{DeviceId, TaskKey};

use super::{Group, Launcher, Order};
use crate::sources::{Added, Plugin};
use crate::supervisor::protocol;

impl Group {
    /// Adds to the members what their devices bring with them; `None` if the group is to end instead.
    pub(super) async fn equip_unless_killed(&mut self, spec: &mut protocol::Spec) -> Option<Result<(), String>> {
        let equipment = Equipment { launcher: self.launcher.clone(), order: &self.order, tasks: &self.tasks };
        tokio::select! {
            done = equipment.add_to(spec) => Some(done),
            Some(_) = self.kills.recv() => None,
        }
    }
}

/// What the devices of a group bring with them.
struct Equipment<'a> {
    launcher: Arc<Launcher>,
    order: &'a Order,
    tasks: &'a [TaskKey],
}

impl Equipment<'_> {
    /// Adds to the members what their devices bring with them, after plug-ins have got theirs ready.
    ///
    /// # Errors
    /// A plug-in can't get a device ready, or this agent can't show what comes with one.
    async fn add_to(&self, spec: &mut protocol::Spec) -> Result<(), String> {
        for member in 0..self.tasks.len() {
            let devices = self.order.devices.get(&self.tasks[member].task).map(Vec::as_slice).unwrap_or_default();
            let mut of_plugins: BTreeMap<String, (Plugin, Vec<DeviceId>)> = BTreeMap::new();
            for device in devices {
                let known = &self.launcher.known;
                if let Some(plugin) = known.plugin(&device.id) {
                    let name = plugin.name().to_owned();
                    of_plugins.entry(name).or_insert_with(|| (plugin, Vec::new())).1.push(device.id.clone());
                } else if let Some(added) = known.added(&device.id) {
                    self.add(&mut spec.tasks[member], added)?;
                }
            }
            for (plugin, devices) in of_plugins.into_values() {
                let prepared = plugin.prepare(&self.tasks[member], &devices).await;
                self.add(&mut spec.tasks[member], prepared.map_err(|error| error.to_string())?)?;
            }
        }
        Ok(())
    }

    fn add(&self, task: &mut protocol::TaskSpec, added: Added) -> Result<(), String> {
        if added.edits.moves_anything() && !self.launcher.isolation.has_namespaces() {
            return Err("its device wants files shown elsewhere, and this agent has no namespaces".to_owned());
        }
        if !added.edits.hooks.is_empty() && !self.launcher.isolation.runs_hooks() {
            return Err("its device has hooks to be run, and this agent has no namespaces, or is not root".to_owned());
        }
        task.env.extend(added.env);
        task.edits.extend(added.edits);
        Ok(())
    }
}
