//! What a run has in it: manners of frameworks, offer modes, roles, faults that struck, and what came of them.
//!
//! Each is a word; a test asks that every word occurs in few runs, so that a change of the plan can't silently leave something out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rialto_core::master::view::View;
use rialto_core::model::{
    Attribute, AttributeConstraint, Domain, Least, Milli, OfferConstraints, OfferMode, OfferRules, Pace, Predicate,
    Quantities, Regions, ReservationKind, ResourceName, Subject,
};

use crate::converge::is_quarantined;
use crate::dice::Dice;
use crate::fault::Fault;
use crate::plan::{AgentPlan, FrameworkPlan, Manner, Plan, draw_agent, draw_later_faults};

/// Every word, those of the faults apart.
const WORDS: [&str; 35] = [
    "5 agents or more",
    "batch",
    "buggy",
    "declared demand",
    "declining",
    "devices",
    "exclusive offers",
    "gangs",
    "greedy",
    "groups",
    "hoarding",
    "nested roles",
    "optimistic offers",
    "priorities",
    "service",
    "shares of devices",
    "silent",
    "slow",
    "guarantee",
    "limit",
    "nonsense said",
    "offer conflict",
    "preemption",
    "quarantine",
    "reservation",
    "slow store",
    "volume",
    "adaptive refusals",
    "constraints",
    "hesitating",
    "offer mode of a role",
    "regions",
    "smallest offers",
    "torn commit",
    "announced agent taken away",
];

/// Every word that a run may have in it, the names of the faults among them.
pub fn words() -> impl Iterator<Item = &'static str> {
    WORDS.into_iter().chain(Fault::ALL.map(Fault::name))
}

impl Plan {
    /// What came later to the plans: drawn apart, so that the runs of seeds without it stay what they were.
    pub(crate) fn widen(&mut self) {
        let dice = &mut Dice::child(self.seed, "mix");
        if dice.chance(400) {
            let count = dice.count(5, 8);
            while self.agents.len() < count {
                let agent = draw_agent(dice, self.agents.len());
                self.agents.push(agent);
            }
        }
        let all_declare = self.frameworks.iter().all(|plan| plan.declares || plan.jobs.is_empty());
        for framework in &mut self.frameworks {
            // Shorter than a turn lasts: who is slower than that has no right to a place.
            let slow = dice.span((Duration::from_millis(20), Duration::from_secs(1)));
            framework.slow = dice.chance(200).then_some(slow);
            // Who says nothing has no right against one that locks more than it needs.
            let may_be_greedy = framework.declares && (all_declare || framework.mode == OfferMode::Optimistic);
            framework.greedy = dice.chance(200) && may_be_greedy;
            framework.buggy = dice.chance(200);
        }
        // One that locks all it gets has no place beside who does not say what it waits for.
        if self.frameworks.iter().any(|plan| plan.manner == Manner::Hoarder) && dice.chance(400) {
            for framework in &mut self.frameworks {
                framework.declares = true;
                if framework.manner == Manner::Hoarder {
                    framework.mode = OfferMode::Exclusive;
                }
            }
        }
        self.widen_more();
    }

    /// What came later still.
    fn widen_more(&mut self) {
        // A run without faults stays one.
        if !self.faults.is_empty() {
            self.faults.extend(draw_later_faults(&mut Dice::child(self.seed, "later faults")));
        }
        let dice = &mut Dice::child(self.seed, "mix 2");
        self.tears = if dice.chance(300) { dice.between(5, 100) } else { 0 };
        self.has_regions = dice.chance(300);
        for (at, agent) in self.agents.iter_mut().enumerate() {
            // Every framework may use the first machine, so that each job can be run.
            agent.is_far = at > 0 && self.has_regions && dice.chance(400);
            agent.domain = self.has_regions.then_some(match (agent.is_far, dice.chance(500)) {
                (true, _) => "far/z1",
                (false, true) => "home/z1",
                (false, false) => "home/z2",
            });
            agent.in_rack = at == 0 || dice.chance(500);
        }
        for framework in &mut self.frameworks {
            framework.hesitates = dice.chance(150);
            framework.pace = if dice.chance(250) { Pace::Adaptive } else { Pace::AsSaid };
            framework.wants_rack = dice.chance(200);
            framework.least_cpus = dice.chance(200).then(|| Milli(dice.between(1, 20) * 100));
            let regions = if dice.chance(500) { Regions::All } else { Regions::Home };
            framework.rules = OfferRules { regions, ..framework.draw_rules() };
        }
    }

    /// Where the master stands, if it was told.
    pub(crate) fn domain(&self) -> Option<Domain> {
        self.has_regions.then(|| "home/z1".parse().expect("a literal domain"))
    }

