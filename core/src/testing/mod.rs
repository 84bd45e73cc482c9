//! The test language: a master between named agents and frameworks, in sentences.
//!
//! ```text
//! let mut market = Market::new();
//! market.agent("a", "cpus:4;mem:1024");
//! market.framework("ci", "*");
//! market.expect("offer a cpus:4 mem:1024 -> ci");
//! market.launch("ci", "a", "t1", "cpus:1;mem:64");
//! market.expect("launch ci/t1 on a");
//! ```
//!
//! Every message that the master sends is one line of the trace, with the names given here in place of ids.

mod prices;
mod quota;
mod reservations;
mod rules;
mod terms;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub use self::prices::quote;
pub use self::quota::{quota, urgent};
pub use reservations::{labelled, refined, reserved, shared, until, volume};
pub use rules::{constraints, least};

use crate::allocator::conduct::Conduct;
use crate::allocator::explain::{TaskNote, Wait};
use crate::allocator::help::WaitAdvice;
use crate::allocator::when::WaitForecast;
use crate::gate::Output;
use crate::master::registry::{Record, Registry};
use crate::master::view::View;
use crate::master::{Command, Config, Effect, Input, Master, Outbox, Reply, Target};
use crate::model::{
    Accept, AcceptGang, AgentId, AgentInfo, AgentReport, Announce, Attribute, Body, Call, CallId, Claim, ClientId,
    ClusterId, Demand, Device, DeviceId, DeviceMode, DeviceReport, DeviceState, Domain, Event, ExecutorRef,
    FrameworkId, FrameworkInfo, FromAgent, GangId, GangPart, Health, Launch, Offer, OfferId, OfferMode, OfferRules,
    Operation, OperationId, PeerId, Principal, Proof, Quantities, Reason, Refusal, Reject, RequestId, Resources, Role,
    Selector, Shape, Share, Source, Status, Subscribe, Task, TaskGroup, TaskHealth, TaskId, TaskKey, TaskReport,
    TaskState, Term, Time, ToAgent, Topology, UpdateId,
};

/// A device of `kind` and `model`, healthy and exclusive.
pub fn device(id: &str, kind: &str, model: &str) -> Device {
    Device {
        id: DeviceId::new(id),
        kind: Arc::from(kind),
        vendor: Arc::from("acme"),
        model: Arc::from(model),
        generation: 1,
        attributes: BTreeMap::new(),
        topology: Topology::default(),
        mode: DeviceMode::Exclusive,
        health: Health::Healthy,
        nodes: Vec::new(),
        proof: Proof::TreeGone,
        host_share: Quantities::new(),
    }
}

/// A task that asks for `resources` and `devices`, given as text.
pub fn task(id: &str, role: &str, resources: &str, devices: &[&str]) -> Task {
    Task {
        id: TaskId::new(id).expect("a task id"),
        name: Arc::from(id),
        role: Role::new(role).expect("a role"),
        resources: resources.parse().expect("resources"),
        claims: devices.iter().map(|claim| claim.parse::<Claim>().expect("a claim")).collect(),
        priority: 0,
        kill_grace: Duration::from_secs(3),
        expected_run_time: None,
        executor: ExecutorRef::Supervisor,
        body: Body::new(Vec::new()),
    }
}

/// A demand for `count` of a shape, given as text.
pub fn shape(name: &str, resources: &str, devices: &[&str], count: u32) -> Shape {
    Shape {
        name: Arc::from(name),
        resources: resources.parse().expect("resources"),
        claims: devices.iter().map(|claim| claim.parse::<Claim>().expect("a claim")).collect(),
        constraint: Selector::any(),
        count,
        priority: 0,
        expected_run_time: None,
    }
}

#[derive(Debug)]
struct AgentSide {
    id: Option<AgentId>,
    peer: PeerId,
    resources: Resources,
    devices: BTreeMap<DeviceId, DeviceReport>,
    tasks: BTreeMap<TaskKey, TaskReport>,
    /// What it was told to hold, and has neither started nor released.
    held: BTreeMap<GangId, Vec<Launch>>,
    /// What it was told to hold last.
    last_hold: Option<(GangId, Vec<Launch>)>,
    client: ClientId,
    attributes: BTreeMap<Arc<str>, Attribute>,
    domain: Option<Domain>,
    connection: u64,
    /// The highest term that it has heard of.
    heard: Term,
    /// Operations that it has got and not done yet.
    inbox: Vec<(OperationId, Operation)>,
    operated: Option<OperationId>,
    /// What becomes of the answer to its next registration.
    answer: terms::Answer,
}

