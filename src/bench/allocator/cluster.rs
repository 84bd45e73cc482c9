//! A master in virtual time, with as many agents and frameworks as asked for, all of them nothing but their messages.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rialto_core::gate::Output;
use rialto_core::master::registry::Registry;
use rialto_core::master::{Config, Effect, Input, Master, Outbox};
use rialto_core::model::{
    Accept, AgentId, AgentReport, Body, Call, CallId, ClientId, ClusterId, Event, ExecutorRef, FrameworkId,
    FrameworkInfo, FromAgent, Milli, Offer, OfferMode, Operation, PeerId, Principal, Refusal, Resources, Role, Source,
    Status, Subscribe, Task, TaskGroup, TaskId, TaskState, Time, ToAgent, UpdateId,
};

/// How long the master gathers changes before a round: the clock moves on by as much when a round is wanted.
const GATHER: Duration = Duration::from_millis(1);

/// An agent, as its connection.
#[derive(Clone, Debug)]
pub(super) struct AgentSide {
    pub(super) id: AgentId,
    peer: PeerId,
    client: ClientId,
}

/// A framework, as its connection.
#[derive(Debug)]
pub(super) struct FrameworkSide {
    id: FrameworkId,
    peer: PeerId,
    pub(super) role: Role,
    /// What it was offered and has not answered, oldest first.
    pub(super) offers: Vec<Offer>,
}

/// The whole of it.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) master: Master,
    now: Time,
    out: Outbox,
    pub(super) agents: Vec<AgentSide>,
    pub(super) frameworks: Vec<FrameworkSide>,
    by_peer: BTreeMap<PeerId, usize>,
    counter: u64,
    /// How many offers were made since this was last set to zero.
    pub(super) offers: u64,
    clock: fn() -> Duration,
}

impl Cluster {
    /// `clock` tells how long this thread has run, so that others on the machine don't count.
    pub(super) fn new(config: Config, clock: fn() -> Duration) -> Self {
        let config = Config { allocation_delay: GATHER, ..config };
        let mut out = Outbox::new();
        let master = Master::recover(Time::ZERO, config, Registry::new(ClusterId(1)), &mut out);
        Self {
            master,
            now: Time::ZERO,
            out: Outbox::new(),
            agents: Vec::new(),
            frameworks: Vec::new(),
            by_peer: BTreeMap::new(),
            counter: 0,
            offers: 0,
            clock,
        }
    }

    fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// One step, then what the master said is taken in; how long the step took.
    pub(super) fn step(&mut self, input: Input) -> Duration {
        let from = (self.clock)();
        self.master.step(self.now, input, &mut self.out);
        let took = (self.clock)() - from;
        self.take_in();
        took
    }

    /// The same, with the round that it makes the master want.
    pub(super) fn step_and_round(&mut self, input: Input) -> Duration {
        self.step(input) + self.round()
    }

    /// A round, if one is wanted; if not, what it costs to find that out.
    pub(super) fn round(&mut self) -> Duration {
        self.now = self.now + GATHER;
        self.step(Input::Tick)
    }

    fn take_in(&mut self) {
        for output in self.out.drain(..) {
            let Output::Effect(effect) = output else { continue };
            match effect {
                Effect::ToFramework(peer, Event::Offers(offers)) => {
                    self.offers += offers.len() as u64;
                    let at = self.by_peer[&peer];
                    self.frameworks[at].offers.extend(offers);
                }
                Effect::ToFramework(peer, Event::Rescind(ids)) => {
                    let at = self.by_peer[&peer];
                    self.frameworks[at].offers.retain(|offer| !ids.contains(&offer.id));
                }
                Effect::ToFramework(peer, Event::Subscribed { framework, .. }) => {
                    let at = self.by_peer[&peer];
                    self.frameworks[at].id = framework;
                }
                Effect::ToAgent(peer, ToAgent::Registered { agent, .. }) => {
                    let at = self.by_peer[&peer];
                    self.agents[at].id = agent;
                }
                _ => {}
            }
        }
    }

