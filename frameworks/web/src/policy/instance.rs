use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rialto_sdk::core::model::{Status, TaskHealth, TaskState, Time};
use serde::{Deserialize, Serialize};

/// How long nothing may be heard of a launch before it is taken back.
const LAUNCH_TIMEOUT: Duration = Duration::from_secs(120);

/// One run of an app's command, as the policy knows it. Moments are not durable: after a restart they begin anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Instance {
    pub(super) version: u64,
    pub(super) state: State,
    /// What its check says; where there is none, whether it runs.
    pub(super) healthy: bool,
    pub(super) agent: Arc<str>,
    /// Where its ports are reached.
    pub(super) host: Arc<str>,
    pub(super) ports: Vec<u64>,
    /// Since when it is in its state.
    #[serde(skip)]
    pub(super) since: Time,
    #[serde(skip)]
    pub(super) healthy_since: Option<Time>,
}

/// Where an instance stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// Launched; nothing heard of it.
    Launched,
    /// Its agent is getting it ready.
    Starting,
    /// Its command runs.
    Running,
    /// Its agent can't be reached.
    Unreachable,
    /// It was told to end, or given up.
    Ending,
}

impl Instance {
    /// Whether it counts as one of the app's.
    pub(super) fn is_alive(&self) -> bool {
        self.state != State::Ending
    }

    /// Whether it can be sent requests.
    pub(super) fn is_serving(&self) -> bool {
        self.state == State::Running && self.healthy
    }

    /// From when on it counts as ready, if it stays as it is.
    pub(super) fn ready_at(&self, min_healthy: Duration) -> Option<Time> {
        self.healthy_since.filter(|_| self.is_serving()).map(|since| since + min_healthy)
    }

    /// When it is given up, if it stays as it is; `patience` says for each version how long an unreachable one is waited for.
    pub(super) fn gives_up_at(&self, patience: &BTreeMap<u64, Duration>) -> Option<Time> {
        match self.state {
            State::Launched => Some(self.since + LAUNCH_TIMEOUT),
            State::Unreachable => Some(self.since + patience.get(&self.version).copied().unwrap_or_default()),
            State::Starting | State::Running | State::Ending => None,
        }
    }

    /// A state that is not terminal. `checked` says whether the app has a health check.
    pub(super) fn on_status(&mut self, now: Time, status: &Status, checked: bool) {
        if self.state == State::Ending {
            return;
        }
        match status.state {
            TaskState::Running => {
                let healthy = match (checked, status.health) {
                    (false, _) => true,
                    (true, Some(health)) => health == TaskHealth::Healthy,
                    (true, None) => self.healthy,
                };
                self.enter(now, State::Running);
                self.set_healthy(now, healthy);
            }
            TaskState::Unreachable => self.enter(now, State::Unreachable),
            TaskState::Killing => self.set_healthy(now, false),
            TaskState::Staging | TaskState::Starting if self.state == State::Launched => {
                self.enter(now, State::Starting);
            }
            _ => {}
        }
    }

    /// It is told to end.
    pub(super) fn end(&mut self, now: Time) {
        self.enter(now, State::Ending);
        self.set_healthy(now, false);
    }

    /// The process is new: moments begin now.
    pub(super) fn resume(&mut self, now: Time) {
        self.since = now;
        self.healthy_since = self.healthy.then_some(now);
    }

    fn enter(&mut self, now: Time, state: State) {
        if self.state != state {
            self.state = state;
            self.since = now;
        }
    }

    fn set_healthy(&mut self, now: Time, healthy: bool) {
        if self.healthy != healthy {
            self.healthy = healthy;
            self.healthy_since = healthy.then_some(now);
        }
    }
}
