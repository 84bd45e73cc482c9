//! The condition of devices: debounced, on trial, condemned, cleared by a person.

use super::language::{World, key, new_agent};
use crate::model::{DeviceState, FromAgent, Health, TaskState};

/// An agent with one GPU, `gpu-0`, that is in order.
fn agent_with_one_gpu() -> World {
    let mut a = new_agent();
    a.gpu_is(Health::Healthy);
    a.connect();
    a
}

/// The device fails for good, and is in order again long enough to come back.
fn fall_and_rise(a: &mut World) {
    a.gpu_is(Health::Unhealthy);
    a.wait_s(30);
    a.expect_health("gpu-0", Health::Unhealthy);
    a.gpu_is(Health::Healthy);
    a.wait_s(120);
}

#[test]
fn one_bad_look_does_not_take_a_device_out() {
    let mut a = agent_with_one_gpu();
    a.gpu_is(Health::Unhealthy);
    a.expect_health("gpu-0", Health::Degraded);
    a.gpu_is(Health::Healthy);
    a.expect_health("gpu-0", Health::Healthy);
    a.wait_s(60);
    a.expect_health("gpu-0", Health::Healthy);
    assert_eq!(a.agent.next_deadline(), None, "a quiet device costs nothing");
}

#[test]
fn three_bad_looks_of_five_take_a_device_out() {
    let mut a = agent_with_one_gpu();
    a.gpu_is(Health::Unhealthy);
    a.wait_s(9);
    a.expect_health("gpu-0", Health::Degraded);
    a.wait_s(1);
    a.expect_health("gpu-0", Health::Unhealthy);
    a.launch_on("t1", &["gpu-0"]);
    assert_eq!(&*a.expect_update("t1", TaskState::Dropped).message, "device gpu-0 is unhealthy");
    assert_eq!(a.agent.next_deadline().map(|due| due > a.now), Some(true), "only the update is sent again");
}

#[test]
fn a_device_that_flickers_is_taken_out_as_well() {
    let mut a = agent_with_one_gpu();
    for _ in 0..3 {
        a.gpu_is(Health::Unhealthy);
        a.gpu_is(Health::Healthy);
    }
    a.expect_health("gpu-0", Health::Unhealthy);
}

#[test]
fn a_device_that_was_unhealthy_is_on_trial_before_it_comes_back() {
    let mut a = agent_with_one_gpu();
    a.gpu_is(Health::Unhealthy);
    a.wait_s(10);
    a.gpu_is(Health::Healthy);
    a.expect_health("gpu-0", Health::Unhealthy);
    a.wait_s(10);
    a.expect_health("gpu-0", Health::Probation);
    a.launch_on("t1", &["gpu-0"]);
    assert_eq!(&*a.expect_update("t1", TaskState::Dropped).message, "device gpu-0 is probation");
    a.wait_s(59);
    a.expect_health("gpu-0", Health::Probation);
    a.wait_s(1);
    a.expect_health("gpu-0", Health::Healthy);
}

#[test]
fn a_bad_look_on_trial_ends_it() {
    let mut a = agent_with_one_gpu();
    a.gpu_is(Health::Unhealthy);
    a.wait_s(10);
    a.gpu_is(Health::Healthy);
    a.wait_s(30);
    a.expect_health("gpu-0", Health::Probation);
    a.gpu_is(Health::Unhealthy);
    a.expect_health("gpu-0", Health::Unhealthy);
}

#[test]
fn a_device_that_fails_four_times_an_hour_is_quarantined() {
    let mut a = agent_with_one_gpu();
    (0..3).for_each(|_| fall_and_rise(&mut a));
    a.expect_health("gpu-0", Health::Healthy);
    fall_and_rise(&mut a);
    a.expect_notice("device gpu-0 is not given out any more: it became unhealthy 4 times within 60 min");
    let quarantined = DeviceState::Quarantined { reason: "it became unhealthy 4 times within 60 min".into() };
    a.expect_device("gpu-0", &quarantined);
    a.crash_and_recover();
    a.gpu_is(Health::Healthy);
    a.expect_device("gpu-0", &quarantined);
}

#[test]
fn a_device_that_fails_now_and_then_is_not_quarantined() {
    let mut a = agent_with_one_gpu();
    for _ in 0..8 {
        fall_and_rise(&mut a);
        a.wait_s(1_100);
    }
    a.expect_device("gpu-0", &DeviceState::Free);
}

#[test]
fn a_device_that_fails_too_often_under_its_tenant_is_quarantined_once_it_is_clean() {
    let mut a = agent_with_one_gpu();
    a.run_on("t1", &["gpu-0"]);
    (0..4).for_each(|_| fall_and_rise(&mut a));
    a.expect_device("gpu-0", &DeviceState::Allocated(key("t1")));
    a.crash_and_recover();
    a.gpu_is(Health::Healthy);
    a.connect();
    a.exits("t1", 0);
    a.cleaned("gpu-0", 1);
    let quarantined = DeviceState::Quarantined { reason: "it became unhealthy 4 times within 60 min".into() };
    a.expect_device("gpu-0", &quarantined);
    assert_eq!(a.expect_devices()[0].state, quarantined, "and the master is told so, not that it is free");
}

#[test]
fn a_quarantined_device_is_cleaned_again_when_a_person_says_so() {
    let mut a = agent_with_one_gpu();
    a.run_on("t1", &["gpu-0"]);
    a.exits("t1", 0);
    a.expect_release("gpu-0");
    a.not_cleaned("gpu-0", 1, "process 42 holds it");
    a.clear("gpu-0");
    assert_eq!(a.expect_release("gpu-0"), 2);
    a.not_cleaned("gpu-0", 2, "process 42 still holds it");
    a.expect_device("gpu-0", &DeviceState::Quarantined { reason: "process 42 still holds it".into() });
    a.clear("gpu-0");
    assert_eq!(a.expect_release("gpu-0"), 3);
    a.cleaned("gpu-0", 3);
    a.expect_message(&FromAgent::DevicesFree(vec![(crate::model::DeviceId::new("gpu-0"), 3)]));
    a.run_on("t2", &["gpu-0"]);
}

#[test]
fn a_person_pardons_a_device_that_failed_too_often() {
    let mut a = agent_with_one_gpu();
    (0..4).for_each(|_| fall_and_rise(&mut a));
    a.clear("gpu-0");
    let generation = a.expect_release("gpu-0");
    a.cleaned("gpu-0", generation);
    a.expect_device("gpu-0", &DeviceState::Free);
    fall_and_rise(&mut a);
    a.expect_device("gpu-0", &DeviceState::Free);
}

#[test]
fn a_device_that_is_gone_is_unhealthy_at_once() {
    let mut a = agent_with_one_gpu();
    a.run_on("t1", &["gpu-0"]);
    a.discover(&[]);
    a.expect_health("gpu-0", Health::Unhealthy);
    a.discover(&["gpu-0"]);
    a.expect_health("gpu-0", Health::Unhealthy);
    a.wait_s(70);
    a.expect_health("gpu-0", Health::Healthy);
}
