//! From the file to the pipeline of one run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::artifacts::ArtifactPaths;
use super::error::{At, Found, Problem};
use super::file::{PipelineFile, names};
use super::job::{ArtifactsText, Definition, ResourcesText};
use super::limits::ENVIRONMENT_BYTES_MAX;
use super::model::{AllowFailure, Artifacts, Context, Fetch, Job, Need, Order, Pipeline, Resources, When};
use super::node::Located;
use super::parallel::{Instance, node_variables};
use super::rules::{JobWhen, Rule};
use super::variables::{self, Layer, Variables, literal, literal_value};

type CheckDevice<'a> = &'a dyn Fn(&str) -> Result<(), String>;

pub(crate) fn expand(file: &PipelineFile, context: &Context, check_device: CheckDevice<'_>) -> Result<Pipeline, Found> {
    let planner =
        Planner { file, predefined: literal(&context.predefined), given: literal(&context.given), check_device };
    let mut jobs = Vec::new();
    let mut origins = Vec::new();
    for (index, definition) in file.jobs.iter().enumerate() {
        for instance in &definition.instances {
            if let Some(job) = planner.job(definition, instance)? {
                jobs.push(job);
                origins.push(index);
            }
        }
    }
    if jobs.is_empty() {
        return Err(Found::new(At::START, Problem::AllExcluded(file.jobs.len())));
    }
    connect(file, &mut jobs, &origins)?;
    Ok(Pipeline { stages: file.stages.clone(), jobs })
}

struct Planner<'a> {
    file: &'a PipelineFile,
    predefined: Layer,
    given: Layer,
    check_device: CheckDevice<'a>,
}

impl Planner<'_> {
    /// The job of one instance, its `needs` still empty; `None` if the rules leave it out.
    fn job(&self, definition: &Definition, instance: &Instance) -> Result<Option<Job>, Found> {
        let unruled = self.variables(definition, instance, None)?;
        let rule = match &definition.rules {
            None => None,
            Some(rules) => match first_that_holds(rules, &unruled)? {
                None => return Ok(None),
                some => some,
            },
        };
        let Some(when) = when(definition, rule) else { return Ok(None) };
        let variables = match rule {
            Some(rule) if !rule.variables.is_empty() => self.variables(definition, instance, Some(rule))?,
            _ => unruled,
        };
        check_environment(definition, &variables)?;
        Ok(Some(Job {
            name: instance.name.clone(),
            stage: definition.stage,
            needs: Vec::new(),
            order: if definition.needs.is_some() { Order::Needs } else { Order::Stages },
            when,
            script: Arc::clone(&definition.script),
            artifacts: self.artifacts(definition, &variables)?,
            retry: definition.retry.clone(),
            allow_failure: allow_failure(definition, rule, when),
            timeout_s: definition.timeout_s,
            resources: self.resources(definition, &definition.resources, &variables)?,
            variables,
        }))
    }

    fn variables(&self, definition: &Definition, instance: &Instance, rule: Option<&Rule>) -> Result<Variables, Found> {
        let mut of_job = node_variables(instance, definition.instances.len());
        let stage = &self.file.stages[definition.stage];
        for (name, value) in [("CI", "true"), ("CI_JOB_NAME", &instance.name), ("CI_JOB_STAGE", stage)] {
            of_job.insert(name.to_owned(), literal_value(value));
        }
        let none = Layer::new();
        variables::resolve(&[
            &self.predefined,
            &of_job,
            &self.file.variables,
            &definition.variables,
            &instance.variables,
            rule.map_or(&none, |rule| &rule.variables),
            &self.given,
        ])
    }

    fn artifacts(&self, job: &Definition, variables: &Variables) -> Result<Option<Artifacts>, Found> {
        let Some(text) = &job.artifacts else { return Ok(None) };
        let name = match &text.name {
            Some(name) => expanded(name, "the artefacts' name", variables)?,
            None => String::new(),
        };
        let paths = artifact_paths(job, text, variables)?;
        Ok(Some(Artifacts { name, paths, when: text.when, expire_in: text.expire_in }))
    }

    fn resources(&self, job: &Definition, text: &ResourcesText, variables: &Variables) -> Result<Resources, Found> {
        let mut resources = text.amounts.clone();
        for selector in &text.devices {
            let device = expanded(selector, "the device selector", variables)?;
            if let Err(reason) = (self.check_device)(&device) {
                let job = job.name.clone();
                return Err(Found::new(selector.at, Problem::Device { job, device, reason }));
            }
            resources.devices.push(device);
        }
        Ok(resources)
    }
}

fn first_that_holds<'a>(rules: &'a [Rule], variables: &Variables) -> Result<Option<&'a Rule>, Found> {
    for rule in rules {
        if rule.holds(variables)? {
            return Ok(Some(rule));
        }
    }
    Ok(None)
}

/// A rule's `when` wins over the job's; `None` leaves the job out.
fn when(definition: &Definition, rule: Option<&Rule>) -> Option<When> {
    match rule.and_then(|rule| rule.when).unwrap_or(definition.when) {
        JobWhen::OnSuccess => Some(When::OnSuccess),
        JobWhen::OnFailure => Some(When::OnFailure),
        JobWhen::Always => Some(When::Always),
        JobWhen::Manual => Some(When::Manual),
        JobWhen::Never => None,
    }
}

