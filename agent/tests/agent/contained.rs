//! What a contained task can't do, and what is left of it: nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rialto_agent::DeviceSource;
use rialto_core::model::{Exit, Milli, Reason, Task, TaskState};
use rialto_proto::spec::{ContainerSpec, Limits, Rlimit, TaskSpec};

use crate::harness::{World, lives, spec_task, task, until, with_devices};

/// Cgroups of this world's tasks that exist.
pub(crate) fn cgroups(world: &World) -> Vec<PathBuf> {
    let key = world.cgroup_key();
    let hierarchies =
        std::fs::read_dir("/sys/fs/cgroup").expect("cgroups are mounted").flatten().map(|entry| entry.path());
    let folders = hierarchies.chain([PathBuf::from("/sys/fs/cgroup")]).map(|path| path.join("rialto-test").join(&key));
    let groups = folders.filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
    groups.filter(|entry| entry.path().is_dir()).map(|entry| entry.path()).collect()
}

pub(crate) async fn nothing_is_left(world: &World) {
    until("every cgroup to be removed", || cgroups(world).is_empty().then_some(())).await;
    until("every process to be gone", || world.supervisors().is_empty().then_some(())).await;
}

/// Runs a command to its end and gives its output.
async fn output(world: &mut World, id: &str, command: &str) -> String {
    output_of(world, task(id, command)).await
}

async fn output_of(world: &mut World, task: Task) -> String {
    let id = &*task.id.to_string();
    world.launch(vec![task]).await;
    world.expect(id, TaskState::Running).await;
    let status = world.expect_end(id).await;
    let stderr = std::fs::read_to_string(world.sandbox(id).join("stderr")).unwrap_or_default();
    assert_eq!(status.exit, Some(Exit::Code(0)), "{status:?}: {stderr}");
    world.stdout(id)
}

#[tokio::test]
async fn a_task_runs_and_leaves_nothing() {
    let Some(mut world) = World::contained(|_| {}).await else { return };
    assert_eq!(
        output(&mut world, "t1", "echo hello; pwd; id -u").await,
        format!("hello\n{}\n0\n", world.sandbox("t1").display())
    );
    nothing_is_left(&world).await;
}

#[tokio::test]
async fn a_task_sees_only_its_own_processes() {
    let Some(mut world) = World::contained(|_| {}).await else { return };
    world.run("other", "exec sleep 1000").await;
    let seen = output(&mut world, "t1", "for p in /proc/[0-9]*; do echo $p; done; cat /proc/1/comm").await;
    let pids: Vec<_> = seen.lines().collect();
    assert_eq!(pids.len(), 3, "the supervisor, the shell and the name of the first: {seen}");
    assert!(seen.starts_with("/proc/1\n"), "{seen}");
}

#[tokio::test]
async fn a_task_does_not_see_the_tmp_and_the_sandbox_of_another() {
    let Some(mut world) = World::contained(|_| {}).await else { return };
    world.run("other", "echo secret > /tmp/a; echo secret > /var/tmp/a; echo secret > /dev/shm/a; echo secret > a; exec sleep 1000").await;
    let secret = world.sandbox("other").join("a");
    until("the other to have written", || std::fs::read_to_string(&secret).ok().filter(|text| text.ends_with('\n')))
        .await;
    let command = format!(
        "ls -A /tmp /var/tmp /dev/shm; cat {} || echo hidden; ls {} || true",
        secret.display(),
        world.options.work_dir.display()
    );
    let seen = output(&mut world, "t1", &command).await;
    assert!(!seen.contains("secret") && seen.contains("hidden"), "{seen}");
    assert!(!seen.contains("journal"), "the agent's own files are hidden: {seen}");
}

#[tokio::test]
async fn a_task_that_needs_more_memory_than_it_has_is_told_so() {
    let Some(mut world) = World::contained(|_| {}).await else { return };
    world.launch(vec![task("t1", "head -c 200000000 /dev/zero | tail -c 200000000 > /dev/null")]).await;
    world.expect("t1", TaskState::Running).await;
    let status = world.expect("t1", TaskState::Failed).await;
    assert_eq!(status.reason, Some(Reason::MemoryLimit), "{status:?}");
    assert!(status.message.contains("its limit of 32.0 MiB"), "{}", status.message);
    nothing_is_left(&world).await;
}

