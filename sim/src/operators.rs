//! Operators who change their minds: quotas, reservations, volumes and announcements come and go while everything else fails, and end when it
//! heals; and prices, which stay.

use std::collections::BTreeMap;
use std::time::Duration;

use rialto_core::allocator::quota::{Force, Quota};
use rialto_core::master::Command;
use rialto_core::master::view::{AgentStatus, AgentView, View};
use rialto_core::model::{
    AgentId, Amounts, Flavor, Milli, OfferMode, Operation, Price, PriceClass, PriceKey, Quantities, Quote, Reservation,
    ReservationKind, ResourceName, Resources, Role, Volume, VolumeId, WallTime,
};

use crate::converge::is_quarantined;
use crate::master_node::WALL;
use crate::world::World;

/// What has a price.
const POOLS: [&str; 3] = ["a", "b", "c"];
/// Whose quotas and reservations they are.
const ROLES: [&str; 3] = ["eng", "eng/ci", "ops"];

impl World {
    /// Sets a role's quota, or takes it back.
    pub(crate) fn set_a_quota(&mut self) {
        let role = self.some_role();
        let quota = (!self.fault_dice.chance(250)).then(|| self.draw_quota());
        let force = if self.fault_dice.chance(500) { Force::Yes } else { Force::No };
        self.operate(Command::SetQuota { quotas: vec![(role, quota)], force });
    }

    /// Sets how all frameworks of a role are made offers, or takes it back.
    pub(crate) fn set_an_offer_mode(&mut self) {
        let role = self.some_role();
        let modes = [None, Some(OfferMode::Exclusive), Some(OfferMode::Optimistic)];
        let mode = *self.fault_dice.pick(&modes).expect("three modes");
        self.happened.extend(mode.map(|_| "offer mode of a role"));
        self.operate(Command::SetOfferMode { role, mode });
    }

    fn draw_quota(&mut self) -> Quota {
        let mut quota = Quota::default();
        if self.fault_dice.chance(600) {
            quota.limit.insert(ResourceName::Cpus, Milli(self.fault_dice.between(0, 80) * 100));
        }
        if self.fault_dice.chance(300) {
            let gpu = ResourceName::new("device/gpu");
            quota.limit.insert(gpu, Milli::from_whole(self.fault_dice.between(0, 2)));
        }
        if self.fault_dice.chance(400) {
            quota.guarantee.set(&ResourceName::Cpus, Milli(self.fault_dice.between(1, 40) * 100));
        }
        quota
    }

    /// Makes, takes back, or changes a reservation or a volume of some agent.
    pub(crate) fn change_a_reservation(&mut self) {
        let Some(view) = self.leading_view() else { return };
        let agents: Vec<AgentId> = view.agents.keys().copied().collect();
        let Some(agent) = self.fault_dice.pick(&agents).copied() else { return };
        let total = view.agents[&agent].total.clone();
        let flavors: Vec<&Flavor> =
            total.iter().map(|(flavor, _)| flavor).filter(|flavor| is_dynamic(flavor)).collect();
        let reserves = flavors.is_empty() || self.fault_dice.chance(400);
        let picked = self.fault_dice.pick(&flavors).map(|flavor| (*flavor).clone());
        let operation = match picked.filter(|_| !reserves) {
            None => Some(self.reserve()),
            Some(flavor) if flavor.volume.is_some() || self.fault_dice.chance(500) => give_back(&total, &flavor),
            Some(flavor) => self.make_volume(&total, flavor),
        };
        if let Some(operation) = operation {
            self.operate(Command::Operate { agent, operation });
        }
    }

    fn reserve(&mut self) -> Operation {
        let mut amounts = Quantities::of(
            Milli(self.fault_dice.between(1, 30) * 100),
            Milli::from_whole(self.fault_dice.between(1, 20) * 32),
        );
        amounts.set(&ResourceName::Disk, Milli::from_whole(self.fault_dice.between(0, 10) * 64));
        let until = WALL
            + self.now.0.cast_signed()
            + i64::from(u32::try_from(self.fault_dice.between(1, 600)).unwrap_or(1)) * 1_000_000;
        let reservation = Reservation {
            role: self.some_role(),
            kind: ReservationKind::Dynamic,
            principal: None,
            labels: BTreeMap::new(),
            expires: self.fault_dice.chance(300).then_some(WallTime(until)),
        };
        let flavor = Flavor { reservations: vec![reservation], ..Flavor::default() };
        Operation::Reserve(flavored(flavor, amounts))
    }

