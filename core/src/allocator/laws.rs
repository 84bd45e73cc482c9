//! What the sorter must do by the theory: worked examples of the paper on dominant resource fairness (Ghodsi et al., NSDI 2011), the
//! vectors of Mesos' own tests, and the theorems as properties on random instances.
//!
//! A [`Pool`] is one machine that several users fill with tasks of one shape each: whoever is first in the sorter's order places a task.

use super::sorter::{Sorter, kind_quantity};
use crate::model::{FrameworkId, Milli, Quantities, ResourceName, Role, Term};

mod discrete;
mod random;
mod vectors;

/// How many resources an instance has: cpus, mem, disk and the kind of device that counts.
const RESOURCES: usize = 4;

/// An amount of each resource, in thousandths.
type Amounts = [u64; RESOURCES];

/// What happens when the task of the user whose turn it is does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::enum_variant_names, reason = "each says what ends")]
enum Misfit {
    /// Algorithm 1 of the paper: the filling ends for all.
    EndsAll,
    /// That user is done, the others go on.
    EndsUser,
    /// What its task lacks counts as used up: all who need it are done, the others go on. The rule of the divisible model.
    EndsResource,
}

#[derive(Clone, Debug)]
struct User {
    task: Amounts,
    weight: u64,
}

#[derive(Clone, Debug)]
struct Pool {
    total: Amounts,
    users: Vec<User>,
}

/// What came of a filling.
#[derive(Clone, Debug, PartialEq)]
struct Filled {
    /// How many tasks each user has.
    tasks: Vec<u64>,
    /// The resource for want of which each user ended.
    blocked_by: Vec<usize>,
    /// Who placed each task, in order.
    placed: Vec<usize>,
    /// The largest distance between the weighted shares of two users who were still waiting: after each single placement.
    spread: f64,
}

impl Pool {
    fn new(total: Amounts, users: &[(Amounts, u64)]) -> Self {
        let users = users.iter().map(|(task, weight)| User { task: *task, weight: *weight }).collect();
        Self { total, users }
    }

    /// The dominant share of one task of the user, divided by its weight.
    fn step(&self, user: usize) -> f64 {
        self.dominant(user) / self.users[user].weight as f64
    }

    /// The dominant share of one task of the user.
    fn dominant(&self, user: usize) -> f64 {
        let parts = self.users[user].task.iter().zip(self.total);
        parts.map(|(need, total)| *need as f64 / total.max(1) as f64).fold(0.0, f64::max)
    }

    /// The largest weighted step of all users.
    fn largest_step(&self) -> f64 {
        (0..self.users.len()).map(|user| self.step(user)).fold(0.0, f64::max)
    }

    /// The largest dominant share of one task of all users.
    fn largest_task(&self) -> f64 {
        (0..self.users.len()).map(|user| self.dominant(user)).fold(0.0, f64::max)
    }

    fn weights(&self) -> f64 {
        self.users.iter().map(|user| user.weight as f64).sum()
    }

    /// Fills the pool task by task.
    fn fill(&self, misfit: Misfit) -> Filled {
        Filling::new(self, misfit, &[]).run()
    }

    /// The same outcome for tasks that are small beside the pool, in fewer steps: while there is room for all to catch up, the first in
    /// the order places several tasks at a time.
    fn fill_in_bundles(&self) -> Filled {
        Filling::new(self, Misfit::EndsResource, &[4096, 1024, 256, 64, 16, 4]).run()
    }
}

/// A filling under way.
struct Filling<'a> {
    pool: &'a Pool,
    misfit: Misfit,
    /// How many tasks of each user are a bundle; the largest bundles first.
    bundles: Vec<Vec<u64>>,
    steps: Vec<f64>,
    roles: Vec<Role>,
    sorter: Sorter,
    free: Amounts,
    waiting: Vec<bool>,
    filled: Filled,
}

