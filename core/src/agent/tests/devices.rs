use super::language::{World, agent_that_keeps, agent_with_gpus, gpu, gpu_task, key, new_agent, slice_task};
use crate::model::{
    Device, DeviceId, DeviceMode, DeviceState, FromAgent, Health, Reason, Share, Slice, SliceState, TaskState, Topology,
};

fn held_by(task: &str) -> DeviceState {
    DeviceState::Allocated(key(task))
}

/// A shared device with these slices.
fn sliced(slices: &[(&str, u16, SliceState)]) -> DeviceState {
    let slice = |(task, share, state): &(&str, u16, SliceState)| {
        (key(task), Slice { share: Share(*share), state: state.clone() })
    };
    DeviceState::Sliced(slices.iter().map(slice).collect())
}

/// An agent with one shared GPU, `gpu-0`.
fn agent_with_shared_gpu() -> World {
    let mut a = new_agent();
    a.discover_devices(vec![Device { mode: DeviceMode::Shared, ..gpu("gpu-0") }]);
    a.connect();
    a
}

#[test]
fn a_device_goes_from_tenant_to_cleaning_to_free() {
    let mut a = agent_with_gpus();
    a.launch_on("t1", &["gpu-0"]);
    let devices = a.expect_start("t1");
    assert_eq!(devices[&key("t1").task][0].id.as_str(), "gpu-0");
    a.expect_device("gpu-0", &held_by("t1"));
    a.running("t1");
    a.expect_update("t1", TaskState::Running);
    a.ack("t1");
    a.exits("t1", 0);
    a.expect_update("t1", TaskState::Finished);
    a.expect_device("gpu-0", &DeviceState::Cleaning { generation: 1 });
    assert_eq!(a.expect_release("gpu-0"), 1);
    a.launch_on("t2", &["gpu-0"]);
    assert_eq!(&*a.expect_update("t2", TaskState::Dropped).message, "device gpu-0 is being cleaned");
    a.cleaned("gpu-0", 1);
    a.expect_message(&FromAgent::DevicesFree(vec![(DeviceId::new("gpu-0"), 1)]));
    a.run_on("t3", &["gpu-0"]);
    a.exits("t3", 0);
    assert_eq!(a.expect_release("gpu-0"), 2, "tenancies are counted");
}

#[test]
fn a_device_has_one_tenant() {
    let mut a = agent_with_gpus();
    a.run_on("t1", &["gpu-0"]);
    a.launch_on("t2", &["gpu-0"]);
    let status = a.expect_update("t2", TaskState::Dropped);
    assert_eq!(status.reason, Some(Reason::DeviceUnavailable));
    // The master, which had given the device to t2, is told who has it.
    assert_eq!(a.expect_devices()[0].state, held_by("t1"));
    a.run_on("t3", &["gpu-1"]);
    a.expect_nothing();
}

#[test]
fn a_device_that_cant_be_cleaned_is_quarantined_and_stays_so() {
    let mut a = agent_with_gpus();
    a.run_on("t1", &["gpu-0"]);
    a.exits("t1", 0);
    a.expect_update("t1", TaskState::Finished);
    let generation = a.expect_release("gpu-0");
    a.not_cleaned("gpu-0", generation, "process 42 holds it");
    a.expect_notice("device gpu-0 is quarantined: process 42 holds it");
    let quarantined = DeviceState::Quarantined { reason: "process 42 holds it".into() };
    assert!(a.expect_devices().iter().any(|report| report.state == quarantined));
    a.crash_and_recover();
    a.discover(&["gpu-0", "gpu-1"]);
    a.expect_device("gpu-0", &quarantined);
    a.connect();
    a.launch_on("t2", &["gpu-0"]);
    let status = a.expect_update("t2", TaskState::Dropped);
    assert_eq!(&*status.message, "device gpu-0 is quarantined: process 42 holds it");
}

#[test]
fn an_answer_about_an_older_tenancy_changes_nothing() {
    let mut a = agent_with_gpus();
    a.run_on("t1", &["gpu-0"]);
    a.cleaned("gpu-0", 1);
    a.expect_device("gpu-0", &held_by("t1"));
    a.exits("t1", 0);
    a.cleaned("gpu-0", 7);
    a.expect_device("gpu-0", &DeviceState::Cleaning { generation: 1 });
}

