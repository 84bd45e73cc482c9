//! Work of higher priority comes before work of lower, which makes way and is told so.

use crate::harness::{AgentSpec, Cluster, wait_until};
use crate::observer::Observer;

#[test]
fn a_run_of_higher_priority_ends_one_of_lower_which_starts_anew_after_it() {
    let cluster = Cluster::start(&[AgentSpec { name: "solo", resources: "cpus:1;mem:1024", devices: &[] }]);
    let observer = Observer::new(cluster.make_folder("observed"));
    let low = cluster.spawn(&["run", "--name", "low", "--cpus", "1", "--", "sh", "-c", &observer.command(0)]);
    observer.wait_for(1);
    wait_until("it is known to run", || cluster.tasks_in("TASK_RUNNING").len() == 1);
    let high = cluster.spawn(&["run", "--name", "high", "--cpus", "1", "--priority", "5", "--", "true"]);
    let ended = high.finish();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let preempted = cluster.tasks_in("TASK_KILLED");
    assert_eq!(preempted.len(), 1);
    assert_eq!(preempted[0].reason.as_deref(), Some("PREEMPTED"));
    wait_until("it runs again", || cluster.tasks_in("TASK_RUNNING").len() == 1);
    observer.let_go();
    let ended = low.finish();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    for part in ["has to end: PREEMPTED", "is started anew"] {
        assert!(ended.stderr.contains(part), "{part:?} is not said: {}", ended.stderr);
    }
}
