//! What a run has in it: manners of frameworks, offer modes, roles, faults that struck, and what came of them.
//!
//! Each is a word; a test asks that every word occurs in few runs, so that a change of the plan can't silently leave something out.

use std::collections::BTreeSet;
use std::time::Duration;

use rialto_core::master::view::View;
use rialto_core::model::{OfferMode, ReservationKind};

use crate::converge::is_quarantined;
use crate::dice::Dice;
use crate::fault::Fault;
use crate::plan::{FrameworkPlan, Manner, Plan, draw_agent};

/// Every word, those of the faults apart.
const WORDS: [&str; 27] = [
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
    }

    /// What is in it.
    pub(crate) fn mix(&self) -> BTreeSet<&'static str> {
        let mut mix: BTreeSet<&'static str> = self.frameworks.iter().flat_map(FrameworkPlan::mix).collect();
        let devices = || self.agents.iter().flat_map(|agent| &agent.devices);
        mix.extend((self.agents.len() >= 5).then_some("5 agents or more"));
        mix.extend(devices().next().map(|_| "devices"));
        mix.extend((self.commit.1 > Duration::from_millis(100)).then_some("slow store"));
        mix
    }
}

impl FrameworkPlan {
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
