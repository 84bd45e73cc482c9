//! Whatever is typed, the answer is a clear one, and nothing else is disturbed.

use crate::harness::{AgentSpec, Cluster, Finished, Process};
use crate::observer::{Observer, Signed};

const ONE_GPU: AgentSpec = AgentSpec::roomy("solo").with_devices(&["fake:gpu,model=T4,memory=16GiB"]);

/// A cluster with a task that must not be disturbed.
struct Bystander {
    cluster: Cluster,
    observer: Observer,
    run: Process,
    before: Vec<Signed>,
}

impl Bystander {
    fn new() -> Self {
        let cluster = Cluster::start(&[ONE_GPU]);
        let observer = Observer::new(cluster.make_folder("observed"));
        let run = cluster.spawn(&["run", "--name", "bystander", "--", "sh", "-c", &observer.command(0)]);
        let before = observer.wait_for(1);
        Self { cluster, observer, run, before }
    }

    #[track_caller]
    fn assert_undisturbed(self) {
        self.observer.assert_undisturbed(&self.before);
        self.observer.let_go();
        let ended = self.run.finish();
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    }
}

#[track_caller]
fn assert_refused(ended: &Finished, code: i32, says: &[&str]) {
    assert_eq!(ended.code, code, "{}{}", ended.stdout, ended.stderr);
    for part in says {
        assert!(ended.stderr.contains(part), "{part:?} is not said: {}", ended.stderr);
    }
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}

#[test]
fn what_is_no_amount_is_refused_with_the_field() {
    let bystander = Bystander::new();
    for (option, field) in [
        ("--cpus=-1", "cpus"),
        ("--cpus=0.0001", "cpus"),
        ("--cpus=1e9", "cpus"),
        ("--cpus=many", "cpus"),
        ("--cpus=", "cpus"),
        ("--mem=-64", "mem"),
        ("--mem=99999999999999999", "mem"),
        ("--mem=64MiB", "mem"),
        ("--role=a//b", "role"),
        ("--env=NAME", "--env"),
        ("--env==VALUE", "--env"),
    ] {
        let ended = bystander.cluster.rialto(&["run", option, "--", "true"]);
        assert_refused(&ended, 1, &[field]);
    }
    bystander.assert_undisturbed();
}

#[test]
fn a_master_or_agent_that_is_told_nonsense_does_not_start() {
    let cluster = Cluster::nothing();
    let least = "--min-allocatable-resources";
    for (args, code, says) in [
        (&["master", least, "cpus"][..], 1, &[least, "expected NAME:AMOUNT"][..]),
        (&["master", least, "cpus:1|mem:0"], 1, &[least, "[1]: expected at least one amount"]),
        (&["master", "--region", "a b", "--zone", "z"], 1, &["--region", "printable characters"]),
        (&["master", "--region", "eu"], 2, &["--zone"]),
        (&["agent", "--zone", "z"], 2, &["--region"]),
    ] {
        assert_refused(&cluster.rialto(args), code, says);
    }
}

#[test]
fn what_is_no_command_line_is_refused_with_its_usage() {
    let bystander = Bystander::new();
    for args in [
        &["run", "--colour", "red", "--", "true"][..],
        &["run"],
        &["run", "--instances", "0", "--", "true"],
        &["run", "--instances", "20000", "--", "true"],
        &["master", "--store", "paper"],
        &["fly"],
    ] {
        let ended = bystander.cluster.rialto(args);
        assert_refused(&ended, 2, &["error:"]);
    }
    bystander.assert_undisturbed();
}

#[test]
fn a_selector_that_can_not_be_read_is_refused_with_the_place() {
    let bystander = Bystander::new();
    for selector in ["gpu: memory >", "gpu: memory >= 40 GiB &&", "gpu: (model == T4", "2 gpu: ==", ":", "0 gpu", ""] {
        let ended = bystander.cluster.rialto(&["run", "--device", selector, "--", "true"]);
        assert_refused(&ended, 1, &["--device"]);
    }
    let ended = bystander.cluster.rialto(&["run", "--device", "gpu: memory >= && model == T4", "--", "true"]);
    assert_refused(&ended, 1, &["--device", "column 11"]);
    let ended = bystander.cluster.rialto(&["run", "--constraint", "zone ==", "--", "true"]);
    assert_refused(&ended, 1, &["--constraint", "column"]);
    bystander.assert_undisturbed();
}

#[test]
fn what_never_fits_is_said_at_once() {
    let bystander = Bystander::new();
    for (options, says) in [
        (&["--cpus", "65"][..], "cpus short by 1, even when empty"),
        (&["--mem", "1000000"], "mem short by"),
        (&["--device", "tpu"], "tpu"),
        (&["--device", "2 gpu"], "gpu"),
        (&["--device", "gpu: memory >= 40GiB"], "closest: gpu-T4-0 lacks memory >= 40GiB"),
    ] {
        let args = [&["run"], options, &["--", "true"]].concat();
        let ended = bystander.cluster.rialto(&args);
        assert_refused(&ended, 1, &["never fits", says]);
    }
    bystander.assert_undisturbed();
}

