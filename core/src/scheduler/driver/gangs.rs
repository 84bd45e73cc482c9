//! Gangs: repeated until they are answered, and ended by the framework's next life where nobody else knows what belongs together.
//!
//! While a gang starts, its master sees to it that all of it runs or none. A later master learns from the framework, which repeats the
//! gang, what belongs together. A framework that has crashed has no call to repeat; what it saved of each task names the gang, and if a
//! member turns out to have ended before it was heard to run, the driver has the others killed.

use super::tasks::Tracked;
use super::{Driver, Outputs};
use crate::model::{AcceptGang, Call, CallId, Outcome, TaskId, Time};
use crate::scheduler::Scheduler;

impl<S: Scheduler> Driver<S> {
    /// On a new connection: a gang all of whose tasks have run, or ended, has started, and need not be repeated for the sake of its answer.
    /// One of which a member ended without running should have been ended by the master that is lost; now the driver sees to that.
    pub(super) fn settle_gangs(&mut self, now: Time, out: &mut Outputs<S>) {
        for gang in self.calls.take_broken() {
            // They are sent with all that waits for an answer.
            self.kill_gang(now, gang.id);
            self.gang_settled(&gang, out);
        }
        let is_settled = |id: &TaskId| self.tasks.get(id).is_none_or(Tracked::runs);
        for gang in self.calls.drop_gangs(is_settled) {
            self.gang_settled(&gang, out);
        }
    }

    pub(super) fn gang_answered(&mut self, now: Time, gang: &AcceptGang, outcome: Outcome, out: &mut Outputs<S>) {
        self.gang_settled(gang, out);
        for rejection in outcome.rejected {
            let named = !rejection.tasks.is_empty();
            let all = || gang.tasks().map(|(_, task)| task.id.clone()).collect();
            let tasks: Vec<TaskId> = if named { rejection.tasks } else { all() };
            self.launch_refused(now, tasks, rejection.reject, out);
        }
    }

    /// The gang's fate is known, so its tasks are tasks like all others, in the next life too.
    fn gang_settled(&mut self, gang: &AcceptGang, out: &mut Outputs<S>) {
        self.launch_answered(gang.id, gang.tasks().map(|(_, task)| &task.id));
        for (_, task) in gang.tasks() {
            let Some(tracked) = self.tasks.get_mut(&task.id).filter(|tracked| tracked.gang == Some(gang.id)) else {
                continue;
            };
            tracked.gang = None;
            let record = tracked.record(&task.id);
            self.save(record, out);
        }
    }

    /// The gang of a task that an earlier life launched and that was never heard to run.
    pub(super) fn gang_in_doubt(&self, task: &TaskId) -> Option<CallId> {
        let tracked = self.tasks.get(task).filter(|tracked| tracked.launch.is_none() && !tracked.runs())?;
        tracked.gang
    }

    /// The gang of a task that was never heard to run, if its master has not answered: it sees to the others.
    pub(super) fn gang_unanswered(&self, task: &TaskId) -> Option<CallId> {
        self.tasks.get(task).filter(|tracked| tracked.launch.is_some() && !tracked.runs())?.gang
    }

    /// A member has ended without running: no other may run on.
    pub(super) fn abort_gang(&mut self, now: Time, gang: CallId, out: &mut Outputs<S>) {
        for call in self.kill_gang(now, gang) {
            self.call(call, out);
        }
    }

    fn kill_gang(&mut self, now: Time, gang: CallId) -> Vec<Call> {
        let others: Vec<TaskId> =
            self.tasks.iter().filter(|(_, task)| task.gang == Some(gang)).map(|(id, _)| id.clone()).collect();
        others.into_iter().filter_map(|task| self.calls.kill(now, task, None)).collect()
    }
}
