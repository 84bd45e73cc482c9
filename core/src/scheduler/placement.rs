//! Placement: which task goes where, given the offers that stand.
//!
//! A [`Packer`] takes the offers of one role and places tasks one by one, keeping account of what is left of each machine, ports and
//! devices included. At the end it makes one accept for each machine that it used.
//!
//! ```
//! # use rialto_core::model::{Quantities, Milli, Role, Task, Refusal};
//! # use rialto_core::scheduler::{Out, placement::{Needs, Packer, Strategy}};
//! # use rialto_core::scheduler::placement::Placement;
//! # fn plan(out: &mut Out<()>, role: &Role, build: impl Fn(u32, &Placement) -> Task) {
//! let needs = Needs::new(Quantities::of(Milli(500), Milli::from_whole(64)));
//! let mut packer = Packer::new(role, out.offers());
//! for id in 0..3 {
//!     let Some(placement) = packer.place(&needs, Strategy::Pack) else { break };
//!     packer.launch(&placement, build(id, &placement));
//! }
//! packer.submit(out, &Refusal::default());
//! # }
//! ```
//!
//! Tasks that ask for GPUs, or for parts of them, are placed well by a [`GpuBoard`](board::GpuBoard).

pub mod board;
pub mod fgd;
pub mod gpu;
pub mod policy;

mod reserve;
mod revocable;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

pub use reserve::OfferedVolume;

use super::Out;
use crate::allocator::claims;
use crate::model::{
    AgentId, AgentInfo, Amounts, Attribute, Attributes, ByName, Claim, Device, DeviceId, DeviceMode, Flavor, GangPart,
    Guarantee, Milli, Offer, OfferId, Operation, Quantities, Refusal, ResourceName, Resources, Role, Selector, Shape,
    Share, Task, TaskGroup, VolumeId,
};

/// What a task needs of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Scalars.
    pub resources: Quantities,
    /// Devices.
    pub claims: Vec<Claim>,
    /// How many ports.
    pub ports: u16,
    /// Persistent volumes of its role, by name; the machine must have them all.
    pub volumes: Vec<VolumeId>,
    /// What the machine must be like.
    pub constraint: Selector,
    /// Whether it may be taken back at any time.
    pub guarantee: Guarantee,
}

impl Needs {
    /// `resources`, on any machine.
    pub fn new(resources: Quantities) -> Self {
        Self {
            resources,
            claims: Vec::new(),
            ports: 0,
            volumes: Vec::new(),
            constraint: Selector::any(),
            guarantee: Guarantee::Firm,
        }
    }

    /// A demand's shape: `count` tasks called `name` wait for this.
    pub fn shape(&self, name: &str, count: u32) -> Shape {
        Shape {
            name: Arc::from(name),
            resources: self.amounts(),
            claims: self.claims.clone(),
            constraint: self.constraint.clone(),
            count,
            priority: 0,
            expected_run_time: None,
        }
    }
}

/// Which of the machines that fit is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// The one with the least room left, so that large tasks still fit elsewhere.
    #[default]
    Pack,
    /// The one with the fewest tasks of this round, then the one with the most room left.
    Spread,
}

/// Where a task goes, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The machine.
    pub agent: AgentId,
    /// Its name, for people.
    pub agent_name: Arc<str>,
    /// What the task's `resources` are to be: scalars, ports and devices of the offers.
    pub resources: Resources,
    /// The ports among them, ascending.
    pub ports: Vec<u64>,
}

/// A machine as it is offered, less what has been placed on it.
#[derive(Clone, Debug)]
pub struct Host {
    agent: AgentId,
    info: Arc<AgentInfo>,
    offers: Vec<OfferId>,
    left: Resources,
    /// What may be taken back at any time.
    revocable: Resources,
    /// Persistent volumes, those that this round makes among them.
    volumes: Resources,
    devices: BTreeMap<DeviceId, Arc<Device>>,
    operations: Vec<Operation>,
    placed: usize,
}

impl Host {
    /// Which machine.
    pub const fn agent(&self) -> AgentId {
        self.agent
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.info.name
    }

    /// What is left of it.
    pub const fn left(&self) -> &Resources {
        &self.left
    }

    /// How many tasks were placed on it in this round.
    pub const fn placed(&self) -> usize {
        self.placed
    }

    fn new(offer: &Offer) -> Self {
        Self {
            agent: offer.agent,
            info: offer.info.clone(),
            offers: Vec::new(),
            left: Resources::new(),
            revocable: Resources::new(),
            volumes: Resources::new(),
            devices: BTreeMap::new(),
            operations: Vec::new(),
            placed: 0,
        }
    }

