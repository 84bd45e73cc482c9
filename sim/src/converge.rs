//! After the faults: everything heals, and everything must come to rest within a bound.

use std::collections::BTreeMap;
use std::time::Duration;

use rialto_core::master::view::AgentStatus;
use rialto_core::master::{Command, Target};
use rialto_core::model::{DeviceState, Slice, SliceState};

use crate::master_node::difference;
use crate::mix::seen_in;
use crate::workload::Order;
use crate::world::{CONVERGENCE, Event, Node, World};

/// How long after the faults a gang may live in part: connections are found dead, agents given up, late starts and kills carried out.
const GANGS_SETTLE: Duration = Duration::from_secs(180);

/// How long after the faults a task may live that was to be killed, with its grace period.
const KILLS_SETTLE: Duration = Duration::from_secs(150);

impl World {
    /// Nothing fails from now on, and what is down comes back.
    pub(crate) fn heal(&mut self) {
        self.say(format_args!("all heals"));
        self.healed = Some(self.now);
        if let Some(view) = self.leading_view() {
            self.happened.extend(seen_in(&view));
        }
        self.network.heal();
        let old: Vec<_> = self.masters.keys().copied().filter(|life| Some(*life) != self.leader).collect();
        for life in old {
            self.crash_master(life);
        }
        if self.leader.is_none() {
            self.after(Duration::from_secs(1), Event::Start(Node::Master));
        }
        for at in 0..self.agents.len() {
            self.agents[at].disk_fails = false;
            if self.agents[at].resources != self.agents[at].plan.resources {
                self.agents[at].resources = self.agents[at].plan.resources.clone();
                self.crash_agent(at);
            }
            self.after(Duration::from_secs(1), Event::Start(Node::Agent(at)));
            for device in self.agents[at].plan.devices.clone() {
                self.after(Duration::from_secs(2), Event::DeviceWorks(at, device.id));
            }
        }
        for at in 0..self.frameworks.len() {
            self.after(Duration::from_secs(1), Event::Start(Node::Framework(at)));
        }
        self.look_later();
    }

    /// Looks whether all is at rest; what should end is told so again, for a crash may have swallowed it.
    pub(crate) fn look(&mut self) {
        let healed = self.healed.expect("it is looked for after the faults only");
        if self.now.since(healed) < Self::TAKE_BACK {
            return self.look_later();
        }
        let left = self.take_back();
        let Some(unrest) = left.or_else(|| self.unrest()) else {
            self.say(format_args!("all has converged"));
            self.converged = true;
            return self.check_rest();
        };
        if self.now.since(healed) > CONVERGENCE {
            self.ask_why();
            return self.checks.fail(format!("not at rest {CONVERGENCE:?} after the last fault: {unrest}"));
        }
        if self.now.since(healed) > KILLS_SETTLE {
            self.checks.check_kills();
        }
        // What would run for ever is told to end only after gangs had the time to start or to be ended.
        if self.now.since(healed) > GANGS_SETTLE {
            self.checks.check_gangs(GANGS_SETTLE);
            for at in 0..self.frameworks.len() {
                let busy =
                    self.frameworks[at].life.as_ref().is_some_and(|node| !node.driver.policy().is_done(|_| false));
                if busy && self.now.since(healed).as_secs() < 400 {
                    self.order(at, Order::Stop);
                }
            }
        }
        self.look_later();
    }

    /// What the master has to say of those who wait, for the trace.
    fn ask_why(&mut self) {
        let ids = self.frameworks.iter().filter_map(|node| node.life.as_ref()?.driver.framework());
        for id in ids.collect::<Vec<_>>() {
            self.operate(Command::Why(Target::Framework(id)));
        }
    }

    /// What is not at rest yet.
    fn unrest(&self) -> Option<String> {
        let agents = (0..self.agents.len()).find_map(|at| self.agent_unrest(at));
        let frameworks = (0..self.frameworks.len()).find_map(|at| self.framework_unrest(at));
        agents.or(frameworks).or_else(|| self.master_unrest())
    }

