//! The world: a heap of events, the nodes, and the network between them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rialto_core::master::registry::Registry;
use rialto_core::master::view::View;
use rialto_core::model::{ClusterId, DeviceId, TaskKey, Time};

use crate::agent_node::AgentNode;
use crate::checks::Checks;
use crate::dice::Dice;
use crate::framework_node::FrameworkNode;
use crate::master_node::MasterNode;
use crate::network::{ConnId, Dialer, Life, Message, Network, Way};
use crate::plan::Plan;
use crate::trace::Trace;
use crate::workload::Order;

/// The longest time between the end of the faults and convergence.
pub(crate) const CONVERGENCE: Duration = Duration::from_secs(3600);
/// How often convergence is looked for.
const LOOK: Duration = Duration::from_secs(5);
/// How often a node may be stepped at one moment by its own deadline.
const RESTLESS: u32 = 10_000;

/// A node that has a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Node {
    Master,
    Agent(usize),
    Framework(usize),
}

/// Something that will happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// A message arrives.
    Arrive(ConnId, Way, Message),
    /// The end to which that way leads finds the connection dead.
    Notice(ConnId, Way),
    Dial(Dialer, Life),
    Tick(Node, Life),
    Commit(Node, Life),
    Start(Node),
    /// A master that was replaced learns that its lease has ended.
    Retire(Life),
    /// The group of that leader is ready to run, in that boot of the machine.
    Begin(usize, u32, TaskKey),
    /// A process ends by itself.
    Exit(usize, u32, TaskKey),
    /// A process that was asked to end does.
    Die(usize, u32, TaskKey),
    Discover(usize, Life),
    Released(usize, Life, DeviceId, u64, Option<TaskKey>),
    DiskWorks(usize),
    DeviceWorks(usize, DeviceId),
    DeviceFlaps(usize, DeviceId, u32),
    Order(usize, Order),
    Strike,
    Heal,
    Look,
    /// A process crashes while it writes.
    Tear(Node, Life),
}

/// What a run counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) steps: u64,
    pub(crate) crashes: u64,
    pub(crate) faults: u64,
    pub(crate) processes: u64,
    pub(crate) conflicts: u64,
    /// Kills for the sake of others.
    pub(crate) preempted: u64,
}

/// Everything.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) plan: Arc<Plan>,
    pub(crate) trace: Trace,
    pub(crate) checks: Checks,
    pub(crate) network: Network,
    pub(crate) registry: Registry,
    /// The only master whose writes the registry takes.
    pub(crate) fence: Life,
    pub(crate) masters: BTreeMap<Life, MasterNode>,
    pub(crate) leader: Option<Life>,
    pub(crate) agents: Vec<AgentNode>,
    pub(crate) frameworks: Vec<FrameworkNode>,
    pub(crate) store_dice: Dice,
    pub(crate) machine_dice: Dice,
    pub(crate) fault_dice: Dice,
    pub(crate) tear_dice: Dice,
    pub(crate) counts: Counts,
    /// What has occurred, in the words of `mix`.
    pub(crate) happened: BTreeSet<&'static str>,
    /// Whether the faults are over.
    pub(crate) healed: Option<Time>,
    pub(crate) converged: bool,
    queue: BTreeMap<(Time, u64), Event>,
    last_event: u64,
    last_life: Life,
    /// How often each node was stepped by its deadline at this moment.
    restless: BTreeMap<Node, (Time, u32)>,
}

impl World {
    pub(crate) fn new(plan: Arc<Plan>, whole_trace: bool) -> Self {
        let child = |name| Dice::child(plan.seed, name);
        let mut world = Self {
            now: Time::ZERO,
            trace: Trace::new(whole_trace),
            checks: Checks::default(),
            network: Network::new(child("network"), plan.latency, plan.spikes),
            registry: Registry::new(ClusterId(child("cluster").wide())),
            fence: 0,
            masters: BTreeMap::new(),
            leader: None,
            agents: plan.agents.iter().map(|plan| AgentNode::new(plan.clone())).collect(),
            frameworks: plan.frameworks.iter().map(|plan| FrameworkNode::new(plan.clone())).collect(),
            store_dice: child("store"),
            machine_dice: child("machine"),
            fault_dice: child("fault"),
            tear_dice: child("tear"),
            counts: Counts::default(),
            happened: plan.mix(),
            healed: None,
            converged: false,
            queue: BTreeMap::new(),
            last_event: 0,
            last_life: 0,
            restless: BTreeMap::new(),
            plan,
        };
        world.open();
        world
    }

