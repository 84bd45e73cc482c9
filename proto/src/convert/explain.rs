//! Why something waits.

use std::sync::Arc;

use rialto_core::allocator::explain::{
    AgentRef, Cause, CauseKind, Clause, ClauseKind, DeviceNote, Explanation, Outlook, TaskNote, TaskWait, Wait, Waiting,
};
use rialto_core::allocator::stock::Standing;
use rialto_core::model::{FrameworkId, Milli, Role};

use super::error::{At, ConvertError};
use super::{
    Converted, Wire, duration, inside, list, micros, one_of, optional, optional_duration, optional_text, required,
    text, to_list, wire_enum,
};
use crate::v1;
use crate::v1::cause::Kind;
use crate::v1::clause::Kind as Part;
use crate::v1::explained_task::WaitsFor;

const NOTHING: v1::Nothing = v1::Nothing {};
/// The most shapes, clauses, causes, devices or ids in an answer.
pub(super) const MAX_PARTS: usize = 65_536;

wire_enum!(Outlook, v1::Outlook, { Possible, Hopeless, Unknown });
wire_enum!(Standing, v1::Standing, { Ready, Degraded, Away, Unreachable, Leaving });

impl Wire for Explanation {
    type Message = v1::Explanation;

    fn to_wire(&self) -> v1::Explanation {
        v1::Explanation {
            subject: self.subject.clone(),
            waits: to_list(&self.waits),
            task: self.task.as_ref().map(Wire::to_wire),
        }
    }

    fn from_wire(explanation: v1::Explanation) -> Converted<Self> {
        Ok(Self {
            subject: explanation.subject,
            waits: list(explanation.waits, "waits", MAX_PARTS)?,
            task: optional(explanation.task, "task")?,
        })
    }
}

impl Wire for AgentRef {
    type Message = v1::AgentRef;

    fn to_wire(&self) -> v1::AgentRef {
        v1::AgentRef { agent: Some(self.id.to_wire()), name: self.name.as_ref().to_owned() }
    }

    fn from_wire(agent: v1::AgentRef) -> Converted<Self> {
        Ok(Self { id: required(agent.agent, "agent")?, name: Arc::from(agent.name) })
    }
}

impl Wire for TaskNote {
    type Message = v1::ExplainedTask;

    fn to_wire(&self) -> v1::ExplainedTask {
        v1::ExplainedTask {
            task: Some(self.key.to_wire()),
            state: self.state.to_wire(),
            message: self.message.as_ref().to_owned(),
            lasting_us: micros(self.lasting),
            agent: self.agent.as_ref().map(Wire::to_wire),
            waits_for: self.waits_for.as_ref().map(to_waits_for),
        }
    }

    fn from_wire(task: v1::ExplainedTask) -> Converted<Self> {
        Ok(Self {
            key: required(task.task, "task")?,
            state: inside(task.state, "state")?,
            message: Arc::from(task.message),
            lasting: duration(task.lasting_us, "lasting_us")?,
            agent: optional(task.agent, "agent")?,
            waits_for: task.waits_for.map(from_waits_for).transpose()?,
        })
    }
}

fn to_waits_for(wait: &TaskWait) -> WaitsFor {
    match wait {
        TaskWait::AgentsAnswer => WaitsFor::AgentsAnswer(NOTHING),
        TaskWait::Preparation => WaitsFor::Preparation(NOTHING),
        TaskWait::AgentsReturn { given_up_in } => {
            WaitsFor::AgentsReturn(v1::AgentsReturn { given_up_in_us: given_up_in.map(micros) })
        }
        TaskWait::End { grace } => WaitsFor::EndGraceUs(micros(*grace)),
        TaskWait::Acknowledgement => WaitsFor::Acknowledgement(NOTHING),
        TaskWait::Gang { holding, agents } => {
            WaitsFor::Gang(v1::GangWait { holding: *holding as u64, agents: *agents as u64 })
        }
    }
}

fn from_waits_for(wait: WaitsFor) -> Converted<TaskWait> {
    Ok(match wait {
        WaitsFor::AgentsAnswer(_) => TaskWait::AgentsAnswer,
        WaitsFor::Preparation(_) => TaskWait::Preparation,
        WaitsFor::AgentsReturn(wait) => {
            TaskWait::AgentsReturn { given_up_in: optional_duration(wait.given_up_in_us, "given_up_in_us")? }
        }
        WaitsFor::EndGraceUs(grace) => TaskWait::End { grace: duration(grace, "end_grace_us")? },
        WaitsFor::Acknowledgement(_) => TaskWait::Acknowledgement,
        WaitsFor::Gang(gang) => {
            TaskWait::Gang { holding: count(gang.holding, "holding")?, agents: count(gang.agents, "agents")? }
        }
    })
}

