//! Where there is work that may make way, and where something ends already: so that a demand which nothing free meets looks at agents in
//! the order in which they are likely to cost least, and at no more than it may.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use crate::master::Master;
use crate::model::{AgentId, Role, TaskKey, WallTime};

/// A task's place among those of its role: low priority first, of these what has run for the shortest time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    priority: i32,
    launched: Reverse<WallTime>,
    agent: AgentId,
    task: TaskKey,
}

/// A place in the order of all roles together: priorities count within the bounds of their role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) priority: i32,
    launched: Reverse<WallTime>,
    pub(super) agent: AgentId,
    task: TaskKey,
}

/// Every task that is charged, by role.
#[derive(Debug, Default)]
pub(super) struct Work {
    by_role: BTreeMap<Role, BTreeSet<Row>>,
    /// Those among them that may be ended for any tenant of a device of their agent.
    revocable: BTreeSet<Row>,
}

impl Work {
    fn insert(&mut self, role: &Role, row: Row) {
        self.by_role.entry(role.clone()).or_default().insert(row);
    }

    fn remove(&mut self, role: &Role, row: &Row) {
        let Some(rows) = self.by_role.get_mut(role) else { return };
        rows.remove(row);
        if rows.is_empty() {
            self.by_role.remove(role);
        }
    }

    /// The work of those roles for which `counts` has bounds to their priorities, who is to go first first, beginning after `after`.
    pub(super) fn in_order<'a>(
        &'a self,
        roles: impl Iterator<Item = &'a Role>,
        counts: impl Fn(&Role, i32) -> i32 + 'a,
        after: Option<&'a Rank>,
    ) -> impl Iterator<Item = Rank> + 'a {
        let rank = move |role: &Role, row: &Row| Rank {
            priority: counts(role, row.priority),
            launched: row.launched,
            agent: row.agent,
            task: row.task.clone(),
        };
        let mut rows: Vec<_> = roles.filter_map(|role| Some((role, self.by_role.get(role)?.iter()))).collect();
        let mut heads = BinaryHeap::new();
        for (at, (role, rows)) in rows.iter_mut().enumerate() {
            let mut ranks = rows.map(|row| rank(role, row));
            let next = ranks.find(|rank| after.is_none_or(|after| rank > after));
            heads.extend(next.map(|rank| Reverse((rank, at))));
        }
        std::iter::from_fn(move || {
            let Reverse((first, at)) = heads.pop()?;
            let (role, rows) = &mut rows[at];
            heads.extend(rows.next().map(|row| Reverse((rank(role, row), at))));
            Some(first)
        })
    }

    /// Revocable work, who is to go first first.
    pub(super) fn revocable(&self) -> impl Iterator<Item = Rank> + '_ {
        let rank =
            |row: &Row| Rank { priority: i32::MIN, launched: row.launched, agent: row.agent, task: row.task.clone() };
        self.revocable.iter().map(rank)
    }

    /// Whether there is any.
    pub(super) fn has_revocable(&self) -> bool {
        !self.revocable.is_empty()
    }

    /// The roles that have tasks.
    pub(super) fn roles(&self) -> impl Iterator<Item = &Role> {
        self.by_role.keys()
    }

    fn len(&self) -> usize {
        self.by_role.values().map(BTreeSet::len).sum()
    }
}

impl Master {
    /// The task is charged from now on.
    pub(in crate::master) fn enter_work(&mut self, key: &TaskKey) {
        if let Some((role, row)) = self.row_of(key) {
            if self.tasks[key].task.resources.is_revocable() {
                self.preemption.work.revocable.insert(row.clone());
                if self.preemption.work.revocable.len() == 1 {
                    self.watch_all();
                }
            }
            self.preemption.work.insert(&role, row);
        }
    }

    /// The task is charged no more.
    pub(in crate::master) fn leave_work(&mut self, key: &TaskKey) {
        if let Some((role, row)) = self.row_of(key) {
            self.preemption.work.revocable.remove(&row);
            self.preemption.work.remove(&role, &row);
        }
    }

    fn row_of(&self, key: &TaskKey) -> Option<(Role, Row)> {
        let entry = self.tasks.get(key)?;
        let (priority, launched) = (entry.task.priority, Reverse(entry.launched));
        Some((entry.task.role.clone(), Row { priority, launched, agent: entry.agent, task: key.clone() }))
    }

    /// Every task that is charged has its place, and nothing else has.
    pub(in crate::master) fn check_work(&self) {
        let charged = self.tasks.iter().filter(|(_, entry)| entry.charged.is_some());
        let mut count = 0;
        for (key, entry) in charged {
            let (_, row) = self.row_of(key).expect("it is there");
            let rows = self.preemption.work.by_role.get(&entry.task.role);
            assert!(rows.is_some_and(|rows| rows.contains(&row)), "{key}: it can be found as what may make way");
            count += 1;
        }
        assert_eq!(self.preemption.work.len(), count, "what may make way is what is charged");
    }
}
