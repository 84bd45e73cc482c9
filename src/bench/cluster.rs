//! The processes that are measured: a master and an agent, of this very binary, below a folder that goes with them.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::ValueEnum;
use rialto_sdk::Access;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

use super::{field_kib, read};
use crate::cli::BenchAgent;

/// How long a process may take to say where it listens.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// How long it may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// The unit of processor time below `/proc`: Linux has shown hundredths of a second to programs for ever.
const TICK_MS: u64 = 10;
/// The token's file in a master's work dir.
const TOKEN_FILE: &str = "token";

/// A process that is measured. Killed when this is dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    name: &'static str,
}

impl Process {
    fn start(name: &'static str, command: &mut Command) -> anyhow::Result<Self> {
        let child = command.kill_on_drop(true).spawn().with_context(|| format!("starting rialto {name}"))?;
        Ok(Self { child, name })
    }

    pub(super) fn pid(&self) -> anyhow::Result<u32> {
        self.child.id().with_context(|| format!("rialto {} has ended", self.name))
    }

    /// How much memory it has in use, in MiB.
    pub(super) fn rss_mib(&self) -> anyhow::Result<f64> {
        let status = read(format!("/proc/{}/status", self.pid()?))?;
        let kib = field_kib(&status, "VmRSS:").with_context(|| format!("rialto {} has no memory", self.name))?;
        Ok(kib as f64 / 1024.0)
    }

    /// How much processor time it has used.
    pub(super) fn cpu(&self) -> anyhow::Result<Duration> {
        cpu_of(&self.pid()?.to_string())
    }

    /// Ends it, and waits until it has.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.pid()?).ok().and_then(Pid::from_raw).context("a process id")?;
        kill_process(pid, Signal::TERM).with_context(|| format!("stopping rialto {}", self.name))?;
        let ended = tokio::time::timeout(STOP_TIMEOUT, self.child.wait()).await;
        let status = ended.with_context(|| format!("rialto {} does not stop", self.name))??;
        if !status.success() {
            bail!("rialto {} ended with {status}", self.name);
        }
        Ok(())
    }
}

/// How much processor time a process has used; `self` is this one.
pub(super) fn cpu_of(pid: &str) -> anyhow::Result<Duration> {
    let stat = read(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything, also spaces; behind it come state and ten fields, then user and system time.
    let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 =
        behind_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * TICK_MS))
}

/// A master with its registry on disk, and where to reach it.
#[derive(Debug)]
pub(super) struct Master {
    pub(super) process: Process,
    /// `http://HOST:PORT`.
    pub(super) url: String,
    pub(super) token: String,
    token_file: PathBuf,
}

impl Master {
    /// Starts one on a free port of the loopback interface; returns once it listens.
    pub(super) async fn start(folder: &Path) -> anyhow::Result<Self> {
        let work_dir = folder.join("master");
        std::fs::create_dir_all(&work_dir).with_context(|| format!("work dir {}", work_dir.display()))?;
        let mut command = rialto()?;
        command.args(["master", "--listen", "127.0.0.1:0", "--store", "redb", "--work-dir"]).arg(&work_dir);
        let mut process = Process::start("master", command.stderr(Stdio::piped()))?;
        let stderr = process.child.stderr.take().context("the master's stderr")?;
        let url = tokio::time::timeout(START_TIMEOUT, url(stderr)).await.context("the master does not listen")??;
        let token_file = work_dir.join(TOKEN_FILE);
        let token = token(&token_file).await?;
        Ok(Self { process, url, token, token_file })
    }

    /// The way to it for a framework.
    pub(super) fn access(&self, principal: &str) -> anyhow::Result<Access> {
        Ok(Access::new(&self.url)?.with_token(&self.token)?.with_principal(principal)?)
    }

    /// Starts an agent of it, with `resources`.
    pub(super) fn start_agent(&self, work_dir: &Path, resources: &str, args: &BenchAgent) -> anyhow::Result<Process> {
        let mut command = rialto()?;
        command.args(["agent", "--name", "bench", "--resources", resources, "--master", &self.url, "--work-dir"]);
        command.arg(work_dir).arg("--token-file").arg(&self.token_file);
        let launcher = args.launcher.to_possible_value().expect("every kind has a name");
        command.args(["--launcher", launcher.get_name(), "--sync-delay-ms", &args.fsync_delay_ms.to_string()]);
        Process::start("agent", command.stderr(Stdio::null()))
    }
}

/// This binary, free of what the environment may say to its options.
fn rialto() -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("the path of this program")?);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("RIALTO_") && name != "RIALTO_LOG") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    Ok(command)
}

/// The address in the first line that has one; what follows is passed on.
async fn url(stderr: impl AsyncRead + Unpin + Send + 'static) -> anyhow::Result<String> {
    let mut lines = BufReader::new(stderr).lines();
    while let Some(line) = lines.next_line().await? {
        let Some(at) = line.find("http://") else {
            eprintln!("{line}");
            continue;
        };
        let url = line[at..].split_whitespace().next().unwrap_or_default().to_owned();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                eprintln!("{line}");
            }
        });
        return Ok(url);
    }
    bail!("the master ended before it listened")
}

/// The token that a new master makes soon after it has begun to listen.
async fn token(path: &Path) -> anyhow::Result<String> {
    let made = async {
        loop {
            match std::fs::read_to_string(path) {
                Ok(token) if !token.trim().is_empty() => return token.trim().to_owned(),
                _ => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    };
    tokio::time::timeout(START_TIMEOUT, made).await.context("the master makes no token")
}
