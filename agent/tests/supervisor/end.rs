//! How tasks and everything below them are brought to an end.

use std::fs;
use std::time::{Duration, Instant};

use rialto_agent::supervisor::client;
use rialto_agent::supervisor::protocol::{Command, Frame, KillCause, Outcome};

use crate::harness::{Run, exists, home, line, pid_in, shell};

const KILL: Command = Command::Kill { task: None, grace_ms: None };

/// A sandbox with a script that ignores SIGTERM and writes its pid into the file that it is given, and a member that runs `script` there.
fn with_stubborn(script: &str, grace_ms: u32) -> Run {
    let home = home();
    let stubborn = "trap '' TERM\necho $$ > $1\nwhile :; do sleep 100; done\n";
    fs::write(home.path().join("sandbox/stubborn"), stubborn).expect("a script");
    let mut task = shell(&home, "main", script);
    task.grace_ms = grace_ms;
    Run::start(home, vec![task])
}

#[test]
fn kill_lets_the_task_end_itself() {
    let mut run = Run::script("trap 'exit 3' TERM; echo ready > ready; while :; do sleep 0.01; done");
    line(&run.sandbox("ready"));
    run.peer.send(&KILL);
    let end = run.end();
    assert_eq!((end.outcome, end.killed), (Outcome::Exited { code: 3 }, Some(KillCause::Requested)));
}

#[test]
fn kill_after_the_grace_period() {
    let mut run = with_stubborn("exec sh ./stubborn pid", 300);
    line(&run.sandbox("pid"));
    let asked = Instant::now();
    run.peer.send(&KILL);
    let end = run.end();
    assert!(asked.elapsed() >= Duration::from_millis(300), "{:?}", asked.elapsed());
    assert_eq!((end.outcome, end.killed), (Outcome::Signaled { signal: 9 }, Some(KillCause::Requested)));
}

#[test]
fn a_second_kill_shortens_the_grace_period() {
    let mut run = with_stubborn("exec sh ./stubborn pid", 10_000);
    line(&run.sandbox("pid"));
    run.peer.send(&KILL);
    run.peer.send(&Command::Kill { task: Some("main".to_owned()), grace_ms: Some(0) });
    let asked = Instant::now();
    assert_eq!(run.end().outcome, Outcome::Signaled { signal: 9 });
    assert!(asked.elapsed() < Duration::from_secs(5), "less than the grace period of the spec");
}

#[test]
fn maximum_run_time() {
    let home = home();
    let mut task = shell(&home, "main", "exec sleep 100");
    task.max_run_ms = Some(200);
    let mut run = Run::start(home, vec![task]);
    let end = run.end();
    assert_eq!((end.outcome, end.killed), (Outcome::Signaled { signal: 15 }, Some(KillCause::TimedOut)));
    assert!(end.ended_unix_ms - end.started_unix_ms.expect("it was started") >= 199);
}

#[test]
fn sigterm_to_the_supervisor_ends_the_group() {
    let mut run = Run::script("exec sleep 100");
    run.running("main");
    client::terminate(&run.dir).expect("alive");
    assert_eq!(run.end().killed, Some(KillCause::Shutdown));
}

#[test]
fn signals_of_a_terminal_do_not_reach_the_task() {
    let mut run = Run::script("exec sleep 100");
    run.running("main");
    let supervisor = rustix::process::Pid::from_raw(run.spawned.child.id().cast_signed()).expect("a pid");
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::HUP, rustix::process::Signal::QUIT] {
        rustix::process::kill_process(supervisor, signal).expect("a signal");
    }
    run.peer.send(&Command::Signal { task: None, signal: 10 });
    let end = run.end();
    assert_eq!((end.outcome, end.killed), (Outcome::Signaled { signal: 10 }, None));
}

