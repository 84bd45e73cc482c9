use std::time::Duration;

use rialto_sdk::TaskSpec;
use rialto_sdk::blobs::{Digest, Unpack, Upload, task_io};
use rialto_sdk::model::{Exit, Reason, Reject, Source, Status, TaskState};
use rialto_sdk::scheduler::{Happening, Out, Scheduler, Wish};

use self::bench::Bench;
use super::*;

mod bench;

const CHAIN: &str =
    "stages: [one, two]\na: {stage: one, script: [x]}\nb: {stage: one, script: [x]}\nc: {stage: two, script: [x]}";

#[test]
fn stages_run_one_after_the_other() {
    let mut run = Bench::of(CHAIN);
    run.expect("a running, b running, c not started");
    run.passes("a");
    run.expect("a passed, b running, c not started");
    run.passes("b");
    run.expect("a passed, b passed, c running");
    assert_eq!(run.result(), None);
    run.passes("c");
    assert_eq!(run.result(), Some(PipelineResult::Passed));
    assert_eq!(PipelineResult::Passed.exit_code(), 0);
}

#[test]
fn needs_go_past_the_stages() {
    let mut run = Bench::of(
        "stages: [one, two, three]\na: {stage: one, script: [x]}\nb: {stage: two, script: [x]}\n\
         at-once: {stage: three, needs: [], script: [x]}\nafter-a: {stage: three, needs: [a], script: [x]}",
    );
    run.expect("a running, b not started, at-once running, after-a not started");
    run.passes("a");
    run.expect("a passed, b running, at-once running, after-a running");
}

#[test]
fn a_matrix_is_as_many_jobs() {
    let mut run = Bench::of(
        "stages: [one, two]\nt: {stage: one, script: [x], parallel: {matrix: [{OS: [a, b]}]}}\ndone: {stage: two, script: [x]}",
    );
    run.expect("t: [a] running, t: [b] running, done not started");
    assert_eq!(run.task("t: [b]").as_str(), "t-b.1.1");
    run.passes("t: [b]");
    run.passes("t: [a]");
    run.expect("t: [a] passed, t: [b] passed, done running");
}

#[test]
fn only_as_many_jobs_run_as_there_is_room_for() {
    let mut run = Bench::on(CHAIN, &[1]);
    run.expect("a running, b waiting, c not started");
    assert_eq!(run.demanded, ["b"]);
    run.passes("a");
    run.expect("a passed, b running, c not started");
    assert!(run.demanded.is_empty());
}

#[test]
fn what_waits_is_told_and_told_again_ever_more_rarely() {
    let mut run = Bench::on(CHAIN, &[]);
    run.after(Duration::from_secs(40));
    let told = |effect: &&Effect| matches!(effect, Effect::JobWaiting { job: 0, since: Time(1_000_000) });
    assert_eq!(run.effects.iter().filter(told).count(), 3, "after 5, 15 and 35 seconds");
    assert_eq!(run.demanded, ["a", "b"]);
}

#[test]
fn a_failure_skips_what_comes_after() {
    let mut run = Bench::of(
        "stages: [one, two, three]\na: {stage: one, script: [x]}\nb: {stage: two, script: [x]}\nc: {stage: three, needs: [b], script: [x]}",
    );
    run.exits("a", 3);
    run.expect("a failed, b skipped, c skipped");
    assert_eq!(run.result(), Some(PipelineResult::Failed));
    let summary = run.policy.summary();
    assert_eq!(summary.jobs[0].message.as_deref(), Some("exit code 3"));
    assert_eq!(summary.result.exit_code(), 1);
}

const CLEANUP: &str = "stages: [build, clean, test, report]\nbuild: {stage: build, script: [x]}\n\
    clean: {stage: clean, when: on_failure, script: [x]}\ntest: {stage: test, script: [x]}\n\
    report: {stage: report, when: always, script: [x]}";

