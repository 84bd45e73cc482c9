use super::language::{World, agent, agent_with_gpus, gpu_task, key, launch_of, new_agent, task};
use crate::agent::{End, Input};
use crate::model::{ExecutorId, ExecutorRef, Exit, FromAgent, Reason, TaskState, ToAgent};

#[test]
fn a_new_agent_draws_its_client_id_once_and_registers_with_it() {
    let mut a = new_agent();
    a.disk_stalls();
    a.step(Input::Connected);
    a.expect_nothing();
    a.disk_recovers();
    let first = a.expect_report();
    assert!(first.agent.is_none());
    a.crash_and_recover();
    a.step(Input::Connected);
    let second = a.expect_report();
    assert_eq!(second.client, first.client);
}

#[test]
fn a_registered_agent_comes_back_under_its_id() {
    let mut a = agent();
    a.crash_and_recover();
    let report = a.connect();
    assert_eq!(report.agent.map(|(agent, _)| agent.to_string()), Some("A1-1".to_owned()));
}

#[test]
fn a_message_of_an_older_term_is_refused() {
    let mut a = agent();
    a.new_term(3);
    a.run("t1", "cpus:1");
    a.new_term(2);
    a.launch("t2", "cpus:1");
    a.expect_notice("a message of term 2 is refused");
    a.expect_nothing();
    a.crash_and_recover();
    a.kill("t1");
    a.expect_notice("this agent has heard of term 3");
    a.expect_nothing();
}

#[test]
fn a_task_is_started_only_when_its_launch_is_durable() {
    let mut a = agent();
    a.disk_stalls();
    a.launch("t1", "cpus:1");
    a.expect_nothing();
    a.disk_recovers();
    a.expect_start("t1");
    a.expect_nothing();
}

#[test]
fn a_task_runs_and_finishes() {
    let mut a = agent();
    a.run("t1", "cpus:1");
    a.exits("t1", 0);
    let status = a.expect_update("t1", TaskState::Finished);
    assert_eq!((status.reason, status.exit), (None, Some(Exit::Code(0))));
    assert_eq!(status.agent.map(|agent| agent.to_string()), Some("A1-1".to_owned()));
    a.ack("t1");
    a.expect_forget("t1");
    a.expect_nothing();
}

#[test]
fn a_second_launch_of_a_live_task_is_answered_and_not_started() {
    let mut a = agent();
    a.launch("t1", "cpus:1");
    a.expect_start("t1");
    a.launch("t1", "cpus:1");
    assert!(a.expect_update("t1", TaskState::Staging).uuid.is_none());
    a.running("t1");
    let first = a.expect_update("t1", TaskState::Running);
    a.launch("t1", "cpus:1");
    assert_eq!(a.expect_update("t1", TaskState::Running).uuid, first.uuid, "the one that is out is said again");
    a.ack("t1");
    a.launch("t1", "cpus:1");
    assert!(a.expect_update("t1", TaskState::Running).uuid.is_none());
    a.expect_nothing();
}

#[test]
fn a_second_launch_of_a_finished_task_is_answered_with_its_end_while_it_is_remembered() {
    let mut a = agent();
    a.run("t1", "cpus:1");
    a.exits("t1", 3);
    a.expect_update("t1", TaskState::Failed);
    a.ack("t1");
    a.expect_forget("t1");
    a.crash_and_recover();
    a.connect();
    a.wait_s(599);
    a.launch("t1", "cpus:1");
    let status = a.expect_update("t1", TaskState::Failed);
    assert_eq!((status.exit, status.uuid), (Some(Exit::Code(3)), None));
    a.wait_s(2);
    a.launch("t1", "cpus:1");
    a.expect_start("t1");
    a.expect_nothing();
}

