use rialto_sdk::Command as CommandTask;
use rialto_sdk::core::model::{Call, Resources, Source, UpdateId};
use rialto_sdk::core::scheduler::bench::{Bench, config, role, task_id};

use super::*;

fn bench(instances: u32) -> Bench<Policy> {
    let command = CommandTask::argv(["true"]).cpus("1").expect("an amount");
    let needs = command.needs.clone();
    let build: Build = Box::new(move |id, placement| command.task(id, &role("ci"), placement));
    let mut bench = Bench::new(
        config("ci"),
        Policy::new(Job { id: "job".to_owned(), role: role("ci"), needs, instances, priority: 7, build }),
    );
    bench.connect();
    bench
}

fn launched(bench: &mut Bench<Policy>) -> Vec<String> {
    bench.take_launches().iter().map(|(_, task)| task.id.to_string()).collect()
}

/// What the last demand waits for, by number.
fn waiting(bench: &mut Bench<Policy>) -> Option<u32> {
    let calls = bench.take_calls();
    calls.iter().rev().find_map(|call| match call {
        Call::Demand { demand: Some(demand), .. } => Some(demand.shapes.iter().map(|shape| shape.count).sum()),
        _ => None,
    })
}

fn summary(bench: &mut Bench<Policy>) -> Option<Summary> {
    bench.take_effects().into_iter().find_map(|effect| match effect {
        Effect::Done(summary) => Some(summary),
        _ => None,
    })
}

/// The task ends because the cluster failed it.
fn fails_by_the_cluster(bench: &mut Bench<Policy>, task: &str) {
    let mut status =
        Status::new(task_id(task), TaskState::Failed, Source::Agent).because(Reason::SupervisorLost, "gone");
    status.uuid = Some(UpdateId(999));
    bench.event(rialto_sdk::core::model::Event::Update(status));
}

#[test]
fn it_waits_for_its_instances_and_launches_what_fits() {
    let mut bench = bench(3);
    assert_eq!(waiting(&mut bench), Some(3));
    bench.offer(1, "cpus:2;mem:1000");
    assert_eq!(launched(&mut bench), ["job.1", "job.2"]);
    bench.offer(2, "cpus:8;mem:1000");
    assert_eq!(launched(&mut bench), ["job.3"]);
}

#[test]
fn it_is_done_when_all_have_ended() {
    let mut bench = bench(2);
    bench.offer(1, "cpus:2;mem:1000");
    bench.exits(&task_id("job.1"), 0);
    assert_eq!(summary(&mut bench), None);
    bench.exits(&task_id("job.2"), 0);
    assert_eq!(summary(&mut bench), Some(Summary::Success));
}

#[test]
fn the_first_failure_is_the_exit_code() {
    let mut bench = bench(2);
    bench.offer(1, "cpus:2;mem:1000");
    bench.exits(&task_id("job.1"), 7);
    bench.exits(&task_id("job.2"), 9);
    assert_eq!(summary(&mut bench), Some(Summary::Exit(Exit::Code(7))));
}

#[test]
fn what_the_cluster_fails_is_started_anew_under_a_new_id() {
    let mut bench = bench(1);
    bench.offer(1, "cpus:1;mem:1000");
    assert_eq!(launched(&mut bench), ["job"]);
    fails_by_the_cluster(&mut bench, "job");
    bench.offer(1, "cpus:1;mem:1000");
    assert_eq!(launched(&mut bench), ["job-2"]);
    bench.exits(&task_id("job-2"), 0);
    assert_eq!(summary(&mut bench), Some(Summary::Success));
}

#[test]
fn a_cluster_that_fails_it_for_ever_is_given_up() {
    let mut bench = bench(1);
    for start in 1..=INFRASTRUCTURE_RETRIES_MAX + 1 {
        bench.offer(1, "cpus:1;mem:1000");
        let id = if start == 1 { "job".to_owned() } else { format!("job-{start}") };
        assert_eq!(launched(&mut bench), std::slice::from_ref(&id));
        fails_by_the_cluster(&mut bench, &id);
    }
    assert_eq!(summary(&mut bench), Some(Summary::Failed(TaskState::Failed)));
}

