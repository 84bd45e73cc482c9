//! Looking for room, and for work that may make way, a bounded number of agents at a time.

use std::collections::BTreeSet;
use std::ops::Bound;

use super::index::Rank;
use super::victims::{Plan, Right};
use crate::allocator::preemption::{Choice, Cost};
use crate::allocator::quota::is_at_or_below;
use crate::master::Master;
use crate::master::clients::Wanted;
use crate::model::{AgentId, FrameworkId, Quantities, Role, Shape, TaskKey};

/// How many agents are looked at for room in one attempt; the next one goes on behind them.
const ROOM_LOOKS: usize = 512;
/// How many agents are looked at closely for one victim, if there is one among them.
const CHOICE_LOOKS: usize = 64;
/// How many places of tasks are passed over in one attempt, because their agents will not do.
const ROWS_MAX: usize = 4096;

/// How many agents one attempt may look at closely.
pub(super) const LOOKS_MAX: usize = 512;

/// How far the search for a shape has come.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// The last agent that was looked at of those where something is ending, and whether it was the last of all.
    settling: Option<AgentId>,
    settling_done: bool,
    /// How many agents with something free were looked at.
    free: usize,
    /// The last task that was looked at.
    after: Option<Rank>,
}

/// What a search has found.
#[derive(Debug)]
pub(super) enum Found {
    /// This is to end.
    Plan(Box<Plan>),
    /// Something free meets the shape, or nothing that may be ended would.
    Nothing,
    /// Not everything could be looked at; the next attempt goes on.
    GoOn,
}

/// Whether one more has room without ending anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    There,
    Nowhere,
    NotSeenYet,
}

type Name<'a> = (FrameworkId, &'a Role, &'a Shape);

impl Master {
    /// What to end for one more of `shape`. Looks at `looks` agents at most, and takes them off.
    pub(super) fn plan_preemption(&mut self, name: Name<'_>, looks: &mut usize) -> Found {
        let (framework, role, shape) = name;
        let priority = self.quotas.bound_priority(role, shape.priority);
        let below = self.has_lower(framework, role, priority).then_some(priority);
        let revocable = !shape.claims.is_empty() && self.preemption.work.has_revocable();
        if below.is_none() && !revocable && !self.quotas.is_guaranteed(role) {
            return Found::Nothing;
        }
        let key = (framework, role.clone(), shape.name.clone());
        let mut search = self.preemption.searches.remove(&key).unwrap_or_default();
        let found = match self.room_for(name, &mut search, looks) {
            Room::There => Found::Nothing,
            Room::NotSeenYet => Found::GoOn,
            Room::Nowhere => self.find_victims(name, below, &mut search, looks),
        };
        if matches!(found, Found::GoOn) {
            self.preemption.searches.insert(key, search);
        }
        found
    }

    /// Whether one more fits somewhere now, or once what ends anyway has ended.
    fn room_for(&mut self, name: Name<'_>, search: &mut Search, looks: &mut usize) -> Room {
        if self.quotas.check(name.1, &name.2.resources.quantities()).is_err() {
            return Room::Nowhere;
        }
        let mut looked = 0;
        let mut room = Room::Nowhere;
        if !search.settling_done {
            room = self.room_where_it_settles(name, search, &mut looked);
        }
        if room == Room::Nowhere {
            room = self.room_where_it_is_free(name, search, &mut looked);
        }
        if room != Room::NotSeenYet {
            (search.settling, search.settling_done, search.free) = (None, false, 0);
        }
        *looks = looks.saturating_sub(looked);
        self.stats.preemption_looks += looked as u64;
        room
    }

    fn fits_on(&self, id: AgentId, (framework, role, shape): Name<'_>) -> bool {
        self.is_usable_for(id, framework, role, shape) && self.fits_soon(id, framework, role, shape)
    }

