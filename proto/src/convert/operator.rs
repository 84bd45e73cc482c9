use std::sync::Arc;

use rialto_core::allocator::explain::{Cause, CauseKind, Explanation, Wait};
use rialto_core::master::{Command, Reply, Target};
use rialto_core::model::{TaskKey, TaskState};

use super::error::{At, ConvertError};
use super::fields::at_most;
use super::quota::{from_set_quota, to_set_quota};
use super::{
    Converted, Wire, expected, inside, list, micros, one_of, optional, optional_duration, optional_text, required,
    text, to_list,
};
use crate::v1;
use crate::v1::cause::Kind;
use crate::v1::command_reply::Reply as ReplyKind;
use crate::v1::command_request::Command as CommandKind;
use crate::v1::why_target::Target as TargetKind;

const NOTHING: v1::Nothing = v1::Nothing {};
/// The most shapes, reasons, devices or ids in an explanation.
const MAX_PARTS: usize = 65_536;

impl Wire for Command {
    type Message = v1::CommandRequest;

    fn to_wire(&self) -> v1::CommandRequest {
        let command = match self {
            Self::Kill { task, grace } => {
                CommandKind::Kill(v1::OperatorKill { task: Some(task.to_wire()), grace_us: grace.map(micros) })
            }
            Self::Teardown(framework) => CommandKind::Teardown(framework.to_wire()),
            Self::MarkGone(agent) => CommandKind::MarkGone(agent.to_wire()),
            Self::SetWeight { role, weight_milli } => {
                CommandKind::SetWeight(v1::SetWeight { role: role.to_wire(), weight_milli: *weight_milli })
            }
            Self::ClearDevice { agent, device } => {
                CommandKind::ClearDevice(v1::ClearDevice { agent: Some(agent.to_wire()), device: device.to_wire() })
            }
            Self::Operate { agent, operation } => CommandKind::Operate(v1::OperateAgent {
                agent: Some(agent.to_wire()),
                operation: Some(operation.to_wire()),
            }),
            Self::SetQuota { quotas, force } => CommandKind::SetQuota(to_set_quota(quotas, *force)),
            Self::Why(target) => CommandKind::Why(target.to_wire()),
        };
        v1::CommandRequest { command: Some(command) }
    }

    fn from_wire(request: v1::CommandRequest) -> Converted<Self> {
        match one_of(request.command).at("command")? {
            CommandKind::Kill(kill) => from_kill(kill).at("kill"),
            CommandKind::Teardown(framework) => inside(framework, "teardown").map(Self::Teardown),
            CommandKind::MarkGone(agent) => inside(agent, "mark_gone").map(Self::MarkGone),
            CommandKind::SetWeight(set) => from_set_weight(set).at("set_weight"),
            CommandKind::ClearDevice(clear) => from_clear_device(clear).at("clear_device"),
            CommandKind::Operate(v1::OperateAgent { agent, operation }) => Ok(Self::Operate {
                agent: required(agent, "operate.agent")?,
                operation: required(operation, "operate.operation")?,
            }),
            CommandKind::SetQuota(set) => from_set_quota(set).at("set_quota"),
            CommandKind::Why(target) => inside(target, "why").map(Self::Why),
        }
    }
}

fn from_kill(kill: v1::OperatorKill) -> Converted<Command> {
    Ok(Command::Kill { task: required(kill.task, "task")?, grace: optional_duration(kill.grace_us, "grace_us")? })
}

fn from_clear_device(clear: v1::ClearDevice) -> Converted<Command> {
    Ok(Command::ClearDevice { agent: required(clear.agent, "agent")?, device: inside(clear.device, "device")? })
}

fn from_set_weight(set: v1::SetWeight) -> Converted<Command> {
    expected(set.weight_milli > 0, || "expected at least 1 thousandth, got 0".to_owned()).at("weight_milli")?;
    Ok(Command::SetWeight { role: inside(set.role, "role")?, weight_milli: set.weight_milli })
}

