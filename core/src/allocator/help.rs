//! "What would help?": which single change would make room for one of a shape, smallest change first. Over plain data, so that a planner
//! can ask it about a cluster of its own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::explain::{AgentRef, CauseKind, ClauseKind, Waiting};
use super::stock::{Finding, Standing, Stock, suits};
use super::when::take;
use crate::model::{
    Alternative, Claim, Count, FrameworkId, Milli, ResourceName, Resources, Role, Selector, Shape, Strength,
};

/// The most changes that are told.
const STEPS_MAX: usize = 12;
/// So many of one shape are counted on an empty agent.
const PACKED_MAX: u32 = 64;

/// The answer to `what would help` for one framework or shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// What was asked about, as text.
    pub subject: String,
    /// One for each thing that waits.
    pub waits: Vec<WaitAdvice>,
}

/// What would help one of a shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitAdvice {
    /// What waits.
    pub what: Waiting,
    /// How many agents have room for one already.
    pub ready: usize,
    /// What would help, smallest change first; each alone suffices.
    pub steps: Vec<Step>,
    /// How many classes of equal agents were looked at.
    pub evaluations: usize,
}

/// One change that would make room for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The change.
    pub kind: StepKind,
    /// Where there would be room then.
    pub agent: Option<AgentRef>,
    /// On how many agents there would be room then.
    pub agents: usize,
    /// Whether there is room at once, or only when the agents' tasks have ended.
    pub effect: Effect,
}

/// When a change helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// At once.
    Now,
    /// It could run then at all, once what it needs is free.
    Sometime,
}

/// A change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepKind {
    /// The framework connects again.
    Reconnect,
    /// The framework takes offers for the role again.
    Unsuppress,
    /// The framework revives: it refused what fits.
    Revive {
        /// Else for so much longer.
        left: Duration,
    },
    /// Raise a limit.
    RaiseLimit {
        /// Of which role.
        role: Role,
        /// Of which resource.
        resource: Arc<str>,
        /// By how much at least.
        by: Milli,
    },
    /// Others give back what offers to them lock.
    ReleaseOffers {
        /// Who.
        frameworks: Vec<FrameworkId>,
    },
    /// Ask for less.
    Less {
        /// Of what.
        resource: Arc<str>,
        /// By so much.
        by: Milli,
        /// So much is left.
        to: Milli,
    },
    /// Ask for fewer devices.
    FewerDevices {
        /// The claim.
        claim: String,
        /// So many.
        to: u16,
    },
    /// Don't ask that devices are connected in a certain way.
    WithoutTopology {
        /// The claim.
        claim: String,
    },
    /// Don't ask that of the devices.
    OtherDevices {
        /// The claim.
        claim: String,
        /// The clause of its selector to leave out.
        dropped: String,
        /// The models that would do then, at most a few.
        models: Vec<Arc<str>>,
    },
    /// Don't ask that of the agent.
    WithoutConstraint {
        /// The clause to leave out.
        dropped: String,
    },
    /// Get the agent back to work.
    RepairAgent {
        /// Where it stands.
        standing: Standing,
    },
    /// Repair devices.
    RepairDevices {
        /// The claim that they would meet.
        claim: String,
    },
    /// Build devices in.
    AddDevices {
        /// The claim.
        claim: String,
        /// How many.
        count: usize,
    },
    /// Add agents like one that is there.
    AddAgents {
        /// For one of the shape.
        count: u32,
        /// For all of it that wait.
        for_all: u32,
    },
}

/// Agents of equal stock that are alike for the asker.
#[derive(Debug)]
pub struct Site<'a> {
    /// What each of them has.
    pub stock: &'a Stock,
    /// One of them.
    pub example: AgentRef,
    /// How many they are.
    pub agents: usize,
    /// The clauses of the shape's constraint that they don't meet.
    pub unmet: usize,
    /// For how much longer the asker refuses what is free there.
    pub refused: Option<Duration>,
    /// To whom what is locked there is on offer.
    pub holders: Vec<FrameworkId>,
    /// For each clause of the constraint, whether all would be met without it.
    pub met_without: Vec<bool>,
}

/// What would help one of `shape`, asked for by `role`, to be run. `sites` are the agents as they are now, `kinds` as if empty.
pub fn what_would_help(role: &Role, shape: &Shape, sites: &[Site<'_>], kinds: &[Site<'_>]) -> Vec<Step> {
    let mut steps = Steps { role, shape, effect: Effect::Now, found: Vec::new() };
    for site in sites {
        steps.look_at(site);
    }
    let hopeless = !kinds.iter().any(|kind| kind.unmet == 0 && kind.stock.could_hold(shape));
    if hopeless {
        steps.effect = Effect::Sometime;
        kinds.iter().for_each(|kind| steps.look_at(kind));
    }
    kinds.iter().for_each(|kind| steps.more_agents(kind));
    steps.sorted()
}

