use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::sync::Arc;

use rialto_core::master::registry::Registry;
use rialto_core::model::{Call, ClientId, ClusterId, FrameworkInfo, OfferMode, Role, Subscribe};

use super::*;
use crate::mailbox::{MAILBOX_BYTES, Receiver, Take, mailbox};
use crate::reads;
use crate::store::Medium;

const PEER: PeerId = PeerId(1);

/// An engine over `medium`, running, with the read model behind it.
struct Running {
    core: Core,
    task: tokio::task::JoinHandle<Result<(), MasterError>>,
    _stop: watch::Sender<bool>,
}

async fn start(medium: Medium) -> Result<Running, MasterError> {
    let store = Store::start(medium, Metrics::default())?;
    let (feed, _reads, _thread) = reads::start()?;
    let registry = Registry::new(ClusterId(1));
    let parts = (AgentLinks::default(), Metrics::default(), Clock::start());
    let mut engine = Engine::new(Config::default(), registry, store, feed, parts.0, parts.1, parts.2);
    engine.settle().await?;
    let (core, messages) = inbox();
    let (stop, stopping) = watch::channel(false);
    Ok(Running { core, task: tokio::spawn(engine.run(messages, stopping)), _stop: stop })
}

async fn subscribe(core: &Core) -> Receiver<Event> {
    let (sender, receiver) = mailbox(MAILBOX_BYTES);
    core.tell(ToCore::Open(PEER, Outgoing::Framework(sender))).await.unwrap();
    let info = FrameworkInfo {
        name: Arc::from("test"),
        user: Arc::from(""),
        roles: BTreeSet::from([Role::any()]),
        failover_timeout: Duration::from_secs(60),
        offer_mode: OfferMode::Optimistic,
        offer_timeout: None,
        url: None,
        labels: BTreeMap::new(),
        rules: Arc::default(),
    };
    let call = Call::Subscribe(Subscribe {
        framework: None,
        client: ClientId(3),
        info,
        suppressed: BTreeSet::new(),
        connection: 0,
    });
    let input = Input::FromFramework { peer: PEER, principal: Principal::new("test"), call };
    core.input(vec![input], 100).await.unwrap();
    receiver
}

/// What is sent next, or why nothing is any more.
async fn received(receiver: &mut Receiver<Event>) -> Result<Vec<Event>, Closed> {
    let mut events = Vec::new();
    let taken = poll_fn(|cx| {
        receiver.poll_take(cx, |event| {
            events.push(event);
            Take::More
        })
    });
    taken.await.map(|()| events)
}

#[tokio::test]
async fn what_is_written_is_shown() {
    let running = start(Medium::memory()).await.unwrap();
    let mut receiver = subscribe(&running.core).await;
    let events = received(&mut receiver).await.unwrap();
    assert!(matches!(events[0], Event::Subscribed { .. }), "{events:?}");
    assert_eq!(running.core.status().await.unwrap().framework_connections, 1);
}

#[tokio::test]
async fn a_master_that_cannot_write_its_term_does_not_start() {
    let Err(error) = start(Medium::Failing { writes_left: 0 }).await else { panic!("it started") };
    assert_eq!(error.to_string(), "registry test: I/O error: no space left");
}

#[tokio::test]
async fn a_failed_write_ends_the_master_and_nobody_sees_what_was_not_written() {
    // The term can be written, the subscription can't.
    let running = start(Medium::Failing { writes_left: 1 }).await.unwrap();
    let mut receiver = subscribe(&running.core).await;
    assert_eq!(received(&mut receiver).await, Err(Closed::Stopping));
    let error = running.task.await.unwrap().unwrap_err();
    assert!(matches!(error, MasterError::Store(_)), "{error}");
}

#[tokio::test]
async fn a_closed_mailbox_is_not_filled_any_more() {
    let running = start(Medium::memory()).await.unwrap();
    let receiver = subscribe(&running.core).await;
    drop(receiver);
    running.core.tell(ToCore::Closed(PEER)).await.unwrap();
    let status = running.core.status().await.unwrap();
    assert_eq!((status.framework_connections, status.messages_queued), (0, 0));
}
