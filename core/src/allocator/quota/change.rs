//! What operators set: the text of it, and what is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::{Bounds, Quota, Quotas, is_at_or_below, named, prefixes};
use crate::model::{Milli, MilliError, Quantities, ResourceName, Role};

/// The longest model of a device that a quota may name, in bytes.
const MODEL_MAX: usize = 200;
/// The most roles that may have a quota at once.
const ROLES_MAX: usize = 10_000;

/// Why quotas are not what an operator may set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuotaError {
    /// An entry of a list is not a name and an amount.
    #[error("expected NAME:AMOUNT;…, as in cpus:10;mem:4096;device/gpu:2, got {0:?}")]
    Form(String),
    /// A name that nothing is counted under.
    #[error("expected a scalar such as cpus, device/KIND or device/KIND/MODEL, got {0:?}")]
    Name(String),
    /// A name that is given twice.
    #[error("{0}: given twice")]
    Twice(String),
    /// An amount that is not one.
    #[error("{name}: {error}")]
    Amount {
        /// Of what.
        name: String,
        /// What is wrong with it.
        error: MilliError,
    },
    /// More than anything can be.
    #[error("{role}: {resource}: expected at most {max}, got {amount}", max = Milli::MAX)]
    Absurd {
        /// Of which role.
        role: Role,
        /// Of what.
        resource: ResourceName,
        /// How much.
        amount: Milli,
    },
    /// The priorities' bounds are the wrong way round.
    #[error("{role}: priorities: expected the lowest first, got {lowest}..{highest}")]
    Priorities {
        /// Of which role.
        role: Role,
        /// The lowest.
        lowest: i32,
        /// The highest.
        highest: i32,
    },
    /// More roles than quotas are kept for.
    #[error("expected at most {ROLES_MAX} roles with a quota, got {0}")]
    TooMany(usize),
    /// The same role is named twice in one change.
    #[error("{0}: named twice")]
    RoleTwice(Role),
    /// A role may hold less than it is guaranteed.
    #[error("{role}: {resource}: limit {limit} is below its guarantee of {guarantee}")]
    BelowGuarantee {
        /// Which role.
        role: Role,
        /// Of what.
        resource: ResourceName,
        /// The limit.
        limit: Milli,
        /// The guarantee.
        guarantee: Milli,
    },
    /// Those below a role are guaranteed more than it may hold.
    #[error("{role}: {resource}: limit {limit} is below the guarantees of the roles below it, {guaranteed} together")]
    BelowChildren {
        /// Which role.
        role: Role,
        /// Of what.
        resource: ResourceName,
        /// The limit.
        limit: Milli,
        /// What those below it are guaranteed together.
        guaranteed: Milli,
    },
    /// A role holds more already. May be forced.
    #[error(
        "{role}: {resource}: limit {limit} is below the {held} that it holds; force it to end nothing and launch nothing until less is held"
    )]
    BelowUse {
        /// Which role.
        role: Role,
        /// Of what.
        resource: ResourceName,
        /// The limit.
        limit: Milli,
        /// What is held.
        held: Milli,
    },
    /// The cluster does not have what is guaranteed. May be forced.
    #[error(
        "{resource}: the guarantees of all roles are {guaranteed} together, and the cluster has {total}; force it if more is to come"
    )]
    BeyondCluster {
        /// Of what.
        resource: ResourceName,
        /// What all guarantees are together.
        guaranteed: Milli,
        /// What there is.
        total: Milli,
    },
}

/// Whether what can be forced is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// What an operator may do by mistake is refused.
    No,
    /// It is done.
    Yes,
}

