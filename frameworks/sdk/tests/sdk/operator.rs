//! The operators' client against a master that the test plays.

use crate::fake_master::{FRAMEWORK, FakeMaster, soon};
use rialto_core::master::{Command, Reply};
use rialto_core::model::{FrameworkId, Reject, TaskId, TaskKey, Term};
use rialto_proto::logs::{Follow, LogFile, ReadLog, Start};
use rialto_sdk::{Access, ClientError, MasterClient};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_stream::StreamExt;

async fn client(address: &str) -> MasterClient {
    let access = Access::new(address).expect("an address").with_token("sesame-sesame-sesame").expect("a token");
    MasterClient::connect(access).await.expect("connects")
}

#[tokio::test]
async fn a_command_is_answered_or_refused() {
    let master = FakeMaster::open().await;
    let client = client(&master.address).await;
    assert_eq!(soon(client.command(&Command::Teardown(FRAMEWORK))).await.expect("is done"), Reply::Done);
    let other = Command::Teardown(FrameworkId::new(Term(9), 9));
    let refused = soon(client.command(&other)).await.expect_err("is not known");
    assert!(matches!(refused, ClientError::Rejected(Reject::UnknownFramework)), "{refused}");
}

#[tokio::test]
async fn a_log_comes_in_pieces_and_ends() {
    let master = FakeMaster::open().await;
    let client = client(&master.address).await;
    let task = TaskKey::new(FRAMEWORK, TaskId::new("t1").expect("an id"));
    let read = ReadLog { task, file: LogFile::Stdout, start: Start::Offset(0), follow: Follow::No, limit: None };
    let mut log = soon(client.logs(&read)).await.expect("opens");
    let mut text = Vec::new();
    while let Some(piece) = soon(log.next()).await {
        text.extend_from_slice(&piece.expect("a piece"));
    }
    assert_eq!(text, b"one stdout");
}

#[tokio::test]
async fn nobody_there_is_said_with_the_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    drop(listener);
    let error = MasterClient::connect(Access::new(&address).expect("an address")).await.expect_err("nobody listens");
    assert!(error.to_string().starts_with(&format!("master http://{address}: ")), "{error}");
}

/// Answers one connection with `answer`, and returns what was asked.
async fn answer_once(listener: TcpListener, answer: &'static str) -> String {
    let (mut stream, _) = listener.accept().await.expect("a connection");
    let (mut asked, mut buffer) = (Vec::new(), [0; 1024]);
    while !asked.ends_with(b"\r\n\r\n") {
        let count = stream.read(&mut buffer).await.expect("reads");
        asked.extend_from_slice(&buffer[..count]);
    }
    stream.write_all(answer.as_bytes()).await.expect("writes");
    String::from_utf8(asked).expect("text")
}

async fn get(answer: &'static str) -> (Result<Vec<u32>, ClientError>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let server = tokio::spawn(answer_once(listener, answer));
    let access = Access::new(&address).expect("an address").with_token("sesame").expect("a token");
    let client = MasterClient::lazy(access).expect("a client");
    let json = soon(client.get_json("/api/numbers")).await;
    (json, soon(server).await.expect("answers"))
}

#[tokio::test]
async fn a_json_document_is_read_with_the_token() {
    let (json, asked) = get("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n[1,2]").await;
    assert_eq!(json.expect("reads"), [1, 2]);
    assert!(
        asked.starts_with("GET /api/numbers HTTP/1.1\r\n") && asked.contains("authorization: Bearer sesame\r\n"),
        "{asked}"
    );
}

#[tokio::test]
async fn what_the_master_refuses_is_shown() {
    let (json, _) = get("HTTP/1.1 403 Forbidden\r\ncontent-length: 3\r\n\r\nno!").await;
    assert_eq!(json.expect_err("is refused").to_string(), "the master refuses: /api/numbers: 403 Forbidden: no!");
}
