use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use rialto_core::model::{
    Accept, AcceptGang, Asked, Call, CallId, Event, GangPart, Outcome, Pace, Refusal, Rejection, Role, TaskGroup, Term,
};

use super::error::{At, ConvertError};
use super::{
    Converted, Wire, duration, expected, inside, limits, list, micros, one_of, optional, optional_duration,
    optional_text, required, text, to_list,
};
use crate::v1;
use crate::v1::call::Call as CallKind;
use crate::v1::event::Event as EventKind;

impl Wire for Call {
    type Message = v1::Call;

    fn to_wire(&self) -> v1::Call {
        v1::Call { call: Some(to_call(self)) }
    }

    fn from_wire(call: v1::Call) -> Converted<Self> {
        from_call(one_of(call.call)?)
    }
}

fn to_call(call: &Call) -> CallKind {
    match call {
        Call::Subscribe(subscribe) => CallKind::Subscribe(subscribe.to_wire()),
        Call::Accept(accept) => CallKind::Accept(accept.to_wire()),
        Call::AcceptGang(gang) => CallKind::AcceptGang(gang.to_wire()),
        Call::Decline { offers, refusal } => {
            CallKind::Decline(v1::Decline { offers: to_list(offers), refusal: Some(refusal.to_wire()) })
        }
        Call::Demand { role, demand } => {
            CallKind::Demand(v1::DeclareDemand { role: role.to_wire(), demand: demand.as_ref().map(Wire::to_wire) })
        }
        Call::Rules { id, rules } => CallKind::Rules(v1::SetRules { id: id.0, rules: Some(rules.to_wire()) }),
        Call::Suppress(roles) => CallKind::Suppress(v1::Roles { roles: to_list(roles) }),
        Call::Revive(roles) => CallKind::Revive(v1::Roles { roles: to_list(roles) }),
        Call::Kill { id, task, grace } => {
            CallKind::Kill(v1::KillTask { id: id.0, task: task.to_wire(), grace_us: grace.map(micros) })
        }
        Call::Acknowledge { agent, task, uuid } => CallKind::Acknowledge(v1::Acknowledge {
            agent: agent.map(|agent| agent.to_wire()),
            task: task.to_wire(),
            uuid: uuid.to_wire(),
        }),
        Call::Reconcile(tasks) => CallKind::Reconcile(v1::Reconcile { tasks: to_list(tasks) }),
        Call::Message { agent, executor, data } => CallKind::Message(v1::ExecutorMessage {
            agent: Some(agent.to_wire()),
            executor: executor.to_wire(),
            data: to_data(data),
        }),
        Call::Teardown => CallKind::Teardown(v1::Nothing {}),
    }
}

fn from_call(call: CallKind) -> Converted<Call> {
    match call {
        CallKind::Subscribe(subscribe) => inside(subscribe, "subscribe").map(Call::Subscribe),
        CallKind::Accept(accept) => inside(accept, "accept").map(Call::Accept),
        CallKind::AcceptGang(gang) => inside(gang, "accept_gang").map(Call::AcceptGang),
        CallKind::Decline(decline) => from_decline(decline).at("decline"),
        CallKind::Demand(demand) => from_demand(demand).at("demand"),
        CallKind::Rules(set) => from_rules(set).at("rules"),
        CallKind::Suppress(roles) => from_roles(roles).at("suppress").map(Call::Suppress),
        CallKind::Revive(roles) => from_roles(roles).at("revive").map(Call::Revive),
        CallKind::Kill(kill) => from_kill(kill).at("kill"),
        CallKind::Acknowledge(acknowledge) => from_acknowledge(acknowledge).at("acknowledge"),
        CallKind::Reconcile(reconcile) => {
            list(reconcile.tasks, "tasks", limits::MAX_TASKS).at("reconcile").map(Call::Reconcile)
        }
        CallKind::Message(message) => from_message(message).at("message"),
        CallKind::Teardown(_) => Ok(Call::Teardown),
    }
}

impl Wire for Asked {
    type Message = v1::Asked;

    fn to_wire(&self) -> v1::Asked {
        v1::Asked { task: self.task.to_wire(), agent: self.agent.map(|agent| agent.to_wire()) }
    }

    fn from_wire(asked: v1::Asked) -> Converted<Self> {
        Ok(Self { task: inside(asked.task, "task")?, agent: optional(asked.agent, "agent")? })
    }
}

fn from_decline(decline: v1::Decline) -> Converted<Call> {
    Ok(Call::Decline {
        offers: list(decline.offers, "offers", limits::MAX_OFFERS)?,
        refusal: optional::<Refusal>(decline.refusal, "refusal")?.unwrap_or_else(Refusal::usual),
    })
}

