//! The theorems of dominant resource fairness on random instances with tasks of a thousandth of the size.
//!
//! They hold exactly where tasks can be divided. Here a task is a thousandth of a task that is 1/64 to 1/16 of the pool, so each law
//! holds up to a few such tasks. The tolerances follow from two facts. First, the weighted shares of two users who wait differ by at
//! most `d`, the largest weighted step of one task (asserted whenever somebody ends). Second, a resource counts as used up when one task
//! does not fit, so less than `t`, the largest task's dominant share, of it is left.

use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::*;

/// How many instances each law is tried on.
pub(super) const INSTANCES: usize = 10_000;
/// The seeds of the instances; each yields the same share of them.
const SEEDS: [u64; 4] = [1, 2, 3, 5];
/// No need is less than this part of the user's dominant share; else one task's worth of it would be worth many.
const LEAST_PART: u64 = 4;
const ROUNDING: f64 = 1e-6;

/// Random pools, always the same.
pub(super) struct Instances {
    dice: Pcg64Mcg,
    seeds: std::slice::Iter<'static, u64>,
    left: usize,
    /// How many tasks of an instance make one whole task.
    parts: u64,
    /// Of how many needs that are not the dominant one, of four, there are none.
    zeros: u64,
}

impl Instances {
    /// With tasks of a sixteenth of the pool at most.
    pub(super) fn whole() -> Self {
        Self { dice: Pcg64Mcg::seed_from_u64(0), seeds: SEEDS.iter(), left: 0, parts: 1, zeros: 1 }
    }

    /// With tasks of a thousandth of that.
    fn thousandths() -> Self {
        Self { parts: 1000, ..Self::whole() }
    }

    fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.dice.next_u64() % (high - low + 1)
    }

    fn pool(&mut self) -> Pool {
        // One in eight has a single resource; in one in eight everybody's dominant resource is the same.
        let kind = self.between(0, 7);
        let resources = if kind == 0 { 1 } else { usize::try_from(self.between(2, 4)).expect("it is small") };
        let mut total = [0; RESOURCES];
        for amount in total.iter_mut().take(resources) {
            *amount = self.between(1 << 30, 1 << 36);
        }
        let users = (0..self.between(2, 5)).map(|_| {
            let dominant =
                if kind <= 1 { 0 } else { usize::try_from(self.between(0, resources as u64 - 1)).expect("small") };
            User { task: self.task(&total, resources, dominant), weight: self.between(1, 3) }
        });
        let users = users.collect();
        Pool { total, users }
    }

    /// A task with that dominant resource; it needs each of the others or does not.
    fn task(&mut self, total: &Amounts, resources: usize, dominant: usize) -> Amounts {
        let size = self.between(1 << 10, 1 << 12);
        let mut task = [0; RESOURCES];
        for at in 0..resources {
            let part = match at {
                _ if at == dominant => size,
                _ if self.between(0, 3) < self.zeros => 0,
                _ => self.between(size / LEAST_PART, size),
            };
            task[at] = u64::try_from(u128::from(total[at]) * u128::from(part) / (1 << 16) / u128::from(self.parts))
                .expect("a part");
        }
        task
    }
}

impl Iterator for Instances {
    type Item = Pool;

    fn next(&mut self) -> Option<Pool> {
        if self.left == 0 {
            self.dice = Pcg64Mcg::seed_from_u64(*self.seeds.next()?);
            self.left = INSTANCES / SEEDS.len();
        }
        self.left -= 1;
        Some(self.pool())
    }
}

/// Fills the pool; the shares of those who waited never differed by more than the largest step.
fn fill(pool: &Pool) -> Filled {
    let filled = pool.fill_in_bundles();
    let bound = pool.largest_step() * (1.0 + 1e-9);
    assert!(filled.spread <= bound, "{} > {bound}: {pool:?} {filled:?}", filled.spread);
    filled
}

