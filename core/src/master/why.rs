//! Why it waits: every reason that holds, with the number of agents for which it does.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::available::{AgentAttributes, fits_amounts};
use super::state::{Agent, Framework};
use super::view::AgentStatus;
use super::{Master, Target};
use crate::allocator::explain::{Cause, CauseKind, Explanation, Wait};
use crate::model::{
    Alternative, Count, DeviceState, FrameworkId, OfferMode, Reject, ResourceName, Resources, Role, Shape, Share,
    TaskKey, Time,
};

impl Master {
    pub(super) fn why(&self, target: &Target) -> Result<Explanation, Reject> {
        match target {
            Target::Framework(id) => self.why_framework(*id, None),
            Target::Shape(id, name) => self.why_framework(*id, Some(name)),
            Target::Task(key) => self.why_task(key),
        }
    }

    fn why_task(&self, key: &TaskKey) -> Result<Explanation, Reject> {
        let entry = self.tasks.get(key).ok_or_else(|| Reject::UnknownTask(key.task.clone()))?;
        let message = match entry.status.reason {
            Some(reason) => Arc::from(format!("{reason}: {}", entry.status.message)),
            None => entry.status.message.clone(),
        };
        Ok(Explanation {
            subject: format!("task {key}"),
            waits: Vec::new(),
            task: Some((key.clone(), entry.state, message)),
        })
    }

    fn why_framework(&self, id: FrameworkId, name: Option<&str>) -> Result<Explanation, Reject> {
        let framework = self.frameworks.get(&id).ok_or(Reject::UnknownFramework)?;
        let shapes =
            framework.demand.iter().flat_map(|(role, demand)| demand.shapes.iter().map(move |shape| (role, shape)));
        let asked = shapes.filter(|(_, shape)| name.is_none_or(|name| *shape.name == *name));
        let waits: Vec<Wait> = asked.map(|(role, shape)| self.why_shape(id, framework, role, shape)).collect();
        Ok(Explanation { subject: format!("framework {id} ({})", framework.record.info.name), waits, task: None })
    }

    fn why_shape(&self, id: FrameworkId, framework: &Framework, role: &Role, shape: &Shape) -> Wait {
        let mut tally = Tally::default();
        if framework.peer.is_none() {
            tally.count(CauseKind::FrameworkAway);
        }
        if framework.suppressed.contains(role) {
            tally.count(CauseKind::Suppressed);
        }
        let known = self.agents.values().map(|agent| &**agent);
        let agents: Vec<&Agent> = known.filter(|agent| agent.status != AgentStatus::Gone).collect();
        if let Some(never) = never_fits(&agents, shape) {
            tally.count(never);
        } else {
            for (agent_id, agent) in self.agents.iter().filter(|(_, agent)| agent.status != AgentStatus::Gone) {
                for cause in self.causes(id, framework, role, shape, *agent_id, agent) {
                    tally.count(cause);
                }
            }
        }
        Wait {
            shape: shape.name.clone(),
            asks: asks(shape),
            count: shape.count,
            agents: agents.len(),
            reasons: tally.causes(),
        }
    }

    /// Every reason why this agent does not run one of the shape now.
    fn causes(
        &self,
        id: FrameworkId,
        framework: &Framework,
        role: &Role,
        shape: &Shape,
        agent_id: crate::model::AgentId,
        agent: &Agent,
    ) -> Vec<CauseKind> {
        if agent.status != AgentStatus::Active {
            return vec![CauseKind::AgentAway];
        }
        if !shape.constraint.is_any() && !shape.constraint.matches(&AgentAttributes(agent)) {
            return vec![CauseKind::ConstraintNotMet {
                nearest: shape.constraint.unmet(&AgentAttributes(agent)).join(", "),
            }];
        }
        let mut causes = device_causes(agent, shape);
        let free = agent.free.for_role(role);
        if let Some(missing) = missing_amounts(shape, &free) {
            causes.push(CauseKind::NotEnoughFree { missing });
        }
        let others = self.holders_of_offers(agent, id);
        if !agent.locked.is_empty() && !others.is_empty() && !agent.fits(shape, &agent.available(role)) {
            causes.push(CauseKind::OfferedToOthers { frameworks: others });
        }
        if let Some((until, reason)) = self.filter_of(framework, role, agent) {
            causes.push(CauseKind::Filtered { seconds: until.since(self.now).as_secs() + 1, reason });
        }
        let offered = agent.offers.iter().any(|(offer, _)| self.offers[offer].framework == id);
        if causes.is_empty() && offered {
            causes.push(CauseKind::Offered { agents: vec![agent_id] });
        }
        causes
    }