#[tokio::test]
async fn a_task_opens_only_the_device_that_it_holds() {
    let sources =
        ["glob:/dev/loop[0-1],kind=loop"].map(|source| DeviceSource::parse(source).expect("it is well formed"));
    let nodes = ["/dev/loop0", "/dev/loop1"];
    if !nodes.iter().all(|node| Path::new(node).exists()) {
        return println!("skipped: no loop devices");
    }
    let Some(mut world) = World::contained(|options| options.device_sources = sources.to_vec()).await else { return };
    // By its node, by a node that the task makes, and by its number.
    let tries = "for node in /dev/loop0 /dev/loop1 /dev/kmsg; do (: < $node) && echo $node; done; \
        mknod mine0 b 7 0 && (: < mine0) && echo mine0; mknod mine1 b 7 1 && (: < mine1) && echo mine1; \
        mknod kmsg c 1 11 && (: < kmsg) && echo kmsg; ls /dev; true";
    world.launch(vec![with_devices(task("t1", tries), &["loop0"], "loop")]).await;
    world.expect("t1", TaskState::Running).await;
    world.expect("t1", TaskState::Finished).await;
    let seen = world.stdout("t1");
    assert!(seen.starts_with("/dev/loop0\nmine0\n"), "{seen}");
    assert!(!seen.contains("loop1") && !seen.contains("mine1") && !seen.contains("kmsg"), "{seen}");
    let without = output(&mut world, "t2", tries).await;
    assert!(!without.contains("loop") && !without.contains("mine"), "{without}");
}

#[tokio::test]
async fn a_task_has_what_programs_expect_in_dev() {
    let Some(mut world) = World::contained(|_| {}).await else { return };
    let command = "echo a > /dev/null; head -c 4 /dev/zero | wc -c; head -c 3 /dev/urandom | wc -c; echo b > /dev/stdout; \
        echo c | cat /dev/fd/0; ls /dev/pts /dev/shm /dev/mqueue > /dev/null && test -c /dev/ptmx && echo d";
    assert_eq!(output(&mut world, "t1", command).await, "4\n3\nb\nc\nd\n");
}

#[tokio::test]
async fn root_in_a_task_can_not_change_the_machine() {
    let Some(mut world) = World::contained(|_| {}).await else { return };
    let tries = "can() { \"$@\" > /dev/null 2>&1 && echo can: $@; }; \
        can mount -t tmpfs none /mnt; can umount /proc; can sh -c 'echo 1 > /proc/sys/vm/drop_caches'; \
        can sh -c 'echo h > /proc/sysrq-trigger'; can mkdir /sys/fs/cgroup/memory/mine; can mkdir /sys/fs/cgroup/mine; \
        can hostname other; can sh -c 'date -s 2000-01-01; [ $(date +%Y) = 2000 ]'; can chroot / mount -t proc proc /mnt; can unshare -m true; \
        can nsenter -t 1 -m true; can readlink /proc/1/fd/0; can ls /proc/1/cwd/; can ls /proc/1/root/; can cat /proc/1/environ; can kill -9 1 && sleep 0.1; \
        for f in $(find /sys/fs/cgroup -name cgroup.procs -maxdepth 2); do can sh -c \"echo 0 > $f\"; done; \
        grep -E '^(CapEff|NoNewPrivs|CapBnd)' /proc/self/status; echo done";
    let seen = output(&mut world, "t1", tries).await;
    // A signal to the first process is not refused; it is not delivered.
    let seen = seen.replace("can: kill -9 1\n", "");
    let docker = "00000000a80425fb";
    assert_eq!(seen, format!("CapEff:\t{docker}\nCapBnd:\t{docker}\nNoNewPrivs:\t1\ndone\n"));
}

#[tokio::test]
async fn a_task_of_a_user_has_its_own_tmp_and_no_capabilities() {
    let Some(mut world) = World::contained(|_| {}).await else { return };
    let mut spec = TaskSpec::shell(
        "id -u; id -g; touch /tmp/a /var/tmp/b mine && echo wrote; grep CapEff /proc/self/status; ls -ld . | cut -c1-10",
    );
    spec.user = "1234:2345".to_owned();
    world.launch(vec![spec_task("t1", &spec)]).await;
    world.expect("t1", TaskState::Running).await;
    world.expect("t1", TaskState::Finished).await;
    assert_eq!(world.stdout("t1"), "1234\n2345\nwrote\nCapEff:\t0000000000000000\ndrwxr-xr-x\n");
}

