//! Claims to devices: the one search that the master, the packer of the frameworks and the simulator's checkers share.
//!
//! Claims are met in order, the alternatives of each in order, and an earlier choice is taken back where it leaves a later claim unmet.
//! Equal devices are tried once, so the search is short where machines are regular; where they are not, it ends after a bounded number of
//! tries. The same devices always give the same answer.

mod quick;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::{
    Alternative, Claim, Count, Device, DeviceConstraint, DeviceId, DeviceMode, Reject, Share, Strength,
};

pub(crate) use quick::quick;

/// The most devices that are tried in one search; far above what a regular machine needs.
const MAX_TRIES: u32 = 20_000;

/// Why claims are not met.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unmet {
    /// There is no device of that kind.
    #[error("{claim}: no {kind} on this agent")]
    NoSuchKind {
        /// Which claim.
        claim: String,
        /// The kind of its first alternative.
        kind: Arc<str>,
    },
    /// There are devices of the kind, but too few are like that.
    #[error("{claim}: {matching} of {known} {kind} match; {nearest}")]
    TooFewMatch {
        /// Which claim.
        claim: String,
        /// The kind of its first alternative.
        kind: Arc<str>,
        /// How many match.
        matching: usize,
        /// How many there are.
        known: usize,
        /// What one that does not match lacks.
        nearest: String,
    },
    /// Enough devices match, but too few of them are free.
    #[error("{claim}: {free} of {matching} that match are free, {wanted} wanted")]
    TooFewFree {
        /// Which claim.
        claim: String,
        /// How many match.
        matching: usize,
        /// How many of those are free.
        free: usize,
        /// How many are wanted.
        wanted: Count,
    },
    /// Enough devices are free, but what must hold across them does not.
    #[error("{claim}: enough devices are free, but no choice of them meets the constraints")]
    Constraints {
        /// Which claim.
        claim: String,
    },
    /// Each claim can be met, but not all of them at once.
    #[error("each device claim can be met, but not all of them at once")]
    Together,
    /// The search was given up.
    #[error("device claims too intricate: gave up after {MAX_TRIES} tries")]
    TooIntricate,
}

impl From<Unmet> for Reject {
    fn from(unmet: Unmet) -> Self {
        Self::ClaimNotMet(unmet.to_string())
    }
}

/// The devices that meet `claims`, and how much of each. No device meets two claims.
///
/// `known` are the devices of one agent, each with how much of it is free; a device that is held, being cleaned or not usable is known
/// with a share of zero, so that `all gpu` does not pass it over.
pub fn resolve<'a>(
    claims: &[Claim],
    known: impl IntoIterator<Item = (&'a Device, Share)>,
) -> Result<BTreeMap<DeviceId, Share>, Unmet> {
    if claims.is_empty() {
        return Ok(BTreeMap::new());
    }
    let pool = Pool::new(claims, known);
    match search(claims, &pool) {
        Ok(Some(chosen)) => Ok(chosen),
        Ok(None) => Err(explain(claims, &pool)),
        Err(GaveUp) => Err(Unmet::TooIntricate),
    }
}

/// Whether `chosen` meets `claims`: the check of a choice that somebody else made. Devices that no claim asks for don't matter here.
pub fn is_met_by<'a>(claims: &[Claim], chosen: impl IntoIterator<Item = (&'a Device, Share)>) -> bool {
    resolve(claims, chosen).is_ok()
}

/// The devices that some claim could use, in the order of their ids.
struct Pool<'a> {
    places: Vec<Place<'a>>,
}

struct Place<'a> {
    device: &'a Device,
    free: Share,
    /// The places that this one is linked to, itself included.
    neighbours: BTreeSet<usize>,
    /// The first of the free places that hang together with this one over links.
    group: usize,
    /// How many they are.
    group_size: usize,
    /// For each alternative of each claim, in order, whether this device would do.
    suits: Vec<bool>,
}

