use rialto_sdk::blobs::{Output, Pack};
use rialto_sdk::core::model::{
    AgentId, AgentInfo, Attribute, Exit, Milli, Offer, OfferId, OfferMode, Operation, PriceChange, PriceClass,
    PriceKey, Quantities, Reason, Resources, Source, Term,
};
use rialto_sdk::core::scheduler::Wish;

use super::*;
use crate::plan::FilePart;
use crate::spec;

const CHAIN: &str = r#"
name = "job"
[[stage]]
name = "map"
files = "*.csv"
command = "map"
retries = 1
[[stage]]
name = "each"
from = ["map"]
shuffle = "one-to-one"
command = "each"
[[stage]]
name = "sum"
from = ["each"]
command = "sum"
[result]
stage = "sum"
to = "out"
"#;

/// A policy, and offers with room for so many tasks.
struct World {
    policy: Policy,
    now: Time,
    offers: u64,
    effects: Vec<Effect>,
    torn_down: bool,
    killed: Vec<TaskId>,
    demand: Demand,
    prices: Prices,
}

impl World {
    fn new(job: &str, files: usize) -> Self {
        let job = spec::parse("job.toml", job).unwrap();
        let part = |at: usize| FilePart { digest: Digest::of(&[at as u8]), name: Arc::from("a.csv") };
        let plan = Plan::new(job, BTreeMap::from([(0, (0..files).map(part).collect())])).unwrap();
        let config = Config {
            role: Role::any(),
            store_url: Arc::from("http://127.0.0.1:1"),
            tokens: TokenKey::from_bytes(&[1; 32]),
            upload_limit: 1 << 20,
        };
        let policy = Policy::new(plan, config);
        let (effects, killed) = (Vec::new(), Vec::new());
        let mut world = Self {
            policy,
            now: Time::ZERO,
            offers: 0,
            effects,
            torn_down: false,
            killed,
            demand: Demand::default(),
            prices: Prices::default(),
        };
        let framework = FrameworkId::new(Term(1), 1);
        assert!(world.tell(Happening::Subscribed { framework, term: Term(1) }, 0).is_empty());
        world
    }

    /// One event, with an offer that has room for `room` tasks. Returns what was launched.
    fn tell(&mut self, event: Happening<Command>, room: u64) -> Vec<String> {
        self.offers += 1;
        let offers = (room > 0).then(|| offer(self.offers, room));
        let mut out = Out::over(offers).with_prices(self.prices.clone());
        self.policy.on_event(self.now, event, &mut out);
        let mut launched = Vec::new();
        for wish in out.into_wishes() {
            match wish {
                Wish::Accept { operations, .. } => launched.extend(operations.iter().flat_map(tasks)),
                Wish::AcceptGang { parts, .. } => {
                    let groups = parts.iter().flat_map(|part| &part.groups);
                    let ids = groups.flat_map(|group| group.tasks.iter().map(|task| task.id.to_string()));
                    launched.push(format!("together: {}", ids.collect::<Vec<_>>().join(" ")));
                }
                Wish::Effect(effect) => self.effects.push(effect),
                Wish::Teardown => self.torn_down = true,
                Wish::Kill { task, .. } => self.killed.push(task),
                Wish::Demand { demand, .. } => self.demand = demand.unwrap_or_default(),
                other => panic!("unexpected {other:?}"),
            }
        }
        launched
    }

    /// Machines of the pool G2 cost so much from now on; returns what was launched on an offer of one.
    fn price(&mut self, text: &str, room: u64) -> Vec<String> {
        let key = PriceKey::new("G2", PriceClass::Spot, None).unwrap();
        let change = PriceChange { old: self.prices.get(&key), key, new: Some(text.parse().unwrap()) };
        self.prices.apply(&change);
        self.tell(Happening::Prices(vec![change]), room)
    }

    fn offer(&mut self, room: u64) -> Vec<String> {
        self.tell(Happening::Offers, room)
    }

