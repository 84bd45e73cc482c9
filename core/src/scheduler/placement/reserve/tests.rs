use super::super::super::bench::{agent, offer, role, task_id};
use super::super::{Needs, Strategy};
use super::*;
use crate::model::{Body, ExecutorRef, Offer, Task, TaskGroup};

fn packer(offers: &[Offer]) -> Packer {
    Packer::new(&role("web"), offers)
}

fn disk(mib: u64) -> Quantities {
    let mut scalars = Quantities::new();
    scalars.set(&ResourceName::Disk, Milli::from_whole(mib));
    scalars
}

fn needs(cpus: u64) -> Needs {
    Needs::new(Quantities::of(Milli::from_whole(cpus), Milli::ZERO))
}

fn volume(id: &str) -> Volume {
    Volume::new(VolumeId::new(id).expect("a name"), id).expect("a path")
}

fn task(name: &str, placement: &Placement) -> Task {
    Task {
        id: task_id(name),
        name: name.into(),
        role: role("web"),
        resources: placement.resources.clone(),
        claims: Vec::new(),
        priority: 0,
        kill_grace: std::time::Duration::from_secs(5),
        expected_run_time: None,
        executor: ExecutorRef::Supervisor,
        body: Body::new([]),
    }
}

#[test]
fn one_accept_reserves_makes_a_volume_and_launches_on_it() {
    let mut packer = packer(&[offer(1, 1, "web", "cpus:4;disk:100", &[])]);
    packer.reserve(agent(1), &role("web"), &disk(80)).expect("there is so much");
    let made = packer.create(agent(1), volume("db"), Milli::from_whole(60), Access::Sole).expect("it is reserved");
    let mut placement = packer.place(&needs(1), Strategy::Pack).expect("there is room");
    assert!(packer.attach(&mut placement, &made));
    assert!(!packer.attach(&mut placement.clone(), &made), "it has a user");
    packer.launch(&placement, task("t1", &placement));
    let plan = packer.into_accepts().remove(0);
    let [Operation::Reserve(reserved), Operation::Create(created), Operation::Launch(group)] = &*plan.operations else {
        panic!("{:?}", plan.operations)
    };
    assert_eq!((reserved.quantities(), created), (disk(80), &made.resources));
    assert_eq!(group, &TaskGroup::single(task("t1", &placement)));
    assert!(group.tasks[0].resources.contains(created));
}

#[test]
fn no_more_is_reserved_than_there_is() {
    let mut packer = packer(&[offer(1, 1, "web", "cpus:4;disk:100", &[])]);
    assert_eq!(packer.reserve(agent(1), &role("web"), &disk(101)), None);
    assert_eq!(packer.create(agent(1), volume("db"), Milli::from_whole(1), Access::Sole), None, "nothing is reserved");
    assert!(packer.into_accepts().is_empty());
}

#[test]
fn a_volume_of_an_earlier_life_is_found_by_its_name() {
    let mut before = packer(&[offer(1, 1, "web", "cpus:4;disk:100", &[])]);
    before.reserve(agent(1), &role("web"), &disk(60)).expect("there is so much");
    let made = before.create(agent(1), volume("db"), Milli::from_whole(60), Access::Shared).expect("it is reserved");
    let mut offered = offer(2, 1, "web", "cpus:4", &[]);
    std::sync::Arc::make_mut(&mut offered.resources).add(&made.resources);
    let mut packer = packer(&[offered, offer(3, 2, "web", "cpus:1", &[])]);
    let found = packer.volume(&VolumeId::new("db").expect("a name")).expect("it is on offer");
    assert_eq!(found, made);
    assert_eq!(packer.volume(&VolumeId::new("other").expect("a name")), None);
    let on = |id| move |host: &Host| (host.agent() == id).then_some(0);
    let mut elsewhere = packer.place_ranked(&needs(1), Strategy::Pack, on(agent(2))).expect("there is room");
    assert!(!packer.attach(&mut elsewhere, &found));
    for _ in 0..2 {
        let mut here = packer.place_ranked(&needs(1), Strategy::Pack, on(agent(1))).expect("there is room");
        assert!(packer.attach(&mut here, &found), "several may share it");
    }
}

#[test]
fn a_task_that_needs_a_volume_goes_where_it_is() {
    let mut before = packer(&[offer(1, 2, "web", "cpus:4;disk:100", &[])]);
    before.reserve(agent(2), &role("web"), &disk(60)).expect("there is so much");
    let made = before.create(agent(2), volume("db"), Milli::from_whole(60), Access::Sole).expect("it is reserved");
    let mut offered = offer(2, 2, "web", "cpus:4", &[]);
    std::sync::Arc::make_mut(&mut offered.resources).add(&made.resources);
    let mut packer = packer(&[offer(3, 1, "web", "cpus:1", &[]), offered]);
    let on_db = Needs { volumes: vec![VolumeId::new("db").expect("a name")], ..needs(1) };
    let placement = packer.place(&on_db, Strategy::Pack).expect("the volume is on offer");
    assert_eq!(placement.agent, agent(2));
    assert!(placement.resources.contains(&made.resources));
    assert_eq!(packer.place(&on_db, Strategy::Pack), None, "it has a user");
}
