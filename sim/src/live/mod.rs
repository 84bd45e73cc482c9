//! What a running cluster is asked where time decides: its snapshot, run on in virtual time.
//!
//! The machines of a [`Snapshot`] register with the production master, a framework for each of its frameworks takes up what ran there,
//! with what is left of it, and then places what waits: first come, first served within a role, under the weights and quotas of the
//! cluster. [`run_on`] says when what waits starts; [`what_suffices`] how many machines more it takes until a time.
//!
//! The same snapshot gives the same answer: nothing here is random.

mod question;
mod replica;
mod snapshot;

pub use self::question::{Addition, Assumptions, Enough, Outcome, WaitOutcome, run_on, what_suffices};
pub use self::snapshot::{Agent, Framework, Running, Snapshot, Terms};

#[cfg(test)]
mod tests;