    /// A framework subscribes, for a role.
    pub(super) fn subscribe(&mut self, role: &str, mode: OfferMode) -> Duration {
        let peer = PeerId(self.next());
        let role = Role::new(role).expect("the caller's roles are roles");
        let info = FrameworkInfo {
            name: Arc::from(format!("framework-{}", self.frameworks.len())),
            user: Arc::from(""),
            roles: [role.clone()].into(),
            failover_timeout: Duration::from_secs(600),
            offer_mode: mode,
            // Nothing shall expire while it is measured.
            offer_timeout: Some(Duration::from_secs(600)),
            url: None,
            labels: BTreeMap::new(),
            capabilities: Default::default(),
        };
        let subscribe = Subscribe {
            framework: None,
            client: ClientId(u128::from(self.next())),
            info,
            suppressed: [].into(),
        };
        self.by_peer.insert(peer, self.frameworks.len());
        let id = FrameworkId::new(self.master.term(), 0);
        self.frameworks.push(FrameworkSide { id, peer, role, offers: Vec::new() });
        self.step(from_framework(peer, Call::Subscribe(subscribe)))
    }

    /// Agent number `at` joins.
    pub(super) fn join(&mut self, resources: &Resources) -> Input {
        let (peer, client) = (PeerId(self.next()), ClientId(u128::from(self.next())));
        self.by_peer.insert(peer, self.agents.len());
        let side = AgentSide { id: AgentId::new(self.master.term(), 0), peer, client };
        let report = report(self.agents.len(), &side, None, resources);
        self.agents.push(side);
        from_agent(peer, FromAgent::Register(Box::new(report)))
    }

    /// The agent says that it has these resources now.
    pub(super) fn update(&mut self, at: usize, resources: &Resources) -> Input {
        let side = &self.agents[at];
        let report = report(at, side, Some((side.id, self.master.cluster())), resources);
        from_agent(side.peer, FromAgent::Register(Box::new(report)))
    }

    /// The framework says something.
    pub(super) fn call(&self, framework: usize, call: Call) -> Input {
        from_framework(self.frameworks[framework].peer, call)
    }

    /// The framework declines all that it was offered.
    pub(super) fn decline_all(&mut self, framework: usize, refusal: &Refusal) -> (u64, Input) {
        let offers: Vec<Offer> = std::mem::take(&mut self.frameworks[framework].offers);
        let ids = offers.iter().map(|offer| offer.id).collect();
        let count = offers.len() as u64;
        (count, self.call(framework, Call::Decline { offers: ids, refusal: refusal.clone() }))
    }

    /// The framework launches one task with a part of its newest offer; who it is and where it runs.
    pub(super) fn launch(&mut self, framework: usize) -> Option<(Input, FrameworkId, TaskId, AgentId)> {
        let offer = self.frameworks[framework].offers.pop()?;
        let number = self.next();
        let id = TaskId::new(&format!("t{number}")).expect("a letter and digits are an id");
        let side = &self.frameworks[framework];
        let task = Task {
            id: id.clone(),
            name: Arc::from("t"),
            role: side.role.clone(),
            resources: Resources::of(Milli(100), Milli::from_whole(32)),
            claims: Vec::new(),
            priority: 0,
            kill_grace: Duration::from_secs(3),
            expected_run_time: None,
            executor: ExecutorRef::Supervisor,
            body: Body::new(Vec::new()),
        };
        let accept = Accept {
            id: CallId(number),
            agent: offer.agent,
            offers: vec![offer.id],
            operations: vec![Operation::Launch(TaskGroup::single(task))],
            refusal: Refusal::default(),
        };
        Some((from_framework(side.peer, Call::Accept(accept)), side.id, id, offer.agent))
    }

    /// A task's agent says that it has finished.
    pub(super) fn finish(&self, framework: FrameworkId, task: &TaskId, agent: AgentId) -> Input {
        let mut status = Status::new(task.clone(), TaskState::Finished, Source::Agent);
        status.uuid = Some(UpdateId(u128::from(self.counter)));
        let at = self.agents.iter().position(|side| side.id == agent).expect("the agent has joined");
        let update = FromAgent::Update { framework, status, latest: TaskState::Finished };
        from_agent(self.agents[at].peer, update)
    }
}

fn report(
    number: usize,
    side: &AgentSide,
    agent: Option<(AgentId, ClusterId)>,
    resources: &Resources,
) -> AgentReport {
    AgentReport {
        agent,
        client: side.client,
        name: Arc::from(format!("agent-{number}")),
        resources: resources.clone(),
        attributes: BTreeMap::new(),
        devices: Vec::new(),
        tasks: Vec::new(),
        held: Vec::new(),
    }
}

fn from_framework(peer: PeerId, call: Call) -> Input {
    Input::FromFramework { peer, principal: Principal::new("bench"), call }
}

fn from_agent(peer: PeerId, message: FromAgent) -> Input {
    Input::FromAgent { peer, principal: Principal::new("bench"), message }
}
