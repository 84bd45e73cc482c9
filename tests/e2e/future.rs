//! Questions to a running cluster that time decides, answered by running its snapshot on.

use crate::harness::{AgentSpec, Cluster, wait_until};
use crate::observer::Observer;

#[test]
fn a_snapshot_is_run_on_to_say_when_what_waits_starts_and_what_it_takes() {
    let cluster =
        Cluster::start(&[AgentSpec { name: "solo", resources: "cpus:1;mem:1024", devices: &["fake:gpu,model=T4"] }]);
    let observer = Observer::new(cluster.make_folder("observed"));
    let runs = cluster.spawn(&[
        "run",
        "--name",
        "runs",
        "--cpus",
        "1",
        "--device",
        "gpu",
        "--",
        "sh",
        "-c",
        &observer.command(0),
    ]);
    observer.wait_for(1);
    wait_until("it is known to run", || cluster.tasks_in("TASK_RUNNING").len() == 1);
    let waits =
        cluster.spawn(&["run", "--name", "waits", "--cpus", "1", "--device", "gpu", "--instances", "2", "--", "true"]);
    wait_until("the master knows what waits", || cluster.frameworks().iter().any(|one| !one.demand.is_empty()));

    let said = |args: &[&str]| {
        let ended = cluster.rialto(args);
        assert_eq!(ended.code, 0, "{args:?}: {}", ended.stderr);
        ended.stdout
    };
    let kept = cluster.write("snapshot.json", &said(&["snapshot"]));
    let of_kept = |args: &[&str]| said(&[args, &["--snapshot", &kept]].concat());
    let ask = ["when", "waits", "--simulate"];
    let never = of_kept(&ask);
    assert!(never.contains("2 waiting; none starts within 4 weeks"), "{never}");
    let assumed = [&ask[..], &["--run-time", "10 min"]].concat();
    let by_ends = of_kept(&assumed);
    assert!(by_ends.contains("2 waiting; the first starts in 10 min, the last in 20 min"), "{by_ends}");
    assert_eq!(by_ends, of_kept(&assumed), "the same snapshot gives the same answer");
    assert_eq!(by_ends, said(&assumed), "and so does the cluster, where nothing has changed");
    let ordered = of_kept(&[&ask[..], &["--add", "2:solo@3 h"]].concat());
    assert!(ordered.contains("2 waiting; the first starts in 3 h, the last in 3 h"), "{ordered}");
    let help = of_kept(&["what-would-help", "waits", "--within", "5 min"]);
    assert!(help.contains("2 more like solo: all of it starts within 5 min"), "{help}");

    let refused = cluster.rialto(&[&ask[..], &["--add", "1:nobody"]].concat());
    assert!(refused.code != 0 && refused.stderr.contains("expected an agent, such as solo"), "{}", refused.stderr);
    let broken = cluster.write("broken.json", "{");
    let refused = cluster.rialto(&[&ask[..], &["--snapshot", &broken]].concat());
    assert!(refused.code != 0 && refused.stderr.contains("broken.json"), "{}", refused.stderr);
    observer.let_go();
    for run in [runs, waits] {
        let ended = run.finish();
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    }
}
