use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rialto_core::model::{Device, DeviceId};

use super::{Added, Board, Found, Plugin};

/// What the sources have said of each device. One that is not there any more is still known: somebody may hold it.
#[derive(Debug, Default)]
pub(crate) struct Known {
    from: Mutex<BTreeMap<DeviceId, From>>,
    /// How much they do, as plug-ins tell it.
    pub(crate) figures: Board,
}

#[derive(Clone, Debug)]
enum From {
    Look(Added),
    Plugin(Plugin),
}

impl Known {
    pub(crate) fn learn(&self, found: &[Found]) {
        let mut known = self.lock();
        known.extend(found.iter().map(|found| (found.device.id.clone(), From::Look(found.added.clone()))));
    }

    pub(crate) fn learn_plugin(&self, plugin: &Plugin, devices: &[Device]) {
        self.lock().extend(devices.iter().map(|device| (device.id.clone(), From::Plugin(plugin.clone()))));
    }

    /// What a task gets beside this device, where that is known without asking.
    pub(crate) fn added(&self, device: &DeviceId) -> Option<Added> {
        match self.lock().get(device) {
            Some(From::Look(added)) => Some(added.clone()),
            _ => None,
        }
    }

    /// The plug-in whose device this is.
    pub(crate) fn plugin(&self, device: &DeviceId) -> Option<Plugin> {
        match self.lock().get(device) {
            Some(From::Plugin(plugin)) => Some(plugin.clone()),
            _ => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<DeviceId, From>> {
        // Entries are put in whole: a panic elsewhere can't have left one half changed.
        self.from.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