#[test]
fn a_job_for_failures_is_passed_over_when_all_goes_well() {
    let mut run = Bench::of(CLEANUP);
    run.passes("build");
    run.expect("build passed, clean skipped, test running, report not started");
    run.passes("test");
    run.expect("build passed, clean skipped, test passed, report running");
    run.passes("report");
    assert_eq!(run.result(), Some(PipelineResult::Passed));
}

#[test]
fn on_failure_and_always_run_after_a_failure() {
    let mut run = Bench::of(CLEANUP);
    run.exits("build", 1);
    run.expect("build failed, clean running, test not started, report not started");
    run.passes("clean");
    run.expect("build failed, clean passed, test skipped, report running");
    run.passes("report");
    assert_eq!(run.result(), Some(PipelineResult::Failed));
}

#[test]
fn a_needed_job_that_did_not_run_is_missed() {
    let mut run = Bench::of(
        "stages: [one, two, three]\na: {stage: one, script: [x]}\nb: {stage: two, when: on_failure, script: [x]}\n\
         c: {stage: three, needs: [b], script: [x]}",
    );
    run.passes("a");
    run.expect("a passed, b skipped, c skipped");
    assert_eq!(run.result(), Some(PipelineResult::Passed));
}

#[test]
fn a_failure_that_is_allowed_stops_nothing() {
    let mut run = Bench::of(
        "stages: [one, two]\na: {stage: one, script: [x], allow_failure: true}\n\
         b: {stage: one, script: [x], allow_failure: {exit_codes: [7]}}\nc: {stage: two, script: [x]}",
    );
    run.exits("a", 1);
    run.exits("b", 7);
    run.expect("a failed (allowed), b failed (allowed), c running");
    run.passes("c");
    assert_eq!(run.result(), Some(PipelineResult::Passed));
}

#[test]
fn another_exit_code_than_the_allowed_one_fails() {
    let mut run = Bench::of("a: {script: [x], allow_failure: {exit_codes: [7]}}");
    run.exits("a", 8);
    run.expect("a failed");
}

const MANUAL: &str = "stages: [one, two]\nask: {stage: one, script: [x], when: manual, allow_failure: false}\nnext: {stage: two, script: [x]}";

#[test]
fn a_manual_job_holds_up_what_comes_after() {
    let mut run = Bench::of(&format!("{MANUAL}\nb: {{stage: one, script: [x]}}"));
    run.expect("ask manual, next not started, b running");
    run.passes("b");
    run.expect("ask manual, next not started, b passed");
    assert_eq!(run.result(), Some(PipelineResult::Blocked));
}

#[test]
fn a_manual_job_that_may_fail_holds_nothing_up() {
    let mut run =
        Bench::of("stages: [one, two]\nask: {stage: one, script: [x], when: manual}\nnext: {stage: two, script: [x]}");
    run.expect("ask manual, next running");
    run.passes("next");
    assert_eq!(run.result(), Some(PipelineResult::Passed));
}

#[test]
fn a_manual_job_starts_when_the_user_said_so() {
    let mut run = Bench::played(MANUAL, &["ask"]);
    run.expect("ask running, next not started");
    run.passes("ask");
    run.expect("ask passed, next running");
}

#[test]
fn a_manual_job_starts_when_the_user_says_so() {
    let mut run = Bench::of(
        "stages: [one, two]\na: {stage: one, script: [x]}\nask: {stage: one, script: [x], when: manual}\nnext: {stage: two, needs: [ask], script: [x]}",
    );
    run.expect("a running, ask manual, next not started");
    run.command(Command::Play(1));
    run.expect("a running, ask running, next not started");
    run.passes("ask");
    run.expect("a running, ask passed, next running");
}

#[test]
fn a_users_retries_are_bounded() {
    let mut run = Bench::of("a: {script: [x], retry: 2}");
    for _ in 0..2 {
        run.exits("a", 1);
        run.expect("a running");
    }
    run.exits("a", 1);
    run.expect("a failed");
    assert_eq!(run.policy.summary().jobs[0].attempts, 3);
}

