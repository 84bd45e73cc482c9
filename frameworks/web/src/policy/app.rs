use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rialto_sdk::core::model::{Status, TaskId, Time};

use super::backoff::Backoff;
use super::deployment::{Deployment, DeploymentState, Kind};
use super::instance::{Instance, State};
use crate::spec::{AppSpec, Spread, Update};

/// How many deployments of the past are remembered.
const MAX_HISTORY: usize = 10;
/// How long an app that is to be spread waits for offers of more agents before it takes those that are there.
const GATHER: Duration = Duration::from_millis(200);

/// One app: its versions, what runs, and what is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct App {
    pub(super) name: Arc<str>,
    pub(super) versions: BTreeMap<u64, Version>,
    /// The last version that was good.
    pub(super) stable: Option<u64>,
    /// The version that instances shall be of; none if there shall be none.
    pub(super) target: Option<u64>,
    pub(super) deployment: Option<Deployment>,
    /// Oldest first.
    pub(super) history: Vec<Deployment>,
    pub(super) instances: BTreeMap<TaskId, Instance>,
    pub(super) next_version: u64,
    pub(super) deleting: bool,
    /// Not durable: after a restart every version may start at once.
    pub(super) backoff: Backoff,
    /// Until when offers are gathered for what is missing.
    pub(super) gathers_until: Option<Time>,
}

/// One version of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    /// The app file as it was given.
    pub(super) text: Arc<str>,
    pub(super) spec: AppSpec,
    /// How many instances are wanted; scaling changes it.
    pub(super) instances: u32,
}

/// Why an instance is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// It ended by itself, or its check failed.
    Own,
    /// The cluster lost it, or somebody ended it by hand.
    Foreign,
    /// The master refuses to launch it, now and ever.
    Hopeless,
}

