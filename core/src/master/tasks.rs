//! Tasks: their states, updates and acknowledgements, kills and reconciliation.

use std::sync::Arc;
use std::time::Duration;

use rand_core::Rng;

use super::registry::{KillRecord, Record};
use super::show::task_view;
use super::state::TaskEntry;
use super::view::{AgentStatus, Change};
use super::{Effect, Master, Outbox};
use crate::allocator::quota::Holding;
use crate::allocator::reservations;
use crate::gate::Output;
use crate::model::{
    AgentId, Announce, Asked, Capability, Event, FrameworkId, Reason, Reject, Resources, Source, Status, Task, TaskId,
    TaskKey, TaskReport, TaskState, ToAgent, UpdateId,
};
use crate::planted::{Fault, planted};

/// The most kills that are kept for tasks that may be on agents which are away.
const KILLS_MAX: usize = 100_000;

impl Master {
    /// A fresh entry; not charged.
    pub(super) fn insert_task(&mut self, key: &TaskKey, leader: &TaskId, task: Task, agent: AgentId, state: TaskState) {
        let mut status = Status::new(key.task.clone(), state, Source::Master);
        status.agent = Some(agent);
        let (launched, changed) = (self.wall(), self.wall());
        let entry = TaskEntry {
            task,
            agent,
            leader: leader.clone(),
            state,
            status,
            charged: None,
            reserved: Vec::new(),
            outstanding: None,
            notice: None,
            kill: self.kills.remove(key),
            borrowed: false,
            launched,
            changed,
        };
        self.tasks.insert(key.clone(), entry);
        self.agents.get_mut(&agent).expect("a task's agent is known").known.insert(key.clone());
        if let Some(framework) = self.frameworks.get_mut(&key.framework) {
            framework.tasks.insert(key.task.clone());
        }
        self.touched.tasks.insert(key.clone());
    }

    /// The task's resources count as held, by its agent and its role.
    pub(super) fn charge(&mut self, key: &TaskKey) {
        let entry = self.tasks.get_mut(key).expect("the caller has found it");
        if entry.charged.is_some() {
            return;
        }
        let agent = self.agents.get_mut(&entry.agent).expect("a task's agent is known");
        agent.tasks.insert(key.clone());
        let held = entry.task.resources.without_shared();
        let quantities = agent.quantities(&held);
        entry.charged = Some(quantities.clone());
        entry.reserved = held.reserved().map(|(role, part)| (role.clone(), part)).collect();
        self.sorter.charge(&entry.task.role, key.framework, &quantities);
        self.class_order.charge(&entry.task.role, key.framework, &quantities);
        entry.reserved.iter().for_each(|(role, part)| self.sorter.unreserve(role, part));
        self.quotas.charge(&entry.task.role, Holding::Task, &quantities);
        let is_lowest = self.quotas.add_priority(&entry.task.role, entry.task.priority);
        self.enter_work(key);
        let entry = &self.tasks[key];
        self.touched.role(&entry.task.role);
        let (id, role) = (entry.agent, entry.task.role.clone());
        self.recompute_kept(id);
        self.watch_leaving(id);
        self.touched.agents.push(id);
        self.touched.frameworks.push(key.framework);
        if is_lowest {
            self.watch_role(&role);
        }
        self.consider_preemption();
    }

    /// The same for a task that ran before its limits could be asked.
    pub(super) fn charge_found(&mut self, key: &TaskKey) {
        self.charge(key);
        let role = &self.tasks[key].task.role;
        self.quotas.tolerate(role);
        if self.quotas.is_limited(role) {
            self.found.insert(role.clone());
        }
    }