#[tokio::test]
async fn a_task_can_not_have_more_processes_than_its_limit() {
    let Some(mut world) = World::contained(|_| {}).await else { return };
    let mut bomb = TaskSpec::shell("b() { b & b & exec sleep 1000; }; b");
    bomb.limits = Limits { pids: Some(200), ..Limits::default() };
    world.launch(vec![spec_task("t1", &bomb)]).await;
    world.expect("t1", TaskState::Running).await;
    let groups = cgroups(&world);
    let peak =
        groups.iter().find_map(|group| Some(group.join("pids.current")).filter(|file| file.exists())).expect("a limit");
    until("the bomb to go off", || {
        let now: u64 = std::fs::read_to_string(&peak).ok()?.trim().parse().ok()?;
        assert!(now <= 200, "{now} processes");
        (now > 150).then_some(())
    })
    .await;
    world.kill("t1").await;
    world.expect("t1", TaskState::Killed).await;
    nothing_is_left(&world).await;
}

#[tokio::test]
async fn a_task_can_not_outlive_its_kill() {
    let Some(mut world) = World::contained(|_| {}).await else { return };
    let daemons = "trap '' TERM; for i in 1 2 3; do (setsid sh -c 'trap \"\" TERM HUP INT; (setsid sleep 1000 & ); sleep 1000' &) ; done; \
        while [ $(ls -d /proc/[0-9]* | wc -l) -lt 11 ]; do sleep 0.01; done; echo ready; while :; do sleep 1000; done";
    let mut stubborn = task("t1", daemons);
    stubborn.kill_grace = Duration::from_millis(100);
    world.launch(vec![stubborn]).await;
    world.expect("t1", TaskState::Running).await;
    until("the daemons", || (world.stdout("t1") == "ready\n").then_some(())).await;
    world.kill("t1").await;
    assert_eq!(world.expect("t1", TaskState::Killed).await.exit, Some(Exit::Signal(9)));
    nothing_is_left(&world).await;
}

#[tokio::test]
async fn a_frozen_task_is_killed() {
    let Some(mut world) = World::contained(|_| {}).await else { return };
    let mut frozen = task("t1", "exec sleep 1000");
    frozen.kill_grace = Duration::from_millis(100);
    world.launch(vec![frozen]).await;
    world.expect("t1", TaskState::Running).await;
    let freezers = ["cgroup.freeze", "freezer.state"];
    let files = cgroups(&world).into_iter().flat_map(|group| freezers.map(|file| group.join(file)));
    let file = files.into_iter().find(|file| file.exists()).expect("a freezer");
    let order = if file.ends_with("cgroup.freeze") { "1" } else { "FROZEN" };
    std::fs::write(&file, order).expect("it can be frozen");
    world.kill("t1").await;
    world.expect("t1", TaskState::Killed).await;
    nothing_is_left(&world).await;
}

#[tokio::test]
async fn a_task_that_makes_thousands_of_zombies_leaves_none() {
    let Some(mut world) = World::contained(|_| {}).await else { return };
    // Orphans that end at once, and children that nobody waits for. What is counted are zombies that the supervisor has not reaped.
    let zombies = "i=0; while [ $i -lt 2000 ]; do (true & ) ; i=$((i+1)); done; n=1; \
        while [ $n -gt 0 ]; do n=$(grep -l '^State:.*Z' /proc/[0-9]*/status 2> /dev/null | wc -l); done; echo $n";
    let mut many = task("t1", zombies);
    many.resources = "cpus:1;mem:512".parse().expect("they are well formed");
    assert_eq!(output_of(&mut world, many).await, "0\n");
    nothing_is_left(&world).await;
}

