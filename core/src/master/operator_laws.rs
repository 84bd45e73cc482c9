//! Laws of operators' commands, whatever they say: no panic, the invariants hold, and each changes all that it says or nothing.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::{Command, Reply};
use crate::allocator::quota::{Bounds, Force, Priorities, Quota};
use crate::allocator::reservations::Conversion;
use crate::model::{
    Access, AgentId, Amounts, DeviceId, DeviceState, Flavor, FrameworkId, Guarantee, Milli, Operation, Price,
    PriceClass, PriceKey, Quantities, Quote, Range, Ranges, Reservation, ReservationKind, ResourceName, Resources,
    Role, Share, TaskId, TaskKey, TaskState, Term, Volume, VolumeId, WallTime,
};
use crate::testing::{Market, reserved};

const ROLES: [&str; 5] = ["*", "eng", "eng/ci", "eng/web", "ops"];

fn role() -> impl Strategy<Value = Role> {
    (0..ROLES.len()).prop_map(|at| Role::new(ROLES[at]).expect("a role"))
}

/// What is likely to fit, and what is absurd.
fn milli() -> impl Strategy<Value = Milli> {
    let few = (0..5_u64).prop_map(|whole| Milli(whole * 1000));
    prop_oneof![
        8 => few,
        1 => any::<u16>().prop_map(|milli| Milli(u64::from(milli))),
        1 => prop_oneof![Just(Milli(0)), Just(Milli::MAX), Just(Milli(Milli::MAX.0 + 1)), Just(Milli(u64::MAX))],
    ]
}

fn name() -> impl Strategy<Value = ResourceName> {
    let names = ["cpus", "mem", "disk", "bananas", "device/gpu", "device/gpu/T4", "ports"];
    (0..names.len()).prop_map(move |at| ResourceName::new(names[at]))
}

fn agent() -> impl Strategy<Value = AgentId> {
    prop_oneof![9 => (1..3_u64).prop_map(|seq| AgentId::new(Term(1), seq)), 1 => Just(AgentId::new(Term(7), 7))]
}

fn reservation() -> impl Strategy<Value = Reservation> {
    let principal = prop_oneof![2 => Just(None), 2 => Just(Some("operator")), 1 => Just(Some("somebody"))];
    let expires = prop_oneof![4 => Just(None), 1 => any::<i64>().prop_map(|end| Some(WallTime(end)))];
    (role(), any::<bool>(), principal, expires).prop_map(|(role, is_static, principal, expires)| Reservation {
        role,
        kind: if is_static { ReservationKind::Static } else { ReservationKind::Dynamic },
        principal: principal.map(Arc::from),
        labels: std::collections::BTreeMap::new(),
        expires,
    })
}

fn flavor() -> impl Strategy<Value = Flavor> {
    let volume = prop_oneof![
        3 => Just(None),
        2 => (0..3_u8).prop_map(|n| {
            let id = format!("v{n}");
            Some(Volume::new(VolumeId::new(&id).expect("a name"), &id).expect("a path"))
        }),
    ];
    let access = prop_oneof![5 => Just(Access::Sole), 1 => Just(Access::Shared)];
    let guarantee = prop_oneof![9 => Just(Guarantee::Firm), 1 => Just(Guarantee::Revocable)];
    (proptest::collection::vec(reservation(), 0..3), volume, access, guarantee).prop_map(
        |(reservations, volume, access, guarantee)| Flavor {
            reservations,
            volume,
            disk_source: None,
            guarantee,
            access,
        },
    )
}

fn amounts() -> impl Strategy<Value = Amounts> {
    let scalars = proptest::collection::vec((name(), milli()), 0..3);
    let ports = proptest::option::weighted(0.2, (0..12_u64, 0..4_u64));
    let device = proptest::option::weighted(0.1, (0..3_u8, 1..=1000_u16));
    (scalars, ports, device).prop_map(|(list, ports, device)| {
        let mut amounts = Amounts::default();
        for (name, amount) in list {
            amounts.scalars.set(&name, amount);
        }
        if let Some((first, more)) = ports {
            let ranges = Ranges::new([Range { first, last: first + more }]);
            amounts.ranges.insert(ResourceName::new("ports"), ranges);
        }
        if let Some((number, share)) = device {
            amounts.devices.insert(DeviceId::new(&format!("a-{number}")), Share(share));
        }
        amounts
    })
}