#[test]
fn nothing_starts_on_a_device_that_was_not_discovered() {
    let mut a = agent_with_gpus();
    a.run_on("t1", &["gpu-0"]);
    a.exits("t1", 0);
    a.expect_update("t1", TaskState::Finished);
    let generation = a.expect_release("gpu-0");
    a.cleaned("gpu-0", generation);
    a.crash_and_recover();
    a.connect();
    a.launch_on("t2", &["gpu-0"]);
    assert_eq!(&*a.expect_update("t2", TaskState::Dropped).message, "device gpu-0 is not present");
}

#[test]
fn a_held_device_that_disappears_stays_held() {
    let mut a = agent_with_gpus();
    a.run_on("t1", &["gpu-0"]);
    a.discover(&["gpu-1"]);
    let reports = a.expect_devices();
    let lost = reports.iter().find(|report| report.device.id.as_str() == "gpu-0").expect("it is reported");
    assert_eq!((lost.device.health, &lost.state), (Health::Unhealthy, &held_by("t1")));
    a.exits("t1", 0);
    a.expect_update("t1", TaskState::Finished);
    a.expect_nothing();
    a.discover(&["gpu-0", "gpu-1"]);
    assert_eq!(a.expect_release("gpu-0"), 1, "it is cleaned once it is there again");
}

#[test]
fn a_free_device_that_disappears_is_reported_no_more() {
    let mut a = agent_with_gpus();
    a.discover(&["gpu-1"]);
    assert_eq!(a.expect_devices().len(), 1);
    a.discover(&["gpu-1"]);
    a.expect_nothing();
}

#[test]
fn a_device_belongs_to_the_source_that_told_of_it_first() {
    let mut a = agent_with_gpus();
    a.step(crate::agent::Input::Discovered { source: "other".into(), devices: vec![gpu("gpu-0")] });
    a.expect_notice("device gpu-0 of source other is left out");
    a.expect_nothing();
}

#[test]
fn cleaning_is_started_again_after_a_crash() {
    let mut a = agent_with_gpus();
    a.run_on("t1", &["gpu-0"]);
    a.exits("t1", 0);
    a.crash_and_recover();
    a.expect_nothing();
    a.discover(&["gpu-0", "gpu-1"]);
    assert_eq!(a.expect_release("gpu-0"), 1);
    a.discover(&["gpu-0", "gpu-1"]);
    a.expect_nothing();
}

#[test]
fn a_shared_device_is_given_out_in_slices() {
    let mut a = agent_with_shared_gpu();
    a.launch_group(vec![slice_task("t1", "gpu-0", 600)]);
    a.launch_group(vec![slice_task("t2", "gpu-0", 400)]);
    a.launch_group(vec![slice_task("t3", "gpu-0", 1)]);
    a.expect_start("t1");
    a.expect_start("t2");
    assert_eq!(&*a.expect_update("t3", TaskState::Dropped).message, "device gpu-0 has not that much left");
    assert_eq!(a.expect_devices()[0].state, sliced(&[("t1", 600, SliceState::Held), ("t2", 400, SliceState::Held)]));
}

#[test]
fn each_slice_is_cleaned_for_itself() {
    let mut a = agent_with_shared_gpu();
    a.launch_group(vec![slice_task("t1", "gpu-0", 600)]);
    a.launch_group(vec![slice_task("t2", "gpu-0", 400)]);
    a.exits("t1", 0);
    a.expect_update("t1", TaskState::Finished);
    let left = ("t1", 600, SliceState::Cleaning { generation: 1 });
    a.expect_device("gpu-0", &sliced(&[left.clone(), ("t2", 400, SliceState::Held)]));
    assert_eq!(a.expect_slice_release("gpu-0", "t1"), 1);
    a.launch_group(vec![slice_task("t3", "gpu-0", 1)]);
    assert_eq!(&*a.expect_update("t3", TaskState::Dropped).message, "device gpu-0 has not that much left");
    a.exits("t2", 0);
    assert_eq!(a.expect_slice_release("gpu-0", "t2"), 2);
    a.cleaned("gpu-0", 1);
    a.expect_message(&FromAgent::SlicesFree(vec![(DeviceId::new("gpu-0"), key("t1"))]));
    a.launch_group(vec![slice_task("t4", "gpu-0", 600)]);
    a.expect_start("t4");
    a.cleaned("gpu-0", 2);
    a.expect_device("gpu-0", &sliced(&[("t4", 600, SliceState::Held)]));
}