struct Steps<'a> {
    role: &'a Role,
    shape: &'a Shape,
    effect: Effect,
    found: Vec<(u64, Step)>,
}

impl Steps<'_> {
    fn look_at(&mut self, site: &Site<'_>) {
        match site.stock.standing {
            Standing::Ready => {}
            // It is lost whatever is done.
            Standing::Leaving => return,
            Standing::Degraded | Standing::Away | Standing::Unreachable => return self.repair(site),
        }
        let findings = site.stock.judge(self.role, self.shape);
        let clauses: BTreeSet<&ClauseKind> = findings.iter().map(|finding| &finding.clause).collect();
        let obstacles = clauses.len() + usize::from(site.unmet > 0) + usize::from(site.refused.is_some());
        if obstacles != 1 {
            return;
        }
        if let Some(left) = site.refused {
            return self.add(1, StepKind::Revive { left }, site);
        }
        if site.unmet > 0 {
            return self.relax_constraint(site);
        }
        let Some(clause) = clauses.into_iter().next().cloned() else { return };
        match &clause {
            ClauseKind::Amount { resource } => self.relax_amount(resource, &findings[0], site),
            ClauseKind::Claim { number, .. } => self.relax_claim(*number, &findings, site),
            _ => {}
        }
    }

    fn repair(&mut self, site: &Site<'_>) {
        let ready = Stock { standing: Standing::Ready, ..site.stock.clone() };
        if site.unmet == 0 && site.refused.is_none() && ready.fits(self.role, self.shape) {
            self.add(400, StepKind::RepairAgent { standing: site.stock.standing }, site);
        }
    }

    fn relax_constraint(&mut self, site: &Site<'_>) {
        let relaxed = self.shape.constraint.relaxations();
        let helps = relaxed.into_iter().zip(&site.met_without).filter(|(_, met)| **met);
        for (relaxed, _) in helps {
            self.add(300, StepKind::WithoutConstraint { dropped: relaxed.dropped }, site);
        }
    }

    fn relax_amount(&mut self, resource: &Arc<str>, finding: &Finding, site: &Site<'_>) {
        let short = match &finding.cause {
            CauseKind::Locked { .. } => {
                return self.add(10, StepKind::ReleaseOffers { frameworks: site.holders.clone() }, site);
            }
            CauseKind::KeptForDevices { short }
            | CauseKind::TooSmall { short }
            | CauseKind::Reserved { short }
            | CauseKind::NotEnoughFree { short } => *short,
            _ => return,
        };
        let name = ResourceName::new(resource);
        let asked = if name == ResourceName::ports() {
            Milli::from_whole(self.shape.resources.ranges(&name).len())
        } else {
            self.shape.resources.quantities().get(&name)
        };
        let Some(to) = asked.minus(short).filter(|to| !to.is_zero()) else { return };
        let part = 100 + u64::try_from(u128::from(short.0) * 100 / u128::from(asked.0.max(1))).unwrap_or(100);
        self.add(part, StepKind::Less { resource: resource.clone(), by: short, to }, site);
    }

    fn relax_claim(&mut self, number: usize, findings: &[Finding], site: &Site<'_>) {
        let claim = &self.shape.claims[number];
        let text = claim.to_string();
        if matches!(findings[0].cause, CauseKind::Locked { .. }) {
            return self.add(10, StepKind::ReleaseOffers { frameworks: site.holders.clone() }, site);
        }
        if let Some(to) = self.fewer(number, claim, site) {
            let from = most_wanted(claim);
            let part = 100 + u64::from(from.saturating_sub(to)) * 100 / u64::from(from.max(1));
            self.add(part, StepKind::FewerDevices { claim: text.clone(), to }, site);
        }
        if self
            .fits_with(number, site, |wanted| wanted.constraints.retain(|(_, strength)| *strength != Strength::Require))
        {
            self.add(200, StepKind::WithoutTopology { claim: text.clone() }, site);
        }
        self.other_devices(number, claim, &text, site);
        if findings.iter().any(|finding| matches!(finding.cause, CauseKind::DevicesBroken { .. })) {
            self.add(350, StepKind::RepairDevices { claim: text.clone() }, site);
        }
        let there = match &findings[0].cause {
            CauseKind::NoSuchDevice { .. } | CauseKind::NoDeviceMatches { .. } => 0,
            CauseKind::TooFewDevices { there, .. } => *there,
            _ => return,
        };
        let count = usize::from(most_wanted(claim)).saturating_sub(there).max(1);
        self.add(500 + count as u64, StepKind::AddDevices { claim: text, count }, site);
    }

    /// The largest number of devices below what is asked for that is to be had.
    fn fewer(&self, number: usize, claim: &Claim, site: &Site<'_>) -> Option<u16> {
        let at_most =
            most_wanted(claim).saturating_sub(1).min(u16::try_from(site.stock.devices.len()).unwrap_or(u16::MAX));
        (1..=at_most).rev().find(|to| {
            self.fits_with(number, site, |wanted| {
                if let Count::Exactly(count) = &mut wanted.count {
                    *count = (*count).min(*to);
                }
            })
        })
    }

    fn other_devices(&mut self, number: usize, claim: &Claim, text: &str, site: &Site<'_>) {
        for (at, wanted) in claim.alternatives.iter().enumerate() {
            for relaxed in wanted.selector.relaxations() {
                let rest: &Selector = &relaxed.rest;
                let fits = self.fits_changed(number, site, |claim| claim.alternatives[at].selector = rest.clone());
                if !fits {
                    continue;
                }
                let like = Alternative { selector: rest.clone(), ..wanted.clone() };
                let models: BTreeSet<Arc<str>> = site
                    .stock
                    .devices
                    .iter()
                    .filter(|slot| suits(&like, &slot.device) && !suits(wanted, &slot.device))
                    .map(|slot| slot.device.model.clone())
                    .collect();
                let models = models.into_iter().take(4).collect();
                let kind = StepKind::OtherDevices { claim: text.to_owned(), dropped: relaxed.dropped, models };
                self.add(300, kind, site);
            }
        }
    }

    /// Whether it fits with every alternative of that claim changed.
    fn fits_with(&self, number: usize, site: &Site<'_>, change: impl Fn(&mut Alternative)) -> bool {
        self.fits_changed(number, site, |claim| claim.alternatives.iter_mut().for_each(&change))
    }

    fn fits_changed(&self, number: usize, site: &Site<'_>, change: impl Fn(&mut Claim)) -> bool {
        let mut shape = self.shape.clone();
        change(&mut shape.claims[number]);
        shape.claims != self.shape.claims && site.stock.fits(self.role, &shape)
    }

    fn more_agents(&mut self, kind: &Site<'_>) {
        if kind.unmet > 0 || !kind.stock.could_hold(self.shape) {
            return;
        }
        let mut empty = kind.stock.emptied();
        empty.standing = Standing::Ready;
        let wanted = self.shape.count.max(1);
        let each =
            (0..wanted.min(PACKED_MAX)).take_while(|_| take(&mut empty, self.role, self.shape).is_some()).count();
        let Some(each) = u32::try_from(each).ok().filter(|each| *each > 0) else { return };
        self.effect = Effect::Now;
        self.add(600 + kind.size(), StepKind::AddAgents { count: 1, for_all: wanted.div_ceil(each) }, kind);
    }

    /// Adds a step; of those that differ only in where, or by how much, the smallest is kept.
    fn add(&mut self, size: u64, kind: StepKind, site: &Site<'_>) {
        let step = Step { kind, agent: Some(site.example.clone()), agents: site.agents, effect: self.effect };
        match self.found.iter_mut().find(|(_, other)| other.kind.is_like(&step.kind) && other.effect == step.effect) {
            Some((least, known)) if size < *least => {
                *least = size;
                *known = step;
            }
            Some((least, known)) if size == *least && !matches!(step.kind, StepKind::AddAgents { .. }) => {
                known.agents += step.agents;
            }
            Some(_) => {}
            None => self.found.push((size, step)),
        }
    }

    fn sorted(mut self) -> Vec<Step> {
        self.found.sort_by_key(|(size, step)| (step.effect, *size, usize::MAX - step.agents));
        self.found.into_iter().map(|(_, step)| step).take(STEPS_MAX).collect()
    }
}

