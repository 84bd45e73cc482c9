//! Status updates: each is journaled, sent, and sent again until it is acknowledged; one at a time for each task.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Agent, Effect, Link, Out, Record};
use crate::gate::Output;
use crate::model::{FrameworkId, FromAgent, Reason, Source, Status, TaskKey, TaskState, Time, UpdateId};
use crate::planted::{Fault, planted};

/// How long the first acknowledgement is waited for.
pub(super) const RESEND_FIRST: Duration = Duration::from_secs(10);
/// How long at most.
pub(super) const RESEND_MAX: Duration = Duration::from_secs(600);

/// When which task's oldest update is sent again.
#[derive(Debug, Default)]
pub(super) struct Resends {
    due: BTreeSet<(Time, TaskKey)>,
    by_task: BTreeMap<TaskKey, (Time, Duration)>,
}

impl Resends {
    pub(super) fn next(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }

    pub(super) fn clear(&mut self) {
        self.due.clear();
        self.by_task.clear();
    }

    pub(super) fn cancel(&mut self, task: &TaskKey) {
        if let Some((at, _)) = self.by_task.remove(task) {
            self.due.remove(&(at, task.clone()));
        }
    }

    pub(super) fn tasks(&self) -> impl Iterator<Item = &TaskKey> {
        self.by_task.keys()
    }

    pub(super) fn contains(&self, task: &TaskKey) -> bool {
        self.by_task.contains_key(task)
    }

    fn set(&mut self, task: &TaskKey, at: Time, wait: Duration) {
        self.cancel(task);
        self.due.insert((at, task.clone()));
        self.by_task.insert(task.clone(), (at, wait));
    }

    /// The next task that is due, with the wait that has just passed.
    fn pop(&mut self, now: Time) -> Option<(TaskKey, Duration)> {
        self.next().filter(|at| *at <= now)?;
        let (_, task) = self.due.pop_first()?;
        let (_, wait) = self.by_task.remove(&task).expect("the two sides of the table hold the same tasks");
        Some((task, wait))
    }
}

impl Agent {
    /// Makes, journals and, if no older one is out, sends an update.
    pub(super) fn update(&mut self, now: Time, task: &TaskKey, mut status: Status, out: &mut Out) {
        status.uuid = Some(self.draw_update_id());
        status.agent = self.journal.agent();
        status.at = self.wall(now);
        let unheard = self.journal.is_removed(task.framework).then(|| status.clone());
        self.persist(Record::Update { framework: task.framework, status }, out);
        if let Some(status) = unheard {
            // Nobody acknowledges it; the master frees what the task held, now or when it misses it in the next report.
            self.answer(now, task.framework, status, out);
        }
        let pending = self.journal.tasks.get(task).map_or(0, |entry| entry.pending.len());
        if pending == 1 {
            self.send_oldest(now, task, RESEND_FIRST, out);
        }
    }

    pub(super) fn acknowledged(&mut self, now: Time, task: &TaskKey, uuid: UpdateId, out: &mut Out) {
        let Some(entry) = self.journal.tasks.get(task) else { return };
        let oldest = entry.pending.front().and_then(|oldest| oldest.uuid);
        let uuid = if planted(Fault::AcknowledgeAny) { oldest.unwrap_or(uuid) } else { uuid };
        if oldest != Some(uuid) {
            return;
        }
        let leader = entry.leader.clone();
        let members = self.members(&leader);
        self.resends.cancel(task);
        self.persist(Record::Acknowledged { task: task.clone(), uuid }, out);
        self.send_oldest(now, task, RESEND_FIRST, out);
        self.forget_if_settled(now, leader, members, out);
    }

    /// After the registration everything that is not acknowledged is said again at once.
    pub(super) fn resend_all(&mut self, now: Time, out: &mut Out) {
        if planted(Fault::NoResend) {
            return;
        }
        self.resends.clear();
        let waiting: Vec<TaskKey> = self
            .journal
            .tasks
            .iter()
            .filter(|(_, entry)| !entry.pending.is_empty())
            .map(|(key, _)| key.clone())
            .collect();
        for task in waiting {
            self.send_oldest(now, &task, RESEND_FIRST, out);
        }
    }

