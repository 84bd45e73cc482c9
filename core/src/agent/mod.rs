//! The agent machine: the authority on what runs on one machine.
//!
//! It keeps tasks, their status updates, and devices; the shell around it runs processes, writes the journal and talks to the master.
//!
//! The life of a task here: the master's `Launch` is checked against devices and resources (`tasks`), journaled, and only then does the
//! shell get [`Effect::Start`]. The shell reports [`Input::Running`] and [`Input::Ended`]; each becomes a status update that is journaled,
//! sent, and sent again until the framework has acknowledged it (`updates`). At the end the task's devices are cleaned before anybody else
//! gets them (`devices`). When the group's last update is acknowledged, all that is left of it is its tasks' ends, so that a repeated
//! launch of the same id is answered and not started again.
//!
//! Whatever must survive a crash is in the [`Journal`] and changes by records only.

mod condition;
mod devices;
mod gangs;
mod interface;
mod invariants;
mod journal;
mod operations;
mod tasks;
mod updates;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand_core::Rng;
use rand_pcg::Pcg64;

pub use interface::{Config, Effect, End, Finding, Input, KillCause, Record};
pub use journal::Journal;

use crate::gate::{Outbox, Output};
use crate::model::{
    AgentId, AgentInfo, AgentReport, ClientId, ClusterId, DeviceId, FromAgent, GangId, Reject, Resources, TaskKey,
    TaskReport, Term, Time, ToAgent, UpdateId, WallTime,
};
use crate::planted::{Fault, planted};

/// What a step of an agent yields.
pub type Out = Outbox<Record, Effect>;

/// The agent machine.
#[derive(Debug)]
pub struct Agent {
    config: Config,
    journal: Journal,
    random: Pcg64,
    link: Link,
    /// The connections of this life so far, the present one included.
    connections: u32,
    degraded: bool,
    /// What it is configured with, with the reservations and volumes that operations have made of it.
    total: Resources,
    /// What tasks and gangs hold, devices and shared volumes excepted.
    used: Resources,
    devices: BTreeMap<DeviceId, devices::Slot>,
    /// When which device is looked at again, because its condition is not clear.
    looks: BTreeSet<(Time, DeviceId)>,
    /// Recovered tasks of which the journal lacks the devices: its end was torn off, so their start was never released.
    never_started: Vec<TaskKey>,
    /// What to say and do at the first step: if there is less here than the recovered tasks hold, and to bring volumes in order.
    recovered: Vec<Effect>,
    resends: updates::Resends,
    /// When which finished task is forgotten.
    forgets: BTreeSet<(Time, TaskKey)>,
    /// When which gang's hold ends.
    holds: BTreeMap<GangId, Time>,
    /// Gangs that were started, so that a repeated start is not taken for an expired hold.
    started: BTreeSet<GangId>,
    stats: Stats,
}

/// The connection to the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Down,
    /// Connected, not yet registered; whether something has changed since the report was sent.
    Greeting {
        stale: bool,
    },
    Up,
}

/// Plain counters since the start of this agent, and what it has now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Groups that were accepted.
    pub launched: u64,
    /// Groups that were refused.
    pub refused: u64,
    /// Tasks that ended.
    pub ended: u64,
    /// Status updates that were sent, repetitions included.
    pub updates_sent: u64,
    /// Status updates that were sent again because no acknowledgement came in time.
    pub updates_resent: u64,
    /// Messages of a term that had ended.
    pub old_terms: u64,
}

impl Agent {
    /// The most ended tasks whose ids are remembered; beyond it the one that would be forgotten first is.
    pub const MAX_FINISHED: usize = 100_000;
    /// The most devices.
    pub const MAX_DEVICES: usize = 1024;

    /// The agent as its journal tells. Tasks that had not ended are what they were; the shell says [`Input::Running`] or [`Input::Ended`]
    /// of each. Nothing is known of any device before its source has told.
    pub fn recover(now: Time, config: Config, journal: Journal) -> Self {
        let random = Pcg64::new(u128::from(config.seed), 0xa02_bdbf_7bb3_c0a7);
        let mut agent = Self {
            connections: 0,
            config,
            journal,
            random,
            link: Link::Down,
            degraded: false,
            total: Resources::new(),
            used: Resources::new(),
            devices: BTreeMap::new(),
            looks: BTreeSet::new(),
            never_started: Vec::new(),
            recovered: Vec::new(),
            resends: updates::Resends::default(),
            forgets: BTreeSet::new(),
            holds: BTreeMap::new(),
            started: BTreeSet::new(),
            stats: Stats::default(),
        };
        agent.recover_reservations();
        agent.used = agent.held_resources();
        if !agent.total.contains(&agent.used) {
            let (used, total) = (&agent.used, &agent.total);
            let text = format!("tasks hold {used}, more than there is now: {total}; nothing is started until they fit");
            agent.recovered.push(Effect::Notice(text));
        }
        agent.recover_devices();
        agent.forgets =
            agent.journal.finished.iter().map(|(key, finished)| (now + finished.remember, key.clone())).collect();
        agent.holds = agent.journal.gangs.keys().map(|gang| (*gang, now + ToAgent::HOLD)).collect();
        agent
    }

