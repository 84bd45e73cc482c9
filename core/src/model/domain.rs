use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Where a machine stands: what fails together, as in Mesos.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain {
    region: Arc<str>,
    zone: Arc<str>,
}

/// Why two texts are not a domain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DomainError {
    /// One of them is no name.
    #[error("{field}: expected 1 to {max} printable characters without space, got {got:?}", max = Domain::MAX_LEN)]
    Name {
        /// Which of them.
        field: &'static str,
        /// What it is.
        got: String,
    },
    /// A text that does not name both.
    #[error("expected REGION/ZONE, got {0:?}")]
    NotBoth(String),
}

impl Domain {
    /// The longest name of a region or zone, in bytes.
    pub const MAX_LEN: usize = 128;

    /// The zone of that name in the region of that name.
    ///
    /// # Errors
    /// Which of the two is no name.
    pub fn new(region: &str, zone: &str) -> Result<Self, DomainError> {
        Ok(Self { region: name("region", region)?, zone: name("zone", zone)? })
    }

    /// Far away: another region has other networks, and prices.
    pub fn region(&self) -> &Arc<str> {
        &self.region
    }

    /// Near, but with power and network of its own.
    pub fn zone(&self) -> &Arc<str> {
        &self.zone
    }
}

fn name(field: &'static str, text: &str) -> Result<Arc<str>, DomainError> {
    let good =
        !text.is_empty() && text.len() <= Domain::MAX_LEN && !text.contains(|c: char| c.is_control() || c == ' ');
    if good { Ok(Arc::from(text)) } else { Err(DomainError::Name { field, got: text.to_owned() }) }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.region, self.zone)
    }
}

impl FromStr for Domain {
    type Err = DomainError;

    fn from_str(text: &str) -> Result<Self, DomainError> {
        let (region, zone) = text.split_once('/').ok_or_else(|| DomainError::NotBoth(text.to_owned()))?;
        Self::new(region, zone)
    }
}