impl Wire for Waiting {
    type Message = v1::Waiting;

    fn to_wire(&self) -> v1::Waiting {
        v1::Waiting {
            framework: Some(self.framework.to_wire()),
            role: self.role.to_wire(),
            shape: self.shape.as_ref().to_owned(),
            asks: self.asks.clone(),
            count: self.count,
            waited_us: micros(self.waited),
        }
    }

    fn from_wire(waiting: v1::Waiting) -> Converted<Self> {
        Ok(Self {
            framework: required(waiting.framework, "framework")?,
            role: inside(waiting.role, "role")?,
            shape: text(&waiting.shape, "shape")?,
            asks: waiting.asks,
            count: waiting.count,
            waited: duration(waiting.waited_us, "waited_us")?,
        })
    }
}

impl Wire for Wait {
    type Message = v1::Wait;

    fn to_wire(&self) -> v1::Wait {
        v1::Wait {
            what: Some(self.what.to_wire()),
            outlook: self.outlook.to_wire(),
            agents: self.agents as u64,
            ready: self.ready as u64,
            evaluations: self.evaluations as u64,
            clauses: to_list(&self.clauses),
        }
    }

    fn from_wire(wait: v1::Wait) -> Converted<Self> {
        Ok(Self {
            what: required(wait.what, "what")?,
            outlook: inside(wait.outlook, "outlook")?,
            agents: count(wait.agents, "agents")?,
            ready: count(wait.ready, "ready")?,
            evaluations: count(wait.evaluations, "evaluations")?,
            clauses: list(wait.clauses, "clauses", MAX_PARTS)?,
        })
    }
}

pub(super) fn count(number: u64, field: &str) -> Converted<usize> {
    usize::try_from(number).map_err(ConvertError::here).at(field)
}

impl Wire for Clause {
    type Message = v1::Clause;

    fn to_wire(&self) -> v1::Clause {
        v1::Clause {
            agents: self.agents as u64,
            alone: self.alone as u64,
            causes: to_list(&self.causes),
            kind: Some(to_part(&self.kind)),
        }
    }

    fn from_wire(clause: v1::Clause) -> Converted<Self> {
        Ok(Self {
            kind: from_part(one_of(clause.kind)?)?,
            agents: count(clause.agents, "agents")?,
            alone: count(clause.alone, "alone")?,
            causes: list(clause.causes, "causes", MAX_PARTS)?,
        })
    }
}

fn to_part(kind: &ClauseKind) -> Part {
    match kind {
        ClauseKind::Framework => Part::Framework(NOTHING),
        ClauseKind::Offers => Part::Offers(NOTHING),
        ClauseKind::Order => Part::Order(NOTHING),
        ClauseKind::Amount { resource } => Part::Amount(resource.as_ref().to_owned()),
        ClauseKind::Claim { number, text } => {
            Part::Claim(v1::ClaimClause { number: u32::try_from(*number).unwrap_or(u32::MAX), text: text.clone() })
        }
        ClauseKind::Claims => Part::Claims(NOTHING),
        ClauseKind::Constraint { text } => Part::Constraint(text.clone()),
        ClauseKind::Filters => Part::Filters(NOTHING),
        ClauseKind::Agents => Part::Agent(NOTHING),
        ClauseKind::Volumes => Part::Volumes(NOTHING),
        ClauseKind::Quota => Part::Quota(NOTHING),
        ClauseKind::Rules => Part::Rules(NOTHING),
    }
}

fn from_part(part: Part) -> Converted<ClauseKind> {
    Ok(match part {
        Part::Framework(_) => ClauseKind::Framework,
        Part::Offers(_) => ClauseKind::Offers,
        Part::Order(_) => ClauseKind::Order,
        Part::Amount(resource) => ClauseKind::Amount { resource: text(&resource, "amount")? },
        Part::Claim(claim) => {
            ClauseKind::Claim { number: count(claim.number.into(), "claim.number")?, text: claim.text }
        }
        Part::Claims(_) => ClauseKind::Claims,
        Part::Constraint(text) => ClauseKind::Constraint { text },
        Part::Filters(_) => ClauseKind::Filters,
        Part::Agent(_) => ClauseKind::Agents,
        Part::Volumes(_) => ClauseKind::Volumes,
        Part::Quota(_) => ClauseKind::Quota,
        Part::Rules(_) => ClauseKind::Rules,
    })
}