    /// Fires what is due, then applies `input`. Outputs are pushed onto `out` in order.
    pub fn step(&mut self, now: Time, input: Input, out: &mut Out) {
        self.fire(now, out);
        match input {
            Input::Tick => {}
            Input::Connected => self.connected(out),
            Input::Disconnected => self.disconnected(),
            Input::FromMaster { term, message } => self.hear(now, term, message, out),
            Input::Running { task } => self.running(now, &task, out),
            Input::Ended { task, end } => self.ended(now, &task, end, out),
            Input::Discovered { source, devices } => self.discovered(now, &source, devices, out),
            Input::Released { device, generation, result } => self.released(&device, generation, result, out),
            Input::Health { task, finding } => self.health(now, &task, finding, out),
            Input::VolumeDestroyed { volume, result } => self.volume_destroyed(&volume, result, out),
            Input::EndTasks => self.end_all(out),
            Input::Journal { degraded } => self.journal_degraded(degraded, out),
        }
    }

    /// When [`Input::Tick`] is due, if nothing else comes before. A quiet agent has no deadline.
    pub fn next_deadline(&self) -> Option<Time> {
        let forget = self.forgets.first().map(|(at, _)| *at);
        let hold = self.holds.values().min().copied();
        let look = self.looks.first().map(|(at, _)| *at);
        [self.resends.next(), forget, hold, look].into_iter().flatten().min()
    }

    /// Counters, for metrics.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The durable state.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Records that lead to the present state from nothing: the content of a compacted journal.
    pub fn snapshot(&self) -> Vec<Record> {
        self.journal.snapshot()
    }

    fn fire(&mut self, now: Time, out: &mut Out) {
        out.extend(std::mem::take(&mut self.recovered).into_iter().map(Output::Ungated));
        for task in std::mem::take(&mut self.never_started) {
            let why = "the agent crashed before it was started";
            self.ended(now, &task, End::LaunchFailed(why.into()), out);
        }
        self.resend_due(now, out);
        self.look_at_devices(now, out);
        while self.forgets.first().is_some_and(|(at, _)| *at <= now) {
            let (_, task) = self.forgets.pop_first().expect("there is a first one");
            self.persist(Record::Forgotten { task }, out);
        }
        while let Some(gang) = self.holds.iter().find(|(_, until)| **until <= now).map(|(gang, _)| *gang) {
            self.hold_expired(gang, out);
        }
    }

    fn connected(&mut self, out: &mut Out) {
        self.link = Link::Greeting { stale: false };
        self.connections = self.connections.saturating_add(1);
        self.resends.clear();
        if self.connections == 1 {
            self.persist(Record::Life(self.journal.life.saturating_add(1)), out);
        }
        // Before the first registration was answered, the number by which it is recognised may not be durable yet.
        let is_new = self.journal.identity.is_none();
        if self.journal.client.is_none() {
            let client = ClientId(self.draw());
            self.persist(Record::Client(client), out);
        }
        let greeting = Effect::ToMaster(FromAgent::Register(Box::new(self.report())));
        // While the journal can't be written nothing that waits for it would ever leave. A report then tells of nothing that a crash could
        // undo in the master's eyes: supervisors and their records outlive the agent.
        out.push(if self.degraded && !is_new { Output::Ungated(greeting) } else { Output::Effect(greeting) });
    }

    fn disconnected(&mut self) {
        self.link = Link::Down;
        self.resends.clear();
    }

