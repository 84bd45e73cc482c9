//! The one configuration file.
//!
//! A TOML file with a table a command, keys named as the options without dashes in front:
//!
//! ```toml
//! [client]
//! master = "10.0.0.1:7070"
//!
//! [agent]
//! resources = "cpus:4;mem:8192"
//! device-source = ["glob:/dev/ttyUSB*,kind=dongle"]
//! ```
//!
//! What it says becomes the default of the option, so the environment and the command line win over it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Command};

use crate::cli::CONNECTION_HEADING;

/// The table that every command with a `--master` reads as well.
const CLIENT: &str = "client";

/// Why the file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It can't be read.
    #[error("configuration {path}: {error}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is not TOML.
    #[error("configuration {path}: {error}")]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        error: Box<toml::de::Error>,
    },
    /// A table that is no command.
    #[error("configuration {path}: [{table}]: expected one of the commands, or [client]")]
    Table {
        /// Which file.
        path: PathBuf,
        /// Which table.
        table: String,
    },
    /// A key that is no option of the command.
    #[error("configuration {path}: {table}.{key}: expected one of {known}")]
    Key {
        /// Which file.
        path: PathBuf,
        /// Which table.
        table: String,
        /// Which key.
        key: String,
        /// The command's options.
        known: String,
    },
    /// A value of a kind that the option does not take.
    #[error("configuration {path}: {table}.{key}: expected {expected}")]
    Value {
        /// Which file.
        path: PathBuf,
        /// Which table.
        table: String,
        /// Which key.
        key: String,
        /// What it takes.
        expected: &'static str,
    },
}

/// The configuration file that the command line or the environment names.
pub fn path(args: &[OsString], environment: Option<OsString>) -> Option<PathBuf> {
    let mut args = args.iter().skip(1).map(|arg| arg.to_string_lossy().into_owned()).take_while(|arg| arg != "--");
    while let Some(arg) = args.next() {
        if arg == "--config" {
            return args.next().map(PathBuf::from);
        }
        if let Some(path) = arg.strip_prefix("--config=") {
            return Some(PathBuf::from(path));
        }
    }
    environment.filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// The command line with the file's values as defaults.
pub fn apply(mut root: Command, path: &Path) -> Result<Command, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read { path: path.to_owned(), error })?;
    let file: toml::Table =
        text.parse().map_err(|error| ConfigError::Syntax { path: path.to_owned(), error: Box::new(error) })?;
    for (table, values) in &file {
        let toml::Value::Table(values) = values else {
            return Err(ConfigError::Table { path: path.to_owned(), table: table.clone() });
        };
        let names: Vec<String> = root.get_subcommands().map(|command| command.get_name().to_owned()).collect();
        if table == CLIENT {
            check_client(&root, path, values)?;
            for name in names {
                root = root.mut_subcommand(name, |command| apply_client(command, values));
            }
        } else if names.contains(table) {
            let mut failed = None;
            root = root.mut_subcommand(table, |command| {
                apply_table(command, path, table, values).unwrap_or_else(|error| {
                    failed = Some(error);
                    Command::new("failed")
                })
            });
            if let Some(error) = failed {
                return Err(error);
            }
        } else {
            return Err(ConfigError::Table { path: path.to_owned(), table: table.clone() });
        }
    }
    Ok(root)
}

/// What `[client]` may say is what any command asks about the way to the master.
fn check_client(root: &Command, path: &Path, values: &toml::Table) -> Result<(), ConfigError> {
    let some = root.get_subcommands().find(|command| connection(command).next().is_some());
    let command = some.expect("commands that talk to a master say how to reach it");
    for (key, value) in values {
        if !connection(command).any(|known| known == key) {
            let known = connection(command).collect::<Vec<_>>().join(", ");
            return Err(ConfigError::Key { path: path.to_owned(), table: CLIENT.to_owned(), key: key.clone(), known });
        }
        if texts(value).is_none_or(|texts| texts.len() != 1) {
            let expected = "a text";
            return Err(ConfigError::Value {
                path: path.to_owned(),
                table: CLIENT.to_owned(),
                key: key.clone(),
                expected,
            });
        }
    }
    Ok(())
}

/// The options of a command that say how to reach the master.
fn connection(command: &Command) -> impl Iterator<Item = &str> {
    let ours = |arg: &&Arg| arg.get_help_heading() == Some(CONNECTION_HEADING);
    command.get_arguments().filter(ours).filter_map(Arg::get_long)
}

/// Sets what the command has of the connection's options, its own subcommands' too.
fn apply_client(mut command: Command, values: &toml::Table) -> Command {
    for (key, value) in values {
        let takes = command.get_arguments().any(|arg| arg.get_long() == Some(key));
        if let Some(texts) = texts(value).filter(|_| takes) {
            let id = key.replace('-', "_");
            command = command.mut_arg(id, |arg| arg.default_values(texts));
        }
    }
    let names: Vec<String> = command.get_subcommands().map(|below| below.get_name().to_owned()).collect();
    for name in names {
        command = command.mut_subcommand(name, |below| apply_client(below, values));
    }
    command
}

fn apply_table(mut command: Command, path: &Path, table: &str, values: &toml::Table) -> Result<Command, ConfigError> {
    for (key, value) in values {
        if let toml::Value::Table(below) = value {
            let name = format!("{table}.{key}");
            let sub = command.find_subcommand(key).cloned();
            let sub = sub.ok_or_else(|| ConfigError::Table { path: path.to_owned(), table: name.clone() })?;
            let sub = apply_table(sub, path, &name, below)?;
            command = command.mut_subcommand(key, |_| sub);
            continue;
        }
        let arg = command.get_arguments().find(|arg| arg.get_long() == Some(key)).cloned();
        let arg = arg.ok_or_else(|| unknown_key(&command, path, table, key))?;
        let expected = expected_kind(&arg);
        let wrong =
            || ConfigError::Value { path: path.to_owned(), table: table.to_owned(), key: key.clone(), expected };
        let texts = texts(value).filter(|texts| texts.len() == 1 || is_list(&arg)).ok_or_else(wrong)?;
        let id = arg.get_id().to_string();
        command = command.mut_arg(id, |arg| arg.default_values(texts));
    }
    Ok(command)
}

fn unknown_key(command: &Command, path: &Path, table: &str, key: &str) -> ConfigError {
    let known: Vec<&str> = command.get_arguments().filter_map(Arg::get_long).collect();
    ConfigError::Key { path: path.to_owned(), table: table.to_owned(), key: key.to_owned(), known: known.join(", ") }
}

fn is_list(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

fn expected_kind(arg: &Arg) -> &'static str {
    match arg.get_action() {
        ArgAction::SetTrue => "true or false",
        ArgAction::Append => "a text or a list of texts",
        _ => "a text, a number, or true or false",
    }
}

/// The value as the texts that could stand on the command line; `None` for a kind that could not.
fn texts(value: &toml::Value) -> Option<Vec<String>> {
    match value {
        toml::Value::String(text) => Some(vec![text.clone()]),
        toml::Value::Integer(number) => Some(vec![number.to_string()]),
        toml::Value::Float(number) => Some(vec![number.to_string()]),
        toml::Value::Boolean(yes) => Some(vec![yes.to_string()]),
        toml::Value::Array(items) => {
            let lists: Option<Vec<Vec<String>>> = items.iter().map(texts).collect();
            lists.map(|lists| lists.concat())
        }
        toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}
