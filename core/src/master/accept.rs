//! Acceptance: what was offered is turned into tasks, judged against what is free now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::devices::claim_gpus;
use super::host_share::check_revocable;
use super::view::AgentStatus;
use super::{Master, Outbox};
use crate::allocator::plain;
use crate::allocator::reservations::Conversion;
use crate::model::{
    Accept, AgentId, Body, DeviceId, FrameworkId, OfferId, Operation, Reason, Refusal, Reject, Rejection, Resources,
    Role, Share, Task, TaskGroup, TaskId, TaskKey, TaskState, ToAgent,
};
use crate::planted::{Fault, planted};

/// The most offers, and the most operations, that one accept may name.
const OFFERS_MAX: usize = 64;
const OPERATIONS_MAX: usize = 1024;

/// The offers of one accept, taken together.
pub(super) struct Taken {
    pub(super) role: Role,
    /// What was offered.
    offered: Resources,
    /// What of it the operations so far have not used, and what they have made of it.
    pub(super) left: Resources,
    /// What the operations name of reservations; tasks that name only amounts use other parts first.
    named: Resources,
    /// Offers that stand in the place of accepted ones, and hold what these hold.
    outdated: Vec<OfferId>,
}

/// A group that may be launched.
pub(super) struct Judged {
    /// With the devices that its claims get.
    pub(super) group: TaskGroup,
    /// Whether it is beyond the guarantee of its role, while another's is not met.
    pub(super) borrowed: bool,
}

impl Taken {
    /// All of `resources`, as if they had been offered for `role` to who launches `group`.
    pub(super) fn of(role: Role, resources: Resources, group: &TaskGroup) -> Self {
        let named = named(&[Operation::Launch(group.clone())]);
        Self { role, left: resources.clone(), offered: resources, named, outdated: Vec::new() }
    }
}

impl Master {
    pub(super) fn accept(&mut self, framework: FrameworkId, accept: Accept, out: &mut Outbox) {
        let earlier_term = accept.offers.iter().any(|offer| offer.term < self.term);
        let unheard = self.agents.get_mut(&accept.agent).filter(|agent| earlier_term && !agent.heard);
        match unheard.map(|agent| (agent.status, agent)) {
            Some((_, agent)) if agent.is_awaited() => {
                agent.parked.retain(|(other, parked)| (*other, parked.id) != (framework, accept.id));
                return agent.parked.push((framework, accept));
            }
            Some((AgentStatus::Unreachable, _)) => return self.doubt(framework, accept, out),
            _ => {}
        }
        let rejected = match self.take_offers(framework, &accept) {
            Ok(taken) => self.operate(framework, accept.agent, taken, accept.operations, &accept.refusal, out),
            Err(reject) => self.reject_all(framework, &accept, &reject),
        };
        self.outcome(framework, accept.id, rejected, out);
    }

    /// The agent may have got these launches from an earlier master, and is away: until it is back, the tasks are unreachable.
    fn doubt(&mut self, framework: FrameworkId, accept: Accept, out: &mut Outbox) {
        let mut rejected = Vec::new();
        for (operation, what) in accept.operations.into_iter().enumerate() {
            let Operation::Launch(group) = what else {
                rejected.push(Rejection { operation, tasks: Vec::new(), reject: Reject::AgentAway(accept.agent) });
                continue;
            };
            self.doubt_group(framework, accept.agent, &group, out);
        }
        self.outcome(framework, accept.id, rejected, out);
    }

    pub(super) fn doubt_group(&mut self, framework: FrameworkId, agent: AgentId, group: &TaskGroup, out: &mut Outbox) {
        for task in group.tasks.iter().filter(|task| !task.resources.is_empty()) {
            let key = TaskKey::new(framework, task.id.clone());
            if self.tasks.contains_key(&key) || self.frameworks[&framework].completed.contains(&task.id) {
                continue;
            }
            self.insert_task(&key, group.leader(), task.clone(), agent, TaskState::Unreachable);
            let status = self.master_status(&key, TaskState::Unreachable);
            let status = status.because(Reason::AgentDisconnected, "its agent is away, and may have got the launch");
            self.notify(&key, status, out);
        }
    }

