//! What a native task's body says: the command and how to run it. Core carries it as opaque bytes.

mod artefact;
mod containment;

pub use artefact::{Artefact, MAX_ARTEFACTS, Sha256, Sha256Error};
pub use containment::{ContainerSpec, Limits, MAX_RLIMITS, RLIMITS, Rlimit};

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use rialto_core::model::Body;

use crate::convert::{
    At, ConvertError, Converted, Wire, expected, labels, limits, list, one_of, required, text, to_labels,
};
use crate::v1;

/// The version of the body's format.
pub const SPEC_VERSION: u32 = 1;
/// The most arguments, or variables of the environment, that a task may have.
pub const MAX_ARGS: usize = 16_384;
/// The most log files that are kept of one output.
pub const MAX_LOG_FILES: u32 = 100;

/// How to run a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskSpec {
    /// What to run.
    pub command: CommandSpec,
    /// Added to the environment, in order; a later value of a name wins.
    pub env: Vec<(String, String)>,
    /// Where to run it, relative to the sandbox or absolute; empty means the sandbox.
    pub working_dir: String,
    /// How long it may run; none means for ever. Whole milliseconds.
    pub max_run: Option<Duration>,
    /// How much of its output is kept; none means the agent's default.
    pub log_limits: Option<LogLimits>,
    /// How to see whether it is well.
    pub health_check: Option<HealthCheck>,
    /// The user to run as; empty means the framework's.
    pub user: String,
    /// What its author wrote on it.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
    /// What it may use at most.
    pub limits: Limits,
    /// How it is kept apart.
    pub container: ContainerSpec,
    /// What is put into its sandbox before it starts, in order; at most [`MAX_ARTEFACTS`].
    pub artefacts: Vec<Artefact>,
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandSpec {
    /// A program and its arguments; at least the program.
    Argv(Vec<String>),
    /// A line for `/bin/sh -c`.
    Shell(String),
}

/// How much of a task's output is kept, for each of stdout and stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// The size at which a file is rotated, in bytes; at least 1.
    pub bytes_per_file: u64,
    /// How many files are kept, the current one included; 1 to [`MAX_LOG_FILES`].
    pub files: u32,
}

/// How to see whether a task is well. Durations are whole milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is tried.
    pub check: Check,
    /// Before the first try.
    pub delay: Duration,
    /// Between tries; not zero.
    pub interval: Duration,
    /// How long a try may take; not zero.
    pub timeout: Duration,
    /// How many failures in a row end the task; at least 1.
    pub consecutive_failures: u32,
    /// Failures this long after the start are not counted.
    pub grace: Duration,
}

/// What a health check tries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// A GET that must answer with a status of 200 to 399.
    Http {
        /// The index of the port among the task's ports, ascending.
        port_index: u32,
        /// The path; begins with a slash.
        path: String,
    },
    /// A connection that must be taken.
    Tcp {
        /// The index of the port among the task's ports, ascending.
        port_index: u32,
    },
    /// A command that must end with status 0.
    Command(CommandSpec),
}

impl TaskSpec {
    /// Runs `command`; everything else is the default.
    pub fn new(command: CommandSpec) -> Self {
        Self {
            command,
            env: Vec::new(),
            working_dir: String::new(),
            max_run: None,
            log_limits: None,
            health_check: None,
            user: String::new(),
            labels: BTreeMap::new(),
            limits: Limits::default(),
            container: ContainerSpec::default(),
            artefacts: Vec::new(),
        }
    }

    /// Runs `line` with the shell.
    pub fn shell(line: &str) -> Self {
        Self::new(CommandSpec::Shell(line.to_owned()))
    }

    /// As a body.
    pub fn to_body(&self) -> Body {
        Body::new(self.to_wire().encode_to_vec())
    }

    /// What `body` says.
    ///
    /// # Errors
    ///
    /// If it is not a task specification, of another version, or a field holds what it must not.
    pub fn from_body(body: &Body) -> Result<Self, ConvertError> {
        let decoded = v1::TaskSpec::decode(body.as_bytes());
        let spec = decoded.map_err(|error| ConvertError::here(format!("expected a task specification: {error}")));
        spec.and_then(Self::from_wire).at("body")
    }
}

