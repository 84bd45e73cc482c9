//! What the machines say to each other.

use std::sync::Arc;

use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use rialto_core::model::*;

use super::*;

fn data() -> impl Strategy<Value = Arc<[u8]>> {
    vec(any::<u8>(), 0..20).prop_map(Arc::from)
}

pub(crate) fn reject() -> impl Strategy<Value = Reject> {
    let fixed = proptest::sample::select(vec![
        Reject::NotSubscribed,
        Reject::UnknownFramework,
        Reject::Forbidden { principal: "p".to_owned(), action: "register" },
        Reject::Limit { what: "calls", limit: 7 },
        Reject::Unsupported("create"),
        Reject::JournalDegraded,
        Reject::Superseded,
    ]);
    prop_oneof![
        fixed,
        (prose(), prose()).prop_map(|(field, message)| Reject::invalid(&*field, &*message)),
        agent_id().prop_map(Reject::UnknownAgent),
        role().prop_map(Reject::NotSubscribedTo),
        offer_id().prop_map(Reject::OfferGone),
        resources().prop_map(|left| Reject::OfferConflict { left }),
        (resources(), resources()).prop_map(|(asked, offered)| Reject::ExceedsOffer { asked, offered }),
        (role(), 0..=Milli::MAX.0).prop_map(|(role, amount)| Reject::QuotaExceeded {
            role,
            resource: ResourceName::new("device/gpu/T4"),
            limit: Milli(amount),
            held: Milli(amount / 2),
            asked: Milli(amount),
        }),
        prose().prop_map(|why| Reject::ClaimNotMet(why.to_string())),
        task_id().prop_map(Reject::DuplicateTask),
        task_id().prop_map(Reject::UnknownTask),
        agent_id().prop_map(Reject::AgentAway),
        (agent_id(), duration()).prop_map(|(agent, after)| Reject::AgentLeaves { agent, after }),
        any::<u64>().prop_map(|term| Reject::OldTerm(Term(term))),
        volume_id().prop_map(Reject::VolumeInUse),
        volume_id().prop_map(Reject::DuplicateVolume),
    ]
}

pub(crate) fn info() -> impl Strategy<Value = FrameworkInfo> {
    let mode = prop_oneof![Just(OfferMode::Optimistic), Just(OfferMode::Exclusive)];
    let capabilities =
        prop_oneof![Just([].into()), Just([Capability::TaskKilling, Capability::RevocableResources].into())];
    let times = (duration(), option::of(duration()));
    let asks = (offer_rules(), capabilities);
    (prose(), prose(), roles(), times, mode, option::of(prose()), words(), asks).prop_map(
        |(name, user, roles, (failover_timeout, offer_timeout), offer_mode, url, labels, (rules, capabilities))| {
            FrameworkInfo {
                name,
                user,
                roles,
                failover_timeout,
                offer_mode,
                offer_timeout,
                url,
                labels,
                capabilities,
                rules: Arc::new(rules),
            }
        },
    )
}

fn refusal() -> impl Strategy<Value = Refusal> {
    let pace = prop_oneof![Just(Pace::AsSaid), Just(Pace::Adaptive)];
    (duration(), pace, option::of(prose())).prop_map(|(duration, pace, reason)| Refusal { duration, pace, reason })
}

pub(crate) fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        group().prop_map(Operation::Launch),
        resources().prop_map(Operation::Reserve),
        resources().prop_map(Operation::Unreserve),
        resources().prop_map(Operation::Create),
        resources().prop_map(Operation::Destroy),
        (resources(), resources()).prop_map(|(volume, addition)| Operation::Grow { volume, addition }),
        (resources(), 0..=Milli::MAX.0).prop_map(|(volume, by)| Operation::Shrink { volume, by: Milli(by) }),
    ]
}

fn demand() -> impl Strategy<Value = Demand> {
    let shape =
        (prose(), resources(), vec(claim(), 0..2), selector(), any::<u32>(), any::<i32>(), option::of(duration()))
            .prop_map(|(name, resources, claims, constraint, count, priority, expected_run_time)| Shape {
                name,
                resources,
                claims,
                constraint,
                count,
                priority,
                expected_run_time,
            });
    vec(shape, 0..3).prop_map(|shapes| Demand { shapes })
}

