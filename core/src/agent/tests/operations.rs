//! Reservations and volumes: done once, kept across a crash, and merged with what the agent is configured with.

use super::language::{World, agent, task};
use crate::agent::Effect;
use crate::model::{
    FromAgent, Operation, OperationId, Reject, Resources, Role, Task, TaskState, Term, ToAgent, VolumeId, VolumeKey,
};
use crate::testing::{reserved, shared, volume};

fn id(seq: u64) -> OperationId {
    OperationId::new(Term(1), seq)
}

fn text(resources: &str) -> Resources {
    resources.parse().expect("they are well formed")
}

fn data_key() -> VolumeKey {
    VolumeKey { role: Role::new("eng").expect("a role"), id: VolumeId::new("data").expect("a name"), disk_source: None }
}

impl World {
    fn operate(&mut self, seq: u64, operation: Operation) {
        self.master_says(ToAgent::Operate { id: id(seq), operation });
    }

    /// The confirmation of the operation number `seq`: what became of it, and what the agent has now.
    #[track_caller]
    fn expect_operated(&mut self, seq: u64) -> (Result<(), Reject>, Resources) {
        self.expect("a confirmation", |effect| match effect {
            Effect::ToMaster(FromAgent::Operated { id: of, result, resources }) if *of == id(seq) => {
                Some((result.clone(), resources.clone()))
            }
            _ => None,
        })
    }

    #[track_caller]
    fn expect_volume_made(&mut self, expected: bool) {
        self.expect("a volume to be made", |effect| {
            matches!(effect, Effect::MakeVolume { volume, fresh } if *volume == data_key() && *fresh == expected)
                .then_some(())
        });
    }

    #[track_caller]
    fn expect_volume_destroyed(&mut self) {
        self.expect("a volume to be destroyed", |effect| {
            matches!(effect, Effect::DestroyVolume(volume) if *volume == data_key()).then_some(())
        });
    }
}

/// An agent with disk, too.
fn with_disk() -> World {
    let mut a = agent();
    a.configure("cpus:4;mem:8192;disk:1000");
    a.crash_and_recover();
    a.connect();
    a
}

/// One on which a volume of 100 MiB was made, confirmed.
fn with_volume() -> (World, Resources) {
    let mut a = with_disk();
    let disk = reserved("eng", "disk:100");
    let data = volume("data", &disk);
    a.operate(1, Operation::Reserve(disk));
    a.operate(2, Operation::Create(data.clone()));
    a.expect_operated(1).0.expect("it is done");
    a.expect_volume_made(true);
    a.expect_operated(2).0.expect("it is done");
    (a, data)
}

fn task_on(id: &str, resources: &Resources) -> Task {
    let mut task = task(id, "cpus:1");
    task.resources.add(resources);
    task
}

#[test]
fn an_operation_is_confirmed_once_it_is_durable() {
    let mut a = with_disk();
    a.disk_stalls();
    a.operate(1, Operation::Reserve(reserved("eng", "cpus:2")));
    a.expect_nothing();
    a.disk_recovers();
    let (result, resources) = a.expect_operated(1);
    assert_eq!((result, resources), (Ok(()), text("cpus:2;mem:8192;disk:1000").plus(&reserved("eng", "cpus:2"))));
}

#[test]
fn an_operation_that_is_repeated_is_confirmed_and_not_done_again() {
    let mut a = with_disk();
    for _ in 0..2 {
        a.operate(1, Operation::Reserve(reserved("eng", "cpus:2")));
        let (result, resources) = a.expect_operated(1);
        assert_eq!(result, Ok(()));
        assert_eq!(resources, text("cpus:2;mem:8192;disk:1000").plus(&reserved("eng", "cpus:2")));
    }
}

#[test]
fn what_was_done_is_reported_after_a_crash() {
    let (mut a, data) = with_volume();
    a.crash_and_recover();
    a.expect_volume_made(false);
    let report = a.connect();
    assert_eq!(report.operated, Some(id(2)));
    assert_eq!(report.resources, text("cpus:4;mem:8192;disk:900").plus(&data));
}

#[test]
fn an_operation_whose_record_was_lost_in_a_crash_never_was() {
    let mut a = with_disk();
    a.disk_stalls();
    a.operate(1, Operation::Reserve(reserved("eng", "cpus:2")));
    a.crash_and_recover();
    let report = a.connect();
    assert_eq!((report.operated, report.resources), (None, text("cpus:4;mem:8192;disk:1000")));
    a.operate(1, Operation::Reserve(reserved("eng", "cpus:2")));
    assert_eq!(a.expect_operated(1).0, Ok(()));
}

