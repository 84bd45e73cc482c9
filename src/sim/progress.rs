//! How far a long command is, on standard error and only where somebody sees it.

use std::io::{IsTerminal, Write};

/// A line that is written over as the command goes on.
pub struct Progress {
    what: &'static str,
    of: u64,
    shown: bool,
}

impl Progress {
    /// So many of `what` are to be done.
    pub fn new(what: &'static str, of: u64) -> Self {
        Self { what, of, shown: std::io::stderr().is_terminal() }
    }

    /// So many are done.
    pub fn reached(&mut self, done: u64) {
        if self.shown {
            // Nobody misses it where it can't be written.
            let written = write!(std::io::stderr(), "\r{} {done} of {}", self.what, self.of);
            self.shown = written.is_ok();
        }
    }

    /// The line goes.
    pub fn end(self) {
        if self.shown {
            eprint!("\r\x1b[K");
        }
    }
}
