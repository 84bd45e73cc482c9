//! What operators say, and what is written down.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use rialto_core::agent::{KillCause, Record as JournalRecord};
use rialto_core::allocator::quota::{Force, Priorities, Quota};
use rialto_core::master::registry::{
    Admission, AgentRecord, FrameworkRecord, KillRecord, OperationRecord, PriceRecord, Record,
};
use rialto_core::master::{Command, Reply, Target};

use super::answers;
use super::messages::{info, operation};
use super::*;

pub(crate) fn command() -> impl Strategy<Value = Command> {
    let target = prop_oneof![
        framework_id().prop_map(Target::Framework),
        (framework_id(), prose()).prop_map(|(framework, shape)| Target::Shape(framework, shape.to_string())),
        task_key().prop_map(Target::Task),
    ];
    prop_oneof![
        (task_key(), option::of(duration())).prop_map(|(task, grace)| Command::Kill { task, grace }),
        framework_id().prop_map(Command::Teardown),
        agent_id().prop_map(Command::MarkGone),
        (agent_id(), device_id()).prop_map(|(agent, device)| Command::ClearDevice { agent, device }),
        (role(), option::of(mode())).prop_map(|(role, mode)| Command::SetOfferMode { role, mode }),
        (role(), 1..=u32::MAX).prop_map(|(role, weight_milli)| Command::SetWeight { role, weight_milli }),
        (vec((role(), option::of(quota())), 0..3), any::<bool>()).prop_map(|(quotas, force)| Command::SetQuota {
            quotas,
            force: if force { Force::Yes } else { Force::No },
        }),
        (agent_id(), option::of(duration())).prop_map(|(agent, after)| Command::Notice { agent, after }),
        vec(quote(), 0..4).prop_map(Command::SetPrices),
        target.clone().prop_map(Command::Why),
        target.clone().prop_map(Command::When),
        target.prop_map(Command::WhatWouldHelp),
        (agent_id(), operation()).prop_map(|(agent, operation)| Command::Operate { agent, operation }),
    ]
}

fn quota() -> impl Strategy<Value = Quota> {
    let name = proptest::sample::select(vec!["cpus", "mem", "licences", "device/gpu", "device/gpu/T4"]);
    let amounts = btree_map(name.prop_map(ResourceName::new), (0..=Milli::MAX.0).prop_map(Milli), 0..4);
    (amounts.clone(), amounts, option::of(any::<(i32, i32)>())).prop_map(|(limit, kept, priorities)| {
        let mut guarantee = Quantities::new();
        kept.iter().for_each(|(name, amount)| guarantee.set(name, *amount));
        let priorities = priorities.map(|(lowest, highest)| Priorities { lowest, highest });
        Quota { limit, guarantee, priorities }
    })
}

pub(crate) fn reply() -> impl Strategy<Value = Reply> {
    prop_oneof![
        Just(Reply::Done),
        answers::explanation().prop_map(|explanation| Reply::Why(Box::new(explanation))),
        answers::forecast().prop_map(|forecast| Reply::When(Box::new(forecast))),
        answers::advice().prop_map(|advice| Reply::WhatWouldHelp(Box::new(advice))),
    ]
}

pub(crate) fn price() -> impl Strategy<Value = Price> {
    (0..=Price::MAX.0).prop_map(Price)
}

pub(crate) fn price_key() -> impl Strategy<Value = PriceKey> {
    let name = || proptest::sample::select(vec!["G2", "gpu.large", "2024", "eu-west_1"]);
    (name(), proptest::sample::select(PriceClass::ALL.to_vec()), option::of(name()))
        .prop_map(|(pool, class, region)| PriceKey::new(pool, class, region).expect("good names"))
}

fn quote() -> impl Strategy<Value = Quote> {
    (price_key(), option::of(price())).prop_map(|(key, price)| Quote { key, price })
}

pub(crate) fn price_change() -> impl Strategy<Value = PriceChange> {
    (price_key(), option::of(price()), option::of(price())).prop_map(|(key, old, new)| PriceChange { key, old, new })
}

fn mode() -> impl Strategy<Value = OfferMode> {
    prop_oneof![Just(OfferMode::Optimistic), Just(OfferMode::Exclusive)]
}

