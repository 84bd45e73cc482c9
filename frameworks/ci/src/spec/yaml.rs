//! YAML text to a tree of nodes that know their place in the file.
//!
//! The tree is built from the events of `saphyr-parser` rather than through serde, for three reasons: a variable `1.10` keeps its
//! text instead of becoming the number 1.1, an unknown or duplicate *key* is reported at the key itself, and anchors, merge keys and
//! nesting are bounded here, where their cost arises.

use std::collections::BTreeMap;
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::error::{At, Found, Problem};
use super::limits::{DEPTH_MAX, EXPANDED_BYTES_MAX, FILE_BYTES_MAX, NODE_BYTES};
use super::node::{Key, Map, Node, Value};

/// Reads one document; an empty one is a null node.
pub(crate) fn read(text: &str) -> Result<Node, Found> {
    if text.len() > FILE_BYTES_MAX {
        return Err(Found::new(At::START, Problem::FileTooLarge(text.len())));
    }
    let end = end_of(text)?;
    let mut parser = Parser::new_from_str(text);
    let mut builder = Builder::default();
    // The parser places a missing value or bracket on a line behind the last one, which no editor can show; hence the `min`.
    while let Some(event) = parser.next_event() {
        let (event, span) =
            event.map_err(|e| Found::new(place(e.marker()).min(end), Problem::Syntax(e.info().to_owned())))?;
        builder.take(event, place(&span.start).min(end))?;
    }
    Ok(builder.root.unwrap_or(Node { at: At::START, value: Value::Null }))
}

/// How much may still be added to a tree by copying parts of it.
pub(crate) struct Budget(usize);

impl Budget {
    pub(crate) fn new() -> Self {
        Self(EXPANDED_BYTES_MAX)
    }

    pub(crate) fn spend(&mut self, at: At, bytes: usize) -> Result<(), Found> {
        let Some(left) = self.0.checked_sub(bytes) else {
            return Err(Found::new(at, Problem::ExpandsTooMuch));
        };
        self.0 = left;
        Ok(())
    }
}

/// Where the text ends. The parser takes a NUL for the end, and no other control character belongs into a script or a name.
fn end_of(text: &str) -> Result<At, Found> {
    let mut at = At::START;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let line_ends = c == '\n' || (c == '\r' && chars.peek() != Some(&'\n'));
        if c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{85}') {
            return Err(Found::new(at, Problem::ControlCharacter(u32::from(c))));
        }
        at = match line_ends {
            true => At { line: at.line + 1, column: 1 },
            false => At { column: at.column + 1, ..at },
        };
    }
    Ok(at)
}

fn place(marker: &Marker) -> At {
    At { line: marker.line().max(1), column: marker.col() + 1 }
}

/// A list or mapping that is still open.
struct Frame {
    at: At,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<(Key, Node)>, key: Option<Key> },
}

struct Anchored {
    node: Node,
    bytes: usize,
    depth: usize,
}

struct Builder {
    root: Option<Node>,
    open: Vec<Frame>,
    anchors: BTreeMap<usize, Anchored>,
    budget: Budget,
    documents: usize,
}

impl Default for Builder {
    fn default() -> Self {
        Self { root: None, open: Vec::new(), anchors: BTreeMap::new(), budget: Budget::new(), documents: 0 }
    }
}

