use std::time::Duration;

use rialto_sdk::TaskSpec;
use rialto_sdk::core::model::{
    AgentId, AgentInfo, Exit, FrameworkId, Milli, Offer, OfferId, OfferMode, Operation, Quantities, Range, Ranges,
    Reason, Resources, Source, TaskHealth, Term,
};
use rialto_sdk::core::scheduler::Wish;

use super::*;

const APP: &str = r#"
name = "hello"
command = "serve"
instances = 2
ports = ["http"]
env = { V = "1" }
spread = false
[health]
path = "/healthz"
[update]
min_healthy = "2s"
deadline = "60s"
max_failures = 1
[restart]
initial = "1s"
max = "4s"
reset_after = "30s"
"#;

const SECOND: Duration = Duration::from_secs(1);

/// A policy in virtual time, with two agents that always have room.
struct World {
    policy: Policy,
    now: Time,
    offers: u64,
    room: bool,
    disk: BTreeMap<String, Vec<u8>>,
    launched: Vec<String>,
    killed: Vec<String>,
    bodies: BTreeMap<String, TaskSpec>,
    demand: Demand,
    declined: Vec<OfferId>,
    notes: Vec<String>,
}

impl World {
    fn new() -> Self {
        Self::recover(BTreeMap::new())
    }

    fn recover(disk: BTreeMap<String, Vec<u8>>) -> Self {
        let policy = Policy::recover(Role::any(), &disk).unwrap();
        let mut world = Self {
            policy,
            now: Time::ZERO,
            offers: 0,
            room: true,
            disk,
            launched: Vec::new(),
            killed: Vec::new(),
            bodies: BTreeMap::new(),
            demand: Demand::default(),
            declined: Vec::new(),
            notes: Vec::new(),
        };
        world.tell(Happening::Subscribed { framework: FrameworkId::new(Term(1), 1), term: Term(1) });
        world
    }

    fn tell(&mut self, event: Happening<Command>) -> Option<Result<Answer, Refused>> {
        self.offers += 2;
        let offers = (1..=2).filter(|_| self.room).map(|agent| offer(self.offers + agent, agent));
        let mut out = Out::over(offers);
        self.policy.on_event(self.now, event, &mut out);
        let mut answer = None;
        let (mut launched, mut demanded) = (false, false);
        for wish in out.into_wishes() {
            match wish {
                Wish::Accept { operations, .. } => {
                    launched = true;
                    assert!(!demanded, "an offer that meets no demand any more is taken back");
                    operations.iter().for_each(|operation| self.launch(operation));
                }
                Wish::Decline { offers, .. } => self.declined.extend(offers),
                Wish::Kill { task, .. } => self.killed.push(task.to_string()),
                Wish::Demand { demand, .. } => {
                    self.demand = demand.unwrap_or_default();
                    demanded = true;
                }
                Wish::Save { key, value } => {
                    assert!(!launched, "what is launched is saved before");
                    match value {
                        Some(value) => drop(self.disk.insert(key, value)),
                        None => drop(self.disk.remove(&key)),
                    }
                }
                Wish::Effect(Effect::Reply(1, reply)) => answer = Some(reply),
                Wish::Effect(Effect::Note(note)) => self.notes.push(note),
                other => panic!("unexpected {other:?}"),
            }
        }
        answer
    }

    fn launch(&mut self, operation: &Operation) {
        let Operation::Launch(group) = operation else { panic!("only launches are expected") };
        for task in &group.tasks {
            self.launched.push(task.id.to_string());
            self.bodies.insert(task.id.to_string(), TaskSpec::from_body(&task.body).unwrap());
        }
    }

    fn ask(&mut self, ask: Ask) -> Result<Answer, Refused> {
        self.tell(Happening::Command(Command { request: 1, ask })).expect("every request is answered")
    }

