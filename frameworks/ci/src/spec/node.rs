//! The tree of the file, and the small readers that turn a node into a value or a clear error.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::error::{At, Found, Problem};
use super::limits::{NAME_CHARS_MAX, NODE_BYTES};

/// One value of the file with its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) at: At,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    /// Text as it stands in the file; `plain` means without quotes, so that `true` and `5` may be a boolean and a number.
    Scalar {
        text: Arc<str>,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Map),
}

/// A mapping in the order of the file, without duplicates.
#[derive(Clone, Debug, Default)]
pub(crate) struct Map {
    pub(crate) entries: Vec<(Key, Node)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) at: At,
    pub(crate) name: Arc<str>,
    /// An unquoted `<<`.
    pub(crate) merge: bool,
}

/// A value with its place, for problems that show only later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Located<T> {
    pub(crate) at: At,
    pub(crate) value: T,
}

impl Node {
    /// The error that this node is not what was expected.
    pub(crate) fn expected(&self, what: &str, expected: impl Into<String>) -> Found {
        let problem = Problem::Expected { what: what.to_owned(), expected: expected.into(), found: self.describe() };
        Found::new(self.at, problem)
    }

    pub(crate) fn describe(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Scalar { text, .. } => format!("`{}`", shorten(text)),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }

    pub(crate) fn text(&self, what: &str) -> Result<&str, Found> {
        match &self.value {
            Value::Scalar { text, .. } => Ok(text),
            _ => Err(self.expected(what, "a string")),
        }
    }

    /// A string that is a name: not empty, not long, on one line.
    pub(crate) fn name(&self, what: &str) -> Result<String, Found> {
        let name = self.text(what)?;
        check_name(self.at, what, name)?;
        Ok(name.to_owned())
    }

    pub(crate) fn boolean(&self, what: &str) -> Result<bool, Found> {
        match &self.value {
            Value::Scalar { text, plain: true } if &**text == "true" => Ok(true),
            Value::Scalar { text, plain: true } if &**text == "false" => Ok(false),
            _ => Err(self.expected(what, "true or false")),
        }
    }

    pub(crate) fn integer(&self, what: &str, range: RangeInclusive<u32>) -> Result<u32, Found> {
        let found = match &self.value {
            Value::Scalar { text, plain: true } => text.parse().ok(),
            _ => None,
        };
        found
            .filter(|n| range.contains(n))
            .ok_or_else(|| self.expected(what, format!("a whole number from {} to {}", range.start(), range.end())))
    }

    pub(crate) fn map(&self, what: &str) -> Result<&Map, Found> {
        match &self.value {
            Value::Map(map) => Ok(map),
            _ => Err(self.expected(what, "a mapping")),
        }
    }

    pub(crate) fn list(&self, what: &str) -> Result<&[Self], Found> {
        match &self.value {
            Value::List(items) => Ok(items),
            _ => Err(self.expected(what, "a list")),
        }
    }

    /// The items of a list, or the single scalar itself.
    pub(crate) fn one_or_many(&self, what: &str) -> Result<&[Self], Found> {
        match &self.value {
            Value::List(items) => Ok(items),
            Value::Scalar { .. } => Ok(std::slice::from_ref(self)),
            _ => Err(self.expected(what, "a string or a list")),
        }
    }

    /// One of a few words, each standing for a value.
    pub(crate) fn word<T: Copy>(&self, what: &str, words: &[(&str, T)]) -> Result<T, Found> {
        let found = match &self.value {
            Value::Scalar { text, .. } => words.iter().find(|(word, _)| *word == &**text),
            _ => None,
        };
        found.map(|(_, value)| *value).ok_or_else(|| {
            let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.expected(what, format!("one of {}", all.join(", ")))
        })
    }

    /// What this node and all below count towards the limit on expansion.
    pub(crate) fn bytes(&self) -> usize {
        let below: usize = match &self.value {
            Value::Null => 0,
            Value::Scalar { text, .. } => text.len(),
            Value::List(items) => items.iter().map(Self::bytes).sum(),
            Value::Map(map) => map.entries.iter().map(|(_, n)| NODE_BYTES + n.bytes()).sum(),
        };
        NODE_BYTES + below
    }

    /// Levels of lists and mappings in this node.
    pub(crate) fn depth(&self) -> usize {
        match &self.value {
            Value::Null | Value::Scalar { .. } => 0,
            Value::List(items) => 1 + items.iter().map(Self::depth).max().unwrap_or(0),
            Value::Map(map) => 1 + map.entries.iter().map(|(_, n)| n.depth()).max().unwrap_or(0),
        }
    }
}

impl Map {
    pub(crate) fn get(&self, name: &str) -> Option<&Node> {
        self.entries.iter().find(|(key, _)| &*key.name == name).map(|(_, node)| node)
    }

    /// Refuses every key that is not in `known`; `unsupported` pairs GitLab keywords outside the subset with advice.
    pub(crate) fn only(&self, place: &str, known: &[&str], unsupported: &[(&str, &'static str)]) -> Result<(), Found> {
        for (key, _) in &self.entries {
            let name = &*key.name;
            if known.contains(&name) {
                continue;
            }
            let (place, key_name) = (place.to_owned(), shorten(name));
            let problem = match unsupported.iter().find(|(keyword, _)| *keyword == name) {
                Some((_, instead)) => Problem::Unsupported { key: key_name, place, instead },
                None => Problem::UnknownKey { hint: nearest(name, known.iter().copied()), key: key_name, place },
            };
            return Err(Found::new(key.at, problem));
        }
        Ok(())
    }
}

pub(crate) fn check_name(at: At, what: &str, name: &str) -> Result<(), Found> {
    let fits = !name.trim().is_empty() && name.chars().count() <= NAME_CHARS_MAX && !name.chars().any(char::is_control);
    if fits {
        return Ok(());
    }
    Err(Found::new(at, Problem::Name { what: what.to_owned(), found: format!("`{}`", shorten(name)) }))
}

/// The known word that a misspelt one most resembles, if any does.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    if word.chars().count() > NAME_CHARS_MAX {
        return None;
    }
    let close = (word.chars().count() / 3).clamp(1, 3);
    known
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= close)
        .min()
        .map(|(_, candidate)| candidate.to_owned())
}

/// The start of a text on one line, for messages.
pub(crate) fn shorten(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let one_line = |c: char| if c.is_control() { ' ' } else { c };
    let mut short: String = text.chars().take(CHARS_MAX).map(one_line).collect();
    if text.chars().count() > CHARS_MAX {
        short.push('…');
    }
    short
}
