//! The file as a whole: stages, variables, defaults and jobs, with every name in it resolved.

use std::collections::{BTreeMap, BTreeSet};

use super::error::{At, Found, Problem, SpecError};
use super::extends::Extender;
use super::job::{Defaults, Definition, NeedName};
use super::keywords::{DEFAULT, DEFAULT_UNSUPPORTED, GLOBAL, GLOBAL_UNSUPPORTED};
use super::limits::{JOBS_MAX, STAGES_MAX};
use super::model::{Context, Pipeline};
use super::node::{Key, Located, Map, Node, Value, check_name, nearest, shorten};
use super::plan;
use super::variables::{self, Layer};
use super::yaml;

/// A pipeline file that was read and checked, before its rules are evaluated for a commit.
#[derive(Clone, Debug)]
pub struct PipelineFile {
    name: String,
    pub(crate) stages: Vec<String>,
    pub(crate) variables: Layer,
    pub(crate) jobs: Vec<Definition>,
}

impl PipelineFile {
    /// Reads a file; `name` is what error messages call it.
    ///
    /// # Errors
    /// The first problem with its place: bad YAML, an unknown key, a value of the wrong shape, an unknown or circular name, or one
    /// of the [limits](super::limits) exceeded.
    pub fn parse(name: &str, text: &str) -> Result<Self, SpecError> {
        read(name, text).map_err(|found| found.in_file(name))
    }

    /// The pipeline for one run: evaluates the rules, expands variables and resolves `needs`. `check_device` judges each device
    /// selector and says what is wrong with it.
    ///
    /// # Errors
    /// What shows only now: a circle of variables, a need that the rules exclude, a bad artefact path or device selector, no job left.
    pub fn expand(
        &self,
        context: &Context,
        check_device: &dyn Fn(&str) -> Result<(), String>,
    ) -> Result<Pipeline, SpecError> {
        plan::expand(self, context, check_device).map_err(|found| found.in_file(&self.name))
    }
}

fn read(name: &str, text: &str) -> Result<PipelineFile, Found> {
    let root = yaml::read(text)?;
    let top = match &root.value {
        Value::Map(map) => map,
        Value::Null => return Err(Found::new(At::START, Problem::NoJobs)),
        _ => return Err(root.expected("the file", "a mapping of jobs")),
    };
    let stages = stages(top.get("stages"))?;
    let variables = match top.get("variables") {
        Some(node) => variables::read(node, "`variables`")?,
        None => Layer::new(),
    };
    let jobs = jobs(top, &stages, &defaults(top.get("default"))?)?;
    check_names(&jobs, &stages)?;
    Ok(PipelineFile { name: name.to_owned(), stages, variables, jobs })
}

/// `.pre` and `.post` are always there, as in GitLab.
fn stages(node: Option<&Node>) -> Result<Vec<String>, Found> {
    let mut stages = vec![".pre".to_owned()];
    match node {
        None => stages.extend(["build", "test", "deploy"].map(str::to_owned)),
        Some(node) => stages.extend(named_stages(node)?),
    }
    stages.push(".post".to_owned());
    Ok(stages)
}

fn named_stages(node: &Node) -> Result<Vec<String>, Found> {
    let items = node.list("`stages`")?;
    if items.is_empty() {
        return Err(Found::new(node.at, Problem::Empty("`stages`".to_owned())));
    }
    if items.len() > STAGES_MAX {
        let what = "`stages`".to_owned();
        return Err(Found::new(node.at, Problem::TooMany { what, found: items.len(), max: STAGES_MAX }));
    }
    let mut stages: Vec<String> = Vec::new();
    for item in items {
        let stage = item.name("a stage's name")?;
        if stages.contains(&stage) {
            return Err(Found::new(item.at, Problem::DuplicateStage(stage)));
        }
        stages.push(stage);
    }
    stages.retain(|stage| stage != ".pre" && stage != ".post");
    Ok(stages)
}

fn defaults(node: Option<&Node>) -> Result<Defaults, Found> {
    let Some(node) = node else { return Ok(Defaults::default()) };
    let map = node.map("`default`")?;
    map.only("`default`", DEFAULT, DEFAULT_UNSUPPORTED)?;
    Defaults::default().overlaid(map, "`default`")
}

fn jobs(top: &Map, stages: &[String], defaults: &Defaults) -> Result<Vec<Definition>, Found> {
    let entries: Vec<&(Key, Node)> = top.entries.iter().filter(|(key, _)| !GLOBAL.contains(&&*key.name)).collect();
    let by_name: BTreeMap<&str, &Node> = entries.iter().map(|(key, node)| (&*key.name, node)).collect();
    let visible: Vec<_> = entries.iter().filter(|(key, _)| !key.name.starts_with('.')).collect();
    if visible.len() > JOBS_MAX {
        return Err(too_many_jobs(visible.len()));
    }
    let mut extender = Extender::new(&by_name);
    let mut jobs = Vec::with_capacity(visible.len());
    for (key, node) in visible {
        check_job_key(key, node)?;
        let map = extender.job(&key.name, node)?;
        jobs.push(Definition::read(&key.name, key.at, &map, stages, defaults)?);
    }
    if jobs.is_empty() {
        return Err(Found::new(At::START, Problem::NoJobs));
    }
    Ok(jobs)
}

fn too_many_jobs(found: usize) -> Found {
    Found::new(At::START, Problem::TooMany { what: "jobs".to_owned(), found, max: JOBS_MAX })
}

