//! The commands that look and end: tasks, logs, why, kill.

use crate::harness::{AgentSpec, Cluster, Process, find, is_alive, wait_until};
use crate::observer::Observer;

const ONE_GPU: AgentSpec = AgentSpec::roomy("solo").with_devices(&["fake:gpu,model=T4"]);

#[test]
fn control_c_on_run_ends_the_task() {
    let cluster = Cluster::start(&[AgentSpec::roomy("solo")]);
    let observer = Observer::new(cluster.make_folder("observed"));
    let run = cluster.spawn(&["run", "--", "sh", "-c", &observer.command(0)]);
    let task = observer.wait_for(1).remove(0);
    wait_until("the task is known to run", || cluster.tasks_in("TASK_RUNNING").len() == 1);
    run.interrupt();
    let ended = run.finish();
    assert_eq!(ended.code, 130, "{}", ended.stderr);
    assert!(!is_alive(task.pid), "the task outlived its run");
    assert_eq!(cluster.tasks_in("TASK_KILLED").len(), 1);
    wait_until("its resources are free", || cluster.cluster().allocated.cpus == 0.0);
}

#[test]
fn kill_finds_a_task_by_the_beginning_of_its_id() {
    let cluster = Cluster::start(&[AgentSpec::roomy("solo")]);
    let observer = Observer::new(cluster.make_folder("observed"));
    let victim = cluster.spawn(&["run", "--name", "victim", "--", "sh", "-c", &observer.command(0)]);
    let other = cluster.spawn(&["run", "--name", "other", "--", "sh", "-c", &observer.command(0)]);
    observer.wait_for(2);
    wait_until("both are known to run", || cluster.tasks_in("TASK_RUNNING").len() == 2);
    let kill = cluster.rialto(&["kill", "vic"]);
    assert_eq!(kill.code, 0, "{}", kill.stderr);
    let ended = victim.finish();
    assert_ne!(ended.code, 0);
    assert!(ended.stderr.contains("TASK_KILLED"), "{}", ended.stderr);
    assert_eq!(cluster.tasks_in("TASK_RUNNING").len(), 1, "the other one runs on");
    observer.let_go();
    assert_eq!(other.finish().code, 0);
}

#[test]
fn a_task_that_ignores_sigterm_is_killed_after_its_grace() {
    let cluster = Cluster::start(&[AgentSpec::roomy("solo")]);
    let run =
        cluster.spawn(&["run", "--", "sh", "-c", "trap 'echo not me' TERM; echo ready; while :; do sleep 0.1; done"]);
    wait_until("it is ready", || run.stdout().contains("ready"));
    let kill = cluster.rialto(&["kill", "last", "--grace", "1"]);
    assert_eq!(kill.code, 0, "{}", kill.stderr);
    let ended = run.finish();
    assert!(ended.stdout.contains("not me"), "it got no SIGTERM: {}", ended.stdout);
    assert!(ended.stderr.contains("TASK_KILLED"), "{}", ended.stderr);
}

#[test]
fn logs_follow_a_task_until_it_ends() {
    let cluster = Cluster::start(&[AgentSpec::roomy("solo")]);
    let observer = Observer::new(cluster.make_folder("observed"));
    let script = format!("echo first; echo aside >&2; {}", observer.command(0));
    let run = cluster.spawn(&["run", "--name", "speaker", "--", "sh", "-c", &script.replace("exit 0", "echo second")]);
    observer.wait_for(1);
    wait_until("the task is known", || cluster.tasks().len() == 1);
    let mut follower = cluster.spawn(&["logs", "-f", "speak"]);
    wait_until("the follower shows what was said", || follower.stdout() == "first\n");
    assert!(follower.is_running(), "it ended before the task");
    let now = cluster.rialto(&["logs", "last"]);
    assert_eq!((now.code, now.stdout.as_str()), (0, "first\n"), "{}", now.stderr);
    observer.let_go();
    let followed = follower.finish();
    assert_eq!((followed.code, followed.stdout.as_str()), (0, "first\nsecond\n"), "{}", followed.stderr);
    assert_eq!(run.finish().stdout, "first\nsecond\n");
    let aside = cluster.rialto(&["logs", "--stderr", "last"]);
    assert_eq!((aside.code, aside.stdout.as_str()), (0, "aside\n"), "{}", aside.stderr);
}

