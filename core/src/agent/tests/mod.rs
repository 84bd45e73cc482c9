//! The agent's tests, written in a small language: [`language::World`] is an agent with its gate, journal, and a master that is played.

mod conditions;
mod devices;
mod gangs;
mod health;
mod journal;
mod kill;
mod language;
mod launch;
mod operations;
mod recovery;
mod terms;
mod trace;
mod updates;
