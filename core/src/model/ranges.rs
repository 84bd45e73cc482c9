use std::fmt;
use std::str::FromStr;

use super::from_digits;

#[cfg(test)]
mod tests;

/// A closed interval, `first..=last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    /// The lowest number in it.
    pub first: u64,
    /// The highest number in it.
    pub last: u64,
}

/// A set of numbers, kept as closed, disjoint, sorted intervals that do not touch.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ranges(Vec<Range>);

/// Why a text is not a set of ranges.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangesError {
    /// Not of the form `[31000-32000, 40000-40010]`.
    #[error("expected ranges such as [31000-32000,40000-40010], got {0:?}")]
    Form(String),
    /// The first number is larger than the last.
    #[error("expected the first number of a range to be at most the last, got {0}-{1}")]
    Backwards(u64, u64),
}

impl Ranges {
    /// The set of the numbers in `ranges`, which may overlap.
    pub fn new(ranges: impl IntoIterator<Item = Range>) -> Self {
        let mut sorted: Vec<Range> = ranges.into_iter().filter(|range| range.first <= range.last).collect();
        sorted.sort_unstable();
        let mut merged: Vec<Range> = Vec::with_capacity(sorted.len());
        for range in sorted {
            match merged.last_mut() {
                Some(last) if range.first <= last.last.saturating_add(1) => last.last = last.last.max(range.last),
                _ => merged.push(range),
            }
        }
        Self(merged)
    }

    /// The single number `number`.
    pub fn single(number: u64) -> Self {
        Self(vec![Range { first: number, last: number }])
    }

    /// Whether no number is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many numbers are in it; `u64::MAX` also for all of them, which are one more.
    pub fn len(&self) -> u64 {
        let lens = self.0.iter().map(|range| (range.last - range.first).saturating_add(1));
        lens.fold(0, u64::saturating_add)
    }

    /// The intervals, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Range> + '_ {
        self.0.iter().copied()
    }

    /// The numbers, ascending.
    pub fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().flat_map(|range| range.first..=range.last)
    }

    /// Whether every number of `other` is in it.
    pub fn contains(&self, other: &Self) -> bool {
        other.0.iter().all(|part| self.0.iter().any(|range| range.first <= part.first && part.last <= range.last))
    }

    /// The numbers in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self::new(self.iter().chain(other.iter()))
    }

    /// The numbers in this and not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut left = self.0.clone();
        for hole in &other.0 {
            left = left.into_iter().flat_map(|range| without(range, *hole)).collect();
        }
        Self(left)
    }

    /// The numbers in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.difference(&self.difference(other))
    }
}

fn without(range: Range, hole: Range) -> impl Iterator<Item = Range> {
    let below = (range.first < hole.first)
        .then(|| Range { first: range.first, last: range.last.min(hole.first.saturating_sub(1)) });
    let above = (range.last > hole.last)
        .then(|| Range { first: range.first.max(hole.last.saturating_add(1)), last: range.last });
    below.into_iter().chain(above).filter(|part| part.first <= part.last)
}

impl FromStr for Ranges {
    type Err = RangesError;

    fn from_str(text: &str) -> Result<Self, RangesError> {
        let form = || RangesError::Form(text.to_owned());
        let inner = text.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).ok_or_else(form)?;
        let mut ranges = Vec::new();
        for part in inner.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |digits: &str| from_digits::<u64>(digits.trim()).ok_or_else(form);
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(RangesError::Backwards(first, last));
            }
            ranges.push(Range { first, last });
        }
        Ok(Self::new(ranges))
    }
}

impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.0.iter().map(|range| format!("{}-{}", range.first, range.last)).collect();
        write!(f, "[{}]", parts.join(","))
    }
}