    fn update(&mut self, task: &str, state: TaskState, reason: Option<Reason>) {
        let mut status = Status::new(id(task), state, Source::Executor);
        status.reason = reason;
        if state == TaskState::Failed {
            status.exit = Some(Exit::Code(3));
        }
        assert!(self.tell(Happening::Update(status), 0).is_empty());
    }

    fn report(&mut self, task: &str) {
        let digest = Digest::of(task.as_bytes());
        let output = Output { name: "output".to_owned(), digest, bytes: 1, pack: Pack::File };
        let report = Report { task: task.to_owned(), outputs: vec![output] };
        assert!(self.tell(Happening::Command(Command::Reported(report)), 0).is_empty());
    }

    fn succeed(&mut self, task: &str) {
        self.update(task, TaskState::Running, None);
        self.report(task);
        self.update(task, TaskState::Finished, None);
    }

    fn waits_for(&self) -> Vec<(String, u32)> {
        self.demand.shapes.iter().map(|shape| (shape.name.to_string(), shape.count)).collect()
    }

    fn outcome(&self) -> Option<&Result<Vec<Digest>, JobFailure>> {
        self.effects.iter().find_map(|effect| if let Effect::Ended(outcome) = effect { Some(outcome) } else { None })
    }

    fn failure(&self) -> String {
        self.outcome().unwrap().as_ref().unwrap_err().to_string()
    }

    fn tick(&mut self) {
        self.now = self.policy.next_deadline().expect("a deadline is set");
        assert!(self.tell(Happening::Tick, 0).is_empty());
    }
}

fn offer(seq: u64, room: u64) -> Offer {
    Offer {
        id: OfferId::new(Term(1), seq),
        agent: AgentId::new(Term(1), 1),
        info: Arc::new(AgentInfo {
            name: Arc::from("a1"),
            attributes: [("pool", "G2"), ("price_class", "spot")]
                .map(|(name, text)| (Arc::from(name), Attribute::text(text)))
                .into(),
            domain: None,
        }),
        role: Role::any(),
        resources: Arc::new(Resources::scalars(Quantities::of(Milli::from_whole(room), Milli::from_whole(1 << 20)))),
        devices: Arc::new([]),
        mode: OfferMode::Optimistic,
        expires_in: None,
        guarantee: Default::default(),
    }
}

fn tasks(operation: &Operation) -> Vec<String> {
    let Operation::Launch(group) = operation else { panic!("only launches are expected") };
    group.tasks.iter().map(|task| task.id.to_string()).collect()
}

fn id(task: &str) -> TaskId {
    TaskId::new(task).unwrap()
}

#[test]
fn a_job_runs_through_its_stages() {
    let mut world = World::new(CHAIN, 2);
    assert_eq!(world.waits_for(), [("map".to_owned(), 2)]);
    assert_eq!(world.offer(5), ["map-0-1", "map-1-1"]);
    assert!(world.waits_for().is_empty());
    world.succeed("map-1-1");
    // Pipelined: what partition 1 reads is there, although partition 0 still runs.
    assert_eq!(world.waits_for(), [("each".to_owned(), 1)]);
    assert_eq!(world.offer(5), ["each-1-1"]);
    world.succeed("map-0-1");
    assert_eq!(world.offer(5), ["each-0-1"]);
    world.succeed("each-0-1");
    assert!(world.waits_for().is_empty(), "a reduce waits for all");
    world.succeed("each-1-1");
    assert_eq!(world.offer(5), ["sum-0-1"]);
    world.succeed("sum-0-1");
    assert_eq!(world.outcome(), Some(&Ok(vec![Digest::of(b"sum-0-1")])));
    assert!(world.torn_down && world.policy.is_ended());
}

#[test]
fn a_barrier_holds_a_stage_back_until_the_one_before_is_done() {
    let barrier = CHAIN.replace("shuffle = \"one-to-one\"", "shuffle = \"one-to-one\"\nmode = \"barrier\"");
    let mut world = World::new(&barrier, 2);
    world.offer(5);
    world.succeed("map-1-1");
    assert!(world.waits_for().is_empty());
    world.succeed("map-0-1");
    assert_eq!(world.waits_for(), [("each".to_owned(), 2)]);
}

