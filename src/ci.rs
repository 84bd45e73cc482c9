//! `rialto ci run`.

use std::io::IsTerminal;
use std::path::Path;

use anyhow::{Context, bail};
use rialto_ci::shell::{Colour, Output, RunOptions};
use rialto_ci::spec::is_variable_name;

use crate::cli::CiRun;
use crate::output;

/// The exit code of a file or an option that is not acceptable.
const BAD_INPUT: u8 = 2;

/// Runs a pipeline; 0 if it passed, 1 if it did not, 2 if the file is not acceptable.
pub async fn run(args: CiRun) -> anyhow::Result<u8> {
    let options = options(&args)?;
    if args.dry_run {
        return Ok(match rialto_ci::shell::plan(&options).await {
            Ok(pipeline) => {
                output::line(pipeline.to_string().trim_end_matches('\n'))?;
                0
            }
            Err(error) => refuse(&error),
        });
    }
    let colour = if std::io::stdout().is_terminal() { Colour::Yes } else { Colour::No };
    let output = Output { writer: Box::new(std::io::stdout()), colour };
    let access = args.connect.access("ci")?;
    match rialto_ci::shell::run_pipeline(options, access, output, rialto_ci::shell::interrupts()?).await {
        Ok(summary) => Ok(summary.result.exit_code()),
        Err(error) if error.is_bad_input() => Ok(refuse(&error)),
        Err(error) => Err(error.into()),
    }
}

fn refuse(error: &rialto_ci::shell::CiError) -> u8 {
    eprintln!("rialto: {error}");
    BAD_INPUT
}

fn options(args: &CiRun) -> anyhow::Result<RunOptions> {
    let mut options = RunOptions::new(Path::new(&args.file));
    options.repository.clone_from(&args.repo);
    options.reference.clone_from(&args.reference);
    options.role = args.role.parse().context("--role")?;
    options.play.clone_from(&args.play);
    options.jobs.clone_from(&args.jobs);
    options.artifacts.clone_from(&args.artifacts);
    options.serve = args.serve.options();
    for variable in &args.variables {
        let (name, value) =
            variable.split_once('=').with_context(|| format!("--var {variable}: expected NAME=VALUE"))?;
        if !is_variable_name(name) {
            bail!("--var {variable}: expected a name of letters, digits and '_'");
        }
        options.variables.insert(name.to_owned(), value.to_owned());
    }
    Ok(options)
}
