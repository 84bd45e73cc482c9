//! `rules`: whether a job is in the pipeline, when it starts, and with which variables. The first rule that holds decides; a job
//! with rules none of which holds is left out.

use super::condition::{Condition, Refused};
use super::error::{At, Found, Problem};
use super::keywords::JOB_WHEN;
use super::limits::RULES_MAX;
use super::node::{Node, Value};
use super::variables::{self, Layer, Variables};

/// `when` as written; unlike [`super::When`] it can also leave the job out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JobWhen {
    OnSuccess,
    OnFailure,
    Always,
    Manual,
    Never,
}

/// One rule.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rule {
    condition: Option<(At, Condition)>,
    pub(crate) when: Option<JobWhen>,
    pub(crate) allow_failure: Option<bool>,
    pub(crate) variables: Layer,
}

impl Rule {
    /// Whether it applies; a rule without `if` always does.
    pub(crate) fn holds(&self, variables: &Variables) -> Result<bool, Found> {
        let Some((at, condition)) = &self.condition else { return Ok(true) };
        condition.holds(variables).map_err(|refused| at_condition(*at, &condition.text, refused))
    }
}

/// Reads the list of rules; lists in it, as anchors make them, are flattened.
pub(crate) fn read(node: &Node, place: &str) -> Result<Vec<Rule>, Found> {
    let what = format!("`rules` of {place}");
    node.list(&what)?;
    let mut rules = Vec::new();
    collect(node, &what, &mut rules)?;
    if rules.is_empty() {
        return Err(Found::new(node.at, Problem::Empty(what)));
    }
    Ok(rules)
}

fn collect(node: &Node, what: &str, rules: &mut Vec<Rule>) -> Result<(), Found> {
    let Value::List(items) = &node.value else {
        rules.push(rule(node, what)?);
        if rules.len() > RULES_MAX {
            let (what, found) = (what.to_owned(), rules.len());
            return Err(Found::new(node.at, Problem::TooMany { what, found, max: RULES_MAX }));
        }
        return Ok(());
    };
    items.iter().try_for_each(|item| collect(item, what, rules))
}

fn rule(node: &Node, what: &str) -> Result<Rule, Found> {
    let what = format!("a rule in {what}");
    let map = node.map(&what)?;
    map.only(
        &what,
        &["if", "when", "allow_failure", "variables"],
        &[("changes", ""), ("exists", ""), ("needs", ""), ("interruptible", ""), ("start_in", "")],
    )?;
    let mut rule = Rule::default();
    if let Some(node) = map.get("if") {
        rule.condition = Some(condition(node, &format!("`if` of {what}"))?);
    }
    if let Some(node) = map.get("when") {
        rule.when = Some(node.word(&format!("`when` of {what}"), JOB_WHEN)?);
    }
    if let Some(node) = map.get("allow_failure") {
        rule.allow_failure = Some(node.boolean(&format!("`allow_failure` of {what}"))?);
    }
    if let Some(node) = map.get("variables") {
        rule.variables = variables::read(node, &format!("`variables` of {what}"))?;
    }
    Ok(rule)
}

fn condition(node: &Node, what: &str) -> Result<(At, Condition), Found> {
    let text = node.text(what)?;
    let condition = Condition::parse(text).map_err(|refused| at_condition(node.at, text, refused))?;
    Ok((node.at, condition))
}

fn at_condition(at: At, text: &str, refused: Refused) -> Found {
    let column = text[..refused.offset].chars().count() + 1;
    let condition = super::node::shorten(text);
    Found::new(at, Problem::Condition { condition, column, reason: refused.reason })
}