impl Builder {
    fn take(&mut self, event: Event<'_>, at: At) -> Result<(), Found> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => self.document(at),
            Event::Alias(anchor) => self.alias(at, anchor),
            Event::Scalar(text, style, anchor, tag) => self.scalar(at, &text, style, anchor, tag.as_deref()),
            Event::SequenceStart(anchor, tag) => self.open(at, anchor, tag.as_deref(), Content::List(Vec::new())),
            Event::MappingStart(anchor, tag) => {
                self.open(at, anchor, tag.as_deref(), Content::Map { entries: Vec::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
        }
    }

    fn document(&mut self, at: At) -> Result<(), Found> {
        self.documents += 1;
        if self.documents > 1 {
            return Err(Found::new(at, Problem::SecondDocument));
        }
        Ok(())
    }

    fn open(&mut self, at: At, anchor: usize, tag: Option<&Tag>, content: Content) -> Result<(), Found> {
        if let Some(tag) = tag {
            return Err(Found::new(at, Problem::Tag(tag.to_string())));
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(Found::new(at, Problem::TooDeep));
        }
        self.budget.spend(at, NODE_BYTES)?;
        self.open.push(Frame { at, anchor, content });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Found> {
        let frame = self.open.pop().expect("the parser closes only what it opened");
        let value = match frame.content {
            Content::List(items) => Value::List(items),
            Content::Map { entries, .. } => Value::Map(mapping(entries)?),
        };
        self.finish(Node { at: frame.at, value }, frame.anchor)
    }

    fn scalar(
        &mut self,
        at: At,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
    ) -> Result<(), Found> {
        let string = match tag {
            None => false,
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => true,
            Some(tag) => return Err(Found::new(at, Problem::Tag(tag.to_string()))),
        };
        self.budget.spend(at, NODE_BYTES + text.len())?;
        let plain = style == ScalarStyle::Plain && !string;
        let value = match text {
            "" | "~" | "null" | "Null" | "NULL" if plain => Value::Null,
            _ => Value::Scalar { text: Arc::from(text), plain },
        };
        self.finish(Node { at, value }, anchor)
    }

    fn alias(&mut self, at: At, anchor: usize) -> Result<(), Found> {
        let Some(anchored) = self.anchors.get(&anchor) else {
            // The parser knows the name already, yet the node that carries it is still open.
            let reason = "an alias inside the node that it refers to".to_owned();
            return Err(Found::new(at, Problem::Syntax(reason)));
        };
        if self.open.len() + anchored.depth > DEPTH_MAX {
            return Err(Found::new(at, Problem::TooDeep));
        }
        self.budget.spend(at, anchored.bytes)?;
        let node = anchored.node.clone();
        self.push(node)
    }

    fn finish(&mut self, node: Node, anchor: usize) -> Result<(), Found> {
        if anchor != 0 {
            let (bytes, depth) = (node.bytes(), node.depth());
            self.budget.spend(node.at, bytes)?;
            self.anchors.insert(anchor, Anchored { node: node.clone(), bytes, depth });
        }
        self.push(node)
    }

    fn push(&mut self, node: Node) -> Result<(), Found> {
        let Some(frame) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut frame.content {
            Content::List(items) => items.push(node),
            Content::Map { entries, key } => match key.take() {
                Some(key) => entries.push((key, node)),
                None => *key = Some(as_key(node)?),
            },
        }
        Ok(())
    }
}

fn as_key(node: Node) -> Result<Key, Found> {
    match node.value {
        Value::Scalar { text, plain } => Ok(Key { at: node.at, merge: plain && &*text == "<<", name: text }),
        _ => Err(Found::new(node.at, Problem::KeyNotScalar(node.describe()))),
    }
}

/// Refuses duplicate keys and pulls in what `<<` names; a key that is written out wins over a merged one.
fn mapping(entries: Vec<(Key, Node)>) -> Result<Map, Found> {
    let mut map = Map::default();
    let mut merges = Vec::new();
    let mut seen: BTreeMap<Arc<str>, At> = BTreeMap::new();
    for (key, node) in entries {
        if let Some(first) = seen.insert(Arc::clone(&key.name), key.at) {
            let problem = Problem::DuplicateKey { key: key.name.to_string(), first };
            return Err(Found::new(key.at, problem));
        }
        if key.merge {
            merges.push(node);
        } else {
            map.entries.push((key, node));
        }
    }
    for node in merges {
        merge(&mut map, node)?;
    }
    Ok(map)
}

fn merge(map: &mut Map, node: Node) -> Result<(), Found> {
    let sources = match node.value {
        Value::Map(_) => vec![node],
        Value::List(items) => items,
        _ => return Err(Found::new(node.at, Problem::MergeNotMap(node.describe()))),
    };
    let mut known: std::collections::BTreeSet<Arc<str>> =
        map.entries.iter().map(|(key, _)| Arc::clone(&key.name)).collect();
    for source in sources {
        let Value::Map(source_map) = source.value else {
            return Err(Found::new(source.at, Problem::MergeNotMap(source.describe())));
        };
        for (key, node) in source_map.entries {
            if known.insert(Arc::clone(&key.name)) {
                map.entries.push((key, node));
            }
        }
    }
    Ok(())
}
