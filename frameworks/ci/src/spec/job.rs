//! One job's mapping to its definition.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::error::{At, Found, Problem};
use super::keywords::{FAILURES, JOB, JOB_UNSUPPORTED, JOB_WHEN, KEEP_WHEN};
use super::limits::{ARTIFACT_PATHS_MAX, DEVICES_MAX, EXPIRE_MAX_S, RETRY_MAX, TIMEOUT_MAX_S};
use super::limits::{CPUS_MILLI_MAX, JOBS_MAX, MIB_MAX};
use super::model::{AllowFailure, ExpireIn, Failure, KeepWhen, Resources, Retry};
use super::node::{Located, Map, Node, Value};
use super::parallel::{self, Instance};
use super::rules::{self, JobWhen, Rule};
use super::script::Script;
use super::text;
use super::variables::{self, Layer};

/// A job of the file, before its rules are evaluated.
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    pub(crate) name: String,
    pub(crate) at: At,
    pub(crate) stage: usize,
    pub(crate) script: Arc<Script>,
    pub(crate) variables: Layer,
    pub(crate) instances: Vec<Instance>,
    pub(crate) needs: Option<Vec<Located<NeedName>>>,
    pub(crate) dependencies: Option<Vec<Located<String>>>,
    pub(crate) artifacts: Option<ArtifactsText>,
    pub(crate) rules: Option<Vec<Rule>>,
    pub(crate) when: JobWhen,
    pub(crate) allow_failure: Option<AllowFailure>,
    pub(crate) retry: Retry,
    pub(crate) timeout_s: u64,
    pub(crate) resources: ResourcesText,
}

/// An entry of `needs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NeedName {
    pub(crate) job: String,
    pub(crate) artifacts: bool,
    pub(crate) optional: bool,
}

/// `artifacts` with variables not yet expanded.
#[derive(Clone, Debug)]
pub(crate) struct ArtifactsText {
    pub(crate) name: Option<Located<String>>,
    pub(crate) paths: Vec<Located<String>>,
    pub(crate) when: KeepWhen,
    pub(crate) expire_in: ExpireIn,
}

/// `resources` with the variables in device selectors not yet expanded.
#[derive(Clone, Debug, Default)]
pub(crate) struct ResourcesText {
    pub(crate) amounts: Resources,
    pub(crate) devices: Vec<Located<String>>,
}

/// What a job takes when it does not say otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Defaults {
    pub(crate) before_script: Vec<String>,
    pub(crate) retry: Retry,
    pub(crate) timeout_s: u64,
    pub(crate) artifacts: Option<ArtifactsText>,
    pub(crate) resources: ResourcesText,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            before_script: Vec::new(),
            retry: Retry::default(),
            timeout_s: 3_600,
            artifacts: None,
            resources: ResourcesText::default(),
        }
    }
}

impl Defaults {
    /// Reads those of the keywords that a mapping has; both `default` and a job go through here.
    pub(crate) fn overlaid(&self, map: &Map, place: &str) -> Result<Self, Found> {
        let mut own = self.clone();
        if let Some(node) = map.get("before_script") {
            own.before_script = commands(node, &format!("`before_script` of {place}"))?;
        }
        if let Some(node) = map.get("retry") {
            own.retry = retry(node, place)?;
        }
        if let Some(node) = map.get("timeout") {
            own.timeout_s = timeout_s(node, place)?;
        }
        if let Some(node) = map.get("artifacts") {
            own.artifacts = Some(artifacts(node, place)?);
        }
        if let Some(node) = map.get("resources") {
            own.resources = resources(node, place)?;
        }
        Ok(own)
    }
}

