//! Whatever an operator asks for: what can't be done is refused with the reason, and changes nothing.

use std::time::Duration;

use super::{Command, Config};
use crate::allocator::quota::{Force, Priorities, Quota};
use crate::model::{
    AgentId, DeviceId, FrameworkId, Milli, Operation, Quantities, Reject, ResourceName, Resources, Role, TaskId,
    TaskKey, Term,
};
use crate::testing::{Market, quota, refined, reserved, shared, until, volume};

/// One agent with a GPU; role eng has a volume there, a task that holds two cpus, and a limit.
fn market() -> Market {
    let mut market = Market::new();
    market.agent_with_gpus("a", "cpus:4;mem:1024;disk:1000;ports:[1-9]", &["T4"]).framework("ci", "eng");
    market.operate("a", Operation::Reserve(reserved("eng", "disk:200"))).confirm("a");
    let data = volume("data", &signed(&reserved("eng", "disk:100")));
    market.operate("a", Operation::Create(data)).confirm("a");
    market.quota("eng", "cpus:3", "").launch("ci", "a", "t1", "cpus:2;mem:64").lines();
    market
}

/// As reserved by the operator of the test language.
fn signed(resources: &Resources) -> Resources {
    let mut signed = Resources::new();
    for (flavor, amounts) in resources.iter() {
        let mut flavor = flavor.clone();
        flavor.reservations.last_mut().expect("it is reserved").principal = Some("operator".into());
        signed.add(&Resources::flavored(flavor, amounts.clone()));
    }
    signed
}

const A: AgentId = AgentId::new(Term(1), 1);
const NOBODY: AgentId = AgentId::new(Term(9), 9);

fn role(name: &str) -> Role {
    Role::new(name).expect("a role")
}

fn on(agent: AgentId, operation: Operation) -> Command {
    Command::Operate { agent, operation }
}

fn weight(weight_milli: u32) -> Command {
    Command::SetWeight { role: role("eng"), weight_milli }
}

fn quotas(list: Vec<(&str, Quota)>) -> Command {
    let quotas = list.into_iter().map(|(name, quota)| (role(name), Some(quota))).collect();
    Command::SetQuota { quotas, force: Force::No }
}

fn disk(mib: u64) -> Resources {
    signed(&reserved("eng", &format!("disk:{mib}")))
}

fn data() -> Resources {
    volume("data", &disk(100))
}

fn huge(name: &str) -> Resources {
    let mut scalars = Quantities::new();
    scalars.set(&ResourceName::new(name), Milli(u64::MAX));
    refined("eng", &Resources::scalars(scalars))
}

#[track_caller]
fn assert_refused(market: &mut Market, command: Command, says: &str) {
    let before = (market.registry().clone(), market.master.view());
    let asked = format!("{command:?}");
    let reject = market.ask(command).expect_err(&asked);
    let told = market.lines();
    market.check();
    assert!(reject.to_string().contains(says), "{asked}: {says:?} is not said: {reject}");
    assert!((market.registry().clone(), market.master.view()) == before, "{asked}: refused, and something has changed");
    assert!(told.iter().all(|line| line.starts_with("update")), "{asked}: {told:?}");
}

#[track_caller]
fn assert_all_refused(commands: Vec<(Command, &str)>) {
    let mut market = market();
    for (command, says) in commands {
        assert_refused(&mut market, command, says);
    }
}

#[test]
fn bad_weights() {
    assert_all_refused(vec![
        (weight(0), "weight: expected 0.001 to 1000, got 0"),
        (weight(1_000_001), "weight: expected 0.001 to 1000, got 1000.001"),
        (weight(u32::MAX), "weight: expected 0.001 to 1000, got 4294967.295"),
    ]);
}

#[test]
fn bad_quotas() {
    let mut absurd = quota("", "");
    absurd.guarantee.set(&ResourceName::Mem, Milli(u64::MAX));
    let priorities = Quota { priorities: Some(Priorities { lowest: 1, highest: 0 }), ..Quota::default() };
    assert_all_refused(vec![
        (quotas(Vec::new()), "quotas: expected 1 to 1000 roles, got 0"),
        (quotas(vec![("eng", quota("cpus:1", ""))]), "eng: cpus: limit 1 is below the 2 that it holds"),
        (quotas(vec![("eng", quota("cpus:0", ""))]), "eng: cpus: limit 0 is below the 2 that it holds"),
        (quotas(vec![("eng", quota("cpus:3", "cpus:4"))]), "eng: cpus: limit 3 is below its guarantee of 4"),
        (
            quotas(vec![("ops", quota("", "cpus:5"))]),
            "cpus: the guarantees of all roles are 5 together, and the cluster",
        ),
        (quotas(vec![("ops", absurd)]), "ops: mem: expected at most 1000000000"),
        (quotas(vec![("ops", priorities)]), "ops: priorities: expected the lowest first"),
        (quotas(vec![("ops", quota("cpus:1", "")), ("ops", quota("", ""))]), "ops: named twice"),
        (quotas(vec![("ops", quota("cpus:1", "")), ("eng", quota("cpus:1", ""))]), "eng: cpus: limit 1 is below the 2"),
        (
            quotas(vec![("eng/a", quota("", "cpus:2")), ("eng/b", quota("", "cpus:2"))]),
            "eng: cpus: limit 3 is below the",
        ),
    ]);
}

