//! Offers of machines with GPUs, and the best place among them for one task after another.
//!
//! A [`GpuBoard`] is told of offers as they come and go. It keeps, for every kind of task that it has placed, what each machine is worth
//! to it, and reckons anew only where a machine has changed: the cost of a placement follows what happened since the last one.

mod gang;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::Placement;
use super::fgd::Fragmentation;
use super::gpu::{GpuAsk, GpuNode, Wanted};
use super::policy::{self, GpuPolicy, Largest, Scene};
use crate::model::{
    AgentId, Amounts, DeviceId, Flavor, Offer, OfferId, Operation, Quantities, Refusal, ResourceName, Resources, Share,
    Task, TaskGroup,
};
use crate::scheduler::Out;

/// The most kinds of task whose scores are kept.
const KINDS_MAX: usize = 1024;
/// How many changes for each machine are remembered, so that kinds need not look for them among all machines.
const CHANGES_PER_SLOT: usize = 2;
/// The score of a machine on which a kind of task does not fit.
const UNFIT: i64 = i64::MIN;

/// How a [`GpuBoard`] chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GpuChoice {
    /// How machines are compared.
    pub policy: GpuPolicy,
    /// How finely.
    pub scores: Scores,
    /// Which of those that are worth the same.
    pub ties: Ties,
    /// What amounts are compared with.
    pub largest: Largest,
    /// Where the policy or the ties are random, they follow from this.
    pub seed: u64,
}

/// How finely machines are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scores {
    /// By whole numbers of a hundred: near equals tie.
    #[default]
    Percent,
    /// By the gradient itself; only for [`GpuPolicy::Fgd`].
    Exact,
}

/// Which of the machines that are worth the same is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ties {
    /// The one with the lowest id: always the same one, until it is full.
    #[default]
    First,
    /// Any.
    Random,
}

/// The machines on offer to one role.
#[derive(Clone, Debug)]
pub struct GpuBoard {
    choice: GpuChoice,
    fragmentation: Fragmentation,
    random: Pcg64Mcg,
    slots: Vec<Slot>,
    /// By slot: its agent, and whether an offer of it stands. Apart from the rest, because every placement looks at all of them.
    agents: Vec<AgentId>,
    standing: Vec<bool>,
    by_agent: BTreeMap<AgentId, usize>,
    by_offer: BTreeMap<OfferId, usize>,
    /// The offers on which something is to be launched.
    launching: BTreeSet<OfferId>,
    kinds: BTreeMap<GpuAsk, Kind>,
    /// Counts changes of machines.
    version: u64,
    /// The slots of the last of these changes, one by one.
    changes: VecDeque<usize>,
}

/// A machine that is on offer, or was.
#[derive(Clone, Debug)]
struct Slot {
    name: Arc<str>,
    offer: Option<OfferId>,
    devices: Vec<DeviceId>,
    scene: Scene,
    /// The count of changes when it changed last.
    version: u64,
    operations: Vec<Operation>,
}

/// What the machines are worth to one kind of task.
#[derive(Clone, Debug, Default)]
struct Kind {
    wanted: Wanted,
    /// By slot; [`UNFIT`] where it does not fit.
    scores: Vec<i64>,
    /// The count of changes up to which they hold.
    version: u64,
}

impl GpuBoard {
    /// An empty board, for tasks like those of the workload that `fragmentation` reckons with.
    pub fn new(choice: GpuChoice, fragmentation: Fragmentation) -> Self {
        Self {
            random: Pcg64Mcg::seed_from_u64(choice.seed),
            choice,
            fragmentation,
            slots: Vec::new(),
            agents: Vec::new(),
            standing: Vec::new(),
            by_agent: BTreeMap::new(),
            by_offer: BTreeMap::new(),
            launching: BTreeSet::new(),
            kinds: BTreeMap::new(),
            version: 0,
            changes: VecDeque::new(),
        }
    }

    /// How many machines are on offer.
    pub fn on_offer(&self) -> usize {
        self.by_offer.len()
    }

    /// The offers that stand, oldest first.
    pub fn offers(&self) -> impl Iterator<Item = OfferId> {
        self.by_offer.keys().copied()
    }

    /// A machine is offered; the offer takes the place of an earlier one of the same machine.
    pub fn offered(&mut self, offer: &Offer) {
        let at = self.slot(offer);
        let slot = &mut self.slots[at];
        if let Some(old) = slot.offer.replace(offer.id) {
            self.by_offer.remove(&old);
        }
        slot.operations.clear();
        self.standing[at] = true;
        self.by_offer.insert(offer.id, at);
        let node = read(offer, &mut slot.devices, &mut self.fragmentation);
        if slot.scene.node != node {
            slot.scene.fragmentation = self.fragmentation.weighted(&node);
            slot.scene.node = node;
            self.changed(at);
        }
    }

