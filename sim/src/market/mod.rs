//! A market without faults: one master, agents and frameworks in virtual time, for questions about placement, waiting and size.
//!
//! The master is the production machine with its gate, a framework is the production driver around a policy. Agents are emulated: they
//! speak [`FromAgent`](rialto_core::model::FromAgent) and [`ToAgent`] exactly, one outstanding update for each task, but have no journal,
//! no processes and no cleaning to do, because nothing fails here. Messages arrive in the order in which they were sent, at once unless
//! a latency is asked for.

mod agent;
mod host;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rialto_core::gate::Gate;
use rialto_core::master::registry::{Record, Registry};
use rialto_core::master::{Command, Config, Effect, Input, Master, Outbox, Stats};
use rialto_core::model::{
    AgentInfo, ClusterId, Device, DeviceId, DeviceMode, DeviceReport, DeviceState, FrameworkInfo, Health, OfferMode,
    PeerId, Principal, Proof, Quantities, RequestId, Resources, Role, TaskKey, Time, ToAgent, Topology,
};
use rialto_core::scheduler::{DriverInput, Scheduler};

pub(crate) use self::agent::body;
use self::agent::{Agent, Say};
use self::host::Host;
pub(crate) use self::host::Think;

/// After how many steps of the master the rows for people are taken out and thrown away: nobody looks here.
const SHOW_EVERY: u64 = 4096;

/// A machine that joins the market.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) name: String,
    pub(crate) resources: Resources,
    pub(crate) devices: Vec<DeviceReport>,
}

impl Machine {
    /// One with so many alike GPUs, all free, that tasks may share.
    pub(crate) fn with_gpus(name: String, resources: Resources, gpus: u16, model: &Arc<str>) -> Self {
        let device = |number| DeviceReport { device: Arc::new(gpu(model, number)), state: DeviceState::Free };
        Self { name, resources, devices: (0..gpus).map(device).collect() }
    }
}

fn gpu(model: &Arc<str>, number: u16) -> Device {
    Device {
        id: DeviceId::new(&format!("gpu-{number:03}")),
        kind: Arc::from("gpu"),
        vendor: Arc::from(""),
        model: model.clone(),
        generation: 0,
        attributes: BTreeMap::new(),
        topology: Topology::default(),
        mode: DeviceMode::Shared,
        health: Health::Healthy,
        nodes: Vec::new(),
        proof: Proof::TreeGone,
        host_share: Quantities::new(),
    }
}

/// What happened on a machine, for whoever keeps account.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    /// A task was started.
    Started { machine: usize, resources: Resources },
    /// A task has ended.
    Ended { machine: usize, resources: Resources },
}

/// The market, and the frameworks with policies of type `S`.
pub(crate) struct Market<S: Scheduler<Effect = Think>> {
    pub(crate) now: Time,
    /// What happened and was not yet looked at.
    pub(crate) seen: Vec<(Time, Seen)>,
    /// How many messages and deadlines were handled.
    pub(crate) events: u64,
    /// The frameworks that were told something and were not looked at since.
    pub(crate) moved: BTreeSet<usize>,
    /// Whether everything that can be checked is checked after each of them.
    pub(crate) audits: bool,
    master: Master,
    gate: Gate<Record, Effect>,
    out: Outbox,
    released: Vec<Effect>,
    tick: Option<Time>,
    agents: Vec<Agent>,
    /// Those that were not let go, by number.
    hosts: BTreeMap<usize, Host<S>>,
    /// The number of the next one.
    next_host: usize,
    hosts_of: BTreeMap<PeerId, usize>,
    agents_of: BTreeMap<PeerId, usize>,
    latency: Duration,
    at_once: VecDeque<Event<S::Command>>,
    heap: BinaryHeap<Reverse<(Time, u64)>>,
    /// What is due, by its number in the heap.
    later: BTreeMap<u64, Event<S::Command>>,
    seq: u64,
}

enum Event<C> {
    ToMaster(Input),
    ToAgent(usize, ToAgent),
    ToHost(usize, DriverInput<C>),
    TaskEnds(usize, TaskKey),
    MasterTick,
    HostTick(usize),
    HostFree(usize),
}

impl<S: Scheduler<Effect = Think>> Market<S> {
    /// A market of these machines, which register in this order.
    pub(crate) fn new(config: Config, latency: Duration, machines: &[Machine]) -> Self {
        let mut out = Outbox::new();
        let registry = Registry::new(ClusterId(1));
        let master = Master::recover(Time::ZERO, config, registry, &mut out);
        let mut market = Self {
            now: Time::ZERO,
            seen: Vec::new(),
            events: 0,
            moved: BTreeSet::new(),
            audits: false,
            master,
            gate: Gate::default(),
            out,
            released: Vec::new(),
            tick: None,
            agents: Vec::new(),
            hosts: BTreeMap::new(),
            next_host: 0,
            hosts_of: BTreeMap::new(),
            agents_of: BTreeMap::new(),
            latency,
            at_once: VecDeque::new(),
            heap: BinaryHeap::new(),
            later: BTreeMap::new(),
            seq: 0,
        };
        market.release();
        for machine in machines {
            market.join(machine);
        }
        market
    }

