//! What outlives the framework's process: one entry for each app, and the counters. JSON, with a format number in each entry.

use std::collections::BTreeMap;
use std::sync::Arc;

use rialto_sdk::core::model::TaskId;
use serde::{Deserialize, Serialize};

use super::app::{App, Version};
use super::deployment::Deployment;
use super::instance::Instance;
use crate::spec;

/// The number of the format that is written here.
const FORMAT: u32 = 1;
/// The key of the counters.
pub(super) const COUNTERS_KEY: &str = "counters";
const APP_PREFIX: &str = "app/";

/// Why saved state can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("saved state of the web framework, entry {key:?}: {message}")]
pub struct SavedError {
    /// Which entry.
    pub key: String,
    /// What is wrong with it.
    pub message: String,
}

/// Numbers that are never given out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Counters {
    format: u32,
    pub(super) next_task: u64,
    pub(super) next_deployment: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Self { format: FORMAT, next_task: 1, next_deployment: 1 }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedApp {
    format: u32,
    name: Arc<str>,
    versions: BTreeMap<u64, SavedVersion>,
    stable: Option<u64>,
    target: Option<u64>,
    deployment: Option<Deployment>,
    history: Vec<Deployment>,
    instances: BTreeMap<String, Instance>,
    next_version: u64,
    deleting: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedVersion {
    text: Arc<str>,
    instances: u32,
}

/// The key that the app `name` is saved under.
pub(super) fn app_key(name: &str) -> String {
    format!("{APP_PREFIX}{name}")
}

pub(super) fn encode_counters(counters: &Counters) -> Vec<u8> {
    serde_json::to_vec(counters).expect("numbers have a JSON form")
}

pub(super) fn encode_app(app: &App) -> Vec<u8> {
    let version = |version: &Version| SavedVersion { text: version.text.clone(), instances: version.instances };
    let saved = SavedApp {
        format: FORMAT,
        name: app.name.clone(),
        versions: app.versions.iter().map(|(number, one)| (*number, version(one))).collect(),
        stable: app.stable,
        target: app.target,
        deployment: app.deployment.clone(),
        history: app.history.clone(),
        instances: app.instances.iter().map(|(task, instance)| (task.to_string(), instance.clone())).collect(),
        next_version: app.next_version,
        deleting: app.deleting,
    };
    serde_json::to_vec(&saved).expect("texts, numbers and maps with text keys have a JSON form")
}

/// The counters and apps among `saved`; other keys are left alone.
pub(super) fn decode(saved: &BTreeMap<String, Vec<u8>>) -> Result<(Counters, BTreeMap<Arc<str>, App>), SavedError> {
    let mut counters = Counters::default();
    let mut apps = BTreeMap::new();
    for (key, bytes) in saved {
        let fail = |message: String| SavedError { key: key.clone(), message };
        if key == COUNTERS_KEY {
            counters = serde_json::from_slice(bytes).map_err(|error| fail(error.to_string()))?;
            check_format(counters.format).map_err(fail)?;
        } else if key.starts_with(APP_PREFIX) {
            let app = decode_app(bytes).map_err(fail)?;
            apps.insert(app.name.clone(), app);
        }
    }
    Ok((counters, apps))
}

fn decode_app(bytes: &[u8]) -> Result<App, String> {
    let saved: SavedApp = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    check_format(saved.format)?;
    let mut versions = BTreeMap::new();
    for (number, SavedVersion { text, instances }) in saved.versions {
        let spec = spec::parse(&format!("version {number}"), &text).map_err(|error| error.to_string())?;
        versions.insert(number, Version { text, spec, instances });
    }
    if let Some(missing) = saved.target.iter().chain(&saved.stable).find(|number| !versions.contains_key(number)) {
        return Err(format!("version {missing} is named but not there"));
    }
    let task = |(id, instance): (String, Instance)| {
        Ok((TaskId::new(&id).map_err(|error| format!("instance {id:?}: {error}"))?, instance))
    };
    Ok(App {
        versions,
        stable: saved.stable,
        target: saved.target,
        deployment: saved.deployment,
        history: saved.history,
        instances: saved.instances.into_iter().map(task).collect::<Result<_, String>>()?,
        next_version: saved.next_version,
        deleting: saved.deleting,
        ..App::new(saved.name)
    })
}

fn check_format(format: u32) -> Result<(), String> {
    if format == FORMAT {
        Ok(())
    } else {
        Err(format!("expected format {FORMAT}, got {format}; was it written by a newer Rialto?"))
    }
}