impl<'a> Filling<'a> {
    /// `bundles` are worth so many times the largest step of any user.
    fn new(pool: &'a Pool, misfit: Misfit, bundles: &[u64]) -> Self {
        let users = pool.users.len();
        let roles: Vec<Role> = (0..users).map(role_of).collect();
        let mut sorter = Sorter::new(&["gpu".into()]);
        sorter.grow(&quantities(&pool.total));
        for (at, user) in pool.users.iter().enumerate() {
            sorter.set_weight(&roles[at], u32::try_from(user.weight * 1000).expect("weights are small"));
            sorter.set_active(&roles[at], framework(at), true);
        }
        let steps: Vec<f64> = (0..users).map(|user| pool.step(user)).collect();
        let worth = |size: u64, step: f64| ((size as f64 * pool.largest_step() / step) as u64).max(1);
        let bundles = bundles.iter().map(|size| steps.iter().map(|step| worth(*size, *step)).collect()).collect();
        let filled = Filled { tasks: vec![0; users], blocked_by: vec![0; users], placed: Vec::new(), spread: 0.0 };
        Self { pool, misfit, bundles, steps, roles, sorter, free: pool.total, waiting: vec![true; users], filled }
    }

    fn run(mut self) -> Filled {
        loop {
            let Some(user) = self.first() else { return self.filled };
            let count = self.bundle(user);
            let lacks = (0..RESOURCES).find(|at| self.pool.users[user].task[*at] * count > self.free[*at]);
            match lacks {
                None => self.place(user, count),
                Some(resource) => self.end(user, resource),
            }
        }
    }

    fn first(&mut self) -> Option<usize> {
        self.sorter.order().first().map(|(_, id)| usize::try_from(id.seq).expect("users are few") - 1)
    }

    /// How many tasks the user places at once: as long as the bundles of all who wait fit twice, so that all can catch up.
    fn bundle(&self, user: usize) -> u64 {
        let fits = |bundles: &Vec<u64>| {
            (0..RESOURCES).all(|at| {
                let users = self.pool.users.iter().zip(bundles).zip(&self.waiting).filter(|(_, waiting)| **waiting);
                users.map(|((user, count), _)| 2 * (count + 1) * user.task[at]).sum::<u64>() <= self.free[at]
            })
        };
        self.bundles.iter().find(|bundles| fits(bundles)).map_or(1, |bundles| bundles[user])
    }

    fn place(&mut self, user: usize, count: u64) {
        let taken = self.pool.users[user].task.map(|need| need * count);
        for (free, taken) in self.free.iter_mut().zip(taken) {
            *free -= taken;
        }
        self.sorter.charge(&self.roles[user], framework(user), &quantities(&taken));
        self.filled.tasks[user] += count;
        if self.bundles.is_empty() {
            self.filled.placed.push(user);
            self.note_spread();
        }
    }

    fn end(&mut self, user: usize, lacks: usize) {
        self.note_spread();
        for at in 0..self.pool.users.len() {
            let ends = match self.misfit {
                Misfit::EndsAll => true,
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

    fn note_spread(&mut self) {
        let waiting = (0..self.pool.users.len()).filter(|user| self.waiting[*user]);
        let shares = waiting.map(|user| self.filled.tasks[user] as f64 * self.steps[user]);
        let (low, high) = shares.fold((f64::MAX, 0.0_f64), |(low, high), share| (low.min(share), high.max(share)));
        self.filled.spread = self.filled.spread.max(high - low);
    }
}

fn role_of(user: usize) -> Role {
    Role::new(&format!("user{user}")).expect("a role")
}

fn framework(user: usize) -> FrameworkId {
    FrameworkId::new(Term(1), user as u64 + 1)
}

fn quantities(amounts: &Amounts) -> Quantities {
    let names = [ResourceName::Cpus, ResourceName::Mem, ResourceName::Disk, kind_quantity("gpu")];
    let mut quantities = Quantities::new();
    for (name, amount) in names.iter().zip(amounts) {
        quantities.set(name, Milli(*amount));
    }
    quantities
}

/// So many cpus and so much memory.
const fn cpus_mem(cpus: u64, mem: u64) -> Amounts {
    [cpus * 1000, mem * 1000, 0, 0]
}
