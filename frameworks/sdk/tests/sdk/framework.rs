//! A framework of the SDK against a master that the test plays.

use crate::fake_master::{Connection, FRAMEWORK, FakeMaster, soon};
use rialto_core::model::{
    Accept, AgentId, Asked, Call, Event, Outcome, Reject, Role, Source, Status, TaskId, TaskState, Term, Time, UpdateId,
};
use rialto_core::scheduler::bench::offer;
use rialto_sdk::placement::{Packer, Strategy};
use rialto_sdk::{
    Access, Command, Framework, FrameworkEnd, Happening, Options, Out, RedbStore, RunError, Scheduler, StartError,
    start,
};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Launches one task on the first offer, saves what it hears, and tells the test.
struct Clerk {
    launched: bool,
}

#[derive(Debug)]
enum Order {
    Echo(&'static str),
    Teardown,
}

impl Scheduler for Clerk {
    type Command = Order;
    type Effect = String;

    fn on_event(&mut self, _now: Time, event: Happening<Order>, out: &mut Out<String>) {
        match event {
            Happening::Offers if !self.launched => self.launch(out),
            Happening::Update(status) => {
                out.save(format!("state/{}", status.task), status.state.as_str().into());
                out.effect(status.state.to_string());
            }
            Happening::Command(Order::Echo(word)) => out.effect(word.to_owned()),
            Happening::Command(Order::Teardown) => out.teardown(),
            _ => {}
        }
    }
}

impl Clerk {
    fn launch(&mut self, out: &mut Out<String>) {
        let (role, command) = (Role::new("web").expect("a role"), Command::shell("true"));
        let mut packer = Packer::new(&role, out.offers());
        let placement = packer.place(&command.needs, Strategy::Pack).expect("the test offers enough");
        packer.launch(&placement, command.task(TaskId::new("t1").expect("an id"), &role, &placement));
        packer.submit(out, &Default::default());
        self.launched = true;
    }
}

fn options(master: &FakeMaster) -> Options {
    let access = Access::new(&master.address).expect("an address");
    Options::new(access, "clerk", [Role::new("web").expect("a role")])
}

fn run(options: Options) -> (Framework<Order>, mpsc::UnboundedReceiver<String>) {
    let (effects, heard) = mpsc::unbounded_channel();
    let policy = |saved: &rialto_sdk::Saved| Ok(Clerk { launched: saved.contains_key("state/t1") });
    let framework = start(options, policy, move |effect| effects.send(effect).unwrap_or_default()).expect("starts");
    (framework, heard)
}

async fn offered(connection: &mut Connection) -> Accept {
    connection.say(Event::Offers(vec![Arc::new(offer(1, 1, "web", "cpus:4;mem:1024", &[]))])).await;
    let Call::Accept(accept) = connection.call().await else { panic!("the offer is accepted") };
    accept
}

fn update(state: TaskState, uuid: u128) -> Event {
    let mut status = Status::new(TaskId::new("t1").expect("an id"), state, Source::Agent);
    status.uuid = Some(UpdateId(uuid));
    status.agent = Some(rialto_core::scheduler::bench::agent(1));
    Event::Update(status)
}

async fn accepted(connection: &Connection, accept: &Accept) {
    connection.say(Event::Outcome(Outcome { call: accept.id, rejected: Vec::new() })).await;
}

#[tokio::test]
async fn a_task_is_launched_and_its_updates_are_acknowledged() {
    let mut master = FakeMaster::open().await;
    let (framework, mut heard) = run(options(&master));
    let (mut connection, subscribe) = master.subscribed().await;
    assert_eq!(subscribe.framework, None);
    let accept = offered(&mut connection).await;
    accepted(&connection, &accept).await;
    connection.say(update(TaskState::Running, 1)).await;
    assert!(matches!(connection.call().await, Call::Acknowledge { uuid: UpdateId(1), .. }));
    assert_eq!(soon(heard.recv()).await.as_deref(), Some("TASK_RUNNING"));
    assert!(framework.send(Order::Echo("hello")).await);
    assert_eq!(soon(heard.recv()).await.as_deref(), Some("hello"));
    assert_eq!(soon(framework.stop()).await.expect("stops"), FrameworkEnd::Stopped);
    assert_eq!(connection.call_or_end().await, None, "nothing is said on the way out");
}

#[tokio::test]
async fn a_lost_connection_is_made_anew_and_the_unanswered_accept_is_repeated() {
    let mut master = FakeMaster::open().await;
    let (framework, _heard) = run(options(&master));
    let (mut connection, _) = master.subscribed().await;
    assert_eq!(connection.hello.cluster, None);
    let accept = offered(&mut connection).await;
    drop(connection);
    let (mut connection, subscribe) = master.subscribed().await;
    assert_eq!(subscribe.framework, Some(FRAMEWORK));
    assert!(connection.hello.cluster.is_some(), "the second greeting names the cluster");
    assert_eq!(connection.call().await, Call::Accept(accept));
    soon(framework.stop()).await.expect("stops");
}

#[tokio::test]
async fn the_next_life_is_the_same_framework_and_asks_for_its_task() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = || RedbStore::open(&folder.path().join("state.redb")).expect("opens");
    let mut master = FakeMaster::open().await;
    let (framework, mut heard) = run(options(&master).keep_in(store()));
    let (mut connection, first) = master.subscribed().await;
    let accept = offered(&mut connection).await;
    accepted(&connection, &accept).await;
    connection.say(update(TaskState::Running, 1)).await;
    assert!(matches!(connection.call().await, Call::Acknowledge { .. }));
    soon(framework.stop()).await.expect("stops");
    drop(connection);

