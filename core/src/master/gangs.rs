//! Gangs: groups on several agents that start together or not at all.
//!
//! A gang is committed here first: what it needs is taken from what is free and charged. Each of its agents is then told to *hold* its
//! part, and when all of them do, to *start* it. Until then no task of it exists: a refusal, an agent that is lost or a hold that takes too
//! long sets everything free, and the gang is refused as a whole. After the start its tasks are tasks like all others, with one
//! difference: if one of them ends before it has run, the rest is killed.
//!
//! The framework is answered when all of it runs, or never will. Until then it repeats the gang on every connection, so a later master
//! knows what belongs together ([`Master::resume_gang`]).

mod check;
mod resume;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(super) use self::table::Gangs;
use self::table::{Gang, Held, News, Part, Phase, calls_of};
use super::accept::{Judged, Taken};
use super::timers::Timer;
use super::{Master, Outbox};
use crate::allocator::quota::Holding;
use crate::model::{
    Accept, AcceptGang, AgentId, CallId, FrameworkId, GangId, GangPart, Operation, Reason, Refusal, Reject, Rejection,
    Task, TaskGroup, TaskId, TaskKey, TaskState, ToAgent,
};

/// How long all agents have to say that they hold their parts. Half of what they hold for, so that the start finds them holding.
const HOLD_WAIT: Duration = Duration::from_secs(5);
/// The most gangs of one framework that are under way at once.
const GANGS_MAX: usize = 1024;

impl Master {
    pub(super) fn accept_gang(&mut self, framework: FrameworkId, gang: AcceptGang, out: &mut Outbox) {
        let call = (framework, gang.id);
        if self.gangs.by_call.contains_key(&call) || self.gangs.parked.contains_key(&call) {
            return; // Repeated: it is answered when its fate is known.
        }
        if let Some(rejected) = self.gangs.answered.get(&call).cloned() {
            return self.outcome(framework, gang.id, rejected, out);
        }
        if let Err(reject) = self.check_gang(framework, &gang) {
            return self.refuse_gang(framework, &gang, reject, out);
        }
        let is_of_earlier_term = gang.parts.iter().flat_map(|part| &part.offers).any(|offer| offer.term < self.term);
        if is_of_earlier_term {
            let agents = gang.parts.iter().map(|part| part.agent);
            if let Some(agent) = agents.into_iter().find(|agent| self.is_awaited(*agent)) {
                return self.gangs.park(framework, gang, agent);
            }
            return self.resume_gang(framework, &gang, out);
        }
        let known = gang.tasks().any(|(agent, task)| self.is_launched(framework, agent, task));
        let result = if known { Err(gang_gone(&gang)) } else { self.hold_gang(framework, &gang, out) };
        if let Err(reject) = result {
            self.refuse_gang(framework, &gang, reject, out);
        }
    }

    /// Whether the agent is still to come back after a failover.
    fn is_awaited(&self, agent: AgentId) -> bool {
        self.agents.get(&agent).is_some_and(|agent| agent.is_awaited())
    }

    fn check_gang(&self, framework: FrameworkId, gang: &AcceptGang) -> Result<(), Reject> {
        if gang.parts.is_empty() || gang.parts.len() > AcceptGang::MAX_PARTS {
            let expected = format!("expected 1 to {}", AcceptGang::MAX_PARTS);
            return Err(Reject::invalid("accept_gang.parts", expected));
        }
        if gang.tasks().count() > AcceptGang::MAX_TASKS {
            return Err(Reject::Limit { what: "tasks in a gang", limit: AcceptGang::MAX_TASKS as u64 });
        }
        if self.gangs.count_of(framework) >= GANGS_MAX {
            return Err(Reject::Limit { what: "gangs of a framework under way", limit: GANGS_MAX as u64 });
        }
        let mut agents = BTreeSet::new();
        for (index, part) in gang.parts.iter().enumerate() {
            if part.groups.is_empty() {
                return Err(Reject::invalid(format!("accept_gang.parts[{index}].groups"), "expected at least one"));
            }
            if !agents.insert(part.agent) {
                let expected = format!("expected one part for each agent, got a second for {}", part.agent);
                return Err(Reject::invalid(format!("accept_gang.parts[{index}].agent"), expected));
            }
        }
        let mut ids = BTreeSet::new();
        match gang.tasks().find(|(_, task)| !ids.insert(&task.id)) {
            Some((_, task)) => Err(Reject::DuplicateTask(task.id.clone())),
            None => Ok(()),
        }
    }

