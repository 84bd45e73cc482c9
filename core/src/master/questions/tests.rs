use std::collections::BTreeSet;
use std::time::Duration;

use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::allocator::explain::{CauseKind, ClauseKind, Outlook, TaskWait};
use crate::allocator::help::StepKind;
use crate::allocator::when::Bound;
use crate::model::{Milli, OfferMode, ResourceName, Shape, TaskState};
use crate::testing::{Market, device, shape};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Two frameworks; `other` has taken all of `a`.
fn full() -> Market {
    let mut market = Market::new();
    market.agent("a", "cpus:4;mem:1024").framework("other", "ops").launch("other", "a", "t", "cpus:4;mem:512");
    market.demand("other", vec![]).framework("ci", "eng");
    market
}

#[test]
fn equal_agents_are_looked_at_once_however_many_they_are() {
    let mut market = Market::new();
    for number in 0..300 {
        market.agent(&format!("a{number}"), "cpus:4;mem:1024");
    }
    market.framework("ci", "eng").demand("ci", vec![shape("huge", "cpus:8", &[], 1)]);
    let wait = market.wait_of("ci", "huge");
    assert_eq!((wait.agents, wait.evaluations, wait.outlook), (300, 1, Outlook::Hopeless));
}

#[test]
fn agents_that_differ_in_what_is_free_are_looked_at_by_class() {
    let mut market = Market::new();
    for number in 0..20 {
        market.agent(&format!("a{number}"), "cpus:4;mem:1024");
    }
    market.framework("other", "ops");
    for number in 0..17 {
        market.launch(
            "other",
            &format!("a{number}"),
            &format!("t{number}"),
            if number == 3 { "cpus:2" } else { "cpus:4" },
        );
    }
    market.demand("other", vec![]).framework("ci", "eng").demand("ci", vec![shape("s", "cpus:4", &[], 1)]);
    let wait = market.wait_of("ci", "s");
    assert_eq!((wait.agents, wait.ready, wait.evaluations), (20, 3, 3));
    let short = wait.clauses.iter().find(|clause| clause.kind == ClauseKind::Amount { resource: "cpus".into() });
    let short = short.expect("cpus are short somewhere");
    assert_eq!((short.agents, short.alone), (17, 17));
    assert_eq!(short.causes[0].kind, CauseKind::NotEnoughFree { short: Milli::from_whole(2) });
    assert_eq!(short.causes[0].nearest.as_ref().map(|agent| &*agent.name), Some("a3"), "the one that comes closest");
}

#[test]
fn what_never_fits_is_known_when_it_is_declared_and_forgotten_when_it_does() {
    let mut market = Market::new();
    market.agent("a", "cpus:4;mem:1024").framework("ci", "eng");
    let hopeless = |market: &Market| market.master.view().frameworks.values().next().expect("ci").hopeless.to_vec();
    market.demand("ci", vec![shape("fine", "cpus:1", &[], 1), shape("huge", "cpus:8", &[], 1)]);
    assert_eq!(hopeless(&market), [false, true]);
    market.agent("b", "cpus:8;mem:1024");
    assert_eq!(hopeless(&market), [false, false], "an agent came that is large enough");
    let gone = market.offer_of("ci", "b").agent;
    market.operator(crate::master::Command::MarkGone(gone));
    assert_eq!(hopeless(&market), [false, true], "and is gone");
}

#[test]
fn it_is_too_early_to_say_before_the_agents_are_back() {
    let mut market = Market::new();
    market.agent_with("a", "cpus:4", vec![device("g", "gpu", "T4")]).framework("ci", "eng").failover().subscribe("ci");
    market.demand("ci", vec![shape("s", "cpus:1", &["gpu"], 1)]);
    assert_eq!(market.wait_of("ci", "s").outlook, Outlook::Unknown);
    market.register("a");
    assert_eq!(market.wait_of("ci", "s").outlook, Outlook::Possible);
}

#[test]
fn a_constraint_that_no_agent_meets_is_hopeless() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").agent("b", "cpus:4").framework("ci", "eng");
    let mut only_c = shape("s", "cpus:1", &[], 1);
    only_c.constraint = "name == c".parse().expect("a selector");
    market.demand("ci", vec![only_c]);
    let wait = market.wait_of("ci", "s");
    assert_eq!((wait.outlook, wait.evaluations), (Outlook::Hopeless, 1));
    market.agent("c", "cpus:4");
    assert_eq!(market.wait_of("ci", "s").outlook, Outlook::Possible);
}

