//! Rialto as its users meet it: the binary, its processes, its files, its web page. Every process is real.

#[path = "../harness/mod.rs"]
mod harness;

mod agent_restart;
mod analytics;
mod auth;
mod bad_input;
mod ci;
mod commands;
mod config;
mod contained;
mod dev;
mod exclusive;
mod flood;
mod full_disk;
mod future;
mod master_restart;
mod not_root;
mod notice;
mod observer;
mod offer_rules;
mod plan;
mod price;
mod priority;
mod sessions;
mod ui;
mod usage;
mod volumes;
mod web;
