use rialto_agent::supervisor::client::{self, Liveness};
use rialto_agent::{AgentError, DeviceSource, OnStop};
use rialto_core::model::{Exit, Reason, TaskState, ToAgent};
use rialto_proto::spec::TaskSpec;
use rustix::process::{Pid, Signal, kill_process};

use crate::contained::{cgroups, nothing_is_left};
use crate::harness::{World, lives, spec_task, task, until, with_devices};

#[tokio::test]
async fn ten_tasks_run_on_while_the_agent_is_gone_and_none_is_started_twice() {
    let mut world = World::new().await;
    let mut pids = Vec::new();
    for number in 0..10 {
        let id = format!("t{number}");
        world.run(&id, "echo $$; echo started >> ../starts; trap 'exit 7' TERM; while :; do sleep 0.05; done").await;
        pids.push(world.number(&id).await);
    }
    world.crash().await;
    assert!(pids.iter().all(|pid| lives(*pid)));
    let report = world.restart().await;
    assert_eq!(report.tasks.len(), 10);
    assert!(report.agent.is_some(), "it comes back under its id");
    assert!(report.tasks.iter().all(|task| task.state == TaskState::Running));
    for (number, pid) in pids.iter().enumerate() {
        let id = format!("t{number}");
        assert_eq!(world.number(&id).await, *pid);
        world.kill(&id).await;
        let status = world.expect(&id, TaskState::Killed).await;
        assert_eq!(status.exit, Some(Exit::Code(7)));
    }
    let starts = std::fs::read_to_string(world.sandbox("t0").with_file_name("starts")).expect("it was written");
    assert_eq!(starts.lines().count(), 10);
}

#[tokio::test]
async fn what_ended_while_the_agent_was_gone_is_told() {
    let mut world = World::new().await;
    world.run("t1", "while [ ! -e go ]; do sleep 0.02; done; exit 5").await;
    world.crash().await;
    std::fs::write(world.sandbox("t1").join("go"), "").expect("it can be written");
    let folder = world.run_dir("t1");
    until("the task to end", || client::terminal(&folder).expect("readable")).await;
    world.restart().await;
    let status = world.expect("t1", TaskState::Failed).await;
    assert_eq!(status.exit, Some(Exit::Code(5)));
}

#[tokio::test]
async fn an_update_that_was_not_acknowledged_comes_again_after_a_crash() {
    let mut world = World::new().await;
    world.launch(vec![task("t1", "exit 0")]).await;
    let first = world.update("t1").await;
    world.crash().await;
    world.restart().await;
    let again = world.expect("t1", TaskState::Running).await;
    assert_eq!(again.uuid, first.uuid);
    world.expect("t1", TaskState::Finished).await;
    world.crash().await;
    let report = world.restart().await;
    world.launch(vec![task("t1", "exit 0")]).await;
    let known = world.update("t1").await;
    assert_eq!((known.state, known.exit), (TaskState::Finished, Some(Exit::Code(0))), "{report:?}");
}

#[tokio::test]
async fn a_task_whose_supervisor_is_killed_is_lost_and_its_processes_are_ended() {
    let mut world = World::new().await;
    world.run("t1", "sh -c 'echo $$ > inner; exec sleep 1000' & echo $$; wait").await;
    let pid = world.number("t1").await;
    let inner = world.sandbox("t1").join("inner");
    let inner: i32 = until("the inner process", || std::fs::read_to_string(&inner).ok()?.trim().parse().ok()).await;
    kill_supervisor(&world, "t1");
    let status = world.expect("t1", TaskState::Failed).await;
    assert_eq!(status.reason, Some(Reason::SupervisorLost));
    assert!(!lives(pid) && !lives(inner), "no process is left when the end is told");
}

#[tokio::test]
async fn a_supervisor_that_dies_while_the_agent_is_gone_is_noticed() {
    let mut world = World::new().await;
    world.run("t1", "echo $$; exec sleep 1000").await;
    let pid = world.number("t1").await;
    world.crash().await;
    kill_supervisor(&world, "t1");
    world.restart().await;
    assert_eq!(world.expect("t1", TaskState::Failed).await.reason, Some(Reason::SupervisorLost));
    assert!(!lives(pid));
}