    /// The end of what the framework refused of the agent, and why it did.
    fn filter_of(&self, framework: &Framework, role: &Role, agent: &Agent) -> Option<(Time, Option<Arc<str>>)> {
        let refuser = self.clients.refuser(*framework.clients.get(role)?)?;
        let filter = agent.filters.of(refuser).filter(|filter| filter.until() > self.now).last()?;
        Some((filter.until(), self.reasons.text(filter.reason()).cloned()))
    }

    fn holders_of_offers(&self, agent: &Agent, but: FrameworkId) -> Vec<FrameworkId> {
        let entries = agent.offers.iter().map(|(offer, _)| &self.offers[offer]);
        let exclusive = entries.filter(|entry| entry.offer.mode == OfferMode::Exclusive && entry.framework != but);
        let mut holders: Vec<FrameworkId> = exclusive.map(|entry| entry.framework).collect();
        holders.sort_unstable();
        holders.dedup();
        holders
    }
}

/// Reasons with their counts. Those of one kind are merged where they differ only in detail.
#[derive(Default)]
struct Tally(Vec<Cause>);

impl Tally {
    fn count(&mut self, kind: CauseKind) {
        let same = |cause: &&mut Cause| std::mem::discriminant(&cause.kind) == std::mem::discriminant(&kind);
        match self.0.iter_mut().find(same) {
            Some(cause) => {
                cause.agents += 1;
                merge(&mut cause.kind, kind);
            }
            None => self.0.push(Cause { agents: 1, kind }),
        }
    }

    fn causes(mut self) -> Vec<Cause> {
        self.0.sort_by(|a, b| (b.agents, &a.kind).cmp(&(a.agents, &b.kind)));
        self.0
    }
}

/// What is told of at most so many things of a kind.
const LISTED_MAX: usize = 8;

fn merge(into: &mut CauseKind, from: CauseKind) {
    fn extend<T>(into: &mut Vec<T>, from: Vec<T>) {
        into.extend(from);
        into.truncate(LISTED_MAX);
    }
    match (into, from) {
        (CauseKind::DevicesHeld { held: into }, CauseKind::DevicesHeld { held: from }) => extend(into, from),
        (CauseKind::DevicesCleaning { devices: into }, CauseKind::DevicesCleaning { devices: from })
        | (CauseKind::DevicesBroken { devices: into }, CauseKind::DevicesBroken { devices: from }) => {
            extend(into, from);
        }
        (CauseKind::Offered { agents: into }, CauseKind::Offered { agents: from }) => extend(into, from),
        (CauseKind::NotEnoughFree { missing: into }, CauseKind::NotEnoughFree { missing: from })
            if from.len() < into.len() =>
        {
            *into = from;
        }
        (CauseKind::Filtered { seconds: into, .. }, CauseKind::Filtered { seconds: from, .. }) => {
            *into = (*into).max(from);
        }
        _ => {}
    }
}

fn asks(shape: &Shape) -> String {
    let claims = shape.claims.iter().map(|claim| format!("device[{claim}]"));
    let constraint = (!shape.constraint.is_any()).then(|| format!("where {}", shape.constraint));
    let parts: Vec<String> = std::iter::once(shape.resources.to_string()).chain(claims).chain(constraint).collect();
    parts.join(" ")
}

/// Why no agent could hold the shape even if it were empty; `None` if one could.
fn never_fits(agents: &[&Agent], shape: &Shape) -> Option<CauseKind> {
    let could = |agent: &&&Agent| {
        let everything = agent.record.resources.plus(&Resources::devices(agent.devices.keys().cloned()));
        agent.fits(shape, &everything)
    };
    if agents.iter().any(|agent| could(&agent)) {
        return None;
    }
    let device =
        shape.claims.iter().flat_map(|claim| claim.alternatives.first()).find_map(|wanted| no_device(agents, wanted));
    Some(device.unwrap_or_else(|| CauseKind::NeverFits { nearest: nearest(agents, shape) }))
}

fn no_device(agents: &[&Agent], wanted: &Alternative) -> Option<CauseKind> {
    let of_kind =
        || agents.iter().flat_map(|agent| agent.devices.values()).filter(|entry| entry.device.kind == wanted.kind);
    if of_kind().next().is_none() {
        return Some(CauseKind::NoSuchDevice { kind: wanted.kind.clone() });
    }
    if of_kind().any(|entry| wanted.selector.matches(&*entry.device)) {
        return None;
    }
    let nearest = of_kind().min_by_key(|entry| wanted.selector.unmet(&*entry.device).len())?;
    let unmet = wanted.selector.unmet(&*nearest.device).join(", ");
    Some(CauseKind::NoDeviceMatches { nearest: format!("{} lacks {unmet}", nearest.device.id) })
}

