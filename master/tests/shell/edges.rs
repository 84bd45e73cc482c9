//! Starts that are refused, clients that are refused, messages that are refused.

use std::net::SocketAddr;

use hyper::StatusCode;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::transport::{Certificate, Channel, ClientTlsConfig};

use rialto_core::model::{Call, CallId, ClusterId, Event, Term};
use rialto_master::{Auth, KeepAlive, MasterError, Options, StoreKind, TOKEN_FILE, TlsFiles, Token, bind};
use rialto_proto::hello::Hello;
use rialto_proto::v1::operator_client::OperatorClient;
use rialto_proto::v1::scheduler_client::SchedulerClient;
use rialto_proto::{Wire, v1};

use crate::harness::{Agent, Framework, Served, soon, subscription, with_token};
use crate::pages::{Events, get};

#[tokio::test]
async fn a_port_in_use_is_a_clear_error() {
    let first = bind(&Options::development()).await.unwrap();
    let options = Options { listen: first.address(), ..Options::development() };
    let error = bind(&options).await.unwrap_err().to_string();
    assert!(error.contains(&first.address().to_string()) && error.contains("the port is in use"), "{error}");
}

#[tokio::test]
async fn an_address_that_others_reach_is_refused_unless_asked_for() {
    let listen = SocketAddr::from(([0, 0, 0, 0], 0));
    let open = Options { listen, ..Options::development() };
    let error = bind(&open).await.unwrap_err().to_string();
    assert!(error.contains("--insecure") && error.contains("TLS"), "{error}");
    bind(&Options { insecure: true, ..open }).await.unwrap();
}

