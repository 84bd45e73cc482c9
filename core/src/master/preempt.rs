//! Preemption: work of lower right makes way for a demand that nothing free meets.
//!
//! A demand may preempt work of lower priority in its own role, and, while its role is under its guarantee, work of roles that hold more
//! than theirs. What that frees is nominated: nobody else is offered it until the demand is met, withdrawn or has waited too long. While
//! a nomination stands its demand ends nothing more, and whoever was preempted does not preempt in its turn.

mod index;
mod nominations;
mod search;
#[cfg(test)]
mod tests;
mod victims;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use self::index::Work;
pub(super) use self::nominations::Nominations;
use self::search::{Found, LOOKS_MAX, Search};
use self::victims::{Plan, is_ending};
use super::state::DeviceEntry;
use super::timers::{Timer, TimerKey};
use super::{Master, Outbox};
use crate::model::{AgentId, DeviceState, FrameworkId, Reason, Role, Shape, TaskKey, Time};

/// How many demands are looked at in one step; the others follow soon.
const ATTEMPTS_MAX: usize = 16;
/// How many shapes of a demand are looked at, the most important first.
const SHAPES_MAX: usize = 4;
/// How many nominations a shape may have at once.
const NOMINATIONS_MAX: usize = 16;
/// How long changes are gathered before demands that found nobody to preempt are looked at again.
const RETRY: Duration = Duration::from_secs(1);

/// For so long after a launch on what was freed for it a demand that has not been declared anew is taken for an old one, which counts
/// that task still.
const STALE: Duration = Duration::from_secs(10);

/// The shortest and the longest that a demand rests to which preemption brings nothing.
const REST_MIN: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(600);

/// What a demand has had of preemption.
#[derive(Clone, Copy, Debug)]
struct Rest {
    until: Time,
    length: Duration,
    /// The least that waited when something was ended for it.
    waiting: u64,
}

/// Of which shape something was launched, and when.
type Served = (Arc<str>, Time);

/// Who may preempt, and what was freed for whom.
#[derive(Debug, Default)]
pub(super) struct Preemption {
    /// Demands that may have the right to preempt, with the time at which they may be looked at.
    watched: BTreeMap<(FrameworkId, Role), Time>,
    pub(super) nominations: Nominations,
    /// The highest priority that was preempted, until its framework waits for nothing: no demand up to it preempts.
    barred: BTreeMap<(FrameworkId, Role), i32>,
    /// Demands that something was ended for. One for which no fewer tasks wait the next time rests before it may preempt again, longer
    /// each time: two that take from each other in turn would else never let anything run to its end.
    rests: BTreeMap<(FrameworkId, Role), Rest>,
    /// What was launched on what was freed for it, by shape, since the demand was declared.
    served: BTreeMap<(FrameworkId, Role), Vec<Served>>,
    /// Tasks that were told to end and may not have ended yet.
    ending: BTreeSet<TaskKey>,
    due: Option<TimerKey>,
    work: Work,
    /// Agents on which something may be ending, or being cleaned.
    settling: BTreeSet<AgentId>,
    /// Searches that did not look at everything yet.
    searches: BTreeMap<(FrameworkId, Role, Arc<str>), Search>,
}

impl Preemption {
    /// Something of the agent ends, or is being cleaned.
    pub(super) fn settles(&mut self, agent: AgentId) {
        self.settling.insert(agent);
    }
}

impl Master {
    /// The framework waits for something else now: it may want to preempt for it, and what was freed for what it no longer wants is free.
    pub(super) fn watch_demand(&mut self, id: FrameworkId, role: &Role) {
        self.withdraw_excess(id, role);
        self.forget_searches(id, role);
        let key = (id, role.clone());
        if !self.may_ever_preempt(id, role) {
            self.preemption.watched.remove(&key);
            return;
        }
        let at = self.now + self.config.preemption_delay;
        let at = *self.preemption.watched.entry(key).or_insert(at);
        self.look_for_victims(at.max(self.now));
    }

    /// Whoever waits for nothing in the role may preempt there again one day.
    pub(super) fn unbar(&mut self, id: FrameworkId, role: &Role) {
        self.preemption.barred.remove(&(id, role.clone()));
        self.preemption.rests.remove(&(id, role.clone()));
    }

    /// The framework does not wait any more, or is not there: what was freed for it is free for all.
    pub(super) fn withdraw_nominations(&mut self, id: FrameworkId, which: impl Fn(&Role) -> bool) {
        for nomination in self.preemption.nominations.of_framework(id, which) {
            self.drop_nomination(nomination);
        }
    }

