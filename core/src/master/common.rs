//! Machines come in few kinds: what many agents have is kept once, with what is looked at first in it.

use std::sync::Arc;

use super::available::Available;
use crate::model::Resources;

/// The most kinds that are told apart.
const KINDS_MAX: usize = 16;

/// What agents had that registered last, each kind once.
#[derive(Debug, Default)]
pub(super) struct Common {
    kinds: Vec<Arc<Available>>,
    /// The one that makes room for the next.
    oldest: usize,
}

impl Common {
    /// `resources`, shared with other agents that have the same.
    pub(super) fn share(&mut self, resources: &Resources) -> Arc<Resources> {
        if let Some(known) = self.kinds.iter().find(|known| *known.resources == *resources) {
            return known.resources.clone();
        }
        let resources = Arc::new(resources.clone());
        let kind = Arc::new(Available::new(resources.clone()));
        if self.kinds.len() < KINDS_MAX {
            self.kinds.push(kind);
        } else {
            self.kinds[self.oldest] = kind;
            self.oldest = (self.oldest + 1) % KINDS_MAX;
        }
        resources
    }

    /// What is looked at first in `resources`; kept, if they are all that an agent of a known kind has.
    pub(super) fn available(&self, resources: &Arc<Resources>) -> Arc<Available> {
        let known = self.kinds.iter().find(|known| Arc::ptr_eq(&known.resources, resources));
        known.cloned().unwrap_or_else(|| Arc::new(Available::new(resources.clone())))
    }
}
