//! V11: delay scheduling (Hindman et al., NSDI 2011, section 6.3): 16 frameworks on 93 machines whose input lies on three of them each.
//!
//! A framework that is offered a machine without a task's input lets it go and waits for a better one, for a while. The published bars
//! were not read off the figure again: 18 % with static partitions, over 90 % with a second, about 95 % with five.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rialto_core::master::Config;
use rialto_core::model::{
    Demand, ExecutorRef, Milli, OfferId, Operation, Quantities, Refusal, Resources, Role, Task, TaskGroup, TaskId,
    Term, Time,
};
use rialto_core::scheduler::placement::Needs;
use rialto_core::scheduler::{Happening, Out, Scheduler};

use super::check::{Check, Row, mean};
use super::{Effort, Part};
use crate::dice::Dice;
use crate::market::{Machine, Market, Think, body, info};

const MACHINES: usize = 93;
const SLOTS: u64 = 4;
const FRAMEWORKS: usize = 16;
const REPLICAS: usize = 3;
/// Tasks of a framework's next job, and how long one runs in the mean.
const JOB: usize = 100;
const TASK_S: f64 = 15.0;

pub(super) fn check(effort: Effort) -> Check {
    const WAYS: [(&str, Option<u64>, f64, f64); 3] = [
        ("static partitions", None, 13.0, 23.0),
        ("1 s of patience", Some(1), 85.0, 100.0),
        ("5 s of patience", Some(5), 90.0, 100.0),
    ];
    let seeds = effort.seeds().min(3);
    let length = Duration::from_secs(if effort == Effort::Quick { 60 } else { 600 });
    let runs = WAYS.iter().flat_map(|(_, patience, ..)| (0..seeds).map(move |seed| (*patience, seed)));
    let parts =
        runs.map(|(patience, seed)| -> Part { Box::new(move || vec![locality(patience, seed, length)]) }).collect();
    let judge = move |found: &[Vec<f64>]| {
        let ways = WAYS.iter().zip(found.chunks(seeds as usize));
        ways.map(|((name, _, low, high), found)| {
            let what = format!("% of tasks on a machine with their input, {name}");
            Row::within("V11", what, *low, *high, mean(found.iter().map(|numbers| numbers[0])))
        })
        .collect()
    };
    Check { parts, judge: Box::new(judge) }
}

/// The part of the tasks that were started where their input lies, in percent. No patience means that each framework has machines of
/// its own.
fn locality(patience_s: Option<u64>, seed: u64, length: Duration) -> f64 {
    let machine = |number: usize| Machine {
        name: format!("{number}"),
        resources: Resources::of(Milli::from_whole(SLOTS), Milli::from_whole(SLOTS * 1024)),
        devices: Vec::new(),
    };
    let machines: Vec<Machine> = (0..MACHINES).map(machine).collect();
    let framework = |market: &mut Market<Patient>, number: usize, patience| {
        let role = Role::new(&format!("hadoop{number}")).expect("letters and digits are a role");
        let dice = Dice::child(seed, &format!("hadoop{number}"));
        market.subscribe(info(&role), Patient::new(role, patience, dice))
    };
    let count = |market: &Market<Patient>, host| {
        let policy: &Patient = market.policy(host);
        (policy.local, policy.started)
    };
    let counts: Vec<(u64, u64)> = match patience_s {
        Some(seconds) => {
            let mut market = Market::new(Config { seed, ..Config::default() }, Duration::ZERO, &machines);
            let hosts: Vec<usize> =
                (0..FRAMEWORKS).map(|number| framework(&mut market, number, Duration::from_secs(seconds))).collect();
            market.run_until(Time::ZERO + length);
            hosts.into_iter().map(|host| count(&market, host)).collect()
        }
        None => {
            let own = |number: usize| {
                let its: Vec<Machine> = machines.iter().skip(number).step_by(FRAMEWORKS).cloned().collect();
                let mut market = Market::new(Config { seed, ..Config::default() }, Duration::ZERO, &its);
                // Its input lies anywhere; it has no use to wait for machines that it never gets.
                let host = framework(&mut market, number, Duration::ZERO);
                market.run_until(Time::ZERO + length);
                count(&market, host)
            };
            (0..FRAMEWORKS).map(own).collect()
        }
    };
    let (local, started) = counts.into_iter().fold((0, 0), |(local, all), (l, a)| (local + l, all + a));
    local as f64 / started.max(1) as f64 * 100.0
}

