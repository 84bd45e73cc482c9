use rialto_agent::OnStop;
use rialto_core::model::{Exit, FromAgent, Reason, TaskState, ToAgent};
use rialto_proto::spec::{CommandSpec, TaskSpec};

use crate::harness::{FRAMEWORK, World, key, lives, spec_task, task, until};

#[tokio::test]
async fn a_task_runs_and_finishes() {
    let mut world = World::new().await;
    world.run("t1", "echo hello").await;
    let status = world.expect("t1", TaskState::Finished).await;
    assert_eq!(status.exit, Some(Exit::Code(0)));
    assert_eq!(world.stdout("t1"), "hello\n");
    let folder = world.run_dir("t1");
    until("the supervisor's folder to be removed", || (!folder.exists()).then_some(())).await;
}

#[tokio::test]
async fn a_failure_tells_the_exit_code() {
    let mut world = World::new().await;
    world.run("t1", "exit 3").await;
    let status = world.expect("t1", TaskState::Failed).await;
    assert_eq!((status.reason, &*status.message), (Some(Reason::CommandFailed), "exit code 3"));
}

#[tokio::test]
async fn a_task_finds_in_its_environment_who_it_is_and_what_it_has() {
    let mut world = World::new().await;
    let mut spec = TaskSpec::new(CommandSpec::Argv(vec!["/usr/bin/env".to_owned()]));
    spec.env = vec![("COLOUR".to_owned(), "red".to_owned()), ("HOME".to_owned(), "/elsewhere".to_owned())];
    let mut task = spec_task("t1", &spec);
    task.resources.add(&"ports:[31007-31008]".parse().expect("they are well formed"));
    world.launch(vec![task]).await;
    world.expect("t1", TaskState::Running).await;
    world.expect("t1", TaskState::Finished).await;
    let env = world.stdout("t1");
    let exe = world.options.supervisor_exe.canonicalize().expect("it is there");
    for line in [
        "COLOUR=red",
        "HOME=/elsewhere",
        "RIALTO_TASK_ID=t1",
        "RIALTO_FRAMEWORK_ID=F1-1",
        "RIALTO_AGENT_ID=A1-1",
        "RIALTO_DEVICES=",
        "RIALTO_PORT0=31007",
        "RIALTO_PORT1=31008",
        "RIALTO_PORTS=31007,31008",
        "NVIDIA_VISIBLE_DEVICES=none",
        &format!("RIALTO_EXE={}", exe.display()),
    ] {
        assert!(env.lines().any(|found| found == line), "expected {line} in:\n{env}");
    }
}

#[tokio::test]
async fn a_task_runs_in_the_folder_that_it_asks_for() {
    let mut world = World::new().await;
    let mut spec = TaskSpec::shell("pwd");
    spec.working_dir = "a/b".to_owned();
    world.launch(vec![spec_task("t1", &spec)]).await;
    world.expect("t1", TaskState::Running).await;
    world.expect("t1", TaskState::Finished).await;
    assert!(world.stdout("t1").ends_with("sandboxes/F1-1/t1/a/b\n"), "{}", world.stdout("t1"));
}

#[tokio::test]
async fn a_killed_task_is_killed() {
    let mut world = World::new().await;
    world.run("t1", "echo $$; exec sleep 1000").await;
    let pid = world.number("t1").await;
    world.kill("t1").await;
    let status = world.expect("t1", TaskState::Killed).await;
    assert_eq!((status.reason, status.exit), (Some(Reason::KillRequested), Some(Exit::Signal(15))));
    assert!(!lives(pid), "no process is left when the end is told");
}

#[tokio::test]
async fn a_kill_that_comes_with_the_launch_ends_the_task_all_the_same() {
    let mut world = World::new().await;
    world.launch(vec![task("t1", "sleep 1000")]).await;
    world.kill("t1").await;
    let mut status = world.update("t1").await;
    while let (TaskState::Running, Some(uuid)) = (status.state, status.uuid) {
        world.say(ToAgent::Acknowledge { task: key("t1"), uuid }).await;
        status = world.update("t1").await;
    }
    assert_eq!((status.state, status.reason), (TaskState::Killed, Some(Reason::KillRequested)));
}

