//! The read model: what people and programs may see, kept apart from what decides.
//!
//! A thread of its own applies the core's numbered changes to a [`View`] and answers questions about it, so no reader delays a
//! decision. A question is a function that is run on the view and returns its answer by value. The last changes are kept in a ring, from
//! which event streams resume; a stream that does not keep up is ended and can resume where it was.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use rialto_core::master::view::{Change, View};

use crate::options::MasterError;

/// How many rounds of changes may wait for the read model; more gather at the core until there is room.
const ROUNDS_MAX: usize = 256;
/// How many changes may gather at the core.
const WAITING_MAX: usize = 1 << 20;
/// How many questions may wait.
const QUESTIONS_MAX: usize = 1024;
/// From how many past changes an event stream may resume.
pub(crate) const RING: usize = 16_384;
/// How many rounds an event stream may lag behind.
const STREAM_ROUNDS_MAX: usize = 256;
/// How many event streams there may be.
const STREAMS_MAX: usize = 256;

/// A numbered change.
pub(crate) type Numbered = (u64, Arc<Change>);

/// The core's end: feeds changes.
#[derive(Debug)]
pub(crate) struct Feed {
    rounds: mpsc::Sender<Vec<Change>>,
    waiting: Vec<Change>,
    progress: Arc<Progress>,
}

/// The readers' end. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Reads {
    questions: mpsc::Sender<Question>,
    progress: Arc<Progress>,
}

/// The read model is gone, or has too much to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("the master is stopping")]
    Stopping,
    #[error("too many readers; try again")]
    Busy,
}

#[derive(Debug, Default)]
struct Progress {
    emitted: AtomicU64,
    applied: AtomicU64,
}

/// Runs on the view and the number of its newest change.
type Run = Box<dyn FnOnce(&View, u64) + Send>;

enum Question {
    Read(Run),
    Follow { after: Option<u64>, stream: oneshot::Sender<Result<Follow, FollowError>> },
}

/// An event stream: what was missed, then what comes.
#[derive(Debug)]
pub(crate) struct Follow {
    pub(crate) missed: Vec<Numbered>,
    pub(crate) rounds: mpsc::Receiver<Arc<[Numbered]>>,
}

/// Why an event stream can't begin there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FollowError {
    #[error(
        "last-event-id: expected a number from {from} to {to}; read the state anew and follow from its change number"
    )]
    NotInRing { from: u64, to: u64 },
    #[error("at most {STREAMS_MAX} event streams")]
    TooMany,
}

/// Starts the read model; it ends when its feed is dropped.
pub(crate) fn start() -> Result<(Feed, Reads, JoinHandle<()>), MasterError> {
    let (rounds, next_round) = mpsc::channel(ROUNDS_MAX);
    let (questions, next_question) = mpsc::channel(QUESTIONS_MAX);
    let progress = Arc::new(Progress::default());
    let mut model = Model { progress: progress.clone(), ..Model::default() };
    let runtime = tokio::runtime::Handle::current();
    let name = "rialto-reads";
    let body = move || runtime.block_on(model.run(next_round, next_question));
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(body);
    let thread = thread.map_err(|error| MasterError::Thread { name, error })?;
    let feed = Feed { rounds, waiting: Vec::new(), progress: progress.clone() };
    Ok((feed, Reads { questions, progress }, thread))
}

impl Feed {
    /// Hands a round's changes over; leaves `changes` empty. What finds no room goes with the next round; only a read model that is
    /// very far behind is waited for, because what gathers must be bounded.
    pub(crate) async fn push(&mut self, changes: &mut Vec<Change>) {
        if changes.is_empty() && self.waiting.is_empty() {
            return;
        }
        self.progress.emitted.fetch_add(changes.len() as u64, Ordering::Relaxed);
        self.waiting.append(changes);
        let round = std::mem::take(&mut self.waiting);
        if round.len() > WAITING_MAX {
            // It ends only with the process; then nobody reads.
            return drop(self.rounds.send(round).await);
        }
        if let Err(mpsc::error::TrySendError::Full(round)) = self.rounds.try_send(round) {
            self.waiting = round;
        }
    }

