//! The pipeline file: text in, a checked model out. Pure: no files, no clock, no order that depends on hashing.
//!
//! The vocabulary is a subset of GitLab CI's, with `resources` for what a job asks of the machine:
//!
//! | where | keys |
//! |---|---|
//! | file | `stages`, `variables`, `default`, jobs, hidden jobs `.name` |
//! | `default` | `before_script`, `retry`, `timeout`, `artifacts`, `resources`; a job's own key replaces the default's as a whole |
//! | job | `stage`, `script`, `before_script`, `variables`, `needs`, `dependencies`, `parallel`, `artifacts`, `rules`, `when`, `allow_failure`, `retry`, `timeout`, `resources`, `extends` |
//! | `needs` entry | a name, or `job`, `artifacts`, `optional` |
//! | `artifacts` | `paths`, `when`, `name`, `expire_in` |
//! | rule | `if`, `when`, `allow_failure`, `variables` |
//! | `resources` | `cpus`, `mem`, `disk`, `devices` |
//!
//! Variables are expanded in variables, artefact names and paths, and device selectors; scripts leave that to the shell. Anything
//! outside the subset is refused, never ignored, and every error says where: `file:line:column: message`.
//!
//! Reading goes in four steps: `yaml` makes a tree that knows its places, `extends` merges what jobs inherit, `job` and its
//! neighbours turn mappings into definitions, and `file` resolves the names among them. `plan` then makes a [`Pipeline`] for one
//! commit: it evaluates `rules`, expands `parallel` and `variables`, and connects the jobs.

mod artifacts;
mod condition;
mod error;
mod extends;
mod file;
mod job;
mod keywords;
pub mod limits;
mod model;
mod node;
mod parallel;
mod plan;
mod rules;
mod script;
mod show;
mod text;
mod variables;
mod yaml;

pub use artifacts::{ArtifactPaths, BadPattern};
pub use error::{At, Problem, SpecError};
pub use file::PipelineFile;
pub use model::{
    AllowFailure, Artifacts, Context, ExpireIn, Failure, Fetch, Job, KeepWhen, Need, Order, Pipeline, Resources, Retry,
    When, successors,
};
pub use script::Script;
pub use variables::{Variables, is_variable_name};

#[cfg(test)]
mod tests;
