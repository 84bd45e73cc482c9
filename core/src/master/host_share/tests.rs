use std::time::Duration;

use crate::master::Config;
use crate::model::{Device, DeviceMode, DeviceState, Health, Milli, OfferMode, Quantities, TaskState};
use crate::scheduler::placement::{Needs, Packer, Strategy};
use crate::testing::{Market, device, shape, task};

/// A GPU that keeps two cpus and 256 MiB for its tenants.
fn gpu(id: &str) -> Device {
    Device { host_share: Quantities::of(Milli::from_whole(2), Milli::from_whole(256)), ..device(id, "gpu", "A1") }
}

/// One agent of eight cpus with two such GPUs, and a framework.
fn with_gpus() -> Market {
    let mut market = Market::new();
    market.agent_with("a", "cpus:8;mem:1024", vec![gpu("g"), gpu("h")]).framework("ci", "*").lines();
    market
}

/// What the framework is offered, after it has let the offer that it had go.
fn offered(market: &mut Market) -> String {
    market.decline("ci", "a", 1).wait(Duration::from_secs(2));
    market.offer_of("ci", "a").resources.to_string()
}

#[test]
fn who_waits_for_work_without_devices_is_offered_neither_them_nor_what_they_keep() {
    let mut market = with_gpus();
    market.demand("ci", vec![shape("build", "cpus:1", &[], 9)]);
    assert_eq!(
        offered(&mut market),
        "cpus:4 mem:512",
        "else its placement would leave the share of the devices once more"
    );
    market.demand("ci", vec![shape("build", "cpus:5", &[], 1)]);
    assert!(!market.has_offer("ci", "a"), "five cpus are never free for it");
}

#[test]
fn a_task_without_devices_takes_nothing_that_is_kept() {
    let mut market = with_gpus();
    market.launch("ci", "a", "t1", "cpus:5;mem:64");
    assert_eq!(market.lines()[0], "rejected t1 offer_conflict -> ci");
    market.wait(Duration::from_secs(1)).lines();
    market.launch("ci", "a", "t2", "cpus:4;mem:64");
    assert_eq!(market.lines()[0], "launch ci/t2 on a");
    market.launch("ci", "a", "t3", "cpus:0.1");
    assert_eq!(market.lines()[0], "rejected t3 offer_conflict -> ci");
}

#[test]
fn a_tenant_uses_the_share_of_its_device_and_no_more_where_the_rest_is_taken() {
    let mut market = with_gpus();
    market.launch("ci", "a", "cpu", "cpus:4;mem:512").lines();
    market.launch_with("ci", "a", "greedy", "cpus:3;mem:64", &["gpu"]);
    assert_eq!(market.lines()[0], "rejected greedy offer_conflict -> ci");
    market.wait(Duration::from_secs(1)).lines();
    market.launch_with("ci", "a", "t1", "cpus:2;mem:256", &["gpu"]);
    assert_eq!(market.lines()[0], "launch ci/t1 with g on a");
    market.launch_with("ci", "a", "t2", "cpus:2;mem:256", &["gpu"]);
    assert_eq!(market.lines()[0], "launch ci/t2 with h on a");
}

#[test]
fn a_tenant_may_use_more_than_its_share_where_nobody_is_stranded_by_it() {
    let mut market = with_gpus();
    market.launch_with("ci", "a", "t1", "cpus:6;mem:64", &["gpu"]);
    assert_eq!(market.lines()[0], "launch ci/t1 with g on a");
    market.launch_with("ci", "a", "t2", "cpus:2;mem:64", &["gpu"]);
    assert_eq!(market.lines()[0], "launch ci/t2 with h on a");
}

#[test]
fn what_a_tenant_does_not_use_of_its_share_stays_kept_and_so_does_that_of_a_device_that_is_cleaned() {
    let mut market = with_gpus();
    market.demand("ci", vec![shape("train", "cpus:1", &["gpu"], 1), shape("build", "cpus:1", &[], 1)]);
    market.launch_with("ci", "a", "t1", "cpus:0.5;mem:64", &["gpu"]);
    market.demand("ci", vec![shape("build", "cpus:1", &[], 1)]);
    assert_eq!(offered(&mut market), "cpus:4 mem:512");
    market.update("a", "ci", "t1", TaskState::Finished);
    assert_eq!(offered(&mut market), "cpus:4 mem:512", "as much for those without devices as before");
}

#[test]
fn a_device_that_nobody_may_get_keeps_nothing() {
    let mut market = with_gpus();
    market.demand("ci", vec![shape("build", "cpus:1", &[], 1)]);
    market.device_is("a", "h", DeviceState::Quarantined { reason: "a person decides".into() });
    assert_eq!(offered(&mut market), "cpus:6 mem:768");
}