    fn open(&mut self) {
        let plan = self.plan.clone();
        let soon = (Duration::ZERO, Duration::from_secs(3));
        self.after(Duration::ZERO, Event::Start(Node::Master));
        for at in 0..self.agents.len() {
            let delay = self.fault_dice.duration(soon);
            self.after(delay, Event::Start(Node::Agent(at)));
        }
        for (at, framework) in plan.frameworks.iter().enumerate() {
            let delay = self.fault_dice.duration(soon);
            self.after(delay, Event::Start(Node::Framework(at)));
            for (number, job) in framework.jobs.iter().enumerate() {
                self.after(job.arrives, Event::Order(at, Order::Run(number)));
            }
        }
        if !plan.faults.is_empty() {
            let delay = self.fault_dice.duration(plan.fault_every);
            self.after(delay, Event::Strike);
        }
        self.after(plan.unsafe_for, Event::Heal);
    }

    /// Runs until everything has converged, or something does not hold.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        while !self.converged {
            let Some(((at, _), event)) = self.queue.pop_first() else {
                return Err("nothing happens any more".to_owned());
            };
            self.now = at;
            self.checks.now = at;
            self.happen(event);
            if let Some(broken) = self.checks.broken() {
                return Err(broken);
            }
        }
        Ok(())
    }

    pub(crate) fn after(&mut self, delay: Duration, event: Event) {
        self.at(self.now + delay, event);
    }

    pub(crate) fn at(&mut self, at: Time, event: Event) {
        self.last_event += 1;
        self.queue.insert((at.max(self.now), self.last_event), event);
    }

    pub(crate) fn new_life(&mut self) -> Life {
        self.last_life += 1;
        self.last_life
    }

    pub(crate) fn say(&mut self, what: fmt::Arguments<'_>) {
        self.trace.line(self.now, what);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive(conn, way, message) => self.arrive(conn, way, message),
            Event::Notice(conn, way) => self.notice(conn, way),
            Event::Dial(Dialer::Agent(at), life) => self.agent_dials(at, life),
            Event::Dial(Dialer::Framework(at), life) => self.framework_dials(at, life),
            Event::Tick(node, life) => self.tick(node, life),
            Event::Commit(Node::Master, life) => self.master_commits(life),
            Event::Commit(Node::Agent(at), life) => self.agent_commits(at, life),
            Event::Commit(Node::Framework(at), life) => self.framework_commits(at, life),
            Event::Start(Node::Master) => self.start_master(),
            Event::Start(Node::Agent(at)) => self.start_agent(at),
            Event::Start(Node::Framework(at)) => self.start_framework(at),
            Event::Retire(life) => self.crash_master(life),
            Event::Begin(at, boot, leader) => self.group_begins(at, boot, &leader),
            Event::Exit(at, boot, task) => self.process_exits(at, boot, &task),
            Event::Die(at, boot, task) => self.process_dies(at, boot, &task),
            Event::Discover(at, life) => self.agent_discovers(at, life),
            Event::Released(at, life, device, generation, slice) => {
                self.device_released(at, life, &device, generation, slice.as_ref());
            }
            Event::DiskWorks(at) => self.agents[at].disk_fails = false,
            Event::DeviceFlaps(at, device, times) => self.device_flaps(at, &device, times),
            Event::DeviceWorks(at, device) => self.device_works(at, &device),
            Event::Order(at, order) => self.order(at, order),
            Event::Strike => self.strike(),
            Event::Heal => self.heal(),
            Event::Look => self.look(),
            Event::Tear(node, life) => self.torn(node, life),
        }
    }

    /// Sends a message; what is lost is noticed by both ends after a while.
    pub(crate) fn send(&mut self, conn: ConnId, way: Way, message: Message) {
        if let Some(at) = self.network.send(self.now, conn, way) {
            self.at(at, Event::Arrive(conn, way, message));
        }
    }

    fn arrive(&mut self, id: ConnId, way: Way, message: Message) {
        if self.network.is_cut(id, way) {
            return;
        }
        let Some(conn) = self.network.conns.get(&id) else { return };
        let (dialer, dialer_life, master) = (conn.dialer, conn.dialer_life, conn.master);
        let open = match way {
            Way::Up => conn.master_open,
            Way::Down => conn.dialer_open,
        };
        if !open {
            return;
        }
        if matches!(message, Message::End) {
            return self.notice(id, way);
        }
        if let Some(conn) = self.network.conns.get_mut(&id).filter(|_| way == Way::Up) {
            conn.heard = true;
        }
        match way {
            Way::Up => self.say(format_args!("{dialer} -> M{master} #{id}: {message}")),
            Way::Down => self.say(format_args!("M{master} -> {dialer} #{id}: {message}")),
        }
        match (message, dialer) {
            (Message::FromAgent(message), _) => self.master_hears_agent(master, id, dialer, message),
            (Message::Call(call), _) => self.master_hears_framework(master, id, dialer, call),
            (Message::ToAgent(term, message), Dialer::Agent(at)) => self.agent_hears(at, dialer_life, term, message),
            (Message::Event(event), Dialer::Framework(at)) => self.framework_hears(at, dialer_life, event),
            (message, _) => self.checks.fail(format!("{dialer} is sent {message}, which is not for it")),
        }
    }

    /// One end finds the connection closed, or dead.
    fn notice(&mut self, id: ConnId, way: Way) {
        let Some(conn) = self.network.conns.get_mut(&id) else { return };
        let (dialer, life, master) = (conn.dialer, conn.dialer_life, conn.master);
        let end = match way {
            Way::Up => &mut conn.master_open,
            Way::Down => &mut conn.dialer_open,
        };
        if !std::mem::replace(end, false) {
            return;
        }
        match way {
            Way::Up => {
                self.send(id, Way::Down, Message::End);
                self.network.tidy(id);
                self.say(format_args!("M{master} sees {dialer} #{id} closed"));
                self.master_loses(master, id);
            }
            Way::Down => {
                self.network.give_up(id);
                self.send(id, Way::Up, Message::End);
                self.network.tidy(id);
                self.say(format_args!("{dialer} sees #{id} closed"));
                match dialer {
                    Dialer::Agent(at) => self.agent_disconnected(at, life, id),
                    Dialer::Framework(at) => self.framework_disconnected(at, life, id),
                }
            }
        }
    }

    /// The dialer's end is gone, in good order or without a word.
    pub(crate) fn hang_up(&mut self, id: ConnId) {
        let silent = self.fault_dice.chance(300);
        let delay = self.fault_dice.duration((Duration::from_secs(1), Duration::from_secs(45)));
        if let Some(conn) = self.network.conns.get_mut(&id) {
            conn.dialer_open = false;
        }
        self.network.give_up(id);
        if silent && self.healed.is_none() {
            self.network.cut(id, Way::Up);
            self.after(delay, Event::Notice(id, Way::Up));
        } else {
            self.send(id, Way::Up, Message::End);
            // What was cut before is noticed in its own time.
            self.after(delay, Event::Notice(id, Way::Up));
        }
        self.network.tidy(id);
    }

    /// When a node wants to be stepped, at the latest.
    pub(crate) fn wake(&mut self, node: Node, life: Life, deadline: Option<Time>, set: Option<Time>) -> Option<Time> {
        let deadline = deadline?.max(self.now);
        if set.is_some_and(|set| set <= deadline && set >= self.now) {
            return set;
        }
        self.at(deadline, Event::Tick(node, life));
        Some(deadline)
    }

    fn tick(&mut self, node: Node, life: Life) {
        let (at, times) = self.restless.entry(node).or_default();
        *times = if *at == self.now { *times + 1 } else { 0 };
        *at = self.now;
        let rests = *times < RESTLESS;
        self.checks.require(rests, || format!("{node:?} does not rest: it wants to be stepped again and again"));
        match node {
            Node::Master => self.master_ticks(life),
            Node::Agent(at) => self.agent_ticks(at, life),
            Node::Framework(at) => self.framework_ticks(at, life),
        }
    }

    pub(crate) fn look_later(&mut self) {
        self.after(LOOK, Event::Look);
    }

    /// How long a write takes.
    pub(crate) fn commit_time(&mut self) -> Duration {
        self.store_dice.duration(self.plan.commit)
    }

    /// The rows that people see of the leading master.
    pub(crate) fn leading_view(&self) -> Option<View> {
        let leader = self.leader.and_then(|life| self.masters.get(&life))?;
        Some(leader.core.view())
    }
}
