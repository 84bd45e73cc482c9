//! The whole agent, with real supervisors and processes, against a master that each test plays.

mod bad_input;
mod contained;
mod devices;
mod fetch;
mod harness;
mod health;
mod logs;
mod reconnect;
mod restart;
mod tasks;
