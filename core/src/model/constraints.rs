//! Offer constraints as in Mesos 1.11: on which agents a framework takes offers for a role.

use std::fmt;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use super::{Attribute, Domain};

#[cfg(test)]
mod tests;

/// Which agents are offered: those that one of the groups admits. Without groups, all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfferConstraints {
    groups: Vec<Vec<AttributeConstraint>>,
}

/// What one attribute of an agent must be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeConstraint {
    /// Which attribute.
    pub of: Subject,
    /// What must hold of it.
    pub predicate: Predicate,
}

/// What a constraint looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The attribute of that name.
    Attribute(Arc<str>),
    /// The name of the machine: its attribute `host`, else the agent's name.
    HostName,
    /// The region that it is in.
    Region,
    /// The zone that it is in.
    Zone,
}

/// What must hold of an attribute. As in Mesos, a number is no text: it meets each of the predicates on texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Predicate {
    /// It is there.
    Exists,
    /// It is not there.
    NotExists,
    /// It is there, and its text is this.
    TextEquals(Arc<str>),
    /// It is not there, or its text is another.
    TextNotEquals(Arc<str>),
    /// It is there, and all of its text matches.
    TextMatches(Pattern),
    /// It is not there, or its text does not match.
    TextNotMatches(Pattern),
}

/// A regular expression, with bounds on what it may cost.
#[derive(Clone)]
pub struct Pattern {
    text: Arc<str>,
    regex: Regex,
}

/// Why these are no offer constraints.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConstraintError {
    /// Too much of something.
    #[error("expected at most {limit} {what}, got {got}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
        /// How many there are.
        got: usize,
    },
    /// A group that says nothing.
    #[error("groups[{0}]: expected at least one constraint, got none")]
    EmptyGroup(usize),
    /// A text that is too long, or a name that is none.
    #[error("expected 1 to {limit} bytes, got {got}")]
    Length {
        /// The most.
        limit: usize,
        /// How many there are.
        got: usize,
    },
    /// A text that is no regular expression.
    #[error("expected a regular expression, got {text:?}: {message}")]
    Regex {
        /// The text.
        text: String,
        /// What is wrong with it.
        message: String,
    },
    /// A regular expression that would cost too much.
    #[error("expected a smaller regular expression: {text:?} needs more than {limit} bytes when compiled")]
    Costly {
        /// The text.
        text: String,
        /// The most.
        limit: usize,
    },
}

/// What of an agent constraints are judged by.
#[derive(Clone, Copy, Debug)]
pub struct Traits<'a> {
    /// The name of its machine.
    pub host_name: &'a str,
    /// Where it stands, if that is known.
    pub domain: Option<&'a Domain>,
    /// Its attributes.
    pub attributes: &'a std::collections::BTreeMap<Arc<str>, Attribute>,
}

impl OfferConstraints {
    /// The most groups.
    pub const MAX_GROUPS: usize = 64;
    /// The most constraints in all groups together.
    pub const MAX_CONSTRAINTS: usize = 256;

    /// Agents that one of the groups admits; a group admits those that meet all of its constraints.
    ///
    /// # Errors
    /// If there are too many, or a group is empty.
    pub fn any_of(groups: Vec<Vec<AttributeConstraint>>) -> Result<Self, ConstraintError> {
        let total = groups.iter().map(Vec::len).sum();
        for (what, limit, got) in
            [("groups", Self::MAX_GROUPS, groups.len()), ("constraints", Self::MAX_CONSTRAINTS, total)]
        {
            if got > limit {
                return Err(ConstraintError::TooMany { what, limit, got });
            }
        }
        match groups.iter().position(Vec::is_empty) {
            Some(at) => Err(ConstraintError::EmptyGroup(at)),
            None => Ok(Self { groups }),
        }
    }

    /// Whether every agent is admitted.
    pub fn is_any(&self) -> bool {
        self.groups.is_empty()
    }

    /// The groups.
    pub fn groups(&self) -> &[Vec<AttributeConstraint>] {
        &self.groups
    }

    /// Whether an agent like that is admitted.
    pub fn admit(&self, agent: Traits<'_>) -> bool {
        self.is_any() || self.groups.iter().any(|group| group.iter().all(|constraint| constraint.holds(agent)))
    }

    /// What of the group that comes closest the agent does not meet.
    pub fn unmet(&self, agent: Traits<'_>) -> Vec<String> {
        let unmet = |group: &Vec<AttributeConstraint>| -> Vec<String> {
            group.iter().filter(|constraint| !constraint.holds(agent)).map(ToString::to_string).collect()
        };
        self.groups.iter().map(unmet).min_by_key(Vec::len).unwrap_or_default()
    }
}

impl AttributeConstraint {
    /// Whether an agent like that meets it.
    pub fn holds(&self, agent: Traits<'_>) -> bool {
        let found = self.of.find(agent);
        match &self.predicate {
            Predicate::Exists => found.is_some(),
            Predicate::NotExists => found.is_none(),
            Predicate::TextEquals(text) => found.is_some_and(|found| found.is_text(|found| *found == **text)),
            Predicate::TextNotEquals(text) => found.is_none_or(|found| found.is_text(|found| *found != **text)),
            Predicate::TextMatches(pattern) => found.is_some_and(|found| found.is_text(|found| pattern.matches(found))),
            Predicate::TextNotMatches(pattern) => {
                found.is_none_or(|found| found.is_text(|found| !pattern.matches(found)))
            }
        }
    }
}