fn resources() -> impl Strategy<Value = Resources> {
    let part = prop_oneof![
        3 => (flavor(), amounts()).prop_map(|(flavor, amounts)| Resources::flavored(flavor, amounts)),
        // Such as can be done.
        2 => (1..5_usize, 1..3_u64).prop_map(|(role, cpus)| reserved(ROLES[role], &format!("cpus:{cpus};disk:{cpus}"))),
    ];
    proptest::collection::vec(part, 0..3).prop_map(|parts| {
        let mut sum = Resources::new();
        for part in parts.into_iter() {
            if sum.is_disjoint(&part) {
                sum.add(&part);
            }
        }
        sum
    })
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => resources().prop_map(Operation::Reserve),
        2 => resources().prop_map(Operation::Unreserve),
        2 => resources().prop_map(Operation::Create),
        1 => resources().prop_map(Operation::Destroy),
        1 => (resources(), resources()).prop_map(|(volume, addition)| Operation::Grow { volume, addition }),
        1 => (resources(), milli()).prop_map(|(volume, by)| Operation::Shrink { volume, by }),
    ]
}

fn quota() -> impl Strategy<Value = Quota> {
    let bounds = || proptest::collection::btree_map(name(), milli(), 0..3);
    let priorities = proptest::option::of((any::<i32>(), any::<i32>()));
    (bounds(), bounds(), priorities).prop_map(|(limit, kept, priorities): (Bounds, Bounds, _)| {
        let mut guarantee = Quantities::new();
        kept.iter().for_each(|(name, amount)| guarantee.set(name, *amount));
        let priorities = priorities.map(|(lowest, highest)| Priorities { lowest, highest });
        Quota { limit, guarantee, priorities }
    })
}

fn quote() -> impl Strategy<Value = Quote> {
    let pool = prop_oneof![Just("G2"), Just("G3")];
    let region = prop_oneof![3 => Just(None), 1 => Just(Some("eu"))];
    let price = proptest::option::weighted(0.8, (0..4_u64).prop_map(Price));
    (pool, region, price).prop_map(|(pool, region, price)| Quote {
        key: PriceKey::new(pool, PriceClass::Spot, region).expect("good names"),
        price,
    })
}

fn command() -> impl Strategy<Value = Command> {
    let framework = || prop_oneof![(1..6_u64).prop_map(|seq| FrameworkId::new(Term(1), seq))];
    let task = (framework(), 0..4_u8).prop_map(|(framework, number)| {
        TaskKey::new(framework, TaskId::new(&format!("t{number}")).expect("a task id"))
    });
    let grace =
        prop_oneof![Just(None), any::<u64>().prop_map(|us| Some(Duration::from_micros(us))), Just(Some(Duration::MAX))];
    let device = prop_oneof![Just("a-0"), Just("a-1"), Just("nothing")].prop_map(DeviceId::new);
    let weight = prop_oneof![Just(0), Just(1), Just(1000), Just(u32::MAX), any::<u32>(), 1..1_000_000_u32];
    let quotas = proptest::collection::vec((role(), proptest::option::weighted(0.8, quota())), 0..4);
    prop_oneof![
        2 => (task, grace).prop_map(|(task, grace)| Command::Kill { task, grace }),
        1 => framework().prop_map(Command::Teardown),
        1 => agent().prop_map(Command::MarkGone),
        3 => (role(), weight).prop_map(|(role, weight_milli)| Command::SetWeight { role, weight_milli }),
        2 => (agent(), device).prop_map(|(agent, device)| Command::ClearDevice { agent, device }),
        2 => (agent(), proptest::option::of(any::<u32>())).prop_map(|(agent, millis)| Command::Notice {
            agent,
            after: millis.map(|millis| Duration::from_millis(u64::from(millis))),
        }),
        9 => (agent(), operation()).prop_map(|(agent, operation)| Command::Operate { agent, operation }),
        2 => proptest::collection::vec(quote(), 0..4).prop_map(Command::SetPrices),
        6 => (quotas, any::<bool>()).prop_map(|(quotas, force)| {
            Command::SetQuota { quotas, force: if force { Force::Yes } else { Force::No } }
        }),
    ]
}

