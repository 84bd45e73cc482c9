//! Emulated agents: the agent machine of production with its gate, over a connection of its own to the master.
//!
//! What is left out is what an agent does to its machine: the journal is in memory, so that every record is durable at once, and a task
//! runs and has finished as soon as it is started. Registration, updates one at a time for each task, acknowledgements: all real.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::Context;
use rialto_proto::hello::Hello;
use rialto_proto::v1::agents_client::AgentsClient;
use rialto_proto::{MAX_FRAME_BYTES, Wire, frames, v1};
use rialto_sdk::core::agent::{Agent, Config, Effect, End, Input, Journal, Out};
use rialto_sdk::core::gate::Gate;
use rialto_sdk::core::model::{Exit, FromAgent, Launch, Resources, TaskKey, Time, WallTime};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Streaming};

/// How many frames may wait to be sent.
const FRAMES_MAX: usize = 8;
/// The most messages that are sent in one frame, as a real agent does it.
const FRAME_MAX: usize = 512;
/// How many agents connect at the same time.
const CONNECTING_MAX: usize = 64;

/// What the fleet counts while it runs.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Agents that are registered.
    pub(super) registered: AtomicU64,
    /// Tasks whose every update has been acknowledged.
    pub(super) settled: AtomicU64,
}

/// The agents, each in a task of its own. They end when this is dropped.
#[derive(Debug)]
pub(super) struct Fleet {
    agents: JoinSet<anyhow::Result<()>>,
    counts: Arc<Counts>,
}

/// What every agent of a fleet is told.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) url: String,
    pub(super) token: String,
    pub(super) resources: Resources,
    /// What one more agent has.
    pub(super) last: Resources,
    /// What the times in updates are counted from.
    pub(super) epoch: Instant,
}

impl Fleet {
    /// Connects `count` agents and the last one; returns when all are registered.
    pub(super) async fn start(order: &Order, count: u32) -> anyhow::Result<Self> {
        let counts = Arc::new(Counts::default());
        let mut agents = JoinSet::new();
        let token: MetadataValue<Ascii> = format!("Bearer {}", order.token).parse().context("the token")?;
        let permits = Arc::new(tokio::sync::Semaphore::new(CONNECTING_MAX));
        for number in 0..=count {
            let (order, token, counts, permits) = (order.clone(), token.clone(), counts.clone(), permits.clone());
            agents.spawn(async move {
                let permit = permits.acquire_owned().await.context("the permits stay")?;
                let (frames, incoming) = dial(&order.url, token).await?;
                drop(permit);
                let resources = if number == count { order.last } else { order.resources };
                Emulated::new(resources, order.epoch, number, frames, counts).run(incoming).await
            });
        }
        let mut fleet = Self { agents, counts };
        while fleet.counts.registered.load(Ordering::Relaxed) <= u64::from(count) {
            tokio::select! {
                ended = fleet.ended() => return Err(ended),
                () = tokio::time::sleep(std::time::Duration::from_millis(5)) => {}
            }
        }
        Ok(fleet)
    }

    pub(super) const fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// Does `work`, unless an agent ends meanwhile.
    pub(super) async fn watch<T>(&mut self, work: impl Future<Output = T>) -> anyhow::Result<T> {
        tokio::select! {
            ended = self.ended() => Err(ended),
            done = work => Ok(done),
        }
    }

    /// Waits until an agent ends, which it does only when something is wrong; says what.
    async fn ended(&mut self) -> anyhow::Error {
        match self.agents.join_next().await {
            Some(Ok(Err(error))) => error.context("an emulated agent"),
            Some(Err(panic)) => anyhow::Error::new(panic).context("an emulated agent"),
            Some(Ok(Ok(()))) | None => anyhow::anyhow!("the master has closed the connection of an emulated agent"),
        }
    }
}

async fn dial(
    url: &str,
    token: MetadataValue<Ascii>,
) -> anyhow::Result<(mpsc::Sender<v1::FromAgentFrame>, Streaming<v1::ToAgentFrame>)> {
    let channel: Channel = Endpoint::from_shared(url.to_owned())?.tcp_nodelay(true).connect().await?;
    let (frames, outgoing) = mpsc::channel(FRAMES_MAX);
    frames.send(v1::FromAgentFrame { hello: Some(Hello::client(None).to_wire()), messages: Vec::new() }).await?;
    let mut request = Request::new(ReceiverStream::new(outgoing));
    request.metadata_mut().insert("authorization", token);
    let mut client = AgentsClient::new(channel).max_decoding_message_size(MAX_FRAME_BYTES);
    Ok((frames, client.connect(request).await?.into_inner()))
}

