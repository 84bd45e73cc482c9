//! The master dies and comes back: frameworks and agents find it again, and it gives nothing away twice.

use crate::harness::{AgentSpec, Cluster, wait_until};
use crate::observer::Observer;

const GPUS: [AgentSpec; 2] = [
    AgentSpec::roomy("left").with_devices(&["fake:gpu,model=T4,generation=7,memory=16GiB"]),
    AgentSpec::roomy("right").with_devices(&["fake:gpu,model=G2,generation=9,memory=40GiB"]),
];

#[test]
fn a_killed_master_comes_back_and_no_device_is_given_twice() {
    let mut cluster = Cluster::start(&GPUS);
    let observer = Observer::new(cluster.make_folder("observed"));
    let first = cluster.spawn(&["run", "--instances", "2", "--device", "gpu", "--", "sh", "-c", &observer.command(0)]);
    let before = observer.wait_for(2);
    wait_until("the master knows that two tasks run", || cluster.tasks_in("TASK_RUNNING").len() == 2);
    let told = cluster.cluster();
    let (frameworks, held) = (ids_of_frameworks(&cluster), holders(&cluster));
    assert_eq!(held.len(), 2);

    cluster.master().kill9();
    observer.assert_undisturbed(&before);
    cluster.start_master();
    let rival = cluster.spawn(&["run", "--name", "rival", "--device", "gpu", "--", "sh", "-c", &observer.command(0)]);
    cluster.wait_for_agents(2);
    wait_until("the framework is back", || {
        cluster.frameworks().iter().any(|one| one.connected && frameworks.contains(&one.id))
    });
    let again = cluster.cluster();
    assert_eq!(again.cluster, told.cluster);
    assert!(again.term > told.term, "the term stayed {}", told.term);
    wait_until("the rival waits", || rival.stderr().contains("rival") && rival.stderr().contains("held"));
    assert_eq!(holders(&cluster), held, "a device has changed hands");
    observer.assert_undisturbed(&before);

    observer.let_go();
    let ended = first.finish();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let ended = rival.finish();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(observer.ended().len(), 3);
}

#[test]
fn tasks_that_end_while_the_master_is_away_are_told_when_it_is_back() {
    let mut cluster = Cluster::start(&[AgentSpec::roomy("solo")]);
    let observer = Observer::new(cluster.make_folder("observed"));
    let run = cluster.spawn(&["run", "--instances", "5", "--", "sh", "-c", &observer.command(3)]);
    observer.wait_for(5);
    wait_until("the master knows that five tasks run", || cluster.tasks_in("TASK_RUNNING").len() == 5);
    cluster.master().kill9();
    observer.let_go();
    wait_until("the tasks have ended", || observer.ended().len() == 5);
    cluster.start_master();
    let ended = run.finish();
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    assert_eq!(observer.signed().len(), 5, "a task was started anew");
}

#[test]
fn a_master_that_is_asked_to_stop_disturbs_nothing() {
    let mut cluster = Cluster::start(&[AgentSpec::roomy("solo")]);
    let observer = Observer::new(cluster.make_folder("observed"));
    let run = cluster.spawn(&["run", "--", "sh", "-c", &observer.command(0)]);
    let before = observer.wait_for(1);
    let master = cluster.take_master();
    master.interrupt();
    let stopped = master.finish();
    assert_eq!(stopped.code, 0, "{}", stopped.stderr);
    cluster.start_master();
    cluster.wait_for_agents(1);
    observer.assert_undisturbed(&before);
    observer.let_go();
    assert_eq!(run.finish().code, 0);
}

fn ids_of_frameworks(cluster: &Cluster) -> Vec<String> {
    cluster.frameworks().into_iter().map(|framework| framework.id).collect()
}

/// Which task holds which device.
fn holders(cluster: &Cluster) -> Vec<(String, String)> {
    let devices = cluster.devices().into_iter();
    devices.flat_map(|device| device.holders.into_iter().map(move |holder| (device.id.clone(), holder.task))).collect()
}
