//! An agent that is not root: what it keeps apart all the same, by user namespaces and in the cgroups that were delegated to it, and what
//! it refuses. Where these tests run as root, each runs itself once more as nobody.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use rialto_agent::supervisor::protocol::Stdio;
use rialto_agent::{LauncherKind, Options};
use rialto_core::model::{Exit, Reason, Task, TaskState};
use rialto_proto::spec::{Bridge, ContainerSpec, Limits, TaskSpec};

use serde_json::json;

use crate::harness::{World, lives, spec_task, supervisor_exe, task, until};
use crate::image_kit::{Builder, Layout, busybox};
use crate::nested::ask;

const NOBODY: u32 = 65534;
/// Set in a process that runs as nobody; holds the cgroup that it waits for, if it is to be in one.
const INNER: &str = "RIALTO_TEST_INNER";

/// Runs a test of this file as nobody.
fn spawn_as_nobody(test: &str, cgroup: &str) -> Child {
    // Nobody could not build it.
    supervisor_exe();
    let mut command = Command::new(std::env::current_exe().expect("the test has a path"));
    command.args(["--exact", &format!("unprivileged::{test}"), "--nocapture"]).env(INNER, cgroup).current_dir("/");
    command.uid(NOBODY).gid(NOBODY).spawn().expect("it can be executed by everybody")
}

/// Whether this process is to do what the test is about; else another one has done it.
fn is_inner(test: &str) -> bool {
    if !rustix::process::geteuid().is_root() {
        return true;
    }
    let done = spawn_as_nobody(test, "").wait().expect("it is a child of this one");
    assert!(done.success(), "as nobody it has failed");
    false
}

/// An agent with namespaces, and what its attribute says. `None`, and a word, where this user can't.
async fn world(change: impl FnOnce(&mut Options)) -> Option<(World, String)> {
    let mut world = World::idle(|options| {
        options.launcher = LauncherKind::Auto;
        options.cgroup_root = "rialto-test".to_owned();
        change(options);
    })
    .await;
    world.start();
    let report = world.register().await;
    let isolation = report.info.attributes.get("isolation").map(|value| format!("{value:?}")).unwrap_or_default();
    if !isolation.contains("namespaces") {
        println!("skipped: this user can't make user namespaces");
        return None;
    }
    Some((world, isolation))
}

/// Runs a task to its good end and gives its output.
async fn output(world: &mut World, task: Task) -> String {
    let id = &*task.id.to_string();
    world.launch(vec![task]).await;
    world.expect(id, TaskState::Running).await;
    let status = world.expect_end(id).await;
    let stderr = std::fs::read_to_string(world.sandbox(id).join("stderr")).unwrap_or_default();
    assert_eq!(status.exit, Some(Exit::Code(0)), "{status:?}: {stderr}");
    world.stdout(id)
}

