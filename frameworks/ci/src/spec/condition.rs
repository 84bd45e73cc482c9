//! The conditions of `rules: if`.
//!
//! ```text
//! or      = and ("||" and)*
//! and     = term ("&&" term)*
//! term    = "(" or ")" | value [("==" | "!=") value] | value ("=~" | "!~") (pattern | $NAME)
//! value   = $NAME | "text" | 'text' | null
//! pattern = /expression/flags        flags: i ignore case, m ^ and $ at lines, s dot takes newlines, U lazy, x free spacing
//! ```
//!
//! A value alone holds if it is defined and not empty. An undefined variable equals `null` and nothing else, and matches no pattern.
//! Strings have no escapes; in a pattern `\/` is a slash. Expressions are those of the `regex` crate, close to GitLab's RE2, and
//! match anywhere unless anchored. A variable to the right of `=~` holds a whole pattern, slashes included.

use regex::{Regex, RegexBuilder};

use super::limits::{CONDITION_BYTES_MAX, CONDITION_DEPTH_MAX, REGEX_BYTES_MAX};
use super::variables::{Variables, is_word};

/// A parsed condition.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    pub(crate) text: String,
    root: Expr,
}

/// Why a condition was refused, and at which byte of it.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) offset: usize,
    pub(crate) reason: String,
}

#[derive(Clone, Debug)]
enum Expr {
    Any(Vec<Self>),
    All(Vec<Self>),
    Holds(Operand),
    Equal { left: Operand, right: Operand, negate: bool },
    Match { left: Operand, pattern: Pattern, negate: bool },
}

#[derive(Clone, Debug)]
enum Operand {
    Variable(String),
    Text(String),
    Null,
}

#[derive(Clone, Debug)]
enum Pattern {
    Written { offset: usize, source: Source },
    Variable { offset: usize, name: String },
}

/// An expression that compiles. It is compiled again when it is used: a compiled one takes up to megabytes, and a file may hold many.
#[derive(Clone, Debug)]
struct Source {
    expression: String,
    flags: String,
}

impl Condition {
    pub(crate) fn parse(text: &str) -> Result<Self, Refused> {
        if text.len() > CONDITION_BYTES_MAX {
            return Err(refused(0, format!("expected at most {CONDITION_BYTES_MAX} bytes")));
        }
        let mut parser = Parser { tokens: tokens(text)?, next: 0, depth: 0, end: text.len() };
        let root = parser.any()?;
        match parser.peek() {
            None => Ok(Self { text: text.to_owned(), root }),
            Some(_) => Err(parser.unexpected("`&&`, `||` or the end")),
        }
    }

    pub(crate) fn holds(&self, variables: &Variables) -> Result<bool, Refused> {
        self.root.eval(variables)
    }
}

