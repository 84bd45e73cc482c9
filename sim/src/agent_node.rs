//! A virtual agent process on a virtual machine: the core, its gate, a journal that may be torn, and the processes that outlive it.

use std::time::Duration;

use rialto_core::agent::{Agent, Config, Effect, End, Input, Journal, Out, Record};
use rialto_core::gate::{BatchId, Gate};
use rialto_core::model::{DeviceId, Exit, Launch, Reject, Resources, TaskId, TaskKey, Term, Time, ToAgent, WallTime};

use crate::agent_duties::AgentWatch;
use crate::machine::{Machine, Phase, Process};
use crate::master_node::{WALL, global, local};
use crate::network::{ConnId, Dialer, Life, Message, Way};
use crate::plan::AgentPlan;
use crate::trace::Short;
use crate::workload::Behaviour;
use crate::world::{Event, Node, World};

/// A machine with an agent on it, most of the time.
#[derive(Debug)]
pub(crate) struct AgentNode {
    pub(crate) plan: AgentPlan,
    /// What it has now.
    pub(crate) resources: Resources,
    pub(crate) machine: Machine,
    pub(crate) boot: u32,
    pub(crate) disk_fails: bool,
    pub(crate) life: Option<AgentLife>,
    /// The journal, as far as it is durable.
    durable: Vec<Record>,
}

/// One agent process.
#[derive(Debug)]
pub(crate) struct AgentLife {
    pub(crate) life: Life,
    pub(crate) core: Agent,
    pub(crate) gate: Gate<Record, Effect>,
    pub(crate) conn: Option<ConnId>,
    in_flight: Option<(BatchId, Vec<Record>)>,
    degraded: bool,
    epoch: Time,
    tick: Option<Time>,
    dials: u32,
    watch: AgentWatch,
}

impl AgentNode {
    pub(crate) fn new(plan: AgentPlan) -> Self {
        Self {
            resources: plan.resources.clone(),
            plan,
            machine: Machine::default(),
            boot: 0,
            disk_fails: false,
            life: None,
            durable: Vec::new(),
        }
    }

    fn alive(&mut self, life: Life) -> Option<&mut AgentLife> {
        self.life.as_mut().filter(|node| node.life == life)
    }
}

fn replay(records: &[Record]) -> Journal {
    let mut journal = Journal::default();
    records.iter().for_each(|record| journal.apply(record));
    journal
}

impl World {
    pub(crate) fn start_agent(&mut self, at: usize) {
        if self.agents[at].life.is_some() {
            return;
        }
        let life = self.new_life();
        let skew = self.fault_dice.between(0, 7_200_000_000).cast_signed() - 3_600_000_000;
        let epoch = Time(self.now.0.saturating_sub(self.fault_dice.between(0, 1_000_000)));
        let seed = self.machine_dice.next();
        let journal = self.read_journal(at);
        let node = &mut self.agents[at];
        let config = Config {
            name: format!("a{}", at + 1).into(),
            resources: node.resources.clone(),
            attributes: node.plan.attributes(),
            domain: node.plan.domain(),
            host_share_milli: node.plan.host_share_milli,
            origin: WallTime(WALL + self.now.0.cast_signed() + skew),
            seed,
        };
        let core = Agent::recover(local(self.now, epoch), config, journal);
        let gate = Gate::default();
        node.life = Some(AgentLife {
            life,
            core,
            gate,
            conn: None,
            in_flight: None,
            degraded: false,
            epoch,
            tick: None,
            dials: 0,
            watch: AgentWatch::of(&node.durable),
        });
        self.say(format_args!("a{} starts", at + 1));
        // What a torn journal leaves half done is settled by the first step.
        self.agent_step(at, life, Input::Tick);
        self.report_processes(at, life);
        let (dial, discover) = (self.fault_dice.between(0, 1_000), self.fault_dice.between(0, 3_000));
        self.after(Duration::from_millis(dial), Event::Dial(Dialer::Agent(at), life));
        self.after(Duration::from_millis(discover), Event::Discover(at, life));
        self.wake_agent(at);
    }

    /// The journal as it is on disk, compacted now and then.
    fn read_journal(&mut self, at: usize) -> Journal {
        let compacts = self.store_dice.chance(500);
        let node = &mut self.agents[at];
        let journal = replay(&node.durable);
        if compacts {
            node.durable = journal.snapshot();
            let again = replay(&node.durable);
            let same = again == journal;
            self.checks
                .require(same, || format!("a{}: a compacted journal differs: {journal:?} and {again:?}", at + 1));
        }
        journal
    }

