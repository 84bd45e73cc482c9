//! A framework that places each task as it arrives, with the SDK's placement library, and drops what fits nowhere.

use std::sync::Arc;
use std::time::Duration;

use rialto_core::model::{Demand, ExecutorRef, OfferId, Refusal, Role, Task, TaskId, Term, Time};
use rialto_core::scheduler::placement::Placement;
use rialto_core::scheduler::placement::board::GpuBoard;
use rialto_core::scheduler::placement::gpu::GpuAsk;
use rialto_core::scheduler::{Happening, Out, Scheduler};

use crate::market::{Think, body};

/// For how long offers are gathered before a task is placed, where they come on demand.
pub(super) const GATHER: Duration = Duration::from_millis(100);

/// How the framework comes by its offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offering {
    /// It declares nothing and holds offers of all that is free.
    All,
    /// It declares the task that it is to place, and is offered some of the machines on which that fits.
    OnDemand,
}

pub(super) struct Placer {
    pub(super) dropped: u64,
    name: &'static str,
    role: Role,
    offering: Offering,
    board: GpuBoard,
    /// The newest offer that was looked at.
    newest: OfferId,
    launched: u64,
    /// What waits for offers, and until when.
    waiting: Option<(GpuAsk, Time)>,
}

impl Placer {
    pub(super) fn new(name: &'static str, role: Role, offering: Offering, board: GpuBoard) -> Self {
        let newest = OfferId::new(Term(0), 0);
        Self { dropped: 0, name, role, offering, board, newest, launched: 0, waiting: None }
    }

    fn arrived(&mut self, now: Time, ask: GpuAsk, out: &mut Out<Think>) {
        match self.offering {
            Offering::All => self.place(&ask, out),
            Offering::OnDemand => {
                out.demand(&self.role, Demand { shapes: vec![ask.needs().shape("next", 1)] });
                self.waiting = Some((ask, now + GATHER));
            }
        }
    }

    fn decide(&mut self, now: Time, out: &mut Out<Think>) {
        if let Some((ask, _)) = self.waiting.take_if(|(_, due)| *due <= now) {
            self.place(&ask, out);
            out.demand(&self.role, Demand::default());
        }
    }

    fn place(&mut self, ask: &GpuAsk, out: &mut Out<Think>) {
        let Some(placement) = self.board.place(ask) else {
            self.dropped += 1;
            return;
        };
        self.launched += 1;
        let task = self.task(&placement);
        self.board.launch(&placement, task);
        self.board.submit(out, &Refusal::default());
    }

    fn task(&self, placement: &Placement) -> Task {
        let id = format!("{}-{}", self.name, self.launched);
        Task {
            name: Arc::from(id.as_str()),
            id: TaskId::new(&id).expect("letters, a dash and digits are an id"),
            role: self.role.clone(),
            resources: placement.resources.clone(),
            claims: Vec::new(),
            priority: 0,
            kill_grace: Duration::ZERO,
            expected_run_time: None,
            executor: ExecutorRef::Supervisor,
            body: body(None),
        }
    }
}

impl Scheduler for Placer {
    type Command = GpuAsk;
    type Effect = Think;

    fn on_event(&mut self, now: Time, event: Happening<GpuAsk>, out: &mut Out<Think>) {
        match event {
            Happening::Subscribed { .. } if self.offering == Offering::OnDemand => {
                out.demand(&self.role, Demand::default());
            }
            Happening::Offers => {
                for offer in out.offers_after(self.newest) {
                    self.board.offered(offer);
                    self.newest = offer.id;
                }
            }
            Happening::Rescinded(offers) => offers.into_iter().for_each(|offer| self.board.withdrawn(offer)),
            Happening::Disconnected => self.board.clear(),
            Happening::Command(ask) => self.arrived(now, ask, out),
            Happening::Tick => self.decide(now, out),
            // Nothing else asks for the same machines unless two frameworks do; what was refused then counts as dropped.
            Happening::Rejected { tasks, .. } => self.dropped += tasks.len() as u64,
            _ => {}
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        self.waiting.as_ref().map(|(_, due)| *due)
    }
}
