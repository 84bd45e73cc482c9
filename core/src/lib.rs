//! What Rialto decides.
//!
//! Everything in this crate is a pure state machine: it is told the time, given one input, and returns its effects as data. There is no
//! I/O here, no clock, no async, no randomness of the operating system. The shells (`rialto-master`, `rialto-agent`, `rialto-sdk`) move
//! bytes around these machines; the simulator is one more shell around the very same code.
//!
//! Start reading at [`model`] for the words, then [`master::Master::step`], [`agent::Agent::step`] and [`scheduler::Driver`].

pub mod agent;
pub mod allocator;
pub mod gate;
pub mod master;
pub mod model;
pub mod planted;
pub mod scheduler;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
