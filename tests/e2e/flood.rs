//! A task that writes without end fills neither the disk nor anybody's way.

use std::path::Path;
use std::process::Stdio;

use crate::harness::{AgentSpec, Cluster, wait_until};
use crate::observer::Observer;

/// What the default rotation lets one stream keep, with room for a file that is just being made: 10 MiB × 5.
const KEPT_MAX: u64 = 56 << 20;

#[test]
fn a_gigabyte_of_output_is_bounded_by_rotation() {
    let mut cluster = Cluster::start(&[AgentSpec::roomy("solo")]);
    let observer = Observer::new(cluster.make_folder("observed"));
    let bystander = cluster.spawn(&["run", "--name", "bystander", "--", "sh", "-c", &observer.command(0)]);
    let before = observer.wait_for(1);
    let mut command =
        cluster.command(&["run", "--name", "flood", "--", "sh", "-c", "yes | head -c 1073741824; echo done >&2"]);
    let mut flood =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut largest = 0;
    wait_until("the task has finished", || {
        largest = largest.max(size_below(&cluster.path("solo")));
        flood.try_wait().expect("it is our child").is_some()
    });
    let output = flood.wait_with_output().expect("it is our child");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.lines().any(|line| line == "done"), "{stderr}");
    assert!(largest <= KEPT_MAX, "{largest} bytes lay on disk");
    assert!(size_below(&cluster.path("solo")) > 1 << 20, "nothing of the output was kept");
    let hello = cluster.rialto(&["run", "--", "echo", "hello"]);
    assert_eq!((hello.code, hello.stdout.as_str()), (0, "hello\n"), "{}", hello.stderr);
    observer.assert_undisturbed(&before);
    observer.let_go();
    assert_eq!(bystander.finish().code, 0);
    assert!(cluster.agent("solo").is_running() && cluster.master().is_running());
}

/// How many bytes the files below `folder` have.
fn size_below(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => size_below(&entry.path()),
        Ok(data) => data.len(),
        // It was rotated away between the two looks.
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}
