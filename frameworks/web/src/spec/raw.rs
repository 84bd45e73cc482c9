//! The app file as it is written, and the way from there to a checked [`AppSpec`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rialto_sdk::core::model::{Claim, Milli, Selector};
use rialto_sdk::spec;
use serde::Deserialize;

use super::{
    AppSpec, Health, MAX_FILE_BYTES, MAX_INSTANCES, MAX_PORTS, Restart, Run, SpecError, Spread, Update, is_name,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawApp {
    name: String,
    command: RawCommand,
    #[serde(default = "one")]
    instances: u32,
    #[serde(default = "default_cpus", deserialize_with = "spec::amount")]
    cpus: Milli,
    #[serde(default = "default_mem", deserialize_with = "spec::amount")]
    mem: Milli,
    #[serde(default, deserialize_with = "spec::claims")]
    devices: Vec<Claim>,
    #[serde(default)]
    ports: Vec<String>,
    #[serde(default)]
    env: BTreeMap<Arc<str>, Arc<str>>,
    health: Option<RawHealth>,
    #[serde(default)]
    update: RawUpdate,
    #[serde(default)]
    restart: RawRestart,
    #[serde(default = "Selector::any", deserialize_with = "spec::selector")]
    constraint: Selector,
    #[serde(default = "yes")]
    spread: bool,
    max_per_agent: Option<u32>,
    #[serde(default = "default_kill_grace", deserialize_with = "spec::time")]
    kill_grace: Duration,
    #[serde(default = "default_replace", deserialize_with = "spec::time")]
    replace_unreachable_after: Duration,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a line for the shell, or a list of a program and its arguments")]
enum RawCommand {
    Shell(String),
    Argv(Vec<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHealth {
    path: String,
    port: Option<String>,
    #[serde(default, deserialize_with = "spec::maybe_time")]
    delay: Option<Duration>,
    #[serde(default, deserialize_with = "spec::maybe_time")]
    interval: Option<Duration>,
    #[serde(default, deserialize_with = "spec::maybe_time")]
    timeout: Option<Duration>,
    failures: Option<u32>,
    #[serde(default, deserialize_with = "spec::maybe_time")]
    grace: Option<Duration>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawUpdate {
    max_surge: Option<u32>,
    max_unavailable: Option<u32>,
    #[serde(default, deserialize_with = "spec::maybe_time")]
    min_healthy: Option<Duration>,
    #[serde(default, deserialize_with = "spec::maybe_time")]
    deadline: Option<Duration>,
    max_failures: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRestart {
    #[serde(default, deserialize_with = "spec::maybe_time")]
    initial: Option<Duration>,
    #[serde(default, deserialize_with = "spec::maybe_time")]
    max: Option<Duration>,
    factor: Option<u32>,
    #[serde(default, deserialize_with = "spec::maybe_time")]
    reset_after: Option<Duration>,
}

const fn one() -> u32 {
    1
}

const fn yes() -> bool {
    true
}

const fn default_cpus() -> Milli {
    Milli(100)
}

const fn default_mem() -> Milli {
    Milli::from_whole(64)
}

const fn default_kill_grace() -> Duration {
    Duration::from_secs(10)
}

const fn default_replace() -> Duration {
    Duration::from_secs(30)
}

/// Reads the app file `text`; `file` is its name, for errors.
pub fn parse(file: &str, text: &str) -> Result<AppSpec, SpecError> {
    if text.len() > MAX_FILE_BYTES {
        let message = format!("expected at most {MAX_FILE_BYTES} bytes, got {}", text.len());
        return Err(SpecError::Toml { file: file.to_owned(), message });
    }
    let raw: RawApp = toml::from_str(text)
        .map_err(|error| SpecError::Toml { file: file.to_owned(), message: error.to_string().trim_end().to_owned() })?;
    check(raw).map_err(|Wrong(field, message)| SpecError::Field { file: file.to_owned(), field, message })
}

/// A field and what is wrong with it.
struct Wrong(&'static str, String);

fn wrong<T>(field: &'static str, message: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong(field, message.into()))
}

fn check(raw: RawApp) -> Result<AppSpec, Wrong> {
    if !is_name(&raw.name) {
        return wrong("name", format!("expected 1 to 63 lower-case letters, digits or '-', got {:?}", raw.name));
    }
    if raw.instances > MAX_INSTANCES {
        return wrong("instances", format!("expected 0 to {MAX_INSTANCES}, got {}", raw.instances));
    }
    if let Some(max) = raw.max_per_agent.filter(|max| !(1..=MAX_INSTANCES).contains(max)) {
        return wrong("max_per_agent", format!("expected 1 to {MAX_INSTANCES}, got {max}"));
    }
    let ports = check_ports(&raw.ports)?;
    check_env(&raw.env)?;
    Ok(AppSpec {
        command: check_command(raw.command)?,
        health: raw.health.map(|health| check_health(health, &ports)).transpose()?,
        update: check_update(&raw.update)?,
        restart: check_restart(&raw.restart)?,
        name: Arc::from(raw.name),
        instances: raw.instances,
        cpus: raw.cpus,
        mem: raw.mem,
        claims: raw.devices,
        ports,
        env: raw.env,
        constraint: raw.constraint,
        spread: if raw.spread { Spread::Wide } else { Spread::Packed },
        max_per_agent: raw.max_per_agent,
        kill_grace: raw.kill_grace,
        replace_unreachable_after: raw.replace_unreachable_after,
    })
}

fn check_command(raw: RawCommand) -> Result<Run, Wrong> {
    let has_nul = |text: &str| text.contains('\0');
    match raw {
        RawCommand::Shell(line) if line.trim().is_empty() || has_nul(&line) => {
            wrong("command", "expected a line for the shell, got an empty one")
        }
        RawCommand::Shell(line) => Ok(Run::Shell(Arc::from(line))),
        RawCommand::Argv(args) if args.first().is_none_or(String::is_empty) || args.iter().any(|arg| has_nul(arg)) => {
            wrong("command", "expected a program and its arguments, got no program")
        }
        RawCommand::Argv(args) => Ok(Run::Argv(args)),
    }
}

fn check_ports(raw: &[String]) -> Result<Vec<Arc<str>>, Wrong> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if raw.len() > MAX_PORTS {
        return wrong("ports", format!("expected at most {MAX_PORTS}, got {}", raw.len()));
    }
    for (at, name) in raw.iter().enumerate() {
        if name.is_empty() || name.len() > 32 || !name.chars().all(good) {
            return wrong(
                "ports",
                format!("expected names of lower-case letters, digits or '-', such as \"http\", got {name:?}"),
            );
        }
        if raw[..at].contains(name) {
            return wrong("ports", format!("expected a name of its own for each port, got {name:?} twice"));
        }
    }
    Ok(raw.iter().map(|name| Arc::from(name.as_str())).collect())
}

fn check_env(env: &BTreeMap<Arc<str>, Arc<str>>) -> Result<(), Wrong> {
    for (name, value) in env {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return wrong("env", format!("expected names without '=' and texts without NUL, got {name:?}"));
        }
    }
    Ok(())
}

fn check_health(raw: RawHealth, ports: &[Arc<str>]) -> Result<Health, Wrong> {
    if !raw.path.starts_with('/') || raw.path.contains(char::is_control) {
        return wrong("health.path", format!("expected a path that begins with '/', got {:?}", raw.path));
    }
    let failures = raw.failures.unwrap_or(3);
    let interval = raw.interval.unwrap_or(Duration::from_secs(5));
    let timeout = raw.timeout.unwrap_or(Duration::from_secs(2));
    if failures == 0 {
        return wrong("health.failures", "expected at least 1, got 0");
    }
    if interval.is_zero() {
        return wrong("health.interval", "expected a time above 0");
    }
    if timeout.is_zero() {
        return wrong("health.timeout", "expected a time above 0");
    }
    Ok(Health {
        port: check_health_port(raw.port.as_deref(), ports)?,
        path: Arc::from(raw.path),
        delay: raw.delay.unwrap_or_default(),
        interval,
        timeout,
        failures,
        grace: raw.grace.unwrap_or(Duration::from_secs(10)),
    })
}

fn check_health_port(raw: Option<&str>, ports: &[Arc<str>]) -> Result<usize, Wrong> {
    let Some(first) = ports.first() else {
        return wrong(
            "health",
            "expected the app to have ports, such as ports = [\"http\"], for its check to connect to",
        );
    };
    let name = raw.unwrap_or(first);
    let found = ports.iter().position(|port| **port == *name);
    found.ok_or_else(|| {
        Wrong("health.port", format!("expected one of the app's ports {}, got {name:?}", ports.join(", ")))
    })
}

fn check_update(raw: &RawUpdate) -> Result<Update, Wrong> {
    let update = Update {
        max_surge: raw.max_surge.unwrap_or(1),
        max_unavailable: raw.max_unavailable.unwrap_or(0),
        min_healthy: raw.min_healthy.unwrap_or(Duration::from_secs(2)),
        deadline: raw.deadline.unwrap_or(Duration::from_secs(300)),
        max_failures: raw.max_failures.unwrap_or(2),
    };
    if update.max_surge == 0 && update.max_unavailable == 0 {
        return wrong("update", "expected max_surge or max_unavailable to be at least 1, else nothing can move");
    }
    if update.deadline <= update.min_healthy {
        return wrong("update.deadline", "expected more than update.min_healthy, else no update could succeed");
    }
    Ok(update)
}

fn check_restart(raw: &RawRestart) -> Result<Restart, Wrong> {
    let restart = Restart {
        initial: raw.initial.unwrap_or(Duration::from_secs(1)),
        max: raw.max.unwrap_or(Duration::from_secs(60)),
        factor: raw.factor.unwrap_or(2),
        reset_after: raw.reset_after.unwrap_or(Duration::from_secs(60)),
    };
    if restart.initial < Duration::from_millis(100) || restart.initial > restart.max {
        return wrong("restart.initial", "expected 100ms to restart.max");
    }
    if !(1..=100).contains(&restart.factor) {
        return wrong("restart.factor", format!("expected 1 to 100, got {}", restart.factor));
    }
    Ok(restart)
}
