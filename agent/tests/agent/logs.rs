use rialto_core::model::TaskState;
use rialto_proto::logs::{BulkRequest, Follow, LogFile, OpenBulk, ReadLog, Start};
use rialto_proto::v1::bulk_up::Message;
use rialto_proto::v1::{BulkErrorKind, LogChunk};

use crate::harness::{Bulk, World, key, within};

fn read(id: &str, file: &str, start: Start, follow: Follow) -> OpenBulk {
    let file = file.parse::<LogFile>().expect("a good path");
    OpenBulk {
        stream_id: 42,
        request: BulkRequest::ReadLog(ReadLog { task: key(id), file, start, follow, limit: None }),
    }
}

async fn next(bulk: &mut Bulk) -> Message {
    let message = within("a piece", bulk.from.message()).await.expect("it is sent").expect("it is not the end");
    message.message.expect("it says something")
}

async fn chunk(bulk: &mut Bulk) -> LogChunk {
    match next(bulk).await {
        Message::Chunk(chunk) => chunk,
        other => panic!("expected a chunk, got {other:?}"),
    }
}

async fn rest(bulk: &mut Bulk) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let chunk = chunk(bulk).await;
        assert!(chunk.data.len() <= 64 << 10, "chunks are bounded");
        bytes.extend_from_slice(&chunk.data);
        if chunk.eof {
            return bytes;
        }
    }
}

#[tokio::test]
async fn output_is_followed_until_the_task_ends() {
    let mut world = World::new().await;
    world.run("t1", "echo one; while [ ! -e go ]; do sleep 0.02; done; echo two").await;
    let mut bulk = world.open(&read("t1", "stdout", Start::Offset(0), Follow::UntilTaskEnds)).await;
    assert_eq!(chunk(&mut bulk).await.data, "one\n");
    std::fs::write(world.sandbox("t1").join("go"), "").expect("it can be written");
    assert_eq!(rest(&mut bulk).await, b"two\n");
    world.expect("t1", TaskState::Finished).await;
}

#[tokio::test]
async fn a_long_output_comes_in_pieces_and_from_any_place() {
    let mut world = World::new().await;
    world.run("t1", "head -c 1000000 /dev/zero | tr '\\0' x; echo end").await;
    world.expect("t1", TaskState::Finished).await;
    let mut bulk = world.open(&read("t1", "stdout", Start::Offset(0), Follow::No)).await;
    let whole = rest(&mut bulk).await;
    assert_eq!(whole.len(), 1_000_004);
    let mut bulk = world.open(&read("t1", "stdout", Start::Tail(4), Follow::UntilTaskEnds)).await;
    assert_eq!(rest(&mut bulk).await, b"end\n");
}

#[tokio::test]
async fn a_file_of_the_sandbox_is_read_and_nothing_outside() {
    let mut world = World::new().await;
    world.run("t1", "mkdir out; echo result > out/file; ln -s /etc out/link; ln -s /etc/passwd passwd").await;
    world.expect("t1", TaskState::Finished).await;
    let mut bulk = world.open(&read("t1", "out/file", Start::Offset(0), Follow::No)).await;
    assert_eq!(rest(&mut bulk).await, b"result\n");
    for (path, kind) in [
        ("passwd", BulkErrorKind::Invalid),
        ("out/link/passwd", BulkErrorKind::Invalid),
        ("out", BulkErrorKind::Invalid),
        ("none", BulkErrorKind::NotFound),
    ] {
        let mut bulk = world.open(&read("t1", path, Start::Offset(0), Follow::No)).await;
        match next(&mut bulk).await {
            Message::Error(error) => assert_eq!(error.kind(), kind, "{path}: {}", error.message),
            other => panic!("{path}: expected an error, got {other:?}"),
        }
    }
}

#[tokio::test]
async fn the_output_of_a_task_that_is_not_known_is_not_found() {
    let mut world = World::new().await;
    let mut bulk = world.open(&read("t9", "stdout", Start::Offset(0), Follow::UntilTaskEnds)).await;
    match next(&mut bulk).await {
        Message::Error(error) => assert_eq!(error.kind(), BulkErrorKind::NotFound),
        other => panic!("expected an error, got {other:?}"),
    }
}

#[tokio::test]
async fn output_is_bounded_by_rotation() {
    let mut world = World::new().await;
    let mut spec = rialto_proto::spec::TaskSpec::shell("i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done");
    spec.log_limits = Some(rialto_proto::spec::LogLimits { bytes_per_file: 4096, files: 2 });
    world.launch(vec![crate::harness::spec_task("t1", &spec)]).await;
    world.expect("t1", TaskState::Running).await;
    world.expect("t1", TaskState::Finished).await;
    let mut bulk = world.open(&read("t1", "stdout", Start::Offset(0), Follow::No)).await;
    let kept = rest(&mut bulk).await;
    assert!(kept.len() <= 8192, "{} bytes are kept", kept.len());
    assert!(kept.ends_with(b"line 1999\n"));
}

#[tokio::test]
async fn what_a_task_uses_is_told_each_second_until_it_ends() {
    let Some(mut world) = World::contained(|_| {}).await else { return };
    world.run("t1", "while [ ! -e go ]; do :; done").await;
    let mut bulk = world.open(&read("t1", ":usage", Start::Offset(0), Follow::UntilTaskEnds)).await;
    let mut looks = Vec::new();
    for _ in 0..2 {
        let line = chunk(&mut bulk).await.data;
        assert!(line.ends_with(b"\n"));
        looks.push(serde_json::from_slice::<serde_json::Value>(&line).expect("a line of JSON"));
    }
    let figure =
        |look: usize, name: &str| looks[look][name].as_u64().unwrap_or_else(|| panic!("{name}: {:?}", looks[look]));
    assert!(figure(1, "cpu_us") > figure(0, "cpu_us") && figure(1, "at_unix_ms") > figure(0, "at_unix_ms"));
    assert!(figure(1, "memory_bytes") > 0 && figure(1, "pids") >= 1 && figure(1, "memory_limit_bytes") == 32 << 20);
    std::fs::write(world.sandbox("t1").join("go"), "").expect("it can be written");
    rest(&mut bulk).await;
    world.expect("t1", TaskState::Finished).await;
    let mut bulk = world.open(&read("t1", ":usage", Start::Offset(0), Follow::No)).await;
    assert!(matches!(next(&mut bulk).await, Message::Error(error) if error.message.ends_with("it does not run")));
}

#[tokio::test]
async fn an_agent_without_cgroups_says_that_it_can_not_measure() {
    let mut world = World::new().await;
    world.run("t1", "exec sleep 1000").await;
    let mut bulk = world.open(&read("t1", ":usage", Start::Offset(0), Follow::No)).await;
    assert!(matches!(next(&mut bulk).await, Message::Error(error) if error.message.contains("has no cgroups")));
}
