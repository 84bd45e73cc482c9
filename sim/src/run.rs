use std::any::Any;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use rialto_core::model::Time;

use crate::plan::Plan;
use crate::shrink::Less;
use crate::story::story;
use crate::world::World;

/// What to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Everything follows from it.
    pub seed: u64,
    /// For how many virtual minutes anything may fail.
    pub minutes: u64,
    /// Whether the trace is kept whole, and not only its end.
    pub whole_trace: bool,
    /// What of the plan is left out.
    pub less: Less,
}

impl Options {
    /// How long anything may fail unless something else is asked for, in virtual minutes.
    pub const MINUTES: u64 = 10;
    /// The longest that may be asked for, in virtual minutes: a week.
    pub const MINUTES_MAX: u64 = 7 * 24 * 60;

    /// A run of `seed` with the usual length.
    pub fn of(seed: u64) -> Self {
        Self { seed, minutes: Self::MINUTES, whole_trace: false, less: Less::default() }
    }
}

/// What a run that went well has counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// The parameters that were drawn from the seed, as text.
    pub parameters: String,
    /// Steps of masters, agents and frameworks.
    pub steps: u64,
    /// Tasks that were launched.
    pub tasks: u64,
    /// What happened to tasks: launches, starts, ends, and what their frameworks were told of them.
    pub events: u64,
    /// How many machines there were.
    pub agents: usize,
    /// What occurred, of [`words`](crate::words).
    pub mix: BTreeSet<&'static str>,
    /// Processes that were started.
    pub processes: u64,
    /// Faults that struck, operators' commands among them.
    pub faults: u64,
    /// Crashes of masters, agents and frameworks.
    pub crashes: u64,
    /// Launches that the last master refused because others were faster.
    pub conflicts: u64,
    /// How long it took, in virtual time.
    pub virtual_time: Duration,
    /// How long after the last fault everything was at rest, in virtual time.
    pub converged_in: Duration,
    /// Lines of the trace.
    pub lines: u64,
    /// How many gangs ran as a whole.
    pub gangs: usize,
    /// How many gangs were started in part, and ended.
    pub gangs_broken: usize,
    /// The hash over the whole trace: equal for equal runs.
    pub trace_hash: u64,
    /// The trace, or the end of it.
    pub trace: Vec<String>,
}

/// Something did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The seed that shows it.
    pub seed: u64,
    /// The parameters that were drawn from the seed, as text.
    pub parameters: String,
    /// When, in virtual time.
    pub at: Time,
    /// What did not hold.
    pub message: String,
    /// The trace, or the end of it.
    pub trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.parameters)?;
        self.trace.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        write!(f, "seed {} failed at {}: {}", self.seed, self.at, self.message)
    }
}

impl std::error::Error for Failure {}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seed {}: {} steps, {} tasks, {} faults, {} crashes, {} conflicts, {} gangs and {} broken ones in {} virtual minutes; at rest after {} s; trace {:016x}",
            self.seed,
            self.steps,
            self.tasks,
            self.faults,
            self.crashes,
            self.conflicts,
            self.gangs,
            self.gangs_broken,
            self.virtual_time.as_secs() / 60,
            self.converged_in.as_secs(),
            self.trace_hash
        )
    }
}

/// Runs a cluster through faults until it has come to rest.
///
/// # Errors
/// If an invariant does not hold, a machine of the core panics, or the cluster does not come to rest.
pub fn run_faults(options: Options) -> Result<Report, Box<Failure>> {
    let minutes = options.minutes.clamp(1, Options::MINUTES_MAX);
    let mut plan = Plan::draw(options.seed, minutes);
    options.less.cut(&mut plan);
    let plan = Arc::new(plan);
    let parameters = plan.to_string();
    let mut world = World::new(plan, options.whole_trace);
    // An invariant of a machine is an assertion: it is one more way for a run to fail.
    let result = catch_unwind(AssertUnwindSafe(|| world.run())).unwrap_or_else(|panic| Err(panic_text(&*panic)));
    match result {
        Ok(()) => Ok(report(options.seed, parameters, world)),
        Err(message) => {
            let (at, trace) = (world.now, world.trace.into_tail());
            Err(Box::new(Failure { seed: options.seed, parameters, at, message, trace }))
        }
    }
}

