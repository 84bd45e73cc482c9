//! A job as a task: its id, its files, its command.

use std::time::Duration;

use rialto_sdk::Command;
use rialto_sdk::blobs::{Digest, Input, Manifest, OutputSpec, Pack, TokenKey, Unpack, Upload, task_io};
use rialto_sdk::model::{Task, TaskId};
use rialto_sdk::placement::Placement;

use super::Setup;
use super::run::JobRun;
use crate::spec::{Fetch, Job, KeepWhen, Pipeline};

/// The name under which a task's wrapper reports the artefacts.
pub(super) const ARTIFACTS: &str = "artifacts";
/// The project directory, below the sandbox.
const WORKSPACE: &str = "workspace";
/// The script, below the sandbox.
const SCRIPT: &str = "job.sh";
/// What runs in the sandbox: the script, in the project directory. A job may bring its own `HOME`.
const LINE: &str =
    r#"export CI_PROJECT_DIR="$PWD/workspace" HOME="${HOME:-$PWD}" && cd workspace && exec /bin/sh ../job.sh"#;
/// The longest part of a job's name in the ids of its tasks.
const SLUG_MAX: usize = 60;

/// Where the tasks of a run get and put files.
#[derive(Clone, Debug)]
pub struct Io {
    /// The store's address, as the agents reach it.
    pub url: String,
    /// What the tasks' tokens are made from.
    pub key: TokenKey,
    /// The commit's files, a tar archive.
    pub source: Digest,
}

/// The script of a job as it lies in the store.
pub fn script_bytes(job: &Job) -> Vec<u8> {
    job.script.shell_text().into_bytes()
}

/// The id of the `serial`-th task of a job.
pub(super) fn task_id(name: &str, job: usize, serial: u32) -> TaskId {
    let mut slug = String::new();
    for c in name.chars() {
        let c = if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
        if slug.len() < SLUG_MAX && !(c == '-' && (slug.is_empty() || slug.ends_with('-'))) {
            slug.push(c);
        }
    }
    let slug = slug.trim_end_matches('-');
    TaskId::new(&format!("{slug}.{job}.{serial}")).expect("a short text of letters, digits, '-' and '.' is an id")
}

/// What the task of a job fetches and uploads. The script comes last, so that no artefact can take its place.
pub(super) fn manifest(pipeline: &Pipeline, runs: &[JobRun], job: usize, io: &Io) -> Manifest {
    let input = |digest, path: &str, unpack| Input { digest, path: path.to_owned(), unpack };
    let spec = &pipeline.jobs[job];
    let wanted = spec.needs.iter().filter(|need| need.artifacts == Fetch::Artifacts);
    let artifacts = wanted.filter_map(|need| runs[need.job].artifacts);
    let mut inputs = vec![input(io.source, WORKSPACE, Unpack::Tar)];
    inputs.extend(artifacts.map(|digest| input(digest, ".", Unpack::Tar)));
    inputs.push(input(runs[job].script, SCRIPT, Unpack::None));
    Manifest { inputs, outputs: output(spec).into_iter().collect() }
}

/// In which case artefacts are uploaded.
pub(super) fn upload(when: KeepWhen) -> Upload {
    match when {
        KeepWhen::OnSuccess => Upload::OnSuccess,
        KeepWhen::OnFailure => Upload::OnFailure,
        KeepWhen::Always => Upload::Always,
    }
}

/// Paths in the archive begin with the project directory, as the wrapper starts above it.
fn output(job: &Job) -> Option<OutputSpec> {
    let artifacts = job.artifacts.as_ref()?;
    let below = |pattern: &String| if pattern == "." { WORKSPACE.to_owned() } else { format!("{WORKSPACE}/{pattern}") };
    Some(OutputSpec {
        name: ARTIFACTS.to_owned(),
        paths: artifacts.paths.patterns().iter().map(below).collect(),
        exclude: Vec::new(),
        pack: Pack::Tar,
        upload: upload(artifacts.when),
        required: false,
    })
}

/// The task `id` of a job, at its place. The wrapper's variables come last, so that a job can't replace them.
pub(super) fn task(job: &Job, id: &TaskId, run: &JobRun, placement: &Placement, setup: &Setup) -> Task {
    let mut command = Command::shell(&task_io::wrap(LINE)).named(&job.name).max_run(Duration::from_secs(job.timeout_s));
    command.needs = run.needs.clone();
    for (name, value) in &job.variables {
        command = command.env(name, value);
    }
    let token = setup.io.key.token(id.as_str());
    command.env(task_io::URL, &setup.io.url).env(task_io::TOKEN, token.as_str()).task(
        id.clone(),
        &setup.role,
        placement,
    )
}
