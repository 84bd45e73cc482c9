//! Where devices come from, and how they are shown to be clean.
//!
//! A source tells what it has ([`DeviceSource::discover`]); the core decides who holds it; before a device is handed on, [`release`] shows
//! that nobody has it open.

mod fake;
mod glob;
mod holders;

use std::fmt;
use std::str::FromStr;

use rialto_core::model::{Device, DeviceMode};

pub(crate) use holders::release;

/// A source of devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceSource {
    text: String,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Fake(fake::Fake),
    Glob(glob::Glob),
}

/// Why a text is not a source of devices.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("device source {text:?}: {message}")]
pub struct SourceError {
    text: String,
    message: String,
}

impl DeviceSource {
    /// The source that `text` spells: `fake:KIND[,count=N][,model=M][,vendor=V][,generation=G][,mode=shared][,NAME=VALUE]…`, or
    /// `glob:PATTERN[,kind=KIND][,mode=shared]` with `*`, `?` and `[a-z]` in the pattern.
    ///
    /// # Errors
    /// Says what was expected.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        let error = |message: String| SourceError { text: text.to_owned(), message };
        let kind = match text.split_once(':') {
            Some(("fake", rest)) => Kind::Fake(fake::Fake::parse(rest).map_err(error)?),
            Some(("glob", rest)) => Kind::Glob(glob::Glob::parse(rest).map_err(error)?),
            _ => {
                return Err(error(
                    "expected fake:KIND or glob:PATTERN, as in fake:gpu,model=G2,count=2 or glob:/dev/loop[0-9]*"
                        .to_owned(),
                ));
            }
        };
        Ok(Self { text: text.to_owned(), kind })
    }

    /// What it has now. Looks into the file system; opens nothing.
    pub fn discover(&self) -> Vec<Device> {
        match &self.kind {
            Kind::Fake(fake) => fake.devices(),
            Kind::Glob(glob) => glob.devices(),
        }
    }

    /// Whether what it has can change while the agent runs.
    pub(crate) fn changes(&self) -> bool {
        matches!(self.kind, Kind::Glob(_))
    }
}

impl fmt::Display for DeviceSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl FromStr for DeviceSource {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        Self::parse(text)
    }
}

/// Splits `NAME=VALUE` pairs at commas.
fn pairs(text: &str) -> Result<Vec<(&str, &str)>, String> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| match part.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name, value)),
            _ => Err(format!("expected NAME=VALUE, got {part:?}")),
        })
        .collect()
}

fn parse_mode(value: &str) -> Result<DeviceMode, String> {
    match value {
        "exclusive" => Ok(DeviceMode::Exclusive),
        "shared" => Ok(DeviceMode::Shared),
        _ => Err(format!("mode: expected exclusive or shared, got {value:?}")),
    }
}

fn check_kind(kind: &str) -> Result<(), String> {
    let good = kind.starts_with(|c: char| c.is_ascii_alphabetic())
        && kind.len() <= 64
        && kind.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if good {
        Ok(())
    } else {
        Err(format!("expected a kind such as gpu (letters, digits, '-', '_', '.'), got {kind:?}"))
    }
}

#[cfg(test)]
#[path = "sources_tests.rs"]
mod tests;
