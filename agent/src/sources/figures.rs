//! What plug-ins say of how much their devices do. It is asked for beside everything else: one that is slow, or answers nonsense, loses
//! its figures and nothing more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rialto_core::model::DeviceId;
use rialto_proto::device::{DeviceStats, StatsList};

use super::{Known, Plugin};

/// Between two questions.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// Between two questions to one that has no figures.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// The most figures of a device.
const MAX_FIGURES: usize = 32;
/// The most bytes of a figure's name.
const MAX_NAME_BYTES: usize = 64;

/// Figures of a device, by name.
pub(crate) type Figures = BTreeMap<String, f64>;

/// The last figures of each plug-in's devices.
#[derive(Debug, Default)]
pub(crate) struct Board(Mutex<BTreeMap<Arc<str>, BTreeMap<DeviceId, Figures>>>);

impl Board {
    fn post(&self, plugin: Arc<str>, figures: BTreeMap<DeviceId, Figures>) {
        self.lock().insert(plugin, figures);
    }

    fn wipe(&self, plugin: &str) {
        self.lock().remove(plugin);
    }

    /// Those of one device, if its plug-in tells any.
    pub(crate) fn of(&self, device: &DeviceId) -> Option<Figures> {
        self.lock().values().find_map(|devices| devices.get(device).cloned())
    }

    /// Those of all devices.
    pub(crate) fn all(&self) -> BTreeMap<DeviceId, Figures> {
        self.lock().values().flatten().map(|(device, figures)| (device.clone(), figures.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, BTreeMap<DeviceId, Figures>>> {
        // Entries are put in whole: a panic elsewhere can't have left one half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How the last question was answered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answered {
    Well,
    Badly,
}

/// Asks a plug-in again and again how much its devices do.
pub(crate) async fn watch(plugin: Plugin, known: Arc<Known>) {
    let mut last = Answered::Well;
    loop {
        let answer = plugin.stats().await;
        let pause = match &answer {
            Err(status) if status.code() == tonic::Code::Unimplemented => ASK_AGAIN,
            _ => ASK_EVERY,
        };
        let words = |status: tonic::Status| format!("{} ({:?})", status.message(), status.code());
        match answer.map_err(words).and_then(|list| figures(list, |device| is_of(&known, device, &plugin))) {
            Ok(figures) => {
                known.figures.post(plugin.name().into(), figures);
                last = Answered::Well;
            }
            Err(why) => {
                known.figures.wipe(plugin.name());
                if last == Answered::Well && pause == ASK_EVERY {
                    tracing::warn!("plug-in {}: it does not tell how much its devices do: {why}", plugin.name());
                }
                last = Answered::Badly;
            }
        }
        tokio::time::sleep(pause).await;
    }
}

fn is_of(known: &Known, device: &DeviceId, plugin: &Plugin) -> bool {
    known.plugin(device).is_some_and(|owner| owner.name() == plugin.name())
}

/// What is told of devices that are the plug-in's own; of others it has nothing to say.
fn figures(list: StatsList, is_own: impl Fn(&DeviceId) -> bool) -> Result<BTreeMap<DeviceId, Figures>, String> {
    let mut all = BTreeMap::new();
    for (index, DeviceStats { device, figures }) in list.devices.into_iter().enumerate() {
        let at = |what: &str| format!("devices[{index}].{what}");
        if figures.len() > MAX_FIGURES {
            return Err(at(&format!("figures: expected at most {MAX_FIGURES}, got {}", figures.len())));
        }
        for (name, value) in &figures {
            if !is_name(name) {
                return Err(at(&format!("figures: expected a name of letters, digits and '_', got {name:?}")));
            }
            if !value.is_finite() {
                return Err(at(&format!("figures[{name}]: expected a number, got {value}")));
            }
        }
        let id = DeviceId::new(&device);
        if is_own(&id) {
            all.insert(id, figures);
        }
    }
    Ok(all)
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.len() <= MAX_NAME_BYTES
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
#[path = "figures_tests.rs"]
mod tests;