impl Wire for Target {
    type Message = v1::WhyTarget;

    fn to_wire(&self) -> v1::WhyTarget {
        let target = match self {
            Self::Framework(framework) => TargetKind::Framework(framework.to_wire()),
            Self::Shape(framework, shape) => {
                TargetKind::Shape(v1::WhyShape { framework: Some(framework.to_wire()), shape: shape.clone() })
            }
            Self::Task(task) => TargetKind::Task(task.to_wire()),
        };
        v1::WhyTarget { target: Some(target) }
    }

    fn from_wire(target: v1::WhyTarget) -> Converted<Self> {
        match one_of(target.target)? {
            TargetKind::Framework(framework) => inside(framework, "framework").map(Self::Framework),
            TargetKind::Shape(v1::WhyShape { framework, shape }) => {
                let shape = text(&shape, "shape.shape")?.to_string();
                Ok(Self::Shape(required(framework, "framework").at("shape")?, shape))
            }
            TargetKind::Task(task) => inside(task, "task").map(Self::Task),
        }
    }
}

impl Wire for Reply {
    type Message = v1::CommandReply;

    fn to_wire(&self) -> v1::CommandReply {
        let reply = match self {
            Self::Done => ReplyKind::Done(NOTHING),
            Self::Why(explanation) => ReplyKind::Why(explanation.to_wire()),
        };
        v1::CommandReply { reply: Some(reply) }
    }

    fn from_wire(reply: v1::CommandReply) -> Converted<Self> {
        match one_of(reply.reply).at("reply")? {
            ReplyKind::Done(_) => Ok(Self::Done),
            ReplyKind::Why(explanation) => inside(explanation, "why").map(Box::new).map(Self::Why),
        }
    }
}

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

impl Wire for (TaskKey, TaskState, Arc<str>) {
    type Message = v1::ExplainedTask;

    fn to_wire(&self) -> v1::ExplainedTask {
        let (task, state, message) = self;
        v1::ExplainedTask { task: Some(task.to_wire()), state: state.to_wire(), message: message.as_ref().to_owned() }
    }

    fn from_wire(task: v1::ExplainedTask) -> Converted<Self> {
        Ok((required(task.task, "task")?, inside(task.state, "state")?, Arc::from(task.message)))
    }
}

impl Wire for Wait {
    type Message = v1::Wait;

    fn to_wire(&self) -> v1::Wait {
        v1::Wait {
            shape: self.shape.as_ref().to_owned(),
            asks: self.asks.clone(),
            count: self.count,
            agents: self.agents as u64,
            reasons: to_list(&self.reasons),
        }
    }

    fn from_wire(wait: v1::Wait) -> Converted<Self> {
        Ok(Self {
            shape: Arc::from(wait.shape),
            asks: wait.asks,
            count: wait.count,
            agents: count(wait.agents)?,
            reasons: list(wait.reasons, "reasons", MAX_PARTS)?,
        })
    }
}

fn count(number: u64) -> Converted<usize> {
    usize::try_from(number).map_err(ConvertError::here).at("agents")
}

impl Wire for Cause {
    type Message = v1::Cause;

    fn to_wire(&self) -> v1::Cause {
        v1::Cause { agents: self.agents as u64, kind: Some(to_kind(&self.kind)) }
    }

    fn from_wire(cause: v1::Cause) -> Converted<Self> {
        Ok(Self { agents: count(cause.agents)?, kind: from_kind(one_of(cause.kind)?)? })
    }
}

