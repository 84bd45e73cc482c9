//! Agents die and come back; their tasks don't notice.

use crate::harness::{AgentSpec, Cluster, is_alive, wait_until};
use crate::observer::Observer;

#[test]
fn tasks_of_a_killed_agent_run_on_and_their_ends_arrive() {
    let mut cluster = Cluster::start(&[AgentSpec::roomy("solo")]);
    let observer = Observer::new(cluster.make_folder("observed"));
    let run = cluster.spawn(&["run", "--instances", "10", "--", "sh", "-c", &observer.command(0)]);
    let before = observer.wait_for(10);
    wait_until("the master knows that ten tasks run", || cluster.tasks_in("TASK_RUNNING").len() == 10);
    let id = cluster.agents()[0].id.clone();

    cluster.agent("solo").kill9();
    wait_until("the master has seen it", || cluster.agents()[0].status != "active");
    observer.assert_undisturbed(&before);
    cluster.start_agent("solo");
    cluster.wait_for_agents(1);
    assert_eq!(cluster.agents()[0].id, id, "the agent is another now");
    observer.assert_undisturbed(&before);
    assert_eq!(cluster.tasks_in("TASK_RUNNING").len(), 10);

    observer.let_go();
    let ended = run.finish();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(observer.ended(), before, "not the same processes came to their end");
    assert_eq!(cluster.tasks_in("TASK_FINISHED").len(), 10);
}

#[test]
fn what_ended_while_the_agent_was_away_is_told_when_it_is_back() {
    let mut cluster = Cluster::start(&[AgentSpec::roomy("solo")]);
    let observer = Observer::new(cluster.make_folder("observed"));
    let run = cluster.spawn(&["run", "--", "sh", "-c", &observer.command(42)]);
    let before = observer.wait_for(1);
    wait_until("the master knows that it runs", || cluster.tasks_in("TASK_RUNNING").len() == 1);
    cluster.agent("solo").kill9();
    observer.let_go();
    wait_until("the task has ended", || !is_alive(before[0].pid));
    cluster.start_agent("solo");
    let ended = run.finish();
    assert_eq!(ended.code, 42, "{}", ended.stderr);
    assert_eq!(observer.signed(), before, "the task was started anew");
}

#[test]
fn an_agent_that_is_asked_to_stop_leaves_its_tasks_running() {
    let mut cluster = Cluster::start(&[AgentSpec::roomy("solo")]);
    let observer = Observer::new(cluster.make_folder("observed"));
    let run = cluster.spawn(&["run", "--instances", "2", "--", "sh", "-c", &observer.command(0)]);
    let before = observer.wait_for(2);
    let agent = cluster.take_agent("solo");
    agent.terminate();
    let stopped = agent.finish();
    assert_eq!(stopped.code, 0, "{}", stopped.stderr);
    observer.assert_undisturbed(&before);
    cluster.start_agent("solo");
    cluster.wait_for_agents(1);
    observer.assert_undisturbed(&before);
    observer.let_go();
    let ended = run.finish();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(observer.ended(), before);
}

#[test]
fn a_device_stays_with_its_tenant_while_the_agent_is_away() {
    let mut cluster = Cluster::start(&[AgentSpec::roomy("solo").with_devices(&["fake:gpu,model=T4"])]);
    let observer = Observer::new(cluster.make_folder("observed"));
    let command = observer.command(0);
    let tenant = cluster.spawn(&["run", "--name", "tenant", "--device", "gpu", "--", "sh", "-c", &command]);
    let before = observer.wait_for(1);
    wait_until("the master knows that it runs", || cluster.tasks_in("TASK_RUNNING").len() == 1);
    cluster.agent("solo").kill9();
    let rival = cluster.spawn(&["run", "--name", "rival", "--device", "gpu", "--", "sh", "-c", &command]);
    cluster.start_agent("solo");
    cluster.wait_for_agents(1);
    wait_until("the rival is told who holds it", || rival.stderr().contains("tenant"));
    observer.assert_undisturbed(&before);
    let device = cluster.devices().remove(0);
    assert_eq!((device.state.as_str(), device.holders.len()), ("allocated", 1), "{device:?}");
    observer.let_go();
    for run in [tenant, rival] {
        let ended = run.finish();
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    }
    assert_eq!(observer.ended().len(), 2);
}

#[test]
fn master_and_agent_may_die_together() {
    let mut cluster = Cluster::start(&[AgentSpec::roomy("solo")]);
    let observer = Observer::new(cluster.make_folder("observed"));
    let run = cluster.spawn(&["run", "--instances", "3", "--", "sh", "-c", &observer.command(0)]);
    let before = observer.wait_for(3);
    wait_until("the master knows that three tasks run", || cluster.tasks_in("TASK_RUNNING").len() == 3);
    cluster.master().kill9();
    cluster.agent("solo").kill9();
    cluster.start_master();
    cluster.start_agent("solo");
    cluster.wait_for_agents(1);
    observer.assert_undisturbed(&before);
    observer.let_go();
    let ended = run.finish();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(observer.ended(), before);
}

#[test]
fn a_second_agent_on_the_same_work_dir_is_refused() {
    let cluster = Cluster::start(&[AgentSpec::roomy("solo")]);
    let folder = cluster.name_of("solo");
    let second = cluster.rialto(&["agent", "--name", "second", "--work-dir", &folder]);
    assert_eq!(second.code, 1, "{}", second.stderr);
    let refusal = second.stderr.lines().last().expect("it says why");
    assert!(refusal.starts_with("rialto: ") && refusal.contains(&folder), "{}", second.stderr);
    assert_eq!(cluster.agents().len(), 1);
}
