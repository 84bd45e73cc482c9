use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use super::from_digits;

#[cfg(test)]
mod tests;

/// A typed property of a device or an agent, that selectors compare.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Attribute {
    /// A whole number.
    Int(i64),
    /// A text; compared case-sensitively.
    Text(Arc<str>),
    /// Yes or no.
    Bool(bool),
    /// A version such as `550.54.15`, compared part by part.
    Version(Vec<u32>),
    /// An amount in base units (bytes where it is memory); literals carry a suffix such as `40GiB`.
    Quantity(u64),
}

impl Attribute {
    /// A text attribute.
    pub fn text(text: &str) -> Self {
        Self::Text(Arc::from(text))
    }

    /// The attribute that `text` spells: a bool, a whole number, a quantity with a unit, a version, else the text itself.
    pub fn parse(text: &str) -> Self {
        if let Ok(yes) = text.parse() {
            return Self::Bool(yes);
        }
        if let Ok(number) = text.parse() {
            return Self::Int(number);
        }
        parse_quantity(text)
            .map(Self::Quantity)
            .or_else(|| parse_version(text).map(Self::Version))
            .unwrap_or_else(|| Self::text(text))
    }

    /// How this compares with `other`; `None` if the two are of kinds that have no order between them.
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::Version(a), Self::Version(b)) => Some(compare_versions(a, b)),
            (Self::Version(a), Self::Int(b)) => Some(compare_version_with(a, *b)),
            (Self::Int(a), Self::Version(b)) => Some(compare_version_with(b, *a).reverse()),
            (Self::Quantity(a), Self::Quantity(b)) => Some(a.cmp(b)),
            (Self::Quantity(a), Self::Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
            (Self::Int(a), Self::Quantity(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
            _ => None,
        }
    }
}

fn compare_versions(a: &[u32], b: &[u32]) -> Ordering {
    let part = |version: &[u32], at: usize| version.get(at).copied().unwrap_or(0);
    (0..a.len().max(b.len()))
        .map(|at| part(a, at).cmp(&part(b, at)))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// A whole number is the version that has no further parts, also one that is too small or too large to be a part.
fn compare_version_with(version: &[u32], number: i64) -> Ordering {
    match u32::try_from(number) {
        Ok(number) => compare_versions(version, &[number]),
        Err(_) => 0.cmp(&number),
    }
}

/// The quantity that `text` spells with a unit: `40GiB`, `16GB`, `900MHz`; `None` without one.
pub(super) fn parse_quantity(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(end);
    number.parse::<u64>().ok()?.checked_mul(unit_factor(unit)?)
}

fn unit_factor(unit: &str) -> Option<u64> {
    Some(match unit {
        "B" | "Hz" => 1,
        "KiB" | "Ki" => 1 << 10,
        "MiB" | "Mi" => 1 << 20,
        "GiB" | "Gi" => 1 << 30,
        "TiB" | "Ti" => 1 << 40,
        "kB" | "KB" | "kHz" => 1_000,
        "MB" | "MHz" => 1_000_000,
        "GB" | "GHz" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return None,
    })
}

/// The version that `text` spells: at least two numbers with dots between, with or without a leading `v`.
pub(super) fn parse_version(text: &str) -> Option<Vec<u32>> {
    let digits = text.strip_prefix('v').unwrap_or(text);
    let parts: Option<Vec<u32>> = digits.split('.').map(from_digits).collect();
    parts.filter(|parts| parts.len() >= 2)
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "{text}"),
            Self::Bool(yes) => write!(f, "{yes}"),
            Self::Version(parts) => {
                let parts: Vec<String> = parts.iter().map(u32::to_string).collect();
                write!(f, "{}", parts.join("."))
            }
            Self::Quantity(amount) => write_quantity(f, *amount),
        }
    }
}

fn write_quantity(f: &mut fmt::Formatter<'_>, amount: u64) -> fmt::Result {
    for (unit, factor) in [("TiB", 1_u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if amount >= factor && amount.is_multiple_of(factor) {
            return write!(f, "{}{unit}", amount / factor);
        }
    }
    write!(f, "{amount}B")
}
