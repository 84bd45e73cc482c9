//! The job file as it is written, and the way from there to a checked [`Job`].

use std::sync::Arc;
use std::time::Duration;

use rialto_sdk::core::model::{Claim, Milli, Price};
use rialto_sdk::spec;
use serde::Deserialize;
use toml::Spanned;

use super::{
    Job, MAX_PARTITIONS, MAX_RETRIES, MAX_STAGES, Mode, Shuffle, Source, SpecError, Split, SplitSize, Stage, Start,
    graph,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawJob {
    name: Spanned<String>,
    #[serde(default)]
    stage: Vec<RawStage>,
    result: RawResult,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawResult {
    stage: Spanned<String>,
    to: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStage {
    name: Spanned<String>,
    command: Spanned<String>,
    files: Option<String>,
    split: Option<RawSplit>,
    from: Option<Vec<String>>,
    shuffle: Option<RawShuffle>,
    partitions: Option<u32>,
    #[serde(default)]
    mode: RawMode,
    #[serde(default)]
    retries: u32,
    #[serde(default = "default_cpus", deserialize_with = "spec::amount")]
    cpus: Milli,
    #[serde(default = "default_mem", deserialize_with = "spec::amount")]
    mem: Milli,
    #[serde(default, deserialize_with = "spec::claims")]
    devices: Vec<Claim>,
    #[serde(default, deserialize_with = "spec::maybe_time")]
    timeout: Option<Duration>,
    #[serde(default)]
    gang: bool,
    #[serde(default, deserialize_with = "spec::maybe_price")]
    max_price: Option<Price>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSplit {
    lines: Option<u64>,
    parts: Option<u32>,
    #[serde(default)]
    header: bool,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawShuffle {
    OneToOne,
    All,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawMode {
    #[default]
    Pipelined,
    Barrier,
}

const fn default_cpus() -> Milli {
    Milli::from_whole(1)
}

const fn default_mem() -> Milli {
    Milli::from_whole(256)
}

/// Reads the job file `text`; `file` is its name, for errors.
pub fn parse(file: &str, text: &str) -> Result<Job, SpecError> {
    let raw: RawJob = toml::from_str(text)
        .map_err(|error| SpecError::Toml { file: file.to_owned(), message: error.to_string().trim_end().to_owned() })?;
    Check { file, text }.job(raw)
}

/// A field's error, before it is known which file and line it is in.
struct Wrong {
    field: String,
    message: String,
}

fn wrong<T>(field: &str, message: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { field: field.to_owned(), message: message.into() })
}

struct Check<'a> {
    file: &'a str,
    text: &'a str,
}

impl Check<'_> {
    fn job(&self, raw: RawJob) -> Result<Job, SpecError> {
        let at_name = raw.name.span().start;
        check_name(raw.name.get_ref()).map_err(|error| self.at(at_name, error))?;
        if raw.stage.is_empty() || raw.stage.len() > MAX_STAGES {
            let message = format!("expected 1 to {MAX_STAGES} stages, each as [[stage]], got {}", raw.stage.len());
            return Err(self.at(at_name, Wrong { field: "stage".to_owned(), message }));
        }
        self.check_unique(&raw.stage)?;
        let reads_from: Vec<Vec<usize>> =
            raw.stage.iter().map(|stage| self.reads_from(stage, &raw.stage)).collect::<Result<_, _>>()?;
        let order = graph::order(&reads_from).map_err(|cycle| self.cycle(&raw.stage, &cycle))?;
        let place_of = |old: usize| order.iter().position(|at| *at == old).expect("the order names every stage");
        let result = self.stage_named("result.stage", &raw.result.stage, &raw.stage)?;
        self.check_result_path(&raw.result.to)?;
        let mut stages: Vec<Option<RawStage>> = raw.stage.into_iter().map(Some).collect();
        let mut checked = Vec::new();
        for old in &order {
            let raw = stages[*old].take().expect("the order names every stage once");
            let from = reads_from[*old].iter().map(|before| place_of(*before)).collect();
            checked.push(self.stage(&raw, from)?);
        }
        Ok(Job {
            name: Arc::from(raw.name.into_inner()),
            stages: checked,
            result_stage: place_of(result),
            result_path: Arc::from(raw.result.to.into_inner()),
        })
    }

    fn stage(&self, raw: &RawStage, from: Vec<usize>) -> Result<Stage, SpecError> {
        let at = raw.name.span().start;
        check_stage(raw, from).map_err(|error| {
            let field = format!("stage {:?}: {}", raw.name.get_ref(), error.field);
            self.at(at, Wrong { field, ..error })
        })
    }

    fn check_unique(&self, stages: &[RawStage]) -> Result<(), SpecError> {
        for (at, stage) in stages.iter().enumerate() {
            let name = stage.name.get_ref();
            check_name(name).map_err(|error| self.at(stage.name.span().start, error))?;
            if stages[..at].iter().any(|other| other.name.get_ref() == name) {
                let message = format!("expected a name of its own for each stage, got {name:?} twice");
                return Err(self.at(stage.name.span().start, Wrong { field: "stage.name".to_owned(), message }));
            }
        }
        Ok(())
    }

    fn reads_from(&self, stage: &RawStage, stages: &[RawStage]) -> Result<Vec<usize>, SpecError> {
        let at = stage.name.span();
        let field = format!("stage {:?}: from", stage.name.get_ref());
        let named = |name: &String| self.stage_named(&field, &Spanned::new(at.clone(), name.clone()), stages);
        stage.from.iter().flatten().map(named).collect()
    }

    fn stage_named(&self, field: &str, name: &Spanned<String>, stages: &[RawStage]) -> Result<usize, SpecError> {
        let found = stages.iter().position(|stage| stage.name.get_ref() == name.get_ref());
        found.ok_or_else(|| {
            let names: Vec<&str> = stages.iter().map(|stage| stage.name.get_ref().as_str()).collect();
            let message = format!("expected one of the stages {}, got {:?}", names.join(", "), name.get_ref());
            self.at(name.span().start, Wrong { field: field.to_owned(), message })
        })
    }

    fn check_result_path(&self, to: &Spanned<String>) -> Result<(), SpecError> {
        let path = to.get_ref();
        if path.is_empty() || path.ends_with('/') || path.contains('\0') {
            let message = format!("expected the path of a file, got {path:?}");
            return Err(self.at(to.span().start, Wrong { field: "result.to".to_owned(), message }));
        }
        Ok(())
    }

    fn cycle(&self, stages: &[RawStage], cycle: &[usize]) -> SpecError {
        let cycle = cycle.iter().map(|at| stages[*at].name.get_ref().clone()).collect();
        SpecError::Cycle { file: self.file.to_owned(), cycle }
    }

    fn at(&self, offset: usize, Wrong { field, message }: Wrong) -> SpecError {
        let before = self.text.as_bytes().iter().take(offset);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        SpecError::Field { file: self.file.to_owned(), line, field, message }
    }
}

fn check_stage(raw: &RawStage, from: Vec<usize>) -> Result<Stage, Wrong> {
    if raw.command.get_ref().trim().is_empty() || raw.command.get_ref().contains('\0') {
        return wrong("command", "expected a line or script for /bin/sh, got an empty one");
    }
    if raw.retries > MAX_RETRIES {
        return wrong("retries", format!("expected 0 to {MAX_RETRIES}, got {}", raw.retries));
    }
    if raw.timeout == Some(Duration::ZERO) {
        return wrong("timeout", "expected a time above 0");
    }
    Ok(Stage {
        name: Arc::from(raw.name.get_ref().as_str()),
        command: Arc::from(raw.command.get_ref().as_str()),
        source: check_source(raw, from)?,
        mode: match raw.mode {
            RawMode::Pipelined => Mode::Pipelined,
            RawMode::Barrier => Mode::Barrier,
        },
        retries: raw.retries,
        cpus: raw.cpus,
        mem: raw.mem,
        claims: raw.devices.clone(),
        timeout: raw.timeout,
        start: if raw.gang { Start::Together } else { Start::Each },
        max_price: raw.max_price,
    })
}

fn check_source(raw: &RawStage, from: Vec<usize>) -> Result<Source, Wrong> {
    match (&raw.files, &raw.from) {
        (Some(glob), None) => check_files(raw, glob),
        (None, Some(_)) => check_from(raw, from),
        (Some(_), Some(_)) => wrong("files", "expected either files or from, got both"),
        (None, None) => {
            wrong("files", "expected what the stage reads: files = \"a path or glob\", or from = [\"a stage\"]")
        }
    }
}

fn check_files(raw: &RawStage, glob: &str) -> Result<Source, Wrong> {
    if glob.is_empty() || glob.contains('\0') {
        return wrong("files", "expected a path or glob, relative to the job file, got an empty one");
    }
    if raw.shuffle.is_some() {
        return wrong("shuffle", "goes with from, and this stage reads files");
    }
    if raw.partitions.is_some() {
        return wrong(
            "partitions",
            "goes with from; for files expected split = { parts = N } or split = { lines = N }",
        );
    }
    let split = raw.split.map(check_split).transpose()?;
    Ok(Source::Files { glob: Arc::from(glob), split })
}

fn check_split(raw: RawSplit) -> Result<Split, Wrong> {
    let size = match (raw.parts, raw.lines) {
        (Some(parts), None) if (1..=MAX_PARTITIONS).contains(&parts) => SplitSize::Parts(parts),
        (Some(parts), None) => return wrong("split.parts", format!("expected 1 to {MAX_PARTITIONS}, got {parts}")),
        (None, Some(0)) => return wrong("split.lines", "expected at least 1, got 0"),
        (None, Some(lines)) => SplitSize::Lines(lines),
        (Some(_), Some(_)) => return wrong("split", "expected either parts or lines, got both"),
        (None, None) => return wrong("split", "expected parts = N or lines = N"),
    };
    Ok(Split { size, header: raw.header })
}

fn check_from(raw: &RawStage, from: Vec<usize>) -> Result<Source, Wrong> {
    if from.is_empty() {
        return wrong("from", "expected at least one stage");
    }
    if raw.split.is_some() {
        return wrong("split", "goes with files, and this stage reads other stages");
    }
    let shuffle = match (raw.shuffle, raw.partitions) {
        (Some(RawShuffle::OneToOne), None) => Shuffle::OneToOne,
        (Some(RawShuffle::OneToOne), Some(_)) => {
            return wrong(
                "partitions",
                "one-to-one has as many as the stages that it reads from; expected no number here",
            );
        }
        (Some(RawShuffle::All) | None, partitions) => Shuffle::All(partitions.unwrap_or(1)),
    };
    match shuffle {
        Shuffle::All(count) if !(1..=MAX_PARTITIONS).contains(&count) => {
            wrong("partitions", format!("expected 1 to {MAX_PARTITIONS}, got {count}"))
        }
        shuffle => Ok(Source::Stages { from, shuffle }),
    }
}

fn check_name(name: &str) -> Result<(), Wrong> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.is_empty() || name.len() > 64 || !name.chars().all(good) {
        return wrong("name", format!("expected 1 to 64 letters, digits, '-' or '_', got {name:?}"));
    }
    Ok(())
}
