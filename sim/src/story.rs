//! What a person is told of a failure: made small, and only what has to do with it.

use std::collections::BTreeSet;

use crate::run::{Failure, Options, run_faults};
use crate::shrink::{Minimised, minimise};

/// How many lines of the trace are told at most.
const LINES: usize = 100;
/// How many of these are the last ones, whatever they tell.
const LAST: usize = 20;
/// What tells of something that went wrong on purpose.
const UPHEAVALS: [&str; 8] =
    [" fault: ", " crashes", " starts", " reboots", " is cut off", " is reset", " is fenced", " heals"];

/// A failure made small, for a person: the parameters, what of the trace has to do with it, what did not hold, and how to see it again.
pub fn story(options: Options, failure: Box<Failure>) -> String {
    let first = failure.message.clone();
    let Minimised { options, failure, runs } = minimise(options, failure);
    // Once more with the whole trace: what led to it may be long ago.
    let whole = Options { whole_trace: true, ..options };
    let failure = run_faults(whole).err().unwrap_or(failure);
    let mut text = failure.parameters.clone();
    if options.whole_trace {
        text.extend(failure.trace.iter().map(|line| format!("{line}\n")));
    } else {
        text += &excerpt(&failure.trace, &failure.message);
    }
    text += &format!("seed {} failed at {}: {}\n", failure.seed, failure.at, failure.message);
    if first != failure.message {
        text += &format!("before it was made smaller: {first}\n");
    }
    text + &format!("made smaller in {runs} runs, commit {}\nto see it again: {options} --trace", commit())
}

/// The lines that tell of what `message` names, of upheavals in between, and the last ones; what is left out is counted.
fn excerpt(trace: &[String], message: &str) -> String {
    let subjects = subjects(message);
    let tells = |line: &str| subjects.iter().any(|subject| mentions(line, subject));
    let begin = trace.iter().position(|line| tells(line)).unwrap_or(trace.len());
    let last = trace.len().saturating_sub(LAST);
    let is_upheaval = |line: &str| UPHEAVALS.iter().any(|word| line.contains(word));
    let mut kept: Vec<usize> = (begin..last).filter(|at| tells(&trace[*at]) || is_upheaval(&trace[*at])).collect();
    if subjects.is_empty() || kept.is_empty() {
        kept = (trace.len().saturating_sub(LINES)..last).collect();
    }
    // The first ones tell how it began, the last ones how it ended.
    let room = LINES - LAST;
    if kept.len() > room {
        kept.drain(room / 3..kept.len() - (room - room / 3));
    }
    let mut text = String::new();
    let mut next = 0;
    for at in kept.into_iter().chain(last..trace.len()) {
        match at - next {
            0 => {}
            1 => text += &format!("{}\n", trace[next]),
            left_out => text += &format!("    … {left_out} lines\n"),
        }
        text += &format!("{}\n", trace[at]);
        next = at + 1;
    }
    text
}

/// Tasks, offers and devices that a message names.
fn subjects(message: &str) -> BTreeSet<String> {
    let mut subjects = BTreeSet::new();
    let is_apart = |letter: char| !(letter.is_alphanumeric() || "/.-_".contains(letter));
    let words: Vec<&str> = message.split(is_apart).map(|word| word.trim_end_matches('.')).collect();
    for (at, word) in words.iter().enumerate() {
        let follows =
            |start: char| word.strip_prefix(start).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        if let Some((_, task)) = word.split_once("/j") {
            subjects.insert(format!("j{task}"));
        } else if (follows('j') && word.contains('.'))
            || (follows('O') && word.contains('-'))
            || word.starts_with("gpu")
        {
            subjects.insert((*word).to_owned());
        } else if *word == "job"
            && let Some(number) = words.get(at + 1)
        {
            subjects.insert(format!("j{number}."));
        }
    }
    subjects
}

/// Whether `line` has `subject` in it, and not only as a part of a longer number.
fn mentions(line: &str, subject: &str) -> bool {
    line.match_indices(subject).any(|(at, _)| {
        let ends = subject.ends_with('.') || !line[at + subject.len()..].starts_with(|c: char| c.is_ascii_digit());
        let begins = !line[..at].ends_with(|c: char| c.is_alphanumeric());
        begins && ends
    })
}

/// What this was built from: the commit, if whoever built it has said so, else the version.
fn commit() -> &'static str {
    option_env!("RIALTO_COMMIT").unwrap_or(concat!("unknown (version ", env!("CARGO_PKG_VERSION"), ")"))
}

#[cfg(test)]
mod tests;
