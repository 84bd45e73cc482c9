//! Rialto's CI framework: runs pipeline files as tasks of the cluster.
//!
//! [`spec`] reads a pipeline file, [`git`] a commit, [`policy`] decides, and [`shell`] runs it all and shows it. The first and the third
//! are pure.

#[expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "reads repositories through git; no part of the policy")]
pub mod git;
pub mod policy;
#[expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "moves bytes between the cluster and a person; no part of the policy")]
pub mod shell;
pub mod spec;
