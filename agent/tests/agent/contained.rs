//! What a contained task can't do, and what is left of it: nothing.

use std::path::PathBuf;

use rialto_core::model::{Exit, Reason, TaskState};

use crate::harness::{World, task, until};

/// Cgroups of this world's tasks that exist.
fn cgroups(world: &World) -> Vec<PathBuf> {
    let key = world.cgroup_key();
    let hierarchies =
        std::fs::read_dir("/sys/fs/cgroup").expect("cgroups are mounted").flatten().map(|entry| entry.path());
    let folders = hierarchies.chain([PathBuf::from("/sys/fs/cgroup")]).map(|path| path.join("rialto-test").join(&key));
    let groups = folders.filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
    groups.filter(|entry| entry.path().is_dir()).map(|entry| entry.path()).collect()
}

async fn nothing_is_left(world: &World) {
    until("every cgroup to be removed", || cgroups(world).is_empty().then_some(())).await;
    until("every process to be gone", || world.supervisors().is_empty().then_some(())).await;
}

/// Runs a command to its end and gives its output.
async fn output(world: &mut World, id: &str, command: &str) -> String {
    world.launch(vec![task(id, command)]).await;
    world.expect(id, TaskState::Running).await;
    let status = world.expect_end(id).await;
    let stderr = std::fs::read_to_string(world.sandbox(id).join("stderr")).unwrap_or_default();
    assert_eq!(status.exit, Some(Exit::Code(0)), "{status:?}: {stderr}");
    world.stdout(id)
}

#[tokio::test]
async fn a_task_runs_and_leaves_nothing() {
    let Some(mut world) = World::contained(|_| {}).await else { return };
    assert_eq!(
        output(&mut world, "t1", "echo hello; pwd; id -u").await,
        format!("hello\n{}\n0\n", world.sandbox("t1").display())
    );
    nothing_is_left(&world).await;
}

#[tokio::test]
async fn a_task_sees_only_its_own_processes() {
    let Some(mut world) = World::contained(|_| {}).await else { return };
    world.run("other", "exec sleep 1000").await;
    let seen = output(&mut world, "t1", "for p in /proc/[0-9]*; do echo $p; done; cat /proc/1/comm").await;
    let pids: Vec<_> = seen.lines().collect();
    assert_eq!(pids.len(), 3, "the supervisor, the shell and the name of the first: {seen}");
    assert!(seen.starts_with("/proc/1\n"), "{seen}");
}

#[tokio::test]
async fn a_task_does_not_see_the_tmp_and_the_sandbox_of_another() {
    let Some(mut world) = World::contained(|_| {}).await else { return };
    world.run("other", "echo secret > /tmp/a; echo secret > /var/tmp/a; echo secret > /dev/shm/a; echo secret > a; exec sleep 1000").await;
    let secret = world.sandbox("other").join("a");
    until("the other to have written", || std::fs::read_to_string(&secret).ok().filter(|text| text.ends_with('\n')))
        .await;
    let command = format!(
        "ls -A /tmp /var/tmp /dev/shm; cat {} || echo hidden; ls {} || true",
        secret.display(),
        world.options.work_dir.display()
    );
    let seen = output(&mut world, "t1", &command).await;
    assert!(!seen.contains("secret") && seen.contains("hidden"), "{seen}");
    assert!(!seen.contains("journal"), "the agent's own files are hidden: {seen}");
}

#[tokio::test]
async fn a_task_that_needs_more_memory_than_it_has_is_told_so() {
    let Some(mut world) = World::contained(|_| {}).await else { return };
    world.launch(vec![task("t1", "head -c 200000000 /dev/zero | tail -c 200000000 > /dev/null")]).await;
    world.expect("t1", TaskState::Running).await;
    let status = world.expect("t1", TaskState::Failed).await;
    assert_eq!(status.reason, Some(Reason::MemoryLimit), "{status:?}");
    assert!(status.message.contains("its limit of 32.0 MiB"), "{}", status.message);
    nothing_is_left(&world).await;
}
