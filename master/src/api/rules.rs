//! What frameworks ask of offers, as programs see it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use rialto_core::model::{self, Regions};

/// What a framework asks of its offers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OfferRules {
    /// The constraints on agents by role, as text: `rack == "r1" && @zone != "z2" || host exists`.
    pub constraints: BTreeMap<String, String>,
    /// The smallest offers by role, as text: `cpus:1;mem:512|device/gpu:1`; an empty text stands for any.
    pub least: BTreeMap<String, String>,
    /// Whether it takes offers from other regions than the master's.
    pub all_regions: bool,
}

impl OfferRules {
    /// The rules, if they ask for anything.
    pub(super) fn unless_default(rules: &model::OfferRules) -> Option<Self> {
        (*rules != model::OfferRules::default()).then(|| Self::new(rules))
    }

    /// The rules as programs see them.
    pub fn new(rules: &model::OfferRules) -> Self {
        let constraints =
            rules.constraints.iter().map(|(role, constraints)| (role.to_string(), constraints.to_string()));
        let least = rules.least.iter().map(|(role, least)| (role.to_string(), least.to_string()));
        Self { constraints: constraints.collect(), least: least.collect(), all_regions: rules.regions == Regions::All }
    }
}
