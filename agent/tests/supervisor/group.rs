//! Members of a group live and die together.

use std::time::Duration;

use rialto_agent::supervisor::client;
use rialto_agent::supervisor::protocol::{Command, KillCause, Outcome, TaskEnd, TaskState, Terminal};

use crate::harness::{Peer, Run, exists, home, line, pid_in, shell};

fn group(scripts: &[(&str, &str)]) -> Run {
    let home = home();
    let tasks = scripts.iter().map(|(name, script)| {
        let mut task = shell(&home, name, script);
        task.sandbox = home.path().join(name);
        std::fs::create_dir(&task.sandbox).expect("a sandbox");
        task
    });
    let tasks = tasks.collect();
    Run::start(home, tasks)
}

fn ends(terminal: Terminal) -> Vec<TaskEnd> {
    terminal.tasks.into_iter().map(|task| task.end).collect()
}

fn ended(state: &TaskState) -> Option<TaskEnd> {
    if let TaskState::Ended(end) = state { Some(end.clone()) } else { None }
}

#[test]
fn all_finish() {
    let ends = ends(group(&[("a", "echo a"), ("b", "sleep 0.1"), ("c", "true")]).finish());
    assert_eq!(ends.len(), 3);
    assert!(ends.iter().all(TaskEnd::is_success));
}

#[test]
fn one_fails_and_the_others_are_killed() {
    let mut run = group(&[("a", "exec sleep 100"), ("b", "exit 9"), ("c", "trap '' TERM; exec sleep 100")]);
    run.peer.state("b", |state| matches!(state, TaskState::Ending { .. } | TaskState::Ended(_)).then_some(()));
    // The member that ignores SIGTERM has the grace period of the spec, if nobody shortens it.
    run.peer.send(&Command::Kill { task: None, grace_ms: Some(0) });
    let ends = ends(run.finish());
    assert_eq!(ends[1].outcome, Outcome::Exited { code: 9 });
    assert_eq!(
        ends.iter().map(|end| end.killed).collect::<Vec<_>>(),
        [Some(KillCause::GroupMember), None, Some(KillCause::GroupMember)]
    );
}

#[test]
fn one_is_killed_and_the_others_with_it() {
    let mut run = group(&[("a", "exec sleep 100"), ("b", "exec sleep 100")]);
    run.running("b");
    run.peer.send(&Command::Kill { task: Some("b".to_owned()), grace_ms: None });
    let ends = ends(run.finish());
    assert_eq!(ends[0].killed, Some(KillCause::GroupMember));
    assert_eq!(ends[1].killed, Some(KillCause::Requested));
}

#[test]
fn one_cannot_start_and_the_rest_is_not_started() {
    let home = home();
    let mut broken = shell(&home, "b", "true");
    broken.sandbox = "/no/such/sandbox".into();
    let tasks = vec![shell(&home, "a", "exec sleep 100"), broken, shell(&home, "c", "true")];
    let ends = ends(Run::start(home, tasks).finish());
    assert_eq!(ends[0].killed, Some(KillCause::GroupMember));
    assert!(matches!(ends[1].outcome, Outcome::FailedToStart { errno: Some(2), .. }));
    assert_eq!((ends[1].killed, ends[2].killed), (None, Some(KillCause::GroupMember)));
    let Outcome::FailedToStart { error, .. } = &ends[2].outcome else { panic!("{:?}", ends[2]) };
    assert_eq!(error, "not started: the group is being killed");
}

#[test]
fn a_member_ends_before_the_others_and_is_durable_then() {
    let mut run = group(&[("a", "sleep 100 & exit 0"), ("b", "exec sleep 100")]);
    let end = run.peer.state("a", ended);
    assert!(end.is_success());
    let recorded = client::last_state(&run.dir).expect("readable").expect("written");
    assert_eq!(recorded.tasks[0].state, TaskState::Ended(end.clone()));
    run.peer.send(&Command::Kill { task: None, grace_ms: None });
    let ends = ends(run.finish());
    assert_eq!(ends[0], end, "what was told stays true");
    assert_eq!(ends[1].killed, Some(KillCause::Requested));
}

#[test]
fn an_orphan_of_nobody_holds_back_every_end() {
    let mut run = group(&[
        ("a", "setsid sh -c 'sh -c \"echo \\$\\$ > orphan; exec sleep 100\" & exit' & sleep 0.3"),
        ("b", "exec sleep 100"),
    ]);
    let orphan = pid_in(&run.home.path().join("a/orphan"));
    run.peer.state("a", |state| matches!(state, TaskState::Ending { .. }).then_some(()));
    run.peer.send(&Command::Kill { task: None, grace_ms: None });
    run.peer.state("a", ended);
    assert!(!exists(orphan));
    run.finish();
}

#[test]
fn members_have_their_own_grace_period() {
    let home = home();
    let script = "trap '' TERM; echo up > NAME; while :; do sleep 100; done";
    let mut short = shell(&home, "short", &script.replace("NAME", "short"));
    short.grace_ms = 50;
    let long = shell(&home, "long", &script.replace("NAME", "long"));
    let mut run = Run::start(home, vec![short, long]);
    line(&run.sandbox("short"));
    line(&run.sandbox("long"));
    run.peer.send(&Command::Kill { task: None, grace_ms: None });
    run.peer.state("short", ended);
    let recorded = client::last_state(&run.dir).expect("readable").expect("written");
    assert!(matches!(recorded.tasks[1].state, TaskState::Running { .. }));
    let mut other = Peer::connect(&run.dir);
    other.send(&Command::Kill { task: None, grace_ms: Some(u32::try_from(Duration::ZERO.as_millis()).expect("0")) });
    run.finish();
}
