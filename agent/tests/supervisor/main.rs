//! `rialto supervise` with real processes.

mod command;
mod end;
mod group;
mod harness;
mod life;
mod output;
mod speed;
mod view;
mod zygote;
