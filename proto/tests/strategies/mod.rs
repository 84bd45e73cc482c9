//! Values of core's types as anything might make them.

mod answers;
mod cluster;
mod messages;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use cluster::{command, journal_record, registry_record, reply};
pub(crate) use messages::{call, event, from_agent, launch, reject, to_agent};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use rialto_core::model::*;
pub(crate) use rules::{domain, offer_rules};

pub(crate) fn word() -> impl Strategy<Value = Arc<str>> {
    "[a-z][a-z0-9]{0,6}".prop_map(Arc::from)
}

pub(crate) fn prose() -> impl Strategy<Value = Arc<str>> {
    "\\PC{0,12}".prop_map(Arc::from)
}

pub(crate) fn words() -> impl Strategy<Value = BTreeMap<Arc<str>, Arc<str>>> {
    btree_map(word(), prose(), 0..3)
}

pub(crate) fn duration() -> impl Strategy<Value = Duration> {
    (0..=10_000_000_000_u64).prop_map(Duration::from_micros)
}

macro_rules! counter {
    ($name:ident, $type:ident) => {
        pub(crate) fn $name() -> impl Strategy<Value = $type> {
            (any::<u64>(), 1..=u64::MAX).prop_map(|(term, seq)| $type::new(Term(term), seq))
        }
    };
}

counter!(agent_id, AgentId);
counter!(framework_id, FrameworkId);
counter!(offer_id, OfferId);
counter!(gang_id, GangId);
counter!(operation_id, OperationId);

pub(crate) fn task_id() -> impl Strategy<Value = TaskId> {
    "[a-zA-Z0-9._-]{1,12}x".prop_map(|text| TaskId::new(&text).expect("a good name"))
}

pub(crate) fn volume_id() -> impl Strategy<Value = VolumeId> {
    word().prop_map(|text| VolumeId::new(&text).expect("a good name"))
}

pub(crate) fn volume_key() -> impl Strategy<Value = VolumeKey> {
    (role(), volume_id(), option::of(prose())).prop_map(|(role, id, disk_source)| VolumeKey { role, id, disk_source })
}

fn volume() -> impl Strategy<Value = Volume> {
    (volume_id(), "[a-z]{1,4}(/[a-z]{1,4}){0,2}").prop_map(|(id, path)| Volume::new(id, &path).expect("a good path"))
}

pub(crate) fn executor_id() -> impl Strategy<Value = ExecutorId> {
    word().prop_map(|text| ExecutorId::new(&text).expect("a good name"))
}

pub(crate) fn task_key() -> impl Strategy<Value = TaskKey> {
    (framework_id(), task_id()).prop_map(|(framework, task)| TaskKey::new(framework, task))
}

pub(crate) fn role() -> impl Strategy<Value = Role> {
    prop_oneof![
        Just(Role::any()),
        "[a-z]{1,4}(/[a-z]{1,4}){0,2}".prop_map(|text| Role::new(&text).expect("a good role"))
    ]
}

pub(crate) fn roles() -> impl Strategy<Value = BTreeSet<Role>> {
    btree_set(role(), 1..4)
}

pub(crate) fn device_id() -> impl Strategy<Value = DeviceId> {
    "[A-Za-z0-9:-]{1,10}".prop_map(|name| DeviceId::new(&name))
}

pub(crate) fn attribute() -> impl Strategy<Value = Attribute> {
    prop_oneof![
        any::<i64>().prop_map(Attribute::Int),
        prose().prop_map(Attribute::Text),
        any::<bool>().prop_map(Attribute::Bool),
        vec(any::<u32>(), 1..4).prop_map(Attribute::Version),
        any::<u64>().prop_map(Attribute::Quantity),
    ]
}

pub(crate) fn attributes() -> impl Strategy<Value = BTreeMap<Arc<str>, Attribute>> {
    btree_map(word(), attribute(), 0..3)
}

pub(crate) fn resources() -> impl Strategy<Value = Resources> {
    vec((flavor(), amounts()), 0..3).prop_map(|parts| {
        let mut sum = Resources::new();
        for (flavor, amounts) in parts {
            if sum.get(&flavor).is_none() {
                sum.add(&Resources::flavored(flavor, amounts));
            }
        }
        sum
    })
}

