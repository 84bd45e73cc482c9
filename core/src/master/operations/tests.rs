//! Reservations and volumes, as operators and frameworks see them.

use std::time::Duration;

use crate::master::Config;
use crate::model::{OfferMode, Operation, Resources, Task, TaskGroup, TaskState, WallTime};
use crate::testing::{Market, labelled, refined, reserved, shape, shared, task, until, volume};

/// One agent of four cpus and a framework of role eng, which has an offer of all of it.
fn market() -> Market {
    market_with(OfferMode::Optimistic)
}

fn market_with(mode: OfferMode) -> Market {
    let mut market = Market::new();
    market.agent("a", "cpus:4;mem:1024;disk:1000").framework_with("ci", &["eng"], mode);
    market.lines();
    market
}

fn disk(role: &str, mib: u32) -> Resources {
    reserved(role, &format!("disk:{mib}"))
}

/// A task of role eng that asks for exactly `resources`.
fn task_with(id: &str, resources: &Resources) -> Operation {
    let task = Task { resources: resources.clone(), ..task(id, "eng", "", &[]) };
    Operation::Launch(TaskGroup::single(task))
}

fn mixed(plain: &str, rest: &Resources) -> Resources {
    plain.parse::<Resources>().expect("resources").plus(rest)
}

#[test]
fn reserve_create_and_launch_work_in_one_accept() {
    let mut market = market();
    let data = volume("data", &disk("eng", 100));
    market.accept_with(
        "ci",
        "a",
        vec![
            Operation::Reserve(reserved("eng", "cpus:2;disk:100")),
            Operation::Create(data.clone()),
            task_with("t1", &data.plus(&reserved("eng", "cpus:1"))),
        ],
    );
    market.expect(
        "reserve cpus(eng):2 disk(eng):100 on a
         create disk(eng)[data:data]:100 on a
         launch ci/t1 on a
         offer a cpus:2 mem:1024 disk:900 cpus(eng):1 -> ci",
    );
    market.update("a", "ci", "t1", TaskState::Finished).lines();
    let offered = market.offer_of("ci", "a").resources.clone();
    assert_eq!(*offered, mixed("cpus:2;mem:1024;disk:900", &data).plus(&reserved("eng", "cpus:2")));
}

#[test]
fn what_is_reserved_is_offered_only_to_its_role_and_below() {
    let mut market = Market::new();
    market.agent("a", "cpus:4;mem:1024").operate("a", Operation::Reserve(reserved("eng", "cpus:3"))).lines();
    market.framework("eng", "eng").framework("below", "eng/ci").framework("other", "ops").framework("near", "engine");
    market.expect(
        "subscribed eng
         offer a cpus:1 mem:1024 cpus(eng):3 -> eng
         subscribed below
         offer a cpus:1 mem:1024 cpus(eng):3 -> below
         subscribed other
         offer a cpus:1 mem:1024 -> other
         subscribed near
         offer a cpus:1 mem:1024 -> near",
    );
}

#[test]
fn an_agent_confirms_and_the_registry_forgets() {
    let mut market = market();
    market.operate("a", Operation::Reserve(reserved("eng", "cpus:1")));
    assert_eq!(market.pending_operations(), 1);
    market.confirm("a");
    assert_eq!(market.pending_operations(), 0);
    let recorded = market.registry().agents.values().next().expect("it is registered").resources.clone();
    assert_eq!(*recorded, market.total("a"), "a master that starts now knows what is reserved");
    market.operate(
        "a",
        Operation::Unreserve(
            recorded
                .iter()
                .filter(|(flavor, _)| flavor.role().is_some())
                .fold(Resources::new(), |sum, (flavor, amounts)| {
                    sum.plus(&Resources::flavored(flavor.clone(), amounts.clone()))
                }),
        ),
    );
    market.confirm("a");
    assert_eq!(market.total("a"), "cpus:4;mem:1024;disk:1000".parse().expect("resources"));
}

#[test]
fn an_operation_that_never_arrived_is_sent_again_when_the_agent_is_back() {
    let mut market = market();
    market.operate("a", Operation::Reserve(labelled(&reserved("eng", "cpus:1"), "for", "ci"))).lines();
    market.lose_operations("a").agent_leaves("a").lines();
    market.register("a");
    market.expect(
        "registered a
         reserve cpus(eng):1 on a
         offer a cpus:3 mem:1024 disk:1000 cpus(eng):1 -> ci",
    );
    market.confirm("a");
    assert_eq!(market.pending_operations(), 0);
}