fn report(seed: u64, parameters: String, mut world: World) -> Report {
    let healed = world.healed.unwrap_or_default();
    let gangs = world.checks.count_gangs();
    world.happened.extend((world.counts.preempted > 0).then_some("preemption"));
    world.happened.extend((world.counts.conflicts > 0).then_some("offer conflict"));
    Report {
        seed,
        parameters,
        steps: world.counts.steps,
        tasks: world.checks.tasks.len() as u64,
        events: world.checks.events,
        agents: world.agents.len(),
        mix: world.happened,
        processes: world.counts.processes,
        faults: world.counts.faults,
        crashes: world.counts.crashes,
        conflicts: world.counts.conflicts,
        gangs: gangs.0,
        gangs_broken: gangs.1,
        virtual_time: world.now.since(Time::ZERO),
        converged_in: world.now.since(healed),
        lines: world.trace.lines(),
        trace_hash: world.trace.hash(),
        trace: world.trace.into_tail(),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a message").to_owned()
}

/// What `rialto sim faults` is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultsArgs {
    /// The seeds to run, one after the other; the first that fails ends it.
    pub seeds: Range<u64>,
    /// For how many virtual minutes anything may fail.
    pub minutes: u64,
    /// Whether to print the whole trace of every run.
    pub trace: bool,
    /// What of each plan is left out.
    pub less: Less,
}

/// What runs that went well add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    runs: u64,
    steps: u64,
    events: u64,
    virtual_time: Duration,
}

impl Summary {
    /// One more.
    pub fn add(&mut self, report: &Report) {
        self.runs += 1;
        self.steps += report.steps;
        self.events += report.events;
        self.virtual_time += report.virtual_time;
    }

    /// In a sentence, where it took `elapsed`.
    pub fn text(&self, elapsed: Duration) -> String {
        let (hours, seconds) = (self.virtual_time.as_secs_f64() / 3600.0, elapsed.as_secs_f64().max(1e-6));
        format!(
            "{} runs in {seconds:.1} s: {} steps, {:.0} a second; {hours:.1} cluster-hours, {:.0} an hour of this core, with {:.0} task events in each",
            self.runs,
            self.steps,
            self.steps as f64 / seconds,
            hours * 3600.0 / seconds,
            self.events as f64 / hours.max(1e-9),
        )
    }
}

/// Runs the seeds, each twice, and says a line of each; at the end, what all of them add up to. `elapsed` tells the time that has passed.
///
/// # Errors
/// The story of the first failure, made small, with all that is needed to look at it.
pub fn main(args: &FaultsArgs, elapsed: impl Fn() -> Duration, mut say: impl FnMut(String)) -> Result<(), String> {
    let (mut all, mut large) = (Summary::default(), Summary::default());
    let mut large_for = Duration::ZERO;
    for seed in args.seeds.clone() {
        let options = Options { seed, minutes: args.minutes, whole_trace: args.trace, less: args.less };
        let before = elapsed();
        let report = run_faults(options).map_err(|failure| story(options, failure))?;
        let again = run_faults(options).map_err(|failure| story(options, failure))?;
        if report.trace_hash != again.trace_hash {
            return Err(format!(
                "I10: two runs of seed {seed} differ: {:016x} and {:016x}",
                report.trace_hash, again.trace_hash
            ));
        }
        [&report, &again].into_iter().for_each(|report| all.add(report));
        if report.agents >= LARGE {
            [&report, &again].into_iter().for_each(|report| large.add(report));
            large_for += elapsed().saturating_sub(before);
        }
        if args.trace {
            say(format!("{}\n{}", report.parameters.trim_end(), report.trace.join("\n")));
        }
        say(report.to_string());
    }
    say(all.text(elapsed()));
    if large.runs > 0 {
        say(format!("of these, clusters of at least {LARGE} agents: {}", large.text(large_for)));
    }
    Ok(())
}

/// Clusters of as many agents are counted apart.
const LARGE: usize = 5;
