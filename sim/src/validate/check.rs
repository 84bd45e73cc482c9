//! A check, its parts, and how they are run.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use cpu_time::ThreadTime;

/// One thing that is run by itself; the numbers it found.
pub(super) type Part = Box<dyn FnOnce() -> Vec<f64> + Send>;
/// What the numbers of all parts, in their order, say.
pub(super) type Judge = Box<dyn FnOnce(&[Vec<f64>]) -> Vec<Row>>;

/// Something that must come out.
pub(super) struct Check {
    pub(super) parts: Vec<Part>,
    pub(super) judge: Judge,
}

/// Whether it came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Within the tolerance.
    Pass,
    /// Not within it.
    Fail,
    /// There is nothing to hold it against.
    Told,
}

/// A line of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Of which check.
    pub id: &'static str,
    /// What is looked at.
    pub what: String,
    /// What must come out.
    pub expected: String,
    /// What came out.
    pub got: String,
    /// How far it may be off.
    pub tolerance: String,
    /// Whether it is within that.
    pub verdict: Verdict,
}

impl Verdict {
    /// In a word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "FAIL",
            Self::Told => "told",
        }
    }

    pub(super) const fn of(holds: bool) -> Self {
        if holds { Self::Pass } else { Self::Fail }
    }
}

impl Row {
    /// `got` is to be within `tolerance` of `expected`.
    pub(super) fn near(id: &'static str, what: impl Into<String>, expected: f64, got: f64, tolerance: f64) -> Self {
        Self {
            id,
            what: what.into(),
            expected: short(expected),
            got: short(got),
            tolerance: format!("±{}", short(tolerance)),
            verdict: Verdict::of((got - expected).abs() <= tolerance),
        }
    }

    /// `got` is to be within that part of `expected`.
    pub(super) fn relative(id: &'static str, what: impl Into<String>, expected: f64, got: f64, part: f64) -> Self {
        let tolerance = format!("±{} %", short(part * 100.0));
        Self { tolerance, ..Self::near(id, what, expected, got, expected.abs() * part) }
    }

    /// `got` is to be at most so much.
    pub(super) fn at_most(id: &'static str, what: impl Into<String>, bound: f64, got: f64) -> Self {
        let (expected, verdict) = (format!("at most {}", short(bound)), Verdict::of(got <= bound));
        Self { id, what: what.into(), expected, got: short(got), tolerance: "bound".to_owned(), verdict }
    }

    /// `got` is to be at least so much.
    pub(super) fn at_least(id: &'static str, what: impl Into<String>, bound: f64, got: f64) -> Self {
        let (expected, verdict) = (format!("at least {}", short(bound)), Verdict::of(got >= bound));
        Self { id, what: what.into(), expected, got: short(got), tolerance: "bound".to_owned(), verdict }
    }

    /// `got` is to lie in a band.
    pub(super) fn within(id: &'static str, what: impl Into<String>, low: f64, high: f64, got: f64) -> Self {
        let expected = format!("{} to {}", short(low), short(high));
        let verdict = Verdict::of((low..=high).contains(&got));
        Self { id, what: what.into(), expected, got: short(got), tolerance: "band".to_owned(), verdict }
    }

    /// Nothing is to be held against it.
    pub(super) fn told(id: &'static str, what: impl Into<String>, expected: impl Into<String>, got: f64) -> Self {
        let (what, expected) = (what.into(), expected.into());
        Self { id, what, expected, got: short(got), tolerance: "none".to_owned(), verdict: Verdict::Told }
    }
}

/// With as many digits as say something.
pub(super) fn short(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        size if size >= 1000.0 => 0,
        size if size >= 10.0 => 2,
        size if size >= 0.1 => 3,
        _ => 5,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

pub(super) fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (sum, count) = values.into_iter().fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count.max(1))
}

/// The middle one of the values in their order; zero if there is none.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// What a part found, and for how many seconds it kept a processor busy.
type Found = (Vec<f64>, f64);

/// Runs all parts of all checks on so many threads, and judges them in order; for each check its rows, and the processor seconds of its
/// parts.
pub(super) fn run(
    checks: Vec<Check>,
    threads: usize,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Vec<(Vec<Row>, f64)> {
    let (mut parts, mut judges) = (Vec::new(), Vec::new());
    for check in checks {
        judges.push((check.parts.len(), check.judge));
        parts.extend(check.parts);
    }
    let mut found = on_threads(parts, threads, progress).into_iter();
    let judged = judges.into_iter().map(|(count, judge)| {
        let (its, seconds): (Vec<Vec<f64>>, Vec<f64>) = found.by_ref().take(count).unzip();
        (judge(&its), seconds.iter().sum())
    });
    judged.collect()
}

fn on_threads(parts: Vec<Part>, threads: usize, progress: &(dyn Fn(usize, usize) + Sync)) -> Vec<Found> {
    let count = parts.len();
    let waiting = Mutex::new(parts.into_iter().enumerate());
    let (done, found) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, count.max(1)) {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().expect("nothing panics while it holds the lock").next();
                    let Some((number, part)) = next else { return };
                    let began = ThreadTime::now();
                    let numbers = part();
                    let took = (numbers, began.elapsed().as_secs_f64());
                    found.lock().expect("nothing panics while it holds the lock").insert(number, took);
                    progress(done.fetch_add(1, Ordering::Relaxed) + 1, count);
                }
            });
        }
    });
    found.into_inner().expect("every part has ended").into_values().collect()
}
