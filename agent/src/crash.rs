//! Points in the life of a task and a device at which a test lets the process die.
//!
//! They exist only in builds with the feature `crash-points`, which nothing that is shipped has: without it, every function here is empty.
//! A test that walks the points says which one by `RIALTO_CRASH_AT`, `NAME#COUNT`: the first process that passes NAME for the COUNTth time
//! ends there, with nothing flushed and nothing told, as if it had been killed. What is passed is added to the file `RIALTO_CRASH_LOG`, so
//! that a test finds all points by one run in which nobody dies.

#[cfg(feature = "crash-points")]
pub(crate) use on::{VARIABLES, point, torn};

/// The process ends here, if a test wants it to.
#[cfg(not(feature = "crash-points"))]
pub(crate) const fn point(_name: &'static str) {}

/// The process ends here with half of `bytes` written, if a test wants it to.
#[cfg(not(feature = "crash-points"))]
#[expect(clippy::unnecessary_wraps, reason = "it writes where points exist")]
pub(crate) const fn torn(_name: &'static str, _file: &mut std::fs::File, _bytes: &[u8]) -> std::io::Result<()> {
    Ok(())
}

#[cfg(feature = "crash-points")]
mod on {
    use std::collections::BTreeMap;
    use std::fs::{File, OpenOptions};
    use std::io::{self, Write};
    use std::sync::Mutex;

    /// Passed on to supervisors, whose environment is empty otherwise.
    pub(crate) const VARIABLES: [&str; 2] = ["RIALTO_CRASH_AT", "RIALTO_CRASH_LOG"];

    static PASSED: Mutex<BTreeMap<&'static str, u32>> = Mutex::new(BTreeMap::new());

    pub(crate) fn point(name: &'static str) {
        if is_last(name) {
            std::process::abort();
        }
    }

    pub(crate) fn torn(name: &'static str, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        if is_last(name) {
            file.write_all(&bytes[..bytes.len() / 2])?;
            std::process::abort();
        }
        Ok(())
    }

    /// Counts, and tells whether this is where to end; true for one process only.
    fn is_last(name: &'static str) -> bool {
        let Ok(log) = std::env::var(VARIABLES[1]) else { return false };
        let mut passed = PASSED.lock().expect("nothing panics while it holds this");
        let count = passed.entry(name).or_default();
        *count += 1;
        let now = format!("{name}#{count}");
        if std::env::var(VARIABLES[0]).is_ok_and(|at| at == now) {
            return OpenOptions::new().write(true).create_new(true).open(format!("{log}.died")).is_ok();
        }
        if let Ok(mut log) = OpenOptions::new().append(true).create(true).open(log) {
            // One write, so that lines of several processes don't mix.
            let _unwritable = log.write_all(format!("{now}\n").as_bytes());
        }
        false
    }
}
