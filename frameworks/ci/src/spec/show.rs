//! A pipeline as readable text: what would run, and why in that order.

use std::fmt;

use super::model::{AllowFailure, ExpireIn, Fetch, Job, KeepWhen, Pipeline, When};

impl fmt::Display for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for job in &self.jobs {
            writeln!(f, "{} · {}", job.name, self.stages[job.stage])?;
            show_edges(f, self, job)?;
            show_policy(f, job)?;
            show_artifacts(f, job)?;
            show_resources(f, job)?;
            for (name, value) in job.variables.iter().filter(|(name, _)| is_own(name)) {
                writeln!(f, "  {name}={}", one_line(value))?;
            }
            for command in job.script.commands() {
                writeln!(f, "  $ {}", one_line(command))?;
            }
        }
        Ok(())
    }
}

/// The predefined variables are the same for all jobs and would drown the rest.
fn is_own(name: &str) -> bool {
    name != "CI" && (!name.starts_with("CI_") || name.starts_with("CI_NODE_INDEX"))
}

fn show_edges(f: &mut fmt::Formatter<'_>, pipeline: &Pipeline, job: &Job) -> fmt::Result {
    if job.needs.is_empty() {
        return Ok(());
    }
    let needs = job.needs.iter().map(|need| {
        let name = &pipeline.jobs[need.job].name;
        match need.artifacts {
            Fetch::Artifacts => name.clone(),
            Fetch::Nothing => format!("{name} (no artefacts)"),
        }
    });
    let needs: Vec<String> = needs.collect();
    writeln!(f, "  after {}", needs.join(", "))
}

fn show_policy(f: &mut fmt::Formatter<'_>, job: &Job) -> fmt::Result {
    match job.when {
        When::OnSuccess => {}
        When::OnFailure => writeln!(f, "  when on_failure")?,
        When::Always => writeln!(f, "  when always")?,
        When::Manual => writeln!(f, "  when manual")?,
    }
    match &job.allow_failure {
        AllowFailure::No => {}
        AllowFailure::Yes => writeln!(f, "  may fail")?,
        AllowFailure::ExitCodes(codes) => writeln!(f, "  may fail with {codes:?}")?,
    }
    if job.retry.max > 0 {
        write!(f, "  retry {}", job.retry.max)?;
        if !job.retry.when.is_empty() {
            write!(f, " on {:?}", job.retry.when)?;
        }
        if !job.retry.exit_codes.is_empty() {
            write!(f, " with exit codes {:?}", job.retry.exit_codes)?;
        }
        writeln!(f)?;
    }
    writeln!(f, "  timeout {} s", job.timeout_s)
}

fn show_artifacts(f: &mut fmt::Formatter<'_>, job: &Job) -> fmt::Result {
    let Some(artifacts) = &job.artifacts else { return Ok(()) };
    write!(f, "  artefacts {}", artifacts.paths.patterns().join(" "))?;
    match artifacts.when {
        KeepWhen::OnSuccess => {}
        KeepWhen::OnFailure => write!(f, ", on failure")?,
        KeepWhen::Always => write!(f, ", always")?,
    }
    if !artifacts.name.is_empty() {
        write!(f, ", named {}", artifacts.name)?;
    }
    match artifacts.expire_in {
        ExpireIn::Default => writeln!(f),
        ExpireIn::Never => writeln!(f, ", for ever"),
        ExpireIn::Seconds(s) => writeln!(f, ", for {s} s"),
    }
}

fn show_resources(f: &mut fmt::Formatter<'_>, job: &Job) -> fmt::Result {
    let resources = &job.resources;
    let (cores, thousandths) = (resources.cpus_milli / 1_000, resources.cpus_milli % 1_000);
    write!(f, "  cpus {cores}.{thousandths:03}, mem {} MiB", resources.mem_mib)?;
    if resources.disk_mib > 0 {
        write!(f, ", disk {} MiB", resources.disk_mib)?;
    }
    for device in &resources.devices {
        write!(f, ", device {device}")?;
    }
    writeln!(f)
}

fn one_line(text: &str) -> String {
    text.trim_end().replace('\n', "⏎")
}
