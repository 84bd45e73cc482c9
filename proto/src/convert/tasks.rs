use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use rialto_core::model::{
    Body, ExecutorRef, Exit, Launch, Reason, Resources, Source, Status, Task, TaskGroup, TaskHealth, TaskState,
    UpdateId, WallTime,
};

use super::error::{At, ConvertError};
use super::{
    Converted, Wire, duration, expected, inside, labels, limits, list, micros, optional, optional_duration, required,
    text, to_labels, to_list, unless_empty, wire_enum,
};
use crate::v1;
use crate::v1::status;

wire_enum!(TaskState, v1::TaskState, {
    Staging, Starting, Running, Killing, Finished, Failed, Killed, Error, Lost, Dropped, Unreachable, Gone, GoneByOperator, Unknown
});
wire_enum!(Source, v1::Source, { Master, Agent, Executor });
wire_enum!(TaskHealth, v1::TaskHealth, { Healthy, Unhealthy });

/// Lends a body's bytes to the encoder, so that they are not copied before they are sent.
struct BodyBytes(Body);

impl AsRef<[u8]> for BodyBytes {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Wire for Body {
    type Message = Bytes;

    fn to_wire(&self) -> Bytes {
        if self.as_bytes().is_empty() { Bytes::new() } else { Bytes::from_owner(BodyBytes(self.clone())) }
    }

    fn from_wire(bytes: Bytes) -> Converted<Self> {
        expected(bytes.len() <= Self::MAX_LEN, || {
            format!("expected at most {} bytes, got {}", Self::MAX_LEN, bytes.len())
        })?;
        Ok(Self::new(&*bytes))
    }
}

impl Wire for Task {
    type Message = v1::Task;

    fn to_wire(&self) -> v1::Task {
        v1::Task {
            id: self.id.to_wire(),
            name: self.name.as_ref().to_owned(),
            role: self.role.to_wire(),
            resources: Some(self.resources.to_wire()),
            claims: to_list(&self.claims),
            priority: self.priority,
            kill_grace_us: micros(self.kill_grace),
            executor: match &self.executor {
                ExecutorRef::Supervisor => None,
                ExecutorRef::Custom(id) => Some(id.to_wire()),
            },
            body: self.body.to_wire(),
            expected_run_time_us: self.expected_run_time.map(micros),
        }
    }

    fn from_wire(task: v1::Task) -> Converted<Self> {
        Ok(Self {
            id: inside(task.id, "id")?,
            name: text(&task.name, "name")?,
            role: inside(task.role, "role")?,
            resources: optional::<Resources>(task.resources, "resources")?.unwrap_or_default(),
            claims: list(task.claims, "claims", limits::MAX_CLAIMS)?,
            priority: task.priority,
            kill_grace: duration(task.kill_grace_us, "kill_grace_us")?,
            expected_run_time: optional_duration(task.expected_run_time_us, "expected_run_time_us")?,
            executor: optional(task.executor, "executor")?.map_or(ExecutorRef::Supervisor, ExecutorRef::Custom),
            body: inside(task.body, "body")?,
        })
    }
}

impl Wire for TaskGroup {
    type Message = v1::TaskGroup;

    fn to_wire(&self) -> v1::TaskGroup {
        v1::TaskGroup { tasks: to_list(&self.tasks) }
    }

    fn from_wire(group: v1::TaskGroup) -> Converted<Self> {
        let tasks: Vec<Task> = list(group.tasks, "tasks", Self::MAX_TASKS)?;
        check_group(&tasks).at("tasks")?;
        Ok(Self { tasks })
    }
}

fn check_group(tasks: &[Task]) -> Converted<()> {
    expected(!tasks.is_empty(), || "expected at least one, got none".to_owned())?;
    let bodies: usize = tasks.iter().map(|task| task.body.as_bytes().len()).sum();
    let max = limits::MAX_GROUP_BODY;
    expected(bodies <= max, || format!("expected bodies of at most {max} bytes together, got {bodies}"))?;
    if tasks.len() == 1 {
        return Ok(());
    }
    let mut ids = BTreeSet::new();
    for (index, task) in tasks.iter().enumerate() {
        expected(ids.insert(&task.id), || format!("expected ids that differ, got {} twice", task.id))
            .at("id")
            .at_index(index)?;
    }
    Ok(())
}

impl Wire for Launch {
    type Message = v1::Launch;

    fn to_wire(&self) -> v1::Launch {
        v1::Launch {
            framework: Some(self.framework.to_wire()),
            group: Some(self.group.to_wire()),
            user: self.user.as_ref().to_owned(),
            remember_us: micros(self.remember),
        }
    }

    fn from_wire(launch: v1::Launch) -> Converted<Self> {
        Ok(Self {
            framework: required(launch.framework, "framework")?,
            group: required(launch.group, "group")?,
            user: text(&launch.user, "user")?,
            remember: duration(launch.remember_us, "remember_us")?,
        })
    }
}

impl Wire for Reason {
    type Message = i32;

    fn to_wire(&self) -> i32 {
        *self as i32
    }

    fn from_wire(number: i32) -> Converted<Self> {
        let known = Self::ALL.iter().copied().find(|reason| *reason as i32 == number);
        known.ok_or_else(|| ConvertError::here(format!("expected a known reason, got {number}")))
    }
}

impl Wire for Status {
    type Message = v1::Status;

    fn to_wire(&self) -> v1::Status {
        v1::Status {
            task: self.task.to_wire(),
            state: self.state.to_wire(),
            source: self.source.to_wire(),
            reason: self.reason.map_or(0, |reason| reason.to_wire()),
            message: self.message.as_ref().to_owned(),
            uuid: self.uuid.map(|uuid| uuid.to_wire()).unwrap_or_default(),
            agent: self.agent.map(|agent| agent.to_wire()),
            exit: self.exit.map(to_exit),
            health: self.health.map_or(0, |health| health.to_wire()),
            at_unix_us: self.at.0,
            labels: to_labels(&self.labels),
        }
    }

    fn from_wire(status: v1::Status) -> Converted<Self> {
        let unless_zero = |number: i32| (number != 0).then_some(number);
        Ok(Self {
            task: inside(status.task, "task")?,
            state: inside(status.state, "state")?,
            source: inside(status.source, "source")?,
            reason: optional(unless_zero(status.reason), "reason")?,
            message: cut(&status.message),
            uuid: optional::<UpdateId>(unless_empty(status.uuid), "uuid")?,
            agent: optional(status.agent, "agent")?,
            exit: status.exit.map(exit),
            health: optional(unless_zero(status.health), "health")?,
            at: WallTime(status.at_unix_us),
            labels: labels(status.labels, "labels")?,
        })
    }
}

/// Longer messages are cut, as [`Status::MAX_MESSAGE`] says: a status is never lost for its prose.
fn cut(message: &str) -> Arc<str> {
    Arc::from(&message[..message.floor_char_boundary(Status::MAX_MESSAGE)])
}

const fn to_exit(exit: Exit) -> status::Exit {
    match exit {
        Exit::Code(code) => status::Exit::ExitCode(code),
        Exit::Signal(signal) => status::Exit::ExitSignal(signal),
    }
}

const fn exit(exit: status::Exit) -> Exit {
    match exit {
        status::Exit::ExitCode(code) => Exit::Code(code),
        status::Exit::ExitSignal(signal) => Exit::Signal(signal),
    }
}
