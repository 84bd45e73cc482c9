use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Attribute, Attributes, Domain};

/// What an agent is like, beside what it has. Shared by its record, its offers and its row, because it rarely changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentInfo {
    /// For people.
    pub name: Arc<str>,
    /// What selectors and constraints ask for.
    pub attributes: BTreeMap<Arc<str>, Attribute>,
    /// Where it stands, if it was told.
    pub domain: Option<Domain>,
}

/// `name`, `region` and `zone` are found beside the attributes.
impl Attributes for AgentInfo {
    fn attribute(&self, name: &str) -> Option<Attribute> {
        let of_domain = |part: fn(&Domain) -> &Arc<str>| Some(Attribute::Text(part(self.domain.as_ref()?).clone()));
        match name {
            "name" => return Some(Attribute::Text(self.name.clone())),
            "region" => of_domain(Domain::region),
            "zone" => of_domain(Domain::zone),
            _ => None,
        }
        .or_else(|| self.attributes.get(name).cloned())
    }
}