#[tokio::test]
async fn a_supervisor_that_is_killed_takes_everything_with_it() {
    let Some(mut world) = World::contained(|_| {}).await else { return };
    world.run("t1", "(setsid sleep 1000 &); (setsid setsid sleep 1000 &); sleep 1000").await;
    let supervisor = world.supervisors()[0];
    let all = || Some(descendants(supervisor)).filter(|inside| inside.len() >= 3);
    let inside = until("its three processes", all).await;
    kill(supervisor);
    assert_eq!(world.expect("t1", TaskState::Failed).await.reason, Some(Reason::SupervisorLost));
    assert!(!inside.into_iter().any(lives), "no process is left when the end is told");
    assert!(cgroups(&world).is_empty(), "no cgroup either: {:?}", cgroups(&world));
}

#[tokio::test]
async fn a_supervisor_that_is_killed_while_the_agent_is_gone_leaves_nothing_either() {
    let Some(mut world) = World::contained(|_| {}).await else { return };
    world.run("t1", "(setsid sleep 1000 &); sleep 1000").await;
    world.crash().await;
    let supervisor = world.supervisors()[0];
    kill(supervisor);
    world.restart().await;
    assert_eq!(world.expect("t1", TaskState::Failed).await.reason, Some(Reason::SupervisorLost));
    nothing_is_left(&world).await;
}

#[tokio::test]
async fn a_restarted_agent_finds_its_contained_tasks() {
    let Some(mut world) = World::contained(|_| {}).await else { return };
    world.run("t1", "while ! [ -e go ]; do sleep 0.01; done; exit 7").await;
    world.crash().await;
    world.restart().await;
    std::fs::write(world.sandbox("t1").join("go"), "").expect("it can be written");
    assert_eq!(world.expect("t1", TaskState::Failed).await.exit, Some(Exit::Code(7)));
    nothing_is_left(&world).await;
}

#[tokio::test]
async fn cgroups_that_nobody_knows_are_removed_at_the_next_start() {
    let Some(mut world) = World::contained(|_| {}).await else { return };
    world.run("t1", "exec sleep 1000").await;
    world.crash().await;
    let of_t1 = cgroups(&world);
    let stray = of_t1[0].parent().expect("the agent's folder").join("F9-9.stray");
    std::fs::create_dir(&stray).expect("it can be made");
    world.restart().await;
    until("the stray to be removed", || (!stray.exists()).then_some(())).await;
    assert_eq!(cgroups(&world), of_t1, "the task keeps its own");
    world.kill("t1").await;
    world.expect("t1", TaskState::Killed).await;
}

#[tokio::test]
async fn members_of_a_group_share_their_view_and_have_limits_of_their_own() {
    let Some(mut world) = World::contained(|_| {}).await else { return };
    let hungry =
        task("t2", "while ! [ -e /tmp/go ]; do sleep 0.01; done; head -c 200000000 /dev/zero | tail -c 200000000");
    let other = task("t1", "trap 'exit 0' TERM; touch /tmp/go; while :; do sleep 0.1; done");
    world.launch(vec![other, hungry]).await;
    world.expect("t1", TaskState::Running).await;
    world.expect("t2", TaskState::Running).await;
    assert_eq!(world.expect("t2", TaskState::Failed).await.reason, Some(Reason::MemoryLimit));
    assert_eq!(world.expect("t1", TaskState::Killed).await.reason, Some(Reason::GroupEnded));
    nothing_is_left(&world).await;
}

#[tokio::test]
async fn a_task_may_be_given_more_than_it_asks_for() {
    let Some(mut world) = World::contained(|_| {}).await else { return };
    let mut spec = TaskSpec::shell("head -c 60000000 /dev/zero | tail -c 60000000 | wc -c");
    spec.limits = Limits { mem_mib: Some(128), cpus: Some(Milli(500)), ..Limits::default() };
    world.launch(vec![spec_task("t1", &spec)]).await;
    world.expect("t1", TaskState::Running).await;
    world.expect("t1", TaskState::Finished).await;
    assert_eq!(world.stdout("t1"), "60000000\n");
}

