//! What every framework needs around its policy: subscription, acknowledgement, the offer book, reconciliation, retries.

mod calls;
mod events;
mod gangs;
mod interface;
mod market;
mod reconcile;
mod saved;
mod tasks;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use interface::{DriverConfig, DriverEffect, DriverInput, DriverRecord, DriverStats, Durability, Ending};
pub use saved::SavedError;

use self::calls::Calls;
use self::market::Market;
use self::reconcile::Reconcile;
use self::saved::Identity;
use self::tasks::{Ended, Tracked};
use super::out::Wish;
use super::{Happening, Out, Scheduler};
use crate::gate::{Outbox, Output};
use crate::model::{
    Accept, AcceptGang, AgentId, Asked, Call, ClusterId, FrameworkId, GangPart, Offer, OfferId, OfferRules, Operation,
    Refusal, Reject, Role, Task, TaskId, TaskState, Term, Time,
};
use crate::planted::{Fault, planted};

/// The most offers that stand in the book; more are declined.
const BOOK_MAX: usize = 16_384;

type Outputs<S> = Outbox<DriverRecord, DriverEffect<<S as Scheduler>::Effect>>;

/// A policy with what every framework needs. Pure: told the time and one input, it yields records and effects.
#[derive(Debug)]
pub struct Driver<S: Scheduler> {
    config: DriverConfig,
    policy: S,
    out: Out<S::Effect>,
    /// The last optimistic offer of each agent and role: the next one replaces it.
    standing: BTreeMap<(AgentId, Role), OfferId>,
    identity: Identity,
    identity_saved: bool,
    /// The highest term that was heard of.
    term: Term,
    connection: u64,
    link: Link,
    tasks: BTreeMap<TaskId, Tracked>,
    ended: Ended,
    calls: Calls,
    market: Market,
    reconcile: Reconcile,
    /// What the driver itself refused, to be told at the next step.
    refused: Vec<Reject>,
    life: Life,
    stats: DriverStats,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Down,
    Subscribing,
    Subscribed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Active,
    /// The policy has asked for the teardown.
    Leaving,
    Ended,
}

impl<S: Scheduler> Driver<S> {
    /// A driver around `policy`, which takes up what an earlier life has `saved`. The policy reads its own keys before.
    ///
    /// # Errors
    /// If a record of the driver's own does not read.
    pub fn new(config: DriverConfig, policy: S, saved: &BTreeMap<String, Vec<u8>>) -> Result<Self, SavedError> {
        let (earlier, tasks) = saved::read(saved)?;
        let term = saved::read_term(saved)?;
        let identity = match earlier {
            Some(earlier) => Identity { life: earlier.life.wrapping_add(1), ..earlier },
            None => Identity { life: 0, client: config.client, framework: None, cluster: None },
        };
        Ok(Self {
            calls: Calls::new(identity.life),
            config,
            policy,
            out: Out::default(),
            standing: BTreeMap::new(),
            identity,
            identity_saved: false,
            term,
            connection: 0,
            link: Link::Down,
            tasks,
            ended: Ended::default(),
            market: Market::default(),
            reconcile: Reconcile::default(),
            refused: Vec::new(),
            life: Life::Active,
            stats: DriverStats::default(),
        })
    }

    /// Fires what is due, then applies `input`.
    pub fn step(&mut self, now: Time, input: DriverInput<S::Command>, out: &mut Outputs<S>) {
        if self.life == Life::Ended {
            return;
        }
        self.save_identity_once(out);
        self.fire_due(now, out);
        match input {
            DriverInput::Connected => self.connected(now, out),
            DriverInput::Disconnected => self.disconnected(now, out),
            DriverInput::FromMaster(event) => self.heard(now, event, out),
            DriverInput::Command(command) => self.tell(now, Happening::Command(command), out),
            DriverInput::Tick => {}
        }
        self.ask_for_states(now, out);
    }

    /// When a step is wanted at the latest; none if nothing is waited for.
    pub fn next_deadline(&self) -> Option<Time> {
        if self.life == Life::Ended {
            return None;
        }
        let at_once = (!self.refused.is_empty()).then_some(Time::ZERO);
        let own = [self.calls.next_deadline(), self.reconcile.next_deadline()].into_iter().flatten();
        let own = own.filter(|_| self.link == Link::Subscribed);
        own.chain(at_once).chain(self.policy.next_deadline()).min()
    }

    /// The policy.
    pub const fn policy(&self) -> &S {
        &self.policy
    }

    /// The policy, to be changed from outside of the protocol: tests and inspection.
    pub const fn policy_mut(&mut self) -> &mut S {
        &mut self.policy
    }

    /// The framework's id, once it has one.
    pub const fn framework(&self) -> Option<FrameworkId> {
        self.identity.framework
    }

    /// The cluster that it belongs to, once it belongs to one.
    pub const fn cluster(&self) -> Option<ClusterId> {
        self.identity.cluster
    }