#[derive(Debug)]
struct FrameworkSide {
    id: Option<FrameworkId>,
    peer: PeerId,
    info: FrameworkInfo,
    client: ClientId,
    connection: u64,
    offers: BTreeMap<OfferId, Arc<Offer>>,
    unacknowledged: Vec<Status>,
    /// The gangs that it has accepted.
    gangs: BTreeSet<CallId>,
}

/// A master, with agents and frameworks that do what the test says.
#[derive(Debug)]
pub struct Market {
    /// The machine under test.
    pub master: Master,
    registry: Registry,
    view: View,
    config: Config,
    now: Time,
    agents: BTreeMap<String, AgentSide>,
    frameworks: BTreeMap<String, FrameworkSide>,
    trace: Vec<String>,
    counter: u64,
    checks: Checks,
}

/// When the whole state is checked, which takes time in proportion to the cluster's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Checks {
    AfterEachStep,
    WhenAsked,
}

impl Default for Market {
    fn default() -> Self {
        Self::with(Config::default())
    }
}

impl Market {
    /// A fresh cluster.
    pub fn new() -> Self {
        Self::default()
    }

    /// A fresh cluster with this configuration.
    pub fn with(config: Config) -> Self {
        let mut registry = Registry::new(ClusterId(7));
        let mut out = Outbox::new();
        let master = Master::recover(Time::ZERO, config.clone(), registry.clone(), &mut out);
        for output in &out {
            if let Output::Persist(record) = output {
                registry.apply(record.clone());
            }
        }
        Self {
            master,
            registry,
            view: View::default(),
            config,
            now: Time::ZERO,
            agents: BTreeMap::new(),
            frameworks: BTreeMap::new(),
            trace: Vec::new(),
            counter: 0,
            checks: Checks::AfterEachStep,
        }
    }

    /// The same for a cluster that is too large to be checked after each step: it is when [`Market::check`] asks for it.
    pub fn checked_when_asked(mut self) -> Self {
        self.checks = Checks::WhenAsked;
        self
    }

    /// The invariants hold, and the view made from changes equals the state.
    ///
    /// # Panics
    /// If they do not.
    pub fn check(&mut self) -> &mut Self {
        self.master.check_invariants();
        self.check_view();
        self
    }

    /// An agent called `name` registers.
    pub fn agent(&mut self, name: &str, resources: &str) -> &mut Self {
        self.agent_with(name, resources, Vec::new())
    }

    /// An agent called `name` registers, with devices.
    pub fn agent_with(&mut self, name: &str, resources: &str, devices: Vec<Device>) -> &mut Self {
        self.add_agent(name, resources, devices);
        self.register(name)
    }

    fn add_agent(&mut self, name: &str, resources: &str, devices: Vec<Device>) {
        let client = ClientId(u128::from(self.next()));
        let peer = PeerId(self.next());
        let report =
            |device: Device| (device.id.clone(), DeviceReport { device: Arc::new(device), state: DeviceState::Free });
        let side = AgentSide {
            id: None,
            peer,
            resources: resources.parse().expect("resources"),
            devices: devices.into_iter().map(report).collect(),
            tasks: BTreeMap::new(),
            held: BTreeMap::new(),
            last_hold: None,
            client,
            attributes: BTreeMap::new(),
            domain: None,
            connection: 0,
            heard: Term::default(),
            inbox: Vec::new(),
            operated: None,
            answer: terms::Answer::Arrives,
        };
        self.agents.insert(name.to_owned(), side);
    }

    /// The agent registers, again, on a new connection.
    pub fn register(&mut self, name: &str) -> &mut Self {
        let peer = PeerId(self.next());
        self.agents.get_mut(name).expect("an agent of that name").peer = peer;
        let report = self.report_of(name);
        self.from_agent(name, FromAgent::Register(Box::new(report))).confirm_term(name)
    }

    fn report_of(&self, name: &str) -> AgentReport {
        let side = &self.agents[name];
        AgentReport {
            agent: side.id.map(|id| (id, ClusterId(7))),
            term: side.heard,
            client: side.client,
            info: Arc::new(AgentInfo {
                name: Arc::from(name),
                attributes: side.attributes.clone(),
                domain: side.domain.clone(),
            }),
            resources: side.resources.clone(),
            devices: side.devices.values().cloned().collect(),
            tasks: side.tasks.values().cloned().collect(),
            held: side.held.keys().copied().collect(),
            operated: side.operated,
            connection: side.connection,
        }
    }

    /// The agent's connection breaks.
    pub fn agent_leaves(&mut self, name: &str) -> &mut Self {
        let peer = self.agents[name].peer;
        self.step(Input::PeerClosed(peer))
    }

    /// The agent never got the task, or lost it.
    pub fn forget_on_agent(&mut self, agent: &str, framework: &str, id: &str) -> &mut Self {
        let key = self.key(framework, id);
        self.agents.get_mut(agent).expect("an agent of that name").tasks.remove(&key);
        self
    }

