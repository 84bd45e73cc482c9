//! How soon a thread of the agent runs once it is woken, on a machine whose processors are busy with tasks.

#![expect(unsafe_code, reason = "the attributes of a thread have no safe wrapper")]

use std::io;

/// For how long such a thread asks to run at a time: the least that the kernel knows.
const SLICE_NS: u64 = 100_000;

/// Lets this thread ask for short turns. From Linux 6.12 on it then need not wait until whoever runs has had the whole of its own; an
/// older kernel knows no such turns and ignores it. It gets no larger part of the processors, and what it forks asks for nothing.
pub fn answer_promptly() {
    if let Err(error) = ask_for_short_turns() {
        tracing::debug!("a thread can't ask for short turns: {error}");
    }
}

fn ask_for_short_turns() -> io::Result<()> {
    let nice = rustix::process::getpriority_process(None)?;
    let attributes = libc::sched_attr {
        size: size_of::<libc::sched_attr>().try_into().expect("it is small"),
        sched_policy: libc::SCHED_OTHER.unsigned_abs(),
        sched_flags: libc::SCHED_FLAG_RESET_ON_FORK.unsigned_abs().into(),
        sched_nice: nice,
        sched_priority: 0,
        sched_runtime: SLICE_NS,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the kernel reads as many bytes as the attributes say that they have; 0 is the calling thread.
    let refused = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if refused == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
#[path = "promptly_tests.rs"]
mod tests;
