use std::collections::{BTreeMap, BTreeSet};

use super::{Least, OfferConstraints, Reject, Role};

/// What a framework asks of its offers beside what it waits for. It can be changed while the framework is connected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfferRules {
    /// On which agents it takes offers, by role; on all, where nothing is said.
    pub constraints: BTreeMap<Role, OfferConstraints>,
    /// The smallest offers that it takes, by role; the master's own, where nothing is said.
    pub least: BTreeMap<Role, Least>,
    /// From where it takes offers.
    pub regions: Regions,
}

impl OfferRules {
    /// Whether they say nothing of roles that are not among `roles`.
    ///
    /// # Errors
    /// Names the field, and the role that is not among them.
    pub fn check(&self, roles: &BTreeSet<Role>) -> Result<(), Reject> {
        let constrained = self.constraints.keys().map(|role| ("rules.constraints", role));
        let bounded = self.least.keys().map(|role| ("rules.least", role));
        match constrained.chain(bounded).find(|(_, role)| !roles.contains(*role)) {
            Some((field, role)) => Err(Reject::invalid(
                field,
                format!("expected roles of the framework, got {role}, which is none of them"),
            )),
            None => Ok(()),
        }
    }
}

/// From where a framework takes offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Regions {
    /// From the master's region. The default, as in Mesos: who does not know of regions would spread a service over continents.
    #[default]
    Home,
    /// From all (Mesos' capability `REGION_AWARE`).
    All,
}
