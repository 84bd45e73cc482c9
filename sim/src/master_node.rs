//! A virtual master process: the core, its gate, and a store that is slow and loses what it has not acknowledged.

use std::time::Duration;

use rialto_core::gate::{BatchId, Gate};
use rialto_core::master::registry::{Admission, AgentRecord, Record};
use rialto_core::master::view::View;
use rialto_core::master::{Command, Config, Effect, Input, Master, Outbox, Reply};
use rialto_core::model::{
    Call, Event as ToFramework, FromAgent, PeerId, Principal, Reason, Reject, RequestId, TaskKey, Time, ToAgent,
    WallTime,
};

use crate::master_duties::MasterWatch;
use crate::network::{ConnId, Dialer, Life, Message, Way};
use crate::offers::{OfferWatch, judge_devices};
use crate::world::{Event, Node, World};

/// The wall time at the beginning of the world.
pub(crate) const WALL: i64 = 1_700_000_000_000_000;

/// One master process.
#[derive(Debug)]
pub(crate) struct MasterNode {
    pub(crate) core: Master,
    pub(crate) gate: Gate<Record, Effect>,
    in_flight: Option<(BatchId, Vec<Record>)>,
    /// What applying every change has led to.
    pub(crate) view: View,
    /// What it has offered, and to whom it may not.
    watch: OfferWatch,
    /// What it owes to whom.
    duties: MasterWatch,
    epoch: Time,
    /// What its clock said when it began to count time.
    origin: WallTime,
    tick: Option<Time>,
    steps: u64,
}

impl MasterNode {
    /// What its clock says.
    fn wall(&self, now: Time) -> WallTime {
        WallTime(self.origin.0.saturating_add_unsigned(local(now, self.epoch).0))
    }
}

impl World {
    /// A new leader: from now on the registry takes its writes only.
    pub(crate) fn start_master(&mut self) {
        if self.leader.is_some_and(|life| self.fence == life && self.masters.contains_key(&life))
            && self.healed.is_some()
        {
            return;
        }
        if let Some(old) = self.leader {
            let lease = self.fault_dice.duration((Duration::ZERO, Duration::from_secs(60)));
            self.after(lease, Event::Retire(old));
        }
        let life = self.new_life();
        self.fence = life;
        let skew = self.fault_dice.between(0, 7_200_000_000).cast_signed() - 3_600_000_000;
        let origin = WallTime(WALL + self.now.0.cast_signed() + skew);
        let config = Config {
            origin,
            seed: self.store_dice.next(),
            agent_timeout: self.plan.agent_timeout,
            recovery_timeout: self.plan.recovery_timeout,
            offer_timeout: self.plan.offer_timeout,
            domain: self.plan.domain(),
            offer_fanout: self.plan.offer_fanout,
            allocation_delay: self.plan.allocation_delay,
            offer_growth_delay: self.plan.offer_growth_delay,
            history_max: self.plan.completed_max,
            completed_ids_max: self.plan.completed_max,
            ..Config::default()
        };
        // Each process counts time from an epoch of its own.
        let epoch = Time(self.now.0.saturating_sub(self.fault_dice.between(0, 1_000_000)));
        let mut out = Outbox::new();
        let core = Master::recover(local(self.now, epoch), config, self.registry.clone(), &mut out);
        self.say(format_args!("M{life} starts in term {}", core.term().0));
        let (gate, view) = (Gate::default(), View::default());
        self.masters.insert(
            life,
            MasterNode {
                core,
                gate,
                in_flight: None,
                view,
                watch: OfferWatch::default(),
                duties: MasterWatch::default(),
                epoch,
                origin,
                tick: None,
                steps: 0,
            },
        );
        self.leader = Some(life);
        self.master_yields(life, out);
    }

    pub(crate) fn crash_master(&mut self, life: Life) {
        let Some(node) = self.masters.remove(&life) else { return };
        self.counts.crashes += 1;
        self.say(format_args!("M{life} crashes"));
        let wall = node.wall(self.now);
        if let Some((_, records)) = node.in_flight
            && self.fence == life
            && self.store_dice.chance(500)
        {
            self.write(wall, records);
        }
        if self.leader == Some(life) {
            self.leader = None;
        }
        self.drop_master_ends(life);
    }

    /// What a master's process had open is closed by its kernel, or its machine falls silent.
    fn drop_master_ends(&mut self, life: Life) {
        let silent = self.fault_dice.chance(300);
        let its: Vec<ConnId> =
            self.network.conns.iter().filter(|(_, conn)| conn.master == life).map(|(id, _)| *id).collect();
        for id in its {
            let wait = if silent { Duration::from_secs(45) } else { Duration::from_secs(2) };
            let delay = self.network.dice.duration((Duration::ZERO, wait));
            let conn = self.network.conns.get_mut(&id).expect("it was listed just now");
            conn.master_open = false;
            self.after(delay, Event::Notice(id, Way::Down));
            self.network.tidy(id);
        }
    }

    pub(crate) fn master_hears_agent(&mut self, life: Life, conn: ConnId, dialer: Dialer, message: FromAgent) {
        let principal = Principal::new(&dialer.to_string());
        self.master_step(life, Input::FromAgent { peer: PeerId(conn), principal, message });
    }