    /// A machine joins; the number by which it is known here.
    pub(crate) fn join(&mut self, machine: &Machine) -> usize {
        self.join_as(machine, AgentInfo { name: Arc::from(machine.name.as_str()), ..AgentInfo::default() })
    }

    /// The same, with what the machine is like.
    pub(crate) fn join_as(&mut self, machine: &Machine, info: AgentInfo) -> usize {
        let number = self.agents.len();
        let agent = Agent::new(number, machine, info);
        self.agents_of.insert(agent.peer(), number);
        let register = agent.register();
        self.agents.push(agent);
        self.tell_master(register);
        number
    }

    /// A machine is away, and what ran on it is lost. The master sees its connection close.
    pub(crate) fn fail(&mut self, number: usize) {
        let mut say = Say::default();
        self.agents[number].crash(&mut say);
        self.agent_says(number, say);
        self.tell_master(Input::PeerClosed(self.agents[number].peer()));
    }

    /// A machine that was away is back, with nothing running.
    pub(crate) fn repair(&mut self, number: usize) {
        let register = self.agents[number].register();
        self.tell_master(register);
    }

    /// How many machines have joined: the number of the next one.
    pub(crate) const fn machines(&self) -> usize {
        self.agents.len()
    }

    /// A machine will be taken away after so long, its provider says; an operator tells the master.
    pub(crate) fn notice(&mut self, number: usize, after: Duration) {
        if let Some(agent) = self.agents[number].id() {
            self.operate(Command::Notice { agent, after: Some(after) });
        }
    }

    /// What an operator commands, before anything else happens.
    pub(crate) fn operate(&mut self, command: Command) {
        let (request, principal) = (RequestId(0), Principal::new("operator"));
        self.tell_master(Input::FromOperator { request, principal, command });
    }

    /// A framework with this policy subscribes; the number by which it is known here.
    pub(crate) fn subscribe(&mut self, info: FrameworkInfo, policy: S) -> usize {
        let number = self.next_host;
        self.next_host += 1;
        let host = Host::new(number, info, policy);
        self.hosts_of.insert(host.peer(), number);
        self.hosts.insert(number, host);
        self.send(Event::ToHost(number, DriverInput::Connected));
        number
    }

    /// A user's request to a framework, at `at`.
    pub(crate) fn command(&mut self, at: Time, host: usize, command: S::Command) {
        self.schedule(at, Event::ToHost(host, DriverInput::Command(command)));
    }

    pub(crate) fn policy(&self, host: usize) -> &S {
        self.hosts[&host].driver.policy()
    }

    /// Lets a framework go that has left the cluster, so that those that come and go take no room. One that has not stays.
    pub(crate) fn let_go(&mut self, number: usize) {
        let is_over = |host: &Host<S>| host.driver.is_ended() && !host.is_busy();
        if self.hosts.get(&number).is_some_and(is_over)
            && let Some(host) = self.hosts.remove(&number)
        {
            self.hosts_of.remove(&host.peer());
        }
    }

    pub(crate) fn master(&self) -> &Stats {
        self.master.stats()
    }

    /// Handles everything up to and with `until`.
    pub(crate) fn run_until(&mut self, until: Time) {
        loop {
            while let Some(event) = self.at_once.pop_front() {
                self.handle(event);
            }
            let due = self.heap.peek().is_some_and(|Reverse((at, _))| *at <= until);
            if !due {
                self.now = self.now.max(until);
                return;
            }
            let Some(Reverse((at, seq))) = self.heap.pop() else { return };
            self.now = self.now.max(at);
            if let Some(event) = self.later.remove(&seq) {
                self.handle(event);
            }
        }
    }

    /// Checks all that the machines can check of themselves. Linear time.
    pub(crate) fn check(&self) {
        self.master.check_invariants();
        self.hosts.values().for_each(|host| host.driver.check_invariants());
    }

    fn handle(&mut self, event: Event<S::Command>) {
        self.events += 1;
        match event {
            Event::ToMaster(input) => self.master_step(input),
            Event::MasterTick => {
                if self.tick.is_some_and(|tick| tick <= self.now) {
                    self.tick = None;
                    self.master_step(Input::Tick);
                }
            }
            Event::ToAgent(number, message) => self.agent_hears(number, message),
            Event::TaskEnds(number, key) => {
                let mut say = Say::default();
                self.agents[number].task_ends(&key, &mut say);
                self.agent_says(number, say);
            }
            Event::ToHost(number, input) => self.host_hears(number, input),
            Event::HostTick(number) => {
                if self.hosts.get_mut(&number).is_some_and(|host| host.is_due(self.now)) {
                    self.host_hears(number, DriverInput::Tick);
                }
            }
            Event::HostFree(number) => self.host_free(number),
        }
        if self.audits {
            self.check();
            self.agents.iter().for_each(Agent::check);
        }
    }

