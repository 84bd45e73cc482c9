//! What a driver does about its connection and about what the master says.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::calls::{self, Answered};
use super::tasks::{Verdict, judge};
use super::{BOOK_MAX, Driver, DriverEffect, Ending, Life, Link, Outputs, saved};
use crate::gate::Output;
use crate::model::{
    Accept, AgentId, Call, CallId, ClusterId, Event, FrameworkId, Offer, OfferId, OfferMode, Operation, Outcome,
    Prices, Reason, Refusal, Reject, Source, Status, Subscribe, TaskId, TaskState, Term, Time,
};
use crate::planted::{Fault, planted};
use crate::scheduler::{Happening, Scheduler};

/// For how long offers are declined that have no room in the book.
const OVERFLOW_REFUSAL: Duration = Duration::from_secs(5);

impl<S: Scheduler> Driver<S> {
    pub(super) fn connected(&mut self, now: Time, out: &mut Outputs<S>) {
        self.disconnected(now, out);
        self.connection += 1;
        self.link = Link::Subscribing;
        let subscribe = Subscribe {
            framework: self.identity.framework,
            client: self.identity.client,
            info: self.config.info.clone(),
            suppressed: self.market.suppressed().clone(),
            connection: (u64::from(self.identity.life) << 32) + self.connection,
        };
        let call = Call::Subscribe(subscribe);
        out.push(Output::Effect(DriverEffect::ToMaster { connection: self.connection, call }));
    }

    pub(super) fn disconnected(&mut self, now: Time, out: &mut Outputs<S>) {
        let was = std::mem::replace(&mut self.link, Link::Down);
        self.out.book.clear();
        self.out.prices = Prices::default();
        self.standing.clear();
        self.market.disconnected();
        if was == Link::Subscribed {
            self.tell(now, Happening::Disconnected, out);
        }
    }

    pub(super) fn heard(&mut self, now: Time, event: Event, out: &mut Outputs<S>) {
        match (self.link, event) {
            (Link::Subscribing | Link::Subscribed, Event::Error(reject)) => self.refused_by_master(now, reject, out),
            (Link::Subscribing, Event::Subscribed { framework, cluster, term, .. }) => {
                self.subscribed(now, (framework, cluster), term, out);
            }
            // What an earlier connection still had to say is void.
            (Link::Down | Link::Subscribing, _) => {}
            (Link::Subscribed, event) => self.heard_subscribed(now, event, out),
        }
    }

    fn heard_subscribed(&mut self, now: Time, event: Event, out: &mut Outputs<S>) {
        match event {
            Event::Subscribed { .. } | Event::Error(_) => {}
            Event::Offers(offers) => self.offered(now, offers, out),
            Event::Rescind(offers) => self.rescinded(now, &offers, out),
            Event::Update(status) => self.updated(now, status, out),
            Event::Outcome(outcome) => self.answered(now, outcome, out),
            Event::Message { agent, executor, data } => {
                self.tell(now, Happening::Message { agent, executor, data }, out);
            }
            Event::AgentLost(agent) => self.agent_lost(now, agent, out),
            Event::AgentLeaves { agent, name, after } => {
                self.tell(now, Happening::AgentLeaves { agent, name, after }, out);
            }
            Event::Prices(changes) => {
                changes.iter().for_each(|change| self.out.prices.apply(change));
                self.tell(now, Happening::Prices(changes), out);
            }
        }
    }

    fn subscribed(&mut self, now: Time, known_as: (FrameworkId, ClusterId), term: Term, out: &mut Outputs<S>) {
        let (framework, cluster) = known_as;
        if self.identity.cluster.is_some_and(|known| known != cluster) {
            // The id is another framework's there. What is saved is kept: most likely the address is wrong.
            let reject = Reject::invalid("cluster", "expected the cluster that the framework's saved state is of");
            return self.refused_by_master(now, reject, out);
        }
        if term < self.term {
            // A master that has been replaced and does not know it: it knows nothing of what was launched since. Its end is near.
            return;
        }
        if term > self.term {
            self.term = term;
            self.save(saved::term_record(term), out);
        }
        self.link = Link::Subscribed;
        self.stats.subscriptions += 1;
        if self.identity.framework != Some(framework) {
            self.identity.framework = Some(framework);
            self.identity.cluster = Some(cluster);
            self.save(self.identity.record(), out);
        }
        if self.life == Life::Leaving {
            self.call(Call::Teardown, out);
            return;
        }
        self.settle_gangs(now, out);
        for call in self.calls.resend(now).into_iter().chain(self.market.resend()) {
            self.call(call, out);
        }
        let launched = self.tasks.iter().filter(|(_, task)| task.launch.is_none()).map(|(id, _)| id.clone());
        self.reconcile.restart();
        self.reconcile.doubt(launched.filter(|_| !planted(Fault::NoReconciliation)));
        self.tell(now, Happening::Subscribed { framework, term }, out);
    }