    /// Somebody takes something out of the machine, or puts something in: the agent registers anew with these amounts.
    pub fn resize(&mut self, agent: &str, resources: &str) -> &mut Self {
        self.agents.get_mut(agent).expect("an agent of that name").resources = resources.parse().expect("resources");
        self.register(agent)
    }

    /// The agent counts a device among its amounts, which is wrong.
    pub fn misreport_device(&mut self, agent: &str, device: &str) -> &mut Self {
        let side = self.agents.get_mut(agent).expect("an agent of that name");
        side.resources.add(&Resources::devices([DeviceId::new(device)]));
        self
    }

    /// The agent says something.
    pub fn from_agent(&mut self, name: &str, message: FromAgent) -> &mut Self {
        let peer = self.agents[name].peer;
        self.step(Input::FromAgent { peer, principal: Principal::new("agent"), message })
    }

    /// A framework called `name` subscribes, with optimistic offers.
    pub fn framework(&mut self, name: &str, role: &str) -> &mut Self {
        self.framework_with(name, &[role], OfferMode::Optimistic)
    }

    /// A framework called `name` subscribes.
    pub fn framework_with(&mut self, name: &str, roles: &[&str], mode: OfferMode) -> &mut Self {
        self.framework_of(name, roles, mode, OfferRules::default())
    }

    fn framework_of(&mut self, name: &str, roles: &[&str], mode: OfferMode, rules: OfferRules) -> &mut Self {
        let info = FrameworkInfo {
            name: Arc::from(name),
            user: Arc::from(""),
            roles: roles.iter().map(|role| Role::new(role).expect("a role")).collect(),
            failover_timeout: Duration::from_secs(600),
            offer_mode: mode,
            offer_timeout: None,
            url: None,
            labels: BTreeMap::new(),
            capabilities: Default::default(),
            rules: Arc::new(rules),
        };
        let client = ClientId(u128::from(self.next()));
        let side = FrameworkSide {
            id: None,
            peer: PeerId(0),
            info,
            client,
            connection: 0,
            offers: BTreeMap::new(),
            unacknowledged: Vec::new(),
            gangs: BTreeSet::new(),
        };
        self.frameworks.insert(name.to_owned(), side);
        self.subscribe(name)
    }

    /// The framework subscribes, again, on a new connection.
    pub fn subscribe(&mut self, name: &str) -> &mut Self {
        let peer = PeerId(self.next());
        let side = self.frameworks.get_mut(name).expect("a framework of that name");
        side.peer = peer;
        side.offers.clear();
        let subscribe = Subscribe {
            framework: side.id,
            client: side.client,
            info: side.info.clone(),
            suppressed: BTreeSet::new(),
            connection: side.connection,
        };
        self.call(name, Call::Subscribe(subscribe))
    }

    /// The framework's connection breaks.
    pub fn framework_leaves(&mut self, name: &str) -> &mut Self {
        let peer = self.frameworks[name].peer;
        self.step(Input::PeerClosed(peer))
    }

    /// The framework calls.
    pub fn call(&mut self, name: &str, call: Call) -> &mut Self {
        let peer = self.frameworks[name].peer;
        self.step(Input::FromFramework { peer, principal: Principal::new(name), call })
    }

    /// The framework launches a task on the newest offer that it has of the agent.
    pub fn launch(&mut self, framework: &str, agent: &str, id: &str, resources: &str) -> &mut Self {
        self.launch_with(framework, agent, id, resources, &[])
    }

    /// The same, with device claims.
    pub fn launch_with(
        &mut self,
        framework: &str,
        agent: &str,
        id: &str,
        resources: &str,
        devices: &[&str],
    ) -> &mut Self {
        let offer = self.offer_of(framework, agent);
        let task = task(id, offer.role.as_str(), resources, devices);
        self.accept(framework, &offer, vec![Operation::Launch(TaskGroup::single(task))])
    }

    /// The same, with a declared run time.
    pub fn launch_for(
        &mut self,
        framework: &str,
        agent: &str,
        id: &str,
        resources: &str,
        run_time: Duration,
    ) -> &mut Self {
        let offer = self.offer_of(framework, agent);
        let mut task = task(id, offer.role.as_str(), resources, &[]);
        task.expected_run_time = Some(run_time);
        self.accept(framework, &offer, vec![Operation::Launch(TaskGroup::single(task))])
    }