    fn deploy(&mut self, text: &str) -> DeploymentView {
        let ask = Ask::Deploy { name: "hello".to_owned(), text: Arc::from(text) };
        match self.ask(ask) {
            Ok(Answer::Accepted(deployment)) => deployment,
            other => panic!("expected a deployment, got {other:?}"),
        }
    }

    fn deployment(&mut self, id: u64) -> DeploymentView {
        match self.ask(Ask::Deployment(id)) {
            Ok(Answer::Deployment(deployment)) => deployment,
            other => panic!("expected a deployment, got {other:?}"),
        }
    }

    fn app(&mut self) -> AppView {
        match self.ask(Ask::Show("hello".to_owned())) {
            Ok(Answer::App(app)) => app,
            other => panic!("expected an app, got {other:?}"),
        }
    }

    fn update(&mut self, task: &str, state: TaskState, change: impl FnOnce(&mut Status)) {
        let mut status = Status::new(TaskId::new(task).unwrap(), state, Source::Executor);
        change(&mut status);
        assert_eq!(self.tell(Happening::Update(status)), None);
    }

    fn healthy(&mut self, task: &str) {
        self.update(task, TaskState::Running, |status| status.health = Some(TaskHealth::Healthy));
    }

    fn crash(&mut self, task: &str) {
        self.update(task, TaskState::Failed, |status| {
            status.reason = Some(Reason::CommandFailed);
            status.exit = Some(Exit::Code(3));
        });
    }

    fn killed(&mut self, task: &str) {
        self.update(task, TaskState::Killed, |status| status.reason = Some(Reason::KillRequested));
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.tell(Happening::Tick);
    }

    /// What was launched and killed since the last time.
    fn moves(&mut self) -> (Vec<String>, Vec<String>) {
        (std::mem::take(&mut self.launched), std::mem::take(&mut self.killed))
    }

    fn launches(&mut self) -> Vec<String> {
        let (launched, killed) = self.moves();
        assert!(killed.is_empty(), "killed {killed:?}");
        launched
    }

    /// An app with two instances that are ready.
    fn settled() -> Self {
        let mut world = Self::new();
        let deployment = world.deploy(APP);
        assert_eq!(world.launches(), ["hello-1", "hello-2"]);
        world.healthy("hello-1");
        world.healthy("hello-2");
        world.pass(2 * SECOND);
        assert_eq!(world.deployment(deployment.id).state, DeploymentState::Done);
        world
    }
}

fn offer(seq: u64, agent: u64) -> Offer {
    let mut resources = Resources::scalars(Quantities::of(Milli::from_whole(8), Milli::from_whole(8192)));
    resources.add(&ports(31_000 + 100 * agent));
    Offer {
        id: OfferId::new(Term(1), seq),
        agent: AgentId::new(Term(1), agent),
        info: Arc::new(AgentInfo {
            name: Arc::from(format!("a{agent}")),
            attributes: BTreeMap::from([(
                Arc::from(HOST_ATTRIBUTE),
                rialto_sdk::core::model::Attribute::text("127.0.0.1"),
            )]),
            domain: None,
        }),
        role: Role::any(),
        resources: Arc::new(resources),
        devices: Arc::new([]),
        mode: OfferMode::Optimistic,
        expires_in: None,
        guarantee: Default::default(),
    }
}

fn ports(first: u64) -> Resources {
    use rialto_sdk::core::model::{Amounts, ByName, Flavor, ResourceName};
    let ranges = ByName::from([(ResourceName::ports(), Ranges::new([Range { first, last: first + 50 }]))]);
    Resources::flavored(Flavor::default(), Amounts { ranges, ..Amounts::default() })
}

fn second_version() -> String {
    APP.replace("V = \"1\"", "V = \"2\"")
}