#[test]
fn a_slice_keeps_its_part_of_the_share() {
    let mut market = Market::new();
    let shared = Device { mode: DeviceMode::Shared, ..gpu("s") };
    market.agent_with("a", "cpus:4;mem:1024", vec![shared]).framework("ci", "*");
    market.launch("ci", "a", "cpu", "cpus:2").lines();
    market.launch_with("ci", "a", "greedy", "cpus:0.6", &["gpu share 0.25"]);
    assert_eq!(market.lines()[0], "rejected greedy offer_conflict -> ci");
    market.wait(Duration::from_secs(1)).lines();
    market.launch_with("ci", "a", "t1", "cpus:0.5", &["gpu share 0.25"]);
    assert_eq!(market.lines()[0], "launch ci/t1 with s/250 on a");
}

#[test]
fn a_tenant_gets_its_share_of_what_is_free_although_the_machine_was_busy_when_its_device_came() {
    let mut market = Market::new();
    let broken = |id| Device { health: Health::Unhealthy, ..gpu(id) };
    market.agent_with("a", "cpus:8;mem:1024", vec![broken("g"), broken("h")]).framework("ci", "*");
    market.launch("ci", "a", "cpu", "cpus:6;mem:64").device_works("a", "g").device_works("a", "h").lines();
    market.launch_with("ci", "a", "t1", "cpus:2;mem:64", &["gpu"]);
    assert_eq!(market.lines()[0], "launch ci/t1 with g on a");
}

#[test]
fn an_offer_with_devices_holds_what_they_keep() {
    let mut market = with_gpus();
    assert_eq!(offered(&mut market), "cpus:8 mem:1024 device:g device:h");
    let mut locked = Market::with(Config::default());
    locked.agent_with("a", "cpus:8;mem:1024", vec![gpu("g")]).framework_with("old", &["*"], OfferMode::Exclusive);
    assert_eq!(locked.offer_of("old", "a").resources.to_string(), "cpus:8 mem:1024 gpus:1 device:g");
}

/// Of eight cpus four are kept for two GPUs, and a framework that waits for work without devices takes what may be taken back.
fn with_revocable() -> Market {
    let mut market = with_gpus();
    market.takes_revocable("ci").demand("ci", vec![shape("build", "cpus:1", &[], 9)]);
    market.decline("ci", "a", 1).wait(Duration::from_secs(2)).lines();
    market
}

#[test]
fn what_is_kept_is_offered_until_it_is_needed_to_those_who_understand_that() {
    let mut market = with_gpus();
    market.demand("ci", vec![shape("build", "cpus:1", &[], 9)]);
    assert_eq!(market.offered_revocable("ci", "a"), "");
    let market = with_revocable();
    assert_eq!(market.offered_revocable("ci", "a"), "cpus:4 mem:512");
    assert_eq!(market.offer_of("ci", "a").resources.plain_quantities().to_string(), "cpus:4 mem:512");
}

#[test]
fn revocable_work_takes_what_is_kept_and_no_more_and_leaves_the_rest_to_others() {
    let mut market = with_revocable();
    market.launch_revocable("ci", "a", "r1", "cpus:3;mem:64");
    assert_eq!(market.lines()[0], "launch ci/r1 on a");
    assert_eq!(market.offered_revocable("ci", "a"), "cpus:1 mem:448");
    market.launch_revocable("ci", "a", "r2", "cpus:2;mem:64");
    assert!(market.lines()[0].starts_with("rejected r2"));
    market.wait(Duration::from_secs(1)).launch("ci", "a", "t1", "cpus:4;mem:64");
    assert!(market.lines().contains(&"launch ci/t1 on a".to_owned()), "what is not kept is as it was");
    market.update("a", "ci", "r1", TaskState::Finished).update("a", "ci", "t1", TaskState::Finished);
    market.acknowledge("ci").acknowledge("ci").wait(Duration::from_secs(2));
    assert_eq!(market.offered_revocable("ci", "a"), "cpus:4 mem:512");
}

#[test]
fn revocable_work_makes_way_for_a_tenant_that_needs_its_share() {
    let mut market = with_revocable();
    market.launch_revocable("ci", "a", "r1", "cpus:2;mem:64").launch_revocable("ci", "a", "r2", "cpus:2;mem:64");
    market.launch("ci", "a", "t1", "cpus:4;mem:64").framework("ml", "ml").lines();
    market.demand("ml", vec![shape("train", "cpus:2", &["gpu"], 1)]).wait(Duration::from_secs(2));
    assert!(market.lines().contains(&"preempt ci/r1 on a".to_owned()), "its cpus are back soon");
    market.update("a", "ci", "r1", TaskState::Killed).acknowledge("ci");
    assert!(market.lines().contains(&"offer a cpus:2 mem:896 device:g device:h -> ml".to_owned()));
    market.launch_with("ml", "a", "m1", "cpus:2;mem:256", &["gpu"]);
    assert!(market.lines()[0].starts_with("launch ml/m1 with"));
}

#[test]
fn a_tenant_that_has_room_ends_nothing() {
    let mut market = with_revocable();
    market.launch_revocable("ci", "a", "r1", "cpus:4;mem:64").framework("ml", "ml").lines();
    market.demand("ml", vec![shape("train", "cpus:2", &["gpu"], 1)]).wait(Duration::from_secs(2));
    assert!(market.lines().iter().all(|line| !line.starts_with("preempt")), "four cpus are free");
    assert!(market.has_offer("ml", "a"));
}

