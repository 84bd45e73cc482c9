//! Faults strike.

use std::time::Duration;

use rialto_core::master::Command;
use rialto_core::model::DeviceId;

use crate::converge::is_quarantined;
use crate::fault::Fault;
use crate::network::{ConnId, Dialer, Life, Way};
use crate::workload::Order;
use crate::world::{Event, Node, World};

const SECOND: Duration = Duration::from_secs(1);
/// How soon a dead connection is noticed.
const KEEPALIVE: (Duration, Duration) = (SECOND, Duration::from_secs(45));
/// How long what has crashed stays down.
const DOWN: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(60));

impl World {
    pub(crate) fn strike(&mut self) {
        if self.healed.is_some() {
            return;
        }
        let total: u64 = self.plan.faults.iter().map(|(_, weight)| weight).sum();
        let mut drawn = self.fault_dice.between(1, total);
        let plan = self.plan.clone();
        for (fault, weight) in &plan.faults {
            if drawn <= *weight {
                self.counts.faults += 1;
                self.say(format_args!("fault: {fault:?}"));
                self.happened.insert(fault.name());
                self.inflict(*fault);
                break;
            }
            drawn -= weight;
        }
        let delay = self.fault_dice.span(plan.fault_every);
        self.after(delay, Event::Strike);
    }

    fn inflict(&mut self, fault: Fault) {
        let at_agent = self.fault_dice.count(0, self.agents.len() - 1);
        let at_framework = self.fault_dice.count(0, self.frameworks.len() - 1);
        let down = self.fault_dice.span(DOWN);
        let plan = self.agents[at_agent].plan.clone();
        match fault {
            Fault::CrashMaster => {
                if let Some(life) = self.leader {
                    self.crash_master(life);
                    self.after(down, Event::Start(Node::Master));
                }
            }
            Fault::ReplaceMaster => {
                if self.leader.is_some() && self.masters.len() < 3 {
                    self.start_master();
                }
            }
            Fault::CrashAgent => {
                self.crash_agent(at_agent);
                self.after(down, Event::Start(Node::Agent(at_agent)));
            }
            Fault::RebootMachine => {
                self.reboot(at_agent);
                self.after(down, Event::Start(Node::Agent(at_agent)));
            }
            Fault::ResizeMachine => {
                let (small, large) = (&plan.small, &plan.resources);
                let now = if self.fault_dice.chance(500) { small } else { large };
                self.agents[at_agent].resources = now.clone();
                self.crash_agent(at_agent);
                self.after(down, Event::Start(Node::Agent(at_agent)));
            }
            Fault::CrashFramework => {
                self.crash_framework(at_framework);
                self.after(down, Event::Start(Node::Framework(at_framework)));
            }
            Fault::ResetConnection => self.reset_connection(),
            Fault::Partition => self.partition(at_agent, at_framework),
            Fault::FailDisk => {
                self.agents[at_agent].disk_fails = true;
                self.after(down, Event::DiskWorks(at_agent));
            }
            Fault::FailDevice => self.fail_device(at_agent, down),
            Fault::FlapDevice => self.flap_device(at_agent),
            Fault::ClearDevice => self.clear_a_device(),
            Fault::KillTask => self.kill_a_task(at_framework),
            Fault::LoseAgent => self.lose_agent(at_agent),
            Fault::RemoveFramework => self.remove_framework(at_framework),
            Fault::AbandonFramework => self.abandon(at_framework),
            Fault::SetWeight if self.fault_dice.chance(400) => self.set_an_offer_mode(),
            Fault::SetWeight => {
                let weight_milli = u32::try_from(self.fault_dice.between(1, 5000)).expect("it is small");
                let role = self.frameworks[at_framework].plan.role.clone();
                self.operate(Command::SetWeight { role, weight_milli });
            }
            Fault::SetQuota => self.set_a_quota(),
            Fault::Reserve => self.change_a_reservation(),
            Fault::AnnounceAgent => self.announce_an_agent(),
            Fault::SetPrices => self.set_prices(),
        }
    }

    /// A process has begun to write so many records, which takes `commit`: now and then it crashes meanwhile.
    pub(crate) fn tear(&mut self, node: Node, life: Life, records: usize, commit: Duration) {
        let often = if records > 1 { self.plan.tears } else { self.plan.tears / 10 };
        if self.healed.is_none() && self.tear_dice.chance(often) {
            self.after(commit / 2, Event::Tear(node, life));
        }
    }

    pub(crate) fn torn(&mut self, node: Node, life: Life) {
        let down = self.tear_dice.span(DOWN);
        let lives = match node {
            Node::Master => self.leader == Some(life),
            Node::Agent(at) => self.agents[at].life.as_ref().is_some_and(|node| node.life == life),
            Node::Framework(at) => self.frameworks[at].life.as_ref().is_some_and(|node| node.life == life),
        };
        if self.healed.is_some() || !lives {
            return;
        }
        self.happened.insert("torn commit");
        match node {
            Node::Master => self.crash_master(life),
            Node::Agent(at) => self.crash_agent(at),
            Node::Framework(at) => self.crash_framework(at),
        }
        self.after(down, Event::Start(node));
    }

