//! The summary as a table.

use std::time::Duration;

use rialto_sdk::model::DeviceId;

use crate::policy::{JobState, JobSummary, Summary};

const HEAD: [&str; 7] = ["JOB", "STAGE", "STATE", "TRIES", "TIME", "AGENT", "DEVICES"];
/// What stands where there is nothing to say.
const NOTHING: &str = "-";

/// The jobs in rows, and the result below.
pub(super) fn table(summary: &Summary) -> String {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(summary.jobs.iter().map(row));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    let mut text = String::from("\n");
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    let total = summary.jobs.len();
    let passed = summary.jobs.iter().filter(|job| job.state == JobState::Passed).count();
    text.push_str(&format!("\npipeline {}: {passed} of {total} jobs passed\n", summary.result.as_str()));
    text
}

fn row(job: &JobSummary) -> [String; 7] {
    let state = match &job.message {
        Some(message) => format!("{}: {}", job.state.as_str(), message.chars().take(60).collect::<String>()),
        None => job.state.as_str().to_owned(),
    };
    let devices: Vec<&str> = job.devices.iter().map(DeviceId::as_str).collect();
    [
        job.name.clone(),
        job.stage.clone(),
        state,
        job.attempts.to_string(),
        job.duration.map_or_else(|| NOTHING.to_owned(), time),
        job.agent.as_deref().unwrap_or(NOTHING).to_owned(),
        if devices.is_empty() { NOTHING.to_owned() } else { devices.join(" ") },
    ]
}

fn time(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", duration.as_secs_f64()),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}