    fn master_step(&mut self, input: Input) {
        self.master.step_unshown(self.now, input, &mut self.out);
        if self.master.stats().steps.is_multiple_of(SHOW_EVERY) {
            self.master.show(&mut self.out);
        }
        self.release();
        if let Some(deadline) = self.master.next_deadline()
            && self.tick.is_none_or(|tick| deadline < tick)
        {
            self.tick = Some(deadline);
            self.schedule(deadline, Event::MasterTick);
        }
    }

    /// The store here is as fast as it is reliable.
    fn release(&mut self) {
        let mut released = std::mem::take(&mut self.released);
        self.gate.push(self.out.drain(..), &mut released);
        if let Some((batch, _)) = self.gate.take_batch() {
            self.gate.durable(batch, &mut released);
        }
        for effect in released.drain(..) {
            match effect {
                Effect::ToAgent(peer, message) => {
                    let number = self.agents_of[&peer];
                    self.send(Event::ToAgent(number, message));
                }
                Effect::ToFramework(peer, event) => {
                    if let Some(number) = self.hosts_of.get(&peer) {
                        self.send(Event::ToHost(*number, DriverInput::FromMaster(event)));
                    }
                }
                Effect::Close(..) | Effect::Reply(..) | Effect::Changed(_) => {}
            }
        }
        self.released = released;
    }

    fn agent_hears(&mut self, number: usize, message: ToAgent) {
        let mut say = Say::default();
        self.agents[number].hear(message, &mut say);
        self.agent_says(number, say);
    }

    fn agent_says(&mut self, number: usize, say: Say) {
        let now = self.now;
        self.seen.extend(say.seen.into_iter().map(|seen| (now, seen)));
        for (key, after) in say.ends {
            self.schedule(self.now + after, Event::TaskEnds(number, key));
        }
        let peer = self.agents[number].peer();
        for message in say.messages {
            self.tell_master(Input::FromAgent { peer, principal: Principal::new("agent"), message });
        }
    }

    fn host_hears(&mut self, number: usize, input: DriverInput<S::Command>) {
        let Some(host) = self.hosts.get_mut(&number) else { return };
        if host.is_busy() {
            host.inbox.push_back(input);
            return;
        }
        self.moved.insert(number);
        let peer = host.peer();
        let (calls, thinks) = host.step(self.now, input);
        if thinks.is_zero() {
            self.host_says(peer, calls);
        } else {
            host.think(calls);
            self.schedule(self.now + thinks, Event::HostFree(number));
        }
        self.wake(number);
    }

    /// What the host has thought out is said, and what came in meanwhile is heard.
    fn host_free(&mut self, number: usize) {
        let Some(host) = self.hosts.get_mut(&number) else { return };
        let (peer, calls) = (host.peer(), host.done());
        self.host_says(peer, calls);
        while let Some(host) = self.hosts.get_mut(&number).filter(|host| !host.is_busy())
            && let Some(input) = host.inbox.pop_front()
        {
            self.host_hears(number, input);
        }
        self.wake(number);
    }

    fn host_says(&mut self, peer: PeerId, calls: Vec<rialto_core::model::Call>) {
        for call in calls {
            self.tell_master(Input::FromFramework { peer, principal: Principal::new("framework"), call });
        }
    }

    fn wake(&mut self, number: usize) {
        if let Some(deadline) = self.hosts.get_mut(&number).and_then(|host| host.wants_tick(self.now)) {
            self.schedule(deadline, Event::HostTick(number));
        }
    }

    fn tell_master(&mut self, input: Input) {
        self.send(Event::ToMaster(input));
    }

    fn send(&mut self, event: Event<S::Command>) {
        if self.latency.is_zero() {
            self.at_once.push_back(event);
        } else {
            self.schedule(self.now + self.latency, event);
        }
    }

    fn schedule(&mut self, at: Time, event: Event<S::Command>) {
        self.seq += 1;
        self.heap.push(Reverse((at.max(self.now), self.seq)));
        self.later.insert(self.seq, event);
    }
}

/// A framework of one role, called like it.
pub(crate) fn info(role: &Role) -> FrameworkInfo {
    FrameworkInfo {
        name: Arc::from(role.as_str()),
        user: Arc::from(""),
        roles: BTreeSet::from([role.clone()]),
        failover_timeout: Duration::from_secs(600),
        offer_mode: OfferMode::Optimistic,
        offer_timeout: None,
        url: None,
        labels: BTreeMap::new(),
        capabilities: Default::default(),
        rules: Arc::default(),
    }
}