    /// The shell asks the supervisors of what the journal calls alive.
    fn report_processes(&mut self, at: usize, life: Life) {
        let Some(node) = self.agents[at].alive(life) else { return };
        let live: Vec<TaskKey> = node.core.journal().live_tasks().cloned().collect();
        for task in live {
            let phase = self.agents[at].machine.processes.get(&task).map(|process| process.phase.clone());
            match phase {
                Some(Phase::Running) => self.agent_step(at, life, Input::Running { task }),
                Some(Phase::Ended(end)) => self.agent_step(at, life, Input::Ended { task, end }),
                Some(Phase::Starting) => {}
                None => {
                    let end = End::LaunchFailed("the agent crashed before it was started".into());
                    self.agent_step(at, life, Input::Ended { task, end });
                }
            }
        }
        let known: Vec<TaskKey> =
            self.agents[at].machine.processes.iter().filter(|(_, p)| p.is_live()).map(|(key, _)| key.clone()).collect();
        for task in known {
            let Some(node) = self.agents[at].alive(life) else { return };
            let journaled = node.core.journal().live_tasks().any(|live| *live == task);
            self.checks.require(journaled, || format!("a{}: {task} runs and the journal does not know", at + 1));
        }
    }

    pub(crate) fn crash_agent(&mut self, at: usize) {
        let Some(node) = self.agents[at].life.take() else { return };
        self.counts.crashes += 1;
        self.say(format_args!("a{} crashes", at + 1));
        if node.gate.is_idle() {
            let same = replay(&self.agents[at].durable) == *node.core.journal();
            self.checks.require(same, || format!("a{}: the journal does not lead to the state that it is of", at + 1));
        }
        if let Some((_, mut records)) = node.in_flight.filter(|_| !self.agents[at].disk_fails) {
            // The tail may be torn anywhere.
            records.truncate(self.store_dice.count(0, records.len()));
            self.agents[at].durable.extend(records);
        }
        if let Some(conn) = node.conn {
            self.hang_up(conn);
        }
    }

    /// The machine is started anew: every process is gone.
    pub(crate) fn reboot(&mut self, at: usize) {
        self.crash_agent(at);
        self.say(format_args!("a{} reboots", at + 1));
        let node = &mut self.agents[at];
        node.boot += 1;
        for (key, process) in node.machine.processes.iter_mut().filter(|(_, process)| process.is_live()) {
            process.phase = Phase::Ended(End::Rebooted);
            self.checks.died(key);
        }
    }

    pub(crate) fn agent_dials(&mut self, at: usize, life: Life) {
        let dialer = Dialer::Agent(at);
        let Some(node) = self.agents[at].alive(life).filter(|node| node.conn.is_none()) else { return };
        node.dials = (node.dials + 1).min(6);
        let wait = Duration::from_millis(100 << node.dials);
        let master = self.reachable_master();
        let conn = master.and_then(|master| self.network.dial(self.now, dialer, life, master));
        let Some(conn) = conn else { return self.after(wait, Event::Dial(dialer, life)) };
        self.say(format_args!("{dialer} dials #{conn}"));
        self.agents[at].alive(life).expect("it dialled just now").conn = Some(conn);
        self.agent_step(at, life, Input::Connected);
    }

    /// The leader; now and then an older master that still runs.
    pub(crate) fn reachable_master(&mut self) -> Option<Life> {
        let old = self.masters.keys().next().copied().filter(|_| self.network.dice.chance(200));
        old.or(self.leader)
    }

    pub(crate) fn agent_disconnected(&mut self, at: usize, life: Life, conn: ConnId) {
        let wait = Duration::from_millis(self.network.dice.between(0, 2_000));
        let Some(node) = self.agents[at].alive(life).filter(|node| node.conn == Some(conn)) else { return };
        node.conn = None;
        self.agent_step(at, life, Input::Disconnected);
        self.after(wait, Event::Dial(Dialer::Agent(at), life));
    }

    pub(crate) fn agent_hears(&mut self, at: usize, life: Life, term: Term, message: ToAgent) {
        if let Some(node) = self.agents[at].alive(life) {
            node.dials = 0;
            // What is due anyway is done before, so that all that the next step does is done because of the message.
            self.agent_step(at, life, Input::Tick);
            self.agent_step(at, life, Input::FromMaster { term, message });
        }
    }

