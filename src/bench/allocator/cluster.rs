//! A master in virtual time, with as many agents and frameworks as asked for, all of them nothing but their messages.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cpu_time::ThreadTime;
use rialto_core::gate::Output;
use rialto_core::master::registry::Registry;
use rialto_core::master::{Command, Config, Effect, Input, Master, Outbox};
use rialto_core::model::{
    Accept, AgentId, AgentInfo, AgentReport, Body, Call, CallId, ClientId, ClusterId, Event, ExecutorRef, FrameworkId,
    FrameworkInfo, FromAgent, Milli, Offer, OfferId, OfferMode, Operation, PeerId, Principal, Refusal, RequestId,
    Resources, Role, Source, Status, Subscribe, Task, TaskGroup, TaskId, TaskState, Term, Time, ToAgent, UpdateId,
};

/// How long the master gathers changes before a round: the clock moves on by as much when a round is wanted.
const GATHER: Duration = Duration::from_millis(1);

/// An agent, as its connection.
#[derive(Clone, Debug)]
struct AgentSide {
    id: AgentId,
    peer: PeerId,
    client: ClientId,
}

/// A framework, as its connection.
#[derive(Debug)]
pub(super) struct FrameworkSide {
    id: FrameworkId,
    peer: PeerId,
    role: Role,
    /// What it was offered and has not answered, oldest first.
    offers: Vec<Arc<Offer>>,
}

/// A task that runs.
#[derive(Debug)]
pub(super) struct Launched {
    framework: FrameworkId,
    task: TaskId,
    agent: AgentId,
}

/// The whole of it.
#[derive(Debug)]
pub(super) struct Cluster {
    master: Master,
    now: Time,
    out: Outbox,
    agents: Vec<AgentSide>,
    pub(super) frameworks: Vec<FrameworkSide>,
    by_peer: BTreeMap<PeerId, usize>,
    counter: u64,
    /// How many offers were made since this was last set to zero.
    pub(super) offers: u64,
}

impl Cluster {
    /// No agent and no framework.
    pub(super) fn new(config: Config) -> Self {
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
        }
    }

    fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// One step, then what the master said is taken in; for how long this thread ran in the step, so that others on the machine don't
    /// count.
    pub(super) fn step(&mut self, input: Input) -> Duration {
        let from = ThreadTime::now();
        self.master.step(self.now, input, &mut self.out);
        let took = from.elapsed();
        self.take_in();
        took
    }

    /// The same, with the round that it makes the master want.
    pub(super) fn step_and_round(&mut self, input: Input) -> Duration {
        self.step(input) + self.round()
    }

    /// A round, in as many steps as it takes, if one is wanted; if not, what it costs to find that out.
    pub(super) fn round(&mut self) -> Duration {
        self.now = self.now + GATHER;
        let mut took = self.step(Input::Tick);
        while self.master.next_deadline().is_some_and(|due| due <= self.now) {
            took += self.step(Input::Tick);
        }
        took
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
            rules: Arc::default(),
        };
        let subscribe = Subscribe {
            framework: None,
            client: ClientId(u128::from(self.next())),
            info,
            suppressed: [].into(),
            connection: 0,
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
    fn call(&self, framework: usize, call: Call) -> Input {
        from_framework(self.frameworks[framework].peer, call)
    }

    /// An operator asks for something.
    pub(super) fn command(&mut self, command: Command) -> Duration {
        let request = RequestId(self.next());
        self.step(Input::FromOperator { request, principal: Principal::new("bench"), command })
    }

    /// Nobody takes offers any more.
    pub(super) fn suppress_all(&mut self) {
        for at in 0..self.frameworks.len() {
            let roles = [self.frameworks[at].role.clone()].into();
            self.step(self.call(at, Call::Suppress(roles)));
        }
        self.round();
    }

    /// Everybody takes offers again: the calls, and the round that follows.
    pub(super) fn revive_all(&mut self) -> Duration {
        let mut took = Duration::ZERO;
        for at in 0..self.frameworks.len() {
            let roles = [self.frameworks[at].role.clone()].into();
            took += self.step(self.call(at, Call::Revive(roles)));
        }
        took + self.round()
    }

    /// The framework declines all that it was offered.
    pub(super) fn decline_all(&mut self, framework: usize, refusal: &Refusal) -> (u64, Input) {
        let offers = std::mem::take(&mut self.frameworks[framework].offers);
        let ids: Vec<OfferId> = offers.iter().map(|offer| offer.id).collect();
        let count = ids.len() as u64;
        (count, self.call(framework, Call::Decline { offers: ids, refusal: refusal.clone() }))
    }

    /// A framework declines its newest offer; which, `number` says, if it has one.
    pub(super) fn decline_newest(&mut self, number: usize) -> Option<Input> {
        let framework = self.with_offers(number)?;
        let offer = self.frameworks[framework].offers.pop()?;
        let refusal = Refusal::of(Duration::from_secs(3600));
        Some(self.call(framework, Call::Decline { offers: vec![offer.id], refusal }))
    }

    /// The first framework with an offer, beginning at `number`.
    fn with_offers(&self, number: usize) -> Option<usize> {
        let count = self.frameworks.len();
        (0..count).map(|at| (at + number) % count).find(|at| !self.frameworks[*at].offers.is_empty())
    }

    /// A framework launches a task with a part of its newest offer; which, `number` says, if it has one.
    pub(super) fn launch_newest(&mut self, number: usize) -> Option<(Input, Launched)> {
        let framework = self.with_offers(number)?;
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
        let launched = Launched { framework: side.id, task: id, agent: offer.agent };
        let accept = Accept {
            id: CallId(number),
            agent: offer.agent,
            offers: vec![offer.id],
            operations: vec![Operation::Launch(TaskGroup::single(task))],
            refusal: Refusal::default(),
        };
        Some((self.call(framework, Call::Accept(accept)), launched))
    }

    /// The task's agent says that it has finished.
    pub(super) fn finish(&self, launched: &Launched) -> Input {
        let mut status = Status::new(launched.task.clone(), TaskState::Finished, Source::Agent);
        status.uuid = Some(UpdateId(u128::from(self.counter)));
        let side = self.agents.iter().find(|side| side.id == launched.agent).expect("the agent has joined");
        let update = FromAgent::Update { framework: launched.framework, status, latest: TaskState::Finished };
        from_agent(side.peer, update)
    }
}

fn report(number: usize, side: &AgentSide, agent: Option<(AgentId, ClusterId)>, resources: &Resources) -> AgentReport {
    AgentReport {
        agent,
        term: Term::default(),
        client: side.client,
        info: Arc::new(AgentInfo { name: Arc::from(format!("agent-{number}")), ..AgentInfo::default() }),
        resources: resources.clone(),
        connection: 0,
        devices: Vec::new(),
        tasks: Vec::new(),
        held: Vec::new(),
        operated: None,
    }
}

fn from_framework(peer: PeerId, call: Call) -> Input {
    Input::FromFramework { peer, principal: Principal::new("bench"), call }
}

fn from_agent(peer: PeerId, message: FromAgent) -> Input {
    Input::FromAgent { peer, principal: Principal::new("bench"), message }
}