#[test]
fn commands_that_make_no_sense_are_refused() {
    let mut run = Run::script("exec sleep 100");
    run.peer.send(&Command::Kill { task: Some("other".to_owned()), grace_ms: None });
    run.peer.send(&Command::Signal { task: None, signal: 1000 });
    run.peer.send_bytes(b"{\"kill\":{\"task\":null,\"grace_ms\":null,\"now\":true}}\n");
    let mut reason =
        || run.peer.find(|frame| if let Frame::Refused { reason } = frame { Some(reason.clone()) } else { None });
    assert_eq!(reason(), "task: expected a member of this group, found \"other\"");
    assert_eq!(reason(), "signal: expected the number of a standard signal, found 1000");
    assert!(reason().starts_with("frame: unknown field `now`"));
    assert!(run.peer.next().is_none(), "a peer that speaks something else is disconnected");
    run.peer = crate::harness::Peer::connect(&run.dir);
    run.peer.send(&KILL);
    run.end();
}

#[test]
fn orphans_that_left_session_and_group_are_ended() {
    let mut run = Run::script(
        "setsid sh -c 'setsid sh -c \"echo \\$\\$ > orphan; exec sleep 100\" & exit 0' & wait; \
                               while ! [ -s orphan ]; do sleep 0.01; done; exit 5",
    );
    let end = run.end();
    assert_eq!((end.outcome, end.killed), (Outcome::Exited { code: 5 }, None));
    assert!(!exists(pid_in(&run.sandbox("orphan"))), "the orphan ends before the task's end is told");
}

#[test]
fn a_child_that_ignores_sigterm_is_killed_after_the_grace_period() {
    let mut run = with_stubborn("setsid sh ./stubborn child & while ! [ -s child ]; do sleep 0.01; done; exit 0", 200);
    let child = pid_in(&run.sandbox("child"));
    let end = run.end();
    assert_eq!((end.outcome, end.killed), (Outcome::Exited { code: 0 }, None));
    assert!(!exists(child));
}

#[test]
fn grace_of_zero_kills_whole_trees() {
    let script = "sh ./stubborn a & setsid sh ./stubborn b & setsid sh -c 'setsid sh ./stubborn c & exit' & wait";
    let mut run = with_stubborn(script, 10_000);
    let pids = ["a", "b", "c"].map(|file| pid_in(&run.sandbox(file)));
    run.peer.send(&Command::Kill { task: None, grace_ms: Some(0) });
    run.end();
    assert!(pids.iter().all(|&pid| !exists(pid)));
}

#[test]
fn processes_that_fork_and_exit_all_the_time_are_caught() {
    let home = home();
    let relay = "trap '' TERM\n[ $1 -lt 2000 ] && setsid sh ./relay $(($1 + 1)) &\nexit\n";
    fs::write(home.path().join("sandbox/relay"), relay).expect("a script");
    let mut task = shell(&home, "main", "for i in 1 2 3 4; do sh ./relay 0; done; sleep 0.05");
    task.grace_ms = 0;
    let mut run = Run::start(home, vec![task]);
    assert_eq!(run.end().outcome, Outcome::Exited { code: 0 });
    let sandbox = run.home.path().join("sandbox");
    let processes = fs::read_dir("/proc").expect("proc").flatten();
    let alive = processes.filter(|entry| fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == sandbox));
    assert_eq!(alive.count(), 0);
}

#[test]
fn a_storm_of_orphans_leaves_no_zombie() {
    let mut run =
        Run::script("i=0; while [ $i -lt 2000 ]; do (true &) ; i=$((i+1)); done; echo done > done; exec sleep 100");
    line(&run.sandbox("done"));
    let main = run.running("main");
    let supervisor = run.spawned.child.id();
    let children = format!("/proc/{supervisor}/task/{supervisor}/children");
    let deadline = Instant::now() + crate::harness::PATIENCE;
    while fs::read_to_string(&children).expect("children").trim() != main.to_string() {
        assert!(Instant::now() < deadline, "orphans are reaped");
        std::thread::yield_now();
    }
    run.peer.send(&KILL);
    assert_eq!(run.end().killed, Some(KillCause::Requested));
}