    /// Answers accepts of an earlier term, now that it is known what runs on the agent.
    pub(super) fn settle_parked(&mut self, id: AgentId, out: &mut Outbox) {
        let agent = self.agents.get_mut(&id).expect("the caller has found it");
        for (framework, accept) in std::mem::take(&mut agent.parked) {
            if self.frameworks.contains_key(&framework) && !planted(Fault::LoseParkedAccepts) {
                self.accept(framework, accept, out);
            }
        }
        self.settle_parked_gangs(id, out);
    }

    pub(super) fn take_offers(&mut self, framework: FrameworkId, accept: &Accept) -> Result<Taken, Reject> {
        if accept.offers.is_empty() || accept.offers.len() > OFFERS_MAX {
            return Err(Reject::invalid("accept.offers", format!("expected 1 to {OFFERS_MAX} offers")));
        }
        if accept.operations.len() > OPERATIONS_MAX {
            return Err(Reject::Limit { what: "operations in an accept", limit: OPERATIONS_MAX as u64 });
        }
        let current: BTreeSet<OfferId> =
            accept.offers.iter().map(|id| self.replaced.get(id).copied().unwrap_or(*id)).collect();
        let mut taken: Option<Taken> = None;
        for id in &current {
            let entry =
                self.offers.get(id).filter(|entry| entry.framework == framework).ok_or(Reject::OfferGone(*id))?;
            if entry.offer.agent != accept.agent {
                return Err(Reject::invalid(
                    "accept.agent",
                    format!("expected {}, the agent of offer {id}", entry.offer.agent),
                ));
            }
            let offer = &entry.offer;
            let taken = taken.get_or_insert_with(|| Taken {
                role: offer.role.clone(),
                offered: Resources::new(),
                left: Resources::new(),
                named: named(&accept.operations),
                outdated: Vec::new(),
            });
            if taken.role != offer.role {
                return Err(Reject::invalid("accept.offers", "expected offers of one role"));
            }
            taken.offered.add_offered(&offer.resources);
        }
        let mut outdated = Vec::new();
        for id in &accept.offers {
            self.stats.offers_accepted += 1;
            // The offer that replaced an accepted one has reached the framework meanwhile, or will: it is judged in its turn.
            match self.replaced.remove(id).and_then(|current| self.offers.get_mut(&current)) {
                Some(current) => {
                    current.replaces.retain(|old| old != id);
                    outdated.push(current.offer.id);
                }
                None => drop(self.remove_offer(*id)),
            }
        }
        let mut taken = taken.expect("at least one offer is named");
        taken.outdated = outdated;
        taken.left = taken.offered.clone();
        Ok(taken)
    }

    /// Nothing of the accept is done. A task that runs already was launched by an earlier try of the same accept.
    fn reject_all(&mut self, framework: FrameworkId, accept: &Accept, reject: &Reject) -> Vec<Rejection> {
        let mut rejected = Vec::new();
        for (operation, what) in accept.operations.iter().enumerate() {
            let Operation::Launch(group) = what else {
                rejected.push(Rejection { operation, tasks: Vec::new(), reject: reject.clone() });
                continue;
            };
            let unknown: Vec<&Task> =
                group.tasks.iter().filter(|task| !self.is_launched(framework, accept.agent, task)).collect();
            if !unknown.is_empty() {
                rejected.push(self.refuse_launch(operation, &unknown, reject.clone()));
            }
        }
        rejected
    }

    pub(super) fn is_launched(&self, framework: FrameworkId, agent: AgentId, task: &Task) -> bool {
        let key = TaskKey::new(framework, task.id.clone());
        self.tasks.get(&key).is_some_and(|entry| entry.agent == agent)
            || self.frameworks[&framework].completed.contains(&task.id)
    }

    fn refuse_launch(&mut self, operation: usize, tasks: &[&Task], reject: Reject) -> Rejection {
        self.refuse_tasks(operation, tasks.iter().map(|task| task.id.clone()).collect(), reject)
    }

    pub(super) fn refuse_tasks(&mut self, operation: usize, tasks: Vec<TaskId>, reject: Reject) -> Rejection {
        self.stats.launches_refused += tasks.len() as u64;
        if matches!(reject, Reject::OfferConflict { .. } | Reject::OfferGone(_)) {
            self.stats.offer_conflicts += tasks.len() as u64;
        }
        Rejection { operation, tasks, reject }
    }

