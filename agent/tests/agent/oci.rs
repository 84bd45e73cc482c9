//! Tasks in images run by an installed OCI runtime, `runc` and `crun`: as contained, supervised and recovered as those that the supervisor
//! runs itself.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use rialto_agent::supervisor::protocol::Stdio;
use rialto_agent::{DeviceSource, OciRuntime, Options};
use rialto_core::model::{Exit, Reason, Task, TaskHealth, TaskState};
use rialto_proto::spec::{Check, CommandSpec, HealthCheck, Rlimit, TaskSpec};
use serde_json::{Value, json};

use crate::contained::{cgroups, mounts, nothing_is_left};
use crate::harness::{World, lives, spec_task, until, with_devices};
use crate::image_kit::{Builder, Layout, busybox};
use crate::images::Registry;
use crate::nested::ask;

pub(crate) const RUNTIMES: [&str; 2] = ["runc", "crun"];
/// Not a runtime: the supervisor itself.
pub(crate) const OWN: &str = "none";

/// An agent that leaves images to this runtime. `None`, and a word, where it is not installed, or this user can't.
pub(crate) async fn world(runtime: &str, layout: &Layout, change: impl FnOnce(&mut Options)) -> Option<World> {
    let asked: OciRuntime = runtime.parse().expect("everything is one");
    let installed = std::process::Command::new(runtime).arg("--version").output();
    if runtime != OWN && installed.is_err() {
        println!("skipped: no {runtime}");
        return None;
    }
    let folder = layout.path().to_owned();
    let both = |options: &mut Options| {
        options.fetch.folders = vec![folder];
        options.oci_runtime = asked;
        change(options);
    };
    World::contained(both).await
}

pub(crate) fn image() -> Option<Layout> {
    let mut layout = Layout::new();
    layout.add("v1", &[busybox()?], &json!({}));
    Some(layout)
}

pub(crate) fn spec(layout: &Layout, command: &str) -> TaskSpec {
    let mut spec = TaskSpec::shell(command);
    spec.container.image = Some(format!("oci:{}:v1", layout.path().display()));
    spec
}

pub(crate) fn in_image(id: &str, spec: &TaskSpec) -> Task {
    let mut task = spec_task(id, spec);
    task.resources = "cpus:0.1;mem:64".parse().expect("they are well formed");
    task
}

/// Runs a task to its end and gives its output.
pub(crate) async fn output(world: &mut World, id: &str, spec: &TaskSpec) -> String {
    world.launch(vec![in_image(id, spec)]).await;
    world.expect(id, TaskState::Running).await;
    let status = world.expect_end(id).await;
    let stderr = std::fs::read_to_string(world.sandbox(id).join("stderr")).unwrap_or_default();
    assert_eq!(status.exit, Some(Exit::Code(0)), "{status:?}: {stderr}");
    world.stdout(id)
}

/// What the runtime was told of a task.
/// Ends a running task by a kill, or its supervisor by the kernel: neither leaves anything.
pub(crate) async fn ends_with_all_it_has(world: &mut World, id: &str, kill_supervisor: bool) {
    let supervisor = world.supervisors()[0];
    if kill_supervisor {
        let pid = rustix::process::Pid::from_raw(supervisor).expect("a number");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it lives");
        let status = world.expect(id, TaskState::Failed).await;
        assert_eq!(status.reason, Some(Reason::SupervisorLost), "{status:?}");
    } else {
        world.kill(id).await;
        world.expect(id, TaskState::Killed).await;
    }
    nothing_is_left(world).await;
    until("the supervisor to be gone", || (!lives(supervisor)).then_some(())).await;
}

fn config(world: &World, id: &str) -> Value {
    let text = std::fs::read(world.run_dir(id).join("bundle-0/config.json")).expect("there is a bundle");
    serde_json::from_slice(&text).expect("it is JSON")
}