#[test]
fn a_task_says_what_it_waits_for() {
    let mut market = Market::new();
    market.agent("a", "cpus:4;mem:1024").framework("ci", "*").launch("ci", "a", "t", "cpus:1");
    assert_eq!(market.why_task("ci", "t").waits_for, Some(TaskWait::AgentsAnswer));
    market.update("a", "ci", "t", TaskState::Starting).acknowledge("ci");
    assert_eq!(market.why_task("ci", "t").waits_for, Some(TaskWait::Preparation));
    market.update("a", "ci", "t", TaskState::Running).acknowledge("ci");
    assert_eq!(market.why_task("ci", "t").waits_for, None);
    market.kill("ci", "t");
    assert_eq!(market.why_task("ci", "t").waits_for, Some(TaskWait::End { grace: secs(3) }));
    market.agent_leaves("a").wait(secs(10));
    let return_in = |left| Some(TaskWait::AgentsReturn { given_up_in: left });
    assert_eq!(market.why_task("ci", "t").waits_for, return_in(Some(secs(20))));
    market.wait(secs(21)).acknowledge("ci");
    assert_eq!(market.why_task("ci", "t").waits_for, return_in(None));
}

#[test]
fn the_bound_is_the_first_declared_end_that_makes_room() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").agent("b", "cpus:4").framework("other", "ops");
    market.launch_for("other", "a", "t1", "cpus:3", secs(100)).launch_for("other", "b", "t2", "cpus:3", secs(40));
    market.demand("other", vec![]).framework("ci", "eng").demand("ci", vec![shape("s", "cpus:2", &[], 1)]);
    market.wait(secs(10));
    let bound = market.when("ci", "s").bound;
    let Bound::By { after, agent, ends, ahead } = bound else { panic!("a bound, not {bound:?}") };
    assert_eq!((after, &*agent.name, ends, ahead), (secs(30), "b", 1, 0));
}

#[test]
fn nothing_declared_is_no_bound_and_says_so() {
    let mut market = full();
    market.demand("ci", vec![shape("s", "cpus:2", &[], 1), shape("never", "cpus:9", &[], 1)]);
    assert_eq!(market.when("ci", "s").bound, Bound::Unknown { undeclared: 1, overdue: 0 });
    assert_eq!(market.when("ci", "never").bound, Bound::Never);
    market.update("a", "other", "t", TaskState::Finished).acknowledge("other");
    assert!(matches!(market.when("ci", "s").bound, Bound::Now { .. }));
}

/// Machines full of tasks that run as long as they say, and a framework that takes what it is offered at once.
struct World {
    market: Market,
    /// When, on which machine, whose, which.
    ends: BTreeSet<(Duration, String, &'static str, String)>,
    rows: Vec<Shape>,
    now: Duration,
    random: Pcg64Mcg,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            market: Market::new(),
            ends: BTreeSet::new(),
            rows: Vec::new(),
            now: Duration::ZERO,
            random: Pcg64Mcg::seed_from_u64(seed),
        };
        let sizes: Vec<u64> = (0..1 + world.draw(3)).map(|_| 2 + world.draw(5)).collect();
        for (number, cpus) in sizes.iter().enumerate() {
            world.market.agent(&format!("a{number}"), &format!("cpus:{cpus}"));
        }
        world.market.framework("other", "ops");
        for (number, cpus) in sizes.iter().enumerate() {
            let mut left = *cpus;
            while left > 0 {
                let size = 1 + world.draw(left);
                left -= size;
                world.launch("other", &format!("a{number}"), &format!("cpus:{size}"));
            }
        }
        let largest = sizes.iter().max().copied().expect("there is a machine");
        let mut first = shape("first", &format!("cpus:{}", 1 + world.draw(2)), &[], world.count(3));
        first.expected_run_time = Some(world.run_time());
        let target = shape("target", &format!("cpus:{}", 1 + world.draw(largest)), &[], 1);
        world.rows = vec![first, target];
        world.market.demand("other", vec![]).framework("ci", "eng");
        world.declare();
        world
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.random.next_u64() % below.max(1)
    }

    fn count(&mut self, below: u64) -> u32 {
        u32::try_from(self.draw(below)).expect("it is small")
    }

    /// No two are equal, so that no two tasks end at once.
    fn run_time(&mut self) -> Duration {
        secs(1 + self.draw(50)) + Duration::from_micros(self.draw(1_000_000))
    }

    fn launch(&mut self, framework: &'static str, agent: &str, resources: &str) {
        let run_time = self.run_time();
        self.launch_for(framework, agent, resources, run_time);
    }

    fn launch_for(&mut self, framework: &'static str, agent: &str, resources: &str, run_time: Duration) {
        let id = format!("t{}", self.random.next_u64());
        self.market.launch_for(framework, agent, &id, resources, run_time);
        self.ends.insert((self.now + run_time, agent.to_owned(), framework, id));
    }

    fn declare(&mut self) {
        let rows = self.rows.iter().filter(|row| row.count > 0).cloned().collect();
        self.market.demand("ci", rows);
    }

    /// Launches one of what waits, where it is offered; its name.
    fn place_one(&mut self) -> Option<&'static str> {
        for (row, name) in [(0, "first"), (1, "target")] {
            let wanted = self.rows[row].resources.quantities().get(&ResourceName::Cpus);
            let agents: Vec<String> = (0..8).map(|number| format!("a{number}")).collect();
            let offered = agents.into_iter().find(|agent| {
                self.rows[row].count > 0
                    && self.market.knows_agent(agent)
                    && self.market.has_offer("ci", agent)
                    && self.market.offer_of("ci", agent).resources.quantities().get(&ResourceName::Cpus) >= wanted
            });
            if let Some(agent) = offered {
                let run_time = self.rows[row].expected_run_time.unwrap_or(secs(1));
                self.launch_for("ci", &agent, &format!("cpus:{wanted}"), run_time);
                self.rows[row].count -= 1;
                self.declare();
                return Some(name);
            }
        }
        None
    }

    /// When the target is launched.
    fn run(mut self) -> Duration {
        loop {
            while let Some(name) = self.place_one() {
                if name == "target" {
                    return self.now;
                }
            }
            let Some((end, agent, framework, id)) = self.ends.pop_first() else {
                panic!("nothing runs, and it waits: {:?} {:?}", self.rows, self.market.lines());
            };
            self.market.wait(end - self.now);
            self.now = end;
            self.market.update(&agent, framework, &id, TaskState::Finished).acknowledge(framework);
        }
    }
}