impl Expr {
    fn eval(&self, variables: &Variables) -> Result<bool, Refused> {
        match self {
            Self::Any(parts) => {
                for part in parts {
                    if part.eval(variables)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::All(parts) => {
                for part in parts {
                    if !part.eval(variables)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Holds(operand) => Ok(operand.get(variables).is_some_and(|v| !v.is_empty())),
            Self::Equal { left, right, negate } => Ok((left.get(variables) == right.get(variables)) != *negate),
            Self::Match { left, pattern, negate } => {
                let Some(value) = left.get(variables) else { return Ok(*negate) };
                Ok(pattern.matches(value, variables)? != *negate)
            }
        }
    }
}

impl Operand {
    fn get<'a>(&'a self, variables: &'a Variables) -> Option<&'a str> {
        match self {
            Self::Variable(name) => variables.get(name).map(String::as_str),
            Self::Text(text) => Some(text),
            Self::Null => None,
        }
    }
}

impl Pattern {
    fn matches(&self, value: &str, variables: &Variables) -> Result<bool, Refused> {
        let (offset, name) = match self {
            Self::Written { offset, source } => return Ok(source.compile(*offset)?.is_match(value)),
            Self::Variable { offset, name } => (*offset, name),
        };
        let text = variables.get(name).map_or("", String::as_str);
        let not_a_pattern = || refused(offset, format!("`${name}` holds no pattern such as /text/"));
        let (source, length) = match text.strip_prefix('/') {
            Some(rest) => pattern(rest, offset)?,
            None => return Err(not_a_pattern()),
        };
        if length + 1 != text.len() {
            return Err(not_a_pattern());
        }
        Ok(source.compile(offset)?.is_match(value))
    }
}

#[derive(Clone, Debug)]
enum Token {
    Variable(String),
    Text(String),
    Null,
    Pattern(Source),
    /// `==`, `!=`, `=~`, `!~`, `&&`, `||`, `(` or `)`.
    Sign(&'static str),
}

const SIGNS: [&str; 8] = ["==", "!=", "=~", "!~", "&&", "||", "(", ")"];

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, Refused> {
    let mut tokens = Vec::new();
    let mut offset = 0;
    while let Some(c) = text[offset..].chars().next() {
        if c.is_whitespace() {
            offset += c.len_utf8();
            continue;
        }
        let (token, length) = token(&text[offset..], offset)?;
        tokens.push((offset, token));
        offset += length;
    }
    Ok(tokens)
}

/// The token at the start of a text that is not empty, and its length in bytes.
fn token(text: &str, offset: usize) -> Result<(Token, usize), Refused> {
    if let Some(sign) = SIGNS.into_iter().find(|sign| text.starts_with(sign)) {
        return Ok((Token::Sign(sign), sign.len()));
    }
    let word = |text: &str| text.bytes().position(|b| !is_word(b)).unwrap_or(text.len());
    if let Some(rest) = text.strip_prefix('$') {
        let length = word(rest);
        return match length {
            0 => Err(refused(offset, "expected a variable's name behind `$`")),
            _ => Ok((Token::Variable(rest[..length].to_owned()), length + 1)),
        };
    }
    if let Some(quote) = text.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        let Some(length) = text[1..].find(quote) else {
            return Err(refused(offset, format!("the string has no closing {quote}")));
        };
        return Ok((Token::Text(text[1..=length].to_owned()), length + 2));
    }
    if let Some(rest) = text.strip_prefix('/') {
        let (source, length) = pattern(rest, offset)?;
        source.compile(offset)?;
        return Ok((Token::Pattern(source), length + 1));
    }
    match word(text) {
        4 if text.starts_with("null") => Ok((Token::Null, 4)),
        _ => Err(refused(offset, "expected `$NAME`, a quoted string, `null` or `(`")),
    }
}

/// The pattern whose opening slash was taken already, and its length with the closing slash and flags.
fn pattern(text: &str, offset: usize) -> Result<(Source, usize), Refused> {
    let mut expression = String::new();
    let mut chars = text.char_indices();
    loop {
        match chars.next() {
            None => return Err(refused(offset, "the pattern has no closing /")),
            Some((_, '/')) => break,
            Some((_, '\\')) => match chars.next() {
                Some((_, '/')) => expression.push('/'),
                Some((_, c)) => expression.extend(['\\', c]),
                None => return Err(refused(offset, "the pattern has no closing /")),
            },
            Some((_, c)) => expression.push(c),
        }
    }
    let flags: String = chars.as_str().chars().take_while(char::is_ascii_alphabetic).collect();
    let rest = chars.as_str().len() - flags.len();
    Ok((Source { expression, flags }, text.len() - rest))
}

impl Source {
    fn compile(&self, offset: usize) -> Result<Regex, Refused> {
        let mut builder = RegexBuilder::new(&self.expression);
        builder.size_limit(REGEX_BYTES_MAX);
        for flag in self.flags.chars() {
            match flag {
                'i' => builder.case_insensitive(true),
                'm' => builder.multi_line(true),
                's' => builder.dot_matches_new_line(true),
                'U' => builder.swap_greed(true),
                'x' => builder.ignore_whitespace(true),
                _ => {
                    return Err(refused(
                        offset,
                        format!("unknown pattern flag `{flag}`, expected one of i, m, s, U, x"),
                    ));
                }
            };
        }
        builder.build().map_err(|e| refused(offset, format!("the pattern does not compile: {}", reason(&e))))
    }
}

/// The crate draws a bad pattern over several lines and ends with the reason; only that fits into a message of one line.
fn reason(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
        _ => error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    }
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    next: usize,
    depth: usize,
    /// Length of the text, where a missing token is reported.
    end: usize,
}

impl Parser {
    fn any(&mut self) -> Result<Expr, Refused> {
        let mut parts = vec![self.all()?];
        while self.sign("||") {
            parts.push(self.all()?);
        }
        Ok(Expr::Any(parts))
    }

    fn all(&mut self) -> Result<Expr, Refused> {
        let mut parts = vec![self.term()?];
        while self.sign("&&") {
            parts.push(self.term()?);
        }
        Ok(Expr::All(parts))
    }

    fn term(&mut self) -> Result<Expr, Refused> {
        if self.sign("(") {
            return self.parenthesis();
        }
        let left = self.operand()?;
        for (sign, negate) in [("==", false), ("!=", true)] {
            if self.sign(sign) {
                return Ok(Expr::Equal { left, right: self.operand()?, negate });
            }
        }
        for (sign, negate) in [("=~", false), ("!~", true)] {
            if self.sign(sign) {
                return Ok(Expr::Match { left, pattern: self.pattern()?, negate });
            }
        }
        Ok(Expr::Holds(left))
    }

    fn parenthesis(&mut self) -> Result<Expr, Refused> {
        self.depth += 1;
        if self.depth > CONDITION_DEPTH_MAX {
            return Err(self.unexpected(&format!("at most {CONDITION_DEPTH_MAX} levels of `(`")));
        }
        let inner = self.any()?;
        if !self.sign(")") {
            return Err(self.unexpected("`)`"));
        }
        self.depth -= 1;
        Ok(inner)
    }

    fn operand(&mut self) -> Result<Operand, Refused> {
        let operand = match self.peek() {
            Some(Token::Variable(name)) => Operand::Variable(name.clone()),
            Some(Token::Text(text)) => Operand::Text(text.clone()),
            Some(Token::Null) => Operand::Null,
            _ => return Err(self.unexpected("`$NAME`, a quoted string, `null` or `(`")),
        };
        self.next += 1;
        Ok(operand)
    }

    fn pattern(&mut self) -> Result<Pattern, Refused> {
        let offset = self.offset();
        let pattern = match self.peek() {
            Some(Token::Pattern(source)) => Pattern::Written { offset, source: source.clone() },
            Some(Token::Variable(name)) => Pattern::Variable { offset, name: name.clone() },
            _ => return Err(self.unexpected("a pattern such as /text/, or `$NAME`")),
        };
        self.next += 1;
        Ok(pattern)
    }

    fn sign(&mut self, wanted: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(sign)) if *sign == wanted);
        self.next += usize::from(found);
        found
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    fn offset(&self) -> usize {
        self.tokens.get(self.next).map_or(self.end, |(offset, _)| *offset)
    }

    fn unexpected(&self, expected: &str) -> Refused {
        refused(self.offset(), format!("expected {expected}"))
    }
}

fn refused(offset: usize, reason: impl Into<String>) -> Refused {
    Refused { offset, reason: reason.into() }
}