pub(crate) fn call() -> impl Strategy<Value = Call> {
    let subscribe = (option::of(framework_id()), any::<u128>(), info(), btree_set(role(), 0..2), any::<u64>())
        .prop_map(|(framework, client, info, suppressed, connection)| {
            Call::Subscribe(Subscribe { framework, client: ClientId(client), info, suppressed, connection })
        });
    let accept = (any::<u64>(), agent_id(), vec(offer_id(), 0..3), vec(operation(), 0..3), refusal()).prop_map(
        |(id, agent, offers, operations, refusal)| {
            Call::Accept(Accept { id: CallId(id), agent, offers, operations, refusal })
        },
    );
    let part = (agent_id(), vec(offer_id(), 0..3), vec(group(), 1..3));
    let part = part.prop_map(|(agent, offers, groups)| GangPart { agent, offers, groups });
    let gang = (any::<u64>(), vec(part, 1..3), refusal())
        .prop_map(|(id, parts, refusal)| Call::AcceptGang(AcceptGang { id: CallId(id), parts, refusal }));
    prop_oneof![
        subscribe,
        accept,
        gang,
        (vec(offer_id(), 0..3), refusal()).prop_map(|(offers, refusal)| Call::Decline { offers, refusal }),
        (role(), option::of(demand())).prop_map(|(role, demand)| Call::Demand { role, demand }),
        roles().prop_map(Call::Suppress),
        roles().prop_map(Call::Revive),
        (any::<u64>(), task_id(), option::of(duration())).prop_map(|(id, task, grace)| Call::Kill {
            id: CallId(id),
            task,
            grace
        }),
        (option::of(agent_id()), task_id(), any::<u128>()).prop_map(|(agent, task, uuid)| Call::Acknowledge {
            agent,
            task,
            uuid: UpdateId(uuid)
        }),
        vec((task_id(), option::of(agent_id())).prop_map(|(task, agent)| Asked { task, agent }), 0..3)
            .prop_map(Call::Reconcile),
        (agent_id(), executor_id(), data()).prop_map(|(agent, executor, data)| Call::Message { agent, executor, data }),
        Just(Call::Teardown),
    ]
}

fn offer() -> impl Strategy<Value = Offer> {
    let mode = prop_oneof![Just(OfferMode::Optimistic), Just(OfferMode::Exclusive)];
    let devices = vec(device().prop_map(Arc::new), 0..2);
    (
        offer_id(),
        agent_id(),
        prose(),
        role(),
        resources(),
        devices,
        (attributes(), option::of(domain())),
        mode,
        option::of(duration()),
        any::<bool>(),
    )
        .prop_map(|(id, agent, agent_name, role, resources, devices, like, mode, expires_in, borrowed)| Offer {
            id,
            agent,
            info: Arc::new(AgentInfo { name: agent_name, attributes: like.0, domain: like.1 }),
            role,
            resources: Arc::new(resources),
            devices: devices.into(),
            mode,
            expires_in,
            guarantee: if borrowed { Guarantee::Revocable } else { Guarantee::Firm },
        })
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let rejection = (0..1000_usize, vec(task_id(), 0..2), reject()).prop_map(|(operation, tasks, reject)| Rejection {
        operation,
        tasks,
        reject,
    });
    (any::<u64>(), vec(rejection, 0..2)).prop_map(|(call, rejected)| Outcome { call: CallId(call), rejected })
}

pub(crate) fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (framework_id(), any::<u128>(), any::<u64>(), any::<u32>()).prop_map(
            |(framework, cluster, term, agents_missing)| {
                Event::Subscribed { framework, cluster: ClusterId(cluster), term: Term(term), agents_missing }
            }
        ),
        vec(offer().prop_map(Arc::new), 0..2).prop_map(Event::Offers),
        vec(offer_id(), 0..3).prop_map(Event::Rescind),
        status().prop_map(Event::Update),
        outcome().prop_map(Event::Outcome),
        (agent_id(), executor_id(), data()).prop_map(|(agent, executor, data)| Event::Message {
            agent,
            executor,
            data
        }),
        agent_id().prop_map(Event::AgentLost),
        (agent_id(), prose(), option::of(duration())).prop_map(|(agent, name, after)| Event::AgentLeaves {
            agent,
            name,
            after
        }),
        vec(cluster::price_change(), 0..3).prop_map(Event::Prices),
        reject().prop_map(Event::Error),
    ]
}