/// Only records that put something; those that remove have no value.
pub(crate) fn registry_record() -> impl Strategy<Value = Record> {
    let admission = prop_oneof![Just(Admission::Admitted), Just(Admission::Unreachable), Just(Admission::Gone)];
    let agent =
        (any::<u128>(), prose(), prose(), admission, any::<i64>(), resources(), attributes(), option::of(domain()))
            .prop_map(|(client, principal, name, admission, since, resources, attributes, domain)| AgentRecord {
                client: ClientId(client),
                principal: Principal::new(&principal),
                info: Arc::new(AgentInfo { name, attributes, domain }),
                admission,
                since: WallTime(since),
                resources: resources.into(),
            });
    let framework = (any::<u128>(), prose(), info(), duration()).prop_map(|(client, principal, info, remaining)| {
        FrameworkRecord { client: ClientId(client), principal: Principal::new(&principal), info, remaining }
    });
    let kill = (option::of(agent_id()), option::of(duration()), reason())
        .prop_map(|(agent, grace, reason)| KillRecord { agent, grace, reason });
    prop_oneof![
        any::<u64>().prop_map(|term| Record::Term(Term(term))),
        (agent_id(), agent).prop_map(|(id, agent)| Record::Agent(id, Some(agent))),
        (framework_id(), framework).prop_map(|(id, framework)| Record::Framework(id, Some(framework))),
        (task_key(), kill).prop_map(|(task, kill)| Record::Kill(task, Some(kill))),
        (role(), mode()).prop_map(|(role, mode)| Record::OfferMode(role, Some(mode))),
        (agent_id(), any::<i64>()).prop_map(|(agent, at)| Record::Leaving(agent, Some(WallTime(at)))),
        (price_key(), price(), any::<i64>())
            .prop_map(|(key, price, since)| Record::Price(key, Some(PriceRecord { price, since: WallTime(since) }))),
        (role(), any::<u32>()).prop_map(|(role, weight)| Record::Weight(role, Some(weight))),
        (operation_id(), agent_id(), operation())
            .prop_map(|(id, agent, operation)| Record::Operation(id, Some(OperationRecord { agent, operation }))),
        (role(), quota()).prop_map(|(role, quota)| Record::Quota(role, Some(quota))),
    ]
}

pub(crate) fn journal_record() -> impl Strategy<Value = JournalRecord> {
    let cause = prop_oneof![
        Just(KillCause::Requested),
        Just(KillCause::FrameworkRemoved),
        Just(KillCause::Unhealthy),
        Just(KillCause::GangAborted),
        Just(KillCause::Preempted),
        Just(KillCause::AgentLeaving)
    ];
    prop_oneof![
        any::<u128>().prop_map(|client| JournalRecord::Client(ClientId(client))),
        (agent_id(), any::<u128>())
            .prop_map(|(agent, cluster)| JournalRecord::Registered { agent, cluster: ClusterId(cluster) }),
        any::<u64>().prop_map(|term| JournalRecord::Term(Term(term))),
        launch().prop_map(JournalRecord::Launch),
        (framework_id(), status()).prop_map(|(framework, status)| JournalRecord::Update { framework, status }),
        (task_key(), any::<u128>()).prop_map(|(task, uuid)| JournalRecord::Acknowledged { task, uuid: UpdateId(uuid) }),
        (task_key(), cause).prop_map(|(task, cause)| JournalRecord::Kill { task, cause }),
        framework_id().prop_map(JournalRecord::FrameworkRemoved),
        (framework_id(), status(), duration()).prop_map(|(framework, status, remember)| JournalRecord::Finished {
            framework,
            status,
            remember
        }),
        task_key().prop_map(|task| JournalRecord::Forgotten { task }),
        (device_id(), device_state(), any::<u64>(), option::of(prose())).prop_map(
            |(device, state, generation, condemned)| JournalRecord::Device { device, state, generation, condemned }
        ),
        (gang_id(), vec(launch(), 0..2)).prop_map(|(gang, groups)| JournalRecord::Hold { gang, groups }),
        gang_id().prop_map(JournalRecord::Released),
        (operation_id(), resources(), vec(volume_key(), 0..2))
            .prop_map(|(id, reserved, doomed)| JournalRecord::Operated { id, reserved, doomed }),
        volume_key().prop_map(JournalRecord::VolumeDestroyed),
        any::<u32>().prop_map(JournalRecord::Life),
    ]
}