#[test]
fn only_failures_of_the_named_class_are_retried() {
    let mut run = Bench::of(
        "a: {script: [x], retry: {max: 1, when: job_execution_timeout}}\nb: {script: [x], retry: {max: 1, exit_codes: [5]}}",
    );
    run.exits("a", 1);
    run.exits("b", 5);
    run.expect("a failed, b running");
    run.exits("b", 4);
    run.expect("a failed, b failed");
}

#[test]
fn a_job_that_runs_too_long_has_timed_out() {
    let mut run = Bench::of("a: {script: [x], timeout: 90s, retry: {max: 1, when: job_execution_timeout}}");
    let body = &run.tasks[&run.task("a")].1.body;
    assert_eq!(TaskSpec::from_body(body).unwrap().max_run, Some(Duration::from_secs(90)));
    run.status("a", TaskState::Failed, Some(Reason::MaxCompletionTime), Some(Exit::Code(143)));
    run.expect("a running");
    run.status("a", TaskState::Failed, Some(Reason::MaxCompletionTime), Some(Exit::Code(143)));
    run.expect("a failed");
}

#[test]
fn the_clusters_failures_cost_the_user_no_retry() {
    let mut run = Bench::of("a: {script: [x], retry: 1}");
    for _ in 0..LOSSES_MAX {
        run.is_lost("a");
        run.expect("a waiting");
        run.after(Duration::from_secs(10));
        run.expect("a running");
    }
    run.exits("a", 1);
    run.expect("a running");
    run.exits("a", 1);
    run.expect("a failed");
}

#[test]
fn the_clusters_failures_are_bounded_too() {
    let mut run = Bench::of("a: {script: [x]}");
    for _ in 0..LOSSES_MAX {
        run.status("a", TaskState::Failed, Some(Reason::LaunchFailed), None);
        run.after(Duration::from_secs(10));
    }
    run.status("a", TaskState::Failed, Some(Reason::LaunchFailed), None);
    run.expect("a failed");
    assert_eq!(run.policy.summary().jobs[0].message.as_deref(), Some("launch failed"));
}

#[test]
fn a_refused_launch_is_tried_again_under_another_name() {
    let mut run = Bench::of("a: {script: [x]}");
    let first = run.task("a");
    run.is_refused("a", Reject::JournalDegraded);
    run.expect("a running");
    assert_ne!(run.task("a"), first);
    assert_eq!(run.policy.summary().jobs[0].attempts, 1);
}

#[test]
fn conflicts_without_end_fail_the_job() {
    let mut run = Bench::of("a: {script: [x]}");
    for _ in 0..=CONFLICTS_MAX {
        run.is_refused("a", Reject::JournalDegraded);
        run.after(Duration::from_secs(7));
    }
    run.expect("a failed");
}

#[test]
fn a_launch_that_is_refused_for_good_fails_the_job_at_once() {
    let mut run = Bench::of("a: {script: [x], retry: 2}");
    run.is_refused("a", Reject::invalid("task.body", "expected less"));
    run.expect("a failed");
    assert_eq!(run.result(), Some(PipelineResult::Failed));
}

#[test]
fn cancelling_kills_what_runs_and_starts_nothing_more() {
    let mut run = Bench::of(&format!("{CHAIN}\nlast: {{stage: two, when: always, script: [x]}}"));
    run.passes("a");
    run.command(Command::Cancel);
    assert_eq!(run.kills, [run.task("b")]);
    run.expect("a passed, b running, c cancelled, last cancelled");
    assert_eq!(run.result(), None);
    run.status("b", TaskState::Killed, Some(Reason::KillRequested), None);
    assert_eq!(run.result(), Some(PipelineResult::Cancelled));
    assert!(run.demanded.is_empty());
}