fn own_ids() -> String {
    format!("{}\n{}\n", rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

#[tokio::test]
async fn a_task_sees_itself_its_sandbox_and_no_other() {
    if !is_inner("a_task_sees_itself_its_sandbox_and_no_other") {
        return;
    }
    let Some((mut world, _)) = world(|_| {}).await else { return };
    world.run("other", "echo secret > /tmp/a; echo secret > /dev/shm/a; echo secret > a; exec sleep 1000").await;
    let secret = world.sandbox("other").join("a");
    until("the other to have written", || std::fs::read_to_string(&secret).ok().filter(|text| text.ends_with('\n')))
        .await;
    let command = format!(
        "id -u; id -g; ls -d /tmp/a /dev/shm/a 2> /dev/null; cat {} 2> /dev/null || echo hidden; \
         for p in /proc/[0-9]*; do echo $p; done; cat /proc/1/comm; touch mine /tmp/mine /dev/shm/mine && echo wrote; \
         grep -E '^(CapEff|CapPrm|NoNewPrivs)' /proc/self/status",
        secret.display()
    );
    let seen = output(&mut world, task("t1", &command)).await;
    let expected = format!("{}hidden\n/proc/1\n", own_ids());
    assert!(seen.starts_with(&expected), "{seen}");
    let none = "0000000000000000";
    let ending = format!("supervise\nwrote\nCapPrm:\t{none}\nCapEff:\t{none}\nNoNewPrivs:\t1\n");
    assert!(seen.ends_with(&ending), "{seen}");
    assert_eq!(seen.matches("/proc/").count(), 2, "the supervisor and the shell: {seen}");
    let list = format!("ls {}; ls /dev", world.options.work_dir.display());
    let listed = output(&mut world, task("t2", &list)).await;
    assert!(!listed.contains("journal") && listed.contains("null") && !listed.contains("loop"), "{listed}");
}

#[tokio::test]
async fn a_task_can_not_change_what_it_is_kept_in() {
    if !is_inner("a_task_can_not_change_what_it_is_kept_in") {
        return;
    }
    let Some((mut world, _)) = world(|_| {}).await else { return };
    let work_dir = world.options.work_dir.display().to_string();
    // Also not from a user namespace of its own, in which it may mount.
    let tries = format!(
        "can() {{ \"$@\" > /dev/null 2>&1 && echo can: $@; }}; can umount {work_dir}; can mount -t tmpfs none /mnt; can cat /proc/1/environ; \
         can mknod node c 1 3; can sh -c 'echo 1 > /proc/sys/vm/drop_caches'; can ls /proc/1/root/; \
         for f in $(find /sys/fs/cgroup -name cgroup.procs -maxdepth 3 2>/dev/null | head -20); do can sh -c \"echo 0 > $f\"; done; \
         can unshare -Urm sh -c 'umount {work_dir}'; can unshare -Urm sh -c 'umount /proc && ls /proc/2'; \
         kill -9 1; sleep 0.1; echo a > /dev/null; head -c 4 /dev/zero | wc -c; test -c /dev/ptmx && echo done"
    );
    assert_eq!(output(&mut world, task("t1", &tries)).await, "4\ndone\n");
}

#[tokio::test]
async fn a_shell_beside_a_task_has_a_terminal_and_no_more_rights() {
    if !is_inner("a_shell_beside_a_task_has_a_terminal_and_no_more_rights") {
        return;
    }
    let Some((mut world, _)) = world(|_| {}).await else { return };
    world.run("t1", "touch /tmp/inside; exec sleep 1000").await;
    until("its file", || {
        let asked = ask(&world, "t1", 0, &["ls", "/tmp/inside"], Stdio::Output);
        (asked.read(0) == "/tmp/inside\n").then_some(())
    })
    .await;
    let terminal = Stdio::Terminal { rows: 30, columns: 100, kind: "xterm".to_owned() };
    let command = "test -t 0 && echo terminal; id -u; grep CapEff /proc/self/status; cat /proc/1/comm";
    let asked = ask(&world, "t1", 0, &["sh", "-c", command], terminal);
    let seen = asked.read(0).replace('\r', "");
    let own = rustix::process::geteuid().as_raw();
    assert_eq!(seen, format!("terminal\n{own}\nCapEff:\t0000000000000000\nsupervise\n"));
    world.kill("t1").await;
    world.expect("t1", TaskState::Killed).await;
}

#[tokio::test]
async fn a_task_can_not_outlive_its_kill_or_its_supervisor() {
    if !is_inner("a_task_can_not_outlive_its_kill_or_its_supervisor") {
        return;
    }
    let Some((mut world, _)) = world(|_| {}).await else { return };
    let daemons = "trap '' TERM; for i in 1 2 3; do (setsid sh -c 'trap \"\" TERM HUP INT; (setsid sleep 1000 & ); sleep 1000' &) ; done; \
        while [ $(ls -d /proc/[0-9]* | wc -l) -lt 11 ]; do sleep 0.01; done; echo ready; while :; do sleep 1000; done";
    let mut stubborn = task("t1", daemons);
    stubborn.kill_grace = Duration::from_millis(100);
    world.launch(vec![stubborn]).await;
    world.expect("t1", TaskState::Running).await;
    until("the daemons", || (world.stdout("t1") == "ready\n").then_some(())).await;
    let inside = below(world.supervisors()[0]);
    assert!(inside.len() >= 7, "{inside:?}");
    world.kill("t1").await;
    assert_eq!(world.expect("t1", TaskState::Killed).await.exit, Some(Exit::Signal(9)));
    assert!(!inside.into_iter().any(lives), "no process is left when the end is told");
    world.run("t2", "(setsid sleep 1000 &); sleep 1000").await;
    let supervisor =
        until("its supervisor alone", || (world.supervisors().len() == 1).then(|| world.supervisors()[0])).await;
    let inside = until("its two processes", || Some(below(supervisor)).filter(|inside| inside.len() >= 2)).await;
    let pid = rustix::process::Pid::from_raw(supervisor).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it is ours");
    assert_eq!(world.expect("t2", TaskState::Failed).await.reason, Some(Reason::SupervisorLost));
    until("all of it to be gone", || (!inside.iter().any(|pid| lives(*pid))).then_some(())).await;
}

/// Every process below this one.
fn below(pid: i32) -> Vec<i32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children: Vec<i32> = list.split_ascii_whitespace().filter_map(|child| child.parse().ok()).collect();
    let further: Vec<i32> = children.iter().flat_map(|child| below(*child)).collect();
    [children, further].concat()
}

#[tokio::test]
async fn a_restarted_agent_finds_its_tasks_and_starts_others_after_its_zygote_was_killed() {
    if !is_inner("a_restarted_agent_finds_its_tasks_and_starts_others_after_its_zygote_was_killed") {
        return;
    }
    let Some((mut world, _)) = world(|_| {}).await else { return };
    world.run("t1", "while ! [ -e go ]; do sleep 0.01; done; exit 7").await;
    world.crash().await;
    world.restart().await;
    std::fs::write(world.sandbox("t1").join("go"), "").expect("it can be written");
    assert_eq!(world.expect("t1", TaskState::Failed).await.exit, Some(Exit::Code(7)));
    for zygote in below(i32::try_from(std::process::id()).expect("it is one")) {
        let pid = rustix::process::Pid::from_raw(zygote).expect("a pid");
        // One that has ended meanwhile is as good.
        let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    assert_eq!(output(&mut world, task("t2", "echo $$ > /tmp/x; cat /proc/1/comm")).await, "supervise\n");
}

#[tokio::test]
async fn what_only_root_can_do_is_refused_by_name() {
    if !is_inner("what_only_root_can_do_is_refused_by_name") {
        return;
    }
    let Some((mut world, _)) = world(|_| {}).await else { return };
    let bridge = ContainerSpec { bridge: Some(Bridge::default()), ..ContainerSpec::default() };
    let users = ContainerSpec { user_namespace: true, ..ContainerSpec::default() };
    for (id, container, field) in [("t1", bridge, "container.bridge"), ("t2", users, "container.user_namespace")] {
        let mut spec = TaskSpec::shell("true");
        spec.container = container;
        world.launch(vec![spec_task(id, &spec)]).await;
        let status = world.expect_end(id).await;
        assert_eq!(status.state, TaskState::Failed, "{status:?}");
        assert!(status.message.contains(field) && status.message.contains("root"), "{}", status.message);
    }
    let mut spec = TaskSpec::shell("true");
    spec.user = "1234".to_owned();
    world.launch(vec![spec_task("t3", &spec)]).await;
    assert!(world.expect_end("t3").await.message.contains("does not run as root"));
}

#[tokio::test]
async fn an_image_is_run_and_all_its_files_are_the_users_own() {
    if !is_inner("an_image_is_run_and_all_its_files_are_the_users_own") {
        return;
    }
    let Some(base) = busybox() else { return };
    let mut layout = Layout::new();
    let app =
        Builder::default().file("app/data", b"data\n", 0o600).file("app/gone", b"", 0o644).file("old/file", b"", 0o644);
    let above = Builder::default().file("app/.wh.gone", b"", 0o644).file("old/.wh..wh..opq", b"", 0o644);
    let above = above.file("old/new", b"", 0o4777);
    // Whom the image would run as is nobody here.
    layout.add("v1", &[base, app.done(), above.done()], &json!({"User": "4321", "WorkingDir": "/app"}));
    let folder = layout.path().to_owned();
    let Some((mut world, _)) = world(|options| options.fetch.folders = vec![folder]).await else { return };
    let in_image = |id: &str, command: &str| {
        let mut spec = TaskSpec::shell(command);
        spec.container.image = Some(format!("oci:{}:v1", layout.path().display()));
        let mut task = spec_task(id, &spec);
        task.resources = "cpus:0.1;mem:64".parse().expect("they are well formed");
        task
    };
    world.launch(vec![in_image("first", "true")]).await;
    let first = world.expect_end("first").await;
    if first.message.contains("can't stack layers") {
        return println!("skipped: {}", first.message);
    }
    let work_dir = world.options.work_dir.display().to_string();
    let look = "id -u; id -g; pwd; cat data; ls /app /old; stat -c '%u %a' /app/data /old/new /bin";
    let command = format!(
        "{look}; can() {{ \"$@\" > /dev/null 2>&1 && echo can: $@; }}; can mount -t tmpfs none /mnt; can umount /proc; can umount /; \
         can mknod node c 1 3; can cat /proc/1/environ; can ls /proc/1/root/; can ls /usr/bin/env; can ls {work_dir}/journal; \
         can sh -c 'echo 1 > /proc/sys/vm/drop_caches'; can busybox unshare -Urm umount /proc; can busybox unshare -Urm umount /dev; \
         kill -9 1; grep -E '^(CapEff|CapPrm|NoNewPrivs)' /proc/self/status; cat /proc/1/comm; \
         echo more >> data && rm /bin/wc && rm -r /old && mkdir -p /opt/new && mv /app/data /opt/new && chmod 700 /opt && mkdir -m 0 /closed /tmp/closed closed && \
         touch $RIALTO_SANDBOX/mine /tmp/mine /dev/shm/mine && ls / | grep -c old; cat /opt/new/data; test -c /dev/ptmx && head -c 4 /dev/zero | cat | ls /dev/null"
    );
    let seen = output(&mut world, in_image("t1", &command)).await;
    let own = rustix::process::geteuid().as_raw();
    let as_made = format!("{}/app\ndata\n/app:\ndata\n\n/old:\nnew\n{own} 600\n{own} 777\n{own} 755\n", own_ids());
    let none = "0000000000000000";
    let changed = format!("CapPrm:\t{none}\nCapEff:\t{none}\nNoNewPrivs:\t1\nsupervise\n0\ndata\nmore\n/dev/null\n");
    assert_eq!(seen, format!("{as_made}{changed}"));
    assert!(world.sandbox("t1").join("mine").exists());
    assert_eq!(output(&mut world, in_image("t2", look)).await, as_made, "what one task writes is its own");
    // What a task, and the overlay, have made so that nobody may look into it goes all the same.
    until("what it wrote to be removed", || (!world.run_dir("t1").join("upper").exists()).then_some(())).await;
    let mut read_only =
        TaskSpec::shell("touch /a 2> /dev/null || echo held; touch /tmp/a $RIALTO_SANDBOX/a && echo own");
    read_only.container =
        ContainerSpec { read_only: true, ..TaskSpec::from_body(&in_image("t", "true").body).expect("good").container };
    assert_eq!(output(&mut world, spec_task("t3", &read_only)).await, "held\nown\n");
    let private = |folder: &str| {
        let mode = std::fs::metadata(world.options.work_dir.join(folder)).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "files of images that everybody may change are not for everybody: {folder}");
    };
    private("images");
}

#[tokio::test]
async fn a_task_may_ask_to_see_less_than_its_user_may() {
    if !is_inner("a_task_may_ask_to_see_less_than_its_user_may") {
        return;
    }
    let Some((mut world, _)) = world(|_| {}).await else { return };
    let mut spec = TaskSpec::shell(
        "touch /tmp/a mine && echo own; sed -n 's|^[^ ]* / [^ ]* \\(r.\\).*|\\1|p' /proc/self/mounts; wc -l < /proc/net/dev",
    );
    spec.container = ContainerSpec { read_only: true, private_network: true, ..ContainerSpec::default() };
    assert_eq!(output(&mut world, spec_task("t1", &spec)).await, "own\nro\n3\n", "two lines of titles, and lo");
}

/// A cgroup of version 2 that is nobody's, with a folder for the agent.
struct Delegated(PathBuf);

impl Delegated {
    fn make() -> Option<Self> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
        let unified = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
        let root = PathBuf::from(unified.split(' ').nth(4)?);
        let folder = root.join(format!("rialto-delegated-{}", std::process::id()));
        std::fs::create_dir(&folder).ok()?;
        let made = Self(folder.clone());
        for controller in ["cpu", "memory", "pids", "io"] {
            // Where version 1 has it, it is not there to be handed down.
            let _absent = std::fs::write(root.join("cgroup.subtree_control"), format!("+{controller}"));
        }
        let agent = folder.join("agent");
        std::fs::create_dir(&agent).expect("it is root's");
        for folder in [&folder, &agent] {
            for file in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
                chown(folder.join(file), Some(NOBODY), Some(NOBODY)).expect("it is root's to give");
            }
        }
        Some(made)
    }

    fn agent(&self) -> PathBuf {
        self.0.join("agent")
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

fn remove(cgroup: &Path) {
    for entry in std::fs::read_dir(cgroup).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
        remove(&entry.path());
    }
    let end = std::time::Instant::now() + Duration::from_secs(5);
    while std::fs::remove_dir(cgroup).is_err() && cgroup.exists() && std::time::Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test]
