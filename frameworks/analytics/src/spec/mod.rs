//! The job file: a DAG of stages over partitions of files. Parsed and checked in one go; what comes out holds together.

mod graph;
mod raw;

use std::sync::Arc;
use std::time::Duration;

use rialto_sdk::core::model::{Claim, Milli, Price};

pub use raw::parse;

/// The most stages that a job may have.
pub const MAX_STAGES: usize = 100;
/// The most partitions that a stage may have.
pub const MAX_PARTITIONS: u32 = 10_000;
/// The most often that a partition may be tried again after its command failed.
pub const MAX_RETRIES: u32 = 100;
/// The largest job file, in bytes.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

/// A checked job.
#[derive(Clone, Debug)]
pub struct Job {
    /// For people.
    pub name: Arc<str>,
    /// In an order in which each comes after those that it reads from.
    pub stages: Vec<Stage>,
    /// Which stage's outputs are the result, by its place in `stages`.
    pub result_stage: usize,
    /// Where the result goes, relative to the job file.
    pub result_path: Arc<str>,
}

/// One stage: a command for each of its partitions.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Unique in its job.
    pub name: Arc<str>,
    /// A line or script for `/bin/sh`.
    pub command: Arc<str>,
    /// What its partitions read.
    pub source: Source,
    /// When its partitions may start.
    pub mode: Mode,
    /// How often a partition is tried again after its command failed; lost tasks don't count.
    pub retries: u32,
    /// Cores for each partition.
    pub cpus: Milli,
    /// MiB for each partition.
    pub mem: Milli,
    /// Devices for each partition.
    pub claims: Vec<Claim>,
    /// How long a partition's command may run.
    pub timeout: Option<Duration>,
    /// How its partitions start.
    pub start: Start,
    /// They are held back while no machine costs so little; none if they run at any price.
    pub max_price: Option<Price>,
}

/// How the partitions of a stage start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// Each as soon as it has a place.
    #[default]
    Each,
    /// All that are not done at once, or none: they need each other.
    Together,
}

/// The most partitions that may start together.
pub const MAX_GANG: u32 = 256;

/// What a stage's partitions read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Files, one a partition, or one file cut into several.
    Files {
        /// A path or glob, relative to the job file.
        glob: Arc<str>,
        /// How each file is cut; none means one partition for each file.
        split: Option<Split>,
    },
    /// Outputs of stages before it.
    Stages {
        /// Their places in [`Job::stages`].
        from: Vec<usize>,
        /// Which output goes to which partition.
        shuffle: Shuffle,
    },
}

/// How a file of lines is cut into partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// Into what.
    pub size: SplitSize,
    /// Whether the first line is a header, which each part gets.
    pub header: bool,
}

/// What a file is cut into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitSize {
    /// This many parts, with equally many lines give or take one.
    Parts(u32),
    /// Parts of this many lines, the last one with the rest.
    Lines(u64),
}

/// Which output of the stages before goes to which partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shuffle {
    /// Partition n reads the outputs of partition n of each.
    OneToOne,
    /// Every one of this many partitions reads all outputs; a reduce is one partition.
    All(u32),
}

/// When a partition may start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// As soon as what it reads is there.
    #[default]
    Pipelined,
    /// When the stages that it reads from are done in whole.
    Barrier,
}

/// Why a job file is not acceptable. The text says where.
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
    #[error("{file}:{line}: {field}: {message}")]
    Field {
        /// The file's name.
        file: String,
        /// The line, from 1, of the stage or table that the field is in.
        line: usize,
        /// Which field.
        field: String,
        /// What was expected and what was there.
        message: String,
    },
    /// Stages that wait for each other.
    #[error("{file}: the stages form a cycle, so none of them could start: {}", .cycle.join(" -> "))]
    Cycle {
        /// The file's name.
        file: String,
        /// The names along the cycle; the first is also the last.
        cycle: Vec<String>,
    },
}

#[cfg(test)]
mod tests;