#[tokio::test]
async fn a_runtime_runs_a_task_as_contained_as_the_supervisor_would() {
    let Some(layout) = image() else { return };
    for runtime in RUNTIMES {
        let Some(mut world) = world(runtime, &layout, |_| {}).await else { continue };
        let tries = "can() { \"$@\" > /dev/null 2>&1 && echo can: $@; }; \
            can mount -t tmpfs none /mnt; can sh -c 'echo 1 > /proc/sys/vm/drop_caches'; can ls /proc/1/root/; \
            can cat /proc/1/environ; can ls /usr/bin/env; can ls /sys/fs/cgroup/memory/rialto-test; \
            grep -E '^(CapEff|NoNewPrivs|CapBnd)' /proc/self/status; pwd; id -u; ls /dev; echo file > mine; touch /own /tmp/own && echo wrote";
        let mut asked = spec(&layout, tries);
        asked.container.rlimits = vec![Rlimit { name: "nofile".to_owned(), soft: Some(99), hard: Some(99) }];
        let seen = output(&mut world, "t1", &asked).await;
        let docker = "00000000a80425fb";
        let expected = format!("CapBnd:\t{docker}\nNoNewPrivs:\t1\n{}\n0\n", world.sandbox("t1").display());
        assert!(seen.starts_with(&format!("CapEff:\t{docker}\n{expected}")), "{runtime}: {seen}");
        assert!(seen.ends_with("wrote\n") && !seen.contains("loop") && !seen.contains("kmsg"), "{runtime}: {seen}");
        assert!(seen.contains("null\n") && seen.contains("ptmx\n"), "{runtime}: {seen}");
        assert_eq!(std::fs::read_to_string(world.sandbox("t1").join("mine")).expect("it wrote"), "file\n");
        asked.command = CommandSpec::Shell("ulimit -n; id -u; grep CapEff /proc/self/status; ls /own 2>&1".to_owned());
        asked.user = "1000:1001".to_owned();
        let seen = {
            world.launch(vec![in_image("t2", &asked)]).await;
            world.expect("t2", TaskState::Running).await;
            world.expect("t2", TaskState::Failed).await;
            world.stdout("t2")
        };
        assert!(seen.starts_with("99\n1000\nCapEff:\t0000000000000000\nls: /own:"), "{runtime}: {seen}");
        nothing_is_left(&world).await;
    }
}

#[tokio::test]
async fn what_it_is_told_says_what_the_cgroup_says_and_more_is_not_used() {
    let Some(layout) = image() else { return };
    for runtime in RUNTIMES {
        let Some(mut world) = world(runtime, &layout, |_| {}).await else { continue };
        let mut asked = spec(&layout, "sleep 1; head -c 200000000 /dev/zero | tail -c 200000000");
        asked.limits.pids = Some(50);
        world.launch(vec![in_image("t1", &asked)]).await;
        world.expect("t1", TaskState::Running).await;
        let told = config(&world, "t1");
        assert_eq!(told["linux"]["resources"]["memory"]["limit"], 64 << 20);
        assert_eq!(told["linux"]["resources"]["pids"]["limit"], 50);
        let groups = cgroups(&world);
        let limits = groups.iter().find_map(|group| std::fs::read_to_string(group.join("pids.max")).ok());
        assert_eq!(limits.as_deref(), Some("50\n"), "{groups:?}");
        let path = told["linux"]["cgroupsPath"].as_str().expect("a path").to_owned();
        assert!(groups.iter().all(|group| group.ends_with(path.trim_start_matches('/'))), "{path}: {groups:?}");
        let status = world.expect("t1", TaskState::Failed).await;
        assert_eq!(status.reason, Some(Reason::MemoryLimit), "{runtime}: {status:?}");
        nothing_is_left(&world).await;
    }
}

/// Notes when it was run and in what state, and makes a file in the container when that is made.
const SCRIPT: &str = r#"#!/bin/sh
state=$(cat)
echo "$1 $(echo "$state" | sed 's/.*"status": *"\([a-z]*\)".*/\1/')" >> FOLDER/log
if [ "$1" = createContainer ]; then
    bundle=$(echo "$state" | sed 's/.*"bundle": *"\([^"]*\)".*/\1/')
    root=$(sed 's/.*"root":{"path":"\([^"]*\)".*/\1/' "$bundle/config.json")
    echo "made for $2" > "$root/made"
