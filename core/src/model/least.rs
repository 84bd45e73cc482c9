use std::fmt;
use std::str::FromStr;

use super::{Milli, MilliError, Quantities, ResourceName};

#[cfg(test)]
mod tests;

/// The smallest offers that are worth making, as in Mesos (`min_allocatable_resources`): those that hold all of one of the alternatives.
/// Without alternatives, any. Devices count by kind (`device/gpu`) or class (`device/gpu/T4`), ports by their number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Least {
    any_of: Vec<Quantities>,
}

/// Why a text, or a list, is no [`Least`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeastError {
    /// Too many alternatives.
    #[error("expected at most {max} alternatives, got {0}", max = Least::MAX_ALTERNATIVES)]
    TooMany(usize),
    /// An alternative that asks for nothing.
    #[error("[{0}]: expected at least one amount above 0, got none")]
    Empty(usize),
    /// Not a name and an amount.
    #[error("expected NAME:AMOUNT, got {0:?}")]
    NotAnAmount(String),
    /// A name twice in one alternative.
    #[error("expected each name once, got {0} twice")]
    Twice(String),
    /// The amount.
    #[error("{name}: {error}")]
    Amount {
        /// Of what.
        name: String,
        /// Why not.
        error: MilliError,
    },
}

impl Least {
    /// The most alternatives.
    pub const MAX_ALTERNATIVES: usize = 64;

    /// Offers that hold all of one of these.
    ///
    /// # Errors
    /// If there are too many, or one asks for nothing.
    pub fn any_of(alternatives: Vec<Quantities>) -> Result<Self, LeastError> {
        if alternatives.len() > Self::MAX_ALTERNATIVES {
            return Err(LeastError::TooMany(alternatives.len()));
        }
        match alternatives.iter().position(Quantities::is_empty) {
            Some(at) => Err(LeastError::Empty(at)),
            None => Ok(Self { any_of: alternatives }),
        }
    }

    /// A hundredth of a core, or 32 MiB of memory, as in Mesos.
    pub fn usual() -> Self {
        let of = |name, amount| {
            let mut quantities = Quantities::new();
            quantities.set(&name, amount);
            quantities
        };
        Self { any_of: vec![of(ResourceName::Cpus, Milli(10)), of(ResourceName::Mem, Milli::from_whole(32))] }
    }

    /// Whether any offer is worth making.
    pub fn is_anything(&self) -> bool {
        self.any_of.is_empty()
    }

    /// The alternatives.
    pub fn alternatives(&self) -> &[Quantities] {
        &self.any_of
    }
}

impl FromStr for Least {
    type Err = LeastError;

    /// Reads `cpus:0.01|mem:32;disk:1`: `|` between alternatives, `;` within one. Nothing means that any offer will do.
    fn from_str(text: &str) -> Result<Self, LeastError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        Self::any_of(text.split('|').map(alternative).collect::<Result<_, _>>()?)
    }
}

fn alternative(text: &str) -> Result<Quantities, LeastError> {
    let mut quantities = Quantities::new();
    for entry in text.split(';').map(str::trim) {
        let not_an_amount = || LeastError::NotAnAmount(entry.to_owned());
        let (name, amount) = entry.rsplit_once(':').ok_or_else(not_an_amount)?;
        if name.is_empty() {
            return Err(not_an_amount());
        }
        let amount = amount.parse().map_err(|error| LeastError::Amount { name: name.to_owned(), error })?;
        let name = ResourceName::new(name);
        if !quantities.get(&name).is_zero() {
            return Err(LeastError::Twice(name.as_str().to_owned()));
        }
        quantities.set(&name, amount);
    }
    Ok(quantities)
}

impl fmt::Display for Least {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |quantities: &Quantities| {
            let parts: Vec<String> =
                quantities.iter().map(|(name, amount)| format!("{}:{amount}", name.as_str())).collect();
            parts.join(";")
        };
        f.write_str(&self.any_of.iter().map(of).collect::<Vec<_>>().join("|"))
    }
}
