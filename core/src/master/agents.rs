//! Agents come, fall silent, return, and go; what they report is the truth about what runs on them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::registry::{Admission, AgentRecord, Record};
use super::state::{Agent, DeviceEntry, PeerOf, is_stale};
use super::timers::Timer;
use super::view::AgentStatus;
use super::{Effect, Master, Outbox};
use crate::gate::Output;
use crate::model::{
    AgentId, AgentReport, DeviceId, DeviceReport, DeviceState, Event, FrameworkId, FromAgent, Launch, PeerId,
    Principal, Reason, Reject, Resources, Share, Status, TaskGroup, TaskKey, TaskReport, TaskState, ToAgent,
};
use crate::planted::{Fault, planted};

impl Master {
    pub(super) fn recover_agents(&mut self, records: BTreeMap<AgentId, AgentRecord>) {
        let deadline = self.now + self.config.recovery_timeout;
        for (id, record) in records {
            let status = match record.admission {
                Admission::Admitted => AgentStatus::Recovering,
                Admission::Unreachable => AgentStatus::Unreachable,
                Admission::Gone => AgentStatus::Gone,
            };
            self.agent_clients.insert(record.client, id);
            let mut agent = Agent::new(record, status);
            if status == AgentStatus::Recovering {
                agent.silent = Some(self.timers.set(deadline, Timer::AgentSilent(id)));
                self.sorter.grow(&agent.counted());
                agent.record.resources.reserved().for_each(|(role, part)| self.sorter.reserve(role, &part));
                self.quotas.grow(&agent.counted());
                self.recovering.insert(id, agent.counted());
            }
            if status != AgentStatus::Gone {
                self.unheard.insert(id);
            }
            self.agents.insert(id, Box::new(agent));
            self.judge_agent(id);
            self.touched.agents.push(id);
            self.hardware_changed(id);
        }
    }

    /// How many known agents have not come back in this term.
    pub(super) fn agents_missing(&self) -> usize {
        self.unheard.iter().filter(|id| self.agents[*id].is_awaited()).count()
    }

    pub(super) fn on_agent(&mut self, peer: PeerId, principal: Principal, message: FromAgent, out: &mut Outbox) {
        let id = match (self.peers.get(&peer), message) {
            (None | Some(PeerOf::Agent(_)), FromAgent::Register(report)) => {
                return self.register(peer, principal, *report, out);
            }
            (Some(PeerOf::Agent(id)), message) => {
                let id = *id;
                return self.on_agent_message(id, message, out);
            }
            _ => Reject::NotSubscribed,
        };
        out.push(Output::Ungated(Effect::Close(peer, id)));
    }

    fn on_agent_message(&mut self, id: AgentId, message: FromAgent, out: &mut Outbox) {
        match message {
            FromAgent::Register(_) => unreachable!("on_agent() takes registrations out"),
            FromAgent::Update { framework, status, latest } => self.on_update(id, framework, status, latest, out),
            FromAgent::Operated { id: operation, result, resources } => {
                self.on_operated(id, operation, &result, &resources, out);
            }
            FromAgent::Confirmed(term) => self.on_agent_confirmed(id, term, out),
            FromAgent::DevicesFree(devices) => self.on_devices_free(id, devices),
            FromAgent::SlicesFree(slices) => self.on_slices_free(id, slices),
            FromAgent::Devices(reports) => self.on_devices(id, reports, out),
            FromAgent::Journal { degraded } => {
                let agent = self.agents.get_mut(&id).expect("a peer's agent is known");
                agent.journal_degraded = degraded;
                self.touched.agents.push(id);
                self.want_agent_round(id);
            }
            FromAgent::Message { framework, executor, data } => {
                self.tell(framework, Event::Message { agent: id, executor, data }, out);
            }
            FromAgent::Held(gang) => self.on_held(id, gang, out),
            FromAgent::NotHeld(gang, reject) => self.on_not_held(id, gang, reject, out),
        }
    }

    /// Sends `message` if the agent is connected.
    pub(super) fn to_agent(&self, id: AgentId, message: ToAgent, out: &mut Outbox) {
        if let Some(peer) = self.agents.get(&id).and_then(|agent| agent.peer) {
            out.push(Output::Effect(Effect::ToAgent(peer, message)));
        }
    }