impl App {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            versions: BTreeMap::new(),
            stable: None,
            target: None,
            deployment: None,
            history: Vec::new(),
            instances: BTreeMap::new(),
            next_version: 1,
            deleting: false,
            backoff: Backoff::default(),
            gathers_until: None,
        }
    }

    /// The version that instances shall be of.
    pub(super) fn wanted_version(&self) -> Option<(u64, &Version)> {
        let number = self.target?;
        Some((number, &self.versions[&number]))
    }

    /// Adds a version and starts to roll it out as deployment `id`.
    pub(super) fn deploy(&mut self, id: u64, kind: Kind, version: Version) {
        let to = self.next_version;
        self.next_version += 1;
        self.versions.insert(to, version);
        self.begin(id, kind, to);
    }

    /// Changes how many instances there shall be, also of the version to go back to.
    pub(super) fn scale(&mut self, id: u64, instances: u32) -> u64 {
        for version in self.versions.values_mut() {
            version.instances = instances;
        }
        if let Some(running) = &self.deployment {
            return running.id;
        }
        if let Some(to) = self.target {
            self.begin(id, Kind::Scale, to);
        }
        id
    }

    /// Everything goes.
    pub(super) fn delete(&mut self) {
        self.deleting = true;
        self.target = None;
        self.finish(DeploymentState::Superseded);
    }

    fn begin(&mut self, id: u64, kind: Kind, to: u64) {
        self.finish(DeploymentState::Superseded);
        self.backoff = Backoff::default();
        self.target = Some(to);
        let state = DeploymentState::Rolling;
        let from = self.stable;
        self.deployment =
            Some(Deployment { id, kind, state, from, to, failures: 0, reason: None, best: 0, deadline: None });
    }

    fn finish(&mut self, state: DeploymentState) {
        let Some(mut deployment) = self.deployment.take() else { return };
        deployment.state = state;
        self.history.push(deployment);
        if self.history.len() > MAX_HISTORY {
            self.history.remove(0);
        }
    }

    /// A state of one of its instances that is not the last.
    pub(super) fn on_status(&mut self, now: Time, status: &Status) {
        let Some(instance) = self.instances.get_mut(&status.task) else { return };
        let checked = self.versions.get(&instance.version).is_some_and(|version| version.spec.health.is_some());
        instance.on_status(now, status, checked);
    }

    /// An instance is no more.
    pub(super) fn on_end(&mut self, now: Time, task: &TaskId, cause: Cause, text: &str) {
        let Some(instance) = self.instances.remove(task) else { return };
        if instance.state == State::Ending {
            return;
        }
        let Some((wanted, version)) = self.wanted_version() else { return };
        if instance.version != wanted {
            return;
        }
        let restart = version.spec.restart;
        let lasted = if instance.state == State::Running { now.since(instance.since) } else { Duration::ZERO };
        match cause {
            Cause::Own | Cause::Hopeless => self.backoff.on_crash(now, lasted, &restart),
            Cause::Foreign => self.backoff.on_loss(now, lasted, &restart),
        }
        self.count_failure(&instance, cause, text);
    }

    fn count_failure(&mut self, instance: &Instance, cause: Cause, text: &str) {
        let limit = self.versions.get(&instance.version).map_or(0, |version| version.spec.update.max_failures);
        let Some(deployment) = &mut self.deployment else { return };
        let judged = deployment.state == DeploymentState::Rolling && deployment.to == instance.version;
        if !judged || cause == Cause::Foreign {
            return;
        }
        deployment.failures += 1;
        deployment.reason = Some(text.to_owned());
        let (failures, is_scale) = (deployment.failures, deployment.kind == Kind::Scale);
        if !is_scale && (failures > limit || cause == Cause::Hopeless) {
            let times = if failures == 1 { "once".to_owned() } else { format!("{failures} times") };
            self.roll_back(format!("instances of version {} failed {times}, at last: {text}", instance.version));
        }
    }

    /// Gives the new version up.
    fn roll_back(&mut self, reason: String) {
        let Some(deployment) = &mut self.deployment else { return };
        deployment.reason = Some(reason);
        let from = deployment.from.filter(|from| *from != deployment.to);
        self.backoff = Backoff::default();
        self.target = from;
        if from.is_some() {
            deployment.state = DeploymentState::RollingBack;
        } else {
            self.finish(DeploymentState::Failed);
        }
    }

    /// Looks at where it stands, and says which instances are to end.
    pub(super) fn step(&mut self, now: Time) -> Vec<TaskId> {
        let mut ending = self.give_up_lost(now);
        self.judge(now);
        let excess = self.excess(now);
        for task in &excess {
            if let Some(instance) = self.instances.get_mut(task) {
                instance.end(now);
            }
        }
        ending.extend(excess);
        // What has just been told to end may have been the last of the old ones.
        self.judge(now);
        self.prune();
        ending
    }

    /// Those that have been away for too long. They are told to end for the case that they come back.
    fn give_up_lost(&mut self, now: Time) -> Vec<TaskId> {
        let patience = self.patience();
        let mut given_up = Vec::new();
        for (task, instance) in &mut self.instances {
            if instance.gives_up_at(&patience).is_some_and(|at| at <= now) {
                instance.end(now);
                given_up.push(task.clone());
            }
        }
        given_up
    }

    /// Whether the deployment has made progress, is done, or is late.
    fn judge(&mut self, now: Time) {
        let Some((wanted, version)) = self.wanted_version() else { return };
        let (instances, update) = (version.instances as usize, version.spec.update);
        let ready = self.ready(wanted, now, update.min_healthy);
        let others = self.alive().filter(|instance| instance.version != wanted).count();
        let surplus = self.alive().count() > instances;
        let Some(deployment) = &mut self.deployment else { return };
        if ready > deployment.best || deployment.deadline.is_none() {
            deployment.best = deployment.best.max(ready);
            deployment.deadline = Some(now + update.deadline);
        }
        if ready >= instances && others == 0 && !surplus {
            self.stable = Some(wanted);
            let back =
                self.deployment.as_ref().is_some_and(|deployment| deployment.state == DeploymentState::RollingBack);
            self.finish(if back { DeploymentState::RolledBack } else { DeploymentState::Done });
            return;
        }
        let late = deployment.state == DeploymentState::Rolling && deployment.deadline.is_some_and(|at| at <= now);
        if late {
            let unplaced = self.to_launch(now).map_or(0, |(_, count)| count);
            self.on_late(update, ready, instances, unplaced);
        }
    }

    fn on_late(&mut self, update: Update, ready: usize, instances: usize, unplaced: u32) {
        let Some(deployment) = &mut self.deployment else { return };
        let last = deployment.reason.take().map_or_else(String::new, |last| format!("; at last: {last}"));
        let room = if unplaced == 0 { String::new() } else { format!(", {unplaced} found no room") };
        let time = update.deadline;
        let reason = format!("no progress for {time:?} with {ready} of {instances} instances ready{room}{last}");
        if deployment.kind == Kind::Scale {
            deployment.reason = Some(reason);
            self.finish(DeploymentState::Failed);
        } else {
            self.roll_back(reason);
        }
    }

    /// Which instances are to end, so that as many serve as must.
    fn excess(&self, now: Time) -> Vec<TaskId> {
        let Some((wanted, version)) = self.wanted_version() else {
            return self
                .instances
                .iter()
                .filter(|(_, instance)| instance.is_alive())
                .map(|(task, _)| task.clone())
                .collect();
        };
        let (mut new, old): (Vec<_>, Vec<_>) = self
            .instances
            .iter()
            .filter(|(_, instance)| instance.is_alive())
            .partition(|(_, instance)| instance.version == wanted);
        let mut ending = old_to_end(old, self.ready(wanted, now, version.spec.update.min_healthy), version);
        let surplus = new.len().saturating_sub(version.instances as usize);
        // Those that serve nobody first, then the youngest.
        new.sort_by_key(|(task, instance)| (instance.is_serving(), Reverse(instance.since), Reverse((*task).clone())));
        ending.extend(new.into_iter().take(surplus).map(|(task, _)| task.clone()));
        ending
    }

    /// How many instances are to be launched now, and of which version.
    pub(super) fn to_launch(&self, now: Time) -> Option<(u64, u32)> {
        if self.backoff.until().is_some_and(|until| until > now) {
            return None;
        }
        let (wanted, version) = self.wanted_version()?;
        let alive = self.alive().count();
        let new = self.alive().filter(|instance| instance.version == wanted).count();
        let instances = version.instances as usize;
        let missing = instances.saturating_sub(new);
        let room = (instances + version.spec.update.max_surge as usize).saturating_sub(alive);
        let count = if alive == new { missing } else { missing.min(room) };
        u32::try_from(count).ok().filter(|count| *count > 0).map(|count| (wanted, count))
    }

    /// Whether what is missing waits a moment, so that there is a choice of agents; begins to wait where something is missing newly.
    pub(super) fn gathers(&mut self, now: Time) -> bool {
        let missing = self.to_launch(now).and_then(|(version, _)| self.versions.get(&version));
        if missing.is_none_or(|version| version.spec.spread == Spread::Packed) {
            self.gathers_until = None;
            return false;
        }
        *self.gathers_until.get_or_insert(now + GATHER) > now
    }

    /// When it must be looked at again at the latest, if nothing happens before.
    pub(super) fn next_deadline(&self, now: Time) -> Option<Time> {
        let patience = self.patience();
        let given_up = self.instances.values().filter_map(|instance| instance.gives_up_at(&patience));
        let min_healthy = self.wanted_version().map_or(Duration::ZERO, |(_, version)| version.spec.update.min_healthy);
        let ready = self.alive().filter_map(|instance| instance.ready_at(min_healthy));
        let rolling = self.deployment.iter().filter(|deployment| deployment.state == DeploymentState::Rolling);
        let late = rolling.filter_map(|deployment| deployment.deadline);
        given_up
            .chain(ready)
            .chain(late)
            .chain(self.backoff.until())
            .chain(self.gathers_until)
            .filter(|at| *at > now)
            .min()
    }

    /// How many instances of `version` have been well for long enough.
    pub(super) fn ready(&self, version: u64, now: Time, min_healthy: Duration) -> usize {
        let is_ready = |instance: &&Instance| {
            instance.version == version && instance.ready_at(min_healthy).is_some_and(|at| at <= now)
        };
        self.instances.values().filter(is_ready).count()
    }

    /// How long an unreachable instance of each version is waited for.
    fn patience(&self) -> BTreeMap<u64, Duration> {
        self.versions.iter().map(|(number, version)| (*number, version.spec.replace_unreachable_after)).collect()
    }

    pub(super) fn alive(&self) -> impl Iterator<Item = &Instance> {
        self.instances.values().filter(|instance| instance.is_alive())
    }

    /// Forgets versions that nothing refers to.
    fn prune(&mut self) {
        let (stable, target) = (self.stable, self.target);
        let used = |number: &u64| {
            Some(*number) == stable
                || Some(*number) == target
                || self.instances.values().any(|instance| instance.version == *number)
        };
        self.versions.retain(|number, _| used(number));
    }
}

/// Instances of other versions: those that serve nobody go at once, the others, oldest first, as far as enough serve without them.
fn old_to_end(mut old: Vec<(&TaskId, &Instance)>, ready: usize, version: &Version) -> Vec<TaskId> {
    let floor = (version.instances as usize).saturating_sub(version.spec.update.max_unavailable as usize);
    old.sort_by_key(|(task, instance)| (instance.is_serving(), instance.since, (*task).clone()));
    let mut serving = ready + old.iter().filter(|(_, instance)| instance.is_serving()).count();
    let mut ending = Vec::new();
    for (task, instance) in old {
        if instance.is_serving() {
            if serving <= floor {
                continue;
            }
            serving -= 1;
        }
        ending.push(task.clone());
    }
    ending
}