fi
"#;
const MOMENTS: [&str; 5] = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];

fn device_with_hooks(folder: &Path) -> DeviceSource {
    let script = folder.join("hook.sh");
    let text = SCRIPT.replace("FOLDER", &folder.display().to_string());
    std::fs::write(&script, text).expect("it can be written");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    std::fs::write(folder.join("library"), "of the vendor\n").expect("it can be written");
    let hook = |name: &&str| json!({"hookName": name, "path": script, "args": ["hook.sh", name, "you"], "env": ["PATH=/bin:/usr/bin"]});
    let edits = json!({"env": ["NAME=good"], "hooks": MOMENTS.iter().map(hook).collect::<Vec<_>>(),
        "deviceNodes": [{"path": "/dev/card", "hostPath": "/dev/loop1"}],
        "mounts": [{"hostPath": folder.join("library"), "containerPath": "/opt/library", "options": ["ro"]}]});
    let cdi = json!({"cdiVersion": "0.6.0", "kind": "vendor.com/card", "devices": [{"name": "good", "containerEdits": edits}]});
    std::fs::write(folder.join("spec.json"), cdi.to_string()).expect("it can be written");
    DeviceSource::parse(&format!("cdi:vendor.com/card,folder={}", folder.display())).expect("it is well formed")
}

#[tokio::test]
async fn a_device_comes_with_its_node_its_files_and_its_hooks_to_its_holder_alone() {
    let Some(layout) = image() else { return };
    if !Path::new("/dev/loop1").exists() {
        return println!("skipped: no loop devices");
    }
    for runtime in RUNTIMES {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let source = device_with_hooks(folder.path());
        let Some(mut world) = world(runtime, &layout, |options| options.device_sources = vec![source]).await else {
            continue;
        };
        let look = "cat /made /opt/library 2>/dev/null; echo $NAME; (: < /dev/card) 2>/dev/null && echo opened; \
            (echo x > /opt/library) 2>/dev/null && echo changed; ls /dev | grep -c loop";
        // What has ended by then needs no hook for having started.
        let until_told = format!("{look}; while ! [ -e go ]; do sleep 0.02; done");
        let held = with_devices(in_image("t1", &spec(&layout, &until_told)), &["vendor.com/card=good"], "card");
        world.launch(vec![held]).await;
        world.expect("t1", TaskState::Running).await;
        let log = || std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        until("the hook for having started", || log().contains("poststart").then_some(())).await;
        std::fs::write(world.sandbox("t1").join("go"), "").expect("it can be written");
        world.expect_end("t1").await;
        assert_eq!(world.stdout("t1"), "made for you\nof the vendor\ngood\nopened\n0\n", "{runtime}");
        let all = until("the last hook", || Some(log()).filter(|log| log.lines().count() >= MOMENTS.len())).await;
        let run: Vec<&str> = all.lines().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(run, MOMENTS, "{runtime}: {all}");
        world.launch(vec![in_image("t2", &spec(&layout, look))]).await;
        world.expect("t2", TaskState::Running).await;
        world.expect_end("t2").await;
        assert_eq!(world.stdout("t2"), "\n0\n", "{runtime}");
        nothing_is_left(&world).await;
    }
}

