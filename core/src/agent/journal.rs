//! What survives a crash of the agent, and the records that lead to it.
//!
//! [`Journal::apply`] is the only way in which this state changes, both while the agent runs and when it is replayed, so the two cannot
//! come apart. A record that does not fit (a torn or repeated tail) changes nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::{KillCause, Record};
use crate::model::{
    AgentId, ClientId, ClusterId, DeviceId, DeviceState, FrameworkId, GangId, Launch, OperationId, Resources, Status,
    Task, TaskGroup, TaskId, TaskKey, TaskState, Term, UpdateId, VolumeKey,
};

/// The durable state of an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Journal {
    /// How many times the agent was started and has reached a master. The master tells an abandoned connection from a newer one by it,
    /// which no clock can: clocks are set back.
    pub(super) life: u32,
    pub(super) client: Option<ClientId>,
    pub(super) identity: Option<(AgentId, ClusterId)>,
    pub(super) term: Term,
    /// By leader.
    pub(super) groups: BTreeMap<TaskKey, Group>,
    pub(super) tasks: BTreeMap<TaskKey, Entry>,
    pub(super) finished: BTreeMap<TaskKey, Finished>,
    pub(super) devices: BTreeMap<DeviceId, Tenancy>,
    pub(super) gangs: BTreeMap<GangId, Vec<Launch>>,
    /// Removed frameworks that still have tasks.
    pub(super) removed: BTreeSet<FrameworkId>,
    /// The last operation on reservations and volumes.
    pub(super) operated: Option<OperationId>,
    /// All that operations have reserved or made volumes, also what there is no room for now.
    pub(super) reserved: Resources,
    /// Destroyed volumes whose data may still be there.
    pub(super) doomed: BTreeSet<VolumeKey>,
}

/// A group that is not forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) members: Vec<TaskId>,
    pub(super) user: Arc<str>,
    pub(super) remember: Duration,
}

/// A task that is not forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) task: Task,
    /// The leader of its group.
    pub(super) leader: TaskKey,
    /// The newest update, acknowledged or not.
    pub(super) last: Option<Status>,
    /// Updates that are not acknowledged; the first is the one that is sent.
    pub(super) pending: VecDeque<Status>,
    /// Why it is to end, if it is.
    pub(super) kill: Option<KillCause>,
}

/// What is remembered of a task that ended and was acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finished {
    pub(super) status: Status,
    pub(super) remember: Duration,
}

/// A device's state and the number of its tenancies so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tenancy {
    pub(super) state: DeviceState,
    pub(super) generation: u64,
    pub(super) condemned: Option<Arc<str>>,
}

impl Entry {
    pub(super) fn state(&self) -> TaskState {
        self.last.as_ref().map_or(TaskState::Staging, |status| status.state)
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.state().is_terminal()
    }

    /// Ended, and nobody needs to hear of it any more.
    pub(super) fn is_settled(&self) -> bool {
        self.is_terminal() && self.pending.is_empty()
    }

    /// Adds an update. Between the one that is out and the newest, only a change of state is kept, so this stays short whatever the
    /// health checks say while the master is away.
    fn push(&mut self, status: Status) {
        let newest_is_out = self.pending.len() == 1;
        if !newest_is_out && self.pending.back().is_some_and(|newest| newest.state == status.state) {
            self.pending.pop_back();
        }
        self.pending.push_back(status);
    }
}