impl Wire for Cause {
    type Message = v1::Cause;

    fn to_wire(&self) -> v1::Cause {
        v1::Cause {
            agents: self.agents as u64,
            nearest: self.nearest.as_ref().map(Wire::to_wire),
            kind: Some(to_kind(&self.kind)),
        }
    }

    fn from_wire(cause: v1::Cause) -> Converted<Self> {
        Ok(Self {
            agents: count(cause.agents, "agents")?,
            nearest: optional(cause.nearest, "nearest")?,
            kind: from_kind(one_of(cause.kind)?)?,
        })
    }
}

fn to_kind(kind: &CauseKind) -> Kind {
    let notes = |devices: &[DeviceNote]| v1::DeviceNotes { devices: to_list(devices) };
    match kind {
        CauseKind::FrameworkAway => Kind::FrameworkAway(NOTHING),
        CauseKind::Suppressed => Kind::Suppressed(NOTHING),
        CauseKind::Offered => Kind::Offered(NOTHING),
        CauseKind::OthersFirst { others, smaller_share } => {
            Kind::OthersFirst(v1::OthersFirst { others: to_list(others), smaller_share: *smaller_share as u64 })
        }
        CauseKind::TooSmall { short } => Kind::TooSmallMilli(short.0),
        CauseKind::Reserved { short } => Kind::ReservedMilli(short.0),
        CauseKind::NotEnoughFree { short } => Kind::NotEnoughFreeMilli(short.0),
        CauseKind::Locked { frameworks } => Kind::Locked(v1::FrameworkIds { frameworks: to_list(frameworks) }),
        CauseKind::NoSuchDevice { kind } => Kind::NoSuchDevice(kind.as_ref().to_owned()),
        CauseKind::NoDeviceMatches { kind, nearest } => {
            Kind::NoDeviceMatches(v1::NoDeviceMatches { kind: kind.as_ref().to_owned(), nearest: nearest.clone() })
        }
        CauseKind::TooFewDevices { there, wanted } => {
            Kind::TooFewDevices(v1::TooFewDevices { there: *there as u64, wanted: *wanted as u64 })
        }
        CauseKind::Topology { even_empty } => Kind::TopologyEvenEmpty(*even_empty),
        CauseKind::NotTogether => Kind::NotTogether(NOTHING),
        CauseKind::DevicesHeld { devices } => Kind::DevicesHeld(notes(devices)),
        CauseKind::DevicesCleaning { devices } => Kind::DevicesCleaning(notes(devices)),
        CauseKind::DevicesBroken { devices } => Kind::DevicesBroken(notes(devices)),
        CauseKind::ConstraintNotMet { unmet } => Kind::ConstraintNotMet(unmet.clone()),
        CauseKind::Filtered { left, reason } => Kind::Filtered(v1::Filtered {
            left_us: micros(*left),
            reason: reason.as_ref().map(|reason| reason.as_ref().to_owned()),
        }),
        CauseKind::AgentAway { standing } => Kind::AgentAway(standing.to_wire()),
        CauseKind::OfferLimit { standing } => Kind::OfferLimit(*standing),
        CauseKind::KeptForDevices { short } => Kind::KeptForDevicesMilli(short.0),
        CauseKind::HeldForOthers => Kind::HeldForOthers(NOTHING),
        CauseKind::OverQuota { role, resource, limit, held, over } => Kind::OverQuota(v1::OverQuota {
            role: role.to_wire(),
            resource: resource.as_ref().to_owned(),
            limit_milli: limit.0,
            held_milli: held.0,
            over_milli: over.0,
        }),
        CauseKind::VolumeElsewhere => Kind::VolumeElsewhere(NOTHING),
        CauseKind::VolumeInUse => Kind::VolumeInUse(NOTHING),
        CauseKind::OtherRegion { region } => Kind::OtherRegion(region.as_ref().to_owned()),
        CauseKind::NotAdmitted { unmet } => Kind::NotAdmitted(unmet.clone()),
        CauseKind::BelowLeast { least } => Kind::BelowLeast(least.clone()),
    }
}

