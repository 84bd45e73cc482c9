//! A served master, a fake agent and a fake framework.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use rialto_core::model::{
    AgentId, AgentInfo, AgentReport, Call, ClientId, ClusterId, Event, FrameworkId, FrameworkInfo, FromAgent, Milli,
    Offer, OfferMode, Resources, Role, Subscribe, Term, ToAgent,
};
use rialto_master::{Listener, MasterError, Options, bind, serve};
use rialto_proto::hello::Hello;
use rialto_proto::logs::OpenBulk;
use rialto_proto::v1::agents_client::AgentsClient;
use rialto_proto::v1::scheduler_client::SchedulerClient;
use rialto_proto::{MAX_FRAME_MESSAGES, Wire, frames, v1};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What `future` yields, within the time that anything may take.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited too long for {what}"))
}

/// A served master.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), MasterError>>,
}

impl Served {
    pub(crate) async fn start(options: Options) -> Self {
        let listener = bind(&options).await.unwrap();
        Self::on(options, listener)
    }

    pub(crate) fn on(options: Options, listener: Listener) -> Self {
        let address = listener.address();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(serve(options, listener, async move { drop(stopped.await) }));
        Self { address, stop, task }
    }

    pub(crate) async fn development() -> Self {
        Self::start(Options::development()).await
    }

    pub(crate) async fn stop(self) -> Result<(), MasterError> {
        drop(self.stop);
        soon("the master's end", self.task).await.unwrap()
    }

    pub(crate) async fn channel(&self) -> Channel {
        channel(self.address).await
    }
}

async fn channel(address: SocketAddr) -> Channel {
    let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
    soon("a connection", endpoint.connect()).await.unwrap()
}

/// A framework's end of its connection.
pub(crate) struct Framework {
    pub(crate) frames: mpsc::Sender<v1::CallFrame>,
    incoming: Streaming<v1::EventFrame>,
    waiting: VecDeque<Event>,
    pub(crate) term: Term,
}

impl Framework {
    /// Connects and greets.
    pub(crate) async fn connect(master: &Served) -> Self {
        let (frames, outgoing) = mpsc::channel(16);
        let mut client = SchedulerClient::new(master.channel().await);
        let answer = soon("the events", client.connect(ReceiverStream::new(outgoing))).await.unwrap();
        let mut this = Self { frames, incoming: answer.into_inner(), waiting: VecDeque::new(), term: Term(0) };
        let hello = this.frame().await.unwrap().hello;
        this.term = Hello::expect(hello).unwrap().term;
        this.send_raw(v1::CallFrame { hello: Some(Hello::client(None).to_wire()), calls: Vec::new() }).await;
        this
    }

    /// Connects and subscribes, as a new framework or as `known`.
    pub(crate) async fn subscribe(master: &Served, known: Option<FrameworkId>) -> (Self, FrameworkId) {
        let mut this = Self::connect(master).await;
        this.call(Call::Subscribe(subscription(known))).await;
        let subscribed =
            |event: &Event| if let Event::Subscribed { framework, .. } = event { Some(*framework) } else { None };
        let framework = this.wait("a subscription", subscribed).await;
        (this, framework)
    }

    pub(crate) async fn call(&self, call: Call) {
        self.send_raw(frames::call_frame(&[call])).await;
    }

    pub(crate) async fn send_raw(&self, frame: v1::CallFrame) {
        soon("room for a frame", self.frames.send(frame)).await.unwrap();
    }

    /// The first event that `pick` wants; those before it are skipped.
    pub(crate) async fn wait<T>(&mut self, what: &str, pick: impl Fn(&Event) -> Option<T>) -> T {
        loop {
            if let Some(picked) = self.waiting.pop_front().as_ref().map(&pick) {
                match picked {
                    Some(picked) => return picked,
                    None => continue,
                }
            }
            let frame =
                soon(what, self.frame()).await.unwrap_or_else(|status| panic!("waited for {what}, got {status}"));
            self.waiting.extend(frames::events(frame).unwrap().1);
        }
    }

    pub(crate) async fn offer(&mut self) -> Arc<Offer> {
        self.wait("an offer", |event| if let Event::Offers(offers) = event { offers.first().cloned() } else { None })
            .await
    }

    /// The next events, all that came at once.
    pub(crate) async fn next_events(&mut self) -> Vec<Event> {
        if self.waiting.is_empty() {
            let frame = self.frame().await.unwrap();
            self.waiting.extend(frames::events(frame).unwrap().1);
        }
        self.waiting.drain(..).collect()
    }

    pub(crate) async fn call_all(&self, calls: &[Call]) {
        for calls in calls.chunks(MAX_FRAME_MESSAGES) {
            self.send_raw(frames::call_frame(calls)).await;
        }
    }

    /// How the connection ends, whatever comes before.
    pub(crate) async fn end(mut self) -> (Vec<Event>, Option<Status>) {
        let mut events: Vec<Event> = self.waiting.drain(..).collect();
        loop {
            match soon("the connection's end", self.incoming.message()).await {
                Ok(Some(frame)) => events.extend(frames::events(frame).unwrap().1),
                Ok(None) => return (events, None),
                Err(status) => return (events, Some(status)),
            }
        }
    }

    async fn frame(&mut self) -> Result<v1::EventFrame, Status> {
        soon("a frame", self.incoming.message()).await.map(|frame| frame.expect("the connection goes on"))
    }
}

pub(crate) fn subscription(known: Option<FrameworkId>) -> Subscribe {
    let info = FrameworkInfo {
        name: Arc::from("test"),
        user: Arc::from(""),
        roles: BTreeSet::from([Role::any()]),
        failover_timeout: Duration::from_secs(600),
        offer_mode: OfferMode::Optimistic,
        offer_timeout: None,
        url: None,
        labels: BTreeMap::new(),
        capabilities: Default::default(),
        rules: Arc::default(),
    };
    Subscribe { framework: known, client: ClientId(11), info, suppressed: BTreeSet::new(), connection: 0 }
}

