//! Stages that run only where a machine costs little: they are held back while none does, and their partitions are placed on such that do.

use rialto_sdk::core::model::{Prices, Selector};
use rialto_sdk::core::scheduler::Out;

use super::{Effect, Policy};
use crate::spec::Stage;

/// Where the partitions of a stage may be started, by what machines cost now.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Places {
    /// It says nothing of prices.
    All,
    /// On machines that are like that: they are cheap enough.
    Like(Selector),
    /// Nowhere: no price that is known is low enough.
    None,
}

impl Places {
    /// Where the partitions of `stage` may be started.
    pub(super) fn of(stage: &Stage, prices: &Prices) -> Self {
        match stage.max_price {
            None => Self::All,
            Some(max) => prices.at_most(max).map_or(Self::None, Self::Like),
        }
    }
}

impl Policy {
    /// Machines cost something else than before, or nothing is known any more. What runs goes on.
    pub(super) fn heed_prices(&mut self, out: &mut Out<Effect>) {
        for (at, stage) in self.plan.job.stages.iter().enumerate() {
            let places = Places::of(stage, out.prices());
            let was = std::mem::replace(&mut self.places[at], places);
            if let (Places::None, Places::Like(like)) = (was, &self.places[at])
                && self.told_held
            {
                out.effect(Effect::Note(format!("stage {}: goes on where {}", stage.name, like.as_str())));
            }
        }
    }

    /// Whether the stage is held back, because no machine is cheap enough for it.
    pub(super) fn is_held(&self, stage: usize) -> bool {
        self.places[stage] == Places::None
    }

    /// Says, once, which of the stages that could start are held back.
    pub(super) fn tell_held(&mut self, out: &mut Out<Effect>) {
        if std::mem::replace(&mut self.told_held, true) {
            return;
        }
        for stage in self.ready.stages().into_iter().filter(|stage| self.is_held(*stage)) {
            let stage = &self.plan.job.stages[stage];
            let max = stage.max_price.map(|max| max.to_string()).unwrap_or_default();
            let text = format!(
                "stage {}: held back until a machine costs at most {max} an hour; rialto price shows what they cost",
                stage.name
            );
            out.effect(Effect::Note(text));
        }
    }
}