    pub(crate) fn agent_discovers(&mut self, at: usize, life: Life) {
        let devices = self.agents[at].machine.discover(&self.agents[at].plan.devices);
        self.agent_step(at, life, Input::Discovered { source: "fake".into(), devices });
    }

    /// A device's source changes its mind, so many times more.
    pub(crate) fn device_flaps(&mut self, at: usize, device: &DeviceId, times: u32) {
        if self.healed.is_some() {
            return self.device_works(at, device);
        }
        let machine = &mut self.agents[at].machine;
        if !machine.sick.remove(device) {
            machine.sick.insert(device.clone());
        }
        if let Some(life) = self.agents[at].life.as_ref().map(|node| node.life) {
            self.agent_discovers(at, life);
        }
        if times > 0 {
            let pause = self.fault_dice.span((Duration::from_millis(100), Duration::from_secs(90)));
            self.after(pause, Event::DeviceFlaps(at, device.clone(), times - 1));
        }
    }

    pub(crate) fn device_works(&mut self, at: usize, device: &DeviceId) {
        let machine = &mut self.agents[at].machine;
        machine.sick.remove(device);
        machine.missing.remove(device);
        if let Some(life) = self.agents[at].life.as_ref().map(|node| node.life) {
            self.agent_discovers(at, life);
        }
    }

    pub(crate) fn agent_ticks(&mut self, at: usize, life: Life) {
        let now = self.now;
        let Some(node) = self.agents[at].alive(life) else { return };
        if node.tick.is_some_and(|tick| tick <= now) {
            node.tick = None;
            self.agent_step(at, life, Input::Tick);
        }
    }

    fn agent_step(&mut self, at: usize, life: Life, input: Input) {
        let now = self.now;
        let Some(node) = self.agents[at].alive(life) else { return };
        let mut out = Out::new();
        let told = node.watch.hear(&node.core, &input);
        node.core.step(local(now, node.epoch), input, &mut out);
        node.core.check_invariants();
        if let Err(broken) = node.watch.judge(&told, &out) {
            self.checks.fail(format!("a{}: {broken}", at + 1));
        }
        self.counts.steps += 1;
        let commit = self.commit_time();
        let Some(node) = self.agents[at].alive(life) else { return };
        let mut released = Vec::new();
        node.gate.push(out, &mut released);
        let begins = node.in_flight.is_none();
        if begins {
            node.in_flight = node.gate.take_batch();
        }
        let records = node.in_flight.as_ref().map_or(0, |(_, records)| records.len());
        if begins && records > 0 {
            self.after(commit, Event::Commit(Node::Agent(at), life));
            self.tear(Node::Agent(at), life, records, commit);
        }
        self.agent_does(at, life, released);
        self.wake_agent(at);
    }

    fn wake_agent(&mut self, at: usize) {
        let Some(node) = &self.agents[at].life else { return };
        let (life, set) = (node.life, node.tick);
        let deadline = node.core.next_deadline().map(|deadline| global(deadline, node.epoch));
        let tick = self.wake(Node::Agent(at), life, deadline, set);
        if let Some(node) = self.agents[at].alive(life) {
            node.tick = tick;
        }
    }

    pub(crate) fn agent_commits(&mut self, at: usize, life: Life) {
        let (commit, fails) = (self.commit_time(), self.agents[at].disk_fails);
        let Some(node) = self.agents[at].alive(life) else { return };
        if fails {
            // The shell says so, and tries again.
            let first = !std::mem::replace(&mut node.degraded, true);
            self.after(Duration::from_secs(1), Event::Commit(Node::Agent(at), life));
            if first {
                self.say(format_args!("a{} can't write its journal", at + 1));
                self.agent_step(at, life, Input::Journal { degraded: true });
            }
            return;
        }
        let Some((batch, records)) = node.in_flight.take() else { return };
        let works_again = std::mem::replace(&mut node.degraded, false);
        let mut released = Vec::new();
        node.gate.durable(batch, &mut released);
        node.in_flight = node.gate.take_batch();
        let more = node.in_flight.is_some();
        self.agents[at].durable.extend(records);
        if more {
            self.after(commit, Event::Commit(Node::Agent(at), life));
        }
        self.agent_does(at, life, released);
        if works_again {
            self.say(format_args!("a{} can write its journal again", at + 1));
            self.agent_step(at, life, Input::Journal { degraded: false });
        }
    }