    /// An offer stands no more.
    pub fn withdrawn(&mut self, offer: OfferId) {
        if let Some(at) = self.by_offer.remove(&offer) {
            self.stands_no_more(at);
        }
    }

    /// No offer stands any more.
    pub fn clear(&mut self) {
        for at in std::mem::take(&mut self.by_offer).into_values() {
            self.stands_no_more(at);
        }
        self.launching.clear();
    }

    /// The best place for a task among the offers that stand, and takes it; none if it fits nowhere. To be followed by
    /// [`GpuBoard::launch`]; the place is given up with the offer if none follows.
    pub fn place(&mut self, ask: &GpuAsk) -> Option<Placement> {
        let mut kind = match self.kinds.get_mut(ask) {
            Some(kind) => std::mem::take(kind),
            None => self.kind(ask),
        };
        self.refresh(&mut kind);
        let best = self.best(&kind);
        let placement = best.map(|at| self.take(at, &kind.wanted));
        self.keep(ask, kind);
        placement
    }

    /// The same on none of these agents.
    pub fn place_besides(&mut self, ask: &GpuAsk, agents: &BTreeSet<AgentId>) -> Option<Placement> {
        let slots = agents.iter().filter_map(|agent| self.by_agent.get(agent).copied());
        let hidden: Vec<usize> = slots.filter(|at| self.standing[*at]).collect();
        hidden.iter().for_each(|at| self.standing[*at] = false);
        let placement = self.place(ask);
        hidden.into_iter().for_each(|at| self.standing[at] = true);
        placement
    }

    /// Launches `task` at its placement, with the next [`GpuBoard::submit`].
    pub fn launch(&mut self, placement: &Placement, task: Task) {
        let Some(slot) = self.by_agent.get(&placement.agent).map(|at| &mut self.slots[*at]) else { return };
        if let Some(offer) = slot.offer {
            slot.operations.push(Operation::Launch(TaskGroup::single(task)));
            self.launching.insert(offer);
        }
    }

    /// Accepts the offers on which something is launched; what is left of them is refused for `refusal`.
    pub fn submit<E>(&mut self, out: &mut Out<E>, refusal: &Refusal) {
        for offer in std::mem::take(&mut self.launching) {
            // None if it was withdrawn, or another took its place.
            let Some(at) = self.by_offer.remove(&offer) else { continue };
            out.accept(&[offer], std::mem::take(&mut self.slots[at].operations), refusal.clone());
            self.stands_no_more(at);
        }
    }

    /// A task that was placed there has ended: for [`GpuPolicy::Clustering`], which looks at the company.
    pub fn ended(&mut self, agent: AgentId, ask: &GpuAsk) {
        let wanted = self.fragmentation.models().compile(ask);
        let (Some(at), Some(size)) = (self.by_agent.get(&agent).copied(), policy::size(&wanted)) else { return };
        let held = &mut self.slots[at].scene.held[size];
        *held = held.saturating_sub(1);
        self.changed(at);
    }

    fn slot(&mut self, offer: &Offer) -> usize {
        if let Some(at) = self.by_agent.get(&offer.agent) {
            return *at;
        }
        let at = self.slots.len();
        self.agents.push(offer.agent);
        self.standing.push(false);
        self.slots.push(Slot {
            name: offer.info.name.clone(),
            offer: None,
            devices: Vec::new(),
            scene: Scene::default(),
            version: 0,
            operations: Vec::new(),
        });
        self.by_agent.insert(offer.agent, at);
        at
    }

    fn changed(&mut self, at: usize) {
        self.version += 1;
        self.slots[at].version = self.version;
        self.changes.push_back(at);
        if self.changes.len() > CHANGES_PER_SLOT * self.slots.len() {
            self.changes.pop_front();
        }
    }

    fn stands_no_more(&mut self, at: usize) {
        self.slots[at].offer = None;
        self.slots[at].operations.clear();
        self.standing[at] = false;
    }

    fn kind(&mut self, ask: &GpuAsk) -> Kind {
        Kind { wanted: self.fragmentation.models().compile(ask), scores: Vec::new(), version: 0 }
    }

    fn keep(&mut self, ask: &GpuAsk, kind: Kind) {
        if let Some(kept) = self.kinds.get_mut(ask) {
            *kept = kind;
            return;
        }
        if self.kinds.len() >= KINDS_MAX {
            self.kinds.clear();
        }
        self.kinds.insert(ask.clone(), kind);
    }

