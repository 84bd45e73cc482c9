//! Logs, from a fake agent to readers over gRPC and HTTP.

use http_body_util::BodyExt;
use hyper::{Method, StatusCode};
use tonic::{Code, Streaming};

use rialto_core::model::{FrameworkId, TaskId, TaskKey, Term};
use rialto_proto::logs::{BulkRequest, Follow, LogFile, ReadLog, Start};
use rialto_proto::v1::operator_client::OperatorClient;
use rialto_proto::{Wire, v1};

use crate::harness::{Agent, Framework, Served, soon};
use crate::life;
use crate::pages::{ask, get};

fn read(framework: FrameworkId, task: &str) -> v1::ReadLogRequest {
    let task = TaskKey::new(framework, TaskId::new(task).unwrap());
    let read =
        ReadLog { task, file: LogFile::Stdout, start: Start::Tail(100), follow: Follow::UntilTaskEnds, limit: None };
    v1::ReadLogRequest { read: Some(read.to_wire()) }
}

fn chunk(offset: u64, data: &'static [u8], eof: bool) -> v1::BulkUp {
    v1::BulkUp { message: Some(v1::bulk_up::Message::Chunk(v1::LogChunk { offset, data: data.into(), eof })) }
}

async fn running() -> (Served, Agent, Framework, FrameworkId) {
    let master = Served::development().await;
    let mut agent = Agent::register(&master).await;
    let (mut framework, id) = Framework::subscribe(&master, None).await;
    life::run(&mut framework, &mut agent, "t1").await;
    (master, agent, framework, id)
}

async fn next(chunks: &mut Streaming<v1::LogChunk>) -> Result<Option<v1::LogChunk>, tonic::Status> {
    soon("a chunk", chunks.message()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_flows_from_the_agent_to_the_reader() {
    let (master, mut agent, _framework, id) = running().await;
    let mut operator = OperatorClient::new(master.channel().await);
    let reader = tokio::spawn(async move { operator.read_log(read(id, "t1")).await.unwrap().into_inner() });
    let open = agent.open().await;
    let BulkRequest::ReadLog(asked) = open.request else { panic!("expected to be asked for a log") };
    assert_eq!((asked.start, asked.follow), (Start::Tail(100), Follow::UntilTaskEnds));
    let (up, _down) = agent.dial(open.stream_id).await.unwrap();
    up.send(chunk(7, b"hello \xff", false)).await.unwrap();
    let mut chunks = soon("the log", reader).await.unwrap();
    let first = next(&mut chunks).await.unwrap().unwrap();
    assert_eq!((first.offset, &first.data[..]), (7, &b"hello \xff"[..]));
    up.send(chunk(14, b"", true)).await.unwrap();
    assert!(next(&mut chunks).await.unwrap().unwrap().eof);
    assert_eq!(next(&mut chunks).await.unwrap(), None);
    master.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_goes_away_ends_the_agents_stream() {
    let (master, mut agent, _framework, id) = running().await;
    let address = format!("/api/tasks/{id}/t1/logs?tail=100&follow=true");
    let (answer, (up, mut down)) = tokio::join!(ask(&master, Method::GET, &address, &[], ""), async {
        let stream_id = agent.open().await.stream_id;
        let (up, down) = agent.dial(stream_id).await.unwrap();
        up.send(chunk(0, b"line\n", false)).await.unwrap();
        (up, down)
    });
    assert_eq!(answer.status(), StatusCode::OK);
    let mut body = answer.into_body();
    assert_eq!(soon("bytes", body.frame()).await.unwrap().unwrap().data_ref().unwrap(), "line\n");
    drop(body);
    let cancelled = soon("the end of the stream", down.message()).await.unwrap().unwrap();
    assert!(matches!(cancelled.message, Some(v1::bulk_down::Message::Cancel(_))), "{cancelled:?}");
    drop(up);
    master.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_is_a_clear_error() {
    let (master, mut agent, _framework, id) = running().await;
    let mut operator = OperatorClient::new(master.channel().await);
    let unknown = operator.read_log(read(FrameworkId::new(Term(1), 99), "t1")).await.unwrap_err();
    assert_eq!(
        (unknown.code(), unknown.message()),
        (Code::NotFound, "task F1-99/t1 is not known, or ended too long ago")
    );
    let guess = agent.dial(4711).await;
    assert_eq!(guess.unwrap_err().code(), Code::NotFound);
    let mut reader = operator.clone();
    let asking = tokio::spawn(async move { reader.read_log(read(id, "t1")).await.unwrap().into_inner() });
    let stream_id = agent.open().await.stream_id;
    let (up, _down) = agent.dial(stream_id).await.unwrap();
    let error = v1::BulkError { kind: v1::BulkErrorKind::NotFound.into(), message: "no such file".to_owned() };
    up.send(v1::BulkUp { message: Some(v1::bulk_up::Message::Error(error)) }).await.unwrap();
    let mut chunks = soon("the log", asking).await.unwrap();
    let missing = next(&mut chunks).await.unwrap_err();
    assert_eq!((missing.code(), missing.message()), (Code::NotFound, "no such file"));
    // One that asks while the agent goes away is told at once.
    let asking = tokio::spawn(async move { operator.read_log(read(id, "t1")).await.map(|_| ()) });
    agent.open().await;
    drop((agent, up));
    let away = soon("an answer", asking).await.unwrap().unwrap_err();
    assert_eq!(away.code(), Code::Unavailable, "{away}");
    let (status, body) = get(&master, &format!("/api/tasks/{id}/t1/logs"), &[]).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    master.stop().await.unwrap();
}
