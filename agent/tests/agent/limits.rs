//! What the processors are shared by.

use rialto_core::model::{Milli, TaskState};
use rialto_proto::spec::{Limits, TaskSpec};

use crate::contained::{cgroups, nothing_is_left};
use crate::harness::{World, spec_task, until};

/// What one of the files says that a task's cgroups may have; their names differ between the versions.
fn said(world: &World, names: [&str; 2]) -> String {
    let groups = cgroups(world);
    let files = groups.iter().flat_map(|group| names.map(|name| group.join(name)));
    files.filter_map(|file| std::fs::read_to_string(file).ok()).next().expect("one of them is there").trim().to_owned()
}

#[tokio::test]
async fn a_task_has_processors_as_it_asked_for_and_no_more_than_its_limit() {
    let Some(mut world) = World::contained(|_| {}).await else { return };
    let mut spec = TaskSpec::shell("while :; do :; done");
    spec.limits = Limits { cpus: Some(Milli(100)), ..Limits::default() };
    let mut task = spec_task("t1", &spec);
    task.resources = "cpus:0.5;mem:32".parse().expect("they are well formed");
    world.launch(vec![task]).await;
    world.expect("t1", TaskState::Running).await;
    let shares = said(&world, ["cpu.shares", "cpu.weight"]);
    assert!(["512", "50"].contains(&&*shares), "half of one: {shares}");
    let quota = said(&world, ["cpu.cfs_quota_us", "cpu.max"]);
    assert!(["10000", "10000 100000"].contains(&&*quota), "a tenth of one: {quota}");
    let held =
        |stat: &str| stat.lines().any(|line| line.strip_prefix("nr_throttled ").is_some_and(|times| times != "0"));
    until("it to be held back", || held(&cpu_stat(&world)).then_some(())).await;
    world.kill("t1").await;
    world.expect("t1", TaskState::Killed).await;
    nothing_is_left(&world).await;
}

/// That of the hierarchy which holds tasks back.
fn cpu_stat(world: &World) -> String {
    let stats = cgroups(world).into_iter().map(|group| group.join("cpu.stat"));
    stats
        .filter_map(|file| std::fs::read_to_string(file).ok())
        .find(|stat| stat.contains("nr_throttled"))
        .unwrap_or_default()
}