/// How many tasks of `user` fit into what `tasks` tasks of `shape` hold.
fn tasks_in(pool: &Pool, user: usize, shape: &Amounts, tasks: f64) -> f64 {
    let needs = (0..RESOURCES).filter(|at| pool.users[user].task[*at] > 0);
    needs.map(|at| tasks * shape[at] as f64 / pool.users[user].task[at] as f64).fold(f64::MAX, f64::min)
}

/// By how many tasks of the user the outcome may differ because tasks can't be divided, if `resource` ended the user: at the same level
/// of shares each user holds one task more or less, and up to one task's worth of each resource is left. What one resource ends early
/// moves when the next is used up.
fn slack(pool: &Pool, user: usize, resource: usize) -> f64 {
    let need = pool.users[user].task[resource] as f64 / pool.total[resource] as f64;
    let resources = pool.total.iter().filter(|total| **total > 0).count();
    (pool.users.len() + 1) as f64 * pool.largest_task() / need * resources as f64 + 1.0
}

/// What the laws say of one filled pool, without any second filling: the first that does not hold.
fn violated(pool: &Pool, filled: &Filled) -> Option<String> {
    let users = 0..pool.users.len();
    users.clone().find_map(|user| {
        let envied = users.clone().find(|other| envies(pool, filled, user, *other));
        let envy = envied.map(|other| format!("user {user} envies user {other}"));
        let broken = |holds: bool, law: &str| (!holds).then(|| format!("{law} does not hold for user {user}"));
        broken(has_incentive(pool, filled, user), "the sharing incentive")
            .or_else(|| broken(is_blocked(pool, filled, user), "pareto efficiency"))
            .or(envy)
    })
}

/// Everybody gets at least what its weight would buy of a divided pool. When a user ends, a resource it needs is used up but for `t`;
/// nobody's weighted share is more than `d` above its own: so with the weights' sum `W` its weighted share is at least (1 - t)/W - d.
fn has_incentive(pool: &Pool, filled: &Filled, user: usize) -> bool {
    let share = filled.tasks[user] as f64 * pool.step(user);
    share + ROUNDING >= (1.0 - pool.largest_task()) / pool.weights() - pool.largest_step()
}

/// Nobody can have more without another having less: some resource that it needs is used up, but for `t`.
fn is_blocked(pool: &Pool, filled: &Filled, user: usize) -> bool {
    let used = |at: usize| pool.users.iter().zip(&filled.tasks).map(|(user, tasks)| user.task[at] * tasks).sum::<u64>();
    (0..RESOURCES).any(|at| {
        let free = pool.total[at].saturating_sub(used(at));
        pool.users[user].task[at] > 0 && (free as f64) < pool.largest_task() * pool.total[at] as f64
    })
}

/// Whether what the other holds, scaled by the weights, would give the user more tasks. When the user ends, all who need what ended it
/// end too, with weighted shares at most `d` above its own; the others hold nothing of that.
fn envies(pool: &Pool, filled: &Filled, user: usize, other: usize) -> bool {
    let scale = pool.users[user].weight as f64 / pool.users[other].weight as f64;
    let tasks = tasks_in(pool, user, &pool.users[other].task, filled.tasks[other] as f64 * scale);
    tasks > filled.tasks[user] as f64 + pool.largest_step() / pool.step(user) + ROUNDING
}

#[test]
fn incentive_to_share_no_waste_no_envy() {
    for (number, pool) in Instances::thousandths().take(INSTANCES).enumerate() {
        let filled = fill(&pool);
        assert_eq!(violated(&pool, &filled), None, "instance {number}: {pool:?} {filled:?}");
    }
}

