//! Lists of jobs, in a format of our own and in those of public traces.

mod rialto;
mod swf;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rialto_core::model::{Milli, Share};
use rialto_core::scheduler::placement::gpu::GpuAsk;

use crate::fgd::read_pods;
use crate::input::{Column, InputError, Row, Table};

pub(super) use self::rialto::ENDLESS;

/// A hundred years.
pub(super) const SECONDS_MAX: f64 = 3.2e9;
const TASKS_MAX: u64 = 100_000;
/// Of tasks that start together.
const GANG_MAX: usize = 1024;
/// All tasks of a list together.
const ALL_TASKS_MAX: usize = 10_000_000;
/// Of an app's instances on one machine.
const PER_MACHINE_MAX: u32 = 10_000;
const CPUS_MAX: f64 = 100_000.0;
const MIB_MAX: f64 = 1e9;
/// What a job gets of the host for each GPU where its list does not say.
const CPUS_PER_GPU: u64 = 4;
const MIB_PER_GPU: u64 = 16 * 1024;
/// What it gets for each core.
const MIB_PER_CPU: f64 = 1024.0;
/// A job that needs more GPUs is several tasks of so many.
const GPUS_PER_TASK: u16 = 8;
/// A machine of the lists that count memory in parts of a machine.
const MACHINE_MIB: f64 = 256.0 * 1024.0;

/// One task of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceJob {
    /// How long after the first one it is submitted.
    pub submit: Duration,
    /// How long it runs; zero if the list does not say.
    pub duration: Duration,
    /// What it asks for.
    pub ask: GpuAsk,
}

/// How a list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Rialto,
    Openb,
    Philly,
    Surf,
    Metacentrum,
    Swf,
    Twolevel,
    Alibaba2017,
    /// The jobs with guaranteed machines.
    Alibaba2026Hp,
    /// Those on spare ones.
    Alibaba2026Spot,
    Dlrm,
}

impl Format {
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "rialto" => Self::Rialto,
            "openb" => Self::Openb,
            "philly" => Self::Philly,
            "surf" => Self::Surf,
            "metacentrum" => Self::Metacentrum,
            "swf" => Self::Swf,
            "twolevel" => Self::Twolevel,
            "alibaba2017" => Self::Alibaba2017,
            "alibaba2026-hp" => Self::Alibaba2026Hp,
            "alibaba2026-spot" => Self::Alibaba2026Spot,
            "dlrm" => Self::Dlrm,
            _ => return None,
        })
    }
}

/// The tasks of a list, the earliest first; the first is submitted at zero.
pub(crate) fn read(file: &Path, format: Format) -> Result<Vec<TraceJob>, InputError> {
    Ok(read_as(file, format, Members::Apart, &[])?.list)
}

/// What a list says of a job besides what each of its tasks asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Traits {
    /// How many tasks it has, which start together or not at all.
    pub members: u32,
    /// How many of its kind may be on one machine; none if any number.
    pub bound: Option<PerMachine>,
    /// Higher is more important, within its workload.
    pub priority: i32,
}

impl Default for Traits {
    fn default() -> Self {
        Self { members: 1, bound: None, priority: 0 }
    }
}

/// At most so many instances of an app on one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PerMachine {
    /// The app, by a number that the list's reader has given it.
    pub app: u32,
    /// How many.
    pub max: u32,
}

/// The jobs of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Jobs {
    /// The earliest first.
    pub(super) list: Vec<TraceJob>,
    /// Of each.
    pub(super) traits: Vec<Traits>,
    /// What each is called; empty if the list does not say.
    pub(super) names: Vec<Arc<str>>,
    /// So many, the first ones, run at the start.
    pub(super) running: usize,
    /// After so long the list may begin anew.
    pub(super) period: Duration,
}

/// What becomes of the tasks of one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Members {
    /// Each goes its own way, unless the list says otherwise.
    Apart,
    /// They start together or not at all.
    Together,
}

