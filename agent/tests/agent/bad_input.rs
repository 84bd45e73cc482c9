use rialto_agent::{AgentError, Options};
use rialto_core::model::{Body, Reason, TaskState};
use rialto_proto::spec::{CommandSpec, TaskSpec};

use crate::harness::{World, spec_task, task};

#[tokio::test]
async fn a_command_that_does_not_exist_is_not_started() {
    let mut world = World::new().await;
    let spec = TaskSpec::new(CommandSpec::Argv(vec!["/no/such/command".to_owned()]));
    world.launch(vec![spec_task("t1", &spec)]).await;
    let status = world.expect("t1", TaskState::Failed).await;
    assert_eq!(status.reason, Some(Reason::CommandNotStarted));
    assert!(status.message.contains("/no/such/command"), "{}", status.message);
}

#[tokio::test]
async fn a_body_that_is_no_specification_is_not_started_and_its_group_neither() {
    let mut world = World::new().await;
    let mut bad = task("t2", "true");
    bad.body = Body::new(&b"\xff\xff"[..]);
    world.launch(vec![task("t1", "true"), bad]).await;
    let status = world.expect("t2", TaskState::Failed).await;
    assert_eq!(status.reason, Some(Reason::CommandNotStarted));
    assert!(status.message.starts_with("body: "), "{}", status.message);
    assert_eq!(world.expect("t1", TaskState::Killed).await.reason, Some(Reason::GroupEnded));
}

#[tokio::test]
async fn an_environment_that_the_kernel_refuses_is_a_failed_start() {
    let mut world = World::new().await;
    let mut spec = TaskSpec::shell("true");
    spec.env = vec![("LARGE".to_owned(), "x".repeat(1 << 20))];
    world.launch(vec![spec_task("t1", &spec)]).await;
    assert_eq!(world.expect("t1", TaskState::Failed).await.reason, Some(Reason::CommandNotStarted));
    world.run("t2", "true").await;
}

#[tokio::test]
async fn a_master_address_that_is_none_is_refused() {
    for address in ["", "nowhere", "ftp://host:1", "http://", "host:port"] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = Options::new(address, folder.path(), "/bin/true");
        let error = rialto_agent::run(options, std::future::ready(())).await.expect_err("it is no address");
        assert!(matches!(error, AgentError::Address { .. }), "{address}: {error}");
    }
}

#[tokio::test]
async fn a_task_id_with_odd_characters_is_a_task_like_any_other() {
    let mut world = World::new().await;
    world.run("bau-ümlaut:$(x)'\"\\", "pwd").await;
    world.expect("bau-ümlaut:$(x)'\"\\", TaskState::Finished).await;
}
