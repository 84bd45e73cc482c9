//! Durable before visible, by construction.
//!
//! A machine's step pushes [`Output`]s in order: records to be written, and effects. The [`Gate`] holds every effect back until the
//! records pushed before it are durable. The machine steps on while a commit is in flight, and commits are grouped: the next batch is all
//! that has gathered meanwhile. The shells and the simulator share this type, so neither can forget the order.

use std::collections::VecDeque;

use crate::planted::{Fault, planted};

/// What a step of a machine yields, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output<R, E> {
    /// Must be durable before any later effect is seen.
    Persist(R),
    /// To be done once all earlier records are durable.
    Effect(E),
    /// To be done at once: it reveals no state (keep-alive, refusal).
    Ungated(E),
}

/// The outputs of a machine's steps, in order. Reused from step to step.
pub type Outbox<R, E> = Vec<Output<R, E>>;

/// Names a batch of records that was handed to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BatchId(u64);

/// Holds effects back until the records before them are durable.
#[derive(Debug)]
pub struct Gate<R, E> {
    gathered: Vec<R>,
    /// Effects with the batch that they wait for, in order.
    waiting: VecDeque<(BatchId, E)>,
    /// The batch that is being gathered.
    open: BatchId,
    /// Every batch below this one is durable.
    durable: BatchId,
}

impl<R, E> Default for Gate<R, E> {
    fn default() -> Self {
        Self { gathered: Vec::new(), waiting: VecDeque::new(), open: BatchId(0), durable: BatchId(0) }
    }
}

impl<R, E> Gate<R, E> {
    /// Takes a step's outputs; pushes the effects that need not wait onto `released`.
    pub fn push(&mut self, outputs: impl IntoIterator<Item = Output<R, E>>, released: &mut Vec<E>) {
        for output in outputs {
            match output {
                Output::Persist(record) => self.gathered.push(record),
                Output::Ungated(effect) => released.push(effect),
                Output::Effect(effect) if planted(Fault::VisibleBeforeDurable) => released.push(effect),
                Output::Effect(effect) => match self.awaited() {
                    Some(batch) => self.waiting.push_back((batch, effect)),
                    None => released.push(effect),
                },
            }
        }
    }

    /// All records gathered since the last batch, to be written as one; `None` if there are none.
    pub fn take_batch(&mut self) -> Option<(BatchId, Vec<R>)> {
        if self.gathered.is_empty() {
            return None;
        }
        let batch = self.open;
        self.open = BatchId(batch.0 + 1);
        Some((batch, std::mem::take(&mut self.gathered)))
    }

    /// `batch` and all before it are durable; pushes the effects that waited for them onto `released`.
    pub fn durable(&mut self, batch: BatchId, released: &mut Vec<E>) {
        self.durable = self.durable.max(BatchId(batch.0 + 1));
        while let Some((awaited, _)) = self.waiting.front() {
            if *awaited >= self.durable {
                break;
            }
            released.extend(self.waiting.pop_front().map(|(_, effect)| effect));
        }
    }

    /// How many effects wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether every record that was pushed is durable.
    pub fn is_idle(&self) -> bool {
        self.awaited().is_none()
    }

    /// The batch that a new effect must wait for.
    fn awaited(&self) -> Option<BatchId> {
        if !self.gathered.is_empty() {
            return Some(self.open);
        }
        (self.durable < self.open).then(|| BatchId(self.open.0 - 1))
    }
}

#[cfg(test)]
mod tests;
