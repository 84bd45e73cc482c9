//! `extends` and hidden jobs: each job's mapping with what it inherits merged in.
//!
//! Mappings merge key by key, the extending job winning; everything else, lists too, is replaced as a whole. Of several bases the
//! later wins.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::{At, Found, Problem};
use super::limits::{EXTENDS_DEPTH_MAX, EXTENDS_MAX};
use super::node::{Map, Node, Value, nearest, shorten};
use super::yaml::Budget;

/// Resolves the jobs of one file; results are remembered, so that a base shared by many is merged once.
pub(crate) struct Extender<'a> {
    jobs: &'a BTreeMap<&'a str, &'a Node>,
    done: BTreeMap<&'a str, Arc<Map>>,
    path: Vec<&'a str>,
    budget: Budget,
}

impl<'a> Extender<'a> {
    pub(crate) fn new(jobs: &'a BTreeMap<&'a str, &'a Node>) -> Self {
        Self { jobs, done: BTreeMap::new(), path: Vec::new(), budget: Budget::new() }
    }

    /// The whole mapping of a job, without its `extends`.
    pub(crate) fn job(&mut self, name: &'a str, node: &'a Node) -> Result<Arc<Map>, Found> {
        if let Some(done) = self.done.get(name) {
            return Ok(Arc::clone(done));
        }
        let own = node.map(&format!("job `{}`", shorten(name)))?;
        self.path.push(name);
        let mut merged = Map::default();
        for (at, base) in bases(name, own)? {
            let base = self.base(name, at, base)?;
            merge(&mut merged, &base);
        }
        self.path.pop();
        merge(&mut merged, own);
        merged.entries.retain(|(key, _)| &*key.name != "extends");
        let merged = Arc::new(merged);
        self.budget.spend(node.at, merged.entries.iter().map(|(_, node)| node.bytes()).sum())?;
        self.done.insert(name, Arc::clone(&merged));
        Ok(merged)
    }

    fn base(&mut self, job: &str, at: At, base: &str) -> Result<Arc<Map>, Found> {
        let jobs = self.jobs;
        let Some((base, node)) = jobs.get_key_value(base) else {
            let hint = nearest(base, jobs.keys().copied());
            let (job, base) = (job.to_owned(), shorten(base));
            return Err(Found::new(at, Problem::UnknownBase { job, base, hint }));
        };
        if let Some(start) = self.path.iter().position(|seen| seen == base) {
            let mut circle = self.path[start..].to_vec();
            circle.push(base);
            return Err(Found::new(at, Problem::ExtendsCycle(circle.join(" → "))));
        }
        if self.path.len() > EXTENDS_DEPTH_MAX {
            return Err(Found::new(at, Problem::ExtendsTooDeep(self.path[0].to_owned())));
        }
        self.job(base, node)
    }
}

/// The names in a job's `extends`, with their places.
fn bases<'a>(job: &str, own: &'a Map) -> Result<Vec<(At, &'a str)>, Found> {
    let Some(node) = own.get("extends") else { return Ok(Vec::new()) };
    let what = format!("`extends` of job `{}`", shorten(job));
    let items = node.one_or_many(&what)?;
    if items.len() > EXTENDS_MAX {
        let problem = Problem::TooMany { what, found: items.len(), max: EXTENDS_MAX };
        return Err(Found::new(node.at, problem));
    }
    items.iter().map(|item| Ok((item.at, item.text(&what)?))).collect()
}

fn merge(into: &mut Map, from: &Map) {
    let index: BTreeMap<Arc<str>, usize> =
        into.entries.iter().enumerate().map(|(i, (key, _))| (Arc::clone(&key.name), i)).collect();
    for (key, node) in &from.entries {
        let Some(&i) = index.get(&key.name) else {
            into.entries.push((key.clone(), node.clone()));
            continue;
        };
        let (old_key, old) = &mut into.entries[i];
        match (&mut old.value, &node.value) {
            (Value::Map(old), Value::Map(new)) => merge(old, new),
            _ => {
                *old = node.clone();
                *old_key = key.clone();
            }
        }
    }
}
