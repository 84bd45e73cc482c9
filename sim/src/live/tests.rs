use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rialto_core::model::{
    AgentInfo, Attribute, Device, DeviceId, DeviceMode, Health, Milli, Proof, Quantities, Resources, Role, Selector,
    Shape, Share, Topology,
};

use super::*;

const MINUTE: Duration = Duration::from_secs(60);
const FAR: Assumptions = Assumptions { run_time: None, horizon: Duration::from_secs(30 * 24 * 3600) };

fn cores(cores: u64) -> Quantities {
    Quantities::of(Milli::from_whole(cores), Milli::from_whole(64 * cores))
}

/// Four cores, and these GPUs.
fn agent(name: &str, rack: &str, gpus: &[&str]) -> Agent {
    let gpu = |id: &&str| {
        Arc::new(Device {
            id: DeviceId::new(id),
            kind: Arc::from("gpu"),
            vendor: Arc::from(""),
            model: Arc::from("T4"),
            generation: 0,
            attributes: BTreeMap::new(),
            topology: Topology::default(),
            mode: DeviceMode::Exclusive,
            health: Health::Healthy,
            nodes: Vec::new(),
            proof: Proof::TreeGone,
            host_share: Quantities::new(),
        })
    };
    Agent {
        info: AgentInfo {
            name: Arc::from(name),
            attributes: BTreeMap::from([(Arc::from("rack"), Attribute::text(rack))]),
            domain: None,
        },
        resources: Resources::scalars(cores(4)),
        devices: gpus.iter().map(gpu).collect(),
    }
}

fn runs(task: &str, agent: usize, on: u64, left: Option<Duration>) -> Running {
    Running {
        task: task.to_owned(),
        role: Role::any(),
        agent,
        scalars: cores(on),
        devices: Vec::new(),
        priority: 0,
        left,
    }
}

fn waits(name: &str, on: u64, count: u32) -> (Role, Shape) {
    let shape = Shape {
        name: Arc::from(name),
        resources: Resources::scalars(cores(on)),
        claims: Vec::new(),
        constraint: Selector::any(),
        count,
        priority: 0,
        expected_run_time: Some(10 * MINUTE),
    };
    (Role::any(), shape)
}

fn cluster(running: Vec<Running>, waiting: Vec<(Role, Shape)>) -> Snapshot {
    let frameworks = [("F1-1", running, Vec::new()), ("F1-2", Vec::new(), waiting)];
    Snapshot {
        agents: vec![agent("a", "r1", &["g0"]), agent("b", "r2", &[])],
        frameworks: frameworks
            .into_iter()
            .map(|(id, running, waiting)| Framework { id: id.to_owned(), running, waiting })
            .collect(),
        roles: Vec::new(),
    }
}

fn only(outcome: &Outcome) -> &WaitOutcome {
    let [wait] = &outcome.waits[..] else { panic!("{outcome:?}") };
    assert!(outcome.not_taken_up.is_empty(), "{outcome:?}");
    wait
}

#[test]
fn what_waits_starts_when_what_runs_ends() {
    let running = vec![runs("x", 0, 4, Some(5 * MINUTE)), runs("y", 1, 4, Some(20 * MINUTE))];
    let snapshot = cluster(running, vec![waits("job", 4, 3)]);
    let outcome = run_on(&snapshot, &FAR, &[]);
    let wait = only(&outcome);
    // On a after x, then after the first of them, on b after y.
    assert_eq!((wait.started, wait.first.map(whole), wait.all.map(whole)), (3, Some(5), Some(20)), "{wait:?}");
    assert_eq!(outcome, run_on(&snapshot, &FAR, &[]), "the same snapshot gives the same answer");
}

/// Minutes, without the moment in which everything was taken up.
fn whole(time: Duration) -> u64 {
    (time.as_secs_f64() / 60.0).round() as u64
}

#[test]
fn what_declares_nothing_runs_without_end_unless_that_is_assumed() {
    let running = vec![runs("x", 0, 4, None), runs("y", 1, 4, None)];
    let snapshot = cluster(running, vec![waits("job", 1, 1)]);
    assert_eq!(only(&run_on(&snapshot, &FAR, &[])).first, None);
    let assumed = Assumptions { run_time: Some(30 * MINUTE), ..FAR };
    assert_eq!(only(&run_on(&snapshot, &assumed, &[])).first.map(whole), Some(30));
}

#[test]
fn machines_that_come_are_used_from_then_on() {
    let running = vec![runs("x", 0, 4, None), runs("y", 1, 4, None)];
    let snapshot = cluster(running, vec![waits("job", 4, 2)]);
    let week = 7 * 24 * 60 * MINUTE;
    let addition = Addition { like: 1, count: 1, after: week };
    let outcome = run_on(&snapshot, &FAR, &[addition]);
    let wait = only(&outcome);
    assert_eq!((wait.first.map(whole), wait.all.map(whole)), (Some(7 * 24 * 60), Some(7 * 24 * 60 + 10)));
}

#[test]
fn so_many_machines_more_suffice_and_one_less_does_not() {
    let running = vec![runs("x", 0, 4, None), runs("y", 1, 4, None)];
    let snapshot = cluster(running, vec![waits("job", 4, 3)]);
    let found = what_suffices(&snapshot, &FAR, MINUTE, &|_| true);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|enough| enough.count == 3), "{found:?}");
    let found = what_suffices(&snapshot, &FAR, 15 * MINUTE, &|_| true);
    assert!(found.iter().all(|enough| enough.count == 2), "two of them run one after the other: {found:?}");
}

#[test]
fn devices_are_held_by_who_held_them_and_constraints_hold() {
    let holder = Running { devices: vec![(DeviceId::new("g0"), Share::WHOLE)], ..runs("x", 0, 1, Some(5 * MINUTE)) };
    let (role, mut shape) = waits("gpu job", 1, 1);
    shape.claims = vec!["gpu: model == \"T4\"".parse().expect("a claim")];
    let snapshot = cluster(vec![holder], vec![(role.clone(), shape)]);
    assert_eq!(only(&run_on(&snapshot, &FAR, &[])).first.map(whole), Some(5));
    let (_, mut shape) = waits("far job", 1, 1);
    shape.constraint = "rack == \"r9\"".parse().expect("a selector");
    let snapshot = cluster(Vec::new(), vec![(role, shape)]);
    assert_eq!(only(&run_on(&snapshot, &FAR, &[])).first, None);
    assert!(what_suffices(&snapshot, &FAR, MINUTE, &|_| true).is_empty(), "no machine there is would do");
}

#[test]
fn limits_of_roles_hold_in_the_future_too() {
    let mut snapshot = cluster(Vec::new(), vec![waits("job", 1, 4)]);
    let mut quota = rialto_core::allocator::quota::Quota::default();
    quota.limit.insert(rialto_core::model::ResourceName::Cpus, Milli::from_whole(2));
    snapshot.roles.push(Terms { role: Role::any(), weight_milli: 1000, quota });
    let outcome = run_on(&snapshot, &FAR, &[]);
    let wait = only(&outcome);
    assert_eq!((wait.first.map(whole), wait.all.map(whole)), (Some(0), Some(10)), "two at a time: {wait:?}");
}

#[test]
fn what_finds_no_room_where_it_is_said_to_run_is_named() {
    let running = vec![runs("x", 0, 4, None), runs("y", 0, 4, None)];
    let outcome = run_on(&cluster(running, Vec::new()), &FAR, &[]);
    assert_eq!(outcome.not_taken_up, ["F1-1/y"]);
}