impl Subject {
    /// The longest name of an attribute, in bytes.
    pub const MAX_LEN: usize = 64;

    /// The attribute of that name.
    ///
    /// # Errors
    /// If that is no name.
    pub fn attribute(name: &str) -> Result<Self, ConstraintError> {
        sized(name, Self::MAX_LEN).map(Self::Attribute)
    }

    fn find<'a>(&self, agent: Traits<'a>) -> Option<Found<'a>> {
        match self {
            Self::Attribute(name) => agent.attributes.get(name).map(Found::Attribute),
            Self::HostName => Some(Found::Text(agent.host_name)),
            Self::Region => agent.domain.map(|domain| Found::Text(domain.region())),
            Self::Zone => agent.domain.map(|domain| Found::Text(domain.zone())),
        }
    }
}

impl Predicate {
    /// The longest text that is compared with, in bytes.
    pub const MAX_TEXT: usize = 1024;

    /// Its text is this.
    ///
    /// # Errors
    /// If the text is empty or too long.
    pub fn equals(text: &str) -> Result<Self, ConstraintError> {
        sized(text, Self::MAX_TEXT).map(Self::TextEquals)
    }

    /// Its text is another.
    ///
    /// # Errors
    /// If the text is empty or too long.
    pub fn differs(text: &str) -> Result<Self, ConstraintError> {
        sized(text, Self::MAX_TEXT).map(Self::TextNotEquals)
    }
}

impl Pattern {
    /// The longest expression, in bytes.
    pub const MAX_LEN: usize = 256;
    /// The most memory that a compiled one may need, in bytes. It stands for the limits of Mesos on RE2's programs.
    pub const MAX_COMPILED: usize = 64 << 10;
    /// The deepest nesting.
    const MAX_DEPTH: u32 = 16;

    /// The expression that `text` spells; it has to match all of a text. Takes time linear in the text that it is matched with.
    ///
    /// # Errors
    /// If it is none, or would cost too much.
    pub fn new(text: &str) -> Result<Self, ConstraintError> {
        let kept = sized(text, Self::MAX_LEN)?;
        let compile = |text: &str| {
            RegexBuilder::new(text)
                .size_limit(Self::MAX_COMPILED)
                .dfa_size_limit(Self::MAX_COMPILED)
                .nest_limit(Self::MAX_DEPTH)
                .build()
                .map_err(|error| refused(&kept, &error))
        };
        // By itself first: `a)(b` is an expression only with what is put around it.
        compile(text)?;
        let regex = compile(&format!(r"\A(?:{text})\z"))?;
        Ok(Self { text: kept, regex })
    }

    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether all of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

fn refused(text: &str, error: &regex::Error) -> ConstraintError {
    let text = text.to_owned();
    match error {
        regex::Error::CompiledTooBig(limit) => ConstraintError::Costly { text, limit: *limit },
        other => {
            let message = other.to_string();
            // The parser draws the expression with a mark below; the last line says what is wrong.
            let last = message.lines().last().unwrap_or_default();
            ConstraintError::Regex { text, message: last.trim_start_matches("error: ").to_owned() }
        }
    }
}

fn sized(text: &str, limit: usize) -> Result<Arc<str>, ConstraintError> {
    if text.is_empty() || text.len() > limit {
        return Err(ConstraintError::Length { limit, got: text.len() });
    }
    Ok(Arc::from(text))
}

/// What a constraint looks at, on one agent.
enum Found<'a> {
    Attribute(&'a Attribute),
    Text(&'a str),
}

impl Found<'_> {
    /// Whether it is a text of which that holds; numbers are none, and hold.
    fn is_text(&self, holds: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Text(text) => holds(text),
            Self::Attribute(Attribute::Int(_)) => true,
            Self::Attribute(Attribute::Text(text)) => holds(text),
            Self::Attribute(other) => holds(&other.to_string()),
        }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.text)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Attribute(name) => name,
            Self::HostName => "@hostname",
            Self::Region => "@region",
            Self::Zone => "@zone",
        })
    }
}

impl fmt::Display for AttributeConstraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = &self.of;
        match &self.predicate {
            Predicate::Exists => write!(f, "{of} exists"),
            Predicate::NotExists => write!(f, "{of} not_exists"),
            Predicate::TextEquals(text) => write!(f, "{of} == {text:?}"),
            Predicate::TextNotEquals(text) => write!(f, "{of} != {text:?}"),
            Predicate::TextMatches(pattern) => write!(f, "{of} =~ {pattern:?}"),
            Predicate::TextNotMatches(pattern) => write!(f, "{of} !~ {pattern:?}"),
        }
    }
}

impl fmt::Display for OfferConstraints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = self.groups.iter().map(|group| {
            let parts: Vec<String> = group.iter().map(ToString::to_string).collect();
            parts.join(" && ")
        });
        f.write_str(&groups.collect::<Vec<_>>().join(" || "))
    }
}