    /// The framework accepts `offer`.
    pub fn accept(&mut self, framework: &str, offer: &Offer, operations: Vec<Operation>) -> &mut Self {
        let id = CallId(self.next());
        self.frameworks.get_mut(framework).expect("a framework of that name").offers.remove(&offer.id);
        let refusal = Refusal::default();
        self.call(
            framework,
            Call::Accept(Accept { id, agent: offer.agent, offers: vec![offer.id], operations, refusal }),
        )
    }

    /// The framework accepts a gang: a task on each of the agents, on the newest offers that it has of them. Returns the call, for
    /// [`Market::repeat_gang`].
    pub fn gang(&mut self, framework: &str, members: &[(&str, &str, &str)]) -> AcceptGang {
        let members: Vec<(&str, Task)> =
            members.iter().map(|(agent, id, resources)| (*agent, task(id, "*", resources, &[]))).collect();
        self.gang_of(framework, members)
    }

    /// The same with any tasks.
    pub fn gang_of(&mut self, framework: &str, members: Vec<(&str, Task)>) -> AcceptGang {
        let mut parts: Vec<GangPart> = Vec::new();
        for (agent, task) in members {
            let offer = self.offer_of(framework, agent);
            let group = TaskGroup::single(task);
            match parts.iter_mut().find(|part| part.agent == offer.agent) {
                Some(part) => part.groups.push(group),
                None => parts.push(GangPart { agent: offer.agent, offers: vec![offer.id], groups: vec![group] }),
            }
        }
        let side = self.frameworks.get_mut(framework).expect("a framework of that name");
        parts.iter().flat_map(|part| &part.offers).for_each(|offer| drop(side.offers.remove(offer)));
        let gang = AcceptGang { id: CallId(self.next()), parts, refusal: Refusal::default() };
        self.repeat_gang(framework, &gang);
        gang
    }

    /// The framework says the same again.
    pub fn repeat_gang(&mut self, framework: &str, gang: &AcceptGang) -> &mut Self {
        self.frameworks.get_mut(framework).expect("a framework of that name").gangs.insert(gang.id);
        self.call(framework, Call::AcceptGang(gang.clone()))
    }

    /// The agent holds again, or still, what it was told to hold last: a start or a release did not reach it.
    pub fn hold_again(&mut self, agent: &str) -> &mut Self {
        let side = self.agents.get_mut(agent).expect("an agent of that name");
        side.held.extend(side.last_hold.clone());
        self
    }

    /// The agent says once more that it holds what it was told to hold last.
    pub fn says_held(&mut self, agent: &str) -> &mut Self {
        let (gang, _) = self.agents[agent].last_hold.clone().expect("it was told to hold something");
        self.from_agent(agent, FromAgent::Held(gang))
    }

    /// What is free on the agent, as people see it.
    pub fn free_on(&self, agent: &str) -> String {
        let row = &self.view.agents[&self.agents[agent].id.expect("the agent is registered")];
        let mut free = row.total.quantities();
        assert!(free.subtract(&row.allocated), "no more is allocated than there is");
        Resources::scalars(free).to_string()
    }

    /// The state of an agent's device, as people see it.
    pub fn device_state(&self, agent: &str, device: &str) -> DeviceState {
        let agent = self.agents[agent].id.expect("the agent is registered");
        self.view.devices[&(agent, DeviceId::new(device))].state.clone()
    }

    /// The agent tells of its devices.
    pub fn tells_devices(&mut self, agent: &str) -> &mut Self {
        let reports = self.agents[agent].devices.values().cloned().collect();
        self.from_agent(agent, FromAgent::Devices(reports))
    }

    /// The agent says that it holds what it was told to.
    pub fn holds(&mut self, agent: &str) -> &mut Self {
        let gangs: Vec<GangId> = self.agents[agent].held.keys().copied().collect();
        for gang in gangs {
            self.from_agent(agent, FromAgent::Held(gang));
        }
        self
    }

    /// The agent says that it can't hold what it was told to, or does no longer.
    pub fn holds_not(&mut self, agent: &str, reject: &Reject) -> &mut Self {
        let gangs: Vec<GangId> = self.agents[agent].held.keys().copied().collect();
        for gang in gangs {
            self.agents.get_mut(agent).expect("an agent of that name").held.remove(&gang);
            self.from_agent(agent, FromAgent::NotHeld(gang, reject.clone()));
        }
        self
    }

    /// The same, with a reason.
    pub fn decline_because(&mut self, framework: &str, agent: &str, seconds: u64, reason: &str) -> &mut Self {
        let offer = self.offer_of(framework, agent);
        self.frameworks.get_mut(framework).expect("a framework of that name").offers.remove(&offer.id);
        let reason = Some(Arc::from(reason));
        let refusal = Refusal { reason, ..Refusal::of(Duration::from_secs(seconds)) };
        self.call(framework, Call::Decline { offers: vec![offer.id], refusal })
    }

