//! Selectors: what a device or an agent must be like.
//!
//! ```text
//! selector   = or
//! or         = and { "||" and }
//! and        = not { "&&" not }
//! not        = "!" not | "(" selector ")" | comparison
//! comparison = NAME [ ( "==" | "!=" | "<" | "<=" | ">" | ">=" ) literal | "in" "[" literal { "," literal } "]" | "matches" PATTERN ]
//! PATTERN    = "text" | WORD, in which * stands for any text and ? for any one character
//! literal    = "text" | WORD | 12 | -3 | true | 40GiB | 550.54
//! ```
//!
//! A bare name holds if the attribute is `true`. A comparison with an attribute that is absent, or of another kind, does not hold;
//! so `a != 1` asks that `a` is there.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::Attribute;
use super::attribute::{parse_quantity, parse_version};

#[cfg(test)]
mod tests;

/// Something that has attributes: a device, an agent.
pub trait Attributes {
    /// The attribute called `name`, if there is one.
    fn attribute(&self, name: &str) -> Option<Attribute>;
}

/// A parsed selector. Its text is kept and shown as it was written.
#[derive(Clone)]
pub struct Selector {
    text: Arc<str>,
    node: Arc<Node>,
}

/// Why a text is not a selector, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("selector {text:?}, column {column}: {message}")]
pub struct SelectorError {
    /// The whole selector.
    pub text: String,
    /// Where, in characters, from 1.
    pub column: usize,
    /// What was expected and what was there.
    pub message: String,
}

#[derive(Clone, Debug)]
enum Node {
    Any,
    All(Vec<Self>),
    Either(Vec<Self>),
    Not(Box<Self>),
    Compare { name: Arc<str>, operator: Operator, literal: Attribute },
    In { name: Arc<str>, literals: Vec<Attribute> },
    Matches { name: Arc<str>, pattern: Arc<str> },
    True { name: Arc<str> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Selector {
    /// The longest that is accepted, in bytes.
    pub const MAX_LEN: usize = 4096;
    /// The deepest nesting of parentheses and negations that is accepted.
    pub const MAX_DEPTH: usize = 32;

    /// The selector that everything matches.
    pub fn any() -> Self {
        Self { text: Arc::from(""), node: Arc::new(Node::Any) }
    }

    /// Whether everything matches.
    pub fn is_any(&self) -> bool {
        matches!(*self.node, Node::Any)
    }

    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `thing` matches.
    pub fn matches(&self, thing: &impl Attributes) -> bool {
        self.node.holds(thing)
    }

    /// The clauses of the top-level conjunction that `thing` does not meet, as text with the value that it has instead.
    pub fn unmet(&self, thing: &impl Attributes) -> Vec<String> {
        let clauses = match &*self.node {
            Node::All(clauses) => clauses.as_slice(),
            single => std::slice::from_ref(single),
        };
        clauses.iter().filter(|clause| !clause.holds(thing)).map(|clause| clause.explain(thing)).collect()
    }
}

/// A selector with one of its clauses left out.
#[derive(Clone, Debug, PartialEq)]
pub struct Relaxed {
    /// The clause that is left out, as text.
    pub dropped: String,
    /// What is left.
    pub rest: Selector,
}

impl Selector {
    /// The names of the attributes that it looks at; sorted, each once.
    pub fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.node.collect_names(&mut names);
        names.sort_unstable();
        names.dedup();
        names
    }

    /// This selector without one clause of its top-level conjunction, for each of them in order.
    pub fn relaxations(&self) -> Vec<Relaxed> {
        let clauses = match &*self.node {
            Node::Any => return Vec::new(),
            Node::All(clauses) => clauses.as_slice(),
            single => std::slice::from_ref(single),
        };
        let without = |at: usize| {
            let mut kept = clauses.to_vec();
            drop(kept.remove(at));
            Self::all_of(kept)
        };
        clauses
            .iter()
            .enumerate()
            .map(|(at, dropped)| Relaxed { dropped: dropped.to_string(), rest: without(at) })
            .collect()
    }

    fn all_of(clauses: Vec<Node>) -> Self {
        if clauses.is_empty() {
            return Self::any();
        }
        let text = clauses.iter().map(Node::to_string).collect::<Vec<_>>().join(" && ");
        Self { text: Arc::from(text), node: Arc::new(Node::All(clauses)) }
    }
}

impl Node {
    fn collect_names<'a>(&'a self, names: &mut Vec<&'a str>) {
        match self {
            Self::Any => {}
            Self::All(parts) | Self::Either(parts) => parts.iter().for_each(|part| part.collect_names(names)),
            Self::Not(part) => part.collect_names(names),
            Self::Compare { name, .. } | Self::In { name, .. } | Self::Matches { name, .. } | Self::True { name } => {
                names.push(name);
            }
        }
    }