    fn register(&mut self, peer: PeerId, principal: Principal, report: AgentReport, out: &mut Outbox) {
        let resources = self.common.share(&report.resources);
        match self.admit_agent(peer, principal, &report, &resources, out) {
            Ok(id) => self.connect_agent(id, peer, report, &resources, out),
            Err(reject @ (Reject::OldTerm(_) | Reject::Superseded)) => {
                out.push(Output::Effect(Effect::Close(peer, reject)));
            }
            Err(reject) => {
                out.push(Output::Effect(Effect::ToAgent(peer, ToAgent::Shutdown(reject.clone()))));
                out.push(Output::Effect(Effect::Close(peer, reject)));
            }
        }
    }

    fn admit_agent(
        &mut self,
        peer: PeerId,
        principal: Principal,
        report: &AgentReport,
        resources: &Arc<Resources>,
        out: &mut Outbox,
    ) -> Result<AgentId, Reject> {
        if report.resources.device_shares().next().is_some() {
            return Err(Reject::invalid(
                "report.resources",
                "expected no devices: they are reported with their states",
            ));
        }
        let known = match report.agent {
            Some((id, cluster)) if cluster != self.cluster => return Err(Reject::UnknownAgent(id)),
            // It knows a later master: this one has been replaced and is about to hear of it.
            _ if report.term > self.term && !planted(Fault::AcceptOldTerm) => return Err(Reject::OldTerm(self.term)),
            Some((id, _)) if id.term > self.term => return Err(Reject::OldTerm(self.term)),
            Some((id, _)) => match self.agents.get(&id) {
                Some(agent) if agent.record.admission != Admission::Gone => Some(id),
                _ => return Err(Reject::UnknownAgent(id)),
            },
            None => self.agent_clients.get(&report.client).copied(),
        };
        let id = known.unwrap_or_else(|| AgentId::new(self.term, self.next_seq()));
        let record = AgentRecord {
            client: report.client,
            principal,
            info: report.info.clone(),
            admission: Admission::Admitted,
            since: self.wall(),
            resources: resources.clone(),
        };
        match self.agents.get_mut(&id) {
            Some(agent) if agent.record.principal != record.principal => {
                return Err(Reject::Forbidden {
                    principal: record.principal.to_string(),
                    action: "register as this agent",
                });
            }
            Some(agent) if is_stale(report.connection, agent.peer.filter(|known| *known != peer), agent.connection) => {
                return Err(Reject::Superseded);
            }
            Some(agent) => {
                if !agent.record.is_but_since(&record) {
                    out.push(Output::Persist(Record::Agent(id, Some(record))));
                }
            }
            None => {
                out.push(Output::Persist(Record::Agent(id, Some(record.clone()))));
                self.agent_clients.insert(record.client, id);
                self.agents.insert(id, Box::new(Agent::new(record, AgentStatus::Unreachable)));
            }
        }
        Ok(id)
    }