    pub(super) fn resend_due(&mut self, now: Time, out: &mut Out) {
        while let Some((task, waited)) = self.resends.pop(now) {
            self.stats.updates_resent += 1;
            self.send_oldest(now, &task, (waited * 2).min(RESEND_MAX), out);
        }
    }

    /// Sends the oldest update of a task that is not acknowledged, and again after `wait`.
    pub(super) fn send_oldest(&mut self, now: Time, task: &TaskKey, wait: Duration, out: &mut Out) {
        if self.link != Link::Up || (planted(Fault::NoResend) && self.resends.contains(task)) {
            return;
        }
        let Some(entry) = self.journal.tasks.get(task) else { return };
        let Some(status) = entry.pending.front().cloned() else { return };
        let latest = entry.state();
        self.resends.set(task, now + wait, wait);
        self.stats.updates_sent += 1;
        self.tell(FromAgent::Update { framework: task.framework, status, latest }, out);
    }

    /// Says again what is out, with the newest state beside it: the master learns that the task has ended although an older update is not
    /// acknowledged yet, before it hears that the task's devices are free.
    pub(super) fn repeat_with_latest(&mut self, now: Time, task: &TaskKey, out: &mut Out) {
        let is_behind = self.journal.tasks.get(task).is_some_and(|entry| entry.pending.len() > 1);
        if is_behind {
            self.send_oldest(now, task, RESEND_FIRST, out);
        }
    }

    /// Answers a question about a task: no record, nothing to acknowledge.
    pub(super) fn answer(&mut self, now: Time, framework: FrameworkId, mut status: Status, out: &mut Out) {
        status.uuid = None;
        status.agent = self.journal.agent();
        status.at = self.wall(now);
        let latest = status.state;
        self.tell(FromAgent::Update { framework, status, latest }, out);
    }

    /// Says what is known of a task: the update that is out, or its newest state, or its end, or that nothing is known.
    pub(super) fn answer_state(&mut self, now: Time, task: &TaskKey, out: &mut Out) {
        if self.journal.tasks.get(task).is_some_and(|entry| !entry.pending.is_empty()) {
            self.send_oldest(now, task, RESEND_FIRST, out);
            return;
        }
        let known = self.journal.tasks.get(task).map(|entry| entry.last.clone());
        let is_unknown = known.is_none() && !self.journal.finished.contains_key(task);
        let status = match known {
            Some(last) => last.unwrap_or_else(|| Status::new(task.task.clone(), TaskState::Staging, Source::Agent)),
            None => match self.journal.finished.get(task) {
                Some(finished) => finished.status.clone(),
                None => unknown(task),
            },
        };
        self.answer(now, task.framework, status, out);
        if is_unknown && !self.devices.is_empty() {
            // The master may have given it devices that it never got here, and takes them for soiled when it hears of its end.
            self.tell(FromAgent::Devices(self.device_reports()), out);
        }
    }

    /// The group that `leader` leads, if it is not forgotten.
    pub(super) fn members(&self, leader: &TaskKey) -> Vec<TaskKey> {
        let members = self.journal.groups.get(leader).map(|group| group.members.as_slice()).unwrap_or_default();
        members.iter().map(|member| TaskKey::new(leader.framework, member.clone())).collect()
    }

    /// Once a group is settled: lets the supervisor's folder go, and starts the time for which the ids are remembered.
    pub(super) fn forget_if_settled(&mut self, now: Time, leader: TaskKey, members: Vec<TaskKey>, out: &mut Out) {
        if self.journal.groups.contains_key(&leader) {
            return;
        }
        members.into_iter().for_each(|member| self.remember(now, member, out));
        out.push(Output::Effect(Effect::Forget { task: leader }));
    }

    /// Starts the time for which a finished task is remembered, and bounds how many are.
    pub(super) fn remember(&mut self, now: Time, task: TaskKey, out: &mut Out) {
        if let Some(finished) = self.journal.finished.get(&task) {
            self.forgets.insert((now + finished.remember, task));
        }
        if self.forgets.len() > Self::MAX_FINISHED {
            let (_, task) = self.forgets.pop_first().expect("more than none are remembered");
            self.persist(Record::Forgotten { task }, out);
        }
    }
}

fn unknown(task: &TaskKey) -> Status {
    Status::new(task.task.clone(), TaskState::Gone, Source::Agent)
        .because(Reason::UnknownToAgent, "the agent does not know this task")
}