fn flavor() -> impl Strategy<Value = Flavor> {
    let stack = vec((any::<bool>(), option::of(prose()), words(), option::of(any::<i64>())), 0..3);
    (stack, option::of(volume()), option::of(prose()), any::<bool>(), any::<bool>()).prop_map(
        |(stack, volume, disk_source, revocable, shared)| Flavor {
            reservations: stack.into_iter().enumerate().map(|(depth, layer)| reservation(depth, layer)).collect(),
            volume,
            disk_source,
            guarantee: if revocable { Guarantee::Revocable } else { Guarantee::Firm },
            access: if shared { Access::Shared } else { Access::Sole },
        },
    )
}

type Layer = (bool, Option<Arc<str>>, BTreeMap<Arc<str>, Arc<str>>, Option<i64>);

fn reservation(depth: usize, (dynamic, principal, labels, expires): Layer) -> Reservation {
    let role = vec!["eng"; depth + 1].join("/");
    Reservation {
        role: Role::new(&role).expect("a good role"),
        kind: if dynamic { ReservationKind::Dynamic } else { ReservationKind::Static },
        principal,
        labels,
        expires: expires.map(WallTime),
    }
}

fn resource_name() -> impl Strategy<Value = ResourceName> {
    prop_oneof!["cpus|mem|disk|ports", "[a-z]{1,6}"].prop_map(|name| ResourceName::new(&name))
}

fn amounts() -> impl Strategy<Value = Amounts> {
    let number = 0..=(1_u64 << 48);
    let range = (number.clone(), number).prop_map(|(a, b)| Range { first: a.min(b), last: a.max(b) });
    let scalars = vec((resource_name(), (0..=Milli::MAX.0).prop_map(Milli)), 0..4).prop_map(|entries| {
        let mut scalars = Quantities::new();
        entries.iter().for_each(|(name, amount)| scalars.set(name, *amount));
        scalars
    });
    (
        scalars,
        btree_map(resource_name(), vec(range, 1..4).prop_map(Ranges::new), 0..2),
        btree_map(resource_name(), btree_set(word(), 1..4), 0..2),
        btree_map(device_id(), (1..=1000_u16).prop_map(Share), 0..3),
    )
        .prop_map(|(scalars, ranges, sets, devices)| Amounts {
            scalars,
            ranges: ranges.into_iter().collect(),
            sets: sets.into_iter().collect(),
            devices,
        })
}

pub(crate) fn selector() -> impl Strategy<Value = Selector> {
    prop_oneof![Just(""), Just("memory >= 40GiB"), Just("a == \"x y\" || !(b in [1, 2])")]
        .prop_map(|text| text.parse().expect("a good selector"))
}

pub(crate) fn claim() -> impl Strategy<Value = Claim> {
    let count = prop_oneof![Just(Count::All), (1..=Claim::MAX_COUNT).prop_map(Count::Exactly)];
    let constraint = prop_oneof![
        Just(DeviceConstraint::SameNumaNode),
        Just(DeviceConstraint::SamePciRoot),
        Just(DeviceConstraint::Linked)
    ];
    let constraints = vec((constraint, prop_oneof![Just(Strength::Require), Just(Strength::Prefer)]), 0..3);
    let alternative = (word(), count, selector(), (1..=1000_u16).prop_map(Share), constraints).prop_map(
        |(kind, count, selector, share, constraints)| Alternative { kind, count, selector, share, constraints },
    );
    vec(alternative, 1..3).prop_map(|alternatives| Claim { alternatives })
}

