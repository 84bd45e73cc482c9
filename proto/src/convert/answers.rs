//! When something will run, and what would help it.

use rialto_core::allocator::help::{Advice, Effect, Step, StepKind, WaitAdvice};
use rialto_core::allocator::history::{Calibration, Estimate};
use rialto_core::allocator::when::{Bound, Forecast, WaitForecast};
use rialto_core::model::Milli;

use super::error::{At, ConvertError};
use super::explain::{MAX_PARTS, count, framework_ids};
use super::{Converted, Wire, duration, inside, list, micros, one_of, optional, required, text, to_list};
use crate::v1;
use crate::v1::help_step::Kind;
use crate::v1::wait_forecast::Bound as BoundKind;

const NOTHING: v1::Nothing = v1::Nothing {};

impl Wire for Forecast {
    type Message = v1::Forecast;

    fn to_wire(&self) -> v1::Forecast {
        v1::Forecast { subject: self.subject.clone(), waits: to_list(&self.waits) }
    }

    fn from_wire(forecast: v1::Forecast) -> Converted<Self> {
        Ok(Self { subject: forecast.subject, waits: list(forecast.waits, "waits", MAX_PARTS)? })
    }
}

impl Wire for WaitForecast {
    type Message = v1::WaitForecast;

    fn to_wire(&self) -> v1::WaitForecast {
        v1::WaitForecast {
            what: Some(self.what.to_wire()),
            bound: Some(to_bound(&self.bound)),
            estimate: self.estimate.as_ref().map(Wire::to_wire),
            calibration: Some(self.calibration.to_wire()),
        }
    }

    fn from_wire(wait: v1::WaitForecast) -> Converted<Self> {
        Ok(Self {
            what: required(wait.what, "what")?,
            bound: from_bound(one_of(wait.bound).at("bound")?).at("bound")?,
            estimate: optional(wait.estimate, "estimate")?,
            calibration: required(wait.calibration, "calibration")?,
        })
    }
}

fn to_bound(bound: &Bound) -> BoundKind {
    match bound {
        Bound::Now { agent } => BoundKind::Now(agent.to_wire()),
        Bound::By { after, agent, ends, ahead } => BoundKind::By(v1::BoundBy {
            after_us: micros(*after),
            agent: Some(agent.to_wire()),
            ends: *ends as u64,
            ahead: *ahead as u64,
        }),
        Bound::Unknown { undeclared, overdue } => {
            BoundKind::Unknown(v1::BoundUnknown { undeclared: *undeclared as u64, overdue: *overdue as u64 })
        }
        Bound::Never => BoundKind::Never(NOTHING),
        Bound::TooIntricate => BoundKind::TooIntricate(NOTHING),
    }
}

fn from_bound(bound: BoundKind) -> Converted<Bound> {
    Ok(match bound {
        BoundKind::Now(agent) => Bound::Now { agent: inside(agent, "now")? },
        BoundKind::By(by) => Bound::By {
            after: duration(by.after_us, "after_us")?,
            agent: required(by.agent, "agent")?,
            ends: count(by.ends, "ends")?,
            ahead: count(by.ahead, "ahead")?,
        },
        BoundKind::Unknown(unknown) => Bound::Unknown {
            undeclared: count(unknown.undeclared, "undeclared")?,
            overdue: count(unknown.overdue, "overdue")?,
        },
        BoundKind::Never(_) => Bound::Never,
        BoundKind::TooIntricate(_) => Bound::TooIntricate,
    })
}

impl Wire for Estimate {
    type Message = v1::Estimate;

    fn to_wire(&self) -> v1::Estimate {
        v1::Estimate { waits: self.waits as u64, median_us: micros(self.median), p90_us: micros(self.p90) }
    }

    fn from_wire(estimate: v1::Estimate) -> Converted<Self> {
        Ok(Self {
            waits: count(estimate.waits, "waits")?,
            median: duration(estimate.median_us, "median_us")?,
            p90: duration(estimate.p90_us, "p90_us")?,
        })
    }
}

impl Wire for Calibration {
    type Message = v1::Calibration;

    fn to_wire(&self) -> v1::Calibration {
        let Self { judged, within_median, within_p90 } = *self;
        v1::Calibration { judged, within_median, within_p90 }
    }

    fn from_wire(calibration: v1::Calibration) -> Converted<Self> {
        let v1::Calibration { judged, within_median, within_p90 } = calibration;
        Ok(Self { judged, within_median, within_p90 })
    }
}

impl Wire for Advice {
    type Message = v1::Advice;

    fn to_wire(&self) -> v1::Advice {
        v1::Advice { subject: self.subject.clone(), waits: to_list(&self.waits) }
    }

    fn from_wire(advice: v1::Advice) -> Converted<Self> {
        Ok(Self { subject: advice.subject, waits: list(advice.waits, "waits", MAX_PARTS)? })
    }
}

impl Wire for WaitAdvice {
    type Message = v1::WaitAdvice;

    fn to_wire(&self) -> v1::WaitAdvice {
        v1::WaitAdvice {
            what: Some(self.what.to_wire()),
            ready: self.ready as u64,
            steps: to_list(&self.steps),
            evaluations: self.evaluations as u64,
        }
    }

