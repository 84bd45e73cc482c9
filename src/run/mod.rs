//! `rialto run`: a framework for one command.

pub mod containment;
mod policy;

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, bail};
use rialto_proto::logs::{Follow, LogFile, ReadLog, Start};
use rialto_sdk::core::allocator::explain::Wait;
use rialto_sdk::core::master::{Command as OperatorCommand, Reply, Target};
use rialto_sdk::core::model::{Exit, FrameworkId, Role, Status, TaskId, TaskKey, TaskState};
use rialto_sdk::{Command, Framework, MasterClient, Options};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::StreamExt;

use self::policy::{Effect, Job, NotStarted, Policy, Summary};
use crate::cli::Run;
use crate::explain;

/// How long its tasks live on if this process dies.
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long nothing may be offered before the user is told why.
const PATIENCE: Duration = Duration::from_millis(300);
/// How often the reasons are looked at again.
const WHY_INTERVAL: Duration = Duration::from_secs(5);
/// How long the rest of the output may take after the last task has ended.
const DRAIN: Duration = Duration::from_secs(10);

/// Runs the command to its end; the exit code is the command's.
pub async fn run(args: Run) -> anyhow::Result<u8> {
    let command = command(&args)?;
    let role: Role = args.role.parse().context("--role")?;
    let id = job_id(&args)?;
    let (effects, received) = mpsc::unbounded_channel(); // Bounded by the job: a few effects for each of its instances.
    let job = Job {
        id: id.clone(),
        role: role.clone(),
        needs: command.needs.clone(),
        instances: args.instances,
        build: Box::new(move |id, placement| command.task(id, &role, placement)),
    };
    let client = args.connect.client().await?;
    let mut options = Options::new(args.connect.access("run")?, "run", [job.role.clone()]);
    options.info.failover_timeout = FAILOVER_TIMEOUT;
    let framework = rialto_sdk::start(
        options,
        |_| Ok(Policy::new(job)),
        move |effect| drop(effects.send(effect)), // The receiver is gone only when the session has ended.
    )?;
    let session = Session {
        client,
        id,
        many: args.instances > 1,
        framework: None,
        logs: JoinSet::new(),
        followed: Vec::new(),
        hopeless: false,
        told: None,
    };
    session.follow(framework, received).await
}

fn command(args: &Run) -> anyhow::Result<Command> {
    let mut command = Command::argv(args.command.iter().cloned()).cpus(&args.cpus)?.scalar("mem", &args.mem)?;
    for variable in &args.env {
        let (name, value) =
            variable.split_once('=').with_context(|| format!("--env {variable}: expected NAME=VALUE"))?;
        if name.is_empty() {
            bail!("--env {variable}: expected a name before '='");
        }
        command = command.env(name, value);
    }
    for device in &args.devices {
        command = command.device(device).context("--device")?;
    }
    for volume in &args.volumes {
        command = command.volume(volume).context("--volume")?;
    }
    command = args.containment.apply(command)?;
    if !args.constraint.is_empty() {
        command = command.only_on(&args.constraint).context("--constraint")?;
    }
    Ok(command)
}

/// The name, or the program's, and a few random digits: two runs of a name are told apart.
fn job_id(args: &Run) -> anyhow::Result<String> {
    let program = args.command.first().map_or("task", |program| program.rsplit('/').next().unwrap_or(program));
    let name = args.name.as_deref().unwrap_or(program);
    let clean: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' }).take(100).collect();
    let id = format!("{clean}-{:06x}", rialto_sdk::random()? & 0xff_ffff);
    TaskId::new(&id).context("--name")?;
    Ok(id)
}

/// One run, as its user sees it.
struct Session {
    client: MasterClient,
    id: String,
    /// Whether lines need the name of their task in front.
    many: bool,
    framework: Option<FrameworkId>,
    logs: JoinSet<()>,
    followed: Vec<TaskId>,
    /// Whether there is no use in waiting.
    hopeless: bool,
    /// The last explanation that was shown.
    told: Option<String>,
}

impl Session {
    async fn follow(
        mut self,
        framework: Framework<policy::Command>,
        mut effects: mpsc::UnboundedReceiver<Effect>,
    ) -> anyhow::Result<u8> {
        let mut waiting = 0;
        let mut interrupted = false;
        let mut ask = tokio::time::interval_at(tokio::time::Instant::now() + PATIENCE, WHY_INTERVAL);
        loop {
            tokio::select! {
                effect = effects.recv() => match effect {
                    Some(Effect::Done(summary)) => return self.end(framework, summary).await,
                    Some(Effect::Waiting(count)) => waiting = count,
                    Some(effect) => self.tell(effect),
                    None => break,
                },
                _ = ask.tick(), if waiting > 0 && !interrupted && !self.hopeless => {
                    if self.explain().await {
                        self.hopeless = true;
                        framework.send(policy::Command::Cancel).await;
                    }
                }
                _ = tokio::signal::ctrl_c() => {
                    if std::mem::replace(&mut interrupted, true) {
                        return Ok(130);
                    }
                    eprintln!("rialto: ending {}; once more to leave it behind", self.id);
                    framework.send(policy::Command::Cancel).await;
                }
            }
        }
        framework.wait().await?;
        bail!("the framework ended before its task")
    }