    fn connect_agent(
        &mut self,
        id: AgentId,
        peer: PeerId,
        report: AgentReport,
        resources: &Arc<Resources>,
        out: &mut Outbox,
    ) {
        self.abandon_gangs_on(id, out);
        self.withdraw_agent_offers(id, out);
        let was = self.agents[&id].status;
        self.uncount(id);
        let now = self.wall();
        let resources = self.settle_operations(id, report.operated, resources, out);
        let agent = self.agents.get_mut(&id).expect("admit_agent() has made or found it");
        agent.record.info = report.info;
        if let Some(old) = agent.peer.replace(peer).filter(|old| *old != peer) {
            self.peers.swap_remove(&old);
            out.push(Output::Ungated(Effect::Close(old, Reject::Superseded)));
        }
        if let Some(key) = agent.silent.take() {
            self.timers.cancel(key);
        }
        agent.connection = report.connection;
        agent.record.resources = resources;
        if agent.record.admission != Admission::Admitted {
            agent.record.since = now;
        }
        agent.record.admission = Admission::Admitted;
        agent.status = AgentStatus::Active;
        // It says so after this if its journal can't be written now; what it said in an earlier life is void.
        agent.journal_degraded = false;
        self.peers.insert(peer, PeerOf::Agent(id));
        self.judge_agent(id);
        let told = report.tasks.iter().map(|task| TaskKey::new(task.framework, task.task.id.clone())).collect();
        self.set_devices(id, report.devices, &told);
        self.count(id);
        self.touched.agents.push(id);
        self.to_agent(id, ToAgent::Registered { agent: id, cluster: self.cluster }, out);
        self.resend_operations(id, out);
        // What was held for a gang goes before its tasks are launched anew.
        for gang in report.held {
            self.to_agent(id, ToAgent::Release(gang), out);
        }
        self.take_report(id, report.tasks, was, out);
        self.recompute_free(id);
        self.believe_agent(id, out);
        self.hardware_changed(id);
        self.watch_expiry(id);
        if self.agents[&id].has_expiring() {
            self.expiring.insert(id);
        }
        self.want_agent_round(id);
    }

    /// The agent's tasks are those that it reports, and those whose launch it never got: these are sent again.
    fn take_report(&mut self, id: AgentId, reports: Vec<TaskReport>, was: AgentStatus, out: &mut Outbox) {
        let mut reported = BTreeSet::new();
        let mut orphans = BTreeSet::new();
        for report in reports {
            let key = TaskKey::new(report.framework, report.task.id.clone());
            reported.insert(key.clone());
            if self.frameworks.contains_key(&report.framework) {
                self.adopt(id, &key, report, was, out);
            } else {
                orphans.insert(report.framework);
                self.adopt_orphan(id, &key, report);
            }
        }
        for framework in orphans.into_iter().filter(|_| !planted(Fault::OrphansRunOn)) {
            self.to_agent(id, ToAgent::RemoveFramework(framework), out);
        }
        let missing: Vec<TaskKey> = self.agents[&id].known.difference(&reported).cloned().collect();
        for key in missing {
            self.resume_missing(id, &key, out);
        }
        self.settle_kills(id, out);
    }

    /// A task that the master believed there and the agent does not report: not arrived, or gone.
    fn resume_missing(&mut self, id: AgentId, key: &TaskKey, out: &mut Outbox) {
        let entry = &self.tasks[key];
        if entry.state.is_terminal() {
            // The agent forgets a task only when its end was acknowledged. One whose end the master told may still have to be.
            if entry.notice.is_none() {
                self.forget_task(key, out);
            }
        } else if !self.frameworks.contains_key(&key.framework) {
            self.forget_task(key, out);
        } else if entry.state == TaskState::Staging {
            self.launch_again(id, key, out);
        } else {
            let gone = self
                .master_status(key, TaskState::Gone)
                .because(Reason::UnknownToAgent, "the agent came back without it");
            self.set_state(key, gone.clone(), TaskState::Gone);
            self.notify(key, gone, out);
        }
    }

    /// The launch got lost with the connection. A group is sent whole, once: for its first task.
    pub(super) fn launch_again(&self, id: AgentId, key: &TaskKey, out: &mut Outbox) {
        let leader = &self.tasks[key].leader;
        if *leader != key.task || planted(Fault::LaunchNotResent) {
            return;
        }
        let known = self.agents[&id].known.iter().filter(|member| member.framework == key.framework);
        let members = known.map(|member| &self.tasks[member]).filter(|entry| entry.leader == *leader);
        let tasks = members.map(|entry| entry.task.clone()).collect();
        self.to_agent(id, ToAgent::Launch(self.launch_of(key, TaskGroup { tasks })), out);
    }

    pub(super) fn launch_of(&self, key: &TaskKey, group: TaskGroup) -> Launch {
        let info = &self.frameworks[&key.framework].record.info;
        Launch { framework: key.framework, group, user: info.user.clone(), remember: info.failover_timeout }
    }

