//! x

pub mod policy;
pub mod spec;
