use super::language::{agent, agent_with_gpus, config, ungated};
use crate::agent::{Agent, Effect, End, Input};
use crate::model::{DeviceState, Reason, TaskState, Time};

#[test]
fn tasks_that_run_on_are_reported_and_not_started_again() {
    let mut a = agent();
    a.run("t1", "cpus:1");
    a.run("t2", "cpus:1");
    a.crash_and_recover();
    a.running("t1");
    a.ends("t2", End::SupervisorLost);
    let report = a.connect();
    let states: Vec<TaskState> = report.tasks.iter().map(|task| task.state).collect();
    assert_eq!(states, [TaskState::Running, TaskState::Failed]);
    assert_eq!(a.expect_update("t2", TaskState::Failed).reason, Some(Reason::SupervisorLost));
    a.expect_nothing();
}

#[test]
fn a_launch_that_was_not_durable_never_was() {
    let mut a = agent();
    a.disk_stalls();
    a.launch("t1", "cpus:1");
    a.crash_and_recover();
    assert!(a.connect().tasks.is_empty());
    a.launch("t1", "cpus:1");
    a.expect_start("t1");
}

#[test]
fn a_device_is_held_by_its_tenant_across_a_crash() {
    let mut a = agent_with_gpus();
    a.run_on("t1", &["gpu-0"]);
    a.crash_and_recover();
    a.discover(&["gpu-0", "gpu-1"]);
    a.connect();
    a.running("t1");
    a.launch_on("t2", &["gpu-0"]);
    a.expect_update("t2", TaskState::Dropped);
    a.exits("t1", 0);
    assert_eq!(a.expect_release("gpu-0"), 1);
}

#[test]
fn a_task_whose_device_record_was_torn_off_was_never_started() {
    let mut a = agent_with_gpus();
    a.launch_on("t1", &["gpu-0"]);
    a.forget_last_records(1);
    a.gate_is_lost();
    a.crash_and_recover();
    a.connect();
    assert_eq!(a.expect_update("t1", TaskState::Failed).reason, Some(Reason::LaunchFailed));
    a.expect_nothing();
}

#[test]
fn a_device_whose_tenants_end_was_journaled_before_it_is_cleaned() {
    let mut a = agent_with_gpus();
    a.run_on("t1", &["gpu-0"]);
    a.exits("t1", 0);
    a.forget_last_records(1);
    a.gate_is_lost();
    a.crash_and_recover();
    a.discover(&["gpu-0"]);
    a.expect_device("gpu-0", &DeviceState::Cleaning { generation: 1 });
    assert_eq!(a.expect_release("gpu-0"), 1);
}

#[test]
fn an_agent_that_has_less_than_its_tasks_hold_still_recovers() {
    let mut a = agent();
    a.run("t1", "cpus:3");
    let mut smaller = config(9);
    smaller.resources = "cpus:2;mem:8192;ports:[31000-31009]".parse().expect("they are well formed");
    let mut agent = Agent::recover(a.now, smaller, a.agent.journal().clone());
    let effects = ungated(&mut agent, Time::ZERO, Input::Tick);
    assert!(matches!(effects.as_slice(), [Effect::Notice(text)] if text.contains("cpus:3")), "{effects:?}");
    agent.check_invariants();
}

#[test]
fn each_connection_has_a_higher_number_than_those_before_it_whatever_the_clock_says() {
    let mut a = agent();
    a.disconnect();
    let mut last = a.connect().connection;
    for crashes in [false, true, false, true, true] {
        if crashes {
            a.crash_and_recover();
        } else {
            a.disconnect();
        }
        let next = a.connect().connection;
        assert!(next > last, "{next} comes after {last}");
        last = next;
    }
}
