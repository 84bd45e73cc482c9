//! Work that may be taken back at any time: it runs on what a machine keeps for the tenants of its devices, until one of them needs it.

use std::sync::Arc;

use super::{Host, Needs, Placement};
use crate::model::{Amounts, Flavor, Guarantee, Quantities, Resources};

impl Needs {
    /// The same as work that may be taken back at any time. Such work asks for scalars alone. Its framework has the capability
    /// `REVOCABLE_RESOURCES` and takes optimistic offers, or it is offered nothing for it.
    #[must_use]
    pub fn revocable(self) -> Self {
        Self { guarantee: Guarantee::Revocable, ..self }
    }

    /// What it asks for, as a demand says it.
    pub(super) fn amounts(&self) -> Resources {
        let flavor = Flavor { guarantee: self.guarantee, ..Flavor::default() };
        Resources::flavored(flavor, Amounts { scalars: self.resources.clone(), ..Amounts::default() })
    }
}

impl Host {
    /// What is left for such needs.
    pub(super) fn left_for(&self, needs: &Needs) -> Quantities {
        match needs.guarantee {
            Guarantee::Firm => self.left.quantities(),
            Guarantee::Revocable => self.revocable.quantities(),
        }
    }

    /// Takes what is needed of what may be taken back, or nothing.
    pub(super) fn take_revocable(&mut self, needs: &Needs) -> Option<Placement> {
        let is_scalars = needs.claims.is_empty() && needs.volumes.is_empty() && needs.ports == 0;
        let resources = needs.amounts();
        (is_scalars && self.revocable.subtract(&resources)).then(|| Placement {
            agent: self.agent,
            agent_name: Arc::clone(&self.info.name),
            resources,
            ports: Vec::new(),
        })
    }
}