#[test]
fn a_deployment_brings_its_instances_up_on_ports_of_their_own() {
    let mut world = World::settled();
    let app = world.app();
    assert_eq!((app.instances_wanted, app.instances_serving), (2, 2));
    assert_eq!(app.endpoints, ["127.0.0.1:31100", "127.0.0.1:31101"]);
    let env: BTreeMap<String, String> = world.bodies["hello-1"].env.iter().cloned().collect();
    assert_eq!((env["PORT"].as_str(), env["PORT0"].as_str(), env["PORT_HTTP"].as_str()), ("31100", "31100", "31100"));
    assert_eq!((env["RIALTO_VERSION"].as_str(), env["V"].as_str()), ("1", "1"));
    assert!(world.bodies["hello-1"].health_check.is_some());
}

#[test]
fn an_app_that_is_spread_waits_a_moment_for_offers_of_several_agents() {
    let mut world = World::new();
    world.deploy(&APP.replace("spread = false", "spread = true").replace("instances = 2", "instances = 4"));
    assert!(world.launches().is_empty());
    assert_eq!(world.demand.shapes[0].count, 4);
    world.pass(Duration::from_millis(200));
    assert_eq!(world.launches().len(), 4);
    let agents: Vec<Arc<str>> = world.app().instances.into_iter().map(|instance| instance.agent).collect();
    assert_eq!(agents.iter().filter(|agent| &***agent == "a1").count(), 2, "{agents:?}");
    world.crash("hello-1");
    world.pass(SECOND);
    world.pass(Duration::from_millis(200));
    let gone = &agents[0];
    let next = world.app().instances.into_iter().find(|instance| instance.task == "hello-5").unwrap();
    assert_eq!(next.agent, *gone, "it goes where the fewest are");
}

#[test]
fn an_instance_is_no_endpoint_before_its_check_passes_and_after_it_fails() {
    let mut world = World::new();
    world.deploy(APP);
    world.update("hello-1", TaskState::Running, |_| ());
    assert!(world.app().endpoints.is_empty());
    world.healthy("hello-1");
    assert_eq!(world.app().endpoints.len(), 1);
    world.update("hello-1", TaskState::Running, |status| status.health = Some(TaskHealth::Unhealthy));
    assert!(world.app().endpoints.is_empty());
}

#[test]
fn what_finds_no_room_is_declared_as_demand() {
    let mut world = World::new();
    world.room = false;
    world.deploy(APP);
    assert!(world.launches().is_empty());
    assert_eq!((world.demand.shapes.len(), world.demand.shapes[0].count), (1, 2));
    world.room = true;
    world.tell(Happening::Offers);
    assert_eq!(world.launches().len(), 2);
    assert!(world.demand.shapes.is_empty());
}

#[test]
fn what_crashes_is_started_again_with_growing_pauses() {
    let mut world = World::settled();
    let mut task = "hello-1".to_owned();
    for pause in [1, 2, 4, 4] {
        world.crash(&task);
        assert!(world.launches().is_empty(), "there is a pause");
        assert_eq!(world.app().backoff_ms, Some(pause * 1000));
        assert_eq!(world.policy.next_deadline(), Some(world.now + Duration::from_secs(pause)));
        world.pass(Duration::from_secs(pause));
        let launched = world.launches();
        assert_eq!(launched.len(), 1);
        task.clone_from(&launched[0]);
        world.healthy(&task);
    }
    world.pass(40 * SECOND);
    world.crash(&task);
    assert_eq!(world.app().backoff_ms, Some(1000), "it ran well for long: the count starts anew");
}

#[test]
fn what_the_cluster_loses_is_started_again_at_once() {
    let mut world = World::settled();
    world.update("hello-1", TaskState::Gone, |status| status.reason = Some(Reason::AgentRemoved));
    assert_eq!(world.launches(), ["hello-3"]);
    assert_eq!(world.app().crashes, 0);
}

#[test]
fn a_cluster_that_loses_everything_does_not_make_a_hot_loop() {
    let mut world = World::settled();
    let mut task = "hello-1".to_owned();
    let mut rounds = 0;
    while world.policy.apps["hello"].backoff.until().is_none() {
        world.update(&task, TaskState::Failed, |status| status.reason = Some(Reason::LaunchFailed));
        if let Some(next) = world.launches().pop() {
            task = next;
        }
        rounds += 1;
        assert!(rounds < 10, "it must slow down");
    }
}