impl<'a> Pool<'a> {
    fn new(claims: &[Claim], known: impl IntoIterator<Item = (&'a Device, Share)>) -> Self {
        let alternatives: Vec<&Alternative> = claims.iter().flat_map(|claim| &claim.alternatives).collect();
        let by_id: BTreeMap<&DeviceId, (&Device, Share)> = known
            .into_iter()
            .filter(|(device, _)| alternatives.iter().any(|alternative| alternative.kind == device.kind))
            .map(|(device, free)| (&device.id, (device, free)))
            .collect();
        let index: BTreeMap<&DeviceId, usize> = by_id.keys().enumerate().map(|(at, id)| (*id, at)).collect();
        let mut places: Vec<Place<'a>> = Vec::with_capacity(by_id.len());
        for (device, free) in by_id.values() {
            let suits = alternatives.iter().map(|alternative| suits(alternative, device, *free)).collect();
            let mut neighbours: BTreeSet<usize> =
                device.topology.links.iter().filter_map(|id| index.get(id).copied()).collect();
            neighbours.insert(places.len());
            places.push(Place { device, free: *free, neighbours, group: 0, group_size: 0, suits });
        }
        let mut pool = Self { places };
        pool.link_both_ways();
        pool.measure_groups();
        pool
    }

    /// A link that only one end reports is a link.
    fn link_both_ways(&mut self) {
        for at in 0..self.places.len() {
            for other in self.places[at].neighbours.clone() {
                self.places[other].neighbours.insert(at);
            }
        }
    }

    fn measure_groups(&mut self) {
        let mut seen = BTreeSet::new();
        for start in 0..self.places.len() {
            if self.places[start].free.0 == 0 || !seen.insert(start) {
                continue;
            }
            let (mut group, mut at) = (vec![start], 0);
            while let Some(next) = group.get(at).copied() {
                let free = |other: &usize| self.places[*other].free.0 > 0;
                group.extend(
                    self.places[next].neighbours.iter().copied().filter(free).filter(|other| seen.insert(*other)),
                );
                at += 1;
            }
            for member in &group {
                self.places[*member].group = start;
                self.places[*member].group_size = group.len();
            }
        }
    }

    /// Whether exchanging the two changes nothing for any claim.
    fn are_alike(&self, a: usize, b: usize) -> bool {
        let (a, b) = (&self.places[a], &self.places[b]);
        a.suits == b.suits
            && a.neighbours == b.neighbours
            && a.device.topology.numa_node == b.device.topology.numa_node
            && a.device.topology.pci_root == b.device.topology.pci_root
    }

    fn holds(&self, constraint: DeviceConstraint, a: usize, b: usize) -> bool {
        let (one, other) = (&self.places[a], &self.places[b]);
        let (here, there) = (&one.device.topology, &other.device.topology);
        match constraint {
            DeviceConstraint::SameNumaNode => here.numa_node.is_some() && here.numa_node == there.numa_node,
            DeviceConstraint::SamePciRoot => here.pci_root.is_some() && here.pci_root == there.pci_root,
            DeviceConstraint::Linked => one.neighbours.contains(&b),
        }
    }

    /// The places that suit alternative number `column`, best first: a part comes out of what is in parts already, the fullest first, the
    /// whole out of what is never in parts; then linked groups and NUMA nodes are kept whole for those who need them.
    fn candidates(&self, column: usize, share: Share, wanted: usize) -> Vec<usize> {
        let mut classes: BTreeMap<(bool, Share), Vec<usize>> = BTreeMap::new();
        for (at, place) in self.places.iter().enumerate().filter(|(_, place)| place.suits[column]) {
            let is_other = (place.device.mode == DeviceMode::Shared) == (share == Share::WHOLE);
            classes.entry((is_other, place.free)).or_default().push(at);
        }
        classes.into_values().flat_map(|class| self.keep_whole(class, wanted)).collect()
    }

    /// The same places, in an order in which taking the first `wanted` of them breaks as little as possible.
    fn keep_whole(&self, places: Vec<usize>, wanted: usize) -> Vec<usize> {
        let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for at in places {
            groups.entry(self.places[at].group).or_default().push(at);
        }
        let (alone, linked): (Vec<_>, Vec<_>) =
            groups.into_values().partition(|group| self.places[group[0]].group_size == 1);
        let alone = self.by_node(alone.concat());
        let linked: Vec<Group> = linked
            .into_iter()
            .map(|members| {
                let size = self.places[members[0]].group_size;
                Group { size, members: best_fit(self.by_node(members), wanted) }
            })
            .collect();
        // One device needs no link; of several, those that have links to each other are worth more.
        if wanted <= 1 {
            return [best_fit(alone, wanted), best_fit(linked, wanted)].concat();
        }
        let alone_suffice = alone.iter().any(|node| node.members.len() >= wanted);
        let linked_suffice = linked.iter().any(|group| group.members.len() >= wanted);
        if alone_suffice && !linked_suffice {
            return [best_fit(alone, wanted), best_fit(linked, wanted)].concat();
        }
        let linked = best_fit(linked, wanted);
        let left = wanted.saturating_sub(linked.len());
        [linked, best_fit(alone, left)].concat()
    }

    /// The places by NUMA node; where a node is not known, each for itself.
    fn by_node(&self, places: Vec<usize>) -> Vec<Group> {
        let mut nodes: BTreeMap<(Option<u32>, usize), Vec<usize>> = BTreeMap::new();
        for at in places {
            let node = self.places[at].device.topology.numa_node;
            nodes.entry((node, if node.is_some() { 0 } else { at })).or_default().push(at);
        }
        nodes.into_values().map(|members| Group { size: members.len(), members }).collect()
    }
}

/// Places that are worth more together.
struct Group {
    /// How many there are, those that don't suit among them.
    size: usize,
    members: Vec<usize>,
}

/// All members, out of the smallest group that suffices first. Where none does, the largest is taken whole, and what is missing is looked
/// for likewise among the others.
fn best_fit(mut groups: Vec<Group>, mut wanted: usize) -> Vec<usize> {
    let mut order = Vec::new();
    while !groups.is_empty() {
        let key = |group: &Group| {
            let suffices = group.members.len() >= wanted;
            let size = if suffices { group.size } else { usize::MAX - group.members.len() };
            (!suffices, size, group.members[0])
        };
        let best = (0..groups.len()).min_by_key(|at| key(&groups[*at])).expect("there is one at least");
        let group = groups.swap_remove(best);
        wanted = wanted.saturating_sub(group.members.len());
        order.extend(group.members);
    }
    order
}

fn suits(alternative: &Alternative, device: &Device, free: Share) -> bool {
    matches(alternative, device) && free >= taken(alternative, device) && free.0 > 0
}

fn matches(alternative: &Alternative, device: &Device) -> bool {
    alternative.kind == device.kind && alternative.selector.matches(device)
}

/// How much of `device` the alternative takes: an exclusive device has no parts.
fn taken(alternative: &Alternative, device: &Device) -> Share {
    match device.mode {
        DeviceMode::Exclusive => Share::WHOLE,
        DeviceMode::Shared => alternative.share,
    }
}

struct GaveUp;

/// Searches with what is preferred; if that takes too long, without.
fn search(claims: &[Claim], pool: &Pool<'_>) -> Result<Option<BTreeMap<DeviceId, Share>>, GaveUp> {
    let prefers = claims.iter().flat_map(|claim| &claim.alternatives).flat_map(|alternative| &alternative.constraints);
    let has_preference = prefers.clone().any(|(_, strength)| *strength == Strength::Prefer);
    let mut search = Search::new(claims, pool, if has_preference { Wishes::Heeded } else { Wishes::Ignored });
    match search.run() {
        Err(GaveUp) if has_preference => Search::new(claims, pool, Wishes::Ignored).run(),
        result => result,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wishes {
    Heeded,
    Ignored,
}

struct Search<'a> {
    claims: &'a [Claim],
    pool: &'a Pool<'a>,
    wishes: Wishes,
    /// The column of the first alternative of each claim.
    columns: Vec<usize>,
    chosen: BTreeMap<usize, Share>,
    tries: u32,
}

/// A claim that is being met: one alternative, its devices so far.
struct Slot<'a> {
    claim: usize,
    alternative: &'a Alternative,
    constraints: Vec<DeviceConstraint>,
    candidates: Vec<usize>,
    missing: usize,
    picked: Vec<usize>,
}

impl<'a> Search<'a> {
    fn new(claims: &'a [Claim], pool: &'a Pool<'a>, wishes: Wishes) -> Self {
        let mut columns = Vec::with_capacity(claims.len());
        let mut column = 0;
        for claim in claims {
            columns.push(column);
            column += claim.alternatives.len();
        }
        Self { claims, pool, wishes, columns, chosen: BTreeMap::new(), tries: 0 }
    }