    /// What is freed on the agent can't be used.
    pub(super) fn void_nominations(&mut self, agent: AgentId) {
        for nomination in self.preemption.nominations.of_agent(agent) {
            if let Some((framework, role)) = self.drop_nomination(nomination) {
                self.watch_demand(framework, &role);
            }
        }
    }

    /// Something was launched, or became known, that may be a victim, or that took what somebody waits for.
    pub(super) fn consider_preemption(&mut self) {
        if !self.preemption.watched.is_empty() {
            self.look_for_victims(self.now + self.config.preemption_delay.max(RETRY));
        }
    }

    /// A task of a priority that its role did not have so low: those who wait there may preempt it.
    pub(super) fn watch_role(&mut self, role: &Role) {
        for framework in self.demanding.get(role).cloned().unwrap_or_default() {
            self.watch_demand(framework, role);
        }
    }

    /// A guarantee or bounds of priorities have changed: each demand may have another right now.
    pub(super) fn watch_all(&mut self) {
        for role in self.demanding.keys().cloned().collect::<Vec<_>>() {
            self.watch_role(&role);
        }
    }

    /// What was looked for may be another thing now.
    fn forget_searches(&mut self, id: FrameworkId, role: &Role) {
        self.preemption.searches.retain(|(framework, of, _), _| *framework != id || of != role);
    }

    fn look_for_victims(&mut self, at: Time) {
        match self.preemption.due {
            Some(due) if due.at() <= at => return,
            Some(due) => self.timers.cancel(due),
            None => {}
        }
        self.preemption.due = Some(self.timers.set(at, Timer::Preempt));
    }

    pub(super) fn on_preempt(&mut self, out: &mut Outbox) {
        self.preemption.due = None;
        self.forget_settled();
        let tasks = &self.tasks;
        self.preemption.ending.retain(|key| tasks.get(key).is_some_and(|entry| entry.charged.is_some()));
        let now = self.now;
        let due = self.preemption.watched.iter().filter(|(_, at)| **at <= now).map(|(key, _)| key.clone());
        let mut due: Vec<(FrameworkId, Role)> = due.collect();
        // Who waits longest comes first; those who find no turn come first the next time.
        due.sort_by_key(|key| self.preemption.watched[key]);
        let more = due.len() > ATTEMPTS_MAX;
        for (framework, role) in due.into_iter().take(ATTEMPTS_MAX) {
            let goes_on = self.attempt(framework, &role, out);
            let key = (framework, role);
            let rested = self.preemption.rests.get(&key).map_or(now, |rest| rest.until.max(now));
            let rested = if goes_on { rested.max(now + RETRY) } else { rested };
            if let Some(at) = self.preemption.watched.get_mut(&key) {
                *at = rested;
            }
        }
        let next = self.preemption.watched.values().filter(|at| **at > now).min().copied();
        if let Some(at) = next.into_iter().chain(more.then_some(now + RETRY)).min() {
            self.look_for_victims(at);
        }
    }

    /// Agents on which nothing ends any more.
    fn forget_settled(&mut self) {
        let (agents, tasks) = (&self.agents, &self.tasks);
        self.preemption.settling.retain(|id| {
            agents.get(id).is_some_and(|agent| {
                let is_cleaning = |entry: &DeviceEntry| matches!(entry.state, DeviceState::Cleaning { .. });
                agent.tasks.iter().any(|key| is_ending(&tasks[key])) || agent.devices.values().any(is_cleaning)
            })
        });
    }

    /// Ends what has to make way for what the framework waits for in `role`. Whether not everything could be looked at.
    fn attempt(&mut self, framework: FrameworkId, role: &Role, out: &mut Outbox) -> bool {
        let client = self.frameworks.get(&framework).filter(|client| client.takes_offers(role));
        let Some(demand) = client.and_then(|client| client.demand.get(role)) else { return false };
        let key = (framework, role.clone());
        if self.preemption.rests.get(&key).is_some_and(|rest| rest.until > self.now) {
            return false;
        }
        let waiting = demand.shapes.iter().map(|shape| u64::from(shape.count)).sum();
        let before = self.stats.preemptions;
        let mut shapes: Vec<Shape> = demand.shapes.iter().filter(|shape| shape.count > 0).cloned().collect();
        shapes.sort_by_key(|shape| std::cmp::Reverse(shape.priority));
        let (mut looks, mut goes_on) = (LOOKS_MAX, false);
        for shape in shapes.into_iter().take(SHAPES_MAX) {
            let standing = self.preemption.nominations.count(framework, role, &shape.name);
            let served = self.served(&key, &shape.name);
            goes_on |= served > 0;
            let waiting = (shape.count as usize).saturating_sub(served);
            let missing = waiting.min(NOMINATIONS_MAX).saturating_sub(standing);
            for _ in 0..missing {
                match self.plan_preemption((framework, role, &shape), &mut looks) {
                    Found::Plan(plan) => self.preempt(framework, role, &shape, *plan, out),
                    Found::Nothing => break,
                    Found::GoOn => {
                        goes_on = true;
                        break;
                    }
                }
            }
        }
        if self.stats.preemptions > before {
            self.rest(key, waiting);
        }
        goes_on
    }

