//! Agents that will be taken away at a moment that is known: their provider has said so, or their power will be cut.
//!
//! Frameworks are told. What is begun there from then on must have said that it will have ended by then. Each task is told to end so long
//! before that its grace period has passed; at the moment itself the agent counts as gone.

use std::collections::BTreeMap;
use std::time::Duration;

use super::clients::Wanted;
use super::registry::Record;
use super::state::Agent;
use super::timers::{Timer, TimerKey};
use super::view::AgentStatus;
use super::{Master, Outbox};
use crate::gate::Output;
use crate::model::{AgentId, Event, FrameworkId, Reason, Reject, TaskGroup, TaskKey, Time, WallTime};
use crate::planted::{Fault, planted};

/// The longest time ahead that an agent's leaving may be said.
const NOTICE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// So long before an agent leaves a task must have ended by what it has declared, to be started there.
const MARGIN: Duration = Duration::from_secs(5);

/// An agent that will be taken away.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaving {
    /// When.
    pub(super) at: Time,
    /// When something is to be done about it next.
    timer: Option<TimerKey>,
}

impl Master {
    /// The agent will be taken away after so long; none means that it stays after all.
    pub(super) fn notice(&mut self, id: AgentId, after: Option<Duration>, out: &mut Outbox) -> Result<(), Reject> {
        let known = self.agents.get(&id).filter(|agent| agent.status != AgentStatus::Gone);
        let is_leaving = known.ok_or(Reject::UnknownAgent(id))?.leaving.is_some();
        if after.is_some_and(|after| after > NOTICE_MAX) {
            return Err(Reject::invalid("after", format!("expected at most {} days", NOTICE_MAX.as_secs() / 86_400)));
        }
        if after.is_none() && !is_leaving {
            return Ok(());
        }
        self.forget_leaving(id, out);
        if let Some(after) = after {
            let at = self.wall_at(self.now + after);
            out.push(Output::Persist(Record::Leaving(id, Some(at))));
            self.set_leaving(id, self.now + after);
        }
        let frameworks: Vec<FrameworkId> = self.frameworks.keys().copied().collect();
        for framework in frameworks {
            self.tell_leaving(framework, id, out);
        }
        self.withdraw_agent_offers(id, out);
        self.void_nominations(id);
        self.touched.agents.push(id);
        self.want_agent_round(id);
        // What has its end coming before that is told so in this very step.
        self.on_leaving(id, out);
        Ok(())
    }

    /// What the registry says of agents that leave. Those whose moment has passed meanwhile go in the first step.
    pub(super) fn recover_leaving(&mut self, records: BTreeMap<AgentId, WallTime>, out: &mut Outbox) {
        for (id, at) in records {
            let known = self.agents.get(&id).is_some_and(|agent| agent.status != AgentStatus::Gone);
            if planted(Fault::ForgetAnnouncements) {
                continue;
            }
            if !known {
                out.push(Output::Persist(Record::Leaving(id, None)));
                continue;
            }
            let left = u64::try_from(at.0.saturating_sub(self.wall().0)).unwrap_or(0);
            self.set_leaving(id, self.now + Duration::from_micros(left));
            self.watch_leaving(id);
        }
    }

    fn set_leaving(&mut self, id: AgentId, at: Time) {
        let agent = self.agents.get_mut(&id).expect("the caller has found it");
        agent.leaving = Some(Leaving { at, timer: None });
        self.leaving.insert(id);
    }

    /// The agent stays, or is gone.
    pub(super) fn forget_leaving(&mut self, id: AgentId, out: &mut Outbox) {
        let Some(leaving) = self.agents.get_mut(&id).and_then(|agent| agent.leaving.take()) else { return };
        if let Some(timer) = leaving.timer {
            self.timers.cancel(timer);
        }
        self.leaving.remove(&id);
        out.push(Output::Persist(Record::Leaving(id, None)));
    }

    /// A framework that is newly connected hears of every agent that will be taken away.
    pub(super) fn tell_all_leaving(&self, framework: FrameworkId, out: &mut Outbox) {
        self.leaving.iter().for_each(|agent| self.tell_leaving(framework, *agent, out));
    }

