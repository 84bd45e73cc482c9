//! What a task has for itself: secrets, ports, a network, users. As root on Linux; what is missing is said and skipped.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::harness::{AgentSpec, Cluster, find, wait_until};

const SOLO: AgentSpec = AgentSpec::roomy("solo");

fn is_contained(cluster: &Cluster, what: &str) -> bool {
    let agent = cluster.agents().remove(0);
    let words = agent.attributes.get("isolation").map(ToString::to_string).unwrap_or_default();
    let has = words.contains(what);
    if !has {
        eprintln!("skipped: this agent has no {what}, only {words}");
    }
    has
}

/// Files below a folder that hold a text.
fn files_with(folder: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let kind = entry.file_type().expect("it was just listed");
        if kind.is_dir() {
            found.extend(files_with(&entry.path(), text));
        } else if kind.is_file() {
            let bytes = std::fs::read(entry.path()).unwrap_or_default();
            if bytes.windows(text.len()).any(|part| part == text.as_bytes()) {
                found.push(entry.path());
            }
        }
    }
    found
}

#[test]
fn a_secret_is_the_tasks_alone_and_on_no_disk() {
    let mut cluster = Cluster::start_contained(&[SOLO]);
    // Of this run: what is found elsewhere is not another's.
    let told = format!("do-not-tell-{:010}", std::process::id());
    let key = cluster.write("key.pem", &told);
    let look = "stat -c '%a %u' secrets/db; cat secrets/db; cat etc/app.pem; env | grep -c do-not-tell; \
                touch secrets/x 2>/dev/null && echo writable; df secrets | grep -c tmpfs; echo begun; sleep 1000";
    let secret = format!("db={key}:etc/app.pem");
    let mut args = vec!["run", "--secret", &secret];
    let user = ["--user", "1234:1234"];
    args.extend(user);
    args.extend(["--", "sh", "-c", look]);
    let run = cluster.spawn(&args);
    wait_until("the task has looked", || run.stdout().contains("begun"));
    let said = run.stdout();
    assert!(said.starts_with(&format!("400 1234\n{told}{told}0\n")), "{said}{}", run.stderr());
    assert!(!said.contains("writable"), "{said}");

    let not_it = |path: &PathBuf| !path.ends_with("key.pem") && !path.to_string_lossy().contains("-run.stdout");
    let found: Vec<PathBuf> = files_with(cluster.folder(), &told).into_iter().filter(not_it).collect();
    let output = |path: &PathBuf| path.ends_with("stdout");
    assert!(found.iter().all(output), "it is on a disk: {found:?}");

    // An agent that comes back knows it no better, and the task keeps it.
    cluster.agent("solo").kill9();
    cluster.start_agent("solo");
    cluster.wait_for_agents(1);
    let again = find("the task can be entered again", || {
        let again = cluster.rialto(&["exec", "last", "--", "cat", "secrets/db"]);
        (again.code == 0).then_some(again)
    });
    assert_eq!(again.stdout, told);
    assert_eq!(cluster.rialto(&["kill", "last"]).code, 0);
    run.finish();
    wait_until("it is gone with its task", || files_with(Path::new("/dev/shm"), &told).is_empty());
}

#[test]
fn a_port_is_held_only_by_its_task() {
    let cluster = Cluster::start_contained(&[AgentSpec { resources: "cpus:4;mem:4096;ports:[31400-31410]", ..SOLO }]);
    if !is_contained(&cluster, "ports") {
        return;
    }
    let bind = |port: &str| {
        format!("python3 -c \"import socket; socket.socket().bind(('127.0.0.1', {port})); print('bound')\" 2>&1")
    };
    let none = cluster.rialto(&["run", "--", "sh", "-c", &bind("31405")]);
    if none.stdout.contains("python3: not found") {
        eprintln!("skipped: there is no python3");
        return;
    }
    assert!(none.stdout.contains("Operation not permitted"), "{}", none.stdout);
    let free = cluster.rialto(&["run", "--", "sh", "-c", &bind("0")]);
    assert!(free.stdout.contains("bound"), "{}", free.stdout);
    let own = cluster.rialto(&["run", "--ports", "1", "--", "sh", "-c", &bind("$RIALTO_PORT0")]);
    assert!(own.stdout.contains("bound"), "{}{}", own.stdout, own.stderr);
    let v6 = bind("31406").replace("socket.socket()", "socket.socket(socket.AF_INET6)").replace("127.0.0.1", "::1");
    let v6 = cluster.rialto(&["run", "--", "sh", "-c", &v6]);
    assert!(v6.stdout.contains("Operation not permitted"), "{}", v6.stdout);
}