#[test]
fn an_operation_whose_confirmation_got_lost_is_not_done_twice() {
    let mut market = market();
    market.operate("a", Operation::Reserve(reserved("eng", "cpus:1"))).confirm_unheard("a").agent_leaves("a").lines();
    market.register("a");
    market.expect(
        "registered a
         offer a cpus:3 mem:1024 disk:1000 cpus(eng):1 -> ci",
    );
    assert_eq!(market.pending_operations(), 0);
}

#[test]
fn a_failover_between_operation_and_confirmation_loses_and_doubles_nothing() {
    for arrived in [false, true] {
        let mut market = market();
        market.operate("a", Operation::Reserve(reserved("eng", "cpus:1")));
        if arrived {
            market.confirm_unheard("a")
        } else {
            market.lose_operations("a")
        };
        market.failover().subscribe("ci").register("a");
        assert_eq!(market.pending_operations(), usize::from(!arrived));
        let expected = mixed("cpus:3;mem:1024;disk:1000", &signed(&reserved("eng", "cpus:1")));
        assert_eq!(*market.offer_of("ci", "a").resources, expected);
        market.confirm("a");
        assert_eq!((market.pending_operations(), market.total("a")), (0, expected));
    }
}

/// As reserved by the operator of the test language.
fn signed(resources: &Resources) -> Resources {
    let mut signed = Resources::new();
    for (flavor, amounts) in resources.iter() {
        let mut flavor = flavor.clone();
        flavor.reservations.last_mut().expect("it is reserved").principal = Some("operator".into());
        signed.add(&Resources::flavored(flavor, amounts.clone()));
    }
    signed
}

#[test]
fn what_an_agent_refuses_is_as_it_was() {
    let mut market = market();
    market.operate("a", Operation::Reserve(reserved("eng", "cpus:1"))).lines();
    market.refuse_operations("a");
    market.expect(
        "rescind a from ci
         offer a cpus:4 mem:1024 disk:1000 -> ci",
    );
    assert_eq!(market.pending_operations(), 0);
}

#[test]
fn an_operator_takes_exclusive_offers_back_that_stand_in_the_way() {
    let mut market = market_with(OfferMode::Exclusive);
    market.operate("a", Operation::Reserve(reserved("ops", "cpus:3")));
    market.expect(
        "rescind a from ci
         reserve cpus(ops):3 on a
         reply ok
         offer a cpus:1 mem:1024 disk:1000 -> ci",
    );
}

#[test]
fn a_task_that_names_only_amounts_gets_reserved_ones_first() {
    let mut market = market();
    market.operate("a", Operation::Reserve(reserved("eng", "cpus:2"))).lines();
    market.launch("ci", "a", "t1", "cpus:3;mem:64");
    market.expect(
        "launch ci/t1 on a
         offer a cpus:1 mem:960 disk:1000 -> ci",
    );
}

#[test]
fn what_one_task_names_of_a_reservation_is_not_given_to_another_that_names_none() {
    let mut market = market();
    let two = reserved("eng", "cpus:2");
    market.accept_with("ci", "a", vec![Operation::Reserve(two.clone())]).lines();
    let plain = "cpus:2".parse().expect("resources");
    market.accept_with("ci", "a", vec![task_with("plain", &plain), task_with("named", &two)]);
    market.expect(
        "launch ci/plain on a
         launch ci/named on a
         offer a mem:1024 disk:1000 -> ci",
    );
}

#[test]
fn a_shared_volume_is_held_by_several_and_counts_once() {
    let mut market = market();
    let data = shared(&volume("data", &disk("eng", 100)));
    market.accept_with(
        "ci",
        "a",
        vec![
            Operation::Reserve(disk("eng", 100)),
            Operation::Create(data.clone()),
            task_with("t1", &mixed("cpus:1", &data)),
            task_with("t2", &mixed("cpus:1", &data)),
        ],
    );
    market.expect(
        "reserve disk(eng):100 on a
         create disk(eng)[data:data]:100 on a
         launch ci/t1 on a
         launch ci/t2 on a
         offer a cpus:2 mem:1024 disk:900 disk(eng)[data:data]:100 -> ci",
    );
    market.operate("a", Operation::Destroy(data.clone())).expect("reply volume_in_use");
    market.update("a", "ci", "t1", TaskState::Finished).operate("a", Operation::Destroy(data.clone()));
    assert_eq!(market.lines().last().map(String::as_str), Some("reply volume_in_use"));
    market.update("a", "ci", "t2", TaskState::Finished).operate("a", Operation::Destroy(data));
    assert!(market.lines().contains(&"reply ok".to_owned()));
}

