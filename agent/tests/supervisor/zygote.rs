//! Supervisors that are forked from a zygote.

use std::fs;

use rialto_agent::supervisor::Spawner;
use rialto_agent::supervisor::client::{self, Liveness, PidNamespace};
use rialto_agent::supervisor::protocol::{
    Command, Container, Durability, Namespaces, Network, Outcome, Right, Root, Spec, VERSION,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Peer, Run, exe, exists, home, line, shell};

fn spec(home: &tempfile::TempDir, script: &str) -> Spec {
    let tasks = vec![shell(home, "main", script)];
    Spec { version: VERSION, durability: Durability::ProcessLoss, container: None, tasks }
}

fn spawner() -> Spawner {
    let spawner = Spawner::new(&exe());
    spawner.warm_up();
    spawner
}

fn zygote(spawner: &Spawner) -> i32 {
    spawner.zygote().expect("it was started").cast_signed()
}

fn run(spawner: &Spawner, script: &str) -> Run {
    let home = home();
    let spec = spec(&home, script);
    Run::from(home, &spec, |dir| spawner.spawn(dir, PidNamespace::of(&spec)))
}

fn parent(pid: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("a parent");
    line.trim().parse().expect("a number")
}

#[test]
fn a_zygote_forks_supervisors_that_are_children_of_the_agent() {
    let spawner = spawner();
    let mut first = run(&spawner, "exec sleep 100");
    let mut second = run(&spawner, "exit 3");
    assert_eq!(second.end().outcome, Outcome::Exited { code: 3 });
    first.running("main");
    let supervisor = first.spawned.child.id();
    assert_eq!(parent(supervisor), std::process::id());
    assert_eq!(client::liveness(&first.dir).expect("readable"), Liveness::Alive { pid: supervisor.cast_signed() });
    first.peer.send(&Command::Kill { task: None, grace_ms: None });
    assert_eq!(first.end().outcome, Outcome::Signaled { signal: 15 });
}

#[test]
fn a_forked_supervisor_is_seen_by_its_folder() {
    let spawner = spawner();
    let mut run = run(&spawner, "exec sleep 100");
    run.running("main");
    let arguments = fs::read(format!("/proc/{}/cmdline", run.spawned.child.id())).expect("a process");
    let arguments = String::from_utf8(arguments).expect("text");
    let mut arguments = arguments.trim_end_matches('\0').split('\0').skip(1);
    assert_eq!(arguments.next(), Some("supervise"));
    assert_eq!(arguments.next(), Some(&*run.dir.to_string_lossy()));
    assert_eq!(arguments.next(), None);
}

#[test]
fn a_forked_supervisor_holds_nothing_of_the_zygote() {
    let spawner = spawner();
    let mut run = run(&spawner, "ls -l /proc/self/fd > fds; echo >> fds; exec sleep 100");
    run.running("main");
    line(&run.sandbox("fds"));
    let fds = fs::read_to_string(run.sandbox("fds")).expect("a list");
    assert!(!fds.contains("socket:") && !fds.contains("memfd") && !fds.contains("signalfd"), "{fds}");
    let mut peer = Peer::connect(&run.dir);
    peer.next().expect("it is served");
    let supervisor = fs::read_dir(format!("/proc/{}/fd", run.spawned.child.id())).expect("a process");
    let open = supervisor.flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
    let sockets = open.filter(|target| target.to_string_lossy().starts_with("socket:")).count();
    assert_eq!(sockets, 3, "where it listens, the agent, and this test");
}

#[test]
fn without_its_zygote_the_next_supervisor_is_executed_and_another_zygote_started() {
    let spawner = spawner();
    let before = zygote(&spawner);
    let mut living = run(&spawner, "exec sleep 100");
    living.running("main");
    kill_process(Pid::from_raw(before).expect("a pid"), Signal::KILL).expect("a signal");
    assert!(run(&spawner, "exit 0").end().outcome.is_success());
    assert_ne!(zygote(&spawner), before);
    assert!(!exists(before), "it is no zombie");
    assert!(run(&spawner, "exit 0").end().outcome.is_success());
    assert_eq!(
        client::liveness(&living.dir).expect("readable"),
        Liveness::Alive { pid: living.spawned.child.id().cast_signed() }
    );
    living.peer.send(&Command::Kill { task: None, grace_ms: None });
    living.end();
}

#[test]
fn a_zygote_that_is_stopped_is_replaced_and_no_launch_is_lost() {
    let spawner = spawner();
    let before = zygote(&spawner);
    kill_process(Pid::from_raw(before).expect("a pid"), Signal::STOP).expect("a signal");
    // Several at once: who comes while the first one finds that nobody answers is not lost either.
    std::thread::scope(|scope| {
        let launch = || run(&spawner, "echo started >> starts").end();
        let launches: Vec<_> = (0..3).map(|_| scope.spawn(launch)).collect();
        for launch in launches {
            assert!(launch.join().expect("it is launched").outcome.is_success());
        }
    });
    assert_ne!(zygote(&spawner), before);
    assert!(!exists(before), "it is no zombie");
    assert!(run(&spawner, "exit 0").end().outcome.is_success());
}

#[test]
fn a_zygote_ends_with_its_agent_and_supervisors_do_not() {
    let spawner = spawner();
    let before = zygote(&spawner);
    let mut living = run(&spawner, "exec sleep 100");
    let main = living.running("main");
    drop(spawner);
    assert!(!exists(before));
    assert!(exists(main));
    living.peer.send(&Command::Kill { task: None, grace_ms: None });
    living.end();
}

#[test]
fn a_second_supervisor_of_a_folder_is_refused() {
    let spawner = spawner();
    let mut run = run(&spawner, "exit 0");
    run.end();
    let mut again = spawner.spawn(&run.dir, PidNamespace::Same).expect("forked");
    assert_eq!(again.child.wait().expect("a child").code(), Some(2));
}

#[test]
fn a_program_that_is_no_zygote_is_done_without() {
    let spawner = Spawner::new(std::path::Path::new("/nonexistent/rialto"));
    spawner.warm_up();
    assert_eq!(spawner.zygote(), None);
    let home = home();
    client::prepare(&home.path().join("supervisor"), &spec(&home, "exit 0")).expect("a valid spec");
    spawner.spawn(&home.path().join("supervisor"), PidNamespace::Same).expect_err("nothing to execute");
}

#[test]
fn a_forked_supervisor_is_the_first_process_of_its_namespace() {
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: namespaces need root");
    }
    let spawner = spawner();
    let home = home();
    let namespaces = Namespaces {
        hidden: Vec::new(),
        shown: Vec::new(),
        root: Root::Shared,
        image: None,
        network: Network::Host,
        right: Right::Root,
    };
    let container = Container { namespaces: Some(namespaces), ..Container::default() };
    let spec =
        Spec { container: Some(container), ..spec(&home, "grep PPid: /proc/self/status > parent; exec sleep 100") };
    let mut run = Run::from(home, &spec, |dir| spawner.spawn(dir, PidNamespace::of(&spec)));
    let main = run.running("main");
    line(&run.sandbox("parent"));
    run.spawned.child.kill().expect("a signal");
    run.spawned.child.wait().expect("a child");
    assert!(main > 1 && main < 100, "it is numbered in a namespace of its own: {main}");
}
