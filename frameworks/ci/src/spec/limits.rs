//! The limits of the pipeline file, by name.

/// Length of the file in bytes.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// Size of the file in bytes once anchors and `extends` are expanded; a node counts [`NODE_BYTES`] and its text.
pub const EXPANDED_BYTES_MAX: usize = 16 << 20;
/// What one list, mapping or scalar counts towards [`EXPANDED_BYTES_MAX`].
pub const NODE_BYTES: usize = 32;
/// Levels of nested lists and mappings.
pub const DEPTH_MAX: usize = 32;
/// Jobs of a pipeline once `parallel` is expanded.
pub const JOBS_MAX: usize = 1_000;
/// Jobs that one `parallel` may expand to.
pub const PARALLEL_MAX: usize = 200;
/// Length in characters of the names of jobs, stages, variables and artefacts.
pub const NAME_CHARS_MAX: usize = 255;
/// Stages, not counting `.pre` and `.post`.
pub const STAGES_MAX: usize = 100;
/// Levels of `extends`.
pub const EXTENDS_DEPTH_MAX: usize = 10;
/// Jobs that one `extends` may list.
pub const EXTENDS_MAX: usize = 16;
/// Rules of one job.
pub const RULES_MAX: usize = 100;
/// Length of a condition in bytes.
pub const CONDITION_BYTES_MAX: usize = 4 << 10;
/// Size in bytes of one compiled regular expression.
pub const REGEX_BYTES_MAX: usize = 2 << 20;
/// Levels of parentheses in a condition.
pub const CONDITION_DEPTH_MAX: usize = 32;
/// Length in bytes of a variable's value once expanded.
pub const VALUE_BYTES_MAX: usize = 64 << 10;
/// Names and values of all variables of a job, in bytes.
pub const ENVIRONMENT_BYTES_MAX: usize = 256 << 10;
/// Artefact paths of one job.
pub const ARTIFACT_PATHS_MAX: usize = 100;
/// Device selectors of one job.
pub const DEVICES_MAX: usize = 16;
/// Longest `timeout` in seconds: 30 days.
pub const TIMEOUT_MAX_S: u64 = 30 * 24 * 3_600;
/// Longest `expire_in` in seconds: 100 years.
pub const EXPIRE_MAX_S: u64 = 100 * 365 * 24 * 3_600;
/// Most repeats that `retry` may ask for, as in GitLab.
pub const RETRY_MAX: u32 = 2;
/// Largest `cpus` of a job, in thousandths of a core.
pub const CPUS_MILLI_MAX: u64 = 100_000_000;
/// Largest `mem` or `disk` of a job in MiB: the largest amount that the cluster counts, nearly 1 PiB.
pub const MIB_MAX: u64 = 1_000_000_000;
/// Variables that may refer to one another in a row.
pub const VARIABLE_DEPTH_MAX: usize = 64;
