//! The one task that owns the core.
//!
//! Each turn takes everything that has come in, steps the core through it, and lets out what the [`Gate`] releases: one queue operation
//! for each peer, one batch for the store, one round of changes for the read model. While a batch is being written the core steps on.

use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};

use rialto_core::allocator::conduct::Conduct;
use rialto_core::gate::{BatchId, Gate};
use rialto_core::master::registry::Record;
use rialto_core::master::view::Change;
use rialto_core::master::{Command, Config, Effect, Input, Master, Outbox, Reply, Stats};
use rialto_core::model::{AgentId, Event, PeerId, Principal, Reject, RequestId, Time, ToAgent};
use rialto_proto::logs::OpenBulk;

use crate::links::AgentLinks;
use crate::mailbox::{Closed, Mailbox, Weighed};
use crate::metrics::Metrics;
use crate::options::MasterError;
use crate::reads::Feed;
use crate::store::Store;

/// How many messages to the core may wait; a connection whose message finds no room stops reading.
const INBOX_MAX: usize = 1024;
/// How many KiB of frames may wait, as they were on the wire. A larger frame waits until it is alone.
const INBOX_KIB: u32 = 256 << 10;
/// How many of them are taken at once, at most.
const TURN_MAX: usize = 256;
/// How soon the read model is tried again when it had no room.
const FEED_RETRY: Duration = Duration::from_millis(2);

/// What the connections and the HTTP side tell the core's task.
#[derive(Debug)]
pub(crate) enum ToCore {
    /// A connection begins.
    Open(PeerId, Outgoing),
    /// What came in one frame, with its part of the inbox's bytes.
    Inputs(Vec<Input>, OwnedSemaphorePermit),
    /// A connection is over.
    Closed(PeerId),
    /// An operator's command.
    Command { principal: Principal, command: Command, reply: oneshot::Sender<Result<Reply, Reject>> },
    /// How is it going?
    Status(oneshot::Sender<Status>),
    /// How do the frameworks fare?
    Survey(oneshot::Sender<Vec<Conduct>>),
}

/// Where a peer's messages go.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// An agent.
    Agent(Mailbox<AgentItem>),
    /// A framework.
    Framework(Mailbox<Event>),
}

/// What goes to an agent's connection.
#[derive(Debug)]
pub(crate) enum AgentItem {
    /// Said by the core.
    Core(ToAgent),
    /// Asked by the shell.
    OpenBulk(OpenBulk),
}

impl Weighed for AgentItem {
    fn weight(&self) -> usize {
        match self {
            Self::Core(message) => message.weight(),
            Self::OpenBulk(_) => 512,
        }
    }
}

/// The core's figures.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    pub(crate) stats: Stats,
    pub(crate) agent_connections: usize,
    pub(crate) framework_connections: usize,
    pub(crate) messages_queued: usize,
    pub(crate) effects_gated: usize,
}

/// The core's clock: microseconds since its shell started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    fn now(self) -> Time {
        Time::ZERO + self.0.elapsed()
    }

    fn instant(self, time: Time) -> Instant {
        // A deadline beyond what the clock can say is as good as none for a day.
        let far = || Instant::now() + Duration::from_secs(24 * 3600);
        self.0.checked_add(Duration::from_micros(time.0)).unwrap_or_else(far)
    }
}

struct Peer {
    outgoing: Outgoing,
    /// Which agent it registered as.
    agent: Option<AgentId>,
    to_agent: Vec<AgentItem>,
    to_framework: Vec<Event>,
}

/// The core with everything that it moves.
pub(crate) struct Engine {
    master: Master,
    clock: Clock,
    gate: Gate<Record, Effect>,
    store: Store,
    in_flight: Option<BatchId>,
    feed: Feed,
    links: AgentLinks,
    peers: HashMap<PeerId, Peer>,
    requests: HashMap<RequestId, oneshot::Sender<Result<Reply, Reject>>>,
    last_request: u64,
    metrics: Metrics,
    outbox: Outbox,
    released: Vec<Effect>,
    changes: Vec<Change>,
    /// Peers with something to be sent this turn.
    touched: Vec<PeerId>,
}

impl Engine {
    /// A master for a new term over what the store holds.
    pub(crate) fn new(
        config: Config,
        registry: rialto_core::master::registry::Registry,
        store: Store,
        feed: Feed,
        links: AgentLinks,
        metrics: Metrics,
        clock: Clock,
    ) -> Self {
        let mut outbox = Outbox::new();
        let master = Master::recover(clock.now(), config, registry, &mut outbox);
        Self {
            master,
            clock,
            gate: Gate::default(),
            store,
            in_flight: None,
            feed,
            links,
            peers: HashMap::new(),
            requests: HashMap::new(),
            last_request: 0,
            metrics,
            outbox,
            released: Vec::new(),
            changes: Vec::new(),
            touched: Vec::new(),
        }
    }

    pub(crate) const fn master(&self) -> &Master {
        &self.master
    }

