//! What end-to-end tests stand on: real processes of this build, in a folder of their own, on ports that the kernel chose.
//!
//! A [`Cluster`] is `rialto dev`, or a master and agents as separate processes. Commands run against it with [`Cluster::rialto`], its
//! state is read as programs read it ([`Cluster::tasks`] and the like), and everything that is waited for is waited for with a bound:
//! [`wait_until`]. When a cluster is dropped its processes are ended, with all that they left behind; when its test failed, what they
//! had said is printed first.

mod cluster;
mod http;
mod process;
mod remains;
mod wait;

pub(crate) use cluster::{AgentSpec, Cluster};
pub(crate) use http::get;
pub(crate) use process::{Finished, Process, rialto_binary};
pub(crate) use remains::{is_alive, kill_processes_of, processes_of, sockets_below};
pub(crate) use wait::{PATIENCE, find, wait_until};