    fn make_volume(&mut self, total: &Resources, flavor: Flavor) -> Option<Operation> {
        let disk = total.get(&flavor)?.scalars.get(&ResourceName::Disk);
        if disk.is_zero() {
            return None;
        }
        let id = VolumeId::new(&format!("v{}", self.counts.faults)).ok()?;
        let volume = Volume::new(id, "data").ok()?;
        let mut amounts = Quantities::new();
        amounts.set(&ResourceName::Disk, disk);
        Some(Operation::Create(flavored(Flavor { volume: Some(volume), ..flavor }, amounts)))
    }

    /// Says that an agent will be taken away soon, later than was said, or not at all.
    pub(crate) fn announce_an_agent(&mut self) {
        let Some(view) = self.leading_view() else { return };
        let there = view.agents.iter().filter(|(_, row)| row.status != AgentStatus::Gone);
        let agents: Vec<AgentId> = there.map(|(agent, _)| *agent).collect();
        let Some(agent) = self.fault_dice.pick(&agents).copied() else { return };
        // Mostly it stays in the end, or no machine keeps a name for long.
        let stays = self.fault_dice.chance(400);
        let after = (!stays).then(|| self.fault_dice.span((Duration::from_secs(1), Duration::from_secs(600))));
        self.operate(Command::Notice { agent, after });
    }

    /// Tells what machines of some pools cost, or that it is not known any more.
    pub(crate) fn set_prices(&mut self) {
        let mut quotes = Vec::new();
        for pool in POOLS {
            if self.fault_dice.chance(500) {
                let price = (!self.fault_dice.chance(300)).then(|| Price(self.fault_dice.between(0, 20_000_000)));
                let key = PriceKey::new(pool, PriceClass::Spot, None).expect("a short name");
                quotes.push(Quote { key, price });
            }
        }
        self.operate(Command::SetPrices(quotes));
    }

    fn some_role(&mut self) -> Role {
        Role::new(self.fault_dice.pick(&ROLES).expect("three roles")).expect("a literal role")
    }

    /// After the faults operators take back what they set and see to devices that are quarantined, as soon as it can be; what is still there, if anything.
    pub(crate) fn take_back(&mut self) -> Option<String> {
        let view = self.leading_view()?;
        let commands = leftovers(&view);
        let first = commands.first().map(|command| format!("{command:?} is still to be done"));
        for command in commands {
            self.operate(command);
        }
        first
    }

    /// How long after the faults operators wait before they take back what they set.
    pub(crate) const TAKE_BACK: Duration = Duration::from_secs(20);
}

/// What ends every quota, reservation and volume that an operator has made, every announcement, and every quarantine.
fn leftovers(view: &View) -> Vec<Command> {
    let mut commands = Vec::new();
    let limited = view.roles.iter().filter(|(_, row)| !row.usage.quota.is_empty());
    let quotas: Vec<_> = limited.map(|(role, _)| (role.clone(), None)).collect();
    if !quotas.is_empty() {
        commands.push(Command::SetQuota { quotas, force: Force::Yes });
    }
    let set = view.roles.iter().filter(|(_, row)| row.offer_mode.is_some());
    commands.extend(set.map(|(role, _)| Command::SetOfferMode { role: role.clone(), mode: None }));
    let is_active = |agent| view.agents.get(agent).is_some_and(|row: &AgentView| row.status == AgentStatus::Active);
    let quarantined = view.devices.iter().filter(|((agent, _), row)| is_active(agent) && is_quarantined(&row.state));
    let leaving = view.agents.iter().filter(|(_, row)| row.leaves.is_some());
    commands.extend(leaving.map(|(agent, _)| Command::Notice { agent: *agent, after: None }));
    commands
        .extend(quarantined.map(|((agent, device), _)| Command::ClearDevice { agent: *agent, device: device.clone() }));
    for (agent, row) in view.agents.iter().filter(|(_, row)| row.status == AgentStatus::Active) {
        let flavors = row.total.iter().map(|(flavor, _)| flavor).filter(|flavor| is_dynamic(flavor));
        commands.extend(
            flavors
                .filter_map(|flavor| give_back(&row.total, flavor))
                .map(|operation| Command::Operate { agent: *agent, operation }),
        );
    }
    commands
}

fn is_dynamic(flavor: &Flavor) -> bool {
    flavor.reservations.last().is_some_and(|top| top.kind == ReservationKind::Dynamic)
}

/// Ends the volume, or the top layer of the reservation.
fn give_back(total: &Resources, flavor: &Flavor) -> Option<Operation> {
    let all = Resources::flavored(flavor.clone(), total.get(flavor)?.clone());
    Some(if flavor.volume.is_some() { Operation::Destroy(all) } else { Operation::Unreserve(all) })
}

fn flavored(flavor: Flavor, scalars: Quantities) -> Resources {
    Resources::flavored(flavor, Amounts { scalars, ..Amounts::default() })
}