#[tokio::test]
async fn commands_and_shells_run_beside_a_task_in_its_container() {
    let Some(layout) = image() else { return };
    for runtime in RUNTIMES {
        let Some(mut world) = world(runtime, &layout, |_| {}).await else { continue };
        world.launch(vec![in_image("t1", &spec(&layout, "touch /inside; exec sleep 1000"))]).await;
        world.expect("t1", TaskState::Running).await;
        let groups = cgroups(&world).len();
        let command =
            "ls /inside; id -u; cat /proc/1/comm; test -t 0 || echo no terminal; grep CapEff /proc/self/status; exit 3";
        let asked = ask(&world, "t1", 0, &["sh", "-c", command], Stdio::Output);
        let seen = asked.read(0);
        let expected = "/inside\n0\nsupervise\nno terminal\nCapEff:\t00000000a80425fb\n";
        assert_eq!(seen, expected, "{runtime}: {}", asked.read(1));
        assert!(asked.end().contains("\"code\":3"), "{runtime}");
        let terminal = Stdio::Terminal { rows: 30, columns: 100, kind: "xterm".to_owned() };
        let asked = ask(
            &world,
            "t1",
            0,
            &[
                "sh",
                "-c",
                "test -t 0 && echo terminal; stty size 2>/dev/null; echo $TERM; tty=$(cat /dev/tty); echo got $tty",
            ],
            terminal,
        );
        let mut input = std::fs::File::from(asked.descriptors[0].try_clone().expect("it is open"));
        // What is typed earlier is shown in the middle of what it says.
        let before = asked.read_until(0, "xterm\r\n");
        input.write_all(b"hello\n\x04").expect("it reads");
        let seen = before + &asked.read(0);
        assert!(
            seen.contains("terminal\r\n") && seen.contains("xterm\r\n") && seen.contains("got hello"),
            "{runtime}: {seen:?}"
        );
        assert!(asked.end().contains("\"code\":0"), "{runtime}");
        let asked = ask(&world, "t1", 0, &["no-such-program"], Stdio::Output);
        assert!(asked.descriptors.is_empty(), "{runtime}: it was never started");
        // One whose asker goes away is ended with all that it has started.
        let asked = ask(&world, "t1", 0, &["sh", "-c", "sleep 1000 & exec sleep 1000"], Stdio::Output);
        drop(asked);
        let sleeps = || processes_of(&world).iter().filter(|name| **name == "sleep").count();
        until("the nested processes to end", || (sleeps() == 1).then_some(())).await;
        assert_eq!(cgroups(&world).len(), groups, "no other cgroups come to be");
        world.kill("t1").await;
        world.expect("t1", TaskState::Killed).await;
        nothing_is_left(&world).await;
    }
}

