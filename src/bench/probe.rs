//! The framework that measures an agent: it launches what it is told to, and tells when what happened.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rialto_sdk::core::model::{Demand, Refusal, Role, Status, TaskId, TaskState, Time};
use rialto_sdk::placement::{Packer, Strategy};
use rialto_sdk::{Command, Happening, Out, Scheduler};

/// What the benchmark tells the framework.
#[derive(Clone, Debug)]
pub(super) enum Say {
    /// Run `count` of these, so many at once.
    Run { command: Box<Command>, count: u32, at_once: u32 },
    /// Kill what runs and go.
    Leave,
}

/// What the framework tells the benchmark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It is subscribed.
    Subscribed,
    /// A task runs, so long after the call that accepted the offer for it.
    Running(Duration),
    /// A task ended, in that state, with what its agent says of that.
    Ended(TaskState, String),
    /// A launch was refused; it is tried again.
    Rejected,
}

/// The policy.
pub(super) struct Probe {
    role: Role,
    command: Command,
    /// How many are still to be launched.
    waiting: u32,
    at_once: u32,
    last: u64,
    /// When each live task's offer was accepted.
    accepted: BTreeMap<TaskId, Instant>,
}

impl Probe {
    pub(super) const fn new(role: Role, command: Command) -> Self {
        Self { role, command, waiting: 0, at_once: 1, last: 0, accepted: BTreeMap::new() }
    }

    fn place(&mut self, out: &mut Out<Heard>) {
        let mut packer = Packer::new(&self.role, out.offers());
        while self.waiting > 0 && self.accepted.len() < self.at_once as usize {
            let Some(placement) = packer.place(&self.command.needs, Strategy::Pack) else { break };
            self.last += 1;
            self.waiting -= 1;
            let id = TaskId::new(&format!("probe-{}", self.last)).expect("a number makes an id");
            packer.launch(&placement, self.command.task(id.clone(), &self.role, &placement));
            self.accepted.insert(id, Instant::now());
        }
        packer.submit(out, &Refusal::default());
    }

    fn on_update(&mut self, status: &Status, out: &mut Out<Heard>) {
        if status.state == TaskState::Running
            && let Some(accepted) = self.accepted.get(&status.task)
        {
            out.effect(Heard::Running(accepted.elapsed()));
        }
        if status.state.is_terminal() {
            self.accepted.remove(&status.task);
            out.effect(Heard::Ended(status.state, status.message.to_string()));
            self.place(out);
        }
    }
}

impl Scheduler for Probe {
    type Command = Say;
    type Effect = Heard;

    fn on_event(&mut self, _now: Time, event: Happening<Say>, out: &mut Out<Heard>) {
        match event {
            Happening::Subscribed { .. } => {
                out.demand(&self.role, Demand { shapes: vec![self.command.shape(1)] });
                out.effect(Heard::Subscribed);
            }
            Happening::Offers => self.place(out),
            Happening::Update(status) => self.on_update(&status, out),
            Happening::Rejected { tasks, .. } => {
                for task in tasks {
                    self.accepted.remove(&task);
                    self.waiting += 1;
                    out.effect(Heard::Rejected);
                }
                self.place(out);
            }
            Happening::Command(Say::Run { command, count, at_once }) => {
                self.command = *command;
                self.waiting += count;
                self.at_once = at_once;
                self.place(out);
            }
            Happening::Command(Say::Leave) => out.teardown(),
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