    /// Waits until everything so far is on disk.
    pub(crate) async fn settle(&mut self) -> Result<(), MasterError> {
        self.end_turn().await?;
        while self.in_flight.is_some() {
            let batch = self.store.written().await?;
            self.durable(batch).await?;
        }
        Ok(())
    }

    /// Runs until `shutdown` says true or the store fails; then tells every peer and closes the store.
    pub(crate) async fn run(
        mut self,
        mut inbox: mpsc::Receiver<ToCore>,
        mut shutdown: watch::Receiver<bool>,
    ) -> Result<(), MasterError> {
        let mut result = self.turns(&mut inbox, &mut shutdown).await;
        if result.is_ok() {
            result = self.settle().await;
        }
        for peer in self.peers.values() {
            peer.close(Closed::Stopping);
        }
        let stopped = tokio::task::spawn_blocking(move || self.store.stop()).await;
        result.and_then(|()| stopped.map_err(|_| MasterError::PartEnded("store")))
    }

    async fn turns(
        &mut self,
        inbox: &mut mpsc::Receiver<ToCore>,
        shutdown: &mut watch::Receiver<bool>,
    ) -> Result<(), MasterError> {
        let mut messages = Vec::with_capacity(TURN_MAX);
        loop {
            let deadline = self.master.next_deadline().map(|time| self.clock.instant(time));
            tokio::select! {
                biased;
                () = told(shutdown) => return Ok(()),
                batch = self.store.written(), if self.in_flight.is_some() => {
                    let batch = batch?;
                    self.durable(batch).await?;
                    continue;
                }
                count = inbox.recv_many(&mut messages, TURN_MAX) => {
                    if count == 0 {
                        return Ok(());
                    }
                    self.turn(messages.drain(..));
                }
                () = until(deadline) => self.step(Input::Tick),
                () = sleep(FEED_RETRY), if self.feed.is_behind() => {}
            }
            self.end_turn().await?;
        }
    }

    fn turn(&mut self, messages: impl Iterator<Item = ToCore>) {
        let mut inputs = 0;
        for message in messages {
            match message {
                ToCore::Open(id, outgoing) => drop(self.peers.insert(id, Peer::new(outgoing))),
                ToCore::Inputs(batch, _room) => {
                    inputs += batch.len();
                    // Shown at the end of the turn, or before the answer to a command.
                    batch
                        .into_iter()
                        .for_each(|input| self.master.step_unshown(self.clock.now(), input, &mut self.outbox));
                }
                ToCore::Closed(id) => self.closed(id),
                ToCore::Command { principal, command, reply } => self.command(principal, command, reply),
                // Whoever asked may have given up.
                ToCore::Status(answer) => drop(answer.send(self.status())),
                ToCore::Survey(answer) => drop(answer.send(self.master.survey())),
            }
        }
        self.master.show(&mut self.outbox);
        self.metrics.turned(inputs);
    }

    fn closed(&mut self, id: PeerId) {
        if let Some(Peer { outgoing: Outgoing::Agent(mailbox), agent: Some(agent), .. }) = self.peers.remove(&id) {
            self.links.remove(agent, &mailbox);
        }
        self.step(Input::PeerClosed(id));
    }

    fn step(&mut self, input: Input) {
        self.master.step(self.clock.now(), input, &mut self.outbox);
    }

    fn command(&mut self, principal: Principal, command: Command, reply: oneshot::Sender<Result<Reply, Reject>>) {
        self.last_request += 1;
        let request = RequestId(self.last_request);
        self.requests.insert(request, reply);
        self.step(Input::FromOperator { request, principal, command });
    }

    /// Lets out what may be let out, and hands on what must be written first.
    async fn end_turn(&mut self) -> Result<(), MasterError> {
        self.gate.push(self.outbox.drain(..), &mut self.released);
        self.submit().await?;
        self.release().await;
        Ok(())
    }

    async fn durable(&mut self, batch: BatchId) -> Result<(), MasterError> {
        self.in_flight = None;
        self.gate.durable(batch, &mut self.released);
        self.submit().await?;
        self.release().await;
        Ok(())
    }

    /// One batch at a time is being written; what gathers meanwhile is the next.
    async fn submit(&mut self) -> Result<(), MasterError> {
        if self.in_flight.is_some() {
            return Ok(());
        }
        let Some((batch, records)) = self.gate.take_batch() else { return Ok(()) };
        self.store.submit(batch, records).await?;
        self.in_flight = Some(batch);
        Ok(())
    }

    async fn release(&mut self) {
        let mut released = std::mem::take(&mut self.released);
        let mut replies = Vec::new();
        for effect in released.drain(..) {
            match effect {
                Effect::ToAgent(peer, message) => self.tell_agent(peer, message),
                Effect::ToFramework(peer, event) => self.tell_framework(peer, event),
                Effect::Close(peer, reject) => self.close(peer, reject),
                Effect::Reply(request, reply) => replies.push((request, reply)),
                Effect::Changed(change) => self.changes.push(change),
            }
        }
        self.released = released;
        for id in self.touched.drain(..) {
            self.peers.get_mut(&id).into_iter().for_each(Peer::flush);
        }
        // The read model hears of a change before anybody who asked for it hears that it is done.
        self.feed.push(&mut self.changes).await;
        for (request, reply) in replies {
            // Whoever asked may have given up.
            self.requests.remove(&request).into_iter().for_each(|asked| drop(asked.send(reply.clone())));
        }
    }

