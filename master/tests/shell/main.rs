//! The master's shell over real sockets: everything here speaks to a served port.

mod edges;
mod harness;
mod life;
mod load;
mod logs;
mod operators;
mod pages;
