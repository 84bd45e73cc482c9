//! The queue between the core's task and one connection.
//!
//! The core's task appends whatever a round released for the peer under one lock; the connection takes everything that has gathered
//! as one frame. So a peer that is briefly slow gets larger frames instead of more of them. The queue is bounded by weight; a peer that
//! lets it fill is closed and told so.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;

use rialto_core::model::{Event, Reject, ToAgent};

/// How much a peer may have waiting, in bytes as [`Weighed::weight`] estimates them.
pub(crate) const MAILBOX_BYTES: usize = 64 << 20;

/// Something that is queued by its approximate size.
pub(crate) trait Weighed {
    /// About how many bytes it keeps in memory; never zero.
    fn weight(&self) -> usize;
}

/// Why a connection ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Closed {
    /// The core asked for it.
    #[error("{0}")]
    Rejected(Reject),
    /// A message could not be understood.
    #[error("{0}")]
    BadMessage(String),
    /// The peer does not read what it is sent.
    #[error("the peer does not keep up: {MAILBOX_BYTES} bytes wait for it; connect again")]
    TooSlow,
    /// The peer ended its side.
    #[error("the peer closed the connection")]
    ByPeer,
    /// This master stops.
    #[error("this master is stopping; connect again")]
    Stopping,
}

/// The core's end. Cheap to clone.
#[derive(Debug)]
pub(crate) struct Mailbox<T>(Arc<Shared<T>>);

/// The connection's end.
#[derive(Debug)]
pub(crate) struct Receiver<T> {
    shared: Arc<Shared<T>>,
    /// What was taken out of the queue and is not in a frame yet. At most another [`MAILBOX_BYTES`].
    taken: VecDeque<T>,
}

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    /// Tells the task that reads from the peer that it is over.
    closed: Notify,
    limit: usize,
}

#[derive(Debug)]
struct State<T> {
    queue: VecDeque<T>,
    weight: usize,
    closed: Option<Closed>,
    waker: Option<Waker>,
}

/// A mailbox that holds up to `limit` bytes.
pub(crate) fn mailbox<T>(limit: usize) -> (Mailbox<T>, Receiver<T>) {
    let state = State { queue: VecDeque::new(), weight: 0, closed: None, waker: None };
    let shared = Arc::new(Shared { state: Mutex::new(state), closed: Notify::new(), limit });
    (Mailbox(shared.clone()), Receiver { shared, taken: VecDeque::new() })
}

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Weighed> Mailbox<T> {
    /// Appends `items`; closes the mailbox if that is more than it holds. Items for a closed mailbox are dropped.
    pub(crate) fn push(&self, items: impl IntoIterator<Item = T>) {
        let mut state = self.0.lock();
        if state.closed.is_some() {
            return;
        }
        for item in items {
            state.weight += item.weight();
            state.queue.push_back(item);
        }
        if state.weight > self.0.limit {
            state.queue.clear();
            self.0.close(state, Closed::TooSlow);
        } else {
            state.wake();
        }
    }
}

impl<T> Mailbox<T> {
    /// Ends the connection after what is queued. The first reason stays.
    pub(crate) fn close(&self, reason: Closed) {
        self.0.close(self.0.lock(), reason);
    }

    /// Waits until the mailbox is closed by either side, and says why.
    pub(crate) async fn closed(&self) -> Closed {
        loop {
            let notified = self.0.closed.notified();
            if let Some(reason) = self.0.lock().closed.clone() {
                return reason;
            }
            notified.await;
        }
    }

    /// Whether both lead to the same connection.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// How many items wait.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().queue.len()
    }
}

impl<T> Receiver<T> {
    /// Hands what waits to `take` until that has enough, at least one item; `Ready(Err)` at the end of a closed mailbox.
    pub(crate) fn poll_take(&mut self, cx: &Context<'_>, mut take: impl FnMut(T) -> Take) -> Poll<Result<(), Closed>> {
        if self.taken.is_empty() {
            let mut state = self.shared.lock();
            if state.queue.is_empty() {
                if let Some(reason) = &state.closed {
                    return Poll::Ready(Err(reason.clone()));
                }
                state.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            // The whole queue is taken at once, so that frames are built without the lock.
            std::mem::swap(&mut state.queue, &mut self.taken);
            state.weight = 0;
        }
        while let Some(item) = self.taken.pop_front() {
            if take(item) == Take::Enough {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Whether the frame that is being filled has room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Take {
    /// It has.
    More,
    /// It has not.
    Enough,
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.close(self.shared.lock(), Closed::ByPeer);
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self, mut state: MutexGuard<'_, State<T>>, reason: Closed) {
        state.closed.get_or_insert(reason);
        state.wake();
        drop(state);
        self.closed.notify_waiters();
    }
}

impl<T> State<T> {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Weighed for Event {
    fn weight(&self) -> usize {
        match self {
            Self::Offers(offers) => 256 + offers.iter().map(|offer| 1024 + 512 * offer.devices.len()).sum::<usize>(),
            Self::Message { data, .. } => 256 + data.len(),
            Self::Rescind(offers) => 256 + 16 * offers.len(),
            _ => 512,
        }
    }
}

impl Weighed for ToAgent {
    fn weight(&self) -> usize {
        let launch = |launch: &rialto_core::model::Launch| {
            launch.group.tasks.iter().map(|task| 1024 + task.body.as_bytes().len()).sum::<usize>()
        };
        match self {
            Self::Launch(one) => launch(one),
            Self::Hold { groups, .. } => 256 + groups.iter().map(launch).sum::<usize>(),
            Self::Message { data, .. } => 256 + data.len(),
            _ => 256,
        }
    }
}

#[cfg(test)]
mod tests;
