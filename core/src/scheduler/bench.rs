//! The test language for policies and for the driver: a driver with a master that the test plays.
//!
//! Every step checks the driver's invariants. Records are taken as durable at once and kept for [`Bench::restart`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::{Driver, DriverConfig, DriverEffect, DriverInput, DriverRecord, Durability, Ending, Scheduler};
use crate::gate::{Outbox, Output};
use crate::model::{
    Accept, AgentId, AgentInfo, Call, ClientId, ClusterId, Demand, Device, Event, Exit, FrameworkId, FrameworkInfo,
    Offer, OfferId, OfferMode, Operation, Outcome, Reject, Rejection, Resources, Role, Source, Status, Task, TaskId,
    TaskState, Term, Time, UpdateId,
};

/// A driver, and what came out of it.
pub struct Bench<S: Scheduler> {
    /// The driver.
    pub driver: Driver<S>,
    /// The time of the next step.
    pub now: Time,
    /// What is durable.
    pub saved: BTreeMap<String, Vec<u8>>,
    /// What was said to the master on the present connection and not yet looked at.
    pub calls: Vec<Call>,
    /// What the policy did to the outside and the test has not yet looked at.
    pub effects: Vec<S::Effect>,
    /// How the framework ended.
    pub ended: Option<Ending>,
    config: DriverConfig,
    connection: u64,
    counter: u64,
    term: u64,
}

/// The task id called `name`.
///
/// # Panics
/// If that is not a task id.
pub fn task_id(name: &str) -> TaskId {
    TaskId::new(name).expect("a task id of the test")
}

/// The role called `name`.
///
/// # Panics
/// If that is not a role.
pub fn role(name: &str) -> Role {
    Role::new(name).expect("a role of the test")
}

/// The agent number `number`.
pub const fn agent(number: u64) -> AgentId {
    AgentId::new(Term(1), number)
}

/// The framework that the bench's master gives an id to.
pub const FRAMEWORK: FrameworkId = FrameworkId::new(Term(1), 1);

/// A configuration for a framework of `role`.
pub fn config(role_name: &str) -> DriverConfig {
    let info = FrameworkInfo {
        name: Arc::from("bench"),
        user: Arc::from(""),
        roles: BTreeSet::from([role(role_name)]),
        failover_timeout: Duration::from_secs(600),
        offer_mode: OfferMode::Optimistic,
        offer_timeout: None,
        url: None,
        labels: BTreeMap::new(),
        capabilities: Default::default(),
        rules: Arc::default(),
    };
    DriverConfig { info, client: ClientId(7), durability: Durability::Saved }
}

/// An offer of `agent(number)`: `resources` as in `cpus:4;mem:8192;ports:[31000-31009]`, and whole `devices`.
///
/// # Panics
/// If `resources` don't parse.
pub fn offer(seq: u64, number: u64, role_name: &str, resources: &str, devices: &[Device]) -> Offer {
    let mut all: Resources = resources.parse().expect("resources of the test");
    all.add(&Resources::devices(devices.iter().map(|device| device.id.clone())));
    Offer {
        id: OfferId::new(Term(1), seq),
        agent: agent(number),
        info: Arc::new(AgentInfo { name: Arc::from(format!("agent-{number}")), ..AgentInfo::default() }),
        role: role(role_name),
        resources: Arc::new(all),
        devices: devices.iter().cloned().map(Arc::new).collect(),
        mode: OfferMode::Optimistic,
        expires_in: None,
        guarantee: Default::default(),
    }
}

impl<S: Scheduler> Bench<S> {
    /// A framework that starts for the first time.
    ///
    /// # Panics
    /// Never: nothing is saved yet.
    pub fn new(config: DriverConfig, policy: S) -> Self {
        let saved = BTreeMap::new();
        let driver =
            Driver::new(config.clone(), policy, &saved).expect("nothing is saved, so nothing can be unreadable");
        Self {
            driver,
            now: Time::ZERO,
            saved,
            calls: Vec::new(),
            effects: Vec::new(),
            ended: None,
            config,
            connection: 0,
            counter: 0,
            term: 1,
        }
    }