    fn master_unrest(&self) -> Option<String> {
        let Some(node) = self.leader.and_then(|life| self.masters.get(&life)) else {
            return Some("no master leads".to_owned());
        };
        if !node.gate.is_idle() {
            return Some("the master writes".to_owned());
        }
        let view = node.core.view();
        if let Some((key, row)) = view.tasks.iter().next() {
            return Some(format!("the master still has {key}, {}", row.state));
        }
        let away = view.agents.iter().find(|(_, row)| !matches!(row.status, AgentStatus::Active | AgentStatus::Gone));
        if let Some((agent, row)) = away {
            return Some(format!("{agent} ({}) is {}", row.info.name, row.status.as_str()));
        }
        let gone = |agent: &_| view.agents.get(agent).is_none_or(|row| row.status == AgentStatus::Gone);
        let settled = |state: &DeviceState| match state {
            DeviceState::Free | DeviceState::Quarantined { .. } => true,
            DeviceState::Allocated(_) | DeviceState::Cleaning { .. } => false,
            DeviceState::Sliced(_) => state.slices().all(|(_, slice)| is_left(slice)),
        };
        let stuck = view.devices.iter().find(|((agent, _), row)| !gone(agent) && !settled(&row.state));
        if let Some(((agent, device), row)) = stuck {
            return Some(format!("{device} of {agent} is {:?}", row.state));
        }
        let waiting = view.frameworks.iter().find(|(_, row)| !row.connected);
        waiting.map(|(framework, row)| format!("{framework} ({}) is not connected", row.name))
    }

    /// What must hold at rest, beyond that nothing is under way.
    fn check_rest(&mut self) {
        let live: Vec<_> = self
            .frameworks
            .iter()
            .filter(|node| !node.over)
            .filter_map(|node| node.life.as_ref()?.driver.framework())
            .collect();
        let unfinished =
            self.checks.unfinished(|framework| live.contains(&framework) && !self.checks.removed.contains(&framework));
        if let Some(unfinished) = unfinished {
            self.checks.fail(unfinished);
        }
        let kills = self.registry.kills.len();
        self.checks.require(kills == 0, || {
            format!("{kills} kills are still to be carried out, by the registry: {:?}", self.registry.kills)
        });
        let announced = &self.registry.leaving;
        self.checks.require(announced.is_empty(), || {
            format!("all was taken back, and agents are to be taken away, by the registry: {announced:?}")
        });
        self.check_prices();
        let Some(node) = self.leader.and_then(|life| self.masters.get(&life)) else { return };
        if let Some(difference) = difference(&node.core, &node.view) {
            self.checks.fail(format!("at rest the view is not what the core is: {difference}"));
        }
        self.counts.conflicts = node.core.stats().offer_conflicts;
        self.check_capacity();
    }

    /// Every framework knows the prices that hold.
    fn check_prices(&mut self) {
        let hold: BTreeMap<_, _> =
            self.registry.prices.iter().map(|(key, record)| (key.clone(), record.price)).collect();
        for at in 0..self.frameworks.len() {
            let Some(node) = self.frameworks[at].life.as_ref().filter(|_| !self.frameworks[at].over) else { continue };
            let known: BTreeMap<_, _> =
                node.driver.policy().prices.iter().map(|(key, price)| (key.clone(), price)).collect();
            self.checks.require(known == hold, || format!("f{} knows the prices {known:?}, and {hold:?} hold", at + 1));
        }
    }

    /// Nothing runs, so everything is free and nothing is held by anybody.
    fn check_capacity(&mut self) {
        let Some(view) = self.leading_view() else { return };
        for (id, row) in &view.agents {
            let held = !row.allocated.is_empty();
            self.checks.require(!held, || format!("I2: {id} has no task and {:?} of it is allocated", row.allocated));
        }
        for (id, row) in &view.frameworks {
            let held = !row.allocated.is_empty();
            self.checks.require(!held, || format!("{id} has no task and is charged {:?}", row.allocated));
        }
        for at in 0..self.agents.len() {
            let machine = &self.agents[at].machine;
            let known = self.agents[at].life.as_ref().and_then(|node| node.core.journal().agent());
            for ((device, tenant), share) in &machine.dirty {
                let row = known.and_then(|agent| view.devices.get(&(agent, device.clone())));
                let offered = row.is_some_and(|row| u32::from(row.state.free_share().0) + u32::from(*share) > 1000);
                self.checks.require(!offered, || {
                    format!("I1: {device} of a{} is free and was not cleaned after {tenant}", at + 1)
                });
            }
        }
    }

    /// Whether every device of the cluster is quarantined, so that who needs one waits for a person.
    pub(crate) fn no_device_left(&self) -> bool {
        self.leading_view().is_some_and(|view| {
            let there = |agent: &_| view.agents.get(agent).is_some_and(|row| row.status != AgentStatus::Gone);
            view.devices
                .iter()
                .filter(|((agent, _), _)| there(agent))
                .all(|(_, row)| is_quarantined(&row.state) || !row.device.health.is_usable())
        })
    }
}

/// Whether the device, or a slice of it, waits for a person, so that nobody gets the whole of it.
pub(crate) fn is_quarantined(state: &DeviceState) -> bool {
    matches!(state, DeviceState::Quarantined { .. }) || state.slices().any(|(_, slice)| is_left(slice))
}

fn is_left(slice: &Slice) -> bool {
    matches!(slice.state, SliceState::Quarantined { .. })
}
