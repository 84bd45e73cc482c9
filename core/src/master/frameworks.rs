//! Subscription, demand, suppression, and what becomes of a framework that stays away.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::devices::claim_gpus_of;
use super::registry::{FrameworkRecord, Record};
use super::state::{Framework, PeerOf, is_stale};
use super::timers::Timer;
use super::{Effect, Master, Outbox};
use crate::allocator::sorter::ClientIndex;
use crate::gate::Output;
use crate::model::{
    Call, CallId, Demand, Event, FrameworkId, FrameworkInfo, Outcome, PeerId, Principal, Reject, Rejection, Role,
    Subscribe, TaskKey, ToAgent,
};
use crate::planted::{Fault, planted};

/// The most roles that a framework may subscribe to.
const ROLES_MAX: usize = 64;
/// The longest name or url of a framework, in bytes.
const TEXT_MAX: usize = 512;

/// How much of a framework's time passes between two records of what remains of it.
fn away_step(record: &FrameworkRecord) -> Duration {
    (record.info.failover_timeout / 8).max(Duration::from_secs(1))
}

impl Master {
    pub(super) fn recover_frameworks(&mut self, records: BTreeMap<FrameworkId, FrameworkRecord>) {
        for (id, record) in records {
            let lost = planted(Fault::FailoverTimeoutLost);
            let remaining = if planted(Fault::RemovedOnFailover) { Duration::ZERO } else { record.remaining };
            self.framework_clients.insert(record.client, id);
            self.frameworks.insert(id, Framework::new(FrameworkRecord { remaining, ..record }));
            if !lost {
                self.await_framework(id);
            }
            self.touched.frameworks.push(id);
        }
    }

    pub(super) fn on_framework(&mut self, peer: PeerId, principal: Principal, call: Call, out: &mut Outbox) {
        let id = match (self.peers.get(&peer), call) {
            (None, Call::Subscribe(subscribe)) => return self.subscribe(peer, principal, subscribe, out),
            (Some(PeerOf::Framework(id)), call) => {
                let id = *id;
                return self.on_call(id, peer, call, out);
            }
            _ => Reject::NotSubscribed,
        };
        out.push(Output::Ungated(Effect::Close(peer, id)));
    }

    fn on_call(&mut self, id: FrameworkId, peer: PeerId, call: Call, out: &mut Outbox) {
        match call {
            Call::Subscribe(_) => out.push(Output::Ungated(Effect::Close(peer, Reject::Superseded))),
            Call::Accept(accept) => self.accept(id, accept, out),
            Call::AcceptGang(gang) => self.accept_gang(id, gang, out),
            Call::Decline { offers, refusal } => self.decline(id, &offers, &refusal),
            Call::Demand { role, demand } => self.declare(id, &role, demand, out),
            Call::Rules { id: call, rules } => self.set_rules(id, call, rules, out),
            Call::Suppress(roles) => self.suppress(id, &roles, out),
            Call::Revive(roles) => self.revive(id, &roles),
            Call::Kill { id: call, task, grace } => {
                let result = self.kill(&TaskKey::new(id, task.clone()), grace, out);
                let rejected = result.err().map(|reject| Rejection { operation: 0, tasks: vec![task], reject });
                self.outcome(id, call, rejected.into_iter().collect(), out);
            }
            Call::Acknowledge { agent, task, uuid } => self.acknowledge(&TaskKey::new(id, task), agent, uuid, out),
            Call::Reconcile(tasks) => self.reconcile(id, tasks, out),
            Call::Message { agent, executor, data } => {
                if let Some(peer) = self.agents.get(&agent).and_then(|agent| agent.peer) {
                    out.push(Output::Effect(Effect::ToAgent(peer, ToAgent::Message { framework: id, executor, data })));
                }
            }
            Call::Teardown => self.remove_framework(id, out),
        }
    }

