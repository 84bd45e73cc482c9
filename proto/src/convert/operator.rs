use rialto_core::master::{Command, Reply, Target};

use super::error::At;
use super::quota::{from_set_quota, to_set_quota};
use super::{
    Converted, Wire, expected, inside, limits, list, micros, one_of, optional, optional_duration, required, text,
    to_list,
};
use crate::v1;
use crate::v1::command_reply::Reply as ReplyKind;
use crate::v1::command_request::Command as CommandKind;
use crate::v1::why_target::Target as TargetKind;

const NOTHING: v1::Nothing = v1::Nothing {};

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
            Self::SetOfferMode { role, mode } => CommandKind::SetOfferMode(v1::SetOfferMode {
                role: role.to_wire(),
                mode: mode.as_ref().map(Wire::to_wire),
            }),
            Self::Notice { agent, after } => {
                CommandKind::Notice(v1::Notice { agent: Some(agent.to_wire()), after_us: after.map(micros) })
            }
            Self::SetPrices(quotes) => CommandKind::SetPrices(v1::SetPrices { quotes: to_list(quotes) }),
            Self::Why(target) => CommandKind::Why(target.to_wire()),
            Self::When(target) => CommandKind::When(target.to_wire()),
            Self::WhatWouldHelp(target) => CommandKind::WhatWouldHelp(target.to_wire()),
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
            CommandKind::SetOfferMode(v1::SetOfferMode { role, mode }) => Ok(Self::SetOfferMode {
                role: inside(role, "set_offer_mode.role")?,
                mode: optional(mode, "set_offer_mode.mode")?,
            }),
            CommandKind::Notice(v1::Notice { agent, after_us }) => Ok(Self::Notice {
                agent: required(agent, "notice.agent")?,
                after: optional_duration(after_us, "notice.after_us")?,
            }),
            CommandKind::SetPrices(set) => {
                list(set.quotes, "set_prices.prices", limits::MAX_PRICES).map(Self::SetPrices)
            }
            CommandKind::Why(target) => inside(target, "why").map(Self::Why),
            CommandKind::When(target) => inside(target, "when").map(Self::When),
            CommandKind::WhatWouldHelp(target) => inside(target, "what_would_help").map(Self::WhatWouldHelp),
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
            Self::When(forecast) => ReplyKind::When(forecast.to_wire()),
            Self::WhatWouldHelp(advice) => ReplyKind::WhatWouldHelp(advice.to_wire()),
        };
        v1::CommandReply { reply: Some(reply) }
    }

    fn from_wire(reply: v1::CommandReply) -> Converted<Self> {
        match one_of(reply.reply).at("reply")? {
            ReplyKind::Done(_) => Ok(Self::Done),
            ReplyKind::Why(explanation) => inside(explanation, "why").map(Box::new).map(Self::Why),
            ReplyKind::When(forecast) => Ok(Self::When(Box::new(inside(forecast, "when")?))),
            ReplyKind::WhatWouldHelp(advice) => Ok(Self::WhatWouldHelp(Box::new(inside(advice, "what_would_help")?))),
        }
    }
}