    fn offered(&mut self, now: Time, mut offers: Vec<Arc<Offer>>, out: &mut Outputs<S>) {
        self.stats.offers += offers.len() as u64;
        let room = BOOK_MAX.saturating_sub(self.out.book.len()).min(offers.len());
        let over: Vec<OfferId> = offers.split_off(room).into_iter().map(|offer| offer.id).collect();
        if !over.is_empty() {
            let refusal =
                Refusal { reason: Some(Arc::from("the offer book is full")), ..Refusal::of(OVERFLOW_REFUSAL) };
            self.call(Call::Decline { offers: over, refusal }, out);
        }
        for offer in offers {
            self.enter(offer);
        }
        self.tell(now, Happening::Offers, out);
    }

    /// An accept that crossed with a replacement takes the new offer under the old id, and nobody rescinds that; so it goes here.
    fn enter(&mut self, offer: Arc<Offer>) {
        if offer.mode == OfferMode::Optimistic {
            let place = (offer.agent, offer.role.clone());
            if let Some(old) = self.standing.insert(place, offer.id) {
                self.out.book.remove(&old);
            }
        }
        self.out.book.insert(offer.id, offer);
    }

    fn rescinded(&mut self, now: Time, offers: &[OfferId], out: &mut Outputs<S>) {
        let gone: Vec<OfferId> = offers.iter().copied().filter(|id| self.out.book.remove(id).is_some()).collect();
        if !gone.is_empty() {
            self.tell(now, Happening::Rescinded(gone), out);
        }
    }

    fn updated(&mut self, now: Time, status: Status, out: &mut Outputs<S>) {
        // That its agent is away is no answer yet: the agent may come back without it.
        if status.uuid.is_some() || status.state != TaskState::Unreachable {
            self.reconcile.answered(&status.task);
        }
        let acknowledge = status.uuid.map(|uuid| Call::Acknowledge {
            agent: status.agent.filter(|_| status.source != Source::Master),
            task: status.task.clone(),
            uuid,
        });
        let task = status.task.clone();
        let (gang, unanswered) = (self.gang_in_doubt(&task), self.gang_unanswered(&task));
        match judge(&mut self.tasks, status) {
            Verdict::News(status) => {
                let never_ran = status.state.is_terminal() && status.state != TaskState::Finished;
                if let Some(gang) = unanswered.filter(|_| never_ran && status.exit.is_none()) {
                    self.calls.break_gang(gang);
                }
                self.news(now, *status, out);
                if let Some(gang) = gang.filter(|_| never_ran) {
                    self.abort_gang(now, gang, out);
                }
            }
            Verdict::Old => self.stats.old_updates += 1,
            // An older update that was on its way when the end came.
            Verdict::Orphan if self.ended.contains(&task) => self.stats.old_updates += 1,
            Verdict::Orphan => {
                self.stats.orphans += 1;
                let call = self.calls.kill(now, task, None);
                self.call_if(call, out);
            }
        }
        match acknowledge {
            Some(call) if planted(Fault::AcknowledgeBeforeSave) => {
                out.push(Output::Ungated(DriverEffect::ToMaster { connection: self.connection, call }));
            }
            acknowledge => self.call_if(acknowledge, out),
        }
    }

    fn news(&mut self, now: Time, status: Status, out: &mut Outputs<S>) {
        self.stats.updates += 1;
        match self.tasks.get(&status.task) {
            Some(task) => self.save(task.record(&status.task), out),
            None => {
                self.calls.ended(&status.task);
                self.ended.push(status.task.clone());
                self.save(saved::forget_task(&status.task), out);
            }
        }
        self.tell(now, Happening::Update(status), out);
    }

    fn answered(&mut self, now: Time, outcome: Outcome, out: &mut Outputs<S>) {
        match self.calls.answered(outcome.call) {
            Answered::Accept(accept) => self.accept_answered(now, &accept, outcome, out),
            Answered::Gang(gang) => self.gang_answered(now, &gang, outcome, out),
            Answered::Kill(task) => self.kill_answered(now, &task, outcome, out),
            Answered::Unknown => {}
        }
    }