#[test]
fn a_launch_that_others_were_faster_than_waits_on() {
    let mut bench = bench(1);
    bench.offer(1, "cpus:1;mem:1000");
    let accept = bench.take_accepts().pop().expect("it accepts");
    bench.reject(&accept, Reject::OfferConflict { left: Resources::new() });
    assert_eq!(waiting(&mut bench), Some(1));
    bench.offer(2, "cpus:1;mem:1000");
    assert_eq!(launched(&mut bench), ["job-2"]);
}

/// The tasks that the user was told are on an agent.
fn told(bench: &mut Bench<Policy>) -> Vec<String> {
    let effects = bench.take_effects().into_iter();
    effects
        .filter_map(|effect| if let Effect::Launched { task, .. } = effect { Some(task.to_string()) } else { None })
        .collect()
}

#[test]
fn the_user_is_told_of_a_launch_when_it_is_known_to_have_won() {
    let mut bench = bench(1);
    bench.offer(1, "cpus:1;mem:1000");
    let accept = bench.take_accepts().pop().expect("it accepts");
    bench.reject(&accept, Reject::OfferConflict { left: Resources::new() });
    bench.offer(2, "cpus:1;mem:1000");
    assert!(told(&mut bench).is_empty());
    bench.update(&task_id("job-2"), TaskState::Running);
    assert_eq!(told(&mut bench), ["job-2"]);
    bench.exits(&task_id("job-2"), 0);
    assert!(told(&mut bench).is_empty());
}

#[test]
fn a_command_that_is_not_there_is_told_from_one_that_may_not_be_executed() {
    let of = |message: &str, reason| {
        NotStarted::of(&Status::new(task_id("job"), TaskState::Failed, Source::Agent).because(reason, message))
    };
    let not_started = |message: &str| of(message, Reason::CommandNotStarted);
    assert_eq!(not_started("command \"x\": No such file or directory (os error 2)"), Some(NotStarted::NotFound));
    assert_eq!(not_started("command \"x\": Permission denied (os error 13)"), Some(NotStarted::NotExecutable));
    let odd = "command \"No such file: x\": Permission denied (os error 13)";
    assert_eq!(not_started(odd), Some(NotStarted::NotExecutable));
    assert_eq!(not_started("command \"x\": Argument list too long (os error 7)"), None);
    assert_eq!(not_started("sandbox \"x\": No such file or directory (os error 2)"), None);
    assert_eq!(of("command \"x\": No such file or directory (os error 2)", Reason::SupervisorLost), None);
}

#[test]
fn a_launch_that_can_never_work_ends_it() {
    let mut bench = bench(1);
    bench.offer(1, "cpus:1;mem:1000");
    let accept = bench.take_accepts().pop().expect("it accepts");
    bench.reject(&accept, Reject::invalid("role", "expected another"));
    assert_eq!(summary(&mut bench), Some(Summary::Failed(TaskState::Error)));
}

#[test]
fn cancelling_kills_what_runs_and_ends_when_it_has_ended() {
    let mut bench = bench(2);
    bench.offer(1, "cpus:1;mem:1000");
    bench.take_calls();
    bench.command(Command::Cancel);
    assert!(bench.take_calls().iter().any(|call| matches!(call, Call::Kill { task, .. } if *task == task_id("job.1"))));
    assert_eq!(summary(&mut bench), None);
    bench.update(&task_id("job.1"), TaskState::Killed);
    assert_eq!(summary(&mut bench), Some(Summary::Cancelled));
}

#[test]
fn cancelling_before_anything_runs_ends_at_once() {
    let mut bench = bench(2);
    bench.command(Command::Cancel);
    assert_eq!(summary(&mut bench), Some(Summary::Cancelled));
}
