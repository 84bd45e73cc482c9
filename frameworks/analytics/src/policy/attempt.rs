use std::sync::Arc;

use rialto_sdk::blobs::{Digest, Grant, Input, Manifest, OutputSpec, Pack, Token, Unpack, Upload, task_io};
use rialto_sdk::core::model::{Exit, Quantities, Status, Task, TaskId, Time};
use rialto_sdk::core::scheduler::placement::{Needs, Placement};

use super::Policy;
use super::cheap::Places;
use crate::plan::Plan;
use crate::spec::{Shuffle, Source};

/// The file that a command writes its output to.
const OUTPUT: &str = "rialto-output";
/// The directory that a command finds its input in.
const INPUT_DIR: &str = "input";

/// One run of a partition.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) stage: usize,
    pub(super) partition: u32,
    pub(super) agent_name: Arc<str>,
    /// What it has reported.
    pub(super) output: Option<Digest>,
    /// What is waited for, and until when.
    pub(super) waiting: Option<(Time, Waiting)>,
}

/// What an attempt waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// It has succeeded; its report is missing.
    ForReport,
    /// Its agent can't be reached.
    ForAgent,
}

impl Attempt {
    /// Its id and what it has waited for in vain, if its time is up.
    pub(super) fn due(&self, now: Time, id: &TaskId) -> Option<(TaskId, Waiting)> {
        self.waiting.filter(|(until, _)| *until <= now).map(|(_, waiting)| (id.clone(), waiting))
    }
}

impl Policy {
    /// What a partition of `stage` needs of a machine.
    pub(super) fn needs(&self, stage: usize) -> Needs {
        let places = &self.places[stage];
        let stage = &self.plan.job.stages[stage];
        let mut needs = Needs::new(Quantities::of(stage.cpus, stage.mem));
        needs.claims.clone_from(&stage.claims);
        if let Places::Like(like) = places {
            needs.constraint = like.clone();
        }
        needs
    }

    /// The task that runs a partition; what its token is good for is added to `grants`.
    pub(super) fn start(
        &mut self,
        stage: usize,
        partition: u32,
        at: &Placement,
        grants: &mut Vec<(Token, Grant)>,
    ) -> Task {
        let spec = &self.plan.job.stages[stage];
        let launches = &mut self.partitions[stage][partition as usize].launches;
        *launches += 1;
        let id = TaskId::new(&format!("{}-{partition}-{launches}", spec.name))
            .expect("a stage's name and numbers make a task id");
        let token = self.config.tokens.token(id.as_str());
        let manifest = Manifest { inputs: self.inputs(stage, partition), outputs: vec![output()] };
        let input = match manifest.inputs.as_slice() {
            [only] => only.path.clone(),
            _ => format!("{INPUT_DIR}/*"),
        };
        let mut command = rialto_sdk::Command::shell(&task_io::wrap(&spec.command))
            .env("RIALTO_STAGE", &spec.name)
            .env("RIALTO_PARTITION", &partition.to_string())
            .env("RIALTO_PARTITIONS", &self.plan.partitions[stage].to_string())
            .env("RIALTO_INPUT", &input)
            .env("RIALTO_OUTPUT", OUTPUT)
            .env(task_io::URL, &self.config.store_url)
            .env(task_io::TOKEN, token.as_str());
        if let Some(part) = self.plan.files.get(&stage).and_then(|parts| parts.get(partition as usize)) {
            command = command.env("RIALTO_INPUT_NAME", &part.name);
        }
        if let Some(timeout) = spec.timeout {
            command = command.max_run(timeout);
        }
        grants.push((token, Grant { task: id.as_str().to_owned(), manifest, upload_limit: self.config.upload_limit }));
        let attempt = Attempt { stage, partition, agent_name: at.agent_name.clone(), output: None, waiting: None };
        self.attempts.insert(id.clone(), attempt);
        command.needs = self.needs(stage);
        command.named(&format!("{}-{partition}", spec.name)).task(id, &self.config.role, at)
    }

    fn inputs(&self, stage: usize, partition: u32) -> Vec<Input> {
        let input = |digest, name: String| Input { digest, path: format!("{INPUT_DIR}/{name}"), unpack: Unpack::None };
        match &self.plan.job.stages[stage].source {
            Source::Files { .. } => {
                let part = &self.plan.files[&stage][partition as usize];
                vec![input(part.digest, format!("files-{partition:05}"))]
            }
            Source::Stages { from, shuffle } => {
                let mut inputs = Vec::new();
                for read in from {
                    let all = 0..self.plan.partitions[*read];
                    let wanted = if *shuffle == Shuffle::OneToOne { partition..partition + 1 } else { all };
                    inputs.extend(wanted.map(|part| {
                        let digest =
                            self.partitions[*read][part as usize].output.expect("a ready partition's inputs are done");
                        input(digest, format!("{}-{part:05}", self.plan.job.stages[*read].name))
                    }));
                }
                inputs
            }
        }
    }
}

fn output() -> OutputSpec {
    OutputSpec {
        name: "output".to_owned(),
        paths: vec![OUTPUT.to_owned()],
        exclude: Vec::new(),
        pack: Pack::File,
        upload: Upload::OnSuccess,
        required: true,
    }
}

/// A partition, for people, who count from 1.
pub(super) fn name_of(plan: &Plan, stage: usize, partition: u32) -> String {
    format!("stage {}, partition {} of {}", plan.job.stages[stage].name, partition + 1, plan.partitions[stage])
}

/// How a task ended, for people.
pub(super) fn cause(status: &Status) -> String {
    let exit = match status.exit {
        Some(Exit::Code(task_io::FETCH_FAILED)) => {
            Some("exit code 126 (its input could not be fetched, or it is not executable)".to_owned())
        }
        Some(Exit::Code(task_io::UPLOAD_FAILED)) => {
            Some("exit code 125 (its output $RIALTO_OUTPUT could not be uploaded)".to_owned())
        }
        Some(exit) => Some(exit.to_string()),
        None => status.reason.map(|reason| reason.to_string()),
    };
    let exit = exit.unwrap_or_else(|| status.state.to_string());
    match &*status.message {
        "" => exit,
        message if message.contains(&exit) => message.to_owned(),
        message => format!("{exit}: {message}"),
    }
}