#[test]
fn no_more_is_launched_than_has_room() {
    let mut world = World::new(CHAIN, 3);
    assert_eq!(world.offer(2), ["map-0-1", "map-1-1"]);
    assert_eq!(world.waits_for(), [("map".to_owned(), 1)]);
}

#[test]
fn a_token_is_granted_before_its_task_is_launched_and_revoked_after() {
    let mut world = World::new(CHAIN, 1);
    let mut out = Out::over([offer(7, 1)]);
    world.policy.on_event(world.now, Happening::Offers, &mut out);
    let wishes = out.into_wishes();
    let granted = wishes.iter().position(|wish| matches!(wish, Wish::Effect(Effect::Grant(..)))).unwrap();
    let launched = wishes.iter().position(|wish| matches!(wish, Wish::Accept { .. })).unwrap();
    assert!(granted < launched);
    world.succeed("map-0-1");
    let token = TokenKey::from_bytes(&[1; 32]).token("map-0-1");
    assert!(world.effects.contains(&Effect::Revoke(token)));
}

#[test]
fn report_and_end_may_come_in_either_order() {
    let mut world = World::new(CHAIN, 1);
    world.offer(1);
    world.update("map-0-1", TaskState::Finished, None);
    assert!(world.waits_for().is_empty());
    world.report("map-0-1");
    assert_eq!(world.waits_for(), [("each".to_owned(), 1)]);
}

#[test]
fn a_report_that_does_not_come_costs_no_retry() {
    let mut world = World::new(CHAIN, 1);
    world.offer(1);
    world.update("map-0-1", TaskState::Finished, None);
    world.tick();
    assert_eq!(world.now, Time::ZERO + REPORT_GRACE);
    assert_eq!(world.offer(1), ["map-0-2"]);
    assert_eq!(world.policy.partitions[0][0].failures, 0);
}

#[test]
fn a_failure_costs_a_retry_and_the_last_one_ends_the_job() {
    let mut world = World::new(CHAIN, 2);
    world.offer(2);
    world.update("map-0-1", TaskState::Failed, Some(Reason::CommandFailed));
    assert_eq!(world.offer(1), ["map-0-2"]);
    assert!(world.outcome().is_none());
    world.update("map-0-2", TaskState::Failed, Some(Reason::CommandFailed));
    assert_eq!(
        world.failure(),
        "stage map, partition 1 of 2: exit code 3 on agent a1; its output: rialto logs map-0-2 (after 1 retry)"
    );
    assert!(world.torn_down);
    assert!(world.offer(5).is_empty(), "nothing follows");
}

#[test]
fn what_the_cluster_loses_costs_no_retry() {
    let mut world = World::new(CHAIN, 1);
    world.offer(1);
    for attempt in 1..5 {
        world.update(&format!("map-0-{attempt}"), TaskState::Gone, Some(Reason::AgentRemoved));
        assert_eq!(world.offer(1), [format!("map-0-{}", attempt + 1)]);
    }
    assert!(world.outcome().is_none());
}

#[test]
fn what_is_lost_over_and_over_ends_the_job() {
    let mut world = World::new(CHAIN, 1);
    for attempt in 1..=MAX_LOSSES {
        world.offer(1);
        world.update(&format!("map-0-{attempt}"), TaskState::Failed, Some(Reason::SupervisorLost));
    }
    assert!(world.failure().contains("lost by the cluster 20 times"), "{}", world.failure());
}

#[test]
fn an_unreachable_task_is_replaced_after_a_time_unless_it_comes_back() {
    let mut world = World::new(CHAIN, 1);
    world.offer(1);
    world.update("map-0-1", TaskState::Unreachable, Some(Reason::AgentDisconnected));
    world.update("map-0-1", TaskState::Running, Some(Reason::AgentReregistered));
    assert_eq!(world.policy.next_deadline(), None);
    world.update("map-0-1", TaskState::Unreachable, Some(Reason::AgentDisconnected));
    world.tick();
    assert_eq!(world.killed, [id("map-0-1")]);
    assert_eq!(world.offer(1), ["map-0-2"]);
    // The old one turns up after all: it is not counted.
    world.update("map-0-1", TaskState::Finished, None);
    assert!(world.policy.partitions[0][0].output.is_none());
}

