//! The app file: a server that is to be kept up. Parsed and checked in one go.

mod raw;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rialto_sdk::core::model::{Claim, Milli, Selector};

pub use raw::parse;

/// The most instances that an app may have.
pub const MAX_INSTANCES: u32 = 10_000;
/// The most ports that an instance may have.
pub const MAX_PORTS: usize = 32;
/// The largest app file, in bytes.
pub const MAX_FILE_BYTES: usize = 256 << 10;

/// A checked app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppSpec {
    /// Lower-case letters, digits and `-`; the app's name in the API.
    pub name: Arc<str>,
    /// What each instance runs.
    pub command: Run,
    /// How many are kept up.
    pub instances: u32,
    /// Cores for each.
    pub cpus: Milli,
    /// MiB for each.
    pub mem: Milli,
    /// Devices for each.
    pub claims: Vec<Claim>,
    /// The names of its ports, in the order of `PORT0`, `PORT1`, ….
    pub ports: Vec<Arc<str>>,
    /// Added to the environment.
    pub env: BTreeMap<Arc<str>, Arc<str>>,
    /// How to see whether an instance is well; without it, one that runs is.
    pub health: Option<Health>,
    /// How a new version replaces the old one.
    pub update: Update,
    /// How instances that end are started again.
    pub restart: Restart,
    /// What the agent must be like.
    pub constraint: Selector,
    /// Where instances go.
    pub spread: Spread,
    /// At most so many of its instances are on one agent at once, of whatever version; none if any number may be.
    pub max_per_agent: Option<u32>,
    /// How long an instance gets between SIGTERM and SIGKILL.
    pub kill_grace: Duration,
    /// How long an unreachable instance is waited for before it is replaced.
    pub replace_unreachable_after: Duration,
}

/// What is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run {
    /// A line for `/bin/sh -c`.
    Shell(Arc<str>),
    /// A program and its arguments.
    Argv(Vec<String>),
}

/// An HTTP check: GET, which must answer with a status of 200 to 399.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Begins with a slash.
    pub path: Arc<str>,
    /// Which port, by its place among the app's ports.
    pub port: usize,
    /// Before the first check.
    pub delay: Duration,
    /// Between checks.
    pub interval: Duration,
    /// How long one may take.
    pub timeout: Duration,
    /// How many failures in a row end the instance.
    pub failures: u32,
    /// Failures this long after the start are not counted.
    pub grace: Duration,
}

/// How a new version replaces the old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update {
    /// How many instances more than wanted there may be meanwhile.
    pub max_surge: u32,
    /// How many instances fewer than wanted may be well meanwhile.
    pub max_unavailable: u32,
    /// How long a new instance must have been well before an old one goes.
    pub min_healthy: Duration,
    /// How long the update may make no progress before it is rolled back.
    pub deadline: Duration,
    /// How many instances of the new version may fail before it is rolled back.
    pub max_failures: u32,
}

/// How instances that end by themselves are started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// The pause after the first end.
    pub initial: Duration,
    /// The longest pause.
    pub max: Duration,
    /// What the pause is multiplied with from one end to the next.
    pub factor: u32,
    /// An instance that ran this long starts the count anew.
    pub reset_after: Duration,
}

/// Where instances go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// On the agents with the fewest of them.
    Wide,
    /// Where the least room is left.
    Packed,
}

/// Why an app file is not acceptable. The text says where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Not TOML, or a key that is missing, unknown or of the wrong type; the text shows the line.
    #[error("{file}: {message}")]
    Toml {
        /// The file's name.
        file: String,
        /// What is wrong and where.
        message: String,
    },
    /// A field holds what it must not.
    #[error("{file}: {field}: {message}")]
    Field {
        /// The file's name.
        file: String,
        /// Which field, as a path.
        field: &'static str,
        /// What was expected and what was there.
        message: String,
    },
}

impl Restart {
    /// The pause after that many ends in a row, at least one.
    pub fn pause(&self, ends: u32) -> Duration {
        let factor = self.factor.checked_pow(ends.saturating_sub(1)).unwrap_or(u32::MAX);
        self.initial.saturating_mul(factor).min(self.max)
    }
}

/// Whether `name` can be an app's name.
pub fn is_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&name.len()) && name.chars().all(good) && !name.starts_with('-') && !name.ends_with('-')
}

#[cfg(test)]
mod tests;
