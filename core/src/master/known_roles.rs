//! Which roles there may be: any that is well formed, unless the master is told which.

use super::Master;
use crate::model::{Reject, Role};

/// The most roles that may have a weight of their own.
pub(super) const WEIGHTS_MAX: usize = 10_000;

impl Master {
    /// Refuses a role that is none of those that the master is told to know, nor below one.
    pub(super) fn check_role(&self, field: &str, role: &Role) -> Result<(), Reject> {
        let known = &self.config.roles;
        let is_known = |one: &Role| one == role || role.is_below(one);
        if known.is_empty() || *role == Role::any() || known.iter().any(is_known) {
            return Ok(());
        }
        let names: Vec<&str> = known.iter().map(Role::as_str).collect();
        Err(Reject::invalid(field, format!("expected one of {} or below, got {role}", names.join(", "))))
    }
}