impl Site<'_> {
    /// How large an agent is, roughly, to propose the smallest that does.
    fn size(&self) -> u64 {
        let whole: Resources = self.stock.total.without_devices();
        let cpus = whole.quantities().get(&ResourceName::Cpus).0 / 1000;
        (cpus + 100 * self.stock.devices.len() as u64).min(10_000)
    }
}

impl StepKind {
    /// Whether the two differ at most in where, and by how much.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Less { resource, .. }, Self::Less { resource: other, .. }) => resource == other,
            (Self::FewerDevices { claim, .. }, Self::FewerDevices { claim: other, .. })
            | (Self::WithoutTopology { claim }, Self::WithoutTopology { claim: other })
            | (Self::RepairDevices { claim }, Self::RepairDevices { claim: other })
            | (Self::AddDevices { claim, .. }, Self::AddDevices { claim: other, .. }) => claim == other,
            (Self::OtherDevices { claim, dropped, .. }, Self::OtherDevices { claim: other, dropped: also, .. }) => {
                claim == other && dropped == also
            }
            (Self::WithoutConstraint { dropped }, Self::WithoutConstraint { dropped: other }) => dropped == other,
            (Self::RepairAgent { standing }, Self::RepairAgent { standing: other }) => standing == other,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

/// The largest number of devices that an alternative of the claim asks for; one, for those that ask for all.
fn most_wanted(claim: &Claim) -> u16 {
    let wanted = |wanted: &Alternative| match wanted.count {
        Count::Exactly(count) => count,
        Count::All => 1,
    };
    claim.alternatives.iter().map(wanted).max().unwrap_or(1)
}
