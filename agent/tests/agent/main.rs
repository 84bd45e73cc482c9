//! The whole agent, with real supervisors and processes, against a master that each test plays.

mod bad_input;
mod contained;
mod devices;
mod fake_plugin;
mod fetch;
mod harness;
mod health;
mod image_kit;
mod images;
mod logs;
mod plugins;
mod reconnect;
mod restart;
mod tasks;