    /// Takes what all parts need and has their agents hold it; or takes nothing. The offers are used up in any case.
    fn hold_gang(&mut self, framework: FrameworkId, gang: &AcceptGang, out: &mut Outbox) -> Result<(), Reject> {
        let id = GangId::new(self.term, self.next_seq());
        let mut taken = Vec::new();
        let mut result = Ok(());
        for part in &gang.parts {
            let offers = as_accept(gang.id, part);
            match self.take_offers(framework, &offers) {
                Ok(of_part) => taken.push((part, of_part)),
                Err(reject) => result = result.and(Err(reject)),
            }
        }
        let mut parts = BTreeMap::new();
        if result.is_ok() {
            for (part, of_part) in &mut taken {
                match self.set_aside(framework, part.agent, of_part, &part.groups) {
                    Ok(groups) => drop(parts.insert(part.agent, Part { groups, is_held: false })),
                    Err(reject) => result = result.and(Err(reject)),
                }
            }
        }
        for (part, of_part) in taken {
            self.return_rest(framework, part.agent, &of_part, if result.is_ok() { Some(&gang.refusal) } else { None });
        }
        if let Err(reject) = result {
            gang.parts.iter().for_each(|part| self.unset_aside(framework, part.agent, &part.groups));
            return Err(reject);
        }
        self.ask_to_hold(id, framework, gang.id, parts, out);
        Ok(())
    }

    fn ask_to_hold(
        &mut self,
        id: GangId,
        framework: FrameworkId,
        call: CallId,
        parts: BTreeMap<AgentId, Part>,
        out: &mut Outbox,
    ) {
        let groups = || parts.values().flat_map(|part| &part.groups);
        let tasks: Vec<TaskKey> =
            groups().flat_map(|group| &group.tasks).map(|task| TaskKey::new(framework, task.id.clone())).collect();
        for (agent, part) in &parts {
            let launch =
                |group: &TaskGroup| self.launch_of(&TaskKey::new(framework, group.leader().clone()), group.clone());
            let groups = part.groups.iter().map(launch).collect();
            self.to_agent(*agent, ToAgent::Hold { gang: id, groups }, out);
        }
        let deadline = self.timers.set(self.now + HOLD_WAIT, Timer::Gang(id));
        self.stats.gangs_held += 1;
        self.gangs.insert(id, Gang { framework, call, tasks, phase: Phase::Holding { parts, deadline } });
    }

    /// Judges each group as an accept would, and takes what it needs; the groups with their devices.
    fn set_aside(
        &mut self,
        framework: FrameworkId,
        agent: AgentId,
        taken: &mut Taken,
        groups: &[TaskGroup],
    ) -> Result<Vec<TaskGroup>, Reject> {
        let mut resolved = Vec::new();
        for group in groups {
            let Judged { group, borrowed } = self.judge(framework, agent, taken, group)?;
            for task in &group.tasks {
                let key = TaskKey::new(framework, task.id.clone());
                let fits = self.occupy(agent, &key, &task.resources);
                debug_assert!(fits, "judge() has checked that all of the group is free");
                self.charge_held(agent, key, task, borrowed);
            }
            resolved.push(group);
        }
        self.recompute_kept(agent);
        self.touched.agents.push(agent);
        self.touched.frameworks.push(framework);
        Ok(resolved)
    }

    /// Charges what was taken for a task that is held, as if it were launched.
    fn charge_held(&mut self, agent: AgentId, key: TaskKey, task: &Task, borrowed: bool) {
        let taken = task.resources.without_shared();
        let charged = self.agents[&agent].quantities(&taken);
        self.sorter.charge(&task.role, key.framework, &charged);
        self.class_order.charge(&task.role, key.framework, &charged);
        taken.reserved().for_each(|(role, part)| self.sorter.unreserve(role, &part));
        self.quotas.charge(&task.role, Holding::Task, &charged);
        self.touched.role(&task.role);
        let held = Held { role: task.role.clone(), resources: task.resources.clone(), charged, borrowed };
        self.gangs.held.entry(agent).or_default().insert(key, held);
    }