    pub(super) fn on_agent_disconnected(&mut self, id: AgentId, out: &mut Outbox) {
        self.withdraw_agent_offers(id, out);
        self.void_nominations(id);
        let deadline = self.now + self.config.agent_timeout;
        let silent = self.timers.set(deadline, Timer::AgentSilent(id));
        let Some(agent) = self.agents.get_mut(&id) else { return };
        agent.peer = None;
        agent.status = AgentStatus::Disconnected;
        agent.silent = Some(silent);
        self.touched.agents.push(id);
        self.want_agent_round(id);
        self.abandon_gangs_on(id, out);
    }

    /// The agent has been away for too long: its tasks are unreachable, which is not dead.
    pub(super) fn on_agent_silent(&mut self, id: AgentId, out: &mut Outbox) {
        let since = self.wall();
        let Some(agent) = self.agents.get_mut(&id) else { return };
        agent.silent = None;
        self.stats.agents_unreachable += 1;
        let record = AgentRecord { admission: Admission::Unreachable, since, ..agent.record.clone() };
        out.push(Output::Persist(Record::Agent(id, Some(record.clone()))));
        self.uncount(id);
        let agent = self.agents.get_mut(&id).expect("it was there above");
        agent.record = record;
        agent.status = AgentStatus::Unreachable;
        self.touched.agents.push(id);
        self.hardware_changed(id);
        let state = if planted(Fault::UnreachableIsGone) { TaskState::Gone } else { TaskState::Unreachable };
        self.lose_tasks(id, state, Reason::AgentDisconnected, "the agent is silent", out);
        self.agent_settled(id);
        self.settle_parked(id, out);
    }

    pub(super) fn mark_gone(&mut self, id: AgentId, out: &mut Outbox) -> Result<(), Reject> {
        let known = self.agents.get(&id).filter(|agent| agent.status != AgentStatus::Gone);
        known.ok_or(Reject::UnknownAgent(id))?;
        self.give_up_agent(id, "an operator declared the agent gone", out);
        Ok(())
    }

    /// The agent, which is known and not gone, is gone for good, because of `what`.
    pub(super) fn give_up_agent(&mut self, id: AgentId, what: &str, out: &mut Outbox) {
        let since = self.wall();
        self.forget_leaving(id, out);
        let agent = &self.agents[&id];
        let record = AgentRecord { admission: Admission::Gone, since, ..agent.record.clone() };
        out.push(Output::Persist(Record::Agent(id, Some(record.clone()))));
        self.abandon_gangs_on(id, out);
        self.withdraw_agent_offers(id, out);
        self.void_nominations(id);
        self.uncount(id);
        let agent = self.agents.get_mut(&id).expect("it was there above");
        agent.record = record;
        agent.status = AgentStatus::Gone;
        if let Some(key) = agent.silent.take() {
            self.timers.cancel(key);
        }
        self.unheard.remove(&id);
        self.dirty_agents.insert(id);
        if let Some(peer) = agent.peer.take() {
            self.peers.swap_remove(&peer);
            out.push(Output::Effect(Effect::ToAgent(peer, ToAgent::Shutdown(Reject::UnknownAgent(id)))));
            out.push(Output::Effect(Effect::Close(peer, Reject::UnknownAgent(id))));
        }
        self.touched.agents.push(id);
        self.hardware_changed(id);
        self.tell_last_words(id, out);
        self.lose_tasks(id, TaskState::GoneByOperator, Reason::AgentRemoved, what, out);
        self.drop_vain_kills(out);
        self.forget_operations(id, out);
        self.agent_settled(id);
        self.settle_parked(id, out);
        let frameworks: Vec<FrameworkId> = self.frameworks.keys().copied().collect();
        for framework in frameworks {
            self.tell(framework, Event::AgentLost(id), out);
        }
    }

    /// Ends that the agent can't tell in full any more are told as far as they are known.
    fn tell_last_words(&mut self, id: AgentId, out: &mut Outbox) {
        let unsaid = |key: &&TaskKey| {
            let entry = &self.tasks[*key];
            let said = entry.outstanding.iter().chain(&entry.notice).any(|status| status.state.is_terminal());
            entry.state.is_terminal() && !said
        };
        let unsaid: Vec<TaskKey> = self.agents[&id].known.iter().filter(unsaid).cloned().collect();
        for key in unsaid {
            let state = self.tasks[&key].state;
            let status = self
                .master_status(&key, state)
                .because(Reason::AgentRemoved, "its agent was declared gone before it told more");
            self.notify(&key, status, out);
        }
    }