    /// The framework declines what it is offered of the agent, for `seconds`.
    pub fn decline(&mut self, framework: &str, agent: &str, seconds: u64) -> &mut Self {
        let offer = self.offer_of(framework, agent);
        self.frameworks.get_mut(framework).expect("a framework of that name").offers.remove(&offer.id);
        self.call(
            framework,
            Call::Decline { offers: vec![offer.id], refusal: Refusal::of(Duration::from_secs(seconds)) },
        )
    }

    /// The newest offer of the agent that the framework has.
    pub fn offer_of(&self, framework: &str, agent: &str) -> Arc<Offer> {
        let agent = self.agents[agent].id.expect("the agent is registered");
        let offers = self.frameworks[framework].offers.values().rev();
        offers.into_iter().find(|offer| offer.agent == agent).expect("the framework has an offer of that agent").clone()
    }

    /// The agent's id.
    pub fn agent_id(&self, agent: &str) -> AgentId {
        self.agents[agent].id.expect("the agent is registered")
    }

    /// The framework's id.
    pub fn framework_id(&self, framework: &str) -> FrameworkId {
        self.frameworks[framework].id.expect("the framework is subscribed")
    }

    /// Whether there is an agent of that name.
    pub fn knows_agent(&self, agent: &str) -> bool {
        self.agents.contains_key(agent)
    }

    /// Whether the framework has an offer of the agent.
    pub fn has_offer(&self, framework: &str, agent: &str) -> bool {
        let agent = self.agents[agent].id;
        self.frameworks[framework].offers.values().any(|offer| Some(offer.agent) == agent)
    }

    /// The framework declares what it waits for in its first role.
    pub fn demand(&mut self, framework: &str, shapes: Vec<Shape>) -> &mut Self {
        let role = self.frameworks[framework].info.roles.first().expect("a framework has a role").clone();
        self.call(framework, Call::Demand { role, demand: Some(Demand { shapes }) })
    }

    /// The agent tells a task's state.
    pub fn update(&mut self, agent: &str, framework: &str, id: &str, state: TaskState) -> &mut Self {
        let key = self.key(framework, id);
        let mut status = Status::new(key.task.clone(), state, Source::Executor);
        status.uuid = Some(UpdateId(u128::from(self.next())));
        status.health = (state == TaskState::Running).then_some(TaskHealth::Healthy);
        if let Some(report) = self.agents.get_mut(agent).expect("an agent of that name").tasks.get_mut(&key) {
            report.state = state;
        }
        self.from_agent(agent, FromAgent::Update { framework: key.framework, status, latest: state })
    }

    /// The framework acknowledges all that it was told.
    pub fn acknowledge(&mut self, framework: &str) -> &mut Self {
        let side = self.frameworks.get_mut(framework).expect("a framework of that name");
        for status in std::mem::take(&mut side.unacknowledged) {
            let Some(uuid) = status.uuid else { continue };
            self.call(framework, Call::Acknowledge { agent: status.agent, task: status.task, uuid });
        }
        self
    }

    /// The agent has cleaned the device.
    pub fn cleaned(&mut self, agent: &str, device: &str, generation: u64) -> &mut Self {
        let id = DeviceId::new(device);
        if let Some(report) = self.agents.get_mut(agent).expect("an agent of that name").devices.get_mut(&id) {
            report.state = DeviceState::Free;
        }
        self.from_agent(agent, FromAgent::DevicesFree(vec![(id, generation)]))
    }

    /// The agent has cleaned the slice of a shared device that a task left.
    pub fn slice_cleaned(&mut self, agent: &str, device: &str, framework: &str, task: &str) -> &mut Self {
        let (id, key) = (DeviceId::new(device), self.key(framework, task));
        if let Some(report) = self.agents.get_mut(agent).expect("an agent of that name").devices.get_mut(&id) {
            report.state.soil(&key, 1);
            report.state.free_slice(&key);
        }
        self.from_agent(agent, FromAgent::SlicesFree(vec![(id, key)]))
    }

    /// The agent tells that a device of it is in this state.
    pub fn device_is(&mut self, agent: &str, device: &str, state: DeviceState) -> &mut Self {
        let side = self.agents.get_mut(agent).expect("an agent of that name");
        side.devices.get_mut(&DeviceId::new(device)).expect("a device of that name").state = state;
        let reports = self.agents[agent].devices.values().cloned().collect();
        self.from_agent(agent, FromAgent::Devices(reports))
    }

