use std::time::Duration;

use rialto_core::model::{Reason, Task, TaskHealth, TaskState};
use rialto_proto::spec::{Check, CommandSpec, HealthCheck, TaskSpec};

use crate::harness::{World, lives, spec_task, until};

fn checked(id: &str, command: &str, check: Check) -> Task {
    let mut spec = TaskSpec::shell(command);
    spec.health_check = Some(HealthCheck {
        check,
        delay: Duration::ZERO,
        interval: Duration::from_millis(20),
        timeout: Duration::from_secs(5),
        consecutive_failures: 3,
        grace: Duration::ZERO,
    });
    spec_task(id, &spec)
}

#[tokio::test]
async fn a_command_that_begins_to_fail_ends_the_task() {
    let mut world = World::new().await;
    let check = Check::Command(CommandSpec::Shell("test ! -e sick".to_owned()));
    world.launch(vec![checked("t1", "sleep 1000", check)]).await;
    world.expect("t1", TaskState::Running).await;
    assert_eq!(world.expect("t1", TaskState::Running).await.health, Some(TaskHealth::Healthy));
    std::fs::write(world.sandbox("t1").join("sick"), "").expect("it can be written");
    assert_eq!(world.expect("t1", TaskState::Running).await.health, Some(TaskHealth::Unhealthy));
    let status = world.expect("t1", TaskState::Failed).await;
    assert_eq!(status.reason, Some(Reason::Unhealthy));
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_unhealthy() {
    let mut world = World::new().await;
    let free =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free").local_addr().expect("it is bound").port();
    let mut task = checked("t1", "sleep 1000", Check::Tcp { port_index: 0 });
    task.resources.add(&format!("ports:[{free}]").parse().expect("they are well formed"));
    world.options.resources = "cpus:8;mem:8192;ports:[1-65535]".parse().expect("they are well formed");
    world.crash().await;
    world.restart().await;
    world.launch(vec![task]).await;
    world.expect("t1", TaskState::Running).await;
    assert_eq!(world.expect("t1", TaskState::Running).await.health, Some(TaskHealth::Unhealthy));
    assert_eq!(world.expect("t1", TaskState::Failed).await.reason, Some(Reason::Unhealthy));
}

#[tokio::test]
async fn a_command_is_run_where_the_task_is() {
    let Some(mut world) = World::contained(|_| {}).await else { return };
    // Only inside of its container is this file there, and this process the only other one.
    let inside = "test -e /tmp/inside && test $(ls -d /proc/[0-9]* | wc -l) -lt 10 && test \"$RIALTO_TASK_ID\" = t1 && test $(id -u) = 1234";
    let mut task =
        checked("t1", "touch /tmp/inside; sleep 1000", Check::Command(CommandSpec::Shell(inside.to_owned())));
    let mut spec = TaskSpec::from_body(&task.body).expect("it is well formed");
    spec.user = "1234".to_owned();
    task.body = spec.to_body();
    world.launch(vec![task]).await;
    world.expect("t1", TaskState::Running).await;
    let status = world.expect("t1", TaskState::Running).await;
    let status =
        if status.health == Some(TaskHealth::Healthy) { status } else { world.expect("t1", TaskState::Running).await };
    assert_eq!(status.health, Some(TaskHealth::Healthy), "{status:?}");
}

#[tokio::test]
async fn a_check_that_hangs_is_killed() {
    let mut world = World::new().await;
    let mut hangs =
        checked("t1", "sleep 1000", Check::Command(CommandSpec::Shell("echo $$ > check; exec sleep 1000".to_owned())));
    let mut spec = TaskSpec::from_body(&hangs.body).expect("it is well formed");
    if let Some(health) = &mut spec.health_check {
        (health.timeout, health.consecutive_failures) = (Duration::from_millis(300), 1);
    }
    hangs.body = spec.to_body();
    world.launch(vec![hangs]).await;
    world.expect("t1", TaskState::Running).await;
    let file = world.sandbox("t1").join("check");
    let pid: i32 = until("the check to run", || std::fs::read_to_string(&file).ok()?.trim().parse().ok()).await;
    until("the check to be killed", || (!lives(pid)).then_some(())).await;
    assert_eq!(world.expect("t1", TaskState::Running).await.health, Some(TaskHealth::Unhealthy));
    assert_eq!(world.expect("t1", TaskState::Failed).await.reason, Some(Reason::Unhealthy));
}