/// Names of the processes in the cgroups of a world.
fn processes_of(world: &World) -> Vec<String> {
    let lists = cgroups(world).into_iter().filter_map(|group| std::fs::read_to_string(group.join("cgroup.procs")).ok());
    let pids: std::collections::BTreeSet<String> =
        lists.flat_map(|list| list.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    let name = |pid: &String| std::fs::read_to_string(format!("/proc/{pid}/comm")).ok();
    // A tool of busybox is called by the name under which it was started.
    pids.iter().filter_map(name).map(|name| name.trim().to_owned()).collect()
}

#[tokio::test]
async fn checks_run_in_the_container_and_a_task_that_fails_them_ends() {
    let Some(layout) = image() else { return };
    for runtime in RUNTIMES {
        let Some(mut world) = world(runtime, &layout, |_| {}).await else { continue };
        let mut asked = spec(&layout, "touch /well; exec sleep 1000");
        asked.health_check = Some(HealthCheck {
            check: Check::Command(CommandSpec::Shell("ls /well $RIALTO_SANDBOX".to_owned())),
            delay: Duration::ZERO,
            interval: Duration::from_millis(20),
            timeout: Duration::from_secs(5),
            consecutive_failures: 3,
            grace: Duration::ZERO,
        });
        world.launch(vec![in_image("t1", &asked)]).await;
        world.expect("t1", TaskState::Running).await;
        assert_eq!(world.expect("t1", TaskState::Running).await.health, Some(TaskHealth::Healthy), "{runtime}");
        let asked = ask(&world, "t1", 0, &["rm", "/well"], Stdio::Output);
        assert!(asked.end().contains("\"code\":0"), "{runtime}");
        assert_eq!(world.expect("t1", TaskState::Running).await.health, Some(TaskHealth::Unhealthy), "{runtime}");
        assert_eq!(world.expect("t1", TaskState::Failed).await.reason, Some(Reason::Unhealthy), "{runtime}");
        nothing_is_left(&world).await;
    }
}

#[tokio::test]
async fn members_of_a_group_share_what_they_share_elsewhere_and_end_together() {
    let Some(layout) = image() else { return };
    for runtime in RUNTIMES {
        let Some(mut world) = world(runtime, &layout, |_| {}).await else { continue };
        let first = "echo shared > /tmp/a; echo shared > /b; echo shared > /dev/shm/c; exec sleep 1000";
        let second =
            "while ! [ -e /dev/shm/c ]; do sleep 0.1; done; cat /tmp/a /b; ls /proc | grep -c '^[0-9]'; exit 4";
        let tasks = [("t1", first), ("t2", second)].map(|(id, command)| in_image(id, &spec(&layout, command)));
        world.launch(tasks.to_vec()).await;
        world.expect("t1", TaskState::Running).await;
        world.expect("t2", TaskState::Running).await;
        assert_eq!(world.expect("t2", TaskState::Failed).await.exit, Some(Exit::Code(4)), "{runtime}");
        let status = world.expect("t1", TaskState::Killed).await;
        assert_eq!(status.reason, Some(Reason::GroupEnded), "{runtime}: {status:?}");
        let seen = world.stdout("t2");
        assert!(seen.starts_with("shared\nshared\n"), "{runtime}: {seen}");
        nothing_is_left(&world).await;
    }
}

#[tokio::test]
async fn a_task_survives_its_agent_and_nothing_survives_its_supervisor() {
    let Some(layout) = image() else { return };
    for runtime in RUNTIMES {
        let Some(mut world) = world(runtime, &layout, |_| {}).await else { continue };
        let patient = "trap 'echo asked; exit 9' TERM; echo $$; while true; do sleep 0.05; done";
        world.launch(vec![in_image("t1", &spec(&layout, patient))]).await;
        world.expect("t1", TaskState::Running).await;
        world.number("t1").await;
        world.crash().await;
        world.restart().await;
        world.kill("t1").await;
        let status = world.expect("t1", TaskState::Killed).await;
        assert_eq!(status.exit, Some(Exit::Code(9)), "{runtime}: {status:?}");
        assert!(world.stdout("t1").contains("asked"), "{runtime}");
        let stubborn = "trap '' TERM; (sleep 1000 &); while true; do sleep 1; done";
        for (id, kill_supervisor) in [("t2", false), ("t3", true)] {
            world.launch(vec![in_image(id, &spec(&layout, stubborn))]).await;
            world.expect(id, TaskState::Running).await;
            ends_with_all_it_has(&mut world, id, kill_supervisor).await;
        }
    }
}

#[tokio::test]
async fn what_can_not_be_run_says_so_in_the_runtimes_words() {
    let Some(layout) = image() else { return };
    for runtime in RUNTIMES {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let copy = folder.path().join(runtime);
        let found = ["/usr/sbin", "/usr/bin"].map(|path| Path::new(path).join(runtime));
        let Some(found) = found.iter().find(|path| path.exists()) else { continue };
        std::fs::copy(found, &copy).expect("it can be copied");
        let by_path = OciRuntime::Program(copy.clone());
        let Some(mut world) = world(runtime, &layout, |options| options.oci_runtime = by_path).await else { continue };
        let mut bad = spec(&layout, "");
        bad.command = CommandSpec::Argv(vec!["/no/such/program".to_owned()]);
        world.launch(vec![in_image("t1", &bad)]).await;
        let status = world.expect("t1", TaskState::Failed).await;
        assert!(status.message.contains(runtime) && status.message.contains("/no/such/program"), "{}", status.message);
        let mut above = spec(&layout, "true");
        above.container.rlimits = vec![Rlimit { name: "nofile".to_owned(), soft: Some(1 << 30), hard: Some(1 << 30) }];
        world.launch(vec![in_image("t2", &above)]).await;
        let status = world.expect("t2", TaskState::Failed).await;
        assert!(status.message.contains("nofile"), "{runtime}: {}", status.message);
        std::fs::remove_file(&copy).expect("it was made");
        world.launch(vec![in_image("t3", &spec(&layout, "true"))]).await;
        let status = world.expect("t3", TaskState::Failed).await;
        assert_eq!(status.reason, Some(Reason::LaunchFailed), "{status:?}");
        assert!(status.message.contains("is not there any more"), "{}", status.message);
        nothing_is_left(&world).await;
        world.crash().await;
        world.start();
        let error = world.ended().await.expect_err("it does not start without").to_string();
        assert!(error.starts_with("oci runtime: expected one that is installed"), "{error}");
    }
}

#[tokio::test]
async fn after_many_tasks_nothing_of_them_is_left() {
    let Some(layout) = image() else { return };
    for runtime in RUNTIMES {
        let Some(mut world) = world(runtime, &layout, |_| {}).await else { continue };
        let all = |what: &str| std::fs::read_dir("/sys/fs/cgroup").expect(what).flatten().map(|entry| entry.path());
        let own = world.cgroup_key();
        // Those of agents of other tests come and go.
        let is_others =
            |path: &Path| path.parent().is_some_and(|folder| folder.ends_with("rialto-test")) && !path.ends_with(&own);
        let folders = || {
            let below = all("mounted").filter_map(|path| std::fs::read_dir(path).ok()).flatten().flatten();
            let folders = below.map(|entry| entry.path()).filter(|path| path.is_dir() && !is_others(path));
            folders.collect::<std::collections::BTreeSet<_>>()
        };
        world.launch(vec![in_image("warm", &spec(&layout, "true"))]).await;
        world.expect("warm", TaskState::Running).await;
        world.expect_end("warm").await;
        nothing_is_left(&world).await;
        let before = (folders(), mounts());
        let commands =
            ["true", "exit 3", "kill -9 $$", "(sleep 1000 &)", "exec sleep 1000", "(trap '' TERM; sleep 1000) & true"];
        for round in 0..5 {
            let ids: Vec<String> = (0..commands.len()).map(|index| format!("t{round}-{index}")).collect();
            for (id, command) in ids.iter().zip(commands) {
                let mut task = in_image(id, &spec(&layout, command));
                task.kill_grace = Duration::from_millis(20);
                world.launch(vec![task]).await;
            }
            for (id, command) in ids.iter().zip(commands) {
                if command.starts_with("exec") {
                    world.kill(id).await;
                }
                world.expect_end(id).await;
            }
        }
        nothing_is_left(&world).await;
        assert_eq!((folders(), mounts()), before, "{runtime}");
    }
}

#[tokio::test]
async fn an_image_of_a_registry_runs_by_tag_and_by_digest() {
    let Some(base) = busybox() else { return };
    let mut layout = Layout::new();
    let hello = Builder::default().file("hello", b"hello\n", 0o644).done();
    layout.add(
        "v1",
        &[base, hello],
        &json!({"Env": ["COLOUR=red"], "Entrypoint": ["/bin/sh", "-c"], "WorkingDir": "/"}),
    );
    for runtime in RUNTIMES {
        let Some(registry) = Registry::start() else { return };
        if !registry.takes(&layout) {
            return;
        }
        let Some(mut world) = world(runtime, &layout, |_| {}).await else { continue };
        let name = format!("docker://{}/team/tool", registry.address);
        let command = "cat hello; echo $COLOUR; touch /own && ls / | grep -c own; grep -c . /proc/1/comm";
        let mut asked = TaskSpec::new(CommandSpec::Argv(vec![command.to_owned()]));
        asked.container.image = Some(format!("{name}:v1"));
        let said = output(&mut world, "t1", &asked).await;
        assert_eq!(said, "hello\nred\n1\n1\n", "{runtime}");
        let digest = registry.digest();
        let unlike = format!("sha256:{}", "0".repeat(64));
        asked.container.image = Some(format!("{name}@{unlike}"));
        world.launch(vec![in_image("t2", &asked)]).await;
        let status = world.expect_end("t2").await;
        assert!(status.message.contains("404"), "{runtime}: {status:?}");
        asked.container.image = Some(format!("{name}@{digest}"));
        assert_eq!(output(&mut world, "t3", &asked).await, said, "{runtime}: what one task writes is its own");
        drop(registry);
        world.launch(vec![in_image("t4", &asked)]).await;
        assert_eq!(world.expect_end("t4").await.reason, Some(Reason::FetchFailed), "{runtime}");
        nothing_is_left(&world).await;
    }
}