    /// How many tasks of the shape were launched just now that the demand may count still.
    fn served(&mut self, key: &(FrameworkId, Role), shape: &str) -> usize {
        let now = self.now;
        let Some(served) = self.preemption.served.get_mut(key) else { return 0 };
        served.retain(|(_, at)| *at + STALE > now);
        served.iter().filter(|(of, _)| &**of == shape).count()
    }

    /// The framework has declared what it waits for in the role, or waits no more: that counts what it has launched.
    pub(super) fn demand_is_new(&mut self, id: FrameworkId, role: &Role) {
        self.preemption.served.remove(&(id, role.clone()));
    }

    /// Something was ended for the demand: if that brings it nothing, it waits before the next time.
    fn rest(&mut self, key: (FrameworkId, Role), waiting: u64) {
        let (length, least) = match self.preemption.rests.get(&key) {
            Some(last) if waiting >= last.waiting => ((last.length * 2).clamp(REST_MIN, REST_MAX), last.waiting),
            Some(last) => (last.length / 2, waiting),
            None => (Duration::ZERO, waiting),
        };
        self.preemption.rests.insert(key, Rest { until: self.now + length, length, waiting: least });
    }

    fn preempt(&mut self, framework: FrameworkId, role: &Role, shape: &Shape, plan: Plan, out: &mut Outbox) {
        let mut longest = Duration::ZERO;
        for key in &plan.victims {
            let entry = &self.tasks[key];
            let grace = entry.task.kill_grace.min(self.config.preemption_grace_max);
            longest = longest.max(grace);
            let priority = self.quotas.bound_priority(&entry.task.role, entry.task.priority);
            let barred = self.preemption.barred.entry((key.framework, entry.task.role.clone())).or_insert(priority);
            *barred = priority.max(*barred);
            self.kill_live(key, Some(grace), Reason::Preempted, out);
            self.preemption.ending.insert(key.clone());
            self.stats.tasks_preempted += 1;
        }
        self.stats.preemptions += 1;
        self.nominate(framework, role, Arc::clone(&shape.name), plan, longest);
    }

    /// Whether anything could ever be preempted for what the framework waits for in `role`, as things are set now.
    fn may_ever_preempt(&self, id: FrameworkId, role: &Role) -> bool {
        let Some(demand) = self.frameworks.get(&id).and_then(|client| client.demand.get(role)) else { return false };
        let highest = demand.shapes.iter().filter(|shape| shape.count > 0).map(|shape| shape.priority).max();
        let Some(highest) = highest.map(|priority| self.quotas.bound_priority(role, priority)) else { return false };
        let wants_devices = || demand.shapes.iter().any(|shape| shape.count > 0 && !shape.claims.is_empty());
        self.quotas.is_guaranteed(role)
            || self.has_lower(id, role, highest)
            || (self.preemption.work.has_revocable() && wants_devices())
    }

    /// Whether a task of the role has a lower priority, and the framework was not preempted at this one.
    fn has_lower(&self, id: FrameworkId, role: &Role, priority: i32) -> bool {
        let lowest = self.quotas.lowest_priority(role).map(|lowest| self.quotas.bound_priority(role, lowest));
        let is_barred = self.preemption.barred.get(&(id, role.clone())).is_some_and(|barred| priority <= *barred);
        !is_barred && lowest.is_some_and(|lowest| lowest < priority)
    }

    /// The framework is gone for good.
    pub(super) fn forget_preemption(&mut self, id: FrameworkId) {
        self.withdraw_nominations(id, |_| true);
        self.preemption.watched.retain(|(framework, _), _| *framework != id);
        self.preemption.barred.retain(|(framework, _), _| *framework != id);
        self.preemption.rests.retain(|(framework, _), _| *framework != id);
        self.preemption.served.retain(|(framework, _), _| *framework != id);
        self.preemption.searches.retain(|(framework, ..), _| *framework != id);
    }

    /// The tasks that live and die with `key`.
    pub(super) fn group_of(&self, key: &TaskKey) -> Vec<TaskKey> {
        let entry = &self.tasks[key];
        let of_agent = self.agents[&entry.agent].tasks.iter().filter(|other| other.framework == key.framework);
        of_agent.filter(|other| self.tasks[*other].leader == entry.leader).cloned().collect()
    }
}