    /// Whether the framework is subscribed on the present connection.
    pub fn is_subscribed(&self) -> bool {
        self.link == Link::Subscribed
    }

    /// Whether the framework is no more.
    pub fn is_ended(&self) -> bool {
        self.life == Life::Ended
    }

    /// The tasks that were launched and have not ended, with their agents and the states that the policy knows.
    pub fn tasks(&self) -> impl Iterator<Item = (&TaskId, AgentId, TaskState)> {
        self.tasks.iter().map(|(id, task)| (id, task.agent, task.state))
    }

    /// The offers that stand.
    pub fn offers(&self) -> impl Iterator<Item = &Offer> {
        self.out.offers()
    }

    /// How many calls the master has yet to answer.
    pub fn unanswered(&self) -> usize {
        self.calls.unanswered()
    }

    /// What was counted.
    pub const fn stats(&self) -> &DriverStats {
        &self.stats
    }

    /// Panics if the driver's state contradicts itself. Linear time; for tests and simulation.
    pub fn check_invariants(&self) {
        self.calls.check_invariants();
        self.market.check_invariants();
        self.reconcile.check_invariants(|task| self.tasks.contains_key(task));
        assert!(self.link == Link::Subscribed || self.out.book.is_empty(), "an offer outlived its connection");
        assert!(self.out.wishes.is_empty(), "a wish of the policy was not granted");
        assert!(self.out.book.len() <= BOOK_MAX, "the offer book is over its limit");
        for (id, task) in &self.tasks {
            assert!(!task.state.is_terminal(), "task {id} has ended and is still in the book");
            let Some(call) = task.launch else { continue };
            assert!(self.calls.launches(call, id), "task {id} waits for call {call:?}, which does not launch it");
        }
    }

    fn save_identity_once(&mut self, out: &mut Outputs<S>) {
        if !self.identity_saved {
            self.identity_saved = true;
            self.save(self.identity.record(), out);
        }
    }

    fn save(&self, record: DriverRecord, out: &mut Outputs<S>) {
        if self.config.durability == Durability::Saved {
            out.push(Output::Persist(record));
        }
    }

    /// Says `call` if the framework is subscribed.
    fn call(&self, call: Call, out: &mut Outputs<S>) {
        if self.link == Link::Subscribed {
            out.push(Output::Effect(DriverEffect::ToMaster { connection: self.connection, call }));
        }
    }