#[test]
fn a_volume_is_taken_whole() {
    let mut market = market();
    let data = volume("data", &disk("eng", 100));
    let half = volume("data", &disk("eng", 50));
    market.accept_with(
        "ci",
        "a",
        vec![Operation::Reserve(disk("eng", 100)), Operation::Create(data), task_with("t1", &mixed("cpus:1", &half))],
    );
    assert!(market.lines().contains(&"rejected t1 exceeds_offer -> ci".to_owned()));
}

#[test]
fn a_volume_grows_and_shrinks() {
    let mut market = market();
    let data = |mib| volume("data", &disk("eng", mib));
    market.accept_with(
        "ci",
        "a",
        vec![
            Operation::Reserve(disk("eng", 200)),
            Operation::Create(data(100)),
            Operation::Grow { volume: data(100), addition: disk("eng", 50) },
            Operation::Grow { volume: data(150), addition: disk("eng", 51) },
            Operation::Shrink { volume: data(150), by: crate::model::Milli::from_whole(20) },
        ],
    );
    let lines = market.lines();
    assert_eq!(lines[2], "grow disk(eng)[data:data]:100 by disk(eng):50 on a");
    assert_eq!(lines[3], "shrink disk(eng)[data:data]:150 by 20 on a");
    assert!(lines[4].starts_with("rejected asks for more than was offered"), "{}", lines[4]);
    assert_eq!(market.total("a"), mixed("cpus:4;mem:1024;disk:800", &data(130)).plus(&disk("eng", 70)));
}

#[test]
fn bad_operations_are_refused_with_the_reason() {
    let cases: Vec<(Operation, &str)> = vec![
        (Operation::Unreserve("cpus:1".parse().expect("resources")), "unreserve: expected a dynamic reservation"),
        (Operation::Unreserve("cpus(eng):1".parse().expect("resources")), "unreserve: expected a dynamic reservation"),
        (Operation::Reserve(Resources::new()), "reserve: expected resources, got none"),
        (Operation::Reserve(reserved("eng/ci", "cpus(ops):1")), "reserve: role: expected one strictly below ops"),
        (Operation::Reserve(reserved("ops", "cpus:1")), "reserve: role: expected eng, the role of the offer"),
        (Operation::Reserve(reserved("*", "cpus:1")), "reserve: role: expected one other than *"),
        (Operation::Reserve(reserved("eng", "cpus:9")), "asks for more than was offered"),
        (Operation::Reserve(until(-5, &reserved("eng", "cpus:1"))), "reserve: expires: expected a time to come"),
        (Operation::Create(reserved("eng", "disk:10")), "create: expected reserved disk with a volume id"),
        (Operation::Create(volume("v", &reserved("eng", "cpus:1"))), "create: expected reserved disk with a volume id"),
        (Operation::Destroy(volume("v", &disk("eng", 10))), "asks for more than was offered"),
    ];
    for (operation, expected) in cases {
        let mut market = market();
        market.accept_with("ci", "a", vec![operation.clone()]);
        let lines = market.lines();
        let rejected = lines.iter().find(|line| line.starts_with("rejected")).expect("it is refused");
        assert!(rejected.contains(expected), "{operation:?}: {rejected}");
        assert_eq!((market.pending_operations(), market.total("a")), (0, "cpus:4;mem:1024;disk:1000".parse().unwrap()));
    }
}

#[test]
fn a_volume_id_is_used_once_for_a_role() {
    let mut market = market();
    let data = volume("data", &disk("eng", 100));
    let operations =
        vec![Operation::Reserve(disk("eng", 300)), Operation::Create(data.clone()), Operation::Create(data.clone())];
    market.accept_with("ci", "a", operations);
    assert!(market.lines().iter().any(|line| line.contains("volume id data is used already")));
}

#[test]
fn unused_reservations_count_towards_the_share_of_their_role() {
    let mut market = Market::new();
    market.agent("a", "cpus:8;mem:1024").agent("b", "cpus:8;mem:1024");
    market.operate("a", Operation::Reserve(reserved("eng", "cpus:8")));
    market.framework_with("eng", &["eng"], OfferMode::Exclusive).framework_with("ops", &["ops"], OfferMode::Exclusive);
    // Both let go of what they have at once; who holds less, counting what is reserved, comes first.
    market.lines();
    market.decline("eng", "b", 0).wait(Duration::from_millis(200));
    assert!(market.has_offer("ops", "b") && !market.has_offer("eng", "b"), "{:?}", market.lines());
}