#[test]
fn an_update_replaces_one_after_the_other() {
    let mut world = World::settled();
    let deployment = world.deploy(&second_version());
    assert_eq!(world.moves(), (vec!["hello-3".to_owned()], vec![]), "one more than wanted");
    world.healthy("hello-3");
    assert_eq!(world.moves(), (vec![], vec![]), "it must be well for a while");
    world.pass(2 * SECOND);
    assert_eq!(world.moves(), (vec!["hello-4".to_owned()], vec!["hello-1".to_owned()]));
    assert_eq!(world.app().instances_serving, 2);
    world.killed("hello-1");
    world.healthy("hello-4");
    world.pass(2 * SECOND);
    assert_eq!(world.moves(), (vec![], vec!["hello-2".to_owned()]));
    world.killed("hello-2");
    let done = world.deployment(deployment.id);
    assert_eq!((done.state, done.ready, done.others), (DeploymentState::Done, 2, 0));
    assert_eq!(world.app().version, Some(2));
}

#[test]
fn an_update_without_room_for_more_takes_one_down_first() {
    let text = APP.replace("[update]", "[update]\nmax_surge = 0\nmax_unavailable = 1");
    let mut world = World::new();
    world.deploy(&text);
    world.healthy("hello-1");
    world.healthy("hello-2");
    world.pass(2 * SECOND);
    world.moves();
    world.deploy(&text.replace("V = \"1\"", "V = \"2\""));
    assert_eq!(world.moves(), (vec!["hello-3".to_owned()], vec!["hello-1".to_owned()]));
    world.healthy("hello-3");
    assert_eq!(world.moves(), (vec![], vec![]));
}

#[test]
fn a_new_version_that_keeps_failing_is_rolled_back() {
    let mut world = World::settled();
    let deployment = world.deploy(&second_version());
    assert_eq!(world.launches(), ["hello-3"]);
    world.crash("hello-3");
    world.pass(SECOND);
    assert_eq!(world.launches(), ["hello-4"]);
    assert_eq!(world.deployment(deployment.id).state, DeploymentState::Rolling);
    world.crash("hello-4");
    let back = world.deployment(deployment.id);
    assert_eq!(back.state, DeploymentState::RolledBack, "both old ones still serve, so it is done at once");
    assert_eq!(back.reason.as_deref(), Some("instances of version 2 failed 2 times, at last: ended: exit code 3"));
    assert_eq!(world.moves(), (vec![], vec![]));
    assert_eq!((world.app().version, world.app().instances_serving), (Some(1), 2));
}

#[test]
fn a_rollback_brings_the_old_version_back_where_it_is_gone() {
    let mut world = World::settled();
    let deployment = world.deploy(&second_version());
    world.healthy("hello-3");
    world.pass(2 * SECOND);
    world.killed("hello-1");
    world.moves();
    world.crash("hello-3");
    world.crash("hello-4");
    assert_eq!(world.deployment(deployment.id).state, DeploymentState::RollingBack);
    assert_eq!(world.launches(), ["hello-5"]);
    assert_eq!(world.policy.apps["hello"].instances[&TaskId::new("hello-5").unwrap()].version, 1);
    world.healthy("hello-5");
    world.pass(2 * SECOND);
    assert_eq!(world.deployment(deployment.id).state, DeploymentState::RolledBack);
}

#[test]
fn a_new_version_that_never_gets_well_is_rolled_back_at_the_deadline() {
    let mut world = World::settled();
    let deployment = world.deploy(&second_version());
    world.update("hello-3", TaskState::Running, |_| ());
    world.launches();
    assert_eq!(world.policy.next_deadline(), Some(world.now + 60 * SECOND));
    world.pass(60 * SECOND);
    let back = world.deployment(deployment.id);
    assert_eq!(back.reason.as_deref(), Some("no progress for 60s with 0 of 2 instances ready"));
    world.tell(Happening::Offers);
    assert_eq!(world.moves(), (vec![], vec!["hello-3".to_owned()]));
    assert_eq!(world.deployment(deployment.id).state, DeploymentState::RolledBack);
}

