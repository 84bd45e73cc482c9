//! Tasks with users of their own in images that an installed OCI runtime runs: kept in as without one.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use rialto_agent::supervisor::protocol::Stdio;
use rialto_agent::{DeviceSource, Options};
use rialto_core::model::{Exit, Operation, Reason, Role, Task, TaskState};
use rialto_proto::spec::{Secret, TaskSpec};
use serde_json::json;

use crate::contained::{cgroups, mounts, nothing_is_left};
use crate::harness::{World, until, with_devices};
use crate::image_kit::Layout;
use crate::nested::ask;
use crate::oci::{self, RUNTIMES, ends_with_all_it_has, image, in_image, output};
use crate::quota::{operate, volume};

/// The first user of all ranges.
const FIRST: u32 = 1 << 30;
const DOCKER: &str = "00000000a80425fb";

/// An agent that leaves images to this runtime. `None`, and a word, where it is not installed, or this user or this disk can't.
async fn world(runtime: &str, layout: &Layout, change: impl FnOnce(&mut Options)) -> Option<World> {
    let mut world = oci::world(runtime, layout, change).await?;
    world.launch(vec![in_image("first", &spec(layout, "true"))]).await;
    let first = world.expect_end("first").await;
    if first.message.contains("can't show files as others'") {
        println!("skipped: {}", first.message);
        return None;
    }
    assert_eq!(first.state, TaskState::Finished, "{first:?}");
    nothing_is_left(&world).await;
    Some(world)
}

fn spec(layout: &Layout, command: &str) -> TaskSpec {
    let mut spec = oci::spec(layout, command);
    spec.container.user_namespace = true;
    spec
}

/// Who root within is on the machine.
const WHO: &str = "sed -n 's/ *0 *\\([0-9]*\\) *65536$/\\1/p' /proc/self/uid_map";

#[tokio::test]
async fn root_within_is_nobody_outside_and_can_not_leave() {
    let Some(layout) = image() else { return };
    for runtime in RUNTIMES {
        let Some(mut world) = world(runtime, &layout, |_| {}).await else { continue };
        let work_dir = world.options.work_dir.display().to_string();
        let tries = format!(
            "can() {{ \"$@\" > /dev/null 2>&1 && echo can: $@; }}; {WHO}; id -u; grep -E '^(CapEff|NoNewPrivs|CapBnd)' /proc/self/status; \
             can mount -t tmpfs none /mnt; can umount /proc; can umount /sys; can mount -o remount,bind,rw /sys; can mknod /node c 1 3; can mknod node b 7 0; \
             can sh -c 'echo 1 > /proc/sys/vm/drop_caches'; can sh -c 'echo h > /proc/sysrq-trigger'; can hostname other; can chroot / mount -t proc proc /proc; \
             can ls /proc/1/root/; can ls /proc/1/cwd/; can cat /proc/1/environ; can ls /usr/bin/env; can ls {work_dir}/journal; can ls {work_dir}/runs; \
             can mkdir /sys/fs/cgroup/memory/mine; can ls /sys/fs/cgroup/memory/rialto-test; can nsenter -t 1 -m true; \
             can busybox unshare -Urm umount /proc; can busybox unshare -Urm umount /sys; can busybox unshare -Urm umount /dev; \
             for p in /proc/[0-9]*; do echo $p; done | wc -l; kill -9 1; sleep 0.1; echo file > mine; touch /own /tmp/own /dev/shm/own && echo wrote; ls /dev"
        );
        let seen = output(&mut world, "t1", &spec(&layout, &tries)).await;
        let lines: Vec<&str> = seen.lines().collect();
        assert!(lines[0].parse::<u32>().is_ok_and(|first| first >= FIRST), "{runtime}: {seen}");
        let (eff, bnd) = (format!("CapEff:\t{DOCKER}"), format!("CapBnd:\t{DOCKER}"));
        assert_eq!(lines[1..5], ["0", &eff, &bnd, "NoNewPrivs:\t1"], "{runtime}: {seen}");
        // The supervisor, the shell and its two for this line; the runtime may still be about to end.
        let processes = lines[5].trim().parse::<u32>().expect("a number");
        assert!((4..=8).contains(&processes), "none of the machine's: {runtime}: {seen}");
        assert_eq!(lines[6], "wrote", "{runtime}: {seen}");
        assert!(!seen.contains("loop") && !seen.contains("kmsg") && lines.contains(&"ptmx"), "{runtime}: {seen}");
        let mine = std::fs::metadata(world.sandbox("t1").join("mine")).expect("it wrote");
        assert!(std::os::unix::fs::MetadataExt::uid(&mine) >= FIRST, "{runtime}: {mine:?}");
        nothing_is_left(&world).await;
    }
}