impl Quotas {
    /// Sets quotas, or takes them back: all of them or none. The roles' exclusive offers may exceed the new limits; the caller takes
    /// them back.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn set(&mut self, changes: &[(Role, Option<Quota>)], force: Force) -> Result<(), QuotaError> {
        let next = self.quotas_after(changes)?;
        for (role, quota) in changes {
            check_quota(role, quota.as_ref())?;
        }
        check_tree(&next)?;
        if force == Force::No {
            self.check_use(changes)?;
            self.check_cluster(changes, &next)?;
        }
        for (role, quota) in changes {
            self.put(role, quota.clone().unwrap_or_default());
        }
        Ok(())
    }

    /// Sets one quota that was set, and checked, before.
    pub fn restore(&mut self, role: &Role, quota: Quota) {
        self.put(role, quota);
    }

    fn put(&mut self, role: &Role, quota: Quota) {
        // Every role above is there as well, so that the tree can be walked from the top.
        self.each_up(role, |_| {});
        let node = self.node(role);
        let bounds = |quota: &Quota| (usize::from(!quota.limit.is_empty()), usize::from(!quota.guarantee.is_empty()));
        let (was, is) = (bounds(&node.usage.quota), bounds(&quota));
        node.usage.quota = quota;
        node.forget_tolerated();
        node.tolerate();
        node.unmet = node.is_unmet();
        let met = !node.unmet;
        self.limited = self.limited + is.0 - was.0;
        self.guaranteed = self.guaranteed + is.1 - was.1;
        if met {
            self.unmet.remove(role.as_str());
        } else {
            self.unmet.insert(Arc::from(role.as_str()));
        }
        self.relaxed.insert(Arc::from(role.as_str()));
        self.prune(role);
    }

    /// Every quota as it would be.
    fn quotas_after(&self, changes: &[(Role, Option<Quota>)]) -> Result<BTreeMap<Role, Quota>, QuotaError> {
        let set = self.nodes.iter().filter(|(_, node)| !node.usage.quota.is_empty());
        let mut next: BTreeMap<Role, Quota> = set.map(|(role, node)| (named(role), node.usage.quota.clone())).collect();
        let mut seen = BTreeSet::new();
        for (role, quota) in changes {
            if !seen.insert(role) {
                return Err(QuotaError::RoleTwice(role.clone()));
            }
            match quota {
                Some(quota) => drop(next.insert(role.clone(), quota.clone())),
                None => drop(next.remove(role)),
            }
        }
        if next.len() > ROLES_MAX {
            return Err(QuotaError::TooMany(next.len()));
        }
        Ok(next)
    }

    fn check_use(&self, changes: &[(Role, Option<Quota>)]) -> Result<(), QuotaError> {
        for (role, quota) in changes {
            let (Some(quota), Some(node)) = (quota, self.nodes.get(role.as_str())) else { continue };
            for (resource, limit) in &quota.limit {
                let held = node.usage.held.get(resource);
                let was = node.usage.quota.limit.get(resource);
                // What is exceeded already may be raised, or stay.
                if held > *limit && was.is_none_or(|was| limit < was) {
                    let (role, resource) = (role.clone(), resource.clone());
                    return Err(QuotaError::BelowUse { role, resource, limit: *limit, held });
                }
            }
        }
        Ok(())
    }

    /// Only where a guarantee is raised: an agent that left must not make every other change impossible.
    fn check_cluster(&self, changes: &[(Role, Option<Quota>)], next: &BTreeMap<Role, Quota>) -> Result<(), QuotaError> {
        let raised = |resource: &ResourceName| {
            changes.iter().any(|(role, quota)| {
                let now = quota.as_ref().map_or(Milli::ZERO, |quota| quota.guarantee.get(resource));
                let was =
                    self.nodes.get(role.as_str()).map_or(Milli::ZERO, |node| node.usage.quota.guarantee.get(resource));
                now > was
            })
        };
        let mut all = Quantities::new();
        for role in
            next.keys().filter(|role| prefixes(role).all(|above| above == role.as_str() || !is_set(next, above)))
        {
            all.add(&guaranteed(role, next));
        }
        for (resource, guaranteed) in all.iter() {
            let total = self.total.get(resource);
            if guaranteed > total && raised(resource) {
                return Err(QuotaError::BeyondCluster { resource: resource.clone(), guaranteed, total });
            }
        }
        Ok(())
    }
}

