//! One job of a run: its state, its attempts, its retries.

use std::sync::Arc;
use std::time::Duration;

use rialto_sdk::blobs::{Digest, Output};
use rialto_sdk::model::{Claim, ClaimError, DeviceId, Milli, Quantities, ResourceName, Status, TaskId, Time};
use rialto_sdk::scheduler::placement::{Needs, Placement};

use super::ended::{Blame, Fault};
use super::task::{ARTIFACTS, script_bytes, task_id};
use super::{FIRST_NOTICE, LOSSES_MAX, NOTICE_MAX, UNREACHABLE_MAX};
use crate::spec::{Job, Resources};

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its script succeeded.
    Passed,
    /// Its last attempt failed.
    Failed {
        /// Why.
        fault: Fault,
        /// Whether the pipeline shrugs it off.
        allowed: bool,
    },
    /// It was never started: what it waits for did not come about.
    Skipped,
    /// Somebody cancelled the pipeline, or killed the job.
    Cancelled,
}

/// Where a job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Something that it waits for has not settled.
    Pending,
    /// It could start, if a user wanted it to.
    Manual,
    /// It waits for a machine.
    Ready(Ready),
    /// It has a task.
    Launched,
    /// Its task has ended so, and the report of its outputs is on its way.
    Ending {
        status: Box<Status>,
        until: Time,
    },
    Done(Outcome),
}

/// A wait for a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ready {
    pub(super) since: Time,
    /// When it may be launched; none if it may now.
    pub(super) not_before: Option<Time>,
    next_notice: Time,
    notice_after: Duration,
}

impl Ready {
    pub(super) fn at(now: Time) -> Self {
        Self { since: now, not_before: None, next_notice: now + FIRST_NOTICE, notice_after: FIRST_NOTICE }
    }

    pub(super) fn after(now: Time, pause: Duration) -> Self {
        Self { not_before: Some(now + pause).filter(|_| !pause.is_zero()), ..Self::at(now) }
    }

    fn next_deadline(&self) -> Time {
        self.not_before.map_or(self.next_notice, |at| at.min(self.next_notice))
    }

    /// Does what is due. Whether people should hear that it still waits.
    pub(super) fn fire(&mut self, now: Time) -> bool {
        self.not_before = self.not_before.filter(|at| *at > now);
        let told = self.next_notice <= now;
        if told {
            self.notice_after = (self.notice_after * 2).min(NOTICE_MAX);
            self.next_notice = now + self.notice_after;
        }
        told
    }
}

/// A task that stands, or stood, for a job.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) task: TaskId,
    pub(super) agent_name: Arc<str>,
    pub(super) devices: Vec<DeviceId>,
    pub(super) launched: Time,
    /// When its agent first spoke of it.
    pub(super) started: Option<Time>,
    pub(super) ended: Option<Time>,
    /// Since when its agent is out of reach.
    pub(super) unreachable: Option<Time>,
    pub(super) report: Option<Vec<Output>>,
}

impl Attempt {
    pub(super) fn new(task: TaskId, placement: &Placement, now: Time) -> Self {
        Self {
            task,
            agent_name: placement.agent_name.clone(),
            devices: placement.resources.device_shares().map(|(id, _)| id.clone()).collect(),
            launched: now,
            started: None,
            ended: None,
            unreachable: None,
            report: None,
        }
    }
}

/// One job of a run.
#[derive(Clone, Debug)]
pub(super) struct JobRun {
    pub(super) state: State,
    pub(super) needs: Needs,
    pub(super) script: Digest,
    /// What it hands on.
    pub(super) artifacts: Option<Digest>,
    /// The present attempt, or the last.
    pub(super) attempt: Option<Attempt>,
    /// How many tasks it has had.
    pub(super) attempts: u32,
    /// How often in a row its launch was refused because others were quicker.
    pub(super) conflicts: u32,
    /// How many of the user's retries are used.
    retries: u32,
    /// How often the cluster failed it.
    losses: u32,
    /// How many task ids it has used.
    serial: u32,
}

impl JobRun {
    pub(super) fn new(job: &Job) -> Result<Self, ClaimError> {
        Ok(Self {
            state: State::Pending,
            needs: needs(&job.resources)?,
            script: Digest::of(&script_bytes(job)),
            artifacts: None,
            attempt: None,
            attempts: 0,
            conflicts: 0,
            retries: 0,
            losses: 0,
            serial: 0,
        })
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        match &self.state {
            State::Ready(ready) => Some(ready.next_deadline()),
            State::Ending { until, .. } => Some(*until),
            State::Launched => self.attempt.as_ref()?.unreachable.map(|since| since + UNREACHABLE_MAX),
            State::Pending | State::Manual | State::Done(_) => None,
        }
    }

    /// A task id that was never used.
    pub(super) fn next_task(&mut self, name: &str, job: usize) -> TaskId {
        self.serial += 1;
        task_id(name, job, self.serial)
    }

    /// Its task has ended. Whether the report of its outputs is here.
    pub(super) fn note_end(&mut self, now: Time) -> bool {
        self.conflicts = 0;
        let Some(attempt) = &mut self.attempt else { return false };
        attempt.ended.get_or_insert(now);
        attempt.report.is_some()
    }

    /// What the attempt uploaded is what the job hands on.
    pub(super) fn take_artifacts(&mut self) {
        let report = self.attempt.as_ref().and_then(|attempt| attempt.report.as_ref());
        let output = report.into_iter().flatten().find(|output| output.name == ARTIFACTS);
        self.artifacts = output.map(|output| output.digest);
    }

    /// Whether the job is tried once more, and if so after how long.
    pub(super) fn another_try(&mut self, job: &Job, fault: &Fault, blame: Blame) -> Option<Duration> {
        if blame == Blame::Cluster && self.losses < LOSSES_MAX {
            self.losses += 1;
            return Some(pause(self.losses));
        }
        let covered = blame != Blame::Nobody && job.retry.covers(fault.failure, fault.exit_code);
        if covered && self.retries < job.retry.max {
            self.retries += 1;
            return Some(Duration::ZERO);
        }
        None
    }
}

/// How long to wait after the n-th of a row of misfortunes; nothing after none.
pub(super) fn pause(n: u32) -> Duration {
    if n == 0 { Duration::ZERO } else { Duration::from_millis(100 << n.min(6)) }
}

fn needs(resources: &Resources) -> Result<Needs, ClaimError> {
    let mut quantities = Quantities::of(Milli(resources.cpus_milli), Milli::from_whole(resources.mem_mib));
    quantities.set(&ResourceName::Disk, Milli::from_whole(resources.disk_mib));
    let claims: Result<Vec<Claim>, ClaimError> = resources.devices.iter().map(|device| device.parse()).collect();
    Ok(Needs { claims: claims?, ..Needs::new(quantities) })
}
