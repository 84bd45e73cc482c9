//! The fields of a mapping, each taken once; what is left at the end is unknown.

use std::time::Duration;

use super::error::ScenarioError;
use super::units;
use super::yaml::{Node, Value};

/// The fields of one mapping that were not taken yet.
#[derive(Debug)]
pub(super) struct Fields {
    /// Where the mapping stands, for errors: `pools[2]`.
    path: String,
    line: usize,
    left: Vec<(String, Node)>,
    /// The names that were asked for.
    known: Vec<&'static str>,
}

/// One field, there or not.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) path: String,
    pub(super) line: usize,
    node: Option<Node>,
}

impl Fields {
    pub(super) fn of(node: Node, path: &str) -> Result<Self, ScenarioError> {
        let line = node.line;
        match node.value {
            Value::Map(left) => Ok(Self { path: path.to_owned(), line, left, known: Vec::new() }),
            _ => Err(ScenarioError::at(line, format!("{}: expected a mapping, got {}", named(path), node.describe()))),
        }
    }

    pub(super) fn take(&mut self, name: &'static str) -> Field {
        self.known.push(name);
        let found = self.left.iter().position(|(key, _)| key == name).map(|at| self.left.remove(at).1);
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Field { path, line: found.as_ref().map_or(self.line, |node| node.line), node: found }
    }

    /// That no field is there that nobody knows.
    pub(super) fn end(self) -> Result<(), ScenarioError> {
        let Some((key, node)) = self.left.into_iter().next() else { return Ok(()) };
        let known = self.known.join(", ");
        let path = if self.path.is_empty() { key } else { format!("{}.{key}", self.path) };
        Err(ScenarioError::at(node.line, format!("{path}: unknown field; expected one of {known}")))
    }

    pub(super) fn error(&self, what: impl AsRef<str>) -> ScenarioError {
        ScenarioError::at(self.line, format!("{}: {}", named(&self.path), what.as_ref()))
    }
}

impl Field {
    pub(super) const fn is_there(&self) -> bool {
        self.node.is_some()
    }

    pub(super) fn error(&self, what: impl AsRef<str>) -> ScenarioError {
        ScenarioError::at(self.line, format!("{}: {}", self.path, what.as_ref()))
    }

    fn expected(&self, what: &str) -> ScenarioError {
        let got = self.node.as_ref().map_or_else(|| "nothing".to_owned(), Node::describe);
        self.error(format!("expected {what}, got {got}"))
    }

    /// The text that must be there.
    pub(super) fn text(self, what: &str) -> Result<String, ScenarioError> {
        match &self.node {
            Some(Node { value: Value::Text(text), .. }) if !text.is_empty() => Ok(text.clone()),
            _ => Err(self.expected(what)),
        }
    }

    /// What `read` makes of the text, or `or` if there is none.
    pub(super) fn read_or<T>(self, what: &str, or: T, read: impl Fn(&str) -> Option<T>) -> Result<T, ScenarioError> {
        if self.is_there() { self.read(what, read) } else { Ok(or) }
    }

    /// What `read` makes of the text, which must be there.
    pub(super) fn read<T>(self, what: &str, read: impl Fn(&str) -> Option<T>) -> Result<T, ScenarioError> {
        match &self.node {
            Some(Node { value: Value::Text(text), .. }) => read(text).ok_or_else(|| self.expected(what)),
            _ => Err(self.expected(what)),
        }
    }

    pub(super) fn span(self) -> Result<Duration, ScenarioError> {
        self.read(units::SPAN, units::span)
    }

    pub(super) fn span_or(self, or: Duration) -> Result<Duration, ScenarioError> {
        self.read_or(units::SPAN, or, units::span)
    }

    pub(super) fn number_or(self, or: f64, least: f64, most: f64) -> Result<f64, ScenarioError> {
        let what = format!("a number from {least} to {most}");
        self.read_or(&what, or, |text| units::number(text).filter(|number| (least..=most).contains(number)))
    }

    pub(super) fn count_or(self, or: u64, least: u64, most: u64) -> Result<u64, ScenarioError> {
        let what = format!("a whole number from {least} to {most}");
        self.read_or(&what, or, |text| text.parse().ok().filter(|number| (least..=most).contains(number)))
    }

    /// The items of a list; none if nothing is there.
    pub(super) fn items(self) -> Result<Vec<(String, Node)>, ScenarioError> {
        match self.node {
            None => Ok(Vec::new()),
            Some(Node { value: Value::List(items), .. }) => {
                Ok(items.into_iter().enumerate().map(|(at, node)| (format!("{}[{at}]", self.path), node)).collect())
            }
            _ => Err(self.expected("a list")),
        }
    }

    /// Whether a plain value stands there rather than a mapping or a list.
    pub(super) const fn is_text(&self) -> bool {
        matches!(self.node, Some(Node { value: Value::Text(_), .. }))
    }

    /// The mapping that stands there; none if nothing is there.
    pub(super) fn fields(self) -> Result<Option<Fields>, ScenarioError> {
        let Some(node) = self.node else { return Ok(None) };
        Fields::of(node, &self.path).map(Some)
    }
}

const fn named(path: &str) -> &str {
    if path.is_empty() { "the scenario" } else { path }
}
