use std::future::poll_fn;

use super::*;

#[derive(Debug, PartialEq, Eq)]
struct Item(usize);

impl Weighed for Item {
    fn weight(&self) -> usize {
        self.0
    }
}

async fn take(receiver: &mut Receiver<Item>, at_most: usize) -> Result<Vec<Item>, Closed> {
    let mut taken = Vec::new();
    poll_fn(|cx| {
        receiver.poll_take(cx, |item| {
            taken.push(item);
            if taken.len() < at_most { Take::More } else { Take::Enough }
        })
    })
    .await
    .map(|()| taken)
}

#[tokio::test]
async fn what_gathers_is_taken_as_one_frame() {
    let (mailbox, mut receiver) = mailbox(100);
    mailbox.push([Item(1), Item(2)]);
    mailbox.push([Item(3)]);
    assert_eq!(take(&mut receiver, 10).await, Ok(vec![Item(1), Item(2), Item(3)]));
    assert_eq!(mailbox.len(), 0);
}

#[tokio::test]
async fn a_full_frame_leaves_the_rest_for_the_next() {
    let (mailbox, mut receiver) = mailbox(100);
    mailbox.push([Item(1), Item(2), Item(3)]);
    assert_eq!(take(&mut receiver, 2).await, Ok(vec![Item(1), Item(2)]));
    assert_eq!(take(&mut receiver, 2).await, Ok(vec![Item(3)]));
}

#[tokio::test]
async fn a_waiting_reader_is_woken() {
    let (mailbox, mut receiver) = mailbox(100);
    let reader = tokio::spawn(async move { take(&mut receiver, 1).await });
    tokio::task::yield_now().await;
    mailbox.push([Item(7)]);
    assert_eq!(reader.await.unwrap(), Ok(vec![Item(7)]));
}

#[tokio::test]
async fn closing_delivers_what_is_queued_first_and_keeps_the_first_reason() {
    let (mailbox, mut receiver) = mailbox(100);
    mailbox.push([Item(1)]);
    mailbox.close(Closed::Stopping);
    mailbox.close(Closed::TooSlow);
    mailbox.push([Item(2)]);
    assert_eq!(take(&mut receiver, 9).await, Ok(vec![Item(1)]));
    assert_eq!(take(&mut receiver, 9).await, Err(Closed::Stopping));
    assert_eq!(mailbox.closed().await, Closed::Stopping);
}

#[tokio::test]
async fn a_peer_that_does_not_keep_up_is_closed() {
    let (mailbox, mut receiver) = mailbox(10);
    mailbox.push([Item(10)]);
    assert_eq!(mailbox.len(), 1);
    mailbox.push([Item(1)]);
    assert_eq!(take(&mut receiver, 9).await, Err(Closed::TooSlow));
}

#[tokio::test]
async fn a_dropped_reader_closes_the_mailbox() {
    let (mailbox, receiver) = mailbox::<Item>(10);
    drop(receiver);
    assert_eq!(mailbox.closed().await, Closed::ByPeer);
}