#[tokio::test]
async fn a_work_dir_in_use_and_a_missing_one_are_clear_errors() {
    let dir = tempfile::tempdir().unwrap();
    let options =
        || Options { store: StoreKind::Redb, work_dir: Some(dir.path().to_owned()), ..Options::development() };
    let first = Served::start(options()).await;
    get(&first, "/healthz", &[]).await;
    let error = Served::start(options()).await.stop().await.unwrap_err();
    assert!(matches!(error, MasterError::WorkDir(_)) && error.to_string().contains("is in use by process"), "{error}");
    first.stop().await.unwrap();
    Served::start(options()).await.stop().await.unwrap();
    let without = Options { store: StoreKind::Redb, ..Options::development() };
    let error = Served::start(without).await.stop().await.unwrap_err().to_string();
    assert_eq!(error, "work dir: expected one for the redb store, got none");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_token_nobody_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { auth: Auth::Bootstrap, work_dir: Some(dir.path().to_owned()), ..Options::development() };
    let master = Served::start(options).await;
    assert_eq!(get(&master, "/healthz", &[]).await.0, StatusCode::OK);
    let token = Token::read(&dir.path().join(TOKEN_FILE)).unwrap();
    let mut operator = OperatorClient::new(master.channel().await);
    let command = || v1::CommandRequest {
        command: Some(v1::command_request::Command::MarkGone(v1::AgentId { term: 1, seq: 1 })),
    };
    let refused = operator.command(command()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    let refused = operator.command(with_token(command(), "0123456789abcdef0123456789abcdef")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    let answered = operator.command(with_token(command(), token.as_str())).await.unwrap_err();
    assert_eq!(answered.code(), Code::NotFound, "{answered}");
    let (_, calls) = tokio::sync::mpsc::channel(1);
    let refused = SchedulerClient::new(master.channel().await).connect(ReceiverStream::new(calls)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    assert_eq!(get(&master, "/api/agents", &[]).await.0, StatusCode::UNAUTHORIZED);
    let bearer = format!("Bearer {}", token.as_str());
    assert_eq!(get(&master, "/api/agents", &[("authorization", &bearer)]).await.0, StatusCode::OK);
    master.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_served_on_the_same_port() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let files = TlsFiles { cert: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
    std::fs::write(&files.cert, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    let master = Served::start(Options { tls: Some(files), ..Options::development() }).await;
    let trust = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(made.cert.pem())).domain_name("localhost");
    let endpoint = Channel::from_shared(format!("https://{}", master.address)).unwrap().tls_config(trust).unwrap();
    let mut operator = OperatorClient::new(soon("a connection", endpoint.connect()).await.unwrap());
    let answered = operator.command(v1::CommandRequest { command: None }).await.unwrap_err();
    assert_eq!(answered.code(), Code::InvalidArgument, "{answered}");
    master.stop().await.unwrap();
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_is_named() {
    let tls = Some(TlsFiles { cert: "/nonexistent/cert.pem".into(), key: "/nonexistent/key.pem".into() });
    let error = bind(&Options { tls, ..Options::development() }).await.unwrap_err().to_string();
    assert!(error.starts_with("tls certificate /nonexistent/cert.pem: "), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_call_with_a_number_is_answered_and_the_connection_lives() {
    let master = Served::development().await;
    let (mut framework, _) = Framework::subscribe(&master, None).await;
    let kill = v1::KillTask { id: 42, task: String::new(), grace_us: None };
    framework
        .send_raw(v1::CallFrame { hello: None, calls: vec![v1::Call { call: Some(v1::call::Call::Kill(kill)) }] })
        .await;
    let outcome = |event: &Event| if let Event::Outcome(outcome) = event { Some(outcome.clone()) } else { None };
    let outcome = framework.wait("an outcome", outcome).await;
    assert_eq!(outcome.call, CallId(42));
    let reject = outcome.rejected[0].reject.to_string();
    assert!(reject.starts_with("calls[0].kill.task: expected a name"), "{reject}");
    // It goes on: an agent that comes is offered.
    framework.call(Call::Reconcile(Vec::new())).await;
    let _agent = Agent::register(&master).await;
    framework.offer().await;
    master.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_call_without_a_number_ends_the_connection_with_the_field() {
    let master = Served::development().await;
    let (framework, _) = Framework::subscribe(&master, None).await;
    let roles = v1::Roles { roles: vec!["a b".to_owned()] };
    framework
        .send_raw(v1::CallFrame { hello: None, calls: vec![v1::Call { call: Some(v1::call::Call::Revive(roles)) }] })
        .await;
    let (events, status) = framework.end().await;
    let error =
        events.iter().find_map(|event| if let Event::Error(reject) = event { Some(reject.to_string()) } else { None });
    assert!(error.unwrap().starts_with("calls[0].revive.roles[0]: expected a role"));
    assert_eq!(status.unwrap().code(), Code::InvalidArgument);
    master.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_greeting_is_refused() {
    let master = Served::development().await;
    let hello = |hello: Option<v1::Hello>| v1::FromAgentFrame { hello, messages: Vec::new() };
    let good = Hello::client(None).to_wire();
    let other = Hello::client(Some(ClusterId(1))).to_wire();
    for (frame, expected) in [
        (hello(None), "hello: expected a hello"),
        (hello(Some(v1::Hello { protocol_version: 99, ..good })), "hello.protocol_version: expected 1, got 99"),
        (hello(Some(other)), "hello.cluster: expected this master's cluster"),
    ] {
        let (frames, outgoing) = tokio::sync::mpsc::channel(4);
        let mut client = v1::agents_client::AgentsClient::new(master.channel().await);
        frames.send(frame).await.unwrap();
        let mut incoming = client.connect(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
        let ended = loop {
            match soon("the connection's end", incoming.message()).await {
                Ok(frame) => assert!(frame.is_some(), "ended without a reason"),
                Err(status) => break status,
            }
        };
        assert_eq!(ended.code(), Code::InvalidArgument);
        assert!(ended.message().starts_with(expected), "{ended}");
    }
    master.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_says_nonsense_is_told_which_and_others_are_not_disturbed() {
    let master = Served::development().await;
    let (mut framework, _) = Framework::subscribe(&master, None).await;
    let agent = Agent::connect(&master).await;
    agent.send_raw(v1::FromAgentFrame { hello: None, messages: vec![v1::FromAgent { message: None }] }).await;
    let ended = agent.end().await.unwrap();
    assert_eq!(ended.code(), Code::InvalidArgument, "{ended}");
    assert!(ended.message().starts_with("messages[0]: expected"), "{ended}");
    let _agent = Agent::register(&master).await;
    framework.offer().await;
    master.stop().await.unwrap();
}

/// Passes bytes on between a client and the master until it is told to stop; then both sides hear nothing, and no end either.
async fn silent_proxy(master: SocketAddr, silence: tokio::sync::oneshot::Receiver<()>) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = tokio::net::TcpStream::connect(master).await.unwrap();
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
            _ = silence => std::future::pending().await,
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_falls_silent_is_noticed() {
    let quick = std::time::Duration::from_millis(100);
    let options = Options { keep_alive: KeepAlive { interval: quick, timeout: quick }, ..Options::development() };
    let master = Served::start(options).await;
    let (silence, silenced) = tokio::sync::oneshot::channel();
    let proxy = silent_proxy(master.address, silenced).await;
    let _agent = Agent::register_at(proxy).await;
    let mut events = Events::follow(&master).await;
    events.wait_agent("active").await;
    silence.send(()).unwrap();
    events.wait_agent("disconnected").await;
    master.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_subscription_takes_over_and_the_first_is_told() {
    let master = Served::development().await;
    let (first, id) = Framework::subscribe(&master, None).await;
    let (second, again) = Framework::subscribe(&master, Some(id)).await;
    assert_eq!((id, second.term), (again, Term(1)));
    let (events, status) = first.end().await;
    assert!(events.contains(&Event::Error(rialto_core::model::Reject::Superseded)), "{events:?}");
    assert_eq!(status.unwrap().code(), Code::Aborted);
    assert_eq!(subscription(Some(id)).framework, Some(id));
    master.stop().await.unwrap();
}