fn device_reports() -> impl Strategy<Value = Vec<DeviceReport>> {
    let report =
        (device(), device_state()).prop_map(|(device, state)| DeviceReport { device: Arc::new(device), state });
    vec(report, 0..3)
}

fn agent_report() -> impl Strategy<Value = AgentReport> {
    let identity = option::of((agent_id(), any::<u128>().prop_map(ClusterId)));
    let task = (framework_id(), task(), task_state()).prop_map(|(framework, task, state)| TaskReport {
        framework,
        task,
        state,
    });
    (
        identity,
        any::<u128>(),
        prose(),
        resources(),
        (attributes(), option::of(domain()), any::<u64>(), any::<u64>()),
        device_reports(),
        vec(task, 0..2),
        vec(gang_id(), 0..2),
        option::of(operation_id()),
    )
        .prop_map(|(agent, client, name, resources, like, devices, tasks, held, operated)| AgentReport {
            agent,
            term: Term(like.3),
            client: ClientId(client),
            info: Arc::new(AgentInfo { name, attributes: like.0, domain: like.1 }),
            resources,
            devices,
            tasks,
            held,
            operated,
            connection: like.2,
        })
}

pub(crate) fn from_agent() -> impl Strategy<Value = FromAgent> {
    prop_oneof![
        agent_report().prop_map(|report| FromAgent::Register(Box::new(report))),
        (framework_id(), status(), task_state()).prop_map(|(framework, status, latest)| FromAgent::Update {
            framework,
            status,
            latest
        }),
        any::<u64>().prop_map(|term| FromAgent::Confirmed(Term(term))),
        vec((device_id(), any::<u64>()), 0..3).prop_map(FromAgent::DevicesFree),
        vec((device_id(), task_key()), 0..3).prop_map(FromAgent::SlicesFree),
        device_reports().prop_map(FromAgent::Devices),
        gang_id().prop_map(FromAgent::Held),
        (gang_id(), reject()).prop_map(|(gang, reject)| FromAgent::NotHeld(gang, reject)),
        (operation_id(), option::of(reject()), resources()).prop_map(|(id, reject, resources)| FromAgent::Operated {
            id,
            result: reject.map_or(Ok(()), Err),
            resources
        }),
        any::<bool>().prop_map(|degraded| FromAgent::Journal { degraded }),
        (framework_id(), executor_id(), data()).prop_map(|(framework, executor, data)| FromAgent::Message {
            framework,
            executor,
            data
        }),
    ]
}

pub(crate) fn launch() -> impl Strategy<Value = Launch> {
    (framework_id(), group(), prose(), duration()).prop_map(|(framework, group, user, remember)| Launch {
        framework,
        group,
        user,
        remember,
    })
}

pub(crate) fn to_agent() -> impl Strategy<Value = ToAgent> {
    prop_oneof![
        (agent_id(), any::<u128>())
            .prop_map(|(agent, cluster)| ToAgent::Registered { agent, cluster: ClusterId(cluster) }),
        launch().prop_map(ToAgent::Launch),
        (task_key(), option::of(duration()), reason(), any::<bool>()).prop_map(|(task, grace, reason, announced)| {
            let announce = if announced { Announce::Yes } else { Announce::No };
            ToAgent::Kill { task, grace, reason, announce }
        }),
        (task_key(), any::<u128>()).prop_map(|(task, uuid)| ToAgent::Acknowledge { task, uuid: UpdateId(uuid) }),
        (gang_id(), vec(launch(), 0..2)).prop_map(|(gang, groups)| ToAgent::Hold { gang, groups }),
        gang_id().prop_map(ToAgent::Start),
        gang_id().prop_map(ToAgent::Release),
        device_id().prop_map(ToAgent::ClearDevice),
        framework_id().prop_map(ToAgent::RemoveFramework),
        (operation_id(), operation()).prop_map(|(id, operation)| ToAgent::Operate { id, operation }),
        (framework_id(), executor_id(), data()).prop_map(|(framework, executor, data)| ToAgent::Message {
            framework,
            executor,
            data
        }),
        reject().prop_map(ToAgent::Shutdown),
    ]
}
