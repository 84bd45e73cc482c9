//! What Rialto says, and what it writes down.
//!
//! The machines in `rialto-core` know nothing of bytes. Here are their edges: the native protocol (package [`v1`], gRPC), the master's
//! registry ([`registry`]) and the agent's journal ([`journal`]). Wire types are generated from the `.proto` files beside `src/` and
//! committed, so that building needs no protocol compiler.
//!
//! Everything that comes from outside goes through [`Wire::from_wire`], which checks it and names the field that is wrong
//! (`accept.operations[2].launch.tasks[0].id: expected a name, got an empty text`); what core hands out goes through [`Wire::to_wire`],
//! which can't fail. A task's body is opaque to core; native frameworks put a [`spec::TaskSpec`] there.
//!
//! The order of a connection: each side's first frame carries a [`hello::Hello`]; then frames of repeated messages, in order. How the
//! parts look in bytes is in `docs/protocols.md`.

pub mod convert;
pub mod frames;
#[expect(
    clippy::allow_attributes,
    clippy::too_many_lines,
    unreachable_pub,
    unused_qualifications,
    reason = "generated code has a style of its own"
)]
mod generated;
pub mod hello;
pub mod journal;
pub mod logs;
pub mod registry;
pub mod spec;
pub mod status;

pub use convert::{ConvertError, Wire, checked};
pub use generated::rialto::device::v1 as device;
pub use generated::rialto::v1;

/// The version of the native protocol. Both sides of a connection must speak the same.
pub const PROTOCOL_VERSION: u32 = 1;

/// The largest frame that is taken, in bytes: what the shells set as the limit of gRPC messages. A re-registering agent reports all its
/// tasks with their bodies in one frame.
pub const MAX_FRAME_BYTES: usize = 64 << 20;

/// The most calls, events or messages that one frame may carry.
pub const MAX_FRAME_MESSAGES: usize = 4096;
