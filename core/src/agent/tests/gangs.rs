use super::language::{FRAMEWORK, World, agent, agent_with_gpus, gang, gpu_task, launch_of, task};
use crate::model::{FromAgent, Reject, TaskState, ToAgent};

fn hold(a: &mut World, number: u64, id: &str, resources: &str) {
    a.master_says(ToAgent::Hold { gang: gang(number), groups: vec![launch_of(vec![task(id, resources)])] });
}

fn expect_not_held(a: &mut World) -> Reject {
    a.expect("a refused hold", |effect| match effect {
        crate::agent::Effect::ToMaster(FromAgent::NotHeld(_, reject)) => Some(reject.clone()),
        _ => None,
    })
}

#[test]
fn a_gang_is_held_then_started() {
    let mut a = agent();
    hold(&mut a, 1, "t1", "cpus:3");
    a.expect_message(&FromAgent::Held(gang(1)));
    a.launch("t2", "cpus:2");
    a.expect_update("t2", TaskState::Dropped);
    a.master_says(ToAgent::Start(gang(1)));
    a.expect_start("t1");
    a.master_says(ToAgent::Start(gang(1)));
    a.expect_nothing();
}

#[test]
fn a_hold_survives_a_crash_and_is_reported() {
    let mut a = agent();
    hold(&mut a, 1, "t1", "cpus:3");
    a.crash_and_recover();
    assert_eq!(a.connect().held, [gang(1)]);
    a.master_says(ToAgent::Start(gang(1)));
    a.expect_start("t1");
}

#[test]
fn a_hold_ends_by_itself() {
    let mut a = agent();
    hold(&mut a, 1, "t1", "cpus:3");
    a.expect_message(&FromAgent::Held(gang(1)));
    a.wait(ToAgent::HOLD);
    assert!(matches!(expect_not_held(&mut a), Reject::Invalid { .. }));
    a.master_says(ToAgent::Start(gang(1)));
    expect_not_held(&mut a);
    a.run("t2", "cpus:4");
    a.expect_nothing();
}

#[test]
fn a_released_gang_gives_back_what_was_held() {
    let mut a = agent_with_gpus();
    let groups = vec![launch_of(vec![gpu_task("t1", &["gpu-0"])])];
    a.master_says(ToAgent::Hold { gang: gang(1), groups });
    a.expect_message(&FromAgent::Held(gang(1)));
    a.launch_on("t2", &["gpu-0"]);
    a.expect_update("t2", TaskState::Dropped);
    a.master_says(ToAgent::Release(gang(1)));
    a.launch_on("t3", &["gpu-0"]);
    a.expect_start("t3");
}

#[test]
fn what_does_not_fit_is_not_held() {
    let mut a = agent_with_gpus();
    let same = || launch_of(vec![gpu_task("t1", &["gpu-0"])]);
    let mut other = same();
    other.group.tasks[0].id = "t2".parse().expect("a good name");
    a.master_says(ToAgent::Hold { gang: gang(1), groups: vec![same(), other] });
    assert!(matches!(expect_not_held(&mut a), Reject::ClaimNotMet(_)));
    a.run("t3", "cpus:1");
    hold(&mut a, 2, "t3", "cpus:1");
    assert!(matches!(expect_not_held(&mut a), Reject::DuplicateTask(_)));
    a.master_says(ToAgent::Hold { gang: gang(3), groups: Vec::new() });
    expect_not_held(&mut a);
    a.expect_nothing();
}

#[test]
fn a_repeated_hold_is_held_longer() {
    let mut a = agent();
    hold(&mut a, 1, "t1", "cpus:3");
    a.wait_s(9);
    hold(&mut a, 1, "t1", "cpus:3");
    a.expect_message(&FromAgent::Held(gang(1)));
    a.expect_message(&FromAgent::Held(gang(1)));
    a.wait_s(9);
    a.expect_nothing();
}

#[test]
fn a_removed_framework_holds_nothing() {
    let mut a = agent();
    hold(&mut a, 1, "t1", "cpus:3");
    a.expect_message(&FromAgent::Held(gang(1)));
    a.master_says(ToAgent::RemoveFramework(FRAMEWORK));
    a.master_says(ToAgent::Start(gang(1)));
    expect_not_held(&mut a);
}