/// The agent that lacks least, and what.
fn nearest(agents: &[&Agent], shape: &Shape) -> String {
    let lacks = agents.iter().map(|agent| {
        let constraint = shape.constraint.unmet(&AgentAttributes(agent)).join(", ");
        let missing = missing_amounts(shape, &agent.record.resources).unwrap_or_default();
        let devices = agent
            .resolve(&shape.claims, &Resources::devices(agent.devices.keys().cloned()))
            .err()
            .map(|unmet| unmet.to_string())
            .unwrap_or_default();
        let parts: Vec<String> = [missing, constraint, devices].into_iter().filter(|part| !part.is_empty()).collect();
        (parts.len(), format!("{} lacks {}", agent.record.name, parts.join("; ")))
    });
    lacks.min().map_or_else(|| "the cluster has no agents".to_owned(), |(_, text)| text)
}

/// What of the scalars and ports is missing; `None` if nothing is.
fn missing_amounts(shape: &Shape, available: &Resources) -> Option<String> {
    let asked = shape.resources.without_devices();
    if fits_amounts(&asked, available) {
        return None;
    }
    let have = available.quantities();
    let short = asked.quantities();
    let mut missing: Vec<String> = short
        .iter()
        .filter(|(name, amount)| *amount > have.get(name))
        .map(|(name, amount)| format!("{name}: {amount} wanted, {} there", have.get(name)))
        .collect();
    let ports = ResourceName::ports();
    let (wanted, there) = (asked.ranges(&ports).len(), available.ranges(&ports).len());
    if wanted > there {
        missing.push(format!("ports: {wanted} wanted, {there} there"));
    }
    Some(missing.join(", "))
}

/// Why the agent's matching devices are not to be had; empty if enough of them are, or none would ever be.
fn device_causes(agent: &Agent, shape: &Shape) -> Vec<CauseKind> {
    if shape.claims.is_empty() || agent.resolve(&shape.claims, &agent.free).is_ok() {
        return Vec::new();
    }
    let mut groups: BTreeMap<u8, CauseKind> = BTreeMap::new();
    for wanted in shape.claims.iter().flat_map(|claim| &claim.alternatives) {
        for entry in agent.devices.values() {
            if entry.device.kind != wanted.kind || !wanted.selector.matches(&*entry.device) {
                continue;
            }
            let name = format!("{} on {}", entry.device.id, agent.record.name);
            let (order, cause) = match &entry.state {
                DeviceState::Allocated(_) | DeviceState::Sliced(_) if entry.state.holders().next().is_some() => {
                    let holder = |(key, share): (&TaskKey, Share)| (part_name(&name, share), key.clone());
                    (0, CauseKind::DevicesHeld { held: entry.state.holders().map(holder).collect() })
                }
                DeviceState::Allocated(_) | DeviceState::Sliced(_) => {
                    (1, CauseKind::DevicesCleaning { devices: vec![name] })
                }
                DeviceState::Cleaning { .. } => (1, CauseKind::DevicesCleaning { devices: vec![name] }),
                DeviceState::Quarantined { reason } => {
                    (2, CauseKind::DevicesBroken { devices: vec![format!("{name} (quarantined: {reason})")] })
                }
                DeviceState::Free if !entry.device.health.is_usable() => {
                    let health = entry.device.health.as_str();
                    (2, CauseKind::DevicesBroken { devices: vec![format!("{name} ({health})")] })
                }
                DeviceState::Free => continue,
            };
            match groups.get_mut(&order) {
                Some(group) => merge(group, cause),
                None => drop(groups.insert(order, cause)),
            }
        }
    }
    if groups.is_empty() {
        return vec![missing_here(agent, shape)];
    }
    groups.into_values().collect()
}

/// The name of a device, or of a part of it.
fn part_name(name: &str, share: Share) -> String {
    if share == Share::WHOLE { name.to_owned() } else { format!("{}‰ of {name}", share.0) }
}

/// Devices are free here, or none are here at all: too few, or none that matches.
fn missing_here(agent: &Agent, shape: &Shape) -> CauseKind {
    let wanted = first_alternative(shape);
    let matches =
        agent.devices.values().any(|entry| entry.device.kind == wanted.kind && wanted.selector.matches(&*entry.device));
    if matches {
        CauseKind::NotEnoughFree { missing: too_few(shape) }
    } else {
        CauseKind::NoDeviceHere { claim: wanted.to_string() }
    }
}

fn first_alternative(shape: &Shape) -> &Alternative {
    shape
        .claims
        .iter()
        .flat_map(|claim| &claim.alternatives)
        .next()
        .expect("the caller has seen a claim, and a claim has one")
}

fn too_few(shape: &Shape) -> String {
    let wanted = first_alternative(shape);
    match wanted.count {
        Count::Exactly(count) => format!("{}: {count} wanted", wanted.kind),
        Count::All => format!("{}: all wanted", wanted.kind),
    }
}
