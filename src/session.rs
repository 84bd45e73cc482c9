//! `rialto exec` and `rialto attach`: a command beside a task's own, and the task's own, with the terminal of whoever asks.

use std::io::{IsTerminal, Read, Write};

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use rialto_proto::session::{From, OpenSession, SessionKind, Stdio, TerminalSize};
use rialto_proto::{Wire, v1};
use rialto_sdk::session::{Said, SessionEnd, SessionInput};
use rialto_sdk::{ClientError, MasterClient};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::cli::Connect;
use crate::query::find_task;

/// How much is read of standard input at a time.
const CHUNK: usize = 4096;
/// How much of it waits for the connection.
const WAITING: usize = 4;
/// Ctrl-P Ctrl-Q, typed in a row, leave an attached task.
const LEAVE: [u8; 2] = [0x10, 0x11];

/// `rialto exec`.
#[derive(Debug, Args)]
pub struct Exec {
    /// Send it what comes on standard input.
    #[arg(long, short)]
    pub interactive: bool,
    /// Give it a terminal.
    #[arg(long, short)]
    pub tty: bool,
    /// The task: its id, the beginning of it, FRAMEWORK/TASK, or last.
    #[arg(value_name = "TASK")]
    pub task: String,
    /// The command and its arguments.
    #[arg(trailing_var_arg = true, required = true, value_name = "CMD")]
    pub command: Vec<String>,
    /// How to reach the master.
    #[command(flatten)]
    pub connect: Connect,
}

/// `rialto attach`.
#[derive(Debug, Args)]
pub struct Attach {
    /// Only read what it writes.
    #[arg(long)]
    pub no_stdin: bool,
    /// The task: its id, the beginning of it, FRAMEWORK/TASK, or last.
    #[arg(value_name = "TASK")]
    pub task: String,
    /// How to reach the master.
    #[command(flatten)]
    pub connect: Connect,
}

/// Runs a command beside a task's own; the exit code is the command's.
pub async fn exec(args: Exec) -> anyhow::Result<u8> {
    let client = args.connect.client().await?;
    let task = find_task(&client, &args.task).await?;
    let stdio = match (args.tty, args.interactive) {
        (true, _) => Stdio::Terminal {
            size: own_size().unwrap_or(TerminalSize::USUAL),
            kind: std::env::var("TERM").unwrap_or_default(),
        },
        (false, true) => Stdio::Pipes,
        (false, false) => Stdio::Output,
    };
    let reads = if args.interactive { Reads::Everything } else { Reads::Nothing };
    let open = OpenSession { task: task.clone(), what: SessionKind::Exec { args: args.command, stdio } };
    let end = converse(&client, &open, reads).await.with_context(|| format!("task {task}"))?;
    Ok(match end {
        Some(SessionEnd::Code(code)) => code,
        Some(SessionEnd::Signal(signal)) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        Some(SessionEnd::NotStarted(why)) => {
            eprintln!("rialto: {why}");
            127
        }
        Some(SessionEnd::Task) | None => {
            eprintln!("rialto: the task has ended");
            137
        }
    })
}

/// Follows a task's own process.
pub async fn attach(args: Attach) -> anyhow::Result<()> {
    let client = args.connect.client().await?;
    let task = find_task(&client, &args.task).await?;
    let what = SessionKind::Attach { input: !args.no_stdin, size: own_size(), from: From::Now };
    let reads = if args.no_stdin { Reads::Nothing } else { Reads::UntilLeft };
    let end = converse(&client, &OpenSession { task: task.clone(), what }, reads).await;
    if end.with_context(|| format!("task {task}"))?.is_none() {
        eprintln!("\rrialto: left {task}; it runs on");
    }
    Ok(())
}

/// What is made of standard input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    Nothing,
    Everything,
    /// Everything, until [`LEAVE`] is typed.
    UntilLeft,
}

/// How large the terminal of this process is, if it has one.
pub fn own_size() -> Option<TerminalSize> {
    let size = tcgetwinsize(std::io::stdout()).or_else(|_| tcgetwinsize(std::io::stdin())).ok()?;
    Some(TerminalSize { rows: size.ws_row, columns: size.ws_col }).filter(|size| size.rows > 0 && size.columns > 0)
}

/// Opens a session and stays with it to its end; `None` if it was left.
pub async fn converse(
    client: &MasterClient,
    open: &OpenSession,
    reads: Reads,
) -> Result<Option<SessionEnd>, ClientError> {
    let (input, inputs) = mpsc::channel(WAITING);
    let mut session = client.session(open, inputs).await?;
    let (left, mut leaves) = mpsc::channel(1);
    let mut raw = None;
    let mut resized = signal(SignalKind::window_change()).ok();
    loop {
        let said = tokio::select! {
            said = session.next() => said?,
            Some(()) = leaves.recv() => return Ok(None),
            Some(()) = changed(&mut resized) => {
                if let Some(size) = own_size() {
                    // A session that is over says so itself.
                    let _over = input.send(SessionInput::Size(size.to_wire())).await;
                }
                continue;
            }
        };
        match said {
            Some(Said::Opened { input: taken, terminal }) => {
                if taken && reads != Reads::Nothing {
                    raw = terminal.then(Raw::enter).flatten();
                    let leave = (reads == Reads::UntilLeft && raw.is_some()).then(|| left.clone());
                    read_stdin(input.clone(), leave);
                }
            }
            Some(Said::Stdout(data)) => write(std::io::stdout().lock(), &data),
            Some(Said::Stderr(data)) => write(std::io::stderr().lock(), &data),
            Some(Said::Ended(end)) => {
                drop(raw);
                return Ok(Some(end));
            }
            None => return Err(ClientError::Garbled("the session ended without saying how".to_owned())),
        }
    }
}

async fn changed(resized: &mut Option<tokio::signal::unix::Signal>) -> Option<()> {
    match resized {
        Some(signal) => signal.recv().await,
        None => std::future::pending().await,
    }
}

/// Output that nobody takes is no reason to end the process.
fn write(mut to: impl Write, data: &Bytes) {
    let _nobody_reads = to.write_all(data).and_then(|()| to.flush());
}

/// Sends what comes on standard input, from a thread of its own, as reading it can't be given up.
fn read_stdin(input: mpsc::Sender<SessionInput>, leave: Option<mpsc::Sender<()>>) {
    std::thread::spawn(move || {
        let mut typed = Typed::default();
        let mut buffer = [0; CHUNK];
        loop {
            let data = match std::io::stdin().lock().read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(len) => &buffer[..len],
            };
            if let Some(leave) = leave.as_ref().filter(|_| typed.leaves(data)) {
                let _over = leave.blocking_send(());
                return;
            }
            if input.blocking_send(SessionInput::Data(Bytes::copy_from_slice(data))).is_err() {
                return;
            }
        }
        let _over = input.blocking_send(SessionInput::End(v1::Nothing {}));
    });
}

/// Looks for [`LEAVE`] in what is typed, however it comes in pieces.
#[derive(Debug, Default)]
struct Typed {
    last: u8,
}

impl Typed {
    fn leaves(&mut self, data: &[u8]) -> bool {
        data.iter().any(|byte| std::mem::replace(&mut self.last, *byte) == LEAVE[0] && *byte == LEAVE[1])
    }
}

/// The terminal of this process, handing every key on; as before once this is dropped.
#[derive(Debug)]
struct Raw(Termios);

impl Raw {
    fn enter() -> Option<Self> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return None;
        }
        let before = tcgetattr(&stdin).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _gone = tcsetattr(std::io::stdin(), OptionalActions::Drain, &self.0);
    }
}

#[cfg(test)]
mod tests;