    pub(super) fn outcome(&mut self, id: FrameworkId, call: CallId, rejected: Vec<Rejection>, out: &mut Outbox) {
        self.tell(id, Event::Outcome(Outcome { call, rejected }), out);
    }

    /// Sends `event` if the framework is connected.
    pub(super) fn tell(&self, id: FrameworkId, event: Event, out: &mut Outbox) {
        if let Some(peer) = self.frameworks.get(&id).and_then(|framework| framework.peer) {
            out.push(Output::Effect(Effect::ToFramework(peer, event)));
        }
    }

    fn subscribe(&mut self, peer: PeerId, principal: Principal, subscribe: Subscribe, out: &mut Outbox) {
        match self.admit(principal, subscribe, out) {
            Ok(id) => self.connect_framework(id, peer, out),
            Err(reject) => {
                out.push(Output::Effect(Effect::ToFramework(peer, Event::Error(reject.clone()))));
                out.push(Output::Effect(Effect::Close(peer, reject)));
            }
        }
    }

    /// The id under which the framework is known from now on.
    fn admit(&mut self, principal: Principal, subscribe: Subscribe, out: &mut Outbox) -> Result<FrameworkId, Reject> {
        check_info(&subscribe.info, self.config.failover_timeout_max)?;
        subscribe.info.roles.iter().try_for_each(|role| self.check_role("info.roles", role))?;
        let known = match subscribe.framework {
            Some(id) if self.frameworks.contains_key(&id) => Some(id),
            // Given out by a later master: this one has been replaced and is about to hear of it.
            Some(id) if id.term > self.term => return Err(Reject::OldTerm(self.term)),
            Some(_) => return Err(Reject::UnknownFramework),
            None => self.framework_clients.get(&subscribe.client).copied(),
        };
        let remaining = subscribe.info.failover_timeout;
        let record = FrameworkRecord { client: subscribe.client, principal, info: subscribe.info, remaining };
        let Some(id) = known else {
            let id = FrameworkId::new(self.term, self.next_seq());
            out.push(Output::Persist(Record::Framework(id, Some(record.clone()))));
            let mut framework = Framework::new(record);
            framework.suppressed = subscribe.suppressed;
            framework.connection = subscribe.connection;
            self.framework_clients.insert(subscribe.client, id);
            self.frameworks.insert(id, framework);
            return Ok(id);
        };
        let framework = self.frameworks.get_mut(&id).expect("it was found above");
        if is_stale(subscribe.connection, framework.peer, framework.connection) {
            return Err(Reject::Superseded);
        }
        if framework.record.principal != record.principal {
            return Err(Reject::Forbidden {
                principal: record.principal.to_string(),
                action: "subscribe as this framework",
            });
        }
        let dropped: Vec<Role> = framework.record.info.roles.difference(&record.info.roles).cloned().collect();
        for role in &dropped {
            self.sorter.set_active(role, id, false);
        }
        framework.suppressed = subscribe.suppressed;
        framework.connection = subscribe.connection;
        if framework.record != record {
            framework.record = record.clone();
            out.push(Output::Persist(Record::Framework(id, Some(record))));
        }
        Ok(id)
    }

    fn connect_framework(&mut self, id: FrameworkId, peer: PeerId, out: &mut Outbox) {
        self.withdraw_offers(id);
        self.forget_demand(id);
        self.forget_queues(id);
        let framework = self.frameworks.get_mut(&id).expect("admit() has made or found it");
        if let Some(old) = framework.peer.replace(peer) {
            self.peers.swap_remove(&old);
            out.push(Output::Ungated(Effect::Close(old, Reject::Superseded)));
        }
        if let Some(key) = framework.away.take() {
            self.timers.cancel(key);
        }
        framework.waiting = [].into();
        self.peers.insert(peer, PeerOf::Framework(id));
        self.touched.frameworks.push(id);
        self.renew_clients(id);
        self.update_activity(id);
        let missing = u32::try_from(self.agents_missing()).unwrap_or(u32::MAX);
        let subscribed =
            Event::Subscribed { framework: id, cluster: self.cluster, term: self.term, agents_missing: missing };
        self.tell(id, subscribed, out);
        self.tell_prices(id, out);
        self.tell_all_leaving(id, out);
        self.resend_updates(id, out);
        self.want_client_rounds(id);
    }