    /// A device of the agent is in order from now on.
    pub fn device_works(&mut self, agent: &str, device: &str) -> &mut Self {
        let side = self.agents.get_mut(agent).expect("an agent of that name");
        let report = side.devices.get_mut(&DeviceId::new(device)).expect("a device of that name");
        report.device = Arc::new(Device { health: Health::Healthy, ..(*report.device).clone() });
        let reports = side.devices.values().cloned().collect();
        self.from_agent(agent, FromAgent::Devices(reports))
    }

    /// The framework kills a task.
    pub fn kill(&mut self, framework: &str, id: &str) -> &mut Self {
        let call = CallId(self.next());
        self.call(framework, Call::Kill { id: call, task: TaskId::new(id).expect("a task id"), grace: None })
    }

    /// An operator commands.
    pub fn operator(&mut self, command: Command) -> &mut Self {
        let request = RequestId(self.next());
        self.step(Input::FromOperator { request, principal: Principal::new("operator"), command })
    }

    /// Why the shape called `name` waits: every reason as a sentence, the agents that it counts in front.
    pub fn why(&mut self, framework: &str, name: &str) -> Vec<String> {
        let wait = self.wait_of(framework, name);
        wait.causes().map(|(clause, cause)| cause.sentence(clause, wait.agents)).collect()
    }

    /// The same as a tree.
    pub fn wait_of(&mut self, framework: &str, name: &str) -> Wait {
        let id = self.frameworks[framework].id.expect("the framework is subscribed");
        let reply = self.ask(Command::Why(Target::Shape(id, name.to_owned())));
        let Ok(Reply::Why(explanation)) = reply else { panic!("why is answered, not with {reply:?}") };
        explanation.waits.into_iter().next().expect("the framework waits for a shape of that name")
    }

    /// When what the framework waits for under that name will run.
    pub fn when(&mut self, framework: &str, name: &str) -> WaitForecast {
        let target = self.shape_of(framework, name);
        let reply = self.ask(Command::When(target));
        let Ok(Reply::When(forecast)) = reply else { panic!("when is answered, not with {reply:?}") };
        forecast.waits.into_iter().next().expect("the framework waits for a shape of that name")
    }

    /// What would help what the framework waits for under that name.
    pub fn what_would_help(&mut self, framework: &str, name: &str) -> WaitAdvice {
        let target = self.shape_of(framework, name);
        let reply = self.ask(Command::WhatWouldHelp(target));
        let Ok(Reply::WhatWouldHelp(advice)) = reply else { panic!("it is answered, not with {reply:?}") };
        advice.waits.into_iter().next().expect("the framework waits for a shape of that name")
    }

    fn shape_of(&self, framework: &str, name: &str) -> Target {
        Target::Shape(self.frameworks[framework].id.expect("the framework is subscribed"), name.to_owned())
    }

    /// How the framework fares in its first role.
    pub fn conduct(&mut self, framework: &str) -> Conduct {
        let id = self.framework_id(framework);
        let rows = self.master.survey();
        rows.into_iter().find(|row| row.framework == id).expect("a framework that is subscribed is surveyed")
    }

    /// Where a launched task stands.
    pub fn why_task(&mut self, framework: &str, id: &str) -> TaskNote {
        let reply = self.ask(Command::Why(Target::Task(self.key(framework, id))));
        let Ok(Reply::Why(explanation)) = reply else { panic!("why is answered, not with {reply:?}") };
        explanation.task.expect("the answer is about a task")
    }

    /// An operator asks; the answer is not in the trace.
    pub fn ask(&mut self, command: Command) -> Result<Reply, Reject> {
        let request = RequestId(self.next());
        let principal = Principal::new("operator");
        let mut out = Outbox::new();
        self.master.step(self.now, Input::FromOperator { request, principal, command }, &mut out);
        let at = out.iter().position(|output| matches!(output, Output::Effect(Effect::Reply(..))));
        let reply = out.remove(at.expect("an operator is answered"));
        self.take(out);
        match reply {
            Output::Effect(Effect::Reply(_, reply)) => reply,
            other => panic!("{other:?} was found to be a reply"),
        }
    }