#[test]
fn the_whole_of_a_shared_device_is_given_out_alone() {
    let mut a = agent_with_shared_gpu();
    a.launch_group(vec![slice_task("t1", "gpu-0", 1)]);
    a.launch_on("t2", &["gpu-0"]);
    assert_eq!(&*a.expect_update("t2", TaskState::Dropped).message, "device gpu-0 has not that much left");
    a.exits("t1", 0);
    a.cleaned("gpu-0", 1);
    a.expect_device("gpu-0", &DeviceState::Free);
    a.launch_on("t3", &["gpu-0"]);
    a.expect_start("t3");
    a.launch_group(vec![slice_task("t4", "gpu-0", 1)]);
    a.expect_update("t4", TaskState::Dropped);
}

#[test]
fn a_slice_that_cant_be_cleaned_is_quarantined_and_the_rest_is_not() {
    let mut a = agent_with_shared_gpu();
    a.launch_group(vec![slice_task("t1", "gpu-0", 600)]);
    a.exits("t1", 0);
    a.not_cleaned("gpu-0", 1, "its memory is not free");
    a.expect_notice("device gpu-0 is quarantined: its memory is not free");
    let quarantined = sliced(&[("t1", 600, SliceState::Quarantined { reason: "its memory is not free".into() })]);
    assert_eq!(a.expect_devices()[0].state, quarantined);
    a.launch_group(vec![slice_task("t2", "gpu-0", 401)]);
    a.expect_update("t2", TaskState::Dropped);
    a.launch_group(vec![slice_task("t3", "gpu-0", 400)]);
    a.expect_start("t3");
}

#[test]
fn slices_survive_a_crash() {
    let mut a = agent_with_shared_gpu();
    a.launch_group(vec![slice_task("t1", "gpu-0", 100)]);
    a.launch_group(vec![slice_task("t2", "gpu-0", 200)]);
    a.running("t2");
    a.exits("t1", 0);
    a.crash_and_recover();
    a.discover_devices(vec![Device { mode: DeviceMode::Shared, ..gpu("gpu-0") }]);
    let left = ("t1", 100, SliceState::Cleaning { generation: 1 });
    a.expect_device("gpu-0", &sliced(&[left, ("t2", 200, SliceState::Held)]));
    assert_eq!(a.expect_slice_release("gpu-0", "t1"), 1);
}

#[test]
fn the_devices_given_must_meet_what_holds_across_them() {
    let on_node = |id: &str, node| {
        let topology = Topology { numa_node: Some(node), ..Topology::default() };
        Device { topology, ..gpu(id) }
    };
    let mut a = new_agent();
    a.discover_devices(vec![on_node("gpu-0", 0), on_node("gpu-1", 1)]);
    a.connect();
    let mut task = gpu_task("t1", &["gpu-0", "gpu-1"]);
    task.claims = vec!["2 gpu same-numa".parse().expect("a good claim")];
    a.launch_group(vec![task]);
    let status = a.expect_update("t1", TaskState::Dropped);
    assert_eq!(&*status.message, "device claim 2 gpu same-numa is not met by the devices that were given");
}

#[test]
fn a_slice_of_an_exclusive_device_is_not_given_out() {
    let mut a = agent_with_gpus();
    a.launch_group(vec![slice_task("t1", "gpu-0", 500)]);
    a.expect_update("t1", TaskState::Dropped);
}

#[test]
fn what_changes_before_the_registration_is_answered_is_said_after_it() {
    let mut a = new_agent();
    a.step(crate::agent::Input::Connected);
    assert!(a.expect_report().devices.is_empty());
    a.discover(&["gpu-0"]);
    a.expect_nothing();
    a.registered();
    assert_eq!(a.expect_devices().len(), 1);
}

#[test]
fn each_device_that_is_there_keeps_an_equal_part_of_what_is_kept_of_the_machine() {
    let shares = |a: &World| {
        let reports = a.agent.device_reports().into_iter();
        reports.map(|report| (report.device.id.to_string(), report.device.host_share.to_string())).collect::<Vec<_>>()
    };
    let part = |id: &str, share: &str| (id.to_owned(), share.to_owned());
    let mut a = agent_that_keeps(500);
    a.discover(&["gpu-0", "gpu-1"]);
    assert_eq!(shares(&a), [part("gpu-0", "cpus:1 mem:2048"), part("gpu-1", "cpus:1 mem:2048")]);
    a.discover(&["gpu-1"]);
    assert_eq!(shares(&a), [part("gpu-1", "cpus:2 mem:4096")]);
}