#[test]
fn a_first_version_that_fails_is_ended() {
    let mut world = World::new();
    let deployment = world.deploy(APP);
    world.crash("hello-1");
    world.crash("hello-2");
    let failed = world.deployment(deployment.id);
    assert_eq!(failed.state, DeploymentState::Failed);
    world.pass(60 * SECOND);
    assert_eq!(world.moves().0, ["hello-1", "hello-2"], "nothing is started again");
    let error = world.ask(Ask::Scale { name: "hello".to_owned(), instances: 3 }).unwrap_err();
    assert!(error.to_string().contains("no version that could be scaled"), "{error}");
}

#[test]
fn a_version_that_the_master_refuses_is_rolled_back_at_once() {
    let mut world = World::settled();
    let deployment = world.deploy(&second_version());
    let tasks = vec![TaskId::new("hello-3").unwrap()];
    world.tell(Happening::Rejected { tasks, reject: Reject::invalid("task.body", "expected less") });
    let back = world.deployment(deployment.id);
    assert_eq!(back.state, DeploymentState::RolledBack);
    assert!(back.reason.unwrap().contains("task.body: expected less"));
}

#[test]
fn scaling_starts_more_and_ends_those_that_serve_nobody_or_are_youngest() {
    let mut world = World::settled();
    let Ok(Answer::Accepted(up)) = world.ask(Ask::Scale { name: "hello".to_owned(), instances: 4 }) else { panic!() };
    assert_eq!((up.kind, world.launches()), (Kind::Scale, vec!["hello-3".to_owned(), "hello-4".to_owned()]));
    world.pass(SECOND);
    world.healthy("hello-4");
    world.ask(Ask::Scale { name: "hello".to_owned(), instances: 2 }).unwrap();
    assert_eq!(world.moves(), (vec![], vec!["hello-3".to_owned(), "hello-4".to_owned()]));
    assert_eq!(world.deployment(up.id).state, DeploymentState::Done);
    let error = world.ask(Ask::Scale { name: "hello".to_owned(), instances: 20_000 }).unwrap_err();
    assert_eq!(error.to_string(), "instances: expected 0 to 10000, got 20000");
}

#[test]
fn deploying_the_same_again_with_another_number_scales() {
    let mut world = World::settled();
    let deployment = world.deploy(&APP.replace("instances = 2", "instances = 3"));
    assert_eq!((deployment.kind, deployment.to), (Kind::Scale, 1));
    assert_eq!(world.launches(), ["hello-3"]);
}

#[test]
fn a_restart_replaces_every_instance() {
    let mut world = World::settled();
    let Ok(Answer::Accepted(restart)) = world.ask(Ask::Restart("hello".to_owned())) else { panic!() };
    assert_eq!((restart.kind, restart.from, restart.to), (Kind::Restart, Some(1), 2));
    assert_eq!(world.launches(), ["hello-3"]);
}

#[test]
fn a_second_deployment_takes_the_place_of_the_first() {
    let mut world = World::settled();
    let first = world.deploy(&second_version());
    let second = world.deploy(&APP.replace("V = \"1\"", "V = \"3\""));
    assert_eq!(world.deployment(first.id).state, DeploymentState::Superseded);
    assert_eq!(second.from, Some(1), "the last good version is the one to go back to");
    assert_eq!(world.moves(), (vec!["hello-3".to_owned(), "hello-4".to_owned()], vec!["hello-3".to_owned()]));
}

