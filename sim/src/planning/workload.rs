//! A workload from its fields: whose jobs or instances there are, how they come, and what they may hold.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rialto_analytics::spec::MAX_GANG;
use rialto_core::model::{Milli, Price, PriceKey, Role};
use rialto_core::scheduler::placement::gpu::GpuAsk;

use super::error::ScenarioError;
use super::fields::{Field, Fields};
use super::jobs::{self, ENDLESS, Jobs, Members, TraceJob, Traits};
use super::parse::optional_span;
use super::prices;
use super::rates::{self, Replica};
use super::scenario::{Arrivals, Begins, Framework, Limit, Pool, Quota, Workload};
use super::shipped::{MAX_SIZES, check_size};
use super::units;

/// What is known of the scenario when a workload is read.
pub(super) struct Around<'a> {
    pub(super) folder: &'a Path,
    pub(super) pools: &'a [Pool],
    pub(super) others: &'a [Workload],
}

/// How the file of a workload is written.
#[derive(Clone, Copy)]
enum Format {
    Jobs(jobs::Format),
    Rates(rates::Format),
}

const FORMATS: &str = "rialto, openb, philly, surf, metacentrum, swf, twolevel, alibaba2017, alibaba2026-hp, alibaba2026-spot or dlrm; rate, \
                       genai-qps, genai-requests or azure-llm";

impl Format {
    fn parse(text: &str) -> Option<Self> {
        jobs::Format::parse(text).map(Self::Jobs).or_else(|| rates::Format::parse(text).map(Self::Rates))
    }
}

/// A workload, and the file that its jobs are from.
pub(super) fn read(mut fields: Fields, around: &Around<'_>) -> Result<(Workload, PathBuf), ScenarioError> {
    let is_free = |text: &str| around.others.iter().all(|other| other.name != text) && Role::new(text).is_ok();
    let name = fields.take("name");
    let name = name.read("a name that may be a role and that no other workload has", |text| {
        is_free(text).then(|| text.to_owned())
    })?;
    let framework = fields.take("framework").read_or(Framework::NAMES, Framework::Library, Framework::parse)?;
    let file = around.folder.join(fields.take("file").text("the file of its jobs")?);
    let gang = gang(fields.take("gang"), framework)?;
    let list = list(&mut fields, &file, framework, gang)?;
    let arrivals = arrivals(&mut fields, &list)?;
    let growth_a_year = fields.take("growth").read_or(units::GROWTH, 1.0, units::growth)?;
    let limit = fields.take("limit").fields()?.map(limit).transpose()?;
    let max_price = max_price(fields.take("max_price"), framework, around.pools)?;
    let checkpoint = checkpoint(fields.take("checkpoint"), framework)?;
    let weight = fields.take("weight").number_or(1.0, 0.001, 1e6)?;
    let quota = fields.take("quota").fields()?.map(quota).transpose()?;
    fields.end()?;
    let workload = Workload {
        role: Role::new(&name).expect("its name was read as that of a role"),
        name,
        framework,
        begins: if list.running > 0 { Begins::With(list.running) } else { Begins::AsUsual },
        jobs: Arc::from(list.list),
        traits: Arc::from(list.traits),
        names: Arc::from(list.names),
        arrivals,
        growth_a_year,
        limit,
        max_price,
        checkpoint,
        weight,
        quota,
    };
    Ok((workload, file))
}