    /// The task's resources are free again; its devices only once its agent has cleaned them.
    pub(super) fn release(&mut self, key: &TaskKey) {
        let entry = self.tasks.get_mut(key).expect("the caller has found it");
        let Some(quantities) = entry.charged.take() else { return };
        let id = entry.agent;
        let agent = self.agents.get_mut(&id).expect("a task's agent is known");
        agent.tasks.remove(key);
        std::mem::take(&mut entry.reserved).iter().for_each(|(role, part)| self.sorter.reserve(role, part));
        if entry.task.resources.iter().any(|(flavor, _)| reservations::expiry(flavor).is_some()) {
            self.expiring.insert(id);
        }
        if planted(Fault::CountTwice) {
            Arc::make_mut(&mut agent.free).add(&entry.task.resources.without_devices());
        }
        if !planted(Fault::NeverCredit) {
            self.sorter.credit(&entry.task.role, key.framework, &quantities);
            self.class_order.credit(&entry.task.role, key.framework, &quantities);
        }
        self.quotas.credit(&entry.task.role, Holding::Task, &quantities);
        self.quotas.remove_priority(&entry.task.role, entry.task.priority);
        self.touched.role(&entry.task.role);
        let gone = !self.frameworks.contains_key(&key.framework);
        if gone && self.sorter.held(&entry.task.role, key.framework).is_empty() {
            self.sorter.remove(&entry.task.role, key.framework);
            self.class_order.remove(&entry.task.role, key.framework);
        }
        if agent.overcommitted {
            self.recompute_free(id);
        } else {
            Arc::make_mut(&mut agent.free).add(&entry.task.resources.counted());
        }
        self.soil_devices(key);
        self.leave_work(key);
        self.preemption.settles(id);
        self.recompute_kept(id);
        self.touched.agents.push(id);
        self.touched.frameworks.push(key.framework);
        self.want_agent_round(id);
    }

    /// The devices of a task that ended are not handed on before its agent says that they are clean.
    fn soil_devices(&mut self, key: &TaskKey) {
        let since = self.wall();
        let entry = &self.tasks[key];
        let agent = self.agents.get_mut(&entry.agent).expect("a task's agent is known");
        for (device, _) in entry.task.resources.device_shares() {
            let Some(held) = agent.devices.get_mut(device) else { continue };
            if held.state.soil(key, held.cleaned + 1) {
                held.since = since;
                self.touched.devices.insert((entry.agent, device.clone()));
            }
        }
    }

    /// A task that its agent reports on registration.
    pub(super) fn adopt(&mut self, id: AgentId, key: &TaskKey, report: TaskReport, was: AgentStatus, out: &mut Outbox) {
        let before = self.tasks.get(key).map(|entry| entry.state);
        if before.is_none() {
            if self.is_completed(key) {
                return; // Its end was acknowledged; the agent will hear of that again when it resends.
            }
            self.insert_task(key, &key.task, report.task.clone(), id, report.state);
        }
        let entry = self.tasks.get_mut(key).expect("it was there or has been inserted");
        entry.agent = id;
        entry.task = report.task;
        let returned = before == Some(TaskState::Unreachable) && was == AgentStatus::Unreachable;
        if entry.state.may_become(report.state) || before.is_none() {
            entry.state = report.state;
        }
        let state = entry.state;
        if !state.is_terminal() && !planted(Fault::AdoptUncharged) {
            self.charge_found(key);
        } else if self.tasks[key].charged.is_some() {
            self.release(key);
        }
        self.touched.tasks.insert(key.clone());
        if returned && !state.is_terminal() {
            let status = self.master_status(key, state).because(Reason::AgentReregistered, "the agent is back");
            self.set_state(key, status.clone(), state);
            self.notify(key, status, out);
        }
    }

    /// A task of a framework that was removed: it is charged until its agent has ended it.
    pub(super) fn adopt_orphan(&mut self, id: AgentId, key: &TaskKey, report: TaskReport) {
        if !self.tasks.contains_key(key) {
            self.insert_task(key, &key.task, report.task, id, report.state);
        }
        if report.state.is_terminal() {
            self.release(key);
        } else {
            self.charge_found(key);
        }
    }

    fn is_completed(&self, key: &TaskKey) -> bool {
        self.frameworks.get(&key.framework).is_some_and(|framework| framework.completed.contains(&key.task))
    }

    pub(super) fn on_update(
        &mut self,
        id: AgentId,
        framework: FrameworkId,
        mut status: Status,
        latest: TaskState,
        out: &mut Outbox,
    ) {
        self.stats.updates_received += 1;
        status.agent = Some(id);
        let key = TaskKey::new(framework, status.task.clone());
        self.gangs.hear(&key, &status);
        if self.tasks.contains_key(&key) {
            let newest =
                if latest == status.state { status.clone() } else { Status { state: latest, ..status.clone() } };
            self.set_state(&key, newest, latest);
        }
        if !self.frameworks.contains_key(&framework) {
            // Nobody is left to acknowledge it.
            self.to_agent_ack(id, &key, status.uuid, out);
            if latest.is_terminal() && self.tasks.contains_key(&key) {
                self.forget_task(&key, out);
            }
            return;
        }
        if let Some(entry) = self.tasks.get_mut(&key) {
            if status.uuid.is_some() {
                entry.outstanding = Some(status.clone());
            } else if status.state.is_terminal() && entry.notice.is_none() {
                // The agent won't say it again, so this master sees to it that the framework hears of it.
                status.uuid = Some(self.draw_update_id());
                return self.notify(&key, status, out);
            }
        }
        self.stats.updates_sent += 1;
        self.tell(framework, Event::Update(status), out);
    }

