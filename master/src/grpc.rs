//! The gRPC services: frameworks, agents, operators.
//!
//! A connection is two halves: the reading half, a task that decodes frames and hands their messages to the core; the writing half, a
//! [`Frames`] stream over the mailbox that the core fills. Whichever ends first ends the other.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio_stream::Stream;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use rialto_core::master::{Command, Input};
use rialto_core::model::{Call, ClusterId, Event, FromAgent, PeerId, Principal, Reject, Term};
use rialto_proto::hello::Hello;
use rialto_proto::logs::ReadLog;
use rialto_proto::status::reject_to_status;
use rialto_proto::v1::agents_server::{Agents, AgentsServer};
use rialto_proto::v1::operator_server::{Operator, OperatorServer};
use rialto_proto::v1::scheduler_server::{Scheduler, SchedulerServer};
use rialto_proto::{MAX_FRAME_BYTES, MAX_FRAME_MESSAGES, Wire, v1};

use crate::auth::principal;
use crate::bulk::{Bulk, Cancel, Chunks, Outputs};
use crate::engine::{AgentItem, Core, Outgoing, ToCore};
use crate::frames::Frames;
use crate::mailbox::{Closed, MAILBOX_BYTES, Mailbox, Weighed, mailbox};
use crate::metrics::Metrics;
use crate::wire;

/// What the services share. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Services {
    core: Core,
    bulk: Bulk,
    cluster: ClusterId,
    hello: v1::Hello,
    metrics: Metrics,
    last_peer: Arc<AtomicU64>,
}

impl Services {
    pub(crate) fn new(core: Core, bulk: Bulk, cluster: ClusterId, term: Term, metrics: Metrics) -> Self {
        Self { core, bulk, cluster, hello: Hello::master(cluster, term).to_wire(), metrics, last_peer: Arc::default() }
    }

    /// All services.
    pub(crate) fn routes(self) -> Routes {
        let scheduler = SchedulerServer::new(self.clone()).max_decoding_message_size(MAX_FRAME_BYTES);
        let agents = AgentsServer::new(self.clone()).max_decoding_message_size(MAX_FRAME_BYTES);
        Routes::new(scheduler).add_service(agents).add_service(OperatorServer::new(self))
    }

    fn connection<T>(&self, principal: Principal, mailbox: Mailbox<T>) -> Connection<T> {
        let peer = PeerId(self.last_peer.fetch_add(1, Ordering::Relaxed) + 1);
        Connection {
            peer,
            principal,
            mailbox,
            core: self.core.clone(),
            cluster: self.cluster,
            metrics: self.metrics.clone(),
        }
    }
}

#[tonic::async_trait]
impl Scheduler for Services {
    type ConnectStream = Frames<Event>;

    async fn connect(
        &self,
        request: Request<Streaming<v1::CallFrame>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let principal = principal(&headers(&request), "framework");
        let (sender, receiver) = mailbox(MAILBOX_BYTES);
        let connection = self.connection(principal, sender);
        let outgoing = Outgoing::Framework(connection.mailbox.clone());
        tokio::spawn(connection.run(request.into_inner(), outgoing));
        Ok(Response::new(Frames::new(receiver, self.hello.clone())))
    }
}

#[tonic::async_trait]
impl Agents for Services {
    type ConnectStream = Frames<AgentItem>;
    type BulkStream = Cancel;

    async fn connect(
        &self,
        request: Request<Streaming<v1::FromAgentFrame>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let principal = principal(&headers(&request), "agent");
        let (sender, receiver) = mailbox(MAILBOX_BYTES);
        let connection = self.connection(principal, sender);
        let outgoing = Outgoing::Agent(connection.mailbox.clone());
        tokio::spawn(connection.run(request.into_inner(), outgoing));
        Ok(Response::new(Frames::new(receiver, self.hello.clone())))
    }

    async fn bulk(&self, request: Request<Streaming<v1::BulkUp>>) -> Result<Response<Self::BulkStream>, Status> {
        self.bulk.dialled(request.into_inner()).await.map(Response::new)
    }
}

#[tonic::async_trait]
impl Operator for Services {
    type ReadLogStream = LogChunks;
    type SessionStream = Outputs;

    async fn command(&self, request: Request<v1::CommandRequest>) -> Result<Response<v1::CommandReply>, Status> {
        let principal = principal(&headers(&request), "operator");
        let command = Command::from_wire(request.into_inner())?;
        let answer = self.core.command(principal, command).await;
        let reply = answer.map_err(|stopping| Status::unavailable(stopping.to_string()))?;
        reply.map(|reply| Response::new(reply.to_wire())).map_err(|reject| reject_to_status(&reject))
    }

    async fn read_log(&self, request: Request<v1::ReadLogRequest>) -> Result<Response<Self::ReadLogStream>, Status> {
        let read = request
            .into_inner()
            .read
            .ok_or_else(|| reject_to_status(&Reject::invalid("read", "expected a log, got none")))?;
        let chunks = self.bulk.open(ReadLog::from_wire(read)?).await.map_err(|error| wire::bulk_failed(&error))?;
        Ok(Response::new(LogChunks(chunks)))
    }

    async fn session(
        &self,
        request: Request<Streaming<v1::SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        self.bulk.converse(request.into_inner()).await.map(Response::new)
    }
}

