use rialto_core::model::{
    AgentId, AgentInfo, AgentReport, Announce, ClusterId, DeviceId, FromAgent, Reason, Resources, TaskKey, TaskReport,
    Term, ToAgent,
};

use super::error::{At, Converted};
use super::scheduler::{data, to_data};
use super::{
    Wire, attributes, inside, limits, list, micros, one_of, optional, optional_duration, required, text, to_attributes,
    to_list,
};
use crate::v1;
use crate::v1::from_agent::Message as Up;
use crate::v1::to_agent::Message as Down;
use std::sync::Arc;

impl Wire for FromAgent {
    type Message = v1::FromAgent;

    fn to_wire(&self) -> v1::FromAgent {
        v1::FromAgent { message: Some(to_up(self)) }
    }

    fn from_wire(message: v1::FromAgent) -> Converted<Self> {
        from_up(one_of(message.message)?)
    }
}

fn to_up(message: &FromAgent) -> Up {
    match message {
        FromAgent::Register(report) => Up::Register(report.to_wire()),
        FromAgent::Update { framework, status, latest } => Up::Update(v1::TaskUpdate {
            framework: Some(framework.to_wire()),
            status: Some(status.to_wire()),
            latest: latest.to_wire(),
        }),
        FromAgent::Confirmed(term) => Up::Confirmed(v1::Confirmed { term: term.0 }),
        FromAgent::DevicesFree(devices) => Up::DevicesFree(v1::DevicesFree { devices: to_list(devices) }),
        FromAgent::SlicesFree(slices) => Up::SlicesFree(v1::SlicesFree { slices: to_list(slices) }),
        FromAgent::Devices(devices) => Up::Devices(v1::Devices { devices: to_list(devices) }),
        FromAgent::Held(gang) => Up::Held(gang.to_wire()),
        FromAgent::NotHeld(gang, reject) => {
            Up::NotHeld(v1::NotHeld { gang: Some(gang.to_wire()), reject: Some(reject.to_wire()) })
        }
        FromAgent::Operated { id, result, resources } => Up::Operated(v1::Operated {
            id: Some(id.to_wire()),
            reject: result.as_ref().err().map(Wire::to_wire),
            resources: Some(resources.to_wire()),
        }),
        FromAgent::Journal { degraded } => Up::Journal(v1::JournalState { degraded: *degraded }),
        FromAgent::Message { framework, executor, data } => Up::ExecutorMessage(v1::AgentMessage {
            framework: Some(framework.to_wire()),
            executor: executor.to_wire(),
            data: to_data(data),
        }),
    }
}

fn from_up(message: Up) -> Converted<FromAgent> {
    match message {
        Up::Register(report) => inside(report, "register").map(Box::new).map(FromAgent::Register),
        Up::Update(update) => from_update(update).at("update"),
        Up::Confirmed(confirmed) => Ok(FromAgent::Confirmed(Term(confirmed.term))),
        Up::DevicesFree(free) => {
            list(free.devices, "devices", limits::MAX_DEVICES).at("devices_free").map(FromAgent::DevicesFree)
        }
        Up::SlicesFree(free) => {
            list(free.slices, "slices", limits::MAX_SLICES).at("slices_free").map(FromAgent::SlicesFree)
        }
        Up::Devices(devices) => {
            list(devices.devices, "devices", limits::MAX_DEVICES).at("devices").map(FromAgent::Devices)
        }
        Up::Held(gang) => inside(gang, "held").map(FromAgent::Held),
        Up::NotHeld(not_held) => from_not_held(not_held).at("not_held"),
        Up::Operated(operated) => from_operated(operated).at("operated"),
        Up::Journal(v1::JournalState { degraded }) => Ok(FromAgent::Journal { degraded }),
        Up::ExecutorMessage(message) => from_executor(message).at("executor_message"),
    }
}

fn from_update(update: v1::TaskUpdate) -> Converted<FromAgent> {
    Ok(FromAgent::Update {
        framework: required(update.framework, "framework")?,
        status: required(update.status, "status")?,
        latest: inside(update.latest, "latest")?,
    })
}

fn from_not_held(not_held: v1::NotHeld) -> Converted<FromAgent> {
    Ok(FromAgent::NotHeld(required(not_held.gang, "gang")?, required(not_held.reject, "reject")?))
}

