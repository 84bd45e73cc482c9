//! The framework that loads a master: it launches short tasks as fast as it is offered resources, so many at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rialto_sdk::core::model::{AgentId, Demand, OfferId, Refusal, Role, Status, TaskId, TaskState, Time};
use rialto_sdk::placement::{Packer, Strategy};
use rialto_sdk::{Command, Happening, Out, Scheduler};

use super::Latencies;

/// The most tasks that one accept launches.
pub(super) const TASKS_PER_ACCEPT: u32 = 10;

/// How a framework works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// How many tasks it keeps in flight.
    pub(super) in_flight: u32,
    /// How many it launches with one accept.
    pub(super) per_accept: u32,
}

/// What the benchmark tells a framework.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Say {
    /// What was measured so far was for warming up.
    Measure,
    /// Launch no more; report when everything has ended.
    Stop,
}

/// What a framework tells the benchmark.
#[derive(Debug)]
pub(super) enum Heard {
    /// It is subscribed.
    Subscribed,
    /// Everything has ended.
    Done(Box<Report>),
}

/// What a framework has measured.
#[derive(Clone, Debug)]
pub(super) struct Report {
    /// The framework.
    pub(super) name: String,
    /// From the update that frees resources, as its agent sends it, to the next offer of that agent. It says something only where no offer
    /// can come before: where a task takes all that its agent has.
    pub(super) offers: Latencies,
    /// From an agent that sends an update to the policy that handles it.
    pub(super) updates: Latencies,
    /// Tasks in all, while warming up too.
    pub(super) launched: u64,
    pub(super) finished: u64,
    /// Launches that came too late for an offer that others had used.
    pub(super) rejected: u64,
    /// Tasks that ended in any other way than finished.
    pub(super) failed: u64,
}

/// The policy.
pub(super) struct Load {
    role: Role,
    command: Command,
    name: String,
    pace: Pace,
    in_flight: u32,
    /// What times in updates are counted from.
    epoch: Instant,
    /// When something became free on an agent, until it is offered.
    freed: BTreeMap<AgentId, Duration>,
    newest_offer: Option<OfferId>,
    is_stopping: bool,
    report: Report,
}

impl Load {
    pub(super) fn new(name: String, role: Role, command: Command, pace: Pace, epoch: Instant) -> Self {
        let report = Report {
            name: name.clone(),
            offers: Latencies::new(),
            updates: Latencies::new(),
            launched: 0,
            finished: 0,
            rejected: 0,
            failed: 0,
        };
        Self {
            role,
            command,
            name,
            pace,
            in_flight: 0,
            epoch,
            freed: BTreeMap::new(),
            newest_offer: None,
            is_stopping: false,
            report,
        }
    }

    fn on_offers(&mut self, out: &mut Out<Heard>) {
        let now = self.epoch.elapsed();
        let last = self.newest_offer;
        for offer in out.offers().filter(|offer| last.is_none_or(|last| offer.id > last)) {
            self.newest_offer = Some(offer.id);
            if let Some(freed) = self.freed.remove(&offer.agent) {
                self.report.offers.record(now.saturating_sub(freed));
            }
        }
        self.place(out);
    }

    /// Fills offers, oldest first, while there is room for a whole accept.
    fn place(&mut self, out: &mut Out<Heard>) {
        let accepts = (self.pace.in_flight - self.in_flight) / self.pace.per_accept;
        if self.is_stopping || accepts == 0 {
            return;
        }
        let mut plans = Vec::new();
        let mut agents = BTreeSet::new();
        for offer in out.offers() {
            if plans.len() >= accepts as usize {
                break;
            }
            if !agents.insert(offer.agent) {
                continue;
            }
            let mut packer = Packer::new(&self.role, [offer]).with_tasks_max(self.pace.per_accept as usize);
            while let Some(placement) = packer.place(&self.command.needs, Strategy::Pack) {
                self.report.launched += 1;
                self.in_flight += 1;
                let id =
                    TaskId::new(&format!("{}-{}", self.name, self.report.launched)).expect("a short name and a number");
                packer.launch(&placement, self.command.task(id, &self.role, &placement));
            }
            plans.extend(packer.into_accepts());
        }
        for plan in plans {
            out.accept(&plan.offers, plan.operations, Refusal::default());
        }
    }

    fn on_update(&mut self, status: &Status, out: &mut Out<Heard>) {
        let sent = Duration::from_micros(u64::try_from(status.at.0).unwrap_or(0));
        self.report.updates.record(self.epoch.elapsed().saturating_sub(sent));
        if !status.state.is_terminal() {
            return;
        }
        match status.state {
            TaskState::Finished => self.report.finished += 1,
            _ => self.report.failed += 1,
        }
        if let Some(agent) = status.agent {
            self.freed.entry(agent).or_insert(sent);
        }
        self.ended(1, out);
    }

    fn ended(&mut self, tasks: u32, out: &mut Out<Heard>) {
        self.in_flight -= tasks;
        self.place(out);
        self.report_once_done(out);
    }

    fn report_once_done(&self, out: &mut Out<Heard>) {
        if self.is_stopping && self.in_flight == 0 {
            out.effect(Heard::Done(Box::new(self.report.clone())));
        }
    }

    fn on_command(&mut self, say: Say, out: &mut Out<Heard>) {
        match say {
            Say::Measure => {
                self.report.offers.clear();
                self.report.updates.clear();
            }
            Say::Stop => {
                self.is_stopping = true;
                out.demand(&self.role, Demand::default());
                self.report_once_done(out);
            }
        }
    }
}

impl Scheduler for Load {
    type Command = Say;
    type Effect = Heard;

    fn on_event(&mut self, _now: Time, event: Happening<Say>, out: &mut Out<Heard>) {
        match event {
            Happening::Subscribed { .. } => {
                out.demand(&self.role, Demand { shapes: vec![self.command.shape(self.pace.per_accept)] });
                out.effect(Heard::Subscribed);
            }
            Happening::Offers => self.on_offers(out),
            Happening::Update(status) => self.on_update(&status, out),
            Happening::Rejected { tasks, .. } => {
                let tasks = u32::try_from(tasks.len()).expect("an accept launches ten");
                self.report.rejected += u64::from(tasks);
                self.ended(tasks, out);
            }
            Happening::Command(say) => self.on_command(say, out),
            Happening::Disconnected
            | Happening::Rescinded(_)
            | Happening::AgentLost(_)
            | Happening::AgentLeaves { .. }
            | Happening::Prices(_)
            | Happening::Message { .. }
            | Happening::Tick
            | Happening::Refused(_) => {}
        }
    }
}
