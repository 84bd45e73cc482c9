//! What must hold across nodes, whatever happened; see the invariants in `semantics`.
//!
//! The checkers know what really happened: which processes ran, what each policy was told, who asked for a kill. The first thing that
//! does not hold ends the run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rialto_core::model::{
    AgentId, CallId, FrameworkId, RequestId, Source, Status, TaskId, TaskKey, TaskState, Time, UpdateId,
};

use crate::workload::Seen;

/// What is known of a task.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// The state that the policy knows for good.
    state: TaskState,
    rejected: bool,
    ended: bool,
    pub(crate) started: bool,
    pub(crate) alive: bool,
    /// When its process was started.
    since: Time,
    /// Its command was running.
    pub(crate) ran: bool,
    pub(crate) kill_asked: bool,
    /// The agent that it was launched on, as its framework named it.
    agent: Option<AgentId>,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            state: TaskState::Staging,
            rejected: false,
            ended: false,
            started: false,
            alive: false,
            since: Time::ZERO,
            ran: false,
            kill_asked: false,
            agent: None,
        }
    }
}

/// The checkers.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    pub(crate) now: Time,
    pub(crate) tasks: BTreeMap<TaskKey, Facts>,
    /// Frameworks that were removed, or may be.
    pub(crate) removed: BTreeSet<FrameworkId>,
    /// Agents that an operator declared gone, or that were taken away when that had been announced.
    pub(crate) gone: BTreeSet<AgentId>,
    /// The members of every gang.
    pub(crate) gangs: BTreeMap<(FrameworkId, CallId), Vec<TaskKey>>,
    updates: BTreeSet<(FrameworkId, UpdateId)>,
    /// What happened to tasks.
    pub(crate) events: u64,
    /// Kills by operators that no master has answered yet.
    kill_requests: BTreeMap<RequestId, TaskKey>,
    /// Kills that a master has promised.
    kills_promised: BTreeSet<TaskKey>,
    broken: Option<String>,
}

impl Checks {
    /// The first thing that did not hold.
    pub(crate) fn broken(&mut self) -> Option<String> {
        self.broken.take()
    }

    pub(crate) fn fail(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    pub(crate) fn require(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.fail(what());
        }
    }

    /// A framework has sent a launch: from now on the task must come to an end.
    pub(crate) fn launched(&mut self, key: TaskKey, agent: AgentId) {
        self.events += 1;
        self.tasks.entry(key).or_default().agent = Some(agent);
    }

    pub(crate) fn kill_asked(&mut self, key: TaskKey) {
        self.tasks.entry(key).or_default().kill_asked = true;
    }

    pub(crate) fn kill_requested(&mut self, request: RequestId, key: TaskKey) {
        self.kill_requests.insert(request, key);
    }

    /// A master answers an operator: from now on a kill is carried out, whoever leads.
    pub(crate) fn answered(&mut self, request: RequestId, is_done: bool) -> Option<TaskKey> {
        let key = self.kill_requests.remove(&request).filter(|_| is_done);
        self.kills_promised.extend(key.clone());
        key
    }

    /// Once all has healed and settled, no task lives that a master has promised to kill.
    pub(crate) fn check_kills(&mut self) {
        let lives = |key: &&TaskKey| self.tasks.get(*key).is_some_and(|facts| facts.alive);
        let spared = self.kills_promised.iter().find(|key| lives(key) && !self.is_given_up(key)).cloned();
        if let Some(key) = spared {
            self.fail(format!("{key} was to be killed, as its master had promised, and lives"));
        }
    }

    /// A process is started: once for each task, and never after its framework was told that the task has ended.
    pub(crate) fn started(&mut self, key: &TaskKey) {
        self.events += 1;
        let excused = self.is_given_up(key);
        let facts = self.tasks.entry(key.clone()).or_default();
        let before = std::mem::replace(facts, Facts { started: true, alive: true, since: self.now, ..facts.clone() });
        self.require(!before.started, || format!("{key} is started twice"));
        self.require(!before.ended || excused, || {
            format!("I3: {key} is started after its framework was told {}", before.state)
        });
        self.require(!before.rejected, || {
            format!("I3: {key} is started after its framework was told that it was not launched")
        });
    }

    pub(crate) fn ran(&mut self, key: &TaskKey) {
        self.tasks.entry(key.clone()).or_default().ran = true;
    }

    pub(crate) fn died(&mut self, key: &TaskKey) {
        self.events += 1;
        self.tasks.entry(key.clone()).or_default().alive = false;
    }

    /// A process is killed: only if somebody asked for it.
    pub(crate) fn killed(&mut self, key: &TaskKey) {
        let asked = self.tasks.get(key).is_some_and(|facts| facts.kill_asked);
        let excused = self.is_given_up(key);
        // A gang is aborted when a member has ended, or is lost with its agent, before anybody heard that it ran.
        let lives = |other: &TaskKey| self.tasks.get(other).is_some_and(|facts| facts.ran && facts.alive);
        let is_gone = |other: &TaskKey| other != key && (!lives(other) || self.is_given_up(other));
        let gang_broken = self.gangs.values().any(|gang| gang.contains(key) && gang.iter().any(is_gone));
        self.require(asked || excused || gang_broken, || format!("I7: {key} is killed, and nobody asked for it"));
    }