pub(crate) fn device() -> impl Strategy<Value = Device> {
    let topology = (option::of(any::<u32>()), option::of(prose()), btree_set(device_id(), 0..3))
        .prop_map(|(numa_node, pci_root, links)| Topology { numa_node, pci_root, links });
    let health = proptest::sample::select(vec![
        Health::Unknown,
        Health::Healthy,
        Health::Degraded,
        Health::Unhealthy,
        Health::Probation,
    ]);
    let rest = (
        prop_oneof![Just(DeviceMode::Exclusive), Just(DeviceMode::Shared)],
        health,
        vec("/dev/[a-z]{1,6}".prop_map(Arc::from), 0..3),
        prop_oneof![Just(Proof::NodeClosed), Just(Proof::TreeGone)],
        host_share(),
    );
    (device_id(), word(), prose(), prose(), any::<u32>(), attributes(), topology, rest).prop_map(
        |(id, kind, vendor, model, generation, attributes, topology, (mode, health, nodes, proof, host_share))| {
            Device { id, kind, vendor, model, generation, attributes, topology, mode, health, nodes, proof, host_share }
        },
    )
}

fn host_share() -> impl Strategy<Value = Quantities> {
    (0..1_000_000_u64, 0..1_000_000_u64).prop_map(|(cpus, mem)| Quantities::of(Milli(cpus), Milli(mem)))
}

pub(crate) fn device_state() -> impl Strategy<Value = DeviceState> {
    prop_oneof![
        Just(DeviceState::Free),
        task_key().prop_map(DeviceState::Allocated),
        btree_map(task_key(), slice(), 1..3).prop_map(DeviceState::Sliced),
        any::<u64>().prop_map(|generation| DeviceState::Cleaning { generation }),
        prose().prop_map(|reason| DeviceState::Quarantined { reason }),
    ]
}

fn slice() -> impl Strategy<Value = Slice> {
    let state = prop_oneof![
        Just(SliceState::Held),
        any::<u64>().prop_map(|generation| SliceState::Cleaning { generation }),
        prose().prop_map(|reason| SliceState::Quarantined { reason }),
    ];
    (1..=500_u16, state).prop_map(|(share, state)| Slice { share: Share(share), state })
}

pub(crate) fn task() -> impl Strategy<Value = Task> {
    let executor = prop_oneof![Just(ExecutorRef::Supervisor), executor_id().prop_map(ExecutorRef::Custom)];
    let body = vec(any::<u8>(), 0..20).prop_map(Body::new);
    let expected = option::of(duration());
    (task_id(), prose(), role(), resources(), vec(claim(), 0..2), any::<i32>(), duration(), expected, executor, body)
        .prop_map(|(id, name, role, resources, claims, priority, kill_grace, expected_run_time, executor, body)| Task {
            id,
            name,
            role,
            resources,
            claims,
            priority,
            kill_grace,
            expected_run_time,
            executor,
            body,
        })
}

pub(crate) fn group() -> impl Strategy<Value = TaskGroup> {
    vec(task(), 1..3).prop_map(|mut tasks| {
        let mut ids = BTreeSet::new();
        tasks.retain(|task| ids.insert(task.id.clone()));
        TaskGroup { tasks }
    })
}

pub(crate) fn reason() -> impl Strategy<Value = Reason> {
    proptest::sample::select(Reason::ALL.to_vec())
}

pub(crate) fn task_state() -> impl Strategy<Value = TaskState> {
    proptest::sample::select(TaskState::ALL.to_vec())
}

pub(crate) fn status() -> impl Strategy<Value = Status> {
    let source = prop_oneof![Just(Source::Master), Just(Source::Agent), Just(Source::Executor)];
    let reason = option::of(proptest::sample::select(Reason::ALL.to_vec()));
    let exit = option::of(prop_oneof![any::<i32>().prop_map(Exit::Code), any::<i32>().prop_map(Exit::Signal)]);
    let health = option::of(prop_oneof![Just(TaskHealth::Healthy), Just(TaskHealth::Unhealthy)]);
    let uuid = option::of(any::<u128>().prop_map(UpdateId));
    let what = (task_id(), task_state(), source, reason, prose());
    (what, uuid, option::of(agent_id()), exit, health, any::<i64>(), words()).prop_map(
        |((task, state, source, reason, message), uuid, agent, exit, health, at, labels)| Status {
            task,
            state,
            source,
            reason,
            message,
            uuid,
            agent,
            exit,
            health,
            at: WallTime(at),
            labels,
        },
    )
}