#[test]
fn a_volume_in_use_is_not_destroyed() {
    let (mut a, data) = with_volume();
    a.launch_group(vec![task_on("t1", &data)]);
    a.expect_start("t1");
    a.operate(3, Operation::Destroy(data.clone()));
    assert!(matches!(a.expect_operated(3).0, Err(Reject::VolumeInUse(_))));
    a.exits("t1", 0);
    a.expect_update("t1", TaskState::Finished);
    a.operate(4, Operation::Destroy(data));
    a.expect_volume_destroyed();
    assert_eq!(a.expect_operated(4).0, Ok(()));
}

#[test]
fn a_shared_volume_is_held_by_several_tasks() {
    let mut a = with_disk();
    let disk = reserved("eng", "disk:100");
    let data = shared(&volume("data", &disk));
    a.operate(1, Operation::Reserve(disk));
    a.operate(2, Operation::Create(data.clone()));
    a.launch_group(vec![task_on("t1", &data), task_on("t2", &data)]);
    a.expect_start("t1");
    a.launch_group(vec![task_on("t3", &data)]);
    a.expect_start("t3");
    a.operate(3, Operation::Destroy(data));
    assert!(matches!(a.expect_operated(3).0, Err(Reject::VolumeInUse(_))));
}

#[test]
fn a_volume_that_is_not_shared_is_held_by_one_task() {
    let (mut a, data) = with_volume();
    a.launch_group(vec![task_on("t1", &data)]);
    a.expect_start("t1");
    a.launch_group(vec![task_on("t2", &data)]);
    a.expect_update("t2", TaskState::Dropped);
}

#[test]
fn the_data_of_a_destroyed_volume_is_removed_also_after_a_crash() {
    let (mut a, data) = with_volume();
    a.operate(3, Operation::Destroy(data.clone()));
    a.expect_volume_destroyed();
    a.crash_and_recover();
    a.expect_volume_destroyed();
    a.connect();
    // Until it is gone, a new volume of that name would show it.
    a.operate(4, Operation::Create(data.clone()));
    assert!(matches!(a.expect_operated(4).0, Err(Reject::DuplicateVolume(_))));
    a.step(crate::agent::Input::VolumeDestroyed { volume: data_key(), result: Ok(()) });
    a.operate(5, Operation::Create(data));
    a.expect_volume_made(true);
    assert_eq!(a.expect_operated(5).0, Ok(()));
}

#[test]
fn what_is_in_use_is_not_reserved() {
    let mut a = with_disk();
    a.launch("t1", "cpus:3");
    a.operate(1, Operation::Reserve(reserved("eng", "cpus:2")));
    assert!(matches!(a.expect_operated(1).0, Err(Reject::OfferConflict { .. })));
}

#[test]
fn what_the_configuration_has_no_room_for_any_more_is_kept_aside_and_told() {
    let (mut a, data) = with_volume();
    a.operate(3, Operation::Reserve(reserved("eng", "cpus:3")));
    a.configure("cpus:2;mem:8192;disk:1000");
    a.crash_and_recover();
    a.expect_notice("no longer fit into cpus:2 mem:8192 disk:1000 are kept aside until they do: cpus(eng):3");
    assert_eq!(a.connect().resources, text("cpus:2;mem:8192;disk:900").plus(&data));
    a.configure("cpus:4;mem:8192;disk:1000");
    a.crash_and_recover();
    let expected = text("cpus:1;mem:8192;disk:900").plus(&data).plus(&reserved("eng", "cpus:3"));
    assert_eq!(a.connect().resources, expected);
}

#[test]
fn a_volume_that_is_kept_aside_is_not_made_a_second_time() {
    let (mut a, data) = with_volume();
    a.configure("cpus:4;disk:50");
    a.crash_and_recover();
    a.connect();
    let disk = reserved("eng", "disk:10");
    a.operate(3, Operation::Reserve(disk.clone()));
    a.operate(4, Operation::Create(volume("data", &disk)));
    assert!(matches!(a.expect_operated(4).0, Err(Reject::DuplicateVolume(_))));
    assert_ne!(data, volume("data", &disk));
}

#[test]
fn static_and_dynamic_reservations_go_together() {
    let mut a = agent();
    a.configure("cpus:1;cpus(eng):3");
    a.crash_and_recover();
    a.connect();
    let refined = reserved("eng/ci", "cpus(eng):2");
    a.operate(1, Operation::Reserve(refined.clone()));
    a.operate(2, Operation::Unreserve(text("cpus(eng):1")));
    assert_eq!(a.expect_operated(1).0, Ok(()));
    assert!(matches!(a.expect_operated(2).0, Err(Reject::Invalid { .. })));
    a.crash_and_recover();
    assert_eq!(a.connect().resources, text("cpus:1;cpus(eng):1").plus(&refined));
}

#[test]
fn nothing_is_done_while_the_journal_cannot_be_written() {
    let mut a = with_disk();
    a.journal_fails();
    a.operate(1, Operation::Reserve(reserved("eng", "cpus:1")));
    assert_eq!(a.expect_operated(1), (Err(Reject::JournalDegraded), text("cpus:4;mem:8192;disk:1000")));
}