/// With one resource, or one that is dominant for all, the shares are as the weights.
#[test]
fn one_resource_and_one_bottleneck_are_shared_by_weight() {
    let mut tried = 0;
    for (number, pool) in Instances::thousandths().take(INSTANCES).enumerate() {
        let is_dominant = |user: usize| {
            let part = pool.users[user].task[0] as f64 / pool.total[0] as f64;
            part >= pool.dominant(user)
        };
        if !(0..pool.users.len()).all(is_dominant) {
            continue;
        }
        tried += 1;
        let filled = fill(&pool);
        for user in 0..pool.users.len() {
            let share = filled.tasks[user] as f64 * pool.step(user);
            // Who does not need what else was used up has at most the rest of the bottleneck, less than `t`, beyond.
            let (bound, fair) = (pool.largest_step() + pool.largest_task(), 1.0 / pool.weights());
            assert!((share - fair).abs() <= bound + ROUNDING, "instance {number}: {share}: {pool:?} {filled:?}");
        }
    }
    assert!(tried > INSTANCES / 5, "{tried} instances have one bottleneck");
}

/// Nobody runs more of its true tasks by asking for others.
#[test]
fn nobody_gains_by_lying() {
    let mut lies = Instances { dice: Pcg64Mcg::seed_from_u64(7), ..Instances::thousandths() };
    for (number, pool) in Instances::thousandths().take(INSTANCES).enumerate() {
        let liar = usize::try_from(lies.between(0, pool.users.len() as u64 - 1)).expect("it is small");
        let mut told = pool.clone();
        told.users[liar].task = lie(&mut lies, &pool, liar);
        if told.users[liar].task == [0; RESOURCES] {
            continue;
        }
        let (honest, lying) = (fill(&pool), fill(&told));
        let gained = tasks_in(&pool, liar, &told.users[liar].task, lying.tasks[liar] as f64);
        let bound = honest.tasks[liar] as f64 + slack(&pool, liar, honest.blocked_by[liar]);
        assert!(
            gained <= bound,
            "instance {number}: {gained} > {bound} of {liar}: {pool:?} {honest:?} {told:?} {lying:?}"
        );
    }
}

/// Each need is told as something between half and twice of it, one in eight not at all; one in eight that is none is told as one.
#[expect(clippy::needless_range_loop, reason = "the index names the same resource in two lists")]
fn lie(dice: &mut Instances, pool: &Pool, user: usize) -> Amounts {
    let mut told = pool.users[user].task;
    for at in 0..RESOURCES {
        let none = dice.between(0, 7) == 0;
        told[at] = match told[at] {
            0 if none => pool.total[at] / (1 << 16),
            0 => 0,
            _ if none => 0,
            need => dice.between(need / 2, need * 2),
        };
    }
    told
}

/// Nobody has less because another leaves, where everybody needs some of everything. (Else it is no theorem: what the leaver leaves may let
/// another go on, who then takes more of what a third needs.)
#[test]
fn a_leaver_hurts_nobody() {
    let instances = Instances { zeros: 0, ..Instances::thousandths() };
    for (number, pool) in instances.take(INSTANCES).enumerate() {
        let leaver = number % pool.users.len();
        let mut rest = pool.clone();
        rest.users.remove(leaver);
        let (with, without) = (fill(&pool), fill(&rest));
        for user in 0..rest.users.len() {
            let before = with.tasks[if user < leaver { user } else { user + 1 }] as f64;
            let after = without.tasks[user] as f64 + slack(&rest, user, without.blocked_by[user]);
            assert!(after >= before, "instance {number}: {after} < {before} of {user}: {pool:?} {with:?} {without:?}");
        }
    }
}

/// The laws tell fair from unfair: where every user has as many tasks as any other, or the whole by itself, they are violated often.
#[test]
fn other_rules_are_found_wanting() {
    let mut caught = [0, 0];
    for pool in Instances::thousandths().take(200) {
        let fair = fill(&pool);
        let least = fair.tasks.iter().copied().min().expect("there are users");
        let equal = Filled { tasks: vec![least; pool.users.len()], ..fair.clone() };
        let mut greedy = fair;
        let (first, second) = greedy.tasks.split_at_mut(1);
        first[0] += std::mem::take(&mut second[0]) / 10;
        caught[0] += usize::from(violated(&pool, &equal).is_some());
        caught[1] += usize::from(violated(&pool, &greedy).is_some());
    }
    assert!(caught.iter().all(|caught| *caught > 150), "{caught:?} of 200");
}