/// An agent's end of its connections.
pub(crate) struct Agent {
    channel: Channel,
    frames: mpsc::Sender<v1::FromAgentFrame>,
    incoming: Streaming<v1::ToAgentFrame>,
    messages: VecDeque<ToAgent>,
    opens: VecDeque<OpenBulk>,
    id: Option<AgentId>,
}

impl Agent {
    /// Connects and greets.
    pub(crate) async fn connect(master: &Served) -> Self {
        Self::connect_at(master.address).await
    }

    async fn connect_at(address: SocketAddr) -> Self {
        let (frames, outgoing) = mpsc::channel(16);
        let channel = channel(address).await;
        let mut client = AgentsClient::new(channel.clone());
        let answer = soon("the messages", client.connect(ReceiverStream::new(outgoing))).await.unwrap();
        let incoming = answer.into_inner();
        let this = Self { channel, frames, incoming, messages: VecDeque::new(), opens: VecDeque::new(), id: None };
        this.send_raw(v1::FromAgentFrame { hello: Some(Hello::client(None).to_wire()), messages: Vec::new() }).await;
        this
    }

    /// Connects and registers as a new agent with 4 cores and 8 GiB.
    pub(crate) async fn register(master: &Served) -> Self {
        Self::register_at(master.address).await
    }

    /// Connects and registers as a new agent, through whatever listens at `address`.
    pub(crate) async fn register_at(address: SocketAddr) -> Self {
        Self::connect_at(address).await.registered(report(None)).await
    }

    /// Connects and registers with a report of its own.
    pub(crate) async fn register_as(master: &Served, report: AgentReport) -> Self {
        Self::connect(master).await.registered(report).await
    }

    async fn registered(mut self, report: AgentReport) -> Self {
        self.say(FromAgent::Register(Box::new(report))).await;
        let id = |message: &ToAgent| if let ToAgent::Registered { agent, .. } = message { Some(*agent) } else { None };
        self.id = Some(self.wait("a registration", id).await);
        self
    }

    /// Its id, once it is registered.
    pub(crate) fn id(&self) -> AgentId {
        self.id.expect("it is registered")
    }

    /// The next messages, all that came at once; none at the end of the connection.
    pub(crate) async fn next_messages(&mut self) -> Option<Vec<ToAgent>> {
        if self.messages.is_empty() {
            let frame = self.incoming.message().await.ok().flatten()?;
            self.messages.extend(frames::to_agent(frame).unwrap().messages);
        }
        Some(self.messages.drain(..).collect())
    }

    pub(crate) async fn say_all(&self, messages: &[FromAgent]) {
        for messages in messages.chunks(MAX_FRAME_MESSAGES) {
            self.send_raw(frames::from_agent_frame(messages)).await;
        }
    }

    pub(crate) async fn say(&self, message: FromAgent) {
        self.send_raw(frames::from_agent_frame(&[message])).await;
    }

    pub(crate) async fn send_raw(&self, frame: v1::FromAgentFrame) {
        soon("room for a frame", self.frames.send(frame)).await.unwrap();
    }

    /// The first message that `pick` wants; those before it are skipped.
    pub(crate) async fn wait<T>(&mut self, what: &str, pick: impl Fn(&ToAgent) -> Option<T>) -> T {
        loop {
            while let Some(message) = self.messages.pop_front() {
                if let Some(picked) = pick(&message) {
                    return picked;
                }
            }
            self.take_frame(what).await;
        }
    }

    /// The next request for a bulk stream.
    pub(crate) async fn open(&mut self) -> OpenBulk {
        loop {
            if let Some(open) = self.opens.pop_front() {
                return open;
            }
            self.take_frame("a request for a bulk stream").await;
        }
    }

    /// Dials a bulk stream.
    pub(crate) async fn dial(
        &self,
        stream_id: u64,
    ) -> Result<(mpsc::Sender<v1::BulkUp>, Streaming<v1::BulkDown>), Status> {
        let (up, outgoing) = mpsc::channel(4);
        up.send(v1::BulkUp { message: Some(v1::bulk_up::Message::StreamId(stream_id)) }).await.unwrap();
        let mut client = AgentsClient::new(self.channel.clone());
        let down = soon("the bulk stream", client.bulk(ReceiverStream::new(outgoing))).await?;
        Ok((up, down.into_inner()))
    }

    /// How the connection ends.
    pub(crate) async fn end(mut self) -> Option<Status> {
        loop {
            match soon("the connection's end", self.incoming.message()).await {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(status) => return Some(status),
            }
        }
    }

    async fn take_frame(&mut self, what: &str) {
        let frame = soon(what, self.incoming.message()).await;
        let frame =
            frame.unwrap_or_else(|status| panic!("waited for {what}, got {status}")).expect("the connection goes on");
        let frame = frames::to_agent(frame).unwrap();
        self.messages.extend(frame.messages);
        self.opens.extend(frame.open);
    }
}

pub(crate) fn report(known: Option<(AgentId, ClusterId)>) -> AgentReport {
    AgentReport {
        agent: known,
        term: Term::default(),
        client: ClientId(22),
        info: Arc::new(AgentInfo { name: Arc::from("west"), ..AgentInfo::default() }),
        resources: Resources::of(Milli::from_whole(4), Milli::from_whole(8192)),
        devices: Vec::new(),
        tasks: Vec::new(),
        held: Vec::new(),
        operated: None,
        connection: 0,
    }
}

/// `message` with a bearer token.
pub(crate) fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}
