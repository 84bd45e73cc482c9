use std::cmp::Ordering;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::{Access, Flavor, Guarantee};

/// What has no flavor of its own: unreserved, on the root disk, firm, for one at a time.
static PLAIN: Flavor = Flavor {
    reservations: Vec::new(),
    volume: None,
    disk_source: None,
    guarantee: Guarantee::Firm,
    access: Access::Sole,
};

/// A flavor as resources hold it: shared by all that were split off from the same, and nothing at all where it is plain.
#[derive(Clone, Default)]
pub(super) struct FlavorRef(Option<Arc<Flavor>>);

impl From<Flavor> for FlavorRef {
    fn from(flavor: Flavor) -> Self {
        Self((flavor != PLAIN).then(|| Arc::new(flavor)))
    }
}

impl Deref for FlavorRef {
    type Target = Flavor;

    fn deref(&self) -> &Flavor {
        self.0.as_deref().unwrap_or(&PLAIN)
    }
}

impl Ord for FlavorRef {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (None, None) => Ordering::Equal,
            (Some(one), Some(other)) if Arc::ptr_eq(one, other) => Ordering::Equal,
            _ => Flavor::cmp(self, other),
        }
    }
}

impl PartialOrd for FlavorRef {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for FlavorRef {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for FlavorRef {}

impl fmt::Debug for FlavorRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Flavor::fmt(self, f)
    }
}