fn headers<T>(request: &Request<T>) -> axum::http::HeaderMap {
    request.metadata().clone().into_headers()
}

/// A log on its way to an operator.
#[derive(Debug)]
pub(crate) struct LogChunks(Chunks);

impl Stream for LogChunks {
    type Item = Result<v1::LogChunk, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0)
            .poll_next(cx)
            .map(|item| item.map(|chunk| chunk.map_err(|error| wire::bulk_failed(&error))))
    }
}

/// The reading half of a control connection.
struct Connection<T> {
    peer: PeerId,
    principal: Principal,
    mailbox: Mailbox<T>,
    core: Core,
    cluster: ClusterId,
    metrics: Metrics,
}

/// A frame that comes in.
trait Incoming: Default + prost::Message + 'static {
    /// What goes the other way on this connection.
    type Back: Weighed + Send + 'static;

    /// Takes the greeting out of it.
    fn hello(&mut self) -> Option<v1::Hello>;

    /// How many messages it carries.
    fn len(&self) -> usize;

    /// The inputs that the frame holds; what can't be understood is answered or ends the connection.
    fn inputs(self, connection: &Connection<Self::Back>) -> Result<Vec<Input>, Closed>;
}

impl<T: Weighed + Send + 'static> Connection<T> {
    async fn run<F: Incoming<Back = T>>(self, incoming: Streaming<F>, outgoing: Outgoing) {
        let peer = self.peer;
        if self.core.tell(ToCore::Open(peer, outgoing)).await.is_err() {
            return self.mailbox.close(Closed::Stopping);
        }
        let reason = self.read(incoming).await;
        tracing::debug!(peer = peer.0, %reason, "connection ends");
        if reason == Closed::TooSlow {
            self.metrics.too_slow();
        }
        self.mailbox.close(reason);
        // A core that has ended needs not be told.
        drop(self.core.tell(ToCore::Closed(peer)).await);
    }

    async fn read<F: Incoming<Back = T>>(&self, mut incoming: Streaming<F>) -> Closed {
        let mut greeted = false;
        loop {
            let frame = tokio::select! {
                frame = incoming.message() => frame,
                reason = self.mailbox.closed() => return reason,
            };
            let mut frame = match frame {
                Ok(Some(frame)) => frame,
                Ok(None) => return Closed::ByPeer,
                Err(status) => return self.broken(&status),
            };
            if !greeted && let Err(reject) = wire::check_hello(frame.hello(), self.cluster) {
                return Closed::Rejected(reject);
            }
            greeted = true;
            if frame.len() > MAX_FRAME_MESSAGES {
                return Closed::BadMessage(format!(
                    "expected at most {MAX_FRAME_MESSAGES} messages in a frame, got {}",
                    frame.len()
                ));
            }
            let bytes = frame.encoded_len();
            let inputs = match frame.inputs(self) {
                Ok(inputs) => inputs,
                Err(reason) => return reason,
            };
            if !inputs.is_empty() && self.core.input(inputs, bytes).await.is_err() {
                return Closed::Stopping;
            }
        }
    }

    /// A frame that is no frame, or a connection that is no more.
    fn broken(&self, status: &Status) -> Closed {
        match status.code() {
            tonic::Code::Internal | tonic::Code::OutOfRange | tonic::Code::ResourceExhausted => {
                self.metrics.refused();
                Closed::BadMessage(status.message().to_owned())
            }
            _ => Closed::ByPeer,
        }
    }
}

impl Incoming for v1::CallFrame {
    type Back = Event;

    fn hello(&mut self) -> Option<v1::Hello> {
        self.hello.take()
    }

    fn len(&self) -> usize {
        self.calls.len()
    }

    fn inputs(self, connection: &Connection<Event>) -> Result<Vec<Input>, Closed> {
        let mut inputs = Vec::with_capacity(self.calls.len());
        for (index, wire_call) in self.calls.into_iter().enumerate() {
            let outcome = wire::refused_call(&wire_call);
            match Call::from_wire(wire_call) {
                Ok(call) => {
                    let (peer, principal) = (connection.peer, connection.principal.clone());
                    inputs.push(Input::FromFramework { peer, principal, call });
                }
                Err(error) => {
                    connection.metrics.refused();
                    let reject = wire::refused("calls", index, error);
                    let Some(outcome) = outcome else {
                        connection.mailbox.push([Event::Error(reject.clone())]);
                        return Err(Closed::Rejected(reject));
                    };
                    connection.mailbox.push([outcome(reject)]);
                }
            }
        }
        Ok(inputs)
    }
}

impl Incoming for v1::FromAgentFrame {
    type Back = AgentItem;

    fn hello(&mut self) -> Option<v1::Hello> {
        self.hello.take()
    }

    fn len(&self) -> usize {
        self.messages.len()
    }

    fn inputs(self, connection: &Connection<AgentItem>) -> Result<Vec<Input>, Closed> {
        let input = |(index, message)| {
            let message = FromAgent::from_wire(message).map_err(|error| wire::refused("messages", index, error))?;
            Ok(Input::FromAgent { peer: connection.peer, principal: connection.principal.clone(), message })
        };
        let inputs: Result<_, Reject> = self.messages.into_iter().enumerate().map(input).collect();
        inputs.map_err(|reject| {
            connection.metrics.refused();
            Closed::Rejected(reject)
        })
    }
}