#[tokio::test]
async fn another_user_and_a_read_only_root_are_as_everywhere() {
    let Some(layout) = image() else { return };
    for runtime in RUNTIMES {
        let Some(mut world) = world(runtime, &layout, |_| {}).await else { continue };
        let mut asked = spec(
            &layout,
            "id -u; grep CapEff /proc/self/status; touch /own 2> /dev/null || echo held; touch /tmp/own mine && echo wrote; \
             cat $RIALTO_SECRETS/word; wc -l < /proc/net/dev",
        );
        asked.user = "1000:1001".to_owned();
        asked.container.read_only = true;
        asked.container.private_network = true;
        asked.secrets =
            vec![Secret { name: "word".to_owned(), target: String::new(), content: b"said\n".to_vec().into() }];
        let seen = output(&mut world, "t1", &asked).await;
        assert_eq!(seen, "1000\nCapEff:\t0000000000000000\nheld\nwrote\nsaid\n3\n", "{runtime}");
        nothing_is_left(&world).await;
    }
}

#[tokio::test]
async fn it_holds_its_device_and_no_other() {
    let Some(layout) = image() else { return };
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let node = folder.path().join("node");
    let made = std::process::Command::new("mknod").arg(&node).args(["c", "1", "9"]).status();
    if !made.is_ok_and(|status| status.success()) {
        return println!("skipped: this user can't make nodes");
    }
    // A node is its owner's on the machine, and so none of the task's.
    std::fs::set_permissions(&node, std::fs::Permissions::from_mode(0o666)).expect("it is ours");
    let closed = folder.path().join("closed");
    std::fs::write(&closed, "of the vendor\n").expect("it can be written");
    let edits = json!({"deviceNodes": [{"path": "/dev/card", "hostPath": node}],
        "mounts": [{"hostPath": closed, "containerPath": "/opt/library", "options": ["ro"]}]});
    let cdi = json!({"cdiVersion": "0.6.0", "kind": "vendor.com/card", "devices": [{"name": "good", "containerEdits": edits}]});
    std::fs::write(folder.path().join("spec.json"), cdi.to_string()).expect("it can be written");
    for runtime in RUNTIMES {
        let source = format!("cdi:vendor.com/card,folder={}", folder.path().display());
        let source = DeviceSource::parse(&source).expect("it is well formed");
        let Some(mut world) = world(runtime, &layout, |options| options.device_sources = vec![source]).await else {
            continue;
        };
        let look = "head -c 1 /dev/card 2> /dev/null | wc -c; cat /opt/library 2> /dev/null; (echo x > /opt/library) 2> /dev/null && echo changed; \
            mount -o remount,bind,rw /opt/library 2> /dev/null && echo changed; true";
        let held = with_devices(in_image("t1", &spec(&layout, look)), &["vendor.com/card=good"], "card");
        world.launch(vec![held]).await;
        world.expect("t1", TaskState::Running).await;
        let status = world.expect_end("t1").await;
        assert_eq!(world.stdout("t1"), "1\nof the vendor\n", "{runtime}: {status:?}");
        assert_eq!(output(&mut world, "t2", &spec(&layout, look)).await, "0\n", "{runtime}");
        nothing_is_left(&world).await;
    }
}

#[tokio::test]
async fn a_shell_beside_it_has_the_same_users() {
    let Some(layout) = image() else { return };
    for runtime in RUNTIMES {
        let Some(mut world) = world(runtime, &layout, |_| {}).await else { continue };
        world.launch(vec![in_image("t1", &spec(&layout, "touch /inside; exec sleep 1000"))]).await;
        world.expect("t1", TaskState::Running).await;
        let command =
            format!("ls /inside; {WHO}; grep CapEff /proc/self/status; echo more > /inside && echo wrote; exit 3");
        let asked = ask(&world, "t1", 0, &["sh", "-c", &command], Stdio::Output);
        let seen = asked.read(0);
        let lines: Vec<&str> = seen.lines().collect();
        assert_eq!(lines.len(), 4, "{runtime}: {seen}{}", asked.read(1));
        assert!(lines[1].parse::<u32>().is_ok_and(|first| first >= FIRST), "{runtime}: {seen}");
        assert_eq!((lines[0], lines[3]), ("/inside", "wrote"), "{runtime}: {seen}");
        assert_eq!(lines[2], format!("CapEff:\t{DOCKER}"), "{runtime}: {seen}");
        assert!(asked.end().contains("\"code\":3"), "{runtime}");
        let terminal = Stdio::Terminal { rows: 30, columns: 100, kind: "xterm".to_owned() };
        let asked = ask(&world, "t1", 0, &["sh", "-c", "test -t 0 && echo terminal"], terminal);
        assert_eq!(asked.read(0), "terminal\r\n", "{runtime}");
        world.kill("t1").await;
        world.expect("t1", TaskState::Killed).await;
        nothing_is_left(&world).await;
    }
}

