//! The trace of a run: one line for each event, a hash over all of them, and the last ones kept.

use std::collections::VecDeque;
use std::fmt::{self, Write};

use rialto_core::model::{Call, Event, FromAgent, Launch, Operation, Status, TaskGroup, Time, ToAgent};

/// How many of the last lines a failure shows.
const TAIL: usize = 400;

/// What has happened so far.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    lines: u64,
    tail: VecDeque<String>,
    keep: usize,
}

impl Trace {
    /// A trace that keeps every line if `whole`, else the last ones.
    pub(crate) fn new(whole: bool) -> Self {
        Self {
            hash: 0xcbf2_9ce4_8422_2325,
            lines: 0,
            tail: VecDeque::new(),
            keep: if whole { usize::MAX } else { TAIL },
        }
    }

    pub(crate) fn line(&mut self, now: Time, what: fmt::Arguments<'_>) {
        let mut line = String::new();
        write!(line, "{now} {what}").expect("a text takes every line");
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.lines += 1;
        self.tail.push_back(line);
        if self.tail.len() > self.keep {
            self.tail.pop_front();
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }

    pub(crate) fn into_tail(self) -> Vec<String> {
        self.tail.into()
    }
}

/// A message in few words.
pub(crate) struct Short<'a, M>(pub(crate) &'a M);

impl fmt::Display for Short<'_, FromAgent> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            FromAgent::Register(report) => {
                let id = report.agent.map_or_else(|| "new".to_owned(), |(id, _)| id.to_string());
                write!(
                    f,
                    "register {id} ({:08x}): {} tasks {} devices",
                    report.client.0 >> 96,
                    report.tasks.len(),
                    report.devices.len()
                )?;
                report
                    .tasks
                    .iter()
                    .try_for_each(|task| write!(f, " {}/{}={}", task.framework, task.task.id, task.state))
            }
            FromAgent::Update { framework, status, latest } => {
                write!(f, "update {framework}/{}", Short(status))?;
                if *latest == status.state { Ok(()) } else { write!(f, " latest {latest}") }
            }
            FromAgent::Confirmed(term) => write!(f, "confirm term {}", term.0),
            FromAgent::DevicesFree(devices) => {
                write!(f, "free")?;
                devices.iter().try_for_each(|(id, generation)| write!(f, " {id}#{generation}"))
            }
            FromAgent::SlicesFree(slices) => {
                write!(f, "free")?;
                slices.iter().try_for_each(|(id, task)| write!(f, " {id}/{task}"))
            }
            FromAgent::Devices(reports) => {
                write!(f, "devices")?;
                reports.iter().try_for_each(|report| write!(f, " {}:{:?}", report.device.id, report.state))
            }
            FromAgent::Journal { degraded } => write!(f, "journal degraded {degraded}"),
            FromAgent::Held(gang) => write!(f, "held {gang}"),
            FromAgent::NotHeld(gang, reject) => write!(f, "not held {gang}: {reject}"),
            FromAgent::Operated { id, result, .. } => write!(f, "operated {id}: {result:?}"),
            FromAgent::Message { framework, .. } => write!(f, "message {framework}"),
        }
    }
}

impl fmt::Display for Short<'_, ToAgent> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ToAgent::Registered { agent, .. } => write!(f, "registered {agent}"),
            ToAgent::Launch(launch) => write!(f, "launch {}", Short(launch)),
            ToAgent::Kill { task, reason, .. } => write!(f, "kill {task}: {reason}"),
            ToAgent::Acknowledge { task, .. } => write!(f, "acknowledge {task}"),
            ToAgent::Hold { gang, groups } => {
                write!(f, "hold {gang}")?;
                groups.iter().try_for_each(|launch| write!(f, " {}", Short(launch)))
            }
            ToAgent::Start(gang) => write!(f, "start {gang}"),
            ToAgent::Release(gang) => write!(f, "release {gang}"),
            ToAgent::RemoveFramework(framework) => write!(f, "remove framework {framework}"),
            ToAgent::Operate { id, operation } => write!(f, "operate {id}: {}", operation.name()),
            ToAgent::Message { framework, .. } => write!(f, "message {framework}"),
            ToAgent::ClearDevice(device) => write!(f, "clear {device}"),
            ToAgent::Shutdown(reject) => write!(f, "shutdown: {reject}"),
        }
    }
}

impl fmt::Display for Short<'_, Launch> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0.framework, Short(&self.0.group))
    }
}

impl fmt::Display for Short<'_, TaskGroup> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, task) in self.0.tasks.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{}({})", task.id, task.resources)?;
        }
        Ok(())
    }
}

impl fmt::Display for Short<'_, Status> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.task, self.0.state)?;
        self.0.reason.map_or(Ok(()), |reason| write!(f, " {reason}"))?;
        if self.0.uuid.is_some() { Ok(()) } else { write!(f, " (answer)") }
    }
}

impl fmt::Display for Short<'_, Call> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Call::Subscribe(subscribe) => match subscribe.framework {
                Some(id) => write!(f, "subscribe {id}"),
                None => write!(f, "subscribe new"),
            },
            Call::Rules { id, .. } => write!(f, "rules {}", id.0),
            Call::Accept(accept) => {
                write!(f, "accept {} {:?}", accept.id.0, accept.offers)?;
                accept.operations.iter().try_for_each(|operation| match operation {
                    Operation::Launch(group) => write!(f, " launch {}", Short(group)),
                    other => write!(f, " {}", other.name()),
                })
            }
            Call::AcceptGang(gang) => {
                write!(f, "accept gang {}", gang.id.0)?;
                gang.tasks().try_for_each(|(agent, task)| write!(f, " {} on {agent}", task.id))
            }
            Call::Decline { offers, refusal } => write!(f, "decline {offers:?} for {:?}", refusal.duration),
            Call::Demand { demand, .. } => {
                write!(f, "demand {:?} shapes", demand.as_ref().map(|demand| demand.shapes.len()))
            }
            Call::Suppress(_) => write!(f, "suppress"),
            Call::Revive(_) => write!(f, "revive"),
            Call::Kill { id, task, .. } => write!(f, "kill {} {task}", id.0),
            Call::Acknowledge { task, .. } => write!(f, "acknowledge {task}"),
            Call::Reconcile(tasks) => write!(f, "reconcile {tasks:?}"),
            Call::Message { .. } => write!(f, "message"),
            Call::Teardown => write!(f, "teardown"),
        }
    }
}

impl fmt::Display for Short<'_, Event> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Event::Subscribed { framework, agents_missing, .. } => {
                write!(f, "subscribed {framework}, {agents_missing} agents missing")
            }
            Event::Offers(offers) => {
                write!(f, "offers")?;
                offers.iter().try_for_each(|offer| write!(f, " {} of {} ({})", offer.id, offer.agent, offer.resources))
            }
            Event::Rescind(offers) => write!(f, "rescind {offers:?}"),
            Event::Update(status) => write!(f, "update {}", Short(status)),
            Event::Outcome(outcome) => {
                write!(f, "outcome {}", outcome.call.0)?;
                outcome
                    .rejected
                    .iter()
                    .try_for_each(|rejection| write!(f, " {:?}: {}", rejection.tasks, rejection.reject))
            }
            Event::Message { .. } => write!(f, "message"),
            Event::AgentLost(agent) => write!(f, "agent lost {agent}"),
            Event::AgentLeaves { agent, after, .. } => write!(f, "agent {agent} leaves in {after:?}"),
            Event::Prices(changes) => write!(f, "{} prices", changes.len()),
            Event::Error(reject) => write!(f, "error {reject}"),
        }
    }
}