    let (framework, mut heard_later) = run(options(&master).keep_in(store()));
    let (mut connection, second) = master.subscribed().await;
    assert_eq!((second.framework, second.client), (Some(FRAMEWORK), first.client));
    assert_eq!(
        connection.call().await,
        Call::Reconcile(vec![Asked { task: TaskId::new("t1").expect("an id"), agent: Some(AgentId::new(Term(1), 1)) }])
    );
    connection.say(update(TaskState::Running, 1)).await;
    assert!(matches!(connection.call().await, Call::Acknowledge { uuid: UpdateId(1), .. }), "a repeat is acknowledged");
    connection.say(update(TaskState::Finished, 2)).await;
    assert!(matches!(connection.call().await, Call::Acknowledge { uuid: UpdateId(2), .. }));
    soon(framework.stop()).await.expect("stops");
    assert_eq!(soon(heard.recv()).await.as_deref(), Some("TASK_RUNNING"));
    assert_eq!(soon(heard_later.recv()).await.as_deref(), Some("TASK_FINISHED"), "the repeat is not handed on");
}

#[tokio::test]
async fn a_store_that_is_open_elsewhere_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("state.redb");
    let _open = RedbStore::open(&path).expect("opens");
    assert!(
        RedbStore::open(&path)
            .expect_err("is open already")
            .to_string()
            .starts_with("state store: can't open the file")
    );
}

#[tokio::test]
async fn a_framework_without_the_token_is_denied_and_one_with_it_is_not() {
    let mut master = FakeMaster::guarded().await;
    let (framework, _heard) = run(options(&master));
    let error = soon(framework.wait()).await.expect_err("there is no token");
    assert!(matches!(error, RunError::Denied(_)), "{error}");

    let mut with_token = options(&master);
    with_token.access = with_token.access.with_token("sesame-sesame-sesame").expect("a token");
    let (framework, _heard) = run(with_token);
    master.subscribed().await;
    soon(framework.stop()).await.expect("stops");
}

#[tokio::test]
async fn a_teardown_ends_when_the_master_says_so() {
    let mut master = FakeMaster::open().await;
    let (framework, _heard) = run(options(&master));
    let (mut connection, _) = master.subscribed().await;
    assert!(framework.send(Order::Teardown).await);
    assert_eq!(connection.call().await, Call::Teardown);
    connection.say(Event::Error(Reject::UnknownFramework)).await;
    assert_eq!(soon(framework.wait()).await.expect("ends"), FrameworkEnd::TornDown);
}

#[tokio::test]
async fn a_removed_framework_fails() {
    let mut master = FakeMaster::open().await;
    let (framework, _heard) = run(options(&master));
    let (connection, _) = master.subscribed().await;
    connection.say(Event::Error(Reject::UnknownFramework)).await;
    let error = soon(framework.wait()).await.expect_err("it was removed");
    assert!(matches!(error, RunError::Refused(Reject::UnknownFramework)), "{error}");
}

#[tokio::test]
async fn a_policy_that_cannot_take_up_its_state_does_not_start() {
    let master = FakeMaster::open().await;
    let policy = |_: &rialto_sdk::Saved| Err::<Clerk, _>("of another version".into());
    let error = start(options(&master), policy, drop).expect_err("the policy refuses");
    assert!(matches!(&error, StartError::Policy(_)));
    assert_eq!(error.to_string(), "saved state of the policy: of another version");
}
