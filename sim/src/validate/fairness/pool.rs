//! One machine that several users fill with tasks of one shape each: whoever is first in the sorter's order places a task.

use rialto_core::allocator::sorter::{Sorter, kind_quantity};
use rialto_core::model::{FrameworkId, Milli, Quantities, ResourceName, Role, Term};

use crate::dice::Dice;

/// Cpus, memory, disk and GPUs.
pub(super) const RESOURCES: usize = 4;
/// An amount of each, in thousandths.
pub(super) type Amounts = [u64; RESOURCES];

/// What happens when the task of the user whose turn it is does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misfit {
    /// That user is done, the others go on.
    EndsUser,
    /// What its task lacks counts as used up: all who need it are done. The rule of the divisible model.
    EndsResource,
}

#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) task: Amounts,
    pub(super) weight: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Pool {
    pub(super) total: Amounts,
    pub(super) users: Vec<User>,
}

/// What came of a filling.
#[derive(Clone, Debug)]
pub(super) struct Filled {
    /// How many tasks each user has.
    pub(super) tasks: Vec<u64>,
    /// The resource for want of which each user ended.
    blocked_by: Vec<usize>,
    /// Who placed, in order.
    pub(super) placed: Vec<usize>,
    /// The largest distance between the weighted shares of two users who were still waiting, seen when somebody ended.
    pub(super) spread: f64,
}

impl Pool {
    pub(super) fn new(total: Amounts, users: &[(Amounts, u64)]) -> Self {
        Self { total, users: users.iter().map(|(task, weight)| User { task: *task, weight: *weight }).collect() }
    }

    /// Two to five users with tasks of a 64th to a 16th of the pool, each cut into so many parts.
    pub(super) fn random(dice: &mut Dice, parts: u64) -> Self {
        // One in eight has a single resource; in one in eight everybody's dominant resource is the same.
        let kind = dice.between(0, 7);
        let resources = if kind == 0 { 1 } else { dice.count(2, RESOURCES) };
        let mut total = [0; RESOURCES];
        total.iter_mut().take(resources).for_each(|amount| *amount = dice.between(1 << 30, 1 << 36));
        let mut user = || {
            let dominant = if kind <= 1 { 0 } else { dice.count(0, resources - 1) };
            let size = dice.between(1 << 10, 1 << 12);
            let mut task = [0; RESOURCES];
            for (at, need) in task.iter_mut().enumerate().take(resources) {
                let part = if at == dominant { size } else { dice.between(size / 4, size) };
                *need = (u128::from(total[at]) * u128::from(part) / (1 << 16) / u128::from(parts)) as u64;
            }
            User { task, weight: dice.between(1, 3) }
        };
        let users: Vec<User> = (0..2).map(|_| user()).collect();
        let mut pool = Self { total, users };
        for _ in 0..dice.count(0, 3) {
            let like = dice.count(0, pool.users.len() - 1);
            let scaled = pool.users[like].task.map(|need| need * dice.between(50, 100) / 100);
            pool.users.push(User { task: scaled, weight: dice.between(1, 3) });
        }
        pool
    }

    /// The dominant share of one task of the user.
    fn dominant(&self, user: usize) -> f64 {
        let parts = self.users[user].task.iter().zip(self.total);
        parts.map(|(need, total)| *need as f64 / total.max(1) as f64).fold(0.0, f64::max)
    }

    /// The same, divided by its weight.
    fn step(&self, user: usize) -> f64 {
        self.dominant(user) / self.users[user].weight as f64
    }

    /// The largest weighted step of one task.
    pub(super) fn largest_step(&self) -> f64 {
        (0..self.users.len()).map(|user| self.step(user)).fold(0.0, f64::max)
    }

    fn largest_task(&self) -> f64 {
        (0..self.users.len()).map(|user| self.dominant(user)).fold(0.0, f64::max)
    }

