//! Those who say what they wait for are not kept waiting by those who take whatever comes.

use std::sync::Arc;

use super::Master;
use crate::model::{FrameworkId, OfferMode, Role};

impl Master {
    /// The order in which an agent is offered: that of shares, but every second place, the first among them, goes to the next who has
    /// declared a demand. So it is offered what is free at once, however many others decline everything, and these are not passed over
    /// either. It holds for optimistic offers, which lock nothing.
    pub(super) fn declared_first(&self, order: Arc<[(Role, FrameworkId)]>) -> Arc<[(Role, FrameworkId)]> {
        let is_declared = |(role, framework): &&(Role, FrameworkId)| {
            let client = self.frameworks.get(framework);
            client.is_some_and(|client| client.mode() == OfferMode::Optimistic && client.demand.contains_key(role))
        };
        let (mut declared, mut silent): (Vec<_>, Vec<_>) = order.iter().partition(is_declared);
        if declared.is_empty() || silent.is_empty() {
            return order;
        }
        let rest = if declared.len() < silent.len() {
            silent.split_off(declared.len())
        } else {
            declared.split_off(silent.len())
        };
        let pairs = declared.into_iter().zip(silent).flat_map(<[_; 2]>::from);
        pairs.chain(rest).cloned().collect()
    }
}
