//! A master that a test plays: it takes connections and calls, and says what the test wants.

use std::time::Duration;

use rialto_core::model::{Call, ClusterId, Event, FrameworkId, Subscribe, Term};
use rialto_proto::hello::Hello;
use rialto_proto::v1::operator_server::{Operator, OperatorServer};
use rialto_proto::v1::scheduler_server::{Scheduler, SchedulerServer};
use rialto_proto::{Wire, v1};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

/// How long the tests wait for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const TOKEN: &str = "Bearer sesame-sesame-sesame";
pub(crate) const FRAMEWORK: FrameworkId = FrameworkId::new(Term(1), 1);

type Frames = mpsc::Sender<Result<v1::EventFrame, Status>>;

/// The master; it ends when this is dropped.
pub(crate) struct FakeMaster {
    pub(crate) address: String,
    connections: mpsc::Receiver<Connection>,
    _stop: oneshot::Sender<()>,
}

/// One connection of a framework.
pub(crate) struct Connection {
    pub(crate) hello: Hello,
    calls: mpsc::Receiver<Call>,
    frames: Frames,
}

#[derive(Clone)]
struct Service {
    connections: mpsc::Sender<Connection>,
    needs_token: bool,
}

/// Waits for `future`, with a bound.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("happens within the bound")
}

impl FakeMaster {
    /// A master that lets everybody in.
    pub(crate) async fn open() -> Self {
        Self::start(false).await
    }

    /// A master that asks for [`TOKEN`].
    pub(crate) async fn guarded() -> Self {
        Self::start(true).await
    }

    async fn start(needs_token: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let (sender, connections) = mpsc::channel(16);
        let service = Service { connections: sender, needs_token };
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tonic::transport::Server::builder()
            .add_service(SchedulerServer::new(service.clone()))
            .add_service(OperatorServer::new(service))
            .serve_with_incoming_shutdown(TcpListenerStream::new(listener), async {
                stopped.await.unwrap_or_default();
            });
        tokio::spawn(server);
        Self { address, connections, _stop: stop }
    }

    /// The next connection, with its subscription, which is confirmed.
    pub(crate) async fn subscribed(&mut self) -> (Connection, Subscribe) {
        let mut connection = soon(self.connections.recv()).await.expect("the server runs");
        let Call::Subscribe(subscribe) = connection.call().await else { panic!("a subscription comes first") };
        let (framework, cluster) = (FRAMEWORK, ClusterId(5));
        connection.say(Event::Subscribed { framework, cluster, term: Term(1), agents_missing: 0 }).await;
        (connection, subscribe)
    }
}

impl Connection {
    /// The next call.
    pub(crate) async fn call(&mut self) -> Call {
        soon(self.calls.recv()).await.expect("the framework has something to say")
    }

    /// The next call, or none once the framework has closed its side.
    pub(crate) async fn call_or_end(&mut self) -> Option<Call> {
        soon(self.calls.recv()).await
    }

    pub(crate) async fn say(&self, event: Event) {
        let frame = v1::EventFrame { hello: None, term: 1, events: vec![event.to_wire()] };
        self.frames.send(Ok(frame)).await.expect("the framework listens");
    }
}

#[tonic::async_trait]
impl Scheduler for Service {
    type ConnectStream = ReceiverStream<Result<v1::EventFrame, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<v1::CallFrame>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let token = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        if self.needs_token && token != Some(TOKEN) {
            return Err(Status::unauthenticated("expected the cluster's token"));
        }
        let (frames, outgoing) = mpsc::channel(16);
        tokio::spawn(listen(request.into_inner(), frames, self.connections.clone()));
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }
}

async fn listen(mut incoming: Streaming<v1::CallFrame>, frames: Frames, connections: mpsc::Sender<Connection>) {
    let Ok(Some(first)) = incoming.message().await else { return };
    let hello = Hello::expect(first.hello).expect("the first frame has a hello");
    let greeting = Hello::master(ClusterId(5), Term(1)).to_wire();
    let frame = v1::EventFrame { hello: Some(greeting), term: 1, events: Vec::new() };
    frames.send(Ok(frame)).await.expect("the framework listens");
    let (sender, calls) = mpsc::channel(1024);
    let frames_left = frames.downgrade();
    if connections.send(Connection { hello, calls, frames }).await.is_err() {
        return;
    }
    while let Ok(Some(frame)) = incoming.message().await {
        for call in frame.calls {
            let call = Call::from_wire(call).expect("what the sdk sends is well formed");
            if sender.send(call).await.is_err() {
                return;
            }
        }
    }
    // Whoever closes its half is let go; a framework that is gone already does not hear it.
    if let Some(frames) = frames_left.upgrade() {
        frames.send(Err(Status::unavailable("closed by peer"))).await.unwrap_or_default();
    }
}

#[tonic::async_trait]
impl Operator for Service {
    type ReadLogStream = ReceiverStream<Result<v1::LogChunk, Status>>;
    type SessionStream = ReceiverStream<Result<v1::SessionOutput, Status>>;

    async fn command(&self, request: Request<v1::CommandRequest>) -> Result<Response<v1::CommandReply>, Status> {
        use rialto_core::master::{Command, Reply};
        use rialto_core::model::Reject;
        match Command::from_wire(request.into_inner())? {
            Command::Teardown(framework) if framework == FRAMEWORK => Ok(Response::new(Reply::Done.to_wire())),
            _ => Err(rialto_proto::status::reject_to_status(&Reject::UnknownFramework)),
        }
    }

    async fn read_log(&self, request: Request<v1::ReadLogRequest>) -> Result<Response<Self::ReadLogStream>, Status> {
        let read = request.into_inner().read.ok_or_else(|| Status::invalid_argument("read"))?;
        let (chunks, outgoing) = mpsc::channel(4);
        for (offset, data, eof) in [(0, "one ", false), (4, &*read.file, true)] {
            let chunk = v1::LogChunk { offset, data: data.to_owned().into_bytes().into(), eof };
            chunks.send(Ok(chunk)).await.map_err(|_| Status::cancelled("gone"))?;
        }
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }

    async fn session(
        &self,
        _: Request<Streaming<v1::SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        Err(Status::unimplemented("no task runs here"))
    }
}
