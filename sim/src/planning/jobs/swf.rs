//! The standard workload format.

use std::path::Path;

use super::{List, MIB_MAX, MIB_PER_CPU, SECONDS_MAX, TASKS_MAX, TraceJob, Traits, host, seconds};
use crate::input::InputError;

impl List {
    /// The standard workload format: 18 columns with spaces between, no header, comments behind a semicolon.
    pub(super) fn swf(&mut self, file: &Path) -> Result<(), InputError> {
        let unreadable = |error| InputError::Unreadable { file: file.to_owned(), error };
        let text = std::fs::read_to_string(file).map_err(unreadable)?;
        for (number, line) in
            text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with(';'))
        {
            let broken = |what: String| InputError::Line { file: file.to_owned(), line: number + 1, what };
            let fields: Vec<f64> = line.split_whitespace().map_while(|field| field.parse().ok()).collect();
            let [_, submit, _, run, used, _, _, requested, _, kib, ..] = fields[..] else {
                return Err(broken(format!("expected at least 10 numbers, got {line:?}")));
            };
            let cores = if used > 0.0 { used } else { requested };
            if run < 0.0 || cores < 1.0 {
                continue;
            }
            if !(0.0..=SECONDS_MAX).contains(&submit) || run > SECONDS_MAX || cores > TASKS_MAX as f64 {
                return Err(broken(format!("expected a time and a number of processors within bounds, got {line:?}")));
            }
            let mib = if kib > 0.0 { kib / 1024.0 } else { MIB_PER_CPU };
            let job = TraceJob { submit: seconds(submit), duration: seconds(run), ask: host(1.0, mib.min(MIB_MAX)) };
            self.add(cores as u64, job, Traits::default()).map_err(broken)?;
        }
        Ok(())
    }
}