    pub(crate) fn master_hears_framework(&mut self, life: Life, conn: ConnId, dialer: Dialer, call: Call) {
        let principal = Principal::new(&dialer.to_string());
        self.master_step(life, Input::FromFramework { peer: PeerId(conn), principal, call });
    }

    pub(crate) fn master_loses(&mut self, life: Life, conn: ConnId) {
        self.master_step(life, Input::PeerClosed(PeerId(conn)));
    }

    /// An operator's command reaches the leading master, if there is one.
    pub(crate) fn operate(&mut self, command: Command) {
        let Some(life) = self.leader else { return };
        self.say(format_args!("operator -> M{life}: {command:?}"));
        self.counts.faults += 1;
        let request = RequestId(self.counts.faults);
        if let Command::Kill { task, .. } = &command {
            self.checks.kill_requested(request, task.clone());
        }
        self.master_step(life, Input::FromOperator { request, principal: Principal::new("operator"), command });
    }

    pub(crate) fn master_ticks(&mut self, life: Life) {
        let now = self.now;
        let Some(node) = self.masters.get_mut(&life) else { return };
        if node.tick.is_some_and(|tick| tick <= now) {
            node.tick = None;
            self.master_step(life, Input::Tick);
        }
    }

    fn master_step(&mut self, life: Life, input: Input) {
        let now = self.now;
        let Some(node) = self.masters.get_mut(&life) else { return };
        let mut out = Outbox::new();
        node.watch.hear(now, &input);
        let speaker = match &input {
            Input::FromAgent { peer, .. } | Input::FromFramework { peer, .. } => self.network.conns.get(&peer.0),
            _ => None,
        };
        let told = node.duties.hear(&node.core, speaker.map(|conn| conn.dialer_life), &input);
        let registry = (self.fence == life && node.gate.is_idle()).then_some(&self.registry);
        node.core.step(local(now, node.epoch), input, &mut out);
        node.core.check_invariants();
        let judged = node.watch.judge(now, &out).and_then(|()| judge_devices(&node.core, &out));
        let judged = judged.and_then(|()| node.duties.judge(told, &node.core, registry, &self.plan, &out));
        if let Err(broken) = judged {
            self.checks.fail(broken);
        }
        node.steps += 1;
        self.counts.steps += 1;
        self.master_yields(life, out);
    }

    fn master_yields(&mut self, life: Life, out: Outbox) {
        let commit = self.commit_time();
        let Some(node) = self.masters.get_mut(&life) else { return };
        let mut released = Vec::new();
        node.gate.push(out, &mut released);
        let begins = node.in_flight.is_none();
        if begins {
            node.in_flight = node.gate.take_batch();
        }
        let records = node.in_flight.as_ref().map_or(0, |(_, records)| records.len());
        if begins && records > 0 {
            self.after(commit, Event::Commit(Node::Master, life));
            self.tear(Node::Master, life, records, commit);
        }
        self.master_does(life, released);
        self.wake_master(life);
    }

    fn wake_master(&mut self, life: Life) {
        let Some(node) = self.masters.get(&life) else { return };
        let deadline = node.core.next_deadline().map(|at| global(at, node.epoch));
        let set = node.tick;
        let tick = self.wake(Node::Master, life, deadline, set);
        if let Some(node) = self.masters.get_mut(&life) {
            node.tick = tick;
        }
    }

    pub(crate) fn master_commits(&mut self, life: Life) {
        if self.fence != life && self.masters.contains_key(&life) {
            self.say(format_args!("M{life} is fenced"));
            return self.crash_master(life);
        }
        let commit = self.commit_time();
        let Some(node) = self.masters.get_mut(&life) else { return };
        let Some((batch, records)) = node.in_flight.take() else { return };
        let mut released = Vec::new();
        node.gate.durable(batch, &mut released);
        node.in_flight = node.gate.take_batch();
        let (more, wall) = (node.in_flight.is_some(), node.wall(self.now));
        self.write(wall, records);
        if more {
            self.after(commit, Event::Commit(Node::Master, life));
        }
        self.master_does(life, released);
    }

    fn write(&mut self, wall: WallTime, records: Vec<Record>) {
        self.check_gone(wall, &records);
        for record in records {
            if let Record::Term(term) = &record {
                let newer = *term > self.registry.term;
                self.checks
                    .require(newer, || format!("I5: term {} is written after term {}", term.0, self.registry.term.0));
            }
            self.registry.apply(record);
        }
    }

    /// An agent is given up only if an operator said so, or its time has come by the master's clock.
    fn check_gone(&mut self, wall: WallTime, records: &[Record]) {
        let mut leaving = self.registry.leaving.clone();
        for record in records {
            if let Record::Leaving(id, Some(at)) = record {
                leaving.insert(*id, *at);
            }
            let Record::Agent(id, Some(AgentRecord { admission: Admission::Gone, .. })) = record else { continue };
            let announced = leaving.get(id).is_some_and(|at| *at <= wall);
            let is_new = self.checks.gone.insert(*id);
            self.happened.extend((is_new && announced).then_some("announced agent taken away"));
            self.checks.require(!is_new || announced, || format!("I7: {id} is given up, and nobody asked for it"));
        }
    }