    /// Kills that can't be carried out any more, because their agents are gone.
    pub(super) fn drop_vain_kills(&mut self, out: &mut Outbox) {
        let gone = |id: &AgentId| self.agents.get(id).is_none_or(|agent| agent.status == AgentStatus::Gone);
        let vain = self.kills.iter().filter(|(_, kill)| kill.agent.as_ref().is_some_and(gone));
        let vain: Vec<TaskKey> = vain.map(|(key, _)| key.clone()).collect();
        for key in vain {
            self.kills.remove(&key);
            out.push(Output::Persist(Record::Kill(key, None)));
        }
    }

    fn lose_tasks(&mut self, id: AgentId, state: TaskState, reason: Reason, message: &str, out: &mut Outbox) {
        let known = self.agents[&id].known.iter();
        let ends = |key: &TaskKey| !self.tasks[key].state.is_terminal();
        let kept = planted(Fault::GoneAgentKeepsTasks) && state == TaskState::GoneByOperator;
        let lost: Vec<TaskKey> = known.filter(|key| ends(key) && !kept).cloned().collect();
        for key in lost {
            let status: Status = self.master_status(&key, state).because(reason, message);
            self.set_state(&key, status.clone(), state);
            self.notify(&key, status, out);
            // Nobody is left to acknowledge its end.
            if state.is_terminal() && !self.frameworks.contains_key(&key.framework) {
                self.forget_task(&key, out);
            }
        }
    }

    /// The agent's capacity counts in the cluster's total from now on.
    pub(super) fn count(&mut self, id: AgentId) {
        let agent = &self.agents[&id];
        let counted = agent.counted();
        self.sorter.grow(&counted);
        self.class_order.grow(&counted);
        self.quotas.grow(&counted);
        agent.record.resources.reserved().for_each(|(role, part)| self.sorter.reserve(role, &part));
    }

    /// The agent's capacity counts no more, if it did.
    pub(super) fn uncount(&mut self, id: AgentId) {
        let agent = &self.agents[&id];
        let counts = matches!(agent.status, AgentStatus::Active | AgentStatus::Disconnected | AgentStatus::Recovering);
        if counts {
            let counted = agent.counted();
            self.sorter.shrink(&counted);
            self.class_order.shrink(&counted);
            self.quotas.shrink(&counted);
            agent.record.resources.reserved().for_each(|(role, part)| self.sorter.unreserve(role, &part));
        }
    }

    fn on_devices(&mut self, id: AgentId, reports: Vec<DeviceReport>, out: &mut Outbox) {
        self.uncount(id);
        self.set_devices(id, reports, &BTreeSet::new());
        self.count(id);
        self.recompute_free(id);
        self.unlock_lost(id, out);
        self.hardware_changed(id);
        self.want_agent_round(id);
    }

    /// The agent owns the state of its devices: what it reports is taken over. A launch that is on its way to it is not yet in its report.
    fn set_devices(&mut self, id: AgentId, reports: Vec<DeviceReport>, told: &BTreeSet<TaskKey>) {
        let agent = &self.agents[&id];
        let has_devices = !reports.is_empty() || !agent.devices.is_empty();
        if has_devices || !agent.known.is_empty() || !told.is_empty() {
            self.preemption.settles(id);
        }
        if !has_devices {
            return;
        }
        let since = self.wall();
        let staged = self.staged_devices(id, told);
        let agent = self.agents.get_mut(&id).expect("the caller has found it");
        let mut old = std::mem::take(&mut agent.devices);
        self.touched.devices.extend(old.keys().map(|device| (id, device.clone())));
        for DeviceReport { device, mut state } in reports {
            for (holder, share) in staged.get(&device.id).into_iter().flatten() {
                if !state.is_held_by(holder) && state.free_share() >= *share {
                    state.give(device.mode, holder, *share);
                }
            }
            let before = old.remove(&device.id);
            let cleaned = before.as_ref().map_or(0, |entry| entry.cleaned);
            let since = before.filter(|entry| entry.state == state).map_or(since, |entry| entry.since);
            self.touched.devices.insert((id, device.id.clone()));
            agent.devices.insert(device.id.clone(), DeviceEntry::new(device, state, cleaned, since));
        }
        self.see_classes(id);
    }