    /// The framework crashed; this is its next life, with a policy that was made from [`Bench::saved`].
    ///
    /// # Panics
    /// If what was saved does not read.
    pub fn restart(&mut self, policy: S) {
        self.driver = Driver::new(self.config.clone(), policy, &self.saved).expect("what was saved reads");
        self.connection = 0;
        self.calls.clear();
        self.effects.clear();
    }

    /// One step.
    pub fn step(&mut self, input: DriverInput<S::Command>) {
        let mut out: Outbox<DriverRecord, DriverEffect<S::Effect>> = Vec::new();
        self.driver.step(self.now, input, &mut out);
        self.driver.check_invariants();
        for output in out {
            match output {
                Output::Persist(DriverRecord::Save { key, value: Some(value) }) => drop(self.saved.insert(key, value)),
                Output::Persist(DriverRecord::Save { key, value: None }) => drop(self.saved.remove(&key)),
                Output::Effect(effect) | Output::Ungated(effect) => self.effect(effect),
            }
        }
    }

    fn effect(&mut self, effect: DriverEffect<S::Effect>) {
        match effect {
            DriverEffect::ToMaster { connection, call } if connection == self.connection => self.calls.push(call),
            DriverEffect::ToMaster { .. } => {}
            DriverEffect::App(effect) => self.effects.push(effect),
            DriverEffect::Ended(ending) => self.ended = Some(ending),
        }
    }

    /// Connects; the framework says its subscription.
    pub fn dial(&mut self) {
        self.connection += 1;
        self.calls.clear();
        self.step(DriverInput::Connected);
    }

    /// Connects and confirms the subscription, in the master's term `term`.
    pub fn connect_in(&mut self, term: u64) {
        self.term = term;
        self.dial();
        let is_subscribe = matches!(self.calls.as_slice(), [Call::Subscribe(_)]);
        assert!(is_subscribe, "expected a subscription first, got {:?}", self.calls);
        self.calls.clear();
        let (framework, cluster) = (self.driver.framework().unwrap_or(FRAMEWORK), ClusterId(1));
        self.event(Event::Subscribed { framework, cluster, term: Term(term), agents_missing: 0 });
    }

    /// Connects and confirms the subscription, in the last term that there was.
    pub fn connect(&mut self) {
        self.connect_in(self.term);
    }

    /// The connection is lost.
    pub fn disconnect(&mut self) {
        self.step(DriverInput::Disconnected);
    }

    /// The master says `event`.
    pub fn event(&mut self, event: Event) {
        self.step(DriverInput::FromMaster(event));
    }

    /// A user's request.
    pub fn command(&mut self, command: S::Command) {
        self.step(DriverInput::Command(command));
    }

    /// Offers `resources` of `agent(number)` for the framework's first role.
    pub fn offer(&mut self, number: u64, resources: &str) -> OfferId {
        self.offer_devices(number, resources, &[])
    }

    /// The same, with devices.
    ///
    /// # Panics
    /// If the framework has no role.
    pub fn offer_devices(&mut self, number: u64, resources: &str, devices: &[Device]) -> OfferId {
        let seq = self.count();
        let role = self.config.info.roles.first().expect("a framework has a role").clone();
        let offer = offer(seq, number, role.as_str(), resources, devices);
        let id = offer.id;
        self.event(Event::Offers(vec![Arc::new(offer)]));
        id
    }

    /// The task's agent says that it is in `state`; returns once the driver has acknowledged it.
    ///
    /// # Panics
    /// If the driver does not acknowledge.
    pub fn update(&mut self, task: &TaskId, state: TaskState) {
        let status = self.status(task, state);
        self.event(Event::Update(status.clone()));
        self.expect_acknowledged(&status);
    }

    /// The task's command ended with `code`.
    pub fn exits(&mut self, task: &TaskId, code: i32) {
        let mut status = self.status(task, if code == 0 { TaskState::Finished } else { TaskState::Failed });
        status.exit = Some(Exit::Code(code));
        self.event(Event::Update(status.clone()));
        self.expect_acknowledged(&status);
    }