fn check_quota(role: &Role, quota: Option<&Quota>) -> Result<(), QuotaError> {
    let Some(quota) = quota else { return Ok(()) };
    let amounts = quota.limit.iter().map(|(name, amount)| (name, *amount)).chain(quota.guarantee.iter());
    for (resource, amount) in amounts {
        if !is_counted(resource.as_str()) {
            return Err(QuotaError::Name(resource.as_str().to_owned()));
        }
        if amount > Milli::MAX {
            return Err(QuotaError::Absurd { role: role.clone(), resource: resource.clone(), amount });
        }
    }
    for (resource, limit) in &quota.limit {
        let guarantee = quota.guarantee.get(resource);
        if guarantee > *limit {
            let (role, resource) = (role.clone(), resource.clone());
            return Err(QuotaError::BelowGuarantee { role, resource, limit: *limit, guarantee });
        }
    }
    match quota.priorities.filter(|bounds| bounds.lowest > bounds.highest) {
        Some(bounds) => {
            Err(QuotaError::Priorities { role: role.clone(), lowest: bounds.lowest, highest: bounds.highest })
        }
        None => Ok(()),
    }
}

/// No role is bounded below what is guaranteed under it.
fn check_tree(quotas: &BTreeMap<Role, Quota>) -> Result<(), QuotaError> {
    for (role, quota) in quotas.iter().filter(|(_, quota)| !quota.limit.is_empty()) {
        let below = guaranteed(role, quotas);
        for (resource, limit) in &quota.limit {
            let guaranteed = below.get(resource);
            if guaranteed > *limit {
                let (role, resource) = (role.clone(), resource.clone());
                return Err(QuotaError::BelowChildren { role, resource, limit: *limit, guaranteed });
            }
        }
    }
    Ok(())
}

/// What is guaranteed to a role: its own guarantee, or those of the roles below it together, where they are more.
fn guaranteed(role: &Role, quotas: &BTreeMap<Role, Quota>) -> Quantities {
    let mut below = Quantities::new();
    // In the order of the names all that is below the role comes right after it, with only such as `eng-x` between.
    let after = quotas.range((Bound::Excluded(role.clone()), Bound::Unbounded)).map(|(other, _)| other);
    let near = after.take_while(|other| other.as_str().starts_with(role.as_str()));
    let inside = near.filter(|other| is_at_or_below(other.as_str(), role.as_str()));
    // The next ones down only: those below them are in what is guaranteed to them.
    for child in inside {
        let between = prefixes(child).filter(|above| above.len() > role.as_str().len() && *above != child.as_str());
        if between.into_iter().all(|above| !is_set(quotas, above)) {
            below.add(&guaranteed(child, quotas));
        }
    }
    let Some(own) = quotas.get(role).map(|quota| &quota.guarantee) else { return below };
    for (resource, amount) in own.iter() {
        below.set(resource, below.get(resource).max(amount));
    }
    below
}

fn is_set(quotas: &BTreeMap<Role, Quota>, role: &str) -> bool {
    quotas.contains_key(&named(role))
}

/// Whether something is counted under that name.
fn is_counted(name: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty()
            && word.len() <= ResourceName::MAX_LEN
            && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
    };
    match name.strip_prefix("device/").map(|rest| rest.split_once('/').unwrap_or((rest, "any"))) {
        Some((kind, model)) => {
            is_word(kind) && !model.is_empty() && model.len() <= MODEL_MAX && !model.contains(char::is_control)
        }
        // Ports are not amounts: nothing counts them.
        None => is_word(name) && name != "ports",
    }
}

/// Reads `cpus:10;mem:4096;device/gpu:2;device/gpu/T4:1`.
///
/// # Errors
/// If an entry is not of that form.
pub fn parse_amounts(text: &str) -> Result<Bounds, QuotaError> {
    let mut amounts = Bounds::new();
    for entry in text.split(';').map(str::trim).filter(|entry| !entry.is_empty()) {
        // A model may have a colon in its name; an amount has none.
        let (name, amount) = entry.rsplit_once(':').ok_or_else(|| QuotaError::Form(entry.to_owned()))?;
        let (name, amount) = (name.trim(), amount.trim());
        if !is_counted(name) {
            return Err(QuotaError::Name(name.to_owned()));
        }
        let amount = amount.parse::<Milli>().map_err(|error| QuotaError::Amount { name: name.to_owned(), error })?;
        if amounts.insert(ResourceName::new(name), amount).is_some() {
            return Err(QuotaError::Twice(name.to_owned()));
        }
    }
    Ok(amounts)
}