fn to_kind(kind: &CauseKind) -> Kind {
    match kind {
        CauseKind::NeverFits { nearest } => Kind::NeverFits(nearest.clone()),
        CauseKind::NoSuchDevice { kind } => Kind::NoSuchDevice(kind.as_ref().to_owned()),
        CauseKind::NoDeviceMatches { nearest } => Kind::NoDeviceMatches(nearest.clone()),
        CauseKind::NoDeviceHere { claim } => Kind::NoDeviceHere(claim.clone()),
        CauseKind::DevicesHeld { held } => Kind::DevicesHeld(v1::HeldDevices { devices: to_list(held) }),
        CauseKind::DevicesCleaning { devices } => Kind::DevicesCleaning(v1::Texts { texts: devices.clone() }),
        CauseKind::DevicesBroken { devices } => Kind::DevicesBroken(v1::Texts { texts: devices.clone() }),
        CauseKind::NotEnoughFree { missing } => Kind::NotEnoughFree(missing.clone()),
        CauseKind::ConstraintNotMet { nearest } => Kind::ConstraintNotMet(nearest.clone()),
        CauseKind::AgentAway => Kind::AgentAway(NOTHING),
        CauseKind::Filtered { seconds, reason } => Kind::Filtered(v1::Filtered {
            seconds: *seconds,
            reason: reason.as_ref().map(|reason| reason.as_ref().to_owned()),
        }),
        CauseKind::Offered { agents } => Kind::Offered(v1::AgentIds { agents: to_list(agents) }),
        CauseKind::OfferedToOthers { frameworks } => {
            Kind::OfferedToOthers(v1::FrameworkIds { frameworks: to_list(frameworks) })
        }
        CauseKind::Suppressed => Kind::Suppressed(NOTHING),
        CauseKind::FrameworkAway => Kind::FrameworkAway(NOTHING),
    }
}

fn from_kind(kind: Kind) -> Converted<CauseKind> {
    Ok(match kind {
        Kind::NeverFits(nearest) => CauseKind::NeverFits { nearest },
        Kind::NoSuchDevice(kind) => CauseKind::NoSuchDevice { kind: Arc::from(kind) },
        Kind::NoDeviceMatches(nearest) => CauseKind::NoDeviceMatches { nearest },
        Kind::NoDeviceHere(claim) => CauseKind::NoDeviceHere { claim },
        Kind::DevicesHeld(held) => {
            CauseKind::DevicesHeld { held: list(held.devices, "devices", MAX_PARTS).at("devices_held")? }
        }
        Kind::DevicesCleaning(devices) => {
            CauseKind::DevicesCleaning { devices: texts(devices).at("devices_cleaning")? }
        }
        Kind::DevicesBroken(devices) => CauseKind::DevicesBroken { devices: texts(devices).at("devices_broken")? },
        Kind::NotEnoughFree(missing) => CauseKind::NotEnoughFree { missing },
        Kind::ConstraintNotMet(nearest) => CauseKind::ConstraintNotMet { nearest },
        Kind::AgentAway(_) => CauseKind::AgentAway,
        Kind::Filtered(v1::Filtered { seconds, reason }) => {
            CauseKind::Filtered { seconds, reason: optional_text(reason, "filtered.reason")? }
        }
        Kind::Offered(offered) => {
            CauseKind::Offered { agents: list(offered.agents, "agents", MAX_PARTS).at("offered")? }
        }
        Kind::OfferedToOthers(others) => {
            let frameworks = list(others.frameworks, "frameworks", MAX_PARTS).at("offered_to_others")?;
            CauseKind::OfferedToOthers { frameworks }
        }
        Kind::Suppressed(_) => CauseKind::Suppressed,
        Kind::FrameworkAway(_) => CauseKind::FrameworkAway,
    })
}

fn texts(texts: v1::Texts) -> Converted<Vec<String>> {
    at_most(texts.texts.len(), MAX_PARTS).at("texts")?;
    Ok(texts.texts)
}

impl Wire for (String, TaskKey) {
    type Message = v1::HeldDevice;

    fn to_wire(&self) -> v1::HeldDevice {
        v1::HeldDevice { device: self.0.clone(), holder: Some(self.1.to_wire()) }
    }

    fn from_wire(held: v1::HeldDevice) -> Converted<Self> {
        Ok((held.device, required(held.holder, "holder")?))
    }
}