/// Two agents with GPUs, one of which is quarantined; two frameworks with tasks.
fn market() -> Market {
    let mut market = Market::new();
    market.agent_with_gpus("a", "cpus:8;mem:1024;disk:100;ports:[1-9]", &["T4", "T4"]).agent("b", "cpus:8;mem:1024");
    market.device_is("a", "a-1", DeviceState::Quarantined { reason: "a person is to look at it".into() });
    market.framework("ci", "eng/ci").framework("ops", "ops");
    market.launch("ci", "a", "t1", "cpus:1;mem:64").launch("ops", "b", "t2", "cpus:2;mem:64");
    market.update("a", "ci", "t1", TaskState::Running).lines();
    market
}

/// The command was done: all of it is seen.
fn assert_done(market: &Market, before: &super::view::View, command: &Command) {
    let view = market.master.view();
    match command {
        Command::SetWeight { role, weight_milli } => {
            let kept = market.registry().weights.get(role).copied();
            assert_eq!(kept.unwrap_or(1000), *weight_milli);
        }
        Command::SetQuota { quotas, .. } => {
            for (role, quota) in quotas {
                let wanted = quota.clone().filter(|quota| !quota.is_empty());
                assert_eq!(market.registry().quotas.get(role), wanted.as_ref(), "{role}");
                let seen = view.roles.get(role).map(|row| row.usage.quota.clone()).unwrap_or_default();
                assert_eq!(seen, wanted.unwrap_or_default(), "{role}");
            }
        }
        Command::Operate { agent, .. } => {
            let (was, is) = (&before.agents[agent].total, &view.agents[agent].total);
            assert_eq!(was.quantities(), is.quantities(), "an operation makes nothing and loses nothing");
        }
        Command::Notice { agent, after } => {
            let is_leaving = after.is_some_and(|after| !after.is_zero());
            assert_eq!(market.registry().leaving.contains_key(agent), is_leaving);
            assert_eq!(view.agents[agent].leaves.is_some(), is_leaving);
        }
        Command::SetPrices(quotes) => {
            for Quote { key, price } in quotes {
                assert_eq!(market.registry().prices.get(key).map(|record| record.price), *price, "{key}");
                assert_eq!(view.prices.get(key).map(|row| row.price), *price, "{key}");
            }
        }
        Command::Teardown(framework) => assert!(!market.registry().frameworks.contains_key(framework)),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_command_panics_and_each_does_all_or_nothing(commands in proptest::collection::vec(command(), 1..25)) {
        let mut market = market();
        for command in commands {
            let registry = market.registry().clone();
            let before = market.master.view();
            let reply = market.ask(command.clone());
            market.check();
            match reply {
                Ok(Reply::Done) => assert_done(&market, &before, &command),
                Ok(other) => prop_assert!(false, "{command:?} was answered with {other:?}"),
                Err(reject) => {
                    prop_assert!(!reject.to_string().is_empty());
                    prop_assert!(*market.registry() == registry, "{command:?}: {reject}");
                    prop_assert!(market.master.view() == before, "{command:?}: {reject}");
                }
            }
            market.confirm("a").confirm("b");
        }
    }

    #[test]
    fn no_operation_by_itself_panics(operation in operation(), there in resources()) {
        let Ok(conversion) = Conversion::of(&operation) else { return Ok(()) };
        let mut after = there.clone();
        if conversion.apply(&mut after).is_err() {
            prop_assert_eq!(after, there);
        }
    }
}
