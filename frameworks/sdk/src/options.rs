use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rialto_core::model::{FrameworkInfo, OfferMode, Role};

use crate::access::Access;
use crate::store::StateStore;

/// How a framework runs.
#[derive(Debug)]
pub struct Options {
    /// How to reach the master.
    pub access: Access,
    /// What the framework says of itself.
    pub info: FrameworkInfo,
    /// Where its state is kept. Without one the framework does not survive its own crash: when it starts again it is a new framework,
    /// and the tasks of the old one are killed after [`FrameworkInfo::failover_timeout`].
    pub store: Option<Box<dyn StateStore>>,
    /// How many commands may wait for the policy.
    pub commands_max: usize,
    /// How long a stop may take to write and say what is still to be written and said.
    pub stop_timeout: Duration,
}

impl Options {
    /// A framework called `name` that takes offers for `roles`, and keeps nothing.
    pub fn new(access: Access, name: &str, roles: impl IntoIterator<Item = Role>) -> Self {
        let info = FrameworkInfo {
            name: Arc::from(name),
            user: Arc::from(""),
            roles: BTreeSet::from_iter(roles),
            failover_timeout: Duration::from_secs(600),
            offer_mode: OfferMode::Optimistic,
            offer_timeout: None,
            url: None,
            labels: BTreeMap::new(),
            rules: Arc::default(),
        };
        Self { access, info, store: None, commands_max: 1024, stop_timeout: Duration::from_secs(5) }
    }

    /// The same with its state kept in `store`.
    #[must_use]
    pub fn keep_in(mut self, store: impl StateStore + 'static) -> Self {
        self.store = Some(Box::new(store));
        self
    }
}
