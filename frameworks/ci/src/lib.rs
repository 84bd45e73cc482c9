//! Rialto's CI framework: runs pipeline files as tasks of the cluster.
//!
//! [`spec`] reads a pipeline file, [`git`] a commit, [`policy`] decides, and [`shell`] runs it all and shows it. The first and the third
//! are pure.

pub mod git;
pub mod policy;
pub mod shell;
pub mod spec;