#[test]
fn a_group_with_an_id_that_was_used_is_not_started() {
    let mut a = agent();
    a.run("t1", "cpus:1");
    a.launch_group(vec![task("t1", "cpus:1"), task("t2", "cpus:1")]);
    a.expect_update("t1", TaskState::Running);
    let status = a.expect_update("t2", TaskState::Error);
    assert_eq!(status.reason, Some(Reason::TaskInvalid));
    a.expect_nothing();
}

#[test]
fn a_task_that_does_not_fit_is_dropped() {
    let mut a = agent();
    a.run("t1", "cpus:3");
    a.launch("t2", "cpus:1.5");
    let status = a.expect_update("t2", TaskState::Dropped);
    assert_eq!(status.reason, Some(Reason::LaunchFailed));
    assert!(status.message.contains("asks for cpus:1.5, the agent has cpus:1 "), "{}", status.message);
    a.expect_nothing();
    a.ack("t2");
    a.expect_forget("t2");
}

#[test]
fn a_port_is_given_out_once() {
    let mut a = agent();
    a.run("t1", "ports:[31000-31001]");
    a.launch("t2", "ports:[31001-31002]");
    a.expect_update("t2", TaskState::Dropped);
    a.exits("t1", 0);
    a.expect_update("t1", TaskState::Finished);
    a.launch("t3", "ports:[31001-31002]");
    a.expect_start("t3");
    a.launch_group(vec![task("t4", "ports:[31005]"), task("t5", "ports:[31005]")]);
    a.expect_update("t4", TaskState::Dropped);
}

#[test]
fn a_task_whose_device_is_not_there_is_dropped() {
    let mut a = agent_with_gpus();
    a.launch_on("t1", &["gpu-9"]);
    let status = a.expect_update("t1", TaskState::Dropped);
    assert_eq!((status.reason, &*status.message), (Some(Reason::DeviceUnavailable), "device gpu-9 is not present"));
    assert!(status.uuid.is_some(), "it is told until it is acknowledged");
    a.expect_devices();
    a.expect_nothing();
}

#[test]
fn a_task_never_starts_without_the_devices_that_it_claims() {
    let mut a = agent_with_gpus();
    let mut wants_two = gpu_task("t1", &["gpu-0"]);
    wants_two.claims = vec!["2 gpu".parse().expect("a good claim")];
    a.launch_group(vec![wants_two]);
    assert_eq!(a.expect_update("t1", TaskState::Dropped).reason, Some(Reason::DeviceUnavailable));
    let mut wants_other = gpu_task("t2", &["gpu-0"]);
    wants_other.claims = vec!["gpu: model == \"G9\"".parse().expect("a good claim")];
    a.launch_group(vec![wants_other]);
    let status = a.expect_update("t2", TaskState::Dropped);
    assert!(status.message.contains("device claim gpu: model == \"G9\" is not met"), "{}", status.message);
}

#[test]
fn two_tasks_of_a_group_are_not_given_the_same_device() {
    let mut a = agent_with_gpus();
    a.launch_group(vec![gpu_task("t1", &["gpu-0"]), gpu_task("t2", &["gpu-0"])]);
    a.expect_update("t1", TaskState::Dropped);
    a.expect_update("t2", TaskState::Dropped);
    a.expect_devices();
    a.expect_nothing();
}

#[test]
fn a_group_is_forgotten_once_all_its_updates_are_acknowledged() {
    let mut a = agent();
    a.launch_group(vec![task("t1", "cpus:1"), task("t2", "cpus:1")]);
    a.expect_start("t1");
    a.running("t1");
    a.running("t2");
    a.exits("t1", 1);
    a.ends("t2", End::GroupEnded);
    for _ in 0..2 {
        for id in ["t1", "t2"] {
            expect_any_update(&mut a, id);
            a.ack(id);
        }
    }
    a.expect_forget("t1");
    a.expect_nothing();
}

