//! Reservations and volumes in the test language.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Market;
use crate::allocator::reservations::Conversion;
use crate::master::Command;
use crate::model::{
    Access, Flavor, FromAgent, Operation, OperationId, Reject, Reservation, ReservationKind, Resources, Role, Volume,
    VolumeId, WallTime,
};

/// `resources`, given as text, with a dynamic reservation for `role` on top of each.
pub fn reserved(role: &str, resources: &str) -> Resources {
    refined(role, &resources.parse().expect("resources"))
}

/// `resources` with a dynamic reservation for `role` on top of each.
pub fn refined(role: &str, resources: &Resources) -> Resources {
    change(resources, |flavor| {
        flavor.reservations.push(Reservation {
            role: Role::new(role).expect("a role"),
            kind: ReservationKind::Dynamic,
            principal: None,
            labels: BTreeMap::new(),
            expires: None,
        });
    })
}

/// `resources`, the topmost reservation of which ends at `seconds` of wall time.
pub fn until(seconds: i64, resources: &Resources) -> Resources {
    let end = Some(WallTime(seconds * 1_000_000));
    change(resources, |flavor| flavor.reservations.last_mut().expect("it is reserved").expires = end)
}

/// Reserved disk as the volume `id`, found in sandboxes under that name.
pub fn volume(id: &str, disk: &Resources) -> Resources {
    let volume = Volume::new(VolumeId::new(id).expect("a name"), id).expect("a path");
    change(disk, |flavor| flavor.volume = Some(volume.clone()))
}

/// The same volume, for several tasks at once.
pub fn shared(volume: &Resources) -> Resources {
    change(volume, |flavor| flavor.access = Access::Shared)
}

fn change(resources: &Resources, change: impl Fn(&mut Flavor)) -> Resources {
    let mut changed = Resources::new();
    for (flavor, amounts) in resources.iter() {
        let mut flavor = flavor.clone();
        change(&mut flavor);
        changed.add(&Resources::flavored(flavor, amounts.clone()));
    }
    changed
}

impl Market {
    /// An operator has an agent's reservations or volumes changed.
    pub fn operate(&mut self, agent: &str, operation: Operation) -> &mut Self {
        let agent = self.agents[agent].id.expect("the agent is registered");
        self.operator(Command::Operate { agent, operation })
    }

    /// The framework does these operations with its newest offer of the agent.
    pub fn accept_with(&mut self, framework: &str, agent: &str, operations: Vec<Operation>) -> &mut Self {
        let offer = self.offer_of(framework, agent);
        self.accept(framework, &offer, operations)
    }

    /// The agent does what it was asked to do with its reservations and volumes, and confirms it.
    pub fn confirm(&mut self, agent: &str) -> &mut Self {
        for (id, result) in self.do_operations(agent) {
            let resources = self.agents[agent].resources.clone();
            self.from_agent(agent, FromAgent::Operated { id, result, resources });
        }
        self
    }

    /// The agent does what it was asked to do with its reservations and volumes; that it did is not heard.
    pub fn confirm_unheard(&mut self, agent: &str) -> &mut Self {
        self.do_operations(agent);
        self
    }

    /// What the agent was asked to do with its reservations and volumes never reached it.
    pub fn lose_operations(&mut self, agent: &str) -> &mut Self {
        self.agents.get_mut(agent).expect("an agent of that name").inbox.clear();
        self
    }

    /// The agent can't do what it was asked to do with its reservations and volumes.
    pub fn refuse_operations(&mut self, agent: &str) -> &mut Self {
        for (id, _) in std::mem::take(&mut self.agents.get_mut(agent).expect("an agent of that name").inbox) {
            let resources = self.agents[agent].resources.clone();
            self.from_agent(agent, FromAgent::Operated { id, result: Err(Reject::JournalDegraded), resources });
        }
        self
    }

    /// How many operations the registry holds until their agents confirm them.
    pub fn pending_operations(&self) -> usize {
        self.registry.operations.len()
    }

    /// What the agent has, in the eyes of the master.
    pub fn total(&self, agent: &str) -> Resources {
        let agent = self.agents[agent].id.expect("the agent is registered");
        Resources::clone(&self.view.agents[&agent].total)
    }

    fn do_operations(&mut self, agent: &str) -> Vec<(OperationId, Result<(), Reject>)> {
        let side = self.agents.get_mut(agent).expect("an agent of that name");
        let mut done = Vec::new();
        for (id, operation) in std::mem::take(&mut side.inbox) {
            let mut result = Ok(());
            if side.operated.is_none_or(|last| last < id) {
                let conversion = Conversion::of(&operation).expect("the master has checked it");
                result = conversion.apply(&mut side.resources).map_err(|error| error.reject(&operation));
                side.operated = Some(id);
            }
            done.push((id, result));
        }
        done
    }

    pub(super) fn on_operate(&mut self, name: &str, id: OperationId, operation: Operation) -> String {
        let what = match &operation {
            Operation::Launch(_) => String::new(),
            Operation::Reserve(resources)
            | Operation::Unreserve(resources)
            | Operation::Create(resources)
            | Operation::Destroy(resources) => resources.to_string(),
            Operation::Grow { volume, addition } => format!("{volume} by {addition}"),
            Operation::Shrink { volume, by } => format!("{volume} by {by}"),
        };
        let line = format!("{} {what} on {name}", operation.name());
        self.agents.get_mut(name).expect("it was found").inbox.push((id, operation));
        line
    }
}

/// The label that tests put on things.
pub fn labelled(resources: &Resources, key: &str, value: &str) -> Resources {
    change(resources, |flavor| {
        let top = flavor.reservations.last_mut().expect("it is reserved");
        top.labels.insert(Arc::from(key), Arc::from(value));
    })
}