    /// Devices of tasks whose launch the agent has not confirmed, be it by an update or by having `told` of them.
    fn staged_devices(&self, id: AgentId, told: &BTreeSet<TaskKey>) -> BTreeMap<DeviceId, Vec<(TaskKey, Share)>> {
        let staged = self.agents[&id]
            .tasks
            .iter()
            .filter(|key| self.tasks[*key].state == TaskState::Staging && !told.contains(*key));
        let mut devices: BTreeMap<DeviceId, Vec<(TaskKey, Share)>> = BTreeMap::new();
        let staged = staged.map(|key| (key, &self.tasks[key].task.resources));
        for (key, resources) in staged.chain(self.gangs.held_on(id)) {
            for (device, share) in resources.device_shares() {
                devices.entry(device.clone()).or_default().push((key.clone(), share));
            }
        }
        devices
    }

    fn on_devices_free(&mut self, id: AgentId, devices: Vec<(DeviceId, u64)>) {
        let since = self.wall();
        let agent = self.agents.get_mut(&id).expect("a peer's agent is known");
        for (device, generation) in devices {
            let Some(entry) = agent.devices.get_mut(&device) else { continue };
            // A repeated message about an earlier tenancy frees nothing.
            if !matches!(entry.state, DeviceState::Cleaning { .. }) || generation <= entry.cleaned {
                continue;
            }
            entry.cleaned = generation;
            entry.state = DeviceState::Free;
            entry.since = since;
            if entry.device.health.is_usable() && !agent.overcommitted {
                Arc::make_mut(&mut agent.free).add(&Resources::devices([device.clone()]));
            }
            self.touched.devices.insert((id, device));
        }
        self.touched.agents.push(id);
        self.want_agent_round(id);
    }

    fn on_slices_free(&mut self, id: AgentId, slices: Vec<(DeviceId, TaskKey)>) {
        let since = self.wall();
        let agent = self.agents.get_mut(&id).expect("a peer's agent is known");
        for (device, task) in slices {
            // A repeated message about a slice that is gone frees nothing.
            let Some(entry) = agent.devices.get_mut(&device) else { continue };
            let Some(share) = entry.state.free_slice(&task) else { continue };
            entry.since = since;
            if entry.device.health.is_usable() && !agent.overcommitted {
                Arc::make_mut(&mut agent.free).add(&Resources::device_shares_of([(device.clone(), share)]));
            }
            self.touched.devices.insert((id, device));
        }
        self.touched.agents.push(id);
        self.want_agent_round(id);
    }

    /// What is free on the agent, from its total, its tasks and its devices; nothing while its tasks hold more than it has.
    pub(super) fn recompute_free(&mut self, id: AgentId) {
        let agent = self.agents.get_mut(&id).expect("the caller has found it");
        let is_idle = agent.tasks.is_empty() && self.gangs.held_on(id).next().is_none();
        if is_idle && agent.devices.is_empty() {
            agent.free = agent.record.resources.clone();
            agent.overcommitted = false;
            return self.recompute_kept(id);
        }
        let agent = &self.agents[&id];
        let mut free = Resources::clone(&agent.record.resources);
        let mut overcommitted = false;
        for key in &agent.tasks {
            let held = self.tasks[key].task.resources.counted();
            if !free.subtract(&held) {
                overcommitted = true;
            }
        }
        for (_, held) in self.gangs.held_on(id) {
            overcommitted |= !free.subtract(&held.counted());
        }
        if overcommitted {
            free = Resources::new();
        } else {
            free.add(&agent.free_devices());
        }
        let agent = self.agents.get_mut(&id).expect("it was there above");
        agent.free = Arc::new(free);
        agent.overcommitted = overcommitted;
        self.recompute_kept(id);
    }
}
