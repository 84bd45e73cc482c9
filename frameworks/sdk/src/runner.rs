//! The shell around a driver: one task owns it, its gate and its store.

use std::fmt;
use std::time::Duration;

use rialto_core::gate::{BatchId, Gate, Outbox};
use rialto_core::model::{Call, ClientId, Event, Reject, Time};
use rialto_core::scheduler::{
    Driver, DriverConfig, DriverEffect, DriverInput, DriverRecord, Durability, Ending, SavedError, Scheduler,
};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::access::AccessError;
use crate::link::{self, LinkEvent};
use crate::options::Options;
use crate::store::{MemoryStore, Saved, StateStore, StoreError};

/// How many commands are handed to the policy before the rest of the loop gets its turn.
const COMMANDS_AT_ONCE: usize = 64;

/// Why a framework can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The master can't be reached that way.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The state can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The driver's own state does not read.
    #[error(transparent)]
    Saved(#[from] SavedError),
    /// The policy can't take up its state.
    #[error("saved state of the policy: {0}")]
    Policy(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The operating system gave no randomness.
    #[error("client id: the operating system gave no randomness")]
    NoRandomness,
}

/// How a framework ended without failing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameworkEnd {
    /// It was stopped; its tasks run on for its failover timeout.
    Stopped,
    /// Its policy had it removed.
    TornDown,
}

/// Why a framework failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The master refuses the framework for good.
    #[error("the master refuses the framework: {0}")]
    Refused(Reject),
    /// The master lets nobody in like that.
    #[error("the master lets the framework not in: {0}")]
    Denied(String),
    /// State could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The policy panicked, or its effects did.
    #[error("the framework panicked: {0}")]
    Panicked(String),
}

/// A framework that runs. It is stopped when this and all senders that were cloned from it are dropped.
#[derive(Debug)]
pub struct Framework<C> {
    commands: mpsc::Sender<Message<C>>,
    task: JoinHandle<Result<FrameworkEnd, RunError>>,
}

#[derive(Debug)]
enum Message<C> {
    Command(C),
    Stop,
}

/// Hands commands to a framework's policy. Cheap to clone.
pub struct Commands<C>(mpsc::Sender<Message<C>>);

impl<C> Clone for Commands<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C> fmt::Debug for Commands<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Commands(closed: {})", self.0.is_closed())
    }
}

impl<C> Commands<C> {
    /// Hands `command` to the policy; waits while too many wait before it. `false` if the framework has ended.
    pub async fn send(&self, command: C) -> bool {
        self.0.send(Message::Command(command)).await.is_ok()
    }
}

impl<C: Send + 'static> Framework<C> {
    /// A handle for those who have commands.
    pub fn commands(&self) -> Commands<C> {
        Commands(self.commands.clone())
    }

    /// Hands `command` to the policy; waits while too many wait before it. `false` if the framework has ended.
    pub async fn send(&self, command: C) -> bool {
        self.commands.send(Message::Command(command)).await.is_ok()
    }

    /// Stops it: what is to be written is written, what is to be said is said, and its tasks run on.
    ///
    /// # Errors
    /// If it failed.
    pub async fn stop(self) -> Result<FrameworkEnd, RunError> {
        // One that has ended already needs no stop.
        drop(self.commands.send(Message::Stop).await);
        self.wait().await
    }

    /// Waits until it ends by itself: its policy tears it down, or it fails.
    ///
    /// # Errors
    /// If it failed.
    pub async fn wait(self) -> Result<FrameworkEnd, RunError> {
        let Self { commands, task } = self;
        let end = task.await;
        drop(commands);
        end.unwrap_or_else(|error| Err(RunError::Panicked(error.to_string())))
    }
}