    fn tell_agent(&mut self, id: PeerId, message: ToAgent) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Outgoing::Agent(mailbox) = &peer.outgoing else { return };
        if let ToAgent::Registered { agent, .. } = &message {
            self.links.put(*agent, mailbox.clone());
            peer.agent = Some(*agent);
        }
        if peer.is_idle() {
            self.touched.push(id);
        }
        peer.to_agent.push(AgentItem::Core(message));
    }

    fn tell_framework(&mut self, id: PeerId, event: Event) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.is_idle() {
            self.touched.push(id);
        }
        peer.to_framework.push(event);
    }

    fn close(&mut self, id: PeerId, reject: Reject) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if let Outgoing::Framework(_) = peer.outgoing {
            peer.to_framework.push(Event::Error(reject.clone()));
        }
        peer.flush();
        peer.close(Closed::Rejected(reject));
    }

    fn status(&self) -> Status {
        let agents = self.peers.values().filter(|peer| matches!(peer.outgoing, Outgoing::Agent(_))).count();
        Status {
            stats: *self.master.stats(),
            agent_connections: agents,
            framework_connections: self.peers.len() - agents,
            messages_queued: self.peers.values().map(Peer::queued).sum(),
            effects_gated: self.gate.waiting(),
        }
    }
}

impl Peer {
    const fn new(outgoing: Outgoing) -> Self {
        Self { outgoing, agent: None, to_agent: Vec::new(), to_framework: Vec::new() }
    }

    const fn is_idle(&self) -> bool {
        self.to_agent.is_empty() && self.to_framework.is_empty()
    }

    fn flush(&mut self) {
        match &self.outgoing {
            Outgoing::Agent(mailbox) => mailbox.push(self.to_agent.drain(..)),
            Outgoing::Framework(mailbox) => mailbox.push(self.to_framework.drain(..)),
        }
    }

    fn close(&self, reason: Closed) {
        match &self.outgoing {
            Outgoing::Agent(mailbox) => mailbox.close(reason),
            Outgoing::Framework(mailbox) => mailbox.close(reason),
        }
    }

    fn queued(&self) -> usize {
        match &self.outgoing {
            Outgoing::Agent(mailbox) => mailbox.len(),
            Outgoing::Framework(mailbox) => mailbox.len(),
        }
    }
}

/// Waits until `shutdown` says true or nobody is left to say it.
pub(crate) async fn told(shutdown: &mut watch::Receiver<bool>) {
    drop(shutdown.wait_for(|stop| *stop).await);
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// The core's inbox, as its clients hold it. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Core {
    inbox: mpsc::Sender<ToCore>,
    room_kib: Arc<Semaphore>,
}

/// The core's inbox, with both its ends.
pub(crate) fn inbox() -> (Core, mpsc::Receiver<ToCore>) {
    let (inbox, messages) = mpsc::channel(INBOX_MAX);
    (Core { inbox, room_kib: Arc::new(Semaphore::new(INBOX_KIB as usize)) }, messages)
}

/// The core's task has ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the master is stopping")]
pub(crate) struct Stopping;

impl Core {
    /// Tells the core; waits while it has too much to do.
    pub(crate) async fn tell(&self, message: ToCore) -> Result<(), Stopping> {
        self.inbox.send(message).await.map_err(|_| Stopping)
    }

    /// Hands over the inputs of a frame of `bytes`; waits while there is no room for it.
    pub(crate) async fn input(&self, inputs: Vec<Input>, bytes: usize) -> Result<(), Stopping> {
        let kib = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX).min(INBOX_KIB);
        let room = self.room_kib.clone().acquire_many_owned(kib).await.map_err(|_| Stopping)?;
        self.tell(ToCore::Inputs(inputs, room)).await
    }

    /// Carries an operator's command out.
    pub(crate) async fn command(
        &self,
        principal: Principal,
        command: Command,
    ) -> Result<Result<Reply, Reject>, Stopping> {
        let (reply, replied) = oneshot::channel();
        self.tell(ToCore::Command { principal, command, reply }).await?;
        replied.await.map_err(|_| Stopping)
    }

    /// The core's figures.
    pub(crate) async fn status(&self) -> Result<Status, Stopping> {
        let (answer, answered) = oneshot::channel();
        self.tell(ToCore::Status(answer)).await?;
        answered.await.map_err(|_| Stopping)
    }

    /// How the frameworks fare.
    pub(crate) async fn survey(&self) -> Result<Vec<Conduct>, Stopping> {
        let (answer, answered) = oneshot::channel();
        self.tell(ToCore::Survey(answer)).await?;
        answered.await.map_err(|_| Stopping)
    }

    /// How many messages wait for the core.
    pub(crate) fn backlog(&self) -> usize {
        self.inbox.max_capacity() - self.inbox.capacity()
    }
}

#[cfg(test)]
mod tests;