#[test]
fn a_reservation_ends_when_its_time_has_come() {
    let mut market = market();
    market.operate("a", Operation::Reserve(until(60, &reserved("eng", "cpus:2")))).confirm("a").lines();
    market.wait(Duration::from_secs(59)).expect("");
    market.wait(Duration::from_secs(1)).confirm("a");
    market.expect(
        "unreserve cpus(eng):2 on a
         rescind a from ci
         offer a cpus:4 mem:1024 disk:1000 -> ci",
    );
    assert_eq!(market.pending_operations(), 0);
}

#[test]
fn a_reservation_that_is_used_ends_with_its_task() {
    let mut market = market();
    market.operate("a", Operation::Reserve(until(60, &reserved("eng", "cpus:2")))).confirm("a");
    market.launch("ci", "a", "t1", "cpus:1;mem:64").lines();
    market.wait(Duration::from_secs(60)).confirm("a");
    assert_eq!(market.lines()[0], "unreserve cpus(eng):1 on a");
    market.update("a", "ci", "t1", TaskState::Finished).confirm("a");
    assert!(market.lines().contains(&"unreserve cpus(eng):1 on a".to_owned()));
    assert_eq!(market.total("a"), "cpus:4;mem:1024;disk:1000".parse().expect("resources"));
}

#[test]
fn a_reservation_that_ended_while_its_agent_was_away_ends_when_it_is_back() {
    let mut market = market();
    market.operate("a", Operation::Reserve(until(60, &reserved("eng", "cpus:2")))).confirm("a").agent_leaves("a");
    market.wait(Duration::from_secs(100)).lines();
    market.register("a");
    assert!(market.lines().contains(&"unreserve cpus(eng):2 on a".to_owned()));
}

#[test]
fn a_volume_keeps_its_reservation_past_its_time() {
    let mut market = market();
    let ends = until(60, &disk("eng", 100));
    let data = volume("data", &ends);
    market.accept_with("ci", "a", vec![Operation::Reserve(ends), Operation::Create(data.clone())]).confirm("a").lines();
    market.wait(Duration::from_secs(100)).expect("");
    market.operate("a", Operation::Destroy(data)).confirm("a");
    assert!(market.lines().contains(&"unreserve disk(eng):100 on a".to_owned()));
}

#[test]
fn a_refinement_does_not_outlive_what_it_refines() {
    let mut market = market();
    let base = until(60, &reserved("eng", "cpus:2"));
    market.operate("a", Operation::Reserve(base.clone())).lines();
    market.operate("a", Operation::Reserve(refined("eng/ci", &signed(&base)))).expect("reply invalid");
    market.operate("a", Operation::Reserve(until(60, &refined("eng/ci", &signed(&base)))));
    assert!(market.lines().contains(&"reply ok".to_owned()));
}

#[test]
fn an_operation_on_an_agent_that_is_away_is_refused() {
    let mut market = market();
    market.agent_leaves("a").lines();
    market.operate("a", Operation::Reserve(reserved("eng", "cpus:1"))).expect("reply agent_away");
}

#[test]
fn a_volume_is_of_no_use_to_a_demand_that_names_only_amounts() {
    let mut market = market();
    let data = volume("data", &disk("eng", 900));
    market.accept_with("ci", "a", vec![Operation::Reserve(disk("eng", 900)), Operation::Create(data)]).lines();
    market.demand("ci", vec![shape("big", "cpus:1;disk:500", &[], 1)]);
    assert!(!market.has_offer("ci", "a"));
}

#[test]
fn an_agent_marked_gone_takes_its_operations_with_it() {
    let mut market = market();
    market.operate("a", Operation::Reserve(reserved("eng", "cpus:1")));
    let agent = market.offer_of("ci", "a").agent;
    market.operator(crate::master::Command::MarkGone(agent));
    assert_eq!(market.pending_operations(), 0);
}

#[test]
fn wall_time_begins_where_the_configuration_says() {
    let mut market = Market::with(Config { origin: WallTime(1_000_000_000), ..Config::default() });
    market.agent("a", "cpus:4").operate("a", Operation::Reserve(until(1060, &reserved("eng", "cpus:2")))).lines();
    market.wait(Duration::from_secs(59)).expect("");
    market.wait(Duration::from_secs(1)).expect("unreserve cpus(eng):2 on a");
}