/// Runs a framework. `policy` makes the policy out of what an earlier life saved; `effects` is called with each effect of the policy
/// and must not block: what takes time is sent to another task.
///
/// # Errors
/// If the state can't be taken up, or the options make no connection.
///
/// # Panics
/// Outside of a Tokio runtime.
pub fn start<S, F>(
    options: Options,
    policy: impl FnOnce(&Saved) -> Result<S, Box<dyn std::error::Error + Send + Sync>>,
    effects: F,
) -> Result<Framework<S::Command>, StartError>
where
    S: Scheduler + Send + 'static,
    S::Command: Send + 'static,
    S::Effect: Send + 'static,
    F: FnMut(S::Effect) + Send + 'static,
{
    let durability = if options.store.is_some() { Durability::Saved } else { Durability::Volatile };
    let mut store = options.store.unwrap_or_else(|| Box::new(MemoryStore::default()));
    let saved = store.load()?;
    let policy = policy(&saved).map_err(StartError::Policy)?;
    let config = DriverConfig { info: options.info, client: ClientId(random()?), durability };
    let driver = Driver::new(config, policy, &saved)?;
    let link = link::dial(options.access, driver.cluster())?;
    let (commands, receiver) = mpsc::channel(options.commands_max);
    let runner = Runner {
        driver,
        gate: Gate::default(),
        outbox: Vec::new(),
        released: Vec::new(),
        effects,
        store: Store { idle: Some(store), busy: None },
        calls: None,
        connection: 0,
        epoch: Instant::now(),
        ended: None,
        closing: None,
        stop_timeout: options.stop_timeout,
    };
    Ok(Framework { commands, task: tokio::spawn(runner.run(receiver, link)) })
}

/// A random number of the operating system.
///
/// # Errors
/// If it gives none.
pub fn random() -> Result<u128, StartError> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| StartError::NoRandomness)?;
    Ok(u128::from_be_bytes(bytes))
}

struct Runner<S: Scheduler, F> {
    driver: Driver<S>,
    gate: Gate<DriverRecord, DriverEffect<S::Effect>>,
    outbox: Outbox<DriverRecord, DriverEffect<S::Effect>>,
    released: Vec<DriverEffect<S::Effect>>,
    effects: F,
    store: Store,
    calls: Option<mpsc::Sender<Call>>,
    /// Counts connections as the driver does.
    connection: u64,
    epoch: Instant,
    ended: Option<Result<FrameworkEnd, RunError>>,
    /// When a stop is over at the latest, once one was asked for.
    closing: Option<Instant>,
    stop_timeout: Duration,
}

/// A batch that is being written.
type Commit = JoinHandle<(Box<dyn StateStore>, Result<(), StoreError>)>;

/// The store: idle, or lent to the thread that writes.
struct Store {
    idle: Option<Box<dyn StateStore>>,
    busy: Option<(BatchId, Commit)>,
}

impl Store {
    /// Waits for the batch that is being written; for ever if there is none.
    async fn written(&mut self) -> Result<BatchId, RunError> {
        let Some((batch, commit)) = &mut self.busy else { return std::future::pending().await };
        let (batch, result) = (*batch, commit.await);
        self.busy = None;
        let (store, result) = result.map_err(|error| RunError::Panicked(error.to_string()))?;
        self.idle = Some(store);
        result?;
        Ok(batch)
    }
}

