//! Claims: the part of a task that names the devices it holds.
//!
//! ```text
//! claim       = alternative { "|" alternative }
//! alternative = [ COUNT | "all" ] KIND { option } [ ":" SELECTOR ]
//! option      = "share" AMOUNT | [ "prefer" ] ( "same-numa" | "same-root" | "linked" )
//! ```
//!
//! For example `gpu`, `2 gpu: memory >= 40GiB | 4 gpu`, `4 gpu linked prefer same-numa: generation >= 8`, `gpu share 0.25`. A share is
//! that much of each device, from 0.001 to 1; without one the claim is for the whole.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::{Milli, Selector, SelectorError, Share, from_digits, is_name_char};

#[cfg(test)]
mod tests;

/// Devices that a task asks for and holds while it lives. The first alternative that can be met is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Ordered; at least one.
    pub alternatives: Vec<Alternative>,
}

/// One way to meet a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alternative {
    /// The kind of device.
    pub kind: Arc<str>,
    /// How many.
    pub count: Count,
    /// What each must be like.
    pub selector: Selector,
    /// How much of each, in thousandths; the whole, unless the device is shared.
    pub share: Share,
    /// What must hold across them.
    pub constraints: Vec<(DeviceConstraint, Strength)>,
}

/// How many devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// This many, at least one.
    Exactly(u16),
    /// All of the kind that the agent has and that match, at least one.
    All,
}

/// Something that holds across the devices of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceConstraint {
    /// All on one NUMA node.
    SameNumaNode,
    /// All below one PCI root.
    SamePciRoot,
    /// Each linked to every other.
    Linked,
}

/// How strongly a constraint binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strength {
    /// Without it the claim is not met.
    Require,
    /// Taken where there is a choice.
    Prefer,
}

/// Why a text is not a claim.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// No kind of device is named.
    #[error("device claim {0:?}: expected a kind of device such as gpu, or 2 gpu: memory >= 40GiB")]
    NoKind(String),
    /// More ways to meet it than are accepted.
    #[error("device claim {text:?}: expected at most {max} alternatives, got {got}", max = Claim::MAX_ALTERNATIVES)]
    TooMany {
        /// The whole claim.
        text: String,
        /// How many there are.
        got: usize,
    },
    /// The count is not a number from 1, or `all`.
    #[error("device claim {text:?}: expected a count from 1 to {max} or 'all', got {count:?}", max = Claim::MAX_COUNT)]
    BadCount {
        /// The whole claim.
        text: String,
        /// What stands where the count should.
        count: String,
    },
    /// A word behind the kind that is no option.
    #[error(
        "device claim {text:?}: expected 'share', 'prefer', 'same-numa', 'same-root', 'linked' or ':', got {word:?}"
    )]
    BadOption {
        /// The whole claim.
        text: String,
        /// What stands where an option should.
        word: String,
    },
    /// `prefer` is not followed by a constraint.
    #[error("device claim {text:?}: expected 'same-numa', 'same-root' or 'linked' after 'prefer', got {word:?}")]
    BadPreference {
        /// The whole claim.
        text: String,
        /// What stands there; empty at the end.
        word: String,
    },
    /// The share is not a part of a device.
    #[error("device claim {text:?}: expected a share from 0.001 to 1, got {share:?}")]
    BadShare {
        /// The whole claim.
        text: String,
        /// What stands where the share should; empty at the end.
        share: String,
    },
    /// An option that is given twice.
    #[error("device claim {text:?}: {option} is given twice")]
    Twice {
        /// The whole claim.
        text: String,
        /// Which option.
        option: &'static str,
    },
    /// The selector behind the colon does not parse.
    #[error("device claim {text:?}: {error}")]
    Selector {
        /// The whole claim.
        text: String,
        /// What is wrong with the selector.
        error: SelectorError,
    },
}

impl Claim {
    /// The most devices that one alternative may ask for.
    pub const MAX_COUNT: u16 = 1024;
    /// The most alternatives that are accepted.
    pub const MAX_ALTERNATIVES: usize = 8;

    /// A claim for one whole device of `kind`.
    pub fn one(kind: &str) -> Self {
        let alternative = Alternative {
            kind: Arc::from(kind),
            count: Count::Exactly(1),
            selector: Selector::any(),
            share: Share::WHOLE,
            constraints: Vec::new(),
        };
        Self { alternatives: vec![alternative] }
    }
}

impl FromStr for Claim {
    type Err = ClaimError;

    fn from_str(text: &str) -> Result<Self, ClaimError> {
        let parts = split_alternatives(text);
        if parts.len() > Self::MAX_ALTERNATIVES {
            return Err(ClaimError::TooMany { text: text.to_owned(), got: parts.len() });
        }
        let alternatives: Result<Vec<_>, _> = parts.into_iter().map(|part| parse_alternative(text, part)).collect();
        Ok(Self { alternatives: alternatives? })
    }
}

