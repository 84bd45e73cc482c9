//! An answer: a sentence first, then what it rests on.

use super::outcome::Outcome;
use super::scenario::{Date, Scenario};

/// The answer to the question of a scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// What to do, in a sentence or two.
    pub headline: String,
    /// What else is worth knowing.
    pub facts: Vec<Fact>,
    /// The ways that were run to the end; the first is the one that the answer is about.
    pub told: Vec<Told>,
    /// The sizes that were tried.
    pub tried: Vec<Tried>,
    /// What to order.
    pub advice: Vec<Advice>,
}

/// Something worth knowing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// What it is about.
    pub about: String,
    /// What there is to say.
    pub text: String,
}

/// One way, and what came of it in each run.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// For people.
    pub name: String,
    /// By seed.
    pub outcomes: Vec<Outcome>,
}

/// A size that was tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Tried {
    /// How many machines.
    pub count: u32,
    /// In how many runs every limit was kept.
    pub kept: usize,
    /// Of so many.
    pub runs: usize,
}

/// Machines to order.
#[derive(Clone, Debug, PartialEq)]
pub struct Advice {
    /// Of which pool.
    pub pool: String,
    /// How many.
    pub count: u32,
    /// The week, counted from 0, in which waits pass a limit without them.
    pub needed_week: usize,
    /// The first day of that week.
    pub needed: Date,
    /// The last day on which the order is early enough.
    pub order_by: Date,
    /// Weeks from the start to that day; less than zero if it has passed.
    pub slack_weeks: f64,
}

impl Fact {
    pub(super) fn new(about: &str, text: impl Into<String>) -> Self {
        Self { about: about.to_owned(), text: text.into() }
    }
}

impl Told {
    /// A number of each run, in the mean.
    pub fn mean(&self, of: impl Fn(&Outcome) -> f64) -> f64 {
        self.outcomes.iter().map(of).sum::<f64>() / self.outcomes.len().max(1) as f64
    }

    /// In how many runs every limit was kept.
    pub fn kept(&self) -> usize {
        self.outcomes.iter().filter(|outcome| outcome.failures.is_empty()).count()
    }

    /// The earliest and worst limit that was not kept, in words.
    pub fn first_failure(&self, scenario: &Scenario) -> Option<String> {
        let failures = self.outcomes.iter().filter_map(|outcome| outcome.failures.first());
        let failure = failures.min_by(|a, b| a.week.cmp(&b.week).then(b.got.total_cmp(&a.got)))?;
        Some(format!(
            "{} waits pass {} in week {} (p{} {})",
            scenario.workloads[failure.workload].name,
            super::in_words(failure.limit.wait.as_secs_f64()),
            failure.week + 1,
            failure.limit.percentile,
            super::in_words(failure.got),
        ))
    }
}