    fn hear(&mut self, now: Time, term: Term, message: ToAgent, out: &mut Out) {
        if term < self.journal.term && !planted(Fault::AcceptOldTerm) {
            self.stats.old_terms += 1;
            notice(
                format!(
                    "a message of term {} is refused: this agent has heard of term {}",
                    term.0, self.journal.term.0
                ),
                out,
            );
            return;
        }
        if term > self.journal.term {
            self.persist(Record::Term(term), out);
        }
        match message {
            ToAgent::Registered { agent, cluster } => self.registered(now, agent, cluster, out),
            ToAgent::Launch(launch) => self.launch(now, launch, out),
            ToAgent::Kill { task, grace, reason, announce } => {
                self.announce_kill(now, &task, reason, announce, out);
                self.kill(now, &task, grace, KillCause::of(reason), out);
            }
            ToAgent::Acknowledge { task, uuid } => self.acknowledged(now, &task, uuid, out),
            ToAgent::Hold { gang, groups } => self.hold(now, gang, groups, out),
            ToAgent::Start(gang) => self.start_gang(now, gang, out),
            ToAgent::Release(gang) => self.release_gang(gang, out),
            ToAgent::Operate { id, operation } => self.operate(id, &operation, out),
            ToAgent::RemoveFramework(framework) => self.remove_framework(now, framework, out),
            ToAgent::ClearDevice(device) => self.clear_device(&device, out),
            ToAgent::Message { framework, executor, .. } => {
                notice(format!("a message of {framework} is dropped: no executor {executor} runs here"), out);
            }
            ToAgent::Shutdown(reject) => self.shutdown(reject, out),
        }
    }

    fn registered(&mut self, now: Time, agent: AgentId, cluster: ClusterId, out: &mut Out) {
        if self.journal.identity != Some((agent, cluster)) {
            self.persist(Record::Registered { agent, cluster }, out);
        }
        let stale = self.link == Link::Greeting { stale: true };
        self.link = Link::Up;
        self.tell(FromAgent::Confirmed(self.journal.term), out);
        if self.degraded {
            out.push(Output::Ungated(Effect::ToMaster(FromAgent::Journal { degraded: true })));
        }
        // The ends of tasks come before the news that their devices are free.
        self.resend_all(now, out);
        if stale {
            self.tell(FromAgent::Devices(self.device_reports()), out);
        }
    }

    fn journal_degraded(&mut self, degraded: bool, out: &mut Out) {
        if self.degraded == degraded {
            return;
        }
        self.degraded = degraded;
        // Before the registration it would be the first word on the connection; it is said after it.
        if self.link == Link::Up {
            out.push(Output::Ungated(Effect::ToMaster(FromAgent::Journal { degraded })));
        }
    }

    fn shutdown(&mut self, reject: Reject, out: &mut Out) {
        self.end_all(out);
        out.push(Output::Effect(Effect::Shutdown(reject)));
    }

    fn end_all(&mut self, out: &mut Out) {
        let live: Vec<_> = self.journal.live_tasks().cloned().collect();
        for task in live {
            self.end(&task, KillCause::Requested, None, out);
        }
    }

    fn report(&self) -> AgentReport {
        let task = |(key, entry): (&TaskKey, &journal::Entry)| TaskReport {
            framework: key.framework,
            task: entry.task.clone(),
            state: entry.state(),
        };
        AgentReport {
            agent: self.journal.identity,
            client: self.journal.client.unwrap_or_default(),
            info: Arc::new(AgentInfo {
                name: self.config.name.clone(),
                attributes: self.config.attributes.clone(),
                domain: self.config.domain.clone(),
            }),
            resources: self.total.clone(),
            devices: self.device_reports(),
            // Of those that ended and were acknowledged nobody needs to hear again; they wait for others of their group.
            tasks: self.journal.tasks.iter().filter(|(_, entry)| !entry.is_settled()).map(task).collect(),
            held: self.journal.gangs.keys().copied().collect(),
            operated: self.journal.operated,
            connection: (u64::from(self.journal.life) << 32) + u64::from(self.connections),
        }
    }

    /// Tells the master, once all that was recorded before is durable. What is told before the registration is said again after it.
    fn tell(&mut self, message: FromAgent, out: &mut Out) {
        match &mut self.link {
            Link::Up => out.push(Output::Effect(Effect::ToMaster(message))),
            Link::Greeting { stale } => *stale = true,
            Link::Down => {}
        }
    }

    /// The only way in which durable state changes.
    fn persist(&mut self, record: Record, out: &mut Out) {
        self.journal.apply(&record);
        out.push(Output::Persist(record));
    }

    fn draw(&mut self) -> u128 {
        u128::from(self.random.next_u64()) << 64 | u128::from(self.random.next_u64())
    }

    fn draw_update_id(&mut self) -> UpdateId {
        UpdateId(self.draw())
    }

    fn wall(&self, now: Time) -> WallTime {
        WallTime(self.config.origin.0.saturating_add_unsigned(now.0))
    }
}

fn notice(text: String, out: &mut Out) {
    out.push(Output::Ungated(Effect::Notice(text)));
}

#[cfg(test)]
mod tests;
