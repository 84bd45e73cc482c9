//! "When will it run?", answered twice: a bound, by replaying the ends that running tasks have declared, and an estimate from how long
//! others like it had to wait.
//!
//! The bound holds if every declared run time does, what is free goes to those who wait in the present order, each takes it at once, and
//! nobody else comes. What declares nothing is taken to run for ever, so the bound is never too early for that.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::time::Duration;

use super::explain::{AgentRef, Waiting};
use super::history::{Calibration, Estimate};
use super::stock::{Standing, Stock};
use crate::model::{Amounts, Flavor, Milli, Range, Ranges, ResourceName, Resources, Role, Shape};

/// So many times a shape is tried on a machine in one replay; then it is given up.
const TRIES_MAX: usize = 200_000;

/// The answer to `when` for one framework or shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// What was asked about, as text.
    pub subject: String,
    /// One for each thing that waits.
    pub waits: Vec<WaitForecast>,
}

/// When one of a shape will run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitForecast {
    /// What waits.
    pub what: Waiting,
    /// The bound for the first of them.
    pub bound: Bound,
    /// How many more seconds earlier ones like it had to wait, counted from now, if enough of them are remembered.
    pub estimate: Option<Estimate>,
    /// How estimates held up so far, all roles and shapes together.
    pub calibration: Calibration,
}

/// By when it has room, from declared run times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// It has room now.
    Now {
        /// There.
        agent: AgentRef,
    },
    /// By then, counted from now.
    By {
        /// How long.
        after: Duration,
        /// There.
        agent: AgentRef,
        /// So many tasks end before, by what they declared.
        ends: usize,
        /// So many others that wait come before it.
        ahead: usize,
    },
    /// It can't be said.
    Unknown {
        /// Tasks where it could run that have not declared how long they run.
        undeclared: usize,
        /// Tasks there that already run longer than they declared.
        overdue: usize,
    },
    /// No agent could run it, even when empty.
    Never,
    /// Too much waits and runs for a replay within bounds.
    TooIntricate,
}

/// What a replay starts from: the machines concerned, and all that waits, in the order in which it is served.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Machines on which the asked could run.
    pub machines: Vec<Machine>,
    /// All that waits, first served first.
    pub queue: Vec<Queued>,
}

/// A machine, with what on it will end.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Which.
    pub agent: AgentRef,
    /// What it has now.
    pub stock: Stock,
    /// What will be free, and after how long.
    pub ends: Vec<(Duration, Freed)>,
}

/// What an end frees.
#[derive(Clone, Debug)]
pub enum Freed {
    /// What a task held.
    Task(Resources),
    /// What an exclusive offer locked.
    Offer(Resources),
}

/// Alike tasks that wait.
#[derive(Clone, Debug)]
pub struct Queued {
    /// For which role.
    pub role: Role,
    /// What they ask for, and how many there are.
    pub shape: Shape,
    /// The machines whose attributes suit them, by their number.
    pub machines: BTreeSet<usize>,
}

/// What a replay came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// The asked has room.
    Room {
        /// After so long.
        after: Duration,
        /// There.
        agent: AgentRef,
        /// So many tasks had ended.
        ends: usize,
        /// So many others had been placed.
        ahead: usize,
    },
    /// Everything has ended that says when, and it has no room.
    NoRoom,
    /// Given up.
    TooIntricate,
}

impl Snapshot {
    /// When the first of number `target` of the queue has room.
    pub fn replay(self, target: usize) -> Replayed {
        Replay::new(self, target).run()
    }
}

struct Replay {
    machines: Vec<Machine>,
    queue: Vec<Queued>,
    target: usize,
    /// When, on which machine, which of the things to free; earliest first.
    due: BinaryHeap<Reverse<(Duration, usize, usize)>>,
    freed: Vec<Option<Freed>>,
    ends: usize,
    ahead: usize,
    tries: usize,
}

impl Replay {
    fn new(snapshot: Snapshot, target: usize) -> Self {
        let Snapshot { mut machines, queue } = snapshot;
        let (mut due, mut freed) = (BinaryHeap::new(), Vec::new());
        for (number, machine) in machines.iter_mut().enumerate() {
            for (after, what) in std::mem::take(&mut machine.ends) {
                due.push(Reverse((after, number, freed.len())));
                freed.push(Some(what));
            }
        }
        Self { machines, queue, target, due, freed, ends: 0, ahead: 0, tries: 0 }
    }

    fn run(mut self) -> Replayed {
        let mut now = Duration::ZERO;
        let mut changed: BTreeSet<usize> = (0..self.machines.len()).collect();
        loop {
            match self.place(now, &changed) {
                Ok(None) => {}
                Ok(Some(machine)) => {
                    let agent = self.machines[machine].agent.clone();
                    return Replayed::Room { after: now, agent, ends: self.ends, ahead: self.ahead };
                }
                Err(TooIntricate) => return Replayed::TooIntricate,
            }
            let Some(Reverse((next, ..))) = self.due.peek().copied() else { return Replayed::NoRoom };
            now = next;
            changed = self.end_until(now);
        }
    }

