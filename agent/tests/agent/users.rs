//! Tasks with users of their own: who is root within is nobody on the machine, and the files of images and volumes are theirs all the same.

use std::os::unix::fs::MetadataExt;

use rialto_core::model::{Exit, Operation, Role, Task, TaskState};
use rialto_proto::spec::TaskSpec;
use serde_json::json;

use crate::contained::nothing_is_left;
use crate::harness::{World, spec_task, until};
use crate::image_kit::{Builder, Layout, busybox};
use crate::oci::{self, OWN, RUNTIMES};
use crate::quota::{operate, volume};

/// The first user of all ranges.
const FIRST: u32 = 1 << 30;

fn own_users(command: &str) -> TaskSpec {
    let mut spec = TaskSpec::shell(command);
    spec.container.user_namespace = true;
    spec
}

fn roomy(id: &str, spec: &TaskSpec) -> Task {
    let mut task = spec_task(id, spec);
    task.resources = "cpus:0.1;mem:64".parse().expect("they are well formed");
    task
}

/// Runs a task to its good end and gives its output. `None`, and a word, where this disk can't show files as others'.
async fn output(world: &mut World, task: Task) -> Option<String> {
    let id = &*task.id.to_string();
    world.launch(vec![task]).await;
    let status = world.expect_end(id).await;
    if status.message.contains("can't show files as others'") {
        println!("skipped: {}", status.message);
        return None;
    }
    let stderr = std::fs::read_to_string(world.sandbox(id).join("stderr")).unwrap_or_default();
    assert_eq!(status.exit, Some(Exit::Code(0)), "{status:?}: {stderr}");
    Some(world.stdout(id))
}

#[tokio::test]
async fn the_files_of_an_image_are_those_of_the_groups_own_users() {
    let Some(base) = busybox() else { return };
    let mut layout = Layout::new();
    let app = Builder::default().file("app/data", b"data\n", 0o600).done();
    layout.add("v1", &[base, app], &json!({"WorkingDir": "/app"}));
    for runtime in [OWN].iter().chain(&RUNTIMES) {
        let Some(mut world) = oci::world(runtime, &layout, |_| {}).await else { continue };
        files_of_an_image(&mut world, &layout).await;
        nothing_is_left(&world).await;
    }
}

async fn files_of_an_image(world: &mut World, layout: &Layout) {
    let image = format!("oci:{}:v1", layout.path().display());
    let command = "id -u; cat /app/data; stat -c %u:%g /app/data /bin $RIALTO_SANDBOX; sed -n 's/ *0 *\\([0-9]*\\) .*/\\1/p' /proc/self/uid_map; \
        echo more >> /app/data && mkdir -p /opt/new && touch /opt/new/a /tmp/a $RIALTO_SANDBOX/mine && chown 7:8 /opt/new/a && stat -c %u:%g /opt/new/a; \
        rm /bin/sh && mount -t tmpfs none /mnt 2> /dev/null || echo held";
    let mut spec = own_users(command);
    spec.container.image = Some(image.clone());
    let Some(said) = output(world, roomy("t1", &spec)).await else { return };
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..5], ["0", "data", "0:0", "0:0", "0:0"], "{said}");
    assert!(lines[5].parse::<u32>().is_ok_and(|first| first >= FIRST), "{said}");
    assert_eq!(lines[6..], ["7:8", "held"], "{said}");
    let upper = world.run_dir("t1").join("upper");
    let owner =
        |path: &str| std::fs::metadata(upper.join(path)).map(|made| (made.uid(), made.gid())).expect("it was made");
    assert_eq!((owner("opt/new/a"), owner("app/data")), ((7, 8), (0, 0)), "on the disk they are as in the image");
    let mine = std::fs::metadata(world.sandbox("t1").join("mine")).expect("it was made");
    assert!(mine.uid() >= FIRST, "{mine:?}");
    let mut again = own_users("cat /app/data; ls /opt/new/a 2> /dev/null || echo none");
    again.container.image = Some(image.clone());
    assert_eq!(output(world, roomy("t2", &again)).await.as_deref(), Some("data\nnone\n"));
    let mut other = own_users("id -u; touch /tmp/a mine && echo wrote; cat /app/data 2> /dev/null || echo held");
    other.container.image = Some(image);
    other.user = "1000:1001".to_owned();
    other.working_dir = world.sandbox("t3").display().to_string();
    assert_eq!(output(world, roomy("t3", &other)).await.as_deref(), Some("1000\nwrote\nheld\n"));
}