    fn tell_leaving(&self, framework: FrameworkId, id: AgentId, out: &mut Outbox) {
        let agent = &self.agents[&id];
        let after = agent.leaving.map(|leaving| leaving.at.since(self.now));
        self.tell(framework, Event::AgentLeaves { agent: id, name: agent.record.info.name.clone(), after }, out);
    }

    /// When something is to be done about the agent next: a task is to be told to end, or it is gone.
    pub(super) fn watch_leaving(&mut self, id: AgentId) {
        let Some(Leaving { at, timer }) = self.agents.get(&id).and_then(|agent| agent.leaving) else { return };
        if let Some(timer) = timer {
            self.timers.cancel(timer);
        }
        let ends = self.agents[&id].tasks.iter().filter_map(|key| self.end_due(key, at));
        let due = ends.min().unwrap_or(at).min(at).max(self.now);
        let timer = Some(self.timers.set(due, Timer::Leaving(id)));
        self.agents.get_mut(&id).expect("it was there above").leaving = Some(Leaving { at, timer });
    }

    /// When the task is to be told to end, as its agent leaves at `at`; none if somebody has told it already.
    fn end_due(&self, key: &TaskKey, at: Time) -> Option<Time> {
        let entry = &self.tasks[key];
        let is_due = entry.kill.is_none() && !entry.state.is_terminal();
        is_due.then(|| Time::ZERO + at.since(Time::ZERO).saturating_sub(entry.task.kill_grace))
    }

    pub(super) fn on_leaving(&mut self, id: AgentId, out: &mut Outbox) {
        let Some(Leaving { at, .. }) = self.agents.get(&id).and_then(|agent| agent.leaving) else { return };
        if at <= self.now || planted(Fault::TakenAwayAtOnce) {
            return self.give_up_agent(id, "it was taken away, as had been announced", out);
        }
        let left = at.since(self.now);
        let tasks: Vec<TaskKey> = self.agents[&id].tasks.iter().cloned().collect();
        for key in tasks {
            if self.end_due(&key, at).is_some_and(|due| due <= self.now) {
                let grace = self.tasks[&key].task.kill_grace.min(left);
                self.kill_live(&key, Some(grace), Reason::AgentLeaving, out);
            }
        }
        self.watch_leaving(id);
    }

    /// Whether what the client waits for may be begun on the agent, and fits what is available there.
    pub(super) fn meets(&self, agent: &Agent, wanted: &Wanted, available: &super::available::Available) -> bool {
        agent.outlasts(wanted.shape.expected_run_time, self.now) && agent.meets(wanted, available)
    }

    /// Whether each of the group has said that it will have ended before the agent is taken away.
    pub(super) fn check_leaving(&self, id: AgentId, group: &TaskGroup) -> Result<(), Reject> {
        let agent = &self.agents[&id];
        match agent.leaving {
            Some(leaving) if !group.tasks.iter().all(|task| agent.outlasts(task.expected_run_time, self.now)) => {
                Err(Reject::AgentLeaves { agent: id, after: leaving.at.since(self.now) })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn check_all_leaving(&self) {
        for (id, agent) in &self.agents {
            let is_there = agent.leaving.is_some();
            assert_eq!(self.leaving.contains(id), is_there, "{id}: known to leave if it does");
            assert!(!is_there || agent.status != AgentStatus::Gone, "{id}: what is gone does not leave");
        }
    }

    fn wall_at(&self, at: Time) -> WallTime {
        WallTime(self.config.origin.0.saturating_add_unsigned(at.0))
    }

    /// When the agent will be taken away, for people.
    pub(super) fn leaves_at(&self, agent: &Agent) -> Option<WallTime> {
        agent.leaving.map(|leaving| self.wall_at(leaving.at))
    }
}

impl Agent {
    /// Whether what runs for so long, if that is known, ends before the agent is taken away.
    pub(super) fn outlasts(&self, run_time: Option<Duration>, now: Time) -> bool {
        match self.leaving {
            None => true,
            Some(leaving) => run_time.is_some_and(|runs| runs.saturating_add(MARGIN) <= leaving.at.since(now)),
        }
    }
}

#[cfg(test)]
mod tests;
