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
    /// Programs that get its container ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<Hook>,
}

/// A program of the machine that is run at a moment of a container's life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// At which.
    pub when: When,
    /// The program: a path of the machine, or of the container where it is run there.
    pub path: PathBuf,
    /// Its arguments, the first of which is its name.
    pub args: Vec<String>,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
    /// How long it may take; ten seconds if it does not say.
    pub timeout_ms: Option<u32>,
}

/// Moments of a container's life, named as the OCI runtime specification names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum When {
    /// As [`Self::CreateRuntime`]; of older specifications.
    Prestart,
    /// Before the container's view of files is made.
    CreateRuntime,
    /// When it is made.
    CreateContainer,
    /// Before the first command.
    StartContainer,
    /// After the last command was started.
    Poststart,
    /// When everything has ended.
    Poststop,
}

impl When {
    /// Whether such hooks are there to change what the container sees.
    pub(crate) const fn changes_files(self) -> bool {
        matches!(self, Self::Prestart | Self::CreateContainer | Self::StartContainer)
    }

    /// Whether such hooks run among the machine's mounts and not the container's.
    pub(crate) const fn is_on_the_machine(self) -> bool {
        matches!(self, Self::Prestart | Self::CreateRuntime | Self::Poststart | Self::Poststop)
    }
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
        self.hooks.extend(other.hooks);
    }
}
