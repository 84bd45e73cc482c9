//! A device has one tenant at a time, whoever competes for it, as seen by somebody who does not ask Rialto.

use std::path::Path;

use crate::harness::{AgentSpec, Cluster};

const GPUS: [AgentSpec; 2] = [
    AgentSpec::roomy("left").with_devices(&["fake:gpu,model=T4"]),
    AgentSpec::roomy("right").with_devices(&["fake:gpu,model=G2"]),
];

#[test]
fn two_hundred_tasks_of_three_frameworks_never_share_a_device() {
    let cluster = Cluster::start(&GPUS);
    let observed = cluster.make_folder("observed");
    let folder = observed.to_str().expect("temporary folders have plain names");
    // Making a folder is atomic: the second tenant of a device fails to, and says so.
    let tenant = format!(
        "cd {folder} && if mkdir lock.$RIALTO_DEVICES; then echo $RIALTO_TASK_ID >> used.$RIALTO_DEVICES; sleep 0.02; \
         rmdir lock.$RIALTO_DEVICES; else echo $RIALTO_TASK_ID >> overlaps; exit 9; fi"
    );
    let run = |name: &str, instances: &str| {
        cluster.spawn(&["run", "--name", name, "--instances", instances, "--device", "gpu", "--", "sh", "-c", &tenant])
    };
    let frameworks = [run("one", "67"), run("two", "67"), run("three", "66")];
    for framework in frameworks {
        let ended = framework.finish();
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    }
    assert_eq!(lines(&observed, "overlaps"), 0, "a device had two tenants");
    let (left, right) = (lines(&observed, "used.gpu-T4-0"), lines(&observed, "used.gpu-G2-0"));
    assert_eq!(left + right, 200, "{left} on one device and {right} on the other");
    assert!(left > 0 && right > 0, "{left} on one device and {right} on the other");
    let finished = cluster.tasks_in("TASK_FINISHED").len();
    assert_eq!(finished, 200);
}

fn lines(folder: &Path, name: &str) -> usize {
    std::fs::read_to_string(folder.join(name)).unwrap_or_default().lines().count()
}