    /// The same for agents on which something is ending, or being cleaned.
    fn room_where_it_settles(&self, name: Name<'_>, search: &mut Search, looked: &mut usize) -> Room {
        let from = search.settling.map_or(Bound::Unbounded, Bound::Excluded);
        for id in self.preemption.settling.range((from, Bound::Unbounded)) {
            if *looked >= ROOM_LOOKS {
                return Room::NotSeenYet;
            }
            (*looked, search.settling) = (*looked + 1, Some(*id));
            if self.fits_on(*id, name) {
                return Room::There;
            }
        }
        search.settling_done = true;
        Room::Nowhere
    }

    /// The same for agents with something free.
    fn room_where_it_is_free(&self, name: Name<'_>, search: &mut Search, looked: &mut usize) -> Room {
        let most = ROOM_LOOKS.saturating_sub(*looked);
        let mut count = 0;
        // Every attempt walks the same way, and goes on where the last one ended.
        let places = self.capacity.places_for(&Wanted::new(name.2.clone()), self.config.seed);
        for id in places.after(search.free).take(most) {
            count += 1;
            if self.fits_on(id, name) {
                *looked += count;
                return Room::There;
            }
        }
        (*looked, search.free) = (*looked + count, search.free + count);
        if count < most || search.free >= self.capacity.len() { Room::Nowhere } else { Room::NotSeenYet }
    }

    /// The cheapest of what may be ended on the agents that come first.
    fn find_victims(&mut self, name: Name<'_>, below: Option<i32>, search: &mut Search, looks: &mut usize) -> Found {
        let (framework, role, shape) = name;
        let mut best: Option<(Cost, AgentId, Choice<TaskKey>)> = None;
        let (mut looked, mut rows, mut is_over) = (0, 0, true);
        let mut seen = BTreeSet::new();
        let after = search.after.take();
        let mut last = None;
        let revocable = !shape.claims.is_empty();
        let first = revocable.then(|| self.preemption.work.revocable()).into_iter().flatten();
        for rank in first.chain(self.ranks(role, below, after.as_ref())) {
            let dearer = best.as_ref().is_some_and(|(cost, ..)| cost.priority.is_some_and(|most| rank.priority > most));
            if dearer || (best.is_some() && looked >= CHOICE_LOOKS) {
                break;
            }
            if looked >= *looks || rows >= ROWS_MAX {
                is_over = false;
                break;
            }
            rows += 1;
            let id = rank.agent;
            last = Some(rank);
            if !seen.insert(id) || !self.is_usable_for(id, framework, role, shape) {
                continue;
            }
            looked += 1;
            let right = Right { below, guaranteed: self.entitled_on(&self.agents[&id], role, shape), revocable };
            let Some(choice) = self.choose_on(id, framework, role, shape, &right) else { continue };
            if best.as_ref().is_none_or(|(cost, ..)| choice.cost < *cost) {
                best = Some((choice.cost, id, choice));
            }
        }
        *looks -= looked.min(*looks);
        let plan = best.and_then(|(_, agent, choice)| self.plan(agent, role, shape, &choice));
        self.stats.preemption_looks += looked as u64;
        match plan {
            Some(plan) => Found::Plan(Box::new(plan)),
            None if is_over => Found::Nothing,
            None => {
                search.after = last;
                Found::GoOn
            }
        }
    }

    /// The work that may have to make way for `role`: in the role itself what is below that priority, and, if the role is guaranteed
    /// something, that of roles which have something to lose.
    fn ranks<'a>(
        &'a self,
        role: &'a Role,
        below: Option<i32>,
        after: Option<&'a Rank>,
    ) -> impl Iterator<Item = Rank> + 'a {
        let guaranteed = self.quotas.is_guaranteed(role);
        let none = (Quantities::new(), std::collections::BTreeMap::new());
        let work = &self.preemption.work;
        let may = move |other: &&Role| {
            (**other == *role && below.is_some())
                || (guaranteed
                    && !is_at_or_below(other.as_str(), role.as_str())
                    && self.quotas.may_lose(other, role, &none.0, &none.1))
        };
        let counts = |role: &Role, priority| self.quotas.bound_priority(role, priority);
        let ranks = work.in_order(work.roles().filter(may), counts, after);
        // In its own role alone, what is not below the priority ends the search.
        ranks.take_while(move |rank| guaranteed || below.is_some_and(|below| rank.priority < below))
    }
}