/// Whatever is no global keyword is a job, unless it looks like a keyword misspelt.
fn check_job_key(key: &Key, node: &Node) -> Result<(), Found> {
    let place = "the file".to_owned();
    if let Some((_, instead)) = GLOBAL_UNSUPPORTED.iter().find(|(name, _)| *name == &*key.name) {
        let problem = Problem::Unsupported { key: key.name.to_string(), place, instead };
        return Err(Found::new(key.at, problem));
    }
    check_name(key.at, "a job's name", &key.name)?;
    let hint = nearest(&key.name, GLOBAL.iter().copied());
    if !matches!(node.value, Value::Map(_)) && hint.is_some() {
        return Err(Found::new(key.at, Problem::UnknownKey { key: shorten(&key.name), place, hint }));
    }
    Ok(())
}

/// Which job of the file each name means: a job's own, or that of one instance of its `parallel`.
pub(crate) fn names(jobs: &[Definition]) -> Result<BTreeMap<&str, usize>, Found> {
    let mut names = BTreeMap::new();
    for (index, job) in jobs.iter().enumerate() {
        let instances = job.instances.iter().map(|instance| instance.name.as_str());
        for name in instances.filter(|name| *name != job.name).chain([job.name.as_str()]) {
            if names.insert(name, index).is_some() {
                return Err(Found::new(job.at, Problem::DuplicateJob(name.to_owned())));
            }
        }
    }
    Ok(names)
}

fn check_names(jobs: &[Definition], stages: &[String]) -> Result<(), Found> {
    let total = jobs.iter().map(|job| job.instances.len()).sum();
    if total > JOBS_MAX {
        return Err(too_many_jobs(total));
    }
    let names = names(jobs)?;
    for (index, job) in jobs.iter().enumerate() {
        for need in job.needs.iter().flatten() {
            let needed = &jobs[known(&names, job, "needs", need.at, &need.value.job)?];
            check_stage(job, need, needed, stages)?;
        }
        for name in job.dependencies.iter().flatten() {
            let needed = known(&names, job, "dependencies", name.at, &name.value)?;
            check_dependency(jobs, &names, index, name, needed)?;
        }
    }
    check_circles(jobs, &names)
}

fn known(
    names: &BTreeMap<&str, usize>,
    job: &Definition,
    key: &'static str,
    at: At,
    name: &str,
) -> Result<usize, Found> {
    names.get(name).copied().ok_or_else(|| {
        let hint = nearest(name, names.keys().copied());
        let (job, need) = (job.name.clone(), shorten(name));
        Found::new(at, Problem::UnknownNeed { job, key, need, hint })
    })
}

fn check_stage(
    job: &Definition,
    need: &Located<NeedName>,
    needed: &Definition,
    stages: &[String],
) -> Result<(), Found> {
    if needed.stage <= job.stage {
        return Ok(());
    }
    let problem = Problem::NeedsLaterStage {
        job: job.name.clone(),
        stage: stages[job.stage].clone(),
        need: need.value.job.clone(),
        need_stage: stages[needed.stage].clone(),
    };
    Err(Found::new(need.at, problem))
}

fn check_dependency(
    jobs: &[Definition],
    names: &BTreeMap<&str, usize>,
    job: usize,
    name: &Located<String>,
    needed: usize,
) -> Result<(), Found> {
    let job = &jobs[job];
    let before = match &job.needs {
        Some(needs) => needs.iter().any(|need| names[need.value.job.as_str()] == needed),
        None => jobs[needed].stage < job.stage,
    };
    if before {
        return Ok(());
    }
    let (job, need) = (job.name.clone(), name.value.clone());
    Err(Found::new(name.at, Problem::DependencyNotBefore { job, need }))
}

/// Takes away jobs whose needs are all gone until nothing changes; what remains stands in or behind a circle.
fn check_circles(jobs: &[Definition], names: &BTreeMap<&str, usize>) -> Result<(), Found> {
    let needs: Vec<BTreeSet<usize>> = jobs.iter().map(|job| needed_jobs(job, names)).collect();
    let mut open: Vec<usize> = needs.iter().map(BTreeSet::len).collect();
    let mut needed_by: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (job, needs) in needs.iter().enumerate() {
        for need in needs {
            needed_by.entry(*need).or_default().push(job);
        }
    }
    let mut ready: Vec<usize> = (0..jobs.len()).filter(|job| open[*job] == 0).collect();
    while let Some(done) = ready.pop() {
        for job in needed_by.get(&done).into_iter().flatten() {
            open[*job] -= 1;
            if open[*job] == 0 {
                ready.push(*job);
            }
        }
    }
    match open.iter().position(|count| *count > 0) {
        None => Ok(()),
        Some(stuck) => Err(circle(jobs, &needs, &open, stuck)),
    }
}

fn needed_jobs(job: &Definition, names: &BTreeMap<&str, usize>) -> BTreeSet<usize> {
    job.needs.iter().flatten().map(|need| names[need.value.job.as_str()]).collect()
}

/// Follows needs that are stuck themselves from a stuck job; the walk must come round to a job that it has seen.
fn circle(jobs: &[Definition], needs: &[BTreeSet<usize>], open: &[usize], stuck: usize) -> Found {
    let mut path = vec![stuck];
    loop {
        let last = path[path.len() - 1];
        let next = needs[last].iter().copied().find(|need| open[*need] > 0);
        let next = next.expect("a stuck job has a stuck need");
        if let Some(start) = path.iter().position(|seen| *seen == next) {
            path.push(next);
            let names: Vec<&str> = path[start..].iter().map(|job| jobs[*job].name.as_str()).collect();
            return Found::new(jobs[next].at, Problem::NeedsCycle(names.join(" → ")));
        }
        path.push(next);
    }
}