async fn cgroups_that_were_delegated_to_the_user_are_used() {
    if rustix::process::geteuid().is_root() {
        let Some(delegated) = Delegated::make() else { return println!("skipped: no cgroups of version 2") };
        let name = delegated.agent().file_name().expect("it has one").to_string_lossy().into_owned();
        let mut inner = spawn_as_nobody("cgroups_that_were_delegated_to_the_user_are_used", &name);
        std::fs::write(delegated.agent().join("cgroup.procs"), inner.id().to_string()).expect("it is root's to move");
        assert!(inner.wait().expect("it is a child of this one").success(), "as nobody it has failed");
        return assert_eq!(
            std::fs::read_dir(&delegated.0)
                .expect("it is there")
                .flatten()
                .filter(|entry| entry.path().is_dir())
                .count(),
            1
        );
    }
    if std::env::var(INNER).is_err() {
        return println!("skipped: nothing was delegated to this user");
    }
    let own = || std::fs::read_to_string("/proc/self/cgroup").expect("/proc is mounted");
    let path = until("to be moved", || {
        own().lines().find_map(|line| line.strip_prefix("0::")?.strip_suffix("/agent").map(str::to_owned))
    })
    .await;
    let Some((mut world, isolation)) = world(|_| {}).await else { return };
    assert!(isolation.contains("kill"), "{isolation}");
    let mut daemons =
        task("t1", "(setsid sh -c 'trap \"\" TERM; sleep 1000' &); echo ready; cat /proc/self/cgroup; exec sleep 1000");
    daemons.kill_grace = Duration::from_millis(50);
    world.launch(vec![daemons]).await;
    world.expect("t1", TaskState::Running).await;
    let told = until("its cgroup", || Some(world.stdout("t1")).filter(|told| told.contains("0::"))).await;
    assert!(told.contains(&format!("0::{path}/rialto-test/")), "{path}: {told}");
    world.kill("t1").await;
    world.expect("t1", TaskState::Killed).await;
    if isolation.contains("memory") {
        let mut hungry = TaskSpec::shell("head -c 200000000 /dev/zero | tail -c 200000000 > /dev/null");
        hungry.limits = Limits { pids: Some(50), ..Limits::default() };
        world.launch(vec![spec_task("t2", &hungry)]).await;
        assert_eq!(world.expect_end("t2").await.reason, Some(Reason::MemoryLimit));
    }
    let escape = "echo 0 2>/dev/null > /sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup)/../../../agent/cgroup.procs && echo escaped; \
        echo 0 2>/dev/null > /sys/fs/cgroup/unified$(sed -n s/^0:://p /proc/self/cgroup)/../../../agent/cgroup.procs && echo escaped; echo held";
    assert_eq!(output(&mut world, task("t3", escape)).await, "held\n");
    let key = world.cgroup_key();
    let groups = || {
        let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
            .map(|root| PathBuf::from(format!("{root}{path}/rialto-test/{key}")));
        let entries = roots.iter().filter_map(|root| std::fs::read_dir(root).ok()).flatten().flatten();
        entries.filter(|entry| entry.path().is_dir()).count()
    };
    until("its cgroups to be removed", || (groups() == 0).then_some(())).await;
}
