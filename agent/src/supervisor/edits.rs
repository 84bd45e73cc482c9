//! What a task sees beside its devices because of them: more nodes, and files of the machine.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What is added to a member's view.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edits {
    /// Device nodes that it may open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<Node>,
    /// Files and folders that it sees.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
}

/// A device node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Where the member sees it.
    pub path: PathBuf,
    /// Where it is on the machine.
    pub from: PathBuf,
}

/// A file or folder of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Where it is.
    pub from: PathBuf,
    /// Where the member sees it.
    pub to: PathBuf,
    /// Whether it can write to it.
    pub writable: bool,
}

impl Edits {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether anything is seen elsewhere than where it is.
    pub(crate) fn moves_anything(&self) -> bool {
        self.nodes.iter().any(|node| node.path != node.from)
            || self.mounts.iter().any(|mount| mount.to != mount.from || !mount.writable)
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.nodes.extend(other.nodes);
        self.mounts.extend(other.mounts);
    }
}
