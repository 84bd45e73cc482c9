//! Reservations and persistent volumes with real processes.

use crate::harness::{AgentSpec, Cluster, wait_until};

fn solo() -> AgentSpec {
    AgentSpec { resources: "cpus:4;mem:4096;disk:1000", ..AgentSpec::roomy("solo") }
}

fn done(cluster: &Cluster, args: &[&str]) -> String {
    let finished = cluster.rialto(args);
    assert_eq!(finished.code, 0, "{args:?}: {}", finished.stderr);
    finished.stdout
}

#[test]
fn a_volume_survives_the_task_that_wrote_it_and_the_agent() {
    let mut cluster = Cluster::start(&[solo()]);
    done(&cluster, &["reserve", "solo", "eng", "cpus:1;disk:100", "--label", "for=test"]);
    done(&cluster, &["volume", "create", "solo", "eng", "data", "60", "--path", "var/data"]);
    let write = "echo kept > var/data/note && ls -l var/";
    let wrote = cluster.rialto(&["run", "--role", "eng", "--volume", "data", "--", "sh", "-c", write]);
    assert_eq!(wrote.code, 0, "{}", wrote.stderr);

    cluster.agent("solo").kill9();
    wait_until("the master has seen it", || cluster.agents()[0].status != "active");
    cluster.start_agent("solo");
    cluster.wait_for_agents(1);
    let listed = done(&cluster, &["volume", "list"]);
    assert!(listed.contains("data") && listed.contains("var/data"), "{listed}");
    let read = cluster.rialto(&["run", "--role", "eng", "--volume", "data", "--", "cat", "var/data/note"]);
    assert_eq!((read.code, read.stdout.contains("kept")), (0, true), "{}{}", read.stdout, read.stderr);

    let refused = cluster.rialto(&["unreserve", "solo", "eng", "disk:100"]);
    assert!(refused.code != 0 && refused.stderr.contains("less than disk:100"), "{}", refused.stderr);
    done(&cluster, &["volume", "destroy", "solo", "eng", "data"]);
    wait_until("the data is gone", || !cluster.path("solo").join("volumes/roles/eng/data").exists());
    done(&cluster, &["unreserve", "solo", "eng", "cpus:1;disk:100"]);
    wait_until("nothing is reserved", || cluster.agents()[0].reserved.is_empty());
}

#[test]
fn a_reservation_survives_the_master_and_ends_in_its_time() {
    let mut cluster = Cluster::start(&[solo()]);
    done(&cluster, &["reserve", "solo", "eng", "cpus:1", "--until", "10s"]);
    cluster.master().kill9();
    cluster.start_master();
    cluster.wait_for_agents(1);
    wait_until("the reservation has ended", || cluster.agents()[0].reserved.is_empty());
    assert_eq!(cluster.agents()[0].total.cpus, 4.0);
}

#[test]
fn bad_reservations_are_refused_with_the_reason() {
    let cluster = Cluster::start(&[solo()]);
    let cases: [(&[&str], &str); 6] = [
        (&["reserve", "nobody", "eng", "cpus:1"], "none of that name or id"),
        (&["reserve", "solo", "eng", "cpus:99"], "asks for cpus"),
        (&["reserve", "solo", "*", "cpus:1"], "expected a role other than *"),
        (&["reserve", "solo", "eng", "cpus:1", "--until", "soon"], "expected a duration"),
        (&["volume", "create", "solo", "eng", "data", "10"], "has no 10 MiB of disk under one reservation"),
        (&["volume", "destroy", "solo", "eng", "data"], "has no volume data of role eng"),
    ];
    for (args, expected) in cases {
        let refused = cluster.rialto(args);
        assert!(refused.code != 0 && refused.stderr.contains(expected), "{args:?}: {}", refused.stderr);
    }
}