#[test]
fn what_is_unreachable_is_replaced_after_a_time_and_reaped_when_it_is_back() {
    let mut world = World::settled();
    world.update("hello-1", TaskState::Unreachable, |status| status.reason = Some(Reason::AgentDisconnected));
    assert_eq!(world.app().instances_serving, 1);
    assert!(world.launches().is_empty());
    world.pass(30 * SECOND);
    assert_eq!(world.moves(), (vec!["hello-3".to_owned()], vec!["hello-1".to_owned()]));
    world.healthy("hello-1");
    assert_eq!(world.app().instances_serving, 1, "it was given up");
    world.killed("hello-1");
    assert_eq!(world.app().instances.len(), 2);
}

#[test]
fn what_comes_back_in_time_goes_on() {
    let mut world = World::settled();
    world.update("hello-1", TaskState::Unreachable, |_| ());
    world.pass(10 * SECOND);
    world.healthy("hello-1");
    world.pass(60 * SECOND);
    assert_eq!(world.moves(), (vec![], vec![]));
    assert_eq!(world.app().instances_serving, 2);
}

#[test]
fn an_app_is_forgotten_when_its_last_instance_has_ended() {
    let mut world = World::settled();
    assert_eq!(world.ask(Ask::Delete("hello".to_owned())), Ok(Answer::Deleting));
    assert_eq!(world.moves().1, ["hello-1", "hello-2"]);
    let refused = world.ask(Ask::Deploy { name: "hello".to_owned(), text: Arc::from(APP) });
    assert!(matches!(refused, Err(Refused::Deleting(_))));
    world.killed("hello-1");
    world.killed("hello-2");
    assert!(matches!(world.ask(Ask::Show("hello".to_owned())), Err(Refused::UnknownApp { .. })));
    assert_eq!(world.disk.keys().collect::<Vec<_>>(), ["counters"]);
}

#[test]
fn a_restarted_framework_goes_on_where_it_was() {
    let mut world = World::settled();
    let deployment = world.deploy(&second_version());
    world.healthy("hello-3");
    world.moves();

    let mut world = World::recover(world.disk);
    assert_eq!(world.moves(), (vec![], vec![]), "nothing is launched twice");
    world.pass(2 * SECOND);
    assert_eq!(world.moves(), (vec!["hello-4".to_owned()], vec!["hello-1".to_owned()]));

    let mut world = World::recover(world.disk);
    assert_eq!(world.moves().1, ["hello-1"], "what is to end is told again");
    world.killed("hello-1");
    world.healthy("hello-4");
    world.pass(2 * SECOND);
    assert_eq!(world.deployment(deployment.id).state, DeploymentState::Done);
}

#[test]
fn a_launch_that_nothing_is_heard_of_is_taken_back_and_repeated() {
    let mut world = World::new();
    world.deploy(APP);
    world.healthy("hello-1");
    world.launches();
    world.pass(120 * SECOND);
    assert_eq!(world.moves().1, ["hello-2"]);
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let mut world = World::settled();
    let text = world.ask(Ask::Show("hallo".to_owned())).unwrap_err().to_string();
    assert_eq!(text, "no app is called \"hallo\"; there are hello");
    let other = world.ask(Ask::Deploy { name: "other".to_owned(), text: Arc::from(APP) }).unwrap_err();
    assert_eq!(other.to_string(), "the app file is for \"hello\", the request is for \"other\"");
    let bad = world.ask(Ask::Deploy { name: "hello".to_owned(), text: Arc::from("name = 3") }).unwrap_err();
    assert!(bad.to_string().starts_with("hello: TOML parse error at line 1"), "{bad}");
    assert_eq!(world.ask(Ask::Deployment(99)).unwrap_err().to_string(), "deployment 99 is not known, or no longer");
    assert_eq!(world.moves(), (vec![], vec![]));
}