    /// Time passes; what is due happens when it is due.
    pub fn wait(&mut self, duration: Duration) -> &mut Self {
        let end = self.now + duration;
        while let Some(due) = self.master.next_deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.step(Input::Tick);
        }
        self.now = end;
        self.step(Input::Tick)
    }

    /// The master dies and a new one starts from the registry. Nobody is connected.
    pub fn failover(&mut self) -> &mut Self {
        let mut out = Outbox::new();
        self.view = View::default();
        self.master = Master::recover(self.now, self.config.clone(), self.registry.clone(), &mut out);
        for side in self.frameworks.values_mut() {
            side.offers.clear();
        }
        self.take(out);
        self
    }

    /// The name of a task in the whole cluster.
    pub fn key(&self, framework: &str, id: &str) -> TaskKey {
        TaskKey::new(self.frameworks[framework].id.expect("it is subscribed"), TaskId::new(id).expect("a task id"))
    }

    /// What has been sent since the last look, one line a message.
    pub fn lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.trace)
    }

    /// Exactly this has been sent since the last look: one line a message.
    ///
    /// # Panics
    /// If something else has been sent.
    #[track_caller]
    pub fn expect(&mut self, expected: &str) -> &mut Self {
        let lines = self.lines();
        let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        assert_eq!(lines, expected);
        self
    }

    /// The registry as it was written so far.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    fn step(&mut self, input: Input) -> &mut Self {
        let mut out = Outbox::new();
        self.master.step(self.now, input, &mut out);
        self.take(out);
        match self.checks {
            Checks::AfterEachStep => self.check(),
            Checks::WhenAsked => self,
        }
    }

    /// The view made from changes equals the state, ended tasks excepted.
    fn check_view(&self) {
        let mut view = self.view.clone();
        let state = self.master.view();
        view.tasks.retain(|key, row| state.tasks.contains_key(key) || !row.state.is_terminal());
        assert_eq!(view, state, "the view made from changes equals the state");
    }

    fn take(&mut self, out: Outbox) {
        for output in out {
            match output {
                Output::Persist(record) => {
                    assert!(!matches!(record, Record::Term(term) if term <= self.registry.term), "terms only grow");
                    self.registry.apply(record);
                }
                Output::Effect(effect) | Output::Ungated(effect) => self.happen(effect),
            }
        }
    }

    fn happen(&mut self, effect: Effect) {
        match effect {
            Effect::Changed(change) => self.view.apply(change),
            Effect::ToAgent(peer, message) => self.on_agent_message(peer, message),
            Effect::ToFramework(peer, event) => self.on_framework_event(peer, event),
            Effect::Close(peer, reject) => {
                let line = format!("close {}: {}", self.peer_name(peer), reject.code());
                self.trace.push(line);
            }
            Effect::Reply(_, result) => self.trace.push(match result {
                Ok(_) => "reply ok".to_owned(),
                Err(reject) => format!("reply {}", reject.code()),
            }),
        }
    }

    fn on_agent_message(&mut self, peer: PeerId, message: ToAgent) {
        let Some(name) = self.agents.iter().find(|(_, side)| side.peer == peer).map(|(name, _)| name.clone()) else {
            return;
        };
        let line = match message {
            ToAgent::Registered { agent, .. } => {
                let side = self.agents.get_mut(&name).expect("it was found");
                side.id = Some(agent);
                side.answer = side.answer.came();
                format!("registered {name}")
            }
            ToAgent::Launch(launch) => self.on_launch(&name, launch),
            ToAgent::Kill { task, reason: Reason::Preempted, announce, .. } => {
                let announced = if announce == Announce::Yes { ", announced" } else { "" };
                format!("preempt {} on {name}{announced}", self.task_name(&task))
            }
            ToAgent::Kill { task, reason: Reason::KillRequested, .. } => {
                format!("kill {} on {name}", self.task_name(&task))
            }
            ToAgent::Kill { task, reason, .. } => format!("kill {} on {name}: {reason}", self.task_name(&task)),
            ToAgent::Hold { gang, groups } => self.on_hold(&name, gang, groups),
            ToAgent::Start(gang) => self.on_start(&name, gang),
            ToAgent::Release(gang) => {
                self.agents.get_mut(&name).expect("it was found").held.remove(&gang);
                format!("release on {name}")
            }
            ToAgent::Acknowledge { task, .. } => format!("ack {} to {name}", self.task_name(&task)),
            ToAgent::RemoveFramework(id) => format!("remove {} on {name}", self.framework_name(id)),
            ToAgent::ClearDevice(device) => format!("clear {device} on {name}"),
            ToAgent::Shutdown(reject) => format!("shutdown {name}: {}", reject.code()),
            ToAgent::Operate { id, operation } => self.on_operate(&name, id, operation),
            ToAgent::Message { .. } => format!("message -> {name}"),
        };
        self.trace.push(line);
    }

    fn on_hold(&mut self, name: &str, gang: GangId, groups: Vec<Launch>) -> String {
        let keys = groups.iter().flat_map(|launch| launch.group.tasks.iter().map(|task| (launch.framework, task)));
        let names: Vec<String> =
            keys.map(|(framework, task)| self.task_name(&TaskKey::new(framework, task.id.clone()))).collect();
        let side = self.agents.get_mut(name).expect("it was found");
        side.last_hold = Some((gang, groups.clone()));
        side.held.insert(gang, groups);
        format!("hold {} on {name}", names.join(" + "))
    }

    fn on_start(&mut self, name: &str, gang: GangId) -> String {
        let held = self.agents.get_mut(name).expect("it was found").held.remove(&gang);
        let lines: Vec<String> = held.into_iter().flatten().map(|launch| self.on_launch(name, launch)).collect();
        format!("start {}", if lines.is_empty() { format!("nothing on {name}") } else { lines.join(", ") })
    }

    fn on_launch(&mut self, name: &str, launch: Launch) -> String {
        let mut parts = Vec::new();
        for task in launch.group.tasks {
            let key = TaskKey::new(launch.framework, task.id.clone());
            let devices: Vec<String> = task.resources.device_shares().map(part_text).collect();
            let with = if devices.is_empty() { String::new() } else { format!(" with {}", devices.join(",")) };
            parts.push(format!("{}{with}", self.task_name(&key)));
            let side = self.agents.get_mut(name).expect("it was found");
            for (device, share) in task.resources.device_shares() {
                if let Some(report) = side.devices.get_mut(device) {
                    report.state.give(report.device.mode, &key, share);
                }
            }
            side.tasks.insert(key, TaskReport { framework: launch.framework, task, state: TaskState::Staging });
        }
        format!("launch {} on {name}", parts.join(" + "))
    }

    fn on_framework_event(&mut self, peer: PeerId, event: Event) {
        let name = self.peer_name(peer);
        let Some(side) = self.frameworks.get_mut(&name) else { return };
        match event {
            Event::Subscribed { framework, agents_missing, .. } => {
                side.id = Some(framework);
                let missing =
                    if agents_missing == 0 { String::new() } else { format!(", {agents_missing} agents missing") };
                self.trace.push(format!("subscribed {name}{missing}"));
            }
            Event::Offers(offers) => {
                for offer in offers {
                    let line = format!("offer {} {} -> {name}", offer.info.name, offer.resources);
                    self.trace.push(line);
                    self.frameworks.get_mut(&name).expect("it was found").offers.insert(offer.id, offer);
                }
            }
            Event::Rescind(ids) => {
                for id in ids {
                    let gone = side.offers.remove(&id);
                    let of = gone.map_or_else(|| "?".to_owned(), |offer| offer.info.name.to_string());
                    self.trace.push(format!("rescind {of} from {name}"));
                }
            }
            Event::Update(status) => {
                let reason = status.reason.map(|reason| format!(" {reason}")).unwrap_or_default();
                self.trace.push(format!("update {} {}{reason} -> {name}", status.task, status.state));
                side.unacknowledged.push(status);
            }
            Event::Outcome(outcome) => {
                if outcome.rejected.is_empty() && side.gangs.contains(&outcome.call) {
                    self.trace.push(format!("answered {name}"));
                }
                for rejection in outcome.rejected {
                    if rejection.tasks.is_empty() {
                        self.trace.push(format!("rejected {} -> {name}", rejection.reject));
                        continue;
                    }
                    let tasks: Vec<&str> = rejection.tasks.iter().map(TaskId::as_str).collect();
                    self.trace.push(format!("rejected {} {} -> {name}", tasks.join(","), rejection.reject.code()));
                }
            }
            Event::Error(reject) => self.trace.push(format!("error {} -> {name}", reject.code())),
            Event::AgentLost(_) => self.trace.push(format!("agent lost -> {name}")),
            Event::AgentLeaves { name: agent, after, .. } => self.trace.push(match after {
                Some(after) => format!("{agent} leaves in {after:?} -> {name}"),
                None => format!("{agent} stays -> {name}"),
            }),
            Event::Prices(changes) => self.trace.push(format!("price {} -> {name}", prices::words(&changes))),
            Event::Message { .. } => self.trace.push(format!("message -> {name}")),
        }
    }

    fn peer_name(&self, peer: PeerId) -> String {
        let framework = self.frameworks.iter().find(|(_, side)| side.peer == peer).map(|(name, _)| name.clone());
        let agent = || self.agents.iter().find(|(_, side)| side.peer == peer).map(|(name, _)| name.clone());
        framework.or_else(agent).unwrap_or_else(|| "an old connection".to_owned())
    }

    fn framework_name(&self, id: FrameworkId) -> String {
        let found = self.frameworks.iter().find(|(_, side)| side.id == Some(id)).map(|(name, _)| name.clone());
        found.unwrap_or_else(|| id.to_string())
    }

    fn task_name(&self, key: &TaskKey) -> String {
        format!("{}/{}", self.framework_name(key.framework), key.task)
    }
}

/// A device, or `ID/THOUSANDTHS` of it.
fn part_text((id, share): (&DeviceId, Share)) -> String {
    if share == Share::WHOLE { id.to_string() } else { format!("{id}/{}", share.0) }
}