    /// What is charged for the task while it is held is charged for it from now on as a task.
    fn hand_over(&mut self, agent: AgentId, key: &TaskKey) {
        let Held { role, resources, charged, borrowed } =
            self.take_held(agent, key).expect("what is started was held until now");
        let entry = self.tasks.get_mut(key).expect("it was inserted just now");
        let reserved = resources.without_shared();
        entry.reserved = reserved.reserved().map(|(role, part)| (role.clone(), part)).collect();
        (entry.charged, entry.borrowed) = (Some(charged), borrowed);
        let is_lowest = self.quotas.add_priority(&role, entry.task.priority);
        self.agents.get_mut(&agent).expect("a held task's agent is known").tasks.insert(key.clone());
        self.enter_work(key);
        if is_lowest {
            self.watch_role(&role);
        }
        self.consider_preemption();
    }

    fn take_held(&mut self, agent: AgentId, key: &TaskKey) -> Option<Held> {
        let on_agent = self.gangs.held.get_mut(&agent)?;
        let held = on_agent.remove(key)?;
        if on_agent.is_empty() {
            self.gangs.held.remove(&agent);
        }
        Some(held)
    }

    /// Nothing is charged for the task any more; what it took is still taken.
    fn uncharge_held(&mut self, agent: AgentId, key: &TaskKey) -> Option<Held> {
        let held = self.take_held(agent, key)?;
        self.sorter.credit(&held.role, key.framework, &held.charged);
        self.class_order.credit(&held.role, key.framework, &held.charged);
        held.resources.reserved_solely().for_each(|(role, part)| self.sorter.reserve(role, &part));
        self.quotas.credit(&held.role, Holding::Task, &held.charged);
        self.touched.role(&held.role);
        Some(held)
    }

    /// What was taken for these groups is free again, devices too: nobody has used them.
    fn unset_aside(&mut self, framework: FrameworkId, agent: AgentId, groups: &[TaskGroup]) {
        let since = self.wall();
        for task in groups.iter().flat_map(|group| &group.tasks) {
            let key = TaskKey::new(framework, task.id.clone());
            let Some(held) = self.uncharge_held(agent, &key) else { continue };
            let state = self.agents.get_mut(&agent).expect("a held task's agent is known");
            for (device, _) in held.resources.device_shares() {
                let Some(entry) = state.devices.get_mut(device) else { continue };
                if entry.state.take_back(&key) {
                    entry.since = since;
                    self.touched.devices.insert((agent, device.clone()));
                }
            }
        }
        if self.agents.contains_key(&agent) {
            self.recompute_free(agent);
            self.touched.agents.push(agent);
            self.touched.frameworks.push(framework);
            self.want_agent_round(agent);
        }
    }

    pub(super) fn on_held(&mut self, agent: AgentId, id: GangId, out: &mut Outbox) {
        let Some(gang) = self.gangs.by_id.get_mut(&id) else {
            return self.to_agent(agent, ToAgent::Release(id), out);
        };
        let Phase::Holding { parts, .. } = &mut gang.phase else { return };
        let Some(part) = parts.get_mut(&agent) else { return };
        part.is_held = true;
        if parts.values().all(|part| part.is_held) {
            self.start_gang(id, out);
        }
    }

    /// The agent can't hold, or does no longer. After the start that costs the gang nothing yet: the tasks are launched one by one.
    pub(super) fn on_not_held(&mut self, agent: AgentId, id: GangId, reject: Reject, out: &mut Outbox) {
        let Some(gang) = self.gangs.by_id.get(&id) else { return };
        match &gang.phase {
            Phase::Holding { .. } => {
                let for_good = matches!(reject, Reject::DuplicateTask(_)) || is_of_a_task(&reject);
                let reject = if for_good || reject.is_transient() { reject } else { Reject::AgentAway(agent) };
                self.abandon_gang(id, &reject, out);
            }
            Phase::Starting { .. } => {
                let staged = |key: &&TaskKey| {
                    self.tasks.get(*key).is_some_and(|entry| entry.agent == agent && entry.state == TaskState::Staging)
                };
                let staged: Vec<TaskKey> = gang.tasks.iter().filter(staged).cloned().collect();
                for key in staged.iter().filter(|key| !self.is_group_killed(agent, key)) {
                    self.launch_again(agent, key, out);
                }
            }
        }
    }