    /// Reckons anew what the machines are worth that have changed since.
    fn refresh(&self, kind: &mut Kind) {
        kind.scores.resize(self.slots.len(), UNFIT);
        let forgotten = self.version - self.changes.len() as u64;
        match kind.version.checked_sub(forgotten) {
            None => (0..self.slots.len()).for_each(|at| kind.scores[at] = self.score(at, &kind.wanted)),
            Some(known) => {
                let known = usize::try_from(known).expect("it is at most the number of changes that are remembered");
                for (at, version) in self.changes.iter().zip(forgotten + 1..).skip(known) {
                    // Of several changes of one machine the last one counts.
                    if self.slots[*at].version == version {
                        kind.scores[*at] = self.score(*at, &kind.wanted);
                    }
                }
            }
        }
        kind.version = self.version;
    }

    fn score(&self, at: usize, wanted: &Wanted) -> i64 {
        let GpuChoice { policy, scores, largest, .. } = self.choice;
        let scene = &self.slots[at].scene;
        if !wanted.fits(&scene.node) {
            return UNFIT;
        }
        policy::score(policy, scores == Scores::Exact, largest, &self.fragmentation, scene, wanted)
    }

    fn best(&mut self, kind: &Kind) -> Option<usize> {
        let of = |(standing, score): (&bool, &i64)| if *standing { *score } else { UNFIT };
        let scores = self.standing.iter().zip(&kind.scores).map(of);
        let highest = scores.clone().max().filter(|score| *score > UNFIT)?;
        let equals = scores.enumerate().filter(|(_, score)| *score == highest).map(|(at, _)| at);
        if self.choice.ties == Ties::First && self.choice.policy != GpuPolicy::Random {
            return equals.min_by_key(|at| self.agents[*at]);
        }
        let equals: Vec<usize> = equals.collect();
        Some(equals[draw(&mut self.random, equals.len())])
    }

    fn take(&mut self, at: usize, wanted: &Wanted) -> Placement {
        let policy = self.choice.policy;
        let mut picked = policy::pick(policy, &self.fragmentation, &self.slots[at].scene, wanted);
        if policy == GpuPolicy::Random && wanted.shares() {
            let all = Wanted { gpus: usize::MAX, ..wanted.clone() }.tightest(&self.slots[at].scene.node);
            picked = [all[draw(&mut self.random, all.len())]].into_iter().collect();
        }
        let slot = &mut self.slots[at];
        slot.scene.node.take(wanted, &picked);
        slot.scene.fragmentation = self.fragmentation.weighted(&slot.scene.node);
        if let Some(size) = policy::size(wanted) {
            slot.scene.held[size] += 1;
        }
        let mut resources = Resources::of(wanted.cpus, wanted.mem);
        let devices = picked.iter().map(|gpu| (slot.devices[*gpu].clone(), Share(wanted.share))).collect();
        resources.add(&Resources::flavored(Flavor::default(), Amounts { devices, ..Amounts::default() }));
        let placement =
            Placement { agent: self.agents[at], agent_name: slot.name.clone(), resources, ports: Vec::new() };
        self.changed(at);
        placement
    }
}

/// What is offered of a machine. `devices` are the GPUs that it is known to have; those that are not in the offer have nothing left.
fn read(offer: &Offer, devices: &mut Vec<DeviceId>, fragmentation: &mut Fragmentation) -> GpuNode {
    let gpus = offer.devices.iter().filter(|device| &*device.kind == "gpu");
    for device in gpus.clone() {
        if let Err(at) = devices.binary_search(&device.id) {
            devices.insert(at, device.id.clone());
        }
    }
    let plain = offer.resources.get(&Flavor::default());
    let scalars = plain.map_or_else(Quantities::new, |amounts| amounts.scalars.clone());
    let left = |id: &DeviceId| plain.and_then(|amounts| amounts.devices.get(id)).map_or(0, |share| share.0);
    GpuNode {
        cpus: scalars.get(&ResourceName::Cpus),
        mem: scalars.get(&ResourceName::Mem),
        model: gpus.clone().next().map(|device| fragmentation.models().id(&device.model)),
        gpus: devices.iter().map(left).collect(),
    }
}

fn draw(random: &mut Pcg64Mcg, among: usize) -> usize {
    let among = among.max(1) as u64;
    usize::try_from(random.next_u64() % among).expect("it is below a usize")
}

#[cfg(test)]
mod tests;
