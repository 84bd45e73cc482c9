//! Devices at the master: slices, what is free, and what a person says of a quarantined one.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{
    AgentId, Device, DeviceId, DeviceMode, DeviceState, OfferMode, Operation, Resources, Share, TaskGroup, TaskState,
    Term,
};
use crate::testing::{Market, device, shape, task};

use super::Command;

const AGENT: AgentId = AgentId::new(Term(1), 1);

fn shared(id: &str) -> Device {
    Device { mode: DeviceMode::Shared, ..device(id, "gpu", "A1") }
}

/// One agent with a shared GPU called `g`, and a framework.
fn with_shared_gpu() -> Market {
    let mut market = Market::new();
    market.agent_with("a", "cpus:8;mem:1024", vec![shared("g")]).framework("ci", "*").lines();
    market
}

fn clear(id: &str) -> Command {
    Command::ClearDevice { agent: AGENT, device: DeviceId::new(id) }
}

#[test]
fn a_shared_device_has_several_tenants_and_what_is_left_of_it_is_offered() {
    let mut market = with_shared_gpu();
    market.launch_with("ci", "a", "t1", "cpus:1", &["gpu share 0.3"]);
    market.expect(
        "launch ci/t1 with g/300 on a
         offer a cpus:7 mem:1024 device:g/700 -> ci",
    );
    market.launch_with("ci", "a", "t2", "cpus:1", &["gpu share 0.7"]);
    market.expect(
        "launch ci/t2 with g/700 on a
         offer a cpus:6 mem:1024 -> ci",
    );
    market.launch_with("ci", "a", "t3", "cpus:1", &["gpu share 0.001"]);
    assert_eq!(market.lines()[0], "rejected t3 claim_not_met -> ci");
}

#[test]
fn a_slice_is_offered_again_only_once_it_is_clean_and_the_other_tenant_stays() {
    let mut market = with_shared_gpu();
    market.launch_with("ci", "a", "t1", "cpus:1", &["gpu share 0.3"]);
    market.launch_with("ci", "a", "t2", "cpus:1", &["gpu share 0.7"]).lines();
    market.update("a", "ci", "t1", TaskState::Finished);
    assert_eq!(market.offer_of("ci", "a").resources.to_string(), "cpus:7 mem:1024");
    market.slice_cleaned("a", "g", "ci", "t1");
    assert_eq!(market.offer_of("ci", "a").resources.to_string(), "cpus:7 mem:1024 device:g/300");
    market.slice_cleaned("a", "g", "ci", "t1").slice_cleaned("a", "g", "ci", "t2");
    assert_eq!(
        market.offer_of("ci", "a").resources.to_string(),
        "cpus:7 mem:1024 device:g/300",
        "a repetition frees nothing"
    );
}

#[test]
fn the_whole_of_a_shared_device_waits_until_it_is_alone() {
    let mut market = with_shared_gpu();
    market.launch_with("ci", "a", "t1", "cpus:1", &["gpu share 0.1"]).lines();
    market.demand("ci", vec![shape("whole", "cpus:1", &["gpu"], 1)]);
    assert!(!market.has_offer("ci", "a"));
    market.update("a", "ci", "t1", TaskState::Finished).slice_cleaned("a", "g", "ci", "t1").lines();
    market.launch_with("ci", "a", "t2", "cpus:1", &["gpu"]);
    assert_eq!(market.lines()[0], "launch ci/t2 with g on a");
}

#[test]
fn slices_are_known_again_after_a_failover() {
    let mut market = with_shared_gpu();
    market.launch_with("ci", "a", "t1", "cpus:1", &["gpu share 0.3"]).update("a", "ci", "t1", TaskState::Running);
    market.failover().register("a").subscribe("ci");
    assert_eq!(market.offer_of("ci", "a").resources.to_string(), "cpus:7 mem:1024 device:g/700");
}

#[test]
fn a_slice_on_its_way_to_the_agent_is_not_free_in_a_report_that_lacks_it() {
    let mut market = with_shared_gpu();
    market.launch_with("ci", "a", "t1", "cpus:1", &["gpu share 0.3"]);
    let device = Arc::new(shared("g"));
    let report = crate::model::DeviceReport { device, state: DeviceState::Free };
    market.from_agent("a", crate::model::FromAgent::Devices(vec![report]));
    assert_eq!(market.offer_of("ci", "a").resources.to_string(), "cpus:7 mem:1024 device:g/700");
}

#[test]
fn slices_count_by_thousandths_in_the_share_of_their_role() {
    let mut market = Market::new();
    market.agent_with("a", "cpus:100;mem:1024", vec![shared("g"), shared("h")]);
    market.framework("small", "*").framework("large", "*");
    market.launch_with("small", "a", "s1", "cpus:1", &["gpu share 0.1"]);
    market.launch_with("large", "a", "l1", "cpus:1", &["gpu share 0.2"]);
    let view = market.master.view();
    let held: Vec<String> = view.frameworks.values().map(|row| row.allocated.to_string()).collect();
    let expected = ["cpus:1 device/gpu:0.1 device/gpu/A1:0.1", "cpus:1 device/gpu:0.2 device/gpu/A1:0.2"];
    assert_eq!(held, expected, "of the kind, and of the class");
}