    /// Whether changes wait at the core's side for room.
    pub(crate) fn is_behind(&self) -> bool {
        !self.waiting.is_empty()
    }
}

impl Reads {
    /// What `question` says of the view and of the number of its newest change.
    pub(crate) async fn ask<A: Send + 'static>(
        &self,
        question: impl FnOnce(&View, u64) -> A + Send + 'static,
    ) -> Result<A, ReadError> {
        let (answer, answered) = oneshot::channel();
        let run = move |view: &View, number: u64| drop(answer.send(question(view, number)));
        self.submit(Question::Read(Box::new(run)))?;
        answered.await.map_err(|_| ReadError::Stopping)
    }

    /// All changes after number `after`, or from now on.
    pub(crate) async fn follow(&self, after: Option<u64>) -> Result<Result<Follow, FollowError>, ReadError> {
        let (stream, begun) = oneshot::channel();
        self.submit(Question::Follow { after, stream })?;
        begun.await.map_err(|_| ReadError::Stopping)
    }

    /// How many changes the view is behind the core.
    pub(crate) fn lag(&self) -> u64 {
        let applied = self.progress.applied.load(Ordering::Relaxed);
        self.progress.emitted.load(Ordering::Relaxed).saturating_sub(applied)
    }

    fn submit(&self, question: Question) -> Result<(), ReadError> {
        self.questions.try_send(question).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ReadError::Busy,
            mpsc::error::TrySendError::Closed(_) => ReadError::Stopping,
        })
    }
}

#[derive(Default)]
struct Model {
    view: View,
    /// The number of the newest change that is applied.
    number: u64,
    ring: VecDeque<Numbered>,
    streams: Vec<mpsc::Sender<Arc<[Numbered]>>>,
    progress: Arc<Progress>,
}

impl Model {
    async fn run(&mut self, mut rounds: mpsc::Receiver<Vec<Change>>, mut questions: mpsc::Receiver<Question>) {
        loop {
            // Changes first: an answer never lags behind what its reader may have been told by other means.
            tokio::select! {
                biased;
                round = rounds.recv() => match round {
                    Some(round) => self.apply(round),
                    None => return,
                },
                Some(question) = questions.recv() => self.answer(question),
            }
        }
    }

    fn apply(&mut self, round: Vec<Change>) {
        let count = round.len();
        for change in round {
            self.number += 1;
            self.ring.push_back((self.number, Arc::new(change.clone())));
            self.view.apply(change);
        }
        if !self.streams.is_empty() {
            let skip = self.ring.len() - count;
            let news: Arc<[Numbered]> = self.ring.iter().skip(skip).cloned().collect();
            self.streams.retain(|stream| stream.try_send(news.clone()).is_ok());
        }
        let surplus = self.ring.len().saturating_sub(RING);
        self.ring.drain(..surplus);
        self.progress.applied.store(self.number, Ordering::Relaxed);
    }

    fn answer(&mut self, question: Question) {
        match question {
            Question::Read(run) => run(&self.view, self.number),
            // A reader that has gone away meanwhile needs no answer.
            Question::Follow { after, stream } => drop(stream.send(self.follow(after))),
        }
    }

    fn follow(&mut self, after: Option<u64>) -> Result<Follow, FollowError> {
        let after = after.unwrap_or(self.number);
        let from = self.number - self.ring.len() as u64;
        if !(from..=self.number).contains(&after) {
            return Err(FollowError::NotInRing { from, to: self.number });
        }
        self.streams.retain(|stream| !stream.is_closed());
        if self.streams.len() >= STREAMS_MAX {
            return Err(FollowError::TooMany);
        }
        let (stream, rounds) = mpsc::channel(STREAM_ROUNDS_MAX);
        self.streams.push(stream);
        let skip = usize::try_from(after - from).expect("the ring fits in memory");
        Ok(Follow { missed: self.ring.iter().skip(skip).cloned().collect(), rounds })
    }
}

#[cfg(test)]
mod tests;
