//! What operators say of offers: how a role's frameworks are made them, and where machines stand.

use crate::harness::{AgentSpec, Cluster, find};

#[test]
fn an_operator_sets_how_a_roles_frameworks_are_made_offers() {
    let cluster = Cluster::start(&[AgentSpec::roomy("solo")]);
    let set = |role: &str, mode: &str| cluster.rialto(&["role", "set", role, "--offer-mode", mode]);
    let done = set("eng", "exclusive");
    assert_eq!((done.code, done.stdout.as_str()), (0, "eng: exclusive offers\n"), "{}", done.stderr);
    let roles = cluster.rialto(&["roles"]);
    assert!(roles.stdout.contains("exclusive"), "{}", roles.stdout);
    let run = cluster.rialto(&["run", "--role", "eng/ci", "--", "echo", "hello"]);
    assert_eq!((run.code, run.stdout.as_str()), (0, "hello\n"), "{}", run.stderr);
    assert_eq!(set("eng", "default").stdout, "eng: offers as its frameworks ask\n");
    let roles = cluster.rialto(&["roles"]);
    assert!(!roles.stdout.contains("exclusive"), "{}", roles.stdout);
    for (role, mode, code, says) in [("a//b", "exclusive", 1, "role"), ("eng", "maybe", 2, "--offer-mode")] {
        let refused = set(role, mode);
        assert_eq!(refused.code, code, "{}", refused.stderr);
        assert!(refused.stderr.contains(says), "{}", refused.stderr);
    }
}

#[test]
fn an_agent_shows_where_it_stands_and_tasks_can_ask_for_it() {
    let cluster = Cluster::start(&[AgentSpec::roomy("solo")]);
    let folder = cluster.name_of("far");
    let args = ["agent", "--name", "far", "--work-dir", &folder, "--region", "us", "--zone", "us-1"];
    let _far = cluster.start_process("far", &mut cluster.command(&args));
    let far = find("the agent has registered", || cluster.agents().into_iter().find(|agent| agent.name == "far"));
    assert_eq!((far.region.as_deref(), far.zone.as_deref()), (Some("us"), Some("us-1")));
    let agents = cluster.rialto(&["agents"]);
    assert!(agents.stdout.contains("us/us-1"), "{}", agents.stdout);
    let run = cluster.rialto(&["run", "--constraint", "zone == \"us-1\"", "--", "echo", "far away"]);
    assert_eq!((run.code, run.stdout.as_str()), (0, "far away\n"), "{}", run.stderr);
    assert_eq!(cluster.tasks()[0].agent, far.id);
}