fn from_operated(operated: v1::Operated) -> Converted<FromAgent> {
    let reject = optional(operated.reject, "reject")?;
    Ok(FromAgent::Operated {
        id: required(operated.id, "id")?,
        result: reject.map_or(Ok(()), Err),
        resources: optional::<Resources>(operated.resources, "resources")?.unwrap_or_default(),
    })
}

fn from_executor(message: v1::AgentMessage) -> Converted<FromAgent> {
    Ok(FromAgent::Message {
        framework: required(message.framework, "framework")?,
        executor: inside(message.executor, "executor")?,
        data: data(&message.data)?,
    })
}

impl Wire for (DeviceId, u64) {
    type Message = v1::DeviceFree;

    fn to_wire(&self) -> v1::DeviceFree {
        v1::DeviceFree { device: self.0.to_wire(), generation: self.1 }
    }

    fn from_wire(free: v1::DeviceFree) -> Converted<Self> {
        Ok((inside(free.device, "device")?, free.generation))
    }
}

impl Wire for (DeviceId, TaskKey) {
    type Message = v1::SliceFree;

    fn to_wire(&self) -> v1::SliceFree {
        v1::SliceFree { device: self.0.to_wire(), task: Some(self.1.to_wire()) }
    }

    fn from_wire(free: v1::SliceFree) -> Converted<Self> {
        Ok((inside(free.device, "device")?, required(free.task, "task")?))
    }
}

impl Wire for AgentReport {
    type Message = v1::AgentReport;

    fn to_wire(&self) -> v1::AgentReport {
        v1::AgentReport {
            agent: self.agent.map(|(agent, _)| agent.to_wire()),
            cluster: self.agent.map(|(_, cluster)| cluster.to_wire()).unwrap_or_default(),
            client: self.client.to_wire(),
            name: self.info.name.as_ref().to_owned(),
            resources: Some(self.resources.to_wire()),
            attributes: to_attributes(&self.info.attributes),
            devices: to_list(&self.devices),
            tasks: to_list(&self.tasks),
            held: to_list(&self.held),
            operated: self.operated.map(|id| id.to_wire()),
            domain: self.info.domain.as_ref().map(Wire::to_wire),
            connection: self.connection,
            term: self.term.0,
        }
    }

    fn from_wire(report: v1::AgentReport) -> Converted<Self> {
        let agent = match optional::<AgentId>(report.agent, "agent")? {
            Some(agent) => Some((agent, inside::<ClusterId>(report.cluster, "cluster")?)),
            None => None,
        };
        Ok(Self {
            agent,
            term: Term(report.term),
            client: inside(report.client, "client")?,
            info: Arc::new(AgentInfo {
                name: text(&report.name, "name")?,
                attributes: attributes(report.attributes, "attributes")?,
                domain: optional(report.domain, "domain")?,
            }),
            resources: optional::<Resources>(report.resources, "resources")?.unwrap_or_default(),
            devices: list(report.devices, "devices", limits::MAX_DEVICES)?,
            tasks: list(report.tasks, "tasks", limits::MAX_TASKS)?,
            held: list(report.held, "held", limits::MAX_GANGS)?,
            operated: optional(report.operated, "operated")?,
            connection: report.connection,
        })
    }
}

impl Wire for TaskReport {
    type Message = v1::TaskReport;

    fn to_wire(&self) -> v1::TaskReport {
        v1::TaskReport {
            framework: Some(self.framework.to_wire()),
            task: Some(self.task.to_wire()),
            state: self.state.to_wire(),
        }
    }

    fn from_wire(report: v1::TaskReport) -> Converted<Self> {
        Ok(Self {
            framework: required(report.framework, "framework")?,
            task: required(report.task, "task")?,
            state: inside(report.state, "state")?,
        })
    }
}

impl Wire for ToAgent {
    type Message = v1::ToAgent;

    fn to_wire(&self) -> v1::ToAgent {
        v1::ToAgent { message: Some(to_down(self)) }
    }

    fn from_wire(message: v1::ToAgent) -> Converted<Self> {
        from_down(one_of(message.message)?)
    }
}