    /// There may be something for the framework that there was not before, in any of its roles.
    fn want_client_rounds(&mut self, id: FrameworkId) {
        self.dirty_clients.extend(self.frameworks[&id].clients.values());
        self.want_round();
    }

    /// Tells the sorter for which roles the framework takes offers.
    fn update_activity(&mut self, id: FrameworkId) {
        let framework = &self.frameworks[&id];
        for role in &framework.record.info.roles {
            self.sorter.set_active(role, id, framework.takes_offers(role));
        }
    }

    pub(super) fn on_framework_disconnected(&mut self, id: FrameworkId) {
        self.withdraw_offers(id);
        self.withdraw_nominations(id, |_| true);
        let Some(framework) = self.frameworks.get_mut(&id) else { return };
        framework.peer = None;
        self.await_framework(id);
        self.touched.frameworks.push(id);
        self.update_activity(id);
    }

    fn await_framework(&mut self, id: FrameworkId) {
        let framework = self.frameworks.get_mut(&id).expect("the caller has found it");
        let due = self.now + away_step(&framework.record).min(framework.record.remaining);
        framework.away = Some(self.timers.set(due, Timer::FrameworkAway(id)));
    }

    /// The framework is still away. What remains of its time is recorded step by step, so that it does not begin anew with a new master.
    pub(super) fn on_framework_away(&mut self, id: FrameworkId, out: &mut Outbox) {
        let Some(framework) = self.frameworks.get_mut(&id) else { return };
        let record = &mut framework.record;
        record.remaining = record.remaining.saturating_sub(away_step(record));
        if record.remaining.is_zero() {
            return self.remove_framework(id, out);
        }
        out.push(Output::Persist(Record::Framework(id, Some(record.clone()))));
        self.await_framework(id);
    }

    pub(super) fn teardown(&mut self, id: FrameworkId, out: &mut Outbox) -> Result<(), Reject> {
        if !self.frameworks.contains_key(&id) {
            return Err(Reject::UnknownFramework);
        }
        self.remove_framework(id, out);
        Ok(())
    }

    /// Forgets the framework; its tasks are killed where they run, now or when their agents are back.
    pub(super) fn remove_framework(&mut self, id: FrameworkId, out: &mut Outbox) {
        self.withdraw_offers(id);
        self.drop_gangs_of(id, out);
        self.forget_demand(id);
        self.forget_queues(id);
        self.forget_preemption(id);
        self.drop_clients(id);
        let Some(framework) = self.frameworks.shift_remove(&id) else { return };
        self.framework_clients.remove(&framework.record.client);
        self.forget_conduct(id);
        if let Some(key) = framework.away {
            self.timers.cancel(key);
        }
        if let Some(peer) = framework.peer {
            self.peers.swap_remove(&peer);
            out.push(Output::Effect(Effect::Close(peer, Reject::UnknownFramework)));
        }
        out.push(Output::Persist(Record::Framework(id, None)));
        for role in &framework.record.info.roles {
            self.sorter.set_active(role, id, false);
        }
        self.end_orphans(id, &framework, out);
        self.touched.frameworks.push(id);
    }

    fn end_orphans(&mut self, id: FrameworkId, framework: &Framework, out: &mut Outbox) {
        let mut agents = BTreeSet::new();
        for task in &framework.tasks {
            let key = TaskKey::new(id, task.clone());
            agents.insert(self.tasks[&key].agent);
            if self.tasks[&key].state.is_terminal() {
                self.forget_task(&key, out);
            }
        }
        for key in self.kills.range(TaskKey::new(id, first_task_id())..).map(|(key, _)| key.clone()).collect::<Vec<_>>()
        {
            if key.framework == id {
                self.kills.remove(&key);
                out.push(Output::Persist(Record::Kill(key, None)));
            }
        }
        for peer in agents.iter().filter_map(|agent| self.agents[agent].peer) {
            out.push(Output::Effect(Effect::ToAgent(peer, ToAgent::RemoveFramework(id))));
        }
    }

