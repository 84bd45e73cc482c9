//! `rialto analytics run`.

use anyhow::Context;
use rialto_analytics::{JobError, JobOptions, run_job};

use crate::cli::AnalyticsRun;
use crate::output;

/// Runs a job; 0 if it has a result, 1 if it has none, 2 if its file is not acceptable. Nobody reading its output any more stops it as
/// Ctrl-C does.
pub async fn run(args: AnalyticsRun) -> anyhow::Result<u8> {
    let mut options = JobOptions::new(args.connect.access("analytics")?, args.file.clone());
    options.role = args.role.parse().context("--role")?;
    options.serve = args.serve.options();
    let (mut print, failed) = output::lines();
    let mut unread = None;
    let interrupt = async {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            Ok(error) = failed => unread = Some(error),
        }
    };
    let ended = run_job(options, |line| print(line), interrupt).await;
    if let Some(error) = unread {
        return Err(error.into());
    }
    match ended {
        Ok(summary) => {
            let (name, result, bytes) = (summary.name, summary.result.display(), summary.bytes);
            output::line(format_args!("{name}: result in {result} ({bytes} bytes)"))?;
            Ok(0)
        }
        Err(error @ (JobError::Spec(_) | JobError::Files(_) | JobError::Plan(_) | JobError::TooLarge(_))) => {
            eprintln!("rialto: {error}");
            Ok(2)
        }
        Err(error) => Err(error.into()),
    }
}