#[tokio::test]
async fn members_share_files_a_volume_and_memory_and_end_together() {
    let Some(layout) = image() else { return };
    for runtime in RUNTIMES {
        let resources = "cpus:8;mem:8192;disk(eng):50";
        let change = |options: &mut Options| options.resources = resources.parse().expect("well formed");
        let Some(mut world) = world(runtime, &layout, change).await else { continue };
        let volume = volume(10);
        operate(&mut world, 1, Operation::Create(volume.clone())).await;
        let with_volume = |id: &str, command: &str| -> Task {
            let mut task = in_image(id, &spec(&layout, command));
            task.role = Role::new("eng").expect("a role");
            if id == "t1" {
                task.resources.add(&volume);
            }
            task
        };
        let first =
            "echo shared > /tmp/a; echo shared > /b; echo kept > data/kept; echo shared > /dev/shm/c; exec sleep 1000";
        let second =
            "while ! [ -e /dev/shm/c ]; do sleep 0.1; done; cat /tmp/a /b; echo more >> /b && echo wrote; exit 4";
        world.launch(vec![with_volume("t1", first), with_volume("t2", second)]).await;
        world.expect("t1", TaskState::Running).await;
        world.expect("t2", TaskState::Running).await;
        assert_eq!(world.expect("t2", TaskState::Failed).await.exit, Some(Exit::Code(4)), "{runtime}");
        assert_eq!(world.expect("t1", TaskState::Killed).await.reason, Some(Reason::GroupEnded), "{runtime}");
        assert_eq!(world.stdout("t2"), "shared\nshared\nwrote\n", "{runtime}");
        let kept = world.options.work_dir.join("volumes/roles/eng/data/kept");
        let kept = std::fs::metadata(kept).expect("it is kept");
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&kept), 0, "{runtime}: of whoever uses the volume");
        nothing_is_left(&world).await;
    }
}

#[tokio::test]
async fn nothing_of_it_outlives_its_kill_its_limits_or_its_supervisor() {
    let Some(layout) = image() else { return };
    for runtime in RUNTIMES {
        let Some(mut world) = world(runtime, &layout, |_| {}).await else { continue };
        let before = mounts();
        let stubborn = "trap '' TERM; (setsid sh -c 'trap \"\" TERM HUP; sleep 1000' &); while true; do sleep 1; done";
        for (id, kill_supervisor) in [("t1", false), ("t2", true)] {
            let mut task = in_image(id, &spec(&layout, stubborn));
            task.kill_grace = Duration::from_millis(100);
            world.launch(vec![task]).await;
            world.expect(id, TaskState::Running).await;
            ends_with_all_it_has(&mut world, id, kill_supervisor).await;
        }
        world.launch(vec![in_image("t3", &spec(&layout, "head -c 200000000 /dev/zero | tail -c 200000000"))]).await;
        let status = world.expect_end("t3").await;
        assert_eq!(status.reason, Some(Reason::MemoryLimit), "{runtime}: {status:?}");
        let mut bomb = spec(&layout, "b() { b & b & exec sleep 1000; }; b");
        bomb.limits.pids = Some(100);
        world.launch(vec![in_image("t4", &bomb)]).await;
        world.expect("t4", TaskState::Running).await;
        let current = |file: &Path| std::fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
        let groups = cgroups(&world);
        let file = groups.iter().map(|group| group.join("pids.current")).find(|file| file.exists()).expect("a limit");
        until("the bomb to go off", || current(&file).filter(|now| (80..=100).contains(now))).await;
        world.kill("t4").await;
        world.expect("t4", TaskState::Killed).await;
        nothing_is_left(&world).await;
        assert_eq!(mounts(), before, "{runtime}");
    }
}
