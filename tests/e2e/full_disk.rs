//! An agent whose disk is full, or can't be written to. As root on Linux, where a small file system can be mounted.

use std::path::PathBuf;
use std::process::Command;

use crate::harness::{AgentSpec, Cluster, Process, is_alive, wait_until};

/// A small file system in memory; gone when this is dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn at(path: PathBuf, options: &str) -> Option<Self> {
        std::fs::create_dir_all(&path).expect("it is ours");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&path).status();
        let mounted = mounted.is_ok_and(|status| status.success());
        if !mounted {
            eprintln!("skipped: nothing can be mounted here");
        }
        mounted.then_some(Self(path))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "{} stays mounted", self.0.display());
    }
}

/// An agent that has its work dir there. The disk is to be let go of first.
fn on_small_disk(options: &str) -> Option<(Cluster, Mounted)> {
    let mut cluster = Cluster::start(&[AgentSpec::roomy("solo")]);
    cluster.agent("solo").kill9();
    wait_until("the master has seen it", || cluster.agents()[0].status != "active");
    let mounted = Mounted::at(cluster.path("solo"), options)?;
    Some((cluster, mounted))
}

fn degraded(cluster: &Cluster) -> bool {
    cluster.agents().iter().any(|agent| agent.status == "active" && agent.journal_degraded)
}

fn pid_of(run: &Process) -> u32 {
    run.stdout().lines().find_map(|line| line.strip_prefix("pid ")?.parse().ok()).expect("it has said")
}

#[test]
fn a_full_disk_is_told_of_and_survived() {
    let Some((mut cluster, mounted)) = on_small_disk("size=4m") else { return };
    cluster.start_agent("solo");
    wait_until("it is back, as another", || cluster.agents().iter().any(|agent| agent.status == "active"));
    let runs_on = cluster.spawn(&["run", "--", "sh", "-c", "echo pid $$; while :; do echo more; sleep 0.1; done"]);
    wait_until("a task runs", || runs_on.stdout().contains("pid "));
    let pid = pid_of(&runs_on);

    let filler = mounted.0.join("filler");
    let full = std::fs::write(&filler, vec![1; 8 << 20]);
    assert!(full.is_err(), "the disk is small");
    let tries = cluster.spawn(&["run", "--", "sh", "-c", "echo not yet"]);
    // A few bytes of the journal may still find room.
    wait_until("it is told of", || degraded(&cluster) || tries.stderr().contains("No space left on device"));
    assert!(is_alive(pid), "what runs runs on");

    std::fs::remove_file(&filler).expect("it is ours");
    tries.finish();
    let ran = cluster.rialto(&["run", "--", "sh", "-c", "echo at last"]);
    assert!(ran.code == 0 && ran.stdout.contains("at last"), "{}{}", ran.stdout, ran.stderr);
    wait_until("it is well again", || !degraded(&cluster));
    assert!(is_alive(pid));
    assert_eq!(cluster.rialto(&["kill", &cluster.tasks_in("TASK_RUNNING")[0].id]).code, 0);
    runs_on.finish();
}

#[test]
fn a_work_dir_that_cannot_be_written_is_named() {
    let Some((cluster, _mounted)) = on_small_disk("size=1m,ro") else { return };
    let refused = cluster.spawn_agent("solo", &[]).finish();
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("solo") && refused.stderr.contains("Read-only"), "{}", refused.stderr);
}
