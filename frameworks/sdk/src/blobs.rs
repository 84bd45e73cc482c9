//! Files into and out of tasks, without a directory that agents share.
//!
//! A framework serves a [`BlobStore`] (files named by their SHA-256) through a [`BlobServer`]. For each task it grants a [`Token`]:
//! whoever shows it may read that task's [`Manifest`], get the inputs named there, put outputs up to a size, and report them. In the
//! task, [`task_io`] fetches the inputs, runs the user's command without the token in its environment, uploads the outputs and
//! reports their digests, which reach the framework as a [`Report`].
//!
//! | request | answer |
//! |---|---|
//! | `GET /task` | the manifest of the token's task, JSON |
//! | `GET /blob/{sha256}` | an input of the token's task |
//! | `PUT /blob/{sha256}` | takes an output; refused if the bytes do not have that digest |
//! | `PUT /task/result` | takes the list of outputs, JSON; every digest must have been put with this token |
//!
//! Tokens are derived from the task's id by a keyed hash, so a policy that is a pure state machine can name them, and nothing of them
//! needs to be stored.

mod client;
mod digest;
mod manifest;
mod pack;
mod server;
mod store;
pub mod task_io;

pub use client::{BlobClient, ClientError};
pub use digest::{Digest, DigestError};
pub use manifest::{Input, Manifest, ManifestError, Output, OutputSpec, Pack, Report, Unpack, Upload};
pub use pack::PackError;
pub use server::{BlobServer, Grant, Grants, ServeError, ServeOptions, Token, TokenKey};
pub use store::{BlobStore, BlobWriter, Limits, StoreError, Stored};

#[cfg(test)]
mod tests;