/// The jobs of the file, such as the framework can run.
fn list(fields: &mut Fields, file: &Path, framework: Framework, gang: Members) -> Result<Jobs, ScenarioError> {
    let format = fields.take("format");
    let no_rates = format.error("expected the framework web for what is a rate or a list of requests");
    let format = format.read(FORMATS, Format::parse)?;
    let only = fields.take("only");
    let (no_only, no_jobs) = (
        only.error("expected none, as the file is no list of jobs"),
        only.error("expected at least one job in the file that is so"),
    );
    let only = only.fields()?.map(self::only).transpose()?.unwrap_or_default();
    let is_picked = !only.is_empty();
    let replica = fields.take("replica");
    let no_replica = replica.error("expected none, as the file says what each job asks for");
    let replica = replica.fields()?.map(self::replica).transpose()?;
    let jobs = match (format, replica) {
        (Format::Rates(_), _) if framework != Framework::Web => return Err(no_rates),
        (Format::Rates(_) | Format::Jobs(jobs::Format::Swf), _) if !only.is_empty() => return Err(no_only),
        (Format::Rates(format), Some(replica)) => rates::read(file, format, &replica)?,
        (Format::Rates(_), None) => {
            return Err(fields.error("expected a field replica: what an instance serves and asks for"));
        }
        (Format::Jobs(_), Some(_)) => return Err(no_replica),
        (Format::Jobs(format), None) => jobs::read_as(file, format, gang, &only)?,
    };
    if jobs.list.is_empty() && is_picked {
        return Err(no_jobs);
    }
    check_traits(&jobs.traits, framework).map_err(|what| fields.error(what))?;
    let most = jobs.traits.iter().map(|traits| traits.members).max().unwrap_or(0);
    if framework == Framework::Analytics && most > MAX_GANG {
        let what = format!("gang: expected at most {MAX_GANG} tasks of a job in analytics, got {most}");
        return Err(fields.error(what));
    }
    if framework == Framework::Web {
        check_sizes(&jobs).map_err(|what| fields.error(what))?;
    }
    Ok(jobs)
}

/// The lines of the file that count.
fn only(mut fields: Fields) -> Result<Vec<(&'static str, String)>, ScenarioError> {
    let mut only = Vec::new();
    for name in ["framework", "user", "workload"] {
        let field = fields.take(name);
        if field.is_there() {
            only.push((name, field.text("what is to stand in that column")?));
        }
    }
    fields.end()?;
    Ok(only)
}

/// That the framework heeds what the list says.
fn check_traits(traits: &[Traits], framework: Framework) -> Result<(), String> {
    let (name, has) = (framework.as_str(), |of: fn(&Traits) -> bool| traits.iter().any(of));
    let has_gangs = matches!(framework, Framework::Library | Framework::Analytics);
    if has(|traits| traits.members > 1) && !has_gangs {
        return Err(format!(
            "file: expected no gang, as {name} starts tasks one by one; library and analytics have gangs"
        ));
    }
    let is_bounded = matches!(framework, Framework::Library | Framework::Web);
    if has(|traits| traits.bound.is_some()) && !is_bounded {
        return Err(format!("file: expected no max_per_node, as {name} has no services; library and web heed it"));
    }
    Ok(())
}

/// That each size of instance may be an app.
fn check_sizes(jobs: &Jobs) -> Result<(), String> {
    let none = Traits::default();
    let traits = jobs.traits.iter().chain(std::iter::repeat(&none));
    let sizes: BTreeSet<(&GpuAsk, &Traits)> = jobs.list.iter().map(|job| &job.ask).zip(traits).collect();
    if sizes.len() > MAX_SIZES {
        let got = sizes.len();
        return Err(format!(
            "file: expected at most {MAX_SIZES} sizes of instances, each of which is an app, got {got}"
        ));
    }
    sizes
        .into_iter()
        .try_for_each(|(ask, _)| check_size(ask))
        .map_err(|error| format!("file: an instance can't be served: {error}"))
}

fn replica(mut fields: Fields) -> Result<Replica, ScenarioError> {
    let positive = |most: f64| move |text: &str| units::number(text).filter(|number| *number > 0.0 && *number <= most);
    let serves = fields.take("serves").read("how much of the load an instance serves in a second", positive(1e12))?;
    let cores = fields.take("cpus").read("cores of each instance", positive(100_000.0))?;
    let mem = fields.take("mem").read(units::MEMORY, units::memory)?;
    let gpus = u16::try_from(fields.take("gpus").count_or(0, 0, 256)?).expect("at most 256");
    let ask = GpuAsk { cpus: Milli((cores * 1000.0).round() as u64), mem, ..jobs::whole_gpus(gpus) };
    fields.end()?;
    Ok(Replica { serves, ask })
}