    /// What the users hold of a resource, with these numbers of tasks.
    pub(super) fn used(&self, tasks: &[u64], at: usize) -> u64 {
        self.users.iter().zip(tasks).map(|(user, tasks)| user.task[at] * tasks).sum()
    }

    /// Everybody gets what its weight would buy of a divided pool, up to one task.
    pub(super) fn has_incentive(&self, filled: &Filled, user: usize) -> bool {
        let weights: f64 = self.users.iter().map(|user| user.weight as f64).sum();
        let share = filled.tasks[user] as f64 * self.step(user);
        share + 1e-6 >= (1.0 - self.largest_task()) / weights - self.largest_step()
    }

    /// Some resource that the user needs is used up, but for one task of somebody.
    pub(super) fn is_blocked(&self, filled: &Filled, user: usize) -> bool {
        (0..RESOURCES).any(|at| {
            let free = self.total[at].saturating_sub(self.used(&filled.tasks, at));
            let need = self.users[user].task[at];
            need > 0 && (free < need || (free as f64) < self.largest_task() * self.total[at] as f64)
        })
    }

    /// How many tasks of `user` fit into what `tasks` tasks of `shape` hold.
    fn tasks_in(&self, user: usize, shape: &Amounts, tasks: f64) -> f64 {
        let needs = self.users[user].task.iter().zip(shape).filter(|(need, _)| **need > 0);
        needs.map(|(need, has)| tasks * *has as f64 / *need as f64).fold(f64::MAX, f64::min)
    }

    /// Whether what the other holds, scaled by the weights, would give the user more than a task more.
    pub(super) fn envies(&self, filled: &Filled, user: usize, other: usize) -> bool {
        let scale = self.users[user].weight as f64 / self.users[other].weight as f64;
        let tasks = self.tasks_in(user, &self.users[other].task, filled.tasks[other] as f64 * scale);
        tasks > filled.tasks[user] as f64 + self.largest_step() / self.step(user) + 1e-6
    }

    /// By how many tasks of the user the outcome may differ because tasks are not quite divisible: at the same level of shares each user
    /// holds one task more or less, and up to one task's worth of each resource is left.
    fn slack(&self, filled: &Filled, user: usize) -> f64 {
        let resource = filled.blocked_by[user];
        let need = self.users[user].task[resource] as f64 / self.total[resource].max(1) as f64;
        let resources = self.total.iter().filter(|total| **total > 0).count();
        (self.users.len() + 1) as f64 * self.largest_task() / need * resources as f64 + 1.0
    }

    /// Whether somebody runs more of its true tasks by asking for others.
    pub(super) fn gains_by_lying(&self, honest: &Filled, dice: &mut Dice) -> bool {
        let liar = dice.count(0, self.users.len() - 1);
        let mut told = self.clone();
        told.users[liar].task =
            self.users[liar].task.map(|need| if need == 0 { 0 } else { dice.between(need / 2, need * 2).max(1) });
        let lying = told.fill(Misfit::EndsResource);
        let gained = self.tasks_in(liar, &told.users[liar].task, lying.tasks[liar] as f64);
        gained > honest.tasks[liar] as f64 + self.slack(honest, liar)
    }

    /// Whether anybody has less once `leaver` is gone.
    pub(super) fn loses_by_leaving(&self, with: &Filled, leaver: usize) -> bool {
        let mut rest = self.clone();
        rest.users.remove(leaver);
        let without = rest.fill(Misfit::EndsResource);
        (0..rest.users.len()).any(|user| {
            let before = with.tasks[if user < leaver { user } else { user + 1 }] as f64;
            before > without.tasks[user] as f64 + rest.slack(&without, user)
        })
    }

    /// Fills the pool. Where tasks are small, many are placed at a time while there is room for all to catch up.
    pub(super) fn fill(&self, misfit: Misfit) -> Filled {
        Filling::new(self, misfit).run()
    }
}

struct Filling<'a> {
    pool: &'a Pool,
    misfit: Misfit,
    roles: Vec<Role>,
    sorter: Sorter,
    free: Amounts,
    waiting: Vec<bool>,
    filled: Filled,
}