#[test]
fn a_part_of_an_exclusive_device_is_refused() {
    let mut market = Market::new();
    market.agent_with("a", "cpus:8;mem:1024", vec![device("g", "gpu", "A1")]).framework("ci", "*").lines();
    let offer = market.offer_of("ci", "a");
    let mut part = task("t1", "*", "cpus:1", &[]);
    part.resources.add(&Resources::device_shares_of([(DeviceId::new("g"), Share(500))]));
    market.accept("ci", &offer, vec![Operation::Launch(TaskGroup::single(part))]);
    assert_eq!(market.lines()[0], "rejected t1 invalid -> ci");
}

#[test]
fn a_person_has_a_quarantined_device_cleaned_again() {
    let mut market = with_shared_gpu();
    market.operator(clear("g")).expect("reply invalid");
    market.operator(clear("x")).expect("reply invalid");
    market.device_is("a", "g", DeviceState::Quarantined { reason: "a person decides".into() }).lines();
    market.operator(clear("g")).expect("clear g on a\nreply ok");
    market.agent_leaves("a").lines();
    market.operator(clear("g")).expect("reply agent_away");
}

/// One agent with two exclusive GPUs and a shared one, and a framework that takes exclusive offers.
fn with_gpus_to_count() -> Market {
    let mut market = Market::new();
    let devices = vec![device("g", "gpu", "A1"), device("h", "gpu", "A1"), shared("s"), device("f", "fpga", "B")];
    market.agent_with("a", "cpus:8;mem:1024", devices).framework_with("old", &["*"], OfferMode::Exclusive).lines();
    market
}

#[test]
fn an_exclusive_offer_counts_the_free_exclusive_gpus() {
    let mut market = with_gpus_to_count();
    let offer = market.offer_of("old", "a");
    assert_eq!(offer.resources.to_string(), "cpus:8 mem:1024 gpus:2 device:f device:g device:h device:s");
    market.framework("new", "*").decline("old", "a", 60);
    assert!(!market.offer_of("new", "a").resources.to_string().contains("gpus"), "others see instances only");
}

#[test]
fn gpus_that_are_counted_are_resolved_to_instances() {
    let mut market = with_gpus_to_count();
    market.launch("old", "a", "t1", "cpus:1;gpus:1");
    market.expect(
        "launch old/t1 with g on a
         offer a cpus:7 mem:1024 gpus:1 device:f device:h device:s -> old",
    );
    market.launch("old", "a", "t2", "cpus:1;gpus:2");
    assert_eq!(market.lines()[0], "rejected t2 claim_not_met -> old", "a shared one is not counted");
}

#[test]
fn the_two_views_of_a_gpu_cannot_double_book_it() {
    let mut market = with_gpus_to_count();
    let offer = market.offer_of("old", "a");
    let launch = |task| Operation::Launch(TaskGroup::single(task));
    let by_name = || {
        let mut task = task("named", "*", "cpus:1", &[]);
        task.resources.add(&Resources::devices([DeviceId::new("g"), DeviceId::new("h")]));
        task
    };
    let counted = task("counted", "*", "cpus:1;gpus:1", &[]);
    market.accept("old", &offer, vec![launch(by_name()), launch(counted)]);
    let lines = market.lines();
    assert_eq!(lines[0], "launch old/named with g,h on a");
    assert!(lines.contains(&"rejected counted claim_not_met -> old".to_owned()), "{lines:?}");
}

#[test]
fn a_part_of_a_gpu_cannot_be_counted() {
    let mut market = with_gpus_to_count();
    market.launch("old", "a", "t1", "cpus:1;gpus:0.5");
    assert_eq!(market.lines()[0], "rejected t1 invalid -> old");
}

#[test]
fn a_demand_for_counted_gpus_is_met_by_instances() {
    let mut market = with_gpus_to_count();
    market.decline("old", "a", 1).wait(Duration::from_secs(2)).lines();
    market.demand("old", vec![shape("two", "cpus:1;gpus:2", &[], 1)]);
    assert!(market.has_offer("old", "a"));
    market.demand("old", vec![shape("three", "cpus:1;gpus:3", &[], 1)]);
    market.decline("old", "a", 1).wait(Duration::from_secs(2));
    assert!(!market.has_offer("old", "a"));
}

#[test]
fn a_slice_that_is_clean_is_not_free_while_tasks_hold_more_than_the_machine_has() {
    let mut market = with_shared_gpu();
    market.launch_with("ci", "a", "t1", "cpus:1", &["gpu share 0.3"]).launch("ci", "a", "t2", "cpus:6");
    market.resize("a", "cpus:4;mem:1024").update("a", "ci", "t1", TaskState::Finished);
    market.slice_cleaned("a", "g", "ci", "t1");
    assert!(!market.has_offer("ci", "a"), "t2 alone holds more than there is");
    market.update("a", "ci", "t2", TaskState::Finished);
    assert_eq!(market.offer_of("ci", "a").resources.to_string(), "cpus:4 mem:1024 device:g");
}