    fn reset_connection(&mut self) {
        let all: Vec<ConnId> = self.network.conns.keys().copied().collect();
        let Some(id) = self.fault_dice.pick(&all).copied() else { return };
        self.say(format_args!("#{id} is reset"));
        for way in [Way::Up, Way::Down] {
            self.network.cut(id, way);
            let delay = self.fault_dice.duration((Duration::ZERO, SECOND * 3));
            self.after(delay, Event::Notice(id, way));
        }
    }

    /// A short partition delays; a long one breaks the connections.
    fn partition(&mut self, at_agent: usize, at_framework: usize) {
        let dialer =
            if self.fault_dice.chance(500) { Dialer::Agent(at_agent) } else { Dialer::Framework(at_framework) };
        let length = self.fault_dice.span((SECOND, Duration::from_secs(120)));
        let ways: &[Way] =
            self.fault_dice.pick(&[&[Way::Up][..], &[Way::Down], &[Way::Up, Way::Down]]).expect("three ways to part");
        self.say(format_args!("{dialer} is cut off for {length:?}, {ways:?}"));
        for way in ways {
            self.network.block(dialer, *way, self.now + length);
        }
        if length < SECOND * 15 {
            return;
        }
        for id in self.network.of(dialer) {
            ways.iter().for_each(|way| self.network.cut(id, *way));
            for way in [Way::Up, Way::Down] {
                let delay = self.fault_dice.duration(KEEPALIVE);
                self.after(delay, Event::Notice(id, way));
            }
        }
    }

    fn fail_device(&mut self, at: usize, down: Duration) {
        let ids: Vec<DeviceId> = self.agents[at].plan.devices.iter().map(|device| device.id.clone()).collect();
        let Some(device) = self.fault_dice.pick(&ids).cloned() else { return };
        let vanishes = self.fault_dice.chance(300);
        let machine = &mut self.agents[at].machine;
        let set = if vanishes { &mut machine.missing } else { &mut machine.sick };
        set.insert(device.clone());
        if let Some(life) = self.agents[at].life.as_ref().map(|node| node.life) {
            self.agent_discovers(at, life);
        }
        self.after(down, Event::DeviceWorks(at, device));
    }

    fn flap_device(&mut self, at: usize) {
        let ids: Vec<DeviceId> = self.agents[at].plan.devices.iter().map(|device| device.id.clone()).collect();
        let Some(device) = self.fault_dice.pick(&ids).cloned() else { return };
        let times = u32::try_from(self.fault_dice.between(1, 12)).expect("it is small");
        self.device_flaps(at, &device, times);
    }

    fn clear_a_device(&mut self) {
        let Some(view) = self.leading_view() else { return };
        let quarantined = view.devices.iter().filter(|(_, row)| is_quarantined(&row.state));
        let quarantined: Vec<_> = quarantined.map(|(key, _)| key.clone()).collect();
        if let Some((agent, device)) = self.fault_dice.pick(&quarantined).cloned() {
            self.operate(Command::ClearDevice { agent, device });
        }
    }

    fn kill_a_task(&mut self, at: usize) {
        let Some(node) = &self.frameworks[at].life else { return };
        if self.fault_dice.chance(500) {
            let running = node.driver.policy().running();
            if let Some(number) = self.fault_dice.pick(&running).copied() {
                self.order(at, Order::Kill(number));
            }
            return;
        }
        let Some(view) = self.leading_view() else { return };
        let live: Vec<_> =
            view.tasks.iter().filter(|(_, row)| !row.state.is_terminal()).map(|(key, _)| key.clone()).collect();
        if let Some(task) = self.fault_dice.pick(&live).cloned() {
            self.checks.kill_asked(task.clone());
            self.operate(Command::Kill { task, grace: None });
        }
    }

    fn lose_agent(&mut self, at: usize) {
        let known = self.agents[at].life.as_ref().and_then(|node| node.core.journal().agent());
        let listed =
            self.leading_view().is_some_and(|view| known.is_some_and(|agent| view.agents.contains_key(&agent)));
        // Rare, or no machine keeps a name for long.
        if let Some(agent) = known.filter(|_| listed && self.fault_dice.chance(200)) {
            self.checks.gone.insert(agent);
            self.operate(Command::MarkGone(agent));
        }
    }

    fn remove_framework(&mut self, at: usize) {
        let known = self.frameworks[at].life.as_ref().and_then(|node| node.driver.framework());
        // The first framework stays, so that there is something to do.
        if let Some(framework) = known.filter(|_| at > 0 && self.leader.is_some() && self.fault_dice.chance(100)) {
            self.checks.removed.insert(framework);
            self.operate(Command::Teardown(framework));
        }
    }

    fn abandon(&mut self, at: usize) {
        let known = self.frameworks[at].life.as_ref().and_then(|node| node.driver.framework());
        if let Some(framework) = known.filter(|_| at > 0 && self.fault_dice.chance(100)) {
            self.say(format_args!("f{} will not come back", at + 1));
            self.checks.removed.insert(framework);
            self.crash_framework(at);
            self.frameworks[at].over = true;
        }
    }
}