fn expect_any_update(a: &mut World, id: &str) {
    let state = a.seen.iter().find_map(|effect| match effect {
        crate::agent::Effect::ToMaster(FromAgent::Update { status, .. }) if status.task == key(id).task => {
            Some(status.state)
        }
        _ => None,
    });
    a.expect_update(id, state.expect("an update is there"));
}

#[test]
fn a_task_for_an_executor_that_does_not_run_here_is_an_error() {
    let mut a = agent();
    let mut task = task("t1", "cpus:1");
    task.executor = ExecutorRef::Custom(ExecutorId::new("e1").expect("a good name"));
    a.launch_group(vec![task]);
    assert_eq!(&*a.expect_update("t1", TaskState::Error).message, "executor: no executor e1 runs on this agent");
}

#[test]
fn an_empty_group_is_dropped() {
    let mut a = agent();
    a.master_says(ToAgent::Launch(launch_of(Vec::new())));
    a.expect_notice("a launch of 0 tasks is dropped");
    a.expect_nothing();
}

#[test]
fn nothing_is_launched_while_the_journal_cant_be_written() {
    let mut a = agent();
    a.run("t1", "cpus:1");
    a.journal_fails();
    a.expect_message(&FromAgent::Journal { degraded: true });
    a.launch("t2", "cpus:1");
    let status = a.expect_update("t2", TaskState::Dropped);
    assert!(status.reason.is_some_and(Reason::is_infrastructure));
    a.kill("t1");
    a.expect_kill("t1");
    a.ends("t1", End::Killed(Some(Exit::Signal(15))));
    a.expect_nothing();
    a.journal_works();
    a.expect_message(&FromAgent::Journal { degraded: false });
    a.expect_update("t1", TaskState::Killed);
    a.launch("t2", "cpus:1");
    a.expect_update("t2", TaskState::Dropped);
    a.launch("t3", "cpus:1");
    a.expect_start("t3");
}

#[test]
fn an_agent_that_cant_write_its_journal_still_registers() {
    let mut a = agent();
    a.run("t1", "cpus:1");
    a.journal_fails();
    a.exits("t1", 0);
    a.disconnect();
    a.seen.clear();
    a.connect();
    a.expect_message(&FromAgent::Journal { degraded: true });
    a.expect_nothing();
}

#[test]
fn each_end_has_its_state_and_reason() {
    let ends = [
        (End::Exited(Exit::Code(3)), TaskState::Failed, Reason::CommandFailed, "exit code 3"),
        (End::Exited(Exit::Signal(9)), TaskState::Failed, Reason::CommandFailed, "signal 9 (SIGKILL)"),
        (End::Killed(Some(Exit::Signal(15))), TaskState::Killed, Reason::KillRequested, "signal 15 (SIGTERM)"),
        (End::Killed(None), TaskState::Killed, Reason::KillRequested, "before its command was started"),
        (End::TimedOut, TaskState::Failed, Reason::MaxCompletionTime, "it ran longer than it may"),
        (End::GroupEnded, TaskState::Killed, Reason::GroupEnded, "another task of its group ended"),
        (End::MemoryLimit("64 MiB".into()), TaskState::Failed, Reason::MemoryLimit, "64 MiB"),
        (End::DiskLimit("64 MiB".into()), TaskState::Failed, Reason::DiskLimit, "64 MiB"),
        (End::NotStarted("no such file".into()), TaskState::Failed, Reason::CommandNotStarted, "no such file"),
        (End::LaunchFailed("disk full".into()), TaskState::Failed, Reason::LaunchFailed, "disk full"),
        (End::SupervisorLost, TaskState::Failed, Reason::SupervisorLost, "its supervisor died"),
        (End::Rebooted, TaskState::Failed, Reason::AgentRebooted, "the machine was started anew"),
    ];
    for (end, state, reason, message) in ends {
        let mut a = agent();
        a.launch("t1", "cpus:1");
        a.ends("t1", end);
        let status = a.expect_update("t1", state);
        assert_eq!((status.reason, &*status.message), (Some(reason), message));
    }
}