#[test]
fn why_says_who_holds_the_device_that_a_task_waits_for() {
    let cluster = Cluster::start(&[ONE_GPU]);
    let observer = Observer::new(cluster.make_folder("observed"));
    let holder = cluster.spawn(&["run", "--name", "holder", "--device", "gpu", "--", "sh", "-c", &observer.command(0)]);
    observer.wait_for(1);
    let waiter = cluster.spawn(&["run", "--name", "waiter", "--device", "gpu", "--", "true"]);
    wait_until("the waiter has told why it waits", || waiter.stderr().contains("held"));
    let task = find("the holder is known", || cluster.tasks().pop()).id;
    for target in ["last", "waiter", "wai"] {
        let why = cluster.rialto(&["why", target]);
        assert_eq!(why.code, 0, "{}", why.stderr);
        assert!(why.stdout.contains("gpu-T4-0") && why.stdout.contains(&task), "{}", why.stdout);
    }
    let json = cluster.rialto(&["why", "last", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&json.stdout).expect("it is JSON");
    let held = &document["waits"][0]["clauses"][0]["causes"][0]["reason"]["devices"][0];
    assert_eq!(held["holder"]["task"].as_str(), Some(task.as_str()), "{document}");
    assert!(held["device"].as_str().is_some_and(|device| device.starts_with("gpu-T4-0")), "{document}");
    assert!(held["agent"]["id"].is_string() && held["agent"]["name"].is_string(), "{document}");
    for (question, says) in [("when", "No time can be promised"), ("what-would-help", "add 1 agent like")] {
        let answer = cluster.rialto(&[question, "last"]);
        assert!(answer.code == 0 && answer.stdout.contains(says), "{}{}", answer.stdout, answer.stderr);
        let json = cluster.rialto(&[question, "last", "--json"]);
        let document: serde_json::Value = serde_json::from_str(&json.stdout).expect("it is JSON");
        assert!(document["waits"][0]["asks"].is_string(), "{document}");
    }
    observer.let_go();
    assert_eq!(holder.finish().code, 0);
    let ended = waiter.finish();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}

#[test]
fn three_runs_on_two_devices_take_turns() {
    let cluster = Cluster::start(&[AgentSpec::roomy("solo").with_devices(&["fake:gpu,model=T4,count=2"])]);
    let observer = Observer::new(cluster.make_folder("observed"));
    let run =
        |name: &str| cluster.spawn(&["run", "--name", name, "--device", "gpu", "--", "sh", "-c", &observer.command(0)]);
    let runs = [run("a"), run("b"), run("c")];
    observer.wait_for(2);
    wait_until("the third says that both are held", || runs.iter().any(says_both_are_held));
    assert_eq!(observer.signed().len(), 2);
    observer.let_go();
    for run in runs {
        let ended = run.finish();
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    }
    assert_eq!(observer.ended().len(), 3);
}

fn says_both_are_held(run: &Process) -> bool {
    let said = run.stderr();
    said.contains("held") && said.contains("gpu-T4-0") && said.contains("gpu-T4-1")
}

#[test]
fn tables_and_json_show_the_same() {
    let cluster = Cluster::start(&[ONE_GPU]);
    let observer = Observer::new(cluster.make_folder("observed"));
    let run = cluster.spawn(&["run", "--name", "shown", "--device", "gpu", "--", "sh", "-c", &observer.command(0)]);
    observer.wait_for(1);
    wait_until("the task is known to run", || cluster.tasks_in("TASK_RUNNING").len() == 1);
    for (command, list, shown) in [
        ("agents", "agents", "solo"),
        ("frameworks", "frameworks", "run"),
        ("tasks", "tasks", "shown"),
        ("devices", "devices", "gpu-T4-0"),
    ] {
        let table = cluster.rialto(&[command]);
        assert!(table.code == 0 && table.stdout.contains(shown), "{command}: {}{}", table.stdout, table.stderr);
        let json = cluster.rialto(&[command, "--json"]);
        let document: serde_json::Value = serde_json::from_str(&json.stdout).expect("it is JSON");
        let row = document[list][0].to_string();
        assert!(row.contains(shown), "{command}: {row}");
    }
    let offers = cluster.rialto(&["offers", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&offers.stdout).expect("it is JSON");
    assert!(document["offers"].is_array(), "{document}");
    let running = cluster.rialto(&["tasks", "--state", "running"]);
    assert!(running.stdout.contains("shown"), "{}", running.stdout);
    let finished = cluster.rialto(&["tasks", "--state", "finished"]);
    assert!(!finished.stdout.contains("shown"), "{}", finished.stdout);
    observer.let_go();
    assert_eq!(run.finish().code, 0);
}

#[test]
fn a_reader_that_goes_away_is_no_crash() {
    let cluster = Cluster::start(&[ONE_GPU]);
    for args in [&["agents"][..], &["devices", "--json"], &["tasks"], &["run", "--", "echo", "hello"]] {
        let (reader, writer) = std::io::pipe().expect("there are pipes");
        drop(reader);
        let ended = cluster.command(args).stdout(writer).output().expect("it starts");
        let stderr = String::from_utf8_lossy(&ended.stderr);
        assert!(!stderr.contains("panicked"), "{args:?}: {stderr}");
    }
}