    fn tell(&mut self, effect: Effect) {
        match effect {
            Effect::Subscribed(framework) => self.framework = Some(framework),
            Effect::Launched { task, agent } => eprintln!("rialto: {task} on {agent}"),
            Effect::Outrun { task, why } => tracing::debug!(%task, why, "launch refused, to be tried again"),
            Effect::Refused { task, why } => eprintln!("rialto: {task} is refused: {why}"),
            Effect::Again { task, why } => eprintln!("rialto: {task} is started anew: {why}"),
            Effect::Update(status) => self.on_update(&status),
            Effect::Waiting(_) | Effect::Done(_) => {}
        }
    }

    fn on_update(&mut self, status: &Status) {
        let ran = status.state == TaskState::Running || status.exit.is_some();
        if let Some(framework) = self.framework.filter(|_| ran && !self.followed.contains(&status.task)) {
            self.followed.push(status.task.clone());
            let key = TaskKey::new(framework, status.task.clone());
            for file in [LogFile::Stdout, LogFile::Stderr] {
                self.logs.spawn(stream(self.client.clone(), key.clone(), file, self.many));
            }
        }
        let ended_badly = status.state.is_terminal() && status.state != TaskState::Finished;
        if ended_badly {
            eprintln!("rialto: {} {}: {}", status.task, status.state, status.message);
        }
    }

    /// Says why it waits, if that has changed. True if there is no use in waiting.
    async fn explain(&mut self) -> bool {
        let Some(framework) = self.framework else {
            eprintln!("rialto: not subscribed yet");
            return false;
        };
        let why = OperatorCommand::Why(Target::Shape(framework, self.id.clone()));
        let (text, hopeless) = match self.client.command(&why).await {
            Ok(Reply::Why(found)) => (explain::render(&found), found.waits.iter().any(Wait::is_hopeless)),
            Ok(_) => return false,
            // A master may come back, and its frameworks wait for that.
            Err(error) => (format!("rialto: waiting for the master: {error}\n"), false),
        };
        if self.told.as_ref() != Some(&text) {
            eprint!("{text}");
            self.told = Some(text);
        }
        hopeless
    }

    /// The rest of the output, then the exit code.
    async fn end(mut self, framework: Framework<policy::Command>, summary: Summary) -> anyhow::Result<u8> {
        let rest = async { while self.logs.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, rest).await.is_err() {
            eprintln!("rialto: the end of the output is missing; rialto logs {} may show it later", self.id);
        }
        framework.wait().await?;
        Ok(if self.hopeless { 1 } else { exit_code(summary) })
    }
}

/// As a shell has it, for what did not start too.
fn exit_code(summary: Summary) -> u8 {
    match summary {
        Summary::Success => 0,
        Summary::Exit(Exit::Code(code)) => u8::try_from(code & 0xff).unwrap_or(1),
        Summary::Exit(Exit::Signal(signal)) => u8::try_from(128 + signal).unwrap_or(255),
        Summary::NotStarted(NotStarted::NotFound) => 127,
        Summary::NotStarted(NotStarted::NotExecutable) => 126,
        Summary::Failed(_) => 1,
        Summary::Cancelled => 130,
    }
}

/// Copies a task's output to ours until it ends. Output that can't be had is said, and is no reason to end the task.
async fn stream(client: MasterClient, task: TaskKey, file: LogFile, many: bool) {
    if let Err(error) = copy(&client, &task, &file, many).await {
        eprintln!("rialto: output of {}: {error:#}", task.task);
    }
}

async fn copy(client: &MasterClient, task: &TaskKey, file: &LogFile, many: bool) -> anyhow::Result<()> {
    let read = ReadLog {
        task: task.clone(),
        file: file.clone(),
        start: Start::Offset(0),
        follow: Follow::UntilTaskEnds,
        limit: None,
    };
    let mut bytes = client.logs(&read).await?;
    let mut lines = Lines { prefix: if many { format!("{}| ", task.task) } else { String::new() }, at_start: true };
    while let Some(chunk) = bytes.next().await {
        let chunk = lines.mark(&chunk?);
        match file {
            LogFile::Stderr => std::io::stderr().write_all(&chunk)?,
            _ => {
                let mut stdout = std::io::stdout().lock();
                stdout.write_all(&chunk)?;
                stdout.flush()?;
            }
        }
    }
    Ok(())
}

/// Puts a prefix in front of every line; bytes are left as they are.
struct Lines {
    prefix: String,
    at_start: bool,
}

impl Lines {
    fn mark(&mut self, chunk: &[u8]) -> Vec<u8> {
        if self.prefix.is_empty() {
            return chunk.to_vec();
        }
        let mut marked = Vec::with_capacity(chunk.len() + self.prefix.len());
        for line in chunk.split_inclusive(|byte| *byte == b'\n') {
            if self.at_start {
                marked.extend_from_slice(self.prefix.as_bytes());
            }
            marked.extend_from_slice(line);
            self.at_start = line.ends_with(b"\n");
        }
        marked
    }
}
