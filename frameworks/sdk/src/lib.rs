//! What a framework needs to run on Rialto.
//!
//! A framework is a policy, which is a [`Scheduler`]: it is told what happens and says what it wants. [`start`] runs it against a master:
//! it connects, keeps the policy's state in a [`StateStore`], and hands the policy's effects to the caller. [`Command`] describes a task
//! that runs a command. [`MasterClient`] is for programs that ask the master something without being a framework.
//!
//! The policy itself is pure, so the simulator can run it as it is. `examples/hello.rs` is a whole framework.

mod access;
pub mod blobs;
mod command;
mod link;
pub mod operator;
mod options;
mod runner;
pub mod session;
pub mod spec;
mod store;

pub use access::{Access, AccessError, Address};
pub use command::{Command, CommandError};
pub use operator::{ClientError, LogBytes, MasterClient};
pub use options::Options;
pub use rialto_core as core;
pub use rialto_core::model;
pub use rialto_core::scheduler::{self, Happening, Out, Scheduler, placement};
pub use rialto_proto::logs;
pub use rialto_proto::spec::{Check, CommandSpec, HealthCheck, LogLimits, TaskSpec};
pub use runner::{Commands, Framework, FrameworkEnd, RunError, StartError, random, start};
pub use store::{MemoryStore, RedbStore, Saved, StateStore, StoreError};
