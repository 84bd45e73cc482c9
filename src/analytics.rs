//! `rialto analytics run`.

use anyhow::Context;
use rialto_analytics::{JobError, JobOptions, run_job};

use crate::cli::AnalyticsRun;

/// Runs a job; 0 if it has a result, 1 if it has none, 2 if its file is not acceptable.
pub async fn run(args: AnalyticsRun) -> anyhow::Result<u8> {
    let mut options = JobOptions::new(args.connect.access("analytics")?, args.file.clone());
    options.role = args.role.parse().context("--role")?;
    options.serve = args.serve.options();
    let interrupt = async { drop(tokio::signal::ctrl_c().await) };
    match run_job(options, |line| println!("{line}"), interrupt).await {
        Ok(summary) => {
            println!("{}: result in {} ({} bytes)", summary.name, summary.result.display(), summary.bytes);
            Ok(0)
        }
        Err(error @ (JobError::Spec(_) | JobError::Files(_) | JobError::Plan(_) | JobError::TooLarge(_))) => {
            eprintln!("rialto: {error}");
            Ok(2)
        }
        Err(error) => Err(error.into()),
    }
}
