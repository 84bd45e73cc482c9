//! What only a task is to know.

use std::fmt;

use bytes::Bytes;

use crate::convert::{At, Converted, Wire, expected, limits};
use crate::v1;

/// The most secrets of a task.
pub const MAX_SECRETS: usize = 64;
/// The most bytes of one secret.
pub const MAX_SECRET_BYTES: usize = 256 << 10;

/// Something that only the task is to know. It is never shown: not by `Debug` either.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// The name of its file below the folder `secrets` of the sandbox.
    pub name: String,
    /// A path below the sandbox that leads there too; empty means none.
    pub target: String,
    /// What is in the file; empty once its agent has taken it out.
    pub content: Bytes,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({:?})", self.name)
    }
}

impl fmt::Debug for v1::Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({:?})", self.name)
    }
}

impl Wire for Secret {
    type Message = v1::Secret;

    fn to_wire(&self) -> v1::Secret {
        v1::Secret { name: self.name.clone(), target: self.target.clone(), content: self.content.clone() }
    }

    fn from_wire(secret: v1::Secret) -> Converted<Self> {
        let v1::Secret { name, target, content } = secret;
        let safe = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let good = (1..=128).contains(&name.len()) && !name.starts_with('.') && name.chars().all(safe);
        expected(good, || format!("expected 1 to 128 of A-Z a-z 0-9 . _ - and no leading dot, got {name:?}"))
            .at("name")?;
        let parts = target.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
        let good = target.is_empty() || parts && target.len() <= limits::MAX_TEXT && !target.contains(char::is_control);
        expected(good, || format!("expected a path below the sandbox without '.' and '..', got {target:?}"))
            .at("target")?;
        let size = content.len();
        expected(size <= MAX_SECRET_BYTES, || format!("expected at most {MAX_SECRET_BYTES} bytes, got {size}"))
            .at("content")?;
        Ok(Self { name, target, content })
    }
}