#[test]
fn bad_reservations() {
    let twice = reserved("eng", "ports:[1-3]").plus(&reserved("ops", "ports:[3-5]"));
    assert_all_refused(vec![
        (on(NOBODY, Operation::Reserve(reserved("eng", "cpus:1"))), "agent A9-9 is not known here"),
        (on(A, Operation::Reserve(Resources::new())), "reserve: expected resources, got none"),
        (on(A, Operation::Reserve(reserved("eng", "cpus:0"))), "reserve: expected resources, got none"),
        (on(A, Operation::Reserve(reserved("eng", "cpus:9"))), "reserve: asks for cpus:9 of cpus:4"),
        (on(A, Operation::Reserve(huge("cpus"))), "reserve: asks for cpus:"),
        (on(A, Operation::Reserve(huge("bananas"))), "reserve: asks for bananas:"),
        (on(A, Operation::Reserve(reserved("eng", "cpus:3"))), "left: cpus:2"),
        (on(A, Operation::Reserve(reserved("*", "cpus:1"))), "reserve: role: expected one other than *"),
        (
            on(A, Operation::Reserve("cpus:1".parse().expect("resources"))),
            "reserve: expected a dynamic reservation on top",
        ),
        (
            on(A, Operation::Reserve(refined("ops", &disk(100)))),
            "reserve: role: expected one strictly below eng, got ops",
        ),
        (
            on(A, Operation::Reserve(refined("eng", &disk(100)))),
            "reserve: role: expected one strictly below eng, got eng",
        ),
        (on(A, Operation::Reserve(twice)), "reserve: overlaps with what is there already"),
        (on(A, Operation::Reserve(until(-1, &reserved("eng", "cpus:1")))), "reserve: expires: expected a time to come"),
        (
            on(A, Operation::Reserve(refined("eng", &Resources::devices([DeviceId::new("a-0")])))),
            "reserve: expected no devices",
        ),
        // One part can be done, the other can't.
        (
            on(A, Operation::Reserve(reserved("eng", "cpus:1").plus(&reserved("ops", "cpus:9")))),
            "reserve: asks for cpus:10",
        ),
        (on(A, Operation::Unreserve(signed(&reserved("ops", "disk:1")))), "unreserve: asks for disk(ops):1 of"),
        (on(A, Operation::Unreserve(disk(101))), "unreserve: asks for disk(eng):101 of"),
        (
            on(A, Operation::Unreserve("cpus:1".parse().expect("resources"))),
            "unreserve: expected a dynamic reservation",
        ),
        (on(A, Operation::Unreserve(data())), "unreserve: expected no volume"),
    ]);
}

#[test]
fn bad_volumes() {
    let grow = |volume: Resources, addition: Resources| on(A, Operation::Grow { volume, addition });
    let shrink = |volume: Resources, by: u64| on(A, Operation::Shrink { volume, by: Milli(by) });
    assert_all_refused(vec![
        (on(NOBODY, Operation::Create(volume("new", &disk(10)))), "agent A9-9 is not known here"),
        (on(A, Operation::Create(data())), "volume id data is used already"),
        (on(A, Operation::Create(volume("new", &disk(101)))), "create: asks for disk(eng):101 of"),
        (on(A, Operation::Create(volume("new", &huge("disk")))), "create: asks for disk(eng):"),
        (on(A, Operation::Create(volume("new", &disk(0)))), "create: expected resources, got none"),
        (on(A, Operation::Create(volume("new", &reserved("eng", "cpus:1")))), "create: expected reserved disk"),
        (
            on(A, Operation::Create(volume("new", &"disk:10".parse().expect("resources")))),
            "create: expected reserved disk",
        ),
        (on(A, Operation::Create(disk(10))), "create: expected reserved disk with a volume id"),
        (
            on(
                A,
                Operation::Create(volume("new", &disk(10)).plus(&volume("new", &signed(&reserved("ops", "disk:1"))))),
            ),
            "create: asks for disk(eng):10 disk(ops):1 of",
        ),
        (on(A, Operation::Destroy(volume("other", &disk(100)))), "destroy: asks for disk(eng)[other:other]:100 of"),
        (on(A, Operation::Destroy(volume("data", &disk(99)))), "destroy: asks for disk(eng)[data:data]:99 of"),
        (on(A, Operation::Destroy(disk(100))), "destroy: expected reserved disk with a volume id"),
        (grow(data(), Resources::new()), "grow: expected resources, got none"),
        (grow(data(), disk(0)), "grow: expected resources, got none"),
        (grow(data(), disk(101)), "grow: asks for"),
        (grow(data(), signed(&huge("disk"))), "grow: asks for"),
        (grow(data(), "disk:10".parse().expect("resources")), "grow: addition: expected disk of the volume's own"),
        (grow(data(), reserved("eng", "cpus:1")), "grow: addition: expected disk of the volume's own"),
        (grow(data().plus(&volume("two", &disk(1))), disk(10)), "grow: expected one volume"),
        (grow(shared(&data()), disk(10)), "grow: expected a volume that is not shared"),
        (grow(volume("other", &disk(100)), disk(10)), "grow: asks for"),
        (shrink(data(), 0), "shrink: expected resources, got none"),
        (shrink(data(), 100_000), "shrink: expected less than the volume's 100 MiB"),
        (shrink(data(), u64::MAX), "shrink: expected less than the volume's 100 MiB"),
        (shrink(volume("other", &disk(100)), 1), "shrink: asks for"),
        (shrink(Resources::new(), 1), "shrink: expected resources, got none"),
    ]);
}