#[test]
fn what_fails_while_cancelling_is_cancelled() {
    let mut run = Bench::of("a: {script: [x], retry: 2}\nb: {script: [x]}");
    run.command(Command::Cancel);
    run.exits("a", 1);
    run.status("b", TaskState::Unreachable, Some(Reason::AgentDisconnected), None);
    run.expect("a cancelled, b cancelled");
    assert_eq!(run.result(), Some(PipelineResult::Cancelled));
}

#[test]
fn a_job_killed_from_outside_is_not_retried() {
    let mut run = Bench::of("a: {script: [x], retry: 2}");
    run.status("a", TaskState::Killed, Some(Reason::KillRequested), None);
    run.expect("a cancelled");
    assert_eq!(run.result(), Some(PipelineResult::Failed));
}

#[test]
fn a_job_out_of_reach_is_waited_for_and_then_launched_elsewhere() {
    let mut run = Bench::of("a: {script: [x]}");
    run.runs("a");
    run.status("a", TaskState::Unreachable, Some(Reason::AgentDisconnected), None);
    run.expect("a running");
    run.after(Duration::from_secs(100));
    run.runs("a");
    run.after(UNREACHABLE_MAX);
    assert!(run.kills.is_empty(), "it came back");

    run.status("a", TaskState::Unreachable, Some(Reason::AgentDisconnected), None);
    let first = run.task("a");
    run.after(UNREACHABLE_MAX + Duration::from_secs(1));
    assert_eq!(run.kills, std::slice::from_ref(&first));
    assert_ne!(run.task("a"), first);
    run.happens(Happening::Update(Status::new(first, TaskState::Finished, Source::Agent)));
    run.expect("a running");
}

#[test]
fn a_refused_framework_ends_the_run() {
    let mut run = Bench::of(CHAIN);
    run.happens(Happening::Refused(Reject::Superseded));
    run.expect("a cancelled, b cancelled, c cancelled");
    assert_eq!(run.result(), Some(PipelineResult::Cancelled));
}

const ARTIFACTS: &str = "stages: [one, two]\na: {stage: one, script: [x], artifacts: {paths: [out/, ./log*.txt]}}\n\
    b: {stage: one, script: [x], artifacts: {paths: [.], when: on_failure}}\n\
    c: {stage: two, script: [x]}\nd: {stage: two, needs: [{job: a, artifacts: false}], script: [x]}";

#[test]
fn artefacts_go_to_those_who_need_them() {
    let mut run = Bench::of(ARTIFACTS);
    let manifest = run.manifest("a");
    assert_eq!(manifest.outputs[0].paths, ["workspace/out", "workspace/log*.txt"]);
    assert_eq!(manifest.outputs[0].upload, Upload::OnSuccess);
    assert_eq!(manifest.check(), Ok(()));
    let of_b = run.manifest("b");
    assert_eq!((&*of_b.outputs[0].paths[0], of_b.outputs[0].upload), ("workspace", Upload::OnFailure));

    let digest = run.uploads("a");
    run.status("a", TaskState::Finished, None, Some(Exit::Code(0)));
    run.status("b", TaskState::Finished, None, Some(Exit::Code(0)));
    run.expect("a passed, b passed, c running, d running");
    let inputs = run.manifest("c").inputs;
    let seen: Vec<_> = inputs.iter().map(|input| (input.digest, &*input.path, input.unpack)).collect();
    let script = Digest::of(&script_bytes(&run.pipeline.jobs[2]));
    assert_eq!(
        seen,
        [
            (Digest::of(b"source"), "workspace", Unpack::Tar),
            (digest, ".", Unpack::Tar),
            (script, "job.sh", Unpack::None)
        ]
    );
    assert_eq!(run.manifest("d").inputs.len(), 2);
    assert_eq!(run.policy.summary().jobs[0].artifacts, Some(digest));
}