impl Journal {
    /// Applies the next record.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Life(life) => self.life = self.life.max(*life),
            Record::Client(client) => self.client = Some(*client),
            Record::Registered { agent, cluster } => self.identity = Some((*agent, *cluster)),
            Record::Term(term) => self.term = self.term.max(*term),
            Record::Launch(launch) => self.launched(launch),
            Record::Update { framework, status } => self.updated(*framework, status),
            Record::Acknowledged { task, uuid } => self.acknowledged(task, *uuid),
            Record::Kill { task, cause } => {
                if let Some(entry) = self.tasks.get_mut(task) {
                    entry.kill.get_or_insert(*cause);
                }
            }
            Record::FrameworkRemoved(framework) => self.framework_removed(*framework),
            Record::Finished { framework, status, remember } => {
                let key = TaskKey::new(*framework, status.task.clone());
                self.finished.insert(key, Finished { status: status.clone(), remember: *remember });
            }
            Record::Forgotten { task } => drop(self.finished.remove(task)),
            Record::Device { device, state, generation, condemned } => {
                let tenancy = Tenancy { state: state.clone(), generation: *generation, condemned: condemned.clone() };
                self.devices.insert(device.clone(), tenancy);
            }
            Record::Hold { gang, groups } => drop(self.gangs.insert(*gang, groups.clone())),
            Record::Released(gang) => drop(self.gangs.remove(gang)),
            Record::Operated { id, reserved, doomed } if self.operated.is_none_or(|last| last < *id) => {
                self.operated = Some(*id);
                self.reserved.clone_from(reserved);
                self.doomed.extend(doomed.iter().cloned());
            }
            Record::Operated { .. } => {}
            Record::VolumeDestroyed(volume) => drop(self.doomed.remove(volume)),
        }
    }

    /// Records that lead to this state from nothing: the content of a compacted journal.
    pub fn snapshot(&self) -> Vec<Record> {
        let mut records = vec![Record::Life(self.life)];
        records.extend(self.client.map(Record::Client));
        records.extend(self.identity.map(|(agent, cluster)| Record::Registered { agent, cluster }));
        records.push(Record::Term(self.term));
        for (leader, group) in &self.groups {
            self.snapshot_group(leader, group, &mut records);
        }
        records.extend(self.removed.iter().map(|framework| Record::FrameworkRemoved(*framework)));
        records.extend(self.finished.iter().map(|(key, finished)| Record::Finished {
            framework: key.framework,
            status: finished.status.clone(),
            remember: finished.remember,
        }));
        records.extend(self.devices.iter().map(|(id, tenancy)| Record::Device {
            device: id.clone(),
            state: tenancy.state.clone(),
            generation: tenancy.generation,
            condemned: tenancy.condemned.clone(),
        }));
        records.extend(self.gangs.iter().map(|(gang, groups)| Record::Hold { gang: *gang, groups: groups.clone() }));
        records.extend(self.operated.map(|id| Record::Operated {
            id,
            reserved: self.reserved.clone(),
            doomed: self.doomed.iter().cloned().collect(),
        }));
        records
    }

    /// The groups whose tasks are not all ended and acknowledged, as they were launched.
    pub fn launches(&self) -> impl Iterator<Item = Launch> {
        self.groups.iter().map(|(leader, group)| self.launch(leader, group))
    }

    /// The tasks that have not ended.
    pub fn live_tasks(&self) -> impl Iterator<Item = &TaskKey> {
        self.tasks.iter().filter(|(_, entry)| !entry.is_terminal()).map(|(key, _)| key)
    }

    /// The agent's id, if it has ever registered.
    pub fn agent(&self) -> Option<AgentId> {
        self.identity.map(|(agent, _)| agent)
    }

    /// The cluster that it has registered in, if it ever has.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.identity.map(|(_, cluster)| cluster)
    }

    /// Whether the framework is removed and has tasks here that have not ended.
    pub(super) fn is_removed(&self, framework: FrameworkId) -> bool {
        self.removed.contains(&framework)
    }

    fn launched(&mut self, launch: &Launch) {
        let leader = TaskKey::new(launch.framework, launch.group.leader().clone());
        if self.groups.contains_key(&leader) {
            return;
        }
        let members = launch.group.tasks.iter().map(|task| task.id.clone()).collect();
        self.groups.insert(leader.clone(), Group { members, user: launch.user.clone(), remember: launch.remember });
        for task in &launch.group.tasks {
            let entry =
                Entry { task: task.clone(), leader: leader.clone(), last: None, pending: VecDeque::new(), kill: None };
            self.tasks.insert(TaskKey::new(launch.framework, task.id.clone()), entry);
        }
    }

    fn updated(&mut self, framework: FrameworkId, status: &Status) {
        let removed = self.removed.contains(&framework);
        let Some(entry) = self.tasks.get_mut(&TaskKey::new(framework, status.task.clone())) else { return };
        entry.last = Some(status.clone());
        if !removed {
            entry.push(status.clone());
            return;
        }
        let leader = entry.leader.clone();
        self.settle(&leader);
    }

    fn acknowledged(&mut self, task: &TaskKey, uuid: UpdateId) {
        let Some(entry) = self.tasks.get_mut(task) else { return };
        if entry.pending.front().is_some_and(|out| out.uuid == Some(uuid)) {
            entry.pending.pop_front();
        }
        let leader = entry.leader.clone();
        self.settle(&leader);
    }

    fn framework_removed(&mut self, framework: FrameworkId) {
        self.removed.insert(framework);
        self.finished.retain(|key, _| key.framework != framework);
        let tasks = self.tasks.iter_mut().filter(|(key, _)| key.framework == framework);
        tasks.for_each(|(_, entry)| {
            entry.kill.get_or_insert(KillCause::FrameworkRemoved);
            entry.pending.clear();
        });
        let leaders: Vec<TaskKey> = self.groups.keys().filter(|key| key.framework == framework).cloned().collect();
        leaders.iter().for_each(|leader| self.settle(leader));
        self.drop_removed(framework);
    }

    /// Forgets the group, but for the ends of its tasks, once all of them have ended and nobody needs to hear of it any more.
    fn settle(&mut self, leader: &TaskKey) {
        let Some(group) = self.groups.get(leader) else { return };
        let key = |member: &TaskId| TaskKey::new(leader.framework, member.clone());
        if !group.members.iter().all(|member| self.tasks.get(&key(member)).is_none_or(Entry::is_settled)) {
            return;
        }
        let group = self.groups.remove(leader).expect("it was found above");
        let removed = self.removed.contains(&leader.framework);
        for member in &group.members {
            let last = self.tasks.remove(&key(member)).and_then(|entry| entry.last);
            let Some(status) = last.filter(|_| !removed && !group.remember.is_zero()) else { continue };
            self.finished.insert(key(member), Finished { status, remember: group.remember });
        }
        self.drop_removed(leader.framework);
    }

    fn drop_removed(&mut self, framework: FrameworkId) {
        if self.removed.contains(&framework) && !self.groups.keys().any(|key| key.framework == framework) {
            self.removed.remove(&framework);
        }
    }

    fn launch(&self, leader: &TaskKey, group: &Group) -> Launch {
        let member =
            |id: &TaskId| self.tasks.get(&TaskKey::new(leader.framework, id.clone())).map(|entry| entry.task.clone());
        Launch {
            framework: leader.framework,
            group: TaskGroup { tasks: group.members.iter().filter_map(member).collect() },
            user: group.user.clone(),
            remember: group.remember,
        }
    }

    fn snapshot_group(&self, leader: &TaskKey, group: &Group, records: &mut Vec<Record>) {
        records.push(Record::Launch(self.launch(leader, group)));
        for member in &group.members {
            let task = TaskKey::new(leader.framework, member.clone());
            let Some(entry) = self.tasks.get(&task) else { continue };
            if let Some(cause) = entry.kill {
                records.push(Record::Kill { task: task.clone(), cause });
            }
            let update = |status: &Status| Record::Update { framework: leader.framework, status: status.clone() };
            records.extend(entry.pending.iter().map(update));
            if let Some(last) = entry.last.as_ref().filter(|_| entry.pending.is_empty()) {
                records.push(update(last));
                records.extend(last.uuid.map(|uuid| Record::Acknowledged { task, uuid }));
            }
        }
    }
}