    fn to_agent_ack(&self, id: AgentId, key: &TaskKey, uuid: Option<UpdateId>, out: &mut Outbox) {
        if let Some(uuid) = uuid {
            self.to_agent(id, ToAgent::Acknowledge { task: key.clone(), uuid }, out);
        }
    }

    /// The task's newest state is `state`, as `status` tells. What a task that ended held is free.
    pub(super) fn set_state(&mut self, key: &TaskKey, status: Status, state: TaskState) {
        let changed = self.wall();
        let entry = self.tasks.get_mut(key).expect("the caller has found it");
        if entry.state != state && !entry.state.may_become(state) {
            return;
        }
        let was = std::mem::replace(&mut entry.state, state);
        if was != state {
            entry.changed = changed;
        }
        entry.status = status;
        if !planted(Fault::StaleView) {
            self.touched.tasks.insert(key.clone());
        }
        if state.is_terminal() {
            if !was.is_terminal() {
                match state {
                    TaskState::Finished => self.stats.tasks_finished += 1,
                    _ => self.stats.tasks_failed += 1,
                }
            }
            self.release(key);
        } else if was == TaskState::Unreachable && state != TaskState::Unreachable {
            self.charge_found(key);
        }
    }

    /// A status by the master.
    pub(super) fn master_status(&mut self, key: &TaskKey, state: TaskState) -> Status {
        let mut status = Status::new(key.task.clone(), state, Source::Master);
        status.agent = self.tasks.get(key).map(|entry| entry.agent);
        status.at = self.wall();
        status.uuid = Some(self.draw_update_id());
        status
    }

    fn draw_update_id(&mut self) -> UpdateId {
        UpdateId(u128::from(self.random.next_u64()) << 64 | u128::from(self.random.next_u64()))
    }

    /// Tells the framework, again on every subscription until it has acknowledged.
    pub(super) fn notify(&mut self, key: &TaskKey, status: Status, out: &mut Outbox) {
        self.gangs.hear(key, &status);
        let mut is_next = true;
        if let Some(entry) = self.tasks.get_mut(key) {
            is_next = entry.outstanding.is_none();
            entry.notice = Some(status.clone()).filter(|_| !planted(Fault::NoticeNotKept));
        }
        // One at a time: after the agent's own, which came first, is acknowledged.
        if is_next {
            self.stats.updates_sent += 1;
            self.tell(key.framework, Event::Update(status), out);
        }
    }

    pub(super) fn resend_updates(&mut self, id: FrameworkId, out: &mut Outbox) {
        let framework = &self.frameworks[&id];
        let entries = framework.tasks.iter().filter_map(|task| self.tasks.get(&TaskKey::new(id, task.clone())));
        let updates: Vec<Status> = entries.filter_map(|entry| entry.unacknowledged().cloned()).collect();
        for status in updates {
            self.stats.updates_sent += 1;
            self.tell(id, Event::Update(status), out);
        }
    }

    pub(super) fn acknowledge(&mut self, key: &TaskKey, agent: Option<AgentId>, uuid: UpdateId, out: &mut Outbox) {
        self.stats.acknowledgements += 1;
        let Some(entry) = self.tasks.get_mut(key) else {
            // The master has forgotten the task; its agent has not, and waits.
            if let Some(agent) = agent {
                self.to_agent_ack(agent, key, Some(uuid), out);
            }
            return;
        };
        let has_it = |slot: &Option<Status>| slot.as_ref().is_some_and(|status| status.uuid == Some(uuid));
        let mut next = None;
        let end = if has_it(&entry.notice) {
            entry.notice.take()
        } else {
            let id = entry.agent;
            let status = if has_it(&entry.outstanding) { entry.outstanding.take() } else { None };
            next = entry.notice.clone().filter(|_| status.is_some());
            self.to_agent_ack(id, key, Some(uuid), out);
            status
        };
        if end.is_some_and(|status| status.state.is_terminal()) {
            self.forget_task(key, out);
        } else if let Some(notice) = next {
            self.stats.updates_sent += 1;
            self.tell(key.framework, Event::Update(notice), out);
        }
    }