#[test]
fn the_report_may_come_after_the_end() {
    let mut run = Bench::of(ARTIFACTS);
    run.passes("b");
    run.status("a", TaskState::Finished, None, Some(Exit::Code(0)));
    run.expect("a running, b passed, c not started, d not started");
    run.uploads("a");
    run.expect("a passed, b passed, c running, d running");
}

#[test]
fn a_report_that_never_comes_is_the_clusters_failure() {
    let mut run = Bench::of(ARTIFACTS);
    run.status("a", TaskState::Finished, None, Some(Exit::Code(0)));
    let first = run.task("a");
    run.after(REPORT_GRACE + Duration::from_secs(1));
    assert_ne!(run.task("a"), first);
}

#[test]
fn the_wrappers_own_failures_are_told_from_the_scripts() {
    let mut run = Bench::of("a: {script: [x]}\nb: {script: [x]}\nc: {script: [x]}");
    run.exits("a", task_io::FETCH_FAILED);
    run.exits("b", task_io::UPLOAD_FAILED);
    run.command(Command::Uploaded { task: run.task("c"), outputs: Vec::new() });
    run.exits("c", task_io::FETCH_FAILED);
    run.after(REPORT_GRACE + Duration::from_secs(1));
    run.expect("a running, b failed, c failed");
    let messages: Vec<_> = run.policy.summary().jobs.into_iter().filter_map(|job| job.message).collect();
    assert_eq!(messages, ["its artefacts could not be uploaded", "exit code 126"]);
}

#[test]
fn a_failed_jobs_artefacts_are_kept_where_the_file_says_so() {
    let mut run = Bench::of(
        "stages: [one, two]\na: {stage: one, script: [x], artifacts: {paths: [log], when: always}}\nb: {stage: two, when: on_failure, script: [x]}",
    );
    let digest = run.uploads("a");
    run.exits("a", 1);
    assert!(run.manifest("b").inputs.iter().any(|input| input.digest == digest));
}

#[test]
fn a_job_that_wants_a_device_waits_for_one() {
    let mut run = Bench::of("a: {script: [x], resources: {devices: [\"gpu: model == \\\"X1\\\"\"]}}");
    run.expect("a waiting");
    run.add_machine_with("gpu");
    run.expect("a running");
    assert_eq!(bench::devices(&run.tasks[&run.task("a")].1.resources), ["gpu-0"]);
    assert_eq!(run.policy.summary().jobs[0].agent.as_deref(), Some("m1"));
}

#[test]
fn a_task_runs_the_script_through_the_wrapper_with_the_jobs_variables() {
    let run = Bench::of("a: {script: [x], variables: {WHO: me, RIALTO_IO_TOKEN: forged}}");
    let spec = TaskSpec::from_body(&run.tasks[&run.task("a")].1.body).unwrap();
    let value = |name: &str| spec.env.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    assert_eq!(value("WHO"), Some("me"));
    assert_eq!(value("CI_JOB_NAME"), Some("a"));
    assert_eq!(value(task_io::URL), Some("http://store"));
    assert_eq!(value(task_io::TOKEN).map(str::len), Some(64));
}

#[test]
fn a_tasks_grant_ends_with_it() {
    let mut run = Bench::of("a: {script: [x]}");
    let task = run.task("a");
    run.passes("a");
    assert!(run.effects.contains(&Effect::Revoke(task)));
}

#[test]
fn names_make_good_ids() {
    assert_eq!(task::task_id("build: [debian, x86]", 3, 1).as_str(), "build-debian-x86.3.1");
    assert_eq!(task::task_id("…/ü", 0, 2).as_str(), ".0.2");
    assert_eq!(task::task_id(&"x".repeat(255), 0, 1).as_str().len(), 64);
}

#[test]
fn leaving_removes_the_framework() {
    let mut run = Bench::of("a: {script: [x]}");
    run.passes("a");
    let mut out = Out::default();
    run.policy.on_event(run.now, Happening::Command(Command::Leave), &mut out);
    assert_eq!(out.into_wishes(), [Wish::Teardown]);
}
