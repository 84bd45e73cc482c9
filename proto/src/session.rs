//! Talking to a task: a shell inside of it, or its own terminal. The master asks the task's agent to dial a bulk stream
//! ([`OpenBulk`](crate::logs::OpenBulk)); what is typed and what is written then travel on it, in the messages of the wire.

use rialto_core::model::TaskKey;

use crate::convert::{At, ConvertError, Converted, Wire, expected, inside, one_of, required};
use crate::v1::{self, open_session, session_input, session_output};

/// The most bytes that one message of a session should carry.
pub const MAX_DATA: usize = 64 << 10;
/// The most bytes of a process's arguments.
pub const MAX_ARGS_BYTES: usize = 16 << 10;
/// The most arguments of a process.
const MAX_ARGS: usize = 1024;

/// A session that somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSession {
    /// With which task.
    pub task: TaskKey,
    /// What with it.
    pub what: SessionKind,
}

/// What is wanted of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionKind {
    /// A process beside its own, with no more rights than it has.
    Exec {
        /// The program and its arguments.
        args: Vec<String>,
        /// What it reads and where it writes.
        stdio: Stdio,
    },
    /// Its own process, as it writes and reads.
    Attach {
        /// Whether what is sent goes to it.
        input: bool,
        /// How large the reader's terminal is, if it is one.
        size: Option<TerminalSize>,
        /// Where in what it writes to begin.
        from: From,
    },
}

/// Where in what a task writes somebody begins to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// At the beginning of what is kept.
    Start,
    /// At what is written from now on.
    Now,
}

/// What a process reads and where it writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stdio {
    /// Two streams, and nothing to read.
    Output,
    /// Two streams, and a third to read.
    Pipes,
    /// A terminal.
    Terminal {
        /// How large it is.
        size: TerminalSize,
        /// What it understands: the value of `TERM`; empty means that nothing is said.
        kind: String,
    },
}

/// How large a terminal is, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// From top to bottom.
    pub rows: u16,
    /// From left to right.
    pub columns: u16,
}

impl TerminalSize {
    /// Of a terminal that does not say.
    pub const USUAL: Self = Self { rows: 24, columns: 80 };
}

/// An input of a session as it travels.
#[must_use]
pub fn input(input: session_input::Input) -> v1::SessionInput {
    v1::SessionInput { input: Some(input) }
}

/// An output of a session as it travels.
#[must_use]
pub fn output(output: session_output::Output) -> v1::SessionOutput {
    v1::SessionOutput { output: Some(output) }
}

impl Wire for TerminalSize {
    type Message = v1::TerminalSize;

    fn to_wire(&self) -> v1::TerminalSize {
        v1::TerminalSize { rows: self.rows.into(), columns: self.columns.into() }
    }

    fn from_wire(size: v1::TerminalSize) -> Converted<Self> {
        let characters = |count: u32| {
            u16::try_from(count).map_err(|_| ConvertError::here(format!("expected at most {}, got {count}", u16::MAX)))
        };
        Ok(Self { rows: characters(size.rows).at("rows")?, columns: characters(size.columns).at("columns")? })
    }
}

impl Wire for OpenSession {
    type Message = v1::OpenSession;

    fn to_wire(&self) -> v1::OpenSession {
        let what = match &self.what {
            SessionKind::Exec { args, stdio } => {
                let terminal = match stdio {
                    Stdio::Terminal { size, kind } => {
                        Some(v1::Terminal { size: Some(size.to_wire()), kind: kind.clone() })
                    }
                    Stdio::Output | Stdio::Pipes => None,
                };
                let input = *stdio == Stdio::Pipes;
                open_session::What::Exec(v1::Exec { args: args.clone(), terminal, input })
            }
            SessionKind::Attach { input, size, from } => open_session::What::Attach(v1::Attach {
                input: *input,
                size: size.as_ref().map(Wire::to_wire),
                from_start: *from == From::Start,
            }),
        };
        v1::OpenSession { task: Some(self.task.to_wire()), what: Some(what) }
    }

    fn from_wire(open: v1::OpenSession) -> Converted<Self> {
        let what = match one_of(open.what).at("what")? {
            open_session::What::Exec(v1::Exec { args, terminal, input }) => {
                check_args(&args).at("args").at("exec")?;
                SessionKind::Exec { args, stdio: stdio(terminal, input).at("terminal").at("exec")? }
            }
            open_session::What::Attach(v1::Attach { input, size, from_start }) => {
                let size = size.map(|size| inside(size, "size")).transpose().at("attach")?;
                SessionKind::Attach { input, size, from: if from_start { From::Start } else { From::Now } }
            }
        };
        Ok(Self { task: required(open.task, "task")?, what })
    }
}

fn check_args(args: &[String]) -> Converted<()> {
    let good = (1..=MAX_ARGS).contains(&args.len()) && !args[0].is_empty();
    expected(good, || format!("expected a program and at most {MAX_ARGS} arguments"))?;
    let bytes: usize = args.iter().map(String::len).sum();
    expected(bytes <= MAX_ARGS_BYTES, || format!("expected at most {MAX_ARGS_BYTES} bytes, got {bytes}"))?;
    expected(args.iter().all(|arg| !arg.contains('\0')), || "expected no NUL character".to_owned())
}

fn stdio(terminal: Option<v1::Terminal>, input: bool) -> Converted<Stdio> {
    let Some(v1::Terminal { size, kind }) = terminal else {
        return Ok(if input { Stdio::Pipes } else { Stdio::Output });
    };
    let good = kind.len() <= 64 && kind.bytes().all(|byte| byte.is_ascii_graphic());
    expected(good, || format!("expected the name of a terminal, got {kind:?}")).at("kind")?;
    let size = size.map(|size| inside(size, "size")).transpose()?.unwrap_or(TerminalSize::USUAL);
    Ok(Stdio::Terminal { size, kind })
}

#[cfg(test)]
mod tests;