/// An agent with ports that no other run of these tests has had lately: what one that was broken off has left leads elsewhere.
fn with_ports(test: u32) -> AgentSpec {
    let first = 11_000 + (std::process::id() % 1000) * 20 + test * 10;
    let resources = format!("cpus:4;mem:4096;ports:[{first}-{}]", first + 9);
    AgentSpec { resources: Box::leak(resources.into_boxed_str()), ..SOLO }
}

/// Whether plug-ins and what they need are installed.
fn has_bridge() -> bool {
    let plugins = ["/usr/lib/cni", "/opt/cni/bin"].iter().any(|folder| Path::new(folder).join("portmap").is_file());
    let has = plugins && ["/usr/sbin/iptables", "/sbin/iptables"].iter().any(|path| Path::new(path).is_file());
    if !has {
        eprintln!("skipped: CNI plug-ins or iptables are not installed");
    }
    has
}

fn talk(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

fn traces(cluster: &Cluster, host: u16) -> Vec<String> {
    let rules = std::process::Command::new("iptables-save").output().map(|output| output.stdout).unwrap_or_default();
    let rules = String::from_utf8_lossy(&rules).into_owned();
    let mut traces: Vec<String> =
        rules.lines().filter(|line| line.contains(&format!("--dport {host} "))).map(str::to_owned).collect();
    let records = std::fs::read_dir(cluster.path("solo").join("networks")).into_iter().flatten().flatten();
    traces.extend(records.map(|record| record.path().display().to_string()));
    traces
}

const SERVE: &str = "echo port $RIALTO_PORT0; ip -o -4 addr show eth0 2>/dev/null; echo hello-from-inside > index.html; \
                     exec python3 -m http.server 8080 --bind 0.0.0.0 2>/dev/null";

fn bridged(cluster: &Cluster) -> (crate::harness::Process, u16) {
    let mut run = cluster.spawn(&["run", "--publish", "8080", "--", "sh", "-c", SERVE]);
    let port = run.line("its port", |line| line.strip_prefix("port ")?.parse().ok());
    wait_until("the server inside is reached by the machine's port", || {
        talk(port).is_some_and(|text| text.contains("hello-from-inside"))
    });
    (run, port)
}

#[test]
fn a_bridge_leads_a_port_into_a_tasks_network_and_is_taken_away() {
    let cluster = Cluster::start_contained(&[with_ports(0)]);
    if !has_bridge() || !is_contained(&cluster, "namespaces") {
        return;
    }
    let (run, port) = bridged(&cluster);
    assert!(!traces(&cluster, port).is_empty());
    let inside = cluster.rialto(&["exec", "last", "--", "sh", "-c", "ls /sys/class/net; cat /proc/net/dev"]);
    assert!(inside.stdout.contains("eth0"), "{}{}", inside.stdout, inside.stderr);
    assert_eq!(cluster.rialto(&["kill", "last"]).code, 0);
    run.finish();
    wait_until("nothing of it is left", || traces(&cluster, port).is_empty());
    assert!(talk(port).is_none());
}

#[test]
fn a_bridge_survives_the_agent_and_goes_with_its_task() {
    let mut cluster = Cluster::start_contained(&[with_ports(1)]);
    if !has_bridge() || !is_contained(&cluster, "namespaces") {
        return;
    }
    let (mut run, port) = bridged(&cluster);
    cluster.agent("solo").kill9();
    assert!(talk(port).is_some_and(|text| text.contains("hello-from-inside")), "it outlives the agent");
    cluster.start_agent("solo");
    cluster.wait_for_agents(1);
    assert!(talk(port).is_some_and(|text| text.contains("hello-from-inside")), "it outlives the agent's return");

    // Its end while no agent is there is found by the next one. Nobody starts it anew.
    run.kill9();
    cluster.agent("solo").kill9();
    let supervisors = crate::harness::processes_of(&cluster.path("solo").join("runs"));
    for (pid, _) in supervisors {
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("it is one")).expect("it is one");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
    }
    assert!(!traces(&cluster, port).is_empty());
    cluster.start_agent("solo");
    wait_until("the next agent has taken it away", || traces(&cluster, port).is_empty());
}