fn to_down(message: &ToAgent) -> Down {
    match message {
        ToAgent::Registered { agent, cluster } => {
            Down::Registered(v1::Registered { agent: Some(agent.to_wire()), cluster: cluster.to_wire() })
        }
        ToAgent::Launch(launch) => Down::Launch(launch.to_wire()),
        ToAgent::Kill { task, grace, reason, announce } => Down::Kill(v1::AgentKill {
            task: Some(task.to_wire()),
            grace_us: grace.map(micros),
            reason: reason.to_wire(),
            announce: *announce == Announce::Yes,
        }),
        ToAgent::Acknowledge { task, uuid } => {
            Down::Acknowledge(v1::AgentAcknowledge { task: Some(task.to_wire()), uuid: uuid.to_wire() })
        }
        ToAgent::Hold { gang, groups } => Down::Hold(v1::Hold { gang: Some(gang.to_wire()), groups: to_list(groups) }),
        ToAgent::Start(gang) => Down::Start(gang.to_wire()),
        ToAgent::Release(gang) => Down::Release(gang.to_wire()),
        ToAgent::Operate { id, operation } => {
            Down::Operate(v1::Operate { id: Some(id.to_wire()), operation: Some(operation.to_wire()) })
        }
        ToAgent::RemoveFramework(framework) => Down::RemoveFramework(framework.to_wire()),
        ToAgent::Message { framework, executor, data } => Down::ExecutorMessage(v1::AgentMessage {
            framework: Some(framework.to_wire()),
            executor: executor.to_wire(),
            data: to_data(data),
        }),
        ToAgent::ClearDevice(device) => Down::ClearDevice(device.to_wire()),
        ToAgent::Shutdown(reject) => Down::Shutdown(reject.to_wire()),
    }
}

fn from_down(message: Down) -> Converted<ToAgent> {
    match message {
        Down::Registered(registered) => from_registered(registered).at("registered"),
        Down::Launch(launch) => inside(launch, "launch").map(ToAgent::Launch),
        Down::Kill(kill) => from_kill(kill).at("kill"),
        Down::Acknowledge(acknowledge) => from_acknowledge(acknowledge).at("acknowledge"),
        Down::Hold(hold) => from_hold(hold).at("hold"),
        Down::Start(gang) => inside(gang, "start").map(ToAgent::Start),
        Down::Release(gang) => inside(gang, "release").map(ToAgent::Release),
        Down::Operate(operate) => from_operate(operate).at("operate"),
        Down::RemoveFramework(framework) => inside(framework, "remove_framework").map(ToAgent::RemoveFramework),
        Down::ExecutorMessage(message) => to_executor(message).at("executor_message"),
        Down::ClearDevice(device) => inside(device, "clear_device").map(ToAgent::ClearDevice),
        Down::Shutdown(reject) => inside(reject, "shutdown").map(ToAgent::Shutdown),
    }
}

fn from_registered(registered: v1::Registered) -> Converted<ToAgent> {
    Ok(ToAgent::Registered {
        agent: required(registered.agent, "agent")?,
        cluster: inside(registered.cluster, "cluster")?,
    })
}

fn from_kill(kill: v1::AgentKill) -> Converted<ToAgent> {
    Ok(ToAgent::Kill {
        task: required(kill.task, "task")?,
        grace: optional_duration(kill.grace_us, "grace_us")?,
        reason: kill_reason(kill.reason)?,
        announce: if kill.announce { Announce::Yes } else { Announce::No },
    })
}

/// Why a task is to end; who does not say was asked to.
pub(crate) fn kill_reason(reason: i32) -> Converted<Reason> {
    if reason == 0 { Ok(Reason::KillRequested) } else { inside(reason, "reason") }
}

fn from_acknowledge(acknowledge: v1::AgentAcknowledge) -> Converted<ToAgent> {
    Ok(ToAgent::Acknowledge { task: required(acknowledge.task, "task")?, uuid: inside(acknowledge.uuid, "uuid")? })
}

fn from_hold(hold: v1::Hold) -> Converted<ToAgent> {
    Ok(ToAgent::Hold {
        gang: required(hold.gang, "gang")?,
        groups: list(hold.groups, "groups", limits::MAX_OPERATIONS)?,
    })
}

fn from_operate(operate: v1::Operate) -> Converted<ToAgent> {
    Ok(ToAgent::Operate { id: required(operate.id, "id")?, operation: required(operate.operation, "operation")? })
}

fn to_executor(message: v1::AgentMessage) -> Converted<ToAgent> {
    Ok(ToAgent::Message {
        framework: required(message.framework, "framework")?,
        executor: inside(message.executor, "executor")?,
        data: data(&message.data)?,
    })
}
