use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::is_name_char;

#[cfg(test)]
mod tests;

/// A name in the tree that resources are shared between: `eng/ci` lies below `eng`. `*` is the root of those who name none.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Role(Arc<str>);

/// Why a text is not a role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a role such as eng/ci (parts of letters, digits, '_', '-', '.', not starting with '-' or '.'), got {0:?}"
)]
pub struct RoleError(String);

impl Role {
    /// The longest that is accepted, in bytes.
    pub const MAX_LEN: usize = 200;
    /// The deepest that is accepted, in parts.
    pub const MAX_DEPTH: usize = 8;

    /// Checks and takes `text`.
    pub fn new(text: &str) -> Result<Self, RoleError> {
        let good = text == "*"
            || (text.len() <= Self::MAX_LEN
                && text.split('/').count() <= Self::MAX_DEPTH
                && text.split('/').all(is_part));
        if good { Ok(Self(Arc::from(text))) } else { Err(RoleError(text.to_owned())) }
    }

    /// The role of those who name none, `*`.
    pub fn any() -> Self {
        Self(Arc::from("*"))
    }

    /// The whole path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The parts of the path, from the root down.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Whether this role lies strictly below `other`.
    pub fn is_below(&self, other: &Self) -> bool {
        self.0.strip_prefix(&*other.0).is_some_and(|rest| rest.starts_with('/'))
    }
}

fn is_part(part: &str) -> bool {
    !part.is_empty() && part.chars().all(is_name_char) && !part.starts_with(['-', '.'])
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        Self::new(text)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}