#[test]
fn root_of_a_user_namespace_is_nobody_outside() {
    let cluster = Cluster::start_contained(&[SOLO]);
    if !is_contained(&cluster, "namespaces") {
        return;
    }
    let folder = cluster.make_folder("machine");
    let mine = folder.join("roots-own");
    std::fs::write(&mine, "root's").expect("it can be written");
    let look = format!(
        "id -u; cat /proc/self/uid_map; touch file; (echo x > {0}) 2>&1; chown 5 file && stat -c %u file; grep CapBnd /proc/self/status; \
         echo begun; sleep 1000",
        mine.display()
    );
    // Shown to the task though it lies below /tmp, which is its own otherwise.
    let run = cluster.spawn(&["run", "--user-namespace", "--", "sh", "-c", &look]);
    wait_until("the task has looked", || run.stdout().contains("begun"));
    let said = run.stdout();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "0", "{said}");
    let map: Vec<u64> = lines[1].split_whitespace().map(|number| number.parse().expect("it is one")).collect();
    assert!(map[0] == 0 && map[1] >= 1 << 30 && map[2] == 65536, "{said}");
    assert_eq!(std::fs::read_to_string(&mine).expect("it is there"), "root's", "{said}");
    assert!(lines.contains(&"5"), "it may give its own files to its own users: {said}");
    let sandbox = find("the sandbox is there", || {
        let all = std::fs::read_dir(cluster.path("solo/sandboxes")).ok()?.flatten().next()?;
        Some(std::fs::read_dir(all.path()).ok()?.flatten().next()?.path())
    });
    let owner = |path: &Path| u64::from(std::fs::metadata(path).expect("it is there").uid());
    assert_eq!((owner(&sandbox), owner(&sandbox.join("file"))), (map[1], map[1] + 5));

    let nested =
        cluster.rialto(&["exec", "last", "--", "sh", "-c", "id -u; cat /proc/self/uid_map; cat file; kill -0 1"]);
    assert!(nested.stdout.starts_with("0\n") && nested.stdout.contains(&map[1].to_string()), "{}", nested.stdout);
    assert!(nested.code != 0, "a task can't signal its supervisor");
    assert_eq!(std::fs::read_dir(cluster.path("solo/users")).expect("it is there").count(), 1);
    assert_eq!(cluster.rialto(&["kill", "last"]).code, 0);
    run.finish();
    let ranges = || std::fs::read_dir(cluster.path("solo/users")).expect("it is there").count();
    wait_until("its users are free again", || ranges() == 0);
}

#[test]
fn an_agent_can_give_every_task_users_of_its_own() {
    let mut cluster = Cluster::start_contained(&[SOLO]);
    if !is_contained(&cluster, "namespaces") {
        return;
    }
    cluster.agent("solo").kill9();
    let _agent = cluster.spawn_agent("solo", &["--user-namespaces"]);
    cluster.wait_for_agents(1);
    let ran = cluster.rialto(&["run", "--", "sh", "-c", "cat /proc/self/uid_map; id -u; echo own > file; cat file"]);
    assert!(ran.code == 0 && ran.stdout.contains(" 65536\n0\nown\n"), "{}{}", ran.stdout, ran.stderr);
}
