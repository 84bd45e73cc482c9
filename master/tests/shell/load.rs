//! Many short tasks at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use rialto_core::model::{
    AgentReport, Call, ClientId, Event, FromAgent, Milli, Offer, Resources, Task, TaskId, TaskState, ToAgent, UpdateId,
};
use rialto_master::{Options, StoreKind};

use crate::harness::{Agent, Framework, Served, report, soon};
use crate::life;

const AGENTS: u64 = 4;
/// How many tasks one accept launches at most.
const ACCEPT_MAX: usize = 10;

/// An agent that lets every task run and finish at once, until all it was told of is acknowledged and the connection ends.
async fn emulate(mut agent: Agent) {
    let mut last_uuid = 0;
    let mut awaiting: BTreeMap<(TaskId, UpdateId), FromAgent> = BTreeMap::new();
    while let Some(messages) = agent.next_messages().await {
        let mut say = Vec::new();
        for message in messages {
            match message {
                ToAgent::Launch(launch) => {
                    for task in &launch.group.tasks {
                        let of = |state, uuid| life::update_of(launch.framework, &task.id, agent.id(), state, uuid);
                        last_uuid += 2;
                        say.push(of(TaskState::Running, last_uuid));
                        awaiting.insert((task.id.clone(), UpdateId(last_uuid)), of(TaskState::Finished, last_uuid + 1));
                    }
                }
                ToAgent::Acknowledge { task, uuid } => say.extend(awaiting.remove(&(task.task, uuid))),
                _ => {}
            }
        }
        agent.say_all(&say).await;
    }
}

/// Accepts offers until `total` tasks have finished. What was offered to it and is gone when it accepts is tried again.
async fn launch_all(framework: &mut Framework, total: usize) {
    let mut waiting: Vec<TaskId> = (0..total).rev().map(|number| TaskId::new(&format!("t{number}")).unwrap()).collect();
    let (mut finished, mut calls) = (BTreeSet::new(), 0);
    let mut book = BTreeMap::new();
    while finished.len() < total {
        let mut answers = Vec::new();
        for event in framework.next_events().await {
            match event {
                Event::Offers(offers) => book.extend(offers.into_iter().map(|offer| (offer.id, offer))),
                Event::Rescind(gone) => book.retain(|id, _| !gone.contains(id)),
                Event::Update(status) => {
                    if status.state == TaskState::Finished {
                        assert!(finished.insert(status.task.clone()), "{} finished twice", status.task);
                    }
                    let uuid = status.uuid.expect("an agent's update has one");
                    answers.push(Call::Acknowledge { agent: status.agent, task: status.task, uuid });
                }
                Event::Outcome(outcome) => {
                    for rejection in outcome.rejected {
                        assert!(rejection.reject.is_transient(), "{rejection:?}");
                        waiting.extend(rejection.tasks);
                    }
                }
                _ => {}
            }
        }
        while !waiting.is_empty()
            && let Some((_, offer)) = book.pop_first()
        {
            calls += 1;
            let left = waiting.len().saturating_sub(ACCEPT_MAX);
            answers.push(accept(calls, &offer, waiting.split_off(left)));
        }
        framework.call_all(&answers).await;
    }
}

fn accept(call: u64, offer: &Offer, tasks: Vec<TaskId>) -> Call {
    let small = |id: TaskId| {
        let resources = Resources::of(Milli(100), Milli::from_whole(1));
        Task { resources, ..life::task(id.as_str()) }
    };
    life::accept_all(call, offer, tasks.into_iter().map(small))
}

/// `RIALTO_LOAD_TASKS` makes it larger, to see how fast it goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_short_tasks_flow_through() {
    let total = std::env::var("RIALTO_LOAD_TASKS").map_or(500, |number| number.parse().expect("a number of tasks"));
    let dir = tempfile::tempdir().unwrap();
    let options = Options { store: StoreKind::Redb, work_dir: Some(dir.path().to_owned()), ..Options::development() };
    let master = Served::start(options).await;
    let mut agents = Vec::new();
    for number in 0..AGENTS {
        let resources = Resources::of(Milli::from_whole(64), Milli::from_whole(65_536));
        let agent =
            Agent::register_as(&master, AgentReport { client: ClientId(number.into()), resources, ..report(None) })
                .await;
        agents.push(tokio::spawn(emulate(agent)));
    }
    let (mut framework, _) = Framework::subscribe(&master, None).await;
    let begun = Instant::now();
    soon("all tasks", launch_all(&mut framework, total)).await;
    println!("{:.0} tasks/s", total as f64 / begun.elapsed().as_secs_f64());
    master.stop().await.unwrap();
    for agent in agents {
        soon("the agents' end", agent).await.unwrap();
    }
}