#[test]
fn who_asks_for_no_device_ends_no_revocable_work() {
    let mut market = with_revocable();
    market.launch_revocable("ci", "a", "r1", "cpus:4;mem:64").launch("ci", "a", "t1", "cpus:4;mem:64");
    market.framework("ml", "ml").demand("ml", vec![shape("s", "cpus:2", &[], 1)]).lines();
    market.wait(Duration::from_secs(5));
    assert!(market.lines().iter().all(|line| !line.starts_with("preempt")));
}

#[test]
fn a_mixture_is_refused() {
    let mut market = with_revocable();
    let offer = market.offer_of("ci", "a");
    let mut both = task("t1", "*", "cpus:1", &[]);
    both.resources.add(&offer.resources.split_revocable().0);
    let launch = crate::model::Operation::Launch(crate::model::TaskGroup::single(both));
    market.accept("ci", &offer, vec![launch]);
    assert_eq!(market.lines()[0], "rejected t1 invalid -> ci");
}

#[test]
fn revocable_work_is_known_as_such_to_the_next_master() {
    let mut market = with_revocable();
    market.launch_revocable("ci", "a", "r1", "cpus:3;mem:64").failover().register("a").subscribe("ci");
    market.demand("ci", vec![shape("build", "cpus:1", &[], 9)]);
    market.decline("ci", "a", 1).wait(Duration::from_secs(2)).lines();
    assert_eq!(market.offered_revocable("ci", "a"), "cpus:1 mem:448");
}

#[test]
fn the_packer_places_work_that_may_be_taken_back_on_what_is_kept() {
    let mut market = with_revocable();
    let offer = market.offer_of("ci", "a");
    let mut packer = Packer::new(&offer.role, [&*offer]);
    let needs = Needs::new(Quantities::of(Milli::from_whole(3), Milli::from_whole(64))).revocable();
    let placement = packer.place(&needs, Strategy::Pack).expect("four cpus are kept");
    assert!(packer.place(&needs, Strategy::Pack).is_none(), "one of them is left");
    let with_port = Needs { ports: 1, ..needs };
    assert!(packer.place(&with_port, Strategy::Pack).is_none(), "ports are not kept for anybody");
    let mut task = task("r1", offer.role.as_str(), "", &[]);
    task.resources = placement.resources.clone();
    packer.launch(&placement, task);
    for plan in packer.into_accepts() {
        market.accept("ci", &offer, plan.operations);
    }
    assert_eq!(market.offered_revocable("ci", "a"), "cpus:1 mem:448");
}

/// The same machine and work as in [`with_revocable`], but what `ci` is offered is locked for it.
fn with_locked_revocable() -> Market {
    let mut market = Market::new();
    market.agent_with("a", "cpus:8;mem:1024", vec![gpu("g"), gpu("h")]);
    market.framework_with("ci", &["*"], OfferMode::Exclusive).takes_revocable("ci");
    market.demand("ci", vec![shape("build", "cpus:1", &[], 9)]);
    market.decline("ci", "a", 1).wait(Duration::from_secs(2)).lines();
    market
}

#[test]
fn an_exclusive_offer_holds_what_may_be_taken_back_and_does_not_lock_it() {
    let mut market = with_locked_revocable();
    assert_eq!(market.offered_revocable("ci", "a"), "cpus:4 mem:512");
    assert_eq!(market.offer_of("ci", "a").resources.plain_quantities().to_string(), "cpus:4 mem:512");
    market.framework("ml", "ml").demand("ml", vec![shape("train", "cpus:2", &["gpu"], 1)]);
    assert_eq!(market.offer_of("ml", "a").resources.to_string(), "cpus:4 mem:512 device:g device:h");
}

#[test]
fn what_an_exclusive_offer_does_not_lock_is_judged_when_it_is_accepted() {
    let mut market = with_locked_revocable();
    market.launch_revocable("ci", "a", "r1", "cpus:3;mem:64");
    assert_eq!(market.lines()[0], "launch ci/r1 on a");
    market.wait(Duration::from_secs(1)).lines();
    assert_eq!(market.offered_revocable("ci", "a"), "cpus:1 mem:448");
    market.framework("ml", "ml").demand("ml", vec![shape("train", "cpus:0.5", &["gpu"], 1)]);
    market.launch_with("ml", "a", "m1", "cpus:1;mem:256", &["gpu"]).lines();
    market.launch_revocable("ci", "a", "r2", "cpus:1;mem:64");
    let lines = market.lines();
    let is_conflict = |line: &String| line.starts_with("rejected r2 offer_conflict");
    assert!(lines.iter().any(is_conflict), "a tenant has taken it meanwhile: {lines:?}");
}

#[test]
fn one_client_has_what_may_be_taken_back_in_one_exclusive_offer() {
    let mut market = with_locked_revocable();
    market.launch("ci", "a", "t1", "cpus:2;mem:64").wait(Duration::from_secs(1));
    market.update("a", "ci", "t1", TaskState::Finished).acknowledge("ci").wait(Duration::from_secs(5)).lines();
    assert_eq!(market.revocable_offers("ci", "a"), 1);
}
