//! Where the least has to be ended so that one more of a shape fits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::allocator::preemption::{Candidate, Choice, choose, loss};
use crate::allocator::quota::{is_at_or_below, prefixes};
use crate::master::Master;
use crate::master::available::fits_amounts;
use crate::master::headroom::held_back;
use crate::master::state::{Agent, TaskEntry};
use crate::model::{
    AgentId, Amounts, DeviceState, Flavor, FrameworkId, Quantities, Resources, Role, Shape, Share, TaskKey, TaskState,
};

/// What to end on one agent, and what is freed by it.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) agent: AgentId,
    /// The tasks that end, those that live and die with them among them.
    pub(super) victims: Vec<TaskKey>,
    /// What the demand needs of the agent.
    pub(super) needed: Resources,
    /// As what it counts.
    pub(super) counts: Quantities,
}

/// What a demand may end.
pub(super) struct Right {
    /// Work of its own role below this priority; none where there is none, or where its framework was itself preempted.
    pub(super) below: Option<i32>,
    /// Work outside of this role that is borrowed, because the role is under its guarantee.
    pub(super) guaranteed: Option<Role>,
    /// Revocable work of anybody: it uses what devices keep of their machine for who holds them, and this demand wants to.
    pub(super) revocable: bool,
}

type Group = Candidate<TaskKey>;

impl Master {
    /// Whether the shape may run on the agent, if there is room.
    pub(super) fn is_usable_for(&self, id: AgentId, framework: FrameworkId, role: &Role, shape: &Shape) -> bool {
        let Some(agent) = self.agents.get(&id).filter(|agent| agent.is_usable() && !agent.overcommitted) else {
            return false;
        };
        if !agent.outlasts(shape.expected_run_time, self.now) {
            return false;
        }
        let fits = agent.record.resources.quantities().contains(&shape.resources.quantities());
        fits && agent.allows(shape) && !self.is_refused(framework, id, role, &agent.record.resources.for_role(role))
    }

    /// Whether one more fits on the agent now, or once what ends there anyway has ended.
    pub(super) fn fits_soon(&self, id: AgentId, framework: FrameworkId, role: &Role, shape: &Shape) -> bool {
        let agent = &self.agents[&id];
        let pool = self.pool(id, role);
        let pool = self.shield_headroom(id, framework, role, pool);
        let counts = agent.counts_of(shape, &pool);
        counts.is_some_and(|counts| self.quotas.check(role, &counts).is_ok())
    }

    /// What is free on the agent for `role` and promised to nobody, with what will be without ending more.
    fn pool(&self, id: AgentId, role: &Role) -> Resources {
        let agent = &self.agents[&id];
        let mut pool = Arc::unwrap_or_clone(agent.available(role));
        let ending = agent.tasks.iter().map(|key| &self.tasks[key]).filter(|entry| is_ending(entry));
        for entry in ending {
            pool.add(&agent.freed_by(entry, role));
        }
        let cleaning = agent
            .devices
            .values()
            .filter(|entry| matches!(entry.state, DeviceState::Cleaning { .. }) && entry.device.health.is_usable());
        let known: BTreeSet<_> = pool.device_shares().map(|(id, _)| id.clone()).collect();
        let cleaning = cleaning.map(|entry| entry.device.id.clone()).filter(|id| !known.contains(id));
        pool.add(&Resources::devices(cleaning));
        for held in self.preemption.nominations.held_for_others(id, None) {
            pool = held_back(&pool, held);
        }
        pool
    }

    /// The topmost role whose unmet guarantee covers one of `shape` on this agent.
    pub(super) fn entitled_on(&self, agent: &Agent, role: &Role, shape: &Shape) -> Option<Role> {
        if !self.quotas.is_guaranteed(role) {
            return None;
        }
        let all = agent.devices.values().filter(|entry| entry.device.health.is_usable());
        let mut whole = agent.record.resources.for_role(role);
        whole.add(&Resources::devices(all.map(|entry| entry.device.id.clone())));
        self.quotas.entitled(role, &agent.counts_of(shape, &whole)?)
    }

