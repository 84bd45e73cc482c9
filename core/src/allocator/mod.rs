//! Level one of the two: who is offered what, in which order, and why not.

pub mod agent_classes;
pub mod claims;
pub mod classes;
pub mod explain;
pub mod help;
pub mod history;
pub mod plain;
pub mod preemption;
pub mod quota;
pub mod report;
pub mod reservations;
pub mod sorter;
pub mod stock;
pub mod when;

#[cfg(test)]
mod laws;