    /// Adds an offer; one that repeats devices of an earlier one replaces what that offered.
    fn add(&mut self, offer: &Offer, role: &Role) {
        let whole = |(id, share): (&DeviceId, Share)| {
            let here = self.left.device_shares().find(|(here, _)| *here == id).map_or(0, |(_, Share(part))| part);
            let known = self.devices.get(id);
            known.is_some_and(|device| device.mode == DeviceMode::Exclusive || here + share.0 > Share::WHOLE.0)
        };
        if offer.resources.device_shares().any(whole) {
            self.left = Resources::new();
            self.revocable = Resources::new();
            self.volumes = Resources::new();
            self.devices.clear();
        }
        self.offers.push(offer.id);
        self.devices.extend(offer.devices.iter().map(|device| (device.id.clone(), device.clone())));
        for (flavor, amounts) in offer.resources.iter().filter(|(flavor, _)| is_usable(flavor, role)) {
            self.left.add(&Resources::flavored(flavor.clone(), amounts.clone()));
        }
        self.revocable.add(&offer.resources.split_revocable().0);
        self.volumes.add_offered(&offer.resources.split_volumes().0);
    }

    /// How many tasks of these needs would fit by their scalars.
    fn room_for(&self, needs: &Needs) -> u64 {
        let left = self.left_for(needs);
        needs.resources.iter().map(|(name, amount)| left.get(name).0 / amount.0.max(1)).min().unwrap_or(u64::MAX)
    }

    fn free_devices(&self) -> usize {
        self.left.device_shares().count()
    }

    /// Takes what is needed, or nothing.
    fn take(&mut self, needs: &Needs) -> Option<Placement> {
        if needs.guarantee == Guarantee::Revocable {
            return self.take_revocable(needs);
        }
        let flavors = self.flavors();
        let mut taken = self.take_scalars(needs, &flavors)?;
        taken.add(&self.take_ports(needs, &flavors)?);
        let devices = self.take_devices(needs, &flavors)?;
        if !self.leaves_shares(needs, &devices, &taken) {
            return None;
        }
        taken.add(&devices);
        let volumes = self.take_volumes(&needs.volumes)?;
        let was_there = self.left.subtract(&taken);
        debug_assert!(was_there, "only what is left is taken");
        taken.add(&volumes);
        let ports = taken.ranges(&ResourceName::ports()).numbers().collect();
        Some(Placement { agent: self.agent, agent_name: self.info.name.clone(), resources: taken, ports })
    }

    /// What is reserved is used first: others can't use it.
    fn flavors(&self) -> Vec<Flavor> {
        let mut flavors: Vec<Flavor> = self.left.iter().map(|(flavor, _)| flavor.clone()).collect();
        flavors.sort_by_key(|flavor| Reverse(flavor.reservations.len()));
        flavors
    }

    fn take_scalars(&self, needs: &Needs, flavors: &[Flavor]) -> Option<Resources> {
        let mut taken = Resources::new();
        for (name, amount) in needs.resources.iter() {
            let mut missing = amount;
            for flavor in flavors {
                let here = self.left.get(flavor).map_or(Milli::ZERO, |amounts| amounts.scalars.get(name)).min(missing);
                let mut scalars = Quantities::new();
                scalars.set(name, here);
                taken.add(&Resources::flavored(flavor.clone(), Amounts { scalars, ..Amounts::default() }));
                missing = missing.minus(here)?;
            }
            if !missing.is_zero() {
                return None;
            }
        }
        Some(taken)
    }

    /// Whether what is taken leaves the devices that are not taken what they keep of the machine for their tenants.
    fn leaves_shares(&self, needs: &Needs, devices: &Resources, taken: &Resources) -> bool {
        let share = |resources: &Resources, name| {
            let parts = resources.device_shares().filter_map(|(id, share)| Some((self.devices.get(id)?, share)));
            parts.map(|(device, Share(part))| device.host_share.get(name).0 * u64::from(part) / 1000).sum::<u64>()
        };
        needs.resources.iter().all(|(name, amount)| {
            let (own, all) = (share(devices, name), share(&self.left, name));
            let plain = |resources: &Resources| {
                resources.get(&Flavor::default()).map_or(0, |amounts| amounts.scalars.get(name).0)
            };
            let used = plain(taken);
            used == 0 || amount.0 <= own || plain(&self.left).saturating_sub(used) >= all.saturating_sub(own)
        })
    }