    fn master_does(&mut self, life: Life, effects: Vec<Effect>) {
        let Some(node) = self.masters.get(&life) else { return };
        let term = node.core.term();
        for effect in effects {
            match effect {
                Effect::ToAgent(PeerId(conn), message) => {
                    if let ToAgent::Kill { task, reason, .. } = &message
                        && matches!(reason, Reason::Preempted | Reason::AgentLeaving)
                    {
                        self.counts.preempted += u64::from(*reason == Reason::Preempted);
                        self.checks.kill_asked(task.clone());
                    }
                    self.send(conn, Way::Down, Message::ToAgent(term, message));
                }
                Effect::ToFramework(PeerId(conn), event) => self.send(conn, Way::Down, Message::Event(event)),
                Effect::Close(PeerId(conn), reject) => self.master_closes(conn, reject),
                Effect::Reply(request, reply) => {
                    let promised = self.checks.answered(request, reply.is_ok());
                    self.master_replies(life, reply);
                    if let Some(key) = promised {
                        self.check_promise(life, &key);
                    }
                }
                Effect::Changed(change) => {
                    if let Some(node) = self.masters.get_mut(&life) {
                        node.view.apply(change);
                    }
                }
            }
        }
        self.check_view(life);
    }

    /// The peer is told why; what it had sent until it hears so still arrives.
    fn master_closes(&mut self, conn: ConnId, reject: Reject) {
        self.say(format_args!("#{conn} is closed: {reject}"));
        if let Some(Dialer::Framework(_)) = self.network.conns.get(&conn).map(|conn| conn.dialer) {
            self.send(conn, Way::Down, Message::Event(ToFramework::Error(reject)));
        }
        let delay = self.network.latency();
        self.after(delay, Event::Notice(conn, Way::Up));
    }

    fn master_replies(&mut self, life: Life, reply: Result<Reply, Reject>) {
        match reply {
            Ok(Reply::Why(explanation)) => {
                for wait in &explanation.waits {
                    let causes = wait.causes().map(|(clause, cause)| cause.sentence(clause, wait.agents));
                    let text = causes.collect::<Vec<_>>().join("; ");
                    self.say(format_args!("M{life}: {} of {} waits: {text}", wait.what.shape, wait.what.framework));
                }
            }
            Ok(_) => self.say(format_args!("M{life} -> operator: done")),
            Err(reject) => self.say(format_args!("M{life} -> operator: {reject}")),
        }
    }

    /// A kill that is promised outlives the master that has promised it.
    fn check_promise(&mut self, life: Life, key: &TaskKey) {
        let Some(node) = self.masters.get(&life).filter(|_| self.fence == life) else { return };
        let lives = node.core.view().tasks.get(key).is_some_and(|row| !row.state.is_terminal());
        let is_kept = !lives || self.registry.kills.contains_key(key);
        self.checks.require(is_kept, || format!("the kill of {key} is promised, and the registry does not know"));
    }

    /// The read model equals the core, ended tasks excepted, whenever no change is held back.
    fn check_view(&mut self, life: Life) {
        let Some(node) = self.masters.get(&life) else { return };
        if !node.steps.is_multiple_of(16) || node.gate.waiting() > 0 {
            return;
        }
        if let Some(difference) = difference(&node.core, &node.view) {
            self.checks.fail(format!("the view of M{life} is not what its core is: {difference}"));
        }
    }
}

/// Where the view that was built from changes is not the core's.
pub(crate) fn difference(core: &Master, built: &View) -> Option<String> {
    let true_view = core.view();
    if true_view.agents != built.agents {
        return Some(format!("agents {:?} and {:?}", true_view.agents, built.agents));
    }
    if true_view.frameworks != built.frameworks {
        return Some(format!("frameworks {:?} and {:?}", true_view.frameworks, built.frameworks));
    }
    if true_view.offers != built.offers {
        return Some(format!("offers {:?} and {:?}", true_view.offers, built.offers));
    }
    if true_view.devices != built.devices {
        return Some(format!("devices {:?} and {:?}", true_view.devices, built.devices));
    }
    if true_view.roles != built.roles {
        return Some(format!("roles {:?} and {:?}", true_view.roles, built.roles));
    }
    let wrong = true_view.tasks.iter().find(|(key, row)| built.tasks.get(key) != Some(row));
    if let Some((key, row)) = wrong {
        return Some(format!("{key}: {row:?} and {:?}", built.tasks.get(key)));
    }
    let extra = built.tasks.iter().find(|(key, row)| !true_view.tasks.contains_key(key) && !row.state.is_terminal());
    extra.map(|(key, row)| format!("{key} is gone and still shown as {}", row.state))
}

/// A process's own time.
pub(crate) fn local(now: Time, epoch: Time) -> Time {
    Time(now.0 - epoch.0)
}

/// The world's time.
pub(crate) fn global(at: Time, epoch: Time) -> Time {
    Time(at.0.saturating_add(epoch.0))
}
