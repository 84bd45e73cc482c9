//! Worked examples with known results.

use super::*;

/// What the users hold together, in whole units.
fn used(pool: &Pool, filled: &Filled) -> Vec<u64> {
    let of = |at: usize| pool.users.iter().zip(&filled.tasks).map(|(user, tasks)| user.task[at] * tasks / 1000).sum();
    (0..RESOURCES).map(of).collect()
}

/// The paper's section 4.1: 9 cpus and 18 GB; a task of A takes (1, 4), one of B (3, 1).
fn papers_example(weights: [u64; 2]) -> Pool {
    Pool::new(cpus_mem(9, 18), &[(cpus_mem(1, 4), weights[0]), (cpus_mem(3, 1), weights[1])])
}

/// The pool with tasks of a thousandth of the size.
fn thousandths(mut pool: Pool) -> Pool {
    pool.total = pool.total.map(|total| total * 1000);
    pool
}

/// Thousandths of tasks, compared to `expected` whole tasks of which at most one small task is missing or too much.
fn assert_near(filled: &Filled, expected: &[f64]) {
    for (tasks, expected) in filled.tasks.iter().zip(expected) {
        assert!((*tasks as f64 - expected * 1000.0).abs() <= 2.0, "{tasks} thousandths, expected {expected} tasks");
    }
}

#[test]
fn the_papers_example_gives_three_and_two_tasks() {
    let pool = papers_example([1, 1]);
    for misfit in [Misfit::EndsAll, Misfit::EndsUser] {
        let filled = pool.fill(misfit);
        assert_eq!(filled.tasks, [3, 2], "{misfit:?}");
        assert_eq!(used(&pool, &filled)[..2], [9, 14]);
        assert_eq!(filled.placed, [0, 1, 0, 1, 0], "the first tie goes to the lower id");
    }
    assert_near(&thousandths(pool).fill_in_bundles(), &[3.0, 2.0]);
}

#[test]
fn the_papers_example_weighted_two_to_one() {
    let pool = papers_example([2, 1]);
    let filled = pool.fill(Misfit::EndsUser);
    assert_eq!(filled.tasks, [4, 1]);
    assert_eq!(used(&pool, &filled)[..2], [7, 17]);
    assert_near(&thousandths(pool).fill_in_bundles(), &[54.0 / 13.0, 18.0 / 13.0]);
}

/// The paper's counter-example to asset fairness, where the second user gets less than half of both resources.
#[test]
fn where_asset_fairness_breaks_the_sharing_incentive_nobody_gets_less_than_half() {
    let pool = thousandths(Pool::new(cpus_mem(30, 30), &[(cpus_mem(1, 3), 1), (cpus_mem(1, 1), 1)]));
    // Memory runs out when 3x + y = 30 and the dominant shares x/10 and y/30 are the same.
    let filled = pool.fill_in_bundles();
    assert_near(&filled, &[5.0, 15.0]);
    for user in 0..2 {
        assert!(filled.tasks[user] as f64 * pool.dominant(user) >= 0.499, "{filled:?}");
    }
}

/// 100 cpus, 400 GB and 8 gpus between three users of different dominant resources.
fn with_gpus() -> Pool {
    let amounts = |cpus: u64, mem: u64, gpus: u64| [cpus * 1000, mem * 1000, 0, gpus * 1000];
    Pool::new(amounts(100, 400, 8), &[(amounts(4, 16, 1), 1), (amounts(8, 4, 0), 1), (amounts(2, 32, 0), 1)])
}

#[test]
fn gpus_are_a_dominant_resource_like_any_other() {
    let pool = with_gpus();
    let filled = pool.fill(Misfit::EndsUser);
    assert_eq!(filled.tasks, [5, 8, 8], "who no longer fits is done, the others go on");
    assert_eq!(used(&pool, &filled), [100, 368, 0, 5]);
    assert_near(&thousandths(pool).fill_in_bundles(), &[800.0 / 157.0, 1250.0 / 157.0, 1250.0 / 157.0]);
}

