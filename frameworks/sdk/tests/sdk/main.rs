//! The SDK against a master that the test plays.

mod fake_master;
mod framework;
mod operator;
