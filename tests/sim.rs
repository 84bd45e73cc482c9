//! Whole clusters in virtual time, under faults: every seed that ever failed, then fresh ones, each run twice.
//!
//! A failure names its seed; `rialto sim faults --seed N --trace` shows the run.

use rialto_sim::{Options, Report, run_faults};

/// Seeds that failed once, with what they found. A seed whose run has changed since is still one more seed.
const FOUND: &[(u64, &str)] = &[
    (3, "what was charged for a device was not what was credited, once the agent no longer told of the device"),
    (5, "a task on an agent that was unreachable before a failover was called gone"),
    (16, "an agent reported the acknowledged end of a task whose group went on, and the master kept it for ever"),
    (19, "an exclusive offer kept a device that had become unhealthy; a replaced master denied tasks of a later term"),
    (28, "reconciliation told an end before its update came, which was then taken for an orphan"),
    (33, "the journal's tail was torn between a launch and its devices"),
    (40, "a framework that was told that a task is unreachable was never told of its end after a failover"),
    (45, "a new agent registered before its number was durable, and came back as another one"),
    (53, "a master took an agent's journal for degraded although the agent had come back in order"),
    (84, "the end of a removed framework's task never reached the master"),
    (99, "a launch by a replaced master was rejected while its task ran on an agent that was away"),
    (100, "a kill stayed in the registry after its agent was declared gone"),
    (180, "an end that only its agent could tell in full was never told when that agent was declared gone"),
    (245, "a replaced master refused a framework of a later term for good"),
    (258, "a device of a task that ended while its agent was away was waited for to be cleaned, for ever"),
    (272, "an older update that came after the end was taken for an orphan"),
    (402, "a device whose task was refused by the agent was waited for to be cleaned, for ever"),
    (461, "exclusive offers that were locked in parts starved a framework that had said what it waits for"),
    (469, "a framework's next life took an update for news that its earlier life had acknowledged"),
    (2289, "an agent's update and the master's were out at once, and the older one came after the end"),
    (613, "exclusive offers stood beside tasks that were found after a failover, over the limit of their role"),
    (
        1087,
        "a leader denied a task that its predecessor launched after the agent's registration, whose answer got lost",
    ),
    (1200, "the share of devices was taken from an offer, and once more from it where it was placed"),
    (1857, "a gang was aborted for a member whose agent was declared gone: a fault of the checker"),
    (1923, "a framework that waits for nothing took the turn of those who do, and a hoarder came next"),
    (4235, "a slice that was clean was offered although tasks held more than the machine has"),
    (4862, "master and framework crashed while a gang started, and nobody knew that a part of it was missing"),
    (7717, "a gang was killed after its hold had ended, and its devices were waited for to be cleaned, for ever"),
    (700_353, "demand that came and went faster than accepts travelled had each offer taken back before it was named"),
    (700_475, "an end that waited behind an earlier update was forgotten when its framework was removed"),
    (700_651, "partitions without a gap kept a framework away past its failover timeout: a fault of the plan"),
];

/// Where fresh seeds begin.
const FRESH: u64 = 700_000;
/// How many of them are run, unless `RIALTO_SIM_SEEDS` asks for more.
const FRESH_COUNT: u64 = 200;

#[test]
fn every_seed_that_ever_failed() {
    let failures: Vec<String> =
        FOUND.iter().filter_map(|(seed, why)| Some(format!("{why}: {}", failure_of(*seed)?))).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn fresh_seeds() {
    let count = std::env::var("RIALTO_SIM_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(FRESH_COUNT);
    let failures: Vec<String> = (FRESH..FRESH + count.max(FRESH_COUNT)).filter_map(failure_of).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// The faults strike: a simulation in which nothing goes wrong would show nothing.
#[test]
fn runs_are_eventful() {
    let reports: Vec<Report> = (1..=40).map(|seed| run(seed).expect("these seeds are run by no other test")).collect();
    let sum = |count: fn(&Report) -> u64| reports.iter().map(count).sum::<u64>();
    assert!(sum(|report| report.tasks) > 500, "too few tasks: {}", sum(|report| report.tasks));
    assert!(sum(|report| report.crashes) > 200, "too few crashes: {}", sum(|report| report.crashes));
    assert!(sum(|report| report.conflicts) > 10, "too few conflicts: {}", sum(|report| report.conflicts));
}

/// Why the seed fails, if it does.
fn failure_of(seed: u64) -> Option<String> {
    match (run(seed), run(seed)) {
        (Ok(once), Ok(twice)) if once == twice => None,
        (Ok(once), Ok(twice)) => Some(format!("seed {seed}: two runs of it differ:\n{once}\n{twice}")),
        (Err(failure), _) | (_, Err(failure)) => Some(failure),
    }
}

fn run(seed: u64) -> Result<Report, String> {
    run_faults(Options::of(seed)).map_err(|failure| failure.to_string())
}
