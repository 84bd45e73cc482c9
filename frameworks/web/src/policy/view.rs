//! What the API tells of apps and deployments.

use std::sync::Arc;

use rialto_sdk::core::model::Time;
use serde::{Deserialize, Serialize};

use super::app::App;
use super::deployment::{Deployment, DeploymentState, Kind};
use super::instance::{Instance, State};

/// An app, for people and programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppView {
    /// Its name.
    pub name: Arc<str>,
    /// The version that instances are, or are becoming; none if it has failed or is being deleted.
    pub version: Option<u64>,
    /// How many instances are wanted.
    pub instances_wanted: u32,
    /// How many serve.
    pub instances_serving: u32,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// For how many milliseconds no instance is started, because they keep ending.
    pub backoff_ms: Option<u64>,
    /// How many instances have ended by themselves, one after the other.
    pub crashes: u32,
    /// What is under way, else what was last.
    pub deployment: Option<DeploymentView>,
    /// Where it is served: `HOST:PORT` of the first port of each instance that serves.
    pub endpoints: Vec<String>,
    /// Its instances.
    pub instances: Vec<InstanceView>,
}

/// An instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceView {
    /// Its task.
    pub task: String,
    /// Of which version it is.
    pub version: u64,
    /// `launched`, `starting`, `running`, `unreachable` or `ending`.
    pub state: String,
    /// What its check says; without one, whether it runs.
    pub healthy: bool,
    /// On which agent.
    pub agent: Arc<str>,
    /// Its ports, as `HOST:PORT`, in the order of the app file.
    pub ports: Vec<String>,
}

/// A deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentView {
    /// Its number.
    pub id: u64,
    /// Of which app.
    pub app: Arc<str>,
    /// What it changes.
    pub kind: Kind,
    /// Where it stands.
    pub state: DeploymentState,
    /// The version before.
    pub from: Option<u64>,
    /// The version that it brings.
    pub to: u64,
    /// How many instances of the wanted version have been well for long enough.
    pub ready: u32,
    /// How many of the wanted version there are.
    pub started: u32,
    /// How many there shall be.
    pub wanted: u32,
    /// How many are to be started and find no room.
    pub unplaced: u32,
    /// How many of other versions are left.
    pub others: u32,
    /// How many instances of the new version have failed.
    pub failures: u32,
    /// Why it was rolled back or has failed; else how an instance failed last.
    pub reason: Option<String>,
}

impl App {
    pub(super) fn view(&self, now: Time) -> AppView {
        let last = self.deployment.as_ref().or_else(|| self.history.last());
        let wanted = self.wanted_version();
        let serving = self.instances.values().filter(|instance| instance.is_serving());
        let pause = self.backoff.until().map(|until| until.since(now)).filter(|pause| !pause.is_zero());
        AppView {
            name: self.name.clone(),
            version: self.target,
            instances_wanted: wanted.map_or(0, |(_, version)| version.instances),
            instances_serving: count(serving.clone()),
            deleting: self.deleting,
            backoff_ms: pause.map(|pause| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)),
            crashes: self.backoff.ends(),
            deployment: last.map(|deployment| self.view_deployment(deployment, now)),
            endpoints: serving.filter_map(|instance| addresses(instance).into_iter().next()).collect(),
            instances: self.instances.iter().map(|(task, instance)| view_instance(task.as_str(), instance)).collect(),
        }
    }

    /// The deployment `id`, if it is this app's and remembered.
    pub(super) fn deployment(&self, id: u64) -> Option<&Deployment> {
        self.deployment.iter().chain(&self.history).find(|deployment| deployment.id == id)
    }

    pub(super) fn view_deployment(&self, deployment: &Deployment, now: Time) -> DeploymentView {
        let Deployment { id, kind, state, from, to, failures, ref reason, .. } = *deployment;
        let wanted = self.wanted_version();
        let gathering = self.gathers_until.is_some_and(|until| until > now);
        let min_healthy = wanted.map_or_else(Default::default, |(_, version)| version.spec.update.min_healthy);
        let is_wanted = |instance: &&Instance| wanted.is_some_and(|(number, _)| instance.version == number);
        DeploymentView {
            id,
            app: self.name.clone(),
            kind,
            state,
            from,
            to,
            ready: wanted
                .map_or(0, |(number, _)| u32::try_from(self.ready(number, now, min_healthy)).unwrap_or(u32::MAX)),
            started: count(self.instances.values().filter(|instance| instance.is_alive()).filter(is_wanted)),
            wanted: wanted.map_or(0, |(_, version)| version.instances),
            unplaced: if gathering { 0 } else { self.to_launch(now).map_or(0, |(_, count)| count) },
            others: count(self.instances.values().filter(|instance| !is_wanted(instance))),
            failures,
            reason: reason.clone(),
        }
    }
}

fn view_instance(task: &str, instance: &Instance) -> InstanceView {
    let state = match instance.state {
        State::Launched => "launched",
        State::Starting => "starting",
        State::Running => "running",
        State::Unreachable => "unreachable",
        State::Ending => "ending",
    };
    InstanceView {
        task: task.to_owned(),
        version: instance.version,
        state: state.to_owned(),
        healthy: instance.healthy,
        agent: instance.agent.clone(),
        ports: addresses(instance),
    }
}

/// Where an instance's ports are reached.
fn addresses(instance: &Instance) -> Vec<String> {
    let host = &instance.host;
    let bracketed = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
    instance.ports.iter().map(|port| format!("{bracketed}:{port}")).collect()
}

fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}
