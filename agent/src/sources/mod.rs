//! Where devices come from, and how they are shown to be clean.
//!
//! A source tells what it has ([`DeviceSource::discover`]); the core decides who holds it; before a device is handed on, [`release`] shows
//! that nobody has it open.

mod cdi;
mod fake;
mod figures;
mod glob;
mod holders;
mod known;
mod nvml;
mod plugin;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use rialto_core::model::{Device, DeviceMode};

pub(crate) use figures::{Board, Figures, watch};
pub(crate) use holders::release;
pub(crate) use known::Known;
pub(crate) use plugin::Plugin;

use crate::supervisor::edits::Edits;

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
    Cdi(cdi::Cdi),
    Nvml(nvml::Nvml),
    /// The path of its socket.
    Plugin(PathBuf),
}

/// A device, and what a task that holds it gets beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) device: Device,
    pub(crate) added: Added,
}

/// What a task gets because of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Added {
    pub(crate) env: Vec<(String, String)>,
    pub(crate) edits: Edits,
}

/// What a source has now, and what it could not make out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) found: Vec<Found>,
    /// For people, one line each.
    pub(crate) problems: Vec<String>,
}

/// Why a text is not a source of devices.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("device source {text:?}: {message}")]
pub struct SourceError {
    text: String,
    message: String,
}

impl DeviceSource {
    /// The source that `text` spells: `fake:KIND[,count=N][,model=M][,vendor=V][,generation=G][,mode=shared][,NAME=VALUE]…`,
    /// `glob:PATTERN[,kind=KIND][,mode=shared]` with `*`, `?` and `[a-z]` in the pattern,
    /// `cdi:VENDOR/CLASS[,kind=KIND][,mode=shared][,name=PATTERN][,folder=DIR]`, `nvml[:mode=shared]`, or `plugin:/PATH/OF/SOCKET`.
    ///
    /// # Errors
    /// Says what was expected.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        let (name, rest) = text.split_once(':').unwrap_or((text, ""));
        let kind = match name {
            "fake" => fake::Fake::parse(rest).map(Kind::Fake),
            "glob" => glob::Glob::parse(rest).map(Kind::Glob),
            "cdi" => cdi::Cdi::parse(rest).map(Kind::Cdi),
            "nvml" => nvml::Nvml::parse(rest).map(Kind::Nvml),
            "plugin" => plugin::parse(rest).map(Kind::Plugin),
            _ => Err("expected fake:KIND, glob:PATTERN, cdi:VENDOR/CLASS, nvml or plugin:SOCKET, as in fake:gpu,model=G2,count=2 or \
                glob:/dev/loop[0-9]*"
                .to_owned()),
        };
        match kind {
            Ok(kind) => Ok(Self { text: text.to_owned(), kind }),
            Err(message) => Err(SourceError { text: text.to_owned(), message }),
        }
    }

    /// What it has now; nothing of a plug-in, which says so by itself.
    pub fn discover(&self) -> Vec<Device> {
        self.look().found.into_iter().map(|found| found.device).collect()
    }

    /// The same, with what tasks get beside the devices.
    pub(crate) fn look(&self) -> Look {
        let plain = |devices: Vec<Device>| {
            let found = devices.into_iter().map(|device| Found { device, added: Added::default() });
            Look { found: found.collect(), problems: Vec::new() }
        };
        match &self.kind {
            Kind::Fake(fake) => plain(fake.devices()),
            Kind::Glob(glob) => plain(glob.devices()),
            Kind::Cdi(cdi) => cdi.look(),
            Kind::Nvml(nvml) => nvml.look(),
            Kind::Plugin(_) => Look::default(),
        }
    }

    /// Whether what it has can change while the agent runs.
    pub(crate) fn changes(&self) -> bool {
        !matches!(self.kind, Kind::Fake(_) | Kind::Plugin(_))
    }

    /// The plug-in, if it is one.
    pub(crate) fn plugin(&self) -> Option<Plugin> {
        match &self.kind {
            Kind::Plugin(socket) => Some(Plugin::new(socket.clone())),
            _ => None,
        }
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
