use std::time::Duration;

use crate::master::Config;
use crate::model::{Device, DeviceMode, DeviceState, Health, Milli, OfferMode, Quantities, TaskState};
use crate::testing::{Market, device, shape};

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