    fn agent_does(&mut self, at: usize, life: Life, effects: Vec<Effect>) {
        for effect in effects {
            let Some(node) = self.agents[at].alive(life) else { return };
            match effect {
                Effect::ToMaster(message) => {
                    if let Some(conn) = node.conn {
                        self.send(conn, Way::Up, Message::FromAgent(message));
                    }
                }
                Effect::Start { launch, devices } => {
                    let shown = |id: &TaskId| devices.get(id).map_or(0, Vec::len);
                    for task in &launch.group.tasks {
                        let (asked, shown) = (task.resources.device_shares().count(), shown(&task.id));
                        self.checks.require(asked == shown, || {
                            format!("{} asks for {asked} devices and is shown {shown}", task.id)
                        });
                    }
                    self.start_group(at, &launch);
                }
                Effect::Kill { task, grace } => self.kill_process(at, &task, grace),
                Effect::Release { device, generation, slice } => {
                    self.release_device(at, life, &device.id, generation, slice);
                }
                Effect::MakeVolume { .. } => {}
                Effect::DestroyVolume(volume) => {
                    self.agent_step(at, life, Input::VolumeDestroyed { volume, result: Ok(()) });
                }
                Effect::Forget { task } => self.forget_group(at, &task),
                Effect::Shutdown(reject) => return self.shut_agent_down(at, &reject),
                Effect::Notice(text) => self.say(format_args!("a{}: {text}", at + 1)),
            }
        }
    }

    fn start_group(&mut self, at: usize, launch: &Launch) {
        self.say(format_args!("a{} starts {}", at + 1, Short(launch)));
        let leader = TaskKey::new(launch.framework, launch.group.leader().clone());
        for task in &launch.group.tasks {
            let key = TaskKey::new(launch.framework, task.id.clone());
            let devices: Vec<(DeviceId, u16)> =
                task.resources.device_shares().map(|(id, share)| (id.clone(), share.0)).collect();
            self.counts.processes += 1;
            self.checks.started(&key);
            let machine = &mut self.agents[at].machine;
            for (device, share) in &devices {
                let (taken, holders) = machine.taken(device);
                self.checks.require(taken + u32::from(*share) <= 1000, || {
                    format!(
                        "I1: {key} gets {share} thousandths of {device} of a{}, which {holders:?} hold or left dirty",
                        at + 1
                    )
                });
                machine.dirty.insert((device.clone(), key.clone()), *share);
            }
            let behaviour = Behaviour::read(&task.body).expect("every task of a simulation says what it does");
            let (run, exit) = (behaviour.run, behaviour.exit);
            let process = Process { leader: leader.clone(), phase: Phase::Starting, killed: false, devices, run, exit };
            machine.processes.insert(key, process);
        }
        let (delay, boot) = (self.machine_dice.duration(self.plan.start), self.agents[at].boot);
        self.after(delay, Event::Begin(at, boot, leader));
    }

    pub(crate) fn group_begins(&mut self, at: usize, boot: u32, leader: &TaskKey) {
        if self.agents[at].boot != boot {
            return;
        }
        let fails = self.machine_dice.chance(self.plan.launch_fails) && self.healed.is_none();
        for task in self.agents[at].machine.live_members(leader) {
            let process = self.agents[at].machine.processes.get_mut(&task).expect("it was listed just now");
            if !process.is_live() {
                // It went with another of its group just now.
                continue;
            }
            if fails {
                self.process_ends(at, &task, End::LaunchFailed("no room for a sandbox".into()));
            } else if process.killed {
                self.process_ends(at, &task, End::Killed(None));
            } else {
                process.phase = Phase::Running;
                self.checks.ran(&task);
                let process = self.agents[at].machine.processes.get(&task).expect("it was found just now");
                if let Some(run) = process.run {
                    self.after(run, Event::Exit(at, boot, task.clone()));
                }
                self.tell_agent(at, Input::Running { task });
            }
        }
    }

    pub(crate) fn process_exits(&mut self, at: usize, boot: u32, task: &TaskKey) {
        let process = self.agents[at].machine.processes.get(task).filter(|process| process.phase == Phase::Running);
        if let Some(process) = process.filter(|_| self.agents[at].boot == boot) {
            let exit = Exit::Code(i32::from(process.exit));
            self.process_ends(at, task, End::Exited(exit));
        }
    }

    pub(crate) fn process_dies(&mut self, at: usize, boot: u32, task: &TaskKey) {
        let process = self.agents[at].machine.processes.get(task).filter(|process| process.is_live());
        if process.is_some_and(|process| process.phase == Phase::Running) && self.agents[at].boot == boot {
            self.process_ends(at, task, End::Killed(Some(Exit::Signal(15))));
        }
    }