/// One agent.
struct Emulated {
    core: Agent,
    gate: Gate<rialto_sdk::core::agent::Record, Effect>,
    outbox: Out,
    released: Vec<Effect>,
    /// What its tasks have done since, in order.
    happened: Vec<Input>,
    outgoing: Vec<FromAgent>,
    frames: mpsc::Sender<v1::FromAgentFrame>,
    counts: Arc<Counts>,
    epoch: Instant,
}

impl Emulated {
    fn new(
        resources: Resources,
        epoch: Instant,
        number: u32,
        frames: mpsc::Sender<v1::FromAgentFrame>,
        counts: Arc<Counts>,
    ) -> Self {
        let config = Config {
            name: format!("emulated-{number}").into(),
            resources,
            attributes: std::collections::BTreeMap::new(),
            domain: None,
            host_share_milli: 0,
            origin: WallTime(0),
            seed: u64::from(number),
        };
        Self {
            core: Agent::recover(Time::ZERO, config, Journal::default()),
            gate: Gate::default(),
            outbox: Out::new(),
            released: Vec::new(),
            happened: Vec::new(),
            outgoing: Vec::new(),
            frames,
            counts,
            epoch,
        }
    }

    async fn run(mut self, mut incoming: Streaming<v1::ToAgentFrame>) -> anyhow::Result<()> {
        let first = incoming.message().await?.context("the master says nothing")?;
        Hello::expect(first.hello)?;
        self.step(Input::Connected);
        loop {
            self.send().await?;
            let deadline = self.core.next_deadline().map(|due| self.epoch + due.since(Time::ZERO));
            tokio::select! {
                frame = incoming.message() => match frame? {
                    Some(frame) => self.hear(frame)?,
                    None => return Ok(()),
                },
                () = until(deadline) => self.step(Input::Tick),
            }
        }
    }

    fn hear(&mut self, frame: v1::ToAgentFrame) -> anyhow::Result<()> {
        let frame = frames::to_agent(frame)?;
        for message in frame.messages {
            let registered = matches!(message, rialto_sdk::core::model::ToAgent::Registered { .. });
            self.step(Input::FromMaster { term: frame.term, message });
            self.counts.registered.fetch_add(u64::from(registered), Ordering::Relaxed);
        }
        Ok(())
    }

    /// One step of the machine, and of all that follows from it.
    fn step(&mut self, input: Input) {
        let mut next = Some(input);
        while let Some(input) = next {
            let now = Time::ZERO + self.epoch.elapsed();
            self.core.step(now, input, &mut self.outbox);
            self.gate.push(self.outbox.drain(..), &mut self.released);
            while let Some((batch, _in_memory)) = self.gate.take_batch() {
                self.gate.durable(batch, &mut self.released);
            }
            let mut released = std::mem::take(&mut self.released);
            released.drain(..).for_each(|effect| self.carry_out(effect));
            self.released = released;
            next = self.happened.pop();
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::ToMaster(message) => self.outgoing.push(message),
            Effect::Start { launch, .. } => self.run_at_once(&launch),
            Effect::Forget { .. } => drop(self.counts.settled.fetch_add(1, Ordering::Relaxed)),
            Effect::Shutdown(reject) => tracing::error!(%reject, "an emulated agent is not wanted"),
            Effect::Notice(notice) => tracing::warn!(notice, "an emulated agent"),
            // Tasks end by themselves at once, and there are no devices or volumes.
            Effect::Kill { .. } | Effect::Release { .. } | Effect::MakeVolume { .. } | Effect::DestroyVolume(_) => {}
        }
    }

    fn run_at_once(&mut self, launch: &Launch) {
        for task in &launch.group.tasks {
            let task = TaskKey::new(launch.framework, task.id.clone());
            // Taken from the end.
            self.happened.push(Input::Ended { task: task.clone(), end: End::Exited(Exit::Code(0)) });
            self.happened.push(Input::Running { task });
        }
    }

    /// Sends what was said, as one frame unless it is much. An update says when it was sent, so that its way can be timed.
    async fn send(&mut self) -> anyhow::Result<()> {
        let now = WallTime(i64::try_from(self.epoch.elapsed().as_micros()).context("a benchmark is short")?);
        for message in &mut self.outgoing {
            if let FromAgent::Update { status, .. } = message {
                status.at = now;
            }
        }
        for messages in self.outgoing.chunks(FRAME_MAX) {
            self.frames.send(frames::from_agent_frame(messages)).await.context("the master takes no frames")?;
        }
        self.outgoing.clear();
        Ok(())
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