#[tokio::test]
async fn after_a_reboot_the_tasks_have_failed() {
    let mut world = World::new().await;
    world.run("t1", "exec sleep 1000").await;
    world.crash().await;
    kill_supervisor(&world, "t1");
    std::fs::write(world.options.work_dir.join("boot_id"), "another").expect("it can be written");
    world.restart().await;
    assert_eq!(world.expect("t1", TaskState::Failed).await.reason, Some(Reason::AgentRebooted));
}

#[tokio::test]
async fn after_a_reboot_nothing_of_contained_tasks_is_held() {
    let source = DeviceSource::parse("fake:gpu,model=G2").expect("it is well formed");
    let Some(mut world) = World::contained(|options| options.device_sources = vec![source]).await else { return };
    let mut spec = TaskSpec::shell("exec sleep 1000");
    spec.container.user_namespace = true;
    world.launch(vec![with_devices(spec_task("t1", &spec), &["gpu-G2-0"], "gpu")]).await;
    world.expect("t1", TaskState::Running).await;
    let ranges = world.options.work_dir.join("users");
    let taken = || std::fs::read_dir(&ranges).expect("it is there").count();
    assert_eq!(taken(), 1);
    world.crash().await;
    kill_supervisor(&world, "t1");
    // Nor are there cgroups after a boot, once what was in them is gone.
    let all_removed = || cgroups(&world).iter().all(|group| std::fs::remove_dir(group).is_ok());
    until("its cgroups to be empty", || all_removed().then_some(())).await;
    std::fs::write(world.options.work_dir.join("boot_id"), "another").expect("it can be written");
    world.restart().await;
    assert_eq!(world.expect("t1", TaskState::Failed).await.reason, Some(Reason::AgentRebooted));
    nothing_is_left(&world).await;
    until("its users to be given back", || (taken() == 0).then_some(())).await;
    // Its device is the next one's.
    world.launch(vec![with_devices(task("t2", "true"), &["gpu-G2-0"], "gpu")]).await;
    world.expect("t2", TaskState::Running).await;
    world.expect("t2", TaskState::Finished).await;
}

#[tokio::test]
async fn a_launch_that_was_journaled_and_not_started_is_started() {
    let mut world = World::new().await;
    world.launch(vec![task("t1", "echo once >> ../starts; exec sleep 1000")]).await;
    world.expect("t1", TaskState::Running).await;
    kill_supervisor(&world, "t1");
    world.expect("t1", TaskState::Failed).await;
    // The same as a crash between the journal and the start: the folder is not there yet.
    world.launch(vec![task("t2", "echo $$; exec sleep 1000")]).await;
    world.crash().await;
    let report = world.restart().await;
    if report.tasks.iter().any(|task| task.task.id.as_str() == "t2") {
        world.expect("t2", TaskState::Running).await;
        let pid = world.number("t2").await;
        assert!(lives(pid));
        world.kill("t2").await;
        world.expect("t2", TaskState::Killed).await;
        assert!(!lives(pid));
    }
}

#[tokio::test]
async fn stopping_leaves_tasks_running() {
    let mut world = World::new().await;
    world.run("t1", "echo $$; exec sleep 1000").await;
    let pid = world.number("t1").await;
    world.stop(OnStop::KeepTasks).await.expect("it stops cleanly");
    assert!(lives(pid));
    world.restart().await;
    world.kill("t1").await;
    world.expect("t1", TaskState::Killed).await;
}

#[tokio::test]
async fn a_work_directory_has_one_agent() {
    let world = World::new().await;
    let error = rialto_agent::run(world.options.clone(), std::future::pending()).await.expect_err("it is in use");
    assert!(matches!(error, AgentError::InUse(_)), "{error}");
}

#[tokio::test]
async fn an_agent_that_is_not_wanted_ends_its_tasks_and_forgets_its_id() {
    let mut world = World::new().await;
    world.run("t1", "echo $$; exec sleep 1000").await;
    let pid = world.number("t1").await;
    world.say(ToAgent::Shutdown(rialto_core::model::Reject::NotSubscribed)).await;
    let error = world.ended().await.expect_err("it is refused");
    assert!(matches!(error, AgentError::Refused(_)), "{error}");
    assert!(!lives(pid));
    let report = world.restart().await;
    assert!(report.agent.is_none() && report.tasks.is_empty());
}

fn kill_supervisor(world: &World, id: &str) {
    let liveness = client::liveness(&world.run_dir(id)).expect("readable");
    let Liveness::Alive { pid } = liveness else { panic!("{liveness:?}") };
    kill_process(Pid::from_raw(pid).expect("a process id"), Signal::KILL).expect("it lives");
}