#[tokio::test]
async fn what_is_in_a_volume_is_the_same_users_for_whoever_uses_it() {
    let resources = "cpus:8;mem:8192;disk(eng):50";
    let change = |options: &mut rialto_agent::Options| options.resources = resources.parse().expect("well formed");
    let Some(mut world) = World::contained(change).await else { return };
    let volume = volume(10);
    operate(&mut world, 1, Operation::Create(volume.clone())).await;
    let with_volume = |id: &str, spec: &TaskSpec| {
        let mut task = roomy(id, spec);
        task.resources.add(&volume);
        task.role = Role::new("eng").expect("a role");
        task
    };
    let write = "echo one > data/one && stat -Lc %u data data/one; echo own > mine; chown 5 data/one && echo given";
    let Some(said) = output(&mut world, with_volume("t1", &own_users(write))).await else { return };
    assert_eq!(said, "0\n0\ngiven\n");
    let kept = world.options.work_dir.join("volumes/roles/eng/data/one");
    assert_eq!(std::fs::metadata(&kept).expect("it is kept").uid(), 5, "not one of the group's range");
    assert!(std::fs::metadata(world.sandbox("t1").join("mine")).expect("it is kept").uid() >= FIRST);
    let plain = TaskSpec::shell("stat -c %u data/one; echo two > data/two");
    assert_eq!(output(&mut world, with_volume("t2", &plain)).await.as_deref(), Some("5\n"));
    let both = own_users("cat data/one data/two; stat -c %u data/one data/two; echo more >> data/two");
    assert_eq!(output(&mut world, with_volume("t3", &both)).await.as_deref(), Some("one\ntwo\n5\n0\n"));
    let mut third = own_users("cat data/two; echo x > data/three && stat -c %u data/three");
    third.user = "1000:1000".to_owned();
    assert_eq!(output(&mut world, with_volume("t4", &third)).await.as_deref(), Some("two\nmore\n1000\n"));
    // The same over a restart of the agent.
    let waits = own_users("while ! [ -e data/go ]; do sleep 0.02; done; cat data/go");
    world.launch(vec![with_volume("t5", &waits)]).await;
    world.expect("t5", TaskState::Running).await;
    world.crash().await;
    world.restart().await;
    std::fs::write(kept.with_file_name("go"), "went\n").expect("it is root's");
    until("it to see that", || (world.stdout("t5") == "went\n").then_some(())).await;
    world.expect_end("t5").await;
    nothing_is_left(&world).await;
}

#[tokio::test]
async fn a_group_that_never_starts_gives_its_users_back() {
    let Some(mut world) = World::contained(|_| {}).await else { return };
    let mut spec = own_users("true");
    spec.artefacts = vec![rialto_proto::spec::Artefact {
        uri: "file:///no/such/folder".to_owned(),
        ..rialto_proto::spec::Artefact::default()
    }];
    world.launch(vec![roomy("t1", &spec)]).await;
    assert_eq!(world.expect_end("t1").await.state, TaskState::Failed);
    let ranges = world.options.work_dir.join("users");
    until("its users to be given back", || (std::fs::read_dir(&ranges).map_or(0, Iterator::count) == 0).then_some(()))
        .await;
    nothing_is_left(&world).await;
}
