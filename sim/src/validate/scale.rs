//! V10: Hindman et al. (NSDI 2011), section 6.5: a short task on a cluster of 50,000 agents that 200 frameworks keep busy.

use std::sync::Arc;
use std::time::Duration;

use cpu_time::ThreadTime;
use rialto_core::master::Config;
use rialto_core::model::{
    ExecutorRef, Milli, OfferId, Operation, Quantities, Refusal, Resources, Role, Task, TaskGroup, TaskId, TaskState,
    Term, Time,
};
use rialto_core::scheduler::placement::Needs;
use rialto_core::scheduler::{Happening, Out, Scheduler};

use super::check::{Check, Row};
use super::{Effort, Part};
use crate::dice::Dice;
use crate::market::{Machine, Market, Think, body, info};

/// From one process to another.
const LATENCY: Duration = Duration::from_millis(1);
const PROBE: Duration = Duration::from_secs(10);
/// From here on the processor is watched, and the probes are sent.
const WARM: Duration = Duration::from_secs(60);
const PROBES: usize = 10;

pub(super) fn check(effort: Effort) -> Check {
    let (agents, frameworks) = if effort == Effort::Quick { (500, 20) } else { (50_000, 200) };
    let part = move |agents, frameworks| -> Part { Box::new(move || probe(agents, frameworks)) };
    let parts = vec![part(agents, frameworks), part(10, 0)];
    let judge = move |found: &[Vec<f64>]| {
        let (busy, quiet) = (&found[0], &found[1]);
        let what = |what: &str| format!("{agents} agents, {frameworks} frameworks: {what}");
        vec![
            Row::at_most(
                "V10",
                what("added to the time of a 10 s task, the longest of ten, s"),
                1.0,
                busy[0] - quiet[0],
            ),
            Row::at_most("V10", what("processor time a second, with agents and frameworks, s"), 1.0, busy[1]),
            Row::at_least("V10", what("tasks started a second"), 0.9 * f64::from(agents) / 30.0, busy[2]),
        ]
    };
    Check { parts, judge: Box::new(judge) }
}

/// The longest time of a probe, processor seconds a virtual second, and tasks started a second.
fn probe(agents: u32, frameworks: usize) -> Vec<f64> {
    let machine = |number| Machine {
        name: format!("agent-{number}"),
        resources: Resources::of(Milli::from_whole(1), Milli::from_whole(1024)),
        devices: Vec::new(),
    };
    let machines: Vec<Machine> = (0..agents).map(machine).collect();
    let mut market = Market::new(Config::default(), LATENCY, &machines);
    let kinds = std::iter::repeat_n(Kind::Busy, frameworks).chain([Kind::Probe]);
    let hosts: Vec<usize> = kinds
        .enumerate()
        .map(|(number, kind)| {
            let role = Role::new(&format!("framework{number}")).expect("letters and digits are a role");
            market.subscribe(info(&role), Taker::new(role, kind, Dice::child(number as u64, "taker")))
        })
        .collect();
    let mut now = Time::ZERO + WARM;
    market.run_until(now);
    market.seen.clear();
    let (started, prober) = (ThreadTime::now(), *hosts.last().expect("there is the probe"));
    let from = now;
    let mut longest = 0.0_f64;
    for number in 0..PROBES {
        market.command(now, prober, ());
        let sent = now;
        while market.policy(prober).ended.len() <= number && now.since(sent) < 10 * PROBE {
            now = now + Duration::from_millis(10);
            market.run_until(now);
        }
        let ended = market.policy(prober).ended.get(number).map_or(f64::INFINITY, |at| at.since(sent).as_secs_f64());
        longest = longest.max(ended);
    }
    let seconds = now.since(from).as_secs_f64();
    let starts = market.seen.iter().filter(|(_, seen)| matches!(seen, crate::market::Seen::Started { .. })).count();
    vec![longest, started.elapsed().as_secs_f64() / seconds, starts as f64 / seconds]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Starts a task on every agent that it is offered.
    Busy,
    /// Starts one when it is told to.
    Probe,
}

struct Taker {
    role: Role,
    kind: Kind,
    dice: Dice,
    newest: OfferId,
    named: u64,
    wanted: u32,
    ended: Vec<Time>,
}

impl Taker {
    fn new(role: Role, kind: Kind, dice: Dice) -> Self {
        Self { role, kind, dice, newest: OfferId::new(Term(0), 0), named: 0, wanted: 0, ended: Vec::new() }
    }

    fn duration(&mut self) -> Duration {
        match self.kind {
            Kind::Probe => PROBE,
            Kind::Busy => Duration::from_secs_f64((30.0 + 10.0 * self.dice.normal()).max(1.0)),
        }
    }

    fn offered(&mut self, out: &mut Out<Think>) {
        let offers: Vec<OfferId> = out.offers_after(self.newest).map(|offer| offer.id).collect();
        for offer in offers {
            self.newest = offer;
            if self.kind == Kind::Probe && self.wanted == 0 {
                continue;
            }
            self.wanted = self.wanted.saturating_sub(1);
            self.named += 1;
            let task = Task {
                name: Arc::from(""),
                id: TaskId::new(&self.named.to_string()).expect("digits are an id"),
                role: self.role.clone(),
                resources: Resources::scalars(each()),
                claims: Vec::new(),
                priority: 0,
                kill_grace: Duration::ZERO,
                expected_run_time: None,
                executor: ExecutorRef::Supervisor,
                body: body(Some(self.duration())),
            };
            out.accept(&[offer], vec![Operation::Launch(TaskGroup::single(task))], Refusal::default());
        }
        self.declare(out);
    }

    fn declare(&self, out: &mut Out<Think>) {
        let count = if self.kind == Kind::Busy { 100_000 } else { self.wanted };
        let shapes = if count > 0 { vec![Needs::new(each()).shape("task", count)] } else { Vec::new() };
        out.demand(&self.role, rialto_core::model::Demand { shapes });
    }
}

fn each() -> Quantities {
    Quantities::of(Milli::from_whole(1), Milli::from_whole(1024))
}

impl Scheduler for Taker {
    type Command = ();
    type Effect = Think;

    fn on_event(&mut self, now: Time, event: Happening<()>, out: &mut Out<Think>) {
        match event {
            Happening::Subscribed { .. } => self.declare(out),
            Happening::Command(()) => {
                self.wanted += 1;
                self.newest = OfferId::new(Term(0), 0);
                self.offered(out);
            }
            Happening::Offers => self.offered(out),
            Happening::Rejected { .. } if self.kind == Kind::Probe => {
                self.wanted += 1;
                self.declare(out);
            }
            Happening::Update(status) if self.kind == Kind::Probe && status.state == TaskState::Finished => {
                self.ended.push(now);
            }
            _ => {}
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        None
    }
}