impl Wire for TaskSpec {
    type Message = v1::TaskSpec;

    fn to_wire(&self) -> v1::TaskSpec {
        let variable = |(name, value): &(String, String)| v1::EnvVar { name: name.clone(), value: value.clone() };
        v1::TaskSpec {
            version: SPEC_VERSION,
            command: Some(self.command.to_wire()),
            env: self.env.iter().map(variable).collect(),
            working_dir: self.working_dir.clone(),
            max_run_ms: self.max_run.map_or(0, to_ms),
            log_limits: self
                .log_limits
                .map(|limits| v1::LogLimits { bytes_per_file: limits.bytes_per_file, files: limits.files }),
            health_check: self.health_check.as_ref().map(Wire::to_wire),
            user: self.user.clone(),
            labels: to_labels(&self.labels),
            limits: containment::limits_to_wire(&self.limits),
            container: containment::container_to_wire(&self.container),
            artefacts: self.artefacts.iter().map(Wire::to_wire).collect(),
        }
    }

    fn from_wire(spec: v1::TaskSpec) -> Converted<Self> {
        expected(spec.version == SPEC_VERSION, || format!("expected {SPEC_VERSION}, got {}", spec.version))
            .at("version")?;
        let working_dir = plain_text(&spec.working_dir).at("working_dir")?;
        Ok(Self {
            command: required(spec.command, "command")?,
            env: env(spec.env).at("env")?,
            working_dir,
            max_run: Some(from_ms(spec.max_run_ms).at("max_run_ms")?).filter(|max| !max.is_zero()),
            log_limits: spec.log_limits.map(log_limits).transpose().at("log_limits")?,
            health_check: spec.health_check.map(HealthCheck::from_wire).transpose().at("health_check")?,
            user: plain_text(&spec.user).at("user")?,
            labels: labels(spec.labels, "labels")?,
            limits: containment::limits_from_wire(spec.limits).at("limits")?,
            container: containment::container_from_wire(spec.container).at("container")?,
            artefacts: list(spec.artefacts, "artefacts", MAX_ARTEFACTS)?,
        })
    }
}

fn to_ms(duration: Duration) -> u64 {
    u64::try_from(duration.min(limits::MAX_DURATION).as_millis()).expect("ten years are few milliseconds")
}

fn from_ms(ms: u64) -> Converted<Duration> {
    let (duration, max) = (Duration::from_millis(ms), limits::MAX_DURATION);
    expected(duration <= max, || format!("expected at most {} milliseconds, got {ms}", max.as_millis()))?;
    Ok(duration)
}

fn at_least_one_ms(ms: u64) -> Converted<Duration> {
    expected(ms > 0, || "expected at least 1 millisecond, got 0".to_owned())?;
    from_ms(ms)
}

/// A text that can be handed to the kernel.
fn plain_text(value: &str) -> Converted<String> {
    expected(!value.contains('\0'), || "expected no NUL character".to_owned())?;
    text(value, "").map(|value| value.to_string())
}

fn env(variables: Vec<v1::EnvVar>) -> Converted<Vec<(String, String)>> {
    expected(variables.len() <= MAX_ARGS, || format!("expected at most {MAX_ARGS}, got {}", variables.len()))?;
    let variable = |(index, v1::EnvVar { name, value }): (usize, v1::EnvVar)| {
        let good = !name.is_empty() && !name.contains(['=', '\0']);
        expected(good, || format!("expected a name without '=' and NUL, got {name:?}")).at("name").at_index(index)?;
        expected(!value.contains('\0'), || "expected no NUL character".to_owned()).at("value").at_index(index)?;
        Ok((name, value))
    };
    variables.into_iter().enumerate().map(variable).collect()
}

