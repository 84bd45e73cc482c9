//! Gangs: repeated until they are answered, and ended by the framework's next life where nobody else knows what belongs together.
//!
//! While a gang starts, its master sees to it that all of it runs or none. A later master learns from the framework, which repeats the
//! gang, what belongs together. A framework that has crashed has no call to repeat; what it saved of each task names the gang, and if a
//! member turns out to have ended before it was heard to run, the driver has the others killed.

use super::tasks::Tracked;
use super::{Driver, Outputs};
use crate::model::{AcceptGang, CallId, Outcome, TaskId, Time};
use crate::scheduler::Scheduler;

impl<S: Scheduler> Driver<S> {
    /// A gang all of whose tasks have run, or ended, has started: it need not be repeated for the sake of its answer.
    pub(super) fn settle_gangs(&mut self, out: &mut Outputs<S>) {
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

    /// A member has ended without running: no other may run on.
    pub(super) fn abort_gang(&mut self, now: Time, gang: CallId, out: &mut Outputs<S>) {
        let others: Vec<TaskId> =
            self.tasks.iter().filter(|(_, task)| task.gang == Some(gang)).map(|(id, _)| id.clone()).collect();
        for task in others {
            let call = self.calls.kill(now, task, None);
            self.call_if(call, out);
        }
    }
}