/// As in GitLab, a job that says `when: manual` itself may fail unless it says otherwise; one that a rule makes manual may not.
fn allow_failure(definition: &Definition, rule: Option<&Rule>, when: When) -> AllowFailure {
    match rule.and_then(|rule| rule.allow_failure) {
        Some(true) => return AllowFailure::Yes,
        Some(false) => return AllowFailure::No,
        None => {}
    }
    match &definition.allow_failure {
        Some(own) => own.clone(),
        None if rule.is_none() && when == When::Manual => AllowFailure::Yes,
        None => AllowFailure::No,
    }
}

fn check_environment(definition: &Definition, variables: &Variables) -> Result<(), Found> {
    let found: usize = variables.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    if found > ENVIRONMENT_BYTES_MAX {
        let job = definition.name.clone();
        return Err(Found::new(definition.at, Problem::EnvironmentTooLarge { job, found }));
    }
    Ok(())
}

fn expanded(text: &Located<String>, what: &str, variables: &Variables) -> Result<String, Found> {
    variables::expand(text.at, what, &text.value, variables)
}

/// Compiles the paths one by one first, so that a bad one is reported at its own place.
fn artifact_paths(job: &Definition, text: &ArtifactsText, variables: &Variables) -> Result<ArtifactPaths, Found> {
    let bad = |at: At, e: super::artifacts::BadPattern| {
        let (path, reason) = (super::node::shorten(&e.pattern), e.reason);
        Found::new(at, Problem::ArtifactPath { job: job.name.clone(), path, reason })
    };
    let mut patterns = Vec::with_capacity(text.paths.len());
    for path in &text.paths {
        let pattern = expanded(path, "the artefact path", variables)?;
        ArtifactPaths::new(std::slice::from_ref(&pattern)).map_err(|e| bad(path.at, e))?;
        patterns.push(pattern);
    }
    ArtifactPaths::new(&patterns).map_err(|e| bad(text.paths[0].at, e))
}

/// Fills in `needs`; `origins` says of which job of the file each job is an instance.
fn connect(file: &PipelineFile, jobs: &mut [Job], origins: &[usize]) -> Result<(), Found> {
    let names = names(&file.jobs)?;
    let targets = Targets {
        by_name: jobs.iter().enumerate().map(|(i, job)| (job.name.clone(), i)).collect(),
        by_origin: origins.iter().enumerate().fold(BTreeMap::new(), |mut map, (job, origin)| {
            map.entry(*origin).or_insert_with(Vec::new).push(job);
            map
        }),
        stages: jobs.iter().map(|job| job.stage).collect(),
        names,
    };
    for (job, origin) in jobs.iter_mut().zip(origins) {
        let definition = &file.jobs[*origin];
        job.needs = targets.needs(file, definition)?;
        if let Some(dependencies) = &definition.dependencies {
            let kept: BTreeSet<usize> = dependencies.iter().flat_map(|name| targets.of(file, &name.value)).collect();
            for need in job.needs.iter_mut().filter(|need| !kept.contains(&need.job)) {
                need.artifacts = Fetch::Nothing;
            }
        }
    }
    Ok(())
}

/// Where a name in `needs` leads.
struct Targets<'a> {
    names: BTreeMap<&'a str, usize>,
    by_name: BTreeMap<String, usize>,
    by_origin: BTreeMap<usize, Vec<usize>>,
    stages: Vec<usize>,
}

impl Targets<'_> {
    /// The jobs that a name means: all instances of a job of the file, or the one instance; none if the rules exclude them.
    fn of(&self, file: &PipelineFile, name: &str) -> Vec<usize> {
        let origin = self.names[name];
        if file.jobs[origin].name == name {
            return self.by_origin.get(&origin).cloned().unwrap_or_default();
        }
        self.by_name.get(name).copied().into_iter().collect()
    }

    fn needs(&self, file: &PipelineFile, definition: &Definition) -> Result<Vec<Need>, Found> {
        let Some(names) = &definition.needs else {
            let earlier = |job: &usize| self.stages[*job] < definition.stage;
            let need = |job| Need { job, artifacts: Fetch::Artifacts };
            return Ok((0..self.stages.len()).filter(earlier).map(need).collect());
        };
        let mut needs: BTreeMap<usize, Fetch> = BTreeMap::new();
        for name in names {
            let targets = self.of(file, &name.value.job);
            if targets.is_empty() && !name.value.optional {
                let (job, need) = (definition.name.clone(), name.value.job.clone());
                return Err(Found::new(name.at, Problem::NeedExcluded { job, need }));
            }
            let fetch = if name.value.artifacts { Fetch::Artifacts } else { Fetch::Nothing };
            for job in targets {
                // A job named twice, alone and with its siblings, gives its artefacts if either says so.
                needs.entry(job).and_modify(|old| *old = (*old).min(fetch)).or_insert(fetch);
            }
        }
        Ok(needs.into_iter().map(|(job, artifacts)| Need { job, artifacts }).collect())
    }
}