#[test]
fn the_saved_format_is_the_one_of_the_golden_file() {
    let golden: BTreeMap<String, serde_json::Value> = serde_json::from_str(include_str!("golden.json")).unwrap();
    let world = World::settled();
    let saved: BTreeMap<String, serde_json::Value> =
        world.disk.iter().map(|(key, value)| (key.clone(), serde_json::from_slice(value).unwrap())).collect();
    assert_eq!(saved, golden, "a change of the format needs a new number and a way to read the old one");
    let disk = golden.iter().map(|(key, value)| (key.clone(), serde_json::to_vec(value).unwrap())).collect();
    assert_eq!(World::recover(disk).app().instances_serving, 2);
}

#[test]
fn saved_state_of_another_format_is_refused() {
    let disk = BTreeMap::from([("counters".to_owned(), br#"{"format":2,"next_task":1,"next_deployment":1}"#.to_vec())]);
    let error = Policy::recover(Role::any(), &disk).unwrap_err().to_string();
    assert!(error.contains("entry \"counters\": expected format 1, got 2"), "{error}");
}

/// The app with at most one instance on each of the two agents.
fn one_per_agent(instances: u32) -> String {
    let wanted = format!("instances = {instances}");
    APP.replace("spread = false", "spread = false\nmax_per_agent = 1").replace("instances = 2", &wanted)
}

#[test]
fn no_agent_gets_more_instances_than_the_app_allows() {
    let mut world = World::new();
    let deployment = world.deploy(&one_per_agent(3));
    assert_eq!(world.launches(), ["hello-1", "hello-2"]);
    let agents: Vec<Arc<str>> = world.app().instances.iter().map(|instance| instance.agent.clone()).collect();
    assert_eq!(agents, [Arc::from("a1"), Arc::from("a2")]);
    assert_eq!(world.deployment(deployment.id).unplaced, 1);
    let [shape] = &world.demand.shapes[..] else { panic!("{:?}", world.demand) };
    assert_eq!((shape.count, shape.constraint.as_str()), (1, "!(name in [\"a1\", \"a2\"])"));
    world.killed("hello-2");
    assert_eq!(world.launches(), ["hello-3"], "there is room for one again");
    assert_eq!(&*world.app().instances[1].agent, "a2");
}

#[test]
fn an_instance_that_is_about_to_end_is_still_on_its_agent() {
    let text = one_per_agent(2).replace("[update]", "[update]\nmax_surge = 0\nmax_unavailable = 1");
    let mut world = World::new();
    world.deploy(&text);
    world.healthy("hello-1");
    world.healthy("hello-2");
    world.pass(2 * SECOND);
    world.moves();
    world.deploy(&text.replace("V = \"1\"", "V = \"2\""));
    assert_eq!(world.moves(), (vec![], vec!["hello-1".to_owned()]));
    world.killed("hello-1");
    assert_eq!(world.launches(), ["hello-3"]);
}

#[test]
fn an_update_that_needs_more_on_an_agent_than_may_be_there_finds_no_room() {
    let mut world = World::new();
    world.deploy(&one_per_agent(2));
    world.healthy("hello-1");
    world.healthy("hello-2");
    world.pass(2 * SECOND);
    world.moves();
    let deployment = world.deploy(&one_per_agent(2).replace("V = \"1\"", "V = \"2\""));
    world.pass(60 * SECOND);
    assert_eq!(world.moves(), (vec![], vec![]));
    let back = world.deployment(deployment.id);
    assert_eq!(back.reason.as_deref(), Some("no progress for 60s with 0 of 2 instances ready, 1 found no room"));
}

#[test]
fn full_agents_that_a_demand_can_not_name_are_declined() {
    let long = format!("constraint = 'name != \"{}\"'\nspread = false", "z".repeat(4070));
    let mut world = World::new();
    world.deploy(&one_per_agent(3).replace("spread = false", &long));
    assert_eq!(world.launches(), ["hello-1", "hello-2"]);
    assert!(world.declined.is_empty(), "what is used is not declined");
    world.pass(SECOND);
    assert_eq!(world.declined.len(), 2);
    assert_eq!(world.demand.shapes[0].count, 1);
}
