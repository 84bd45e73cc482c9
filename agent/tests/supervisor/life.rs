//! The supervisor survives its agent, and is found again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use rialto_agent::supervisor::client::{self, Liveness};
use rialto_agent::supervisor::protocol::{Command, Frame, KillCause, Outcome, TaskState};

use crate::harness::{PATIENCE, Peer, Run, exists, home, line, pid_in, shell};

#[test]
fn a_new_connection_gets_the_whole_state() {
    let mut run = Run::script("exec sleep 100");
    let pid = run.running("main");
    run.peer = Peer::connect(&run.dir);
    let Some(Frame::Snapshot(snapshot)) = run.peer.next() else { panic!("a snapshot comes first") };
    assert_eq!(snapshot.version, 1);
    assert_eq!(snapshot.pid.unsigned_abs(), run.spawned.child.id());
    assert!(matches!(snapshot.tasks[0].state, TaskState::Running { pid: again, .. } if again == pid));
    assert_eq!(client::liveness(&run.dir).expect("readable"), Liveness::Alive { pid: snapshot.pid });
    run.peer.send(&Command::Kill { task: None, grace_ms: None });
    run.end();
    assert_eq!(client::liveness(&run.dir).expect("readable"), Liveness::Dead);
}

#[test]
fn the_record_survives_without_an_agent() {
    let mut run = Run::script("while ! [ -e go ]; do sleep 0.01; done; exit 6");
    run.running("main");
    run.peer = Peer::new(std::os::unix::net::UnixStream::pair().expect("a pair").0);
    run.spawned.stream.shutdown(std::net::Shutdown::Both).expect("a connection");
    fs::write(run.sandbox("go"), "").expect("a file");
    assert!(run.spawned.child.wait().expect("a child").success());
    let terminal = client::terminal(&run.dir).expect("readable").expect("written");
    assert_eq!(terminal.tasks[0].end.outcome, Outcome::Exited { code: 6 });
    assert!(client::connect(&run.dir).is_err(), "nobody listens any more");
}

#[test]
fn a_fifth_connection_replaces_the_oldest() {
    let mut run = Run::script("exec sleep 100");
    run.running("main");
    let mut others: Vec<_> = (0..4).map(|_| Peer::connect(&run.dir)).collect();
    assert!(others.iter_mut().all(|peer| matches!(peer.next(), Some(Frame::Snapshot(_)))));
    assert!(run.peer.next().is_none(), "the first connection is closed");
    others[0].send(&Command::Kill { task: None, grace_ms: None });
    others[3].find(|frame| matches!(frame, Frame::Finished(_)).then_some(()));
    run.spawned.child.wait().expect("a child");
}

#[test]
fn a_directory_with_a_long_path() {
    let mut home = home();
    let sandbox = home.path().join("sandbox");
    let deep = home.path().join("d".repeat(100)).join("e".repeat(100));
    fs::create_dir_all(&deep).expect("directories");
    let mut task = shell(&home, "main", "exec sleep 100");
    task.sandbox = sandbox;
    home.disable_cleanup(true);
    let inner = tempfile::tempdir_in(&deep).expect("a directory");
    let mut run = Run::start(inner, vec![task]);
    run.running("main");
    Peer::connect(&run.dir).send(&Command::Kill { task: None, grace_ms: None });
    run.end();
    home.disable_cleanup(false);
}

#[test]
fn nobody_else_can_read_or_connect() {
    let mut run = Run::script("exec sleep 100");
    run.running("main");
    let mode = |path| fs::metadata(path).expect("a file").permissions().mode() & 0o777;
    assert_eq!(mode(run.dir.clone()), 0o700);
    Peer::connect(&run.dir);
    for file in ["spec.json", "pid", "sock"] {
        assert_eq!(mode(run.dir.join(file)), 0o600, "{file}");
    }
}

#[test]
fn a_supervisor_that_is_killed_takes_main_processes_with_it() {
    let mut run = Run::script("sh -c 'echo $$ > child; exec sleep 100' & wait");
    let main = run.running("main");
    let child = pid_in(&run.sandbox("child"));
    run.spawned.child.kill().expect("a signal");
    run.spawned.child.wait().expect("a child");
    let deadline = Instant::now() + PATIENCE;
    while client::left_behind(&run.dir).expect("readable").contains(&main) {
        assert!(Instant::now() < deadline, "the kernel kills the main process");
        std::thread::yield_now();
    }
    assert_eq!(client::liveness(&run.dir).expect("readable"), Liveness::Dead);
    assert_eq!(client::terminal(&run.dir).expect("readable"), None);
    assert_eq!(client::left_behind(&run.dir).expect("readable"), [child], "what is left can be found");
    let child = rustix::process::Pid::from_raw(child).expect("a pid");
    rustix::process::kill_process(child, rustix::process::Signal::KILL).expect("a signal");
}

#[test]
fn a_directory_without_a_supervisor() {
    let home = home();
    assert_eq!(client::liveness(home.path()).expect("nothing to read"), Liveness::Never);
    assert_eq!(client::terminal(home.path()).expect("nothing to read"), None);
    fs::write(home.path().join("pid"), "not json").expect("a file");
    assert!(client::liveness(home.path()).is_err());
}

#[test]
fn a_recycled_pid_is_not_a_supervisor() {
    let mut run = Run::script("exec sleep 100");
    run.running("main");
    let path = run.dir.join("pid");
    let mut identity: serde_json::Value =
        serde_json::from_str(line(&path).lines().next().expect("it begins with who it is")).expect("json");
    identity["start_ticks"] = 1.into();
    fs::write(&path, format!("{identity}\n")).expect("a file");
    assert_eq!(client::liveness(&run.dir).expect("readable"), Liveness::Dead);
    assert!(exists(i32::try_from(run.spawned.child.id()).expect("a pid")));
}

#[test]
fn time_and_memory() {
    let home = home();
    let task = shell(&home, "main", "date +%s%N > at; exec sleep 100");
    let asked = Instant::now();
    let mut run = Run::start(home, vec![task]);
    run.running("main");
    let running = asked.elapsed();
    line(&run.sandbox("at"));
    let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", run.spawned.child.id())).expect("a process");
    let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).expect("a sum").trim();
    println!("asked to running: {running:?}, sleeping supervisor: {pss}");
    let kib: u32 = pss.trim_end_matches("kB").trim().parse().expect("a number");
    assert!(kib < 4096, "a sleeping supervisor takes {kib} KiB");
    run.peer.send(&Command::Kill { task: None, grace_ms: None });
    assert_eq!(run.end().killed, Some(KillCause::Requested));
}