fn from_demand(demand: v1::DeclareDemand) -> Converted<Call> {
    Ok(Call::Demand { role: inside(demand.role, "role")?, demand: optional(demand.demand, "demand")? })
}

fn from_rules(set: v1::SetRules) -> Converted<Call> {
    Ok(Call::Rules { id: CallId(set.id), rules: required(set.rules, "rules")? })
}

fn from_roles(roles: v1::Roles) -> Converted<BTreeSet<Role>> {
    list(roles.roles, "roles", limits::MAX_ROLES)
}

fn from_kill(kill: v1::KillTask) -> Converted<Call> {
    Ok(Call::Kill {
        id: CallId(kill.id),
        task: inside(kill.task, "task")?,
        grace: optional_duration(kill.grace_us, "grace_us")?,
    })
}

fn from_acknowledge(acknowledge: v1::Acknowledge) -> Converted<Call> {
    Ok(Call::Acknowledge {
        agent: optional(acknowledge.agent, "agent")?,
        task: inside(acknowledge.task, "task")?,
        uuid: inside(acknowledge.uuid, "uuid")?,
    })
}

fn from_message(message: v1::ExecutorMessage) -> Converted<Call> {
    Ok(Call::Message {
        agent: required(message.agent, "agent")?,
        executor: inside(message.executor, "executor")?,
        data: data(&message.data)?,
    })
}

/// The bytes of a message between a framework and its executor, lent and not copied.
pub(super) fn to_data(data: &Arc<[u8]>) -> Bytes {
    Bytes::from_owner(data.clone())
}

pub(super) fn data(data: &Bytes) -> Converted<Arc<[u8]>> {
    let max = limits::MAX_MESSAGE;
    expected(data.len() <= max, || format!("expected at most {max} bytes, got {}", data.len())).at("data")?;
    Ok(Arc::from(&**data))
}

impl Wire for Accept {
    type Message = v1::Accept;

    fn to_wire(&self) -> v1::Accept {
        v1::Accept {
            id: self.id.0,
            agent: Some(self.agent.to_wire()),
            offers: to_list(&self.offers),
            operations: to_list(&self.operations),
            refusal: Some(self.refusal.to_wire()),
        }
    }

    fn from_wire(accept: v1::Accept) -> Converted<Self> {
        Ok(Self {
            id: CallId(accept.id),
            agent: required(accept.agent, "agent")?,
            offers: list(accept.offers, "offers", limits::MAX_OFFERS)?,
            operations: list(accept.operations, "operations", limits::MAX_OPERATIONS)?,
            refusal: optional::<Refusal>(accept.refusal, "refusal")?.unwrap_or_default(),
        })
    }
}

impl Wire for AcceptGang {
    type Message = v1::AcceptGang;

    fn to_wire(&self) -> v1::AcceptGang {
        v1::AcceptGang { id: self.id.0, parts: to_list(&self.parts), refusal: Some(self.refusal.to_wire()) }
    }

    fn from_wire(gang: v1::AcceptGang) -> Converted<Self> {
        let parts: Vec<GangPart> = list(gang.parts, "parts", Self::MAX_PARTS)?;
        expected(!parts.is_empty(), || "expected at least one, got none".to_owned()).at("parts")?;
        Ok(Self {
            id: CallId(gang.id),
            parts,
            refusal: optional::<Refusal>(gang.refusal, "refusal")?.unwrap_or_default(),
        })
    }
}

impl Wire for GangPart {
    type Message = v1::GangPart;

    fn to_wire(&self) -> v1::GangPart {
        v1::GangPart { agent: Some(self.agent.to_wire()), offers: to_list(&self.offers), groups: to_list(&self.groups) }
    }

    fn from_wire(part: v1::GangPart) -> Converted<Self> {
        let groups: Vec<TaskGroup> = list(part.groups, "groups", AcceptGang::MAX_TASKS)?;
        expected(!groups.is_empty(), || "expected at least one, got none".to_owned()).at("groups")?;
        Ok(Self {
            agent: required(part.agent, "agent")?,
            offers: list(part.offers, "offers", limits::MAX_OFFERS)?,
            groups,
        })
    }
}

impl Wire for Refusal {
    type Message = v1::Refusal;

    fn to_wire(&self) -> v1::Refusal {
        v1::Refusal {
            duration_us: micros(self.duration),
            reason: self.reason.as_ref().map(|reason| reason.as_ref().to_owned()),
            adaptive: self.pace == Pace::Adaptive,
        }
    }

    fn from_wire(refusal: v1::Refusal) -> Converted<Self> {
        Ok(Self {
            duration: duration(refusal.duration_us, "duration_us")?,
            pace: if refusal.adaptive { Pace::Adaptive } else { Pace::AsSaid },
            reason: optional_text(refusal.reason, "reason")?,
        })
    }
}

impl Wire for Event {
    type Message = v1::Event;

