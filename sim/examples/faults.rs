//! `faults FIRST [LAST [MINUTES]]`: runs seeds and prints what came of them; with one seed, its trace.

#[expect(clippy::disallowed_types, reason = "how long the simulation takes is real time")]
use std::time::Instant;

use rialto_sim::{Less, Options, Summary, run_faults};

#[expect(clippy::disallowed_types, reason = "how long the simulation takes is real time")]
fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let first = numbers.first().copied().unwrap_or(1);
    let last = numbers.get(1).copied().unwrap_or(first);
    let minutes = numbers.get(2).copied().unwrap_or(Options::MINUTES);
    let alone = first == last;
    let (start, mut summary) = (Instant::now(), Summary::default());
    for seed in first..=last {
        match run_faults(Options { seed, minutes, whole_trace: alone, less: Less::default() }) {
            Ok(report) if alone => println!("{}{}\n{report}", report.parameters, report.trace.join("\n")),
            Ok(report) => {
                summary.add(&report);
                println!("{report}");
            }
            Err(failure) if alone => println!("{failure}"),
            Err(failure) => println!("FAIL seed {} at {}: {}", failure.seed, failure.at, failure.message),
        }
    }
    if !alone {
        println!("{}", summary.text(start.elapsed()));
    }
}