#[tokio::test]
async fn after_many_tasks_nothing_is_left() {
    let Some(mut world) = World::contained(|_| {}).await else { return };
    world.run("warm", "true").await;
    world.expect("warm", TaskState::Finished).await;
    nothing_is_left(&world).await;
    let before = Counted::now();
    let commands = [
        "true",
        "exit 3",
        "kill -9 $$",
        "(setsid sleep 1000 &)",
        "sleep 1000",
        "exec 9>/tmp/file; (sleep 1000 &) ; sleep 0.05",
    ];
    let mut ended = 0;
    for round in 0..10 {
        let ids: Vec<String> = (0..commands.len()).map(|index| format!("t{round}-{index}")).collect();
        for (id, command) in ids.iter().zip(commands) {
            let mut task = task(id, command);
            task.kill_grace = Duration::from_millis(50);
            world.launch(vec![task]).await;
        }
        for (id, command) in ids.iter().zip(commands) {
            world.expect(id, TaskState::Running).await;
            if command == "sleep 1000" {
                world.kill(id).await;
            }
            world.expect_end(id).await;
            ended += 1;
        }
    }
    assert_eq!(ended, 60);
    nothing_is_left(&world).await;
    let mut after = Counted::now();
    until("what the agent has open to be what it was", || {
        after = Counted::now();
        (after.descriptors <= before.descriptors && after.mounts == before.mounts).then_some(())
    })
    .await;
}

/// How many mounts this process sees, but for the disks that other tests make.
pub(crate) fn mounts() -> usize {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
    mounts.lines().filter(|line| !line.contains("/dev/loop")).count()
}

/// What there is of things that tasks could leave.
struct Counted {
    mounts: usize,
    /// Of this process, which is the agent.
    descriptors: usize,
}

impl Counted {
    fn now() -> Self {
        let mounts = mounts();
        let descriptors = std::fs::read_dir("/proc/self/fd").expect("/proc is mounted").count();
        Self { mounts, descriptors }
    }
}

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it lives");
}

/// Every process below this one.
fn descendants(pid: i32) -> Vec<i32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children: Vec<i32> = list.split_ascii_whitespace().filter_map(|child| child.parse().ok()).collect();
    let below: Vec<i32> = children.iter().flat_map(|child| descendants(*child)).collect();
    [children, below].concat()
}

#[tokio::test]
async fn a_profile_says_which_system_calls_a_task_may_make() {
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
        {"names": ["unlink", "unlinkat"], "action": "SCMP_ACT_ERRNO"}]}"#;
    let Some(mut world) = World::contained(|options| options.seccomp_profile = Some(profile.to_owned())).await else {
        return;
    };
    let command = "touch a; rm -f a; mkdir b; ls; grep Seccomp: /proc/self/status; true";
    assert_eq!(output(&mut world, "t1", command).await, "a\nstderr\nstdout\nSeccomp:\t2\n");
    let stderr = std::fs::read_to_string(world.sandbox("t1").join("stderr")).expect("it is there");
    assert!(stderr.contains("Operation not permitted") && stderr.contains("not implemented"), "{stderr}");
}

#[tokio::test]
async fn a_task_may_ask_to_see_less() {
    let Some(mut world) = World::contained(|_| {}).await else { return };
    let mut spec = TaskSpec::shell(
        "touch /var/tmp/a /tmp/a mine && echo own; touch /root/a /etc/a /var/a 2> /dev/null || echo no; \
         wc -l < /proc/net/dev; ip link 2> /dev/null | grep -c UP; ulimit -n; ulimit -c",
    );
    spec.container = ContainerSpec {
        read_only: true,
        private_network: true,
        rlimits: vec![
            Rlimit { name: "nofile".to_owned(), soft: Some(100), hard: Some(200) },
            Rlimit { name: "core".to_owned(), soft: Some(0), hard: Some(0) },
        ],
        ..ContainerSpec::default()
    };
    world.launch(vec![spec_task("t1", &spec)]).await;
    world.expect("t1", TaskState::Running).await;
    world.expect_end("t1").await;
    let seen = world.stdout("t1");
    assert!(seen.starts_with("own\nno\n3\n"), "two lines of titles, and lo: {seen}");
    assert!(seen.ends_with("100\n0\n"), "{seen}");
    spec.container.rlimits = vec![Rlimit { name: "nofile".to_owned(), soft: None, hard: None }];
    world.launch(vec![spec_task("t2", &spec)]).await;
    let status = world.expect("t2", TaskState::Failed).await;
    assert!(status.message.contains("rlimit nofile: expected at most"), "{}", status.message);
}

