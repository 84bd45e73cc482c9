//! The agent's shell: it moves bytes between the master and one core [`Agent`](rialto_core::agent::Agent), and runs processes.
//!
//! [`run`] opens the work directory, replays the journal, takes up every task that an earlier agent left running, and dials the master.
//! From then on one task owns the core: what happens comes in as events, what the core decides goes out once the journal is durable.
//!
//! | module | what |
//! |---|---|
//! | `shell` | the loop |
//! | `link`, `bulk`, `logs`, `sessions` | the connection to the master; logs, files and shells on connections of their own |
//! | `journal`, `work_dir`, `gc`, `spare` | what is kept on disk |
//! | `launcher`, [`supervisor`], [`cgroup`], `health` | task groups as processes, and how they are |
//! | `oci` | which runtime runs tasks with an image |
//! | `network` | networks of tasks on a bridge, by CNI plug-ins |
//! | `secrets` | what only tasks are to know |
//! | `usage`, `disk`, `metrics` | what they use |
//! | `promptly` | how soon its threads run on a busy machine |
//! | `quota` | how the file system holds them to the disk that they may take |
//! | `fetch`, `images`, `unpack` | artefacts and images, and what is in archives |
//! | `sources`, `detect` | devices and resources |
//!
//! Decoding, file system and processes are the business of other tasks and threads, each behind a bounded channel. An agent can be killed
//! at any moment: supervisors and the journal outlive it, and the next agent of the same work directory carries on.

pub mod cgroup;
pub mod supervisor;

mod bulk;
mod crash;
mod detect;
mod disk;
mod error;
mod fetch;
mod gc;
mod health;
mod images;
mod journal;
mod launcher;
mod link;
mod logs;
mod metrics;
mod network;
mod oci;
mod options;
mod promptly;
mod quota;
mod removal;
mod seccomp;
mod secrets;
mod sessions;
mod shell;
mod sources;
mod spare;
mod unpack;
mod usage;
mod users;
mod volumes;
mod work_dir;

pub use error::AgentError;
pub use fetch::{Digests, FetchPolicy, KeyError, TrustedKey};
pub use images::{Login, LoginError};
pub use launcher::check_launcher;
pub use oci::OciRuntime;
pub use options::{ImagePolicy, LauncherKind, OnStop, Options};
pub use promptly::answer_promptly;
pub use seccomp::ProfileError;
pub use shell::run;
pub use sources::{DeviceSource, SourceError};
pub use users::UserNamespaces;

use ring::rand::SecureRandom;

/// From the operating system.
fn random_u32() -> u32 {
    let mut bytes = [0; 4];
    ring::rand::SystemRandom::new().fill(&mut bytes).expect("the operating system has random numbers");
    u32::from_le_bytes(bytes)
}
