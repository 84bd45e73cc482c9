use super::language::{agent, agent_with_gpus, key};
use crate::agent::Effect;
use crate::model::{FromAgent, TaskState, ToAgent, UpdateId};

#[test]
fn an_update_is_sent_only_when_it_is_durable() {
    let mut a = agent();
    a.launch("t1", "cpus:1");
    a.expect_start("t1");
    a.disk_stalls();
    a.running("t1");
    a.expect_nothing();
    a.disk_recovers();
    a.expect_update("t1", TaskState::Running);
}

#[test]
fn one_update_of_a_task_is_out_at_a_time() {
    let mut a = agent();
    a.launch("t1", "cpus:1");
    a.expect_start("t1");
    a.running("t1");
    a.exits("t1", 0);
    a.expect_update("t1", TaskState::Running);
    a.expect_nothing();
    a.ack("t1");
    a.expect_update("t1", TaskState::Finished);
    a.ack("t1");
    a.expect_forget("t1");
    a.expect_nothing();
}

#[test]
fn an_update_is_sent_again_with_a_back_off_that_doubles_to_ten_minutes() {
    let mut a = agent();
    a.launch("t1", "cpus:1");
    a.expect_start("t1");
    a.running("t1");
    let first = a.expect_update("t1", TaskState::Running);
    for seconds in [10, 20, 40, 80, 160, 320, 600, 600] {
        a.wait_s(seconds - 1);
        a.expect_nothing();
        a.wait_s(1);
        assert_eq!(a.expect_update("t1", TaskState::Running).uuid, first.uuid, "after {seconds} s");
    }
    a.ack("t1");
    assert_eq!(a.agent.next_deadline(), None, "a quiet agent has no deadline");
    assert_eq!(a.agent.stats().updates_resent, 8);
}

#[test]
fn after_a_reconnect_what_is_not_acknowledged_is_sent_at_once() {
    let mut a = agent();
    a.launch("t1", "cpus:1");
    a.expect_start("t1");
    a.running("t1");
    let first = a.expect_update("t1", TaskState::Running);
    a.disconnect();
    assert_eq!(a.agent.next_deadline(), None, "nothing is sent without a connection");
    a.exits("t1", 0);
    a.expect_nothing();
    let report = a.connect();
    assert_eq!(report.tasks[0].state, TaskState::Finished);
    assert_eq!(a.expect_update("t1", TaskState::Running).uuid, first.uuid);
    a.expect_nothing();
}

#[test]
fn updates_survive_a_crash() {
    let mut a = agent();
    a.launch("t1", "cpus:1");
    a.expect_start("t1");
    a.running("t1");
    let first = a.expect_update("t1", TaskState::Running);
    a.exits("t1", 0);
    a.crash_and_recover();
    a.connect();
    assert_eq!(a.expect_update("t1", TaskState::Running).uuid, first.uuid);
    a.ack("t1");
    let second = a.expect_update("t1", TaskState::Finished);
    assert_ne!(second.uuid, first.uuid);
}

#[test]
fn an_acknowledgement_of_another_update_changes_nothing() {
    let mut a = agent();
    a.launch("t1", "cpus:1");
    a.expect_start("t1");
    a.running("t1");
    a.expect_update("t1", TaskState::Running);
    a.master_says(ToAgent::Acknowledge { task: key("t1"), uuid: UpdateId(99) });
    a.master_says(ToAgent::Acknowledge { task: key("t9"), uuid: UpdateId(99) });
    a.expect_nothing();
    a.ack("t1");
    a.ack("t1");
    a.expect_nothing();
}

#[test]
fn what_a_supervisor_says_twice_is_one_update() {
    let mut a = agent();
    a.run("t1", "cpus:1");
    a.running("t1");
    a.exits("t1", 0);
    a.expect_update("t1", TaskState::Finished);
    a.exits("t1", 1);
    a.running("t1");
    a.expect_nothing();
}

#[test]
fn the_master_hears_of_the_end_before_it_hears_that_the_devices_are_free() {
    let mut a = agent_with_gpus();
    a.launch_on("t1", &["gpu-0"]);
    a.expect_start("t1");
    a.running("t1");
    a.expect_update("t1", TaskState::Running);
    a.exits("t1", 0);
    let repeated = |effect: &Effect| match effect {
        Effect::ToMaster(FromAgent::Update { status, latest, .. }) => Some((status.state, *latest)),
        _ => None,
    };
    assert_eq!(a.expect("the update that is out", repeated), (TaskState::Running, TaskState::Finished));
    let generation = a.expect_release("gpu-0");
    a.cleaned("gpu-0", generation);
    a.expect_message(&FromAgent::DevicesFree(vec![(crate::model::DeviceId::new("gpu-0"), 1)]));
}
