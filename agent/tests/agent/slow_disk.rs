//! A disk on which every fsync takes long.

use std::time::{Duration, Instant};

use rialto_core::model::TaskState;

use crate::harness::{World, task};

/// How much longer each fsync takes.
const DELAY: Duration = Duration::from_millis(400);
const TASKS: u32 = 40;

#[tokio::test]
async fn tasks_share_the_fsyncs_of_a_slow_disk_and_are_told_as_on_any_other() {
    let mut world = World::with(|options| options.sync_delay = DELAY).await;
    let begun = Instant::now();
    let ids: Vec<String> = (0..TASKS).map(|number| format!("t{number}")).collect();
    for id in &ids {
        world.launch(vec![task(id, "true")]).await;
    }
    for id in &ids {
        world.expect(id, TaskState::Running).await;
        world.expect(id, TaskState::Finished).await;
    }
    let alone = DELAY * 2 * TASKS;
    assert!(begun.elapsed() < alone * 3 / 4, "{:?}; one after the other would be {alone:?}", begun.elapsed());
}

#[tokio::test]
async fn what_a_slow_disk_has_not_taken_is_told_by_the_next_agent() {
    let mut world = World::with(|options| options.sync_delay = DELAY).await;
    world.run("t1", "exec sleep 1000").await;
    world.launch(vec![task("t2", "echo once >> once; exec sleep 1000")]).await;
    world.kill("t1").await;
    world.crash().await;
    let report = world.restart().await;
    assert!(report.tasks.iter().any(|known| known.task.id.as_str() == "t1"), "what ran is known");
    // A kill or a launch that was not written down was not promised; both are asked for again.
    world.kill("t1").await;
    world.expect("t1", TaskState::Killed).await;
    if report.tasks.iter().all(|known| known.task.id.as_str() != "t2") {
        world.launch(vec![task("t2", "echo once >> once; exec sleep 1000")]).await;
    }
    world.expect("t2", TaskState::Running).await;
    world.kill("t2").await;
    world.expect("t2", TaskState::Killed).await;
    let starts = std::fs::read_to_string(world.sandbox("t2").join("once")).unwrap_or_default();
    assert!(starts.lines().count() <= 1, "it was started once: {starts}");
}