    /// What is in it.
    pub(crate) fn mix(&self) -> BTreeSet<&'static str> {
        let mut mix: BTreeSet<&'static str> = self.frameworks.iter().flat_map(FrameworkPlan::mix).collect();
        let devices = || self.agents.iter().flat_map(|agent| &agent.devices);
        mix.extend((self.agents.len() >= 5).then_some("5 agents or more"));
        mix.extend(devices().next().map(|_| "devices"));
        mix.extend(self.agents.iter().any(|agent| agent.is_far).then_some("regions"));
        mix.extend((self.commit.1 > Duration::from_millis(100)).then_some("slow store"));
        mix
    }
}

impl AgentPlan {
    /// What it is like.
    pub(crate) fn attributes(&self) -> BTreeMap<Arc<str>, Attribute> {
        [("rack".into(), Attribute::parse(if self.in_rack { "r1" } else { "r2" }))].into()
    }

    /// Where it stands, if it was told.
    pub(crate) fn domain(&self) -> Option<Domain> {
        self.domain.map(|text| text.parse().expect("a literal domain"))
    }
}

impl FrameworkPlan {
    /// What it asks of the offers for its role.
    fn draw_rules(&self) -> OfferRules {
        let mut rules = OfferRules::default();
        if self.wants_rack {
            let of = Subject::attribute("rack").expect("a literal name");
            let predicate = Predicate::equals("r1").expect("a literal text");
            let constraints = OfferConstraints::any_of(vec![vec![AttributeConstraint { of, predicate }]]);
            rules.constraints.insert(self.role.clone(), constraints.expect("one constraint is not too many"));
        }
        if let Some(cpus) = self.least_cpus {
            let mut amounts = Quantities::new();
            amounts.set(&ResourceName::Cpus, cpus);
            let least = Least::any_of(vec![amounts]).expect("one alternative is not too many");
            rules.least.insert(self.role.clone(), least);
        }
        rules
    }

    /// The end of the line that tells of it.
    pub(crate) fn describe_rules(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.hesitates, ", hesitates".to_owned()),
            (self.pace == Pace::Adaptive, ", refuses adaptively".to_owned()),
            (self.rules.regions == Regions::All, ", takes all regions".to_owned()),
            (self.wants_rack, ", wants rack r1".to_owned()),
            (self.least_cpus.is_some(), format!(", takes no less than {} cpus", self.least_cpus.unwrap_or_default())),
        ];
        parts.iter().filter(|(holds, _)| *holds).try_for_each(|(_, text)| f.write_str(text))?;
        writeln!(f)
    }

    fn mix(&self) -> Vec<&'static str> {
        let manner = match (self.manner, self.mode) {
            (Manner::Batch, _) => "batch",
            (Manner::Service, _) => "service",
            (Manner::Hoarder, OfferMode::Exclusive) => "hoarding",
            (Manner::Hoarder, OfferMode::Optimistic) => "silent",
            (Manner::Decliner, _) => "declining",
        };
        let mode = if self.mode == OfferMode::Exclusive { "exclusive offers" } else { "optimistic offers" };
        let traits = [
            (self.slow.is_some(), "slow"),
            (self.greedy, "greedy"),
            (self.buggy, "buggy"),
            (self.hesitates, "hesitating"),
            (self.pace == Pace::Adaptive, "adaptive refusals"),
            (self.wants_rack, "constraints"),
            (self.least_cpus.is_some(), "smallest offers"),
            (self.declares, "declared demand"),
            (self.role.as_str().contains('/'), "nested roles"),
            (self.jobs.iter().any(|job| job.gang && job.members > 1), "gangs"),
            (self.jobs.iter().any(|job| !job.gang && job.members > 1), "groups"),
            (self.jobs.iter().any(|job| job.priority > 0), "priorities"),
            (
                self.jobs.iter().any(|job| job.claims.iter().any(|c| c.to_string().contains("share"))),
                "shares of devices",
            ),
        ];
        let traits = traits.into_iter().filter(|(holds, _)| *holds).map(|(_, word)| word);
        [manner, mode].into_iter().chain(traits).collect()
    }
}

/// What is to be seen in a master's rows.
pub(crate) fn seen_in(view: &View) -> BTreeSet<&'static str> {
    let quotas = || view.roles.values().map(|row| &row.usage.quota);
    let flavors = || view.agents.values().flat_map(|row| row.total.iter()).map(|(flavor, _)| flavor);
    let is_dynamic = |kind: ReservationKind| kind == ReservationKind::Dynamic;
    let words = [
        (quotas().any(|quota| !quota.limit.is_empty()), "limit"),
        (quotas().any(|quota| !quota.guarantee.is_empty()), "guarantee"),
        (flavors().any(|flavor| flavor.reservations.last().is_some_and(|top| is_dynamic(top.kind))), "reservation"),
        (flavors().any(|flavor| flavor.volume.is_some()), "volume"),
        (view.devices.values().any(|row| is_quarantined(&row.state)), "quarantine"),
    ];
    words.into_iter().filter(|(holds, _)| *holds).map(|(_, word)| word).collect()
}