    /// A status with an id of its own, from the agent of the task.
    pub fn status(&mut self, task: &TaskId, state: TaskState) -> Status {
        let mut status = Status::new(task.clone(), state, Source::Executor);
        status.uuid = Some(UpdateId(u128::from(self.count())));
        let known = self.driver.tasks().find(|(id, ..)| *id == task).map(|(_, agent, _)| agent);
        status.agent = Some(known.unwrap_or(agent(1)));
        status
    }

    /// Takes the acknowledgement of `status` out of the calls.
    ///
    /// # Panics
    /// If there is none.
    pub fn expect_acknowledged(&mut self, status: &Status) {
        let is_it = |call: &Call| matches!(call, Call::Acknowledge { uuid, .. } if Some(*uuid) == status.uuid);
        let at = self.calls.iter().position(is_it).expect("the update is acknowledged");
        self.calls.remove(at);
    }

    /// Time passes; what is due happens, step by step.
    ///
    /// # Panics
    /// If the policy asks for the same moment without end.
    pub fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        for _ in 0..10_000 {
            let Some(deadline) = self.driver.next_deadline().filter(|deadline| *deadline <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(deadline);
            self.step(DriverInput::Tick);
        }
        panic!("the driver's deadline does not move");
    }

    /// The calls that were not yet looked at.
    pub fn take_calls(&mut self) -> Vec<Call> {
        std::mem::take(&mut self.calls)
    }

    /// The effects that were not yet looked at.
    pub fn take_effects(&mut self) -> Vec<S::Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Takes the accepts out of the calls, unanswered.
    pub fn take_accepts(&mut self) -> Vec<Accept> {
        let (accepts, others) = self.take_calls().into_iter().partition(|call| matches!(call, Call::Accept(_)));
        self.calls = others;
        let accepts: Vec<Call> = accepts;
        accepts
            .into_iter()
            .filter_map(|call| if let Call::Accept(accept) = call { Some(accept) } else { None })
            .collect()
    }

    /// Takes the accepts, says that all is done, and returns the launched tasks with their agents.
    pub fn take_launches(&mut self) -> Vec<(AgentId, Task)> {
        let mut launches = Vec::new();
        for accept in self.take_accepts() {
            self.event(Event::Outcome(Outcome { call: accept.id, rejected: Vec::new() }));
            for operation in accept.operations {
                let Operation::Launch(group) = operation else { continue };
                launches.extend(group.tasks.into_iter().map(|task| (accept.agent, task)));
            }
        }
        launches
    }

    /// Refuses the first operation of `accept`.
    pub fn reject(&mut self, accept: &Accept, reject: Reject) {
        let tasks = match accept.operations.first() {
            Some(Operation::Launch(group)) => group.tasks.iter().map(|task| task.id.clone()).collect(),
            _ => Vec::new(),
        };
        let rejected = vec![Rejection { operation: 0, tasks, reject }];
        self.event(Event::Outcome(Outcome { call: accept.id, rejected }));
    }

    /// Takes the kills out of the calls and says that they are in hand.
    pub fn take_kills(&mut self) -> Vec<TaskId> {
        let (kills, others): (Vec<Call>, Vec<Call>) =
            self.take_calls().into_iter().partition(|call| matches!(call, Call::Kill { .. }));
        self.calls = others;
        let mut tasks = Vec::new();
        for call in kills {
            let Call::Kill { id, task, .. } = call else { continue };
            self.event(Event::Outcome(Outcome { call: id, rejected: Vec::new() }));
            tasks.push(task);
        }
        tasks
    }

    /// Takes the declared demands out of the calls and returns the last one for each role.
    pub fn take_demands(&mut self) -> BTreeMap<Role, Option<Demand>> {
        let (demands, others): (Vec<Call>, Vec<Call>) =
            self.take_calls().into_iter().partition(|call| matches!(call, Call::Demand { .. }));
        self.calls = others;
        let named = |call| if let Call::Demand { role, demand } = call { Some((role, demand)) } else { None };
        demands.into_iter().filter_map(named).collect()
    }

    fn count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }
}