    /// Whether a task of the group that `leader` leads is to be killed: the agent says of it that it does not know it, and that stands.
    fn is_group_killed(&self, agent: AgentId, leader: &TaskKey) -> bool {
        let of_it = |key: &&TaskKey| key.framework == leader.framework && self.tasks[*key].leader == leader.task;
        self.agents[&agent].known.iter().filter(of_it).any(|key| self.tasks[key].kill.is_some())
    }

    pub(super) fn on_gang_late(&mut self, id: GangId, out: &mut Outbox) {
        let Some(Phase::Holding { parts, .. }) = self.gangs.by_id.get(&id).map(|gang| &gang.phase) else { return };
        let late = parts.iter().find(|(_, part)| !part.is_held).map(|(agent, _)| *agent);
        self.abandon_gang(id, &Reject::AgentAway(late.expect("a gang that all agents hold is started")), out);
    }

    /// The agent's connection is new or lost: what it was told to hold may not have reached it.
    pub(super) fn abandon_gangs_on(&mut self, agent: AgentId, out: &mut Outbox) {
        for id in self.gangs.holding_on(agent) {
            self.abandon_gang(id, &Reject::AgentAway(agent), out);
        }
    }

    /// A gang that has not started is refused.
    fn abandon_gang(&mut self, id: GangId, reject: &Reject, out: &mut Outbox) {
        if let Some(gang) = self.release_gang(id, out) {
            let ids = gang.tasks.into_iter().map(|key| key.task).collect();
            let rejection = self.refuse_tasks(0, ids, reject.clone());
            self.answer_gang(gang.framework, gang.call, vec![rejection], out);
        }
    }

    /// Forgets a gang; what is held for it is free.
    fn release_gang(&mut self, id: GangId, out: &mut Outbox) -> Option<Gang> {
        let gang = self.gangs.remove(id)?;
        if let Phase::Holding { parts, deadline } = &gang.phase {
            self.timers.cancel(*deadline);
            self.stats.gangs_refused += 1;
            for (agent, part) in parts {
                self.to_agent(*agent, ToAgent::Release(id), out);
                self.unset_aside(gang.framework, *agent, &part.groups);
            }
        }
        Some(gang)
    }

    /// Every agent holds its part: from now on these are tasks.
    fn start_gang(&mut self, id: GangId, out: &mut Outbox) {
        let gang = self.gangs.by_id.get_mut(&id).expect("the caller has found it");
        let framework = gang.framework;
        let waiting = Phase::Starting { waiting: gang.tasks.iter().cloned().collect() };
        let Phase::Holding { parts, deadline } = std::mem::replace(&mut gang.phase, waiting) else { return };
        let tasks = gang.tasks.clone();
        self.timers.cancel(deadline);
        self.stats.gangs_started += 1;
        for (agent, part) in &parts {
            for group in &part.groups {
                for task in &group.tasks {
                    let key = TaskKey::new(framework, task.id.clone());
                    self.insert_task(&key, group.leader(), task.clone(), *agent, TaskState::Staging);
                    self.note_launch(framework, task);
                    self.hand_over(*agent, &key);
                    self.stats.tasks_launched += 1;
                }
            }
        }
        for agent in parts.keys() {
            self.to_agent(*agent, ToAgent::Start(id), out);
        }
        self.kill_remembered(&tasks, out);
    }

    /// Kills that came before the start.
    fn kill_remembered(&mut self, tasks: &[TaskKey], out: &mut Outbox) {
        for key in tasks {
            let Some(grace) = self.gangs.kills.remove(key) else { continue };
            if self.tasks.contains_key(key) {
                self.kill_live(key, grace, Reason::KillRequested, out);
            }
        }
    }

    /// Draws the consequences of what was heard of members in this step.
    pub(super) fn settle_gangs(&mut self, out: &mut Outbox) {
        for (key, news) in std::mem::take(&mut self.gangs.news) {
            let Some(id) = self.gangs.members.get(&key).copied() else { continue };
            let Some(Gang { phase: Phase::Starting { waiting }, .. }) = self.gangs.by_id.get_mut(&id) else { continue };
            match news {
                News::Failed if waiting.contains(&key) => self.abort_gang(id, &key, out),
                News::Failed => {}
                News::Ran => {
                    waiting.remove(&key);
                    self.gangs.members.remove(&key);
                    self.close_if_running(id, out);
                }
            }
        }
    }