    pub(super) fn choose_on(
        &self,
        id: AgentId,
        framework: FrameworkId,
        role: &Role,
        shape: &Shape,
        right: &Right,
    ) -> Option<Choice<TaskKey>> {
        let candidates = self.candidates_on(id, role, right);
        if candidates.is_empty() {
            return None;
        }
        let agent = &self.agents[&id];
        let pool = self.pool(id, role);
        choose(candidates, &pool, |pool, victims| {
            let pool = self.shield_headroom(id, framework, role, pool.clone());
            let Some(counts) = agent.counts_of(shape, &pool) else { return false };
            let released: Vec<(&Role, &Quantities)> = victims.iter().flat_map(|victim| self.charged(victim)).collect();
            self.quotas.check_after(role, &counts, &released).is_ok()
        })
    }

    fn charged<'a>(&'a self, group: &Group) -> impl Iterator<Item = (&'a Role, &'a Quantities)> {
        let members = self.group_of(&group.key);
        members.into_iter().filter_map(|key| {
            let entry = &self.tasks[&key];
            entry.charged.as_ref().map(|charged| (&entry.task.role, charged))
        })
    }

    /// The groups of tasks on the agent that may be ended, no role losing more of what it borrowed than it borrowed.
    fn candidates_on(&self, id: AgentId, role: &Role, right: &Right) -> Vec<Group> {
        let agent = &self.agents[&id];
        let mut groups: BTreeMap<TaskKey, Vec<TaskKey>> = BTreeMap::new();
        for key in &agent.tasks {
            let leader = TaskKey::new(key.framework, self.tasks[key].leader.clone());
            groups.entry(leader).or_default().push(key.clone());
        }
        let mut candidates: Vec<(Group, Vec<TaskKey>)> = groups
            .into_values()
            .filter(|members| !members.iter().any(|key| is_ending(&self.tasks[key])))
            .map(|members| (self.candidate(agent, role, &members), members))
            .collect();
        candidates.sort_by(|(a, _), (b, _)| (a.priority, a.loss, &a.key).cmp(&(b.priority, b.loss, &b.key)));
        let mut gone = self.ending_quantities();
        candidates.retain(|(_, members)| self.may_end(role, members, right, &mut gone));
        candidates.into_iter().map(|(group, _)| group).collect()
    }

    /// What roles hold that is being taken away from them already.
    fn ending_quantities(&self) -> BTreeMap<Arc<str>, Quantities> {
        let mut gone: BTreeMap<Arc<str>, Quantities> = BTreeMap::new();
        for entry in self.preemption.ending.iter().filter_map(|key| self.tasks.get(key)) {
            let Some(charged) = &entry.charged else { continue };
            for prefix in prefixes(&entry.task.role) {
                gone.entry(Arc::from(prefix)).or_default().add(charged);
            }
        }
        gone
    }

    fn candidate(&self, agent: &Agent, role: &Role, members: &[TaskKey]) -> Group {
        let (mut frees, mut held, mut ran, mut priority) =
            (Resources::new(), Quantities::new(), std::time::Duration::ZERO, i32::MIN);
        for key in members {
            let entry = &self.tasks[key];
            frees.add(&agent.freed_by(entry, role));
            held.add(&entry.charged.clone().unwrap_or_default());
            let micros = u64::try_from(self.wall().0.saturating_sub(entry.launched.0)).unwrap_or(0);
            ran = ran.max(std::time::Duration::from_micros(micros));
            priority = priority.max(self.rank_of(entry));
        }
        let has_devices = frees.device_shares().next().is_some();
        let cleaning = if has_devices { self.config.cleaning_estimate } else { std::time::Duration::ZERO };
        let loss = loss(&held, &agent.counted(), ran, cleaning);
        Group { key: members.first().expect("a group has a task").clone(), priority, loss, frees }
    }

    /// The priority as which a task is chosen: what may be taken back at any time goes first.
    fn rank_of(&self, entry: &TaskEntry) -> i32 {
        if entry.task.resources.is_revocable() {
            return i32::MIN;
        }
        self.quotas.bound_priority(&entry.task.role, entry.task.priority)
    }

    /// Whether all of them may be ended; if so, they are counted as gone.
    fn may_end(
        &self,
        role: &Role,
        members: &[TaskKey],
        right: &Right,
        gone: &mut BTreeMap<Arc<str>, Quantities>,
    ) -> bool {
        let mut next = gone.clone();
        for key in members {
            let entry = &self.tasks[key];
            let priority = self.quotas.bound_priority(&entry.task.role, entry.task.priority);
            if right.revocable && entry.task.resources.is_revocable() {
                continue;
            }
            if entry.task.role == *role && right.below.is_some_and(|below| priority < below) {
                continue;
            }
            let none = Quantities::new();
            let charged = entry.charged.as_ref().unwrap_or(&none);
            let Some(guaranteed) = &right.guaranteed else { return false };
            let outside = !is_at_or_below(entry.task.role.as_str(), guaranteed.as_str());
            if !outside || !self.quotas.may_lose(&entry.task.role, role, charged, &next) {
                return false;
            }
            for prefix in prefixes(&entry.task.role) {
                next.entry(Arc::from(prefix)).or_default().add(charged);
            }
        }
        *gone = next;
        true
    }

    pub(super) fn plan(&self, agent: AgentId, role: &Role, shape: &Shape, choice: &Choice<TaskKey>) -> Option<Plan> {
        let state = &self.agents[&agent];
        let mut pool = self.pool(agent, role);
        let mut victims = Vec::new();
        for key in &choice.victims {
            for member in self.group_of(key) {
                pool.add(&state.freed_by(&self.tasks[&member], role));
                victims.push(member);
            }
        }
        let needed = state.needed_by(shape, &pool)?;
        let counts = state.quantities(&needed);
        Some(Plan { agent, victims, needed, counts })
    }
}