#[test]
fn if_all_run_as_long_as_they_say_and_nobody_comes_the_bound_is_met_exactly() {
    let mut ahead_of_it = 0;
    for seed in 0..60 {
        let mut world = World::new(seed);
        let promised = match world.market.when("ci", "target").bound {
            Bound::By { after, ahead, .. } => {
                ahead_of_it += ahead;
                after
            }
            other => panic!("seed {seed}: all has declared its end, and the bound is {other:?}"),
        };
        assert_eq!(world.run(), promised, "seed {seed}");
    }
    assert!(ahead_of_it > 10, "some of them had to wait for others");
}

#[test]
fn asking_for_less_is_proposed_before_another_agent() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").agent("b", "cpus:4").framework("other", "ops");
    market.launch("other", "a", "t", "cpus:4").launch("other", "b", "u", "cpus:1");
    market.demand("other", vec![]).framework("ci", "eng").demand("ci", vec![shape("s", "cpus:4", &[], 3)]);
    let advice = market.what_would_help("ci", "s");
    let one = Milli::from_whole(1);
    let kinds: Vec<&StepKind> = advice.steps.iter().map(|step| &step.kind).collect();
    assert_eq!(*kinds[0], StepKind::Less { resource: "cpus".into(), by: one, to: Milli::from_whole(3) }, "{kinds:?}");
    assert!(matches!(kinds.last(), Some(StepKind::AddAgents { count: 1, for_all: 3 })), "{kinds:?}");
}

#[test]
fn another_model_or_fewer_devices_are_proposed_where_they_would_do() {
    let mut market = Market::new();
    market.agent_with("a", "cpus:4", vec![device("g0", "gpu", "T4"), device("g1", "gpu", "T4")]).framework("ci", "eng");
    market.demand(
        "ci",
        vec![shape("model", "cpus:1", &["gpu: model == H100"], 1), shape("many", "cpus:1", &["4 gpu"], 1)],
    );
    let model = market.what_would_help("ci", "model");
    let other = StepKind::OtherDevices {
        claim: "gpu: model == H100".to_owned(),
        dropped: "model == H100".to_owned(),
        models: vec!["T4".into()],
    };
    assert_eq!(model.steps[0].kind, other);
    let many = market.what_would_help("ci", "many");
    assert_eq!(many.steps[0].kind, StepKind::FewerDevices { claim: "4 gpu".to_owned(), to: 2 });
}

#[test]
fn a_constraint_a_refusal_and_an_offer_to_another_are_named_when_they_alone_stand_in_the_way() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").framework("ci", "eng");
    let mut elsewhere = shape("elsewhere", "cpus:1", &[], 1);
    elsewhere.constraint = "name == z && name != y".parse().expect("a selector");
    market.demand("ci", vec![elsewhere]);
    let step = market.what_would_help("ci", "elsewhere").steps.swap_remove(0);
    assert_eq!(step.kind, StepKind::WithoutConstraint { dropped: "name == z".to_owned() });
    market.demand("ci", vec![shape("s", "cpus:1", &[], 1)]).decline("ci", "a", 60);
    let step = market.what_would_help("ci", "s").steps.swap_remove(0);
    assert!(matches!(step.kind, StepKind::Revive { .. }), "{step:?}");
    let mut market = Market::new();
    market.agent("a", "cpus:4").framework_with("old", &["ops"], OfferMode::Exclusive).framework("ci", "eng");
    market.demand("ci", vec![shape("s", "cpus:1", &[], 1)]);
    let step = market.what_would_help("ci", "s").steps.swap_remove(0);
    assert!(matches!(&step.kind, StepKind::ReleaseOffers { frameworks } if frameworks.len() == 1), "{step:?}");
}
