//! Rialto, a two-level cluster manager: one binary for master, agent, frameworks and all commands.
//!
//! `rialto supervise`, the small process that watches over a task, is taken first, before the command line is parsed and before anything
//! is allocated that a thousand of them would cost. So is `rialto task-io`, which moves a task's files on behalf of its framework.

#![expect(unreachable_pub, reason = "a binary has no outside: pub marks what its modules show each other")]

mod analytics;
mod bench;
mod ci;
mod cli;
mod config;
mod connect;
mod dev;
mod device;
mod explain;
mod fetch_args;
mod live;
mod notice;
mod output;
mod price;
mod query;
mod quota;
mod reserve;
mod run;
mod serve;
mod session;
mod sim;
mod top;
mod web;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use crate::cli::{Cli, Command};

/// An agent prepares each launch on such a thread; the runtime's own limit of 512 would cost more memory than it saves time.
const BLOCKING_THREADS_MAX: usize = 64;

fn main() -> ExitCode {
    let first = std::env::args_os().nth(1);
    if first.as_ref().is_some_and(|arg| arg == "supervise") {
        return rialto_agent::supervisor::main();
    }
    if first.is_some_and(|arg| arg == "task-io") {
        let code = rialto_sdk::blobs::task_io::main(std::env::args_os().skip(2));
        return ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX));
    }
    let args: Vec<OsString> = std::env::args_os().collect();
    let cli = match parse(&args) {
        Ok(cli) => cli,
        Err(error) => {
            eprintln!("rialto: {error:#}");
            return ExitCode::from(2);
        }
    };
    log();
    match start(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) if output::nobody_reads(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rialto: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The command line over the environment over the configuration file. Usage errors end the process here, as `--help` does.
fn parse(args: &[OsString]) -> anyhow::Result<Cli> {
    let mut command = Cli::command();
    if let Some(path) = config::path(args, std::env::var_os("RIALTO_CONFIG")) {
        command = config::apply(command, &path)?;
    }
    let matches = command.get_matches_from(args);
    Ok(Cli::from_arg_matches(&matches)?)
}

/// Logs go to stderr: warnings and what an agent says of itself at its start, or what `RIALTO_LOG` asks for.
fn log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("RIALTO_LOG")
        .unwrap_or_else(|_| "warn,rialto_agent::start=info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

fn start(cli: Cli) -> anyhow::Result<u8> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.enable_all().max_blocking_threads(BLOCKING_THREADS_MAX);
    if matches!(cli.command, Command::Agent(_)) {
        // An agent shares its machine with its tasks, which may keep every processor busy.
        runtime.on_thread_start(rialto_agent::answer_promptly);
    }
    let runtime = runtime.build()?;
    let code = runtime.block_on(dispatch(cli.command));
    // Output that nobody reads any more must not keep the process.
    runtime.shutdown_background();
    code
}

async fn dispatch(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Dev(args) => dev::dev(args).await?,
        Command::Master(args) => serve::master(args).await?,
        Command::Agent(args) => serve::agent(args).await?,
        Command::Run(args) => return run::run(args).await,
        Command::Agents(query) => query::agents(query).await?,
        Command::Reserve(args) => reserve::reserve(args).await?,
        Command::Unreserve(args) => reserve::unreserve(args).await?,
        Command::Volume(command) => reserve::volume(command).await?,
        Command::Frameworks(query) => query::frameworks(query).await?,
        Command::Tasks(query) => query::tasks(query).await?,
        Command::Offers(query) => query::offers(query).await?,
        Command::Devices(query) => query::devices(query).await?,
        Command::Device(cli::Device::Clear(args)) => device::clear(args).await?,
        Command::Top(query) => top::top(query).await?,
        Command::Logs(query) => query::logs(query).await?,
        Command::Exec(args) => return session::exec(args).await,
        Command::Attach(args) => session::attach(args).await?,
        Command::Why(query) => query::why(query).await?,
        Command::Roles(query) => quota::roles(query).await?,
        Command::Quota(command) => quota::quota(command).await?,
        Command::Role(command) => quota::role(command).await?,
        Command::Weight(args) => quota::weight(args).await?,
        Command::Notice(args) => notice::notice(args).await?,
        Command::Price(args) => price::price(args).await?,
        Command::When(query) => live::when(query).await?,
        Command::WhatWouldHelp(query) => live::what_would_help(query).await?,
        Command::Snapshot(args) => live::snapshot(args).await?,
        Command::Kill(query) => query::kill(query).await?,
        Command::Ci(cli::Ci::Run(args)) => return ci::run(args).await,
        Command::Analytics(cli::Analytics::Run(args)) => return analytics::run(args).await,
        Command::Web(command) => return web::run(command).await,
        Command::Bench(which) => bench::bench(which).await?,
        Command::Sim(cli::Sim::Faults(args)) => return sim::faults(&args),
        Command::Sim(cli::Sim::Fgd(args)) => return sim::fgd::run(&args),
        Command::Sim(cli::Sim::Twolevel(args)) => return sim::twolevel::run(&args),
        Command::Sim(cli::Sim::Run(args)) => return sim::plan::run(&args).await,
        Command::Sim(cli::Sim::Validate(args)) => return sim::validate::run(&args).await,
    }
    Ok(0)
}
