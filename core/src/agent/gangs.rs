//! Gangs: what a gang needs of this agent is set aside first and started only when every other agent holds its part too.

use super::{Agent, Out, Record};
use crate::model::{FrameworkId, FromAgent, GangId, Launch, Reason, Reject, TaskKey, Time, ToAgent};

/// The most started gangs that are remembered for repeated starts.
const MAX_STARTED: usize = 1024;
/// The most gangs that are held at once.
pub(super) const MAX_HELD: usize = 256;

impl Agent {
    pub(super) fn hold(&mut self, now: Time, gang: GangId, groups: Vec<Launch>, out: &mut Out) {
        if self.journal.gangs.contains_key(&gang) {
            self.holds.insert(gang, now + ToAgent::HOLD);
            self.tell(FromAgent::Held(gang), out);
            return;
        }
        if let Err(reject) = self.check_gang(&groups) {
            self.tell(FromAgent::NotHeld(gang, reject), out);
            return;
        }
        groups.iter().for_each(|launch| self.take(&launch.group.resources()));
        self.persist(Record::Hold { gang, groups }, out);
        self.holds.insert(gang, now + ToAgent::HOLD);
        self.tell(FromAgent::Held(gang), out);
    }

    pub(super) fn start_gang(&mut self, now: Time, gang: GangId, out: &mut Out) {
        if self.started.contains(&gang) {
            return;
        }
        let Some(groups) = self.unhold(gang, out) else {
            self.tell(FromAgent::NotHeld(gang, Reject::invalid("gang", "it is not held here, or no longer")), out);
            return;
        };
        self.started.insert(gang);
        if self.started.len() > MAX_STARTED {
            self.started.pop_first();
        }
        groups.into_iter().for_each(|launch| self.launch(now, launch, out));
    }

    pub(super) fn release_gang(&mut self, gang: GangId, out: &mut Out) {
        self.unhold(gang, out);
    }

    pub(super) fn hold_expired(&mut self, gang: GangId, out: &mut Out) {
        self.unhold(gang, out);
        self.tell(FromAgent::NotHeld(gang, Reject::invalid("gang", "it was not started in time")), out);
    }

    pub(super) fn release_gangs_of(&mut self, framework: FrameworkId, out: &mut Out) {
        let of_it = |groups: &[Launch]| groups.iter().any(|launch| launch.framework == framework);
        let gangs: Vec<GangId> =
            self.journal.gangs.iter().filter(|(_, groups)| of_it(groups)).map(|(gang, _)| *gang).collect();
        for gang in gangs {
            self.unhold(gang, out);
        }
    }

    /// Sets free what is held for a gang.
    fn unhold(&mut self, gang: GangId, out: &mut Out) -> Option<Vec<Launch>> {
        self.holds.remove(&gang);
        let groups = self.journal.gangs.get(&gang)?.clone();
        self.persist(Record::Released(gang), out);
        groups.iter().for_each(|launch| self.give_back(&launch.group.resources()));
        Some(groups)
    }

    fn check_gang(&self, groups: &[Launch]) -> Result<(), Reject> {
        if self.journal.gangs.len() >= MAX_HELD {
            return Err(Reject::Limit { what: "gangs held by one agent", limit: MAX_HELD as u64 });
        }
        if self.degraded {
            return Err(Reject::JournalDegraded);
        }
        // The groups are checked as one, so that two of them can't be promised the same.
        let Some(mut all) = groups.first().cloned() else {
            return Err(Reject::invalid("groups", "expected at least one"));
        };
        all.group.tasks = groups.iter().flat_map(|launch| launch.group.tasks.iter().cloned()).collect();
        for launch in groups {
            let used = |id| {
                let key = TaskKey::new(launch.framework, id);
                self.journal.tasks.contains_key(&key) || self.journal.finished.contains_key(&key)
            };
            if let Some(task) = launch.group.tasks.iter().find(|task| used(task.id.clone())) {
                return Err(Reject::DuplicateTask(task.id.clone()));
            }
        }
        self.check(&all).map_err(|refusal| match refusal.reason {
            Reason::TaskInvalid => Reject::invalid("task", refusal.message),
            _ => Reject::ClaimNotMet(refusal.message),
        })
    }
}