    fn all_ran(&self, gang: &[TaskKey]) -> bool {
        gang.iter().all(|key| self.tasks.get(key).is_some_and(|facts| facts.ran))
    }

    /// How many gangs ran as a whole, and how many were started in part and ended.
    pub(crate) fn count_gangs(&self) -> (usize, usize) {
        let started = |gang: &&Vec<TaskKey>| gang.iter().any(|key| self.tasks[key].started);
        let whole = self.gangs.values().filter(|gang| self.all_ran(gang)).count();
        (whole, self.gangs.values().filter(started).count() - whole)
    }

    /// Once all has healed, no part of a gang lives for longer than `settle` while another never ran.
    pub(crate) fn check_gangs(&mut self, settle: Duration) {
        let is_old = |facts: &Facts| facts.alive && facts.since + settle < self.now;
        let lives = |gang: &[TaskKey]| gang.iter().find(|key| self.tasks.get(*key).is_some_and(is_old)).cloned();
        let broken = self.gangs.values().filter(|gang| !self.all_ran(gang));
        let torn = broken.filter_map(|gang| Some((lives(gang)?, gang.clone()))).find(|(key, _)| !self.is_given_up(key));
        if let Some((key, gang)) = torn {
            let missing: Vec<String> =
                gang.iter().filter(|key| !self.tasks[*key].ran).map(ToString::to_string).collect();
            self.fail(format!("{key} lives although {} of its gang never ran", missing.join(", ")));
        }
    }

    /// A policy was told something, which may be undone by a crash of its framework.
    pub(crate) fn told(&mut self, framework: FrameworkId, seen: &Seen) {
        self.events += 1;
        let Seen::Update(status) = seen else { return };
        let key = TaskKey::new(framework, status.task.clone());
        let alive = self.tasks.get(&key).is_some_and(|facts| facts.alive);
        let excused = self.is_given_up(&key);
        if status.state.is_terminal() {
            self.require(!alive || excused, || {
                format!("I3: {key} lives, and its framework is told {} by {:?}", status.state, status.source)
            });
        }
        // A launch that was saved and not sent is answered with its end by the master.
        let known = self.tasks.contains_key(&key) || status.source == Source::Master;
        self.require(known, || format!("the policy of {framework} is told of {key}, which it never launched"));
    }

    /// What a policy was told is durable.
    pub(crate) fn knows(&mut self, framework: FrameworkId, seen: &Seen) {
        match seen {
            Seen::Update(status) => self.knows_update(framework, status),
            Seen::Rejected(tasks, reject) => {
                self.require(reject.is_transient(), || {
                    format!("{framework}: a launch of {tasks:?} is refused for good: {reject}")
                });
                tasks.iter().for_each(|task| self.knows_rejected(framework, task));
            }
            Seen::Refused(_) => {}
        }
    }

    fn knows_update(&mut self, framework: FrameworkId, status: &Status) {
        let key = TaskKey::new(framework, status.task.clone());
        if let Some(uuid) = status.uuid {
            let fresh = self.updates.insert((framework, uuid));
            self.require(fresh, || format!("I4: an update of {key} to {} is handed to its policy twice", status.state));
        }
        let facts = self.tasks.entry(key.clone()).or_default();
        let before = facts.clone();
        facts.state = status.state;
        facts.ended |= status.state.is_terminal();
        self.require(!before.ended, || format!("I3: {key} was told {}, then {}", before.state, status.state));
        self.require(!before.rejected, || format!("I3: {key} was not launched, then told {}", status.state));
        let legal = before.state.may_become(status.state);
        self.require(legal, || format!("{key}: {} does not follow {}", status.state, before.state));
        let by_agent = status.source != Source::Master;
        self.require(!by_agent || status.agent.is_some(), || format!("{key}: an update without its agent"));
    }

    fn knows_rejected(&mut self, framework: FrameworkId, task: &TaskId) {
        let key = TaskKey::new(framework, task.clone());
        let excused = self.is_given_up(&key);
        let facts = self.tasks.entry(key.clone()).or_default();
        let before = std::mem::replace(facts, Facts { rejected: true, ..facts.clone() });
        self.require(!before.ended && !before.rejected, || {
            format!("I3: {key} had ended, and is told that it was not launched")
        });
        self.require(!before.started || excused, || {
            format!("I3: {key} was started, and is told that it was not launched")
        });
    }

    /// At the end every task that was launched has ended, for its framework and in fact.
    pub(crate) fn unfinished(&self, is_live: impl Fn(FrameworkId) -> bool) -> Option<String> {
        for (key, facts) in &self.tasks {
            if facts.alive {
                return Some(format!("the process of {key} runs on"));
            }
            let launched = facts.agent.is_some() && is_live(key.framework);
            if launched && !facts.ended && !facts.rejected {
                return Some(format!(
                    "I3: {key} was launched and its framework knows no end of it, only {}",
                    facts.state
                ));
            }
        }
        None
    }

    /// Whether a person has given the task's agent or framework up: what happens to it is no longer of interest.
    fn is_given_up(&self, key: &TaskKey) -> bool {
        let agent = self.tasks.get(key).and_then(|facts| facts.agent);
        self.removed.contains(&key.framework) || agent.is_some_and(|agent| self.gone.contains(&agent))
    }
}
