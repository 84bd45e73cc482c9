//! Gangs of an earlier term: what became of them is on their agents, and the framework alone knows what belongs together.

use std::collections::{BTreeMap, BTreeSet};

use super::super::accept::Taken;
use super::super::view::AgentStatus;
use super::super::{Master, Outbox};
use super::gang_gone;
use super::table::{Gang, Phase};
use crate::model::{
    AcceptGang, AgentId, CallId, FrameworkId, GangId, Reject, Resources, TaskGroup, TaskId, TaskKey, TaskState,
};

/// What a later master finds of a group of a gang.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    /// It was started.
    Known,
    /// Its agent is away, and may have started it.
    Doubtful,
    /// It was not started, or is over and forgotten.
    Missing,
    /// Its agent is gone.
    Lost,
}

impl Master {
    /// Gangs of an earlier term that wait for this agent, which is back now, or given up.
    pub(in crate::master) fn settle_parked_gangs(&mut self, agent: AgentId, out: &mut Outbox) {
        for (framework, call) in self.gangs.parked_for.remove(&agent).unwrap_or_default() {
            if let Some(gang) = self.gangs.unpark(framework, call) {
                self.accept_gang(framework, gang, out);
            }
        }
    }

    /// A gang that was accepted in an earlier term, now that it is known what runs on its agents. If none of it was started, it is
    /// refused: its offers are gone. If a part was, the rest is started too where it still fits, else the gang is aborted.
    pub(super) fn resume_gang(&mut self, framework: FrameworkId, gang: &AcceptGang, out: &mut Outbox) {
        let groups = || gang.parts.iter().flat_map(|part| part.groups.iter().map(|group| (part.agent, group)));
        let mut found: BTreeMap<Found, Vec<(AgentId, &TaskGroup)>> = BTreeMap::new();
        for (agent, group) in groups() {
            found.entry(self.find_group(framework, agent, group)).or_default().push((agent, group));
        }
        let mut take = |kind| found.remove(&kind).unwrap_or_default();
        let (known, doubtful, missing, lost) =
            (take(Found::Known), take(Found::Doubtful), take(Found::Missing), take(Found::Lost));
        if known.is_empty() && doubtful.is_empty() {
            return self.refuse_gang(framework, gang, gang_gone(gang), out);
        }
        for (agent, group) in &doubtful {
            self.doubt_group(framework, *agent, group, out);
        }
        let failed =
            gang.tasks().filter(|(_, task)| self.gangs.parked_failed.remove(&TaskKey::new(framework, task.id.clone())));
        let is_broken = failed.count() > 0;
        let mut reject = lost.first().map(|(agent, _)| Reject::UnknownAgent(*agent));
        reject = reject.or_else(|| is_broken.then(|| gang_gone(gang)));
        let mut unstarted: Vec<TaskId> = ids_of(&lost);
        for (agent, group) in &missing {
            let nothing_runs = known.is_empty().then(|| gang_gone(gang));
            let refusal = nothing_runs
                .or_else(|| reject.clone())
                .map_or_else(|| self.launch_rest(framework, *agent, group, out), Err);
            if let Err(refusal) = refusal {
                unstarted.extend(ids_of(&[(*agent, *group)]));
                reject.get_or_insert(refusal);
            }
        }
        let tasks: Vec<TaskKey> = gang.tasks().map(|(_, task)| TaskKey::new(framework, task.id.clone())).collect();
        if let Some(reject) = reject {
            self.kill_members(tasks.iter(), out);
            self.gangs.kills.retain(|key, _| !tasks.contains(key));
            let rejected = (!unstarted.is_empty()).then(|| self.refuse_tasks(0, unstarted, transient(reject, gang)));
            return self.answer_gang(framework, gang.id, rejected.into_iter().collect(), out);
        }
        self.watch_resumed(framework, gang.id, tasks, out);
    }

    fn watch_resumed(&mut self, framework: FrameworkId, call: CallId, tasks: Vec<TaskKey>, out: &mut Outbox) {
        let id = GangId::new(self.term, self.next_seq());
        let waits = |key: &&TaskKey| {
            self.tasks.get(*key).is_some_and(|entry| !matches!(entry.state, TaskState::Running | TaskState::Killing))
        };
        let waiting: BTreeSet<TaskKey> = tasks.iter().filter(waits).cloned().collect();
        self.kill_remembered(&tasks, out);
        let gang = Gang { framework, call, tasks, phase: Phase::Starting { waiting: waiting.clone() } };
        self.gangs.insert(id, gang);
        self.gangs.members.retain(|key, of| *of != id || waiting.contains(key));
        for key in &waiting {
            // What was told before is not told again.
            if let Some(status) = self.tasks.get(key).and_then(|entry| entry.unacknowledged()) {
                self.gangs.hear(key, status);
            }
        }
        self.close_if_running(id, out);
    }

    fn find_group(&self, framework: FrameworkId, agent: AgentId, group: &TaskGroup) -> Found {
        if group.tasks.iter().any(|task| self.is_launched(framework, agent, task)) {
            return Found::Known;
        }
        match self.agents.get(&agent).map(|agent| (agent.status, agent.heard)) {
            None | Some((AgentStatus::Gone, _)) => Found::Lost,
            Some((_, true)) => Found::Missing,
            Some((_, false)) => Found::Doubtful,
        }
    }

    /// Launches a group of a gang whose other parts run, on what is free now.
    fn launch_rest(
        &mut self,
        framework: FrameworkId,
        agent: AgentId,
        group: &TaskGroup,
        out: &mut Outbox,
    ) -> Result<(), Reject> {
        let Some(role) = group.tasks.first().map(|task| task.role.clone()) else {
            return Err(Reject::invalid("launch.tasks", "expected at least one"));
        };
        let state = &self.agents[&agent];
        let all_devices = Resources::devices(state.devices.keys().cloned());
        let mut taken = Taken::of(role, state.record.resources.plus(&all_devices), group);
        self.launch(framework, agent, &mut taken, group, out)
    }
}

fn ids_of(groups: &[(AgentId, &TaskGroup)]) -> Vec<TaskId> {
    groups.iter().flat_map(|(_, group)| &group.tasks).map(|task| task.id.clone()).collect()
}

/// Another try of the whole gang may well succeed, whatever kept this one's rest from starting.
fn transient(reject: Reject, gang: &AcceptGang) -> Reject {
    if reject.is_transient() { reject } else { gang_gone(gang) }
}