/// A task that binds a port of its network, says whether it could, and stays if `stays`.
fn binds(id: &str, port: u16, own_ports: &str, stays: bool) -> (Task, TaskSpec) {
    let stay = if stays { "; exec sleep 1000" } else { "" };
    let spec = TaskSpec::shell(&format!(
        "{{ busybox nc -l -p {port}; touch ended; }} 2> /dev/null & \
         until grep -q ':{port:04X} 0*:0000 0A' /proc/net/tcp* || [ -e ended ]; do sleep 0.02; done; \
         [ -e ended ] && echo refused || echo bound{stay}"
    ));
    let mut task = spec_task(id, &spec);
    if !own_ports.is_empty() {
        task.resources = format!("cpus:0.1;mem:32;ports:[{own_ports}]").parse().expect("they are well formed");
    }
    (task, spec)
}

#[tokio::test]
async fn ports_stay_guarded_beside_a_task_that_has_all_of_its_own_network() {
    if std::process::Command::new("busybox").output().is_err() {
        return println!("skipped: no busybox");
    }
    let resources = "cpus:4;mem:4096;ports:[31460-31469]";
    let Some(mut world) = World::contained(|options| options.resources = resources.parse().expect("well formed")).await
    else {
        return;
    };
    world.crash().await;
    let report = world.restart().await;
    let isolation = report.info.attributes.get("isolation").map(|value| format!("{value:?}")).unwrap_or_default();
    if !isolation.contains("ports") {
        return println!("skipped: ports can't be guarded here: {isolation}");
    }
    let (_, mut spec) = binds("private", 31461, "", true);
    spec.container.private_network = true;
    world.launch(vec![spec_task("private", &spec)]).await;
    world.expect("private", TaskState::Running).await;
    let said = |world: &World, id: &str| Some(world.stdout(id)).filter(|said| said.ends_with('\n'));
    assert_eq!(until("it to bind", || said(&world, "private")).await, "bound\n", "in its own network");
    for (id, port, own, expected) in [
        ("none", 31461, "", "refused\n"),
        ("another's", 31461, "31462-31462", "refused\n"),
        ("own", 31462, "31462-31462", "bound\n"),
        ("unguarded", 31470, "", "bound\n"),
    ] {
        let (task, _) = binds(&id.replace('\'', ""), port, own, false);
        assert_eq!(output_of(&mut world, task).await, expected, "{id}");
    }
    world.kill("private").await;
    world.expect("private", TaskState::Killed).await;
    assert_eq!(output_of(&mut world, binds("after", 31461, "", false).0).await, "refused\n");
}

#[tokio::test]
async fn a_work_directory_below_dev_is_as_good_as_any() {
    let Ok(folder) = tempfile::tempdir_in("/dev/shm") else { return println!("skipped: no /dev/shm") };
    let work_dir = folder.path().join("work");
    let Some(mut world) = World::contained(|options| options.work_dir.clone_from(&work_dir)).await else { return };
    world.run("other", "echo secret > a; echo secret > /dev/shm/a; exec sleep 1000").await;
    let secret = world.sandbox("other").join("a");
    until("the other to have written", || std::fs::read_to_string(&secret).ok().filter(|text| text.ends_with('\n')))
        .await;
    let command = format!(
        "pwd; echo mine > mine; touch /dev/shm/mine && ls -A /dev/shm; cat {} 2> /dev/null || echo hidden; ls {}; test -c /dev/null && cat mine",
        secret.display(),
        work_dir.display()
    );
    let seen = output(&mut world, "t1", &command).await;
    let name = folder.path().file_name().expect("it has one").to_string_lossy();
    let expected = format!("{}\n{name}\nmine\nhidden\nsandboxes\nmine\n", world.sandbox("t1").display());
    assert_eq!(seen, expected);
    assert_eq!(std::fs::read_to_string(world.sandbox("t1").join("mine")).expect("it wrote"), "mine\n");
    let mut spec =
        TaskSpec::shell("cat $RIALTO_SECRETS/word; touch mine && echo wrote; touch /mine 2> /dev/null || echo held");
    spec.container.read_only = true;
    spec.secrets = vec![rialto_proto::spec::Secret {
        name: "word".to_owned(),
        target: String::new(),
        content: b"said\n".to_vec().into(),
    }];
    assert_eq!(output_of(&mut world, spec_task("t2", &spec)).await, "said\nwrote\nheld\n");
    world.kill("other").await;
    world.expect("other", TaskState::Killed).await;
    nothing_is_left(&world).await;
}