impl Definition {
    /// Reads a job with everything that it extends already merged in.
    pub(crate) fn read(name: &str, at: At, map: &Map, stages: &[String], defaults: &Defaults) -> Result<Self, Found> {
        let place = format!("job `{name}`");
        map.only(&place, JOB, JOB_UNSUPPORTED)?;
        let own = defaults.overlaid(map, &place)?;
        let Some(script) = map.get("script") else {
            return Err(Found::new(at, Problem::NoScript(name.to_owned())));
        };
        let main = script_commands(script, &place)?;
        let read = |key: &str| map.get(key);
        Ok(Self {
            name: name.to_owned(),
            at,
            stage: stage(name, at, map, stages)?,
            script: Arc::new(Script { before: own.before_script, main }),
            variables: match read("variables") {
                Some(node) => variables::read(node, &format!("`variables` of {place}"))?,
                None => Layer::new(),
            },
            instances: match read("parallel") {
                Some(node) => parallel::instances(name, node)?,
                None => parallel::single(name),
            },
            needs: read("needs").map(|node| needs(name, node)).transpose()?,
            dependencies: read("dependencies").map(|node| dependencies(name, node)).transpose()?,
            artifacts: own.artifacts,
            rules: read("rules").map(|node| rules::read(node, &place)).transpose()?,
            when: match read("when") {
                Some(node) => node.word(&format!("`when` of {place}"), JOB_WHEN)?,
                None => JobWhen::OnSuccess,
            },
            allow_failure: read("allow_failure").map(|n| allow_failure(n, &place)).transpose()?,
            retry: own.retry,
            timeout_s: own.timeout_s,
            resources: own.resources,
        })
    }
}

fn stage(job: &str, at: At, map: &Map, stages: &[String]) -> Result<usize, Found> {
    let (at, stage) = match map.get("stage") {
        Some(node) => (node.at, node.text(&format!("`stage` of job `{job}`"))?),
        None => (at, "test"),
    };
    stages.iter().position(|known| known == stage).ok_or_else(|| {
        let (job, stage) = (job.to_owned(), super::node::shorten(stage));
        Found::new(at, Problem::UnknownStage { job, stage, stages: stages.join(", ") })
    })
}

fn script_commands(node: &Node, place: &str) -> Result<Vec<String>, Found> {
    let what = format!("`script` of {place}");
    let commands = commands(node, &what)?;
    if commands.is_empty() {
        return Err(Found::new(node.at, Problem::Empty(what)));
    }
    Ok(commands)
}

/// A command or a list of them; lists in the list, as anchors make them, are flattened.
fn commands(node: &Node, what: &str) -> Result<Vec<String>, Found> {
    let mut commands = Vec::new();
    collect_commands(node, what, &mut commands)?;
    Ok(commands)
}

fn collect_commands(node: &Node, what: &str, commands: &mut Vec<String>) -> Result<(), Found> {
    match &node.value {
        Value::Scalar { text, .. } => commands.push(text.to_string()),
        Value::List(items) => {
            for item in items {
                collect_commands(item, what, commands)?;
            }
        }
        Value::Map(_) => return Err(Found::new(node.at, Problem::CommandIsMap(what.to_owned()))),
        Value::Null => return Err(node.expected(what, "a command or a list of commands")),
    }
    Ok(())
}

fn needs(job: &str, node: &Node) -> Result<Vec<Located<NeedName>>, Found> {
    let what = format!("`needs` of job `{job}`");
    let items = node.list(&what)?;
    check_count(node, &what, items.len(), JOBS_MAX)?;
    let needs = items.iter().map(|item| need(item, &what)).collect::<Result<Vec<_>, _>>()?;
    refuse_repeats(job, "needs", needs.iter().map(|need| (need.at, need.value.job.as_str())))?;
    Ok(needs)
}

fn need(node: &Node, what: &str) -> Result<Located<NeedName>, Found> {
    let mut need = NeedName { job: String::new(), artifacts: true, optional: false };
    match &node.value {
        Value::Scalar { text, .. } => need.job = text.to_string(),
        Value::Map(map) => {
            map.only(
                what,
                &["job", "artifacts", "optional"],
                &[
                    ("pipeline", ""),
                    ("project", ""),
                    ("ref", ""),
                    ("parallel", "; name the instance, as in `job: [a, b]`"),
                ],
            )?;
            let Some(job) = map.get("job") else {
                return Err(node.expected(what, "a job's name or a mapping with `job`"));
            };
            need.job = job.text(&format!("`job` in {what}"))?.to_owned();
            if let Some(node) = map.get("artifacts") {
                need.artifacts = node.boolean(&format!("`artifacts` in {what}"))?;
            }
            if let Some(node) = map.get("optional") {
                need.optional = node.boolean(&format!("`optional` in {what}"))?;
            }
        }
        _ => return Err(node.expected(what, "a job's name or a mapping with `job`")),
    }
    Ok(Located { at: node.at, value: need })
}

