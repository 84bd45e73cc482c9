use std::time::Duration;

use rialto_core::model::{Reason, Task, TaskHealth, TaskState};
use rialto_proto::spec::{Check, CommandSpec, HealthCheck, TaskSpec};

use crate::harness::{World, spec_task};

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