    fn kill_process(&mut self, at: usize, task: &TaskKey, grace: Duration) {
        let delay = self.machine_dice.duration((Duration::ZERO, grace));
        let node = &mut self.agents[at];
        let Some(process) = node.machine.processes.get_mut(task).filter(|process| process.is_live()) else { return };
        if !std::mem::replace(&mut process.killed, true) {
            let boot = node.boot;
            self.say(format_args!("a{} kills {task}", at + 1));
            self.checks.killed(task);
            self.after(delay, Event::Die(at, boot, task.clone()));
        }
    }

    /// A process is gone; the others of its group follow, unless it ended well.
    fn process_ends(&mut self, at: usize, task: &TaskKey, end: End) {
        let process = self.agents[at].machine.processes.get_mut(task).expect("only known processes end");
        process.phase = Phase::Ended(end.clone());
        let leader = process.leader.clone();
        self.say(format_args!("a{} {task} ends: {end:?}", at + 1));
        self.checks.died(task);
        let well = end == End::Exited(Exit::Code(0));
        let others = if well { Vec::new() } else { self.agents[at].machine.live_members(&leader) };
        self.tell_agent(at, Input::Ended { task: task.clone(), end });
        if let Some(other) = others.first() {
            self.process_ends(at, other, End::GroupEnded);
        }
    }

    fn tell_agent(&mut self, at: usize, input: Input) {
        if let Some(life) = self.agents[at].life.as_ref().map(|node| node.life) {
            self.agent_step(at, life, input);
        }
    }

    fn release_device(&mut self, at: usize, life: Life, device: &DeviceId, generation: u64, slice: Option<TaskKey>) {
        let holder = self.agents[at].machine.holder(device, slice.as_ref());
        self.checks.require(holder.is_none(), || {
            format!("I1: {device} of a{} is to be cleaned while {holder:?} holds it", at + 1)
        });
        let delay = self.machine_dice.duration(self.plan.release);
        self.after(delay, Event::Released(at, life, device.clone(), generation, slice));
    }

    pub(crate) fn device_released(
        &mut self,
        at: usize,
        life: Life,
        device: &DeviceId,
        generation: u64,
        slice: Option<&TaskKey>,
    ) {
        let fails = self.machine_dice.chance(self.plan.release_fails) && self.healed.is_none();
        if self.agents[at].alive(life).is_none() {
            return;
        }
        if !fails {
            self.agents[at].machine.clean(device, slice);
        }
        let result = if fails { Err("the release step failed".into()) } else { Ok(()) };
        self.say(format_args!("a{} cleaned {device}#{generation}: {result:?}", at + 1));
        self.agent_step(at, life, Input::Released { device: device.clone(), generation, result });
    }

    fn forget_group(&mut self, at: usize, leader: &TaskKey) {
        let live = self.agents[at].machine.live_members(leader);
        self.checks.require(live.is_empty(), || format!("a{} forgets {leader} while {live:?} live", at + 1));
        self.agents[at].machine.processes.retain(|_, process| process.leader != *leader);
    }

    /// The master does not want this agent: its tasks end, and its work folder is made anew.
    fn shut_agent_down(&mut self, at: usize, reject: &Reject) {
        self.say(format_args!("a{} shuts down: {reject}", at + 1));
        let Some(node) = self.agents[at].life.take() else { return };
        let is_gone = node.core.journal().agent().is_some_and(|agent| self.checks.gone.contains(&agent));
        self.checks
            .require(is_gone, || format!("I7: a{} is told to shut down and was not declared gone: {reject}", at + 1));
        if let Some(conn) = node.conn {
            self.hang_up(conn);
        }
        let node = &mut self.agents[at];
        for (key, process) in node.machine.processes.iter().filter(|(_, process)| process.is_live()) {
            let _ = process;
            self.checks.died(key);
        }
        node.machine = Machine::default();
        node.durable.clear();
        node.boot += 1;
        self.after(Duration::from_secs(3), Event::Start(Node::Agent(at)));
    }

    /// What keeps this agent from rest; none if nothing does.
    pub(crate) fn agent_unrest(&self, at: usize) -> Option<String> {
        let name = format!("a{}", at + 1);
        let Some(node) = &self.agents[at].life else { return Some(format!("{name} is down")) };
        if !node.gate.is_idle() {
            return Some(format!("{name} writes"));
        }
        if let Some(launch) = node.core.journal().launches().next() {
            return Some(format!("{name} still has {}", Short(&launch)));
        }
        None
    }
}
