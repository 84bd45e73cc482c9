//! A virtual framework process: the driver around a policy, its gate, and a store for what it saves.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rialto_core::gate::{BatchId, Gate, Output};
use rialto_core::model::{
    Call, Capability, ClientId, Event as FromMaster, FrameworkInfo, Operation, TaskId, TaskKey, Time,
};
use rialto_core::scheduler::{Driver, DriverConfig, DriverEffect, DriverInput, DriverRecord, Durability};

use crate::master_node::{global, local};
use crate::network::{ConnId, Dialer, Life, Message, Way};
use crate::plan::FrameworkPlan;
use crate::workload::{Order, Player, Seen};
use crate::world::{Event, Node, World};

/// A framework, in all its lives.
#[derive(Debug)]
pub(crate) struct FrameworkNode {
    pub(crate) plan: Arc<FrameworkPlan>,
    pub(crate) life: Option<FrameworkLife>,
    /// It ended for good, or nobody starts it any more.
    pub(crate) over: bool,
    saved: BTreeMap<String, Vec<u8>>,
    /// Orders that came while it was down.
    orders: Vec<Order>,
}

/// One framework process.
#[derive(Debug)]
pub(crate) struct FrameworkLife {
    pub(crate) life: Life,
    pub(crate) driver: Driver<Player>,
    gate: Gate<DriverRecord, DriverEffect<()>>,
    in_flight: Option<(BatchId, Vec<DriverRecord>)>,
    /// How many batches were handed to the store.
    batches: u64,
    /// What the policy was told and is not durable yet, with the batch that makes it so.
    unsure: VecDeque<(u64, Seen)>,
    pub(crate) conn: Option<ConnId>,
    /// How many connections the driver was told of.
    connections: u64,
    epoch: Time,
    tick: Option<Time>,
    dials: u32,
}

impl FrameworkNode {
    pub(crate) fn new(plan: FrameworkPlan) -> Self {
        Self { plan: Arc::new(plan), life: None, over: false, saved: BTreeMap::new(), orders: Vec::new() }
    }

    fn alive(&mut self, life: Life) -> Option<&mut FrameworkLife> {
        self.life.as_mut().filter(|node| node.life == life)
    }

    fn save(&mut self, records: Vec<DriverRecord>) {
        for DriverRecord::Save { key, value } in records {
            match value {
                Some(value) => drop(self.saved.insert(key, value)),
                None => drop(self.saved.remove(&key)),
            }
        }
    }
}

impl FrameworkLife {
    /// The task whose update `call` acknowledges, if a crash would undo that the policy knows of it.
    fn acknowledges_too_soon(&self, call: &Call) -> Option<TaskId> {
        let Call::Acknowledge { uuid, task, .. } = call else { return None };
        let is_it = |seen: &Seen| matches!(seen, Seen::Update(status) if status.uuid == Some(*uuid));
        self.unsure.iter().any(|(_, seen)| is_it(seen)).then(|| task.clone())
    }
}

impl World {
    pub(crate) fn start_framework(&mut self, at: usize) {
        if self.frameworks[at].life.is_some() || self.frameworks[at].over {
            return;
        }
        let life = self.new_life();
        let client = ClientId(self.fault_dice.wide());
        let epoch = Time(self.now.0.saturating_sub(self.fault_dice.between(0, 1_000_000)));
        let node = &mut self.frameworks[at];
        let config = DriverConfig { info: info(at, &node.plan), client, durability: Durability::Saved };
        let player = Player::new(node.plan.clone(), &node.saved);
        let driver = match Driver::new(config, player, &node.saved) {
            Ok(driver) => driver,
            Err(error) => return self.checks.fail(format!("f{}: what it saved does not read: {error}", at + 1)),
        };
        node.life = Some(FrameworkLife {
            life,
            driver,
            gate: Gate::default(),
            in_flight: None,
            batches: 0,
            unsure: VecDeque::new(),
            conn: None,
            connections: 0,
            epoch,
            tick: None,
            dials: 0,
        });
        let orders = std::mem::take(&mut node.orders);
        self.say(format_args!("f{} starts", at + 1));
        let delay = Duration::from_millis(self.fault_dice.between(0, 1_000));
        self.after(delay, Event::Dial(Dialer::Framework(at), life));
        for order in orders {
            self.order(at, order);
        }
        self.wake_framework(at);
    }

    pub(crate) fn crash_framework(&mut self, at: usize) {
        let Some(mut node) = self.frameworks[at].life.take() else { return };
        self.counts.crashes += 1;
        self.say(format_args!("f{} crashes", at + 1));
        let mut durable = node.batches.saturating_sub(u64::from(node.in_flight.is_some()));
        if let Some((_, records)) = node.in_flight.take()
            && self.store_dice.chance(500)
        {
            self.frameworks[at].save(records);
            durable += 1;
        }
        self.know(&mut node, durable);
        if let Some(conn) = node.conn {
            self.hang_up(conn);
        }
    }

