//! Level one of the two: who is offered what, in which order, and why not.

pub mod claims;
pub mod classes;
pub mod explain;
pub mod help;
pub mod history;
pub mod report;
pub mod sorter;
pub mod stock;
pub mod when;
