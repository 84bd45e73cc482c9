//! A failure made small: the same seed with fewer agents, frameworks, jobs and kinds of faults, and less time for them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::fault::Fault;
use crate::plan::Plan;
use crate::run::{Failure, Options, run_faults};

/// The most runs that are tried to make one failure smaller.
const TRIES: usize = 200;

/// What of a seed's plan is left out. Written as `agents=2,frameworks=1,jobs=3,faulty=60,without=partition+set-quota`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Less {
    agents: Option<usize>,
    frameworks: Option<usize>,
    /// Of each framework.
    jobs: Option<usize>,
    /// For how many virtual seconds anything may fail.
    faulty: Option<u64>,
    /// One bit for each kind of fault that does not strike.
    without: u32,
}

/// A text that says nothing to leave out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{got:?}: expected agents=N, frameworks=N, jobs=N, faulty=SECONDS or without=FAULT+FAULT…")]
pub struct LessError {
    got: String,
}

/// A failure, and what of its seed's plan can be left out so that something still fails.
#[derive(Clone, Debug)]
pub struct Minimised {
    /// The options that fail.
    pub options: Options,
    /// How.
    pub failure: Box<Failure>,
    /// How many runs it took.
    pub runs: usize,
}

impl Less {
    pub(crate) fn cut(&self, plan: &mut Plan) {
        plan.agents.truncate(self.agents.unwrap_or(usize::MAX).max(1));
        plan.frameworks.truncate(self.frameworks.unwrap_or(usize::MAX).max(1));
        for framework in &mut plan.frameworks {
            framework.jobs.truncate(self.jobs.unwrap_or(usize::MAX));
        }
        if let Some(faulty) = self.faulty {
            plan.unsafe_for = plan.unsafe_for.min(Duration::from_secs(faulty));
        }
        plan.faults.retain(|(fault, _)| self.without & bit(*fault) == 0);
    }

    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// Makes a failure of `options` small: leaves out whatever it fails without.
pub fn minimise(options: Options, failure: Box<Failure>) -> Minimised {
    let mut best = Minimised { options, failure, runs: 0 };
    loop {
        let before = best.options;
        for less in candidates(&best.options) {
            best.attempt(less);
        }
        if best.options == before || best.runs >= TRIES {
            return best;
        }
    }
}

impl Minimised {
    /// Keeps `less` if something fails with it.
    fn attempt(&mut self, less: Less) {
        if self.runs >= TRIES || less == self.options.less {
            return;
        }
        self.runs += 1;
        let options = Options { less, ..self.options };
        if let Err(failure) = run_faults(options) {
            (self.options, self.failure) = (options, failure);
        }
    }
}

/// What may be left out of `options` next, what saves most first. Each builds on `options`, so one that is kept hides those after it that
/// would undo it: the next pass finds them.
fn candidates(options: &Options) -> Vec<Less> {
    let less = options.less;
    let mut plan = Plan::draw(options.seed, options.minutes);
    less.cut(&mut plan);
    let jobs = plan.frameworks.iter().map(|framework| framework.jobs.len()).max().unwrap_or(0);
    let faulty = plan.unsafe_for.as_secs();
    let mut all = Vec::new();
    all.extend((1..plan.frameworks.len()).map(|frameworks| Less { frameworks: Some(frameworks), ..less }));
    all.extend((1..plan.agents.len()).map(|agents| Less { agents: Some(agents), ..less }));
    all.extend([faulty / 4, faulty / 2].map(|faulty| Less { faulty: Some(faulty.max(1)), ..less }));
    all.extend([jobs / 4, jobs / 2, jobs.saturating_sub(1)].map(|jobs| Less { jobs: Some(jobs), ..less }));
    all.extend(plan.faults.iter().map(|(fault, _)| Less { without: less.without | bit(*fault), ..less }));
    all
}

fn bit(fault: Fault) -> u32 {
    let at = Fault::ALL.iter().position(|one| *one == fault).expect("all faults are listed");
    1 << at
}

impl fmt::Display for Less {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let without: Vec<&str> =
            Fault::ALL.iter().filter(|fault| self.without & bit(**fault) != 0).map(|fault| fault.name()).collect();
        let parts = [
            self.agents.map(|count| format!("agents={count}")),
            self.frameworks.map(|count| format!("frameworks={count}")),
            self.jobs.map(|count| format!("jobs={count}")),
            self.faulty.map(|seconds| format!("faulty={seconds}")),
            (!without.is_empty()).then(|| format!("without={}", without.join("+"))),
        ];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(","))
    }
}

impl FromStr for Less {
    type Err = LessError;

    fn from_str(text: &str) -> Result<Self, LessError> {
        let mut less = Self::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let error = || LessError { got: part.to_owned() };
            let (name, value) = part.split_once('=').ok_or_else(error)?;
            let number = || value.parse::<u64>().map_err(|_| error());
            let count = || number().and_then(|number| usize::try_from(number).map_err(|_| error()));
            match name {
                "agents" => less.agents = Some(count()?),
                "frameworks" => less.frameworks = Some(count()?),
                "jobs" => less.jobs = Some(count()?),
                "faulty" => less.faulty = Some(number()?),
                "without" => {
                    for name in value.split('+') {
                        less.without |= bit(*Fault::ALL.iter().find(|fault| fault.name() == name).ok_or_else(error)?);
                    }
                }
                _ => return Err(error()),
            }
        }
        Ok(less)
    }
}

impl fmt::Display for Options {
    /// What is to be typed to run it again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rialto sim faults --seed {} --minutes {}", self.seed, self.minutes)?;
        if self.less.is_nothing() { Ok(()) } else { write!(f, " --less {}", self.less) }
    }
}

#[cfg(test)]
mod tests;
