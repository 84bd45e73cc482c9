//! Level one of the two: who is offered what, in which order, and why not.

pub mod claims;
pub mod classes;
pub mod explain;
pub mod plain;
pub mod preemption;
pub mod quota;
pub mod reservations;
pub mod sorter;

#[cfg(test)]
mod laws;