#[tokio::test]
async fn a_group_lives_and_dies_together() {
    let mut world = World::new().await;
    world.launch(vec![task("t1", "sleep 1000"), task("t2", "read line < start || sleep 0.2; exit 1")]).await;
    world.expect("t1", TaskState::Running).await;
    world.expect("t2", TaskState::Running).await;
    let failed = world.expect("t2", TaskState::Failed).await;
    assert_eq!(failed.reason, Some(Reason::CommandFailed));
    let other = world.expect("t1", TaskState::Killed).await;
    assert_eq!(other.reason, Some(Reason::GroupEnded));
}

#[tokio::test]
async fn a_task_that_runs_too_long_fails() {
    let mut world = World::new().await;
    let mut spec = TaskSpec::shell("sleep 1000");
    spec.max_run = Some(std::time::Duration::from_millis(100));
    world.launch(vec![spec_task("t1", &spec)]).await;
    world.expect("t1", TaskState::Running).await;
    assert_eq!(world.expect("t1", TaskState::Failed).await.reason, Some(Reason::MaxCompletionTime));
}

#[tokio::test]
async fn an_agent_that_stops_with_its_tasks_leaves_none() {
    let mut world = World::with(|options| options.on_stop = OnStop::EndTasks).await;
    world.run("t1", "echo $$; exec sleep 1000").await;
    let pid = world.number("t1").await;
    world.stop(OnStop::EndTasks).await.expect("it stops cleanly");
    assert!(!lives(pid));
    let report = world.restart().await;
    assert_eq!(report.tasks.iter().map(|task| task.state).collect::<Vec<_>>(), [TaskState::Killed]);
    world.expect("t1", TaskState::Killed).await;
}

#[tokio::test]
async fn a_removed_frameworks_tasks_end() {
    let mut world = World::new().await;
    world.run("t1", "echo $$; exec sleep 1000").await;
    let pid = world.number("t1").await;
    world.say(ToAgent::RemoveFramework(FRAMEWORK)).await;
    until("the task to end", || (!lives(pid)).then_some(())).await;
    let folder = world.run_dir("t1");
    until("the supervisor's folder to be removed", || (!folder.exists()).then_some(())).await;
}

#[tokio::test]
async fn many_tasks_at_once_all_run_and_finish() {
    let mut world =
        World::with(|options| options.resources = "cpus:100;mem:100000".parse().expect("they are well formed")).await;
    let ids: Vec<String> = (0..40).map(|number| format!("t{number}")).collect();
    for id in &ids {
        world.launch(vec![task(id, "echo $RIALTO_TASK_ID")]).await;
    }
    for id in &ids {
        world.expect(id, TaskState::Running).await;
        world.expect(id, TaskState::Finished).await;
        assert_eq!(world.stdout(id), format!("{id}\n"));
    }
}

#[tokio::test]
async fn a_launch_that_does_not_fit_is_dropped() {
    let mut world = World::new().await;
    let mut big = task("t1", "true");
    big.resources = "cpus:9".parse().expect("they are well formed");
    world.launch(vec![big]).await;
    assert_eq!(world.expect("t1", TaskState::Dropped).await.reason, Some(Reason::LaunchFailed));
    let quiet = |message: &FromAgent| matches!(message, FromAgent::Devices(_)).then_some(());
    assert!(tokio::time::timeout(std::time::Duration::from_millis(1), world.hear("nothing", quiet)).await.is_err());
}

/// Only root can choose who runs a task; others have nothing to test here but that they are refused.
#[tokio::test]
async fn a_task_runs_as_the_user_that_it_asks_for_in_a_sandbox_of_its_own() {
    let mut world = World::new().await;
    let mut spec = TaskSpec::shell("id -u > own && cat own");
    spec.user = "65534:65534".to_owned();
    world.launch(vec![spec_task("t1", &spec)]).await;
    if rustix::process::geteuid().is_root() {
        // The way to the sandbox must be open to that user too; a temporary folder is not.
        world.expect("t1", TaskState::Running).await;
        let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(world.sandbox("t1")).expect("it is there"));
        assert_eq!(owner, 65534);
    } else {
        let status = world.expect("t1", TaskState::Failed).await;
        assert!(status.message.contains("user: "), "{}", status.message);
    }
}
