//! The life of a task through the shell, and a master's restart.

use std::sync::Arc;
use std::time::Duration;

use rialto_core::master::{Command, Reply, Target};
use rialto_core::model::{
    Accept, AgentId, Body, Call, CallId, ClusterId, Event, ExecutorRef, FrameworkId, FromAgent, Launch, Milli, Offer,
    Operation, Refusal, Resources, Role, Source, Status, Task, TaskGroup, TaskId, TaskReport, TaskState, ToAgent,
    UpdateId,
};
use rialto_master::{Options, StoreKind};
use rialto_proto::Wire;
use rialto_proto::status::status_code;
use rialto_proto::v1::operator_client::OperatorClient;

use crate::harness::{Agent, Framework, Served, report};

pub(crate) fn task(id: &str) -> Task {
    Task {
        id: TaskId::new(id).unwrap(),
        name: Arc::from(id),
        role: Role::any(),
        resources: Resources::of(Milli::from_whole(1), Milli::from_whole(64)),
        claims: Vec::new(),
        priority: 0,
        kill_grace: Duration::from_secs(3),
        expected_run_time: None,
        executor: ExecutorRef::default(),
        body: Body::new(*b"spec"),
    }
}

pub(crate) fn accept(call: u64, offer: &Offer, task: Task) -> Call {
    accept_all(call, offer, [task])
}

/// Accepts the offer for each of the tasks, alone in its group.
pub(crate) fn accept_all(call: u64, offer: &Offer, tasks: impl IntoIterator<Item = Task>) -> Call {
    let operations = tasks.into_iter().map(|task| Operation::Launch(TaskGroup::single(task))).collect();
    Call::Accept(Accept {
        id: CallId(call),
        agent: offer.agent,
        offers: vec![offer.id],
        operations,
        refusal: Refusal::default(),
    })
}

pub(crate) fn update(launch: &Launch, agent: AgentId, state: TaskState, uuid: u128) -> FromAgent {
    update_of(launch.framework, launch.group.leader(), agent, state, uuid)
}

pub(crate) fn update_of(
    framework: FrameworkId,
    task: &TaskId,
    agent: AgentId,
    state: TaskState,
    uuid: u128,
) -> FromAgent {
    let task = task.clone();
    let status =
        Status { uuid: Some(UpdateId(uuid)), agent: Some(agent), ..Status::new(task, state, Source::Executor) };
    FromAgent::Update { framework, status, latest: state }
}

/// Has `framework` launch `id` on the agent, and waits until it runs there.
pub(crate) async fn run(framework: &mut Framework, agent: &mut Agent, id: &str) -> (Launch, Arc<Offer>) {
    let offer = framework.offer().await;
    framework.call(accept(1, &offer, task(id))).await;
    let launch = agent
        .wait("a launch", |message| if let ToAgent::Launch(launch) = message { Some(launch.clone()) } else { None })
        .await;
    agent.say(update(&launch, offer.agent, TaskState::Running, 1)).await;
    let running = framework.wait("TASK_RUNNING", updated(TaskState::Running)).await;
    acknowledge(framework, agent, &running).await;
    (launch, offer)
}

fn updated(state: TaskState) -> impl Fn(&Event) -> Option<Status> {
    move |event| if let Event::Update(status) = event { (status.state == state).then(|| status.clone()) } else { None }
}

async fn acknowledge(framework: &Framework, agent: &mut Agent, status: &Status) {
    let uuid = status.uuid.expect("an agent's update has one");
    framework.call(Call::Acknowledge { agent: status.agent, task: status.task.clone(), uuid }).await;
    let acknowledged =
        |message: &ToAgent| matches!(message, ToAgent::Acknowledge { uuid: got, .. } if *got == uuid).then_some(());
    agent.wait("an acknowledgement", acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_goes_from_offer_to_acknowledged_end() {
    let master = Served::development().await;
    let mut agent = Agent::register(&master).await;
    let (mut framework, id) = Framework::subscribe(&master, None).await;
    let (launch, offer) = run(&mut framework, &mut agent, "t1").await;
    assert_eq!(launch.framework, id);
    assert_eq!(launch.group.tasks[0].body.as_bytes(), b"spec");
    agent.say(update(&launch, offer.agent, TaskState::Finished, 2)).await;
    let finished = framework.wait("TASK_FINISHED", updated(TaskState::Finished)).await;
    acknowledge(&framework, &mut agent, &finished).await;
    master.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_on_the_same_work_dir_is_a_new_term_of_the_same_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let options =
        || Options { store: StoreKind::Redb, work_dir: Some(dir.path().to_owned()), ..Options::development() };
    let master = Served::start(options()).await;
    let mut agent = Agent::register(&master).await;
    let (mut framework, id) = Framework::subscribe(&master, None).await;
    let (launch, offer) = run(&mut framework, &mut agent, "t1").await;
    let (first_term, cluster) = (framework.term, cluster_of(&master).await);
    master.stop().await.unwrap();
    let (_, ended) = framework.end().await;
    assert_eq!(ended.unwrap().code(), tonic::Code::Unavailable);

    let master = Served::start(options()).await;
    let (mut framework, again) = Framework::subscribe(&master, Some(id)).await;
    assert_eq!((again, cluster_of(&master).await), (id, cluster));
    assert!(framework.term > first_term, "{:?} after {first_term:?}", framework.term);
    let mut agent = Agent::connect(&master).await;
    let task = TaskReport { framework: id, task: launch.group.tasks[0].clone(), state: TaskState::Running };
    agent
        .say(FromAgent::Register(Box::new(rialto_core::model::AgentReport {
            tasks: vec![task],
            ..report(Some((offer.agent, cluster)))
        })))
        .await;
    let same = |message: &ToAgent| if let ToAgent::Registered { agent, .. } = message { Some(*agent) } else { None };
    assert_eq!(agent.wait("a registration", same).await, offer.agent);
    agent.say(update(&launch, offer.agent, TaskState::Finished, 2)).await;
    framework.wait("TASK_FINISHED", updated(TaskState::Finished)).await;
    master.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_ask_and_command() {
    let master = Served::development().await;
    let (_framework, id) = Framework::subscribe(&master, None).await;
    let mut operator = OperatorClient::new(master.channel().await);
    let weigh = Command::SetWeight { role: Role::new("eng").unwrap(), weight_milli: 2000 };
    let reply = operator.command(weigh.to_wire()).await.unwrap().into_inner();
    assert_eq!(Reply::from_wire(reply).unwrap(), Reply::Done);
    let why = Command::Why(Target::Framework(id));
    let reply = Reply::from_wire(operator.command(why.to_wire()).await.unwrap().into_inner()).unwrap();
    let Reply::Why(explanation) = reply else { panic!("expected an explanation, got {reply:?}") };
    assert!(explanation.subject.contains(&id.to_string()), "{explanation:?}");
    let weigh = Command::SetWeight { role: Role::any(), weight_milli: 0 };
    let refused = operator.command(weigh.to_wire()).await.unwrap_err();
    assert_eq!((refused.code(), status_code(&refused)), (tonic::Code::InvalidArgument, Some("invalid")));
    master.stop().await.unwrap();
}

async fn cluster_of(master: &Served) -> ClusterId {
    let (_, body) = crate::pages::get(master, "/api/cluster", &[]).await;
    let cluster: rialto_master::api::Cluster = serde_json::from_str(&body).unwrap();
    ClusterId(u128::from_str_radix(&cluster.cluster, 16).unwrap())
}