    /// Everything that the batches before `durable` hold is known for good.
    fn know(&mut self, node: &mut FrameworkLife, durable: u64) {
        let Some(framework) = node.driver.framework() else { return };
        while node.unsure.front().is_some_and(|(batch, _)| *batch < durable) {
            let (_, seen) = node.unsure.pop_front().expect("it was seen just now");
            self.checks.knows(framework, &seen);
        }
    }

    pub(crate) fn order(&mut self, at: usize, order: Order) {
        let Some(life) = self.frameworks[at].life.as_ref().map(|node| node.life) else {
            if !self.frameworks[at].over {
                self.frameworks[at].orders.push(order);
            }
            return;
        };
        self.say(format_args!("user -> f{}: {order:?}", at + 1));
        self.framework_step(at, life, DriverInput::Command(order));
    }

    pub(crate) fn framework_dials(&mut self, at: usize, life: Life) {
        let dialer = Dialer::Framework(at);
        if self.frameworks[at].over {
            return;
        }
        let Some(node) = self.frameworks[at].alive(life).filter(|node| node.conn.is_none()) else { return };
        node.dials = (node.dials + 1).min(6);
        let wait = Duration::from_millis(100 << node.dials);
        let master = self.reachable_master();
        let conn = master.and_then(|master| self.network.dial(self.now, dialer, life, master));
        let Some(conn) = conn else { return self.after(wait, Event::Dial(dialer, life)) };
        self.say(format_args!("{dialer} dials #{conn}"));
        let node = self.frameworks[at].alive(life).expect("it dialled just now");
        node.conn = Some(conn);
        node.connections += 1;
        self.framework_step(at, life, DriverInput::Connected);
    }

    pub(crate) fn framework_disconnected(&mut self, at: usize, life: Life, conn: ConnId) {
        let wait = Duration::from_millis(self.network.dice.between(0, 2_000));
        let Some(node) = self.frameworks[at].alive(life).filter(|node| node.conn == Some(conn)) else { return };
        node.conn = None;
        self.framework_step(at, life, DriverInput::Disconnected);
        self.after(wait, Event::Dial(Dialer::Framework(at), life));
    }

    pub(crate) fn framework_hears(&mut self, at: usize, life: Life, event: FromMaster) {
        if let Some(node) = self.frameworks[at].alive(life) {
            node.dials = 0;
            self.framework_step(at, life, DriverInput::FromMaster(event));
        }
    }

    pub(crate) fn framework_ticks(&mut self, at: usize, life: Life) {
        let now = self.now;
        let Some(node) = self.frameworks[at].alive(life) else { return };
        if node.tick.is_some_and(|tick| tick <= now) {
            node.tick = None;
            self.framework_step(at, life, DriverInput::Tick);
        }
    }

    fn framework_step(&mut self, at: usize, life: Life, input: DriverInput<Order>) {
        let now = self.now;
        let commit = self.commit_time();
        let Some(node) = self.frameworks[at].alive(life) else { return };
        let mut out = Vec::new();
        node.driver.step(local(now, node.epoch), input, &mut out);
        node.driver.check_invariants();
        self.counts.steps += 1;
        let orphans = node.driver.stats().orphans;
        self.checks.require(orphans == 0, || format!("I7: f{} kills a task of its own that it does not know", at + 1));
        let seen = std::mem::take(&mut node.driver.policy_mut().seen);
        let framework = node.driver.framework();
        let saves = out.iter().any(|output| matches!(output, Output::Persist(_)));
        for seen in &seen {
            let framework = framework.expect("a policy is told only what a master has said");
            self.checks.told(framework, seen);
            // What nothing was saved of may be said again in the next life.
            if saves {
                node.unsure.push_back((node.batches, seen.clone()));
            }
        }
        let mut released = Vec::new();
        node.gate.push(out, &mut released);
        let begins = node.in_flight.is_none();
        if begins {
            node.in_flight = node.gate.take_batch();
        }
        let records = node.in_flight.as_ref().map_or(0, |(_, records)| records.len());
        if begins && records > 0 {
            node.batches += 1;
            self.after(commit, Event::Commit(Node::Framework(at), life));
            self.tear(Node::Framework(at), life, records, commit);
        }
        for seen in &seen {
            self.say(format_args!("f{} policy: {}", at + 1, describe(seen)));
        }
        self.framework_does(at, life, released);
        self.wake_framework(at);
    }

    fn wake_framework(&mut self, at: usize) {
        let Some(node) = &self.frameworks[at].life else { return };
        let (life, set) = (node.life, node.tick);
        let deadline = node.driver.next_deadline().map(|deadline| global(deadline, node.epoch));
        let tick = self.wake(Node::Framework(at), life, deadline, set);
        if let Some(node) = self.frameworks[at].alive(life) {
            node.tick = tick;
        }
    }