    fn operate(
        &mut self,
        framework: FrameworkId,
        agent: AgentId,
        mut taken: Taken,
        operations: Vec<Operation>,
        refusal: &Refusal,
        out: &mut Outbox,
    ) -> Vec<Rejection> {
        let mut rejected = Vec::new();
        for (operation, what) in operations.into_iter().enumerate() {
            match what {
                Operation::Launch(group) => {
                    if let Err(reject) = self.launch(framework, agent, &mut taken, &group, out) {
                        let tasks: Vec<&Task> = group.tasks.iter().collect();
                        rejected.push(self.refuse_launch(operation, &tasks, reject));
                    }
                }
                other => {
                    if let Err(reject) = self.operate_offered(framework, agent, &mut taken, other, out) {
                        rejected.push(Rejection { operation, tasks: Vec::new(), reject });
                    }
                }
            }
        }
        if taken.left != taken.offered {
            self.begin_calm(framework, &taken.role);
            // They say more than there is now; the framework would find out only by a conflict.
            taken.outdated.iter().for_each(|offer| self.prune(*offer, out));
        }
        self.return_rest(framework, agent, &taken, Some(refusal));
        rejected
    }

    /// What the accept did not use is refused for as long as its framework says. Without a `refusal` nothing was used.
    pub(super) fn return_rest(
        &mut self,
        framework: FrameworkId,
        agent: AgentId,
        taken: &Taken,
        refusal: Option<&Refusal>,
    ) {
        let left = if refusal.is_none() { &taken.offered } else { &taken.left };
        let refusal = refusal.filter(|refusal| *left != taken.offered || !refusal.duration.is_zero());
        // What was made of the offer is news to the framework: only what is as it was offered is refused.
        let unchanged = left.iter().filter(|(flavor, _)| taken.offered.get(flavor).is_some());
        let mut refused = Resources::new();
        unchanged.for_each(|(flavor, part)| refused.add(&Resources::flavored(flavor.clone(), part.clone())));
        let refusal = refusal.cloned().unwrap_or_else(|| Refusal::of(FRUITLESS));
        self.refuse(framework, agent, &taken.role, Arc::new(refused), &refusal);
        self.want_agent_round(agent);
    }

    pub(super) fn launch(
        &mut self,
        framework: FrameworkId,
        agent: AgentId,
        taken: &mut Taken,
        group: &TaskGroup,
        out: &mut Outbox,
    ) -> Result<(), Reject> {
        if group.tasks.iter().all(|task| self.is_launched(framework, agent, task)) && !group.tasks.is_empty() {
            return Ok(());
        }
        let Judged { group, borrowed } = self.judge(framework, agent, taken, group)?;
        let keys: Vec<TaskKey> = group.tasks.iter().map(|task| TaskKey::new(framework, task.id.clone())).collect();
        for (key, task) in keys.iter().zip(&group.tasks) {
            let fits = self.occupy(agent, key, &task.resources);
            debug_assert!(fits, "resolve_group() has checked that all of the group is free");
            self.insert_task(key, group.leader(), task.clone(), agent, TaskState::Staging);
            self.note_launch(framework, task);
            self.tasks.get_mut(key).expect("it was inserted just now").borrowed = borrowed;
            self.charge(key);
            self.stats.tasks_launched += 1;
        }
        let launch = self.launch_of(&keys[0], group);
        self.to_agent(agent, ToAgent::Launch(launch), out);
        Ok(())
    }

    /// Whether the group may be launched on what was taken and is free now. What was freed there for its framework is used by it.
    pub(super) fn judge(
        &mut self,
        framework: FrameworkId,
        agent: AgentId,
        taken: &mut Taken,
        group: &TaskGroup,
    ) -> Result<Judged, Reject> {
        self.check_group(framework, &taken.role, group)?;
        let group = self.resolve_group(agent, framework, taken, &claim_gpus(group)?)?;
        self.fulfil_nomination(agent, framework, &taken.role);
        let borrowed = self.is_borrowed(agent, &taken.role, &group);
        Ok(Judged { group, borrowed })
    }