    fn take_ports(&self, needs: &Needs, flavors: &[Flavor]) -> Option<Resources> {
        let name = ResourceName::ports();
        let mut taken = Resources::new();
        let mut missing = usize::from(needs.ports);
        for flavor in flavors {
            let Some(ports) = self.left.get(flavor).and_then(|amounts| amounts.ranges.get(&name)) else { continue };
            for port in ports.numbers().take(missing) {
                let ranges = ByName::from([(name.clone(), crate::model::Ranges::single(port))]);
                taken.add(&Resources::flavored(flavor.clone(), Amounts { ranges, ..Amounts::default() }));
                missing -= 1;
            }
        }
        (missing == 0).then_some(taken)
    }

    fn take_devices(&self, needs: &Needs, flavors: &[Flavor]) -> Option<Resources> {
        let free = self.left.device_shares().filter_map(|(id, share)| Some((&**self.devices.get(id)?, share)));
        let chosen = claims::resolve(&needs.claims, free).ok()?;
        let mut taken = Resources::new();
        for (id, share) in chosen {
            let has = |flavor: &&Flavor| self.left.get(flavor).is_some_and(|amounts| holds(amounts, &id, share));
            let flavor = flavors.iter().find(has)?.clone();
            let devices = BTreeMap::from([(id, share)]);
            taken.add(&Resources::flavored(flavor, Amounts { devices, ..Amounts::default() }));
        }
        Some(taken)
    }
}

fn holds(amounts: &Amounts, id: &DeviceId, share: Share) -> bool {
    amounts.devices.get(id).is_some_and(|here| *here >= share)
}

/// Volumes, mounted disks and what may be taken back at any time are not for tasks that did not ask for them; see `reserve`, `revocable`.
fn is_usable(flavor: &Flavor, role: &Role) -> bool {
    flavor.is_plain() && flavor.is_for(role)
}

impl Attributes for Host {
    fn attribute(&self, name: &str) -> Option<Attribute> {
        self.info.attribute(name)
    }
}

/// Places tasks on the offers of one role.
#[derive(Clone, Debug)]
pub struct Packer {
    hosts: BTreeMap<AgentId, Host>,
    gangs: Vec<Vec<GangPart>>,
    tasks_max: usize,
}

/// What to do with the offers of one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The machine.
    pub agent: AgentId,
    /// Its offers.
    pub offers: Vec<OfferId>,
    /// The launches.
    pub operations: Vec<Operation>,
}

// Reservations and volumes are in `reserve`.
impl Packer {
    /// How many tasks one accept launches at most; what is left of the machine comes back as a new offer.
    pub const TASKS_MAX: usize = 10;

