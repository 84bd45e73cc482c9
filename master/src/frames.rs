//! A mailbox as a stream of frames: what has gathered becomes one frame, up to a size.

use std::pin::Pin;
use std::task::{Context, Poll};

use prost::Message;
use tokio_stream::Stream;
use tonic::Status;

use rialto_core::model::Event;
use rialto_proto::{MAX_FRAME_MESSAGES, Wire, v1};

use crate::engine::AgentItem;
use crate::mailbox::{Closed, Receiver, Take};
use crate::wire;

/// From which size on, in bytes, a frame takes no further message. A single message may be larger.
const FRAME_BYTES: usize = 1 << 20;

/// A frame that is filled message by message.
pub(crate) trait Frame: Send + 'static {
    /// What it carries.
    type Item: Send + 'static;

    /// A frame of term `term`, with the greeting if it is the first.
    fn new(term: u64, hello: Option<v1::Hello>) -> Self;

    /// Adds `item`; says how many bytes that takes.
    fn add(&mut self, item: Self::Item) -> usize;
}

/// The frames for one peer. The first carries the greeting and is there at once; the last is an error that says why it ends.
#[derive(Debug)]
pub(crate) struct Frames<T> {
    mailbox: Receiver<T>,
    term: u64,
    hello: Option<v1::Hello>,
    ended: bool,
}

impl<T> Frames<T> {
    pub(crate) const fn new(mailbox: Receiver<T>, hello: v1::Hello) -> Self {
        Self { mailbox, term: hello.term, hello: Some(hello), ended: false }
    }

    fn poll_frame<F: Frame<Item = T>>(&mut self, cx: &Context<'_>) -> Poll<Option<Result<F, Status>>> {
        if let Some(hello) = self.hello.take() {
            return Poll::Ready(Some(Ok(F::new(self.term, Some(hello)))));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        let (mut frame, mut size, mut count) = (F::new(self.term, None), 0, 0);
        let taken = self.mailbox.poll_take(cx, |item| {
            size += frame.add(item);
            count += 1;
            if size < FRAME_BYTES && count < MAX_FRAME_MESSAGES { Take::More } else { Take::Enough }
        });
        taken.map(|taken| match taken {
            Ok(()) => Some(Ok(frame)),
            Err(reason) => {
                self.ended = true;
                if reason == Closed::ByPeer { None } else { Some(Err(wire::closed(&reason))) }
            }
        })
    }
}

impl Stream for Frames<Event> {
    type Item = Result<v1::EventFrame, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_frame(cx)
    }
}

impl Stream for Frames<AgentItem> {
    type Item = Result<v1::ToAgentFrame, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_frame(cx)
    }
}

impl Frame for v1::EventFrame {
    type Item = Event;

    fn new(term: u64, hello: Option<v1::Hello>) -> Self {
        Self { hello, term, events: Vec::new() }
    }

    fn add(&mut self, item: Event) -> usize {
        let event = item.to_wire();
        let size = event.encoded_len();
        self.events.push(event);
        size
    }
}

impl Frame for v1::ToAgentFrame {
    type Item = AgentItem;

    fn new(term: u64, hello: Option<v1::Hello>) -> Self {
        Self { hello, term, messages: Vec::new(), open: Vec::new() }
    }

    fn add(&mut self, item: AgentItem) -> usize {
        match item {
            AgentItem::Core(message) => {
                let message = message.to_wire();
                let size = message.encoded_len();
                self.messages.push(message);
                size
            }
            AgentItem::OpenBulk(open) => {
                let open = open.to_wire();
                let size = open.encoded_len();
                self.open.push(open);
                size
            }
        }
    }
}

#[cfg(test)]
mod tests;
