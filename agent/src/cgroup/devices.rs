//! Which device nodes a task may open.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::fs::{major, minor};
use serde::{Deserialize, Serialize};

/// Allows everything with the nodes that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceRule {
    /// Whether it is a block device.
    pub block: bool,
    /// The driver's number.
    pub major: u32,
    /// The device's number; absent means all.
    pub minor: Option<u32>,
}

impl DeviceRule {
    /// What every task may open: null, zero, full, random, urandom, tty, ptmx and its terminals.
    pub const BASE: [Self; 8] = [
        Self::character(1, Some(3)),
        Self::character(1, Some(5)),
        Self::character(1, Some(7)),
        Self::character(1, Some(8)),
        Self::character(1, Some(9)),
        Self::character(5, Some(0)),
        Self::character(5, Some(2)),
        Self::character(136, None),
    ];

    const fn character(major: u32, minor: Option<u32>) -> Self {
        Self { block: false, major, minor }
    }

    /// The rule for a node.
    ///
    /// # Errors
    /// There is none, or it is no device.
    pub fn of(node: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(node)?;
        let kind = metadata.file_type();
        if !kind.is_block_device() && !kind.is_char_device() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "expected a device node"));
        }
        let number = metadata.rdev();
        Ok(Self { block: kind.is_block_device(), major: major(number), minor: Some(minor(number)) })
    }

    /// As in `devices.allow`.
    pub(super) fn line(self) -> String {
        let kind = if self.block { 'b' } else { 'c' };
        let minor = self.minor.map_or_else(|| "*".to_owned(), |minor| minor.to_string());
        format!("{kind} {}:{minor} rwm", self.major)
    }
}