fn log_limits(message: v1::LogLimits) -> Converted<LogLimits> {
    expected(message.bytes_per_file > 0, || "expected at least 1, got 0".to_owned()).at("bytes_per_file")?;
    let good = (1..=MAX_LOG_FILES).contains(&message.files);
    expected(good, || format!("expected 1 to {MAX_LOG_FILES}, got {}", message.files)).at("files")?;
    Ok(LogLimits { bytes_per_file: message.bytes_per_file, files: message.files })
}

impl Wire for CommandSpec {
    type Message = v1::CommandSpec;

    fn to_wire(&self) -> v1::CommandSpec {
        let form = match self {
            Self::Argv(args) => v1::command_spec::Form::Argv(v1::Argv { args: args.clone() }),
            Self::Shell(line) => v1::command_spec::Form::Shell(line.clone()),
        };
        v1::CommandSpec { form: Some(form) }
    }

    fn from_wire(command: v1::CommandSpec) -> Converted<Self> {
        match one_of(command.form)? {
            v1::command_spec::Form::Argv(v1::Argv { args }) => {
                check_args(&args).at("argv.args")?;
                Ok(Self::Argv(args))
            }
            v1::command_spec::Form::Shell(line) => {
                let good = !line.trim().is_empty() && !line.contains('\0');
                expected(good, || "expected a command without NUL characters, got none".to_owned()).at("shell")?;
                Ok(Self::Shell(line))
            }
        }
    }
}

fn check_args(args: &[String]) -> Converted<()> {
    let good = (1..=MAX_ARGS).contains(&args.len());
    expected(good, || format!("expected 1 to {MAX_ARGS}, got {}", args.len()))?;
    expected(!args[0].is_empty(), || "expected a program, got an empty text".to_owned()).at_index(0)?;
    let bad = args.iter().position(|arg| arg.contains('\0'));
    bad.map_or(Ok(()), |index| Err(ConvertError::here("expected no NUL character")).at_index(index))
}

impl Wire for HealthCheck {
    type Message = v1::HealthCheck;

    fn to_wire(&self) -> v1::HealthCheck {
        let check = match &self.check {
            Check::Http { port_index, path } => {
                v1::health_check::Check::Http(v1::HttpCheck { port_index: *port_index, path: path.clone() })
            }
            Check::Tcp { port_index } => v1::health_check::Check::Tcp(v1::TcpCheck { port_index: *port_index }),
            Check::Command(command) => v1::health_check::Check::Command(command.to_wire()),
        };
        v1::HealthCheck {
            check: Some(check),
            delay_ms: to_ms(self.delay),
            interval_ms: to_ms(self.interval),
            timeout_ms: to_ms(self.timeout),
            consecutive_failures: self.consecutive_failures,
            grace_ms: to_ms(self.grace),
        }
    }

    fn from_wire(health: v1::HealthCheck) -> Converted<Self> {
        let failures = health.consecutive_failures;
        expected(failures > 0, || "expected at least 1, got 0".to_owned()).at("consecutive_failures")?;
        Ok(Self {
            check: one_of(health.check).and_then(check)?,
            delay: from_ms(health.delay_ms).at("delay_ms")?,
            interval: at_least_one_ms(health.interval_ms).at("interval_ms")?,
            timeout: at_least_one_ms(health.timeout_ms).at("timeout_ms")?,
            consecutive_failures: failures,
            grace: from_ms(health.grace_ms).at("grace_ms")?,
        })
    }
}

fn check(check: v1::health_check::Check) -> Converted<Check> {
    Ok(match check {
        v1::health_check::Check::Http(v1::HttpCheck { port_index, path }) => {
            let good = path.starts_with('/') && path.len() <= limits::MAX_TEXT && !path.contains(char::is_whitespace);
            expected(good, || format!("expected a path that begins with a slash, got {path:?}")).at("http.path")?;
            Check::Http { port_index, path }
        }
        v1::health_check::Check::Tcp(v1::TcpCheck { port_index }) => Check::Tcp { port_index },
        v1::health_check::Check::Command(command) => Check::Command(CommandSpec::from_wire(command).at("command")?),
    })
}
