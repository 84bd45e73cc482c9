//! Which jobs the user means.

use std::collections::{BTreeMap, BTreeSet};

use super::CiError;
use crate::spec::{Job, Need, Pipeline};

/// The jobs called `names` with all that they wait for; the whole pipeline if none is named.
pub(super) fn only(pipeline: Pipeline, names: &[String]) -> Result<Pipeline, CiError> {
    if names.is_empty() {
        return Ok(pipeline);
    }
    let mut kept = named(&pipeline, names, "--job", "jobs", |_| true)?;
    let mut look: Vec<usize> = kept.iter().copied().collect();
    while let Some(job) = look.pop() {
        let needs = pipeline.jobs[job].needs.iter().map(|need| need.job);
        look.extend(needs.filter(|need| kept.insert(*need)));
    }
    let places: BTreeMap<usize, usize> = kept.iter().enumerate().map(|(new, old)| (*old, new)).collect();
    let jobs = pipeline.jobs.into_iter().enumerate().filter(|(at, _)| kept.contains(at));
    let jobs = jobs.map(|(_, mut job)| {
        job.needs = job.needs.iter().map(|need| Need { job: places[&need.job], ..*need }).collect();
        job
    });
    Ok(Pipeline { stages: pipeline.stages, jobs: jobs.collect() })
}

/// The manual jobs called `names`.
pub(super) fn manual(pipeline: &Pipeline, names: &[String]) -> Result<BTreeSet<usize>, CiError> {
    named(pipeline, names, "--play", "manual jobs", Job::is_manual)
}

/// A name means the job of that name, or all instances of the `parallel` job of that name.
fn named(
    pipeline: &Pipeline,
    names: &[String],
    option: &'static str,
    what: &'static str,
    is_one: impl Fn(&Job) -> bool,
) -> Result<BTreeSet<usize>, CiError> {
    let mut found = BTreeSet::new();
    for name in names {
        let before = found.len();
        let is_meant = |job: &Job| is_one(job) && (job.name == *name || base(&job.name) == *name);
        found.extend((0..pipeline.jobs.len()).filter(|at| is_meant(&pipeline.jobs[*at])));
        if found.len() == before && !found.iter().any(|at| is_meant(&pipeline.jobs[*at])) {
            let known: Vec<&str> =
                pipeline.jobs.iter().filter(|job| is_one(job)).map(|job| job.name.as_str()).take(50).collect();
            let known = if known.is_empty() { "there are none".to_owned() } else { known.join(", ") };
            return Err(CiError::NoSuchJob { option, name: name.clone(), what, known });
        }
    }
    Ok(found)
}

/// The name in the file of an instance such as `build 2/3` or `build: [debian, x86]`.
fn base(name: &str) -> &str {
    if let Some((base, _)) = name.strip_suffix(']').and_then(|name| name.split_once(": [")) {
        return base;
    }
    let is_fraction =
        |part: &str| part.split_once('/').is_some_and(|(n, of)| [n, of].iter().all(|n| n.parse::<u32>().is_ok()));
    match name.rsplit_once(' ') {
        Some((base, last)) if is_fraction(last) => base,
        _ => name,
    }
}