    fn to_wire(&self) -> v1::Event {
        v1::Event { event: Some(to_event(self)) }
    }

    fn from_wire(event: v1::Event) -> Converted<Self> {
        from_event(one_of(event.event)?)
    }
}

fn to_event(event: &Event) -> EventKind {
    match event {
        Event::Subscribed { framework, cluster, term, agents_missing } => EventKind::Subscribed(v1::Subscribed {
            framework: Some(framework.to_wire()),
            cluster: cluster.to_wire(),
            term: term.0,
            agents_missing: *agents_missing,
        }),
        Event::Offers(offers) => EventKind::Offers(v1::Offers { offers: to_list(offers) }),
        Event::Rescind(offers) => EventKind::Rescind(v1::Rescind { offers: to_list(offers) }),
        Event::Update(status) => EventKind::Update(status.to_wire()),
        Event::Outcome(outcome) => EventKind::Outcome(outcome.to_wire()),
        Event::Message { agent, executor, data } => EventKind::Message(v1::ExecutorMessage {
            agent: Some(agent.to_wire()),
            executor: executor.to_wire(),
            data: to_data(data),
        }),
        Event::AgentLost(agent) => EventKind::AgentLost(agent.to_wire()),
        Event::Prices(changes) => EventKind::Prices(v1::PriceChanges { changes: to_list(changes) }),
        Event::AgentLeaves { agent, name, after } => EventKind::AgentLeaves(v1::AgentLeaves {
            agent: Some(agent.to_wire()),
            name: name.as_ref().to_owned(),
            after_us: after.map(micros),
        }),
        Event::Error(reject) => EventKind::Error(reject.to_wire()),
    }
}

fn from_event(event: EventKind) -> Converted<Event> {
    match event {
        EventKind::Subscribed(subscribed) => from_subscribed(subscribed).at("subscribed"),
        EventKind::Offers(offers) => list(offers.offers, "offers", limits::MAX_OFFERS).at("offers").map(Event::Offers),
        EventKind::Rescind(rescind) => {
            list(rescind.offers, "offers", limits::MAX_OFFERS).at("rescind").map(Event::Rescind)
        }
        EventKind::Update(status) => inside(status, "update").map(Event::Update),
        EventKind::Outcome(outcome) => inside(outcome, "outcome").map(Event::Outcome),
        EventKind::Message(message) => from_executor(message).at("message"),
        EventKind::AgentLost(agent) => inside(agent, "agent_lost").map(Event::AgentLost),
        EventKind::Prices(prices) => {
            list(prices.changes, "changes", limits::MAX_PRICES).at("prices").map(Event::Prices)
        }
        EventKind::AgentLeaves(v1::AgentLeaves { agent, name, after_us }) => Ok(Event::AgentLeaves {
            agent: required(agent, "agent_leaves.agent")?,
            name: text(&name, "agent_leaves.name")?,
            after: optional_duration(after_us, "agent_leaves.after_us")?,
        }),
        EventKind::Error(reject) => inside(reject, "error").map(Event::Error),
    }
}

fn from_subscribed(subscribed: v1::Subscribed) -> Converted<Event> {
    Ok(Event::Subscribed {
        framework: required(subscribed.framework, "framework")?,
        cluster: inside(subscribed.cluster, "cluster")?,
        term: Term(subscribed.term),
        agents_missing: subscribed.agents_missing,
    })
}

fn from_executor(message: v1::ExecutorMessage) -> Converted<Event> {
    Ok(Event::Message {
        agent: required(message.agent, "agent")?,
        executor: inside(message.executor, "executor")?,
        data: data(&message.data)?,
    })
}

impl Wire for Outcome {
    type Message = v1::Outcome;

    fn to_wire(&self) -> v1::Outcome {
        v1::Outcome { call: self.call.0, rejected: to_list(&self.rejected) }
    }

    fn from_wire(outcome: v1::Outcome) -> Converted<Self> {
        Ok(Self { call: CallId(outcome.call), rejected: list(outcome.rejected, "rejected", limits::MAX_OPERATIONS)? })
    }
}

impl Wire for Rejection {
    type Message = v1::Rejection;

    fn to_wire(&self) -> v1::Rejection {
        v1::Rejection {
            operation: u32::try_from(self.operation).unwrap_or(u32::MAX),
            tasks: to_list(&self.tasks),
            reject: Some(self.reject.to_wire()),
        }
    }

    fn from_wire(rejection: v1::Rejection) -> Converted<Self> {
        let operation = usize::try_from(rejection.operation).map_err(ConvertError::here).at("operation")?;
        Ok(Self {
            operation,
            tasks: list(rejection.tasks, "tasks", limits::MAX_TASKS)?,
            reject: required(rejection.reject, "reject")?,
        })
    }
}