    fn close_if_running(&mut self, id: GangId, out: &mut Outbox) {
        let Some(Gang { framework, call, phase: Phase::Starting { waiting }, .. }) = self.gangs.by_id.get(&id) else {
            return;
        };
        if waiting.is_empty() {
            let (framework, call) = (*framework, *call);
            self.gangs.remove(id);
            self.answer_gang(framework, call, Vec::new(), out);
        }
    }

    /// A member has ended and never ran: the others are killed.
    fn abort_gang(&mut self, id: GangId, failed: &TaskKey, out: &mut Outbox) {
        let Some(gang) = self.gangs.remove(id) else { return };
        self.kill_members(gang.tasks.iter().filter(|key| *key != failed), out);
        self.answer_gang(gang.framework, gang.call, Vec::new(), out);
    }

    fn kill_members<'a>(&mut self, keys: impl Iterator<Item = &'a TaskKey>, out: &mut Outbox) {
        self.stats.gangs_aborted += 1;
        for key in keys {
            if self.tasks.get(key).is_some_and(|entry| !entry.state.is_terminal()) {
                self.kill_live(key, None, Reason::GangAborted, out);
            }
        }
    }

    /// Gangs of a framework that is removed.
    pub(super) fn drop_gangs_of(&mut self, framework: FrameworkId, out: &mut Outbox) {
        let parked: Vec<CallId> = self.gangs.parked.range(calls_of(framework)).map(|((_, call), _)| *call).collect();
        for call in parked {
            self.gangs.unpark(framework, call);
        }
        let ids: Vec<GangId> = self.gangs.by_call.range(calls_of(framework)).map(|(_, id)| *id).collect();
        for id in ids {
            self.release_gang(id, out);
        }
        self.gangs.kills.retain(|key, _| key.framework != framework);
        self.gangs.parked_failed.retain(|key| key.framework != framework);
        self.gangs.answered.retain(|(of, _), _| *of != framework);
    }

    /// Nothing of the gang is started. A task that runs already was started by an earlier try of the same gang.
    fn refuse_gang(&mut self, framework: FrameworkId, gang: &AcceptGang, reject: Reject, out: &mut Outbox) {
        let unknown = gang.tasks().filter(|(agent, task)| !self.is_launched(framework, *agent, task));
        let unknown: Vec<TaskId> = unknown.map(|(_, task)| task.id.clone()).collect();
        // Of those that run the kill is kept elsewhere.
        for (_, task) in gang.tasks() {
            let key = TaskKey::new(framework, task.id.clone());
            self.gangs.kills.remove(&key);
            self.gangs.parked_failed.remove(&key);
        }
        let mut rejected = Vec::new();
        if !unknown.is_empty() || gang.tasks().next().is_none() {
            self.stats.gangs_refused += 1;
            rejected.push(self.refuse_tasks(0, unknown, reject));
        }
        self.answer_gang(framework, gang.id, rejected, out);
    }

    fn answer_gang(&mut self, framework: FrameworkId, call: CallId, rejected: Vec<Rejection>, out: &mut Outbox) {
        self.gangs.remember_answer(framework, call, rejected.clone());
        self.outcome(framework, call, rejected, out);
    }
}

/// One part as an accept of its own.
fn as_accept(id: CallId, part: &GangPart) -> Accept {
    let operations = part.groups.iter().cloned().map(Operation::Launch).collect();
    Accept { id, agent: part.agent, offers: part.offers.clone(), operations, refusal: Refusal::default() }
}

fn gang_gone(gang: &AcceptGang) -> Reject {
    let offer = gang.parts.iter().find_map(|part| part.offers.first());
    offer.map_or_else(
        || Reject::invalid("accept_gang.parts[0].offers", "expected at least one"),
        |offer| Reject::OfferGone(*offer),
    )
}

/// Whether an agent refuses the task itself and not the moment.
fn is_of_a_task(reject: &Reject) -> bool {
    matches!(reject, Reject::Invalid { field, .. } if field.starts_with("task"))
}

#[cfg(test)]
mod tests;
