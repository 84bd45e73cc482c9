//! `planted [SEEDS [FAULT…]]`: plants each fault, or those named, in turn; prints how many seeds it takes to find it, and what finds it.
//! Of a single fault the whole story is told.

#[expect(clippy::disallowed_types, reason = "how long the simulation takes is real time")]
use std::time::Instant;

use rialto_core::planted::{Fault, MARK, plant};
use rialto_sim::{Options, run_faults, story};

/// How many seeds are tried unless the first argument says otherwise.
const SEEDS: u64 = 300;

#[expect(clippy::disallowed_types, reason = "how long the simulation takes is real time")]
fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let seeds = args.first().and_then(|arg| arg.parse().ok()).unwrap_or(SEEDS);
    let named = |fault: &Fault| args.len() < 2 || args[1..].iter().any(|arg| format!("{fault:?}") == *arg);
    // An invariant of a machine is an assertion; what it says is in the table.
    std::panic::set_hook(Box::new(|_| {}));
    println!("{MARK}\n\n| fault | what it does | seeds | found by |\n|---|---|---|---|");
    let mut missed = 0;
    if let Some(failure) = (1..=seeds).find_map(|seed| run_faults(Options::of(seed)).err()) {
        exit_with(&format!("without a planted fault seed {} fails: {}", failure.seed, failure.message));
    }
    for fault in Fault::ALL.into_iter().filter(named) {
        let start = Instant::now();
        plant(Some(fault));
        let found = (1..=seeds).find_map(|seed| run_faults(Options::of(seed)).err().map(|failure| (seed, failure)));
        missed += u32::from(found.is_none());
        let mut story_of = None;
        let (count, by) = match found {
            Some((seed, failure)) => {
                let by = shorten(&failure.message);
                story_of = (args.len() == 2).then(|| story(Options::of(seed), failure));
                (seed.to_string(), by)
            }
            None => (format!("more than {seeds}"), "nothing".to_owned()),
        };
        println!("| `{fault:?}` | {} | {count} | {by} |", fault.text());
        if let Some(story) = story_of {
            println!("\n{story}");
        }
        eprintln!("{fault:?}: {count} seeds, {:.1} s", start.elapsed().as_secs_f32());
    }
    if missed > 0 {
        exit_with(&format!("{missed} planted faults were not found"));
    }
}

fn exit_with(text: &str) -> ! {
    eprintln!("{text}");
    std::process::exit(1);
}

/// The first line of a message, without the longest details.
fn shorten(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default().replace('|', "/");
    let text: String = line.chars().take(110).collect();
    if text.len() < line.len() { format!("{text} …") } else { text }
}