    fn declare(&mut self, id: FrameworkId, role: &Role, demand: Option<Demand>, out: &mut Outbox) {
        let demand = demand.map(claim_gpus_of);
        if !self.frameworks[&id].record.info.roles.contains(role) {
            return;
        }
        self.note_demand(id, role, demand.as_ref());
        let client = self.client_id(id, role);
        let change = client.map(|client| self.want(client, demand.as_ref()));
        let is_wider = client.is_some_and(|client| self.heed_modesty(client));
        self.set_demand(id, role.clone(), demand);
        let framework = self.frameworks.get_mut(&id).expect("a peer's framework is known");
        let rows = framework
            .demand
            .iter()
            .flat_map(|(role, demand)| demand.shapes.iter().map(|shape| (role.clone(), shape.clone())));
        framework.waiting = rows.collect();
        self.touched.frameworks.push(id);
        let (Some(client), Some(change)) = (client, change) else { return };
        if change.is_less() {
            self.prune_framework_offers(id, out);
        }
        // On an agent that will be taken away, who says how long it runs may be offered what was not offered before.
        let is_wider = is_wider || !self.leaving.is_empty();
        if change.is_more() || is_wider || self.clients.get(client).is_some_and(|client| client.is_bounded) {
            self.dirty_clients.insert(client);
            self.want_round();
        }
    }

    fn suppress(&mut self, id: FrameworkId, roles: &BTreeSet<Role>, out: &mut Outbox) {
        if planted(Fault::OfferToSuppressed) {
            return;
        }
        self.rescind_for_roles(id, roles, out);
        self.withdraw_nominations(id, |role| roles.contains(role));
        let framework = self.frameworks.get_mut(&id).expect("a peer's framework is known");
        framework.suppressed.extend(roles.iter().filter(|role| framework.record.info.roles.contains(role)).cloned());
        self.touched.frameworks.push(id);
        self.update_activity(id);
    }

    fn revive(&mut self, id: FrameworkId, roles: &BTreeSet<Role>) {
        let framework = self.frameworks.get_mut(&id).expect("a peer's framework is known");
        framework.suppressed.retain(|role| !roles.contains(role) || planted(Fault::LoseRevive));
        let revived: Vec<ClientIndex> =
            framework.clients.iter().filter(|(role, _)| roles.contains(*role)).map(|(_, client)| *client).collect();
        for client in &revived {
            self.clients.begin_epoch(*client);
        }
        self.touched.frameworks.push(id);
        self.update_activity(id);
        self.dirty_clients.extend(revived);
        self.want_round();
    }
}

fn check_info(info: &FrameworkInfo, failover_max: Duration) -> Result<(), Reject> {
    if info.name.is_empty() || info.name.len() > TEXT_MAX {
        return Err(Reject::invalid("info.name", format!("expected 1 to {TEXT_MAX} bytes")));
    }
    if info.url.as_ref().is_some_and(|url| url.len() > TEXT_MAX) {
        return Err(Reject::invalid("info.url", format!("expected at most {TEXT_MAX} bytes")));
    }
    if info.roles.is_empty() || info.roles.len() > ROLES_MAX {
        return Err(Reject::invalid("info.roles", format!("expected 1 to {ROLES_MAX} roles")));
    }
    if info.failover_timeout > failover_max {
        return Err(Reject::invalid("info.failover_timeout", format!("expected at most {} s", failover_max.as_secs())));
    }
    info.rules.check(&info.roles)
}

/// The smallest text that is a task id: every task of a framework sorts at or after it.
fn first_task_id() -> crate::model::TaskId {
    crate::model::TaskId::new("!").expect("a single printable character is an id")
}
