use std::sync::Arc;

use rialto_sdk::blobs::{Manifest, Output};
use rialto_sdk::model::{DeviceId, FrameworkId, Reject, TaskId, Time};

use super::ended::{Blame, Fault};
use super::run::Outcome;
use super::summary::Summary;

/// What is asked of a run. Jobs are named by their index in the pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Start that manual job as soon as it may.
    Play(usize),
    /// Start nothing more, kill what runs.
    Cancel,
    /// That task has uploaded these.
    Uploaded {
        /// Which task.
        task: TaskId,
        /// What.
        outputs: Vec<Output>,
    },
    /// The run is over and its logs are read: leave the cluster.
    Leave,
}

/// What a run does besides calls to the master. Jobs are named by their index in the pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The framework is subscribed, for the first time or again.
    Subscribed(FrameworkId),
    /// The connection to the master is lost; tasks run on.
    Disconnected,
    /// The master will have nothing of it; the summary follows.
    Refused(Reject),
    /// From now on that task may fetch and upload what its manifest says.
    Grant {
        /// Which task.
        task: TaskId,
        /// What.
        manifest: Manifest,
    },
    /// From now on that task may fetch and upload nothing.
    Revoke(TaskId),
    /// A job that a user must start could start now.
    JobManual {
        /// Which job.
        job: usize,
    },
    /// A job waits for a machine with room for it.
    JobWaiting {
        /// Which job.
        job: usize,
        /// Since when.
        since: Time,
    },
    /// A job was given a machine.
    JobLaunched {
        /// Which job.
        job: usize,
        /// The number of this attempt, from 1.
        attempt: u32,
        /// Its task.
        task: TaskId,
        /// The machine's name.
        agent: Arc<str>,
        /// The devices that it gets.
        devices: Vec<DeviceId>,
    },
    /// A job's agent has taken it up: its logs can be read.
    JobStarted {
        /// Which job.
        job: usize,
        /// Its task.
        task: TaskId,
    },
    /// A job's agent went out of reach, or came back.
    Contact {
        /// Which job.
        job: usize,
        /// Which of the two.
        contact: Contact,
    },
    /// An attempt failed, and there will be another.
    JobRetried {
        /// Which job.
        job: usize,
        /// Why it failed.
        fault: Fault,
        /// Whether one of the user's retries was used for it.
        blame: Blame,
    },
    /// A job is done, or will never start.
    JobEnded {
        /// Which job.
        job: usize,
        /// How.
        outcome: Outcome,
    },
    /// Nothing is left that could start by itself.
    Finished(Summary),
}

/// Whether a job's agent is in reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact {
    /// No longer; the job may be running.
    Lost,
    /// Again.
    Back,
}
