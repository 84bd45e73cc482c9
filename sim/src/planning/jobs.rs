//! Lists of jobs in the formats of public traces.

use std::path::Path;
use std::time::Duration;

use rialto_core::model::{Milli, Share};
use rialto_core::scheduler::placement::gpu::GpuAsk;

use crate::fgd::read_pods;
use crate::input::{Column, InputError, Row, Table};

/// A hundred years.
pub(super) const SECONDS_MAX: f64 = 3.2e9;
const TASKS_MAX: u64 = 100_000;
/// Of tasks that start together.
const GANG_MAX: usize = 1024;
/// All tasks of a list together.
const ALL_TASKS_MAX: usize = 10_000_000;
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
    Ok(read_as(file, format, Members::Apart)?.list)
}

/// The jobs of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Jobs {
    /// The earliest first.
    pub(super) list: Vec<TraceJob>,
    /// How many tasks each has.
    pub(super) members: Vec<u32>,
    /// After so long the list may begin anew.
    pub(super) period: Duration,
}

/// What becomes of the tasks of one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Members {
    /// Each goes its own way.
    Apart,
    /// They start together or not at all.
    Together,
}

/// The jobs of a list; the first is submitted at zero.
pub(super) fn read_as(file: &Path, format: Format, members: Members) -> Result<Jobs, InputError> {
    let mut list = List { jobs: Vec::new(), members, tasks: 0 };
    match format {
        Format::Openb => list.openb(file)?,
        Format::Swf => list.swf(file)?,
        _ => {
            let table = Table::read(file)?;
            let columns = Columns::of(&table, format)?;
            for row in table.rows() {
                columns.read(row, &mut list)?;
            }
        }
    }
    let mut jobs = list.jobs;
    jobs.sort_by_key(|(job, _)| job.submit);
    let first = jobs.first().map_or(Duration::ZERO, |(job, _)| job.submit);
    jobs.iter_mut().for_each(|(job, _)| job.submit -= first);
    let last = jobs.last().map_or(Duration::ZERO, |(job, _)| job.submit);
    let (list, members) = jobs.into_iter().unzip();
    Ok(Jobs { list, members, period: last + Duration::from_secs(1) })
}

struct List {
    jobs: Vec<(TraceJob, u32)>,
    members: Members,
    /// Of all jobs together.
    tasks: usize,
}

impl List {
    /// Adds `tasks` alike.
    fn add(&mut self, tasks: u64, job: &TraceJob) -> Result<(), String> {
        let tasks = usize::try_from(tasks).unwrap_or(usize::MAX);
        self.tasks = self.tasks.saturating_add(tasks);
        if self.tasks > ALL_TASKS_MAX {
            return Err(format!("expected at most {ALL_TASKS_MAX} tasks in a list, got more up to here"));
        }
        match self.members {
            Members::Apart => self.jobs.extend(std::iter::repeat_n((job.clone(), 1), tasks)),
            Members::Together if tasks > GANG_MAX => {
                return Err(format!("expected a gang of at most {GANG_MAX} tasks, got {tasks}"));
            }
            Members::Together if tasks > 0 => self.jobs.push((job.clone(), tasks as u32)),
            Members::Together => {}
        }
        Ok(())
    }

    fn openb(&mut self, file: &Path) -> Result<(), InputError> {
        let asks = read_pods(file)?;
        let table = Table::read(file)?;
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
            self.add(1, &job).map_err(|what| row.error(what))?;
        }
        Ok(())
    }

    /// The standard workload format: 18 columns with spaces between, no header, comments behind a semicolon.
    fn swf(&mut self, file: &Path) -> Result<(), InputError> {
        let unreadable = |error| InputError::Unreadable { file: file.to_owned(), error };
        let text = std::fs::read_to_string(file).map_err(unreadable)?;
        for (number, line) in
            text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with(';'))
        {
            let broken = |what: String| InputError::Line { file: file.to_owned(), line: number + 1, what };
            let fields: Vec<f64> = line.split_whitespace().map_while(|field| field.parse().ok()).collect();
            let [_, submit, _, run, used, _, _, requested, _, kib, ..] = fields[..] else {
                return Err(broken(format!("expected at least 10 numbers, got {line:?}")));
            };
            let cores = if used > 0.0 { used } else { requested };
            if run < 0.0 || cores < 1.0 {
                continue;
            }
            if !(0.0..=SECONDS_MAX).contains(&submit) || run > SECONDS_MAX || cores > TASKS_MAX as f64 {
                return Err(broken(format!("expected a time and a number of processors within bounds, got {line:?}")));
            }
            let mib = if kib > 0.0 { kib / 1024.0 } else { MIB_PER_CPU };
            let job = TraceJob { submit: seconds(submit), duration: seconds(run), ask: host(1.0, mib.min(MIB_MAX)) };
            self.add(cores as u64, &job).map_err(broken)?;
        }
        Ok(())
    }
}

/// Where the columns of a table are, by format.
enum Columns {
    Rialto {
        submit: Column,
        tasks: Column,
        cpus: Column,
        mem: Column,
        gpus: Column,
        share: Column,
        spec: Column,
        run: Column,
    },
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
    },
}

impl Columns {
    fn of(table: &Table, format: Format) -> Result<Self, InputError> {
        let column = |name| table.column(name);
        Ok(match format {
            Format::Rialto | Format::Openb | Format::Swf => Self::Rialto {
                submit: column("submit_s")?,
                tasks: column("tasks")?,
                cpus: column("cpu_milli")?,
                mem: column("memory_mib")?,
                gpus: column("gpu")?,
                share: column("gpu_milli")?,
                spec: column("gpu_spec")?,
                run: column("duration_s")?,
            },
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
            Format::Dlrm => Self::Dlrm {
                cpus: column("cpu")?,
                gpus: column("gpu")?,
                mem: column("mem_gib")?,
                created: column("creation_s")?,
                deleted: column("deletion_s")?,
            },
        })
    }

    fn read(&self, row: Row<'_>, list: &mut List) -> Result<(), InputError> {
        let time = |column| row.decimal(column, SECONDS_MAX).map(seconds);
        let (tasks, job) = match *self {
            Self::Rialto { submit, tasks, cpus, mem, gpus, share, spec, run } => {
                let gpus = u16::try_from(row.whole(gpus, 256)?).expect("at most 256");
                let share = u16::try_from(row.whole(share, 1000)?).expect("at most 1000");
                if gpus > 0 && share == 0 {
                    return Err(row.error("gpu_milli: expected 1 to 1000 of each GPU, got 0"));
                }
                let spec = row.text(spec)?.split('|').map(str::trim).filter(|model| !model.is_empty());
                let mut models: Vec<std::sync::Arc<str>> = spec.map(std::sync::Arc::from).collect();
                models.sort();
                let ask = GpuAsk {
                    gpus,
                    share: Share(if gpus > 0 { share } else { 0 }),
                    models: if gpus > 0 { models } else { Vec::new() },
                    ..host(row.decimal(cpus, CPUS_MAX * 1000.0)? / 1000.0, row.decimal(mem, MIB_MAX)?)
                };
                (row.whole(tasks, TASKS_MAX)?, TraceJob { submit: time(submit)?, duration: time(run)?, ask })
            }
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
            Self::Dlrm { cpus, gpus, mem, created, deleted } => {
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
        list.add(tasks, &job).map_err(|what| row.error(what))
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
    let models = if gpus > 0.0 { vec![std::sync::Arc::from(model)] } else { Vec::new() };
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