impl<'a> Filling<'a> {
    fn new(pool: &'a Pool, misfit: Misfit) -> Self {
        let users = pool.users.len();
        let roles: Vec<Role> = (0..users).map(|user| Role::new(&format!("user{user}")).expect("a role")).collect();
        let mut sorter = Sorter::new(&["gpu".into()]);
        sorter.grow(&quantities(&pool.total));
        for (at, user) in pool.users.iter().enumerate() {
            sorter.set_weight(&roles[at], (user.weight * 1000) as u32);
            sorter.set_active(&roles[at], framework(at), true);
        }
        let filled = Filled { tasks: vec![0; users], blocked_by: vec![0; users], placed: Vec::new(), spread: 0.0 };
        Self { pool, misfit, roles, sorter, free: pool.total, waiting: vec![true; users], filled }
    }

    fn run(mut self) -> Filled {
        while let Some(user) = self.sorter.order().first().map(|(_, id)| id.seq as usize - 1) {
            let count = self.bundle(user);
            let lacks = (0..RESOURCES).find(|at| self.pool.users[user].task[*at] * count > self.free[*at]);
            match lacks {
                None => self.place(user, count),
                Some(resource) => self.end(user, resource),
            }
        }
        self.filled
    }

    /// How many tasks the user places at once: as long as so many of all who wait fit twice.
    fn bundle(&self, user: usize) -> u64 {
        if self.misfit == Misfit::EndsUser {
            return 1;
        }
        let largest = self.pool.largest_step();
        let worth = |at: usize, size: u64| ((size as f64 * largest / self.pool.step(at)) as u64).max(1);
        let fits = |size: &u64| {
            (0..RESOURCES).all(|resource| {
                let waiting = (0..self.waiting.len()).filter(|at| self.waiting[*at]);
                let need = waiting.map(|at| 2 * (worth(at, *size) + 1) * self.pool.users[at].task[resource]);
                need.sum::<u64>() <= self.free[resource]
            })
        };
        [4096, 1024, 256, 64, 16, 4].iter().find(|size| fits(size)).map_or(1, |size| worth(user, *size))
    }

    fn place(&mut self, user: usize, count: u64) {
        let taken = self.pool.users[user].task.map(|need| need * count);
        self.free.iter_mut().zip(taken).for_each(|(free, taken)| *free -= taken);
        self.sorter.charge(&self.roles[user], framework(user), &quantities(&taken));
        self.filled.tasks[user] += count;
        self.filled.placed.push(user);
    }

    fn end(&mut self, user: usize, lacks: usize) {
        let waiting = (0..self.waiting.len()).filter(|user| self.waiting[*user]);
        let shares = waiting.map(|user| self.filled.tasks[user] as f64 * self.pool.step(user));
        let (low, high) = shares.fold((f64::MAX, 0.0_f64), |(low, high), share| (low.min(share), high.max(share)));
        self.filled.spread = self.filled.spread.max(high - low);
        for at in 0..self.pool.users.len() {
            let ends = match self.misfit {
                Misfit::EndsUser => at == user,
                Misfit::EndsResource => self.pool.users[at].task[lacks] > 0,
            };
            if ends && self.waiting[at] {
                self.waiting[at] = false;
                self.filled.blocked_by[at] = lacks;
                self.sorter.set_active(&self.roles[at], framework(at), false);
            }
        }
    }
}

fn framework(user: usize) -> FrameworkId {
    FrameworkId::new(Term(1), user as u64 + 1)
}

pub(super) fn quantities(amounts: &Amounts) -> Quantities {
    let names = [ResourceName::Cpus, ResourceName::Mem, ResourceName::Disk, kind_quantity("gpu")];
    let mut quantities = Quantities::new();
    names.iter().zip(amounts).for_each(|(name, amount)| quantities.set(name, Milli(*amount)));
    quantities
}
