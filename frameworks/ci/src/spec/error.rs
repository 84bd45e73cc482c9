//! What can be wrong with a pipeline file, and where.

use std::fmt;

use thiserror::Error;

use super::limits;

/// A place in the pipeline file; both numbers start at 1, columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl At {
    /// The first character of the file: where a problem of the whole file is reported.
    pub const START: Self = Self { line: 1, column: 1 };
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A problem with its place, shown as `file:line:column: message`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{file}:{at}: {problem}")]
pub struct SpecError {
    /// The file's name as the caller gave it.
    pub file: String,
    /// Where in the file.
    pub at: At,
    /// What is wrong; boxed, so that a `Result` with this error stays small.
    pub problem: Box<Problem>,
}

/// A problem before the file's name is known.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) at: At,
    /// Boxed, so that the `Result`s of the many small readers stay small.
    pub(crate) problem: Box<Problem>,
}

impl Found {
    pub(crate) fn new(at: At, problem: Problem) -> Self {
        Self { at, problem: Box::new(problem) }
    }

    pub(crate) fn in_file(self, file: &str) -> SpecError {
        SpecError { file: file.to_owned(), at: self.at, problem: self.problem }
    }
}

/// What is wrong; the message names the key or job and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Problem {
    /// The file is longer than [`limits::FILE_BYTES_MAX`].
    #[error("the file has {0} bytes, expected at most {max}", max = limits::FILE_BYTES_MAX)]
    FileTooLarge(usize),
    /// A control character that no YAML text may hold.
    #[error("the file contains the control character U+{0:04X}, expected text")]
    ControlCharacter(u32),
    /// Not YAML.
    #[error("not valid YAML: {0}")]
    Syntax(String),
    /// A tag such as `!reference`.
    #[error("the tag `{0}` is not supported")]
    Tag(String),
    /// A second document after `---`.
    #[error("a second YAML document starts here, expected one")]
    SecondDocument,
    /// Lists and mappings nest too deep.
    #[error("nested deeper than {max} levels", max = limits::DEPTH_MAX)]
    TooDeep,
    /// Aliases or `extends` multiply the file beyond all measure.
    #[error("the file is larger than {max} bytes once anchors and `extends` are expanded", max = limits::EXPANDED_BYTES_MAX)]
    ExpandsTooMuch,
    /// A mapping key that is not a plain word or string.
    #[error("a key must be a string, found {0}")]
    KeyNotScalar(String),
    /// The value of `<<` is not a mapping.
    #[error("`<<` must be a mapping or a list of mappings, found {0}")]
    MergeNotMap(String),
    /// The same key twice in one mapping.
    #[error("duplicate key `{key}`, first given at {first}")]
    DuplicateKey {
        /// The key.
        key: String,
        /// Where it was first.
        first: At,
    },
    /// A key that means nothing here.
    #[error("unknown key `{key}` in {place}{}", did_you_mean(hint.as_deref()))]
    UnknownKey {
        /// The key.
        key: String,
        /// In what.
        place: String,
        /// The known key that it resembles.
        hint: Option<String>,
    },
    /// A GitLab keyword outside the supported subset.
    #[error("`{key}` in {place} is not supported{instead}")]
    Unsupported {
        /// The keyword.
        key: String,
        /// In what.
        place: String,
        /// What to write instead, starting with `; `, or nothing.
        instead: &'static str,
    },
    /// A value of the wrong shape.
    #[error("{what} must be {expected}, found {found}")]
    Expected {
        /// The key, with its job.
        what: String,
        /// The shape.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A command that YAML took for a mapping.
    #[error("{0} must be a list of commands, found a mapping; quote a command that contains a colon and a space")]
    CommandIsMap(String),
    /// An empty list where something is needed.
    #[error("{0} must not be empty")]
    Empty(String),
    /// Too many of something.
    #[error("{what}: found {found}, expected at most {max}")]
    TooMany {
        /// Of what.
        what: String,
        /// How many.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// A name that is empty, too long or has control characters.
    #[error(
        "{what} must have 1 to {max} characters and no control characters, found {found}",
        max = limits::NAME_CHARS_MAX
    )]
    Name {
        /// Whose name.
        what: String,
        /// The name, shortened.
        found: String,
    },
    /// A variable's name that no shell would accept.
    #[error("variable name `{0}` must consist of letters, digits and `_`, and not start with a digit")]
    VariableName(String),
    /// Variables that refer to each other in a circle.
    #[error("variables refer to each other in a circle: {0}")]
    VariableCycle(String),
    /// Variables that refer to each other in a long chain.
    #[error("variable `{name}` refers to others over more than {max} levels", max = limits::VARIABLE_DEPTH_MAX)]
    VariablesTooDeep {
        /// The variable.
        name: String,
    },
    /// A variable's value is too long once expanded.
    #[error("{what} is longer than {max} bytes once expanded", max = limits::VALUE_BYTES_MAX)]
    ValueTooLong {
        /// The variable or key.
        what: String,
    },
    /// All variables of a job together are too long.
    #[error("the variables of job `{job}` take {found} bytes, expected at most {max}", max = limits::ENVIRONMENT_BYTES_MAX)]
    EnvironmentTooLarge {
        /// The job.
        job: String,
        /// Their size.
        found: usize,
    },
    /// Two stages of one name.
    #[error("stage `{0}` is listed twice")]
    DuplicateStage(String),
    /// A job's stage is not among the stages.
    #[error("job `{job}`: unknown stage `{stage}`, expected one of {stages}")]
    UnknownStage {
        /// The job.
        job: String,
        /// The stage.
        stage: String,
        /// All stages.
        stages: String,
    },
    /// `extends` names no job.
    #[error("job `{job}` extends unknown job `{base}`{}", did_you_mean(hint.as_deref()))]
    UnknownBase {
        /// The job.
        job: String,
        /// The name.
        base: String,
        /// The job whose name it resembles.
        hint: Option<String>,
    },
    /// Jobs extend each other in a circle.
    #[error("jobs extend each other in a circle: {0}")]
    ExtendsCycle(String),
    /// A chain of `extends` is too long.
    #[error("job `{0}` extends over more than {max} levels", max = limits::EXTENDS_DEPTH_MAX)]
    ExtendsTooDeep(String),
    /// A job without `script`.
    #[error("job `{0}` has no `script`")]
    NoScript(String),
    /// The file has no job to run.
    #[error("the file defines no job")]
    NoJobs,
    /// The rules exclude every job.
    #[error("the pipeline has no job: the rules exclude all {0} of the file")]
    AllExcluded(usize),
    /// Two jobs have one name after `parallel` is expanded.
    #[error("two jobs are named `{0}` once `parallel` is expanded")]
    DuplicateJob(String),
    /// `needs` or `dependencies` names no job.
    #[error("job `{job}`: `{key}` names unknown job `{need}`{}", did_you_mean(hint.as_deref()))]
    UnknownNeed {
        /// The job.
        job: String,
        /// `needs` or `dependencies`.
        key: &'static str,
        /// The name.
        need: String,
        /// The job whose name it resembles.
        hint: Option<String>,
    },
    /// The same job twice in `needs` or `dependencies`.
    #[error("job `{job}`: `{key}` names `{need}` twice")]
    DuplicateNeed {
        /// The job.
        job: String,
        /// `needs` or `dependencies`.
        key: &'static str,
        /// The name.
        need: String,
    },
    /// A need in a later stage.
    #[error("job `{job}` (stage `{stage}`) needs `{need}` of the later stage `{need_stage}`")]
    NeedsLaterStage {
        /// The job.
        job: String,
        /// Its stage.
        stage: String,
        /// The needed job.
        need: String,
        /// That job's stage.
        need_stage: String,
    },
    /// Jobs need each other in a circle.
    #[error("jobs need each other in a circle: {0}")]
    NeedsCycle(String),
    /// A needed job was excluded by its rules.
    #[error(
        "job `{job}` needs `{need}`, which its rules exclude from this pipeline; mark the need `optional: true`, or give both the same rules"
    )]
    NeedExcluded {
        /// The job.
        job: String,
        /// The needed job.
        need: String,
    },
    /// `dependencies` names a job that does not run before this one.
    #[error("job `{job}`: `dependencies` names `{need}`, which is not among the jobs it waits for")]
    DependencyNotBefore {
        /// The job.
        job: String,
        /// The named job.
        need: String,
    },
    /// A condition that does not parse or cannot be evaluated.
    #[error("condition `{condition}`, character {column}: {reason}")]
    Condition {
        /// The whole condition.
        condition: String,
        /// Which character of it, from 1.
        column: usize,
        /// Why.
        reason: String,
    },
    /// An artefact path that leaves the project, or is no glob.
    #[error("job `{job}`: artefact path `{path}` {reason}")]
    ArtifactPath {
        /// The job.
        job: String,
        /// The path.
        path: String,
        /// Why.
        reason: String,
    },
    /// A device selector that the device language refuses.
    #[error("job `{job}`: device `{device}`: {reason}")]
    Device {
        /// The job.
        job: String,
        /// The selector's text.
        device: String,
        /// Why.
        reason: String,
    },
}

fn did_you_mean(hint: Option<&str>) -> String {
    hint.map(|known| format!("; did you mean `{known}`?")).unwrap_or_default()
}
