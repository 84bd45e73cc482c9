//! Worked examples with known results.

use rialto_core::allocator::sorter::Sorter;
use rialto_core::model::{FrameworkId, Role, Term};

use super::pool::{Amounts, Misfit, Pool, RESOURCES, quantities};

/// An example, what must come out, and what came out.
pub(super) struct Vector {
    pub(super) what: &'static str,
    pub(super) expected: String,
    pub(super) got: String,
    pub(super) tolerance: &'static str,
    pub(super) holds: bool,
}

impl Vector {
    fn exact(what: &'static str, expected: &str, got: String) -> Self {
        let holds = expected == got;
        Self { what, expected: expected.to_owned(), got, tolerance: "exact", holds }
    }

    /// For tasks of which a thousandth can be placed; one of those may be missing or too much, and one more for rounding.
    fn divided(what: &'static str, expected: &[f64], pool: &Pool) -> Self {
        let got = divided(pool);
        let text = |tasks: &[f64]| {
            let tasks: Vec<String> = tasks.iter().map(|tasks| format!("{tasks:.3}")).collect();
            format!("[{}]", tasks.join(", "))
        };
        let holds = got.len() == expected.len() && got.iter().zip(expected).all(|(a, b)| (a - b).abs() <= 0.002);
        Self { what, expected: text(expected), got: text(&got), tolerance: "±0.002", holds }
    }
}

pub(super) fn all() -> Vec<Vector> {
    let gpus =
        Pool::new(amounts(100, 400, 8), &[(amounts(4, 16, 1), 1), (amounts(8, 4, 0), 1), (amounts(2, 32, 0), 1)]);
    let asset = Pool::new(amounts(30, 30, 0), &[(amounts(1, 3, 0), 1), (amounts(1, 1, 0), 1)]);
    let placed = format!("{:?}", papers([1, 1]).fill(Misfit::EndsUser).placed);
    vec![
        Vector::exact("9 cpus, 18 GB; A (1, 4), B (3, 1): tasks; used", "[3, 2]; [9, 14]", whole(&papers([1, 1]))),
        Vector::exact("the same: who places, in turn", "[0, 1, 0, 1, 0]", placed),
        Vector::exact("the same, weights 2 and 1", "[4, 1]; [7, 17]", whole(&papers([2, 1]))),
        Vector::divided("the same, divided", &[54.0 / 13.0, 18.0 / 13.0], &papers([2, 1])),
        Vector::exact(
            "100 cpus, 400 GB, 8 GPUs; (4, 16, 1), (8, 4, 0), (2, 32, 0)",
            "[5, 8, 8]; [100, 368, 5]",
            whole(&gpus),
        ),
        Vector::divided("the same, divided", &[800.0 / 157.0, 1250.0 / 157.0, 1250.0 / 157.0], &gpus),
        Vector::divided("30 cpus, 30 GB; (1, 3), (1, 1), divided: neither has less than half", &[5.0, 15.0], &asset),
        Vector::exact("orders of Mesos' sorter", "c d a b; c b d; c b e d; e b d c f", plain_orders()),
        Vector::exact("orders of Mesos' sorter with weights", "d b c a; c d a; c d a e; c d e", weighted_orders()),
    ]
}

const fn amounts(cpus: u64, mem: u64, gpus: u64) -> Amounts {
    [cpus * 1000, mem * 1000, 0, gpus * 1000]
}

fn papers(weights: [u64; 2]) -> Pool {
    Pool::new(amounts(9, 18, 0), &[(amounts(1, 4, 0), weights[0]), (amounts(3, 1, 0), weights[1])])
}

fn whole(pool: &Pool) -> String {
    let filled = pool.fill(Misfit::EndsUser);
    let used = (0..RESOURCES).filter(|at| pool.total[*at] > 0).map(|at| pool.used(&filled.tasks, at) / 1000);
    format!("{:?}; {:?}", filled.tasks, used.collect::<Vec<_>>())
}

/// Whole tasks, of which a thousandth can be placed.
fn divided(pool: &Pool) -> Vec<f64> {
    let pool = Pool { total: pool.total.map(|total| total * 1000), ..pool.clone() };
    pool.fill(Misfit::EndsResource).tasks.iter().map(|tasks| *tasks as f64 / 1000.0).collect()
}

/// A sorter whose clients are roles of one framework each.
struct Clients(Sorter, Vec<String>);

impl Clients {
    fn new() -> Self {
        let mut sorter = Sorter::new(&[]);
        sorter.grow(&quantities(&amounts(100, 100, 0)));
        Self(sorter, Vec::new())
    }

    fn add(&mut self, name: &str, weight_milli: u32, cpus: u64, mem: u64) {
        self.0.set_weight(&role(name), weight_milli);
        self.0.set_active(&role(name), client(name), true);
        self.hold(name, cpus, mem);
    }

    fn hold(&mut self, name: &str, cpus: u64, mem: u64) {
        self.0.charge(&role(name), client(name), &quantities(&amounts(cpus, mem, 0)));
    }

    fn give_back(&mut self, name: &str, cpus: u64, mem: u64) {
        self.0.credit(&role(name), client(name), &quantities(&amounts(cpus, mem, 0)));
    }

    fn remove(&mut self, name: &str, cpus: u64, mem: u64) {
        self.give_back(name, cpus, mem);
        self.0.set_active(&role(name), client(name), false);
        self.0.remove(&role(name), client(name));
    }

    fn note(&mut self) {
        let names: Vec<String> = self.0.order().iter().map(|(role, _)| role.as_str().to_owned()).collect();
        self.1.push(names.join(" "));
    }
}

fn plain_orders() -> String {
    let mut clients = Clients::new();
    for (name, cpus, mem) in [("a", 5, 5), ("b", 6, 6), ("c", 1, 1), ("d", 3, 1)] {
        clients.add(name, 1000, cpus, mem);
    }
    clients.note();
    clients.remove("a", 5, 5);
    clients.give_back("b", 4, 4);
    clients.note();
    clients.add("e", 1000, 1, 5);
    clients.0.shrink(&quantities(&amounts(50, 0, 0)));
    clients.note();
    clients.0.grow(&quantities(&amounts(0, 100, 0)));
    clients.add("f", 1000, 5, 1);
    clients.hold("c", 0, 15);
    clients.note();
    clients.1.join("; ")
}

fn weighted_orders() -> String {
    let mut clients = Clients::new();
    for (name, weight_milli, cpus, mem) in
        [("a", 1000, 5, 5), ("b", 2000, 6, 6), ("c", 1000, 4, 4), ("d", 10_000, 10, 20)]
    {
        clients.add(name, weight_milli, cpus, mem);
    }
    clients.note();
    clients.remove("b", 6, 6);
    clients.hold("d", 10, 25);
    clients.note();
    clients.add("e", 100, 1, 1);
    clients.note();
    clients.remove("a", 5, 5);
    clients.note();
    clients.1.join("; ")
}

fn role(name: &str) -> Role {
    Role::new(name).expect("a letter is a role")
}

fn client(name: &str) -> FrameworkId {
    FrameworkId::new(Term(1), u64::from(name.as_bytes()[0]))
}
