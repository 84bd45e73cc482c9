//! What must hold of gangs after every step.

use super::super::Master;
use super::table::Phase;
use crate::model::{Task, TaskKey};

impl Master {
    pub(in crate::master) fn check_gangs(&self) {
        for (id, gang) in &self.gangs.by_id {
            assert!(self.frameworks.contains_key(&gang.framework), "{id}: its framework is known");
            assert_eq!(self.gangs.by_call.get(&(gang.framework, gang.call)), Some(id), "{id}: found by its call");
            match &gang.phase {
                Phase::Holding { parts, .. } => {
                    assert!(parts.values().any(|part| !part.is_held), "{id}: started as soon as all agents hold");
                    for (agent, part) in parts {
                        let held = &self.gangs.held[agent];
                        let is_held = |task: &Task| held.contains_key(&TaskKey::new(gang.framework, task.id.clone()));
                        assert!(
                            part.groups.iter().flat_map(|group| &group.tasks).all(is_held),
                            "{id}: held on {agent}"
                        );
                    }
                }
                Phase::Starting { waiting } => {
                    assert!(!waiting.is_empty(), "{id}: closed as soon as all of it runs");
                    assert!(
                        waiting.iter().all(|key| self.gangs.members.get(key) == Some(id)),
                        "{id}: waits for its own"
                    );
                }
            }
        }
        for (agent, held) in &self.gangs.held {
            assert!(self.agents[agent].peer.is_some(), "{agent}: what an agent holds is released when it is away");
            for key in held.keys() {
                assert!(!self.tasks.contains_key(key), "{key}: held, so not started");
                assert!(self.gangs.members.contains_key(key), "{key}: held for a gang");
            }
        }
        assert!(self.gangs.members.values().all(|id| self.gangs.by_id.contains_key(id)), "members are of known gangs");
        assert!(
            self.gangs.parked_failed.iter().all(|key| self.gangs.parked_tasks.contains(key)),
            "only what is parked is kept"
        );
        assert!(self.gangs.kills.keys().all(|key| self.gangs.is_pending(key)), "kills wait for tasks that wait");
    }
}
