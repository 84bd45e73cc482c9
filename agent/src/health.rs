//! Health checks of running tasks: what they try, and what is concluded.

use std::net::Ipv4Addr;
use std::time::Duration;

use rialto_core::agent::{Finding, Input};
use rialto_core::model::TaskKey;
use rialto_proto::spec::{Check, HealthCheck};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::shell::Event;

/// The most that is read of an answer before its status line must have ended.
const MAX_STATUS_LINE: u64 = 1024;

/// What is tried of one task, and where.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) check: HealthCheck,
    /// The task's ports, ascending.
    pub(crate) ports: Vec<u16>,
}

/// Asks the supervisor to run the command of a check where the task runs.
#[derive(Debug)]
pub(crate) struct Request {
    /// The member's index in its group.
    pub(crate) member: usize,
    /// How long it may run.
    pub(crate) timeout: Duration,
    /// Whether it passed; dropped if that is not known.
    pub(crate) reply: oneshot::Sender<bool>,
}

/// Who runs the commands of a member's checks.
#[derive(Clone, Debug)]
pub(crate) struct Runner {
    pub(crate) member: usize,
    pub(crate) requests: mpsc::Sender<Request>,
}

/// Checks a task for as long as it is polled, and says what is new.
pub(crate) async fn watch(task: TaskKey, plan: Plan, runner: Runner, events: mpsc::Sender<Event>) {
    let start = Instant::now();
    let mut story = Story { failures_max: plan.check.consecutive_failures, failures: 0, last: None };
    tokio::time::sleep(plan.check.delay).await;
    loop {
        let passed = matches!(tokio::time::timeout(plan.check.timeout, attempt(&plan, &runner)).await, Ok(Ok(())));
        let findings = story.conclude(passed, start.elapsed() < plan.check.grace);
        for finding in findings {
            let input = Input::Health { task: task.clone(), finding };
            if events.send(Event::Input(input)).await.is_err() || finding == Finding::Condemned {
                return;
            }
        }
        tokio::time::sleep(plan.check.interval).await;
    }
}

/// What has been concluded so far.
struct Story {
    failures_max: u32,
    failures: u32,
    last: Option<Finding>,
}

impl Story {
    /// What one more try says that was not said before.
    fn conclude(&mut self, passed: bool, in_grace: bool) -> Vec<Finding> {
        let mut new = Vec::new();
        if passed {
            self.failures = 0;
        } else if in_grace && self.last != Some(Finding::Healthy) {
            return new;
        } else {
            self.failures += 1;
        }
        let finding = if passed { Finding::Healthy } else { Finding::Unhealthy };
        if self.last != Some(finding) {
            self.last = Some(finding);
            new.push(finding);
        }
        if self.failures >= self.failures_max {
            new.push(Finding::Condemned);
        }
        new
    }
}

/// Why a try failed; only that it did matters.
struct Failed;

impl From<std::io::Error> for Failed {
    fn from(_: std::io::Error) -> Self {
        Self
    }
}

async fn attempt(plan: &Plan, runner: &Runner) -> Result<(), Failed> {
    match &plan.check.check {
        Check::Tcp { port_index } => connect(plan, *port_index).await.map(drop),
        Check::Http { port_index, path } => get(connect(plan, *port_index).await?, path).await,
        Check::Command(_) => runner.run(plan.check.timeout).await,
    }
}

async fn connect(plan: &Plan, port_index: u32) -> Result<TcpStream, Failed> {
    let port = usize::try_from(port_index).ok().and_then(|index| plan.ports.get(index)).ok_or(Failed)?;
    Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).await?)
}

async fn get(mut stream: TcpStream, path: &str) -> Result<(), Failed> {
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: rialto-health\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let mut limited = stream.take(MAX_STATUS_LINE);
    while !answer.contains(&b'\n') {
        if limited.read_buf(&mut answer).await? == 0 {
            return Err(Failed);
        }
    }
    match status(&answer) {
        Some(200..=399) => Ok(()),
        _ => Err(Failed),
    }
}

/// The status in `HTTP/1.1 200 OK`.
fn status(answer: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(answer.split(|byte| *byte == b'\n').next()?).ok()?;
    let rest = line.strip_prefix("HTTP/1.")?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

impl Runner {
    async fn run(&self, timeout: Duration) -> Result<(), Failed> {
        let (reply, passed) = oneshot::channel();
        let request = Request { member: self.member, timeout, reply };
        self.requests.send(request).await.map_err(|_| Failed)?;
        if passed.await.unwrap_or(false) { Ok(()) } else { Err(Failed) }
    }
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