#[test]
fn a_transient_reject_is_tried_again_and_a_lasting_one_ends_the_job() {
    let mut world = World::new(CHAIN, 1);
    world.offer(1);
    let gone = Reject::OfferGone(OfferId::new(Term(1), 1));
    assert_eq!(world.tell(Happening::Rejected { tasks: vec![id("map-0-1")], reject: gone }, 1), ["map-0-2"]);
    let invalid = Reject::invalid("task.body", "expected less");
    world.tell(Happening::Rejected { tasks: vec![id("map-0-2")], reject: invalid }, 1);
    assert!(
        world.failure().contains("the master refuses to launch it: task.body: expected less"),
        "{}",
        world.failure()
    );
}

#[test]
fn the_master_is_asked_why_nothing_fits_and_people_are_told_once() {
    let mut world = World::new(CHAIN, 1);
    world.tick();
    world.tick();
    let notes: Vec<&Effect> = world.effects.iter().filter(|effect| matches!(effect, Effect::Note(_))).collect();
    assert!(matches!(notes.as_slice(), [Effect::Note(text)] if text.contains("rialto why F1-1")), "{notes:?}");
    let asked = world.effects.iter().filter(|effect| matches!(effect, Effect::Waiting(_))).count();
    assert_eq!(asked, 2);
    world.offer(1);
    assert_eq!(world.policy.next_deadline(), None, "something runs");
}

#[test]
fn what_never_fits_ends_the_job() {
    let mut world = World::new(CHAIN, 1);
    world.tick();
    world.tell(Happening::Command(Command::NeverFits("no agent is large enough".to_owned())), 0);
    assert_eq!(world.failure(), "never fits: no agent is large enough");
}

#[test]
fn an_interrupt_ends_the_job() {
    let mut world = World::new(CHAIN, 1);
    world.offer(1);
    world.tell(Happening::Command(Command::Interrupt), 0);
    assert_eq!(world.failure(), "interrupted");
    assert!(world.torn_down);
}

#[test]
fn one_to_one_needs_equally_many_partitions() {
    let text = CHAIN.replace("from = [\"each\"]\ncommand = \"sum\"", "from = [\"each\"]\ncommand = \"sum\"\n[[stage]]\nname = \"bad\"\nfrom = [\"map\", \"sum\"]\nshuffle = \"one-to-one\"\ncommand = \"x\"");
    let job = spec::parse("job.toml", &text).unwrap();
    let part = FilePart { digest: Digest::of(b""), name: Arc::from("a") };
    let error = Plan::new(job.clone(), BTreeMap::from([(0, vec![part.clone(), part])])).unwrap_err().to_string();
    assert!(error.contains("equally many partitions, got map with 2, sum with 1"), "{error}");
    let error = Plan::new(job, BTreeMap::from([(0, Vec::new())])).unwrap_err().to_string();
    assert!(error.contains("expected at least one file at \"*.csv\""), "{error}");
}

const GANG: &str = r#"
name = "job"
[[stage]]
name = "train"
files = "*.csv"
command = "train"
gang = true
retries = 1
[result]
stage = "train"
to = "out"
"#;

#[test]
fn a_gang_starts_whole_or_not_at_all() {
    let mut world = World::new(GANG, 3);
    assert!(world.offer(2).is_empty(), "there is room for two of three");
    assert_eq!(world.waits_for(), [("train".to_owned(), 3)]);
    assert_eq!(world.offer(3), ["together: train-0-1 train-1-1 train-2-1"]);
    for task in ["train-0-1", "train-1-1", "train-2-1"] {
        world.succeed(task);
    }
    assert!(world.outcome().expect("it is over").is_ok());
}

