//! An answer: a sentence first, then what it rests on.

use rialto_core::model::Time;

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
    /// What the other ways change against the first.
    pub differences: Vec<Difference>,
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
    /// What is bought and rented in it, the earliest first.
    pub milestones: Vec<Milestone>,
    /// By seed.
    pub outcomes: Vec<Outcome>,
}

/// Something that is done to the fleet, or to what it costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Milestone {
    /// When.
    pub at: Time,
    /// What.
    pub text: String,
}

/// What a way changes against the first one, run by run, in seconds: less is better.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The way.
    pub way: String,
    /// Whose waits.
    pub workload: String,
    /// What of them.
    pub measure: &'static str,
    /// In the mean of the runs.
    pub mean: f64,
    /// With 95 % confidence it is at least this.
    pub low: f64,
    /// And at most this.
    pub high: f64,
}

impl Difference {
    /// Whether it may as well be none.
    pub fn is_none(&self) -> bool {
        self.low <= 0.0 && self.high >= 0.0
    }
}

/// A size that was tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Tried {
    /// Of which way; empty where there is one.
    pub of: String,
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
    /// The day on which they are there if they are ordered in time, or at once.
    pub arrives: Date,
    /// The last day on which the order is early enough.
    pub order_by: Date,
    /// Weeks from the start to that day; less than zero if it has passed.
    pub slack_weeks: f64,
    /// The part of such deliveries that come after the machines are needed, ordered on that day, or at once if it has passed.
    pub late: f64,
}

impl Answer {
    pub(super) fn new(headline: impl Into<String>) -> Self {
        Self {
            headline: headline.into(),
            facts: Vec::new(),
            told: Vec::new(),
            tried: Vec::new(),
            advice: Vec::new(),
            differences: Vec::new(),
        }
    }
}

impl Fact {
    pub(super) fn new(about: &str, text: impl Into<String>) -> Self {
        Self { about: about.to_owned(), text: text.into() }
    }
}

impl Told {
    /// How many weeks were run: one that ends early has fewer than the scenario.
    pub fn weeks(&self) -> usize {
        self.outcomes.iter().map(|outcome| outcome.weeks.len()).max().unwrap_or(0)
    }

    /// Its name, with how far it was run if that is not to the end.
    pub fn name_and_end(&self, scenario: &Scenario) -> String {
        let weeks = self.weeks();
        if weeks < scenario.weeks() { format!("{}, up to week {weeks} only", self.name) } else { self.name.clone() }
    }

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
        let runs = self.outcomes.len();
        let worst = if runs > 1 { format!(" in the worst of {runs} runs") } else { String::new() };
        Some(format!(
            "{} waits pass {} in week {} (p{} {}{worst})",
            scenario.workloads[failure.workload].name,
            super::in_words(failure.limit.wait.as_secs_f64()),
            failure.week + 1,
            failure.limit.percentile,
            super::in_words(failure.got),
        ))
    }
}
