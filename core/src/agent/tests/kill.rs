use std::time::Duration;

use super::language::{FRAMEWORK, agent, agent_with_gpus, key};
use crate::agent::{Effect, End};
use crate::model::{Announce, DeviceState, Exit, Reason, Reject, TaskState, ToAgent};

#[test]
fn a_running_task_is_killed_within_its_own_grace_period() {
    let mut a = agent();
    a.run("t1", "cpus:1");
    a.kill("t1");
    assert_eq!(a.expect_kill("t1"), Duration::from_secs(5));
    a.ends("t1", End::Killed(Some(Exit::Signal(15))));
    assert_eq!(a.expect_update("t1", TaskState::Killed).reason, Some(Reason::KillRequested));
}

#[test]
fn a_kill_may_give_another_grace_period_and_may_be_repeated() {
    let mut a = agent();
    a.run("t1", "cpus:1");
    a.kill("t1");
    a.expect_kill("t1");
    a.master_says(ToAgent::Kill {
        task: key("t1"),
        grace: Some(Duration::ZERO),
        reason: Reason::KillRequested,
        announce: Announce::No,
    });
    assert_eq!(a.expect_kill("t1"), Duration::ZERO);
    a.expect_nothing();
}

#[test]
fn a_kill_never_overtakes_the_start_that_waits_for_the_disk() {
    let mut a = agent();
    a.disk_stalls();
    a.launch("t1", "cpus:1");
    a.kill("t1");
    a.expect_nothing();
    a.disk_recovers();
    assert!(matches!(a.seen.as_slice(), [Effect::Start { .. }, Effect::Kill { .. }]), "{:?}", a.seen);
    a.ends("t1", End::Killed(None));
    a.expect_update("t1", TaskState::Killed);
}

#[test]
fn killing_a_task_that_ended_answers_with_its_end() {
    let mut a = agent();
    a.run("t1", "cpus:1");
    a.exits("t1", 0);
    let end = a.expect_update("t1", TaskState::Finished);
    a.kill("t1");
    assert_eq!(a.expect_update("t1", TaskState::Finished).uuid, end.uuid);
    a.ack("t1");
    a.expect_forget("t1");
    a.kill("t1");
    assert!(a.expect_update("t1", TaskState::Finished).uuid.is_none());
    a.expect_nothing();
}

#[test]
fn killing_an_unknown_task_answers_that_it_is_not_known() {
    let mut a = agent();
    a.kill("t9");
    let status = a.expect_update("t9", TaskState::Gone);
    assert_eq!((status.reason, status.uuid), (Some(Reason::UnknownToAgent), None));
}

#[test]
fn with_the_answer_that_a_task_is_not_known_come_the_devices_that_it_never_got() {
    let mut a = agent_with_gpus();
    a.kill("t9");
    a.expect_update("t9", TaskState::Gone);
    assert!(a.expect_devices().iter().all(|report| report.state == DeviceState::Free));
}

#[test]
fn a_kill_survives_a_crash() {
    let mut a = agent();
    a.run("t1", "cpus:1");
    a.kill("t1");
    a.crash_and_recover();
    a.running("t1");
    a.expect_kill("t1");
    a.expect_nothing();
}

#[test]
fn an_end_that_waits_behind_an_earlier_update_is_told_when_its_framework_is_removed() {
    let mut a = agent();
    a.launch("t1", "cpus:1");
    a.running("t1");
    a.expect_update("t1", TaskState::Running);
    a.exits("t1", 0);
    a.master_says(ToAgent::RemoveFramework(FRAMEWORK));
    let told = a.expect_update("t1", TaskState::Finished);
    assert_eq!(told.uuid, None, "nobody acknowledges it");
    a.expect_forget("t1");
}

