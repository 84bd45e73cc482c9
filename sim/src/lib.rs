//! The simulator: one more shell around the machines of `rialto-core`, in virtual time.
//!
//! [`run_faults`] runs a whole cluster from one seed: masters, agents on virtual machines, frameworks, and a network and stores that
//! delay, lose and break. Every parameter is drawn from the seed. Anything may fail for a while; then everything heals and must come to
//! rest within a bound. Checkers that know what really happened watch the invariants of `semantics`, section 11, after every event.
//!
//! The same seed gives the same run, byte for byte: a failure carries its seed, and the last lines of its trace.
//!
//! Start reading at `world` (the heap of events), then `checks`.

mod agent_duties;
mod agent_node;
mod checks;
mod converge;
mod dice;
mod fault;
pub mod fgd;
mod framework_node;
mod input;
pub mod live;
mod machine;
mod market;
mod master_duties;
mod master_node;
mod mix;
mod network;
mod nonsense;
mod offers;
mod operators;
mod plan;
pub mod planning;
pub mod prices;
mod reference;
mod run;
mod shrink;
mod story;
mod strike;
mod trace;
pub mod twolevel;
pub mod validate;
mod workload;
mod world;

pub use input::InputError;
pub use mix::words;
pub use run::{Failure, FaultsArgs, Options, Report, Summary, main, run_faults};
pub use shrink::{Less, LessError, Minimised, minimise};
pub use story::story;
