//! Calls that the master has not answered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::{Accept, AcceptGang, Call, CallId, Operation, TaskId, Time};

/// How long an unanswered kill waits before it is sent again, at first and at most.
const KILL_RETRY: Duration = Duration::from_secs(5);
const KILL_RETRY_MAX: Duration = Duration::from_secs(60);

/// A kill that is unanswered.
#[derive(Clone, Debug)]
struct Kill {
    id: CallId,
    grace: Option<Duration>,
    retry_at: Time,
    retry_delay: Duration,
}

/// The unanswered calls, and the numbers given to calls.
#[derive(Debug)]
pub(super) struct Calls {
    next: u64,
    /// The numbers of this life lie below.
    end: u64,
    accepts: BTreeMap<CallId, Accept>,
    gangs: BTreeMap<CallId, AcceptGang>,
    /// Those of them of which a member has ended without running: the master ends the others, and then answers.
    broken: BTreeSet<CallId>,
    kills: BTreeMap<TaskId, Kill>,
}

/// What an answered call was.
#[derive(Debug)]
pub(super) enum Answered {
    Accept(Accept),
    Gang(AcceptGang),
    Kill(TaskId),
    Unknown,
}

impl Calls {
    /// The calls of a framework's `life`: each life has numbers of its own, so that none is used twice.
    pub(super) fn new(life: u32) -> Self {
        let first = u64::from(life) << 32;
        Self {
            next: first + 1,
            end: first + (1 << 32),
            accepts: BTreeMap::new(),
            gangs: BTreeMap::new(),
            broken: BTreeSet::new(),
            kills: BTreeMap::new(),
        }
    }

    pub(super) fn number(&mut self) -> CallId {
        let id = CallId(self.next);
        self.next += 1;
        id
    }

    pub(super) fn accept(&mut self, accept: Accept) -> Call {
        self.accepts.insert(accept.id, accept.clone());
        Call::Accept(accept)
    }

    pub(super) fn gang(&mut self, gang: AcceptGang) -> Call {
        self.gangs.insert(gang.id, gang.clone());
        Call::AcceptGang(gang)
    }

    /// A member of the gang has ended without running.
    pub(super) fn break_gang(&mut self, id: CallId) {
        if self.gangs.contains_key(&id) {
            self.broken.insert(id);
        }
    }

    /// The gangs that broke before they were answered.
    pub(super) fn take_broken(&mut self) -> Vec<AcceptGang> {
        std::mem::take(&mut self.broken).iter().filter_map(|id| self.gangs.remove(id)).collect()
    }

    /// The gangs for all of whose tasks `is_settled` holds: their answers are of no more interest.
    pub(super) fn drop_gangs(&mut self, is_settled: impl Fn(&TaskId) -> bool) -> Vec<AcceptGang> {
        let settled = |gang: &AcceptGang| gang.tasks().all(|(_, task)| is_settled(&task.id));
        let ids: Vec<CallId> = self.gangs.values().filter(|gang| settled(gang)).map(|gang| gang.id).collect();
        ids.iter().filter_map(|id| self.gangs.remove(id)).collect()
    }

    /// The call that ends `task`; none if the same is asked already.
    pub(super) fn kill(&mut self, now: Time, task: TaskId, grace: Option<Duration>) -> Option<Call> {
        if self.kills.get(&task).is_some_and(|kill| kill.grace == grace) {
            return None;
        }
        let id = self.number();
        let kill = Kill { id, grace, retry_at: now + KILL_RETRY, retry_delay: KILL_RETRY };
        self.kills.insert(task.clone(), kill);
        Some(Call::Kill { id, task, grace })
    }

    pub(super) fn answered(&mut self, id: CallId) -> Answered {
        if let Some(accept) = self.accepts.remove(&id) {
            return Answered::Accept(accept);
        }
        if let Some(gang) = self.gangs.remove(&id) {
            self.broken.remove(&id);
            return Answered::Gang(gang);
        }
        let task = self.kills.iter().find(|(_, kill)| kill.id == id).map(|(task, _)| task.clone());
        task.map_or(Answered::Unknown, |task| {
            self.kills.remove(&task);
            Answered::Kill(task)
        })
    }

    /// The task has ended: there is nothing left to kill.
    pub(super) fn ended(&mut self, task: &TaskId) {
        self.kills.remove(task);
    }

    pub(super) fn clear(&mut self) {
        self.accepts.clear();
        self.gangs.clear();
        self.broken.clear();
        self.kills.clear();
    }

    /// All of them, to be sent on a new connection: launches before kills.
    pub(super) fn resend(&mut self, now: Time) -> Vec<Call> {
        let mut calls: Vec<Call> = self.accepts.values().cloned().map(Call::Accept).collect();
        calls.extend(self.gangs.values().cloned().map(Call::AcceptGang));
        for (task, kill) in &mut self.kills {
            kill.retry_delay = KILL_RETRY;
            kill.retry_at = now + KILL_RETRY;
            calls.push(Call::Kill { id: kill.id, task: task.clone(), grace: kill.grace });
        }
        calls
    }

    /// The kills that have waited long enough for an answer.
    pub(super) fn due(&mut self, now: Time) -> Vec<Call> {
        let mut calls = Vec::new();
        for (task, kill) in self.kills.iter_mut().filter(|(_, kill)| kill.retry_at <= now) {
            kill.retry_delay = (kill.retry_delay * 2).min(KILL_RETRY_MAX);
            kill.retry_at = now + kill.retry_delay;
            calls.push(Call::Kill { id: kill.id, task: task.clone(), grace: kill.grace });
        }
        calls
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.kills.values().map(|kill| kill.retry_at).min()
    }

    /// Whether the unanswered call `id` launches `task`.
    pub(super) fn launches(&self, id: CallId, task: &TaskId) -> bool {
        let by_accept = self.accepts.get(&id).is_some_and(|accept| launched(accept).any(|launch| launch == task));
        by_accept || self.gangs.get(&id).is_some_and(|gang| gang.tasks().any(|(_, launch)| launch.id == *task))
    }

    pub(super) fn unanswered(&self) -> usize {
        self.accepts.len() + self.gangs.len() + self.kills.len()
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.next <= self.end, "the call ids of this life are used up");
        let kills: BTreeSet<CallId> = self.kills.values().map(|kill| kill.id).collect();
        assert_eq!(kills.len(), self.kills.len(), "two kills share a call id");
        for id in self.accepts.keys().chain(self.gangs.keys()).chain(&kills) {
            assert!(id.0 < self.next, "call {id:?} was never numbered");
            assert!(!(self.accepts.contains_key(id) && kills.contains(id)), "call {id:?} is an accept and a kill");
            assert!(!(self.accepts.contains_key(id) && self.gangs.contains_key(id)), "call {id:?} is one of the two");
        }
        assert!(self.broken.iter().all(|id| self.gangs.contains_key(id)), "a broken gang is answered and remembered");
        assert!(self.accepts.iter().all(|(id, accept)| accept.id == *id), "an accept is kept under another id");
    }
}

/// The tasks that `accept` launches.
pub(super) fn launched(accept: &Accept) -> impl Iterator<Item = &TaskId> {
    let groups = accept.operations.iter().filter_map(|operation| match operation {
        Operation::Launch(group) => Some(group),
        _ => None,
    });
    groups.flat_map(|group| group.tasks.iter().map(|task| &task.id))
}