/// Which lines of a list count: those where these columns hold these texts.
pub(super) type Only = [(&'static str, String)];

/// The jobs of a list that count; the first of all is submitted at zero.
pub(super) fn read_as(file: &Path, format: Format, members: Members, only: &Only) -> Result<Jobs, InputError> {
    let mut list = List::new(members);
    match format {
        Format::Swf => list.swf(file)?,
        _ => {
            let table = Table::read(file)?;
            let of = |(name, text): &(&'static str, String)| Ok((table.column(name)?, text.clone()));
            let only: Vec<(Column, String)> = only.iter().map(of).collect::<Result<_, InputError>>()?;
            let counts =
                |row: Row<'_>| only.iter().try_fold(true, |all, (column, text)| Ok(all && row.text(*column)? == text));
            match format {
                Format::Openb => list.openb(file, &table, counts)?,
                Format::Rialto => list.rialto(&table, counts)?,
                _ => {
                    let columns = Columns::of(&table, format)?;
                    for row in table.rows() {
                        list.counts = counts(row)?;
                        columns.read(row, &mut list)?;
                    }
                }
            }
        }
    }
    Ok(list.into_jobs())
}

/// What is read of a list.
struct List {
    jobs: Vec<Listed>,
    members: Members,
    /// Of all jobs together.
    tasks: usize,
    /// Whether what is read now counts.
    counts: bool,
    /// When the first and the last of all jobs are submitted.
    span: Option<(Duration, Duration)>,
    /// The apps that have a bound for machines.
    apps: BTreeMap<String, u32>,
}

#[derive(Clone)]
struct Listed {
    job: TraceJob,
    traits: Traits,
    name: Option<Arc<str>>,
    is_running: bool,
}

impl List {
    const fn new(members: Members) -> Self {
        Self { jobs: Vec::new(), members, tasks: 0, counts: true, span: None, apps: BTreeMap::new() }
    }

    fn into_jobs(self) -> Jobs {
        let (first, last) = self.span.unwrap_or_default();
        let mut jobs = self.jobs;
        jobs.sort_by_key(|listed| (listed.job.submit, !listed.is_running));
        jobs.iter_mut().for_each(|listed| listed.job.submit -= first);
        Jobs {
            running: jobs.iter().filter(|listed| listed.is_running).count(),
            names: jobs.iter().filter_map(|listed| listed.name.clone()).collect(),
            traits: jobs.iter().map(|listed| listed.traits).collect(),
            list: jobs.into_iter().map(|listed| listed.job).collect(),
            period: last - first + Duration::from_secs(1),
        }
    }

    /// The bound of an app; minus one or nothing means none.
    fn bound(&mut self, app: String, max: &str) -> Result<Option<PerMachine>, String> {
        if matches!(max, "" | "-1") {
            return Ok(None);
        }
        let number: Option<u32> = max.parse().ok().filter(|max| (1..=PER_MACHINE_MAX).contains(max));
        let max = number.ok_or_else(|| {
            format!("max_per_node: expected -1 for any number, or 1 to {PER_MACHINE_MAX}, got {max:?}")
        })?;
        let next = u32::try_from(self.apps.len()).unwrap_or(u32::MAX);
        Ok(Some(PerMachine { app: *self.apps.entry(app).or_insert(next), max }))
    }

    /// Adds `tasks` alike.
    fn add(&mut self, tasks: u64, job: TraceJob, traits: Traits) -> Result<(), String> {
        self.add_listed(tasks, Listed { job, traits, name: None, is_running: false })
    }

    fn add_listed(&mut self, tasks: u64, listed: Listed) -> Result<(), String> {
        let (job, mut traits) = (&listed.job, listed.traits);
        let tasks = usize::try_from(tasks).unwrap_or(usize::MAX);
        if tasks > 0 {
            let (first, last) = self.span.unwrap_or((job.submit, job.submit));
            self.span = Some((first.min(job.submit), last.max(job.submit)));
        }
        if !self.counts {
            return Ok(());
        }
        self.tasks = self.tasks.saturating_add(tasks);
        if self.tasks > ALL_TASKS_MAX {
            return Err(format!("expected at most {ALL_TASKS_MAX} tasks in a list, got more up to here"));
        }
        let is_gang = self.members == Members::Together || traits.members > 1;
        if is_gang && tasks > GANG_MAX {
            return Err(format!("expected a gang of at most {GANG_MAX} tasks, got {tasks}"));
        }
        if is_gang && tasks > 1 && traits.bound.is_some() {
            return Err("max_per_node: expected none of a job whose tasks start together".to_owned());
        }
        let (jobs, members) = if is_gang { (tasks.min(1), tasks as u32) } else { (tasks, 1) };
        traits.members = members;
        self.jobs.extend(std::iter::repeat_n(Listed { traits, ..listed }, jobs));
        Ok(())
    }

    fn openb(
        &mut self,
        file: &Path,
        table: &Table,
        counts: impl Fn(Row<'_>) -> Result<bool, InputError>,
    ) -> Result<(), InputError> {
        let asks = read_pods(file)?;
        let times = table.optional("creation_time").zip(table.optional("deletion_time"));
        for (row, ask) in table.rows().zip(asks) {
            let (submit, end) = match times {
                Some((created, deleted)) => (row.decimal(created, SECONDS_MAX)?, row.decimal(deleted, SECONDS_MAX)?),
                None => (0.0, 0.0),
            };
            if end < submit {
                return Err(row.error(format!("deletion_time: expected at least {submit}, got {end}")));
            }
            let job = TraceJob { submit: seconds(submit), duration: seconds(end - submit), ask };
            self.counts = counts(row)?;
            self.add(1, job, Traits::default()).map_err(|what| row.error(what))?;
        }
        Ok(())
    }
}

/// Where the columns of a table are, by format.
enum Columns {
    Philly {
        submit: Column,
        run: Column,
        gpus: Column,
    },
    Surf {
        submit: Column,
        run: Column,
        cpus: Column,
    },
    Metacentrum {
        submit: Column,
        run: Column,
        cpus: Column,
        mem: Column,
    },
    Twolevel {
        submit: Column,
        run: Column,
        tasks: Column,
        cpus: Column,
        mem: Column,
    },
    Alibaba2017 {
        submit: Column,
        run: Column,
        tasks: Column,
        cpus: Column,
        mem: Column,
    },
    Alibaba2026 {
        kind: Column,
        /// The kind that counts.
        only: &'static str,
        submit: Column,
        run: Column,
        tasks: Column,
        cpus: Column,
        gpus: Column,
        model: Column,
    },
    Dlrm {
        cpus: Column,
        gpus: Column,
        mem: Column,
        created: Column,
        deleted: Column,
        /// Its role and app, and how many of that may be on one machine.
        app: Option<((Column, Column), Column)>,
    },
}

impl Columns {
    fn of(table: &Table, format: Format) -> Result<Self, InputError> {
        let column = |name| table.column(name);
        Ok(match format {
            Format::Philly => {
                Self::Philly { submit: column("submit_s")?, run: column("duration_s")?, gpus: column("num_gpu")? }
            }
            Format::Surf => {
                Self::Surf { submit: column("submit_s")?, run: column("duration_s")?, cpus: column("cpus")? }
            }
            Format::Metacentrum => Self::Metacentrum {
                submit: column("submit_s")?,
                run: column("run_s")?,
                cpus: column("cpus")?,
                mem: column("mem_mib")?,
            },
            Format::Twolevel => Self::Twolevel {
                submit: column("submit_s")?,
                run: column("task_duration_s")?,
                tasks: column("num_tasks")?,
                cpus: column("cpus_per_task")?,
                mem: column("mem_gb_per_task")?,
            },
            Format::Alibaba2017 => Self::Alibaba2017 {
                submit: column("submit_s")?,
                run: column("instance_duration_s")?,
                tasks: column("instances")?,
                cpus: column("cpu_cores")?,
                mem: column("mem_frac")?,
            },
            Format::Alibaba2026Hp | Format::Alibaba2026Spot => Self::Alibaba2026 {
                kind: column("job_type")?,
                only: if format == Format::Alibaba2026Hp { "HP" } else { "Spot" },
                submit: column("submit_time")?,
                run: column("duration")?,
                tasks: column("worker_num")?,
                cpus: column("cpu_request")?,
                gpus: column("gpu_request")?,
                model: column("gpu_model")?,
            },
            // The first three have readers of their own.
            Format::Rialto | Format::Openb | Format::Swf | Format::Dlrm => Self::Dlrm {
                cpus: column("cpu")?,
                gpus: column("gpu")?,
                mem: column("mem_gib")?,
                created: column("creation_s")?,
                deleted: column("deletion_s")?,
                app: table.optional("role").zip(table.optional("app")).zip(table.optional("max_per_node")),
            },
        })
    }

    fn read(&self, row: Row<'_>, list: &mut List) -> Result<(), InputError> {
        let time = |column| row.decimal(column, SECONDS_MAX).map(seconds);
        let mut traits = Traits::default();
        let (tasks, job) = match *self {
            Self::Philly { submit, run, gpus } => {
                let gpus = u16::try_from(row.whole(gpus, 1024)?).expect("at most 1024");
                let each = gpus.min(GPUS_PER_TASK);
                let tasks = u64::from(gpus.div_ceil(each.max(1)));
                (tasks, TraceJob { submit: time(submit)?, duration: time(run)?, ask: whole_gpus(each) })
            }
            Self::Surf { submit, run, cpus } => {
                let cores = row.decimal(cpus, CPUS_MAX)?;
                (1, TraceJob { submit: time(submit)?, duration: time(run)?, ask: host(cores, cores * MIB_PER_CPU) })
            }
            // In batch logs, less than nothing means unknown.
            Self::Metacentrum { run, .. } if row.text(run)?.starts_with('-') => return Ok(()),
            Self::Metacentrum { submit, run, cpus, mem } => {
                let ask = host(row.decimal(cpus, CPUS_MAX)?, row.decimal(mem, MIB_MAX)?);
                (1, TraceJob { submit: time(submit)?, duration: time(run)?, ask })
            }
            Self::Twolevel { submit, run, tasks, cpus, mem } => {
                let ask = host(row.decimal(cpus, CPUS_MAX)?, row.decimal(mem, MIB_MAX / 1024.0)? * 1024.0);
                (row.whole(tasks, TASKS_MAX)?, TraceJob { submit: time(submit)?, duration: time(run)?, ask })
            }
            Self::Alibaba2017 { submit, run, tasks, cpus, mem } => {
                let ask = host(row.decimal(cpus, CPUS_MAX)?, row.decimal(mem, 1.0)? * MACHINE_MIB);
                (row.whole(tasks, TASKS_MAX)?, TraceJob { submit: time(submit)?, duration: time(run)?, ask })
            }
            Self::Alibaba2026 { kind, only, .. } if row.text(kind)? != only => return Ok(()),
            Self::Alibaba2026 { submit, run, tasks, cpus, gpus, model, .. } => {
                let (cores, asked) = (row.decimal(cpus, CPUS_MAX)?, row.decimal(gpus, 256.0)?);
                let ask = some_gpus(asked, row.text(model)?, cores);
                (row.whole(tasks, TASKS_MAX)?, TraceJob { submit: time(submit)?, duration: time(run)?, ask })
            }
            Self::Dlrm { cpus, gpus, mem, created, deleted, app } => {
                if let Some(((role, app), max)) = app {
                    let app = format!("{}/{}", row.text(role)?, row.text(app)?);
                    traits.bound = list.bound(app, row.text(max)?).map_err(|what| row.error(what))?;
                }
                let or = |column: Column, or: f64| {
                    if row.text(column)?.is_empty() { Ok(or) } else { row.decimal(column, SECONDS_MAX) }
                };
                // What is there before the start begins with it, and what outlives the 31 days of the list ends with them.
                let (from, until) = (or(created, 0.0)?, or(deleted, 31.0 * 86_400.0)?);
                let gpus = u16::try_from(row.whole(gpus, 256)?).expect("at most 256");
                let ask = GpuAsk {
                    gpus,
                    share: Share(if gpus > 0 { 1000 } else { 0 }),
                    ..host(row.decimal(cpus, CPUS_MAX)?, row.decimal(mem, MIB_MAX / 1024.0)? * 1024.0)
                };
                (1, TraceJob { submit: seconds(from), duration: seconds((until - from).max(0.0)), ask })
            }
        };
        list.add(tasks, job, traits).map_err(|what| row.error(what))
    }
}

pub(super) fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// So many cores and so much memory in MiB, and no GPU.
pub(crate) fn host(cores: f64, mib: f64) -> GpuAsk {
    let milli = |amount: f64| Milli((amount * 1000.0).round() as u64);
    GpuAsk { cpus: milli(cores), mem: milli(mib), gpus: 0, share: Share(0), models: Vec::new() }
}

/// A part of one GPU or whole ones, with these cores and memory for them.
fn some_gpus(gpus: f64, model: &str, cores: f64) -> GpuAsk {
    let share = if gpus < 1.0 { (gpus * 1000.0).ceil() } else { 1000.0 };
    let models = if gpus > 0.0 { vec![Arc::from(model)] } else { Vec::new() };
    let mib = cores.max(gpus.ceil() * CPUS_PER_GPU as f64) * (MIB_PER_GPU / CPUS_PER_GPU) as f64;
    GpuAsk { gpus: gpus.ceil() as u16, share: Share(share as u16), models, ..host(cores, mib) }
}

/// So many whole GPUs, with a part of the host for each.
pub(crate) fn whole_gpus(gpus: u16) -> GpuAsk {
    let each = u64::from(gpus.max(1));
    GpuAsk {
        cpus: Milli::from_whole(CPUS_PER_GPU * each),
        mem: Milli::from_whole(MIB_PER_GPU * each),
        gpus,
        share: Share(if gpus > 0 { 1000 } else { 0 }),
        models: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
