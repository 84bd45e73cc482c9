//! The questions, each answered by runs.

mod compare;
mod cost;
mod orders;
mod sizes;
mod statistics;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use rialto_core::model::Time;

pub(super) use self::statistics::{money, wilson};
use super::answer::{Answer, Fact, Told, Tried};
use super::milestones::milestones;
use super::outcome::Outcome;
use super::run::Way;
use super::scenario::{Question, Scenario};
use super::units::WEEK;

/// Answers the question of a scenario; `progress` is told what is being run.
pub fn answer(scenario: &Scenario, progress: &mut dyn FnMut(&str)) -> Answer {
    let mut asker = Asker { scenario, progress, keeps_jobs: scenario.keeps_jobs };
    match &scenario.question {
        Question::Replay => asker.replay(),
        Question::Size { pool, min, max } => asker.size(*pool, *min, *max),
        Question::OrderBy { pool, cover, max } => asker.order_by(*pool, *cover, *max),
        Question::Compare { variants } => asker.compare(variants),
        Question::Cost { variants, max } => asker.cost(variants, *max),
    }
}

struct Asker<'a> {
    scenario: &'a Scenario,
    progress: &'a mut dyn FnMut(&str),
    /// Whether the next way that is told is to say what became of each job.
    keeps_jobs: bool,
}

impl<'a> Asker<'a> {
    fn run(&mut self, way: &Way<'_>, what: &str) -> Vec<Outcome> {
        (self.progress)(what);
        runs(way, self.scenario.seeds)
    }

    fn told(&mut self, name: &str, way: &Way<'_>) -> Told {
        let way = Way { keeps_jobs: std::mem::take(&mut self.keeps_jobs), ..way.clone() };
        Told { name: name.to_owned(), milestones: milestones(&way), outcomes: self.run(&way, name) }
    }

    /// The first run of a way that was run before is run again, if it is to say what became of each job.
    fn with_jobs(&mut self, told: &mut Told, way: &Way<'_>) {
        let Some(first) = told.outcomes.first_mut().filter(|_| std::mem::take(&mut self.keeps_jobs)) else { return };
        (self.progress)("each job of the first run");
        *first = Way { keeps_jobs: true, ..way.clone() }.run(self.scenario.first_seed);
    }

    fn replay(&mut self) -> Answer {
        let told = self.told("as it is", &Way::of(self.scenario));
        let headline = match told.first_failure(self.scenario) {
            None => format!("Every limit is kept for {} weeks.", self.scenario.weeks()),
            Some(failure) => format!("Without a change, {failure}."),
        };
        Answer { told: vec![told], ..Answer::new(headline) }
    }

    /// Whether so many of the runs as are asked for kept every limit.
    fn is_enough(&self, outcomes: &[Outcome]) -> bool {
        let kept = outcomes.iter().filter(|outcome| outcome.failures.is_empty()).count();
        kept as f64 >= self.scenario.confidence * outcomes.len() as f64 - 1e-9
    }

    /// The first week by whose end more runs have passed a limit than may.
    fn failing_week(&self, outcomes: &[Outcome]) -> Option<usize> {
        let mut weeks: Vec<usize> =
            outcomes.iter().filter_map(|outcome| Some(outcome.failures.first()?.week)).collect();
        weeks.sort_unstable();
        let may = ((1.0 - self.scenario.confidence) * outcomes.len() as f64 + 1e-9) as usize;
        weeks.get(may).copied()
    }

    fn quietly(&self, way: &Way<'_>) -> Vec<Outcome> {
        runs(way, self.scenario.seeds)
    }

    /// Of the smaller sizes that were tried, which may as well be enough for all that so few runs say.
    fn how_sharp(&self, tried: &[Tried], found: u32) -> Option<Fact> {
        let of = |tried: &Tried| wilson(tried.kept, tried.runs);
        let (low, _) = of(tried.iter().find(|tried| tried.count == found)?);
        let fewer =
            tried.iter().filter(|tried| tried.count < found && of(tried).1 >= low).min_by_key(|tried| tried.count)?;
        Some(Fact::new(
            "how sharp",
            format!(
                "{} too few to tell {found} machines from {}, with which {} of {} runs keep every limit: the intervals of both overlap; \
                 more runs (--seeds) tell more",
                so_many_runs_are(fewer.runs),
                fewer.count,
                fewer.kept,
                fewer.runs
            ),
        ))
    }

    /// In how many runs every limit was kept from that week on, and what that says of others: the interval of Wilson at 95 %.
    fn how_sure(&self, told: &Told, from_week: usize) -> Fact {
        let is_kept = |outcome: &&Outcome| outcome.failures.iter().all(|failure| failure.week < from_week);
        let (kept, runs) = (told.outcomes.iter().filter(is_kept).count(), told.outcomes.len());
        let (low, high) = wilson(kept, runs);
        let since = if from_week > 0 { format!(" from week {} on", from_week + 1) } else { String::new() };
        Fact::new(
            "how sure",
            format!(
                "every limit is kept{since} in {kept} of {runs} runs; more runs would come out at {:.0} to {:.0} %, with 95 % confidence",
                low * 100.0,
                high * 100.0
            ),
        )
    }
}

/// The runs of all seeds, on as many threads as there are cores; by seed, so that the order does not matter.
fn runs(way: &Way<'_>, seeds: u64) -> Vec<Outcome> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(seeds as usize);
    let (next, done) = (AtomicU64::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    let mut outcome = way.run(way.scenario.first_seed + seed);
                    if seed > 0 {
                        outcome.jobs = Vec::new();
                    }
                    done.lock().expect("no run panics while it holds the lock").insert(seed, outcome);
                }
            });
        }
    });
    done.into_inner().expect("every run has ended").into_values().collect()
}

fn so_many_runs_are(runs: usize) -> String {
    if runs == 1 { "1 run is".to_owned() } else { format!("{runs} runs are") }
}

fn week_start(week: usize) -> Time {
    Time::ZERO + WEEK * u32::try_from(week).unwrap_or(u32::MAX)
}