#[test]
fn a_command_that_can_not_be_started_says_so() {
    let bystander = Bystander::new();
    let missing = bystander.cluster.rialto(&["run", "--", "no-such-command-anywhere"]);
    assert_refused(&missing, 127, &["no-such-command-anywhere"]);
    let plain = bystander.cluster.write("plain", "not a program");
    let refused = bystander.cluster.rialto(&["run", "--", &plain]);
    assert_refused(&refused, 126, &["plain"]);
    let failed = bystander.cluster.tasks_in("TASK_FAILED").len();
    assert_eq!(failed, 2);
    bystander.assert_undisturbed();
}

#[test]
fn output_that_is_not_utf8_arrives_as_it_is() {
    let bystander = Bystander::new();
    let all = (0..=255).map(|byte| format!("\\{byte:03o}")).collect::<String>();
    let ended = bystander.cluster.rialto(&["run", "--", "printf", &all]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(ended.bytes, (0..=255).collect::<Vec<u8>>());
    let logs = bystander.cluster.rialto(&["logs", "last"]);
    assert_eq!(logs.bytes, ended.bytes);
    bystander.assert_undisturbed();
}

#[test]
fn a_large_environment_works_as_far_as_the_kernel_lets_it() {
    let bystander = Bystander::new();
    let value = "x".repeat(120 << 10);
    let big = format!("BIG={value}");
    let one = bystander.cluster.rialto(&["run", "--env", &big, "--", "sh", "-c", "echo ${#BIG}"]);
    assert_eq!((one.code, one.stdout.trim()), (0, (120 << 10).to_string().as_str()), "{}", one.stderr);
    let many: Vec<String> = (0..9).map(|number| format!("BIG{number}={value}")).collect();
    let mut args = vec!["run"];
    args.extend(many.iter().flat_map(|variable| ["--env", variable]));
    args.extend(["--", "sh", "-c", "env | grep -c ^BIG"]);
    let all = bystander.cluster.rialto(&args);
    assert_eq!((all.code, all.stdout.trim()), (0, "9"), "{}", all.stderr);
    // One string of a megabyte is more than Linux takes; only a file can ask for it.
    let file = format!("[run]\nenv = [\"BIG={}\"]\n", "x".repeat(1 << 20));
    let file = bystander.cluster.write("big.toml", &file);
    let huge = bystander.cluster.rialto(&["run", "--config", &file, "--", "true"]);
    assert_ne!(huge.code, 0);
    assert_refused(&huge, huge.code, &["rialto: "]);
    let said = huge.stderr.to_lowercase();
    assert!(said.contains("too long") || said.contains("too large") || said.contains("at most"), "{}", huge.stderr);
    bystander.assert_undisturbed();
}

#[test]
fn what_does_not_exist_is_named() {
    let bystander = Bystander::new();
    for args in [
        &["kill", "nobody"][..],
        &["logs", "nobody"],
        &["why", "nobody"],
        &["logs", "F9-9/nobody"],
        &["kill", "F9-9/nobody"],
    ] {
        let ended = bystander.cluster.rialto(args);
        assert_refused(&ended, 1, &["nobody"]);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
    bystander.assert_undisturbed();
}

#[test]
fn a_master_that_is_not_there_is_said_in_one_line() {
    let cluster = Cluster::nothing();
    let closed =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let address = closed.to_string();
    for args in [&["agents"][..], &["run", "--", "true"], &["kill", "last"]] {
        let args = [args, &["--master", &address]].concat();
        let args = if args[0] == "run" { vec!["run", "--master", &address, "--", "true"] } else { args };
        let ended = cluster.rialto(&args);
        assert_refused(&ended, 1, &[&address]);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
    for bad in ["", "nowhere", "ftp://127.0.0.1:1", "127.0.0.1:99999"] {
        let ended = cluster.rialto(&["agents", "--master", bad]);
        assert_eq!(ended.code, 1, "{bad}: {}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{bad}: {}", ended.stderr);
    }
}

#[test]
fn an_agent_that_can_not_be_what_it_is_asked_to_be_says_so() {
    let cluster = Cluster::start(&[]);
    let folder = cluster.name_of("strange");
    for (option, says) in [
        ("--resources=cpus:-4", "--resources"),
        ("--resources=cpus", "--resources"),
        ("--device-source=fake", "--device-source"),
        ("--device-source=fake:gpu,count=many", "--device-source"),
        ("--device-source=magic:gpu", "--device-source"),
        ("--attribute=zone", "--attribute"),
        ("--work-dir=/proc/rialto", "/proc/rialto"),
    ] {
        let mut args = vec!["agent", option];
        if !option.starts_with("--work-dir") {
            args.extend(["--work-dir", &folder]);
        }
        let ended = cluster.rialto(&args);
        assert_refused(&ended, 1, &[says]);
    }
}
