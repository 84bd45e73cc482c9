//! Rialto's web framework: keeps servers up, and changes them without an interruption.
//!
//! [`spec`] is the app file, [`policy`] decides what runs where and when; [`Server`] is the shell, a lasting framework with a control
//! API, and [`Client`] is the other side of that API.

mod client;
mod demo;
pub mod policy;
mod server;
pub mod spec;

pub use client::{Client, ClientError, read_app};
pub use demo::{Demo, demo_server};
pub use policy::{AppView, DeploymentState, DeploymentView, InstanceView, Kind};
pub use server::{FRAMEWORK_NAME, Server, ServerError, ServerOptions};