fn from_kind(kind: Kind) -> Converted<CauseKind> {
    let notes = |notes: v1::DeviceNotes| list(notes.devices, "devices", MAX_PARTS);
    Ok(match kind {
        Kind::FrameworkAway(_) => CauseKind::FrameworkAway,
        Kind::Suppressed(_) => CauseKind::Suppressed,
        Kind::Offered(_) => CauseKind::Offered,
        Kind::OthersFirst(first) => CauseKind::OthersFirst {
            others: list(first.others, "others", MAX_PARTS)?,
            smaller_share: count(first.smaller_share, "smaller_share")?,
        },
        Kind::TooSmallMilli(short) => CauseKind::TooSmall { short: Milli(short) },
        Kind::ReservedMilli(short) => CauseKind::Reserved { short: Milli(short) },
        Kind::NotEnoughFreeMilli(short) => CauseKind::NotEnoughFree { short: Milli(short) },
        Kind::Locked(locked) => CauseKind::Locked { frameworks: framework_ids(locked, "locked")? },
        Kind::NoSuchDevice(kind) => CauseKind::NoSuchDevice { kind: text(&kind, "no_such_device")? },
        Kind::NoDeviceMatches(v1::NoDeviceMatches { kind, nearest }) => {
            CauseKind::NoDeviceMatches { kind: text(&kind, "no_device_matches.kind")?, nearest }
        }
        Kind::TooFewDevices(few) => {
            CauseKind::TooFewDevices { there: count(few.there, "there")?, wanted: count(few.wanted, "wanted")? }
        }
        Kind::TopologyEvenEmpty(even_empty) => CauseKind::Topology { even_empty },
        Kind::NotTogether(_) => CauseKind::NotTogether,
        Kind::DevicesHeld(held) => CauseKind::DevicesHeld { devices: notes(held).at("devices_held")? },
        Kind::DevicesCleaning(held) => CauseKind::DevicesCleaning { devices: notes(held).at("devices_cleaning")? },
        Kind::DevicesBroken(held) => CauseKind::DevicesBroken { devices: notes(held).at("devices_broken")? },
        Kind::ConstraintNotMet(unmet) => CauseKind::ConstraintNotMet { unmet },
        Kind::Filtered(v1::Filtered { left_us, reason }) => CauseKind::Filtered {
            left: duration(left_us, "filtered.left_us")?,
            reason: optional_text(reason, "filtered.reason")?,
        },
        Kind::AgentAway(standing) => CauseKind::AgentAway { standing: inside(standing, "agent_away")? },
        Kind::OfferLimit(standing) => CauseKind::OfferLimit { standing },
        Kind::KeptForDevicesMilli(short) => CauseKind::KeptForDevices { short: Milli(short) },
        Kind::HeldForOthers(_) => CauseKind::HeldForOthers,
        Kind::OverQuota(over) => CauseKind::OverQuota {
            role: inside(over.role, "over_quota.role")?,
            resource: text(&over.resource, "over_quota.resource")?,
            limit: Milli(over.limit_milli),
            held: Milli(over.held_milli),
            over: Milli(over.over_milli),
        },
        Kind::VolumeElsewhere(_) => CauseKind::VolumeElsewhere,
        Kind::VolumeInUse(_) => CauseKind::VolumeInUse,
        Kind::OtherRegion(region) => CauseKind::OtherRegion { region: text(&region, "other_region")? },
        Kind::NotAdmitted(unmet) => CauseKind::NotAdmitted { unmet },
        Kind::BelowLeast(least) => CauseKind::BelowLeast { least },
    })
}

pub(super) fn framework_ids(ids: v1::FrameworkIds, field: &str) -> Converted<Vec<FrameworkId>> {
    list(ids.frameworks, "frameworks", MAX_PARTS).at(field)
}

impl Wire for (FrameworkId, Role) {
    type Message = v1::Competitor;

    fn to_wire(&self) -> v1::Competitor {
        v1::Competitor { framework: Some(self.0.to_wire()), role: self.1.to_wire() }
    }

    fn from_wire(other: v1::Competitor) -> Converted<Self> {
        Ok((required(other.framework, "framework")?, inside(other.role, "role")?))
    }
}

impl Wire for DeviceNote {
    type Message = v1::DeviceNote;

    fn to_wire(&self) -> v1::DeviceNote {
        v1::DeviceNote {
            agent: Some(self.agent.to_wire()),
            device: self.device.as_ref().to_owned(),
            holder: self.holder.as_ref().map(Wire::to_wire),
            left_us: self.left.map(micros),
            problem: self.problem.as_ref().map(|problem| problem.as_ref().to_owned()),
        }
    }

    fn from_wire(note: v1::DeviceNote) -> Converted<Self> {
        Ok(Self {
            agent: required(note.agent, "agent")?,
            device: text(&note.device, "device")?,
            holder: optional(note.holder, "holder")?,
            left: optional_duration(note.left_us, "left_us")?,
            problem: optional_text(note.problem, "problem")?,
        })
    }
}