/// A task that waits, and where its input lies.
struct Waiting {
    since: Time,
    input: [usize; REPLICAS],
}

/// A framework that always has a job, and lets machines without input go for a while.
struct Patient {
    role: Role,
    patience: Duration,
    dice: Dice,
    waiting: VecDeque<Waiting>,
    offers: BTreeMap<OfferId, (usize, u64)>,
    newest: OfferId,
    /// Since when it has found no task with input where it could have started one.
    skipped: Option<Time>,
    named: u64,
    local: u64,
    started: u64,
}

impl Patient {
    fn new(role: Role, patience: Duration, dice: Dice) -> Self {
        Self {
            role,
            patience,
            dice,
            waiting: VecDeque::new(),
            offers: BTreeMap::new(),
            newest: OfferId::new(Term(0), 0),
            skipped: None,
            named: 0,
            local: 0,
            started: 0,
        }
    }

    /// When one job is nearly through, the next comes: there is always something to do.
    fn refill(&mut self, now: Time) {
        if self.waiting.is_empty() {
            let dice = &mut self.dice;
            self.waiting.extend(
                (0..JOB).map(|_| Waiting { since: now, input: std::array::from_fn(|_| dice.count(0, MACHINES - 1)) }),
            );
        }
    }

    fn place(&mut self, now: Time, out: &mut Out<Think>) {
        self.refill(now);
        let offers: Vec<(OfferId, usize, u64)> =
            self.offers.iter().map(|(id, (machine, slots))| (*id, *machine, *slots)).collect();
        for (offer, machine, slots) in offers {
            let tasks: Vec<Task> = (0..slots).map_while(|_| self.task_for(now, machine)).collect();
            if tasks.is_empty() {
                continue;
            }
            self.offers.remove(&offer);
            let launches = tasks.into_iter().map(|task| Operation::Launch(TaskGroup::single(task)));
            out.accept(&[offer], launches.collect(), Refusal::default());
            self.refill(now);
        }
        if self.offers.is_empty() {
            self.skipped = None;
        }
        out.demand(&self.role, Demand { shapes: vec![Needs::new(each()).shape("map", JOB as u32)] });
    }

    /// The task that is started on this machine: one with its input there, or, out of patience, the first.
    fn task_for(&mut self, now: Time, machine: usize) -> Option<Task> {
        let local = self.waiting.iter().position(|waiting| waiting.input.contains(&machine));
        let at = match local {
            Some(at) => {
                self.skipped = None;
                self.local += 1;
                at
            }
            None => {
                let since = *self.skipped.get_or_insert(now);
                let oldest = self.waiting.front()?.since.max(since);
                if now.since(oldest) < self.patience {
                    return None;
                }
                0
            }
        };
        self.waiting.remove(at)?;
        self.named += 1;
        self.started += 1;
        let seconds = (TASK_S + TASK_S / 3.0 * self.dice.normal()).max(1.0);
        Some(Task {
            name: Arc::from(""),
            id: TaskId::new(&self.named.to_string()).expect("digits are an id"),
            role: self.role.clone(),
            resources: Resources::scalars(each()),
            claims: Vec::new(),
            priority: 0,
            kill_grace: Duration::ZERO,
            expected_run_time: None,
            executor: ExecutorRef::Supervisor,
            body: body(Some(Duration::from_secs_f64(seconds))),
        })
    }

    fn offered(&mut self, out: &Out<Think>) {
        for offer in out.offers_after(self.newest) {
            self.newest = offer.id;
            let machine = offer.info.name.parse().expect("machines are named by number");
            let slots = offer.resources.quantities().get(&rialto_core::model::ResourceName::Cpus).0 / 1000;
            self.offers.insert(offer.id, (machine, slots));
        }
    }
}

fn each() -> Quantities {
    Quantities::of(Milli::from_whole(1), Milli::from_whole(1024))
}

impl Scheduler for Patient {
    type Command = ();
    type Effect = Think;

    fn on_event(&mut self, now: Time, event: Happening<()>, out: &mut Out<Think>) {
        match event {
            Happening::Subscribed { .. } | Happening::Tick | Happening::Rejected { .. } => self.place(now, out),
            Happening::Offers => {
                self.offered(out);
                self.place(now, out);
            }
            Happening::Rescinded(offers) => offers.iter().for_each(|offer| {
                self.offers.remove(offer);
            }),
            _ => {}
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        Some(self.skipped? + self.patience)
    }
}
