use std::sync::Arc;

use rialto_core::model::{AgentId, ClusterId, ExecutorId, Term};
use rialto_proto::hello::Hello;
use tokio_stream::StreamExt;

use super::*;
use crate::mailbox::{Mailbox, mailbox};

fn frames(limit: usize) -> (Mailbox<Event>, Frames<Event>) {
    let (sender, receiver) = mailbox(limit);
    (sender, Frames::new(receiver, Hello::master(ClusterId(1), Term(4)).to_wire()))
}

fn message(bytes: usize) -> Event {
    let executor = ExecutorId::new("e").unwrap();
    Event::Message { agent: AgentId::new(Term(1), 1), executor, data: Arc::from(vec![0; bytes]) }
}

#[tokio::test]
async fn the_greeting_comes_first_and_what_gathered_follows_in_one_frame() {
    let (mailbox, mut frames) = frames(1 << 30);
    let first = frames.next().await.unwrap().unwrap();
    assert_eq!((first.hello.unwrap().term, first.term, first.events.len()), (4, 4, 0));
    mailbox.push([message(1), message(2)]);
    mailbox.push([message(3)]);
    let second = frames.next().await.unwrap().unwrap();
    assert_eq!((second.hello, second.events.len()), (None, 3));
}

#[tokio::test]
async fn a_frame_has_a_size_and_a_number_of_messages() {
    let (mailbox, mut frames) = frames(1 << 30);
    frames.next().await.unwrap().unwrap();
    mailbox.push((0..3).map(|_| message(FRAME_BYTES / 2)));
    let sizes = [frames.next().await, frames.next().await].map(|frame| frame.unwrap().unwrap().events.len());
    assert_eq!(sizes, [2, 1]);
    mailbox.push((0..=MAX_FRAME_MESSAGES).map(|_| message(0)));
    let sizes = [frames.next().await, frames.next().await].map(|frame| frame.unwrap().unwrap().events.len());
    assert_eq!(sizes, [MAX_FRAME_MESSAGES, 1]);
}

#[tokio::test]
async fn a_peer_that_does_not_keep_up_is_told_so() {
    let (mailbox, mut frames) = frames(1000);
    frames.next().await.unwrap().unwrap();
    mailbox.push((0..10).map(|_| message(100)));
    let ended = frames.next().await.unwrap().unwrap_err();
    assert_eq!(ended.code(), tonic::Code::ResourceExhausted);
    assert!(ended.message().contains("does not keep up"), "{ended}");
    assert!(frames.next().await.is_none());
}
