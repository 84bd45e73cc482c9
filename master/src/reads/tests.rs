use super::*;

use rialto_core::master::view::{AgentStatus, AgentView};
use rialto_core::model::{AgentId, Quantities, Term};

fn agent(seq: u64) -> Change {
    let view = AgentView {
        info: Arc::new(rialto_core::model::AgentInfo { name: Arc::from("a"), ..Default::default() }),
        status: AgentStatus::Active,
        total: Arc::default(),
        allocated: Quantities::new(),
        offered: Arc::default(),
        journal_degraded: false,
        leaves: None,
    };
    Change::Agent(AgentId::new(Term(1), seq), Some(Box::new(view)))
}

#[tokio::test]
async fn changes_are_numbered_and_seen_by_those_who_ask_afterwards() {
    let (mut feed, reads, thread) = start().unwrap();
    feed.push(&mut vec![agent(1), agent(2)]).await;
    feed.push(&mut vec![agent(3)]).await;
    let seen = reads.ask(|view, number| (view.agents.len(), number)).await;
    assert_eq!(seen, Ok((3, 3)));
    assert_eq!(reads.lag(), 0);
    drop(feed);
    thread.join().unwrap();
    assert_eq!(reads.ask(|_, _| ()).await, Err(ReadError::Stopping));
}

#[tokio::test]
async fn a_stream_resumes_after_a_number_and_goes_on() {
    let (mut feed, reads, _thread) = start().unwrap();
    feed.push(&mut vec![agent(1), agent(2), agent(3)]).await;
    let mut follow = reads.follow(Some(1)).await.unwrap().unwrap();
    let numbers = |changes: &[Numbered]| changes.iter().map(|(number, _)| *number).collect::<Vec<_>>();
    assert_eq!(numbers(&follow.missed), [2, 3]);
    feed.push(&mut vec![agent(4)]).await;
    assert_eq!(numbers(&follow.rounds.recv().await.unwrap()), [4]);
}

#[tokio::test]
async fn a_number_that_is_not_in_the_ring_is_refused_with_the_range() {
    let (mut feed, reads, _thread) = start().unwrap();
    let mut many: Vec<Change> = (0..RING as u64 + 10).map(agent).collect();
    feed.push(&mut many).await;
    let to = RING as u64 + 10;
    let refused = FollowError::NotInRing { from: 10, to };
    assert_eq!(reads.follow(Some(9)).await.unwrap().unwrap_err(), refused);
    assert_eq!(reads.follow(Some(to + 1)).await.unwrap().unwrap_err(), refused);
    assert_eq!(reads.follow(Some(10)).await.unwrap().unwrap().missed.len(), RING);
}

#[tokio::test]
async fn a_stream_that_does_not_keep_up_is_ended() {
    let (mut feed, reads, _thread) = start().unwrap();
    let mut follow = reads.follow(None).await.unwrap().unwrap();
    for seq in 0..STREAM_ROUNDS_MAX as u64 + 10 {
        feed.push(&mut vec![agent(seq)]).await;
        // Asking makes the model take each round on its own.
        reads.ask(|_, _| ()).await.unwrap();
    }
    let mut received = 0;
    while follow.rounds.recv().await.is_some() {
        received += 1;
    }
    assert_eq!(received, STREAM_ROUNDS_MAX);
    assert_eq!(reads.ask(|_, number| number).await, Ok(STREAM_ROUNDS_MAX as u64 + 10));
}