    fn from_wire(wait: v1::WaitAdvice) -> Converted<Self> {
        Ok(Self {
            what: required(wait.what, "what")?,
            ready: count(wait.ready, "ready")?,
            steps: list(wait.steps, "steps", MAX_PARTS)?,
            evaluations: count(wait.evaluations, "evaluations")?,
        })
    }
}

impl Wire for Step {
    type Message = v1::HelpStep;

    fn to_wire(&self) -> v1::HelpStep {
        v1::HelpStep {
            agent: self.agent.as_ref().map(Wire::to_wire),
            agents: self.agents as u64,
            sometime: self.effect == Effect::Sometime,
            kind: Some(to_kind(&self.kind)),
        }
    }

    fn from_wire(step: v1::HelpStep) -> Converted<Self> {
        Ok(Self {
            kind: from_kind(one_of(step.kind)?)?,
            agent: optional(step.agent, "agent")?,
            agents: count(step.agents, "agents")?,
            effect: if step.sometime { Effect::Sometime } else { Effect::Now },
        })
    }
}

fn to_kind(kind: &StepKind) -> Kind {
    match kind {
        StepKind::Reconnect => Kind::Reconnect(NOTHING),
        StepKind::Unsuppress => Kind::Unsuppress(NOTHING),
        StepKind::Revive { left } => Kind::ReviveLeftUs(micros(*left)),
        StepKind::ReleaseOffers { frameworks } => {
            Kind::ReleaseOffers(v1::FrameworkIds { frameworks: to_list(frameworks) })
        }
        StepKind::Less { resource, by, to } => {
            Kind::Less(v1::AskLess { resource: resource.as_ref().to_owned(), by_milli: by.0, to_milli: to.0 })
        }
        StepKind::FewerDevices { claim, to } => {
            Kind::FewerDevices(v1::FewerDevices { claim: claim.clone(), to: u32::from(*to) })
        }
        StepKind::WithoutTopology { claim } => Kind::WithoutTopology(claim.clone()),
        StepKind::OtherDevices { claim, dropped, models } => Kind::OtherDevices(v1::OtherDevices {
            claim: claim.clone(),
            dropped: dropped.clone(),
            models: models.iter().map(|model| model.as_ref().to_owned()).collect(),
        }),
        StepKind::WithoutConstraint { dropped } => Kind::WithoutConstraint(dropped.clone()),
        StepKind::RepairAgent { standing } => Kind::RepairAgent(standing.to_wire()),
        StepKind::RepairDevices { claim } => Kind::RepairDevices(claim.clone()),
        StepKind::AddDevices { claim, count } => {
            Kind::AddDevices(v1::AddDevices { claim: claim.clone(), count: *count as u64 })
        }
        StepKind::RaiseLimit { role, resource, by } => Kind::RaiseLimit(v1::RaiseLimit {
            role: role.to_wire(),
            resource: resource.as_ref().to_owned(),
            by_milli: by.0,
        }),
        StepKind::AddAgents { count, for_all } => Kind::AddAgents(v1::AddAgents { count: *count, for_all: *for_all }),
    }
}

fn from_kind(kind: Kind) -> Converted<StepKind> {
    Ok(match kind {
        Kind::Reconnect(_) => StepKind::Reconnect,
        Kind::Unsuppress(_) => StepKind::Unsuppress,
        Kind::ReviveLeftUs(left) => StepKind::Revive { left: duration(left, "revive_left_us")? },
        Kind::ReleaseOffers(ids) => StepKind::ReleaseOffers { frameworks: framework_ids(ids, "release_offers")? },
        Kind::Less(less) => StepKind::Less {
            resource: text(&less.resource, "less.resource")?,
            by: Milli(less.by_milli),
            to: Milli(less.to_milli),
        },
        Kind::FewerDevices(fewer) => {
            let to = u16::try_from(fewer.to).map_err(ConvertError::here).at("fewer_devices.to")?;
            StepKind::FewerDevices { claim: fewer.claim, to }
        }
        Kind::WithoutTopology(claim) => StepKind::WithoutTopology { claim },
        Kind::OtherDevices(other) => StepKind::OtherDevices {
            claim: other.claim,
            dropped: other.dropped,
            models: other.models.iter().map(|model| text(model, "other_devices.models")).collect::<Converted<_>>()?,
        },
        Kind::WithoutConstraint(dropped) => StepKind::WithoutConstraint { dropped },
        Kind::RepairAgent(standing) => StepKind::RepairAgent { standing: inside(standing, "repair_agent")? },
        Kind::RepairDevices(claim) => StepKind::RepairDevices { claim },
        Kind::AddDevices(add) => {
            StepKind::AddDevices { claim: add.claim, count: count(add.count, "add_devices.count")? }
        }
        Kind::RaiseLimit(raise) => StepKind::RaiseLimit {
            role: inside(raise.role, "raise_limit.role")?,
            resource: text(&raise.resource, "raise_limit.resource")?,
            by: Milli(raise.by_milli),
        },
        Kind::AddAgents(v1::AddAgents { count, for_all }) => StepKind::AddAgents { count, for_all },
    })
}