pub(super) fn is_ending(entry: &TaskEntry) -> bool {
    entry.kill.is_some() || entry.state == TaskState::Killing
}

impl Agent {
    /// Whether the agent is like the shape asks.
    pub(in crate::master) fn allows(&self, shape: &Shape) -> bool {
        shape.constraint.is_any() || shape.constraint.matches(&*self.record.info)
    }

    /// What `role` may use of what the task holds, once it has ended and its devices are clean.
    fn freed_by(&self, entry: &TaskEntry, role: &Role) -> Resources {
        let all = entry.task.resources.firm().for_role(role);
        let broken =
            |id: &crate::model::DeviceId| !self.devices.get(id).is_some_and(|entry| entry.device.health.is_usable());
        let mut freed = Resources::new();
        for (flavor, amounts) in all.iter() {
            let mut amounts: Amounts = amounts.clone();
            amounts.devices.retain(|id, _| !broken(id));
            if !amounts.is_empty() {
                freed.add(&Resources::flavored(flavor.clone(), amounts));
            }
        }
        freed
    }

    /// What one of `shape` would use of `pool`: its amounts, whatever their flavor, and devices that meet its claims.
    pub(in crate::master) fn needed_by(&self, shape: &Shape, pool: &Resources) -> Option<Resources> {
        if !fits_amounts(&shape.resources, pool) {
            return None;
        }
        let devices: BTreeMap<_, Share> = self.resolve(&shape.claims, pool).ok()?;
        if !self.leaves_kept(shape, &devices, pool) {
            return None;
        }
        let amounts = Amounts { scalars: shape.resources.quantities(), devices, ..Amounts::default() };
        Some(if amounts.is_empty() { Resources::new() } else { Resources::flavored(Flavor::default(), amounts) })
    }

    /// As what that counts.
    pub(in crate::master) fn counts_of(&self, shape: &Shape, pool: &Resources) -> Option<Quantities> {
        self.needed_by(shape, pool).map(|needed| self.quantities(&needed))
    }
}
