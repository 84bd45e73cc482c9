//! Whole clusters in virtual time, under faults: every seed that ever failed, then fresh ones, each run twice.
//!
//! A failure names its seed; `rialto sim faults --seed N --trace` shows the run.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rialto_sim::{Options, Report, run_faults, words};

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
    (2021, "the row of a task went with its older end, although its agent had come back and told of it again"),
    (2289, "an agent's update and the master's were out at once, and the older one came after the end"),
    (613, "exclusive offers stood beside tasks that were found after a failover, over the limit of their role"),
    (
        1087,
        "a leader denied a task that its predecessor launched after the agent's registration, whose answer got lost",
    ),
    (
        578,
        "a task's end that the master told was forgotten when its agent returned once more, before its framework had heard of it",
    ),
    (700_077, "who waits for what he declared was miscounted when an operator changed the mode of his role"),
    (1200, "the share of devices was taken from an offer, and once more from it where it was placed"),
    (1625, "the clock was set back between two starts of an agent, and a connection that it had abandoned took over"),
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
    let seeds: Vec<u64> = FOUND.iter().map(|(seed, _)| *seed).collect();
    let failures = failures_of(&seeds);
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn fresh_seeds() {
    let count = std::env::var("RIALTO_SIM_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(FRESH_COUNT);
    let seeds: Vec<u64> = (FRESH..FRESH + count.max(FRESH_COUNT)).collect();
    let failures = failures_of(&seeds);
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// The faults strike, and every manner, mode and consequence occurs: a simulation in which nothing goes wrong would show nothing.
#[test]
fn runs_are_eventful() {
    let reports: Vec<Report> = (1..=60).map(|seed| run(seed).expect("these seeds are run by no other test")).collect();
    let sum = |count: fn(&Report) -> u64| reports.iter().map(count).sum::<u64>();
    assert!(sum(|report| report.tasks) > 500, "too few tasks: {}", sum(|report| report.tasks));
    assert!(sum(|report| report.crashes) > 200, "too few crashes: {}", sum(|report| report.crashes));
    assert!(sum(|report| report.conflicts) > 10, "too few conflicts: {}", sum(|report| report.conflicts));
    let occurred: BTreeSet<&str> = reports.iter().flat_map(|report| report.mix.iter().copied()).collect();
    let missing: Vec<&str> = words().filter(|word| !occurred.contains(word)).collect();
    assert!(missing.is_empty(), "in {} runs there was none of {missing:?}", reports.len());
}

/// What plants faults leaves a mark in the binary; the shipped one is built without it.
#[test]
fn the_shipped_binary_can_not_plant_faults_in_itself() {
    let source = include_str!("../core/src/planted.rs");
    let (_, mark) = source.split_once("pub const MARK: &str = \"").expect("the mark is a literal there");
    let (mark, _) = mark.split_once('"').expect("a literal ends");
    let binary = std::fs::read(env!("CARGO_BIN_EXE_rialto")).expect("the binary is built for the tests");
    let holds = |text: &str| binary.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("Run whole clusters under faults"), "its texts are to be found in it");
    assert!(!holds(mark), "this binary is built with the feature `planted`");
}

/// Why seeds fail, those that do; as many run at once as there are cores.
fn failures_of(seeds: &[u64]) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut failures = Vec::new();
        while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
            failures.extend(failure_of(*seed));
        }
        failures
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a seed's panic is its failure")).collect()
    })
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