    /// The call `id` waits for no answer any more.
    pub(super) fn launch_answered<'a>(&mut self, id: CallId, tasks: impl Iterator<Item = &'a TaskId>) {
        for task in tasks {
            if let Some(task) = self.tasks.get_mut(task)
                && task.launch == Some(id)
            {
                task.launch = None;
            }
        }
    }

    /// Tells the policy of tasks that were not launched. One that was heard of runs, whatever became of a repetition of its launch.
    pub(super) fn launch_refused(&mut self, now: Time, tasks: Vec<TaskId>, reject: Reject, out: &mut Outputs<S>) {
        let live = tasks.into_iter().filter(|id| self.tasks.contains_key(id));
        let (heard_of, tasks): (Vec<TaskId>, Vec<TaskId>) = live.partition(|id| self.tasks[id].is_heard_of());
        // Heard of by an earlier master, maybe as lost from sight; this one is asked for its state.
        self.reconcile.doubt(heard_of);
        if tasks.is_empty() {
            return;
        }
        self.forget_tasks(&tasks, out);
        self.stats.rejected += tasks.len() as u64;
        self.tell(now, Happening::Rejected { tasks, reject }, out);
    }

    fn accept_answered(&mut self, now: Time, accept: &Accept, outcome: Outcome, out: &mut Outputs<S>) {
        self.launch_answered(accept.id, calls::launched(accept));
        for rejection in outcome.rejected {
            let named = !rejection.tasks.is_empty();
            let tasks = if named { rejection.tasks } else { tasks_of(accept, rejection.operation) };
            let launches = !tasks.is_empty();
            // A task that was heard of runs, whatever became of a repetition of its launch.
            let lost = |id: &TaskId| self.tasks.get(id).is_some_and(|task| !task.is_heard_of());
            let tasks: Vec<TaskId> = tasks.into_iter().filter(lost).collect();
            if !named {
                // An accept that was not understood at all is refused without names: the rest of it may be lost as well.
                let rest = calls::launched(accept).filter(|id| self.tasks.contains_key(*id) && !tasks.contains(id));
                self.reconcile.doubt(rest.cloned());
            }
            if launches && tasks.is_empty() {
                continue;
            }
            self.forget_tasks(&tasks, out);
            self.stats.rejected += tasks.len() as u64;
            self.tell(now, Happening::Rejected { tasks, reject: rejection.reject }, out);
        }
    }

    fn kill_answered(&mut self, now: Time, task: &TaskId, outcome: Outcome, out: &mut Outputs<S>) {
        for rejection in outcome.rejected {
            match rejection.reject {
                Reject::UnknownTask(_) if self.tasks.contains_key(task) => self.reconcile.doubt([task.clone()]),
                // It has ended, or never was: there is nothing left to kill.
                Reject::UnknownTask(_) => {}
                reject => self.tell(now, Happening::Rejected { tasks: Vec::new(), reject }, out),
            }
        }
    }

    pub(super) fn forget_tasks(&mut self, tasks: &[TaskId], out: &mut Outputs<S>) {
        for id in tasks {
            self.tasks.remove(id);
            self.calls.ended(id);
            self.reconcile.answered(id);
            self.save(saved::forget_task(id), out);
        }
    }

    /// A master that has failed over since may not know which tasks were there, so it is asked for each of them.
    fn agent_lost(&mut self, now: Time, agent: AgentId, out: &mut Outputs<S>) {
        let there = self.tasks.iter().filter(|(_, task)| task.agent == agent && task.launch.is_none());
        self.reconcile.doubt(there.map(|(id, _)| id.clone()));
        self.out.book.retain(|_, offer| offer.agent != agent);
        self.tell(now, Happening::AgentLost(agent), out);
    }

    /// The connection ends by the master's will. Where another try may succeed, the shell makes it; else this is the end.
    fn refused_by_master(&mut self, now: Time, reject: Reject, out: &mut Outputs<S>) {
        if self.life == Life::Leaving && reject == Reject::UnknownFramework {
            self.end(Ending::TornDown, out);
        } else if is_final(&reject) {
            self.disconnected(now, out);
            if reject == Reject::UnknownFramework {
                self.lose_all_tasks(now, out);
            }
            self.tell(now, Happening::Refused(reject.clone()), out);
            self.end(Ending::Refused(reject), out);
        }
    }

    /// The master has removed the framework, and with it its tasks: each of them ends once.
    pub(super) fn lose_all_tasks(&mut self, now: Time, out: &mut Outputs<S>) {
        let ids: BTreeSet<TaskId> = self.tasks.keys().cloned().collect();
        for id in ids {
            let Some(task) = self.tasks.remove(&id) else { continue };
            let mut status = Status::new(id.clone(), TaskState::Gone, Source::Master)
                .because(Reason::FrameworkRemoved, "the framework was removed");
            status.agent = Some(task.agent);
            self.forget_tasks(&[id], out);
            self.tell(now, Happening::Update(status), out);
        }
    }
}

/// The tasks that operation number `operation` of `accept` launches.
fn tasks_of(accept: &Accept, operation: usize) -> Vec<TaskId> {
    match accept.operations.get(operation) {
        Some(Operation::Launch(group)) => group.tasks.iter().map(|task| task.id.clone()).collect(),
        _ => Vec::new(),
    }
}

/// Whether the next subscription would be refused as well.
const fn is_final(reject: &Reject) -> bool {
    matches!(
        reject,
        Reject::UnknownFramework
            | Reject::Superseded
            | Reject::Forbidden { .. }
            | Reject::Invalid { .. }
            | Reject::NotSubscribedTo(_)
            | Reject::Unsupported(_)
    )
}