    fn fire_due(&mut self, now: Time, out: &mut Outputs<S>) {
        for reject in std::mem::take(&mut self.refused) {
            self.tell(now, Happening::Rejected { tasks: Vec::new(), reject }, out);
        }
        if self.link == Link::Subscribed {
            for call in self.calls.due(now) {
                self.call(call, out);
            }
        }
        if self.policy.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.tell(now, Happening::Tick, out);
        }
    }

    fn ask_for_states(&mut self, now: Time, out: &mut Outputs<S>) {
        if self.link == Link::Subscribed
            && let Some(batch) = self.reconcile.next_batch(now)
        {
            let asked =
                batch.into_iter().map(|task| Asked { agent: self.tasks.get(&task).map(|known| known.agent), task });
            self.call(Call::Reconcile(asked.collect()), out);
        }
    }

    /// Hands `happening` to the policy and does what it wants.
    fn tell(&mut self, now: Time, happening: Happening<S::Command>, out: &mut Outputs<S>) {
        self.policy.on_event(now, happening, &mut self.out);
        // Demands come last: the master takes offers back that no demand is left for, and an accept in the same breath may need them.
        let is_demand = |wish: &Wish<S::Effect>| matches!(wish, Wish::Demand { .. });
        let (demands, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.out.wishes).into_iter().partition(is_demand);
        for wish in others.into_iter().chain(demands) {
            self.grant(now, wish, out);
        }
    }

    fn grant(&mut self, now: Time, wish: Wish<S::Effect>, out: &mut Outputs<S>) {
        match wish {
            Wish::Accept { agent, offers, operations, refusal } => self.accept(agent, offers, operations, refusal, out),
            Wish::AcceptGang { parts, refusal } => self.accept_gang(parts, refusal, out),
            Wish::Decline { offers, refusal } => self.call(Call::Decline { offers, refusal }, out),
            Wish::Demand { role, demand } => {
                let call = self.market.demand(role, demand);
                self.call_if(call, out);
            }
            Wish::Rules(rules) => self.ask_rules(rules, out),
            Wish::Suppress(role) => {
                let call = self.market.suppress(role);
                self.call_if(call, out);
            }
            Wish::Revive(role) => {
                let call = self.market.revive(role, self.link == Link::Subscribed);
                self.call_if(call, out);
            }
            Wish::Kill { task, grace } => {
                let call = self.calls.kill(now, task, grace);
                self.call_if(call, out);
            }
            Wish::Message { agent, executor, data } => {
                self.stats.messages_dropped += u64::from(self.link != Link::Subscribed);
                self.call(Call::Message { agent, executor, data }, out);
            }
            Wish::Save { key, value } => out.push(Output::Persist(DriverRecord::Save { key, value })),
            Wish::Effect(effect) => out.push(Output::Effect(DriverEffect::App(effect))),
            Wish::Teardown => self.tear_down(out),
        }
    }

    fn ask_rules(&mut self, rules: OfferRules, out: &mut Outputs<S>) {
        if let Err(reject) = rules.check(&self.config.info.roles) {
            self.refused.push(reject);
            return;
        }
        if *self.config.info.rules != rules {
            self.config.info.rules = Arc::new(rules.clone());
            let id = self.calls.number();
            self.call(Call::Rules { id, rules }, out);
        }
    }

    fn call_if(&self, call: Option<Call>, out: &mut Outputs<S>) {
        if let Some(call) = call {
            self.call(call, out);
        }
    }

    fn accept(
        &mut self,
        agent: AgentId,
        offers: Vec<OfferId>,
        operations: Vec<Operation>,
        refusal: Refusal,
        out: &mut Outputs<S>,
    ) {
        let mut launched = BTreeSet::new();
        let fresh = |operation: &Operation| self.is_fresh(operation, &mut launched);
        let operations: Vec<Operation> = operations.into_iter().filter(fresh).collect();
        if operations.is_empty() {
            self.call(Call::Decline { offers, refusal }, out);
            return;
        }
        let id = self.calls.number();
        let accept = Accept { id, agent, offers, operations, refusal };
        for task in calls::launched(&accept) {
            let tracked = Tracked::launched(agent, id);
            if !planted(Fault::LaunchNotSaved) {
                self.save(tracked.record(task), out);
            }
            self.tasks.insert(task.clone(), tracked);
            self.stats.launches += 1;
        }
        self.stats.accepts += 1;
        let call = self.calls.accept(accept);
        self.call(call, out);
    }

    /// All or none: one task id that is in use refuses the whole gang.
    fn accept_gang(&mut self, parts: Vec<GangPart>, refusal: Refusal, out: &mut Outputs<S>) {
        let gang = AcceptGang { id: self.calls.number(), parts, refusal };
        let mut ids = BTreeSet::new();
        let is_used = |id: &&TaskId| self.tasks.contains_key(*id) || !ids.insert((*id).clone());
        let used = gang.tasks().map(|(_, task)| &task.id).find(is_used).cloned();
        if let Some(used) = used {
            let offers = gang.parts.into_iter().flat_map(|part| part.offers).collect();
            self.refused.push(Reject::DuplicateTask(used));
            self.call(Call::Decline { offers, refusal: gang.refusal }, out);
            return;
        }
        for (agent, task) in gang.tasks() {
            let tracked = Tracked::launched_in_gang(agent, gang.id);
            self.save(tracked.record(&task.id), out);
            self.tasks.insert(task.id.clone(), tracked);
            self.stats.launches += 1;
        }
        self.stats.gangs += 1;
        let call = self.calls.gang(gang);
        self.call(call, out);
    }

    /// Whether the operation uses no task id that is in use; the policy is told if it does.
    fn is_fresh(&mut self, operation: &Operation, launched: &mut BTreeSet<TaskId>) -> bool {
        let Operation::Launch(group) = operation else { return true };
        let is_used = |task: &&Task| self.tasks.contains_key(&task.id) || !launched.insert(task.id.clone());
        let used = group.tasks.iter().find(is_used);
        if let Some(task) = used {
            // The task that has the id lives on, so no task is named as rejected.
            self.refused.push(Reject::DuplicateTask(task.id.clone()));
        }
        used.is_none()
    }

    fn tear_down(&mut self, out: &mut Outputs<S>) {
        if self.life != Life::Active {
            return;
        }
        self.life = Life::Leaving;
        self.call(Call::Teardown, out);
        if self.link == Link::Down && self.identity.framework.is_none() {
            self.end(Ending::TornDown, out);
        }
    }

    fn end(&mut self, ending: Ending, out: &mut Outputs<S>) {
        if matches!(ending, Ending::TornDown | Ending::Refused(Reject::UnknownFramework)) {
            let ids: Vec<TaskId> = self.tasks.keys().cloned().collect();
            self.forget_tasks(&ids, out);
            self.save(Identity::forget(), out);
            self.save(saved::forget_term(), out);
        }
        self.life = Life::Ended;
        self.link = Link::Down;
        self.out.book.clear();
        self.calls.clear();
        for task in self.tasks.values_mut() {
            task.launch = None;
        }
        out.push(Output::Effect(DriverEffect::Ended(ending)));
    }
}

#[cfg(test)]
mod tests;
