//! The gangs that are under way, and what is kept of those that are over.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::super::timers::TimerKey;
use crate::model::{
    AcceptGang, AgentId, CallId, FrameworkId, GangId, Quantities, Rejection, Resources, Role, Status, TaskGroup,
    TaskKey, TaskState,
};

/// How many answers are kept for each framework.
const ANSWERS_MAX: usize = 256;

/// The gangs that are under way.
#[derive(Debug, Default)]
pub(in crate::master) struct Gangs {
    pub(super) by_id: BTreeMap<GangId, Gang>,
    pub(super) by_call: BTreeMap<(FrameworkId, CallId), GangId>,
    /// The members that are held, or have started and not run yet.
    pub(super) members: BTreeMap<TaskKey, GangId>,
    /// What is taken on each agent for members that are held.
    pub(super) held: BTreeMap<AgentId, BTreeMap<TaskKey, Held>>,
    /// Gangs of an earlier term, some of whose agents are still to come back.
    pub(super) parked: BTreeMap<(FrameworkId, CallId), AcceptGang>,
    pub(super) parked_tasks: BTreeSet<TaskKey>,
    /// Those of them that wait for this agent, and maybe others after it.
    pub(super) parked_for: BTreeMap<AgentId, Vec<(FrameworkId, CallId)>>,
    /// The last answers, for gangs that are repeated because an answer was lost.
    pub(super) answered: BTreeMap<(FrameworkId, CallId), Vec<Rejection>>,
    /// Kills of members that have not started; carried out when they do.
    pub(super) kills: BTreeMap<TaskKey, Option<Duration>>,
    /// Members of parked gangs that have ended and never ran.
    pub(super) parked_failed: BTreeSet<TaskKey>,
    /// What was heard of members in this step.
    pub(super) news: Vec<(TaskKey, News)>,
}

#[derive(Debug)]
pub(super) struct Gang {
    pub(super) framework: FrameworkId,
    pub(super) call: CallId,
    pub(super) tasks: Vec<TaskKey>,
    pub(super) phase: Phase,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// Agents are asked to hold their parts.
    Holding { parts: BTreeMap<AgentId, Part>, deadline: TimerKey },
    /// All are told to start; these have not run yet.
    Starting { waiting: BTreeSet<TaskKey> },
}

/// What is to start on one agent, devices chosen.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) groups: Vec<TaskGroup>,
    pub(super) is_held: bool,
}

/// What is taken for one task that is held.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) role: Role,
    pub(super) resources: Resources,
    pub(super) charged: Quantities,
    /// Whether it will be a task of borrowed resources.
    pub(super) borrowed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    Ran,
    /// It ended, and never ran.
    Failed,
}

impl Gangs {
    /// Of the gang that the task is to start with: how many agents hold their part, and how many parts there are.
    pub(in crate::master) fn progress(&self, key: &TaskKey) -> Option<(usize, usize)> {
        let gang = self.by_id.get(self.members.get(key)?)?;
        let Phase::Holding { parts, .. } = &gang.phase else { return None };
        Some((parts.values().filter(|part| part.is_held).count(), parts.len()))
    }

    /// Whether the task belongs to a gang whose fate is not known yet, and is no task yet.
    pub(in crate::master) fn is_pending(&self, key: &TaskKey) -> bool {
        self.members.contains_key(key) || self.parked_tasks.contains(key)
    }

    /// What is taken on the agent for tasks that are held.
    pub(in crate::master) fn held_on(&self, agent: AgentId) -> impl Iterator<Item = (&TaskKey, &Resources)> {
        self.held.get(&agent).into_iter().flatten().map(|(key, held)| (key, &held.resources))
    }

    /// What is charged for all tasks that are held.
    pub(in crate::master) fn charged(&self) -> impl Iterator<Item = (&Role, &Quantities)> {
        self.held.values().flat_map(BTreeMap::values).map(|held| (&held.role, &held.charged))
    }

    /// Takes note of what is told of a task, to be judged at the end of the step.
    pub(in crate::master) fn hear(&mut self, key: &TaskKey, status: &Status) {
        if !self.members.contains_key(key) && !self.parked_tasks.contains(key) {
            return;
        }
        let has_run = matches!(status.state, TaskState::Running | TaskState::Killing | TaskState::Finished);
        if has_run || status.exit.is_some() {
            self.news.push((key.clone(), News::Ran));
        } else if status.state.is_terminal() && self.parked_tasks.contains(key) {
            self.parked_failed.insert(key.clone());
        } else if status.state.is_terminal() {
            self.news.push((key.clone(), News::Failed));
        }
    }

    /// Remembers to kill a task that is not started yet; whether there is nothing else to do now.
    pub(in crate::master) fn kill_later(&mut self, key: &TaskKey, grace: Option<Duration>) -> bool {
        if self.is_pending(key) {
            self.kills.insert(key.clone(), grace);
        }
        self.members.contains_key(key)
    }

    pub(super) fn park(&mut self, framework: FrameworkId, gang: AcceptGang, agent: AgentId) {
        self.parked_for.entry(agent).or_default().push((framework, gang.id));
        self.parked_tasks.extend(gang.tasks().map(|(_, task)| TaskKey::new(framework, task.id.clone())));
        self.parked.insert((framework, gang.id), gang);
    }

    pub(super) fn unpark(&mut self, framework: FrameworkId, call: CallId) -> Option<AcceptGang> {
        let gang = self.parked.remove(&(framework, call))?;
        for (_, task) in gang.tasks() {
            self.parked_tasks.remove(&TaskKey::new(framework, task.id.clone()));
        }
        Some(gang)
    }

    pub(super) fn insert(&mut self, id: GangId, gang: Gang) {
        self.members.extend(gang.tasks.iter().map(|key| (key.clone(), id)));
        self.by_call.insert((gang.framework, gang.call), id);
        self.by_id.insert(id, gang);
    }

    pub(super) fn remove(&mut self, id: GangId) -> Option<Gang> {
        let gang = self.by_id.remove(&id)?;
        self.by_call.remove(&(gang.framework, gang.call));
        for key in &gang.tasks {
            self.members.remove(key);
            self.kills.remove(key);
        }
        Some(gang)
    }

    pub(super) fn count_of(&self, framework: FrameworkId) -> usize {
        self.by_call.range(calls_of(framework)).count() + self.parked.range(calls_of(framework)).count()
    }

    pub(super) fn remember_answer(&mut self, framework: FrameworkId, call: CallId, rejected: Vec<Rejection>) {
        self.answered.insert((framework, call), rejected);
        if self.answered.range(calls_of(framework)).count() > ANSWERS_MAX {
            let oldest = self.answered.range(calls_of(framework)).next().map(|(key, _)| *key);
            self.answered.remove(&oldest.expect("there are more than none"));
        }
    }

    pub(super) fn holding_on(&self, agent: AgentId) -> Vec<GangId> {
        let Some(held) = self.held.get(&agent) else { return Vec::new() };
        let keys = held.keys();
        let ids: BTreeSet<GangId> = keys.filter_map(|key| self.members.get(key).copied()).collect();
        ids.into_iter().collect()
    }
}

/// All calls of a framework.
pub(super) fn calls_of(framework: FrameworkId) -> RangeInclusive<(FrameworkId, CallId)> {
    (framework, CallId(0))..=(framework, CallId(u64::MAX))
}
