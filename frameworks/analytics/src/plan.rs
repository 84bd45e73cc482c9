use std::collections::BTreeMap;
use std::sync::Arc;

use rialto_sdk::blobs::Digest;

use crate::spec::{Job, MAX_GANG, MAX_PARTITIONS, Shuffle, Source, Start};

/// A job and the partitions that its stages have, now that its files are known.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The job.
    pub job: Job,
    /// How many partitions each stage has.
    pub partitions: Vec<u32>,
    /// For each stage that reads files, one for each of its partitions.
    pub files: BTreeMap<usize, Vec<FilePart>>,
}

/// What one partition of a stage reads that reads files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePart {
    /// The bytes.
    pub digest: Digest,
    /// The file that they come from, for people and for the command.
    pub name: Arc<str>,
}

/// Why a job can't be planned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A stage has no partition.
    #[error("stage {stage:?}: files: expected at least one file at {glob:?}, relative to the job file, found none")]
    NoFiles {
        /// Which stage.
        stage: Arc<str>,
        /// What it reads.
        glob: Arc<str>,
    },
    /// A stage has more partitions than it may.
    #[error("stage {stage:?}: expected at most {MAX_PARTITIONS} partitions, the files make {partitions}")]
    TooMany {
        /// Which stage.
        stage: Arc<str>,
        /// How many it would have.
        partitions: usize,
    },
    /// More partitions than can start together.
    #[error("stage {stage:?}: gang: expected at most {MAX_GANG} partitions that start together, got {partitions}")]
    Gang {
        /// Which stage.
        stage: Arc<str>,
        /// How many it has.
        partitions: u32,
    },
    /// A one-to-one stage reads stages with different numbers of partitions.
    #[error("stage {stage:?}: shuffle = \"one-to-one\" needs stages with equally many partitions, got {counts}")]
    Uneven {
        /// Which stage.
        stage: Arc<str>,
        /// The stages and how many they have.
        counts: String,
    },
}

impl Plan {
    /// Counts partitions: `files` has the parts of each stage that reads files.
    pub fn new(job: Job, files: BTreeMap<usize, Vec<FilePart>>) -> Result<Self, PlanError> {
        let mut partitions = Vec::with_capacity(job.stages.len());
        for at in 0..job.stages.len() {
            let count = count(&job, at, &partitions, &files)?;
            if job.stages[at].start == Start::Together && count > MAX_GANG {
                return Err(PlanError::Gang { stage: job.stages[at].name.clone(), partitions: count });
            }
            partitions.push(count);
        }
        Ok(Self { job, partitions, files })
    }

    /// The stages that read from `stage`.
    pub fn readers(&self, stage: usize) -> impl Iterator<Item = usize> + '_ {
        let reads = move |at: &usize| match &self.job.stages[*at].source {
            Source::Stages { from, .. } => from.contains(&stage),
            Source::Files { .. } => false,
        };
        (0..self.job.stages.len()).filter(reads)
    }
}

fn count(job: &Job, at: usize, before: &[u32], files: &BTreeMap<usize, Vec<FilePart>>) -> Result<u32, PlanError> {
    let stage = &job.stages[at];
    match &stage.source {
        Source::Files { glob, .. } => {
            let parts = files.get(&at).map_or(0, Vec::len);
            let too_many = PlanError::TooMany { stage: stage.name.clone(), partitions: parts };
            match u32::try_from(parts) {
                Ok(0) => Err(PlanError::NoFiles { stage: stage.name.clone(), glob: glob.clone() }),
                Ok(count) if count <= MAX_PARTITIONS => Ok(count),
                _ => Err(too_many),
            }
        }
        Source::Stages { shuffle: Shuffle::All(count), .. } => Ok(*count),
        Source::Stages { from, shuffle: Shuffle::OneToOne } => {
            let first = before[from[0]];
            if from.iter().all(|read| before[*read] == first) {
                return Ok(first);
            }
            let counts: Vec<String> =
                from.iter().map(|read| format!("{} with {}", job.stages[*read].name, before[*read])).collect();
            Err(PlanError::Uneven { stage: stage.name.clone(), counts: counts.join(", ") })
        }
    }
}
