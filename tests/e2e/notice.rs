//! An agent that is taken away at a moment that is known: what runs there is told in time, and goes on elsewhere.

use crate::harness::{AgentSpec, Cluster, find, wait_until};

#[test]
fn what_runs_on_an_agent_that_leaves_is_told_to_end_before_and_goes_on_elsewhere() {
    let cluster = Cluster::start(&[AgentSpec::roomy("left"), AgentSpec::roomy("right")]);
    let folder = cluster.make_folder("observed");
    let seen = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default().lines().count();
    let command = format!(
        "cd {}; trap 'echo saved >> saved; exit 1' TERM; echo up >> up; while [ ! -e go ]; do sleep 0.1; done",
        folder.display()
    );
    let run = cluster.spawn(&["run", "--name", "worker", "--", "sh", "-c", &command]);
    wait_until("the task runs", || seen("up") == 1 && cluster.tasks_in("TASK_RUNNING").len() == 1);
    let first = cluster.tasks_in("TASK_RUNNING")[0].agent.clone();
    let agents = cluster.agents();
    let name = |id: &str| agents.iter().find(|agent| agent.id == id).map(|agent| agent.name.clone());
    let leaving = name(&first).expect("it runs on one of them");

    let said = cluster.rialto(&["notice", &leaving, "--in", "1 h"]);
    assert_eq!((said.code, said.stdout), (0, format!("{first} will be taken away in 3600 s\n")), "{}", said.stderr);
    let shown = cluster.rialto(&["agents"]).stdout;
    assert!(shown.contains("active, leaves in"), "{shown}");
    assert_eq!(seen("saved"), 0, "an hour is more than it needs");
    assert_eq!(cluster.rialto(&["notice", &leaving, "--cancel"]).stdout, format!("{first} stays\n"));
    assert!(cluster.agents().iter().all(|agent| agent.leaves_ms.is_none()));

    assert_eq!(cluster.rialto(&["notice", &leaving, "--in", "2 s"]).code, 0);
    wait_until("it has saved what it had", || seen("saved") == 1);
    wait_until("the agent is gone", || {
        cluster.agents().iter().any(|agent| agent.id == first && agent.status == "gone")
    });
    wait_until("the task runs again", || seen("up") == 2);
    let second = find("it is known to run", || cluster.tasks_in("TASK_RUNNING").first().map(|task| task.agent.clone()));
    assert_ne!(second, first);
    let ended = cluster.tasks().into_iter().find(|task| task.agent == first).expect("its end is remembered");
    assert_eq!((ended.state.as_str(), ended.reason.as_deref()), ("TASK_KILLED", Some("AGENT_LEAVING")));
    std::fs::write(folder.join("go"), "").expect("it is ours");
    let ended = run.finish();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let refused = cluster.rialto(&["notice", &first, "--in", "1 min"]);
    assert!(refused.code == 1 && refused.stderr.contains("none of that id or name"), "{}", refused.stderr);
    assert_eq!(cluster.rialto(&["notice", &second, "--in", "soon"]).code, 2);
    assert_eq!(cluster.rialto(&["notice", &second]).code, 2);
}