    fn check_group(&self, framework: FrameworkId, role: &Role, group: &TaskGroup) -> Result<(), Reject> {
        if group.tasks.is_empty() || group.tasks.len() > TaskGroup::MAX_TASKS {
            return Err(Reject::invalid("launch.tasks", format!("expected 1 to {} tasks", TaskGroup::MAX_TASKS)));
        }
        let mut ids = BTreeSet::new();
        for task in &group.tasks {
            let key = TaskKey::new(framework, task.id.clone());
            let used = self.tasks.contains_key(&key) || self.frameworks[&framework].completed.contains(&task.id);
            if used || self.gangs.is_pending(&key) || !ids.insert(&task.id) {
                return Err(Reject::DuplicateTask(task.id.clone()));
            }
            if task.role != *role {
                return Err(Reject::invalid(
                    format!("task {}: role", task.id),
                    format!("expected {role}, the role of the offer"),
                ));
            }
            if task.resources.is_empty() {
                return Err(Reject::invalid(format!("task {}: resources", task.id), "expected some"));
            }
            if task.body.as_bytes().len() > Body::MAX_LEN {
                return Err(Reject::Limit { what: "bytes in a task's body", limit: Body::MAX_LEN as u64 });
            }
        }
        Ok(())
    }

    /// The group with the devices that its claims get, if all of it is offered and free; what it uses is taken from what is left.
    fn resolve_group(
        &self,
        agent: AgentId,
        framework: FrameworkId,
        taken: &mut Taken,
        group: &TaskGroup,
    ) -> Result<TaskGroup, Reject> {
        let state = &self.agents[&agent];
        if !state.is_usable() {
            return Err(Reject::AgentAway(agent));
        }
        self.check_leaving(agent, group)?;
        let available = state.available(&taken.role);
        let shielded = self.shielded(agent, framework, &taken.role, &available);
        let mut free = shielded.unwrap_or_else(|| Arc::unwrap_or_clone(available));
        let (mut left, mut kept) = (taken.left.clone(), state.kept.clone());
        let mut resolved = group.clone();
        for task in &mut resolved.tasks {
            let conflict = |free: &Resources| Reject::OfferConflict { left: free.clone() };
            if task.resources.device_shares().next().is_none() && !task.claims.is_empty() {
                let offered_and_free = common_devices(&left, &free);
                let devices = state.resolve(&task.claims, &offered_and_free).map_err(|unmet| {
                    if state.resolve(&task.claims, &left).is_ok() {
                        conflict(&free)
                    } else {
                        Reject::ClaimNotMet(unmet.to_string())
                    }
                })?;
                task.resources.add(&Resources::device_shares_of(devices));
            }
            check_revocable(task)?;
            if !task.resources.is_revocable() {
                task.resources = plain::resolve(&task.resources, &left, &free, &taken.named);
            }
            state.check_parts(task)?;
            if !left.take(&task.resources) {
                let asked = task.resources.clone();
                return Err(Reject::ExceedsOffer { asked, offered: left });
            }
            state.take_beside_kept(task, &mut free, &mut kept).map_err(|usable| conflict(&usable))?;
        }
        self.check_limits(agent, framework, &taken.role, &resolved)?;
        taken.left = left;
        Ok(resolved)
    }
}

/// How long a framework that accepts an offer and uses nothing of it is not asked again.
const FRUITLESS: std::time::Duration = std::time::Duration::from_millis(100);

/// The devices that are in both.
fn common_devices(offered: &Resources, free: &Resources) -> Resources {
    let free: BTreeMap<&DeviceId, Share> = free.device_shares().collect();
    let both = |(id, share): (&DeviceId, Share)| Some((id.clone(), share.min(*free.get(id)?)));
    Resources::device_shares_of(offered.device_shares().filter_map(both))
}

/// What the operations name of reservations and volumes.
fn named(operations: &[Operation]) -> Resources {
    let mut named = Resources::new();
    for operation in operations {
        let part = match operation {
            Operation::Launch(group) => group.resources(),
            other => Conversion::of(other).map(|conversion| conversion.consumed().clone()).unwrap_or_default(),
        };
        named.merge(&part);
    }
    named
}