    /// The task's end is known to its framework: only people may still want to see it.
    pub(super) fn forget_task(&mut self, key: &TaskKey, out: &mut Outbox) {
        if self.tasks.contains_key(key) {
            self.release(key);
        }
        let Some(entry) = self.tasks.remove(key) else { return };
        self.agents.get_mut(&entry.agent).expect("a task's agent is known").known.remove(key);
        if entry.kill.is_some() {
            out.push(Output::Persist(Record::Kill(key.clone(), None)));
        }
        self.remember(key, &entry, out);
        let limit = self.config.completed_ids_max;
        let Some(framework) = self.frameworks.get_mut(&key.framework) else { return };
        framework.tasks.remove(&key.task);
        framework.completed.push_back(key.task.clone());
        if framework.completed.len() > limit {
            framework.completed.pop_front();
        }
    }

    /// The task's last row stays in the view, and the oldest such row goes.
    fn remember(&mut self, key: &TaskKey, entry: &TaskEntry, out: &mut Outbox) {
        let mut show = |key, row| out.push(Output::Effect(Effect::Changed(Change::Task(key, row))));
        let touched = self.touched.tasks.remove(key);
        if !entry.state.is_terminal() {
            return show(key.clone(), None);
        }
        if touched {
            show(key.clone(), Some(Arc::new(task_view(entry))));
        }
        self.history.push_back(key.clone());
        if self.history.len() > self.config.history_max {
            let oldest = self.history.pop_front().expect("it holds more than its limit");
            // An agent that was away may have told of it again since.
            if !self.tasks.contains_key(&oldest) {
                show(oldest, None);
            }
        }
    }

    /// Ends a task where it runs, now or when its agent is back; durable until it is done.
    pub(super) fn kill(&mut self, key: &TaskKey, grace: Option<Duration>, out: &mut Outbox) -> Result<(), Reject> {
        if !self.frameworks.contains_key(&key.framework) {
            return Err(Reject::UnknownFramework);
        }
        if !self.tasks.contains_key(key) && self.gangs.kill_later(key, grace) {
            return Ok(());
        }
        let Some(entry) = self.tasks.get(key) else {
            if self.is_completed(key) || !self.may_be_elsewhere() {
                let status = self.unknown_status(&key.task);
                self.tell(key.framework, Event::Update(status), out);
                return Err(Reject::UnknownTask(key.task.clone()));
            }
            if self.kills.len() >= KILLS_MAX && !self.kills.contains_key(key) {
                return Err(Reject::Limit {
                    what: "kills of tasks that no agent has told of",
                    limit: KILLS_MAX as u64,
                });
            }
            let record = KillRecord { agent: None, grace, reason: Reason::KillRequested };
            out.push(Output::Persist(Record::Kill(key.clone(), Some(record.clone()))));
            self.kills.insert(key.clone(), record);
            return Ok(());
        };
        if !entry.state.is_terminal() {
            self.kill_live(key, grace, Reason::KillRequested, out);
        }
        Ok(())
    }

    /// Ends a task that has not ended, because of `reason`.
    pub(super) fn kill_live(&mut self, key: &TaskKey, grace: Option<Duration>, reason: Reason, out: &mut Outbox) {
        let Some(entry) = self.tasks.get_mut(key) else { return };
        let agent = entry.agent;
        let record = KillRecord { agent: Some(agent), grace, reason };
        entry.kill = Some(record.clone());
        if !planted(Fault::KillNotDurable) {
            out.push(Output::Persist(Record::Kill(key.clone(), Some(record))));
        }
        self.preemption.settles(agent);
        let announce = self.announce(key);
        self.to_agent(agent, ToAgent::Kill { task: key.clone(), grace, reason, announce }, out);
    }

    /// Whether the task's framework wants to hear that it was told to end.
    fn announce(&self, key: &TaskKey) -> Announce {
        let framework = self.frameworks.get(&key.framework);
        let hears =
            |framework: &super::state::Framework| framework.record.info.capabilities.contains(&Capability::TaskKilling);
        if framework.is_some_and(hears) { Announce::Yes } else { Announce::No }
    }