    fn run(&mut self) -> Result<Option<BTreeMap<DeviceId, Share>>, GaveUp> {
        if !self.meet(0)? {
            return Ok(None);
        }
        let named = |(at, share): (&usize, &Share)| (self.pool.places[*at].device.id.clone(), *share);
        Ok(Some(self.chosen.iter().map(named).collect()))
    }

    /// Meets the claims from number `claim` on; leaves `chosen` as it was if that fails.
    fn meet(&mut self, claim: usize) -> Result<bool, GaveUp> {
        let claims = self.claims;
        let Some(wanted) = claims.get(claim) else { return Ok(true) };
        for (number, alternative) in wanted.alternatives.iter().enumerate() {
            for constraints in self.constraint_levels(alternative) {
                let Some(mut slot) = self.slot(claim, number, alternative, constraints) else { continue };
                if self.fill(&mut slot, 0)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// What must hold, with all preferences first, then with one less at a time, the last first.
    fn constraint_levels(&self, alternative: &Alternative) -> Vec<Vec<DeviceConstraint>> {
        let of = |wanted: Strength| {
            alternative
                .constraints
                .iter()
                .filter(move |(_, strength)| *strength == wanted)
                .map(|(constraint, _)| *constraint)
        };
        let required: Vec<DeviceConstraint> = of(Strength::Require).collect();
        let preferred: Vec<DeviceConstraint> = of(Strength::Prefer).collect();
        let most = if self.wishes == Wishes::Heeded { preferred.len() } else { 0 };
        (0..=most).rev().map(|count| required.iter().chain(&preferred[..count]).copied().collect()).collect()
    }

    fn slot(
        &self,
        claim: usize,
        number: usize,
        alternative: &'a Alternative,
        constraints: Vec<DeviceConstraint>,
    ) -> Option<Slot<'a>> {
        let column = self.columns[claim] + number;
        let exactly = match alternative.count {
            Count::Exactly(count) => usize::from(count),
            Count::All => 0,
        };
        let mut candidates = self.pool.candidates(column, alternative.share, exactly);
        candidates.retain(|at| !self.chosen.contains_key(at));
        let missing = match alternative.count {
            Count::Exactly(_) => exactly,
            Count::All => {
                let known =
                    |at: &usize| matches(alternative, self.pool.places[*at].device) && !self.chosen.contains_key(at);
                (0..self.pool.places.len()).filter(known).count().max(1)
            }
        };
        (candidates.len() >= missing).then(|| Slot {
            claim,
            alternative,
            constraints,
            candidates,
            missing,
            picked: Vec::new(),
        })
    }

    /// Picks what is missing out of the candidates from number `from` on, then meets the claims behind.
    fn fill(&mut self, slot: &mut Slot<'a>, from: usize) -> Result<bool, GaveUp> {
        if slot.missing == 0 {
            return self.meet(slot.claim + 1);
        }
        let mut failed: Vec<usize> = Vec::new();
        for number in from..=slot.candidates.len().saturating_sub(slot.missing) {
            let Some(at) = slot.candidates.get(number).copied() else { break };
            let fits =
                slot.constraints.iter().all(|rule| slot.picked.iter().all(|other| self.pool.holds(*rule, at, *other)));
            if !fits || failed.iter().any(|other| self.pool.are_alike(at, *other)) {
                continue;
            }
            self.tries += 1;
            if self.tries > MAX_TRIES {
                return Err(GaveUp);
            }
            self.chosen.insert(at, taken(slot.alternative, self.pool.places[at].device));
            slot.picked.push(at);
            slot.missing -= 1;
            if self.fill(slot, number + 1)? {
                return Ok(true);
            }
            slot.missing += 1;
            slot.picked.pop();
            self.chosen.remove(&at);
            failed.push(at);
        }
        Ok(false)
    }
}

/// The reason of the first claim that can't be met even alone.
fn explain(claims: &[Claim], pool: &Pool<'_>) -> Unmet {
    let mut column = 0;
    for claim in claims {
        let alone = std::slice::from_ref(claim);
        let own = Pool::new(alone, pool.places.iter().map(|place| (place.device, place.free)));
        match search(alone, &own) {
            Ok(None) => return explain_one(claim, pool, column),
            Err(GaveUp) => return Unmet::TooIntricate,
            Ok(Some(_)) => column += claim.alternatives.len(),
        }
    }
    Unmet::Together
}

fn explain_one(claim: &Claim, pool: &Pool<'_>, column: usize) -> Unmet {
    let text = claim.to_string();
    let Some(first) = claim.alternatives.first() else { return Unmet::Constraints { claim: text } };
    let kind: Vec<&Place<'_>> = pool.places.iter().filter(|place| place.device.kind == first.kind).collect();
    let matching = kind.iter().filter(|place| matches(first, place.device)).count();
    let free = kind.iter().filter(|place| place.suits[column]).count();
    let wanted = match first.count {
        Count::Exactly(count) => usize::from(count),
        Count::All => matching.max(1),
    };
    if kind.is_empty() {
        return Unmet::NoSuchKind { claim: text, kind: first.kind.clone() };
    }
    if matching < wanted {
        let nearest = kind.iter().find(|place| !matches(first, place.device));
        let lacks =
            |place: &&Place<'_>| format!("{} lacks {}", place.device.id, first.selector.unmet(place.device).join(", "));
        let nearest = nearest.map_or_else(|| format!("{} wanted", first.count), lacks);
        return Unmet::TooFewMatch { claim: text, kind: first.kind.clone(), matching, known: kind.len(), nearest };
    }
    if free < wanted {
        return Unmet::TooFewFree { claim: text, matching, free, wanted: first.count };
    }
    Unmet::Constraints { claim: text }
}

#[cfg(test)]
mod packing_tests;
#[cfg(test)]
mod tests;