    /// A packer of those of `offers` that are for `role`.
    pub fn new<'a>(role: &Role, offers: impl IntoIterator<Item = &'a Offer>) -> Self {
        let mut hosts: BTreeMap<AgentId, Host> = BTreeMap::new();
        for offer in offers.into_iter().filter(|offer| offer.role == *role) {
            hosts.entry(offer.agent).or_insert_with(|| Host::new(offer)).add(offer, role);
        }
        Self { hosts, gangs: Vec::new(), tasks_max: Self::TASKS_MAX }
    }

    /// The same, with another limit of tasks for each machine and round.
    #[must_use]
    pub const fn with_tasks_max(mut self, tasks_max: usize) -> Self {
        self.tasks_max = tasks_max;
        self
    }

    /// The machines on offer.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.values()
    }

    /// Whether nothing is on offer.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// Reserves a place for a task; `None` if no machine has room. The place is given up if no launch follows.
    pub fn place(&mut self, needs: &Needs, strategy: Strategy) -> Option<Placement> {
        self.place_ranked(needs, strategy, |_| Some(0))
    }

    /// The same among the machines that `rank` gives a number, those with the lowest first.
    pub fn place_ranked(
        &mut self,
        needs: &Needs,
        strategy: Strategy,
        rank: impl Fn(&Host) -> Option<i64>,
    ) -> Option<Placement> {
        self.place_group(std::slice::from_ref(needs), strategy, rank)?.pop()
    }

    /// Reserves places on one machine for tasks that belong together, or for none of them.
    pub fn place_group(
        &mut self,
        group: &[Needs],
        strategy: Strategy,
        rank: impl Fn(&Host) -> Option<i64>,
    ) -> Option<Vec<Placement>> {
        let first = group.first()?;
        for agent in self.ordered(first, strategy, rank) {
            let host = self.hosts.get_mut(&agent).expect("ordered() names hosts");
            let fits = |needs: &Needs| host.room_for(needs) > 0 && needs.constraint.matches(host);
            if host.placed + group.len() > self.tasks_max || !group.iter().all(fits) {
                continue;
            }
            let mut trial = host.clone();
            let placements: Option<Vec<Placement>> = group.iter().map(|needs| trial.take(needs)).collect();
            if placements.is_some() {
                trial.placed += group.len();
                *host = trial;
                return placements;
            }
        }
        None
    }

    /// Reserves places for tasks that start together or not at all, each wherever there is room, or for none of them. Only machines on
    /// which nothing was placed in this round are used, for a gang takes offers whole.
    pub fn place_gang(
        &mut self,
        gang: &[Needs],
        strategy: Strategy,
        rank: impl Fn(&Host) -> Option<i64>,
    ) -> Option<Vec<Placement>> {
        let untouched = self.hosts.iter().filter(|(_, host)| host.placed == 0 && host.operations.is_empty());
        let hosts = untouched.map(|(agent, host)| (*agent, host.clone())).collect();
        let mut trial = Self { hosts, gangs: Vec::new(), tasks_max: self.tasks_max };
        let places: Option<Vec<Placement>> =
            gang.iter().map(|needs| trial.place_ranked(needs, strategy, &rank)).collect();
        if places.is_some() {
            self.hosts.extend(trial.hosts);
        }
        places
    }

    /// Launches the members of a gang where [`place_gang`](Self::place_gang) has placed them, all or none. What is left of their machines
    /// is not used in this round.
    pub fn launch_gang(&mut self, members: Vec<(AgentId, TaskGroup)>) {
        let mut parts: BTreeMap<AgentId, GangPart> = BTreeMap::new();
        for (agent, group) in members {
            let offers = || self.hosts.get(&agent).map(|host| host.offers.clone()).unwrap_or_default();
            let part = parts.entry(agent).or_insert_with(|| GangPart { agent, offers: offers(), groups: Vec::new() });
            part.groups.push(group);
        }
        parts.keys().for_each(|agent| drop(self.hosts.remove(agent)));
        self.gangs.push(parts.into_values().collect());
    }

    /// The machines in the order in which they are tried.
    fn ordered(&self, needs: &Needs, strategy: Strategy, rank: impl Fn(&Host) -> Option<i64>) -> Vec<AgentId> {
        let mut ordered: Vec<_> = self.hosts.values().filter_map(|host| Some((rank(host)?, host))).collect();
        ordered.sort_by_cached_key(|(rank, host)| {
            // Machines with devices are left to those who ask for devices.
            let strands = needs.claims.is_empty() && host.free_devices() > 0;
            let room = host.room_for(needs);
            let devices = if needs.claims.is_empty() { 0 } else { host.free_devices() };
            match strategy {
                Strategy::Pack => (*rank, strands, 0, devices, room, host.agent),
                Strategy::Spread => (*rank, strands, host.placed, usize::MAX - devices, u64::MAX - room, host.agent),
            }
        });
        ordered.into_iter().map(|(_, host)| host.agent).collect()
    }

    /// Launches `task` at its placement.
    pub fn launch(&mut self, placement: &Placement, task: Task) {
        self.launch_group(placement.agent, TaskGroup::single(task));
    }

    /// Launches tasks that belong together on the machine where they were placed.
    pub fn launch_group(&mut self, agent: AgentId, group: TaskGroup) {
        if let Some(host) = self.hosts.get_mut(&agent) {
            host.operations.push(Operation::Launch(group));
        }
    }

    /// The offers of the machines on which nothing is launched.
    pub fn unused(&self) -> Vec<OfferId> {
        let idle = self.hosts.values().filter(|host| host.operations.is_empty());
        idle.flat_map(|host| host.offers.iter().copied()).collect()
    }

    /// One plan for each machine on which something is launched; gangs are not among them.
    pub fn into_accepts(self) -> Vec<Plan> {
        let used = self.hosts.into_values().filter(|host| !host.operations.is_empty());
        used.map(|host| Plan { agent: host.agent, offers: host.offers, operations: host.operations }).collect()
    }

    /// Accepts what was placed; what is left of the machines used is refused for `refusal`. Other offers stay in the book.
    pub fn submit<E>(mut self, out: &mut Out<E>, refusal: &Refusal) {
        for parts in std::mem::take(&mut self.gangs) {
            out.accept_gang(parts, refusal.clone());
        }
        for plan in self.into_accepts() {
            out.accept(&plan.offers, plan.operations, refusal.clone());
        }
    }
}

#[cfg(test)]
mod tests;