fn dependencies(job: &str, node: &Node) -> Result<Vec<Located<String>>, Found> {
    let what = format!("`dependencies` of job `{job}`");
    let names = node.list(&what)?.iter();
    let names = names.map(|n| Ok(Located { at: n.at, value: n.text(&what)?.to_owned() }));
    let names: Vec<Located<String>> = names.collect::<Result<_, Found>>()?;
    check_count(node, &what, names.len(), JOBS_MAX)?;
    refuse_repeats(job, "dependencies", names.iter().map(|name| (name.at, name.value.as_str())))?;
    Ok(names)
}

fn refuse_repeats<'a>(job: &str, key: &'static str, names: impl Iterator<Item = (At, &'a str)>) -> Result<(), Found> {
    let mut seen = BTreeSet::new();
    for (at, name) in names {
        if !seen.insert(name) {
            let (job, need) = (job.to_owned(), name.to_owned());
            return Err(Found::new(at, Problem::DuplicateNeed { job, key, need }));
        }
    }
    Ok(())
}

fn artifacts(node: &Node, place: &str) -> Result<ArtifactsText, Found> {
    let what = format!("`artifacts` of {place}");
    let map = node.map(&what)?;
    map.only(
        &what,
        &["paths", "when", "name", "expire_in"],
        &[
            ("reports", ""),
            ("exclude", ""),
            ("untracked", "; list the files in `paths`"),
            ("expose_as", ""),
            ("public", ""),
            ("access", ""),
        ],
    )?;
    let Some(paths) = map.get("paths") else {
        return Err(node.expected(&what, "a mapping with `paths`"));
    };
    let name = map.get("name").map(|n| located(n, &format!("`name` in {what}"))).transpose()?;
    Ok(ArtifactsText {
        name,
        paths: artifact_paths(paths, &format!("`paths` in {what}"))?,
        when: match map.get("when") {
            Some(node) => node.word(&format!("`when` in {what}"), KEEP_WHEN)?,
            None => KeepWhen::OnSuccess,
        },
        expire_in: match map.get("expire_in") {
            Some(node) => expire_in(node, &format!("`expire_in` in {what}"))?,
            None => ExpireIn::Default,
        },
    })
}

fn artifact_paths(node: &Node, what: &str) -> Result<Vec<Located<String>>, Found> {
    let items = node.list(what)?;
    if items.is_empty() {
        return Err(Found::new(node.at, Problem::Empty(what.to_owned())));
    }
    check_count(node, what, items.len(), ARTIFACT_PATHS_MAX)?;
    items.iter().map(|item| located(item, what)).collect()
}

fn located(node: &Node, what: &str) -> Result<Located<String>, Found> {
    Ok(Located { at: node.at, value: node.text(what)?.to_owned() })
}

fn expire_in(node: &Node, what: &str) -> Result<ExpireIn, Found> {
    let text = node.text(what)?;
    if text == "never" {
        return Ok(ExpireIn::Never);
    }
    let seconds = text::duration_s(text).filter(|s| (1..=EXPIRE_MAX_S).contains(s));
    seconds
        .map(ExpireIn::Seconds)
        .ok_or_else(|| node.expected(what, "`never` or a duration such as `1 week` (at most 100 years)"))
}

fn timeout_s(node: &Node, place: &str) -> Result<u64, Found> {
    let what = format!("`timeout` of {place}");
    let seconds = text::duration_s(node.text(&what)?);
    seconds
        .filter(|s| (1..=TIMEOUT_MAX_S).contains(s))
        .ok_or_else(|| node.expected(&what, "a duration from 1 second to 30 days, such as `1h 30m` or `90 minutes`"))
}