#[test]
fn a_removed_frameworks_tasks_are_killed_and_forgotten_without_acknowledgement() {
    let mut a = agent_with_gpus();
    a.run("t1", "cpus:1");
    a.run_on("t2", &["gpu-0"]);
    a.run("t3", "cpus:1");
    a.exits("t3", 0);
    a.expect_update("t3", TaskState::Finished);
    a.master_says(ToAgent::RemoveFramework(FRAMEWORK));
    a.expect_forget("t3");
    a.expect_kill("t1");
    a.expect_kill("t2");
    a.ends("t1", End::Killed(Some(Exit::Signal(15))));
    a.expect_forget("t1");
    a.crash_and_recover();
    a.discover(&["gpu-0", "gpu-1"]);
    a.connect();
    a.running("t2");
    a.expect_kill("t2");
    a.ends("t2", End::Killed(Some(Exit::Signal(9))));
    assert!(a.expect_update("t2", TaskState::Killed).uuid.is_none(), "the master hears of it, nobody acknowledges it");
    a.expect_forget("t2");
    assert_eq!(a.expect_release("gpu-0"), 1);
    a.expect_nothing();
    a.wait_s(10_000);
    a.expect_nothing();
}

#[test]
fn an_unwanted_agent_ends_its_tasks() {
    let mut a = agent();
    a.run("t1", "cpus:1");
    a.master_says(ToAgent::Shutdown(Reject::NotSubscribed));
    a.expect_kill("t1");
    a.expect("a shutdown", |effect| matches!(effect, Effect::Shutdown(Reject::NotSubscribed)).then_some(()));
}

#[test]
fn a_task_that_runs_but_was_never_journaled_is_ended() {
    let mut a = agent();
    a.running("t9");
    a.expect_notice("t9 runs but is not in the journal");
    assert_eq!(a.expect_kill("t9"), Duration::ZERO);
}

#[test]
fn an_agent_that_stops_with_its_tasks_ends_them() {
    let mut a = agent();
    a.run("t1", "cpus:1");
    a.launch("t2", "cpus:1");
    a.expect_start("t2");
    a.step(crate::agent::Input::EndTasks);
    a.expect_kill("t1");
    a.expect_kill("t2");
    a.expect_nothing();
}

#[test]
fn a_task_that_makes_way_says_so_however_its_group_ended_it() {
    for end in [End::Killed(Some(Exit::Signal(15))), End::GroupEnded] {
        let mut a = agent();
        a.run("t1", "cpus:1");
        a.master_says(ToAgent::Kill {
            task: key("t1"),
            grace: None,
            reason: Reason::Preempted,
            announce: Announce::No,
        });
        a.expect_kill("t1");
        a.ends("t1", end);
        assert_eq!(a.expect_update("t1", TaskState::Killed).reason, Some(Reason::Preempted));
    }
}

#[test]
fn a_kill_is_announced_once_to_who_wants_to_hear_of_it() {
    let mut a = agent();
    a.run("t1", "cpus:1");
    let kill = ToAgent::Kill { task: key("t1"), grace: None, reason: Reason::Preempted, announce: Announce::Yes };
    a.master_says(kill.clone());
    assert_eq!(a.expect_update("t1", TaskState::Killing).reason, Some(Reason::Preempted));
    a.expect_kill("t1");
    a.master_says(kill);
    a.expect_kill("t1");
    a.expect_nothing();
    // The end is told once the announcement is acknowledged.
    a.ends("t1", End::Killed(Some(Exit::Signal(15))));
    a.expect_nothing();
    a.ack("t1");
    assert_eq!(a.expect_update("t1", TaskState::Killed).reason, Some(Reason::Preempted));
}

#[test]
fn what_does_not_run_yet_is_ended_without_an_announcement() {
    let mut a = agent();
    a.launch("t1", "cpus:1");
    a.expect_start("t1");
    a.master_says(ToAgent::Kill {
        task: key("t1"),
        grace: None,
        reason: Reason::KillRequested,
        announce: Announce::Yes,
    });
    a.expect_kill("t1");
    a.expect_nothing();
}
