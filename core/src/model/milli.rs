use std::fmt;
use std::str::FromStr;

#[cfg(test)]
mod tests;

/// An amount in thousandths of its unit: cpus in cores, mem and disk in MiB. `Milli(1500)` cpus are one and a half cores.
///
/// Integers keep the algebra exact: `a - b + b == a`, always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Milli(pub u64);

/// Why a text is not an amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MilliError {
    /// Not a decimal number.
    #[error("expected a number such as 4 or 0.5, got {0:?}")]
    NotANumber(String),
    /// More than three decimals: amounts are kept in thousandths.
    #[error("expected at most three decimals, got {0:?}")]
    TooFine(String),
    /// Too large to count in thousandths.
    #[error("expected at most {max}, got {0:?}", max = Milli::MAX.0 / 1000)]
    TooLarge(String),
}

impl Milli {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest amount that is accepted; sums of a million of them still fit.
    pub const MAX: Self = Self(1_000_000_000_000);

    /// `whole` units, at most `u64::MAX` thousandths.
    pub const fn from_whole(whole: u64) -> Self {
        Self(whole.saturating_mul(1000))
    }

    /// Whether this is nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum, at most `u64::MAX` thousandths.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, or `None` if `other` is more than this.
    pub fn minus(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// As a floating-point number of units, for display and metrics only.
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

impl FromStr for Milli {
    type Err = MilliError;

    fn from_str(text: &str) -> Result<Self, MilliError> {
        let not_a_number = || MilliError::NotANumber(text.to_owned());
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) || text.ends_with('.') {
            return Err(not_a_number());
        }
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > 3 {
            return Err(MilliError::TooFine(text.to_owned()));
        }
        let too_large = |_| MilliError::TooLarge(text.to_owned());
        let whole: u64 = whole.parse().map_err(too_large)?;
        let thousandths: u64 = format!("{fraction:0<3}").parse().map_err(|_| not_a_number())?;
        let total = whole.checked_mul(1000).and_then(|whole| whole.checked_add(thousandths));
        total.map(Self).filter(|total| *total <= Self::MAX).ok_or_else(|| MilliError::TooLarge(text.to_owned()))
    }
}

impl fmt::Display for Milli {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, thousandths) = (self.0 / 1000, self.0 % 1000);
        if thousandths == 0 {
            return write!(f, "{whole}");
        }
        write!(f, "{whole}.{}", format!("{thousandths:03}").trim_end_matches('0'))
    }
}