    /// Everything that ends by `now` frees what it held.
    fn end_until(&mut self, now: Duration) -> BTreeSet<usize> {
        let mut changed = BTreeSet::new();
        while let Some(Reverse((at, machine, what))) = self.due.peek().copied().filter(|Reverse((at, ..))| *at <= now) {
            debug_assert!(at <= now, "the heap is sorted");
            self.due.pop();
            let stock = &mut self.machines[machine].stock;
            match self.freed[what].take() {
                Some(Freed::Task(resources)) => {
                    stock.free.add(&resources);
                    let used = stock.used_of_kept(&resources);
                    stock.kept.add(&used);
                    self.ends += 1;
                }
                Some(Freed::Offer(resources)) => {
                    let unlocked = stock.locked.subtract(&resources);
                    debug_assert!(unlocked, "what an offer locks is locked while it stands");
                }
                None => {}
            }
            changed.insert(machine);
        }
        changed
    }

    /// Gives what is free on the changed machines to those who wait, in their order. The machine for the asked, if its turn comes.
    fn place(&mut self, now: Duration, changed: &BTreeSet<usize>) -> Result<Option<usize>, TooIntricate> {
        for number in 0..self.queue.len() {
            let candidates: Vec<usize> = self.queue[number].machines.intersection(changed).copied().collect();
            for machine in candidates {
                while self.queue[number].shape.count > 0 {
                    self.tries += 1;
                    if self.tries > TRIES_MAX {
                        return Err(TooIntricate);
                    }
                    let waiting = &mut self.queue[number];
                    let Some(taken) = take(&mut self.machines[machine].stock, &waiting.role, &waiting.shape) else {
                        break;
                    };
                    if number == self.target {
                        return Ok(Some(machine));
                    }
                    waiting.shape.count -= 1;
                    self.ahead += 1;
                    if let Some(run) = waiting.shape.expected_run_time {
                        self.due.push(Reverse((now + run, machine, self.freed.len())));
                        self.freed.push(Some(Freed::Task(taken)));
                    }
                }
            }
        }
        Ok(None)
    }
}

struct TooIntricate;

/// Takes what one of `shape` asks for from what is free; what was taken, or none if it does not fit.
pub fn take(stock: &mut Stock, role: &Role, shape: &Shape) -> Option<Resources> {
    if stock.standing != Standing::Ready {
        return None;
    }
    let available = stock.available(role);
    if !stock.holds(&available, shape) {
        return None;
    }
    let devices = stock.resolve(&shape.claims, &available).ok()?;
    let mut taken = Resources::flavored(Flavor::default(), Amounts { devices, ..Amounts::default() });
    let (volumes, asked) = shape.resources.split_volumes();
    let mut wanted = asked.quantities();
    let ports_name = ResourceName::ports();
    let mut ports = asked.ranges(&ports_name).len();
    let plain = available.plain();
    // What is reserved for the role is of use to nobody else, and goes first.
    let mut flavors: Vec<(&Flavor, &Amounts)> = plain.iter().collect();
    flavors.sort_by_key(|(flavor, _)| flavor.reservations.is_empty());
    for (flavor, amounts) in flavors {
        let mut part = Amounts::default();
        for (name, amount) in wanted.clone().iter() {
            let share: Milli = amount.min(amounts.scalars.get(name));
            part.scalars.set(name, share);
            wanted.set(name, amount.minus(share).unwrap_or_default());
        }
        if let Some(there) = amounts.ranges.get(&ports_name).filter(|_| ports > 0) {
            let chosen = first_numbers(there, ports);
            ports -= chosen.len();
            part.ranges.insert(ports_name.clone(), chosen);
        }
        taken.add(&Resources::flavored(flavor.clone(), part));
    }
    taken.add(&volumes);
    let was_free = stock.free.subtract(&taken);
    debug_assert!(was_free, "what is taken was available");
    let used = stock.used_of_kept(&taken);
    for (name, used) in used.iter() {
        stock.kept.set(name, stock.kept.get(name).minus(used).unwrap_or_default());
    }
    Some(taken)
}

/// The lowest numbers of `ranges`, at most so many.
fn first_numbers(ranges: &Ranges, count: u64) -> Ranges {
    let mut left = count;
    let mut chosen = Vec::new();
    for range in ranges.iter() {
        if left == 0 {
            break;
        }
        let last = range.last.min(range.first + (left - 1));
        left -= last - range.first + 1;
        chosen.push(Range { first: range.first, last });
    }
    Ranges::new(chosen)
}
