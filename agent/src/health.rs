//! Health checks of running tasks: what they try, and what is concluded.

use std::net::Ipv4Addr;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;

use rialto_core::agent::{Finding, Input};
use rialto_core::model::TaskKey;
use rialto_proto::spec::{Check, CommandSpec, HealthCheck};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::sync::mpsc;
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
    /// Of its command.
    pub(crate) env: Vec<(String, String)>,
    pub(crate) sandbox: PathBuf,
}

/// Checks a task for as long as it is polled, and says what is new.
pub(crate) async fn watch(task: TaskKey, plan: Plan, events: mpsc::Sender<Event>) {
    let start = Instant::now();
    let mut story = Story { failures_max: plan.check.consecutive_failures, failures: 0, last: None };
    tokio::time::sleep(plan.check.delay).await;
    loop {
        let passed = matches!(tokio::time::timeout(plan.check.timeout, attempt(&plan)).await, Ok(Ok(())));
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

async fn attempt(plan: &Plan) -> Result<(), Failed> {
    match &plan.check.check {
        Check::Tcp { port_index } => connect(plan, *port_index).await.map(drop),
        Check::Http { port_index, path } => get(connect(plan, *port_index).await?, path).await,
        Check::Command(command) => run(command, plan).await,
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

async fn run(command: &CommandSpec, plan: &Plan) -> Result<(), Failed> {
    let mut process = match command {
        CommandSpec::Argv(args) => {
            let (program, args) = args.split_first().ok_or(Failed)?;
            let mut process = Command::new(program);
            process.args(args);
            process
        }
        CommandSpec::Shell(line) => {
            let mut process = Command::new("/bin/sh");
            process.args(["-c", line]);
            process
        }
    };
    process.env_clear().envs(plan.env.iter().map(|(name, value)| (name, value))).current_dir(&plan.sandbox);
    process.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).kill_on_drop(true);
    let mut child = process.spawn()?;
    let mut group = KillGroup(child.id());
    let status = child.wait().await?;
    // Its number may be another's from now on.
    group.0 = None;
    if status.success() && status.signal().is_none() { Ok(()) } else { Err(Failed) }
}

/// Ends a check's processes when it is given up before it has ended.
struct KillGroup(Option<u32>);

impl Drop for KillGroup {
    fn drop(&mut self) {
        let pid = self.0.and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            // A group that is gone needs no signal.
            let _gone = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
    }
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