impl<S, F> Runner<S, F>
where
    S: Scheduler + Send + 'static,
    S::Command: Send + 'static,
    S::Effect: Send + 'static,
    F: FnMut(S::Effect) + Send + 'static,
{
    async fn run(
        mut self,
        mut commands: mpsc::Receiver<Message<S::Command>>,
        mut link: mpsc::Receiver<LinkEvent>,
    ) -> Result<FrameworkEnd, RunError> {
        let mut waiting = Vec::new();
        while self.ended.is_none() && !self.is_closed() {
            let deadline = self.deadline();
            tokio::select! {
                written = self.store.written() => self.written(written),
                event = link.recv() => self.linked(event),
                count = commands.recv_many(&mut waiting, COMMANDS_AT_ONCE), if self.closing.is_none() => {
                    self.commanded(count, waiting.drain(..));
                }
                () = sleep_until(deadline) => self.step(DriverInput::Tick),
            }
            self.commit();
        }
        self.say_goodbye(link).await;
        self.ended.unwrap_or(Ok(FrameworkEnd::Stopped))
    }

    fn now(&self) -> Time {
        Time::ZERO + self.epoch.elapsed()
    }

    /// When to wake up although nothing happens.
    fn deadline(&self) -> Option<Instant> {
        let driver = self.driver.next_deadline().map(|time| self.epoch + time.since(Time::ZERO));
        driver.into_iter().chain(self.closing).min()
    }

    /// Whether a stop has nothing more to wait for.
    fn is_closed(&self) -> bool {
        self.closing.is_some_and(|limit| (self.gate.is_idle() && self.store.busy.is_none()) || Instant::now() >= limit)
    }

    fn step(&mut self, input: DriverInput<S::Command>) {
        let now = self.now();
        self.driver.step(now, input, &mut self.outbox);
        self.gate.push(self.outbox.drain(..), &mut self.released);
        self.perform();
    }

    fn perform(&mut self) {
        for effect in std::mem::take(&mut self.released) {
            match effect {
                DriverEffect::ToMaster { connection, call } if connection == self.connection => self.call(call),
                DriverEffect::ToMaster { .. } => {}
                DriverEffect::App(effect) => (self.effects)(effect),
                DriverEffect::Ended(Ending::TornDown) => self.ended = Some(Ok(FrameworkEnd::TornDown)),
                DriverEffect::Ended(Ending::Refused(reject)) => self.ended = Some(Err(RunError::Refused(reject))),
            }
        }
    }

    fn call(&mut self, call: Call) {
        if let Some(calls) = &self.calls
            && let Err(error) = calls.try_send(call)
        {
            // The driver says it again on the next connection, which follows as soon as this one has ended.
            tracing::warn!(%error, "the master does not take calls; connecting anew");
            self.calls = None;
        }
    }

    fn commit(&mut self) {
        let Some(mut store) = self.store.idle.take() else { return };
        while let Some((batch, records)) = self.gate.take_batch() {
            if !store.is_instant() {
                let commit = tokio::task::spawn_blocking(move || {
                    let result = store.commit(records);
                    (store, result)
                });
                self.store.busy = Some((batch, commit));
                return;
            }
            let result = store.commit(records).map(|()| batch).map_err(RunError::Store);
            self.written(result);
        }
        self.store.idle = Some(store);
    }

    fn written(&mut self, written: Result<BatchId, RunError>) {
        match written {
            Ok(batch) => {
                self.gate.durable(batch, &mut self.released);
                self.perform();
            }
            Err(error) => self.ended = Some(Err(error)),
        }
    }

    fn linked(&mut self, event: Option<LinkEvent>) {
        match event {
            Some(LinkEvent::Up(calls)) => {
                self.calls = Some(calls);
                self.connection += 1;
                self.step(DriverInput::Connected);
            }
            Some(LinkEvent::Heard(events)) => events.into_iter().for_each(|event| self.heard(event)),
            Some(LinkEvent::Down(reason)) => {
                tracing::info!(%reason, "connection lost");
                self.calls = None;
                self.step(DriverInput::Disconnected);
            }
            Some(LinkEvent::Denied(reason)) => self.ended = Some(Err(RunError::Denied(reason))),
            None => self.ended = Some(Err(RunError::Panicked("the connection's task is gone".to_owned()))),
        }
    }

    fn heard(&mut self, event: Event) {
        if let Event::Subscribed { framework, term, .. } = &event {
            tracing::info!(%framework, term = term.0, "subscribed");
        }
        self.step(DriverInput::FromMaster(event));
    }

    fn commanded(&mut self, count: usize, messages: impl Iterator<Item = Message<S::Command>>) {
        let mut stop = count == 0;
        for message in messages {
            match message {
                Message::Command(command) => self.step(DriverInput::Command(command)),
                Message::Stop => stop = true,
            }
        }
        if stop {
            self.closing = Some(Instant::now() + self.stop_timeout);
        }
    }

    /// Ends the connection once what was said has been sent.
    async fn say_goodbye(&mut self, mut link: mpsc::Receiver<LinkEvent>) {
        self.calls = None;
        let limit = self.closing.unwrap_or_else(|| Instant::now() + self.stop_timeout);
        let down = async {
            while let Some(event) = link.recv().await {
                if matches!(event, LinkEvent::Down(_) | LinkEvent::Denied(_)) {
                    return;
                }
            }
        };
        if self.connection > 0 && self.driver.is_subscribed() && tokio::time::timeout_at(limit, down).await.is_err() {
            tracing::warn!("the master did not end the connection in time");
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
