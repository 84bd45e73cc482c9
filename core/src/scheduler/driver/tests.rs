use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_oneof, proptest};

use super::super::bench::{Bench, FRAMEWORK, agent, config, role, task_id};
use super::*;
use crate::model::{
    Body, ClientId, Demand, Event, ExecutorRef, Milli, Outcome, Rejection, Source, Status, Term, UpdateId,
};

/// A policy that notes what happens and wants what the test tells it to want.
#[derive(Debug, Default)]
struct Puppet {
    heard: Vec<String>,
    deadline: Option<Time>,
    on_update: Option<(String, Vec<u8>)>,
}

#[derive(Clone, Debug)]
enum Want {
    Launch(&'static str),
    LaunchTwice(&'static str),
    /// One task on the machine of each offer, all or none.
    Gang(&'static [&'static str]),
    Kill(&'static str),
    Demand(u32),
    DemandNothingAndLaunch(&'static str),
    Suppress,
    Revive,
    Save(&'static str),
    Teardown,
}

fn task(name: &str) -> Task {
    Task {
        id: task_id(name),
        name: Arc::from(name),
        role: role("ci"),
        resources: crate::model::Resources::of(Milli(1000), Milli::ZERO),
        claims: Vec::new(),
        priority: 0,
        kill_grace: Duration::from_secs(5),
        expected_run_time: None,
        executor: ExecutorRef::Supervisor,
        body: Body::new([]),
    }
}

impl Scheduler for Puppet {
    type Command = Want;
    type Effect = &'static str;

    fn on_event(&mut self, now: Time, event: Happening<Want>, out: &mut Out<&'static str>) {
        match event {
            Happening::Command(want) => self.want(&want, out),
            Happening::Update(status) => {
                self.heard.push(format!("{} {}", status.task, status.state));
                if let Some((key, value)) = self.on_update.clone() {
                    out.save(key, value);
                }
            }
            Happening::Tick => {
                self.deadline = None;
                self.heard.push(format!("tick {now}"));
            }
            Happening::Rejected { tasks, reject } => self.heard.push(format!("rejected {tasks:?} {}", reject.code())),
            other => self.heard.push(format!("{other:?}").split([' ', '(']).next().unwrap_or_default().to_owned()),
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        self.deadline
    }
}

impl Puppet {
    fn want(&self, want: &Want, out: &mut Out<&'static str>) {
        match *want {
            Want::Launch(name) => {
                let first = out.offers().next().map(|offer| offer.id);
                if let Some(offer) = first {
                    out.launch(offer, vec![task(name)]);
                }
            }
            Want::LaunchTwice(name) => {
                let first = out.offers().next().map(|offer| offer.id);
                if let Some(offer) = first {
                    out.launch(offer, vec![task(name), task(name)]);
                }
            }
            Want::Gang(names) => {
                let part = |(offer, name): (&Offer, &&'static str)| GangPart {
                    agent: offer.agent,
                    offers: vec![offer.id],
                    groups: vec![crate::model::TaskGroup::single(task(name))],
                };
                let parts = out.offers().zip(names).map(part).collect();
                out.accept_gang(parts, Refusal::default());
            }
            Want::Kill(name) => out.kill(&task_id(name), None),
            Want::Demand(count) => {
                let needs = super::super::placement::Needs::new(crate::model::Quantities::of(Milli(1000), Milli::ZERO));
                out.demand(&role("ci"), Demand { shapes: vec![needs.shape("t", count)] });
            }
            Want::DemandNothingAndLaunch(name) => {
                out.demand(&role("ci"), Demand::default());
                self.want(&Want::Launch(name), out);
            }
            Want::Suppress => out.suppress(&role("ci")),
            Want::Revive => out.revive(&role("ci")),
            Want::Save(key) => {
                out.save(key, b"x".to_vec());
                out.effect("after the save");
            }
            Want::Teardown => out.teardown(),
        }
    }
}

type Desk = Bench<Puppet>;

fn connected() -> Desk {
    let mut desk = Bench::new(config("ci"), Puppet::default());
    desk.connect();
    desk.calls.clear();
    desk
}

/// A driver whose task `name` was accepted by the master.
fn with_task(name: &'static str) -> Desk {
    let mut desk = connected();
    desk.offer(1, "cpus:4");
    desk.command(Want::Launch(name));
    assert_eq!(desk.take_launches().len(), 1);
    desk.driver.policy_mut().heard.clear();
    desk
}

fn heard(desk: &mut Desk) -> Vec<String> {
    std::mem::take(&mut desk.driver.policy_mut().heard)
}

#[test]
fn the_identity_is_saved_before_it_is_shown() {
    let mut driver = Driver::new(config("ci"), Puppet::default(), &BTreeMap::new()).expect("nothing saved");
    let mut out = Vec::new();
    driver.step(Time::ZERO, DriverInput::Connected, &mut out);
    assert!(matches!(out[0], Output::Persist(DriverRecord::Save { ref key, .. }) if key == "driver/framework"));
    assert!(matches!(
        out[1],
        Output::Effect(DriverEffect::ToMaster { connection: 1, call: Call::Subscribe(ref subscribe) })
            if subscribe.framework.is_none() && subscribe.client == ClientId(7)
    ));
}

#[test]
fn the_next_life_is_the_same_framework_and_repeats_no_call_id() {
    let mut desk = connected();
    desk.offer(1, "cpus:4");
    desk.command(Want::Launch("t1"));
    let first = desk.take_accepts()[0].id;
    desk.restart(Puppet::default());
    desk.dial();
    assert!(matches!(desk.calls.as_slice(), [Call::Subscribe(subscribe)] if subscribe.framework == Some(FRAMEWORK)));
    desk.connect();
    desk.offer(1, "cpus:4");
    desk.command(Want::Launch("t2"));
    assert!(desk.take_accepts()[0].id > first);
}

#[test]
fn a_volatile_driver_saves_nothing_of_its_own() {
    let mut desk = Bench::new(DriverConfig { durability: Durability::Volatile, ..config("ci") }, Puppet::default());
    desk.connect();
    desk.offer(1, "cpus:4");
    desk.command(Want::Launch("t1"));
    desk.command(Want::Save("mine"));
    assert_eq!(desk.saved.keys().collect::<Vec<_>>(), ["mine"]);
}

/// A driver whose gang of t1 and t2 the master has not answered, and the gang.
fn with_gang() -> (Desk, AcceptGang) {
    let mut desk = connected();
    desk.offer(1, "cpus:4");
    desk.offer(2, "cpus:4");
    desk.command(Want::Gang(&["t1", "t2"]));
    desk.driver.policy_mut().heard.clear();
    let gang = only_gang(&desk.take_calls());
    (desk, gang)
}

fn only_gang(calls: &[Call]) -> AcceptGang {
    let gangs: Vec<&AcceptGang> =
        calls.iter().filter_map(|call| if let Call::AcceptGang(gang) = call { Some(gang) } else { None }).collect();
    assert_eq!(gangs.len(), 1, "one gang is accepted: {calls:?}");
    gangs[0].clone()
}

#[test]
fn a_gang_takes_the_offers_of_all_its_machines() {
    let (desk, gang) = with_gang();
    assert_eq!(gang.parts.len(), 2);
    assert_eq!(desk.driver.offers().count(), 0);
    assert_eq!(desk.driver.tasks().count(), 2);
    assert!(desk.saved.contains_key("driver/task/t1") && desk.saved.contains_key("driver/task/t2"));
}

#[test]
fn a_gang_is_repeated_on_every_connection_until_it_is_answered() {
    let (mut desk, gang) = with_gang();
    desk.disconnect();
    desk.connect();
    assert_eq!(only_gang(&desk.take_calls()), gang);
    desk.event(Event::Outcome(Outcome { call: gang.id, rejected: Vec::new() }));
    desk.disconnect();
    desk.connect();
    assert!(desk.take_calls().iter().all(|call| !matches!(call, Call::AcceptGang(_))));
}

#[test]
fn a_gang_that_was_seen_to_run_is_not_repeated() {
    let (mut desk, gang) = with_gang();
    desk.update(&task_id("t1"), TaskState::Running);
    desk.disconnect();
    desk.connect();
    assert_eq!(only_gang(&desk.take_calls()), gang, "t2 may not have started");
    desk.update(&task_id("t2"), TaskState::Running);
    desk.update(&task_id("t2"), TaskState::Finished);
    desk.disconnect();
    desk.connect();
    assert!(desk.take_calls().iter().all(|call| !matches!(call, Call::AcceptGang(_))));
    assert_eq!(desk.driver.unanswered(), 0);
}

#[test]
fn a_gang_that_broke_is_ended_by_the_driver_if_its_master_could_not() {
    let (mut desk, _) = with_gang();
    desk.update(&task_id("t1"), TaskState::Running);
    desk.update(&task_id("t2"), TaskState::Failed);
    assert!(killed(&desk.take_calls()).is_empty(), "the master sees to it");
    desk.disconnect();
    desk.connect();
    let calls = desk.take_calls();
    assert_eq!(killed(&calls), [task_id("t1")]);
    assert!(calls.iter().all(|call| !matches!(call, Call::AcceptGang(_))), "nobody is to start the rest");
}

#[test]
fn a_gang_that_its_master_has_ended_is_left_to_it() {
    let (mut desk, gang) = with_gang();
    desk.update(&task_id("t1"), TaskState::Running);
    desk.update(&task_id("t2"), TaskState::Failed);
    desk.event(Event::Outcome(Outcome { call: gang.id, rejected: Vec::new() }));
    desk.disconnect();
    desk.connect();
    assert!(killed(&desk.take_calls()).is_empty());
}

/// The names of the tasks that the calls kill.
fn killed(calls: &[Call]) -> Vec<TaskId> {
    calls.iter().filter_map(|call| if let Call::Kill { task, .. } = call { Some(task.clone()) } else { None }).collect()
}

#[test]
fn the_next_life_ends_a_gang_of_which_a_member_never_ran() {
    let (mut desk, _) = with_gang();
    desk.update(&task_id("t1"), TaskState::Running);
    desk.restart(Puppet::default());
    desk.connect_in(2);
    desk.calls.clear();
    desk.event(Event::Update(Status::new(task_id("t2"), TaskState::Unknown, Source::Master)));
    assert_eq!(heard(&mut desk).last().map(String::as_str), Some("t2 TASK_GONE"));
    assert_eq!(killed(&desk.take_calls()), [task_id("t1")]);
}

#[test]
fn the_next_life_leaves_a_gang_alone_that_has_started() {
    let (mut desk, gang) = with_gang();
    desk.event(Event::Outcome(Outcome { call: gang.id, rejected: Vec::new() }));
    desk.restart(Puppet::default());
    desk.connect_in(2);
    desk.calls.clear();
    desk.event(Event::Update(Status::new(task_id("t2"), TaskState::Failed, Source::Master)));
    assert!(killed(&desk.take_calls()).is_empty());
}

#[test]
fn a_refused_gang_comes_back_whole() {
    let (mut desk, gang) = with_gang();
    let reject = Reject::OfferGone(gang.parts[0].offers[0]);
    let rejected = vec![Rejection { operation: 0, tasks: vec![task_id("t1"), task_id("t2")], reject }];
    desk.event(Event::Outcome(Outcome { call: gang.id, rejected }));
    assert_eq!(heard(&mut desk), ["rejected [\"t1\", \"t2\"] offer_gone"]);
    assert_eq!(desk.driver.tasks().count(), 0);
}

#[test]
fn a_gang_that_uses_a_task_id_twice_is_not_sent() {
    let mut desk = connected();
    desk.offer(1, "cpus:4");
    desk.offer(2, "cpus:4");
    desk.command(Want::Gang(&["t1", "t1"]));
    let calls = desk.take_calls();
    assert!(matches!(calls.as_slice(), [Call::Decline { offers, .. }] if offers.len() == 2), "{calls:?}");
    assert_eq!(desk.driver.tasks().count(), 0);
}

#[test]
fn a_launch_is_saved_before_it_is_sent() {
    let mut desk = connected();
    desk.offer(1, "cpus:4");
    let mut out = Vec::new();
    desk.driver.step(Time::ZERO, DriverInput::Command(Want::Launch("t1")), &mut out);
    assert!(matches!(out[0], Output::Persist(DriverRecord::Save { ref key, .. }) if key == "driver/task/t1"));
    assert!(matches!(out[1], Output::Effect(DriverEffect::ToMaster { call: Call::Accept(_), .. })));
    assert_eq!(desk.driver.offers().count(), 0, "an accepted offer leaves the book");
}

#[test]
fn an_update_is_acknowledged_after_what_the_policy_saves() {
    let mut desk = with_task("t1");
    desk.driver.policy_mut().on_update = Some(("state".to_owned(), b"running".to_vec()));
    let status = desk.status(&task_id("t1"), TaskState::Running);
    let mut out = Vec::new();
    desk.driver.step(Time::ZERO, DriverInput::FromMaster(Event::Update(status)), &mut out);
    let saves = out.iter().rposition(|output| matches!(output, Output::Persist(_))).expect("saved");
    let acknowledged = out.iter().position(|output| {
        matches!(output, Output::Effect(DriverEffect::ToMaster { call: Call::Acknowledge { agent: Some(_), .. }, .. }))
    });
    assert!(acknowledged.expect("acknowledged") > saves);
}

#[test]
fn an_update_that_comes_again_is_acknowledged_and_not_handed_on() {
    let mut desk = with_task("t1");
    let status = desk.status(&task_id("t1"), TaskState::Running);
    for _ in 0..2 {
        desk.event(Event::Update(status.clone()));
        desk.expect_acknowledged(&status);
    }
    assert_eq!(heard(&mut desk), ["t1 TASK_RUNNING"]);
}

#[test]
fn the_next_life_knows_the_last_update() {
    let mut desk = with_task("t1");
    let status = desk.status(&task_id("t1"), TaskState::Running);
    desk.event(Event::Update(status.clone()));
    desk.restart(Puppet::default());
    desk.connect();
    desk.event(Event::Update(status.clone()));
    desk.expect_acknowledged(&status);
    assert_eq!(heard(&mut desk), ["Subscribed"]);
}

#[test]
fn a_task_ends_once() {
    let mut desk = with_task("t1");
    desk.update(&task_id("t1"), TaskState::Finished);
    desk.update(&task_id("t1"), TaskState::Failed);
    assert_eq!(heard(&mut desk), ["t1 TASK_FINISHED"]);
    assert!(!desk.saved.contains_key("driver/task/t1"));
}

#[test]
fn an_overtaken_update_is_not_handed_on() {
    let mut desk = with_task("t1");
    desk.update(&task_id("t1"), TaskState::Running);
    desk.update(&task_id("t1"), TaskState::Starting);
    assert_eq!(heard(&mut desk), ["t1 TASK_RUNNING"]);
}

#[test]
fn updates_of_the_master_are_acknowledged_to_the_master() {
    let mut desk = with_task("t1");
    let mut status = desk.status(&task_id("t1"), TaskState::Unreachable);
    status.source = Source::Master;
    desk.event(Event::Update(status));
    assert!(matches!(desk.take_calls().as_slice(), [Call::Acknowledge { agent: None, .. }]));
}

#[test]
fn a_refused_launch_is_forgotten_and_told() {
    let mut desk = connected();
    let offer = desk.offer(1, "cpus:4");
    desk.command(Want::Launch("t1"));
    heard(&mut desk);
    let accept = desk.take_accepts().remove(0);
    desk.reject(&accept, Reject::OfferGone(offer));
    assert_eq!(heard(&mut desk), ["rejected [\"t1\"] offer_gone"]);
    assert_eq!(desk.driver.tasks().count(), 0);
    assert!(!desk.saved.contains_key("driver/task/t1"));
}

#[test]
fn an_accept_that_was_not_understood_is_refused_without_names() {
    let mut desk = connected();
    desk.offer(1, "cpus:4");
    desk.command(Want::Launch("t1"));
    let accept = desk.take_accepts().remove(0);
    let rejected =
        vec![Rejection { operation: 0, tasks: Vec::new(), reject: Reject::invalid("accept", "expected sense") }];
    heard(&mut desk);
    desk.event(Event::Outcome(Outcome { call: accept.id, rejected }));
    assert_eq!(heard(&mut desk), ["rejected [\"t1\"] invalid"]);
    assert_eq!(desk.driver.tasks().count(), 0);
}

#[test]
fn a_task_that_was_heard_of_is_not_rejected() {
    let mut desk = connected();
    desk.offer(1, "cpus:4");
    desk.command(Want::Launch("t1"));
    let accept = desk.take_accepts().remove(0);
    desk.update(&task_id("t1"), TaskState::Running);
    heard(&mut desk);
    desk.reject(&accept, Reject::DuplicateTask(task_id("t1")));
    assert!(heard(&mut desk).is_empty());
    assert_eq!(desk.driver.tasks().count(), 1);
}

#[test]
fn a_task_id_in_use_is_refused_by_the_driver() {
    let mut desk = with_task("t1");
    desk.offer(1, "cpus:4");
    heard(&mut desk);
    desk.command(Want::Launch("t1"));
    assert!(matches!(desk.take_calls().as_slice(), [Call::Decline { .. }]));
    desk.advance(Duration::ZERO);
    assert_eq!(heard(&mut desk), ["rejected [] duplicate_task"]);
    assert_eq!(desk.driver.tasks().count(), 1);
}

#[test]
fn a_task_id_that_is_used_twice_in_one_accept_is_refused_once() {
    let mut desk = connected();
    desk.offer(1, "cpus:4");
    desk.command(Want::LaunchTwice("t1"));
    assert_eq!(desk.take_launches().len(), 1);
    desk.advance(Duration::ZERO);
    assert!(heard(&mut desk).contains(&"rejected [] duplicate_task".to_owned()));
}

#[test]
fn unanswered_calls_are_sent_again_with_the_same_id_launches_first() {
    let mut desk = with_task("t1");
    desk.offer(1, "cpus:4");
    desk.command(Want::Kill("t1"));
    desk.command(Want::Launch("t2"));
    desk.command(Want::Demand(3));
    let before = desk.take_calls();
    desk.disconnect();
    desk.connect_in(2);
    let after = desk.take_calls();
    assert!(
        matches!(after.as_slice(), [Call::Accept(_), Call::Kill { .. }, Call::Demand { .. }, Call::Reconcile(_)]),
        "{after:?}"
    );
    assert_eq!(after[0], before[1]);
    assert_eq!(after[1], before[0]);
    let Call::Reconcile(asked) = &after[3] else { panic!("asserted above") };
    assert_eq!(*asked, asked_for(&[task_id("t1")]), "an unanswered launch is not asked for");
}

/// Questions for tasks that were last on the first agent.
fn asked_for(tasks: &[TaskId]) -> Vec<Asked> {
    tasks.iter().map(|task| Asked { task: task.clone(), agent: Some(agent(1)) }).collect()
}

#[test]
fn what_an_accept_needs_is_not_given_up_before_it() {
    let mut desk = connected();
    desk.command(Want::Demand(1));
    desk.calls.clear();
    desk.offer(1, "cpus:4");
    desk.command(Want::DemandNothingAndLaunch("t1"));
    assert!(matches!(desk.take_calls().as_slice(), [Call::Accept(_), Call::Demand { .. }]));
}

#[test]
fn the_demand_is_said_once() {
    let mut desk = connected();
    desk.command(Want::Demand(3));
    desk.command(Want::Demand(3));
    assert_eq!(desk.take_calls().len(), 1);
    desk.command(Want::Demand(2));
    assert_eq!(desk.take_calls().len(), 1);
}

#[test]
fn suppression_and_revival_outlive_the_connection() {
    let mut desk = connected();
    desk.command(Want::Suppress);
    desk.command(Want::Suppress);
    assert_eq!(desk.take_calls().len(), 1);
    desk.disconnect();
    desk.dial();
    let [Call::Subscribe(subscribe)] = desk.calls.as_slice() else { panic!("a subscription comes first") };
    assert_eq!(subscribe.suppressed, BTreeSet::from([role("ci")]));
    desk.disconnect();
    desk.command(Want::Revive);
    desk.connect();
    assert!(matches!(desk.take_calls().as_slice(), [Call::Revive(_)]));
}

#[test]
fn a_kill_is_repeated_until_it_is_answered() {
    let mut desk = with_task("t1");
    desk.command(Want::Kill("t1"));
    desk.command(Want::Kill("t1"));
    assert_eq!(desk.take_calls().len(), 1, "the same kill is asked once");
    desk.advance(Duration::from_secs(20));
    let again = desk.take_calls();
    assert_eq!(again.len(), 2, "after 5 s and 10 s more");
    desk.calls = again;
    desk.take_kills();
    desk.advance(Duration::from_secs(600));
    assert!(desk.calls.is_empty());
    assert_eq!(desk.driver.next_deadline(), None, "a quiet driver waits for nothing");
}

#[test]
fn killing_what_is_unknown_asks_for_its_state() {
    let mut desk = with_task("t1");
    desk.command(Want::Kill("t1"));
    let Some(Call::Kill { id, .. }) = desk.take_calls().pop() else { panic!("a kill is sent") };
    let rejection = Rejection { operation: 0, tasks: vec![task_id("t1")], reject: Reject::UnknownTask(task_id("t1")) };
    desk.event(Event::Outcome(Outcome { call: id, rejected: vec![rejection] }));
    assert_eq!(desk.take_calls(), [Call::Reconcile(asked_for(&[task_id("t1")]))]);
    desk.event(Event::Update(Status::new(task_id("t1"), TaskState::Unknown, Source::Master)));
    assert_eq!(heard(&mut desk), ["t1 TASK_GONE"]);
}

#[test]
fn reconciliation_is_silent_where_nothing_changed() {
    let mut desk = with_task("t1");
    desk.update(&task_id("t1"), TaskState::Running);
    desk.disconnect();
    desk.connect_in(2);
    heard(&mut desk);
    desk.event(Event::Update(Status::new(task_id("t1"), TaskState::Running, Source::Master)));
    assert!(heard(&mut desk).is_empty());
    assert_eq!(desk.driver.next_deadline(), None);
}

#[test]
fn questions_come_in_batches_and_are_repeated() {
    let names: Vec<TaskId> = (0..reconcile::BATCH + 20).map(|number| task_id(&format!("t{number:05}"))).collect();
    let mut desk = connected();
    for name in &names {
        let tracked = Tracked::recovered(agent(1), TaskState::Running, None);
        desk.driver.tasks.insert(name.clone(), tracked);
    }
    desk.disconnect();
    desk.connect_in(2);
    assert_eq!(desk.take_calls(), [Call::Reconcile(asked_for(&names[..reconcile::BATCH]))]);
    desk.advance(Duration::from_secs(5));
    assert_eq!(
        desk.take_calls(),
        [Call::Reconcile(asked_for(&names[reconcile::BATCH..]))],
        "silence does not block the rest"
    );
    for name in &names {
        desk.event(Event::Update(Status::new(name.clone(), TaskState::Running, Source::Master)));
    }
    desk.calls.clear();
    desk.advance(Duration::from_secs(600));
    assert!(desk.calls.is_empty());
}

#[test]
fn tasks_of_a_lost_agent_are_asked_for() {
    let mut desk = with_task("t1");
    desk.offer(1, "cpus:1");
    desk.event(Event::AgentLost(agent(1)));
    assert_eq!(desk.take_calls(), [Call::Reconcile(asked_for(&[task_id("t1")]))]);
    assert_eq!(desk.driver.offers().count(), 0);
    assert_eq!(heard(&mut desk), ["Offers", "AgentLost"]);
}

#[test]
fn a_running_task_that_nobody_waits_for_is_killed() {
    let mut desk = connected();
    desk.update(&task_id("stray"), TaskState::Running);
    assert_eq!(desk.take_kills(), [task_id("stray")]);
    assert_eq!(heard(&mut desk), ["Subscribed"]);
}

#[test]
fn rescinded_offers_leave_the_book() {
    let mut desk = connected();
    let offer = desk.offer(1, "cpus:4");
    desk.event(Event::Rescind(vec![offer]));
    desk.event(Event::Rescind(vec![offer]));
    assert_eq!(heard(&mut desk), ["Subscribed", "Offers", "Rescinded"]);
    desk.command(Want::Launch("t1"));
    assert!(desk.calls.is_empty());
}

#[test]
fn a_new_offer_of_an_agent_replaces_the_old_one() {
    let mut desk = connected();
    desk.offer(1, "cpus:4");
    let second = desk.offer(1, "cpus:6");
    let other = desk.offer(2, "cpus:1");
    assert_eq!(desk.driver.offers().map(|offer| offer.id).collect::<Vec<_>>(), [second, other]);
}

#[test]
fn a_policy_gets_its_tick_once() {
    let mut desk = connected();
    desk.driver.policy_mut().deadline = Some(Time::ZERO + Duration::from_secs(3));
    desk.advance(Duration::from_secs(10));
    assert_eq!(heard(&mut desk), ["Subscribed", "tick 3.000s"]);
}

#[test]
fn teardown_ends_when_the_master_has_removed_the_framework() {
    let mut desk = with_task("t1");
    desk.command(Want::Teardown);
    assert_eq!(desk.take_calls(), [Call::Teardown]);
    desk.disconnect();
    desk.dial();
    desk.event(Event::Error(Reject::UnknownFramework));
    assert_eq!(desk.ended, Some(Ending::TornDown));
    assert!(desk.saved.is_empty(), "{:?}", desk.saved);
}

#[test]
fn a_removed_framework_loses_each_task_once() {
    let mut desk = with_task("t1");
    desk.event(Event::Error(Reject::UnknownFramework));
    assert_eq!(heard(&mut desk), ["Disconnected", "t1 TASK_GONE", "Refused"]);
    assert_eq!(desk.ended, Some(Ending::Refused(Reject::UnknownFramework)));
    assert!(desk.saved.is_empty());
}

#[test]
fn another_cluster_does_not_know_the_framework() {
    let mut desk = with_task("t1");
    desk.disconnect();
    desk.dial();
    let (framework, cluster) = (FRAMEWORK, ClusterId(2));
    desk.event(Event::Subscribed { framework, cluster, term: Term(1), agents_missing: 0 });
    assert!(matches!(&desk.ended, Some(Ending::Refused(Reject::Invalid { field, .. })) if field == "cluster"));
    assert_eq!(heard(&mut desk), ["Disconnected", "Refused"]);
    assert!(desk.saved.contains_key("driver/task/t1"));
}

#[test]
fn a_superseded_framework_keeps_what_is_saved_for_the_other() {
    let mut desk = with_task("t1");
    desk.event(Event::Error(Reject::Superseded));
    assert!(matches!(desk.ended, Some(Ending::Refused(_))));
    assert!(desk.saved.contains_key("driver/task/t1"));
}

#[test]
fn events_of_an_earlier_connection_are_void() {
    let mut desk = connected();
    desk.disconnect();
    desk.offer(1, "cpus:4");
    desk.dial();
    desk.offer(1, "cpus:4");
    assert_eq!(desk.driver.offers().count(), 0);
}

#[test]
fn a_damaged_record_is_refused_by_name() {
    let mut desk = with_task("t1");
    desk.saved.insert("driver/task/t1".to_owned(), b"v1 A1-1 TASK_RUNNING - 00000000".to_vec());
    let error = Driver::new(config("ci"), Puppet::default(), &desk.saved).expect_err("the check sum is wrong");
    assert_eq!(error.key, "driver/task/t1");
}

#[test]
fn the_saved_format_is_stable() {
    let mut desk = with_task("t1");
    let mut status = desk.status(&task_id("t1"), TaskState::Running);
    status.uuid = Some(UpdateId(0xabc));
    desk.event(Event::Update(status));
    let text = |key: &str| String::from_utf8(desk.saved[key].clone()).expect("text");
    assert_eq!(
        text("driver/framework"),
        "v1 0 00000000000000000000000000000007 F1-1 00000000000000000000000000000001 a773f3a3"
    );
    assert_eq!(text("driver/task/t1"), "v1 A1-1 TASK_RUNNING 00000000000000000000000000000abc acffb2b3");
}

/// What the world does to the driver, drawn at random.
#[derive(Clone, Debug)]
enum Turn {
    Launch,
    Answer,
    Refuse,
    /// The agent of a task says the next state, or repeats the last one.
    Update(usize, TaskState, bool),
    Reconcile(usize),
    Reconnect,
    Crash,
    Wait,
}

fn any_turn() -> impl Strategy<Value = Turn> {
    let state = prop::sample::select(TaskState::ALL.to_vec());
    prop_oneof![
        3 => Just(Turn::Launch),
        2 => Just(Turn::Answer),
        1 => Just(Turn::Refuse),
        6 => (0..4_usize, state, any::<bool>()).prop_map(|(task, state, again)| Turn::Update(task, state, again)),
        1 => (0..4_usize).prop_map(Turn::Reconcile),
        1 => Just(Turn::Reconnect),
        1 => Just(Turn::Crash),
        1 => Just(Turn::Wait),
    ]
}

/// The names that the random launches use, each once.
const NAMES: [&str; 4] = ["t0", "t1", "t2", "t3"];

fn play(turns: Vec<Turn>) -> Vec<String> {
    let mut desk = connected();
    let (mut launched, mut log, mut last) = (0, Vec::new(), BTreeMap::<usize, Status>::new());
    for turn in turns {
        match turn {
            Turn::Launch if launched < NAMES.len() => {
                desk.offer(1, "cpus:4");
                desk.command(Want::Launch(NAMES[launched]));
                launched += 1;
            }
            Turn::Answer => drop(desk.take_launches()),
            Turn::Refuse => {
                for accept in desk.take_accepts() {
                    desk.reject(&accept, Reject::JournalDegraded);
                }
            }
            Turn::Update(number, state, again) if number < launched && state != TaskState::Unknown => {
                let fresh = desk.status(&task_id(NAMES[number]), state);
                let status = last.get(&number).filter(|_| again).cloned().unwrap_or(fresh);
                last.insert(number, status.clone());
                desk.event(Event::Update(status.clone()));
                desk.expect_acknowledged(&status);
            }
            Turn::Reconcile(number) if number < launched => {
                desk.event(Event::Update(Status::new(task_id(NAMES[number]), TaskState::Unknown, Source::Master)));
            }
            Turn::Reconnect => {
                desk.disconnect();
                desk.connect_in(2);
            }
            Turn::Crash => {
                log.extend(heard(&mut desk));
                desk.restart(Puppet::default());
                desk.connect();
            }
            Turn::Wait => desk.advance(Duration::from_secs(30)),
            _ => {}
        }
    }
    log.extend(heard(&mut desk));
    log
}

proptest! {
    /// Through crashes and lost connections: a task's end is told once, nothing follows it, and only legal moves are told.
    #[test]
    fn a_policy_sees_a_legal_life_of_each_task(turns in prop::collection::vec(any_turn(), 0..60)) {
        let log = play(turns);
        for name in NAMES {
            let mut state = TaskState::Staging;
            for line in log.iter().filter_map(|line| line.strip_prefix(name)) {
                let next = TaskState::ALL.into_iter().find(|known| known.as_str() == line.trim()).expect("a state");
                prop_assert!(state.may_become(next), "{name}: {state} -> {next} in {log:?}");
                state = next;
            }
        }
    }
}