/// Splits at single bars outside quotes; `||` belongs to the selector.
fn split_alternatives(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut quoted) = (Vec::new(), 0, false);
    let bytes = text.as_bytes();
    let is_bar = |at: usize| bytes.get(at) == Some(&b'|');
    for (at, byte) in bytes.iter().enumerate() {
        quoted ^= *byte == b'"';
        let single = is_bar(at) && !is_bar(at + 1) && !(at > 0 && is_bar(at - 1));
        if single && !quoted {
            parts.push(&text[start..at]);
            start = at + 1;
        }
    }
    parts.push(&text[start..]);
    parts
}

fn parse_alternative(text: &str, part: &str) -> Result<Alternative, ClaimError> {
    let (head, selector) = part.split_once(':').unwrap_or((part, ""));
    let mut words = head.split_whitespace().peekable();
    let first = words.next().ok_or_else(|| ClaimError::NoKind(text.to_owned()))?;
    // `all` is a count; alone it asks for all of nothing.
    let (count, kind) = if is_kind(first) {
        (Count::Exactly(1), first)
    } else {
        let kind = words.next().filter(|kind| is_kind(kind)).ok_or_else(|| ClaimError::NoKind(text.to_owned()))?;
        (parse_count(text, first)?, kind)
    };
    let selector = selector.parse().map_err(|error| ClaimError::Selector { text: text.to_owned(), error })?;
    let mut alternative =
        Alternative { kind: Arc::from(kind), count, selector, share: Share::WHOLE, constraints: Vec::new() };
    let mut has_share = false;
    while let Some(word) = words.next() {
        if word == "share" {
            if std::mem::replace(&mut has_share, true) {
                return Err(ClaimError::Twice { text: text.to_owned(), option: "share" });
            }
            alternative.share = parse_share(text, words.next().unwrap_or_default())?;
        } else {
            let strength = if word == "prefer" { Strength::Prefer } else { Strength::Require };
            let constraint = if word == "prefer" { words.next().unwrap_or_default() } else { word };
            alternative.constrain(text, constraint, strength)?;
        }
    }
    Ok(alternative)
}

fn is_kind(word: &str) -> bool {
    let is_word = word.starts_with(|c: char| c.is_ascii_alphabetic()) && word.chars().all(is_name_char);
    is_word && word.len() <= 64 && word != "all"
}

fn parse_share(text: &str, share: &str) -> Result<Share, ClaimError> {
    let milli = share.parse::<Milli>().ok().and_then(|milli| u16::try_from(milli.0).ok());
    let part = milli.filter(|milli| (1..=Share::WHOLE.0).contains(milli)).map(Share);
    part.ok_or_else(|| ClaimError::BadShare { text: text.to_owned(), share: share.to_owned() })
}

impl Alternative {
    fn constrain(&mut self, text: &str, word: &str, strength: Strength) -> Result<(), ClaimError> {
        let Some(constraint) = DeviceConstraint::ALL.into_iter().find(|constraint| constraint.as_str() == word) else {
            let (text, word) = (text.to_owned(), word.to_owned());
            return Err(match strength {
                Strength::Require => ClaimError::BadOption { text, word },
                Strength::Prefer => ClaimError::BadPreference { text, word },
            });
        };
        if self.constraints.iter().any(|(other, _)| *other == constraint) {
            return Err(ClaimError::Twice { text: text.to_owned(), option: constraint.as_str() });
        }
        self.constraints.push((constraint, strength));
        Ok(())
    }
}

impl DeviceConstraint {
    const ALL: [Self; 3] = [Self::SameNumaNode, Self::SamePciRoot, Self::Linked];

    /// The word for it in a claim.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SameNumaNode => "same-numa",
            Self::SamePciRoot => "same-root",
            Self::Linked => "linked",
        }
    }
}

fn parse_count(text: &str, count: &str) -> Result<Count, ClaimError> {
    if count == "all" {
        return Ok(Count::All);
    }
    let number = from_digits::<u16>(count).filter(|number| (1..=Claim::MAX_COUNT).contains(number));
    number.map(Count::Exactly).ok_or_else(|| ClaimError::BadCount { text: text.to_owned(), count: count.to_owned() })
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(number) => write!(f, "{number}"),
            Self::All => write!(f, "all"),
        }
    }
}

impl fmt::Display for Alternative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.count != Count::Exactly(1) {
            write!(f, "{} ", self.count)?;
        }
        write!(f, "{}", self.kind)?;
        if self.share != Share::WHOLE {
            write!(f, " share {}", Milli(u64::from(self.share.0)))?;
        }
        for (constraint, strength) in &self.constraints {
            let prefer = if *strength == Strength::Prefer { "prefer " } else { "" };
            write!(f, " {prefer}{}", constraint.as_str())?;
        }
        if self.selector.is_any() { Ok(()) } else { write!(f, ": {}", self.selector) }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.alternatives.iter().map(Alternative::to_string).collect();
        write!(f, "{}", parts.join(" | "))
    }
}