#[test]
fn by_the_papers_algorithm_the_first_misfit_ends_all() {
    let pool = with_gpus();
    let (all, user) = (pool.fill(Misfit::EndsAll), pool.fill(Misfit::EndsUser));
    assert!(user.placed.starts_with(&all.placed), "up to the first misfit the two rules do the same");
    let fits = |tasks: &[u64], at: usize| {
        let need = |resource: usize| {
            let held: u64 = pool.users.iter().zip(tasks).map(|(user, tasks)| user.task[resource] * tasks).sum();
            held + pool.users[at].task[resource]
        };
        (0..RESOURCES).all(|resource| need(resource) <= pool.total[resource])
    };
    let shares: Vec<f64> = (0..3).map(|at| all.tasks[at] as f64 * pool.step(at)).collect();
    let first = (0..3).min_by(|a, b| shares[*a].total_cmp(&shares[*b])).expect("three users");
    assert!(!fits(&all.tasks, first), "it ended because who was first did not fit: {all:?}");
}

/// A sorter whose clients are roles of one framework each, as in the tests of Mesos' sorter.
struct Clients(Sorter);

impl Clients {
    fn of(total: (u64, u64)) -> Self {
        let mut sorter = Sorter::new(&[]);
        sorter.grow(&quantities(&cpus_mem(total.0, total.1)));
        Self(sorter)
    }

    fn add(&mut self, name: &str, weight_milli: u32) {
        self.0.set_weight(&role(name), weight_milli);
        self.0.set_active(&role(name), client(name), true);
    }

    fn hold(&mut self, name: &str, cpus: u64, mem: u64) {
        self.0.charge(&role(name), client(name), &quantities(&cpus_mem(cpus, mem)));
    }

    fn give_back(&mut self, name: &str, cpus: u64, mem: u64) {
        self.0.credit(&role(name), client(name), &quantities(&cpus_mem(cpus, mem)));
    }

    /// Removes a client that holds so much.
    fn remove(&mut self, name: &str, cpus: u64, mem: u64) {
        self.give_back(name, cpus, mem);
        self.0.remove(&role(name), client(name));
    }

    fn order(&mut self) -> String {
        self.0.order().iter().map(|(role, _)| role.as_str().to_owned()).collect::<Vec<_>>().join(" ")
    }
}

fn role(name: &str) -> Role {
    Role::new(name).expect("a role")
}

fn client(name: &str) -> FrameworkId {
    FrameworkId::new(Term(1), u64::from(name.as_bytes()[0]))
}

/// `DRFSorter` in Mesos' `sorter_tests.cpp`.
#[test]
fn mesos_sorter_vector() {
    let mut clients = Clients::of((100, 100));
    for (name, cpus, mem) in [("a", 5, 5), ("b", 6, 6), ("c", 1, 1), ("d", 3, 1)] {
        clients.add(name, 1000);
        clients.hold(name, cpus, mem);
    }
    assert_eq!(clients.order(), "c d a b");
    clients.remove("a", 5, 5);
    clients.give_back("b", 4, 4);
    assert_eq!(clients.order(), "c b d");
    clients.add("e", 1000);
    clients.hold("e", 1, 5);
    clients.0.shrink(&quantities(&cpus_mem(50, 0)));
    assert_eq!(clients.order(), "c b e d", "shares .02 .04 .05 .06");
    clients.0.grow(&quantities(&cpus_mem(0, 100)));
    clients.add("f", 1000);
    clients.hold("f", 5, 1);
    clients.hold("c", 0, 15);
    assert_eq!(clients.order(), "e b d c f", "shares .025 .04 .06 .08 .1");
}

/// `WDRFSorter` in Mesos' `sorter_tests.cpp`.
#[test]
fn mesos_weighted_sorter_vector() {
    let mut clients = Clients::of((100, 100));
    for (name, weight_milli, cpus, mem) in [("a", 1000, 5, 5), ("b", 2000, 6, 6), ("c", 1000, 4, 4)] {
        clients.add(name, weight_milli);
        clients.hold(name, cpus, mem);
    }
    clients.add("d", 10_000);
    clients.hold("d", 10, 20);
    assert_eq!(clients.order(), "d b c a");
    clients.remove("b", 6, 6);
    clients.hold("d", 10, 25);
    assert_eq!(clients.order(), "c d a");
    clients.add("e", 100);
    clients.hold("e", 1, 1);
    assert_eq!(clients.order(), "c d a e");
    clients.remove("a", 5, 5);
    assert_eq!(clients.order(), "c d e");
}
