//! Disk where no file system holds tasks to it: measured, wherever a task may write.

use rialto_core::model::{Reason, Task, TaskState};
use rialto_proto::spec::TaskSpec;

use crate::contained::nothing_is_left;
use crate::harness::{World, spec_task};
use crate::image_kit::{Layout, busybox};

/// A task that writes much there, and stays.
fn writes(id: &str, place: &str, image: Option<&Layout>) -> Task {
    let mut spec =
        TaskSpec::shell(&format!("mkdir -p {place}; head -c 20000000 /dev/zero > {place}/large; exec sleep 1000"));
    spec.container.image = image.map(|layout| format!("oci:{}:v1", layout.path().display()));
    limited(spec_task(id, &spec), 8)
}

fn limited(mut task: Task, disk_mib: u32) -> Task {
    task.resources = format!("cpus:0.1;mem:64;disk:{disk_mib}").parse().expect("they are well formed");
    task
}

#[tokio::test]
async fn what_is_written_to_tmp_and_over_an_image_is_measured_too() {
    let Some(base) = busybox() else { return };
    let mut layout = Layout::new();
    layout.add("v1", &[base], &serde_json::json!({}));
    let folder = layout.path().to_owned();
    let world = World::contained(|options| {
        options.fetch.folders = vec![folder];
        options.resources = "cpus:8;mem:8192;disk:200".parse().expect("they are well formed");
    });
    let Some(mut world) = world.await else { return };
    let image = Some(&layout);
    let tasks = [
        ("sandbox", writes("sandbox", ".", None)),
        ("tmp", writes("tmp", "/tmp", None)),
        ("var-tmp", writes("var-tmp", "/var/tmp", None)),
        ("image-tmp", writes("image-tmp", "/tmp", image)),
        ("new", writes("new", "/new/folder", image)),
        ("bin", writes("bin", "/bin", image)),
    ];
    for (id, task) in tasks {
        world.launch(vec![task]).await;
        let status = world.expect_end(id).await;
        assert_eq!((status.state, status.reason), (TaskState::Failed, Some(Reason::DiskLimit)), "{id}: {status:?}");
        assert!(status.message.contains("its limit of 8.0 MiB"), "{id}: {}", status.message);
    }
    // Less than that, wherever it is, is no harm: it is what all of it takes together that counts.
    let mut within = writes("within", "/tmp", image);
    within.resources = "cpus:0.1;mem:64;disk:40".parse().expect("they are well formed");
    let mut spec = TaskSpec::from_body(&within.body).expect("it was made of one");
    spec.command =
        rialto_proto::spec::CommandSpec::Shell("head -c 9000000 /dev/zero > /tmp/a; cp /tmp/a /b; sleep 2".to_owned());
    within.body = spec.to_body();
    world.launch(vec![within]).await;
    assert_eq!(world.expect_end("within").await.state, TaskState::Finished);
    nothing_is_left(&world).await;
}

#[tokio::test]
async fn what_a_group_shares_counts_as_its_first_members() {
    let world = World::contained(|options| {
        options.resources = "cpus:8;mem:8192;disk:200".parse().expect("they are well formed");
    });
    let Some(mut world) = world.await else { return };
    let first = limited(crate::harness::task("first", "exec sleep 1000"), 8);
    let second =
        limited(crate::harness::task("second", "head -c 20000000 /dev/zero > /tmp/large; exec sleep 1000"), 100);
    world.launch(vec![first, second]).await;
    assert_eq!(world.expect_end("first").await.reason, Some(Reason::DiskLimit));
    assert_eq!(world.expect_end("second").await.reason, Some(Reason::GroupEnded));
    nothing_is_left(&world).await;
}
