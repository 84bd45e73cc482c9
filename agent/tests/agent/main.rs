//! The whole agent, with real supervisors and processes, against a master that each test plays.

mod bad_input;
mod contained;
mod crash;
mod devices;
mod fake_plugin;
mod fetch;
mod harness;
mod health;
mod hooks;
mod image_kit;
mod images;
mod leaks;
mod limits;
mod logs;
mod measured;
mod nested;
mod oci;
mod oci_users;
mod plugins;
mod quota;
mod reconnect;
mod restart;
mod slow_disk;
mod tasks;
mod unprivileged;
mod users;