    fn holds(&self, thing: &impl Attributes) -> bool {
        match self {
            Self::Any => true,
            Self::All(parts) => parts.iter().all(|part| part.holds(thing)),
            Self::Either(parts) => parts.iter().any(|part| part.holds(thing)),
            Self::Not(part) => !part.holds(thing),
            Self::True { name } => thing.attribute(name) == Some(Attribute::Bool(true)),
            Self::Matches { name, pattern } => {
                matches!(thing.attribute(name), Some(Attribute::Text(text)) if is_like(pattern, &text))
            }
            Self::Compare { name, operator, literal } => thing
                .attribute(name)
                .and_then(|value| value.compare(literal))
                .is_some_and(|order| operator.accepts(order)),
            Self::In { name, literals } => thing
                .attribute(name)
                .is_some_and(|value| literals.iter().any(|literal| value.compare(literal) == Some(Ordering::Equal))),
        }
    }

    fn explain(&self, thing: &impl Attributes) -> String {
        let (Self::Compare { name, .. } | Self::In { name, .. } | Self::Matches { name, .. } | Self::True { name }) =
            self
        else {
            return self.to_string();
        };
        match thing.attribute(name) {
            Some(value) => format!("{self} (it is {})", spelled(&value)),
            None => format!("{self} (it has none)"),
        }
    }
}

impl Operator {
    fn accepts(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }

    const fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, parts: &[Self], between: &str| {
            let parts: Vec<String> = parts.iter().map(Self::to_string).collect();
            write!(f, "({})", parts.join(between))
        };
        match self {
            Self::Any => write!(f, "true"),
            Self::All(parts) => list(f, parts, " && "),
            Self::Either(parts) => list(f, parts, " || "),
            Self::Not(part) => write!(f, "!{part}"),
            Self::True { name } => write!(f, "{name}"),
            Self::Matches { name, pattern } => write!(f, "{name} matches \"{pattern}\""),
            Self::Compare { name, operator, literal } => {
                write!(f, "{name} {} {}", operator.symbol(), spelled(literal))
            }
            Self::In { name, literals } => {
                let literals: Vec<String> = literals.iter().map(spelled).collect();
                write!(f, "{name} in [{}]", literals.join(", "))
            }
        }
    }
}

/// The literal for `value`: a text is in quotes if it would be read as something else without them.
fn spelled(value: &Attribute) -> String {
    let Attribute::Text(text) = value else { return value.to_string() };
    let is_word = text.starts_with(starts_word) && token_len(text) == text.len();
    if is_word && plain_literal(text).as_ref() == Some(value) { text.to_string() } else { format!("\"{text}\"") }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.text, f)
    }
}

impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Selector {}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self::any());
        }
        let mut parser = Parser { text, at: 0, depth: 0 };
        if text.len() > Self::MAX_LEN {
            return Err(parser.error(format!("expected at most {} bytes", Self::MAX_LEN)));
        }
        let node = parser.either()?;
        if parser.peek_token() != "" {
            return Err(parser.expected("'&&', '||' or the end"));
        }
        Ok(Self { text: Arc::from(text), node: Arc::new(node) })
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn either(&mut self) -> Result<Node, SelectorError> {
        let mut parts = vec![self.all()?];
        while self.take("||") {
            parts.push(self.all()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Node::Either(parts) })
    }

    fn all(&mut self) -> Result<Node, SelectorError> {
        let mut parts = vec![self.not()?];
        while self.take("&&") {
            parts.push(self.not()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Node::All(parts) })
    }

    fn not(&mut self) -> Result<Node, SelectorError> {
        if self.depth > Selector::MAX_DEPTH {
            return Err(self.error(format!("expected at most {} nested parentheses or '!'", Selector::MAX_DEPTH)));
        }
        self.depth += 1;
        let node = if self.take("!") {
            Node::Not(Box::new(self.not()?))
        } else if self.take("(") {
            let inner = self.either()?;
            if !self.take(")") {
                return Err(self.expected("')'"));
            }
            inner
        } else {
            self.comparison()?
        };
        self.depth -= 1;
        Ok(node)
    }

    fn comparison(&mut self) -> Result<Node, SelectorError> {
        let token = self.peek_token();
        if !token.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            return Err(self.expected("an attribute's name"));
        }
        self.advance(token);
        let name: Arc<str> = Arc::from(token);
        if self.take("in") {
            return Ok(Node::In { name, literals: self.literals()? });
        }
        if self.take("matches") {
            return Ok(Node::Matches { name, pattern: self.pattern()? });
        }
        let Some(operator) = self.operator() else {
            return Ok(Node::True { name });
        };
        Ok(Node::Compare { name, operator, literal: self.literal()? })
    }

    fn operator(&mut self) -> Option<Operator> {
        let operator = match self.peek_token() {
            "==" => Operator::Equal,
            "!=" => Operator::NotEqual,
            "<" => Operator::Less,
            "<=" => Operator::LessOrEqual,
            ">" => Operator::Greater,
            ">=" => Operator::GreaterOrEqual,
            _ => return None,
        };
        self.advance(operator.symbol());
        Some(operator)
    }

    fn literals(&mut self) -> Result<Vec<Attribute>, SelectorError> {
        if !self.take("[") {
            return Err(self.expected("'['"));
        }
        let mut literals = vec![self.literal()?];
        while self.take(",") {
            literals.push(self.literal()?);
        }
        if self.take("]") { Ok(literals) } else { Err(self.expected("',' or ']'")) }
    }

    fn pattern(&mut self) -> Result<Arc<str>, SelectorError> {
        let token = self.peek_token();
        let quoted = token.strip_prefix('"').map(|rest| rest.strip_suffix('"'));
        let pattern = match quoted {
            Some(Some(inner)) => inner,
            Some(None) => return Err(self.error("expected a closing '\"'".to_owned())),
            None if token.starts_with(starts_word) => token,
            None => return Err(self.expected("a pattern in quotes such as \"H1*\"")),
        };
        self.advance(token);
        Ok(Arc::from(pattern))
    }

    fn literal(&mut self) -> Result<Attribute, SelectorError> {
        let token = self.peek_token();
        let attribute = if let Some(quoted) = token.strip_prefix('"') {
            let Some(inner) = quoted.strip_suffix('"') else {
                return Err(self.error("expected a closing '\"'".to_owned()));
            };
            Attribute::text(inner)
        } else if token.starts_with(starts_word) {
            plain_literal(token).ok_or_else(|| self.expected("a number, a version, or a quantity such as 40GiB"))?
        } else {
            return Err(self.expected("a value such as 8, 40GiB, 550.54, true or \"text\""));
        };
        self.advance(token);
        Ok(attribute)
    }

    fn take(&mut self, wanted: &str) -> bool {
        let found = self.peek_token() == wanted;
        if found {
            self.advance(wanted);
        }
        found
    }

    /// The next token, or an empty text at the end.
    fn peek_token(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let skipped = rest.len() - rest.trim_start().len();
        self.at += skipped;
        let rest = &self.text[self.at..];
        let len = token_len(rest);
        &rest[..len]
    }

    fn advance(&mut self, token: &str) {
        self.at += token.len();
    }

    fn expected(&mut self, what: &str) -> SelectorError {
        match self.peek_token() {
            "" => self.error(format!("expected {what}, got the end")),
            token => self.error(format!("expected {what}, got {token:?}")),
        }
    }

    fn error(&self, message: String) -> SelectorError {
        let column = self.text[..self.at].chars().count() + 1;
        SelectorError { text: self.text.to_owned(), column, message }
    }
}

/// Whether `text` is like `pattern`: `*` stands for any text, `?` for any one character. In time the product of their lengths at most.
fn is_like(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut here) = (0, 0);
    // Where to go on if what follows the last star does not match here: behind the star, one character later.
    let mut retry: Option<(usize, usize)> = None;
    while here < text.len() {
        match pattern.get(at) {
            Some('*') => {
                at += 1;
                retry = Some((at, here));
            }
            Some(wanted) if *wanted == '?' || *wanted == text[here] => (at, here) = (at + 1, here + 1),
            _ => {
                let Some((behind, from)) = retry else { return false };
                retry = Some((behind, from + 1));
                (at, here) = (behind, from + 1);
            }
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

fn plain_literal(token: &str) -> Option<Attribute> {
    let numeric = token.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    if !numeric {
        return Some(Attribute::parse(token));
    }
    let number = token.parse().ok().map(Attribute::Int);
    number
        .or_else(|| parse_quantity(token).map(Attribute::Quantity))
        .or_else(|| parse_version(token).map(Attribute::Version))
}

fn starts_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

fn token_len(rest: &str) -> usize {
    let mut chars = rest.char_indices();
    let Some((_, first)) = chars.next() else { return 0 };
    if first == '"' {
        return chars.find(|(_, c)| *c == '"').map_or(rest.len(), |(at, _)| at + 1);
    }
    if starts_word(first) {
        let more = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':');
        return chars.find(|(_, c)| !more(*c)).map_or(rest.len(), |(at, _)| at);
    }
    for symbol in ["==", "!=", "<=", ">=", "&&", "||"] {
        if rest.starts_with(symbol) {
            return symbol.len();
        }
    }
    first.len_utf8()
}
