//! `rialto dev`: a whole cluster in one process.

use std::process::Command;

use crate::harness::{Cluster, get, processes_of, sockets_below, wait_until};

#[test]
fn it_says_where_everything_is_and_what_to_type_next() {
    let mut cluster = Cluster::dev();
    let address = cluster.address().to_owned();
    let said = cluster.master().stdout();
    for part in [
        format!("http://{address}/"),
        "/api/cluster".to_owned(),
        format!("rialto run --master {address} -- echo hello"),
    ] {
        assert!(said.contains(&part), "{part} is missing: {said}");
    }
    assert!(address.starts_with("127.0.0.1:"), "it listens on {address}, which is not only for this machine");
    for path in ["/", "/api/cluster", "/metrics", "/healthz"] {
        let answer = get(&address, path, None).expect("it answers");
        assert_eq!(answer.status, 200, "{path}");
    }
    let gpus: Vec<_> = cluster.devices().into_iter().filter(|device| device.kind == "gpu").collect();
    assert_eq!(gpus.len(), 2);
    assert_ne!(gpus[0].model, gpus[1].model);
}

#[test]
fn a_task_prints_and_its_exit_code_is_the_commands() {
    let cluster = Cluster::dev();
    let hello = cluster.rialto(&["run", "--", "echo", "hello"]);
    assert_eq!((hello.code, hello.stdout.as_str()), (0, "hello\n"), "{}", hello.stderr);
    let both = cluster.rialto(&["run", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((both.code, both.stdout.as_str()), (7, "out\n"));
    assert!(both.stderr.lines().any(|line| line == "err"), "{}", both.stderr);
    let signal = cluster.rialto(&["run", "--", "sh", "-c", "kill -9 $$"]);
    assert_eq!(signal.code, 128 + 9, "{}", signal.stderr);
    let gpu = cluster.rialto(&["run", "--device", "gpu: model == T4", "--env", "COLOUR=red", "--", "env"]);
    for line in ["RIALTO_DEVICES=gpu-T4-0", "COLOUR=red"] {
        assert!(gpu.stdout.lines().any(|one| one == line), "{line} is missing: {}", gpu.stdout);
    }
}

#[test]
fn a_second_start_finds_the_state_of_the_first() {
    let mut cluster = Cluster::dev();
    let first = cluster.cluster();
    let agents: Vec<String> = cluster.agents().into_iter().map(|agent| agent.id).collect();
    let run = cluster.rialto(&["run", "--", "true"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let dev = cluster.take_master();
    dev.interrupt();
    let ended = dev.finish();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    cluster.start_dev();
    let second = cluster.cluster();
    assert_eq!(second.cluster, first.cluster);
    assert!(second.term > first.term, "the term stayed {}", first.term);
    let again: Vec<String> = cluster.agents().into_iter().map(|agent| agent.id).collect();
    assert_eq!(again, agents, "agents keep their ids");
}

#[test]
fn control_c_ends_every_task_and_leaves_nothing_running() {
    let mut cluster = Cluster::dev();
    let mut run = cluster.spawn(&["run", "--instances", "3", "--", "sh", "-c", "echo started; sleep 600"]);
    wait_until("three tasks run", || cluster.tasks_in("TASK_RUNNING").len() == 3);
    let dev = cluster.take_master();
    dev.interrupt();
    let ended = dev.finish();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    run.kill9();
    assert_eq!(processes_of(cluster.folder()), []);
    assert_eq!(sockets_below(cluster.folder()), Vec::<std::path::PathBuf>::new());
    // Nobody holds a lock: the next one gets them all.
    cluster.start_dev();
}

#[test]
fn what_it_can_not_have_is_said_in_one_line() {
    let cluster = Cluster::dev();
    let address = cluster.address().to_owned();
    let busy = cluster.rialto(&["dev", "--listen", &address, "--work-dir", &cluster.name_of("other")]);
    assert_one_line(&busy.stderr, &address);
    assert_eq!(busy.code, 1);
    let taken = cluster.rialto(&["dev", "--listen", "127.0.0.1:0", "--work-dir", &cluster.name_of("dev")]);
    assert_one_line(&taken.stderr, "dev");
    assert_eq!(taken.code, 1);
    let unwritable = cluster.rialto(&["dev", "--listen", "127.0.0.1:0", "--work-dir", "/proc/rialto"]);
    assert_one_line(&unwritable.stderr, "/proc/rialto");
    assert_eq!(unwritable.code, 1);
    let open = cluster.rialto(&["dev", "--listen", "0.0.0.0:0", "--work-dir", &cluster.name_of("open")]);
    assert_one_line(&open.stderr, "loopback");
    assert_eq!(open.code, 1);
    // None of them disturbed the one that runs.
    let hello = cluster.rialto(&["run", "--", "echo", "hello"]);
    assert_eq!((hello.code, hello.stdout.as_str()), (0, "hello\n"), "{}", hello.stderr);
}

#[test]
fn the_binary_says_how_it_is_used() {
    let help = Command::new(crate::harness::rialto_binary()).arg("--help").output().expect("it starts");
    let text = String::from_utf8(help.stdout).expect("it is text");
    assert!(help.status.success());
    for command in ["dev", "master", "agent", "run", "agents", "devices", "why", "rialto run -- echo hello"] {
        assert!(text.contains(command), "{command} is missing: {text}");
    }
}

#[track_caller]
fn assert_one_line(stderr: &str, names: &str) {
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains(names), "{names} is not named: {stderr}");
    assert!(stderr.starts_with("rialto: "), "{stderr}");
}