fn retry(node: &Node, place: &str) -> Result<Retry, Found> {
    let what = format!("`retry` of {place}");
    let Value::Map(map) = &node.value else {
        return Ok(Retry { max: node.integer(&what, 0..=RETRY_MAX)?, ..Retry::default() });
    };
    map.only(&what, &["max", "when", "exit_codes"], &[])?;
    let Some(max) = map.get("max") else {
        return Err(node.expected(&what, format!("a number from 0 to {RETRY_MAX} or a mapping with `max`")));
    };
    Ok(Retry {
        max: max.integer(&format!("`max` in {what}"), 0..=RETRY_MAX)?,
        when: match map.get("when") {
            Some(node) => failures(node, &format!("`when` in {what}"))?,
            None => BTreeSet::new(),
        },
        exit_codes: match map.get("exit_codes") {
            Some(node) => exit_codes(node, &format!("`exit_codes` in {what}"))?,
            None => BTreeSet::new(),
        },
    })
}

fn failures(node: &Node, what: &str) -> Result<BTreeSet<Failure>, Found> {
    node.one_or_many(what)?.iter().map(|item| item.word(what, FAILURES)).collect()
}

fn exit_codes(node: &Node, what: &str) -> Result<BTreeSet<i32>, Found> {
    let items = node.one_or_many(what)?;
    if items.is_empty() {
        return Err(Found::new(node.at, Problem::Empty(what.to_owned())));
    }
    items.iter().map(|item| item.integer(what, 0..=255).map(|code| i32::try_from(code).expect("at most 255"))).collect()
}

fn allow_failure(node: &Node, place: &str) -> Result<AllowFailure, Found> {
    let what = format!("`allow_failure` of {place}");
    let Value::Map(map) = &node.value else {
        let allowed = node.boolean(&what)?;
        return Ok(if allowed { AllowFailure::Yes } else { AllowFailure::No });
    };
    map.only(&what, &["exit_codes"], &[])?;
    match map.get("exit_codes") {
        Some(codes) => Ok(AllowFailure::ExitCodes(exit_codes(codes, &format!("`exit_codes` in {what}"))?)),
        None => Err(node.expected(&what, "true, false or a mapping with `exit_codes`")),
    }
}

fn resources(node: &Node, place: &str) -> Result<ResourcesText, Found> {
    let what = format!("`resources` of {place}");
    let map = node.map(&what)?;
    map.only(&what, &["cpus", "mem", "disk", "devices"], &[])?;
    let mut resources = ResourcesText::default();
    if let Some(node) = map.get("cpus") {
        resources.amounts.cpus_milli = cpus_milli(node, &format!("`cpus` in {what}"))?;
    }
    if let Some(node) = map.get("mem") {
        resources.amounts.mem_mib = mib(node, &format!("`mem` in {what}"), 1)?;
    }
    if let Some(node) = map.get("disk") {
        resources.amounts.disk_mib = mib(node, &format!("`disk` in {what}"), 0)?;
    }
    if let Some(node) = map.get("devices") {
        let what = format!("`devices` in {what}");
        let items = node.one_or_many(&what)?;
        check_count(node, &what, items.len(), DEVICES_MAX)?;
        resources.devices = items.iter().map(|n| located(n, &what)).collect::<Result<_, _>>()?;
    }
    Ok(resources)
}

fn cpus_milli(node: &Node, what: &str) -> Result<u64, Found> {
    let milli = text::thousandths(node.text(what)?);
    milli
        .filter(|n| (1..=CPUS_MILLI_MAX).contains(n))
        .ok_or_else(|| node.expected(what, "cores from 0.001 to 100000 with at most three decimals, such as 0.5"))
}

fn mib(node: &Node, what: &str, min: u64) -> Result<u64, Found> {
    let mib = text::mib(node.text(what)?);
    mib.filter(|n| (min..=MIB_MAX).contains(n)).ok_or_else(|| {
        let least = if min > 0 { "positive" } else { "not negative" };
        node.expected(what, format!("whole MiB, {least}, such as `512MiB` or `4GiB`"))
    })
}

fn check_count(node: &Node, what: &str, found: usize, max: usize) -> Result<(), Found> {
    if found > max {
        return Err(Found::new(node.at, Problem::TooMany { what: what.to_owned(), found, max }));
    }
    Ok(())
}