    pub(crate) fn framework_commits(&mut self, at: usize, life: Life) {
        let commit = self.commit_time();
        let Some(mut node) = self.frameworks[at].life.take_if(|node| node.life == life) else { return };
        let Some((batch, records)) = node.in_flight.take() else { return };
        let mut released = Vec::new();
        node.gate.durable(batch, &mut released);
        let durable = node.batches;
        self.know(&mut node, durable);
        node.in_flight = node.gate.take_batch();
        if node.in_flight.is_some() {
            node.batches += 1;
            self.after(commit, Event::Commit(Node::Framework(at), life));
        }
        self.frameworks[at].save(records);
        self.frameworks[at].life = Some(node);
        self.framework_does(at, life, released);
    }

    fn framework_does(&mut self, at: usize, life: Life, effects: Vec<DriverEffect<()>>) {
        for effect in effects {
            let Some(node) = self.frameworks[at].alive(life) else { return };
            match effect {
                DriverEffect::ToMaster { connection, call } => {
                    let conn = node.conn.filter(|_| connection == node.connections);
                    let framework = node.driver.framework();
                    if let Some(task) = node.acknowledges_too_soon(&call) {
                        self.checks.fail(format!("I4: f{} acknowledges an update of {task} that is not saved", at + 1));
                    }
                    if let Some(framework) = framework {
                        self.note_call(framework, &call);
                    }
                    if let Some(conn) = conn {
                        if self.frameworks[at].plan.buggy {
                            self.babble(framework, conn, &call);
                        }
                        self.send(conn, Way::Up, Message::Call(call));
                    }
                }
                DriverEffect::App(()) => {}
                DriverEffect::Ended(ending) => {
                    let removed =
                        node.driver.framework().is_some_and(|framework| self.checks.removed.contains(&framework));
                    self.say(format_args!("f{} ends: {ending:?}", at + 1));
                    self.checks.require(removed, || format!("f{} ends, and nobody has removed it: {ending:?}", at + 1));
                    let node = self.frameworks[at].life.take().expect("it was found above");
                    self.frameworks[at].over = true;
                    if let Some(conn) = node.conn {
                        self.hang_up(conn);
                    }
                }
            }
        }
    }

    /// What a framework has asked for, the checkers expect.
    fn note_call(&mut self, framework: rialto_core::model::FrameworkId, call: &Call) {
        match call {
            Call::Accept(accept) => {
                for operation in &accept.operations {
                    let Operation::Launch(group) = operation else { continue };
                    for task in &group.tasks {
                        self.checks.launched(TaskKey::new(framework, task.id.clone()), accept.agent);
                    }
                }
            }
            Call::AcceptGang(gang) => {
                let key = |task: &rialto_core::model::Task| TaskKey::new(framework, task.id.clone());
                let members: Vec<TaskKey> = gang.tasks().map(|(_, task)| key(task)).collect();
                gang.tasks().for_each(|(agent, task)| self.checks.launched(key(task), agent));
                self.checks.gangs.entry((framework, gang.id)).or_insert(members);
            }
            Call::Kill { task, .. } => self.checks.kill_asked(TaskKey::new(framework, task.clone())),
            _ => {}
        }
    }

    /// What keeps this framework from rest; none if nothing does.
    pub(crate) fn framework_unrest(&self, at: usize) -> Option<String> {
        let name = format!("f{}", at + 1);
        if self.frameworks[at].over {
            return None;
        }
        let Some(node) = &self.frameworks[at].life else { return Some(format!("{name} is down")) };
        if !node.gate.is_idle() {
            return Some(format!("{name} writes"));
        }
        if !node.driver.is_subscribed() {
            return Some(format!("{name} is not subscribed"));
        }
        let no_device_left = self.no_device_left();
        if !node.driver.policy().is_done(|job| no_device_left && !job.claims.is_empty()) {
            return Some(format!("{name} is not done: {}", node.driver.policy().describe()));
        }
        if let Some((task, agent, state)) = node.driver.tasks().next() {
            return Some(format!("{name} still has {task} on {agent}, {state}"));
        }
        if node.driver.unanswered() > 0 {
            return Some(format!("{name} waits for answers"));
        }
        let leader = self.leader.and_then(|life| self.masters.get(&life))?;
        let stale = node.driver.offers().find(|offer| !leader.view.offers.contains_key(&offer.id))?;
        Some(format!("{name} has {} of {}, which its master does not know", stale.id, stale.agent))
    }
}

fn describe(seen: &Seen) -> String {
    match seen {
        Seen::Update(status) => format!("{}", crate::trace::Short(status)),
        Seen::Rejected(tasks, reject) => format!("rejected {tasks:?}: {reject}"),
        Seen::Refused(reject) => format!("refused: {reject}"),
    }
}

fn info(at: usize, plan: &FrameworkPlan) -> FrameworkInfo {
    FrameworkInfo {
        name: format!("f{}", at + 1).into(),
        user: "".into(),
        roles: [plan.role.clone()].into(),
        failover_timeout: plan.failover_timeout,
        offer_mode: plan.mode,
        offer_timeout: None,
        url: None,
        labels: BTreeMap::new(),
        // Every other one hears of kills before its tasks have ended.
        capabilities: (at % 2 == 1).then_some(Capability::TaskKilling).into_iter().collect(),
        rules: Arc::new(plan.rules.clone()),
    }
}