    /// Kills that waited for the agent, of what is there.
    pub(super) fn settle_kills(&mut self, id: AgentId, out: &mut Outbox) {
        // Those whose launch was sent again just now are not reported, and are to be killed all the same.
        for key in &self.agents[&id].known {
            let Some(entry) = self.tasks.get_mut(key) else { continue };
            if entry.kill.is_none() {
                entry.kill = self.kills.remove(key);
            }
            let is_due = !entry.state.is_terminal() && !planted(Fault::KillNotSentOnReturn);
            let Some(kill) = entry.kill.clone().filter(|_| is_due) else { continue };
            self.preemption.settles(id);
            let (task, announce) = (key.clone(), self.announce(key));
            self.to_agent(id, ToAgent::Kill { task, grace: kill.grace, reason: kill.reason, announce }, out);
        }
    }

    pub(super) fn reconcile(&mut self, id: FrameworkId, asked: Vec<Asked>, out: &mut Outbox) {
        let all = || self.frameworks[&id].tasks.iter().map(|task| Asked { task: task.clone(), agent: None }).collect();
        let asked: Vec<Asked> = if asked.is_empty() { all() } else { asked };
        for Asked { task, agent } in asked {
            let key = TaskKey::new(id, task);
            match self.tasks.get(&key) {
                // What is outstanding tells more, and is to be acknowledged.
                Some(entry) if entry.notice.is_some() || entry.outstanding.is_some() => {
                    let status = entry.unacknowledged().expect("one of the two is there").clone();
                    self.tell(id, Event::Update(status), out);
                }
                // Its end was reported by an agent that is to send the update itself, with all that belongs to it.
                Some(entry) if entry.state.is_terminal() => {}
                Some(entry) => {
                    let mut status = Status { uuid: None, ..entry.status.clone() };
                    status.state = entry.state;
                    status.reason = Some(Reason::Reconciliation);
                    self.tell(id, Event::Update(status), out);
                }
                // It is no task yet, and may become one.
                None if self.gangs.is_pending(&key) => {}
                None => {
                    if let Some(status) = self.absent_status(&key.task, agent) {
                        self.tell(id, Event::Update(status), out);
                    }
                }
            }
        }
    }

    /// The answer for a task without an entry, last on that agent; none while it may run on one that is still to come back.
    fn absent_status(&self, task: &TaskId, agent: Option<AgentId>) -> Option<Status> {
        let whereabouts = agent.and_then(|agent| self.agents.get(&agent));
        let state = match whereabouts.map(|agent| (agent.status, agent.heard)) {
            Some((AgentStatus::Gone, _)) => TaskState::GoneByOperator,
            Some((AgentStatus::Unreachable, false)) => TaskState::Unreachable,
            Some((_, false)) => return None,
            Some((_, true)) => return Some(self.unknown_status(task)),
            None if agent.is_none() && self.may_be_elsewhere() => return None,
            None => return Some(self.unknown_status(task)),
        };
        let mut status = Status::new(task.clone(), state, Source::Master);
        (status.agent, status.at) = (agent, self.wall());
        Some(status.because(Reason::Reconciliation, "its agent is away"))
    }

    /// Whether a task that this master does not know may run on an agent that it has not heard of in its term, or that has not confirmed it.
    pub(super) fn may_be_elsewhere(&self) -> bool {
        !self.unheard.is_empty() && !planted(Fault::DenyBeforeAgentsAreBack)
    }

    fn unknown_status(&self, task: &TaskId) -> Status {
        let mut status = Status::new(task.clone(), TaskState::Unknown, Source::Master);
        status.at = self.wall();
        status.because(Reason::Reconciliation, "no such task is known")
    }

    /// Takes the task's resources from its agent; false, and nothing is taken, if they are not free.
    pub(super) fn occupy(&mut self, agent: AgentId, key: &TaskKey, resources: &Resources) -> bool {
        let since = self.wall();
        let agent_entry = self.agents.get_mut(&agent).expect("the caller has found it");
        if !Arc::make_mut(&mut agent_entry.free).take(&resources.firm()) {
            return false;
        }
        for (device, share) in resources.device_shares() {
            if let Some(entry) = agent_entry.devices.get_mut(device) {
                entry.state.give(entry.device.mode, key, share);
                entry.since = since;
                self.touched.devices.insert((agent, device.clone()));
            }
        }
        self.want_agent_round(agent);
        true
    }
}
