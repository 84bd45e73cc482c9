//! `rialto sim`: faults, and questions to the market in virtual time.

pub mod args;
pub mod fgd;
pub mod plan;
mod progress;
pub mod twolevel;
pub mod validate;

use std::ops::Range;
use std::time::Instant;

use anyhow::{Context, bail};
use rialto_sim::FaultsArgs;

use crate::cli::SimFaults;
use crate::output;

/// Runs seeds; 0 if all invariants held, 1 with the whole story of the first failure, made small, if not.
pub fn faults(args: &SimFaults) -> anyhow::Result<u8> {
    let faults = FaultsArgs {
        seeds: seeds(args)?,
        minutes: args.minutes,
        trace: args.trace,
        less: args.less.unwrap_or_default(),
    };
    // An invariant of a machine is an assertion, and making a failure small meets it again and again: the story tells it once.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let (start, mut printed) = (Instant::now(), Ok(()));
    let result = rialto_sim::main(
        &faults,
        || start.elapsed(),
        |line| {
            if printed.is_ok() {
                printed = output::line(line);
            }
        },
    );
    std::panic::set_hook(hook);
    printed?;
    match result {
        Ok(()) => Ok(0),
        Err(failure) => {
            output::line(failure)?;
            Ok(1)
        }
    }
}

fn seeds(args: &SimFaults) -> anyhow::Result<Range<u64>> {
    if let Some(seed) = args.seed {
        return Ok(seed..seed.saturating_add(1));
    }
    let Some(text) = &args.seeds else { return Ok(0..10) };
    let (from, to) = text.split_once("..").with_context(|| format!("--seeds {text}: expected A..B"))?;
    let number =
        |part: &str| part.parse::<u64>().with_context(|| format!("--seeds {text}: expected numbers, got {part:?}"));
    let (from, to) = (number(from)?, number(to)?);
    if from >= to {
        bail!("--seeds {text}: expected the first to be less than the end");
    }
    Ok(from..to)
}
