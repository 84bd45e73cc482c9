use super::*;
use crate::testing::{shape, task};

fn role() -> Role {
    Role::new("eng").expect("a role")
}

fn at(seconds: u64) -> Time {
    Time(seconds * 1_000_000)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

struct Book {
    queue: Queue,
    history: History,
}

impl Book {
    fn new() -> Self {
        Self { queue: Queue::default(), history: History::default() }
    }

    fn declare(&mut self, seconds: u64, shapes: Vec<Shape>) {
        let demand = Demand { shapes };
        self.queue.declare(at(seconds), &role(), Some(&demand), &self.history, |_| Outlook::Possible);
    }

    fn launch(&mut self, seconds: u64, resources: &str) {
        self.queue.launched(at(seconds), &role(), &task("t", "eng", resources, &[]), &mut self.history);
    }

    fn estimate(&self) -> Option<Estimate> {
        self.history.estimate(&role(), &Arc::from("1 cpu"))
    }
}

#[test]
fn what_is_declared_again_keeps_its_place_in_time() {
    let mut book = Book::new();
    book.declare(0, vec![shape("a", "cpus:1", &[], 1)]);
    book.declare(5, vec![shape("b", "cpus:2", &[], 1), shape("a", "cpus:1", &[], 3)]);
    let since: Vec<_> = book.queue.rows().iter().map(Row::since).collect();
    assert_eq!(since, [Some(at(5)), Some(at(0))]);
    book.launch(9, "cpus:1");
    assert_eq!(book.queue.rows()[1].since(), Some(at(5)), "the oldest was served");
    book.declare(10, vec![shape("a", "cpus:1", &[], 1)]);
    assert_eq!(book.queue.rows()[0].since(), Some(at(5)), "the newest is wanted no more");
}

#[test]
fn an_estimate_needs_some_waits_and_is_held_against_what_happens() {
    let mut book = Book::new();
    for round in 0..WAITS_MIN as u64 {
        assert_eq!(book.estimate(), None);
        book.declare(round * 100, vec![shape("a", "cpus:1", &[], 1)]);
        book.launch(round * 100 + 10 + round, "cpus:1");
    }
    let estimate = book.estimate().expect("enough waits");
    assert_eq!((estimate.waits, estimate.median, estimate.p90), (5, secs(12), secs(14)));
    assert_eq!(book.history.calibration(), Calibration::default(), "nothing was estimated before");
    for (number, length) in [11, 13, 60].into_iter().enumerate() {
        book.declare(1000 * (number as u64 + 1), vec![shape("a", "cpus:1", &[], 1)]);
        book.launch(1000 * (number as u64 + 1) + length, "cpus:1");
    }
    assert_eq!(book.history.calibration(), Calibration { judged: 3, within_median: 1, within_p90: 2 });
}

#[test]
fn who_has_waited_longer_than_most_is_judged_by_the_rest() {
    let mut book = Book::new();
    for length in 1..=20 {
        book.declare(length * 100, vec![shape("a", "cpus:1", &[], 1)]);
        book.launch(length * 100 + length, "cpus:1");
    }
    let asks: Arc<str> = Arc::from("1 cpu");
    let after = book.history.estimate_after(&role(), &asks, secs(11)).expect("ten waited longer");
    assert_eq!((after.waits, after.median, after.p90), (10, secs(15), secs(19)));
    assert_eq!(book.history.estimate_after(&role(), &asks, secs(18)), None);
}

#[test]
fn a_launch_of_something_else_meets_no_demand() {
    let mut book = Book::new();
    book.declare(0, vec![shape("a", "cpus:1", &[], 1)]);
    book.launch(5, "cpus:2");
    assert_eq!(book.queue.rows()[0].since(), Some(at(0)));
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut history = History::default();
    for kind in 0..KINDS_MAX * 2 {
        let asks: Arc<str> = Arc::from(kind.to_string());
        (0..WAITS_MAX * 2).for_each(|_| history.met(&role(), &asks, secs(1), None));
    }
    assert_eq!(history.kinds.len(), KINDS_MAX);
    assert!(history.kinds.values().all(|waits| waits.lengths.len() == WAITS_MAX));
}

#[test]
fn what_is_asked_for_is_said_in_words() {
    let mut wanted = shape("s", "cpus:1.5;mem:64;ports:[1-2]", &["2 gpu: memory >= 40GiB"], 1);
    wanted.constraint = "rack == r1".parse().expect("a selector");
    assert_eq!(asks(&wanted), "1.5 cpus, 64 MiB of memory, 2 ports, device 2 gpu: memory >= 40GiB, where rack == r1");
}
