//! What tasks use: `rialto top`, the agent's metrics, and the limit of disk.

use serde_json::Value;

use crate::harness::{AgentSpec, Cluster, Process, find, get, wait_until};

const SOLO: AgentSpec = AgentSpec::roomy("solo");

/// A task that takes processor time, memory, processes, a device and disk.
const BUSY: &str = "sleep 1000 & echo begun; head -c 3000000 /dev/zero > data; while :; do :; done";

fn busy(cluster: &Cluster) -> Process {
    let args = ["run", "--name", "busy", "--disk", "100", "--device", "gpu", "--", "sh", "-c", BUSY];
    let run = cluster.spawn(&args);
    wait_until("it has begun", || run.stdout().contains("begun"));
    wait_until("it is known to run", || cluster.tasks_in("TASK_RUNNING").len() == 1);
    run
}

#[test]
fn top_shows_what_running_tasks_use() {
    let cluster = Cluster::start_contained(&[SOLO.with_devices(&["fake:gpu,model=T4"])]);
    let _run = busy(&cluster);
    let row = find("top has its figures", || {
        let top = cluster.rialto(&["top", "--json"]);
        assert_eq!(top.code, 0, "{}", top.stderr);
        let rows: Vec<Value> = serde_json::from_str(&top.stdout).expect("it is JSON");
        rows.into_iter().find(|row| row["cpus"].as_f64().is_some_and(|cpus| cpus > 0.1))
    });
    assert!(row["task"].as_str().is_some_and(|task| task.starts_with("busy-")), "{row}");
    assert!(row["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{row}");
    assert!(row["pids"].as_u64().is_some_and(|pids| pids >= 2), "{row}");
    let table = cluster.rialto(&["top"]);
    assert!(table.stdout.contains("busy-") && table.stdout.contains("CPUS"), "{}", table.stdout);
}

#[test]
fn an_agent_shows_metrics_where_it_is_asked_to() {
    let mut cluster = Cluster::start_contained(&[SOLO.with_devices(&["fake:gpu,model=T4"])]);
    cluster.agent("solo").kill9();
    let mut agent = cluster.spawn_agent("solo", &["--metrics-listen", "127.0.0.1:0"]);
    let address = agent.line("where its metrics are", |line| {
        Some(line.split_once("metrics at http://")?.1.split_once('/')?.0.to_owned())
    });
    cluster.wait_for_agents(1);
    let _run = busy(&cluster);
    let text = find("there are series of the task", || {
        let text = get(&address, "/metrics", None).expect("it answers").body;
        let series = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(&format!("rialto_task_{name}{{")))?;
            line.rsplit_once(' ')?.1.parse::<f64>().ok()
        };
        let all = series("cpu_seconds_total")? > 0.0
            && series("memory_bytes")? > 0.0
            && series("pids")? >= 2.0
            && series("devices")? == 1.0
            && series("disk_bytes")? >= 3_000_000.0
            && series("written_bytes_total").is_some();
        all.then_some(text)
    });
    assert!(text.contains("task=\"busy-") && text.contains("kind=\"gpu\"}"), "{text}");
    assert_eq!(get(&address, "/healthz", None).expect("it answers").status, 200);
    assert_eq!(get(&address, "/else", None).expect("it answers").status, 404);

    let refused = cluster.rialto(&["agent", "--metrics-listen", "0.0.0.0:0"]);
    assert!(refused.code != 0 && refused.stderr.contains("--metrics-insecure"), "{}", refused.stderr);
}

#[test]
fn a_task_that_writes_more_than_its_disk_is_killed_and_told_so() {
    let cluster = Cluster::start_contained(&[SOLO]);
    let line = "head -c 2000000 /dev/zero > small; mkdir -p a/b; while :; do head -c 1000000 /dev/zero >> a/b/large; sleep 0.05; done";
    let ended = cluster.rialto(&["run", "--disk", "20", "--", "sh", "-c", line]);
    assert_ne!(ended.code, 0);
    let task = cluster.tasks().remove(0);
    assert_eq!((&*task.state, task.reason.as_deref()), ("TASK_FAILED", Some("DISK_LIMIT")), "{}", task.message);
    assert!(task.message.contains("limit of 20.0 MiB"), "{}", task.message);

    let within =
        cluster.rialto(&["run", "--disk", "20", "--", "sh", "-c", "head -c 5000000 /dev/zero > file; sleep 1.5"]);
    assert_eq!(within.code, 0, "{}", within.stderr);
}