/// The highest price at which jobs are begun; the pools must be such that prices can be told of them.
fn max_price(field: Field, framework: Framework, pools: &[Pool]) -> Result<Option<Price>, ScenarioError> {
    if !field.is_there() {
        return Ok(None);
    }
    if !matches!(framework, Framework::Library | Framework::Analytics) {
        let what =
            format!("expected none, as {} does not wait for prices; library and analytics do", framework.as_str());
        return Err(field.error(what));
    }
    let nameless = pools.iter().find(|pool| PriceKey::new(&pool.name, prices::OWNED, None).is_err());
    if let Some(pool) = nameless {
        let (max, name) = (PriceKey::MAX_NAME, &pool.name);
        let what = format!("expected pools called by at most {max} letters, digits, '_', '-' or '.', got {name:?}");
        return Err(field.error(what));
    }
    field.read("a price such as 7.50", |text| text.parse().ok()).map(Some)
}

pub(super) fn quota(mut fields: Fields) -> Result<Quota, ScenarioError> {
    let mut amount = |name| {
        let field = fields.take(name);
        if field.is_there() { field.number_or(0.0, 0.0, 1e9).map(Some) } else { Ok(None) }
    };
    let quota = Quota {
        gpus_max: amount("gpus_max")?,
        cpus_max: amount("cpus_max")?,
        gpus_guaranteed: amount("gpus_guaranteed")?,
        cpus_guaranteed: amount("cpus_guaranteed")?,
    };
    fields.end()?;
    Ok(quota)
}

/// Whether the tasks of a job start together.
fn gang(field: Field, framework: Framework) -> Result<Members, ScenarioError> {
    let name = framework.as_str();
    let no_gang =
        field.error(format!("expected no, as {name} starts tasks one by one; library and analytics have gangs"));
    let members = field.read_or("yes or no", Members::Apart, |text| match text {
        "yes" => Some(Members::Together),
        "no" => Some(Members::Apart),
        _ => None,
    })?;
    let has_gangs = matches!(framework, Framework::Library | Framework::Analytics);
    if members == Members::Together && !has_gangs { Err(no_gang) } else { Ok(members) }
}

/// How the jobs of a list come.
fn arrivals(fields: &mut Fields, jobs: &Jobs) -> Result<Arrivals, ScenarioError> {
    let residence = fields.take("residence");
    let load = fields.take("load");
    if residence.is_there() || load.is_there() {
        let load = load.read("how many GPUs are in use at the start", |text| {
            units::number(text.trim_end_matches("gpus").trim_end_matches("cores"))
                .filter(|load| *load > 0.0 && *load < 1e7)
        })?;
        let residence = optional_span(residence)?;
        if residence.is_none() {
            check_durations(&jobs.list).map_err(|what| fields.error(what))?;
        }
        return Ok(Arrivals::Random { load, residence });
    }
    let has_no_end = |job: &TraceJob| job.duration.is_zero();
    if !jobs.list.is_empty() && jobs.list.iter().all(has_no_end) {
        return Err(
            fields.error("expected a residence and a load, because the file does not say how long its jobs run")
        );
    }
    let again = |text: &str| match text {
        "repeat" => Some(Some(jobs.period)),
        "once" => Some(None),
        _ => None,
    };
    Ok(Arrivals::Replayed {
        factor: fields.take("factor").number_or(1.0, 0.0, 10_000.0)?,
        repeats_after: fields.take("extend").read_or("repeat or once", None, again)?,
    })
}

/// That the durations of the list can be drawn.
fn check_durations(list: &[TraceJob]) -> Result<(), &'static str> {
    if list.iter().any(|job| job.duration >= ENDLESS) {
        return Err("expected a residence beside the load, because jobs of the file have no end");
    }
    let has_none = |job: &TraceJob| job.duration.is_zero();
    if list.iter().all(has_none) {
        return Err("expected a residence beside the load, because the file does not say how long its jobs run");
    }
    Ok(())
}

/// How long a job takes to save what it has done, if its framework does such a thing.
fn checkpoint(field: Field, framework: Framework) -> Result<Option<Duration>, ScenarioError> {
    if framework != Framework::Library && field.is_there() {
        let name = framework.as_str();
        return Err(field.error(format!("expected none, as {name} saves nothing of a job; library does")));
    }
    optional_span(field)
}

fn limit(mut fields: Fields) -> Result<Limit, ScenarioError> {
    for (name, percentile) in [("p50", 50), ("p90", 90), ("p95", 95), ("p99", 99)] {
        let field = fields.take(name);
        if field.is_there() {
            let wait = field.span()?;
            fields.end()?;
            return Ok(Limit { percentile, wait });
        }
    }
    Err(fields.error("expected one of p50, p90, p95 and p99"))
}
