//! The whole agent, with real supervisors and processes, against a master that each test plays.

mod bad_input;
mod contained;
mod devices;
mod harness;
mod health;
mod logs;
mod reconnect;
mod restart;
mod tasks;