#[test]
fn when_one_of_a_gang_fails_the_others_start_anew_with_it() {
    let mut world = World::new(GANG, 3);
    world.offer(3);
    world.succeed("train-1-1");
    world.update("train-0-1", TaskState::Failed, None);
    assert_eq!(world.killed, [id("train-2-1")]);
    assert_eq!(world.waits_for(), [("train".to_owned(), 2)]);
    assert_eq!(world.offer(4), ["together: train-0-2 train-2-2"], "what is done is done");
    // The end of what was killed is nobody's failure; that of its successor is the second of the other.
    world.update("train-2-1", TaskState::Killed, None);
    assert!(world.outcome().is_none());
    world.update("train-0-2", TaskState::Failed, None);
    assert!(world.failure().contains("train"), "its one retry is used");
}

#[test]
fn a_gang_that_is_refused_waits_whole() {
    let mut world = World::new(GANG, 2);
    world.offer(2);
    let tasks = vec![id("train-0-1"), id("train-1-1")];
    let reject = Reject::AgentAway(AgentId::new(Term(1), 1));
    assert!(world.tell(Happening::Rejected { tasks, reject }, 0).is_empty());
    assert_eq!(world.waits_for(), [("train".to_owned(), 2)]);
}

#[test]
fn a_gang_has_a_largest_size() {
    let job = spec::parse("job.toml", GANG).expect("a job");
    let part = |_| FilePart { digest: Digest::of(&[0]), name: Arc::from("a.csv") };
    let error = Plan::new(job, BTreeMap::from([(0, (0..257).map(part).collect())])).expect_err("it is too large");
    assert_eq!(
        error.to_string(),
        "stage \"train\": gang: expected at most 256 partitions that start together, got 257"
    );
}

/// The chain, whose first stage runs only on cheap machines.
fn cheap() -> World {
    World::new(&CHAIN.replacen("retries = 1", "retries = 1\nmax_price = 0.35", 1), 2)
}

#[test]
fn a_stage_waits_until_a_machine_is_cheap_enough() {
    let mut world = cheap();
    assert!(world.offer(4).is_empty(), "nothing is known of prices");
    assert!(world.price("0.5", 4).is_empty());
    assert!(world.waits_for().is_empty(), "what is held back is not declared");
    assert_eq!(world.price("0.35", 4), ["map-0-1", "map-1-1"]);
}

#[test]
fn what_is_declared_asks_for_cheap_machines() {
    let mut world = cheap();
    world.price("0.2", 0);
    assert_eq!(world.waits_for(), [("map".to_owned(), 2)]);
    assert_eq!(world.demand.shapes[0].constraint.as_str(), "(pool == \"G2\" && price_class == \"spot\")");
    world.price("0.4", 0);
    assert!(world.waits_for().is_empty());
}

#[test]
fn what_runs_goes_on_when_it_becomes_dear_and_later_stages_run_at_any_price() {
    let mut world = cheap();
    assert_eq!(world.price("0.3", 1), ["map-0-1"]);
    assert!(world.price("0.9", 4).is_empty(), "the second partition is held back");
    world.succeed("map-0-1");
    assert_eq!(world.offer(4), ["each-0-1"]);
    assert!(world.killed.is_empty());
}

#[test]
fn prices_are_forgotten_with_the_connection() {
    let mut world = cheap();
    world.price("0.3", 0);
    world.prices = Prices::default();
    world.tell(Happening::Disconnected, 0);
    assert!(world.offer(4).is_empty());
}

#[test]
fn people_are_told_once_what_is_held_back_and_when_it_goes_on() {
    let mut world = cheap();
    let notes = |world: &World| -> Vec<String> {
        let note = |effect: &Effect| if let Effect::Note(text) = effect { Some(text.clone()) } else { None };
        world.effects.iter().filter_map(note).collect()
    };
    for _ in 0..3 {
        world.now = world.policy.next_deadline().expect("it looks again").max(world.now);
        world.tell(Happening::Tick, 0);
    }
    assert_eq!(
        notes(&world),
        ["stage map: held back until a machine costs at most 0.35 an hour; rialto price shows what they cost"]
    );
    assert!(!world.effects.iter().any(|effect| matches!(effect, Effect::Waiting(_))), "the master could not say more");
    world.price("0.3", 0);
    assert_eq!(notes(&world)[1], "stage map: goes on where (pool == \"G2\" && price_class == \"spot\")");
}
