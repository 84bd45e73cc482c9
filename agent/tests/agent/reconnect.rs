use rialto_agent::supervisor::client;
use rialto_core::model::{Announce, Reason, TaskState, ToAgent};

use crate::harness::{World, key, task};

#[tokio::test]
async fn a_lost_connection_is_made_again_and_tasks_run_on() {
    let mut world = World::new().await;
    world.run("t1", "while [ ! -e go ]; do sleep 0.02; done").await;
    world.hang_up();
    let report = world.register().await;
    assert_eq!(report.tasks.len(), 1);
    assert_eq!(report.tasks[0].state, TaskState::Running);
    std::fs::write(world.sandbox("t1").join("go"), "").expect("it can be written");
    world.expect("t1", TaskState::Finished).await;
}

#[tokio::test]
async fn what_was_not_acknowledged_comes_again_on_the_next_connection() {
    let mut world = World::new().await;
    world.launch(vec![task("t1", "true")]).await;
    let first = world.update("t1").await;
    world.hang_up();
    world.register().await;
    let again = world.expect("t1", TaskState::Running).await;
    assert_eq!(again.uuid, first.uuid);
    world.expect("t1", TaskState::Finished).await;
}

#[tokio::test]
async fn a_master_of_an_older_term_is_not_obeyed() {
    let mut world = World::new().await;
    world.run("t1", "sleep 1000").await;
    world.hang_up();
    world.term = 5;
    world.register().await;
    world.term = 4;
    world.kill("t1").await;
    world.term = 5;
    world
        .say(ToAgent::Kill { task: key("t9"), grace: None, reason: Reason::KillRequested, announce: Announce::No })
        .await;
    world.expect("t9", TaskState::Gone).await;
    world.kill("t1").await;
    world.expect("t1", TaskState::Killed).await;
}

#[tokio::test]
async fn what_happens_without_a_connection_is_told_later() {
    let mut world = World::new().await;
    world.run("t1", "exec sleep 0.3").await;
    world.hang_up();
    let folder = world.run_dir("t1");
    crate::harness::until("the task to end", || client::terminal(&folder).expect("readable")).await;
    world.register().await;
    world.expect("t1", TaskState::Finished).await;
}