#[test]
fn bad_names() {
    let nobody = FrameworkId::new(Term(9), 9);
    let task = |framework| TaskKey::new(framework, TaskId::new("t9").expect("a task id"));
    let kill = |framework| Command::Kill { task: task(framework), grace: Some(Duration::MAX) };
    let ci = market().framework_id("ci");
    let clear = |agent, device: &str| Command::ClearDevice { agent, device: DeviceId::new(device) };
    assert_all_refused(vec![
        (kill(nobody), "framework is not known here"),
        (kill(ci), "task t9 is not known"),
        (Command::Teardown(nobody), "framework is not known here"),
        (Command::MarkGone(NOBODY), "agent A9-9 is not known here"),
        (clear(NOBODY, "a-0"), "agent A9-9 is not known here"),
        (clear(A, "b-0"), "device: expected a device of A1-1, got b-0"),
        (clear(A, "a-0"), "device: expected one that is quarantined, a-0 is not"),
    ]);
}

#[test]
fn what_an_agent_that_is_gone_or_away_is_asked_for() {
    let mut market = market();
    market.agent_leaves("a").lines();
    let reserve = || on(A, Operation::Reserve(reserved("eng", "cpus:1")));
    assert_refused(&mut market, reserve(), "agent A1-1 is away");
    market.operator(Command::MarkGone(A)).lines();
    assert_refused(&mut market, Command::MarkGone(A), "agent A1-1 is not known here: it was marked gone");
    assert_refused(&mut market, reserve(), "agent A1-1");
}

#[test]
fn a_volume_in_use_is_not_touched() {
    let mut market = market();
    let offer = market.offer_of("ci", "a");
    let task = crate::model::Task { resources: data(), ..crate::testing::task("t2", "eng", "", &[]) };
    market.accept("ci", &offer, vec![Operation::Launch(crate::model::TaskGroup::single(task))]).lines();
    for operation in [
        Operation::Destroy(data()),
        Operation::Shrink { volume: data(), by: Milli(1000) },
        Operation::Grow { volume: data(), addition: disk(10) },
    ] {
        assert_refused(&mut market, on(A, operation), "volume data is in use by a task");
    }
}

#[test]
fn where_roles_are_listed_others_are_unknown() {
    let mut market = Market::with(Config { roles: vec![role("eng"), role("ops")], ..Config::default() });
    market.agent("a", "cpus:4;mem:1024").framework("ci", "eng/ci").lines();
    let unknown = "role: expected one of eng, ops or below, got sales";
    let weigh = |name: &str| Command::SetWeight { role: role(name), weight_milli: 2000 };
    assert_refused(&mut market, weigh("sales"), unknown);
    assert_refused(&mut market, quotas(vec![("ops", quota("cpus:1", "")), ("sales", quota("cpus:1", ""))]), unknown);
    assert_refused(&mut market, on(A, Operation::Reserve(reserved("sales", "cpus:1"))), unknown);
    for name in ["eng", "eng/ci/deep", "*"] {
        assert_eq!(market.ask(weigh(name)), Ok(super::Reply::Done), "{name}");
    }
    market.framework("people", "sales").expect("error invalid -> people\nclose people: invalid");
}

#[test]
fn the_default_weight_is_the_same_as_none() {
    let mut market = market();
    market.operator(weight(2000)).operator(weight(1000));
    assert!(market.registry().weights.is_empty());
}

#[test]
fn tables_of_roles_are_bounded() {
    let mut market = Market::new().checked_when_asked();
    for number in 0..super::known_roles::WEIGHTS_MAX {
        let role = role(&format!("r{number}"));
        market.ask(Command::SetWeight { role, weight_milli: 2000 }).expect("there is room");
    }
    let more = Command::SetWeight { role: role("more"), weight_milli: 2000 };
    assert_eq!(market.ask(more), Err(Reject::Limit { what: "roles with a weight", limit: 10_000 }));
    market.ask(Command::SetWeight { role: role("r7"), weight_milli: 3000 }).expect("it has one already");
}
