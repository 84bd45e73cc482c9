use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use super::Digest;

/// What a task's wrapper brings in before the command runs, and what it takes away after.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Fetched before the command runs, in order.
    pub inputs: Vec<Input>,
    /// Uploaded after it.
    pub outputs: Vec<OutputSpec>,
}

/// A blob that the task needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Which blob.
    pub digest: Digest,
    /// Where it goes, relative to the directory that the command starts in: a file, or the directory that an archive is unpacked in
    /// (`.` for the start directory itself).
    pub path: String,
    /// What is done with it.
    #[serde(default)]
    pub unpack: Unpack,
}

/// What is done with an input once it is fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unpack {
    /// It stays the file that it is.
    #[default]
    None,
    /// It is a tar archive, unpacked below its path.
    Tar,
}

/// Files that are taken away when the command has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputSpec {
    /// The name that it is reported under; unique in its manifest.
    pub name: String,
    /// Paths or globs (`*`, `**`, `?`, `[a-z]`, `{a,b}`), relative to the start directory. A directory stands for all that is below it.
    pub paths: Vec<String>,
    /// Paths or globs of what is left out.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// How it is put into one blob.
    pub pack: Pack,
    /// In which case it is taken.
    #[serde(default)]
    pub upload: Upload,
    /// Whether it is an error if nothing matches.
    #[serde(default)]
    pub required: bool,
}

/// How an output becomes one blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pack {
    /// It is one file, as it is.
    File,
    /// A tar archive of the files that match.
    Tar,
}

/// In which case an output is uploaded. Never if the task was told to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Upload {
    /// If the command succeeded.
    #[default]
    OnSuccess,
    /// If it failed.
    OnFailure,
    /// In either case.
    Always,
}

impl Upload {
    /// Whether the output is uploaded after the command ended with `code`.
    pub const fn applies(self, code: i32) -> bool {
        match self {
            Self::OnSuccess => code == 0,
            Self::OnFailure => code != 0,
            Self::Always => true,
        }
    }
}

/// An output that a task has uploaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// The name in the task's manifest.
    pub name: String,
    /// The blob.
    pub digest: Digest,
    /// Its size.
    pub bytes: u64,
    /// How it is packed.
    pub pack: Pack,
}

/// The outputs of a task, as its wrapper reported them before it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The name that the token was granted for.
    pub task: String,
    /// One for each output of the manifest that applied and had files.
    pub outputs: Vec<Output>,
}

/// Why a manifest is not acceptable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// A path that leaves the task's directory, or is empty.
    #[error("{field}: expected a path below the directory of the task (no leading '/', no '..'), got {path:?}")]
    Path {
        /// Which field.
        field: String,
        /// The path.
        path: String,
    },
    /// Two outputs of one name.
    #[error("outputs: {0:?} is given twice")]
    Twice(String),
}

impl Manifest {
    /// Checks every path and name.
    pub fn check(&self) -> Result<(), ManifestError> {
        for (at, input) in self.inputs.iter().enumerate() {
            check_path(&format!("inputs[{at}].path"), &input.path)?;
        }
        for (at, output) in self.outputs.iter().enumerate() {
            for path in output.paths.iter().chain(&output.exclude) {
                check_path(&format!("outputs[{at}].paths"), path)?;
            }
            if self.outputs[..at].iter().any(|other| other.name == output.name) {
                return Err(ManifestError::Twice(output.name.clone()));
            }
        }
        Ok(())
    }
}

fn check_path(field: &str, path: &str) -> Result<(), ManifestError> {
    if stays_below(Path::new(path)) && !path.contains('\0') {
        return Ok(());
    }
    Err(ManifestError::Path { field: field.to_owned(), path: path.to_owned() })
}

/// Whether `path` is relative and has no part that leads upwards.
pub(super) fn stays_below(path: &Path) -> bool {
    let good = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    !path.as_os_str().is_empty() && path.components().all(good)
}
