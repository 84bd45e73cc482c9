//! Planning questions that begin with a running cluster.

use serde_json::Value;

use crate::harness::{AgentSpec, Cluster, wait_until};
use crate::observer::Observer;

#[test]
fn a_scenario_begins_with_what_runs_and_waits_on_a_cluster() {
    let devices = &["fake:gpu,model=G2,count=2"];
    let cluster = Cluster::start(&[AgentSpec { name: "solo", resources: "cpus:8;mem:8192", devices }]);
    let observer = Observer::new(cluster.make_folder("observed"));
    let runs = ["run", "--name", "runs", "--device", "gpu", "--", "sh", "-c", &observer.command(0)];
    let runs = cluster.spawn(&runs);
    observer.wait_for(1);
    wait_until("it is known to run", || cluster.tasks_in("TASK_RUNNING").len() == 1);
    let waits = cluster.spawn(&["run", "--name", "waits", "--device", "2 gpu", "--instances", "2", "--", "true"]);
    wait_until("the master knows what waits", || cluster.frameworks().iter().any(|one| !one.demand.is_empty()));

    let said = |args: &[&str]| {
        let ended = cluster.rialto(args);
        assert_eq!(ended.code, 0, "{args:?}: {}", ended.stderr);
        ended.stdout
    };
    let kept = cluster.write("snapshot.json", &said(&["snapshot"]));
    let scenario = "name: what is there\nstart: 2026-10-05\nhorizon: 1 week\nseeds: 1\n";
    let scenario = cluster.write("scenario.yml", scenario);
    let ask = ["sim", "run", &scenario, "--json", "--run-time", "1 day"];
    let of_kept = said(&[&ask[..], &["--snapshot", &kept]].concat());
    assert_eq!(of_kept, said(&[&ask[..], &["--snapshot", &kept]].concat()), "the same snapshot gives the same bytes");
    let of_cluster = said(&[&ask[..], &["--from-cluster", cluster.address()]].concat());
    for (text, from) in [(&of_kept, "snapshot.json"), (&of_cluster, cluster.address())] {
        let answer: Value = serde_json::from_str(text).expect("it is JSON");
        let words = answer["cluster"].as_str().expect("it says what it begins with");
        assert!(words.contains("1 machines, 1 tasks that run and 2 that wait") && words.contains(from), "{words}");
        let input = &answer["inputs"][0];
        assert!(
            input["file"].as_str().is_some_and(|file| file.contains(from) && file.contains(", taken on 20")),
            "{input}"
        );
        assert_eq!(input["sha256"].as_str().map(str::len), Some(12), "{input}");
        assert_eq!(answer["ways"][0]["jobs_finished"], 3.0, "one after the other, a day each");
    }
    let refused = cluster.rialto(&[&ask[..], &["--snapshot", "no-such-file"]].concat());
    assert!(refused.code == 1 && refused.stderr.contains("no-such-file"), "{}", refused.stderr);
    observer.let_go();
    for run in [runs, waits] {
        let ended = run.finish();
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    }
}
