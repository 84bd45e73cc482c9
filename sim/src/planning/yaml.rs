//! YAML text to a tree of nodes that know their line. What a scenario needs of YAML: mappings, lists and plain values; no anchors, no tags.

use saphyr_parser::{Event, Parser};

use super::error::ScenarioError;

/// The most bytes of a scenario.
const BYTES_MAX: usize = 1 << 20;
/// How deep mappings and lists may be nested.
const DEPTH_MAX: usize = 16;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Empty if nothing is written there.
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// What kind of thing it is, for errors.
    pub(super) fn describe(&self) -> String {
        match &self.value {
            Value::Text(text) if text.is_empty() => "nothing".to_owned(),
            Value::Text(text) => format!("{text:?}"),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }
}

/// A mapping or list that is still open, with the key that waits for its value.
struct Open {
    node: Node,
    key: Option<(String, usize)>,
}

/// Reads the one document of a text.
pub(super) fn read(text: &str) -> Result<Node, ScenarioError> {
    if text.len() > BYTES_MAX {
        return Err(ScenarioError::at(1, format!("expected at most {BYTES_MAX} bytes, got {}", text.len())));
    }
    let (mut open, mut root): (Vec<Open>, Option<Node>) = (Vec::new(), None);
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) =
            event.map_err(|error| ScenarioError::at(error.marker().line().max(1), error.info().to_owned()))?;
        let line = span.start.line().max(1);
        let done = match event {
            Event::Scalar(text, _, 0, None) => Some(Node { line, value: Value::Text(scalar(&text)) }),
            Event::SequenceStart(0, None) => {
                open.push(Open { node: Node { line, value: Value::List(Vec::new()) }, key: None });
                None
            }
            Event::MappingStart(0, None) => {
                open.push(Open { node: Node { line, value: Value::Map(Vec::new()) }, key: None });
                None
            }
            Event::SequenceEnd | Event::MappingEnd => open.pop().map(|open| open.node),
            Event::Scalar(..) | Event::SequenceStart(..) | Event::MappingStart(..) | Event::Alias(_) => {
                return Err(ScenarioError::at(line, "expected plain YAML, got an anchor, an alias or a tag"));
            }
            Event::DocumentStart(_) if root.is_some() => {
                return Err(ScenarioError::at(line, "expected one document, got a second one"));
            }
            _ => None,
        };
        if open.len() > DEPTH_MAX {
            return Err(ScenarioError::at(line, format!("expected at most {DEPTH_MAX} levels of nesting")));
        }
        if let Some(node) = done {
            match open.last_mut() {
                Some(parent) => parent.take(node)?,
                None => root = Some(node),
            }
        }
    }
    root.ok_or_else(|| ScenarioError::at(1, "expected a scenario, got an empty file"))
}

fn scalar(text: &str) -> String {
    match text {
        "~" | "null" => String::new(),
        text => text.to_owned(),
    }
}

impl Open {
    fn take(&mut self, node: Node) -> Result<(), ScenarioError> {
        match (&mut self.node.value, self.key.take()) {
            (Value::List(items), _) => items.push(node),
            (Value::Map(entries), Some((key, line))) => {
                if entries.iter().any(|(other, _)| *other == key) {
                    return Err(ScenarioError::at(line, format!("{key}: expected once, got twice")));
                }
                entries.push((key, node));
            }
            (Value::Map(_), None) => match node.value {
                Value::Text(key) => self.key = Some((key, node.line)),
                _ => return Err(ScenarioError::at(node.line, "expected a word as the key, got a list or mapping")),
            },
            (Value::Text(_), _) => unreachable!("only lists and mappings are opened"),
        }
        Ok(())
    }
}
