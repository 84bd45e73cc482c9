//! What is fetched for tasks before they start.

use rialto_core::model::{Reason, TaskState};
use rialto_proto::spec::TaskSpec;

use crate::harness::{World, spec_task};
use crate::image_kit::Layout;
use crate::images::Registry;

/// A world that may fetch from a folder with one file.
async fn world() -> (World, tempfile::TempDir) {
    let shared = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(shared.path().join("tool"), "#!/bin/sh\necho the tool says $1\n").expect("it can be written");
    let folder = shared.path().to_owned();
    (World::with(move |options| options.fetch.folders = vec![folder]).await, shared)
}

fn spec(command: &str, artefact: &str) -> TaskSpec {
    let mut spec = TaskSpec::shell(command);
    spec.artefacts = vec![artefact.parse().expect("it is well formed")];
    spec
}

#[tokio::test]
async fn a_task_finds_what_was_fetched_for_it() {
    let (mut world, shared) = world().await;
    let uri = format!("file://{}/tool,to=bin/tool,executable", shared.path().display());
    world.launch(vec![spec_task("t1", &spec("bin/tool hello", &uri))]).await;
    world.expect("t1", TaskState::Running).await;
    world.expect("t1", TaskState::Finished).await;
    assert_eq!(world.stdout("t1"), "the tool says hello\n");
}

#[tokio::test]
async fn a_file_comes_from_a_real_registry_by_tag_and_by_digest() {
    let mut layout = Layout::new();
    let tool = b"#!/bin/sh\necho the tool says $1\n";
    layout.add_files("v1", &[("tool", tool)]);
    let Some(registry) = Registry::start() else { return };
    if !registry.takes(&layout) {
        return;
    }
    let (mut world, _shared) = world().await;
    let name = format!("oci://{}/team/tool", registry.address);
    for (id, uri) in
        [("t1", format!("{name}:v1,executable")), ("t2", format!("{name}@{},executable", registry.digest()))]
    {
        world.launch(vec![spec_task(id, &spec("./tool hello", &uri))]).await;
        world.expect(id, TaskState::Running).await;
        world.expect(id, TaskState::Finished).await;
        assert_eq!(world.stdout(id), "the tool says hello\n");
    }
    world.launch(vec![spec_task("t3", &spec("true", &format!("{name}:v2")))]).await;
    let status = world.expect("t3", TaskState::Failed).await;
    assert_eq!(status.reason, Some(Reason::ArtefactRefused));
    assert!(status.message.contains("it is not there: the server answers 404"), "{}", status.message);
}

#[tokio::test]
async fn a_task_whose_artefact_was_tampered_with_never_starts() {
    let (mut world, shared) = world().await;
    let uri = format!("file://{}/tool,executable,sha256={}", shared.path().display(), "0".repeat(64));
    world.launch(vec![spec_task("t1", &spec("touch started; ./tool", &uri))]).await;
    let status = world.expect("t1", TaskState::Failed).await;
    assert_eq!(status.reason, Some(Reason::ArtefactRefused));
    assert!(status.message.contains("tool: sha256: expected 0000"), "{}", status.message);
    assert!(!world.sandbox("t1").join("started").exists() && !world.sandbox("t1").join("tool").exists());
}

#[tokio::test]
async fn a_server_that_is_away_is_not_the_tasks_fault_and_its_group_ends_with_it() {
    let (mut world, _shared) = world().await;
    let other = spec_task("t2", &TaskSpec::shell("touch started"));
    world.launch(vec![spec_task("t1", &spec("true", "http://127.0.0.1:1/tool")), other]).await;
    let status = world.expect("t1", TaskState::Failed).await;
    assert_eq!(status.reason, Some(Reason::FetchFailed));
    assert_eq!(world.expect("t2", TaskState::Killed).await.reason, Some(Reason::GroupEnded));
    assert!(!world.sandbox("t2").join("started").exists());
}

#[tokio::test]
async fn a_task_that_waits_for_what_it_fetches_can_be_killed() {
    let (mut world, _shared) = world().await;
    // Takes connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let uri = format!("http://{}/tool", silent.local_addr().expect("it is bound"));
    world.launch(vec![spec_task("t1", &spec("true", &uri))]).await;
    let taken = tokio::task::spawn_blocking(move || silent.accept().map(|(stream, _)| (silent, stream)));
    let _held = taken.await.expect("it does not panic").expect("the agent dials");
    world.kill("t1").await;
    world.expect("t1", TaskState::Killed).await;
}
